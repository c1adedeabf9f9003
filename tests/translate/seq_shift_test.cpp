// SPDX-License-Identifier: BSL-1.0
// Sequence numbers, SACK edges, timestamps and windows, mapped between the two sides.
#include <halfproxy/translate/seq_shift.hpp>

#include "tests/support/timeline.hpp"

#include <random>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

packet_view view_of(byte_string& bytes) { return parse<link_type::ethernet>(byte_span(bytes)); }

decoded shifted_to_server(byte_string bytes, seq_shift shift, window_rescale scale = {}) {
    packet_view const packet = view_of(bytes);
    REQUIRE(packet.layout().error == drop_reason::none);
    header_changes changes;
    checksum_state state = checksum_state::unknown;
    shift_numbers(packet, parse_tcp_options(packet.tcp_options()), shift, shift_toward::server, scale, changes);
    incremental_checksum::commit(packet, changes, state);
    return decode(bytes);
}

decoded shifted_to_client(byte_string bytes, seq_shift shift, window_rescale scale = {}) {
    packet_view const packet = view_of(bytes);
    REQUIRE(packet.layout().error == drop_reason::none);
    header_changes changes;
    checksum_state state = checksum_state::unknown;
    shift_numbers(packet, parse_tcp_options(packet.tcp_options()), shift, shift_toward::client, scale, changes);
    incremental_checksum::commit(packet, changes, state);
    return decode(bytes);
}

byte_string frame_with(segment const& s, unsigned version = 4) {
    endpoints e;
    e.version = version;
    return framed(e, tcp_datagram(e, true, s));
}

}  // namespace

TEST_CASE("F26 ACK and every SACK edge move against the shift, at any alignment of the options, across the wrap") {
    std::mt19937 random(11);
    for (unsigned version : {4u, 6u})
        for (std::size_t blocks = 0; blocks <= 4; ++blocks)
            for (unsigned padding = 0; padding <= 3; ++padding)
                for (int round = 0; round < 20; ++round) {
                    if (blocks == 4 && padding > 2) continue;  // 40 bytes hold no more
                    segment s{.seq = static_cast<std::uint32_t>(random()), .ack = static_cast<std::uint32_t>(random()), .flags = flags::ack, .window = 500};
                    // SACK before anything else, after so many no-operations: at even and odd offsets.
                    s.raw_options = byte_string(padding, 1);
                    std::vector<std::pair<std::uint32_t, std::uint32_t>> edges;
                    if (blocks != 0) s.raw_options = s.raw_options + u8(5) + u8(2 + 8 * static_cast<unsigned>(blocks));
                    for (std::size_t b = 0; b < blocks; ++b) {
                        edges.emplace_back(static_cast<std::uint32_t>(random()), static_cast<std::uint32_t>(random()));
                        s.raw_options = s.raw_options + u32(edges.back().first) + u32(edges.back().second);
                    }
                    s.payload = filled(random() % 30);
                    auto const shift = static_cast<std::uint32_t>(random());
                    decoded const got = shifted_to_server(frame_with(s, version), {.sequence = shift, .timestamp = 0});
                    CHECK(got.tcp.seq == s.seq);
                    CHECK(got.tcp.ack == s.ack - shift);
                    for (auto& [left, right] : edges) left -= shift, right -= shift;
                    CHECK(got.tcp.sack == edges);
                    CHECK(got.tcp.payload == s.payload);
                    CHECK(got.network_checksum_good);
                    CHECK(got.transport_checksum_good);
                }
}

