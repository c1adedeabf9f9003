// SPDX-License-Identifier: BSL-1.0
// Packets of one version made into the other's, against packets written by hand, and every one that has no counterpart.
#include <halfproxy/translate/nat64.hpp>

#include "tests/support/addresses.hpp"
#include "tests/support/one_frame.hpp"

#include <random>

namespace halfproxy {
inline doctest::String toString(nat64_refusal r) { return std::string(to_string(r)).c_str(); }
}  // namespace halfproxy

using namespace halfproxy;
using namespace halfproxy::test;
using enum nat64_refusal;

namespace {

nat64_prefix const well_known;
constexpr std::uint32_t client4 = 0xc0000201, server4 = 0xc6336402;

/// What both headers say.
struct header {
    std::uint32_t source = client4, destination = server4;
    unsigned hops = 64, traffic_class = 0;
    bool dont = true;
    bool fragment = false;
    unsigned offset = 0;  ///< in units of 8 bytes
    bool more = false;
    unsigned id = 0;

    [[nodiscard]] header reversed() const {
        header h = *this;
        std::swap(h.source, h.destination);
        return h;
    }
};

byte_string v4(header const& h, unsigned protocol, byte_string const& content, byte_string const& options = {}) {
    unsigned const flags = h.fragment ? h.offset | (h.more ? 0x2000u : 0u) : h.dont ? 0x4000u : 0u;
    auto const bytes = static_cast<unsigned>(20 + options.size());
    byte_string out = u8(0x40 | bytes / 4) + u8(h.traffic_class) + u16(bytes + static_cast<unsigned>(content.size())) + u16(h.id) + u16(flags) +
                      u8(h.hops) + u8(protocol) + u16(0) + u32(h.source) + u32(h.destination) + options;
    put16(out, 10, naive_checksum(out));
    return out + content;
}

byte_string v6(header const& h, unsigned protocol, byte_string const& content, byte_string const& extensions = {}, unsigned first = 0) {
    byte_string const fragment = h.fragment ? u8(protocol) + u8(0) + u16(h.offset << 3 | (h.more ? 1u : 0u)) + u32(h.id) : byte_string{};
    unsigned const next = !extensions.empty() ? first : h.fragment ? 44 : protocol;
    auto const bytes = static_cast<unsigned>(extensions.size() + fragment.size() + content.size());
    return u32(6u << 28 | h.traffic_class << 20) + u16(bytes) + u8(next) + u8(h.hops) + bytes_of(*well_known.to_v6(h.source)) +
           bytes_of(*well_known.to_v6(h.destination)) + extensions + fragment + content;
}

byte_string pseudo4(header const& h, unsigned protocol, std::size_t bytes) {
    return u32(h.source) + u32(h.destination) + u16(protocol) + u16(static_cast<unsigned>(bytes));
}
byte_string pseudo6(header const& h, unsigned protocol, std::size_t bytes) {
    return bytes_of(*well_known.to_v6(h.source)) + bytes_of(*well_known.to_v6(h.destination)) + u32(static_cast<std::uint32_t>(bytes)) + u32(protocol);
}
byte_string summed(byte_string content, std::size_t at, byte_string const& pseudo) {
    put16(content, at, 0);
    std::uint16_t const sum = naive_checksum(pseudo + content);
    put16(content, at, sum == 0 && at == 6 ? 0xffff : sum);
    return content;
}

byte_string tail(byte_string const& bytes, std::ptrdiff_t from) { return {bytes.begin() + from, bytes.end()}; }
byte_string tcp_content(std::size_t payload) {
    return u16(40000) + u16(80) + u32(0x11223344) + u32(0x55667788) + u8(0x50) + u8(0x18) + u16(500) + u16(0) + u16(0) + filled(payload, 'd');
}
byte_string udp_content(std::size_t payload, unsigned claimed = 0) {
    auto const bytes = static_cast<unsigned>(8 + payload);
    return u16(40000) + u16(53) + u16(claimed != 0 ? claimed : bytes) + u16(0) + filled(payload, 'u');
}

byte_string tcp4(header const& h, std::size_t payload) {
    byte_string const t = tcp_content(payload);
    return v4(h, 6, summed(t, 16, pseudo4(h, 6, t.size())));
}
byte_string tcp6(header const& h, std::size_t payload) {
    byte_string const t = tcp_content(payload);
    return v6(h, 6, summed(t, 16, pseudo6(h, 6, t.size())));
}
byte_string udp4(header const& h, std::size_t payload) {
    byte_string const t = udp_content(payload);
    return v4(h, 17, summed(t, 6, pseudo4(h, 17, t.size())));
}
byte_string udp6(header const& h, std::size_t payload) {
    byte_string const t = udp_content(payload);
    return v6(h, 17, summed(t, 6, pseudo6(h, 17, t.size())));
}

byte_string icmp4_message(header const& h, unsigned type, unsigned code, std::uint32_t rest, byte_string const& body) {
    return v4(h, 1, summed(u8(type) + u8(code) + u16(0) + u32(rest) + body, 2, {}));
}
byte_string icmp6_message(header const& h, unsigned type, unsigned code, std::uint32_t rest, byte_string const& body) {
    byte_string const m = u8(type) + u8(code) + u16(0) + u32(rest) + body;
    return v6(h, 58, summed(m, 2, pseudo6(h, 58, m.size())));
}

header one_hop_on(header h, bool dont = true) {
    --h.hops;
    h.dont = dont;
    return h;
}

struct result {
    nat64_refusal refusal;
    byte_string ip;
};

result to4(byte_string const& ip, nat64_mtu mtu = {}, std::size_t room = 64) {
    one_frame one(ethernet(ip), room);
    nat64_refusal const r = translate_to_v4(one.f, one.view(), well_known, mtu, 0x1234);
    CHECK(get16(one.bytes(), 12) == (r == none ? 0x0800 : get16(ethernet(ip), 12)));
    if (r != none) CHECK(one.ip() == ip);
    return {r, one.ip()};
}
result to6(byte_string const& ip, nat64_mtu mtu = {}, std::size_t room = 64) {
    one_frame one(ethernet(ip), room);
    nat64_refusal const r = translate_to_v6(one.f, one.view(), well_known, mtu);
    CHECK(get16(one.bytes(), 12) == (r == none ? 0x86dd : get16(ethernet(ip), 12)));
    if (r != none) CHECK(one.ip() == ip);
    return {r, one.ip()};
}
void check4(byte_string const& from, byte_string const& want) {
    result const got = to4(from);
    CHECK(got.refusal == none);
    CHECK(got.ip == want);
}
void check6(byte_string const& from, byte_string const& want) {
    result const got = to6(from);
    CHECK(got.refusal == none);
    CHECK(got.ip == want);
}

}  // namespace

