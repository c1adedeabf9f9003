// SPDX-License-Identifier: BSL-1.0
// The version is one text in one place.
#include <halfproxy/core/version.hpp>

#include <doctest/doctest.h>

#include <algorithm>

TEST_CASE("the library's version is three numbers divided by two dots") {
    std::string_view const text = halfproxy::library_version;
    CHECK(std::count(text.begin(), text.end(), '.') == 2);
    CHECK(std::all_of(text.begin(), text.end(), [](char c) { return c == '.' || (c >= '0' && c <= '9'); }));
}
