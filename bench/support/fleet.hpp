// SPDX-License-Identifier: BSL-1.0
// Clients and servers for the engine's benches: connections that know their next numbers, and the frames they would send.
//
// Frames are prepared outside the timed part: each is new, in order and in its window, since a repeated segment takes other
// branches of a tracker than a stream does.
#pragma once

#include <halfproxy/engine/engine.hpp>
#include <halfproxy/translate/rewrite.hpp>
#include <halfproxy/wire/build.hpp>
#include <halfproxy/wire/parse.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace bench {

using namespace halfproxy;

/// Frames of one batch: prepared untimed, then handed to the engine 64 at a time. As many as the receive ring of the program has
/// slots; at 256 bytes they stay warm in the second-level cache.
inline constexpr std::size_t batch = 1024;
inline constexpr std::size_t slot_bytes = 256;
static_assert(batch % max_burst == 0);

class frame_ring {
  public:
    frame_ring() : slots_(batch), frames_(batch) { clear(); }

    void clear() noexcept { used_ = 0; }
    void add(std::size_t length, side arrival) noexcept {
        frame& f = frames_[used_];
        f = {};
        f.data = slots_[used_].bytes.data();
        f.length = f.wire_length = static_cast<std::uint32_t>(length);
        f.capacity = slot_bytes;
        f.arrival = arrival;
        ++used_;
    }
    [[nodiscard]] std::span<std::uint8_t> next_slot() noexcept { return slots_[used_].bytes; }
    [[nodiscard]] std::span<frame> frames() noexcept { return {frames_.data(), used_}; }

    /// What stands in the ring now comes back at every restore().
    void keep() { kept_slots_ = slots_, kept_frames_ = frames_; }
    void restore() noexcept {
        std::memcpy(slots_.data(), kept_slots_.data(), slots_.size() * sizeof(slot));
        std::copy(kept_frames_.begin(), kept_frames_.end(), frames_.begin());
    }

  private:
    struct alignas(64) slot {
        std::array<std::uint8_t, slot_bytes> bytes;
    };
    std::vector<slot> slots_, kept_slots_;
    std::vector<frame> frames_, kept_frames_;
    std::size_t used_ = 0;
};

