// SPDX-License-Identifier: BSL-1.0
// Which segments of a connection pass, which are dropped, and what they change: windows, acknowledgments, RSTs, probes, FINs.
#include "tests/support/conversation.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

constexpr std::uint32_t small_window = 10'000;

/// Windows of 10,000 bytes both ways, unscaled.
void open_with_small_windows(conversation& c, bool sack = false) {
    c.offer_nothing();
    c.hands.client.sack = c.hands.server.sack = sack;
    c.hands.client.window = c.hands.server.window = small_window;
    c.open();
    c.client_passes(c.client(0, 0, 0, small_window));
    c.server_passes(c.server(0, 0, 0, small_window));
}

}  // namespace

TEST_CASE("F28 numbers wrap in either space while data flows both ways, SACK edges included (RFC 9293 section 3.4)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.open();
        for (std::uint32_t i = 0; i < 12; ++i) {
            c.client_passes(c.client(i * 500, i * 700, 500));
            c.server_passes(c.server(i * 700, i * 500 + 500, 700));
            segment selective = c.client(i * 500 + 500, i * 700);
            std::uint32_t const expected = selective.ack;
            selective.sack = {{expected + 100, expected + 300}, {expected + 400, expected + 700}};
            c.client_passes(selective);
            segment back = c.server(i * 700 + 700, i * 500);
            back.sack = {{back.ack + 200, back.ack + 500}};
            c.server_passes(back);
        }
        CHECK(c.drops() == 0);
    }
}

