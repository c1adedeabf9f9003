// SPDX-License-Identifier: BSL-1.0
// Captures read back as they were written, in every format and byte order; damaged ones stop with a reason and an offset.
#include <halfproxy/io/pcap_file.hpp>

#include "tests/support/packets.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>

using namespace halfproxy;
using namespace halfproxy::test;
using namespace std::chrono_literals;

namespace {

byte_string number(std::uint64_t value, unsigned bytes, bool big) {
    byte_string out;
    for (unsigned i = 0; i < bytes; ++i)
        out.push_back(static_cast<std::uint8_t>(value >> 8 * (big ? bytes - 1 - i : i)));
    return out;
}

byte_string pcap_header(std::uint32_t magic, bool big, std::uint32_t linktype = 1, unsigned minor = 4) {
    return number(magic, 4, big) + number(2, 2, big) + number(minor, 2, big) + zeros(8) + number(65535, 4, big) +
           number(linktype, 4, big);
}

byte_string pcap_record(bool big, std::uint32_t s, std::uint32_t fraction, byte_string const& bytes, std::uint32_t wire,
                        byte_string const& more = {}) {
    return number(s, 4, big) + number(fraction, 4, big) + number(bytes.size(), 4, big) + number(wire, 4, big) + more +
           bytes;
}

byte_string block(std::uint32_t type, byte_string body, bool big = false) {
    body.resize((body.size() + 3) / 4 * 4);
    byte_string const length = number(body.size() + 12, 4, big);
    return number(type, 4, big) + length + body + length;
}
byte_string section(bool big = false) {
    return block(0x0a0d0d0a, number(0x1a2b3c4d, 4, big) + number(1, 2, big) + number(0, 2, big) + byte_string(8, 0xff),
                 big);
}
byte_string option(unsigned code, byte_string value, bool big) {
    byte_string out = number(code, 2, big) + number(value.size(), 2, big) + value;
    out.resize((out.size() + 3) / 4 * 4);
    return out;
}
byte_string interface_block(unsigned linktype, bool big = false, unsigned snap = 0, byte_string const& options = {}) {
    return block(1, number(linktype, 2, big) + zeros(2) + number(snap, 4, big) + options, big);
}
byte_string enhanced(unsigned id, std::uint64_t stamp, byte_string const& bytes, bool big = false) {
    return block(6,
                 number(id, 4, big) + number(stamp >> 32, 4, big) + number(stamp & 0xffffffff, 4, big) +
                     number(bytes.size(), 4, big) + number(bytes.size(), 4, big) + bytes,
                 big);
}

struct read_result {
    std::vector<capture_record> records;
    capture_status status;
    std::uint64_t offset;
    std::string message;
};

read_result read(byte_view file) {
    pcap_reader reader(file);
    read_result out;
    capture_record record;
    while (reader.next(record)) out.records.push_back(record);
    out.status = reader.status();
    out.offset = reader.offset();
    out.message = reader.message();
    return out;
}

bool holds(capture_record const& record, byte_string const& bytes) {
    return std::equal(record.bytes.begin(), record.bytes.end(), bytes.begin(), bytes.end());
}

constexpr time_point at(std::chrono::nanoseconds t) { return time_point{t}; }

/// A file in the system's place for such, gone afterwards.
struct scratch_file {
    std::string path = (std::filesystem::temp_directory_path() / "halfproxy-pcap-XXXXXX").string();
    scratch_file() {
        int const descriptor = ::mkstemp(path.data());
        REQUIRE(descriptor >= 0);
        std::filesystem::remove(path);
    }
    ~scratch_file() { std::filesystem::remove(path); }
};

}  // namespace

