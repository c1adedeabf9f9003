// SPDX-License-Identifier: BSL-1.0
// A new connection on the addresses and ports of an older one, in every state that one may be in, plain and spliced.
#include "tests/support/conversation.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

enum class past { reset_by_client, reset_by_server, time_wait };

void end_as(conversation& c, past how) {
    c.client_passes(c.client(0, 0, 700));
    c.server_passes(c.server(0, 700, 900));
    if (how == past::reset_by_client) return c.client_passes(rst(c.client(700, 900)));
    if (how == past::reset_by_server) return c.server_passes(rst(c.server(900, 700)));
    c.client_passes(fin(c.client(700, 900)));
    c.server_passes(fin(c.server(900, 701)));
    c.client_passes(c.client(701, 901));
}

/// The same ends again, both counting from elsewhere.
void come_again(conversation& c, std::uint32_t client_ahead) {
    c.hands.client.isn += client_ahead;
    c.hands.client.clock += 5000;
    c.hands.server.isn += 0x9000'0001u;
    c.hands.cookie = c.hands.server.isn;
}

void talk(conversation& c) {
    c.client_passes(c.client(0, 0, 100));
    c.server_passes(c.server(0, 100, 1000));
    c.client_passes(c.client(100, 1000));
    CHECK(c.state() == tcp_state::established);
    CHECK(c.line.proxy().half_open() == 0);
}

constexpr std::uint32_t steps[] = {1, 701, 64'000, 0x4000'0000u, 0x8000'0000u, 0xc000'0000u};

}  // namespace

TEST_CASE("F29 a SYN on a tuple in TIME-WAIT or CLOSED connects at once, whatever its number (RFC 6191 section 2)") {
    for (world const& w : every_world())
        for (past how : {past::reset_by_client, past::reset_by_server, past::time_wait})
            for (std::uint32_t step : steps) {
                CAPTURE(w);
                CAPTURE(static_cast<int>(how));
                CAPTURE(step);
                conversation c(w);
                c.open();
                end_as(c, how);
                c.line.after(1000);
                come_again(c, step);
                c.open();
                talk(c);
                CHECK(c.drops() == 0);
                CHECK(c.line.counters().flows_opened == 2);
            }
}

TEST_CASE("F29 a server that still keeps TIME-WAIT answers with an ACK: the RST to it clears and the SYN is sent again (RFC 9293 section 3.10.7.4)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.open();
        end_as(c, past::time_wait);
        segment const old_ack = c.server(901, 701);
        come_again(c, 0x8000'0000u);
        if (w.spliced) {
            c.hands.challenge();
            c.hands.validate();
            outcome const o = c.line.server_sends(old_ack);
            REQUIRE(o.fate == verdict::reply);
            CHECK(o.packet->tcp.flags == flags::rst);
            CHECK(o.packet->tcp.seq == old_ack.ack);
            REQUIRE(o.beside.size() == 1);
            CHECK(o.beside[0].tcp.seq == c.hands.client.isn);
            REQUIRE(c.hands.complete().fate == verdict::forward);
        } else {
            c.syn();
            c.server_passes(old_ack);
            c.client_passes({.seq = old_ack.ack, .flags = flags::rst});
            c.open();
        }
        talk(c);
        CHECK(c.drops() == 0);
    }
}

