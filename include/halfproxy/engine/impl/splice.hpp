// SPDX-License-Identifier: BSL-1.0
// The splice: a cookie to the client, our SYN to the server, and the point where both become one connection.
//
//      client                       half proxy                         server
//        | SYN seq=C ------------------>|                                 |
//        |<-- SYN-ACK seq=K ack=C+1 win=0                                 |   no state kept
//        | ACK seq=C+1 ack=K+1 -------->| cookie K valid                  |
//        |                              | SYN seq=C --------------------->|   connecting
//        |                              |<------- SYN-ACK seq=S ack=C+1 --|
//        |<-- ACK seq=K+1 win>0 --------|-- ACK seq=C+1 ack=S+1 --------->|   spliced, K - S added for the client
#pragma once

#include <halfproxy/engine/engine.hpp>

#include <algorithm>

namespace halfproxy {

namespace detail {

[[nodiscard]] inline cookie_subject subject_of(ipv4_key const& key, seq_num client_isn) noexcept {
    ipv4_tuple const& t = key.tuple;
    return {{std::uint64_t{t.source} << 32 | t.destination}, 1, t.source_port, t.destination_port, client_isn, key.zone};
}

[[nodiscard]] inline cookie_subject subject_of(ipv6_key const& key, seq_num client_isn) noexcept {
    ipv6_tuple const& t = key.tuple;
    cookie_subject s{{}, 4, t.source_port, t.destination_port, client_isn, key.zone};
    std::memcpy(s.addresses.data(), t.source.data(), 16);
    std::memcpy(s.addresses.data() + 2, t.destination.data(), 16);
    return s;
}

template <class Address>
inline constexpr bool is_v6 = std::is_same_v<Address, ipv6_bytes>;

/// All but where and when, from the ACK that proved the client.
[[nodiscard]] inline handshake begin_handshake(tcp_header const& ack, tcp_options const& carried,
                                               cookie_options const& remembered, seq_num client_isn) noexcept {
    handshake h;
    h.client_isn = client_isn;
    h.cookie_isn = seq_num{ack.acknowledgment} - 1;
    h.cookie_timestamp = carried.timestamp_echo;
    h.client_timestamp = carried.timestamp_value;
    h.client_window = ack.window;
    h.options = remembered;
    h.sent = 1;
    return h;
}

/// Windows of SYNs are unscaled (RFC 7323 section 2.2): the client's, in bytes, as far as 16 bits go.
[[nodiscard]] inline tcp_fields syn_of(handshake const& h) noexcept {
    std::uint8_t const ecn_setup = h.options.ecn ? tcp_flag::ece | tcp_flag::cwr : 0;  // RFC 3168 section 6.1.1
    return {.seq = h.client_isn,
            .ack = {},
            .flags = static_cast<std::uint8_t>(tcp_flag::syn | ecn_setup),
            .window = window_rescale{h.client_scale(), 0}.apply(h.client_window)};
}

/// What the client offered, as its cookie remembers it.
[[nodiscard]] inline built_options offer_of(handshake const& h) noexcept {
    return {.has_mss = true,
            .has_window_scale = h.options.has_window_scale,
            .sack_permitted = h.options.sack_permitted,
            .has_timestamps = h.options.has_timestamps,
            .window_scale = h.options.window_scale,
            .mss = h.options.mss,
            .timestamp_value = h.client_timestamp,
            .timestamp_echo = 0};
}

[[nodiscard]] inline tcp_segment segment_of_syn(tcp_fields const& syn, built_options const& offered) noexcept {
    tcp_segment segment;
    segment.seq = syn.seq;
    segment.flags = syn.flags;
    segment.window = syn.window;
    segment.sack_permitted = offered.sack_permitted;
    segment.has_window_scale = offered.has_window_scale;
    segment.window_scale = offered.window_scale;
    return segment;
}

}  // namespace detail

/// The SYN becomes its SYN-ACK in place. Only options the client offered and the promise keeps are answered, so it is never
/// larger than what was received. The window is 0 until the server has answered.
template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::send_cookie(tcp_packet& t, flow_key<Address> const& key) noexcept {
    constexpr bool v6 = detail::is_v6<Address>;
    tcp_header const& syn = t.p.view.tcp();
    backend_promise const& promise = config_.promise;
    constexpr std::uint8_t ecn_setup = tcp_flag::ece | tcp_flag::cwr;  // RFC 3168 section 6.1.1
    cookie_options remembered;
    remembered.mss = t.options.has_mss ? t.options.mss : v6 ? default_mss_v6 : default_mss_v4;
    remembered.has_window_scale = t.options.has_window_scale;
    remembered.window_scale = std::min(t.options.window_scale, max_window_scale);
    remembered.sack_permitted = t.options.sack_permitted && promise.sack;
    remembered.ecn = (syn.flags & ecn_setup) == ecn_setup && promise.ecn;
    remembered.has_timestamps = t.options.has_timestamps && promise.timestamps;
    seq_num const client_isn{syn.sequence};
    cookie const c = cookies_.make(detail::subject_of(key, client_isn), remembered, v6, now_);

    built_options const options{.has_mss = t.options.has_mss,
                                .has_window_scale = remembered.has_window_scale,
                                .sack_permitted = remembered.sack_permitted,
                                .has_timestamps = remembered.has_timestamps,
                                .window_scale = promise.window_scale,
                                .mss = v6 ? promise.mss_v6 : promise.mss_v4,
                                .timestamp_value = c.timestamp_value,
                                .timestamp_echo = t.options.timestamp_value};
    std::uint8_t const ece = remembered.ecn ? tcp_flag::ece : std::uint8_t{0};
    packet_origin const back = way_back_of(t.f.link, {t.p.view.bytes(), t.p.view.layout()});
    return send_in_place(
        t, back,
        {.seq = c.isn, .ack = client_isn + 1, .flags = static_cast<std::uint8_t>(tcp_flag::syn | tcp_flag::ack | ece), .window = 0},
        options, verdict::reply);
}

/// The ACK that ends the client's handshake is sent once. When it is lost, what comes next is a probe of our window of 0, and its
/// sequence number is one less (RFC 9293 section 3.8.6.1 leaves that to the stack; Linux repeats the last byte's number, here the SYN's).
template <engine_policies Policies>
template <class Address>
std::optional<typename engine<Policies>::proven_client> engine<Policies>::check_cookie(tcp_packet const& t,
                                                                                       flow_key<Address> const& key) noexcept {
    tcp_header const& tcp = t.p.view.tcp();
    cookie_echo echo{seq_num{tcp.acknowledgment} - 1, std::nullopt};
    if (t.options.has_timestamps) echo.timestamp_echo = t.options.timestamp_echo;
    seq_num const isn = cookies_.client_isn({tcp.sequence}, echo);
    auto const options = cookies_.check(detail::subject_of(key, isn), echo, detail::is_v6<Address>, now_);
    if (!options) return std::nullopt;
    return proven_client{*options, isn};
}

/// The client has proved itself: open the flow, and let its ACK become the SYN to the server. Data on the ACK is not acknowledged;
/// behind a window of 0 no client sends any but a probe.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::connect(tcp_packet& t, flow_key<Address> const& key,
                                                              proven_client const& client) noexcept {
    if (!checksums_good(t.p, t.f)) return drop(drop_reason::l4_checksum);
    note_proven(key, t.f.arrival);
    if (rule_for(key) == rule_action::deny || rule_for(key) == rule_action::reset) return drop(drop_reason::rule_denied);
    admission const wish = policies_.admission.decide(flow_request<Address>{key.tuple, key.zone, key.protocol, t.f.arrival, true});
    if (wish == admission::deny) return drop(drop_reason::policy_denied);
    if (!within_source_limits(key)) return drop(drop_reason::source_limit);
    auto const number = handshakes_.claim();
    if (!number) return drop(drop_reason::handshakes_full);
    flow<Address>* const f = open_flow(key, t.f.arrival, true);
    if (f == nullptr) {
        handshakes_.release(*number);
        return drop(drop_reason::table_full);
    }

    handshake& h = handshakes_[*number];
    h = detail::begin_handshake(t.p.view.tcp(), t.options, client.options, client.isn);
    h.link = t.f.link;
    h.next_send = stamp_ + config_.server_syn.first_retry;
    f->set_phase(flow_phase::connecting);
    f->shift.sequence = *number;
    f->client_scale = h.client_scale() & 0x0fu;
    f->promised_scale = h.options.has_window_scale ? config_.promise.window_scale & 0x0fu : 0u;

    packet_origin origin = origin_of(t.f.link, {t.p.view.bytes(), t.p.view.layout()});
    detail::set_tuple(origin, f->leaving(direction::from_client));
    tcp_fields const syn = detail::syn_of(h);
    built_options const offered = detail::offer_of(h);
    decision const d = send_in_place(t, origin, syn, offered, verdict::forward);
    if (d.outcome != verdict::forward) {
        close_flow<Address>(static_cast<std::uint32_t>(f - store<Address>().table.records()));
        return d;
    }
    std::memcpy(h.syn.data.data(), t.f.data, t.f.length);
    h.syn.length = static_cast<std::uint16_t>(t.f.length);
    h.syn.exit = other(t.f.arrival);
    tcp_tracker<Checks>::open(f->tcp, detail::segment_of_syn(syn, offered));
    arm(*f, config_.server_syn.first_retry);
    return d;
}

