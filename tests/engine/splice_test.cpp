// SPDX-License-Identifier: BSL-1.0
// The handshake with both ends: cookie, SYN to the server, and the point where both become one connection.
#include <halfproxy/engine/engine.hpp>

#include "tests/support/splice_checks.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using line = timeline<>;
using hands = handshake_of<>;

}  // namespace

TEST_CASE("F1 the SYN-ACK answers only what the SYN offered, acknowledges only the SYN, and has a closed window") {
    for (unsigned version : {4u, 6u})
        for (unsigned bits = 0; bits < 16; ++bits) {
            CAPTURE(version);
            CAPTURE(bits);
            line l(guarded(), family(version));
            hands h{l};
            h.client.mss = bits & 1 ? std::optional{1300u} : std::nullopt;
            h.client.scale = bits & 2 ? std::optional{9u} : std::nullopt;
            h.client.sack = (bits & 4) != 0;
            h.client.timestamps = (bits & 8) != 0;
            segment syn = syn_of(h.client);
            syn.payload = filled(33);
            outcome const o = l.client_sends(syn);
            REQUIRE(o.fate == verdict::reply);
            decoded const& got = *o.packet;
            CHECK(got.tcp.flags == (flags::syn | flags::ack));
            CHECK(got.tcp.ack == h.client.isn + 1);
            CHECK(got.tcp.window == 0);
            CHECK(got.tcp.payload.empty());
            CHECK(got.tcp.mss.has_value() == h.client.mss.has_value());
            CHECK(got.tcp.mss.value_or(version == 4 ? 1460 : 1440) == (version == 4 ? 1460 : 1440));
            CHECK(got.tcp.scale.has_value() == h.client.scale.has_value());
            CHECK(got.tcp.scale.value_or(7) == 7);
            CHECK(got.tcp.sack_permitted == h.client.sack);
            CHECK(got.tcp.timestamps.has_value() == h.client.timestamps);
            if (got.tcp.timestamps) CHECK(got.tcp.timestamps->second == h.client.clock);
            CHECK(got.hop_limit == built_hop_limit);
            check_way_back(got, l.ends);
            CHECK(o.beside.empty());
            CHECK(l.proxy().flows_now() == 0);
        }
}

TEST_CASE("F1 a SYN-ACK is never longer than its SYN, however the SYN packs its options") {
    std::vector<byte_string> const packed = {
        {},
        {2, 4, 5, 0xb4},
        {3, 3, 7, 0},
        {4, 2, 0, 0},
        {8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0},
        {3, 3, 7, 4, 2, 0, 0, 0},
        {8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 4, 2},
        {8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 3, 3, 7, 0, 0, 0},
        {8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 3, 3, 7, 4, 2, 0},
        {2, 4, 5, 0xb4, 3, 3, 7, 4, 2, 0, 0, 0},
        {2, 4, 5, 0xb4, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 3, 3, 7, 4, 2, 0},
        {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7},
    };
    for (unsigned version : {4u, 6u})
        for (byte_string const& options : packed) {
            CAPTURE(options.size());
            line l(guarded(), family(version));
            segment syn;
            syn.flags = flags::syn;
            syn.raw_options = options;
            byte_string const sent = framed(l.ends, tcp_datagram(l.ends, true, syn));
            outcome const o = l.sends(side::outside, sent);
            REQUIRE(o.fate == verdict::reply);
            CHECK(o.packet->bytes.size() <= sent.size());
        }
}

TEST_CASE("F6 F8 the server hears what the client offered, with and without timestamps") {
    for (unsigned version : {4u, 6u})
        for (bool timestamps : {false, true})
            for (bool sack : {false, true})
                for (int scale = -1; scale <= 14; ++scale) {
                    CAPTURE(version);
                    CAPTURE(timestamps);
                    CAPTURE(sack);
                    CAPTURE(scale);
                    line l(guarded(), family(version));
                    hands h{l};
                    h.client.timestamps = timestamps;
                    h.client.sack = sack;
                    h.client.mss = 1400;
                    h.client.scale = scale < 0 ? std::nullopt : std::optional(static_cast<unsigned>(scale));
                    h.challenge();
                    decoded const syn = h.validate();
                    CHECK(syn.exit == side::inside);
                    CHECK(syn.tcp.flags == flags::syn);
                    CHECK(syn.tcp.seq == h.client.isn);
                    CHECK(syn.tcp.ack == 0);
                    CHECK(syn.tcp.mss == (timestamps ? 1400u : 1360u));
                    CHECK(syn.tcp.sack_permitted == sack);
                    CHECK(syn.tcp.scale.has_value() == (scale >= 0));
                    if (scale >= 0 && (timestamps || scale == 7)) CHECK(syn.tcp.scale == static_cast<unsigned>(scale));
                    if (scale >= 0) CHECK(*syn.tcp.scale <= static_cast<unsigned>(scale));
                    if (scale >= 0 && sack) CHECK(*syn.tcp.scale + 1 >= static_cast<unsigned>(scale));
                    CHECK(syn.tcp.timestamps.has_value() == timestamps);
                    if (timestamps) CHECK(syn.tcp.timestamps == std::pair{h.client.clock + 1, 0u});
                    check_way_there(syn, l.ends);
                }
}

