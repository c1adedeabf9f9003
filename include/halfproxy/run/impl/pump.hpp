// SPDX-License-Identifier: BSL-1.0
// Bodies of run/pump.hpp.
#pragma once

#include <halfproxy/run/pump.hpp>

namespace halfproxy {

template <packet_io Io, packet_engine Engine, packet_io InsideIo>
std::size_t pump<Io, Engine, InsideIo>::step(time_point now) noexcept {
    side const first = first_;
    first_ = other(first_);
    passed_ = 0;
    std::size_t const received = serve(first, now) + serve(other(first), now);
    if (auto const deadline = engine_.next_deadline(); deadline && *deadline <= now) advance(now);
    return received;
}

template <packet_io Io, packet_engine Engine, packet_io InsideIo>
void pump<Io, Engine, InsideIo>::advance(time_point now) noexcept {
    engine_.advance(now, outbox_);
    send_originated();
}

template <packet_io Io, packet_engine Engine, packet_io InsideIo>
std::size_t pump<Io, Engine, InsideIo>::serve(side from, time_point now) noexcept {
    std::size_t const count = receive(from, burst_);
    if (count == 0) return 0;
    counters_[index(from)].received += count;
    std::span<frame> const burst{burst_.data(), count};
    for (frame& f : burst) {  // the slots are used again: nothing of the last burst may remain
        f.arrival = from;
        f.outcome = verdict::forward;
        f.reason = drop_reason::none;
    }
    engine_.process(burst, now, outbox_);
    send_outcomes(burst, from);
    send_originated();
    return count;
}

template <packet_io Io, packet_engine Engine, packet_io InsideIo>
void pump<Io, Engine, InsideIo>::send_outcomes(std::span<frame const> burst, side from) noexcept {
    batch& onward = batches_[index(other(from))];
    batch& back = batches_[index(from)];
    for (frame const& f : burst) {
        if (f.outcome == verdict::forward) onward.add(f.bytes(), f.offload);
        if (f.outcome == verdict::reply) back.add(f.bytes(), f.offload);
    }
    passed_ += onward.count;
    flush(other(from), onward);
    flush(from, back);
}

template <packet_io Io, packet_engine Engine, packet_io InsideIo>
void pump<Io, Engine, InsideIo>::send_originated() noexcept {
    for (outbox_frame const& f : outbox_.frames()) {
        batch& frames = batches_[index(f.exit)];
        frames.add(f.bytes(), f.offload());
        if (frames.count == frames.frames.size()) flush(f.exit, frames);
    }
    flush(side::outside, batches_[index(side::outside)]);
    flush(side::inside, batches_[index(side::inside)]);
    outbox_.clear();
}

template <packet_io Io, packet_engine Engine, packet_io InsideIo>
void pump<Io, Engine, InsideIo>::flush(side port, batch& frames) noexcept {
    if (frames.count == 0) return;
    std::size_t const taken = transmit(port, {frames.frames.data(), frames.count});
    counters_[index(port)].sent += taken;
    counters_[index(port)].not_taken += frames.count - taken;
    frames.count = 0;
}

template <packet_io Io, packet_engine Engine, packet_io InsideIo>
void pump<Io, Engine, InsideIo>::set_flooded(bool on) noexcept {
    if constexpr (flood_aware_io<Io>) outside_.set_flooded(on);
    if constexpr (flood_aware_io<InsideIo>) inside_.set_flooded(on);
}

template <packet_io Io, packet_engine Engine, packet_io InsideIo>
std::size_t pump<Io, Engine, InsideIo>::receive(side port, std::span<frame> frames) noexcept {
    return port == side::outside ? outside_.receive(frames) : inside_.receive(frames);
}

template <packet_io Io, packet_engine Engine, packet_io InsideIo>
std::size_t pump<Io, Engine, InsideIo>::transmit(side port, std::span<tx_frame const> frames) noexcept {
    return port == side::outside ? outside_.transmit(frames) : inside_.transmit(frames);
}

}  // namespace halfproxy
