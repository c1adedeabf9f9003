// SPDX-License-Identifier: BSL-1.0
// The backends of one service: who may get new flows now, how many each has, and what the packets tell of them.
#pragma once

#include <halfproxy/balance/backend.hpp>
#include <halfproxy/balance/fixed_list.hpp>
#include <halfproxy/balance/indexed_heap.hpp>
#include <halfproxy/balance/schedulers.hpp>
#include <halfproxy/core/time.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace halfproxy {

/// What the data path tells of a backend: SYNs it leaves unanswered or refuses. An inhibited one gets nothing new; its flows stay.
struct passive_checks {
    std::uint32_t failures = 3;            ///< in a row until it is inhibited; 0: never
    timeout_ms first_inhibition = 5'000;   ///< doubled whenever it fails again before it was good for as long as it was inhibited
    timeout_ms longest_inhibition = 300'000;
};

struct pool_config {
    timeout_ms slow_start = 0;  ///< until who was down, inhibited or not there gets its whole share
    halfproxy::on_down on_down = on_down::leave;
    passive_checks passive{};
    bool known_by_address = false;  ///< persistence tells servers apart by their addresses alone, for several services share it
};

/// Steps in which a slow start goes on.
inline constexpr std::uint32_t slow_start_steps = 16;
/// Backends looked at again in one tick() of a pool: the others with the next ones.
inline constexpr std::uint32_t wakeups_per_tick = 64;

/// Who gets a flow.
struct pool_choice {
    backend_index index = no_backend_index;
    bool limited = false;  ///< nobody: some would, but for their limits
    [[nodiscard]] explicit operator bool() const noexcept { return index != no_backend_index; }
};

/// Allocates in its constructor only. Everything may be changed between bursts while flows are open; what is said of time is said to tick() first. Work of
/// choose(), opened(), closed(), failed(), succeeded(): the scheduler's, and log2(backends) steps. configure() and set_weight() tell the scheduler of all
/// backends: with Maglev that builds the table.
template <scheduler Scheduler>
class backend_pool {
  public:
    /// Room for as many backends as the scheduler has, those included that were removed and still have flows.
    backend_pool(pool_config const& config, Scheduler const& scheduler);

    /// Takes over the other one's backends, with all that is known of them, into a new scheduler with at least as much room.
    backend_pool(pool_config const& config, Scheduler const& scheduler, backend_pool const& before);

    // --- Configuration ----------------------------------------------------------------------------------------------
    /// From now on these, in this order. Who was there before (by address and port) keeps state and flows; who is not named any more takes nothing new
    /// and is forgotten with its last flow. False, and nothing changed, when there is no room. With `at_once` newcomers do not start slowly.
    bool configure(std::span<backend const> all, bool at_once = false) noexcept;
    void set_pool_config(pool_config const& config) noexcept;
    void set_weight(backend_index i, std::uint16_t weight) noexcept;
    /// What passive checks held against it is forgotten when it is up. When nobody is left but whom passive checks keep out, those take new flows again.
    void set_state(backend_index i, backend_state state) noexcept;

    // --- The path of packets ----------------------------------------------------------------------------------------
    /// It is `now`; an earlier time than before counts as the same.
    void tick(time_point now) noexcept;
    /// Who gets a new flow. Nothing is counted before opened().
    [[nodiscard]] pool_choice choose(choice_input const& in) noexcept;
    /// Whether it would take a new flow now.
    [[nodiscard]] bool takes(backend_index i) const noexcept { return members_[i].share.now != 0; }
    void opened(backend_index i) noexcept;
    void closed(backend_index i) noexcept;
    /// A server answered the opening of a flow.
    void succeeded(backend_index i) noexcept;
    /// A server refused the opening of a flow, or left it unanswered. The last backend that takes anything is never inhibited: it may be the network.
    void failed(backend_index i) noexcept;

