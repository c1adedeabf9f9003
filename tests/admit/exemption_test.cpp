// SPDX-License-Identifier: BSL-1.0
// Who is exempt, how long, and what a full table forgets.
#include <halfproxy/admit/exemption.hpp>

#include <doctest/doctest.h>

using namespace halfproxy;

namespace {

time_point at(std::int64_t ms) { return time_point(std::chrono::milliseconds(ms)); }
source_network v4(std::uint32_t address, std::uint16_t zone = 0) { return source_network::of(address, zone); }

}  // namespace

TEST_CASE("a source is exempt for its time and no longer, and again after another proof") {
    exemption_table t(64, 1);
    CHECK_FALSE(t.contains(v4(7), at(1000)));
    CHECK(t.insert(v4(7), at(1000), 30'000));
    CHECK(t.contains(v4(7), at(1000)));
    CHECK(t.contains(v4(7), at(30'999)));
    CHECK_FALSE(t.contains(v4(7), at(31'000)));
    CHECK(t.insert(v4(7), at(40'000), 30'000));
    CHECK_FALSE(t.insert(v4(7), at(50'000), 30'000));  // it was exempt already
    CHECK(t.contains(v4(7), at(79'999)));
}

TEST_CASE("IPv4 exempts the one address, IPv6 its /64, each in its own zone") {
    exemption_table t(64, 1);
    t.insert(v4(0xc0000201, 5), at(0), 1000);
    CHECK(t.contains(v4(0xc0000201, 5), at(1)));
    CHECK_FALSE(t.contains(v4(0xc0000200, 5), at(1)));
    CHECK_FALSE(t.contains(v4(0xc0000201, 6), at(1)));
    ipv6_bytes const one{0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1};
    ipv6_bytes same = one, other = one;
    same[15] = 99;
    other[7] = 2;
    t.insert(source_network::of(one, 0), at(0), 1000);
    CHECK(t.contains(source_network::of(same, 0), at(1)));
    CHECK_FALSE(t.contains(source_network::of(other, 0), at(1)));
}

TEST_CASE("an IPv4 address and an IPv6 network of the same bits are two sources, and address 0 is no empty entry") {
    exemption_table t(64, 1);
    ipv6_bytes zeros{};
    CHECK_FALSE(t.contains(v4(0), at(0)));
    CHECK_FALSE(t.contains(source_network::of(zeros, 0), at(0)));
    t.insert(v4(0), at(0), 1000);
    CHECK(t.contains(v4(0), at(1)));
    CHECK_FALSE(t.contains(source_network::of(zeros, 0), at(1)));
}

TEST_CASE("a full set gives the place of the source whose time ends first; memory stays") {
    exemption_table t(4, 1);  // one set
    std::size_t const before = t.memory_bytes();
    for (std::uint32_t i = 1; i <= 4; ++i) t.insert(v4(i), at(i == 3 ? 0 : 10), 1000);
    t.insert(v4(5), at(20), 1000);
    CHECK_FALSE(t.contains(v4(3), at(30)));
    for (std::uint32_t i : {1u, 2u, 4u, 5u}) CHECK(t.contains(v4(i), at(30)));
    for (std::uint32_t i = 10; i < 10'000; ++i) t.insert(v4(i), at(40), 1000);
    CHECK(t.memory_bytes() == before);
    CHECK(t.contains(v4(9'999), at(50)));
}

TEST_CASE("a clock that begins below zero, or at the end of its range, changes nothing") {
    for (std::int64_t begin : {std::int64_t{-9'000'000'000'000}, std::int64_t{-5}, std::int64_t{9'000'000'000'000}}) {
        exemption_table t(4, 1);
        for (std::uint32_t i = 1; i <= 4; ++i) t.insert(v4(i), at(begin), 1000);
        for (std::uint32_t i = 1; i <= 4; ++i) CHECK(t.contains(v4(i), at(begin + 999)));
        for (std::uint32_t i = 1; i <= 4; ++i) CHECK_FALSE(t.contains(v4(i), at(begin + 1000)));
    }
}

TEST_CASE("a table without room exempts nobody") {
    exemption_table t(0, 1);
    CHECK_FALSE(t.insert(v4(1), at(0), 1000));
    CHECK_FALSE(t.contains(v4(1), at(0)));
    CHECK(t.memory_bytes() == 0);
}
