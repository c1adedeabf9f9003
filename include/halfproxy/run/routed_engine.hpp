// SPDX-License-Identifier: BSL-1.0
// An engine between a router's two stages: a packet_engine that has addresses of its own instead of being a wire.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/outbox.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/route/router.hpp>
#include <halfproxy/run/health_checks.hpp>
#include <halfproxy/run/pump.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

namespace halfproxy {

/// ICMP errors of the router's that go through the engine in one advance().
inline constexpr std::size_t routed_errors_per_advance = 16;

/// Borrows the engine, which must outlive it. A model of packet_engine itself: a pump or worker runs it like any other. What the engine decides
/// stands; where a packet leaves, and to which link address, the router says. Every frame ends in one verdict: the router's drops are counted by
/// the router, the engine's by the engine.
template <packet_engine Engine>
class routed_engine {
  public:
    routed_engine(Engine& engine, router_config const& config) : engine_(engine), router_(config) {}

    /// From now on these checks go the way of its packets, but not through the engine. Borrowed; null: none.
    void carry(health_checks* checks) noexcept { checks_ = checks; }

    /// Reorders the burst: what the router decides on alone comes last. The rest keeps its order.
    void process(std::span<frame> burst, time_point now, outbox& out) noexcept {
        router_.begin(now);
        std::size_t count = 0;
        for (std::size_t i = 0; i < burst.size(); ++i) {
            if (checks_ != nullptr && checks_->take(burst[i], now)) continue;
            if (!router_.arrive(burst[i], out)) continue;
            if (count != i) std::swap(burst[count], burst[i]);
            ++count;
        }
        std::size_t const first = out.used();
        if (count != 0) engine_.process(burst.first(count), now, out);
        for (frame& f : burst.first(count)) settle(f);
        router_.depart(out, first, next_hop());
        router_.finish(out);
    }

    /// When ICMP errors wait for the engine, they are what this call is about; the engine's timers then come with the next, which is due at once.
    void advance(time_point now, outbox& out) noexcept {
        router_.begin(now);
        std::size_t const first = out.used();
        if (router_.errors_waiting()) {
            std::array<frame, routed_errors_per_advance> errors;
            std::span<frame> const some{errors.data(), router_.begin_errors(errors)};
            engine_.process(some, now, out);
            router_.depart(out, first, next_hop());
            router_.end_errors(some, out, next_hop());
        } else {
            engine_.advance(now, out);
            if (checks_ != nullptr) checks_->advance(now, out);  // behind the engine, which knows what time it is when a server goes down
            router_.depart(out, first, next_hop());
        }
        router_.finish(out);
    }

    [[nodiscard]] std::optional<time_point> next_deadline() const noexcept {
        std::optional<time_point> due = engine_.next_deadline();
        auto const also = [&due](std::optional<time_point> const& t) { due = due && t ? std::min(*due, *t) : due ? due : t; };
        also(router_.next_deadline());
        if (checks_ != nullptr) also(checks_->next_deadline());
        return due;
    }

    void drain() noexcept
        requires requires(Engine& e) { e.drain(); }
    {
        engine_.drain();
        if (checks_ != nullptr) checks_->drain();
    }

    [[nodiscard]] Engine& engine() noexcept { return engine_; }
    [[nodiscard]] Engine const& engine() const noexcept { return engine_; }
    [[nodiscard]] halfproxy::router const& router() const noexcept { return router_; }
    [[nodiscard]] halfproxy::router& router() noexcept { return router_; }

  private:
    /// The pump sends `forward` through the other port and `reply` through the port of arrival, so the outcome says which port it is.
    void settle(frame& f) noexcept {
        if (f.outcome != verdict::forward && f.outcome != verdict::reply) return;
        bool const onward = f.outcome == verdict::forward;
        departure const d = router_.depart(f, onward ? other(f.arrival) : f.arrival, onward, next_hop()(f.via));
        f.outcome = d.outcome != verdict::forward ? d.outcome : d.exit == f.arrival ? verdict::reply : verdict::forward;
        f.reason = d.reason;
    }

    /// Where the engine leads packets although they keep their destination.
    [[nodiscard]] auto next_hop() const noexcept {
        return [&engine = engine_](std::uint32_t via) noexcept {
            if constexpr (requires(Engine const& e) { e.next_hop_of(via); })
                return engine.next_hop_of(via);
            else
                return static_cast<void>(engine), static_cast<void>(via), ip_address{};  // clang 14 warns of what is captured for one branch
        };
    }

    Engine& engine_;
    halfproxy::router router_;
    health_checks* checks_ = nullptr;
};

}  // namespace halfproxy
