// SPDX-License-Identifier: BSL-1.0
// Follows one TCP connection from the middle of its path: its state, and the sequence numbers either side may use.
//
// Read RFC 9293 section 3.3.2, RFC 5961 sections 3 to 5, RFC 7323 sections 2 and 5 and van Rooij, "Real Stateful TCP Packet Filtering in IP
// Filter" (2001) first.
#pragma once

#include <halfproxy/core/verdict.hpp>
#include <halfproxy/track/tcp_checks.hpp>
#include <halfproxy/track/timeouts.hpp>
#include <halfproxy/wire/headers.hpp>
#include <halfproxy/wire/seq.hpp>
#include <halfproxy/wire/tcp_options.hpp>

#include <array>
#include <concepts>
#include <cstdint>

namespace halfproxy {

/// Who sends: the one that opened the connection, or its peer. Also the index of a flow's directions.
enum class direction : std::uint8_t { from_client = 0, from_server = 1 };

[[nodiscard]] constexpr direction reverse(direction d) noexcept {
    return d == direction::from_client ? direction::from_server : direction::from_client;
}
[[nodiscard]] constexpr std::size_t index(direction d) noexcept { return static_cast<std::size_t>(d); }

enum class tcp_state : std::uint8_t {
    syn_sent,      ///< the client's SYN was seen
    simultaneous,  ///< SYNs from both sides (RFC 9293 figure 7)
    syn_received,  ///< the SYN-ACK was seen
    established,
    half_closed,   ///< one side's FIN was seen
    last_ack,      ///< both FINs were seen, not both acknowledged
    time_wait,     ///< both FINs acknowledged
    closed,        ///< reset
};

/// What the tracker reads of a segment. Numbers as the side that the tracker speaks for uses them: behind a sequence shift, the caller shifts
/// first.
struct tcp_segment {
    seq_num seq{};
    seq_num ack{};
    std::uint32_t payload_bytes = 0;
    std::uint16_t window = 0;  ///< as on the wire, unscaled
    std::uint8_t flags = 0;
    bool sack_permitted = false;    ///< SYN only
    bool has_window_scale = false;  ///< SYN only
    std::uint8_t window_scale = 0;  ///< SYN only
    bool has_sack = false;
    bool has_timestamps = false;
    seq_num sack_right{};  ///< highest right edge of the SACK blocks
    std::uint32_t timestamp_value = 0;
    std::uint32_t timestamp_echo = 0;

