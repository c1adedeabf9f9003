// SPDX-License-Identifier: BSL-1.0
// IP in IP and in UDP: byte for byte, both ways, and what must not go in or come out.
#include <halfproxy/translate/encapsulation.hpp>

#include "tests/support/one_frame.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

ipv6_bytes v6(unsigned last) {
    ipv6_bytes a{0x20, 0x01, 0x0d, 0xb8, 0, 0xff};
    a[15] = static_cast<std::uint8_t>(last);
    return a;
}

tunnel tunnel_over(unsigned version, tunnel_type type = tunnel_type::ip) {
    tunnel t;
    t.source = version == 4 ? ip_address::v4(0x0a000001) : ip_address::v6(v6(1));
    t.destination = version == 4 ? ip_address::v4(0x0a000002) : ip_address::v6(v6(2));
    t.type = type;
    return t;
}

byte_string packet_of(unsigned version, std::size_t payload = 10) {
    endpoints e;
    e.version = version;
    return tcp_datagram(e, true, {.seq = 1, .ack = 2, .flags = flags::ack, .window = 3, .payload = filled(payload)});
}

/// The inner traffic class, put in by hand.
byte_string with_class(byte_string ip, unsigned traffic_class) {
    if (ip[0] >> 4 == 4) {
        ip[1] = static_cast<std::uint8_t>(traffic_class);
        put16(ip, 10, 0);
        put16(ip, 10, naive_checksum(byte_view(ip).first(20)));
    } else {
        put16(ip, 0, 0x6000 | traffic_class << 4);
    }
    return ip;
}

byte_string outer_ipv4(unsigned content, unsigned protocol, unsigned traffic_class, unsigned identification, unsigned fragment, unsigned ttl) {
    byte_string out = u8(0x45) + u8(traffic_class) + u16(20 + content) + u16(identification) + u16(fragment) + u8(ttl) + u8(protocol) + u16(0) +
                      u32(0x0a000001) + u32(0x0a000002);
    put16(out, 10, naive_checksum(out));
    return out;
}
byte_string outer_ipv6(unsigned content, unsigned protocol, unsigned traffic_class, unsigned hops) {
    ipv6_bytes const from = v6(1), to = v6(2);
    return u32(6u << 28 | traffic_class << 20) + u16(content) + u8(protocol) + u8(hops) + byte_string(from.begin(), from.end()) +
           byte_string(to.begin(), to.end());
}

encapsulation_outcome enter(one_frame& one, tunnel const& t) { return encapsulate(one.f, one.view(), t, 0x1234, 50000).outcome; }

}  // namespace

TEST_CASE("each version goes into each, with protocol 4 or 41, and comes out as it was (RFC 2003, 2473, 4213)") {
    for (unsigned inner : {4u, 6u})
        for (unsigned outer : {4u, 6u})
            for (unsigned traffic_class : {0u, 0xb8u, 0xbau}) {
                byte_string const ip = with_class(packet_of(inner), traffic_class);
                auto const bytes = static_cast<unsigned>(ip.size());
                one_frame one(ethernet(ip, {{0x8100, 5}}), outer == 4 ? 20 : 40);
                REQUIRE(enter(one, tunnel_over(outer)) == encapsulation_outcome::done);
                unsigned const protocol = inner == 4 ? 4 : 41;
                byte_string const want = outer == 4 ? outer_ipv4(bytes, protocol, traffic_class, 0, 0x4000, 64)
                                                    : outer_ipv6(bytes, protocol, traffic_class, 64);
                CHECK(one.bytes() == ethernet(want + ip, {{0x8100, 5}}));
                REQUIRE(decapsulate(one.f, one.view()) == decapsulation_outcome::done);
                CHECK(one.bytes() == ethernet(ip, {{0x8100, 5}}));
            }
}

