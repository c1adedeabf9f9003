// SPDX-License-Identifier: BSL-1.0
// Each check by itself: alone it drops what it is for, and without it nothing else does.
#include <halfproxy/track/tcp_checks.hpp>

#include "tests/support/tcp_talk.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <map>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using run_time_talk = talk<chosen_checks<true>>;

/// Segments of 1000 bytes from the client, each acknowledged.
void upload(run_time_talk& t, int segments, std::uint16_t window) {
    for (std::uint32_t at = 1; segments-- > 0; at += 1000) {
        REQUIRE(t.client(ACK, at, 1, 1000, window) == accepted);
        REQUIRE(t.server(ACK, 1, at + 1000, 0, window) == accepted);
    }
}

tcp_segment stamped(tcp_segment s, std::uint32_t value, std::uint32_t echo) {
    s.has_timestamps = true;
    s.timestamp_value = value;
    s.timestamp_echo = echo;
    return s;
}

struct violation {
    drop_reason reason;
    std::function<track_result(run_time_talk&)> commit;
};

/// For each check that drops a segment that fails it and no other one.
std::map<tcp_check, violation> const& violations() {
    static std::map<tcp_check, violation> const all{
        {tcp_check::state, {drop_reason::tcp_state, [](auto& t) { t.open(); return t.client(SYN | ACK, 0, 1); }}},
        {tcp_check::syn_ack, {drop_reason::syn_ack_mismatch, [](auto& t) { t.open(); return t.server(SYN | ACK, 0, 9); }}},
        {tcp_check::seq_above, {drop_reason::seq_above_window, [](auto& t) { t.establish(1000, 1000); return t.client(ACK, 2002, 1, 10); }}},
        {tcp_check::overshoot, {drop_reason::seq_above_window, [](auto& t) { t.establish(1000, 1000); return t.client(ACK, 1001, 1, 10); }}},
        {tcp_check::seq_below, {drop_reason::seq_below_window, [](auto& t) { t.establish(1000, 1000); upload(t, 9, 1000); return t.client(ACK, 7999, 1, 1, 1000); }}},
        {tcp_check::ack_above, {drop_reason::ack_above_sent, [](auto& t) { t.establish(); return t.server(ACK, 1, 2); }}},
        {tcp_check::ack_below, {drop_reason::ack_too_old, [](auto& t) { t.establish(2000, 2000); upload(t, 70, 2000); return t.server(ACK, 1, 4000, 0, 2000); }}},
        {tcp_check::rst_window, {drop_reason::rst_outside_window, [](auto& t) { t.establish(1000, 1000); return t.server(RST, 1002, 0); }}},
        {tcp_check::syn_synchronized, {drop_reason::tcp_state, [](auto& t) { t.establish(); return t.client(SYN, 5'000'000, 0); }}},
        {tcp_check::timestamps, {drop_reason::timestamp_old, [](auto& t) {
             t.establish();
             t.sends(direction::from_client, stamped(t.make(true, ACK, 1, 1, 10, 1000), 500, 0));
             t.sends(direction::from_server, stamped(t.make(false, ACK, 1, 11, 0, 1000), 9, 500));
             return t.sends(direction::from_client, stamped(t.make(true, ACK, 11, 1, 10, 1000), 499, 9));
         }}},
    };
    return all;
}

track_result commit(violation const& v, tcp_check_set set, isns const& n) {
    run_time_talk t{.n = n, .checks = chosen_checks<true>(set)};
    return v.commit(t);
}

}  // namespace

TEST_CASE("a check alone drops what it is for") {
    for (isns const& n : every_isn)
        for (auto const& [which, v] : violations()) CHECK(commit(v, tcp_check_set{}.with(which), n) == dropped(v.reason));
}

TEST_CASE("without the check no other one drops it") {
    constexpr tcp_check_set every{(1u << tcp_check_count) - 1};
    for (isns const& n : every_isn)
        for (auto const& [which, v] : violations()) CHECK(commit(v, every.without(which), n).outcome != track_outcome::drop);
}

TEST_CASE("every check that drops has its violation here; rst_exact decides what closes, answer_seen has the asymmetric paths' tests") {
    CHECK(violations().size() + 2 == tcp_check_count);
}

TEST_CASE("rst_exact: with it only the exact RST closes, without it any in the window does (RFC 5961 section 3, RFC 793)") {
    for (isns const& n : every_isn)
        for (bool exact : {true, false}) {
            auto const set = exact ? tcp_check_set{}.with(tcp_check::rst_exact) : tcp_check_set{}.with(tcp_check::rst_window);
            run_time_talk t{.n = n, .checks = chosen_checks<true>(set)};
            t.establish(1000, 1000);
            CHECK(t.server(RST, 500, 0) == (exact ? passed : accepted));
            CHECK(t.c.state == (exact ? tcp_state::established : tcp_state::closed));
            CHECK(t.server(RST, 1, 0) == (exact ? accepted : passed));
            CHECK(t.c.state == tcp_state::closed);
        }
}

