// SPDX-License-Identifier: BSL-1.0
// When the guard challenges, and when it only honours cookies.
#include <halfproxy/admit/guard.hpp>

#include <doctest/doctest.h>

using namespace halfproxy;

namespace {

ip_address const anybody = ip_address::v4(0xc0000201);

guard_config automatic() {
    guard_config c;
    c.mode = guard_mode::automatic;
    c.half_open_on = 100;
    c.half_open_off = 20;
    c.min_active = 60'000;
    c.grace = 30'000;
    return c;
}

}  // namespace

TEST_CASE("off never challenges and honours nothing, always does both from the first moment") {
    guard off({.mode = guard_mode::off});
    off.observe(1'000'000, {5});
    CHECK_FALSE(off.challenges(anybody));
    CHECK_FALSE(off.honours_cookies());
    guard always({.mode = guard_mode::always});
    always.observe(0, {5});
    always.observe(0, {500'000});
    CHECK(always.challenges(anybody));
    CHECK(always.honours_cookies());
    CHECK_FALSE(always.only_counts());
}

TEST_CASE("automatic switches on at the upper mark, not one below") {
    guard g(automatic());
    g.observe(99, {0});
    CHECK(g.state() == guard_state::ready);
    CHECK_FALSE(g.honours_cookies());
    g.observe(100, {1});
    CHECK(g.state() == guard_state::active);
    CHECK(g.challenges(anybody));
    CHECK(g.activations() == 1);
}

TEST_CASE("it stays on until both the lower mark and the minimum time are passed") {
    guard g(automatic());
    g.observe(100, {1000});
    g.observe(0, {60'999});
    CHECK(g.state() == guard_state::active);
    g.observe(20, {61'000});  // the mark itself is not below it
    CHECK(g.state() == guard_state::active);
    g.observe(19, {61'000});
    CHECK(g.state() == guard_state::grace);
}

TEST_CASE("in grace SYNs pass and cookies are honoured, until its time is over") {
    guard g(automatic());
    g.observe(100, {0});
    g.observe(0, {60'000});
    CHECK(g.state() == guard_state::grace);
    CHECK_FALSE(g.challenges(anybody));
    CHECK(g.honours_cookies());
    g.observe(0, {89'999});
    CHECK(g.state() == guard_state::grace);
    g.observe(0, {90'000});
    CHECK(g.state() == guard_state::ready);
    CHECK_FALSE(g.honours_cookies());
}

TEST_CASE("a new attack in grace switches on at once and counts") {
    guard g(automatic());
    g.observe(100, {0});
    g.observe(0, {60'000});
    g.observe(100, {60'001});
    CHECK(g.state() == guard_state::active);
    CHECK(g.activations() == 2);
    g.observe(0, {120'000});
    CHECK(g.state() == guard_state::active);  // the minimum time counts anew
    g.observe(0, {120'001});
    CHECK(g.state() == guard_state::grace);
}

TEST_CASE("monitor runs the same machine but only counts and honours nothing") {
    guard_config c = automatic();
    c.mode = guard_mode::monitor;
    guard g(c);
    g.observe(100, {0});
    CHECK(g.challenges(anybody));
    CHECK(g.only_counts());
    CHECK_FALSE(g.honours_cookies());
}

TEST_CASE("clients on the allow list are never challenged") {
    guard_config c = automatic();
    c.mode = guard_mode::always;
    c.allow = {{ip_address::v4(0xc0000200), 25}};
    guard const g(c);
    CHECK_FALSE(g.challenges(ip_address::v4(0xc000027f)));
    CHECK(g.challenges(ip_address::v4(0xc0000280)));
}

TEST_CASE("the machine works across the wrap of its stamps at 2^32 ms") {
    guard g(automatic());
    g.observe(100, {0xffff'fff0});
    g.observe(0, {0xffff'fff0u + 59'999});
    CHECK(g.state() == guard_state::active);
    g.observe(0, {0xffff'fff0u + 60'000});
    CHECK(g.state() == guard_state::grace);
}

TEST_CASE("an attack longer than 2^31 ms ends like any other") {
    guard g(automatic());
    std::uint32_t now = 0;
    for (; now < 0xb000'0000; now += 0x0100'0000) g.observe(100, {now});
    g.observe(0, {now});
    CHECK(g.state() == guard_state::grace);
}

TEST_CASE("a minimum time of never, or of more than 2^31 ms, is kept") {
    for (timeout_ms least : {never, timeout_ms{3'000'000'000}}) {
        guard_config c = automatic();
        c.min_active = least;
        guard g(c);
        g.observe(100, {0});
        g.observe(0, {1'000'000});
        CHECK(g.state() == guard_state::active);
    }
}
