// SPDX-License-Identifier: BSL-1.0
// The path of a packet: read all, look up all, act on each.
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/engine/engine.hpp>

#include <algorithm>
#include <new>

namespace halfproxy {

template <engine_policies Policies>
engine<Policies>::engine(engine_config const& config, Policies policies)
    : config_(config), checks_(config.tracking.checks()), policies_(std::move(policies)), guard_(config.guard),
      cookies_(config.secret, config.guard.key_rotation, config.common_clock), resets_(config.splice.resets_per_second),
      v4_(config.limits.flows_v4, config.seed, config.memory), v6_(config.limits.flows_v6, config.seed, config.memory),
      handshakes_(config.limits.handshakes), held_(config.splice.held_segments, config.splice.held_bytes),
      pieces_(leads_flows ? config.limits.tunnel_pieces : 0, config.limits.tunnel_piece_bytes), identification_(static_cast<std::uint16_t>(config.seed >> 48)),
      too_bigs_(config.limits.too_big_per_second),
      fragments_v4_(limits_of_fragments(config), config.seed), fragments_v6_(limits_of_fragments(config), config.seed),
      configured_(config.splice.backends, config.seed),
      learned_(config.splice.learn ? config.splice.learned_servers : 0, config.splice.learned_age, config.seed),
      exempt_(exempt_sources(config.guard), config.seed), source_limits_(config.limits.per_source, config.seed), random_(config.seed) {
    config_.promise.mss_v4 = std::min(config_.promise.mss_v4, config_.normalize.mss_ceiling_v4);
    config_.promise.mss_v6 = std::min(config_.promise.mss_v6, config_.normalize.mss_ceiling_v6);
    for (configured_backend const& b : config_.splice.backends) announces_by_config_ |= b.profile.announce != proxy_protocol::none;
    config_.secret = {};  // cookies_ has it
    use_rules();
}

template <engine_policies Policies>
void engine<Policies>::use_rules() {
    acl_ = acl(config_.rules);
    any_fast_rule_ = std::any_of(config_.rules.begin(), config_.rules.end(), [](acl_rule const& rule) { return rule.action == rule_action::fast; });
    auto const rules = static_cast<std::uint32_t>(config_.rules.size());
    swept_per_advance_ = std::clamp(rules_asked_per_advance / std::max(rules, 1u), 1u, flows_swept_per_advance);
}

template <engine_policies Policies>
void engine<Policies>::configure(engine_config const& next) {
    bool const other_rate = next.splice.resets_per_second != config_.splice.resets_per_second;
    config_ = changed(config_, next);
    checks_ = config_.tracking.checks();
    guard_.configure(config_.guard);
    source_limits_.configure(config_.limits.per_source);
    if (other_rate) resets_ = token_bucket(config_.splice.resets_per_second);
    use_rules();
    if (config_.tracking.denied_sessions == denied_sessions::end && !config_.rules.empty()) swept_v4_ = swept_v6_ = 0;
}

template <engine_policies Policies>
void engine<Policies>::process(std::span<frame> burst, time_point now, outbox& out) noexcept {
    begin(now);
    begin_fragments(out);
    for (; burst.size() > max_burst; burst = burst.subspan(max_burst)) process_piece(burst.first(max_burst), out);
    process_piece(burst, out);
    send_pieces(out);
}

template <engine_policies Policies>
void engine<Policies>::process_piece(std::span<frame> burst, outbox& out) noexcept {
    read(burst);
    look_up(burst);
    check_cookies(burst);
    // Other checks are asked for where a segment fails one; this one needs every segment's timestamps.
    if (checks_.has(tcp_check::timestamps))
        act_on_all<chosen_checks<true>>(burst, out);
    else
        act_on_all<chosen_checks<false>>(burst, out);
    write_cookies<std::uint32_t>();
    write_cookies<ipv6_bytes>();
}

namespace detail {

/// Stamps are compared by their distance, which must stay under 2^31 ms. A jump of the clock beyond 12.4 days therefore counts as one of 12.4 days:
/// every flow with a shorter timeout is over, and none looks as if it were from the future.
inline constexpr std::uint64_t farthest_jump_ns = (std::uint64_t{1} << 30) * 1'000'000;

}  // namespace detail

/// Time does not run backwards: an earlier time than the last is taken as the last.
template <engine_policies Policies>
void engine<Policies>::begin(time_point now) noexcept {
    if (!started_) {
        now_ = now;
        started_ = true;
    }
    held_.reclaim();
    pieces_.reclaim();
    cuts_ = !pieces_queue_.empty();
    any_announced_ = announces_by_config_;
    if constexpr (leads_flows) any_announced_ |= policies_.addresses.tells();
    if (now > now_) {
        auto const step = static_cast<std::uint64_t>(now.time_since_epoch().count()) - static_cast<std::uint64_t>(now_.time_since_epoch().count());
        elapsed_ns_ += std::min(step, detail::farthest_jump_ns);
        now_ = now;
    }
    stamp_ = {static_cast<std::uint32_t>(elapsed_ns_ / 1'000'000)};
    cookies_.turn_to(now_);
    guard_.tick(stamp_, [this](guard_event const& e) { tell_observer(e); });
}

namespace detail {

/// The first two cache lines hold every header up to TCP's options. In a receive ring each frame lies on pages of its own: their
/// misses are waited for together, not one by one.
inline void prefetch_headers(std::span<frame const> burst) noexcept {
    for (frame const& f : burst) {
        __builtin_prefetch(f.data, 1);
        __builtin_prefetch(f.data + 64, 1);
    }
}

}  // namespace detail

/// Parses every frame, computes its key and hash, and starts fetching its index bucket.
template <engine_policies Policies>
void engine<Policies>::read(std::span<frame> burst) noexcept {
    detail::prefetch_headers(burst);
    for (std::size_t i = 0; i < burst.size(); ++i) read_one(i, burst[i]);
}

namespace detail {

[[nodiscard]] inline bool is_query(packet_view const& view) noexcept { return view.is_icmp() && is_icmp_query(view); }

[[nodiscard]] inline bool is_redirect(packet_view const& view) noexcept {
    return view.icmp().type == (view.layout().ip_version == 4 ? 5 : 137);
}

/// Where a flow's packets carry ports: TCP and UDP begin with them; an ICMP query's identifier stands for both. Others have none.
HALFPROXY_ALWAYS_INLINE void read_ports(packet_view const& view, std::uint16_t& source, std::uint16_t& destination) noexcept {
    std::uint8_t const* const transport = view.bytes().data() + view.layout().transport_offset;
    std::uint8_t const protocol = view.layout().protocol;
    if (protocol == ip_protocol::tcp || protocol == ip_protocol::udp) [[likely]] {
        source = header_at<big16>(transport);
        destination = header_at<big16>(transport + 2);
    } else {
        source = destination = is_query(view) ? std::uint16_t{header_at<big16>(transport + 4)} : std::uint16_t{0};
    }
}

HALFPROXY_ALWAYS_INLINE void read_tuple(packet_view const& view, ipv4_tuple& tuple) noexcept {
    tuple.source = view.ipv4().source;
    tuple.destination = view.ipv4().destination;
    read_ports(view, tuple.source_port, tuple.destination_port);
}

HALFPROXY_ALWAYS_INLINE void read_tuple(packet_view const& view, ipv6_tuple& tuple) noexcept {
    tuple.source = view.ipv6().source;
    tuple.destination = view.ipv6().destination;
    read_ports(view, tuple.source_port, tuple.destination_port);
}

template <class Address>
[[nodiscard]] HALFPROXY_ALWAYS_INLINE flow_key<Address> key_of(packet_view const& view, std::uint16_t zone) noexcept {
    flow_key<Address> key;
    read_tuple(view, key.tuple);
    key.zone = zone;
    key.protocol = view.layout().protocol;
    return key;
}

/// key_of() what parse_usual() or parse_usual_v6() has recognized: no VLAN, TCP directly behind the header at `ip`.
template <class Address>
[[nodiscard]] HALFPROXY_ALWAYS_INLINE flow_key<Address> usual_tcp_key(std::uint8_t const* ip) noexcept {
    using header = std::conditional_t<std::is_same_v<Address, std::uint32_t>, ipv4_header, ipv6_header>;
    auto const& network = header_at<header>(ip);
    auto const& tcp = header_at<tcp_header>(ip + sizeof(header));
    return {{network.source, network.destination, tcp.source_port, tcp.destination_port}, 0, ip_protocol::tcp};
}

/// verify_ipv4_header() of a header known to have no options.
[[nodiscard]] HALFPROXY_ALWAYS_INLINE bool fixed_header_sum_good(std::uint8_t const* ip) noexcept {
    return memory_sum{}.add_fixed<sizeof(ipv4_header)>(ip).folded() == 0xffff;
}

template <class Address>
[[nodiscard]] Address source_of(packet_view const& view) noexcept {
    if constexpr (std::is_same_v<Address, std::uint32_t>)
        return view.ipv4().source;
    else
        return view.ipv6().source;
}

template <class Address>
[[nodiscard]] Address destination_of(packet_view const& view) noexcept {
    if constexpr (std::is_same_v<Address, std::uint32_t>)
        return view.ipv4().destination;
    else
        return view.ipv6().destination;
}

[[nodiscard]] inline ip_address to_address(std::uint32_t address) noexcept { return ip_address::v4(address); }
[[nodiscard]] inline ip_address to_address(ipv6_bytes const& address) noexcept { return ip_address::v6(address); }

}  // namespace detail

template <engine_policies Policies>
HALFPROXY_ALWAYS_INLINE void engine<Policies>::read_one(std::size_t i, frame& f) noexcept {
    packet& p = packets_[i];
    p.candidate = {};
    p.cookie = cookie_finding::unchecked;
    p.kind = packet_kind::tcp;
    if (f.link == link_type::ethernet) [[likely]] {
        std::uint8_t const* const ip = f.data + sizeof(ethernet_header);
        if (parse_usual(f.bytes(), f.wire_length, p.view) && (f.offload.checksum == checksum_state::partial || detail::fixed_header_sum_good(ip))) [[likely]]
            return begin_look_up(i, p, detail::usual_tcp_key<std::uint32_t>(ip));
        if (parse_usual_v6(f.bytes(), f.wire_length, p.view)) return begin_look_up(i, p, detail::usual_tcp_key<ipv6_bytes>(ip));
    }
    ::new (static_cast<void*>(&p.view)) packet_view(parse(f.link, f.bytes(), f.wire_length));  // in place: no copy
    classify(p, f);
    if (p.kind != packet_kind::tcp && p.kind != packet_kind::datagram) return;
    if (p.view.layout().ip_version == 4)
        begin_look_up(i, p, detail::key_of<std::uint32_t>(p.view, p.view.layout().vlan_id()));
    else
        begin_look_up(i, p, detail::key_of<ipv6_bytes>(p.view, p.view.layout().vlan_id()));
}

template <engine_policies Policies>
template <class Address>
HALFPROXY_ALWAYS_INLINE void engine<Policies>::begin_look_up(std::size_t i, packet& p, flow_key<Address> const& k) noexcept {
    key<Address>(i) = k;
    p.hash = store<Address>().table.hash(k);
    store<Address>().table.prefetch_bucket(p.hash);
}

/// The IPv4 header's. A device that is to finish the transport checksum was handed the packet by a host, not by a wire.
template <engine_policies Policies>
HALFPROXY_ALWAYS_INLINE bool engine<Policies>::header_sum_good(packet const& p, frame const& f) const noexcept {
    return f.offload.checksum == checksum_state::partial || verify_ipv4_header(p.view) != checksum_verdict::bad;
}

template <engine_policies Policies>
void engine<Policies>::classify(packet& p, frame const& f) const noexcept {
    packet_layout const& l = p.view.layout();
    p.kind = packet_kind::foreign;
    p.error = l.error;
    if (l.error != drop_reason::none && !is_tiny_fragment(p.view)) {
        p.kind = packet_kind::malformed;
    } else if (!p.view.is_ip()) {
        return;
    } else if (l.ip_version == 4 && !header_sum_good(p, f)) {
        p.kind = packet_kind::malformed;
        p.error = drop_reason::ip_checksum;
    } else if (l.is_fragment() && classify_fragment(p)) {
        return;
    } else {
        p.kind = kind_of_whole(p.view);
    }
}

/// Reads every bucket and starts fetching the record it points to.
template <engine_policies Policies>
void engine<Policies>::look_up(std::span<frame const> burst) noexcept {
    v4_.generation_at_look_up = v4_.table.generation();
    v6_.generation_at_look_up = v6_.table.generation();
    for (std::size_t i = 0; i < burst.size(); ++i) {
        packet& p = packets_[i];
        if (p.kind < packet_kind::tcp) continue;
        if (p.view.layout().ip_version == 4)
            look_up_one<std::uint32_t>(i, burst[i]);
        else
            look_up_one<ipv6_bytes>(i, burst[i]);
    }
}

template <engine_policies Policies>
template <class Address>
HALFPROXY_ALWAYS_INLINE void engine<Policies>::look_up_one(std::size_t i, frame const& f) noexcept {
    packet& p = packets_[i];
    auto& table = store<Address>().table;
    p.candidate = table.candidate(p.hash);
    table.prefetch_record(p.candidate);
    if constexpr (foreseeing_address_policy<std::remove_reference_t<decltype(policies_.addresses)>>) {
        bool const may_open = p.kind == packet_kind::datagram || (p.view.tcp().flags & tcp_flag::syn) != 0;
        flow_key<Address> const& k = key<Address>(i);
        if (!p.candidate && may_open) policies_.addresses.expect(flow_request<Address>{k.tuple, k.zone, k.protocol, f.arrival, false});
    }
}

template <engine_policies Policies>
template <tcp_checks Checks>
void engine<Policies>::act_on_all(std::span<frame> burst, outbox& out) noexcept {
    for (std::size_t i = 0; i < burst.size(); ++i) {
        if constexpr (leads_flows) {
            burst[i].via = 0;
            decision const d = act<Checks>(i, burst[i], out);
            count(burst[i], burst[i].via == 0 ? d : enter_tunnel(burst[i], d));
        } else {
            count(burst[i], act<Checks>(i, burst[i], out));
        }
    }
}

template <engine_policies Policies>
template <tcp_checks Checks>
HALFPROXY_ALWAYS_INLINE typename engine<Policies>::decision engine<Policies>::act(std::size_t i, frame& f, outbox& out) noexcept {
    packet& p = packets_[i];
    bool const v4 = p.view.layout().ip_version == 4;
    if (p.kind >= packet_kind::tcp) [[likely]]
        return v4 ? act_on_flow_packet<Checks, std::uint32_t>(i, f, out) : act_on_flow_packet<Checks, ipv6_bytes>(i, f, out);
    switch (p.kind) {
        case packet_kind::icmp_error: return v4 ? icmp_error<std::uint32_t>(p, f) : icmp_error<ipv6_bytes>(p, f);
        case packet_kind::fragment: return v4 ? fragment<Checks, std::uint32_t>(p, f, out) : fragment<Checks, ipv6_bytes>(p, f, out);
        case packet_kind::later_fragment: return later_fragment();
        case packet_kind::malformed: return malformed(p.error);
        default: return forwarded;
    }
}

/// The candidate was read before this burst's earlier packets acted: it is confirmed against the table as it is now.
template <engine_policies Policies>
template <tcp_checks Checks, class Address>
typename engine<Policies>::decision engine<Policies>::act_on_flow_packet(std::size_t i, frame& f, outbox& out) noexcept {
    packet& p = packets_[i];
    flow_key<Address> const& k = key<Address>(i);
    flow_store<Address> const& s = store<Address>();
    flow_handle found;  // no candidate and no change since: no flow
    if (s.table.generation() != s.generation_at_look_up)
        found = s.table.find(k, p.hash);
    else if (p.candidate)
        found = s.table.confirm(k, p.hash, p.candidate);
    if (p.kind == packet_kind::datagram) return datagram(p, f, k, found);
    if (found && passes_as_predicted<Checks, Address>(p, f, found)) [[likely]]
        return forwarded;
    return tcp<Checks>(p, f, out, k, found);
}

template <engine_policies Policies>
typename engine<Policies>::decision engine<Policies>::malformed(drop_reason reason) noexcept {
    if (config_.normalize.malformed == malformed_policy::drop) return drop(reason);
    ++counters_.malformed_passed[static_cast<std::size_t>(reason)];
    return forwarded;
}

/// Options that are wrong, or that few segments carry.
template <engine_policies Policies>
HALFPROXY_RARE typename engine<Policies>::decision engine<Policies>::rare_options(tcp_packet& t) noexcept {
    bool const is_syn = (t.p.view.tcp().flags & tcp_flag::syn) != 0;  // Fast Open's option means nothing on others
    if (is_syn && config_.normalize.fast_open == fast_open_policy::strip) {
        header_changes changes;
        blank_fast_open(t.p.view, changes);
        incremental_checksum::commit(t.p.view, changes, t.f.offload.checksum);
    }
    return t.options.malformed ? malformed(drop_reason::tcp_options) : forwarded;
}

/// Where fragments are not to be reassembled: a later one carries no ports and can only be let through or not. Under address translation it
/// would leak an untranslated address.
template <engine_policies Policies>
typename engine<Policies>::decision engine<Policies>::later_fragment() const noexcept {
    constexpr bool translates = !std::is_same_v<decltype(Policies::addresses), keep_addresses>;
    if (translates || config_.normalize.fragments == fragment_policy::drop) return drop(drop_reason::fragment_denied);
    return forwarded;
}

template <engine_policies Policies>
HALFPROXY_ALWAYS_INLINE void engine<Policies>::count(frame& f, decision const& d) noexcept {
    f.outcome = d.outcome;
    f.reason = d.reason;
    ++counters_.received;
    switch (d.outcome) {
        case verdict::forward: ++counters_.forwarded; return;
        case verdict::reply: ++counters_.replied; return;
        case verdict::hold: ++counters_.held; return;
        case verdict::drop:
            ++counters_.dropped[static_cast<std::size_t>(d.reason)];
            policies_.observer.dropped(f, d.reason);
            return;
    }
}

template <engine_policies Policies>
template <class Address>
flow_key<Address>& engine<Policies>::key(std::size_t i) noexcept {
    if constexpr (std::is_same_v<Address, std::uint32_t>)
        return v4_keys_[i];
    else
        return v6_keys_[i];
}

template <engine_policies Policies>
template <class Address>
typename engine<Policies>::template cookie_work<Address>& engine<Policies>::work() noexcept {
    if constexpr (std::is_same_v<Address, std::uint32_t>)
        return v4_work_;
    else
        return v6_work_;
}

template <engine_policies Policies>
template <class Address>
flow_store<Address>& engine<Policies>::store() noexcept {
    if constexpr (std::is_same_v<Address, std::uint32_t>)
        return v4_;
    else
        return v6_;
}

template <engine_policies Policies>
template <class Address>
flow_store<Address> const& engine<Policies>::store() const noexcept {
    if constexpr (std::is_same_v<Address, std::uint32_t>)
        return v4_;
    else
        return v6_;
}

}  // namespace halfproxy
