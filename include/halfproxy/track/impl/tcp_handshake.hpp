// SPDX-License-Identifier: BSL-1.0
// SYN and SYN-ACK: how a connection begins, and what they mean on one that exists.
#pragma once

#include <halfproxy/track/impl/tcp_numbers.hpp>

namespace halfproxy::detail {

/// A SYN was let through on a live connection: keep what a SYN-ACK to it would need.
inline void remember_syn(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    for (direction const d : {direction::from_client, direction::from_server}) unmark(c, d, tcp_mark::overshot);
    note_last(c, from, s, s.end(), false);
    c.last |= last_segment::syn | (s.window_scale & last_segment::scale_mask);
    if (s.has_window_scale) c.last |= last_segment::syn_scaled;
    if (s.sack_permitted) c.last |= last_segment::syn_sack;
}

/// A side's SYN again, perhaps without the data of the first (RFC 7413 section 4.1.3); or a new incarnation. Unanswered, its
/// numbers are the ones to go by; answered, the next SYN-ACK tells.
inline void repeat_or_restart(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    tcp_side& side = c.side[index(from)];
    if (c.state != tcp_state::syn_sent) {
        if (s.end() != side.end) remember_syn(c, from, s);
    } else if (s.seq + 1 == side.max_end) {
        side.end = later(side.end, s.end());
    } else {
        start_side(c, from, s);
    }
}

/// Both SYNs have been seen: each side expects the byte after the other's, as far as its SYN's window goes.
inline void meet_simultaneously(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    tcp_side& first = c.side[index(reverse(from))];
    tcp_side& second = c.side[index(from)];
    first.max_ack = s.seq + 1;
    second.max_ack = first.max_end;
    grant(first, second.max_ack, s.window);
    grant(second, first.max_ack, first.max_window);
    c.state = tcp_state::simultaneous;
}

template <class Checks>
[[nodiscard]] HALFPROXY_RARE track_result track_syn(tcp_connection& c, direction from, tcp_segment const& s, Checks const& checks) noexcept {
    switch (c.state) {
        case tcp_state::syn_sent:
        case tcp_state::simultaneous:
        case tcp_state::syn_received:
            if (!marked(c, from, tcp_mark::seen)) {  // the peer opens too (RFC 9293 section 3.5)
                start_side(c, from, s);
                meet_simultaneously(c, from, s);
                return accepted;
            }
            repeat_or_restart(c, from, s);
            return passed;
        case tcp_state::time_wait:
        case tcp_state::closed: return {track_outcome::reopen, drop_reason::none};
        case tcp_state::established:
        case tcp_state::half_closed:
        case tcp_state::last_ack:
            if (checks.has(tcp_check::syn_synchronized)) return dropped(drop_reason::tcp_state);
            remember_syn(c, from, s);  // the receiver answers with a challenge ACK (RFC 5961 section 4)
            return passed;
    }
    return passed;
}

/// The answer to a SYN that was let through on what we took for a live connection: the server had forgotten it, we follow.
/// Numbers on both sides that lie behind may also be late copies of the first handshake: then none are relied upon.
inline void restart_from_remembered_syn(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    direction const opener = reverse(from);
    tcp_segment syn;
    syn.flags = tcp_flag::syn;
    syn.seq = c.last_end - 1;
    syn.window = c.last_window;
    syn.has_window_scale = (c.last & last_segment::syn_scaled) != 0;
    syn.window_scale = c.last & last_segment::scale_mask;
    syn.sack_permitted = (c.last & last_segment::syn_sack) != 0;
    bool const may_be_copies =
        c.last_end.at_or_before(c.side[index(opener)].end) && s.end().at_or_before(c.side[index(from)].end);
    start_side(c, opener, syn);
    start_side(c, from, s);
    if (!may_be_copies) return;
    for (std::uint8_t& marks : c.marks) marks |= tcp_mark::liberal;
}

inline track_result answer_syn(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    settle_scaling(c);
    note_ack(c, from, s.ack);
    tcp_side& opener = c.side[index(reverse(from))];
    tcp_side& answerer = c.side[index(from)];
    answerer.max_window = std::max(answerer.max_window, at_least_one(s.window));  // in a simultaneous open its SYN said another,
    answerer.end = later(answerer.end, s.end());                                  // without data that this may carry
    if (!marked(c, reverse(from), tcp_mark::acknowledged)) opener.max_ack = s.seq + 1;  // what its first ACK must cover
    grant(opener, s.ack, s.window);
    grant(answerer, s.seq + 1, opener.max_window);
    note_echo(c, from, s);
    note_last(c, from, s, s.end(), false);
    c.state = tcp_state::syn_received;
    return accepted;
}

/// As the SYN-ACKs of a simultaneous open do (RFC 9293 figure 7): the number of the SYN before it, and an acknowledgment of the other side's,
/// with its data or without (RFC 7413 section 4.2).
[[nodiscard]] inline bool takes_crossing_syn(tcp_connection const& c, direction from, tcp_segment const& s) noexcept {
    tcp_side const& own = c.side[index(from)];
    tcp_side const& other = c.side[index(reverse(from))];
    return s.seq + 1 == other.max_ack && s.ack.at_or_after(own.max_ack) && s.ack.at_or_before(other.end);
}

/// The second SYN-ACK of a simultaneous open: no bare ACK need follow (RFC 9293 figure 7).
inline track_result answer_both_syns(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    track_result const result = answer_syn(c, from, s);
    c.state = tcp_state::established;
    return result;
}

template <class Checks>
[[nodiscard]] HALFPROXY_RARE track_result track_syn_ack(tcp_connection& c, direction from, tcp_segment const& s,
                                                        Checks const& checks) noexcept {
    tcp_side const& opener = c.side[index(reverse(from))];
    if (never_answered(c) && from == direction::from_client) return refuse(checks.has(tcp_check::state), drop_reason::tcp_state);
    switch (c.state) {
        case tcp_state::syn_sent:
            if ((s.ack.before(opener.max_end) || s.ack.after(opener.end)) && checks.has(tcp_check::syn_ack))
                return dropped(drop_reason::syn_ack_mismatch);
            start_side(c, from, s);
            return answer_syn(c, from, s);
        case tcp_state::simultaneous:
            if (!takes_crossing_syn(c, from, s)) return refuse(checks.has(tcp_check::syn_ack), drop_reason::syn_ack_mismatch);
            return answer_syn(c, from, s);
        default:
            if (answers_new_syn(c, from, s.ack)) {
                restart_from_remembered_syn(c, from, s);
                return answer_syn(c, from, s);
            }
            if (s.ack.after(opener.end)) return refuse(checks.has(tcp_check::ack_above), drop_reason::ack_above_sent);
            if (c.state == tcp_state::syn_received && !marked(c, from, tcp_mark::acknowledged) && takes_crossing_syn(c, from, s))
                return answer_both_syns(c, from, s);
            return passed;  // a retransmission; its receiver answers
    }
}

/// The client goes on although no answer of the server's passed here: it takes another path. Of the server is known what the client
/// acknowledges.
inline void go_on_one_sided(tcp_connection& c, seq_num acknowledged) noexcept {
    tcp_side& server = c.side[index(direction::from_server)];
    server.end = server.max_end = acknowledged;
    server.max_window = largest_window;
    c.scale[index(direction::from_server)] = max_window_scale;
    c.marks[index(direction::from_server)] = tcp_mark::scale_offered | tcp_mark::sack_permitted;
    c.state = tcp_state::established;
}

/// An ACK before the SYN-ACK, from the server: a challenge for an older connection, whose number the client's RST will bear.
template <class Checks>
[[nodiscard]] track_result track_challenge(tcp_connection& c, tcp_segment const& s, Checks const& checks) noexcept {
    if (s.has(tcp_flag::fin)) return refuse(checks.has(tcp_check::state), drop_reason::tcp_state);
    if (c.state == tcp_state::simultaneous) return passed;
    c.side[index(direction::from_server)].max_ack = s.ack;
    c.last = last_segment::from_server;
    return passed;
}

/// An ACK before the SYN-ACK. True when the connection goes on with it.
template <class Checks>
[[nodiscard]] HALFPROXY_RARE bool track_early_ack(tcp_connection& c, direction from, tcp_segment const& s, Checks const& checks,
                                                  track_result& result) noexcept {
    tcp_side const& client = c.side[index(direction::from_client)];
    if (from == direction::from_server) {
        result = track_challenge(c, s, checks);
        return false;
    }
    bool const goes_on = c.state == tcp_state::syn_sent && s.seq.at_or_after(client.max_end) && s.seq.at_or_before(client.end);
    if (goes_on && !checks.has(tcp_check::answer_seen)) {
        go_on_one_sided(c, s.ack);
        return true;
    }
    result = refuse(checks.has(tcp_check::state), goes_on ? drop_reason::answer_unseen : drop_reason::tcp_state);
    return false;
}

}  // namespace halfproxy::detail
