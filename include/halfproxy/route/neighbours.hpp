// SPDX-License-Identifier: BSL-1.0
// Who is at which link address, for both families: asks, waits, believes answers to its own questions only, and asks again.
//
// Read RFC 826, RFC 1122 section 2.3.2, RFC 4861 section 7.3 and RFC 6583 first. No clock: time is an argument.
//
//      (used) --> incomplete --answer--> reachable --silent for `reachable`--> stale
//                   |    ^                  ^   <-----------same answer---+     | used, or another claims it
//               no answer|                  +---------------------------- probe <
//                   v    +------ no answer, and it was used ---------------+
//                 failed --(after `failed_for`, used)--> incomplete
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/frame_pool.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/core/token_bucket.hpp>
#include <halfproxy/core/verdict.hpp>
#include <halfproxy/wire/address.hpp>
#include <halfproxy/wire/headers.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace halfproxy {

struct neighbour_config {
    std::uint32_t capacity = 1'024;
    std::chrono::milliseconds reachable{30'000};   ///< after an answer nothing is asked for so long (RFC 4861 section 10)
    std::chrono::milliseconds retry{1'000};        ///< between questions; RFC 1122 section 2.3.2.1 allows no less
    std::chrono::milliseconds failed_for{3'000};   ///< one that did not answer is not asked again for so long
    std::uint8_t questions = 3;                    ///< of each kind: to everybody, and to the address known
    std::uint32_t new_questions_per_second = 500;  ///< to everybody, about all together
    std::uint32_t waiting_frames = 64;             ///< packets that wait, for all together
    std::uint32_t waiting_frame_bytes = 2'048;     ///< the longest that may
    std::uint8_t waiting_each = 3;
    std::uint64_t seed = 0;
};

enum class neighbour_state : std::uint8_t { unused, incomplete, reachable, stale, probe, failed };

struct neighbour_counters {
    std::uint64_t resolved = 0;        ///< incomplete became reachable
    std::uint64_t confirmed = 0;       ///< probe became reachable, at the same link address
    std::uint64_t moved = 0;           ///< probe became reachable, at another
    std::uint64_t failed = 0;          ///< no answer
    std::uint64_t evicted = 0;         ///< gave way to another
    std::uint64_t not_believed = 0;    ///< said without being asked, and no reason to ask; or against an answer just given
};

struct neighbour {
    ip_address address{};
    side port = side::outside;
    neighbour_state state = neighbour_state::unused;
    mac_address mac{};
    bool ask_all = false;  ///< probe: another claims the address, so everybody is asked
    bool wanted = false;   ///< used since the last answer
    std::uint8_t asked = 0;
    std::uint8_t waiting_count = 0;
    time_point answered{};
    time_point used{};
    time_point due{};  ///< incomplete, probe: of the next question
    frame_queue waiting{};
    std::uint32_t next = 0;  ///< in its bucket, or free

    [[nodiscard]] bool has_mac() const noexcept {
        return state == neighbour_state::reachable || state == neighbour_state::stale || state == neighbour_state::probe;
    }
};

/// All memory is allocated in the constructor. What a message claims is believed when it answers a question of ours. Of a neighbour whose link
/// address is known, any other claim only makes us ask everybody, and for a second after an answer not even that: nobody enters the cache, or
/// replaces another in it, unasked.
class neighbour_cache {
  public:
    explicit neighbour_cache(neighbour_config const& config);

    /// The neighbour, about to be sent to; nullptr when there is no room for one more. With has_mac() its link address may be used. Otherwise
    /// it is being asked for, or has failed. Work: one bucket; for a new one at most `eviction_samples` looks for room.
    [[nodiscard]] neighbour* use(side port, ip_address const& address, time_point now) noexcept;

    /// Keeps a copy of a packet for a neighbour that is incomplete. None when it is kept; else why not. Beyond waiting_each the oldest
    /// gives way (RFC 4861 section 7.2.2) and is counted in dropped().
    [[nodiscard]] drop_reason wait(neighbour& n, frame const& f) noexcept;

    /// A message said that `address` is at `mac`; `asked_for` when it had the form of an answer to us. Returns the neighbour that has become
    /// known by it, with packets waiting, or nullptr.
    neighbour* hear(side port, ip_address const& address, std::optional<mac_address> const& mac, bool asked_for, time_point now) noexcept;

    /// Asks what is due. `ask(neighbour const&, mac_address const* at)` sends a question, to everybody when `at` is nullptr; false when it cannot
    /// now. `fail(frame&)` gets the packets that waited in vain, at most max_failures in one call.
    template <class Ask, class Fail>
    void run(time_point now, Ask&& ask, Fail&& fail) noexcept;

    /// When run() has something to do.
    [[nodiscard]] std::optional<time_point> next_deadline() const noexcept { return asking_ == 0 ? std::nullopt : std::optional(earliest_); }

    [[nodiscard]] frame_pool& waiting() noexcept { return waiting_; }
    [[nodiscard]] neighbour_counters const& counters() const noexcept { return counters_; }
    [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }  ///< packets that waited and gave way
    [[nodiscard]] neighbour const* find(side port, ip_address const& address) const noexcept;
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return entries_.size() * sizeof(neighbour) + heads_.size() * sizeof(std::uint32_t) + waiting_.memory_bytes();
    }

    static constexpr std::uint32_t eviction_samples = 16;
    static constexpr std::uint32_t max_failures = 16;
    static constexpr std::chrono::seconds locked_for{1};     ///< after an answer other claims are not believed
    static constexpr std::chrono::seconds evictable_after{60};  ///< a known neighbour nobody sent to for so long may give way

  private:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    [[nodiscard]] std::uint32_t& head(side port, ip_address const& address) noexcept;
    [[nodiscard]] std::size_t bucket(side port, ip_address const& address) const noexcept;
    [[nodiscard]] neighbour* find_entry(side port, ip_address const& address) noexcept;
    [[nodiscard]] neighbour* add(side port, ip_address const& address, time_point now) noexcept;
    [[nodiscard]] std::uint32_t make_room(time_point now, bool of_incomplete) noexcept;
    [[nodiscard]] int worth(neighbour const& n, time_point now, bool of_incomplete) const noexcept;
    void begin_asking(neighbour& n, neighbour_state state, time_point now) noexcept;
    void end_asking(neighbour& n, neighbour_state state) noexcept;
    void release(std::uint32_t number) noexcept;
    void answered(neighbour& n, mac_address const& mac, time_point now) noexcept;
    template <class Ask>
    [[nodiscard]] bool ask_once(neighbour& n, time_point now, Ask& ask) noexcept;
    template <class Fail>
    [[nodiscard]] bool give_up(neighbour& n, time_point now, std::uint32_t& failures, Fail& fail) noexcept;
    [[nodiscard]] static bool asking(neighbour const& n) noexcept {
        return n.state == neighbour_state::incomplete || n.state == neighbour_state::probe;
    }
    [[nodiscard]] static stamp_ms stamp(time_point now) noexcept {
        return {static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count())};
    }

    neighbour_config config_;
    std::vector<neighbour> entries_;
    std::vector<std::uint32_t> heads_;
    frame_pool waiting_;
    token_bucket new_questions_;
    neighbour_counters counters_{};
    std::uint64_t dropped_ = 0;
    time_point earliest_{};
    std::uint32_t free_ = none;
    std::uint32_t hand_ = 0;       ///< where the next search for room begins
    std::uint32_t incomplete_ = 0;
    std::uint32_t asking_ = 0;     ///< incomplete or probe
};

}  // namespace halfproxy

#include <halfproxy/route/impl/neighbours.hpp>
