// SPDX-License-Identifier: BSL-1.0
// Which backend a new flow gets: one concept and its models, each usable alone.
//
// A scheduler is told how much of the new flows each backend is to have now (weigh) and how many it has open (load), and chooses in bounded work: no model
// looks through all backends. Whoever is down, draining, at a limit or of weight 0 is weighed 0 and never chosen.
#pragma once

#include <halfproxy/balance/backend.hpp>
#include <halfproxy/balance/fixed_list.hpp>
#include <halfproxy/balance/hash.hpp>
#include <halfproxy/balance/indexed_heap.hpp>
#include <halfproxy/balance/maglev.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace halfproxy {

/// What tells a new flow from others. Hashes must be the same on every node; only power_of_two_scheduler reads `random`.
struct choice_input {
    std::uint64_t source_hash = 0;  ///< of the client's address
    std::uint64_t tuple_hash = 0;   ///< of addresses, ports and protocol
    std::uint64_t random = 0;
};

/// How much of the new flows a backend is to have now, and when nothing holds it back: weights, less while it starts slowly. 0: nothing.
struct backend_share {
    std::uint32_t now = 0;
    std::uint32_t full = 0;
};
inline constexpr std::uint32_t share_per_weight = 256;
[[nodiscard]] constexpr backend_share full_share(std::uint16_t weight) noexcept { return {weight * share_per_weight, weight * share_per_weight}; }

/// A backend as it is configured, apart from its state.
struct enrolled_backend {
    std::uint64_t identity = 0;  ///< see maglev_member
    std::uint16_t weight = 1;
    std::uint8_t priority = 0;
    backend_index index = 0;
};

/// Exemplar: round_robin_scheduler. Indices are below the capacity. enroll() tells of all backends, in the order of the configuration, when that has changed, and may take
/// long; weigh() and load() tell of one whenever it changes; choose() gives one whose share is not 0, or no_backend_index when there is none.
template <class S>
concept scheduler = requires(S& s, S const& c, std::span<enrolled_backend const> all, backend_index i, backend_share share,
                             std::uint32_t open, choice_input const& in) {
    { c.capacity() } noexcept -> std::same_as<std::uint32_t>;
    { c.memory_bytes() } noexcept -> std::same_as<std::size_t>;
    { s.enroll(all) } noexcept;
    { s.weigh(i, share) } noexcept;
    { s.load(i, open) } noexcept;
    { s.choose(in) } noexcept -> std::same_as<backend_index>;
};

/// Whether a model that can do both goes by weights or treats all alike. A slow start counts with either.
struct own_weights {
    [[nodiscard]] static constexpr std::uint32_t units(backend_share s) noexcept { return s.now; }
};
struct equal_weights {
    [[nodiscard]] static constexpr std::uint32_t units(backend_share s) noexcept {
        return s.now == 0 ? 0 : std::max(static_cast<std::uint32_t>(std::uint64_t{s.now} * share_per_weight / s.full), 1u);
    }
};

/// In turns that come at even intervals, so that a heavy backend's flows are spread over the whole round (earliest deadline first). Work of a choice: log2(backends) steps.
template <class Weights>
class basic_round_robin {
  public:
    explicit basic_round_robin(std::uint32_t capacity) : turns_(capacity), members_(capacity) {}

    [[nodiscard]] std::uint32_t capacity() const noexcept { return turns_.capacity(); }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return turns_.memory_bytes() + members_.size() * sizeof(member); }
    void enroll(std::span<enrolled_backend const>) noexcept {}
    void weigh(backend_index i, backend_share share) noexcept;
    void load(backend_index, std::uint32_t) noexcept {}
    [[nodiscard]] backend_index choose(choice_input const&) noexcept;

  private:
    /// Turns are compared by their distance: the clock may wrap.
    struct turn {
        std::uint64_t due;
        [[nodiscard]] friend bool operator<(turn a, turn b) noexcept { return static_cast<std::int64_t>(a.due - b.due) < 0; }
    };
    struct member {
        std::uint64_t due = 0;       ///< its next turn; of one that is not weighed now, where it was
        std::uint64_t interval = 0;  ///< between its turns
    };

    indexed_heap<turn> turns_;
    std::vector<member> members_;
    std::uint64_t clock_ = 0;  ///< the last turn that was taken
};

