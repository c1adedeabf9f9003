// SPDX-License-Identifier: BSL-1.0
// Packets of our own: every field, option and checksum.
#include <halfproxy/wire/build.hpp>

#include "tests/support/timeline.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

packet_origin origin_from(byte_string const& bytes, link_type link = link_type::ethernet) {
    return origin_of(link, parse(link, byte_view(bytes), bytes.size()));
}

decoded built(packet_origin const& origin, tcp_fields const& fields, built_options const& options) {
    std::array<std::uint8_t, max_built_bytes> room{};
    room.fill(0xa5);
    std::size_t const n = build_tcp(room, origin, fields, options);
    REQUIRE(n != 0);
    for (std::size_t i = n; i < room.size(); ++i)
        if (i >= n + max_built_options) CHECK(room[i] == 0xa5);
    return decode(byte_view(room).first(n));
}

}  // namespace

TEST_CASE("every combination of options is written readably, with right checksums, in both families and under VLAN tags") {
    for (unsigned version : {4u, 6u})
        for (unsigned zone : {0u, 42u})
            for (unsigned bits = 0; bits < 16; ++bits) {
                endpoints e;
                e.version = version;
                e.zone = zone;
                byte_string const from = framed(e, tcp_datagram(e, true, {.seq = 1, .flags = flags::syn, .payload = filled(40)}));
                built_options const o{.has_mss = (bits & 1) != 0,
                                      .has_window_scale = (bits & 2) != 0,
                                      .sack_permitted = (bits & 4) != 0,
                                      .has_timestamps = (bits & 8) != 0,
                                      .window_scale = 9,
                                      .mss = 1357,
                                      .timestamp_value = 0xdeadbeef,
                                      .timestamp_echo = 0xfeedf00d};
                decoded const d = built(origin_from(from), {.seq = {0xffff'ffff}, .ack = {5}, .flags = flags::syn | flags::ack, .window = 4321}, o);
                CHECK(d.network_checksum_good);
                CHECK(d.transport_checksum_good);
                CHECK(d.tcp.seq == 0xffff'ffff);
                CHECK(d.tcp.ack == 5);
                CHECK(d.tcp.flags == (flags::syn | flags::ack));
                CHECK(d.tcp.window == 4321);
                CHECK(d.tcp.payload.empty());
                CHECK(d.tcp.mss == (o.has_mss ? std::optional(1357u) : std::nullopt));
                CHECK(d.tcp.scale == (o.has_window_scale ? std::optional(9u) : std::nullopt));
                CHECK(d.tcp.sack_permitted == o.sack_permitted);
                CHECK(d.tcp.timestamps.has_value() == o.has_timestamps);
                if (d.tcp.timestamps) CHECK(d.tcp.timestamps == std::pair{0xdeadbeefu, 0xfeedf00du});
                CHECK(d.hop_limit == built_hop_limit);
                CHECK(d.source_port == e.client_port);
                CHECK(d.destination_port == e.server_port);
                CHECK(d.link == decode(from).link);
                if (version == 4) CHECK(get16(d.bytes, d.link.size() + 6) == 0x4000);  // DF, no fragment
            }
}

TEST_CASE("the acknowledgment number is 0 without ACK (RFC 9293 section 3.1)") {
    byte_string const from = framed({}, tcp_datagram({}, true, {.seq = 1, .flags = flags::syn}));
    CHECK(built(origin_from(from), {.seq = {1}, .ack = {77}, .flags = flags::syn, .window = 1}, {}).tcp.ack == 0);
    CHECK(built(origin_from(from), {.seq = {1}, .ack = {77}, .flags = flags::rst, .window = 1}, {}).tcp.ack == 0);
}

TEST_CASE("the way back has Ethernet, IP and TCP ends swapped, twice is the way there") {
    for (unsigned version : {4u, 6u}) {
        endpoints e;
        e.version = version;
        byte_string const from = framed(e, tcp_datagram(e, true, {.seq = 1, .flags = flags::syn}));
        decoded const sent = decode(from);
        decoded const back = built(origin_from(from).reversed(), {.seq = {1}, .ack = {2}, .flags = flags::ack, .window = 0}, {});
        CHECK(back.source == sent.destination);
        CHECK(back.destination == sent.source);
        CHECK(back.source_port == e.server_port);
        CHECK(back.destination_port == e.client_port);
        CHECK(byte_view(back.link).first(6).back() == byte_view(sent.link).subspan(6, 6).back());
        CHECK(byte_view(back.link).subspan(6, 6).back() == byte_view(sent.link).first(6).back());
        decoded const again = built(origin_from(from).reversed().reversed(), {.seq = {1}, .ack = {2}, .flags = flags::ack, .window = 0}, {});
        CHECK(again.link == sent.link);
        CHECK(again.source == sent.source);
    }
}

TEST_CASE("header options of the received packet are not taken over") {
    ip4 ip;
    ip.options = {1, 1, 1, 0};
    decoded const d = built(origin_from(ethernet(tcp_packet(ip, {}))), {.seq = {1}, .ack = {2}, .flags = flags::ack, .window = 0}, {});
    CHECK(d.bytes[14] == 0x45);
    CHECK(d.network_checksum_good);
    ip6 six;
    six.extensions = {{60, {0, 1, 4, 0, 0, 0, 0}}};
    decoded const s = built(origin_from(ethernet(tcp_packet(six, {}))), {.seq = {1}, .ack = {2}, .flags = flags::ack, .window = 0}, {});
    CHECK(s.protocol == 6);
    CHECK(s.transport_checksum_good);
}

TEST_CASE("raw IP and cooked frames keep their link header and are not swapped") {
    byte_string const datagram = tcp_datagram({}, true, {.seq = 1, .flags = flags::syn});
    std::array<std::uint8_t, max_built_bytes> room{};
    packet_origin const raw = origin_from(datagram, link_type::raw_ip).reversed();
    std::size_t const n = build_tcp(room, raw, {.seq = {1}, .ack = {2}, .flags = flags::ack, .window = 0}, {});
    CHECK(n == 40);
    CHECK(room[0] == 0x45);
    byte_string const cooked = byte_string{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0} + datagram;
    packet_origin const origin = origin_from(cooked, link_type::linux_cooked).reversed();
    CHECK(build_tcp(room, origin, {.seq = {1}, .ack = {2}, .flags = flags::ack, .window = 0}, {}) == 56);
    CHECK(byte_string(room.begin(), room.begin() + 16) == byte_string(cooked.begin(), cooked.begin() + 16));
}

TEST_CASE("where the room is too short nothing is built") {
    byte_string const from = framed({}, tcp_datagram({}, true, {.seq = 1, .flags = flags::syn}));
    std::vector<std::uint8_t> room(14 + 20 + 20 + max_built_options - 1, 0x5a);
    CHECK(build_tcp(room, origin_from(from), {}, {}) == 0);
    CHECK(std::count(room.begin(), room.end(), 0x5a) == static_cast<std::ptrdiff_t>(room.size()));
    room.push_back(0);
    CHECK(build_tcp(room, origin_from(from), {}, {}) == 54);
}

namespace {

/// TCP packets of every kind that can be answered: families, tags, header options, extension headers, link layers.
std::vector<std::pair<link_type, byte_string>> received_packets() {
    std::vector<std::pair<link_type, byte_string>> all;
    for (unsigned version : {4u, 6u})
        for (unsigned zone : {0u, 42u}) {
            endpoints e;
            e.version = version;
            e.zone = zone;
            all.emplace_back(link_type::ethernet, framed(e, tcp_datagram(e, true, {.seq = 77, .flags = flags::syn, .payload = filled(40)})));
            all.emplace_back(link_type::raw_ip, tcp_datagram(e, true, {.seq = 77, .flags = flags::syn, .payload = filled(60)}));
        }
    ip4 with_options;
    with_options.options = {1, 1, 1, 0};
    ip6 with_extension;
    with_extension.extensions = {{60, {0, 1, 4, 0, 0, 0, 0}}};
    all.emplace_back(link_type::ethernet, ethernet(tcp_packet(with_options, {})));
    all.emplace_back(link_type::ethernet, ethernet(tcp_packet(with_extension, {})));
    all.emplace_back(link_type::linux_cooked, byte_string{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0} + tcp_datagram({}, true, {.flags = flags::syn}));
    return all;
}

built_options options_of(std::uint32_t bits, split_mix64& random) {
    return {.has_mss = (bits & 1) != 0,
            .has_window_scale = (bits & 2) != 0,
            .sack_permitted = (bits & 4) != 0,
            .has_timestamps = (bits & 8) != 0,
            .window_scale = static_cast<std::uint8_t>(random.below(15)),
            .mss = static_cast<std::uint16_t>(random()),
            .timestamp_value = static_cast<std::uint32_t>(random()),
            .timestamp_echo = static_cast<std::uint32_t>(random())};
}

}  // namespace

TEST_CASE("a packet written over the received one is the packet built for its way, whatever was received") {
    split_mix64 random(12);
    for (auto const& [link, bytes] : received_packets())
        for (std::uint32_t round = 0; round < 64; ++round) {
            way const direction = round % 2 == 0 ? way::back : way::on;
            tcp_fields const fields{.seq = {static_cast<std::uint32_t>(random())},
                                    .ack = {static_cast<std::uint32_t>(random())},
                                    .flags = static_cast<std::uint8_t>(random()),
                                    .window = static_cast<std::uint16_t>(random())};
            built_options const options = options_of(round / 2, random);
            byte_string in_place = bytes;
            in_place.resize(256, 0xa5);
            packet_view const view = parse(link, byte_span(in_place).first(bytes.size()), bytes.size());
            packet_origin const origin = direction == way::back ? origin_from(bytes, link).reversed() : origin_from(bytes, link);
            std::array<std::uint8_t, max_built_bytes> anew{};
            std::size_t const n = build_tcp(anew, origin, fields, options);
            REQUIRE(n != 0);
            REQUIRE(build_in_place(link, view, in_place.size(), direction, fields, options) == n);
            CHECK(byte_string(in_place.begin(), in_place.begin() + static_cast<std::ptrdiff_t>(n)) ==
                  byte_string(anew.begin(), anew.begin() + static_cast<std::ptrdiff_t>(n)));
        }
}

TEST_CASE("in place nothing is written where the room is too short, whatever the options") {
    byte_string bytes = framed({}, tcp_datagram({}, true, {.seq = 1, .flags = flags::syn}));
    byte_string const before = bytes;
    packet_view const view = parse<link_type::ethernet>(byte_span(bytes));
    std::size_t const enough = 14 + 20 + 20 + max_built_options;
    CHECK_FALSE(has_room_in_place(view, enough - 1));
    CHECK(has_room_in_place(view, enough));
    CHECK(build_in_place(link_type::ethernet, view, enough - 1, way::back, {}, {}) == 0);
    CHECK(bytes == before);
}

TEST_CASE("payload stands behind the options, and lengths and checksums count it, whatever its length") {
    for (unsigned version : {4u, 6u})
        for (std::size_t bytes : {0u, 1u, 2u, 27u, 28u, 104u}) {
            endpoints e;
            e.version = version;
            packet_origin const origin = origin_from(framed(e, tcp_datagram(e, true, {.seq = 1, .flags = flags::syn})));
            tcp_fields const fields{.seq = {7}, .ack = {8}, .flags = tcp_flag::ack | tcp_flag::psh, .window = 9};
            byte_string const payload = filled(bytes, 0xfe);
            std::array<std::uint8_t, 256> room{};
            std::size_t const n = build_tcp(room, origin, fields, {.has_timestamps = true, .timestamp_value = 3, .timestamp_echo = 4}, payload);
            decoded const d = decode(byte_view(room).first(n));
            CHECK(d.network_checksum_good);
            CHECK(d.transport_checksum_good);
            CHECK(d.tcp.payload == payload);
            CHECK(d.tcp.seq == 7);
            CHECK(d.tcp.timestamps == std::pair{3u, 4u});
            CHECK(build_tcp(byte_span(room).first(n - 1), origin, fields, {.has_timestamps = true}, payload) == 0);
        }
}
