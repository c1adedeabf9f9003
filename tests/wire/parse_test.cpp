// SPDX-License-Identifier: BSL-1.0
// The parser on well-formed packets of every link type, tag depth and IP version: each layer is found where it is.
#include <halfproxy/wire/parse.hpp>

#include "tests/support/packets.hpp"

#include <halfproxy/core/random.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <ostream>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

packet_layout layout_of(byte_string const& bytes, link_type link = link_type::ethernet) {
    return parse(link, byte_view(bytes), bytes.size()).layout();
}

byte_string const segment_v4 = tcp_packet(ip4{}, {.payload = zeros(10)});
byte_string const segment_v6 = tcp_packet(ip6{}, {.payload = zeros(10)});

/// An extension header of 8 * (more + 1) bytes without its first byte.
extension plain(unsigned kind, unsigned more = 0) { return {kind, u8(more) + zeros(6 + 8 * more)}; }
extension const fragment_of_one{44, zeros(7)};
extension const authentication{51, u8(4) + zeros(22)};  // (4 + 2) words of 4 bytes

void check_tcp_at(byte_string const& bytes, link_type link, std::size_t link_bytes, unsigned version) {
    packet_layout const l = layout_of(bytes, link);
    CHECK(l.error == drop_reason::none);
    CHECK(l.ip_version == version);
    CHECK(l.protocol == 6);
    CHECK(l.has_transport);
    CHECK(l.network_offset == link_bytes);
    CHECK(l.transport_offset == link_bytes + (version == 4 ? 20 : 40));
    CHECK(l.payload_offset == l.transport_offset + 20u);
    CHECK(l.datagram_end == bytes.size());
    CHECK(l.payload_bytes() == 10);
}

}  // namespace

TEST_CASE("TCP is found behind every link header, IPv4 and IPv6") {
    byte_string const mac = zeros(6);
    for (unsigned const version : {4u, 6u}) {
        byte_string const& ip = version == 4 ? segment_v4 : segment_v6;
        unsigned const type = version == 4 ? 0x0800 : 0x86dd;
        CAPTURE(version);
        check_tcp_at(ethernet(ip), link_type::ethernet, 14, version);
        check_tcp_at(ip, link_type::raw_ip, 0, version);
        byte_string const cooked = u16(0) + u16(1) + u16(6) + mac + u16(0) + u16(type);
        check_tcp_at(cooked + ip, link_type::linux_cooked, 16, version);
        byte_string const cooked2 = u16(type) + u16(0) + u32(3) + u16(1) + u8(0) + u8(6) + mac + u16(0);
        check_tcp_at(cooked2 + ip, link_type::linux_cooked2, 20, version);
        for (unsigned const family : version == 4 ? std::vector<unsigned>{2} : std::vector<unsigned>{10, 24, 28, 30}) {
            check_tcp_at(u32(family) + ip, link_type::null_loopback, 4, version);
            check_tcp_at(u8(family) + zeros(3) + ip, link_type::null_loopback, 4, version);
        }
    }
}

TEST_CASE("the link layer chosen at compile time and at run time find the same") {
    byte_string const bytes = ethernet(segment_v4, {{0x8100, 5}});
    packet_layout const fixed = parse<link_type::ethernet>(byte_view(bytes)).layout();
    packet_layout const chosen = layout_of(bytes);
    CHECK(fixed.transport_offset == chosen.transport_offset);
    CHECK(fixed.vlan_id() == 5);
    CHECK(chosen.vlan_id() == 5);
}

TEST_CASE("an unsupported link is not looked into") {
    packet_layout const l = layout_of(segment_v4, link_type::unsupported);
    CHECK(l.ip_version == 0);
    CHECK(l.error == drop_reason::none);
    CHECK(l.datagram_end == segment_v4.size());
}

