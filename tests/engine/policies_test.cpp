// SPDX-License-Identifier: BSL-1.0
// Policies of the user's own: addresses translated with and without a splice, admission, an observer.
#include <halfproxy/engine/engine.hpp>

#include "tests/support/splice.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

constexpr std::uint32_t real_server4 = 0x0a00004d;  // 10.0.0.77
constexpr std::uint16_t real_port = 8080;

ipv6_bytes real_server6() {
    ipv6_bytes a{0xfd};
    a[15] = 0x77;
    return a;
}

/// A virtual service: whoever speaks to port 80 reaches another address and port.
struct to_real_server {
    address_answer<std::uint32_t> translate(flow_request<std::uint32_t> const& r, stamp_ms) noexcept {
        ipv4_tuple t = r.tuple;
        if (t.destination_port == 80) t.destination = real_server4, t.destination_port = real_port;
        return {t};
    }
    address_answer<ipv6_bytes> translate(flow_request<ipv6_bytes> const& r, stamp_ms) noexcept {
        ipv6_tuple t = r.tuple;
        if (t.destination_port == 80) t.destination = real_server6(), t.destination_port = real_port;
        return {t};
    }
};

struct watcher {
    int* opened_count = nullptr;
    int* closed_count = nullptr;
    int* drops = nullptr;
    template <class Address>
    void opened(flow<Address> const&) noexcept {
        if (opened_count != nullptr) ++*opened_count;
    }
    template <class Address>
    void closed(flow<Address> const&) noexcept {
        if (closed_count != nullptr) ++*closed_count;
    }
    void dropped(frame const&, drop_reason) noexcept {
        if (drops != nullptr) ++*drops;
    }
};

/// By the client's port: 1 denied, 2 always challenged, 3 never challenged, the rest by the guard.
struct by_port {
    template <class Address>
    admission decide(flow_request<Address> const& r) noexcept {
        switch (r.tuple.source_port) {
            case 1: return admission::deny;
            case 2: return admission::challenge;
            case 3: return admission::admit;
            default: return admission::by_guard;
        }
    }
};

using own_policies = policies<by_port, to_real_server, watcher>;
using line = timeline<own_policies>;
using hands = handshake_of<own_policies>;

endpoints family(unsigned version) {
    endpoints e;
    e.version = version;
    return e;
}

/// The same ends as the real server sees them.
endpoints behind(endpoints e) {
    e.server4 = real_server4;
    ipv6_bytes const six = real_server6();
    e.server6.assign(six.begin(), six.end());
    e.server_port = real_port;
    return e;
}

/// What the real server sends, in its own address.
outcome real_server_sends(line& l, segment const& s) { return l.sends(side::inside, framed(l.ends, tcp_datagram(behind(l.ends), false, s))); }

void check_at_server(decoded const& d, endpoints const& e) {
    endpoints const b = behind(e);
    CHECK(d.destination == (e.version == 4 ? u32(b.server4) : b.server6));
    CHECK(d.destination_port == real_port);
    CHECK(d.source == (e.version == 4 ? u32(b.client4) : b.client6));
    CHECK(d.source_port == e.client_port);
}

void check_at_client(decoded const& d, endpoints const& e) {
    CHECK(d.source == (e.version == 4 ? u32(e.server4) : e.server6));
    CHECK(d.source_port == 80);
    CHECK(d.destination_port == e.client_port);
}

}  // namespace

