// SPDX-License-Identifier: BSL-1.0
// Room in the middle of a frame, and what is told to its device.
#include <halfproxy/translate/frame_room.hpp>

#include "tests/support/one_frame.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

TEST_CASE("room opens behind the link header, and the device's offsets move along") {
    byte_string const before = filled(14, 0xaa) + filled(30, 0xbb);
    one_frame one(before, 20);
    one.f.offload = {checksum_state::partial, 1, 1000, 34, 24, 6};
    REQUIRE(open_room(one.f, 14, 20));
    CHECK(one.f.length == 64);
    CHECK(one.f.wire_length == 64);
    byte_string const after = one.bytes();
    CHECK(byte_string(after.begin(), after.begin() + 14) == filled(14, 0xaa));
    CHECK(byte_string(after.begin() + 34, after.end()) == filled(30, 0xbb));
    CHECK(one.f.offload.checksum_start == 44);
    CHECK(one.f.offload.checksum_offset == 6);
    CHECK(one.f.offload.header_length == 54);
}

TEST_CASE("where the capacity ends nothing changes") {
    byte_string const before = filled(44, 0xaa);
    one_frame one(before, 19);
    CHECK_FALSE(open_room(one.f, 14, 20));
    CHECK(one.bytes() == before);
    CHECK(one.f.wire_length == 44);
}

TEST_CASE("taking room away is the opposite of opening it") {
    byte_string const before = filled(14, 0xaa) + filled(30, 0xbb);
    one_frame one(before, 40);
    one.f.offload = {checksum_state::partial, 1, 1000, 34, 24, 6};
    REQUIRE(open_room(one.f, 14, 40));
    close_room(one.f, 14, 40);
    CHECK(one.bytes() == before);
    CHECK(one.f.capacity == 44);
    CHECK(one.f.wire_length == 44);
    CHECK(one.f.offload.checksum_start == 24);
    CHECK(one.f.offload.header_length == 34);
}

TEST_CASE("offsets that mean nothing to the device stay") {
    one_frame one(filled(44), 20);
    REQUIRE(open_room(one.f, 14, 20));
    CHECK(one.f.offload.checksum_start == 0);
    CHECK(one.f.offload.header_length == 0);
}

TEST_CASE("link padding is cut off, and what a capture has cut stays") {
    one_frame one(filled(60), 0);
    trim_padding(one.f, 54);
    CHECK(one.f.length == 54);
    CHECK(one.f.wire_length == 54);
    one_frame cut(filled(60), 0);
    cut.f.wire_length = 100;
    trim_padding(cut.f, 54);
    CHECK(cut.f.length == 60);
}

TEST_CASE("every kind of link header says what it carries") {
    struct {
        link_type link;
        byte_string header, v4, v6;
    } const cases[] = {
        {link_type::ethernet, filled(12) + u16(0), filled(12) + u16(0x0800), filled(12) + u16(0x86dd)},
        {link_type::ethernet, filled(12) + u16(0x8100) + u16(7) + u16(0), filled(12) + u16(0x8100) + u16(7) + u16(0x0800),
         filled(12) + u16(0x8100) + u16(7) + u16(0x86dd)},
        {link_type::linux_cooked, filled(14) + u16(0), filled(14) + u16(0x0800), filled(14) + u16(0x86dd)},
        {link_type::linux_cooked2, u16(0) + filled(18), u16(0x0800) + filled(18), u16(0x86dd) + filled(18)},
        {link_type::null_loopback, u32(30), u32(2), u32(24)},
        {link_type::null_loopback, byte_string{30, 0, 0, 0}, byte_string{2, 0, 0, 0}, byte_string{24, 0, 0, 0}},
        {link_type::raw_ip, {}, {}, {}},
    };
    for (auto const& c : cases) {
        one_frame one(c.header, 0, c.link);
        announce_ip(one.f, c.header.size(), 4);
        CHECK(one.bytes() == c.v4);
        announce_ip(one.f, c.header.size(), 6);
        CHECK(one.bytes() == c.v6);
    }
}
