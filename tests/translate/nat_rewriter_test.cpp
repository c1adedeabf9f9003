// SPDX-License-Identifier: BSL-1.0
// Addresses and ports replaced, the checksums kept in three ways.
#include <halfproxy/translate/nat_rewriter.hpp>

#include "tests/support/timeline.hpp"

#include <random>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

std::mt19937 random_source(17);
std::uint32_t any() { return static_cast<std::uint32_t>(random_source()); }

/// A packet of every kind that can be rewritten.
byte_string packet_of(endpoints const& e, unsigned kind, byte_string const& payload) {
    bool const v4 = e.version == 4;
    switch (kind) {
        case 0: return framed(e, tcp_datagram(e, true, {.seq = any(), .ack = any(), .flags = flags::ack, .window = 7, .payload = payload}));
        case 1:
            return framed(e, datagram_of(e, true, 17,
                                         u16(e.client_port) + u16(e.server_port) + u16(8 + static_cast<unsigned>(payload.size())) + u16(0) + payload, 6));
        default:
            return framed(e, datagram_of(e, true, v4 ? 1 : 58, u8(v4 ? 8 : 128) + u8(0) + u16(0) + u16(e.client_port) + u16(3) + payload, 2));
    }
}

ipv6_bytes any_v6() {
    ipv6_bytes a{};
    for (auto& b : a) b = static_cast<std::uint8_t>(any());
    return a;
}
byte_string bytes_of(ipv6_bytes const& a) { return {a.begin(), a.end()}; }

template <class Checksum>
byte_string rewritten(byte_string bytes, nat_endpoints<std::uint32_t> const& v4, nat_endpoints<ipv6_bytes> const& v6, checksum_state& state) {
    packet_view const packet = parse<link_type::ethernet>(byte_span(bytes));
    if (packet.layout().ip_version == 4)
        nat_rewriter<Checksum>::rewrite(packet, v4, state);
    else
        nat_rewriter<Checksum>::rewrite(packet, v6, state);
    return bytes;
}

}  // namespace

TEST_CASE("addresses, ports and query identifiers are replaced, and full, incremental and offloaded checksums agree") {
    for (int round = 0; round < 300; ++round)
        for (unsigned version : {4u, 6u})
            for (unsigned kind = 0; kind < 3; ++kind) {
                CAPTURE(version);
                CAPTURE(kind);
                endpoints e;
                e.version = version;
                e.client_port = any() & 0xffff;
                e.client4 = any();
                byte_string payload(any() % 64);
                for (auto& b : payload) b = static_cast<std::uint8_t>(any());
                byte_string const before = packet_of(e, kind, payload);
                nat_endpoints<std::uint32_t> const v4{any(), any(), static_cast<std::uint16_t>(any()), static_cast<std::uint16_t>(any())};
                nat_endpoints<ipv6_bytes> const v6{any_v6(), any_v6(), v4.source_port, v4.destination_port};

                checksum_state state = checksum_state::unknown;
                byte_string const kept = rewritten<incremental_checksum>(before, v4, v6, state);
                CHECK(state == checksum_state::unknown);
                byte_string const fresh = rewritten<full_checksum>(before, v4, v6, state);
                CHECK(kept == fresh);
                decoded const d = decode(kept);
                CHECK(d.network_checksum_good);
                CHECK(d.transport_checksum_good);
                CHECK(d.source == (version == 4 ? u32(v4.source) : bytes_of(v6.source)));
                CHECK(d.destination == (version == 4 ? u32(v4.destination) : bytes_of(v6.destination)));
                if (kind < 2) {
                    CHECK(d.source_port == v4.source_port);
                    CHECK(d.destination_port == v4.destination_port);
                } else {
                    CHECK(get16(d.transport, 4) == v4.source_port);
                }
                // Offloaded: the field holds the pseudo-header's sum, and a device that sums the rest gets the same packet.
                byte_string left = rewritten<offloaded_checksum>(before, v4, v6, state);
                CHECK(state == checksum_state::partial);
                std::size_t const transport = version == 4 ? 34 : 54;
                std::size_t const at = transport + (kind == 0 ? 16 : kind == 1 ? 6 : 2);
                std::uint16_t const sum = naive_checksum(byte_view(left).subspan(transport));
                put16(left, at, kind == 1 && sum == 0 ? 0xffff : sum);
                CHECK(left == fresh);
            }
}

