// SPDX-License-Identifier: BSL-1.0
// The guard in the engine: who is challenged, by which method, who is spared, and what a flood leaves behind.
#include <halfproxy/engine/engine.hpp>

#include "tests/support/splice.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using line = timeline<>;
using hands = handshake_of<>;

endpoints family(unsigned version) {
    endpoints e;
    e.version = version;
    return e;
}

/// Active from so many half-open connections on.
engine_config automatic(std::uint32_t half_open_on) {
    engine_config c = guarded(guard_mode::automatic);
    c.guard.marks = {.half_open_on = half_open_on, .half_open_off = 0};
    return c;
}

engine_config challenge_reset(reset_by who = reset_by::client) {
    engine_config c = guarded();
    c.guard.method = guard_method::challenge_reset;
    c.guard.reset_by = who;
    return c;
}

/// A RST as RFC 9293 section 3.10.7.3 wants it from SYN-SENT.
segment reset_for(decoded const& answer) { return {.seq = answer.tcp.ack, .flags = flags::rst}; }

/// SYNs from other ports of the client, so that so many connections are half open.
void open_half(line& l, unsigned count) {
    unsigned const port = l.ends.client_port;
    for (unsigned i = 0; i < count; ++i) {
        l.ends.client_port = 1000 + i;
        REQUIRE(l.client_sends(syn_of({.isn = i})).fate == verdict::forward);
    }
    l.ends.client_port = port;
}

}  // namespace

// --- Exemption and the allow list ---------------------------------------------------------------------------------------------------------

