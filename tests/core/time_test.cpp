// SPDX-License-Identifier: BSL-1.0
// Stamps of 32 bits: distances across the wrap, and a timeout that is never.
#include <halfproxy/core/time.hpp>

#include <doctest/doctest.h>

using namespace halfproxy;

TEST_CASE("the distance of two stamps is right across the wrap at 2^32 ms") {
    stamp_ms const before{0xffffff00u}, after{0x100u};
    CHECK(after - before == 0x200);
    CHECK(before - after == -0x200);
    CHECK(before + 0x200 == after);
}

TEST_CASE("a distance just under 2^31 ms is ahead, just over is behind") {
    stamp_ms const now{5};
    CHECK((now + 0x7fffffffu) - now > 0);
    CHECK((now + 0x80000001u) - now < 0);
}

TEST_CASE("never is longer than every timeout, and 0 is one") {
    CHECK(never > timeout_ms{0xfffffffe});
    CHECK(timeout_ms{0} != never);
}
