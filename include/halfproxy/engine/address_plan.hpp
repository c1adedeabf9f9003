// SPDX-License-Identifier: BSL-1.0
// Address translation from rules: static, destination and source NAT of flows, the mappings behind them, hairpins.
//
// A flow's first packet goes through two steps, like through any NAT: where to (static rules, then dnat rules, then mappings that exist), and in whose name
// (static rules, then the first snat rule that matches). What follows of the flow is the engine's alone.
//
// Read RFC 4787, RFC 5382, RFC 5508 and RFC 3022 first.
#pragma once

#include <halfproxy/engine/config.hpp>
#include <halfproxy/engine/engine.hpp>
#include <halfproxy/engine/nat_config.hpp>
#include <halfproxy/engine/policies.hpp>
#include <halfproxy/engine/snat_pool.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace halfproxy {

struct nat_counters {
    std::uint64_t mappings_made = 0;
    std::uint64_t mappings_ended = 0;    ///< made - ended is what there is
    std::uint64_t mappings_shared = 0;   ///< flows that found their mapping made
    std::uint64_t opened_from_outside = 0;  ///< flows to an inside host through a mapping
    std::uint64_t hairpins = 0;
    std::uint64_t events_lost = 0;       ///< nobody took them in time
};

/// A pool of ports has reached its high mark, or fallen to its low one.
struct nat_event {
    stamp_ms at{};
    std::uint32_t rule = 0;       ///< index in nat_config::snat
    std::uint8_t protocol = 0;    ///< 0: those without ports
    port_pool_event ports{};
};

/// A stateful_address_policy (engine/policies.hpp); what comes before it, virtual services for instance, may wrap it. All memory is allocated in the constructor, which takes rules without fault (nat_config.hpp). Work for
/// a flow's first packet: linear in the rules, else constant; for others none.
class address_plan {
  public:
    static constexpr bool keeps_state = true;

    address_plan() : address_plan(nat_config{}, limits_config{.flows_v4 = 0, .flows_v6 = 0}) {}
    /// `limits` are the engine's own: what flows hold is kept by their numbers.
    address_plan(nat_config const& nat, limits_config const& limits);

    template <class Address>
    [[nodiscard]] address_answer<Address> translate(flow_request<Address> const& request, stamp_ms now) noexcept;
    template <class Address>
    [[nodiscard]] address_answer<Address> foresee(flow_request<Address> const& request, stamp_ms now) noexcept;
    /// A packet without flow will be asked about soon: fetches what that will read. Changes nothing.
    template <class Address>
    void expect(flow_request<Address> const& request) const noexcept;
    template <class Address>
    void refused(address_answer<Address> const& answer, stamp_ms now) noexcept;
    template <class Address>
    void opened(flow<Address> const& f, std::uint32_t number, address_answer<Address> const& answer) noexcept;
    template <class Address>
    void closed(flow<Address> const& f, std::uint32_t number, stamp_ms now) noexcept;
    void advance(stamp_ms now, std::uint32_t budget) noexcept;
    [[nodiscard]] std::optional<stamp_ms> next_deadline(stamp_ms now) const noexcept;

    /// A portable_address_policy: mappings go from one plan to another with the flows that hold them. Which endpoint is not asked of the rules again, but
    /// it must be one that a rule here could have given, and free.
    template <class Address>
    [[nodiscard]] flow_claims claims_of(flow<Address> const& f, std::uint32_t number) const noexcept;
    template <class Address>
    [[nodiscard]] adoption adopt(flow_request<Address> const& request, address_answer<Address>& answer, flow_claims const& claims, stamp_ms now) noexcept;

    /// From now on these rules, without fault, beside those before as well (fault_of_change()). Flows and mappings stay as they are. A pool whose ports are given out as before
    /// goes on, quarantine and all; from others the mappings that are there keep their ports. Seed, shards and numbers of mappings stay, but for a family that had none.
    /// Allocates; when that throws nothing has changed. Work: linear in the mappings.
    void configure(nat_config const& next);

    [[nodiscard]] std::size_t memory_bytes() const noexcept;
    /// Of such a plan, computed.
    [[nodiscard]] static std::size_t memory_bytes(nat_config const& nat, limits_config const& limits) noexcept;

    [[nodiscard]] nat_config const& config() const noexcept { return config_; }
    [[nodiscard]] nat_counters const& counters() const noexcept { return counters_; }
    template <class Address>
    [[nodiscard]] binding_table<Address> const& bindings() const noexcept {
        return family<Address>().bindings;
    }
    /// Calls visit(index of the rule, IP protocol or 0, port pool) for every pool of ports.
    template <class Visit>
    void for_each_pool(Visit&& visit) const;
    /// Calls visit(nat_event) for what has happened since the last call.
    template <class Visit>
    void take_events(Visit&& visit);

