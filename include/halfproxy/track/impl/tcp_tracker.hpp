// SPDX-License-Identifier: BSL-1.0
// The path of a segment: the common case in a few comparisons, and every other one.
#pragma once

#include <halfproxy/track/impl/tcp_handshake.hpp>
#include <halfproxy/track/impl/tcp_reset.hpp>

namespace halfproxy {

template <bool Timestamps>
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
    if constexpr (Timestamps) {
        s.has_timestamps = options.has_timestamps;
        s.timestamp_value = options.timestamp_value;
        s.timestamp_echo = options.timestamp_echo;
    }
    return s;
}

namespace detail {

/// Established, both sides seen and acknowledged, and nothing about either out of the ordinary: one load, one comparison.
[[nodiscard]] HALFPROXY_ALWAYS_INLINE bool is_plain(tcp_connection const& c) noexcept {
    constexpr std::uint32_t both = 0x0101;
    constexpr std::uint32_t needed = (tcp_mark::seen | tcp_mark::acknowledged) * both;
    constexpr std::uint32_t unwanted = (tcp_mark::overshot | tcp_mark::liberal) * both;
    constexpr std::uint32_t established = static_cast<std::uint32_t>(tcp_state::established) << 16;
    std::uint32_t const word = std::uint32_t{c.marks[0]} | std::uint32_t{c.marks[1]} << 8 |
                               static_cast<std::uint32_t>(c.state) << 16 | std::uint32_t{c.last} << 24;
    return (word & (needed | unwanted | 0xff'0000u)) == (needed | established);
}

/// Of neither side anything was seen: all there is to know of their numbers is in this segment.
inline void meet_first(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    tcp_side& sender = c.side[index(from)];
    tcp_side& receiver = c.side[index(reverse(from))];
    sender.end = sender.max_end = s.end();
    receiver.end = receiver.max_end = s.ack;
    receiver.max_window = largest_window;
}

/// The first segment of a side whose SYN was not seen: until its peer has acknowledged something of it, its numbers are not relied upon.
HALFPROXY_RARE void meet_side(tcp_connection& c, direction from, tcp_segment const& s, std::uint32_t window) noexcept {
    tcp_side& sender = c.side[index(from)];
    tcp_side& receiver = c.side[index(reverse(from))];
    if (is_unseen(c)) meet_first(c, from, s);
    sender.end = later(sender.end, s.end());
    sender.max_end = later(sender.max_end, sender.end + at_least_one(window));
    sender.max_window = at_least_one(window);
    mark(c, from, tcp_mark::seen);
    receiver.end = later(receiver.end, s.ack);
    for (std::uint8_t& marks : c.marks) marks |= tcp_mark::liberal;
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
};

/// How far this side's data may be acknowledged: as far as it was sent, beyond the window too.
[[nodiscard]] inline seq_num highest_acknowledgeable(tcp_connection const& c, direction sender) noexcept {
    seq_num const end = c.side[index(sender)].end;
    return marked(c, sender, tcp_mark::overshot) ? later(end, c.last_end) : end;
}

[[nodiscard]] inline window_position locate(tcp_connection const& c, direction from, tcp_segment const& s, segment_reach const& to) noexcept {
    tcp_side const& sender = c.side[index(from)];
    tcp_side const& receiver = c.side[index(reverse(from))];
    std::uint32_t const slack = std::max(ack_slack, sender.max_window);
    return {s.seq.at_or_before(sender.max_end), to.end.at_or_after(sender.end - receiver.max_window),
            to.sack.at_or_before(highest_acknowledgeable(c, reverse(from))), to.sack.at_or_after(receiver.end - slack)};
}

/// Data that begins beyond the window by at most one more: senders do it when a window shrinks on the way. Anybody may forge it, who knows the
/// numbers roughly: so it moves none of them; what its receiver acknowledges of it does.
[[nodiscard]] inline bool overshoots_a_little(tcp_connection const& c, direction from, tcp_segment const& s, window_position const& at) noexcept {
    auto const beyond = static_cast<std::uint32_t>(s.end() - c.side[index(from)].max_end);
    return !at.below_upper && at.above_lower && at.ack_above_lower && beyond + 1 <= c.side[index(reverse(from))].max_window;
}

/// Remembers how far it reached in place of the last segment: of one side at a time.
inline void note_overshoot(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    c.last_end = marked(c, from, tcp_mark::overshot) ? later(c.last_end, s.end()) : s.end();
    c.last = sender_bit(from);
    mark(c, from, tcp_mark::overshot);
    unmark(c, reverse(from), tcp_mark::overshot);
}

/// It is acknowledged, or within the window by now.
inline void forget_overshoot(tcp_connection& c) noexcept {
    for (direction const d : {direction::from_client, direction::from_server})
        if (c.side[index(d)].end.at_or_after(c.last_end)) unmark(c, d, tcp_mark::overshot);
}

/// What forbids a segment at this place. Only late ones, which lie below the bounds, and a little overshoot may be allowed.
template <class Checks>
[[nodiscard]] drop_reason refusal_at(window_position const& at, bool overshoots, Checks const& checks) noexcept {
    if (!at.ack_below_upper && checks.has(tcp_check::ack_above)) return drop_reason::ack_above_sent;
    if (!at.below_upper && checks.has(overshoots ? tcp_check::overshoot : tcp_check::seq_above)) return drop_reason::seq_above_window;
    if (!at.above_lower && checks.has(tcp_check::seq_below)) return drop_reason::seq_below_window;
    if (!at.ack_above_lower && checks.has(tcp_check::ack_below)) return drop_reason::ack_too_old;
    return drop_reason::none;
}

/// A side whose numbers are not known well shows them by what it sends and by what is acknowledged of it, and they are known once its peer
/// acknowledges something new, or all, without surprise.
inline void learn_numbers(tcp_connection& c, direction from, tcp_segment const& s, segment_reach const& to) noexcept {
    tcp_side& sender = c.side[index(from)];
    tcp_side& receiver = c.side[index(reverse(from))];
    sender.max_end = later(sender.max_end, to.end);
    bool const news = marked(c, from, tcp_mark::acknowledged) && s.ack.after(sender.max_ack);
    if (to.sack.after(receiver.end))
        receiver.end = to.sack;
    else if (!is_one_sided(c) && (news || s.ack == receiver.end))
        unmark(c, reverse(from), tcp_mark::liberal);
}

[[nodiscard]] inline bool within_largest_window(seq_num a, seq_num b) noexcept {
    return a.at_or_before(b + largest_window) && b.at_or_before(a + largest_window);
}

/// The other direction takes another path: nothing is known of its windows but that there is none larger than the largest.
template <class Checks>
[[nodiscard]] drop_reason refusal_one_sided(tcp_connection const& c, direction from, segment_reach const& to, Checks const& checks) noexcept {
    bool const near = within_largest_window(to.end, c.side[index(from)].end);
    bool const ack_near = within_largest_window(to.sack, c.side[index(reverse(from))].end);
    if (!near && checks.has(tcp_check::seq_above)) return drop_reason::seq_above_window;
    return !ack_near && checks.has(tcp_check::ack_above) ? drop_reason::ack_above_sent : drop_reason::none;
}

template <class Checks>
[[nodiscard]] track_result follow_one_side(tcp_connection& c, direction from, segment_reach const& to, Checks const& checks) noexcept {
    if (drop_reason const refusal = refusal_one_sided(c, from, to, checks); refusal != drop_reason::none) return dropped(refusal);
    tcp_side& sender = c.side[index(from)];
    tcp_side& receiver = c.side[index(reverse(from))];
    receiver.end = later(receiver.end, to.sack);
    sender.max_end = later(sender.max_end, to.end);
    return accepted;
}

/// Data at the window's edge itself touches it, but none of it lies within.
template <class Checks>
[[nodiscard]] window_position locate_strictly(tcp_connection const& c, direction from, tcp_segment const& s, segment_reach const& to,
                                              Checks const& checks) noexcept {
    window_position at = locate(c, from, s, to);
    if (s.payload_bytes != 0 && s.seq == c.side[index(from)].max_end && checks.has(tcp_check::overshoot)) at.below_upper = false;
    return at;
}

/// A segment beyond one of the bounds.
template <class Checks>
[[nodiscard]] track_result judge(tcp_connection& c, direction from, tcp_segment const& s, segment_reach const& to, window_position const& at,
                                 Checks const& checks) noexcept {
    if (is_one_sided(c)) return follow_one_side(c, from, to, checks);
    bool const overshoots = overshoots_a_little(c, from, s, at);
    if (drop_reason const refusal = refusal_at(at, overshoots, checks); refusal != drop_reason::none) return dropped(refusal);
    if (!at.ack_below_upper) c.side[index(reverse(from))].end = to.sack;
    if (overshoots && s.length() != 0) note_overshoot(c, from, s);
    return overshoots || !at.above_lower || !at.ack_above_lower ? passed : accepted;
}

template <class Checks>
[[nodiscard]] track_result check_window(tcp_connection& c, direction from, tcp_segment const& s, segment_reach const& to,
                                        Checks const& checks) noexcept {
    if (either_marked(c, tcp_mark::liberal)) {
        // The client's acknowledgments go on although nothing was seen of what they acknowledge: an asymmetric path.
        bool const goes_on = marked(c, from, tcp_mark::acknowledged) && s.ack.after(c.side[index(from)].max_ack);
        if (is_one_sided(c) && goes_on && !checks.has(tcp_check::answer_seen))
            for (std::uint8_t& marks : c.marks) marks &= static_cast<std::uint8_t>(~tcp_mark::liberal);
        learn_numbers(c, from, s, to);
        return accepted;
    }
    window_position const at = locate_strictly(c, from, s, to, checks);
    if (at.below_upper && at.above_lower && at.ack_below_upper && at.ack_above_lower) return accepted;
    return judge(c, from, s, to, at, checks);
}

/// What counts for nothing passes where it would count: no further off than that.
template <class Checks>
[[nodiscard]] HALFPROXY_RARE track_result pass_within_bounds(tcp_connection const& c, direction from, tcp_segment const& s, segment_reach const& to,
                                                             Checks const& checks) noexcept {
    window_position const at = locate_strictly(c, from, s, to, checks);
    drop_reason const refusal = refusal_at(at, overshoots_a_little(c, from, s, at), checks);
    return refusal == drop_reason::none ? passed : dropped(refusal);
}

/// After a RST, which proves nothing more to either side. Who sent it has forgotten the connection and sends no more than RSTs for what it still gets
/// (RFC 9293 section 3.10.7.1), though what it sent before may come late; its peer may not have heard it, goes on within its window, and so draws it
/// again.
template <class Checks>
[[nodiscard]] HALFPROXY_RARE track_result track_closed(tcp_connection const& c, direction from, tcp_segment const& s, segment_reach const& to,
                                                       Checks const& checks) noexcept {
    if (never_answered(c)) return refuse((from == direction::from_client || s.has(tcp_flag::fin)) && checks.has(tcp_check::state), drop_reason::tcp_state);
    if (either_marked(c, tcp_mark::liberal)) return passed;
    bool const has_reset = (c.last & last_segment::from_server) == sender_bit(from);
    if (has_reset && to.end.after(c.side[index(from)].end) && checks.has(tcp_check::state)) return dropped(drop_reason::tcp_state);
    if (!is_one_sided(c)) return pass_within_bounds(c, from, s, to, checks);
    drop_reason const refusal = refusal_one_sided(c, from, to, checks);
    return refusal == drop_reason::none ? passed : dropped(refusal);
}

/// Moves both sides' numbers on by an acceptable segment.
inline void advance(tcp_connection& c, direction from, tcp_segment const& s, segment_reach const& to) noexcept {
    tcp_side& sender = c.side[index(from)];
    tcp_side& receiver = c.side[index(reverse(from))];
    seq_num const limit = later(receiver.max_end, s.ack);  // beyond it a SACK block is no measure of a window: it would grow with each
    std::uint32_t const window = to.window + static_cast<std::uint32_t>((to.sack.after(limit) ? limit : to.sack) - s.ack);
    sender.max_window = std::max(sender.max_window, at_least_one(window));
    sender.end = later(sender.end, to.end);
    // Not by how far it lies beyond: then copies of one segment would widen the window without end.
    if (to.end.after(sender.max_end)) receiver.max_window = std::max(receiver.max_window, static_cast<std::uint32_t>(to.end - receiver.max_ack));
    receiver.end = later(receiver.end, to.sack);  // of what lay beyond the window
    grant(receiver, s.ack, to.window);
    note_ack(c, from, s.ack);
    if (either_marked(c, tcp_mark::overshot)) forget_overshoot(c);
}

[[nodiscard]] inline bool fin_acknowledged(tcp_connection const& c, direction side) noexcept {
    return marked(c, side, tcp_mark::fin) && c.side[index(reverse(side))].max_ack.at_or_after(c.side[index(side)].end);
}

/// FINs and their acknowledgments. An ACK ends LAST_ACK only when it covers the FIN: a challenge ACK does not.
inline void advance_state(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    if (s.has(tcp_flag::fin) && s.end() == c.side[index(from)].end) mark(c, from, tcp_mark::fin);  // below, it is an old one
    bool const both_acknowledged = (c.marks[0] & c.marks[1] & tcp_mark::acknowledged) != 0;
    if (c.state == tcp_state::syn_received && (both_acknowledged || is_one_sided(c))) c.state = tcp_state::established;
    if (!either_marked(c, tcp_mark::fin) || c.state == tcp_state::time_wait) return;  // it is over: nothing new can come
    if (fin_acknowledged(c, direction::from_client) && fin_acknowledged(c, direction::from_server))
        c.state = tcp_state::time_wait;
    else
        c.state = (c.marks[0] & c.marks[1] & tcp_mark::fin) != 0 ? tcp_state::last_ack : tcp_state::half_closed;
}

/// The opener acknowledges less than the SYN-ACK: no end of this handshake does, and the server resets it (RFC 9293 section 3.10.7.4).
[[nodiscard]] inline bool acknowledges_no_syn(tcp_connection const& c, direction from, tcp_segment const& s) noexcept {
    bool const first = c.state == tcp_state::syn_received && !marked(c, from, tcp_mark::acknowledged);
    return first && !is_one_sided(c) && s.ack.before(c.side[index(from)].max_ack);
}

template <class Checks>
[[nodiscard]] track_result track_segment(tcp_connection& c, direction from, tcp_segment const& s, Checks const& checks) noexcept {
    track_result result = accepted;
    if (c.state < tcp_state::syn_received && !track_early_ack(c, from, s, checks, result)) return result;
    if constexpr (Checks::uses_timestamps)
        if (is_outdated(c, from, s) && checks.has(tcp_check::timestamps)) return dropped(drop_reason::timestamp_old);
    std::uint32_t const window = std::uint32_t{s.window} << c.scale[index(from)];
    bool const sacks = s.has_sack && marked(c, reverse(from), tcp_mark::sack_permitted) && s.sack_right.after(s.ack);
    segment_reach const to{s.end(), sacks ? s.sack_right : s.ack, window};
    if (c.state == tcp_state::closed) return track_closed(c, from, s, to, checks);
    if (acknowledges_no_syn(c, from, s)) return pass_within_bounds(c, from, s, to, checks);
    if (!marked(c, from, tcp_mark::seen)) meet_side(c, from, s, window);
    result = check_window(c, from, s, to, checks);
    if (result.outcome != track_outcome::accept) return result;
    bool const repeated = repeats_last(c, from, s, to.end);
    advance(c, from, s, to);
    advance_state(c, from, s);
    note_last(c, from, s, to.end, repeated);
    if constexpr (Checks::uses_timestamps) note_echo(c, from, s);
    return result;
}

/// By value: so its caller need not keep the segment in memory for the common case.
template <class Checks>
[[nodiscard, gnu::noinline]] track_result track_any(tcp_connection& c, direction from, tcp_segment s, Checks checks) noexcept {
    if (!valid_tcp_flags(s.flags)) return dropped(drop_reason::tcp_flags);
    if (s.has(tcp_flag::rst)) return track_reset(c, from, s, checks);
    if (!s.has(tcp_flag::syn)) return track_segment(c, from, s, checks);
    return s.has(tcp_flag::ack) ? track_syn_ack(c, from, s, checks) : track_syn(c, from, s, checks);
}

}  // namespace detail

template <tcp_checks Checks>
void tcp_tracker<Checks>::open(tcp_connection& c, tcp_segment const& syn) noexcept {
    c = {};
    detail::start_side(c, direction::from_client, syn);
    detail::note_last(c, direction::from_client, syn, syn.end(), false);
    c.state = tcp_state::syn_sent;
}

template <tcp_checks Checks>
void tcp_tracker<Checks>::open_by_answer(tcp_connection& c, tcp_segment const& syn_ack) noexcept {
    c = {};
    tcp_side& client = c.side[index(direction::from_client)];
    client.end = client.max_end = syn_ack.ack;
    client.max_window = detail::largest_window;
    c.marks[index(direction::from_client)] = tcp_mark::scale_offered | tcp_mark::sack_permitted;
    c.scale[index(direction::from_client)] = max_window_scale;
    detail::start_side(c, direction::from_server, syn_ack);
    static_cast<void>(detail::answer_syn(c, direction::from_server, syn_ack));
}

template <tcp_checks Checks>
void tcp_tracker<Checks>::adopt(tcp_connection& c, tcp_told const& told) noexcept {
    c = {};
    for (std::size_t d = 0; d < 2; ++d) {
        c.side[d] = {told.end[d], told.end[d], detail::largest_window, told.end[1 - d]};
        c.marks[d] = static_cast<std::uint8_t>((told.marks[d] & told_marks) | tcp_mark::liberal);
    }
    c.state = told.state;
    c.scale = told.scale;
    c.last_end = told.end[0];
    c.last_window = 0xffff;  // neither closed nor repeated
}

template <tcp_checks Checks>
tcp_told tcp_tracker<Checks>::tell(tcp_connection const& c) noexcept {
    auto const of = [&c](std::size_t d) { return static_cast<std::uint8_t>(c.marks[d] & told_marks); };
    return {{c.side[0].end, c.side[1].end}, {of(0), of(1)}, c.scale, c.state};
}

template <tcp_checks Checks>
void tcp_tracker<Checks>::pick_up(tcp_connection& c, tcp_segment const& segment) noexcept {
    c = {};
    // Scales are unknown: the largest keeps windows from being taken too small.
    c.scale = {max_window_scale, max_window_scale};
    c.marks = {tcp_mark::sack_permitted, tcp_mark::sack_permitted};
    detail::meet_side(c, direction::from_client, segment, std::uint32_t{segment.window} << max_window_scale);
    detail::note_ack(c, direction::from_client, segment.ack);
    detail::note_last(c, direction::from_client, segment, segment.end(), false);
    c.state = tcp_state::established;
    detail::advance_state(c, direction::from_client, segment);
}

/// Nothing here branches on who sends or on what is new: that is as good as random.
template <tcp_checks Checks>
[[gnu::noinline]] bool tcp_tracker<Checks>::predict(tcp_connection& c, direction from, seq_num seq, seq_num ack, std::uint32_t payload_bytes,
                                                    std::uint16_t window_field) noexcept {
    if (!detail::is_plain(c)) return false;
    tcp_side& sender = c.side[index(from)];
    tcp_side& receiver = c.side[index(reverse(from))];
    seq_num const end = seq + payload_bytes;
    // Bounds I (and no overshoot), II, III, IV: none of the distances may be negative.
    std::int32_t const begins_inside = sender.max_end - seq;
    std::int32_t const room = sender.max_end - end;
    std::int32_t const above_lower = end - (sender.end - receiver.max_window);
    std::int32_t const ack_below_sent = receiver.end - ack;
    std::int32_t const ack_above_lower = ack - (receiver.end - std::max(detail::ack_slack, sender.max_window));
    if ((begins_inside | room | above_lower | ack_below_sent | ack_above_lower) < 0) return false;

    bool const news = ack.after(sender.max_ack);
    std::uint32_t const window = detail::at_least_one(std::uint32_t{window_field} << c.scale[index(from)]);
    sender.max_window = std::max(sender.max_window, window);
    sender.end = later(end, sender.end);
    sender.max_ack = later(ack, sender.max_ack);
    receiver.max_end = later(ack + window, receiver.max_end);
    std::uint32_t const differs = (c.last_end.value ^ end.value) | std::uint32_t(c.last_window ^ window_field) |
                                  std::uint32_t((c.last & (last_segment::from_server | last_segment::syn)) ^ detail::sender_bit(from)) |
                                  std::uint32_t(news);
    std::uint8_t const before = c.last & last_segment::repeats_mask;
    std::uint8_t const more = before == last_segment::repeats_mask ? before : static_cast<std::uint8_t>(before + 1);
    c.last = static_cast<std::uint8_t>(detail::sender_bit(from) | (differs == 0 ? more : 0));
    c.last_end = end;
    c.last_window = window_field;
    return true;
}

template <tcp_checks Checks>
HALFPROXY_ALWAYS_INLINE track_result tcp_tracker<Checks>::update(tcp_connection& c, direction from, tcp_segment const& s,
                                                                 Checks const& checks) noexcept {
    constexpr std::uint8_t deciding = tcp_flag::syn | tcp_flag::fin | tcp_flag::rst | tcp_flag::ack;
    bool usual = (s.flags & deciding) == tcp_flag::ack && !s.has_sack;
    if constexpr (Checks::uses_timestamps) usual = usual && !detail::is_outdated(c, from, s);
    if (!usual || !predict(c, from, s.seq, s.ack, s.payload_bytes, s.window)) [[unlikely]]
        return detail::track_any(c, from, s, checks);
    if constexpr (Checks::uses_timestamps) detail::note_echo(c, from, s);
    return detail::accepted;
}

inline void forget_timestamps(tcp_connection& c) noexcept {
    for (std::uint8_t& marks : c.marks) marks &= static_cast<std::uint8_t>(~tcp_mark::echoed);
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
    bool const repeating = (c.last & last_segment::repeats_mask) >= 3;
    if (told && (repeating || c.last_window == 0)) base = std::min(base, t.retransmitting);
    if (detail::either_marked(c, tcp_mark::overshot)) base = std::min(base, t.unacknowledged);
    if (is_unseen(c)) return base;
    // Picked up, and the other side has not been seen; or it passes elsewhere, and so will its FIN.
    bool const short_lived = detail::either_marked(c, tcp_mark::liberal) || c.state == tcp_state::half_closed;
    return is_one_sided(c) && short_lived ? std::min(base, t.unacknowledged) : base;
}

}  // namespace halfproxy
