// SPDX-License-Identifier: BSL-1.0
// Rates in virtual time: what a steady stream, a burst, silence and a taken-back event come to.
#include <halfproxy/admit/rate_meter.hpp>

#include <doctest/doctest.h>

using namespace halfproxy;

namespace {

constexpr rate_smoothing smooth{.slot = 100, .slots = 4};

/// `per_ms` events each millisecond of [from, to).
void feed(rate_meter& m, std::uint32_t from, std::uint32_t to, std::int32_t per_ms, rate_smoothing const& s = smooth) {
    for (std::uint32_t now = from; now < to; ++now) m.add({now}, s, per_ms);
}

}  // namespace

TEST_CASE("a steady stream is measured as what it is") {
    for (std::int32_t per_ms : {1, 10, 300}) {
        rate_meter m;
        feed(m, 0, 10'000, per_ms);
        CHECK(m.per_second({10'000}, smooth) == doctest::Approx(per_ms * 1000).epsilon(0.01));
    }
}

TEST_CASE("a burst is seen before its slot is over, and counts for one part in so many slots") {
    rate_meter m;
    m.add({10}, smooth, 1000);  // as 10,000 per second, if the whole slot went on so; a fourth of it
    CHECK(m.per_second({10}, smooth) == 2500);
    CHECK(m.per_second({100}, smooth) == 2500);
    CHECK(m.per_second({200}, smooth) == 1875);
}

TEST_CASE("silence forgets by the same factor slot by slot or all at once") {
    rate_meter step, leap;
    feed(step, 0, 5000, 100);
    feed(leap, 0, 5000, 100);
    for (std::uint32_t now = 5000; now <= 6000; now += 10) static_cast<void>(step.per_second({now}, smooth));
    std::uint32_t const in_steps = step.per_second({6000}, smooth);
    CHECK(in_steps > 0);
    CHECK(leap.per_second({6000}, smooth) == doctest::Approx(in_steps).epsilon(0.01));
    CHECK(leap.per_second({4'000'000'000}, smooth) == 0);
}

TEST_CASE("one slot of smoothing is none: the last slot alone counts") {
    constexpr rate_smoothing none{.slot = 1000, .slots = 1};
    rate_meter m;
    m.add({0}, none, 500);
    CHECK(m.per_second({999}, none) == 500);
    CHECK(m.per_second({1000}, none) == 500);
    CHECK(m.per_second({2000}, none) == 0);
}

TEST_CASE("events that are taken back later leave nothing, and a rate is never negative") {
    constexpr rate_smoothing slow{.slot = 100, .slots = 50};
    rate_meter m;
    for (std::uint32_t now = 0; now < 10'000; now += 10) {
        m.add({now}, slow, +1);
        m.add({now + 5}, slow, -1);
    }
    CHECK(m.per_second({10'000}, slow) <= 1);
    m.add({10'000}, slow, -1'000'000);
    CHECK(m.per_second({20'000}, slow) == 0);
    m.add({20'000}, slow, 1000);
    CHECK(m.per_second({20'000}, slow) == 200);
}

TEST_CASE("a rate beyond what is counted is the highest there is, and the average comes down again") {
    rate_meter m;
    for (std::uint32_t now = 0; now < 2000; now += 100) m.add({now}, smooth, 2'000'000'000);
    CHECK(m.per_second({2000}, smooth) == 0x00ff'ffff);
    CHECK(m.per_second({20'000}, smooth) < 100);
}

TEST_CASE("slots go on across the wrap of stamps at 2^32 ms") {
    rate_meter m;
    for (std::uint32_t i = 0; i < 2000; ++i) m.add({0xffff'fc00u + i}, smooth, 1);
    CHECK(m.per_second({0xffff'fc00u + 2000}, smooth) == doctest::Approx(1000).epsilon(0.02));
}
