// SPDX-License-Identifier: BSL-1.0
// What becomes of a TCP segment: of a flow, or without one.
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/engine/engine.hpp>
#include <halfproxy/engine/impl/new_flow_checks.hpp>

namespace halfproxy {

namespace detail {

inline constexpr std::uint8_t deciding_flags = tcp_flag::syn | tcp_flag::fin | tcp_flag::rst | tcp_flag::ack;

/// A frame that pretends to come from a group, or that went to all stations, is answered by nobody (RFC 1122 section 3.3.6).
[[nodiscard]] inline bool link_forbids_answer(frame const& f) noexcept {
    if (f.link != link_type::ethernet) return false;
    constexpr std::array<std::uint8_t, 6> broadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    return (f.data[6] & 1) != 0 || std::memcmp(f.data, broadcast.data(), broadcast.size()) == 0;
}

/// Both ends have agreed upon their numbers and are not yet done: no cookie of ours has anything to do with it.
[[nodiscard]] inline bool carries_data(tcp_state s) noexcept { return s == tcp_state::established || s == tcp_state::half_closed; }

template <class Address>
void set_tuple(packet_origin& origin, flow_tuple<Address> const& t) noexcept {
    if constexpr (std::is_same_v<Address, std::uint32_t>) {
        header_at<big32>(origin.source.data()) = t.source;
        header_at<big32>(origin.destination.data()) = t.destination;
    } else {
        origin.source = t.source;
        origin.destination = t.destination;
    }
    origin.source_port = t.source_port;
    origin.destination_port = t.destination_port;
}

}  // namespace detail

/// Header prediction, as TCP ends do it: the next packet of an established connection is nearly always data or an acknowledgment within its
/// windows, with no options but timestamps. True: it was that, and is on its way. False: nothing has changed, tcp() decides.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
HALFPROXY_ALWAYS_INLINE bool engine<Policies>::passes_as_predicted(packet const& p, frame& f, flow_handle found) noexcept {
    flow<Address>& known = store<Address>().table.record(found);
    auto const from = static_cast<direction>(found.direction());
    packet_layout const& l = p.view.layout();
    tcp_header const& header = p.view.tcp();
    byte_view const options = p.view.tcp_options();
    bool const timestamps = !options.empty();
    if (timestamps && (Checks::uses_timestamps || !detail::only_timestamps(options))) return false;
    bool const spliced = known.is_spliced();
    if ((header.flags & detail::deciding_flags) != tcp_flag::ack || l.more_fragments || known.opposite_arrival(from) != f.arrival) return false;
    if (known.is_special() || (spliced && known.rescales())) return false;

    // Without a branch: who sends next is as good as random. A plain flow's shift is 0.
    std::uint32_t const shift = known.shift.sequence & (0u - static_cast<std::uint32_t>(from == direction::from_client));
    if (!tcp_tracker<Checks>::predict(known.tcp, from, {header.sequence}, seq_num{header.acknowledgment} - shift, l.payload_bytes(), header.window))
        return false;
    known.last_seen = stamp_;
    note_forwarded(known, from, p.view.layout());
    if (spliced || known.rewrites != 0) translate_predicted(p, f, known, from, timestamps);
    return true;
}

/// Not in its caller: its numbers would push the caller's out of the registers.
template <engine_policies Policies>
template <class Address>
[[gnu::noinline]] void engine<Policies>::translate_predicted(packet const& p, frame& f, flow<Address> const& known, direction from,
                                                             bool timestamps) noexcept {
    header_changes changes;
    tcp_options options;
    options.has_timestamps = timestamps;
    options.timestamps_at = detail::only_timestamps_at;
    if (known.is_spliced()) shift_numbers(p.view, options, known.shift, static_cast<shift_toward>(index(reverse(from))), {}, changes);
    if (known.rewrites != 0) {
        replace_addresses(p, known, from, changes);
        lead_to_station(f, known, from);
    }
    incremental_checksum::commit(p.view, changes, f.offload.checksum);
    if constexpr (leads_flows)
        if (any_announced_) tell_in_option(f, p.view, known, from);
}

template <engine_policies Policies>
template <class Address>
HALFPROXY_ALWAYS_INLINE void engine<Policies>::replace_addresses(packet const& p, flow<Address> const& f, direction from,
                                                                 header_changes& changes) noexcept {
    flow_tuple<Address> const to = f.leaving(from);
    nat_rewriter<>::replace(p.view, nat_endpoints<Address>{to.source, to.destination, to.source_port, to.destination_port}, changes);
}

template <engine_policies Policies>
template <tcp_checks Checks, class Address>
[[gnu::noinline]] typename engine<Policies>::decision engine<Policies>::tcp(packet& p, frame& f, outbox& out, flow_key<Address> const& key,
                                                                            flow_handle found) noexcept {
    tcp_packet t{p, f, out, parse_tcp_options(p.view.tcp_options())};
    if (t.options.malformed || t.options.has_fast_open || t.options.has_unknown) [[unlikely]] {
        decision const d = rare_options(t);
        if (d.outcome == verdict::drop) return d;
    }
    return found ? tcp_of_flow<Checks>(t, key, found) : tcp_without_flow<Checks>(t, key);
}

template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::tcp_of_flow(tcp_packet& t, flow_key<Address> const& key, flow_handle found) noexcept {
    flow<Address>& f = store<Address>().table.record(found);
    auto const from = static_cast<direction>(found.direction());
    if (f.arrival(from) != t.f.arrival) return drop(drop_reason::wrong_side);
    if (f.has_handshake()) [[unlikely]]
        return f.is_spliced() ? tcp_of_mended_flow<Checks>(t, key, found) : while_connecting<Checks, Address>(t, found);
    bool const opens = is_half_open(f.tcp.state) || (t.p.view.tcp().flags & tcp_flag::syn) != 0;
    if (any_announced_ && opens) return tcp_of_unannounced_flow<Checks>(t, key, found);
    return tcp_of_open_flow<Checks>(t, key, found);
}

/// Of a packet that goes on with its flow.
template <engine_policies Policies>
template <class Address>
HALFPROXY_ALWAYS_INLINE typename engine<Policies>::decision engine<Policies>::passed(flow<Address> const& f) const noexcept {
    return f.is_hairpin() ? answered : forwarded;
}

/// Both ends have a connection, or are about to.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::tcp_of_open_flow(tcp_packet& t, flow_key<Address> const& key,
                                                                  flow_handle found) noexcept {
    flow<Address>& f = store<Address>().table.record(found);
    auto const from = static_cast<direction>(found.direction());
    if (f.tcp.state == tcp_state::closed && (is_given_up(f) || is_denied_since(f))) return tcp_of_ended_flow<Checks>(t, key, found);
    tcp_segment const segment = segment_of<Checks>(t, f, from);
    constexpr std::uint8_t decisive = tcp_flag::syn | tcp_flag::fin | tcp_flag::rst;
    if (segment.has(decisive))
        if (drop_reason const fault = check_decisive(t); fault != drop_reason::none) return drop(fault);
    if (!detail::carries_data(f.tcp.state) && t.p.kind != packet_kind::fragment) {
        if (auto const client = new_incarnation(t, key, f, from, segment)) {
            close_flow<Address>(found.number());
            return admit_proven<Checks>(t, key, *client);
        }
        if (segment.has(tcp_flag::rst) && proves_by_reset(t, key)) return rst_without_flow(t, key);
    }
    if (f.is_spliced() && (segment.flags & detail::deciding_flags) == (tcp_flag::syn | tcp_flag::ack)) {
        if (!answers_new_syn(f.tcp, from, segment.ack) || repeats_old_numbers(f, segment, from)) return repeat_ack(t, f);
        if (from == direction::from_server) {
            if (f.has_handshake()) release_handshake(f);
            f.set_phase(flow_phase::plain);  // the server had forgotten the connection: both ends shake hands themselves
            f.shift = {};
        }
    }

    tcp_state const before = f.tcp.state;
    seq_num const granted = f.tcp.side[index(direction::from_client)].max_end;
    track_result const result = track<Checks>(f, from, segment);
    if (result.outcome == track_outcome::drop) return drop(result.reason);
    if (result.outcome == track_outcome::reopen) return reopen<Checks>(t, key, found);
    if (result.outcome == track_outcome::accept) f.last_seen = stamp_;
    note_state(f, before);
    if (f.tcp.state != before) tell_opening(f, before, from);
    note_forwarded(f, from, t.p.view.layout());
    bool const as_is = f.phase() == flow_phase::plain && f.rewrites == 0 && !t.p.view.layout().more_fragments;
    if (!as_is) translate_tcp(t, f, from, granted);
    return passed(f);
}

