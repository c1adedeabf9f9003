// SPDX-License-Identifier: BSL-1.0
// What one source may ask for, and that nobody else can use it up.
#include <halfproxy/admit/limits.hpp>
#include <halfproxy/core/random.hpp>

#include <doctest/doctest.h>

using namespace halfproxy;

namespace {

source_network v4(std::uint32_t address) { return source_network::of(address, 0); }

std::uint32_t admitted(source_limits& l, source_network const& s, std::uint32_t tries, std::uint32_t now) {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < tries; ++i) count += l.admits(s, {now}) ? 1 : 0;
    return count;
}

}  // namespace

TEST_CASE("a second's worth of flows may come at once, then as many as the rate says") {
    for (std::uint32_t rate : {1u, 10u, 1000u, 10'000u}) {
        source_limits l({.new_flows_per_s = rate}, 1);
        CHECK(admitted(l, v4(7), rate + 10, 1000) == rate);
        CHECK(admitted(l, v4(7), rate + 10, 1500) == rate / 2);
        CHECK(admitted(l, v4(7), rate + 10, 10'000) == rate);
    }
}

TEST_CASE("what one source uses up is not missing to another") {
    source_limits l({.new_flows_per_s = 10}, 1);
    admitted(l, v4(7), 1000, 0);
    for (std::uint32_t other = 100; other < 200; ++other) CHECK(admitted(l, v4(other), 10, 0) == 10);
}

TEST_CASE("open flows are counted exactly, up and down") {
    source_limits limits({.flows = 2}, 1);
    source_network const a = source_network::of(0x0a000001u, 0), b = source_network::of(0x0a000001u, 7);
    for (unsigned n = 0; n < 2; ++n) {
        CHECK(limits.admits(a, {}));
        limits.flows_changed(a, +1);
    }
    CHECK_FALSE(limits.admits(a, {}));
    CHECK(limits.admits(b, {}));  // another VLAN
    limits.flows_changed(a, -1);
    CHECK(limits.admits(a, {}));
    limits.configure({.flows = 1});
    CHECK_FALSE(limits.admits(a, {}));
}

TEST_CASE("half-open handshakes are counted exactly, up and down") {
    source_limits l({.half_open = 3}, 1);
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 3; ++i) {
            CHECK(l.admits(v4(7), {0}));
            l.half_open_changed(v4(7), +1);
        }
        CHECK_FALSE(l.admits(v4(7), {0}));
        CHECK(l.admits(v4(8), {0}));
        for (int i = 0; i < 3; ++i) l.half_open_changed(v4(7), -1);
    }
}

TEST_CASE("a flood of forged sources neither needs memory nor takes another source's share") {
    source_limits l({.new_flows_per_s = 100, .half_open = 100}, 1);
    std::size_t const before = l.memory_bytes();
    split_mix64 random(4);
    for (std::uint32_t i = 0; i < 500'000; ++i) {
        auto const forged = v4(static_cast<std::uint32_t>(random()));
        if (l.admits(forged, {i / 100})) l.half_open_changed(forged, i % 2 == 0 ? 1 : 0);  // 100,000 per second
    }
    CHECK(l.memory_bytes() == before);
    CHECK(admitted(l, v4(7), 50, 5000) == 50);
}

TEST_CASE("without limits everything is admitted and no memory taken") {
    source_limits l({}, 1);
    CHECK(admitted(l, v4(7), 100'000, 0) == 100'000);
    CHECK(l.memory_bytes() == 0);
    CHECK(source_limits::memory_bytes({}) == 0);
}

TEST_CASE("the shares of a second hold across the wrap of stamps at 2^32 ms") {
    source_limits l({.new_flows_per_s = 10}, 1);
    CHECK(admitted(l, v4(7), 20, 0xffff'fff0) == 10);
    CHECK(admitted(l, v4(7), 20, 0xffff'fff0u + 500) == 5);
}
