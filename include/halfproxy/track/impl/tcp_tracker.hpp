// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/track/tcp_tracker.hpp>

#include <algorithm>

namespace halfproxy {

HALFPROXY_ALWAYS_INLINE tcp_segment make_tcp_segment(tcp_header const& header, tcp_options const& options,
                                    std::uint32_t payload_bytes) noexcept {
    tcp_segment s;
    s.seq = {header.sequence};
    s.ack = {header.acknowledgment};
    s.payload_bytes = payload_bytes;
    s.window = header.window;
    s.flags = header.flags;
    s.sack_permitted = options.sack_permitted;
    s.has_window_scale = options.has_window_scale;
    s.window_scale = std::min(options.window_scale, max_window_scale);
    for (std::size_t i = 0; i < options.sack_count; ++i) {
        seq_num const right = options.sack_blocks[i].right;
        s.sack_right = s.has_sack ? later(s.sack_right, right) : right;
        s.has_sack = true;
    }
    return s;
}

namespace detail {

/// ACKs this far below the newest are late, not hostile: netfilter's MAXACKWINDOW.
inline constexpr std::uint32_t ack_slack = 66'000;

inline constexpr track_result accepted{track_outcome::accept, drop_reason::none};
inline constexpr track_result passed{track_outcome::pass, drop_reason::none};

[[nodiscard]] constexpr track_result dropped(drop_reason reason) noexcept { return {track_outcome::drop, reason}; }

/// A verdict that is only a drop when its check is on.
template <bool Check>
[[nodiscard]] constexpr track_result refuse(drop_reason reason) noexcept {
    if constexpr (Check) return dropped(reason);
    return passed;
}

[[nodiscard]] inline std::uint32_t at_least_one(std::uint32_t window) noexcept { return window == 0 ? 1u : window; }

/// A side's numbers from its SYN or SYN-ACK. Windows in SYNs are never scaled (RFC 7323 section 2.2).
inline void start_side(tcp_connection& c, direction from, tcp_segment const& syn) noexcept {
    tcp_side& s = c.side[index(from)];
    s.end = syn.end();
    s.max_end = syn.seq + 1;  // data on a SYN (RFC 7413) need not be taken
    s.max_window = at_least_one(syn.window);
    std::uint8_t& marks = c.marks[index(from)];
    marks = tcp_mark::seen;
    if (syn.has_window_scale) marks |= tcp_mark::scale_offered;
    if (syn.sack_permitted) marks |= tcp_mark::sack_permitted;
    c.scale[index(from)] = syn.has_window_scale ? syn.window_scale : std::uint8_t{0};
}

/// Window scaling is in force only when both sides offered it (RFC 7323 section 1.3).
inline void settle_scaling(tcp_connection& c) noexcept {
    if ((c.marks[0] & c.marks[1] & tcp_mark::scale_offered) == 0) c.scale = {0, 0};
}

/// What an acknowledgment with its window allows the other side to send.
HALFPROXY_ALWAYS_INLINE void grant(tcp_side& receiver, seq_num edge, std::uint32_t window) noexcept {
    // A closed window lets a one-byte probe through. Written in any case: which of the two is later, no branch could foretell.
    receiver.max_end = later(edge + at_least_one(window), receiver.max_end);
}

HALFPROXY_ALWAYS_INLINE void note_ack(tcp_connection& c, direction from, seq_num ack) noexcept {
    tcp_side& s = c.side[index(from)];
    std::uint8_t& marks = c.marks[index(from)];
    s.max_ack = (marks & tcp_mark::acknowledged) == 0 ? ack : later(ack, s.max_ack);
    marks |= tcp_mark::acknowledged;
}

[[nodiscard]] constexpr std::uint8_t sender_bit(direction from) noexcept {
    return from == direction::from_server ? last_segment::from_server : std::uint8_t{0};
}

/// The sender_bit() of who sent the last segment that counted, or neither's when it was a SYN that was let through.
[[nodiscard]] constexpr std::uint8_t last_sender(tcp_connection const& c) noexcept {
    return c.last & (last_segment::from_server | last_segment::syn);
}

HALFPROXY_ALWAYS_INLINE void note_last(tcp_connection& c, direction from, seq_num end, seq_num ack, std::uint16_t window) noexcept {
    // One comparison: who sends next is as good as random.
    std::uint32_t const differs = (c.last_end.value ^ end.value) | (c.last_ack.value ^ ack.value) | std::uint32_t(c.last_window ^ window) |
                                  (last_sender(c) ^ sender_bit(from));
    std::uint8_t const more = c.repeats == 0xff ? c.repeats : static_cast<std::uint8_t>(c.repeats + 1);
    c.repeats = differs == 0 ? more : std::uint8_t{0};
    c.last = sender_bit(from);
    c.last_end = end;
    c.last_ack = ack;
    c.last_window = window;
}

/// A SYN was let through on a live connection: keep what a SYN-ACK to it would need.
inline void remember_syn(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    note_last(c, from, s.end(), s.ack, s.window);
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

[[nodiscard]] HALFPROXY_RARE track_result track_syn(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    switch (c.state) {
        case tcp_state::syn_sent:
        case tcp_state::simultaneous:
        case tcp_state::syn_received:
            if ((c.marks[index(from)] & tcp_mark::seen) == 0) {  // the peer opens too (RFC 9293 section 3.5)
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
    if ((c.marks[index(reverse(from))] & tcp_mark::acknowledged) == 0) opener.max_ack = s.seq + 1;  // what its first ACK must cover
    grant(opener, s.ack, s.window);
    grant(c.side[index(from)], s.seq + 1, opener.max_window);
    note_last(c, from, s.end(), s.ack, s.window);
    c.state = tcp_state::syn_received;
    return accepted;
}

/// The second SYN-ACK of a simultaneous open: no bare ACK need follow (RFC 9293 figure 7).
inline track_result answer_both_syns(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    track_result const result = answer_syn(c, from, s);
    c.state = tcp_state::established;
    return result;
}

template <class Checks>
[[nodiscard]] HALFPROXY_RARE track_result track_syn_ack(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    tcp_side const& opener = c.side[index(reverse(from))];
    switch (c.state) {
        case tcp_state::syn_sent:
            if (from == direction::from_client) return refuse<Checks::state>(drop_reason::tcp_state);
            if ((s.ack.before(opener.max_end) || s.ack.after(opener.end)) && Checks::state)
                return dropped(drop_reason::syn_ack_mismatch);
            start_side(c, from, s);
            return answer_syn(c, from, s);
        case tcp_state::simultaneous:
            if (s.ack != opener.end) return refuse<Checks::state>(drop_reason::syn_ack_mismatch);
            return answer_syn(c, from, s);
        default:
            if (answers_new_syn(c, from, s.ack)) {
                restart_from_remembered_syn(c, from, s);
                return answer_syn(c, from, s);
            }
            if (s.ack.after(opener.end)) return refuse<Checks::sequence>(drop_reason::ack_above_sent);
            if (c.state == tcp_state::syn_received && s.ack == opener.end && (c.marks[index(from)] & tcp_mark::acknowledged) == 0)
                return answer_both_syns(c, from, s);
            return passed;  // a retransmission; its receiver answers
    }
}

/// Where a RST must stand to be certain: at what the receiver expects next, or at the end of a segment it has just been sent.
[[nodiscard]] inline bool is_exact_reset(tcp_connection const& c, direction from, tcp_segment const& s) noexcept {
    bool const just_sent = last_sender(c) == sender_bit(from) && s.seq == c.last_end;
    return just_sent || s.seq == c.side[index(reverse(from))].max_ack;
}

[[nodiscard]] inline bool is_reset_in_window(tcp_connection const& c, direction from, tcp_segment const& s) noexcept {
    return s.seq.at_or_after(c.side[index(reverse(from))].max_ack) && s.seq.at_or_before(c.side[index(from)].max_end);
}

/// In SYN-SENT a RST counts when it acknowledges the SYN (RFC 9293 section 3.10.7.3), from the client when it stands at its SYN.
template <class Checks>
[[nodiscard]] track_result track_early_reset(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
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
    bool const answers_challenge = from == direction::from_client && (c.last & last_segment::from_server) != 0 && s.seq == c.last_ack;
    if (answers_challenge) return passed;
    return refuse<Checks::reset>(drop_reason::rst_outside_window);
}

template <class Checks>
[[nodiscard]] HALFPROXY_RARE track_result track_reset(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    if (c.state == tcp_state::syn_sent) return track_early_reset<Checks>(c, from, s);
    if (c.state == tcp_state::closed) return passed;
    bool const liberal = ((c.marks[0] | c.marks[1]) & tcp_mark::liberal) != 0;
    if (!Checks::reset || liberal || is_exact_reset(c, from, s)) {
        c.state = tcp_state::closed;
        return accepted;
    }
    // The receiver answers an inexact one with a challenge ACK and lives on (RFC 5961 section 3.2), and so does our state.
    return is_reset_in_window(c, from, s) ? passed : dropped(drop_reason::rst_outside_window);
}

/// The first segment of a side whose SYN was not seen.
HALFPROXY_RARE void meet_side(tcp_connection& c, direction from, tcp_segment const& s, std::uint32_t window) noexcept {
    tcp_side& sender = c.side[index(from)];
    tcp_side& receiver = c.side[index(reverse(from))];
    sender.end = s.end();
    sender.max_end = s.end() + at_least_one(window);
    sender.max_window = at_least_one(window);
    c.marks[index(from)] |= tcp_mark::seen;
    if (s.has(tcp_flag::ack)) receiver.end = later(receiver.end, s.ack);
}

/// What a segment reaches: computed once.
struct segment_reach {
    seq_num end;           ///< of its data
    seq_num sack;          ///< the highest byte it acknowledges, in SACK blocks too
    std::uint32_t window;  ///< in bytes
};

struct window_position {
    bool below_upper;     // I
    bool above_lower;     // II
    bool ack_below_upper; // III
    bool ack_above_lower; // IV

    [[nodiscard]] bool right() const noexcept { return below_upper & above_lower & ack_below_upper & ack_above_lower; }
};

[[nodiscard]] HALFPROXY_ALWAYS_INLINE window_position locate(tcp_connection const& c, direction from, tcp_segment const& s,
                                                             segment_reach const& to) noexcept {
    tcp_side const& sender = c.side[index(from)];
    tcp_side const& receiver = c.side[index(reverse(from))];
    std::uint32_t const slack = std::max(ack_slack, sender.max_window);
    return {s.seq.at_or_before(sender.max_end), to.end.at_or_after(sender.end - receiver.max_window),
            to.sack.at_or_before(receiver.end), to.sack.at_or_after(receiver.end - slack)};
}

/// One window too far: senders do it when a window shrinks on the way. Let it through and expect its ACK.
[[nodiscard]] HALFPROXY_RARE bool overshoots_a_little(tcp_connection& c, direction from, tcp_segment const& s,
                                              window_position const& at) noexcept {
    tcp_side& sender = c.side[index(from)];
    std::uint32_t const window = c.side[index(reverse(from))].max_window;
    auto const beyond = static_cast<std::uint32_t>(s.end() - sender.max_end);
    if (!at.above_lower || !at.ack_above_lower || beyond + 1 > window) return false;
    sender.end = later(sender.end, s.end());
    c.marks[index(from)] |= tcp_mark::overshot;
    return true;
}

/// Moves both sides' numbers on by an acceptable segment.
HALFPROXY_ALWAYS_INLINE void advance(tcp_connection& c, direction from, tcp_segment const& s,
                                      segment_reach const& to) noexcept {
    tcp_side& sender = c.side[index(from)];
    tcp_side& receiver = c.side[index(reverse(from))];
    std::uint32_t const window = to.window + static_cast<std::uint32_t>(to.sack - s.ack);
    sender.max_window = std::max(sender.max_window, at_least_one(window));
    sender.end = later(sender.end, to.end);
    if (to.end.after(sender.max_end)) receiver.max_window += static_cast<std::uint32_t>(to.end - sender.max_end);
    grant(receiver, to.sack, to.window);
    note_ack(c, from, s.ack);
    std::uint8_t& marks = c.marks[index(reverse(from))];
    if ((marks & tcp_mark::overshot) != 0 && s.ack == receiver.end) [[unlikely]]
        marks &= static_cast<std::uint8_t>(~tcp_mark::overshot);
}

[[nodiscard]] inline bool fin_acknowledged(tcp_connection const& c, std::size_t side) noexcept {
    return (c.marks[side] & tcp_mark::fin) != 0 && c.side[1 - side].max_ack.at_or_after(c.side[side].end);
}

/// FINs and their acknowledgments. An ACK ends LAST_ACK only when it covers the FIN: a challenge ACK does not.
HALFPROXY_ALWAYS_INLINE void advance_state(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    if (s.has(tcp_flag::fin) && s.end() == c.side[index(from)].end) c.marks[index(from)] |= tcp_mark::fin;  // below, it is an old one
    if (c.state == tcp_state::established && !s.has(tcp_flag::fin)) [[likely]]
        return;
    bool const both_acknowledged = (c.marks[0] & c.marks[1] & tcp_mark::acknowledged) != 0;
    if (c.state == tcp_state::syn_received && both_acknowledged) c.state = tcp_state::established;
    if (((c.marks[0] | c.marks[1]) & tcp_mark::fin) == 0) return;
    if (fin_acknowledged(c, 0) && fin_acknowledged(c, 1))
        c.state = tcp_state::time_wait;
    else
        c.state = (c.marks[0] & c.marks[1] & tcp_mark::fin) != 0 ? tcp_state::last_ack : tcp_state::half_closed;
}

/// An ACK before the SYN-ACK: from the server a challenge for an older connection, from the client nothing yet; no FIN from either.
template <class Checks>
[[nodiscard]] HALFPROXY_RARE track_result track_early_ack(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    if (from == direction::from_client || s.has(tcp_flag::fin)) return refuse<Checks::state>(drop_reason::tcp_state);
    note_last(c, from, s.end(), s.ack, s.window);
    return passed;
}

/// The opener acknowledges less than the SYN-ACK: no end of this handshake does, and the server resets it (RFC 9293 section 3.10.7.4).
[[nodiscard]] inline bool acknowledges_no_syn(tcp_connection const& c, direction from, tcp_segment const& s) noexcept {
    bool const first = c.state == tcp_state::syn_received && (c.marks[index(from)] & tcp_mark::acknowledged) == 0;
    return first && s.ack.before(c.side[index(from)].max_ack);
}

template <class Checks>
[[nodiscard]] HALFPROXY_ALWAYS_INLINE track_result check_window(tcp_connection& c, direction from, tcp_segment const& s,
                                                               segment_reach const& to) noexcept {
    window_position const at = locate(c, from, s, to);
    if (at.right()) [[likely]]
        return accepted;
    bool const liberal = ((c.marks[0] | c.marks[1]) & tcp_mark::liberal) != 0;
    if (!Checks::sequence || liberal) return accepted;
    if (!at.ack_below_upper) return dropped(drop_reason::ack_above_sent);
    if (!at.below_upper)
        return overshoots_a_little(c, from, s, at) ? passed : dropped(drop_reason::seq_above_window);
    if (!at.above_lower) return refuse<Checks::old_segments>(drop_reason::seq_below_window);
    return refuse<Checks::old_segments>(drop_reason::ack_too_old);
}

template <class Checks>
[[nodiscard]] HALFPROXY_ALWAYS_INLINE track_result track_segment(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    if (c.state < tcp_state::syn_received) return track_early_ack<Checks>(c, from, s);
    if (c.state == tcp_state::closed) return passed;  // a RST lost behind us is only repeated when its receiver sends on
    if (acknowledges_no_syn(c, from, s)) [[unlikely]] return passed;
    std::uint32_t const window = std::uint32_t{s.window} << c.scale[index(from)];
    if ((c.marks[index(from)] & tcp_mark::seen) == 0) meet_side(c, from, s, window);
    bool const sacks = s.has_sack && (c.marks[index(from)] & tcp_mark::sack_permitted) != 0 && s.sack_right.after(s.ack);
    segment_reach const to{s.end(), sacks ? s.sack_right : s.ack, window};
    track_result const result = check_window<Checks>(c, from, s, to);
    if (result.outcome != track_outcome::accept) return result;
    advance(c, from, s, to);
    advance_state(c, from, s);
    note_last(c, from, to.end, s.ack, s.window);
    return result;
}

/// Established, both sides' numbers known from their own segments, nothing remembered that an ACK would settle.
[[nodiscard]] HALFPROXY_ALWAYS_INLINE bool is_well_known(tcp_connection const& c) noexcept {
    constexpr std::uint8_t known = tcp_mark::seen | tcp_mark::acknowledged;
    constexpr std::uint8_t open = tcp_mark::overshot | tcp_mark::fin;
    return c.state == tcp_state::established && (c.marks[0] & c.marks[1] & known) == known && ((c.marks[0] | c.marks[1]) & open) == 0;
}

}  // namespace detail

template <tcp_checks Checks>
[[gnu::noinline]] bool tcp_tracker<Checks>::predict(tcp_connection& c, direction from, seq_num seq, seq_num ack, std::uint32_t payload_bytes,
                                                    std::uint16_t window_field) noexcept {
    if (!detail::is_well_known(c)) return false;
    tcp_side& sender = c.side[index(from)];
    tcp_side& receiver = c.side[index(reverse(from))];
    std::uint32_t const window = detail::at_least_one(std::uint32_t{window_field} << c.scale[index(from)]);
    seq_num const end = seq + payload_bytes;
    // Bounds I (and no overshoot), II, III, IV: none of the distances may be negative.
    std::int32_t const room = sender.max_end - end;
    std::int32_t const above_lower = end - (sender.end - receiver.max_window);
    std::int32_t const ack_below_sent = receiver.end - ack;
    std::int32_t const ack_above_lower = ack - (receiver.end - std::max(detail::ack_slack, sender.max_window));
    std::int32_t const begins_inside = sender.max_end - seq;
    if ((room | above_lower | ack_below_sent | ack_above_lower | begins_inside) < 0) return false;
    sender.max_window = std::max(sender.max_window, window);
    sender.end = later(end, sender.end);
    sender.max_ack = later(ack, sender.max_ack);
    receiver.max_end = later(ack + window, receiver.max_end);
    detail::note_last(c, from, end, ack, window_field);
    return true;
}

template <tcp_checks Checks>
void tcp_tracker<Checks>::open(tcp_connection& c, tcp_segment const& syn) noexcept {
    c = {};
    detail::start_side(c, direction::from_client, syn);
    detail::note_last(c, direction::from_client, syn.end(), syn.ack, syn.window);
    c.state = tcp_state::syn_sent;
}

template <tcp_checks Checks>
void tcp_tracker<Checks>::pick_up(tcp_connection& c, tcp_segment const& segment) noexcept {
    c = {};
    // Scales are unknown: the largest keeps windows from being taken too small.
    c.scale = {max_window_scale, max_window_scale};
    c.marks = {tcp_mark::liberal | tcp_mark::sack_permitted, tcp_mark::liberal | tcp_mark::sack_permitted};
    tcp_side& server = c.side[index(direction::from_server)];
    server.end = server.max_end = segment.ack;
    detail::meet_side(c, direction::from_client, segment, std::uint32_t{segment.window} << max_window_scale);
    server.max_window = detail::at_least_one(0xffff);
    detail::note_last(c, direction::from_client, segment.end(), segment.ack, segment.window);
    c.state = tcp_state::established;
    detail::advance_state(c, direction::from_client, segment);
}

template <tcp_checks Checks>
HALFPROXY_ALWAYS_INLINE track_result tcp_tracker<Checks>::update(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    if (!valid_tcp_flags(s.flags)) return detail::dropped(drop_reason::tcp_flags);
    if (s.has(tcp_flag::rst)) return detail::track_reset<Checks>(c, from, s);
    if (!s.has(tcp_flag::syn)) [[likely]]
        return detail::track_segment<Checks>(c, from, s);
    return s.has(tcp_flag::ack) ? detail::track_syn_ack<Checks>(c, from, s) : detail::track_syn(c, from, s);
}

inline bool answers_new_syn(tcp_connection const& c, direction from, seq_num ack) noexcept {
    auto const syn_of_peer = static_cast<std::uint8_t>(last_segment::syn | detail::sender_bit(reverse(from)));
    return (c.last & (last_segment::syn | last_segment::from_server)) == syn_of_peer && ack == c.last_end;
}

inline timeout_ms timeout_of(tcp_connection const& c, flow_timeouts const& t) noexcept {
    timeout_ms base = t.closed;
    switch (c.state) {
        case tcp_state::syn_sent:
        case tcp_state::simultaneous: return t.syn_sent;
        case tcp_state::syn_received: return t.syn_received;
        case tcp_state::established: base = t.established; break;
        case tcp_state::half_closed: base = t.half_closed; break;
        case tcp_state::last_ack: return t.last_ack;
        case tcp_state::time_wait: return t.time_wait;
        case tcp_state::closed: return t.closed;
    }
    bool const told = (c.last & last_segment::syn) == 0;  // not by a SYN that was let through, which anybody may send
    if (told && (c.repeats >= 3 || c.last_window == 0)) base = std::min(base, t.retransmitting);
    if (((c.marks[0] | c.marks[1]) & tcp_mark::overshot) != 0) base = std::min(base, t.unacknowledged);
    bool const one_sided = (c.marks[0] & c.marks[1] & tcp_mark::seen) == 0;
    return one_sided ? std::min(base, t.unacknowledged) : base;
}

}  // namespace halfproxy
