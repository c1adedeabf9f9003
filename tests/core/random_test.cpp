// SPDX-License-Identifier: BSL-1.0
// The seeded generator: the published sequence, and bounds that hold.
#include <halfproxy/core/random.hpp>

#include <doctest/doctest.h>

#include <array>
#include <random>

using namespace halfproxy;

static_assert(std::uniform_random_bit_generator<split_mix64>);

TEST_CASE("seed 1234567 gives the sequence of the reference implementation") {
    split_mix64 random(1234567);
    CHECK(random() == 6457827717110365317u);
    CHECK(random() == 3203168211198807973u);
    CHECK(random() == 9817491932198370423u);
    CHECK(random() == 4593380528125082431u);
    CHECK(random() == 16408922859458223821u);
}

TEST_CASE("below(n) stays below n, reaches every value, and about equally often") {
    split_mix64 random(1);
    std::array<int, 10> seen{};
    for (int i = 0; i < 100'000; ++i) ++seen.at(random.below(10));
    for (int const n : seen) {
        CHECK(n > 9'500);  // 5 standard deviations are 474
        CHECK(n < 10'500);
    }
    CHECK(random.below(1) == 0);
    CHECK(random.below(0) == 0);
}