TEST_CASE("a client that proved itself is not challenged again for exempt_s, then it is") {
    for (unsigned version : {4u, 6u}) {
        engine_config c = guarded();
        c.guard.exempt = 30'000;
        line l(c, family(version));
        l.at(0);
        hands h{l};
        h.all();
        l.ends.client_port = 40001;
        outcome const second = l.at(29'999).client_sends(syn_of({.isn = 5}));
        CHECK(second.fate == verdict::forward);
        CHECK(l.counters().syns_exempt == 1);
        l.ends.client_port = 40002;
        CHECK(l.at(30'000).client_sends(syn_of({.isn = 5})).fate == verdict::reply);
    }
}

TEST_CASE("a SYN that was challenged and, repeated, passed: the ACK of the cookie connects all the same, whatever the server has said by then") {
    for (unsigned version : {4u, 6u})
        for (bool server_has_answered : {false, true}) {
            CAPTURE(version);
            CAPTURE(server_has_answered);
            engine_config c = guarded();
            c.guard.exempt = 30'000;
            line l(c, family(version));
            hands h{l};
            h.challenge();
            l.ends.client_port += 1;
            hands{l, {.isn = 77}}.all();  // exempts the client
            l.ends.client_port -= 1;
            REQUIRE(l.client_sends(syn_of(h.client)).fate == verdict::forward);
            if (server_has_answered) REQUIRE(l.server_sends(h.syn_ack()).fate == verdict::forward);
            decoded const syn = h.validate();
            CHECK(syn.tcp.flags == flags::syn);
            CHECK(syn.tcp.seq == h.client.isn);
            REQUIRE(h.complete().fate == verdict::forward);
            outcome const data = l.client_sends(h.from_client(0, 0, filled(10)));
            REQUIRE(data.fate == verdict::forward);
            CHECK(data.packet->tcp.ack == h.server.isn + 1);
            CHECK(l.proxy().half_open() == 0);
        }
}

TEST_CASE("always challenges every connection unless an exemption is configured; automatic exempts for 30 s by itself") {
    line l(guarded());
    hands h{l};
    h.all();
    l.ends.client_port = 40001;
    CHECK(l.client_sends(syn_of({.isn = 5})).fate == verdict::reply);
    CHECK(guard_config{.mode = guard_mode::automatic}.exempt_time() == 30'000);
    CHECK(guard_config{.mode = guard_mode::always, .method = guard_method::challenge_reset}.exempt_time() == 30'000);
}

TEST_CASE("nothing but a validated cookie exempts: not a SYN, not a forged ACK or RST, not a cookie with a bad checksum") {
    for (unsigned version : {4u, 6u}) {
        engine_config c = guarded();
        c.guard.exempt = 30'000;
        line l(c, family(version));
        l.verify_checksums = false;
        hands h{l};
        h.challenge();
        segment forged = h.third_ack();
        forged.ack += 1;
        CHECK(l.client_sends(forged).reason == drop_reason::cookie_invalid);
        CHECK(l.client_sends({.seq = h.cookie + 1, .flags = flags::rst}).reason == drop_reason::no_flow);
        byte_string damaged = framed(l.ends, tcp_datagram(l.ends, true, h.third_ack()));
        damaged[14 + (version == 4 ? 20u : 40u) + 14] ^= 1;  // the window: no part of the cookie
        CHECK(l.sends(side::outside, damaged).reason == drop_reason::l4_checksum);
        CHECK(l.client_sends(syn_of(h.client)).fate == verdict::reply);
        CHECK(l.counters().syns_exempt == 0);
    }
}

TEST_CASE("clients on the allow list are never challenged, nor dropped early, others of both families are") {
    engine_config c = guarded();
    c.guard.allow = {{ip_address::v4(0xc0000200), 24}, {ip_address::v6({0x20, 1, 0xd, 0xb8}), 64}};
    c.guard.marks.syn_rate_on = c.guard.marks.syn_rate_max = 1;
    c.guard.smoothing = {.slot = 1000, .slots = 1};
    for (unsigned version : {4u, 6u}) {
        line l(c, family(version));
        l.client_sends(syn_of({.isn = 4}));
        l.ends.client_port = 3;
        CHECK(l.client_sends(syn_of({.isn = 5})).fate == verdict::forward);
        l.ends.client4 = 0xcb007101;
        l.ends.client6[7] = 1;
        CHECK(l.client_sends(syn_of({.isn = 5})).reason == drop_reason::guard_overload);
    }
}

// --- Scopes and transitions ---------------------------------------------------------------------------------------------------------------

namespace {

struct event_log {
    std::vector<guard_event>* events = nullptr;
    template <class Address>
    void opened(flow<Address> const&) noexcept {}
    template <class Address>
    void closed(flow<Address> const&) noexcept {}
    void dropped(frame const&, drop_reason) noexcept {}
    void guard_changed(guard_event const& e) noexcept { events->push_back(e); }
};

}  // namespace

TEST_CASE("the observer hears of ready, active, grace and ready again, and the guard counts each") {
    engine_config c = automatic(3);
    c.guard.marks.half_open_off = 1;
    c.timeouts.syn_sent = 5'000;
    std::vector<guard_event> events;
    using logged = policies<admit_by_guard, keep_addresses, event_log>;
    timeline<logged> l(c, {}, logged{.observer = {&events}});
    for (unsigned i = 0; i < 3; ++i) {
        l.ends.client_port = 1000 + i;
        l.at(i + 1).client_sends(syn_of({.isn = i}));
    }
    for (std::uint64_t t = 0; t <= 120'000; t += 500) l.at(t);
    REQUIRE(events.size() == 3);
    CHECK(events[0].after == guard_state::active);
    CHECK(events[0].half_open == 3);
    CHECK(events[1].before == guard_state::active);
    CHECK(events[1].after == guard_state::grace);
    CHECK(events[1].when - events[0].when == doctest::Approx(60'000).epsilon(0.01));
    CHECK(events[2].after == guard_state::ready);
    CHECK(events[2].when - events[1].when == doctest::Approx(30'000).epsilon(0.02));
    for (guard_state s : {guard_state::active, guard_state::grace, guard_state::ready})
        CHECK(l.proxy().guard_status().transitions(guard_scope::global, s) == 1);
}

TEST_CASE("a flood against one service challenges its clients only") {
    for (unsigned version : {4u, 6u}) {
        engine_config c = automatic(no_mark);
        c.guard.services = 1024;
        c.guard.service_marks = {.half_open_on = 20, .half_open_off = 5};
        line l(c, family(version));
        open_half(l, 20);
        CHECK(l.client_sends(syn_of({.isn = 5})).fate == verdict::reply);
        l.ends.server_port = 443;
        CHECK(l.client_sends(syn_of({.isn = 5})).fate == verdict::forward);
        l.ends.server_port = 80;
        l.ends.server4 += 1;
        l.ends.server6[15] += 1;
        CHECK(l.client_sends(syn_of({.isn = 5})).fate == verdict::forward);
        CHECK(l.proxy().guard_status().transitions(guard_scope::service, guard_state::active) == 1);
    }
}

TEST_CASE("a guarded inside splices clients from there, and leaves those outside alone") {
    for (unsigned version : {4u, 6u}) {
        engine_config c = guarded();
        c.guard.sides = guarded_sides::inside;
        line l(c, family(version));
        CHECK(l.client_sends(syn_of({.isn = 5})).fate == verdict::forward);
        l.ends.client_port = 40001;
        auto const from_inside = [&](segment const& s) { return l.sends(side::inside, framed(l.ends, tcp_datagram(l.ends, true, s))); };
        hands h{l};
        outcome const answer = from_inside(syn_of(h.client));
        REQUIRE(answer.fate == verdict::reply);
        CHECK(answer.packet->exit == side::inside);
        h.cookie = answer.packet->tcp.seq;
        h.cookie_clock = answer.packet->tcp.timestamps->first;
        outcome const syn = from_inside(h.third_ack());
        REQUIRE(syn.fate == verdict::forward);
        CHECK(syn.packet->exit == side::outside);
        CHECK(syn.packet->tcp.flags == flags::syn);
    }
}

TEST_CASE("monitor counts the SYNs it would have challenged and dropped early, and lets all pass") {
    engine_config c = guarded(guard_mode::monitor);
    c.guard.marks = {.half_open_on = 2, .half_open_off = 1, .syn_rate_on = 1000, .syn_rate_off = 1, .syn_rate_max = 3000};
    c.guard.smoothing = {.slot = 10'000, .slots = 1};
    line l(c);
    open_half(l, 10);
    CHECK(l.counters().challenges_spared == 8);
    CHECK(l.counters().cookies_sent == 0);
    c.guard.marks.syn_rate_on = c.guard.marks.syn_rate_max = 0;
    line capped(c);
    open_half(capped, 10);
    CHECK(capped.counters().drops_spared == 10);
    CHECK(capped.counters().challenges_spared == 0);
}

TEST_CASE("a trickle of clients during switch-on and switch-off loses no connection, whatever the guard's state at each packet") {
    engine_config c = automatic(12);
    c.guard.marks.half_open_off = 6;
    c.guard.min_active = 2'000;
    c.guard.grace = 3'000;
    c.guard.exempt = 0;
    c.timeouts.syn_sent = 1'000;
    for (unsigned version : {4u, 6u}) {
        line l(c, family(version));
        unsigned challenged = 0, passed = 0;
        for (unsigned i = 0; i < 200; ++i) {
            std::uint64_t const begin = 200 * i;
            unsigned const attackers = i >= 20 && i < 30 ? 12 : 0;
            for (unsigned a = 0; a < attackers; ++a) {  // a flood for 2 s
                l.at(begin + 1).ends.client_port = 50'000 + 20 * i + a;
                l.client_sends(syn_of({.isn = a}));
            }
            l.at(begin + 2).ends.client_port = 2000 + i;
            hands h{l};
            outcome const o = l.client_sends(syn_of(h.client));
            if (o.fate == verdict::reply) {
                ++challenged;
                h.cookie = o.packet->tcp.seq;
                h.cookie_clock = o.packet->tcp.timestamps->first;
                l.at(begin + 150);  // the round trip may lie across a change of state
                h.validate();
                REQUIRE(h.complete().fate == verdict::forward);
            } else {
                ++passed;
                REQUIRE(o.fate == verdict::forward);
                l.at(begin + 150);
                REQUIRE(l.server_sends(h.syn_ack()).fate == verdict::forward);
                h.cookie = h.server.isn;
                h.cookie_clock = h.server.clock;
                REQUIRE(l.client_sends(h.third_ack()).fate == verdict::forward);
            }
        }
        CHECK(challenged > 5);
        CHECK(passed > 30);
        CHECK(l.proxy().guard_status().transitions(guard_scope::global, guard_state::ready) == 1);
    }
}

// --- challenge_reset ----------------------------------------------------------------------------------------------------------------------

TEST_CASE("challenge_reset: an unacceptable ACK, the client's RST, and its next SYN passes untouched (RFC 9293 section 3.10.7.3)") {
    for (unsigned version : {4u, 6u})
        for (std::uint32_t isn : {0u, 1u, 0x7fff'ffffu, 0x8000'0000u, 0xffff'ffffu, 123'456'789u}) {
            CAPTURE(version);
            CAPTURE(isn);
            line l(challenge_reset(), family(version));
            segment syn = syn_of({.isn = isn});
            syn.raw_options = {34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1};  // a TCP Fast Open cookie goes end to end
            outcome const answer = l.client_sends(syn);
            REQUIRE(answer.fate == verdict::reply);
            decoded const& d = *answer.packet;
            CHECK(d.tcp.flags == flags::ack);
            CHECK(d.tcp.window == 0);
            CHECK(static_cast<std::int32_t>(d.tcp.ack - isn) <= 0);  // SEG.ACK =< ISS
            CHECK(d.transport.size() == 20);
            CHECK(l.client_sends(reset_for(d)).fate == verdict::hold);
            CHECK(l.proxy().flows_now() == 0);
            byte_string const sent = framed(l.ends, tcp_datagram(l.ends, true, syn));
            outcome const again = l.sends(side::outside, sent);
            REQUIRE(again.fate == verdict::forward);
            CHECK(again.packet->bytes == sent);
            hands h{l};
            h.client.isn = isn;
            outcome const syn_ack = l.server_sends(h.syn_ack());
            REQUIRE(syn_ack.fate == verdict::forward);
            CHECK(syn_ack.packet->tcp.seq == h.server.isn);
        }
}

TEST_CASE("challenge_reset: a RST with any other number proves nothing, and is not passed on") {
    for (unsigned version : {4u, 6u}) {
        line l(challenge_reset(), family(version));
        decoded const d = *l.client_sends(syn_of({.isn = 1000})).packet;
        split_mix64 random(7);
        for (int i = 0; i < 5'000; ++i)
            CHECK(l.client_sends({.seq = static_cast<std::uint32_t>(random()), .flags = flags::rst}).reason == drop_reason::no_flow);
        CHECK(l.client_sends({.seq = d.tcp.ack, .ack = 1, .flags = flags::rst | flags::ack}).reason == drop_reason::no_flow);
        l.ends.client_port += 1;
        CHECK(l.client_sends(reset_for(d)).reason == drop_reason::no_flow);
        l.ends.client_port -= 1;
        CHECK(l.client_sends(syn_of({.isn = 1000})).fate == verdict::reply);
        CHECK(l.client_sends(reset_for(d)).fate == verdict::hold);
    }
}

TEST_CASE("challenge_reset: a challenge can be answered as long as a cookie lives, then the client is challenged anew") {
    for (unsigned version : {4u, 6u}) {
        engine_config c = challenge_reset();
        c.guard.key_rotation = 10'000;
        line l(c, family(version));
        l.at(0);
        decoded const d = *l.client_sends(syn_of({.isn = 1000})).packet;
        CHECK(l.at(8'700).client_sends(reset_for(d)).fate == verdict::hold);
        line late(c, family(version));
        late.at(0);
        decoded const old = *late.client_sends(syn_of({.isn = 1000})).packet;
        CHECK(late.at(21'000).client_sends(reset_for(old)).reason == drop_reason::no_flow);
    }
}

TEST_CASE("challenge_reset by the proxy: a right cookie, a RST to the ACK, and the next connection passes untouched") {
    for (unsigned version : {4u, 6u}) {
        line l(challenge_reset(reset_by::proxy), family(version));
        hands h{l};
        h.challenge();
        outcome const o = l.client_sends(h.third_ack());
        REQUIRE(o.fate == verdict::reply);
        CHECK(o.packet->exit == side::outside);
        CHECK(o.packet->tcp.flags == flags::rst);
        CHECK(o.packet->tcp.seq == h.cookie + 1);
        CHECK(l.proxy().flows_now() == 0);
        l.ends.client_port += 1;
        CHECK(l.client_sends(syn_of(h.client)).fate == verdict::forward);
    }
}

TEST_CASE("challenge_reset works where a connection of the same tuple is over but not forgotten") {
    for (unsigned version : {4u, 6u}) {
        line l(challenge_reset(), family(version));
        l.at(0);
        hands h{l};
        l.client_sends(reset_for(*l.client_sends(syn_of(h.client)).packet));
        l.client_sends(syn_of(h.client));
        l.server_sends(h.syn_ack());
        h.cookie = h.server.isn;
        h.cookie_clock = h.server.clock;
        h.with_timestamps = true;
        l.client_sends(h.third_ack());
        segment fin = h.from_client(0, 0);
        fin.flags |= flags::fin;
        l.client_sends(fin);
        segment fin_back = h.from_server(0, 1);
        fin_back.flags |= flags::fin;
        l.server_sends(fin_back);
        l.client_sends(h.from_client(1, 1));
        REQUIRE(l.proxy().flows_now() == 1);
        l.at(31'000);  // no longer exempt, the flow still in TIME-WAIT
        REQUIRE(l.proxy().flows_now() == 1);
        h.client.isn += 1'000'000;
        h.client.clock += 31'000;
        outcome const answer = l.client_sends(syn_of(h.client));
        REQUIRE(answer.fate == verdict::reply);
        CHECK(l.client_sends(reset_for(*answer.packet)).fate == verdict::hold);
        CHECK(l.client_sends(syn_of(h.client)).fate == verdict::forward);
    }
}

TEST_CASE("nothing of one method proves a source to the other") {
    line reset(challenge_reset()), splice(guarded());
    hands h{splice};
    h.challenge();
    decoded const d = *reset.client_sends(syn_of(h.client)).packet;
    CHECK(reset.client_sends({.seq = h.cookie, .flags = flags::rst}).reason == drop_reason::no_flow);
    segment ack = h.third_ack();
    ack.seq = 1;  // as if the client's ISN were 0, which the number of the other method is made with
    ack.ack = d.tcp.ack + 1;
    ack.timestamps.reset();
    CHECK(splice.client_sends(ack).reason == drop_reason::cookie_invalid);
}

// --- Limits of one source -----------------------------------------------------------------------------------------------------------------

TEST_CASE("a source with as many half-open connections as its limit opens no more until one of them is complete or over") {
    for (unsigned version : {4u, 6u}) {
        engine_config c = guarded(guard_mode::off);
        c.limits.per_source.half_open = 3;
        c.timeouts.syn_sent = 5'000;
        line l(c, family(version));
        l.at(0);
        open_half(l, 3);
        CHECK(l.client_sends(syn_of({.isn = 5})).reason == drop_reason::source_limit);
        endpoints const one = l.ends;
        l.ends.client4 += 1;
        l.ends.client6[7] += 1;
        CHECK(l.client_sends(syn_of({.isn = 5})).fate == verdict::forward);  // another source
        l.ends = one;
        l.ends.client_port = 1000;
        hands h{l, {.isn = 0}};
        l.server_sends(h.syn_ack());
        h.cookie = h.server.isn;
        h.cookie_clock = h.server.clock;
        CHECK(l.client_sends(h.third_ack()).fate == verdict::forward);
        l.ends.client_port = 2000;
        CHECK(l.client_sends(syn_of({.isn = 5})).fate == verdict::forward);
        l.ends.client_port = 2001;
        CHECK(l.client_sends(syn_of({.isn = 5})).reason == drop_reason::source_limit);
        CHECK(l.at(20'000).client_sends(syn_of({.isn = 5})).fate == verdict::forward);
    }
}

TEST_CASE("a source opens so many flows per second and no more, of TCP and of datagrams, behind a cookie too") {
    for (unsigned version : {4u, 6u})
        for (guard_mode mode : {guard_mode::off, guard_mode::always}) {
            engine_config c = guarded(mode);
            c.limits.per_source.new_flows_per_s = 5;
            line l(c, family(version));
            l.at(0);
            unsigned opened = 0, refused = 0;
            for (unsigned i = 0; i < 50; ++i) {  // 10 per second, 5 s
                l.at(100 * i);
                l.ends.client_port = 1000 + i;
                hands h{l};
                outcome o = l.client_sends(syn_of(h.client));
                if (mode == guard_mode::always) {
                    h.cookie = o.packet->tcp.seq;
                    h.cookie_clock = o.packet->tcp.timestamps->first;
                    o = l.client_sends(h.third_ack());
                }
                opened += o.fate == verdict::forward ? 1 : 0;
                refused += o.reason == drop_reason::source_limit ? 1 : 0;
            }
            CHECK(opened + refused == 50);
            CHECK(opened >= 28);  // 5 at once and 5 each second
            CHECK(opened <= 30);
        }
}
