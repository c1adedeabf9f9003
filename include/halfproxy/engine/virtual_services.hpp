// SPDX-License-Identifier: BSL-1.0
// Virtual services as an address policy: which backend a flow to one gets, and what becomes of it when the backend goes.
//
// Services are for clients outside: what one inside sends to a virtual address would have to go back where it came from, and the answer would pass us by.
// Whoever else translates addresses stands behind it: it is asked about flows that are to no service, and in whose name those of mode fullnat go.
#pragma once

#include <halfproxy/balance/service_table.hpp>
#include <halfproxy/engine/config.hpp>
#include <halfproxy/engine/policies.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace halfproxy {

/// A SYN that was not answered for so long counts as unanswered when its flow ends: three of a client's retransmissions (RFC 6298).
inline constexpr timeout_ms unanswered_after = 3'000;

/// Why the rest of the configuration does not allow the service's mode, as half a sentence; empty: it does.
[[nodiscard]] std::string_view fault_of_mode(service_config const& service, engine_config const& engine) noexcept;

/// A service_address_policy (engine/policies.hpp). Memory: 4 bytes for each flow of the limits, and the services'. All is allocated in the constructor and by
/// services().configure(). `Next` is asked where no service is meant; address_plan, for one.
template <address_policy Next = keep_addresses>
class virtual_services {
  public:
    static constexpr bool keeps_state = true;

    virtual_services() : virtual_services(services_config{}, limits_config{.flows_v4 = 0, .flows_v6 = 0}, 0) {}
    /// The configuration has no fault (fault_of). `seed` is of random choices.
    virtual_services(services_config const& config, limits_config const& limits, std::uint64_t seed, Next next = {})
        : services_(config, seed), next_(std::move(next)), notes_v4_(limits.flows_v4), notes_v6_(limits.flows_v6) {}

    template <class Address>
    [[nodiscard]] address_answer<Address> translate(flow_request<Address> const& request, stamp_ms now) noexcept;
    template <class Address>
    [[nodiscard]] address_answer<Address> foresee(flow_request<Address> const& request, stamp_ms now) noexcept;
    template <class Address>
    void refused(address_answer<Address> const& answer, stamp_ms now) noexcept;
    template <class Address>
    void opened(flow<Address> const& f, std::uint32_t number, address_answer<Address> const& answer) noexcept;
    template <class Address>
    void closed(flow<Address> const& f, std::uint32_t number, stamp_ms now) noexcept;
    void advance(stamp_ms now, std::uint32_t budget) noexcept;
    [[nodiscard]] std::optional<stamp_ms> next_deadline(stamp_ms now) const noexcept;
    [[nodiscard]] std::size_t memory_bytes() const noexcept;

    /// A portable_address_policy, where `Next` is one or keeps no state: a flow's backend is known by its address and port.
    template <class Address>
    [[nodiscard]] flow_claims claims_of(flow<Address> const& f, std::uint32_t number) const noexcept
        requires(!stateful_address_policy<Next> || portable_address_policy<Next>);
    template <class Address>
    [[nodiscard]] adoption adopt(flow_request<Address> const& request, address_answer<Address>& answer, flow_claims const& claims, stamp_ms now) noexcept
        requires(!stateful_address_policy<Next> || portable_address_policy<Next>);

