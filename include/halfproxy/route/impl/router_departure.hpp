// SPDX-License-Identifier: BSL-1.0
// After the engine: route, MTU, next hop, link addresses. And what the router itself sends.
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/route/router.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace halfproxy {

namespace detail {

[[nodiscard]] inline std::vector<local_address> own_addresses(router_config const& config) {
    std::vector<local_address> own;
    for (port_address const& a : config.addresses) own.push_back({a.address, a.port});
    own.insert(own.end(), config.answered.begin(), config.answered.end());
    return own;
}

[[nodiscard]] inline std::vector<ip_address> broadcasts_of(router_config const& config) {
    std::vector<ip_address> all;
    for (port_address const& a : config.addresses)
        if (ip_address const b = broadcast_of(a); b.version != 0) all.push_back(b);
    return all;
}

[[nodiscard]] inline neighbour_config seeded(neighbour_config config, std::uint64_t seed) noexcept {
    config.seed = seed;
    return config;
}

/// Of the IP packet, or of each piece the device will cut it into.
[[nodiscard]] inline std::uint32_t packet_bytes(frame const& f, const_packet_view const& packet) noexcept {
    packet_layout const& l = packet.layout();
    if (f.offload.segment_size == 0) return l.datagram_end - l.network_offset;
    return std::uint32_t{l.payload_offset} - l.network_offset + f.offload.segment_size;
}

}  // namespace detail

inline void router_config::answer_for(std::span<ip_address const> taken, bool echo) {
    for (ip_address const& a : taken)
        if (auto const on = port_of(a, addresses)) answered.push_back({a, *on, true, echo});
}

inline router::router(router_config const& config)
    : config_(config), routes_(config.addresses, config.routes), own_(detail::own_addresses(config)), locals_(own_, config.seed),
      broadcasts_(detail::broadcasts_of(config)), neighbours_(detail::seeded(config.neighbours, config.seed)),
      errors_(error_slots, max_icmp_error_frame), icmp_(config.icmp_per_second), echo_(config.icmp_per_second) {}

inline void router::configure(router_config const& next) {
    router_config config = config_;
    config.addresses = next.addresses;
    config.routes = next.routes;
    config.answered = next.answered;
    config.unreachable = next.unreachable;
    route_table routes(config.addresses, config.routes);
    std::vector<local_address> own = detail::own_addresses(config);
    local_addresses locals(own, config.seed);
    std::vector<ip_address> broadcasts = detail::broadcasts_of(config);
    // Nothing can fail from here on.
    config_ = std::move(config);
    routes_ = std::move(routes);
    own_ = std::move(own);
    locals_ = std::move(locals);
    broadcasts_ = std::move(broadcasts);
    defended_.reset();
    announced_ = 0;
    rounds_ = 0;
    announce_at_ = now_;
}

inline departure router::depart(frame& f, side engine_exit, bool tell, ip_address const& next_hop) noexcept {
    departure const d = find_way(f, engine_exit, tell, next_hop);
    if (d.outcome == verdict::drop) ++counters_.dropped[static_cast<std::size_t>(d.reason)];
    if (std::uint64_t const gave_way = neighbours_.dropped(); gave_way != gave_way_) {
        counters_.dropped[static_cast<std::size_t>(drop_reason::neighbour_queue_full)] += gave_way - gave_way_;
        gave_way_ = gave_way;
    }
    return d;
}

namespace detail {

/// Of a frame the engine let pass: usually whole, with malformed packets let through anything.
[[nodiscard]] inline drop_reason read_destination(frame const& f, ip_address& destination) noexcept {
    std::uint8_t const* const at = f.data;
    std::uint16_t const type = f.length < sizeof(ethernet_header) ? std::uint16_t{0} : std::uint16_t{header_at<ethernet_header>(at).type};
    std::size_t const room = f.length - std::min<std::size_t>(f.length, sizeof(ethernet_header));
    std::uint8_t const* const ip = at + sizeof(ethernet_header);
    if (type == ether_type::ipv4 && room >= sizeof(ipv4_header) && ip[0] >> 4 == 4) {
        destination = ip_address::v4(header_at<ipv4_header>(ip).destination);
        return drop_reason::none;
    }
    if (type == ether_type::ipv6 && room >= sizeof(ipv6_header) && ip[0] >> 4 == 6) {
        destination = ip_address::v6(header_at<ipv6_header>(ip).destination);
        return drop_reason::none;
    }
    drop_reason const error = parse<link_type::ethernet>(byte_view(f.bytes()), f.wire_length).layout().error;
    return error != drop_reason::none ? error : drop_reason::protocol_not_routed;
}

}  // namespace detail

inline departure router::find_way(frame& f, side engine_exit, bool tell, ip_address const& next_hop) noexcept {
    ip_address destination;
    if (drop_reason const error = detail::read_destination(f, destination); error != drop_reason::none) return {verdict::drop, engine_exit, error};
    if (next_hop.version != 0) destination = next_hop;
    route const* const r = routes_.find(destination);
    if (r == nullptr) {
        if (tell && config_.unreachable == unreachable_policy::icmp) tell_sender(f, engine_exit, icmp_problem::no_route);
        return {verdict::drop, engine_exit, drop_reason::no_route};
    }
    if (r->on_link()) {
        if (locals_.find(destination) != nullptr) return {verdict::drop, engine_exit, drop_reason::local_destination};
        if (is_broadcast(destination)) return {verdict::drop, engine_exit, drop_reason::scope_not_forwarded};
    }
    std::uint32_t const mtu = port(r->exit).mtu;
    if (f.length > sizeof(ethernet_header) + mtu) {
        const_packet_view const packet = parse<link_type::ethernet>(byte_view(f.bytes()), f.wire_length);
        if (detail::packet_bytes(f, packet) > mtu) {
            // Of IPv4 packets that may be fragmented the sender does not expect this answer (RFC 1191 section 3).
            bool const expects = packet.layout().ip_version == 6 || (packet.ipv4().fragment & ipv4_fragment::dont) != 0;
            if (tell && expects) tell_sender(f, engine_exit, icmp_problem::packet_too_big, mtu);
            return {verdict::drop, engine_exit, drop_reason::packet_too_big};
        }
    }
    return to_neighbour(f, r->on_link() ? destination : r->via, r->exit, engine_exit, tell);
}

inline departure router::to_neighbour(frame& f, ip_address const& next_hop, side exit, side engine_exit, bool tell) noexcept {
    neighbour* const n = neighbours_.use(exit, next_hop, now_);
    if (n == nullptr) return {verdict::drop, exit, drop_reason::neighbour_queue_full};
    if (n->has_mac()) [[likely]] {
        write_link(f.data, exit, n->mac);
        return {verdict::forward, exit, drop_reason::none};
    }
    // The copy keeps what is needed to tell its sender, should the neighbour not answer.
    frame copy = f;
    copy.arrival = engine_exit;
    copy.outcome = tell ? verdict::forward : verdict::reply;
    drop_reason const refused = neighbours_.wait(*n, copy);
    if (refused == drop_reason::none) return ++counters_.waited, departure{verdict::hold, exit, drop_reason::none};
    if (refused == drop_reason::neighbour_unresolved && tell && config_.unreachable == unreachable_policy::icmp)
        tell_sender(f, engine_exit, icmp_problem::host_unreachable);
    return {verdict::drop, exit, refused};
}

inline bool router::is_broadcast(ip_address const& a) const noexcept {
    return a.version == 4 && std::find(broadcasts_.begin(), broadcasts_.end(), a) != broadcasts_.end();
}

/// The packet is lost in any case, so the error is made of it in its own buffer, and kept until the engine can see it.
HALFPROXY_RARE void router::tell_sender(frame const& f, side engine_exit, icmp_problem problem, std::uint32_t mtu) noexcept {
    const_packet_view const packet = parse<link_type::ethernet>(byte_view(f.bytes()), f.wire_length);
    ip_address const source = address_on(other(engine_exit), packet.layout().ip_version);
    if (source.version == 0 || !may_be_answered(packet)) return;
    if (!icmp_.take(stamp())) {
        ++counters_.answers_limited;
        return;
    }
    frame error = f;
    error.arrival = engine_exit;
    if (!become_icmp_error(error, packet, problem, source, mtu) || !errors_.keep(errors_queue_, error)) return;
    ++(problem == icmp_problem::packet_too_big ? counters_.too_big_sent : counters_.unreachable_sent);
}

inline std::size_t router::begin_errors(std::span<frame> errors) noexcept {
    std::size_t count = 0;
    frame_queue looked_at;
    while (count < errors.size() && !errors_queue_.empty()) {
        errors[count++] = errors_.front(errors_queue_);
        errors_.move_front(errors_queue_, looked_at);
    }
    while (!errors_queue_.empty()) errors_.move_front(errors_queue_, looked_at);
    errors_queue_ = looked_at;
    return count;
}

template <class NextHop>
void router::end_errors(std::span<frame const> errors, outbox& out, NextHop const& next_hop) noexcept {
    for (frame const& decided : errors) {
        frame f = decided;
        bool const leaves = f.outcome == verdict::forward || f.outcome == verdict::reply;
        departure const d = leaves ? depart(f, f.outcome == verdict::forward ? other(f.arrival) : f.arrival, false, next_hop(f.via)) : departure{verdict::drop, {}, {}};
        errors_.front(errors_queue_) = f;
        if (d.outcome != verdict::forward || !errors_.lend_front(errors_queue_, d.exit, out)) errors_.drop_front(errors_queue_);
    }
}

template <class NextHop>
void router::depart(outbox& out, std::size_t first, NextHop const& next_hop) noexcept {
    out.keep_if(first, [&](outbox_frame& o) {
        frame f = o.lent != nullptr ? *o.lent : o.written(link_type::ethernet);
        departure const d = depart(f, o.exit, false, next_hop(o.via));
        o.exit = d.exit;
        return d.outcome == verdict::forward;
    });
}

inline void router::write_link(std::uint8_t* frame, side exit, mac_address const& to) const noexcept {
    auto& link = header_at<ethernet_header>(frame);
    link.destination = to;
    link.source = port(exit).mac;
}

inline void router::finish(outbox& out) noexcept {
    neighbours_.run(
        now_, [&](neighbour const& n, mac_address const* at) { return ask(n, at, out); },
        [&](frame& f) {
            ++counters_.dropped[static_cast<std::size_t>(drop_reason::neighbour_unresolved)];
            if (f.outcome == verdict::forward && config_.unreachable == unreachable_policy::icmp)
                tell_sender(f, f.arrival, icmp_problem::host_unreachable);
        });
    if (defended_ && announce(*defended_, out)) defended_.reset();
    announce_next(out);
}

inline bool router::ask(neighbour const& n, mac_address const* at, outbox& out) noexcept {
    outbox_frame* const o = out.claim(n.port);
    if (o == nullptr) return false;
    link_identity const ours{port(n.port).mac, address_towards(n.port, n.address)};
    o->length = static_cast<std::uint32_t>(build_question(o->data, ours, n.address, at != nullptr ? std::optional(*at) : std::nullopt));
    ++counters_.questions_sent;
    return true;
}

inline bool router::announce(local_address const& own, outbox& out) noexcept {
    outbox_frame* const o = out.claim(own.port);
    if (o == nullptr) return false;
    o->length = static_cast<std::uint32_t>(build_announcement(o->data, {port(own.port).mac, own.address}));
    ++counters_.announcements_sent;
    return true;
}

inline void router::announce_next(outbox& out) noexcept {
    if (rounds_ == announcement_rounds || announce_at_ > now_) return;
    for (std::uint32_t n = 0; n < announcements_per_call && announced_ < own_.size(); ++n, ++announced_)
        if (!announce(own_[announced_], out)) return;
    if (announced_ < own_.size()) return;
    announced_ = 0;
    ++rounds_;
    announce_at_ = now_ + announcement_interval;
}

inline std::optional<time_point> router::next_deadline() const noexcept {
    std::optional<time_point> due = neighbours_.next_deadline();
    auto const also = [&due](time_point t) { due = due ? std::min(*due, t) : t; };
    if (rounds_ != announcement_rounds) also(announce_at_);
    if (defended_ || errors_waiting()) also(now_);
    return due;
}

inline ip_address router::address_on(side wanted, std::uint8_t version) const noexcept {
    ip_address elsewhere;
    for (port_address const& a : config_.addresses) {
        if (a.address.version != version || is_link_local(a.address)) continue;
        if (a.port == wanted) return a.address;
        if (elsewhere.version == 0) elsewhere = a.address;
    }
    return elsewhere;
}

inline ip_address router::address_towards(side exit, ip_address const& neighbour) const noexcept {
    ip_address found = address_on(exit, neighbour.version);
    int longest = -1;
    for (port_address const& a : config_.addresses) {
        if (a.port != exit || !a.on_link().contains(neighbour) || a.length <= longest) continue;
        longest = a.length;
        found = a.address;
    }
    return found;
}

}  // namespace halfproxy