TEST_CASE("the outer hop limit is the configured one or the inner one") {
    for (unsigned outer : {4u, 6u}) {
        tunnel t = tunnel_over(outer);
        t.hop_limit = 0;
        ip4 ip;
        ip.time_to_live = 7;
        one_frame one(ethernet(tcp_packet(ip, {})));
        REQUIRE(enter(one, t) == encapsulation_outcome::done);
        CHECK(one.ip()[outer == 4 ? 8 : 7] == 7);
        CHECK(one.ip()[(outer == 4 ? 20 : 40) + 8] == 7);
    }
}

TEST_CASE("DF outside follows the inner header or the configuration, and only what may be fragmented has an identification (RFC 6864 section 4.1)") {
    struct {
        unsigned version, inner_fragment;
        tunnel_fragmentation how;
        unsigned outer_fragment;
    } const cases[] = {
        {4, 0x4000, tunnel_fragmentation::as_inner, 0x4000}, {4, 0, tunnel_fragmentation::as_inner, 0},
        {4, 0x2000, tunnel_fragmentation::as_inner, 0},      {6, 0, tunnel_fragmentation::as_inner, 0x4000},
        {4, 0, tunnel_fragmentation::forbidden, 0x4000},         {4, 0x4000, tunnel_fragmentation::allowed, 0},
        {6, 0, tunnel_fragmentation::allowed, 0},
    };
    for (auto const& c : cases) {
        ip4 ip;
        ip.fragment = c.inner_fragment;
        tunnel t = tunnel_over(4);
        t.fragmentation = c.how;
        one_frame one(ethernet(c.version == 4 ? tcp_packet(ip, {.payload = filled(4)}) : packet_of(6)));
        REQUIRE(enter(one, t) == encapsulation_outcome::done);
        CHECK(get16(one.ip(), 6) == c.outer_fragment);
        CHECK(get16(one.ip(), 4) == (c.outer_fragment == 0 ? 0x1234 : 0));
    }
}

TEST_CASE("GUE puts UDP and its four bytes, or UDP alone, between the headers, with a right checksum where one is wanted") {
    for (unsigned inner : {4u, 6u})
        for (unsigned outer : {4u, 6u})
            for (bool direct : {false, true})
                for (bool checksum : {false, true}) {
                    byte_string const ip = packet_of(inner, 11);
                    tunnel t = tunnel_over(outer, direct ? tunnel_type::gue_direct : tunnel_type::gue);
                    t.udp_checksum = checksum;
                    one_frame one(ethernet(ip), t.overhead());
                    REQUIRE(enter(one, t) == encapsulation_outcome::done);
                    byte_string const gue = direct ? byte_string{} : u8(0) + u8(inner == 4 ? 4 : 41) + u16(0);
                    decoded const d = decode(one.bytes());
                    CHECK(d.protocol == 17);
                    CHECK(d.source_port == 50000);
                    CHECK(d.destination_port == 6080);
                    CHECK(get16(d.transport, 4) == d.transport.size());
                    CHECK((get16(d.transport, 6) != 0) == (outer == 6 || checksum));
                    CHECK(d.network_checksum_good);
                    CHECK(d.transport_checksum_good);
                    CHECK(byte_string(d.transport.begin() + 8, d.transport.end()) == gue + ip);
                    REQUIRE(decapsulate(one.f, one.view(), 6080) == decapsulation_outcome::done);
                    CHECK(one.bytes() == ethernet(ip));
                }
}

TEST_CASE("a checksum left to the device stays with it, and makes the outer UDP checksum right as well") {
    for (unsigned inner : {4u, 6u})
        for (tunnel_type type : {tunnel_type::ip, tunnel_type::gue}) {
            byte_string const ip = packet_of(inner, 33);
            one_frame one(ethernet(ip));
            leave_checksum(one.f);
            REQUIRE(enter(one, tunnel_over(6, type)) == encapsulation_outcome::done);
            byte_string sent = one.bytes();
            REQUIRE(one.f.offload.checksum == checksum_state::partial);
            finish_checksum(sent, one.f.offload);
            CHECK(byte_string(sent.end() - static_cast<std::ptrdiff_t>(ip.size()), sent.end()) == ip);
            if (type == tunnel_type::gue) CHECK(decode(sent).transport_checksum_good);
        }
}

