// SPDX-License-Identifier: BSL-1.0
// What the guard has to do with a packet: whether a SYN is challenged, by which method, and what proves its source.
//
// The method splice is in impl/challenge.hpp and impl/splice.hpp. challenge_reset keeps no state either, and nothing of the connection that follows:
//
//      client                                half proxy                              server
//        | SYN seq=C -------------------------->|                                      |
//        |<-- ACK ack=X, X <= C ----------------|  X is a cookie; no connection begins  |
//        | RST seq=X --------------------------->|  the source is proven for exempt_s    |     RFC 9293 section 3.10.7.3
//        | SYN seq=C (retransmitted) ------------------------------------------------->|     untouched, as everything after it
//
// Every stack that follows RFC 9293 sends that RST, stays in SYN-SENT and sends its SYN again when its timer says so; the application notices
// nothing else. Linux (seen with 6.18) does not wait for the first timeout but sends it again within two ticks of its clock. Others wait for
// theirs: one second by RFC 6298.
//
// A bare ACK, as a server with an older connection would send it (a challenge ACK), and no SYN-ACK: Linux's conntrack, which may stand on the
// client's way, lets that ACK and the RST pass and forgets both. An old SYN-ACK passes too, but conntrack learns its sequence number and
// then calls packets of many a true connection invalid. A client behind a firewall that drops challenge ACKs never proves itself: for such networks there
// is reset_by::proxy, a right cookie first and a RST to the ACK. After that the application must connect again, which browsers do
// and most other programs do not.
//
// Strength: X carries 31 bits that must fit (24 of the cookie's MAC, 7 of its constant options), and its top bit is free: a forged RST
// proves its source with probability 2^-30. A check costs at most two hashes.
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/engine/engine.hpp>