TEST_CASE("off, loose and strict are these sets, and loose is within strict") {
    CHECK(off_check_set == tcp_check_set{});
    CHECK((loose_check_set.bits & ~strict_check_set.bits) == 0);
    for (tcp_check which : {tcp_check::overshoot, tcp_check::seq_below, tcp_check::ack_below, tcp_check::timestamps}) {
        CHECK_FALSE(loose_check_set.has(which));
        CHECK(strict_check_set.has(which));
    }
    CHECK_FALSE(strict_check_set.has(tcp_check::syn_synchronized));
    static_assert(strict_checks::uses_timestamps && !loose_checks::uses_timestamps && !no_checks::uses_timestamps);
}

// --- PAWS (RFC 7323 section 5) -------------------------------------------------------------------------------------

namespace {

/// An established connection whose ends use timestamps, at clocks that may wrap.
struct stamped_talk : talk<strict_checks> {
    std::uint32_t client_clock, server_clock;
    std::uint32_t client_sent = 1, server_sent = 1;

    stamped_talk(isns const& at, std::uint32_t clock) : talk<strict_checks>{.n = at}, client_clock(clock), server_clock(clock + 77) {
        tcp_tracker<strict_checks>::open(c, stamped(make(true, SYN, 0, 0, 0, 5000), client_clock, 0));
        REQUIRE(sends(direction::from_server, stamped(make(false, SYN | ACK, 0, 1, 0, 5000), server_clock, client_clock)) == accepted);
        REQUIRE(sends(direction::from_client, stamped(make(true, ACK, 1, 1, 0, 5000), client_clock, server_clock)) == accepted);
    }
    /// A byte of the client's, with a timestamp so far from its first one, acknowledged when it was taken.
    track_result byte(std::int32_t ticks) {
        std::uint32_t const now = client_clock + static_cast<std::uint32_t>(ticks);
        track_result const result = sends(direction::from_client, stamped(make(true, ACK, client_sent, 1, 1, 5000), now, server_clock));
        if (result != accepted) return result;
        ++client_sent;
        REQUIRE(sends(direction::from_server, stamped(make(false, ACK, 1, client_sent, 0, 5000), server_clock, now)) == accepted);
        return result;
    }
};

constexpr std::uint32_t clocks[] = {1000, 0xffff'fff0, 0x7fff'fff0, 0};

template <class Run>
void at_every_clock(Run run) {
    for (isns const& n : every_isn)
        for (std::uint32_t clock : clocks) {
            CAPTURE(clock);
            stamped_talk t(n, clock);
            run(t);
        }
}

}  // namespace

TEST_CASE("a timestamp older than one its receiver has echoed is dropped, an equal one is not (RFC 7323 section 5.3)") {
    at_every_clock([](stamped_talk& t) {
        CHECK(t.byte(10) == accepted);
        CHECK(t.byte(10) == accepted);
        CHECK(t.byte(9) == dropped(drop_reason::timestamp_old));
        CHECK(t.byte(0x7fff'0000) == accepted);
        CHECK(t.byte(10) == dropped(drop_reason::timestamp_old));
    });
}

TEST_CASE("a timestamp that its receiver has not echoed yet makes no other one old: it may never have arrived (RFC 7323 section 4.3)") {
    at_every_clock([](stamped_talk& t) {
        CHECK(t.sends(direction::from_client, stamped(t.make(true, ACK, 2, 1, 1, 5000), t.client_clock + 90, t.server_clock)) == accepted);
        CHECK(t.sends(direction::from_client, stamped(t.make(true, ACK, 1, 1, 1, 5000), t.client_clock + 5, t.server_clock)) == accepted);
    });
}

TEST_CASE("a segment without timestamps, and a RST with an old one, are not judged by them (RFC 7323 section 5.2)") {
    at_every_clock([](stamped_talk& t) {
        t.byte(10);
        CHECK(t.client(ACK, 2, 1, 1) == accepted);
        CHECK(t.sends(direction::from_client, stamped(t.make(true, RST | ACK, 3, 1, 0, 0), t.client_clock, t.server_clock)) == accepted);
        CHECK(t.c.state == tcp_state::closed);
    });
}

TEST_CASE("timestamps are forgotten after 24 days, and learned again (RFC 7323 section 5.5)") {
    at_every_clock([](stamped_talk& t) {
        t.byte(10);
        forget_timestamps(t.c);
        CHECK(t.byte(5) == accepted);
        CHECK(t.byte(4) == dropped(drop_reason::timestamp_old));
    });
}

TEST_CASE("loose does not look at timestamps") {
    everywhere<loose_checks>([](auto t) {
        t.establish();
        t.sends(direction::from_client, stamped(t.make(true, ACK, 1, 1, 10, 1000), 500, 0));
        t.sends(direction::from_server, stamped(t.make(false, ACK, 1, 11, 0, 1000), 9, 500));
        CHECK(t.sends(direction::from_client, stamped(t.make(true, ACK, 11, 1, 10, 1000), 499, 9)) == accepted);
    });
}
