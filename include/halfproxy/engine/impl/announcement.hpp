// SPDX-License-Identifier: BSL-1.0
// The client announced to its server: the header of the PROXY protocol, L bytes long, before the client's own first byte.
//
//      client                       half proxy                         server
//        | SYN seq=C ------------------>|- SYN seq=C-L ------------------>|
//        |<-- SYN-ACK ack=C+1 ----------|<-------- SYN-ACK ack=C-L+1 -----|
//        | ACK seq=C+1 ---------------->|- header, seq=C-L+1, L bytes --->|   repeated until it is acknowledged
//        | data seq=C+1 --------------->|- data seq=C+1 ----------------->|
//        |<-- ack=C+1, window less L ---|<-------- ack=C-L+1, window -----|   only while the header is on its way
//        |<-- ack=C+9 ------------------|<-------- ack=C+9 ---------------|
//
// The server is given an ISN that lies L lower, so the header ends where the client's stream begins and neither number, SACK edge nor quote
// has to be shifted for it afterwards. Only what acknowledges less than the header must not reach the client. A splice sends the SYN itself;
// of another flow the client's SYN is changed, and its third ACK starts the header.
#pragma once

#include <halfproxy/engine/engine.hpp>

#include <algorithm>

namespace halfproxy {

namespace detail {

template <class Address>
[[nodiscard]] nat_endpoints<Address> ends_of(flow_tuple<Address> const& t) noexcept {
    return {t.source, t.destination, t.source_port, t.destination_port};
}

inline constexpr std::uint16_t ethernet_mtu = 1'500;

/// The server's window holds the whole header.
template <class Address>
[[nodiscard]] bool header_fits(flow<Address> const& f, handshake const& h) noexcept {
    return f.tcp.side[index(direction::from_client)].max_end - (h.isn_for_server() + 1) >= std::int32_t{h.announced};
}

/// One past the header, where the client's first byte stands; of a flow whose SYN alone has been sent.
template <class Address>
[[nodiscard]] seq_num first_byte_behind(flow<Address> const& f, std::uint8_t bytes) noexcept {
    return f.tcp.side[index(direction::from_client)].end + bytes;
}

/// Of a SYN whose checksum is good. The server may not take it for the stream's beginning (RFC 9293 section 3.10.7.2), and the client sends it again.
inline void cut_payload(packet_view& packet, frame& f) noexcept {
    packet_layout const l = packet.layout();
    auto const bytes = static_cast<std::uint16_t>(l.payload_bytes());
    big16& length = l.ip_version == 4 ? packet.ipv4().total_length : packet.ipv6().payload_length;
    length = static_cast<std::uint16_t>(length - bytes);
    f.length = f.wire_length = l.payload_offset;
    packet = parse(f.link, f.bytes(), f.wire_length);
    full_checksum::commit(packet, {}, f.offload.checksum);
}

}  // namespace detail

/// What is added to the server's numbers for the client.
template <engine_policies Policies>
template <class Address>
seq_shift engine<Policies>::shift_of(flow<Address> const& f) const noexcept {
    return f.has_handshake() ? seq_shift{f.shift.sequence, handshakes_[f.shift.timestamp].clock_shift} : f.shift;
}

/// By its service, or by the server as its clients address it.
template <engine_policies Policies>
template <class Address>
client_telling engine<Policies>::telling_for(flow<Address> const& f) const noexcept {
    if (!any_announced_) return {};
    if constexpr (leads_flows) {
        client_telling const said = policies_.addresses.telling_of(f, number_of(f));
        if (said.header != proxy_protocol::none || said.option != 0) return said;
    }
    backend_profile const* const profile = configured_.find(server_of(f.tuple[0], 0), stamp_);
    return {profile != nullptr ? profile->announce : proxy_protocol::none, 0};
}

template <engine_policies Policies>
template <class Address>
std::uint8_t engine<Policies>::announced_bytes(flow<Address> const& f) const noexcept {
    proxy_protocol const version = telling_for(f).header;
    if (version == proxy_protocol::none) return 0;
    std::array<std::uint8_t, longest_proxy_header> header;
    return static_cast<std::uint8_t>(write_proxy_header(header, version, detail::ends_of(f.tuple[0])));
}

template <engine_policies Policies>
template <class Address>
void engine<Policies>::plan_announcement(flow<Address> const& f, handshake& h) const noexcept {
    h.announce = telling_for(f).header;
    h.announced = announced_bytes(f);
}

/// The client's SYN, if its server is to be told of it.
template <engine_policies Policies>
template <class Address>
void engine<Policies>::make_room_for_announcement(tcp_packet& t, flow<Address> const& f) noexcept {
    std::uint8_t const bytes = announced_bytes(f);
    if (bytes == 0) return;
    header_changes changes;
    blank_fast_open(t.p.view, changes);
    big32& sequence = t.p.view.tcp().sequence;
    detail::replace32(sequence, sequence - bytes, changes.transport);
    incremental_checksum::commit(t.p.view, changes, t.f.offload.checksum);
    if (t.p.view.layout().payload_bytes() != 0) detail::cut_payload(t.p.view, t.f);
}

/// Of a flow whose addresses were replaced: the client's first segments behind its SYN carry the option where they have room, for servers look at the one
/// that completes the handshake or at the first data, and either may get lost. A server's SYN-ACK leaves that room in every segment.
template <engine_policies Policies>
template <class Address>
void engine<Policies>::tell_in_option(frame& f, packet_view const& segment, flow<Address> const& known, direction from) noexcept {
    constexpr std::uint32_t told_segments = 6;
    if (from != direction::from_client || known.packets[index(from)] > told_segments || known.protocol != ip_protocol::tcp) return;
    std::uint8_t const kind = telling_for(known).option;
    if (kind == 0 || (segment.tcp().flags & (tcp_flag::syn | tcp_flag::rst)) != 0) return;
    static_cast<void>(insert_client_address(f, segment, kind, known.tuple[0].source, known.tuple[0].source_port, detail::ethernet_mtu));
}

/// A flow that is not spliced, or no more, before its client has shown that it hears the server.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
HALFPROXY_RARE typename engine<Policies>::decision engine<Policies>::tcp_of_unannounced_flow(tcp_packet& t, flow_key<Address> const& key,
                                                                                            flow_handle found) noexcept {
    flow<Address>& f = store<Address>().table.record(found);
    std::uint8_t const bytes = announced_bytes(f);
    if (bytes == 0 || f.is_hairpin()) return tcp_of_open_flow<Checks>(t, key, found);
    bool const half_open = is_half_open(f.tcp.state);
    std::uint8_t const kind = t.p.view.tcp().flags & detail::deciding_flags;
    if (static_cast<direction>(found.direction()) == direction::from_client) {
        if (half_open && (kind & ~tcp_flag::fin) == tcp_flag::ack) return begin_announcement<Checks>(t, key, found, bytes);
        bool const opens = kind == tcp_flag::syn && !is_closing(f.tcp.state);  // on one that is over it is the first packet of another
        if (opens && !checksums_good(t.p, t.f)) return drop(drop_reason::l4_checksum);
        if (opens) make_room_for_announcement(t, f);
        if (half_open && (kind & tcp_flag::rst) != 0) {
            header_changes changes;
            detail::replace32(t.p.view.tcp().sequence, t.p.view.tcp().sequence - bytes, changes.transport);
            incremental_checksum::commit(t.p.view, changes, t.f.offload.checksum);
        }
        return tcp_of_open_flow<Checks>(t, key, found);
    }
    decision const d = tcp_of_open_flow<Checks>(t, key, found);
    if (d.outcome != verdict::forward || (!half_open && !is_half_open(f.tcp.state))) return d;
    header_changes changes;
    std::uint8_t const scale = (kind & tcp_flag::syn) != 0 ? std::uint8_t{0} : f.tcp.scale[index(direction::from_server)];
    hide_header(t.p.view, detail::first_byte_behind(f, bytes), scale, changes);
    incremental_checksum::commit(t.p.view, changes, t.f.offload.checksum);
    return d;
}

/// The client's third ACK: it becomes the header's. With data, which then is on its way already, the header follows and fills the gap.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::begin_announcement(tcp_packet& t, flow_key<Address> const& key, flow_handle found,
                                                                         std::uint8_t bytes) noexcept {
    flow<Address>& f = store<Address>().table.record(found);
    if (f.tcp.state != tcp_state::syn_received) return tcp_of_open_flow<Checks>(t, key, found);
    if (t.out.room() == 0) return drop(drop_reason::outbox_full);
    auto const number = handshakes_.claim();
    if (!number) return drop(drop_reason::handshakes_full);
    handshake& h = handshakes_[*number];
    h = {};
    plan_announcement(f, h);
    h.link = t.f.link;
    h.client_isn = detail::first_byte_behind(f, bytes) - 1;
    h.offers_timestamps = t.options.has_timestamps;
    h.client_timestamp = t.options.timestamp_value;
    h.server_timestamp = t.options.timestamp_echo;
    h.syn.exit = other(t.f.arrival);
    packet_origin there = origin_of(t.f.link, {t.p.view.bytes(), t.p.view.layout()});
    detail::set_tuple(there, f.leaving(direction::from_client));
    h.syn.length = static_cast<std::uint32_t>(build_tcp(h.syn.data, there, {}, {}));

    tcp_segment ack = segment_of<Checks>(t, f, direction::from_client);
    bool const bare = ack.payload_bytes == 0 && !ack.has(tcp_flag::fin);
    bool const fits = detail::header_fits(f, h);
    ack.seq = h.isn_for_server() + 1;
    ack.payload_bytes = fits ? bytes : 0u;
    ack.flags = tcp_flag::ack;
    track_result const result = tcp_tracker<Checks>::update(f.tcp, direction::from_client, ack, Checks(checks_));
    if (result.outcome == track_outcome::drop || is_half_open(f.tcp.state)) {
        handshakes_.release(*number);
        return drop(result.reason != drop_reason::none ? result.reason : drop_reason::tcp_state);
    }
    half_open_changed(f, -1);
    f.last_seen = stamp_;
    f.client_scale = f.tcp.scale[0] & 0x0fu;
    f.promised_scale = f.tcp.scale[1] & 0x0fu;
    f.shift = {0, *number};
    f.set_phase(flow_phase::mended);
    h.announcing = true;
    h.sent = fits ? 1 : 0;
    h.next_send = stamp_ + config_.server_syn.first_retry;
    arm(f, config_.server_syn.first_retry);
    write_announcement(*t.out.claim(h.syn.exit), f, h, ack.window);
    return bare ? decision{verdict::hold} : tcp_of_mended_flow<Checks>(t, key, found);
}

