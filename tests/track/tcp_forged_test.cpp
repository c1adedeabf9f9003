// SPDX-License-Identifier: BSL-1.0
// What forged segments can do to a connection whose numbers they do not know, or know roughly: before, during and after its life.
#include <halfproxy/track/tcp_tracker.hpp>

#include "tests/support/tcp_talk.hpp"

#include <doctest/doctest.h>

#include <cstdint>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

constexpr flow_timeouts times = flow_timeouts::firewall();

/// Both sides have sent 5000 bytes, all acknowledged; then the server's RST closes. Windows of 1000 bytes.
template <class Talk>
void reset_by_server(Talk& t) {
    t.establish(1000, 1000);
    for (std::uint32_t at = 1; at < 5001; at += 1000) {
        REQUIRE(t.client(ACK, at, at, 1000, 1000) == accepted);
        REQUIRE(t.server(ACK, at, at + 1000, 1000, 1000) == accepted);
    }
    REQUIRE(t.client(ACK, 5001, 5001, 0, 1000) == accepted);
    REQUIRE(t.server(RST | ACK, 5001, 5001) == accepted);
    REQUIRE(t.c.state == tcp_state::closed);
}

}  // namespace

// --- After a RST (RFC 9293 section 3.10.7.1) -------------------------------------------------------------------------------

TEST_CASE("after a RST its sender's late segments and its further RSTs pass, nothing new does: it has forgotten the connection") {
    everywhere([](auto t) {
        reset_by_server(t);
        CHECK(t.server(ACK, 4001, 4001, 1000, 1000) == passed);
        CHECK(t.server(ACK, 5001, 5001, 0, 1000) == passed);
        CHECK(t.server(RST, 5001, 0) == passed);
        CHECK(t.server(ACK, 5001, 5001, 1, 1000) == dropped(drop_reason::tcp_state));
        CHECK(t.server(ACK, 4001, 4001, 1001, 1000) == dropped(drop_reason::tcp_state));
        CHECK(t.server(FIN | ACK, 5001, 5001, 0, 1000) == dropped(drop_reason::tcp_state));
        CHECK(t.c.state == tcp_state::closed);
    });
}

TEST_CASE("after a RST its receiver, who may not have heard it, goes on within its window and so draws it again; beyond is dropped") {
    everywhere([](auto t) {
        reset_by_server(t);
        CHECK(t.client(ACK, 4001, 5001, 1000, 1000) == passed);  // again
        CHECK(t.client(ACK, 5001, 5001, 1000, 1000) == passed);  // new, and once more
        CHECK(t.client(ACK, 5001, 5001, 1000, 1000) == passed);
        CHECK(t.client(FIN | ACK, 6001, 5001, 0, 1000) == passed);
        CHECK(t.client(RST | ACK, 6001, 5001) == passed);        // it gives up
        CHECK(t.client(ACK, 8001, 5001, 100, 1000) == dropped(drop_reason::seq_above_window));
        CHECK(t.client(ACK, 5001, 5002, 0, 1000) == dropped(drop_reason::ack_above_sent));
        CHECK(t.c.state == tcp_state::closed);
    });
}

TEST_CASE("after a RST another one is an answer to something late or lost: it passes below what was sent and in the window, not elsewhere") {
    everywhere([](auto t) {
        reset_by_server(t);
        for (std::uint32_t at : {5001u, 4001u, 1u, 6001u}) {
            CHECK(t.client(RST, at, 0) == passed);
            CHECK(t.server(RST, at, 0) == passed);
        }
        for (std::uint32_t at : {6002u, 1'000'000u, 0x8000'0000u, 5001u - 66'001u}) {
            CHECK(t.client(RST, at, 0) == dropped(drop_reason::rst_outside_window));
            CHECK(t.server(RST, at, 0) == dropped(drop_reason::rst_outside_window));
        }
    });
}

TEST_CASE("strict drops late copies after a RST as it does before one") {
    everywhere<strict_checks>([](auto t) {
        reset_by_server(t);
        CHECK(t.client(ACK, 5001, 5001, 500, 1000) == passed);
        CHECK(t.client(ACK, 5002, 5001, 1000, 1000) == passed);  // intersects the window
        CHECK(t.client(ACK, 6001, 5001, 10, 1000) == dropped(drop_reason::seq_above_window));
        CHECK(t.client(ACK, 3001, 5001, 999, 1000) == dropped(drop_reason::seq_below_window));
        CHECK(t.server(ACK, 3001, 5001, 999, 1000) == dropped(drop_reason::seq_below_window));
    });
}