TEST_CASE("TCP and UDP become the other version's, whatever their size and traffic class (RFC 7915 sections 4.1, 4.5, 5.1, 5.5)") {
    for (std::size_t payload : {0u, 1u, 2u, 13u, 1200u, 1220u, 1221u, 1400u})
        for (unsigned traffic_class : {0u, 0xb9u}) {
            header h;
            h.traffic_class = traffic_class;
            bool const long_tcp = 40 + payload > 1260, long_udp = 28 + payload > 1260;
            header t = one_hop_on(h, long_tcp), u = one_hop_on(h, long_udp);
            t.id = long_tcp ? 0 : 0x1234;
            u.id = long_udp ? 0 : 0x1234;
            check4(tcp6(h, payload), tcp4(t, payload));
            check4(udp6(h, payload), udp4(u, payload));
            h.id = 0x77;
            check6(tcp4(h, payload), tcp6(one_hop_on(h), payload));
            check6(udp4(h, payload), udp6(one_hop_on(h), payload));
        }
}

TEST_CASE("every prefix length translates, tags stay, padding goes") {
    for (unsigned length : {32u, 40u, 48u, 56u, 64u, 96u}) {
        nat64_prefix const prefix(six_prefix({0x2001, 0xdb8, 0, 0, 0, 0, 0, 0}, length));
        one_frame one(ethernet(tcp4({}, 0), {{0x8100, 5}}) + filled(6, 0), 20);
        REQUIRE(translate_to_v6(one.f, one.view(), prefix, {}) == none);
        decoded const d = decode(one.bytes());
        CHECK(d.transport_checksum_good);
        CHECK(d.source == bytes_of(*prefix.to_v6(client4)));
        CHECK(d.destination == bytes_of(*prefix.to_v6(server4)));
        CHECK(one.bytes().size() == 18 + 60);
        REQUIRE(translate_to_v4(one.f, one.view(), prefix, {}, 0x1234) == none);
        header back;
        back.hops = 62;
        back.id = 0x1234;
        back.dont = false;
        CHECK(one.bytes() == ethernet(tcp4(back, 0), {{0x8100, 5}}));
    }
}

