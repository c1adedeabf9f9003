// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/translate/impl/nat64_header.hpp>
#include <halfproxy/translate/impl/nat64_icmp.hpp>
#include <halfproxy/translate/nat64.hpp>

#include <algorithm>

namespace halfproxy {

namespace detail {

// Kinds of large segments (virtio 1.2 section 5.1.6).
inline constexpr std::uint8_t segments_tcp_v4 = 1, segments_tcp_v6 = 4, segments_udp = 5, segments_with_ecn = 0x80;

/// Of one version's TCP; UDP's large segments are of either.
[[nodiscard]] inline bool segments_translate(offload_info const& o, std::uint8_t tcp_kind) noexcept {
    auto const kind = static_cast<std::uint8_t>(o.segment_type & ~segments_with_ecn);
    return o.segment_size == 0 || kind == tcp_kind || kind == segments_udp;
}

inline void translate_segments(offload_info& o, std::uint8_t tcp_kind) noexcept {
    auto const kind = static_cast<std::uint8_t>(o.segment_type & ~segments_with_ecn);
    if (o.segment_size == 0 || kind == segments_udp) return;
    o.segment_type = static_cast<std::uint8_t>(tcp_kind | (o.segment_type & segments_with_ecn));
}

/// The longest IP packet that will be on the wire: of a large segment a full piece.
[[nodiscard]] inline std::size_t longest_packet(frame const& f, packet_view const& packet, nat64_header const& h, std::size_t header_bytes) noexcept {
    std::size_t const transport = packet.layout().payload_offset - h.content_at;
    std::size_t const whole = h.content_bytes;
    return header_bytes + (f.offload.segment_size == 0 ? whole : std::min<std::size_t>(whole, transport + f.offload.segment_size));
}

/// What can be said before addresses are asked for.
[[nodiscard]] inline nat64_refusal check_whole(frame const& f, packet_view const& packet, std::uint8_t version) noexcept {
    packet_layout const& l = packet.layout();
    if (l.ip_version != version || l.error != drop_reason::none || l.cut || l.datagram_end > f.length) return nat64_refusal::malformed;
    bool const by_device = f.offload.checksum == checksum_state::partial;
    if (version == 4 && !by_device && verify_ipv4_header(packet) == checksum_verdict::bad) return nat64_refusal::checksum;
    return segments_translate(f.offload, version == 4 ? segments_tcp_v4 : segments_tcp_v6) ? nat64_refusal::none : nat64_refusal::segmented;
}

/// Where a quoted packet's bytes end: at the message's end or where extensions begin.
[[nodiscard]] inline std::size_t end_of_quote(packet_view const& packet, std::size_t limit) noexcept {
    std::size_t const begin = packet.layout().payload_offset, end = packet.layout().datagram_end;
    return limit == 0 ? end : std::min(end, begin + limit);
}

/// Enough is quoted to tell which flow it was of (RFC 792), and it is no error about an error (RFC 7915 section 4.3).
[[nodiscard]] inline bool quote_translates(packet_view const& packet, nat64_header const& quoted, std::size_t end) noexcept {
    if (quoted.refusal != nat64_refusal::none || quoted.content_at + 8 > end) return false;
    bool const icmp = quoted.protocol == ip_protocol::icmp || quoted.protocol == ip_protocol::icmpv6;
    if (!icmp) return true;
    std::uint8_t const type = packet.bytes()[quoted.content_at];
    bool const six = quoted.protocol == ip_protocol::icmpv6;
    return !quoted.fragment && (six ? type == icmp6::echo || type == icmp6::echo_reply : type == icmp4::echo || type == icmp4::echo_reply);
}

/// ICMP's checksum covers IPv6's pseudo-header and not IPv4's addresses.
[[nodiscard]] inline checksum_delta echo_change(nat64_header const& h, std::uint8_t from, std::uint8_t to, bool to_v4) noexcept {
    nat64_header six = h;
    six.four_source = six.four_destination = 0;
    checksum_delta d = six.addresses_change(to_v4);
    auto const length = static_cast<std::uint32_t>(h.content_bytes);
    to_v4 ? d.change32(length, 0).change16(ip_protocol::icmpv6, 0) : d.change32(0, length).change16(0, ip_protocol::icmpv6);
    return d.change16(static_cast<std::uint16_t>(from << 8), static_cast<std::uint16_t>(to << 8));
}

[[nodiscard]] inline std::uint8_t echo_counterpart(std::uint8_t type) noexcept {
    switch (type) {
        case icmp4::echo: return icmp6::echo;
        case icmp4::echo_reply: return icmp6::echo_reply;
        case icmp6::echo: return icmp4::echo;
        default: return icmp4::echo_reply;
    }
}

/// Query and reply: the identifier is quoted, and the checksum before it.
inline void translate_echo(std::uint8_t* message, nat64_header const& h, bool to_v4) noexcept {
    auto& icmp = header_at<icmp_header>(message);
    std::uint8_t const to = echo_counterpart(icmp.type);
    icmp.checksum = echo_change(h, icmp.type, to, to_v4).applied_to(icmp.checksum);
    icmp.type = to;
}

/// TCP's and UDP's checksum field, if `available` bytes of the transport header reach so far. 0 stays: of UDP, no checksum.
inline void translate_transport(std::uint8_t* transport, std::size_t available, nat64_header const& h, bool to_v4, bool partial) noexcept {
    bool const udp = h.protocol == ip_protocol::udp;
    std::size_t const at = udp ? offsetof(udp_header, checksum) : offsetof(tcp_header, checksum);
    if ((!udp && h.protocol != ip_protocol::tcp) || h.offset != 0 || available < at + 2) return;
    auto& field = header_at<big16>(transport + at);
    if (udp && field == 0 && !partial) return;
    checksum_delta const d = h.addresses_change(to_v4);
    std::uint16_t const value = partial ? d.applied_to_partial(field) : d.applied_to(field);
    field = udp && value == 0 ? std::uint16_t{0xffff} : value;
}

/// A device's part of an ICMP message's checksum, done here: the other version's covers other bytes.
inline void finish_partial(frame& f) noexcept {
    if (f.offload.checksum != checksum_state::partial) return;
    auto& field = header_at<big16>(f.data + f.offload.checksum_start + f.offload.checksum_offset);
    field = checksum_sum{}.add(f.bytes().subspan(f.offload.checksum_start)).checksum();
    f.offload.checksum = checksum_state::unknown;
}

/// From the message's first byte to the frame's end. An echo reply of nothing but zeros is why not by difference alone: it sums to the other zero.
inline void make_icmp_checksum(frame& f, std::size_t at, nat64_header const& h, bool to_v4) noexcept {
    auto& icmp = header_at<icmp_header>(f.data + at);
    icmp.checksum = 0;
    checksum_sum sum;
    sum.add(f.bytes().subspan(at));
    if (!to_v4) sum.add(h.six_source).add(h.six_destination).add16(ip_protocol::icmpv6).add32(static_cast<std::uint32_t>(f.length - at));
    icmp.checksum = sum.checksum();
}

/// What is to be done to an ICMP message, found out before anything is changed.
struct icmp_plan {
    nat64_refusal refusal = nat64_refusal::none;
    bool error = false;
    icmp_counterpart to{};
    nat64_header quoted{};
    std::size_t end = 0;  ///< of the quote
};

template <class Addresses>
[[nodiscard]] icmp_plan plan_icmp(frame const& f, packet_view const& packet, nat64_header const& h, Addresses& map, nat64_mtu mtu,
                                  bool to_v4) noexcept {
    icmp_plan plan;
    auto const refuse = [&plan](nat64_refusal why) { return plan.refusal = why, plan; };
    if (h.fragment && (h.more || h.offset != 0)) return refuse(nat64_refusal::icmp_fragment);
    if (!packet.is_icmp()) return refuse(nat64_refusal::malformed);
    icmp_header const& message = packet.icmp();
    plan.error = is_icmp_error(to_v4 ? 6 : 4, message.type);
    packet_view const quoted = parse_quoted(packet);
    if (plan.error) {
        if (quoted.layout().ip_version != (to_v4 ? 6 : 4)) return refuse(nat64_refusal::icmp_quote);
        plan.quoted = to_v4 ? read_v6(quoted, map) : read_v4(quoted, map);
    }
    std::size_t const quoted_bytes = plan.quoted.content_at - plan.quoted.network_at + plan.quoted.content_bytes;
    plan.to = to_v4 ? counterpart_for_v4(message, plan.quoted.fragment, mtu)
                    : counterpart_for_v6(message, static_cast<std::uint32_t>(quoted_bytes), mtu);
    if (plan.to.refusal != nat64_refusal::none) return refuse(plan.to.refusal);
    if (!plan.error) return plan;
    plan.end = end_of_quote(packet, plan.to.quote_limit);
    if (!quote_translates(quoted, plan.quoted, plan.end)) return refuse(nat64_refusal::icmp_quote);
    bool const unknown = f.offload.checksum == checksum_state::unknown;
    if (unknown && verify_transport(packet) == checksum_verdict::bad) return refuse(nat64_refusal::checksum);
    return plan;
}

/// Bytes the quote's header grows by; IPv6's grow none.
[[nodiscard]] inline std::size_t growth_to_v6(nat64_header const& h) noexcept {
    std::size_t const now = h.content_at - h.network_at;
    return h.header_bytes_v6() > now ? h.header_bytes_v6() - now : 0;
}

/// Everything behind the IP header of an ICMP message; lengths in `h` follow. The frame has the room. The quote is done first: what its header
/// grows or shrinks by moves nothing that stands before the outer one.
inline void translate_icmp(frame& f, nat64_header& h, icmp_plan const& plan, bool to_v4) noexcept {
    finish_partial(f);
    auto& first = header_at<icmp_header>(f.data + h.content_at);
    if (!plan.error) {
        translate_echo(f.data + h.content_at, h, to_v4);
        if (first.checksum == 0) make_icmp_checksum(f, h.content_at, h, to_v4);
        return;
    }
    first.type = plan.to.type;
    first.code = plan.to.code;
    first.rest = plan.to.rest;
    f.length = f.wire_length = static_cast<std::uint32_t>(plan.end);
    nat64_header const& q = plan.quoted;
    std::uint8_t* const transport = f.data + q.content_at;
    bool const icmp = q.protocol == ip_protocol::icmp || q.protocol == ip_protocol::icmpv6;
    if (icmp)
        translate_echo(transport, q, to_v4);
    else
        translate_transport(transport, plan.end - q.content_at, q, to_v4, false);
    std::size_t const bytes = to_v4 ? sizeof(ipv4_header) : q.header_bytes_v6();
    if (!resize_header(f, q, bytes)) return;
    if (to_v4)
        write_v4(f.data + q.network_at, q, bytes + q.content_bytes, q.hops, 0);
    else
        write_v6(f.data + q.network_at, q, q.hops);
    // An ICMPv6 error stays within the least MTU (RFC 4443 section 2.4 (c)); the outer header will be IPv6's.
    std::size_t const most = h.content_at + least_mtu_v6 - sizeof(ipv6_header);
    if (!to_v4 && f.length > most) f.length = f.wire_length = static_cast<std::uint32_t>(most);
    h.content_bytes = f.length - h.content_at;
    make_icmp_checksum(f, h.content_at, h, to_v4);
}

/// UDP without checksum gets one: IPv6 has no other (RFC 7915 section 4.5).
inline void make_udp_checksum(frame& f, nat64_header const& h) noexcept {
    auto& udp = header_at<udp_header>(f.data + h.content_at);
    std::uint32_t const bytes = udp.length;  // the parser has seen that it lies within the datagram
    checksum_sum sum;
    sum.add(h.six_source).add(h.six_destination).add16(ip_protocol::udp).add32(bytes);
    std::uint16_t const value = sum.add(f.bytes().subspan(h.content_at, bytes)).checksum();
    udp.checksum = value == 0 ? std::uint16_t{0xffff} : value;
}

}  // namespace detail

template <nat64_addresses Addresses>
nat64_refusal translate_to_v4(frame& f, packet_view const& packet, Addresses& map, nat64_mtu mtu, std::uint16_t identification) noexcept {
    if (auto const why = detail::check_whole(f, packet, 6); why != nat64_refusal::none) return why;
    detail::nat64_header h = detail::read_v6(packet, map);
    if (h.refusal != nat64_refusal::none) return h.refusal;
    h.content_bytes = packet.layout().datagram_end - h.content_at;  // a large segment may announce 0
    if (h.hops <= 1) return nat64_refusal::hop_limit;
    std::size_t const longest = detail::longest_packet(f, packet, h, sizeof(ipv4_header));
    if (longest > mtu.v4 || sizeof(ipv4_header) + h.content_bytes > 0xffff) return nat64_refusal::too_big;
    bool const icmp = h.protocol == ip_protocol::icmpv6;
    detail::icmp_plan plan;
    if (icmp) plan = detail::plan_icmp(f, packet, h, map, mtu, true);
    if (plan.refusal != nat64_refusal::none) return plan.refusal;

    trim_padding(f, packet.layout().datagram_end);
    bool const partial = f.offload.checksum == checksum_state::partial;
    if (icmp)
        detail::translate_icmp(f, h, plan, true);
    else
        detail::translate_transport(f.data + h.content_at, h.content_bytes, h, true, partial);
    if (!detail::resize_header(f, h, sizeof(ipv4_header))) return nat64_refusal::frame_room;
    detail::write_v4(f.data + h.network_at, h, longest, static_cast<std::uint8_t>(h.hops - 1), identification);
    detail::translate_segments(f.offload, detail::segments_tcp_v4);
    announce_ip(f, h.network_at, 4);
    return nat64_refusal::none;
}

template <nat64_addresses Addresses>
nat64_refusal translate_to_v6(frame& f, packet_view const& packet, Addresses& map, nat64_mtu mtu) noexcept {
    if (auto const why = detail::check_whole(f, packet, 4); why != nat64_refusal::none) return why;
    detail::nat64_header h = detail::read_v4(packet, map);
    if (h.refusal != nat64_refusal::none) return h.refusal;
    h.content_bytes = packet.layout().datagram_end - h.content_at;
    if (h.hops <= 1) return nat64_refusal::hop_limit;
    std::size_t const longest = detail::longest_packet(f, packet, h, h.header_bytes_v6());
    bool const icmp = h.protocol == ip_protocol::icmp;
    detail::icmp_plan plan;
    if (icmp) plan = detail::plan_icmp(f, packet, h, map, mtu, false);
    if (plan.refusal != nat64_refusal::none) return plan.refusal;
    if ((longest > mtu.v6 && !plan.error) || h.content_bytes + 8 > 0xffff) return nat64_refusal::too_big;
    bool const partial = f.offload.checksum == checksum_state::partial;
    bool const bare_udp = packet.is_udp() && packet.udp().checksum == 0 && !partial;
    if (bare_udp && h.fragment) return nat64_refusal::udp_checksum;
    std::size_t const growth = detail::growth_to_v6(h) + (plan.error ? detail::growth_to_v6(plan.quoted) : 0);
    if (packet.layout().datagram_end + growth > f.capacity) return nat64_refusal::frame_room;

    trim_padding(f, packet.layout().datagram_end);
    if (icmp)
        detail::translate_icmp(f, h, plan, false);
    else if (bare_udp)
        detail::make_udp_checksum(f, h);
    else
        detail::translate_transport(f.data + h.content_at, h.content_bytes, h, false, partial);
    if (!detail::resize_header(f, h, h.header_bytes_v6())) return nat64_refusal::frame_room;
    detail::write_v6(f.data + h.network_at, h, static_cast<std::uint8_t>(h.hops - 1));
    detail::translate_segments(f.offload, detail::segments_tcp_v6);
    announce_ip(f, h.network_at, 6);
    return nat64_refusal::none;
}

}  // namespace halfproxy
