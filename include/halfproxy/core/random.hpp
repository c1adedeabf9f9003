// SPDX-License-Identifier: BSL-1.0
// Randomness as an argument: a small generator seeded by the caller, for choices that need no secrecy.
#pragma once

#include <cstdint>

namespace halfproxy {

/// SplitMix64 (Steele, Lea, Flood 2014). Same seed, same sequence on every machine. Not for secrets:
/// keys come from the caller, who has a system random source.
class split_mix64 {
  public:
    using result_type = std::uint64_t;

    constexpr explicit split_mix64(std::uint64_t seed) noexcept : state_(seed) {}

    constexpr std::uint64_t operator()() noexcept {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }

    static constexpr std::uint64_t min() noexcept { return 0; }
    static constexpr std::uint64_t max() noexcept { return ~std::uint64_t{0}; }

    /// Uniform enough for simulation: the bias is under bound / 2^64.
    constexpr std::uint32_t below(std::uint32_t bound) noexcept {
        return static_cast<std::uint32_t>(((*this)() >> 32) * bound >> 32);
    }

  private:
    std::uint64_t state_;
};

}  // namespace halfproxy
