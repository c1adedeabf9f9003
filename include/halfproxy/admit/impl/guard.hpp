// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/admit/guard.hpp>
#include <halfproxy/core/inline.hpp>

#include <algorithm>

namespace halfproxy {

namespace detail {

[[nodiscard]] inline bool has_passed(stamp_ms since, stamp_ms now, timeout_ms least) noexcept {
    return least != never && static_cast<std::uint32_t>(now - since) >= least;  // an attack may last longer than 2^31 ms
}

/// Random early drop (Floyd, Jacobson 1993), without their average: x is one already.
[[nodiscard]] inline bool falls_to_chance(std::uint32_t x, std::uint32_t on, std::uint32_t max, split_mix64& random) noexcept {
    if (max == no_mark || x < on) return false;
    return x >= max || random.below(max - on) < x - on;
}

}  // namespace detail

inline bool guard_machine::enter(guard_state state, stamp_ms now) noexcept {
    state_ = state;
    since_ = now;
    return true;
}

inline std::uint32_t guard_machine::half_open_equivalent(guard_config const& c, stamp_ms now) noexcept {
    std::uint64_t const unanswered = std::uint64_t{unanswered_.per_second(now, unanswered_smoothing(c))} * c.unanswered / 1000;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(half_open_ + unanswered, no_mark - 1));
}

inline bool guard_machine::update(guard_marks const& marks, guard_config const& c, stamp_ms now) noexcept {
    if (!marks.any() && state_ == guard_state::ready) return false;  // it may have had marks when it became active
    auto const rate_reaches = [&](std::uint32_t mark) { return marks.syn_rate_on != no_mark && syns_per_second(c, now) >= mark; };
    if (state_ != guard_state::active) {
        if (half_open_ >= marks.half_open_on || rate_reaches(marks.syn_rate_on)) return enter(guard_state::active, now);
        if (state_ == guard_state::grace && detail::has_passed(since_, now, c.grace)) return enter(guard_state::ready, now);
        return false;
    }
    if (!detail::has_passed(since_, now, c.min_active) || rate_reaches(marks.syn_rate_off)) return false;
    if (marks.half_open_on != no_mark && half_open_equivalent(c, now) >= marks.half_open_off) return false;
    return enter(guard_state::grace, now);
}

inline bool guard_machine::drops_early(guard_marks const& marks, guard_config const& c, stamp_ms now, bool challenged,
                                       split_mix64& random) noexcept {
    if (marks.syn_rate_max != no_mark &&
        detail::falls_to_chance(syns_per_second(c, now), marks.syn_rate_on, marks.syn_rate_max, random))
        return true;
    return !challenged && detail::falls_to_chance(half_open_, marks.half_open_on, marks.half_open_max, random);
}

/// Services are followed where their marks can have an effect.
inline std::uint32_t guard::buckets(guard_config const& c) noexcept {
    bool const wanted = c.mode == guard_mode::automatic || c.mode == guard_mode::monitor ||
                        (c.mode == guard_mode::always && c.service_marks.capped());
    return wanted ? c.services : 0;
}

inline guard::guard(guard_config const& config)
    : config_(config), by_marks_(config.mode == guard_mode::automatic || config.mode == guard_mode::monitor) {
    for (side const s : {side::outside, side::inside})
        guards_[static_cast<std::size_t>(s)] = config.mode != guard_mode::off && config.guards(s);
    services_.resize(buckets(config));
    look_at_marks();
    if (config.mode != guard_mode::always) return;
    scopes_[0].begin_active();
    active_ = in_force_ = 1;
}

inline void guard::look_at_marks() noexcept {
    guard_config const& c = config_;
    capped_ = c.marks.capped() || c.side_marks[0].capped() || c.side_marks[1].capped() || (!services_.empty() && c.service_marks.capped());
    for (std::size_t s = 0; s < 2; ++s) by_side_[s] = c.side_marks[s].any() || c.side_marks[s].capped();
    every_syn_ = c.mode == guard_mode::always && !capped_ && c.allow.empty() && c.exempt_time() == 0;
}

inline void guard::configure(guard_config const& config) {
    config_ = config;
    look_at_marks();
}

/// visit(machine, marks) for each of a SYN's scopes.
template <class Visit>
void guard::each_scope(guard_syn const& syn, Visit&& visit) noexcept {
    visit(scopes_[0], config_.marks);
    auto const from = static_cast<std::size_t>(syn.arrival);
    if (by_side_[from]) visit(scopes_[side_index(syn.arrival)], config_.side_marks[from]);
    if (service* const s = service_of(syn)) visit(s->machine, config_.service_marks);
}