template <engine_policies Policies>
template <class Address>
HALFPROXY_ALWAYS_INLINE void engine<Policies>::note_state(flow<Address>& f, tcp_state before) noexcept {
    if (f.tcp.state == before) return;
    half_open_changed(f, is_half_open(f.tcp.state) - is_half_open(before));
    if (before == tcp_state::syn_sent && f.tcp.state == tcp_state::established) ++counters_.flows_one_sided;
    arm(f, timeout_of_flow(f));
    if (f.is_spliced() && is_half_open(f.tcp.state)) tell_own_scales(f);
}

/// A challenge keeps no state: the old flow gives way only to a client that is let through or has proved itself.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
HALFPROXY_RARE typename engine<Policies>::decision engine<Policies>::reopen(tcp_packet& t, flow_key<Address> const& key, flow_handle found) noexcept {
    if (!draining_ && challenges_now(key, t.f.arrival)) {
        ++counters_.syns_seen;
        return challenge(t, key);
    }
    close_flow<Address>(found.number());
    return syn_without_flow<Checks>(t, key);
}

/// The server has opened anew on a spliced tuple and the client, which had forgotten, answered: their numbers stay shifted, but each hears the
/// other's own scale now.
template <engine_policies Policies>
template <class Address>
HALFPROXY_RARE void engine<Policies>::tell_own_scales(flow<Address>& f) noexcept {
    f.client_scale = f.tcp.scale[0] & 0x0fu;
    f.promised_scale = f.tcp.scale[1] & 0x0fu;
}

