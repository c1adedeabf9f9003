// SPDX-License-Identifier: BSL-1.0
// The least of things whose keys change.
#include <halfproxy/balance/indexed_heap.hpp>

#include <halfproxy/core/random.hpp>

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <map>

using namespace halfproxy;

TEST_CASE("the top is the least key, of equal ones the lowest number") {
    indexed_heap<int> heap(5);
    heap.set(3, 10);
    heap.set(1, 10);
    heap.set(4, 12);
    CHECK(heap.top() == 1);
    heap.set(4, 9);
    CHECK(heap.top() == 4);
    CHECK(heap.top_key() == 9);
    heap.erase(4);
    CHECK_FALSE(heap.contains(4));
    CHECK(heap.top() == 1);
}

TEST_CASE("whatever is put in, changed and taken out, the top is what a plain search finds") {
    CHECK(rc::check([](std::uint64_t seed) {
        split_mix64 random(seed);
        std::uint32_t const capacity = 1 + random.below(40);
        indexed_heap<std::uint32_t> heap(capacity);
        std::map<std::uint32_t, std::uint32_t> plain;
        for (int step = 0; step < 400; ++step) {
            std::uint32_t const member = random.below(capacity);
            switch (random.below(8)) {
                case 0: heap.erase(member), plain.erase(member); break;
                case 1:
                    if (random.below(20) == 0) heap.clear(), plain.clear();
                    break;
                default: {
                    std::uint32_t const key = random.below(50);
                    heap.set(member, key);
                    plain[member] = key;
                }
            }
            RC_ASSERT(heap.size() == plain.size());
            RC_ASSERT(heap.contains(member) == (plain.count(member) == 1));
            if (plain.count(member) == 1) RC_ASSERT(heap.key(member) == plain[member]);
            if (plain.empty()) continue;
            auto best = plain.begin();
            for (auto i = plain.begin(); i != plain.end(); ++i)
                if (i->second < best->second) best = i;
            RC_ASSERT(heap.top() == best->first);
            RC_ASSERT(heap.top_key() == best->second);
        }
    }));
}

TEST_CASE("a copy has room for as many as the original") {
    indexed_heap<int> const heap(4);
    indexed_heap<int> copy = heap;
    for (std::uint32_t i = 0; i < 4; ++i) copy.set(i, static_cast<int>(4 - i));
    CHECK(copy.top() == 3);
    CHECK(heap.empty());
}
