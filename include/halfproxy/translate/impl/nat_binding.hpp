// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/translate/nat_binding.hpp>

#include <algorithm>
#include <bit>
#include <cstring>

namespace halfproxy {

template <class Address>
binding_table<Address>::binding_table(std::uint32_t capacity, binding_lingers const& lingers, std::uint64_t seed)
    : entries_(capacity), lingers_(lingers), seed_(seed) {
    for (auto& heads : heads_) heads.assign(heads_for(capacity), none);
    for (std::uint32_t number = capacity; number-- > 0;) {
        entries_[number].next[0] = unused_;
        unused_ = number;
    }
}

template <class Address>
std::size_t binding_table<Address>::heads_for(std::uint32_t capacity) noexcept {
    return std::bit_ceil(std::max<std::size_t>(capacity, 1));
}

template <class Address>
std::size_t binding_table<Address>::class_of(std::uint8_t protocol) noexcept {
    switch (protocol) {
        case ip_protocol::tcp: return 0;
        case ip_protocol::udp: return 1;
        case ip_protocol::icmp:
        case ip_protocol::icmpv6: return 2;
        default: return 3;
    }
}

template <class Address>
timeout_ms binding_table<Address>::linger_of(std::uint8_t protocol) const noexcept {
    return std::array{lingers_.tcp, lingers_.udp, lingers_.icmp, lingers_.other}[class_of(protocol)];
}

/// Who does not know the seed cannot aim at one chain cheaply.
template <class Address>
template <class Key>
std::size_t binding_table<Address>::slot_of(Key const& key) const noexcept {
    static_assert(std::has_unique_object_representations_v<Key> && sizeof(Key) % 4 == 0);
    std::uint64_t h = seed_ ^ 0xa076'1d64'78bd'642fu;
    std::size_t at = 0;
    for (; at + 8 <= sizeof key; at += 8) {
        std::uint64_t part;
        std::memcpy(&part, reinterpret_cast<std::uint8_t const*>(&key) + at, sizeof part);
        h = (h ^ part) * 0xbf58'476d'1ce4'e5b9u;
        h ^= h >> 31;
    }
    if (at < sizeof key) {
        std::uint32_t part;
        std::memcpy(&part, reinterpret_cast<std::uint8_t const*>(&key) + at, sizeof part);
        h = (h ^ part) * 0xbf58'476d'1ce4'e5b9u;
    }
    h = (h ^ h >> 29 ^ seed_) * 0x94d0'49bb'1331'11ebu;
    return static_cast<std::size_t>(h >> 32) & (heads_[0].size() - 1);
}

template <class Address>
std::optional<std::uint32_t> binding_table<Address>::find(binding_key<Address> const& key) const noexcept {
    for (std::uint32_t n = heads_[0][slot_of(key)]; n != none; n = entries_[n].next[0])
        if (entries_[n].binding.key == key) return n;
    return std::nullopt;
}

template <class Address>
std::optional<std::uint32_t> binding_table<Address>::find_exactly(binding_target<Address> const& t) const noexcept {
    for (std::uint32_t n = heads_[1][slot_of(t)]; n != none; n = entries_[n].next[1])
        if (entries_[n].binding.target() == t) return n;
    return std::nullopt;
}

template <class Address>
std::optional<std::uint32_t> binding_table<Address>::find(binding_target<Address> t) const noexcept {
    t.by_remote = 1;
    if (by_remote_ != 0)
        if (auto const own = find_exactly(t)) return own;
    t.by_remote = 0;
    t.remote = {};
    t.remote_port = 0;
    return by_remote_ == size_ ? std::nullopt : find_exactly(t);
}

template <class Address>
template <class Ended>
std::optional<std::uint32_t> binding_table<Address>::insert(nat_binding<Address> const& binding, Ended&& ended) noexcept {
    if (unused_ == none && lingering_ != 0) {
        ++cut_short_;
        end(longest_lingering(), ended);
    }
    if (unused_ == none) return std::nullopt;
    std::uint32_t const number = unused_;
    entry& e = entries_[number];
    unused_ = e.next[0];
    e.binding = binding;
    e.binding.flows = 1;
    link(heads_[0][slot_of(binding.key)], 0, number);
    link(heads_[1][slot_of(binding.target())], 1, number);
    ++size_;
    by_remote_ += binding.key.by_remote;
    return number;
}

template <class Address>
void binding_table<Address>::hold(std::uint32_t number) noexcept {
    if (entries_[number].binding.flows++ == 0) stop_lingering(number);
}

template <class Address>
template <class Ended>
void binding_table<Address>::let_go(std::uint32_t number, stamp_ms now, Ended&& ended) noexcept {
    nat_binding<Address>& b = entries_[number].binding;
    if (--b.flows != 0) return;
    timeout_ms const linger = linger_of(b.key.protocol);
    begin_lingering(number, now + linger);
    if (linger == 0) end(number, ended);
}

template <class Address>
template <class Ended>
bool binding_table<Address>::end_lingering(binding_target<Address> const& target, Ended&& ended) noexcept {
    auto const found = find_exactly(target);
    if (!found || entries_[*found].binding.flows != 0) return false;
    end(*found, ended);
    return true;
}

template <class Address>
template <class Ended>
std::uint32_t binding_table<Address>::expire(stamp_ms now, std::uint32_t budget, Ended&& ended) noexcept {
    std::uint32_t count = 0;
    for (line const& l : lines_)
        for (; count < budget && l.oldest != none && entries_[l.oldest].until - now <= 0; ++count) end(l.oldest, ended);
    return count;
}

template <class Address>
std::optional<stamp_ms> binding_table<Address>::next_deadline(stamp_ms now) const noexcept {
    std::optional<stamp_ms> next;
    for (line const& l : lines_)
        if (l.oldest != none && (!next || entries_[l.oldest].until - now < *next - now)) next = entries_[l.oldest].until;
    return next;
}

template <class Address>
void binding_table<Address>::give_to(std::uint32_t number, std::uint16_t rule, std::uint16_t place) noexcept {
    nat_binding<Address>& b = entries_[number].binding;
    unlink(heads_[0][slot_of(b.key)], 0, number);
    b.key.rule = rule;
    b.place = place;
    link(heads_[0][slot_of(b.key)], 0, number);
}

/// By the chains, for an entry that is not used looks like one that is.
template <class Address>
template <class Visit>
void binding_table<Address>::for_each(Visit&& visit) const {
    for (std::uint32_t const head : heads_[1])
        for (std::uint32_t n = head; n != none; n = entries_[n].next[1]) visit(n, entries_[n].binding);
}

template <class Address>
void binding_table<Address>::link(std::uint32_t& head, unsigned chain, std::uint32_t number) noexcept {
    entries_[number].next[chain] = head;
    head = number;
}

template <class Address>
void binding_table<Address>::unlink(std::uint32_t& head, unsigned chain, std::uint32_t number) noexcept {
    std::uint32_t* at = &head;
    while (*at != number) at = &entries_[*at].next[chain];
    *at = entries_[number].next[chain];
}

template <class Address>
void binding_table<Address>::begin_lingering(std::uint32_t number, stamp_ms until) noexcept {
    entry& e = entries_[number];
    line& l = lines_[class_of(e.binding.key.protocol)];
    e.until = until;
    e.older = l.youngest;
    e.younger = none;
    (l.youngest == none ? l.oldest : entries_[l.youngest].younger) = number;
    l.youngest = number;
    ++lingering_;
}

template <class Address>
void binding_table<Address>::stop_lingering(std::uint32_t number) noexcept {
    entry const& e = entries_[number];
    line& l = lines_[class_of(e.binding.key.protocol)];
    (e.older == none ? l.oldest : entries_[e.older].younger) = e.younger;
    (e.younger == none ? l.youngest : entries_[e.younger].older) = e.older;
    --lingering_;
}

/// Of those at the head of their lines the one that would end first. There is one.
template <class Address>
std::uint32_t binding_table<Address>::longest_lingering() const noexcept {
    std::uint32_t best = none;
    for (line const& l : lines_)
        if (l.oldest != none && (best == none || entries_[l.oldest].until - entries_[best].until < 0)) best = l.oldest;
    return best;
}

template <class Address>
template <class Ended>
void binding_table<Address>::end(std::uint32_t number, Ended&& ended) noexcept {
    stop_lingering(number);
    entry& e = entries_[number];
    unlink(heads_[0][slot_of(e.binding.key)], 0, number);
    unlink(heads_[1][slot_of(e.binding.target())], 1, number);
    --size_;
    by_remote_ -= e.binding.key.by_remote;
    e.next[0] = unused_;
    unused_ = number;
    ended(static_cast<nat_binding<Address> const&>(e.binding));
}

}  // namespace halfproxy
