// SPDX-License-Identifier: BSL-1.0
// Before the engine: frames for others are left, questions about us answered, hops counted.
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/route/router.hpp>
#include <halfproxy/wire/build.hpp>
#include <halfproxy/wire/checksum.hpp>

#include <algorithm>

namespace halfproxy {

inline void router::begin(time_point now) noexcept {
    now_ = started_ ? std::max(now_, now) : now;
    if (!started_) announce_at_ = now_;
    started_ = true;
    neighbours_.waiting().reclaim();
    errors_.reclaim();
}

inline bool router::arrive(frame& f, outbox& out) noexcept {
    ++counters_.received;
    decision const d = on_arrival(f, out);
    f.outcome = d.outcome;
    f.reason = d.reason;
    switch (d.outcome) {
        case verdict::forward: return ++counters_.passed, true;
        case verdict::reply: return ++counters_.answered, false;
        case verdict::hold: return ++counters_.taken, false;
        case verdict::drop: break;
    }
    ++counters_.dropped_on_arrival;
    ++counters_.dropped[static_cast<std::size_t>(d.reason)];
    return false;
}

/// What is too short or wrong in its IP header goes to the engine, which knows the exact reason.
inline router::decision router::on_arrival(frame& f, outbox& out) noexcept {
    if (f.link != link_type::ethernet) return drop(drop_reason::protocol_not_routed);
    if (f.length < sizeof(ethernet_header)) return passed;
    auto const& link = header_at<ethernet_header>(static_cast<std::uint8_t const*>(f.data));
    mac_address const to = link.destination;
    switch (link.type) {
        case ether_type::ipv4: return ipv4(f, to);
        case ether_type::ipv6: return ipv6(f, to, out);
        case ether_type::arp: return arp(f, to, out);
        default: return is_group_mac(to) || to == port(f.arrival).mac ? drop(drop_reason::protocol_not_routed) : not_for_us(to);
    }
}

inline router::decision router::not_for_us(mac_address const& to) const noexcept {
    return drop(is_group_mac(to) ? drop_reason::scope_not_forwarded : drop_reason::not_addressed_here);
}

inline router::decision router::ipv4(frame& f, mac_address const& to) noexcept {
    if (to != port(f.arrival).mac) return not_for_us(to);
    if (f.length < sizeof(ethernet_header) + sizeof(ipv4_header)) return passed;
    auto const& ip = header_at<ipv4_header>(f.data + sizeof(ethernet_header));
    if (ip.version() != 4) return passed;
    ip_address const destination = ip_address::v4(ip.destination);
    if (local_address const* const local = locals_.find(destination); local != nullptr && !(local->taken && ip.protocol != ip_protocol::icmp))
        return to_local(f, *local, nullptr);
    if (is_group(destination) || is_link_local(destination) || is_link_local(ip_address::v4(ip.source))) return drop(drop_reason::scope_not_forwarded);
    return lower_hops(f, 4);
}

inline router::decision router::ipv6(frame& f, mac_address const& to, outbox& out) noexcept {
    bool const whole = f.length >= sizeof(ethernet_header) + sizeof(ipv6_header);
    if (to != port(f.arrival).mac) return is_group_mac(to) && whole ? to_group(f, out) : not_for_us(to);
    if (!whole || f.data[sizeof(ethernet_header)] >> 4 != 6) return passed;
    auto const& ip = header_at<ipv6_header>(f.data + sizeof(ethernet_header));
    ip_address const destination = ip_address::v6(ip.destination);
    if (is_group(destination)) return to_group(f, out);
    if (local_address const* const local = locals_.find(destination); local != nullptr && !(local->taken && ip.next_header != ip_protocol::icmpv6))
        return to_local(f, *local, &out);
    if (is_link_local(destination) || is_link_local(ip_address::v6(ip.source))) return drop(drop_reason::scope_not_forwarded);
    return lower_hops(f, 6);
}

inline router::decision router::arp(frame& f, mac_address const& to, outbox& out) noexcept {
    if (to != port(f.arrival).mac && to != broadcast_mac) return drop(drop_reason::not_addressed_here);
    auto const m = read_arp(f.bytes());
    return m ? message(f, *m, out) : drop(drop_reason::neighbour_message);
}

/// Of what comes for a group, neighbour discovery alone concerns us.
inline router::decision router::to_group(frame& f, outbox& out) noexcept {
    const_packet_view const packet = parse<link_type::ethernet>(byte_view(f.bytes()), f.wire_length);
    if (!packet.is_icmp() || packet.layout().ip_version != 6) return drop(drop_reason::scope_not_forwarded);
    std::uint8_t const type = packet.icmp().type;
    if (type != icmpv6_type::neighbour_solicitation && type != icmpv6_type::neighbour_advertisement) return drop(drop_reason::scope_not_forwarded);
    auto const m = read_neighbour_discovery(packet, f.offload.checksum);
    return m ? message(f, *m, out) : drop(drop_reason::neighbour_message);
}

/// `out` is there for IPv6, whose neighbours speak ICMP.
inline router::decision router::to_local(frame& f, local_address const& local, outbox* out) noexcept {
    const_packet_view const packet = parse<link_type::ethernet>(byte_view(f.bytes()), f.wire_length);
    packet_layout const& l = packet.layout();
    if (l.error != drop_reason::none) return passed;
    if (packet.is_icmp()) {
        std::uint8_t const type = packet.icmp().type;
        if (out != nullptr && type >= icmpv6_type::router_solicitation && type <= icmpv6_type::redirect) {
            auto const m = read_neighbour_discovery(packet, f.offload.checksum);
            return m ? message(f, *m, *out) : drop(drop_reason::neighbour_message);
        }
        bool const request = type == (l.ip_version == 4 ? 8 : icmpv6_type::echo_request);
        if (request && local.echo) return echo(f, packet);
    }
    if (!local.taken) return to_nobody(f, packet);
    if (is_link_local(source_address(packet))) return drop(drop_reason::scope_not_forwarded);
    return lower_hops(f, l.ip_version);
}

inline router::decision router::echo(frame& f, const_packet_view const& packet) noexcept {
    if (!is_answerable_echo(f, packet)) return drop(drop_reason::local_destination);
    if (!echo_.take(stamp())) return ++counters_.answers_limited, drop(drop_reason::local_destination);
    become_echo_reply(f, packet);
    ++counters_.echo_replies;
    return answered;
}

/// A closed port of ours: RFC 1122 section 4.1.3.1, RFC 9293 section 3.10.7.1. What arrives damaged was perhaps not meant for it, and is dropped in silence
/// (RFC 9293 section 3.1, RFC 1122 section 4.1.3.4).
inline router::decision router::to_nobody(frame& f, const_packet_view const& packet) noexcept {
    bool const v4_sum_bad = packet.layout().ip_version == 4 && verify_ipv4_header(packet) != checksum_verdict::good;
    if (v4_sum_bad && f.offload.checksum != checksum_state::partial) return drop(drop_reason::ip_checksum);
    bool const verifiable = f.offload.checksum == checksum_state::unknown && (packet.is_tcp() || packet.is_udp());
    if (verifiable && verify_transport(packet) == checksum_verdict::bad) return drop(drop_reason::l4_checksum);
    if (packet.is_tcp() && (packet.tcp().flags & tcp_flag::rst) == 0) return reset(f, packet);
    if (packet.is_udp() && answer(f, packet, icmp_problem::port_unreachable)) return ++counters_.unreachable_sent, answered;
    return drop(drop_reason::local_destination);
}

inline router::decision router::reset(frame& f, const_packet_view const& packet) noexcept {
    packet_layout const& l = packet.layout();
    if (l.is_fragment() || !may_be_answered(packet) || f.capacity < max_built_bytes) return drop(drop_reason::local_destination);
    if (!icmp_.take(stamp())) return ++counters_.answers_limited, drop(drop_reason::local_destination);
    tcp_header const tcp = packet.tcp();
    std::uint32_t const flags = ((tcp.flags & tcp_flag::syn) != 0 ? 1u : 0u) + ((tcp.flags & tcp_flag::fin) != 0 ? 1u : 0u);
    bool const acknowledges = (tcp.flags & tcp_flag::ack) != 0;
    tcp_fields fields;
    fields.flags = acknowledges ? tcp_flag::rst : static_cast<std::uint8_t>(tcp_flag::rst | tcp_flag::ack);
    if (acknowledges)
        fields.seq = seq_num{tcp.acknowledgment};
    else
        fields.ack = seq_num{tcp.sequence} + (l.payload_bytes() + flags);
    packet_origin const back = way_back_of(f.link, packet);
    f.length = f.wire_length = static_cast<std::uint32_t>(build_tcp({f.data, f.capacity}, back, fields, {}));
    f.offload = {};
    ++counters_.resets_sent;
    return answered;
}

/// ARP and neighbour discovery alike, once read.
inline router::decision router::message(frame& f, neighbour_message const& m, outbox& out) noexcept {
    mac_address const& ours = port(f.arrival).mac;
    if (m.sender.version != 0) {
        if (local_address const* const own = locals_.find(m.sender, f.arrival)) {
            if (m.mac != ours) defend(*own);
            return drop(drop_reason::neighbour_message);
        }
        neighbour* const known = neighbours_.hear(f.arrival, m.sender, m.mac, m.to_us_alone, now_);
        if (known != nullptr) release(*known, out);
    }
    if (m.what == neighbour_message::kind::answer) return {verdict::hold};
    local_address const* const own = locals_.find(m.target, f.arrival);
    if (own == nullptr) return drop(drop_reason::not_addressed_here);
    if (f.capacity < neighbour_frame_bytes) return drop(drop_reason::frame_room);
    mac_address const asker = m.mac.value_or(header_at<ethernet_header>(static_cast<std::uint8_t const*>(f.data)).source);
    f.length = f.wire_length = static_cast<std::uint32_t>(build_answer({f.data, f.capacity}, {ours, own->address}, m.sender, asker));
    f.offload = {};
    ++counters_.answers_sent;
    return answered;
}

/// Another host has our address: it is told once in a while, and we go on (RFC 5227 section 2.4 (c)).
inline void router::defend(local_address const& own) noexcept {
    ++counters_.address_conflicts;
    if (defended_at_ && now_ - *defended_at_ < defend_interval) return;
    defended_at_ = now_;
    defended_ = own;
}

inline void router::release(neighbour& n, outbox& out) noexcept {
    frame_pool& pool = neighbours_.waiting();
    for (; !n.waiting.empty(); --n.waiting_count) {
        write_link(pool.front(n.waiting).data, n.port, n.mac);
        if (pool.lend_front(n.waiting, n.port, out)) {
            ++counters_.delivered;
        } else {
            pool.drop_front(n.waiting);
            ++counters_.dropped[static_cast<std::size_t>(drop_reason::neighbour_queue_full)];
        }
    }
}

inline router::decision router::lower_hops(frame& f, std::uint8_t version) noexcept {
    std::uint8_t* const at = f.data + sizeof(ethernet_header);
    if (version == 6) {
        auto& ip = header_at<ipv6_header>(at);
        if (ip.hop_limit <= 1) return hops_exceeded(f);
        --ip.hop_limit;
        return passed;
    }
    auto& ip = header_at<ipv4_header>(at);
    if (ip.time_to_live <= 1) return hops_exceeded(f);
    std::uint16_t const before = static_cast<std::uint16_t>(ip.time_to_live << 8);
    --ip.time_to_live;
    ip.checksum = checksum_delta{}.change16(before, static_cast<std::uint16_t>(ip.time_to_live << 8)).applied_to(ip.checksum);
    return passed;
}

HALFPROXY_RARE router::decision router::hops_exceeded(frame& f) noexcept {
    const_packet_view const packet = parse<link_type::ethernet>(byte_view(f.bytes()), f.wire_length);
    packet_layout const& l = packet.layout();
    if (l.error != drop_reason::none) return drop(l.error);
    if (l.ip_version == 4 && verify_ipv4_header(packet) != checksum_verdict::good) return drop(drop_reason::ip_checksum);
    if (!answer(f, packet, icmp_problem::hops_exceeded)) return drop(drop_reason::hops_exceeded);
    ++counters_.hops_exceeded_sent;
    return answered;
}

/// In place, to the sender of a packet that has not been to the engine yet.
inline bool router::answer(frame& f, const_packet_view const& packet, icmp_problem problem) noexcept {
    ip_address const source = address_on(f.arrival, packet.layout().ip_version);
    if (source.version == 0 || !may_be_answered(packet)) return false;
    if (!icmp_.take(stamp())) return ++counters_.answers_limited, false;
    return become_icmp_error(f, packet, problem, source);
}

}  // namespace halfproxy