    [[nodiscard]] bool has(std::uint8_t flag) const noexcept { return (flags & flag) != 0; }
    [[nodiscard]] seq_len length() const noexcept {
        return payload_bytes + (has(tcp_flag::syn) ? 1u : 0u) + (has(tcp_flag::fin) ? 1u : 0u);
    }
    [[nodiscard]] seq_num end() const noexcept { return seq + length(); }
};

/// Fills in a segment from a parsed header and its options. Without timestamps where no check uses them.
template <bool Timestamps = true>
[[nodiscard]] tcp_segment make_tcp_segment(tcp_header const& header, tcp_options const& options,
                                           std::uint32_t payload_bytes) noexcept;

/// One side's numbers, in its own sequence space.
struct tcp_side {
    seq_num end{};                 ///< one past the highest byte it sent (SYN and FIN count)
    seq_num max_end{};             ///< one past the highest byte its peer allows it to send
    std::uint32_t max_window = 0;  ///< largest window it announced, in bytes
    seq_num max_ack{};             ///< highest acknowledgment it sent (in its peer's space)
};

/// All there is to know of a connection: 52 bytes, plain data.
struct tcp_connection {
    std::array<tcp_side, 2> side{};
    std::array<std::uint32_t, 2> echoed{};  ///< the latest timestamp of each side that its peer has echoed, where tcp_mark::echoed says so
    // These four are read as one word.
    std::array<std::uint8_t, 2> marks{};  ///< of tcp_mark
    tcp_state state = tcp_state::syn_sent;
    std::uint8_t last = 0;  ///< of last_segment
    // The last segment that counted: to tell retransmissions, the end of a just-seen segment, and a SYN that was let through. While a side is
    // marked overshot, last_end is where what it sent beyond the window ends.
    seq_num last_end{};
    std::uint16_t last_window = 0;
    std::array<std::uint8_t, 2> scale{};  ///< window scale each side applies to the windows it announces
};
static_assert(sizeof(tcp_connection) <= 52);

namespace tcp_mark {
inline constexpr std::uint8_t seen = 0x01;            ///< the side has sent something that counts
inline constexpr std::uint8_t scale_offered = 0x02;
inline constexpr std::uint8_t sack_permitted = 0x04;
inline constexpr std::uint8_t fin = 0x08;             ///< it sent its FIN
inline constexpr std::uint8_t acknowledged = 0x10;    ///< max_ack is set
inline constexpr std::uint8_t overshot = 0x20;        ///< sent beyond the window; not acknowledged yet
inline constexpr std::uint8_t liberal = 0x40;         ///< numbers of this side are not known well: nothing is dropped
inline constexpr std::uint8_t echoed = 0x80;          ///< its peer echoes its timestamps
}  // namespace tcp_mark

/// Bits of tcp_connection::last.
namespace last_segment {
inline constexpr std::uint8_t repeats_mask = 0x0f;  ///< how often it came again in a row
inline constexpr std::uint8_t scale_mask = 0x0f;    ///< of a SYN that was let through: its window scale
inline constexpr std::uint8_t from_server = 0x10;
inline constexpr std::uint8_t syn = 0x20;
inline constexpr std::uint8_t syn_scaled = 0x40;
inline constexpr std::uint8_t syn_sack = 0x80;
}  // namespace last_segment

/// The tcp_mark bits that the handshake and the end of a stream settled: what another tracker is told of them.
inline constexpr std::uint8_t told_marks = tcp_mark::scale_offered | tcp_mark::sack_permitted | tcp_mark::fin;

/// What another tracker is told of a connection, so that it can go on with it. Numbers grow old on the way; what the handshake settled does not.
struct tcp_told {
    std::array<seq_num, 2> end{};         ///< tcp_side::end
    std::array<std::uint8_t, 2> marks{};  ///< of told_marks
    std::array<std::uint8_t, 2> scale{};
    tcp_state state = tcp_state::established;  ///< established to time_wait

    friend bool operator==(tcp_told const&, tcp_told const&) noexcept = default;
};

enum class track_outcome : std::uint8_t {
    accept,  ///< counts: the flow is alive
    pass,    ///< harmless but proves nothing: forward it, do not refresh the flow
    drop,
    reopen,  ///< a SYN on a connection that is over: forget it and treat the SYN as the first packet
};

struct track_result {
    track_outcome outcome = track_outcome::accept;
    drop_reason reason = drop_reason::none;

    friend bool operator==(track_result const&, track_result const&) noexcept = default;
};

/// The tracker has no state of its own: it advances a tcp_connection. One update serves both directions by swapping sides.
/// Bounds (van Rooij's, as netfilter changed them), for a segment of sender S to receiver R:
///     I    seq  <= S.max_end          III  sack or ack <= R.end
///     II   end  >= S.end - R.max_window   IV   sack or ack >= R.end - max(66000, S.max_window)
/// Which of them drop is for Checks to say: see tcp_checks.hpp. Sets that are chosen at run time are the last argument.
template <tcp_checks Checks>
class tcp_tracker {
  public:
    /// The first segment of a connection: a SYN of the client.
    static void open(tcp_connection& c, tcp_segment const& syn) noexcept;

    /// The same where only the server's segments pass here: its SYN-ACK comes first.
    static void open_by_answer(tcp_connection& c, tcp_segment const& syn_ack) noexcept;

