// SPDX-License-Identifier: BSL-1.0
// Several machines with one secret: whichever gets the client's answer takes it, whatever time its own packets' clock shows.
#include <halfproxy/engine/engine.hpp>

#include "tests/support/splice.hpp"

#include <utility>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using line = timeline<>;
using hands = handshake_of<>;

constexpr std::int64_t today_ms = 1'750'000'012'345;  // since 1970

/// A timeline's packet time begins at 1,000,000 ms: what makes it a wall clock that shows `wall_ms` when the timeline shows 0.
packet_clock::duration shows(std::int64_t wall_ms) { return std::chrono::milliseconds(wall_ms - 1'000'000); }

engine_config machine(std::int64_t wall_ms, guard_method method = guard_method::splice) {
    engine_config c = guarded();
    c.guard.method = method;
    c.common_clock = shows(wall_ms);
    return c;
}

endpoints family(unsigned version) {
    endpoints e;
    e.version = version;
    return e;
}

/// What the client does next comes to another machine.
hands continued(line& other, hands const& begun) {
    hands h{other};
    h.client = begun.client;
    h.cookie = begun.cookie;
    h.cookie_clock = begun.cookie_clock;
    return h;
}

}  // namespace

TEST_CASE("a client whose SYN-ACK came from one machine completes through another that was started days later") {
    for (unsigned version : {4u, 6u})
        for (bool timestamps : {true, false}) {
            line first(machine(today_ms), family(version));
            line second(machine(today_ms - 3 * 86'400'000), family(version));
            first.at(5'000);
            hands h{first};
            h.client.timestamps = timestamps;
            h.challenge();
            second.at(3 * 86'400'000 + 5'200);
            hands there = continued(second, h);
            decoded const syn = there.validate();
            CHECK(syn.tcp.seq == h.client.isn);
            CHECK(syn.tcp.scale == h.client.scale);
            CHECK(syn.tcp.timestamps.has_value() == timestamps);
            CHECK(there.complete().fate == verdict::forward);
            outcome const data = second.client_sends(there.from_client(0, 0, filled(100)));
            REQUIRE(data.fate == verdict::forward);
            CHECK(data.packet->tcp.ack == there.server.isn + 1);
            CHECK(first.proxy().flows_now() == 0);
        }
}

TEST_CASE("challenge_reset: a proof given to another machine than the one that asked for it counts there") {
    for (unsigned version : {4u, 6u}) {
        line first(machine(today_ms, guard_method::challenge_reset), family(version));
        line second(machine(today_ms - 50'000, guard_method::challenge_reset), family(version));
        outcome const challenge = first.at(5'000).client_sends(syn_of({.isn = 1000}));
        REQUIRE(challenge.fate == verdict::reply);
        segment const proof{.seq = challenge.packet->tcp.ack, .flags = flags::rst};
        CHECK(second.at(55'100).client_sends(proof).fate == verdict::hold);
        CHECK(second.client_sends(syn_of({.isn = 1000})).fate == verdict::forward);
    }
}

TEST_CASE("another secret, another clock, and a cookie two epochs old are refused") {
    for (unsigned version : {4u, 6u}) {
        line first(machine(today_ms), family(version));
        hands h{first};
        h.challenge();
        engine_config stranger = machine(today_ms);
        stranger.secret.bytes[7] ^= 0x10;
        std::pair<engine_config, std::uint64_t> const refusing[] = {
            {stranger, 200}, {machine(today_ms + 90'000), 200}, {machine(today_ms), 60'000}, {guarded(), 200}};
        for (auto const& [config, later] : refusing) {
            line second(config, family(version));
            CHECK(second.at(later).client_sends(h.third_ack()).reason == drop_reason::cookie_invalid);
            CHECK(second.proxy().flows_now() == 0);
        }
        line second(machine(today_ms), family(version));
        second.ends.client_port = 40'001;
        CHECK(second.at(200).client_sends(h.third_ack()).reason == drop_reason::cookie_invalid);
        second.ends.client_port = 40'000;
        CHECK(second.client_sends(h.third_ack()).fate == verdict::forward);
    }
}

TEST_CASE("a wall clock that is set breaks no handshake, and brings a machine that was wrong to the others") {
    for (std::int64_t const wrong_by : {std::int64_t{-7'211'000}, std::int64_t{-1'000}, std::int64_t{40'000}}) {
        CAPTURE(wrong_by);
        line right(machine(today_ms)), other(machine(today_ms + wrong_by));
        other.at(10'000);
        hands h{other};
        h.challenge();
        time_point const now(std::chrono::milliseconds(1'010'100));
        CHECK(other.proxy().set_common_clock(shows(today_ms), now));
        CHECK_FALSE(other.proxy().set_common_clock(shows(today_ms + 1), now));
        other.at(25'000);
        h.validate();
        CHECK(h.complete().fate == verdict::forward);
        for (std::uint64_t t = 140'000; t < 200'000; t += 5'000) {
            other.ends.client_port = right.ends.client_port = 50'000 + static_cast<unsigned>(t / 1000);
            hands fresh{right.at(t)};
            fresh.challenge();
            CHECK(other.at(t + 100).client_sends(continued(other, fresh).third_ack()).fate == verdict::forward);
        }
    }
}
