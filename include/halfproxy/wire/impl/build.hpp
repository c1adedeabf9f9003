// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/wire/build.hpp>

#include <algorithm>
#include <bit>
#include <cstring>

namespace halfproxy {

inline packet_origin packet_origin::reversed() const noexcept {
    packet_origin back = *this;
    std::swap(back.source, back.destination);
    std::swap(back.source_port, back.destination_port);
    if (link_kind == link_type::ethernet) std::swap_ranges(back.link.begin(), back.link.begin() + 6, back.link.begin() + 6);
    return back;
}

namespace detail {

/// Reads the two ends of a packet the way it goes, or with `Back` the way back.
template <bool Back>
[[nodiscard]] HALFPROXY_ALWAYS_INLINE packet_origin read_origin(link_type link, const_packet_view const& packet) noexcept {
    packet_origin origin;
    packet_layout const& l = packet.layout();
    origin.link_bytes = static_cast<std::uint8_t>(std::min<std::size_t>(l.network_offset, max_link_bytes));
    origin.link_kind = link;
    origin.ip_version = l.ip_version;
    std::uint8_t const* const frame = packet.bytes().data();
    std::memcpy(origin.link.data(), frame, max_link_bytes);  // a TCP packet is longer in any case
    if (Back && link == link_type::ethernet)
        std::swap_ranges(origin.link.begin(), origin.link.begin() + 6, origin.link.begin() + 6);
    ipv6_bytes& from = Back ? origin.destination : origin.source;
    ipv6_bytes& to = Back ? origin.source : origin.destination;
    if (l.ip_version == 4) {
        std::memcpy(from.data(), &packet.ipv4().source, 4);
        std::memcpy(to.data(), &packet.ipv4().destination, 4);
    } else {
        from = packet.ipv6().source;
        to = packet.ipv6().destination;
    }
    origin.source_port = Back ? packet.tcp().destination_port : packet.tcp().source_port;
    origin.destination_port = Back ? packet.tcp().source_port : packet.tcp().destination_port;
    return origin;
}

}  // namespace detail

inline packet_origin origin_of(link_type link, const_packet_view const& packet) noexcept {
    return detail::read_origin<false>(link, packet);
}

inline packet_origin way_back_of(link_type link, const_packet_view const& packet) noexcept {
    return detail::read_origin<true>(link, packet);
}

namespace detail {

/// Writes words of 32 bits, and sums them as they lie in memory.
class word_writer {
  public:
    word_writer(std::uint8_t* at, memory_sum sum) noexcept : at_(at), sum_(sum) {}

    HALFPROXY_ALWAYS_INLINE void word(std::uint32_t value) noexcept {
        big32 const stored{value};
        std::memcpy(at_, &stored, sizeof stored);
        sum_.add(stored);
        at_ += 4;
    }
    void store_checksum(void* field) const noexcept { sum_.store_checksum(field); }

