// SPDX-License-Identifier: BSL-1.0
// Another configuration while packets flow: what can change, what cannot, and how it takes effect.
#pragma once

#include "engines.hpp"
#include "tool_config.hpp"

#include <halfproxy/engine/address_plan.hpp>
#include <halfproxy/engine/service_engine.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

namespace halfproxy::tool {

/// What the engine was built for: translation and services are in it or not.
struct engine_parts {
    bool nat = false;
    bool services = false;
};
[[nodiscard]] inline engine_parts parts_of(tool_config const& config) noexcept {
    bool const services = !config.services.services.empty();
    return {services || !config.nat.empty(), services};
}

/// A secret's keyed hash, the key being this process's own: tells whether another one was given.
[[nodiscard]] std::uint64_t mark_of(secret_key const& secret);

/// What is in force.
struct running_config {
    explicit running_config(tool_config const& started_with)
        : config(started_with), parts(parts_of(started_with)), secret_mark(mark_of(started_with.engine.secret)) {
        config.engine.secret = {};
    }

    tool_config config;  ///< without the secret
    engine_parts parts;
    std::uint64_t secret_mark;
};

/// What is in force, with everything of `next` that can change while packets flow.
[[nodiscard]] tool_config changed(running_config const& running, tool_config const& next);

/// Why `next`, read from `file`, cannot follow what is in force: "FILE:LINE: KEY: ...". Empty: it can.
[[nodiscard]] std::string fault_of_change(std::filesystem::path const& file, running_config const& running, tool_config const& next);

/// The engine's part of a configuration without a fault. False, and nothing changed, when there are more services than can be, with those that only have flows left.
template <class Engine>
[[nodiscard]] bool apply(Engine& engine, tool_config const& next) {
    auto& addresses = engine.policies().addresses;
    if constexpr (requires { addresses.services(); }) {
        if (!addresses.services().configure(seeded_services(next))) return false;
        addresses.next().configure(next.nat);
    } else if constexpr (requires { addresses.configure(next.nat); }) {
        addresses.configure(next.nat);
    }
    engine.configure(next.engine);
    return true;
}

}  // namespace halfproxy::tool
