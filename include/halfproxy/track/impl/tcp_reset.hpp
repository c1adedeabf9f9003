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

/// Where a RST must stand to be certain: at what the receiver expects next, or at the end of a segment it has just been sent; which a keepalive,
/// below what it expects, is not the end of.
[[nodiscard]] inline bool is_exact_reset(tcp_connection const& c, direction from, tcp_segment const& s) noexcept {
    seq_num const expected = expected_of(c, from);
    bool const known = last_was_segment_of(c, from) && !marked(c, from, tcp_mark::overshot);
    bool const just_sent = known && s.seq == c.last_end && s.seq.at_or_after(expected);
    return just_sent || s.seq == expected;
}

[[nodiscard]] inline bool is_reset_in_window(tcp_connection const& c, direction from, tcp_segment const& s) noexcept {
    bool const receiver_seen = marked(c, reverse(from), tcp_mark::seen);
    seq_num const low = expected_of(c, from);
    seq_num high = receiver_seen ? c.side[index(from)].max_end : low + largest_window;
    if (marked(c, from, tcp_mark::overshot)) high = later(high, c.last_end);  // the receiver may have taken it
    return s.seq.at_or_after(low) && s.seq.at_or_before(high);
}

/// The state is lost at both ends, and who has ended it is remembered.
inline track_result close_by_reset(tcp_connection& c, direction from) noexcept {
    c.last = sender_bit(from);
    c.state = tcp_state::closed;
    return accepted;
}

/// In SYN-SENT, and when the SYN was refused, a RST counts when it acknowledges the SYN (RFC 9293 section 3.10.7.3), from the client when it stands at its SYN.
template <class Checks>
[[nodiscard]] track_result track_early_reset(tcp_connection& c, direction from, tcp_segment const& s, Checks const& checks) noexcept {
    tcp_side const& client = c.side[index(direction::from_client)];
    bool valid;
    if (from == direction::from_server)
        valid = s.has(tcp_flag::ack) && s.ack.at_or_after(client.max_end) && s.ack.at_or_before(client.end);
    else
        valid = s.seq.at_or_after(client.max_end - 1) && s.seq.at_or_before(client.end);
    if (valid) return c.state == tcp_state::closed ? passed : close_by_reset(c, from);
    // The client refuses an old connection's challenge ACK: the server must hear it (RFC 9293 section 3.5.1).
    bool const challenged = c.state == tcp_state::syn_sent && (c.last & last_segment::from_server) != 0;
    bool const answers = from == direction::from_client && challenged && s.seq == c.side[index(direction::from_server)].max_ack;
    return answers ? passed : refuse(checks.has(tcp_check::rst_window), drop_reason::rst_outside_window);
}

/// Once closed, a RST answers something late, and bears the number that this acknowledged (RFC 9293 section 3.10.7.1); or it says the same again.
[[nodiscard]] inline bool may_reset_again(tcp_connection const& c, direction from, tcp_segment const& s) noexcept {
    if (either_marked(c, tcp_mark::liberal) || is_one_sided(c)) return true;
    tcp_side const& sender = c.side[index(from)];
    std::uint32_t const slack = std::max(ack_slack, c.side[index(reverse(from))].max_window);
    return s.seq.at_or_after(sender.end - slack) && s.seq.at_or_before(sender.max_end);
}

template <class Checks>
[[nodiscard]] HALFPROXY_RARE track_result track_reset(tcp_connection& c, direction from, tcp_segment const& s, Checks const& checks) noexcept {
    if (never_answered(c)) return track_early_reset(c, from, s, checks);
    if (c.state == tcp_state::closed) return refuse(!may_reset_again(c, from, s) && checks.has(tcp_check::rst_window), drop_reason::rst_outside_window);
    if (is_exact_reset(c, from, s)) return close_by_reset(c, from);
    // The port is closed, and the connection that we know forgotten there; to its client, if it lives on, this says nothing (RFC 9293 section 3.5.2).
    if (s.has(tcp_flag::ack) && answers_new_syn(c, from, s.ack)) return passed;
    // Of a connection whose windows are not known, the number that a side has acknowledged is: a RST elsewhere is no more than let through.
    bool const outside = !either_marked(c, tcp_mark::liberal) && !is_reset_in_window(c, from, s);
    if (outside && checks.has(tcp_check::rst_window)) return dropped(drop_reason::rst_outside_window);
    // The receiver answers an inexact one with a challenge ACK and lives on (RFC 5961 section 3.2), and so does our state.
    return checks.has(tcp_check::rst_exact) ? passed : close_by_reset(c, from);
}

}  // namespace halfproxy::detail
