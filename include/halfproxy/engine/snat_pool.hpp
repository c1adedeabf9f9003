// SPDX-License-Identifier: BSL-1.0
// One source NAT rule at work, for one address family: which external endpoint an inside one gets.
#pragma once

#include <halfproxy/core/verdict.hpp>
#include <halfproxy/engine/nat_config.hpp>
#include <halfproxy/engine/policies.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

namespace halfproxy {

/// Mappings of protocols without ports that a rule can have at once: one for each pool address, protocol and remote host.
inline constexpr std::uint32_t portless_mappings = 4096;

/// A prefix of one family as words, for the path of packets: no loop over bytes.
template <class Address>
class native_prefix {
  public:
    native_prefix() = default;
    /// Of that family, or of none: then it holds everything.
    explicit native_prefix(ip_prefix const& p) noexcept;

    [[nodiscard]] bool contains(Address const& a) const noexcept {
        words const w = words_of(a);
        for (std::size_t i = 0; i < w.size(); ++i)
            if (((w[i] ^ value_[i]) & mask_[i]) != 0) return false;
        return true;
    }

  private:
    using words = std::conditional_t<std::is_same_v<Address, std::uint32_t>, std::array<std::uint32_t, 1>, std::array<std::uint64_t, 2>>;
    [[nodiscard]] static words words_of(Address const& a) noexcept { return std::bit_cast<words>(a); }

    words value_{};
    words mask_{};
};

/// An external endpoint, or why there is none.
template <class Address>
struct external_endpoint {
    Address address{};
    std::uint16_t port = 0;
    std::uint16_t place = 0;  ///< number of the address in the pool
    drop_reason reason = drop_reason::none;
};

/// All memory is allocated in the constructor.
template <class Address>
class snat_pool {
  public:
    /// `capacity`: mappings at once. The rule has no fault (fault_of_snat()).
    snat_pool(snat_rule const& rule, std::uint32_t capacity, std::uint32_t shard, std::uint32_t shards, std::uint64_t seed);

    [[nodiscard]] snat_rule const& rule() const noexcept { return rule_; }
    /// Whether the rule is for flows of this source to this destination.
    [[nodiscard]] bool is_for(Address const& source, Address const& destination, side arrival, std::uint8_t protocol) const noexcept {
        return from_.contains(source) && to_.contains(destination) && includes(rule_.origin, arrival) && (!rule_.protocol || *rule_.protocol == protocol);
    }
    /// Whether it is an address of the pool.
    [[nodiscard]] bool has(Address const& a) const noexcept {
        return std::any_of(prefixes_.begin(), prefixes_.end(), [&](native_prefix<Address> const& p) { return p.contains(a); });
    }
    /// Whether a mapping is for one remote endpoint: so the rule says, and so it is for protocols without ports.
    [[nodiscard]] bool by_remote(std::uint8_t protocol) const noexcept;

    /// Work: constant, and linear in the addresses of an exhausted pool that is not paired. `sink` as port_pool's.
    template <class Sink>
    [[nodiscard]] external_endpoint<Address> take(binding_key<Address> const& who, stamp_ms now, Sink&& sink) noexcept;
    /// What take() would refuse it for.
    [[nodiscard]] drop_reason refusal_of(binding_key<Address> const& who, stamp_ms now) noexcept;
    template <class Sink>
    void give_back(nat_binding<Address> const& binding, stamp_ms now, Sink&& sink) noexcept;

    /// Another rule, that gives out the same ports (detail::same_ports()).
    void use(snat_rule const& rule);
    /// Whether take() might have given this mapping its endpoint: address and port are of this shard, and of the inside host's own block where it has one.
    [[nodiscard]] bool could_give(nat_binding<Address> const& binding) const noexcept;
    /// A mapping made by another pool, whose endpoint is one of this pool's and free: it is taken. The number of its address in this pool.
    [[nodiscard]] std::optional<std::uint16_t> adopt(nat_binding<Address> const& binding) noexcept;

    /// Calls visit(pool, IP protocol; 0: those without ports) for each of its port pools.
    template <class Visit>
    void for_each_pool(Visit&& visit);
    template <class Visit>
    void for_each_pool(Visit&& visit) const;
    [[nodiscard]] std::size_t memory_bytes() const noexcept;
    /// Of such a pool, computed.
    [[nodiscard]] static std::size_t memory_bytes(snat_rule const& rule, std::uint32_t capacity) noexcept;

  private:
    using shared_ports = ports_by_destination<Address>;
    static constexpr bool is_v4 = std::is_same_v<Address, std::uint32_t>;
    static constexpr std::array<std::uint8_t, 3> protocols{ip_protocol::tcp, ip_protocol::udp, is_v4 ? ip_protocol::icmp : ip_protocol::icmpv6};

    [[nodiscard]] static port_pool_config ported(snat_rule const& rule) noexcept;
    [[nodiscard]] static port_pool_config portless(snat_rule const& rule) noexcept;

    struct home {
        std::uint32_t place;
        port_range within;
    };
    [[nodiscard]] std::optional<home> home_of(Address const& inside) const noexcept;
    template <class Function>
    auto with_pool(std::uint8_t protocol, Function&& function) noexcept;
    template <class Pool, class Try>
    [[nodiscard]] external_endpoint<Address> try_places(Pool& pool, binding_key<Address> const& who, Try&& attempt) const noexcept;
    template <class Pool>
    [[nodiscard]] static typename Pool::destination destination_of(binding_key<Address> const& who) noexcept;

    snat_rule rule_;
    native_prefix<Address> from_{}, to_{};
    std::vector<native_prefix<Address>> prefixes_{};  ///< of the pool
    port_range slice_{};                              ///< this shard's ports of an address
    std::vector<Address> addresses_{};
    std::vector<port_pool<exclusive_ports>> whole_{};  ///< by protocols; or the next
    std::vector<port_pool<shared_ports>> shared_{};
    std::vector<port_pool<shared_ports>> portless_{};  ///< one
    std::uint32_t shard_;
    std::uint32_t shards_;
    std::uint64_t seed_;
};

}  // namespace halfproxy

#include <halfproxy/engine/impl/snat_pool.hpp>
