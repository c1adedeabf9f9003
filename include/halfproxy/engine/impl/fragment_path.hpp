// SPDX-License-Identifier: BSL-1.0
// Fragments: the first takes the ordinary path and decides, later ones follow it, earlier ones wait for it.
//
// The transport checksum covers the whole datagram and cannot be verified here. So a fragment opens and resets no TCP flow: no stack cuts up a SYN or RST,
// and without DF they are shorter than any path's MTU. Data of a flow passes, for its numbers are checked, and so does a FIN. UDP and ICMP queries
// open flows, which cost as little as those of a forged sender do.
#pragma once

#include <halfproxy/engine/engine.hpp>
#include <halfproxy/engine/impl/new_flow_checks.hpp>

namespace halfproxy {

template <engine_policies Policies>
template <class Address>
typename engine<Policies>::template fragments_of<Address>& engine<Policies>::fragments() noexcept {
    if constexpr (std::is_same_v<Address, std::uint32_t>)
        return fragments_v4_;
    else
        return fragments_v6_;
}

/// Memory is only for who reassembles.
template <engine_policies Policies>
fragment_limits engine<Policies>::limits_of_fragments(engine_config const& c) noexcept {
    if (c.normalize.fragments != fragment_policy::reassemble) return {};
    return {c.limits.fragment_datagrams, c.limits.fragments_waiting, c.limits.fragment_bytes, c.timeouts.fragment};
}

/// False: the fragment is to be treated like a whole packet.
template <engine_policies Policies>
HALFPROXY_RARE bool engine<Policies>::classify_fragment(packet& p) const noexcept {
    packet_layout const& l = p.view.layout();
    p.error = drop_reason::none;
    if (is_impossible_fragment(l))
        p.error = drop_reason::fragment_malformed;
    else if (is_tiny_fragment(p.view))
        p.error = drop_reason::fragment_tiny;
    fragment_policy const policy = config_.normalize.fragments;
    if (policy == fragment_policy::reassemble && p.error != drop_reason::fragment_malformed) {
        p.kind = packet_kind::fragment;
    } else if (p.error != drop_reason::none) {
        p.kind = packet_kind::malformed;
    } else if (l.fragment_offset != 0 || policy == fragment_policy::drop) {
        p.kind = packet_kind::later_fragment;
    } else {
        return false;
    }
    return true;
}

template <engine_policies Policies>
template <tcp_checks Checks, class Address>
[[gnu::noinline]] typename engine<Policies>::decision engine<Policies>::fragment(packet& p, frame& f, outbox& out) noexcept {
    auto& table = fragments<Address>();
    auto const discard = [this](frame const& given_up, drop_reason reason) { give_up(given_up, reason); };
    fragment_place const place = table.arrive(fragment_key<Address>(p.view, f.arrival), piece_of(p.view.layout()), stamp_, discard);
    if (place.step == fragment_step::refuse) return drop(place.reason);
    if (place.step == fragment_step::wait) {
        drop_reason const reason = table.keep(place.number, f, stamp_, discard);
        if (reason != drop_reason::none) return drop(reason);
        ++counters_.fragments_held;
        return {verdict::hold};
    }
    decision d = forwarded;
    if (place.step == fragment_step::follow) {
        d.reason = follow<Checks, Address>(p.view, f, place.number);
        if (d.reason != drop_reason::none)
            d.outcome = verdict::drop;
        else if (table.fate(place.number).hairpin)
            d = answered;
    } else {
        p.whole_bytes = table.whole_bytes(place.number);
        d = first_fragment<Checks, Address>(p, f, out, table.fate(place.number));
        table.decide(place.number, stamp_);
        auto const after_first = [&](frame& held) {
            if (table.fate(place.number).hairpin) held.arrival = other(held.arrival);  // what waited leaves through the other side
            drop_reason const reason = follow<Checks, Address>(parse(held.link, held.bytes(), held.wire_length), held, place.number);
            return reason != drop_reason::none || held.via == 0 ? reason : enter_tunnel_beside(held);
        };
        table.release(place.number, after_first, discard);
        std::uint32_t const sent = table.send_ready(out);
        counters_.fragments_released += sent;
        counters_.originated += sent;
    }
    table.settle(place.number);
    return d;
}

/// The ordinary path of a packet, and what becomes of it is noted for the others.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::first_fragment(packet& p, frame& f, outbox& out, fragment_fate<Address>& fate) noexcept {
    decision d = forwarded;
    packet_kind const kind = p.error != drop_reason::none ? packet_kind::malformed : kind_of_whole(p.view);
    switch (kind) {
        case packet_kind::malformed: d = malformed(p.error); break;
        case packet_kind::tcp: d = first_tcp_fragment<Checks, Address>(p, f, out, fate); break;
        case packet_kind::icmp_error: d = drop(drop_reason::fragment_decisive); break;
        case packet_kind::datagram:
            fate.flow = detail::key_of<Address>(p.view, p.view.layout().vlan_id());
            fate.has_flow = true;
            d = datagram(p, f, fate.flow, store<Address>().table.find(fate.flow));
            break;
        default: break;
    }
    flow_handle const found = d.outcome == verdict::reply && fate.has_flow ? store<Address>().table.find(fate.flow) : flow_handle{};
    fate.hairpin = found && store<Address>().table.record(found).is_hairpin();
    if (d.outcome != verdict::forward && !fate.hairpin) fate.dropped_for = d.outcome == verdict::drop ? d.reason : drop_reason::fragment_decisive;
    fate.source = detail::source_of<Address>(p.view);
    fate.destination = detail::destination_of<Address>(p.view);
    return d;
}

