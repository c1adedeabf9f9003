// SPDX-License-Identifier: BSL-1.0
// What either end sends while the server is asked: kept, delivered, or the end of the attempt.
#include <halfproxy/engine/engine.hpp>

#include "tests/support/splice_checks.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using line = timeline<>;
using hands = handshake_of<>;

segment with_data(hands const& h, std::uint32_t at, byte_string payload, unsigned more = 0) {
    segment s = h.third_ack();
    s.seq += at;
    s.flags |= more | flags::psh;
    s.payload = std::move(payload);
    return s;
}

}  // namespace

TEST_CASE("F14 data on the third ACK and behind it is kept and follows our ACK to the server at once, in its numbers") {
    for (unsigned version : {4u, 6u})
        for (bool timestamps : {false, true}) {
            CAPTURE(version);
            CAPTURE(timestamps);
            line l(guarded(), family(version));
            hands h{l};
            h.client.timestamps = timestamps;
            h.challenge();
            outcome const syn = l.client_sends(with_data(h, 0, filled(100, 'a')));
            REQUIRE(syn.fate == verdict::forward);
            CHECK(syn.packet->tcp.flags == flags::syn);
            CHECK(syn.packet->tcp.payload.empty());
            CHECK(l.client_sends(with_data(h, 100, filled(50, 'b'))).fate == verdict::hold);
            CHECK(l.client_sends(with_data(h, 100, filled(50, 'b'))).reason == drop_reason::handshake_pending);  // again
            CHECK(l.client_sends(with_data(h, 500, filled(50, 'd'))).reason == drop_reason::handshake_pending);  // behind a gap
            CHECK(l.client_sends(with_data(h, 150, filled(7, 'c'), flags::fin)).fate == verdict::hold);
            outcome const o = h.complete();
            REQUIRE(o.fate == verdict::forward);
            CHECK(o.packet->tcp.flags == flags::ack);
            CHECK(o.packet->tcp.ack == h.client.isn + 1);  // the server acknowledges what it has, not we
            REQUIRE(o.beside.size() == 4);
            CHECK(o.beside[0].tcp.flags == flags::ack);
            std::uint32_t at = 0;
            for (auto const& [i, want] : {std::pair{1u, filled(100, 'a')}, {2u, filled(50, 'b')}, {3u, filled(7, 'c')}}) {
                decoded const& d = o.beside[i];
                CHECK(d.exit == side::inside);
                check_way_there(d, l.ends);
                CHECK(d.tcp.seq == h.client.isn + 1 + at);
                CHECK(d.tcp.ack == h.server.isn + 1);
                CHECK(d.tcp.payload == want);
                if (timestamps) CHECK(d.tcp.timestamps == std::pair{h.client.clock + 1, h.server.clock});
                at += static_cast<std::uint32_t>(want.size());
            }
            CHECK((o.beside[3].tcp.flags & flags::fin) != 0);
            CHECK(l.server_sends(h.from_server(0, 158, filled(9))).fate == verdict::forward);
            CHECK(l.counters().segments_held == 3);
            CHECK(l.counters().segments_delivered == 3);
            CHECK(l.proxy().handshakes_now() == 0);
        }
}

TEST_CASE("F14 a full pool, a connection's share and a frame too long for a slot drop, are counted, and come again") {
    for (unsigned version : {4u, 6u}) {
        engine_config config = guarded();
        config.splice.held_segments = 2;
        config.splice.held_bytes = 500;
        config.splice.held_per_connection = 1;
        line l(config, family(version));
        hands h{l};
        h.challenge();
        CHECK(l.client_sends(with_data(h, 0, filled(490))).fate == verdict::forward);
        CHECK(l.counters().segments_not_held == 1);  // too long
        CHECK(l.client_sends(with_data(h, 0, filled(90))).fate == verdict::hold);
        CHECK(l.client_sends(with_data(h, 90, filled(10))).reason == drop_reason::handshake_pending);  // its share
        CHECK(l.counters().segments_not_held == 2);
        for (unsigned other = 1; other <= 2; ++other) {
            l.ends.client_port = 40000 + other;
            hands another{l};
            another.challenge();
            CHECK(l.client_sends(with_data(another, 0, filled(10))).fate == verdict::forward);
            CHECK(l.counters().segments_held == 2);
            CHECK(l.counters().segments_not_held == 1 + other);
        }
        l.ends.client_port = 40000;
        outcome const o = h.complete();
        REQUIRE(o.beside.size() == 2);
        CHECK(o.beside[1].tcp.payload == filled(90));
        CHECK(l.client_sends(h.from_client(90, 0, filled(10))).fate == verdict::forward);
    }
}

