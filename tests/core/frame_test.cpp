// SPDX-License-Identifier: BSL-1.0
// Frames: what a fresh one says, and the two sides.
#include <halfproxy/core/frame.hpp>

#include <doctest/doctest.h>

#include <array>

using namespace halfproxy;

TEST_CASE("a fresh frame is forwarded, dropped for no reason, an ordinary one without offloads") {
    frame const f;
    CHECK(f.outcome == verdict::forward);
    CHECK(f.reason == drop_reason::none);
    CHECK(f.bytes().empty());
    CHECK(f.offload.checksum == checksum_state::unknown);
    CHECK(f.offload.segment_size == 0);
}

TEST_CASE("a frame's bytes are those present, not its capacity, and can be changed") {
    std::array<std::uint8_t, 8> room{1, 2, 3};
    frame f;
    f.data = room.data();
    f.length = 3;
    f.capacity = 8;
    CHECK(f.bytes().size() == 3);
    f.bytes()[1] = 9;
    CHECK(room[1] == 9);
}

TEST_CASE("the other side of each port is the other port") {
    CHECK(other(side::outside) == side::inside);
    CHECK(other(side::inside) == side::outside);
}