TEST_CASE("pcap: every magic number in both byte orders gives the same packets") {
    byte_string const one{1, 2, 3}, two{4};
    for (bool const big : {false, true})
        for (std::uint32_t const magic : {0xa1b2c3d4u, 0xa1b23c4du, 0xa1b2cd34u}) {
            CAPTURE(big);
            CAPTURE(magic);
            byte_string const more = magic == 0xa1b2cd34u ? zeros(8) : byte_string{};
            byte_string const file = pcap_header(magic, big) + pcap_record(big, 7, 500, one, 99, more) +
                                     pcap_record(big, 4000000000u, 0, two, 1, more);
            read_result const r = read(file);
            REQUIRE(r.records.size() == 2);
            CHECK(r.status == capture_status::end);
            CHECK(r.message.empty());
            CHECK(holds(r.records[0], one));
            CHECK(holds(r.records[1], two));
            CHECK(r.records[0].wire_length == 99);
            CHECK(r.records[0].time == at(7s + (magic == 0xa1b23c4du ? 500ns : 500us)));
            CHECK(r.records[1].time == at(std::chrono::seconds(4000000000)));
            CHECK(r.records[1].number == 2);
            CHECK(r.records[1].link == link_type::ethernet);
        }
}

TEST_CASE("pcap before version 2.3 has the wire's length first") {
    byte_string const file = pcap_header(0xa1b2c3d4u, false, 1, 2) + zeros(8) + number(70, 4, false) +
                             number(2, 4, false) + byte_string{8, 9};
    read_result const r = read(file);
    REQUIRE(r.records.size() == 1);
    CHECK(r.records[0].bytes.size() == 2);
    CHECK(r.records[0].wire_length == 70);
}

TEST_CASE("LINKTYPE_ numbers map to what the parser knows, and a writer's number maps back") {
    struct pair {
        std::uint32_t number;
        link_type link;
    };
    for (pair const p : {pair{0, link_type::null_loopback}, {1, link_type::ethernet}, {12, link_type::raw_ip},
                         {14, link_type::raw_ip}, {101, link_type::raw_ip}, {108, link_type::null_loopback},
                         {113, link_type::linux_cooked}, {228, link_type::raw_ip}, {229, link_type::raw_ip},
                         {276, link_type::linux_cooked2}, {105, link_type::unsupported}, {147, link_type::unsupported}})
        CHECK(link_type_of(p.number) == p.link);
    CHECK(link_type_of(0x24000001u) == link_type::ethernet);  // with the length of a frame check sequence above
    for (link_type const link : {link_type::ethernet, link_type::raw_ip, link_type::linux_cooked,
                                 link_type::linux_cooked2, link_type::null_loopback, link_type::unsupported})
        CHECK(link_type_of(linktype_number(link)) == link);
}

TEST_CASE("pcap cut at every byte delivers the whole records and then says truncated, with the record's offset") {
    byte_string const record = pcap_record(false, 1, 0, zeros(10), 10);
    byte_string const file = pcap_header(0xa1b2c3d4u, false) + record + record;
    for (std::size_t n = 4; n < file.size(); ++n) {
        CAPTURE(n);
        byte_string const cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(n));
        read_result const r = read(cut);
        std::size_t const whole = n < 24 ? 0 : (n - 24) / record.size();
        CHECK(r.records.size() == whole);
        bool const clean = n >= 24 && (n - 24) % record.size() == 0;
        CHECK(r.status == (clean ? capture_status::end : capture_status::truncated));
        if (!clean) CHECK(r.offset == (n < 24 ? 0 : 24 + whole * record.size()));
    }
}

TEST_CASE("the message of a truncated capture names the byte, the place and the whole packets") {
    byte_string file = pcap_header(0xa1b2c3d4u, false) + pcap_record(false, 1, 0, zeros(10), 10) +
                       pcap_record(false, 1, 0, zeros(10), 10);
    file.pop_back();
    CHECK(read(file).message == "byte 50: the file ends inside a packet record (after 1 whole packet)");
}

