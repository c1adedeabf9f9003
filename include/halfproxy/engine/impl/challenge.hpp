// SPDX-License-Identifier: BSL-1.0
// The challenge: a SYN answered with a cookie, and what comes back of it.
#pragma once

#include <halfproxy/core/inline.hpp>
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

}  // namespace detail

namespace detail {

/// What was learned takes away from what is promised to all; only the scale is exchanged.
inline void apply_learned(backend_profile const& profile, backend_promise& promise, bool scale_too) noexcept {
    if (profile.mss != 0) {
        promise.mss_v4 = std::min(promise.mss_v4, profile.mss);
        promise.mss_v6 = std::min(promise.mss_v6, profile.mss);
    }
    if (profile.scaling == known::yes && scale_too) promise.window_scale = profile.window_scale;
    promise.window_scaling = promise.window_scaling && profile.scaling != known::no;
    promise.sack = promise.sack && profile.sack != known::no;
    promise.timestamps = promise.timestamps && profile.timestamps != known::no;
}

/// What is configured for a server stands in the place of what is configured for all.
inline void apply_configured(backend_profile const& profile, backend_promise& promise) noexcept {
    auto const set = [](known value, bool& promised) { promised = value == known::unknown ? promised : value == known::yes; };
    if (profile.mss != 0) promise.mss_v4 = promise.mss_v6 = profile.mss;
    if (profile.scaling == known::yes) promise.window_scale = profile.window_scale;
    set(profile.scaling, promise.window_scaling);
    set(profile.sack, promise.sack);
    set(profile.timestamps, promise.timestamps);
    set(profile.ecn, promise.ecn);
}

}  // namespace detail

/// In this server's name. The scale must be the same again when the client's ACK comes: a learned one only where the cookie keeps it.
template <engine_policies Policies>
template <class Address>
[[gnu::noinline]] backend_promise engine<Policies>::promise_of_known(flow_key<Address> const& key, bool timestamps) const noexcept {
    backend_promise promise = config_.promise;
    backend_profile const* const configured = configured_.find(server_of(key.tuple, 0), stamp_);
    if (configured != nullptr) detail::apply_configured(*configured, promise);
    backend_profile const* const learned = learned_.find(server_of(key.tuple, key.zone), stamp_);
    if (learned != nullptr) detail::apply_learned(*learned, promise, timestamps);
    promise.mss_v4 = std::min(promise.mss_v4, config_.normalize.mss_ceiling_v4);
    promise.mss_v6 = std::min(promise.mss_v6, config_.normalize.mss_ceiling_v6);
    return promise;
}

template <engine_policies Policies>
template <class Address>
HALFPROXY_ALWAYS_INLINE backend_promise const& engine<Policies>::promise_for(flow_key<Address> const& key, bool timestamps,
                                                                             backend_promise& room) const noexcept {
    if (configured_.empty() && learned_.empty()) return config_.promise;
    return room = promise_of_known(key, timestamps);
}

/// The SYN is to become its SYN-ACK. Only options the client offered and the promise keeps are answered, so it is never
/// larger than what was received. The window is 0 until the server has answered.
template <engine_policies Policies>
template <class Address>
HALFPROXY_ALWAYS_INLINE typename engine<Policies>::decision engine<Policies>::send_cookie(tcp_packet& t, flow_key<Address> const& key) noexcept {
    constexpr bool v6 = detail::is_v6<Address>;
    tcp_header const& syn = t.p.view.tcp();
    backend_promise room;
    backend_promise const& promise = promise_for(key, t.options.has_timestamps, room);
    constexpr std::uint8_t ecn_setup = tcp_flag::ece | tcp_flag::cwr;  // RFC 3168 section 6.1.1
    std::uint16_t const mss = t.options.has_mss ? t.options.mss : v6 ? default_mss_v6 : default_mss_v4;
    if (mss < cookie_type::layout::least_mss || mss < config_.normalize.mss_floor) return drop(drop_reason::tcp_mss);
    if (!has_room_in_place(t.p.view, t.f.capacity)) return drop(drop_reason::frame_room);
    cookie_options const remembered = cookie_type::layout::kept(
        {.mss = std::min(mss, v6 ? config_.normalize.mss_ceiling_v6 : config_.normalize.mss_ceiling_v4),
         .has_window_scale = t.options.has_window_scale && promise.window_scaling,
         .window_scale = std::min(t.options.window_scale, max_window_scale),
         .sack_permitted = t.options.sack_permitted && promise.sack,
         .ecn = (syn.flags & ecn_setup) == ecn_setup && promise.ecn,
         .has_timestamps = t.options.has_timestamps && promise.timestamps,
         .promised_scale = promise.window_scale},
        v6);
    seq_num const client_isn{syn.sequence};
    cookie_draft const draft = cookies_.draft(remembered, client_isn, v6);
    cookie_work<Address>& w = work<Address>();
    answered_syn& a = w.answers[w.burst.size()];  // field by field: as a whole it would be put together elsewhere and copied
    a.p = &t.p;
    a.f = &t.f;
    a.draft = draft;
    a.flags = static_cast<std::uint8_t>(tcp_flag::syn | tcp_flag::ack | (remembered.ecn ? tcp_flag::ece : 0));
    a.options.has_mss = t.options.has_mss;
    a.options.has_window_scale = remembered.has_window_scale;
    a.options.sack_permitted = remembered.sack_permitted;
    a.options.has_timestamps = remembered.has_timestamps;
    a.options.window_scale = promise.window_scale;
    a.options.mss = v6 ? promise.mss_v6 : promise.mss_v4;
    a.options.timestamp_echo = t.options.timestamp_value;
    cookies_.note(w.burst, cookies_.message_of(detail::subject_of(key, client_isn), draft, remembered.has_timestamps));
    return answered;
}

