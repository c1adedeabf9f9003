// SPDX-License-Identifier: BSL-1.0
// TCP options of every kind, right and wrong: RFC 9293 section 3.1, RFC 7323, RFC 2018, RFC 7413.
#include <halfproxy/wire/tcp_options.hpp>

#include "tests/support/packets.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

byte_string const nop{1};
byte_string mss(unsigned v) { return byte_string{2, 4} + u16(v); }
byte_string scale(unsigned v) { return byte_string{3, 3} + u8(v); }
byte_string const sack_permitted{4, 2};
byte_string timestamps(std::uint32_t value, std::uint32_t echo) { return byte_string{8, 10} + u32(value) + u32(echo); }
byte_string sack(unsigned blocks) {
    byte_string out = u8(5) + u8(2 + 8 * blocks);
    for (unsigned i = 0; i < blocks; ++i) out = out + u32(100 * i + 1) + u32(100 * i + 50);
    return out;
}

/// In an exact-size heap buffer, so that a sanitizer sees one byte too many.
tcp_options parsed(byte_string const& bytes) {
    byte_string const exact(bytes);
    return parse_tcp_options(exact);
}

}  // namespace

TEST_CASE("no options say nothing") {
    tcp_options const o = parsed({});
    CHECK(!o.malformed);
    CHECK(!o.has_mss);
    CHECK(!o.has_window_scale);
    CHECK(!o.sack_permitted);
    CHECK(!o.has_timestamps);
    CHECK(o.sack_count == 0);
}

TEST_CASE("a Linux SYN's options are read in one pass") {
    tcp_options const o = parsed(mss(1460) + sack_permitted + timestamps(0x01020304, 0) + nop + scale(7));
    CHECK(!o.malformed);
    CHECK(!o.repeated);
    CHECK(!o.has_unknown);
    CHECK(o.has_mss);
    CHECK(o.mss == 1460);
    CHECK(o.sack_permitted);
    CHECK(o.has_timestamps);
    CHECK(o.timestamp_value == 0x01020304);
    CHECK(o.timestamp_echo == 0);
    CHECK(o.timestamps_at == 8);
    CHECK(o.has_window_scale);
    CHECK(o.window_scale == 7);
}

TEST_CASE("timestamps alone, in the form of RFC 7323 appendix A, read the same as in any other form") {
    tcp_options const quick = parsed(nop + nop + timestamps(7, 9));
    tcp_options const slow = parsed(timestamps(7, 9) + nop + nop);
    CHECK(quick.has_timestamps);
    CHECK(quick.timestamps_at == 4);
    CHECK(slow.timestamps_at == 2);
    CHECK(quick.timestamp_value == 7);
    CHECK(slow.timestamp_value == 7);
    CHECK(quick.timestamp_echo == 9);
    CHECK(slow.timestamp_echo == 9);
}

TEST_CASE("one to four SACK blocks (RFC 2018 section 3)") {
    for (unsigned n = 1; n <= 4; ++n) {
        CAPTURE(n);
        tcp_options const o = parsed(nop + nop + sack(n));
        CHECK(!o.malformed);
        REQUIRE(o.sack_count == n);
        CHECK(o.sack_at == 4);
        for (unsigned i = 0; i < n; ++i) {
            CHECK(o.sack_blocks[i].left.value == 100 * i + 1);
            CHECK(o.sack_blocks[i].right.value == 100 * i + 50);
        }
    }
}

TEST_CASE("SACK whose length is no whole number of blocks, or none, is malformed") {
    CHECK(parsed(byte_string{5, 2}).malformed);
    for (unsigned length : {3u, 9u, 11u, 17u, 19u}) CHECK(parsed(u8(5) + u8(length) + zeros(length - 2)).malformed);
}

TEST_CASE("five SACK blocks, which no header holds, are cut to four") {
    CHECK(parsed(sack(5)).sack_count == 4);
}

TEST_CASE("everything behind the end option is padding") {
    tcp_options const o = parsed(mss(1400) + byte_string{0} + scale(9) + byte_string{2, 0});
    CHECK(!o.malformed);
    CHECK(o.mss == 1400);
    CHECK(!o.has_window_scale);
}

