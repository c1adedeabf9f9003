// SPDX-License-Identifier: BSL-1.0
// Captures as ports: one time stamp per burst, own copies with slack, and writing with the time that was set.
#include <halfproxy/io/pcap_io.hpp>

#include "tests/support/packets.hpp"

#include <doctest/doctest.h>

#include <array>
#include <chrono>

using namespace halfproxy;
using namespace halfproxy::test;
using namespace std::chrono_literals;

namespace {

constexpr time_point at(std::chrono::nanoseconds t) { return time_point{t}; }

struct timed {
    std::chrono::nanoseconds time;
    byte_string bytes;
};

byte_string capture(std::initializer_list<timed> packets) {
    memory_sink sink;
    pcap_writer writer(sink, capture_format::pcap, link_type::raw_ip);
    for (timed const& p : packets) writer.write({p.bytes, at(p.time)});
    return sink.bytes;
}

}  // namespace

TEST_CASE("a burst holds only packets of one time stamp, and time() is that stamp") {
    byte_string const file = capture({{1s, {1}}, {1s, {2}}, {1s + 1ns, {3}}, {500ms, {4}}});
    pcap_reader_io io(file);
    std::array<frame, 8> in;
    CHECK(io.time() == at(1s));
    CHECK(io.next_time() == at(1s));
    CHECK(io.capabilities().link == link_type::raw_ip);
    REQUIRE(io.receive(in) == 2);
    CHECK(io.time() == at(1s));
    CHECK(in[1].data[0] == 2);
    CHECK(io.next_time() == at(1s + 1ns));
    REQUIRE(io.receive(in) == 1);
    CHECK(io.time() == at(1s + 1ns));
    CHECK(io.first_number() == 3);
    REQUIRE(io.receive(in) == 1);
    CHECK(io.time() == at(500ms));  // the file's order counts, not the clock's
    CHECK(io.done());
    CHECK(io.receive(in) == 0);
    CHECK(io.next_time() == std::nullopt);
    CHECK(io.reader().status() == capture_status::end);
}

TEST_CASE("a burst longer than the caller's span goes on in the next call with the same time") {
    byte_string const file = capture({{1s, {1}}, {1s, {2}}, {1s, {3}}});
    pcap_reader_io io(file);
    std::array<frame, 2> in;
    CHECK(io.receive(in) == 2);
    CHECK(io.receive(in) == 1);
    CHECK(in[0].data[0] == 3);
    CHECK(io.time() == at(1s));
}

TEST_CASE("frames are copies that may grow by the slack without touching the file or each other") {
    byte_string const file = capture({{1s, {1, 1}}, {1s, {2, 2}}});
    byte_string const before = file;
    pcap_reader_io io(file);
    std::array<frame, 2> in;
    REQUIRE(io.receive(in) == 2);
    REQUIRE(in[0].capacity >= 2 + frame_slack_bytes);
    std::fill_n(in[0].data, in[0].capacity, std::uint8_t{9});
    CHECK(in[1].data[0] == 2);
    CHECK(file == before);
}

TEST_CASE("the largest records the reader delivers are received, as many at a time as the buffer holds") {
    byte_string const large = zeros(max_capture_record_bytes);
    byte_string const file = capture({{1s, large}, {1s, large}, {1s, large}, {1s, large}, {1s, large}});
    pcap_reader_io io(file);
    std::array<frame, 8> in;
    CHECK(io.receive(in) == 4);
    CHECK(in[3].length == max_capture_record_bytes);
    CHECK(io.receive(in) == 1);
    CHECK(io.done());
}

TEST_CASE("a truncated capture gives its whole packets, and the reader then tells of the truncation") {
    byte_string file = capture({{1s, {1, 2}}, {2s, {3, 4}}});
    file.pop_back();
    pcap_reader_io io(file);
    std::array<frame, 2> in;
    CHECK(io.receive(in) == 1);
    CHECK(io.done());
    CHECK(io.reader().status() == capture_status::truncated);
}

TEST_CASE("transmitted frames are written with the time set before") {
    memory_sink sink;
    pcap_writer writer(sink, capture_format::pcapng, link_type::raw_ip);
    pcap_writer_io io(writer, link_type::raw_ip);
    byte_string const bytes{1, 2, 3};
    std::array<tx_frame, 2> const out{tx_frame{bytes}, tx_frame{bytes}};
    io.set_time(at(5s));
    CHECK(io.transmit(out) == 2);
    io.set_time(at(6s));
    CHECK(io.transmit(std::span(out).first(1)) == 1);
    std::array<frame, 1> in;
    CHECK(io.receive(in) == 0);
    pcap_reader reader(sink.bytes);
    capture_record record;
    REQUIRE(reader.next(record));
    CHECK(record.time == at(5s));
    CHECK(record.link == link_type::raw_ip);
    REQUIRE(reader.next(record));
    REQUIRE(reader.next(record));
    CHECK(record.time == at(6s));
    CHECK(!reader.next(record));
}
