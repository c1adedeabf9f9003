// SPDX-License-Identifier: BSL-1.0
// Packets that become the ICMP message about themselves: right in every byte, and about nothing that must not be answered.
#include <halfproxy/route/icmp_answer.hpp>

#include "tests/support/routed.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

ip_address const ours4 = ip_address::v4(0xc0000201), ours6 = ip6_of(1, 1);

struct answer {
    bool made = false;
    byte_string before, after;
    offload_info offload{};

    [[nodiscard]] decoded packet() const { return decode(after); }
};

answer error_of(byte_string bytes, icmp_problem problem, std::uint32_t mtu = 0, std::uint32_t room = 48, offload_info const& offload = {}) {
    answer a;
    a.before = bytes;
    auto const length = static_cast<std::uint32_t>(bytes.size());
    bytes.resize(length + room);
    bytes.shrink_to_fit();
    frame f;
    f.data = bytes.data();
    f.length = f.wire_length = length;
    f.capacity = length + room;
    f.offload = offload;
    const_packet_view const view = parse<link_type::ethernet>(byte_view(f.bytes()), length);
    a.made = become_icmp_error(f, view, problem, view.layout().ip_version == 6 ? ours6 : ours4, mtu);
    a.after.assign(f.data, f.data + f.length);
    a.offload = f.offload;
    return a;
}

byte_string in_frame(byte_string const& datagram) { return link_frame(our_outside_mac, client_mac, datagram); }
byte_string without_link(byte_string const& frame) { return {frame.begin() + 14, frame.end()}; }

bool refused(byte_string const& datagram, mac_address const& to = our_outside_mac) {
    answer const a = error_of(link_frame(to, client_mac, datagram), icmp_problem::hops_exceeded);
    return !a.made && a.after == a.before;
}

}  // namespace

TEST_CASE("an IPv4 error goes back to the sender's link, quotes the whole packet and has right sums (RFC 1812 section 4.3.2)") {
    byte_string const packet = udp_packet(to_server4(), filled(64));
    answer const a = error_of(in_frame(packet), icmp_problem::hops_exceeded);
    REQUIRE(a.made);
    decoded const d = a.packet();
    CHECK(d.link == bytes_of(client_mac) + bytes_of(our_outside_mac) + u16(0x0800));
    CHECK(d.source == u32(0xc0000201));
    CHECK(d.destination == u32(0xc000020a));
    CHECK(d.protocol == 1);
    CHECK(d.hop_limit == 64);
    CHECK(d.bytes[15] == 0xc0);
    CHECK(get16(d.bytes, 14 + 6) == 0x4000);
    CHECK(d.network_checksum_good);
    CHECK(d.transport_checksum_good);
    CHECK(d.transport == u8(11) + u8(0) + u16(get16(d.transport, 2)) + u32(0) + packet);
}

TEST_CASE("each problem has its type and code, and too big tells the MTU (RFC 792, RFC 1191, RFC 4443)") {
    struct expected {
        icmp_problem problem;
        unsigned v4, v6;
        std::uint32_t rest;
    };
    for (auto const& [problem, v4, v6, rest] : {expected{icmp_problem::hops_exceeded, 0x0b00, 0x0300, 0}, expected{icmp_problem::packet_too_big, 0x0304, 0x0200, 1280},
                                                expected{icmp_problem::no_route, 0x0300, 0x0100, 0}, expected{icmp_problem::host_unreachable, 0x0301, 0x0103, 0},
                                                expected{icmp_problem::port_unreachable, 0x0303, 0x0104, 0}}) {
        decoded const four = error_of(in_frame(udp_packet(to_server4(), filled(8))), problem, 1280).packet();
        CHECK(get16(four.transport, 0) == v4);
        CHECK(get32(four.transport, 4) == rest);
        CHECK(four.transport_checksum_good);
        decoded const six = error_of(in_frame(udp_packet(to_server6(), filled(8))), problem, 1280).packet();
        CHECK(get16(six.transport, 0) == v6);
        CHECK(get32(six.transport, 4) == rest);
        CHECK(six.transport_checksum_good);
    }
}

