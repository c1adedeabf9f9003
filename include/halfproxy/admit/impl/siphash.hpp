// SPDX-License-Identifier: BSL-1.0
// Bodies of admit/siphash.hpp: the algorithm once, over words of one lane or of several.
#pragma once

#include <halfproxy/admit/siphash.hpp>

namespace halfproxy {

namespace detail {

/// `Word` is a 64-bit word, or a vector of them. Vectors go by reference: how they are passed by value depends on the processor.
template <class Word>
struct siphash_state {
    Word v0, v1, v2, v3;

    HALFPROXY_ALWAYS_INLINE siphash_state(Word const& k0, Word const& k1) noexcept
        : v0(k0 ^ std::uint64_t{0x736f6d6570736575}), v1(k1 ^ std::uint64_t{0x646f72616e646f6d}),
          v2(k0 ^ std::uint64_t{0x6c7967656e657261}), v3(k1 ^ std::uint64_t{0x7465646279746573}) {}

    HALFPROXY_ALWAYS_INLINE void absorb(Word const& word) noexcept {
        v3 ^= word;
        round();
        round();
        v0 ^= word;
    }

    /// The digest is in v0.
    HALFPROXY_ALWAYS_INLINE void finish() noexcept {
        v2 ^= std::uint64_t{0xff};
        for (int i = 0; i < 4; ++i) round();
        v0 ^= v1 ^ v2 ^ v3;
    }

  private:
    template <int Bits>
    HALFPROXY_ALWAYS_INLINE static void turn(Word& v) noexcept {
        v = v << Bits | v >> (64 - Bits);
    }

    HALFPROXY_ALWAYS_INLINE void round() noexcept {
        v0 += v1;
        turn<13>(v1);
        v1 ^= v0;
        turn<32>(v0);
        v2 += v3;
        turn<16>(v3);
        v3 ^= v2;
        v0 += v3;
        turn<21>(v3);
        v3 ^= v0;
        v2 += v1;
        turn<17>(v1);
        v1 ^= v2;
        turn<32>(v2);
    }
};

/// The last byte of a message is its length.
[[nodiscard]] constexpr std::uint64_t siphash_length(std::size_t words, unsigned tail_bytes) noexcept {
    return std::uint64_t{words * 8 + tail_bytes} << 56;
}

/// As many messages at a time as `Word` has lanes.
template <class Word, std::size_t Words>
HALFPROXY_ALWAYS_INLINE void siphash_lanes(keyed_messages<Words>& m, std::size_t count, unsigned tail_bytes) noexcept {
    constexpr std::size_t lanes = sizeof(Word) / sizeof(std::uint64_t);
    static_assert(keyed_messages<Words>::capacity % lanes == 0);
    for (std::size_t at = 0; at < count; at += lanes) {
        Word in[Words + 2];
        for (std::size_t k = 0; k < 2; ++k) std::memcpy(&in[k], &m.key[k][at], sizeof(Word));
        for (std::size_t w = 0; w < Words; ++w) std::memcpy(&in[w + 2], &m.word[w][at], sizeof(Word));
        siphash_state<Word> state(in[0], in[1]);
        for (std::size_t w = 0; w + 1 < Words; ++w) state.absorb(in[w + 2]);
        state.absorb(in[Words + 1] | siphash_length(Words - 1, tail_bytes));
        state.finish();
        std::memcpy(&m.digest[at], &state.v0, sizeof(Word));
    }
}

#if HALFPROXY_VECTOR_UNITS
using four_lanes [[gnu::vector_size(32)]] = std::uint64_t;
using eight_lanes [[gnu::vector_size(64)]] = std::uint64_t;

template <std::size_t Words>
[[gnu::target("avx2")]] void siphash_avx2(keyed_messages<Words>& m, std::size_t count, unsigned tail_bytes) noexcept {
    siphash_lanes<four_lanes>(m, count, tail_bytes);
}

template <std::size_t Words>
[[gnu::target("avx512f")]] void siphash_avx512(keyed_messages<Words>& m, std::size_t count, unsigned tail_bytes) noexcept {
    siphash_lanes<eight_lanes>(m, count, tail_bytes);
}
#endif

}  // namespace detail

HALFPROXY_ALWAYS_INLINE std::uint64_t siphash_2_4::operator()(siphash_key const& key, std::span<std::uint64_t const> words, std::uint64_t tail,
                                                              unsigned tail_bytes) const noexcept {
    detail::siphash_state<std::uint64_t> state(key[0], key[1]);
    for (std::uint64_t const word : words) state.absorb(word);
    state.absorb(tail | detail::siphash_length(words.size(), tail_bytes));
    state.finish();
    return state.v0;
}

template <std::size_t Words>
void siphash_2_4::hash_all(keyed_messages<Words>& messages, std::size_t count, unsigned tail_bytes, [[maybe_unused]] vector_unit unit) noexcept {
#if HALFPROXY_VECTOR_UNITS
    if (unit == vector_unit::avx512) return detail::siphash_avx512(messages, count, tail_bytes);
    if (unit == vector_unit::avx2) return detail::siphash_avx2(messages, count, tail_bytes);
#endif
    detail::siphash_lanes<std::uint64_t>(messages, count, tail_bytes);
}

}  // namespace halfproxy
