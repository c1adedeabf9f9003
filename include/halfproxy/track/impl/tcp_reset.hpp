// SPDX-License-Identifier: BSL-1.0
// What a RST does (RFC 5961 section 3).
#pragma once

#include <halfproxy/track/impl/tcp_numbers.hpp>

namespace halfproxy::detail {

/// What the receiver of this side's segments expects next, as far as it passed here.
[[nodiscard]] inline seq_num expected_of(tcp_connection const& c, direction from) noexcept {
    bool const receiver_seen = marked(c, reverse(from), tcp_mark::seen);
    return receiver_seen ? c.side[index(reverse(from))].max_ack : c.side[index(from)].end;
}

/// Where a RST must stand to be certain: at what the receiver expects next, or at the end of a segment it has just been sent.
[[nodiscard]] inline bool is_exact_reset(tcp_connection const& c, direction from, tcp_segment const& s) noexcept {
    bool const just_sent = last_was_segment_of(c, from) && s.seq == c.last_end;
    return just_sent || s.seq == expected_of(c, from);
}

[[nodiscard]] inline bool is_reset_in_window(tcp_connection const& c, direction from, tcp_segment const& s) noexcept {
    bool const receiver_seen = marked(c, reverse(from), tcp_mark::seen);
    seq_num const low = expected_of(c, from);
    seq_num const high = receiver_seen ? c.side[index(from)].max_end : low + largest_window;
    return s.seq.at_or_after(low) && s.seq.at_or_before(high);
}

/// In SYN-SENT a RST counts when it acknowledges the SYN (RFC 9293 section 3.10.7.3), from the client when it stands at its SYN.
template <class Checks>
[[nodiscard]] track_result track_early_reset(tcp_connection& c, direction from, tcp_segment const& s, Checks const& checks) noexcept {
    tcp_side const& client = c.side[index(direction::from_client)];
    bool valid;
    if (from == direction::from_server)
        valid = s.has(tcp_flag::ack) && s.ack.at_or_after(client.max_end) && s.ack.at_or_before(client.end);
    else
        valid = s.seq.at_or_after(client.max_end - 1) && s.seq.at_or_before(client.end);
    if (valid) {
        c.state = tcp_state::closed;
        return accepted;
    }
    // The client refuses an old connection's challenge ACK: the server must hear it (RFC 9293 section 3.5.1).
    bool const challenged = (c.last & last_segment::from_server) != 0;
    bool const answers = from == direction::from_client && challenged && s.seq == c.side[index(direction::from_server)].max_ack;
    return answers ? passed : refuse(checks.has(tcp_check::rst_window), drop_reason::rst_outside_window);
}

template <class Checks>
[[nodiscard]] HALFPROXY_RARE track_result track_reset(tcp_connection& c, direction from, tcp_segment const& s, Checks const& checks) noexcept {
    if (c.state == tcp_state::syn_sent) return track_early_reset(c, from, s, checks);
    if (c.state == tcp_state::closed) return passed;
    if (!either_marked(c, tcp_mark::liberal) && !is_exact_reset(c, from, s)) {
        bool const inside = is_reset_in_window(c, from, s);
        if (!inside && checks.has(tcp_check::rst_window)) return dropped(drop_reason::rst_outside_window);
        // The receiver answers an inexact one with a challenge ACK and lives on (RFC 5961 section 3.2), and so does our state.
        if (checks.has(tcp_check::rst_exact)) return passed;
    }
    c.state = tcp_state::closed;
    return accepted;
}

}  // namespace halfproxy::detail