TEST_CASE("a pcap record that claims more than 256 KiB is damage, even if the file ends before it would") {
    byte_string const head = pcap_header(0xa1b2c3d4u, false);
    byte_string const good = head + pcap_record(false, 1, 0, zeros(max_capture_record_bytes), max_capture_record_bytes);
    CHECK(read(good).records.size() == 1);
    byte_string const bad = head + zeros(8) + number(max_capture_record_bytes + 1, 4, false) + zeros(100);
    read_result const r = read(bad);
    CHECK(r.records.empty());
    CHECK(r.status == capture_status::damaged);
    CHECK(r.offset == 24);
}

TEST_CASE("what is no capture is called by its name") {
    CHECK(read(byte_string{}).message == "not a capture: it is empty");
    CHECK(read(byte_string{0xd4, 0xc3}).status == capture_status::not_a_capture);
    CHECK(read(byte_string{0x1f, 0x8b, 8, 0, 0}).message == "not a capture: it is compressed with gzip; decompress it first");
    CHECK(read(byte_string{'h', 'e', 'l', 'l', 'o'}).status == capture_status::not_a_capture);
    CHECK(read(number(0x0a0d0d0a, 4, false) + number(28, 4, false) + zeros(20)).status == capture_status::not_a_capture);
}

TEST_CASE("pcapng: sections of either byte order, interfaces of different links, unknown blocks between") {
    byte_string const one{1, 2, 3, 4, 5}, two{6};
    byte_string const file = section() + interface_block(1) + block(0x0bad, zeros(9)) + interface_block(101) +
                             enhanced(1, 1'000'001, one) + section(true) + interface_block(113, true) +
                             enhanced(0, 2, two, true) + block(5, zeros(12), true);
    read_result const r = read(file);
    REQUIRE(r.records.size() == 2);
    CHECK(r.status == capture_status::end);
    CHECK(holds(r.records[0], one));
    CHECK(r.records[0].link == link_type::raw_ip);
    CHECK(r.records[0].interface == 1);
    CHECK(r.records[0].time == at(1s + 1us));
    CHECK(holds(r.records[1], two));
    CHECK(r.records[1].link == link_type::linux_cooked);
    CHECK(r.records[1].interface == 2);
}

