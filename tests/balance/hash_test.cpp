// SPDX-License-Identifier: BSL-1.0
// Hashes that choose backends.
#include <halfproxy/balance/hash.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cstdlib>

using namespace halfproxy;

TEST_CASE("mix64 is SplitMix64's finalizer: the first output of its reference for seed 1234567") {
    CHECK(mix64(1234567 + 0x9e3779b97f4a7c15u) == 6457827717110365317u);
}

TEST_CASE("a hash depends on the seed, on every word and on their order") {
    std::uint64_t const h = balance_hash(1).add(2).add(3).value();
    CHECK(h == balance_hash(1).add(2).add(3).value());
    CHECK(h != balance_hash(0).add(2).add(3).value());
    CHECK(h != balance_hash(1).add(3).add(2).value());
    CHECK(h != balance_hash(1).add(2).value());
}

TEST_CASE("addresses of both families differ although their bytes are the same") {
    ip_address const v4 = ip_address::v4(0x0102'0304);
    CHECK(balance_hash(0).add(v4).value() != balance_hash(0).add(ip_address::v6(v4.bytes)).value());
}

TEST_CASE("one bit of an address changes about half of the hash's bits") {
    int changed = 0;
    std::uint64_t const before = balance_hash(9).add(ip_address::v4(0xc000'0201)).value();
    for (int bit = 0; bit < 32; ++bit) changed += std::popcount(before ^ balance_hash(9).add(ip_address::v4(0xc000'0201u ^ 1u << bit)).value());
    CHECK(std::abs(changed - 32 * 32) < 100);
}