/// The ACK of a splice to the server, with the header if that has room.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
void engine<Policies>::announce_to_server(outbox_frame& to, tcp_packet const& t, flow<Address>& f, handshake& h) noexcept {
    bool const fits = detail::header_fits(f, h);
    tcp_segment ack;
    ack.seq = h.isn_for_server() + 1;
    ack.ack = seq_num{t.p.view.tcp().sequence} + 1;
    ack.flags = tcp_flag::ack;
    ack.payload_bytes = fits ? h.announced : 0u;
    ack.window = window_rescale{f.client_scale, f.tcp.scale[0]}.apply(h.client_window);
    static_cast<void>(tcp_tracker<Checks>::update(f.tcp, direction::from_client, ack, Checks(checks_)));
    h.sent = fits ? 1 : 0;
    h.next_send = stamp_ + config_.server_syn.first_retry;
    write_announcement(to, f, h, ack.window);
}

/// The header, or the bare ACK that stands for it as long as it has not been sent. Its timestamp is the client's newest: an older one could fail the
/// server's PAWS (RFC 7323 section 5).
template <engine_policies Policies>
template <class Address>
void engine<Policies>::write_announcement(outbox_frame& to, flow<Address> const& f, handshake const& h, std::uint16_t window) noexcept {
    std::array<std::uint8_t, longest_proxy_header> header;
    std::size_t const bytes = h.sent == 0 ? 0 : write_proxy_header(header, h.announce, detail::ends_of(f.tuple[0]));
    packet_origin const there = origin_of(h.link, parse(h.link, h.syn.bytes(), h.syn.length));
    std::uint8_t const push = bytes != 0 ? tcp_flag::psh : 0;
    to.length = static_cast<std::uint32_t>(build_tcp(to.data, there,
                                                     {.seq = h.isn_for_server() + 1,
                                                      .ack = f.tcp.side[index(direction::from_client)].max_ack,
                                                      .flags = static_cast<std::uint8_t>(tcp_flag::ack | push),
                                                      .window = window},
                                                     {.has_timestamps = h.offers_timestamps,
                                                      .timestamp_value = h.client_timestamp,
                                                      .timestamp_echo = h.server_timestamp},
                                                     byte_view(header).first(bytes)));
    lead_originated(to, h.link, f, direction::from_client);
    ++counters_.originated;
}

