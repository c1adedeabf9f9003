// SPDX-License-Identifier: BSL-1.0
// Handshakes with servers in progress: what a splice needs until the server has answered, and a flow whose client is announced until
// the server has acknowledged that, in a fixed pool.
#pragma once

#include <halfproxy/admit/syn_cookie.hpp>
#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/frame_pool.hpp>
#include <halfproxy/core/outbox.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/translate/proxy_protocol.hpp>
#include <halfproxy/wire/seq.hpp>

#include <cstdint>
#include <optional>
#include <vector>

namespace halfproxy {

struct handshake {
    outbox_frame syn{};  ///< our SYN as it was sent, for sending it again; of an announcement the first one, whose link header and addresses count
    link_type link = link_type::ethernet;
    seq_num client_isn{};
    seq_num cookie_isn{};                     ///< the ISN the client was given
    std::uint32_t cookie_timestamp = 0;       ///< the TSval the client was given
    std::uint32_t client_timestamp = 0;       ///< the client's last TSval
    frame_queue held{};                       ///< the client's segments that came before the server's answer
    seq_num held_end{};                       ///< one past the last byte held
    std::uint16_t client_window = 0;          ///< of its last ACK, in its own scale
    cookie_options options{};
    bool offers_timestamps = false;           ///< our SYN does; not when the client has them and the server lacks them
    std::uint8_t held_count = 0;
    std::uint8_t sent = 0;                    ///< how often our SYN was sent, then how often the announcement was
    stamp_ms next_send{};

    // Of a flow that has begun: flow_phase::mended.
    std::uint8_t announced = 0;               ///< bytes of the header that announces the client, before its own first one; 0: none
    bool announcing = false;                  ///< the server has not acknowledged all of it
    bool mends = false;                       ///< timestamps are put in for the server, for the flow's life
    bool spliced = false;                     ///< numbers are shifted besides
    proxy_protocol announce = proxy_protocol::none;
    std::uint32_t clock_shift = 0;            ///< seq_shift::timestamp, whose place in the flow holds this handshake's number
    std::uint32_t server_timestamp = 0;       ///< the TSval of the server's SYN-ACK

    /// The server's first number of the client's: the announcement stands before what the client calls its first byte.
    [[nodiscard]] seq_num isn_for_server() const noexcept { return client_isn - announced; }

    [[nodiscard]] std::uint8_t client_scale() const noexcept {
        return options.has_window_scale ? options.window_scale : std::uint8_t{0};
    }
};

/// Numbers of free and used handshakes; allocates once.
class handshake_pool {
  public:
    explicit handshake_pool(std::uint32_t capacity) : slots_(capacity) {
        free_.reserve(capacity);
        for (std::uint32_t i = capacity; i > 0; --i) free_.push_back(i - 1);
    }

    [[nodiscard]] std::optional<std::uint32_t> claim() noexcept {
        if (free_.empty()) return std::nullopt;
        std::uint32_t const number = free_.back();
        free_.pop_back();
        return number;
    }
    void release(std::uint32_t number) noexcept { free_.push_back(number); }  // within the reserved capacity

    [[nodiscard]] handshake& operator[](std::uint32_t number) noexcept { return slots_[number]; }
    [[nodiscard]] handshake const& operator[](std::uint32_t number) const noexcept { return slots_[number]; }
    [[nodiscard]] std::uint32_t capacity() const noexcept { return static_cast<std::uint32_t>(slots_.size()); }
    [[nodiscard]] std::uint32_t in_use() const noexcept { return static_cast<std::uint32_t>(slots_.size() - free_.size()); }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return slots_.size() * (sizeof(handshake) + sizeof(std::uint32_t)); }

  private:
    std::vector<handshake> slots_;
    std::vector<std::uint32_t> free_;
};

}  // namespace halfproxy
