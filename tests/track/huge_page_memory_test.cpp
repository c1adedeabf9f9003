// SPDX-License-Identifier: BSL-1.0
// Memory in huge pages: alignment, sizes, refusal, and a table that lives in it.
#include <halfproxy/track/huge_page_memory.hpp>

#include <halfproxy/track/flow_table.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

using namespace halfproxy;

static_assert(table_memory<huge_page_memory> && table_memory<memory_source>);

namespace {

struct number_record {
    static constexpr unsigned directions = 1;
    std::uint64_t number = 0;
    [[nodiscard]] bool matches(std::uint64_t k, unsigned) const noexcept { return k == number; }
    [[nodiscard]] std::uint64_t key(unsigned) const noexcept { return number; }
};
struct spread {
    std::uint64_t operator()(std::uint64_t const& k) const noexcept { return k * 0x9e37'79b9'7f4a'7c15u; }
};

}  // namespace

TEST_CASE("every size comes aligned to 2 MiB or more, writable to its last byte, and can be given back") {
    huge_page_memory memory;
    for (std::size_t const bytes : {std::size_t{1}, std::size_t{4096}, std::size_t{2} << 20, (std::size_t{2} << 20) + 1}) {
        for (std::size_t const alignment : {std::size_t{64}, std::size_t{4096}, std::size_t{4} << 20}) {
            void* p = memory.allocate(bytes, alignment);
            CHECK(reinterpret_cast<std::uintptr_t>(p) % (std::size_t{2} << 20) == 0);
            CHECK(reinterpret_cast<std::uintptr_t>(p) % alignment == 0);
            std::memset(p, 0x5a, bytes);
            CHECK(static_cast<unsigned char*>(p)[bytes - 1] == 0x5a);
            memory.deallocate(p, bytes, alignment);
        }
    }
}

TEST_CASE("more than the address space holds is refused with bad_alloc") {
    huge_page_memory memory;
    CHECK_THROWS_AS((void)memory.allocate(std::size_t{1} << 60, 64), std::bad_alloc);
    CHECK_THROWS_AS((void)memory.allocate(~std::size_t{0}, 64), std::bad_alloc);
}

TEST_CASE("a flow table works in huge pages") {
    flow_table<std::uint64_t, number_record, spread, huge_page_memory> table(50'000);
    for (std::uint64_t k = 0; k < 50'000; ++k) {
        insert_result const r = table.insert(k, k);
        REQUIRE(r);
        table.record(r.handle).number = k;
    }
    for (std::uint64_t k = 0; k < 50'000; ++k) REQUIRE(table.record(table.find(k)).number == k);
    CHECK_FALSE(table.find(50'000));
}

TEST_CASE("where a table's memory comes from can be chosen at run time; the heap is the default") {
    for (memory_source const source : {memory_source{}, memory_source::of<huge_page_memory>()}) {
        flow_table<std::uint64_t, number_record, spread, memory_source> table(20'000, {}, source);
        insert_result const r = table.insert(7, 7);
        REQUIRE(r);
        table.record(r.handle).number = 7;
        CHECK(table.find(7) == r.handle);
    }
    memory_source huge = memory_source::of<huge_page_memory>();
    void* p = huge.allocate(1, 64);
    CHECK(reinterpret_cast<std::uintptr_t>(p) % (std::size_t{2} << 20) == 0);
    huge.deallocate(p, 1, 64);
}
