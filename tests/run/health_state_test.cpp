// SPDX-License-Identifier: BSL-1.0
// Up, down and damped, in virtual time.
#include <halfproxy/run/health_state.hpp>

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace halfproxy;
using namespace std::chrono_literals;

namespace {

/// A server checked every second; results as text, '+' good, '-' bad; the transitions as text, "U" and "D" where they happened.
struct checked {
    explicit checked(health_policy const& policy, health initially = health::down) : state(policy, initially) {}

    health_state state;
    time_point now{1h};

    std::string results(std::string const& all) {
        std::string out;
        for (char const c : all) {
            now += 1s;
            auto const change = state.result(c == '+', now);
            out += !change ? '.' : *change == health::up ? 'U' : 'D';
        }
        return out;
    }
};

health_policy plain() { return {.rise = 2, .fall = 3, .flap_window = 0ms}; }

}  // namespace

TEST_CASE("so many good results in a row make it up, so many bad ones down, and one of the other kind begins anew") {
    checked c(plain());
    CHECK(c.results("+-+-++") == ".....U");
    CHECK(c.results("--+--+---") == "........D");
    CHECK(c.results("+-++++") == "...U..");
    CHECK(c.state.state() == health::up);
}

TEST_CASE("what it counts as at first holds until results say otherwise") {
    checked c(plain(), health::up);
    CHECK(c.results("++--") == "....");
    CHECK(c.results("-") == "D");
    CHECK(checked(plain()).results("--------") == "........");
}

TEST_CASE("rise and fall of one, or none, follow every result") {
    for (std::uint32_t const n : {0u, 1u}) {
        checked c({.rise = n, .fall = n, .flap_window = 0ms});
        CHECK(c.results("+-+-") == "UDUD");
    }
}

TEST_CASE("one that goes down soon after coming up stays down longer each time, up to a limit") {
    checked c({.rise = 1, .fall = 1, .flap_window = 60s, .first_hold = 4s, .longest_hold = 10s});
    CHECK(c.results("+-") == "UD");
    CHECK(c.state.hold() == 4s);
    CHECK(c.results("++++-") == "...UD");
    CHECK(c.state.hold() == 8s);
    CHECK(c.results("++++++++-") == ".......UD");
    CHECK(c.state.hold() == 10s);
    CHECK(c.results("++++++++++-") == ".........UD");
    CHECK(c.state.hold() == 10s);
}

TEST_CASE("while it is held down good results are needed all the time: the last ones decide") {
    checked c({.rise = 2, .fall = 1, .flap_window = 60s, .first_hold = 4s});
    CHECK(c.results("++-") == ".UD");
    CHECK(c.results("+++-++") == ".....U");
}

TEST_CASE("one that stayed up long enough is not held when it goes down") {
    checked c({.rise = 1, .fall = 1, .flap_window = 5s, .first_hold = 4s});
    CHECK(c.results("+-") == "UD");
    CHECK(c.results("++++") == "...U");
    CHECK(c.results("+++++-+") == ".....DU");
    CHECK(c.state.hold() == 0s);
}

TEST_CASE("going down for the first time is no flap, for it never came up by a check") {
    checked c({.rise = 1, .fall = 1, .flap_window = 60s, .first_hold = 4s}, health::up);
    CHECK(c.results("-+") == "DU");
}

TEST_CASE("checks begin within the first interval, then about every interval, by a seed that repeats") {
    health_policy const policy{.interval = 1'000ms, .jitter_percent = 10};
    std::set<packet_clock::duration> firsts;
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        health_schedule s(policy, seed), same(policy, seed);
        auto const first = s.first();
        CHECK(first >= 0ms);
        CHECK(first < 1'000ms);
        CHECK(first == same.first());
        firsts.insert(first);
        packet_clock::duration sum{};
        for (int i = 0; i < 100; ++i) {
            auto const next = s.next();
            CHECK(next >= 900ms);
            CHECK(next <= 1'100ms);
            sum += next;
        }
        CHECK(sum > 97s);
        CHECK(sum < 103s);
    }
    CHECK(firsts.size() > 80);
    health_schedule steady({.interval = 1'000ms, .jitter_percent = 0}, 7);
    CHECK(steady.next() == 1'000ms);
}
