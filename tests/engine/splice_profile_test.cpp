// SPDX-License-Identifier: BSL-1.0
// What servers can do, what clients were promised, and how the difference is kept from both.
#include <halfproxy/engine/engine.hpp>

#include "tests/support/splice_checks.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using line = timeline<>;
using hands = handshake_of<>;

/// A client of its own for each connection, and a server that can do what `server` says.
hands client_number(line& l, unsigned n, offer const& server) {
    l.ends.client_port = 40000 + n;
    hands h{l};
    h.client.isn = 1000 + 100'000 * n;
    h.server = server;
    return h;
}

offer const able{.isn = 700'000, .window = 65160, .scale = 10, .clock = 9'000'000};
offer const unable{.isn = 800'000, .window = 30000, .mss = 1200, .scale = {}, .sack = false, .timestamps = false};

/// What a client that offers everything is promised.
decoded promise(line& l, unsigned n) { return client_number(l, n, able).challenge(); }

}  // namespace

TEST_CASE("F23 what a server's SYN-ACK said is promised to its next clients, and to those of no other server") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        client_number(l, 1, able).all();
        decoded const next = promise(l, 2);
        CHECK(next.tcp.scale == 10u);
        CHECK(next.tcp.mss == (version == 4 ? 1460u : 1440u));
        l.ends.server_port = 81;
        CHECK(promise(l, 3).tcp.scale == 7u);
        offer poor = unable;
        poor.timestamps = true;
        client_number(l, 4, poor).all();
        decoded const less = promise(l, 5);
        CHECK(less.tcp.mss == 1200u);
        CHECK_FALSE(less.tcp.scale.has_value());
        CHECK_FALSE(less.tcp.sack_permitted);
        CHECK(less.tcp.timestamps.has_value());
        l.ends.server_port = 80;
        CHECK(promise(l, 6).tcp.scale == 10u);
    }
}

