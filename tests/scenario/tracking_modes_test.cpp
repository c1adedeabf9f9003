// SPDX-License-Identifier: BSL-1.0
// How [tracking] is set: checks one by one, timestamps, paths of which one direction only passes here.
#include "tests/support/conversation.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

engine_config with_tracking(tracking_config const& tracking) {
    engine_config config = guarded();
    config.tracking = tracking;
    return config;
}

segment stamped(segment s, std::uint32_t value, std::uint32_t echo) {
    s.timestamps = {{value, echo}};
    return s;
}

}  // namespace

TEST_CASE("a check that is switched off by itself lets pass what it is for, one that is switched on drops it") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        tracking_config tracking;
        tracking.choose(tcp_check::ack_above, false);
        tracking.choose(tcp_check::overshoot, true);
        conversation c(w, with_tracking(tracking));
        c.offer_nothing();
        c.open();
        c.client_passes(c.client(0, 0, 0, 1000));
        c.server_passes(c.server(0, 0, 0, 1000));
        c.client_dropped(c.client(70'000, 0, 10, 1000), drop_reason::seq_above_window);
        c.server_passes(c.server(0, 500, 0, 1000));
    }
}

TEST_CASE("where it is strict a timestamp older than one echoed is dropped, through a splice in the numbers of both ends (PAWS, RFC 7323 section 5)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w, with_tracking({.strictness = strictness::strict}));
        c.open();
        std::uint32_t const client = c.hands.client.clock + 100, server = c.hands.server.clock + 100, told = server + c.hands.clock_shift();
        c.client_passes(stamped(c.client(0, 0, 10), client, c.hands.cookie_clock));
        c.server_passes(stamped(c.server(0, 10, 10), server, client));
        c.client_passes(stamped(c.client(10, 10, 10), client, told));
        c.client_dropped(stamped(c.client(20, 10, 10), client - 1, told), drop_reason::timestamp_old);
        c.server_dropped(stamped(c.server(10, 20, 10), server - 1, client), drop_reason::timestamp_old);
        c.server_passes(stamped(c.server(10, 20, 10), server, client));
        c.client_passes(stamped(c.client(20, 20, 10), client + 0x7fff'ffff, told));
    }
}

TEST_CASE("loose does not look at timestamps, unless that check is switched on") {
    for (bool on : {false, true})
        for (world const& w : every_world()) {
            CAPTURE(w);
            tracking_config tracking;
            if (on) tracking.choose(tcp_check::timestamps, true);
            conversation c(w, with_tracking(tracking));
            c.open();
            std::uint32_t const client = c.hands.client.clock + 100;
            c.client_passes(stamped(c.client(0, 0, 10), client, c.hands.cookie_clock));
            c.server_passes(stamped(c.server(0, 10, 10), c.hands.server.clock, client));
            segment const old = stamped(c.client(10, 10, 10), client - 1, c.hands.cookie_clock);
            if (on)
                c.client_dropped(old, drop_reason::timestamp_old);
            else
                c.client_passes(old);
        }
}

TEST_CASE("timestamps are not held against a flow that was silent for 24 days (RFC 7323 section 5.5)") {
    for (unsigned days : {23u, 25u, 60u}) {
        engine_config config = with_tracking({.strictness = strictness::strict});
        config.timeouts.established = never;
        conversation c({4, false, 1000, 2000}, config);
        c.open();
        std::uint32_t const client = c.hands.client.clock + 100;
        c.client_passes(stamped(c.client(0, 0, 10), client, c.hands.cookie_clock));
        c.server_passes(stamped(c.server(0, 10, 10), c.hands.server.clock + 9, client));
        for (unsigned day = 0; day < days; ++day) c.line.after(86'400'000);
        segment const next = stamped(c.client(10, 10, 10), client - 1, c.hands.server.clock + 9);
        if (days < 24)
            c.client_dropped(next, drop_reason::timestamp_old);
        else
            c.client_passes(next);
    }
}

TEST_CASE("a client whose server answers on another path is refused, and followed where paths may be asymmetric") {
    for (asymmetric_paths paths : {asymmetric_paths::no, asymmetric_paths::detect, asymmetric_paths::yes})
        for (world const& w : plain_worlds()) {
            CAPTURE(w);
            conversation c(w, with_tracking({.asymmetric = paths}));
            c.offer_nothing();
            c.syn();
            if (paths == asymmetric_paths::no) {
                c.client_dropped(c.client(0, 0), drop_reason::answer_unseen);
                continue;
            }
            for (std::uint32_t at = 0; at < 100'000; at += 1000) c.client_passes(c.client(at, 2 * at, 1000));
            CHECK(c.state() == tcp_state::established);
            CHECK(c.line.counters().flows_one_sided == 1);
            CHECK(c.line.proxy().half_open() == 0);
            c.client_dropped(c.client(0x7fff'0000, 0, 10), drop_reason::seq_above_window);
            c.line.after(3 * 3'600'000);
            CHECK(c.alive());
            c.client_passes(fin(c.client(100'000, 200'000)));
            c.line.after(6 * 60'000);
            CHECK_FALSE(c.alive());
        }
}

TEST_CASE("where only servers' packets pass and that is declared, a SYN-ACK opens the flow") {
    for (asymmetric_paths paths : {asymmetric_paths::detect, asymmetric_paths::yes})
        for (world const& w : plain_worlds()) {
            CAPTURE(w);
            conversation c(w, with_tracking({.asymmetric = paths}));
            c.offer_nothing();
            if (paths == asymmetric_paths::detect) {
                c.server_dropped(c.hands.syn_ack(), drop_reason::no_flow);
                continue;
            }
            c.syn_ack();
            CHECK(c.line.proxy().half_open() == 1);
            for (std::uint32_t at = 0; at < 100'000; at += 1000) c.server_passes(c.server(at, 2 * at, 1000));
            CHECK(c.state() == tcp_state::established);
            CHECK(c.line.proxy().half_open() == 0);
            CHECK(c.line.counters().flows_one_sided == 1);
            c.server_passes(rst(c.server(100'000, 200'000)));
            CHECK(c.state() == tcp_state::closed);
        }
}

TEST_CASE("F42 picked up in the middle, a flow is plain, short-lived until both sides were seen, and checked soon after (RFC 9293 section 3.4)") {
    for (world const& w : plain_worlds()) {
        CAPTURE(w);
        conversation c(w, with_tracking({.pickup = pickup::any}));
        c.offer_nothing();
        c.client_passes(c.client(50'000, 70'000, 100));
        c.line.after(6 * 60'000);
        CHECK_FALSE(c.alive());
        c.client_passes(c.client(50'000, 70'000, 100));
        c.server_passes(c.server(70'000, 50'100, 100));
        c.client_passes(c.client(50'100, 70'100, 100));
        c.line.after(6 * 60'000);
        CHECK(c.alive());
        c.server_passes(c.server(70'100, 50'200, 100));
        c.server_dropped(c.server(70'200, 50'201), drop_reason::ack_above_sent);
        c.client_dropped(c.client(50'200, 70'201), drop_reason::ack_above_sent);
    }
}