/// Of a flow that both ends have, only what changes nothing at once: neither may a packet of our making take a first fragment's place.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::first_tcp_fragment(packet& p, frame& f, outbox& out, fragment_fate<Address>& fate) noexcept {
    flow_key<Address> const key = detail::key_of<Address>(p.view, p.view.layout().vlan_id());
    flow_handle const found = store<Address>().table.find(key);
    if (!found) {
        drop_reason const refusal = detail::refusal_of(p.view, ip_protocol::tcp, key.tuple);
        if (refusal != drop_reason::none) return drop(refusal);
        return is_fast(key) ? forwarded : drop(drop_reason::fragment_decisive);
    }
    flow<Address> const& known = store<Address>().table.record(found);
    bool const decisive = (p.view.tcp().flags & (tcp_flag::syn | tcp_flag::rst)) != 0;
    if (decisive || known.phase() == flow_phase::connecting) return drop(drop_reason::fragment_decisive);
    tcp_packet const t{p, f, out, parse_tcp_options(p.view.tcp_options())};
    fate.flow = key;
    fate.has_flow = true;
    fate.tells_length = p.whole_bytes == 0;
    fate.segment = segment_of<Checks>(t, known, static_cast<direction>(found.direction()));
    fate.segment.flags = p.view.tcp().flags;  // with the FIN
    fate.segment.payload_bytes = static_cast<std::uint32_t>(p.view.tcp().header_bytes());  // to be taken from the whole length
    return tcp<Checks>(p, f, out, key, found);
}

/// none when the fragment may leave as it is now. Its flow may be over meanwhile: the others of its datagram follow the first nevertheless.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
drop_reason engine<Policies>::follow(packet_view const& view, frame& f, std::uint32_t number) noexcept {
    auto& table = fragments<Address>();
    fragment_fate<Address>& fate = table.fate(number);
    if (fate.dropped_for != drop_reason::none) return drop_reason::fragment_of_dropped;
    flow_handle const found = fate.has_flow ? store<Address>().table.find(fate.flow) : flow_handle{};
    if (found) {
        flow<Address>& known = store<Address>().table.record(found);
        auto const from = static_cast<direction>(found.direction());
        if (fate.tells_length && table.whole_bytes(number) != 0) {
            drop_reason const reason = tell_length<Checks>(known, from, fate, table.whole_bytes(number));
            if (reason != drop_reason::none) return reason;
        }
        note_forwarded(known, from, view.layout());
        if (known.rewrites != 0) lead_to_station(f, known, from);
    }
    nat_rewriter<>::rewrite(view, nat_endpoints<Address>{fate.source, fate.destination, 0, 0}, f.offload.checksum);
    return drop_reason::none;
}

/// Until now the tracker knew of the segment what its first fragment held. Its receiver could not acknowledge more either.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
drop_reason engine<Policies>::tell_length(flow<Address>& f, direction from, fragment_fate<Address>& fate, std::uint16_t whole_bytes) noexcept {
    fate.tells_length = false;
    tcp_segment segment = fate.segment;
    segment.payload_bytes = whole_bytes - segment.payload_bytes;
    tcp_state const before = f.tcp.state;
    track_result const result = track<Checks>(f, from, segment);
    if (result.outcome == track_outcome::drop) fate.dropped_for = result.reason;
    note_state(f, before);
    return fate.dropped_for;
}

/// A fragment that waited. Its verdict was `hold`: it is counted apart.
template <engine_policies Policies>
void engine<Policies>::give_up(frame const& fragment, drop_reason reason) noexcept {
    ++counters_.fragments_given_up[static_cast<std::size_t>(reason)];
    policies_.observer.dropped(fragment, reason);
}

/// What found no room in the last outbox goes first.
template <engine_policies Policies>
void engine<Policies>::begin_fragments(outbox& out) noexcept {
    fragments_v4_.reclaim();
    fragments_v6_.reclaim();
    std::uint32_t const sent = fragments_v4_.send_ready(out) + fragments_v6_.send_ready(out);
    counters_.fragments_released += sent;
    counters_.originated += sent;
}

template <engine_policies Policies>
void engine<Policies>::expire_fragments() noexcept {
    auto const discard = [this](frame const& given_up, drop_reason reason) { give_up(given_up, reason); };
    fragments_v4_.expire(stamp_, timers_per_advance, discard);
    fragments_v6_.expire(stamp_, timers_per_advance, discard);
}

template <engine_policies Policies>
std::optional<stamp_ms> engine<Policies>::next_fragment_deadline() const noexcept {
    auto const v4 = fragments_v4_.next_deadline(stamp_);
    auto const v6 = fragments_v6_.next_deadline(stamp_);
    if (!v4 || !v6) return v4 ? v4 : v6;
    return *v4 - *v6 < 0 ? v4 : v6;
}

}  // namespace halfproxy