TEST_CASE("what does not fit is left as it was, and its sender's MTU is told") {
    tunnel t = tunnel_over(4);
    t.mtu = 1500;
    byte_string const fits = ethernet(packet_of(4, 1480 - 40)), longer = ethernet(packet_of(4, 1480 - 39));
    one_frame whole(fits);
    CHECK(enter(whole, t) == encapsulation_outcome::done);
    CHECK(whole.ip().size() == 1500);
    one_frame one(longer);
    encapsulation_result const result = encapsulate(one.f, one.view(), t, 0, 0);
    CHECK(result.outcome == encapsulation_outcome::too_big);
    CHECK(result.inner_mtu == 1480);
    CHECK(one.bytes() == longer);
    // IPv6 senders are never asked for less than 1280 (RFC 8200 section 5).
    t.mtu = 1290;
    one_frame six(ethernet(packet_of(6, 1300)));
    CHECK(encapsulate(six.f, six.view(), t, 0, 0).inner_mtu == 1280);
    one_frame four(ethernet(packet_of(4, 1300)));
    CHECK(encapsulate(four.f, four.view(), t, 0, 0).inner_mtu == 1270);
}

TEST_CASE("what cannot go into a tunnel is left as it was, and its reason is said") {
    auto const refused = [](byte_string const& bytes, tunnel const& t, std::size_t room, offload_info const& offload, std::uint32_t cut = 0) {
        one_frame one(bytes, room);
        one.f.offload = offload;
        one.f.wire_length += cut;
        encapsulation_outcome const outcome = enter(one, t);
        CHECK(one.bytes() == bytes);
        return outcome;
    };
    byte_string const frame = ethernet(packet_of(4));
    CHECK(refused(frame, tunnel_over(4), 19, {}) == encapsulation_outcome::frame_room);
    CHECK(refused(frame, tunnel_over(4), 20, {.segment_type = 1, .segment_size = 1000}) == encapsulation_outcome::segmented);
    CHECK(refused(ethernet(filled(46), {}, 0x0806), tunnel_over(4), 20, {}) == encapsulation_outcome::not_ip);
    CHECK(refused(frame, tunnel_over(4), 20, {}, 5) == encapsulation_outcome::not_ip);
    ip4 claims;
    claims.total_length = 400;
    CHECK(refused(ethernet(encode(claims, filled(30))), tunnel_over(4), 20, {}) == encapsulation_outcome::not_ip);
    claims.total_length = 0;
    CHECK(refused(ethernet(encode(claims, filled(30))), tunnel_over(4), 20, {}) == encapsulation_outcome::not_ip);
    tunnel t = tunnel_over(4);
    t.source = ip_address::v4(ip4{}.source);
    CHECK(refused(frame, t, 20, {}) == encapsulation_outcome::loops);
    t.source = ip_address::v4(1);
    t.destination = ip_address::v4(ip4{}.source);
    CHECK(refused(frame, t, 20, {}) == encapsulation_outcome::loops);
}

TEST_CASE("link padding does not go into the tunnel") {
    byte_string const ip = packet_of(4, 0);
    one_frame one(ethernet(ip) + filled(6, 0), 14);
    REQUIRE(enter(one, tunnel_over(4)) == encapsulation_outcome::done);
    CHECK(one.ip() == outer_ipv4(40, 4, 0, 0, 0x4000, 64) + ip);
}

