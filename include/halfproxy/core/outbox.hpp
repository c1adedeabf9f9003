// SPDX-License-Identifier: BSL-1.0
// Where the engine puts packets it must originate, and frames it has held: a fixed number, each for one port.
#pragma once

#include <halfproxy/core/bytes.hpp>
#include <halfproxy/core/frame.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace halfproxy {

/// Room of one originated packet: link header with four VLAN tags (30), IPv6 (40), TCP with timestamps (32) and the longest header of the PROXY
/// protocol (104), or with all options (60).
inline constexpr std::size_t outbox_frame_bytes = 208;

/// At most this many packets are originated for one received packet (a challenge or an ACK, and a RST). Frames that were held leave
/// besides, as far as there is room; the others later.
inline constexpr std::size_t outbox_per_packet = 2;

/// At most this many packets leave in one call of engine::advance() (retransmitted SYNs, RSTs).
inline constexpr std::size_t outbox_per_advance = 256;

struct outbox_frame {
    std::array<std::uint8_t, outbox_frame_bytes> data;
    std::uint32_t length;
    side exit;  ///< the port it leaves through
    std::uint32_t via = 0;  ///< as a frame's
    frame* lent = nullptr;  ///< a frame that was held: its bytes stay where they are, and `data` is not used

    [[nodiscard]] byte_view bytes() const noexcept { return lent != nullptr ? byte_view(lent->bytes()) : byte_view(data.data(), length); }
    /// `data` for what works on frames; a length that it changes is to be taken over.
    [[nodiscard]] frame written(link_type link) noexcept {
        frame f;
        f.data = data.data();
        f.length = f.wire_length = length;
        f.capacity = outbox_frame_bytes;
        f.link = link;
        return f;
    }
    [[nodiscard]] std::uint32_t wire_length() const noexcept { return lent != nullptr ? lent->wire_length : length; }
    [[nodiscard]] offload_info offload() const noexcept { return lent != nullptr ? lent->offload : offload_info{}; }
};

/// Bounded; allocates once, in its constructor. The caller sends what is in it after each process() or
/// advance() and clears it.
class outbox {
  public:
    explicit outbox(std::size_t capacity) : slots_(capacity) {}

    /// A slot to write into, or nullptr when all are taken. The slot counts at once.
    [[nodiscard]] outbox_frame* claim(side exit) noexcept {
        if (used_ == slots_.size()) return nullptr;
        outbox_frame* slot = &slots_[used_++];
        slot->length = 0;
        slot->exit = exit;
        slot->via = 0;
        slot->lent = nullptr;
        return slot;
    }

    /// Copies a finished frame. False when it does not fit or no slot is free.
    bool push(side exit, byte_view bytes, std::uint32_t via = 0) noexcept {
        if (bytes.size() > outbox_frame_bytes) return false;
        outbox_frame* slot = claim(exit);
        if (slot == nullptr) return false;
        std::memcpy(slot->data.data(), bytes.data(), bytes.size());
        slot->length = static_cast<std::uint32_t>(bytes.size());
        slot->via = via;
        return true;
    }

    /// Takes a frame without copying it: it must stay as it is until clear(). False when no slot is free.
    bool lend(side exit, frame& held) noexcept {
        outbox_frame* slot = claim(exit);
        if (slot == nullptr) return false;
        slot->length = held.length;
        slot->via = held.via;
        slot->lent = &held;
        return true;
    }

    [[nodiscard]] std::span<outbox_frame const> frames() const noexcept { return {slots_.data(), used_}; }
    [[nodiscard]] std::size_t used() const noexcept { return used_; }

    /// Shows each frame from the `first`-th on, which may be changed, to `leaves(outbox_frame&)`; those for which it is false are taken out.
    /// The others keep their order. `leaves` must not claim slots.
    template <class Leaves>
    void keep_if(std::size_t first, Leaves&& leaves) noexcept {
        std::size_t kept = first;
        for (std::size_t i = first; i < used_; ++i) {
            if (!leaves(slots_[i])) continue;
            if (kept != i) slots_[kept] = slots_[i];
            ++kept;
        }
        used_ = kept < used_ ? kept : used_;
    }

    [[nodiscard]] std::size_t room() const noexcept { return slots_.size() - used_; }
    void clear() noexcept { used_ = 0; }

  private:
    std::vector<outbox_frame> slots_;
    std::size_t used_ = 0;
};

}  // namespace halfproxy
