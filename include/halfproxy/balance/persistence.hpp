// SPDX-License-Identifier: BSL-1.0
// Clients that come back to the same server: a table of fixed size that forgets.
#pragma once

#include <halfproxy/balance/hash.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/wire/address.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace halfproxy {

/// Who is sent to the same server together: all addresses that share so many first bits. 32 and 128 are single ones.
struct persistence_prefixes {
    std::uint8_t v4 = 32;
    std::uint8_t v6 = 64;
};

/// The address without the bits behind its family's length.
[[nodiscard]] inline ip_address persistent_network(ip_address const& client, persistence_prefixes const& lengths) noexcept {
    ip_address out = client;
    std::size_t const bits = client.version == 4 ? lengths.v4 : lengths.v6;
    for (std::size_t i = 0; i < out.bytes.size(); ++i) {
        std::size_t const kept = std::clamp<std::size_t>(bits, i * 8, i * 8 + 8) - i * 8;
        out.bytes[i] &= static_cast<std::uint8_t>(0xff00u >> kept);
    }
    return out;
}

/// From a client network of a group of services to a server's identity. Sets of eight, three cache lines each: a look-up reads one, and the others when the client is
/// known. A full set forgets who would be forgotten first. Clients are told apart by a keyed hash of 64 bits: of n known ones, a new one is taken for another with
/// probability n / 2^64, and then goes to that one's server, which does no harm.
class persistence_table {
  public:
    /// Room for at least `clients`; 0: none, and nothing is remembered.
    persistence_table(std::uint32_t clients, std::uint64_t seed) : seed_(seed), sets_(sets_for(clients)) {}

    /// Where the client was sent, unless that is longer ago than it was remembered for.
    [[nodiscard]] std::optional<std::uint64_t> find(std::uint32_t group, ip_address const& network, time_point now) const noexcept {
        if (sets_.empty()) return std::nullopt;
        std::uint64_t const tag = tag_of(group, network);
        set const& s = set_of(tag);
        for (std::size_t i = 0; i < ways; ++i)
            if (s.tags[i] == tag) return s.ends[i] > now ? std::optional(s.servers[i]) : std::nullopt;
        return std::nullopt;
    }

    /// From now on for `lifetime`: in the place where it was, in a free one, or of the one that ends first.
    void remember(std::uint32_t group, ip_address const& network, std::uint64_t server, time_point now, timeout_ms lifetime) noexcept {
        if (sets_.empty()) return;
        std::uint64_t const tag = tag_of(group, network);
        set& s = set_of(tag);
        std::size_t best = 0;
        for (std::size_t i = 0; i < ways; ++i) {
            if (s.tags[i] == tag) {
                best = i;
                break;
            }
            if (s.ends[i] < s.ends[best]) best = i;
        }
        s.tags[best] = tag;
        s.servers[best] = server;
        s.ends[best] = now + std::chrono::milliseconds(lifetime);
    }

    [[nodiscard]] std::size_t memory_bytes() const noexcept { return sets_.size() * sizeof(set); }
    [[nodiscard]] static std::size_t memory_bytes(std::uint32_t clients) noexcept { return sets_for(clients) * sizeof(set); }

  private:
    static constexpr std::size_t ways = 8;

    struct alignas(64) set {
        std::array<std::uint64_t, ways> tags{};
        std::array<std::uint64_t, ways> servers{};
        std::array<time_point, ways> ends = all_ended();
    };
    static_assert(sizeof(set) == 192);

    [[nodiscard]] static std::array<time_point, ways> all_ended() noexcept {
        std::array<time_point, ways> ends;
        ends.fill(time_point::min());
        return ends;
    }
    [[nodiscard]] static std::size_t sets_for(std::uint32_t clients) noexcept {
        return clients == 0 ? 0 : std::bit_ceil((clients + ways - 1) / ways);
    }
    [[nodiscard]] std::uint64_t tag_of(std::uint32_t group, ip_address const& network) const noexcept {
        return balance_hash(seed_).add(group).add(network).value();
    }
    [[nodiscard]] set const& set_of(std::uint64_t tag) const noexcept { return sets_[tag & (sets_.size() - 1)]; }
    [[nodiscard]] set& set_of(std::uint64_t tag) noexcept { return sets_[tag & (sets_.size() - 1)]; }

    std::uint64_t seed_;
    std::vector<set> sets_;
};

}  // namespace halfproxy
