// SPDX-License-Identifier: BSL-1.0
// Timelines of single connections, each at sequence numbers that wrap and that do not.
#include <halfproxy/track/tcp_tracker.hpp>

#include "tests/support/tcp_talk.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>

using namespace halfproxy;
using namespace halfproxy::test;

TEST_CASE("a handshake goes from SYN-SENT over SYN-RECEIVED to ESTABLISHED (RFC 9293 section 3.5)") {
    everywhere([](auto t) {
        t.open();
        CHECK(t.c.state == tcp_state::syn_sent);
        CHECK(t.server(SYN | ACK, 0, 1) == accepted);
        CHECK(t.c.state == tcp_state::syn_received);
        CHECK(t.client(ACK, 1, 1) == accepted);
        CHECK(t.c.state == tcp_state::established);
    });
}

TEST_CASE("F40 SYNs again do not refresh a connection that is not answered") {
    everywhere([](auto t) {
        t.open();
        for (int i = 0; i < 5; ++i) CHECK(t.client(SYN, 0, 0) == passed);
        CHECK(t.server(SYN | ACK, 0, 1) == accepted);
        CHECK(t.server(SYN | ACK, 0, 1) == passed);  // our side lost it behind the tracker
        CHECK(t.client(SYN, 0, 0) == passed);
        CHECK(t.client(ACK, 1, 1) == accepted);
        CHECK(t.c.state == tcp_state::established);
    });
}

TEST_CASE("the third ACK is lost: data with the same acknowledgment establishes the connection") {
    everywhere([](auto t) {
        t.open();
        t.server(SYN | ACK, 0, 1);
        CHECK(t.client(ACK, 1, 1, 500) == accepted);
        CHECK(t.c.state == tcp_state::established);
    });
}

TEST_CASE("an acknowledgment that is not the SYN-ACK's does not establish") {
    everywhere([](auto t) {
        t.open();
        t.server(SYN | ACK, 0, 1);
        CHECK(t.client(ACK, 1, 2) == dropped(drop_reason::ack_above_sent));
        CHECK(t.client(ACK, 1, 0).outcome != track_outcome::drop);
        CHECK(t.c.state == tcp_state::syn_received);
    });
}

TEST_CASE("data on the SYN may be taken or not (RFC 7413 section 4.2)") {
    for (std::uint32_t taken : {1u, 101u})
        everywhere([taken](auto t) {
            t.open(64240, {}, 100);
            CHECK(t.server(SYN | ACK, 0, taken) == accepted);
            CHECK(t.client(ACK, taken, 1, taken == 1 ? 100 : 0) == accepted);
            CHECK(t.c.state == tcp_state::established);
            CHECK(t.server(ACK, 1, 101) == accepted);
        });
    everywhere([](auto t) {
        t.open(64240, {}, 100);
        CHECK(t.server(SYN | ACK, 0, 0) == dropped(drop_reason::syn_ack_mismatch));
        CHECK(t.server(SYN | ACK, 0, 102) == dropped(drop_reason::syn_ack_mismatch));
    });
}

TEST_CASE("a server that took data on the SYN may answer before the third ACK, as far as the SYN's window goes") {
    everywhere([](auto t) {
        t.open(3000, {}, 100);
        CHECK(t.server(SYN | ACK, 0, 101, 1000) == accepted);
        CHECK(t.server(ACK, 1001, 101, 1000) == accepted);
        CHECK(t.server(ACK, 2001, 101, 1000) == accepted);
        CHECK(t.client(ACK, 101, 3001) == accepted);
        CHECK(t.c.state == tcp_state::established);
    });
}

TEST_CASE("a simultaneous open is established by both SYN-ACKs, with no bare ACK (RFC 9293 figure 7)") {
    for (bool client_first : {false, true})
        everywhere([client_first](auto t) {
            t.open();
            CHECK(t.server(SYN, 0, 0) == accepted);
            CHECK(t.c.state == tcp_state::simultaneous);
            if (client_first) CHECK(t.client(SYN | ACK, 0, 1) == accepted);
            CHECK(t.server(SYN | ACK, 0, 1) == accepted);
            if (!client_first) CHECK(t.client(SYN | ACK, 0, 1) == accepted);
            CHECK(t.c.state == tcp_state::established);
            CHECK(t.client(ACK, 1, 1, 1000) == accepted);
            CHECK(t.server(ACK, 1, 1001, 1000) == accepted);
        });
}