TEST_CASE("UDP without checksum gets one in IPv6, a fragment of it is refused, and IPv6's 0 stays (RFC 7915 section 4.5)") {
    header const h;
    byte_string none4 = v4(h, 17, udp_content(5));
    check6(none4, udp6(one_hop_on(h), 5));
    header first;
    first.fragment = first.more = true;
    CHECK(to6(v4(first, 17, udp_content(8, 100))).refusal == udp_checksum);
    header sent = one_hop_on(h, false);
    sent.id = 0x1234;
    check4(v6(h, 17, udp_content(5)), v4(sent, 17, udp_content(5)));
}

TEST_CASE("a UDP checksum that becomes 0 is sent as ffff, in either version") {
    int met = 0;
    for (unsigned port = 0; port < 0x10000; ++port) {
        byte_string t = udp_content(2);
        put16(t, 0, port);
        header const h, on = one_hop_on(h, false);
        byte_string const sum6 = summed(t, 6, pseudo6(h, 17, t.size())), sum4 = summed(t, 6, pseudo4(h, 17, t.size()));
        if (get16(sum6, 6) != 0xffff && get16(sum4, 6) != 0xffff) continue;
        ++met;
        header with_id = on;
        with_id.id = 0x1234;
        check4(v6(h, 17, sum6), v4(with_id, 17, sum4));
        check6(v4(h, 17, sum4), v6(on, 17, sum6));
    }
    CHECK(met > 0);
}

TEST_CASE("echo and its reply become each other's, checksums by difference, an all-zero reply too (RFC 7915 sections 4.2, 5.2)") {
    header const h;
    header on = one_hop_on(h, false);
    on.id = 0x1234;
    for (bool reply : {false, true})
        for (byte_string const& body : {filled(0), filled(1, 'e'), filled(56, 'e'), filled(8, 0)})
            for (std::uint32_t rest : {0x00070001u, 0u}) {
                check4(icmp6_message(h, reply ? 129 : 128, 0, rest, body), icmp4_message(on, reply ? 0 : 8, 0, rest, body));
                check6(icmp4_message(h, reply ? 0 : 8, 0, rest, body), icmp6_message(one_hop_on(h), reply ? 129 : 128, 0, rest, body));
            }
}

TEST_CASE("fragments stay fragments, their identification and offset kept, also an atomic one (RFC 7915 sections 4.1, 5.1.1)") {
    header first;
    first.fragment = first.more = true;
    first.id = 0xabcd;
    header later = first;
    later.offset = 100;
    later.more = false;
    byte_string const content = udp_content(792, 1600), whole6 = summed(content, 6, pseudo6(first, 17, 1600)),
                      whole4 = summed(content, 6, pseudo4(first, 17, 1600));
    header wide = first;
    wide.id = 0x1234abcd;
    header first_on = one_hop_on(first), later_on = one_hop_on(later);
    check4(v6(wide, 17, whole6), v4(first_on, 17, whole4));
    check6(v4(first, 17, whole4), v6(first_on, 17, whole6));
    check4(v6(later, 17, filled(99, 'f')), v4(later_on, 17, filled(99, 'f')));
    check6(v4(later, 17, filled(99, 'f')), v6(later_on, 17, filled(99, 'f')));
    header atomic = first;
    atomic.more = false;
    byte_string const t = tcp_content(9);
    check4(v6(atomic, 6, summed(t, 16, pseudo6(atomic, 6, t.size()))),
           v4(one_hop_on(atomic), 6, summed(t, 16, pseudo4(atomic, 6, t.size()))));
    CHECK(to4(v6(first, 58, u8(128) + filled(15))).refusal == icmp_fragment);
    CHECK(to6(v4(first, 1, u8(8) + filled(15))).refusal == icmp_fragment);
    CHECK(to6(v4(later, 1, filled(16))).refusal == icmp_fragment);
}