TEST_CASE("F30 in LAST-ACK and half closed a SYN reaches the server, whose answer decides: it had forgotten, or it challenges (RFC 9293 section 3.5.1)") {
    for (world const& w : every_world())
        for (bool both_closed : {true, false})
            for (bool forgotten : {true, false}) {
                CAPTURE(w);
                CAPTURE(both_closed);
                CAPTURE(forgotten);
                conversation c(w);
                c.open();
                c.client_passes(fin(c.client(0, 0)));
                c.server_passes(c.server(0, 1));
                if (both_closed) c.server_passes(fin(c.server(0, 1)));
                segment const challenge = c.server(both_closed ? 1 : 0, 1);
                std::uint32_t const old_shift = c.hands.shift();
                come_again(c, 0x1234'5678u);
                segment const syn = syn_of(c.hands.client);
                CHECK(c.line.client_sends(syn).fate == verdict::forward);
                if (forgotten) {  // the ends shake hands themselves
                    segment answer = c.hands.syn_ack();
                    outcome const o = c.line.server_sends(answer);
                    REQUIRE(o.fate == verdict::forward);
                    CHECK(o.packet->tcp.seq == answer.seq);
                    CHECK(o.packet->tcp.ack == answer.ack);
                    c.hands.cookie_clock = c.hands.server.clock;
                    c.hands.with_timestamps = true;
                    c.third_ack();
                } else {
                    outcome const o = c.line.server_sends(challenge);
                    REQUIRE(o.fate == verdict::forward);
                    CHECK(o.packet->tcp.seq == challenge.seq + old_shift);
                    CHECK(c.line.client_sends({.seq = challenge.ack, .flags = flags::rst}).fate == verdict::forward);
                    CHECK(c.state() == tcp_state::closed);
                    c.open();
                }
                talk(c);
            }
}

TEST_CASE("F30 an established flow is unharmed by SYNs on its tuple until the client refuses the challenge (RFC 5961 section 4.2)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.open();
        c.client_passes(c.client(0, 0, 100));
        c.server_passes(c.server(0, 100, 50));
        segment const challenge = c.server(50, 100);
        for (std::uint32_t step : steps) {
            CHECK(c.line.client_sends(syn_of({.isn = c.hands.client.isn + step})).fate == verdict::forward);
            c.server_passes(challenge);
            CHECK(c.state() == tcp_state::established);
        }
        c.client_passes(c.client(100, 50, 10));
        c.server_passes(c.server(50, 110, 10));
        c.client_passes({.seq = c.hands.client.isn + 111, .flags = flags::rst});
        CHECK(c.state() == tcp_state::closed);
        come_again(c, 0x8000'0000u);
        c.open();
        talk(c);
        CHECK(c.drops() == 0);
    }
}

TEST_CASE("F30 forged SYNs do not shorten the life of an idle flow, with whatever window and however often") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.open();
        c.line.after(40'000'000);
        c.client_passes(c.client(0, 0, 100));
        c.server_passes(c.server(0, 100));
        for (int i = 0; i < 5; ++i) {
            segment forged = syn_of({.isn = 4711});
            forged.window = 0;
            CHECK(c.line.client_sends(forged).fate == verdict::forward);
        }
        c.line.after(80'000'000);
        REQUIRE(c.state() == tcp_state::established);
        c.client_passes(c.client(100, 0, 10));
    }
}

TEST_CASE("F12 a late copy of the client's SYN and the SYN-ACK it draws from a server still waiting for our ACK break no splice") {
    for (world const& w : spliced_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.open();  // but the proxy's ACK to the server was lost
        CHECK(c.line.client_sends(syn_of(c.hands.client)).fate == verdict::forward);
        outcome const o = c.line.server_sends(c.hands.syn_ack());
        REQUIRE(o.fate == verdict::reply);
        CHECK(o.packet->exit == side::inside);
        CHECK(o.packet->tcp.flags == flags::ack);
        c.server_passes(c.server(0, 0, 300));
        c.client_passes(c.client(0, 300, 20));
        talk(c);
    }
}

TEST_CASE("a client that gives up and opens anew before its SYN-ACK came is followed, by a server that answers the new SYN (RFC 9293 section 3.5.1)") {
    for (world const& w : plain_worlds())
        for (std::uint32_t step : steps) {
            CAPTURE(w);
            CAPTURE(step);
            conversation c(w);
            c.syn();
            c.syn_ack();  // lost behind us
            come_again(c, step);
            c.open();
            talk(c);
            CHECK(c.drops() == 0);
        }
}