/// Of a SYN, FIN or RST.
template <engine_policies Policies>
HALFPROXY_RARE drop_reason engine<Policies>::check_decisive(tcp_packet& t) noexcept {
    if (!checksums_good(t.p, t.f)) return drop_reason::l4_checksum;
    return (t.p.view.tcp().flags & tcp_flag::syn) != 0 ? clamp_mss(t) : drop_reason::none;
}

/// Of a SYN or SYN-ACK that is let through.
template <engine_policies Policies>
drop_reason engine<Policies>::clamp_mss(tcp_packet& t) noexcept {
    normalize_config const& n = config_.normalize;
    if (!t.options.has_mss) return drop_reason::none;
    if (t.options.mss < n.mss_floor) return drop_reason::tcp_mss;
    header_changes changes;
    lower_mss(t.p.view, t.options, t.p.view.layout().ip_version == 4 ? n.mss_ceiling_v4 : n.mss_ceiling_v6, changes);
    incremental_checksum::commit(t.p.view, changes, t.f.offload.checksum);
    return drop_reason::none;
}

/// Of a flow that was silent for 24 days the timestamps say nothing any more (RFC 7323 section 5.5).
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
HALFPROXY_ALWAYS_INLINE track_result engine<Policies>::track(flow<Address>& f, direction from, tcp_segment const& segment) noexcept {
    // A window told in coarser units may be a little larger than the one granted: that is our doing, not the sender's.
    Checks const checks(f.is_spliced() && f.rescales() ? checks_.without(tcp_check::overshoot) : checks_);
    track_result const result = tcp_tracker<Checks>::update(f.tcp, from, segment, checks);
    if constexpr (Checks::uses_timestamps) {
        auto const silent = static_cast<std::uint32_t>(stamp_ - f.last_seen);
        if (result.reason == drop_reason::timestamp_old && silent >= timestamps_outlived) [[unlikely]] {
            forget_timestamps(f.tcp);
            return detail::track_any(f.tcp, from, segment, checks);
        }
    }
    return result;
}

namespace detail {

/// Of a segment in fragments: the whole of it when its length is known, otherwise the first part, to which a FIN does not belong.
HALFPROXY_RARE void know_fragment(tcp_segment& s, tcp_header const& header, std::uint16_t whole_bytes) noexcept {
    if (whole_bytes != 0)
        s.payload_bytes = whole_bytes - static_cast<std::uint32_t>(header.header_bytes());
    else
        s.flags &= static_cast<std::uint8_t>(~tcp_flag::fin);
}

}  // namespace detail

/// The segment in the numbers the tracker keeps: the server's own.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
HALFPROXY_ALWAYS_INLINE tcp_segment engine<Policies>::segment_of(tcp_packet const& t, flow<Address> const& f, direction from) const noexcept {
    tcp_segment s = make_tcp_segment<Checks::uses_timestamps>(t.p.view.tcp(), t.options, t.p.view.layout().payload_bytes());
    if (t.p.kind == packet_kind::fragment) [[unlikely]]
        detail::know_fragment(s, t.p.view.tcp(), t.p.whole_bytes);
    if (!f.is_spliced() || from == direction::from_server) return s;
    s.ack = s.ack - f.shift.sequence;
    s.sack_right = s.sack_right - f.shift.sequence;
    if constexpr (Checks::uses_timestamps) s.timestamp_echo -= shift_of(f).timestamp;
    if (!s.has(tcp_flag::syn)) s.window = f.rescale(from).apply(s.window);
    return s;
}