TEST_CASE("an error is never longer than 576 bytes over IPv4 and 1280 over IPv6, whatever it quotes") {
    for (std::size_t n = 0; n < 1500; n += 13) {
        byte_string const four = udp_packet(to_server4(), filled(n)), six = udp_packet(to_server6(), filled(n));
        for (byte_string const& packet : {four, six}) {
            bool const v4 = packet[0] >> 4 == 4;
            std::size_t const headers = v4 ? 28 : 48, most = v4 ? 576 : 1280;
            answer const a = error_of(in_frame(packet), icmp_problem::packet_too_big, 600);
            REQUIRE(a.made);
            std::size_t const quoted = std::min(packet.size(), most - headers);
            CHECK(without_link(a.after).size() == headers + quoted);
            CHECK(byte_string(a.after.begin() + 14 + static_cast<std::ptrdiff_t>(headers), a.after.end()) ==
                  byte_string(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(quoted)));
            CHECK(a.packet().transport_checksum_good);
        }
    }
}

TEST_CASE("link padding is not quoted, and a frame that was to be cut up and summed by a device becomes an ordinary one") {
    byte_string const packet = udp_packet(to_server4(), filled(4));
    answer const padded = error_of(in_frame(packet) + zeros(14), icmp_problem::hops_exceeded);
    CHECK(padded.packet().transport.size() == 8 + packet.size());
    offload_info const gso{.checksum = checksum_state::partial, .segment_type = 1, .segment_size = 1448, .header_length = 54, .checksum_start = 34, .checksum_offset = 16};
    answer const a = error_of(in_frame(tcp_packet(to_server4(), {.flags = 0x10, .payload = filled(9000)})), icmp_problem::packet_too_big, 1280, 48, gso);
    REQUIRE(a.made);
    CHECK(a.offload.segment_size == 0);
    CHECK(a.offload.checksum == checksum_state::unknown);
    CHECK(a.after.size() == 14 + 576);
}

TEST_CASE("nothing is said about ICMP errors and redirects, later fragments, groups and senders that are no host (RFC 1122 section 3.2.2, RFC 4443 section 2.4)") {
    CHECK(!refused(udp_packet(to_server4(), filled(8))));
    CHECK(!refused(icmp_packet(to_server4(), 8, 0, filled(8))));
    for (unsigned const type : {3u, 4u, 5u, 11u, 12u}) CHECK(refused(icmp_packet(to_server4(), type, 0, filled(28))));
    CHECK(!refused(icmp_packet(to_server6(), 128, 0, filled(8))));
    for (unsigned const type : {1u, 2u, 3u, 4u, 100u, 127u, 137u}) CHECK(refused(icmp_packet(to_server6(), type, 0, filled(48))));
    ip4 v4 = to_server4();
    v4.fragment = 0x2000;
    CHECK(!refused(udp_packet(v4, filled(8))));
    v4.fragment = 3;
    CHECK(refused(udp_packet(v4, filled(8))));
    ip6 v6 = to_server6();
    v6.extensions = {{44, u8(0) + u16(3 << 3) + u32(7)}};
    CHECK(refused(udp_packet(v6, filled(8))));
    v4 = to_server4();
    v4.destination = 0xe0000001;
    CHECK(refused(udp_packet(v4, filled(8))));
    CHECK(refused(udp_packet(to_server4(), filled(8)), broadcast_mac));
    for (std::uint32_t const nobody : {0u, 0x7f000001u, 0xe0000001u, 0xffffffffu}) {
        v4 = to_server4();
        v4.source = nobody;
        CHECK(refused(udp_packet(v4, filled(8))));
    }
    for (byte_string const& nobody : {zeros(16), zeros(15) + u8(1), u8(0xff) + zeros(14) + u8(1)}) {
        v6 = to_server6();
        v6.source = nobody;
        CHECK(refused(udp_packet(v6, filled(8))));
    }
    v4 = to_server4();
    v4.total_length = 2000;
    CHECK(refused(udp_packet(v4, filled(8))));
}

