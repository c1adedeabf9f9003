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

namespace halfproxy {

namespace detail {

/// All but where and when, from the ACK that proved the client. Every member but the SYN's bytes is set.
inline void begin_handshake(handshake& h, tcp_header const& ack, tcp_options const& carried, cookie_options const& remembered,
                            seq_num client_isn) noexcept {
    h.held = {};
    h.held_count = 0;
    h.client_isn = client_isn;
    h.cookie_isn = seq_num{ack.acknowledgment} - 1;
    h.cookie_timestamp = carried.timestamp_echo;
    h.client_timestamp = carried.timestamp_value;
    h.client_window = ack.window;
    h.options = remembered;
    h.held_end = client_isn + 1;
    h.sent = 1;
    h.announcing = h.mends = h.spliced = false;
}

/// Windows of SYNs are unscaled (RFC 7323 section 2.2): the client's, in bytes, as far as 16 bits go.
[[nodiscard]] inline tcp_fields syn_of(handshake const& h) noexcept {
    std::uint8_t const ecn_setup = h.options.ecn ? tcp_flag::ece | tcp_flag::cwr : 0;  // RFC 3168 section 6.1.1
    return {.seq = h.isn_for_server(),
            .ack = {},
            .flags = static_cast<std::uint8_t>(tcp_flag::syn | ecn_setup),
            .window = window_rescale{h.client_scale(), 0}.apply(h.client_window)};
}

/// What the client offered, as its cookie remembers it. A server that is not to use timestamps leaves room for those we shall put in.
[[nodiscard]] inline built_options offer_of(handshake const& h) noexcept {
    return {.has_mss = true,
            .has_window_scale = h.options.has_window_scale,
            .sack_permitted = h.options.sack_permitted,
            .has_timestamps = h.offers_timestamps,
            .window_scale = h.options.window_scale,
            .mss = static_cast<std::uint16_t>(h.options.mss - (h.offers_timestamps == h.options.has_timestamps ? 0 : timestamp_option_bytes)),
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

template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::admit_proven(tcp_packet& t, flow_key<Address> const& key,
                                                                   proven_client const& client) noexcept {
    return guard_.config().method == guard_method::splice ? connect<Checks>(t, key, client) : reset_proven(t, key);
}

/// The client has proved itself: open the flow, and let its ACK become the SYN to the server. Data on the ACK is kept until the
/// server has answered; nothing acknowledges it before.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::connect(tcp_packet& t, flow_key<Address> const& key,
                                                              proven_client const& client) noexcept {
    if (!checksums_good(t.p, t.f)) return drop(drop_reason::l4_checksum);
    note_proven(key, t.f.arrival);
    rule_action const rule = rule_for(key);
    if (rule == rule_action::reset && config_.splice.defer) return reset_sender_of_ack(t);
    if (rule == rule_action::deny || rule == rule_action::reset) return drop(drop_reason::rule_denied);
    admission const wish = policies_.admission.decide(flow_request<Address>{key.tuple, key.zone, key.protocol, t.f.arrival, true});
    if (wish == admission::deny) return drop(drop_reason::policy_denied);
    if (!within_source_limits(key)) return drop(drop_reason::source_limit);
    auto const number = handshakes_.claim();
    if (!number) return drop(drop_reason::handshakes_full);
    auto const [f, refusal] = open_flow(key, t.f.arrival, true);
    if (f == nullptr || f->is_hairpin()) {
        handshakes_.release(*number);
        if (f == nullptr) return drop(refusal);
        close_flow<Address>(static_cast<std::uint32_t>(f - store<Address>().table.records()));
        return drop(drop_reason::cookie_invalid);  // flows that hairpin are not challenged: it did not when its cookie was made
    }
    handshake& h = handshakes_[*number];
    detail::begin_handshake(h, t.p.view.tcp(), t.options, client.options, client.isn);
    plan_announcement(*f, h);
    h.link = t.f.link;
    f->set_phase(flow_phase::connecting);
    f->shift.timestamp = *number;
    return ask_server<Checks>(t, key, *f, h);
}

template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::ask_server(tcp_packet& t, flow_key<Address> const& key, flow<Address>& f,
                                                                 handshake& h) noexcept {
    backend_promise room;
    backend_promise const& promise = promise_for(key, false, room);
    h.offers_timestamps = h.options.has_timestamps && promise.timestamps;
    h.next_send = stamp_ + config_.server_syn.first_retry;
    f.client_scale = h.client_scale() & 0x0fu;
    std::uint8_t const told = h.options.has_timestamps ? h.options.promised_scale : promise.window_scale;
    f.promised_scale = h.options.has_window_scale ? told & 0x0fu : 0u;
    if (t.p.view.layout().payload_bytes() != 0) static_cast<void>(hold(t, h));

    tcp_fields const syn = detail::syn_of(h);
    built_options const offered = detail::offer_of(h);
    decision const d = send_onward(t, f, direction::from_client, syn, offered);
    if (d.outcome != verdict::forward) {
        close_flow<Address>(static_cast<std::uint32_t>(&f - store<Address>().table.records()));
        return d;
    }
    std::memcpy(h.syn.data.data(), t.f.data, t.f.length);
    h.syn.length = t.f.length;
    h.syn.via = t.f.via;
    h.syn.exit = other(t.f.arrival);
    tcp_tracker<Checks>::open(f.tcp, detail::segment_of_syn(syn, offered));
    arm(f, config_.server_syn.first_retry);
    return d;
}

/// The server's SYN-ACK becomes the window update to the client in place; the ACK to the server goes to the outbox, and behind it what
/// the client has sent meanwhile.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::complete(tcp_packet& t, flow<Address>& f) noexcept {
    std::uint32_t const number = f.shift.timestamp;
    handshake& h = handshakes_[number];
    learn(t, f, {h.options.has_window_scale, h.options.sack_permitted, h.offers_timestamps});
    if (t.out.room() == 0) return drop(drop_reason::outbox_full);
    if (h.offers_timestamps && !t.options.has_timestamps) return ask_without_timestamps(t, f);
    tcp_segment const syn_ack = make_tcp_segment(t.p.view.tcp(), t.options, 0);  // data on it is not taken and comes again
    track_result const result = tcp_tracker<Checks>::update(f.tcp, direction::from_server, syn_ack, Checks(checks_));
    if (result.outcome != track_outcome::accept) return drop(result.reason);
    ++counters_.handshakes_completed;
    tell_opening(f, tcp_state::syn_sent, direction::from_server);

    h.mends = h.options.has_timestamps && !h.offers_timestamps;
    h.spliced = true;
    h.clock_shift = h.options.has_timestamps ? h.cookie_timestamp - t.options.timestamp_value : 0u;
    h.server_timestamp = t.options.timestamp_value;
    h.announcing = h.announced != 0;
    bool const keeps_slot = h.mends || h.announcing;
    f.shift = {h.cookie_isn.value - syn_ack.seq.value, keeps_slot ? number : h.clock_shift};
    f.set_phase(keeps_slot ? flow_phase::mended : flow_phase::spliced);
    f.last_seen = stamp_;
    acknowledge_server<Checks>(*t.out.claim(t.f.arrival), t, f, h);
    deliver_held<Checks>(f, h, t.out);
    if (h.mends) {
        ++mended_;
        ++counters_.handshakes_without_timestamps;
    }
    arm(f, h.announcing ? config_.server_syn.first_retry : timeout_of_flow(f));
    auto const window = static_cast<std::uint16_t>(syn_ack.window > h.announced ? syn_ack.window - h.announced : 0);
    if (!keeps_slot) handshakes_.release(number);  // its content stays until another claims it
    return send_onward(t, f, direction::from_server,
                         {.seq = h.cookie_isn + 1,
                          .ack = h.client_isn + 1,
                          .flags = tcp_flag::ack,
                          .window = window_rescale{0, static_cast<std::uint8_t>(f.promised_scale)}.apply(window)},
                         {.has_timestamps = h.options.has_timestamps,
                          .timestamp_value = h.cookie_timestamp,
                          .timestamp_echo = h.client_timestamp});
}

template <engine_policies Policies>
template <class Address>
void engine<Policies>::learn(tcp_packet const& t, flow<Address> const& f, backend_offer const& offered) noexcept {
    if (config_.splice.learn) learned_.learn(server_of(f.tuple[0], f.zone), profile_of(t.options, offered), stamp_);
}

template <engine_policies Policies>
template <tcp_checks Checks, class Address>
void engine<Policies>::acknowledge_server(outbox_frame& to, tcp_packet const& t, flow<Address>& f, handshake const& h) noexcept {
    if (h.announced != 0) return announce_to_server<Checks>(to, t, f, handshakes_[f.shift.timestamp]);
    tcp_segment ack;
    ack.seq = h.client_isn + 1;
    ack.ack = seq_num{t.p.view.tcp().sequence} + 1;
    ack.flags = tcp_flag::ack;
    ack.window = window_rescale{f.client_scale, f.tcp.scale[0]}.apply(h.client_window);
    static_cast<void>(tcp_tracker<Checks>::update(f.tcp, direction::from_client, ack, Checks(checks_)));
    packet_origin const back = way_back_of(t.f.link, {t.p.view.bytes(), t.p.view.layout()});
    built_options const options{.has_timestamps = h.offers_timestamps,
                                .timestamp_value = h.client_timestamp,
                                .timestamp_echo = t.options.timestamp_value};
    to.length = static_cast<std::uint32_t>(
        build_tcp(to.data, back, {.seq = ack.seq, .ack = ack.ack, .flags = ack.flags, .window = ack.window}, options));
    lead_originated(to, t.f.link, f, direction::from_client);
    if (any_announced_) {
        frame leaving = to.written(t.f.link);
        tell_in_option(leaving, parse(leaving.link, leaving.bytes(), leaving.length), f, direction::from_client);
        to.length = leaving.length;
    }
    ++counters_.originated;
}

/// Leaves through the outbox, translated like any other segment of the flow. What finds no room the client sends again.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
void engine<Policies>::deliver_held(flow<Address>& f, handshake& h, outbox& out) noexcept {
    while (!h.held.empty()) {
        frame& kept = held_.front(h.held);
        packet p{};
        p.view = parse(kept.link, kept.bytes(), kept.wire_length);
        tcp_packet t{p, kept, out, parse_tcp_options(p.view.tcp_options())};
        if (out.room() == 0 || !translate_held<Checks>(t, f)) {
            held_.drop_front(h.held);
            continue;
        }
        held_.lend_front(h.held, h.syn.exit, out);
        ++counters_.originated;
        ++counters_.segments_delivered;
    }
}

template <engine_policies Policies>
template <tcp_checks Checks, class Address>
bool engine<Policies>::translate_held(tcp_packet& t, flow<Address>& f) noexcept {
    if (f.phase() == flow_phase::mended && handshakes_[f.shift.timestamp].mends && t.options.has_timestamps) {
        header_changes changes;
        blank_timestamps(t.p.view, t.options, changes);
        incremental_checksum::commit(t.p.view, changes, t.f.offload.checksum);
    }
    if (tcp_tracker<Checks>::update(f.tcp, direction::from_client, segment_of<Checks>(t, f, direction::from_client), Checks(checks_)).outcome ==
        track_outcome::drop)
        return false;
    note_forwarded(f, direction::from_client, t.p.view.layout());
    translate_tcp(t, f, direction::from_client, {});
    return true;
}

/// The client was promised timestamps, and RFC 7323 section 3.2 lets it refuse segments without. They can be put into what the server sends
/// if that leaves room for 12 bytes: so the server is asked anew, for a smaller MSS and no timestamps. The client notices nothing. It
/// costs a handshake of the pool for the flow's life: of those a quarter; who comes then is reset and connects anew, as promised by now.
template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::ask_without_timestamps(tcp_packet& t, flow<Address>& f) noexcept {
    handshake& h = handshakes_[f.shift.timestamp];
    tcp_fields const reset{.seq = {t.p.view.tcp().acknowledgment}, .ack = {}, .flags = tcp_flag::rst, .window = 0};
    if (mended_ >= (handshakes_.capacity() + 3) / 4) {
        reset_client(f, h, t.out);
        ++counters_.handshakes_refused;
        close_flow<Address>(static_cast<std::uint32_t>(&f - store<Address>().table.records()));
        return send_in_place(t, way::back, reset, {});
    }
    h.offers_timestamps = false;
    h.sent = 1;
    h.next_send = stamp_ + config_.server_syn.first_retry;
    packet_origin const there = origin_of(h.link, parse(h.link, h.syn.bytes(), h.syn.length));
    h.syn.length = static_cast<std::uint32_t>(build_tcp(h.syn.data, there, detail::syn_of(h), detail::offer_of(h)));
    t.out.push(h.syn.exit, h.syn.bytes(), h.syn.via);
    ++counters_.originated;
    return send_in_place(t, way::back, reset, {});
}

/// A flow whose client uses timestamps and whose server does not: they end here, and begin here. TSval stands still, which RFC 7323
/// section 5 allows; TSecr is the client's newest. Or one whose client is being announced: see impl/announcement.hpp.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
HALFPROXY_RARE typename engine<Policies>::decision engine<Policies>::tcp_of_mended_flow(tcp_packet& t, flow_key<Address> const& key,
                                                                                       flow_handle found) noexcept {
    flow<Address>& f = store<Address>().table.record(found);
    handshake& h = handshakes_[f.shift.timestamp];
    bool const from_client = static_cast<direction>(found.direction()) == direction::from_client;
    bool const bare = (t.p.view.tcp().flags & (tcp_flag::syn | tcp_flag::rst)) != 0;  // of a new connection, or needs none
    bool const newer = static_cast<std::int32_t>(t.options.timestamp_value - h.client_timestamp) > 0;
    if (t.options.has_timestamps && !bare && from_client && newer) h.client_timestamp = t.options.timestamp_value;
    if (t.options.has_timestamps && !bare && h.mends) {
        header_changes changes;
        blank_timestamps(t.p.view, t.options, changes);
        incremental_checksum::commit(t.p.view, changes, t.f.offload.checksum);
    }
    // The flow may be over behind the next line but one, unless the server has sent something that is no SYN.
    bool const mends = h.mends, announcing = h.announcing;
    std::uint32_t const value = h.cookie_timestamp, echo = h.client_timestamp;
    if (announcing && from_client) aim_reset(t, f, h);
    decision const d = tcp_of_open_flow<Checks>(t, key, found);
    if (d.outcome != verdict::forward || from_client) return d;
    if (announcing && (t.p.view.tcp().flags & tcp_flag::syn) == 0) follow_announcement<Checks>(t, f, h);
    bool const whole = !t.p.view.layout().is_fragment();  // a longer first fragment would overlap the next
    if (mends && !bare && whole) insert_timestamps(t.f, t.p.view, value, echo);
    return d;
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
    std::uint32_t const window = std::min<std::uint32_t>(client.max_window >> f.tcp.scale[0], 0xffff);
    // Where timestamps are in force, every segment carries them (RFC 7323 section 3.2); the SYN-ACK holds both sides' values.
    built_options const options{.has_timestamps = t.options.has_timestamps,
                                .timestamp_value = t.options.timestamp_echo,
                                .timestamp_echo = t.options.timestamp_value};
    return send_in_place(t, way::back,
                         {.seq = client.end, .ack = client.max_ack, .flags = tcp_flag::ack, .window = static_cast<std::uint16_t>(window)}, options);
}

}  // namespace halfproxy
