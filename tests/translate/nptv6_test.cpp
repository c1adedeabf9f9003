// SPDX-License-Identifier: BSL-1.0
// Prefixes exchanged, and every sum what it was.
#include <halfproxy/translate/nptv6.hpp>

#include "tests/support/addresses.hpp"
#include "tests/support/one_frame.hpp"

#include <random>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

nptv6 const example(six_prefix({0xfd01, 0x0203, 0x0405, 0, 0, 0, 0, 0}, 48), six_prefix({0x2001, 0x0db8, 1, 0, 0, 0, 0, 0}, 48));
ipv6_bytes const inside_host = six({0xfd01, 0x0203, 0x0405, 1, 0, 0, 0, 0x1234});
ipv6_bytes const outside_host = six({0x2001, 0x0db8, 1, 0xd550, 0, 0, 0, 0x1234});
ipv6_bytes const peer = six({0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1});

std::uint16_t sum_of(ipv6_bytes const& a) { return naive_sum(a); }
/// Both zeros are one sum.
bool same_sum(ipv6_bytes const& a, ipv6_bytes const& b) { return sum_of(a) % 0xffff == sum_of(b) % 0xffff; }

byte_string udp6(ipv6_bytes const& from, ipv6_bytes const& to) {
    ip6 ip;
    ip.source = bytes_of(from);
    ip.destination = bytes_of(to);
    return ethernet(udp_packet(ip, filled(9)));
}

byte_string error6(ipv6_bytes const& from, ipv6_bytes const& to, ipv6_bytes const& quoted_from, ipv6_bytes const& quoted_to) {
    byte_string const quoted = udp6(quoted_from, quoted_to);
    ip6 ip;
    ip.source = bytes_of(from);
    ip.destination = bytes_of(to);
    return ethernet(icmp_packet(ip, 1, 4, byte_string(quoted.begin() + 14, quoted.end())));
}

}  // namespace

TEST_CASE("the example of RFC 6296 section 2.1 and its way back") {
    CHECK(example.to_outside(inside_host) == outside_host);
    CHECK(example.to_inside(outside_host) == inside_host);
}

TEST_CASE("whatever the prefixes, an address keeps its sum, everything but prefix and one word, and finds back (RFC 6296 section 3)") {
    std::mt19937 random(5);
    auto const any = [&] {
        ipv6_bytes a{};
        for (auto& b : a) b = static_cast<std::uint8_t>(random() % 5 == 0 ? 0xff : random());
        return a;
    };
    for (int round = 0; round < 20000; ++round) {
        auto const length = static_cast<std::uint8_t>(random() % 65);
        ip_prefix const inside{ip_address::v6(any()), length}, outside{ip_address::v6(any()), length};
        if (!nptv6::can_translate(inside, outside)) continue;
        nptv6 const prefixes(inside, outside);
        ipv6_bytes a = any();
        for (unsigned bit = 0; bit < length; ++bit) {
            auto const mask = static_cast<std::uint8_t>(0x80u >> bit % 8);
            a[bit / 8] = static_cast<std::uint8_t>((a[bit / 8] & ~mask) | (inside.address.bytes[bit / 8] & mask));
        }
        REQUIRE(prefixes.is_inside(a));
        auto const out = prefixes.to_outside(a);
        if (!out) {
            CHECK(a[length <= 48 ? 6 : 8] == 0xff);
            continue;
        }
        CHECK(prefixes.is_outside(*out));
        CHECK(same_sum(a, *out));
        int words = 0;
        for (std::size_t i = length <= 48 ? 3 : 4; i < 8; ++i) words += a[2 * i] != (*out)[2 * i] || a[2 * i + 1] != (*out)[2 * i + 1];
        CHECK(words <= 1);
        CHECK(prefixes.to_inside(*out) == a);
    }
}

TEST_CASE("up to /48 the subnet takes up the difference, beyond the first word of the identifier that is not ffff (RFC 6296 sections 3.4, 3.5)") {
    nptv6 const longer(six_prefix({0xfd00, 0, 0, 0x1000, 0, 0, 0, 0}, 52), six_prefix({0x2001, 0xdb8, 0, 0x2000, 0, 0, 0, 0}, 52));
    auto const out = longer.to_outside(six({0xfd00, 0, 0, 0x1abc, 0xffff, 5, 6, 7}));
    REQUIRE(out);
    CHECK((*out)[6] == 0x2a);
    CHECK((*out)[7] == 0xbc);
    CHECK(byte_string(out->begin() + 8, out->begin() + 10) == u16(0xffff));
    CHECK(byte_string(out->begin() + 12, out->end()) == u16(6) + u16(7));
}

TEST_CASE("addresses without another one are said to have none: subnet ffff, and an identifier of ones") {
    CHECK_FALSE(example.to_outside(six({0xfd01, 0x0203, 0x0405, 0xffff, 0, 0, 0, 1})));
    CHECK_FALSE(example.to_inside(six({0x2001, 0x0db8, 1, 0xffff, 0, 0, 0, 1})));
    nptv6 const longer(six_prefix({0xfd00, 0, 0, 0, 0, 0, 0, 0}, 64), six_prefix({0x2001, 0xdb8, 0, 0, 0, 0, 0, 0}, 64));
    CHECK_FALSE(longer.to_outside(six({0xfd00, 0, 0, 0, 0xffff, 0xffff, 0xffff, 0xffff})));
}

