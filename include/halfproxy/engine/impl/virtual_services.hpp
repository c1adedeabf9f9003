// SPDX-License-Identifier: BSL-1.0
// From a flow's first packet to its backend, and from its end back to the backend's count.
#pragma once

#include <halfproxy/engine/virtual_services.hpp>

#include <algorithm>

namespace halfproxy {

namespace detail {

[[nodiscard]] inline ip_address service_address(std::uint32_t a) noexcept { return ip_address::v4(a); }
[[nodiscard]] inline ip_address service_address(ipv6_bytes const& a) noexcept { return ip_address::v6(a); }

template <class Address>
[[nodiscard]] Address backend_address(ip_address const& a) noexcept {
    if constexpr (std::is_same_v<Address, std::uint32_t>)
        return a.to_v4();
    else
        return a.bytes;
}

template <class Address>
[[nodiscard]] service_request service_request_of(flow_request<Address> const& r) noexcept {
    return {service_address(r.tuple.source), service_address(r.tuple.destination), r.tuple.source_port, r.tuple.destination_port, r.protocol};
}

[[nodiscard]] constexpr drop_reason reason_of(service_outcome o) noexcept {
    switch (o) {
        case service_outcome::no_backend: return drop_reason::no_backend;
        case service_outcome::limited: return drop_reason::service_limit;
        case service_outcome::not_a_service:
        case service_outcome::chosen: break;
    }
    return drop_reason::none;
}

}  // namespace detail

/// Where only the client's direction passes, nothing can be spliced, and the tracker must know of it.
inline std::string_view fault_of_mode(service_config const& service, engine_config const& engine) noexcept {
    bool const challenges = engine.guard.mode == guard_mode::automatic || engine.guard.mode == guard_mode::always;
    if (!answers_elsewhere(service.mode)) return {};
    if (challenges && engine.guard.method == guard_method::splice)
        return "needs guard.mode = \"off\" or \"monitor\", or guard.method = \"challenge_reset\": of a splice both directions must pass";
    if (service.protocol == ip_protocol::tcp && engine.tracking.asymmetric == asymmetric_paths::no)
        return "needs tracking.asymmetric = true or \"detect\": servers answer their clients directly";
    return {};
}

/// The engine's stamps wrap after 49 days; the services' time does not.
template <address_policy Next>
void virtual_services<Next>::tick(stamp_ms now) noexcept {
    elapsed_ms_ += now.value - last_.value;
    last_ = now;
    services_.tick(time_point(std::chrono::milliseconds(elapsed_ms_)));
}

template <address_policy Next>
template <class Address>
address_answer<Address> virtual_services<Next>::answer_of_next(flow_request<Address> const& request, stamp_ms now, bool take) noexcept {
    if constexpr (next_keeps_state)
        return take ? next_.translate(request, now) : next_.foresee(request, now);
    else
        return next_.translate(request, now);
}

template <address_policy Next>
template <class Address>
address_answer<Address> virtual_services<Next>::translate(flow_request<Address> const& request, stamp_ms now) noexcept {
    tick(now);
    pending_ = {};
    if (request.arrival != side::outside) return answer_of_next(request, now, true);
    service_choice const choice = services_.choose(detail::service_request_of(request));
    if (choice.outcome == service_outcome::not_a_service) return answer_of_next(request, now, true);
    if (choice.outcome != service_outcome::chosen) return {request.tuple, detail::reason_of(choice.outcome)};
    address_answer<Address> const answer = to_backend(request, choice.who, now, true);
    if (answer.reason == drop_reason::none) pending_ = {choice.who.service, choice.who.backend};
    return answer;
}

/// Before a challenge. Which backend it will be is decided when the client has proved itself.
template <address_policy Next>
template <class Address>
address_answer<Address> virtual_services<Next>::foresee(flow_request<Address> const& request, stamp_ms now) noexcept {
    tick(now);
    if (request.arrival != side::outside) return answer_of_next(request, now, false);
    service_outcome const outcome = services_.available(detail::service_request_of(request));
    if (outcome == service_outcome::not_a_service) return answer_of_next(request, now, false);
    return {request.tuple, detail::reason_of(outcome)};
}

/// In whose name a flow of mode fullnat goes, whoever stands behind decides, which sees it as one to the backend.
template <address_policy Next>
template <class Address>
address_answer<Address> virtual_services<Next>::to_backend(flow_request<Address> const& request, backend_ref who, stamp_ms now, bool take) noexcept {
    forward_mode const mode = services_[who.service].mode;
    backend const& server = services_.server(who);
    if (keeps_destination(mode)) {
        address_answer<Address> kept{request.tuple};
        kept.led = true;
        kept.hairpin = server.beside_clients && !answers_elsewhere(mode);
        return kept;
    }
    flow_request<Address> there = request;
    there.by_name = endpoint_name(request.tuple.destination, request.tuple.destination_port);
    there.tuple.destination = detail::backend_address<Address>(server.address);
    if (server.port != 0) there.tuple.destination_port = server.port;
    address_answer<Address> answer = mode == forward_mode::fullnat ? answer_of_next(there, now, take) : address_answer<Address>{there.tuple};
    answer.hairpin |= server.beside_clients;
    return answer;
}

template <address_policy Next>
template <class Address>
void virtual_services<Next>::refused(address_answer<Address> const& answer, stamp_ms now) noexcept {
    if constexpr (next_keeps_state)
        if (!pending_ || services_[pending_.service].mode == forward_mode::fullnat) next_.refused(answer, now);
    pending_ = {};
}

template <address_policy Next>
template <class Address>
void virtual_services<Next>::opened(flow<Address> const& f, std::uint32_t number, address_answer<Address> const& answer) noexcept {
    notes_of<Address>()[number] = pending_;
    if constexpr (next_keeps_state)
        if (!pending_ || services_[pending_.service].mode == forward_mode::fullnat) next_.opened(f, number, answer);
    if (pending_) services_.opened(pending_, detail::service_address(f.tuple[0].source));
    pending_ = {};
}

/// A SYN that nobody answered tells something of its backend; one that had no time to be answered does not.
template <address_policy Next>
template <class Address>
void virtual_services<Next>::closed(flow<Address> const& f, std::uint32_t number, stamp_ms now) noexcept {
    tick(now);
    backend_ref const who = std::exchange(notes_of<Address>()[number], backend_ref{});
    if constexpr (next_keeps_state)
        if (!who || services_[who.service].mode == forward_mode::fullnat) next_.closed(f, number, now);
    if (!who) return;
    bool const unanswered = f.protocol == ip_protocol::tcp && f.tcp.state == tcp_state::syn_sent && f.packets[index(direction::from_server)] == 0;
    bool const answers_here = !answers_elsewhere(services_[who.service].mode);
    if (unanswered && answers_here && now - f.opened >= static_cast<std::int32_t>(unanswered_after)) services_.failed(who);
    services_.closed(who);
}

template <address_policy Next>
void virtual_services<Next>::advance(stamp_ms now, std::uint32_t budget) noexcept {
    tick(now);
    if constexpr (next_keeps_state) next_.advance(now, budget);
}

template <address_policy Next>
std::optional<stamp_ms> virtual_services<Next>::next_deadline(stamp_ms now) const noexcept {
    if constexpr (next_keeps_state)
        return next_.next_deadline(now);
    else
        return std::nullopt;
}

template <address_policy Next>
std::size_t virtual_services<Next>::memory_bytes() const noexcept {
    std::size_t bytes = services_.memory_bytes() + (notes_v4_.size() + notes_v6_.size()) * sizeof(backend_ref);
    if constexpr (next_keeps_state) bytes += next_.memory_bytes();
    return bytes;
}

namespace detail {

[[nodiscard]] constexpr std::uint32_t via_of(backend_ref who) noexcept { return (std::uint32_t{who.service} << 16 | who.backend) + 1; }
[[nodiscard]] constexpr backend_ref backend_via(std::uint32_t via) noexcept {
    return via == 0 ? backend_ref{} : backend_ref{static_cast<service_index>((via - 1) >> 16), static_cast<backend_index>(via - 1)};
}

[[nodiscard]] constexpr tunnel_type type_of(carrier c) noexcept {
    return c == carrier::ipip ? tunnel_type::ip : c == carrier::gue ? tunnel_type::gue : tunnel_type::gue_direct;
}

}  // namespace detail

template <address_policy Next>
template <class Address>
flow_lead virtual_services<Next>::lead_of(flow<Address> const&, std::uint32_t number) const noexcept {
    backend_ref const who = note_of<Address>(number);
    if (!who || !keeps_destination(services_[who.service].mode)) return {};
    return {services_.server(who).station, detail::via_of(who), answers_elsewhere(services_[who.service].mode)};
}

template <address_policy Next>
std::optional<tunnel> virtual_services<Next>::tunnel_of(std::uint32_t via) const noexcept {
    backend_ref const who = detail::backend_via(via);
    if (!who || !services_.exists(who.service) || services_[who.service].mode != forward_mode::ipip) return std::nullopt;
    tunnel_config const& t = services_[who.service].tunnel;
    ip_address const& there = services_.server(who).address;
    return tunnel{.source = t.source_for(there.version),
                  .destination = there,
                  .type = detail::type_of(t.carrier),
                  .mtu = t.mtu,
                  .udp_port = t.udp_port};
}

template <address_policy Next>
ip_address virtual_services<Next>::next_hop_of(std::uint32_t via) const noexcept {
    backend_ref const who = detail::backend_via(via);
    return who && services_.exists(who.service) && goes_by_station(services_[who.service].mode) ? services_.server(who).address : ip_address{};
}

/// IP and TCP headers without options (RFC 6691 section 2).
template <address_policy Next>
std::uint16_t virtual_services<Next>::mss_of(std::uint32_t via, std::uint8_t version) const noexcept {
    auto const into = tunnel_of(via);
    if (!into || !services_[detail::backend_via(via).service].tunnel.clamp_mss) return 0xffff;
    return static_cast<std::uint16_t>(into->mtu - into->overhead() - (version == 4 ? 40 : 60));
}

}  // namespace halfproxy
