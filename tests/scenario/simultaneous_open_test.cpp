// SPDX-License-Identifier: BSL-1.0
// Both ends open at once (RFC 9293 section 3.5, figure 8) under a guard that challenges every client: whichever packets cross, the ends
// either get one connection or hear a RST; neither is left waiting.
#include "tests/support/conversation.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

/// The SYN-ACK of an end in SYN-RECEIVED that had sent a SYN itself.
segment crossed_answer(offer const& own, std::uint32_t other_isn, std::uint32_t other_clock) {
    segment s = syn_of(own);
    s.flags = flags::syn | flags::ack;
    s.ack = other_isn + 1;
    if (own.timestamps) s.timestamps = {{own.clock, other_clock}};
    return s;
}

void talk(conversation& c) {
    c.client_passes(c.client(0, 0, 100));
    c.server_passes(c.server(0, 100, 1000));
    c.client_passes(c.client(100, 1000));
    CHECK(c.state() == tcp_state::established);
    CHECK(c.line.proxy().half_open() == 0);
    CHECK(c.line.proxy().handshakes_now() == 0);
}

/// Both ends count as they are: nothing of a splice.
void as_plain(conversation& c) {
    c.hands.cookie = c.hands.server.isn;
    c.hands.cookie_clock = c.hands.server.clock;
    c.hands.with_timestamps = true;
}

}  // namespace

TEST_CASE("F45 the server's SYN crosses ours: it does not reach the client, and the SYN-ACK with which the server takes ours completes the splice") {
    for (world const& w : spliced_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.hands.challenge();
        c.hands.validate();
        for (int repeated = 0; repeated < 3; ++repeated)
            c.server_dropped(syn_of(c.hands.server), drop_reason::handshake_unexpected);
        CHECK(c.hands.complete().fate == verdict::forward);
        talk(c);
    }
}

TEST_CASE("F45 the server's SYN passes while the client's challenge is out: the client's proof connects both, in the numbers it was promised") {
    for (world const& w : spliced_worlds()) {
        CAPTURE(w);
        conversation c(w);
        std::uint32_t const promised = (c.hands.challenge(), c.hands.cookie);
        c.hands.cookie = c.hands.server.isn;
        c.server_passes(syn_of(c.hands.server));  // a plain flow from inside; the client answers with its third ACK again
        c.hands.cookie = promised;
        decoded const syn = c.hands.validate();
        CHECK(syn.exit == side::inside);
        CHECK(syn.tcp.flags == flags::syn);
        CHECK(syn.tcp.seq == c.hands.client.isn);
        CHECK(c.line.proxy().flows_now() == 1);
        CHECK(c.hands.complete().fate == verdict::forward);  // the SYN-ACK repeats the server's own ISN
        talk(c);
        CHECK(c.drops() == 0);
    }
}

TEST_CASE("F45 an acknowledgment without cookie is what an end with an older connection says: it passes and changes nothing (RFC 9293 section 3.5.1)") {
    for (world const& w : spliced_worlds()) {
        CAPTURE(w);
        conversation c(w);
        as_plain(c);
        c.server_passes(syn_of(c.hands.server));
        segment older = c.client(0, 0);
        older.ack += 12'345;
        c.client_passes(older);
        CHECK(c.state() == tcp_state::syn_sent);
        c.client_passes(crossed_answer(c.hands.client, c.hands.server.isn, c.hands.server.clock));
        c.server_passes(c.server(0, 0));
        talk(c);
    }
}

TEST_CASE("F45 a client's SYN that crosses the SYN of an end inside passes unchallenged: it was asked for") {
    for (world const& w : spliced_worlds()) {
        CAPTURE(w);
        conversation c(w);
        as_plain(c);
        c.server_passes(syn_of(c.hands.server));
        c.client_passes(syn_of(c.hands.client));
        c.server_passes(crossed_answer(c.hands.server, c.hands.client.isn, c.hands.client.clock));
        c.client_passes(crossed_answer(c.hands.client, c.hands.server.isn, c.hands.server.clock));
        c.client_passes(c.client(0, 0));
        c.server_passes(c.server(0, 0));
        talk(c);
        CHECK(c.line.counters().cookies_sent == 0);
    }
}

TEST_CASE("F45 the challenge is lost and the client hears the server's SYN instead: its SYN-ACK passes, and the connection is plain") {
    for (world const& w : spliced_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.hands.challenge();
        as_plain(c);
        c.server_passes(syn_of(c.hands.server));
        c.client_passes(crossed_answer(c.hands.client, c.hands.server.isn, c.hands.server.clock));
        c.server_passes(c.server(0, 0));
        talk(c);
        CHECK(c.drops() == 0);
    }
}

TEST_CASE("F29 on a tuple that an end inside opened and that is over, a client outside proves itself and is connected") {
    for (guard_method method : {guard_method::splice, guard_method::challenge_reset})
        for (world const& w : spliced_worlds()) {
            CAPTURE(w);
            engine_config config = guarded();
            config.guard.method = method;
            conversation c(w, config);
            as_plain(c);
            c.server_passes(syn_of(c.hands.server));
            c.client_passes(crossed_answer(c.hands.client, c.hands.server.isn, c.hands.server.clock));
            c.server_passes(c.server(0, 0));
            c.server_passes(fin(c.server(0, 0)));
            c.client_passes(fin(c.client(0, 1)));
            c.server_passes(c.server(1, 1));
            REQUIRE(c.state() == tcp_state::time_wait);
            c.hands.client.isn += 0x1234'5678u;
            c.hands.server.isn += 0x9000'0001u;
            if (method == guard_method::splice) {
                c.open();
            } else {
                outcome const challenge = c.line.client_sends(syn_of(c.hands.client));
                REQUIRE(challenge.fate == verdict::reply);
                CHECK(c.line.client_sends({.seq = challenge.packet->tcp.ack, .flags = flags::rst}).fate == verdict::hold);
                c.hands.cookie = c.hands.server.isn;
                c.syn();
                c.syn_ack();
                c.third_ack();
            }
            talk(c);
        }
}

TEST_CASE("F45 where both sides are guarded, ends that open at once are both challenged, and hear a RST rather than nothing") {
    for (world const& w : spliced_worlds()) {
        CAPTURE(w);
        engine_config config = guarded();
        config.guard.sides = guarded_sides::both;
        conversation c(w, config);
        c.hands.challenge();
        outcome const other = c.line.server_sends(syn_of(c.hands.server));
        REQUIRE(other.fate == verdict::reply);
        std::uint32_t const told_server = other.packet->tcp.seq;
        c.hands.validate();
        // The server believes in a connection of its own, so our SYN draws a challenge ACK: it is reset, and asked again (F18).
        segment const stale{.seq = c.hands.server.isn + 1, .ack = told_server + 1, .flags = flags::ack, .window = 500};
        outcome const reset = c.line.server_sends(stale);
        REQUIRE(reset.fate == verdict::reply);
        CHECK(reset.packet->tcp.flags == flags::rst);
        CHECK(reset.packet->tcp.seq == told_server + 1);
        REQUIRE(reset.beside.size() == 1);
        CHECK(reset.beside[0].tcp.flags == flags::syn);
        // Nobody listens there, and the client hears it.
        outcome const refused = c.line.server_sends({.seq = 0, .ack = c.hands.client.isn + 1, .flags = flags::rst | flags::ack});
        REQUIRE(refused.fate == verdict::forward);
        CHECK(refused.packet->tcp.flags == (flags::rst | flags::ack));
        CHECK(refused.packet->tcp.seq == c.hands.cookie + 1);
        CHECK_FALSE(c.alive());
    }
}
