// SPDX-License-Identifier: BSL-1.0
// Bodies of translate/option_edit.hpp.
#pragma once

#include <halfproxy/translate/option_edit.hpp>

#include <array>
#include <cstring>

namespace halfproxy {

namespace detail {

[[nodiscard]] inline std::uint8_t* option_bytes(packet_view const& packet) noexcept {
    return packet.bytes().data() + packet.layout().transport_offset + sizeof(tcp_header);
}

/// One byte, at its place in the checksum's words. The TCP header has an even number of bytes before it.
inline void set_byte(std::uint8_t* options, std::size_t at, std::uint8_t value, header_changes& changes) noexcept {
    unsigned const up = at % 2 == 0 ? 8 : 0;
    changes.transport.change16(static_cast<std::uint16_t>(options[at] << up), static_cast<std::uint16_t>(value << up));
    options[at] = value;
}

/// Kind and length stand before the content.
inline void blank_option(packet_view const& packet, std::size_t content_at, std::size_t content_bytes, header_changes& changes) noexcept {
    for (std::size_t at = content_at - 2; at < content_at + content_bytes; ++at)
        set_byte(option_bytes(packet), at, tcp_option::no_operation, changes);
}

/// The IP header's length field, and through it both checksums.
inline void lengthen(packet_view const& packet, std::uint32_t by, header_changes& changes) noexcept {
    packet_layout const& l = packet.layout();
    auto const tcp_bytes = static_cast<std::uint16_t>(l.datagram_end - l.transport_offset);
    changes.pseudo.change16(tcp_bytes, static_cast<std::uint16_t>(tcp_bytes + by));
    big16& field = l.ip_version == 4 ? packet.ipv4().total_length : packet.ipv6().payload_length;
    std::uint16_t const before = field;
    field = static_cast<std::uint16_t>(before + by);
    if (l.ip_version == 4) changes.network.change16(before, field);
}

[[nodiscard]] inline bool has_room_for_option(frame const& f, packet_layout const& l, std::size_t tcp_header_bytes, std::size_t bytes) noexcept {
    bool const in_frame = f.length + bytes <= f.capacity && f.length == f.wire_length;
    bool const in_ip = l.datagram_end - l.network_offset + bytes <= 0xffff;
    return in_frame && in_ip && !l.is_fragment() && tcp_header_bytes + bytes <= 60;
}

}  // namespace detail

inline void blank_timestamps(packet_view const& packet, tcp_options& options, header_changes& changes) noexcept {
    detail::blank_option(packet, options.timestamps_at, 8, changes);
    options.has_timestamps = false;
}

inline void blank_sack(packet_view const& packet, tcp_options& options, header_changes& changes) noexcept {
    detail::blank_option(packet, options.sack_at, options.sack_count * std::size_t{8}, changes);
    options.sack_count = 0;
}

inline void lower_mss(packet_view const& packet, tcp_options& options, std::uint16_t ceiling, header_changes& changes) noexcept {
    if (!options.has_mss || options.mss <= ceiling) return;
    detail::set_byte(detail::option_bytes(packet), options.mss_at, static_cast<std::uint8_t>(ceiling >> 8), changes);
    detail::set_byte(detail::option_bytes(packet), options.mss_at + 1u, static_cast<std::uint8_t>(ceiling), changes);
    options.mss = ceiling;
}

inline bool insert_option(frame& f, packet_view const& packet, byte_view option) noexcept {
    packet_layout const& l = packet.layout();
    tcp_header& tcp = packet.tcp();
    auto const bytes = static_cast<std::uint32_t>(option.size());
    std::size_t const header_bytes = std::size_t{tcp.offset_and_high_flags} / 16 * 4;
    if (!detail::has_room_for_option(f, l, header_bytes, bytes)) return false;
    header_changes changes;
    detail::lengthen(packet, bytes, changes);
    auto const longer = static_cast<std::uint8_t>(tcp.offset_and_high_flags + (bytes / 4 << 4));
    changes.transport.change16(static_cast<std::uint16_t>(tcp.offset_and_high_flags << 8), static_cast<std::uint16_t>(longer << 8));
    tcp.offset_and_high_flags = longer;
    for (std::size_t i = 0; i < bytes; i += 4) changes.transport.change32(0, header_at<big32>(option.data() + i));
    incremental_checksum::commit(packet, changes, f.offload.checksum);

    std::uint8_t* const at = detail::option_bytes(packet);
    std::memmove(at + bytes, at, f.length - static_cast<std::size_t>(at - f.data));
    std::memcpy(at, option.data(), bytes);
    f.length += bytes;
    f.wire_length += bytes;
    if (f.offload.segment_size != 0) f.offload.header_length = static_cast<std::uint16_t>(f.offload.header_length + bytes);
    return true;
}

inline bool insert_timestamps(frame& f, packet_view const& packet, std::uint32_t value, std::uint32_t echo) noexcept {
    std::array<std::uint8_t, timestamp_option_bytes> option;
    header_at<big32>(option.data()) = 0x0101'080a;
    header_at<big32>(option.data() + 4) = value;
    header_at<big32>(option.data() + 8) = echo;
    return insert_option(f, packet, option);
}

}  // namespace halfproxy
