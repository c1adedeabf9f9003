// SPDX-License-Identifier: BSL-1.0
// Large segments and long packets in pieces, compared with what was cut, byte by byte.
#include <halfproxy/translate/packet_pieces.hpp>

#include "tests/support/timeline.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

byte_string counted(std::size_t n) {
    byte_string b(n, 0);
    for (std::size_t i = 0; i < n; ++i) b[i] = static_cast<std::uint8_t>(i * 31 + i / 251);
    return b;
}

struct cut_frame {
    byte_string bytes;
    frame f{};

    explicit cut_frame(byte_string b, std::uint8_t kind = 0, std::uint16_t segment = 0) : bytes(std::move(b)) {
        f.data = bytes.data();
        f.length = f.wire_length = f.capacity = static_cast<std::uint32_t>(bytes.size());
        f.offload.segment_type = kind;
        f.offload.segment_size = segment;
    }
    [[nodiscard]] const_packet_view view() const { return parse(f.link, byte_view(f.bytes()), f.wire_length); }
    [[nodiscard]] std::vector<decoded> pieces(cutting const& cut) const {
        std::vector<decoded> all;
        for (std::uint32_t i = 0; i < cut.count; ++i) {
            byte_string to(cut.content_at + cut.piece_bytes, 0xee);
            to.resize(write_piece(to, f, view(), cut, i));
            all.push_back(decode(to));
        }
        return all;
    }
};

/// Of an IPv4 header at the beginning.
void set_fragment_field(byte_string& datagram, unsigned to, std::size_t at = 0) {
    put16(datagram, at + 6, to);
    put16(datagram, at + 10, 0);
    put16(datagram, at + 10, naive_checksum(byte_view(datagram).subspan(at, 20)));
}

byte_string tcp_frame(unsigned version, std::size_t bytes, unsigned flag_bits, std::uint32_t seq = 0xffff'fc00) {
    endpoints const e{.version = version};
    segment s{.seq = seq, .ack = 7, .flags = flag_bits, .window = 9, .payload = counted(bytes)};
    s.timestamps = {{1, 2}};
    return framed(e, tcp_datagram(e, true, s));
}

}  // namespace

