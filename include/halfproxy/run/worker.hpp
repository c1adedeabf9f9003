// SPDX-License-Identifier: BSL-1.0
// A pump driven by Boost.Asio: sleeps when both ports are empty, wakes for packets and for the engine's timers.
#pragma once

#include <halfproxy/core/time.hpp>
#include <halfproxy/io/packet_io.hpp>
#include <halfproxy/run/adaptive_spin.hpp>
#include <halfproxy/run/gathering.hpp>
#include <halfproxy/run/pump.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>

namespace halfproxy {

/// The system's steady clock as the packets' time.
struct steady_now {
    [[nodiscard]] time_point operator()() const noexcept {
        return time_point{
            std::chrono::duration_cast<packet_clock::duration>(std::chrono::steady_clock::now().time_since_epoch())};
    }
};

struct worker_options {
    std::chrono::nanoseconds spin = std::chrono::microseconds{200};   ///< longest poll of empty ports; 0: sleep at once
    std::uint32_t flood_per_s = 100'000;  ///< packets per second that do not pass and are a flood; 1,000 at least (gathering.hpp)
    std::chrono::nanoseconds gather = std::chrono::microseconds{50};  ///< in a flood, for packets to gather (gathering.hpp); the system adds some; 0: never
    std::chrono::nanoseconds drain = std::chrono::milliseconds{200};  ///< longest time stop() goes on forwarding
    std::uint32_t steps_per_visit = 32;  ///< pump steps before other handlers of the io_context get their turn
};

/// How often a worker did what; for reports and tests.
struct worker_counters {
    std::uint64_t steps = 0;
    std::uint64_t sleeps = 0;
    std::uint64_t pauses = 0;       ///< in a flood, for packets to gather
    std::uint64_t floods = 0;       ///< begun, of which the ports were told
    std::uint64_t empty_wakes = 0;  ///< a descriptor was ready and its port gave nothing
    std::uint64_t unwatched = 0;    ///< it was awake for so long that it gave up watching the descriptors until the next sleep
};

/// Runs one engine between two ports on one io_context, which one thread runs. Everything is borrowed. The worker must
/// live until the io_context has run out of work or is destroyed.
///
/// The descriptors are watched, not owned: they are put into non-blocking mode and otherwise left as they were. Signals
/// are the business of whoever owns the io_context: a signal_set whose handler calls stop().
///
/// `Clock` says what time it is; only the engine's deadlines are turned into waits of the system's steady clock.
template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock = steady_now,
          pollable_packet_io InsideIo = Io>
class worker {
  public:
    /// Throws boost::system::system_error when a descriptor cannot be watched.
    worker(boost::asio::io_context& context, Io& outside, InsideIo& inside, Engine& engine,
           worker_options const& options = {}, Clock clock = {});
    ~worker();
    worker(worker const&) = delete;
    worker& operator=(worker const&) = delete;

    /// Begins to forward once the io_context runs. `done` is called once, on the io_context, after stop().
    void start(std::function<void()> done = {});

    /// From any thread. Tells the engine to open no more flows, if it has a drain(); goes on until both ports are empty,
    /// for options.drain at most; runs the timers that are due a last time; calls `done`. What arrives later is left to
    /// the ports.
    void stop();

    [[nodiscard]] pump<Io, Engine, InsideIo> const& packets() const noexcept { return pump_; }
    [[nodiscard]] worker_counters const& counters() const noexcept { return counters_; }

  private:
    enum class phase : std::uint8_t { idle, running, sleeping, draining, finished };

    void visit();
    bool step();
    void pause_in_flood(std::size_t received, time_point now);
    void tell_of_flood(time_point now);
    void leave_to_others();
    void unwatch();
    void sleep(time_point now);
    void arm(std::size_t port);
    void arm_timer(time_point now);
    void on_ready(std::size_t port, boost::system::error_code const& error);
    void on_timer(boost::system::error_code const& error);
    void wake(bool by_packet);
    void begin_drain();
    void finish(time_point now);
    void one_came_back();

    boost::asio::io_context& context_;
    pump<Io, Engine, InsideIo> pump_;
    worker_options options_;
    Clock clock_;
    adaptive_spin spin_;
    gathering gathering_;
    bool told_of_flood_ = false;
    std::array<int, 2> handles_;
    std::array<boost::asio::posix::stream_descriptor, 2> descriptors_;
    boost::asio::steady_timer timer_;
    std::function<void()> done_{};
    worker_counters counters_{};
    phase phase_ = phase::idle;
    std::array<bool, 2> armed_{};
    std::optional<time_point> timer_due_{};
    time_point idle_since_{};
    time_point slept_at_{};
    packet_clock::duration slept_for_{};
    time_point drain_until_{};
    bool woken_by_packet_ = false;
    std::uint32_t empty_wakes_in_row_ = 0;
    std::uint32_t visits_awake_ = 0;
    std::uint32_t outstanding_ = 0;  ///< handlers that will still be called
};

}  // namespace halfproxy

#include <halfproxy/run/impl/worker.hpp>
