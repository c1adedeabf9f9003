// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/track/conn_log.hpp>

#include <algorithm>

namespace halfproxy {

inline std::string_view to_string(conn_state state) noexcept {
    constexpr std::array<std::string_view, 13> names{"S0",   "S1",     "SF",    "REJ", "S2",  "S3", "RSTO",
                                                     "RSTR", "RSTOS0", "RSTRH", "SH",  "SHR", "OTH"};
    return names[static_cast<std::size_t>(state)];
}

inline void conn_history::assign(std::string_view letters) noexcept {
    size_ = 0;
    for (char const letter : letters) add(letter);
}

// --- Who began ---------------------------------------------------------------

inline bool is_likely_server_port(std::uint8_t protocol, std::uint16_t port) noexcept {
    constexpr std::array<std::uint16_t, 48> tcp{
        21,   22,   25,   53,   79,   80,   81,   88,   110,  135,  139,  143,  443,  445,  465,  502,
        514,  563,  585,  587,  614,  631,  636,  989,  990,  992,  993,  995,  1080, 1434, 1883, 2811,
        3128, 3306, 3389, 5222, 5223, 5269, 5432, 6379, 6666, 6667, 6668, 6669, 8000, 8080, 8888, 20000};
    constexpr std::array<std::uint16_t, 23> udp{53,   67,   88,   123,  137,  161,  162,  443,  514,  1812, 2123, 2152,
                                                3389, 3544, 4011, 4754, 4789, 5060, 5072, 5353, 5355, 6081, 20000};
    static_assert(std::is_sorted(tcp.begin(), tcp.end()) && std::is_sorted(udp.begin(), udp.end()));
    if (protocol == ip_protocol::tcp) return std::binary_search(tcp.begin(), tcp.end(), port);
    if (protocol == ip_protocol::udp) return std::binary_search(udp.begin(), udp.end(), port);
    return false;
}

inline bool begins_reversed(std::uint8_t protocol, std::uint16_t source, std::uint16_t destination,
                            std::uint8_t tcp_flags) noexcept {
    bool const is_tcp = protocol == ip_protocol::tcp;
    bool const has_syn = is_tcp && (tcp_flags & tcp_flag::syn) != 0;
    if (has_syn && (tcp_flags & tcp_flag::ack) == 0) return false;
    if (!is_likely_server_port(protocol, source)) return false;
    if (!is_likely_server_port(protocol, destination)) return true;
    // Both may be servers. A SYN-ACK alone may be a stealth scan, whose sender did begin.
    return is_tcp && !has_syn && source < destination;
}

// --- Letters ---------------------------------------------------------------

template <history_store History>
void basic_conn_log<History>::add(endpoint const& s, char letter) noexcept {
    constexpr char to_lower_case = 'a' - 'A';
    history_.add(is_orig(s) ? letter : static_cast<char>(letter + to_lower_case));
}

/// False when the letter's bit was set before. Productive traffic after a lone SYN-ACK shows that it was an answer.
template <history_store History>
bool basic_conn_log<History>::add_once(endpoint& s, seen bit, char letter) noexcept {
    if ((bit == seen::data || bit == seen::ack) && history_.view() == "H") {
        flip();
        history_.assign("^h");
        endpoints_[originator_].packet_seen = true;
    }
    if ((s.letters & bit) != 0) return false;
    s.letters = static_cast<std::uint8_t>(s.letters | bit);
    add(s, letter);
    return true;
}

/// SYN, FIN and RST are written again when they stand elsewhere in the stream.
template <history_store History>
void basic_conn_log<History>::add_at(endpoint& s, seen bit, char letter, std::int64_t position,
                                     std::int64_t& last) noexcept {
    if (!add_once(s, bit, letter) && position != last) add(s, letter);
    last = position;
}

template <history_store History>
void basic_conn_log<History>::note_flags(conn_log_segment const& segment, endpoint& from,
                                         std::int64_t position) noexcept {
    bool const has_syn = segment.has(tcp_flag::syn);
    bool const has_fin = segment.has(tcp_flag::fin);
    bool const has_rst = segment.has(tcp_flag::rst);
    if (has_fin && has_rst) {
        add_once(from, seen::fin_with_rst, 'I');
    } else if (has_syn && (has_fin || has_rst)) {
        add_once(from, seen::several, 'Q');
    } else if (has_syn) {
        add_at(from, seen::syn, segment.has(tcp_flag::ack) ? 'H' : 'S', position, from.last_syn);
    } else if (has_fin) {
        add_at(from, seen::fin, 'F', position + segment.payload_bytes, from.last_fin);
    } else if (has_rst) {
        add_at(from, seen::rst, 'R', position, from.last_rst);
    } else if (segment.payload_bytes != 0) {
        add_once(from, seen::data, 'D');
    } else if (segment.has(tcp_flag::ack)) {
        add_once(from, seen::ack, 'A');
    }
}

/// A zero window says something unless it comes with or after a RST, or to a side that has nothing to send any more.
template <history_store History>
void basic_conn_log<History>::note_window(conn_log_segment const& segment, endpoint& from,
                                          endpoint const& to) noexcept {
    if (segment.window != 0 || segment.has(tcp_flag::rst)) return;
    if (to.state == endpoint_state::closed || from.state == endpoint_state::reset) return;
    if (from.zero_windows.counted()) add(from, 'W');
}

// --- Positions ---------------------------------------------------------------

/// Where the side's stream begins: at its SYN, or one before what is seen first, as if there had been a SYN.
template <history_store History>
void basic_conn_log<History>::anchor(conn_log_segment const& segment, endpoint& from) noexcept {
    bool const has_syn = segment.has(tcp_flag::syn);
    std::int64_t const length = segment.length();
    switch (from.state) {
        case endpoint_state::inactive:
            if (has_syn) return from.begin_at(segment.sequence, length);
            return from.begin_at(segment.sequence - 1, 1);
        case endpoint_state::syn_sent:
        case endpoint_state::syn_ack_sent:
            if (has_syn && segment.sequence != from.start) from.begin_at(segment.sequence, length);
            return;
        case endpoint_state::partial:
        case endpoint_state::established:
            if (has_syn) from.begin_at(segment.sequence, length);
            return;
        case endpoint_state::reset:  // that RST may have been forged: its sequence number is not to be trusted
            if (has_syn && from.previous == endpoint_state::inactive) from.begin_at(segment.sequence, length);
            return;
        case endpoint_state::closed: return;
    }
}

/// A jump that no window allows, in a SYN, a RST or a zero acknowledgment: not the stream's.
inline constexpr std::int64_t implausible_jump = 1 << 20;

template <history_store History>
void basic_conn_log<History>::note_sent(conn_log_segment const& segment, endpoint& from) noexcept {
    std::int64_t const end = from.position(segment.sequence) + segment.length();
    std::int64_t const ahead = end - from.last;
    bool const control = segment.has(tcp_flag::syn) || segment.has(tcp_flag::rst);
    if (control && (ahead > implausible_jump || ahead < -implausible_jump)) return;
    if (segment.has(tcp_flag::fin) && from.last == 1) {
        // Between SYN and FIN nothing was captured: the FIN knows how much it was, even beyond 2 GiB.
        from.last = (segment.sequence + segment.length() - from.start.value).value;
    } else if (from.state != endpoint_state::reset) {
        if (ahead > 0)
            from.last = end;
        else if (segment.payload_bytes != 0 && from.retransmissions.counted())
            add(from, 'T');
    }
}

/// The acknowledgment's position in the other side's stream.
template <history_store History>
std::int64_t basic_conn_log<History>::note_ack(conn_log_segment const& segment, endpoint& to) noexcept {
    if (to.state == endpoint_state::inactive) {
        to.begin_at(segment.acknowledgment - 1, 0);
        return 1;
    }
    std::int64_t const position = to.ack_position(segment.acknowledgment);
    if (position < 0) return 0;
    bool const broken = segment.acknowledgment.value == 0 && position - to.acked > implausible_jump;
    if (!segment.has(tcp_flag::rst) && !broken && position > to.acked) to.acked = position;
    return position;
}

template <history_store History>
void basic_conn_log<History>::note_partial(conn_log_segment const& segment, endpoint const& from,
                                           bool by_orig) noexcept {
    if (from.packet_seen) return;
    bool const has_syn = segment.has(tcp_flag::syn);
    if (by_orig)
        partial_ = !has_syn || segment.has(tcp_flag::ack);
    else if (!partial_)
        partial_ = !has_syn;
}

// --- A packet ---------------------------------------------------------------

template <history_store History>
basic_conn_log<History>::basic_conn_log(std::uint8_t protocol, time_point first, bool reversed,
                                        std::uint16_t responder_port, conn_log_timeouts const& timeouts) noexcept
    : timeouts_(&timeouts),
      first_(first),
      last_(first),
      idle_(protocol == ip_protocol::tcp ? timeouts.handshake : timeouts.datagram),
      responder_port_(responder_port),
      protocol_(protocol),
      originator_(reversed ? 1 : 0) {
    if (reversed) history_.add('^');
    if (protocol == ip_protocol::tcp) check_at_[0] = after(first, timeouts.first_check);
}

template <history_store History>
bool basic_conn_log<History>::is_reuse(conn_log_segment const& segment) const noexcept {
    if (!segment.has(tcp_flag::syn)) return false;
    bool const has_ack = segment.has(tcp_flag::ack);
    if (has_ack && orig().state != endpoint_state::inactive) return false;
    if (orig().closed || resp().closed) return true;
    endpoint const& begun = has_ack ? resp() : orig();
    if (segment.sequence == begun.start) return false;
    // A SYN that was captured after its SYN-ACK.
    return has_ack || begun.state != endpoint_state::syn_ack_sent || resp().state != endpoint_state::inactive ||
           segment.sequence != resp().start;
}

template <history_store History>
void basic_conn_log<History>::observe(conn_log_segment const& segment, unsigned direction,
                                      std::uint32_t ip_bytes) noexcept {
    endpoint& from = endpoints_[direction];
    endpoint& to = endpoints_[direction ^ 1u];
    bool const by_orig = is_orig(from);
    ++from.packets;
    from.ip_bytes += ip_bytes;
    note_partial(segment, from, by_orig);
    anchor(segment, from);
    std::int64_t const position = from.position(segment.sequence);
    note_flags(segment, from, position);
    note_window(segment, from, to);
    if (!from.closed || !to.closed) last_ = segment.time;
    if (segment.has(tcp_flag::fin)) {
        from.sent_fin = true;
        from.fin_end = position + segment.length();
    }
    bool const has_ack = segment.has(tcp_flag::ack);
    std::int64_t const ack_position = has_ack ? note_ack(segment, to) : 0;
    note_sent(segment, from);
    ending const end = step(segment, from, to, by_orig);
    if (has_ack) acknowledge(to, ack_position);
    from.packet_seen = true;
    if (position >= 0) deliver(segment, from, position);
    check_end(from);
    if (end != ending::none) close(from, end == ending::orderly);
}

template <history_store History>
void basic_conn_log<History>::observe_datagram(time_point now, unsigned direction, std::uint32_t payload_bytes,
                                               std::uint32_t ip_bytes) noexcept {
    endpoint& from = endpoints_[direction];
    ++from.packets;
    from.ip_bytes += ip_bytes;
    from.datagram_bytes += payload_bytes;
    from.packet_seen = true;
    last_ = now;
    if (protocol_ == ip_protocol::udp) add_once(from, seen::data, 'D');
}

template <history_store History>
void basic_conn_log<History>::observe_bad_checksum(unsigned direction, std::uint32_t ip_bytes) noexcept {
    endpoint& from = endpoints_[direction];
    if (protocol_ == ip_protocol::udp) {
        ++from.packets;
        from.ip_bytes += ip_bytes;
    }
    if (protocol_ != ip_protocol::tcp && protocol_ != ip_protocol::udp) return;
    if (from.bad_checksums.counted()) add(from, 'C');
}

// --- Time ---------------------------------------------------------------

/// Never beyond the clock's range: a damaged capture may say any time.
template <history_store History>
time_point basic_conn_log<History>::after(time_point time, packet_clock::duration wait) noexcept {
    return time > time_point::max() - wait ? time_point::max() : time + wait;
}

template <history_store History>
time_point basic_conn_log<History>::next_timer() const noexcept {
    return std::min({attempt_at_, check_at_[0], check_at_[1], delete_at_, after(last_, idle_)});
}

/// A remainder that lingers: one side has ended, and there is no second one that could still send.
template <history_store History>
bool basic_conn_log<History>::check_due(time_point& check, time_point now) noexcept {
    if (check > now) return false;
    check = no_time;
    if (!active_) return false;
    check = after(now, timeouts_->check);
    if (after(last_, timeouts_->linger) >= now) return false;
    auto const is = [this](endpoint_state state) { return orig().state == state || resp().state == state; };
    if (orig().state == endpoint_state::inactive && resp().state == endpoint_state::inactive) return true;
    if (!orig().closed && !resp().closed) return false;
    return (orig().closed && resp().closed) || is(endpoint_state::reset) || is(endpoint_state::inactive);
}

template <history_store History>
bool basic_conn_log<History>::expire(time_point now) noexcept {
    if (delete_at_ <= now || after(last_, idle_) <= now) return true;
    if (attempt_at_ <= now) {
        attempt_at_ = no_time;
        bool const attempted = orig().state == endpoint_state::syn_sent || orig().state == endpoint_state::syn_ack_sent;
        if (active_ && attempted && resp().state == endpoint_state::inactive) return true;
    }
    bool const first = check_due(check_at_[0], now);
    return check_due(check_at_[1], now) || first;
}

// --- The summary ---------------------------------------------------------------

template <history_store History>
std::uint64_t basic_conn_log<History>::stream_bytes(endpoint const& s) const noexcept {
    endpoint const& peer = endpoints_[&s == &endpoints_[0] ? 1 : 0];
    // A half-open connection was discovered and aborted: these numbers belong to another one.
    if (s.previous == endpoint_state::syn_sent && s.state == endpoint_state::reset &&
        peer.state == endpoint_state::inactive && !s.nothing_acked())
        return 0;
    std::int64_t const end = std::max(s.last, s.acked);
    std::int64_t const control = 1 + (s.sent_fin ? 1 : 0);
    return end > control ? static_cast<std::uint64_t>(end - control) : 0;
}

template <history_store History>
std::uint64_t basic_conn_log<History>::bytes(unsigned direction) const noexcept {
    endpoint const& s = endpoints_[direction];
    return protocol_ == ip_protocol::tcp ? stream_bytes(s) : s.datagram_bytes;
}

/// SYN and RST of the originator with nothing productive between: ^?S[^HAFGIQ]*R.* as a regular expression.
template <history_store History>
bool basic_conn_log<History>::reset_before_answer() const noexcept {
    std::string_view h = history_.view();
    if (h.starts_with('^')) h.remove_prefix(1);
    return h.starts_with('S') && h.find('R') < h.find_first_of("HAFGIQ");
}

template <history_store History>
conn_state basic_conn_log<History>::tcp_state() const noexcept {
    endpoint_state const o = orig().state;
    endpoint_state const r = resp().state;
    auto const unseen = [](endpoint_state e) { return e == endpoint_state::inactive || e == endpoint_state::partial; };
    if (r == endpoint_state::reset) {
        bool const empty = stream_bytes(orig()) == 0 && stream_bytes(resp()) == 0;
        if (o == endpoint_state::syn_sent || o == endpoint_state::syn_ack_sent || (o == endpoint_state::reset && empty))
            return conn_state::rej;
        return unseen(o) ? conn_state::rstrh : conn_state::rstr;
    }
    if (o == endpoint_state::reset) {
        if (!unseen(r)) return conn_state::rsto;
        return reset_before_answer() ? conn_state::rstos0 : conn_state::oth;
    }
    if (o == endpoint_state::closed && r == endpoint_state::closed) return conn_state::sf;
    if (o == endpoint_state::closed) return unseen(r) ? conn_state::sh : conn_state::s2;
    if (r == endpoint_state::closed) return unseen(o) ? conn_state::shr : conn_state::s3;
    if (o == endpoint_state::syn_sent && r == endpoint_state::inactive) return conn_state::s0;
    if (o == endpoint_state::established && r == endpoint_state::established) return conn_state::s1;
    return conn_state::oth;
}

template <history_store History>
conn_state basic_conn_log<History>::state() const noexcept {
    if (protocol_ == ip_protocol::tcp) return tcp_state();
    if (protocol_ != ip_protocol::udp) return conn_state::oth;
    if (orig().packet_seen) return resp().packet_seen ? conn_state::sf : conn_state::s0;
    return resp().packet_seen ? conn_state::shr : conn_state::oth;
}

}  // namespace halfproxy

#include <halfproxy/track/impl/conn_log_states.hpp>