TEST_CASE("of two lengths the longer counts for both (RFC 6296 section 3.1)") {
    nptv6 const p(six_prefix({0xfd00, 0x1234, 0, 0, 0, 0, 0, 0}, 32), six_prefix({0x2001, 0xdb8, 7, 0, 0, 0, 0, 0}, 48));
    CHECK(p.is_inside(six({0xfd00, 0x1234, 0, 9, 0, 0, 0, 1})));
    CHECK_FALSE(p.is_inside(six({0xfd00, 0x1234, 1, 9, 0, 0, 0, 1})));
    CHECK(p.is_outside(*p.to_outside(six({0xfd00, 0x1234, 0, 9, 0, 0, 0, 1}))));
}

TEST_CASE("prefixes of IPv4, without a word to change, or the same are refused") {
    CHECK_FALSE(nptv6::can_translate({ip_address::v4(0x0a000000), 8}, six_prefix({1, 0, 0, 0, 0, 0, 0, 0}, 48)));
    CHECK_FALSE(nptv6::can_translate(six_prefix({1, 0, 0, 0, 0, 0, 0, 0}, 113), six_prefix({2, 0, 0, 0, 0, 0, 0, 0}, 48)));
    CHECK_FALSE(nptv6::can_translate(six_prefix({1, 0, 0, 0, 0, 0, 0, 0}, 48), six_prefix({1, 0, 0, 9, 0, 0, 0, 0}, 48)));
    CHECK(nptv6::can_translate(six_prefix({1, 0, 0, 0, 0, 0, 0, 0}, 112), six_prefix({2, 0, 0, 0, 0, 0, 0, 0}, 112)));
}

TEST_CASE("a packet's source is translated on its way out, its destination on its way in, and no checksum changes") {
    one_frame out(udp6(inside_host, peer), 0);
    CHECK(translate_outbound(out.view(), example) == nptv6_outcome::translated);
    CHECK(out.bytes() == udp6(outside_host, peer));
    CHECK(decode(out.bytes()).transport_checksum_good);
    one_frame in(udp6(peer, outside_host), 0);
    CHECK(translate_inbound(in.view(), example) == nptv6_outcome::translated);
    CHECK(in.bytes() == udp6(peer, inside_host));
}

TEST_CASE("an ICMPv6 error quotes to its receiver what the receiver sent, either way") {
    one_frame in(error6(peer, outside_host, outside_host, peer), 0);
    CHECK(translate_inbound(in.view(), example) == nptv6_outcome::translated);
    CHECK(in.bytes() == error6(peer, inside_host, inside_host, peer));
    CHECK(decode(in.bytes()).transport_checksum_good);
    one_frame out(error6(inside_host, peer, peer, inside_host), 0);
    CHECK(translate_outbound(out.view(), example) == nptv6_outcome::translated);
    CHECK(out.bytes() == error6(outside_host, peer, peer, outside_host));
    // A router of ours in between has an address of its own, and only the quote is in the prefix.
    one_frame router(error6(peer, peer, peer, inside_host), 0);
    CHECK(translate_outbound(router.view(), example) == nptv6_outcome::translated);
    CHECK(router.bytes() == error6(peer, peer, peer, outside_host));
}

TEST_CASE("packets outside the prefixes, of IPv4 and of no IP pass untouched, and what has no translation is left as it was") {
    ipv6_bytes const none = six({0xfd01, 0x0203, 0x0405, 0xffff, 0, 0, 0, 1});
    struct {
        byte_string bytes;
        nptv6_outcome want;
    } const cases[] = {
        {udp6(peer, inside_host), nptv6_outcome::untouched},
        {ethernet(udp_packet(ip4{}, filled(3))), nptv6_outcome::untouched},
        {ethernet(filled(46), {}, 0x0806), nptv6_outcome::untouched},
        {udp6(none, peer), nptv6_outcome::untranslatable},
        {error6(inside_host, peer, peer, none), nptv6_outcome::untranslatable},
    };
    for (auto const& c : cases) {
        one_frame one(c.bytes, 0);
        CHECK(translate_outbound(one.view(), example) == c.want);
        CHECK(one.bytes() == c.bytes);
    }
}

TEST_CASE("an error that quotes less than a header, or another version, has only its own address translated") {
    for (byte_string const& quoted : {filled(39, 0x60), filled(48, 0x45), byte_string{}}) {
        ip6 from, after;
        from.source = bytes_of(inside_host);
        after.source = bytes_of(outside_host);
        one_frame one(ethernet(icmp_packet(from, 3, 0, quoted)), 0);
        CHECK(translate_outbound(one.view(), example) == nptv6_outcome::translated);
        CHECK(one.bytes() == ethernet(icmp_packet(after, 3, 0, quoted)));
    }
}
