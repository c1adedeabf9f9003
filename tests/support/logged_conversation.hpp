// SPDX-License-Identifier: BSL-1.0
// A TCP connection told segment by segment to a conn_log.
#pragma once

#include <halfproxy/track/conn_log.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace halfproxy::test {

inline conn_log_timeouts const timeouts{};

inline time_point at_ms(std::int64_t ms) { return time_point(std::chrono::milliseconds(ms)); }

inline std::uint8_t flags_of(std::string_view letters) {
    constexpr std::string_view names = "FSRPA";
    std::uint8_t bits = 0;
    for (char const c : letters) bits = static_cast<std::uint8_t>(bits | 1u << names.find(c));
    return bits;
}

/// Direction 0 speaks first. Positions are relative to initial sequence numbers of 1000 and 5000.
struct logged_conversation {
    explicit logged_conversation(std::uint16_t port = 8111, bool reversed = false)
        : log(ip_protocol::tcp, at_ms(0), reversed, port, timeouts) {}

    conn_log_segment segment(unsigned direction, std::string_view flags, std::uint32_t seq, std::uint32_t ack,
                             std::uint32_t payload) const {
        seq_num const own = isn[direction] + seq;
        seq_num const other = isn[direction ^ 1u] + ack;
        return {.time = at_ms(now_ms),
                .sequence = own,
                .acknowledgment = other,
                .payload_bytes = payload,
                .window = 1000,
                .flags = flags_of(flags)};
    }
    logged_conversation& says(unsigned direction, std::string_view flags, std::uint32_t seq = 0, std::uint32_t ack = 0,
                       std::uint32_t payload = 0) {
        ++now_ms;
        log.observe(segment(direction, flags, seq, ack, payload), direction, 40 + payload);
        return *this;
    }
    logged_conversation& handshake() { return says(0, "S").says(1, "SA", 0, 1).says(0, "A", 1, 1); }
    logged_conversation& waits(std::int64_t ms) { return now_ms += ms, *this; }
    bool over() { return log.expire(at_ms(now_ms)); }
    std::string state() const { return std::string(to_string(log.state())); }
    std::string history() const { return std::string(log.history()); }

    conn_log log;
    std::array<seq_num, 2> isn{{{1000}, {5000}}};
    std::int64_t now_ms = 0;
};

}  // namespace halfproxy::test