TEST_CASE("in a simultaneous open SYN and SYN-ACK may carry data, which the other side need not take (RFC 7413 section 4.2)") {
    for (std::uint32_t const taken : {0u, 100u})
        everywhere([taken](auto t) {
            t.open(64240, {}, 100);
            REQUIRE(t.server(SYN, 0, 0) == accepted);
            CHECK(t.server(SYN | ACK, 0, 1 + taken, 50) == accepted);
            CHECK(t.client(SYN | ACK, 0, 1) == (taken == 0 ? accepted : passed));  // behind an acknowledgment of data it is taken for an old one
            CHECK(t.client(ACK, 1 + taken, 51, taken == 0 ? 100 : 0) == accepted);
            CHECK(t.c.state == tcp_state::established);
            CHECK(t.server(ACK, 51, 101) == accepted);
            CHECK(t.client(ACK, 101, 52) == dropped(drop_reason::ack_above_sent));
        });
}

TEST_CASE("in a simultaneous open a SYN-ACK that acknowledges less than the SYN, or more than its data, answers nothing (RFC 9293 figure 7)") {
    everywhere([](auto t) {
        t.open(64240, {}, 100);
        REQUIRE(t.server(SYN, 0, 0) == accepted);
        for (std::uint32_t const wrong : {0u, 102u}) CHECK(t.server(SYN | ACK, 0, wrong) == dropped(drop_reason::syn_ack_mismatch));
        CHECK(t.c.state == tcp_state::simultaneous);
    });
}

TEST_CASE("in a simultaneous open the window of a SYN-ACK counts, not only that of the SYN before it (RFC 9293 figure 7)") {
    everywhere([](auto t) {
        t.open();
        REQUIRE(t.server(SYN, 0, 0, 0, 500) == accepted);
        REQUIRE(t.server(SYN | ACK, 0, 1, 0, 4000) == accepted);
        CHECK(t.c.side[1].max_window == 4000);
        REQUIRE(t.client(SYN | ACK, 0, 1) == accepted);
        CHECK(t.client(ACK, 1, 1, 4000) == accepted);
        CHECK(t.client(ACK, 1, 1, 1000) == accepted);  // again: its end is no more than the window below what was sent
    });
}

TEST_CASE("a simultaneous close ends in TIME-WAIT once both FINs are acknowledged (RFC 9293 figure 13)") {
    everywhere([](auto t) {
        t.establish();
        CHECK(t.client(FIN | ACK, 1, 1) == accepted);
        CHECK(t.c.state == tcp_state::half_closed);
        CHECK(t.server(FIN | ACK, 1, 1) == accepted);
        CHECK(t.c.state == tcp_state::last_ack);
        CHECK(t.client(ACK, 2, 2) == accepted);
        CHECK(t.c.state == tcp_state::last_ack);
        CHECK(t.server(ACK, 2, 2) == accepted);
        CHECK(t.c.state == tcp_state::time_wait);
        CHECK(t.server(FIN | ACK, 1, 1) == accepted);  // the last ACK was lost behind the tracker
        CHECK(t.client(ACK, 2, 2) == accepted);
        CHECK(t.c.state == tcp_state::time_wait);
    });
}

TEST_CASE("F37 a half-closed connection carries data the other way, on a timeout of its own") {
    everywhere([](auto t) {
        t.establish();
        CHECK(t.client(FIN | ACK, 1, 1) == accepted);
        CHECK(t.server(ACK, 1, 2) == accepted);
        for (std::uint32_t at = 1; at < 50'000; at += 1000) {
            CHECK(t.server(ACK, at, 2, 1000) == accepted);
            CHECK(t.client(ACK, 2, at + 1000) == accepted);
        }
        CHECK(t.c.state == tcp_state::half_closed);
        CHECK(timeout_of(t.c, flow_timeouts::firewall()) == flow_timeouts::firewall().half_closed);
    });
}

