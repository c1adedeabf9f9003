// SPDX-License-Identifier: BSL-1.0
// When the guard challenges, and when it only honours cookies.
#include <halfproxy/admit/guard.hpp>

#include <doctest/doctest.h>

#include <vector>

using namespace halfproxy;

namespace {

guard_config automatic() {
    guard_config c;
    c.mode = guard_mode::automatic;
    c.marks = {.half_open_on = 100, .half_open_off = 20};
    c.min_active = 60'000;
    c.grace = 30'000;
    return c;
}

/// A guard with its clock, and the events it has told of.
struct watched {
    explicit watched(guard_config const& config) : g(config) {}

    guard g;
    guard_syn syn{};
    std::vector<guard_event> events{};

    /// So many half-open connections from now on.
    watched& half_open(int count, stamp_ms now) {
        g.half_open_changed(syn, count - static_cast<int>(g.half_open()));
        return at(now);
    }
    watched& at(stamp_ms now) {
        g.tick(now, [this](guard_event const& e) { events.push_back(e); });
        return *this;
    }
    watched& syns(std::uint32_t count, stamp_ms now) {
        for (std::uint32_t i = 0; i < count; ++i) g.note_syn(syn, now, [this](guard_event const& e) { events.push_back(e); });
        return *this;
    }
    [[nodiscard]] guard_state state() const { return g.state(); }
};

}  // namespace