TEST_CASE("F9 a client without MSS option makes the server hear the default (RFC 9293 section 3.7.1)") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        hands h{l};
        h.client.mss.reset();
        h.challenge();
        CHECK(h.validate().tcp.mss == (version == 4 ? 536u : 1220u));
    }
}

TEST_CASE("F8 no MSS told to the server is above the client's own, on no SYN that is sent, tiny ones included") {
    for (unsigned version : {4u, 6u})
        for (bool timestamps : {false, true})
            for (unsigned mss : {64u, 65u, 127u, 300u, 535u, 536u, 537u, 1219u, 1220u, 1359u, 1360u, 1459u, 1460u, 8940u}) {
                line l(guarded(), family(version));
                hands h{l};
                h.client.mss = mss;
                h.client.timestamps = timestamps;
                h.challenge();
                CAPTURE(version);
                CAPTURE(mss);
                CHECK(*h.validate().tcp.mss <= mss);
                l.at(5000);
                for (decoded const& again : l.sent_by_timers()) CHECK(*again.tcp.mss <= mss);
            }
}

TEST_CASE("F8 a SYN whose MSS no cookie can keep is refused, not rounded up") {
    for (unsigned version : {4u, 6u})
        for (unsigned mss : {0u, 1u, 63u}) {
            line l(guarded(), family(version));
            hands h{l};
            h.client.mss = mss;
            CHECK(l.client_sends(syn_of(h.client)).reason == drop_reason::tcp_mss);
        }
}

TEST_CASE("F8 a client of a tiny MSS without timestamps is promised only what its cookie keeps") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        hands h{l};
        h.client.mss = 200;
        h.client.timestamps = false;
        decoded const syn_ack = h.challenge();
        CHECK_FALSE(syn_ack.tcp.sack_permitted);
        CHECK_FALSE(syn_ack.tcp.scale.has_value());
        decoded const syn = h.validate();
        CHECK_FALSE(syn.tcp.sack_permitted);
        CHECK_FALSE(syn.tcp.scale.has_value());
        h.client.sack = false;
        h.client.scale.reset();
        REQUIRE(h.complete().fate == verdict::forward);
        check_translated_data(l, h);
    }
}

TEST_CASE("F20 F21 the SYN-ACK becomes the window update, and the proxy's ACK echoes the server's clock") {
    for (unsigned version : {4u, 6u})
        for (bool timestamps : {false, true}) {
            CAPTURE(version);
            CAPTURE(timestamps);
            line l(guarded(), family(version));
            hands h{l};
            h.client.timestamps = timestamps;
            h.challenge();
            h.validate();
            outcome const o = h.complete();
            REQUIRE(o.fate == verdict::forward);
            CHECK(o.packet->exit == side::outside);
            CHECK(o.packet->tcp.flags == flags::ack);
            CHECK(o.packet->tcp.seq == h.cookie + 1);
            CHECK(o.packet->tcp.ack == h.client.isn + 1);
            CHECK(o.packet->tcp.window == 65160 >> 7);  // unscaled on the SYN-ACK, in the promised scale here
            CHECK_FALSE(o.packet->tcp.mss.has_value());
            check_way_back(*o.packet, l.ends);
            REQUIRE(o.beside.size() == 1);
            decoded const& ack = o.beside[0];
            CHECK(ack.exit == side::inside);
            CHECK(ack.tcp.flags == flags::ack);
            CHECK(ack.tcp.seq == h.client.isn + 1);
            CHECK(ack.tcp.ack == h.server.isn + 1);
            CHECK(ack.tcp.window == 502);
            check_way_there(ack, l.ends);
            CHECK(ack.tcp.timestamps.has_value() == timestamps);
            if (timestamps) {
                CHECK(ack.tcp.timestamps == std::pair{h.client.clock + 1, h.server.clock});
                CHECK(o.packet->tcp.timestamps == std::pair{h.cookie_clock, h.client.clock + 1});
            }
            CHECK(l.counters().handshakes_completed == 1);
            CHECK(l.proxy().handshakes_now() == 0);
            check_translated_data(l, h);
        }
}

