// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/translate/frame_room.hpp>
#include <halfproxy/wire/headers.hpp>

#include <cstring>

namespace halfproxy {

namespace detail {

/// What the device was told of places behind the room.
inline void move_offload(frame& f, int by) noexcept {
    offload_info& o = f.offload;
    if (o.checksum == checksum_state::partial) o.checksum_start = static_cast<std::uint16_t>(o.checksum_start + by);
    if (o.segment_size != 0) o.header_length = static_cast<std::uint16_t>(o.header_length + by);
}

}  // namespace detail

inline bool open_room(frame& f, std::size_t at, std::size_t bytes) noexcept {
    if (f.length + bytes > f.capacity) return false;
    std::memmove(f.data + at + bytes, f.data + at, f.length - at);
    f.length += static_cast<std::uint32_t>(bytes);
    f.wire_length += static_cast<std::uint32_t>(bytes);
    detail::move_offload(f, static_cast<int>(bytes));
    return true;
}

inline void close_room(frame& f, std::size_t at, std::size_t bytes) noexcept {
    std::memmove(f.data + bytes, f.data, at);
    f.data += bytes;
    f.length -= static_cast<std::uint32_t>(bytes);
    f.capacity -= static_cast<std::uint32_t>(bytes);
    f.wire_length -= static_cast<std::uint32_t>(bytes);
    detail::move_offload(f, -static_cast<int>(bytes));
}

inline void trim_padding(frame& f, std::uint32_t datagram_end) noexcept {
    if (f.length != f.wire_length || f.length <= datagram_end) return;
    f.length = f.wire_length = datagram_end;
}

inline void announce_ip(frame& f, std::size_t network_offset, std::uint8_t version) noexcept {
    std::uint16_t const type = version == 4 ? ether_type::ipv4 : ether_type::ipv6;
    switch (f.link) {
        case link_type::ethernet:
        case link_type::linux_cooked: header_at<big16>(f.data + network_offset - 2) = type; return;
        case link_type::linux_cooked2: header_at<big16>(f.data) = type; return;
        case link_type::null_loopback: {
            bool const big = f.data[0] == 0;
            f.data[big ? 3 : 0] = version == 4 ? 2 : 24;
            return;
        }
        case link_type::raw_ip:
        case link_type::unsupported: return;
    }
}

}  // namespace halfproxy
