// SPDX-License-Identifier: BSL-1.0
// The client's address in a TCP option, where there is room for it.
#include <halfproxy/translate/client_option.hpp>

#include "tests/support/addresses.hpp"
#include "tests/support/one_frame.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

byte_string segment_of(byte_string const& options, byte_string const& payload, unsigned version = 4) {
    endpoints e;
    e.version = version;
    return tcp_datagram(e, true, {.seq = 9, .ack = 8, .flags = flags::ack, .window = 7, .payload = payload, .raw_options = options});
}
byte_string const option4 = u8(254) + u8(8) + u16(40000) + u32(0xc000020a);

}  // namespace

TEST_CASE("the option comes first among a segment's options, in either version, and checksums and lengths are right") {
    byte_string const timestamps = u8(1) + u8(1) + u8(8) + u8(10) + u32(5) + u32(6);
    for (unsigned version : {4u, 6u})
        for (byte_string const& payload : {byte_string{}, filled(9)}) {
            one_frame one(ethernet(segment_of(timestamps, payload, version)), 20);
            REQUIRE(insert_client_address(one.f, one.view(), 254, 0xc000020a, 40000, 1500));
            CHECK(one.ip() == segment_of(option4 + timestamps, payload, version));
        }
    ipv6_bytes const client = six({0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10});
    one_frame one(ethernet(segment_of({}, filled(9), 6)), 20);
    REQUIRE(insert_client_address(one.f, one.view(), 253, client, 40000, 1500));
    CHECK(one.ip() == segment_of(u8(253) + u8(20) + u16(40000) + bytes_of(client), filled(9), 6));
}

TEST_CASE("a checksum left to the device stays with it") {
    one_frame one(ethernet(segment_of({}, filled(9))));
    leave_checksum(one.f);
    REQUIRE(insert_client_address(one.f, one.view(), 254, 0xc000020a, 40000, 1500));
    byte_string sent = one.bytes();
    finish_checksum(sent, one.f.offload);
    CHECK(sent == ethernet(segment_of(option4, filled(9))));
}

TEST_CASE("without room in header, frame or MTU, in fragments and large segments nothing changes") {
    auto const refused = [](byte_string const& ip, std::size_t room, std::uint16_t mtu, std::uint16_t segment_size = 0) {
        one_frame one(ethernet(ip), room);
        one.f.offload.segment_size = segment_size;
        bool const done = insert_client_address(one.f, one.view(), 254, 0xc000020a, 40000, mtu);
        if (!done) CHECK(one.ip() == ip);
        return !done;
    };
    byte_string const data = segment_of({}, filled(100));
    CHECK_FALSE(refused(data, 8, 148));
    CHECK(refused(data, 8, 147));
    CHECK(refused(data, 7, 1500));
    CHECK(refused(data, 8, 1500, 1000));
    CHECK_FALSE(refused(segment_of(filled(32, 1), {}), 8, 1500));
    CHECK(refused(segment_of(filled(36, 1), {}), 8, 1500));
    ip4 fragment;
    fragment.fragment = 0x2000;
    CHECK(refused(tcp_packet(fragment, {.payload = filled(4)}), 8, 1500));
}