TEST_CASE("F28 sequence numbers wrap in either space") {
    for (unsigned version : {4u, 6u})
        for (std::uint32_t client : {0u, 0xffff'ffffu, 0xffff'fffeu, 0x7fff'ffffu, 0x8000'0000u, 0xffff'ff9bu})
            for (std::uint32_t server : {0u, 0xffff'ffffu, 0xffff'fffeu, 0x7fff'ffffu, 0xffff'fc00u}) {
                CAPTURE(client);
                CAPTURE(server);
                line l(guarded(), family(version));
                hands h{l};
                h.client.isn = client;
                h.client.clock = 0xffff'fffau;
                h.server.isn = server;
                h.server.clock = 0xffff'fffcu;
                h.all();
                check_translated_data(l, h);
            }
}

TEST_CASE("F21 F22 windows are told in the scale their reader was promised") {
    struct scales {
        std::optional<unsigned> client, server;
    };
    for (scales const s : {scales{7, 7}, {0, 0}, {14, 2}, {2, 14}, {7, std::nullopt}, {std::nullopt, 9}, {14, 14}, {std::nullopt, std::nullopt}}) {
        line l(guarded());
        hands h{l};
        h.client.scale = s.client;
        h.server.scale = s.server;
        h.client.window = 60000;
        h.all();
        bool const in_force = s.client && s.server;
        unsigned const server_scale = in_force ? *s.server : 0;  // RFC 7323 section 1.3
        unsigned const promised = s.client ? 7 : 0;
        unsigned const client_real = s.client.value_or(0);
        unsigned const client_told = in_force ? *s.client : 0;
        for (unsigned const window : {0u, 1u, 2u, 127u, 128u, 500u, 40000u, 65535u}) {
            CAPTURE(window);
            outcome const down = l.server_sends(h.from_server(0, 0, {}, window));
            REQUIRE(down.fate == verdict::forward);
            std::uint64_t const granted = std::uint64_t{window} << server_scale;
            std::uint64_t const seen = std::uint64_t{down.packet->tcp.window} << promised;
            CHECK((seen == 0) == (granted == 0));
            if (granted >= 1u << promised) CHECK(seen <= granted);
            if (granted <= std::uint64_t{0xffff} << promised) CHECK(seen + (1u << promised) > granted);
            else CHECK(down.packet->tcp.window == 0xffff);

            outcome const up = l.client_sends(h.from_client(0, 0, {}, window));
            REQUIRE(up.fate == verdict::forward);
            std::uint64_t const meant = std::uint64_t{window} << client_real;
            std::uint64_t const read = std::uint64_t{up.packet->tcp.window} << client_told;
            CHECK(read == std::min<std::uint64_t>(meant, std::uint64_t{0xffff} << client_told));
        }
    }
}

TEST_CASE("F26 every SACK edge of the client's is moved into the server's space, D-SACK and wrap included") {
    line l(guarded());
    hands h{l};
    h.server.isn = 0xffff'fff0u;
    h.all();
    for (std::uint32_t sent = 0; sent < 6000; sent += 1000)
        CHECK(l.server_sends(h.from_server(sent, 0, filled(1000))).fate == verdict::forward);
    for (std::size_t blocks = 1; blocks <= 3; ++blocks) {
        segment s = h.from_client(0, 1000);
        std::vector<std::pair<std::uint32_t, std::uint32_t>> want;
        for (std::uint32_t b = 0; b < blocks; ++b) {
            std::uint32_t const left = b == 0 ? 500 : 1000 + 1000 * b;  // the first one is a duplicate (RFC 2883)
            s.sack.emplace_back(h.cookie + 1 + left, h.cookie + 1 + left + 500);
            want.emplace_back(h.server.isn + 1 + left, h.server.isn + 1 + left + 500);
        }
        outcome const o = l.client_sends(s);
        REQUIRE(o.fate == verdict::forward);
        CHECK(o.packet->tcp.sack == want);
        CHECK(o.packet->tcp.ack == h.server.isn + 1001);
    }
}

TEST_CASE("F4 a retransmitted SYN gets the same cookie within an epoch") {
    line l(guarded());
    hands h{l};
    l.at(0);
    std::uint32_t const first = h.challenge().tcp.seq;
    l.at(1000);
    CHECK(h.challenge().tcp.seq == first);
    CHECK(l.counters().cookies_sent == 2);
}

TEST_CASE("F12 the third ACK again, while the server is asked, brings no second SYN") {
    line l(guarded());
    hands h{l};
    h.challenge();
    h.validate();
    outcome const again = l.client_sends(h.third_ack());
    CHECK(again.fate == verdict::drop);
    CHECK(again.reason == drop_reason::handshake_pending);
    CHECK(again.beside.empty());
    CHECK(l.proxy().flows_now() == 1);
}

TEST_CASE("F12 a cookie replayed on the established flow is the flow's own old ACK") {
    line l(guarded());
    hands h{l};
    h.all();
    CHECK(l.client_sends(h.from_client(0, 0, filled(100))).fate == verdict::forward);
    outcome const replay = l.client_sends(h.third_ack());
    REQUIRE(replay.fate == verdict::forward);
    CHECK(replay.packet->tcp.flags == flags::ack);
    CHECK(replay.packet->tcp.ack == h.server.isn + 1);
    CHECK(l.counters().cookies_valid == 1);
}

TEST_CASE("F12 a delayed copy of the third ACK opens no second connection when the flow is over") {
    line l(guarded());
    hands h{l};
    h.all();
    l.client_sends(h.from_client(0, 0, filled(100)));
    l.server_sends(h.from_server(0, 100, filled(50)));
    segment reset = h.from_client(100, 50);
    reset.flags = flags::rst | flags::ack;
    CHECK(l.client_sends(reset).fate == verdict::forward);
    outcome const replay = l.client_sends(h.third_ack());
    if (replay.packet) CHECK(replay.packet->tcp.flags == flags::ack);
    CHECK(l.counters().cookies_valid == 1);
}

TEST_CASE("F13 the third ACK was lost and the client's probe stands at its ISN: the server still hears the right SYN, without timestamps too") {
    for (unsigned version : {4u, 6u})
        for (bool timestamps : {false, true})
            for (std::uint32_t isn : {1000u, 1001u, 0xffff'ffffu, 0u}) {
                line l(guarded(), family(version));
                hands h{l};
                h.client.isn = isn;
                h.client.mss = 1400;
                h.client.timestamps = timestamps;
                h.challenge();
                segment probe = h.third_ack();
                probe.seq = h.client.isn;  // Linux's zero window probe: SND.UNA - 1
                outcome const o = l.client_sends(probe);
                REQUIRE(o.fate == verdict::forward);
                CHECK(o.packet->tcp.flags == flags::syn);
                CHECK(o.packet->tcp.seq == h.client.isn);
                CHECK(o.packet->tcp.mss == (timestamps ? 1400u : 1360u));
                REQUIRE(h.complete().fate == verdict::forward);
                check_translated_data(l, h);
            }
}

TEST_CASE("F13 where a cookie cannot tell a probe at the ISN from a first ACK, it opens nothing with a wrong ISN") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        hands h{l};
        h.client.timestamps = false;
        h.client.sack = false;
        h.client.scale = 3;  // kept as 0, without the ISN's parity
        h.challenge();
        segment probe = h.third_ack();
        probe.seq = h.client.isn;
        CHECK(l.client_sends(probe).reason == drop_reason::cookie_invalid);
        CHECK(l.proxy().flows_now() == 0);
        probe.seq = h.client.isn + 1;  // with its garbage byte, as BSD sends it, it stands right
        probe.payload = filled(1);
        CHECK(l.client_sends(probe).fate == verdict::forward);
    }
}

TEST_CASE("F14 data on the third ACK is dropped where none is kept, and not acknowledged: the window is still closed") {
    engine_config config = guarded();
    config.splice.held_segments = 0;
    line l(config);
    hands h{l};
    h.challenge();
    segment ack = h.third_ack();
    ack.payload = filled(10);
    outcome const o = l.client_sends(ack);
    REQUIRE(o.fate == verdict::forward);
    CHECK(o.packet->tcp.flags == flags::syn);
    CHECK(o.packet->tcp.payload.empty());
    outcome const update = h.complete();
    CHECK(update.packet->tcp.ack == h.client.isn + 1);
    CHECK(l.client_sends(h.from_client(0, 0, filled(10))).fate == verdict::forward);
}

TEST_CASE("F15 F16 a silent server: our SYN at 1, 3 and 7 s, then the client gets a RST with the cookie's numbers") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        hands h{l};
        h.challenge();
        decoded const first = h.validate();
        l.at(60'000);
        auto const sent = l.sent_by_timers();
        REQUIRE(sent.size() == 4);
        std::uint64_t last = 0;
        for (std::size_t i = 0; i < 3; ++i) {
            CHECK(sent[i].exit == side::inside);
            CHECK(sent[i].bytes == first.bytes);
            std::uint64_t const waited = sent[i].at_ms - last;
            CHECK(waited >= 1000u << i);
            CHECK(waited < (1000u << i) + 64);  // a slot of the wheel
            last = sent[i].at_ms;
        }
        CHECK(sent[3].at_ms - last >= 8000);
        CHECK(sent[3].at_ms - last < 8064);
        CHECK(sent[3].exit == side::outside);
        CHECK(sent[3].tcp.flags == (flags::rst | flags::ack));
        CHECK(sent[3].tcp.seq == h.cookie + 1);
        CHECK(sent[3].tcp.ack == h.client.isn + 1);
        check_way_back(sent[3], l.ends);
        CHECK(l.proxy().flows_now() == 0);
        CHECK(l.proxy().handshakes_now() == 0);
        CHECK(l.counters().syns_retransmitted == 3);
        CHECK(l.counters().handshakes_timed_out == 1);
        CHECK_FALSE(l.proxy().next_deadline().has_value());
    }
}

