// SPDX-License-Identifier: BSL-1.0
// Health checks at work: they tell the engine, and whoever reads our errors, which backends are up.
#pragma once

#include "checking.hpp"
#include "report.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <utility>

namespace halfproxy::tool {

/// Without checks where no service has any, or the engine has no services.
class watched_backends {
  public:
    explicit watched_backends(std::uint64_t seed) : seed_(seed) {}
    watched_backends(watched_backends const&) = delete;
    watched_backends& operator=(watched_backends const&) = delete;

    /// From now on the backends that the engine has. Checks that stay as they were go on; who is checked no more counts as up. The ports' MTUs are those of
    /// the first time. Between bursts; what checks() answered before is no more.
    template <class Engine>
    void watch(Engine& engine, router_config routing) {
        if constexpr (requires { engine.policies().addresses.services(); }) {
            auto& services = engine.policies().addresses;
            if (std::exchange(watches_, true))
                routing.ports = ports_;
            else
                ports_ = routing.ports;
            for (backend_ref const who : unchecked(services.services())) services.set_state(who, backend_state::up);
            planned_checks plan = plan_checks(services.services(), routing);
            auto const tell = [this, &services](health_checks::target_number n, health now, health_result const& why) {
                services.set_state(plan_.who[n], now == health::up ? backend_state::up : backend_state::down);
                fmt::print(stderr, "{}\n", event_text(services.services(), plan_.who[n], now, why));
            };
            auto next = plan.targets.empty() ? nullptr : std::make_unique<health_checks>(plan.targets, side::inside, seed_, tell, checks_.get());
            checks_ = std::move(next);
            plan_ = std::move(plan);
        }
    }

    [[nodiscard]] health_checks* checks() noexcept { return checks_.get(); }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return checks_ ? checks_->memory_bytes() : 0; }

    template <class Engine>
    void report(run_report& r, Engine const& engine) const {
        if constexpr (requires { engine.policies().addresses.services(); })
            if (checks_) r.take_health(*checks_, engine.policies().addresses.services(), plan_.who);
    }

  private:
    std::uint64_t seed_;
    bool watches_ = false;
    std::array<router_port, 2> ports_{};
    planned_checks plan_{};
    std::unique_ptr<health_checks> checks_{};
};

}  // namespace halfproxy::tool
