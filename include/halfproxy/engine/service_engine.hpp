// SPDX-License-Identifier: BSL-1.0
// The engine of the program where virtual services are configured, with address translation behind them.
#pragma once

#include <halfproxy/engine/address_plan.hpp>
#include <halfproxy/engine/engine.hpp>
#include <halfproxy/engine/virtual_services.hpp>

namespace halfproxy {

using service_policies = policies<admit_by_guard, virtual_services<address_plan>, no_observer>;
using service_engine = engine<service_policies>;

/// Why services of mode fullnat would be answered past us, as half a sentence; empty: they would not.
[[nodiscard]] inline std::string_view fault_of_fullnat(service_config const& service, nat_config const& nat) noexcept {
    if (service.mode != forward_mode::fullnat) return {};
    for (backend const& b : service.backends) {
        bool covered = false;
        for (snat_rule const& rule : nat.snat)
            covered |= includes(rule.origin, side::outside) && (!rule.protocol || *rule.protocol == service.protocol) && rule.from.address.version == 0 &&
                       rule.to.contains(b.address) && !rule.pool.empty() && rule.pool[0].address.version == b.address.version;
        if (!covered) return "\"fullnat\" needs a [[snat]] with clients = \"outside\" or \"both\", from everywhere, whose `to` holds every backend";
    }
    return {};
}

}  // namespace halfproxy

#if defined(HALFPROXY_COMPILED)
extern template class halfproxy::engine<halfproxy::service_policies>;
#endif
