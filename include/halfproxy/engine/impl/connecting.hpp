// SPDX-License-Identifier: BSL-1.0
// While the server is asked: what either end may send meanwhile, our SYN again, and the end of an attempt.
#pragma once

#include <halfproxy/engine/engine.hpp>

#include <algorithm>

namespace halfproxy {

template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::while_connecting(tcp_packet& t, flow_handle found) noexcept {
    if (!checksums_good(t.p, t.f)) return drop(drop_reason::l4_checksum);
    if (static_cast<direction>(found.direction()) == direction::from_client) {
        flow<Address> const& f = store<Address>().table.record(found);
        // A client that gave up and has proved itself anew: what waits is of no use to it.
        bool const repeats_cookie = seq_num{t.p.view.tcp().acknowledgment} == handshakes_[f.shift.timestamp].cookie_isn + 1;
        flow_key<Address> const key = f.key(0);
        if (auto const client = repeats_cookie ? std::nullopt : new_incarnation(t, key, f, direction::from_client, segment_of<Checks>(t, f, direction::from_client))) {
            close_flow<Address>(found.number());
            return admit_proven<Checks>(t, key, *client);
        }
        return client_while_connecting<Address>(t, found);
    }
    return server_while_connecting<Checks, Address>(t, found);
}

/// The client waits behind a closed window. Its exact RST ends the flow and tells the server. A new SYN is challenged anew, without
/// touching the flow. Data is kept as far as there is room, or comes again; so is a FIN: who sends no more may still want an answer.
template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::client_while_connecting(tcp_packet& t, flow_handle found) noexcept {
    flow<Address>& f = store<Address>().table.record(found);
    handshake& h = handshakes_[f.shift.timestamp];
    tcp_header const& tcp = t.p.view.tcp();
    std::uint8_t const kind = tcp.flags & detail::deciding_flags;
    bool const at_start = seq_num{tcp.sequence} == h.client_isn + 1;
    if (kind == tcp_flag::syn && !draining_ && challenges_now(f.key(0), t.f.arrival)) {
        ++counters_.syns_seen;
        return challenge(t, f.key(0));
    }
    if ((kind & tcp_flag::rst) != 0) {
        bool const exact = at_start || seq_num{tcp.sequence} == h.held_end;
        return exact ? client_gone<Address>(t, found) : drop(drop_reason::rst_outside_window);
    }
    if ((kind & ~tcp_flag::fin) != tcp_flag::ack || seq_num{tcp.acknowledgment} != h.cookie_isn + 1) return drop(drop_reason::handshake_pending);
    // Our own ACK may not carry an older TSval than the client's last (RFC 7323 section 5), nor a newer one than data that is to follow it.
    bool const newer = static_cast<std::int32_t>(t.options.timestamp_value - h.client_timestamp) > 0;
    if (t.options.has_timestamps && newer && h.held.empty()) h.client_timestamp = t.options.timestamp_value;
    return hold(t, h);
}

/// Keeps what continues the stream: data or FIN. What overlaps nothing new, or leaves a gap, comes again.
template <engine_policies Policies>
typename engine<Policies>::decision engine<Policies>::hold(tcp_packet& t, handshake& h) noexcept {
    tcp_segment const s = make_tcp_segment(t.p.view.tcp(), t.options, t.p.view.layout().payload_bytes());
    bool const continues = s.seq.at_or_before(h.held_end) && s.seq.after(h.client_isn) && s.end().after(h.held_end);
    if (!continues || t.p.view.layout().is_fragment()) return drop(drop_reason::handshake_pending);
    if (h.held_count >= config_.splice.held_per_connection || !held_.keep(h.held, t.f)) {
        ++counters_.segments_not_held;
        return drop(drop_reason::handshake_pending);
    }
    h.held_end = s.end();
    ++h.held_count;
    ++counters_.segments_held;
    return {verdict::hold};
}

/// The server, which may have answered already, hears a RST.
template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::client_gone(tcp_packet& t, flow_handle found) noexcept {
    flow<Address>& f = store<Address>().table.record(found);
    handshake const& h = handshakes_[f.shift.timestamp];
    packet_origin origin = origin_of(t.f.link, {t.p.view.bytes(), t.p.view.layout()});
    detail::set_tuple(origin, f.leaving(direction::from_client));
    tcp_fields const reset{.seq = h.isn_for_server() + 1, .ack = {}, .flags = tcp_flag::rst, .window = 0};
    decision const d = send_in_place(t, origin, reset, {}, verdict::forward);
    lead_to_station(t.f, f, direction::from_client);
    close_flow<Address>(found.number());
    return d;
}

/// We are the SYN-SENT end towards the server (RFC 9293 section 3.10.7.3).
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::server_while_connecting(tcp_packet& t, flow_handle found) noexcept {
    flow<Address>& f = store<Address>().table.record(found);
    handshake& h = handshakes_[f.shift.timestamp];
    tcp_header const& tcp = t.p.view.tcp();
    std::uint8_t const kind = tcp.flags & detail::deciding_flags;
    bool const acknowledges_syn = (kind & tcp_flag::ack) != 0 && seq_num{tcp.acknowledgment} == h.isn_for_server() + 1;
    if ((kind & tcp_flag::rst) != 0)
        return acknowledges_syn ? refused_by_server<Address>(t, found) : drop(drop_reason::handshake_unexpected);
    if (kind == (tcp_flag::syn | tcp_flag::ack) && acknowledges_syn) return complete<Checks>(t, f);
    if ((kind & tcp_flag::ack) == 0 || acknowledges_syn) return drop(drop_reason::handshake_unexpected);
    // It answers an older connection: end that one there, and ask again at once.
    tcp_fields const reset{.seq = {tcp.acknowledgment}, .ack = {}, .flags = tcp_flag::rst, .window = 0};
    bool const again = kind == tcp_flag::ack && t.out.push(h.syn.exit, h.syn.bytes(), h.syn.via);
    if (again) ++counters_.originated;
    return send_in_place(t, way::back, reset, {});
}

/// The client learns at once, with the numbers it expects.
template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::refused_by_server(tcp_packet& t, flow_handle found) noexcept {
    flow<Address>& f = store<Address>().table.record(found);
    handshake const& h = handshakes_[f.shift.timestamp];
    packet_origin origin = origin_of(t.f.link, {t.p.view.bytes(), t.p.view.layout()});
    detail::set_tuple(origin, f.leaving(direction::from_server));
    tcp_fields const reset{
        .seq = h.cookie_isn + 1, .ack = h.client_isn + 1, .flags = tcp_flag::rst | tcp_flag::ack, .window = 0};
    ++counters_.handshakes_refused;
    f.tcp.state = tcp_state::closed;
    tell_opening(f, tcp_state::syn_sent, direction::from_server);
    close_flow<Address>(found.number());
    return send_in_place(t, origin, reset, {}, verdict::forward);
}

/// Sends our SYN again, or ends the attempt. Without room in the outbox it is tried again in the next slot.
template <engine_policies Policies>
template <class Address>
std::optional<stamp_ms> engine<Policies>::retry_connecting(std::uint32_t number, outbox& out) noexcept {
    flow<Address> const& f = store<Address>().table.record(number);
    handshake& h = handshakes_[f.shift.timestamp];
    if (h.next_send - stamp_ > 0) return h.next_send;
    if (out.room() == 0) return stamp_ + 1;
    if (h.sent > config_.server_syn.retries) {
        reset_client(f, h, out);
        ++counters_.handshakes_timed_out;
        close_flow<Address>(number);
        return std::nullopt;
    }
    out.push(h.syn.exit, h.syn.bytes(), h.syn.via);
    ++counters_.originated;
    ++counters_.syns_retransmitted;
    std::uint64_t const wait = std::uint64_t{config_.server_syn.first_retry} << h.sent;
    ++h.sent;
    h.next_send = stamp_ + static_cast<timeout_ms>(std::min<std::uint64_t>(wait, 60'000));
    return h.next_send;
}

/// With the numbers the client expects.
template <engine_policies Policies>
template <class Address>
void engine<Policies>::reset_client(flow<Address> const& f, handshake const& h, outbox& out) noexcept {
    outbox_frame* const slot = out.claim(f.arrival(direction::from_client));
    if (slot == nullptr) return;
    const_packet_view const syn = parse(h.link, h.syn.bytes(), h.syn.length);
    packet_origin origin = origin_of(h.link, syn).reversed();
    detail::set_tuple(origin, f.leaving(direction::from_server));
    tcp_fields const reset{
        .seq = h.cookie_isn + 1, .ack = h.client_isn + 1, .flags = tcp_flag::rst | tcp_flag::ack, .window = 0};
    slot->length = static_cast<std::uint16_t>(build_tcp(slot->data, origin, reset, {}));
    ++counters_.originated;
}

template <engine_policies Policies>
template <class Address>
void engine<Policies>::release_handshake(flow<Address> const& f) noexcept {
    handshake& h = handshakes_[f.shift.timestamp];
    while (!h.held.empty()) held_.drop_front(h.held);
    if (h.mends) --mended_;
    handshakes_.release(f.shift.timestamp);
}

}  // namespace halfproxy
