// SPDX-License-Identifier: BSL-1.0
// Bodies of run/health_checks.hpp: first what comes in, then what begins, leaves and ends.
#pragma once

#include <halfproxy/balance/hash.hpp>
#include <halfproxy/run/health_checks.hpp>
#include <halfproxy/wire/checksum.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace halfproxy {

inline std::string text_of(health_result const& r) {
    switch (r.found) {
        case health_finding::none: return "not checked yet";
        case health_finding::connected: return "connected";
        case health_finding::answered: return "answered";
        case health_finding::good_status:
        case health_finding::bad_status: return "status " + std::to_string(r.status);
        case health_finding::body_found: return "body as expected";
        case health_finding::no_answer: return "no answer in time";
        case health_finding::refused: return "connection refused";
        case health_finding::reset: return "connection reset";
        case health_finding::body_not_found: return "body without what is expected";
        case health_finding::cut: return "connection ended before the answer";
        case health_finding::not_http: return "no HTTP";
        case health_finding::other_answer: return "another answer than expected";
    }
    return {};
}

namespace health_detail {

inline constexpr std::size_t echo_payload_bytes = 32;
inline constexpr std::size_t tcp_headers_v4 = sizeof(ipv4_header) + sizeof(tcp_header), tcp_headers_v6 = sizeof(ipv6_header) + sizeof(tcp_header);

[[nodiscard]] inline byte_view bytes_of(std::string const& text) noexcept { return {reinterpret_cast<std::uint8_t const*>(text.data()), text.size()}; }

[[nodiscard]] inline std::string authority_of(ip_address const& a) {
    std::string out;
    if (a.version == 4) {
        for (std::size_t i = 0; i < 4; ++i) {
            if (i != 0) out += '.';
            out += std::to_string(a.bytes[i]);
        }
        return out;
    }
    constexpr char digits[] = "0123456789abcdef";
    for (std::size_t i = 0; i < 16; ++i) {
        if (i != 0 && i % 2 == 0) out += ':';
        out += digits[a.bytes[i] >> 4];
        out += digits[a.bytes[i] & 15];
    }
    return "[" + out + "]";
}

[[nodiscard]] inline std::string request_of(health_target const& t) {
    if (t.check.kind != health_probe::http) return {};
    std::string const host = t.check.host.empty() ? authority_of(t.address) : t.check.host;
    return "GET " + t.check.path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: halfproxy health check\r\nAccept: */*\r\nConnection: close\r\n\r\n";
}

/// On Ethernet whose addresses the router writes.
[[nodiscard]] inline packet_origin origin_of(health_target const& t, std::uint16_t source_port) noexcept {
    packet_origin o;
    o.link_bytes = sizeof(ethernet_header);
    o.ip_version = t.address.version;
    header_at<ethernet_header>(o.link.data()).type = t.address.version == 4 ? ether_type::ipv4 : ether_type::ipv6;
    o.source = t.source.bytes;
    o.destination = t.address.bytes;
    o.source_port = source_port;
    o.destination_port = t.port;
    return o;
}

/// Link and IP header in front of a message of so many bytes; returns where that begins, and its pseudo-header's sum.
struct datagram_start {
    std::size_t offset;
    checksum_sum pseudo;
};
[[nodiscard]] inline datagram_start write_headers(std::uint8_t* at, packet_origin const& o, std::uint8_t protocol, std::size_t bytes) noexcept {
    std::memcpy(at, o.link.data(), o.link_bytes);
    std::uint8_t* const ip_at = at + o.link_bytes;
    checksum_sum pseudo;
    pseudo.add32(static_cast<std::uint32_t>(bytes)).add16(protocol);
    if (o.ip_version == 4) {
        auto& ip = header_at<ipv4_header>(ip_at);
        ip = {0x45, 0, big16{static_cast<std::uint16_t>(sizeof ip + bytes)}, big16{0}, big16{ipv4_fragment::dont}, built_hop_limit, protocol, big16{0}, {}, {}};
        std::memcpy(&ip.source, o.source.data(), 4);
        std::memcpy(&ip.destination, o.destination.data(), 4);
        ip.checksum = checksum_sum{}.add({ip_at, sizeof ip}).checksum();
        return {o.link_bytes + sizeof ip, pseudo.add({ip_at + offsetof(ipv4_header, source), 8})};
    }
    auto& ip = header_at<ipv6_header>(ip_at);
    ip = {big32{0x60000000u}, big16{static_cast<std::uint16_t>(bytes)}, protocol, built_hop_limit, o.source, o.destination};
    return {o.link_bytes + sizeof ip, pseudo.add({ip_at + offsetof(ipv6_header, source), 32})};
}

/// Returns the frame's bytes.
[[nodiscard]] inline std::size_t build_udp(std::uint8_t* at, packet_origin const& o, byte_view payload) noexcept {
    std::size_t const bytes = sizeof(udp_header) + payload.size();
    datagram_start const start = write_headers(at, o, ip_protocol::udp, bytes);
    header_at<udp_header>(at + start.offset) = {o.source_port, o.destination_port, big16{static_cast<std::uint16_t>(bytes)}, big16{0}};
    std::copy(payload.begin(), payload.end(), at + start.offset + sizeof(udp_header));
    std::uint16_t const sum = checksum_sum(start.pseudo).add({at + start.offset, bytes}).checksum();
    header_at<udp_header>(at + start.offset).checksum = sum != 0 ? sum : std::uint16_t{0xffff};  // 0 would say that there is none (RFC 768)
    return start.offset + bytes;
}

[[nodiscard]] inline std::size_t build_echo(std::uint8_t* at, packet_origin const& o, std::uint16_t identifier, std::uint16_t sequence) noexcept {
    bool const v4 = o.ip_version == 4;
    constexpr std::size_t bytes = sizeof(icmp_header) + echo_payload_bytes;
    constexpr std::uint8_t request_v4 = 8, request_v6 = 128;
    datagram_start const start = write_headers(at, o, v4 ? ip_protocol::icmp : ip_protocol::icmpv6, bytes);
    auto& icmp = header_at<icmp_header>(at + start.offset);
    icmp = {v4 ? request_v4 : request_v6, 0, big16{0}, big32{std::uint32_t{identifier} << 16 | sequence}};
    std::fill_n(at + start.offset + sizeof icmp, echo_payload_bytes, std::uint8_t{0x2e});
    checksum_sum sum = v4 ? checksum_sum{} : start.pseudo;  // ICMPv4 has no pseudo-header
    icmp.checksum = sum.add({at + start.offset, bytes}).checksum();
    return start.offset + bytes;
}

[[nodiscard]] inline ip_address source_of(const_packet_view const& p) noexcept {
    return p.layout().ip_version == 4 ? ip_address::v4(p.ipv4().source) : ip_address::v6(p.ipv6().source);
}
[[nodiscard]] inline ip_address destination_of(const_packet_view const& p) noexcept {
    return p.layout().ip_version == 4 ? ip_address::v4(p.ipv4().destination) : ip_address::v6(p.ipv6().destination);
}

[[nodiscard]] inline drop_reason damage_of(frame const& f, const_packet_view const& p) noexcept {
    if (f.offload.checksum != checksum_state::unknown) return drop_reason::none;
    if (p.layout().ip_version == 4 && verify_ipv4_header(p) == checksum_verdict::bad) return drop_reason::ip_checksum;
    return verify_transport(p) == checksum_verdict::bad ? drop_reason::l4_checksum : drop_reason::none;
}

}  // namespace health_detail

inline health_checks::target::target(health_target const& t, std::uint64_t seed)
    : to(t), request(health_detail::request_of(t)), state(t.check.policy, t.initially), schedule(t.check.policy, seed) {
    if (to.check.kind == health_probe::http) answer.emplace(to.check.status, to.check.body);
}

inline health_checks::health_checks(std::vector<health_target> const& targets, side exit, std::uint64_t seed, change_callback changed, health_checks const* before)
    : due_(static_cast<std::uint32_t>(targets.size())), waiting_(due_.capacity()), seed_(seed), exit_(exit), changed_(std::move(changed)) {
    asked_by_.fill(nobody);
    for (health_target const& t : targets) {
        targets_.emplace_back(t, mix64(seed + targets_.size()));
        if (std::find(sources_.begin(), sources_.end(), t.source) == sources_.end()) sources_.push_back(t.source);
    }
    if (before != nullptr) take_over(*before);
}

inline void health_checks::take_over(health_checks const& before) {
    counters_ = before.counters_;
    next_port_ = before.next_port_;
    for (target_number n = 0; n < targets_.size(); ++n) {
        target& t = targets_[n];
        auto const known = std::find_if(before.targets_.begin(), before.targets_.end(), [&](target const& k) { return k.to.is_checked_alike(t.to); });
        if (known == before.targets_.end()) continue;
        t.state = known->state;
        t.last = known->last;
        t.counters = known->counters;
        auto const number = static_cast<target_number>(known - before.targets_.begin());
        bool const was_due = known->source_port == 0 && before.due_.contains(number);
        if (before.started_) due_.set(n, was_due ? before.due_.key(number) : known->begun.time_since_epoch().count());
    }
}

inline std::size_t health_checks::memory_bytes() const noexcept {
    auto const answers = static_cast<std::size_t>(std::count_if(targets_.begin(), targets_.end(), [](target const& t) { return t.answer.has_value(); }));
    return sizeof(*this) + targets_.size() * sizeof(target) + answers * http_answer::memory_bytes + due_.memory_bytes() + waiting_.memory_bytes() + sources_.size() * sizeof(ip_address);
}

// --- What comes in --------------------------------------------------------------------------------------------------------

/// For one of the addresses that checks are answered to: the usual frame is not looked at further.
inline bool health_checks::is_ours(frame const& f) const noexcept {
    if (running_ == 0 || f.arrival != exit_ || f.link != link_type::ethernet || f.length < sizeof(ethernet_header) + sizeof(ipv4_header)) return false;
    std::uint16_t const type = header_at<ethernet_header>(static_cast<std::uint8_t const*>(f.data)).type;
    bool const v4 = type == ether_type::ipv4;
    std::size_t const at = sizeof(ethernet_header) + (v4 ? offsetof(ipv4_header, destination) : offsetof(ipv6_header, destination));
    std::size_t const bytes = v4 ? 4 : 16;
    if ((!v4 && type != ether_type::ipv6) || f.length < at + bytes) return false;
    return std::any_of(sources_.begin(), sources_.end(), [&](ip_address const& a) {
        return (a.version == 4) == v4 && std::memcmp(a.bytes.data(), f.data + at, bytes) == 0;
    });
}

inline health_checks::target_number health_checks::who_asked(const_packet_view const& p) const noexcept {
    packet_layout const& l = p.layout();
    if (l.error != drop_reason::none || !l.has_transport || l.is_fragment() || l.cut || l.vlan_count != 0) return nobody;
    constexpr std::uint8_t reply_v4 = 0, reply_v6 = 129;
    std::uint16_t port = 0, from = 0;
    if (p.is_icmp()) {
        if (p.icmp().type != (l.ip_version == 4 ? reply_v4 : reply_v6)) return nobody;
        port = static_cast<std::uint16_t>(p.icmp().rest >> 16);
    } else if (p.is_tcp() || p.is_udp()) {
        port = p.udp().destination_port;  // where TCP has it, too
        from = p.udp().source_port;
    }
    if (port < first_port || port - first_port >= static_cast<int>(most_at_once)) return nobody;
    target_number const n = asked_by_[port - first_port];
    if (n == nobody) return nobody;
    health_target const& t = targets_[n].to;
    bool const fits = t.check.kind == health_probe::icmp ? p.is_icmp() : t.check.kind == health_probe::udp ? p.is_udp() : p.is_tcp();
    bool const from_there = (p.is_icmp() || from == t.port) && health_detail::source_of(p) == t.address && health_detail::destination_of(p) == t.source;
    return fits && from_there ? n : nobody;
}

inline bool health_checks::take(frame& f, time_point now) noexcept {
    if (!is_ours(f)) return false;
    const_packet_view const p = parse<link_type::ethernet>(byte_view(f.bytes()), f.wire_length);
    target_number const n = who_asked(p);
    if (n == nobody) return false;
    ++counters_.packets_taken;
    f.reason = health_detail::damage_of(f, p);
    f.outcome = f.reason == drop_reason::none ? verdict::hold : verdict::drop;
    if (f.outcome == verdict::drop) return ++counters_.dropped[static_cast<std::size_t>(f.reason)], true;
    target& t = targets_[n];
    if (t.found.found != health_finding::none) return true;
    p.is_tcp() ? take_tcp(t, p) : take_datagram(t, p);
    due_.set(n, now.time_since_epoch().count());
    return true;
}

inline void health_checks::take_tcp(target& t, const_packet_view const& p) noexcept {
    using event = probe_connection::event;
    std::uint16_t const default_mss = p.layout().ip_version == 4 ? default_mss_v4 : default_mss_v6;
    auto const r = t.connection.take(p.tcp(), parse_tcp_options(p.tcp_options()), p.payload(), default_mss);
    switch (r.what) {
        case event::nothing: return;
        case event::refused: t.found.found = health_finding::refused; return;
        case event::reset: t.found.found = health_finding::reset; return;
        case event::connected:
            if (t.to.check.kind == health_probe::tcp) t.found.found = health_finding::connected;
            return;
        case event::answer: return take_answer(t, r);
    }
}

inline void health_checks::take_answer(target& t, probe_connection::reading const& r) noexcept {
    using said = http_answer::verdict;
    if (!t.answer) return;
    said v = t.answer->take(r.data);
    if (r.ended) v = t.answer->end();
    t.found.status = t.answer->status();
    switch (v) {
        case said::more: return;
        case said::good: t.found.found = t.to.check.body.empty() ? health_finding::good_status : health_finding::body_found; return;
        case said::bad_status: t.found.found = health_finding::bad_status; return;
        case said::no_match: t.found.found = health_finding::body_not_found; return;
        case said::cut: t.found.found = health_finding::cut; return;
        case said::not_http: t.found.found = health_finding::not_http; return;
    }
}

inline void health_checks::take_datagram(target& t, const_packet_view const& p) noexcept {
    byte_view const expected = health_detail::bytes_of(t.to.check.expect), got = p.payload();
    bool const good = p.is_icmp() || (got.size() >= expected.size() && std::equal(expected.begin(), expected.end(), got.begin()));
    t.found.found = good ? health_finding::answered : health_finding::other_answer;
}

// --- What begins, leaves and ends -----------------------------------------------------------------------------------------

inline std::optional<time_point> health_checks::next_deadline() const noexcept {
    if (!started_) return size() != 0 ? std::optional(time_point{}) : std::nullopt;
    if (due_.empty()) return std::nullopt;
    return time_point(packet_clock::duration(due_.top_key()));
}

inline void health_checks::advance(time_point now, outbox& out) noexcept {
    std::int64_t const at = now.time_since_epoch().count();
    if (!std::exchange(started_, true))
        for (target_number n = 0; n < targets_.size(); ++n)
            if (!due_.contains(n)) due_.set(n, at + targets_[n].schedule.first().count());
    for (std::uint32_t i = 0; i < checks_per_advance && !due_.empty() && due_.top_key() <= at && out.room() >= frames_per_check; ++i)
        serve(due_.top(), now, out);
}

/// How long an answer is waited for before the question is repeated: a lost packet is no dead server. RFC 6298's second, or what lets a short check try
/// three times.
inline packet_clock::duration health_checks::retry_after(target const& t) noexcept {
    using std::chrono::milliseconds;
    return std::clamp<packet_clock::duration>(t.to.check.policy.timeout / 3, milliseconds{20}, milliseconds{1'000});
}

inline void health_checks::serve(target_number n, time_point now, outbox& out) noexcept {
    target& t = targets_[n];
    if (t.source_port == 0) {
        if (!begin(n, now)) return;
    } else if (t.found.found != health_finding::none) {
        return end(n, now, out);
    } else if (now - t.begun >= t.to.check.policy.timeout) {
        t.found.found = health_finding::no_answer;
        return end(n, now, out);
    } else if (now >= t.retry_at) {
        t.connection.retry();
        t.datagram_due = true;
        t.retry_at = now + retry_after(t);
    }
    emit(t, out);
    time_point const next = std::min<time_point>(t.retry_at, t.begun + t.to.check.policy.timeout);
    due_.set(n, next.time_since_epoch().count());
}

/// False when it does not begin: draining, or no port is free. Then it waits for one, and goes before those that are due later.
inline bool health_checks::begin(target_number n, time_point now) noexcept {
    if (!draining_ && running_ == most_at_once) waiting_.set(n, due_.key(n));
    if (draining_ || running_ == most_at_once) return due_.erase(n), false;
    while (asked_by_[next_port_] != nobody) next_port_ = (next_port_ + 1) % most_at_once;
    asked_by_[next_port_] = n;
    ++running_;
    target& t = targets_[n];
    t.source_port = static_cast<std::uint16_t>(first_port + next_port_);
    next_port_ = (next_port_ + 1) % most_at_once;
    t.begun = now;
    t.retry_at = now + retry_after(t);
    t.found = {};
    if (t.answer) t.answer->begin_anew();
    t.datagram_due = true;
    // RFC 6528: a clock of 4 us, so that a port used again begins beyond its last connection, and a secret of the connection's ends.
    std::int64_t const clock = now.time_since_epoch().count() / 4'000;
    std::uint64_t const secret = mix64(seed_ ^ mix64(std::uint64_t{n} << 16 | t.source_port));
    t.connection.open({static_cast<std::uint32_t>(static_cast<std::uint64_t>(clock) + secret)}, health_detail::bytes_of(t.request));
    return true;
}

inline void health_checks::end(target_number n, time_point now, outbox& out) noexcept {
    target& t = targets_[n];
    if (t.connection.is_open()) send(t, t.connection.reset(), out);
    asked_by_[t.source_port - first_port] = nobody;
    t.source_port = 0;
    --running_;
    if (!waiting_.empty()) {
        due_.set(waiting_.top(), waiting_.top_key());
        waiting_.erase(waiting_.top());
    }
    t.last = t.found;
    ++(t.last.good() ? t.counters.good : t.counters.bad);
    due_.set(n, std::max(now, t.begun + t.schedule.next()).time_since_epoch().count());
    auto const change = t.state.result(t.last.good(), now);
    if (!change) return;
    ++t.counters.transitions;
    if (changed_) changed_(n, *change, t.last);
}

inline void health_checks::emit(target& t, outbox& out) noexcept {
    bool const is_tcp = t.to.check.kind == health_probe::tcp || t.to.check.kind == health_probe::http;
    if (!is_tcp) {
        if (std::exchange(t.datagram_due, false)) send_datagram(t, out);
        return;
    }
    constexpr std::size_t room = outbox_frame_bytes - sizeof(ethernet_header) - health_detail::tcp_headers_v6;
    while (auto const s = t.connection.next(room)) send(t, *s, out);
}

inline void health_checks::send(target const& t, probe_segment const& s, outbox& out) noexcept {
    outbox_frame* const slot = out.claim(exit_);
    if (slot == nullptr) return;  // advance() has seen to it that there is room; else it is a lost packet, which is sent again
    std::size_t const headers = t.to.address.version == 4 ? health_detail::tcp_headers_v4 : health_detail::tcp_headers_v6;
    built_options options;
    options.has_mss = s.is_syn;
    options.mss = static_cast<std::uint16_t>(t.to.mtu - headers);
    slot->length = static_cast<std::uint32_t>(build_tcp(slot->data, health_detail::origin_of(t.to, t.source_port), s.fields, options, s.payload));
    ++counters_.packets_sent;
}

inline void health_checks::send_datagram(target& t, outbox& out) noexcept {
    outbox_frame* const slot = out.claim(exit_);
    if (slot == nullptr) return;
    packet_origin const origin = health_detail::origin_of(t.to, t.source_port);
    std::size_t const bytes = t.to.check.kind == health_probe::icmp ? health_detail::build_echo(slot->data.data(), origin, t.source_port, ++t.echo_sequence)
                                                                     : health_detail::build_udp(slot->data.data(), origin, health_detail::bytes_of(t.to.check.send));
    slot->length = static_cast<std::uint32_t>(bytes);
    ++counters_.packets_sent;
}

}  // namespace halfproxy