/// All that every packet of the burst has left to do. Nothing has looked at the SYNs since send_cookie().
template <engine_policies Policies>
template <class Address>
void engine<Policies>::write_cookies() noexcept {
    cookie_work<Address>& w = work<Address>();
    if (w.burst.size() == 0) return;
    cookies_.hash(w.burst);
    for (std::size_t i = 0; i < w.burst.size(); ++i) {
        answered_syn& a = w.answers[i];
        cookie const c = cookies_.finish(a.draft, w.burst.mac(i));
        a.options.timestamp_value = c.timestamp_value;
        tcp_fields const fields{.seq = c.isn, .ack = seq_num{a.p->view.tcp().sequence} + 1, .flags = a.flags, .window = 0};
        std::size_t const bytes = build_in_place(a.f->link, a.p->view, a.f->capacity, way::back, fields, a.options);
        a.f->length = a.f->wire_length = static_cast<std::uint32_t>(bytes);
        a.f->offload = {};
    }
    w.burst.clear();
}

/// Rules and policy are asked about proven clients only.
template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::challenge_first(tcp_packet& t, flow_key<Address> const& key) noexcept {
    bool const to_challenge = ask_guard(key, t.f.arrival, admission::by_guard) == guard_verdict::challenge;
    return to_challenge ? challenge(t, key) : drop(drop_reason::guard_overload);
}

namespace detail {

/// The ACK that ends the client's handshake is sent once. When it is lost, what comes next is a probe of our window of 0, and its
/// sequence number is one less (RFC 9293 section 3.8.6.1 leaves that to the stack; Linux repeats the last byte's number, here the SYN's).
[[nodiscard]] inline cookie_echo echo_of(tcp_header const& ack, bool timestamps, std::uint32_t timestamp_echo) noexcept {
    cookie_echo echo{seq_num{ack.acknowledgment} - 1, std::nullopt};
    if (timestamps) echo.timestamp_echo = timestamp_echo;
    return echo;
}

}  // namespace detail

/// A flood of ACKs costs a hash each. What a cookie is depends on nothing that another packet changes, so those of a burst are checked side by
/// side before any packet acts.
template <engine_policies Policies>
void engine<Policies>::check_cookies(std::span<frame const> burst) noexcept {
    std::array<bool, 2> const honoured{honours_cookies(side::outside), honours_cookies(side::inside)};
    if (!honoured[0] && !honoured[1]) return;
    for (std::size_t i = 0; i < burst.size(); ++i) {
        packet const& p = packets_[i];
        if (p.kind != packet_kind::tcp || p.candidate || !honoured[static_cast<std::size_t>(burst[i].arrival)]) continue;
        if ((p.view.tcp().flags & detail::deciding_flags) != tcp_flag::ack) continue;
        if (p.view.layout().ip_version == 4)
            claim_cookie<std::uint32_t>(i);
        else
            claim_cookie<ipv6_bytes>(i);
    }
    check_claims<std::uint32_t>();
    check_claims<ipv6_bytes>();
}

/// Of an ACK with the usual options, which is to say timestamps or none.
template <engine_policies Policies>
template <class Address>
HALFPROXY_ALWAYS_INLINE void engine<Policies>::claim_cookie(std::size_t i) noexcept {
    packet& p = packets_[i];
    tcp_header const& ack = p.view.tcp();
    byte_view const options = p.view.tcp_options();
    bool const timestamps = !options.empty();
    if (timestamps && !detail::only_timestamps(options)) return;
    cookie_echo const echo = detail::echo_of(ack, timestamps, timestamps ? detail::load32(options.data() + 8) : 0);
    seq_num const isn = cookies_.client_isn({ack.sequence}, echo);
    cookie_work<Address>& w = work<Address>();
    claimed_cookie& claim = w.claims[w.burst.size()];  // as above
    claim.p = &p;
    claim.isn = echo.isn;
    claim.client_isn = isn;
    claim.timestamps = timestamps;
    claim.timestamp_echo = echo.timestamp_echo.value_or(0);
    cookies_.note(w.burst, cookies_.message_of(detail::subject_of(key<Address>(i), isn), echo));
}

