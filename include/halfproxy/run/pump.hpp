// SPDX-License-Identifier: BSL-1.0
// A plain loop's body: packets from two ports through an engine and out again, without thread, clock or copy.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/outbox.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/io/packet_io.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace halfproxy {

/// Frames a pump takes from one port at a time: what engine::process() accepts at most.
inline constexpr std::size_t pump_burst = 64;

/// What a pump needs of an engine. Models: engine<Policies> (engine/engine.hpp), the pass-through engine of
/// tests/support/wire_engine.hpp.
// Version 14 does not know noexcept in requirements.
// clang-format off
template <class T>
concept packet_engine =
    requires(T& engine, T const& const_engine, std::span<frame> burst, time_point now, outbox& out) {
        { engine.process(burst, now, out) } noexcept;
        { engine.advance(now, out) } noexcept;
        { const_engine.next_deadline() } noexcept -> std::same_as<std::optional<time_point>>;
    };
// clang-format on

/// What one port gave and took. `not_taken` frames were due to leave through the port, which had no room: they are lost.
struct port_counters {
    std::uint64_t received = 0;
    std::uint64_t sent = 0;
    std::uint64_t not_taken = 0;
};

/// Moves packets between two ports. Borrows ports and engine, which must outlive it; allocates in its constructor only.
/// One thread at a time.
template <packet_io Io, packet_engine Engine, packet_io InsideIo = Io>
class pump {
  public:
    pump(Io& outside, InsideIo& inside, Engine& engine)
        : outside_(outside),
          inside_(inside),
          engine_(engine),
          outbox_(std::max(pump_burst * outbox_per_packet, outbox_per_advance)) {}

    /// Takes at most one burst from each port, beginning with the other one than last time, sends what comes of it, then
    /// runs the engine's timers that are due. Returns how many frames were received: 0 means that both ports were empty.
    /// Frames with the outcome forward leave through the other port and replies through the port they came from, each in
    /// the order they arrived; then what the engine originated. Never waits. Work: at most 2 bursts and one advance().
    std::size_t step(time_point now) noexcept;

    /// Runs the engine's timers alone: for the end, when nothing more is to be received.
    void advance(time_point now) noexcept;

    /// Tells the ports that can do something about it.
    void set_flooded(bool on) noexcept;

    /// Of the packets that the last step received, how many left through the other port.
    [[nodiscard]] std::size_t passed() const noexcept { return passed_; }

    [[nodiscard]] port_counters const& counters(side port) const noexcept { return counters_[index(port)]; }
    [[nodiscard]] Engine& engine() noexcept { return engine_; }
    [[nodiscard]] Engine const& engine() const noexcept { return engine_; }

  private:
    /// Frames collected for one port, sent with one call.
    struct batch {
        std::array<tx_frame, pump_burst> frames;
        std::size_t count = 0;

        void add(byte_view bytes, offload_info const& offload) noexcept { frames[count++] = {bytes, offload}; }
    };

    [[nodiscard]] static constexpr std::size_t index(side port) noexcept { return static_cast<std::size_t>(port); }

    std::size_t serve(side from, time_point now) noexcept;
    void send_outcomes(std::span<frame const> burst, side from) noexcept;
    void send_originated() noexcept;
    void flush(side port, batch& frames) noexcept;
    std::size_t receive(side port, std::span<frame> frames) noexcept;
    std::size_t transmit(side port, std::span<tx_frame const> frames) noexcept;

    Io& outside_;
    InsideIo& inside_;
    Engine& engine_;
    outbox outbox_;
    std::array<port_counters, 2> counters_{};
    std::array<frame, pump_burst> burst_{};
    std::array<batch, 2> batches_{};  ///< by port; empty between calls
    side first_ = side::outside;
    std::size_t passed_ = 0;
};

}  // namespace halfproxy

#include <halfproxy/run/impl/pump.hpp>
