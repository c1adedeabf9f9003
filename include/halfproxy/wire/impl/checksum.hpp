// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/wire/checksum.hpp>

#include <cstring>

namespace halfproxy {

namespace detail {

template <class Word>
[[nodiscard]] Word load_native(std::uint8_t const* at) noexcept {
    Word word;
    std::memcpy(&word, at, sizeof(word));
    return word;
}

}  // namespace detail

/// Eight bytes at a time: the sum does not depend on the width of its words (RFC 1071 section 2 (C)).
HALFPROXY_ALWAYS_INLINE checksum_sum& checksum_sum::add(byte_view bytes) noexcept {
    std::uint8_t const* at = bytes.data();
    std::size_t const size = bytes.size();
    for (std::size_t n = size / 8; n != 0; --n, at += 8) add_native(detail::load_native<std::uint64_t>(at));
    if ((size & 4u) != 0) {
        add_native(detail::load_native<std::uint32_t>(at));
        at += 4;
    }
    if ((size & 2u) != 0) {
        add_native(detail::load_native<std::uint16_t>(at));
        at += 2;
    }
    if ((size & 1u) != 0) {
        std::array<std::uint8_t, 2> const last{*at, 0};
        add_native(detail::load_native<std::uint16_t>(last.data()));
    }
    return *this;
}

template <contiguous_bytes Bytes>
HALFPROXY_ALWAYS_INLINE checksum_sum pseudo_header_sum(basic_packet_view<Bytes> const& packet, std::uint8_t protocol,
                               std::uint32_t transport_bytes) noexcept {
    checksum_sum sum;
    std::uint8_t const* ip = packet.bytes().data() + packet.layout().network_offset;
    if (packet.layout().ip_version == 4)
        sum.add({ip + offsetof(ipv4_header, source), 8});
    else
        sum.add({ip + offsetof(ipv6_header, source), 32});
    return sum.add16(protocol).add32(transport_bytes);
}

template <contiguous_bytes Bytes>
HALFPROXY_ALWAYS_INLINE checksum_verdict verify_ipv4_header(basic_packet_view<Bytes> const& packet) noexcept {
    byte_view const header = packet.bytes().subspan(packet.layout().network_offset);
    std::size_t const bytes = packet.ipv4().header_bytes();
    if (bytes < sizeof(ipv4_header) || bytes > header.size()) return checksum_verdict::unverifiable;
    // Of whole 32-bit words; ten of them and more cannot overflow 64 bits. All ones is what a valid header sums to, in any byte order.
    std::uint64_t sum = 0;
    for (std::size_t at = 0; at < sizeof(ipv4_header); at += 4) sum += detail::load_native<std::uint32_t>(header.data() + at);
    for (std::size_t at = sizeof(ipv4_header); at < bytes; at += 4) sum += detail::load_native<std::uint32_t>(header.data() + at);
    return fold_checksum(sum) == 0xffff ? checksum_verdict::good : checksum_verdict::bad;
}

namespace detail {

/// The addresses a transport checksum was made for; null when that cannot be told.
struct checksum_addresses {
    std::uint8_t const* source;
    std::uint8_t const* destination;
};

/// Of a loose or strict source route that is not at its end, the last address (RFC 1122 section 3.2.1.8).
inline void follow_source_route(const_packet_view const& packet, checksum_addresses& out) noexcept {
    constexpr std::uint8_t end = 0, no_operation = 1, loose_route = 131, strict_route = 137;
    packet_layout const& l = packet.layout();
    std::uint8_t const* const bytes = packet.bytes().data();
    std::size_t at = l.network_offset + sizeof(ipv4_header);
    while (at + 1 < l.transport_offset && bytes[at] != end) {
        if (bytes[at] == no_operation) {
            ++at;
            continue;
        }
        std::size_t const length = bytes[at + 1];
        if (length < 2 || at + length > l.transport_offset) return;
        bool const route = bytes[at] == loose_route || bytes[at] == strict_route;
        if (route && length >= 7 && bytes[at + 2] + 3u <= length) out.destination = bytes + at + length - 4;
        at += length;
    }
}

/// Of a routing header with segments left, the last address (RFC 8200 section 8.1); a segment routing header begins with
/// it (RFC 8754 section 2).
inline void follow_routing_header(std::uint8_t const* header, checksum_addresses& out) noexcept {
    constexpr std::uint8_t segment_routing = 4;
    std::size_t const addresses = header[1] / 2u;
    if (header[3] == 0) return;
    if (addresses == 0)
        out.destination = nullptr;
    else
        out.destination = header + 8 + (header[2] == segment_routing ? 0 : 16 * (addresses - 1));
}

/// A mobile node's home address stands for its source address (RFC 6275 section 6.3).
inline void follow_home_address(std::uint8_t const* header, std::size_t bytes, checksum_addresses& out) noexcept {
    constexpr std::uint8_t pad = 0, home_address = 201;
    for (std::size_t at = 2; at + 1 < bytes; at += header[at] == pad ? 1u : header[at + 1] + 2u)
        if (header[at] == home_address && header[at + 1] == 16 && at + 18 <= bytes) out.source = header + at + 2;
}

inline checksum_addresses find_checksum_addresses(const_packet_view const& packet) noexcept {
    packet_layout const& l = packet.layout();
    std::uint8_t const* const ip = packet.bytes().data() + l.network_offset;
    if (l.ip_version == 4) {
        checksum_addresses out{ip + offsetof(ipv4_header, source), ip + offsetof(ipv4_header, destination)};
        if (l.transport_offset != l.network_offset + sizeof(ipv4_header)) follow_source_route(packet, out);
        return out;
    }
    checksum_addresses out{ip + offsetof(ipv6_header, source), ip + offsetof(ipv6_header, destination)};
    std::uint8_t kind = packet.ipv6().next_header;
    for (std::size_t at = l.network_offset + sizeof(ipv6_header); at < l.transport_offset;) {
        std::uint8_t const* header = packet.bytes().data() + at;
        std::size_t const bytes = extension_bytes(kind, header[1]);
        if (kind == ip_protocol::routing) follow_routing_header(header, out);
        if (kind == ip_protocol::destination_options) follow_home_address(header, bytes, out);
        at += bytes;
        kind = header[0];
    }
    return out;
}

/// No IP options, no extension headers: nothing can have changed the addresses the checksum was made for.
[[nodiscard]] inline bool follows_fixed_header(packet_layout const& l) noexcept {
    return l.transport_offset == l.network_offset + (l.ip_version == 4 ? sizeof(ipv4_header) : sizeof(ipv6_header));
}

}  // namespace detail

inline checksum_verdict verify_transport(const_packet_view const& packet) noexcept {
    packet_layout const& l = packet.layout();
    if (!packet.is_tcp() && !packet.is_udp() && !packet.is_icmp()) return checksum_verdict::unverifiable;
    if (l.is_fragment() || l.datagram_end > packet.bytes().size()) return checksum_verdict::unverifiable;
    std::uint32_t bytes = l.datagram_end - l.transport_offset;
    if (packet.is_tcp() && detail::follows_fixed_header(l)) [[likely]] {
        checksum_sum sum = pseudo_header_sum(packet, ip_protocol::tcp, bytes);
        sum.add(packet.bytes().subspan(l.transport_offset, bytes));
        return sum.folded() == 0xffff ? checksum_verdict::good : checksum_verdict::bad;
    }
    detail::checksum_addresses const addresses = detail::find_checksum_addresses(packet);
    if (addresses.destination == nullptr) return checksum_verdict::unverifiable;
    if (packet.is_udp()) {
        if (packet.udp().checksum == 0 && l.ip_version == 4) return checksum_verdict::absent;
        if (packet.udp().length >= sizeof(udp_header) && packet.udp().length < bytes) bytes = packet.udp().length;
    }
    bool const pseudo = l.protocol != ip_protocol::icmp;
    checksum_sum sum;
    if (pseudo) {
        std::size_t const address_bytes = l.ip_version == 4 ? 4 : 16;
        sum.add({addresses.source, address_bytes}).add({addresses.destination, address_bytes});
        sum.add16(l.protocol).add32(bytes);
    }
    sum.add(packet.bytes().subspan(l.transport_offset, bytes));
    return sum.checksum() == 0 ? checksum_verdict::good : checksum_verdict::bad;
}

}  // namespace halfproxy
