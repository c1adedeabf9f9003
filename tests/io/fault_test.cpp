// SPDX-License-Identifier: BSL-1.0
// A bad wire: every fault happens as often as planned, no frame is invented, and the same seed does the same.
#include <halfproxy/io/fault.hpp>

#include <halfproxy/io/memory.hpp>

#include "tests/support/packets.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <set>

using namespace halfproxy;
using namespace halfproxy::test;
using namespace std::chrono_literals;

namespace {

constexpr time_point at(std::chrono::nanoseconds t) { return time_point{t}; }
static_assert(packet_io<fault_io<memory_io>>);
static_assert(!pollable_packet_io<fault_io<memory_io>>);

struct bad_wire {
    explicit bad_wire(fault_plan const& plan) : io(inner, plan) {}

    /// Pushes frames `from` to `to`, each with its number as content, and receives what comes at `now`.
    std::vector<unsigned> pass(unsigned from, unsigned to, time_point now) {
        for (unsigned i = from; i < to; ++i) inner.push(u16(i));
        return receive(now);
    }
    std::vector<unsigned> receive(time_point now) {
        io.set_time(now);
        std::vector<unsigned> out;
        std::array<frame, 16> in;
        while (std::size_t const n = io.receive(in))
            for (std::size_t i = 0; i < n; ++i)
                out.push_back(static_cast<unsigned>(in[i].data[0] << 8 | in[i].data[1]));
        return out;
    }

    memory_io inner{{.frames = 4096}};
    fault_io<memory_io> io;
};

std::vector<unsigned> numbers(unsigned from, unsigned to) {
    std::vector<unsigned> out;
    for (unsigned i = from; i < to; ++i) out.push_back(i);
    return out;
}

}  // namespace

TEST_CASE("a plan without faults passes every frame unchanged and in order") {
    bad_wire wire({});
    CHECK(wire.pass(0, 1000, at(0s)) == numbers(0, 1000));
    CHECK(wire.io.counters().received == 1000);
    CHECK(wire.io.next_release() == std::nullopt);
}

TEST_CASE("drop: as many are lost as planned, the others keep their order") {
    fault_plan plan;
    plan.drop = 0.25;
    bad_wire wire(plan);
    std::vector<unsigned> const got = wire.pass(0, 4000, at(0s));
    CHECK(got.size() + wire.io.counters().dropped == 4000);
    CHECK(wire.io.counters().dropped > 850);  // 5 standard deviations around 1000 are 863 and 1137
    CHECK(wire.io.counters().dropped < 1150);
    CHECK(std::is_sorted(got.begin(), got.end()));
}

TEST_CASE("drop with probability 1 loses all, with 0 none") {
    fault_plan plan;
    plan.drop = 1;
    bad_wire wire(plan);
    CHECK(wire.pass(0, 100, at(0s)).empty());
}

TEST_CASE("duplicate: every copy follows, and no frame is there more than twice") {
    fault_plan plan;
    plan.duplicate = 1;
    plan.slots = 64;
    bad_wire wire(plan);
    std::vector<unsigned> got = wire.pass(0, 50, at(0s));
    CHECK(wire.io.counters().duplicated == 50);
    std::sort(got.begin(), got.end());
    std::vector<unsigned> twice;
    for (unsigned i = 0; i < 50; ++i) twice.insert(twice.end(), 2, i);
    CHECK(got == twice);
}

TEST_CASE("corrupt: exactly one bit of a corrupted frame differs, and nobody vouches for its checksum any more") {
    fault_plan plan;
    plan.corrupt = 1;
    memory_io inner;
    fault_io io(inner, plan);
    byte_string const clean = zeros(100);
    std::set<std::size_t> places;
    for (int i = 0; i < 50; ++i) {
        offload_info offload;
        offload.checksum = checksum_state::verified;
        inner.push(clean, 0, offload);
        std::array<frame, 1> in;
        REQUIRE(io.receive(in) == 1);
        int bits = 0;
        for (std::size_t b = 0; b < in[0].length; ++b)
            for (int v = in[0].data[b]; v != 0; v >>= 1)
                if (v & 1) ++bits, places.insert(b);
        CHECK(bits == 1);
        CHECK(in[0].offload.checksum == checksum_state::unknown);
    }
    CHECK(places.size() > 20);
}

TEST_CASE("an empty frame cannot be corrupted and passes") {
    fault_plan plan;
    plan.corrupt = 1;
    memory_io inner;
    fault_io io(inner, plan);
    inner.push({});
    std::array<frame, 1> in;
    CHECK(io.receive(in) == 1);
    CHECK(io.counters().corrupted == 0);
}

