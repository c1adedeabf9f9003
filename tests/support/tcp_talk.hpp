// SPDX-License-Identifier: BSL-1.0
// One connection told segment by segment to the tracker, for timelines: numbers count from the ISNs.
#pragma once

#include <halfproxy/track/tcp_tracker.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace halfproxy {
inline doctest::String toString(track_result const& r) {
    constexpr char const* names[] = {"accept", "pass", "drop", "reopen"};
    return (std::string(names[static_cast<std::size_t>(r.outcome)]) + " " + std::string(to_string(r.reason))).c_str();
}
inline doctest::String toString(tcp_state s) { return std::to_string(static_cast<int>(s)).c_str(); }
}  // namespace halfproxy

namespace halfproxy::test {

inline constexpr track_result accepted{track_outcome::accept, drop_reason::none};
inline constexpr track_result passed{track_outcome::pass, drop_reason::none};
inline constexpr track_result reopened{track_outcome::reopen, drop_reason::none};
constexpr track_result dropped(drop_reason r) { return {track_outcome::drop, r}; }

inline constexpr std::uint8_t SYN = tcp_flag::syn, ACK = tcp_flag::ack, FIN = tcp_flag::fin, RST = tcp_flag::rst;

/// Both ISNs of a timeline. Within it, numbers count from them: the SYN is 0, the first byte is 1.
struct isns {
    std::uint32_t client;
    std::uint32_t server;
};
inline constexpr std::array<isns, 7> every_isn{{{1000, 700'000},
                                         {0xffff'ffff, 0xffff'ffff},
                                         {0x7fff'ffff, 0xffff'fffe},
                                         {0xffff'fff0, 0x7fff'fff0},
                                         {0, 0},
                                         {0x8000'0000, 0xffff'8000},
                                         {0xffff'0000, 0x7fff'0000}}};

struct options {
    std::optional<unsigned> scale{};
    bool sack = false;
};

template <class Checks = loose_checks>
struct talk {
    isns n;
    Checks checks{};
    tcp_connection c{};

    [[nodiscard]] tcp_segment make(bool client, std::uint8_t flags, std::uint32_t seq, std::uint32_t ack, std::uint32_t bytes,
                                   std::uint16_t window, options const& o = {}) const {
        tcp_segment s;
        s.seq = {(client ? n.client : n.server) + seq};
        s.ack = {(flags & ACK) != 0 ? (client ? n.server : n.client) + ack : 0};
        s.flags = flags;
        s.payload_bytes = bytes;
        s.window = window;
        s.has_window_scale = o.scale.has_value();
        s.window_scale = static_cast<std::uint8_t>(o.scale.value_or(0));
        s.sack_permitted = o.sack;
        return s;
    }
    track_result sends(direction from, tcp_segment const& s) { return tcp_tracker<Checks>::update(c, from, s, checks); }
    void open(std::uint16_t window = 64240, options const& o = {}, std::uint32_t bytes = 0) {
        tcp_tracker<Checks>::open(c, make(true, SYN, 0, 0, bytes, window, o));
    }
    track_result client(std::uint8_t flags, std::uint32_t seq, std::uint32_t ack, std::uint32_t bytes = 0, std::uint16_t window = 65535,
                        options const& o = {}) {
        return sends(direction::from_client, make(true, flags, seq, ack, bytes, window, o));
    }
    track_result server(std::uint8_t flags, std::uint32_t seq, std::uint32_t ack, std::uint32_t bytes = 0, std::uint16_t window = 65535,
                        options const& o = {}) {
        return sends(direction::from_server, make(false, flags, seq, ack, bytes, window, o));
    }
    /// An ACK of the client's with SACK blocks that end at `right`.
    track_result client_sacks(std::uint32_t seq, std::uint32_t ack, std::uint32_t right, std::uint16_t window = 65535) {
        tcp_segment s = make(true, ACK, seq, ack, 0, window);
        s.has_sack = true;
        s.sack_right = {n.server + right};
        return sends(direction::from_client, s);
    }
    void establish(std::uint16_t client_window = 65535, std::uint16_t server_window = 65535, options const& co = {}, options const& so = {}) {
        open(client_window, co);
        REQUIRE(server(SYN | ACK, 0, 1, 0, server_window, so) == accepted);
        REQUIRE(client(ACK, 1, 1, 0, client_window) == accepted);
        REQUIRE(c.state == tcp_state::established);
    }
};

/// Runs a timeline at every pair of ISNs.
template <class Checks = loose_checks, class Run>
void everywhere(Run run) {
    for (isns const& n : every_isn) {
        CAPTURE(n.client);
        CAPTURE(n.server);
        talk<Checks> t{.n = n};
        run(t);
    }
}

}  // namespace halfproxy::test
