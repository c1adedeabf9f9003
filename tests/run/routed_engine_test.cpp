// SPDX-License-Identifier: BSL-1.0
// The half proxy with addresses of its own: handshakes, originated packets and errors find their way between the two networks.
#include <halfproxy/run/routed_engine.hpp>

#include "tests/support/routed.hpp"
#include "tests/support/splice.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using proxy_world = routed_world<half_proxy>;

endpoints ends_of(unsigned version) {
    endpoints e;
    e.version = version;
    e.client6 = net6(1, 0x10);
    e.server6 = net6(2, 0x80);
    return e;
}

/// A guarded connection through the router.
struct spliced {
    explicit spliced(unsigned version, router_config const& config = two_networks()) : ends(ends_of(version)), w(config, guarded()) { w.settle(); }

    frame client_sends(segment const& s) { return w.sends(side::outside, link_frame(our_outside_mac, client_mac, tcp_datagram(ends, true, s))); }
    frame server_sends(segment const& s) { return w.sends(side::inside, link_frame(our_inside_mac, server_mac, tcp_datagram(ends, false, s))); }
    left_frame last() const { return w.left.back(); }

    void open() {
        REQUIRE(client_sends(syn_of({.isn = 1000})).outcome == verdict::reply);
        decoded const cookie = last().packet();
        cookie_isn = cookie.tcp.seq;
        segment ack{.seq = 1001, .ack = cookie_isn + 1, .flags = flags::ack, .window = 502};
        ack.timestamps = {{5'000'001, cookie.tcp.timestamps->first}};
        REQUIRE(client_sends(ack).outcome == verdict::forward);
        syn = last();
        segment answer = syn_of({.isn = 700'000});
        answer.flags = flags::syn | flags::ack;
        answer.ack = 1001;
        answer.timestamps = {{9'000'000, 5'000'001}};
        w.left.clear();
        REQUIRE(server_sends(answer).outcome == verdict::forward);
    }

    endpoints ends;
    proxy_world w;
    std::uint32_t cookie_isn = 0;
    std::optional<left_frame> syn{};
};

}  // namespace

TEST_CASE("every packet of a spliced handshake carries the link addresses of its own network, originated ones too") {
    for (unsigned const version : {4u, 6u}) {
        CAPTURE(version);
        spliced s(version);
        CHECK(s.client_sends(syn_of({.isn = 1})).outcome == verdict::reply);
        CHECK(s.last().exit == side::outside);
        CHECK(s.last().to() == client_mac);
        CHECK(s.last().from() == our_outside_mac);
        s.open();
        CHECK(s.syn->exit == side::inside);
        CHECK(s.syn->to() == server_mac);
        CHECK(s.syn->from() == our_inside_mac);
        REQUIRE(s.w.left.size() == 2);  // the window update in place, the ACK beside it
        for (left_frame const& l : s.w.left) {
            bool const to_client = l.exit == side::outside;
            CHECK(l.to() == (to_client ? client_mac : server_mac));
            CHECK(l.from() == (to_client ? our_outside_mac : our_inside_mac));
            CHECK(l.packet().transport_checksum_good);
        }
        CHECK(s.w.left[0].exit != s.w.left[1].exit);
    }
}

TEST_CASE("too big for the server's network: the client is told of its own packet, in its own numbers (RFC 1191, RFC 5508 section 4.2)") {
    for (unsigned const version : {4u, 6u}) {
        CAPTURE(version);
        router_config c = two_networks();
        c.ports[1].mtu = 1300;
        c.ports[0].mtu = 1290;
        spliced s(version, c);
        s.open();
        segment data{.seq = 1001, .ack = s.cookie_isn + 1, .flags = flags::ack, .window = 502, .payload = filled(1300)};
        data.timestamps = {{5'000'010, 1}};
        s.w.left.clear();
        CHECK(s.client_sends(data).reason == drop_reason::packet_too_big);
        s.w.pass(0ms);
        REQUIRE(s.w.left.size() == 1);
        decoded d = s.w.left[0].packet();
        CHECK(d.exit == side::outside);
        CHECK(s.w.left[0].to() == client_mac);
        CHECK(get32(d.transport, 4) == 1300);
        CHECK(d.transport_checksum_good);
        std::size_t const tcp_at = 8 + (version == 4 ? 20 : 40);
        CHECK(get32(d.transport, tcp_at + 4) == 1001);
        CHECK(get32(d.transport, tcp_at + 8) == s.cookie_isn + 1);

        segment answer{.seq = 700'001, .ack = 1001, .flags = flags::ack, .window = 510, .payload = filled(1300)};
        answer.timestamps = {{9'000'010, 5'000'010}};
        s.w.left.clear();
        CHECK(s.server_sends(answer).reason == drop_reason::packet_too_big);
        s.w.pass(0ms);
        REQUIRE(s.w.left.size() == 1);
        d = s.w.left[0].packet();
        CHECK(d.exit == side::inside);
        CHECK(get32(d.transport, 4) == 1290);
        CHECK(get32(d.transport, tcp_at + 4) == 700'001);  // as the server counts
    }
}

TEST_CASE("a server that is not there: the client is told after three seconds, through the flow that waited for it") {
    proxy_world w(two_networks(), guarded(guard_mode::off));
    w.settle();
    endpoints e;
    e.server4 = 0xc6336499;
    CHECK(w.sends(side::outside, link_frame(our_outside_mac, client_mac, tcp_datagram(e, true, syn_of({.isn = 7})))).outcome == verdict::hold);
    w.left.clear();
    w.pass(3s);
    std::vector<decoded> told;
    for (left_frame const& l : w.left)
        if (l.type() == 0x0800) told.push_back(l.packet());
    REQUIRE(told.size() == 1);
    CHECK(get16(told[0].transport, 0) == 0x0301);
    CHECK(told[0].exit == side::outside);
    CHECK(w.dropped(drop_reason::neighbour_unresolved) == 1);
}

TEST_CASE("a burst in which frames for the router and for the engine alternate: each has its verdict, the engine sees its own in order") {
    plain_world w(two_networks());
    w.settle();
    outbox out(64);
    std::vector<byte_string> bytes;
    for (unsigned i = 0; i < 12; ++i) {
        ip4 ip;
        if (i % 3 == 0) ip.destination = 0xc0000201;
        bytes.push_back(i % 3 == 0   ? link_frame(our_outside_mac, client_mac, icmp_packet(ip, 8, 0, filled(8)))
                        : i % 3 == 1 ? link_frame(our_outside_mac, client_mac, udp_packet(ip, u8(i) + filled(7)))
                                     : link_frame(stranger_mac, client_mac, udp_packet(ip, filled(8))));
    }
    std::vector<frame> burst(12);
    for (std::size_t i = 0; i < 12; ++i) {
        auto const length = static_cast<std::uint32_t>(bytes[i].size());
        bytes[i].resize(length + 64);
        burst[i].data = bytes[i].data();
        burst[i].length = burst[i].wire_length = length;
        burst[i].capacity = length + 64;
    }
    std::uint64_t const seen = w.engine->seen;
    w.routed.process(burst, w.now, out);
    CHECK(w.engine->seen == seen + 4);
    std::vector<unsigned> order;
    std::size_t replies = 0, drops = 0;
    for (frame const& f : burst) {
        if (f.outcome == verdict::forward) order.push_back(f.data[14 + 28]);
        replies += f.outcome == verdict::reply;
        drops += f.outcome == verdict::drop && f.reason == drop_reason::not_addressed_here;
    }
    CHECK(order == std::vector<unsigned>{1, 4, 7, 10});
    CHECK(replies == 4);
    CHECK(drops == 4);
}

TEST_CASE("what an engine originates leaves through the port of its destination, or waits for its link address like the rest") {
    plain_world w(two_networks());
    w.settle();
    ip4 back;
    std::swap(back.source, back.destination);
    w.engine->originates = link_frame(stranger_mac, stranger_mac, udp_packet(back, filled(8)));
    w.engine->originates_to = side::inside;  // the router knows better
    w.sends(side::outside, link_frame(our_outside_mac, client_mac, udp_packet(ip4{}, {})));
    REQUIRE(w.left.size() == 2);
    CHECK(w.left[1].exit == side::outside);
    CHECK(w.left[1].to() == client_mac);
    CHECK(w.left[1].from() == our_outside_mac);
    back.destination = 0xc0000277;
    w.engine->originates = link_frame(stranger_mac, stranger_mac, udp_packet(back, filled(8)));
    w.left.clear();
    w.sends(side::outside, link_frame(our_outside_mac, client_mac, udp_packet(ip4{}, {})));
    REQUIRE(w.left.size() == 2);
    CHECK(w.left[1].type() == 0x0806);
    CHECK(w.counters().waited == 5);
}

TEST_CASE("the engine's timers run between the router's, and draining reaches it") {
    proxy_world w(two_networks(), guarded(guard_mode::off));
    w.settle();
    endpoints const e;
    CHECK(w.sends(side::outside, link_frame(our_outside_mac, client_mac, tcp_datagram(e, true, syn_of({.isn = 7})))).outcome == verdict::forward);
    CHECK(w.engine->flows_now() != 0);
    CHECK(w.routed.next_deadline().has_value());
    w.pass(std::chrono::hours(2));
    CHECK(w.engine->flows_now() == 0);
    w.routed.drain();
    endpoints late;
    late.client_port = 40001;
    CHECK(w.sends(side::outside, link_frame(our_outside_mac, client_mac, tcp_datagram(late, true, syn_of({.isn = 7})))).reason == drop_reason::policy_denied);
}

TEST_CASE("health checks leave with link addresses of the server's network, wait for them like the rest, and their answers reach neither router nor engine") {
    for (unsigned const version : {4u, 6u}) {
        CAPTURE(version);
        plain_world w(two_networks());
        health_target t{.check = {.kind = health_probe::tcp}, .port = 8080};
        t.address = version == 4 ? ip_address::v4(0xc6336450) : ip6_of(2, 0x80);
        t.source = version == 4 ? ip_address::v4(0xc6336401) : ip6_of(2, 1);
        health_checks checks({t}, side::inside, 1, {});
        w.routed.carry(&checks);
        w.settle();  // the first SYN waits for the server's address, and leaves when it is known
        while (checks.running() == 0) w.pass(100ms);
        std::optional<decoded> syn;
        for (int i = 0; i < 50 && !syn; ++i) {
            w.pass(100ms);
            for (left_frame const& l : w.left)
                if ((l.type() == 0x0800 || l.type() == 0x86dd) && l.to() == server_mac && l.exit == side::inside && l.packet().protocol == 6) {
                    syn = l.packet();
                    CHECK(l.from() == our_inside_mac);
                }
        }
        REQUIRE(syn);
        std::uint64_t const seen = w.engine->seen, received = w.counters().received;
        tcp answer{.source_port = 8080, .destination_port = syn->source_port, .seq = 77, .ack = syn->tcp.seq + 1, .flags = flags::syn | flags::ack};
        byte_string datagram;
        if (version == 4) {
            datagram = tcp_packet(ip4{.source = 0xc6336450, .destination = 0xc6336401}, answer);
        } else {
            ip6 ip;
            ip.source = net6(2, 0x80);
            ip.destination = net6(2, 1);
            datagram = tcp_packet(ip, answer);
        }
        w.left.clear();
        CHECK(w.sends(side::inside, link_frame(our_inside_mac, server_mac, datagram)).outcome == verdict::hold);
        CHECK(w.engine->seen == seen);
        CHECK(w.counters().received == received);
        w.pass(0ms);
        CHECK(checks.last_result(0).found == health_finding::connected);
        REQUIRE(w.left.size() == 1);
        CHECK(w.left[0].packet().tcp.flags == flags::rst);
        CHECK(w.left[0].to() == server_mac);
        checks.drain();
        w.pass(10s);
        CHECK(!checks.next_deadline());
    }
}
