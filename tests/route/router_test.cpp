// SPDX-License-Identifier: BSL-1.0
// The router's two stages around an engine that passes everything: what is answered, what is left alone, and which way packets go.
#include <halfproxy/route/router.hpp>

#include "tests/support/routed.hpp"

#include <halfproxy/core/random.hpp>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

byte_string from_client(byte_string const& datagram) { return link_frame(our_outside_mac, client_mac, datagram); }
byte_string from_server(byte_string const& datagram) { return link_frame(our_inside_mac, server_mac, datagram); }

ip4 to_us(std::uint32_t ours = 0xc0000201) {
    ip4 ip;
    ip.destination = ours;
    return ip;
}
ip6 to_us6() {
    ip6 ip = to_server6();
    ip.destination = net6(1, 1);
    return ip;
}
ip4 to_client4() {
    ip4 ip;
    std::swap(ip.source, ip.destination);
    return ip;
}

byte_string question(std::uint32_t target, std::uint32_t sender = 0xc000020a) {
    return link_frame(broadcast_mac, client_mac, arp(1, client_mac, sender, {}, target), 0x0806);
}
byte_string question6(byte_string const& target) {
    ip_address t{6, {}};
    std::copy(target.begin(), target.end(), t.bytes.begin());
    return link_frame(group_mac(solicited_group(t)), client_mac, encode(discovery{.destination = bytes_of(solicited_group(t)), .target = target, .mac = client_mac}));
}

struct fate {
    verdict outcome;
    drop_reason reason;
    friend bool operator==(fate const&, fate const&) = default;
};
template <class World>
fate sent(World& w, side from, byte_string frame) {
    auto const f = w.sends(from, std::move(frame));
    return {f.outcome, f.reason};
}
fate dropped_for(drop_reason r) { return {verdict::drop, r}; }

/// ICMP errors only, as text: type/code and the quoted protocol.
std::vector<decoded> icmp_left(plain_world const& w) {
    std::vector<decoded> all;
    for (left_frame const& l : w.left)
        if (l.type() != 0x0806)
            if (decoded const d = l.packet(); d.protocol == 1 || (d.protocol == 58 && d.transport[0] < 133)) all.push_back(d);
    return all;
}

}  // namespace

TEST_CASE("frames for another host, of other protocols, under a VLAN tag or to a group go nowhere, each for its reason, and the engine never sees them") {
    plain_world w(two_networks());
    CHECK(sent(w, side::outside, link_frame(stranger_mac, client_mac, udp_packet(to_server4(), {}))) == dropped_for(drop_reason::not_addressed_here));
    CHECK(sent(w, side::outside, link_frame(our_inside_mac, client_mac, udp_packet(to_server6(), {}))) == dropped_for(drop_reason::not_addressed_here));
    CHECK(sent(w, side::outside, link_frame(stranger_mac, client_mac, filled(46), 0x88cc)) == dropped_for(drop_reason::not_addressed_here));
    CHECK(sent(w, side::outside, link_frame(our_outside_mac, client_mac, filled(46), 0x88b5)) == dropped_for(drop_reason::protocol_not_routed));
    CHECK(sent(w, side::outside, link_frame({1, 0x80, 0xc2, 0, 0, 0xe}, client_mac, filled(46), 0x88cc)) == dropped_for(drop_reason::protocol_not_routed));
    CHECK(sent(w, side::outside, link_frame(our_outside_mac, client_mac, u16(5) + u16(0x0800) + udp_packet(to_server4(), {}), 0x8100)) ==
          dropped_for(drop_reason::protocol_not_routed));
    CHECK(sent(w, side::outside, link_frame(broadcast_mac, client_mac, udp_packet(to_server4(), {}))) == dropped_for(drop_reason::scope_not_forwarded));
    CHECK(sent(w, side::outside, from_client(udp_packet(to_us(0xe0000005), {}))) == dropped_for(drop_reason::scope_not_forwarded));
    CHECK(sent(w, side::outside, from_client(udp_packet(to_us(0xa9fe0005), {}))) == dropped_for(drop_reason::scope_not_forwarded));
    ip6 v6 = to_server6();
    v6.destination = u8(0xff) + u8(2) + zeros(13) + u8(0xfb);
    CHECK(sent(w, side::outside, link_frame({0x33, 0x33, 0, 0, 0, 0xfb}, client_mac, udp_packet(v6, {}))) == dropped_for(drop_reason::scope_not_forwarded));
    v6 = to_server6();
    v6.source = u8(0xfe) + u8(0x80) + zeros(13) + u8(9);
    CHECK(sent(w, side::outside, from_client(udp_packet(v6, {}))) == dropped_for(drop_reason::scope_not_forwarded));
    CHECK(w.engine->seen == 0);
    CHECK(w.counters().dropped_total() == 11);
}

