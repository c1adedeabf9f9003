// SPDX-License-Identifier: BSL-1.0
// The NAT rewriter alone: addresses and ports change in place, and the checksums follow without reading the payload.
#include <halfproxy/translate/nat_rewriter.hpp>
#include <halfproxy/wire/build.hpp>

#include <fmt/format.h>

using namespace halfproxy;

static std::string dotted(std::uint32_t address) {
    return fmt::format("{}.{}.{}.{}", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

static void show(byte_view bytes) {
    auto const packet = parse<link_type::raw_ip>(bytes);
    fmt::print("{}:{} to {}:{}, IP checksum {}, TCP checksum {}\n", dotted(packet.ipv4().source),
               packet.tcp().source_port.value(), dotted(packet.ipv4().destination),
               packet.tcp().destination_port.value(),
               verify_ipv4_header(packet) == checksum_verdict::good ? "good" : "bad",
               verify_transport(packet) == checksum_verdict::good ? "good" : "bad");
}

int main() {
    packet_origin const origin{.link_kind = link_type::raw_ip,
                               .ip_version = 4,
                               .source = {192, 0, 2, 10},
                               .destination = {198, 51, 100, 80},
                               .source_port = big16{40000},
                               .destination_port = big16{443}};
    std::array<std::uint8_t, 64> buffer;
    byte_span const bytes{buffer.data(), build_tcp(buffer, origin, {{1000}, {}, tcp_flag::syn, 64240}, {})};
    show(bytes);

    // Source NAT: the client appears as 203.0.113.1 port 50000.
    nat_endpoints<std::uint32_t> const outwards{0xcb007101, 0xc6336450, 50000, 443};
    checksum_state state = checksum_state::unknown;
    nat_rewriter<>::rewrite(parse<link_type::raw_ip>(bytes), outwards, state);
    show(bytes);

    // Destination NAT on top, its checksums computed in full: the policy is a template argument.
    nat_endpoints<std::uint32_t> const to_backend{0xcb007101, 0x0a000005, 50000, 8443};
    nat_rewriter<full_checksum>::rewrite(parse<link_type::raw_ip>(bytes), to_backend, state);
    show(bytes);

    // An error made before stays visible: an incremental update never repairs a damaged packet.
    bytes[bytes.size() - 1] ^= 1;
    nat_rewriter<>::rewrite(parse<link_type::raw_ip>(bytes), outwards, state);
    show(bytes);
}