TEST_CASE("pcapng: if_tsresol in powers of ten and of two, and if_tsoffset, decide the time") {
    struct row {
        unsigned resolution;
        std::uint64_t stamp;
        std::int64_t offset;
        std::chrono::nanoseconds expected;
    };
    std::uint64_t const all = ~std::uint64_t{0};
    for (bool const big : {false, true})
        for (row const& w : {row{6, 3'000'005, 0, 3s + 5us}, row{9, 3'000'000'005, 0, 3s + 5ns}, row{0, 12, 0, 12s},
                             row{3, 1500, 0, 1500ms}, row{12, 2'000'000'000'999, 0, 2s}, row{127, all, 0, 0ns},
                             row{0x80, 5, 0, 5s}, row{0x80 | 10, 1024 + 512, 0, 1500ms},
                             row{0x80 | 32, (std::uint64_t{1} << 32) * 4 + (1u << 31), 0, 4500ms},
                             row{0x80 | 63, std::uint64_t{1} << 62, 0, 500ms}, row{6, 1'000'000, 100, 101s},
                             row{6, 1'000'000, -100, -99s}, row{0x80 | 127, all, 7, 7s}}) {
            CAPTURE(w.resolution);
            byte_string const options =
                option(9, u8(w.resolution), big) +
                option(14, number(static_cast<std::uint64_t>(w.offset), 8, big), big) + option(0, {}, big);
            byte_string const file = section(big) + interface_block(1, big, 0, options) + enhanced(0, w.stamp, u8(1), big);
            read_result const r = read(file);
            REQUIRE(r.records.size() == 1);
            CHECK(r.records[0].time == at(w.expected));
        }
}

TEST_CASE("pcapng: a stamp that no time point holds is moved to the last one, not wrapped") {
    byte_string const options = option(9, u8(0), false);
    byte_string const file = section() + interface_block(1, false, 0, options) + enhanced(0, ~std::uint64_t{0}, u8(1));
    CHECK(read(file).records.at(0).time > at(std::chrono::hours(24 * 365 * 200)));
}

TEST_CASE("pcapng: a simple packet is cut by the first interface's snap length and takes the time of the one before") {
    byte_string const data = byte_string(10, 7);
    byte_string const file = section() + interface_block(1, false, 10) + enhanced(0, 5'000'000, u8(1)) +
                             block(3, number(300, 4, false) + data);
    read_result const r = read(file);
    REQUIRE(r.records.size() == 2);
    CHECK(holds(r.records[1], data));
    CHECK(r.records[1].wire_length == 300);
    CHECK(r.records[1].time == at(5s));
}

TEST_CASE("pcapng: the obsolete packet block is read") {
    byte_string const file = section() + interface_block(1) + interface_block(101) +
                             block(2, number(1, 2, false) + number(3, 2, false) + number(0, 4, false) +
                                          number(9, 4, false) + number(2, 4, false) + number(60, 4, false) + u16(0x4500));
    read_result const r = read(file);
    REQUIRE(r.records.size() == 1);
    CHECK(r.records[0].link == link_type::raw_ip);
    CHECK(r.records[0].wire_length == 60);
    CHECK(r.records[0].time == at(9us));
}

TEST_CASE("pcapng: what cannot be is damage, at the block's offset") {
    byte_string const head = section() + interface_block(1);
    byte_string other_length = enhanced(0, 1, u8(1));
    other_length[other_length.size() - 4] ^= 4;
    byte_string const body_20 = zeros(12) + number(9, 4, false) + number(9, 4, false);
    byte_string version_2 = section();
    version_2[12] = 2;
    for (byte_string const& bad :
         {other_length, enhanced(1, 1, u8(1)), block(6, zeros(16)), block(6, body_20 + zeros(8)), block(1, zeros(4)),
          block(3, {}), block(3, number(5, 4, false)), version_2, number(9, 4, false) + number(8, 4, false) + zeros(8),
          number(9, 4, false) + number(13, 4, false) + zeros(8)}) {
        byte_string const file = head + bad;
        read_result const r = read(file);
        CHECK(r.records.empty());
        CHECK(r.status == capture_status::damaged);
        CHECK(r.offset == head.size());
        CHECK(!r.message.empty());
    }
    byte_string const no_interface = section() + block(3, number(1, 4, false) + zeros(4));
    CHECK(read(no_interface).status == capture_status::damaged);
}

TEST_CASE("pcapng cut at every byte delivers the whole packets and then says truncated") {
    byte_string const head = section() + interface_block(1);
    byte_string const packet = enhanced(0, 1, zeros(5));
    byte_string const file = head + packet + packet;
    for (std::size_t n = 4; n < file.size(); ++n) {
        CAPTURE(n);
        byte_string const cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(n));
        read_result const r = read(cut);
        bool const clean = n == 28 || n == head.size() || n == head.size() + packet.size();
        CHECK(r.records.size() == (n >= head.size() + packet.size() ? 1 : 0));
        CHECK(r.status == (clean ? capture_status::end : capture_status::truncated));
    }
}

TEST_CASE("both formats give back what was written: bytes, wire length, time, link") {
    for (capture_format const format : {capture_format::pcap, capture_format::pcapng}) {
        memory_sink sink;
        pcap_writer writer(sink, format, link_type::linux_cooked2, 100);
        for (std::uint32_t n = 0; n < 130; ++n)
            REQUIRE(writer.write({byte_string(n, static_cast<std::uint8_t>(n)), at(n * 1s + 3ns), n % 2 ? 2000u : 0u}));
        read_result const r = read(sink.bytes);
        REQUIRE(r.records.size() == 130);
        CHECK(writer.records() == 130);
        CHECK(r.status == capture_status::end);
        for (std::uint32_t n = 0; n < 130; ++n) {
            CHECK(holds(r.records[n], byte_string(std::min(n, 100u), static_cast<std::uint8_t>(n))));
            CHECK(r.records[n].wire_length == (n % 2 ? 2000u : n));
            CHECK(r.records[n].time == at(n * 1s + 3ns));
            CHECK(r.records[n].linktype == 276);
        }
    }
}

