// SPDX-License-Identifier: BSL-1.0
// IPv4 addresses in IPv6 ones, under every length of prefix.
#include <halfproxy/translate/nat64_prefix.hpp>

#include "tests/support/addresses.hpp"

#include <doctest/doctest.h>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

constexpr std::uint32_t four = 0xc0000221;  // 192.0.2.33

struct example {
    ip_prefix prefix;
    ipv6_bytes address;
};
/// RFC 6052 section 2.4, table 1.
example const examples[] = {
    {six_prefix({0x2001, 0xdb8, 0, 0, 0, 0, 0, 0}, 32), six({0x2001, 0xdb8, 0xc000, 0x0221, 0, 0, 0, 0})},
    {six_prefix({0x2001, 0xdb8, 0x0100, 0, 0, 0, 0, 0}, 40), six({0x2001, 0xdb8, 0x01c0, 0x0002, 0x0021, 0, 0, 0})},
    {six_prefix({0x2001, 0xdb8, 0x0122, 0, 0, 0, 0, 0}, 48), six({0x2001, 0xdb8, 0x0122, 0xc000, 0x0002, 0x2100, 0, 0})},
    {six_prefix({0x2001, 0xdb8, 0x0122, 0x0300, 0, 0, 0, 0}, 56), six({0x2001, 0xdb8, 0x0122, 0x03c0, 0x0000, 0x0221, 0, 0})},
    {six_prefix({0x2001, 0xdb8, 0x0122, 0x0344, 0, 0, 0, 0}, 64), six({0x2001, 0xdb8, 0x0122, 0x0344, 0x00c0, 0x0002, 0x2100, 0})},
    {six_prefix({0x2001, 0xdb8, 0x0122, 0x0344, 0, 0, 0, 0}, 96), six({0x2001, 0xdb8, 0x0122, 0x0344, 0, 0, 0xc000, 0x0221})},
};

}  // namespace

TEST_CASE("the examples of RFC 6052 section 2.4, both ways") {
    for (example const& e : examples) {
        REQUIRE(nat64_prefix::can_embed(e.prefix));
        nat64_prefix const prefix(e.prefix);
        CHECK(prefix.to_v6(four) == e.address);
        CHECK(prefix.to_v4(e.address) == four);
    }
    CHECK(nat64_prefix().to_v6(four) == six({0x64, 0xff9b, 0, 0, 0, 0, 0xc000, 0x0221}));
}

TEST_CASE("addresses outside the prefix or with bits 64 to 71 set embed nothing, and a suffix is ignored (RFC 6052 section 2.2)") {
    for (example const& e : examples) {
        nat64_prefix const prefix(e.prefix);
        ipv6_bytes other = e.address;
        other[e.prefix.length / 8u - 1] ^= 1;
        CHECK_FALSE(prefix.to_v4(other));
        other = e.address;
        other[8] = 1;
        CHECK_FALSE(prefix.to_v4(other));
        other = e.address;
        if (e.prefix.length < 64) {
            other[15] = 0x77;
            CHECK(prefix.to_v4(other) == four);
        }
    }
}

TEST_CASE("a prefix of another length, with bits behind its length or among bits 64 to 71, or of IPv4 embeds nothing") {
    for (unsigned length = 0; length <= 128; ++length) {
        bool const allowed = length == 32 || length == 40 || length == 48 || length == 56 || length == 64 || length == 96;
        CHECK(nat64_prefix::can_embed(six_prefix({0x2001, 0, 0, 0, 0, 0, 0, 0}, length)) == allowed);
    }
    CHECK_FALSE(nat64_prefix::can_embed(six_prefix({0x2001, 0xdb8, 1, 0, 0, 0, 0, 0}, 32)));
    CHECK_FALSE(nat64_prefix::can_embed(six_prefix({0x2001, 0xdb8, 1, 0, 0x0100, 0, 0, 0}, 96)));
    CHECK_FALSE(nat64_prefix::can_embed({ip_address::v4(1), 32}));
}