    /// The server has answered the flow's opening, or refused it.
    template <class Address>
    void answered(flow<Address> const&, std::uint32_t number) noexcept {
        if (backend_ref const who = note_of<Address>(number)) services_.succeeded(who);
    }
    template <class Address>
    void denied(flow<Address> const&, std::uint32_t number) noexcept {
        if (backend_ref const who = note_of<Address>(number)) services_.failed(who);
    }
    /// Whether the flow is to end, its backend being down.
    template <class Address>
    [[nodiscard]] bool gives_up(flow<Address> const&, std::uint32_t number) const noexcept {
        backend_ref const who = note_of<Address>(number);
        return who && services_.backends(who.service).gives_up_flows(who.backend);
    }
    /// Where packets of the flow's client go although they keep their addresses.
    template <class Address>
    [[nodiscard]] flow_lead lead_of(flow<Address> const&, std::uint32_t number) const noexcept;
    /// What a lead's `via` stands for, while its flow lives: a tunnel, or a next hop (else of version 0).
    [[nodiscard]] std::optional<tunnel> tunnel_of(std::uint32_t via) const noexcept;
    [[nodiscard]] ip_address next_hop_of(std::uint32_t via) const noexcept;
    [[nodiscard]] std::uint16_t mss_of(std::uint32_t via, std::uint8_t version) const noexcept;
    /// How the flow's server is told who the client is.
    template <class Address>
    [[nodiscard]] client_telling telling_of(flow<Address> const&, std::uint32_t number) const noexcept {
        backend_ref const who = note_of<Address>(number);
        if (!who) return {};
        return {static_cast<proxy_protocol>(services_[who.service].proxy), services_[who.service].client_option};
    }
    [[nodiscard]] bool tells() const noexcept { return services_.tells(); }
    /// Counts up whenever a backend goes down: some flows may have to be given up since.
    [[nodiscard]] std::uint32_t times_down() const noexcept { return times_down_; }

    /// What may be changed between bursts. States of backends are changed by set_state() alone.
    [[nodiscard]] service_table& services() noexcept { return services_; }
    [[nodiscard]] service_table const& services() const noexcept { return services_; }
    void set_state(backend_ref who, backend_state state) noexcept {
        services_.set_state(who, state);
        times_down_ += state == backend_state::down ? 1u : 0u;
    }
    [[nodiscard]] Next& next() noexcept { return next_; }
    [[nodiscard]] Next const& next() const noexcept { return next_; }
    /// Whose flow it is; empty: no service's.
    template <class Address>
    [[nodiscard]] backend_ref note_of(std::uint32_t number) const noexcept {
        auto const& notes = notes_of<Address>();
        return number < notes.size() ? notes[number] : backend_ref{};
    }

  private:
    static_assert(static_cast<int>(proxy_protocol::v1) == static_cast<int>(proxy_header::v1) && static_cast<int>(proxy_protocol::v2) == static_cast<int>(proxy_header::v2));
    static constexpr bool next_keeps_state = stateful_address_policy<Next>;

    template <class Address>
    [[nodiscard]] std::vector<backend_ref> const& notes_of() const noexcept {
        if constexpr (std::is_same_v<Address, std::uint32_t>)
            return notes_v4_;
        else
            return notes_v6_;
    }
    template <class Address>
    [[nodiscard]] std::vector<backend_ref>& notes_of() noexcept {
        if constexpr (std::is_same_v<Address, std::uint32_t>)
            return notes_v4_;
        else
            return notes_v6_;
    }
    void tick(stamp_ms now) noexcept;
    template <class Address>
    [[nodiscard]] address_answer<Address> answer_of_next(flow_request<Address> const& request, stamp_ms now, bool take) noexcept;
    template <class Address>
    [[nodiscard]] adoption adopt_by_next(flow_request<Address> const& request, address_answer<Address>& answer, flow_claims const& claims, stamp_ms now) noexcept;
    [[nodiscard]] backend_index backend_named(service_index service, ip_address const& address, std::uint16_t port) const noexcept;
    template <class Address>
    [[nodiscard]] address_answer<Address> to_backend(flow_request<Address> const& request, backend_ref who, stamp_ms now, bool take) noexcept;

    service_table services_;
    Next next_;
    std::vector<backend_ref> notes_v4_;  ///< by flow number
    std::vector<backend_ref> notes_v6_;
    backend_ref pending_{};  ///< of the answer that is not yet opened or refused
    std::uint32_t times_down_ = 0;
    std::uint64_t elapsed_ms_ = 0;
    stamp_ms last_{};
};

}  // namespace halfproxy

#include <halfproxy/engine/impl/virtual_services.hpp>
#include <halfproxy/engine/impl/virtual_services_adoption.hpp>