TEST_CASE("F17 the server's RST reaches the client with the cookie's numbers, at once, and only when it acknowledges our SYN") {
    line l(guarded());
    hands h{l};
    h.challenge();
    h.validate();
    segment reset;
    reset.flags = flags::rst | flags::ack;
    for (std::uint32_t const wrong : {h.client.isn, h.client.isn + 2, 0u}) {
        reset.ack = wrong;
        CHECK(l.server_sends(reset).reason == drop_reason::handshake_unexpected);
    }
    reset.flags = flags::rst;
    reset.ack = h.client.isn + 1;
    CHECK(l.server_sends(reset).reason == drop_reason::handshake_unexpected);
    reset.flags = flags::rst | flags::ack;
    outcome const o = l.server_sends(reset);
    REQUIRE(o.fate == verdict::forward);
    CHECK(o.packet->tcp.flags == (flags::rst | flags::ack));
    CHECK(o.packet->tcp.seq == h.cookie + 1);
    CHECK(o.packet->tcp.ack == h.client.isn + 1);
    CHECK(l.proxy().flows_now() == 0);
    CHECK(l.proxy().handshakes_now() == 0);
    CHECK(l.counters().handshakes_refused == 1);
}

TEST_CASE("F18 a server with an older connection is reset there, asked again, and the client sees nothing (RFC 9293 section 3.5.1)") {
    line l(guarded());
    hands h{l};
    h.challenge();
    decoded const syn = h.validate();
    segment challenge;
    challenge.flags = flags::ack;
    challenge.seq = 145'824'453;
    challenge.ack = 643'160'523;
    challenge.window = 240;
    outcome const o = l.server_sends(challenge);
    REQUIRE(o.fate == verdict::reply);
    CHECK(o.packet->exit == side::inside);
    CHECK(o.packet->tcp.flags == flags::rst);
    CHECK(o.packet->tcp.seq == 643'160'523);
    REQUIRE(o.beside.size() == 1);
    CHECK(o.beside[0].exit == side::inside);
    CHECK(o.beside[0].bytes == syn.bytes);
    REQUIRE(h.complete().fate == verdict::forward);
    check_translated_data(l, h);
}

