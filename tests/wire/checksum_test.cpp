// SPDX-License-Identifier: BSL-1.0
// The Internet checksum against a naive reference: in full (RFC 1071), incrementally (RFC 1624, its -0 case proved), and partial.
#include <halfproxy/wire/checksum.hpp>

#include <halfproxy/core/random.hpp>

#include "tests/support/packets.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <ostream>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

byte_string random_bytes(split_mix64& random, std::size_t n) {
    byte_string out(n);
    for (auto& b : out) b = static_cast<std::uint8_t>(random());
    return out;
}

const_packet_view parsed(byte_string const& bytes) { return parse<link_type::raw_ip>(byte_view(bytes)); }
checksum_verdict transport_of(byte_string const& bytes) { return verify_transport(parsed(bytes)); }

}  // namespace

TEST_CASE("the sum agrees with the naive one for every length from 0 to 2000, at every alignment of 8") {
    split_mix64 random(1);
    byte_string const bytes = random_bytes(random, 2008);
    for (std::size_t n = 0; n <= 2000; ++n) {
        byte_view const view = byte_view(bytes).subspan(n % 8, n);
        REQUIRE(checksum_sum{}.add(view).folded() == naive_sum(view));
    }
}

TEST_CASE("bytes of all ones and of zeros: the carries of the longest datagram are not lost") {
    for (std::uint8_t const value : {std::uint8_t{0}, std::uint8_t{0xff}, std::uint8_t{0x80}})
        for (std::size_t const n : {1u, 7u, 8u, 9u, 65535u, 262144u}) {
            byte_string const bytes(n, value);
            CHECK(checksum_sum{}.add(bytes).folded() == naive_sum(bytes));
        }
}

TEST_CASE("a sum made of parts of even length is the sum of the whole, words included") {
    CHECK(rc::check("parts", [](byte_string a, byte_string const& b, std::uint16_t w, std::uint32_t d) {
        if (a.size() % 2 != 0) a.push_back(0);
        std::uint16_t const got = checksum_sum{}.add(a).add16(w).add32(d).add(b).folded();
        std::uint16_t const expected = naive_sum(a + u16(w) + u32(d) + b);
        RC_ASSERT(got == expected);
        RC_ASSERT(checksum_sum{}.add(a).checksum() == naive_checksum(a));
    }));
}

TEST_CASE("a sum as memory holds it stores the checksum that a sum of values gives, for every length from 0 to 200") {
    split_mix64 random(8);
    for (std::size_t n = 0; n <= 200; ++n) {
        byte_string bytes(n);
        for (auto& b : bytes) b = static_cast<std::uint8_t>(random.below(3) == 0 ? 0xff : random());
        std::uint32_t const word = static_cast<std::uint32_t>(random());
        memory_sum sum;
        sum.add(big32{word}).add(bytes);
        big16 field{};
        sum.store_checksum(&field);
        CHECK(field == checksum_sum{}.add32(word).add(bytes).checksum());
        if (n < 32) continue;
        memory_sum{}.add_fixed<32>(bytes.data()).store_checksum(&field);
        CHECK(field == checksum_sum{}.add(byte_view(bytes).first(32)).checksum());
    }
}

TEST_CASE("RFC 1071's own example") {
    byte_string const bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    CHECK(checksum_sum{}.add(bytes).folded() == 0xddf2);
}

TEST_CASE("RFC 1624's own example: HC 0xdd2f, m 0x5555 to 0x3285 gives 0x0000") {
    CHECK(checksum_delta{}.change16(0x5555, 0x3285).applied_to(0xdd2f) == 0x0000);
}

TEST_CASE("the -0 case (RFC 1624 section 3): incremental equals full for all 2^16 checksums") {
    // A datagram is any checksum's as soon as it has one free word next to the changed one: message = {m, x, HC}. The
    // full computation over {m', x} never gives 0xffff unless every word is 0, and nor may the incremental one.
    std::uint16_t const interesting[] = {0x0000, 0x0001, 0x00ff, 0x0100, 0x7fff, 0x8000, 0xfffe, 0xffff, 0x5555, 0x3285};
    std::size_t wrong = 0;
    for (std::uint32_t x = 0; x <= 0xffff; ++x)
        for (std::uint16_t const m : interesting)
            for (std::uint16_t const changed : interesting) {
                auto const full = [x](std::uint16_t word) {
                    std::uint32_t s = x + word;
                    return static_cast<std::uint16_t>(~((s & 0xffffu) + (s >> 16)));
                };
                if (x == 0 && (m == 0 || changed == 0)) continue;  // the all-zero message: no IP header is one
                wrong += checksum_delta{}.change16(m, changed).applied_to(full(m)) != full(changed);
            }
    CHECK(wrong == 0);
}

TEST_CASE("an update that changes nothing keeps every checksum but 0xffff, which stands for 0 and becomes it") {
    for (std::uint32_t sum = 0; sum < 0xffff; ++sum)
        REQUIRE(checksum_delta{}.change16(0x1234, 0x1234).applied_to(static_cast<std::uint16_t>(sum)) == sum);
    CHECK(checksum_delta{}.change16(0x1234, 0x1234).applied_to(0xffff) == 0x0000);
}

TEST_CASE("an untouched delta is empty and keeps every checksum") {
    checksum_delta const none;
    CHECK(none.empty());
    CHECK(!checksum_delta{}.change16(1, 2).empty());
    CHECK(none.applied_to(0x1234) == 0x1234);
}