template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::while_connecting(tcp_packet& t, flow_handle found) noexcept {
    if (!checksums_good(t.p, t.f)) return drop(drop_reason::l4_checksum);
    if (static_cast<direction>(found.direction()) == direction::from_client)
        return client_while_connecting<Address>(t, found);
    return server_while_connecting<Checks, Address>(t, found);
}

/// The client waits behind a closed window. Its exact RST ends the flow and tells the server; a new SYN is challenged anew, without
/// touching the flow; whatever else it sends it will send again.
template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::client_while_connecting(tcp_packet& t, flow_handle found) noexcept {
    flow<Address>& f = store<Address>().table.record(found);
    handshake const& h = handshakes_[f.shift.sequence];
    tcp_header const& tcp = t.p.view.tcp();
    std::uint8_t const kind = tcp.flags & detail::deciding_flags;
    if (kind == tcp_flag::syn && !draining_ && challenges_now(f.key(0), t.f.arrival)) {
        ++counters_.syns_seen;
        return challenge(t, f.key(0));
    }
    if ((kind & tcp_flag::rst) == 0) return drop(drop_reason::handshake_pending);
    if (seq_num{tcp.sequence} != h.client_isn + 1) return drop(drop_reason::rst_outside_window);
    packet_origin origin = origin_of(t.f.link, {t.p.view.bytes(), t.p.view.layout()});
    detail::set_tuple(origin, f.leaving(direction::from_client));
    tcp_fields const reset{.seq = h.client_isn + 1, .ack = {}, .flags = tcp_flag::rst, .window = 0};
    close_flow<Address>(found.number());
    return send_in_place(t, origin, reset, {}, verdict::forward);
}