TEST_CASE("options and finished extension headers are left out, unfinished routes and what IPv4 does not have are refused (RFC 7915 sections 4.1, 5.1)") {
    header const h;
    header on = one_hop_on(h, false);
    on.id = 0x1234;
    byte_string const t6 = tail(tcp6(h, 3), 40);
    auto const chain = [&](unsigned kind, byte_string const& header_bytes, unsigned then) { return to4(v6(h, then, t6, u8(then) + header_bytes, kind)); };
    for (unsigned kind : {0u, 60u}) {
        result const got = chain(kind, u8(0) + u8(1) + u8(4) + filled(4, 0), 6);
        CHECK(got.refusal == none);
        CHECK(got.ip == tcp4(on, 3));
    }
    CHECK(chain(43, u8(0) + u8(0) + u8(0) + u32(0), 6).ip == tcp4(on, 3));
    CHECK(chain(43, u8(2) + u8(0) + u8(1) + u32(0) + filled(16), 6).refusal == source_route);
    CHECK(chain(51, u8(1) + u16(0) + u32(1) + u32(1), 6).refusal == extension_header);
    CHECK(chain(135, u8(0) + u16(0) + u32(1), 6).refusal == extension_header);
    CHECK(to4(v6(h, 60, u8(6) + u8(0) + u8(1) + u8(4) + filled(4, 0) + t6, u8(60) + u8(0) + u16(0) + u32(7), 44)).refusal == extension_header);

    byte_string const t4 = tail(tcp4(h, 3), 20);
    check6(v4(h, 6, t4, u8(7) + u8(7) + u8(4) + u32(0) + u8(0)), tcp6(one_hop_on(h), 3));          // record route
    check6(v4(h, 6, t4, u8(1) + u8(131) + u8(7) + u8(8) + u32(5)), tcp6(one_hop_on(h), 3));        // a source route at its end
    CHECK(to6(v4(h, 6, t4, u8(1) + u8(131) + u8(7) + u8(4) + u32(5))).refusal == source_route);
    CHECK(to6(v4(h, 6, t4, u8(1) + u8(137) + u8(7) + u8(4) + u32(5))).refusal == source_route);
    check6(v4(h, 6, t4, filled(40, 1)), tcp6(one_hop_on(h), 3));
}

TEST_CASE("protocols without checksum over the addresses pass as they are, those of one version or with one do not") {
    header const h;
    header on = one_hop_on(h, false);
    on.id = 0x1234;
    for (unsigned protocol : {47u, 50u, 132u, 99u, 4u, 41u}) {
        check4(v6(h, protocol, filled(24, 'p')), v4(on, protocol, filled(24, 'p')));
        check6(v4(h, protocol, filled(24, 'p')), v6(one_hop_on(h), protocol, filled(24, 'p')));
    }
    for (unsigned protocol : {1u, 2u, 33u, 136u, 59u}) CHECK(to4(v6(h, protocol, filled(24))).refusal == nat64_refusal::protocol);
    for (unsigned protocol : {58u, 2u, 33u, 136u, 59u, 0u, 43u, 44u, 51u, 60u, 135u, 139u, 140u})
        CHECK(to6(v4(h, protocol, filled(24))).refusal == nat64_refusal::protocol);
}

TEST_CASE("what ends its hops, fits nowhere, is not whole or lies outside the prefix is refused by name and left as it was") {
    header h;
    for (unsigned hops : {0u, 1u}) {
        h.hops = hops;
        CHECK(to4(tcp6(h, 3)).refusal == hop_limit);
        CHECK(to6(tcp4(h, 3)).refusal == hop_limit);
    }
    h.hops = 2;
    CHECK(to4(tcp6(h, 3)).ip[8] == 1);
    CHECK(to6(tcp4(h, 1440)).refusal == none);
    CHECK(to6(tcp4(h, 1441)).refusal == too_big);
    CHECK(to4(tcp6(h, 1400), {1440, 1500}).refusal == none);
    CHECK(to4(tcp6(h, 1401), {1440, 1500}).refusal == too_big);
    CHECK(to6(tcp4(h, 3), {}, 20).refusal == none);
    CHECK(to6(tcp4(h, 3), {}, 19).refusal == frame_room);
    header first = h;
    first.fragment = first.more = true;
    CHECK(to6(v4(first, 6, tcp_content(4)), {}, 27).refusal == frame_room);
    byte_string wrong = tcp4(h, 3);
    wrong[11] ^= 1;
    CHECK(to6(wrong).refusal == checksum);
    CHECK(to6(tcp6(h, 3)).refusal == malformed);
    CHECK(to4(tcp4(h, 3)).refusal == malformed);
    byte_string shorter = tcp6(h, 3);
    shorter.pop_back();
    CHECK(to4(shorter).refusal == malformed);
    byte_string elsewhere = tcp6(h, 3);
    elsewhere[8] = 0x20;
    CHECK(to4(elsewhere).refusal == address);
    elsewhere = tcp6(h, 3);
    elsewhere[24] = 0x20;
    CHECK(to4(elsewhere).refusal == address);
}