TEST_CASE("F38 a challenge ACK in LAST-ACK is not the last ACK") {
    everywhere([](auto t) {
        t.establish();
        t.server(FIN | ACK, 1, 1);
        t.client(ACK, 1, 2);
        t.client(FIN | ACK, 1, 2);
        REQUIRE(t.c.state == tcp_state::last_ack);
        CHECK(t.client(SYN, 5'000'000, 0) == passed);
        CHECK(t.server(ACK, 2, 1) == accepted);  // does not cover the client's FIN
        CHECK(t.c.state == tcp_state::last_ack);
        CHECK(t.server(ACK, 2, 2) == accepted);
        CHECK(t.c.state == tcp_state::time_wait);
    });
}

TEST_CASE("F33 E1.1 an old segment, more than a window below, passes: its receiver answers it") {
    everywhere([](auto t) {
        t.open(32792);
        t.server(SYN | ACK, 0, 1);
        t.client(ACK, 1, 1, 0, 65535);
        std::uint32_t at = 1;
        for (int i = 0; i < 46; ++i, at += 1460) {
            CHECK(t.client(ACK, at, 1, 1460, 257) == accepted);
            CHECK(t.server(ACK, 1, at + 1460, 0, 65535) == accepted);
        }
        CHECK(t.client(ACK, 1, 1, 1460, 257) == passed);
        CHECK(t.server(ACK, 1, at, 0, 65535) == accepted);
    });
    everywhere<strict_checks>([](auto t) {
        t.establish(1000, 1000);
        for (std::uint32_t at = 1; at < 5000; at += 1000) {
            CHECK(t.client(ACK, at, 1, 1000, 1000) == accepted);
            CHECK(t.server(ACK, 1, at + 1000, 0, 1000) == accepted);
        }
        CHECK(t.client(ACK, 1, 1, 1000, 1000) == dropped(drop_reason::seq_below_window));
    });
}

TEST_CASE("E1.2 an inexact RST after a RST changes nothing and passes") {
    everywhere([](auto t) {
        t.open(65535, {.scale = 8, .sack = true});
        CHECK(t.server(SYN | ACK, 0, 1) == accepted);
        CHECK(t.client(ACK, 1, 1) == accepted);
        for (std::uint32_t at = 1; at < 3001; at += 1000) {
            CHECK(t.server(ACK, at, 1, 1000) == accepted);
            CHECK(t.client(ACK, 1, at + 1000) == accepted);
        }
        CHECK(t.client(ACK, 1, 3001, 1000) == accepted);
        CHECK(t.server(FIN | ACK, 3001, 1001) == accepted);
        CHECK(t.client(ACK, 1001, 3002) == accepted);
        CHECK(t.client(RST | ACK, 1001, 3002) == accepted);
        CHECK(t.c.state == tcp_state::closed);
        CHECK(t.server(RST, 2001, 0) == passed);
    });
}

TEST_CASE("F31 E1.3 RSTs at wrong numbers are dropped, the exact one closes (RFC 5961 section 3)") {
    everywhere([](auto t) {
        t.open(65535, {.scale = 8, .sack = true});
        t.server(SYN | ACK, 0, 1);
        t.client(ACK, 1, 1);
        for (std::uint32_t at = 1; at < 3001; at += 1000) {
            t.server(ACK, at, 1, 1000);
            t.client(ACK, 1, at + 1000);
        }
        for (std::uint32_t wrong : {0u, 1'000'000u, 42u}) {
            CHECK(t.server(RST, wrong, 0) == dropped(drop_reason::rst_outside_window));
            CHECK(t.c.state == tcp_state::established);
        }
        CHECK(t.client(ACK, 1, 3001, 1000) == accepted);
        CHECK(t.server(ACK, 3001, 1001) == accepted);
        CHECK(t.server(RST | ACK, 3000, 1001) == dropped(drop_reason::rst_outside_window));
        CHECK(t.c.state == tcp_state::established);
        CHECK(t.server(RST | ACK, 3001, 1001) == accepted);
        CHECK(t.c.state == tcp_state::closed);
    });
}

