// SPDX-License-Identifier: BSL-1.0
// A port for tests of the pump: frames stand in a queue, what is sent is written down, and its room can run out.
#pragma once

#include <halfproxy/io/packet_io.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <span>
#include <vector>

namespace halfproxy::test {

using frame_bytes = std::vector<std::uint8_t>;

class queue_io {
  public:
    std::size_t receive(std::span<frame> frames) noexcept {
        ++receives;
        lent_.clear();
        while (lent_.size() < frames.size() && !waiting.empty()) {
            lent_.push_back(std::move(waiting.front()));
            waiting.pop_front();
            frame_bytes& bytes = lent_.back();
            auto const length = static_cast<std::uint32_t>(bytes.size());
            bytes.resize(length + frame_slack_bytes);
            frame& f = frames[lent_.size() - 1];
            f.data = bytes.data();
            f.length = f.wire_length = length;
            f.capacity = length + frame_slack_bytes;
            f.link = link_type::ethernet;
            f.offload = offload;
        }
        return lent_.size();
    }

    std::size_t transmit(std::span<tx_frame const> frames) noexcept {
        std::size_t const taken = std::min(frames.size(), room);
        room -= taken;
        for (tx_frame const& f : frames.first(taken)) {
            sent.emplace_back(f.bytes.begin(), f.bytes.end());
            sent_from.push_back(f.bytes.data());
            sent_offload.push_back(f.offload);
        }
        return taken;
    }

    [[nodiscard]] io_capabilities capabilities() const noexcept { return {.max_frame_bytes = 65'535}; }

    /// Where the bytes of the last receive() stand.
    [[nodiscard]] std::uint8_t const* lent(std::size_t i) const noexcept { return lent_[i].data(); }

    std::deque<frame_bytes> waiting{};
    std::vector<frame_bytes> sent{};
    std::vector<std::uint8_t const*> sent_from{};
    std::vector<offload_info> sent_offload{};
    std::size_t room = std::numeric_limits<std::size_t>::max();
    std::size_t receives = 0;
    offload_info offload{};

  private:
    std::vector<frame_bytes> lent_{};
};

static_assert(packet_io<queue_io> && !pollable_packet_io<queue_io>);

}  // namespace halfproxy::test
