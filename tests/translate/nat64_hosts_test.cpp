// SPDX-License-Identifier: BSL-1.0
// IPv4 addresses for IPv6 hosts: given once, kept while in use, given to others afterwards.
#include <halfproxy/translate/nat64_hosts.hpp>

#include "tests/support/addresses.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

time_point at(std::uint64_t ms) { return time_point(std::chrono::milliseconds(ms)); }
ipv6_bytes host(unsigned n) { return six({0x2001, 0xdb8, 0, 0, 0, 0, n >> 16, n & 0xffff}); }
nat64_hosts_config config_of(std::uint32_t capacity, timeout_ms idle = 1000) {
    return {{ip_address::v4(0x64400000), 16}, capacity, idle, 7};
}

}  // namespace

TEST_CASE("a host keeps its address, and others get others") {
    nat64_hosts hosts(config_of(3));
    CHECK(hosts.admit(host(1), at(0)) == 0x64400000);
    CHECK(hosts.admit(host(2), at(0)) == 0x64400001);
    CHECK(hosts.admit(host(1), at(500)) == 0x64400000);
    CHECK(hosts.find(host(2)) == 0x64400001);
    CHECK_FALSE(hosts.find(host(3)));
    CHECK(hosts.host_of(0x64400001) == host(2));
    CHECK_FALSE(hosts.host_of(0x64400002));
    CHECK_FALSE(hosts.host_of(0x6440ffff));
    CHECK_FALSE(hosts.host_of(0x01020304));
    CHECK(hosts.size() == 2);
}

TEST_CASE("when all addresses are taken the host silent for longest gives way, once its time is over and not before") {
    nat64_hosts hosts(config_of(3, 1000));
    for (unsigned n = 1; n <= 3; ++n) REQUIRE(hosts.admit(host(n), at(n)));
    REQUIRE(hosts.admit(host(1), at(500)));  // heard of again: host 2 is the oldest now
    CHECK_FALSE(hosts.admit(host(4), at(1001)));
    CHECK(hosts.find(host(2)));
    CHECK(hosts.admit(host(4), at(1002)) == 0x64400001);
    CHECK_FALSE(hosts.find(host(2)));
    CHECK(hosts.host_of(0x64400001) == host(4));
    CHECK(hosts.size() == 3);
}

TEST_CASE("an address is never taken back where the timeout is never") {
    nat64_hosts hosts(config_of(1, never));
    REQUIRE(hosts.admit(host(1), at(0)));
    CHECK_FALSE(hosts.admit(host(2), at(std::uint64_t{1} << 40)));
}

TEST_CASE("a prefix holds as many hosts as it has addresses, and host bits written in it count for nothing") {
    nat64_hosts hosts({{ip_address::v4(0x0a0000ff), 30}, 65536, 1000, 1});
    CHECK(hosts.capacity() == 4);
    for (unsigned n = 0; n < 4; ++n) CHECK(hosts.admit(host(n), at(0)) == 0x0a0000fc + n);
    CHECK_FALSE(hosts.admit(host(9), at(0)));
    CHECK(hosts.is_shadow(0x0a0000fc));
    CHECK(hosts.is_shadow(0x0a0000ff));
    CHECK_FALSE(hosts.is_shadow(0x0a0000fb));
    CHECK_FALSE(hosts.is_shadow(0x0a000100));
}

TEST_CASE("against a map: 30,000 hosts come and go through 512 addresses, and no two ever share one") {
    nat64_hosts hosts(config_of(512, 600));
    std::map<std::uint32_t, ipv6_bytes> owner;
    std::map<ipv6_bytes, std::pair<std::uint32_t, std::uint64_t>> known;  // address and when heard of
    std::mt19937 source(3);
    auto const random = [&source](unsigned below) { return static_cast<unsigned>(source()) % below; };
    std::uint64_t now = 0;
    std::size_t refused = 0, moved = 0;
    for (int round = 0; round < 60000; ++round) {
        now += random(2);
        ipv6_bytes const h = host(random(2) == 0 ? random(400) : random(30000));
        auto const got = hosts.admit(h, at(now));
        if (auto const found = known.find(h); found != known.end()) {
            REQUIRE(got == found->second.first);
            found->second.second = now;
        } else if (!got) {
            if (++refused % 64 != 1) continue;
            REQUIRE(std::all_of(known.begin(), known.end(), [now](auto const& k) { return now - k.second.second < 600; }));
        } else {
            if (owner.contains(*got)) {
                ++moved;
                REQUIRE(now - known.at(owner[*got]).second >= 600);
                known.erase(owner[*got]);
            }
            owner[*got] = h;
            known[h] = {*got, now};
        }
        if (round % 1000 == 0)
            for (auto const& [address, entry] : known) {
                REQUIRE(hosts.find(address) == entry.first);
                REQUIRE(hosts.host_of(entry.first) == address);
            }
    }
    CHECK(moved > 1000);
    CHECK(known.size() == hosts.size());
    CHECK(refused > 1000);
}

TEST_CASE("only a packet's sender is given an address; what stands in the pool is no IPv4 host") {
    nat64_hosts hosts(config_of(1));
    nat64_prefix const prefix;
    ipv6_bytes const sender = host(1);
    nat64_host_addresses map(prefix, hosts, at(0), &sender);
    CHECK_FALSE(map.to_v4(host(2)));
    CHECK(hosts.size() == 0);
    CHECK(map.to_v4(sender) == 0x64400000);
    CHECK_FALSE(map.full());
    CHECK(map.to_v4(*prefix.to_v6(0xc0000221)) == 0xc0000221);
    CHECK_FALSE(map.to_v4(*prefix.to_v6(0x64400000)));
    CHECK(map.to_v6(0x64400000) == sender);
    CHECK_FALSE(map.to_v6(0x64400001));
    CHECK(map.to_v6(0xc0000221) == prefix.to_v6(0xc0000221));
    ipv6_bytes const second = host(2);
    nat64_host_addresses later(prefix, hosts, at(10), &second);
    CHECK_FALSE(later.to_v4(second));
    CHECK(later.full());
}