TEST_CASE("a directed broadcast is not forwarded (RFC 2644)") {
    plain_world w(two_networks());
    CHECK(sent(w, side::outside, from_client(udp_packet(to_us(0xc63364ff), {}))) == dropped_for(drop_reason::scope_not_forwarded));
}

TEST_CASE("what the parser would refuse goes to the engine, and is dropped for the same reason should the engine let it pass") {
    plain_world w(two_networks());
    byte_string const good = from_client(udp_packet(to_server4(), filled(8)));
    CHECK(sent(w, side::outside, zeros(13)) == dropped_for(drop_reason::frame_truncated));
    CHECK(sent(w, side::outside, byte_string(good.begin(), good.begin() + 33)) == dropped_for(drop_reason::ip_header_truncated));
    byte_string version = good;
    version[14] = 0x65;
    CHECK(sent(w, side::outside, version) == dropped_for(drop_reason::ip_version));
    CHECK(w.engine->seen == 3);
}

TEST_CASE("who asks for an address of the port it asks on is told, in place; nobody else's, nor the other port's (RFC 826)") {
    plain_world w(two_networks());
    w.settle();
    CHECK(sent(w, side::outside, question(0xc0000201)).outcome == verdict::reply);
    REQUIRE(w.left.size() == 1);
    CHECK(w.left[0].exit == side::outside);
    CHECK(w.left[0].bytes == link_frame(client_mac, our_outside_mac, arp(2, our_outside_mac, 0xc0000201, client_mac, 0xc000020a), 0x0806));
    CHECK(sent(w, side::outside, question(0xc0000202)) == dropped_for(drop_reason::not_addressed_here));
    CHECK(sent(w, side::outside, question(0xc6336401)) == dropped_for(drop_reason::not_addressed_here));
    CHECK(sent(w, side::outside, question(0xc0000201, 0)).outcome == verdict::reply);  // somebody tries our address
    CHECK(sent(w, side::outside, link_frame(stranger_mac, client_mac, arp(1, client_mac, 0xc000020a, {}, 0xc0000201), 0x0806)) ==
          dropped_for(drop_reason::not_addressed_here));
    CHECK(sent(w, side::outside, link_frame(broadcast_mac, client_mac, zeros(28), 0x0806)) == dropped_for(drop_reason::neighbour_message));
    CHECK(w.counters().answers_sent == 2);
}

TEST_CASE("who solicits an IPv6 address of ours gets an advertisement; who only tries it, everybody does (RFC 4861 section 7.2)") {
    plain_world w(two_networks());
    w.settle();
    CHECK(sent(w, side::outside, question6(net6(1, 1))).outcome == verdict::reply);
    discovery d{.type = 136, .source = net6(1, 1), .destination = net6(1, 0x10), .target = net6(1, 1), .rest = 0xe0000000, .mac = our_outside_mac};
    REQUIRE(w.left.size() == 1);
    CHECK(w.left[0].bytes == link_frame(client_mac, our_outside_mac, encode(d)));
    CHECK(sent(w, side::outside, question6(net6(1, 2))) == dropped_for(drop_reason::not_addressed_here));
    discovery direct{.source = net6(1, 0x10), .destination = net6(1, 1), .target = net6(1, 1), .mac = client_mac};
    CHECK(sent(w, side::outside, from_client(encode(direct))).outcome == verdict::reply);
    w.left.clear();
    discovery probe{.source = zeros(16), .destination = bytes_of(solicited_group(ip6_of(1, 1))), .target = net6(1, 1)};
    CHECK(sent(w, side::outside, link_frame(group_mac(solicited_group(ip6_of(1, 1))), client_mac, encode(probe))).outcome == verdict::reply);
    d.destination = bytes_of(all_nodes());
    d.rest = 0xa0000000;
    CHECK(w.left[0].bytes == link_frame({0x33, 0x33, 0, 0, 0, 1}, our_outside_mac, encode(d)));
    direct.hop_limit = 64;
    CHECK(sent(w, side::outside, from_client(encode(direct))) == dropped_for(drop_reason::neighbour_message));
}

