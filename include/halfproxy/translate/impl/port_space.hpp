// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/translate/port_space.hpp>

#include <cstring>

namespace halfproxy {

inline exclusive_ports::exclusive_ports(std::uint32_t addresses, port_range ports, std::uint32_t)
    : maps_(addresses), limit_(limit(addresses, ports, 0)) {
    for (map& m : maps_)
        for (std::uint32_t w = ports.first / 64u; w <= ports.last / 64u; ++w) {
            m.free[w] = detail::bits_within(w, ports);
            tell(m, w);
        }
}

inline std::optional<std::uint16_t> exclusive_ports::first_free(std::uint32_t address, port_range within, port_parity parity,
                                                                destination) const noexcept {
    map const& m = maps_[address];
    for (std::optional<std::uint32_t> w = within.first / 64u; w && *w <= within.last / 64u; w = next_word(m, *w, parity))
        if (std::uint64_t const bits = m.free[*w] & detail::bits_of(parity) & detail::bits_within(*w, within)) return detail::port_at(*w, bits);
    return std::nullopt;
}

/// The next word behind `after` in which some port of this parity is free.
inline std::optional<std::uint32_t> exclusive_ports::next_word(map const& m, std::uint32_t after, port_parity parity) noexcept {
    std::uint64_t mask = after % 64 == 63 ? 0 : ~std::uint64_t{0} << (after % 64 + 1);
    for (std::uint32_t group = after / 64; group < m.some[0].size(); ++group, mask = ~std::uint64_t{0}) {
        std::uint64_t some = 0;
        if (parity != port_parity::odd) some |= m.some[0][group];
        if (parity != port_parity::even) some |= m.some[1][group];
        if ((some & mask) != 0) return group * 64 + static_cast<std::uint32_t>(std::countr_zero(some & mask));
    }
    return std::nullopt;
}

inline void exclusive_ports::take(std::uint32_t address, std::uint16_t port, destination) noexcept {
    map& m = maps_[address];
    m.free[port / 64u] &= ~(std::uint64_t{1} << port % 64);
    tell(m, port / 64u);
}

inline void exclusive_ports::give(std::uint32_t address, std::uint16_t port, destination) noexcept {
    map& m = maps_[address];
    m.free[port / 64u] |= std::uint64_t{1} << port % 64;
    tell(m, port / 64u);
}

inline void exclusive_ports::tell(map& m, std::uint32_t w) noexcept {
    std::uint64_t const bit = std::uint64_t{1} << w % 64;
    for (unsigned odd = 0; odd < 2; ++odd) {
        bool const some = (m.free[w] & detail::even_bits << odd) != 0;
        m.some[odd][w / 64] = some ? m.some[odd][w / 64] | bit : m.some[odd][w / 64] & ~bit;
    }
}

template <class Address>
ports_by_destination<Address>::ports_by_destination(std::uint32_t, port_range, std::uint32_t capacity)
    : slots_(slots_for(capacity)), capacity_(std::min(capacity, most)) {}

template <class Address>
std::size_t ports_by_destination<Address>::hash(key const& k) noexcept {
    std::uint64_t h = 0x9e37'79b9'7f4a'7c15u;
    for (std::size_t at = 0; at < sizeof k; at += 4) {
        std::uint32_t part;
        std::memcpy(&part, reinterpret_cast<std::uint8_t const*>(&k) + at, sizeof part);
        h = (h ^ part) * 0xbf58'476d'1ce4'e5b9u;
        h ^= h >> 29;
    }
    return static_cast<std::size_t>(h ^ h >> 32);
}

/// The slot of this key, or the empty one where it would stand.
template <class Address>
std::size_t ports_by_destination<Address>::find(key const& k) const noexcept {
    std::size_t at = hash(k) & (slots_.size() - 1);
    while (slots_[at].bits != 0 && !(slots_[at].name == k)) at = (at + 1) & (slots_.size() - 1);
    return at;
}

template <class Address>
void ports_by_destination<Address>::set(key const& k, std::uint64_t bits) noexcept {
    slot& s = slots_[find(k)];
    s.name = k;
    s.bits |= bits;
}

template <class Address>
void ports_by_destination<Address>::clear(key const& k, std::uint64_t bits) noexcept {
    std::size_t const at = find(k);
    if (slots_[at].bits == 0) return;
    slots_[at].bits &= ~bits;
    if (slots_[at].bits == 0) close_gap(at);
}

/// Knuth's algorithm R (TAOCP volume 3, section 6.4): what stands behind the gap and could not be found across it moves into it.
template <class Address>
void ports_by_destination<Address>::close_gap(std::size_t at) noexcept {
    std::size_t const mask = slots_.size() - 1;
    for (std::size_t next = (at + 1) & mask; slots_[next].bits != 0; next = (next + 1) & mask) {
        std::size_t const home = hash(slots_[next].name) & mask;
        if (((next - home) & mask) < ((next - at) & mask)) continue;
        slots_[at] = slots_[next];
        slots_[next].bits = 0;
        at = next;
    }
}

template <class Address>
void ports_by_destination<Address>::take(std::uint32_t address, std::uint16_t port, destination const& to) noexcept {
    std::uint32_t const w = port / 64u;
    set(key_of(address, w, to), std::uint64_t{1} << port % 64);
    ++taken_;
    std::uint64_t const mine = detail::even_bits << port % 2;
    if ((word(key_of(address, w, to)) & mine) == mine) set(key_of(address, full_words + w / 64 * 2 + port % 2, to), std::uint64_t{1} << w % 64);
}

template <class Address>
void ports_by_destination<Address>::give(std::uint32_t address, std::uint16_t port, destination const& to) noexcept {
    std::uint32_t const w = port / 64u;
    std::uint64_t const mine = detail::even_bits << port % 2;
    if ((word(key_of(address, w, to)) & mine) == mine) clear(key_of(address, full_words + w / 64 * 2 + port % 2, to), std::uint64_t{1} << w % 64);
    clear(key_of(address, w, to), std::uint64_t{1} << port % 64);
    --taken_;
}

/// Of the 64 words of a group: those in which some port of this parity is free.
template <class Address>
std::uint64_t ports_by_destination<Address>::not_full(std::uint32_t address, std::uint32_t group, port_parity parity,
                                                      destination const& to) const noexcept {
    std::uint64_t some = 0;
    if (parity != port_parity::odd) some |= ~word(key_of(address, full_words + group * 2, to));
    if (parity != port_parity::even) some |= ~word(key_of(address, full_words + group * 2 + 1, to));
    return some;
}

template <class Address>
std::optional<std::uint16_t> ports_by_destination<Address>::first_free(std::uint32_t address, port_range within, port_parity parity,
                                                                       destination const& to) const noexcept {
    std::uint32_t const last = within.last / 64u;
    for (std::uint32_t w = within.first / 64u; w <= last;) {
        std::uint64_t const bits = ~word(key_of(address, w, to)) & detail::bits_of(parity) & detail::bits_within(w, within);
        if (bits != 0) return detail::port_at(w, bits);
        for (++w; w <= last; w = (w / 64 + 1) * 64) {  // to the next word that is not full
            std::uint64_t const some = not_full(address, w / 64, parity, to) & ~std::uint64_t{0} << w % 64;
            if (some == 0) continue;
            w = w / 64 * 64 + static_cast<std::uint32_t>(std::countr_zero(some));
            break;
        }
    }
    return std::nullopt;
}

}  // namespace halfproxy