TEST_CASE("F19 an old SYN-ACK is answered with a RST and poisons nothing") {
    line l(guarded());
    hands h{l};
    h.challenge();
    h.validate();
    segment old = h.syn_ack(643'160'523);
    old.seq = 145'824'453;
    outcome const o = l.server_sends(old);
    REQUIRE(o.fate == verdict::reply);
    CHECK(o.packet->tcp.flags == flags::rst);
    CHECK(o.packet->tcp.seq == 643'160'523);
    CHECK(o.beside.empty());
    h.server.isn = 145'758'918;  // lower than the old one
    REQUIRE(h.complete().fate == verdict::forward);
    check_translated_data(l, h);
}

TEST_CASE("F25 a SYN-ACK repeated after the splice is answered by the proxy, with the options that are in force") {
    for (bool timestamps : {false, true})
        for (unsigned extra : {0u, flags::ece}) {
            line l(guarded());
            hands h{l};
            h.client.timestamps = timestamps;
            h.all();
            segment again = h.syn_ack();
            again.flags |= extra;  // an ECN-setup SYN-ACK (RFC 3168 section 6.1.1)
            outcome const o = l.server_sends(again);
            REQUIRE(o.fate == verdict::reply);
            CHECK(o.packet->exit == side::inside);
            CHECK(o.packet->tcp.flags == flags::ack);
            CHECK(o.packet->tcp.seq == h.client.isn + 1);
            CHECK(o.packet->tcp.ack == h.server.isn + 1);
            CHECK(o.packet->tcp.timestamps.has_value() == timestamps);  // RFC 7323 section 3.2: on every segment
            if (o.packet->tcp.timestamps) CHECK(o.packet->tcp.timestamps->second == h.server.clock);
        }
}

TEST_CASE("F25 a SYN-ACK that is not the server's own, or comes after its data, is dropped: its timestamps must not reach the server") {
    line l(guarded());
    hands h{l};
    h.client.timestamps = true;
    h.all();
    for (auto const& [seq_off, ack_off] : {std::pair{-1, 0}, {1, 0}, {0, -1}, {-100'000, -100'000}, {1 << 30, 0}}) {
        segment forged = h.syn_ack();
        forged.seq = forged.seq + static_cast<std::uint32_t>(seq_off);
        forged.ack = forged.ack + static_cast<std::uint32_t>(ack_off);
        outcome const o = l.server_sends(forged);
        CHECK(o.fate == verdict::drop);
        CHECK(o.reason == drop_reason::syn_ack_mismatch);
    }
}

TEST_CASE("F45 a bare SYN from the server, while it is asked, never reaches the client") {
    line l(guarded());
    hands h{l};
    h.challenge();
    h.validate();
    segment s = syn_of(h.server);
    CHECK(l.server_sends(s).reason == drop_reason::handshake_unexpected);
    REQUIRE(h.complete().fate == verdict::forward);
    check_translated_data(l, h);
}

