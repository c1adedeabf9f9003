// SPDX-License-Identifier: BSL-1.0
// What virtual services ask of the engine: flows led to a backend's station, and what their openings tell.
#pragma once

#include <halfproxy/engine/engine.hpp>

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

}  // namespace halfproxy
