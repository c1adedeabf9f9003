// SPDX-License-Identifier: BSL-1.0
// Rules of address translation as plain data, and what may be wrong with them.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/translate/nat_binding.hpp>
#include <halfproxy/translate/port_pool.hpp>
#include <halfproxy/wire/address.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace halfproxy {

/// Which mapping a flow of an inside endpoint gets (RFC 4787 section 4.1).
enum class nat_mapping : std::uint8_t {
    endpoint_independent,        ///< one for all its flows
    address_and_port_dependent,  ///< one for each remote endpoint
};

/// Who may send to an inside endpoint through its mapping (RFC 4787 section 5).
enum class nat_filtering : std::uint8_t {
    endpoint_independent,        ///< everybody: a packet to the mapping opens a flow to the inside host, if the rules allow it
    address_and_port_dependent,  ///< who was spoken to
};

/// The side on which a flow's client is.
enum class flow_origin : std::uint8_t { inside, outside, both };

[[nodiscard]] constexpr bool includes(flow_origin origin, side arrival) noexcept {
    return origin == flow_origin::both || (origin == flow_origin::inside) == (arrival == side::inside);
}

/// Addresses of a pool at most: more need more rules.
inline constexpr std::uint32_t max_pool_addresses = 256;

/// Source NAT: the client's address and port become one of the pool's. Matched by the client as it is and the server as its packets will leave, behind
/// destination NAT; the first rule that matches decides.
struct snat_rule {
    ip_prefix from{};
    ip_prefix to{};
    std::optional<std::uint8_t> protocol{};  ///< none: every protocol
    flow_origin origin = flow_origin::inside;
    std::vector<ip_prefix> pool{};           ///< every address of these
    nat_mapping mapping = nat_mapping::endpoint_independent;
    nat_filtering filtering = nat_filtering::address_and_port_dependent;
    bool paired = true;              ///< an inside address has one pool address for all its flows (RFC 4787 REQ-2); else others when that one is exhausted
    bool share_ports = false;        ///< a port serves several destinations, each once: more sessions than ports; not endpoint-independent
    std::uint32_t block_ports = 0;   ///< deterministic NAT (RFC 7422): each address of `from` has its own block of so many ports; 0: no blocks
    port_pool_config ports{};        ///< its `addresses` are counted from `pool`
};

/// Destination NAT: the server's address and port become the target's.
struct dnat_rule {
    ip_prefix from{};
    ip_prefix to{};
    std::optional<std::uint8_t> protocol{};
    port_range ports{};              ///< destination ports
    flow_origin origin = flow_origin::outside;  ///< the target is on the other side; of rules for clients outside, clients inside reach it by hairpin
    ip_address target{};
    port_range target_ports{0, 0};   ///< as many as `ports`, one for each, or a single one for all; 0: the port is kept
};

/// One to one, both ways: the inside prefix is seen outside as the outside one. Ports and protocols are kept.
struct static_rule {
    ip_prefix inside{};
    ip_prefix outside{};
};

struct nat_config {
    std::vector<static_rule> statics{};
    std::vector<dnat_rule> dnat{};
    std::vector<snat_rule> snat{};
    bool hairpin = true;  ///< what inside hosts send to external addresses of inside hosts is turned round here; else it leaves to the outside
    binding_lingers linger{};
    std::uint32_t bindings_v4 = 0;  ///< dynamic mappings; 0: as many as flows, which is always enough
    std::uint32_t bindings_v6 = 0;
    std::uint32_t shard = 0;        ///< this engine gives ports of its slice only: shard_slice()
    std::uint32_t shards = 1;
    std::uint64_t seed = 0;         ///< of ports and hashes; random in production

    [[nodiscard]] bool empty() const noexcept { return statics.empty() && dnat.empty() && snat.empty(); }
};

/// What is wrong with a rule: the name of its member, as the configuration writes it, and a sentence without subject.
struct nat_fault {
    std::string_view key;
    std::string text;
};

/// Rules are judged by themselves and beside those before them; static ones come first, then dnat, then snat.
[[nodiscard]] std::optional<nat_fault> fault_of_static(nat_config const& nat, std::size_t rule);
[[nodiscard]] std::optional<nat_fault> fault_of_dnat(nat_config const& nat, std::size_t rule);
[[nodiscard]] std::optional<nat_fault> fault_of_snat(nat_config const& nat, std::size_t rule);

/// What stands in the way of `next`, which has no fault of its own, while mappings of `running` exist.
[[nodiscard]] std::optional<nat_fault> fault_of_change(nat_config const& running, nat_config const& next);

/// The first external address range that does not lie in any of the prefixes that are ours: where this machine answers for its addresses, nobody would bring
/// packets to it.
[[nodiscard]] std::optional<ip_prefix> outside_of(nat_config const& nat, std::vector<ip_prefix> const& ours);

/// Addresses of a rule's pool.
[[nodiscard]] std::uint64_t pool_addresses(snat_rule const& rule) noexcept;

}  // namespace halfproxy

#include <halfproxy/engine/impl/nat_config.hpp>
