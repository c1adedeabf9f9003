// SPDX-License-Identifier: BSL-1.0
// The six cases netfilter's connection tracking is tested with, as timelines, and its rule for unanswered entries: never INVALID where it must not be.
#include "tests/support/conversation.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

TEST_CASE("E1.1 F33 after a lost ACK a segment more than a window old passes, and so does its answer (RFC 9293 section 3.10.7.4)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.offer_nothing();
        c.hands.client.window = 32'792;
        c.hands.server.window = 65'535;
        c.open();
        for (std::uint32_t sent = 0; sent < 46 * 1460; sent += 1460) {
            c.client_passes(c.client(sent, 0, 1460, 257));
            c.server_passes(c.server(0, sent + 1460, 0, 65'535));
        }
        c.client_passes(c.client(0, 0, 1460, 257));
        c.server_passes(c.server(0, 46 * 1460, 0, 65'535));
        CHECK(c.state() == tcp_state::established);
        CHECK(c.drops() == 0);
    }
}

TEST_CASE("E1.2 after a RST that closed, an inexact one from the other side is not called invalid (RFC 9293 section 3.10.7.1)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.hands.server.scale.reset();
        c.hands.server.timestamps = false;
        if (w.spliced) c.hands.client.timestamps = false;  // what the proxy does about a promise the server breaks is not the matter here
        c.open();
        for (std::uint32_t sent = 0; sent < 3000; sent += 1000) {
            c.server_passes(c.server(sent, 0, 1000));
            c.client_passes(c.client(0, sent + 1000));
        }
        c.client_passes(c.client(0, 3000, 1000));
        c.server_passes(fin(c.server(3000, 1000)));
        c.client_passes(c.client(1000, 3001));
        CHECK(c.state() == tcp_state::half_closed);
        c.client_passes(rst(c.client(1000, 3001)));
        CHECK(c.state() == tcp_state::closed);
        segment late = with_flags(c.server(2000, 0), flags::rst);
        late.ack = 0;
        c.server_passes(late);
        CHECK(c.drops() == 0);
    }
}

TEST_CASE("E1.3 F31 four RSTs at wrong numbers are dropped, the fifth, at the next byte expected, closes (RFC 5961 section 3.2)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.hands.server.scale.reset();
        c.hands.server.timestamps = false;
        if (w.spliced) c.hands.client.timestamps = false;  // what the proxy does about a promise the server breaks is not the matter here
        c.open();
        for (std::uint32_t sent = 0; sent < 3000; sent += 1000) {
            c.server_passes(c.server(sent, 0, 1000));
            c.client_passes(c.client(0, sent + 1000));
        }
        for (std::uint32_t from_isn : {0u, 1'000'000u, 42u}) {
            c.server_dropped(with_flags(c.server(from_isn - 1, 0), flags::rst), drop_reason::rst_outside_window);
            CHECK(c.state() == tcp_state::established);
        }
        c.client_passes(c.client(0, 3000, 1000));
        c.server_passes(c.server(3000, 1000));
        c.server_dropped(rst(c.server(2999, 1000)), drop_reason::rst_outside_window);
        CHECK(c.state() == tcp_state::established);
        c.server_passes(rst(c.server(3000, 1000)));
        CHECK(c.state() == tcp_state::closed);
        CHECK(c.line.dropped(drop_reason::rst_outside_window) == 4);
        CHECK(c.drops() == 4);
    }
}

TEST_CASE("E1.4 the challenge ACK of an old incarnation and the RST it draws pass, and the handshake goes on (RFC 9293 section 3.5.1)") {
    for (world const& w : plain_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.syn();
        segment challenge = with_flags(c.server(0, 0), flags::ack);
        challenge.seq = 145'824'453;
        challenge.ack = 643'160'523;
        challenge.window = 240;
        challenge.mss = 1460;
        challenge.scale = 8;
        c.server_passes(challenge);
        segment refusal{.seq = challenge.ack, .flags = flags::rst};
        c.client_passes(refusal);
        CHECK(c.state() == tcp_state::syn_sent);
        c.syn();
        c.syn_ack();
        c.third_ack();
        CHECK(c.state() == tcp_state::established);
        CHECK(c.line.counters().flows_opened == 1);
        CHECK(c.drops() == 0);
    }
}

TEST_CASE("E1.5 F19 an old SYN-ACK is dropped and poisons nothing: the right one has lower numbers (RFC 9293 section 3.10.7.3)") {
    for (world const& w : plain_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.syn();
        segment old = c.hands.syn_ack(c.hands.client.isn + 643'160'523);
        old.seq = c.hands.server.isn + 65'535;
        c.server_dropped(old, drop_reason::syn_ack_mismatch);
        c.line.after(1000);
        c.syn();
        CHECK(c.state() == tcp_state::syn_sent);
        c.syn_ack();
        c.third_ack();
        CHECK(c.state() == tcp_state::established);
        c.client_passes(c.client(0, 0, 1));
        CHECK(c.drops() == 1);
    }
}

TEST_CASE("E1.6 F30 a SYN on a live tuple draws a challenge ACK, the RST to it clears, the next SYN opens anew (RFC 5961 section 4.2)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.hands.server.scale = 8;
        c.open();
        c.client_passes(c.client(0, 0, 100));
        c.server_passes(c.server(0, 100));
        c.line.after(1000);
        segment syn = syn_of({.isn = c.hands.client.isn + 2000, .scale = 0});
        c.client_passes(syn);
        c.server_passes(c.server(0, 100));
        CHECK(c.state() == tcp_state::established);
        c.client_passes(rst(c.client(100, 0)));
        CHECK(c.state() == tcp_state::closed);
        c.line.after(1500);
        c.hands.client.isn += 2000;
        c.hands.client.scale = 0;
        c.hands.server.isn += 1'000'000;
        c.hands.cookie = c.hands.server.isn;
        c.open();
        c.server_passes(c.server(0, 0, 10));
        CHECK(c.drops() == 0);
        CHECK(c.line.counters().flows_opened == 2);
    }
}

TEST_CASE("F40 an entry that is fed only by SYN retransmits times out all the same") {
    for (world const& w : plain_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.line.at(0);
        for (std::uint64_t s = 0; s < 120; s += 10) {
            c.line.at(s * 1000);
            c.syn();
        }
        c.line.at(119'900);
        CHECK(c.state() == tcp_state::syn_sent);
        c.line.at(120'200);
        CHECK_FALSE(c.alive());
        CHECK(c.line.counters().flows_opened == 1);
    }
}
