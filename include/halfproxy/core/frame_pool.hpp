// SPDX-License-Identifier: BSL-1.0
// Copies of frames that wait for something: a fixed number of slots of one size, in queues, handed to an outbox without another copy.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/outbox.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace halfproxy {

/// Frames of a pool, first in, first out. Plain data: whoever holds one gives its frames back before forgetting it.
struct frame_queue {
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    std::uint32_t first = none;
    std::uint32_t last = none;

    [[nodiscard]] bool empty() const noexcept { return first == none; }
};

/// Allocates once, in its constructor. A slot is free, in one queue, or lent to an outbox.
///
/// Shape of a frame's stay: keep() copies it into a queue; lend_front() puts the oldest of a queue into an outbox, where its bytes must
/// stay until the outbox was sent; reclaim() frees all that were lent and is called when the next burst begins. drop_front() frees
/// the oldest at once.
class frame_pool {
  public:
    /// `slot_bytes` is the longest frame it can keep.
    frame_pool(std::uint32_t slots, std::uint32_t slot_bytes)
        : slot_bytes_(slot_bytes), bytes_(std::size_t{slots} * slot_bytes), slots_(slots) {
        for (std::uint32_t i = slots; i > 0; --i) push(free_, i - 1);
    }

    [[nodiscard]] bool can_keep(frame const& f) const noexcept { return !free_.empty() && f.length <= slot_bytes_; }

    /// Copies the frame to the end of the queue. False, and nothing changed, when no slot is free or the frame is too long.
    bool keep(frame_queue& queue, frame const& f) noexcept {
        if (!can_keep(f)) return false;
        std::uint32_t const number = pop(free_);
        frame& copy = slots_[number].held;
        copy = f;
        copy.data = &bytes_[std::size_t{number} * slot_bytes_];
        copy.capacity = slot_bytes_;
        std::memcpy(copy.data, f.data, f.length);
        push(queue, number);
        ++waiting_;
        return true;
    }

    /// A free slot at the end of the queue, its content undefined: `data` and `capacity` are set, all else is to be. There must be one.
    [[nodiscard]] frame& open(frame_queue& queue) noexcept {
        std::uint32_t const number = pop(free_);
        frame& opened = slots_[number].held;
        opened = {};
        opened.data = &bytes_[std::size_t{number} * slot_bytes_];
        opened.capacity = slot_bytes_;
        push(queue, number);
        ++waiting_;
        return opened;
    }

    /// The oldest of a queue that is not empty; may be changed in place, up to its capacity.
    [[nodiscard]] frame& front(frame_queue const& queue) noexcept { return slots_[queue.first].held; }

    void drop_front(frame_queue& queue) noexcept {
        push(free_, pop(queue));
        --waiting_;
    }

    /// Moves the oldest of one queue to the end of another.
    void move_front(frame_queue& from, frame_queue& to) noexcept { push(to, pop(from)); }

    /// The oldest leaves through `exit`. False, and it stays in the queue, when the outbox is full.
    bool lend_front(frame_queue& queue, side exit, outbox& out) noexcept {
        if (!out.lend(exit, front(queue))) return false;
        push(lent_, pop(queue));
        --waiting_;
        ++lent_now_;
        return true;
    }

    /// What was lent has been sent.
    void reclaim() noexcept {
        while (!lent_.empty()) push(free_, pop(lent_));
        lent_now_ = 0;
    }

    [[nodiscard]] std::uint32_t waiting() const noexcept { return waiting_; }  ///< frames in queues
    [[nodiscard]] std::uint32_t available() const noexcept { return static_cast<std::uint32_t>(slots_.size()) - waiting_ - lent_now_; }
    [[nodiscard]] std::uint32_t slot_bytes() const noexcept { return slot_bytes_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return bytes_.size() + slots_.size() * sizeof(slot); }

  private:
    struct slot {
        frame held{};
        std::uint32_t next = frame_queue::none;
    };

    void push(frame_queue& queue, std::uint32_t number) noexcept {
        slots_[number].next = frame_queue::none;
        if (queue.empty())
            queue.first = number;
        else
            slots_[queue.last].next = number;
        queue.last = number;
    }

    std::uint32_t pop(frame_queue& queue) noexcept {
        std::uint32_t const number = queue.first;
        queue.first = slots_[number].next;
        return number;
    }

    std::uint32_t slot_bytes_;
    std::uint32_t waiting_ = 0;
    std::uint32_t lent_now_ = 0;
    std::vector<std::uint8_t> bytes_;
    std::vector<slot> slots_;
    frame_queue free_{};
    frame_queue lent_{};
};

}  // namespace halfproxy