namespace halfproxy {

namespace detail {

/// Keeps the numbers of the two methods apart: VLAN ids have 12 bits.
inline constexpr std::uint16_t reset_challenge_zone = 0x8000;

}  // namespace detail

template <engine_policies Policies>
std::uint32_t engine<Policies>::exempt_sources(guard_config const& config) noexcept {
    constexpr bool policy_may_challenge = !std::is_same_v<decltype(Policies::admission), admit_by_guard>;
    bool const ever = (config.mode != guard_mode::off || policy_may_challenge) && config.exempt_time() != 0;
    return ever ? config.exempt_sources : 0;
}

/// An admission policy of the user's may challenge whatever the guard says, so cookies may be out at any time.
template <engine_policies Policies>
bool engine<Policies>::honours_cookies(side arrival) const noexcept {
    constexpr bool policy_may_challenge = !std::is_same_v<decltype(Policies::admission), admit_by_guard>;
    return (policy_may_challenge && arrival == side::outside) || (guard_.guards(arrival) && guard_.honours_cookies());
}

template <engine_policies Policies>
template <class Address>
guard_syn engine<Policies>::guard_syn_of(flow_key<Address> const& key, side arrival) const noexcept {
    guard_syn syn{.arrival = arrival};
    if (!guard_.follows_services()) [[likely]]
        return syn;
    flow_key<Address> service = key;
    service.tuple.source = {};
    service.tuple.source_port = 0;
    std::uint64_t hash;
    if constexpr (std::is_same_v<Address, std::uint32_t>)
        hash = v4_.table.hash(service);
    else
        hash = v6_.table.hash(service);
    syn.service_hash = static_cast<std::uint32_t>(hash >> 32);
    syn.address = detail::to_address(key.tuple.destination);
    syn.port = key.tuple.destination_port;
    return syn;
}

template <engine_policies Policies>
template <class Address>
bool engine<Policies>::spared(flow_key<Address> const& key) const noexcept {
    return guard_.has_allow_list() && guard_.allows(detail::to_address(key.tuple.source));
}

template <engine_policies Policies>
template <class Address>
bool engine<Policies>::exempt(flow_key<Address> const& key) const noexcept {
    return exempt_.contains(source_network::of(key.tuple.source, key.zone), now_);
}

/// Counts the flow that is about to be opened.
template <engine_policies Policies>
template <class Address>
bool engine<Policies>::within_source_limits(flow_key<Address> const& key) noexcept {
    return source_limits_.admits(source_network::of(key.tuple.source, key.zone), stamp_);
}

/// Of a SYN on a flow that exists: without counting anything.
template <engine_policies Policies>
template <class Address>
bool engine<Policies>::challenges_now(flow_key<Address> const& key, side arrival) const noexcept {
    return !guard_.only_counts() && guard_.challenges(guard_syn_of(key, arrival)) && !spared(key) && !exempt(key);
}

/// Of a SYN that would open a flow.
template <engine_policies Policies>
template <class Address>
HALFPROXY_ALWAYS_INLINE guard_verdict engine<Policies>::ask_guard(flow_key<Address> const& key, side arrival, admission wish) noexcept {
    if (wish == admission::by_guard && guard_.challenges_every(arrival)) return guard_verdict::challenge;
    return ask_each_scope(key, arrival, wish);
}

template <engine_policies Policies>
template <class Address>
[[gnu::noinline]] guard_verdict engine<Policies>::ask_each_scope(flow_key<Address> const& key, side arrival, admission wish) noexcept {
    bool const guarded = guard_.guards(arrival);
    guard_syn const syn = guard_syn_of(key, arrival);
    if (guarded) guard_.note_syn(syn, stamp_, [this](guard_event const& e) { tell_observer(e); });
    if (wish == admission::challenge && arrival == side::outside) {
        bool const proven = guard_.config().method == guard_method::challenge_reset && exempt(key);
        return proven ? guard_verdict::pass : guard_verdict::challenge;
    }
    if (!guarded || wish == admission::admit || spared(key)) return guard_verdict::pass;
    bool challenged = guard_.challenges(syn);
    if (challenged && exempt(key)) {
        challenged = false;
        ++counters_.syns_exempt;
    }
    bool const drops = guard_.drops_early(syn, stamp_, challenged, random_);
    if (guard_.only_counts()) {
        counters_.drops_spared += drops ? 1 : 0;
        counters_.challenges_spared += challenged && !drops ? 1 : 0;
        return guard_verdict::pass;
    }
    if (drops) return guard_verdict::drop;
    return challenged ? guard_verdict::challenge : guard_verdict::pass;
}

template <engine_policies Policies>
void engine<Policies>::tell_observer(guard_event const& event) noexcept {
    if constexpr (requires { policies_.observer.guard_changed(event); }) policies_.observer.guard_changed(event);
}

template <engine_policies Policies>
template <class Address>
[[gnu::noinline]] typename engine<Policies>::decision engine<Policies>::challenge(tcp_packet& t, flow_key<Address> const& key) noexcept {
    guard_config const& config = guard_.config();
    bool const unacceptable = config.method == guard_method::challenge_reset && config.reset_by == reset_by::client;
    decision const d = unacceptable ? send_unacceptable_ack(t, key) : send_cookie(t, key);
    if (d.outcome != verdict::reply) return d;
    ++counters_.cookies_sent;
    if (guard_.counts_challenges()) guard_.note_challenge(guard_syn_of(key, t.f.arrival), stamp_, +1);
    return d;
}

/// A validated source is exempt from now on. Only here: nothing but a proof comes this far.
template <engine_policies Policies>
template <class Address>
void engine<Policies>::note_proven(flow_key<Address> const& key, side arrival) noexcept {
    ++counters_.cookies_valid;
    timeout_ms const lifetime = guard_.config().exempt_time();
    if (!guard_.counts_challenges() && lifetime == 0) return;
    bool const first = lifetime == 0 || exempt_.insert(source_network::of(key.tuple.source, key.zone), now_, lifetime);
    if (first) guard_.note_challenge(guard_syn_of(key, arrival), stamp_, -1);  // a repeated proof answers no challenge of its own
}

namespace detail {

/// What a number of challenge_reset is made from: the tuple alone, for a RST from SYN-SENT tells nothing else.
template <class Address>
[[nodiscard]] cookie_subject reset_subject(flow_key<Address> key) noexcept {
    key.zone |= reset_challenge_zone;
    return subject_of(key, {});
}

/// The options such a number stands for: any, as long as they are always the same.
inline constexpr cookie_options reset_options{.mss = 1460};

}  // namespace detail

/// The SYN becomes an ACK without options, hence never longer, that no client in SYN-SENT accepts.
template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::send_unacceptable_ack(tcp_packet& t, flow_key<Address> const& key) noexcept {
    seq_num const client_isn{t.p.view.tcp().sequence};
    cookie const c = cookies_.make(detail::reset_subject(key), detail::reset_options, detail::is_v6<Address>, now_);
    seq_num const old = c.isn.at_or_before(client_isn) ? c.isn : seq_num{c.isn.value ^ 0x8000'0000u};
    return send_in_place(t, way::back, {.seq = c.isn, .ack = old, .flags = tcp_flag::ack, .window = 0}, {});
}

/// Whether this is the RST with which a client answers send_unacceptable_ack().
template <engine_policies Policies>
template <class Address>
bool engine<Policies>::proves_by_reset(tcp_packet const& t, flow_key<Address> const& key) noexcept {
    guard_config const& config = guard_.config();
    tcp_header const& tcp = t.p.view.tcp();
    if (config.method != guard_method::challenge_reset || config.reset_by != reset_by::client) return false;
    if ((tcp.flags & detail::deciding_flags) != tcp_flag::rst || !honours_cookies(t.f.arrival)) return false;
    constexpr bool v6 = detail::is_v6<Address>;
    cookie_options const expected = cookie_type::layout::decode(cookie_type::layout::encode(detail::reset_options, false, v6), false, v6);
    for (std::uint32_t const top : {0u, 0x8000'0000u}) {
        cookie_echo const echo{seq_num{tcp.sequence ^ top}, std::nullopt};
        auto const options = cookies_.check(detail::reset_subject(key), echo, v6, now_);
        if (options == expected) return checksums_good(t.p, t.f);
    }
    return false;
}

/// The RST is taken: it was meant for us, and no server has anything to do with it.
template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::rst_without_flow(tcp_packet& t, flow_key<Address> const& key) noexcept {
    if (!proves_by_reset(t, key)) return drop(drop_reason::no_flow);
    note_proven(key, t.f.arrival);
    return {verdict::hold};
}

/// challenge_reset by the proxy: the ACK has proved the client, and the connection that it believes in ends here.
template <engine_policies Policies>
template <class Address>
typename engine<Policies>::decision engine<Policies>::reset_proven(tcp_packet& t, flow_key<Address> const& key) noexcept {
    if (!checksums_good(t.p, t.f)) return drop(drop_reason::l4_checksum);
    note_proven(key, t.f.arrival);
    seq_num const expected{t.p.view.tcp().acknowledgment};
    return send_in_place(t, way::back, {.seq = expected, .ack = {}, .flags = tcp_flag::rst, .window = 0}, {});
}

}  // namespace halfproxy