TEST_CASE("a splice to a real server behind another address: every packet made or changed has the right addresses") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        hands h{l};
        check_at_client(h.challenge(), l.ends);
        check_at_server(h.validate(), l.ends);
        l.at(1100);
        auto const again = l.sent_by_timers();
        REQUIRE(again.size() == 1);
        check_at_server(again[0], l.ends);
        h.with_timestamps = true;
        outcome const done = real_server_sends(l, h.syn_ack());
        REQUIRE(done.fate == verdict::forward);
        check_at_client(*done.packet, l.ends);
        CHECK(done.packet->tcp.seq == h.cookie + 1);
        REQUIRE(done.beside.size() == 1);
        check_at_server(done.beside[0], l.ends);
        outcome const repeated = real_server_sends(l, h.syn_ack());
        REQUIRE(repeated.fate == verdict::reply);
        check_at_server(*repeated.packet, l.ends);
        outcome const up = l.client_sends(h.from_client(0, 0, filled(100)));
        check_at_server(*up.packet, l.ends);
        CHECK(up.packet->tcp.ack == h.server.isn + 1);
        outcome const down = real_server_sends(l, h.from_server(0, 100, filled(70)));
        check_at_client(*down.packet, l.ends);
        CHECK(down.packet->tcp.seq == h.cookie + 1);
    }
}

TEST_CASE("the real server's RST, its silence and the client's RST carry translated addresses") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        hands h{l};
        h.challenge();
        h.validate();
        outcome const o = real_server_sends(l, {.ack = h.client.isn + 1, .flags = flags::rst | flags::ack});
        REQUIRE(o.fate == verdict::forward);
        check_at_client(*o.packet, l.ends);
        h.validate();
        l.after(60'000);
        auto const sent = l.sent_by_timers();
        REQUIRE(sent.size() == 4);
        check_at_client(sent[3], l.ends);
        h.challenge();
        h.validate();
        outcome const reset = l.client_sends({.seq = h.client.isn + 1, .flags = flags::rst});
        REQUIRE(reset.fate == verdict::forward);
        check_at_server(*reset.packet, l.ends);
    }
}

TEST_CASE("address translation alone, without splice: TCP and UDP") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(guard_mode::off), family(version));
        hands h{l};
        outcome const syn = l.client_sends(syn_of(h.client));
        check_at_server(*syn.packet, l.ends);
        check_at_client(*real_server_sends(l, h.syn_ack()).packet, l.ends);
        byte_string const query = u16(l.ends.client_port) + u16(80) + u16(8 + 5) + u16(0) + filled(5);
        check_at_server(*l.sends(side::outside, framed(l.ends, datagram_of(l.ends, true, 17, query, 6))).packet, l.ends);
        byte_string const answer = u16(real_port) + u16(l.ends.client_port) + u16(8 + 5) + u16(0) + filled(5);
        check_at_client(*l.sends(side::inside, framed(l.ends, datagram_of(behind(l.ends), false, 17, answer, 6))).packet, l.ends);
    }
}

TEST_CASE("an ICMP error about a translated and spliced packet shows its receiver what it sent itself") {
    line l(guarded());
    hands h{l};
    h.challenge();
    h.validate();
    h.with_timestamps = true;
    real_server_sends(l, h.syn_ack());
    segment const sent = h.from_client(0, 0, filled(300));
    outcome const at_server = l.client_sends(sent);
    byte_string quote(at_server.packet->bytes.begin() + 14, at_server.packet->bytes.begin() + 14 + 28);
    byte_string const message = u8(3) + u8(4) + u16(0) + u32(1300) + quote;
    outcome const o = l.sends(side::inside, framed(l.ends, datagram_of(behind(l.ends), false, 1, message, 2)));
    REQUIRE(o.fate == verdict::forward);
    CHECK(o.packet->source == u32(l.ends.server4));  // the real server's own address is hidden
    byte_string const inner(o.packet->transport.begin() + 8, o.packet->transport.end());
    CHECK(get32(inner, 16) == l.ends.server4);
    CHECK(get16(inner, 22) == 80);
    CHECK(get32(inner, 24) == sent.seq);
    CHECK(naive_checksum(byte_view(inner).first(20)) == 0);
}