TEST_CASE("F27 timestamps move once per direction: TSval on the way to the client, TSecr on the way to the server") {
    for (unsigned padding = 0; padding <= 3; ++padding)
        for (std::uint32_t shift : {0u, 1u, 0x7fff'ffffu, 0x8000'0000u, 0xffff'ffffu, 0xffff'0000u, 0x0000'ffffu}) {
            segment s{.seq = 1, .ack = 2, .flags = flags::ack};
            s.raw_options = byte_string(padding, 1) + u8(8) + u8(10) + u32(0xffff'fff0) + u32(5);
            decoded const to_client = shifted_to_client(frame_with(s), {.sequence = 7, .timestamp = shift});
            CHECK(to_client.tcp.timestamps == std::pair{0xffff'fff0u + shift, 5u});
            CHECK(to_client.tcp.seq == 8);
            CHECK(to_client.tcp.ack == 2);
            CHECK(to_client.transport_checksum_good);
            decoded const to_server = shifted_to_server(frame_with(s), {.sequence = 7, .timestamp = shift});
            CHECK(to_server.tcp.timestamps == std::pair{0xffff'fff0u, 5u - shift});
            CHECK(to_server.transport_checksum_good);
        }
}

TEST_CASE("without ACK the acknowledgment number and TSecr mean nothing and are left alone (RFC 7323 section 3.2)") {
    segment s{.seq = 1, .ack = 99, .flags = flags::rst};
    s.timestamps = {{3, 4}};
    decoded const got = shifted_to_server(frame_with(s), {.sequence = 7, .timestamp = 9});
    CHECK(got.tcp.ack == 99);
    CHECK(got.tcp.timestamps == std::pair{3u, 4u});
    CHECK(got.transport_checksum_good);
}

TEST_CASE("the window is rescaled, of SYNs never (RFC 7323 section 2.2)") {
    segment s{.seq = 1, .ack = 2, .flags = flags::ack, .window = 1000};
    CHECK(shifted_to_client(frame_with(s), {}, {.from = 4, .to = 7}).tcp.window == 125);
    CHECK(shifted_to_server(frame_with(s), {}, {.from = 2, .to = 0}).tcp.window == 4000);
    CHECK(shifted_to_server(frame_with(s), {}, {.from = 2, .to = 0}).transport_checksum_good);
    s.flags |= flags::syn;
    CHECK(shifted_to_client(frame_with(s), {}, {.from = 4, .to = 7}).tcp.window == 1000);
}

TEST_CASE("F21 rescaling saturates, never opens a closed window or closes an open one, and never grants more but by that") {
    for (unsigned from = 0; from <= 14; ++from)
        for (unsigned to = 0; to <= 14; ++to) {
            window_rescale const r{static_cast<std::uint8_t>(from), static_cast<std::uint8_t>(to)};
            CHECK(r.apply(0) == 0);
            std::uint64_t before = 0;
            for (unsigned window = 1; window <= 0xffff; window += window < 300 ? 1 : 97) {
                std::uint64_t const meant = std::uint64_t{window} << from;
                std::uint16_t const told = r.apply(static_cast<std::uint16_t>(window));
                std::uint64_t const read = std::uint64_t{told} << to;
                CHECK(told != 0);
                if (meant >= std::uint64_t{1} << to) CHECK(read <= meant);
                if (told != 0xffff) CHECK(read + (std::uint64_t{1} << to) > meant);
                CHECK(read >= before);
                before = read;
            }
        }
}

TEST_CASE("there and back again is where it was") {
    std::mt19937 random(4);
    for (int i = 0; i < 100; ++i) {
        segment s{.seq = static_cast<std::uint32_t>(random()), .ack = static_cast<std::uint32_t>(random()), .flags = flags::ack, .window = 77};
        s.timestamps = {{static_cast<std::uint32_t>(random()), static_cast<std::uint32_t>(random())}};
        byte_string const frame = frame_with(s);
        seq_shift const shift{static_cast<std::uint32_t>(random()), static_cast<std::uint32_t>(random())};
        seq_shift const back{0u - shift.sequence, 0u - shift.timestamp};
        CHECK(shifted_to_client(shifted_to_client(frame, shift).bytes, back).bytes == frame);
        CHECK(shifted_to_server(shifted_to_server(frame, shift).bytes, back).bytes == frame);
    }
}
