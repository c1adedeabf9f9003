// SPDX-License-Identifier: BSL-1.0
// The fragment table under random bytes, the same on every machine.
#include "tests/fuzz/fragments_target.hpp"

#include <halfproxy/core/random.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace halfproxy;
using namespace halfproxy::test;

TEST_CASE("whatever fragments come, no byte passes twice, none before the first or behind an overlap, and all end in time") {
    std::uint64_t passed = 0, spoiled = 0;
    for (std::uint64_t seed = 0; seed < 1'000; ++seed) {
        CAPTURE(seed);
        split_mix64 random(seed);
        std::vector<std::uint8_t> bytes(random.below(400));
        for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(random());
        fragment_play play(bytes);
        if (char const* const broken = play.run()) FAIL_CHECK(std::string(broken));
        passed += play.passed;
        spoiled += play.spoiled;
    }
    CHECK(passed > 1'000);
    CHECK(spoiled > 1'000);
    MESSAGE(passed << " passed, " << spoiled << " refused for an overlap");
}
