// SPDX-License-Identifier: BSL-1.0
// An engine that is a piece of wire, with knobs: for tests of what stands around an engine.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/outbox.hpp>
#include <halfproxy/core/time.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace halfproxy::test {

/// Passes every frame, unless the frame's first byte is one of the commands below. Remembers what it was told.
class wire_engine {
  public:
    static constexpr std::uint8_t reply_to_it = 0xf1;
    static constexpr std::uint8_t hold_it = 0xf2;
    static constexpr std::uint8_t drop_it = 0xf3;
    static constexpr std::uint8_t originate_to_both = 0xf4;  ///< forwarded, and one frame {0xee} for each port

    void process(std::span<frame> burst, time_point now, outbox& out) noexcept {
        ++bursts;
        last_time = now;
        for (frame& f : burst) {
            (f.arrival == side::outside ? from_outside : from_inside) += 1;
            stale_outcomes += f.outcome != verdict::forward || f.reason != drop_reason::none;
            act(f, out);
        }
    }

    void advance(time_point now, outbox& out) noexcept {
        last_time = now;
        ++advances;
        deadline = next_after_advance;
        for (std::size_t i = 0; i < originate_on_advance; ++i) push(side::inside, out);
    }

    [[nodiscard]] std::optional<time_point> next_deadline() const noexcept { return deadline; }

    void drain() noexcept { ++drains; }

    std::optional<time_point> deadline{};
    std::optional<time_point> next_after_advance{};
    std::size_t originate_on_advance = 0;
    time_point last_time{};
    std::size_t bursts = 0;
    std::size_t advances = 0;
    std::size_t from_outside = 0;
    std::size_t from_inside = 0;
    std::size_t stale_outcomes = 0;
    std::size_t drains = 0;

  private:
    static void push(side exit, outbox& out) noexcept {
        std::uint8_t const content[] = {0xee};
        out.push(exit, content);
    }

    static void act(frame& f, outbox& out) noexcept {
        switch (f.length == 0 ? std::uint8_t{0} : f.data[0]) {
            case reply_to_it: f.outcome = verdict::reply; break;
            case hold_it: f.outcome = verdict::hold; break;
            case drop_it:
                f.outcome = verdict::drop;
                f.reason = drop_reason::rule_denied;
                break;
            case originate_to_both:
                push(side::outside, out);
                push(side::inside, out);
                break;
            default: break;
        }
    }
};

}  // namespace halfproxy::test
