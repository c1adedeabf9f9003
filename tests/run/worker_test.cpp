// SPDX-License-Identifier: BSL-1.0
// The worker: sleeps and wakes for packets and timers, shares its io_context, and stops as asked.
#include <halfproxy/run/worker.hpp>

#include "tests/support/socket_io.hpp"
#include "tests/support/wire_engine.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <csignal>
#include <functional>
#include <memory>

using namespace halfproxy;
using namespace halfproxy::test;
using namespace std::chrono_literals;
using bytes = std::vector<std::uint8_t>;

namespace {

/// Two socket ports, an engine and a worker; run_until() drives the io_context until a condition holds, for 5 s at most.
struct fixture {
    explicit fixture(worker_options const& options = {}) : worker(context, outside, inside, engine, options) {}

    bool run_until(std::function<bool()> const& condition) {
        auto const limit = std::chrono::steady_clock::now() + 5s;
        while (std::chrono::steady_clock::now() < limit) {
            if (condition()) return true;
            context.run_one_for(10ms);
        }
        return false;
    }
    void run_for(std::chrono::milliseconds t) {
        context.restart();
        context.run_for(t);
    }

    boost::asio::io_context context{};
    socket_io outside{};
    socket_io inside{};
    wire_engine engine{};
    halfproxy::worker<socket_io, wire_engine> worker;
    int done = 0;
};

}  // namespace

TEST_CASE("a sleeping worker wakes for a packet on either port") {
    fixture f;
    f.worker.start([&] { ++f.done; });
    REQUIRE(f.run_until([&] { return f.worker.counters().sleeps > 0; }));
    f.outside.network_sends({1});
    CHECK(f.run_until([&] { return f.inside.network_gets() == bytes{1}; }));
    f.inside.network_sends({2});
    CHECK(f.run_until([&] { return f.outside.network_gets() == bytes{2}; }));
}

TEST_CASE("what was waiting before start is served") {
    fixture f;
    f.outside.network_sends({1});
    f.worker.start();
    CHECK(f.run_until([&] { return f.inside.network_gets() == bytes{1}; }));
}

TEST_CASE("the engine's deadline wakes it though no packet comes") {
    fixture f;
    f.engine.deadline = steady_now{}() + 20ms;
    f.worker.start();
    CHECK(f.run_until([&] { return f.engine.advances == 1; }));
    CHECK(f.worker.counters().steps < 100);
}

TEST_CASE("a deadline that moves nearer while packets flow is kept") {
    fixture f;
    f.engine.deadline = steady_now{}() + 1h;
    f.worker.start();
    REQUIRE(f.run_until([&] { return f.worker.counters().sleeps > 0; }));
    f.engine.deadline = steady_now{}() + 20ms;
    f.outside.network_sends({1});
    CHECK(f.run_until([&] { return f.engine.advances == 1; }));
}

TEST_CASE("stop serves what is in flight, runs the timers a last time and completes once") {
    fixture f;
    f.worker.start([&] { ++f.done; });
    for (int i = 0; i < 20; ++i) REQUIRE(f.outside.network_sends({static_cast<std::uint8_t>(i)}));
    f.worker.stop();
    f.worker.stop();
    f.context.run_for(5s);
    CHECK(f.context.stopped());  // no handler is left
    CHECK(f.done == 1);
    CHECK(f.engine.from_outside == 20);
    CHECK(f.engine.advances == 1);
    CHECK(f.engine.drains == 1);
}

TEST_CASE("stop ends a sleep at once, and a worker that never started") {
    for (bool const started : {true, false}) {
        fixture f;
        if (started) {
            f.worker.start([&] { ++f.done; });
            REQUIRE(f.run_until([&] { return f.worker.counters().sleeps > 0; }));
        }
        f.worker.stop();
        f.context.restart();
        f.context.run_for(5s);
        CHECK(f.context.stopped());
        CHECK(f.done == (started ? 1 : 0));
    }
}

TEST_CASE("a drain under endless load ends when its time is over") {
    fixture f({.drain = 30ms});
    // Every frame is answered to the port it came from, and the network sends it again at once.
    f.worker.start([&] { ++f.done; });
    f.outside.network_sends({wire_engine::reply_to_it});
    std::function<void()> const echo = [&] {
        if (f.done != 0) return;
        if (bytes const got = f.outside.network_gets(); !got.empty()) f.outside.network_sends(got);
        boost::asio::post(f.context, echo);
    };
    echo();
    f.run_until([&] { return f.engine.from_outside > 100; });
    auto const begin = std::chrono::steady_clock::now();
    f.worker.stop();
    CHECK(f.run_until([&] { return f.done == 1; }));
    CHECK(std::chrono::steady_clock::now() - begin < 2s);
}