namespace detail {

/// Whether the server's window, rounded down to the client's coarser units, would take back what the server granted before
/// (`granted`: one past the highest byte) and still grants.
[[nodiscard]] HALFPROXY_RARE bool rounding_takes_back(tcp_header const& tcp, window_rescale told, seq_num granted) noexcept {
    std::uint32_t const bytes = std::uint32_t{tcp.window} << told.from;
    seq_num const edge{tcp.acknowledgment};
    return (edge + (bytes >> told.to << told.to)).before(granted) && granted.at_or_before(edge + bytes);
}

}  // namespace detail

template <engine_policies Policies>
template <class Address>
void engine<Policies>::translate_tcp(tcp_packet& t, flow<Address>& f, direction from, seq_num granted) noexcept {
    bool const spliced = f.is_spliced();
    // Where the rest of a fragmented segment passes unseen, the numbers of this flow are not known exactly from here on.
    if (t.p.view.layout().more_fragments && t.p.kind != packet_kind::fragment) {
        f.tcp.marks[0] |= tcp_mark::liberal;
        f.tcp.marks[1] |= tcp_mark::liberal;
    }
    header_changes changes;
    if (spliced && from == direction::from_server) {
        window_rescale told = f.rescale(from);
        if (told.from < told.to) [[unlikely]]
            told.up = detail::rounding_takes_back(t.p.view.tcp(), told, granted);
        shift_numbers(t.p.view, t.options, shift_of(f), shift_toward::client, told, changes);
    } else if (spliced) {
        if (t.options.sack_count != 0 && (f.tcp.marks[1] & tcp_mark::sack_permitted) == 0) [[unlikely]]
            blank_sack(t.p.view, t.options, changes);  // promised to the client, and the server knows nothing of it
        shift_numbers(t.p.view, t.options, shift_of(f), shift_toward::server, f.rescale(from), changes);
    }
    if (f.rewrites != 0) {
        replace_addresses(t.p, f, from, changes);
        lead_to_station(t.f, f, from);
        if constexpr (leads_flows)
            if ((t.p.view.tcp().flags & tcp_flag::syn) != 0 && t.options.has_mss) leave_room(t, f, from, changes);
    }
    incremental_checksum::commit(t.p.view, changes, t.f.offload.checksum);
    if constexpr (leads_flows)
        if (any_announced_ && f.rewrites != 0) tell_in_option(t.f, t.p.view, f, from);
}

/// Packets that open, close or answer something are verified; of data the endpoints judge themselves, since changes are
/// incremental. The device may have done it, or may still have to (partial).
template <engine_policies Policies>
bool engine<Policies>::checksums_good(packet const& p, frame const& f) const noexcept {
    if (!config_.normalize.verify_checksums || f.offload.checksum != checksum_state::unknown) return true;
    return verify_transport(p.view) != checksum_verdict::bad;
}

template <engine_policies Policies>
template <tcp_checks Checks, class Address>
[[gnu::noinline]] typename engine<Policies>::decision engine<Policies>::tcp_without_flow(tcp_packet& t, flow_key<Address> const& key) noexcept {
    std::uint8_t const flags = t.p.view.tcp().flags;
    if (!valid_tcp_flags(flags)) return drop(drop_reason::tcp_flags);
    if (key.tuple.source_port == 0 || key.tuple.destination_port == 0) return drop(drop_reason::tcp_port_zero);
    if (!detail::clearly_accepted(t.p.view, key.tuple)) [[unlikely]] {
        drop_reason const refusal = detail::refusal_of(t.p.view, ip_protocol::tcp, key.tuple);
        if (refusal != drop_reason::none) return drop(refusal);
    }
    if (detail::link_forbids_answer(t.f)) return drop(drop_reason::ip_source);
    if (is_fast(key)) return forwarded;
    switch (flags & detail::deciding_flags) {
        case tcp_flag::syn: return syn_without_flow<Checks>(t, key);
        case tcp_flag::ack: return ack_without_flow<Checks>(t, key);
        case tcp_flag::rst: return rst_without_flow(t, key);
        case tcp_flag::syn | tcp_flag::ack:
            return config_.tracking.asymmetric == asymmetric_paths::yes ? answer_without_flow<Checks>(t, key) : syn_ack_without_flow(t);
        default: return drop(drop_reason::no_flow);
    }
}

