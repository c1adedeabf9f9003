// SPDX-License-Identifier: BSL-1.0
// Choosing backends: Maglev's table, each scheduler, and a service's whole choice. Time is per look-up, per choice with its flow opened and an old one
// closed, and per build of a table.
#include <halfproxy/balance/service_table.hpp>
#include <halfproxy/core/random.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace {

using namespace halfproxy;

[[nodiscard]] std::vector<backend> servers(std::uint32_t count) {
    std::vector<backend> all(count);
    for (std::uint32_t i = 0; i < count; ++i) {
        all[i].address = ip_address::v4(0x0a00'0001u + i);
        all[i].port = 80;
        all[i].weight = static_cast<std::uint16_t>(1 + i % 4);
    }
    return all;
}

[[nodiscard]] std::vector<maglev_member> members(std::uint32_t count) {
    std::vector<maglev_member> all;
    for (std::uint32_t i = 0; i < count; ++i) all.push_back({identity_of(ip_address::v4(0x0a00'0001u + i), 80), 1, static_cast<backend_index>(i)});
    return all;
}

void maglev_look_up(benchmark::State& state) {
    auto const count = static_cast<std::uint32_t>(state.range(0));
    maglev_table table(65'537, count);
    table.build(members(count));
    std::uint64_t hash = 1;
    std::uint32_t sum = 0;
    for (auto _ : state) {
        for (int i = 0; i < 64; ++i) sum += table[hash += 0x9e3779b97f4a7c15u];
        benchmark::DoNotOptimize(sum);
    }
    state.SetItemsProcessed(state.iterations() * 64);
}

void maglev_build(benchmark::State& state) {
    auto const count = static_cast<std::uint32_t>(state.range(0));
    auto const size = static_cast<std::uint32_t>(state.range(1));
    maglev_table table(size, count);
    std::vector<maglev_member> const all = members(count);
    for (auto _ : state) {
        table.build(all);
        if (table.empty()) return state.SkipWithError("an empty table");
    }
    state.SetItemsProcessed(state.iterations());
}

// 1000 flows are open: each iteration opens one and closes the oldest.
void choose(benchmark::State& state, scheduler_kind kind) {
    auto const count = static_cast<std::uint32_t>(state.range(0));
    backend_pool<any_scheduler> pool({}, any_scheduler(kind, count, maglev_size(4 * count)));
    pool.tick(time_point{});
    if (!pool.configure(servers(count), true)) return state.SkipWithError("no room");
    std::array<backend_index, 1024> open;
    open.fill(no_backend_index);
    split_mix64 random(1);
    std::size_t at = 0;
    for (auto _ : state) {
        pool_choice const c = pool.choose({random(), random(), random()});
        if (!c) return state.SkipWithError("nobody was chosen");
        pool.opened(c.index);
        if (open[at] != no_backend_index) pool.closed(open[at]);
        open[at] = c.index;
        at = (at + 1) % open.size();
    }
    state.SetItemsProcessed(state.iterations());
}

// One of 100 services with 20 backends each, found and asked, from 50,000 clients.
void service_choice(benchmark::State& state, scheduler_kind kind, timeout_ms persistence) {
    services_config config;
    for (std::uint32_t i = 0; i < 100; ++i) {
        service_config s;
        s.address = ip_address::v4(0xcb00'7101u + i / 10);
        s.ports.first = s.ports.last = static_cast<std::uint16_t>(80 + i % 10);
        s.scheduler = kind;
        s.persistence = persistence;
        s.backends = servers(20);
        config.services.push_back(s);
    }
    service_table table(config);
    split_mix64 random(1);
    std::array<backend_ref, 1024> open{};
    std::size_t at = 0;
    for (auto _ : state) {
        std::uint32_t const which = random.below(100), client = random.below(50'000);
        service_request const r{ip_address::v4(client), ip_address::v4(0xcb00'7101u + which / 10), static_cast<std::uint16_t>(client),
                                static_cast<std::uint16_t>(80 + which % 10), ip_protocol::tcp};
        halfproxy::service_choice const c = table.choose(r);
        if (c.outcome != service_outcome::chosen) return state.SkipWithError("nobody was chosen");
        table.opened(c.who, r.client);
        if (open[at]) table.closed(open[at]);
        open[at] = c.who;
        at = (at + 1) % open.size();
    }
    state.SetItemsProcessed(state.iterations());
}

[[maybe_unused]] int const registered = [] {
    for (std::int64_t const backends : {10, 100, 1000}) {
        benchmark::RegisterBenchmark("balance/maglev_look_up", maglev_look_up)->Arg(backends);
        for (std::int64_t const size : {65'537, 262'147}) benchmark::RegisterBenchmark("balance/maglev_build", maglev_build)->Args({backends, size});
    }
    constexpr std::array<char const*, 8> names{"round_robin",  "weighted_round_robin", "least_connections", "weighted_least_connections",
                                               "source_hash", "maglev",               "power_of_two",      "first_alive"};
    for (std::size_t kind = 0; kind < names.size(); ++kind)
        for (std::int64_t const backends : {10, 100, 1000})
            benchmark::RegisterBenchmark((std::string("balance/choose/") + names[kind]).c_str(), choose, static_cast<scheduler_kind>(kind))->Arg(backends);
    benchmark::RegisterBenchmark("balance/service/maglev", service_choice, scheduler_kind::maglev, timeout_ms{0});
    benchmark::RegisterBenchmark("balance/service/least_connections", service_choice, scheduler_kind::least_connections, timeout_ms{0});
    benchmark::RegisterBenchmark("balance/service/persistent", service_choice, scheduler_kind::least_connections, timeout_ms{60'000});
    return 0;
}();

}  // namespace

BENCHMARK_MAIN();
