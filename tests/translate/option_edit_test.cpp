// SPDX-License-Identifier: BSL-1.0
// Options blanked, lowered and put in: what is read back, and every checksum.
#include <halfproxy/translate/option_edit.hpp>

#include "tests/support/timeline.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

struct held_frame {
    byte_string bytes;
    frame f;

    held_frame(segment const& s, unsigned version, std::size_t room = 12) {
        endpoints e;
        e.version = version;
        bytes = framed(e, tcp_datagram(e, true, s));
        f.length = f.wire_length = static_cast<std::uint32_t>(bytes.size());
        bytes.resize(bytes.size() + room);
        f.data = bytes.data();
        f.capacity = static_cast<std::uint32_t>(bytes.size());
    }
    packet_view view() { return parse(f.link, f.bytes(), f.wire_length); }
    decoded read() {
        decoded const d = decode(f.bytes());
        CHECK(d.network_checksum_good);
        CHECK(d.transport_checksum_good);
        return d;
    }
    template <class Edit>
    decoded edited(Edit edit) {
        packet_view const v = view();
        tcp_options options = parse_tcp_options(v.tcp_options());
        header_changes changes;
        edit(v, options, changes);
        incremental_checksum::commit(v, changes, f.offload.checksum);
        return read();
    }
};

segment sample(unsigned padding) {
    segment s{.seq = 5, .ack = 6, .flags = flags::ack, .window = 7, .payload = filled(31)};
    s.raw_options = byte_string(padding, 1);
    return s;
}

}  // namespace

TEST_CASE("a blanked option is no longer there, the others are, whatever its alignment") {
    for (unsigned version : {4u, 6u})
        for (unsigned padding : {0u, 1u, 2u, 3u}) {
            segment s = sample(padding);
            s.raw_options = s.raw_options + u8(8) + u8(10) + u32(0x01020304) + u32(0x05060708) + u8(5) + u8(10) + u32(9) + u32(10);
            held_frame timestamps(s, version);
            decoded const without = timestamps.edited([](packet_view const& v, tcp_options& o, header_changes& c) {
                blank_timestamps(v, o, c);
                CHECK_FALSE(o.has_timestamps);
            });
            CHECK_FALSE(without.tcp.timestamps.has_value());
            CHECK(without.tcp.sack.size() == 1);
            CHECK(without.tcp.payload == filled(31));
            held_frame sack(s, version);
            decoded const unsacked = sack.edited([](packet_view const& v, tcp_options& o, header_changes& c) { blank_sack(v, o, c); });
            CHECK(unsacked.tcp.sack.empty());
            CHECK(unsacked.tcp.timestamps == std::pair{0x01020304u, 0x05060708u});
        }
}

TEST_CASE("an MSS above the ceiling is lowered, another left alone, whatever its alignment (RFC 9293 section 3.7.1)") {
    for (unsigned version : {4u, 6u})
        for (unsigned padding : {0u, 1u, 2u, 3u})
            for (unsigned mss : {100u, 1280u, 1281u, 65535u}) {
                segment s = sample(padding);
                s.flags = flags::syn;
                s.raw_options = s.raw_options + u8(2) + u8(4) + u16(mss);
                held_frame f(s, version);
                decoded const d = f.edited([](packet_view const& v, tcp_options& o, header_changes& c) { lower_mss(v, o, 1280, c); });
                CHECK(d.tcp.mss == std::min(mss, 1280u));
            }
}

TEST_CASE("timestamps are put before the other options; lengths, checksums and the rest of the frame follow (RFC 7323 section 3.2)") {
    for (unsigned version : {4u, 6u})
        for (std::size_t payload : {0u, 1u, 1000u}) {
            segment s = sample(0);
            s.payload = filled(payload);
            s.sack = {{9, 10}};
            held_frame f(s, version);
            std::uint32_t const before = f.f.length;
            REQUIRE(insert_timestamps(f.f, f.view(), 0xfffffff0u, 0x12345678u));
            CHECK(f.f.length == before + 12);
            CHECK(f.f.wire_length == before + 12);
            decoded const d = f.read();
            CHECK(d.tcp.timestamps == std::pair{0xfffffff0u, 0x12345678u});
            CHECK(d.tcp.sack == s.sack);
            CHECK(d.tcp.seq == 5);
            CHECK(d.tcp.payload == filled(payload));
            CHECK(f.view().layout().error == drop_reason::none);
        }
}

TEST_CASE("timestamps in a large segment: a partial checksum stays right, its device is told of longer headers") {
    for (unsigned version : {4u, 6u}) {
        segment s = sample(0);
        s.payload = filled(3000);
        held_frame f(s, version);
        packet_view const v = f.view();
        checksum_state state = checksum_state::unknown;
        offloaded_checksum::commit(v, {}, state);
        f.f.offload = {.checksum = state, .segment_size = 1448, .header_length = 54};
        REQUIRE(insert_timestamps(f.f, v, 1, 2));
        CHECK(f.f.offload.header_length == 66);
        CHECK(f.f.offload.segment_size == 1448);
        packet_view const longer = f.view();
        std::uint16_t const field = longer.tcp().checksum;
        offloaded_checksum::commit(longer, {}, state);
        CHECK(longer.tcp().checksum == field);
    }
}

TEST_CASE("where there is no room for timestamps nothing changes") {
    auto const refused = [](held_frame& f) {
        byte_string const before = f.bytes;
        CHECK_FALSE(insert_timestamps(f.f, f.view(), 1, 2));
        CHECK(f.bytes == before);
    };
    for (unsigned version : {4u, 6u}) {
        held_frame no_capacity(sample(0), version, 11);
        refused(no_capacity);
        segment full = sample(0);
        full.sack = {{1, 2}, {3, 4}, {5, 6}, {7, 8}};  // 36 of 40 bytes
        held_frame no_options(full, version);
        refused(no_options);
        held_frame cut(sample(0), version);
        cut.f.length -= 5;
        refused(cut);
        segment huge = sample(0);
        huge.payload = filled(version == 4 ? 65'490 : 65'510);
        held_frame no_length(huge, version);
        refused(no_length);
    }
}