template <engine_policies Policies>
template <tcp_checks Checks, class Address>
HALFPROXY_ALWAYS_INLINE typename engine<Policies>::decision engine<Policies>::syn_without_flow(tcp_packet& t, flow_key<Address> const& key) noexcept {
    ++counters_.syns_seen;
    if (!checksums_good(t.p, t.f)) return drop(drop_reason::l4_checksum);
    if (draining_) return drop(drop_reason::policy_denied);
    if (config_.splice.defer && challenges_now(key, t.f.arrival)) return challenge_first(t, key);
    switch (rule_for(key)) {
        case rule_action::deny: return drop(drop_reason::rule_denied);
        case rule_action::reset: return reset_sender(t);
        default: break;
    }
    admission const wish = policies_.admission.decide(
        flow_request<Address>{key.tuple, key.zone, key.protocol, t.f.arrival, false});
    if (wish == admission::deny) return drop(drop_reason::policy_denied);
    switch (ask_guard(key, t.f.arrival, wish)) {
        case guard_verdict::challenge:
            if (address_answer<Address> const seen = foresee(key, t.f.arrival); seen.reason != drop_reason::none)
                return drop(seen.reason);
            else if (!seen.hairpin)
                return challenge(t, key);
            break;
        case guard_verdict::drop: return drop(drop_reason::guard_overload);
        case guard_verdict::pass: break;
    }
    return pass_syn<Checks>(t, key);
}

/// Nobody challenges it: it opens a flow.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
[[gnu::noinline]] typename engine<Policies>::decision engine<Policies>::pass_syn(tcp_packet& t, flow_key<Address> const& key) noexcept {
    if (drop_reason const fault = clamp_mss(t); fault != drop_reason::none) return drop(fault);
    if (!within_source_limits(key)) return drop(drop_reason::source_limit);
    auto const [f, refusal] = open_flow(key, t.f.arrival, false);
    if (f == nullptr) return drop(refusal);
    if (any_announced_ && !f->is_hairpin() && f->tuple[0] == key.tuple) make_room_for_announcement(t, *f);
    tcp_tracker<Checks>::open(f->tcp, segment_of<Checks>(t, *f, direction::from_client));
    half_open_changed(*f, +1);
    arm(*f, timeout_of_flow(*f));
    note_forwarded(*f, direction::from_client, t.p.view.layout());
    translate_tcp(t, *f, direction::from_client, {});
    return passed(*f);
}

/// A bare ACK may carry a cookie of ours; otherwise it may be a connection that began before us.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
HALFPROXY_ALWAYS_INLINE typename engine<Policies>::decision engine<Policies>::ack_without_flow(tcp_packet& t, flow_key<Address> const& key) noexcept {
    bool const may_be_cookie = honours_cookies(t.f.arrival);
    if (may_be_cookie) {
        if (auto const client = check_cookie(t, key)) return admit_proven<Checks>(t, key, *client);
        ++counters_.cookies_invalid;
    }
    bool const data = t.p.view.layout().payload_bytes() != 0;
    bool const pick_up = config_.tracking.pickup == pickup::any || (config_.tracking.pickup == pickup::data_only && data);
    if (!pick_up && may_be_cookie && config_.splice.invalid_ack == invalid_ack_policy::reset)
        return refuse_ack(t, drop_reason::cookie_invalid);
    if (!pick_up) return drop(may_be_cookie ? drop_reason::cookie_invalid : drop_reason::no_flow);
    return pick_up_flow<Checks>(t, key);
}

template <engine_policies Policies>
template <tcp_checks Checks, class Address>
[[gnu::noinline]] typename engine<Policies>::decision engine<Policies>::pick_up_flow(tcp_packet& t, flow_key<Address> const& key) noexcept {
    if (refuses(rule_for(key))) return drop(drop_reason::rule_denied);
    if (!within_source_limits(key)) return drop(drop_reason::source_limit);
    auto const [f, refusal] = open_flow(key, t.f.arrival, false);
    if (f == nullptr) return drop(refusal);
    tcp_tracker<Checks>::pick_up(f->tcp, segment_of<Checks>(t, *f, direction::from_client));
    arm(*f, timeout_of_flow(*f));
    note_forwarded(*f, direction::from_client, t.p.view.layout());
    translate_tcp(t, *f, direction::from_client, {});
    return passed(*f);
}