TEST_CASE("a worker that was busy for long, and did not watch its descriptors meanwhile, sleeps and wakes for either port again") {
    fixture f({.steps_per_visit = 1});
    f.worker.start([&] { ++f.done; });
    for (int round = 1; round <= 3; ++round) {
        f.outside.network_sends({wire_engine::reply_to_it});
        REQUIRE(f.run_until([&] {  // every frame is answered to the port it came from, and the network sends it again at once
            if (!f.outside.network_gets().empty()) f.outside.network_sends({wire_engine::reply_to_it});
            return f.worker.counters().unwatched == static_cast<std::uint64_t>(round);
        }));
        static_cast<void>(f.run_until([&] { return !f.outside.network_gets().empty(); }));
        std::uint64_t const sleeps = f.worker.counters().sleeps;
        REQUIRE(f.run_until([&] { return f.worker.counters().sleeps > sleeps; }));
        for (int packet = 0; packet < 5; ++packet) {
            f.outside.network_sends({1});
            REQUIRE(f.run_until([&] { return f.inside.network_gets() == bytes{1}; }));
            f.inside.network_sends({2});
            REQUIRE(f.run_until([&] { return f.outside.network_gets() == bytes{2}; }));
            f.run_for(5ms);
        }
    }
    f.worker.stop();
    f.context.restart();
    f.context.run_for(5s);
    CHECK(f.context.stopped());
    CHECK(f.done == 1);
}

TEST_CASE("a signal's handler stops it") {
    fixture f;
    boost::asio::signal_set signals(f.context, SIGUSR1);
    signals.async_wait([&](boost::system::error_code const&, int) { f.worker.stop(); });
    f.worker.start([&] { ++f.done; });
    std::raise(SIGUSR1);
    CHECK(f.run_until([&] { return f.done == 1; }));
}

TEST_CASE("other handlers of the io_context get their turn while packets keep coming") {
    fixture f;
    f.worker.start();
    int ticks = 0;
    std::function<void()> const tick = [&] {
        f.outside.network_sends({1});
        f.inside.network_gets();
        if (++ticks < 200) boost::asio::post(f.context, tick);
    };
    tick();
    CHECK(f.run_until([&] { return ticks == 200; }));
}

TEST_CASE("a worker without packets does nothing") {
    fixture f;
    f.worker.start();
    f.run_for(100ms);
    CHECK(f.worker.counters().steps <= 4);
}

TEST_CASE("with light load it sleeps between packets and does not spin") {
    fixture f;
    f.worker.start();
    for (int i = 0; i < 20; ++i) {
        f.outside.network_sends({1});
        f.run_for(5ms);
    }
    CHECK(f.run_until([&] { return f.engine.from_outside == 20; }));
    CHECK(f.worker.counters().steps < 20 * 10);
}

namespace {

struct quick_clock {  // a step in 0.1 ms, so that few packets make a flood
    std::shared_ptr<time_point> now = std::make_shared<time_point>(1h);
    time_point operator()() const { return *now += 100us; }
};

}  // namespace

TEST_CASE("a flood that ends here is let gather; not when that is switched off, and not when it passes") {
    struct row {
        std::chrono::nanoseconds gather;
        std::uint8_t packet;
        bool pauses;
    };
    for (row const r : {row{50us, wire_engine::drop_it, true}, row{0us, wire_engine::drop_it, false}, row{50us, 1, false}}) {
        CAPTURE(r.gather.count());
        CAPTURE(unsigned{r.packet});
        boost::asio::io_context context;
        socket_io outside, inside;
        wire_engine engine;
        halfproxy::worker<socket_io, wire_engine, quick_clock> w(context, outside, inside, engine, {.gather = r.gather, .steps_per_visit = 1});
        w.start();
        for (int visit = 0; visit < 200; ++visit) {
            for (int i = 0; i < 20; ++i) outside.network_sends({r.packet});
            context.run_one_for(10ms);
            while (!inside.network_gets().empty()) {}
        }
        CHECK((w.counters().pauses > 20) == r.pauses);
        CHECK((w.counters().pauses == 0) != r.pauses);
        CHECK(engine.from_outside > 2000);
        w.stop();
        context.restart();
        context.run_for(5s);
    }
}

