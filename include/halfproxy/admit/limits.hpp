// SPDX-License-Identifier: BSL-1.0
// How much one source may ask for: new flows per second, flows open at once, and handshakes half open at once.
#pragma once

#include <halfproxy/admit/exemption.hpp>
#include <halfproxy/core/time.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace halfproxy {

inline constexpr std::uint32_t no_limit = std::numeric_limits<std::uint32_t>::max();

/// Of one IPv4 address, or one IPv6 /64.
struct source_limits_config {
    std::uint32_t new_flows_per_s = no_limit;  ///< a second's worth may come at once
    std::uint32_t flows = no_limit;            ///< open at once, of every protocol
    std::uint32_t half_open = no_limit;        ///< TCP handshakes that passed and are not complete
    std::uint32_t buckets = 32'768;            ///< of each row

    [[nodiscard]] constexpr bool any() const noexcept { return new_flows_per_s != no_limit || flows != no_limit || half_open != no_limit; }
};

/// Two rows of counters, a source being counted in one bucket of each, chosen by different keyed hashes (a count-min sketch: Cormode,
/// Muthukrishnan 2005). Over its limit is who is over in both. Nothing is evicted, so a flood of forged sources cannot make it forget one; what it
/// can do is fill buckets, so that limits must lie above (SYNs per second) / buckets. Without limits it takes no memory.
class source_limits {
  public:
    source_limits(source_limits_config const& config, std::uint64_t seed)
        : config_(config), seed_(seed), buckets_(config.any() ? rows * std::bit_ceil(std::max(config.buckets, 1u)) : 0) {}

    /// Counts a new flow, if it may be opened.
    [[nodiscard]] bool admits(source_network const& source, stamp_ms now) noexcept {
        if (buckets_.empty()) [[likely]]
            return true;
        auto const places = places_of(source);
        bool const few = std::any_of(places.begin(), places.end(), [&](bucket const* b) { return b->half_open < config_.half_open; }) &&
                         std::any_of(places.begin(), places.end(), [&](bucket const* b) { return b->flows < config_.flows; });
        bool const slow = std::any_of(places.begin(), places.end(), [&](bucket const* b) { return ahead(*b, now) + cost() <= burst; });
        if (!few || (!slow && config_.new_flows_per_s != no_limit)) return false;
        for (bucket* const b : places) {
            b->spent = static_cast<std::uint32_t>(std::min(ahead(*b, now) + cost(), std::uint64_t{2 * burst}));
            b->at = now;
        }
        return true;
    }

    void half_open_changed(source_network const& source, int by) noexcept {
        if (buckets_.empty()) return;
        for (bucket* const b : places_of(source)) b->half_open += static_cast<std::uint32_t>(by);
    }

    void flows_changed(source_network const& source, int by) noexcept {
        if (buckets_.empty()) [[likely]]
            return;
        for (bucket* const b : places_of(source)) b->flows += static_cast<std::uint32_t>(by);
    }

    /// From now on these limits, if there were any before; the number of buckets stays.
    void configure(source_limits_config const& config) noexcept { config_ = config; }

    [[nodiscard]] std::size_t memory_bytes() const noexcept { return buckets_.size() * sizeof(bucket); }
    [[nodiscard]] static std::size_t memory_bytes(source_limits_config const& c) noexcept {
        return c.any() ? rows * std::bit_ceil(std::max(c.buckets, 1u)) * sizeof(bucket) : 0;
    }

  private:
    static constexpr std::size_t rows = 2;
    static constexpr std::uint64_t units_per_ms = 1u << 20;     ///< of what a flow costs: a limit of 10,000 per second is exact to 10^-5
    static constexpr std::uint64_t burst = 1000 * units_per_ms;  ///< one second's worth

    /// A leaky bucket: what was spent and has not leaked since.
    struct bucket {
        std::uint32_t spent = 0;
        std::uint32_t flows = 0;
        std::uint32_t half_open = 0;
        stamp_ms at{};
    };

    [[nodiscard]] std::uint64_t cost() const noexcept { return burst / std::max(config_.new_flows_per_s, 1u); }
    [[nodiscard]] static std::uint64_t ahead(bucket const& b, stamp_ms now) noexcept {
        std::uint64_t const leaked = std::uint64_t{now.value - b.at.value} * units_per_ms;
        return b.spent > leaked ? b.spent - leaked : 0;
    }
    [[nodiscard]] std::array<bucket*, rows> places_of(source_network const& s) noexcept {
        std::uint64_t const hash = s.hash(seed_);
        std::size_t const row = buckets_.size() / rows;
        return {&buckets_[hash & (row - 1)], &buckets_[row + (hash >> 32 & (row - 1))]};
    }

    source_limits_config config_;
    std::uint64_t seed_;
    std::vector<bucket> buckets_;
};

}  // namespace halfproxy
