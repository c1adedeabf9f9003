// SPDX-License-Identifier: BSL-1.0
// The keys of virtual services: [services], [[service]], [[service.backend]]. Part of the schema (config_schema.hpp).
#pragma once

#include "config_values.hpp"
#include "tool_config.hpp"

#include <halfproxy/engine/service_engine.hpp>

#include <optional>
#include <string_view>

namespace halfproxy::tool {

template <class Visitor>
void require_nothing_wrong(Visitor& v, std::string_view key, std::string_view fault) {
    v.require(fault.empty(), key, fault);
}

template <class Visitor>
void require_no_fault(Visitor& v, std::optional<service_fault> const& fault) {
    if (fault) v.require(false, fault->key, fault->what);
}

template <class Visitor>
void describe_server(Visitor& v, services_config const& all, backend& b) {
    v.address("address", b.address);
    v.number("port", b.port, 0, 65'535);
    v.number("weight", b.weight, 0, 65'535);
    v.number("priority", b.priority, 0, most_priorities - 1);
    v.mark("connections", b.connections, 1);
    v.mark("new_connections_per_s", b.new_connections_per_s, 1);
    v.station("mac", b.station);
    v.unavailable("proxy_protocol");
    if (v.reads()) require_no_fault(v, fault_of_last_backend(all.services, stations::configured));
}

template <class Visitor>
void describe_pool(Visitor& v, pool_config& pool) {
    v.seconds("slow_start_s", pool.slow_start, 0, 86'400);
    v.unavailable("on_down");  // nothing here tells that a backend is down, but for passive checks, which leave its flows
    v.number("passive_failures", pool.passive.failures, 0, 1'000);
    v.seconds("first_inhibition_s", pool.passive.first_inhibition, 1, 86'400);
    v.seconds("longest_inhibition_s", pool.passive.longest_inhibition, 1, 86'400);
    v.require(pool.passive.longest_inhibition >= pool.passive.first_inhibition, "longest_inhibition_s", "must be at least first_inhibition_s");
}

template <class Visitor>
void describe_service(Visitor& v, tool_config& config, service_config& s) {
    v.address("address", s.address);
    v.ports("port", s.ports);
    std::optional<std::uint8_t> protocol = s.protocol;
    v.protocol("proto", protocol);
    v.require(has_ports(protocol), "proto", "must be \"tcp\" or \"udp\"");
    s.protocol = protocol.value_or(std::uint8_t{0});
    v.choice("mode", s.mode);
    require_nothing_wrong(v, "mode", fault_of_mode(s, config.engine));
    v.require(!goes_by_station(s.mode) || config.io.mode == deployment::bridge, "mode", "\"dsr\" and \"transparent\" need [io] mode = \"bridge\"");
    v.choice("scheduler", s.scheduler);
    v.number("table_size", s.table_size, 0, largest_maglev_size);
    v.number("least_ready", s.least_ready, 1, most_backends);
    v.seconds("persistence_s", s.persistence, 0, longest_timeout_s);
    v.number("persistence_prefix4", s.prefixes.v4, 1, 32);
    v.number("persistence_prefix6", s.prefixes.v6, 1, 128);
    v.number("persistence_group", s.group, 0, 1'000'000'000);
    describe_pool(v, s.pool);
    v.unavailable("health");
    v.tables("backend", s.backends, [&](auto& inner, backend& b) { describe_server(inner, config.services, b); });
    require_nothing_wrong(v, "mode", fault_of_fullnat(s, config.nat));
    if (v.reads()) require_no_fault(v, fault_of_last(config.services.services));
}

/// Behind [guard], [tracking] and [[snat]], which decide what modes are possible.
template <class Visitor>
void describe_services(Visitor& v, tool_config& config) {
    v.section("services", [&](auto& s) { s.number("persistent_clients", config.services.persistent_clients, 8, 1u << 26); });
    v.tables("service", config.services.services, [&](auto& s, service_config& one) { describe_service(s, config, one); });
}

}  // namespace halfproxy::tool