TEST_CASE("one to four VLAN tags of every TPID are followed, outermost first (802.1Q, 802.1ad)") {
    for (unsigned const tpid : {0x8100u, 0x88a8u, 0x9100u}) {
        packet_layout const one = layout_of(ethernet(segment_v4, {{tpid, 0x2064}}));
        CHECK(one.vlan_count == 1);
        CHECK(one.vlan[0] == 0x2064);
        CHECK(one.vlan_id() == 0x64);
        CHECK(one.ether_type == 0x0800);
        CHECK(one.has_transport);
    }
    packet_layout const four = layout_of(ethernet(segment_v6, {{0x88a8, 1}, {0x8100, 2}, {0x8100, 3}, {0x8100, 4}}));
    CHECK(four.vlan_count == 4);
    CHECK(four.vlan[0] == 1);
    CHECK(four.vlan_id() == 4);
    CHECK(four.network_offset == 30);
    CHECK(four.has_transport);
    CHECK(layout_of(ethernet(segment_v4)).vlan_id() == 0);
}

TEST_CASE("a fifth VLAN tag ends the parse with its own reason") {
    packet_layout const l =
        layout_of(ethernet(segment_v4, {{0x8100, 1}, {0x8100, 2}, {0x8100, 3}, {0x8100, 4}, {0x8100, 5}}));
    CHECK(l.error == drop_reason::vlan_stack_too_deep);
    CHECK(l.vlan_count == 4);
    CHECK(l.ip_version == 0);
}

TEST_CASE("what is not IP keeps its EtherType and has no layers") {
    packet_layout const l = layout_of(ethernet(zeros(46), {}, 0x0806));
    CHECK(l.error == drop_reason::none);
    CHECK(l.ether_type == 0x0806);
    CHECK(l.ip_version == 0);
    CHECK(!l.has_transport);
}

TEST_CASE("IPv4 options move the transport header (RFC 791 section 3.1)") {
    for (unsigned words = 0; words <= 10; ++words) {
        packet_layout const l = layout_of(ethernet(tcp_packet(ip4{.options = byte_string(4 * words, 1)}, {})));
        CHECK(l.error == drop_reason::none);
        CHECK(l.transport_offset == 14 + 20 + 4 * words);
        CHECK(l.has_transport);
    }
}

TEST_CASE("every IPv6 extension header is stepped over by its own length (RFC 8200 section 4, RFC 4302)") {
    struct row {
        extension header;
        std::size_t bytes;
    };
    for (row const& r : {row{plain(0), 8}, row{plain(43), 8}, row{plain(60, 2), 24}, row{plain(135), 8},
                         row{plain(139, 4), 40}, row{plain(140), 8}, row{fragment_of_one, 8}, row{authentication, 24}}) {
        CAPTURE(r.header.first);
        packet_layout const l = layout_of(ethernet(tcp_packet(ip6{.extensions = {r.header}}, {})));
        CHECK(l.error == drop_reason::none);
        CHECK(l.protocol == 6);
        CHECK(l.transport_offset == 54 + r.bytes);
        CHECK(l.has_transport);
    }
}

TEST_CASE("eight extension headers are followed, a ninth ends the parse with its own reason") {
    std::vector<extension> chain(8, plain(60));
    CHECK(layout_of(ethernet(tcp_packet(ip6{.extensions = chain}, {}))).has_transport);
    chain.push_back(plain(60));
    packet_layout const l = layout_of(ethernet(tcp_packet(ip6{.extensions = chain}, {})));
    CHECK(l.error == drop_reason::ip_extension_chain);
    CHECK(!l.has_transport);
}

TEST_CASE("no next header means no transport, and no error") {
    packet_layout const l = layout_of(ethernet(encode(ip6{.protocol = 59, .extensions = {plain(0)}}, {})));
    CHECK(l.error == drop_reason::none);
    CHECK(l.protocol == 59);
    CHECK(!l.has_transport);
}

TEST_CASE("an IPv6 header alone, with length 0 and nothing behind it, is whole (RFC 8200 section 4.7)") {
    packet_layout const l = layout_of(ethernet(encode(ip6{.protocol = 59}, {})));
    CHECK(l.error == drop_reason::none);
    CHECK(l.datagram_end == 54);
    CHECK(l.payload_bytes() == 0);
}

