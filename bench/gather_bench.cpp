// SPDX-License-Identifier: BSL-1.0
// The memory limit of this machine for flow lookups: independent random reads of one to three cache lines per item, overlapped.
//
// Line 1 comes from an array of 24 bytes per flow (an index), lines 2 and 3 from one of 128 bytes per flow (a record).
// A flow table cannot be faster than this; how close it comes is what its bench tells.
#include "support/flows.hpp"

#include <halfproxy/track/flow_table.hpp>
#include <halfproxy/track/huge_page_memory.hpp>

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace {

using bench::burst;

struct alignas(64) cache_line {
    std::uint64_t number;
    std::uint64_t rest[7];
};

template <class Memory>
class line_array {
  public:
    explicit line_array(std::size_t lines) : count_(lines) {
        lines_ = static_cast<cache_line*>(memory_.allocate(count_ * sizeof(cache_line), 4096));
        for (std::size_t i = 0; i < count_; ++i) std::construct_at(&lines_[i], cache_line{i, {}});
    }
    ~line_array() { memory_.deallocate(lines_, count_ * sizeof(cache_line), 4096); }
    line_array(line_array const&) = delete;
    line_array& operator=(line_array const&) = delete;

    [[nodiscard]] cache_line const& operator[](std::size_t i) const noexcept { return lines_[i]; }

  private:
    Memory memory_;
    std::size_t count_;
    cache_line* lines_;
};

template <class Memory>
struct gather_fixture {
    std::uint32_t flows;
    line_array<Memory> index;
    line_array<Memory> records;
    bench::random_order order;

    explicit gather_fixture(std::uint32_t n)
        : flows(n), index(std::size_t{n} * 24 / 64 + 1), records(std::size_t{n} * 2), order(n) {}

    // Independent of the flow's record, as a hash would be.
    [[nodiscard]] std::size_t index_line(std::uint32_t id) const noexcept {
        return static_cast<std::size_t>(std::uint64_t{id * 0x9e37'79b1u} * (std::size_t{flows} * 24 / 64 + 1) >> 32);
    }
};

template <class Memory, int Lines>
void gather(benchmark::State& state, std::uint32_t flows) {
    auto& f = bench::built_once<gather_fixture<Memory>>(flows);
    for (auto _ : state) {
        std::uint32_t const* const ids = f.order.next_burst();
        for (std::size_t i = 0; i < burst; ++i) __builtin_prefetch(&f.index[f.index_line(ids[i])]);
        if constexpr (Lines >= 2)
            for (std::size_t i = 0; i < burst; ++i)
                for (std::size_t line = 0; line < Lines - 1; ++line) __builtin_prefetch(&f.records[2 * std::size_t{ids[i]} + line]);
        std::uint64_t wrong = 0;
        for (std::size_t i = 0; i < burst; ++i) {
            std::size_t const at = f.index_line(ids[i]);
            wrong |= f.index[at].number ^ at;
            for (std::size_t line = 0; line + 1 < Lines; ++line) {
                std::size_t const record = 2 * std::size_t{ids[i]} + line;
                wrong |= f.records[record].number ^ record;
            }
        }
        if (wrong != 0) return state.SkipWithError("a line does not hold its number");
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(burst));
}

template <class Memory>
void add(std::string const& name, std::uint32_t flows) {
    bench::add(name + "/1line", flows, gather<Memory, 1>);
    bench::add(name + "/2line", flows, gather<Memory, 2>);
    bench::add(name + "/3line", flows, gather<Memory, 3>);
}

}  // namespace

int main(int argc, char** argv) {
    for (std::uint32_t const flows : bench::flow_counts) {
        add<halfproxy::heap_memory>("gather", flows);
        add<halfproxy::huge_page_memory>("gather_huge_pages", flows);
    }
    return bench::run(argc, argv);
}
