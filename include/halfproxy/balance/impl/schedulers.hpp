// SPDX-License-Identifier: BSL-1.0
// How each model chooses.
#pragma once

#include <halfproxy/balance/schedulers.hpp>

namespace halfproxy {

namespace detail {

/// The interval of a share of 1; of the largest share 2^24 it is still 2^16, which bounds what rounding adds up to.
inline constexpr std::uint64_t longest_interval = std::uint64_t{1} << 40;

}  // namespace detail

/// Who comes (back) begins in the middle of an interval, as all did at first, unless it had its turn already: coming and going gains nothing.
template <class Weights>
void basic_round_robin<Weights>::weigh(backend_index i, backend_share share) noexcept {
    std::uint32_t const units = Weights::units(share);
    if (units == 0) return turns_.erase(i);
    member& m = members_[i];
    std::uint64_t const interval = detail::longest_interval / units;
    if (turns_.contains(i) && interval == m.interval) return;
    bool const ahead = m.interval != 0 && static_cast<std::int64_t>(m.due - clock_) > 0;
    if (!ahead || m.due - clock_ > interval) m.due = clock_ + interval / 2;
    m.interval = interval;
    turns_.set(i, {m.due});
}

template <class Weights>
backend_index basic_round_robin<Weights>::choose(choice_input const&) noexcept {
    if (turns_.empty()) return no_backend_index;
    std::uint32_t const next = turns_.top();
    member& m = members_[next];
    clock_ = m.due;
    m.due += m.interval;
    turns_.set(next, {m.due});
    return static_cast<backend_index>(next);
}

template <class Weights>
void basic_least_connections<Weights>::weigh(backend_index i, backend_share share) noexcept {
    members_[i].units = Weights::units(share);
    if (members_[i].units == 0)
        ready_.erase(i);
    else
        ready_.set(i, members_[i]);
}

template <class Weights>
void basic_least_connections<Weights>::load(backend_index i, std::uint32_t open) noexcept {
    members_[i].open = open;
    if (ready_.contains(i)) ready_.set(i, members_[i]);
}

template <class Weights>
backend_index basic_least_connections<Weights>::choose(choice_input const&) noexcept {
    if (ready_.empty()) return no_backend_index;
    std::uint32_t const next = ready_.top();
    members_[next].chosen = ++choices_;
    ready_.set(next, members_[next]);
    return static_cast<backend_index>(next);
}

inline void power_of_two_scheduler::weigh(backend_index i, backend_share share) noexcept {
    member& m = members_[i];
    m.units = share.now;
    if (m.units != 0 && m.place == no_backend_index) {
        m.place = static_cast<backend_index>(ready_.size());
        ready_.push_back(i);
    } else if (m.units == 0 && m.place != no_backend_index) {
        members_[ready_.back()].place = m.place;
        ready_[m.place] = ready_.back();
        ready_.pop_back();
        m.place = no_backend_index;
    }
}

/// The second is drawn from all but the first.
inline backend_index power_of_two_scheduler::choose(choice_input const& in) noexcept {
    if (ready_.empty()) return no_backend_index;
    auto const below = [](std::uint64_t bits, std::size_t bound) { return static_cast<std::size_t>((bits & 0xffff'ffffu) * bound >> 32); };
    std::size_t const first = below(in.random, ready_.size());
    if (ready_.size() == 1) return ready_[first];
    std::size_t const other = below(in.random >> 32, ready_.size() - 1);
    backend_index const a = ready_[first], b = ready_[other < first ? other : other + 1];
    member const &x = members_[a], &y = members_[b];
    return (std::uint64_t{y.open} + 1) * x.units > (std::uint64_t{x.open} + 1) * y.units ? a : b;
}

template <class Hashed>
void basic_consistent_hash<Hashed>::enroll(std::span<enrolled_backend const> all) noexcept {
    enrolled_.clear();
    for (enrolled_backend const& b : all.first(std::min<std::size_t>(all.size(), capacity()))) {
        members_[b.index].identity = b.identity;
        enrolled_.push_back({b.identity, b.weight, b.index});
        if (ready_.contains(b.index)) ready_.set(b.index, b.identity);
    }
    table_.build({enrolled_.data(), enrolled_.size()});
}

template <class Hashed>
void basic_consistent_hash<Hashed>::weigh(backend_index i, backend_share share) noexcept {
    members_[i].units = equal_weights::units(share);
    if (share.now == 0)
        ready_.erase(i);
    else
        ready_.set(i, members_[i].identity);
}

/// Who starts slowly takes that part of the hashes that would find it.
template <class Hashed>
bool basic_consistent_hash<Hashed>::accepts(backend_index i, std::uint64_t hash) const noexcept {
    member const& m = members_[i];
    return m.units >= share_per_weight || mix64(hash ^ m.identity) % share_per_weight < m.units;
}

template <class Hashed>
backend_index basic_consistent_hash<Hashed>::choose(choice_input const& in) noexcept {
    if (ready_.empty() || table_.empty()) return no_backend_index;
    std::uint64_t const hash = Hashed::hash(in);
    std::span<backend_index const> const places = table_.places();
    std::size_t at = table_.place_of(hash);
    for (std::uint32_t looked = 0; looked < most_places; ++looked) {
        if (accepts(places[at], hash)) return places[at];
        at = at + 1 == places.size() ? 0 : at + 1;
    }
    return static_cast<backend_index>(ready_.top());
}

inline void first_alive_scheduler::enroll(std::span<enrolled_backend const> all) noexcept {
    std::uint32_t rank = 0;
    for (enrolled_backend const& b : all) {
        ranks_[b.index] = rank++;
        if (ready_.contains(b.index)) ready_.set(b.index, ranks_[b.index]);
    }
}

inline void first_alive_scheduler::weigh(backend_index i, backend_share share) noexcept {
    if (share.now == 0)
        ready_.erase(i);
    else
        ready_.set(i, ranks_[i]);
}

template <scheduler Inner>
std::size_t priority_groups<Inner>::memory_bytes() const noexcept {
    std::size_t bytes = members_.size() * (sizeof(member) + sizeof(enrolled_backend));
    for (group const& g : groups_) bytes += g.inner.memory_bytes();
    return bytes;
}

template <scheduler Inner>
void priority_groups<Inner>::enroll(std::span<enrolled_backend const> all) noexcept {
    all = all.first(std::min<std::size_t>(all.size(), capacity()));
    auto const last = static_cast<std::uint8_t>(groups_.size() - 1);
    for (enrolled_backend const& b : all) move(b.index, std::min(b.priority, last));
    for (std::uint8_t number = 0; number <= last; ++number) {
        enrolled_.clear();
        for (enrolled_backend const& b : all)
            if (members_[b.index].priority == number) enrolled_.push_back(b);
        groups_[number].inner.enroll({enrolled_.data(), enrolled_.size()});
    }
}

template <scheduler Inner>
void priority_groups<Inner>::move(backend_index i, std::uint8_t priority) noexcept {
    member const before = members_[i];
    if (before.priority == priority) return;
    weigh(i, {0, before.share.full});
    members_[i].priority = priority;
    weigh(i, before.share);
    load(i, before.open);
}

template <scheduler Inner>
void priority_groups<Inner>::weigh(backend_index i, backend_share share) noexcept {
    member& m = members_[i];
    group& g = groups_[m.priority];
    if ((m.share.now == 0) != (share.now == 0)) g.ready += share.now == 0 ? ~std::uint32_t{0} : 1u;
    m.share = share;
    g.inner.weigh(i, share);
}

template <scheduler Inner>
void priority_groups<Inner>::load(backend_index i, std::uint32_t open) noexcept {
    members_[i].open = open;
    groups_[members_[i].priority].inner.load(i, open);
}

template <scheduler Inner>
backend_index priority_groups<Inner>::choose(choice_input const& in) noexcept {
    group* any = nullptr;
    for (group& g : groups_) {
        if (g.ready == 0) continue;
        if (g.ready >= least_ready_) return g.inner.choose(in);
        if (any == nullptr) any = &g;
    }
    return any == nullptr ? no_backend_index : any->inner.choose(in);
}

}  // namespace halfproxy
