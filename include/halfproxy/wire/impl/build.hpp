// SPDX-License-Identifier: BSL-1.0
#pragma once

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

inline packet_origin origin_of(link_type link, const_packet_view const& packet) noexcept {
    packet_origin origin;
    packet_layout const& l = packet.layout();
    origin.link_bytes = static_cast<std::uint8_t>(std::min<std::size_t>(l.network_offset, max_link_bytes));
    std::memcpy(origin.link.data(), packet.bytes().data(), max_link_bytes);  // a TCP packet is longer in any case
    origin.link_kind = link;
    origin.ip_version = l.ip_version;
    if (l.ip_version == 4) {
        std::memcpy(origin.source.data(), &packet.ipv4().source, 4);
        std::memcpy(origin.destination.data(), &packet.ipv4().destination, 4);
    } else {
        origin.source = packet.ipv6().source;
        origin.destination = packet.ipv6().destination;
    }
    origin.source_port = packet.tcp().source_port;
    origin.destination_port = packet.tcp().destination_port;
    return origin;
}

namespace detail {

/// Every group is padded with no-operations to whole words, so each option stands at the same place whatever else is there.
inline std::size_t write_options(std::uint8_t* at, built_options const& o) noexcept {
    std::uint8_t* const begin = at;
    auto const word = [&at](std::uint32_t value) { header_at<big32>(at) = value; at += 4; };
    if (o.has_mss) word(0x02040000u | o.mss);
    if (o.has_timestamps) {
        word(o.sack_permitted ? 0x0402080au : 0x0101080au);
        word(o.timestamp_value);
        word(o.timestamp_echo);
    } else if (o.sack_permitted) {
        word(0x01010402u);
    }
    if (o.has_window_scale) word(0x01030300u | o.window_scale);
    return static_cast<std::size_t>(at - begin);
}

inline void write_ipv4(std::uint8_t* at, packet_origin const& origin, std::size_t tcp_bytes) noexcept {
    auto& ip = header_at<ipv4_header>(at);
    ip.version_and_length = 0x45;
    ip.traffic_class = 0;
    ip.total_length = static_cast<std::uint16_t>(sizeof(ipv4_header) + tcp_bytes);
    ip.identification = 0;
    ip.fragment = ipv4_fragment::dont;
    ip.time_to_live = built_hop_limit;
    ip.protocol = ip_protocol::tcp;
    ip.checksum = 0;
    std::memcpy(&ip.source, origin.source.data(), 4);
    std::memcpy(&ip.destination, origin.destination.data(), 4);
}

inline void write_ipv6(std::uint8_t* at, packet_origin const& origin, std::size_t tcp_bytes) noexcept {
    auto& ip = header_at<ipv6_header>(at);
    ip.version_class_flow = 0x60000000u;
    ip.payload_length = static_cast<std::uint16_t>(tcp_bytes);
    ip.next_header = ip_protocol::tcp;
    ip.hop_limit = built_hop_limit;
    ip.source = origin.source;
    ip.destination = origin.destination;
}

inline void write_tcp(std::uint8_t* at, packet_origin const& origin, tcp_fields const& f, std::size_t bytes) noexcept {
    auto& tcp = header_at<tcp_header>(at);
    tcp.source_port = origin.source_port;
    tcp.destination_port = origin.destination_port;
    tcp.sequence = f.seq.value;
    tcp.acknowledgment = (f.flags & tcp_flag::ack) != 0 ? f.ack.value : 0;
    tcp.offset_and_high_flags = static_cast<std::uint8_t>(bytes / 4 << 4);
    tcp.flags = f.flags;
    tcp.window = f.window;
    tcp.checksum = 0;
    tcp.urgent_pointer = 0;
}

}  // namespace detail

inline std::size_t build_tcp(byte_span out, packet_origin const& origin, tcp_fields const& fields,
                             built_options const& options) noexcept {
    std::size_t const ip_bytes = origin.ip_version == 4 ? sizeof(ipv4_header) : sizeof(ipv6_header);
    if (out.size() < origin.link_bytes + ip_bytes + sizeof(tcp_header) + max_built_options) return 0;
    std::uint8_t* const ip = out.data() + origin.link_bytes;
    std::uint8_t* const tcp = ip + ip_bytes;
    std::memcpy(out.data(), origin.link.data(), max_link_bytes);  // a fixed size copies faster; what follows overwrites the rest
    std::size_t const tcp_bytes = sizeof(tcp_header) + detail::write_options(tcp + sizeof(tcp_header), options);
    if (origin.ip_version == 4)
        detail::write_ipv4(ip, origin, tcp_bytes);
    else
        detail::write_ipv6(ip, origin, tcp_bytes);
    detail::write_tcp(tcp, origin, fields, tcp_bytes);

    packet_layout layout;
    layout.ip_version = origin.ip_version;
    layout.protocol = ip_protocol::tcp;
    layout.has_transport = true;
    layout.network_offset = origin.link_bytes;
    layout.transport_offset = static_cast<std::uint16_t>(origin.link_bytes + ip_bytes);
    layout.payload_offset = static_cast<std::uint16_t>(layout.transport_offset + tcp_bytes);
    layout.datagram_end = layout.payload_offset;
    finish_checksums(packet_view{out.first(layout.datagram_end), layout});
    return layout.datagram_end;
}

}  // namespace halfproxy
