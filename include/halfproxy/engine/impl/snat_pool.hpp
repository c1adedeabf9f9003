// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/engine/snat_pool.hpp>

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace halfproxy {

namespace detail {

[[nodiscard]] constexpr ip_address as_ip_address(std::uint32_t a) noexcept { return ip_address::v4(a); }
[[nodiscard]] constexpr ip_address as_ip_address(ipv6_bytes const& a) noexcept { return ip_address::v6(a); }

template <class Address>
[[nodiscard]] Address address_from(ip_address const& a) noexcept {
    if constexpr (std::is_same_v<Address, std::uint32_t>)
        return a.to_v4();
    else
        return a.bytes;
}

/// The n-th address of a prefix.
[[nodiscard]] inline ip_address nth_address(ip_prefix const& prefix, std::uint32_t n) noexcept {
    ip_address a = prefix.address;
    std::size_t const end = a.version == 4 ? 4 : 16;
    for (std::size_t i = 0; i < 4; ++i) a.bytes[end - 1 - i] = static_cast<std::uint8_t>(a.bytes[end - 1 - i] | n >> 8 * i);
    return a;
}

/// SplitMix64's finalizer over an address.
[[nodiscard]] constexpr std::uint64_t spread(std::uint64_t high, std::uint64_t low, std::uint64_t seed) noexcept {
    std::uint64_t h = high * 0x9e37'79b9'7f4a'7c15u ^ low ^ seed;
    h = (h ^ h >> 30) * 0xbf58'476d'1ce4'e5b9u;
    h = (h ^ h >> 27) * 0x94d0'49bb'1331'11ebu;
    return h ^ h >> 31;
}
[[nodiscard]] constexpr std::uint64_t spread(std::uint32_t a, std::uint64_t seed) noexcept { return spread(a, 0, seed); }
[[nodiscard]] constexpr std::uint64_t spread(ipv6_bytes const& a, std::uint64_t seed) noexcept {
    auto const words = std::bit_cast<std::array<std::uint64_t, 2>>(a);
    return spread(words[0], words[1], seed);
}

[[nodiscard]] constexpr drop_reason drop_reason_of(port_refusal refusal) noexcept {
    switch (refusal) {
        case port_refusal::exhausted: return drop_reason::nat_ports_exhausted;
        case port_refusal::no_room: return drop_reason::nat_table_full;
        case port_refusal::none: break;
    }
    return drop_reason::none;
}

}  // namespace detail

template <class Address>
native_prefix<Address>::native_prefix(ip_prefix const& p) noexcept {
    if (p.address.version == 0) return;
    ip_address mask{p.address.version, {}};
    for (std::size_t bit = 0; bit < p.length; ++bit) mask.bytes[bit / 8] = static_cast<std::uint8_t>(mask.bytes[bit / 8] | 0x80u >> bit % 8);
    value_ = words_of(detail::address_from<Address>(p.address));
    mask_ = words_of(detail::address_from<Address>(mask));
}

template <class Address>
void snat_pool<Address>::use(snat_rule const& rule) {
    rule_ = rule;
    from_ = native_prefix<Address>(rule.from);
    to_ = native_prefix<Address>(rule.to);
    prefixes_.clear();
    for (ip_prefix const& p : rule.pool) prefixes_.emplace_back(p);
}

template <class Address>
snat_pool<Address>::snat_pool(snat_rule const& rule, std::uint32_t capacity, std::uint32_t shard, std::uint32_t shards, std::uint64_t seed)
    : slice_(shard_slice(rule.ports.ports, shard, shards)), shard_(shard), shards_(shards), seed_(seed) {
    use(rule);
    for (ip_prefix const& p : rule.pool)
        for (std::uint32_t n = 0; n < detail::addresses_of(p); ++n) addresses_.push_back(detail::address_from<Address>(detail::nth_address(p, n)));
    port_pool_config config = ported(rule);
    for (std::size_t i = 0; i < protocols.size(); ++i) {
        config.seed = seed + i + 1;
        if (rule.share_ports)
            shared_.emplace_back(config, capacity);
        else
            whole_.emplace_back(config);
    }
    portless_.emplace_back(portless(rule), std::min(capacity, portless_mappings));
}

template <class Address>
port_pool_config snat_pool<Address>::ported(snat_rule const& rule) noexcept {
    port_pool_config config = rule.ports;
    config.addresses = static_cast<std::uint32_t>(pool_addresses(rule));
    return config;
}

/// What has no ports has port 0.
template <class Address>
port_pool_config snat_pool<Address>::portless(snat_rule const& rule) noexcept {
    port_pool_config config = ported(rule);
    config.ports = {0, 0};
    config.keep_parity = config.preserve = false;
    config.quarantine = 0;
    return config;
}

template <class Address>
bool snat_pool<Address>::by_remote(std::uint8_t protocol) const noexcept {
    return rule_.mapping == nat_mapping::address_and_port_dependent || std::find(protocols.begin(), protocols.end(), protocol) == protocols.end();
}

/// Calls function(pool) with the pool of this protocol.
template <class Address>
template <class Function>
auto snat_pool<Address>::with_pool(std::uint8_t protocol, Function&& function) noexcept {
    std::size_t const at = protocol == protocols[0] ? 0 : protocol == protocols[1] ? 1 : protocol == protocols[2] ? 2 : 3;
    if (at == protocols.size()) return function(portless_[0]);
    return rule_.share_ports ? function(shared_[at]) : function(whole_[at]);
}

template <class Address>
std::optional<typename snat_pool<Address>::home> snat_pool<Address>::home_of(Address const& inside) const noexcept {
    if (rule_.block_ports != 0) {
        port_blocks const blocks{static_cast<std::uint32_t>(addresses_.size()), rule_.ports.ports, rule_.block_ports};
        auto const block = blocks.of(detail::place_in(rule_.from, detail::as_ip_address(inside)));
        if (!block) return std::nullopt;
        return home{block->address, shard_slice(block->ports, shard_, shards_)};
    }
    if (addresses_.size() == 1) return home{0, slice_};
    return home{static_cast<std::uint32_t>((detail::spread(inside, seed_) >> 32) * addresses_.size() >> 32), slice_};
}

template <class Address>
template <class Pool>
typename Pool::destination snat_pool<Address>::destination_of(binding_key<Address> const& who) noexcept {
    if constexpr (std::is_same_v<Pool, port_pool<exclusive_ports>>)
        return {};
    else
        return {who.remote, std::find(protocols.begin(), protocols.end(), who.protocol) == protocols.end() ? std::uint16_t{who.protocol} : who.remote_port};
}

/// attempt(request) -> port_grant, at home and, where the rule allows it, at the others.
template <class Address>
template <class Pool, class Try>
external_endpoint<Address> snat_pool<Address>::try_places(Pool& pool, binding_key<Address> const& who, Try&& attempt) const noexcept {
    auto const at = home_of(who.inside);
    if (!at) return {.reason = drop_reason::nat_no_block};
    bool const portless = pool.config().ports.last == 0;
    typename Pool::request request{at->place, portless ? port_range{0, 0} : at->within, who.inside_port, destination_of<Pool>(who)};
    auto const tries = static_cast<std::uint32_t>(rule_.paired || rule_.block_ports != 0 ? 1 : addresses_.size());
    port_grant grant;
    for (std::uint32_t n = 0; n < tries; ++n) {
        grant = attempt(request);
        if (grant || grant.refusal == port_refusal::no_room || n + 1 == tries) break;
        if (++request.address == addresses_.size()) request.address = 0;
    }
    return {addresses_[request.address], grant.port, static_cast<std::uint16_t>(request.address), detail::drop_reason_of(grant.refusal)};
}

template <class Address>
template <class Sink>
external_endpoint<Address> snat_pool<Address>::take(binding_key<Address> const& who, stamp_ms now, Sink&& sink) noexcept {
    return with_pool(who.protocol, [&](auto& pool) {
        return try_places(pool, who, [&](auto const& request) { return pool.allocate(request, now, sink); });
    });
}

template <class Address>
drop_reason snat_pool<Address>::refusal_of(binding_key<Address> const& who, stamp_ms now) noexcept {
    return with_pool(who.protocol, [&](auto& pool) {
        return try_places(pool, who, [&](auto const& request) { return port_grant{0, pool.refusal_of(request, now)}; }).reason;
    });
}

template <class Address>
template <class Sink>
void snat_pool<Address>::give_back(nat_binding<Address> const& b, stamp_ms now, Sink&& sink) noexcept {
    with_pool(b.key.protocol, [&](auto& pool) {
        pool.release(b.place, b.outside_port, destination_of<std::remove_reference_t<decltype(pool)>>(b.key), now, sink);
    });
}

template <class Address>
bool snat_pool<Address>::could_give(nat_binding<Address> const& b) const noexcept {
    if (rule_.protocol && *rule_.protocol != b.key.protocol) return false;
    auto const at = std::find(addresses_.begin(), addresses_.end(), b.outside);
    if (at == addresses_.end()) return false;
    if (std::find(protocols.begin(), protocols.end(), b.key.protocol) == protocols.end()) return b.outside_port == 0;
    if (rule_.block_ports == 0) return slice_.contains(b.outside_port);
    auto const own = home_of(b.key.inside);
    return own && own->place == static_cast<std::uint32_t>(at - addresses_.begin()) && own->within.contains(b.outside_port);
}

template <class Address>
std::optional<std::uint16_t> snat_pool<Address>::adopt(nat_binding<Address> const& b) noexcept {
    auto const at = std::find(addresses_.begin(), addresses_.end(), b.outside);
    if (at == addresses_.end()) return std::nullopt;
    auto const place = static_cast<std::uint16_t>(at - addresses_.begin());
    bool const free = with_pool(b.key.protocol, [&](auto& pool) {
        return pool.take(place, b.outside_port, destination_of<std::remove_reference_t<decltype(pool)>>(b.key));
    });
    return free ? std::optional{place} : std::nullopt;
}

template <class Address>
template <class Visit>
void snat_pool<Address>::for_each_pool(Visit&& visit) {
    for (std::size_t i = 0; i < whole_.size(); ++i) visit(whole_[i], protocols[i]);
    for (std::size_t i = 0; i < shared_.size(); ++i) visit(shared_[i], protocols[i]);
    visit(portless_[0], std::uint8_t{0});
}

template <class Address>
template <class Visit>
void snat_pool<Address>::for_each_pool(Visit&& visit) const {
    for (std::size_t i = 0; i < whole_.size(); ++i) visit(whole_[i], protocols[i]);
    for (std::size_t i = 0; i < shared_.size(); ++i) visit(shared_[i], protocols[i]);
    visit(portless_[0], std::uint8_t{0});
}

template <class Address>
std::size_t snat_pool<Address>::memory_bytes(snat_rule const& rule, std::uint32_t capacity) noexcept {
    port_pool_config const config = ported(rule);
    std::size_t const each = rule.share_ports ? port_pool<shared_ports>::memory_bytes(config, capacity) : port_pool<exclusive_ports>::memory_bytes(config, capacity);
    return config.addresses * sizeof(Address) + protocols.size() * each +
           port_pool<shared_ports>::memory_bytes(portless(rule), std::min(capacity, portless_mappings));
}

template <class Address>
std::size_t snat_pool<Address>::memory_bytes() const noexcept {
    std::size_t sum = addresses_.size() * sizeof(Address);
    for_each_pool([&](auto const& pool, std::uint8_t) { sum += pool.memory_bytes(); });
    return sum;
}

}  // namespace halfproxy
