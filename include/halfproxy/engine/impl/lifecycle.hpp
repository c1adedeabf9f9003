// SPDX-License-Identifier: BSL-1.0
// How flows begin, age, give way and end.
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/engine/engine.hpp>

#include <algorithm>

namespace halfproxy {

namespace detail {

/// The farthest deadline a stamp can express safely; `never` is asked again then.
inline constexpr timeout_ms farthest_deadline = 1u << 30;

/// How readily a flow gives way to a newcomer when the table is full. The highest of the sampled ones goes; 0 stays.
enum class dispensability : std::uint8_t { none, unreplied_datagram, closing, embryonic, expired };

template <class Address>
[[nodiscard]] bool is_embryonic(flow<Address> const& f) noexcept {
    return f.protocol == ip_protocol::tcp && is_half_open(f.tcp.state);
}

template <class Address>
[[nodiscard]] dispensability dispensability_of(flow<Address> const& f, bool expired) noexcept {
    if (expired) return dispensability::expired;
    if (is_embryonic(f)) return f.phase() == flow_phase::connecting ? dispensability::none : dispensability::embryonic;
    if (f.protocol == ip_protocol::tcp)
        return is_closing(f.tcp.state) ? dispensability::closing : dispensability::none;
    if (f.is_barred()) return dispensability::closing;
    return f.packets[index(direction::from_server)] == 0 ? dispensability::unreplied_datagram : dispensability::none;
}

[[nodiscard]] inline timeout_ms timeout_of_datagrams(std::uint8_t protocol, bool replied, flow_timeouts const& t) noexcept {
    switch (protocol) {
        case ip_protocol::udp: return replied ? t.udp_replied : t.udp_new;
        case ip_protocol::icmp:
        case ip_protocol::icmpv6: return t.icmp;
        default: return replied ? t.other_replied : t.other_new;
    }
}

}  // namespace detail

template <engine_policies Policies>
template <class Address>
HALFPROXY_ALWAYS_INLINE rule_action engine<Policies>::rule_for(flow_key<Address> const& key) const noexcept {
    return acl_.rules().empty() ? rule_action::allow : rule_of_acl(key);
}

template <engine_policies Policies>
template <class Address>
[[gnu::noinline]] rule_action engine<Policies>::rule_of_acl(flow_key<Address> const& key) const noexcept {
    bool const ports = key.protocol == ip_protocol::tcp || key.protocol == ip_protocol::udp;
    return acl_.decide({detail::to_address(key.tuple.source), detail::to_address(key.tuple.destination), key.protocol,
                        ports ? key.tuple.destination_port : std::uint16_t{0}});
}

/// Packets either way of what a rule lets through without a flow.
template <engine_policies Policies>
template <class Address>
HALFPROXY_ALWAYS_INLINE bool engine<Policies>::is_fast(flow_key<Address> const& key) const noexcept {
    if (!any_fast_rule_) return false;
    flow_key<Address> back = key;
    back.tuple = key.tuple.reversed();
    return rule_for(key) == rule_action::fast || rule_for(back) == rule_action::fast;
}

/// What the address policy would answer: before a challenge, which must promise nothing that cannot be kept.
template <engine_policies Policies>
template <class Address>
address_answer<Address> engine<Policies>::foresee(flow_key<Address> const& key, side arrival) noexcept {
    if constexpr (keeps_address_state)
        return policies_.addresses.foresee(flow_request<Address>{key.tuple, key.zone, key.protocol, arrival, false}, stamp_);
    else
        return {};
}

/// No flow when the address policy refuses it, when there is no room, or when the policy's answer belongs to another flow already.
template <engine_policies Policies>
template <class Address>
typename engine<Policies>::template opened_flow<Address> engine<Policies>::open_flow(flow_key<Address> const& key, side arrival, bool proven) noexcept {
    auto& table = store<Address>().table;
    if (table.size() == table.capacity()) make_room<Address>();
    flow_request<Address> const request{key.tuple, key.zone, key.protocol, arrival, proven};
    address_answer<Address> const answer = policies_.addresses.translate(request, stamp_);
    if (answer.reason != drop_reason::none) return {nullptr, answer.reason};
    flow_key<Address> back = key;
    back.tuple = answer.server_tuple.reversed();
    insert_result const inserted = table.insert(key, back);
    if (!inserted) {
        if constexpr (keeps_address_state) policies_.addresses.refused(answer, stamp_);
        return {nullptr, drop_reason::table_full};
    }
    flow<Address>& f = begin_flow(inserted.handle.number(), request, answer);
    tell_opened(f, inserted.handle.number());
    return {&f, drop_reason::none};
}

/// The record and whatever counts flows, once it has its place in the table.
template <engine_policies Policies>
template <class Address>
flow<Address>& engine<Policies>::begin_flow(std::uint32_t number, flow_request<Address> const& request, address_answer<Address> const& answer) noexcept {
    flow<Address>& f = store<Address>().table.record(number);
    f.tuple = {request.tuple, answer.server_tuple.reversed()};
    f.rewrites = answer.led || request.tuple != answer.server_tuple ? 1 : 0;
    f.zone = request.zone & 0x0fffu;
    f.protocol = request.protocol;
    f.client_side = static_cast<std::uint8_t>(request.arrival) & 1u;
    if (answer.hairpin) f.set_hairpin();
    f.last_seen = f.opened = stamp_;
    ++counters_.flows_opened;
    source_limits_.flows_changed(source_network::of(request.tuple.source, request.zone), +1);
    flows_peak_ = std::max(flows_peak_, flows_now());
    if constexpr (keeps_address_state) policies_.addresses.opened(f, number, answer);
    return f;
}

template <engine_policies Policies>
template <class Address>
void engine<Policies>::close_flow(std::uint32_t number) noexcept {
    flow_store<Address>& s = store<Address>();
    flow<Address> const& f = s.table.record(number);
    if (f.phase() != flow_phase::connecting && detail::is_embryonic(f)) half_open_changed(f, -1);
    if (f.has_handshake()) release_handshake(f);
    tell_closed(f, number);
    if constexpr (keeps_address_state) policies_.addresses.closed(f, number, stamp_);
    source_limits_.flows_changed(source_network::of(f.tuple[0].source, f.zone), -1);
    s.wheel.cancel(number);
    s.table.erase(number);
    ++counters_.flows_closed;
}

/// One flow gives way, if a sample of them holds one that may: never an established one.
template <engine_policies Policies>
template <class Address>
void engine<Policies>::make_room() noexcept {
    auto& table = store<Address>().table;
    auto best = detail::dispensability::none;
    std::uint32_t victim = 0;
    table.sample(eviction_samples, [&](std::uint32_t number, flow<Address> const& f) {
        timeout_ms const timeout = timeout_of_flow(f);
        bool const expired = timeout != detail::farthest_deadline && stamp_ - f.last_seen >= static_cast<std::int32_t>(timeout);
        auto const d = detail::dispensability_of(f, expired);
        if (d > best) {
            best = d;
            victim = number;
        }
        return best != detail::dispensability::expired;
    });
    if (best == detail::dispensability::none) return;
    ++counters_.flows_evicted;
    close_flow<Address>(victim);
}

/// What shortens a timeout (a closed window, retransmissions) is noted in the flow alone, not in the wheel. So the wheel asks at least
/// as often as the shortest such timeout: then none ends late, and the path of packets knows nothing of it.
template <engine_policies Policies>
template <class Address>
stamp_ms engine<Policies>::ask_again(flow<Address> const& f, stamp_ms deadline) const noexcept {
    if (f.protocol != ip_protocol::tcp) return deadline;
    if (f.has_handshake() && f.is_spliced()) {
        handshake const& h = handshakes_[f.shift.timestamp];
        if (h.announcing && h.next_send - deadline < 0) deadline = h.next_send;
    }
    stamp_ms const shortened = stamp_ + std::min({config_.timeouts.unacknowledged, config_.timeouts.retransmitting, detail::farthest_deadline});
    return shortened - deadline < 0 ? shortened : deadline;
}

template <engine_policies Policies>
template <class Address>
void engine<Policies>::arm(flow<Address>& f, timeout_ms timeout) noexcept {
    flow_store<Address>& s = store<Address>();
    auto const number = static_cast<std::uint32_t>(&f - s.table.records());
    s.wheel.arm(number, ask_again(f, stamp_ + std::min(timeout, detail::farthest_deadline)));
}

template <engine_policies Policies>
template <class Address>
timeout_ms engine<Policies>::timeout_of_flow(flow<Address> const& f) const noexcept {
    timeout_ms timeout;
    if (f.protocol == ip_protocol::tcp)
        timeout = timeout_of(f.tcp, config_.timeouts);
    else
        timeout = detail::timeout_of_datagrams(f.protocol, f.packets[index(direction::from_server)] != 0, config_.timeouts);
    return std::min(timeout, detail::farthest_deadline);
}

/// The wheel asks whether the flow is over. Packets only write last_seen, so the true deadline is known here.
template <engine_policies Policies>
template <class Address>
std::optional<stamp_ms> engine<Policies>::on_timer(std::uint32_t number, outbox& out) noexcept {
    flow<Address>& f = store<Address>().table.record(number);
    if (static_cast<std::uint32_t>(stamp_ - f.last_seen) >= timestamps_outlived) forget_timestamps(f.tcp);
    if (f.phase() == flow_phase::connecting) return retry_connecting<Address>(number, out);
    if (f.has_handshake() && handshakes_[f.shift.timestamp].announcing) return retry_announcement<Address>(number, out);
    timeout_ms const timeout = timeout_of_flow(f);
    stamp_ms const deadline = f.last_seen + timeout;
    if (deadline - stamp_ > 0) return ask_again(f, deadline);
    if (timeout == detail::farthest_deadline) return ask_again(f, stamp_ + timeout);
    close_flow<Address>(number);
    return std::nullopt;
}

template <engine_policies Policies>
template <class Address>
void engine<Policies>::note_forwarded(flow<Address>& f, direction from, packet_layout const& l) noexcept {
    ++f.packets[index(from)];
    f.bytes[index(from)] += l.datagram_end - l.network_offset;
}

template <engine_policies Policies>
template <class Address>
void engine<Policies>::half_open_changed(flow<Address> const& f, int by) noexcept {
    if (by == 0) return;
    half_open_ += static_cast<std::uint32_t>(by);
    source_limits_.half_open_changed(source_network::of(f.tuple[0].source, f.zone), by);
    guard_.half_open_changed(guard_syn_of(f.key(0), f.arrival(direction::from_client)), by);
}

template <engine_policies Policies>
void engine<Policies>::advance(time_point now, outbox& out) noexcept {
    begin(now);
    begin_fragments(out);
    expire_fragments();
    std::uint32_t const used = v4_.wheel.advance(
        stamp_, timers_per_advance, [&](std::uint32_t number) { return on_timer<std::uint32_t>(number, out); });
    v6_.wheel.advance(stamp_, timers_per_advance - used,
                      [&](std::uint32_t number) { return on_timer<ipv6_bytes>(number, out); });
    if constexpr (keeps_address_state) policies_.addresses.advance(stamp_, timers_per_advance);
    sweep_all(out);
    send_pieces(out);
}

template <engine_policies Policies>
std::optional<time_point> engine<Policies>::next_deadline() const noexcept {
    std::optional<std::int32_t> ms;
    auto const consider = [&](std::optional<stamp_ms> deadline) {
        if (deadline && (!ms || *deadline - stamp_ < *ms)) ms = *deadline - stamp_;
    };
    consider(v4_.wheel.next_deadline());
    consider(v6_.wheel.next_deadline());
    consider(next_fragment_deadline());
    if constexpr (keeps_address_state) consider(policies_.addresses.next_deadline(stamp_));
    if (is_sweeping() || !pieces_queue_.empty()) consider(stamp_);
    if (!ms) return std::nullopt;
    return now_ + std::chrono::milliseconds(*ms);
}

}  // namespace halfproxy