using round_robin_scheduler = basic_round_robin<equal_weights>;
using weighted_round_robin_scheduler = basic_round_robin<own_weights>;

/// The backend with the fewest open flows for its share; of equal ones the one whose last choice is longest ago. Work of a choice and of load(): log2(backends) steps.
template <class Weights>
class basic_least_connections {
  public:
    explicit basic_least_connections(std::uint32_t capacity) : ready_(capacity), members_(capacity) {}

    [[nodiscard]] std::uint32_t capacity() const noexcept { return ready_.capacity(); }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return ready_.memory_bytes() + members_.size() * sizeof(member); }
    void enroll(std::span<enrolled_backend const>) noexcept {}
    void weigh(backend_index i, backend_share share) noexcept;
    void load(backend_index i, std::uint32_t open) noexcept;
    [[nodiscard]] backend_index choose(choice_input const&) noexcept;

  private:
    /// (open + 1) / units, compared without dividing.
    struct member {
        std::uint32_t open = 0;
        std::uint32_t units = 0;
        std::uint64_t chosen = 0;  ///< the number of the choice that last took it
        [[nodiscard]] friend bool operator<(member const& a, member const& b) noexcept {
            std::uint64_t const left = (std::uint64_t{a.open} + 1) * b.units, right = (std::uint64_t{b.open} + 1) * a.units;
            return left != right ? left < right : a.chosen < b.chosen;
        }
    };

    indexed_heap<member> ready_;
    std::vector<member> members_;
    std::uint64_t choices_ = 0;
};

using least_connections_scheduler = basic_least_connections<equal_weights>;
using weighted_least_connections_scheduler = basic_least_connections<own_weights>;

/// Two at random, of which the one with fewer open flows for its share (Mitzenmacher 2001). Work of a choice: constant.
class power_of_two_scheduler {
  public:
    explicit power_of_two_scheduler(std::uint32_t capacity) : members_(capacity), ready_(capacity) {}

    [[nodiscard]] std::uint32_t capacity() const noexcept { return static_cast<std::uint32_t>(members_.size()); }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return members_.size() * (sizeof(member) + sizeof(backend_index)); }
    void enroll(std::span<enrolled_backend const>) noexcept {}
    void weigh(backend_index i, backend_share share) noexcept;
    void load(backend_index i, std::uint32_t open) noexcept { members_[i].open = open; }
    [[nodiscard]] backend_index choose(choice_input const& in) noexcept;

  private:
    struct member {
        std::uint32_t open = 0;
        std::uint32_t units = 0;
        backend_index place = no_backend_index;  ///< in ready_
    };

    std::vector<member> members_;
    fixed_list<backend_index> ready_;
};

struct by_tuple {
    [[nodiscard]] static std::uint64_t hash(choice_input const& in) noexcept { return in.tuple_hash; }
};
struct by_source {
    [[nodiscard]] static std::uint64_t hash(choice_input const& in) noexcept { return in.source_hash; }
};

/// Maglev's table over all enrolled backends, with their configured weights. A backend that takes nothing for the moment keeps its places: who finds it there goes on to the
/// next place, so that nobody else's choice changes, on any node. Work of a choice: one read, or up to 256 neighbouring ones.
template <class Hashed>
class basic_consistent_hash {
  public:
    basic_consistent_hash(std::uint32_t capacity, std::uint32_t table_size)
        : table_(table_size, capacity), members_(capacity), enrolled_(capacity), ready_(capacity) {}

