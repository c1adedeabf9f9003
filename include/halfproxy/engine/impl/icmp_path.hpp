// SPDX-License-Identifier: BSL-1.0
// ICMP errors: let through only to the flow whose packet they quote, in that flow's numbers and addresses.
//
// Read RFC 792, RFC 1122 section 3.2.2, RFC 4443 section 2.4, RFC 5508 section 4 and RFC 5927 first.
#pragma once

#include <halfproxy/engine/engine.hpp>
#include <halfproxy/engine/impl/new_flow_checks.hpp>
#include <halfproxy/translate/icmp_quote.hpp>

#include <algorithm>

namespace halfproxy {

namespace detail {

/// Redirects are for the hosts of a link from its router; through a half proxy they would let a stranger choose another way for a flow (RFC 5927
/// section 6 treats them as attacks). Source quench is obsolete, and to be ignored (RFC 6633).
[[nodiscard]] inline bool is_denied_message(packet_view const& error) noexcept {
    bool const source_quench = error.layout().ip_version == 4 && error.icmp().type == 4;
    return is_redirect(error) || source_quench;
}

/// Packets about which no error may be sent (RFC 1122 section 3.2.2, RFC 4443 section 2.4): errors and redirects, to a group, and in IPv4
/// fragments but the first. In IPv6 a packet to a group may be too big, or have an option the receiver wants to refuse.
[[nodiscard]] inline bool deserves_no_error(packet_view const& error, packet_view const& quoted) noexcept {
    packet_layout const& l = quoted.layout();
    if (quoted.is_icmp() && (is_icmp_error(l.ip_version, quoted.icmp().type) || is_redirect(quoted))) return true;
    if (l.ip_version == 4) return l.fragment_offset != 0 || is_group(quoted.ipv4().destination);
    bool const of_groups_too = error.icmp().type == 2 || (error.icmp().type == 4 && error.icmp().code == 2);
    return is_group(quoted.ipv6().destination) && !of_groups_too;
}

/// Whether enough is quoted to tell the flow: ports, identifier and sequence number, or the protocol alone where there are none of these.
[[nodiscard]] inline bool names_flow(packet_view const& quoted) noexcept {
    packet_layout const& l = quoted.layout();
    if (l.transport_offset <= l.network_offset || is_extension(l.protocol)) return false;
    bool const needs_transport = l.protocol == ip_protocol::tcp || l.protocol == ip_protocol::udp ||
                                 l.protocol == (l.ip_version == 4 ? ip_protocol::icmp : ip_protocol::icmpv6);
    return l.has_transport || !needs_transport;
}

/// A quoted number must be one its sender may have in flight (RFC 5927 section 4.1), or just had.
[[nodiscard]] inline bool may_be_in_flight(tcp_connection const& c, direction sender, seq_num seq) noexcept {
    if (is_half_open(c.state) && !marked(c, sender, tcp_mark::seen)) return false;
    tcp_side const& s = c.side[index(sender)];
    std::uint32_t const window = std::max(c.side[index(reverse(sender))].max_window, ack_slack);
    return seq.at_or_before(s.end) && seq.at_or_after(s.end - window);
}

}  // namespace detail

template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::icmp_error(packet& p, frame& f) noexcept {
    if (detail::is_denied_message(p.view)) return drop(drop_reason::icmp_denied);
    packet_view const quoted = parse_quoted(p.view);
    if (quoted.layout().ip_version != p.view.layout().ip_version) return drop(drop_reason::icmp_unrelated);
    if (detail::deserves_no_error(p.view, quoted)) return drop(drop_reason::icmp_denied);
    Address const sender = detail::source_of<Address>(p.view);
    if (detail::is_group(sender) || detail::is_nowhere(sender)) return drop(drop_reason::ip_source);
    if (quoted.layout().fragment_offset != 0) return icmp_error_about_fragment<Address>(p, f, quoted);
    if (!detail::names_flow(quoted)) return drop(drop_reason::icmp_unrelated);
    // The quoted packet left us towards where the error comes from: reversed, it is what that side sends.
    flow_key<Address> key = detail::key_of<Address>(quoted, p.view.layout().vlan_id());
    key.tuple = key.tuple.reversed();
    flow_handle const found = store<Address>().table.find(key);
    if (!found) return is_fast(key) ? forwarded : drop(drop_reason::icmp_unrelated);
    drop_reason const reason = relate<Address>(p, f, quoted, found);
    if (reason != drop_reason::none) return drop(reason);
    translate_error<Address>(p, f, quoted, found);
    return passed(store<Address>().table.record(found));
}

/// IPv6: of a datagram that is still in progress. Under address translation such a quote cannot be told back.
template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::icmp_error_about_fragment(packet& p, frame& f, packet_view const& quoted) noexcept {
    if (quoted.layout().fragment_content == 0) return drop(drop_reason::icmp_unrelated);
    flow_key<Address> key = fragment_key<Address>(quoted, other(f.arrival));
    key.zone = p.view.layout().vlan_id();
    fragment_fate<Address> const* const fate = fragments<Address>().find_fate(key, stamp_);
    bool const passed = fate != nullptr && fate->dropped_for == drop_reason::none && fate->has_flow;
    bool const as_it_came = passed && fate->source == key.tuple.source && fate->destination == key.tuple.destination;
    if (!as_it_came || detail::destination_of<Address>(p.view) != fate->source) return drop(drop_reason::icmp_unrelated);
    return checksums_good(p, f) ? forwarded : drop(drop_reason::l4_checksum);
}

/// none when the error is about a packet that the flow has sent, to whom it was that sent it.
template <engine_policies Policies>
template <class Address>
drop_reason engine<Policies>::relate(packet const& p, frame const& f, packet_view const& quoted, flow_handle found) noexcept {
    flow<Address> const& about = store<Address>().table.record(found);
    auto const from = static_cast<direction>(found.direction());
    if (about.arrival(from) != f.arrival) return drop_reason::wrong_side;
    if (!checksums_good(p, f)) return drop_reason::l4_checksum;
    if (detail::destination_of<Address>(p.view) != about.tuple[index(from)].destination) return drop_reason::icmp_unrelated;
    if (!quoted.is_tcp())
        return about.packets[index(reverse(from))] != 0 || is_answered_elsewhere(about) ? drop_reason::none : drop_reason::icmp_unrelated;
    bool const shifted = about.is_spliced() && from == direction::from_client;
    seq_num const seq = seq_num{quoted.tcp().sequence} - (shifted ? about.shift.sequence : 0u);
    return detail::may_be_in_flight(about.tcp, reverse(from), seq) ? drop_reason::none : drop_reason::icmp_unrelated;
}

template <engine_policies Policies>
template <class Address>
void engine<Policies>::translate_error(packet const& p, frame& f, packet_view const& quoted, flow_handle found) noexcept {
    flow<Address> const& about = store<Address>().table.record(found);
    auto const from = static_cast<direction>(found.direction());
    bool const spliced = about.is_spliced();
    bool const quotes_server = from == direction::from_client;
    std::uint32_t const announced = quotes_server ? 0u : announced_before(about, quoted);
    if (!spliced && about.rewrites == 0 && announced == 0) return;
    std::uint32_t const shift = spliced ? about.shift.sequence : 0u;
    flow_tuple<Address> const inner = about.tuple[1 - index(from)];  // as its sender sent it
    quote_changes<Address> const changes{{inner.source, inner.destination, inner.source_port, inner.destination_port},
                                         quotes_server ? 0u - shift : announced,
                                         quotes_server ? 0u : shift};
    header_changes outer;
    rewrite_quote(p.view, quoted, changes, outer);
    nat_endpoints<Address> to{};
    flow_tuple<Address> const leaving = about.leaving(from);
    Address const sender = detail::source_of<Address>(p.view);
    // A router behind a translated address is not to be seen either (RFC 5508 REQ-5); one beyond it is, or nobody could trace a route.
    Address const end = about.tuple[index(from)].source;
    to.source = sender == end || leaving.source != end ? leaving.source : sender;
    to.destination = leaving.destination;
    nat_rewriter<>::replace(p.view, to, outer);
    incremental_checksum::commit(p.view, outer, f.offload.checksum);
    if (about.rewrites != 0) lead_to_station(f, about, from);
}

}  // namespace halfproxy
