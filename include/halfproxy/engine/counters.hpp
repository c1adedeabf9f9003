// SPDX-License-Identifier: BSL-1.0
// What the engine counts.
#pragma once

#include <halfproxy/core/verdict.hpp>

#include <array>
#include <cstdint>

namespace halfproxy {

/// received == forwarded + replied + held + the sum of dropped, after every burst.
struct engine_counters {
    std::uint64_t received = 0;
    std::uint64_t forwarded = 0;
    std::uint64_t replied = 0;
    std::uint64_t held = 0;
    std::uint64_t originated = 0;  ///< packets put into the outbox
    std::array<std::uint64_t, drop_reason_count> dropped{};
    std::array<std::uint64_t, drop_reason_count> malformed_passed{};  ///< would have been dropped, were it not for the policy

    std::uint64_t syns_seen = 0;          ///< SYNs that would open a flow
    std::uint64_t cookies_sent = 0;       ///< challenges, by either method
    std::uint64_t cookies_valid = 0;      ///< clients that proved themselves
    std::uint64_t cookies_invalid = 0;
    std::uint64_t challenges_spared = 0;  ///< monitor mode: SYNs that automatic mode would have challenged
    std::uint64_t drops_spared = 0;       ///< monitor mode: SYNs that automatic mode would have dropped early
    std::uint64_t syns_exempt = 0;        ///< passed unchallenged, for their source had proved itself
    std::uint64_t handshakes_completed = 0;  ///< spliced: the server has answered
    std::uint64_t handshakes_refused = 0;    ///< the server answered with a RST
    std::uint64_t handshakes_timed_out = 0;  ///< the server did not answer
    std::uint64_t syns_retransmitted = 0;    ///< to servers, by us
    std::uint64_t segments_held = 0;         ///< came before the server's answer, and were kept
    std::uint64_t segments_delivered = 0;    ///< of those: sent on when the server had answered
    std::uint64_t segments_not_held = 0;     ///< no room: dropped, behind a closed window
    std::uint64_t handshakes_without_timestamps = 0;  ///< the server lacks them though the client was promised them: put in by us
    std::uint64_t clients_announced = 0;     ///< the server has acknowledged the header of the PROXY protocol
    std::uint64_t announcements_repeated = 0;
    std::uint64_t announcements_failed = 0;  ///< it did not, and both ends were reset
    std::uint64_t resets_sent = 0;           ///< for wrong cookies, for SYN-ACKs nobody waits for, and to both ends of flows that are ended

    std::uint64_t fragments_held = 0;      ///< came before their first, and were kept
    std::uint64_t fragments_released = 0;  ///< of those: put into the outbox when the first had passed
    std::array<std::uint64_t, drop_reason_count> fragments_given_up{};  ///< of those: the others that wait no more, by reason

    std::uint64_t tunnelled = 0;       ///< packets put into tunnels, pieces among them
    std::uint64_t tunnel_pieces = 0;   ///< what large segments and long packets were cut into
    std::uint64_t too_big_sent = 0;    ///< to senders of packets that do not fit a tunnel
    std::uint64_t too_big_limited = 0; ///< not sent: too many

    std::uint64_t flows_opened = 0;
    std::uint64_t flows_closed = 0;   ///< for whatever reason; opened - closed is the number there are
    std::uint64_t flows_evicted = 0;  ///< of those closed: gave way to a newcomer
    std::uint64_t flows_ended_by_rules = 0;  ///< that came while they were open
    std::uint64_t flows_one_sided = 0;  ///< of those opened: TCP of which only one direction passes here

    [[nodiscard]] std::uint64_t dropped_total() const noexcept {
        std::uint64_t sum = 0;
        for (std::uint64_t n : dropped) sum += n;
        return sum;
    }
};

}  // namespace halfproxy