TEST_CASE("IPv4 fragments: the first has a transport header, later ones begin in its middle (RFC 791)") {
    packet_layout const first = layout_of(ethernet(tcp_packet(ip4{.fragment = 0x2000}, {})));
    CHECK(first.is_fragment());
    CHECK(first.more_fragments);
    CHECK(first.has_transport);
    packet_layout const middle = layout_of(ethernet(encode(ip4{.fragment = 0x2000 | 185}, zeros(64))));
    CHECK(middle.fragment_offset == 185);
    CHECK(middle.more_fragments);
    CHECK(!middle.has_transport);
    CHECK(middle.transport_offset == 34);
    packet_layout const last = layout_of(ethernet(encode(ip4{.fragment = 370}, zeros(3))));
    CHECK(last.is_fragment());
    CHECK(!last.more_fragments);
    CHECK(last.error == drop_reason::none);
}

TEST_CASE("IPv6 fragments: the headers behind a later fragment's are not taken for extension headers (RFC 8200 section 4.5)") {
    extension const later{44, u8(0) + u16(8u << 3 | 1) + u32(7)};
    packet_layout const l = layout_of(ethernet(encode(ip6{.protocol = 60, .extensions = {later}}, byte_string(64, 0xff))));
    CHECK(l.error == drop_reason::none);
    CHECK(l.fragment_offset == 8);
    CHECK(l.more_fragments);
    CHECK(l.protocol == 60);
    CHECK(!l.has_transport);
    extension const first{44, u8(0) + u16(1) + u32(7)};
    packet_layout const f = layout_of(ethernet(tcp_packet(ip6{.extensions = {first}}, {})));
    CHECK(f.has_transport);
    CHECK(f.more_fragments);
}

TEST_CASE("padding behind the datagram is no payload") {
    byte_string const bytes = ethernet(tcp_packet(ip4{}, {.payload = byte_string{1, 2}})) + zeros(4);
    const_packet_view const view = parse<link_type::ethernet>(byte_view(bytes));
    CHECK(view.layout().error == drop_reason::none);
    CHECK(view.layout().datagram_end == bytes.size() - 4);
    CHECK(view.payload().size() == 2);
}

TEST_CASE("length 0, left by a sender whose device cuts the segment up, means to the frame's end") {
    for (byte_string const& ip : {tcp_packet(ip4{.total_length = 0}, {.payload = zeros(100)}),
                                  tcp_packet(ip6{.payload_length = 0}, {.payload = zeros(100)})}) {
        packet_layout const l = layout_of(ethernet(ip));
        CHECK(l.error == drop_reason::none);
        CHECK(l.has_transport);
        CHECK(l.payload_bytes() == 100);
    }
}

TEST_CASE("TCP options lie between the fixed header and the payload") {
    byte_string const options{2, 4, 5, 0xb4, 1, 1, 1, 1};
    byte_string const bytes = ethernet(tcp_packet(ip4{}, {.options = options, .payload = byte_string{9}}));
    const_packet_view const view = parse<link_type::ethernet>(byte_view(bytes));
    REQUIRE(view.is_tcp());
    byte_view const found = view.tcp_options();
    CHECK(byte_string(found.begin(), found.end()) == options);
    CHECK(view.payload().size() == 1);
    CHECK(view.payload()[0] == 9);
}

TEST_CASE("UDP, ICMP and ICMPv6 are found; ICMP in IPv6 and ICMPv6 in IPv4 are not looked into") {
    byte_string const udp = ethernet(udp_packet(ip4{}, zeros(5)));
    const_packet_view const u = parse<link_type::ethernet>(byte_view(udp));
    REQUIRE(u.is_udp());
    CHECK(u.udp().length == 13);
    CHECK(u.payload().size() == 5);
    byte_string const echo = ethernet(icmp_packet(ip4{}, 8, 0, zeros(5)));
    CHECK(parse<link_type::ethernet>(byte_view(echo)).is_icmp());
    byte_string const echo6 = ethernet(icmp_packet(ip6{}, 128, 0, zeros(5)));
    CHECK(parse<link_type::ethernet>(byte_view(echo6)).is_icmp());
    CHECK(!layout_of(ethernet(encode(ip4{.protocol = 58}, zeros(8)))).has_transport);
    CHECK(!layout_of(ethernet(encode(ip6{.protocol = 1}, zeros(8)))).has_transport);
}

