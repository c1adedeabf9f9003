// SPDX-License-Identifier: BSL-1.0
// Prefixes contain exactly the addresses that share their first bits; families never mix.
#include <halfproxy/wire/address.hpp>

#include <doctest/doctest.h>
#include <rapidcheck.h>

using namespace halfproxy;

namespace {

constexpr ip_address loopback6 = ip_address::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});

/// The definition, bit by bit.
bool same_bits(ip_address const& a, ip_address const& b, unsigned n) {
    for (unsigned i = 0; i < n; ++i)
        if (((a.bytes[i / 8] ^ b.bytes[i / 8]) >> (7 - i % 8) & 1) != 0) return false;
    return true;
}

}  // namespace

TEST_CASE("an IPv4 address keeps its value in network byte order") {
    constexpr ip_address a = ip_address::v4(0xc0000201);
    CHECK(a.version == 4);
    CHECK(a.bytes[0] == 192);
    CHECK(a.bytes[3] == 1);
    CHECK(a.bytes[4] == 0);
    CHECK(a.to_v4() == 0xc0000201);
}

TEST_CASE("a prefix of length 0 contains its whole family and nothing of the other") {
    ip_prefix const all4{ip_address::v4(0), 0}, all6{ip_address::v6({}), 0};
    CHECK(all4.contains(ip_address::v4(0xffffffff)));
    CHECK(!all4.contains(loopback6));
    CHECK(all6.contains(loopback6));
    CHECK(!all6.contains(ip_address::v4(0)));
}

TEST_CASE("a prefix without version contains every address of both families") {
    ip_prefix const any{};
    CHECK(any.contains(ip_address::v4(1)));
    CHECK(any.contains(loopback6));
}

TEST_CASE("a prefix of full length contains one address") {
    ip_prefix const one4{ip_address::v4(0x0a000001), 32}, one6{loopback6, 128};
    CHECK(one4.contains(ip_address::v4(0x0a000001)));
    CHECK(!one4.contains(ip_address::v4(0x0a000000)));
    CHECK(one6.contains(loopback6));
    CHECK(!one6.contains(ip_address::v6({})));
}

TEST_CASE("a prefix contains an address exactly if the first bits agree, at every length") {
    CHECK(rc::check("contains() is the definition", [](ipv6_bytes a, unsigned flip, bool four) {
        ipv6_bytes b = a;
        if (four) std::fill(a.begin() + 4, a.end(), std::uint8_t{0}), b = a;
        flip %= four ? 32 : 128;
        b[flip / 8] = static_cast<std::uint8_t>(b[flip / 8] ^ 0x80u >> flip % 8);
        auto const version = static_cast<std::uint8_t>(four ? 4 : 6);
        ip_address const x{version, a}, y{version, b};
        for (unsigned n = 0; n <= (four ? 32u : 128u); ++n) {
            ip_prefix const prefix{x, static_cast<std::uint8_t>(n)};
            RC_ASSERT(prefix.contains(y) == same_bits(x, y, n));
            RC_ASSERT(prefix.contains(x));
        }
    }));
}

TEST_CASE("a port range contains both of its ends") {
    port_range const range{80, 90};
    CHECK(range.contains(80));
    CHECK(range.contains(90));
    CHECK(!range.contains(79));
    CHECK(!range.contains(91));
    CHECK(port_range{}.contains(0));
    CHECK(port_range{}.contains(65535));
    CHECK(!port_range{5, 4}.contains(5));
}

TEST_CASE("groups, link-local addresses and addresses of nobody are told from hosts in both families (RFC 1122 section 3.2.1.3, RFC 4291 section 2.4)") {
    auto const v4 = [](std::uint32_t a) { return ip_address::v4(a); };
    auto const v6 = [](std::uint8_t first, std::uint8_t second, std::uint8_t last) {
        return ip_address::v6({first, second, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last});
    };
    CHECK(is_group(v4(0xe0000001)));
    CHECK(is_group(v4(0xffffffff)));
    CHECK(!is_group(v4(0xdfffffff)));
    CHECK(is_group(v6(0xff, 2, 1)));
    CHECK(!is_group(v6(0xfe, 0x80, 1)));
    CHECK(is_link_local(v4(0xa9fe0001)));
    CHECK(!is_link_local(v4(0xa9ff0001)));
    CHECK(is_link_local(v6(0xfe, 0x80, 1)));
    CHECK(is_link_local(v6(0xfe, 0xbf, 1)));
    CHECK(!is_link_local(v6(0xfe, 0xc0, 1)));
    CHECK(is_nowhere(v4(0)));
    CHECK(is_nowhere(v4(0x7f000001)));
    CHECK(!is_nowhere(v4(0x80000001)));
    CHECK(is_nowhere(ip_address::v6({})));
    CHECK(is_nowhere(loopback6));
    CHECK(!is_nowhere(v6(0, 0, 2)));
    CHECK(is_host(v4(0xc0000201)));
    CHECK(is_host(v6(0x20, 1, 1)));
    CHECK(!is_host(v4(0)));
    CHECK(!is_host(v4(0xe0000001)));
    CHECK(!is_host(ip_address{}));
}
