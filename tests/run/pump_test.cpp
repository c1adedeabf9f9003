// SPDX-License-Identifier: BSL-1.0
// The pump: what arrives leaves through the right port, in order, in place, and nothing is lost without being counted.
#include <halfproxy/run/pump.hpp>

#include "tests/support/queue_io.hpp"
#include "tests/support/wire_engine.hpp"

#include <doctest/doctest.h>

#include <chrono>

using namespace halfproxy;
using namespace halfproxy::test;
using namespace std::chrono_literals;

namespace {

/// Two ports, an engine and the pump between them.
struct fixture {
    queue_io outside{};
    queue_io inside{};
    wire_engine engine{};
    halfproxy::pump<queue_io, wire_engine> pump{outside, inside, engine};
};

constexpr time_point at(std::chrono::nanoseconds t) { return time_point{t}; }

void fill(queue_io& port, std::size_t frames) {
    for (std::size_t i = 0; i < frames; ++i)
        port.waiting.push_back({static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i >> 8), 0});
}

}  // namespace

TEST_CASE("a frame from either port leaves through the other one, in the order of arrival") {
    fixture f;
    f.outside.waiting = {{1}, {2}};
    f.inside.waiting = {{3}, {4}};
    CHECK(f.pump.step(at(1s)) == 4);
    CHECK(f.inside.sent == std::vector<frame_bytes>{{1}, {2}});
    CHECK(f.outside.sent == std::vector<frame_bytes>{{3}, {4}});
    CHECK(f.engine.from_outside == 2);
    CHECK(f.engine.from_inside == 2);
    CHECK(f.engine.last_time == at(1s));
}

TEST_CASE("a reply leaves through the port it came from, held and dropped frames through none") {
    fixture f;
    f.outside.waiting = {{wire_engine::reply_to_it}, {wire_engine::hold_it}, {wire_engine::drop_it}, {7}};
    CHECK(f.pump.step(at(0s)) == 4);
    CHECK(f.outside.sent == std::vector<frame_bytes>{{wire_engine::reply_to_it}});
    CHECK(f.inside.sent == std::vector<frame_bytes>{{7}});
    CHECK(f.pump.counters(side::outside).received == 4);
    CHECK(f.pump.counters(side::outside).sent == 1);
    CHECK(f.pump.counters(side::inside).sent == 1);
}

TEST_CASE("what the engine originates leaves after the frames of the same burst") {
    fixture f;
    f.outside.waiting = {{wire_engine::originate_to_both}, {7}};
    f.pump.step(at(0s));
    CHECK(f.inside.sent == std::vector<frame_bytes>{{wire_engine::originate_to_both}, {7}, {0xee}});
    CHECK(f.outside.sent == std::vector<frame_bytes>{{0xee}});
}

TEST_CASE("the bytes are sent from where they were received, with their offload") {
    fixture f;
    f.outside.offload = {.checksum = checksum_state::partial, .segment_size = 1448};
    f.outside.waiting = {{1, 2, 3}};
    f.pump.step(at(0s));
    REQUIRE(f.inside.sent_from.size() == 1);
    CHECK(f.inside.sent_from[0] == f.outside.lent(0));
    CHECK(f.inside.sent_offload[0].checksum == checksum_state::partial);
    CHECK(f.inside.sent_offload[0].segment_size == 1448);
}

TEST_CASE("one step takes at most a burst from each port, so that a flood on one side cannot starve the other") {
    fixture f;
    fill(f.outside, 10 * pump_burst);
    fill(f.inside, 5);
    CHECK(f.pump.step(at(0s)) == pump_burst + 5);
    CHECK(f.outside.waiting.size() == 9 * pump_burst);
    CHECK(f.inside.waiting.empty());
}

TEST_CASE("an outcome of an earlier burst does not show in a later one") {
    fixture f;
    f.outside.waiting = {{wire_engine::drop_it}};
    f.pump.step(at(0s));
    f.outside.waiting = {{1}};
    f.pump.step(at(0s));
    CHECK(f.engine.stale_outcomes == 0);
    CHECK(f.inside.sent == std::vector<frame_bytes>{{1}});
}

TEST_CASE("frames a port has no room for are counted there and the rest goes on") {
    fixture f;
    f.inside.room = 2;
    fill(f.outside, 5);
    f.pump.step(at(0s));
    CHECK(f.inside.sent.size() == 2);
    CHECK(f.pump.counters(side::inside).sent == 2);
    CHECK(f.pump.counters(side::inside).not_taken == 3);
    CHECK(f.pump.counters(side::outside).not_taken == 0);
}

TEST_CASE("empty ports call no engine and give 0") {
    fixture f;
    CHECK(f.pump.step(at(0s)) == 0);
    CHECK(f.engine.bursts == 0);
}

TEST_CASE("timers run when their deadline has come, and not before") {
    fixture f;
    f.engine.deadline = at(10ms);
    f.pump.step(at(9ms));
    CHECK(f.engine.advances == 0);
    f.pump.step(at(10ms));
    CHECK(f.engine.advances == 1);
    CHECK(f.engine.last_time == at(10ms));
    f.pump.step(at(11ms));
    CHECK(f.engine.advances == 1);
}

TEST_CASE("all that timers originate at once leaves, over more than one batch") {
    fixture f;
    f.engine.originate_on_advance = outbox_per_advance;
    f.pump.advance(at(0s));
    CHECK(f.inside.sent.size() == outbox_per_advance);
    CHECK(f.pump.counters(side::inside).sent == outbox_per_advance);
}

TEST_CASE("the two ports may be of different types") {
    struct counting_sink {
        std::size_t taken = 0;
        std::size_t receive(std::span<frame>) noexcept { return 0; }
        std::size_t transmit(std::span<tx_frame const> frames) noexcept {
            return taken += frames.size(), frames.size();
        }
        [[nodiscard]] io_capabilities capabilities() const noexcept { return {}; }
    };
    queue_io outside;
    counting_sink inside;
    wire_engine engine;
    halfproxy::pump<queue_io, wire_engine, counting_sink> pump{outside, inside, engine};
    fill(outside, 3);
    CHECK(pump.step(at(0s)) == 3);
    CHECK(inside.taken == 3);
}