TEST_CASE("F31 a RST in the window but not at its edge passes and changes nothing (RFC 5961 section 3.2)") {
    everywhere([](auto t) {
        t.establish(1000, 1000);
        CHECK(t.server(RST, 2, 0) == passed);
        CHECK(t.server(RST, 1001, 0) == passed);
        CHECK(t.server(RST, 1002, 0) == dropped(drop_reason::rst_outside_window));
        CHECK(t.c.state == tcp_state::established);
        CHECK(timeout_of(t.c, flow_timeouts::firewall()) == flow_timeouts::firewall().established);
    });
}

TEST_CASE("F31 a RST at the end of the segment just sent is exact, before that segment is acknowledged") {
    everywhere([](auto t) {
        t.establish();
        t.server(ACK, 1, 1, 1000);
        CHECK(t.server(RST | ACK, 1001, 1) == accepted);
        CHECK(t.c.state == tcp_state::closed);
    });
}

TEST_CASE("E1.4 a challenge ACK for our SYN passes, so does the RST it draws, and the handshake goes on (RFC 9293 section 3.5.1)") {
    everywhere([](auto t) {
        t.open(65535, {.scale = 8, .sack = true});
        std::uint32_t const old_seq = 145'824'453, old_ack = 643'160'523;
        CHECK(t.server(ACK, old_seq, old_ack, 0, 240) == passed);
        CHECK(t.client(RST, old_ack, 0) == passed);
        CHECK(t.c.state == tcp_state::syn_sent);
        CHECK(t.client(SYN, 0, 0, 0, 65535, {.scale = 8, .sack = true}) == passed);
        CHECK(t.server(SYN | ACK, 0, 1) == accepted);
        CHECK(t.client(ACK, 1, 1) == accepted);
        CHECK(t.c.state == tcp_state::established);
    });
}

TEST_CASE("F19 E1.5 an old SYN-ACK is dropped and leaves nothing behind") {
    everywhere([](auto t) {
        t.open();
        CHECK(t.server(SYN | ACK, 145'824'453, 643'160'523) == dropped(drop_reason::syn_ack_mismatch));
        CHECK(t.c.state == tcp_state::syn_sent);
        CHECK(t.client(SYN, 0, 0) == passed);
        CHECK(t.server(SYN | ACK, 0, 1) == accepted);
        CHECK(t.client(ACK, 1, 1) == accepted);
        CHECK(t.c.state == tcp_state::established);
        CHECK(t.client(ACK, 1, 1, 1) == accepted);
    });
}

TEST_CASE("E1.6 E3 a SYN on a live connection draws a challenge ACK, whose RST closes, and the next SYN opens anew") {
    everywhere([](auto t) {
        t.establish(64240, 64240, {.scale = 7}, {.scale = 8});
        CHECK(t.client(ACK, 1, 1, 100) == accepted);
        CHECK(t.server(ACK, 1, 101) == accepted);
        CHECK(t.client(SYN, 2'000'000, 0) == passed);
        CHECK(t.c.state == tcp_state::established);
        CHECK(t.server(ACK, 1, 101) == accepted);
        CHECK(t.client(RST | ACK, 101, 1) == accepted);
        CHECK(t.c.state == tcp_state::closed);
        CHECK(t.client(SYN, 2'000'000, 0) == reopened);
    });
}

TEST_CASE("E3 beforegap: a RST at the last in-order byte closes although a gap lies behind it") {
    everywhere([](auto t) {
        t.establish();
        CHECK(t.client(ACK, 17, 1, 8) == accepted);
        CHECK(t.client(ACK, 1, 1, 8) == accepted);
        CHECK(t.server(ACK, 1, 9) == accepted);
        CHECK(t.client(RST | ACK, 9, 1) == accepted);
        CHECK(t.c.state == tcp_state::closed);
    });
}

