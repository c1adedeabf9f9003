// SPDX-License-Identifier: BSL-1.0
// The states of a connection's two endpoints, and when the end of one counts.
#pragma once

#include <halfproxy/track/conn_log.hpp>

#include <algorithm>

namespace halfproxy {

// --- States of a side ---------------------------------------------------------------

template <history_store History>
void basic_conn_log<History>::flip() noexcept {
    originator_ ^= 1u;
    partial_ = false;
    history_.add('^');
}

template <history_store History>
void basic_conn_log<History>::enter(endpoint& s, endpoint_state state) noexcept {
    if (state == s.state) return;
    auto const in_handshake = [](endpoint_state e) { return e <= endpoint_state::syn_ack_sent; };
    if (!in_handshake(state) && in_handshake(s.state) && in_handshake(other(s).state)) idle_ = timeouts_->established;
    s.previous = s.state;
    s.state = state;
}

template <history_store History>
auto basic_conn_log<History>::step(conn_log_segment const& segment, endpoint& from, endpoint& to, bool by_orig) noexcept
    -> ending {
    switch (from.state) {
        case endpoint_state::inactive: return step_first(segment, from, to, by_orig);
        case endpoint_state::syn_sent:
        case endpoint_state::syn_ack_sent: return step_handshake(segment, from);
        case endpoint_state::partial:
        case endpoint_state::established: return step_established(segment, from, to);
        case endpoint_state::closed: return step_closed(segment, from, to);
        case endpoint_state::reset: break;
    }
    return ending::none;
}

template <history_store History>
void basic_conn_log<History>::first_syn(conn_log_segment const& segment, endpoint& from, endpoint& to,
                                        bool by_orig) noexcept {
    bool const has_ack = segment.has(tcp_flag::ack);
    if (by_orig) {
        enter(from, has_ack ? endpoint_state::syn_ack_sent : endpoint_state::syn_sent);
        attempt_at_ = after(segment.time, timeouts_->attempt);
        return;
    }
    if (!has_ack && to.state == endpoint_state::syn_ack_sent && segment.sequence == from.start) {
        flip();  // the SYN-ACK was captured before the SYN
        enter(to, endpoint_state::established);
        from.packet_seen = true;
    }
    if (to.state == endpoint_state::syn_sent) enter(to, endpoint_state::established);
    enter(from, endpoint_state::established);
    bool const interactive =
        responder_port_ == 21 || responder_port_ == 22 || responder_port_ == 23 || responder_port_ == 513;
    if (to.state != endpoint_state::partial && interactive) idle_ = timeouts_->interactive;
}

/// A first segment without SYN, FIN and RST.
template <history_store History>
void basic_conn_log<History>::first_plain(conn_log_segment const& segment, endpoint& from, endpoint const& to,
                                          bool by_orig) noexcept {
    // Some stacks acknowledge a SYN before they answer it.
    if (!by_orig && segment.payload_bytes == 0 && orig().state == endpoint_state::syn_sent) return;
    if (segment.has(tcp_flag::ack) && to.state == endpoint_state::established) {
        enter(from, endpoint_state::established);  // answers a SYN-ACK: only its SYN was missed
        partial_ = false;
        from.packet_seen = true;
    } else {
        enter(from, endpoint_state::partial);
    }
}

template <history_store History>
auto basic_conn_log<History>::step_first(conn_log_segment const& segment, endpoint& from, endpoint& to,
                                         bool by_orig) noexcept -> ending {
    ending end = ending::none;
    if (segment.has(tcp_flag::syn)) first_syn(segment, from, to, by_orig);
    if (segment.has(tcp_flag::fin)) {
        enter(from, endpoint_state::closed);
        end = ending::orderly;
    }
    if (segment.has(tcp_flag::rst)) {
        enter(from, endpoint_state::reset);
        bool const rejects = by_orig ? to.state == endpoint_state::established
                                     : to.state == endpoint_state::syn_sent || to.state == endpoint_state::syn_ack_sent;
        end = rejects ? ending::abrupt : ending::orderly;
    }
    if (from.state == endpoint_state::inactive) first_plain(segment, from, to, by_orig);
    return end;
}

template <history_store History>
auto basic_conn_log<History>::step_handshake(conn_log_segment const& segment, endpoint& from) noexcept -> ending {
    ending end = ending::none;
    if (segment.has(tcp_flag::fin)) {
        enter(from, endpoint_state::closed);
        end = ending::orderly;
    }
    if (segment.has(tcp_flag::rst)) {
        enter(from, endpoint_state::reset);
        active_ = false;
        if (end == ending::none) end = ending::abrupt;
    }
    return end;
}

template <history_store History>
auto basic_conn_log<History>::step_established(conn_log_segment const& segment, endpoint& from, endpoint& to) noexcept
    -> ending {
    bool const has_rst = segment.has(tcp_flag::rst);
    if (segment.has(tcp_flag::syn) && !segment.has(tcp_flag::ack) && from.state == endpoint_state::partial &&
        to.state == endpoint_state::inactive)
        enter(from, endpoint_state::syn_sent);
    if (has_rst) {
        enter(from, endpoint_state::reset);
        if (to.state != endpoint_state::reset || to.previous != endpoint_state::established) active_ = false;
        return ending::abrupt;
    }
    if (!segment.has(tcp_flag::fin)) return ending::none;
    enter(from, endpoint_state::closed);
    // The other side sent FIN, then RST: a normal end after all.
    if (to.state == endpoint_state::reset && to.previous == endpoint_state::closed) enter(to, endpoint_state::closed);
    return ending::orderly;
}

template <history_store History>
auto basic_conn_log<History>::step_closed(conn_log_segment const& segment, endpoint& from, endpoint const& to) noexcept
    -> ending {
    if (!segment.has(tcp_flag::rst) || to.state == endpoint_state::closed) return ending::none;
    enter(from, endpoint_state::reset);
    return from.closed ? ending::none : ending::abrupt;
}

// --- The stream and its end ---------------------------------------------------------------

template <history_store History>
void basic_conn_log<History>::deliver(conn_log_segment const& segment, endpoint& from, std::int64_t position) noexcept {
    if (segment.payload_bytes == 0 || segment.has(tcp_flag::rst) || !segment.payload_captured || from.stream.given_up())
        return;
    std::int64_t const begin = position + (segment.has(tcp_flag::syn) ? 1 : 0);
    std::int64_t const end = begin + segment.payload_bytes;
    if (end <= from.acked) return;
    bool const grew = from.stream.insert(std::max(begin, from.acked), end);
    if (grew && from.nothing_acked() && stream_bytes(from) > detail::stream_gaps::max_beyond_hole)
        from.stream.trim_complete();
    from.stream.give_up_if_hopeless(from.nothing_acked());
}

template <history_store History>
void basic_conn_log<History>::acknowledge(endpoint& sender, std::int64_t position) noexcept {
    if (sender.sent_fin && position >= sender.fin_end) position = sender.fin_end - 1;
    auto const clean = [](endpoint const& s) {
        return s.state == endpoint_state::established ||
               (s.state == endpoint_state::closed && s.previous == endpoint_state::established);
    };
    bool const trustworthy = clean(sender) && clean(other(sender));
    sender.stream.acknowledge(position, partial_, [&](std::uint64_t bytes) {
        if (!trustworthy) return;
        missed_bytes_ += bytes;
        if (sender.gaps.counted()) add(sender, 'G');
    });
    check_end(sender);
}

/// Data that must come, or be given up, before the side's end counts. A FIN takes one position, a RST none.
template <history_store History>
bool basic_conn_log<History>::data_pending(endpoint const& s) const noexcept {
    if (s.stream.given_up() || s.last < s.stream.complete()) return false;
    if (s.stream.complete() != s.last - 1 && s.stream.complete() != s.last) return true;
    endpoint const& peer = endpoints_[&s == &endpoints_[0] ? 1 : 0];
    return s.state != endpoint_state::reset && peer.stream.holds_data();
}

template <history_store History>
void basic_conn_log<History>::check_end(endpoint& s) noexcept {
    bool const ends = s.sent_fin || s.state == endpoint_state::closed || s.state == endpoint_state::reset;
    if (s.stream.ended || !ends || data_pending(s)) return;
    s.stream.ended = true;
    if (!close_deferred_) return;
    close(s, deferred_orderly_);
    close_deferred_ = false;
}

template <history_store History>
void basic_conn_log<History>::close(endpoint& s, bool orderly) noexcept {
    if (data_pending(s)) {
        close_deferred_ = true;
        deferred_orderly_ = deferred_orderly_ || orderly;
        return;
    }
    close_deferred_ = false;
    if (s.closed) return;
    s.closed = true;
    endpoint const& peer = other(s);
    if (s.state == endpoint_state::reset || peer.closed || peer.state == endpoint_state::inactive) {
        bool const known = s.previous != endpoint_state::inactive || peer.state != endpoint_state::inactive;
        if (known && (orderly || deferred_orderly_)) active_ = false;
        if (known) deferred_orderly_ = false;
        attempt_at_ = check_at_[0] = check_at_[1] = no_time;
        delete_at_ = after(last_, timeouts_->close);
    } else if (s.previous != endpoint_state::inactive) {
        check_at_[1] = after(last_, timeouts_->check);
    }
}

}  // namespace halfproxy
