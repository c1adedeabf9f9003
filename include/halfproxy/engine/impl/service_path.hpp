// SPDX-License-Identifier: BSL-1.0
// What virtual services ask of the engine: flows led to a backend's station, flows given up with their backend, and what their openings tell.
#pragma once

#include <halfproxy/engine/engine.hpp>

#include <algorithm>
#include <cstring>

namespace halfproxy {

template <engine_policies Policies>
template <class Address>
std::uint32_t engine<Policies>::number_of(flow<Address> const& f) const noexcept {
    return static_cast<std::uint32_t>(&f - const_cast<engine*>(this)->template store<Address>().table.records());
}

/// A packet that keeps its addresses, from a client to the station of the flow's backend, or into its tunnel: that is `via`'s to tell, at the end.
template <engine_policies Policies>
template <class Address>
void engine<Policies>::lead_to_station(frame& f, flow<Address> const& known, direction from) noexcept {
    if constexpr (leads_flows) {
        if (from != direction::from_client || !known.keeps_addresses()) return;
        flow_lead const lead = policies_.addresses.lead_of(known, number_of(known));
        f.via = lead.via;
        if (f.link == link_type::ethernet && lead.station != station_address{}) std::memcpy(f.data, lead.station.data(), lead.station.size());
    }
}

/// The same of a packet of our own making.
template <engine_policies Policies>
template <class Address>
void engine<Policies>::lead_originated(outbox_frame& to, link_type link, flow<Address> const& known, direction from) noexcept {
    if constexpr (leads_flows) {
        frame leaving = to.written(link);
        lead_to_station(leaving, known, from);
        if (leaving.via != 0) static_cast<void>(enter_tunnel_beside(leaving));  // it is short, and there is room
        to.via = leaving.via;
        to.length = leaving.length;
    }
}

/// A SYN or SYN-ACK announces no larger segments than there is room for: in the tunnel, and beside the option that tells who the client is.
template <engine_policies Policies>
template <class Address>
void engine<Policies>::leave_room(tcp_packet& t, flow<Address> const& f, direction from, header_changes& changes) noexcept {
    if constexpr (leads_flows) {
        std::uint8_t const version = t.p.view.layout().ip_version;
        std::uint16_t ceiling = t.f.via != 0 ? policies_.addresses.mss_of(t.f.via, version) : std::uint16_t{0xffff};
        std::uint16_t const option_bytes = version == 4 ? 8 : 20;
        bool const inserts = from == direction::from_server && any_announced_ && telling_for(f).option != 0;
        if (inserts && t.options.mss > 536) ceiling = static_cast<std::uint16_t>(t.options.mss - option_bytes);
        lower_mss(t.p.view, t.options, ceiling, changes);
    }
}

/// Whether nothing of what the server sends is seen here.
template <engine_policies Policies>
template <class Address>
bool engine<Policies>::is_answered_elsewhere(flow<Address> const& known) noexcept {
    if constexpr (leads_flows)
        return known.keeps_addresses() && policies_.addresses.lead_of(known, number_of(known)).one_way;
    else
        return false;
}

/// Of a TCP flow whose state has changed: whether its server has accepted it, or refused.
template <engine_policies Policies>
template <class Address>
void engine<Policies>::tell_opening(flow<Address> const& f, tcp_state before, direction from) noexcept {
    if constexpr (leads_flows) {
        if (before != tcp_state::syn_sent || from != direction::from_server) return;
        if (f.tcp.state == tcp_state::closed)
            policies_.addresses.denied(f, number_of(f));
        else if (f.tcp.state == tcp_state::syn_received)
            policies_.addresses.answered(f, number_of(f));
    }
}

template <engine_policies Policies>
template <class Address>
bool engine<Policies>::is_given_up(flow<Address> const& f) noexcept {
    if constexpr (leads_flows)
        return policies_.addresses.gives_up(f, number_of(f));
    else
        return false;
}

/// When a backend goes down, every flow is looked at once, a part in each call of advance(). Of a connection nothing is known of the stations at its ends
/// before a packet of it comes again: so it is marked as closed, which keeps it from header prediction, and that packet ends it.
template <engine_policies Policies>
template <class Address>
std::uint32_t engine<Policies>::sweep(std::uint32_t at, outbox& out) noexcept {
    if constexpr (leads_flows) {
        auto& table = store<Address>().table;
        std::uint32_t const end = std::min(table.capacity(), at + flows_swept_per_advance);
        for (; at < end; ++at) {
            if (!table.is_live(at)) continue;
            flow<Address>& f = table.record(at);
            if (!is_given_up(f)) continue;
            if (f.protocol == ip_protocol::tcp && f.phase() == flow_phase::connecting) {
                if (out.room() == 0) return at;
                reset_client(f, handshakes_[f.shift.timestamp], out);
                close_flow<Address>(at);
            } else if (f.protocol == ip_protocol::tcp) {
                if (detail::is_embryonic(f)) half_open_changed(f, -1);
                f.tcp.state = tcp_state::closed;
                f.last_seen = stamp_;
                arm(f, timeout_of_flow(f));
            } else {
                close_flow<Address>(at);
            }
        }
    }
    return at;
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

/// A segment of a flow that is given up. A SYN of the client's opens anew, a RST needs no answer.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
HALFPROXY_RARE typename engine<Policies>::decision engine<Policies>::tcp_of_given_up_flow(tcp_packet& t, flow_key<Address> const& key,
                                                                                         flow_handle found) noexcept {
    flow<Address>& f = store<Address>().table.record(found);
    auto const from = static_cast<direction>(found.direction());
    std::uint8_t const kind = t.p.view.tcp().flags & detail::deciding_flags;
    if (!checksums_good(t.p, t.f)) return drop(drop_reason::l4_checksum);
    if (kind == tcp_flag::syn && from == direction::from_client) {
        close_flow<Address>(found.number());
        return syn_without_flow<Checks>(t, key);
    }
    if ((kind & tcp_flag::rst) != 0 || (kind & tcp_flag::ack) == 0) return drop(drop_reason::no_flow);
    return reset_both(t, f, from);
}

template <engine_policies Policies>
void engine<Policies>::sweep_given_up(outbox& out) noexcept {
    if constexpr (leads_flows) {
        if (std::uint32_t const times = policies_.addresses.times_down(); times != times_down_) {
            times_down_ = times;
            swept_v4_ = swept_v6_ = 0;
        }
        if (swept_v4_ < v4_.table.capacity()) swept_v4_ = sweep<std::uint32_t>(swept_v4_, out);
        if (swept_v6_ < v6_.table.capacity()) swept_v6_ = sweep<ipv6_bytes>(swept_v6_, out);
    }
}

template <engine_policies Policies>
bool engine<Policies>::is_sweeping() const noexcept {
    if constexpr (leads_flows)
        return policies_.addresses.times_down() != times_down_ || swept_v4_ < v4_.table.capacity() || swept_v6_ < v6_.table.capacity();
    else
        return false;
}

}  // namespace halfproxy
