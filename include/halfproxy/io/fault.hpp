// SPDX-License-Identifier: BSL-1.0
// A bad wire in front of any port: frames received through it are lost, repeated, reordered, delayed and corrupted by seed.
#pragma once

#include <halfproxy/core/random.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/io/packet_io.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace halfproxy {

/// How often what happens, as probabilities from 0 to 1, drawn for each frame in the order of the members. A frame
/// that is dropped suffers nothing else; one is either delayed or reordered, not both.
struct fault_plan {
    double drop = 0;
    double corrupt = 0;    ///< one random bit is flipped
    double duplicate = 0;  ///< a second copy follows, unharmed by the rest of the plan
    double delay = 0;
    double reorder = 0;
    std::chrono::nanoseconds delay_least = std::chrono::milliseconds(1);
    std::chrono::nanoseconds delay_most = std::chrono::milliseconds(10);
    std::uint32_t reorder_gap = 1;  ///< frames that overtake a reordered one
    std::chrono::nanoseconds reorder_wait = std::chrono::milliseconds(10);  ///< when so many do not come
    std::uint64_t seed = 1;
    std::size_t slots = 64;            ///< frames that may be held back at a time
    std::uint32_t slot_bytes = 2048;   ///< longest frame that can be held back or repeated
};

/// What happened; each frame of the inner port is counted as received, and under every fault it suffered.
struct fault_counters {
    std::uint64_t received = 0;
    std::uint64_t dropped = 0;
    std::uint64_t corrupted = 0;
    std::uint64_t duplicated = 0;
    std::uint64_t delayed = 0;
    std::uint64_t reordered = 0;
    std::uint64_t no_slot = 0;  ///< faults that were due but found no slot: the frame passed without them
};

/// Decorates the receiving side of `Io`, which must outlive it; transmit() passes through. All memory is taken in the
/// constructor. Same plan, same frames, same times: same faults. Time stands still between calls of set_time().
/// receive() asks the inner port at most max_lost_bursts times, while every frame it gets is lost or held back.
template <packet_io Io>
class fault_io {
  public:
    static constexpr std::size_t max_lost_bursts = 16;

    fault_io(Io& inner, fault_plan const& plan);

    void set_time(time_point now) noexcept { now_ = now; }
    /// When the earliest frame held back is due; nothing when none is held back.
    [[nodiscard]] std::optional<time_point> next_release() const noexcept;

    std::size_t receive(std::span<frame> in) noexcept;
    std::size_t transmit(std::span<tx_frame const> out) noexcept { return inner_->transmit(out); }
    [[nodiscard]] io_capabilities capabilities() const noexcept { return inner_->capabilities(); }
    /// Becomes readable for the inner port's frames only: a loop must also wake at next_release().
    [[nodiscard]] int native_handle() const noexcept
        requires pollable_packet_io<Io>
    {
        return inner_->native_handle();
    }
    void set_flooded(bool on) noexcept
        requires flood_aware_io<Io>
    {
        inner_->set_flooded(on);
    }

    [[nodiscard]] fault_counters const& counters() const noexcept { return counters_; }

  private:
    enum class slot_state : std::uint8_t { free, held, delivered };
    struct slot {
        frame content{};
        time_point due{};
        std::uint64_t order = 0;  // of two due at once, the one held first
        std::uint32_t gap = 0;    // frames that still have to pass; 0 when only time counts
        slot_state state = slot_state::free;
    };

    [[nodiscard]] bool happens(double probability) noexcept;
    [[nodiscard]] bool hold(frame const& f, time_point due, std::uint32_t gap) noexcept;
    [[nodiscard]] slot* earliest_due() noexcept;
    std::size_t deliver_due(std::span<frame> in) noexcept;
    [[nodiscard]] bool passes(frame& f) noexcept;
    void corrupt(frame& f) noexcept;
    void count_passed() noexcept;

    Io* inner_;
    fault_plan plan_;
    split_mix64 random_;
    std::vector<std::uint8_t> bytes_;
    std::vector<slot> slots_;
    std::uint64_t order_ = 0;
    time_point now_{};
    fault_counters counters_{};
};

}  // namespace halfproxy

#include <halfproxy/io/impl/fault.hpp>