  private:
    /// Numbers of bindings, counted from 1; 0: none. The first is the client's, the second the one its destination was found by.
    using holds = std::array<std::uint32_t, 2>;
    static constexpr std::uint32_t being_made = ~std::uint32_t{0};  ///< in the place of the first: family_state::made

    template <class Address>
    struct numbered_pool {
        std::uint32_t rule;  ///< index in nat_config::snat
        std::uint16_t id;    ///< binding_key::rule of its mappings, wherever its rule moves
        snat_pool<Address> pool;
    };
    template <class Address>
    struct family_state {
        binding_table<Address> bindings;
        std::vector<numbered_pool<Address>> pools{};
        std::vector<holds> held{};  ///< by flow number
        nat_binding<Address> made{};  ///< of the answer that is not yet opened or refused
    };
    static constexpr std::size_t events_kept = 64;

    /// Mappings of a family at once: none where no rule makes any.
    template <class Address>
    [[nodiscard]] static std::uint32_t capacity_for(nat_config const& nat, limits_config const& limits) noexcept;
    template <class Address>
    [[nodiscard]] static std::size_t family_bytes(nat_config const& nat, limits_config const& limits) noexcept;
    template <class Address>
    [[nodiscard]] static family_state<Address> make_family(nat_config const& nat, limits_config const& limits);
    template <class Address>
    [[nodiscard]] std::uint16_t unused_id(std::vector<numbered_pool<Address>> const& besides) const;
    template <class Address>
    [[nodiscard]] family_state<Address> following(nat_config const& next) const;
    template <class Address>
    void take_over(family_state<Address>&& next, binding_lingers const& linger) noexcept;
    template <class Address>
    [[nodiscard]] family_state<Address>& family() noexcept;
    template <class Address>
    [[nodiscard]] family_state<Address> const& family() const noexcept;

    template <class Address>
    [[nodiscard]] address_answer<Address> answer(flow_request<Address> const& request, stamp_ms now, bool take) noexcept;
    template <class Address>
    void find_destination(flow_request<Address> const& request, address_answer<Address>& answer, bool take) noexcept;
    template <class Address>
    [[nodiscard]] bool by_static_rule(flow_request<Address> const& request, address_answer<Address>& answer) const noexcept;
    template <class Address>
    [[nodiscard]] bool by_dnat_rule(flow_request<Address> const& request, address_answer<Address>& answer) const noexcept;
    template <class Address>
    void by_mapping(flow_request<Address> const& request, address_answer<Address>& answer, bool take) noexcept;
    template <class Address>
    void find_source(flow_request<Address> const& request, address_answer<Address>& answer, stamp_ms now, bool take) noexcept;
    template <class Address>
    [[nodiscard]] numbered_pool<Address>* matching_pool(flow_request<Address> const& request, Address const& destination) noexcept;
    template <class Address>
    [[nodiscard]] static binding_key<Address> key_of(numbered_pool<Address> const& p, flow_request<Address> const& request,
                                                     address_answer<Address> const& a) noexcept;
    template <class Address>
    void map_source(numbered_pool<Address>& p, flow_request<Address> const& request, address_answer<Address>& answer, stamp_ms now, bool take) noexcept;
    template <class Address>
    [[nodiscard]] adoption adopt_mapping(nat_binding<Address> mapping, mapping_claim const& claim, std::uint32_t& hold, stamp_ms now) noexcept;
    template <class Address>
    void let_go(std::uint32_t hold, stamp_ms now) noexcept;
    template <class Address>
    void give_back(nat_binding<Address> const& b, stamp_ms now) noexcept;
    template <class Address>
    [[nodiscard]] auto ending(stamp_ms now) noexcept;
    [[nodiscard]] auto noting(std::uint32_t rule, std::uint8_t protocol, stamp_ms now) noexcept;

    nat_config config_;
    limits_config limits_;
    family_state<std::uint32_t> v4_;
    family_state<ipv6_bytes> v6_;
    nat_counters counters_{};
    std::array<nat_event, events_kept> events_{};
    std::size_t event_count_ = 0;
};

/// The engine of the program where address translation is configured.
using nat_engine = engine<policies<admit_by_guard, address_plan, no_observer>>;

}  // namespace halfproxy

#include <halfproxy/engine/impl/address_plan.hpp>
#include <halfproxy/engine/impl/address_plan_adoption.hpp>

#if defined(HALFPROXY_COMPILED)
extern template class halfproxy::engine<halfproxy::policies<halfproxy::admit_by_guard, halfproxy::address_plan, halfproxy::no_observer>>;
#endif
