// SPDX-License-Identifier: BSL-1.0
// From what the file says of routing, services and translation to the router's configuration.
#include "tool_config.hpp"

#include <chrono>
#include <vector>

namespace halfproxy::tool {
namespace {

/// Longer prefixes are not asked for address by address.
constexpr unsigned most_host_bits = 16;

ip_address next_of(ip_address a) {
    for (std::size_t i = a.version == 4 ? 4 : 16; i-- > 0;)
        if (++a.bytes[i] != 0) break;
    return a;
}

/// Every address of the prefix that could be asked for on a link of ours.
void answer_for(router_config& config, ip_prefix const& prefix, bool echo) {
    if (prefix.address.version == 0) return;
    unsigned const host_bits = (prefix.address.version == 4 ? 32u : 128u) - prefix.length;
    std::vector<ip_address> all;
    ip_address a = prefix.address;
    if (host_bits <= most_host_bits)
        for (std::uint32_t n = 0; n < 1u << host_bits; ++n, a = next_of(a))
            if (problem_of_answered(a, config.addresses).empty()) all.push_back(a);
    config.answer_for(all, echo);
    for (port_address const& own : config.addresses)  // of a long prefix at least those that are known
        if (host_bits > most_host_bits && prefix.contains(own.address)) config.answer_for({&own.address, 1}, echo);
}

ip_prefix host(ip_address const& a) { return {a, static_cast<std::uint8_t>(a.version == 4 ? 32 : 128)}; }

}  // namespace

router_config routing_of(tool_config const& config) {
    io_settings const& io = config.io;
    router_config routing;
    routing.addresses = io.addresses;
    routing.routes = io.routes;
    routing.unreachable = io.unreachable;
    routing.icmp_per_second = io.icmp_per_s;
    routing.neighbours.capacity = io.neighbours;
    routing.neighbours.reachable = std::chrono::milliseconds{io.neighbour_reachable};
    routing.neighbours.waiting_frames = io.neighbour_waiting;
    routing.seed = config.engine.seed;
    for (service_config const& s : config.services.services) answer_for(routing, host(s.address), true);
    for (static_rule const& r : config.nat.statics) answer_for(routing, r.outside, false);
    for (dnat_rule const& r : config.nat.dnat) answer_for(routing, r.to, true);
    for (snat_rule const& r : config.nat.snat)
        for (ip_prefix const& p : r.pool) answer_for(routing, p, true);
    return routing;
}

}  // namespace halfproxy::tool