TEST_CASE("F40 F12 the third ACK again does not prolong the wait for a silent server") {
    for (world const& w : spliced_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.line.at(0);
        c.hands.challenge();
        c.hands.validate();
        for (std::uint64_t ms = 500; ms < 14'900; ms += 500) {
            c.line.at(ms);
            CHECK(c.line.client_sends(c.hands.third_ack()).reason == drop_reason::handshake_pending);
        }
        c.line.at(15'600);
        CHECK_FALSE(c.alive());
        auto const sent = c.line.sent_by_timers();
        REQUIRE(sent.size() == 4);
        CHECK(sent.back().exit == side::outside);
        CHECK(sent.back().tcp.flags == (flags::rst | flags::ack));
        CHECK(sent.back().tcp.seq == c.hands.cookie + 1);
    }
}

TEST_CASE("F29 on a tuple that is over the other end may open too: its SYN passes, and nothing of an old splice is left (RFC 9293 section 3.5)") {
    for (world const& w : every_world())
        for (past how : {past::reset_by_client, past::time_wait}) {
            CAPTURE(w);
            conversation c(w);
            c.open();
            end_as(c, how);
            come_again(c, 0x8000'0000u);  // both ends count anew; shift() is 0
            c.server_passes(syn_of(c.hands.server));
            CHECK(c.state() == tcp_state::syn_sent);
            segment answer = syn_of(c.hands.client);
            answer.flags = flags::syn | flags::ack;
            answer.ack = c.hands.server.isn + 1;
            answer.timestamps = {{c.hands.client.clock, c.hands.server.clock}};
            c.client_passes(answer);
            c.hands.with_timestamps = false;
            c.server_passes(c.server(0, 0));
            CHECK(c.state() == tcp_state::established);
            c.server_passes(c.server(0, 0, 100));
            c.client_passes(c.client(0, 100, 100));
            CHECK(c.drops() == 0);
        }
}

TEST_CASE("connections from inside pass a guard that challenges outside untouched, again and again on one tuple") {
    for (world const& w : spliced_worlds()) {
        CAPTURE(w);
        conversation c(w);
        // The end inside opens: it is the `server` of the packets here.
        for (int round = 0; round < 3; ++round) {
            c.server_passes(syn_of(c.hands.server));
            segment answer = syn_of(c.hands.client);
            answer.flags = flags::syn | flags::ack;
            answer.ack = c.hands.server.isn + 1;
            answer.timestamps = {{c.hands.client.clock, c.hands.server.clock}};
            c.client_passes(answer);
            c.server_passes(c.server(0, 0, 50));
            c.client_passes(c.client(0, 50, 60));
            CHECK(c.state() == tcp_state::established);
            c.client_passes(fin(c.client(60, 50)));
            c.server_passes(fin(c.server(50, 61)));
            c.client_passes(c.client(61, 51));
            CHECK(c.state() == tcp_state::time_wait);
            come_again(c, 77'777);
        }
        CHECK(c.line.counters().cookies_sent == 0);
        CHECK(c.drops() == 0);
    }
}

TEST_CASE("a client that opens anew while its server is asked proves itself anew and is connected, and nobody else can replace the handshake") {
    for (world const& w : spliced_worlds())
        for (std::uint32_t step : steps) {
            CAPTURE(w);
            CAPTURE(step);
            conversation c(w);
            c.hands.challenge();
            c.hands.validate();
            segment forged = c.hands.third_ack();
            forged.seq += 77;
            forged.ack += 1234;
            CHECK(c.line.client_sends(forged).fate == verdict::drop);
            CHECK(c.line.client_sends(c.hands.third_ack()).fate == verdict::drop);
            come_again(c, step);
            c.open();
            talk(c);
            CHECK(c.line.proxy().handshakes_now() == 0);
        }
}

TEST_CASE("F45 a server that opens anew on a spliced tuple is answered in its own numbers, by a challenge or a SYN-ACK (RFC 9293 section 3.5)") {
    for (world const& w : spliced_worlds())
        for (bool forgotten : {false, true}) {
            CAPTURE(w);
            CAPTURE(forgotten);
            conversation c(w);
            c.open();
            c.client_passes(c.client(0, 0, 100));
            std::uint32_t const new_isn = c.hands.server.isn + 0x5555'5555u;
            segment opening = syn_of(c.hands.server);
            opening.seq = new_isn;
            c.server_passes(opening);
            if (!forgotten) {
                c.client_passes(c.client(100, 0));
                c.server_passes(with_flags(c.server(0, 0), flags::rst));
                CHECK(c.state() == tcp_state::closed);
                continue;
            }
            segment answer = syn_of({.isn = c.hands.client.isn + 0x3333'3333u, .scale = 3});
            answer.flags = flags::syn | flags::ack;
            answer.ack = new_isn + c.hands.shift() + 1;
            outcome const o = c.line.client_sends(answer);
            REQUIRE(o.fate == verdict::forward);
            CHECK(o.packet->tcp.ack == new_isn + 1);
            segment third{.seq = new_isn + 1, .ack = answer.seq + 1, .flags = flags::ack, .window = 500};
            c.server_passes(third);
            CHECK(c.state() == tcp_state::established);
            segment const data{.seq = answer.seq + 1, .ack = new_isn + c.hands.shift() + 1, .flags = flags::ack, .window = 1000, .payload = filled(10)};
            outcome const up = c.line.client_sends(data);
            REQUIRE(up.fate == verdict::forward);
            CHECK(up.packet->tcp.ack == new_isn + 1);
            CHECK(up.packet->tcp.window == 1000);  // in the scale of the new SYN-ACK
        }
}