TEST_CASE("a packet for an unknown next hop waits while everybody is asked, and leaves when it answers: link addresses written, TTL one less") {
    plain_world w(two_networks());
    w.pass(5s);
    w.left.clear();
    CHECK(sent(w, side::outside, from_client(udp_packet(to_server4(), filled(33)))).outcome == verdict::hold);
    REQUIRE(w.left.size() == 1);
    CHECK(w.left[0].exit == side::inside);
    CHECK(w.left[0].bytes == link_frame(broadcast_mac, our_inside_mac, arp(1, our_inside_mac, 0xc6336401, {}, 0xc6336450), 0x0806));
    w.left.clear();
    CHECK(sent(w, side::inside, link_frame(our_inside_mac, server_mac, arp(2, server_mac, 0xc6336450, our_inside_mac, 0xc6336401), 0x0806)).outcome ==
          verdict::hold);
    REQUIRE(w.left.size() == 1);
    decoded const d = w.left[0].packet();
    CHECK(w.left[0].exit == side::inside);
    CHECK(w.left[0].to() == server_mac);
    CHECK(w.left[0].from() == our_inside_mac);
    CHECK(d.hop_limit == 63);
    CHECK(d.network_checksum_good);
    CHECK(d.transport_checksum_good);
    CHECK(w.counters().waited == 1);
    CHECK(w.counters().delivered == 1);
    CHECK(sent(w, side::outside, from_client(udp_packet(to_server4(), {}))).outcome == verdict::forward);
}

TEST_CASE("over IPv6 the same, through neighbour solicitation, with the hop limit one less") {
    plain_world w(two_networks());
    w.pass(5s);
    w.left.clear();
    CHECK(sent(w, side::outside, from_client(udp_packet(to_server6(), filled(33)))).outcome == verdict::hold);
    REQUIRE(w.left.size() == 1);
    discovery const asked{.source = net6(2, 1), .destination = bytes_of(solicited_group(ip6_of(2, 0x80))), .target = net6(2, 0x80), .mac = our_inside_mac};
    CHECK(w.left[0].bytes == link_frame({0x33, 0x33, 0xff, 0, 0, 0x80}, our_inside_mac, encode(asked)));
    w.left.clear();
    discovery const answer{.type = 136, .source = net6(2, 0x80), .destination = net6(2, 1), .target = net6(2, 0x80), .rest = 0x60000000, .mac = server_mac};
    CHECK(sent(w, side::inside, from_server(encode(answer))).outcome == verdict::hold);
    REQUIRE(w.left.size() == 1);
    CHECK(w.left[0].to() == server_mac);
    CHECK(w.left[0].packet().hop_limit == 63);
    CHECK(w.left[0].packet().transport_checksum_good);
}

TEST_CASE("packets leave through the port of their route, whatever port they came from, to the router that the route names") {
    router_config c = two_networks();
    c.routes = {{{ip_address::v4(0), 0}, ip_address::v4(0xc000020a), {}}};
    plain_world w(c);
    w.settle();
    CHECK(sent(w, side::outside, from_client(udp_packet(to_us(0x08080808), {}))).outcome == verdict::reply);  // back where it came from
    CHECK(w.left.back().exit == side::outside);
    CHECK(w.left.back().to() == client_mac);
    CHECK(sent(w, side::inside, from_server(udp_packet(to_us(0x08080808), {}))).outcome == verdict::forward);
    CHECK(w.left.back().exit == side::outside);
    CHECK(w.left.back().from() == our_outside_mac);
    w.engine->answer_back = true;
    CHECK(sent(w, side::inside, from_server(udp_packet(to_server4(), {}))).outcome == verdict::reply);
    CHECK(w.left.back().exit == side::inside);
    CHECK(sent(w, side::inside, from_server(udp_packet(to_client4(), {}))).outcome == verdict::forward);
}