TEST_CASE("F47 a client that resets while the server is asked frees the flow, and the server hears it") {
    line l(guarded());
    hands h{l};
    h.challenge();
    h.validate();
    segment reset;
    reset.flags = flags::rst;
    reset.seq = h.client.isn + 2;
    CHECK(l.client_sends(reset).reason == drop_reason::rst_outside_window);
    reset.seq = h.client.isn + 1;
    outcome const o = l.client_sends(reset);
    REQUIRE(o.fate == verdict::forward);
    CHECK(o.packet->exit == side::inside);
    CHECK(o.packet->tcp.flags == flags::rst);
    CHECK(o.packet->tcp.seq == h.client.isn + 1);
    CHECK(l.proxy().flows_now() == 0);
    CHECK(l.proxy().handshakes_now() == 0);
    outcome const late = l.server_sends(h.syn_ack());
    REQUIRE(late.fate == verdict::reply);
    CHECK(late.packet->exit == side::inside);
    CHECK(late.packet->tcp.flags == flags::rst);
    CHECK(late.packet->tcp.seq == h.client.isn + 1);
}

TEST_CASE("a SYN-ACK that carries data is taken without it, and the half-open count stays right") {
    line l(guarded());
    hands h{l};
    h.challenge();
    h.validate();
    segment s = h.syn_ack();
    s.payload = filled(20);
    outcome const o = l.server_sends(s);
    REQUIRE(o.fate == verdict::forward);
    CHECK(o.beside.at(0).tcp.ack == h.server.isn + 1);
    h.with_timestamps = true;
    CHECK(l.proxy().half_open() == 0);
    check_translated_data(l, h);
    CHECK(l.proxy().half_open() == 0);
}

TEST_CASE("F2 no combination of flags but a plain SYN is answered with a SYN-ACK") {
    line l(guarded());
    for (unsigned f = 0; f < 256; ++f) {
        unsigned const kind = f & (flags::syn | flags::fin | flags::rst | flags::ack);
        segment s = syn_of({.isn = 1000});
        s.flags = f;
        outcome const o = l.client_sends(s);
        CAPTURE(f);
        CHECK((o.fate == verdict::reply) == (kind == flags::syn));
        CHECK(o.beside.empty());
        CHECK(l.proxy().flows_now() == 0);
    }
}

TEST_CASE("F3 FIN, RST or SYN with a valid cookie open nothing") {
    line l(guarded());
    hands h{l};
    h.challenge();
    for (unsigned f : {flags::fin, flags::rst, flags::syn, flags::fin | flags::rst, flags::syn | flags::fin}) {
        segment s = h.third_ack();
        s.flags |= f;
        outcome const o = l.client_sends(s);
        CAPTURE(f);
        CHECK(o.fate == verdict::drop);
        CHECK(l.proxy().flows_now() == 0);
    }
    CHECK(l.client_sends(h.third_ack()).fate == verdict::forward);
}

TEST_CASE("F10 a wrong cookie changes nothing") {
    line l(guarded());
    hands h{l};
    h.challenge();
    for (unsigned bit = 0; bit < 32; ++bit) {
        segment s = h.third_ack();
        s.ack ^= 1u << bit;
        CHECK(l.client_sends(s).reason == drop_reason::cookie_invalid);
        s = h.third_ack();
        s.timestamps->second ^= 1u << bit;
        // The low eight bits hold the window scales: whoever changes them changes his own promise.
        if (bit >= 8) CHECK(l.client_sends(s).reason == drop_reason::cookie_invalid);
    }
    CHECK(l.proxy().flows_now() == 0);
    CHECK(l.proxy().handshakes_now() == 0);
    CHECK(l.counters().cookies_invalid == 56);
}

TEST_CASE("F5 a wrong checksum gets no answer and opens nothing") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        l.verify_checksums = false;
        hands h{l};
        byte_string syn = framed(l.ends, tcp_datagram(l.ends, true, syn_of(h.client)));
        syn.back() ^= 1;
        CHECK(l.sends(side::outside, syn).reason == drop_reason::l4_checksum);
        h.challenge();
        byte_string ack = framed(l.ends, tcp_datagram(l.ends, true, h.third_ack()));
        ack[l.ends.version == 4 ? 14 + 20 + 15 : 14 + 40 + 15] ^= 1;  // the window: the cookie stays valid
        CHECK(l.sends(side::outside, ack).reason == drop_reason::l4_checksum);
        CHECK(l.proxy().flows_now() == 0);
        if (version == 6) continue;
        byte_string header = framed(l.ends, tcp_datagram(l.ends, true, syn_of(h.client)));
        header[14 + 8] ^= 1;  // the TTL
        CHECK(l.sends(side::outside, header).reason == drop_reason::ip_checksum);
    }
}

