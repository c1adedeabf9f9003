// SPDX-License-Identifier: BSL-1.0
// How long to poll empty ports before sleeping: long when packets come soon after, not at all when they do not.
#pragma once

#include <algorithm>
#include <chrono>

namespace halfproxy {

/// A sleep that ended sooner than the longest spin would have was a mistake: the budget doubles. A longer one shows that
/// spinning was in vain: the budget halves, down to none. Between packets that come less than `longest` apart nobody
/// sleeps; with light load nobody spins. Linux' haltpoll governor decides on the same grounds.
class adaptive_spin {
  public:
    using duration = std::chrono::nanoseconds;

    explicit constexpr adaptive_spin(duration longest) noexcept : longest_(std::max(longest, duration::zero())) {}

    /// Ports that have been empty for so long are to be slept on.
    [[nodiscard]] constexpr duration budget() const noexcept { return budget_; }

    constexpr void woke_after(duration slept) noexcept {
        duration const smallest = longest_ / steps;
        if (slept <= longest_)
            budget_ = std::min(std::max(budget_ * 2, smallest), longest_);
        else
            budget_ = budget_ / 2 >= smallest ? budget_ / 2 : duration::zero();
    }

  private:
    static constexpr int steps = 8;  ///< smallest spin: shorter ones cost more in clock readings than they save

    duration longest_;
    duration budget_ = duration::zero();
};

}  // namespace halfproxy
