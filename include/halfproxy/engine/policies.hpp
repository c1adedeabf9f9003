// SPDX-License-Identifier: BSL-1.0
// What a user can decide instead of the engine: who may open a flow, which addresses it gets, who hears of it.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/verdict.hpp>
#include <halfproxy/engine/flow.hpp>

#include <concepts>
#include <cstdint>

namespace halfproxy {

/// A packet that would open a flow. For TCP a SYN, or an ACK with a valid cookie: then `proven` is set.
template <class Address>
struct flow_request {
    flow_tuple<Address> tuple;
    std::uint16_t zone;
    std::uint8_t protocol;
    side arrival;
    bool proven;  ///< the source has shown that it receives what is sent to it
};

enum class admission : std::uint8_t {
    by_guard,   ///< challenge when the guard says so
    admit,      ///< never challenge
    challenge,  ///< challenge whatever the guard says (TCP from outside only)
    deny,       ///< drop_reason::policy_denied
};

/// Asked after the rules have allowed the flow. Exemplar: admit_by_guard. Another model: examples/07_admission_policy.cpp. Must not block, throw or
/// allocate: it stands on the path of every SYN.
template <class Policy>
concept admission_policy = requires(Policy& policy, flow_request<std::uint32_t> const& v4, flow_request<ipv6_bytes> const& v6) {
    { policy.decide(v4) } noexcept -> std::same_as<admission>;
    { policy.decide(v6) } noexcept -> std::same_as<admission>;
};

struct admit_by_guard {
    template <class Address>
    [[nodiscard]] admission decide(flow_request<Address> const&) noexcept {
        return admission::by_guard;
    }
};

/// Says how a flow's packets look to the server: the client's tuple with any of its four parts replaced. Asked once per flow. Exemplar:
/// keep_addresses. The engine finds the flow by the answer reversed, so two flows must not get the same one: then
/// the second is refused (drop_reason::table_full).
template <class Policy>
concept address_policy = requires(Policy& policy, flow_request<std::uint32_t> const& v4, flow_request<ipv6_bytes> const& v6) {
    { policy.server_tuple(v4) } noexcept -> std::same_as<ipv4_tuple>;
    { policy.server_tuple(v6) } noexcept -> std::same_as<ipv6_tuple>;
};

struct keep_addresses {
    template <class Address>
    [[nodiscard]] flow_tuple<Address> server_tuple(flow_request<Address> const& request) noexcept {
        return request.tuple;
    }
};

/// Hears of flows. Exemplar: no_observer, which costs nothing. References are valid during the call only. An observer that has
/// `void guard_changed(guard_event const&) noexcept` besides hears of every change of the guard's state.
template <class Observer>
concept flow_observer = requires(Observer& observer, ipv4_flow const& v4, ipv6_flow const& v6, drop_reason reason,
                                 frame const& dropped) {
    { observer.opened(v4) } noexcept;
    { observer.opened(v6) } noexcept;
    { observer.closed(v4) } noexcept;
    { observer.closed(v6) } noexcept;
    { observer.dropped(dropped, reason) } noexcept;
};

struct no_observer {
    template <class Address>
    void opened(flow<Address> const&) noexcept {}
    template <class Address>
    void closed(flow<Address> const&) noexcept {}
    void dropped(frame const&, drop_reason) noexcept {}
};

/// The three together. Exemplar: default_policies; derive from it and replace a member to change one.
template <class Policies>
concept engine_policies = requires(Policies& p) {
    requires admission_policy<std::remove_reference_t<decltype(p.admission)>>;
    requires address_policy<std::remove_reference_t<decltype(p.addresses)>>;
    requires flow_observer<std::remove_reference_t<decltype(p.observer)>>;
};

template <admission_policy Admission = admit_by_guard, address_policy Addresses = keep_addresses,
          flow_observer Observer = no_observer>
struct policies {
    [[no_unique_address]] Admission admission{};
    [[no_unique_address]] Addresses addresses{};
    [[no_unique_address]] Observer observer{};
};

using default_policies = policies<>;

}  // namespace halfproxy
