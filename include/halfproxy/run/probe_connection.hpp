// SPDX-License-Identifier: BSL-1.0
// The client's end of one short TCP connection, as packets: opened, one request sent, an answer read in order, and reset.
//
// Read RFC 9293 sections 3.5, 3.8 and 3.10.7 first. No socket, no clock, no memory of its own: who uses it says when to retry, and sends what next() gives.
// No window scaling, SACK or timestamps: an answer of a few segments needs none. What comes out of order is left to be sent again.
#pragma once

#include <halfproxy/core/bytes.hpp>
#include <halfproxy/wire/build.hpp>
#include <halfproxy/wire/headers.hpp>
#include <halfproxy/wire/seq.hpp>
#include <halfproxy/wire/tcp_options.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>

namespace halfproxy {

/// One segment to be sent. `payload` is a part of the request.
struct probe_segment {
    tcp_fields fields{};
    bool is_syn = false;  ///< tells the MSS
    byte_view payload{};
};

class probe_connection {
  public:
    /// What a segment of the server's means. `connected`, `refused` and `reset` come at most once.
    enum class event : std::uint8_t { nothing, connected, refused, reset, answer };

    struct reading {
        event what = event::nothing;
        byte_view data{};    ///< of `answer`: the next bytes of the server's stream
        bool ended = false;  ///< of `answer`: its stream ends behind them
    };

    static constexpr std::uint16_t window_bytes = 0xffff;

    /// Begins: next() gives a SYN. The request must live as long as the connection.
    void open(seq_num isn, byte_view request) noexcept;

    /// A segment between the two ends, right in its checksums.
    [[nodiscard]] reading take(tcp_header const& tcp, tcp_options const& options, byte_view payload, std::uint16_t default_mss) noexcept;

    /// What is to be sent now, if anything, with at most `room` bytes of the request. Call it until there is nothing.
    [[nodiscard]] std::optional<probe_segment> next(std::size_t room) noexcept;

    /// Nothing was heard for a while: what is not acknowledged is to be sent again.
    void retry() noexcept;

    /// Whether the server has a connection that is to be reset, and the RST at the number that it expects.
    [[nodiscard]] bool is_open() const noexcept { return state_ == state::open; }
    [[nodiscard]] probe_segment reset() noexcept;

  private:
    enum class state : std::uint8_t { closed, opening, open };

    [[nodiscard]] reading take_while_opening(tcp_header const& tcp, tcp_options const& options, std::uint16_t default_mss) noexcept;
    void take_acknowledgment(tcp_header const& tcp) noexcept;
    [[nodiscard]] reading take_data(seq_num seq, byte_view payload, bool fin) noexcept;
    [[nodiscard]] seq_num request_end() const noexcept { return isn_ + (1 + static_cast<seq_len>(request_.size())); }

    byte_view request_{};
    state state_ = state::closed;
    bool syn_due_ = false;
    bool ack_due_ = false;
    bool forced_ = false;  ///< one byte may be sent into a closed window (RFC 9293 section 3.8.6.1)
    std::optional<seq_num> stray_{};  ///< of an older connection, which the server still has: to be reset there
    seq_num isn_{};
    seq_num unacknowledged_{};
    seq_num next_{};
    seq_num sent_{};      ///< the furthest of next_
    seq_num expected_{};  ///< RCV.NXT
    std::uint32_t server_window_ = 0;
    std::uint16_t server_mss_ = 0;
};

}  // namespace halfproxy

#include <halfproxy/run/impl/probe_connection.hpp>
