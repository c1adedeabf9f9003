// SPDX-License-Identifier: BSL-1.0
// SipHash-2-4 (Aumasson, Bernstein 2012), over 64-bit words: the keyed hash of the SYN cookie.
#pragma once

#include <halfproxy/core/inline.hpp>

#include <array>
#include <bit>
#include <cstdint>
#include <span>

namespace halfproxy {

/// A 128-bit secret as two little-endian words.
using siphash_key = std::array<std::uint64_t, 2>;

/// The message is `words` (8 bytes each, little-endian) followed by `tail_bytes` (0 to 7) low bytes of `tail`.
struct siphash_2_4 {
    using key_type = siphash_key;

    [[nodiscard]] HALFPROXY_ALWAYS_INLINE std::uint64_t operator()(siphash_key const& key, std::span<std::uint64_t const> words,
                                           std::uint64_t tail, unsigned tail_bytes) const noexcept {
        state v{{key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
                 key[1] ^ 0x7465646279746573u}};
        for (std::uint64_t word : words) absorb(v, word);
        absorb(v, tail | (words.size() * 8 + tail_bytes) << 56);
        v[2] ^= 0xff;
        for (int i = 0; i < 4; ++i) round(v);
        return v[0] ^ v[1] ^ v[2] ^ v[3];
    }

  private:
    using state = std::array<std::uint64_t, 4>;

    static void absorb(state& v, std::uint64_t word) noexcept {
        v[3] ^= word;
        round(v);
        round(v);
        v[0] ^= word;
    }

    static void round(state& v) noexcept {
        v[0] += v[1];
        v[1] = std::rotl(v[1], 13) ^ v[0];
        v[0] = std::rotl(v[0], 32);
        v[2] += v[3];
        v[3] = std::rotl(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = std::rotl(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = std::rotl(v[1], 17) ^ v[2];
        v[2] = std::rotl(v[2], 32);
    }
};

}  // namespace halfproxy
