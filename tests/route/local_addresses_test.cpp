// SPDX-License-Identifier: BSL-1.0
// The set of our own addresses: against a plain list.
#include <halfproxy/route/local_addresses.hpp>

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>

using namespace halfproxy;

TEST_CASE("every address that was put in is found and no other, however they fall") {
    CHECK(rc::check("like a list", [](std::uint64_t seed) {
        std::vector<local_address> all;
        auto const count = *rc::gen::inRange<std::uint32_t>(0, 40);
        for (std::uint32_t i = 0; i < count; ++i) {
            std::uint32_t const n = *rc::gen::inRange<std::uint32_t>(0, 64);
            ip_address a = ip_address::v4(0x0a000000 + n);
            if (n % 3 == 0) a = ip_address::v6({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(n)});
            all.push_back({a, n % 2 == 0 ? side::outside : side::inside, false, true});
        }
        local_addresses const set(all, seed);
        for (std::uint32_t n = 0; n < 64; ++n)
            for (ip_address const& a : {ip_address::v4(0x0a000000 + n),
                                        ip_address::v6({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(n)})}) {
                bool const there = std::any_of(all.begin(), all.end(), [&](local_address const& l) { return l.address == a; });
                RC_ASSERT((set.find(a) != nullptr) == there);
                side const port = n % 2 == 0 ? side::outside : side::inside;
                RC_ASSERT((set.find(a, port) != nullptr) == there);
                RC_ASSERT(set.find(a, other(port)) == nullptr);
            }
    }));
}

TEST_CASE("an address that a port has and a service uses is one: taken, and answered as both allow") {
    ip_address const a = ip_address::v4(0xc0000201);
    local_addresses const set(std::vector<local_address>{{a, side::outside, false, true}, {a, side::outside, true, false}}, 7);
    REQUIRE(set.find(a) != nullptr);
    CHECK(set.find(a)->taken);
    CHECK(!set.find(a)->echo);
}

TEST_CASE("an empty set holds nothing") {
    CHECK(local_addresses().find(ip_address::v4(0)) == nullptr);
    CHECK(local_addresses().find(ip_address::v6({})) == nullptr);
}