TEST_CASE("congestion marks come out as RFC 6040 section 4.2 says, for both versions") {
    constexpr int drop = -1;
    // Inner Not-ECT, ECT(1), ECT(0), CE; columns by outer value in the same order.
    constexpr int table[4][4] = {{0, 0, 0, drop}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
    for (unsigned version : {4u, 6u})
        for (unsigned inner = 0; inner < 4; ++inner)
            for (unsigned outer = 0; outer < 4; ++outer) {
                byte_string const ip = with_class(packet_of(version), 0x28 | inner);
                byte_string const frame = ethernet(outer_ipv4(static_cast<unsigned>(ip.size()), version == 4 ? 4 : 41, 0xb8 | outer, 0, 0, 9) + ip);
                one_frame one(frame);
                decapsulation_outcome const outcome = decapsulate(one.f, one.view());
                int const after = table[inner][outer];
                if (after == drop) {
                    CHECK(outcome == decapsulation_outcome::congested);
                    CHECK(one.bytes() == frame);
                } else {
                    CHECK(outcome == decapsulation_outcome::done);
                    CHECK(one.bytes() == ethernet(with_class(packet_of(version), 0x28u | static_cast<unsigned>(after))));
                }
            }
}

TEST_CASE("what is no tunnel packet, or holds no whole inner one, is left as it was") {
    byte_string const ip = packet_of(4);
    auto const bytes = static_cast<unsigned>(ip.size());
    byte_string fragment = outer_ipv4(bytes, 4, 0, 1, 0x2000, 9);
    byte_string const udp = u16(1) + u16(6080);
    auto const gue = [&](byte_string const& header, byte_string const& inner) {
        auto const whole = static_cast<unsigned>(8 + header.size() + inner.size());
        return outer_ipv4(whole, 17, 0, 0, 0, 9) + udp + u16(whole) + u16(0) + header + inner;
    };
    struct {
        byte_string packet;
        decapsulation_outcome want;
    } const cases[] = {
        {packet_of(4), decapsulation_outcome::not_tunnelled},
        {packet_of(6), decapsulation_outcome::not_tunnelled},
        {fragment + ip, decapsulation_outcome::fragment},
        {outer_ipv4(bytes, 41, 0, 0, 0, 9) + ip, decapsulation_outcome::malformed},              // IPv6 announced, IPv4 there
        {outer_ipv4(19, 4, 0, 0, 0, 9) + byte_string(ip.begin(), ip.begin() + 19), decapsulation_outcome::malformed},
        {outer_ipv4(bytes - 1, 4, 0, 0, 0, 9) + byte_string(ip.begin(), ip.end() - 1), decapsulation_outcome::malformed},
        {gue(u32(0x00040000), ip), decapsulation_outcome::done},
        {gue(u32(0x20040000), ip), decapsulation_outcome::malformed},  // a control message
        {gue(u32(0x01040000) + u32(0), ip), decapsulation_outcome::malformed},  // with fields
        {gue(u32(0x00040001), ip), decapsulation_outcome::malformed},  // with a flag
        {gue(u32(0x00060000), ip), decapsulation_outcome::malformed},  // of TCP
        {gue(u32(0x80040000), ip), decapsulation_outcome::malformed},  // version 2
        {gue({}, {0, 4}), decapsulation_outcome::malformed},
        {gue({}, u8(0x70) + filled(40)), decapsulation_outcome::malformed},  // version 1, and neither IPv4 nor IPv6
    };
    for (auto const& c : cases) {
        CAPTURE(&c - cases);
        one_frame one(ethernet(c.packet));
        CHECK(decapsulate(one.f, one.view(), 6080) == c.want);
        CHECK(one.bytes() == ethernet(c.want == decapsulation_outcome::done ? ip : c.packet));
    }
    one_frame not_asked(ethernet(gue(u32(0x00040000), ip)));
    CHECK(decapsulate(not_asked.f, not_asked.view()) == decapsulation_outcome::not_tunnelled);
}

TEST_CASE("every cut of a tunnel packet is refused or comes out whole") {
    for (tunnel_type type : {tunnel_type::ip, tunnel_type::gue, tunnel_type::gue_direct}) {
        one_frame whole(ethernet(packet_of(6)));
        REQUIRE(enter(whole, tunnel_over(4, type)) == encapsulation_outcome::done);
        byte_string const bytes = whole.bytes();
        for (std::size_t n = 0; n < bytes.size(); ++n) {
            one_frame cut(byte_string(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)), 0);
            CHECK(decapsulate(cut.f, cut.view(), 6080) != decapsulation_outcome::done);
        }
    }
}