TEST_CASE("two flows with the same translation do not mix: the second is refused") {
    line l(guarded(guard_mode::off));
    l.client_sends(syn_of({.isn = 5}));
    l.ends.server4 ^= 1;  // another virtual address, the same real server and client port
    CHECK(l.client_sends(syn_of({.isn = 6})).reason == drop_reason::table_full);
    CHECK(l.proxy().flows_now() == 1);
}

TEST_CASE("later fragments that pass unseen would leak an untranslated address and are dropped") {
    engine_config config = guarded(guard_mode::off);
    config.normalize.fragments = fragment_policy::pass;
    line l(config);
    ip4 ip;
    ip.protocol = 17;
    ip.fragment = 0x0010;
    CHECK(l.sends(side::outside, ethernet(encode(ip, filled(40)))).reason == drop_reason::fragment_denied);
}

TEST_CASE("the admission policy denies, challenges whatever the guard says, and admits whatever it says") {
    line off(guarded(guard_mode::off));
    off.ends.client_port = 1;
    CHECK(off.client_sends(syn_of({.isn = 5})).reason == drop_reason::policy_denied);
    off.ends.client_port = 2;
    hands h{off};
    h.challenge();
    h.validate();
    h.with_timestamps = true;
    CHECK(real_server_sends(off, h.syn_ack()).fate == verdict::forward);
    line always(guarded());
    always.ends.client_port = 3;
    CHECK(always.client_sends(syn_of({.isn = 5})).fate == verdict::forward);
    CHECK(always.counters().cookies_sent == 0);
}

TEST_CASE("the observer hears of every flow's begin and end, and of every drop") {
    int opened = 0, closed = 0, drops = 0;
    line l(guarded(), {}, own_policies{{}, {}, {&opened, &closed, &drops}});
    hands h{l};
    h.challenge();
    CHECK(opened == 0);
    h.validate();
    CHECK(opened == 1);
    l.client_sends(h.third_ack());
    CHECK(drops == 1);
    l.after(60'000);
    CHECK(closed == 1);
}

TEST_CASE("flows added, ended, given way and refused: the observer hears of each exactly once, in both families") {
    for (unsigned version : {4u, 6u}) {
        int opened = 0, closed = 0, drops = 0;
        engine_config config = guarded(guard_mode::off);
        config.limits.flows_v4 = config.limits.flows_v6 = 4;
        line l(config, family(version), own_policies{{}, {}, {&opened, &closed, &drops}});
        auto const has_heard = [&](int of_opened, int of_closed, int of_drops) {
            CHECK(opened == of_opened);
            CHECK(closed == of_closed);
            CHECK(drops == of_drops);
        };
        auto const establishes = [&](unsigned port) {
            l.ends.client_port = port;
            hands h{l};
            l.client_sends(syn_of(h.client));
            real_server_sends(l, h.syn_ack());
            h.cookie = h.server.isn;
            h.cookie_clock = h.server.clock;
            return l.client_sends(h.third_ack()).fate == verdict::forward;
        };
        for (unsigned port = 10; port < 13; ++port) CHECK(establishes(port));
        l.ends.client_port = 13;
        l.client_sends(syn_of({.isn = 1}));
        l.client_sends(syn_of({.isn = 1}));  // again
        has_heard(4, 0, 0);
        CHECK(establishes(14));  // the embryonic one gives way
        has_heard(5, 1, 0);
        l.ends.client_port = 15;
        CHECK(l.client_sends(syn_of({.isn = 1})).reason == drop_reason::table_full);
        has_heard(5, 1, 1);
        l.ends.client_port = 1;
        CHECK(l.client_sends(syn_of({.isn = 1})).reason == drop_reason::policy_denied);
        has_heard(5, 1, 2);
        l.after(l.proxy().config().timeouts.established + 130);
        CHECK(l.proxy().flows_now() == 0);
        has_heard(5, 5, 2);
        CHECK(l.counters().flows_opened == 5);
        CHECK(l.counters().flows_evicted == 1);
    }
}