TEST_CASE("a packet whose hops end here is answered from the port it came through, quoting it as it came (RFC 1812 section 4.3.3.4, RFC 4443 section 3.3)") {
    plain_world w(two_networks());
    w.settle();
    std::uint64_t const seen = w.engine->seen;
    ip4 ip = to_server4();
    for (unsigned const ttl : {0u, 1u}) {
        ip.time_to_live = ttl;
        w.left.clear();
        CHECK(sent(w, side::outside, from_client(udp_packet(ip, filled(8)))).outcome == verdict::reply);
        decoded const d = w.left.at(0).packet();
        CHECK(w.left[0].exit == side::outside);
        CHECK(w.left[0].to() == client_mac);
        CHECK(d.source == u32(0xc0000201));
        CHECK(get16(d.transport, 0) == 0x0b00);
        CHECK(byte_string(d.transport.begin() + 8, d.transport.end()) == udp_packet(ip, filled(8)));
    }
    byte_string six = udp_packet(to_server6(), filled(8));
    six[7] = 1;
    w.left.clear();
    CHECK(sent(w, side::outside, from_client(six)).outcome == verdict::reply);
    CHECK(w.left.at(0).packet().source == net6(1, 1));
    CHECK(get16(w.left[0].packet().transport, 0) == 0x0300);
    CHECK(w.engine->seen == seen);
    CHECK(w.counters().hops_exceeded_sent == 3);
    ip.time_to_live = 1;
    CHECK(sent(w, side::outside, from_client(icmp_packet(ip, 11, 0, filled(28)))) == dropped_for(drop_reason::hops_exceeded));
    byte_string damaged = from_client(udp_packet(ip, filled(8)));
    damaged[14 + 10] ^= 1;
    CHECK(sent(w, side::outside, damaged) == dropped_for(drop_reason::ip_checksum));
}

TEST_CASE("ping to any address of ours is answered, whatever its TTL, through either port") {
    plain_world w(two_networks());
    w.settle();
    ip4 ip = to_us();
    ip.time_to_live = 1;
    CHECK(sent(w, side::outside, from_client(icmp_packet(ip, 8, 0, filled(56)))).outcome == verdict::reply);
    CHECK(w.left.back().packet().transport[0] == 0);
    CHECK(sent(w, side::outside, from_client(icmp_packet(to_us(0xc6336401), 8, 0, filled(56)))).outcome == verdict::reply);
    CHECK(sent(w, side::outside, from_client(icmp_packet(to_us6(), 128, 0, filled(56)))).outcome == verdict::reply);
    CHECK(w.left.back().packet().transport[0] == 129);
    CHECK(w.left.back().to() == client_mac);
    CHECK(w.counters().echo_replies == 3);
    ip.fragment = 0x2000;
    CHECK(sent(w, side::outside, from_client(icmp_packet(ip, 8, 0, filled(56)))) == dropped_for(drop_reason::local_destination));
}