/// We are the SYN-SENT end towards the server (RFC 9293 section 3.10.7.3).
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::server_while_connecting(tcp_packet& t, flow_handle found) noexcept {
    flow<Address>& f = store<Address>().table.record(found);
    handshake& h = handshakes_[f.shift.sequence];
    tcp_header const& tcp = t.p.view.tcp();
    std::uint8_t const kind = tcp.flags & detail::deciding_flags;
    bool const acknowledges_syn = (kind & tcp_flag::ack) != 0 && seq_num{tcp.acknowledgment} == h.client_isn + 1;
    if ((kind & tcp_flag::rst) != 0)
        return acknowledges_syn ? refused_by_server<Address>(t, found) : drop(drop_reason::handshake_unexpected);
    if (kind == (tcp_flag::syn | tcp_flag::ack) && acknowledges_syn) return complete<Checks>(t, f);
    if ((kind & tcp_flag::ack) == 0 || acknowledges_syn) return drop(drop_reason::handshake_unexpected);
    // It answers an older connection: end that one there, and ask again at once.
    packet_origin const back = way_back_of(t.f.link, {t.p.view.bytes(), t.p.view.layout()});
    tcp_fields const reset{.seq = {tcp.acknowledgment}, .ack = {}, .flags = tcp_flag::rst, .window = 0};
    bool const again = kind == tcp_flag::ack && t.out.push(h.syn.exit, h.syn.bytes());
    if (again) ++counters_.originated;
    return send_in_place(t, back, reset, {}, verdict::reply);
}

