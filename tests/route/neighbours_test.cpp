// SPDX-License-Identifier: BSL-1.0
// The neighbour cache in virtual time: what is asked when, what is believed, what waits and what fails.
#include <halfproxy/route/neighbours.hpp>

#include "tests/support/timeline.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace halfproxy;
using namespace halfproxy::test;
using namespace std::chrono_literals;

namespace {

constexpr mac_address mac_a{2, 0, 0, 0, 0, 0xa}, mac_b{2, 0, 0, 0, 0, 0xb};
ip_address const server = ip_address::v4(0xc6336450);

ip_address host(std::uint32_t n) { return ip_address::v4(0xc6336400 + n); }

/// A cache, the questions it asked as text, and the lengths of the packets that waited in vain.
struct lab {
    explicit lab(neighbour_config const& config = {}) : cache(config) {}

    neighbour_cache cache;
    time_point now{std::chrono::hours(1)};
    std::vector<std::string> asked;
    std::vector<std::uint32_t> failed;
    bool busy = false;

    neighbour* use(ip_address const& a = server) { return cache.use(side::inside, a, now); }
    void run() {
        cache.run(
            now,
            [&](neighbour const& n, mac_address const* at) {
                if (busy) return false;
                asked.push_back(std::to_string(n.address.bytes[3]) + (at == nullptr ? " all" : at->back() == 0xa ? " a" : " b"));
                return true;
            },
            [&](frame& f) { failed.push_back(f.length); });
    }
    /// Lets time pass, running what is due at its time.
    void pass(std::chrono::milliseconds d) {
        time_point const end = now + d;
        for (auto due = cache.next_deadline(); due && *due <= end; due = cache.next_deadline()) {
            now = std::max(now, *due);
            run();
        }
        now = end;
    }
    neighbour* answer(mac_address const& mac, bool asked_for = true, ip_address const& a = server) {
        return cache.hear(side::inside, a, mac, asked_for, now);
    }
    drop_reason wait(std::uint32_t bytes, ip_address const& a = server) {
        byte_string content(bytes);
        frame f;
        f.data = content.data();
        f.length = f.wire_length = f.capacity = bytes;
        return cache.wait(*use(a), f);
    }
    neighbour_state state(ip_address const& a = server) const {
        neighbour const* const n = cache.find(side::inside, a);
        return n == nullptr ? neighbour_state::unused : n->state;
    }
    void resolve(mac_address const& mac = mac_a, ip_address const& a = server) {
        static_cast<void>(use(a));
        run();
        answer(mac, true, a);
        REQUIRE(state(a) == neighbour_state::reachable);
        asked.clear();
    }
};

}  // namespace

TEST_CASE("a neighbour is asked for among everybody, once, and reachable when it answers") {
    lab l;
    neighbour* const n = l.use();
    CHECK(n->state == neighbour_state::incomplete);
    CHECK(!n->has_mac());
    CHECK(l.cache.next_deadline() == l.now);
    l.run();
    l.run();
    CHECK(l.asked == std::vector<std::string>{"80 all"});
    l.pass(300ms);
    CHECK(l.answer(mac_a) == n);
    CHECK(n->has_mac());
    CHECK(n->mac == mac_a);
    CHECK(!l.cache.next_deadline());
    CHECK(l.cache.counters().resolved == 1);
}

TEST_CASE("nobody enters the cache unasked: not before the question, not by an announcement, not under another address (RFC 5227)") {
    lab l;
    CHECK(l.answer(mac_a) == nullptr);
    CHECK(l.state() == neighbour_state::unused);
    static_cast<void>(l.use());
    CHECK(l.answer(mac_a) == nullptr);  // the question has not left yet
    CHECK(l.state() == neighbour_state::incomplete);
    l.run();
    CHECK(l.answer(mac_a, false) == nullptr);
    CHECK(l.state() == neighbour_state::incomplete);
    CHECK(l.cache.hear(side::outside, server, mac_a, true, l.now) == nullptr);
    CHECK(l.cache.hear(side::inside, server, std::nullopt, true, l.now) == nullptr);
    CHECK(l.state() == neighbour_state::incomplete);
    CHECK(l.cache.counters().not_believed == 5);
    CHECK(l.answer(mac_a) != nullptr);
}

