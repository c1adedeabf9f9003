// SPDX-License-Identifier: BSL-1.0
// ICMP errors: let through only to the flow whose packet they quote, in that flow's numbers and addresses.
#pragma once

#include <halfproxy/engine/engine.hpp>
#include <halfproxy/translate/icmp_quote.hpp>

#include <algorithm>

namespace halfproxy {

namespace detail {

/// Quotes of other protocols belong to no flow of ours.
[[nodiscard]] inline bool quotes_flow_packet(packet_view const& quoted) noexcept {
    if (!quoted.layout().has_transport) return false;
    return quoted.is_tcp() || quoted.is_udp() || is_query(quoted);
}

/// A quoted number must be one its sender may have in flight (RFC 5927 section 4.1), or just had.
[[nodiscard]] inline bool may_be_in_flight(tcp_connection const& c, direction sender, seq_num seq) noexcept {
    tcp_side const& s = c.side[index(sender)];
    std::uint32_t const window = std::max(c.side[index(reverse(sender))].max_window, ack_slack);
    return seq.at_or_before(s.end) && seq.at_or_after(s.end - window);
}

}  // namespace detail

template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::icmp_error(packet& p, frame& f) noexcept {
    packet_view const quoted = parse_quoted(p.view);
    if (!detail::quotes_flow_packet(quoted)) return forwarded;
    // The quoted packet left us towards where the error comes from: reversed, it is what that side sends.
    flow_key<Address> key = detail::key_of<Address>(quoted, p.view.layout().vlan_id());
    key.tuple = key.tuple.reversed();
    flow_handle const found = store<Address>().table.find(key);
    if (!found) return is_fast(key) ? forwarded : drop(drop_reason::icmp_unrelated);
    flow<Address>& flow_of = store<Address>().table.record(found);
    auto const from = static_cast<direction>(found.direction());
    if (flow_of.arrival(from) != f.arrival) return drop(drop_reason::wrong_side);
    if (!checksums_good(p, f)) return drop(drop_reason::l4_checksum);

    bool const spliced = flow_of.is_spliced();
    bool const quotes_server = from == direction::from_client;
    std::uint32_t const shift = spliced ? flow_of.shift.sequence : 0u;
    if (quoted.is_tcp()) {
        seq_num const seq = seq_num{quoted.tcp().sequence} - (quotes_server ? shift : 0u);
        if (!detail::may_be_in_flight(flow_of.tcp, reverse(from), seq)) return drop(drop_reason::icmp_unrelated);
    }
    if (!spliced && flow_of.rewrites == 0) return forwarded;

    flow_tuple<Address> const inner = flow_of.tuple[1 - index(from)];  // as its sender sent it
    quote_changes<Address> const changes{{inner.source, inner.destination, inner.source_port, inner.destination_port},
                                         quotes_server ? 0u - shift : 0u,
                                         quotes_server ? 0u : shift};
    header_changes outer;
    rewrite_quote(p.view, quoted, changes, outer);
    nat_endpoints<Address> to{};
    flow_tuple<Address> const leaving = flow_of.leaving(from);
    Address const sender = detail::source_of<Address>(p.view);
    to.source = sender == flow_of.tuple[index(from)].source ? leaving.source : sender;
    to.destination = leaving.destination;
    nat_rewriter<>::replace(p.view, to, outer);
    incremental_checksum::commit(p.view, outer, f.offload.checksum);
    return forwarded;
}

}  // namespace halfproxy
