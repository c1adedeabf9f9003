// SPDX-License-Identifier: BSL-1.0
// What became of a connection, in the words of Zeek's conn.log: conn_state, history letters, sizes, lost bytes.
//
// Read the Zeek documentation of Conn::Info (base/protocols/conn/main.zeek) first: it defines every state and letter.
#pragma once

#include <halfproxy/core/time.hpp>
#include <halfproxy/track/impl/stream_gaps.hpp>
#include <halfproxy/wire/headers.hpp>
#include <halfproxy/wire/seq.hpp>

#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace halfproxy {

enum class conn_state : std::uint8_t {
    s0,      ///< attempt without answer
    s1,      ///< established, not ended
    sf,      ///< established and ended; of datagrams: both sides sent
    rej,     ///< the attempt was rejected
    s2,      ///< established, only the originator wants to end it
    s3,      ///< established, only the responder wants to end it
    rsto,    ///< established, the originator aborted
    rstr,    ///< the responder aborted
    rstos0,  ///< SYN, then RST of the originator, no SYN-ACK between
    rstrh,   ///< SYN-ACK, then RST of the responder, no SYN seen
    sh,      ///< SYN, then FIN of the originator, no SYN-ACK seen
    shr,     ///< SYN-ACK, then FIN of the responder, no SYN seen
    oth,     ///< midstream traffic
};

[[nodiscard]] std::string_view to_string(conn_state state) noexcept;

/// When a connection counts as over, in the time of its packets. Defaults are Zeek's.
struct conn_log_timeouts {
    using duration = packet_clock::duration;
    duration attempt = std::chrono::seconds{5};      ///< for an answer to a SYN
    duration first_check = std::chrono::seconds{5};  ///< after the first packet: is it closed already?
    duration check = std::chrono::seconds{6};        ///< the same, again and again
    duration linger = std::chrono::seconds{5};       ///< silence after which a half-closed remainder is dropped
    duration close = std::chrono::seconds{5};        ///< after the end: stragglers still belong to it
    duration handshake = std::chrono::minutes{1};    ///< silence before a TCP connection is established
    duration established = std::chrono::minutes{5};  ///< silence afterwards
    duration interactive = std::chrono::hours{1};    ///< the same with a responder on ports 21, 22, 23, 513
    duration datagram = std::chrono::minutes{1};     ///< silence of UDP and ICMP
};

/// What a TCP segment tells. `payload_bytes` is what the wire carried.
struct conn_log_segment {
    time_point time{};
    seq_num sequence{};
    seq_num acknowledgment{};
    std::uint32_t payload_bytes = 0;
    std::uint16_t window = 0;
    std::uint8_t flags = 0;
    bool payload_captured = true;  ///< false: the capture holds less than the wire carried

    [[nodiscard]] bool has(std::uint8_t flag) const noexcept { return (flags & flag) != 0; }
    /// Sequence space it takes; a RST's data is no part of the stream.
    [[nodiscard]] std::uint32_t length() const noexcept {
        std::uint32_t const data = has(tcp_flag::rst) ? 0 : payload_bytes;
        return data + (has(tcp_flag::syn) ? 1u : 0u) + (has(tcp_flag::fin) ? 1u : 0u);
    }
};

/// Ports on which a server is likely: who sends from one answers, when the begin was not seen. Zeek's default list.
[[nodiscard]] bool is_likely_server_port(std::uint8_t protocol, std::uint16_t port) noexcept;

/// Whether a flow whose first packet goes from `source` to `destination` was begun by the other side.
/// `tcp_flags` is looked at for TCP only.
[[nodiscard]] bool begins_reversed(std::uint8_t protocol, std::uint16_t source, std::uint16_t destination,
                                   std::uint8_t tcp_flags) noexcept;

/// What keeps a connection's letters. Exemplar: conn_history. Models: that, and the whole_history of `halfproxy flows`.
template <class History>
concept history_store = std::is_nothrow_default_constructible_v<History> && requires(History& h, History const& c) {
    { h.add('S') } noexcept;
    { h.assign(std::string_view{}) } noexcept;
    { c.view() } noexcept -> std::same_as<std::string_view>;
};

/// Letters, in order. Of fixed size: letters beyond `capacity` are not kept (only a sender that repeats SYN, FIN or RST
/// with ever new sequence numbers gets there).
class conn_history {
  public:
    static constexpr std::size_t capacity = 47;

    void add(char letter) noexcept {
        if (size_ < capacity) letters_[size_++] = letter;
    }
    void assign(std::string_view letters) noexcept;
    [[nodiscard]] std::string_view view() const noexcept { return {letters_.data(), size_}; }

