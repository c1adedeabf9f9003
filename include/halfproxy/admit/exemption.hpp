// SPDX-License-Identifier: BSL-1.0
// Sources that have proved themselves lately and need not do so again: a table of fixed size.
#pragma once

#include <halfproxy/core/time.hpp>
#include <halfproxy/wire/headers.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace halfproxy {

/// Who is exempted together: one IPv4 address, or one IPv6 /64, whose addresses belong to one subscriber (RFC 6177). In one zone (VLAN).
struct source_network {
    std::uint64_t bits = 0;
    std::uint16_t zone = 0;
    bool ipv6 = false;

    [[nodiscard]] static source_network of(std::uint32_t address, std::uint16_t zone) noexcept { return {address, zone, false}; }
    [[nodiscard]] static source_network of(ipv6_bytes const& address, std::uint16_t zone) noexcept {
        source_network out{0, zone, true};
        std::memcpy(&out.bits, address.data(), sizeof out.bits);
        return out;
    }

    /// Never 0: that is an empty place.
    [[nodiscard]] std::uint64_t tag() const noexcept { return 1u | (ipv6 ? 2u : 0u) | std::uint64_t{zone & 0xfffu} << 2; }

    /// Who does not know the seed cannot aim at one bucket cheaply.
    [[nodiscard]] std::uint64_t hash(std::uint64_t seed) const noexcept {
        std::uint64_t h = bits ^ seed ^ tag() << 50;
        h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;  // SplitMix64's finalizer
        h = (h ^ h >> 27) * 0x94d049bb133111ebu;
        return h ^ h >> 31;
    }
};

/// Sets of four entries, one cache line each. A full set forgets the entry that would end first: that client is challenged once more, no harm
/// done. Only the holder of a proof may be inserted, so a flood of forged sources never touches the table.
class exemption_table {
  public:
    /// Room for at least `sources`, 0: none. `seed` keeps strangers from aiming at one set.
    exemption_table(std::uint32_t sources, std::uint64_t seed)
        : seed_(seed), sets_(sets_for(sources)) {}

    [[nodiscard]] bool contains(source_network const& source, time_point now) const noexcept {
        if (sets_.empty()) return false;
        std::int64_t const at = milliseconds(now);
        std::uint64_t const tag = source.tag();
        for (entry const& e : set_of(source).entries)
            if (e.bits == source.bits && tag_part(e) == tag) return ends(e) > at;
        return false;
    }

    /// From now on for `lifetime`; true when it was not exempt before.
    bool insert(source_network const& source, time_point now, timeout_ms lifetime) noexcept {
        if (sets_.empty()) return false;
        bool const known = contains(source, now);
        std::uint64_t const tag = source.tag();
        auto const better_place = [&](entry const& a, entry const& b) {
            auto const rank = [&](entry const& e) { return e.bits == source.bits && tag_part(e) == tag ? 0 : tag_part(e) == 0 ? 1 : 2; };
            return rank(a) != rank(b) ? rank(a) < rank(b) : ends(a) < ends(b);
        };
        auto& entries = set_of(source).entries;
        *std::min_element(entries.begin(), entries.end(), better_place) = {
            source.bits, static_cast<std::uint64_t>(milliseconds(now) + lifetime) << tag_bits | tag};
        return !known;
    }

    [[nodiscard]] std::size_t memory_bytes() const noexcept { return sets_.size() * sizeof(set); }
    [[nodiscard]] static std::size_t memory_bytes(std::uint32_t sources) noexcept { return sets_for(sources) * sizeof(set); }

  private:
    static constexpr std::size_t ways = 4;
    static constexpr unsigned tag_bits = 14;  ///< in use, family, 12 bits of zone; above them the end in ms, 50 bits: 35,000 years

    struct entry {
        std::uint64_t bits = 0;
        std::uint64_t end_and_tag = 0;
    };
    struct alignas(64) set {
        std::array<entry, ways> entries{};
    };
    static_assert(sizeof(set) == 64);

    [[nodiscard]] static std::size_t sets_for(std::uint32_t sources) noexcept {
        return sources == 0 ? 0 : std::bit_ceil((sources + std::size_t{ways} - 1) / ways);
    }
    [[nodiscard]] static std::int64_t milliseconds(time_point now) noexcept {
        return std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
    }
    [[nodiscard]] static std::uint64_t tag_part(entry const& e) noexcept { return e.end_and_tag & ((1u << tag_bits) - 1); }
    [[nodiscard]] static std::int64_t ends(entry const& e) noexcept {
        return static_cast<std::int64_t>(e.end_and_tag) >> tag_bits;  // keeps the sign: clocks may begin below zero
    }

    [[nodiscard]] std::size_t number_of(source_network const& s) const noexcept {
        return static_cast<std::size_t>(s.hash(seed_) & (sets_.size() - 1));
    }
    [[nodiscard]] set const& set_of(source_network const& s) const noexcept { return sets_[number_of(s)]; }
    [[nodiscard]] set& set_of(source_network const& s) noexcept { return sets_[number_of(s)]; }

    std::uint64_t seed_;
    std::vector<set> sets_;
};

}  // namespace halfproxy
