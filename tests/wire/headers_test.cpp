// SPDX-License-Identifier: BSL-1.0
// Header layouts over bytes written out by hand: every field where its RFC puts it, in network byte order.
#include <halfproxy/wire/headers.hpp>

#include "tests/support/packets.hpp"

#include <doctest/doctest.h>

#include <ostream>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

/// 0x01, 0x02, 0x03, ...
byte_string counted(std::size_t n) {
    byte_string out(n);
    for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::uint8_t>(i + 1);
    return out;
}

}  // namespace

TEST_CASE("Ethernet and VLAN tags (IEEE 802.3, 802.1Q)") {
    byte_string const b = counted(18);
    CHECK(header_at<ethernet_header>(b.data()).destination[0] == 1);
    CHECK(header_at<ethernet_header>(b.data()).source[0] == 7);
    CHECK(header_at<ethernet_header>(b.data()).type == 0x0d0e);
    CHECK(header_at<vlan_tag>(b.data() + 14).control == 0x0f10);
    CHECK(header_at<vlan_tag>(b.data() + 14).type == 0x1112);
}

TEST_CASE("IPv4 (RFC 791 section 3.1)") {
    byte_string const b = encode(ip4{.options = zeros(8)}, {});
    auto const& ip = header_at<ipv4_header>(b.data());
    CHECK(ip.version() == 4);
    CHECK(ip.header_bytes() == 28);
    CHECK(ip.total_length == 28);
    CHECK(ip.identification == 1);
    CHECK(ip.fragment == ipv4_fragment::dont);
    CHECK(ip.time_to_live == 64);
    CHECK(ip.protocol == 6);
    CHECK(ip.source == 0xc000020a);
    CHECK(ip.destination == 0xc6336450);
}

TEST_CASE("IPv6 (RFC 8200 section 3) and its fragment header (section 4.5)") {
    byte_string const b = counted(40);
    auto const& ip = header_at<ipv6_header>(b.data());
    CHECK(ip.version_class_flow == 0x01020304);
    CHECK(ip.payload_length == 0x0506);
    CHECK(ip.next_header == 7);
    CHECK(ip.hop_limit == 8);
    CHECK(ip.source[0] == 9);
    CHECK(ip.destination[15] == 40);
    CHECK(header_at<ipv6_fragment_header>(b.data()).offset_and_more == 0x0304);
    CHECK(header_at<ipv6_fragment_header>(b.data()).identification == 0x05060708);
}

TEST_CASE("TCP (RFC 9293 section 3.1)") {
    byte_string b = counted(20);
    auto const& tcp = header_at<tcp_header>(b.data());
    CHECK(tcp.source_port == 0x0102);
    CHECK(tcp.destination_port == 0x0304);
    CHECK(tcp.sequence == 0x05060708);
    CHECK(tcp.acknowledgment == 0x090a0b0c);
    CHECK(tcp.flags == 0x0e);
    CHECK(tcp.window == 0x0f10);
    CHECK(tcp.checksum == 0x1112);
    CHECK(tcp.urgent_pointer == 0x1314);
    for (unsigned words = 0; words < 16; ++words) {
        b[12] = static_cast<std::uint8_t>(words << 4 | 0x0f);
        CHECK(tcp.header_bytes() == words * 4);
    }
}

TEST_CASE("UDP (RFC 768) and ICMP (RFC 792)") {
    byte_string const b = counted(8);
    CHECK(header_at<udp_header>(b.data()).length == 0x0506);
    CHECK(header_at<udp_header>(b.data()).checksum == 0x0708);
    CHECK(header_at<icmp_header>(b.data()).type == 1);
    CHECK(header_at<icmp_header>(b.data()).code == 2);
    CHECK(header_at<icmp_header>(b.data()).checksum == 0x0304);
    CHECK(header_at<icmp_header>(b.data()).rest == 0x05060708);
}

TEST_CASE("a header may be written at any address, and only its own bytes change") {
    byte_string b = zeros(11);
    header_at<udp_header>(b.data() + 1).length = 0x1234;
    CHECK(b == zeros(5) + u16(0x1234) + zeros(4));
}