TEST_CASE("delay: nothing comes before delay_least, all has come after delay_most, next_release tells when") {
    fault_plan plan;
    plan.delay = 1;
    plan.delay_least = 5ms;
    plan.delay_most = 9ms;
    bad_wire wire(plan);
    CHECK(wire.pass(0, 20, at(0s)).empty());
    REQUIRE(wire.io.next_release());
    CHECK(*wire.io.next_release() >= at(5ms));
    CHECK(wire.receive(at(5ms) - 1ns).empty());
    std::vector<unsigned> got = wire.receive(at(7ms));
    std::vector<unsigned> const rest = wire.receive(at(9ms));
    CHECK(!got.empty());
    CHECK(!rest.empty());
    got.insert(got.end(), rest.begin(), rest.end());
    std::sort(got.begin(), got.end());
    CHECK(got == numbers(0, 20));
    CHECK(wire.io.next_release() == std::nullopt);
}

TEST_CASE("reorder: a frame is overtaken by reorder_gap frames") {
    fault_plan plan;
    plan.reorder = 1;
    plan.reorder_gap = 2;
    plan.slots = 1;  // the first frame is held; for the next ones there is no slot
    bad_wire wire(plan);
    CHECK(wire.pass(0, 4, at(0s)) == std::vector<unsigned>{1, 2, 3, 0});
    CHECK(wire.io.counters().reordered == 1);
    CHECK(wire.io.counters().no_slot == 3);
}

TEST_CASE("reorder: a frame that nothing follows comes after reorder_wait") {
    fault_plan plan;
    plan.reorder = 1;
    plan.reorder_wait = 3ms;
    bad_wire wire(plan);
    CHECK(wire.pass(7, 8, at(0s)).empty());
    CHECK(wire.receive(at(2ms)).empty());
    CHECK(wire.receive(at(3ms)) == std::vector<unsigned>{7});
}

TEST_CASE("all faults together: every frame is delivered once or counted as dropped, or twice when duplicated") {
    fault_plan plan;
    plan.drop = plan.duplicate = plan.delay = plan.reorder = 0.1;
    bad_wire wire(plan);
    std::size_t got = 0;
    for (unsigned round = 0; round < 100; ++round) got += wire.pass(0, 40, at(round * 1ms)).size();
    got += wire.receive(at(10s)).size();
    fault_counters const& c = wire.io.counters();
    CHECK(c.received == 4000);
    CHECK(got == c.received - c.dropped + c.duplicated);
    CHECK(c.delayed > 200);
    CHECK(c.reordered > 200);
    CHECK(wire.io.next_release() == std::nullopt);
}

TEST_CASE("the same seed does the same, another one does not") {
    fault_plan plan;
    plan.drop = plan.duplicate = plan.delay = 0.2;
    auto const run = [&plan](std::uint64_t seed) {
        plan.seed = seed;
        bad_wire wire(plan);
        std::vector<unsigned> got = wire.pass(0, 500, at(0s));
        std::vector<unsigned> const rest = wire.receive(at(1s));
        got.insert(got.end(), rest.begin(), rest.end());
        return got;
    };
    CHECK(run(42) == run(42));
    CHECK(run(42) != run(43));
}

TEST_CASE("frames held back keep their bytes, slack and metadata while the inner port's buffers are used again") {
    fault_plan plan;
    plan.delay = 1;
    memory_io inner({.link = link_type::raw_ip, .frames = 1});
    fault_io io(inner, plan);
    std::array<frame, 2> in;
    inner.push(byte_string{1, 2, 3}, 77);
    CHECK(io.receive(in) == 0);
    io.set_time(at(1s));
    inner.push(byte_string{9, 9, 9});
    REQUIRE(io.receive(in) == 1);
    CHECK(byte_string(in[0].data, in[0].data + in[0].length) == byte_string{1, 2, 3});
    CHECK(in[0].wire_length == 77);
    CHECK(in[0].link == link_type::raw_ip);
    CHECK(in[0].capacity >= in[0].length + frame_slack_bytes);
}

TEST_CASE("a frame longer than slot_bytes passes without the faults that would hold it") {
    fault_plan plan;
    plan.delay = 1;
    plan.slot_bytes = 10;
    memory_io inner;
    fault_io io(inner, plan);
    inner.push(zeros(11));
    std::array<frame, 1> in;
    CHECK(io.receive(in) == 1);
    CHECK(io.counters().no_slot == 1);
}
