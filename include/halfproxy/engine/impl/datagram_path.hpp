// SPDX-License-Identifier: BSL-1.0
// UDP, ICMP queries and every other IP protocol as flows. Those without ports are told apart by their addresses.
//
// What keeps a link and its routers alive passes without a flow, and without rules, as through any bridge: all that is no IP (ARP, spanning tree),
// IGMP, MLD, neighbour and router discovery, and what protocols other than TCP, UDP and ICMP queries send to a group: OSPF, VRRP, PIM, EIGRP.
#pragma once

#include <halfproxy/engine/engine.hpp>
#include <halfproxy/engine/impl/new_flow_checks.hpp>

namespace halfproxy {

namespace detail {

[[nodiscard]] inline bool is_icmp_reply(packet_view const& view) noexcept {
    if (!view.is_icmp()) return false;
    std::uint8_t const type = view.icmp().type;
    return view.layout().ip_version == 6 ? type == 129 : type == 0 || type == 14 || type == 16 || type == 18;
}

/// ICMP by which hosts and routers of one link find each other (RFC 1256; RFC 4443 section 2.1, RFC 4861, 3971, 3122, 3810, 4286).
[[nodiscard]] inline bool is_link_icmp(packet_view const& view) noexcept {
    std::uint8_t const type = view.icmp().type;
    if (view.layout().ip_version == 4) return type == 9 || type == 10;
    return (type >= 130 && type <= 136) || (type >= 141 && type <= 143) || type == 148 || type == 149 || (type >= 151 && type <= 153);
}

/// Of a packet that is neither TCP, UDP nor an ICMP query or error.
[[nodiscard]] inline bool keeps_link_alive(packet_view const& view) noexcept {
    constexpr std::uint8_t igmp = 2;
    bool const v4 = view.layout().ip_version == 4;
    if (v4 ? is_group(view.ipv4().destination) : is_group(view.ipv6().destination)) return true;
    return view.is_icmp() ? is_link_icmp(view) : v4 && view.layout().protocol == igmp;
}

}  // namespace detail

/// Of an IP packet, or the first fragment of one. What is foreign a bridge passes.
template <engine_policies Policies>
typename engine<Policies>::packet_kind engine<Policies>::kind_of_whole(packet_view const& view) noexcept {
    if (view.is_tcp()) return packet_kind::tcp;
    if (view.is_udp() || detail::is_query(view)) return packet_kind::datagram;
    if (view.is_icmp() && (detail::is_icmp_error(view.layout().ip_version, view.icmp().type) || detail::is_redirect(view))) return packet_kind::icmp_error;
    return detail::keeps_link_alive(view) ? packet_kind::foreign : packet_kind::datagram;
}

/// Only the answering side keeps an answered flow alive: a spoofed sender could otherwise hold it for ever. A translated flow is kept alive from inside,
/// and from there alone (RFC 4787 REQ-6).
template <engine_policies Policies>
template <class Address>
[[gnu::noinline]] typename engine<Policies>::decision engine<Policies>::datagram(packet& p, frame& f, flow_key<Address> const& key,
                                                               flow_handle found) noexcept {
    direction from = direction::from_client;
    flow<Address>* flow_of = nullptr;
    if (drop_reason const ended = found ? ended_before<Address>(found) : drop_reason::none; ended != drop_reason::none) return drop(ended);
    if (found) {
        flow_of = &store<Address>().table.record(found);
        from = static_cast<direction>(found.direction());
        if (flow_of->arrival(from) != f.arrival) return drop(drop_reason::wrong_side);
    } else {
        drop_reason const refusal = detail::refusal_of(p.view, key.protocol, key.tuple);
        if (refusal != drop_reason::none) return drop(refusal);
        if (is_fast(key)) return forwarded;
        if (!checksums_good(p, f)) return drop(drop_reason::l4_checksum);
        if (detail::is_icmp_reply(p.view)) return drop(drop_reason::no_flow);
        if (rule_for(key) != rule_action::allow) return drop(drop_reason::rule_denied);
        admission const wish =
            policies_.admission.decide(flow_request<Address>{key.tuple, key.zone, key.protocol, f.arrival, false});
        if (wish == admission::deny) return drop(drop_reason::policy_denied);
        if (!within_source_limits(key)) return drop(drop_reason::source_limit);
        auto const [opened, reason] = open_flow(key, f.arrival, false);
        if (opened == nullptr) return drop(reason);
        flow_of = opened;
        // The wheel is to ask in time for the shorter of the two.
        timeout_ms const unanswered = detail::timeout_of_datagrams(key.protocol, false, config_.timeouts);
        arm(*flow_of, std::min(unanswered, detail::timeout_of_datagrams(key.protocol, true, config_.timeouts)));
    }
    bool const refreshes = flow_of->rewrites != 0 ? f.arrival == side::inside : from == direction::from_server;
    if (refreshes) flow_of->last_seen = stamp_;
    note_forwarded(*flow_of, from, p.view.layout());
    if (flow_of->rewrites != 0) {
        flow_tuple<Address> const to = flow_of->leaving(from);
        nat_rewriter<>::rewrite(p.view, nat_endpoints<Address>{to.source, to.destination, to.source_port, to.destination_port},
                                f.offload.checksum);
        lead_to_station(f, *flow_of, from);
    }
    return passed(*flow_of);
}

}  // namespace halfproxy
