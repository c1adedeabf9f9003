// SPDX-License-Identifier: BSL-1.0
// Bodies of route/neighbours.hpp.
#pragma once

#include <halfproxy/route/neighbours.hpp>

#include <algorithm>
#include <bit>
#include <cstring>

namespace halfproxy {

inline neighbour_cache::neighbour_cache(neighbour_config const& config)
    : config_(config), entries_(std::max(config.capacity, 4u)), heads_(std::bit_ceil(entries_.size()), none),
      waiting_(config.waiting_frames, config.waiting_frame_bytes), new_questions_(config.new_questions_per_second) {
    for (auto i = static_cast<std::uint32_t>(entries_.size()); i > 0; --i) {
        entries_[i - 1].next = free_;
        free_ = i - 1;
    }
}

inline std::size_t neighbour_cache::bucket(side port, ip_address const& address) const noexcept {
    std::uint64_t words[2];
    std::memcpy(words, address.bytes.data(), sizeof(words));
    std::uint64_t h = (words[0] ^ config_.seed ^ static_cast<std::uint64_t>(port)) * 0x9e3779b97f4a7c15u;
    h = (h ^ (h >> 32) ^ words[1]) * 0xbf58476d1ce4e5b9u;
    return static_cast<std::size_t>(h >> 32) & (heads_.size() - 1);
}

inline std::uint32_t& neighbour_cache::head(side port, ip_address const& address) noexcept { return heads_[bucket(port, address)]; }

inline neighbour const* neighbour_cache::find(side port, ip_address const& address) const noexcept {
    for (std::uint32_t i = heads_[bucket(port, address)]; i != none; i = entries_[i].next)
        if (entries_[i].address == address && entries_[i].port == port) return &entries_[i];
    return nullptr;
}

inline neighbour* neighbour_cache::find_entry(side port, ip_address const& address) noexcept {
    return const_cast<neighbour*>(find(port, address));
}

inline neighbour* neighbour_cache::use(side port, ip_address const& address, time_point now) noexcept {
    neighbour* n = find_entry(port, address);
    if (n == nullptr) {
        n = add(port, address, now);
        if (n == nullptr) return nullptr;
    }
    n->used = now;
    n->wanted = true;  // begin_asking() takes it back: a probe is for one that is used on
    if (n->state == neighbour_state::reachable && now - n->answered >= config_.reachable) n->state = neighbour_state::stale;
    if (n->state == neighbour_state::stale) begin_asking(*n, neighbour_state::probe, now);
    if (n->state == neighbour_state::failed && now >= n->due) begin_asking(*n, neighbour_state::incomplete, now);
    return n;
}

inline neighbour* neighbour_cache::add(side port, ip_address const& address, time_point now) noexcept {
    // A scan of a connected prefix fills the cache with neighbours that do not exist (RFC 6583): those share a quarter of it.
    bool const crowd = incomplete_ >= entries_.size() / 4;
    if (crowd || free_ == none) {
        std::uint32_t const victim = make_room(now, crowd);
        if (victim == none) return nullptr;
        release(victim);
        ++counters_.evicted;
    }
    std::uint32_t const number = free_;
    neighbour& n = entries_[number];
    free_ = n.next;
    n = neighbour{};
    n.address = address;
    n.port = port;
    n.next = head(port, address);
    head(port, address) = number;
    begin_asking(n, neighbour_state::incomplete, now);
    return &n;
}

/// How readily it gives way; 0: not at all.
inline int neighbour_cache::worth(neighbour const& n, time_point now, bool of_incomplete) const noexcept {
    if (n.state == neighbour_state::incomplete) return 2;
    if (of_incomplete || n.state == neighbour_state::unused) return 0;
    if (n.state == neighbour_state::failed) return 3;
    return n.state != neighbour_state::probe && now - n.used >= evictable_after ? 1 : 0;
}

inline std::uint32_t neighbour_cache::make_room(time_point now, bool of_incomplete) noexcept {
    std::uint32_t best = none;
    int best_worth = 0;
    for (std::uint32_t i = 0; i < eviction_samples; ++i) {
        hand_ = hand_ + 1 < entries_.size() ? hand_ + 1 : 0;
        int const w = worth(entries_[hand_], now, of_incomplete);
        if (w <= best_worth) continue;
        best = hand_;
        best_worth = w;
    }
    return best;
}

inline void neighbour_cache::begin_asking(neighbour& n, neighbour_state state, time_point now) noexcept {
    end_asking(n, state);
    n.asked = 0;
    n.ask_all = n.wanted = false;
    n.due = now;
    earliest_ = asking_ == 0 ? now : std::min(earliest_, now);
    ++asking_;
    if (state == neighbour_state::incomplete) ++incomplete_;
}

inline void neighbour_cache::end_asking(neighbour& n, neighbour_state state) noexcept {
    if (asking(n)) --asking_;
    if (n.state == neighbour_state::incomplete) --incomplete_;
    n.state = state;
}

/// Back to the free ones; what waited for it is dropped.
inline void neighbour_cache::release(std::uint32_t number) noexcept {
    neighbour& n = entries_[number];
    end_asking(n, neighbour_state::unused);
    for (; !n.waiting.empty(); ++dropped_) waiting_.drop_front(n.waiting);
    std::uint32_t* link = &head(n.port, n.address);
    while (*link != number) link = &entries_[*link].next;
    *link = n.next;
    n.next = free_;
    free_ = number;
}

inline drop_reason neighbour_cache::wait(neighbour& n, frame const& f) noexcept {
    if (n.state != neighbour_state::incomplete) return drop_reason::neighbour_unresolved;
    if (n.waiting_count != 0 && n.waiting_count >= config_.waiting_each && f.length <= waiting_.slot_bytes()) {
        waiting_.drop_front(n.waiting);
        --n.waiting_count;
        ++dropped_;
    }
    if (!waiting_.keep(n.waiting, f)) return drop_reason::neighbour_queue_full;
    ++n.waiting_count;
    return drop_reason::none;
}

inline neighbour* neighbour_cache::hear(side port, ip_address const& address, std::optional<mac_address> const& mac, bool asked_for,
                                        time_point now) noexcept {
    neighbour* const n = find_entry(port, address);
    if (n == nullptr) return ++counters_.not_believed, nullptr;
    if (n->state == neighbour_state::incomplete) {
        if (!asked_for || !mac || n->asked == 0) return ++counters_.not_believed, nullptr;
        answered(*n, *mac, now);
        ++counters_.resolved;
        return n;
    }
    if (!n->has_mac()) return ++counters_.not_believed, nullptr;
    bool const same = !mac || *mac == n->mac;
    bool const our_question = asked_for && n->state == neighbour_state::probe && n->asked != 0;
    if (same) {
        if (!our_question) return nullptr;
        answered(*n, n->mac, now);
        ++counters_.confirmed;
        return nullptr;
    }
    if (now - n->answered < locked_for) return ++counters_.not_believed, nullptr;
    if (our_question) {
        answered(*n, *mac, now);
        ++counters_.moved;
        return nullptr;
    }
    if (n->state != neighbour_state::probe) begin_asking(*n, neighbour_state::probe, now);
    n->ask_all = true;
    return nullptr;
}

inline void neighbour_cache::answered(neighbour& n, mac_address const& mac, time_point now) noexcept {
    end_asking(n, neighbour_state::reachable);
    n.mac = mac;
    n.answered = now;
    n.wanted = false;
}

template <class Ask, class Fail>
void neighbour_cache::run(time_point now, Ask&& ask, Fail&& fail) noexcept {
    if (asking_ == 0 || earliest_ > now) return;
    std::uint32_t failures = 0;
    bool first = true;
    for (std::uint32_t i = 0; i < entries_.size(); ++i) {
        neighbour& n = entries_[i];
        if (!asking(n)) continue;
        bool const more = n.due > now || (n.asked < config_.questions ? ask_once(n, now, ask) : give_up(n, now, failures, fail));
        if (!more || !asking(n)) continue;
        earliest_ = first ? n.due : std::min(earliest_, n.due);
        first = false;
    }
}

/// True in any case: it stays among those asked for.
template <class Ask>
bool neighbour_cache::ask_once(neighbour& n, time_point now, Ask& ask) noexcept {
    constexpr std::chrono::milliseconds again_when_busy{20};
    bool const everybody = n.state == neighbour_state::incomplete || n.ask_all;
    // Only strangers are limited: those we know are as many as the cache holds, and asked once a second each.
    bool const allowed = n.state == neighbour_state::probe || n.asked != 0 || new_questions_.take(stamp(now));
    if (!allowed || !ask(static_cast<neighbour const&>(n), everybody ? nullptr : &n.mac)) {
        n.due = now + again_when_busy;
        return true;
    }
    ++n.asked;
    n.due = now + config_.retry;
    return true;
}

/// A known one that does not answer any more is asked for among everybody, if it is still sent to (RFC 4861 section 7.3.3).
template <class Fail>
bool neighbour_cache::give_up(neighbour& n, time_point now, std::uint32_t& failures, Fail& fail) noexcept {
    if (n.state == neighbour_state::probe) {
        if (n.wanted) {
            begin_asking(n, neighbour_state::incomplete, now);
            return true;
        }
        release(static_cast<std::uint32_t>(&n - entries_.data()));
        return false;
    }
    for (; !n.waiting.empty(); --n.waiting_count) {
        if (failures++ >= max_failures) return true;  // it stays due: the rest another time
        fail(waiting_.front(n.waiting));
        waiting_.drop_front(n.waiting);
    }
    ++counters_.failed;
    end_asking(n, neighbour_state::failed);
    n.due = now + config_.failed_for;
    return false;
}

}  // namespace halfproxy
