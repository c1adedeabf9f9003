// SPDX-License-Identifier: BSL-1.0
// A lazy timing wheel over record numbers: arming, moving and cancelling are O(1), and a deadline that only moves later costs nothing.
//
// The scheme is Varghese and Lauck's (SOSP 1987), scheme 6, made lazy: the wheel does not know the deadlines. It asks the
// owner when the slot comes up; an owner whose deadline has moved on answers with the new one and is filed again.
#pragma once

#include <halfproxy/core/time.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace halfproxy {

/// What a record holds for the wheel. An entry that is in no slot is `timer_link{}`.
struct timer_link {
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    static constexpr std::uint32_t head_bit = 0x8000'0000u;  ///< in prev: the entry is the first of slot (prev & ~head_bit)

    std::uint32_t next = none;
    std::uint32_t prev = none;

    [[nodiscard]] constexpr bool armed() const noexcept { return prev != none; }
};

/// How the wheel reaches the link of a record number. Numbers are below 2^31.
///
/// Exemplar:
///     struct record_links {
///         record* records;
///         timer_link& link(std::uint32_t index) const noexcept { return records[index].timer; }
///     };
/// Models: the engine's over its flow tables, the vector in tests/track/timer_wheel_test.cpp.
template <class Links>
concept timer_links = requires(Links& links, std::uint32_t index) {
    { links.link(index) } noexcept -> std::same_as<timer_link&>;
};

/// One level of `Slots` slots of `SlotMs` milliseconds. An entry is called up at the first advance() whose time is at or
/// after its deadline rounded up to a slot: never early, less than one slot late. A deadline beyond the horizon is called up at
/// the horizon, and so is every entry that is armed while the wheel lags more than that behind: the callback compares with
/// the record's own deadline and answers with it. Time may stand still, jump, and wrap at 2^32 ms; deadlines and two calls
/// of advance() lie less than 2^31 ms apart.
template <timer_links Links, std::uint32_t SlotMs = 64, std::uint32_t Slots = 4096>
class timer_wheel {
  public:
    static_assert(std::has_single_bit(Slots) && Slots >= 64 && Slots <= 4096, "one summary word covers 64 words of 64 slots");
    static_assert(SlotMs > 0 && std::uint64_t{SlotMs} * Slots < (std::uint64_t{1} << 31));
    static constexpr std::uint32_t horizon_ms = SlotMs * (Slots - 1);

    explicit timer_wheel(Links links, stamp_ms start = {}) noexcept : links_(links), now_(start) { heads_.fill(timer_link::none); }

    /// Files the entry under `deadline`, moving it when it was armed. A deadline that has passed is called up in the next
    /// slot. To move a deadline *later* no call is needed: answer with it when called up. O(1).
    void arm(std::uint32_t index, stamp_ms deadline) noexcept;

    /// Takes the entry out; nothing when it was not armed. Needed before its record goes away. O(1).
    void cancel(std::uint32_t index) noexcept;

    [[nodiscard]] bool armed(std::uint32_t index) noexcept { return links_.link(index).armed(); }

    /// Moves the time forward (an earlier time is taken as the last one) and calls up what is due: callback(index) ->
    /// std::optional<stamp_ms>, a new deadline or nothing to leave it unarmed. The entry is unarmed before the call; the
    /// callback may arm and cancel any entry, and erase any record whose entry it cancels. At most `budget` calls; what is
    /// left is due at once in the next advance(). Work: `budget` calls and as many slots. Returns the number of calls.
    template <class Callback>
    std::uint32_t advance(stamp_ms now, std::uint32_t budget, Callback&& callback);

    /// When advance() next has something to call up, a time already passed when its budget ran out, or nothing when no entry is armed. O(1).
    [[nodiscard]] std::optional<stamp_ms> next_deadline() const noexcept;

    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }  ///< entries armed
    [[nodiscard]] stamp_ms now() const noexcept { return now_; }

  private:
    static constexpr std::uint32_t words = Slots / 64;

    // Ticks count slots since the start in 64 bits, so that only this conversion knows of the stamps' wrap.
    [[nodiscard]] std::uint64_t ticks_now() const noexcept { return elapsed_ms_ / SlotMs; }
    [[nodiscard]] static constexpr std::uint32_t slot_of(std::uint64_t tick) noexcept {
        return static_cast<std::uint32_t>(tick % Slots);
    }
    [[nodiscard]] std::uint64_t tick_for(stamp_ms deadline) const noexcept;
    [[nodiscard]] std::optional<std::uint64_t> first_filled() const noexcept;
    void move_to(stamp_ms now) noexcept;
    void push(std::uint32_t slot, std::uint32_t index) noexcept;
    void unlink(std::uint32_t index) noexcept;
    void mark_empty(std::uint32_t slot) noexcept;

    Links links_;
    stamp_ms now_;
    std::uint64_t elapsed_ms_ = 0;  // from start to now_
    std::uint64_t position_ = 1;    // the first tick not yet emptied; filed entries lie in [position_, position_ + Slots)
    std::uint32_t size_ = 0;
    std::uint64_t summary_ = 0;  // bit w: filled_[w] is not 0
    std::array<std::uint64_t, words> filled_{};
    std::array<std::uint32_t, Slots> heads_;
};

}  // namespace halfproxy

#include <halfproxy/track/impl/timer_wheel.hpp>
