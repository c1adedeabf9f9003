// SPDX-License-Identifier: BSL-1.0
// How long a flow lives: the timeout of every state in both presets, what shortens it, what restores it, and what must not touch it.
#include "tests/support/conversation.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

struct preset {
    char const* name;
    flow_timeouts values;
};
constexpr preset presets[] = {{"firewall", flow_timeouts::firewall()}, {"adc", flow_timeouts::adc()}};

engine_config with(flow_timeouts const& timeouts) {
    engine_config config = guarded();
    config.timeouts = timeouts;
    return config;
}

/// Silent from now on, the flow is there until just before `timeout` and gone a little after it: the wheel's slots are 64 ms.
void ends_after(conversation& c, std::uint64_t timeout) {
    std::uint64_t const begin = c.line.now_ms();
    c.line.at(begin + timeout - 1);
    CHECK(c.alive());
    c.line.at(begin + timeout + 130);
    CHECK_FALSE(c.alive());
}

std::vector<world> one_of_each() { return {{4, false, 0xffff'ffff, 7}, {6, false, 0, 0xffff'ffff}, {4, true, 0xffff'ffff, 7}, {6, true, 0, 0xffff'ffff}}; }

/// Brings a fresh conversation into a state.
void reach(conversation& c, tcp_state state) {
    if (state == tcp_state::syn_sent) return c.syn();
    if (state == tcp_state::simultaneous) {
        c.syn();
        return c.server_passes(syn_of(c.hands.server));
    }
    if (state == tcp_state::syn_received) {
        c.syn();
        return c.syn_ack();
    }
    c.open();
    if (state == tcp_state::closed) return c.client_passes(rst(c.client(0, 0)));
    if (state == tcp_state::established) return;
    c.client_passes(fin(c.client(0, 0)));
    c.server_passes(c.server(0, 1));
    if (state == tcp_state::half_closed) return;
    c.server_passes(fin(c.server(0, 1)));
    if (state == tcp_state::time_wait) c.client_passes(c.client(1, 1));
}

timeout_ms timeout_for(flow_timeouts const& t, tcp_state state) {
    switch (state) {
        case tcp_state::syn_sent:
        case tcp_state::simultaneous: return t.syn_sent;
        case tcp_state::syn_received: return t.syn_received;
        case tcp_state::established: return t.established;
        case tcp_state::half_closed: return t.half_closed;
        case tcp_state::last_ack: return t.last_ack;
        case tcp_state::time_wait: return t.time_wait;
        default: return t.closed;
    }
}

}  // namespace

TEST_CASE("a silent flow lives as long as its state's timeout says, in both presets (RFC 5382 REQ-5)") {
    for (preset const& p : presets)
        for (world const& w : one_of_each())
            for (tcp_state state : {tcp_state::syn_sent, tcp_state::simultaneous, tcp_state::syn_received, tcp_state::established,
                                    tcp_state::half_closed, tcp_state::last_ack, tcp_state::time_wait, tcp_state::closed}) {
                if (w.spliced && is_half_open(state)) continue;
                CAPTURE(std::string(p.name));
                CAPTURE(w);
                CAPTURE(state);
                conversation c(w, with(p.values));
                c.line.at(0);
                reach(c, state);
                REQUIRE(c.state() == state);
                ends_after(c, timeout_for(p.values, state));
            }
}

TEST_CASE("F39 a closed window, three repetitions or data beyond the window shorten the timeout of a silent flow; what is good restores it") {
    constexpr unsigned window = 10'000;
    for (preset const& p : presets)
        for (world const& w : one_of_each())
            for (int why : {0, 1, 2})
                for (bool restored : {false, true}) {
                    CAPTURE(std::string(p.name));
                    CAPTURE(w);
                    CAPTURE(why);
                    CAPTURE(restored);
                    conversation c(w, with(p.values));
                    c.offer_nothing();
                    c.hands.client.window = c.hands.server.window = window;
                    c.open();
                    c.line.after(p.values.established / 3);
                    c.client_passes(c.client(0, 0, 100, window));
                    c.server_passes(c.server(0, 100, 0, window));
                    if (why == 0) c.server_passes(c.server(0, 100, 0, 0));
                    if (why == 1)
                        for (int i = 0; i < 4; ++i) c.client_passes(c.client(100, 0, 100, window));
                    if (why == 2) {
                        c.client_passes(c.client(101 + window, 0, 100, window));
                        c.client_passes(c.client(100, 0, 0, window));
                    }
                    if (restored) {
                        c.server_passes(c.server(0, why == 0 ? 100 : why == 1 ? 200 : 201 + window, 0, window));
                        c.client_passes(c.client(why == 2 ? 201 + window : 100, 0, 0, window));
                    }
                    ends_after(c, restored ? p.values.established : std::min(p.values.established, why == 2 ? p.values.unacknowledged : p.values.retransmitting));
                }
}