    // --- Queries ----------------------------------------------------------------------------------------------------
    [[nodiscard]] std::uint32_t capacity() const noexcept { return static_cast<std::uint32_t>(members_.size()); }
    [[nodiscard]] bool exists(backend_index i) const noexcept { return i < members_.size() && members_[i].use != usage::none; }
    [[nodiscard]] bool is_configured(backend_index i) const noexcept { return i < members_.size() && members_[i].use == usage::configured; }
    [[nodiscard]] backend const& operator[](backend_index i) const noexcept { return members_[i].server; }
    [[nodiscard]] backend_state state(backend_index i) const noexcept { return members_[i].state; }
    [[nodiscard]] std::uint32_t open(backend_index i) const noexcept { return members_[i].open; }
    [[nodiscard]] std::uint64_t opened_total(backend_index i) const noexcept { return members_[i].opened; }  ///< since it was configured
    [[nodiscard]] bool inhibited(backend_index i) const noexcept { return members_[i].inhibited_until > now_; }
    [[nodiscard]] backend_share share(backend_index i) const noexcept { return members_[i].share; }
    [[nodiscard]] std::uint32_t ready() const noexcept { return ready_; }  ///< backends that take new flows
    [[nodiscard]] std::uint32_t willing() const noexcept { return willing_; }  ///< those besides that would, but for their limits
    /// When tick() has something to do.
    [[nodiscard]] std::optional<time_point> next_wakeup() const noexcept;
    /// Who has this identity (persistence); no_backend_index when nobody.
    [[nodiscard]] backend_index find(std::uint64_t identity) const noexcept;
    [[nodiscard]] std::uint64_t identity(backend_index i) const noexcept { return members_[i].identity; }
    /// Whether its flows are to end: it is down, and the service does not leave them.
    [[nodiscard]] bool gives_up_flows(backend_index i) const noexcept {
        return members_[i].state == backend_state::down && config_.on_down != on_down::leave;
    }
    [[nodiscard]] pool_config const& config() const noexcept { return config_; }
    [[nodiscard]] Scheduler const& scheduler() const noexcept { return scheduler_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept;

  private:
    enum class usage : std::uint8_t { none, configured, leaving };
    using ns = std::int64_t;
    static constexpr ns a_second = 1'000'000'000;
    static constexpr ns long_ago = -(ns{1} << 62);

    struct member {
        backend server{};
        std::uint64_t identity = 0;
        usage use = usage::none;
        backend_state state = backend_state::up;
        bool on_trial = false;     ///< was inhibited, and nothing good was heard of it since
        bool willing = false;      ///< takes flows, but for its limits
        std::uint32_t order = 0;   ///< in the configuration
        std::uint32_t open = 0;
        std::uint64_t opened = 0;
        std::uint32_t failures = 0;  ///< in a row
        backend_share share{};
        ns rate_full_until = long_ago;  ///< when all that was opened lately has been paid for at its rate
        ns ramp_begin = long_ago;
        ns inhibition = 0;  ///< its last one's length
        ns inhibited_until = long_ago;
    };

    [[nodiscard]] static ns to_ns(timeout_ms t) noexcept { return ns{t} * 1'000'000; }
    [[nodiscard]] backend_index place_for(backend const& b) const noexcept;
    void take_in(backend const& b, std::uint32_t order, bool at_once) noexcept;
    void forget(backend_index i) noexcept;
    void enroll() noexcept;
    void refresh(backend_index i) noexcept;
    [[nodiscard]] bool is_willing(member const& m) const noexcept;
    [[nodiscard]] ns rate_opens_at(member const& m) const noexcept;
    [[nodiscard]] std::uint32_t ramped(member const& m) const noexcept;
    [[nodiscard]] ns wakeup_of(member const& m) const noexcept;
    void inhibit(member& m) noexcept;
    void relent() noexcept;
    void index_identities() noexcept;

    pool_config config_;
    Scheduler scheduler_;
    std::vector<member> members_;
    fixed_list<enrolled_backend> enrolled_;
    indexed_heap<ns> wakeups_;
    std::vector<backend_index> by_identity_;  ///< open addressing, at most half full
    ns now_ = 0;
    bool started_ = false;
    std::uint32_t ready_ = 0;
    std::uint32_t willing_ = 0;
};

}  // namespace halfproxy

#include <halfproxy/balance/impl/backend_pool.hpp>