template <class Notify>
void guard::update(guard_machine& machine, guard_marks const& marks, guard_event& about, stamp_ms now, Notify& notify) noexcept {
    about.before = machine.state();
    if (!machine.update(marks, config_, now)) [[likely]]
        return;
    about.after = machine.state();
    active_ += (about.after == guard_state::active ? 1u : 0u) - (about.before == guard_state::active ? 1u : 0u);
    in_force_ += (about.after != guard_state::ready ? 1u : 0u) - (about.before != guard_state::ready ? 1u : 0u);
    ++transitions_[static_cast<std::size_t>(about.scope)][static_cast<std::size_t>(about.after)];
    about.half_open = machine.half_open_equivalent(config_, now);
    about.syns_per_second = machine.syns_per_second(config_, now);
    about.when = now;
    notify(static_cast<guard_event const&>(about));
}

template <class Notify>
void guard::update_service(service& s, stamp_ms now, Notify& notify) noexcept {
    guard_event about{.scope = guard_scope::service, .address = s.address, .port = s.port};
    update(s.machine, config_.service_marks, about, now, notify);
}

template <class Notify>
void guard::tick(stamp_ms now, Notify&& notify) noexcept {
    if (!by_marks_ || now == last_tick_) return;
    last_tick_ = now;
    guard_event about{};
    update(scopes_[0], config_.marks, about, now, notify);
    for (side const s : {side::outside, side::inside}) {
        about = {.scope = guard_scope::side, .where = s};
        update(scopes_[side_index(s)], config_.side_marks[static_cast<std::size_t>(s)], about, now, notify);
    }
    if (services_.empty()) return;
    if (++next_service_ >= services_.size()) next_service_ = 0;
    update_service(services_[next_service_], now, notify);
}

template <class Notify>
void guard::note_syn(guard_syn const& syn, stamp_ms now, Notify&& notify) noexcept {
    if (!by_marks_ && !capped_) return;
    each_scope(syn, [&](guard_machine& machine, guard_marks const&) { machine.note_syn(now, config_); });
    if (!by_marks_) return;
    guard_event about{.where = syn.arrival};
    update(scopes_[0], config_.marks, about, now, notify);
    auto const from = static_cast<std::size_t>(syn.arrival);
    about.scope = guard_scope::side;
    if (by_side_[from]) update(scopes_[side_index(syn.arrival)], config_.side_marks[from], about, now, notify);
    service* const s = service_of(syn);
    if (s == nullptr) return;
    if (s->machine.state() != guard_state::active) {
        s->address = syn.address;
        s->port = syn.port;
    }
    update_service(*s, now, notify);
}

inline bool guard::challenges(guard_syn const& syn) const noexcept {
    if (active_ == 0 || !guards(syn.arrival)) return false;
    bool const by_service = !services_.empty() && services_[number_of(syn)].machine.state() == guard_state::active;
    return by_service || scopes_[0].state() == guard_state::active || scopes_[side_index(syn.arrival)].state() == guard_state::active;
}

inline bool guard::drops_early(guard_syn const& syn, stamp_ms now, bool challenged, split_mix64& random) noexcept {
    if (!capped_) [[likely]]
        return false;
    bool any = false;
    each_scope(syn, [&](guard_machine& machine, guard_marks const& marks) {
        any = any || machine.drops_early(marks, config_, now, challenged, random);
    });
    return any;
}

inline void guard::note_challenge(guard_syn const& syn, stamp_ms now, int by) noexcept {
    if (!by_marks_) return;
    each_scope(syn, [&](guard_machine& machine, guard_marks const&) { machine.note_challenge(now, config_, by); });
}

inline void guard::half_open_changed(guard_syn const& syn, int by) noexcept {
    if (!guards(syn.arrival)) return;
    each_scope(syn, [by](guard_machine& machine, guard_marks const&) { machine.half_open_changed(by); });
}

inline bool guard::allows(ip_address const& client) const noexcept {
    return std::any_of(config_.allow.begin(), config_.allow.end(), [&](ip_prefix const& p) { return p.contains(client); });
}

inline guard_state guard::state() const noexcept {
    if (active_ != 0) return guard_state::active;
    return in_force_ != 0 ? guard_state::grace : guard_state::ready;
}

inline std::uint64_t guard::activations() const noexcept {
    std::uint64_t sum = 0;
    for (auto const& into : transitions_) sum += into[static_cast<std::size_t>(guard_state::active)];
    return sum;
}

}  // namespace halfproxy