/// The server's SYN-ACK becomes the window update to the client in place; the ACK to the server goes to the outbox.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::complete(tcp_packet& t, flow<Address>& f) noexcept {
    std::uint32_t const number = f.shift.sequence;
    handshake const h = handshakes_[number];
    tcp_segment const syn_ack = make_tcp_segment(t.p.view.tcp(), t.options, 0);  // data on it is not taken and comes again
    packet_origin const from_server = origin_of(t.f.link, {t.p.view.bytes(), t.p.view.layout()});
    packet_origin to_client = from_server;
    detail::set_tuple(to_client, f.leaving(direction::from_server));
    if (t.out.room() == 0) return drop(drop_reason::outbox_full);
    track_result const result = tcp_tracker<Checks>::update(f.tcp, direction::from_server, syn_ack);
    if (result.outcome != track_outcome::accept) return drop(result.reason);
    handshakes_.release(number);
    ++counters_.handshakes_completed;
    ++counters_.originated;

    bool const timestamps = h.options.has_timestamps && t.options.has_timestamps;
    f.shift = {h.cookie_isn.value - syn_ack.seq.value, timestamps ? h.cookie_timestamp - t.options.timestamp_value : 0u};
    f.set_phase(flow_phase::spliced);
    f.last_seen = stamp_;

    built_options options{.has_timestamps = timestamps,
                          .timestamp_value = h.client_timestamp,
                          .timestamp_echo = t.options.timestamp_value};
    tcp_segment ack;
    ack.seq = h.client_isn + 1;
    ack.ack = syn_ack.seq + 1;
    ack.flags = tcp_flag::ack;
    ack.window = window_rescale{f.client_scale, f.tcp.scale[0]}.apply(h.client_window);
    static_cast<void>(tcp_tracker<Checks>::update(f.tcp, direction::from_client, ack));
    outbox_frame* const ack_frame = t.out.claim(t.f.arrival);
    ack_frame->length = static_cast<std::uint16_t>(build_tcp(
        ack_frame->data, from_server.reversed(), {.seq = ack.seq, .ack = ack.ack, .flags = ack.flags, .window = ack.window}, options));

    options.timestamp_value = h.cookie_timestamp;
    options.timestamp_echo = h.client_timestamp;
    arm(f, timeout_of_flow(f));
    return send_in_place(t, to_client,
                         {.seq = h.cookie_isn + 1,
                          .ack = h.client_isn + 1,
                          .flags = tcp_flag::ack,
                          .window = window_rescale{0, static_cast<std::uint8_t>(f.promised_scale)}.apply(syn_ack.window)},
                         options, verdict::forward);
}

/// The client learns at once, with the numbers it expects.
template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::refused_by_server(tcp_packet& t, flow_handle found) noexcept {
    flow<Address>& f = store<Address>().table.record(found);
    handshake const& h = handshakes_[f.shift.sequence];
    packet_origin origin = origin_of(t.f.link, {t.p.view.bytes(), t.p.view.layout()});
    detail::set_tuple(origin, f.leaving(direction::from_server));
    tcp_fields const reset{
        .seq = h.cookie_isn + 1, .ack = h.client_isn + 1, .flags = tcp_flag::rst | tcp_flag::ack, .window = 0};
    ++counters_.handshakes_refused;
    close_flow<Address>(found.number());
    return send_in_place(t, origin, reset, {}, verdict::forward);
}

