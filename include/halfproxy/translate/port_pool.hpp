// SPDX-License-Identifier: BSL-1.0
// External ports for translated sessions: given out exactly, never by a number of random tries, and kept back for a while when they come back.
//
// Read RFC 4787 section 4.2, RFC 6056 section 3, RFC 6888 REQ-8 and RFC 7422 first.
#pragma once

#include <halfproxy/core/random.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/translate/port_space.hpp>
#include <halfproxy/wire/address.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace halfproxy {

enum class port_order : std::uint8_t {
    random,      ///< from a random port on (RFC 6056 section 3.3.1): a stranger cannot tell the next one
    sequential,  ///< behind the last one given: for reproducing things
};

struct port_pool_config {
    std::uint32_t addresses = 1;  ///< numbered from 0; what they are is the caller's business
    port_range ports{1024, 65535};
    port_order order = port_order::random;
    bool preserve = false;     ///< the inside port is given when it is free (RFC 4787 section 4.2.1)
    bool keep_parity = false;  ///< even for even, odd for odd (RFC 4787 REQ-4)
    timeout_ms quarantine = 0;            ///< a port that comes back is not given again so long (RFC 6888 REQ-8)
    std::uint32_t quarantined = 65'536;   ///< at most: beyond it the one that has waited longest is free early
    std::uint8_t high_percent = 90;       ///< of all that can be taken: at or above it the pool is under pressure,
    std::uint8_t low_percent = 80;        ///< at or below this no more
    std::uint64_t seed = 0;               ///< random in production

    friend bool operator==(port_pool_config const&, port_pool_config const&) noexcept = default;
};

struct port_pool_counters {
    std::uint64_t given = 0;
    std::uint64_t returned = 0;       ///< given - returned is what is held now
    std::uint64_t exhausted = 0;      ///< refused: no port was free
    std::uint64_t no_room = 0;        ///< refused: the table of ports by destination is full
    std::uint64_t preserved = 0;      ///< of those given: the inside port itself
    std::uint64_t quarantine_cut = 0; ///< free early, for too many waited
    std::uint64_t pressures = 0;      ///< how often the high mark was reached
};

enum class port_refusal : std::uint8_t { none, exhausted, no_room };

struct port_grant {
    std::uint16_t port = 0;
    port_refusal refusal = port_refusal::none;
    [[nodiscard]] explicit operator bool() const noexcept { return refusal == port_refusal::none; }
};

/// A mark was crossed.
struct port_pool_event {
    bool pressure;  ///< the high one, upwards; else the low one, downwards
    std::uint64_t taken;
    std::uint64_t limit;
};
struct ignore_port_events {
    void operator()(port_pool_event const&) const noexcept {}
};

/// Made from a seed, gives 64 bits at a time. Model: split_mix64.
template <class Random>
concept random_source = std::constructible_from<Random, std::uint64_t> && requires(Random& r) {
    { r() } noexcept -> std::same_as<std::uint64_t>;
};

/// The ports of some addresses, of one protocol. All memory is allocated in the constructor. Work: constant (see the space), and each port that leaves quarantine
/// once. `sink` is called with a port_pool_event when a mark is crossed.
template <port_space Space = exclusive_ports, random_source Random = split_mix64>
class port_pool {
  public:
    using destination = typename Space::destination;

    /// `capacity`: how many can be taken at once, where the space needs to know.
    explicit port_pool(port_pool_config const& config, std::uint32_t capacity = 0);

    struct request {
        std::uint32_t address = 0;       ///< its number
        port_range within{0, 65535};     ///< only these, besides the pool's own range: a subscriber's block, a shard's slice
        std::uint16_t inside_port = 0;
        destination to{};
    };

    /// A port that is free, or why there is none: `exhausted` exactly when all that the request allows are taken or in quarantine.
    template <class Sink = ignore_port_events>
    [[nodiscard]] port_grant allocate(request const& r, stamp_ms now, Sink&& sink = {}) noexcept;

    /// Whether allocate() would give one, without giving it.
    [[nodiscard]] port_refusal refusal_of(request const& r, stamp_ms now) noexcept;

    /// Takes this port, if it is the pool's and free: for what another pool had given. Counts as given.
    [[nodiscard]] bool take(std::uint32_t address, std::uint16_t port, destination const& to) noexcept;

    /// A port that was given comes back.
    template <class Sink = ignore_port_events>
    void release(std::uint32_t address, std::uint16_t port, destination const& to, stamp_ms now, Sink&& sink = {}) noexcept;

    /// Frees ports whose quarantine is over, at most `budget`; returns how many.
    template <class Sink = ignore_port_events>
    std::uint32_t expire(stamp_ms now, std::uint32_t budget, Sink&& sink = {}) noexcept;

