// SPDX-License-Identifier: BSL-1.0
// The parser alone: bytes in, a view of their layers out, whatever the bytes are.
#include <halfproxy/wire/checksum.hpp>
#include <halfproxy/wire/parse.hpp>
#include <halfproxy/wire/tcp_options.hpp>

#include <fmt/format.h>

#include <array>

using namespace halfproxy;

// A SYN from 192.0.2.10 to 198.51.100.80 port 443 in VLAN 42.
constexpr std::array<std::uint8_t, 62> syn{0x02, 0x00, 0x00, 0x00, 0x00, 0x02, 0x02, 0x00, 0x00, 0x00,
                                           0x00, 0x01, 0x81, 0x00, 0x00, 0x2a, 0x08, 0x00,  // Ethernet, 802.1Q
                                           0x45, 0x00, 0x00, 0x2c, 0x00, 0x01, 0x40, 0x00, 0x40, 0x06,
                                           0x4d, 0xfe, 0xc0, 0x00, 0x02, 0x0a, 0xc6, 0x33, 0x64, 0x50,  // IPv4
                                           0x9c, 0x40, 0x01, 0xbb, 0x00, 0x00, 0x03, 0xe8, 0x00, 0x00,
                                           0x00, 0x00, 0x60, 0x02, 0xfa, 0xf0, 0x00, 0x00, 0x00, 0x00,  // TCP
                                           0x02, 0x04, 0x05, 0xb4};                                     // MSS 1460

static void show(byte_view bytes) {
    const_packet_view const packet = parse<link_type::ethernet>(bytes);
    packet_layout const& layout = packet.layout();
    if (layout.error != drop_reason::none) {
        fmt::print("{} bytes: {}\n", bytes.size(), drop_reason_texts[static_cast<std::size_t>(layout.error)].sentence);
        return;
    }
    tcp_options const options = parse_tcp_options(packet.tcp_options());
    fmt::print("VLAN {}, IPv{}, port {} to {}, SYN {}, MSS {}, {} bytes of payload\n", layout.vlan_id(),
               layout.ip_version, packet.tcp().source_port.value(), packet.tcp().destination_port.value(),
               (packet.tcp().flags & tcp_flag::syn) != 0, options.mss, layout.payload_bytes());
}

int main() {
    show(syn);
    // Cut anywhere, it is still parsed, never beyond its end; the first thing wrong is named.
    for (std::size_t length : {60u, 50u, 30u, 15u, 3u}) show(byte_view{syn}.first(length));

    // A mutable view gives mutable headers, in place and in network byte order.
    auto copy = syn;
    packet_view const packet = parse<link_type::ethernet>(byte_span{copy});
    packet.tcp().destination_port = 8443;
    auto const segment = packet.bytes().subspan(packet.layout().transport_offset);
    packet.tcp().checksum = 0;
    packet.tcp().checksum =
        pseudo_header_sum(packet, ip_protocol::tcp, static_cast<std::uint32_t>(segment.size())).add(segment).checksum();
    fmt::print(
        "checksum after the change: {}\n",
        verify_transport(parse<link_type::ethernet>(byte_view{copy})) == checksum_verdict::good ? "good" : "bad");
    show(copy);
}
