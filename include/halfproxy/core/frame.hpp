// SPDX-License-Identifier: BSL-1.0
// One frame on its way through: where its bytes are, what the device said of it, what became of it.
#pragma once

#include <halfproxy/core/bytes.hpp>
#include <halfproxy/core/verdict.hpp>

#include <cstdint>

namespace halfproxy {

/// The two ports of a half proxy. Clients come from outside.
enum class side : std::uint8_t { outside, inside };

[[nodiscard]] constexpr side other(side s) noexcept { return s == side::outside ? side::inside : side::outside; }

/// How a frame begins. The values are ours; io/pcap_file.hpp maps the LINKTYPE_ numbers.
enum class link_type : std::uint8_t {
    ethernet,
    raw_ip,        ///< begins with the IP header, version by its first nibble
    linux_cooked,  ///< 16-byte header of Linux's "any" device
    linux_cooked2, ///< its 20-byte successor
    null_loopback, ///< 4-byte address family in the capturing host's byte order, or big-endian
    unsupported,   ///< carried, never looked into
};

/// What is known of the transport checksum.
enum class checksum_state : std::uint8_t {
    unknown,   ///< as on the wire; nobody looked
    verified,  ///< the device checked it
    partial,   ///< only the pseudo-header's sum is in the field; the sender's device would have finished it
};

/// What travels beside a frame's bytes between a device and the engine: the virtio-net header's content
/// (virtio 1.2 section 5.1.6). `segment_size` 0 means an ordinary frame; otherwise the frame is one large
/// segment the device will cut into pieces of that many payload bytes.
struct offload_info {
    checksum_state checksum = checksum_state::unknown;
    std::uint8_t segment_type = 0;     ///< VIRTIO_NET_HDR_GSO_*, passed through untouched
    std::uint16_t segment_size = 0;    ///< payload bytes per piece
    std::uint16_t header_length = 0;   ///< bytes of headers before the payload
    std::uint16_t checksum_start = 0;  ///< from the frame's first byte; meaningful when partial
    std::uint16_t checksum_offset = 0; ///< of the field, from checksum_start
};

/// A received frame. The bytes belong to the device that received it and stay valid until its next
/// receive(). The engine changes them in place and writes the verdict.
struct frame {
    std::uint8_t* data = nullptr;
    std::uint32_t length = 0;       ///< bytes present
    std::uint32_t capacity = 0;     ///< bytes usable from `data`, at least `length`
    std::uint32_t wire_length = 0;  ///< bytes the frame had on the wire; more than `length` only in a cut capture
    side arrival = side::outside;
    link_type link = link_type::ethernet;
    verdict outcome = verdict::forward;
    drop_reason reason = drop_reason::none;
    offload_info offload{};
    std::uint32_t via = 0;  ///< the next hop of the engine's choice, by a number of its address policy's; 0: as the destination says

    [[nodiscard]] byte_span bytes() const noexcept { return {data, length}; }
};

/// A frame to be sent. The bytes need to live only during the call of transmit().
struct tx_frame {
    byte_view bytes;
    offload_info offload{};
};

}  // namespace halfproxy