TEST_CASE("F32 E3 fakeack: an acknowledgment of 0 on a RST relaxes nothing") {
    everywhere([](auto t) {
        t.establish();
        for (std::uint32_t at = 1; at < 40'000; at += 1000) {
            t.client(ACK, at, 1, 1000);
            t.server(ACK, 1, at + 1000);
        }
        tcp_segment reset = t.make(true, RST | ACK, 40'001 - 32'768, 0, 0, 0);
        reset.ack = {0};
        CHECK(tcp_tracker<loose_checks>::update(t.c, direction::from_client, reset) == dropped(drop_reason::rst_outside_window));
        CHECK(t.c.state == tcp_state::established);
    });
}

TEST_CASE("F17 in SYN-SENT only a RST that acknowledges the SYN closes (RFC 9293 section 3.10.7.3)") {
    everywhere([](auto t) {
        t.open();
        CHECK(t.server(RST, 0, 0) == dropped(drop_reason::rst_outside_window));
        CHECK(t.server(RST | ACK, 0, 0) == dropped(drop_reason::rst_outside_window));
        CHECK(t.server(RST | ACK, 0, 2) == dropped(drop_reason::rst_outside_window));
        CHECK(t.c.state == tcp_state::syn_sent);
        CHECK(t.server(RST | ACK, 0, 1) == accepted);
        CHECK(t.c.state == tcp_state::closed);
    });
    everywhere([](auto t) {
        t.open();
        CHECK(t.client(RST, 77, 0) == dropped(drop_reason::rst_outside_window));
        CHECK(t.client(RST, 1, 0) == accepted);
        CHECK(t.c.state == tcp_state::closed);
    });
}

TEST_CASE("a RST lost behind the tracker is drawn again: what its receiver sends on passes") {
    everywhere([](auto t) {
        t.establish();
        CHECK(t.client(RST | ACK, 1, 1) == accepted);
        CHECK(t.server(ACK, 1, 1, 1000) == passed);
        CHECK(t.client(RST, 1, 0) == passed);
        CHECK(t.c.state == tcp_state::closed);
    });
}

TEST_CASE("bounds I and III at their edges: one byte further is refused") {
    // I: the client may send from 1 to 1001; a segment that begins there touches the window.
    everywhere([](auto t) {
        t.establish(65535, 1000);
        CHECK(t.client(ACK, 1, 1, 1000) == accepted);
        CHECK(t.client(ACK, 1001, 1, 0) == accepted);
    });
    // F34: up to one window too far passes, and its acknowledgment is no surprise.
    everywhere([](auto t) {
        t.establish(65535, 1000);
        CHECK(t.client(ACK, 1001, 1, 500) == accepted);  // begins inside: it intersects the window
        CHECK(t.server(ACK, 1, 1501, 0, 1000) == accepted);
    });
    everywhere([](auto t) {
        t.establish(65535, 1000);
        CHECK(t.client(ACK, 1002, 1, 998) == passed);
        CHECK((t.c.marks[0] & tcp_mark::overshot) != 0);
        CHECK(timeout_of(t.c, flow_timeouts::firewall()) == flow_timeouts::firewall().unacknowledged);
        CHECK(t.server(ACK, 1, 2000, 0, 1000) == accepted);
        CHECK((t.c.marks[0] & tcp_mark::overshot) == 0);
    });
    everywhere([](auto t) {
        t.establish(65535, 1000);
        CHECK(t.client(ACK, 1002, 1, 999) == dropped(drop_reason::seq_above_window));
        CHECK(t.client(ACK, 1'000'000, 1, 10) == dropped(drop_reason::seq_above_window));
    });
    // III
    everywhere([](auto t) {
        t.establish();
        t.client(ACK, 1, 1, 1000);
        CHECK(t.server(ACK, 1, 1000) == accepted);
        CHECK(t.server(ACK, 1, 1001) == accepted);
        CHECK(t.server(ACK, 1, 1002) == dropped(drop_reason::ack_above_sent));
    });
}

