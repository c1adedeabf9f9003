// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/translate/packet_pieces.hpp>
#include <halfproxy/translate/rewrite.hpp>

#include <algorithm>
#include <cstring>

namespace halfproxy {

namespace detail {

// VIRTIO_NET_HDR_GSO_* (virtio 1.2 section 5.1.6); the highest bit says that CWR is for the first segment alone.
enum segment_kind : std::uint8_t { segments_of_tcp4 = 1, segments_of_tcp6 = 4, segments_of_udp = 5 };
inline constexpr std::uint8_t segment_kind_mask = 0x7f;

[[nodiscard]] inline cutting cut_content(packet_layout const& l, std::uint32_t content_at, std::uint32_t piece_bytes, cutting::method how) noexcept {
    std::uint32_t const content = l.datagram_end - content_at;
    return {(content + piece_bytes - 1) / piece_bytes, content_at, piece_bytes, how};
}

inline void set_ip_length(packet_view const& piece, std::uint32_t bytes, std::uint32_t number) noexcept {
    if (piece.layout().ip_version == 4) {
        piece.ipv4().total_length = static_cast<std::uint16_t>(bytes);
        piece.ipv4().identification = static_cast<std::uint16_t>(piece.ipv4().identification + number);
    } else {
        piece.ipv6().payload_length = static_cast<std::uint16_t>(bytes - sizeof(ipv6_header));
    }
}

/// A FIN or PSH belongs to the last of the segments, a CWR to the first (RFC 3168 section 6.1.2).
inline void set_segment(tcp_header& tcp, cutting const& cut, std::uint32_t number) noexcept {
    tcp.sequence = tcp.sequence + number * cut.piece_bytes;
    std::uint8_t keep = 0xff;
    if (number + 1 != cut.count) keep &= static_cast<std::uint8_t>(~(tcp_flag::fin | tcp_flag::psh));
    if (number != 0) keep &= static_cast<std::uint8_t>(~tcp_flag::cwr);
    tcp.flags = tcp.flags & keep;
}

inline void set_fragment(ipv4_header& ip, cutting const& cut, std::uint32_t number) noexcept {
    std::uint16_t const before = ip.fragment;
    bool const more = number + 1 != cut.count || (before & ipv4_fragment::more) != 0;
    std::uint32_t const offset = (before & ipv4_fragment::offset_mask) + number * (cut.piece_bytes / 8);
    ip.fragment = static_cast<std::uint16_t>(offset | (more ? ipv4_fragment::more : 0));
}

}  // namespace detail

inline cutting cut_segment(frame const& f, const_packet_view const& packet) noexcept {
    packet_layout const& l = packet.layout();
    std::uint8_t const kind = f.offload.segment_type & detail::segment_kind_mask;
    bool const tcp = packet.is_tcp() && kind == (l.ip_version == 4 ? detail::segments_of_tcp4 : detail::segments_of_tcp6);
    bool const udp = packet.is_udp() && kind == detail::segments_of_udp;
    bool const whole = packet.is_ip() && l.error == drop_reason::none && !l.is_fragment() && l.datagram_end <= f.length;
    if (!whole || (!tcp && !udp) || f.offload.segment_size == 0 || l.payload_bytes() == 0) return {};
    return detail::cut_content(l, l.payload_offset, f.offload.segment_size, tcp ? cutting::method::tcp : cutting::method::udp);
}

inline cutting cut_into_fragments(frame const& f, const_packet_view const& packet, std::uint16_t mtu) noexcept {
    packet_layout const& l = packet.layout();
    if (!packet.is_ip() || l.ip_version != 4 || l.datagram_end > f.length || f.offload.segment_size != 0) return {};
    bool const plain = packet.ipv4().header_bytes() == sizeof(ipv4_header);
    if (!plain || (packet.ipv4().fragment & ipv4_fragment::dont) != 0 || mtu < sizeof(ipv4_header) + 8) return {};
    auto const piece = static_cast<std::uint32_t>((mtu - sizeof(ipv4_header)) / 8 * 8);
    return detail::cut_content(l, l.network_offset + std::uint32_t{sizeof(ipv4_header)}, piece, cutting::method::fragments);
}

inline std::uint32_t write_piece(byte_span to, frame const& f, const_packet_view const& packet, cutting const& cut, std::uint32_t number) noexcept {
    packet_layout const& l = packet.layout();
    std::uint32_t const begin = cut.content_at + number * cut.piece_bytes;
    std::uint32_t const bytes = std::min(cut.piece_bytes, l.datagram_end - begin);
    std::uint32_t const length = cut.content_at + bytes;
    std::memcpy(to.data(), f.data, cut.content_at);
    std::memcpy(to.data() + cut.content_at, f.data + begin, bytes);
    std::uint32_t const ip_bytes = length - l.network_offset;
    if (cut.how == cutting::method::fragments) {
        auto& ip = header_at<ipv4_header>(to.data() + l.network_offset);
        ip.total_length = static_cast<std::uint16_t>(ip_bytes);
        detail::set_fragment(ip, cut, number);
        ip.checksum = 0;
        ip.checksum = checksum_sum{}.add({to.data() + l.network_offset, sizeof(ipv4_header)}).checksum();
        return length;
    }
    packet_layout here = l;  // where everything is; the lengths alone are others
    here.datagram_end = length;
    packet_view const piece(to.first(length), here);
    detail::set_ip_length(piece, ip_bytes, number);
    if (cut.how == cutting::method::tcp)
        detail::set_segment(piece.tcp(), cut, number);
    else
        piece.udp().length = static_cast<std::uint16_t>(length - l.transport_offset);
    checksum_state state = checksum_state::unknown;
    full_checksum::commit(piece, {}, state);
    return length;
}

inline void finish_checksum(frame& f, packet_view const& packet) noexcept {
    if (f.offload.checksum != checksum_state::partial) return;
    full_checksum::commit(packet, {}, f.offload.checksum);
}

}  // namespace halfproxy