TEST_CASE("messages of one version alone are refused: router and neighbour discovery, multicast, timestamps, redirects, and unknown ones") {
    header const h;
    for (unsigned type : {130u, 131u, 132u, 133u, 134u, 135u, 136u, 137u, 138u, 143u, 200u}) CHECK(to4(icmp6_message(h, type, 0, 0, filled(16))).refusal == icmp_type);
    for (unsigned type : {9u, 10u, 13u, 14u, 15u, 16u, 17u, 18u, 30u, 42u}) CHECK(to6(icmp4_message(h, type, 0, 0, filled(16))).refusal == icmp_type);
    byte_string const quoted4 = udp4(h.reversed(), 4), quoted6 = udp6(h.reversed(), 4);
    CHECK(to6(icmp4_message(h, 4, 0, 0, quoted4)).refusal == icmp_type);
    CHECK(to6(icmp4_message(h, 5, 1, 0, quoted4)).refusal == icmp_type);
    CHECK(to4(icmp6_message(h, 100, 0, 0, quoted6)).refusal == icmp_type);
}

TEST_CASE("every error of ICMP becomes the ICMPv6 error of RFC 7915 section 4.2, with the packet it quotes") {
    header const h;
    header quoted = h.reversed();
    quoted.hops = 9;
    struct {
        unsigned type, code;
        std::uint32_t rest;
        int type6;
        unsigned code6;
        std::uint32_t rest6;
    } const cases[] = {
        {3, 0, 0, 1, 0, 0},   {3, 1, 0, 1, 0, 0},   {3, 2, 0, 4, 1, 6},   {3, 3, 0, 1, 4, 0},  {3, 4, 1400, 2, 0, 1420}, {3, 4, 1480, 2, 0, 1500},
        {3, 4, 9000, 2, 0, 1500}, {3, 4, 1000, 2, 0, 1280}, {3, 5, 0, 1, 0, 0}, {3, 6, 0, 1, 0, 0}, {3, 7, 0, 1, 0, 0}, {3, 8, 0, 1, 0, 0},
        {3, 9, 0, 1, 1, 0},   {3, 10, 0, 1, 1, 0},  {3, 11, 0, 1, 0, 0},  {3, 12, 0, 1, 0, 0}, {3, 13, 0, 1, 1, 0}, {3, 14, 0, -1, 0, 0},
        {3, 15, 0, 1, 1, 0},  {3, 16, 0, -1, 0, 0}, {11, 0, 0, 3, 0, 0},  {11, 1, 0, 3, 1, 0}, {12, 1, 0, -1, 0, 0}, {12, 3, 0, -1, 0, 0},
        {12, 0, 0, 4, 0, 0},  {12, 2, 0x01000000, 4, 0, 1}, {12, 0, 0x02000000, 4, 0, 4}, {12, 0, 0x03000000, 4, 0, 4}, {12, 0, 0x04000000, -1, 0, 0},
        {12, 0, 0x07000000, -1, 0, 0}, {12, 0, 0x08000000, 4, 0, 7}, {12, 0, 0x09000000, 4, 0, 6}, {12, 0, 0x0a000000, -1, 0, 0},
        {12, 0, 0x0c000000, 4, 0, 8}, {12, 0, 0x0f000000, 4, 0, 8}, {12, 0, 0x10000000, 4, 0, 24}, {12, 0, 0x13000000, 4, 0, 24}, {12, 0, 0x14000000, -1, 0, 0},
    };
    for (auto const& c : cases) {
        CAPTURE(c.type);
        CAPTURE(c.code);
        CAPTURE(c.rest);
        byte_string const from = icmp4_message(h, c.type, c.code, c.rest, tcp4(quoted, 20));
        if (c.type6 < 0)
            CHECK(to6(from).refusal == icmp_type);
        else
            check6(from, icmp6_message(one_hop_on(h), static_cast<unsigned>(c.type6), c.code6, c.rest6, tcp6(quoted, 20)));
    }
}

