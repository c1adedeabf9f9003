// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/sync/sync_journal.hpp>

namespace halfproxy {

template <class Address>
void sync_journal::closed(flow<Address> const& f, std::uint32_t number) noexcept {
    family<Address>& s = of<Address>();
    bool const was_told = (s.status[number] & told) != 0;
    s.status[number] &= in_queue;
    if (!was_told || !recording_) return;
    if (s.removal_count == s.removals.size()) {
        overflowed_ = true;
        return;
    }
    s.removals[(s.removal_front + s.removal_count++) % s.removals.size()] = f.key(0);
}

inline void sync_journal::begin_recording() noexcept {
    auto const begin = [](auto& s) {
        s.queue_front = s.queue_count = 0;
        s.removal_front = s.removal_count = 0;
    };
    begin(v4_);
    begin(v6_);
    clear(static_cast<std::uint8_t>(in_queue | told));
    recording_ = true;
    overflowed_ = false;
}

template <class Address>
void sync_journal::enqueue(std::uint32_t number) noexcept {
    family<Address>& s = of<Address>();
    if ((s.status[number] & in_queue) != 0) return;
    s.status[number] |= in_queue;
    s.queue[(s.queue_front + s.queue_count++) % s.queue.size()] = number;
}

template <class Address>
std::optional<std::uint32_t> sync_journal::dequeue() noexcept {
    family<Address>& s = of<Address>();
    if (s.queue_count == 0) return std::nullopt;
    std::uint32_t const number = s.queue[s.queue_front];
    s.queue_front = static_cast<std::uint32_t>((s.queue_front + 1) % s.queue.size());
    --s.queue_count;
    s.status[number] &= static_cast<std::uint8_t>(~in_queue);
    return number;
}

template <class Address>
void sync_journal::drop_first_removal() noexcept {
    family<Address>& s = of<Address>();
    s.removal_front = static_cast<std::uint32_t>((s.removal_front + 1) % s.removals.size());
    --s.removal_count;
}

inline void sync_journal::clear(std::uint8_t bits) noexcept {
    for (std::uint8_t& status : v4_.status) status &= static_cast<std::uint8_t>(~bits);
    for (std::uint8_t& status : v6_.status) status &= static_cast<std::uint8_t>(~bits);
}

}  // namespace halfproxy
