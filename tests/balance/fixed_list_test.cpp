// SPDX-License-Identifier: BSL-1.0
// A list with room that never changes.
#include <halfproxy/balance/fixed_list.hpp>

#include <doctest/doctest.h>

#include <vector>

using namespace halfproxy;

TEST_CASE("a list takes as many as it has room for, and gives them back in order") {
    fixed_list<int> list(3);
    CHECK(list.empty());
    for (int i : {7, 8, 9}) list.push_back(i);
    CHECK(list.full());
    CHECK(list.size() == 3);
    CHECK(std::vector<int>(list.begin(), list.end()) == std::vector<int>{7, 8, 9});
    list.pop_back();
    CHECK(list.back() == 8);
    list.clear();
    CHECK(list.empty());
    CHECK(list.capacity() == 3);
}

TEST_CASE("a copy of an empty list has the same room") {
    fixed_list<int> const list(3);
    fixed_list<int> copy = list;
    CHECK(copy.capacity() == 3);
    copy.push_back(1);
    CHECK(copy[0] == 1);
}