TEST_CASE("after a RST a segment changes nothing, and without checks everything passes") {
    everywhere<no_checks>([](auto t) {
        reset_by_server(t);
        tcp_connection const before = t.c;
        for (std::uint32_t at : {1u, 5001u, 20'000u, 0x8000'0000u})
            for (std::uint8_t flags : {std::uint8_t{ACK}, std::uint8_t(FIN | ACK), std::uint8_t{RST}}) {
                CHECK(t.client(flags, at, ~at, 100) == passed);
                CHECK(t.server(flags, at, ~at, 100) == passed);
            }
        CHECK(t.c.side[0].end == before.side[0].end);
        CHECK(t.c.side[1].end == before.side[1].end);
        CHECK(t.c.state == tcp_state::closed);
    });
}

TEST_CASE("when its SYN was refused, a client sends only its SYN again, and RSTs to late answers (RFC 9293 section 3.10.7.3)") {
    everywhere([](auto t) {
        t.open();
        REQUIRE(t.server(RST | ACK, 0, 1) == accepted);
        CHECK(t.server(RST | ACK, 0, 1) == passed);
        CHECK(t.server(RST | ACK, 0, 2) == dropped(drop_reason::rst_outside_window));
        CHECK(t.client(ACK, 1, 1, 100) == dropped(drop_reason::tcp_state));
        CHECK(t.server(SYN | ACK, 0, 1) == passed);
        CHECK(t.client(RST, 1, 0) == passed);
        CHECK(t.client(RST, 100, 0) == dropped(drop_reason::rst_outside_window));
        CHECK(t.client(SYN, 0, 0) == reopened);
    });
}

TEST_CASE("in TIME-WAIT data behind a FIN is forged, and takes nothing back (RFC 9293 section 3.10.7.4)") {
    everywhere([](auto t) {
        t.establish();
        REQUIRE(t.client(FIN | ACK, 1, 1) == accepted);
        REQUIRE(t.server(FIN | ACK, 1, 2) == accepted);
        REQUIRE(t.client(ACK, 2, 2) == accepted);
        REQUIRE(t.c.state == tcp_state::time_wait);
        CHECK(t.server(ACK, 2, 2, 1000).outcome != track_outcome::drop);
        CHECK(t.c.state == tcp_state::time_wait);
        CHECK(t.server(FIN | ACK, 1, 2) == accepted);
        CHECK(t.client(ACK, 2, 2) == accepted);
        CHECK(t.c.state == tcp_state::time_wait);
    });
}

// --- A blind RST (RFC 5961 section 3) -------------------------------------------------------------------------------------