namespace detail {

template <class Address>
[[nodiscard]] std::uint16_t client_window(flow<Address> const& f) noexcept {
    return static_cast<std::uint16_t>(std::min<std::uint32_t>(f.tcp.side[index(direction::from_client)].max_window >> f.tcp.scale[0], 0xffff));
}

}  // namespace detail

/// What the server has sent, as it goes to the client: no acknowledgment of the header, and its end once there is one.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
void engine<Policies>::follow_announcement(tcp_packet& t, flow<Address>& f, handshake& h) noexcept {
    seq_num const first = h.client_isn + 1;
    header_changes changes;
    hide_header(t.p.view, first, static_cast<std::uint8_t>(f.promised_scale), changes);
    incremental_checksum::commit(t.p.view, changes, t.f.offload.checksum);
    bool const acknowledged = f.tcp.side[index(direction::from_server)].max_ack.at_or_after(first);
    if (acknowledged) ++counters_.clients_announced;
    if (acknowledged || f.tcp.state == tcp_state::closed) {
        end_announcement(f, h);
        arm(f, timeout_of_flow(f));
    } else if (h.sent == 0 && detail::header_fits(f, h) && t.out.room() != 0) {
        h.sent = 1;
        h.next_send = stamp_ + config_.server_syn.first_retry;
        tcp_side& client = f.tcp.side[index(direction::from_client)];
        client.end = later(client.end, first);
        write_announcement(*t.out.claim(h.syn.exit), f, h, detail::client_window(f));
    }
}

