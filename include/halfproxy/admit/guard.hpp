// SPDX-License-Identifier: BSL-1.0
// When to challenge: state machines fed by half-open connections and the rate of SYNs, for all, for a side, for a service.
//
//                 half-open >= half_open_on, or SYN rate >= syn_rate_on
//        +-------+ ---------------------------------------------------> +--------+
//        | ready |                                                      | active |  SYNs are challenged
//        +-------+ <------------- +-------+ <-------------------------- +--------+
//               after grace       | grace |   both below their off marks, and active for min_active
//                                 +-------+
//                       cookies that are out are honoured; the on marks lead back to active
//
// A SYN is challenged when any of its scopes is active: global (all SYNs of the guarded sides), the side it came through, and the service
// (destination address and port) it is for. Services share a fixed number of buckets, chosen by a keyed hash: nothing is evicted, so no scan of
// addresses can make the guard forget a service under attack; two services in one bucket are challenged together, which costs neither a connection.
//
// Half-open means: handshakes that passed and are not complete, and besides, while active, challenges that remain unanswered. Without these a
// slow flood would end the challenge that holds it off, and begin anew.
#pragma once

#include <halfproxy/admit/rate_meter.hpp>
#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/random.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/wire/address.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace halfproxy {

enum class guard_mode : std::uint8_t {
    off,        ///< SYNs pass
    automatic,  ///< SYNs pass until there are too many, then they are challenged
    always,     ///< every SYN from the guarded sides is challenged
    monitor,    ///< as automatic, but only counts what it would have done
};

/// How a client proves that it receives what is sent to its address.
enum class guard_method : std::uint8_t {
    splice,           ///< by the ACK of a cookie; the connection goes on, its numbers shifted for life
    challenge_reset,  ///< then it begins anew and passes untouched: needs no way back through here (DSR, asymmetric return)
};

/// challenge_reset: who ends the attempt that proved the source. See engine/impl/guard_path.hpp.
enum class reset_by : std::uint8_t {
    client,  ///< its stack answers an unacceptable ACK with a RST and sends its SYN again: the application sees a delay at most
    proxy,   ///< a SYN-ACK that is right, then a RST: the application sees a reset connection and must connect again
};

/// The sides whose SYNs the guard looks at.
enum class guarded_sides : std::uint8_t { outside, inside, both };

/// A mark that is never reached.
inline constexpr std::uint32_t no_mark = std::numeric_limits<std::uint32_t>::max();

/// Of one scope. Between an on mark and the maximum, SYNs are dropped with p = (x - on) / (max - on), from the maximum on all are: by rate every
/// SYN, by half-open connections those that would pass unchallenged (from exempt sources).
struct guard_marks {
    std::uint32_t half_open_on = no_mark;   ///< active from so many half-open connections on
    std::uint32_t half_open_off = no_mark;  ///< no longer below so many
    std::uint32_t half_open_max = no_mark;
    std::uint32_t syn_rate_on = no_mark;    ///< SYNs per second
    std::uint32_t syn_rate_off = no_mark;
    std::uint32_t syn_rate_max = no_mark;

    /// What fits a network with so many new connections per second on a busy day: active when a second's worth of them is half open, or when
    /// eight times as many come.
    [[nodiscard]] static constexpr guard_marks for_rate(std::uint32_t connections_per_s) noexcept {
        std::uint32_t const on = connections_per_s < 16 ? 16 : connections_per_s;
        return {on, on / 4, no_mark, 8 * on, 4 * on, no_mark};
    }
    [[nodiscard]] constexpr bool any() const noexcept { return half_open_on != no_mark || syn_rate_on != no_mark; }
    [[nodiscard]] constexpr bool capped() const noexcept { return half_open_max != no_mark || syn_rate_max != no_mark; }
};

inline constexpr std::uint32_t default_connections_per_s = 1024;

struct guard_config {
    guard_mode mode = guard_mode::off;
    guard_method method = guard_method::splice;
    halfproxy::reset_by reset_by = reset_by::client;
    guarded_sides sides = guarded_sides::outside;
    std::uint32_t expected_connections_per_s = default_connections_per_s;  ///< what the tool derives `marks` from; the engine reads the marks
    guard_marks marks = guard_marks::for_rate(default_connections_per_s);  ///< global
    std::array<guard_marks, 2> side_marks{};                               ///< by side; default: no scope of its own
    guard_marks service_marks = guard_marks::for_rate(default_connections_per_s / 2);
    std::uint32_t services = 0;              ///< buckets for services; 0: services are no scopes
    timeout_ms min_active = 60'000;          ///< once active, stay so at least so long
    timeout_ms grace = 30'000;               ///< after that, cookies are honoured so long
    timeout_ms unanswered = 5'000;           ///< a challenge without answer counts as half open about so long
    rate_smoothing smoothing{};              ///< of SYN rates
    timeout_ms key_rotation = 30'000;        ///< a cookie lives up to two rotations; at most longest_key_rotation (see syn_cookie.hpp)
    std::vector<ip_prefix> allow{};          ///< clients that are never challenged, nor dropped early
    std::optional<timeout_ms> exempt{};      ///< a client that proved itself is not challenged again so long; unset: see exempt_time()
    std::uint32_t exempt_sources = 16'384;   ///< room for so many of them

