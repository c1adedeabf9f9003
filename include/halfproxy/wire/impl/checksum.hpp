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

/// Eight bytes at a time: the sum does not depend on the width of its words (RFC 1071 section 2 (C)).
[[nodiscard]] HALFPROXY_ALWAYS_INLINE std::uint64_t sum_words(byte_view bytes) noexcept {
    std::uint8_t const* at = bytes.data();
    std::size_t const size = bytes.size();
    std::uint64_t sum = 0;
    for (std::size_t n = size / 8; n != 0; --n, at += 8) sum = add_carry(sum, load_native<std::uint64_t>(at));
    if ((size & 4u) != 0) {
        sum = add_carry(sum, load_native<std::uint32_t>(at));
        at += 4;
    }
    if ((size & 2u) != 0) {
        sum = add_carry(sum, load_native<std::uint16_t>(at));
        at += 2;
    }
    if ((size & 1u) != 0) {
        std::array<std::uint8_t, 2> const last{*at, 0};
        sum = add_carry(sum, load_native<std::uint16_t>(last.data()));
    }
    return sum;
}

}  // namespace detail

HALFPROXY_ALWAYS_INLINE memory_sum& memory_sum::add(big32 word) noexcept {
    sum_ += detail::load_native<std::uint32_t>(word.data());
    return *this;
}

template <std::size_t Bytes>
HALFPROXY_ALWAYS_INLINE memory_sum& memory_sum::add_fixed(std::uint8_t const* at) noexcept {
    static_assert(Bytes % 4 == 0 && Bytes <= 64);
#pragma GCC unroll 16
    for (std::size_t i = 0; i < Bytes; i += 4) sum_ += detail::load_native<std::uint32_t>(at + i);
    return *this;
}

HALFPROXY_ALWAYS_INLINE memory_sum& memory_sum::add(byte_view bytes) noexcept {
    std::uint64_t const sum = detail::sum_words(bytes);
    sum_ += (sum & 0xffff'ffffu) + (sum >> 32);
    return *this;
}

inline void memory_sum::store_checksum(void* field) const noexcept {
    auto const checksum = static_cast<std::uint16_t>(~folded());
    std::memcpy(field, &checksum, sizeof checksum);
}

HALFPROXY_ALWAYS_INLINE checksum_sum& checksum_sum::add(byte_view bytes) noexcept { return add_native(detail::sum_words(bytes)); }

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
    memory_sum sum;  // all ones is what a valid header sums to, in any byte order
    sum.add_fixed<sizeof(ipv4_header)>(header.data());
    for (std::size_t at = sizeof(ipv4_header); at < bytes; at += 4) sum.add_fixed<4>(header.data() + at);
    return sum.folded() == 0xffff ? checksum_verdict::good : checksum_verdict::bad;
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

/// Of TCP behind a fixed header, whole.
template <contiguous_bytes Bytes>
[[nodiscard]] HALFPROXY_ALWAYS_INLINE checksum_verdict verify_usual_tcp(basic_packet_view<Bytes> const& packet) noexcept {
    packet_layout const& l = packet.layout();
    std::uint8_t const* const ip = packet.bytes().data() + l.network_offset;
    std::uint8_t const* const tcp = packet.bytes().data() + l.transport_offset;
    memory_sum sum;
    if (l.ip_version == 4)
        sum.add_fixed<8>(ip + offsetof(ipv4_header, source));
    else
        sum.add_fixed<32>(ip + offsetof(ipv6_header, source));
    std::uint32_t const bytes = l.datagram_end - l.transport_offset;
    sum.add(big32{ip_protocol::tcp + bytes});  // zero halves of its pseudo-header words change no sum
    sum.add_fixed<sizeof(tcp_header)>(tcp).add({tcp + sizeof(tcp_header), bytes - sizeof(tcp_header)});
    return sum.folded() == 0xffff ? checksum_verdict::good : checksum_verdict::bad;
}

[[nodiscard]] HALFPROXY_RARE checksum_verdict verify_other(const_packet_view const& packet) noexcept {
    packet_layout const& l = packet.layout();
    std::uint32_t bytes = l.datagram_end - l.transport_offset;
    checksum_addresses const addresses = find_checksum_addresses(packet);
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

}  // namespace detail

template <contiguous_bytes Bytes>
HALFPROXY_ALWAYS_INLINE checksum_verdict verify_transport(basic_packet_view<Bytes> const& packet) noexcept {
    packet_layout const& l = packet.layout();
    bool const tcp = packet.is_tcp();
    if (!tcp && !packet.is_udp() && !packet.is_icmp()) return checksum_verdict::unverifiable;
    if (l.is_fragment() || l.datagram_end > packet.bytes().size()) return checksum_verdict::unverifiable;
    return tcp && detail::follows_fixed_header(l) ? detail::verify_usual_tcp(packet) : detail::verify_other({packet.bytes(), l});
}

}  // namespace halfproxy
