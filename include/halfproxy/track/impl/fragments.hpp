// SPDX-License-Identifier: BSL-1.0
// Bodies of track/fragments.hpp.
#pragma once

#include <halfproxy/track/fragments.hpp>

#include <algorithm>
#include <bit>
#include <type_traits>

namespace halfproxy {

namespace detail {

/// Where a fragment's content begins.
[[nodiscard]] inline std::uint32_t content_of(packet_layout const& l) noexcept { return l.ip_version == 6 ? l.fragment_content : l.transport_offset; }

}  // namespace detail

inline bool is_impossible_fragment(packet_layout const& l) noexcept {
    std::uint32_t const bytes = l.datagram_end - detail::content_of(l);
    bool const beyond = l.fragment_offset * 8u + bytes > 0xffffu;
    bool const uneven = l.more_fragments && bytes % 8 != 0;
    return beyond || uneven || bytes == 0 || (l.fragment_offset == 1 && l.protocol == ip_protocol::tcp);
}

inline bool is_tiny_fragment(packet_view const& packet) noexcept {
    packet_layout const& l = packet.layout();
    if (!l.more_fragments || l.fragment_offset != 0) return false;
    switch (l.error) {
        case drop_reason::tcp_header_truncated:
        case drop_reason::icmp_truncated:
        case drop_reason::ip_extension_truncated: return true;
        case drop_reason::udp_length: return !l.has_transport;
        case drop_reason::tcp_data_offset: return packet.tcp().header_bytes() >= sizeof(tcp_header);
        default: return false;
    }
}

inline fragment_piece piece_of(packet_layout const& l) noexcept {
    auto const begin = static_cast<std::uint16_t>(l.fragment_offset * 8u);
    return {begin, static_cast<std::uint16_t>(begin + (l.datagram_end - detail::content_of(l))), !l.more_fragments};
}

template <class Address>
flow_key<Address> fragment_key(packet_view const& fragment, side arrival) noexcept {
    packet_layout const& l = fragment.layout();
    flow_key<Address> key;
    std::uint32_t id;
    if constexpr (std::is_same_v<Address, std::uint32_t>) {
        key.tuple.source = fragment.ipv4().source;
        key.tuple.destination = fragment.ipv4().destination;
        key.protocol = l.protocol;
        id = fragment.ipv4().identification;
    } else {
        key.tuple.source = fragment.ipv6().source;
        key.tuple.destination = fragment.ipv6().destination;
        id = header_at<ipv6_fragment_header>(fragment.bytes().data() + l.fragment_content - sizeof(ipv6_fragment_header)).identification;
    }
    key.tuple.source_port = static_cast<std::uint16_t>(id >> 16);
    key.tuple.destination_port = static_cast<std::uint16_t>(id);
    key.zone = l.vlan_id();
    key.reserved = static_cast<std::uint8_t>(arrival);
    return key;
}

template <class Address, class Fate>
fragment_table<Address, Fate>::fragment_table(fragment_limits const& limits, std::uint64_t seed)
    : limits_(limits), hash_(seed), datagrams_(limits.datagrams), buckets_(std::bit_ceil(std::max(limits.datagrams, 1u)), none),
      pool_(limits.waiting, limits.slot_bytes) {
    constexpr timeout_ms farthest = 1u << 30;  // what a stamp can tell from the past
    limits_.timeout = std::min(limits.timeout, farthest);
    for (std::uint32_t i = limits.datagrams; i > 0; --i) {
        datagrams_[i - 1].next = free_;
        free_ = i - 1;
    }
}

template <class Address, class Fate>
template <class Discard>
fragment_place fragment_table<Address, Fate>::arrive(key_type const& key, fragment_piece const& piece, stamp_ms now, Discard&& discard) noexcept {
    std::uint32_t number = find(key);
    if (number != none && is_over(datagrams_[number], now)) {
        give_up(number, drop_reason::fragment_timeout, discard);
        number = none;
    }
    if (number == none) number = begin(key, now, discard);
    if (number == none) return {fragment_step::refuse, drop_reason::fragment_no_room, 0};
    datagram& d = datagrams_[number];
    if (d.state == phase::spoiled) return {fragment_step::refuse, d.spoiled_by, number};
    drop_reason const reason = misfit(d, piece);
    if (reason != drop_reason::none) {
        if (reason != drop_reason::fragment_duplicate) spoil(number, reason, now, discard);
        return {fragment_step::refuse, reason, number};
    }
    note(d, piece);
    if (piece.begin == 0) return {fragment_step::first, drop_reason::none, number};
    return {d.state == phase::decided ? fragment_step::follow : fragment_step::wait, drop_reason::none, number};
}

template <class Address, class Fate>
template <class Discard>
drop_reason fragment_table<Address, Fate>::keep(std::uint32_t number, frame const& fragment, stamp_ms now,
                                                Discard&& discard) noexcept {
    datagram& d = datagrams_[number];
    drop_reason reason = drop_reason::none;
    if (d.held_count == waiting_per_datagram) {
        reason = drop_reason::fragment_limit;
    } else if (fragment.length > pool_.slot_bytes()) {
        reason = drop_reason::fragment_no_room;
    } else if (!pool_.keep(d.held, fragment)) {
        // All that wait hold a frame, but perhaps this one.
        if (waiting_.oldest != number) give_up(waiting_.oldest, drop_reason::fragment_no_room, discard);
        if (!pool_.keep(d.held, fragment)) reason = drop_reason::fragment_no_room;
    }
    if (reason == drop_reason::none)
        ++d.held_count;
    else
        spoil(number, reason, now, discard);
    return reason;
}

template <class Address, class Fate>
void fragment_table<Address, Fate>::decide(std::uint32_t number, stamp_ms now) noexcept {
    judged(number, phase::decided, now);
}

template <class Address, class Fate>
template <class Follow, class Discard>
void fragment_table<Address, Fate>::release(std::uint32_t number, Follow&& follow, Discard&& discard) noexcept {
    datagram& d = datagrams_[number];
    while (!d.held.empty()) {
        frame& f = pool_.front(d.held);
        drop_reason const reason = follow(f);
        if (reason == drop_reason::none) {
            pool_.move_front(d.held, ready_);
        } else {
            discard(f, reason);
            pool_.drop_front(d.held);
        }
    }
    d.held_count = 0;
}

template <class Address, class Fate>
void fragment_table<Address, Fate>::settle(std::uint32_t number) noexcept {
    datagram const& d = datagrams_[number];
    if (d.state == phase::decided && d.whole != 0 && d.bytes == d.whole) forget(number);
}

template <class Address, class Fate>
std::uint32_t fragment_table<Address, Fate>::send_ready(outbox& out) noexcept {
    std::uint32_t sent = 0;
    while (!ready_.empty() && pool_.lend_front(ready_, other(pool_.front(ready_).arrival), out)) ++sent;
    return sent;
}

template <class Address, class Fate>
template <class Discard>
void fragment_table<Address, Fate>::expire(stamp_ms now, std::uint32_t budget, Discard&& discard) noexcept {
    for (age_list* const list : {&waiting_, &judged_})
        for (; budget != 0 && list->oldest != none && is_over(datagrams_[list->oldest], now); --budget)
            give_up(list->oldest, drop_reason::fragment_timeout, discard);
}

template <class Address, class Fate>
std::optional<stamp_ms> fragment_table<Address, Fate>::next_deadline(stamp_ms now) const noexcept {
    if (!ready_.empty()) return now;
    if (waiting_.oldest == none && judged_.oldest == none) return std::nullopt;
    if (waiting_.oldest == none) return datagrams_[judged_.oldest].deadline;
    if (judged_.oldest == none) return datagrams_[waiting_.oldest].deadline;
    stamp_ms const a = datagrams_[waiting_.oldest].deadline, b = datagrams_[judged_.oldest].deadline;
    return a - b < 0 ? a : b;
}

template <class Address, class Fate>
Fate const* fragment_table<Address, Fate>::find_fate(key_type const& key, stamp_ms now) const noexcept {
    std::uint32_t const number = find(key);
    if (number == none) return nullptr;
    datagram const& d = datagrams_[number];
    return d.state == phase::decided && !is_over(d, now) ? &d.fate : nullptr;
}

template <class Address, class Fate>
std::size_t fragment_table<Address, Fate>::memory_bytes(fragment_limits const& l) noexcept {
    std::size_t const slots = std::size_t{l.waiting} * (l.slot_bytes + sizeof(frame) + sizeof(std::uint64_t));
    return l.datagrams * sizeof(datagram) + std::bit_ceil(std::max(l.datagrams, 1u)) * sizeof(std::uint32_t) + slots;
}

template <class Address, class Fate>
std::uint32_t fragment_table<Address, Fate>::find(key_type const& key) const noexcept {
    std::uint32_t number = buckets_[bucket_of(key)];
    while (number != none && datagrams_[number].key != key) number = datagrams_[number].next;
    return number;
}

template <class Address, class Fate>
template <class Discard>
std::uint32_t fragment_table<Address, Fate>::begin(key_type const& key, stamp_ms now, Discard&& discard) noexcept {
    if (datagrams_.empty()) return none;
    if (free_ == none) give_up(waiting_.oldest != none ? waiting_.oldest : judged_.oldest, drop_reason::fragment_no_room, discard);
    std::uint32_t const number = free_;
    datagram& d = datagrams_[number];
    free_ = d.next;
    std::uint32_t& first = buckets_[bucket_of(key)];
    d.key = key;
    d.fate = {};
    d.deadline = now + limits_.timeout;
    d.next = first;
    first = number;
    d.held = {};
    d.whole = d.highest = d.bytes = 0;
    d.count = d.held_count = 0;
    d.state = phase::waiting;
    append(waiting_, number);
    ++size_;
    return number;
}

/// Why a fragment does not fit to those that have come; none when it does.
template <class Address, class Fate>
drop_reason fragment_table<Address, Fate>::misfit(datagram const& d, fragment_piece const& piece) noexcept {
    bool const ends_elsewhere = d.whole != 0 && (piece.last ? piece.end != d.whole : piece.end >= d.whole);
    if (ends_elsewhere || (piece.last && d.highest > piece.end)) return drop_reason::fragment_end;
    if (piece.begin < d.highest) {  // in order it begins where the others end
        for (std::size_t i = 0; i < d.count; ++i) {
            span const& s = d.seen[i];
            bool const copy = s.begin == piece.begin && s.end == piece.end && piece.last == (d.whole == piece.end);
            if (copy) return drop_reason::fragment_duplicate;
            if (piece.begin < s.end && s.begin < piece.end) return drop_reason::fragment_overlap;
        }
    }
    return d.count == fragments_per_datagram ? drop_reason::fragment_limit : drop_reason::none;
}

template <class Address, class Fate>
void fragment_table<Address, Fate>::note(datagram& d, fragment_piece const& piece) noexcept {
    d.seen[d.count++] = {piece.begin, piece.end};
    d.bytes = static_cast<std::uint16_t>(d.bytes + (piece.end - piece.begin));
    d.highest = std::max(d.highest, piece.end);
    if (piece.last) d.whole = piece.end;
}

template <class Address, class Fate>
template <class Discard>
void fragment_table<Address, Fate>::spoil(std::uint32_t number, drop_reason reason, stamp_ms now, Discard&& discard) noexcept {
    datagram& d = datagrams_[number];
    drop_held(d, reason, discard);
    d.spoiled_by = reason;
    judged(number, phase::spoiled, now);
}

template <class Address, class Fate>
template <class Discard>
void fragment_table<Address, Fate>::drop_held(datagram& d, drop_reason reason, Discard&& discard) noexcept {
    for (; !d.held.empty(); pool_.drop_front(d.held)) discard(pool_.front(d.held), reason);
    d.held_count = 0;
}

template <class Address, class Fate>
template <class Discard>
void fragment_table<Address, Fate>::give_up(std::uint32_t number, drop_reason reason, Discard&& discard) noexcept {
    drop_held(datagrams_[number], reason, discard);
    forget(number);
}

/// To the end of the list of those that do not wait.
template <class Address, class Fate>
void fragment_table<Address, Fate>::judged(std::uint32_t number, phase state, stamp_ms now) noexcept {
    datagram& d = datagrams_[number];
    unlink(list_of(d), number);
    d.state = state;
    d.deadline = now + limits_.timeout;
    append(judged_, number);
}

template <class Address, class Fate>
void fragment_table<Address, Fate>::append(age_list& list, std::uint32_t number) noexcept {
    datagrams_[number].older = list.newest;
    datagrams_[number].newer = none;
    (list.newest == none ? list.oldest : datagrams_[list.newest].newer) = number;
    list.newest = number;
}

template <class Address, class Fate>
void fragment_table<Address, Fate>::unlink(age_list& list, std::uint32_t number) noexcept {
    datagram const& d = datagrams_[number];
    (d.older == none ? list.oldest : datagrams_[d.older].newer) = d.newer;
    (d.newer == none ? list.newest : datagrams_[d.newer].older) = d.older;
}

template <class Address, class Fate>
void fragment_table<Address, Fate>::forget(std::uint32_t number) noexcept {
    datagram& d = datagrams_[number];
    unlink(list_of(d), number);
    std::uint32_t* at = &buckets_[bucket_of(d.key)];
    while (*at != number) at = &datagrams_[*at].next;
    *at = d.next;
    d.next = free_;
    free_ = number;
    --size_;
}

}  // namespace halfproxy