    /// 30 s, but none where every SYN is to be challenged and need not begin anew.
    [[nodiscard]] timeout_ms exempt_time() const noexcept {
        bool const every_syn = mode == guard_mode::always && method == guard_method::splice;
        return exempt.value_or(every_syn ? 0 : 30'000);
    }
    [[nodiscard]] bool guards(side s) const noexcept {
        return sides == guarded_sides::both || (s == side::outside) == (sides == guarded_sides::outside);
    }
};

enum class guard_state : std::uint8_t {
    ready,   ///< nothing is challenged, no cookie is out
    active,  ///< SYNs are challenged
    grace,   ///< nothing is challenged, but cookies that are out are honoured
};
inline constexpr std::size_t guard_state_count = 3;

enum class guard_scope : std::uint8_t { global, side, service };
inline constexpr std::size_t guard_scope_count = 3;

/// A SYN as the guard sees it. The service need be filled in only where the guard follows services.
struct guard_syn {
    side arrival = side::outside;
    std::uint16_t port = 0;
    std::uint32_t service_hash = 0;
    ip_address address{};
};

/// A change of state, for an observer.
struct guard_event {
    guard_scope scope = guard_scope::global;
    side where = side::outside;         ///< of scope side
    ip_address address{};               ///< of scope service: the one whose SYN made its bucket active
    std::uint16_t port = 0;
    guard_state before = guard_state::ready;
    guard_state after = guard_state::ready;
    std::uint32_t half_open = 0;        ///< with unanswered challenges
    std::uint32_t syns_per_second = 0;
    stamp_ms when{};
};

enum class guard_verdict : std::uint8_t { pass, challenge, drop };

/// One scope's state and numbers.
class guard_machine {
  public:
    void half_open_changed(int by) noexcept { half_open_ += static_cast<std::uint32_t>(by); }
    void note_syn(stamp_ms now, guard_config const& c) noexcept { syns_.add(now, c.smoothing); }
    void note_challenge(stamp_ms now, guard_config const& c, int by) noexcept { unanswered_.add(now, unanswered_smoothing(c), by); }

    /// True when the state has changed.
    bool update(guard_marks const& marks, guard_config const& c, stamp_ms now) noexcept;

    [[nodiscard]] bool drops_early(guard_marks const& marks, guard_config const& c, stamp_ms now, bool challenged, split_mix64& random) noexcept;

    [[nodiscard]] guard_state state() const noexcept { return state_; }
    void begin_active() noexcept { state_ = guard_state::active; }
    [[nodiscard]] std::uint32_t half_open() const noexcept { return half_open_; }
    [[nodiscard]] std::uint32_t half_open_equivalent(guard_config const& c, stamp_ms now) noexcept;
    [[nodiscard]] std::uint32_t syns_per_second(guard_config const& c, stamp_ms now) noexcept { return syns_.per_second(now, c.smoothing); }

  private:
    [[nodiscard]] static rate_smoothing unanswered_smoothing(guard_config const& c) noexcept {
        constexpr timeout_ms slot = 100;
        return {slot, c.unanswered < slot ? 1 : c.unanswered / slot};
    }
    bool enter(guard_state state, stamp_ms now) noexcept;

    rate_meter syns_{};
    rate_meter unanswered_{};
    stamp_ms since_{};
    std::uint32_t half_open_ = 0;
    guard_state state_ = guard_state::ready;
};

static_assert(sizeof(guard_machine) <= 40, "every bucket for services has one");

/// All scopes together. Memory is fixed in the constructor. Work per SYN: three scopes; per tick: three, and one service in turn.
/// A Notify is called with a guard_event for each change of state.
class guard {
  public:
    explicit guard(guard_config const& config);

    /// From now on these marks, times and allowed clients. Mode, sides, method, smoothing, and which scopes there are, stay: they must be the same. Scopes keep their states.
    void configure(guard_config const& config);

    /// Time passes. At least once per millisecond with packets, or never: an idle guard changes state when it is next asked.
    template <class Notify>
    void tick(stamp_ms now, Notify&& notify) noexcept;

