// SPDX-License-Identifier: BSL-1.0
// The index of a flow table: 31-bit record numbers with a direction bit, in 64-byte buckets, found by hash. Knows no keys.
//
//   byte  0        20        22         24                          64
//         | 10 tags | overflow | displaced | 10 values                |
//
// An entry lives in its first bucket or, when that is full, in its second; then its bit in `displaced` is set and its
// first bucket's `overflow` counts it. second = (f(tag) - first) mod buckets, which is its own inverse: an entry can be
// moved between its two buckets without its hash, hence without a look at its record.
// At 24 bytes per flow the buckets are 53 % full at capacity. A bucket then overflows with probability 0.02 (Poisson with
// mean 5.3, more than 10), both of a key's with 0.0004; insertion then moves one of the 20 entries to its other bucket,
// which fails with about 0.02^20.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace halfproxy::detail {

inline constexpr unsigned bucket_entries = 10;

struct alignas(64) index_bucket {
    std::array<std::uint16_t, bucket_entries> tags{};  // 0: the entry is free
    std::uint16_t overflow = 0;                        // entries that belong here and live in their second bucket
    std::uint16_t displaced = 0;                       // bit i: entry i belongs to its second bucket
    std::array<std::uint32_t, bucket_entries> values{};
};
static_assert(sizeof(index_bucket) == 64, "a bucket is one cache line: one miss per lookup");
static_assert(offsetof(index_bucket, values) == 24);

/// Bit i is set when entry i has this tag.
[[nodiscard]] inline std::uint32_t match_tags_portable(index_bucket const& b, std::uint16_t tag) noexcept {
    std::uint32_t mask = 0;
    for (unsigned i = 0; i < bucket_entries; ++i) mask |= std::uint32_t{b.tags[i] == tag} << i;
    return mask;
}

#if defined(__SSE2__)
// Two loads cover 16 words; those behind the tags are masked off.
[[nodiscard]] inline std::uint32_t match_tags_sse2(index_bucket const& b, std::uint16_t tag) noexcept {
    auto const* words = reinterpret_cast<__m128i const*>(&b);
    __m128i const wanted = _mm_set1_epi16(static_cast<short>(tag));
    __m128i const low = _mm_cmpeq_epi16(_mm_load_si128(words), wanted);
    __m128i const high = _mm_cmpeq_epi16(_mm_load_si128(words + 1), wanted);
    return static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(low, high))) & ((1u << bucket_entries) - 1);
}
#endif

[[nodiscard]] inline std::uint32_t match_tags(index_bucket const& b, std::uint16_t tag) noexcept {
#if defined(__SSE2__)
    return match_tags_sse2(b, tag);
#else
    return match_tags_portable(b, tag);
#endif
}

class flow_index {
  public:
    /// Three buckets for eight records of two entries each: 24 bytes per flow; never less than two.
    [[nodiscard]] static constexpr std::size_t buckets_for(std::uint64_t entries) noexcept {
        std::uint64_t const buckets = (entries * 3 + 15) / 16;
        return static_cast<std::size_t>(buckets < 2 ? 2 : buckets);
    }

    /// `memory` holds `buckets` buckets and outlives the index.
    flow_index(void* memory, std::size_t buckets) noexcept
        : buckets_(static_cast<index_bucket*>(memory)), count_(static_cast<std::uint32_t>(buckets)) {
        std::uninitialized_value_construct_n(buckets_, count_);
    }

    void prefetch(std::uint64_t hash) const noexcept { __builtin_prefetch(&buckets_[first(hash)]); }

    /// The first value with the hash's tag for which `accept(value)` holds, or `nothing`.
    template <class Accept>
    [[nodiscard]] std::uint32_t find(std::uint64_t hash, Accept&& accept) const noexcept;

    /// Adds an entry. False, and nothing changed, when its buckets and those their entries could move to are full.
    [[nodiscard]] bool place(std::uint64_t hash, std::uint32_t value) noexcept;

    [[nodiscard]] bool contains(std::uint64_t hash, std::uint32_t value) const noexcept {
        return find(hash, [value](std::uint32_t v) { return v == value; }) == value;
    }
    /// Removes an entry that is there.
    void remove(std::uint64_t hash, std::uint32_t value) noexcept;

    [[nodiscard]] std::size_t bytes() const noexcept { return std::size_t{count_} * sizeof(index_bucket); }
    [[nodiscard]] std::uint64_t overflowed() const noexcept;
    [[nodiscard]] index_bucket* buckets() const noexcept { return buckets_; }

    static constexpr std::uint32_t nothing = ~std::uint32_t{0};

  private:
    static constexpr std::uint16_t overflow_limit = 0xffff;

