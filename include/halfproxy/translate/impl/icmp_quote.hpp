// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/translate/icmp_quote.hpp>

#include <algorithm>

namespace halfproxy {

namespace detail {

/// Updates a checksum inside the quote, and tells the outer one.
inline void update_quoted_checksum(big16& field, checksum_delta const& delta, checksum_delta& outer) noexcept {
    std::uint16_t const before = field;
    std::uint16_t const after = delta.applied_to(before);
    field = after;
    outer.change16(before, after);
}

inline void replace_quoted_addresses(packet_view const& quoted, nat_endpoints<std::uint32_t> const& to,
                                     checksum_delta& delta) noexcept {
    replace32(quoted.ipv4().source, to.source, delta);
    replace32(quoted.ipv4().destination, to.destination, delta);
}

inline void replace_quoted_addresses(packet_view const& quoted, nat_endpoints<ipv6_bytes> const& to,
                                     checksum_delta& delta) noexcept {
    replace_ipv6(quoted.ipv6().source, to.source, delta);
    replace_ipv6(quoted.ipv6().destination, to.destination, delta);
}

/// Ports or query identifier: always quoted (RFC 792 asks for 8 bytes). Other protocols have none.
inline void replace_quoted_ports(std::uint8_t* transport, std::uint8_t protocol, std::uint16_t source,
                                 std::uint16_t destination, checksum_delta& delta) noexcept {
    if (protocol == ip_protocol::tcp || protocol == ip_protocol::udp) {
        replace16(header_at<big16>(transport), source, delta);
        replace16(header_at<big16>(transport + 2), destination, delta);
    } else if (protocol == ip_protocol::icmp || protocol == ip_protocol::icmpv6) {
        replace16(header_at<big16>(transport + 4), source, delta);
    }
}

inline void add_to_quoted(std::uint8_t* field, std::uint32_t amount, checksum_delta& delta) noexcept {
    auto& number = header_at<big32>(field);
    replace32(number, number + amount, delta);
}

/// Where the quoted transport header keeps its checksum; 0 where this protocol is unknown.
[[nodiscard]] inline std::size_t checksum_offset_of(std::uint8_t protocol) noexcept {
    switch (protocol) {
        case ip_protocol::tcp: return offsetof(tcp_header, checksum);
        case ip_protocol::udp: return offsetof(udp_header, checksum);
        case ip_protocol::icmp:
        case ip_protocol::icmpv6: return offsetof(icmp_header, checksum);
        default: return 0;
    }
}

}  // namespace detail

template <class Address>
void rewrite_quote(packet_view const& error, packet_view const& quoted, quote_changes<Address> const& to,
                   header_changes& outer) noexcept {
    packet_layout const& l = quoted.layout();
    std::size_t const end = std::min<std::size_t>(error.layout().datagram_end, error.bytes().size());
    std::size_t const available = end - l.transport_offset;
    std::uint8_t* const transport = quoted.bytes().data() + l.transport_offset;

    checksum_delta addresses;
    detail::replace_quoted_addresses(quoted, to.endpoints, addresses);
    outer.transport.add(addresses);
    if (l.ip_version == 4) detail::update_quoted_checksum(quoted.ipv4().checksum, addresses, outer.transport);

    checksum_delta fields;
    if (l.has_transport) detail::replace_quoted_ports(transport, l.protocol, to.endpoints.source_port, to.endpoints.destination_port, fields);
    if (l.protocol == ip_protocol::tcp) {
        detail::add_to_quoted(transport + offsetof(tcp_header, sequence), to.sequence, fields);
        if (available >= 12) detail::add_to_quoted(transport + offsetof(tcp_header, acknowledgment), to.acknowledgment, fields);
    }
    outer.transport.add(fields);

    std::size_t const at = detail::checksum_offset_of(l.protocol);
    if (at == 0 || available < at + 2) return;
    auto& checksum = header_at<big16>(transport + at);
    bool const none = l.protocol == ip_protocol::udp && checksum == 0;
    if (l.protocol != ip_protocol::icmp) fields.add(addresses);
    if (!none) detail::update_quoted_checksum(checksum, fields, outer.transport);
}

}  // namespace halfproxy
