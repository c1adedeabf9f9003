// SPDX-License-Identifier: BSL-1.0
// What is remembered of an engine's flows for the other half proxy's sake, by their numbers: what it was told, what it has told, what is still to be told.
#pragma once

#include <halfproxy/engine/config.hpp>
#include <halfproxy/engine/flow.hpp>
#include <halfproxy/engine/policies.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

namespace halfproxy {

/// One for each engine, filled by a sync_tap, read by sync_sender and sync_receiver. Memory: 5 bytes for each flow of the limits, and the removals; all is
/// allocated in the constructor. Work of every member: constant, unless it says otherwise.
class sync_journal {
  public:
    /// `removals`: flows of each family that have ended and of which the other has still to hear.
    sync_journal(limits_config const& limits, std::uint32_t removals)
        : v4_(limits.flows_v4, removals), v6_(limits.flows_v6, removals) {}

    // --- What the engine says -------------------------------------------------------------------------------------------
    template <class Address>
    void opened(std::uint32_t number) noexcept {
        of<Address>().status[number] &= in_queue;
        if (recording_) enqueue<Address>(number);
    }
    template <class Address>
    void closed(flow<Address> const& f, std::uint32_t number) noexcept;

    // --- To be told -------------------------------------------------------------------------------------------------------
    /// Everything is to be told anew; what happens from now on is noted. Linear in the flows of the limits.
    void begin_recording() noexcept;
    void end_recording() noexcept { recording_ = false; }
    /// A removal was lost for want of room: all that is known of the other is out of date.
    [[nodiscard]] bool overflowed() const noexcept { return overflowed_; }

    /// To be looked at again, if it does not stand in the queue already.
    template <class Address>
    void enqueue(std::uint32_t number) noexcept;
    /// The flow that has waited longest to be told, or one that is gone meanwhile.
    template <class Address>
    [[nodiscard]] std::optional<std::uint32_t> dequeue() noexcept;
    template <class Address>
    [[nodiscard]] std::uint32_t queued() const noexcept {
        return of<Address>().queue_count;
    }
    /// The flow that ended first of those still to be told of.
    template <class Address>
    [[nodiscard]] flow_key<Address> const* first_removal() const noexcept {
        family<Address> const& f = of<Address>();
        return f.removal_count == 0 ? nullptr : &f.removals[f.removal_front];
    }
    template <class Address>
    void drop_first_removal() noexcept;

    template <class Address>
    [[nodiscard]] bool is_told(std::uint32_t number) const noexcept {
        return (of<Address>().status[number] & told) != 0;
    }
    template <class Address>
    void set_told(std::uint32_t number) noexcept {
        of<Address>().status[number] |= told;
    }

    // --- Told by the other ------------------------------------------------------------------------------------------------
    template <class Address>
    [[nodiscard]] bool is_adopted(std::uint32_t number) const noexcept {
        return (of<Address>().status[number] & adopted) != 0;
    }
    template <class Address>
    [[nodiscard]] bool is_confirmed(std::uint32_t number) const noexcept {
        return (of<Address>().status[number] & confirmed) != 0;
    }
    template <class Address>
    void set_adopted(std::uint32_t number) noexcept {
        of<Address>().status[number] |= adopted | confirmed;
    }
    /// What was adopted counts as our own from now on, or as not confirmed. Linear in the flows of the limits.
    void own_all() noexcept { clear(static_cast<std::uint8_t>(adopted | confirmed)); }
    void doubt_all() noexcept { clear(confirmed); }

    [[nodiscard]] std::size_t memory_bytes() const noexcept { return v4_.memory_bytes() + v6_.memory_bytes() + sizeof(*this); }

  private:
    static constexpr std::uint8_t in_queue = 1, told = 2, adopted = 4, confirmed = 8;

    template <class Address>
    struct family {
        std::vector<std::uint8_t> status;
        std::vector<std::uint32_t> queue;  ///< a ring; a flow stands in it once at most, so there is room for all
        std::vector<flow_key<Address>> removals;  ///< a ring
        std::uint32_t queue_front = 0, queue_count = 0;
        std::uint32_t removal_front = 0, removal_count = 0;

        family(std::uint32_t flows, std::uint32_t most) : status(flows), queue(flows), removals(most) {}
        [[nodiscard]] std::size_t memory_bytes() const noexcept {
            return status.size() + queue.size() * sizeof(queue[0]) + removals.size() * sizeof(removals[0]);
        }
    };
    template <class Address>
    [[nodiscard]] family<Address>& of() noexcept {
        if constexpr (std::is_same_v<Address, std::uint32_t>)
            return v4_;
        else
            return v6_;
    }
    template <class Address>
    [[nodiscard]] family<Address> const& of() const noexcept {
        if constexpr (std::is_same_v<Address, std::uint32_t>)
            return v4_;
        else
            return v6_;
    }
    void clear(std::uint8_t bits) noexcept;

    family<std::uint32_t> v4_;
    family<ipv6_bytes> v6_;
    bool recording_ = false;
    bool overflowed_ = false;
};

/// A flow_observer that fills a journal, or none. The journal outlives it.
class sync_tap {
  public:
    sync_tap() = default;
    explicit sync_tap(sync_journal& journal) noexcept : journal_(&journal) {}

    template <class Address>
    void opened(flow<Address> const&, std::uint32_t number) noexcept {
        if (journal_ != nullptr) journal_->opened<Address>(number);
    }
    template <class Address>
    void closed(flow<Address> const& f, std::uint32_t number) noexcept {
        if (journal_ != nullptr) journal_->closed(f, number);
    }
    void dropped(frame const&, drop_reason) noexcept {}

  private:
    sync_journal* journal_ = nullptr;
};

}  // namespace halfproxy

#include <halfproxy/sync/impl/sync_journal.hpp>