    [[nodiscard]] static constexpr std::uint16_t tag_of(std::uint64_t hash) noexcept {
        auto const tag = static_cast<std::uint16_t>(hash);
        return tag != 0 ? tag : std::uint16_t{1};
    }
    // A multiplication instead of a remainder; the count need not be a power of two.
    [[nodiscard]] std::uint32_t scaled(std::uint32_t x) const noexcept {
        return static_cast<std::uint32_t>(std::uint64_t{x} * count_ >> 32);
    }
    [[nodiscard]] std::uint32_t first(std::uint64_t hash) const noexcept {
        return scaled(static_cast<std::uint32_t>(hash >> 32));
    }
    [[nodiscard]] std::uint32_t other(std::uint32_t bucket, std::uint16_t tag) const noexcept {
        std::uint32_t const f = scaled(tag * 0x9e37'79b1u);  // the golden ratio spreads neighbouring tags
        return f >= bucket ? f - bucket : f + (count_ - bucket);
    }
    [[nodiscard]] static std::uint32_t free_entries(index_bucket const& b) noexcept { return match_tags(b, 0); }

    static void put(index_bucket& b, unsigned entry, std::uint16_t tag, std::uint32_t value, bool displaced) noexcept {
        auto const bit = static_cast<std::uint16_t>(1u << entry);
        b.tags[entry] = tag;
        b.values[entry] = value;
        b.displaced = static_cast<std::uint16_t>(displaced ? b.displaced | bit : b.displaced & ~bit);
    }
    [[nodiscard]] bool place_moving(std::uint32_t home, std::uint16_t tag, std::uint32_t value) noexcept;
    [[nodiscard]] bool move_away(std::uint32_t from, unsigned entry) noexcept;
    [[nodiscard]] unsigned make_room(std::uint32_t bucket) noexcept;
    [[nodiscard]] static unsigned entry_of(index_bucket const& b, std::uint16_t tag, std::uint32_t value) noexcept;

    index_bucket* buckets_;
    std::uint32_t count_;
};

template <class Accept>
std::uint32_t flow_index::find(std::uint64_t hash, Accept&& accept) const noexcept {
    std::uint16_t const tag = tag_of(hash);
    std::uint32_t const home = first(hash);
    index_bucket const* b = &buckets_[home];
    for (bool second = false;; second = true) {
        for (std::uint32_t mask = match_tags(*b, tag); mask != 0; mask &= mask - 1) {
            std::uint32_t const value = b->values[static_cast<unsigned>(std::countr_zero(mask))];
            if (accept(value)) return value;
        }
        if (second || b->overflow == 0) return nothing;
        b = &buckets_[other(home, tag)];
    }
}

inline bool flow_index::place(std::uint64_t hash, std::uint32_t value) noexcept {
    std::uint16_t const tag = tag_of(hash);
    std::uint32_t const home = first(hash);
    index_bucket& b = buckets_[home];
    if (std::uint32_t const free = free_entries(b); free != 0) {
        put(b, static_cast<unsigned>(std::countr_zero(free)), tag, value, false);
        return true;
    }
    index_bucket& second = buckets_[other(home, tag)];
    if (std::uint32_t const free = free_entries(second); free != 0 && b.overflow != overflow_limit) {
        put(second, static_cast<unsigned>(std::countr_zero(free)), tag, value, true);
        ++b.overflow;
        return true;
    }
    return place_moving(home, tag, value);
}

inline bool flow_index::place_moving(std::uint32_t home, std::uint16_t tag, std::uint32_t value) noexcept {
    if (unsigned const entry = make_room(home); entry != bucket_entries) {
        put(buckets_[home], entry, tag, value, false);
        return true;
    }
    std::uint32_t const second = other(home, tag);
    if (second == home || buckets_[home].overflow == overflow_limit) return false;
    unsigned const entry = make_room(second);
    if (entry == bucket_entries) return false;
    put(buckets_[second], entry, tag, value, true);
    ++buckets_[home].overflow;
    return true;
}

// Frees one entry of a full bucket by moving it to its other bucket; bucket_entries when none can move.
inline unsigned flow_index::make_room(std::uint32_t bucket) noexcept {
    unsigned entry = 0;
    while (entry != bucket_entries && !move_away(bucket, entry)) ++entry;
    return entry;
}

inline bool flow_index::move_away(std::uint32_t from, unsigned entry) noexcept {
    index_bucket& b = buckets_[from];
    std::uint16_t const tag = b.tags[entry];
    index_bucket& to = buckets_[other(from, tag)];
    std::uint32_t const free = free_entries(to);
    bool const goes_home = (b.displaced >> entry & 1u) != 0;
    if (free == 0 || (!goes_home && b.overflow == overflow_limit)) return false;
    put(to, static_cast<unsigned>(std::countr_zero(free)), tag, b.values[entry], !goes_home);
    if (goes_home)
        --to.overflow;
    else
        ++b.overflow;
    b.tags[entry] = 0;
    return true;
}

inline unsigned flow_index::entry_of(index_bucket const& b, std::uint16_t tag, std::uint32_t value) noexcept {
    for (std::uint32_t mask = match_tags(b, tag); mask != 0; mask &= mask - 1) {
        auto const entry = static_cast<unsigned>(std::countr_zero(mask));
        if (b.values[entry] == value) return entry;
    }
    return bucket_entries;
}

inline void flow_index::remove(std::uint64_t hash, std::uint32_t value) noexcept {
    std::uint16_t const tag = tag_of(hash);
    std::uint32_t const home = first(hash);
    if (unsigned const entry = entry_of(buckets_[home], tag, value); entry != bucket_entries) {
        buckets_[home].tags[entry] = 0;
        return;
    }
    index_bucket& second = buckets_[other(home, tag)];
    if (unsigned const entry = entry_of(second, tag, value); entry != bucket_entries) {
        second.tags[entry] = 0;
        --buckets_[home].overflow;
    }
}

inline std::uint64_t flow_index::overflowed() const noexcept {
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < count_; ++i) sum += buckets_[i].overflow;
    return sum;
}

}  // namespace halfproxy::detail
