// SPDX-License-Identifier: BSL-1.0
// Hashes that choose backends: the same on every node that has the same seed.
#pragma once

#include <halfproxy/wire/address.hpp>

#include <cstdint>
#include <cstring>

namespace halfproxy {

/// SplitMix64's finalizer: every bit of the result depends on every bit of the argument.
[[nodiscard]] constexpr std::uint64_t mix64(std::uint64_t z) noexcept {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/// Chained: balance_hash(seed).add(...).add(...).value(). Not a MAC; who does not know the seed cannot aim at one backend cheaply.
class balance_hash {
  public:
    constexpr explicit balance_hash(std::uint64_t seed) noexcept : state_(mix64(seed + golden)) {}

    [[nodiscard]] constexpr balance_hash add(std::uint64_t word) const noexcept {
        balance_hash next = *this;
        next.state_ = mix64((state_ + golden) ^ word);
        return next;
    }
    [[nodiscard]] balance_hash add(ip_address const& a) const noexcept {
        std::uint64_t words[2];
        std::memcpy(words, a.bytes.data(), sizeof words);
        if (a.version == 4) return add(words[0] ^ 4);
        return add(words[0]).add(words[1] ^ a.version);
    }
    [[nodiscard]] constexpr std::uint64_t value() const noexcept { return state_; }

  private:
    static constexpr std::uint64_t golden = 0x9e3779b97f4a7c15u;
    std::uint64_t state_;
};

}  // namespace halfproxy