    /// Counts a SYN of a guarded side, which may make its scopes active.
    template <class Notify>
    void note_syn(guard_syn const& syn, stamp_ms now, Notify&& notify) noexcept;

    /// Whether a SYN is to be challenged now. In monitor mode: would be.
    [[nodiscard]] bool challenges(guard_syn const& syn) const noexcept;

    /// Whether a SYN is over a hard cap, or one of those dropped on the way to it. In monitor mode: would be.
    [[nodiscard]] bool drops_early(guard_syn const& syn, stamp_ms now, bool challenged, split_mix64& random) noexcept;

    /// A challenge went out, or (-1) was answered.
    void note_challenge(guard_syn const& syn, stamp_ms now, int by) noexcept;
    [[nodiscard]] bool counts_challenges() const noexcept { return by_marks_; }

    /// A handshake that passed began (+1), or completed or ended (-1).
    void half_open_changed(guard_syn const& syn, int by) noexcept;

    /// Whether every SYN of this side is challenged, whoever sends it: then nothing else need be asked.
    [[nodiscard]] bool challenges_every(side s) const noexcept { return every_syn_ && guards(s); }
    [[nodiscard]] bool allows(ip_address const& client) const noexcept;
    [[nodiscard]] bool has_allow_list() const noexcept { return !config_.allow.empty(); }
    [[nodiscard]] bool guards(side s) const noexcept { return guards_[static_cast<std::size_t>(s)]; }
    [[nodiscard]] bool only_counts() const noexcept { return config_.mode == guard_mode::monitor; }
    [[nodiscard]] bool follows_services() const noexcept { return !services_.empty(); }

    /// Whether an ACK (or RST) without flow may carry a cookie of ours.
    [[nodiscard]] bool honours_cookies() const noexcept { return in_force_ != 0 && !only_counts(); }

    /// Of all scopes the one that does most.
    [[nodiscard]] guard_state state() const noexcept;
    [[nodiscard]] std::uint32_t half_open() const noexcept { return scopes_[0].half_open(); }
    /// How often scopes of this kind have entered this state.
    [[nodiscard]] std::uint64_t transitions(guard_scope scope, guard_state into) const noexcept {
        return transitions_[static_cast<std::size_t>(scope)][static_cast<std::size_t>(into)];
    }
    using transition_counts = std::array<std::array<std::uint64_t, guard_state_count>, guard_scope_count>;
    [[nodiscard]] transition_counts const& transitions() const noexcept { return transitions_; }
    [[nodiscard]] std::uint64_t activations() const noexcept;
    [[nodiscard]] guard_config const& config() const noexcept { return config_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return services_.size() * sizeof(service); }
    [[nodiscard]] static std::size_t memory_bytes(guard_config const& config) noexcept { return buckets(config) * sizeof(service); }

  private:
    struct service {
        guard_machine machine{};
        ip_address address{};  ///< whose SYN made it active
        std::uint16_t port = 0;
    };

    [[nodiscard]] static std::uint32_t buckets(guard_config const& config) noexcept;
    void look_at_marks() noexcept;
    [[nodiscard]] static std::size_t side_index(side s) noexcept { return 1 + static_cast<std::size_t>(s); }
    [[nodiscard]] service* service_of(guard_syn const& syn) noexcept {
        return services_.empty() ? nullptr : &services_[number_of(syn)];
    }
    [[nodiscard]] std::size_t number_of(guard_syn const& syn) const noexcept {
        return static_cast<std::size_t>(std::uint64_t{syn.service_hash} * services_.size() >> 32);
    }
    template <class Visit>
    void each_scope(guard_syn const& syn, Visit&& visit) noexcept;
    template <class Notify>
    void update(guard_machine& machine, guard_marks const& marks, guard_event& about, stamp_ms now, Notify& notify) noexcept;
    template <class Notify>
    void update_service(service& s, stamp_ms now, Notify& notify) noexcept;

    guard_config config_;
    std::array<bool, 2> guards_{};
    bool by_marks_ = false;      ///< automatic or monitor: machines run
    bool capped_ = false;        ///< some maximum is configured
    bool every_syn_ = false;     ///< always, without caps, allow list and exemption
    std::array<bool, 2> by_side_{};  ///< a side's scope has marks
    std::array<guard_machine, 3> scopes_{};  ///< global, outside, inside
    std::vector<service> services_{};
    std::uint32_t active_ = 0;    ///< scopes that are active
    std::uint32_t in_force_ = 0;  ///< scopes that are active or in grace
    std::uint32_t next_service_ = 0;
    stamp_ms last_tick_{};
    transition_counts transitions_{};
};

}  // namespace halfproxy

#include <halfproxy/admit/impl/guard.hpp>
