// SPDX-License-Identifier: BSL-1.0
// The engine a configuration asks for: with address translation only where there are rules for it, since without it packets cost less.
#pragma once

#include "tool_config.hpp"

#include <halfproxy/engine/address_plan.hpp>
#include <halfproxy/engine/engine.hpp>

#include <memory>
#include <utility>

namespace halfproxy::tool {

/// Calls use(engine) with a half_proxy or a nat_engine on the heap, and answers with its answer.
template <class Use>
auto with_engine(tool_config const& config, Use&& use) {
    if (config.nat.empty()) return use(std::make_unique<half_proxy>(config.engine));
    nat_config nat = config.nat;
    nat.seed = config.engine.seed;
    return use(std::make_unique<nat_engine>(config.engine, policies<admit_by_guard, address_plan>{{}, address_plan(nat, config.engine.limits), {}}));
}

}  // namespace halfproxy::tool