  private:
    std::array<char, capacity> letters_{};
    std::uint8_t size_ = 0;
};

/// Follows one flow from its first packet. Directions are 0 (who sent the first packet) and 1; which of them is the
/// originator may change while the flow is young: ask originator(). No memory but itself and what the history takes; work
/// per packet is constant.
template <history_store History>
class basic_conn_log {
  public:
    enum class endpoint_state : std::uint8_t { inactive, syn_sent, syn_ack_sent, partial, established, closed, reset };

    constexpr basic_conn_log() noexcept = default;
    /// `reversed`: see begins_reversed(). `responder_port` decides about the interactive timeout. The timeouts must
    /// outlive the log.
    basic_conn_log(std::uint8_t protocol, time_point first, bool reversed, std::uint16_t responder_port,
                   conn_log_timeouts const& timeouts) noexcept;

    /// True when this SYN or SYN-ACK begins another connection between the same ports.
    [[nodiscard]] bool is_reuse(conn_log_segment const& segment) const noexcept;

    void observe(conn_log_segment const& segment, unsigned direction, std::uint32_t ip_bytes) noexcept;
    /// A datagram or an ICMP message, with the length of its content.
    void observe_datagram(time_point now, unsigned direction, std::uint32_t payload_bytes,
                          std::uint32_t ip_bytes) noexcept;
    /// A packet that a receiver drops unread. A datagram is counted as a packet nevertheless, a segment is not.
    void observe_bad_checksum(unsigned direction, std::uint32_t ip_bytes) noexcept;

    /// When expire() wants to be called; later is no error. It may lie earlier after any observe().
    [[nodiscard]] time_point next_timer() const noexcept;
    /// True when the flow is over by `now`: log it, and let the next packet begin another one.
    [[nodiscard]] bool expire(time_point now) noexcept;

    [[nodiscard]] unsigned originator() const noexcept { return originator_; }
    [[nodiscard]] unsigned responder() const noexcept { return originator_ ^ 1u; }
    [[nodiscard]] std::uint8_t protocol() const noexcept { return protocol_; }
    [[nodiscard]] time_point first() const noexcept { return first_; }
    /// The last packet's time; without what follows the end of both sides.
    [[nodiscard]] time_point last() const noexcept { return last_; }
    [[nodiscard]] conn_state state() const noexcept;
    [[nodiscard]] std::string_view history() const noexcept { return history_.view(); }
    /// Payload: of TCP by sequence numbers, so that what the capture missed is in.
    [[nodiscard]] std::uint64_t bytes(unsigned direction) const noexcept;
    [[nodiscard]] std::uint64_t packets(unsigned direction) const noexcept { return endpoints_[direction].packets; }
    [[nodiscard]] std::uint64_t ip_bytes(unsigned direction) const noexcept { return endpoints_[direction].ip_bytes; }
    /// Acknowledged by the receiver but not in the capture, of both directions.
    [[nodiscard]] std::uint64_t missed_bytes() const noexcept { return missed_bytes_; }

  private:
    /// A letter at its first occurrence, its 10th, its 100th...
    struct scaled_letter {
        std::uint32_t count = 0;
        std::uint32_t next = 1;
        [[nodiscard]] bool counted() noexcept {
            if (++count != next) return false;
            if (next <= 100'000'000) next *= 10;
            return true;
        }
    };
    enum seen : std::uint8_t { syn = 1, fin = 2, rst = 4, fin_with_rst = 8, data = 16, ack = 32, several = 64 };

    /// Positions count from the side's initial sequence number, which is 0; the first byte is 1.
    struct endpoint {
        endpoint_state state = endpoint_state::inactive;
        endpoint_state previous = endpoint_state::inactive;
        bool closed = false;  // its end was taken note of
        bool packet_seen = false;
        std::uint8_t letters = 0;  // `seen` bits
        bool sent_fin = false;
        seq_num start{};
        std::int64_t last = 0;      // one past the last position sent
        std::int64_t acked = 0;     // the highest acknowledgment of the other side
        std::int64_t fin_end = 0;   // one past the FIN
        std::int64_t last_syn = 0;  // positions of the last letters
        std::int64_t last_fin = 0;
        std::int64_t last_rst = 0;
        std::uint64_t packets = 0;
        std::uint64_t ip_bytes = 0;
        std::uint64_t datagram_bytes = 0;
        scaled_letter bad_checksums, retransmissions, zero_windows, gaps;
        detail::stream_gaps stream;

