// SPDX-License-Identifier: BSL-1.0
// What a user can decide instead of the engine: who may open a flow, which addresses it gets, who hears of it.
#pragma once

#include <halfproxy/balance/backend.hpp>
#include <halfproxy/balance/hash.hpp>
#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/core/verdict.hpp>
#include <halfproxy/engine/flow.hpp>
#include <halfproxy/engine/flow_state.hpp>
#include <halfproxy/translate/encapsulation.hpp>
#include <halfproxy/translate/proxy_protocol.hpp>

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

namespace halfproxy {

/// Two virtual endpoints may lead to one server. A client that speaks to both from one endpoint has two connections, which that server can tell apart only if
/// each comes from an endpoint of its own: this tells them apart. Never 0.
[[nodiscard]] inline std::uint16_t endpoint_name(std::uint32_t address, std::uint16_t port) noexcept {
    return static_cast<std::uint16_t>(mix64(std::uint64_t{address} << 16 | port) >> 48 | 1);
}
[[nodiscard]] inline std::uint16_t endpoint_name(ipv6_bytes const& address, std::uint16_t port) noexcept {
    auto const words = std::bit_cast<std::array<std::uint64_t, 2>>(address);
    return static_cast<std::uint16_t>(mix64(words[0] ^ mix64(words[1] + port)) >> 48 | 1);
}

/// A packet that would open a flow. For TCP a SYN, or an ACK with a valid cookie: then `proven` is set.
template <class Address>
struct flow_request {
    flow_tuple<Address> tuple;
    std::uint16_t zone;
    std::uint8_t protocol;
    side arrival;
    bool proven;  ///< the source has shown that it receives what is sent to it
    std::uint16_t by_name = 0;  ///< between policies: endpoint_name() of what the client asked for, when one has put another destination into the tuple
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

/// How a flow's packets look to the server, or why there can be no such flow.
template <class Address>
struct address_answer {
    flow_tuple<Address> server_tuple{};      ///< the client's, with any of its four parts replaced; of an ICMP query both ports are its identifier
    drop_reason reason = drop_reason::none;  ///< none: the flow may be opened
    bool hairpin = false;                    ///< it leaves through the side it came from (RFC 4787 REQ-9), and so do its answers
    bool led = false;                        ///< packets keep their addresses, but go to a station of the policy's choice (service_address_policy)
    std::array<std::uint32_t, 2> holds{};    ///< what the policy keeps for this flow, for its own use; the engine hands it back
};

/// Says how flows are translated. Exemplar: keep_addresses. Asked once per flow. The engine finds the flow by the answer reversed, so two flows must not
/// get the same one: then the second is refused (drop_reason::table_full).
template <class Policy>
concept stateless_address_policy = requires(Policy& policy, flow_request<std::uint32_t> const& v4, flow_request<ipv6_bytes> const& v6, stamp_ms now) {
    { policy.translate(v4, now) } noexcept -> std::same_as<address_answer<std::uint32_t>>;
    { policy.translate(v6, now) } noexcept -> std::same_as<address_answer<ipv6_bytes>>;
};

/// Besides: keeps something for each flow (a port, a server's share), which translate() takes and the engine gives back. Exemplar: address_plan.
/// For every answer without a reason either refused(answer) or opened(flow, its number, answer) is called, before anything else, and for an opened flow
/// closed(flow, its number, now) at its end. Numbers count from 0 for each address family. Says `static constexpr bool keeps_state = true`.
template <class Policy>
concept stateful_address_policy =
    stateless_address_policy<Policy> && Policy::keeps_state &&
    requires(Policy& p, ipv4_flow const& v4, ipv6_flow const& v6, flow_request<std::uint32_t> const& r4, flow_request<ipv6_bytes> const& r6,
             address_answer<std::uint32_t> const& a4, address_answer<ipv6_bytes> const& a6, std::uint32_t number, stamp_ms now) {
        { p.opened(v4, number, a4) } noexcept;
        { p.opened(v6, number, a6) } noexcept;
        { p.refused(a4, now) } noexcept;
        { p.refused(a6, now) } noexcept;
        { p.closed(v4, number, now) } noexcept;
        { p.closed(v6, number, now) } noexcept;
        /// Before a SYN is challenged: what translate() would say of it (reason and hairpin), without taking anything. A flow that hairpins is
        /// never challenged: both its ends are on one side.
        { p.foresee(r4, now) } noexcept -> std::same_as<address_answer<std::uint32_t>>;
        { p.foresee(r6, now) } noexcept -> std::same_as<address_answer<ipv6_bytes>>;
        /// Its own timers, at most `budget` steps.
        { p.advance(now, std::uint32_t{}) } noexcept;
        { p.next_deadline(now) } noexcept -> std::same_as<std::optional<stamp_ms>>;
        { p.memory_bytes() } noexcept -> std::same_as<std::size_t>;
    };

/// Besides: can begin to fetch what translate() will read, when a packet without flow was seen in a burst. Exemplar: address_plan.
template <class Policy>
concept foreseeing_address_policy = requires(Policy const& p, flow_request<std::uint32_t> const& v4, flow_request<ipv6_bytes> const& v6) {
    { p.expect(v4) } noexcept;
    { p.expect(v6) } noexcept;
};

/// Where packets of a flow's client go although they keep their addresses.
struct flow_lead {
    station_address station{};  ///< all 0: to the station they were sent to
    std::uint32_t via = 0;      ///< what frame::via becomes; 0: they are not led
    bool one_way = false;       ///< the server answers past us
};

/// How a flow's server is told who its client is.
struct client_telling {
    proxy_protocol header = proxy_protocol::none;
    std::uint8_t option = 0;  ///< kind of a TCP option; 0: none
};

/// Besides: leads flows to servers of its choice. Exemplar: virtual_services. The engine tells it whether a server answered a flow's opening or denied
/// it; ends the flows that it gives up, when times_down() has changed; and leads packets from the client of a flow whose answer said `led` to a
/// station, and through a tunnel where tunnel_of(via) names one; and tells servers who their clients are.
template <class Policy>
concept service_address_policy =
    stateful_address_policy<Policy> && requires(Policy& p, ipv4_flow const& v4, ipv6_flow const& v6, std::uint32_t number) {
        { p.answered(v4, number) } noexcept;
        { p.answered(v6, number) } noexcept;
        { p.denied(v4, number) } noexcept;
        { p.denied(v6, number) } noexcept;
        { p.gives_up(v4, number) } noexcept -> std::same_as<bool>;
        { p.gives_up(v6, number) } noexcept -> std::same_as<bool>;
        { p.lead_of(v4, number) } noexcept -> std::same_as<flow_lead>;
        { p.lead_of(v6, number) } noexcept -> std::same_as<flow_lead>;
        { p.telling_of(v4, number) } noexcept -> std::same_as<client_telling>;
        { p.telling_of(v6, number) } noexcept -> std::same_as<client_telling>;
        /// Whether that says anything of any flow.
        { p.tells() } noexcept -> std::same_as<bool>;
        /// What a lead's `via` stands for: a next hop for a router (else of version 0), or a tunnel.
        { p.next_hop_of(std::uint32_t{}) } noexcept -> std::same_as<ip_address>;
        { p.tunnel_of(std::uint32_t{}) } noexcept -> std::same_as<std::optional<tunnel>>;
        /// Of a flow through a tunnel: the largest MSS whose segments fit; 0xffff: SYNs are left as they are.
        { p.mss_of(std::uint32_t{}, std::uint8_t{}) } noexcept -> std::same_as<std::uint16_t>;
        { p.times_down() } noexcept -> std::same_as<std::uint32_t>;
    };

/// Besides: says what it keeps for a flow, and takes the same for a flow of another engine. Exemplar: address_plan. adopt() is given the answer as that engine's policy
/// gave it, without `holds`; when it says `adopted` the answer counts as one of translate() without a reason, else nothing was taken.
template <class Policy>
concept portable_address_policy =
    stateful_address_policy<Policy> &&
    requires(Policy& p, Policy const& c, ipv4_flow const& v4, ipv6_flow const& v6, flow_request<std::uint32_t> const& r4, flow_request<ipv6_bytes> const& r6,
             address_answer<std::uint32_t>& a4, address_answer<ipv6_bytes>& a6, flow_claims const& claims, std::uint32_t number, stamp_ms now) {
        { c.claims_of(v4, number) } noexcept -> std::same_as<flow_claims>;
        { c.claims_of(v6, number) } noexcept -> std::same_as<flow_claims>;
        { p.adopt(r4, a4, claims, now) } noexcept -> std::same_as<adoption>;
        { p.adopt(r6, a6, claims, now) } noexcept -> std::same_as<adoption>;
    };

template <class Policy>
concept address_policy = stateless_address_policy<Policy> && (!requires { Policy::keeps_state; } || stateful_address_policy<Policy>);

struct keep_addresses {
    template <class Address>
    [[nodiscard]] address_answer<Address> translate(flow_request<Address> const& request, stamp_ms) noexcept {
        return {request.tuple};
    }
};

/// Hears of flows as they begin and end, with their numbers (engine::state_of()). Model: sync_tap (sync/sync_journal.hpp).
template <class Observer>
concept numbered_flow_observer = requires(Observer& observer, ipv4_flow const& v4, ipv6_flow const& v6, std::uint32_t number) {
    { observer.opened(v4, number) } noexcept;
    { observer.opened(v6, number) } noexcept;
    { observer.closed(v4, number) } noexcept;
    { observer.closed(v6, number) } noexcept;
};

/// The same without numbers. Exemplar: no_observer.
template <class Observer>
concept plain_flow_observer = requires(Observer& observer, ipv4_flow const& v4, ipv6_flow const& v6) {
    { observer.opened(v4) } noexcept;
    { observer.opened(v6) } noexcept;
    { observer.closed(v4) } noexcept;
    { observer.closed(v6) } noexcept;
};

/// Hears of flows. Exemplar: no_observer, which costs nothing. References are valid during the call only. An observer that has
/// `void guard_changed(guard_event const&) noexcept` besides hears of every change of the guard's state.
template <class Observer>
concept flow_observer = (plain_flow_observer<Observer> || numbered_flow_observer<Observer>) && requires(Observer& observer, drop_reason reason, frame const& dropped) {
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
