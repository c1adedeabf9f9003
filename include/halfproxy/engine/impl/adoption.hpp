// SPDX-License-Identifier: BSL-1.0
// Flows that another engine is told of, and flows told by another engine.
//
// What is told was settled in the handshake and does not change: addresses, shifts, scales. Sequence numbers do, so that a flow is taken up like one met in
// the middle; what is translated is right from the first packet. Half-open flows and those whose client is being announced are not told: too much of them
// changes with every packet, and a client whose handshake fails connects anew.
#pragma once

#include <halfproxy/engine/engine.hpp>

#include <algorithm>

namespace halfproxy {

namespace detail {

/// Both ends have numbers, and neither has reset the connection.
[[nodiscard]] constexpr bool may_be_told(tcp_state s) noexcept { return s >= tcp_state::established && s <= tcp_state::time_wait; }

[[nodiscard]] constexpr stamp_ms ago(stamp_ms now, std::uint32_t ms) noexcept {
    return {now.value - std::min(ms, std::uint32_t{farthest_deadline})};
}

template <class Address>
[[nodiscard]] bool is_same_flow(flow<Address> const& f, flow_state<Address> const& told) noexcept {
    return f.tuple[0] == told.key.tuple && f.tuple[1] == told.server_tuple.reversed() && static_cast<side>(f.client_side) == told.client_side &&
           f.is_hairpin() == told.hairpin;
}

}  // namespace detail

template <engine_policies Policies>
template <class Address>
bool engine<Policies>::is_through(flow<Address> const& f) const noexcept {
    if (f.protocol != ip_protocol::tcp) return !f.is_barred();
    if (!detail::may_be_told(f.tcp.state) || f.phase() == flow_phase::connecting) return false;
    return !f.has_handshake() || !handshakes_[f.shift.timestamp].announcing;
}

template <engine_policies Policies>
template <class Address>
std::optional<flow_state<Address>> engine<Policies>::state_of(std::uint32_t number) const noexcept {
    auto const& table = store<Address>().table;
    if (!table.is_live(number) || !is_through(table.record(number))) return std::nullopt;
    flow<Address> const& f = table.record(number);
    flow_state<Address> s;
    s.key = f.key(0);
    s.server_tuple = f.leaving(direction::from_client);
    s.client_side = static_cast<side>(f.client_side);
    s.hairpin = f.is_hairpin();
    s.led = f.rewrites != 0 && f.keeps_addresses();
    s.idle_ms = static_cast<std::uint32_t>(std::max(stamp_ - f.last_seen, 0));
    s.age_ms = static_cast<std::uint32_t>(std::max(stamp_ - f.opened, 0));
    s.packets = f.packets;
    if (f.protocol == ip_protocol::tcp) s.tcp = tcp_tracker<chosen_checks<false>>::tell(f.tcp);
    if (f.is_spliced()) {
        s.spliced = true;
        s.shift = shift_of(f);
        s.client_scale = f.client_scale;
        s.promised_scale = f.promised_scale;
    }
    if (f.has_handshake()) {
        handshake const& h = handshakes_[f.shift.timestamp];
        s.mends = h.mends;
        s.cookie_timestamp = h.cookie_timestamp;
        s.client_timestamp = h.client_timestamp;
    }
    if constexpr (portable_address_policy<std::remove_reference_t<decltype(Policies::addresses)>>) s.claims = policies_.addresses.claims_of(f, number);
    return s;
}

template <engine_policies Policies>
template <class Address>
std::optional<std::uint32_t> engine<Policies>::find_flow(flow_key<Address> const& key) const noexcept {
    flow_handle const found = store<Address>().table.find(key);
    if (!found || found.direction() != 0) return std::nullopt;
    return found.number();
}

template <engine_policies Policies>
template <class Address>
bool engine<Policies>::lives_here(std::uint32_t number) const noexcept {
    flow<Address> const& f = store<Address>().table.record(number);
    return f.protocol == ip_protocol::tcp && !is_unseen(f.tcp);
}

template <engine_policies Policies>
template <class Address>
void engine<Policies>::forget(std::uint32_t number, time_point now) noexcept {
    begin(now);
    if (store<Address>().table.is_live(number)) close_flow<Address>(number);
}

template <engine_policies Policies>
template <class Address>
adoption_result engine<Policies>::adopt(flow_state<Address> const& told, time_point now) noexcept
    requires(!keeps_address_state || portable_address_policy<std::remove_reference_t<decltype(Policies::addresses)>>)
{
    begin(now);
    auto& table = store<Address>().table;
    flow_key<Address> back = told.key;
    back.tuple = told.server_tuple.reversed();
    for (flow_handle const found : {table.find(told.key), table.find(back)}) {
        if (!found) continue;
        flow<Address>& f = table.record(found);
        if (!detail::is_same_flow(f, told)) return {adoption::tuple_in_use, found.number()};
        if (lives_here<Address>(found.number())) return {adoption::lives_here, found.number()};
        if (f.is_spliced() == told.spliced && f.has_handshake() == told.mends) {
            f.rewrites = told.led || !f.keeps_addresses() ? 1 : 0;
            fill(f, told);
            return {adoption::refreshed, found.number()};
        }
        close_flow<Address>(found.number());  // the server has opened anew on its tuple
        break;
    }
    return insert_told(told, back);
}

template <engine_policies Policies>
template <class Address>
adoption_result engine<Policies>::insert_told(flow_state<Address> const& told, flow_key<Address> const& back) noexcept {
    auto& table = store<Address>().table;
    if (told.mends && (handshakes_.in_use() == handshakes_.capacity() || mended_ >= (handshakes_.capacity() + 3) / 4)) return {adoption::handshakes_full};
    if (table.size() == table.capacity()) make_room<Address>();
    if (table.size() == table.capacity()) return {adoption::table_full};
    address_answer<Address> answer{told.server_tuple};
    answer.hairpin = told.hairpin;
    answer.led = told.led;
    flow_request<Address> const request{told.key.tuple, told.key.zone, told.key.protocol, told.client_side, true};
    if (adoption const refusal = claim(request, answer, told.claims); refusal != adoption::adopted) return {refusal};
    insert_result const inserted = table.insert(told.key, back);
    if (!inserted) {
        if constexpr (keeps_address_state) policies_.addresses.refused(answer, stamp_);
        return {adoption::table_full};
    }
    std::uint32_t const number = inserted.handle.number();
    flow<Address>& f = begin_flow(number, request, answer);
    if (told.mends) take_handshake(f);
    f.opened = detail::ago(stamp_, told.age_ms);
    f.last_seen = detail::ago(stamp_, told.idle_ms);
    fill(f, told);
    tell_opened(f, number);
    return {adoption::adopted, number};
}

/// A policy without state is asked what it would answer: another answer would be another flow.
template <engine_policies Policies>
template <class Address>
adoption engine<Policies>::claim(flow_request<Address> const& request, address_answer<Address>& answer, flow_claims const& claims) noexcept {
    if constexpr (keeps_address_state) {
        return policies_.addresses.adopt(request, answer, claims, stamp_);
    } else {
        address_answer<Address> const own = policies_.addresses.translate(request, stamp_);
        bool const same = own.reason == drop_reason::none && own.server_tuple == answer.server_tuple && own.hairpin == answer.hairpin && own.led == answer.led;
        return same && claims == flow_claims{} ? adoption::adopted : adoption::addresses_differ;
    }
}

/// One of the pool, of which there is one.
template <engine_policies Policies>
template <class Address>
void engine<Policies>::take_handshake(flow<Address>& f) noexcept {
    std::uint32_t const number = *handshakes_.claim();
    handshake& h = handshakes_[number];
    h = {};
    h.mends = h.spliced = true;
    ++mended_;
    f.set_phase(flow_phase::mended);
    f.shift.timestamp = number;
}

/// All but what the flow is found by.
template <engine_policies Policies>
template <class Address>
void engine<Policies>::fill(flow<Address>& f, flow_state<Address> const& told) noexcept {
    stamp_ms const seen = detail::ago(stamp_, told.idle_ms);
    if (seen - f.last_seen > 0) f.last_seen = seen;
    for (std::size_t d = 0; d < 2; ++d) f.packets[d] = std::max(f.packets[d], told.packets[d]);
    if (told.spliced) {
        f.client_scale = told.client_scale & 0x0fu;
        f.promised_scale = told.promised_scale & 0x0fu;
        f.shift.sequence = told.shift.sequence;
    }
    if (told.mends) {
        handshake& h = handshakes_[f.shift.timestamp];
        h.clock_shift = told.shift.timestamp;
        h.cookie_timestamp = told.cookie_timestamp;
        h.client_timestamp = told.client_timestamp;
    } else if (told.spliced) {
        f.set_phase(flow_phase::spliced);
        f.shift.timestamp = told.shift.timestamp;
    }
    if (f.protocol == ip_protocol::tcp) tcp_tracker<chosen_checks<false>>::adopt(f.tcp, told.tcp);
    timeout_ms const timeout = timeout_of_flow(f);
    arm(f, timeout - std::min(timeout, told.idle_ms));
}

template <engine_policies Policies>
template <class Address>
void engine<Policies>::tell_opened(flow<Address> const& f, std::uint32_t number) noexcept {
    if constexpr (numbered_flow_observer<std::remove_reference_t<decltype(Policies::observer)>>)
        policies_.observer.opened(f, number);
    else
        policies_.observer.opened(f);
}

template <engine_policies Policies>
template <class Address>
void engine<Policies>::tell_closed(flow<Address> const& f, std::uint32_t number) noexcept {
    if constexpr (numbered_flow_observer<std::remove_reference_t<decltype(Policies::observer)>>)
        policies_.observer.closed(f, number);
    else
        policies_.observer.closed(f);
}

}  // namespace halfproxy