    [[nodiscard]] std::uint32_t capacity() const noexcept { return static_cast<std::uint32_t>(members_.size()); }
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return table_.memory_bytes() + ready_.memory_bytes() + members_.size() * (sizeof(member) + sizeof(maglev_member));
    }
    void enroll(std::span<enrolled_backend const> all) noexcept;
    void weigh(backend_index i, backend_share share) noexcept;
    void load(backend_index, std::uint32_t) noexcept {}
    [[nodiscard]] backend_index choose(choice_input const& in) noexcept;
    [[nodiscard]] maglev_table const& table() const noexcept { return table_; }

  private:
    static constexpr std::uint32_t most_places = 256;  ///< looked at: with a tenth of the backends ready, one choice in 10^11 finds none of them so

    struct member {
        std::uint64_t identity = 0;
        std::uint32_t units = 0;  ///< of share_per_weight
    };
    [[nodiscard]] bool accepts(backend_index i, std::uint64_t hash) const noexcept;

    maglev_table table_;
    std::vector<member> members_;
    fixed_list<maglev_member> enrolled_;
    indexed_heap<std::uint64_t> ready_;  ///< by identity: the last resort, the same on every node
};

using maglev_scheduler = basic_consistent_hash<by_tuple>;
using source_hash_scheduler = basic_consistent_hash<by_source>;

/// The first in the order of the configuration that takes anything; with limits, others get what exceeds it. Work of a choice: one step.
class first_alive_scheduler {
  public:
    explicit first_alive_scheduler(std::uint32_t capacity) : ready_(capacity), ranks_(capacity) {}

    [[nodiscard]] std::uint32_t capacity() const noexcept { return ready_.capacity(); }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return ready_.memory_bytes() + ranks_.size() * sizeof(std::uint32_t); }
    void enroll(std::span<enrolled_backend const> all) noexcept;
    void weigh(backend_index i, backend_share share) noexcept;
    void load(backend_index, std::uint32_t) noexcept {}
    [[nodiscard]] backend_index choose(choice_input const&) noexcept {
        return ready_.empty() ? no_backend_index : static_cast<backend_index>(ready_.top());
    }

  private:
    indexed_heap<std::uint32_t> ready_;
    std::vector<std::uint32_t> ranks_;
};

inline constexpr std::uint32_t most_priorities = 8;

/// One scheduler per priority. The lowest-numbered group with at least `least_ready` backends ready chooses; when there is none, the first group with any: so the last
/// group may hold the fallback that says sorry. Work of a choice: most_priorities steps, and the group's.
template <scheduler Inner>
class priority_groups {
  public:
    /// `one` is copied for each group.
    priority_groups(Inner const& one, std::uint32_t groups, std::uint32_t least_ready = 1)
        : groups_(std::clamp(groups, 1u, most_priorities), group{one}), members_(one.capacity()), enrolled_(one.capacity()), least_ready_(least_ready) {}

    [[nodiscard]] std::uint32_t capacity() const noexcept { return static_cast<std::uint32_t>(members_.size()); }
    [[nodiscard]] std::size_t memory_bytes() const noexcept;
    void enroll(std::span<enrolled_backend const> all) noexcept;
    void weigh(backend_index i, backend_share share) noexcept;
    void load(backend_index i, std::uint32_t open) noexcept;
    [[nodiscard]] backend_index choose(choice_input const& in) noexcept;

  private:
    struct group {
        Inner inner;
        std::uint32_t ready = 0;
    };
    struct member {
        backend_share share{};
        std::uint32_t open = 0;
        std::uint8_t priority = 0;
    };
    void move(backend_index i, std::uint8_t priority) noexcept;

    std::vector<group> groups_;
    std::vector<member> members_;
    fixed_list<enrolled_backend> enrolled_;
    std::uint32_t least_ready_;
};

}  // namespace halfproxy

#include <halfproxy/balance/impl/schedulers.hpp>
