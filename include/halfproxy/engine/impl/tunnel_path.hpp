// SPDX-License-Identifier: BSL-1.0
// Packets that reach their server inside others (mode ipip): put in, cut up where they do not fit as they are, or refused with a word to their sender.
//
// Read RFC 2003 sections 3 and 5, RFC 2473 section 7 and RFC 1191 section 4 first.
#pragma once

#include <halfproxy/engine/engine.hpp>

namespace halfproxy {

namespace detail {

/// Of the addresses, and the ports where there are any: spreads flows over paths where they travel in UDP (draft-ietf-intarea-gue section 5.11.1).
[[nodiscard]] inline std::uint16_t tunnel_source_port(packet_view const& packet) noexcept {
    packet_layout const& l = packet.layout();
    std::size_t const addresses_at = l.network_offset + (l.ip_version == 4 ? 12u : 8u);
    std::size_t const address_bytes = l.ip_version == 4 ? 8 : 32;
    checksum_sum sum;
    sum.add(packet.bytes().subspan(addresses_at, address_bytes)).add16(l.protocol);
    bool const ports = (packet.is_tcp() || packet.is_udp()) && !l.is_fragment();
    if (ports) sum.add(packet.bytes().subspan(l.transport_offset, 4));
    return static_cast<std::uint16_t>(0xc000u | (split_mix64(sum.checksum())() & 0x3fffu));  // RFC 6335's dynamic ports
}

}  // namespace detail

/// Of a frame that is led: what a router knows how to reach stays as it is.
template <engine_policies Policies>
typename engine<Policies>::decision engine<Policies>::enter_tunnel(frame& f, decision d) noexcept {
    if constexpr (leads_flows) {
        auto const into = policies_.addresses.tunnel_of(f.via);
        if (!into) return d;
        f.via = 0;
        if (d.outcome != verdict::forward) return d;
        return enter_tunnel_whole(f, parse(f.link, f.bytes(), f.wire_length), *into);
    } else {
        return d;
    }
}

/// Of a packet that leaves beside the burst: one of our own, or a fragment that waited. It is cut no further, and leaves when its turn comes.
template <engine_policies Policies>
drop_reason engine<Policies>::enter_tunnel_beside(frame& f) noexcept {
    if constexpr (leads_flows) {
        auto const into = policies_.addresses.tunnel_of(f.via);
        if (!into) return drop_reason::none;
        f.via = 0;
        packet_view const whole = parse(f.link, f.bytes(), f.wire_length);
        switch (encapsulate(f, whole, *into, ++identification_, detail::tunnel_source_port(whole)).outcome) {
            case encapsulation_outcome::done: ++counters_.tunnelled; return drop_reason::none;
            case encapsulation_outcome::too_big: return drop_reason::packet_too_big;
            case encapsulation_outcome::loops: return drop_reason::ip_source;
            default: return drop_reason::frame_room;
        }
    } else {
        static_cast<void>(f);
        return drop_reason::none;
    }
}

template <engine_policies Policies>
typename engine<Policies>::decision engine<Policies>::enter_tunnel_whole(frame& f, packet_view const& whole, tunnel const& into) noexcept {
    auto const room = static_cast<std::uint16_t>(into.mtu - into.overhead());
    encapsulation_result const result = encapsulate(f, whole, into, ++identification_, detail::tunnel_source_port(whole));
    switch (result.outcome) {
        case encapsulation_outcome::done: ++counters_.tunnelled; return cuts_ && waits_for_pieces(f) ? decision{verdict::hold} : forwarded;
        case encapsulation_outcome::loops: return drop(drop_reason::ip_source);
        case encapsulation_outcome::segmented: {
            cutting const cut = cut_segment(f, {f.bytes(), whole.layout()});
            if (cut.count != 0 && cut.packet_bytes(whole.layout().network_offset) > room) return too_big(f, whole, room);
            return enter_tunnel_in_pieces(f, whole, into, cut);
        }
        case encapsulation_outcome::too_big: {
            cutting const cut = cut_into_fragments(f, {f.bytes(), whole.layout()}, room);
            if (cut.count == 0) return too_big(f, whole, result.inner_mtu);
            finish_checksum(f, whole);
            return enter_tunnel_in_pieces(f, whole, into, cut);
        }
        case encapsulation_outcome::not_ip:  // in a capture that was cut, alone
        case encapsulation_outcome::frame_room: break;
    }
    return drop(drop_reason::frame_room);
}

/// All of them or none. They leave behind this burst, in their order.
template <engine_policies Policies>
typename engine<Policies>::decision engine<Policies>::enter_tunnel_in_pieces(frame& f, packet_view const& whole, tunnel const& into,
                                                                            cutting const& cut) noexcept {
    if (cut.count == 0 || cut.content_at + cut.piece_bytes + into.overhead() > pieces_.slot_bytes()) return drop(drop_reason::frame_room);
    if (pieces_.available() < cut.count) return drop(drop_reason::outbox_full);
    std::uint16_t const source_port = detail::tunnel_source_port(whole);
    const_packet_view const seen(f.bytes(), whole.layout());
    for (std::uint32_t i = 0; i < cut.count; ++i) {
        frame& piece = pieces_.open(pieces_queue_);
        piece.arrival = f.arrival;
        piece.link = f.link;
        piece.length = piece.wire_length = write_piece({piece.data, piece.capacity}, f, seen, cut, i);
        static_cast<void>(encapsulate(piece, parse(piece.link, piece.bytes(), piece.wire_length), into, ++identification_, source_port));
    }
    counters_.tunnelled += cut.count;
    counters_.tunnel_pieces += cut.count;
    cuts_ = true;
    return {verdict::hold};
}

/// A packet behind one that was cut must not overtake it. When there is no room it does.
template <engine_policies Policies>
bool engine<Policies>::waits_for_pieces(frame& f) noexcept {
    return pieces_.keep(pieces_queue_, f);
}

/// The sender is told, in the name of whom it speaks to, where it expects to be: of IPv6, and of IPv4 that may not be fragmented (RFC 1191 section 3).
template <engine_policies Policies>
typename engine<Policies>::decision engine<Policies>::too_big(frame& f, packet_view const& whole, std::uint16_t inner_mtu) noexcept {
    const_packet_view const seen(f.bytes(), whole.layout());
    bool const expects = whole.layout().ip_version == 6 || (whole.ipv4().fragment & ipv4_fragment::dont) != 0;
    if (!expects || !may_be_answered(seen)) return drop(drop_reason::packet_too_big);
    if (!too_bigs_.take(stamp_)) {
        ++counters_.too_big_limited;
        return drop(drop_reason::packet_too_big);
    }
    if (!become_icmp_error(f, seen, icmp_problem::packet_too_big, destination_address(seen), inner_mtu)) return drop(drop_reason::frame_room);
    ++counters_.too_big_sent;
    return answered;
}

/// As far as there is room; the rest in the next call, which is due at once.
template <engine_policies Policies>
void engine<Policies>::send_pieces(outbox& out) noexcept {
    if constexpr (leads_flows) {
        while (!pieces_queue_.empty() && pieces_.lend_front(pieces_queue_, other(pieces_.front(pieces_queue_).arrival), out)) ++counters_.originated;
    }
}

}  // namespace halfproxy
