// SPDX-License-Identifier: BSL-1.0
// The half proxy is a function from packets to packets: a client proves itself before the server hears of it.
#include <halfproxy/engine/engine.hpp>

#include <fmt/format.h>

using namespace halfproxy;

static tcp_header show(side to, byte_view bytes) {
    tcp_header const tcp = parse<link_type::raw_ip>(bytes).tcp();
    fmt::print("  the {} gets{}{}, window {}\n", to == side::outside ? "client" : "server",
               tcp.flags & tcp_flag::syn ? " SYN" : "", tcp.flags & tcp_flag::ack ? " ACK" : "", tcp.window.value());
    return tcp;
}

/// Gives the engine one packet of the client or the server; shows and returns what comes out.
static tcp_header deliver(half_proxy& proxy, side from, tcp_fields const& fields) {
    packet_origin const client_to_server{.link_kind = link_type::raw_ip,
                                         .ip_version = 4,
                                         .source = {192, 0, 2, 1},
                                         .destination = {198, 51, 100, 80},
                                         .source_port = big16{40000},
                                         .destination_port = big16{80}};
    std::array<std::uint8_t, 256> buffer;
    frame f{.data = buffer.data(), .capacity = 256, .arrival = from, .link = link_type::raw_ip};
    f.length = f.wire_length = static_cast<std::uint32_t>(
        build_tcp(buffer, from == side::outside ? client_to_server : client_to_server.reversed(), fields, {}));
    outbox originated(outbox_per_packet);
    proxy.process({&f, 1}, time_point{}, originated);
    tcp_header last{};
    if (f.outcome == verdict::reply) last = show(from, f.bytes());
    if (f.outcome == verdict::forward) last = show(other(from), f.bytes());
    for (outbox_frame const& o : originated.frames()) last = show(o.exit, o.bytes());
    return last;
}

int main() {
    half_proxy proxy({.guard = {.mode = guard_mode::always}});
    fmt::print("the client sends SYN\n");
    tcp_header const cookie = deliver(proxy, side::outside, {{1000}, {}, tcp_flag::syn, 64240});
    fmt::print("the client acknowledges the cookie\n");
    tcp_header const syn = deliver(proxy, side::outside, {{1001}, {cookie.sequence + 1}, tcp_flag::ack, 64240});
    fmt::print("the server answers with SYN-ACK\n");
    deliver(proxy, side::inside, {{777}, {syn.sequence + 1}, tcp_flag::syn | tcp_flag::ack, 65160});
}
