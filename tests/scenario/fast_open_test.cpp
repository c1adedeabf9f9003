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

TEST_CASE("the option of Fast Open passes untouched by default, both ways, in its own kind and the experimental one (RFC 7413 section 4.1.1)") {
    for (world const& w : plain_worlds())
        for (byte_string const& option : {cookie_option, byte_string{34, 2, 1, 1}, byte_string{254, 8, 0xf9, 0x89, 1, 2, 3, 4}}) {
            CAPTURE(w);
            conversation c(w);
            segment syn = fast_syn(c, 100), answer = fast_syn_ack(c, 100);
            syn.raw_options = answer.raw_options = option;
            byte_string const up = framed(c.line.ends, tcp_datagram(c.line.ends, true, syn)), down = framed(c.line.ends, tcp_datagram(c.line.ends, false, answer));
            CHECK(c.line.sends(side::outside, up).packet->bytes == up);
            CHECK(c.line.sends(side::inside, down).packet->bytes == down);
        }
}

TEST_CASE("where it is to be stripped, no-operations take the place of Fast Open's option, on SYN and SYN-ACK, and of nothing else (RFC 9293 section 3.2)") {
    engine_config config = guarded();
    config.normalize.fast_open = fast_open_policy::strip;
    byte_string const unknown{254, 4, 0xf9, 0x88};  // another experiment
    for (world const& w : plain_worlds())
        for (byte_string const& option : {cookie_option, byte_string{34, 2, 1, 1}, byte_string{1, 34, 6, 1, 2, 3, 4, 1}, byte_string{254, 8, 0xf9, 0x89, 1, 2, 3, 4}}) {
            CAPTURE(w);
            conversation c(w, config);
            segment syn = fast_syn(c, 100), answer = fast_syn_ack(c, 0);
            auto const with_options = [](segment s, byte_string const& raw) {
                s.raw_options = raw;
                return s;
            };
            byte_string const stripped(option.size(), 1);
            auto const frame = [&](bool client, segment const& s) { return framed(c.line.ends, tcp_datagram(c.line.ends, client, s)); };
            CHECK(c.line.sends(side::outside, frame(true, with_options(syn, unknown + option))).packet->bytes == frame(true, with_options(syn, unknown + stripped)));
            CHECK(c.line.sends(side::inside, frame(false, with_options(answer, unknown + option))).packet->bytes == frame(false, with_options(answer, unknown + stripped)));
            segment const third = with_options(c.client(0, 0), option);
            CHECK(c.line.sends(side::outside, frame(true, third)).packet->bytes == frame(true, third));  // means nothing there
            CHECK(c.state() == tcp_state::established);
        }
}

TEST_CASE("F1 a challenged client is offered no Fast Open, nor is its server, and the data on the SYN is not taken") {
    for (world const& w : spliced_worlds()) {
        CAPTURE(w);
        conversation c(w);
        outcome const o = c.line.client_sends(fast_syn(c, 500));
        REQUIRE(o.fate == verdict::reply);
        CHECK(o.packet->tcp.ack == c.hands.client.isn + 1);
        CHECK(o.packet->transport.size() == 40);
        c.hands.challenge();
        CHECK(c.hands.validate().transport.size() == 40);
        REQUIRE(c.hands.complete().fate == verdict::forward);
        c.client_passes(c.client(0, 0, 500));
    }
}