    /// A segment of a connection whose beginning was not seen: nothing of it is dropped for its numbers, until each side has been
    /// seen and acknowledged.
    static void pick_up(tcp_connection& c, tcp_segment const& segment) noexcept;

    /// A connection that another tracker has followed: nothing of it is dropped for its numbers, until each side has been seen and acknowledged.
    /// The first segment says where they are now; until then a RST that stands exactly where they were told counts.
    static void adopt(tcp_connection& c, tcp_told const& told) noexcept;
    [[nodiscard]] static tcp_told tell(tcp_connection const& c) noexcept;

    [[nodiscard]] static track_result update(tcp_connection& c, direction from, tcp_segment const& segment) noexcept
        requires std::default_initializable<Checks>
    {
        return update(c, from, segment, Checks{});
    }
    [[nodiscard]] static track_result update(tcp_connection& c, direction from, tcp_segment const& segment, Checks const& checks) noexcept;

    /// Header prediction, for an ACK without SYN, FIN, RST or SACK whose timestamps need no look, with or without data: whether it lies within all
    /// bounds of an established connection that is known well. Then it is noted as by update(), which tries this first; otherwise nothing is changed.
    [[nodiscard]] static bool predict(tcp_connection& c, direction from, seq_num seq, seq_num ack, std::uint32_t payload_bytes,
                                      std::uint16_t window) noexcept;
};

/// To be called when a connection has been silent for 24 days: its timestamps may have gone half way round (RFC 7323 section 5.5).
void forget_timestamps(tcp_connection& c) noexcept;
inline constexpr timeout_ms timestamps_outlived = 24u * 86'400'000u;

/// Only one direction has passed here so far.
[[nodiscard]] constexpr bool is_one_sided(tcp_connection const& c) noexcept { return (c.marks[0] & c.marks[1] & tcp_mark::seen) == 0; }

/// Told of by another tracker, and no segment has come since.
[[nodiscard]] constexpr bool is_unseen(tcp_connection const& c) noexcept { return ((c.marks[0] | c.marks[1]) & tcp_mark::seen) == 0; }

/// Whether a SYN-ACK answers a SYN that was let through on this connection, which its sender has then forgotten.
[[nodiscard]] bool answers_new_syn(tcp_connection const& c, direction from, seq_num ack) noexcept;

/// How long the connection may now be silent.
[[nodiscard]] timeout_ms timeout_of(tcp_connection const& c, flow_timeouts const& timeouts) noexcept;

/// A handshake that is not complete.
[[nodiscard]] constexpr bool is_half_open(tcp_state s) noexcept { return s <= tcp_state::syn_received; }

/// Over, or about to be: may give way to a new connection of the same tuple, and to others when the table is full.
[[nodiscard]] constexpr bool is_closing(tcp_state s) noexcept { return s >= tcp_state::last_ack; }

/// Combinations of SYN, FIN, RST, ACK that occur: SYN, SYN+ACK, RST, RST+ACK, FIN+ACK, ACK (RFC 9293 section 3.10). PSH, URG, ECE and
/// CWR may stand beside them.
[[nodiscard]] constexpr bool valid_tcp_flags(std::uint8_t flags) noexcept {
    switch (flags & (tcp_flag::syn | tcp_flag::fin | tcp_flag::rst | tcp_flag::ack)) {
        case tcp_flag::syn:
        case tcp_flag::syn | tcp_flag::ack:
        case tcp_flag::rst:
        case tcp_flag::rst | tcp_flag::ack:
        case tcp_flag::fin | tcp_flag::ack:
        case tcp_flag::ack: return true;
        default: return false;
    }
}

}  // namespace halfproxy

#include <halfproxy/track/impl/tcp_handshake.hpp>
#include <halfproxy/track/impl/tcp_reset.hpp>
#include <halfproxy/track/impl/tcp_tracker.hpp>
