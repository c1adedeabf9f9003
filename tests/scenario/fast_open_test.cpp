// SPDX-License-Identifier: BSL-1.0
// TCP Fast Open (RFC 7413): data on SYNs through a plain flow, its option passed or stripped, and nothing of it through a guard.
#include "tests/support/conversation.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

byte_string const cookie_option{34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1};

segment fast_syn(conversation const& c, std::size_t bytes) {
    segment syn = syn_of(c.hands.client);
    syn.raw_options = cookie_option;
    syn.payload = filled(bytes);
    return syn;
}

/// The server has taken so many of the SYN's bytes.
segment fast_syn_ack(conversation& c, std::uint32_t taken) {
    c.hands.cookie_clock = c.hands.server.clock;
    c.hands.with_timestamps = true;
    return c.hands.syn_ack(c.hands.client.isn + 1 + taken);
}

}  // namespace

TEST_CASE("data on a SYN is taken by the server or not, and the connection goes on from there (RFC 7413 section 4.2)") {
    for (world const& w : plain_worlds())
        for (std::uint32_t taken : {0u, 500u}) {
            CAPTURE(w);
            CAPTURE(taken);
            conversation c(w);
            c.client_passes(fast_syn(c, 500));
            c.server_passes(fast_syn_ack(c, taken));
            if (taken != 0) c.server_passes(c.server(0, 500, 1400));  // an answer before the handshake is over
            c.client_passes(c.client(taken, taken != 0 ? 1400 : 0));
            CHECK(c.state() == tcp_state::established);
            if (taken == 0) c.client_passes(c.client(0, 0, 500));
            CHECK(c.drops() == 0);
        }
}

TEST_CASE("a SYN-ACK that takes more or less than the SYN carried is dropped (RFC 9293 section 3.10.7.3)") {
    for (world const& w : plain_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.client_passes(fast_syn(c, 500));
        c.server_dropped(fast_syn_ack(c, 0u - 1), drop_reason::syn_ack_mismatch);
        c.server_dropped(fast_syn_ack(c, 501), drop_reason::syn_ack_mismatch);
        c.server_passes(fast_syn_ack(c, 500));
    }
}

TEST_CASE("a SYN that is repeated without its data does not make the SYN-ACK for the first one wrong (RFC 7413 section 4.1.3)") {
    for (world const& w : plain_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.client_passes(fast_syn(c, 500));
        c.line.after(1000);
        c.syn();
        c.server_passes(fast_syn_ack(c, 500));
        c.client_passes(c.client(500, 0));
        CHECK(c.state() == tcp_state::established);
    }
}

TEST_CASE("a client that acknowledges only a part of what came before its third ACK is connected (RFC 7413 section 4.2)") {
    for (world const& w : plain_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.client_passes(fast_syn(c, 500));
        c.server_passes(fast_syn_ack(c, 500));
        for (std::uint32_t sent = 0; sent < 14'000; sent += 1400) c.server_passes(c.server(sent, 500, 1400));
        c.client_passes(c.client(500, 2800));
        CHECK(c.state() == tcp_state::established);
        CHECK(c.line.proxy().half_open() == 0);
    }
}

TEST_CASE("F17 a RST to a SYN with data closes whether it acknowledges the data or not (RFC 9293 section 3.10.7.3)") {
    for (world const& w : plain_worlds())
        for (std::uint32_t taken : {0u, 250u, 500u}) {
            CAPTURE(w);
            CAPTURE(taken);
            conversation c(w);
            c.client_passes(fast_syn(c, 500));
            segment refusal{.ack = c.hands.client.isn, .flags = flags::rst | flags::ack};
            c.server_dropped(refusal, drop_reason::rst_outside_window);
            refusal.ack = c.hands.client.isn + 502;
            c.server_dropped(refusal, drop_reason::rst_outside_window);
            refusal.ack = c.hands.client.isn + 1 + taken;
            CHECK(c.line.server_sends(refusal).fate == verdict::forward);
            CHECK(c.state() == tcp_state::closed);
            conversation given_up(w);
            given_up.client_passes(fast_syn(given_up, 500));
            given_up.client_passes({.seq = given_up.hands.client.isn + 1 + taken, .flags = flags::rst});
            CHECK(given_up.state() == tcp_state::closed);
        }
}
