// SPDX-License-Identifier: BSL-1.0
// What a port costs while an address is nearly full: allocate and release with 1 % of the ports free, by either kind of space.
#include <halfproxy/translate/port_pool.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>

namespace {

using namespace halfproxy;
using shared_ports = ports_by_destination<std::uint32_t>;

constexpr std::uint32_t ports = 64'512;

/// 99 % taken, towards one destination; the free ones lie at random places. Timed: allocations; what they took is given back untimed.
template <class Space>
void allocate_99(benchmark::State& state) {
    port_pool<Space> pool({.seed = 1}, 2 * ports);
    typename Space::destination const to{};
    split_mix64 random{2};
    for (std::uint32_t n = 0; n < ports; ++n) benchmark::DoNotOptimize(pool.allocate({.to = to}, {}));
    exclusive_ports freed(1, {1024, 65535});
    for (std::uint32_t n = 0; n < ports / 100;) {
        auto const port = static_cast<std::uint16_t>(1024 + random.below(ports));
        if (!freed.is_free(0, port)) continue;
        freed.take(0, port);
        pool.release(0, port, to, {});
        ++n;
    }
    std::array<std::uint16_t, 64> given{};
    for (auto _ : state) {
        for (std::uint16_t& port : given) port = pool.allocate({.to = to}, {}).port;
        state.PauseTiming();
        for (std::uint16_t const port : given) {
            if (port == 0) return state.SkipWithError("no port, although some are free");
            pool.release(0, port, to, {});
        }
        state.ResumeTiming();
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(given.size()));
}

}  // namespace

int main(int argc, char** argv) {
    benchmark::RegisterBenchmark("port_pool/allocate_99", allocate_99<exclusive_ports>);
    benchmark::RegisterBenchmark("port_pool/allocate_99_by_destination", allocate_99<shared_ports>);
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
