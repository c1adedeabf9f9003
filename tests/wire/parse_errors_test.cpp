// SPDX-License-Identifier: BSL-1.0
// The parser on what is wrong: each defect has one reason, and what was found before it stands.
#include <halfproxy/wire/parse.hpp>

#include "tests/support/packets.hpp"

#include <doctest/doctest.h>

#include <ostream>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

packet_layout layout_of(byte_string const& bytes, link_type link = link_type::ethernet) {
    return parse(link, byte_view(bytes), bytes.size()).layout();
}
drop_reason error_of(byte_string const& bytes, link_type link = link_type::ethernet) {
    return layout_of(bytes, link).error;
}

}  // namespace

TEST_CASE("a frame that ends inside its link header") {
    for (std::size_t n = 0; n < 14; ++n) CHECK(error_of(zeros(n)) == drop_reason::frame_truncated);
    for (std::size_t n = 0; n < 16; ++n) CHECK(error_of(zeros(n), link_type::linux_cooked) == drop_reason::frame_truncated);
    for (std::size_t n = 0; n < 20; ++n) CHECK(error_of(zeros(n), link_type::linux_cooked2) == drop_reason::frame_truncated);
    for (std::size_t n = 0; n < 4; ++n) CHECK(error_of(zeros(n), link_type::null_loopback) == drop_reason::frame_truncated);
    CHECK(error_of({}, link_type::raw_ip) == drop_reason::ip_header_truncated);
    byte_string tagged = ethernet({}, {{0x8100, 1}, {0x8100, 2}}, 0x0800);
    tagged.resize(20);
    CHECK(error_of(tagged) == drop_reason::frame_truncated);
    CHECK(layout_of(tagged).vlan_count == 1);
}

TEST_CASE("a frame that ends inside the IP header, options included") {
    byte_string const v4 = ethernet(tcp_packet(ip4{.options = zeros(8)}, {}));
    for (std::ptrdiff_t n = 14; n < 42; ++n)
        CHECK(error_of(byte_string(v4.begin(), v4.begin() + n)) == drop_reason::ip_header_truncated);
    byte_string const v6 = ethernet(tcp_packet(ip6{}, {}));
    for (std::ptrdiff_t n = 14; n < 54; ++n)
        CHECK(error_of(byte_string(v6.begin(), v6.begin() + n)) == drop_reason::ip_header_truncated);
}

TEST_CASE("an IP version that disagrees with the EtherType, or that is neither 4 nor 6") {
    CHECK(error_of(ethernet(tcp_packet(ip6{}, {}), {}, 0x0800)) == drop_reason::ip_version);
    CHECK(error_of(ethernet(tcp_packet(ip4{}, {}) + zeros(20), {}, 0x86dd)) == drop_reason::ip_version);
    CHECK(error_of(byte_string(60, 0x55), link_type::raw_ip) == drop_reason::ip_version);
    CHECK(layout_of(byte_string(60, 0x55), link_type::raw_ip).ip_version == 0);
}

TEST_CASE("an IPv4 header length under 20, or a total length under the header") {
    for (unsigned words = 0; words < 5; ++words)
        CHECK(error_of(ethernet(tcp_packet(ip4{.header_words = words}, {}))) == drop_reason::ip_header_length);
    for (unsigned total = 1; total < 20; ++total)
        CHECK(error_of(ethernet(tcp_packet(ip4{.total_length = total}, {}))) == drop_reason::ip_header_length);
}

TEST_CASE("an IP length beyond the frame is the packet's error; the frame then decides where it ends") {
    for (byte_string const& bytes : {ethernet(tcp_packet(ip4{.total_length = 41}, {})),
                                     ethernet(tcp_packet(ip4{.total_length = 65535}, {})),
                                     ethernet(tcp_packet(ip6{.payload_length = 21}, {}))}) {
        packet_layout const l = layout_of(bytes);
        CHECK(l.error == drop_reason::ip_total_length);
        CHECK(l.datagram_end == bytes.size());
    }
}

