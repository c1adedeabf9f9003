// SPDX-License-Identifier: BSL-1.0
// TCP sequence arithmetic (RFC 9293 section 3.4): positions and distances modulo 2^32.
#pragma once

#include <cstdint>

namespace halfproxy {

/// A distance between two sequence numbers, in bytes of sequence space.
using seq_len = std::uint32_t;

/// A position in sequence space. Ordered only by its signed distance: `a < b` holds when b lies less
/// than 2^31 ahead of a, so there is no operator< that a sort could misuse.
struct seq_num {
    std::uint32_t value = 0;

    friend constexpr bool operator==(seq_num, seq_num) noexcept = default;
    friend constexpr seq_num operator+(seq_num a, seq_len n) noexcept { return {a.value + n}; }
    friend constexpr seq_num operator-(seq_num a, seq_len n) noexcept { return {a.value - n}; }

    /// Signed distance from `b` to `a`: positive when a is ahead.
    friend constexpr std::int32_t operator-(seq_num a, seq_num b) noexcept {
        return static_cast<std::int32_t>(a.value - b.value);
    }
    [[nodiscard]] constexpr bool before(seq_num b) const noexcept { return *this - b < 0; }
    [[nodiscard]] constexpr bool after(seq_num b) const noexcept { return *this - b > 0; }
    [[nodiscard]] constexpr bool at_or_before(seq_num b) const noexcept { return *this - b <= 0; }
    [[nodiscard]] constexpr bool at_or_after(seq_num b) const noexcept { return *this - b >= 0; }
};

[[nodiscard]] constexpr seq_num later(seq_num a, seq_num b) noexcept { return {a.after(b) ? a.value : b.value}; }

}  // namespace halfproxy