/// Where only the server's direction passes here, a connection begins with its answer. Under address translation it could not be known
/// whose; nor can a client that is not heard be challenged.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::answer_without_flow(tcp_packet& t, flow_key<Address> const& key) noexcept {
    constexpr bool translates = !std::is_same_v<decltype(Policies::addresses), keep_addresses>;
    if (translates) return drop(drop_reason::no_flow);
    if (!checksums_good(t.p, t.f)) return drop(drop_reason::l4_checksum);
    if (draining_) return drop(drop_reason::policy_denied);
    flow_key<Address> const opener{key.tuple.reversed(), key.zone, key.protocol, 0};
    if (refuses(rule_for(opener))) return drop(drop_reason::rule_denied);
    side const client = other(t.f.arrival);
    flow_request<Address> const request{opener.tuple, opener.zone, opener.protocol, client, false};
    if (policies_.admission.decide(request) == admission::deny) return drop(drop_reason::policy_denied);
    auto const [f, refusal] = open_flow(opener, client, false);
    if (f == nullptr) return drop(refusal);
    tcp_tracker<Checks>::open_by_answer(f->tcp, segment_of<Checks>(t, *f, direction::from_server));
    ++counters_.flows_one_sided;
    half_open_changed(*f, +1);
    arm(*f, timeout_of_flow(*f));
    note_forwarded(*f, direction::from_server, t.p.view.layout());
    return forwarded;
}

/// Whether a segment lies within what this flow has carried: then it is a late copy, whatever cookie or SYN it repeats.
template <engine_policies Policies>
template <class Address>
bool engine<Policies>::repeats_old_numbers(flow<Address> const& f, tcp_segment s, direction from) const noexcept {
    auto const sent_before = [&f](direction d, seq_num at) {
        return static_cast<std::uint32_t>(f.tcp.side[index(d)].end - at) <= f.bytes[index(d)] + 1;  // bytes hold headers besides; SYNs are not counted
    };
    return sent_before(from, s.seq) && sent_before(reverse(from), s.ack);
}

template <engine_policies Policies>
typename engine<Policies>::decision engine<Policies>::send_in_place(tcp_packet& t, packet_origin const& origin,
                                                                    tcp_fields const& fields, built_options const& options,
                                                                    verdict outcome) noexcept {
    std::size_t const bytes = build_tcp({t.f.data, t.f.capacity}, origin, fields, options);
    if (bytes == 0) return drop(drop_reason::frame_room);
    t.f.length = t.f.wire_length = static_cast<std::uint32_t>(bytes);
    t.f.offload = {};
    return {outcome};
}

/// Forwarded on its way, or a reply on the way back.
template <engine_policies Policies>
typename engine<Policies>::decision engine<Policies>::send_in_place(tcp_packet& t, way direction, tcp_fields const& fields,
                                                                    built_options const& options) noexcept {
    std::size_t const bytes = build_in_place(t.f.link, t.p.view, t.f.capacity, direction, fields, options);
    if (bytes == 0) return drop(drop_reason::frame_room);
    t.f.length = t.f.wire_length = static_cast<std::uint32_t>(bytes);
    t.f.offload = {};
    return direction == way::back ? answered : forwarded;
}

/// In the name of direction `from`'s sender, whose packet it is written over.
template <engine_policies Policies>
template <class Address>
HALFPROXY_ALWAYS_INLINE typename engine<Policies>::decision engine<Policies>::send_onward(tcp_packet& t, flow<Address> const& f, direction from,
                                                                                          tcp_fields const& fields, built_options const& options) noexcept {
    if (f.rewrites == 0) [[likely]]
        return send_in_place(t, way::on, fields, options);
    packet_origin origin = origin_of(t.f.link, {t.p.view.bytes(), t.p.view.layout()});
    detail::set_tuple(origin, f.leaving(from));
    decision const d = send_in_place(t, origin, fields, options, verdict::forward);
    lead_to_station(t.f, f, from);
    return d;
}

/// RFC 9293 section 3.10.7.1: the answer to a SYN for a port that is closed.
template <engine_policies Policies>
typename engine<Policies>::decision engine<Policies>::reset_sender(tcp_packet& t) noexcept {
    seq_num const end = seq_num{t.p.view.tcp().sequence} + 1 + t.p.view.layout().payload_bytes();
    return send_in_place(t, way::back, {.seq = {}, .ack = end, .flags = tcp_flag::rst | tcp_flag::ack, .window = 0}, {});
}

}  // namespace halfproxy
