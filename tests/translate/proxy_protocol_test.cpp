// SPDX-License-Identifier: BSL-1.0
// The PROXY protocol's two headers, byte for byte.
#include <halfproxy/translate/proxy_protocol.hpp>

#include "tests/support/addresses.hpp"
#include "tests/support/one_frame.hpp"

#include <string>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

template <class Address>
std::string header(proxy_protocol version, nat_endpoints<Address> const& ends, std::size_t room = longest_proxy_header) {
    std::vector<std::uint8_t> out(room);
    std::size_t const bytes = write_proxy_header(out, version, ends);
    return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(bytes)};
}

nat_endpoints<std::uint32_t> const four{0xc000020a, 0xc6336450, 40000, 80};
nat_endpoints<ipv6_bytes> const six_ends{six({0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10}), six({0x2001, 0xdb8, 0, 0xf, 0, 0xa0b, 0, 0x80}), 40000, 443};
constexpr char signature[] = "\r\n\r\n\0\r\nQUIT\n";

}  // namespace

TEST_CASE("version 1 is a line of text (section 2.1)") {
    CHECK(header(proxy_protocol::v1, four) == "PROXY TCP4 192.0.2.10 198.51.100.80 40000 80\r\n");
    CHECK(header(proxy_protocol::v1, six_ends) == "PROXY TCP6 2001:db8:0:0:0:0:0:10 2001:db8:0:f:0:a0b:0:80 40000 443\r\n");
    CHECK(header(proxy_protocol::v1, nat_endpoints<std::uint32_t>{0, 0x01000a63, 0, 1}) == "PROXY TCP4 0.0.0.0 1.0.10.99 0 1\r\n");
}

TEST_CASE("version 2 is binary: signature, PROXY, family and STREAM, length, addresses, ports (section 2.2)") {
    std::string const v4 = header(proxy_protocol::v2, four);
    CHECK(v4 == std::string(signature, 12) + std::string("\x21\x11\x00\x0c\xc0\x00\x02\x0a\xc6\x33\x64\x50\x9c\x40\x00\x50", 16));
    std::string const v6 = header(proxy_protocol::v2, six_ends);
    CHECK(v6.size() == 52);
    byte_string const addresses = bytes_of(six_ends.source) + bytes_of(six_ends.destination);
    CHECK(v6 == std::string(signature, 12) + std::string("\x21\x21\x00\x24", 4) + std::string(addresses.begin(), addresses.end()) +
                    std::string("\x9c\x40\x01\xbb", 4));
}

TEST_CASE("the longest header fits, and one that does not is not written") {
    ipv6_bytes ones;
    ones.fill(0xff);
    nat_endpoints<ipv6_bytes> const longest{ones, ones, 65535, 65535};
    CHECK(header(proxy_protocol::v1, longest).size() == longest_proxy_header);
    CHECK(header(proxy_protocol::v1, longest, longest_proxy_header - 1).empty());
    CHECK(header(proxy_protocol::v2, four, 27).empty());
    CHECK(header(proxy_protocol::v2, four, 28).size() == 28);
    CHECK(header(proxy_protocol::none, four).empty());
}

TEST_CASE("an acknowledgment within the header becomes that of nothing, and the window ends where it did") {
    struct {
        std::uint32_t ack;
        unsigned window, scale;
        std::uint32_t want_ack;
        unsigned want_window;
    } const cases[] = {
        {972, 1000, 0, 1000, 972}, {990, 1000, 0, 1000, 990},   {1000, 1000, 0, 1000, 1000}, {1001, 7, 0, 1001, 7},
        {972, 10, 0, 1000, 0},     {972, 510, 7, 1000, 509},    {972, 0, 7, 1000, 0},        {895, 500, 0, 895, 500},  // further than any header
        {896, 500, 0, 1000, 396},  {4'000'000'000, 5, 0, 4'000'000'000, 5},
    };
    for (auto const& c : cases)
        for (unsigned version : {4u, 6u}) {
            endpoints e;
            e.version = version;
            auto const segment_of = [&](std::uint32_t ack, unsigned window) {
                return ethernet(tcp_datagram(e, false, {.seq = 7, .ack = ack, .flags = flags::ack, .window = window, .payload = filled(5)}));
            };
            one_frame one(segment_of(c.ack, c.window), 0);
            header_changes changes;
            hide_header(one.view(), {1000}, static_cast<std::uint8_t>(c.scale), changes);
            incremental_checksum::commit(one.view(), changes, one.f.offload.checksum);
            CHECK(one.bytes() == segment_of(c.want_ack, c.want_window));
        }
    endpoints e;
    byte_string const reset = ethernet(tcp_datagram(e, false, {.seq = 7, .ack = 990, .flags = flags::rst, .window = 5}));
    one_frame one(reset, 0);
    header_changes changes;
    hide_header(one.view(), {1000}, 0, changes);
    CHECK(one.bytes() == reset);
}
