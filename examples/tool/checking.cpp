// SPDX-License-Identifier: BSL-1.0
// Targets made of backends, and lines made of changes.
#include "checking.hpp"

#include "config_values.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace halfproxy::tool {
namespace {

std::string with_port(ip_address const& a, std::string const& port) {
    return a.version == 6 ? fmt::format("[{}]:{}", to_text(a), port) : fmt::format("{}:{}", to_text(a), port);
}

}  // namespace

planned_checks plan_checks(service_table const& services, router_config const& routing) {
    planned_checks plan;
    for (service_index i = 0; i < services.size(); ++i) {
        if (!services.is_configured(i) || !services[i].health) continue;
        auto const& pool = services.backends(i);
        for (backend_index b = 0; b < pool.capacity(); ++b) {
            if (!pool.is_configured(b)) continue;
            auto const way = way_from_here(pool[b].address, routing.addresses, routing.routes);
            if (!way) continue;
            auto const mtu = static_cast<std::uint16_t>(std::min(routing.ports[static_cast<std::size_t>(way->exit)].mtu, 65'535u));
            health const now = pool.state(b) == backend_state::down ? health::down : health::up;
            plan.targets.push_back({*services[i].health, pool[b].address, checked_port(services[i], pool[b]), way->source, mtu, now});
            plan.who.push_back({i, b});
        }
    }
    return plan;
}

std::vector<backend_ref> unchecked(service_table const& services) {
    std::vector<backend_ref> all;
    for (service_index i = 0; i < services.size(); ++i) {
        if (!services.is_configured(i) || services[i].health) continue;
        auto const& pool = services.backends(i);
        for (backend_index b = 0; b < pool.capacity(); ++b)
            if (pool.is_configured(b) && pool.state(b) == backend_state::down) all.push_back({i, b});
    }
    return all;
}

std::string service_text(service_table const& services, service_index i) { return with_port(services[i].address, to_text(services[i].ports)); }

std::string backend_text(service_table const& services, backend_ref who) {
    backend const& b = services.server(who);
    return with_port(b.address, b.port != 0 ? std::to_string(b.port) : to_text(services[who.service].ports));
}

std::string event_text(service_table const& services, backend_ref who, health now, health_result const& why) {
    return fmt::format("service {}: backend {} is {}: {}", service_text(services, who.service), backend_text(services, who),
                       now == health::up ? "up" : "down", text_of(why));
}

}  // namespace halfproxy::tool
