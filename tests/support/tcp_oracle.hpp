// SPDX-License-Identifier: BSL-1.0
// The TCP state machine as seen from the middle, as a table: slow, readable, and written from the RFCs, not from the tracker.
//
// RFC 9293 section 3.10.7 (what an end does), RFC 5961 sections 3 to 5 (RST, SYN and ACK on a live connection), RFC 9293 section 3.5 (simultaneous
// open). Where the ends' answers show, the middle lets a segment through without counting it: it proves nothing until its answer comes.
#pragma once

#include <halfproxy/track/tcp_tracker.hpp>

#include <array>
#include <cstdint>

namespace halfproxy::test {

/// Finer than the tracker's states: which FINs were sent, and which were acknowledged.
enum class oracle_state : std::uint8_t {
    SS,   ///< the client's SYN
    SO,   ///< both sides' SYNs, simultaneously
    SR,   ///< the server's SYN-ACK
    SRc,  ///< the client's SYN-ACK, after both sides' SYNs
    ES,   ///< established
    FC,   ///< the client's FIN, not acknowledged
    FS,   ///< the server's FIN, not acknowledged
    FF,   ///< both FINs, none acknowledged
    FFc,  ///< both FINs, the client's acknowledged
    FFs,  ///< both FINs, the server's acknowledged
    TW,   ///< both FINs acknowledged
    CL,   ///< reset by the server
    CR,   ///< refused by the server: reset before it answered
};
inline constexpr std::size_t oracle_state_count = 13;

[[nodiscard]] constexpr tcp_state coarse(oracle_state s) {
    constexpr tcp_state as[] = {tcp_state::syn_sent,    tcp_state::simultaneous, tcp_state::syn_received, tcp_state::syn_received,
                                tcp_state::established, tcp_state::half_closed,  tcp_state::half_closed,  tcp_state::last_ack,
                                tcp_state::last_ack,    tcp_state::last_ack,     tcp_state::time_wait,    tcp_state::closed,
                                tcp_state::closed};
    return as[static_cast<std::size_t>(s)];
}

/// What kinds of segments the flags alone, or flags with the place of their numbers, tell apart.
enum class oracle_segment : std::uint8_t {
    syn,            ///< its own ISN again while the handshake lasts, afterwards a new one
    syn_ack,        ///< acknowledges all that its receiver sent
    syn_ack_wrong,  ///< acknowledges one byte more
    fin,            ///< FIN+ACK at what its sender sends next, or its FIN again; acknowledging all
    fin_behind,     ///< the same, acknowledging all but the last byte (a SYN and a FIN are bytes)
    ack,            ///< ACK at what its sender sends next, acknowledging all
    ack_behind,     ///< the same, acknowledging all but the last byte
    rst,            ///< RST at the number that its receiver expects
    rst_ack,        ///< RST+ACK there, acknowledging all
    rst_inside,     ///< RST elsewhere in the receiver's window
    rst_below,      ///< RST below it, by less than a window
    rst_beyond,     ///< RST beyond it
};
inline constexpr std::size_t oracle_segment_count = 12;

struct oracle_step {
    track_result result;
    bool moves;  ///< to `next`; else it stays
    oracle_state next;
};

namespace oracle {

using enum oracle_state;

constexpr oracle_step to(oracle_state next) { return {{track_outcome::accept, drop_reason::none}, true, next}; }
constexpr oracle_step no(drop_reason reason) { return {{track_outcome::drop, reason}, false, SS}; }
inline constexpr oracle_step pass{{track_outcome::pass, drop_reason::none}, false, SS};
inline constexpr oracle_step anew{{track_outcome::reopen, drop_reason::none}, false, SS};
inline constexpr oracle_step bad_state = no(drop_reason::tcp_state);
inline constexpr oracle_step no_answer = no(drop_reason::answer_unseen);
inline constexpr oracle_step bad_answer = no(drop_reason::syn_ack_mismatch);
inline constexpr oracle_step bad_ack = no(drop_reason::ack_above_sent);
inline constexpr oracle_step bad_rst = no(drop_reason::rst_outside_window);

using row = std::array<oracle_step, oracle_segment_count>;

/// [state][direction][segment]. With the checks of loose and strict, which differ in numbers only.
inline constexpr std::array<std::array<row, 2>, oracle_state_count> table{{
    // syn  syn_ack    syn_ack_wrong  fin        fin_behind ack        ack_behind  rst      rst_ack  rst_inside rst_below rst_beyond
    // SS: the client may not go on without an answer (RFC 9293 section 3.10.7.3); a server's ACK is a challenge for an older connection
    // (RFC 5961 section 4.2), and its RST counts only when it acknowledges the SYN.
    {{{{pass, bad_state, bad_state, no_answer, no_answer, no_answer, no_answer, to(CR), to(CR), bad_rst, bad_rst, bad_rst}},
      {{to(SO), to(SR), bad_answer, bad_state, bad_state, pass, pass, bad_rst, to(CR), bad_rst, bad_rst, bad_rst}}}},
    // SO: each side answers with a SYN-ACK (RFC 9293 figure 7).
    {{{{pass, to(SRc), bad_answer, bad_state, bad_state, bad_state, bad_state, to(CL), to(CL), pass, bad_rst, bad_rst}},
      {{pass, to(SR), bad_answer, bad_state, bad_state, pass, pass, to(CL), to(CL), pass, bad_rst, bad_rst}}}},
    // SR, SRc: only the opener's acknowledgment of the SYN-ACK establishes. What acknowledges less draws the server's RST (section 3.10.7.4).
    {{{{pass, to(ES), bad_ack, to(FC), pass, to(ES), pass, to(CL), to(CL), pass, bad_rst, bad_rst}},
      {{pass, pass, bad_ack, to(FS), to(FS), to(SR), to(SR), to(CL), to(CL), pass, bad_rst, bad_rst}}}},
    {{{{pass, pass, bad_ack, to(FC), to(FC), to(SRc), to(SRc), to(CL), to(CL), pass, bad_rst, bad_rst}},
      {{pass, to(ES), bad_ack, to(FS), pass, to(ES), pass, to(CL), to(CL), pass, bad_rst, bad_rst}}}},
    // ES: a SYN, with ACK or without, draws a challenge ACK (RFC 5961 section 4.2) and changes nothing.
    {{{{pass, pass, bad_ack, to(FC), to(FC), to(ES), to(ES), to(CL), to(CL), pass, bad_rst, bad_rst}},
      {{pass, pass, bad_ack, to(FS), to(FS), to(ES), to(ES), to(CL), to(CL), pass, bad_rst, bad_rst}}}},
    // FC and FS: data flows the other way.
    {{{{pass, pass, bad_ack, to(FC), to(FC), to(FC), to(FC), to(CL), to(CL), pass, bad_rst, bad_rst}},
      {{pass, pass, bad_ack, to(FFc), to(FF), to(FC), to(FC), to(CL), to(CL), pass, bad_rst, bad_rst}}}},
    {{{{pass, pass, bad_ack, to(FFs), to(FF), to(FS), to(FS), to(CL), to(CL), pass, bad_rst, bad_rst}},
      {{pass, pass, bad_ack, to(FS), to(FS), to(FS), to(FS), to(CL), to(CL), pass, bad_rst, bad_rst}}}},
    // FF, FFc, FFs: over only when both FINs are acknowledged; a challenge ACK, which acknowledges less, is no last ACK.
    {{{{pass, pass, bad_ack, to(FFs), to(FF), to(FFs), to(FF), to(CL), to(CL), pass, bad_rst, bad_rst}},
      {{pass, pass, bad_ack, to(FFc), to(FF), to(FFc), to(FF), to(CL), to(CL), pass, bad_rst, bad_rst}}}},
    {{{{pass, pass, bad_ack, to(TW), to(FFc), to(TW), to(FFc), to(CL), to(CL), pass, bad_rst, bad_rst}},
      {{pass, pass, bad_ack, to(FFc), to(FFc), to(FFc), to(FFc), to(CL), to(CL), pass, bad_rst, bad_rst}}}},
    {{{{pass, pass, bad_ack, to(FFs), to(FFs), to(FFs), to(FFs), to(CL), to(CL), pass, bad_rst, bad_rst}},
      {{pass, pass, bad_ack, to(TW), to(FFs), to(TW), to(FFs), to(CL), to(CL), pass, bad_rst, bad_rst}}}},
    // TW: a SYN opens anew (RFC 9293 section 3.6.1); a FIN again means that the last ACK was lost.
    {{{{anew, pass, bad_ack, to(TW), to(TW), to(TW), to(TW), to(CL), to(CL), pass, bad_rst, bad_rst}},
      {{anew, pass, bad_ack, to(TW), to(TW), to(TW), to(TW), to(CL), to(CL), pass, bad_rst, bad_rst}}}},
    // CL, here by the server's RST: it has no connection left to send a FIN in; what it still gets it answers with RSTs at the number acknowledged,
    // perhaps long ago (RFC 9293 section 3.10.7.1). The client, to whom the RST may have been lost behind us, goes on and draws it again.
    {{{{anew, pass, bad_ack, pass, pass, pass, pass, pass, pass, pass, pass, bad_rst}},
      {{anew, pass, bad_ack, bad_state, bad_state, pass, pass, pass, pass, pass, pass, bad_rst}}}},
    // CR: as SS, for to the client it is the same while the RST is under way; and a late answer draws its RST.
    {{{{anew, bad_state, bad_state, bad_state, bad_state, bad_state, bad_state, pass, pass, bad_rst, bad_rst, bad_rst}},
      {{anew, pass, bad_ack, bad_state, bad_state, pass, pass, bad_rst, pass, bad_rst, bad_rst, bad_rst}}}},
}};

}  // namespace oracle

[[nodiscard]] constexpr oracle_step const& step_of(oracle_state s, direction from, oracle_segment segment) {
    return oracle::table[static_cast<std::size_t>(s)][index(from)][static_cast<std::size_t>(segment)];
}

/// Where both sides' numbers stand: the next byte each would send, and the one its peer expects. Counted from the ISNs.
struct oracle_numbers {
    std::array<std::uint32_t, 2> next{};
    std::array<std::uint32_t, 2> expected{};
};

}  // namespace halfproxy::test
