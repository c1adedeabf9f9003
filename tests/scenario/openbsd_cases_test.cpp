// SPDX-License-Identifier: BSL-1.0
// What OpenBSD asks of pf's states, as timelines: a challenge for a SYN, a RST behind a gap, and a RST with an empty acknowledgment.
#include "tests/support/conversation.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

TEST_CASE("E3 F30 challenge_ack: a SYN with another number on a live tuple brings back one pure ACK at the old numbers (RFC 5961 section 4.2)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.open();
        segment const syn = syn_of({.isn = c.hands.client.isn + 1'000'000});
        c.client_passes(syn);
        outcome const answer = c.line.server_sends(c.server(0, 0));
        REQUIRE(answer.packet);
        CHECK(answer.packet->tcp.flags == flags::ack);
        CHECK(answer.packet->tcp.seq == c.hands.cookie + 1);
        CHECK(answer.packet->tcp.ack == c.hands.client.isn + 1);
        CHECK(answer.packet->tcp.payload.empty());
        CHECK(answer.beside.empty());
        CHECK(c.state() == tcp_state::established);
    }
}

TEST_CASE("E3 F31 beforegap_rst: a RST at the last in-order byte closes although a gap lies behind it (RFC 5961 section 3.2)") {
    for (world const& w : every_world())
        for (bool answered : {false, true}) {
            CAPTURE(w);
            CAPTURE(answered);
            conversation c(w);
            c.open();
            c.client_passes(c.client(16, 0, 8));
            c.client_passes(c.client(0, 0, 8));
            if (answered) c.server_passes(c.server(0, 8));
            c.client_passes(rst(c.client(8, 0)));
            CHECK(c.state() == tcp_state::closed);
            c.hands.client.isn += 500'000;
            c.open();
            CHECK(c.drops() == 0);
        }
}

TEST_CASE("E3 F32 fakeack_rst: an acknowledgment of 0 makes no RST good, and a SYN still finds the flow alive (RFC 9293 section 3.10.7.4)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.open();
        segment fake = rst(c.client(0u - 32'768, 0));
        fake.ack = 0;
        c.client_dropped(fake, drop_reason::rst_outside_window);
        CHECK(c.state() == tcp_state::established);
        c.client_passes(syn_of({.isn = c.hands.client.isn - 32'768}));
        c.server_passes(c.server(0, 0));
        CHECK(c.state() == tcp_state::established);
        segment exact = rst(c.client(0, 0));
        exact.ack = 0;
        CHECK(c.line.client_sends(exact).fate == verdict::forward);
        CHECK(c.state() == tcp_state::closed);
    }
}