TEST_CASE("a first fragment's UDP length reaches beyond it, which is no error") {
    packet_layout const l = layout_of(ethernet(udp_packet(ip4{.fragment = 0x2000}, zeros(32), 2000)));
    CHECK(l.error == drop_reason::none);
    CHECK(l.has_transport);
}

TEST_CASE("a view of mutable bytes changes the frame in place") {
    byte_string bytes = ethernet(segment_v4);
    packet_view const view = parse<link_type::ethernet>(byte_span(bytes));
    view.tcp().destination_port = 8080;
    view.ipv4().time_to_live = 1;
    CHECK(bytes[36] == 0x1f);
    CHECK(bytes[37] == 0x90);
    CHECK(bytes[22] == 1);
}

TEST_CASE("a capture cut in the payload is no error; its end is the wire's") {
    byte_string const bytes = ethernet(tcp_packet(ip4{}, {.payload = zeros(100)}));
    byte_string const cut(bytes.begin(), bytes.end() - 60);
    const_packet_view const view = parse(link_type::ethernet, byte_view(cut), bytes.size());
    CHECK(view.layout().error == drop_reason::none);
    CHECK(view.layout().cut);
    CHECK(view.layout().payload_bytes() == 100);
    CHECK(view.payload().size() == 40);
}

TEST_CASE("ICMP errors quote the packet, with ports even if only 8 bytes of transport are there (RFC 792)") {
    byte_string const quoted = tcp_packet(ip4{}, {.source_port = 1234, .seq = 77, .payload = zeros(100)});
    for (unsigned const type : {3u, 4u, 5u, 11u, 12u})
        for (std::size_t const size : {std::size_t{28}, std::size_t{40}, quoted.size()}) {
            CAPTURE(type);
            CAPTURE(size);
            byte_string const part(quoted.begin(), quoted.begin() + static_cast<std::ptrdiff_t>(size));
            byte_string const bytes = ethernet(icmp_packet(ip4{}, type, 0, part));
            const_packet_view const inner = parse_quoted(parse<link_type::ethernet>(byte_view(bytes)));
            REQUIRE(inner.is_tcp());
            CHECK(inner.layout().error == drop_reason::none);
            CHECK(inner.ipv4().source == 0xc000020a);
            CHECK(inner.tcp().source_port == 1234);
            CHECK(inner.tcp().sequence == 77);
        }
}

TEST_CASE("ICMPv6 errors quote the packet, extension headers included (RFC 4443 section 2.4)") {
    byte_string const quoted = udp_packet(ip6{.extensions = {plain(0)}}, zeros(100));
    for (unsigned const type : {1u, 2u, 3u, 4u}) {
        byte_string const bytes = ethernet(icmp_packet(ip6{}, type, 0, quoted));
        const_packet_view const inner = parse_quoted(parse<link_type::ethernet>(byte_view(bytes)));
        REQUIRE(inner.is_udp());
        CHECK(inner.udp().source_port == 1000);
    }
}

