// SPDX-License-Identifier: BSL-1.0
// A port without a device: a test or a lesson pushes the frames to receive and reads the frames that were sent.
#pragma once

#include <halfproxy/io/packet_io.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace halfproxy {

struct memory_io_options {
    link_type link = link_type::ethernet;
    std::size_t frames = 256;          ///< that may wait to be received, and that may have been sent
    std::uint32_t frame_bytes = 2048;  ///< longest frame
    bool offloads = false;             ///< what capabilities() says of partial checksums and segmentation
};

/// The exemplar of packet_io. All memory is taken in the constructor: frames x (frame_bytes + slack), twice.
class memory_io {
  public:
    struct sent_frame {
        byte_view bytes;  ///< until clear_sent()
        offload_info offload{};
    };

    explicit memory_io(memory_io_options const& options = {})
        : options_(options),
          slot_bytes_(options.frame_bytes + frame_slack_bytes),
          waiting_bytes_(options.frames * slot_bytes_),
          waiting_(options.frames),
          sent_bytes_(options.frames * options.frame_bytes) {
        sent_.reserve(options.frames);
    }

    /// Copies a frame to be received. False, and nothing happens, when the queue is full (frames received last still
    /// count) or the frame is longer than frame_bytes. `wire_length` 0 means that the frame is not cut.
    bool push(byte_view bytes, std::uint32_t wire_length = 0, offload_info const& offload = {}) noexcept {
        if (held_ + queued_ == options_.frames || bytes.size() > options_.frame_bytes) return false;
        std::size_t const slot = (first_ + held_ + queued_++) % options_.frames;
        std::uint8_t* const data = waiting_bytes_.data() + slot * slot_bytes_;
        if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
        frame& f = waiting_[slot];
        f = {};
        f.data = data;
        f.length = static_cast<std::uint32_t>(bytes.size());
        f.capacity = slot_bytes_;
        f.wire_length = std::max(wire_length, f.length);
        f.link = options_.link;
        f.offload = offload;
        return true;
    }

    std::size_t receive(std::span<frame> in) noexcept {
        if (options_.frames == 0) return 0;
        first_ = (first_ + held_) % options_.frames;
        held_ = std::min(queued_, in.size());
        for (std::size_t i = 0; i < held_; ++i) in[i] = waiting_[(first_ + i) % options_.frames];
        queued_ -= held_;
        return held_;
    }

    /// Takes frames until `frames` of them wait in sent(); a frame longer than frame_bytes is not taken either.
    std::size_t transmit(std::span<tx_frame const> out) noexcept {
        std::size_t taken = 0;
        for (tx_frame const& f : out) {
            if (sent_.size() == options_.frames || f.bytes.size() > options_.frame_bytes) break;
            std::uint8_t* const data = sent_bytes_.data() + sent_.size() * options_.frame_bytes;
            if (!f.bytes.empty()) std::memcpy(data, f.bytes.data(), f.bytes.size());
            sent_.push_back({byte_view(data, f.bytes.size()), f.offload});
            ++taken;
        }
        return taken;
    }

    [[nodiscard]] io_capabilities capabilities() const noexcept {
        return {options_.link, options_.offloads, options_.offloads, options_.frame_bytes};
    }

    /// What was sent since the last clear_sent(), oldest first.
    [[nodiscard]] std::span<sent_frame const> sent() const noexcept { return sent_; }
    void clear_sent() noexcept { sent_.clear(); }

    /// Frames pushed and not yet received.
    [[nodiscard]] std::size_t waiting() const noexcept { return queued_; }

  private:
    memory_io_options options_;
    std::uint32_t slot_bytes_;
    std::vector<std::uint8_t> waiting_bytes_;
    std::vector<frame> waiting_;  // a ring: held_ frames the caller still looks at, then queued_ ones
    std::vector<std::uint8_t> sent_bytes_;
    std::vector<sent_frame> sent_;  // never grows beyond what was reserved
    std::size_t first_ = 0;
    std::size_t held_ = 0;
    std::size_t queued_ = 0;
};

static_assert(packet_io<memory_io>);

}  // namespace halfproxy
