// SPDX-License-Identifier: BSL-1.0
// Flows of services that another engine has led to their backends, and the same backends here.
#pragma once

#include <halfproxy/engine/virtual_services.hpp>

namespace halfproxy {

template <address_policy Next>
template <class Address>
flow_claims virtual_services<Next>::claims_of(flow<Address> const& f, std::uint32_t number) const noexcept
    requires(!stateful_address_policy<Next> || portable_address_policy<Next>)
{
    backend_ref const who = note_of<Address>(number);
    flow_claims claims;
    if constexpr (next_keeps_state)
        if (!who || services_[who.service].mode == forward_mode::fullnat) claims = next_.claims_of(f, number);
    if (!who) return claims;
    backend const& server = services_.server(who);
    claims.of_service = true;
    claims.backend = server.address;
    claims.backend_port = server.port;
    return claims;
}

template <address_policy Next>
template <class Address>
adoption virtual_services<Next>::adopt_by_next(flow_request<Address> const& request, address_answer<Address>& answer, flow_claims const& claims,
                                               stamp_ms now) noexcept {
    if constexpr (next_keeps_state) {
        return next_.adopt(request, answer, claims, now);
    } else {
        address_answer<Address> const own = next_.translate(request, now);
        bool const same_way = claims.of_service || (own.hairpin == answer.hairpin && own.led == answer.led);
        bool const same = same_way && own.reason == drop_reason::none && own.server_tuple == answer.server_tuple;
        return same && !claims.source.held && !claims.destination.held ? adoption::adopted : adoption::addresses_differ;
    }
}

/// Work: linear in the backends. One that only has flows left may have one more.
template <address_policy Next>
backend_index virtual_services<Next>::backend_named(service_index service, ip_address const& address, std::uint16_t port) const noexcept {
    service_table::pool_type const& pool = services_.backends(service);
    for (std::uint32_t i = 0; i < pool.capacity(); ++i) {
        auto const index = static_cast<backend_index>(i);
        if (pool.exists(index) && pool[index].address == address && pool[index].port == port) return index;
    }
    return no_backend_index;
}

/// Whoever stands behind sees a flow of mode fullnat as one to the backend, as in to_backend().
template <address_policy Next>
template <class Address>
adoption virtual_services<Next>::adopt(flow_request<Address> const& request, address_answer<Address>& answer, flow_claims const& claims, stamp_ms now) noexcept
    requires(!stateful_address_policy<Next> || portable_address_policy<Next>)
{
    tick(now);
    pending_ = {};
    if (!claims.of_service) return adopt_by_next(request, answer, claims, now);
    service_index const service = services_.find(detail::service_address(request.tuple.destination), request.tuple.destination_port, request.protocol);
    if (service == no_service || request.arrival != side::outside) return adoption::unknown_service;
    backend_index const index = backend_named(service, claims.backend, claims.backend_port);
    if (index == no_backend_index) return adoption::unknown_backend;
    forward_mode const mode = services_[service].mode;
    flow_request<Address> there = request;
    if (!keeps_destination(mode)) {
        there.by_name = endpoint_name(request.tuple.destination, request.tuple.destination_port);
        there.tuple.destination = detail::backend_address<Address>(claims.backend);
        if (claims.backend_port != 0) there.tuple.destination_port = claims.backend_port;
    }
    flow_tuple<Address> const& leaves = answer.server_tuple;
    bool const same_server = leaves.destination == there.tuple.destination && leaves.destination_port == there.tuple.destination_port;
    bool const same_client = mode == forward_mode::fullnat || (leaves.source == there.tuple.source && leaves.source_port == there.tuple.source_port);
    if (answer.led != keeps_destination(mode) || !same_server || !same_client) return adoption::addresses_differ;
    if (mode == forward_mode::fullnat)
        if (adoption const refusal = adopt_by_next(there, answer, claims, now); refusal != adoption::adopted) return refusal;
    pending_ = {service, index};
    return adoption::adopted;
}

}  // namespace halfproxy
