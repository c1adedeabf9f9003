// SPDX-License-Identifier: BSL-1.0
// The TCP tracker alone: a connection followed from the middle of its path, and forged segments that do not fit it.
#include <halfproxy/track/tcp_tracker.hpp>

#include <fmt/format.h>

using namespace halfproxy;
using namespace halfproxy::tcp_flag;

struct step {
    char const* what;
    direction from;
    tcp_segment segment;
};

static char const* name(tcp_state state) {
    constexpr char const* names[] = {"syn_sent",    "simultaneous", "syn_received", "established",
                                     "half_closed", "last_ack",     "time_wait",    "closed"};
    return names[static_cast<std::size_t>(state)];
}

static tcp_segment segment(std::uint32_t seq, std::uint32_t ack_number, std::uint8_t flags, std::uint32_t payload = 0) {
    return {.seq = {seq}, .ack = {ack_number}, .payload_bytes = payload, .window = 1000, .flags = flags};
}

int main() {
    constexpr auto client = direction::from_client;
    constexpr auto server = direction::from_server;
    using tracker = tcp_tracker<strict_checks>;  // or loose_checks, no_checks, or a set of your own: see tcp_checks.hpp

    tcp_connection connection;  // 52 bytes: all there is to know
    tracker::open(connection, segment(100, 0, syn));
    fmt::print("{:<34} {}\n", "client SYN", name(connection.state));

    step const steps[] = {
        {"server SYN-ACK", server, segment(500, 101, syn | ack)},
        {"client ACK", client, segment(101, 501, ack)},
        {"client 10 bytes", client, segment(101, 501, ack, 10)},
        {"server acknowledges them", server, segment(501, 111, ack)},
        {"forged: RST in the window", server, segment(551, 0, rst)},
        {"forged: RST outside of it", server, segment(77'000'000, 0, rst)},
        {"forged: data far above the window", client, segment(9'000'111, 501, ack, 10)},
        {"forged: ACK of what nobody sent", server, segment(501, 50'000, ack)},
        {"client FIN", client, segment(111, 501, fin | ack)},
        {"server FIN", server, segment(501, 112, fin | ack)},
        {"client ACK of it", client, segment(112, 502, ack)},
    };
    for (step const& s : steps) {
        track_result const result = tracker::update(connection, s.from, s.segment);
        fmt::print("{:<34} {:<12} {}\n", s.what, name(connection.state),
                   result.outcome == track_outcome::drop   ? to_string(result.reason)
                   : result.outcome == track_outcome::pass ? "passes, changes nothing"
                                                           : "passes");
    }
    fmt::print("may be silent for {} s more\n", timeout_of(connection, flow_timeouts::firewall()) / 1000);
}
