// SPDX-License-Identifier: BSL-1.0
// One step per encapsulation: from an outer packet to the bytes inside and the link layer they begin with.
#include "flows_decap.hpp"

#include <optional>

namespace halfproxy::tool {

namespace {

namespace carrier {
constexpr std::uint16_t mpls = 0x8847;
constexpr std::uint16_t mpls_multicast = 0x8848;
constexpr std::uint16_t pppoe_session = 0x8864;
constexpr std::uint16_t fabric_path = 0x8903;
constexpr std::uint16_t transparent_ethernet = 0x6558;
constexpr std::uint8_t ipv4 = 4;
constexpr std::uint8_t ipv6 = 41;
constexpr std::uint8_t gre = 47;
}  // namespace carrier

struct inner {
    std::size_t at;
    link_type link;
};

std::uint16_t be16(byte_view bytes, std::size_t at) {
    return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

/// Labels up to the one marked as the last; what follows is taken for IP if its first nibble says so.
std::optional<inner> inside_mpls(byte_view bytes, std::size_t at) {
    constexpr std::size_t label_bytes = 4;
    constexpr int max_labels = 16;
    for (int n = 0; n < max_labels && at + label_bytes < bytes.size(); ++n) {
        bool const last = (bytes[at + 2] & 1u) != 0;
        at += label_bytes;
        unsigned const version = bytes[at] >> 4;
        if (last) return version == 4 || version == 6 ? std::optional<inner>({at, link_type::raw_ip}) : std::nullopt;
    }
    return std::nullopt;
}

std::optional<inner> inside_pppoe(byte_view bytes, std::size_t at) {
    constexpr std::size_t header_bytes = 6;
    constexpr std::uint16_t ppp_ipv4 = 0x0021, ppp_ipv6 = 0x0057;
    if (at + header_bytes + 2 > bytes.size()) return std::nullopt;
    std::uint16_t const protocol = be16(bytes, at + header_bytes);
    if (protocol != ppp_ipv4 && protocol != ppp_ipv6) return std::nullopt;
    return inner{at + header_bytes + 2, link_type::raw_ip};
}

/// Version 0 only; checksum, key and sequence number are skipped.
std::optional<inner> inside_gre(byte_view bytes, std::size_t at) {
    if (at + 4 > bytes.size()) return std::nullopt;
    std::uint16_t const flags = be16(bytes, at);
    if ((flags & 0x4007u) != 0) return std::nullopt;  // routing, or another version
    std::size_t const header = 4u + ((flags & 0x8000u) != 0 ? 4u : 0u) + ((flags & 0x2000u) != 0 ? 4u : 0u) +
                               ((flags & 0x1000u) != 0 ? 4u : 0u);
    switch (be16(bytes, at + 2)) {
        case ether_type::ipv4:
        case ether_type::ipv6: return inner{at + header, link_type::raw_ip};
        case carrier::transparent_ethernet: return inner{at + header, link_type::ethernet};
        default: return std::nullopt;
    }
}

std::optional<inner> inside(const_packet_view const& packet) {
    packet_layout const& l = packet.layout();
    if (l.error != drop_reason::none) return std::nullopt;
    if (packet.is_ip()) {
        if (l.is_fragment()) return std::nullopt;
        switch (l.protocol) {
            case carrier::ipv4:
            case carrier::ipv6: return inner{l.transport_offset, link_type::raw_ip};
            case carrier::gre: return inside_gre(packet.bytes(), l.transport_offset);
            default: return std::nullopt;
        }
    }
    switch (l.ether_type) {
        case carrier::mpls:
        case carrier::mpls_multicast: return inside_mpls(packet.bytes(), l.network_offset);
        case carrier::pppoe_session: return inside_pppoe(packet.bytes(), l.network_offset);
        // A tag of its own behind the EtherType, then the original frame.
        case carrier::fabric_path: return inner{l.network_offset + 2u, link_type::ethernet};
        default: return std::nullopt;
    }
}

}  // namespace

const_packet_view find_flow_packet(link_type link, byte_view frame, std::size_t wire_length) noexcept {
    const_packet_view packet = parse(link, frame, wire_length);
    for (int n = 0; n < max_encapsulations; ++n) {
        std::optional<inner> const next = inside(packet);
        if (!next || next->at >= packet.bytes().size()) return packet;
        std::size_t const behind = packet.is_ip() ? packet.layout().datagram_end : wire_length;
        wire_length = behind - next->at;
        std::size_t const here = packet.bytes().size() - next->at;
        packet =
            parse(next->link, packet.bytes().subspan(next->at, here < wire_length ? here : wire_length), wire_length);
    }
    return packet;
}

}  // namespace halfproxy::tool
