// SPDX-License-Identifier: BSL-1.0
// The Internet checksum: in full over headers, packets and GSO frames, and kept up while fields change. Peers: libtins and a plain loop.
#include <halfproxy/core/random.hpp>
#include <halfproxy/wire/checksum.hpp>

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#if defined(HALFPROXY_BENCH_LIBTINS)
#include <tins/utils/checksum_utils.h>
#endif

namespace {

using namespace halfproxy;

/// RFC 1071 section 4.1, word by word: what the others are compared with.
[[nodiscard]] std::uint16_t sum_word_by_word(byte_view bytes) noexcept {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) sum += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
    if (bytes.size() % 2 != 0) sum += static_cast<std::uint32_t>(bytes.back() << 8);
    while (sum >> 16 != 0) sum = (sum & 0xffffu) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

[[nodiscard]] std::uint16_t sum_ours(byte_view bytes) noexcept { return checksum_sum{}.add(bytes).folded(); }

#if defined(HALFPROXY_BENCH_LIBTINS)
// Sums words in host order, which is the same sum with its bytes swapped (RFC 1071 section 2B).
[[nodiscard]] std::uint16_t sum_libtins(byte_view bytes) noexcept {
    std::uint32_t sum = Tins::Utils::sum_range(bytes.data(), bytes.data() + bytes.size());
    while (sum >> 16 != 0) sum = (sum & 0xffffu) + (sum >> 16);
    return static_cast<std::uint16_t>(sum >> 8 | sum << 8);
}
#endif

using sum_function = std::uint16_t (*)(byte_view) noexcept;

// Two buffers of the same length, so that no result can be carried over.
void full(benchmark::State& state, sum_function sum_of) {
    auto const length = static_cast<std::size_t>(state.range(0));
    split_mix64 random{length};
    std::vector<std::uint8_t> bytes(length + 1);
    for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(random());
    byte_view const views[2] = {{bytes.data(), length}, {bytes.data() + 1, length}};
    std::uint16_t const expected[2] = {sum_word_by_word(views[0]), sum_word_by_word(views[1])};
    unsigned which = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(bytes.data());
        if (sum_of(views[which]) != expected[which]) return state.SkipWithError("the sum is wrong");
        which ^= 1;
    }
    state.SetItemsProcessed(state.iterations());
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(length));
}

// Sequence and acknowledgment replaced there and back: what a shifted packet pays.
void incremental(benchmark::State& state) {
    std::uint16_t checksum = 0x1234;
    std::uint32_t seq = 1, ack = 2;
    for (auto _ : state) {
        checksum_delta const there = checksum_delta{}.change32(seq, seq + 0x1234'5678).change32(ack, ack ^ 0xffff'0000u);
        checksum_delta const back = checksum_delta{}.change32(seq + 0x1234'5678, seq).change32(ack ^ 0xffff'0000u, ack);
        checksum = there.applied_to(checksum);
        benchmark::DoNotOptimize(checksum);
        checksum = back.applied_to(checksum);
        if (checksum != 0x1234) return state.SkipWithError("the checksum did not come back");
        benchmark::DoNotOptimize(seq += 3), benchmark::DoNotOptimize(ack += 5);
    }
    state.SetItemsProcessed(state.iterations() * 2);
}

void add_full(char const* name, sum_function sum_of) {
    benchmark::RegisterBenchmark(name, full, sum_of)->Arg(20)->Arg(60)->Arg(1500)->Arg(65'000);
}

}  // namespace

int main(int argc, char** argv) {
    add_full("checksum/full", sum_ours);
    add_full("peer/word_by_word/checksum/full", sum_word_by_word);
#if defined(HALFPROXY_BENCH_LIBTINS)
    add_full("peer/libtins/checksum/full", sum_libtins);
#endif
    benchmark::RegisterBenchmark("checksum/incremental", incremental);
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