TEST_CASE("our own ports are closed: UDP is told so, TCP reset, the rest dropped (RFC 1122 section 4.1.3.1, RFC 9293 section 3.10.7.1)") {
    plain_world w(two_networks());
    w.settle();
    std::uint64_t const seen = w.engine->seen;
    CHECK(sent(w, side::outside, from_client(udp_packet(to_us(), filled(8)))).outcome == verdict::reply);
    CHECK(get16(w.left.back().packet().transport, 0) == 0x0303);
    CHECK(sent(w, side::outside, from_client(tcp_packet(to_us(), {.seq = 1000, .flags = 2}))).outcome == verdict::reply);
    decoded d = w.left.back().packet();
    CHECK(d.tcp.flags == (flags::rst | flags::ack));
    CHECK(d.tcp.ack == 1001);
    CHECK(d.tcp.seq == 0);
    CHECK(w.left.back().to() == client_mac);
    CHECK(sent(w, side::outside, from_client(tcp_packet(to_us6(), {.seq = 5, .ack = 77, .flags = flags::ack, .payload = filled(9)}))).outcome == verdict::reply);
    d = w.left.back().packet();
    CHECK(d.tcp.flags == flags::rst);
    CHECK(d.tcp.seq == 77);
    CHECK(d.transport_checksum_good);
    CHECK(sent(w, side::outside, from_client(tcp_packet(to_us(), {.flags = flags::rst}))) == dropped_for(drop_reason::local_destination));
    ip4 gre = to_us();
    gre.protocol = 47;
    CHECK(sent(w, side::outside, from_client(encode(gre, filled(8)))) == dropped_for(drop_reason::local_destination));
    CHECK(w.engine->seen == seen);
    CHECK(w.counters().resets_sent == 2);
}

TEST_CASE("a segment or datagram to us that arrives damaged gets no answer (RFC 9293 section 3.1, RFC 1122 section 4.1.3.4)") {
    plain_world w(two_networks());
    w.settle();
    auto const damaged = [](byte_string const& datagram, bool v4) {
        byte_string frame = from_client(datagram);
        frame[14 + (v4 ? 20u : 40u) + 5] ^= 1;  // of the sequence number
        return frame;
    };
    CHECK(sent(w, side::outside, damaged(tcp_packet(to_us(), {.seq = 1000, .flags = 2}), true)) == dropped_for(drop_reason::l4_checksum));
    CHECK(sent(w, side::outside, damaged(tcp_packet(to_us6(), {.seq = 1000, .flags = 2}), false)) == dropped_for(drop_reason::l4_checksum));
    for (bool const v4 : {true, false}) {
        byte_string frame = from_client(v4 ? udp_packet(to_us(), filled(8)) : udp_packet(to_us6(), filled(8)));
        frame.back() ^= 1;
        CHECK(sent(w, side::outside, frame) == dropped_for(drop_reason::l4_checksum));
    }
    CHECK(w.counters().resets_sent == 0);
    CHECK(w.counters().unreachable_sent == 0);
}

TEST_CASE("an address the engine takes is answered for on its port, pinged, and its packets go to the engine; those that come back unchanged go nowhere") {
    router_config c = two_networks();
    std::vector<ip_address> const services{ip_address::v4(0xc0000250), ip6_of(1, 0x50)};
    c.answer_for(services);
    c.answer_for(std::vector{ip_address::v4(0xc0000251)}, false);
    plain_world w(c);
    w.settle();
    std::uint64_t const seen = w.engine->seen;
    CHECK(sent(w, side::outside, question(0xc0000250)).outcome == verdict::reply);
    CHECK(sent(w, side::outside, question6(net6(1, 0x50))).outcome == verdict::reply);
    CHECK(sent(w, side::inside, question(0xc0000250)) == dropped_for(drop_reason::not_addressed_here));
    CHECK(sent(w, side::outside, from_client(icmp_packet(to_us(0xc0000250), 8, 0, filled(8)))).outcome == verdict::reply);
    CHECK(w.engine->seen == seen);
    CHECK(sent(w, side::outside, from_client(tcp_packet(to_us(0xc0000250), {}))) == dropped_for(drop_reason::local_destination));
    CHECK(sent(w, side::outside, from_client(icmp_packet(to_us(0xc0000250), 0, 0, filled(8)))) == dropped_for(drop_reason::local_destination));
    CHECK(sent(w, side::outside, from_client(icmp_packet(to_us(0xc0000251), 8, 0, filled(8)))) == dropped_for(drop_reason::local_destination));
    CHECK(w.engine->seen == seen + 3);
    ip4 last = to_us(0xc0000250);
    last.time_to_live = 1;
    CHECK(sent(w, side::outside, from_client(tcp_packet(last, {}))).outcome == verdict::reply);
    CHECK(w.counters().hops_exceeded_sent == 1);
}

