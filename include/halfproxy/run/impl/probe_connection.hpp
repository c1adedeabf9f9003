// SPDX-License-Identifier: BSL-1.0
// Bodies of run/probe_connection.hpp.
#pragma once

#include <halfproxy/run/probe_connection.hpp>

#include <algorithm>
#include <utility>

namespace halfproxy {

inline void probe_connection::open(seq_num isn, byte_view request) noexcept {
    *this = {};
    request_ = request;
    state_ = state::opening;
    syn_due_ = true;
    isn_ = unacknowledged_ = isn;
    next_ = sent_ = isn + 1;
}

inline probe_connection::reading probe_connection::take(tcp_header const& tcp, tcp_options const& options, byte_view payload,
                                                        std::uint16_t default_mss) noexcept {
    if (state_ == state::closed) return {};
    if (state_ == state::opening) return take_while_opening(tcp, options, default_mss);
    seq_num const seq{tcp.sequence};
    if ((tcp.flags & tcp_flag::rst) != 0) {
        if (seq == expected_) return state_ = state::closed, reading{event::reset};
        ack_due_ = true;  // a challenge ACK (RFC 5961 section 3.2)
        return {};
    }
    if ((tcp.flags & tcp_flag::syn) != 0) return ack_due_ = true, reading{};  // its SYN-ACK again: ours was lost
    if ((tcp.flags & tcp_flag::ack) == 0) return {};
    take_acknowledgment(tcp);
    return take_data(seq, payload, (tcp.flags & tcp_flag::fin) != 0);
}

/// RFC 9293 section 3.10.7.3. What acknowledges something else than our SYN is of an older connection, which is reset there; then ours is asked for again.
inline probe_connection::reading probe_connection::take_while_opening(tcp_header const& tcp, tcp_options const& options,
                                                                      std::uint16_t default_mss) noexcept {
    bool const rst = (tcp.flags & tcp_flag::rst) != 0;
    if ((tcp.flags & tcp_flag::ack) == 0) return {};
    seq_num const acknowledged{tcp.acknowledgment};
    if (acknowledged != isn_ + 1) {
        if (!rst) stray_ = acknowledged, syn_due_ = true;
        return {};
    }
    if (rst) return state_ = state::closed, reading{event::refused};
    if ((tcp.flags & tcp_flag::syn) == 0) return {};
    state_ = state::open;
    unacknowledged_ = acknowledged;
    expected_ = seq_num{tcp.sequence} + 1;
    server_window_ = tcp.window;
    server_mss_ = options.has_mss && options.mss != 0 ? options.mss : default_mss;
    ack_due_ = true;
    return {event::connected};
}

inline void probe_connection::take_acknowledgment(tcp_header const& tcp) noexcept {
    seq_num const acknowledged{tcp.acknowledgment};
    if (acknowledged.after(sent_)) return void(ack_due_ = true);
    if (acknowledged.before(unacknowledged_)) return;
    unacknowledged_ = acknowledged;
    next_ = later(next_, acknowledged);
    server_window_ = tcp.window;
}

/// In order, or as far as it is new; what lies beyond is asked for by the ACK.
inline probe_connection::reading probe_connection::take_data(seq_num seq, byte_view payload, bool fin) noexcept {
    if (seq != expected_ || !payload.empty() || fin) ack_due_ = true;
    std::int32_t const known = expected_ - seq;
    if (known < 0 || static_cast<std::size_t>(known) > payload.size() || (payload.empty() && !fin)) return {};
    byte_view const data = payload.subspan(static_cast<std::size_t>(known));
    if (data.empty() && !fin) return {};
    expected_ = expected_ + (static_cast<seq_len>(data.size()) + (fin ? 1u : 0u));
    return {event::answer, data, fin};
}

inline std::optional<probe_segment> probe_connection::next(std::size_t room) noexcept {
    if (stray_) {
        seq_num const at = *stray_;
        stray_.reset();
        return probe_segment{{at, {}, tcp_flag::rst, 0}};
    }
    if (state_ == state::opening) {
        if (!std::exchange(syn_due_, false)) return std::nullopt;
        return probe_segment{{isn_, {}, tcp_flag::syn, window_bytes}, true};
    }
    if (state_ != state::open) return std::nullopt;
    std::uint32_t const window = std::max(server_window_, forced_ ? 1u : 0u);
    std::int32_t const allowed = std::min((unacknowledged_ + window) - next_, request_end() - next_);
    std::size_t const bytes = allowed <= 0 ? 0 : std::min({static_cast<std::size_t>(allowed), room, std::size_t{server_mss_}});
    if (bytes == 0 && !ack_due_) return std::nullopt;
    forced_ = ack_due_ = false;
    auto const begin = static_cast<std::size_t>(next_ - (isn_ + 1));
    std::uint8_t const flags = bytes != 0 ? tcp_flag::ack | tcp_flag::psh : tcp_flag::ack;
    probe_segment const out{{next_, expected_, flags, window_bytes}, false, request_.subspan(begin, bytes)};
    next_ = next_ + static_cast<seq_len>(bytes);
    sent_ = later(sent_, next_);
    return out;
}

inline void probe_connection::retry() noexcept {
    if (state_ == state::opening) syn_due_ = true;
    if (state_ != state::open || unacknowledged_ == request_end()) return;
    next_ = unacknowledged_;
    forced_ = true;
}

inline probe_segment probe_connection::reset() noexcept {
    state_ = state::closed;
    return {{sent_, {}, tcp_flag::rst, 0}};
}

}  // namespace halfproxy