/// The server has lost our ACK and repeats its SYN-ACK: we answer, the client has nothing to do with it. Only the very numbers count,
/// while the server has said nothing since: what the answer echoes of a guessed SYN-ACK would spoil the server's timestamps (RFC 7323 section 5.3).
template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::repeat_ack(tcp_packet& t, flow<Address> const& f) noexcept {
    tcp_header const& tcp = t.p.view.tcp();
    tcp_side const& client = f.tcp.side[index(direction::from_client)];
    tcp_side const& server = f.tcp.side[index(direction::from_server)];
    bool const repeated = t.f.arrival == f.arrival(direction::from_server) && seq_num{tcp.sequence} + 1 == server.end &&
                          seq_num{tcp.acknowledgment} == server.max_ack;
    if (!repeated) return drop(drop_reason::syn_ack_mismatch);
    packet_origin const back = way_back_of(t.f.link, {t.p.view.bytes(), t.p.view.layout()});
    std::uint32_t const window = std::min<std::uint32_t>(client.max_window >> f.tcp.scale[0], 0xffff);
    // Where timestamps are in force, every segment carries them (RFC 7323 section 3.2); the SYN-ACK holds both sides' values.
    built_options const options{.has_timestamps = t.options.has_timestamps,
                                .timestamp_value = t.options.timestamp_echo,
                                .timestamp_echo = t.options.timestamp_value};
    return send_in_place(t, back,
                         {.seq = client.end, .ack = client.max_ack, .flags = tcp_flag::ack, .window = static_cast<std::uint16_t>(window)},
                         options, verdict::reply);
}

/// Sends our SYN again, or ends the attempt. Without room in the outbox it is tried again in the next slot.
template <engine_policies Policies>
template <class Address>
std::optional<stamp_ms> engine<Policies>::retry_connecting(std::uint32_t number, outbox& out) noexcept {
    flow<Address> const& f = store<Address>().table.record(number);
    handshake& h = handshakes_[f.shift.sequence];
    if (h.next_send - stamp_ > 0) return h.next_send;
    if (out.room() == 0) return stamp_ + 1;
    if (h.sent > config_.server_syn.retries) {
        give_up_on_server(f, h, out);
        close_flow<Address>(number);
        return std::nullopt;
    }
    out.push(h.syn.exit, h.syn.bytes());
    ++counters_.originated;
    ++counters_.syns_retransmitted;
    std::uint64_t const wait = std::uint64_t{config_.server_syn.first_retry} << h.sent;
    ++h.sent;
    h.next_send = stamp_ + static_cast<timeout_ms>(std::min<std::uint64_t>(wait, 60'000));
    return h.next_send;
}

template <engine_policies Policies>
template <class Address>
void engine<Policies>::give_up_on_server(flow<Address> const& f, handshake const& h, outbox& out) noexcept {
    outbox_frame* const slot = out.claim(f.arrival(direction::from_client));
    if (slot == nullptr) return;
    const_packet_view const syn = parse(h.link, h.syn.bytes(), h.syn.length);
    packet_origin origin = origin_of(h.link, syn).reversed();
    detail::set_tuple(origin, f.leaving(direction::from_server));
    tcp_fields const reset{
        .seq = h.cookie_isn + 1, .ack = h.client_isn + 1, .flags = tcp_flag::rst | tcp_flag::ack, .window = 0};
    slot->length = static_cast<std::uint16_t>(build_tcp(slot->data, origin, reset, {}));
    ++counters_.originated;
    ++counters_.handshakes_timed_out;
}

}  // namespace halfproxy