TEST_CASE("a pcapng written with interfaces, direction and comment says so in its blocks") {
    memory_sink sink;
    pcap_writer writer(sink, capture_format::pcapng, link_type::ethernet);
    CHECK(writer.add_interface(101, "inside") == 1);
    byte_string const data{1, 2, 3};
    capture_packet packet{data};
    packet.interface = 1;
    packet.direction = packet_direction::outbound;
    packet.comment = "drop: no_flow";
    REQUIRE(writer.write(packet));
    read_result const r = read(sink.bytes);
    REQUIRE(r.records.size() == 1);
    CHECK(r.records[0].link == link_type::raw_ip);
    CHECK(r.records[0].interface == 1);
    std::string const text(sink.bytes.begin(), sink.bytes.end());
    CHECK(text.find("inside") != std::string::npos);
    CHECK(text.find(std::string("\x02\0\x04\0\x02\0\0\0", 8)) != std::string::npos);        // epb_flags: outbound
    CHECK(text.find(std::string("\x01\0\x0d\0drop: no_flow\0\0\0", 20)) != std::string::npos);  // opt_comment
}

TEST_CASE("a stamp the format cannot hold is moved to the nearest one it can") {
    memory_sink sink;
    pcap_writer writer(sink, capture_format::pcap, link_type::ethernet);
    REQUIRE(writer.write({zeros(1), at(-5s)}));
    REQUIRE(writer.write({zeros(1), at(std::chrono::hours(24 * 365 * 150))}));
    read_result const r = read(sink.bytes);
    REQUIRE(r.records.size() == 2);
    CHECK(r.records[0].time == at(0s));
    CHECK(r.records[1].time == at(std::chrono::seconds(0xffffffff)));
}

TEST_CASE("after a sink refuses, the writer writes nothing more and says so") {
    struct small_sink {
        std::size_t room = 60;
        std::size_t calls_after_refusal = 0;
        bool refused = false;
        bool write(byte_view bytes) {
            calls_after_refusal += refused;
            refused = refused || bytes.size() > room;
            if (!refused) room -= bytes.size();
            return !refused;
        }
    } sink;
    pcap_writer writer(sink, capture_format::pcap, link_type::ethernet);
    CHECK(writer.write({zeros(10)}));
    CHECK(!writer.write({zeros(10)}));
    CHECK(!writer.write({zeros(1)}));
    CHECK(!writer.good());
    CHECK(writer.records() == 1);
    CHECK(sink.calls_after_refusal == 0);
}

TEST_CASE("a capture on disk is read back; what cannot be opened is named") {
    scratch_file file;
    file_sink sink(file.path);
    pcap_writer writer(sink, capture_format::pcap, link_type::ethernet);
    for (int i = 0; i < 3; ++i) REQUIRE(writer.write({byte_string(50'000, 3)}));
    REQUIRE(!sink.close());
    capture_file const capture(file.path);
    CHECK(read(capture.bytes()).records.size() == 3);

    std::error_code error;
    capture_file const none("/nonexistent/x.pcap", error);
    CHECK(error == std::errc::no_such_file_or_directory);
    CHECK_THROWS_WITH(capture_file("/nonexistent/x.pcap"), doctest::Contains("/nonexistent/x.pcap"));
    CHECK_THROWS_WITH(file_sink("/nonexistent/x.pcap"), doctest::Contains("/nonexistent/x.pcap"));
    capture_file const folder("/", error);
    CHECK(error == std::errc::is_a_directory);
}

TEST_CASE("a full disk is reported by close, not lost") {
    std::error_code error;
    file_sink sink("/dev/full", error);
    if (error) return;  // not on this system
    CHECK(sink.write(zeros(10)));
    CHECK(sink.close() == std::errc::no_space_on_device);
    CHECK(sink.close() == std::errc::no_space_on_device);
}