TEST_CASE("any changes of 16 and 32 bits, at even and odd offsets, give what a full computation gives") {
    CHECK(rc::check("incremental is full", [](std::uint64_t seed) {
        split_mix64 random(seed);
        byte_string bytes = random_bytes(random, 24 + random.below(1000));
        std::uint16_t const before = naive_checksum(bytes);
        checksum_delta delta;
        for (std::uint32_t i = 0, n = 1 + random.below(12); i < n; ++i) {
            std::size_t at = random.below(static_cast<std::uint32_t>(bytes.size() - 3));
            byte_string const old(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.begin() + static_cast<std::ptrdiff_t>(at) + 4);
            byte_string const fresh = random_bytes(random, 4);
            std::copy(fresh.begin(), fresh.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
            auto const word = [](byte_string const& b) {
                return std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 | std::uint32_t{b[2]} << 8 | b[3];
            };
            checksum_delta one;
            one.change32_at(at, word(old), word(fresh));
            delta.add(one);
        }
        RC_ASSERT(delta.applied_to(before) == naive_checksum(bytes));
    }));
}

TEST_CASE("a partial checksum holds the pseudo-header's sum: finishing it after a change gives the full checksum") {
    CHECK(rc::check("partial", [](std::uint32_t from, std::uint32_t to, std::uint16_t port) {
        ip4 ip{.source = from};
        byte_string segment = encode(tcp{.source_port = port, .payload = byte_string{1, 2, 3}});
        std::uint16_t const sum = naive_sum(pseudo_header(ip, segment.size()));
        ip.source = to;
        std::uint16_t const changed = checksum_delta{}.change32(from, to).applied_to_partial(sum);
        put16(segment, 16, changed);
        std::uint16_t const finished = naive_checksum(segment);  // what the device does
        put16(segment, 16, 0);
        RC_ASSERT(finished == naive_checksum(pseudo_header(ip, segment.size()) + segment));
    }));
}

TEST_CASE("transport checksums of TCP, UDP, ICMP and ICMPv6 are verified, and one wrong bit anywhere is noticed") {
    byte_string const payload{1, 2, 3, 4, 5};
    for (byte_string const& good :
         {tcp_packet(ip4{}, {.payload = payload}), tcp_packet(ip6{}, {.payload = payload}), udp_packet(ip4{}, payload),
          udp_packet(ip6{}, payload), icmp_packet(ip4{}, 8, 0, payload), icmp_packet(ip6{}, 128, 0, payload)}) {
        CHECK(transport_of(good) == checksum_verdict::good);
        packet_layout const l = parsed(good).layout();
        for (std::size_t at = l.payload_offset; at < good.size(); ++at) {
            byte_string bad = good;
            bad[at] ^= 0x10;
            CHECK(transport_of(bad) == checksum_verdict::bad);
        }
        byte_string other_source = good;
        other_source[l.ip_version == 4 ? 12 : 8] ^= 1;
        bool const pseudo = l.protocol != ip_protocol::icmp;
        CHECK(transport_of(other_source) == (pseudo ? checksum_verdict::bad : checksum_verdict::good));
    }
}

TEST_CASE("UDP checksum 0: none over IPv4 (RFC 768), wrong over IPv6 (RFC 8200 section 8.1)") {
    byte_string v4 = udp_packet(ip4{}, zeros(4)), v6 = udp_packet(ip6{}, zeros(4));
    put16(v4, 26, 0);
    put16(v6, 46, 0);
    CHECK(transport_of(v4) == checksum_verdict::absent);
    CHECK(transport_of(v6) == checksum_verdict::bad);
}

TEST_CASE("fragments, cut frames and other protocols cannot be verified") {
    CHECK(transport_of(tcp_packet(ip4{.fragment = 0x2000}, {})) == checksum_verdict::unverifiable);
    CHECK(transport_of(encode(ip4{.protocol = 47}, zeros(8))) == checksum_verdict::unverifiable);
    byte_string const whole = tcp_packet(ip4{}, {.payload = zeros(9)});
    byte_string const cut(whole.begin(), whole.end() - 1);
    CHECK(verify_transport(parse(link_type::raw_ip, byte_view(cut), whole.size())) == checksum_verdict::unverifiable);
}

TEST_CASE("padding behind the datagram does not count into its checksum") {
    CHECK(transport_of(tcp_packet(ip4{}, {.payload = byte_string{7}}) + byte_string(5, 0xee)) == checksum_verdict::good);
}

TEST_CASE("the IPv4 header checksum covers the options and nothing behind them") {
    byte_string good = tcp_packet(ip4{.options = byte_string(8, 1)}, {.payload = byte_string{1}});
    CHECK(verify_ipv4_header(parsed(good)) == checksum_verdict::good);
    good.back() ^= 1;
    CHECK(verify_ipv4_header(parsed(good)) == checksum_verdict::good);
    for (std::size_t at = 1; at < 28; ++at) {
        byte_string bad = good;
        bad[at] ^= 0x40;
        CHECK(verify_ipv4_header(parsed(bad)) == checksum_verdict::bad);
    }
}

TEST_CASE("the last address of a routing header with segments left is the one checksummed (RFC 8200 section 8.1)") {
    ip6 last;
    last.destination = zeros(15) + u8(0x77);
    byte_string const segment = sealed(last, encode(tcp{}), 16);
    ip6 routed;
    routed.extensions = {extension{43, u8(2) + u8(0) + u8(1) + zeros(4) + last.destination}};
    CHECK(transport_of(encode(routed, segment)) == checksum_verdict::good);
    routed.extensions = {extension{43, u8(2) + u8(0) + u8(0) + zeros(4) + last.destination}};
    CHECK(transport_of(encode(routed, segment)) == checksum_verdict::bad);
    routed.destination = last.destination;
    CHECK(transport_of(encode(routed, segment)) == checksum_verdict::good);
    routed.extensions = {extension{43, u8(0) + u8(0) + u8(1) + zeros(4)}};
    CHECK(transport_of(encode(routed, segment)) == checksum_verdict::unverifiable);
}
