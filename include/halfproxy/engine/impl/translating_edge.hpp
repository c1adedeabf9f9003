// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/engine/translating_edge.hpp>

#include <algorithm>

namespace halfproxy {

template <class Engine>
translating_edge<Engine>::translating_edge(edge_config const& config, Engine& engine)
    : engine_(engine), identification_(config.nat64 ? static_cast<std::uint16_t>(config.nat64->hosts.seed >> 48) : std::uint16_t{0}) {
    if (config.nat64) {
        hosts_.emplace(config.nat64->hosts);
        prefix_ = nat64_prefix(config.nat64->prefix);
        ipv6_side_ = config.nat64->ipv6_side;
        mtu_ = config.nat64->mtu;
    }
    for (nptv6_config const& p : config.nptv6) prefixes_.emplace_back(p.inside, p.outside);
}

/// A frame that is refused before the engine stays in the burst, for the engine must be called once only: what it has lent to the outbox is its
/// own again with the next call. It is shown as a frame nobody looks into, and its verdict is overruled afterwards.
template <class Engine>
void translating_edge<Engine>::process(std::span<frame> burst, time_point now, outbox& out) noexcept {
    if (!active()) return engine_.process(burst, now, out);
    now_ = std::max(now_, now);
    std::size_t const first = out.frames().size();
    std::array<drop_reason, edge_burst> refusals{};
    for (std::size_t i = 0; i < burst.size(); ++i) {
        links_[i] = link_ = burst[i].link;
        refusals[i] = enter(burst[i]);
        if (refusals[i] != drop_reason::none) burst[i].link = link_type::unsupported;
    }
    engine_.process(burst, now, out);
    for (std::size_t i = 0; i < burst.size(); ++i) {
        frame& f = burst[i];
        f.link = links_[i];
        if (refusals[i] == drop_reason::none && f.outcome == verdict::forward) refusals[i] = leave(f, other(f.arrival));
        if (refusals[i] == drop_reason::none && f.outcome == verdict::reply) refusals[i] = leave(f, f.arrival);
        if (refusals[i] != drop_reason::none) refuse_after(f, refusals[i]);
    }
    leave_originated(out, first);
}

template <class Engine>
void translating_edge<Engine>::advance(time_point now, outbox& out) noexcept {
    std::size_t const first = out.frames().size();
    engine_.advance(now, out);
    if (active()) leave_originated(out, first);
}

namespace detail {

/// What may stand behind a NAT64: no group, no host of this link alone, none without address (RFC 4291 section 2.5).
[[nodiscard]] inline bool may_be_nat64_host(ipv6_bytes const& a) noexcept {
    bool const link_local = a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
    bool const unspecified_or_loopback = std::all_of(a.begin(), a.end() - 1, [](std::uint8_t b) { return b == 0; }) && a[15] <= 1;
    return a[0] != 0xff && !link_local && !unspecified_or_loopback;
}

}  // namespace detail

template <class Engine>
drop_reason translating_edge<Engine>::enter(frame& f) noexcept {
    packet_view const packet = parse(f.link, f.bytes(), f.wire_length);
    if (!packet.is_ip()) return drop_reason::none;
    if (hosts_ && f.arrival == ipv6_side_)
        if (drop_reason const why = enter_nat64(f, packet); why != drop_reason::none) return why;
    if (f.arrival != side::outside || packet.layout().ip_version != 6) return drop_reason::none;
    return exchange_prefix([&packet](nptv6 const& p) { return translate_inbound(packet, p); });
}

/// From the IPv6 hosts. What does not go to the prefix is not for NAT64.
template <class Engine>
drop_reason translating_edge<Engine>::enter_nat64(frame& f, packet_view const& packet) noexcept {
    if (packet.layout().ip_version == 4) {
        bool const has_header = f.length >= packet.layout().network_offset + sizeof(ipv4_header);
        return has_header && hosts_->is_shadow(packet.ipv4().source) ? drop_reason::ip_source : drop_reason::none;
    }
    ipv6_bytes const source = packet.ipv6().source;
    if (!prefix_.prefix().contains(ip_address::v6(packet.ipv6().destination))) return drop_reason::none;
    bool const of_prefix = prefix_.prefix().contains(ip_address::v6(source));  // would come back for ever (RFC 6146 section 3.5)
    if (of_prefix || !detail::may_be_nat64_host(source)) return drop_reason::ip_source;
    nat64_host_addresses map(prefix_, *hosts_, now_, &source);
    nat64_refusal const why = translate_to_v4(f, packet, map, mtu_, ++identification_);
    if (why != nat64_refusal::none) return refused(why, packet, map.full());
    ++counters_.nat64_to_v4;
    return drop_reason::none;
}

template <class Engine>
drop_reason translating_edge<Engine>::leave(frame& f, side exit) noexcept {
    packet_view const packet = parse(f.link, f.bytes(), f.wire_length);
    if (hosts_ && exit == ipv6_side_ && packet.layout().ip_version == 4) return leave_nat64(f, packet);
    if (exit != side::outside || packet.layout().ip_version != 6) return drop_reason::none;
    return exchange_prefix([&packet](nptv6 const& p) { return translate_outbound(packet, p); });
}

/// To the IPv6 hosts.
template <class Engine>
drop_reason translating_edge<Engine>::leave_nat64(frame& f, packet_view const& packet) noexcept {
    bool const has_header = f.length >= packet.layout().network_offset + sizeof(ipv4_header);
    if (!has_header || !hosts_->is_shadow(packet.ipv4().destination)) return drop_reason::none;
    nat64_host_addresses map(prefix_, *hosts_, now_, nullptr);
    nat64_refusal const why = translate_to_v6(f, packet, map, mtu_);
    if (why != nat64_refusal::none) return refused(why, packet, false);
    ++counters_.nat64_to_v6;
    return drop_reason::none;
}

template <class Engine>
template <class Translate>
drop_reason translating_edge<Engine>::exchange_prefix(Translate translate) noexcept {
    for (nptv6 const& p : prefixes_) {
        nptv6_outcome const outcome = translate(p);
        if (outcome == nptv6_outcome::untouched) continue;
        bool const translated = outcome == nptv6_outcome::translated;
        ++(translated ? counters_.nptv6_translated : counters_.nptv6_refused);
        return translated ? drop_reason::none : drop_reason::untranslatable;
    }
    return drop_reason::none;
}

template <class Engine>
drop_reason translating_edge<Engine>::refused(nat64_refusal why, packet_view const& packet, bool full) noexcept {
    ++counters_.nat64_refused[static_cast<std::size_t>(why)];
    if (full) return drop_reason::nat64_hosts_full;
    if (why == nat64_refusal::frame_room) return drop_reason::frame_room;
    if (why == nat64_refusal::malformed && packet.layout().error != drop_reason::none) return packet.layout().error;
    return drop_reason::untranslatable;
}

/// The engine has counted it under its own verdict.
template <class Engine>
void translating_edge<Engine>::refuse_after(frame& f, drop_reason why) noexcept {
    ++taken_back_[static_cast<std::size_t>(f.outcome)];
    ++dropped_[static_cast<std::size_t>(why)];
    f.outcome = verdict::drop;
    f.reason = why;
}

template <class Engine>
engine_counters translating_edge<Engine>::counters() const noexcept {
    engine_counters c = engine_.counters();
    c.forwarded -= taken_back_[static_cast<std::size_t>(verdict::forward)];
    c.replied -= taken_back_[static_cast<std::size_t>(verdict::reply)];
    c.originated -= counters_.originated_lost;
    for (std::size_t i = 0; i < drop_reason_count; ++i) c.dropped[i] += dropped_[i];
    return c;
}

template <class Engine>
void translating_edge<Engine>::leave_originated(outbox& out, std::size_t first) noexcept {
    out.keep_if(first, [this](outbox_frame& o) {
        frame own = o.written(link_);
        bool const lost = leave(o.lent != nullptr ? *o.lent : own, o.exit) != drop_reason::none;
        o.length = o.lent != nullptr ? o.lent->length : own.length;
        counters_.originated_lost += lost ? 1 : 0;
        return !lost;
    });
}

}  // namespace halfproxy
