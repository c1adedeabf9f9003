// SPDX-License-Identifier: BSL-1.0
// Clients that come back to the same server.
#include <halfproxy/balance/persistence.hpp>

#include <doctest/doctest.h>

using namespace halfproxy;

namespace {

time_point at_ms(std::int64_t ms) { return time_point(std::chrono::milliseconds(ms)); }
ip_address v4(std::uint32_t a) { return ip_address::v4(a); }

}  // namespace

TEST_CASE("a client is remembered until its time is over, to the millisecond") {
    persistence_table table(100, 1);
    table.remember(0, v4(7), 42, at_ms(1000), 300);
    CHECK(table.find(0, v4(7), at_ms(1000)) == 42);
    CHECK(table.find(0, v4(7), at_ms(1299)) == 42);
    CHECK_FALSE(table.find(0, v4(7), at_ms(1300)));
    CHECK_FALSE(table.find(0, v4(8), at_ms(1000)));
}

TEST_CASE("remembering again begins the time anew, and takes no second place") {
    persistence_table table(1, 1);
    for (std::uint32_t client = 0; client < 8; ++client) table.remember(0, v4(client), client, at_ms(client), 1000);
    for (int i = 0; i < 20; ++i) table.remember(0, v4(3), 99, at_ms(500), 1000);
    for (std::uint32_t client = 0; client < 8; ++client) CHECK(table.find(0, v4(client), at_ms(900)) == (client == 3 ? 99 : client));
    CHECK(table.find(0, v4(3), at_ms(1499)) == 99);
}

TEST_CASE("a full set forgets who would be forgotten first") {
    persistence_table table(8, 1);
    REQUIRE(table.memory_bytes() == 192);
    for (std::uint32_t client = 0; client < 8; ++client) table.remember(0, v4(client), client, at_ms(0), 1000 + 10 * ((client + 5) % 8));
    table.remember(0, v4(100), 5, at_ms(0), 2000);
    CHECK_FALSE(table.find(0, v4(3), at_ms(1)));
    CHECK(table.find(0, v4(100), at_ms(1)) == 5);
    for (std::uint32_t client : {0u, 1u, 2u, 4u, 5u, 6u, 7u}) CHECK(table.find(0, v4(client), at_ms(1)) == client);
}

TEST_CASE("groups know nothing of each other") {
    persistence_table table(100, 1);
    table.remember(1, v4(7), 42, at_ms(0), 300);
    CHECK_FALSE(table.find(2, v4(7), at_ms(0)));
    CHECK(table.find(1, v4(7), at_ms(0)) == 42);
}

TEST_CASE("a network is what its first bits say, at every length of both families") {
    for (unsigned length = 0; length <= 32; ++length) {
        persistence_prefixes const lengths{static_cast<std::uint8_t>(length), 64};
        std::uint32_t const mask = length == 0 ? 0 : ~std::uint32_t{0} << (32 - length);
        CHECK(persistent_network(v4(0xdead'beef), lengths) == v4(0xdead'beef & mask));
    }
    ipv6_bytes ones;
    ones.fill(0xff);
    for (unsigned length = 0; length <= 128; ++length) {
        ip_address const network = persistent_network(ip_address::v6(ones), {32, static_cast<std::uint8_t>(length)});
        unsigned set = 0;
        for (std::size_t bit = 0; bit < 128; ++bit) set += network.bytes[bit / 8] >> (7 - bit % 8) & 1u;
        CHECK(set == length);
        if (length > 0 && length < 128) CHECK((network.bytes[(length - 1) / 8] >> (7 - (length - 1) % 8) & 1u) == 1);
    }
}

TEST_CASE("without room nothing is remembered and no memory taken") {
    persistence_table table(0, 1);
    table.remember(0, v4(7), 42, at_ms(0), 300);
    CHECK_FALSE(table.find(0, v4(7), at_ms(0)));
    CHECK(table.memory_bytes() == 0);
    CHECK(persistence_table::memory_bytes(0) == 0);
    CHECK(persistence_table::memory_bytes(1000) == 128 * 192);
}

TEST_CASE("a table filled to half of its room forgets hardly anybody") {
    persistence_table table(8192, 1);
    for (std::uint32_t client = 0; client < 4096; ++client) table.remember(0, v4(client), client, at_ms(0), 1000);
    int known = 0;
    for (std::uint32_t client = 0; client < 4096; ++client) known += table.find(0, v4(client), at_ms(1)) == client;
    CHECK(known > 4096 * 97 / 100);
}
