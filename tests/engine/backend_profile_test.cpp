// SPDX-License-Identifier: BSL-1.0
// The table of what is known of servers: fixed in size, forgetting by age, configured ones never.
#include <halfproxy/engine/backend_profile.hpp>

#include <doctest/doctest.h>

#include <random>

using namespace halfproxy;

namespace {

backend_key server(std::uint32_t n) { return server_of(ipv4_tuple{1, n, 2, 80}, 0); }

backend_profile of_mss(std::uint16_t mss) { return {.mss = mss}; }

}  // namespace

TEST_CASE("a profile is found under its address, port and VLAN alone") {
    backend_table table(64, 1000, 7);
    CHECK(table.empty());
    ipv6_tuple six{};
    six.destination[15] = 9;
    six.destination_port = 443;
    table.learn(server_of(six, 5), of_mss(1400), {0});
    CHECK_FALSE(table.empty());
    REQUIRE(table.find(server_of(six, 5), {0}) != nullptr);
    CHECK(table.find(server_of(six, 5), {0})->mss == 1400);
    CHECK(table.find(server_of(six, 6), {0}) == nullptr);
    six.destination_port = 444;
    CHECK(table.find(server_of(six, 5), {0}) == nullptr);
    six.destination_port = 443;
    six.destination[0] = 1;
    CHECK(table.find(server_of(six, 5), {0}) == nullptr);
    six.source_port = 9;  // the client's own part does not matter
    six.destination[0] = 0;
    CHECK(table.find(server_of(six, 5), {0}) != nullptr);
}

TEST_CASE("what a SYN-ACK could not say leaves what was known") {
    backend_table table(64, never, 7);
    tcp_options full;
    full.has_mss = full.has_window_scale = full.sack_permitted = full.has_timestamps = true;
    full.mss = 1460;
    full.window_scale = 20;  // at most 14 counts (RFC 7323 section 2.3)
    table.learn(server(1), profile_of(full, {true, true, true}), {0});
    table.learn(server(1), profile_of({}, {}), {1});
    backend_profile const* p = table.find(server(1), {1});
    REQUIRE(p != nullptr);
    CHECK(p->mss == 1460);
    CHECK(p->window_scale == 14);
    CHECK(p->scaling == known::yes);
    CHECK(p->timestamps == known::yes);
    table.learn(server(1), profile_of({}, {true, true, true}), {2});
    CHECK(p->scaling == known::no);
    CHECK(p->sack == known::no);
    CHECK(p->timestamps == known::no);
}

TEST_CASE("a profile lives its age from the last confirmation, across the wrap of stamps") {
    backend_table table(4, 1000, 7);
    table.learn(server(1), of_mss(1), {0xffff'fe00u});
    CHECK(table.find(server(1), {0xffff'fe00u + 999}) != nullptr);
    CHECK(table.find(server(1), {0xffff'fe00u + 1000}) == nullptr);
    table.learn(server(1), of_mss(2), {0xffff'fe00u + 900});
    CHECK(table.find(server(1), {0xffff'fe00u + 1899}) != nullptr);
    table.learn(server(1), {.sack = known::yes}, {0xffff'fe00u + 5000});
    CHECK(table.find(server(1), {0xffff'fe00u + 5000})->mss == 0);  // what was forgotten does not come back
}

TEST_CASE("a full set gives up the profile confirmed longest ago; memory stays") {
    backend_table table(4, never, 7);  // one set
    std::size_t const memory = table.memory_bytes();
    for (std::uint32_t n = 0; n < 4; ++n) table.learn(server(n), of_mss(1), {n});
    table.learn(server(0), of_mss(1), {10});
    table.learn(server(9), of_mss(1), {11});
    CHECK(table.find(server(1), {11}) == nullptr);
    for (std::uint32_t n : {0u, 2u, 3u, 9u}) CHECK(table.find(server(n), {11}) != nullptr);
    for (std::uint32_t n = 0; n < 10'000; ++n) table.learn(server(n), of_mss(1), {12});
    CHECK(table.memory_bytes() == memory);
    CHECK(memory == backend_table::memory_bytes(4));
}

TEST_CASE("of a large table nearly all servers stay known; a table of none learns nothing") {
    backend_table table(4096, never, 99);
    for (std::uint32_t n = 0; n < 2048; ++n) table.learn(server(0x0a00'0000u + n), of_mss(9), {n});
    int found = 0;
    for (std::uint32_t n = 0; n < 2048; ++n) found += table.find(server(0x0a00'0000u + n), {3000}) != nullptr;
    CHECK(found > 1950);
    backend_table none(0, never, 7);
    none.learn(server(1), of_mss(1), {0});
    CHECK(none.empty());
    CHECK(none.find(server(1), {0}) == nullptr);
}

TEST_CASE("every configured server is found, however they fall together, and never forgotten") {
    for (std::uint64_t seed : {1u, 2u, 3u}) {
        std::vector<configured_backend> servers;
        for (std::uint32_t n = 0; n < 300; ++n)
            servers.push_back({n % 2 == 0 ? ip_address::v4(n) : ip_address::v6({1, static_cast<std::uint8_t>(n), static_cast<std::uint8_t>(n >> 8)}),
                               80, of_mss(static_cast<std::uint16_t>(1 + n))});
        backend_table const table(servers, seed);
        for (std::uint32_t n = 0; n < 300; ++n) {
            ipv6_tuple six{};
            six.destination = {1, static_cast<std::uint8_t>(n), static_cast<std::uint8_t>(n >> 8)};
            six.destination_port = 80;
            backend_profile const* const p = table.find(n % 2 == 0 ? server(n) : server_of(six, 0), {0x7fff'ffffu});
            REQUIRE(p != nullptr);
            CHECK(p->mss == 1 + n);
        }
    }
    CHECK(backend_table(std::span<configured_backend const>{}, 1).empty());
}
