// SPDX-License-Identifier: BSL-1.0
// Connections of which one direction only passes here, and such as were met in the middle.
#include <halfproxy/track/tcp_tracker.hpp>

#include "tests/support/tcp_talk.hpp"

#include <doctest/doctest.h>

#include <cstdint>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

/// What loose comes to where paths may be asymmetric.
using one_way_checks = fixed_checks<loose_check_set.without(tcp_check::answer_seen)>;

constexpr flow_timeouts times = flow_timeouts::firewall();

}  // namespace

TEST_CASE("a client that goes on without an answer seen is refused with a reason of its own") {
    everywhere([](auto t) {
        t.open();
        CHECK(t.client(ACK, 1, 77) == dropped(drop_reason::answer_unseen));
        CHECK(t.client(ACK, 1, 77, 100) == dropped(drop_reason::answer_unseen));
        CHECK(t.c.state == tcp_state::syn_sent);
    });
}

TEST_CASE("on an asymmetric path the client's side alone is followed from SYN to FIN, on the timeouts of an established connection") {
    everywhere<one_way_checks>([](auto t) {
        t.open(64240, {.scale = 7});
        CHECK(t.client(ACK, 2, 77) == dropped(drop_reason::tcp_state));  // not where its SYN ended
        CHECK(t.client(ACK, 1, 1) == accepted);
        CHECK(t.c.state == tcp_state::established);
        CHECK(is_one_sided(t.c));
        CHECK(timeout_of(t.c, times) == times.established);
        for (std::uint32_t at = 1; at < 3'000'000; at += 1460) CHECK(t.client(ACK, at, at, 1460) == accepted);
        CHECK(t.client(ACK, 3'000'000u + (1u << 31), 1) == dropped(drop_reason::seq_above_window));
        CHECK(t.client(ACK, 3'000'000, 1u << 31) == dropped(drop_reason::ack_above_sent));
        CHECK(t.client(FIN | ACK, 3'000'301, 1) == accepted);
        CHECK(t.c.state == tcp_state::half_closed);
        CHECK(timeout_of(t.c, times) == times.unacknowledged);  // the other FIN will not be seen
    });
}

TEST_CASE("on an asymmetric path a RST of the side that is seen closes where its last byte was, others pass or are dropped") {
    everywhere<one_way_checks>([](auto t) {
        t.open();
        t.client(ACK, 1, 1);
        t.client(ACK, 1, 1, 1000);
        CHECK(t.client(RST, 1002, 0) == passed);
        CHECK(t.client(RST, 500, 0) == dropped(drop_reason::rst_outside_window));
        CHECK(t.c.state == tcp_state::established);
        CHECK(t.client(RST, 1001, 0) == accepted);
        CHECK(t.c.state == tcp_state::closed);
    });
}

TEST_CASE("where only the server's direction passes, its SYN-ACK opens and its next segment establishes") {
    everywhere<one_way_checks>([](auto t) {
        tcp_tracker<one_way_checks>::open_by_answer(t.c, t.make(false, SYN | ACK, 0, 1, 0, 65535, {.scale = 7}));
        CHECK(t.c.state == tcp_state::syn_received);
        CHECK(timeout_of(t.c, times) == times.syn_received);
        CHECK(t.server(SYN | ACK, 0, 1) == passed);
        for (std::uint32_t at = 1; at < 2'000'000; at += 1460) CHECK(t.server(ACK, at, at, 1460) == accepted);
        CHECK(t.c.state == tcp_state::established);
        CHECK(timeout_of(t.c, times) == times.established);
        CHECK(t.server(ACK, 1u << 31, 1, 10) == dropped(drop_reason::seq_above_window));
    });
}

TEST_CASE("when the other direction comes to pass here after all, both are followed, and soon checked") {
    everywhere<one_way_checks>([](auto t) {
        t.open();
        t.client(ACK, 1, 1);
        t.client(ACK, 1, 1, 1000);
        CHECK(t.server(ACK, 1, 1001, 500) == accepted);
        CHECK_FALSE(is_one_sided(t.c));
        CHECK(t.client(ACK, 1001, 501, 1000) == accepted);
        CHECK(t.server(ACK, 501, 2001) == accepted);
        CHECK(t.server(ACK, 501, 2002) == dropped(drop_reason::ack_above_sent));
        CHECK(t.client(ACK, 2001, 502) == dropped(drop_reason::ack_above_sent));
    });
}

