// SPDX-License-Identifier: BSL-1.0
// A run's numbers as JSON and as text.
#include "report.hpp"

#include "checking.hpp"
#include "commands.hpp"
#include "config_values.hpp"

#include <halfproxy/core/version.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cerrno>
#include <iterator>
#include <system_error>
#include <utility>

namespace halfproxy::tool {
namespace {

using json = nlohmann::ordered_json;

std::string_view state_name(guard_state state) {
    switch (state) {
        case guard_state::ready: return "ready";
        case guard_state::active: return "active";
        case guard_state::grace: return "grace";
    }
    return "";
}

json transitions_json(run_report const& r) {
    constexpr std::array<std::string_view, guard_scope_count> scopes{"global", "side", "service"};
    json out = json::object();
    for (std::size_t scope = 0; scope < guard_scope_count; ++scope)
        for (guard_state const into : {guard_state::active, guard_state::grace, guard_state::ready})
            out[std::string{scopes[scope]}][std::string{state_name(into)}] =
                r.guard_transitions[scope][static_cast<std::size_t>(into)];
    return out;
}

json by_reason(std::array<std::uint64_t, drop_reason_count> const& counts) {
    json out = json::object();
    for (std::size_t i = 1; i < counts.size(); ++i) out[std::string{drop_reason_texts[i].name}] = counts[i];
    return out;
}

json counters_json(engine_counters const& c) {
    return {{"received", c.received},
            {"forwarded", c.forwarded},
            {"replied", c.replied},
            {"held", c.held},
            {"originated", c.originated},
            {"syns_seen", c.syns_seen},
            {"cookies_sent", c.cookies_sent},
            {"cookies_valid", c.cookies_valid},
            {"cookies_invalid", c.cookies_invalid},
            {"challenges_spared", c.challenges_spared},
            {"drops_spared", c.drops_spared},
            {"syns_exempt", c.syns_exempt},
            {"handshakes_completed", c.handshakes_completed},
            {"handshakes_refused", c.handshakes_refused},
            {"handshakes_timed_out", c.handshakes_timed_out},
            {"syns_retransmitted", c.syns_retransmitted},
            {"segments_held", c.segments_held},
            {"segments_delivered", c.segments_delivered},
            {"segments_not_held", c.segments_not_held},
            {"handshakes_without_timestamps", c.handshakes_without_timestamps},
            {"clients_announced", c.clients_announced},
            {"announcements_repeated", c.announcements_repeated},
            {"announcements_failed", c.announcements_failed},
            {"resets_sent", c.resets_sent},
            {"fragments_held", c.fragments_held},
            {"fragments_released", c.fragments_released},
            {"flows_opened", c.flows_opened},
            {"flows_closed", c.flows_closed},
            {"flows_evicted", c.flows_evicted},
            {"flows_ended_by_rules", c.flows_ended_by_rules},
            {"flows_one_sided", c.flows_one_sided},
            {"tunnelled", c.tunnelled},
            {"tunnel_pieces", c.tunnel_pieces},
            {"too_big_sent", c.too_big_sent},
            {"too_big_limited", c.too_big_limited},
            {"dropped", by_reason(c.dropped)},
            {"fragments_given_up", by_reason(c.fragments_given_up)},
            {"malformed_passed", by_reason(c.malformed_passed)}};
}

json nat_json(nat_report const& n) {
    json pools = json::array();
    for (nat_pool_report const& p : n.pools)
        pools.push_back({{"rule", p.rule + 1},
                         {"protocol", p.protocol},
                         {"held", p.held},
                         {"quarantined", p.quarantined},
                         {"given", p.counters.given},
                         {"returned", p.counters.returned},
                         {"exhausted", p.counters.exhausted},
                         {"no_room", p.counters.no_room},
                         {"preserved", p.counters.preserved},
                         {"quarantine_cut", p.counters.quarantine_cut},
                         {"pressures", p.counters.pressures}});
    nat_counters const& c = n.counters;
    return {{"mappings_now", n.mappings_now},
            {"mappings_made", c.mappings_made},
            {"mappings_ended", c.mappings_ended},
            {"mappings_shared", c.mappings_shared},
            {"opened_from_outside", c.opened_from_outside},
            {"hairpins", c.hairpins},
            {"pools", pools}};
}

json services_json(std::vector<service_report> const& services) {
    json out = json::array();
    for (service_report const& s : services) {
        json backends = json::array();
        for (backend_report const& b : s.backends)
            backends.push_back({{"address", b.address}, {"port", b.port}, {"open", b.open}, {"opened", b.opened}, {"state", b.state}});
        out.push_back({{"address", s.address}, {"port", s.ports}, {"backends", backends}});
    }
    return out;
}

json edge_json(run_report const& r) {
    json refused = json::object();
    for (std::size_t i = 1; i < nat64_refusal_count; ++i) refused[std::string{nat64_refusal_names[i]}] = r.edge.nat64_refused[i];
    return {{"nat64", {{"hosts", r.nat64_hosts}, {"to_v4", r.edge.nat64_to_v4}, {"to_v6", r.edge.nat64_to_v6}, {"refused", refused}}},
            {"nptv6", {{"translated", r.edge.nptv6_translated}, {"refused", r.edge.nptv6_refused}}},
            {"originated_lost", r.edge.originated_lost}};
}

json routing_json(routing_report const& r) {
    router_counters const& c = r.counters;
    return {{"received", c.received},
            {"passed", c.passed},
            {"answered", c.answered},
            {"taken", c.taken},
            {"dropped_on_arrival", c.dropped_on_arrival},
            {"waited", c.waited},
            {"delivered", c.delivered},
            {"echo_replies", c.echo_replies},
            {"hops_exceeded_sent", c.hops_exceeded_sent},
            {"too_big_sent", c.too_big_sent},
            {"unreachable_sent", c.unreachable_sent},
            {"resets_sent", c.resets_sent},
            {"answers_limited", c.answers_limited},
            {"questions_sent", c.questions_sent},
            {"answers_sent", c.answers_sent},
            {"announcements_sent", c.announcements_sent},
            {"address_conflicts", c.address_conflicts},
            {"neighbours",
             {{"resolved", r.neighbours.resolved},
              {"confirmed", r.neighbours.confirmed},
              {"moved", r.neighbours.moved},
              {"failed", r.neighbours.failed},
              {"evicted", r.neighbours.evicted},
              {"not_believed", r.neighbours.not_believed}}},
            {"dropped", by_reason(c.dropped)}};
}

json health_json(health_report const& h) {
    json backends = json::array();
    for (checked_backend const& b : h.backends)
        backends.push_back({{"service", b.service},
                            {"backend", b.backend},
                            {"state", b.state},
                            {"good", b.counters.good},
                            {"bad", b.counters.bad},
                            {"transitions", b.counters.transitions},
                            {"last", b.last}});
    return {{"packets_sent", h.counters.packets_sent},
            {"packets_taken", h.counters.packets_taken},
            {"dropped", by_reason(h.counters.dropped)},
            {"backends", backends}};
}

json port_json(port_report const& p) {
    return {{"name", p.name},
            {"received", p.received},
            {"flood_received", p.flood_received},
            {"sent", p.sent},
            {"kernel_drops", p.kernel_drops},
            {"receive_truncated", p.receive_truncated},
            {"not_taken", p.not_taken},
            {"refused", p.refused},
            {"link_down", p.link_down}};
}

json packets_json(engine_counters const& c) {
    return {{"received", c.received}, {"forwarded", c.forwarded},   {"replied", c.replied},
            {"held", c.held},         {"originated", c.originated}, {"dropped", c.dropped_total()}};
}

json capture_json(capture_report const& c) {
    return {{"file", c.file}, {"records", c.records}, {"complete", c.complete}, {"problem", c.problem}};
}

void add_port(std::string& out, std::string_view side_name, port_report const& p) {
    auto const to = std::back_inserter(out);
    fmt::format_to(to, "  {} {}: received {}", side_name, p.name, p.received);
    if (p.flood_received != 0) fmt::format_to(to, " ({} by the ring for floods)", p.flood_received);
    fmt::format_to(to, ", sent {}", p.sent);
    std::pair<std::uint64_t, char const*> const losses[] = {{p.kernel_drops, "ring full"},
                                                            {p.receive_truncated, "larger than a ring slot"},
                                                            {p.not_taken, "no room to send"},
                                                            {p.refused, "refused by the kernel"},
                                                            {p.link_down, "link down"}};
    for (auto const& [count, why] : losses)
        if (count != 0) fmt::format_to(to, ", lost {} ({})", count, why);
    out += '\n';
}

}  // namespace

std::string json_text(run_report const& r) {
    engine_counters const& c = r.counters;
    json out{{"version", std::string{library_version}},
             {"uptime_s", r.uptime_s},
             {"syns_seen", c.syns_seen},
             {"cookies_sent", c.cookies_sent},
             {"cookies_valid", c.cookies_valid},
             {"flows",
              {{"now", r.flows_now}, {"peak", r.flows_peak}, {"opened", c.flows_opened}, {"closed", c.flows_closed}}},
             {"packets", packets_json(c)},
             {"guard", {{"state", std::string{state_name(r.guard)}}, {"activations", r.guard_activations}}},
             {"guard_transitions", transitions_json(r)},
             {"memory",
              {{"configured_bytes", r.configured_bytes},
               {"rss_at_start_bytes", r.rss_at_start_bytes},
               {"rss_bytes", r.rss_bytes}}},
             {"io", {{"outside", port_json(r.outside)}, {"inside", port_json(r.inside)}}},
             {"edge", edge_json(r)},
             {"reloads", {{"applied", r.reloads.applied}, {"refused", r.reloads.refused}}},
             {"counters", counters_json(c)}};
    if (r.capture) out["capture"] = capture_json(*r.capture);
    if (r.nat) out["nat"] = nat_json(*r.nat);
    if (!r.services.empty()) out["services"] = services_json(r.services);
    if (r.routing) out["routing"] = routing_json(*r.routing);
    if (r.health) out["health"] = health_json(*r.health);
    // Names of files and interfaces need not be UTF-8; JSON must be.
    return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string summary_text(run_report const& r) {
    engine_counters const& c = r.counters;
    std::string out;
    auto const to = std::back_inserter(out);
    fmt::format_to(
        to, "after {:.1f} s: {} packets received, {} forwarded, {} replied, {} held, {} dropped, {} originated\n",
        r.uptime_s, c.received, c.forwarded, c.replied, c.held, c.dropped_total(), c.originated);
    fmt::format_to(
        to, "  SYNs {}, cookies sent {}, valid {}, invalid {}; handshakes completed {}, refused {}, timed out {}\n",
        c.syns_seen, c.cookies_sent, c.cookies_valid, c.cookies_invalid, c.handshakes_completed, c.handshakes_refused,
        c.handshakes_timed_out);
    fmt::format_to(to, "  flows: {} now, {} at most, {} opened, {} evicted; guard {}, activated {} times\n",
                   r.flows_now, r.flows_peak, c.flows_opened, c.flows_evicted, state_name(r.guard),
                   r.guard_activations);
    if (r.nat)
        fmt::format_to(to, "  NAT: {} mappings now, {} made, {} flows from outside through them, {} hairpins\n", r.nat->mappings_now,
                       r.nat->counters.mappings_made, r.nat->counters.opened_from_outside, r.nat->counters.hairpins);
    if (r.routing) {
        router_counters const& n = r.routing->counters;
        fmt::format_to(to, "  router: {} passed, {} answered, {} dropped; neighbours: {} resolved, {} moved, {} failed\n", n.passed, n.answered,
                       n.dropped_total(), r.routing->neighbours.resolved, r.routing->neighbours.moved, r.routing->neighbours.failed);
    }
    add_port(out, "outside", r.outside);
    add_port(out, "inside", r.inside);
    fmt::format_to(to, "  memory: {:.1f} MiB fixed at start, {:.1f} MiB resident\n",
                   static_cast<double>(r.configured_bytes) / (1 << 20), static_cast<double>(r.rss_bytes) / (1 << 20));
    for (std::size_t i = 1; i < drop_reason_count; ++i)
        if (r.dropped(i) != 0)
            fmt::format_to(to, "  dropped {}: {} ({})\n", r.dropped(i), drop_reason_texts[i].name,
                           drop_reason_texts[i].sentence);
    return out;
}

void run_report::take_nat(address_plan const& plan) {
    nat_report& n = nat.emplace();
    n.counters = plan.counters();
    n.mappings_now = plan.bindings<std::uint32_t>().size() + plan.bindings<ipv6_bytes>().size();
    plan.for_each_pool([&](std::uint32_t rule, std::uint8_t protocol, auto const& pool) {
        if (pool.counters().given + pool.counters().exhausted + pool.counters().no_room != 0)
            n.pools.push_back({rule, protocol, pool.held(), pool.quarantined(), pool.counters()});
    });
}

void run_report::take_services(service_table const& table) {
    constexpr std::string_view states[] = {"up", "draining", "down"};
    for (service_index i = 0; i < table.size(); ++i) {
        if (!table.exists(i)) continue;
        service_report& s = services.emplace_back(service_report{to_text(table[i].address), to_text(table[i].ports), {}});
        auto const& pool = table.backends(i);
        for (backend_index b = 0; b < pool.capacity(); ++b) {
            if (!pool.exists(b)) continue;
            std::string_view const state = pool.inhibited(b) ? "inhibited" : states[static_cast<std::size_t>(pool.state(b))];
            s.backends.push_back({to_text(pool[b].address), pool[b].port, pool.open(b), pool.opened_total(b), state});
        }
    }
}

void run_report::take_health(health_checks const& checks, service_table const& table, std::span<backend_ref const> who) {
    health_report& h = health.emplace();
    h.counters = checks.counters();
    for (health_checks::target_number n = 0; n < checks.size(); ++n)
        h.backends.push_back({service_text(table, who[n].service), backend_text(table, who[n]), checks.state(n) == halfproxy::health::up ? "up" : "down",
                              checks.counters(n), text_of(checks.last_result(n))});
}

report_file::report_file(std::optional<std::filesystem::path> const& path) {
    if (!path) return;
    path_ = *path;
    out_.open(path_, std::ios::binary | std::ios::trunc);
    if (!out_)
        throw usage_error(
            fmt::format("cannot write the report {}: {}", path_.string(), std::generic_category().message(errno)));
}

void report_file::write(run_report const& report) {
    if (!out_.is_open()) return;
    out_ << json_text(report) << std::flush;
    if (!out_) throw run_error(fmt::format("cannot write the report {}", path_.string()));
}

}  // namespace halfproxy::tool
