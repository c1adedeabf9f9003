// SPDX-License-Identifier: BSL-1.0
// The keys of virtual services: [services], [[service]], [service.health], [[service.backend]]. Part of the schema (config_schema.hpp).
#pragma once

#include "checking.hpp"
#include "config_values.hpp"
#include "tool_config.hpp"

#include <halfproxy/engine/service_engine.hpp>
#include <halfproxy/route/routes.hpp>

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

/// Through which port packets for an address leave, in routed mode.
[[nodiscard]] inline std::optional<side> port_towards(ip_address const& a, io_settings const& io) {
    route_table const routes(io.addresses, io.routes);
    route const* const r = routes.find(a);
    return r != nullptr ? std::optional(r->exit) : std::nullopt;
}

/// An address of ours on that port: the one whose prefix holds `a`, or else the first of its family.
[[nodiscard]] inline ip_address address_towards(ip_address const& a, side port, io_settings const& io) {
    ip_address first;
    for (port_address const& own : io.addresses) {
        if (own.port != port || own.address.version != a.version || is_link_local(own.address)) continue;
        if (own.on_link().contains(a)) return own.address;
        if (first.version == 0) first = own.address;
    }
    return first;
}

/// Of routed mode: what follows from routes, and what they do not allow.
template <class Visitor>
void describe_reaching(Visitor& v, tool_config const& config, service_config& s, backend& b) {
    if (config.io.mode != deployment::routed || !v.reads()) return;
    v.require(b.station == station_address{}, "mac", "is for bridges: in routed mode backends are found by their addresses");
    auto const port = port_towards(b.address, config.io);
    v.require(port.has_value(), "address", "is nowhere: no prefix of [[io.address]] holds it, and no [[io.route]]");
    v.require(!goes_by_station(s.mode) || port_of(b.address, config.io.addresses).has_value(), "address",
              "must lie in a prefix of [[io.address]]: with this mode a backend is the next hop");
    b.beside_clients = *port == side::outside;
    guard_mode const guard = config.engine.guard.mode;
    v.require(!b.beside_clients || answers_elsewhere(s.mode) || guard == guard_mode::off || guard == guard_mode::monitor, "address",
              "is behind the port where the clients are: with this mode that needs guard.mode = \"off\" or \"monitor\"");
    v.require(!b.beside_clients || answers_elsewhere(s.mode) || s.proxy == proxy_header::none, "address",
              "is behind the port where the clients are: there is no proxy_protocol for it");
    ip_address& source = b.address.version == 4 ? s.tunnel.source4 : s.tunnel.source6;
    if (s.mode == forward_mode::ipip && source.version == 0) source = address_towards(b.address, *port, config.io);
}

template <class Visitor>
void describe_server(Visitor& v, tool_config& config, service_config& s, backend& b) {
    v.address("address", b.address);
    v.number("port", b.port, 0, 65'535);
    v.number("weight", b.weight, 0, 65'535);
    v.number("priority", b.priority, 0, most_priorities - 1);
    v.mark("connections", b.connections, 1);
    v.mark("new_connections_per_s", b.new_connections_per_s, 1);
    v.station("mac", b.station);
    describe_reaching(v, config, s, b);
    bool const routed = config.io.mode == deployment::routed;
    if (v.reads()) require_no_fault(v, fault_of_last_backend(config.services.services, routed ? stations::resolved : stations::configured));
}

template <class Visitor>
void describe_tunnel(Visitor& v, tunnel_config& tunnel) {
    v.choice("encapsulation", tunnel.carrier);
    v.optional_address("tunnel_source", tunnel.source4);
    v.optional_address("tunnel_source6", tunnel.source6);
    v.require(tunnel.source4.version != 6, "tunnel_source", "must be an IPv4 address");
    v.require(tunnel.source6.version != 4, "tunnel_source6", "must be an IPv6 address");
    v.number("tunnel_mtu", tunnel.mtu, 596, 65'535);
    v.number("gue_port", tunnel.udp_port, 1, 65'535);
    v.flag("clamp_mss", tunnel.clamp_mss);
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
    require_answered(v, "address", s.address, config.io);
    describe_tunnel(v, s.tunnel);
    v.choice("proxy_protocol", s.proxy);
    v.require(s.proxy == proxy_header::none || config.engine.tracking.asymmetric == asymmetric_paths::no, "proxy_protocol",
              "does not go with tracking.asymmetric: of such a connection both directions must pass");
    v.number("client_option", s.client_option, 0, 255);
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
    v.tables("backend", s.backends, [&](auto& inner, backend& b) { describe_server(inner, config, s, b); });
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
