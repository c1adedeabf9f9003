// SPDX-License-Identifier: BSL-1.0
// What every step of the tracker does to a side's numbers.
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/track/tcp_tracker.hpp>

#include <algorithm>

namespace halfproxy::detail {

/// ACKs this far below the newest are late, not hostile: netfilter's MAXACKWINDOW.
inline constexpr std::uint32_t ack_slack = 66'000;

/// The largest window there is (RFC 7323 section 2.3): what is assumed of a side that does not pass here.
inline constexpr std::uint32_t largest_window = 1u << 30;

inline constexpr track_result accepted{track_outcome::accept, drop_reason::none};
inline constexpr track_result passed{track_outcome::pass, drop_reason::none};

[[nodiscard]] constexpr track_result dropped(drop_reason reason) noexcept { return {track_outcome::drop, reason}; }

/// A verdict that is only a drop when its check is on.
[[nodiscard]] constexpr track_result refuse(bool check, drop_reason reason) noexcept { return check ? dropped(reason) : passed; }

[[nodiscard]] inline std::uint32_t at_least_one(std::uint32_t window) noexcept { return window == 0 ? 1u : window; }

[[nodiscard]] inline bool marked(tcp_connection const& c, direction side, std::uint8_t mark) noexcept {
    return (c.marks[index(side)] & mark) != 0;
}
[[nodiscard]] inline bool either_marked(tcp_connection const& c, std::uint8_t mark) noexcept { return ((c.marks[0] | c.marks[1]) & mark) != 0; }

inline void mark(tcp_connection& c, direction side, std::uint8_t what) noexcept { c.marks[index(side)] |= what; }
inline void unmark(tcp_connection& c, direction side, std::uint8_t what) noexcept {
    c.marks[index(side)] &= static_cast<std::uint8_t>(~what);
}

/// No SYN or SYN-ACK has answered the client's SYN, or a RST did: of the server nothing is known.
[[nodiscard]] inline bool never_answered(tcp_connection const& c) noexcept { return c.side[index(direction::from_server)].max_window == 0; }

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
inline void grant(tcp_side& receiver, seq_num edge, std::uint32_t window) noexcept {
    seq_num const granted = edge + at_least_one(window);  // a closed window lets a one-byte probe through
    if (granted.after(receiver.max_end)) receiver.max_end = granted;
}

inline void note_ack(tcp_connection& c, direction from, seq_num ack) noexcept {
    tcp_side& s = c.side[index(from)];
    if (!marked(c, from, tcp_mark::acknowledged) || ack.after(s.max_ack)) s.max_ack = ack;
    mark(c, from, tcp_mark::acknowledged);
}

[[nodiscard]] constexpr std::uint8_t sender_bit(direction from) noexcept {
    return from == direction::from_server ? last_segment::from_server : std::uint8_t{0};
}

/// Whether the last segment that counted came from this side, and was no SYN that was let through.
[[nodiscard]] inline bool last_was_segment_of(tcp_connection const& c, direction from) noexcept {
    return (c.last & (last_segment::from_server | last_segment::syn)) == sender_bit(from);
}

/// The same again: nothing of it is new, its acknowledgment included.
[[nodiscard]] inline bool repeats_last(tcp_connection const& c, direction from, tcp_segment const& s, seq_num end) noexcept {
    bool const news = s.ack.after(c.side[index(from)].max_ack);
    return last_was_segment_of(c, from) && c.last_end == end && c.last_window == s.window && !news;
}

inline void note_last(tcp_connection& c, direction from, tcp_segment const& s, seq_num end, bool repeated) noexcept {
    if (either_marked(c, tcp_mark::overshot)) return;  // its place is taken
    std::uint8_t const before = c.last & last_segment::repeats_mask;
    std::uint8_t const more = before == last_segment::repeats_mask ? before : static_cast<std::uint8_t>(before + 1);
    c.last = sender_bit(from) | (repeated ? more : std::uint8_t{0});
    c.last_end = end;
    c.last_window = s.window;
}

/// A TSecr is a timestamp its sender has taken for good: nothing older is new to it (RFC 7323 section 4.3).
HALFPROXY_ALWAYS_INLINE void note_echo(tcp_connection& c, direction from, tcp_segment const& s) noexcept {
    if (!s.has_timestamps) return;
    std::uint32_t& echoed = c.echoed[index(reverse(from))];
    bool const newer = static_cast<std::int32_t>(s.timestamp_echo - echoed) > 0;
    if (newer || !marked(c, reverse(from), tcp_mark::echoed)) echoed = s.timestamp_echo;
    mark(c, reverse(from), tcp_mark::echoed);
}

/// Older than what its receiver has echoed already: the receiver will not take it (RFC 7323 section 5.3).
[[nodiscard]] HALFPROXY_ALWAYS_INLINE bool is_outdated(tcp_connection const& c, direction from, tcp_segment const& s) noexcept {
    bool const older = static_cast<std::int32_t>(s.timestamp_value - c.echoed[index(from)]) < 0;
    return s.has_timestamps && older && marked(c, from, tcp_mark::echoed);
}

}  // namespace halfproxy::detail
