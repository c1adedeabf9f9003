// SPDX-License-Identifier: BSL-1.0
// The keys of address translation: [nat], [[static]], [[dnat]], [[snat]]. Part of the schema (config_schema.hpp).
#pragma once

#include "tool_config.hpp"

#include <halfproxy/engine/nat_config.hpp>
#include <halfproxy/route/routes.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace halfproxy::tool {

template <class Visitor>
void require_no_fault(Visitor& v, std::optional<nat_fault> const& fault) {
    if (fault) v.require(false, fault->key, fault->text);
}

/// Where an item stands in its list.
template <class Item>
std::size_t place_of(std::vector<Item> const& list, Item const& item) {
    return static_cast<std::size_t>(&item - list.data());
}

/// What is answered for in routed mode must be asked for on a link of ours, or come by a route of the neighbours'.
template <class Visitor>
void require_answered(Visitor& v, std::string_view key, ip_address const& a, io_settings const& io) {
    if (io.mode != deployment::routed || a.version == 0) return;
    auto const holds = [&a](ip_prefix const& p) { return p.contains(a); };
    if (std::any_of(io.routed_here.begin(), io.routed_here.end(), holds)) return;
    std::string_view const problem = problem_of_answered(a, io.addresses);
    v.require(problem.empty(), key, problem);
}

/// The same of a prefix's ends.
template <class Visitor>
void require_answered(Visitor& v, std::string_view key, ip_prefix const& prefix, io_settings const& io) {
    if (prefix.address.version == 0) return;
    require_answered(v, key, detail::first_of(prefix), io);
    require_answered(v, key, detail::last_of(prefix), io);
}

template <class Visitor>
void describe_static(Visitor& v, nat_config const& nat, static_rule& rule) {
    v.prefix("inside", rule.inside);
    v.prefix("outside", rule.outside);
    require_no_fault(v, fault_of_static(nat, place_of(nat.statics, rule)));
}

template <class Visitor>
void describe_dnat(Visitor& v, nat_config const& nat, dnat_rule& rule) {
    v.prefix("from", rule.from);
    v.prefix("to", rule.to);
    v.protocol("proto", rule.protocol);
    v.ports("ports", rule.ports);
    v.choice("clients", rule.origin);
    v.address("target", rule.target);
    v.optional_ports("target_ports", rule.target_ports);
    require_no_fault(v, fault_of_dnat(nat, place_of(nat.dnat, rule)));
}

template <class Visitor>
void describe_snat(Visitor& v, nat_config const& nat, snat_rule& rule, io_settings const& io) {
    v.prefix("from", rule.from);
    v.prefix("to", rule.to);
    v.protocol("proto", rule.protocol);
    v.choice("clients", rule.origin);
    v.prefixes("pool", rule.pool);
    v.ports("ports", rule.ports.ports);
    v.choice("mapping", rule.mapping);
    v.choice("filtering", rule.filtering);
    v.flag("paired", rule.paired);
    v.flag("share_ports", rule.share_ports);
    v.number("block_ports", rule.block_ports, 0, 65'535);
    v.choice("order", rule.ports.order);
    v.flag("preserve", rule.ports.preserve);
    v.flag("parity", rule.ports.keep_parity);
    v.seconds("quarantine_s", rule.ports.quarantine, 0, 86'400);
    v.number("quarantined", rule.ports.quarantined, 1, 1u << 24);
    v.number("high_percent", rule.ports.high_percent, 1, 100);
    v.number("low_percent", rule.ports.low_percent, 0, 100);
    require_no_fault(v, fault_of_snat(nat, place_of(nat.snat, rule)));
    for (ip_prefix const& pool : rule.pool) require_answered(v, "pool", pool, io);
}

template <class Visitor>
void describe_nat(Visitor& v, nat_config& nat, io_settings const& io) {
    if (v.reads()) nat.hairpin = io.mode == deployment::routed;  // behind a bridge's port nobody takes a packet back whose link address is the router's
    v.section("nat", [&](auto& s) {
        s.flag("hairpin", nat.hairpin);
        s.seconds("linger_tcp_s", nat.linger.tcp, 0, 86'400);
        s.seconds("linger_udp_s", nat.linger.udp, 0, 86'400);
        s.seconds("linger_icmp_s", nat.linger.icmp, 0, 86'400);
        s.seconds("linger_other_s", nat.linger.other, 0, 86'400);
        s.number("mappings_v4", nat.bindings_v4, 0, 1u << 27);
        s.number("mappings_v6", nat.bindings_v6, 0, 1u << 27);
    });
    v.tables("static", nat.statics, [&](auto& s, static_rule& rule) { describe_static(s, nat, rule); });
    v.tables("dnat", nat.dnat, [&](auto& s, dnat_rule& rule) { describe_dnat(s, nat, rule); });
    v.tables("snat", nat.snat, [&](auto& s, snat_rule& rule) { describe_snat(s, nat, rule, io); });
}

}  // namespace halfproxy::tool