TEST_CASE("F42 a blind RST does not end what was met in the middle; the one at the number that its receiver acknowledged does") {
    everywhere([](auto t) {
        tcp_tracker<loose_checks>::pick_up(t.c, t.make(true, ACK, 5000, 9000, 100, 500));
        for (std::uint32_t wrong : {77u, 8999u, 9001u, 0x8000'0000u}) CHECK(t.server(RST, wrong, 0) == passed);
        CHECK(t.c.state == tcp_state::established);
        CHECK(timeout_of(t.c, times) == times.unacknowledged);
        CHECK(t.server(RST, 9000, 0) == accepted);
        CHECK(t.c.state == tcp_state::closed);
    });
}

TEST_CASE("F42 met in the middle, an end's RST behind the last byte it sent is certain although the other side was not seen") {
    everywhere([](auto t) {
        tcp_tracker<loose_checks>::pick_up(t.c, t.make(true, ACK, 5000, 9000, 100, 500));
        for (std::uint32_t wrong : {77u, 5000u, 5101u}) CHECK(t.client(RST, wrong, 0) == passed);
        CHECK(t.c.state == tcp_state::established);
        CHECK(t.client(RST | ACK, 5100, 9000) == accepted);
        CHECK(t.c.state == tcp_state::closed);
    });
}

TEST_CASE("F42 met in the middle, with both sides seen but not known well, RSTs are certain where the other one acknowledged") {
    everywhere([](auto t) {
        tcp_tracker<loose_checks>::pick_up(t.c, t.make(true, ACK, 5000, 9000, 100, 500));
        REQUIRE(t.server(ACK, 9000, 5050, 1400) == accepted);
        CHECK(t.client(RST, 5051, 0) == passed);
        CHECK(t.server(RST, 9001, 0) == passed);
        CHECK(t.c.state == tcp_state::established);
        auto by_client = t;
        CHECK(by_client.client(RST, 5050, 0) == accepted);
        CHECK(by_client.c.state == tcp_state::closed);
        CHECK(t.server(RST, 10'400, 0) == accepted);  // behind what it has just sent
        CHECK(t.c.state == tcp_state::closed);
    });
}

TEST_CASE("without the check for exact RSTs any one ends what was met in the middle") {
    everywhere<fixed_checks<loose_check_set.without(tcp_check::rst_exact)>>([](auto t) {
        tcp_tracker<loose_checks>::pick_up(t.c, t.make(true, ACK, 5000, 9000, 100, 500));
        CHECK(t.server(RST, 77, 0) == accepted);
        CHECK(t.c.state == tcp_state::closed);
    });
}

TEST_CASE("F31 the end of a keepalive is below what its receiver expects: a RST there closes nothing (RFC 9293 section 3.8.4)") {
    everywhere([](auto t) {
        t.establish();
        REQUIRE(t.client(ACK, 1, 1, 499) == accepted);
        REQUIRE(t.server(ACK, 1, 500) == accepted);
        REQUIRE(t.client(ACK, 499, 1) == accepted);
        CHECK(t.client(RST, 499, 0) == dropped(drop_reason::rst_outside_window));
        CHECK(t.c.state == tcp_state::established);
        CHECK(t.client(RST, 500, 0) == accepted);
    });
}

TEST_CASE("a RST that acknowledges the SYN let through on a live connection reaches its sender, and ends nothing: both may be forged (RFC 9293 section 3.5.2)") {
    everywhere([](auto t) {
        t.establish();
        REQUIRE(t.client(SYN, 5'000'000, 0) == passed);
        CHECK(t.server(RST | ACK, 0x8000'0000, 5'000'002) == dropped(drop_reason::rst_outside_window));
        CHECK(t.server(RST | ACK, 0x8000'0000, 5'000'001) == passed);
        CHECK(t.client(RST | ACK, 0x8000'0000, 5'000'001) == dropped(drop_reason::rst_outside_window));
        CHECK(t.c.state == tcp_state::established);
        CHECK(t.client(ACK, 1, 1, 1000) == accepted);
    });
}

// --- During the handshake -------------------------------------------------------------------------------------------------

TEST_CASE("an ACK of less than the SYN-ACK passes, for its RST, only where the client may send (RFC 9293 section 3.10.7.4)") {
    everywhere([](auto t) {
        t.open();
        REQUIRE(t.server(SYN | ACK, 0, 1, 0, 1000) == accepted);
        CHECK(t.client(ACK, 1, 0) == passed);
        CHECK(t.client(ACK, 3000, 0, 10) == dropped(drop_reason::seq_above_window));
        CHECK(t.client(FIN | ACK, 0x8000'0000, 0) == dropped(drop_reason::seq_above_window));
        CHECK(t.c.state == tcp_state::syn_received);
    });
}

TEST_CASE("in a simultaneous open a SYN-ACK bears its SYN's number (RFC 9293 figure 7): forged, it neither answers nor moves the window") {
    everywhere([](auto t) {
        t.open();
        REQUIRE(t.server(SYN, 0, 0) == accepted);
        tcp_connection const before = t.c;
        CHECK(t.client(SYN | ACK, 900'000, 1) == dropped(drop_reason::syn_ack_mismatch));
        CHECK(t.server(SYN | ACK, 900'000, 1) == dropped(drop_reason::syn_ack_mismatch));
        CHECK(t.c.side[0].max_end == before.side[0].max_end);
        REQUIRE(t.client(SYN | ACK, 0, 1) == accepted);
        CHECK(t.server(SYN | ACK, 900'000, 1) == passed);  // draws an ACK
        CHECK(t.c.state == tcp_state::syn_received);
        CHECK(t.server(SYN | ACK, 0, 1) == accepted);
        CHECK(t.c.state == tcp_state::established);
    });
}

// --- Data beyond the window -----------------------------------------------------------------------------------------------

TEST_CASE("F34 data beyond the window moves nothing until its receiver acknowledges it: forged, it is forgotten") {
    everywhere([](auto t) {
        t.establish(1000, 1000);
        tcp_connection const before = t.c;
        for (int i = 0; i < 10; ++i) CHECK(t.client(ACK, 1002, 1, 998, 1000) == passed);
        CHECK(t.client(ACK, 2000, 1, 1, 1000) == dropped(drop_reason::seq_above_window));
        CHECK(t.c.side[0].end == before.side[0].end);
        CHECK(t.c.side[0].max_end == before.side[0].max_end);
        CHECK(t.c.side[1].max_window == before.side[1].max_window);
        // The true sender's segments count as ever, and so does its FIN.
        CHECK(t.client(ACK, 1, 1, 500, 1000) == accepted);
        CHECK(t.server(ACK, 1, 501, 0, 1000) == accepted);
        CHECK(t.server(ACK, 1, 2001, 0, 1000) == dropped(drop_reason::ack_above_sent));
        CHECK(t.client(ACK, 501, 1, 500, 1000) == accepted);
        CHECK(t.server(ACK, 1, 1001, 0, 1000) == accepted);
        auto ends = t;
        CHECK(ends.client(FIN | ACK, 1001, 1, 0, 1000) == accepted);
        CHECK(ends.c.state == tcp_state::half_closed);
        // When it has come past where the forged data ended, nothing is left of them.
        CHECK(t.client(ACK, 1001, 1, 1000, 1000) == accepted);
        CHECK(timeout_of(t.c, times) == times.established);
        CHECK(t.server(ACK, 1, 2002, 0, 1000) == dropped(drop_reason::ack_above_sent));
    });
}

TEST_CASE("F34 what may be acknowledged beyond the window is what was sent there, by number or by SACK, after the rest or at once") {
    everywhere([](auto t) {
        t.establish(1000, 1000, {.sack = true}, {.sack = true});
        CHECK(t.server(ACK, 1, 1002, 1000, 1000) == dropped(drop_reason::ack_above_sent));
        REQUIRE(t.client(ACK, 1002, 1, 500, 1000) == passed);
        REQUIRE(t.client(ACK, 1, 1, 1000, 1000) == accepted);
        CHECK(t.server(ACK, 1, 1503, 0, 1000) == dropped(drop_reason::ack_above_sent));
        CHECK(t.server(ACK, 1, 1001, 0, 100) == accepted);  // what lay in the window first
        CHECK(timeout_of(t.c, times) == times.unacknowledged);
        CHECK(t.server(ACK, 1, 1502, 0, 1000) == accepted);
        CHECK(timeout_of(t.c, times) == times.established);
        CHECK(t.c.side[0].end == seq_num{t.n.client} + 1502);
        CHECK(t.server(ACK, 1, 1503, 0, 1000) == dropped(drop_reason::ack_above_sent));
        CHECK(t.client(ACK, 1502, 1, 1000, 1000) == accepted);
    });
    everywhere([](auto t) {
        t.establish(1000, 1000, {.sack = true}, {.sack = true});
        REQUIRE(t.server(ACK, 1, 1, 1000, 1000) == accepted);
        REQUIRE(t.server(ACK, 1402, 1, 500, 1000) == passed);
        REQUIRE(t.server(ACK, 1002, 1, 400, 1000) == passed);
        CHECK(t.client_sacks(1, 1001, 1903, 1000) == dropped(drop_reason::ack_above_sent));
        CHECK(t.client_sacks(1, 1001, 1902, 1000) == accepted);
        CHECK(t.c.side[1].end == seq_num{t.n.server} + 1902);
        CHECK(t.client_sacks(1, 1001, 1903, 1000) == dropped(drop_reason::ack_above_sent));
    });
}

TEST_CASE("F34 data beyond the window that comes again within it counts as any other") {
    everywhere([](auto t) {
        t.establish(1000, 1000);
        REQUIRE(t.client(ACK, 1002, 1, 500, 1000) == passed);  // lost behind us
        REQUIRE(t.client(ACK, 1, 1, 1001, 1000) == accepted);
        REQUIRE(t.server(ACK, 1, 1002, 0, 1000) == accepted);
        CHECK(t.client(ACK, 1002, 1, 500, 1000) == accepted);
        CHECK(timeout_of(t.c, times) == times.established);
        CHECK(t.server(ACK, 1, 1503, 0, 1000) == dropped(drop_reason::ack_above_sent));
        CHECK(t.server(ACK, 1, 1502, 0, 1000) == accepted);
    });
}

TEST_CASE("F34 an ACK beyond the window that carries nothing leaves nothing to be acknowledged") {
    everywhere([](auto t) {
        t.establish(1000, 1000);
        REQUIRE(t.server(ACK, 1002, 1, 300, 1000) == passed);
        CHECK(t.client(ACK, 1500, 1, 0, 1000) == passed);
        CHECK(t.client(ACK, 1, 1302, 0, 1000) == accepted);
        CHECK(timeout_of(t.c, times) == times.established);
    });
}

TEST_CASE("F34 a RST behind data beyond the window passes, and ends nothing: its receiver alone knows what it took (RFC 5961 section 3.2)") {
    everywhere([](auto t) {
        t.establish(1000, 1000);
        REQUIRE(t.client(ACK, 1002, 1, 500, 1000) == passed);
        CHECK(t.client(RST | ACK, 1502, 1) == passed);
        CHECK(t.client(RST | ACK, 1503, 1) == dropped(drop_reason::rst_outside_window));
        CHECK(t.c.state == tcp_state::established);
    });
}

TEST_CASE("segments that begin in the window and end far beyond do not widen it with every copy") {
    everywhere([](auto t) {
        t.establish(1000, 1000);
        for (int i = 0; i < 100; ++i) CHECK(t.client(ACK, 1001, 1, 1400, 1000) == accepted);
        CHECK(t.c.side[1].max_window == 2400);  // from what is acknowledged to where it ended
        CHECK(t.client(ACK, 1, 1, 1000, 1000) == accepted);  // not below what its receiver can need
        CHECK(t.client(ACK, 1002, 1, 2400, 1000) == dropped(drop_reason::seq_above_window));
    });
}