TEST_CASE("a partial checksum takes only the pseudo-header's part, and its device completes it rightly") {
    for (unsigned version : {4u, 6u})
        for (unsigned kind = 0; kind < 2; ++kind) {
            endpoints e;
            e.version = version;
            byte_string frame = packet_of(e, kind, filled(21));
            std::size_t const transport = version == 4 ? 34 : 54;
            std::size_t const at = transport + (kind == 0 ? 16 : 6);
            nat_endpoints<std::uint32_t> const v4{any(), any(), 5, 6};
            nat_endpoints<ipv6_bytes> const v6{any_v6(), any_v6(), 5, 6};
            checksum_state state = checksum_state::unknown;
            byte_string const want = rewritten<full_checksum>(frame, v4, v6, state);
            state = checksum_state::partial;
            put16(frame, at, 0);
            decoded const d = decode(frame);
            put16(frame, at, naive_sum(d.source + d.destination + u32(static_cast<std::uint32_t>(d.transport.size())) + u32(d.protocol)));
            byte_string got = rewritten<incremental_checksum>(frame, v4, v6, state);
            put16(got, at, naive_checksum(byte_view(got).subspan(transport)));
            CHECK(got == want);
        }
}

TEST_CASE("UDP without checksum keeps none, and one that becomes 0 is sent as ffff (RFC 768)") {
    endpoints e;
    byte_string frame = packet_of(e, 1, filled(10));
    put16(frame, 14 + 20 + 6, 0);
    checksum_state state = checksum_state::unknown;
    CHECK(get16(rewritten<incremental_checksum>(frame, {1, 2, 3, 4}, {}, state), 40) == 0);
    CHECK(get16(rewritten<full_checksum>(frame, {1, 2, 3, 4}, {}, state), 40) == 0);
    // The port for which the sum becomes ffff, that is the checksum 0.
    byte_string const base = rewritten<full_checksum>(packet_of(e, 1, filled(10)), {1, 2, 0, 4}, {}, state);
    std::uint16_t const port = static_cast<std::uint16_t>(get16(base, 40));
    state = checksum_state::unknown;
    byte_string const one = rewritten<incremental_checksum>(packet_of(e, 1, filled(10)), {1, 2, port, 4}, {}, state);
    byte_string const two = rewritten<full_checksum>(packet_of(e, 1, filled(10)), {1, 2, port, 4}, {}, state);
    CHECK(get16(one, 40) == 0xffff);
    CHECK(get16(two, 40) == 0xffff);
}

TEST_CASE("a later fragment has its addresses replaced and nothing of its content") {
    ip4 ip;
    ip.protocol = 17;
    ip.fragment = 0x2001;
    byte_string const frame = ethernet(encode(ip, filled(24, 0x11)));
    checksum_state state = checksum_state::unknown;
    byte_string const got = rewritten<incremental_checksum>(frame, {0x01020304, 0x05060708, 9, 10}, {}, state);
    CHECK(naive_checksum(byte_view(got).subspan(14, 20)) == 0);
    CHECK(get32(got, 26) == 0x01020304);
    CHECK(byte_string(got.begin() + 34, got.end()) == filled(24, 0x11));
}

TEST_CASE("an ICMP error's own words are no identifier") {
    byte_string const frame = ethernet(icmp_packet(ip4{}, 3, 1, filled(28), 0xaabbccdd));
    checksum_state state = checksum_state::unknown;
    byte_string const got = rewritten<incremental_checksum>(frame, {1, 2, 3, 4}, {}, state);
    CHECK(get32(got, 38) == 0xaabbccdd);
    CHECK(decode(got).transport_checksum_good);
}
