// SPDX-License-Identifier: BSL-1.0
// One IP header read for translation, and the other version's written in its place: of a packet, or of one that is quoted.
#pragma once

#include <halfproxy/translate/nat64.hpp>

namespace halfproxy::detail {

/// What a header says, whichever version it has, with the addresses of both.
struct nat64_header {
    nat64_refusal refusal = nat64_refusal::none;
    std::uint8_t traffic_class = 0;
    std::uint8_t hops = 0;
    std::uint8_t protocol = 0;         ///< as the packet has it
    bool fragment = false;             ///< IPv6: also an atomic one (offset 0, nothing more to come)
    bool more = false;
    std::uint16_t offset = 0;          ///< in units of 8 bytes
    std::uint32_t identification = 0;
    std::size_t network_at = 0;
    std::size_t content_at = 0;        ///< behind header, options and extension headers
    std::size_t content_bytes = 0;     ///< by the header's own length
    std::uint32_t four_source = 0, four_destination = 0;
    ipv6_bytes six_source{}, six_destination{};

    [[nodiscard]] nat64_header refused(nat64_refusal why) const noexcept {
        nat64_header h = *this;
        h.refusal = why;
        return h;
    }
    [[nodiscard]] std::uint8_t protocol_v4() const noexcept { return protocol == ip_protocol::icmpv6 ? ip_protocol::icmp : protocol; }
    [[nodiscard]] std::uint8_t protocol_v6() const noexcept { return protocol == ip_protocol::icmp ? ip_protocol::icmpv6 : protocol; }
    [[nodiscard]] std::size_t header_bytes_v6() const noexcept {
        return sizeof(ipv6_header) + (fragment ? sizeof(ipv6_fragment_header) : 0);
    }
    /// What changes in a sum over the pseudo-header. Length and protocol of TCP and UDP stand in both alike.
    [[nodiscard]] checksum_delta addresses_change(bool to_v4) const noexcept;
};

inline checksum_delta nat64_header::addresses_change(bool to_v4) const noexcept {
    checksum_delta d;
    for (ipv6_bytes const* six : {&six_source, &six_destination})
        for (std::size_t i = 0; i < 16; i += 4) {
            std::uint32_t const word = header_at<big32>(six->data() + i);
            to_v4 ? d.change32(word, 0) : d.change32(0, word);
        }
    for (std::uint32_t const four : {four_source, four_destination}) to_v4 ? d.change32(0, four) : d.change32(four, 0);
    return d;
}

inline constexpr std::uint8_t protocol_igmp = 2, protocol_dccp = 33, protocol_udp_lite = 136;  // IANA

/// RFC 7915 sections 4.5 and 5.5: others pass, as far as their number means the same and no checksum covers the addresses.
[[nodiscard]] inline bool protocol_translates(std::uint8_t protocol, std::uint8_t icmp_of_version) noexcept {
    switch (protocol) {
        case ip_protocol::icmp:
        case ip_protocol::icmpv6: return protocol == icmp_of_version;
        case protocol_igmp:
        case protocol_dccp:
        case protocol_udp_lite:
        case ip_protocol::no_next_header: return false;
        default: return !is_extension(protocol);
    }
}

/// Follows the chain up to the content. Left out are hop-by-hop and destination options and finished routing headers (RFC 7915 section 5.1); what
/// comes behind a fragment header belongs to the fragments' content and must be none of these.
inline void read_chain(byte_view bytes, nat64_header& h) noexcept {
    std::size_t at = h.network_at + sizeof(ipv6_header);
    for (; is_extension(h.protocol); at = h.content_at) {
        if (h.fragment) return void(h.refusal = nat64_refusal::extension_header);
        if (at + 8 > bytes.size()) return void(h.refusal = nat64_refusal::malformed);
        std::uint8_t const* const header = bytes.data() + at;
        switch (h.protocol) {
            case ip_protocol::hop_by_hop:
            case ip_protocol::destination_options: break;
            case ip_protocol::routing:
                if (header[3] != 0) return void(h.refusal = nat64_refusal::source_route);
                break;
            case ip_protocol::fragment: {
                auto const& fragment = header_at<ipv6_fragment_header>(header);
                h.fragment = true;
                h.offset = static_cast<std::uint16_t>(fragment.offset_and_more >> 3);
                h.more = (fragment.offset_and_more & 1u) != 0;
                h.identification = fragment.identification;
                break;
            }
            default: return void(h.refusal = nat64_refusal::extension_header);
        }
        h.content_at = at + extension_bytes(h.protocol, header[1]);
        h.protocol = header[0];
    }
}

/// Of the packet at the view's network_offset, which may be one that is quoted.
template <class Addresses>
[[nodiscard]] nat64_header read_v6(packet_view const& packet, Addresses& map) noexcept {
    ipv6_header const& ip = packet.ipv6();
    nat64_header h;
    h.network_at = packet.layout().network_offset;
    h.content_at = h.network_at + sizeof(ipv6_header);
    h.traffic_class = static_cast<std::uint8_t>(ip.version_class_flow >> 20);
    h.hops = ip.hop_limit;
    h.protocol = ip.next_header;
    read_chain(packet.bytes(), h);
    if (h.refusal != nat64_refusal::none) return h;
    std::size_t const extensions = h.content_at - h.network_at - sizeof(ipv6_header);
    if (ip.payload_length < extensions) return h.refused(nat64_refusal::malformed);
    h.content_bytes = ip.payload_length - extensions;
    if (!protocol_translates(h.protocol, ip_protocol::icmpv6)) return h.refused(nat64_refusal::protocol);
    h.six_source = ip.source;
    h.six_destination = ip.destination;
    auto const source = map.to_v4(ip.source), destination = map.to_v4(ip.destination);
    if (!source || !destination) return h.refused(nat64_refusal::address);
    h.four_source = *source;
    h.four_destination = *destination;
    return h;
}

/// A loose or strict source route (RFC 791 section 3.1) whose pointer has not passed its end.
[[nodiscard]] inline bool has_unfinished_route(byte_view options) noexcept {
    constexpr std::uint8_t loose = 131, strict = 137;
    for (std::size_t at = 0; at < options.size() && options[at] != 0;) {
        if (options[at] == 1) {
            ++at;
            continue;
        }
        if (at + 2 >= options.size() || options[at + 1] < 2) return false;
        if ((options[at] == loose || options[at] == strict) && options[at + 2] <= options[at + 1]) return true;
        at += options[at + 1];
    }
    return false;
}

template <class Addresses>
[[nodiscard]] nat64_header read_v4(packet_view const& packet, Addresses& map) noexcept {
    ipv4_header const& ip = packet.ipv4();
    nat64_header h;
    h.network_at = packet.layout().network_offset;
    h.content_at = h.network_at + ip.header_bytes();
    if (ip.header_bytes() < sizeof(ipv4_header) || h.content_at > packet.bytes().size()) return h.refused(nat64_refusal::malformed);
    h.traffic_class = ip.traffic_class;
    h.hops = ip.time_to_live;
    h.protocol = ip.protocol;
    h.offset = ip.fragment & ipv4_fragment::offset_mask;
    h.more = (ip.fragment & ipv4_fragment::more) != 0;
    h.fragment = h.more || h.offset != 0;
    h.identification = ip.identification;
    std::size_t const total = ip.total_length;
    if (total != 0 && total < ip.header_bytes()) return h.refused(nat64_refusal::malformed);
    h.content_bytes = total == 0 ? 0 : total - ip.header_bytes();
    byte_view const options = packet.bytes().subspan(h.network_at + sizeof(ipv4_header), ip.header_bytes() - sizeof(ipv4_header));
    if (has_unfinished_route(options)) return h.refused(nat64_refusal::source_route);
    if (!protocol_translates(h.protocol, ip_protocol::icmp)) return h.refused(nat64_refusal::protocol);
    h.four_source = ip.source;
    h.four_destination = ip.destination;
    auto const source = map.to_v6(h.four_source), destination = map.to_v6(h.four_destination);
    if (!source || !destination) return h.refused(nat64_refusal::address);
    h.six_source = *source;
    h.six_destination = *destination;
    return h;
}

inline constexpr std::size_t longest_fragmentable = 1260;  // RFC 7915 section 5.1: IPv6's least MTU less the headers' difference

/// `packet_bytes`: the longest packet this header will stand before on the wire, which a large segment is cut into.
inline void write_v4(std::uint8_t* at, nat64_header const& h, std::size_t packet_bytes, std::uint8_t hops,
                     std::uint16_t identification) noexcept {
    bool const dont = !h.fragment && packet_bytes > longest_fragmentable;
    auto const more = static_cast<std::uint16_t>(h.more ? ipv4_fragment::more : 0);
    auto& ip = header_at<ipv4_header>(at);
    ip.version_and_length = 0x45;
    ip.traffic_class = h.traffic_class;
    ip.total_length = static_cast<std::uint16_t>(sizeof(ipv4_header) + h.content_bytes);
    ip.identification = h.fragment ? static_cast<std::uint16_t>(h.identification) : dont ? std::uint16_t{0} : identification;
    ip.fragment = h.fragment ? static_cast<std::uint16_t>(more | h.offset) : dont ? ipv4_fragment::dont : std::uint16_t{0};
    ip.time_to_live = hops;
    ip.protocol = h.protocol_v4();
    ip.checksum = 0;
    ip.source = h.four_source;
    ip.destination = h.four_destination;
    ip.checksum = checksum_sum{}.add({at, sizeof(ipv4_header)}).checksum();
}

inline void write_v6(std::uint8_t* at, nat64_header const& h, std::uint8_t hops) noexcept {
    auto& ip = header_at<ipv6_header>(at);
    ip.version_class_flow = 6u << 28 | std::uint32_t{h.traffic_class} << 20;
    ip.payload_length = static_cast<std::uint16_t>(h.header_bytes_v6() - sizeof(ipv6_header) + h.content_bytes);
    ip.next_header = h.fragment ? ip_protocol::fragment : h.protocol_v6();
    ip.hop_limit = hops;
    ip.source = h.six_source;
    ip.destination = h.six_destination;
    if (!h.fragment) return;
    auto& fragment = header_at<ipv6_fragment_header>(at + sizeof(ipv6_header));
    fragment.next_header = h.protocol_v6();
    fragment.reserved = 0;
    fragment.offset_and_more = static_cast<std::uint16_t>(h.offset << 3 | (h.more ? 1 : 0));
    fragment.identification = h.identification;
}

/// Makes the header's place `bytes` long. False where the frame has no room.
[[nodiscard]] inline bool resize_header(frame& f, nat64_header const& h, std::size_t bytes) noexcept {
    std::size_t const now = h.content_at - h.network_at;
    if (bytes > now) return open_room(f, h.network_at, bytes - now);
    if (bytes < now) close_room(f, h.network_at, now - bytes);
    return true;
}

}  // namespace halfproxy::detail