TEST_CASE("an IPv6 extension header that reaches beyond the datagram") {
    extension const too_long{60, u8(9) + zeros(6)};
    CHECK(error_of(ethernet(encode(ip6{.extensions = {too_long}}, zeros(20)))) == drop_reason::ip_extension_truncated);
    for (std::size_t n = 0; n < 7; ++n) {
        byte_string const bytes = ethernet(encode(ip6{.extensions = {extension{0, zeros(n)}}, .payload_length = 1 + n}, {}));
        CHECK(error_of(bytes) == drop_reason::ip_extension_truncated);
    }
    extension const beyond_length{60, u8(0) + zeros(6)};
    byte_string const padded = ethernet(encode(ip6{.extensions = {beyond_length}, .payload_length = 7}, zeros(20)));
    CHECK(error_of(padded) == drop_reason::ip_extension_truncated);
}

TEST_CASE("a datagram that ends inside the TCP header, by its own length or by the frame's") {
    for (unsigned present = 0; present < 20; ++present) {
        CAPTURE(present);
        byte_string const bytes = ethernet(encode(ip4{.total_length = 20 + present}, encode(tcp{})));
        packet_layout const l = layout_of(bytes);
        CHECK(l.error == drop_reason::tcp_header_truncated);
        CHECK(!l.has_transport);
        CHECK(l.protocol == 6);
        CHECK(error_of(ethernet(encode(ip4{}, zeros(present)))) == drop_reason::tcp_header_truncated);
    }
}

TEST_CASE("a TCP data offset under 5 or beyond the segment (RFC 9293 section 3.1)") {
    for (unsigned words = 0; words < 16; ++words) {
        CAPTURE(words);
        byte_string const bytes = ethernet(tcp_packet(ip4{}, {.payload = zeros(8), .data_offset = words}));
        packet_layout const l = layout_of(bytes);
        bool const right = words >= 5 && words <= 7;
        CHECK(l.error == (right ? drop_reason::none : drop_reason::tcp_data_offset));
        CHECK(l.has_transport);  // the fixed header is there either way
        CHECK(l.payload_offset == 34 + (right ? words * 4 : 20));
        CHECK(parse<link_type::ethernet>(byte_view(bytes)).tcp_options().size() == (right ? words * 4 - 20 : 0));
    }
}

TEST_CASE("options cut off by the snap length are truncation, not a wrong offset") {
    byte_string const bytes = ethernet(tcp_packet(ip4{}, {.options = zeros(12), .payload = zeros(9)}));
    byte_string const cut(bytes.begin(), bytes.begin() + 14 + 20 + 25);
    const_packet_view const view = parse(link_type::ethernet, byte_view(cut), bytes.size());
    CHECK(view.layout().error == drop_reason::tcp_header_truncated);
    CHECK(view.layout().has_transport);
    CHECK(view.tcp_options().empty());
}

TEST_CASE("a UDP length under 8 or beyond the datagram (RFC 768)") {
    for (unsigned length = 0; length < 20; ++length) {
        bool const right = length >= 8 && length <= 13;
        CHECK(error_of(ethernet(udp_packet(ip4{}, zeros(5), length))) ==
              (right ? drop_reason::none : drop_reason::udp_length));
    }
    CHECK(error_of(ethernet(encode(ip4{.protocol = 17}, zeros(7)))) == drop_reason::udp_length);
}

TEST_CASE("a datagram that ends inside the ICMP header") {
    for (std::size_t n = 0; n < 8; ++n) {
        CHECK(error_of(ethernet(encode(ip4{.protocol = 1}, zeros(n)))) == drop_reason::icmp_truncated);
        CHECK(error_of(ethernet(encode(ip6{.protocol = 58}, zeros(n)))) == drop_reason::icmp_truncated);
    }
}

TEST_CASE("a family the null link does not define is not IP") {
    byte_string const bytes = u32(7) + tcp_packet(ip4{}, {});
    CHECK(layout_of(bytes, link_type::null_loopback).ip_version == 0);
    CHECK(error_of(bytes, link_type::null_loopback) == drop_reason::none);
}