TEST_CASE("too long for the port it leaves through: the sender is told the MTU, unless the packet may be fragmented (RFC 1191, RFC 8201)") {
    router_config c = two_networks();
    c.ports[1].mtu = 1280;
    plain_world w(c);
    w.settle();
    CHECK(sent(w, side::outside, from_client(udp_packet(to_server4(), filled(1280 - 28)))).outcome == verdict::forward);
    CHECK(sent(w, side::outside, from_client(udp_packet(to_server4(), filled(1281 - 28)))) == dropped_for(drop_reason::packet_too_big));
    CHECK(sent(w, side::outside, from_client(udp_packet(to_server6(), filled(1281 - 48)))) == dropped_for(drop_reason::packet_too_big));
    w.left.clear();
    std::uint64_t const seen = w.engine->seen;
    w.pass(0ms);
    CHECK(w.engine->seen == seen + 2);  // the errors go back through the engine
    auto const errors = icmp_left(w);
    REQUIRE(errors.size() == 2);
    CHECK(get16(errors[0].transport, 0) == 0x0304);
    CHECK(get32(errors[0].transport, 4) == 1280);
    CHECK(errors[0].source == u32(0xc0000201));
    CHECK(errors[0].destination == u32(0xc000020a));
    CHECK(errors[0].exit == side::outside);
    CHECK(get16(errors[1].transport, 0) == 0x0200);
    CHECK(get32(errors[1].transport, 4) == 1280);
    CHECK(w.left.at(0).to() == client_mac);
    CHECK(w.left[0].from() == our_outside_mac);
    ip4 may = to_server4();
    may.fragment = 0;
    CHECK(sent(w, side::outside, from_client(udp_packet(may, filled(1281 - 28)))) == dropped_for(drop_reason::packet_too_big));
    w.left.clear();
    w.pass(1s);
    CHECK(icmp_left(w).empty());
}

