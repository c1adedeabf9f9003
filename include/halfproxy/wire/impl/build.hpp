// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/wire/build.hpp>

#include <algorithm>
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

/// Writes options word by word, and sums what it writes. Every group is padded with no-operations to whole words, so each option stands
/// at the same place whatever else is there.
class option_writer {
  public:
    option_writer(std::uint8_t* at, checksum_sum& sum) noexcept : begin_(at), at_(at), sum_(sum) {}

    std::size_t write(built_options const& o) noexcept {
        if (o.has_mss) word(0x02040000u | o.mss);
        if (o.has_timestamps) {
            word(o.sack_permitted ? 0x0402080au : 0x0101080au);
            word(o.timestamp_value);
            word(o.timestamp_echo);
        } else if (o.sack_permitted) {
            word(0x01010402u);
        }
        if (o.has_window_scale) word(0x01030300u | o.window_scale);
        return static_cast<std::size_t>(at_ - begin_);
    }

  private:
    void word(std::uint32_t value) noexcept {
        header_at<big32>(at_) = value;
        sum_.add32(value);
        at_ += 4;
    }

    std::uint8_t* begin_;
    std::uint8_t* at_;
    checksum_sum& sum_;
};

/// Returns the sum of both addresses: the pseudo-header's part.
inline checksum_sum write_ipv4(std::uint8_t* at, packet_origin const& origin, std::size_t tcp_bytes) noexcept {
    checksum_sum addresses;
    std::uint32_t const source = header_at<big32>(origin.source.data());
    std::uint32_t const destination = header_at<big32>(origin.destination.data());
    addresses.add32(source).add32(destination);
    auto& ip = header_at<ipv4_header>(at);
    auto const total = static_cast<std::uint16_t>(sizeof(ipv4_header) + tcp_bytes);
    ip.version_and_length = 0x45;
    ip.traffic_class = 0;
    ip.total_length = total;
    ip.identification = 0;
    ip.fragment = ipv4_fragment::dont;
    ip.time_to_live = built_hop_limit;
    ip.protocol = ip_protocol::tcp;
    ip.source = source;
    ip.destination = destination;
    constexpr std::uint16_t hop_and_protocol = built_hop_limit << 8 | ip_protocol::tcp;
    checksum_sum header = addresses;
    ip.checksum = header.add16(0x4500).add16(total).add16(ipv4_fragment::dont).add16(hop_and_protocol).checksum();
    return addresses;
}

inline checksum_sum write_ipv6(std::uint8_t* at, packet_origin const& origin, std::size_t tcp_bytes) noexcept {
    auto& ip = header_at<ipv6_header>(at);
    ip.version_class_flow = 0x60000000u;
    ip.payload_length = static_cast<std::uint16_t>(tcp_bytes);
    ip.next_header = ip_protocol::tcp;
    ip.hop_limit = built_hop_limit;
    ip.source = origin.source;
    ip.destination = origin.destination;
    return checksum_sum{}.add(origin.source).add(origin.destination);
}

/// `sum` holds the options and the pseudo-header already.
inline void write_tcp(std::uint8_t* at, packet_origin const& origin, tcp_fields const& f, std::size_t bytes,
                      checksum_sum sum) noexcept {
    std::uint32_t const ack = (f.flags & tcp_flag::ack) != 0 ? f.ack.value : 0;
    auto const offset = static_cast<std::uint8_t>(bytes / 4 << 4);
    auto& tcp = header_at<tcp_header>(at);
    tcp.source_port = origin.source_port;
    tcp.destination_port = origin.destination_port;
    tcp.sequence = f.seq.value;
    tcp.acknowledgment = ack;
    tcp.offset_and_high_flags = offset;
    tcp.flags = f.flags;
    tcp.window = f.window;
    tcp.urgent_pointer = 0;
    sum.add16(origin.source_port).add16(origin.destination_port).add32(f.seq.value).add32(ack);
    tcp.checksum = sum.add16(static_cast<std::uint16_t>(offset << 8 | f.flags)).add16(f.window).checksum();
}

}  // namespace detail

inline std::size_t build_tcp(byte_span out, packet_origin const& origin, tcp_fields const& fields,
                             built_options const& options) noexcept {
    std::size_t const ip_bytes = origin.ip_version == 4 ? sizeof(ipv4_header) : sizeof(ipv6_header);
    if (out.size() < origin.link_bytes + ip_bytes + sizeof(tcp_header) + max_built_options) return 0;
    std::uint8_t* const ip = out.data() + origin.link_bytes;
    std::uint8_t* const tcp = ip + ip_bytes;
    std::memcpy(out.data(), origin.link.data(), max_link_bytes);  // a fixed size copies faster; what follows overwrites the rest
    checksum_sum sum;
    std::size_t const tcp_bytes = sizeof(tcp_header) + detail::option_writer(tcp + sizeof(tcp_header), sum).write(options);
    sum.add(origin.ip_version == 4 ? detail::write_ipv4(ip, origin, tcp_bytes) : detail::write_ipv6(ip, origin, tcp_bytes));
    sum.add16(ip_protocol::tcp).add32(static_cast<std::uint32_t>(tcp_bytes));
    detail::write_tcp(tcp, origin, fields, tcp_bytes, sum);
    return origin.link_bytes + ip_bytes + tcp_bytes;
}

}  // namespace halfproxy