    /// When the next port leaves quarantine.
    [[nodiscard]] std::optional<stamp_ms> next_deadline() const noexcept {
        if (waiting_ == 0) return std::nullopt;
        return waits_[front_].until;
    }

    [[nodiscard]] port_pool_config const& config() const noexcept { return config_; }
    [[nodiscard]] port_pool_counters const& counters() const noexcept { return counters_; }
    [[nodiscard]] std::uint64_t held() const noexcept { return counters_.given - counters_.returned; }
    [[nodiscard]] std::uint32_t quarantined() const noexcept { return waiting_; }
    [[nodiscard]] std::uint64_t taken() const noexcept { return held() + waiting_; }
    [[nodiscard]] bool under_pressure() const noexcept { return pressure_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return space_.memory_bytes() + waits_.size() * sizeof(waiting); }
    /// Of such a pool, computed.
    [[nodiscard]] static std::size_t memory_bytes(port_pool_config const& c, std::uint32_t capacity) noexcept {
        return Space::memory_bytes(c.addresses, capacity) + waiting_for(c, Space::limit(c.addresses, c.ports, capacity)) * sizeof(waiting);
    }

  private:
    struct waiting {
        std::uint32_t address;
        std::uint16_t port;
        [[no_unique_address]] destination to;
        stamp_ms until;
    };

    [[nodiscard]] static std::size_t waiting_for(port_pool_config const& c, std::uint64_t limit) noexcept {
        return c.quarantine == 0 ? 0 : static_cast<std::size_t>(c.quarantined < limit ? c.quarantined : limit);
    }
    [[nodiscard]] std::optional<port_range> allowed(request const& r) const noexcept;
    [[nodiscard]] std::uint16_t start(port_range within) noexcept;
    [[nodiscard]] std::optional<std::uint16_t> find(request const& r) noexcept;
    [[nodiscard]] std::optional<std::uint16_t> find_or_wait(request const& r, stamp_ms now) noexcept;
    void free_longest_waiting() noexcept;
    template <class Sink>
    void tell(Sink&& sink) noexcept;

    port_pool_config config_;
    Space space_;
    Random random_;
    std::vector<waiting> waits_;  ///< a ring: what comes back later leaves later
    std::uint32_t front_ = 0;
    std::uint32_t waiting_ = 0;
    std::uint16_t last_ = 0;  ///< given last, of any address
    bool pressure_ = false;
    port_pool_counters counters_{};
};

// --- Parts of a range that are a pure function of something -------------------------------------------------------------

/// Shard `index` of `count`'s part of a range, so that an answer to that port can be brought to the shard that gave it. The range has at least `count` ports.
[[nodiscard]] constexpr port_range shard_slice(port_range ports, std::uint32_t index, std::uint32_t count) noexcept {
    std::uint32_t const size = ports.last - ports.first + 1u;
    return {static_cast<std::uint16_t>(ports.first + size * index / count), static_cast<std::uint16_t>(ports.first + size * (index + 1) / count - 1)};
}
/// The shard in whose slice the port lies.
[[nodiscard]] constexpr std::uint32_t shard_of_port(port_range ports, std::uint16_t port, std::uint32_t count) noexcept {
    std::uint32_t const size = ports.last - ports.first + 1u;
    return ((port - ports.first + 1u) * count - 1) / size;
}

/// Each subscriber has a block of ports that follows from its number alone, both ways, so that nothing need be logged (RFC 7422).
struct port_blocks {
    std::uint32_t addresses = 1;
    port_range ports{1024, 65535};
    std::uint32_t block_ports = 0;

    struct block {
        std::uint32_t address;
        port_range ports;
    };

    [[nodiscard]] constexpr std::uint32_t per_address() const noexcept { return block_ports == 0 ? 0 : (ports.last - ports.first + 1u) / block_ports; }
    [[nodiscard]] constexpr std::uint64_t subscribers() const noexcept { return std::uint64_t{addresses} * per_address(); }
    /// Nothing for a number for which there is no block.
    [[nodiscard]] constexpr std::optional<block> of(std::uint64_t subscriber) const noexcept {
        if (subscriber >= subscribers()) return std::nullopt;
        auto const first = static_cast<std::uint32_t>(ports.first + subscriber % per_address() * block_ports);
        return block{static_cast<std::uint32_t>(subscriber / per_address()),
                     {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(first + block_ports - 1)}};
    }
    [[nodiscard]] constexpr std::optional<std::uint64_t> subscriber_of(std::uint32_t address, std::uint16_t port) const noexcept {
        if (!ports.contains(port) || address >= addresses || block_ports == 0) return std::nullopt;
        std::uint32_t const at = (port - ports.first) / block_ports;
        if (at >= per_address()) return std::nullopt;
        return std::uint64_t{address} * per_address() + at;
    }
};

}  // namespace halfproxy

#include <halfproxy/translate/impl/port_pool.hpp>