TEST_CASE("F14 what is kept is given back however the attempt ends") {
    for (unsigned version : {4u, 6u})
        for (int end = 0; end < 3; ++end) {
            engine_config config = guarded();
            config.splice.held_segments = 1;
            line l(config, family(version));
            hands h{l};
            h.challenge();
            l.client_sends(with_data(h, 0, filled(20)));
            segment reset{.seq = h.client.isn + 21, .ack = h.client.isn + 1, .flags = flags::rst | flags::ack};
            if (end == 0) CHECK(l.client_sends(reset).fate == verdict::forward);
            if (end == 1) CHECK(l.server_sends(reset).fate == verdict::forward);
            if (end == 2) l.at(60'000);
            CHECK(l.proxy().flows_now() == 0);
            hands again{l};
            again.client.isn = 5'000'000;
            again.challenge();
            l.client_sends(with_data(again, 0, filled(20)));
            CHECK(l.counters().segments_held == 2);
        }
}

TEST_CASE("F14 without room in the outbox kept data comes again from the client, and the connection stands") {
    line l(guarded());
    hands h{l};
    h.challenge();
    l.client_sends(with_data(h, 0, filled(20)));
    byte_string room = framed(l.ends, tcp_datagram(l.ends, false, h.syn_ack()));
    frame f;
    f.length = f.wire_length = static_cast<std::uint32_t>(room.size());
    room.resize(256);
    f.data = room.data();
    f.capacity = 256;
    f.arrival = side::inside;
    outbox one(1);
    l.proxy().process({&f, 1}, time_point(std::chrono::milliseconds(1'000'000)), one);
    CHECK(f.outcome == verdict::forward);
    CHECK(one.frames().size() == 1);
    h.with_timestamps = true;
    CHECK(l.counters().segments_delivered == 0);
    check_translated_data(l, h);
}

TEST_CASE("F20 our ACK to the server carries a TSval no older than the client's last") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        hands h{l};
        h.challenge();
        h.validate();
        segment later = h.third_ack();
        later.seq -= 1;  // a probe of the closed window
        later.timestamps->first += 300;
        CHECK(l.client_sends(later).reason == drop_reason::handshake_pending);
        later.timestamps->first -= 200;  // overtaken
        CHECK(l.client_sends(later).reason == drop_reason::handshake_pending);
        outcome const o = h.complete();
        REQUIRE(o.beside.size() == 1);
        CHECK(o.beside[0].tcp.timestamps == std::pair{h.client.clock + 301, h.server.clock});
    }
}

TEST_CASE("F47 a client that ends its stream while the server is asked still hears the server: the FIN is kept and follows our ACK") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        hands h{l};
        h.challenge();
        h.validate();
        segment bye = h.third_ack();
        bye.flags |= flags::fin;
        CHECK(l.client_sends(bye).fate == verdict::hold);
        CHECK(l.client_sends(bye).reason == drop_reason::handshake_pending);  // by its timer
        outcome const o = h.complete();
        REQUIRE(o.beside.size() == 2);
        CHECK(o.beside[1].exit == side::inside);
        CHECK(o.beside[1].tcp.flags == (flags::fin | flags::ack));
        CHECK(o.beside[1].tcp.seq == h.client.isn + 1);
        CHECK(o.beside[1].tcp.ack == h.server.isn + 1);
        outcome const answer = l.server_sends(h.from_server(0, 1, filled(9)));
        REQUIRE(answer.fate == verdict::forward);
        CHECK(answer.packet->tcp.ack == h.client.isn + 2);
    }
}