template <engine_policies Policies>
template <class Address>
void engine<Policies>::check_claims() noexcept {
    cookie_work<Address>& w = work<Address>();
    if (w.burst.size() == 0) return;
    cookies_.hash(w.burst);
    for (std::size_t i = 0; i < w.burst.size(); ++i) {
        claimed_cookie const& c = w.claims[i];
        cookie_echo echo{c.isn, std::nullopt};
        if (c.timestamps) echo.timestamp_echo = c.timestamp_echo;
        bool const valid = cookies_.belongs(echo, w.burst.mac(i));
        c.p->cookie = valid ? cookie_finding::valid : cookie_finding::none;
        if (valid) c.p->client = {cookies_.options_of(echo, w.burst.mac(i), detail::is_v6<Address>), c.client_isn};
    }
    w.burst.clear();
}

template <engine_policies Policies>
template <class Address>
HALFPROXY_ALWAYS_INLINE std::optional<typename engine<Policies>::proven_client> engine<Policies>::check_cookie(tcp_packet const& t,
                                                                                                          flow_key<Address> const& key) noexcept {
    if (t.p.cookie == cookie_finding::none) [[likely]]
        return std::nullopt;
    if (t.p.cookie == cookie_finding::valid) return t.p.client;
    return check_cookie_alone(t, key);
}

template <engine_policies Policies>
template <class Address>
HALFPROXY_RARE std::optional<typename engine<Policies>::proven_client> engine<Policies>::check_cookie_alone(tcp_packet const& t,
                                                                                                       flow_key<Address> const& key) noexcept {
    tcp_header const& tcp = t.p.view.tcp();
    cookie_echo const echo = detail::echo_of(tcp, t.options.has_timestamps, t.options.timestamp_echo);
    seq_num const isn = cookies_.client_isn({tcp.sequence}, echo);
    auto const options = cookies_.check(detail::subject_of(key, isn), echo, detail::is_v6<Address>, now_);
    if (!options) return std::nullopt;
    return proven_client{*options, isn};
}

/// On a flow that is over, an ACK with other numbers may be a new incarnation's. So it may on one that is half open: the client's SYN was challenged, and
/// before it had our answer it repeated the SYN, which passed, for the client was exempt or the guard in grace by then. The flow may have been opened by the
/// other end: the tuple serves both in turn, or both have opened at once (RFC 9293 section 3.5).
template <engine_policies Policies>
template <class Address>
std::optional<typename engine<Policies>::proven_client> engine<Policies>::new_incarnation(tcp_packet const& t, flow_key<Address> const& key,
                                                                                          flow<Address> const& old,
                                                                                          direction from, tcp_segment segment) noexcept {
    if ((segment.flags & detail::deciding_flags) != tcp_flag::ack) return std::nullopt;
    bool const belongs = is_half_open(old.tcp.state) ? segment.ack == old.tcp.side[index(reverse(from))].end
                                                     : repeats_old_numbers(old, segment, from);
    if (belongs || !honours_cookies(t.f.arrival) || !checksums_good(t.p, t.f)) return std::nullopt;
    return check_cookie(t, key);
}

/// Behind a guard that splices, every connection with a server is ours: whoever this answers has gone (or it forges), and the server need not wait.
template <engine_policies Policies>
typename engine<Policies>::decision engine<Policies>::syn_ack_without_flow(tcp_packet& t) noexcept {
    bool const ours = guard_.config().method == guard_method::splice && honours_cookies(other(t.f.arrival));
    return ours ? refuse_ack(t, drop_reason::no_flow) : drop(drop_reason::no_flow);
}

/// RFC 9293 section 3.10.7.1: what a closed port answers to a segment with ACK. Never longer than what came, and not oftener than
/// configured: who forges sources cannot make us a loud reflector.
template <engine_policies Policies>
typename engine<Policies>::decision engine<Policies>::refuse_ack(tcp_packet& t, drop_reason silent) noexcept {
    if (!checksums_good(t.p, t.f)) return drop(drop_reason::l4_checksum);
    if (!resets_.take(stamp_)) return drop(silent);
    ++counters_.resets_sent;
    return reset_sender_of_ack(t);
}

template <engine_policies Policies>
typename engine<Policies>::decision engine<Policies>::reset_sender_of_ack(tcp_packet& t) noexcept {
    return send_in_place(t, way::back, {.seq = {t.p.view.tcp().acknowledgment}, .ack = {}, .flags = tcp_flag::rst, .window = 0}, {});
}

}  // namespace halfproxy
