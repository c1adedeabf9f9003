// SPDX-License-Identifier: BSL-1.0
// What an outside program does first: it includes the umbrella header and looks into a packet.
#include <halfproxy/halfproxy.hpp>

#include <array>
#include <cstdint>
#include <cstdio>

namespace {

// 192.0.2.1:49152 to 198.51.100.1:80, SYN.
constexpr std::array<std::uint8_t, 40> syn{
    0x45, 0x00, 0x00, 0x28, 0x00, 0x00, 0x40, 0x00, 0x40, 0x06, 0x52, 0x9b, 192,  0,    2,    1,    198,  51,   100,  1,
    0xc0, 0x00, 0x00, 0x50, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x50, 0x02, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00};

}  // namespace

int main() {
    auto const packet = halfproxy::parse<halfproxy::link_type::raw_ip>(halfproxy::byte_view(syn));
    if (!packet.is_tcp() || packet.tcp().flags != halfproxy::tcp_flag::syn) return 1;
    std::printf("%u %s\n", unsigned{packet.tcp().destination_port}, HALFPROXY_VERSION);
    return 0;
}
