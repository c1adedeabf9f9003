// SPDX-License-Identifier: BSL-1.0
// One packet cut into several: a device's large segment into what it stands for, an IPv4 packet that is too long into fragments.
//
// Read RFC 791 section 3.2 (fragmentation) and RFC 9293 first. Devices cut large segments up themselves, but not where they lie inside a tunnel.
#pragma once

#include <halfproxy/core/bytes.hpp>
#include <halfproxy/core/frame.hpp>
#include <halfproxy/wire/parse.hpp>

#include <cstdint>

namespace halfproxy {

/// How a packet is cut: into `count` pieces, each with all headers up to offset `content_at` of the frame and `piece_bytes` of what follows, the last
/// one with the rest.
struct cutting {
    enum class method : std::uint8_t { tcp, udp, fragments };
    std::uint32_t count = 0;  ///< 0: it cannot be cut
    std::uint32_t content_at = 0;
    std::uint32_t piece_bytes = 0;
    method how = method::tcp;

    /// Of the longest piece, from its IP header on.
    [[nodiscard]] constexpr std::uint32_t packet_bytes(std::uint32_t network_offset) const noexcept { return content_at - network_offset + piece_bytes; }
};

/// Of a device's large segment, TCP or UDP.
[[nodiscard]] cutting cut_segment(frame const& f, const_packet_view const& packet) noexcept;

/// Of an IPv4 packet without options, or a fragment of one, that may be fragmented: into packets of at most `mtu` bytes.
[[nodiscard]] cutting cut_into_fragments(frame const& f, const_packet_view const& packet, std::uint16_t mtu) noexcept;

/// Writes piece `number` as a whole frame, link header included, with right checksums. `to` has room for it: `content_at` + `piece_bytes`. What a device
/// was to finish of a packet that is to be fragmented must be finished before (finish_checksum). Returns the frame's length. Work: the piece.
[[nodiscard]] std::uint32_t write_piece(byte_span to, frame const& f, const_packet_view const& packet, cutting const& cut, std::uint32_t number) noexcept;

/// Computes the transport checksum that the device was to finish, if it was.
void finish_checksum(frame& f, packet_view const& packet) noexcept;

}  // namespace halfproxy

#include <halfproxy/translate/impl/packet_pieces.hpp>
