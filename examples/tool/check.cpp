// SPDX-License-Identifier: BSL-1.0
// `halfproxy check`: validates a configuration and prints what would be in effect, and what memory it would take.
#include "checking.hpp"
#include "commands.hpp"
#include "tool_config.hpp"

#include <halfproxy/admit/exemption.hpp>
#include <halfproxy/admit/limits.hpp>
#include <halfproxy/engine/address_plan.hpp>
#include <halfproxy/engine/engine.hpp>
#include <halfproxy/engine/flow.hpp>
#include <halfproxy/engine/handshake.hpp>
#include <halfproxy/engine/service_engine.hpp>

#include <fmt/format.h>

#include <cstddef>

namespace halfproxy::tool {
namespace {

/// The flow table's promise for a flow's two keys (track/flow_table.hpp).
constexpr std::size_t index_bytes_per_flow = 24;

std::size_t splice_bytes(splice_config const& splice) {
    std::size_t const held = splice.held_segments * (splice.held_bytes + sizeof(frame) + sizeof(std::uint64_t));
    return held + backend_table::memory_bytes(splice.learn ? splice.learned_servers : 0);
}

std::size_t fragment_bytes(engine_config const& config) {
    if (config.normalize.fragments != fragment_policy::reassemble) return 0;
    limits_config const& l = config.limits;
    fragment_limits const each{l.fragment_datagrams, l.fragments_waiting, l.fragment_bytes, config.timeouts.fragment};
    return fragment_table<std::uint32_t, fragment_fate<std::uint32_t>>::memory_bytes(each) +
           fragment_table<ipv6_bytes, fragment_fate<ipv6_bytes>>::memory_bytes(each);
}

/// Computed, not measured: a configuration may be checked on a machine that has no such memory.
std::size_t engine_bytes(engine_config const& config) {
    limits_config const& limits = config.limits;
    std::uint32_t const exempt = config.guard.mode == guard_mode::off || config.guard.exempt_time() == 0 ? 0 : config.guard.exempt_sources;
    return limits.flows_v4 * (sizeof(ipv4_flow) + index_bytes_per_flow) +
           limits.flows_v6 * (sizeof(ipv6_flow) + index_bytes_per_flow) + limits.handshakes * sizeof(handshake) +
           guard::memory_bytes(config.guard) + exemption_table::memory_bytes(exempt) +
           source_limits::memory_bytes(limits.per_source) + splice_bytes(config.splice) + fragment_bytes(config);
}

std::size_t nat_bytes(tool_config const& config) {
    return config.nat.empty() ? 0 : address_plan::memory_bytes(config.nat, config.engine.limits);
}

std::size_t service_bytes(tool_config const& config) {
    if (config.services.services.empty()) return 0;
    limits_config const& l = config.engine.limits;
    service_table const table(config.services);
    planned_checks const plan = plan_checks(table, routing_of(config));
    std::size_t const checks = plan.targets.empty() ? 0 : health_checks(plan.targets, side::inside, 0, {}).memory_bytes();
    std::size_t const pieces = std::size_t{l.tunnel_pieces} * (l.tunnel_piece_bytes + sizeof(frame) + sizeof(std::uint64_t));
    return table.memory_bytes() + checks + pieces + (l.flows_v4 + l.flows_v6) * sizeof(backend_ref);
}
std::size_t edge_bytes(edge_config const& edge) { return edge.nat64 ? nat64_hosts::memory_bytes(edge.nat64->hosts) : 0; }

double mebibytes(std::size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

}  // namespace

int run_check(check_options const& options) {
    tool_config const config = load_config(options.config);
    std::size_t const routing = config.io.mode == deployment::routed ? router(routing_of(config)).memory_bytes() : 0;
    fmt::print("# memory, fixed at start: {:.1f} MiB for flows, {:.1f} MiB for receive rings\n{}",
               mebibytes(engine_bytes(config.engine) + nat_bytes(config) + service_bytes(config) + edge_bytes(config.edge) + routing), mebibytes(receive_bytes(config.io)),
               config_text(config));
    return exit_code::success;
}

}  // namespace halfproxy::tool