TEST_CASE("every error of ICMPv6 becomes the ICMP error of RFC 7915 section 5.2, with the packet it quotes") {
    header const h;
    header on = one_hop_on(h, false);
    on.id = 0x1234;
    header quoted = h.reversed();
    quoted.hops = 9;
    header quoted4 = quoted;
    quoted4.dont = false;
    struct {
        unsigned type, code;
        std::uint32_t rest;
        int type4;
        unsigned code4;
        std::uint32_t rest4;
    } const cases[] = {
        {1, 0, 0, 3, 1, 0},     {1, 1, 0, 3, 10, 0},    {1, 2, 0, 3, 1, 0},     {1, 3, 0, 3, 1, 0},    {1, 4, 0, 3, 3, 0},     {1, 5, 0, -1, 0, 0},
        {2, 0, 1400, 3, 4, 1380}, {2, 0, 1500, 3, 4, 1480}, {2, 0, 9000, 3, 4, 1480}, {2, 0, 1280, 3, 4, 1260}, {2, 0, 600, 3, 4, 1260},
        {3, 0, 0, 11, 0, 0},    {3, 1, 0, 11, 1, 0},    {4, 1, 6, 3, 2, 0},     {4, 2, 40, -1, 0, 0},  {4, 0, 0, 12, 0, 0},    {4, 0, 1, 12, 0, 0x01000000},
        {4, 0, 2, -1, 0, 0},    {4, 0, 3, -1, 0, 0},    {4, 0, 4, 12, 0, 0x02000000}, {4, 0, 5, 12, 0, 0x02000000}, {4, 0, 6, 12, 0, 0x09000000},
        {4, 0, 7, 12, 0, 0x08000000}, {4, 0, 8, 12, 0, 0x0c000000}, {4, 0, 23, 12, 0, 0x0c000000}, {4, 0, 24, 12, 0, 0x10000000},
        {4, 0, 39, 12, 0, 0x10000000}, {4, 0, 40, -1, 0, 0},
    };
    for (auto const& c : cases) {
        CAPTURE(c.type);
        CAPTURE(c.code);
        CAPTURE(c.rest);
        byte_string const from = icmp6_message(h, c.type, c.code, c.rest, udp6(quoted, 20));
        if (c.type4 < 0)
            CHECK(to4(from).refusal == icmp_type);
        else
            check4(from, icmp4_message(on, static_cast<unsigned>(c.type4), c.code4, c.rest4, udp4(quoted4, 20)));
    }
}

TEST_CASE("an old router that tells no MTU is taken at the next plateau (RFC 1191 section 7.1)") {
    header const h;
    header quoted = h.reversed();
    byte_string longer = udp4(quoted, 1400);
    put16(longer, 2, 1493);
    put16(longer, 10, 0);
    put16(longer, 10, naive_checksum(byte_view(longer).first(20)));
    byte_string const from = icmp4_message(h, 3, 4, 0, byte_string(longer.begin(), longer.begin() + 28));
    CHECK(get32(to6(from, {1500, 9000}).ip, 44) == 1512);
    CHECK(get32(to6(from, {1500, 1500}).ip, 44) == 1500);
}

TEST_CASE("the MTU told for a quoted fragment allows for its fragment header") {
    header const h;
    header quoted = h.reversed();
    quoted.fragment = quoted.more = true;
    quoted.id = 7;
    byte_string const from = icmp6_message(h, 2, 0, 1400, v6(quoted, 17, udp_content(16, 1000)));
    result const got = to4(from);
    CHECK(got.refusal == none);
    CHECK(get32(got.ip, 24) == 1372);
    CHECK(get16(got.ip, 28 + 6) == 0x2000);
    CHECK(get16(got.ip, 28 + 4) == 7);
}

TEST_CASE("quotes may be short, of echo messages, of fragments or with headers that go, and lengths in them stay the original's") {
    header const h;
    header on = one_hop_on(h, false);
    on.id = 0x1234;
    header quoted = h.reversed(), quoted4 = quoted;
    quoted4.dont = false;
    auto const cut = [](byte_string const& b, std::size_t n) { return byte_string(b.begin(), b.begin() + static_cast<std::ptrdiff_t>(n)); };
    // Eight bytes of TCP: ports and sequence number, no checksum; the total length is the whole packet's.
    check6(icmp4_message(h, 11, 0, 0, cut(tcp4(quoted, 20), 28)), icmp6_message(one_hop_on(h), 3, 0, 0, cut(tcp6(quoted, 20), 48)));
    check4(icmp6_message(h, 3, 0, 0, cut(tcp6(quoted, 20), 48)), icmp4_message(on, 11, 0, 0, cut(tcp4(quoted4, 20), 28)));
    check6(icmp4_message(h, 11, 0, 0, icmp4_message(quoted, 8, 0, 0x00070001, filled(9))),
           icmp6_message(one_hop_on(h), 3, 0, 0, icmp6_message(quoted, 128, 0, 0x00070001, filled(9))));
    check4(icmp6_message(h, 3, 0, 0, icmp6_message(quoted, 128, 0, 0x00070001, filled(9))),
           icmp4_message(on, 11, 0, 0, icmp4_message(quoted4, 8, 0, 0x00070001, filled(9))));
    header later = quoted;
    later.fragment = true;
    later.offset = 50;
    later.id = 9;
    check6(icmp4_message(h, 11, 1, 0, v4(later, 17, filled(16))), icmp6_message(one_hop_on(h), 3, 1, 0, v6(later, 17, filled(16))));
    byte_string const t = tail(tcp6(quoted, 3), 40);
    check4(icmp6_message(h, 1, 4, 0, v6(quoted, 6, t, u8(6) + u8(0) + u8(1) + u8(4) + filled(4, 0), 0)), icmp4_message(on, 3, 3, 0, tcp4(quoted4, 3)));
    check6(icmp4_message(h, 3, 3, 0, v4(quoted, 6, tail(tcp4(quoted, 3), 20), filled(24, 1))),
           icmp6_message(one_hop_on(h), 1, 4, 0, tcp6(quoted, 3)));
}

