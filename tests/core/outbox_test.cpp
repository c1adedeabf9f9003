// SPDX-License-Identifier: BSL-1.0
// The outbox: bounded, in order, and a slot taken counts at once.
#include <halfproxy/core/outbox.hpp>

#include <doctest/doctest.h>

#include <array>
#include <vector>

using namespace halfproxy;

TEST_CASE("what is pushed is there in order, each for its port, as a copy") {
    outbox out(4);
    std::array<std::uint8_t, 3> bytes{1, 2, 3};
    REQUIRE(out.push(side::inside, bytes));
    bytes[0] = 9;
    REQUIRE(out.push(side::outside, byte_view(bytes).first(1)));
    REQUIRE(out.frames().size() == 2);
    CHECK(out.frames()[0].exit == side::inside);
    CHECK(out.frames()[0].bytes().size() == 3);
    CHECK(out.frames()[0].bytes()[0] == 1);
    CHECK(out.frames()[1].exit == side::outside);
    CHECK(out.frames()[1].bytes().size() == 1);
    CHECK(out.room() == 2);
}

TEST_CASE("a full outbox refuses and keeps what it has; cleared, it takes as many again") {
    outbox out(2);
    std::array<std::uint8_t, 1> const byte{7};
    for (int round = 0; round < 3; ++round) {
        CHECK(out.push(side::inside, byte));
        CHECK(out.claim(side::inside) != nullptr);
        CHECK(!out.push(side::inside, byte));
        CHECK(out.claim(side::inside) == nullptr);
        CHECK(out.room() == 0);
        CHECK(out.frames().size() == 2);
        out.clear();
        CHECK(out.frames().empty());
    }
}

TEST_CASE("a claimed slot begins empty, whatever was in it before") {
    outbox out(1);
    std::array<std::uint8_t, 5> const bytes{};
    REQUIRE(out.push(side::inside, bytes));
    out.clear();
    outbox_frame* const slot = out.claim(side::outside);
    REQUIRE(slot != nullptr);
    CHECK(slot->length == 0);
    CHECK(slot->exit == side::outside);
}

TEST_CASE("the longest frame fits exactly, one byte more is refused without taking a slot") {
    outbox out(2);
    std::array<std::uint8_t, outbox_frame_bytes + 1> const bytes{};
    CHECK(!out.push(side::inside, bytes));
    CHECK(out.room() == 2);
    CHECK(out.push(side::inside, byte_view(bytes).first(outbox_frame_bytes)));
}

TEST_CASE("an outbox of no slots takes nothing") {
    outbox out(0);
    CHECK(out.claim(side::inside) == nullptr);
    CHECK(out.frames().empty());
}

TEST_CASE("a lent frame stays where it is and keeps what its device said; a claimed slot after it is an ordinary one") {
    outbox out(1);
    std::array<std::uint8_t, 300> bytes{7};
    frame held{.data = bytes.data(), .length = 300, .capacity = 300, .wire_length = 400};
    held.offload.checksum = checksum_state::partial;
    REQUIRE(out.lend(side::inside, held));
    CHECK(!out.lend(side::inside, held));
    CHECK(out.frames()[0].bytes().data() == bytes.data());
    CHECK(out.frames()[0].bytes().size() == 300);
    CHECK(out.frames()[0].wire_length() == 400);
    CHECK(out.frames()[0].offload().checksum == checksum_state::partial);
    out.clear();
    REQUIRE(out.push(side::inside, byte_view(bytes).first(1)));
    CHECK(out.frames()[0].bytes().size() == 1);
    CHECK(out.frames()[0].bytes().data() != bytes.data());
    CHECK(out.frames()[0].wire_length() == 1);
    CHECK(out.frames()[0].offload().checksum == checksum_state::unknown);
}

TEST_CASE("what keep_if() refuses does not leave, the rest keeps its order, and earlier frames are not asked about") {
    outbox out(8);
    for (std::uint8_t i = 0; i < 6; ++i) REQUIRE(out.push(side::inside, std::array<std::uint8_t, 1>{i}));
    std::vector<int> asked;
    out.keep_if(2, [&](outbox_frame& f) {
        asked.push_back(f.data[0]);
        f.exit = side::outside;
        return f.data[0] % 2 == 1;
    });
    CHECK(asked == std::vector<int>{2, 3, 4, 5});
    std::vector<int> left;
    for (outbox_frame const& f : out.frames()) left.push_back(f.data[0]);
    CHECK(left == std::vector<int>{0, 1, 3, 5});
    CHECK(out.frames()[1].exit == side::inside);
    CHECK(out.frames()[2].exit == side::outside);
    CHECK(out.room() == 4);
    out.keep_if(9, [](outbox_frame&) { return false; });
    CHECK(out.used() == 4);
}
