// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/translate/nat64_hosts.hpp>

#include <algorithm>
#include <bit>
#include <cstring>

namespace halfproxy {

namespace detail {

[[nodiscard]] inline std::uint32_t prefix_mask(unsigned length) noexcept {
    return length == 0 ? 0u : ~std::uint32_t{0} << (32 - length);
}

[[nodiscard]] inline std::uint32_t usable_hosts(nat64_hosts_config const& config) noexcept {
    std::uint64_t const in_prefix = std::uint64_t{1} << (32 - config.shadow.length);
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(config.capacity, in_prefix));
}

[[nodiscard]] inline std::size_t index_places(std::size_t hosts) noexcept {
    return std::bit_ceil(std::size_t{2} * std::max<std::size_t>(hosts, 1));
}

}  // namespace detail

inline nat64_hosts::nat64_hosts(nat64_hosts_config const& config)
    : base_(config.shadow.address.to_v4() & detail::prefix_mask(config.shadow.length)), mask_(detail::prefix_mask(config.shadow.length)),
      idle_timeout_(config.idle_timeout), seed_(config.seed), hosts_(detail::usable_hosts(config)),
      index_(detail::index_places(hosts_.size()), none) {}

inline std::size_t nat64_hosts::memory_bytes(nat64_hosts_config const& config) noexcept {
    std::size_t const hosts = detail::usable_hosts(config);
    return hosts * sizeof(host) + detail::index_places(hosts) * sizeof(std::uint32_t);
}

/// Two rounds of multiply and fold, keyed: who picks addresses does not know which of them meet.
inline std::size_t nat64_hosts::home_of(ipv6_bytes const& address) const noexcept {
    std::uint64_t high, low;
    std::memcpy(&high, address.data(), 8);
    std::memcpy(&low, address.data() + 8, 8);
    auto const mix = [](std::uint64_t a, std::uint64_t b) {
        __extension__ using wide = unsigned __int128;
        wide const product = static_cast<wide>(a) * b;
        return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
    };
    std::uint64_t const once = mix(high ^ seed_ ^ 0x9e3779b97f4a7c15u, low ^ std::rotl(seed_, 32) ^ 0xd1342543de82ef95u);
    return mix(once ^ seed_, 0xa0761d6478bd642fu) & (index_.size() - 1);
}

/// Where the address stands in the index, or the free place where it would.
inline std::size_t nat64_hosts::place_of(ipv6_bytes const& address) const noexcept {
    std::size_t place = home_of(address);
    while (index_[place] != none && hosts_[index_[place]].address != address) place = next(place);
    return place;
}

inline std::optional<std::uint32_t> nat64_hosts::admit(ipv6_bytes const& address, time_point now) noexcept {
    std::uint32_t number = index_[place_of(address)];
    if (number == none) {
        number = take(now);
        if (number == none) return std::nullopt;
        hosts_[number].address = address;
        index_[place_of(address)] = number;  // only now: what gave way may have moved others
    } else {
        unlink(number);
    }
    hosts_[number].last_seen = now;
    link_newest(number);
    return base_ + number;
}

inline std::optional<std::uint32_t> nat64_hosts::find(ipv6_bytes const& address) const noexcept {
    std::uint32_t const number = index_[place_of(address)];
    return number == none ? std::nullopt : std::optional(base_ + number);
}

inline std::optional<ipv6_bytes> nat64_hosts::host_of(std::uint32_t address) const noexcept {
    std::uint32_t const number = address - base_;
    return number < used_ ? std::optional(hosts_[number].address) : std::nullopt;
}

/// A number that is nobody's: a fresh one, or the silent one's.
inline std::uint32_t nat64_hosts::take(time_point now) noexcept {
    if (used_ < hosts_.size()) return used_++;
    if (oldest_ == none || idle_timeout_ == never || now - hosts_[oldest_].last_seen < std::chrono::milliseconds(idle_timeout_)) return none;
    std::uint32_t const number = oldest_;
    unlink(number);
    erase(number);
    return number;
}

/// Whatever stood behind it because its own place was taken moves up (Knuth 6.4, algorithm R).
inline void nat64_hosts::erase(std::uint32_t number) noexcept {
    std::size_t hole = place_of(hosts_[number].address);
    for (std::size_t at = next(hole); index_[at] != none; at = next(at)) {
        std::size_t const home = home_of(hosts_[index_[at]].address);
        bool const stays = hole < at ? hole < home && home <= at : hole < home || home <= at;
        if (stays) continue;
        index_[hole] = index_[at];
        hole = at;
    }
    index_[hole] = none;
}

inline void nat64_hosts::unlink(std::uint32_t number) noexcept {
    host const& h = hosts_[number];
    (h.older == none ? oldest_ : hosts_[h.older].newer) = h.newer;
    (h.newer == none ? newest_ : hosts_[h.newer].older) = h.older;
}

inline void nat64_hosts::link_newest(std::uint32_t number) noexcept {
    hosts_[number].older = newest_;
    hosts_[number].newer = none;
    (newest_ == none ? oldest_ : hosts_[newest_].newer) = number;
    newest_ = number;
}

}  // namespace halfproxy
