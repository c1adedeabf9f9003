// SPDX-License-Identifier: BSL-1.0
// A bound on how often something may happen: so many times a second, in the time of whoever asks.
#pragma once

#include <halfproxy/core/time.hpp>

#include <algorithm>
#include <cstdint>

namespace halfproxy {

/// Full at first; after a pause of a second or more it is full again. A rate of 0 never gives.
class token_bucket {
  public:
    constexpr explicit token_bucket(std::uint32_t per_second) noexcept
        : per_second_(per_second), thousandths_(std::uint64_t{per_second} * 1000) {}

    [[nodiscard]] constexpr bool take(stamp_ms now) noexcept {
        std::uint64_t const since = now.value - last_.value;
        last_ = now;
        thousandths_ = std::min(thousandths_ + since * per_second_, std::uint64_t{per_second_} * 1000);
        if (thousandths_ < 1000) return false;
        thousandths_ -= 1000;
        return true;
    }

  private:
    std::uint32_t per_second_;
    std::uint64_t thousandths_;  ///< of tokens: a millisecond adds per_second_ of them
    stamp_ms last_{};
};

}  // namespace halfproxy