TEST_CASE("a checksum the sender left to its device is taken as good, and what is answered is complete") {
    line l(guarded());
    hands h{l};
    byte_string syn = framed(l.ends, tcp_datagram(l.ends, true, syn_of(h.client)));
    put16(syn, 14 + 20 + 16, 0x1234);
    outcome const o = l.sends(side::outside, syn, {.checksum = checksum_state::partial, .checksum_start = 34, .checksum_offset = 16});
    REQUIRE(o.fate == verdict::reply);
    CHECK(o.packet->transport_checksum_good);
}

TEST_CASE("F43 a million SYNs leave no state") {
    engine_config config = guarded();
    outbox out(128);
    byte_string const syn = framed({}, tcp_datagram({}, true, syn_of({.isn = 1000})));
    std::vector<byte_string> bytes(64, syn);
    for (byte_string& b : bytes) b.resize(128);
    std::array<frame, 64> frames{};
    std::uint32_t n = 0;
    bool all_replied = true;
    config.normalize.verify_checksums = false;
    half_proxy unchecked(config);
    std::size_t const before = unchecked.memory_bytes();
    for (int round = 0; round < 1'000'000 / 64; ++round) {
        for (std::size_t i = 0; i < 64; ++i) {
            std::copy(syn.begin(), syn.end(), bytes[i].begin());
            std::uint32_t const x = n++;
            bytes[i][14 + 14] = static_cast<std::uint8_t>(x >> 8);
            bytes[i][14 + 15] = static_cast<std::uint8_t>(x);
            bytes[i][14 + 20 + 4] = static_cast<std::uint8_t>(x >> 16);
            put16(bytes[i], 24, 0);
            put16(bytes[i], 24, naive_checksum(byte_view(bytes[i]).subspan(14, 20)));
            frames[i] = {};
            frames[i].data = bytes[i].data();
            frames[i].length = frames[i].wire_length = static_cast<std::uint32_t>(syn.size());
            frames[i].capacity = 128;
        }
        out.clear();
        unchecked.process(frames, time_point(std::chrono::milliseconds(1000 + round)), out);
        for (frame const& f : frames) all_replied = all_replied && f.outcome == verdict::reply;
    }
    CHECK(all_replied);
    CHECK(unchecked.flows_now() == 0);
    CHECK(unchecked.flows_peak() == 0);
    CHECK(unchecked.half_open() == 0);
    CHECK(unchecked.handshakes_now() == 0);
    CHECK(unchecked.memory_bytes() == before);
    CHECK(unchecked.counters().cookies_sent == 1'000'000 / 64 * 64);
    CHECK_FALSE(unchecked.next_deadline().has_value());
}

TEST_CASE("F29 a SYN on a tuple whose flow is over: the handshake completes at once, guard on and off") {
    for (guard_mode mode : {guard_mode::always, guard_mode::off})
        for (bool by_reset : {false, true}) {
            CAPTURE(by_reset);
            line l(guarded(mode));
            hands h{l};
            h.client.isn = 1000;
            if (mode == guard_mode::always) {
                h.all();
            } else {
                l.client_sends(syn_of(h.client));
                l.server_sends(h.syn_ack());
                h.cookie = h.server.isn;
                h.cookie_clock = h.server.clock;
                l.client_sends(h.third_ack());
                h.with_timestamps = true;
            }
            segment bye = h.from_client(0, 0);
            if (by_reset) {
                bye.flags = flags::rst | flags::ack;
                CHECK(l.client_sends(bye).fate == verdict::forward);
            } else {
                bye.flags = flags::fin | flags::ack;
                CHECK(l.client_sends(bye).fate == verdict::forward);
                segment other_bye = h.from_server(0, 1);
                other_bye.flags = flags::fin | flags::ack;
                CHECK(l.server_sends(other_bye).fate == verdict::forward);
                CHECK(l.client_sends(h.from_client(1, 1)).fate == verdict::forward);
            }
            l.after(1500);
            hands again{l};
            again.client.isn = 77'000'000;
            again.server.isn = 3'000'000'000;
            if (mode == guard_mode::always) {
                again.all();
                check_translated_data(l, again);
            } else {
                outcome const o = l.client_sends(syn_of(again.client));
                REQUIRE(o.fate == verdict::forward);
                CHECK(o.packet->tcp.seq == again.client.isn);
                REQUIRE(l.server_sends(again.syn_ack()).fate == verdict::forward);
                CHECK(l.client_sends(segment{.seq = again.client.isn + 1, .ack = again.server.isn + 1, .flags = flags::ack, .window = 500}).fate ==
                      verdict::forward);
            }
            CHECK(l.proxy().flows_now() == 1);
            CHECK(l.proxy().half_open() == 0);
        }
}