TEST_CASE("F23 what was learned is forgotten at its age, and learning can be off") {
    for (unsigned version : {4u, 6u})
        for (bool learning : {false, true}) {
            engine_config config = guarded();
            config.splice.learn = learning;
            config.splice.learned_age = 10'000;
            line l(config, family(version));
            client_number(l, 1, able).all();
            CHECK(promise(l, 2).tcp.scale == (learning ? 10u : 7u));
            l.after(9'999);
            CHECK(promise(l, 3).tcp.scale == (learning ? 10u : 7u));
            l.after(1);
            CHECK(promise(l, 4).tcp.scale == 7u);
        }
}

TEST_CASE("F23 a configured server is promised as configured, before it was ever asked") {
    for (unsigned version : {4u, 6u}) {
        engine_config config = guarded();
        endpoints const e = family(version);
        ipv6_bytes six{};
        std::copy(e.server6.begin(), e.server6.end(), six.begin());
        config.splice.backends = {{version == 4 ? ip_address::v4(e.server4) : ip_address::v6(six),
                                   80,
                                   {.mss = 9000, .window_scale = 3, .scaling = known::yes, .sack = known::no, .ecn = known::yes}}};
        line l(config, e);
        hands h = client_number(l, 1, {.isn = 700'000, .scale = 3, .sack = false});
        segment syn = syn_of(h.client);
        syn.flags |= flags::ece | flags::cwr;
        outcome const o = l.client_sends(syn);
        REQUIRE(o.fate == verdict::reply);
        CHECK(o.packet->tcp.flags == (flags::syn | flags::ack | flags::ece));
        CHECK(o.packet->tcp.mss == 9000u);
        CHECK(o.packet->tcp.scale == 3u);
        CHECK_FALSE(o.packet->tcp.sack_permitted);
        h.cookie = o.packet->tcp.seq;
        h.cookie_clock = o.packet->tcp.timestamps->first;
        h.client.sack = false;
        h.validate();
        REQUIRE(h.complete().fate == verdict::forward);
        CHECK(l.server_sends(h.from_server(0, 0, {}, 1000)).packet->tcp.window == 1000);  // the scale that was promised is the server's
        check_translated_data(l, h);
    }
}

TEST_CASE("F23 between SYN and ACK the server changes its scale: the window is told in the scale that was promised, timestamps or not") {
    for (unsigned version : {4u, 6u})
        for (bool timestamps : {false, true}) {
            line l(guarded(), family(version));
            client_number(l, 1, able).all();
            hands h = client_number(l, 2, able);
            h.client.timestamps = timestamps;
            unsigned const promised = *h.challenge().tcp.scale;
            CHECK(promised == (timestamps ? 10u : 7u));
            offer changed = able;
            changed.scale = 5;
            client_number(l, 3, changed).all();  // learned meanwhile
            l.ends.client_port = 40002;
            h.server = changed;
            h.validate();
            h.complete();
            outcome const o = l.server_sends(h.from_server(0, 0, filled(10), 4096));
            REQUIRE(o.fate == verdict::forward);
            CHECK((o.packet->tcp.window << promised) == (4096u << 5));
        }
}

TEST_CASE("F23 a server without timestamps, promised to the client, is asked anew for less; they are put in towards the client and taken out towards the server") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        hands h = client_number(l, 1, {.isn = 700'000, .timestamps = false});
        h.client.mss = 1460;
        h.challenge();
        decoded const first = h.validate();
        CHECK(first.tcp.timestamps.has_value());
        outcome const refused = h.complete();
        REQUIRE(refused.fate == verdict::reply);  // the server forgets its first answer
        CHECK(refused.packet->exit == side::inside);
        CHECK(refused.packet->tcp.flags == flags::rst);
        CHECK(refused.packet->tcp.seq == h.client.isn + 1);
        REQUIRE(refused.beside.size() == 1);
        decoded const& second = refused.beside[0];
        CHECK(second.tcp.flags == flags::syn);
        CHECK(second.tcp.seq == h.client.isn);
        CHECK_FALSE(second.tcp.timestamps.has_value());
        CHECK(*second.tcp.mss == *first.tcp.mss - 12);
        check_way_there(second, l.ends);

        outcome const o = h.complete();
        REQUIRE(o.fate == verdict::forward);
        CHECK(o.packet->tcp.timestamps == std::pair{h.cookie_clock, h.client.clock + 1});
        CHECK_FALSE(o.beside.at(0).tcp.timestamps.has_value());
        segment data = h.from_client(0, 0, filled(100));
        data.timestamps = {{h.client.clock + 500, h.cookie_clock}};
        outcome const up = l.client_sends(data);
        REQUIRE(up.fate == verdict::forward);
        CHECK_FALSE(up.packet->tcp.timestamps.has_value());
        CHECK(up.packet->tcp.ack == h.server.isn + 1);
        CHECK(up.packet->tcp.payload == filled(100));
        outcome const down = l.server_sends(h.from_server(0, 100, filled(1000)));
        REQUIRE(down.fate == verdict::forward);
        CHECK(down.packet->tcp.timestamps == std::pair{h.cookie_clock, h.client.clock + 500});
        CHECK(down.packet->tcp.seq == h.cookie + 1);
        CHECK(down.packet->tcp.payload == filled(1000));
        segment bye = h.from_server(1000, 100);
        bye.flags |= flags::fin;
        CHECK(l.server_sends(bye).packet->tcp.timestamps->second == h.client.clock + 500);
        bye.flags = flags::rst;
        bye.seq += 1;
        CHECK_FALSE(l.server_sends(bye).packet->tcp.timestamps.has_value());
        CHECK(l.counters().handshakes_without_timestamps == 1);
        CHECK(l.proxy().handshakes_now() == 1);
        l.after(100'000'000);
        CHECK(l.proxy().handshakes_now() == 0);
    }
}

TEST_CASE("F23 who was promised timestamps before they were found missing is not asked for twice; data it sent meanwhile arrives") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        offer const without{.isn = 700'000, .timestamps = false};
        hands early = client_number(l, 1, without);
        early.challenge();
        hands finder = client_number(l, 2, without);
        finder.challenge();
        finder.validate();
        finder.complete();
        finder.complete();
        l.ends.client_port = 40001;
        segment ack = early.third_ack();
        ack.payload = filled(30);
        outcome const syn = l.client_sends(ack);
        REQUIRE(syn.fate == verdict::forward);
        CHECK_FALSE(syn.packet->tcp.timestamps.has_value());
        outcome const o = early.complete();
        REQUIRE(o.fate == verdict::forward);
        REQUIRE(o.beside.size() == 2);
        CHECK_FALSE(o.beside[1].tcp.timestamps.has_value());
        CHECK(o.beside[1].tcp.payload == filled(30));
        CHECK(o.packet->tcp.timestamps.has_value());
        CHECK_FALSE(promise(l, 3).tcp.timestamps.has_value());
    }
}

TEST_CASE("F23 where too many flows have timestamps put in, the next one is reset with exact numbers, and its retry is promised none") {
    for (unsigned version : {4u, 6u}) {
        engine_config config = guarded();
        config.limits.handshakes = 4;  // of which a quarter
        line l(config, family(version));
        offer const without{.isn = 700'000, .timestamps = false};
        hands unlucky = client_number(l, 9, without);
        unlucky.challenge();
        unlucky.validate();
        hands h = client_number(l, 1, without);
        h.challenge();
        h.validate();
        h.complete();
        h.complete();
        l.ends.client_port = 40009;
        outcome const o = unlucky.complete();
        REQUIRE(o.fate == verdict::reply);
        CHECK(o.packet->tcp.flags == flags::rst);
        REQUIRE(o.beside.size() == 1);
        CHECK(o.beside[0].exit == side::outside);
        CHECK(o.beside[0].tcp.flags == (flags::rst | flags::ack));
        CHECK(o.beside[0].tcp.seq == unlucky.cookie + 1);
        CHECK(o.beside[0].tcp.ack == unlucky.client.isn + 1);
        hands again = client_number(l, 10, without);
        CHECK_FALSE(again.challenge().tcp.timestamps.has_value());
        again.client.timestamps = false;
        again.validate();
        REQUIRE(again.complete().fate == verdict::forward);
        check_translated_data(l, again);
    }
}

TEST_CASE("F23 a server without SACK hears none of the blocks its client was promised, at any alignment") {
    for (unsigned version : {4u, 6u})
        for (bool timestamps : {false, true}) {
            line l(guarded(), family(version));
            hands h = client_number(l, 1, {.isn = 700'000, .sack = false});
            h.client.timestamps = timestamps;
            h.all();
            for (std::uint32_t sent = 0; sent < 4000; sent += 1000) l.server_sends(h.from_server(sent, 0, filled(1000)));
            segment s = h.from_client(0, 1000);
            s.sack = {{h.cookie + 2001, h.cookie + 3001}, {h.cookie + 3501, h.cookie + 4001}};
            outcome const o = l.client_sends(s);
            REQUIRE(o.fate == verdict::forward);
            CHECK(o.packet->tcp.sack.empty());
            CHECK(o.packet->tcp.ack == h.server.isn + 1001);
            CHECK(o.packet->tcp.timestamps.has_value() == timestamps);
        }
}

TEST_CASE("F21 rounding to a coarser scale never takes back what the server granted, and never closes a window") {
    for (unsigned version : {4u, 6u})
        for (unsigned server_scale : {0u, 2u, 6u}) {
            line l(guarded(), family(version));
            hands h = client_number(l, 1, {.isn = 700'000, .window = 60'000, .scale = server_scale});
            h.all();
            std::uint32_t granted = 60'000;  // right edges, from the client's first byte on; the SYN-ACK's is the first
            std::uint32_t window = 60'000;
            for (std::uint32_t acked = 0; acked < 40'000; acked += 1447) {
                CHECK(l.client_sends(h.from_client(acked, 0, filled(1447))).fate == verdict::forward);
                window = acked % 7 == 0 ? window : window - (1447u >> server_scale);  // at times the edge moves on, else it stands still
                outcome const o = l.server_sends(h.from_server(0, acked + 1447, {}, window));
                REQUIRE(o.fate == verdict::forward);
                std::uint32_t const real = acked + 1447 + (window << server_scale);
                std::uint32_t const told = acked + 1447 + (o.packet->tcp.window << 7);
                CHECK(o.packet->tcp.window > 0);
                bool const shrunk_itself = real < granted;
                if (!shrunk_itself) CHECK(told >= granted);
                CHECK(told < real + 128);
                granted = std::max(granted, real);
            }
        }
}

TEST_CASE("F27 timestamps are moved once, in each direction and on the proxy's own packets") {
    for (unsigned version : {4u, 6u})
        for (std::uint32_t clock : {9'000'000u, 0xffff'fffeu, 0u}) {
            line l(guarded(), family(version));
            hands h{l};
            h.server.clock = clock;
            h.challenge();
            h.validate();
            outcome const o = h.complete();
            CHECK(o.packet->tcp.timestamps == std::pair{h.cookie_clock, h.client.clock + 1});
            CHECK(o.beside.at(0).tcp.timestamps == std::pair{h.client.clock + 1, clock});
            for (std::uint32_t passed : {0u, 7u, 100'000u}) {
                segment down = h.from_server(0, 0);
                down.timestamps = {{clock + passed, h.client.clock + 3}};
                CHECK(l.server_sends(down).packet->tcp.timestamps == std::pair{h.cookie_clock + passed, h.client.clock + 3});
                segment up = h.from_client(0, 0);
                up.timestamps = {{h.client.clock + passed, h.cookie_clock + passed}};
                CHECK(l.client_sends(up).packet->tcp.timestamps == std::pair{h.client.clock + passed, clock + passed});
            }
            segment again = h.syn_ack();
            CHECK(l.server_sends(again).packet->tcp.timestamps == std::pair{h.client.clock + 1, clock});
        }
}

TEST_CASE("F8 the MSS is clamped both ways as configured, through a splice and without one") {
    for (unsigned version : {4u, 6u})
        for (guard_mode mode : {guard_mode::always, guard_mode::off}) {
            engine_config config = guarded(mode);
            config.normalize.mss_floor = 300;
            config.normalize.mss_ceiling_v4 = config.normalize.mss_ceiling_v6 = 1280;
            line l(config, family(version));
            hands h{l};
            h.client.mss = 299;
            CHECK(l.client_sends(syn_of(h.client)).reason == drop_reason::tcp_mss);
            for (unsigned mss : {300u, 1280u, 1281u, 1460u}) {
                ++l.ends.client_port;
                h.client.mss = mss;
                outcome const o = l.client_sends(syn_of(h.client));
                if (mode == guard_mode::always) {
                    CHECK(o.packet->tcp.mss == 1280u);
                    h.cookie = o.packet->tcp.seq;
                    h.cookie_clock = o.packet->tcp.timestamps->first;
                    CHECK(*h.validate().tcp.mss <= std::min(mss, 1280u));
                } else {
                    CHECK(o.packet->tcp.mss == std::min(mss, 1280u));
                    CHECK(l.server_sends(h.syn_ack()).packet->tcp.mss == 1280u);
                }
            }
        }
}
