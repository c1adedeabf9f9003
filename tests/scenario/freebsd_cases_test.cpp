// SPDX-License-Identifier: BSL-1.0
// What FreeBSD asks of pf's SYN proxy, SYN cookies and state tracking, as timelines.
#include "tests/support/conversation.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

/// A line of text there and back, then both ends close.
void echo(conversation& c) {
    segment const said = c.client(0, 0, 11);
    c.client_passes(said);
    c.server_passes(c.server(0, 11, 11));
    c.client_passes(fin(c.client(11, 11)));
    c.server_passes(fin(c.server(11, 12)));
    c.client_passes(c.client(12, 12));
    CHECK(c.state() == tcp_state::time_wait);
}

}  // namespace

TEST_CASE("E3 synproxy: a line is echoed through the proxy and both ends close (RFC 9293 section 3.6)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.line.ends.server_port = 7;
        c.open();
        echo(c);
        CHECK(c.drops() == 0);
    }
}

TEST_CASE("E3 F43 syncookie nostate: twenty SYNs leave no state (RFC 4987 section 3.6)") {
    for (unsigned version : {4u, 6u}) {
        conversation c({version, true, 0, 0});
        for (unsigned port = 1; port <= 20; ++port) {
            c.line.ends.client_port = port;
            CHECK(c.line.client_sends(syn_of({.isn = port})).fate == verdict::reply);
        }
        CHECK(c.line.proxy().flows_peak() == 0);
        CHECK(c.line.proxy().handshakes_now() == 0);
    }
}

TEST_CASE("E3 syncookie adaptive: of a hundred SYNs at most twenty leave state, and who answers the challenge gets through") {
    for (unsigned version : {4u, 6u}) {
        engine_config config = guarded(guard_mode::automatic);
        config.guard.marks.half_open_on = 10;
        config.guard.marks.half_open_off = 5;
        endpoints ends;
        ends.version = version;
        timeline<> line(config, ends);
        unsigned answered = 0;
        for (unsigned port = 1; port <= 100; ++port) {
            line.ends.client_port = port;
            answered += line.client_sends(syn_of({.isn = port})).fate == verdict::reply ? 1 : 0;
        }
        CHECK(line.proxy().flows_now() <= 20);
        CHECK(answered >= 80);
        line.ends.client_port = 101;
        handshake_of<> client{line};
        CHECK(client.all().fate == verdict::forward);
    }
}

TEST_CASE("E3 F30 syncookie port_reuse: another machine with the same address and port connects (RFC 5961 section 4.2)") {
    for (world const& w : spliced_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.open();
        c.client_passes(c.client(0, 0, 10));
        // The first client is gone without a word; the second does not know of it.
        c.hands.client.isn += 0x4000'0000;
        byte_string const syn = [&] {
            byte_string frame = framed(c.line.ends, tcp_datagram(c.line.ends, true, syn_of(c.hands.client)));
            frame[11] = 0x77;
            return frame;
        }();
        CHECK(c.line.sends(side::outside, syn).fate == verdict::forward);
        segment challenge = c.server(0, 0);
        challenge.ack = w.client_isn + 11;
        c.server_passes(challenge);
        segment const refusal{.seq = challenge.ack, .flags = flags::rst};
        c.client_passes(refusal);
        outcome const answer = c.line.sends(side::outside, syn);
        REQUIRE(answer.fate == verdict::reply);
        CHECK(answer.packet->bytes[5] == 0x77);  // to the machine that asked
        c.open();
        CHECK(c.line.proxy().flows_now() == 1);
    }
}

TEST_CASE("E3 F31 rst: a third host's RST with a wrong number leaves both ends established (RFC 5961 section 3.2)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.open();
        c.client_passes(c.client(0, 0, 1000));
        c.server_passes(c.server(0, 1000, 1000));
        split_mix64 random(7);
        for (int i = 0; i < 50; ++i) {
            segment forged = with_flags(c.client(0, 0), flags::rst);
            forged.seq = c.hands.client.isn + 10'000'000 + random.below(0xf000'0000u);
            c.client_dropped(forged, drop_reason::rst_outside_window);
        }
        CHECK(c.state() == tcp_state::established);
        c.client_passes(c.client(1000, 1000, 5));
        c.server_passes(c.server(1000, 1005, 5));
    }
}

TEST_CASE("E3 modulate: data of several windows passes both ways under other numbers (RFC 9293 section 3.4.1)") {
    for (world const& w : spliced_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.open();
        for (std::uint32_t i = 0; i < 200; ++i) {
            c.client_passes(c.client(i * 1400, i * 1400, 1400));
            c.server_passes(c.server(i * 1400, i * 1400 + 1400, 1400));
        }
        CHECK(c.drops() == 0);
    }
}