TEST_CASE("a quote without ports, a later fragment, an echo and a packet of no ICMP give no transport") {
    byte_string const quoted = tcp_packet(ip4{}, {});
    auto const inner_of = [](byte_string const& bytes) {
        return parse_quoted(parse<link_type::ethernet>(byte_view(bytes))).layout();
    };
    CHECK(!inner_of(ethernet(icmp_packet(ip4{}, 3, 0, byte_string(quoted.begin(), quoted.begin() + 27)))).has_transport);
    CHECK(inner_of(ethernet(icmp_packet(ip4{}, 3, 0, {}))).ip_version == 0);
    CHECK(!inner_of(ethernet(icmp_packet(ip4{}, 3, 0, encode(ip4{.fragment = 4}, zeros(64))))).has_transport);
    CHECK(inner_of(ethernet(icmp_packet(ip4{}, 8, 0, quoted))).ip_version == 0);
    CHECK(inner_of(ethernet(icmp_packet(ip6{}, 128, 0, tcp_packet(ip6{}, {})))).ip_version == 0);
    CHECK(inner_of(ethernet(quoted)).ip_version == 0);
}

TEST_CASE("parse_usual() says what parse() says, and says it of every plain TCP segment over IPv4, however one or two bytes are changed") {
    split_mix64 random(3);
    int usual = 0, other = 0;
    byte_string const good = ethernet(tcp_packet(ip4{}, {.options = u32(0x0101080a) + zeros(8), .payload = zeros(20)}));
    for (int round = 0; round < 200'000; ++round) {
        byte_string bytes = good;
        for (std::uint32_t change = random.below(3); change != 0; --change)
            bytes[random.below(60)] = random.below(2) ? static_cast<std::uint8_t>(random()) : static_cast<std::uint8_t>(random.below(2) << random.below(8));
        bytes.resize(random.below(4) == 0 ? random.below(static_cast<std::uint32_t>(bytes.size())) : bytes.size());
        std::size_t const on_the_wire = bytes.size() + (random.below(8) == 0 ? 1 : 0);
        const_packet_view seen;
        const_packet_view const truth = parse<link_type::ethernet>(byte_view(bytes), on_the_wire);
        packet_layout const& l = truth.layout();
        bool const expected = l.error == drop_reason::none && l.ip_version == 4 && truth.is_tcp() && l.network_offset == 14 && l.transport_offset == 34 &&
                              !l.is_fragment() && !l.cut && truth.ipv4().total_length != 0;
        bool const said = parse_usual(byte_view(bytes), on_the_wire, seen);
        ++(said ? usual : other);
        REQUIRE(said == expected);
        if (said) REQUIRE(std::memcmp(&seen.layout(), &l, sizeof l) == 0);
    }
    CHECK(usual > 50'000);
    CHECK(other > 50'000);
}

TEST_CASE("parse_usual_v6() says what parse() says, and says it of every plain TCP segment over IPv6, however one or two bytes are changed") {
    split_mix64 random(4);
    int usual = 0, other = 0;
    byte_string const good = ethernet(tcp_packet(ip6{}, {.options = u32(0x0101080a) + zeros(8), .payload = zeros(20)}));
    for (int round = 0; round < 200'000; ++round) {
        byte_string bytes = good;
        for (std::uint32_t change = random.below(3); change != 0; --change)
            bytes[random.below(80)] = random.below(2) ? static_cast<std::uint8_t>(random()) : static_cast<std::uint8_t>(random.below(2) << random.below(8));
        bytes.resize(random.below(4) == 0 ? random.below(static_cast<std::uint32_t>(bytes.size())) : bytes.size());
        std::size_t const on_the_wire = bytes.size() + (random.below(8) == 0 ? 1 : 0);
        const_packet_view seen;
        const_packet_view const truth = parse<link_type::ethernet>(byte_view(bytes), on_the_wire);
        packet_layout const& l = truth.layout();
        bool const expected = l.error == drop_reason::none && l.ip_version == 6 && truth.is_tcp() && l.network_offset == 14 && l.transport_offset == 54 &&
                              !l.is_fragment() && !l.cut && truth.ipv6().payload_length != 0;
        bool const said = parse_usual_v6(byte_view(bytes), on_the_wire, seen);
        ++(said ? usual : other);
        REQUIRE(said == expected);
        if (said) REQUIRE(std::memcmp(&seen.layout(), &l, sizeof l) == 0);
    }
    CHECK(usual > 50'000);
    CHECK(other > 50'000);
}
