// SPDX-License-Identifier: BSL-1.0
// Room for a longer network header, in place: a frame grows or shrinks behind its link header.
#pragma once

#include <halfproxy/core/frame.hpp>

#include <cstddef>
#include <cstdint>

namespace halfproxy {

/// Opens `bytes` at offset `at`, with undefined content: what stands behind moves towards the frame's end. A frame promises room only behind
/// its last byte (io/packet_io.hpp), so the payload moves, not the link header before it: 1,500 bytes cost about as much as one cache miss.
/// The device's offsets (checksum_start, header_length) move along. False, and nothing changed, when the capacity does not allow it.
[[nodiscard]] bool open_room(frame& f, std::size_t at, std::size_t bytes) noexcept;

/// Takes `bytes` at offset `at` away. What stands before moves, at most a link header: `data` begins later, the payload stays where it is.
/// There must be so many bytes behind `at`.
void close_room(frame& f, std::size_t at, std::size_t bytes) noexcept;

/// Cuts off what lies behind the datagram (link padding), so that nothing of it stands within a datagram that grows. Frames that a
/// capture has cut stay as they are.
void trim_padding(frame& f, std::uint32_t datagram_end) noexcept;

/// Makes the link header announce IP of this version, 4 or 6, at `network_offset`. A null/loopback header announces IPv6 by 24, which
/// every reader knows, in the byte order it has. Raw IP announces nothing.
void announce_ip(frame& f, std::size_t network_offset, std::uint8_t version) noexcept;

}  // namespace halfproxy

#include <halfproxy/translate/impl/frame_room.hpp>
