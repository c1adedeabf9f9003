// SPDX-License-Identifier: BSL-1.0
// A frame in a buffer that ends where its capacity does, so that a sanitizer sees any step beyond, and what a test reads of it.
#pragma once

#include "tests/support/timeline.hpp"

#include <halfproxy/wire/parse.hpp>

namespace halfproxy::test {

class one_frame {
  public:
    explicit one_frame(byte_string const& bytes, std::size_t room = 64, link_type link = link_type::ethernet) : buffer_(bytes) {
        buffer_.resize(bytes.size() + room);
        buffer_.shrink_to_fit();
        f.data = buffer_.data();
        f.length = f.wire_length = static_cast<std::uint32_t>(bytes.size());
        f.capacity = static_cast<std::uint32_t>(buffer_.size());
        f.link = link;
    }
    one_frame(one_frame const&) = delete;

    frame f{};

    [[nodiscard]] packet_view view() const { return parse(f.link, f.bytes(), f.wire_length); }
    [[nodiscard]] byte_string bytes() const { return {f.data, f.data + f.length}; }
    /// Behind the Ethernet header without tags.
    [[nodiscard]] byte_string ip() const { return {f.data + 14, f.data + f.length}; }

  private:
    byte_string buffer_;
};

/// What a device does with a partial checksum.
inline void finish_checksum(byte_string& bytes, offload_info const& offload) {
    std::size_t const start = offload.checksum_start;
    std::uint16_t const sum = naive_checksum(byte_view(bytes).subspan(start));
    put16(bytes, start + offload.checksum_offset, sum == 0 ? 0xffff : sum);
}

/// Leaves a TCP or UDP frame's checksum to the device, as a host does.
inline void leave_checksum(frame& f) {
    byte_string const whole(f.data, f.data + f.length);
    decoded const d = decode(whole);
    std::size_t const transport = f.length - d.transport.size();
    std::size_t const at = d.protocol == 6 ? 16 : 6;
    std::uint16_t const sum = naive_sum(d.source + d.destination + u32(static_cast<std::uint32_t>(d.transport.size())) + u32(d.protocol));
    f.data[transport + at] = static_cast<std::uint8_t>(sum >> 8);
    f.data[transport + at + 1] = static_cast<std::uint8_t>(sum);
    f.offload.checksum = checksum_state::partial;
    f.offload.checksum_start = static_cast<std::uint16_t>(transport);
    f.offload.checksum_offset = static_cast<std::uint16_t>(at);
}

}  // namespace halfproxy::test
