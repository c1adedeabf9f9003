// SPDX-License-Identifier: BSL-1.0
// The steps of fault_io: what is due goes first, then each new frame meets the plan.
#pragma once

#include <halfproxy/io/fault.hpp>

#include <algorithm>
#include <cstring>

namespace halfproxy {

template <packet_io Io>
fault_io<Io>::fault_io(Io& inner, fault_plan const& plan)
    : inner_(&inner),
      plan_(plan),
      random_(plan.seed),
      bytes_(plan.slots * (std::size_t{plan.slot_bytes} + frame_slack_bytes)),
      slots_(plan.slots) {}

/// 53 random bits, as many as a double holds, against the probability.
template <packet_io Io>
bool fault_io<Io>::happens(double probability) noexcept {
    return static_cast<double>(random_() >> 11) * 0x1p-53 < probability;
}

template <packet_io Io>
std::optional<time_point> fault_io<Io>::next_release() const noexcept {
    std::optional<time_point> earliest;
    for (slot const& s : slots_)
        if (s.state == slot_state::held && (!earliest || s.due < *earliest)) earliest = s.due;
    return earliest;
}

template <packet_io Io>
bool fault_io<Io>::hold(frame const& f, time_point due, std::uint32_t gap) noexcept {
    auto const s = std::find_if(slots_.begin(), slots_.end(), [](slot const& x) { return x.state == slot_state::free; });
    if (s == slots_.end() || f.length > plan_.slot_bytes) {
        ++counters_.no_slot;
        return false;
    }
    std::size_t const room = std::size_t{plan_.slot_bytes} + frame_slack_bytes;
    std::uint8_t* const data = bytes_.data() + static_cast<std::size_t>(s - slots_.begin()) * room;
    if (f.length != 0) std::memcpy(data, f.data, f.length);
    *s = {f, due, order_++, gap, slot_state::held};
    s->content.data = data;
    s->content.capacity = static_cast<std::uint32_t>(room);
    return true;
}

template <packet_io Io>
typename fault_io<Io>::slot* fault_io<Io>::earliest_due() noexcept {
    slot* found = nullptr;
    for (slot& s : slots_) {
        if (s.state != slot_state::held || s.due > now_) continue;
        if (found == nullptr || s.due < found->due || (s.due == found->due && s.order < found->order)) found = &s;
    }
    return found;
}

template <packet_io Io>
std::size_t fault_io<Io>::deliver_due(std::span<frame> in) noexcept {
    std::size_t count = 0;
    while (count < in.size()) {
        slot* const s = earliest_due();
        if (s == nullptr) break;
        s->state = slot_state::delivered;
        in[count++] = s->content;
    }
    return count;
}

template <packet_io Io>
void fault_io<Io>::corrupt(frame& f) noexcept {
    if (f.length == 0) return;
    std::uint32_t const bit = random_.below(f.length * 8);
    f.data[bit / 8] = static_cast<std::uint8_t>(f.data[bit / 8] ^ 1u << bit % 8);
    // A device would not have vouched for this.
    if (f.offload.checksum == checksum_state::verified) f.offload.checksum = checksum_state::unknown;
    ++counters_.corrupted;
}

/// A frame overtakes what waits for it to pass.
template <packet_io Io>
void fault_io<Io>::count_passed() noexcept {
    for (slot& s : slots_)
        if (s.state == slot_state::held && s.gap != 0 && --s.gap == 0) s.due = std::min(s.due, now_);
}

/// False when the frame does not go on now: dropped, or held back.
template <packet_io Io>
bool fault_io<Io>::passes(frame& f) noexcept {
    ++counters_.received;
    if (happens(plan_.drop)) return ++counters_.dropped, false;
    if (happens(plan_.corrupt)) corrupt(f);
    if (happens(plan_.duplicate) && hold(f, now_, 0)) ++counters_.duplicated;
    if (happens(plan_.delay)) {
        auto const range = std::max<std::int64_t>((plan_.delay_most - plan_.delay_least).count(), 0);
        auto const extra = static_cast<std::int64_t>(random_() % (static_cast<std::uint64_t>(range) + 1));
        if (hold(f, now_ + plan_.delay_least + std::chrono::nanoseconds(extra), 0)) return ++counters_.delayed, false;
    } else if (happens(plan_.reorder)) {
        if (hold(f, now_ + plan_.reorder_wait, std::max(plan_.reorder_gap, 1u))) return ++counters_.reordered, false;
    }
    return true;
}

template <packet_io Io>
std::size_t fault_io<Io>::receive(std::span<frame> in) noexcept {
    for (slot& s : slots_)
        if (s.state == slot_state::delivered) s.state = slot_state::free;
    std::size_t count = deliver_due(in);
    // A burst of which nothing is left must not look like an empty port; frames of an earlier one must stay valid.
    for (std::size_t bursts = 0; bursts < max_lost_bursts; ++bursts) {
        std::span<frame> const fresh = in.subspan(count, inner_->receive(in.subspan(count)));
        for (frame& f : fresh) {
            if (!passes(f)) continue;
            count_passed();
            in[count++] = f;
        }
        if (count != 0 || fresh.empty()) break;
    }
    return count + deliver_due(in.subspan(count));
}

}  // namespace halfproxy
