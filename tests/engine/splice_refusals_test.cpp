// SPDX-License-Identifier: BSL-1.0
// What becomes of ACKs that carry no cookie of ours, and of answers to connections that are gone.
#include <halfproxy/engine/engine.hpp>

#include "tests/support/splice_checks.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using line = timeline<>;
using hands = handshake_of<>;

engine_config answering(std::uint32_t resets_per_second) {
    engine_config c = guarded();
    c.splice = {.invalid_ack = invalid_ack_policy::reset, .resets_per_second = resets_per_second};
    return c;
}

}  // namespace

TEST_CASE("F10 an ACK with a wrong cookie is answered with a RST where that is configured, and no more often than configured") {
    for (unsigned version : {4u, 6u}) {
        line l(answering(5), family(version));
        segment const forged{.seq = 77, .ack = 123'456, .flags = flags::ack | flags::psh, .window = 9, .payload = filled(30)};
        for (int i = 0; i < 8; ++i) {
            outcome const o = l.client_sends(forged);
            CHECK(o.beside.empty());
            if (i >= 5) {
                CHECK(o.reason == drop_reason::cookie_invalid);
                continue;
            }
            REQUIRE(o.fate == verdict::reply);
            CHECK(o.packet->tcp.flags == flags::rst);
            CHECK(o.packet->tcp.seq == 123'456);
            CHECK(o.packet->tcp.payload.empty());
            check_way_back(*o.packet, l.ends);
        }
        l.after(1000);
        CHECK(l.client_sends(forged).fate == verdict::reply);
        CHECK(l.counters().resets_sent == 6);
        CHECK(l.counters().cookies_invalid == 9);
        CHECK(l.proxy().flows_now() == 0);
    }
}

TEST_CASE("F10 a wrong cookie is dropped silently unless configured otherwise, and a wrong checksum in either case") {
    for (unsigned version : {4u, 6u}) {
        segment const forged{.seq = 77, .ack = 123'456, .flags = flags::ack, .window = 9};
        line silent(guarded(), family(version));
        CHECK(silent.client_sends(forged).reason == drop_reason::cookie_invalid);
        line loud(answering(5), family(version));
        loud.verify_checksums = false;
        byte_string damaged = framed(loud.ends, tcp_datagram(loud.ends, true, forged));
        damaged[damaged.size() - 5] ^= 1;
        CHECK(loud.sends(side::outside, damaged).reason == drop_reason::l4_checksum);
        CHECK(loud.counters().resets_sent == 0);
    }
}

TEST_CASE("F47 a SYN-ACK nobody waits for any more gets a RST, as often as configured; from outside never, and never with the guard off") {
    for (unsigned version : {4u, 6u}) {
        engine_config config = guarded();
        config.splice.resets_per_second = 1;
        segment late = syn_of({.isn = 700'000});
        late.flags = flags::syn | flags::ack;
        late.ack = 1001;
        line l(config, family(version));
        outcome const o = l.server_sends(late);
        REQUIRE(o.fate == verdict::reply);
        CHECK(o.packet->exit == side::inside);
        CHECK(o.packet->tcp.flags == flags::rst);
        CHECK(o.packet->tcp.seq == 1001);
        CHECK(l.server_sends(late).reason == drop_reason::no_flow);
        CHECK(l.client_sends(late).reason == drop_reason::no_flow);
        line off(guarded(guard_mode::off), family(version));
        CHECK(off.server_sends(late).reason == drop_reason::no_flow);
    }
}

TEST_CASE("F12 F29 a valid cookie on a tuple that is over opens the new connection after one check") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        hands h{l};
        h.all();
        segment reset = h.from_client(0, 0);
        reset.flags = flags::rst;
        CHECK(l.client_sends(reset).fate == verdict::forward);
        hands again{l};
        again.client.isn = 77'000'000;
        again.all();
        check_translated_data(l, again);
        CHECK(l.counters().cookies_valid == 2);
        CHECK(l.counters().cookies_invalid == 0);
        CHECK(l.proxy().flows_now() == 1);
    }
}
