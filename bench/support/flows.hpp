// SPDX-License-Identifier: BSL-1.0
// What every bench of many flows needs: keys by number, random order prepared beforehand, and fixtures built once.
#pragma once

#include <halfproxy/core/random.hpp>
#include <halfproxy/track/flow_key.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace bench {

inline constexpr std::size_t burst = 64;
inline constexpr std::array<std::uint32_t, 4> flow_counts{10'000, 100'000, 1'000'000, 10'000'000};

/// Flow `id`'s client key: a different client for each, spread over the address space as a flood's or a CDN's are, one server.
/// Cheap to compute, so that a key costs no memory read that the bench would measure.
[[nodiscard]] inline halfproxy::ipv4_key client_key(std::uint32_t id) noexcept {
    std::uint32_t const mixed = id * 0x9e37'79b1u;  // odd: no two ids share an address
    return {{mixed, 0x0a00'0001u, static_cast<std::uint16_t>(mixed >> 16 | 1), 443}, 0, 6};
}
/// The key of the packets that come back.
[[nodiscard]] inline halfproxy::ipv4_key server_key(std::uint32_t id) noexcept {
    halfproxy::ipv4_key const k = client_key(id);
    return {k.tuple.reversed(), k.zone, k.protocol};
}
[[nodiscard]] inline halfproxy::ipv4_key key_of(std::uint32_t id, unsigned direction) noexcept {
    return direction == 0 ? client_key(id) : server_key(id);
}

/// A million random numbers below `bound`, to be walked in a circle a burst at a time. Four megabytes, read in order:
/// the hardware prefetcher hides them.
class random_order {
  public:
    explicit random_order(std::uint32_t bound) : numbers_(std::size_t{1} << 20) {
        halfproxy::split_mix64 random{bound};
        for (std::uint32_t& n : numbers_) n = random.below(bound);
    }
    [[nodiscard]] std::uint32_t const* next_burst() noexcept {
        std::uint32_t const* const here = numbers_.data() + at_;
        at_ = (at_ + burst) % numbers_.size();
        return here;
    }

  private:
    std::vector<std::uint32_t> numbers_;
    std::size_t at_ = 0;
};

/// Google Benchmark calls a function several times to find its iteration count; building ten million flows each time would take
/// minutes. Keeps the last fixture of a type, for as long as the same size is asked for.
template <class Fixture>
[[nodiscard]] Fixture& built_once(std::uint32_t flows) {
    static std::unique_ptr<Fixture> last;
    static std::uint32_t last_flows = 0;
    if (!last || last_flows != flows) {
        last.reset();  // before the next is built: two of the largest might not fit
        last = std::make_unique<Fixture>(flows);
        last_flows = flows;
    }
    return *last;
}

/// Registers `<name>/<flows>`.
template <class Function>
void add(std::string const& name, std::uint32_t flows, Function function) {
    benchmark::RegisterBenchmark((name + "/" + std::to_string(flows)).c_str(), function, flows);
}

[[nodiscard]] inline int run(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}

}  // namespace bench
