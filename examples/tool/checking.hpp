// SPDX-License-Identifier: BSL-1.0
// The health checks that services ask for: whom, from where, and what is said of them.
#pragma once

#include "tool_config.hpp"

#include <halfproxy/balance/service_table.hpp>
#include <halfproxy/run/health_checks.hpp>

#include <string>
#include <vector>

namespace halfproxy::tool {

/// Where a backend is asked; 0: nobody has said.
[[nodiscard]] inline std::uint16_t checked_port(service_config const& s, backend const& b) noexcept {
    if (s.health && s.health->port != 0) return s.health->port;
    return b.port != 0 ? b.port : s.is_one_port() ? s.ports.first : std::uint16_t{0};
}

/// The targets, and beside each whose backend it is.
struct planned_checks {
    std::vector<health_target> targets{};
    std::vector<backend_ref> who{};
};

/// For every backend of a service with checks. Whether there is a way to it was found out when the configuration was read.
/// A backend that is taken out of the configuration is checked no more.
[[nodiscard]] planned_checks plan_checks(service_table const& services, router_config const& routing);

/// Those that are down although nobody checks them now.
[[nodiscard]] std::vector<backend_ref> unchecked(service_table const& services);

/// "198.51.100.10:80"
[[nodiscard]] std::string service_text(service_table const& services, service_index i);
[[nodiscard]] std::string backend_text(service_table const& services, backend_ref who);

/// "service 198.51.100.10:80: backend 10.0.0.81:8080 is down: status 503"
[[nodiscard]] std::string event_text(service_table const& services, backend_ref who, health now, health_result const& why);

}  // namespace halfproxy::tool
