// SPDX-License-Identifier: BSL-1.0
// How the table is filled.
#pragma once

#include <halfproxy/balance/hash.hpp>
#include <halfproxy/balance/maglev.hpp>

#include <algorithm>

namespace halfproxy {

namespace detail {

/// Of numbers below 2^21, where trial division takes under 1,500 steps.
[[nodiscard]] inline std::uint32_t next_prime(std::uint32_t n) noexcept {
    auto const is_prime = [](std::uint32_t p) {
        for (std::uint32_t d = 2; d * d <= p; ++d)
            if (p % d == 0) return false;
        return true;
    };
    n = std::max(n, 2u);
    while (!is_prime(n)) ++n;
    return n;
}

/// The time in which a member takes all its places. Longer than any quota is large.
inline constexpr std::uint64_t whole_turn = std::uint64_t{1} << 40;

}  // namespace detail

inline std::uint64_t identity_of(ip_address const& address, std::uint16_t port) noexcept {
    return balance_hash(0).add(address).add(port).value();
}

inline std::uint32_t maglev_size(std::uint64_t shares) noexcept {
    if (shares > largest_maglev_size / 100) return largest_maglev_size;
    return detail::next_prime(std::max(static_cast<std::uint32_t>(shares * 100), 251u));
}

inline maglev_table::maglev_table(std::uint32_t size, std::uint32_t most_members)
    : places_(detail::next_prime(std::clamp(size, 3u, largest_maglev_size)), no_backend_index), ways_(most_members), turns_(most_members) {}

/// Members take places in turns, each the next free one on its own way. Turns come at even intervals, as many as the member's weight says: with
/// equal weights that is the paper's round robin.
inline void maglev_table::build(std::span<maglev_member const> members) noexcept {
    std::fill(places_.begin(), places_.end(), no_backend_index);
    std::uint64_t const total = begin_ways(members);
    if (total == 0) return;
    share_out(total);
    turns_.clear();
    for (std::uint32_t i = 0; i < ways_.size(); ++i) {
        if (ways_[i].quota == 0) continue;
        ways_[i].share = detail::whole_turn / ways_[i].quota;
        turns_.set(i, ways_[i].share / 2);
    }
    while (!turns_.empty()) {
        std::uint32_t const next = turns_.top();
        take_place(ways_[next]);
        if (ways_[next].quota == 0)
            turns_.erase(next);
        else
            turns_.set(next, turns_.top_key() + ways_[next].share);
    }
}

/// In order of identity, each with the paper's offset and skip, from two hashes of the identity. Gives the sum of weights.
inline std::uint64_t maglev_table::begin_ways(std::span<maglev_member const> members) noexcept {
    auto const size = static_cast<std::uint32_t>(places_.size());
    std::uint64_t total = 0;
    ways_.clear();
    for (maglev_member const& m : members) {
        if (m.weight == 0 || ways_.full()) continue;
        std::uint64_t const offset = mix64(m.identity), skip = mix64(offset ^ m.identity);
        ways_.push_back({m.identity, m.weight, static_cast<std::uint32_t>(offset % size), static_cast<std::uint32_t>(skip % (size - 1) + 1), 0, m.index});
        total += m.weight;
    }
    std::sort(ways_.begin(), ways_.end(), [](way const& a, way const& b) { return a.identity < b.identity; });
    return total;
}

/// Whole places by weight. What rounding leaves goes to the largest remainders, of equal ones to the least identity.
inline void maglev_table::share_out(std::uint64_t total) noexcept {
    std::uint64_t const size = places_.size();
    std::uint64_t left = size;
    turns_.clear();
    for (std::uint32_t i = 0; i < ways_.size(); ++i) {
        way& w = ways_[i];
        w.quota = static_cast<std::uint32_t>(w.share * size / total);
        left -= w.quota;
        turns_.set(i, total - w.share * size % total);
    }
    for (; left > 0; --left) {
        ++ways_[turns_.top()].quota;
        turns_.erase(turns_.top());
    }
}

inline void maglev_table::take_place(way& w) noexcept {
    auto const size = static_cast<std::uint32_t>(places_.size());
    while (places_[w.at] != no_backend_index) w.at = w.at >= size - w.skip ? w.at - (size - w.skip) : w.at + w.skip;
    places_[w.at] = w.index;
    --w.quota;
}

}  // namespace halfproxy
