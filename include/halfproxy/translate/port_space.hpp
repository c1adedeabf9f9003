// SPDX-License-Identifier: BSL-1.0
// Which ports of an address are taken: exact sets in which a free one is found while there is one, however full they are.
//
// Read RFC 4787 section 4.2.2 and RFC 7857 section 3 first.
#pragma once

#include <halfproxy/wire/address.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

namespace halfproxy {

/// Ports that may be given: all, or those whose last bit is that of the inside port (RFC 4787 REQ-4).
enum class port_parity : std::uint8_t { any, even, odd };

/// A set of taken ports per address. Addresses are numbers from 0; ports lie in the range of its constructor. `destination` is what a port is taken
/// towards: empty where a port is taken whole.
/// Models: exclusive_ports, ports_by_destination.
template <class Space>
concept port_space = requires(Space& s, Space const& c, std::uint32_t address, std::uint16_t port, port_range within, port_parity parity,
                              typename Space::destination const& to) {
    requires std::equality_comparable<typename Space::destination>;
    { c.first_free(address, within, parity, to) } noexcept -> std::same_as<std::optional<std::uint16_t>>;
    { c.is_free(address, port, to) } noexcept -> std::same_as<bool>;
    { c.has_room() } noexcept -> std::same_as<bool>;
    { s.take(address, port, to) } noexcept;
    { s.give(address, port, to) } noexcept;
    { c.limit() } noexcept -> std::same_as<std::uint64_t>;
    { c.memory_bytes() } noexcept -> std::same_as<std::size_t>;
};

namespace detail {

inline constexpr std::uint64_t even_bits = 0x5555'5555'5555'5555u;

[[nodiscard]] constexpr std::uint64_t bits_of(port_parity parity) noexcept {
    return parity == port_parity::any ? ~std::uint64_t{0} : parity == port_parity::even ? even_bits : ~even_bits;
}
/// The bits of word `w` that stand for ports of the range.
[[nodiscard]] constexpr std::uint64_t bits_within(std::uint32_t w, port_range within) noexcept {
    std::uint64_t bits = ~std::uint64_t{0};
    if (w == within.first / 64u) bits &= ~std::uint64_t{0} << within.first % 64;
    if (w == within.last / 64u) bits &= ~std::uint64_t{0} >> (63 - within.last % 64);
    return bits;
}
[[nodiscard]] constexpr std::uint16_t port_at(std::uint32_t w, std::uint64_t bits) noexcept {
    return static_cast<std::uint16_t>(w * 64 + static_cast<std::uint32_t>(std::countr_zero(bits)));
}

}  // namespace detail

/// A port is taken for every destination: one bit per port, and above each 64 of them a bit for "one is free", for even and odd ports apart. A search
/// reads at most two words of ports and 16 of those above. 8.25 KiB per address.
class exclusive_ports {
  public:
    struct destination {
        friend constexpr bool operator==(destination, destination) noexcept = default;
    };

    exclusive_ports(std::uint32_t addresses, port_range ports, std::uint32_t capacity = 0);

    /// The lowest free port of the range.
    [[nodiscard]] std::optional<std::uint16_t> first_free(std::uint32_t address, port_range within, port_parity parity,
                                                          destination = {}) const noexcept;
    [[nodiscard]] bool is_free(std::uint32_t address, std::uint16_t port, destination = {}) const noexcept {
        return (maps_[address].free[port / 64u] >> port % 64 & 1u) != 0;
    }
    [[nodiscard]] bool has_room() const noexcept { return true; }
    void take(std::uint32_t address, std::uint16_t port, destination = {}) noexcept;
    void give(std::uint32_t address, std::uint16_t port, destination = {}) noexcept;

    /// Ports that can be taken at once.
    [[nodiscard]] std::uint64_t limit() const noexcept { return limit_; }
    [[nodiscard]] static std::uint64_t limit(std::uint32_t addresses, port_range ports, std::uint32_t) noexcept {
        return std::uint64_t{addresses} * (ports.last - ports.first + 1u);
    }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return maps_.size() * sizeof(map); }
    [[nodiscard]] static std::size_t memory_bytes(std::uint32_t addresses, std::uint32_t) noexcept { return addresses * sizeof(map); }

