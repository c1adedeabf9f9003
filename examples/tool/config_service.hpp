// SPDX-License-Identifier: BSL-1.0
// The keys of virtual services: [services], [[service]], [service.health], [[service.backend]]. Part of the schema (config_schema.hpp).
#pragma once

#include "checking.hpp"
#include "config_values.hpp"
#include "tool_config.hpp"

#include <halfproxy/engine/service_engine.hpp>

#include <chrono>
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
    v.choice("on_down", pool.on_down);
    v.number("passive_failures", pool.passive.failures, 0, 1'000);
    v.seconds("first_inhibition_s", pool.passive.first_inhibition, 1, 86'400);
    v.seconds("longest_inhibition_s", pool.passive.longest_inhibition, 1, 86'400);
    v.require(pool.passive.longest_inhibition >= pool.passive.first_inhibition, "longest_inhibition_s", "must be at least first_inhibition_s");
}

template <class Visitor>
void describe_milliseconds(Visitor& v, std::string_view key, std::chrono::milliseconds& out, std::uint32_t least_s, std::uint32_t most_s) {
    auto given = static_cast<timeout_ms>(out.count());
    v.seconds(key, given, least_s, most_s);
    out = std::chrono::milliseconds{given};
}

template <class Visitor>
void describe_health(Visitor& v, health_check& c) {
    v.choice("kind", c.kind, presence::required);
    v.number("port", c.port, 0, 65'535);
    describe_milliseconds(v, "interval_s", c.policy.interval, 0, 3'600);
    describe_milliseconds(v, "timeout_s", c.policy.timeout, 0, 600);
    v.number("jitter_percent", c.policy.jitter_percent, 0, 50);
    v.number("rise", c.policy.rise, 1, 1'000);
    v.number("fall", c.policy.fall, 1, 1'000);
    describe_milliseconds(v, "flap_window_s", c.policy.flap_window, 0, 86'400);
    describe_milliseconds(v, "first_hold_s", c.policy.first_hold, 0, 86'400);
    describe_milliseconds(v, "longest_hold_s", c.policy.longest_hold, 0, 86'400);
    v.text("path", c.path);
    v.text("host", c.host);
    v.statuses("status", c.status);
    v.text("body", c.body);
    v.text("send", c.send);
    v.text("expect", c.expect);
    if (auto const fault = fault_of(c)) v.require(false, fault->key, fault->what);
}

/// Of the service's checks beside its backends and the way to them.
[[nodiscard]] inline std::string_view fault_of_checks(service_config const& s, io_settings const& io) {
    if (!s.health) return {};
    if (io.mode != deployment::routed) return "needs [io] mode = \"routed\": a bridge has no address of its own that servers could answer to";
    for (backend const& b : s.backends) {
        if (checked_port(s, b) == 0 && s.health->kind != health_probe::icmp) return "needs a port: the service has several, and one of its backends names none";
        auto const way = way_from_here(b.address, io.addresses, io.routes);
        if (!way || way->exit != side::inside) return "needs a route to every backend through port \"inside\", and an address of its family there";
    }
    return {};
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
    v.optional_section("health", s.health, [](auto& inner, health_check& c) { describe_health(inner, c); });
    v.require(s.health || s.pool.on_down == on_down::leave, "on_down", "other than \"leave\" needs [service.health], which tells that a backend is down");
    v.tables("backend", s.backends, [&](auto& inner, backend& b) { describe_server(inner, config.services, b); });
    require_nothing_wrong(v, "mode", fault_of_fullnat(s, config.nat));
    require_nothing_wrong(v, "health", fault_of_checks(s, config.io));
    if (v.reads()) require_no_fault(v, fault_of_last(config.services.services));
}

/// Behind [guard], [tracking] and [[snat]], which decide what modes are possible.
template <class Visitor>
void describe_services(Visitor& v, tool_config& config) {
    v.section("services", [&](auto& s) { s.number("persistent_clients", config.services.persistent_clients, 8, 1u << 26); });
    v.tables("service", config.services.services, [&](auto& s, service_config& one) { describe_service(s, config, one); });
}

}  // namespace halfproxy::tool
