// SPDX-License-Identifier: BSL-1.0
// UDP and ICMP queries as flows, and ICMP errors that belong to one.
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

}  // namespace detail

/// Only the answering side keeps an answered flow alive: a spoofed sender could otherwise hold it for ever. Mappings of a NAT must also be
/// refreshed from inside (RFC 4787 REQ-6); there are none with timers of their own yet.
template <engine_policies Policies>
template <class Address>
[[gnu::noinline]] typename engine<Policies>::decision engine<Policies>::datagram(packet& p, frame& f, flow_key<Address> const& key,
                                                               flow_handle found) noexcept {
    direction from = direction::from_client;
    flow<Address>* flow_of = nullptr;
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
        flow_of = open_flow(key, f.arrival, false);
        if (flow_of == nullptr) return drop(drop_reason::table_full);
        arm(*flow_of, config_.timeouts.datagram_new);
    }
    if (from == direction::from_server) flow_of->last_seen = stamp_;
    note_forwarded(*flow_of, from, p.view.layout());
    if (flow_of->rewrites != 0) {
        flow_tuple<Address> const to = flow_of->leaving(from);
        nat_rewriter<>::rewrite(p.view, nat_endpoints<Address>{to.source, to.destination, to.source_port, to.destination_port},
                                f.offload.checksum);
    }
    return forwarded;
}

}  // namespace halfproxy