/// Client `id`'s tuple: up to 16 million clients, one server.
template <class Address>
[[nodiscard]] flow_tuple<Address> client_tuple(std::uint32_t id) noexcept {
    std::uint32_t const mixed = id * 0x9e37'79b1u & 0x00ff'ffffu;  // a bijection of 24 bits
    auto const port = static_cast<std::uint16_t>(1024 + id % 60'000);
    if constexpr (std::is_same_v<Address, std::uint32_t>) {
        return {0x0b00'0000u | mixed, 0xc612'0001u, port, 443};
    } else {
        flow_tuple<Address> t{{0x20, 1, 0xd, 0xb8}, {0x20, 1, 0xd, 0xb8, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, port, 443};
        std::memcpy(t.source.data() + 12, &mixed, sizeof mixed);
        return t;
    }
}

template <class Address>
[[nodiscard]] packet_origin origin_for(flow_tuple<Address> const& tuple) noexcept {
    constexpr bool v4 = std::is_same_v<Address, std::uint32_t>;
    packet_origin o;
    auto& link = header_at<ethernet_header>(o.link.data());
    link.destination = {2, 0, 0, 0, 0, 2};
    link.source = {2, 0, 0, 0, 0, 1};
    link.type = v4 ? ether_type::ipv4 : ether_type::ipv6;
    o.link_bytes = sizeof(ethernet_header);
    o.ip_version = v4 ? 4 : 6;
    detail::set_tuple(o, tuple);
    return o;
}

/// The TSval each side uses. They stand still: within a millisecond that is what they do.
inline constexpr std::uint32_t client_clock = 1'000'000;
inline constexpr std::uint32_t server_clock = 5'000'000;

/// What one connection's ends know.
struct connection {
    seq_num client_next{};  ///< next to be sent by the client
    seq_num server_next{};  ///< next to be sent by the server, in the server's own numbers
    std::uint32_t shift = 0;               ///< what the client adds to these
    std::uint32_t server_clock_seen = 0;   ///< TSval of the server as the client sees it
};

inline constexpr built_options syn_options{.has_mss = true,
                                           .has_window_scale = true,
                                           .sack_permitted = true,
                                           .has_timestamps = true,
                                           .window_scale = 7,
                                           .mss = 1460,
                                           .timestamp_value = client_clock};

/// Writes a frame into the ring's next slot: headers and `payload` bytes, valid checksums.
inline void put(frame_ring& ring, packet_origin const& origin, tcp_fields const& fields, built_options const& options,
                std::size_t payload, side arrival) noexcept {
    std::span<std::uint8_t> const slot = ring.next_slot();
    std::size_t length = build_tcp(slot, origin, fields, options);
    if (payload != 0) {
        std::memset(slot.data() + length, 0x61, payload);
        std::uint8_t* const ip = slot.data() + origin.link_bytes;
        if (origin.ip_version == 4)
            header_at<ipv4_header>(ip).total_length += static_cast<std::uint16_t>(payload);
        else
            header_at<ipv6_header>(ip).payload_length += static_cast<std::uint16_t>(payload);
        length += payload;
        checksum_state state = checksum_state::unknown;
        full_checksum::commit(parse<link_type::ethernet>(byte_span{slot.data(), length}), {}, state);
    }
    ring.add(length, arrival);
}

/// Connections 0 to n-1 through an engine, batch by batch.
template <class Engine, class Address>
class fleet {
  public:
    template <class... Policies>
    explicit fleet(engine_config const& config, std::uint32_t clients, Policies&&... policies)
        : engine_(config, std::forward<Policies>(policies)...), out_(batch * outbox_per_packet), connections_(clients) {}

    [[nodiscard]] Engine& engine() noexcept { return engine_; }
    [[nodiscard]] frame_ring& ring() noexcept { return ring_; }
    [[nodiscard]] connection& at(std::uint32_t id) noexcept { return connections_[id]; }
    [[nodiscard]] outbox const& out() const noexcept { return out_; }

    // --- What ends send -----------------------------------------------------------------------------------------------

    void client_syn(std::uint32_t id) noexcept {
        connections_[id].client_next = seq_num{id * 2654435761u};
        put(ring_, client(id), {connections_[id].client_next, {}, tcp_flag::syn, 64'240}, syn_options, 0, side::outside);
        connections_[id].client_next = connections_[id].client_next + 1;
    }
    /// To the SYN-ACK that has become of ring frame `i`.
    void note_cookie(std::uint32_t id, std::size_t i) noexcept {
        packet_view const reply = parse<link_type::ethernet>(ring_.frames()[i].bytes());
        connection& c = connections_[id];
        c.server_next = seq_num{id * 40503u + 77};
        c.shift = reply.tcp().sequence - c.server_next.value;
        c.server_clock_seen = parse_tcp_options(reply.tcp_options()).timestamp_value;
        c.server_next = c.server_next + 1;
    }
    /// Of a connection that nobody stands in: both ends see the same numbers.
    void note_plain(std::uint32_t id) noexcept {
        connection& c = connections_[id];
        c.server_next = seq_num{id * 40503u + 78};
        c.shift = 0;
        c.server_clock_seen = server_clock;
    }
    void server_syn_ack(std::uint32_t id, flow_tuple<Address> const& server_side) noexcept {
        connection const& c = connections_[id];
        built_options options = syn_options;
        options.timestamp_value = server_clock;
        options.timestamp_echo = client_clock;
        put(ring_, origin_for(server_side.reversed()),
            {c.server_next - 1, c.client_next, tcp_flag::syn | tcp_flag::ack, 65'160}, options, 0, side::inside);
    }
    /// A RST to the SYN that was sent in the client's name.
    void server_refuses(std::uint32_t id) noexcept {
        put(ring_, origin_for(client_tuple<Address>(id).reversed()),
            {{}, connections_[id].client_next, tcp_flag::rst | tcp_flag::ack, 0}, {}, 0, side::inside);
    }
    void client_sends(std::uint32_t id, std::size_t payload, std::uint8_t flags = tcp_flag::ack) noexcept {
        connection& c = connections_[id];
        put(ring_, client(id), {c.client_next, c.server_next + c.shift, flags, 501},
            {.has_timestamps = true, .timestamp_value = client_clock, .timestamp_echo = c.server_clock_seen}, payload,
            side::outside);
        c.client_next = c.client_next + sequence_length(payload, flags);
    }
    void server_sends(std::uint32_t id, flow_tuple<Address> const& server_side, std::size_t payload,
                      std::uint8_t flags = tcp_flag::ack) noexcept {
        connection& c = connections_[id];
        put(ring_, origin_for(server_side.reversed()), {c.server_next, c.client_next, flags, 509},
            {.has_timestamps = true, .timestamp_value = server_clock, .timestamp_echo = client_clock}, payload, side::inside);
        c.server_next = c.server_next + sequence_length(payload, flags);
    }

    // --- The timed part -----------------------------------------------------------------------------------------------

    /// What a pump does with a batch, but for the device: 64 frames per call, a microsecond per call.
    void run() noexcept {
        std::span<frame> const frames = ring_.frames();
        out_.clear();
        for (std::size_t at = 0; at < frames.size(); at += max_burst) {
            now_ += std::chrono::microseconds(1);
            engine_.process(frames.subspan(at, std::min(max_burst, frames.size() - at)), now_, out_);
        }
    }
    void advance() noexcept {
        out_.clear();
        engine_.advance(now_, out_);
    }
    void pass(std::chrono::milliseconds time) noexcept { now_ += time; }

    /// Whether every frame of the last run ended so.
    [[nodiscard]] bool all(verdict outcome, drop_reason reason = drop_reason::none) noexcept {
        for (frame const& f : ring_.frames())
            if (f.outcome != outcome || f.reason != reason) return false;
        return true;
    }

  private:
    [[nodiscard]] static packet_origin client(std::uint32_t id) noexcept { return origin_for(client_tuple<Address>(id)); }
    [[nodiscard]] static seq_len sequence_length(std::size_t payload, std::uint8_t flags) noexcept {
        return static_cast<seq_len>(payload) + ((flags & (tcp_flag::syn | tcp_flag::fin)) != 0 ? 1u : 0u);
    }

    Engine engine_;
    outbox out_;
    frame_ring ring_;
    std::vector<connection> connections_;
    time_point now_{std::chrono::seconds(1)};
};

}  // namespace bench
