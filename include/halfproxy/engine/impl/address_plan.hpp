// SPDX-License-Identifier: BSL-1.0
// From a flow's first packet to its addresses on the other side.
#pragma once

#include <halfproxy/engine/address_plan.hpp>

#include <algorithm>
#include <type_traits>
#include <utility>

namespace halfproxy {

namespace detail {

[[nodiscard]] constexpr bool is_icmp(std::uint8_t protocol) noexcept { return protocol == ip_protocol::icmp || protocol == ip_protocol::icmpv6; }

/// An ICMP query's identifier belongs to who asks: the other end has none.
[[nodiscard]] constexpr std::uint16_t remote_port(std::uint8_t protocol, std::uint16_t port) noexcept { return is_icmp(protocol) ? std::uint16_t{0} : port; }

}  // namespace detail

namespace detail {

template <class Address>
inline constexpr std::uint8_t version_of = std::is_same_v<Address, std::uint32_t> ? 4 : 6;

template <class Address>
[[nodiscard]] std::uint32_t flows_of(limits_config const& limits) noexcept {
    return version_of<Address> == 4 ? limits.flows_v4 : limits.flows_v6;
}

template <class Address>
[[nodiscard]] bool is_of(snat_rule const& rule) noexcept {
    return !rule.pool.empty() && rule.pool[0].address.version == version_of<Address>;
}

}  // namespace detail

template <class Address>
std::uint32_t address_plan::capacity_for(nat_config const& nat, limits_config const& limits) noexcept {
    if (std::none_of(nat.snat.begin(), nat.snat.end(), detail::is_of<Address>)) return 0;
    std::uint32_t const given = detail::version_of<Address> == 4 ? nat.bindings_v4 : nat.bindings_v6;
    return given == 0 ? detail::flows_of<Address>(limits) : given;
}

template <class Address>
address_plan::family_state<Address> address_plan::make_family(nat_config const& nat, limits_config const& limits) {
    std::uint32_t const capacity = capacity_for<Address>(nat, limits);
    family_state<Address> state{binding_table<Address>(capacity, nat.linger, nat.seed)};
    for (std::size_t i = 0; i < nat.snat.size(); ++i)
        if (detail::is_of<Address>(nat.snat[i]))
            state.pools.push_back({static_cast<std::uint32_t>(i), static_cast<std::uint16_t>(i),
                                   snat_pool<Address>(nat.snat[i], capacity, nat.shard, nat.shards, nat.seed + 16 * i)});
    state.held.resize(state.pools.empty() ? 0 : detail::flows_of<Address>(limits));
    return state;
}

template <class Address>
std::size_t address_plan::family_bytes(nat_config const& nat, limits_config const& limits) noexcept {
    std::uint32_t const capacity = capacity_for<Address>(nat, limits);
    std::size_t sum = binding_table<Address>::memory_bytes(capacity);
    for (snat_rule const& rule : nat.snat)
        if (detail::is_of<Address>(rule)) sum += snat_pool<Address>::memory_bytes(rule, capacity);
    return sum + (capacity == 0 ? 0 : detail::flows_of<Address>(limits) * sizeof(holds));
}

inline std::size_t address_plan::memory_bytes(nat_config const& nat, limits_config const& limits) noexcept {
    return family_bytes<std::uint32_t>(nat, limits) + family_bytes<ipv6_bytes>(nat, limits);
}

inline address_plan::address_plan(nat_config const& nat, limits_config const& limits)
    : config_(nat), limits_(limits), v4_(make_family<std::uint32_t>(nat, limits)), v6_(make_family<ipv6_bytes>(nat, limits)) {}

template <class Address>
address_plan::family_state<Address>& address_plan::family() noexcept {
    if constexpr (std::is_same_v<Address, std::uint32_t>)
        return v4_;
    else
        return v6_;
}

template <class Address>
address_plan::family_state<Address> const& address_plan::family() const noexcept {
    if constexpr (std::is_same_v<Address, std::uint32_t>)
        return v4_;
    else
        return v6_;
}

// --- Other rules than before ---------------------------------------------------------------------------------------------------

/// Of no pool, neither before nor among those that come, and of no mapping whose pool is gone.
template <class Address>
std::uint16_t address_plan::unused_id(std::vector<numbered_pool<Address>> const& besides) const {
    std::vector<bool> used(0x1'0000);
    family_state<Address> const& s = family<Address>();
    for (auto const* const pools : {&s.pools, &besides})
        for (numbered_pool<Address> const& p : *pools) used[p.id] = true;
    s.bindings.for_each([&](std::uint32_t, nat_binding<Address> const& b) { used[b.key.rule] = true; });
    return static_cast<std::uint16_t>(std::find(used.begin(), used.end(), false) - used.begin());
}

/// The pools of `next`, copied from those that go on; and tables for the family, if it had none and needs them now.
template <class Address>
address_plan::family_state<Address> address_plan::following(nat_config const& next) const {
    family_state<Address> const& s = family<Address>();
    std::uint32_t const capacity = s.bindings.capacity() != 0 ? s.bindings.capacity() : capacity_for<Address>(next, limits_);
    bool const needs_tables = s.bindings.capacity() == 0 && capacity != 0;
    family_state<Address> out{binding_table<Address>(needs_tables ? capacity : 0, next.linger, config_.seed)};
    if (needs_tables) out.held.resize(detail::flows_of<Address>(limits_));
    for (std::size_t i = 0; i < next.snat.size(); ++i) {
        snat_rule const& rule = next.snat[i];
        if (!detail::is_of<Address>(rule)) continue;
        auto const rule_number = static_cast<std::uint32_t>(i);
        auto const before = std::find_if(s.pools.begin(), s.pools.end(), [&](auto const& p) { return detail::same_ports(p.pool.rule(), rule); });
        if (before != s.pools.end()) {
            out.pools.push_back({rule_number, before->id, before->pool});
            out.pools.back().pool.use(rule);
            continue;
        }
        std::uint16_t const id = unused_id(out.pools);
        out.pools.push_back({rule_number, id, snat_pool<Address>(rule, capacity, config_.shard, config_.shards, config_.seed + 16u * id)});
    }
    return out;
}

/// Mappings whose ports a new pool has are its own from now on; of others the ports are nobody's any more.
template <class Address>
void address_plan::take_over(family_state<Address>&& next, binding_lingers const& linger) noexcept {
    family_state<Address>& s = family<Address>();
    if (next.bindings.capacity() != 0) {
        s.bindings = std::move(next.bindings);
        s.held = std::move(next.held);
    }
    s.bindings.use(linger);
    std::swap(s.pools, next.pools);
    for (numbered_pool<Address>& p : s.pools) {
        auto const is_this = [&](numbered_pool<Address> const& before) { return before.id == p.id; };
        if (std::any_of(next.pools.begin(), next.pools.end(), is_this)) continue;
        s.bindings.for_each([&](std::uint32_t number, nat_binding<Address> const& b) {
            if (auto const place = p.pool.adopt(b)) s.bindings.give_to(number, p.id, *place);
        });
    }
}

inline void address_plan::configure(nat_config const& next) {
    nat_config config = next;
    auto v4 = following<std::uint32_t>(next);
    auto v6 = following<ipv6_bytes>(next);
    // Nothing can fail from here on.
    take_over(std::move(v4), next.linger);
    take_over(std::move(v6), next.linger);
    config.seed = config_.seed;
    config.shard = config_.shard;
    config.shards = config_.shards;
    config_ = std::move(config);
}

// --- Answers ----------------------------------------------------------------------------------------------------------------

template <class Address>
address_answer<Address> address_plan::translate(flow_request<Address> const& request, stamp_ms now) noexcept {
    address_answer<Address> const a = answer(request, now, true);
    if (a.reason == drop_reason::none && a.hairpin) ++counters_.hairpins;
    return a;
}

template <class Address>
address_answer<Address> address_plan::foresee(flow_request<Address> const& request, stamp_ms now) noexcept {
    return answer(request, now, false);
}

/// Where to, and then in whose name. What the first step holds is let go when the second fails.
template <class Address>
address_answer<Address> address_plan::answer(flow_request<Address> const& request, stamp_ms now, bool take) noexcept {
    address_answer<Address> a{request.tuple};
    find_destination(request, a, take);
    if (a.reason == drop_reason::none) find_source(request, a, now, take);
    if (a.reason != drop_reason::none && take) {
        refused(a, now);
        a.holds = {};
    }
    return a;
}

template <class Address>
void address_plan::find_destination(flow_request<Address> const& request, address_answer<Address>& a, bool take) noexcept {
    if (by_static_rule(request, a) || by_dnat_rule(request, a)) return;
    by_mapping(request, a, take);
}

template <class Address>
bool address_plan::by_static_rule(flow_request<Address> const& request, address_answer<Address>& a) const noexcept {
    bool const from_inside = request.arrival == side::inside;
    if (config_.statics.empty() || (from_inside && !config_.hairpin)) return false;
    ip_address const to = detail::as_ip_address(request.tuple.destination);
    for (static_rule const& rule : config_.statics)
        if (rule.outside.contains(to)) {
            a.server_tuple.destination = detail::address_from<Address>(detail::moved_to(to, rule.inside));
            a.hairpin = from_inside;
            return true;
        }
    return false;
}

template <class Address>
bool address_plan::by_dnat_rule(flow_request<Address> const& request, address_answer<Address>& a) const noexcept {
    if (config_.dnat.empty()) return false;
    flow_tuple<Address> const& t = request.tuple;
    ip_address const from = detail::as_ip_address(t.source), to = detail::as_ip_address(t.destination);
    for (dnat_rule const& rule : config_.dnat) {
        bool const towards_inside = rule.origin != flow_origin::inside;
        bool const turned = towards_inside && request.arrival == side::inside;
        if (!includes(rule.origin, request.arrival) && !turned) continue;
        if (turned && !config_.hairpin) continue;
        bool const ported = detail::has_ports(request.protocol);
        if ((rule.protocol && *rule.protocol != request.protocol) || rule.target.version != to.version) continue;
        if (ported && !rule.ports.contains(t.destination_port)) continue;
        if (!rule.to.contains(to) || !rule.from.contains(from)) continue;
        a.server_tuple.destination = detail::address_from<Address>(rule.target);
        port_range const& ports = rule.target_ports;
        if (ports.first != 0)
            a.server_tuple.destination_port =
                ports.first == ports.last ? ports.first : static_cast<std::uint16_t>(ports.first + (t.destination_port - rule.ports.first));
        a.hairpin = turned;
        return true;
    }
    return false;
}

/// Behind a pool's address is whoever has a mapping, and nobody else.
template <class Address>
void address_plan::by_mapping(flow_request<Address> const& request, address_answer<Address>& a, bool take) noexcept {
    family_state<Address>& s = family<Address>();
    flow_tuple<Address> const& t = request.tuple;
    auto const at = std::find_if(s.pools.begin(), s.pools.end(), [&](numbered_pool<Address> const& p) { return p.pool.has(t.destination); });
    if (at == s.pools.end()) return;
    snat_rule const& rule = at->pool.rule();
    bool const ported = detail::has_ports(request.protocol) || detail::is_icmp(request.protocol);
    auto const found = s.bindings.find(binding_target<Address>{t.destination, t.source, ported ? t.destination_port : std::uint16_t{0},
                                                               ported ? detail::remote_port(request.protocol, t.source_port) : std::uint16_t{0}, request.zone,
                                                               request.protocol, 0});
    if (!found) {
        bool const opposite = rule.origin == flow_origin::both || !includes(rule.origin, request.arrival);
        if (opposite || config_.hairpin) a.reason = drop_reason::nat_no_mapping;
        return;
    }
    nat_binding<Address> const& b = s.bindings[*found];
    bool const turned = static_cast<std::uint8_t>(request.arrival) == b.inside_side;
    if (turned && !config_.hairpin) return;
    if (b.key.by_remote == 0 && rule.filtering != nat_filtering::endpoint_independent) {
        a.reason = drop_reason::nat_filtered;
        return;
    }
    a.server_tuple.destination = b.key.inside;
    a.server_tuple.destination_port = b.key.inside_port;
    if (detail::is_icmp(request.protocol)) a.server_tuple.source_port = b.key.inside_port;
    a.hairpin = turned;
    if (!take) return;
    a.holds[1] = *found + 1;
    s.bindings.hold(*found);
    ++counters_.opened_from_outside;
}

// --- In whose name ---------------------------------------------------------------------------------------------------------

template <class Address>
void address_plan::find_source(flow_request<Address> const& request, address_answer<Address>& a, stamp_ms now, bool take) noexcept {
    if (request.arrival == side::inside && !config_.statics.empty()) {
        ip_address const from = detail::as_ip_address(request.tuple.source);
        for (static_rule const& rule : config_.statics)
            if (rule.inside.contains(from)) {
                a.server_tuple.source = detail::address_from<Address>(detail::moved_to(from, rule.outside));
                return;
            }
    }
    if (auto* const p = matching_pool(request, a.server_tuple.destination)) map_source(*p, request, a, now, take);
}

template <class Address>
address_plan::numbered_pool<Address>* address_plan::matching_pool(flow_request<Address> const& request, Address const& destination) noexcept {
    for (numbered_pool<Address>& p : family<Address>().pools)
        if (p.pool.is_for(request.tuple.source, destination, request.arrival, request.protocol)) return &p;
    return nullptr;
}

/// What port_pool calls at its marks. Before its uses: its type is known by its body only.
inline auto address_plan::noting(std::uint32_t rule, std::uint8_t protocol, stamp_ms now) noexcept {
    return [=, this](port_pool_event const& e) noexcept {
        if (event_count_ == events_kept)
            ++counters_.events_lost;
        else
            events_[event_count_++] = {now, rule, protocol, e};
    };
}

namespace detail {

/// Not of hairpins, whose source is to be the client's one mapping (RFC 4787 REQ-9).
template <class Address>
[[nodiscard]] std::uint16_t name_of(flow_request<Address> const& request, address_answer<Address> const& a) noexcept {
    flow_tuple<Address> const &asked = request.tuple, &leads = a.server_tuple;
    if (a.hairpin || (leads.destination == asked.destination && leads.destination_port == asked.destination_port)) return request.by_name;
    return endpoint_name(asked.destination, asked.destination_port);
}

}  // namespace detail

/// By which the client's mapping is found, or made.
template <class Address>
binding_key<Address> address_plan::key_of(numbered_pool<Address> const& p, flow_request<Address> const& request, address_answer<Address> const& a) noexcept {
    binding_key<Address> key{.inside = request.tuple.source, .inside_port = request.tuple.source_port, .zone = request.zone,
                             .rule = p.id, .protocol = request.protocol, .by_name = detail::name_of(request, a)};
    if (p.pool.by_remote(request.protocol)) {
        key.by_remote = 1;
        key.remote = a.server_tuple.destination;
        key.remote_port = detail::remote_port(request.protocol, a.server_tuple.destination_port);
    }
    return key;
}

template <class Address>
void address_plan::expect(flow_request<Address> const& request) const noexcept {
    for (numbered_pool<Address> const& p : family<Address>().pools)
        if (p.pool.is_for(request.tuple.source, request.tuple.destination, request.arrival, request.protocol))
            return family<Address>().bindings.prefetch(key_of(p, request, {request.tuple}));
}

/// A mapping that has to be made is put into its table when the flow is opened: by then the memory for it has come.
template <class Address>
void address_plan::map_source(numbered_pool<Address>& p, flow_request<Address> const& request, address_answer<Address>& a, stamp_ms now,
                              bool take) noexcept {
    family_state<Address>& s = family<Address>();
    binding_key<Address> const key = key_of(p, request, a);
    auto const number = s.bindings.find(key);
    if (!number && !s.bindings.has_room()) a.reason = drop_reason::nat_table_full;
    if (!take && !number && a.reason == drop_reason::none) a.reason = p.pool.refusal_of(key, now);
    if (!take || a.reason != drop_reason::none) return;
    if (number) {
        s.bindings.hold(*number);
        ++counters_.mappings_shared;
        a.holds[0] = *number + 1;
    } else {
        external_endpoint<Address> const given = p.pool.take(key, now, noting(p.rule, request.protocol, now));
        a.reason = given.reason;
        if (given.reason != drop_reason::none) return;
        s.made = {key, given.address, given.port, given.place, static_cast<std::uint8_t>(request.arrival), 1};
        s.bindings.prefetch(s.made.target());
        a.holds[0] = being_made;
    }
    nat_binding<Address> const& b = number ? s.bindings[*number] : s.made;
    a.server_tuple.source = b.outside;
    a.server_tuple.source_port = b.outside_port;
    if (detail::is_icmp(request.protocol)) a.server_tuple.destination_port = a.server_tuple.source_port;
}

// --- What flows hold -------------------------------------------------------------------------------------------------------

template <class Address>
void address_plan::refused(address_answer<Address> const& answer, stamp_ms now) noexcept {
    if (answer.holds[0] == being_made)
        give_back(family<Address>().made, now);
    else
        let_go<Address>(answer.holds[0], now);
    let_go<Address>(answer.holds[1], now);
}

template <class Address>
void address_plan::opened(flow<Address> const& f, std::uint32_t number, address_answer<Address> const& answer) noexcept {
    family_state<Address>& s = family<Address>();
    if (number >= s.held.size()) return;
    holds kept = answer.holds;
    if (kept[0] == being_made) {
        kept[0] = *s.bindings.insert(s.made, ending<Address>(f.opened)) + 1;  // there was room
        ++counters_.mappings_made;
    }
    s.held[number] = kept;
}

template <class Address>
void address_plan::closed(flow<Address> const&, std::uint32_t number, stamp_ms now) noexcept {
    auto& held = family<Address>().held;
    if (number >= held.size()) return;
    for (std::uint32_t const hold : std::exchange(held[number], holds{})) let_go<Address>(hold, now);
}

template <class Address>
void address_plan::let_go(std::uint32_t hold, stamp_ms now) noexcept {
    if (hold != 0) family<Address>().bindings.let_go(hold - 1, now, ending<Address>(now));
}

/// A mapping's port.
template <class Address>
void address_plan::give_back(nat_binding<Address> const& b, stamp_ms now) noexcept {
    for (numbered_pool<Address>& p : family<Address>().pools)
        if (p.id == b.key.rule) p.pool.give_back(b, now, noting(p.rule, b.key.protocol, now));
}

/// What binding_table calls at a mapping's end.
template <class Address>
auto address_plan::ending(stamp_ms now) noexcept {
    return [this, now](nat_binding<Address> const& b) noexcept {
        ++counters_.mappings_ended;
        give_back(b, now);
    };
}

// --- Timers and figures ----------------------------------------------------------------------------------------------------

inline void address_plan::advance(stamp_ms now, std::uint32_t budget) noexcept {
    auto const one = [&]<class Address>(family_state<Address>& s) {
        budget -= s.bindings.expire(now, budget, ending<Address>(now));
        for (numbered_pool<Address>& p : s.pools)
            p.pool.for_each_pool([&](auto& pool, std::uint8_t protocol) { budget -= pool.expire(now, budget, noting(p.rule, protocol, now)); });
    };
    one(v4_);
    one(v6_);
}

inline std::optional<stamp_ms> address_plan::next_deadline(stamp_ms now) const noexcept {
    std::optional<stamp_ms> next;
    auto const consider = [&](std::optional<stamp_ms> deadline) {
        if (deadline && (!next || *deadline - now < *next - now)) next = deadline;
    };
    auto const one = [&]<class Address>(family_state<Address> const& s) {
        consider(s.bindings.next_deadline(now));
        for (numbered_pool<Address> const& p : s.pools) p.pool.for_each_pool([&](auto const& pool, std::uint8_t) { consider(pool.next_deadline()); });
    };
    one(v4_);
    one(v6_);
    return next;
}

inline std::size_t address_plan::memory_bytes() const noexcept {
    auto const one = []<class Address>(family_state<Address> const& s) {
        std::size_t sum = s.bindings.memory_bytes() + s.held.size() * sizeof(holds);
        for (numbered_pool<Address> const& p : s.pools) sum += p.pool.memory_bytes();
        return sum;
    };
    return one(v4_) + one(v6_);
}

template <class Visit>
void address_plan::for_each_pool(Visit&& visit) const {
    auto const one = [&]<class Address>(family_state<Address> const& s) {
        for (numbered_pool<Address> const& p : s.pools)
            p.pool.for_each_pool([&](auto const& pool, std::uint8_t protocol) { visit(p.rule, protocol, pool); });
    };
    one(v4_);
    one(v6_);
}

template <class Visit>
void address_plan::take_events(Visit&& visit) {
    for (std::size_t i = 0; i < event_count_; ++i) visit(static_cast<nat_event const&>(events_[i]));
    event_count_ = 0;
}

}  // namespace halfproxy
