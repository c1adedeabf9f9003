// SPDX-License-Identifier: BSL-1.0
// What a flood is, and when to let its packets gather before the next look at the ports.
#pragma once

#include <halfproxy/core/time.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace halfproxy {

/// Packets that come about as fast as they are served are served one by one, each with system calls and looks at rings of its own: a third of
/// what answering a SYN costs. Network cards let packets gather for some 50 us for that reason (interrupt moderation), which adds as much to every
/// round trip. Here only what ends here waits: from a millisecond in which so many packets per second or more did not go on to the other port, and at most one in 16
/// did, until one without. Connections through a flood wait with it.
///
/// Ports that can do something about a flood are told of it (flood_aware_io) whatever passes beside it, and for longer: what they do costs more than a pause, to begin and
/// to end.
class gathering {
  public:
    static constexpr packet_clock::duration window = std::chrono::milliseconds{1};
    static constexpr std::size_t passing_share = 16;
    static constexpr std::size_t enough = 32;  ///< a step with so many packets is no waste
    static constexpr packet_clock::duration lasting = std::chrono::seconds{1};

    /// That do not pass; from 1,000 on.
    explicit constexpr gathering(std::uint32_t packets_per_second) noexcept
        : packets_per_window_(std::max<std::size_t>(packets_per_second / (std::chrono::seconds{1} / window), 1)) {}

    /// What a step has received, and how much of it went on. True: to pause now saves work.
    constexpr bool pays_after(std::size_t received, std::size_t passed, time_point now) noexcept {
        received_ += received;
        passed_ += passed;
        if (now - begin_ >= window) close_window(now);
        return pays_ && received < enough;
    }

    /// There was a flood within `lasting`.
    [[nodiscard]] constexpr bool flooded(time_point now) const noexcept { return now < lasts_until_; }

  private:
    constexpr void close_window(time_point now) noexcept {
        auto const windows = static_cast<std::size_t>((now - begin_) / window);
        bool const flood = (received_ - passed_) / packets_per_window_ >= windows;
        if (flood) lasts_until_ = now + lasting;
        pays_ = flood && passed_ * passing_share <= received_;
        received_ = passed_ = 0;
        begin_ = now;
    }

    std::size_t packets_per_window_;
    time_point begin_{};
    time_point lasts_until_{};
    std::size_t received_ = 0;
    std::size_t passed_ = 0;
    bool pays_ = false;
};

}  // namespace halfproxy