TEST_CASE("off never challenges and honours nothing, always does both from the first moment") {
    watched off({.mode = guard_mode::off});
    off.half_open(1'000'000, {5});
    CHECK_FALSE(off.g.challenges({}));
    CHECK_FALSE(off.g.honours_cookies());
    watched always({.mode = guard_mode::always});
    always.at({5}).at({500'000});
    CHECK(always.g.challenges({}));
    CHECK(always.g.honours_cookies());
    CHECK_FALSE(always.g.only_counts());
}

TEST_CASE("automatic switches on at the upper mark, not one below") {
    watched w(automatic());
    w.half_open(99, {1});
    CHECK(w.state() == guard_state::ready);
    CHECK_FALSE(w.g.honours_cookies());
    w.half_open(100, {2});
    CHECK(w.state() == guard_state::active);
    CHECK(w.g.challenges({}));
    CHECK(w.g.activations() == 1);
}

TEST_CASE("a SYN is asked about with the count as it is, not as it was at the last tick") {
    watched w(automatic());
    w.at({1});
    w.g.half_open_changed({}, 100);
    w.syns(1, {1});
    CHECK(w.g.challenges({}));
}

TEST_CASE("it stays on until both the lower mark and the minimum time are passed") {
    watched w(automatic());
    w.half_open(100, {1000});
    w.half_open(0, {60'999});
    CHECK(w.state() == guard_state::active);
    w.half_open(20, {61'000});  // the mark itself is not below it
    CHECK(w.state() == guard_state::active);
    w.half_open(19, {61'001});
    CHECK(w.state() == guard_state::grace);
}

TEST_CASE("in grace SYNs pass and cookies are honoured, until its time is over") {
    watched w(automatic());
    w.half_open(100, {1});
    w.half_open(0, {60'001});
    CHECK(w.state() == guard_state::grace);
    CHECK_FALSE(w.g.challenges({}));
    CHECK(w.g.honours_cookies());
    w.at({90'000});
    CHECK(w.state() == guard_state::grace);
    w.at({90'001});
    CHECK(w.state() == guard_state::ready);
    CHECK_FALSE(w.g.honours_cookies());
}

TEST_CASE("a new attack in grace switches on at once and counts") {
    watched w(automatic());
    w.half_open(100, {1});
    w.half_open(0, {60'001});
    w.half_open(100, {60'002});
    CHECK(w.state() == guard_state::active);
    CHECK(w.g.activations() == 2);
    w.half_open(0, {120'001});
    CHECK(w.state() == guard_state::active);  // the minimum time counts anew
    w.at({120'002});
    CHECK(w.state() == guard_state::grace);
}

TEST_CASE("monitor runs the same machine but only counts and honours nothing") {
    guard_config c = automatic();
    c.mode = guard_mode::monitor;
    watched w(c);
    w.half_open(100, {1});
    CHECK(w.g.challenges({}));
    CHECK(w.g.only_counts());
    CHECK_FALSE(w.g.honours_cookies());
}

TEST_CASE("clients on the allow list are known by their prefix") {
    guard const g({.mode = guard_mode::always, .allow = {{ip_address::v4(0xc0000200), 25}}});
    CHECK(g.allows(ip_address::v4(0xc000027f)));
    CHECK_FALSE(g.allows(ip_address::v4(0xc0000280)));
}

TEST_CASE("the machine works across the wrap of its stamps at 2^32 ms") {
    watched w(automatic());
    w.half_open(100, {0xffff'fff0});
    w.half_open(0, {0xffff'fff0u + 59'999});
    CHECK(w.state() == guard_state::active);
    w.at({0xffff'fff0u + 60'000});
    CHECK(w.state() == guard_state::grace);
}

TEST_CASE("an attack longer than 2^31 ms ends like any other") {
    watched w(automatic());
    std::uint32_t now = 1;
    for (; now < 0xb000'0000; now += 0x0100'0000) w.half_open(100, {now});
    w.half_open(0, {now});
    CHECK(w.state() == guard_state::grace);
}

TEST_CASE("a minimum time of never, or of more than 2^31 ms, is kept") {
    for (timeout_ms least : {never, timeout_ms{3'000'000'000}}) {
        guard_config c = automatic();
        c.min_active = least;
        watched w(c);
        w.half_open(100, {1});
        w.half_open(0, {1'000'000});
        CHECK(w.state() == guard_state::active);
    }
}

TEST_CASE("by rate it switches on within the first tenth of a second of a flood, and off when the flood is over") {
    guard_config c;
    c.mode = guard_mode::automatic;
    c.marks = {.syn_rate_on = 1000, .syn_rate_off = 500};
    c.min_active = 1000;
    watched w(c);
    std::uint32_t now = 1000;
    for (; now < 5000; now += 10) w.syns(5, {now});  // 500 per second
    CHECK(w.state() == guard_state::ready);
    std::uint32_t const begin = now;
    while (w.state() == guard_state::ready && now < begin + 1000) w.syns(100, {++now});  // 100,000 per second
    CHECK(now - begin <= 10);
    for (; now < begin + 3000; ++now) w.syns(1, {now});  // 1,000 per second: above the lower mark
    CHECK(w.state() == guard_state::active);
    for (; now < begin + 5000; now += 10) w.syns(2, {now}).at({now});
    CHECK(w.state() == guard_state::grace);
}

TEST_CASE("half-open connections of one side do not make the other side's scope active") {
    guard_config c = automatic();
    c.sides = guarded_sides::both;
    c.marks = {};
    c.side_marks[0] = c.side_marks[1] = automatic().marks;
    watched w(c);
    w.syn.arrival = side::inside;
    w.g.half_open_changed(w.syn, 100);
    w.at({1});
    CHECK(w.g.challenges({.arrival = side::inside}));
    CHECK_FALSE(w.g.challenges({.arrival = side::outside}));
    REQUIRE(w.events.size() == 1);
    CHECK(w.events[0].scope == guard_scope::side);
    CHECK(w.events[0].where == side::inside);
    CHECK(w.events[0].half_open == 100);
}

TEST_CASE("a side that is not guarded is neither counted nor challenged") {
    guard_config c = automatic();
    watched w(c);
    w.syn.arrival = side::inside;
    w.g.half_open_changed(w.syn, 1000);
    w.at({1});
    CHECK(w.state() == guard_state::ready);
    watched always({.mode = guard_mode::always});
    CHECK_FALSE(always.g.challenges({.arrival = side::inside}));
}

TEST_CASE("a service under attack is challenged alone, and its event names it") {
    guard_config c = automatic();
    c.marks = {};
    c.services = 64;
    c.service_marks = {.half_open_on = 10, .half_open_off = 2};
    watched w(c);
    guard_syn const attacked{.port = 443, .service_hash = 0x1234'5678, .address = ip_address::v4(0xc6336401)};
    guard_syn const other{.port = 80, .service_hash = 0x9234'5678, .address = ip_address::v4(0xc6336402)};
    w.g.half_open_changed(attacked, 10);
    w.syn = attacked;
    w.syns(1, {1});
    CHECK(w.g.challenges(attacked));
    CHECK_FALSE(w.g.challenges(other));
    REQUIRE(w.events.size() == 1);
    CHECK(w.events[0].scope == guard_scope::service);
    CHECK(w.events[0].address == attacked.address);
    CHECK(w.events[0].port == 443);
    CHECK(w.events[0].after == guard_state::active);
}

TEST_CASE("an attacked service nobody asks about any more goes to grace and ready by itself") {
    guard_config c = automatic();
    c.marks = {};
    c.services = 16;
    c.service_marks = {.half_open_on = 10, .half_open_off = 2};
    watched w(c);
    w.syn = {.port = 443, .service_hash = 0xffff'ffff};
    w.g.half_open_changed(w.syn, 10);
    w.syns(1, {1});
    w.g.half_open_changed(w.syn, -10);
    for (std::uint32_t now = 60'001; now < 60'018; ++now) w.at({now});
    CHECK(w.state() == guard_state::grace);
    for (std::uint32_t now = 91'000; now < 91'017; ++now) w.at({now});
    CHECK(w.state() == guard_state::ready);
    CHECK(w.g.transitions(guard_scope::service, guard_state::active) == 1);
    CHECK(w.g.transitions(guard_scope::service, guard_state::grace) == 1);
    CHECK(w.g.transitions(guard_scope::service, guard_state::ready) == 1);
    CHECK(w.g.transitions(guard_scope::global, guard_state::active) == 0);
}

TEST_CASE("a scan of a million services needs no more memory and hides no service under attack") {
    guard_config c = automatic();
    c.marks = {};
    c.services = 1024;
    c.service_marks = {.half_open_on = 1500, .half_open_off = 20};
    watched w(c);
    std::size_t const before = w.g.memory_bytes();
    split_mix64 random(3);
    guard_syn const attacked{.port = 443, .service_hash = 77};
    for (std::uint32_t i = 0; i < 1'000'000; ++i) {
        w.g.half_open_changed({.service_hash = static_cast<std::uint32_t>(random() >> 32)}, 1);
        if (i % 1000 == 0) w.g.half_open_changed(attacked, 1);
    }
    for (guard_syn const& syn : {attacked, guard_syn{.service_hash = 0x8765'4321}}) {
        w.syn = syn;
        w.syns(1, {1});
    }
    CHECK(w.g.memory_bytes() == before);
    CHECK(w.g.challenges(attacked));  // 1,000 of its own, about 977 of its bucket's others
    CHECK_FALSE(w.g.challenges({.service_hash = 0x8765'4321}));
}

TEST_CASE("a flood too slow for the upper marks keeps the guard on as long as its challenges remain unanswered") {
    guard_config c = automatic();
    c.min_active = 10'000;
    c.unanswered = 5000;
    watched w(c);
    w.half_open(100, {1});
    w.half_open(0, {2});
    std::uint32_t now = 2;
    for (; now < 20'000; now += 100) {  // 10 challenges per second, 50 unanswered
        w.g.note_challenge({}, {now}, +1);
        w.at({now});
    }
    CHECK(w.state() == guard_state::active);
    for (; now < 40'000; now += 100) {  // answered ones do not count
        w.g.note_challenge({}, {now}, +1);
        w.g.note_challenge({}, {now + 50}, -1);
        w.at({now + 50});
    }
    CHECK(w.state() == guard_state::grace);
}

TEST_CASE("between the on mark and the maximum SYNs are dropped with p = (x - on) / (max - on), beyond it all are") {
    guard_config c;
    c.mode = guard_mode::always;
    c.smoothing = {.slot = 1000, .slots = 1};
    c.marks = {.syn_rate_on = 1000, .syn_rate_off = 500, .syn_rate_max = 5000};
    split_mix64 random(5);
    auto const dropped_of_10000_at = [&](std::uint32_t rate) {
        watched w(c);
        w.syns(rate, {500});
        std::uint32_t dropped = 0;
        for (int i = 0; i < 10'000; ++i) dropped += w.g.drops_early({}, {600}, true, random) ? 1 : 0;
        return dropped;
    };
    CHECK(dropped_of_10000_at(1000) == 0);
    CHECK(dropped_of_10000_at(2000) == doctest::Approx(2500).epsilon(0.06));  // 6 %: three standard deviations and more
    CHECK(dropped_of_10000_at(4000) == doctest::Approx(7500).epsilon(0.06));
    CHECK(dropped_of_10000_at(5000) == 10'000);
}

TEST_CASE("half-open connections above their mark drop SYNs early only where these pass unchallenged") {
    guard_config c = automatic();
    c.marks.half_open_max = 101;
    watched w(c);
    split_mix64 random(5);
    w.half_open(101, {1});
    CHECK(w.g.drops_early({}, {2}, false, random));
    CHECK_FALSE(w.g.drops_early({}, {2}, true, random));
    w.half_open(99, {3});
    CHECK_FALSE(w.g.drops_early({}, {4}, false, random));
}

TEST_CASE("the marks for a rate grow with it, and the off marks lie below the on marks") {
    for (std::uint32_t rate : {0u, 1u, 100u, 50'000u, 10'000'000u}) {
        guard_marks const m = guard_marks::for_rate(rate);
        CHECK(m.half_open_on >= std::max(rate, 16u));
        CHECK(m.half_open_off < m.half_open_on);
        CHECK(m.syn_rate_on >= 8 * rate);
        CHECK(m.syn_rate_off < m.syn_rate_on);
        CHECK(m.syn_rate_max == no_mark);
    }
}

TEST_CASE("other marks while active: what is over the new ones stays active, without any the challenge ends in its time") {
    watched w(automatic());
    w.half_open(100, {1});
    REQUIRE(w.state() == guard_state::active);
    guard_config other = w.g.config();
    other.marks = {};
    other.min_active = 1'000;
    other.allow = {{ip_address::v4(0x0a000000), 8}};
    w.g.configure(other);
    CHECK(w.g.challenges({}));
    CHECK(w.g.allows(ip_address::v4(0x0a000001)));
    w.at({1'000});
    CHECK(w.state() == guard_state::active);
    w.at({1'001});
    CHECK(w.state() == guard_state::grace);
    other.marks.half_open_on = 50;
    other.marks.half_open_off = 40;
    w.g.configure(other);
    w.at({1'002});
    CHECK(w.state() == guard_state::active);
}

TEST_CASE("a list of allowed clients that comes while every SYN is challenged is asked from then on") {
    watched w({.mode = guard_mode::always});
    CHECK(w.g.challenges_every(side::outside));
    guard_config other = w.g.config();
    other.allow = {{ip_address::v4(0x0a000000), 8}};
    w.g.configure(other);
    CHECK_FALSE(w.g.challenges_every(side::outside));
    CHECK(w.g.challenges({}));
}