/// From here on the flow is like any other; the handshake stays only where it mends timestamps.
template <engine_policies Policies>
template <class Address>
void engine<Policies>::end_announcement(flow<Address>& f, handshake& h) noexcept {
    h.announcing = false;
    if (h.mends) return;
    std::uint32_t const number = f.shift.timestamp;
    f.shift.timestamp = h.clock_shift;
    f.set_phase(h.spliced ? flow_phase::spliced : flow_phase::plain);
    handshakes_.release(number);
}

/// A RST that is exact for what the client was told is exact for the server, which has not acknowledged the header (RFC 5961 section 3.2).
template <engine_policies Policies>
template <class Address>
void engine<Policies>::aim_reset(tcp_packet& t, flow<Address> const& f, handshake const& h) noexcept {
    tcp_header& tcp = t.p.view.tcp();
    if ((tcp.flags & tcp_flag::rst) == 0 || seq_num{tcp.sequence} != h.client_isn + 1) return;
    header_changes changes;
    detail::replace32(tcp.sequence, f.tcp.side[index(direction::from_server)].max_ack.value, changes.transport);
    incremental_checksum::commit(t.p.view, changes, t.f.offload.checksum);
}

/// Sends the header again, into a closed window too: that probes it. In the end both ends are reset.
template <engine_policies Policies>
template <class Address>
std::optional<stamp_ms> engine<Policies>::retry_announcement(std::uint32_t number, outbox& out) noexcept {
    flow<Address>& f = store<Address>().table.record(number);
    handshake& h = handshakes_[f.shift.timestamp];
    if (f.tcp.state == tcp_state::closed) {
        end_announcement(f, h);
        return ask_again(f, stamp_ + timeout_of_flow(f));
    }
    if (h.next_send - stamp_ > 0) return h.next_send;
    if (out.room() < 2) return stamp_ + 1;
    if (h.sent > config_.server_syn.retries) {
        reset_announced(f, h, out);
        ++counters_.announcements_failed;
        close_flow<Address>(number);
        return std::nullopt;
    }
    tcp_side& client = f.tcp.side[index(direction::from_client)];
    client.end = later(client.end, h.client_isn + 1);
    std::uint64_t const wait = std::uint64_t{config_.server_syn.first_retry} << h.sent;
    if (h.sent != 0) ++counters_.announcements_repeated;
    ++h.sent;
    h.next_send = stamp_ + static_cast<timeout_ms>(std::min<std::uint64_t>(wait, 60'000));
    write_announcement(*out.claim(h.syn.exit), f, h, detail::client_window(f));
    return h.next_send;
}

/// With the numbers each of them expects.
template <engine_policies Policies>
template <class Address>
void engine<Policies>::reset_announced(flow<Address> const& f, handshake const& h, outbox& out) noexcept {
    tcp_side const& client = f.tcp.side[index(direction::from_client)];
    tcp_side const& server = f.tcp.side[index(direction::from_server)];
    packet_origin const there = origin_of(h.link, parse(h.link, h.syn.bytes(), h.syn.length));
    packet_origin back = there.reversed();
    detail::set_tuple(back, f.leaving(direction::from_server));
    tcp_fields const to_server{.seq = server.max_ack, .ack = {}, .flags = tcp_flag::rst, .window = 0};
    tcp_fields const to_client{
        .seq = client.max_ack + f.shift.sequence, .ack = client.end, .flags = tcp_flag::rst | tcp_flag::ack, .window = 0};
    outbox_frame* const first = out.claim(h.syn.exit);
    outbox_frame* const second = out.claim(f.arrival(direction::from_client));
    first->length = static_cast<std::uint32_t>(build_tcp(first->data, there, to_server, {}));
    second->length = static_cast<std::uint32_t>(build_tcp(second->data, back, to_client, {}));
    lead_originated(*first, h.link, f, direction::from_client);
    counters_.originated += 2;
}

/// What is to be added to the number an ICMP error quotes of the client's, or of the header: neither it nor the moved SYN is known to the client.
template <engine_policies Policies>
template <class Address>
std::uint32_t engine<Policies>::announced_before(flow<Address> const& f, packet_view const& quoted) const noexcept {
    if (!any_announced_ || !quoted.is_tcp()) return 0;
    seq_num first;
    std::uint8_t bytes = 0;
    if (f.has_handshake() && f.is_spliced()) {
        handshake const& h = handshakes_[f.shift.timestamp];
        bytes = h.announcing ? h.announced : std::uint8_t{0};
        first = h.client_isn + 1;
    } else if (f.phase() == flow_phase::plain && !f.is_hairpin() && is_half_open(f.tcp.state)) {
        bytes = announced_bytes(f);
        first = detail::first_byte_behind(f, bytes);
    }
    return seq_num{quoted.tcp().sequence}.before(first) ? bytes : 0u;
}

}  // namespace halfproxy