TEST_CASE("errors that quote errors, too little, another version or a stranger, and errors with a wrong checksum are refused") {
    header const h;
    header const q = h.reversed();
    CHECK(to6(icmp4_message(h, 3, 1, 0, icmp4_message(q, 3, 1, 0, udp4(h, 1)))).refusal == icmp_quote);
    CHECK(to4(icmp6_message(h, 1, 0, 0, icmp6_message(q, 1, 0, 0, udp6(h, 1)))).refusal == icmp_quote);
    byte_string const quoted4 = udp4(q, 9), short4(quoted4.begin(), quoted4.begin() + 27);
    CHECK(to6(icmp4_message(h, 3, 1, 0, short4)).refusal == icmp_quote);
    CHECK(to6(icmp4_message(h, 3, 1, 0, udp6(q, 9))).refusal == icmp_quote);
    CHECK(to4(icmp6_message(h, 1, 0, 0, udp4(q, 9))).refusal == icmp_quote);
    byte_string stranger = udp6(q, 9);
    stranger[8] = 0x20;
    CHECK(to4(icmp6_message(h, 1, 0, 0, stranger)).refusal == icmp_quote);
    byte_string damaged = icmp4_message(h, 3, 1, 0, udp4(q, 9));
    damaged.back() ^= 1;
    CHECK(to6(damaged).refusal == checksum);
    damaged = icmp6_message(h, 1, 0, 0, udp6(q, 9));
    damaged.back() ^= 1;
    CHECK(to4(damaged).refusal == checksum);
}

TEST_CASE("extensions of errors are left out with their length, and long quotes end where ICMPv6 ends (RFC 4884, RFC 4443 section 2.4)") {
    header const h;
    header on = one_hop_on(h, false);
    on.id = 0x1234;
    header const quoted = h.reversed();
    header quoted4 = quoted;
    quoted4.dont = false;
    byte_string const extension = u8(0x20) + u8(0) + u16(0) + u16(8) + u8(1) + u8(1) + u32(0x12345678);
    byte_string padded4 = udp4(quoted, 100), padded6 = udp6(quoted, 72);
    REQUIRE(padded4.size() == 128);
    REQUIRE(padded6.size() == 120);
    check6(icmp4_message(h, 11, 0, 32 << 16, padded4 + extension), icmp6_message(one_hop_on(h), 3, 0, 0, udp6(quoted, 100)));
    check4(icmp6_message(h, 3, 0, 15u << 24, padded6 + extension), icmp4_message(on, 11, 0, 0, udp4(quoted4, 72)));
    result const got = to6(icmp4_message(h, 3, 3, 0, udp4(quoted, 1300)));
    CHECK(got.refusal == none);
    CHECK(got.ip.size() == 1280);
    CHECK(decode(ethernet(got.ip)).transport_checksum_good);
}

TEST_CASE("a checksum left to the device stays with it and comes right, and an echo's is finished here") {
    header const h;
    for (bool udp : {false, true}) {
        one_frame four(ethernet(udp ? udp4(h, 33) : tcp4(h, 33)));
        leave_checksum(four.f);
        REQUIRE(translate_to_v6(four.f, four.view(), well_known, {}) == none);
        byte_string sent = four.bytes();
        REQUIRE(four.f.offload.checksum == checksum_state::partial);
        finish_checksum(sent, four.f.offload);
        CHECK(sent == ethernet(udp ? udp6(one_hop_on(h), 33) : tcp6(one_hop_on(h), 33)));
        header on = one_hop_on(h, false);
        on.id = 0x1234;
        one_frame six_frame(ethernet(udp ? udp6(h, 33) : tcp6(h, 33)));
        leave_checksum(six_frame.f);
        REQUIRE(translate_to_v4(six_frame.f, six_frame.view(), well_known, {}, 0x1234) == none);
        sent = six_frame.bytes();
        finish_checksum(sent, six_frame.f.offload);
        CHECK(sent == ethernet(udp ? udp4(on, 33) : tcp4(on, 33)));
    }
    byte_string const whole = icmp4_message(h, 8, 0, 7, filled(5));
    one_frame echo(ethernet(whole));
    echo.f.data[36] = echo.f.data[37] = 0;
    echo.f.offload = {.checksum = checksum_state::partial, .checksum_start = 34, .checksum_offset = 2};
    REQUIRE(translate_to_v6(echo.f, echo.view(), well_known, {}) == none);
    CHECK(echo.f.offload.checksum == checksum_state::unknown);
    CHECK(echo.ip() == icmp6_message(one_hop_on(h), 128, 0, 7, filled(5)));
}

