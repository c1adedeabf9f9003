// SPDX-License-Identifier: BSL-1.0
// How many per second, smoothed: an exponentially weighted average over slots of virtual time, in integers.
#pragma once

#include <halfproxy/core/time.hpp>

#include <algorithm>
#include <cstdint>

namespace halfproxy {

/// Every slot's rate pulls the average by one part in `slots` towards it, so the average forgets with a time constant of about slots * slot.
struct rate_smoothing {
    timeout_ms slot = 100;    ///< 1 to 10,000 ms
    std::uint32_t slots = 4;  ///< 1 (no smoothing) to 1,000
};

/// Events per second. An event may be taken back later: then it is the rate of those that were not. Rates beyond 2^24 per second count
/// as that.
class rate_meter {
  public:
    void add(stamp_ms now, rate_smoothing const& s, std::int32_t by = 1) noexcept {
        turn_to(now, s);
        count_ += by;
    }

    /// What the average will be at least when this slot ends: a sudden flood is seen before its slot is over.
    [[nodiscard]] std::uint32_t per_second(stamp_ms now, rate_smoothing const& s) noexcept {
        turn_to(now, s);
        return std::max(average_, pulled(s)) >> fraction_bits;
    }

  private:
    static constexpr unsigned fraction_bits = 8;
    static constexpr std::int64_t most = std::int64_t{0xffff'ffff};

    /// The average with the running slot's count taken for the whole slot's.
    [[nodiscard]] std::uint32_t pulled(rate_smoothing const& s) const noexcept {
        std::int64_t const sample = std::int64_t{count_} * (1000 << fraction_bits) / s.slot;
        std::int64_t const average = (std::int64_t{average_} * (s.slots - 1) + sample) / s.slots;
        return static_cast<std::uint32_t>(std::clamp<std::int64_t>(average, 0, most));
    }

    void turn_to(stamp_ms now, rate_smoothing const& s) noexcept {
        std::uint32_t const elapsed = now.value - slot_begin_.value;
        if (elapsed < s.slot) [[likely]]
            return;
        std::uint32_t const ended = elapsed / s.slot;
        average_ = pulled(s);
        average_ = static_cast<std::uint32_t>(average_ * kept_of(s.slots, ended - 1) >> 32);
        count_ = 0;
        slot_begin_ = slot_begin_ + ended * s.slot;
    }

    /// ((slots - 1) / slots) ^ empty, as a fraction of 2^32: what empty slots leave of an average. Squares, so the work is bounded by 32 steps.
    [[nodiscard]] static std::uint64_t kept_of(std::uint32_t slots, std::uint32_t empty) noexcept {
        std::uint64_t result = std::uint64_t{1} << 32;
        std::uint64_t factor = (std::uint64_t{slots - 1} << 32) / slots;
        for (; empty != 0; empty >>= 1) {
            if ((empty & 1) != 0) result = result * factor >> 32;
            factor = factor * factor >> 32;
        }
        return result;
    }

    stamp_ms slot_begin_{};
    std::int32_t count_ = 0;      ///< in the running slot
    std::uint32_t average_ = 0;   ///< per second, with fraction_bits
};

static_assert(sizeof(rate_meter) == 12, "a service has two of them");

}  // namespace halfproxy
