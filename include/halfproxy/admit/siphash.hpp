// SPDX-License-Identifier: BSL-1.0
// SipHash-2-4 (Aumasson, Bernstein 2012), over 64-bit words: the keyed hash of the SYN cookie. One message, or a burst of them side by side.
//
// Each step of a round waits for the one before, so that one message keeps a quarter of a processor busy. The messages of a burst are
// independent: a vector of 64-bit lanes does the same steps for four or eight of them at once.
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/core/vector_unit.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace halfproxy {

/// A 128-bit secret as two little-endian words.
using siphash_key = std::array<std::uint64_t, 2>;

/// Messages of `Words` words, each under a key of its own: word w of message i stands at word[w][i], so that neighbours fill a vector.
template <std::size_t Words>
struct keyed_messages {
    static constexpr std::size_t capacity = 64;
    using row = std::array<std::uint64_t, capacity>;

    alignas(64) std::array<row, 2> key{};
    std::array<row, Words> word{};
    row digest{};
};

/// The message is `words` (8 bytes each, little-endian) followed by `tail_bytes` (0 to 7) low bytes of `tail`.
struct siphash_2_4 {
    using key_type = siphash_key;

    [[nodiscard]] std::uint64_t operator()(siphash_key const& key, std::span<std::uint64_t const> words, std::uint64_t tail,
                                           unsigned tail_bytes) const noexcept;

    /// The digests of the first `count` messages, whose last word is their tail. What stands behind the others' messages is hashed too, up to a
    /// vector. `unit` is one that the processor has.
    template <std::size_t Words>
    static void hash_all(keyed_messages<Words>& messages, std::size_t count, unsigned tail_bytes, vector_unit unit) noexcept;
};

}  // namespace halfproxy

#include <halfproxy/admit/impl/siphash.hpp>
