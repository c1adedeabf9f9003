// SPDX-License-Identifier: BSL-1.0
// When a server counts as up or down: results of checks in, transitions out. No socket, no clock: time is an argument.
#pragma once

#include <halfproxy/balance/health_check.hpp>
#include <halfproxy/core/random.hpp>
#include <halfproxy/core/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

namespace halfproxy {

/// One server. rise and fall of 0 count as 1.
class health_state {
  public:
    explicit health_state(health_policy const& policy, health initially = health::down) noexcept : policy_(policy), state_(initially) {}

    /// A check ended. The new state when it has changed. `now` does not run backwards.
    std::optional<health> result(bool good, time_point now) noexcept {
        in_row_ = good == last_ ? in_row_ + 1 : 1;
        last_ = good;
        if (state_ == health::up) return good || in_row_ < std::max(policy_.fall, 1u) ? std::nullopt : go_down(now);
        if (!good || in_row_ < std::max(policy_.rise, 1u) || now - went_down_ < hold_) return std::nullopt;
        went_up_ = now;
        state_ = health::up;
        return state_;
    }

    /// How long it stays down at least, since it went down. 0 for one that does not flap.
    [[nodiscard]] packet_clock::duration hold() const noexcept { return hold_; }
    [[nodiscard]] health state() const noexcept { return state_; }
    [[nodiscard]] health_policy const& policy() const noexcept { return policy_; }

  private:
    std::optional<health> go_down(time_point now) noexcept {
        bool const flaps = went_up_ && now - *went_up_ < policy_.flap_window;
        packet_clock::duration const longer = std::clamp<packet_clock::duration>(hold_ * 2, policy_.first_hold, std::max(policy_.first_hold, policy_.longest_hold));
        hold_ = flaps ? longer : packet_clock::duration::zero();
        went_down_ = now;
        state_ = health::down;
        return state_;
    }

    health_policy policy_;
    health state_;
    bool last_ = false;
    std::uint32_t in_row_ = 0;
    packet_clock::duration hold_{};
    time_point went_down_{};
    std::optional<time_point> went_up_{};  ///< none: never by a check
};

/// When checks begin. The first within one interval, so that servers added together are not checked together; then every interval, give or take.
class health_schedule {
  public:
    health_schedule(health_policy const& policy, std::uint64_t seed) noexcept : policy_(policy), random_(seed) {}

    [[nodiscard]] packet_clock::duration first() noexcept { return scaled(policy_.interval, random_.below(1'000), 1'000); }

    /// From the beginning of the last check.
    [[nodiscard]] packet_clock::duration next() noexcept {
        std::uint32_t const jitter = std::min(policy_.jitter_percent, 100u) * 10;
        return scaled(policy_.interval, 1'000 - jitter + random_.below(2 * jitter + 1), 1'000);
    }

  private:
    [[nodiscard]] static packet_clock::duration scaled(packet_clock::duration d, std::uint32_t part, std::uint32_t whole) noexcept {
        return d / whole * part;
    }

    health_policy policy_;
    split_mix64 random_;
};

}  // namespace halfproxy
