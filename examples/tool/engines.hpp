// SPDX-License-Identifier: BSL-1.0
// The engine a configuration asks for: with address translation only where there are rules for it, since without it packets cost less.
#pragma once

#include "tool_config.hpp"

#include <halfproxy/engine/address_plan.hpp>
#include <halfproxy/engine/engine.hpp>
#include <halfproxy/engine/service_engine.hpp>

#include <cstring>
#include <memory>
#include <utility>

namespace halfproxy::tool {

/// Nodes that have the same secret choose the same backends; who does not know it cannot aim at one of them.
[[nodiscard]] inline services_config seeded_services(tool_config const& config) {
    services_config services = config.services;
    std::memcpy(&services.hash_seed, config.engine.secret.bytes.data(), sizeof services.hash_seed);
    services.hash_seed = mix64(services.hash_seed ^ 0x6261'6c61'6e63'65);  // not the secret itself
    return services;
}

/// Calls use(engine) with a half_proxy, a nat_engine or a service_engine on the heap, and answers with its answer.
template <class Use>
auto with_engine(tool_config const& config, Use&& use) {
    if (!config.services.services.empty()) {
        nat_config nat = config.nat;
        nat.seed = config.engine.seed;
        limits_config const& limits = config.engine.limits;
        virtual_services<address_plan> services(seeded_services(config), limits, config.engine.seed, address_plan(nat, limits));
        return use(std::make_unique<service_engine>(config.engine, service_policies{{}, std::move(services), {}}));
    }
    if (config.nat.empty()) return use(std::make_unique<half_proxy>(config.engine));
    nat_config nat = config.nat;
    nat.seed = config.engine.seed;
    return use(std::make_unique<nat_engine>(config.engine, policies<admit_by_guard, address_plan>{{}, address_plan(nat, config.engine.limits), {}}));
}

}  // namespace halfproxy::tool
