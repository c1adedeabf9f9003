// SPDX-License-Identifier: BSL-1.0
// Backends that come, go, drain, fail, start slowly and reach their limits.
#include <halfproxy/balance/backend_pool.hpp>

#include <halfproxy/core/random.hpp>

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <functional>
#include <map>
#include <string>

using namespace halfproxy;

namespace {

/// Of RapidCheck's choice. One instantiation for all tests: each of its own would take seconds to compile.
void for_seeds(std::function<void(std::uint64_t)> const& holds) {
    CHECK(rc::check([&holds](std::uint64_t seed) { holds(seed); }));
}

time_point at_ms(std::int64_t ms) { return time_point(std::chrono::milliseconds(ms)); }

backend server(std::uint32_t number, std::uint16_t weight = 1) {
    backend b;
    b.address = ip_address::v4(0x0a00'0001u + number);
    b.port = 80;
    b.weight = weight;
    return b;
}

std::vector<backend> servers(std::uint32_t count) {
    std::vector<backend> all;
    for (std::uint32_t i = 0; i < count; ++i) all.push_back(server(i));
    return all;
}

template <class S = round_robin_scheduler>
struct bench {
    backend_pool<S> pool;
    std::int64_t now = 1'000'000;

    explicit bench(std::vector<backend> const& all, pool_config const& config = {}, std::uint32_t capacity = 8) : pool(config, S(capacity)) {
        pool.tick(at_ms(now));
        REQUIRE(pool.configure(all, true));
    }
    void wait(std::int64_t ms) { pool.tick(at_ms(now += ms)); }
    std::string open(int count) {
        std::string got;
        for (int i = 0; i < count; ++i) {
            pool_choice const c = pool.choose({});
            got += c ? static_cast<char>('a' + c.index) : c.limited ? '!' : '-';
            if (c) pool.opened(c.index);
        }
        return got;
    }
};

}  // namespace

TEST_CASE("flows are counted while they are open") {
    bench b(servers(2));
    CHECK(b.open(5) == "ababa");
    CHECK(b.pool.open(0) == 3);
    b.pool.closed(0);
    CHECK(b.pool.open(0) == 2);
    CHECK(b.pool.opened_total(0) == 3);
    CHECK(b.pool.open(1) == 2);
    CHECK(b.pool.ready() == 2);
}

TEST_CASE("a draining backend keeps its flows and gets none, and comes back at once") {
    bench b(servers(3), {.slow_start = 10'000});
    b.open(6);
    b.pool.set_state(1, backend_state::draining);
    CHECK_FALSE(b.pool.takes(1));
    CHECK(b.open(4) == "acac");
    CHECK(b.pool.open(1) == 2);
    CHECK_FALSE(b.pool.gives_up_flows(1));
    b.pool.set_state(1, backend_state::up);
    CHECK(b.pool.share(1).now == b.pool.share(1).full);
    CHECK(b.open(3).find('b') != std::string::npos);
}

TEST_CASE("weight 0 takes nothing new, also when it is set while flows are open") {
    bench b(servers(2));
    b.open(2);
    b.pool.set_weight(0, 0);
    CHECK(b.open(3) == "bbb");
    CHECK(b.pool.open(0) == 1);
    b.pool.set_weight(1, 0);
    CHECK(b.open(1) == "-");
    b.pool.set_weight(0, 2);
    CHECK(b.open(2) == "aa");
}

TEST_CASE("what becomes of the flows of a backend that is down is the service's to say") {
    for (on_down const policy : {on_down::leave, on_down::reset, on_down::move}) {
        bench b(servers(2), {.on_down = policy});
        CHECK_FALSE(b.pool.gives_up_flows(0));
        b.pool.set_state(0, backend_state::down);
        CHECK(b.pool.gives_up_flows(0) == (policy != on_down::leave));
        CHECK_FALSE(b.pool.gives_up_flows(1));
        CHECK(b.open(2) == "bb");
    }
}

TEST_CASE("no more flows are open than the limit, and one that ends makes room for one") {
    auto all = servers(2);
    all[0].connections = 2;
    all[1].connections = 3;
    bench b(all);
    CHECK(b.open(7) == "ababb!!");
    b.pool.closed(0);
    CHECK(b.open(2) == "a!");
    b.pool.set_state(1, backend_state::down);
    CHECK(b.open(1) == "!");
    b.pool.set_state(0, backend_state::down);
    CHECK(b.open(1) == "-");
}

TEST_CASE("a second's worth of flows may come at once, then as many as the rate says") {
    auto all = servers(1);
    all[0].new_connections_per_s = 10;
    bench b(all);
    CHECK(b.open(12) == "aaaaaaaaaa!!");
    CHECK(b.pool.next_wakeup() == at_ms(1'000'100));
    b.wait(99);
    CHECK(b.open(1) == "!");
    b.wait(1);
    CHECK(b.open(2) == "a!");
    b.wait(250);
    CHECK(b.open(3) == "aa!");
    b.wait(100'000);
    CHECK(b.open(11) == "aaaaaaaaaa!");
}

TEST_CASE("who comes back from being down starts slowly: a sixteenth of its share at first, all of it at the end") {
    bench b(servers(2), {.slow_start = 16'000});
    CHECK(b.pool.share(0).now == 256);
    b.pool.set_state(0, backend_state::down);
    b.pool.set_state(0, backend_state::up);
    CHECK(b.pool.share(0).now == 16);
    CHECK(b.pool.next_wakeup() == at_ms(1'001'000));
    for (std::uint32_t step = 2; step <= 16; ++step) {
        b.wait(1000);
        CHECK(b.pool.share(0).now == 16 * step);
    }
    b.wait(1000);
    CHECK(b.pool.share(0).now == 256);
    CHECK_FALSE(b.pool.next_wakeup());
}

TEST_CASE("a newcomer starts slowly, those of the first configuration do not") {
    bench b(servers(2), {.slow_start = 10'000});
    REQUIRE(b.pool.configure(servers(3)));
    CHECK(b.pool.share(0).now == 256);
    CHECK(b.pool.share(2).now == 16);
    CHECK(b.pool.share(2).full == 256);
}

TEST_CASE("failures in a row inhibit a backend, a success between them does not let it come to that") {
    bench b(servers(3), {.passive = {.failures = 3, .first_inhibition = 1000}});
    b.pool.failed(0);
    b.pool.failed(0);
    b.pool.succeeded(0);
    b.pool.failed(0);
    b.pool.failed(0);
    CHECK_FALSE(b.pool.inhibited(0));
    b.pool.failed(0);
    CHECK(b.pool.inhibited(0));
    CHECK(b.open(3).find('a') == std::string::npos);
    b.wait(999);
    CHECK_FALSE(b.pool.takes(0));
    b.wait(1);
    CHECK(b.pool.takes(0));
}

TEST_CASE("who fails again on trial is inhibited at once and twice as long, up to the longest; being good for as long forgets that") {
    bench b(servers(2), {.passive = {.failures = 2, .first_inhibition = 1000, .longest_inhibition = 3000}});
    auto const inhibited_for = [&b](int failures) {
        for (int i = 0; i < failures; ++i) b.pool.failed(0);
        std::int64_t const begin = b.now;
        while (b.pool.inhibited(0)) b.wait(500);
        return b.now - begin;
    };
    CHECK(inhibited_for(2) == 1000);
    CHECK(inhibited_for(1) == 2000);
    CHECK(inhibited_for(1) == 3000);
    CHECK(inhibited_for(1) == 3000);
    b.pool.succeeded(0);
    b.wait(2500);
    CHECK(inhibited_for(1) == 0);
    CHECK(inhibited_for(1) == 3000);
    b.pool.succeeded(0);
    b.wait(3000);
    CHECK(inhibited_for(2) == 1000);
    CHECK(inhibited_for(1) == 2000);
    b.pool.set_state(0, backend_state::up);
    CHECK(inhibited_for(1) == 0);  // said to be up: no trial
}

TEST_CASE("late failures of flows from before do not make an inhibition longer") {
    bench b(servers(2), {.passive = {.failures = 1, .first_inhibition = 1000}});
    b.pool.failed(0);
    b.wait(900);
    b.pool.failed(0);
    b.wait(100);
    CHECK(b.pool.takes(0));
}

TEST_CASE("the last backend that takes anything is never inhibited") {
    bench b(servers(2), {.passive = {.failures = 1}});
    b.pool.failed(0);
    CHECK_FALSE(b.pool.takes(0));
    for (int i = 0; i < 10; ++i) b.pool.failed(1);
    CHECK(b.pool.takes(1));
    CHECK(b.open(2) == "bb");
}

TEST_CASE("a backend takes new flows when neither its checks nor its packets hold anything against it") {
    bench b(servers(3), {.passive = {.failures = 1, .first_inhibition = 1000}});
    b.pool.set_state(0, backend_state::down);
    b.pool.failed(1);
    CHECK(b.open(3) == "ccc");
    b.wait(1000);
    CHECK(b.open(4).find('a') == std::string::npos);  // time alone does not bring it back
    CHECK(b.pool.takes(1));
    b.pool.set_state(0, backend_state::up);
    b.pool.failed(0);
    CHECK_FALSE(b.pool.takes(0));
    b.pool.set_state(0, backend_state::up);  // checked since
    CHECK(b.pool.takes(0));
}

TEST_CASE("whom passive checks keep out takes new flows again when checks take out all others") {
    bench b(servers(4), {.passive = {.failures = 1, .first_inhibition = 100'000}});
    b.pool.set_state(3, backend_state::down);
    b.pool.failed(0);
    b.pool.failed(1);
    CHECK(b.open(2) == "cc");
    b.pool.set_state(2, backend_state::down);
    CHECK(b.pool.ready() == 2);
    CHECK(b.open(4).find_first_of("cd-") == std::string::npos);
    b.pool.failed(0);
    b.pool.failed(1);
    CHECK(b.open(2) == "bb");  // again the last is not taken out
}

TEST_CASE("a removed backend is forgotten with its last flow, and its place is free then") {
    bench b(servers(2), {}, 2);
    b.open(4);
    std::vector<backend> next = {server(1), server(2)};
    CHECK_FALSE(b.pool.configure(next));  // two flows are on the first
    CHECK(b.open(1) == "a");
    next.pop_back();
    REQUIRE(b.pool.configure(next));
    CHECK(b.open(2) == "bb");
    CHECK(b.pool.exists(0));
    for (int i = 0; i < 3; ++i) b.pool.closed(0);
    CHECK_FALSE(b.pool.exists(0));
    next.push_back(server(2));
    REQUIRE(b.pool.configure(next));
    CHECK(b.pool[0].address == server(2).address);
    CHECK(b.open(2).find('a') != std::string::npos);
}

TEST_CASE("who is named again before its last flow has ended keeps its flows") {
    bench b(servers(2));
    b.open(4);
    REQUIRE(b.pool.configure({}));
    CHECK(b.open(1) == "-");
    REQUIRE(b.pool.configure(servers(2)));
    CHECK(b.pool.open(0) == 2);
    CHECK(b.open(2).find('a') != std::string::npos);
}

TEST_CASE("a new configuration keeps state, flows and numbers of those who stay, whatever their order") {
    bench b(servers(3));
    b.open(6);
    b.pool.set_state(1, backend_state::draining);
    std::vector<backend> next = {server(2, 5), server(1), server(0)};
    REQUIRE(b.pool.configure(next));
    for (backend_index i = 0; i < 3; ++i) {
        CHECK(b.pool[i].address == server(i).address);
        CHECK(b.pool.open(i) == 2);
    }
    CHECK(b.pool.state(1) == backend_state::draining);
    CHECK(b.pool[2].weight == 5);
}

TEST_CASE("servers are found by their identity, as long as they are configured") {
    bench b(servers(5));
    for (std::uint32_t i = 0; i < 5; ++i) CHECK(b.pool.find(identity_of(server(i).address, 80)) == i);
    CHECK(b.pool.find(identity_of(server(5).address, 80)) == no_backend_index);
    b.open(5);
    REQUIRE(b.pool.configure(servers(2)));
    CHECK(b.pool.find(identity_of(server(3).address, 80)) == no_backend_index);
    pool_config config;
    config.known_by_address = true;
    b.pool.set_pool_config(config);
    CHECK(b.pool.find(identity_of(server(1).address, 0)) == 1);
}

TEST_CASE("time that runs backwards stands still, and may begin below zero") {
    backend_pool<round_robin_scheduler> pool({.slow_start = 1600}, round_robin_scheduler(2));
    pool.tick(at_ms(-5000));
    REQUIRE(pool.configure(servers(1)));
    CHECK(pool.share(0).now == 16);
    pool.tick(at_ms(-9000));
    CHECK(pool.share(0).now == 16);
    pool.tick(at_ms(-4900));
    CHECK(pool.share(0).now == 32);
}

namespace {

/// A plain account of what is open, beside the pool.
template <class S>
struct model {
    backend_pool<S> pool;
    split_mix64 random;
    std::vector<backend_index> open{};
    std::vector<backend> config{};
    std::int64_t now = 0;

    void reconfigure() {
        std::vector<backend> next;
        for (std::uint32_t i = 0; i < 12; ++i) {
            if (random.below(2) == 0) continue;
            backend b = server(i, static_cast<std::uint16_t>(random.below(4)));
            b.priority = static_cast<std::uint8_t>(random.below(3));
            if (random.below(3) == 0) b.connections = 1 + random.below(6);
            if (random.below(4) == 0) b.new_connections_per_s = 1 + random.below(5);
            next.insert(next.begin() + random.below(static_cast<std::uint32_t>(next.size()) + 1), b);
        }
        if (pool.configure(next)) config = next;
    }

    /// Chooses, checks that the choice may be chosen, and whether anybody could have been when nobody was.
    void open_one() {
        pool_choice const c = pool.choose({random(), random(), random()});
        if (!c) {
            for (backend_index i = 0; i < pool.capacity(); ++i) RC_ASSERT(!pool.exists(i) || !pool.takes(i));
            return;
        }
        backend const& b = pool[c.index];
        RC_ASSERT(pool.is_configured(c.index));
        RC_ASSERT(pool.state(c.index) == backend_state::up);
        RC_ASSERT(b.weight != 0);
        RC_ASSERT(pool.open(c.index) < b.connections);
        RC_ASSERT(!pool.inhibited(c.index));
        pool.opened(c.index);
        open.push_back(c.index);
    }

    void close_one() {
        if (open.empty()) return;
        std::uint32_t const which = random.below(static_cast<std::uint32_t>(open.size()));
        pool.closed(open[which]);
        open.erase(open.begin() + which);
    }

    void step() {
        auto const any = static_cast<backend_index>(random.below(pool.capacity()));
        switch (random.below(16)) {
            case 0: reconfigure(); break;
            case 1: if (pool.exists(any)) pool.set_state(any, static_cast<backend_state>(random.below(3))); break;
            case 2: if (pool.exists(any)) pool.set_weight(any, static_cast<std::uint16_t>(random.below(4))); break;
            case 3: if (pool.exists(any)) pool.failed(any); break;
            case 4: if (pool.exists(any)) pool.succeeded(any); break;
            case 5: pool.tick(at_ms(now += random.below(3000))); break;
            case 6: case 7: case 8: case 9: close_one(); break;
            default: open_one();
        }
        check();
    }

    void check() const {
        std::map<backend_index, std::uint32_t> count;
        for (backend_index const i : open) ++count[i];
        std::uint32_t ready = 0, configured = 0;
        for (backend_index i = 0; i < pool.capacity(); ++i) {
            RC_ASSERT(pool.open(i) == (count.count(i) ? count.at(i) : 0u));
            RC_ASSERT(pool.exists(i) || count.count(i) == 0);
            ready += pool.takes(i);
            configured += pool.is_configured(i);
        }
        RC_ASSERT(ready == pool.ready());
        RC_ASSERT(configured == config.size());
    }
};

template <class S>
S scheduler_for_model() {
    if constexpr (std::is_constructible_v<S, std::uint32_t>)
        return S(14);
    else if constexpr (std::is_same_v<S, priority_groups<weighted_least_connections_scheduler>>)
        return S(weighted_least_connections_scheduler(14), 3);
    else
        return S(14, 251);
}

}  // namespace

TEST_CASE_TEMPLATE("whatever comes, goes, drains, fails and opens, counts equal the open flows and only who may gets new ones", S, round_robin_scheduler,
                   weighted_round_robin_scheduler, least_connections_scheduler, power_of_two_scheduler, maglev_scheduler, first_alive_scheduler, priority_groups<weighted_least_connections_scheduler>) {
    for_seeds([](std::uint64_t seed) {
        pool_config const config{.slow_start = 5000, .passive = {.failures = 2, .first_inhibition = 500, .longest_inhibition = 4000}};
        model<S> m{backend_pool<S>(config, scheduler_for_model<S>()), split_mix64(seed)};
        m.pool.tick(at_ms(0));
        for (int i = 0; i < 200; ++i) m.step();
        while (!m.open.empty()) m.close_one();
        m.check();
        for (backend_index i = 0; i < m.pool.capacity(); ++i) RC_ASSERT(m.pool.exists(i) == m.pool.is_configured(i));
    });
}

TEST_CASE("the same events and the same random numbers give the same choices") {
    for_seeds([](std::uint64_t seed) {
        auto const story = [seed] {
            model<power_of_two_scheduler> m{backend_pool<power_of_two_scheduler>({.slow_start = 5000}, power_of_two_scheduler(14)), split_mix64(seed)};
            for (int i = 0; i < 200; ++i) m.step();
            return m.open;
        };
        RC_ASSERT(story() == story());
    });
}
