// SPDX-License-Identifier: BSL-1.0
// Quotes in ICMP errors, short and long, rewritten with every checksum right.
#include <halfproxy/translate/icmp_quote.hpp>

#include "tests/support/timeline.hpp"

#include <random>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

/// The error's frame with its quote changed, both checksums of the frame verified.
template <class Address>
byte_string changed(byte_string frame, quote_changes<Address> const& to) {
    packet_view const error = parse<link_type::ethernet>(byte_span(frame));
    packet_view const quoted = parse_quoted(error);
    REQUIRE(quoted.layout().has_transport);
    header_changes outer;
    rewrite_quote(error, quoted, to, outer);
    checksum_state state = checksum_state::unknown;
    incremental_checksum::commit(error, outer, state);
    decoded const d = decode(frame);
    CHECK(d.network_checksum_good);
    CHECK(d.transport_checksum_good);
    return d.transport;
}

byte_string error_frame(unsigned version, byte_string const& quote) {
    if (version == 4) return ethernet(icmp_packet(ip4{}, 3, 4, quote));
    return ethernet(icmp_packet(ip6{}, 2, 0, quote));
}

ipv6_bytes six(unsigned last) {
    ipv6_bytes a{0x20, 0x01, 0x0d, 0xb8};
    a[15] = static_cast<std::uint8_t>(last);
    a[9] = 0x77;
    return a;
}

}  // namespace

TEST_CASE("a quote of any length from 8 bytes of transport on is rewritten as far as it goes, its checksums and the outer one right") {
    std::mt19937 random(23);
    for (unsigned version : {4u, 6u})
        for (unsigned protocol : {6u, 17u, version == 4 ? 1u : 58u}) {
            endpoints e;
            e.version = version;
            byte_string transport;
            std::size_t checksum_at = 16;
            if (protocol == 6) {
                transport = encode(tcp{.source_port = 40000, .destination_port = 80, .seq = 0xffff'fff0, .ack = 17, .flags = 16, .payload = filled(30)});
            } else if (protocol == 17) {
                transport = u16(40000) + u16(80) + u16(8 + 30) + u16(0) + filled(30);
                checksum_at = 6;
            } else {
                transport = u8(version == 4 ? 8 : 128) + u8(0) + u16(0) + u16(40000) + u16(9) + filled(30);
                checksum_at = 2;
            }
            byte_string const original = datagram_of(e, true, protocol, transport, checksum_at);
            std::size_t const header = version == 4 ? 20 : 40;
            for (std::size_t length = header + 8; length <= original.size(); ++length) {
                CAPTURE(version);
                CAPTURE(protocol);
                CAPTURE(length);
                byte_string quote = original;
                quote.resize(length);
                std::uint32_t const add_seq = static_cast<std::uint32_t>(random()), add_ack = static_cast<std::uint32_t>(random());
                byte_string got;
                if (version == 4)
                    got = changed<std::uint32_t>(error_frame(4, quote), {{0x0a000001, 0x0a000002, 1234, 5678}, add_seq, add_ack});
                else
                    got = changed<ipv6_bytes>(error_frame(6, quote), {{six(1), six(2), 1234, 5678}, add_seq, add_ack});
                byte_string const inner(got.begin() + 8, got.end());
                REQUIRE(inner.size() == length);
                if (version == 4) {
                    CHECK(get32(inner, 12) == 0x0a000001);
                    CHECK(naive_checksum(byte_view(inner).first(20)) == 0);
                } else {
                    CHECK(inner[23] == 1);
                    CHECK(inner[39] == 2);
                }
                if (protocol == 1 || protocol == 58) {
                    CHECK(get16(inner, header + 4) == 1234);
                } else {
                    CHECK(get16(inner, header) == 1234);
                    CHECK(get16(inner, header + 2) == 5678);
                }
                if (protocol == 6) {
                    CHECK(get32(inner, header + 4) == 0xffff'fff0u + add_seq);
                    if (length >= header + 12) CHECK(get32(inner, header + 8) == 17 + add_ack);
                }
                if (length < original.size()) continue;
                byte_string const body(inner.begin() + static_cast<std::ptrdiff_t>(header), inner.end());
                byte_string const addresses(inner.begin() + (version == 4 ? 12 : 8), inner.begin() + (version == 4 ? 20 : 40));
                byte_string const pseudo = protocol == 1 ? byte_string{} : addresses + u32(static_cast<std::uint32_t>(body.size())) + u32(protocol);
                CHECK(naive_checksum(pseudo + body) == 0);
            }
        }
}

TEST_CASE("a quoted UDP datagram without checksum gets none") {
    endpoints e;
    byte_string quote = datagram_of(e, true, 17, u16(40000) + u16(80) + u16(8) + u16(0), 6);
    put16(quote, 26, 0);
    byte_string const got = changed<std::uint32_t>(error_frame(4, quote), {{0x0a000001, 0x0a000002, 1, 2}, 0, 0});
    CHECK(get16(got, 8 + 26) == 0);
}

TEST_CASE("padding behind the error's datagram is not touched") {
    endpoints e;
    byte_string quote = tcp_datagram(e, true, {.seq = 1, .flags = flags::ack});
    quote.resize(20 + 8);
    byte_string frame = error_frame(4, quote) + filled(10, 0xee);
    packet_view const error = parse<link_type::ethernet>(byte_span(frame));
    header_changes outer;
    rewrite_quote<std::uint32_t>(error, parse_quoted(error), {{1, 2, 3, 4}, 5, 6}, outer);
    CHECK(byte_string(frame.end() - 10, frame.end()) == filled(10, 0xee));
}
