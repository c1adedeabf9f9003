// SPDX-License-Identifier: BSL-1.0
// Flood packets are what they claim to be: a flood of broken packets would prove nothing.
#include "tests/support/flood_packet.hpp"

#include <doctest/doctest.h>

#include <array>
#include <set>
#include <utility>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

flood_target target_of(std::uint8_t ip_version, flood_mode mode) {
    flood_target out;
    out.to_mac = {2, 0, 0, 0, 0, 1};
    out.from_mac = {2, 0, 0, 0, 0, 2};
    out.address = ip_version == 4 ? ip_address::v4(0x0a4d0002) : ip_address::v6({0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2});
    out.mode = mode;
    return out;
}

struct built {
    std::array<std::uint8_t, max_built_bytes> bytes{};
    std::size_t length = 0;

    [[nodiscard]] const_packet_view view() const { return parse<link_type::ethernet>(byte_view{bytes.data(), length}); }
};

built build(std::uint8_t ip_version, flood_mode mode, split_mix64& random) {
    built out;
    out.length = build_flood_packet(out.bytes, target_of(ip_version, mode), random);
    return out;
}

}  // namespace

TEST_CASE("every flood packet is well-formed TCP with valid checksums, in each mode and family") {
    split_mix64 random(1);
    for (std::uint8_t const version : {std::uint8_t{4}, std::uint8_t{6}})
        for (auto const& [mode, flags] : {std::pair{flood_mode::syn, 0x02}, {flood_mode::ack, 0x10}, {flood_mode::syn_ack, 0x12}})
            for (int i = 0; i < 200; ++i) {
                built const packet = build(version, mode, random);
                auto const view = packet.view();
                REQUIRE(view.layout().error == drop_reason::none);
                REQUIRE(view.is_tcp());
                REQUIRE(int{view.tcp().flags} == flags);
                REQUIRE(verify_transport(view) == checksum_verdict::good);
                if (version == 4) REQUIRE(verify_ipv4_header(view) == checksum_verdict::good);
            }
}

TEST_CASE("a flood SYN carries MSS, SACK permitted, timestamps and window scale") {
    split_mix64 random(2);
    built const packet = build(4, flood_mode::syn, random);
    CHECK(packet.view().tcp_options().size() == 20);
    CHECK(packet.view().tcp_options()[0] == 2);
}

TEST_CASE("sources differ from packet to packet and are unicast outside the lab's own network") {
    split_mix64 random(3);
    std::set<std::uint32_t> sources;
    for (int i = 0; i < 1000; ++i) {
        built const packet = build(4, flood_mode::syn, random);
        std::uint32_t const source = packet.view().ipv4().source;
        std::uint32_t const first_byte = source >> 24;
        sources.insert(source);
        CHECK(first_byte != 0);
        CHECK(first_byte != 10);
        CHECK(first_byte != 127);
        CHECK(first_byte < 224);
    }
    CHECK(sources.size() > 990);
}

TEST_CASE("a flood from the server's side comes from its one address and port, to many ports of the client") {
    split_mix64 random(4);
    flood_target target = target_of(4, flood_mode::syn_ack);
    target.server = ip_address::v4(0x0a4d0003);
    std::set<std::uint16_t> ports;
    for (int i = 0; i < 100; ++i) {
        built packet;
        packet.length = build_flood_packet(packet.bytes, target, random);
        auto const view = packet.view();
        REQUIRE(view.ipv4().source.value() == 0x0a4d0003);
        REQUIRE(view.ipv4().destination.value() == 0x0a4d0002);
        REQUIRE(view.tcp().source_port.value() == 80);
        REQUIRE(verify_transport(view) == checksum_verdict::good);
        ports.insert(view.tcp().destination_port.value());
    }
    CHECK(ports.size() > 90);
}