TEST_CASE("without room behind the frame there is no error, and the packet is untouched") {
    for (auto const& [packet, growth] : {std::pair{udp_packet(to_server4(), filled(8)), 28u}, std::pair{udp_packet(to_server6(), filled(8)), 48u}}) {
        CHECK(error_of(in_frame(packet), icmp_problem::no_route, 0, growth).made);
        answer const a = error_of(in_frame(packet), icmp_problem::no_route, 0, growth - 1);
        CHECK(!a.made);
        CHECK(a.after == a.before);
    }
}

TEST_CASE("an echo request becomes its reply: swapped, retyped, summed, with a fresh TTL (RFC 1122 section 3.2.2.6, RFC 4443 section 4.2)") {
    for (bool const partial : {false, true}) {
        for (byte_string const& packet : {icmp_packet(to_server4(), 8, 0, filled(57), 0x12345678), icmp_packet(to_server6(), 128, 0, filled(57), 0x12345678)}) {
            byte_string bytes = in_frame(packet);
            frame f;
            f.data = bytes.data();
            f.length = f.wire_length = f.capacity = static_cast<std::uint32_t>(bytes.size());
            if (partial) f.offload.checksum = checksum_state::partial;
            const_packet_view const view = parse<link_type::ethernet>(byte_view(f.bytes()), f.length);
            REQUIRE(is_answerable_echo(f, view));
            decoded const before = decode(bytes);
            become_echo_reply(f, view);
            decoded const d = decode(bytes);
            CHECK(d.link == bytes_of(client_mac) + bytes_of(our_outside_mac) + u16(d.version == 4 ? 0x0800 : 0x86dd));
            CHECK(d.source == before.destination);
            CHECK(d.destination == before.source);
            CHECK(d.hop_limit == 64);
            CHECK(d.network_checksum_good);
            CHECK(d.transport[0] == (d.version == 4 ? 0 : 129));
            CHECK(byte_string(d.transport.begin() + 4, d.transport.end()) == byte_string(before.transport.begin() + 4, before.transport.end()));
            CHECK(d.transport_checksum_good == !partial);
        }
    }
}

TEST_CASE("echo requests that are fragments, optioned, damaged, or to or from a group are not answerable") {
    auto const answerable = [](byte_string const& datagram) {
        byte_string bytes = in_frame(datagram);
        frame f;
        f.data = bytes.data();
        f.length = f.wire_length = f.capacity = static_cast<std::uint32_t>(bytes.size());
        return is_answerable_echo(f, parse<link_type::ethernet>(byte_view(f.bytes()), f.length));
    };
    CHECK(answerable(icmp_packet(to_server4(), 8, 0, filled(8))));
    CHECK(!answerable(icmp_packet(to_server4(), 0, 0, filled(8))));
    CHECK(!answerable(icmp_packet(to_server4(), 8, 1, filled(8))));
    CHECK(!answerable(udp_packet(to_server4(), filled(8))));
    ip4 v4 = to_server4();
    v4.fragment = 0x2000;
    CHECK(!answerable(icmp_packet(v4, 8, 0, filled(8))));
    v4 = to_server4();
    v4.options = u32(0x01010101);
    CHECK(!answerable(icmp_packet(v4, 8, 0, filled(8))));
    v4 = to_server4();
    v4.source = 0xffffffff;
    CHECK(!answerable(icmp_packet(v4, 8, 0, filled(8))));
    byte_string damaged = icmp_packet(to_server4(), 8, 0, filled(8));
    damaged[30] ^= 1;
    CHECK(!answerable(damaged));
    damaged = icmp_packet(to_server4(), 8, 0, filled(8));
    damaged[10] ^= 1;
    CHECK(!answerable(damaged));
}
