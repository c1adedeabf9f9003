// SPDX-License-Identifier: BSL-1.0
// Fast Open's option among others, at even and odd places, in both kinds.
#include <halfproxy/translate/fast_open.hpp>

#include <halfproxy/core/frame.hpp>

#include "tests/support/packets.hpp"

#include <doctest/doctest.h>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

byte_string blanked(byte_string const& options, checksum_state state = checksum_state::unknown) {
    tcp syn;
    syn.options = options;
    syn.payload = byte_string(9, 7);
    byte_string frame = ethernet(tcp_packet(ip4{}, syn));
    packet_view const view = parse(link_type::ethernet, byte_span(frame), static_cast<std::uint32_t>(frame.size()));
    header_changes changes;
    blank_fast_open(view, changes);
    incremental_checksum::commit(view, changes, state);
    tcp expected = syn;
    expected.options.assign(view.tcp_options().begin(), view.tcp_options().end());
    if (state != checksum_state::partial) CHECK(frame == ethernet(tcp_packet(ip4{}, expected)));  // the checksum included
    return {frame.begin() + 54, frame.begin() + 54 + static_cast<std::ptrdiff_t>(options.size())};
}

}  // namespace

TEST_CASE("the option is blanked in its own kind, cookie or request, wherever it stands (RFC 7413 section 4.1.1)") {
    CHECK(blanked({34, 2, 1, 1}) == byte_string{1, 1, 1, 1});
    CHECK(blanked({1, 34, 6, 9, 8, 7, 6, 1}) == byte_string(8, 1));
    CHECK(blanked({2, 4, 5, 180, 34, 7, 1, 2, 3, 4, 5, 1}) == byte_string{2, 4, 5, 180, 1, 1, 1, 1, 1, 1, 1, 1});
    CHECK(blanked({3, 3, 7, 34, 18, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 4, 2, 0}) ==
          byte_string{3, 3, 7, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 2, 0});
}

TEST_CASE("the experimental kinds count when they carry Fast Open's identifier (RFC 6994 section 3)") {
    CHECK(blanked({254, 8, 0xf9, 0x89, 1, 2, 3, 4}) == byte_string(8, 1));
    CHECK(blanked({253, 4, 0xf9, 0x89}) == byte_string(4, 1));
    CHECK(blanked({254, 4, 0xf9, 0x88}) == byte_string{254, 4, 0xf9, 0x88});
    CHECK(blanked({254, 3, 0xf9, 1}) == byte_string{254, 3, 0xf9, 1});
}

TEST_CASE("what is no Fast Open stays, and behind a malformed option nothing is looked at") {
    byte_string const usual{2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7};
    CHECK(blanked(usual) == usual);
    byte_string const damaged{30, 1, 34, 2};
    CHECK(blanked(damaged) == damaged);
    byte_string const beyond{34, 9, 1, 2};
    CHECK(blanked(beyond) == beyond);
    CHECK(blanked({0, 34, 2, 1}) == byte_string{0, 34, 2, 1});
}

TEST_CASE("under a partial checksum the device sums what is left: the field does not change") {
    CHECK(blanked({34, 2, 1, 1}, checksum_state::partial) == byte_string{1, 1, 1, 1});
}
