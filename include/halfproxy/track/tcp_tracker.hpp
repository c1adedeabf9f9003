// SPDX-License-Identifier: BSL-1.0
// Follows one TCP connection from the middle of its path: its state, and the sequence numbers either side may use.
//
// Read RFC 9293 section 3.3.2, RFC 5961 sections 3 to 5, RFC 7323 section 2 and van Rooij, "Real Stateful TCP Packet Filtering in IP
// Filter" (2001) first.
#pragma once

#include <halfproxy/core/verdict.hpp>
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
    seq_num sack_right{};  ///< highest right edge of the SACK blocks

    [[nodiscard]] bool has(std::uint8_t flag) const noexcept { return (flags & flag) != 0; }
    [[nodiscard]] seq_len length() const noexcept {
        return payload_bytes + (has(tcp_flag::syn) ? 1u : 0u) + (has(tcp_flag::fin) ? 1u : 0u);
    }
    [[nodiscard]] seq_num end() const noexcept { return seq + length(); }
};

/// Fills in a segment from a parsed header and its options.
[[nodiscard]] tcp_segment make_tcp_segment(tcp_header const& header, tcp_options const& options,
                                           std::uint32_t payload_bytes) noexcept;

/// One side's numbers, in its own sequence space.
struct tcp_side {
    seq_num end{};                 ///< one past the highest byte it sent (SYN and FIN count)
    seq_num max_end{};             ///< one past the highest byte its peer allows it to send
    std::uint32_t max_window = 0;  ///< largest window it announced, in bytes
    seq_num max_ack{};             ///< highest acknowledgment it sent (in its peer's space)

    friend bool operator==(tcp_side const&, tcp_side const&) noexcept = default;
};

/// All there is to know of a connection: 52 bytes, plain data.
struct tcp_connection {
    std::array<tcp_side, 2> side{};
    std::array<std::uint8_t, 2> scale{};  ///< window scale each side applies to the windows it announces
    std::array<std::uint8_t, 2> marks{};  ///< of tcp_mark
    // The last segment that counted: to tell retransmissions, the end of a just-seen segment, and a SYN that was let through.
    seq_num last_end{};
    seq_num last_ack{};
    std::uint16_t last_window = 0;
    std::uint8_t last = 0;     ///< of last_segment
    std::uint8_t repeats = 0;  ///< identical segments in a row
    tcp_state state = tcp_state::syn_sent;

    friend bool operator==(tcp_connection const&, tcp_connection const&) noexcept = default;
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
}  // namespace tcp_mark

/// Bits of tcp_connection::last. The low nibble is the window scale of a SYN that was let through.
namespace last_segment {
inline constexpr std::uint8_t scale_mask = 0x0f;
inline constexpr std::uint8_t from_server = 0x10;
inline constexpr std::uint8_t syn = 0x20;
inline constexpr std::uint8_t syn_scaled = 0x40;
inline constexpr std::uint8_t syn_sack = 0x80;
}  // namespace last_segment

/// Which checks may drop. Exemplar: loose_checks. Models: no_checks, loose_checks, strict_checks. The state machine runs in any case.
template <class Checks>
concept tcp_checks = requires {
    { Checks::sequence } -> std::convertible_to<bool>;      ///< data beyond the window; ACK of what was never sent
    { Checks::reset } -> std::convertible_to<bool>;         ///< RST outside the window (RFC 5961 section 3)
    { Checks::state } -> std::convertible_to<bool>;         ///< flags that do not fit the state
    { Checks::old_segments } -> std::convertible_to<bool>;  ///< data or ACKs far below the window
};

struct no_checks {
    static constexpr bool sequence = false, reset = false, state = false, old_segments = false;
};
struct loose_checks {
    static constexpr bool sequence = true, reset = true, state = true, old_segments = false;
};
struct strict_checks {
    static constexpr bool sequence = true, reset = true, state = true, old_segments = true;
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
/// Bounds (B1 in our list of references), for a segment of sender S to receiver R:
///     I    seq  <= S.max_end          III  sack or ack <= R.end
///     II   end  >= S.end - R.max_window   IV   sack or ack >= R.end - max(66000, S.max_window)
/// Beyond I by at most one window passes and is remembered, so that its ACK is no surprise; II and IV drop only when old_segments is set.
template <tcp_checks Checks>
class tcp_tracker {
  public:
    /// The first segment of a connection: a SYN of the client.
    static void open(tcp_connection& c, tcp_segment const& syn) noexcept;

    /// A segment of a connection whose beginning was not seen: nothing of it is dropped for its numbers.
    static void pick_up(tcp_connection& c, tcp_segment const& segment) noexcept;

    [[nodiscard]] static track_result update(tcp_connection& c, direction from, tcp_segment const& segment) noexcept;

    /// Header prediction, for an ACK without SYN, FIN, RST or SACK, with or without data: whether it lies within all bounds of an established connection
    /// that is known well. Then it is noted exactly as by update(), which would accept it; otherwise nothing is changed.
    [[nodiscard]] static bool predict(tcp_connection& c, direction from, seq_num seq, seq_num ack, std::uint32_t payload_bytes,
                                      std::uint16_t window) noexcept;
};

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

#include <halfproxy/track/impl/tcp_tracker.hpp>