TEST_CASE("three questions a second apart, then it has failed, for three seconds; what waited is given back") {
    lab l;
    CHECK(l.wait(100) == drop_reason::none);
    CHECK(l.wait(101) == drop_reason::none);
    l.pass(2'999ms);
    CHECK(l.asked.size() == 3);
    CHECK(l.failed.empty());
    CHECK(l.state() == neighbour_state::incomplete);
    l.pass(1ms);
    CHECK(l.state() == neighbour_state::failed);
    CHECK(l.failed == std::vector<std::uint32_t>{100, 101});
    CHECK(l.cache.waiting().waiting() == 0);
    CHECK(!l.cache.next_deadline());
    CHECK(l.wait(102) == drop_reason::neighbour_unresolved);
    l.pass(2'999ms);
    CHECK(l.wait(103) == drop_reason::neighbour_unresolved);
    CHECK(l.asked.size() == 3);
    l.pass(1ms);
    CHECK(l.wait(104) == drop_reason::none);
    l.run();
    CHECK(l.asked.size() == 4);
    CHECK(l.answer(mac_a) != nullptr);
}

TEST_CASE("what waits beyond the limit of one neighbour pushes out the oldest; beyond all slots it is refused (RFC 4861 section 7.2.2)") {
    lab l({.waiting_frames = 4, .waiting_frame_bytes = 200, .waiting_each = 3});
    for (std::uint32_t bytes : {10u, 11u, 12u, 13u}) CHECK(l.wait(bytes) == drop_reason::none);
    CHECK(l.cache.dropped() == 1);
    CHECK(l.cache.waiting().waiting() == 3);
    CHECK(l.wait(20, host(1)) == drop_reason::none);
    CHECK(l.wait(21, host(2)) == drop_reason::neighbour_queue_full);
    CHECK(l.wait(201) == drop_reason::neighbour_queue_full);
    CHECK(l.cache.dropped() == 1);
    l.pass(3'000ms);
    CHECK(l.failed == std::vector<std::uint32_t>{11, 12, 13, 20});
}

TEST_CASE("a neighbour silent for the reachable time is used on, asked at its address, and stays when it answers (RFC 4861 section 7.3)") {
    lab l;
    l.resolve();
    l.pass(29'999ms);
    CHECK(l.use()->state == neighbour_state::reachable);
    l.pass(1ms);
    neighbour* const n = l.use();
    CHECK(n->state == neighbour_state::probe);
    CHECK(n->has_mac());
    l.run();
    CHECK(l.asked == std::vector<std::string>{"80 a"});
    l.answer(mac_a);
    CHECK(n->state == neighbour_state::reachable);
    CHECK(l.cache.counters().confirmed == 1);
    CHECK(!l.cache.next_deadline());
}

TEST_CASE("one that stops answering is asked for among everybody while it is used, and its new link address taken") {
    lab l;
    l.resolve();
    l.pass(30'000ms);
    static_cast<void>(l.use());
    l.run();
    l.pass(1'000ms);
    CHECK(l.use()->mac == mac_a);
    l.pass(2'000ms);
    CHECK(l.state() == neighbour_state::incomplete);
    CHECK(l.asked == std::vector<std::string>{"80 a", "80 a", "80 a", "80 all"});
    CHECK(l.answer(mac_b) != nullptr);
    CHECK(l.use()->mac == mac_b);
}

TEST_CASE("one that stops answering and is not used any more is forgotten") {
    lab l;
    l.resolve();
    l.pass(30'000ms);
    static_cast<void>(l.use());
    l.pass(10'000ms);
    CHECK(l.state() == neighbour_state::unused);
    CHECK(l.asked.size() == 3);
    CHECK(!l.cache.next_deadline());
}

TEST_CASE("an announcement of another link address makes us ask everybody; the one who has the address keeps it by answering") {
    lab l;
    l.resolve();
    l.pass(2'000ms);
    CHECK(l.answer(mac_b, false) == nullptr);
    CHECK(l.use()->mac == mac_a);
    l.run();
    CHECK(l.asked == std::vector<std::string>{"80 all"});
    l.answer(mac_a);
    l.answer(mac_b);  // too late: a second long nothing else is believed
    CHECK(l.use()->mac == mac_a);
    CHECK(l.state() == neighbour_state::reachable);
    CHECK(l.cache.counters().confirmed == 1);
    CHECK(l.cache.counters().not_believed == 1);
}

TEST_CASE("an announcement of a host that has moved leads to its new link address at once, and without an answer to none") {
    lab l;
    l.resolve();
    l.pass(2'000ms);
    l.answer(mac_b, false);
    CHECK(l.use()->mac == mac_a);
    l.run();
    l.answer(mac_b);
    CHECK(l.use()->mac == mac_b);
    CHECK(l.cache.counters().moved == 1);

    l.pass(2'000ms);
    l.answer(mac_a, false);
    l.pass(5'000ms);
    CHECK(l.state() == neighbour_state::unused);
}

TEST_CASE("an announcement of the link address that is known changes nothing, and confirms nothing") {
    lab l;
    l.resolve();
    l.pass(29'000ms);
    l.answer(mac_a, false);
    l.pass(1'000ms);
    CHECK(l.use()->state == neighbour_state::probe);
    l.answer(mac_a);  // unasked still: the question has not left
    CHECK(l.state() == neighbour_state::probe);
}

TEST_CASE("questions to everybody are limited over all; those that had to wait come later, and count as none") {
    lab l({.new_questions_per_second = 10});
    for (std::uint32_t i = 1; i <= 30; ++i) static_cast<void>(l.use(host(i)));
    l.run();
    CHECK(l.asked.size() == 10);
    l.pass(900ms);
    CHECK(l.asked.size() <= 19);
    CHECK(l.asked.size() >= 17);
}

TEST_CASE("a question that cannot leave now is asked soon after") {
    lab l;
    static_cast<void>(l.use());
    l.busy = true;
    l.run();
    CHECK(l.asked.empty());
    l.busy = false;
    l.pass(20ms);
    CHECK(l.asked.size() == 1);
}

TEST_CASE("a scan of a connected prefix fills a quarter of the cache at most, and pushes out no known neighbour (RFC 6583)") {
    lab l({.capacity = 64, .new_questions_per_second = 1'000'000});
    for (std::uint32_t i = 0; i < 40; ++i) l.resolve(mac_a, ip_address::v4(0x0a000000 + i));
    for (std::uint32_t i = 0; i < 5'000; ++i) {
        static_cast<void>(l.use(ip_address::v4(0x0b000000 + i)));
        if (i % 100 == 0) l.pass(10ms);
    }
    for (std::uint32_t i = 0; i < 40; ++i) CHECK(l.state(ip_address::v4(0x0a000000 + i)) == neighbour_state::reachable);
    std::uint32_t incomplete = 0;
    for (std::uint32_t i = 0; i < 5'000; ++i) incomplete += l.state(ip_address::v4(0x0b000000 + i)) == neighbour_state::incomplete ? 1 : 0;
    CHECK(incomplete == 16);
}

TEST_CASE("full of known neighbours, the cache gives up one nobody sent to for a minute, and none before") {
    lab l({.capacity = 8, .new_questions_per_second = 1'000'000});
    for (std::uint32_t i = 0; i < 8; ++i) l.resolve(mac_a, host(i));
    CHECK(l.use(host(100)) == nullptr);
    l.pass(50'000ms);
    for (std::uint32_t i = 1; i < 8; ++i) {
        static_cast<void>(l.use(host(i)));
        l.run();
        l.answer(mac_a, true, host(i));
    }
    l.pass(10'000ms);
    CHECK(l.use(host(100)) != nullptr);
    CHECK(l.state(host(0)) == neighbour_state::unused);
    for (std::uint32_t i = 1; i < 8; ++i) CHECK(l.state(host(i)) != neighbour_state::unused);
    CHECK(l.cache.counters().evicted == 1);
}

TEST_CASE("neighbours of both families and ports with equal bytes are different ones") {
    lab l;
    l.resolve();
    CHECK(!l.cache.use(side::outside, server, l.now)->has_mac());
    ip_address six{6, server.bytes};
    CHECK(!l.use(six)->has_mac());
}
