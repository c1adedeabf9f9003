// SPDX-License-Identifier: BSL-1.0
// The virtio-net header that packet sockets put before each frame, both ways.
#pragma once

#include <halfproxy/core/frame.hpp>

#include <algorithm>
#include <cstdint>

namespace halfproxy::af_packet_detail {

/// The kernel makes a contiguous header of this length for a large segment; no stack's headers are longer.
inline constexpr std::uint16_t max_linear_bytes = 256;

/// virtio 1.2 section 5.1.6 in host byte order, as packet sockets speak it. Own definition: newer
/// versions of the kernel's header for it are not valid C++ (a member named class).
struct virtio_header {
    std::uint8_t flags;
    std::uint8_t segment_type;
    std::uint16_t header_length;
    std::uint16_t segment_size;
    std::uint16_t checksum_start;
    std::uint16_t checksum_offset;
};
static_assert(sizeof(virtio_header) == 10);
inline constexpr std::uint8_t needs_checksum = 1;
inline constexpr std::uint8_t data_valid = 2;

inline offload_info to_offload(virtio_header const& header) noexcept {
    offload_info out;
    if ((header.flags & needs_checksum) != 0) out.checksum = checksum_state::partial;
    else if ((header.flags & data_valid) != 0) out.checksum = checksum_state::verified;
    out.segment_type = header.segment_type;
    out.segment_size = header.segment_size;
    out.header_length = header.header_length;
    out.checksum_start = header.checksum_start;
    out.checksum_offset = header.checksum_offset;
    return out;
}

inline virtio_header to_header(offload_info const& offload) noexcept {
    virtio_header out{};
    if (offload.checksum == checksum_state::partial) {
        out.flags = needs_checksum;
        out.checksum_start = offload.checksum_start;
        out.checksum_offset = offload.checksum_offset;
    }
    if (offload.segment_size != 0) {
        out.segment_type = offload.segment_type;
        out.segment_size = offload.segment_size;
        out.header_length = std::min(offload.header_length, max_linear_bytes);
    }
    return out;
}

}  // namespace halfproxy::af_packet_detail
