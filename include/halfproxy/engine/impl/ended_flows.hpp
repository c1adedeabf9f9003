// SPDX-License-Identifier: BSL-1.0
// Flows that are ended before their time: given up with their backend, or denied by rules that came while they were open.
//
// Every flow is looked at once, a part in each call of advance(). Of a TCP connection nothing is known of the stations at its ends before a packet of it
// comes again: so it is marked as closed, which keeps it from header prediction, and that packet ends it. A datagram flow of a backend that is given up goes;
// one that rules deny stays to bar its packets, or its server's next one would open it again from the other end, for which other rules are asked.
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/engine/engine.hpp>

#include <algorithm>

namespace halfproxy {

/// By the addresses the client sent to, as when it began.
template <engine_policies Policies>
template <class Address>
bool engine<Policies>::is_denied_since(flow<Address> const& f) const noexcept {
    return config_.tracking.denied_sessions == denied_sessions::end && refuses(rule_for(f.key(0)));
}

template <engine_policies Policies>
bool engine<Policies>::backends_went_down() const noexcept {
    if constexpr (leads_flows)
        return policies_.addresses.times_down() != times_down_;
    else
        return false;
}

template <engine_policies Policies>
bool engine<Policies>::is_sweeping() const noexcept {
    return backends_went_down() || swept_v4_ < v4_.table.capacity() || swept_v6_ < v6_.table.capacity();
}

template <engine_policies Policies>
void engine<Policies>::sweep_all(outbox& out) noexcept {
    if constexpr (leads_flows) {
        if (backends_went_down()) swept_v4_ = swept_v6_ = 0;
        times_down_ = policies_.addresses.times_down();
    }
    if (swept_v4_ < v4_.table.capacity()) swept_v4_ = sweep<std::uint32_t>(swept_v4_, out);
    if (swept_v6_ < v6_.table.capacity()) swept_v6_ = sweep<ipv6_bytes>(swept_v6_, out);
}

template <engine_policies Policies>
template <class Address>
HALFPROXY_RARE std::uint32_t engine<Policies>::sweep(std::uint32_t at, outbox& out) noexcept {
    auto& table = store<Address>().table;
    std::uint32_t const end = std::min(table.capacity(), at + swept_per_advance_);
    for (; at < end; ++at) {
        if (!table.is_live(at)) continue;
        flow<Address> const& f = table.record(at);
        bool const given_up = is_given_up(f);
        if (!given_up && (f.tcp.state == tcp_state::closed || !is_denied_since(f))) continue;  // closed: over, or barred already
        if (!end_flow<Address>(at, given_up, out)) return at;
        counters_.flows_ended_by_rules += given_up ? 0u : 1u;
    }
    return at;
}

/// False when there is no room to tell the client of a server that has not answered yet.
template <engine_policies Policies>
template <class Address>
bool engine<Policies>::end_flow(std::uint32_t number, bool given_up, outbox& out) noexcept {
    flow<Address>& f = store<Address>().table.record(number);
    if (f.phase() == flow_phase::connecting) {
        if (out.room() == 0) return false;
        reset_client(f, handshakes_[f.shift.timestamp], out);
        close_flow<Address>(number);
    } else if (f.protocol == ip_protocol::tcp) {
        if (detail::is_embryonic(f)) half_open_changed(f, -1);
        f.tcp.state = tcp_state::closed;
        f.last_seen = stamp_;
        arm(f, timeout_of_flow(f));
    } else if (given_up) {
        close_flow<Address>(number);
    } else {
        f.bar(true);
    }
    return true;
}

/// Both ends hear a RST at the next number they expect: the sender the one it acknowledges, its peer the one that it acknowledged last.
template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::reset_both(tcp_packet& t, flow<Address> const& f, direction from) noexcept {
    if (t.out.room() == 0) return drop(drop_reason::outbox_full);
    tcp_side const& peer = f.tcp.side[index(reverse(from))];
    std::uint32_t const shift = f.is_spliced() && from == direction::from_server ? f.shift.sequence : 0u;
    packet_origin on = origin_of(t.f.link, {t.p.view.bytes(), t.p.view.layout()});
    packet_origin const back = on.reversed();
    detail::set_tuple(on, f.leaving(from));
    side const exit = f.is_hairpin() ? t.f.arrival : other(t.f.arrival);
    outbox_frame* const slot = t.out.claim(exit);
    slot->length = static_cast<std::uint32_t>(
        build_tcp(slot->data, on, {.seq = peer.max_ack + shift, .ack = {}, .flags = tcp_flag::rst, .window = 0}, {}));
    lead_originated(*slot, t.f.link, f, from);
    ++counters_.originated;
    counters_.resets_sent += 2;
    seq_num const expected{t.p.view.tcp().acknowledgment};
    close_flow<Address>(number_of(f));
    return send_in_place(t, back, {.seq = expected, .ack = {}, .flags = tcp_flag::rst, .window = 0}, {}, verdict::reply);
}

/// A SYN of the client's opens anew, if it may; a RST needs no answer.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
HALFPROXY_RARE typename engine<Policies>::decision engine<Policies>::tcp_of_ended_flow(tcp_packet& t, flow_key<Address> const& key,
                                                                                      flow_handle found) noexcept {
    flow<Address>& f = store<Address>().table.record(found);
    auto const from = static_cast<direction>(found.direction());
    std::uint8_t const kind = t.p.view.tcp().flags & detail::deciding_flags;
    if (!checksums_good(t.p, t.f)) return drop(drop_reason::l4_checksum);
    if (kind == tcp_flag::syn && from == direction::from_client) {
        close_flow<Address>(found.number());
        return syn_without_flow<Checks>(t, key);
    }
    if ((kind & tcp_flag::rst) != 0 || (kind & tcp_flag::ack) == 0) return drop(is_given_up(f) ? drop_reason::no_flow : drop_reason::rule_ended);
    return reset_both(t, f, from);
}

/// Of a datagram's flow: why it is dropped with it. `found` is none afterwards when the flow has gone, and the datagram may open another.
template <engine_policies Policies>
template <class Address>
HALFPROXY_ALWAYS_INLINE drop_reason engine<Policies>::ended_before(flow_handle& found) noexcept {
    flow<Address>& f = store<Address>().table.record(found);
    if (is_given_up(f)) {  // nobody is connected: its client's next packet goes to another backend
        if (static_cast<direction>(found.direction()) == direction::from_server) return drop_reason::no_flow;
        close_flow<Address>(found.number());
        found = {};
    } else if (f.is_barred()) [[unlikely]] {
        f.last_seen = stamp_;
        f.bar(is_denied_since(f));  // not when the rules allow it again
        if (f.is_barred()) return drop_reason::rule_ended;
    }
    return drop_reason::none;
}

}  // namespace halfproxy
