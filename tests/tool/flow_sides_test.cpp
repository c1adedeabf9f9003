// SPDX-License-Identifier: BSL-1.0
// From which side a captured packet came, when only the packets can tell.
#include "flow_sides.hpp"

#include "tests/support/packets.hpp"

#include <doctest/doctest.h>

using namespace halfproxy;
using namespace halfproxy::test;
using halfproxy::tool::flow_sides;

namespace {

constexpr std::uint32_t client_address = 0xc000020a;
constexpr std::uint32_t server_address = 0xc6336450;
constexpr unsigned syn = 0x02, ack = 0x10;

ip4 const to_server{};
ip4 const to_client{.source = server_address, .destination = client_address};

byte_string client_says(unsigned flags) { return tcp_packet(to_server, {.flags = flags}); }
byte_string server_says(unsigned flags) {
    return tcp_packet(to_client, {.source_port = 80, .destination_port = 40000, .flags = flags});
}

side side_of(flow_sides& sides, byte_string packet) {
    frame f;
    f.data = packet.data();
    f.length = f.wire_length = static_cast<std::uint32_t>(packet.size());
    f.link = link_type::raw_ip;
    return sides.arrival_of(f);
}

/// The datagram's bytes [begin, end) behind its header as a fragment.
byte_string fragment(ip4 ip, byte_string const& whole, std::size_t begin, std::size_t end) {
    ip.protocol = 17;
    ip.fragment = static_cast<unsigned>(begin / 8) | (end < whole.size() ? 0x2000u : 0u);
    return encode(ip, byte_string(whole.begin() + static_cast<std::ptrdiff_t>(begin),
                                  whole.begin() + static_cast<std::ptrdiff_t>(end)));
}

}  // namespace

TEST_CASE("the sender of the first SYN is the client") {
    flow_sides sides;
    CHECK(side_of(sides, client_says(syn)) == side::outside);
    CHECK(side_of(sides, server_says(syn | ack)) == side::inside);
    CHECK(side_of(sides, client_says(ack)) == side::outside);
}

TEST_CASE("a capture that begins with the SYN-ACK begins with the server") {
    flow_sides sides;
    CHECK(side_of(sides, server_says(syn | ack)) == side::inside);
    CHECK(side_of(sides, client_says(ack)) == side::outside);
}

TEST_CASE("without a SYN the first packet's sender is the client, until a SYN says otherwise") {
    flow_sides sides;
    CHECK(side_of(sides, server_says(ack)) == side::outside);
    CHECK(side_of(sides, client_says(ack)) == side::inside);
    CHECK(side_of(sides, client_says(syn)) == side::outside);
    CHECK(side_of(sides, server_says(ack)) == side::inside);
}

TEST_CASE("a second SYN, from the other side, changes nothing (RFC 9293 figure 7)") {
    flow_sides sides;
    side_of(sides, client_says(syn));
    CHECK(side_of(sides, server_says(syn)) == side::inside);
}

TEST_CASE("datagrams and echo replies follow who asked first") {
    flow_sides sides;
    CHECK(side_of(sides, udp_packet(to_server, {1, 2})) == side::outside);
    CHECK(side_of(sides, icmp_packet(to_client, 0, 0, {}, 7u << 16)) ==
          side::inside);  // a reply whose request is missing
    CHECK(side_of(sides, icmp_packet(to_server, 8, 0, {}, 7u << 16)) == side::outside);
}

TEST_CASE("later fragments go with the first flow between their hosts") {
    flow_sides sides;
    side_of(sides, client_says(syn));
    byte_string const datagram(64);
    CHECK(side_of(sides, fragment(to_client, datagram, 32, 64)) == side::inside);
    CHECK(side_of(sides, fragment(to_server, datagram, 32, 64)) == side::outside);
}

TEST_CASE("an ICMP error comes from the side that did not send what it quotes (RFC 792)") {
    flow_sides sides;
    side_of(sides, client_says(syn));
    ip4 const from_a_router{.source = 0x0a000001, .destination = client_address};
    CHECK(side_of(sides, icmp_packet(from_a_router, 3, 4, client_says(ack))) == side::inside);
    ip4 const from_another{.source = 0x0a000002, .destination = server_address};
    CHECK(side_of(sides, icmp_packet(from_another, 3, 4, server_says(ack))) == side::outside);
}

TEST_CASE("an error that quotes the other IP version is not read as if it did not") {
    flow_sides sides;
    byte_string const quoted = tcp_packet(ip4{}, {}) + zeros(4);
    CHECK(side_of(sides, icmp_packet(ip6{}, 1, 0, quoted)) == side::outside);
}

TEST_CASE("IPv6 flows are told apart by their ports as well") {
    flow_sides sides;
    ip6 const there{};
    ip6 const back{.source = there.destination, .destination = there.source};
    CHECK(side_of(sides, tcp_packet(there, {.flags = syn})) == side::outside);
    CHECK(side_of(sides, tcp_packet(back, {.source_port = 81, .destination_port = 9, .flags = syn})) == side::outside);
    CHECK(side_of(sides, tcp_packet(back, {.source_port = 80, .destination_port = 40000, .flags = ack})) ==
          side::inside);
}

TEST_CASE("what is no IP, or cut too short to tell, is taken to come from outside") {
    flow_sides sides;
    CHECK(side_of(sides, {}) == side::outside);
    byte_string const whole = client_says(syn);
    for (std::size_t length = 0; length < 20; ++length)
        CHECK(side_of(sides, byte_string(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length))) ==
              side::outside);
}

TEST_CASE("the memory is bounded: the oldest flow gives way and is taken for a new one") {
    flow_sides sides(2);
    side_of(sides, server_says(syn | ack));  // takes two places: the flow, and its pair of hosts
    side_of(sides, udp_packet(ip4{.source = 1, .destination = 2}, {}));
    side_of(sides, udp_packet(ip4{.source = 3, .destination = 4}, {}));
    CHECK(side_of(sides, server_says(ack)) == side::outside);
}
