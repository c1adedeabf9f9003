// SPDX-License-Identifier: BSL-1.0
// What an outside program does first: it includes the umbrella header and sends a SYN through an engine.
#include <halfproxy/halfproxy.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

namespace {

// 192.0.2.1:49152 to 198.51.100.1:80, SYN.
constexpr std::array<std::uint8_t, 40> syn{
    0x45, 0x00, 0x00, 0x28, 0x00, 0x00, 0x40, 0x00, 0x40, 0x06, 0x4e, 0x9a, 192,  0,    2,    1,    198,  51,   100,  1,
    0xc0, 0x00, 0x00, 0x50, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x50, 0x02, 0xff, 0xff, 0x03, 0x5b, 0x00, 0x00};

}  // namespace

int main() {
    halfproxy::engine_config config;
    config.guard.mode = halfproxy::guard_mode::always;
    config.limits = {.flows_v4 = 16, .flows_v6 = 16, .handshakes = 16};
    halfproxy::engine<> engine(config);
    halfproxy::outbox out(halfproxy::outbox_per_packet);

    std::array<std::uint8_t, syn.size() + halfproxy::frame_slack_bytes> buffer{};
    std::copy(syn.begin(), syn.end(), buffer.begin());
    std::array<halfproxy::frame, 1> burst{};
    burst[0].data = buffer.data();
    burst[0].length = burst[0].wire_length = syn.size();
    burst[0].capacity = buffer.size();
    burst[0].link = halfproxy::link_type::raw_ip;
    engine.process(burst, halfproxy::time_point{}, out);

    auto const answer = halfproxy::parse<halfproxy::link_type::raw_ip>(halfproxy::byte_view(burst[0].bytes()));
    if (burst[0].outcome != halfproxy::verdict::reply || !answer.is_tcp()) return 1;
    if (answer.tcp().flags != (halfproxy::tcp_flag::syn | halfproxy::tcp_flag::ack)) return 1;
    std::printf("%u %s\n", unsigned{answer.tcp().source_port}, HALFPROXY_VERSION);
    return 0;
}
