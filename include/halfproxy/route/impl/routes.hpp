// SPDX-License-Identifier: BSL-1.0
// Bodies of route/routes.hpp.
#pragma once

#include <halfproxy/route/routes.hpp>

#include <algorithm>

namespace halfproxy {

namespace detail {

[[nodiscard]] constexpr std::uint8_t address_bits(ip_address const& a) noexcept { return a.version == 4 ? 32 : 128; }

/// The prefix's first address with every bit behind the prefix set.
[[nodiscard]] constexpr ip_address last_of(ip_prefix const& p) noexcept {
    ip_address a = p.address;
    for (unsigned bit = p.length; bit < address_bits(a); ++bit) a.bytes[bit / 8] = static_cast<std::uint8_t>(a.bytes[bit / 8] | 0x80u >> bit % 8);
    return a;
}
[[nodiscard]] constexpr ip_address first_of(ip_prefix const& p) noexcept {
    ip_address a = p.address;
    for (unsigned bit = p.length; bit < address_bits(a); ++bit)
        a.bytes[bit / 8] = static_cast<std::uint8_t>(a.bytes[bit / 8] & ~(0x80u >> bit % 8));
    return a;
}

[[nodiscard]] constexpr bool same_prefix(ip_prefix const& a, ip_prefix const& b) noexcept {
    return a.length == b.length && a.address.version == b.address.version && a.contains(b.address);
}

}  // namespace detail

inline ip_address broadcast_of(port_address const& a) noexcept {
    return a.address.version == 4 && a.length < 31 ? detail::last_of(a.on_link()) : ip_address{};
}

inline std::string_view problem_of(port_address const& a, std::span<port_address const> before) noexcept {
    if (!is_host(a.address)) return "is no address one host can have";
    if (a.length == 0) return "needs the length of its prefix, as in 192.0.2.1/24";
    if (a.address.version == 4 && a.length < 31) {
        if (a.address == detail::first_of(a.on_link())) return "is its prefix's own address, not a host's";
        if (a.address == broadcast_of(a)) return "is its prefix's broadcast address";
    }
    for (port_address const& other : before) {
        if (is_link_local(a.address) && other.port != a.port) continue;  // each link has its own
        if (other.address == a.address) return "is given twice";
        if (other.port != a.port && detail::same_prefix(other.on_link(), a.on_link())) return "has its prefix on the other port too";
    }
    return {};
}

inline std::string_view problem_of(static_route const& r, std::span<port_address const> addresses,
                                   std::span<static_route const> before) noexcept {
    if (r.to.address.version != r.via.version) return "is of another address family than its next hop";
    if (!is_host(r.via)) return "has a next hop that is no host's address";
    bool reached = false, reached_on[2] = {};
    for (port_address const& a : addresses) {
        if (a.address == r.via) return "has an address of this machine as its next hop";
        if (detail::same_prefix(a.on_link(), r.to)) return "is the prefix of a port";
        if (!a.on_link().contains(r.via) || (r.port && *r.port != a.port)) continue;
        reached = reached_on[static_cast<std::size_t>(a.port)] = true;
    }
    if (!reached) return "has a next hop that lies in no prefix of a port";
    if (reached_on[0] && reached_on[1] && is_link_local(r.via)) return "has a next hop that lies in a prefix of both ports: say which port";
    for (static_route const& other : before)
        if (detail::same_prefix(other.to, r.to)) return "is given twice";
    return {};
}

inline std::optional<side> port_of(ip_address const& a, std::span<port_address const> addresses) noexcept {
    std::optional<side> port;
    int longest = -1;
    for (port_address const& candidate : addresses) {
        if (!candidate.on_link().contains(a) || candidate.length <= longest) continue;
        longest = candidate.length;
        port = candidate.port;
    }
    return port;
}

inline std::string_view problem_of_answered(ip_address const& a, std::span<port_address const> addresses) noexcept {
    if (!is_host(a)) return "is no address one host can have";
    if (!port_of(a, addresses)) return "lies in no prefix of [[io.address]]: nobody would ask this machine for it";
    for (port_address const& own : addresses)
        if (a == broadcast_of(own)) return "is the broadcast address of a prefix of [[io.address]]";
    return {};
}

inline route_table::route_table(std::span<port_address const> addresses, std::span<static_route const> routes) {
    for (port_address const& a : addresses) {
        if (is_link_local(a.address)) continue;  // nothing is forwarded to one
        add(a.on_link(), {a.port, {}});
    }
    for (static_route const& r : routes) {
        std::optional<side> const port = r.port ? r.port : port_of(r.via, addresses);
        if (port) add(r.to, {*port, r.via});
    }
}

inline void route_table::add(ip_prefix const& to, route const& r) {
    std::vector<entry>& entries = to.address.version == 4 ? v4_ : v6_;
    ipv6_bytes ones{};
    for (unsigned bit = 0; bit < to.length; ++bit) ones[bit / 8] = static_cast<std::uint8_t>(ones[bit / 8] | 0x80u >> bit % 8);
    words const mask = words_of(ones), value = words_of(to.address.bytes);
    entry const fresh{{value[0] & mask[0], value[1] & mask[1]}, mask, to.length, r};
    auto const shorter = std::find_if(entries.begin(), entries.end(), [&](entry const& e) { return e.length < fresh.length; });
    entries.insert(shorter, fresh);
}

inline route const* route_table::find(ip_address const& destination) const noexcept {
    words const d = words_of(destination.bytes);
    for (entry const& e : destination.version == 4 ? v4_ : v6_)
        if ((((d[0] & e.mask[0]) ^ e.value[0]) | ((d[1] & e.mask[1]) ^ e.value[1])) == 0) return &e.to;
    return nullptr;
}

inline std::optional<own_way> way_from_here(ip_address const& destination, std::span<port_address const> addresses,
                                            std::span<static_route const> routes) {
    route_table const table(addresses, routes);
    route const* const r = table.find(destination);
    if (r == nullptr) return std::nullopt;
    ip_address const& next_hop = r->on_link() ? destination : r->via;
    std::optional<own_way> way;
    int longest = -1;
    for (port_address const& a : addresses) {
        if (a.port != r->exit || a.address.version != destination.version || is_link_local(a.address)) continue;
        int const length = a.on_link().contains(next_hop) ? a.length : 0;  // where the next hop is link-local any other will do
        if (length <= longest) continue;
        longest = length;
        way = own_way{a.port, a.address};
    }
    return way;
}

}  // namespace halfproxy