  private:
    struct map {
        std::array<std::uint64_t, 1024> free{};
        std::array<std::array<std::uint64_t, 16>, 2> some{};  ///< by parity: which of the words above hold a free port
    };
    [[nodiscard]] static std::optional<std::uint32_t> next_word(map const& m, std::uint32_t after, port_parity parity) noexcept;
    static void tell(map& m, std::uint32_t w) noexcept;

    std::vector<map> maps_;
    std::uint64_t limit_;
};

/// A port may be taken once for every destination, so that one address serves more sessions than it has ports. The same bitmaps, of which only words with a
/// taken port exist, in a hash table of fixed size: for each destination 64 ports a word, and words that say which of these are full. A search reads at
/// most 35 words of the table. Not for mappings that any destination may answer.
template <class Address>
class ports_by_destination {
  public:
    struct destination {
        Address address{};
        std::uint16_t port = 0;
        friend constexpr bool operator==(destination const&, destination const&) noexcept = default;
    };

    /// Room for `capacity` taken ports, at most 2^28; with more it has no room, whatever the ports.
    ports_by_destination(std::uint32_t addresses, port_range ports, std::uint32_t capacity);

    [[nodiscard]] std::optional<std::uint16_t> first_free(std::uint32_t address, port_range within, port_parity parity,
                                                          destination const& to) const noexcept;
    [[nodiscard]] bool is_free(std::uint32_t address, std::uint16_t port, destination const& to) const noexcept {
        return (word(key_of(address, port / 64u, to)) >> port % 64 & 1u) == 0;
    }
    [[nodiscard]] bool has_room() const noexcept { return taken_ < capacity_; }
    void take(std::uint32_t address, std::uint16_t port, destination const& to) noexcept;
    void give(std::uint32_t address, std::uint16_t port, destination const& to) noexcept;
    [[nodiscard]] std::uint64_t limit() const noexcept { return capacity_; }
    [[nodiscard]] static std::uint64_t limit(std::uint32_t, port_range, std::uint32_t capacity) noexcept { return std::min(capacity, most); }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return slots_.size() * sizeof(slot); }
    [[nodiscard]] static std::size_t memory_bytes(std::uint32_t, std::uint32_t capacity) noexcept { return slots_for(capacity) * sizeof(slot); }

  private:
    static constexpr std::uint32_t most = 1u << 28;
    static constexpr std::uint32_t full_words = 1024;  ///< word numbers from here on say which of 64 words are full of even, then of odd ports

    struct key {
        Address remote{};
        std::uint32_t address = 0;
        std::uint16_t remote_port = 0;
        std::uint16_t word = 0;
        friend constexpr bool operator==(key const&, key const&) noexcept = default;
    };
    static_assert(std::has_unique_object_representations_v<key>);
    struct slot {
        key name{};
        std::uint64_t bits = 0;  ///< taken; 0: the slot is empty
    };

    [[nodiscard]] static std::size_t slots_for(std::uint32_t capacity) noexcept {
        return std::bit_ceil(std::size_t{std::min(capacity, most)} / 24 * 33 + 64);  // each taken port may need a word, each full one two bits in others
    }
    [[nodiscard]] static key key_of(std::uint32_t address, std::uint32_t w, destination const& to) noexcept {
        return {to.address, address, to.port, static_cast<std::uint16_t>(w)};
    }
    [[nodiscard]] static std::size_t hash(key const& k) noexcept;
    [[nodiscard]] std::size_t find(key const& k) const noexcept;
    [[nodiscard]] std::uint64_t word(key const& k) const noexcept { return slots_[find(k)].bits; }
    void set(key const& k, std::uint64_t bits) noexcept;
    void clear(key const& k, std::uint64_t bits) noexcept;
    void close_gap(std::size_t at) noexcept;
    [[nodiscard]] std::uint64_t not_full(std::uint32_t address, std::uint32_t group, port_parity parity, destination const& to) const noexcept;

    std::vector<slot> slots_;
    std::uint64_t capacity_;
    std::uint64_t taken_ = 0;
};

}  // namespace halfproxy

#include <halfproxy/translate/impl/port_space.hpp>
