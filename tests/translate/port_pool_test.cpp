// SPDX-License-Identifier: BSL-1.0
// The port pool: exact to the last port, quarantine, marks, blocks and slices.
#include <halfproxy/translate/port_pool.hpp>

#include <doctest/doctest.h>

#include <set>
#include <vector>

using namespace halfproxy;

namespace {

using shared_ports = ports_by_destination<std::uint32_t>;
constexpr shared_ports::destination server{0xc6336450, 443}, other_server{0xc6336451, 443};

/// Every port once, then none; what came back is all there is again.
template <class Pool>
void exhaust(Pool& pool, typename Pool::destination const& to) {
    std::set<std::uint16_t> given;
    for (int n = 0; n < 64'512; ++n) {
        port_grant const g = pool.allocate({.to = to}, {});
        REQUIRE(g);
        REQUIRE(given.insert(g.port).second);
    }
    CHECK(*given.begin() == 1024);
    CHECK(*given.rbegin() == 65535);
    for (int n = 0; n < 256; ++n) CHECK(pool.allocate({.to = to}, {}).refusal == port_refusal::exhausted);
    CHECK(pool.counters().exhausted == 256);
    std::set<std::uint16_t> freed;
    for (std::uint16_t const port : given)
        if (port % 7 == 3) {
            pool.release(0, port, to, {});
            freed.insert(port);
        }
    for (std::size_t n = freed.size(); n > 0; --n) {
        port_grant const g = pool.allocate({.to = to}, {});
        REQUIRE(g);
        REQUIRE(freed.erase(g.port) == 1);
    }
    CHECK(pool.allocate({.to = to}, {}).refusal == port_refusal::exhausted);
    CHECK(pool.held() == 64'512);
}

}  // namespace

TEST_CASE("64,512 ports of one address to one destination succeed, each once, the next fails as exhausted; after closing k exactly k succeed") {
    for (port_order const order : {port_order::random, port_order::sequential}) {
        port_pool<> whole({.order = order, .seed = 7});
        exhaust(whole, {});
        port_pool<shared_ports> by({.order = order, .seed = 7}, 200'000);
        exhaust(by, server);
        CHECK(by.allocate({.to = other_server}, {}));  // another destination may share a port
    }
}

TEST_CASE("a pool of ports by destination that has no room says so, and not that ports are exhausted") {
    port_pool<shared_ports> by({}, 10);
    for (std::uint16_t n = 0; n < 10; ++n) CHECK(by.allocate({.to = {1, n}}, {}));
    CHECK(by.allocate({.to = server}, {}).refusal == port_refusal::no_room);
    CHECK(by.refusal_of({.to = server}, {}) == port_refusal::no_room);
    CHECK(by.counters().no_room == 1);
    CHECK(by.counters().exhausted == 0);
}

TEST_CASE("random ports are spread over the range and differ by seed (RFC 6056 section 3.3)") {
    auto const first = [](std::uint64_t seed) {
        port_pool<> pool({.seed = seed});
        std::vector<std::uint16_t> ports;
        for (int n = 0; n < 1000; ++n) ports.push_back(pool.allocate({}, {}).port);
        return ports;
    };
    auto const a = first(1), b = first(2);
    CHECK(a == first(1));
    int same = 0, quarters[4] = {};
    for (std::size_t i = 0; i < a.size(); ++i) {
        same += a[i] == b[i];
        ++quarters[(a[i] - 1024) / 16'128];
    }
    CHECK(same < 5);
    for (int const q : quarters) CHECK(q > 190);  // expected 250, deviation 14
}

TEST_CASE("sequential ports go up and round") {
    port_pool<> pool({.ports = {10, 12}, .order = port_order::sequential});
    CHECK(pool.allocate({}, {}).port == 10);
    pool.release(0, 10, {}, {});
    CHECK(pool.allocate({}, {}).port == 11);
    CHECK(pool.allocate({}, {}).port == 12);
    CHECK(pool.allocate({}, {}).port == 10);
    CHECK_FALSE(pool.allocate({}, {}));
}

TEST_CASE("the inside port is preserved while it is free and in the range (RFC 4787 section 4.2.1)") {
    port_pool<> pool({.preserve = true});
    CHECK(pool.allocate({.inside_port = 40'000}, {}).port == 40'000);
    CHECK(pool.allocate({.inside_port = 40'000}, {}).port != 40'000);
    CHECK(pool.allocate({.inside_port = 1024}, {}).port == 1024);
    CHECK(pool.allocate({.inside_port = 65'535}, {}).port == 65'535);
    CHECK(pool.allocate({.inside_port = 80}, {}).port >= 1024);
    CHECK(pool.counters().preserved == 3);
}

TEST_CASE("even ports get even ones, odd ports odd ones, to the last of them (RFC 4787 REQ-4)") {
    port_pool<> pool({.ports = {1024, 1223}, .keep_parity = true});
    for (int n = 0; n < 100; ++n) CHECK(pool.allocate({.inside_port = 5004}, {}).port % 2 == 0);
    CHECK(pool.allocate({.inside_port = 5004}, {}).refusal == port_refusal::exhausted);
    for (int n = 0; n < 100; ++n) CHECK(pool.allocate({.inside_port = 5005}, {}).port % 2 == 1);
    CHECK(pool.allocate({.inside_port = 5005}, {}).refusal == port_refusal::exhausted);
}

TEST_CASE("a port that comes back waits, to the millisecond, and is then free whether expire() was called or not (RFC 6888 REQ-8)") {
    port_pool<> pool({.ports = {10, 11}, .quarantine = 1000});
    std::uint16_t const first = pool.allocate({}, {}).port, second = pool.allocate({}, {}).port;
    pool.release(0, first, {}, {100});
    pool.release(0, second, {}, {400});
    CHECK(pool.quarantined() == 2);
    CHECK(pool.held() == 0);
    CHECK(pool.next_deadline() == stamp_ms{1100});
    CHECK(pool.allocate({}, {1099}).refusal == port_refusal::exhausted);
    CHECK(pool.refusal_of({}, {1100}) == port_refusal::none);
    CHECK(pool.allocate({}, {1100}).port == first);
    CHECK(pool.expire({1399}, 8) == 0);
    CHECK(pool.expire({1400}, 8) == 1);
    CHECK(pool.allocate({}, {1400}).port == second);
    CHECK_FALSE(pool.next_deadline());
}

TEST_CASE("ports by destination wait for their own destination only") {
    port_pool<shared_ports> by({.ports = {10, 10}, .quarantine = 1000}, 8);
    CHECK(by.allocate({.to = server}, {}).port == 10);
    by.release(0, 10, server, {0});
    CHECK(by.allocate({.to = server}, {999}).refusal == port_refusal::exhausted);
    CHECK(by.allocate({.to = other_server}, {999}).port == 10);
    CHECK(by.allocate({.to = server}, {1000}).port == 10);
}

TEST_CASE("of more ports than may wait the longest waiting is free early, and that is counted") {
    port_pool<> pool({.ports = {10, 19}, .quarantine = 1000, .quarantined = 3});
    std::vector<std::uint16_t> ports;
    for (int n = 0; n < 10; ++n) ports.push_back(pool.allocate({}, {}).port);
    for (std::size_t n = 0; n < 5; ++n) pool.release(0, ports[n], {}, {static_cast<std::uint32_t>(n)});
    CHECK(pool.quarantined() == 3);
    CHECK(pool.counters().quarantine_cut == 2);
    std::set<std::uint16_t> const early{pool.allocate({}, {5}).port, pool.allocate({}, {5}).port};
    CHECK(early == std::set<std::uint16_t>{ports[0], ports[1]});
    CHECK_FALSE(pool.allocate({}, {5}));
}

TEST_CASE("time may wrap while ports wait") {
    port_pool<> pool({.ports = {10, 10}, .quarantine = 1000});
    CHECK(pool.allocate({}, {0xffff'fff0u}).port == 10);
    pool.release(0, 10, {}, {0xffff'fff0u});
    CHECK_FALSE(pool.allocate({}, {100}));
    CHECK(pool.allocate({}, {984}).port == 10);
}

TEST_CASE("each mark tells once when it is crossed, quarantine included") {
    port_pool<> pool({.ports = {100, 199}, .quarantine = 10, .high_percent = 90, .low_percent = 50});
    std::vector<bool> events;
    auto const note = [&](port_pool_event const& e) {
        events.push_back(e.pressure);
        CHECK(e.limit == 100);
        CHECK(e.taken == (e.pressure ? 90 : 50));
    };
    for (std::uint16_t n = 0; n < 95; ++n) CHECK(pool.allocate({}, {}, note));
    CHECK(events == std::vector{true});
    std::uint32_t now = 0;
    for (std::uint16_t p = 100, back = 0; back < 60; ++p) {
        if (p == 200) break;
        ++back;
        pool.release(0, p, {}, {now}, note);
    }
    CHECK(pool.under_pressure());  // they still wait
    while (pool.expire({10}, 1, note) != 0) {}
    CHECK(events == std::vector{true, false});
    CHECK(pool.counters().pressures == 1);
}

TEST_CASE("a request may be held to a part of the range, and outside of it nothing is given") {
    port_pool<> pool({.addresses = 2});
    std::set<std::uint16_t> ports;
    for (int n = 0; n < 10; ++n) ports.insert(pool.allocate({.address = 1, .within = {2000, 2009}}, {}).port);
    CHECK(ports.size() == 10);
    CHECK(*ports.begin() == 2000);
    CHECK(*ports.rbegin() == 2009);
    CHECK(pool.allocate({.address = 1, .within = {2000, 2009}}, {}).refusal == port_refusal::exhausted);
    CHECK(pool.allocate({.address = 0, .within = {2000, 2009}}, {}));
    CHECK(pool.allocate({.within = {1, 1023}}, {}).refusal == port_refusal::exhausted);
}

TEST_CASE("slices of shards cover the range once, and a port tells its shard") {
    for (port_range const ports : {port_range{1024, 65535}, port_range{0, 65535}, port_range{7, 29}})
        for (std::uint32_t count = 1; count <= 23; ++count) {
            std::uint32_t next = ports.first;
            for (std::uint32_t shard = 0; shard < count; ++shard) {
                port_range const slice = shard_slice(ports, shard, count);
                REQUIRE(slice.first == next);
                REQUIRE(slice.last >= slice.first);
                next = slice.last + 1u;
                REQUIRE(shard_of_port(ports, slice.first, count) == shard);
                REQUIRE(shard_of_port(ports, slice.last, count) == shard);
            }
            REQUIRE(next == ports.last + 1u);
        }
}

TEST_CASE("a subscriber's block is a function of its number, and the number of any port in it (RFC 7422 section 2)") {
    port_blocks const blocks{.addresses = 3, .ports = {1024, 65535}, .block_ports = 1000};
    CHECK(blocks.per_address() == 64);
    CHECK(blocks.subscribers() == 192);
    std::set<std::pair<std::uint32_t, std::uint16_t>> seen;
    for (std::uint64_t s = 0; s < blocks.subscribers(); ++s) {
        auto const block = blocks.of(s);
        REQUIRE(block);
        REQUIRE(block->ports.last - block->ports.first == 999);
        REQUIRE(seen.insert({block->address, block->ports.first}).second);
        REQUIRE(blocks.subscriber_of(block->address, block->ports.first) == s);
        REQUIRE(blocks.subscriber_of(block->address, block->ports.last) == s);
    }
    CHECK_FALSE(blocks.of(192));
    CHECK_FALSE(blocks.subscriber_of(0, 65'024));  // behind the last whole block
    CHECK_FALSE(blocks.subscriber_of(3, 1024));
}