  private:
    std::uint8_t* at_;
    memory_sum sum_;
};

/// Every group is padded with no-operations to whole words, so each option stands at the same place whatever else is there.
HALFPROXY_ALWAYS_INLINE void write_options(word_writer& to, built_options const& o) noexcept {
    if (o.has_mss) to.word(0x02040000u | o.mss);
    if (o.has_timestamps) {
        to.word(o.sack_permitted ? 0x0402080au : 0x0101080au);
        to.word(o.timestamp_value);
        to.word(o.timestamp_echo);
    } else if (o.sack_permitted) {
        to.word(0x01010402u);
    }
    if (o.has_window_scale) to.word(0x01030300u | o.window_scale);
}

[[nodiscard]] constexpr std::uint32_t bytes_of(built_options const& o) noexcept {
    std::uint32_t const middle = o.has_timestamps ? 12u : o.sack_permitted ? 4u : 0u;
    return (o.has_mss ? 4u : 0u) + middle + (o.has_window_scale ? 4u : 0u);
}

/// All of the header but its addresses, which stand there.
HALFPROXY_ALWAYS_INLINE void write_around_addresses(ipv4_header& ip, std::uint32_t tcp_bytes) noexcept {
    auto* const at = reinterpret_cast<std::uint8_t*>(&ip);
    word_writer to(at, memory_sum{}.add_fixed<8>(at + offsetof(ipv4_header, source)));
    to.word(0x45000000u | (static_cast<std::uint32_t>(sizeof ip) + tcp_bytes));
    to.word(ipv4_fragment::dont);
    to.word(std::uint32_t{built_hop_limit} << 24 | std::uint32_t{ip_protocol::tcp} << 16);
    to.store_checksum(&ip.checksum);
}

HALFPROXY_ALWAYS_INLINE void write_around_addresses(ipv6_header& ip, std::uint32_t tcp_bytes) noexcept {
    ip.version_class_flow = 0x60000000u;
    ip.payload_length = static_cast<std::uint16_t>(tcp_bytes);
    ip.next_header = ip_protocol::tcp;
    ip.hop_limit = built_hop_limit;
}

/// IP and TCP header, but for their ends: addresses and ports, one behind the other, stand there. Returns the packet's bytes.
template <class Ip>
[[nodiscard]] HALFPROXY_ALWAYS_INLINE std::size_t write_around_ends(std::uint8_t* at, tcp_fields const& f, built_options const& options) noexcept {
    constexpr std::size_t ends = offsetof(Ip, source), ports = sizeof(std::uint32_t);
    std::uint8_t* const tcp = at + sizeof(Ip);
    std::uint32_t const tcp_bytes = static_cast<std::uint32_t>(sizeof(tcp_header)) + bytes_of(options);
    write_around_addresses(header_at<Ip>(at), tcp_bytes);
    memory_sum sum;  // of the pseudo-header, and the ports
    sum.add_fixed<sizeof(Ip) - ends + ports>(at + ends).add(big32{ip_protocol::tcp + tcp_bytes});
    word_writer to(tcp + ports, sum);
    to.word(f.seq.value);
    to.word((f.flags & tcp_flag::ack) != 0 ? f.ack.value : 0);
    to.word(tcp_bytes / 4 << 28 | std::uint32_t{f.flags} << 16 | f.window);
    to.word(0);  // checksum and urgent pointer
    write_options(to, options);
    to.store_checksum(&header_at<tcp_header>(tcp).checksum);
    return sizeof(Ip) + tcp_bytes;
}

template <class Ip>
HALFPROXY_ALWAYS_INLINE void swap_ends(std::uint8_t* at) noexcept {
    auto& ip = header_at<Ip>(at);
    std::swap(ip.source, ip.destination);
    // Both ports as one word, as they are summed: two halves just written cannot be forwarded to a read of both.
    std::uint32_t const ports = std::rotl(load_native<std::uint32_t>(at + sizeof(Ip)), 16);
    std::memcpy(at + sizeof(Ip), &ports, sizeof ports);
}

template <class Ip>
[[nodiscard]] HALFPROXY_ALWAYS_INLINE std::size_t build_over(std::uint8_t* at, way direction, tcp_fields const& fields,
                                                             built_options const& options) noexcept {
    if (direction == way::back) swap_ends<Ip>(at);
    return write_around_ends<Ip>(at, fields, options);
}

[[nodiscard]] inline std::size_t room_for(std::size_t link_bytes, std::uint8_t ip_version) noexcept {
    return link_bytes + (ip_version == 4 ? sizeof(ipv4_header) : sizeof(ipv6_header)) + sizeof(tcp_header) + max_built_options;
}

template <class Ip, std::size_t AddressBytes>
void put_ends(std::uint8_t* at, packet_origin const& origin) noexcept {
    std::memcpy(at + offsetof(Ip, source), origin.source.data(), AddressBytes);
    std::memcpy(at + offsetof(Ip, destination), origin.destination.data(), AddressBytes);
    auto& tcp = header_at<tcp_header>(at + sizeof(Ip));
    tcp.source_port = origin.source_port;
    tcp.destination_port = origin.destination_port;
}

}  // namespace detail

inline std::size_t build_tcp(byte_span out, packet_origin const& origin, tcp_fields const& fields,
                             built_options const& options) noexcept {
    if (out.size() < detail::room_for(origin.link_bytes, origin.ip_version)) return 0;
    std::uint8_t* const ip = out.data() + origin.link_bytes;
    std::memcpy(out.data(), origin.link.data(), max_link_bytes);  // a fixed size copies faster; what follows overwrites the rest
    if (origin.ip_version == 4) {
        detail::put_ends<ipv4_header, 4>(ip, origin);
        return origin.link_bytes + detail::write_around_ends<ipv4_header>(ip, fields, options);
    }
    detail::put_ends<ipv6_header, 16>(ip, origin);
    return origin.link_bytes + detail::write_around_ends<ipv6_header>(ip, fields, options);
}

inline bool has_room_in_place(packet_view const& received, std::size_t capacity) noexcept {
    packet_layout const& l = received.layout();
    return capacity >= detail::room_for(std::min<std::size_t>(l.network_offset, max_link_bytes), l.ip_version);
}

inline std::size_t build_in_place(link_type link, packet_view const& received, std::size_t capacity, way direction,
                                  tcp_fields const& fields, built_options const& options) noexcept {
    packet_layout const& l = received.layout();
    if (!has_room_in_place(received, capacity)) return 0;
    std::uint8_t* const frame = received.bytes().data();
    if (!detail::follows_fixed_header(l) || l.network_offset > max_link_bytes) [[unlikely]] {
        const_packet_view const packet{received.bytes(), l};
        packet_origin const origin = direction == way::back ? way_back_of(link, packet) : origin_of(link, packet);
        return build_tcp({frame, capacity}, origin, fields, options);
    }
    if (direction == way::back && link == link_type::ethernet) std::swap(header_at<ethernet_header>(frame).source, header_at<ethernet_header>(frame).destination);
    std::uint8_t* const ip = frame + l.network_offset;
    return l.network_offset + (l.ip_version == 4 ? detail::build_over<ipv4_header>(ip, direction, fields, options)
                                                 : detail::build_over<ipv6_header>(ip, direction, fields, options));
}

/// Lengths and checksums are those of the packet without, and what the payload adds to them.
inline std::size_t build_tcp(byte_span out, packet_origin const& origin, tcp_fields const& fields, built_options const& options,
                             byte_view payload) noexcept {
    std::size_t const bytes = build_tcp(out, origin, fields, options);
    if (bytes == 0 || bytes + payload.size() > out.size()) return 0;
    std::copy(payload.begin(), payload.end(), out.begin() + static_cast<std::ptrdiff_t>(bytes));
    auto const more = static_cast<std::uint16_t>(payload.size());
    std::uint8_t* const ip = out.data() + origin.link_bytes;
    bool const v4 = origin.ip_version == 4;
    big16& length = v4 ? header_at<ipv4_header>(ip).total_length : header_at<ipv6_header>(ip).payload_length;
    auto const longer = static_cast<std::uint16_t>(length + more);
    if (v4) {
        big16& checksum = header_at<ipv4_header>(ip).checksum;
        checksum = checksum_delta{}.change16(length, longer).applied_to(checksum);
    }
    length = longer;
    auto& tcp = header_at<tcp_header>(ip + (v4 ? sizeof(ipv4_header) : sizeof(ipv6_header)));
    checksum_sum sum;
    tcp.checksum = sum.add16(static_cast<std::uint16_t>(~tcp.checksum)).add16(more).add(payload).checksum();
    return bytes + payload.size();
}

}  // namespace halfproxy
