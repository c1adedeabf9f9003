// SPDX-License-Identifier: BSL-1.0
// Time as an argument: a clock type that has no now(), so that the engine cannot ask for one.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

namespace halfproxy {

/// The clock of packets. Whoever calls the engine says what time it is: a steady clock on a live
/// wire, the capture's time stamps in a replay, a counter in a test. It never runs backwards for the
/// engine: an earlier time than the last one is taken as the last one. A leap of more than 2^30 ms (12.4 days) between two calls
/// counts as so much for flows and timers, and in full for cookies.
struct packet_clock {
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<packet_clock>;
    static constexpr bool is_steady = true;
};

using time_point = packet_clock::time_point;

/// Milliseconds since the engine's first packet, modulo 2^32 (49 days): what a flow record stores.
/// Two stamps are compared by their distance, which must stay under 2^31 ms (24.8 days).
struct stamp_ms {
    std::uint32_t value = 0;

    [[nodiscard]] friend constexpr std::int32_t operator-(stamp_ms a, stamp_ms b) noexcept {
        return static_cast<std::int32_t>(a.value - b.value);
    }
    [[nodiscard]] friend constexpr stamp_ms operator+(stamp_ms a, std::uint32_t ms) noexcept { return {a.value + ms}; }
    [[nodiscard]] friend constexpr bool operator==(stamp_ms, stamp_ms) noexcept = default;
};

/// A timeout in milliseconds. `never` is a value of its own; 0 means "at once", not "no timeout".
using timeout_ms = std::uint32_t;
inline constexpr timeout_ms never = std::numeric_limits<timeout_ms>::max();

}  // namespace halfproxy
