// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/translate/encapsulation.hpp>
#include <halfproxy/wire/checksum.hpp>

#include <algorithm>
#include <cstring>

namespace halfproxy {

namespace detail {

inline constexpr std::uint8_t protocol_ipv4 = 4, protocol_ipv6 = 41;  // IANA
inline constexpr std::uint16_t least_ipv6_mtu = 1280;                 // RFC 8200 section 5
inline constexpr std::size_t gue_bytes = 4;

/// What of the inner header is told outside.
struct inner_header {
    std::uint8_t traffic_class;
    std::uint8_t hop_limit;
    std::uint8_t version;
    bool dont_fragment;
};

[[nodiscard]] inline std::uint8_t traffic_class_of(ipv6_header const& ip) noexcept {
    return static_cast<std::uint8_t>(ip.version_class_flow >> 20);
}

[[nodiscard]] inline inner_header read_inner(packet_view const& packet) noexcept {
    if (packet.layout().ip_version == 6) return {traffic_class_of(packet.ipv6()), packet.ipv6().hop_limit, 6, true};
    ipv4_header const& ip = packet.ipv4();
    return {ip.traffic_class, ip.time_to_live, 4, (ip.fragment & ipv4_fragment::dont) != 0};
}

[[nodiscard]] inline bool comes_from(packet_view const& packet, ip_address const& a) noexcept {
    if (packet.layout().ip_version != a.version) return false;
    return a.version == 4 ? packet.ipv4().source == a.to_v4() : packet.ipv6().source == a.bytes;
}

/// The inner packet's length by its own header, 0 when it is not what the outer one announced.
[[nodiscard]] inline std::size_t inner_length(std::uint8_t const* ip, std::size_t available, std::uint8_t version) noexcept {
    std::size_t const header = version == 4 ? sizeof(ipv4_header) : sizeof(ipv6_header);
    if (version == 0 || available < header || ip[0] >> 4 != version) return 0;
    std::size_t const length = version == 4 ? std::size_t{header_at<ipv4_header>(ip).total_length}
                                            : header + header_at<ipv6_header>(ip).payload_length;
    return length >= header && length <= available ? length : 0;
}

/// Everything but the payload's room.
[[nodiscard]] inline encapsulation_result may_enter(frame const& f, packet_view const& packet, tunnel const& into) noexcept {
    using enum encapsulation_outcome;
    packet_layout const& l = packet.layout();
    if (!packet.is_ip() || l.cut || l.datagram_end > f.length) return {not_ip};
    std::size_t const bytes = l.datagram_end - l.network_offset;
    if (inner_length(f.data + l.network_offset, bytes, l.ip_version) != bytes) return {f.offload.segment_size != 0 ? segmented : not_ip};
    if (f.offload.segment_size != 0) return {segmented};
    if (comes_from(packet, into.source) || comes_from(packet, into.destination)) return {loops};
    int const room = into.mtu - into.overhead();
    int const most = std::max(room, l.ip_version == 6 ? int{least_ipv6_mtu} : 0);
    if (static_cast<int>(bytes) > room) return {too_big, static_cast<std::uint16_t>(most)};
    return {done, static_cast<std::uint16_t>(most)};
}

inline void write_outer(std::uint8_t* at, tunnel const& t, inner_header const& inner, std::uint8_t protocol, std::size_t content_bytes,
                        std::uint16_t identification) noexcept {
    std::uint8_t const hops = t.hop_limit != 0 ? t.hop_limit : inner.hop_limit;
    if (t.source.version == 6) {
        auto& ip = header_at<ipv6_header>(at);
        ip.version_class_flow = 6u << 28 | std::uint32_t{inner.traffic_class} << 20;
        ip.payload_length = static_cast<std::uint16_t>(content_bytes);
        ip.next_header = protocol;
        ip.hop_limit = hops;
        ip.source = t.source.bytes;
        ip.destination = t.destination.bytes;
        return;
    }
    bool const whole = t.fragmentation == tunnel_fragmentation::forbidden ||
                       (t.fragmentation == tunnel_fragmentation::as_inner && inner.dont_fragment);
    auto& ip = header_at<ipv4_header>(at);
    ip.version_and_length = 0x45;
    ip.traffic_class = inner.traffic_class;
    ip.total_length = static_cast<std::uint16_t>(sizeof(ipv4_header) + content_bytes);
    ip.identification = whole ? std::uint16_t{0} : identification;
    ip.fragment = whole ? ipv4_fragment::dont : std::uint16_t{0};
    ip.time_to_live = hops;
    ip.protocol = protocol;
    ip.checksum = 0;
    ip.source = t.source.to_v4();
    ip.destination = t.destination.to_v4();
    ip.checksum = checksum_sum{}.add({at, sizeof(ipv4_header)}).checksum();
}

/// The sum of a frame's bytes from `begin` to its end, as it will be once the device has finished its checksum: what that one covers then sums
/// to the complement of what its field holds now.
[[nodiscard]] inline checksum_sum sum_once_finished(frame const& f, std::size_t begin) noexcept {
    checksum_sum sum;
    if (f.offload.checksum != checksum_state::partial) return sum.add(f.bytes().subspan(begin));
    std::size_t const start = f.offload.checksum_start;
    std::uint16_t const held = header_at<big16>(f.data + start + f.offload.checksum_offset);
    return sum.add(f.bytes().subspan(begin, start - begin)).add16(static_cast<std::uint16_t>(~held));
}

/// UDP, GUE's four bytes (draft-ietf-intarea-gue section 3.1: version, control and length 0, protocol, no flags), and the checksum.
inline void write_udp(frame& f, std::size_t at, tunnel const& t, std::uint8_t inner_protocol, std::uint16_t source_port) noexcept {
    auto const bytes = static_cast<std::uint16_t>(f.length - at);
    auto& udp = header_at<udp_header>(f.data + at);
    udp.source_port = source_port;
    udp.destination_port = t.udp_port;
    udp.length = bytes;
    udp.checksum = 0;
    if (t.type == tunnel_type::gue) header_at<big32>(f.data + at + sizeof(udp_header)) = std::uint32_t{inner_protocol} << 16;
    if (t.source.version == 4 && !t.udp_checksum) return;
    std::size_t const address_bytes = t.source.version == 4 ? 4 : 16;
    checksum_sum sum = sum_once_finished(f, at);
    sum.add(byte_view(t.source.bytes).first(address_bytes)).add(byte_view(t.destination.bytes).first(address_bytes));
    std::uint16_t const checksum = sum.add16(ip_protocol::udp).add16(bytes).checksum();
    udp.checksum = checksum == 0 ? std::uint16_t{0xffff} : checksum;
}

}  // namespace detail

inline encapsulation_result encapsulate(frame& f, packet_view const& packet, tunnel const& into, std::uint16_t identification,
                                        std::uint16_t source_port) noexcept {
    encapsulation_result result = detail::may_enter(f, packet, into);
    if (result.outcome != encapsulation_outcome::done) return result;
    std::size_t const at = packet.layout().network_offset;
    std::size_t const inner_bytes = packet.layout().datagram_end - at;
    if (at + inner_bytes + into.overhead() > f.capacity) return {encapsulation_outcome::frame_room, result.inner_mtu};
    detail::inner_header const inner = detail::read_inner(packet);
    trim_padding(f, packet.layout().datagram_end);
    if (!open_room(f, at, into.overhead())) return {encapsulation_outcome::frame_room, result.inner_mtu};
    std::size_t const outer_header = into.source.version == 4 ? sizeof(ipv4_header) : sizeof(ipv6_header);
    std::uint8_t const inner_protocol = inner.version == 4 ? detail::protocol_ipv4 : detail::protocol_ipv6;
    bool const plain = into.type == tunnel_type::ip;
    detail::write_outer(f.data + at, into, inner, plain ? inner_protocol : ip_protocol::udp, f.length - at - outer_header, identification);
    if (!plain) detail::write_udp(f, at + outer_header, into, inner_protocol, source_port);
    announce_ip(f, at, into.source.version);
    return result;
}

namespace detail {

/// Where the inner packet begins, and what it must be; version 0: not known here.
struct tunnel_content {
    std::size_t at = 0;
    std::uint8_t version = 0;
};

[[nodiscard]] inline std::uint8_t version_of_protocol(std::uint8_t protocol) noexcept {
    return protocol == protocol_ipv4 ? 4 : protocol == protocol_ipv6 ? 6 : 0;
}

/// Behind a UDP header. GUE's header holds its own length, in words beyond the first; flags and control messages are not known here.
[[nodiscard]] inline tunnel_content read_gue(packet_view const& packet) noexcept {
    std::size_t const at = packet.layout().payload_offset;
    std::size_t const end = packet.layout().datagram_end;
    if (end < at + gue_bytes || end > packet.bytes().size()) return {};
    std::uint8_t const* const gue = packet.bytes().data() + at;
    std::uint8_t const version = gue[0] >> 6;
    if (version == 1) return {at, static_cast<std::uint8_t>(gue[0] >> 4)};
    if (version != 0 || gue[0] != 0 || gue[2] != 0 || gue[3] != 0) return {};
    return {at + gue_bytes, version_of_protocol(gue[1])};
}

enum ecn_codepoint : std::uint8_t { not_capable = 0, capable_1 = 1, capable_0 = 2, congestion = 3 };

/// RFC 6040 section 4.2, figure 4. Not-ECT inside and congestion outside does not get here.
[[nodiscard]] inline std::uint8_t ecn_coming_out(std::uint8_t inner, std::uint8_t outer) noexcept {
    if (inner == not_capable || inner == congestion) return inner;
    if (outer == congestion) return congestion;
    return inner == capable_0 && outer == capable_1 ? std::uint8_t{capable_1} : inner;
}

inline void set_traffic_class(std::uint8_t* ip, std::uint8_t version, std::uint8_t to) noexcept {
    if (version == 6) {
        big32& first = header_at<ipv6_header>(ip).version_class_flow;
        first = (first & ~(0xffu << 20)) | std::uint32_t{to} << 20;
        return;
    }
    auto& header = header_at<ipv4_header>(ip);
    header.checksum = checksum_delta{}.change16(header.traffic_class, to).applied_to(header.checksum);
    header.traffic_class = to;
}

[[nodiscard]] inline std::uint8_t traffic_class_at(std::uint8_t const* ip) noexcept {
    return ip[0] >> 4 == 4 ? header_at<ipv4_header>(ip).traffic_class : traffic_class_of(header_at<ipv6_header>(ip));
}

}  // namespace detail

inline decapsulation_outcome decapsulate(frame& f, packet_view const& packet, std::uint16_t udp_port) noexcept {
    packet_layout const& l = packet.layout();
    detail::tunnel_content content{l.transport_offset, detail::version_of_protocol(l.protocol)};
    bool const udp = l.protocol == ip_protocol::udp && l.has_transport && udp_port != 0 && packet.udp().destination_port == udp_port;
    if (!packet.is_ip() || (content.version == 0 && !udp)) return decapsulation_outcome::not_tunnelled;
    if (l.is_fragment()) return decapsulation_outcome::fragment;
    if (udp) content = detail::read_gue(packet);
    if (l.datagram_end > f.length || content.at > l.datagram_end) return decapsulation_outcome::malformed;
    std::uint8_t* const inner = f.data + content.at;
    std::size_t const bytes = detail::inner_length(inner, l.datagram_end - content.at, content.version);
    if (bytes == 0) return decapsulation_outcome::malformed;

    constexpr std::uint8_t ecn = 3;
    std::uint8_t const traffic_class = detail::traffic_class_at(inner);
    std::uint8_t const outer_ecn = detail::traffic_class_at(f.data + l.network_offset) & ecn;
    if ((traffic_class & ecn) == detail::not_capable && outer_ecn == detail::congestion) return decapsulation_outcome::congested;
    std::uint8_t const after = static_cast<std::uint8_t>((traffic_class & ~ecn) | detail::ecn_coming_out(traffic_class & ecn, outer_ecn));
    if (after != traffic_class) detail::set_traffic_class(inner, content.version, after);

    std::size_t const network_at = l.network_offset;
    trim_padding(f, static_cast<std::uint32_t>(content.at + bytes));
    close_room(f, network_at, content.at - network_at);
    announce_ip(f, network_at, content.version);
    return decapsulation_outcome::done;
}

}  // namespace halfproxy
