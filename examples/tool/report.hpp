// SPDX-License-Identifier: BSL-1.0
// What a run has come to: numbers for a JSON file and for a reader.
#pragma once

#include <halfproxy/admit/guard.hpp>
#include <halfproxy/balance/service_table.hpp>
#include <halfproxy/engine/address_plan.hpp>
#include <halfproxy/engine/counters.hpp>
#include <halfproxy/engine/translating_edge.hpp>
#include <halfproxy/route/router.hpp>
#include <halfproxy/run/health_checks.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace halfproxy::tool {

/// One port. Every frame that was due to leave and did not is in exactly one of the lost counters.
struct port_report {
    std::string name{};
    std::uint64_t received = 0;
    std::uint64_t flood_received = 0;     ///< of them, SYNs of a flood that came by the ring for them
    std::uint64_t sent = 0;
    std::uint64_t kernel_drops = 0;       ///< came in, but the receive ring was full
    std::uint64_t receive_truncated = 0;  ///< came in, larger than a ring slot
    std::uint64_t not_taken = 0;          ///< the device had no room
    std::uint64_t refused = 0;            ///< the kernel refused the frame itself
    std::uint64_t link_down = 0;
};

/// How far a capture could be read.
struct capture_report {
    std::string file{};
    std::uint64_t records = 0;
    bool complete = true;
    std::string problem{};
};

/// The ports of one rule of source NAT and one protocol; 0: mappings of protocols without ports.
struct nat_pool_report {
    std::uint32_t rule = 0;
    std::uint8_t protocol = 0;
    std::uint64_t held = 0;
    std::uint32_t quarantined = 0;
    port_pool_counters counters{};
};
struct nat_report {
    nat_counters counters{};
    std::uint32_t mappings_now = 0;
    std::vector<nat_pool_report> pools{};
};

struct backend_report {
    std::string address{};
    std::uint16_t port = 0;
    std::uint32_t open = 0;
    std::uint64_t opened = 0;
    std::string_view state{};
};
struct service_report {
    std::string address{};
    std::string ports{};
    std::vector<backend_report> backends{};
};

/// Health checks: all, and each backend's.
struct checked_backend {
    std::string service{};
    std::string backend{};
    std::string_view state{};
    health_target_counters counters{};
    std::string last{};  ///< what the last check found
};
struct health_report {
    health_counters counters{};
    std::vector<checked_backend> backends{};
};

/// Of routed mode: what the router did beside the engine.
struct routing_report {
    router_counters counters{};
    neighbour_counters neighbours{};
};

/// How often the configuration was read again.
struct reload_counters {
    std::uint64_t applied = 0;
    std::uint64_t refused = 0;  ///< something was wrong with it: nothing changed
};

struct run_report {
    double uptime_s = 0;  ///< of a replay: the time its capture spans
    engine_counters counters{};
    edge_counters edge{};
    std::uint32_t nat64_hosts = 0;
    std::uint32_t flows_now = 0;
    std::uint32_t flows_peak = 0;
    guard_state guard = guard_state::ready;
    std::uint64_t guard_activations = 0;
    std::array<std::array<std::uint64_t, guard_state_count>, guard_scope_count> guard_transitions{};  ///< by scope, into state
    std::size_t configured_bytes = 0;  ///< engine and rings: fixed at start
    std::size_t rss_at_start_bytes = 0;
    std::size_t rss_bytes = 0;
    port_report outside{};
    port_report inside{};
    reload_counters reloads{};
    std::optional<capture_report> capture{};
    std::optional<nat_report> nat{};
    std::vector<service_report> services{};
    std::optional<routing_report> routing{};
    std::optional<health_report> health{};

    /// After take(): what was dropped at the edge is in its counters alone.
    template <class Edge>
    void take_edge(Edge const& translated) {
        counters = translated.counters();
        edge = translated.edge();
        nat64_hosts = translated.nat64_hosts_now();
    }

    template <class Engine>
    void take(Engine const& engine) {
        counters = engine.counters();
        flows_now = engine.flows_now();
        flows_peak = engine.flows_peak();
        guard = engine.guard_status().state();
        guard_activations = engine.guard_status().activations();
        guard_transitions = engine.guard_status().transitions();
        if constexpr (requires { take_nat(engine.policies().addresses); }) take_nat(engine.policies().addresses);
        if constexpr (requires { take_services(engine.policies().addresses.services()); }) {
            take_services(engine.policies().addresses.services());
            take_nat(engine.policies().addresses.next());
        }
    }
    void take_services(service_table const& table);
    void take_nat(address_plan const& plan);
    /// `who` says whose each target is.
    void take_health(health_checks const& checks, service_table const& table, std::span<backend_ref const> who);
    void take_routing(router const& r) { routing = {r.counters(), r.neighbours().counters()}; }

    /// By the engine, the router and the checks together: every packet under one reason.
    [[nodiscard]] std::uint64_t dropped(std::size_t reason) const noexcept {
        return counters.dropped[reason] + (routing ? routing->counters.dropped[reason] : 0) + (health ? health->counters.dropped[reason] : 0);
    }
};

[[nodiscard]] std::string json_text(run_report const& report);

/// A few lines for a terminal.
[[nodiscard]] std::string summary_text(run_report const& report);

/// A report's file, opened before the run so that a wrong path is known then, and so that no privilege is needed later.
class report_file {
  public:
    /// Throws usage_error when the file cannot be created.
    explicit report_file(std::optional<std::filesystem::path> const& path);

    /// Throws run_error when it cannot be written. Does nothing when no report was asked for.
    void write(run_report const& report);

  private:
    std::filesystem::path path_{};
    std::ofstream out_{};
};

}  // namespace halfproxy::tool
