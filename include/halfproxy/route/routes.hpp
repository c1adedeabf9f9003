// SPDX-License-Identifier: BSL-1.0
// Which port and next hop a destination is reached through: connected prefixes and static routes, longest prefix first.
//
// Read RFC 1812 sections 5.2.4 and 4.2.2.11 first.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/wire/address.hpp>

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace halfproxy {

/// An address of ours on one port. What shares its first `length` bits is reached there without a router.
struct port_address {
    side port = side::outside;
    ip_address address{};
    std::uint8_t length = 0;

    [[nodiscard]] constexpr ip_prefix on_link() const noexcept { return {address, length}; }
};

/// `port` need be given only where `via` lies in a prefix of both ports, as link-local addresses do.
struct static_route {
    ip_prefix to{};
    ip_address via{};
    std::optional<side> port{};
};

/// Where a packet goes: through `exit`, to `via`, or with none (version 0) to its destination itself.
struct route {
    side exit = side::outside;
    ip_address via{};

    [[nodiscard]] constexpr bool on_link() const noexcept { return via.version == 0; }
};

/// The IPv4 broadcast address of the prefix an address of ours is in; none for IPv6 and for prefixes of 31 bits and more (RFC 3021).
[[nodiscard]] ip_address broadcast_of(port_address const& a) noexcept;

/// What keeps an entry from being used beside those before it, as half a sentence; empty when nothing does.
[[nodiscard]] std::string_view problem_of(port_address const& a, std::span<port_address const> before) noexcept;
[[nodiscard]] std::string_view problem_of(static_route const& r, std::span<port_address const> addresses,
                                          std::span<static_route const> before) noexcept;

/// Of an address that is answered for, a virtual service's or a pool's: it must lie in a connected prefix.
[[nodiscard]] std::string_view problem_of_answered(ip_address const& a, std::span<port_address const> addresses) noexcept;

/// The port whose connected prefix holds `a`: the longest, if several do.
[[nodiscard]] std::optional<side> port_of(ip_address const& a, std::span<port_address const> addresses) noexcept;

/// How something of our own reaches a destination: through which port, and in whose name.
struct own_way {
    side exit = side::outside;
    ip_address source{};  ///< our address in the prefix that the next hop lies in
};

/// Nothing without a route, or without an address there. Entries must have no problem. Allocates.
[[nodiscard]] std::optional<own_way> way_from_here(ip_address const& destination, std::span<port_address const> addresses,
                                                   std::span<static_route const> routes);

/// Made once; entries must have no problem. find() compares with one route after the other, longest first: made for tens of routes, not for
/// the Internet's.
class route_table {
  public:
    route_table() = default;
    route_table(std::span<port_address const> addresses, std::span<static_route const> routes);

    /// The route of the longest prefix that holds the destination, or nullptr. Work: one comparison for each route of its family.
    [[nodiscard]] route const* find(ip_address const& destination) const noexcept;

    [[nodiscard]] std::size_t size() const noexcept { return v4_.size() + v6_.size(); }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return size() * sizeof(entry); }

  private:
    using words = std::array<std::uint64_t, 2>;  ///< an address as it lies in memory

    struct entry {
        words value;
        words mask;
        std::uint8_t length;
        route to;
    };

    [[nodiscard]] static words words_of(ipv6_bytes const& bytes) noexcept {
        words w;
        std::memcpy(w.data(), bytes.data(), sizeof(w));
        return w;
    }
    void add(ip_prefix const& to, route const& r);

    std::vector<entry> v4_{};
    std::vector<entry> v6_{};
};

}  // namespace halfproxy

#include <halfproxy/route/impl/routes.hpp>