namespace {

/// A port that while it is told of a flood has frames of which its descriptor does not tell.
struct flood_aware : socket_io {
    bool flooded = false;
    int told = 0;
    int untold_frames = 0;

    void set_flooded(bool on) noexcept { flooded = on, ++told; }
    std::size_t receive(std::span<frame> frames) noexcept {
        if (untold_frames != 0 && network_sends({wire_engine::drop_it})) --untold_frames;
        return socket_io::receive(frames);
    }
};

}  // namespace

TEST_CASE("ports that can do something about a flood are told of its begin and of its end, whatever gathering does") {
    quick_clock now;
    boost::asio::io_context context;
    flood_aware outside;
    socket_io inside;
    wire_engine engine;
    halfproxy::worker<flood_aware, wire_engine, quick_clock, socket_io> w(context, outside, inside, engine, {.gather = 0ns, .steps_per_visit = 1}, now);
    w.start();
    auto const visits = [&](int count, int packets) {
        for (int visit = 0; visit < count; ++visit) {
            for (int i = 0; i < packets; ++i) outside.network_sends({wire_engine::drop_it});
            context.run_one_for(10ms);
        }
    };
    visits(5, 1);
    CHECK(outside.told == 0);
    visits(50, 20);
    CHECK(outside.flooded);
    CHECK(outside.told == 1);
    CHECK(w.counters().floods == 1);
    *now.now += 2s;
    visits(50, 1);
    CHECK_FALSE(outside.flooded);
    CHECK(outside.told == 2);
    w.stop();
    context.run_for(5s);
}

TEST_CASE("while a port is told of a flood, what its descriptor does not tell of is found within milliseconds") {
    boost::asio::io_context context;
    flood_aware outside;
    socket_io inside;
    wire_engine engine;
    halfproxy::worker<flood_aware, wire_engine, quick_clock, socket_io> w(context, outside, inside, engine, {.spin = 0ns, .steps_per_visit = 1});
    w.start();
    for (int visit = 0; visit < 50; ++visit) {
        for (int packet = 0; packet < 20; ++packet) outside.network_sends({wire_engine::drop_it});
        context.run_one_for(10ms);
    }
    REQUIRE(outside.flooded);
    context.run_for(20ms);
    std::size_t const before = engine.from_outside;
    auto const sleeps = w.counters().sleeps;
    outside.untold_frames = 1;
    context.run_for(100ms);
    CHECK(engine.from_outside == before + 1);
    CHECK(w.counters().sleeps > sleeps + 5);
    CHECK(w.counters().sleeps < sleeps + 200);
    w.stop();
    context.run_for(5s);
}

TEST_CASE("a descriptor that is ready for nothing does not keep the processor busy") {
    fixture f;
    f.outside.muted = true;
    f.outside.network_sends({1});
    f.worker.start();
    f.run_for(100ms);
    CHECK(f.worker.counters().steps < 100);
    CHECK(f.worker.counters().empty_wakes >= 16);
    f.outside.muted = false;  // the device has recovered: its packet comes through, and readiness counts again
    CHECK(f.run_until([&] { return f.inside.network_gets() == bytes{1}; }));
}

TEST_CASE("the descriptors stay open when the worker goes") {
    socket_io outside;
    socket_io inside;
    wire_engine engine;
    boost::asio::io_context context;
    { halfproxy::worker<socket_io, wire_engine> w(context, outside, inside, engine); }
    CHECK(fcntl(outside.native_handle(), F_GETFD) >= 0);
    CHECK(fcntl(inside.native_handle(), F_GETFD) >= 0);
}

TEST_CASE("a descriptor that cannot be watched is an error, and the other one stays open") {
    struct closed_io : socket_io {
        [[nodiscard]] int native_handle() const noexcept { return -1; }
    };
    socket_io outside;
    closed_io inside;
    wire_engine engine;
    boost::asio::io_context context;
    using mixed_worker = halfproxy::worker<socket_io, wire_engine, steady_now, closed_io>;
    CHECK_THROWS_AS(mixed_worker(context, outside, inside, engine), boost::system::system_error);
    CHECK(fcntl(outside.native_handle(), F_GETFD) >= 0);
}