TEST_CASE("F42 what is met in the middle lives on a short timeout until both sides were seen") {
    everywhere([](auto t) {
        tcp_tracker<loose_checks>::pick_up(t.c, t.make(true, ACK, 5000, 9000, 100, 500));
        CHECK(timeout_of(t.c, times) == times.unacknowledged);
        CHECK(t.client(ACK, 5100, 12'000, 100) == accepted);
        CHECK(timeout_of(t.c, times) == times.unacknowledged);  // its other direction may take another path: not unless that is allowed
        CHECK(t.server(ACK, 12'000, 5200, 1400) == accepted);
        CHECK(timeout_of(t.c, times) == times.established);
    });
}

TEST_CASE("F42 what is met in the middle is checked once each side's numbers were acknowledged by the other") {
    everywhere([](auto t) {
        tcp_tracker<loose_checks>::pick_up(t.c, t.make(true, ACK, 5000, 9000, 100, 500));
        CHECK(t.client(ACK, 1'000'000, 9000, 10) == accepted);  // nothing is known yet
        CHECK(t.client(ACK, 5100, 9000, 10) == accepted);
        CHECK(t.server(ACK, 9000, 5110, 1400) == accepted);
        CHECK(t.client(ACK, 1'000'010, 10'400, 10) == accepted);
        CHECK(t.server(ACK, 10'400, 1'000'020) == accepted);
        CHECK(t.server(ACK, 10'400, 1'000'021) == dropped(drop_reason::ack_above_sent));
        CHECK(t.client(ACK, 1'000'020, 10'401) == dropped(drop_reason::ack_above_sent));
        CHECK(t.server(RST, 10'399, 0) == dropped(drop_reason::rst_outside_window));
        CHECK(t.c.state == tcp_state::established);
    });
}

TEST_CASE("F42 met in the middle of a retransmission, data sent before are known by their acknowledgment") {
    everywhere([](auto t) {
        tcp_tracker<loose_checks>::pick_up(t.c, t.make(true, ACK, 5000, 9000, 1000, 500));  // 20,000 more are under way, or lost
        CHECK(t.server(ACK, 9000, 25'000) == accepted);
        CHECK(t.client(ACK, 25'000, 9000, 1000) == accepted);
        CHECK(t.server(ACK, 9000, 26'000) == accepted);
        CHECK(t.server(ACK, 9000, 26'001) == dropped(drop_reason::ack_above_sent));
    });
}

TEST_CASE("where asymmetric paths are allowed, acknowledgments that go on show that what was met in the middle is one") {
    everywhere<one_way_checks>([](auto t) {
        tcp_tracker<one_way_checks>::pick_up(t.c, t.make(true, ACK, 5000, 9000, 100, 500));
        CHECK(timeout_of(t.c, times) == times.unacknowledged);
        CHECK(t.client(ACK, 5100, 12'000, 100) == accepted);
        CHECK(timeout_of(t.c, times) == times.established);
    });
}

TEST_CASE("a connection that another tracker tells of keeps its timeout, and is judged by its numbers when both sides were seen and acknowledged") {
    everywhere([](auto t) {
        t.establish(65535, 65535, {.scale = 3, .sack = true}, {.scale = 5, .sack = true});
        tcp_told const told = tcp_tracker<loose_checks>::tell(t.c);
        CHECK(told.scale == std::array<std::uint8_t, 2>{3, 5});
        tcp_tracker<loose_checks>::adopt(t.c, told);
        CHECK(is_unseen(t.c));
        CHECK(tcp_tracker<loose_checks>::tell(t.c) == told);
        CHECK(timeout_of(t.c, times) == times.established);
        for (std::uint32_t const far : {5'000'000u, 3'000'000'000u}) {
            auto u = t;
            CHECK(u.client(ACK, far, 9000, 100) == accepted);
            CHECK(timeout_of(u.c, times) == times.unacknowledged);
            CHECK(u.server(ACK, 9000, far + 100, 1400) == accepted);
            CHECK(timeout_of(u.c, times) == times.established);
            CHECK(u.client(ACK, far + 100, 10'400) == accepted);
            CHECK(u.server(ACK, 10'400, far + 100) == accepted);
            CHECK(u.client(ACK, far + 100, 10'401) == dropped(drop_reason::ack_above_sent));
            CHECK(u.server(ACK, 10'400, far + 101) == dropped(drop_reason::ack_above_sent));
        }
    });
}

TEST_CASE("of a connection that another tracker tells of, a RST counts where it stands exactly as told, and a FIN stays one") {
    everywhere([](auto t) {
        t.establish();
        REQUIRE(t.client(FIN | ACK, 1, 1) == accepted);
        tcp_tracker<loose_checks>::adopt(t.c, tcp_tracker<loose_checks>::tell(t.c));
        CHECK(t.c.state == tcp_state::half_closed);
        CHECK(timeout_of(t.c, times) == times.half_closed);
        auto u = t;
        CHECK(u.server(RST, 2, 0) == passed);
        CHECK(u.server(RST, 1, 0) == accepted);
        CHECK(u.c.state == tcp_state::closed);
        CHECK(t.server(FIN | ACK, 1, 2) == accepted);
        CHECK(t.client(ACK, 2, 2) == accepted);
        CHECK(t.c.state == tcp_state::time_wait);
    });
}
