// SPDX-License-Identifier: BSL-1.0
// Maglev's look-up table: from a hash to a backend, evenly, and nearly the same one after others have come or gone.
//
// Read Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4 first.
#pragma once

#include <halfproxy/balance/backend.hpp>
#include <halfproxy/balance/fixed_list.hpp>
#include <halfproxy/balance/indexed_heap.hpp>
#include <halfproxy/wire/address.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace halfproxy {

/// One backend as the table sees it.
struct maglev_member {
    std::uint64_t identity = 0;  ///< the same on every node: identity_of() its address and port
    std::uint32_t weight = 1;    ///< 0: not in the table
    backend_index index = 0;     ///< what look-up gives
};

/// Of a server, from its address and port alone; two have the same one with probability 2^-64.
[[nodiscard]] std::uint64_t identity_of(ip_address const& address, std::uint16_t port) noexcept;

/// The least prime that is at least 100 times `shares` (the sum of weights over the least weight; with equal weights the number of backends) and at
/// least 251, so that no backend's part is off by more than 1 %; but at most largest_maglev_size.
[[nodiscard]] std::uint32_t maglev_size(std::uint64_t shares) noexcept;
inline constexpr std::uint32_t largest_maglev_size = 1'048'573;  ///< the last prime below 2^20: 2 MiB

/// Allocates in its constructor only. Every member gets its part of the places by weight, rounded to a whole number. What comes out depends on the members'
/// identities and weights, not on their order. Work of build(): about size * ln(size) reads of the table and size * log2(members) steps of a
/// heap; look-up is one read. Both are measured in bench/README.md.
class maglev_table {
  public:
    /// The size is raised to a prime. Of more than `most_members` members build() leaves out the last.
    maglev_table(std::uint32_t size, std::uint32_t most_members);

    /// Replaces the content. Without a member of weight above 0 the table is empty.
    void build(std::span<maglev_member const> members) noexcept;

    [[nodiscard]] std::uint32_t place_of(std::uint64_t hash) const noexcept {
        return static_cast<std::uint32_t>((hash >> 32) * places_.size() >> 32);
    }
    /// Of a table that is not empty.
    [[nodiscard]] backend_index operator[](std::uint64_t hash) const noexcept { return places_[place_of(hash)]; }
    [[nodiscard]] bool empty() const noexcept { return places_[0] == no_backend_index; }
    [[nodiscard]] std::span<backend_index const> places() const noexcept { return places_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return places_.size() * sizeof(backend_index) + ways_.capacity() * sizeof(way) + turns_.memory_bytes();
    }

  private:
    /// In which order a member wants the places: from `at` on in steps of `skip`, which in a table of prime size comes by each of them.
    struct way {
        std::uint64_t identity;
        std::uint64_t share;  ///< its weight, then the remainder of its part, then the time between two of its turns
        std::uint32_t at;
        std::uint32_t skip;
        std::uint32_t quota;  ///< places it has yet to take
        backend_index index;
    };

    [[nodiscard]] std::uint64_t begin_ways(std::span<maglev_member const> members) noexcept;
    void share_out(std::uint64_t total) noexcept;
    void take_place(way& w) noexcept;

    std::vector<backend_index> places_;
    fixed_list<way> ways_;
    indexed_heap<std::uint64_t> turns_;  ///< of ways: when each takes its next place
};

}  // namespace halfproxy

#include <halfproxy/balance/impl/maglev.hpp>