        [[nodiscard]] std::int64_t position(seq_num s) const noexcept { return near(s, last); }
        [[nodiscard]] std::int64_t ack_position(seq_num s) const noexcept { return near(s, acked); }
        [[nodiscard]] std::int64_t near(seq_num s, std::int64_t reference) const noexcept {
            return reference + (s - (start + static_cast<seq_len>(reference)));
        }
        [[nodiscard]] bool nothing_acked() const noexcept { return acked == 0 || acked == 1; }
        void begin_at(seq_num at, std::int64_t sent) noexcept { start = at, last = sent, acked = 0; }
    };
    /// What a segment does to the connection's end: nothing, an end, an end that both sides agree to.
    enum class ending : std::uint8_t { none, abrupt, orderly };

    [[nodiscard]] endpoint& other(endpoint const& s) noexcept { return endpoints_[&s == &endpoints_[0] ? 1 : 0]; }
    [[nodiscard]] endpoint const& orig() const noexcept { return endpoints_[originator()]; }
    [[nodiscard]] endpoint const& resp() const noexcept { return endpoints_[responder()]; }
    [[nodiscard]] bool is_orig(endpoint const& s) const noexcept { return &s == &endpoints_[originator_]; }

    void add(endpoint const& s, char letter) noexcept;
    bool add_once(endpoint& s, seen bit, char letter) noexcept;
    void add_at(endpoint& s, seen bit, char letter, std::int64_t position, std::int64_t& last) noexcept;
    void flip() noexcept;
    void enter(endpoint& s, endpoint_state state) noexcept;

    void note_partial(conn_log_segment const& segment, endpoint const& from, bool by_orig) noexcept;
    void note_flags(conn_log_segment const& segment, endpoint& from, std::int64_t position) noexcept;
    void note_window(conn_log_segment const& segment, endpoint& from, endpoint const& to) noexcept;
    void note_sent(conn_log_segment const& segment, endpoint& from) noexcept;
    [[nodiscard]] std::int64_t note_ack(conn_log_segment const& segment, endpoint& to) noexcept;
    static void anchor(conn_log_segment const& segment, endpoint& from) noexcept;

    [[nodiscard]] ending step(conn_log_segment const& segment, endpoint& from, endpoint& to, bool by_orig) noexcept;
    [[nodiscard]] ending step_first(conn_log_segment const& segment, endpoint& from, endpoint& to,
                                    bool by_orig) noexcept;
    [[nodiscard]] ending step_handshake(conn_log_segment const& segment, endpoint& from) noexcept;
    [[nodiscard]] ending step_established(conn_log_segment const& segment, endpoint& from, endpoint& to) noexcept;
    [[nodiscard]] ending step_closed(conn_log_segment const& segment, endpoint& from, endpoint const& to) noexcept;
    void first_syn(conn_log_segment const& segment, endpoint& from, endpoint& to, bool by_orig) noexcept;
    void first_plain(conn_log_segment const& segment, endpoint& from, endpoint const& to, bool by_orig) noexcept;

    void deliver(conn_log_segment const& segment, endpoint& from, std::int64_t position) noexcept;
    void acknowledge(endpoint& sender, std::int64_t position) noexcept;
    void check_end(endpoint& s) noexcept;
    void close(endpoint& s, bool orderly) noexcept;
    [[nodiscard]] bool data_pending(endpoint const& s) const noexcept;
    [[nodiscard]] std::uint64_t stream_bytes(endpoint const& s) const noexcept;
    [[nodiscard]] conn_state tcp_state() const noexcept;
    [[nodiscard]] bool reset_before_answer() const noexcept;
    [[nodiscard]] static time_point after(time_point time, packet_clock::duration wait) noexcept;
    [[nodiscard]] bool check_due(time_point& check, time_point now) noexcept;

    static constexpr time_point no_time = time_point::max();

    conn_log_timeouts const* timeouts_ = nullptr;
    std::array<endpoint, 2> endpoints_{};
    time_point first_{};
    time_point last_{};
    time_point attempt_at_ = no_time;
    std::array<time_point, 2> check_at_{no_time, no_time};
    time_point delete_at_ = no_time;
    packet_clock::duration idle_{};
    std::uint64_t missed_bytes_ = 0;
    std::uint16_t responder_port_ = 0;
    std::uint8_t protocol_ = 0;
    std::uint8_t originator_ = 0;
    bool partial_ = false;         // the handshake was not seen
    bool active_ = true;           // not ended yet
    bool close_deferred_ = false;  // an end was seen before all data
    bool deferred_orderly_ = false;
    History history_;
};

using conn_log = basic_conn_log<conn_history>;

}  // namespace halfproxy

#include <halfproxy/track/impl/conn_log.hpp>
