// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/translate/nat_rewriter.hpp>

namespace halfproxy {

namespace detail {

inline void replace16(big16& field, std::uint16_t value, checksum_delta& delta) noexcept {
    if (field == value) return;
    delta.change16(field, value);
    field = value;
}

inline void replace32(big32& field, std::uint32_t value, checksum_delta& delta) noexcept {
    if (field == value) return;
    delta.change32(field, value);
    field = value;
}

inline void replace_ipv6(ipv6_bytes& field, ipv6_bytes const& value, checksum_delta& delta) noexcept {
    for (std::size_t i = 0; i < field.size(); i += 4)
        replace32(header_at<big32>(field.data() + i), header_at<big32>(value.data() + i), delta);
}

/// Echo and timestamp queries carry an identifier where TCP has ports (RFC 5508 section 3.1).
[[nodiscard]] inline bool is_icmp_query(packet_view const& packet) noexcept {
    std::uint8_t const type = packet.icmp().type;
    if (packet.layout().ip_version == 6) return type == 128 || type == 129;
    return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

}  // namespace detail

template <checksum_policy Checksum>
void nat_rewriter<Checksum>::replace_ports(packet_view const& packet, std::uint16_t source, std::uint16_t destination,
                                           header_changes& changes) noexcept {
    if (packet.is_tcp() || packet.is_udp()) {  // both begin with their ports
        auto& ports = packet.udp();
        detail::replace16(ports.source_port, source, changes.transport);
        detail::replace16(ports.destination_port, destination, changes.transport);
    } else if (packet.is_icmp() && detail::is_icmp_query(packet)) {
        detail::replace16(header_at<big16>(packet.bytes().data() + packet.layout().transport_offset + 4), source,
                          changes.transport);
    }
}

template <checksum_policy Checksum>
void nat_rewriter<Checksum>::replace(packet_view const& packet, nat_endpoints<std::uint32_t> const& to,
                                     header_changes& changes) noexcept {
    checksum_delta addresses;
    detail::replace32(packet.ipv4().source, to.source, addresses);
    detail::replace32(packet.ipv4().destination, to.destination, addresses);
    changes.network.add(addresses);
    changes.pseudo.add(addresses);
    replace_ports(packet, to.source_port, to.destination_port, changes);
}

template <checksum_policy Checksum>
void nat_rewriter<Checksum>::replace(packet_view const& packet, nat_endpoints<ipv6_bytes> const& to,
                                     header_changes& changes) noexcept {
    detail::replace_ipv6(packet.ipv6().source, to.source, changes.pseudo);
    detail::replace_ipv6(packet.ipv6().destination, to.destination, changes.pseudo);
    replace_ports(packet, to.source_port, to.destination_port, changes);
}

}  // namespace halfproxy
