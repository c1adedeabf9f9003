// SPDX-License-Identifier: BSL-1.0
// A traced port behaves as without the trace, and the pcapng holds every frame as it came, with direction and verdict.
#include <halfproxy/io/trace.hpp>

#include <halfproxy/io/memory.hpp>

#include "tests/support/packets.hpp"

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <string>

using namespace halfproxy;
using namespace halfproxy::test;
using namespace std::chrono_literals;

namespace {

constexpr time_point at(std::chrono::nanoseconds t) { return time_point{t}; }
static_assert(packet_io<trace_io<memory_io, memory_sink>>);

struct fixture {
    memory_sink sink;
    pcap_writer<memory_sink> writer{sink, capture_format::pcapng, link_type::ethernet};
    memory_io inner;

    [[nodiscard]] std::vector<byte_string> packets() const {
        pcap_reader reader(sink.bytes);
        capture_record record;
        std::vector<byte_string> out;
        while (reader.next(record)) out.emplace_back(record.bytes.begin(), record.bytes.end());
        REQUIRE(reader.status() == capture_status::end);
        return out;
    }
    [[nodiscard]] bool mentions(std::string const& text) const {
        return std::string(sink.bytes.begin(), sink.bytes.end()).find(text) != std::string::npos;
    }
};

std::string const inbound("\x02\0\x04\0\x01\0\0\0", 8);   // epb_flags option
std::string const outbound("\x02\0\x04\0\x02\0\0\0", 8);

}  // namespace

TEST_CASE("received frames are written as inbound, sent ones as outbound, with the time set before") {
    fixture f;
    trace_io io(f.inner, f.writer);
    io.set_time(at(3s));
    f.inner.push(byte_string{1});
    std::array<frame, 2> in;
    REQUIRE(io.receive(in) == 1);
    CHECK(f.mentions(inbound));
    CHECK(!f.mentions(outbound));
    byte_string const reply{2};
    std::array<tx_frame, 1> const out{tx_frame{reply}};
    REQUIRE(io.transmit(out) == 1);
    CHECK(f.mentions(outbound));
    CHECK(f.inner.sent().size() == 1);
    CHECK(f.packets() == std::vector<byte_string>{{1}, {2}});
    pcap_reader reader(f.sink.bytes);
    capture_record record;
    REQUIRE(reader.next(record));
    CHECK(record.time == at(3s));
}

TEST_CASE("frames the port did not take are not in the trace") {
    fixture f;
    f.inner = memory_io({.frames = 1});
    trace_io io(f.inner, f.writer);
    byte_string const a{1}, b{2};
    std::array<tx_frame, 2> const out{tx_frame{a}, tx_frame{b}};
    CHECK(io.transmit(out) == 1);
    CHECK(f.packets() == std::vector<byte_string>{{1}});
}

TEST_CASE("with bytes kept, a frame is traced as it came, with what became of it") {
    fixture f;
    trace_io io(f.inner, f.writer, 0, 4096);
    f.inner.push(byte_string{1});
    f.inner.push(byte_string{2});
    std::array<frame, 2> in;
    REQUIRE(io.receive(in) == 2);
    CHECK(f.packets().empty());
    in[0].data[0] = 99;
    in[0].outcome = verdict::reply;
    in[1].outcome = verdict::drop;
    in[1].reason = drop_reason::cookie_invalid;
    io.conclude(in);
    CHECK(f.packets() == std::vector<byte_string>{{1}, {2}});
    CHECK(f.mentions("reply"));
    CHECK(f.mentions("drop: cookie_invalid"));
}

TEST_CASE("frames never concluded are traced before what happens next") {
    fixture f;
    trace_io io(f.inner, f.writer, 0, 4096);
    f.inner.push(byte_string{1});
    std::array<frame, 1> in;
    REQUIRE(io.receive(in) == 1);
    byte_string const reply{2};
    std::array<tx_frame, 1> const out{tx_frame{reply}};
    io.transmit(out);
    CHECK(f.packets() == std::vector<byte_string>{{1}, {2}});
}

TEST_CASE("frames that do not fit the kept bytes are traced at once, without verdict") {
    fixture f;
    trace_io io(f.inner, f.writer, 0, 10);
    f.inner.push(zeros(8));
    f.inner.push(zeros(3));
    std::array<frame, 2> in;
    REQUIRE(io.receive(in) == 2);
    CHECK(f.packets() == std::vector<byte_string>{zeros(3)});
    io.conclude(in);
    CHECK(f.packets() == std::vector<byte_string>{zeros(3), zeros(8)});
}

TEST_CASE("a writer that refuses stops the trace, not the traffic") {
    struct refusing_sink {
        bool write(byte_view) { return false; }
    } sink;
    pcap_writer writer(sink, capture_format::pcapng, link_type::ethernet);
    memory_io inner;
    trace_io io(inner, writer);
    inner.push(byte_string{1});
    std::array<frame, 1> in;
    CHECK(io.receive(in) == 1);
    CHECK(io.lost() == 1);
}
