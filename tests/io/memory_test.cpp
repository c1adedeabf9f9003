// SPDX-License-Identifier: BSL-1.0
// The port in memory: bounded queues, slack behind every frame, and bytes that stay while they are looked at.
#include <halfproxy/io/memory.hpp>

#include "tests/support/packets.hpp"

#include <doctest/doctest.h>

#include <array>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

byte_string bytes_of(frame const& f) { return {f.data, f.data + f.length}; }

}  // namespace

TEST_CASE("frames are received in the order pushed, each with slack behind it") {
    memory_io io({.link = link_type::raw_ip});
    REQUIRE(io.push(byte_string{1, 2, 3}));
    REQUIRE(io.push(byte_string{4}, 60));
    std::array<frame, 8> in;
    REQUIRE(io.receive(in) == 2);
    CHECK(bytes_of(in[0]) == byte_string{1, 2, 3});
    CHECK(in[0].wire_length == 3);
    CHECK(in[0].capacity >= in[0].length + frame_slack_bytes);
    CHECK(in[0].link == link_type::raw_ip);
    CHECK(bytes_of(in[1]) == byte_string{4});
    CHECK(in[1].wire_length == 60);
    CHECK(io.receive(in) == 0);
}

TEST_CASE("what the last user of a buffer wrote into a frame does not show in the next frame") {
    memory_io io({.frames = 1});
    std::array<frame, 1> in;
    REQUIRE(io.push(byte_string{1}));
    REQUIRE(io.receive(in) == 1);
    in[0].outcome = verdict::drop;
    in[0].reason = drop_reason::no_flow;
    REQUIRE(io.receive(in) == 0);
    REQUIRE(io.push(byte_string{2}));
    REQUIRE(io.receive(in) == 1);
    CHECK(in[0].outcome == verdict::forward);
    CHECK(in[0].reason == drop_reason::none);
}

TEST_CASE("a full queue refuses, and frames being looked at keep their slots until the next receive") {
    memory_io io({.frames = 2});
    REQUIRE(io.push(byte_string{1}));
    REQUIRE(io.push(byte_string{2}));
    CHECK(!io.push(byte_string{3}));
    std::array<frame, 1> in;
    REQUIRE(io.receive(in) == 1);
    CHECK(!io.push(byte_string{3}));  // slot of frame 1 is in use, frame 2 waits
    CHECK(bytes_of(in[0]) == byte_string{1});
    REQUIRE(io.receive(in) == 1);
    CHECK(io.push(byte_string{3}));
    CHECK(bytes_of(in[0]) == byte_string{2});
    REQUIRE(io.receive(in) == 1);
    CHECK(bytes_of(in[0]) == byte_string{3});
    CHECK(io.waiting() == 0);
}

TEST_CASE("a frame longer than frame_bytes is refused on both ways") {
    memory_io io({.frames = 4, .frame_bytes = 10});
    CHECK(io.push(zeros(10)));
    CHECK(!io.push(zeros(11)));
    byte_string const fits = zeros(10), too_long = zeros(11);
    std::array<tx_frame, 3> const out{tx_frame{fits}, tx_frame{too_long}, tx_frame{fits}};
    CHECK(io.transmit(out) == 1);
    CHECK(io.sent().size() == 1);
}

TEST_CASE("sent frames are copies with their offloads; when as many as fit are sent, no more are taken") {
    memory_io io({.frames = 2});
    byte_string bytes{1, 2};
    tx_frame one{bytes};
    one.offload.segment_size = 1448;
    std::array<tx_frame, 3> const out{one, tx_frame{bytes}, tx_frame{bytes}};
    CHECK(io.transmit(out) == 2);
    bytes[0] = 9;
    REQUIRE(io.sent().size() == 2);
    CHECK(io.sent()[0].bytes[0] == 1);
    CHECK(io.sent()[0].offload.segment_size == 1448);
    CHECK(io.transmit(out) == 0);
    io.clear_sent();
    CHECK(io.sent().empty());
    CHECK(io.transmit(out) == 2);
}

TEST_CASE("a port of no frames receives and sends nothing") {
    memory_io io({.frames = 0});
    std::array<frame, 1> in;
    CHECK(!io.push(byte_string{1}));
    CHECK(io.receive(in) == 0);
    std::array<tx_frame, 1> const out{};
    CHECK(io.transmit(out) == 0);
}