TEST_CASE("a large segment of TCP: consecutive numbers over 2^32, FIN and PSH with the last, CWR with the first (RFC 3168 section 6.1.2)") {
    for (unsigned const version : {4u, 6u}) {
        for (std::size_t const bytes : {1u, 999u, 1000u, 1001u, 5500u}) {
            CAPTURE(bytes);
            cut_frame const whole(tcp_frame(version, bytes, flags::ack | flags::psh | flags::fin | flags::cwr), static_cast<std::uint8_t>((version == 4 ? 1 : 4) | 0x80), 1000);
            cutting const cut = cut_segment(whole.f, whole.view());
            REQUIRE(cut.count == (bytes + 999) / 1000);
            CHECK(cut.packet_bytes(14) == (version == 4 ? 20u : 40u) + 32 + 1000);
            byte_string all;
            std::vector<decoded> const pieces = whole.pieces(cut);
            for (std::size_t i = 0; i < pieces.size(); ++i) {
                decoded const& d = pieces[i];
                CHECK(d.network_checksum_good);
                CHECK(d.transport_checksum_good);
                CHECK(d.tcp.seq == 0xffff'fc00u + static_cast<std::uint32_t>(1000 * i));
                unsigned const wanted = flags::ack | (i == 0 ? flags::cwr : 0u) | (i + 1 == pieces.size() ? flags::psh | flags::fin : 0u);
                CHECK(d.tcp.flags == wanted);
                CHECK(d.tcp.timestamps->first == 1);
                if (version == 4) CHECK(get16(d.bytes, 18) == (get16(whole.bytes, 18) + i) % 65536);
                all = all + d.tcp.payload;
            }
            CHECK(all == counted(bytes));
        }
    }
}

TEST_CASE("a large segment of UDP: datagrams with lengths and checksums of their own") {
    for (unsigned const version : {4u, 6u}) {
        endpoints const e{.version = version};
        byte_string const datagram = u16(5) + u16(80) + u16(8 + 2500) + u16(0) + counted(2500);
        cut_frame const whole(framed(e, datagram_of(e, true, 17, datagram, 6)), 5, 1200);
        std::vector<decoded> const pieces = whole.pieces(cut_segment(whole.f, whole.view()));
        REQUIRE(pieces.size() == 3);
        byte_string all;
        for (decoded const& d : pieces) {
            CHECK(d.transport_checksum_good);
            CHECK(get16(d.transport, 4) == d.transport.size());
            all = all + byte_string(d.transport.begin() + 8, d.transport.end());
        }
        CHECK(all == counted(2500));
    }
}

TEST_CASE("fragments hold together what was cut, of a fragment as well, and the last alone ends it (RFC 791 section 3.2)") {
    endpoints const e{};
    for (bool const fragment : {false, true}) {
        byte_string datagram = datagram_of(e, true, 17, u16(5) + u16(80) + u16(8 + 1400) + u16(0) + counted(1400), 6);
        set_fragment_field(datagram, fragment ? 0x2000 | 100 : 0);
        cut_frame const whole(ethernet(datagram));
        cutting const cut = cut_into_fragments(whole.f, whole.view(), 700);
        CHECK(cut.piece_bytes == 680);
        std::vector<decoded> const pieces = whole.pieces(cut);
        REQUIRE(pieces.size() == 3);
        byte_string all;
        for (std::size_t i = 0; i < 3; ++i) {
            CHECK(pieces[i].network_checksum_good);
            CHECK(pieces[i].fragment_offset == (fragment ? 800u : 0u) + all.size());
            CHECK(pieces[i].more_fragments == (fragment || i != 2));
            all = all + pieces[i].transport;
        }
        CHECK(all == byte_string(datagram.begin() + 20, datagram.end()));
    }
}

TEST_CASE("what cannot be cut: no device's segment, of another kind, not to be fragmented, with options, IPv6") {
    CHECK(cut_segment(cut_frame(tcp_frame(4, 2000, flags::ack), 1, 0).f, cut_frame(tcp_frame(4, 2000, flags::ack)).view()).count == 0);
    cut_frame const other_kind(tcp_frame(4, 2000, flags::ack), 4, 1000), legacy(tcp_frame(4, 2000, flags::ack), 3, 1000);
    CHECK(cut_segment(other_kind.f, other_kind.view()).count == 0);
    CHECK(cut_segment(legacy.f, legacy.view()).count == 0);
    cut_frame const six(tcp_frame(6, 1400, flags::ack));
    CHECK(cut_into_fragments(six.f, six.view(), 700).count == 0);
    byte_string whole = tcp_frame(4, 1400, flags::ack);
    set_fragment_field(whole, 0x4000, 14);
    cut_frame const dont(whole);
    CHECK(cut_into_fragments(dont.f, dont.view(), 700).count == 0);
    set_fragment_field(whole, 0, 14);
    cut_frame const tight(whole);
    CHECK(cut_into_fragments(tight.f, tight.view(), 27).count == 0);
    CHECK(cut_into_fragments(tight.f, tight.view(), 28).count == 179);
}

TEST_CASE("a checksum that the device was to finish is finished before") {
    byte_string bytes = tcp_frame(4, 100, flags::ack, 1);
    byte_string const good = bytes;
    put16(bytes, 14 + 20 + 16, 0x1234);
    cut_frame c(bytes);
    c.f.offload.checksum = checksum_state::unknown;
    finish_checksum(c.f, parse(c.f.link, c.f.bytes(), c.f.wire_length));
    CHECK(c.bytes == bytes);
    c.f.offload.checksum = checksum_state::partial;
    finish_checksum(c.f, parse(c.f.link, c.f.bytes(), c.f.wire_length));
    CHECK(c.bytes == good);
    CHECK(c.f.offload.checksum == checksum_state::unknown);
}