TEST_CASE("a frame that a device will cut up is as long as its pieces") {
    router_config c = two_networks();
    c.ports[1].mtu = 1400;
    plain_world w(c);
    w.settle();
    byte_string const large = from_client(tcp_packet(to_server4(), {.flags = flags::ack, .payload = filled(20'000)}));
    offload_info gso{.checksum = checksum_state::partial, .segment_type = 1, .segment_size = 1360, .header_length = 54, .checksum_start = 34, .checksum_offset = 16};
    CHECK(w.sends(side::outside, large, gso).outcome == verdict::forward);
    CHECK(w.left.back().offload.segment_size == 1360);
    gso.segment_size = 1361;
    CHECK(w.sends(side::outside, large, gso).reason == drop_reason::packet_too_big);
}

TEST_CASE("without a route, or with a next hop that does not answer, the sender is told, or by policy is not (RFC 1812 section 5.2.7.1)") {
    for (auto const policy : {unreachable_policy::icmp, unreachable_policy::drop}) {
        router_config c = two_networks();
        c.unreachable = policy;
        plain_world w(c);
        w.settle();
        CHECK(sent(w, side::outside, from_client(udp_packet(to_us(0x08080808), {}))) == dropped_for(drop_reason::no_route));
        for (int i = 0; i < 3; ++i) CHECK(sent(w, side::outside, from_client(udp_packet(to_us(0xc6336499), filled(8)))).outcome == verdict::hold);
        CHECK(sent(w, side::outside, from_client(udp_packet(to_us(0xc6336499), filled(8)))).outcome == verdict::hold);
        CHECK(w.dropped(drop_reason::neighbour_queue_full) == 1);
        w.left.clear();
        w.pass(2'999ms);
        CHECK(w.dropped(drop_reason::neighbour_unresolved) == 0);
        w.pass(1ms);
        CHECK(w.dropped(drop_reason::neighbour_unresolved) == 3);
        CHECK(sent(w, side::outside, from_client(udp_packet(to_us(0xc6336499), filled(8)))) == dropped_for(drop_reason::neighbour_unresolved));
        w.pass(0ms);
        auto const errors = icmp_left(w);
        REQUIRE(errors.size() == (policy == unreachable_policy::icmp ? 5 : 0));
        if (errors.empty()) continue;
        CHECK(get16(errors[0].transport, 0) == 0x0300);
        for (std::size_t i = 1; i < 5; ++i) CHECK(get16(errors[i].transport, 0) == 0x0301);
        CHECK(w.counters().unreachable_sent == 5);
    }
}

TEST_CASE("packets waiting beyond all room are dropped for it") {
    router_config c = two_networks();
    c.neighbours.waiting_frames = 1;
    plain_world w(c);
    CHECK(sent(w, side::outside, from_client(udp_packet(to_us(0xc6336498), filled(8)))).outcome == verdict::hold);
    CHECK(sent(w, side::outside, from_client(udp_packet(to_us(0xc6336499), filled(8)))) == dropped_for(drop_reason::neighbour_queue_full));
}

TEST_CASE("every address of ours is announced twice at start, two seconds apart, however many there are (RFC 5227 section 2.3)") {
    router_config c = two_networks();
    std::vector<ip_address> pool;
    for (std::uint32_t i = 0; i < 40; ++i) pool.push_back(ip_address::v4(0xc0000232 + i));
    c.answer_for(pool);
    plain_world w(c);
    w.pass(0ms);
    CHECK(w.left.size() == 44);
    CHECK(w.left[0].bytes == link_frame(broadcast_mac, our_outside_mac, arp(1, our_outside_mac, 0xc0000201, {}, 0xc0000201), 0x0806));
    w.pass(1'999ms);
    CHECK(w.left.size() == 44);
    w.pass(1ms);
    CHECK(w.left.size() == 88);
    CHECK(!w.routed.next_deadline());
    CHECK(w.counters().announcements_sent == 88);
}

TEST_CASE("other addresses and routes while running: what is answered for changes at once, is announced, and neighbours stay known") {
    router_config c = two_networks();
    c.answer_for(std::vector{ip_address::v4(0xc0000250)});
    plain_world w(c);
    w.settle();
    router_config next = two_networks();
    next.answer_for(std::vector{ip_address::v4(0xc0000251)});
    next.unreachable = unreachable_policy::drop;
    std::uint64_t const announced = w.counters().announcements_sent;
    w.routed.router().configure(next);
    CHECK(sent(w, side::outside, question(0xc0000250)) == dropped_for(drop_reason::not_addressed_here));
    CHECK(sent(w, side::outside, question(0xc0000251)).outcome == verdict::reply);
    w.pass(0ms);
    CHECK(w.counters().announcements_sent == announced + next.addresses.size() + 1);
    ip4 far = to_client4();
    far.destination = 0x08080808;
    next.routes.clear();
    w.routed.router().configure(next);
    CHECK(sent(w, side::inside, from_server(tcp_packet(far, {}))) == dropped_for(drop_reason::no_route));
    CHECK(w.counters().unreachable_sent == 0);
}

TEST_CASE("another host with an address of ours is told whose it is, once in ten seconds, and enters nothing (RFC 5227 section 2.4)") {
    plain_world w(two_networks());
    w.settle();
    byte_string const claim = link_frame(broadcast_mac, stranger_mac, arp(1, stranger_mac, 0xc0000201, {}, 0xc0000201), 0x0806);
    for (int i = 0; i < 5; ++i) {
        CHECK(sent(w, side::outside, claim) == dropped_for(drop_reason::neighbour_message));
        w.pass(1s);
    }
    CHECK(w.left.size() == 1);
    CHECK(w.left[0].bytes == link_frame(broadcast_mac, our_outside_mac, arp(1, our_outside_mac, 0xc0000201, {}, 0xc0000201), 0x0806));
    w.pass(6s);
    CHECK(sent(w, side::outside, claim) == dropped_for(drop_reason::neighbour_message));
    CHECK(w.left.size() == 2);
    CHECK(w.counters().address_conflicts == 6);
    discovery const claim6{.type = 136, .source = net6(1, 1), .destination = bytes_of(all_nodes()), .target = net6(1, 1), .rest = 0x20000000, .mac = stranger_mac};
    CHECK(sent(w, side::outside, link_frame({0x33, 0x33, 0, 0, 0, 1}, stranger_mac, encode(claim6))) == dropped_for(drop_reason::neighbour_message));
    CHECK(w.counters().address_conflicts == 7);
}

TEST_CASE("a stranger who claims a neighbour's address gets none of its packets while the neighbour answers") {
    plain_world w(two_networks());
    w.settle();
    w.pass(2s);
    w.left.clear();
    byte_string const claim = link_frame(our_inside_mac, stranger_mac, arp(2, stranger_mac, 0xc6336450, our_inside_mac, 0xc6336401), 0x0806);
    CHECK(sent(w, side::inside, claim).outcome == verdict::hold);
    REQUIRE(w.left.size() == 1);
    CHECK(w.left[0].to() == broadcast_mac);
    CHECK(sent(w, side::outside, from_client(udp_packet(to_server4(), {}))).outcome == verdict::forward);
    CHECK(w.left.back().to() == server_mac);
    sent(w, side::inside, link_frame(our_inside_mac, server_mac, arp(2, server_mac, 0xc6336450, our_inside_mac, 0xc6336401), 0x0806));
    CHECK(sent(w, side::inside, claim).outcome == verdict::hold);
    CHECK(sent(w, side::outside, from_client(udp_packet(to_server4(), {}))).outcome == verdict::forward);
    CHECK(w.left.back().to() == server_mac);
}

TEST_CASE("errors, resets and echo replies are limited, each kind by itself") {
    router_config c = two_networks();
    c.icmp_per_second = 3;
    plain_world w(c);
    w.settle();
    ip4 last = to_server4();
    last.time_to_live = 1;
    int errors = 0, replies = 0;
    for (int i = 0; i < 10; ++i) {
        errors += sent(w, side::outside, from_client(udp_packet(last, {}))).outcome == verdict::reply;
        replies += sent(w, side::outside, from_client(icmp_packet(to_us(), 8, 0, {}))).outcome == verdict::reply;
    }
    CHECK(errors == 3);
    CHECK(replies == 3);
    CHECK(w.dropped(drop_reason::hops_exceeded) == 7);
    CHECK(w.dropped(drop_reason::local_destination) == 7);
    CHECK(w.counters().answers_limited == 14);
    CHECK(sent(w, side::outside, from_client(tcp_packet(to_us(), {}))) == dropped_for(drop_reason::local_destination));
}

TEST_CASE("whatever bytes a frame holds and wherever it is cut, it has one verdict and every counter agrees") {
    router_config c = two_networks();
    c.icmp_per_second = 1'000'000;
    c.answer_for(std::vector{ip_address::v4(0xc0000250), ip6_of(1, 0x50)});
    plain_world w(c);
    w.settle();
    ip4 v4 = to_us(), last = to_server4();
    last.time_to_live = 1;
    discovery const asks{.destination = bytes_of(solicited_group(ip6_of(1, 1))), .mac = client_mac};
    std::vector<byte_string> const seeds{
        question(0xc0000201), from_client(encode(asks)), from_client(icmp_packet(to_us6(), 128, 0, filled(20))), from_client(icmp_packet(v4, 8, 0, filled(20))),
        from_client(udp_packet(last, filled(40))), from_client(tcp_packet(to_us6(), {.payload = filled(5)})), from_client(tcp_packet(v4, {})),
        from_client(udp_packet(to_server6(), filled(1400))), from_client(udp_packet(to_us(0xc0000250), filled(9)))};
    split_mix64 random(20261128);
    for (int i = 0; i < 20'000; ++i) {
        byte_string f = seeds[random.below(static_cast<std::uint32_t>(seeds.size()))];
        for (std::uint32_t n = random.below(4); n > 0; --n) f[6 + random.below(static_cast<std::uint32_t>(f.size()) - 6)] = static_cast<std::uint8_t>(random());
        if (random.below(4) == 0) f.resize(random.below(static_cast<std::uint32_t>(f.size()) + 1));
        w.sends(side::outside, f);
        if (i % 64 == 0) w.pass(std::chrono::milliseconds(random.below(1'500)));
        w.left.clear();
    }
    w.pass(60s);
    router_counters const& r = w.counters();
    CHECK(r.received >= 20'000);
    CHECK(r.answered > 1'000);
    CHECK(w.routed.router().neighbours().counters().failed > 0);
}
