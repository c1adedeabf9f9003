// SPDX-License-Identifier: BSL-1.0
// How backends come, change and go.
#pragma once

#include <halfproxy/balance/backend_pool.hpp>

#include <algorithm>
#include <bit>

namespace halfproxy {

template <scheduler Scheduler>
backend_pool<Scheduler>::backend_pool(pool_config const& config, Scheduler const& scheduler)
    : config_(config), scheduler_(scheduler), members_(scheduler.capacity()), enrolled_(scheduler.capacity()), wakeups_(scheduler.capacity()),
      by_identity_(std::bit_ceil(std::size_t{2} * scheduler.capacity() + 1), no_backend_index) {}

template <scheduler Scheduler>
backend_pool<Scheduler>::backend_pool(pool_config const& config, Scheduler const& scheduler, backend_pool const& before) : backend_pool(config, scheduler) {
    now_ = before.now_;
    started_ = before.started_;
    std::copy(before.members_.begin(), before.members_.end(), members_.begin());
    for (std::size_t i = 0; i < before.members_.size(); ++i) {
        members_[i].share = {};
        members_[i].willing = false;
        scheduler_.load(static_cast<backend_index>(i), members_[i].open);
    }
    set_pool_config(config);
}

template <scheduler Scheduler>
std::size_t backend_pool<Scheduler>::memory_bytes() const noexcept {
    return members_.size() * (sizeof(member) + sizeof(enrolled_backend)) + wakeups_.memory_bytes() + by_identity_.size() * sizeof(backend_index) +
           scheduler_.memory_bytes();
}

// --- Configuration --------------------------------------------------------------------------------------------------------

/// Where it is already, or where nobody is.
template <scheduler Scheduler>
backend_index backend_pool<Scheduler>::place_for(backend const& b) const noexcept {
    backend_index free = no_backend_index;
    for (std::size_t i = 0; i < members_.size(); ++i) {
        member const& m = members_[i];
        if (m.use != usage::none && m.server.same_server(b)) return static_cast<backend_index>(i);
        if (m.use == usage::none && free == no_backend_index) free = static_cast<backend_index>(i);
    }
    return free;
}

template <scheduler Scheduler>
bool backend_pool<Scheduler>::configure(std::span<backend const> all, bool at_once) noexcept {
    std::size_t needed = all.size();
    for (member const& m : members_) {
        bool const named = std::any_of(all.begin(), all.end(), [&m](backend const& b) { return m.server.same_server(b); });
        needed += m.open != 0 && !named ? 1 : 0;
    }
    if (needed > members_.size()) return false;
    for (std::size_t i = 0; i < members_.size(); ++i) {
        member& m = members_[i];
        bool const named = std::any_of(all.begin(), all.end(), [&m](backend const& b) { return m.server.same_server(b); });
        if (m.use == usage::none || named) continue;
        m.use = usage::leaving;
        if (m.open == 0) forget(static_cast<backend_index>(i));
    }
    std::uint32_t order = 0;
    for (backend const& b : all) take_in(b, order++, at_once);
    enroll();
    index_identities();
    for (std::size_t i = 0; i < members_.size(); ++i) refresh(static_cast<backend_index>(i));
    return true;
}

template <scheduler Scheduler>
void backend_pool<Scheduler>::take_in(backend const& b, std::uint32_t order, bool at_once) noexcept {
    backend_index const i = place_for(b);
    member& m = members_[i];
    if (m.use != usage::configured) {
        std::uint32_t const open = m.open;
        m = {};
        m.open = open;
        m.use = usage::configured;
        m.ramp_begin = at_once ? long_ago : now_;
        m.willing = false;
    }
    m.server = b;
    m.order = order;
    m.identity = identity_of(b.address, config_.known_by_address ? std::uint16_t{0} : b.port);
}

template <scheduler Scheduler>
void backend_pool<Scheduler>::forget(backend_index i) noexcept {
    refresh(i);  // with its usage it has lost its share
    wakeups_.erase(i);
    members_[i] = {};
}

template <scheduler Scheduler>
void backend_pool<Scheduler>::enroll() noexcept {
    enrolled_.clear();
    for (std::size_t i = 0; i < members_.size(); ++i) {
        backend const& b = members_[i].server;
        if (members_[i].use == usage::configured)
            enrolled_.push_back({identity_of(b.address, b.port), b.weight, b.priority, static_cast<backend_index>(i)});
    }
    std::sort(enrolled_.begin(), enrolled_.end(),
              [this](auto const& a, auto const& b) { return members_[a.index].order < members_[b.index].order; });
    scheduler_.enroll({enrolled_.data(), enrolled_.size()});
}

template <scheduler Scheduler>
void backend_pool<Scheduler>::index_identities() noexcept {
    std::fill(by_identity_.begin(), by_identity_.end(), no_backend_index);
    for (enrolled_backend const& b : enrolled_) {
        std::size_t at = members_[b.index].identity & (by_identity_.size() - 1);
        while (by_identity_[at] != no_backend_index) at = (at + 1) & (by_identity_.size() - 1);
        by_identity_[at] = b.index;
    }
}

template <scheduler Scheduler>
backend_index backend_pool<Scheduler>::find(std::uint64_t identity) const noexcept {
    for (std::size_t at = identity & (by_identity_.size() - 1);; at = (at + 1) & (by_identity_.size() - 1)) {
        backend_index const i = by_identity_[at];
        if (i == no_backend_index || members_[i].identity == identity) return i;
    }
}

template <scheduler Scheduler>
void backend_pool<Scheduler>::set_pool_config(pool_config const& config) noexcept {
    config_ = config;
    enroll();
    for (member& m : members_) m.identity = identity_of(m.server.address, config_.known_by_address ? std::uint16_t{0} : m.server.port);
    index_identities();
    for (std::size_t i = 0; i < members_.size(); ++i) refresh(static_cast<backend_index>(i));
}

template <scheduler Scheduler>
void backend_pool<Scheduler>::set_weight(backend_index i, std::uint16_t weight) noexcept {
    members_[i].server.weight = weight;
    enroll();
    refresh(i);
}

template <scheduler Scheduler>
void backend_pool<Scheduler>::set_state(backend_index i, backend_state state) noexcept {
    member& m = members_[i];
    bool const was_out = m.state == backend_state::down || inhibited(i);
    m.state = state;
    if (state == backend_state::up) {
        m.failures = 0;
        m.on_trial = false;
        m.inhibited_until = long_ago;
        if (was_out) m.ramp_begin = now_;
    }
    refresh(i);
    if (willing_ == 0) relent();
}

/// Passive checks never take out the last one; nor may those that they took out be missing when the others go.
template <scheduler Scheduler>
void backend_pool<Scheduler>::relent() noexcept {
    for (std::size_t i = 0; i < members_.size(); ++i) {
        if (members_[i].inhibited_until <= now_) continue;
        members_[i].inhibited_until = now_;
        refresh(static_cast<backend_index>(i));
    }
}

// --- Shares ---------------------------------------------------------------------------------------------------------------

template <scheduler Scheduler>
bool backend_pool<Scheduler>::is_willing(member const& m) const noexcept {
    return m.use == usage::configured && m.state == backend_state::up && m.server.weight != 0 && m.inhibited_until <= now_;
}

/// A leaky bucket that holds one second's worth.
template <scheduler Scheduler>
typename backend_pool<Scheduler>::ns backend_pool<Scheduler>::rate_opens_at(member const& m) const noexcept {
    if (m.server.new_connections_per_s == unlimited) return long_ago;
    if (m.server.new_connections_per_s == 0) return now_ + a_second;
    return m.rate_full_until + a_second / m.server.new_connections_per_s - a_second;
}

/// Of share_per_weight, in steps: the first at once.
template <scheduler Scheduler>
std::uint32_t backend_pool<Scheduler>::ramped(member const& m) const noexcept {
    ns const whole = to_ns(config_.slow_start);
    ns const since = now_ - m.ramp_begin;
    if (since < 0 || since >= whole) return share_per_weight;  // before: from a time when no clock had been heard of
    auto const step = static_cast<std::uint32_t>(since * slow_start_steps / whole);
    return share_per_weight / slow_start_steps * (step + 1);
}

/// When its share changes by itself.
template <scheduler Scheduler>
typename backend_pool<Scheduler>::ns backend_pool<Scheduler>::wakeup_of(member const& m) const noexcept {
    constexpr ns nothing = ns{1} << 62;
    if (m.use != usage::configured || m.state != backend_state::up || m.server.weight == 0) return nothing;
    if (m.inhibited_until > now_) return m.inhibited_until;
    ns at = rate_opens_at(m) > now_ ? rate_opens_at(m) : nothing;
    ns const whole = to_ns(config_.slow_start), since = now_ - m.ramp_begin;
    if (since >= 0 && since < whole) {
        ns const step = since * slow_start_steps / whole + 1;
        at = std::min(at, m.ramp_begin + (step * whole + slow_start_steps - 1) / slow_start_steps);
    }
    return at;
}

/// Works out its share anew, after anything that it depends on has changed.
template <scheduler Scheduler>
void backend_pool<Scheduler>::refresh(backend_index i) noexcept {
    member& m = members_[i];
    bool const willing = is_willing(m);
    bool const takes = willing && m.open < m.server.connections && rate_opens_at(m) <= now_;
    std::uint32_t const now = takes ? m.server.weight * ramped(m) : 0u;
    backend_share const share{now, m.server.weight * share_per_weight};
    willing_ += static_cast<std::uint32_t>(willing) - static_cast<std::uint32_t>(m.willing);
    ready_ += static_cast<std::uint32_t>(takes) - static_cast<std::uint32_t>(m.share.now != 0);
    m.willing = willing;
    if (share.now != m.share.now || share.full != m.share.full) scheduler_.weigh(i, share);
    m.share = share;
    if (ns const at = wakeup_of(m); at < ns{1} << 62)
        wakeups_.set(i, at);
    else
        wakeups_.erase(i);
}

// --- The path of packets --------------------------------------------------------------------------------------------------

template <scheduler Scheduler>
void backend_pool<Scheduler>::tick(time_point now) noexcept {
    ns const at = now.time_since_epoch().count();
    now_ = started_ ? std::max(now_, at) : at;
    started_ = true;
    for (std::uint32_t n = 0; n < wakeups_per_tick && !wakeups_.empty() && wakeups_.top_key() <= now_; ++n)
        refresh(static_cast<backend_index>(wakeups_.top()));
}

template <scheduler Scheduler>
std::optional<time_point> backend_pool<Scheduler>::next_wakeup() const noexcept {
    if (wakeups_.empty()) return std::nullopt;
    return time_point(time_point::duration(wakeups_.top_key()));
}

template <scheduler Scheduler>
pool_choice backend_pool<Scheduler>::choose(choice_input const& in) noexcept {
    backend_index const i = scheduler_.choose(in);
    return {i, i == no_backend_index && willing_ != 0};
}

template <scheduler Scheduler>
void backend_pool<Scheduler>::opened(backend_index i) noexcept {
    member& m = members_[i];
    scheduler_.load(i, ++m.open);
    ++m.opened;
    std::uint32_t const rate = m.server.new_connections_per_s;
    if (rate != unlimited && rate != 0) m.rate_full_until = std::max(m.rate_full_until, now_) + a_second / rate;
    if (rate != unlimited || m.open >= m.server.connections) refresh(i);
}

template <scheduler Scheduler>
void backend_pool<Scheduler>::closed(backend_index i) noexcept {
    member& m = members_[i];
    scheduler_.load(i, --m.open);
    if (m.use == usage::leaving && m.open == 0) return forget(i);
    if (m.open + 1 == m.server.connections) refresh(i);
}

template <scheduler Scheduler>
void backend_pool<Scheduler>::succeeded(backend_index i) noexcept {
    members_[i].failures = 0;
    members_[i].on_trial = false;
}

template <scheduler Scheduler>
void backend_pool<Scheduler>::failed(backend_index i) noexcept {
    member& m = members_[i];
    if (config_.passive.failures == 0 || !m.willing) return;
    m.failures = std::min(m.failures + 1, config_.passive.failures);
    if (m.failures < config_.passive.failures && !m.on_trial) return;
    if (willing_ == 1) return;
    inhibit(m);
    refresh(i);
}

/// Longer each time, as long as it was good for less than it was out.
template <scheduler Scheduler>
void backend_pool<Scheduler>::inhibit(member& m) noexcept {
    bool const again = m.inhibition != 0 && now_ - m.inhibited_until < m.inhibition;
    ns const longest = to_ns(config_.passive.longest_inhibition);
    m.inhibition = std::min(again ? 2 * m.inhibition : to_ns(config_.passive.first_inhibition), longest);
    m.inhibited_until = m.ramp_begin = now_ + m.inhibition;
    m.failures = 0;
    m.on_trial = true;
}

}  // namespace halfproxy
