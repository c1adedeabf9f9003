// SPDX-License-Identifier: BSL-1.0
// Mappings that flows of another plan hold, and the same ones here.
#pragma once

#include <halfproxy/engine/address_plan.hpp>

namespace halfproxy {

template <class Address>
flow_claims address_plan::claims_of(flow<Address> const&, std::uint32_t number) const noexcept {
    family_state<Address> const& s = family<Address>();
    if (number >= s.held.size()) return {};
    auto const claim = [&s](std::uint32_t hold) {
        if (hold == 0) return mapping_claim{};
        binding_key<Address> const& key = s.bindings[hold - 1].key;
        return mapping_claim{true, key.by_remote != 0, key.by_name};
    };
    flow_claims claims;
    claims.source = claim(s.held[number][0]);
    claims.destination = claim(s.held[number][1]);
    return claims;
}

/// `mapping` has its endpoints, remote ones included. What holds its port here, and is used by no flow, gives way: the other knows better.
template <class Address>
adoption address_plan::adopt_mapping(nat_binding<Address> mapping, mapping_claim const& claim, std::uint32_t& hold, stamp_ms now) noexcept {
    family_state<Address>& s = family<Address>();
    binding_key<Address>& key = mapping.key;
    key.by_remote = claim.by_remote ? 1 : 0;
    key.by_name = claim.by_name;
    if (!claim.by_remote) {
        key.remote = {};
        key.remote_port = 0;
    }
    auto const p = std::find_if(s.pools.begin(), s.pools.end(), [&](numbered_pool<Address> const& pool) { return pool.pool.could_give(mapping); });
    if (p == s.pools.end()) return adoption::no_pool;
    key.rule = p->id;
    if (auto const found = s.bindings.find(key)) {
        nat_binding<Address> const& known = s.bindings[*found];
        if (known.outside != mapping.outside || known.outside_port != mapping.outside_port) return adoption::mapping_differs;
        s.bindings.hold(*found);
        ++counters_.mappings_shared;
        hold = *found + 1;
        return adoption::adopted;
    }
    if (!s.bindings.has_room()) return adoption::mappings_full;
    auto place = p->pool.adopt(mapping);
    if (!place && s.bindings.end_lingering(mapping.target(), ending<Address>(now))) place = p->pool.adopt(mapping);
    if (!place) return adoption::port_taken;
    mapping.place = *place;
    hold = *s.bindings.insert(mapping, ending<Address>(now)) + 1;  // there was room
    ++counters_.mappings_made;
    return adoption::adopted;
}

/// Both ends of an ICMP query have the same identifier, which is the asker's.
template <class Address>
adoption address_plan::adopt(flow_request<Address> const& request, address_answer<Address>& answer, flow_claims const& claims, stamp_ms now) noexcept {
    flow_tuple<Address> const &came = request.tuple, &leaves = answer.server_tuple;
    binding_key<Address> const whose{.zone = request.zone, .protocol = request.protocol};
    if (claims.source.held) {
        nat_binding<Address> m{whose, leaves.source, leaves.source_port, 0, static_cast<std::uint8_t>(request.arrival), 1};
        m.key.inside = came.source;
        m.key.inside_port = came.source_port;
        m.key.remote = leaves.destination;
        m.key.remote_port = detail::remote_port(request.protocol, leaves.destination_port);
        if (adoption const refusal = adopt_mapping(m, claims.source, answer.holds[0], now); refusal != adoption::adopted) return refusal;
    }
    if (!claims.destination.held) return adoption::adopted;
    side const inside = answer.hairpin ? request.arrival : other(request.arrival);
    nat_binding<Address> m{whose, came.destination, came.destination_port, 0, static_cast<std::uint8_t>(inside), 1};
    m.key.inside = leaves.destination;
    m.key.inside_port = leaves.destination_port;
    m.key.remote = came.source;
    m.key.remote_port = detail::remote_port(request.protocol, came.source_port);
    adoption const refusal = adopt_mapping(m, claims.destination, answer.holds[1], now);
    if (refusal != adoption::adopted) {
        let_go<Address>(answer.holds[0], now);
        answer.holds = {};
    }
    return refusal;
}

}  // namespace halfproxy
