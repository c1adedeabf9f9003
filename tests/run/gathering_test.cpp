// SPDX-License-Identifier: BSL-1.0
// Pauses are for floods alone.
#include <halfproxy/run/gathering.hpp>

#include <doctest/doctest.h>

using namespace halfproxy;
using namespace std::chrono_literals;

namespace {

/// Steps of 20 us; so many packets in each, of which so many pass.
struct ports {
    gathering g{100'000};
    time_point now{1h};

    bool step(std::size_t received, std::size_t passed = 0) { return g.pays_after(received, passed, now += 20us); }
    bool run(std::chrono::microseconds time, std::size_t received, std::size_t passed = 0) {
        bool last = false;
        for (auto const end = now + time; now < end;) last = step(received, passed);
        return last;
    }
};

}  // namespace

TEST_CASE("a flood that ends here gathers after a millisecond of it") {
    ports p;
    CHECK_FALSE(p.step(8));  // the window before was endless, and empty
    CHECK_FALSE(p.run(980us, 8));
    CHECK(p.step(8));
    CHECK(p.run(5ms, 8));
}

TEST_CASE("while it gathers, a step that took many packets is followed by the next one at once, an empty one by a pause") {
    ports p;
    p.run(3ms, 8);
    CHECK(p.step(gathering::enough - 1));
    CHECK_FALSE(p.step(gathering::enough));
    CHECK(p.step(0));
}

TEST_CASE("traffic that passes never waits, nor do a few packets") {
    ports passing, mixed, few;
    for (int i = 0; i < 1000; ++i) {
        REQUIRE_FALSE(passing.step(8, 8));
        REQUIRE_FALSE(mixed.step(15, 1));
        REQUIRE_FALSE(few.step(1));  // 50,000 per second
    }
}

TEST_CASE("one packet in sixteen may pass") {
    ports p;
    CHECK(p.run(3ms, 16, 1));
}

TEST_CASE("it ends with the first window without a flood, and with one that lasted long") {
    ports quiet, silent;
    quiet.run(3ms, 8);
    quiet.run(1ms, 1);
    CHECK_FALSE(quiet.run(1ms, 1));
    silent.run(3ms, 8);
    silent.now += 10ms;  // nobody asked
    CHECK_FALSE(silent.step(0));
    CHECK_FALSE(silent.step(8));
}

TEST_CASE("ports are told of a flood for a second longer than it lasts, however much passes beside it") {
    ports p;
    CHECK_FALSE(p.g.flooded(p.now));
    p.run(3ms, 8);
    CHECK(p.g.flooded(p.now));
    p.run(900ms, 0);
    CHECK(p.g.flooded(p.now));
    p.run(200ms, 0);
    CHECK_FALSE(p.g.flooded(p.now));
    CHECK_FALSE(p.run(3ms, 8, 7));  // 50,000 per second do not pass
    CHECK_FALSE(p.g.flooded(p.now));
    CHECK_FALSE(p.run(3ms, 15, 12));  // 150,000
    CHECK(p.g.flooded(p.now));
}

TEST_CASE("how many packets per second are a flood can be chosen; fewer than one per window are none") {
    ports low{.g = gathering{5'000}}, high{.g = gathering{1'000'000}}, least{.g = gathering{0}};
    low.run(3ms, 1);  // 50,000 per second
    CHECK(low.g.flooded(low.now));
    high.run(3ms, 8);  // 400,000
    CHECK_FALSE(high.g.flooded(high.now));
    least.run(3ms, 0);
    CHECK_FALSE(least.g.flooded(least.now));
}