TEST_CASE("a large segment stays one of the other version, its pieces are measured, and kinds without counterpart are refused") {
    header const h;
    auto const large = [&](bool four, unsigned kind, unsigned piece, nat64_mtu mtu) {
        one_frame one(ethernet(four ? tcp4(h, 5000) : tcp6(h, 5000)));
        leave_checksum(one.f);
        one.f.offload.segment_type = static_cast<std::uint8_t>(kind);
        one.f.offload.segment_size = static_cast<std::uint16_t>(piece);
        one.f.offload.header_length = four ? 54 : 74;
        nat64_refusal const r = four ? translate_to_v6(one.f, one.view(), well_known, mtu) : translate_to_v4(one.f, one.view(), well_known, mtu, 7);
        if (r == none) {
            byte_string sent = one.bytes();
            finish_checksum(sent, one.f.offload);
            decoded const d = decode(sent);
            CHECK(d.version == (four ? 6 : 4));
            CHECK(d.transport_checksum_good);
            if (!four) CHECK(get16(sent, 20) == (piece > 1220 ? 0x4000 : 0));
        }
        return std::tuple(r, unsigned{one.f.offload.segment_type}, unsigned{one.f.offload.segment_size}, unsigned{one.f.offload.header_length});
    };
    CHECK(large(true, 1, 1440, {}) == std::tuple(none, 4u, 1440u, 74u));
    CHECK(large(true, 0x81, 1440, {}) == std::tuple(none, 0x84u, 1440u, 74u));
    CHECK(large(true, 5, 1440, {}) == std::tuple(none, 5u, 1440u, 74u));
    CHECK(std::get<0>(large(true, 1, 1441, {})) == too_big);
    CHECK(std::get<0>(large(true, 4, 1000, {})) == segmented);
    CHECK(std::get<0>(large(true, 3, 1000, {})) == segmented);
    CHECK(large(false, 4, 1440, {}) == std::tuple(none, 1u, 1440u, 54u));
    CHECK(large(false, 0x84, 1000, {}) == std::tuple(none, 0x81u, 1000u, 54u));
    CHECK(std::get<0>(large(false, 4, 1440, {1479, 1500})) == too_big);
    CHECK(std::get<0>(large(false, 1, 1000, {})) == segmented);
}

TEST_CASE("random packets, cut and changed anywhere, are translated within their buffer or refused as they were") {
    std::mt19937 random(11);
    header const h, q = h.reversed();
    byte_string const seeds[] = {tcp4(h, 30), udp4(h, 30), icmp4_message(h, 3, 3, 0, udp4(q, 30)), icmp4_message(h, 8, 0, 1, filled(9)),
                                 tcp6(h, 30), udp6(h, 30), icmp6_message(h, 1, 4, 0, tcp6(q, 30)), icmp6_message(h, 2, 0, 1300, udp6(q, 8))};
    std::size_t translated = 0;
    for (int round = 0; round < 40000; ++round) {
        byte_string bytes = ethernet(seeds[random() % 8]);
        for (auto n = random() % 4; n != 0; --n) bytes[14 + random() % (bytes.size() - 14)] = static_cast<std::uint8_t>(random());
        if (random() % 3 == 0) bytes.resize(14 + random() % (bytes.size() - 13));
        one_frame one(bytes, random() % 70);
        if (random() % 2 == 0) one.f.offload.checksum = checksum_state::verified;
        bool const four = bytes.size() > 14 && bytes[14] >> 4 == 4;
        nat64_refusal const r = four ? translate_to_v6(one.f, one.view(), well_known, {}) : translate_to_v4(one.f, one.view(), well_known, {}, 1);
        if (r != none)
            CHECK(one.bytes() == bytes);
        else
            ++translated;
    }
    CHECK(translated > 1000);
}