TEST_CASE("forty no-operations are nothing") {
    tcp_options const o = parsed(byte_string(40, 1));
    CHECK(!o.malformed);
    CHECK(!o.has_unknown);
}

TEST_CASE("length 0, 1 or beyond the options is malformed, whatever the kind; what stood before it is valid") {
    for (unsigned kind = 2; kind < 256; ++kind)
        for (unsigned length : {0u, 1u, 7u, 255u}) {
            CAPTURE(kind);
            CAPTURE(length);
            tcp_options const o = parsed(mss(1400) + u8(kind) + u8(length) + zeros(4));
            CHECK(o.malformed);
            CHECK(o.mss == 1400);
        }
}

TEST_CASE("a kind without a length byte is malformed") {
    for (unsigned kind = 2; kind < 256; ++kind) CHECK(parsed(nop + u8(kind)).malformed);
}

TEST_CASE("a wrong length for its kind is malformed: MSS 4, scale 3, SACK permitted 2, timestamps 10") {
    struct row {
        unsigned kind, right;
    };
    for (row const r : {row{2, 4}, row{3, 3}, row{4, 2}, row{8, 10}})
        for (unsigned length = 2; length <= 12; ++length) {
            CAPTURE(r.kind);
            CAPTURE(length);
            CHECK(parsed(u8(r.kind) + u8(length) + zeros(length - 2)).malformed == (length != r.right));
        }
}

TEST_CASE("of an option that stands twice the first counts") {
    tcp_options const o = parsed(mss(1460) + mss(536) + scale(7) + scale(1) + timestamps(1, 2) + timestamps(3, 4));
    CHECK(o.repeated);
    CHECK(!o.malformed);
    CHECK(o.mss == 1460);
    CHECK(o.window_scale == 7);
    CHECK(o.timestamp_value == 1);
    CHECK(o.timestamps_at == 16);
    CHECK(parsed(sack_permitted + sack_permitted).repeated);
    tcp_options const s = parsed(sack(1) + sack(2));
    CHECK(s.repeated);
    CHECK(s.sack_count == 1);
}

TEST_CASE("a window scale beyond 14 is reported as sent (RFC 7323 section 2.3 leaves it to the receiver)") {
    CHECK(parsed(scale(255)).window_scale == 255);
}

TEST_CASE("TCP fast open and unknown kinds are noted and skipped") {
    CHECK(parsed(byte_string{34, 2}).has_fast_open);
    CHECK(parsed(byte_string{34, 10} + zeros(8)).has_fast_open);
    tcp_options const o = parsed(byte_string{254, 4, 1, 2} + byte_string{19, 18} + zeros(16) + mss(900));
    CHECK(o.has_unknown);
    CHECK(!o.malformed);
    CHECK(o.mss == 900);
}

TEST_CASE("the cursor gives kind, place and content of each option and ends where parse_tcp_options does") {
    byte_string const bytes = nop + mss(1460) + nop + scale(7) + byte_string{0};
    tcp_option_cursor cursor(bytes);
    tcp_option_view option;
    REQUIRE(cursor.next(option));
    CHECK(option.kind == tcp_option::mss);
    CHECK(option.at == 3);
    CHECK(option.content.size() == 2);
    REQUIRE(cursor.next(option));
    CHECK(option.kind == tcp_option::window_scale);
    CHECK(option.at == 8);
    CHECK(!cursor.next(option));
    CHECK(!cursor.malformed());
}

TEST_CASE("any bytes of any length up to 40 are parsed without reading beyond them") {
    CHECK(rc::check("options at hand are within the bytes", [](byte_string bytes) {
        if (bytes.size() > 40) bytes.resize(40);
        // Small kinds and lengths, so that most bytes mean something.
        for (std::size_t i = 0; i < bytes.size(); i += 1 + i % 3) bytes[i] = static_cast<std::uint8_t>(bytes[i] % 12);
        tcp_options const o = parsed(bytes);
        if (o.has_timestamps) RC_ASSERT(o.timestamps_at + 8u <= bytes.size());
        if (o.sack_count != 0) RC_ASSERT(o.sack_at + 8u * o.sack_count <= bytes.size());
    }));
}