TEST_CASE("F33 an acknowledged segment again, from the window or from before it, passes and moves nothing (RFC 9293 section 3.10.7.4)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        open_with_small_windows(c);
        for (std::uint32_t sent = 0; sent < 30'000; sent += 1000) {
            c.server_passes(c.server(sent, 0, 1000, small_window));
            c.client_passes(c.client(0, sent + 1000, 0, small_window));
        }
        for (std::uint32_t old : {0u, 19'000u, 21'000u, 29'000u}) c.server_passes(c.server(old, 0, 1000, small_window));
        c.client_passes(c.client(0, 30'000, 0, small_window));
        c.client_dropped(c.client(0, 30'001, 0, small_window), drop_reason::ack_above_sent);
    }
}

TEST_CASE("F34 up to one window too far passes, and its acknowledgment is no surprise; further is dropped, and so is what acknowledges it") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        open_with_small_windows(c);
        c.client_passes(c.client(small_window + 1, 0, 1460, small_window));
        c.server_passes(c.server(0, small_window + 1461, 0, small_window));
        c.client_dropped(c.client(4 * small_window, 0, 1460, small_window), drop_reason::seq_above_window);
        c.server_dropped(c.server(0, 4 * small_window + 1460, 0, small_window), drop_reason::ack_above_sent);
        CHECK(c.state() == tcp_state::established);
    }
}

TEST_CASE("F35 an ACK of what was never sent is dropped, a very old one passes and keeps nothing alive (RFC 5961 section 5.2)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        engine_config config = guarded();
        config.timeouts.established = 600'000;
        conversation c(w, config);
        c.open();
        for (std::uint32_t sent = 0; sent < 98'000; sent += 1400) {
            c.server_passes(c.server(sent, 0, 1400));
            c.client_passes(c.client(0, sent + 1400));
        }
        std::uint64_t const last = c.line.now_ms();
        c.client_dropped(c.client(0, 98'001), drop_reason::ack_above_sent);
        c.server_dropped(c.server(98'000, 1), drop_reason::ack_above_sent);
        c.line.at(last + 500'000);
        c.client_passes(c.client(0, 0));
        c.line.at(last + 599'000);
        CHECK(c.alive());
        c.line.at(last + 601'000);
        CHECK_FALSE(c.alive());
    }
}

TEST_CASE("F36 the right edge of a SACK block is held to what was sent, and only where SACK was agreed on (RFC 2018 section 3)") {
    for (world const& w : every_world())
        for (bool agreed : {false, true}) {
            CAPTURE(w);
            CAPTURE(agreed);
            conversation c(w);
            open_with_small_windows(c, agreed);
            c.server_passes(c.server(0, 0, 1000, small_window));
            c.server_passes(c.server(1000, 0, 1000, small_window));
            segment selective = c.client(0, 0, 0, small_window);
            selective.sack = {{selective.ack + 1000, selective.ack + 2000}};
            if (agreed) c.client_passes(selective);
            selective.sack[0].second += 1;
            if (agreed)
                c.client_dropped(selective, drop_reason::ack_above_sent);
            else
                CHECK(c.line.client_sends(selective).fate == verdict::forward);
        }
}

TEST_CASE("F31 RSTs from either end in every state: exact closes, in the window passes without effect, outside is dropped (RFC 5961 section 3.2)") {
    struct position {
        std::uint32_t from_exact;
        bool passes, closes;
    };
    for (world const& w : every_world())
        for (bool from_client : {true, false})
            for (tcp_state at : {tcp_state::established, tcp_state::half_closed, tcp_state::last_ack})
                for (position const p : {position{0, true, true}, {1, true, false}, {5000, true, false}, {0u - 1, false, false}, {500'000, false, false}}) {
                    CAPTURE(w);
                    CAPTURE(from_client);
                    CAPTURE(at);
                    CAPTURE(p.from_exact);
                    conversation c(w);
                    open_with_small_windows(c);
                    std::uint32_t sent = 0, received = 0;
                    if (at != tcp_state::established) {
                        c.client_passes(fin(c.client(0, 0, 0, small_window)));
                        c.server_passes(c.server(0, sent = 1, 0, small_window));
                    }
                    if (at == tcp_state::last_ack) {
                        c.server_passes(fin(c.server(0, 1, 0, small_window)));
                        received = 1;
                        // Data that was on its way: the FIN below is not acknowledged by it.
                        c.client_passes(c.client(1, 0, 0, small_window));
                    }
                    REQUIRE(c.state() == at);
                    bool const exact_is_end_of_fin = at == tcp_state::last_ack && !from_client;
                    std::uint32_t const expected = from_client ? sent : exact_is_end_of_fin ? 0 : received;
                    segment const reset = from_client ? rst(c.client(expected + p.from_exact, 0, 0, small_window)) : rst(c.server(expected + p.from_exact, sent, 0, small_window));
                    if (!p.passes) {
                        from_client ? c.client_dropped(reset, drop_reason::rst_outside_window) : c.server_dropped(reset, drop_reason::rst_outside_window);
                        CHECK(c.state() == at);
                        continue;
                    }
                    from_client ? c.client_passes(reset) : c.server_passes(reset);
                    CHECK(c.state() == (p.closes ? tcp_state::closed : at));
                }
}

TEST_CASE("F31 an inexact RST in the window does not shorten the life of an idle connection") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        open_with_small_windows(c);
        for (int i = 0; i < 5; ++i) c.client_passes(rst(c.client(100, 0, 0, 0)));
        c.line.after(80'000'000);
        REQUIRE(c.state() == tcp_state::established);
        c.client_passes(c.client(0, 0, 10, small_window));
        c.server_passes(c.server(0, 10, 10, small_window));
    }
}

TEST_CASE("F31 a RST at the end of a segment that is not acknowledged yet closes (RFC 9293 section 3.10.7.4)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.open();
        c.client_passes(c.client(0, 0, 300));
        c.client_passes(rst(c.client(300, 0)));
        CHECK(c.state() == tcp_state::closed);
    }
}

TEST_CASE("F31 a RST while the handshake is not over closes at exact numbers only, from either end (RFC 9293 section 3.10.7.4)") {
    for (world const& w : plain_worlds())
        for (bool from_client : {true, false}) {
            CAPTURE(w);
            CAPTURE(from_client);
            conversation c(w);
            c.syn();
            c.syn_ack();
            segment reset = from_client ? with_flags(c.client(0, 0), flags::rst) : with_flags(c.server(0, 0), flags::rst);
            segment wrong = reset;
            wrong.seq += from_client ? 0u - 1 : 500'000u;  // the client may not have seen the SYN-ACK: just below it is no proof
            from_client ? c.client_dropped(wrong, drop_reason::rst_outside_window) : c.server_dropped(wrong, drop_reason::rst_outside_window);
            CHECK(c.state() == tcp_state::syn_received);
            from_client ? c.client_passes(reset) : c.server_passes(reset);
            CHECK(c.state() == tcp_state::closed);
            CHECK(c.line.proxy().half_open() == 0);
        }
}

TEST_CASE("F17 in SYN-SENT the server's RST closes when it acknowledges the SYN, the client's when it stands at it (RFC 9293 section 3.10.7.3)") {
    for (world const& w : plain_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.syn();
        segment refusal{.ack = c.hands.client.isn, .flags = flags::rst | flags::ack};
        c.server_dropped(refusal, drop_reason::rst_outside_window);
        refusal.ack += 2;
        c.server_dropped(refusal, drop_reason::rst_outside_window);
        c.server_dropped(with_flags(refusal, flags::rst), drop_reason::rst_outside_window);
        CHECK(c.state() == tcp_state::syn_sent);
        refusal.ack -= 1;
        CHECK(c.line.server_sends(refusal).fate == verdict::forward);
        CHECK(c.state() == tcp_state::closed);
        conversation given_up(w);
        given_up.syn();
        given_up.client_dropped({.seq = c.hands.client.isn + 2, .flags = flags::rst}, drop_reason::rst_outside_window);
        given_up.client_passes({.seq = c.hands.client.isn + 1, .flags = flags::rst});
        CHECK(given_up.state() == tcp_state::closed);
    }
}

TEST_CASE("F32 an acknowledgment of 0 on a RST relaxes nothing, wherever the RST stands (RFC 9293 section 3.10.7.4)") {
    struct position {
        std::uint32_t from_exact;
        bool passes;
    };
    for (world const& w : every_world())
        for (position const p : {position{1, true}, {5000, true}, {0u - 1, false}, {500'000, false}, {0x8000'0000, false}}) {
            CAPTURE(w);
            CAPTURE(p.from_exact);
            conversation c(w);
            open_with_small_windows(c);
            segment up = rst(c.client(p.from_exact, 0)), down = rst(c.server(p.from_exact, 0));
            up.ack = down.ack = 0;
            for (outcome const& o : {c.line.client_sends(up), c.line.server_sends(down)}) {
                CHECK(o.fate == (p.passes ? verdict::forward : verdict::drop));
                CHECK(o.reason == (p.passes ? drop_reason::none : drop_reason::rst_outside_window));
            }
            CHECK(c.state() == tcp_state::established);
        }
}

TEST_CASE("F38 in LAST-ACK a challenge ACK is not the last ACK, and the last one still is (RFC 5961 section 4.2)") {
    for (world const& w : every_world())
        for (bool client_first : {true, false}) {
            CAPTURE(w);
            CAPTURE(client_first);
            conversation c(w);
            c.open();
            if (client_first) {
                c.client_passes(fin(c.client(0, 0)));
                c.server_passes(c.server(0, 1));
                c.server_passes(fin(c.server(0, 1)));
            } else {
                c.server_passes(fin(c.server(0, 0)));
                c.client_passes(c.client(0, 1));
                c.client_passes(fin(c.client(0, 1)));
            }
            REQUIRE(c.state() == tcp_state::last_ack);
            segment const syn = syn_of({.isn = c.hands.client.isn + 99});
            c.client_passes(syn);
            c.server_passes(c.server(1, client_first ? 1 : 0));
            CHECK(c.state() == tcp_state::last_ack);
            if (client_first)
                c.client_passes(c.client(1, 1));
            else
                c.server_passes(c.server(1, 1));
            CHECK(c.state() == tcp_state::time_wait);
        }
}

TEST_CASE("zero-window probes and keepalives pass with a garbage byte or without, and so do their answers (RFC 9293 sections 3.8.4 and 3.8.6.1)") {
    for (world const& w : every_world())
        for (std::size_t garbage : {0u, 1u}) {
            CAPTURE(w);
            CAPTURE(garbage);
            conversation c(w);
            c.open();
            // Keepalives: one below what is to be sent next.
            c.client_passes(c.client(0u - 1, 0, garbage));
            c.server_passes(c.server(0, 0));
            c.server_passes(c.server(0u - 1, 0, garbage));
            c.client_passes(c.client(0, 0));
            // The server's window closes behind 1000 bytes; the next byte is tried, or the last one again.
            c.client_passes(c.client(0, 0, 1000));
            c.server_passes(c.server(0, 1000, 0, 0));
            for (std::uint32_t i = 0; i < 3; ++i) {
                c.client_passes(c.client(1000, 0, 1));
                c.server_passes(c.server(0, 1000, 0, 0));
                c.client_passes(c.client(999, 0, garbage));
                c.server_passes(c.server(0, 1000, 0, 0));
            }
            c.server_passes(c.server(0, 1001, 0, 510));
            c.client_passes(c.client(1001, 0, 1000));
            // And the client's, towards the server's probes.
            c.client_passes(c.client(2001, 0, 0, 0));
            c.server_passes(c.server(0, 2001, 1));
            c.client_passes(c.client(2001, 0, 0, 0));
            c.client_passes(c.client(2001, 1, 0, 502));
            CHECK(c.drops() == 0);
        }
}

TEST_CASE("F37 a half-closed connection carries data the other way for half a day, and its FIN may be repeated (RFC 9293 section 3.6)") {
    for (world const& w : every_world())
        for (bool client_closes : {true, false}) {
            CAPTURE(w);
            CAPTURE(client_closes);
            conversation c(w);
            c.open();
            segment const bye = client_closes ? fin(c.client(0, 0)) : fin(c.server(0, 0));
            auto const closer_says = [&](std::uint32_t received) { client_closes ? c.client_passes(c.client(1, received)) : c.server_passes(c.server(1, received)); };
            auto const other_says = [&](std::uint32_t sent, std::size_t bytes) {
                client_closes ? c.server_passes(c.server(sent, 1, bytes)) : c.client_passes(c.client(sent, 1, bytes));
            };
            client_closes ? c.client_passes(bye) : c.server_passes(bye);
            client_closes ? c.client_passes(bye) : c.server_passes(bye);
            other_says(0, 0);
            for (std::uint32_t hour = 0; hour < 12; ++hour) {
                c.line.after(3'600'000);
                REQUIRE(c.state() == tcp_state::half_closed);
                other_says(hour * 1000, 1000);
                closer_says(hour * 1000 + 1000);
            }
            CHECK(c.state() == tcp_state::half_closed);
            CHECK(c.drops() == 0);
        }
}

TEST_CASE("a FIN below what its sender has sent long since closes nothing (RFC 9293 section 3.10.7.4)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.open();
        c.client_passes(c.client(0, 0, 1000));
        c.server_passes(c.server(0, 1000));
        c.client_passes(fin(c.client(500, 0)));
        CHECK(c.state() == tcp_state::established);
        c.client_passes(fin(c.client(1000, 0)));
        CHECK(c.state() == tcp_state::half_closed);
    }
}

TEST_CASE("a simultaneous close ends in TIME-WAIT, whichever ACK comes first (RFC 9293 figure 13)") {
    for (world const& w : every_world())
        for (bool client_acknowledges_first : {true, false}) {
            CAPTURE(w);
            conversation c(w);
            c.open();
            c.client_passes(fin(c.client(0, 0)));
            c.server_passes(fin(c.server(0, 0)));
            CHECK(c.state() == tcp_state::last_ack);
            if (client_acknowledges_first) {
                c.client_passes(c.client(1, 1));
                c.server_passes(c.server(1, 1));
            } else {
                c.server_passes(c.server(1, 1));
                c.client_passes(c.client(1, 1));
            }
            CHECK(c.state() == tcp_state::time_wait);
            CHECK(c.drops() == 0);
        }
}

TEST_CASE("data and FIN on the handshake's last ACK are taken with it (RFC 9293 section 3.10.7.4)") {
    for (world const& w : plain_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.syn();
        c.syn_ack();
        c.client_passes(fin(c.client(0, 0, 200)));
        CHECK(c.state() == tcp_state::half_closed);
        CHECK(c.line.proxy().half_open() == 0);
        c.server_passes(c.server(0, 201, 4000));
        c.server_passes(fin(c.server(4000, 201)));
        c.client_passes(c.client(201, 4001));
        CHECK(c.state() == tcp_state::time_wait);
        CHECK(c.drops() == 0);
    }
}

TEST_CASE("a simultaneous open is established with SYN-ACKs alone, and with bare ACKs (RFC 9293 figure 7)") {
    for (world const& w : plain_worlds())
        for (bool bare : {false, true}) {
            CAPTURE(w);
            CAPTURE(bare);
            conversation c(w);
            c.syn();
            segment opening = syn_of(c.hands.server);
            c.server_passes(opening);
            CHECK(c.state() == tcp_state::simultaneous);
            segment up = with_flags(c.client(0u - 1, 0), flags::syn | flags::ack), down = with_flags(c.server(0u - 1, 0), flags::syn | flags::ack);
            c.client_passes(up);
            c.server_passes(down);
            if (bare) {
                c.client_passes(c.client(0, 0));
                c.server_passes(c.server(0, 0));
            }
            CHECK(c.state() == tcp_state::established);
            CHECK(c.line.proxy().half_open() == 0);
            c.client_passes(c.client(0, 0, 100));
            c.server_passes(c.server(0, 100, 100));
            CHECK(c.drops() == 0);
        }
}

TEST_CASE("F45 SYN and SYN-ACK of the server's own, while our SYN to it is out, never reach the client (RFC 9293 section 3.5)") {
    for (world const& w : spliced_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.hands.challenge();
        c.hands.validate();
        c.server_dropped(syn_of(c.hands.server), drop_reason::handshake_unexpected);
        segment crossing = c.hands.syn_ack(c.hands.client.isn);
        outcome const o = c.line.server_sends(crossing);
        CHECK((o.fate == verdict::drop || o.packet->exit == side::inside));
        REQUIRE(c.hands.complete().fate == verdict::forward);
        c.client_passes(c.client(0, 0, 10));
        c.server_passes(c.server(0, 10, 10));
    }
}

TEST_CASE("F42 nothing is picked up unless asked for, and what is picked up is never translated") {
    for (world const& w : every_world())
        for (pickup how : {pickup::syn_only, pickup::data_only, pickup::any}) {
            CAPTURE(w);
            engine_config config = guarded();
            config.tracking.pickup = how;
            conversation c(w, config);
            c.offer_nothing();
            drop_reason const refused = c.spliced ? drop_reason::cookie_invalid : drop_reason::no_flow;
            if (how != pickup::any) c.client_dropped(c.client(5000, 7000), refused);
            if (how == pickup::syn_only) {
                c.client_dropped(c.client(5000, 7000, 10), refused);
                CHECK_FALSE(c.alive());
                continue;
            }
            c.client_passes(c.client(5000, 7000, 10));
            c.line.after(299'000);
            CHECK(c.alive());
            c.server_passes(c.server(7000, 5010, 100));
            c.client_passes(c.client(5010, 7100));
            c.line.after(3'600'000);
            CHECK(c.alive());
            c.client_passes(c.client(5010, 7100, 50));
            c.server_passes(c.server(7100, 5060));
        }
}

TEST_CASE("F42 what is picked up and never answered ends soon") {
    for (world const& w : plain_worlds()) {
        CAPTURE(w);
        engine_config config = guarded();
        config.tracking.pickup = pickup::any;
        conversation c(w, config);
        c.client_passes(c.client(5000, 7000, 10));
        c.line.after(301'000);
        CHECK_FALSE(c.alive());
    }
}

TEST_CASE("F33 F35 where it is strict, segments and ACKs from before the window are dropped, and the connection goes on") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        engine_config config = guarded();
        config.tracking.strictness = strictness::strict;
        conversation c(w, config);
        open_with_small_windows(c);
        for (std::uint32_t sent = 0; sent < 98'000; sent += 1000) {
            c.server_passes(c.server(sent, 0, 1000, small_window));
            c.client_passes(c.client(0, sent + 1000, 0, small_window));
        }
        c.server_passes(c.server(97'000, 0, 1000, small_window));
        c.server_dropped(c.server(0, 0, 1000, small_window), drop_reason::seq_below_window);
        c.client_dropped(c.client(0, 0, 0, small_window), drop_reason::ack_too_old);
        c.client_passes(c.client(0, 98'000, 10, small_window));
        c.server_passes(c.server(98'000, 10, 10, small_window));
    }
}

TEST_CASE("where nothing is checked no number is a reason to drop, and the states go on all the same") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        engine_config config = guarded();
        config.tracking.strictness = strictness::off;
        conversation c(w, config);
        c.open();
        for (std::uint32_t off : {0u - 1'000'000, 1'000'000u, 0x7fff'0000u}) {
            c.client_passes(c.client(off, 0, 10));
            c.server_passes(c.server(0, off, 10));
        }
        CHECK(c.state() == tcp_state::established);
        c.client_passes(rst(c.client(5'000'000, 0)));
        CHECK(c.state() == tcp_state::closed);
        CHECK(c.drops() == 0);
    }
}

TEST_CASE("F42 once both sides of a connection that was picked up are known, its numbers are checked") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        engine_config config = guarded();
        config.tracking.pickup = pickup::any;
        conversation c(w, config);
        c.offer_nothing();
        c.client_passes(c.client(5000, 7000, 10));
        c.server_passes(c.server(7000, 5010, 100));
        c.client_passes(c.client(5010, 7100));
        c.server_passes(c.server(7100, 5010, 100));
        c.server_dropped(c.server(7200, 500'000'000), drop_reason::ack_above_sent);
        c.client_passes(c.client(5010, 7200, 50));
    }
}