TEST_CASE("F30 a SYN on an established tuple: the server's challenge ACK reaches the client, whose RST frees the flow (RFC 5961 section 4)") {
    line l(guarded());
    hands h{l};
    h.all();
    l.client_sends(h.from_client(0, 0, filled(100)));
    l.server_sends(h.from_server(0, 100, filled(50)));
    hands rebooted{l};
    rebooted.client.isn = 55'555'555;
    outcome const syn = l.client_sends(syn_of(rebooted.client));
    REQUIRE(syn.fate == verdict::forward);
    CHECK(syn.packet->tcp.flags == flags::syn);
    outcome const challenge = l.server_sends(h.from_server(50, 100));
    REQUIRE(challenge.fate == verdict::forward);
    CHECK(challenge.packet->tcp.flags == flags::ack);
    CHECK(l.client_sends(h.from_client(100, 50, filled(5))).fate == verdict::forward);  // the old flow was not harmed
    CHECK(l.server_sends(h.from_server(50, 105)).fate == verdict::forward);
    segment reset;
    reset.flags = flags::rst;
    reset.seq = h.client.isn + 1 + 105;
    CHECK(l.client_sends(reset).fate == verdict::forward);
    rebooted.all();
    check_translated_data(l, rebooted);
}

TEST_CASE("a server that forgot a spliced flow can answer the client's new SYN") {
    line l(guarded());
    hands h{l};
    h.all();
    l.client_sends(h.from_client(0, 0, filled(100)));
    hands again{l};
    again.client.isn = 88'000'000;
    again.server.isn = 123'456;
    REQUIRE(l.client_sends(syn_of(again.client)).fate == verdict::forward);
    segment answer = again.syn_ack();
    answer.timestamps = {{again.server.clock, again.client.clock}};
    outcome const o = l.server_sends(answer);
    REQUIRE(o.fate == verdict::forward);
    CHECK(o.packet->tcp.flags == (flags::syn | flags::ack));
    CHECK(o.packet->tcp.ack == again.client.isn + 1);
    segment ack{.seq = again.client.isn + 1, .ack = o.packet->tcp.seq + 1, .flags = flags::ack, .window = 500};
    outcome const third = l.client_sends(ack);
    REQUIRE(third.fate == verdict::forward);
    CHECK(third.packet->tcp.ack == again.server.isn + 1);
    CHECK(l.proxy().half_open() == 0);
}

TEST_CASE("the half-open count survives a server that forgot a flow and takes the client's new SYN") {
    line l(guarded(guard_mode::automatic));
    hands h{l};
    l.client_sends(syn_of(h.client));
    l.server_sends(h.syn_ack());
    h.cookie = h.server.isn;
    h.cookie_clock = h.server.clock;
    l.client_sends(h.third_ack());
    CHECK(l.proxy().half_open() == 0);
    hands again{l};
    again.client.isn = 99'000'000;
    again.server.isn = 44'000'000;
    REQUIRE(l.client_sends(syn_of(again.client)).fate == verdict::forward);
    REQUIRE(l.server_sends(again.syn_ack()).fate == verdict::forward);
    CHECK(l.proxy().half_open() == 1);
    CHECK(l.client_sends(segment{.seq = again.client.isn + 1, .ack = again.server.isn + 1, .flags = flags::ack, .window = 500}).fate == verdict::forward);
    CHECK(l.proxy().half_open() == 0);
    CHECK(l.proxy().guard_status().activations() == 0);
}

TEST_CASE("F44 VLAN tags, IPv4 options and IPv6 extension headers get the same protection") {
    for (unsigned version : {4u, 6u}) {
        endpoints e = family(version);
        e.zone = 42;
        line l(guarded(), e);
        hands h{l};
        decoded const syn_ack = h.challenge();
        CHECK(get16(syn_ack.link, 14) == 42);
        h.validate();
        REQUIRE(h.complete().fate == verdict::forward);
        check_translated_data(l, h);
    }
    line l(guarded());
    ip4 ip;
    ip.options = {7, 7, 4, 0, 0, 0, 0, 0};  // record route
    ip.fragment = 0;                        // no DF
    tcp t;
    t.options = options_of(syn_of({.isn = 1000}));
    CHECK(l.sends(side::outside, ethernet(tcp_packet(ip, t))).fate == verdict::reply);
    ip6 six;
    six.extensions = {{0, {0, 1, 4, 0, 0, 0, 0}}, {60, {0, 1, 4, 0, 0, 0, 0}}};
    CHECK(l.sends(side::outside, ethernet(tcp_packet(six, t))).fate == verdict::reply);
}

TEST_CASE("a frame without room for its new form is dropped, and leaves nothing behind") {
    line l(guarded());
    byte_string const syn = framed(l.ends, tcp_datagram(l.ends, true, segment{.seq = 5, .flags = flags::syn}));
    CHECK(l.sends(side::outside, syn, {}, 0).reason == drop_reason::frame_room);
    hands h{l};
    h.client = {.isn = 9, .mss = {}, .scale = {}, .sack = false, .timestamps = false};
    h.challenge();
    CHECK(l.sends(side::outside, framed(l.ends, tcp_datagram(l.ends, true, h.third_ack())), {}, 0).reason == drop_reason::frame_room);
    CHECK(l.proxy().flows_now() == 0);
    CHECK(l.proxy().handshakes_now() == 0);
}