TEST_CASE("bounds II and IV at their edges: beyond them strict drops and loose passes") {
    everywhere<strict_checks>([](auto t) {
        t.establish(1000, 1000);
        for (std::uint32_t at = 1; at < 10'000; at += 1000) {
            t.client(ACK, at, 1, 1000, 1000);
            t.server(ACK, 1, at + 1000, 0, 1000);
        }
        CHECK(t.client(ACK, 9001, 1, 0, 1000) == accepted);  // end 9001 = 10001 - 1000
        CHECK(t.client(ACK, 9000, 1, 1, 1000) == accepted);
        CHECK(t.client(ACK, 9000, 1, 0, 1000) == dropped(drop_reason::seq_below_window));
    });
    everywhere<strict_checks>([](auto t) {
        t.establish(1000, 60'000);
        std::uint32_t end = 1;
        for (; end < 70'001; end += 1000) {
            t.client(ACK, end, 1, 1000, 1000);
            t.server(ACK, 1, end + 1000, 0, 60'000);
        }
        CHECK(t.server(ACK, 1, end - 66'000, 0, 60'000) == accepted);
        CHECK(t.server(ACK, 1, end - 66'001, 0, 60'000) == dropped(drop_reason::ack_too_old));
    });
    everywhere([](auto t) {
        t.establish(1000, 60'000);
        std::uint32_t end = 1;
        for (; end < 70'001; end += 1000) {
            t.client(ACK, end, 1, 1000, 1000);
            t.server(ACK, 1, end + 1000, 0, 60'000);
        }
        seq_num const before = t.c.side[1].max_ack;
        CHECK(t.server(ACK, 1, end - 66'001, 0, 60'000) == passed);
        CHECK(t.c.side[1].max_ack == before);
    });
}

TEST_CASE("window scale counts only when both sides offered it, and never on SYNs (RFC 7323 sections 1.3 and 2.2)") {
    struct both {
        std::optional<unsigned> client, server;
        std::uint32_t client_may_send;  // with the server's window of 100
    };
    for (both const& b : {both{7, 4, 1600}, {std::nullopt, 4, 100}, {7, std::nullopt, 100}, {0, 14, 100u << 14}, {7, 0, 100}})
        everywhere([&b](auto t) {
            t.open(1000, {.scale = b.client});
            t.server(SYN | ACK, 0, 1, 0, 100, {.scale = b.server});
            CHECK(t.c.side[0].max_end == seq_num{t.n.client} + 101);
            t.client(ACK, 1, 1);
            t.server(ACK, 1, 1, 0, 100);
            CHECK(t.c.side[0].max_end == seq_num{t.n.client} + 1 + b.client_may_send);
        });
}

TEST_CASE("F36 the right edge of a SACK block counts for the upper bound, when SACK was permitted") {
    everywhere([](auto t) {
        t.establish(65535, 65535, {.sack = true}, {.sack = true});
        t.server(ACK, 1, 1, 1000);
        t.server(ACK, 2001, 1, 1000);
        CHECK(t.client_sacks(1, 1001, 3001) == accepted);
        CHECK(t.client_sacks(1, 1001, 3002) == dropped(drop_reason::ack_above_sent));
        CHECK(t.client_sacks(1, 3001, 1001) == accepted);  // D-SACK (RFC 2883): below the acknowledgment
        CHECK(t.c.side[1].max_end == seq_num{t.n.server} + 3001 + 65535);  // the window counts from the acknowledgment alone
    });
    everywhere([](auto t) {
        t.establish();
        t.server(ACK, 1, 1, 1000);
        CHECK(t.client_sacks(1, 1001, 9001) == accepted);  // not permitted: not looked at
    });
}

TEST_CASE("F36 an end may send SACK blocks when its peer permitted them, whether it did itself or not (RFC 2018 section 3)") {
    everywhere([](auto t) {
        t.establish(65535, 65535, {.sack = false}, {.sack = true});
        t.server(ACK, 1, 1, 1000);
        CHECK(t.client_sacks(1, 1001, 1002) == dropped(drop_reason::ack_above_sent));
    });
    everywhere([](auto t) {
        t.establish(65535, 65535, {.sack = true}, {.sack = false});
        t.server(ACK, 1, 1, 1000);
        CHECK(t.client_sacks(1, 1001, 1002) == accepted);  // means nothing to the server
    });
}

TEST_CASE("zero window probes and keepalives pass, with a garbage byte or without (RFC 9293 sections 3.8.4 and 3.8.6.1)") {
    everywhere([](auto t) {
        t.establish();
        CHECK(t.client(ACK, 1, 1, 1000) == accepted);
        CHECK(t.server(ACK, 1, 1001, 0, 0) == accepted);  // closed
        CHECK(timeout_of(t.c, flow_timeouts::firewall()) == flow_timeouts::firewall().retransmitting);
        CHECK(t.client(ACK, 1001, 1, 1) == accepted);  // probe with a byte
        CHECK(t.server(ACK, 1, 1001, 0, 0) == accepted);
        CHECK(t.client(ACK, 1000, 1, 0) == accepted);  // probe below
        CHECK(t.server(ACK, 1, 1001, 0, 0) == accepted);
        CHECK(t.server(ACK, 1, 1001, 0, 5000) == accepted);  // open again
        CHECK(timeout_of(t.c, flow_timeouts::firewall()) == flow_timeouts::firewall().established);
        CHECK(t.client(ACK, 1001, 1, 1000) == accepted);
        CHECK(t.server(ACK, 1, 2001) == accepted);
        for (std::uint32_t garbage : {0u, 1u}) {
            CHECK(t.client(ACK, 2000, 1, garbage) == accepted);
            CHECK(t.server(ACK, 1, 2001) == accepted);
            CHECK(t.server(ACK, 0, 2001, garbage) == accepted);
            CHECK(t.client(ACK, 2001, 1) == accepted);
        }
    });
}

TEST_CASE("F39 the same segment three times more shortens the timeout, a good one restores it") {
    everywhere([](auto t) {
        t.establish();
        flow_timeouts const times = flow_timeouts::firewall();
        t.client(ACK, 1, 1, 1000);
        for (int i = 0; i < 2; ++i) t.client(ACK, 1, 1, 1000);
        CHECK(timeout_of(t.c, times) == times.established);
        t.client(ACK, 1, 1, 1000);
        CHECK(timeout_of(t.c, times) == times.retransmitting);
        t.server(ACK, 1, 1001);
        CHECK(timeout_of(t.c, times) == times.established);
    });
}

TEST_CASE("every state has its timeout, and the presets differ") {
    for (flow_timeouts const& times : {flow_timeouts::firewall(), flow_timeouts::adc()}) {
        talk<> t{.n = {1000, 700'000}};
        t.open();
        CHECK(timeout_of(t.c, times) == times.syn_sent);
        t.server(SYN | ACK, 0, 1);
        CHECK(timeout_of(t.c, times) == times.syn_received);
        t.client(ACK, 1, 1);
        CHECK(timeout_of(t.c, times) == times.established);
        t.client(FIN | ACK, 1, 1);
        CHECK(timeout_of(t.c, times) == times.half_closed);
        t.server(FIN | ACK, 1, 2);
        CHECK(timeout_of(t.c, times) == times.last_ack);
        t.client(ACK, 2, 2);
        CHECK(timeout_of(t.c, times) == times.time_wait);
        t.client(RST, 2, 0);
        CHECK(timeout_of(t.c, times) == times.closed);
    }
}

TEST_CASE("F29 a SYN in TIME-WAIT or after a RST reopens") {
    everywhere([](auto t) {
        t.establish();
        t.client(FIN | ACK, 1, 1);
        t.server(FIN | ACK, 1, 2);
        t.client(ACK, 2, 2);
        REQUIRE(t.c.state == tcp_state::time_wait);
        CHECK(t.client(SYN, 900'000, 0) == reopened);
        CHECK(t.server(SYN, 900'000, 0) == reopened);
    });
}

TEST_CASE("a server that forgot the connection takes the new SYN, and the tracker follows") {
    everywhere([](auto t) {
        t.establish();
        t.client(ACK, 1, 1, 1000);
        t.server(ACK, 1, 1001, 1000);
        CHECK(t.client(SYN, 5'000'000, 0, 0, 1000, {.scale = 3, .sack = true}) == passed);
        CHECK(t.server(SYN | ACK, 9'000'000, 5'000'001, 0, 2000, {.scale = 2, .sack = true}) == accepted);
        CHECK(t.c.state == tcp_state::syn_received);
        CHECK(t.client(ACK, 5'000'001, 9'000'001, 0, 500) == accepted);
        CHECK(t.c.state == tcp_state::established);
        CHECK(t.server(ACK, 9'000'001, 5'000'001, 4000) == accepted);  // 500 << 3
        CHECK(t.c.scale[0] == 3);
    });
}

TEST_CASE("late copies of the SYN and its SYN-ACK, one after the other, break no live connection") {
    everywhere([](auto t) {
        t.establish();
        for (std::uint32_t at = 1; at < 20'001; at += 1000) {
            CHECK(t.client(ACK, at, at, 1000) == accepted);
            CHECK(t.server(ACK, at, at + 1000, 1000) == accepted);
        }
        CHECK(t.client(SYN, 0, 0) == passed);
        CHECK(t.server(SYN | ACK, 0, 1).outcome != track_outcome::drop);
        CHECK(t.client(ACK, 20'001, 20'001, 1000) == accepted);
        CHECK(t.server(ACK, 20'001, 21'001, 1000) == accepted);
        CHECK(t.client(ACK, 21'001, 21'001) == accepted);
    });
}

TEST_CASE("without checks no number is a reason to drop") {
    everywhere<no_checks>([](auto t) {
        t.open();
        CHECK(t.server(SYN | ACK, 7, 12345).outcome != track_outcome::drop);
        for (std::uint32_t far : {0u, 1u, 1'000'000u, 0x7fff'ffffu, 0x8000'0000u, 0xffff'ffffu})
            for (std::uint8_t flags : {std::uint8_t{ACK}, std::uint8_t(FIN | ACK), std::uint8_t{SYN}, std::uint8_t(SYN | ACK)}) {
                CHECK(t.client(flags, far, ~far, 100).outcome != track_outcome::drop);
                CHECK(t.server(flags, ~far, far, 100).outcome != track_outcome::drop);
            }
        CHECK(t.client(RST, 123, 0).outcome != track_outcome::drop);
        CHECK(t.c.state == tcp_state::closed);
    });
}

TEST_CASE("only the six combinations of flags that occur are taken (RFC 9293 section 3.10)") {
    int valid = 0;
    for (unsigned flags = 0; flags < 256; ++flags) {
        unsigned const kind = flags & 0x17u;
        bool const expected = kind == 0x02 || kind == 0x12 || kind == 0x04 || kind == 0x14 || kind == 0x11 || kind == 0x10;
        CHECK(valid_tcp_flags(static_cast<std::uint8_t>(flags)) == expected);
        valid += expected;
        talk<no_checks> t{.n = {1000, 2000}};
        t.establish();
        if (!expected) CHECK(t.client(static_cast<std::uint8_t>(flags), 1, 1) == dropped(drop_reason::tcp_flags));
    }
    CHECK(valid == 6 * 16);
}

TEST_CASE("a client that speaks before the SYN-ACK is dropped, unless nothing is checked") {
    talk<> t{.n = {1000, 2000}};
    t.open();
    CHECK(t.client(ACK, 1, 1) == dropped(drop_reason::answer_unseen));
    CHECK(t.client(ACK, 2, 1) == dropped(drop_reason::tcp_state));
    CHECK(t.client(SYN | ACK, 0, 1) == dropped(drop_reason::tcp_state));
}