TEST_CASE("F39 a shorter timeout is never longer than the state's own") {
    for (world const& w : one_of_each()) {
        CAPTURE(w);
        flow_timeouts t = flow_timeouts::firewall();
        t.established = 20'000;
        t.half_closed = 10'000;
        conversation c(w, with(t));
        c.open();
        c.server_passes(c.server(0, 0, 0, 0));
        conversation half(w, with(t));
        reach(half, tcp_state::half_closed);
        half.server_passes(half.server(0, 1, 0, 0));
        ends_after(half, 10'000);
        ends_after(c, 20'000);
    }
}

TEST_CASE("F39 probes of a closed window keep the flow alive for as long as they are answered (RFC 9293 section 3.8.6.1)") {
    for (world const& w : one_of_each()) {
        CAPTURE(w);
        conversation c(w);
        c.open();
        c.client_passes(c.client(0, 0, 100));
        c.server_passes(c.server(0, 100, 0, 0));
        for (int minutes = 0; minutes < 300; minutes += 4) {
            c.line.after(240'000);
            c.client_passes(c.client(99, 0, 1));
            c.server_passes(c.server(0, 100, 0, 0));
        }
        CHECK(c.state() == tcp_state::established);
    }
}

TEST_CASE("F39 a sender that has backed off to two minutes between retransmissions or probes finds its flow, in both presets (RFC 6298 section 2.5)") {
    for (preset const& p : presets)
        for (world const& w : one_of_each())
            for (bool closed : {false, true}) {
                CAPTURE(std::string(p.name));
                CAPTURE(w);
                CAPTURE(closed);
                conversation c(w, with(p.values));
                c.open();
                if (closed) c.server_passes(c.server(0, 0, 0, 0));
                for (std::uint64_t wait = 1'000; wait < 2'000'000; wait *= 2) {
                    c.client_passes(c.client(0, 0, closed ? 1 : 100));
                    c.line.after(std::min<std::uint64_t>(wait, 120'000));
                }
                CHECK(c.state() == tcp_state::established);
                CHECK(c.line.counters().flows_opened == 1);
                CHECK(c.drops() == 0);
            }
}

TEST_CASE("F40 neither SYNs again nor challenge ACKs nor RSTs at wrong numbers keep a flow in SYN-SENT") {
    for (world const& w : one_of_each()) {
        if (w.spliced) continue;
        CAPTURE(w);
        conversation c(w);
        c.line.at(0);
        c.syn();
        for (std::uint64_t ms = 5'000; ms < 120'000; ms += 5'000) {
            c.line.at(ms);
            c.syn();
            c.server_passes(with_flags(c.server(4711, 99'999), flags::ack));
            static_cast<void>(c.line.client_sends(with_flags(c.client(99'999, 0), flags::rst)));
            c.client_dropped(c.client(0, 5), drop_reason::answer_unseen);
        }
        REQUIRE(c.state() == tcp_state::syn_sent);
        c.line.at(120'300);
        CHECK_FALSE(c.alive());
    }
}

TEST_CASE("a flow that is only answered, or only asks, is refreshed by what passes: hours of keepalives keep it") {
    for (world const& w : one_of_each()) {
        CAPTURE(w);
        conversation c(w);
        c.open();
        for (int days = 0; days < 5; ++days) {
            c.line.after(80'000'000);
            c.client_passes(c.client(0u - 1, 0));
            c.line.after(80'000'000);
            c.server_passes(c.server(0u - 1, 0));
        }
        CHECK(c.state() == tcp_state::established);
    }
}

TEST_CASE("datagrams: before an answer nobody prolongs the flow, after it only answers do (RFC 4787 REQ-6)") {
    for (preset const& p : presets)
        for (unsigned version : {4u, 6u}) {
            CAPTURE(std::string(p.name));
            CAPTURE(version);
            conversation c({version, false, 0, 0}, with(p.values));
            endpoints const& e = c.line.ends;
            auto const say = [&](bool client) {
                unsigned const from = client ? e.client_port : e.server_port, to = client ? e.server_port : e.client_port;
                byte_string const datagram = u16(from) + u16(to) + u16(28) + u16(0) + filled(20);
                CHECK(c.line.sends(client ? side::outside : side::inside, framed(e, datagram_of(e, client, 17, datagram, 6))).fate == verdict::forward);
            };
            c.line.at(0);
            say(true);
            for (int i = 1; i < 10; ++i) {
                c.line.at(p.values.udp_new / 10 * static_cast<std::uint64_t>(i));
                say(true);
            }
            c.line.at(p.values.udp_new - 1);
            CHECK(c.alive());
            c.line.at(p.values.udp_new + 130);
            CHECK_FALSE(c.alive());
            say(true);
            for (int i = 0; i < 5; ++i) {  // answers prolong
                say(false);
                c.line.after(p.values.udp_replied / 10 * 9);
            }
            say(false);
            std::uint64_t const last_answer = c.line.now_ms();
            for (int i = 1; i < 10; ++i) {  // the asker does not
                c.line.at(last_answer + p.values.udp_replied / 10 * static_cast<std::uint64_t>(i));
                say(true);
            }
            c.line.at(last_answer + p.values.udp_replied - 1);
            CHECK(c.alive());
            c.line.at(last_answer + p.values.udp_replied + 130);
            CHECK_FALSE(c.alive());
            CHECK(c.line.counters().flows_opened == 2);
        }
}

TEST_CASE("F40 neither SYN-ACKs again nor forged ACKs keep a flow in SYN-RECEIVED, and none of them establishes it") {
    for (world const& w : plain_worlds()) {
        CAPTURE(w);
        conversation c(w);
        c.line.at(0);
        c.syn();
        c.syn_ack();
        for (std::uint64_t ms = 5'000; ms < 60'000; ms += 5'000) {
            c.line.at(ms);
            c.syn();
            c.syn_ack();
            for (std::uint32_t wrong : {0u - 1, 0u - 2, 0u - 60'000, 0u - 70'000, 1u, 0x4000'0000u, 0x8000'0000u}) {
                static_cast<void>(c.line.client_sends(c.client(0, wrong)));
                static_cast<void>(c.line.client_sends(c.client(0, wrong, 20)));
                REQUIRE(c.state() == tcp_state::syn_received);
            }
        }
        c.line.at(60'300);
        CHECK_FALSE(c.alive());
    }
}

TEST_CASE("idle flows time out in their own time, opened before or after a busy one, embryonic ones in theirs") {
    for (unsigned version : {4u, 6u})
        for (side const from : {side::outside, side::inside}) {
            CAPTURE(version);
            timeline l(guarded(guard_mode::off));
            l.ends.version = version;
            flow_timeouts const t = l.proxy().config().timeouts;
            auto const sends = [&](unsigned port, bool client, segment const& s) {
                l.ends.client_port = port;
                outcome const o = l.sends(client ? from : other(from), framed(l.ends, tcp_datagram(l.ends, client, s)));
                CHECK(o.fate == verdict::forward);
            };
            auto const opens = [&](unsigned port) {
                sends(port, true, {.seq = 100, .flags = flags::syn, .window = 60'000});
                sends(port, false, {.seq = 900, .ack = 101, .flags = flags::syn | flags::ack, .window = 60'000});
                sends(port, true, {.seq = 101, .ack = 901, .flags = flags::ack, .window = 60'000});
            };
            auto const alive = [&](unsigned port) {
                bool found = false;
                l.proxy().for_each_flow([&](auto const& f) { found = found || f.tuple[0].source_port == port; });
                return found;
            };
            std::uint32_t asked = 0;
            auto const busy_until = [&](std::uint64_t end_ms, std::uint64_t step) {
                while (l.now_ms() + step < end_ms) {
                    l.after(step);
                    sends(2, true, {.seq = 101 + asked, .ack = 901, .flags = flags::ack, .window = 60'000, .payload = filled(1)});
                    sends(2, false, {.seq = 901, .ack = 102 + asked++, .flags = flags::ack, .window = 60'000});
                }
                l.at(end_ms);
            };
            l.at(0);
            opens(1);
            opens(2);
            opens(3);
            sends(4, true, {.seq = 100, .flags = flags::syn, .window = 60'000});
            busy_until(t.syn_sent - 1, t.syn_sent / 4);
            CHECK(alive(4));
            busy_until(t.syn_sent + 130, t.syn_sent / 4);
            CHECK_FALSE(alive(4));
            busy_until(t.established - 1, t.established / 8);
            CHECK((alive(1) && alive(2) && alive(3)));
            busy_until(t.established + 130, t.established / 8);
            CHECK_FALSE(alive(1));
            CHECK_FALSE(alive(3));
            CHECK(alive(2));
            CHECK(l.proxy().flows_now() == 1);
        }
}
