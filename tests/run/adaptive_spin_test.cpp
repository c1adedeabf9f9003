// SPDX-License-Identifier: BSL-1.0
// The spin's length follows the traffic.
#include <halfproxy/run/adaptive_spin.hpp>

#include <doctest/doctest.h>

using namespace halfproxy;
using namespace std::chrono_literals;

TEST_CASE("nobody spins before traffic has shown that it pays") {
    adaptive_spin const spin{50us};
    CHECK(spin.budget() == 0ns);
}

TEST_CASE("short sleeps let the spin grow to its longest and no further") {
    adaptive_spin spin{80us};
    spin.woke_after(5us);
    CHECK(spin.budget() == 10us);
    spin.woke_after(80us);
    CHECK(spin.budget() == 20us);
    for (int i = 0; i < 10; ++i) spin.woke_after(1us);
    CHECK(spin.budget() == 80us);
}

TEST_CASE("long sleeps let it shrink to nothing") {
    adaptive_spin spin{80us};
    for (int i = 0; i < 10; ++i) spin.woke_after(1us);
    spin.woke_after(81us);
    CHECK(spin.budget() == 40us);
    for (int i = 0; i < 3; ++i) spin.woke_after(1ms);
    CHECK(spin.budget() == 0us);
}

TEST_CASE("a longest spin of zero, or less, means never") {
    for (auto const longest : {0ns, -1ns}) {
        adaptive_spin spin{longest};
        spin.woke_after(0ns);
        CHECK(spin.budget() == 0ns);
    }
}