TEST_CASE("F47 a client that has ended its stream and resets frees the state; a late SYN-ACK gets a RST") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        hands h{l};
        h.challenge();
        h.validate();
        segment bye = h.third_ack();
        bye.flags |= flags::fin;
        CHECK(l.client_sends(bye).fate == verdict::hold);
        segment const reset{.seq = h.client.isn + 2, .flags = flags::rst};
        outcome const o = l.client_sends(reset);
        REQUIRE(o.fate == verdict::forward);
        CHECK(o.packet->exit == side::inside);
        CHECK(o.packet->tcp.flags == flags::rst);
        CHECK(o.packet->tcp.seq == h.client.isn + 1);
        CHECK(l.proxy().flows_now() == 0);
        CHECK(l.proxy().handshakes_now() == 0);
        outcome const late = l.server_sends(h.syn_ack());
        REQUIRE(late.fate == verdict::reply);
        CHECK(late.packet->tcp.flags == flags::rst);
        CHECK(late.packet->tcp.seq == h.client.isn + 1);
    }
}

TEST_CASE("F24 when the window update is lost, the client's probe reaches the server and its answer opens the window") {
    for (unsigned version : {4u, 6u})
        for (bool timestamps : {false, true}) {
            line l(guarded(), family(version));
            hands h{l};
            h.client.timestamps = timestamps;
            h.all();  // the update is lost behind us
            segment probe = h.from_client(0, 0);
            probe.seq = h.client.isn;
            outcome const up = l.client_sends(probe);
            REQUIRE(up.fate == verdict::forward);
            CHECK(up.packet->tcp.seq == h.client.isn);
            CHECK(up.packet->tcp.ack == h.server.isn + 1);
            outcome const down = l.server_sends(h.from_server(0, 0));
            REQUIRE(down.fate == verdict::forward);
            CHECK(down.packet->tcp.seq == h.cookie + 1);
            CHECK(down.packet->tcp.window > 0);
        }
}

TEST_CASE("F48 a server that speaks first is heard without delay: ACK and window update leave with its SYN-ACK, its data passes") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        hands h{l};
        h.challenge();
        h.validate();
        std::uint64_t const asked = l.now_ms();
        outcome const o = h.complete();
        REQUIRE(o.packet);
        CHECK(o.packet->tcp.window > 0);
        REQUIRE(o.beside.size() == 1);
        CHECK(o.beside[0].tcp.timestamps->second == h.server.clock);  // or it would refuse the ACK, and wait a second
        outcome const banner = l.server_sends(h.from_server(0, 0, filled(40)));
        REQUIRE(banner.fate == verdict::forward);
        CHECK(banner.packet->tcp.payload == filled(40));
        CHECK(l.now_ms() == asked);
    }
}

TEST_CASE("F46 rules are asked before the SYN-ACK, or with defer about proven clients only") {
    for (unsigned version : {4u, 6u})
        for (rule_action action : {rule_action::deny, rule_action::reset}) {
            engine_config config = guarded();
            config.rules = {{.action = action}};
            line before(config, family(version));
            outcome const at_once = before.client_sends(syn_of({.isn = 1000}));
            if (action == rule_action::deny) CHECK(at_once.reason == drop_reason::rule_denied);
            if (action == rule_action::reset) CHECK(at_once.packet->tcp.flags == (flags::rst | flags::ack));
            config.splice.defer = true;
            line l(config, family(version));
            hands h{l};
            h.challenge();
            outcome const o = l.client_sends(h.third_ack());
            if (action == rule_action::deny) CHECK(o.reason == drop_reason::rule_denied);
            if (action == rule_action::reset) {
                REQUIRE(o.fate == verdict::reply);
                CHECK(o.packet->tcp.flags == flags::rst);
                CHECK(o.packet->tcp.seq == h.cookie + 1);
            }
            CHECK(l.proxy().flows_now() == 0);
        }
}
