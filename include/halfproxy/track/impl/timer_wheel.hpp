// SPDX-License-Identifier: BSL-1.0
// Bodies of track/timer_wheel.hpp.
#pragma once

#include <halfproxy/track/timer_wheel.hpp>

namespace halfproxy {

template <timer_links Links, std::uint32_t SlotMs, std::uint32_t Slots>
void timer_wheel<Links, SlotMs, Slots>::arm(std::uint32_t index, stamp_ms deadline) noexcept {
    cancel(index);
    push(slot_of(tick_for(deadline)), index);
}

template <timer_links Links, std::uint32_t SlotMs, std::uint32_t Slots>
void timer_wheel<Links, SlotMs, Slots>::cancel(std::uint32_t index) noexcept {
    if (links_.link(index).armed()) unlink(index);
}

template <timer_links Links, std::uint32_t SlotMs, std::uint32_t Slots>
template <class Callback>
std::uint32_t timer_wheel<Links, SlotMs, Slots>::advance(stamp_ms now, std::uint32_t budget, Callback&& callback) {
    move_to(now);
    for (std::uint32_t calls = 0; calls < budget; ++calls) {
        std::optional<std::uint64_t> const tick = first_filled();
        if (!tick || *tick > ticks_now()) {
            position_ = std::max(position_, ticks_now() + 1);
            return calls;
        }
        position_ = *tick;
        std::uint32_t const index = heads_[slot_of(*tick)];
        unlink(index);
        if (std::optional<stamp_ms> const next = callback(index)) arm(index, *next);
    }
    return budget;
}

template <timer_links Links, std::uint32_t SlotMs, std::uint32_t Slots>
std::optional<stamp_ms> timer_wheel<Links, SlotMs, Slots>::next_deadline() const noexcept {
    std::optional<std::uint64_t> const tick = first_filled();
    if (!tick) return std::nullopt;
    return now_ + static_cast<std::uint32_t>(*tick * SlotMs - elapsed_ms_);
}

// Always behind the slot being emptied, even when that slot lags, so a callback that answers with the past cannot keep advance() there.
template <timer_links Links, std::uint32_t SlotMs, std::uint32_t Slots>
std::uint64_t timer_wheel<Links, SlotMs, Slots>::tick_for(stamp_ms deadline) const noexcept {
    std::uint32_t const ahead_ms = static_cast<std::uint32_t>(std::max(deadline - now_, std::int32_t{0}));
    std::uint64_t const tick = (elapsed_ms_ + ahead_ms + SlotMs - 1) / SlotMs;
    return std::min(std::max(tick, ticks_now() + 1), position_ + Slots - 1);
}

// A jump of a whole turn makes every slot due. Their ticks are then counted from the other end of the turn, which keeps them all
// between position_ and now.
template <timer_links Links, std::uint32_t SlotMs, std::uint32_t Slots>
void timer_wheel<Links, SlotMs, Slots>::move_to(stamp_ms now) noexcept {
    std::int32_t const step_ms = now - now_;
    if (step_ms <= 0) return;
    now_ = now;
    elapsed_ms_ += static_cast<std::uint32_t>(step_ms);
    if (ticks_now() >= position_ + Slots) position_ = ticks_now() - Slots + 1;
}

template <timer_links Links, std::uint32_t SlotMs, std::uint32_t Slots>
std::optional<std::uint64_t> timer_wheel<Links, SlotMs, Slots>::first_filled() const noexcept {
    if (summary_ == 0) return std::nullopt;
    std::uint32_t const start = slot_of(position_);
    std::uint32_t word = start / 64;
    std::uint64_t bits = filled_[word] & ~std::uint64_t{0} << start % 64;
    if (bits == 0) {
        std::uint64_t const behind = summary_ & ~((std::uint64_t{2} << word) - 1);
        word = static_cast<std::uint32_t>(std::countr_zero(behind != 0 ? behind : summary_));
        bits = filled_[word];
    }
    std::uint32_t const slot = word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
    return position_ + (slot - start) % Slots;
}

template <timer_links Links, std::uint32_t SlotMs, std::uint32_t Slots>
void timer_wheel<Links, SlotMs, Slots>::push(std::uint32_t slot, std::uint32_t index) noexcept {
    timer_link& entry = links_.link(index);
    entry.next = heads_[slot];
    entry.prev = slot | timer_link::head_bit;
    if (entry.next != timer_link::none) links_.link(entry.next).prev = index;
    heads_[slot] = index;
    filled_[slot / 64] |= std::uint64_t{1} << slot % 64;
    summary_ |= std::uint64_t{1} << slot / 64;
    ++size_;
}

template <timer_links Links, std::uint32_t SlotMs, std::uint32_t Slots>
void timer_wheel<Links, SlotMs, Slots>::unlink(std::uint32_t index) noexcept {
    timer_link& entry = links_.link(index);
    if (entry.next != timer_link::none) links_.link(entry.next).prev = entry.prev;
    if ((entry.prev & timer_link::head_bit) == 0) {
        links_.link(entry.prev).next = entry.next;
    } else {
        std::uint32_t const slot = entry.prev & ~timer_link::head_bit;
        heads_[slot] = entry.next;
        if (entry.next == timer_link::none) mark_empty(slot);
    }
    entry = timer_link{};
    --size_;
}

template <timer_links Links, std::uint32_t SlotMs, std::uint32_t Slots>
void timer_wheel<Links, SlotMs, Slots>::mark_empty(std::uint32_t slot) noexcept {
    std::uint64_t& bits = filled_[slot / 64];
    bits &= ~(std::uint64_t{1} << slot % 64);
    if (bits == 0) summary_ &= ~(std::uint64_t{1} << slot / 64);
}

}  // namespace halfproxy
