// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/engine/nat_config.hpp>

#include <algorithm>

namespace halfproxy {

namespace detail {

[[nodiscard]] inline unsigned family_bits(ip_address const& a) noexcept { return a.version == 6 ? 128 : 32; }

[[nodiscard]] inline bool overlap(ip_prefix const& a, ip_prefix const& b) noexcept {
    if (a.address.version != b.address.version) return false;
    return a.length <= b.length ? a.contains(b.address) : b.contains(a.address);
}

/// Addresses of a prefix; 2^63 for what is more.
[[nodiscard]] inline std::uint64_t addresses_of(ip_prefix const& p) noexcept {
    unsigned const host_bits = family_bits(p.address) - p.length;
    return std::uint64_t{1} << std::min(host_bits, 63u);
}

[[nodiscard]] inline bool agree(ip_prefix const& a, std::uint8_t version) noexcept { return a.address.version == 0 || a.address.version == version; }

/// An address with a prefix's bits in front.
[[nodiscard]] constexpr ip_address moved_to(ip_address a, ip_prefix const& prefix) noexcept {
    for (std::size_t i = 0; i < a.bytes.size(); ++i) {
        unsigned const kept = std::clamp<unsigned>(prefix.length, static_cast<unsigned>(8 * i), static_cast<unsigned>(8 * i + 8)) - static_cast<unsigned>(8 * i);
        auto const mask = static_cast<std::uint8_t>(0xff00u >> kept);
        a.bytes[i] = static_cast<std::uint8_t>((prefix.address.bytes[i] & mask) | (a.bytes[i] & ~mask));
    }
    return a;
}

/// How far an address of the prefix lies behind its first.
[[nodiscard]] constexpr std::uint64_t place_in(ip_prefix const& prefix, ip_address const& a) noexcept {
    auto const low = [](ip_address const& x) {
        if (x.version == 4) return std::uint64_t{x.to_v4()};
        std::uint64_t value = 0;
        for (std::size_t i = 8; i < 16; ++i) value = value << 8 | x.bytes[i];
        return value;
    };
    return low(a) - low(prefix.address);
}

[[nodiscard]] inline bool has_ports(std::optional<std::uint8_t> const& protocol) noexcept {
    return protocol == ip_protocol::tcp || protocol == ip_protocol::udp;
}

[[nodiscard]] inline std::uint32_t count(port_range const& r) noexcept { return r.last - r.first + 1u; }

/// The pool alone, and beside the rules before.
[[nodiscard]] inline std::optional<nat_fault> fault_of_pool(nat_config const& nat, std::size_t number) {
    snat_rule const& rule = nat.snat[number];
    if (rule.pool.empty()) return nat_fault{"pool", "is missing: a list of addresses or prefixes"};
    for (std::size_t i = 0; i < rule.pool.size(); ++i) {
        ip_prefix const& p = rule.pool[i];
        if (p.address.version == 0) return nat_fault{"pool", "cannot be \"any\""};
        if (p.address.version != rule.pool[0].address.version) return nat_fault{"pool", "holds addresses of both families"};
        for (std::size_t j = 0; j < i; ++j)
            if (overlap(p, rule.pool[j])) return nat_fault{"pool", "overlaps itself"};
        for (std::size_t before = 0; before < number; ++before)
            for (ip_prefix const& other : nat.snat[before].pool)
                if (overlap(p, other)) return nat_fault{"pool", "overlaps the pool of snat rule " + std::to_string(before + 1)};
        for (std::size_t s = 0; s < nat.statics.size(); ++s)
            if (overlap(p, nat.statics[s].outside)) return nat_fault{"pool", "overlaps `outside` of static rule " + std::to_string(s + 1)};
    }
    if (pool_addresses(rule) > max_pool_addresses)
        return nat_fault{"pool", "has more than " + std::to_string(max_pool_addresses) + " addresses: make several rules of it"};
    return std::nullopt;
}

[[nodiscard]] inline std::optional<nat_fault> fault_of_blocks(nat_config const& nat, snat_rule const& rule) {
    std::uint32_t const ports = count(rule.ports.ports);
    std::uint32_t const smallest = rule.block_ports == 0 ? ports : rule.block_ports;
    if (smallest > ports) return nat_fault{"block_ports", "is more than there are in `ports`"};
    if (smallest < nat.shards) return nat_fault{rule.block_ports == 0 ? "ports" : "block_ports", "is less than one port for each shard"};
    if (rule.block_ports == 0) return std::nullopt;
    if (rule.from.address.version == 0) return nat_fault{"block_ports", "needs `from`: who has blocks"};
    port_blocks const blocks{static_cast<std::uint32_t>(pool_addresses(rule)), rule.ports.ports, rule.block_ports};
    if (addresses_of(rule.from) > blocks.subscribers())
        return nat_fault{"block_ports", "leaves only " + std::to_string(blocks.subscribers()) + " blocks, and `from` has " +
                                            std::to_string(addresses_of(rule.from)) + " addresses"};
    return std::nullopt;
}

}  // namespace detail

inline std::uint64_t pool_addresses(snat_rule const& rule) noexcept {
    std::uint64_t sum = 0;
    for (ip_prefix const& p : rule.pool) sum = std::min(sum + detail::addresses_of(p), std::uint64_t{1} << 63);
    return sum;
}

inline std::optional<nat_fault> fault_of_static(nat_config const& nat, std::size_t number) {
    static_rule const& rule = nat.statics[number];
    if (rule.inside.address.version == 0) return nat_fault{"inside", "is missing: an address or prefix"};
    if (rule.outside.address.version == 0) return nat_fault{"outside", "is missing: an address or prefix"};
    if (rule.inside.address.version != rule.outside.address.version) return nat_fault{"outside", "is of another address family than `inside`"};
    if (rule.inside.length != rule.outside.length) return nat_fault{"outside", "is not as large as `inside`"};
    if (detail::overlap(rule.inside, rule.outside)) return nat_fault{"outside", "overlaps `inside`"};
    for (std::size_t before = 0; before < number; ++before) {
        static_rule const& other = nat.statics[before];
        if (detail::overlap(rule.inside, other.inside)) return nat_fault{"inside", "overlaps that of static rule " + std::to_string(before + 1)};
        if (detail::overlap(rule.outside, other.outside)) return nat_fault{"outside", "overlaps that of static rule " + std::to_string(before + 1)};
    }
    return std::nullopt;
}

inline std::optional<nat_fault> fault_of_dnat(nat_config const& nat, std::size_t number) {
    dnat_rule const& rule = nat.dnat[number];
    std::uint8_t const version = rule.target.version;
    if (rule.to.address.version == 0 && rule.origin != flow_origin::inside) return nat_fault{"to", "is missing: an address or prefix"};
    if (!detail::agree(rule.to, version)) return nat_fault{"to", "is of another address family than `target`"};
    if (!detail::agree(rule.from, version)) return nat_fault{"from", "is of another address family than `target`"};
    if (rule.to == ip_prefix{rule.target, static_cast<std::uint8_t>(detail::family_bits(rule.target))} && rule.target_ports.first == 0)
        return nat_fault{"target", "is `to` itself"};
    if (!detail::has_ports(rule.protocol)) {
        if (!(rule.ports == port_range{})) return nat_fault{"ports", "need proto = \"tcp\" or \"udp\""};
        if (rule.target_ports.first != 0) return nat_fault{"target_ports", "need proto = \"tcp\" or \"udp\""};
    }
    std::uint32_t const ports = detail::count(rule.target_ports);
    if (rule.target_ports.first != 0 && ports != 1 && ports != detail::count(rule.ports))
        return nat_fault{"target_ports", "must be one port, or as many as `ports`"};
    for (std::size_t s = 0; s < nat.statics.size(); ++s)
        if (detail::overlap(rule.to, nat.statics[s].outside)) return nat_fault{"to", "overlaps `outside` of static rule " + std::to_string(s + 1) + ", which comes first"};
    return std::nullopt;
}

inline std::optional<nat_fault> fault_of_snat(nat_config const& nat, std::size_t number) {
    snat_rule const& rule = nat.snat[number];
    if (auto const fault = detail::fault_of_pool(nat, number)) return fault;
    std::uint8_t const version = rule.pool[0].address.version;
    if (!detail::agree(rule.from, version)) return nat_fault{"from", "is of another address family than `pool`"};
    if (!detail::agree(rule.to, version)) return nat_fault{"to", "is of another address family than `pool`"};
    if (rule.ports.ports.first == 0 || rule.ports.ports.last < rule.ports.ports.first) return nat_fault{"ports", "is no range of ports from 1 to 65535"};
    bool const for_all = rule.mapping == nat_mapping::endpoint_independent;
    if (rule.share_ports && for_all) return nat_fault{"share_ports", "needs mapping = \"address_and_port_dependent\""};
    if (rule.filtering == nat_filtering::endpoint_independent && !for_all)
        return nat_fault{"filtering", "cannot be endpoint_independent where mappings are for one remote endpoint each"};
    if (rule.ports.low_percent > rule.ports.high_percent) return nat_fault{"low_percent", "must be at most high_percent"};
    return detail::fault_of_blocks(nat, rule);
}

namespace detail {

/// Whether two rules give out the same ports in the same way; whom they give them to is another matter.
[[nodiscard]] inline bool same_ports(snat_rule const& a, snat_rule const& b) noexcept {
    bool const same_blocks = a.block_ports == b.block_ports && (a.block_ports == 0 || a.from == b.from);
    return a.pool == b.pool && a.ports == b.ports && a.share_ports == b.share_ports && same_blocks;
}

[[nodiscard]] inline bool pools_overlap(snat_rule const& a, snat_rule const& b) noexcept {
    return std::any_of(a.pool.begin(), a.pool.end(), [&](ip_prefix const& p) {
        return std::any_of(b.pool.begin(), b.pool.end(), [&](ip_prefix const& q) { return overlap(p, q); });
    });
}

}  // namespace detail

/// A port that is taken whole and one that is taken for one destination cannot stand beside each other.
inline std::optional<nat_fault> fault_of_change(nat_config const& running, nat_config const& next) {
    for (std::size_t i = 0; i < next.snat.size(); ++i)
        for (snat_rule const& before : running.snat)
            if (before.share_ports != next.snat[i].share_ports && detail::pools_overlap(before, next.snat[i]))
                return nat_fault{"share_ports", "of snat rule " + std::to_string(i + 1) + " cannot change while running: its pool's addresses are in use in the other way"};
    return std::nullopt;
}

inline std::optional<ip_prefix> outside_of(nat_config const& nat, std::vector<ip_prefix> const& ours) {
    auto const covered = [&](ip_prefix const& p) {
        return std::any_of(ours.begin(), ours.end(), [&](ip_prefix const& o) { return o.length <= p.length && o.contains(p.address); });
    };
    for (snat_rule const& rule : nat.snat)
        for (ip_prefix const& p : rule.pool)
            if (!covered(p)) return p;
    for (static_rule const& rule : nat.statics)
        if (!covered(rule.outside)) return rule.outside;
    return std::nullopt;
}

}  // namespace halfproxy
