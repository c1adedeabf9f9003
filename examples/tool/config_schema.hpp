// SPDX-License-Identifier: BSL-1.0
// Every key of the configuration with its range, once: the reader and the printer both visit this list.
#pragma once

#include "config_nat.hpp"
#include "config_service.hpp"
#include "config_values.hpp"
#include "tool_config.hpp"

#include <halfproxy/wire/tcp_options.hpp>

#include <algorithm>
#include <span>
#include <string>

namespace halfproxy::tool {

/// A Visitor has, for each kind of value: choice, number, flag, text, seconds, mark, address, port_address, prefix, route_prefix, prefixes, protocol, ports;
/// and mode, section, optional_section, tables, optional_address, station, statuses, unavailable, reads and require. See config_reader and config_printer.

template <class Visitor>
void describe_address(Visitor& v, port_address& a, std::span<port_address const> before) {
    v.choice("port", a.port, presence::required);
    v.port_address("address", a);
    v.require(problem_of(a, before).empty(), "address", problem_of(a, before));
}

template <class Visitor>
void describe_route(Visitor& v, static_route& r, io_settings const& io, std::span<static_route const> before) {
    v.route_prefix("to", r.to);
    v.address("via", r.via);
    v.choice("port", r.port);
    v.require(problem_of(r, io.addresses, before).empty(), "to", problem_of(r, io.addresses, before));
}

/// Each entry is judged beside those before it.
template <class Visitor>
void describe_routing(Visitor& v, io_settings& io) {
    v.choice("unreachable", io.unreachable);
    v.number("icmp_per_s", io.icmp_per_s, 0, 1'000'000);
    v.number("neighbours", io.neighbours, 16, 65'536);
    v.seconds("neighbour_reachable_s", io.neighbour_reachable, 1, 3'600);
    v.number("neighbour_waiting", io.neighbour_waiting, 0, 4'096);
    v.prefixes("routed_here", io.routed_here);
    v.tables("address", io.addresses, [&](auto& s, port_address& a) { describe_address(s, a, {io.addresses.data(), &a}); });
    v.tables("route", io.routes, [&](auto& s, static_route& r) { describe_route(s, r, io, {io.routes.data(), &r}); });
    bool const routed = io.mode == deployment::routed;
    v.require(routed || io.addresses.empty(), "address", "is for mode = \"routed\"");
    v.require(routed || io.routes.empty(), "route", "is for mode = \"routed\"");
    v.require(routed || io.routed_here.empty(), "routed_here", "is for mode = \"routed\"");
    auto const has_address = [&](side port) {
        return std::any_of(io.addresses.begin(), io.addresses.end(), [port](port_address const& a) { return a.port == port; });
    };
    v.require(!routed || (has_address(side::outside) && has_address(side::inside)), "mode",
              "\"routed\" needs an [[io.address]] on port \"outside\" and one on \"inside\"");
}

template <class Visitor>
void describe_io(Visitor& v, io_settings& io) {
    v.text("outside", io.outside);
    v.text("inside", io.inside);
    v.choice("backend", io.backend);
    v.mode("mode", io);
    v.number("shards", io.shards, 1, 256);
    v.number("ring_slots", io.ring_slots, 16, 65'536);
    v.number("ring_slot_bytes", io.ring_slot_bytes, 256, 1u << 20);
    v.require(io.ring_slot_bytes % 64 == 0, "ring_slot_bytes", "must be a multiple of 64");
    v.number("transmit_slots", io.transmit_slots, 0, 65'536);
    v.require(io.transmit_slots % 32 == 0, "transmit_slots", "must be a multiple of 32");
    v.number("flood_ring_bytes", io.flood_ring_bytes, 0, 1u << 30);
    v.require(io.flood_ring_bytes % 65'536 == 0, "flood_ring_bytes", "must be a multiple of 65536");
    v.number("ring_long_frames", io.ring_long_frames, 0, 1024);
    v.number("receive_buffer_bytes", io.receive_buffer_bytes, 65'536, 1u << 30);
    v.number("send_buffer_bytes", io.send_buffer_bytes, 65'536, 1u << 30);
    v.flag("promiscuous", io.promiscuous);
    v.flag("bypass_qdisc", io.bypass_qdisc);
    v.number("spin_us", io.spin_us, 0, 1'000'000);
    v.number("flood_per_s", io.flood_per_s, 1'000, 1'000'000'000);
    v.number("gather_us", io.gather_us, 0, 10'000);
    v.number("drain_ms", io.drain_ms, 0, 60'000);
    describe_routing(v, io);
}

template <class Visitor>
void describe_promise(Visitor& v, backend_promise& promise) {
    v.number("mss", promise.mss_v4, 88, 65'495);
    v.number("mss6", promise.mss_v6, 88, 65'515);
    v.flag("window_scaling", promise.window_scaling);
    v.number("window_scale", promise.window_scale, 0, max_window_scale);
    v.flag("sack", promise.sack);
    v.flag("timestamps", promise.timestamps);
    v.flag("ecn", promise.ecn);
}

template <class Visitor>
void describe_marks(Visitor& v, guard_marks& marks) {
    v.mark("half_open_on", marks.half_open_on, 1);
    v.mark("half_open_off", marks.half_open_off, 0);
    v.require(marks.half_open_off <= marks.half_open_on, "half_open_off", "must be at most half_open_on");
    v.mark("half_open_max", marks.half_open_max, 1);
    v.require(marks.half_open_max >= marks.half_open_on, "half_open_max", "must be at least half_open_on");
    v.mark("syn_rate_on", marks.syn_rate_on, 1);
    v.mark("syn_rate_off", marks.syn_rate_off, 0);
    v.require(marks.syn_rate_off <= marks.syn_rate_on, "syn_rate_off", "must be at most syn_rate_on");
    v.mark("syn_rate_max", marks.syn_rate_max, 1);
    v.require(marks.syn_rate_max >= marks.syn_rate_on, "syn_rate_max", "must be at least syn_rate_on");
}

/// After every other key of [guard]: in TOML what follows a table's head belongs to that table.
template <class Visitor>
void describe_scopes(Visitor& v, guard_config& guard) {
    v.section("outside", [&](auto& s) { describe_marks(s, guard.side_marks[0]); });
    v.section("inside", [&](auto& s) { describe_marks(s, guard.side_marks[1]); });
    v.section("service", [&](auto& s) {
        s.number("buckets", guard.services, 0, 1u << 20);
        describe_marks(s, guard.service_marks);
    });
}

template <class Visitor>
void describe_guard(Visitor& v, tool_config& config) {
    guard_config& guard = config.engine.guard;
    v.choice("mode", guard.mode);
    v.choice("method", guard.method);
    v.choice("reset_by", guard.reset_by);
    v.choice("sides", guard.sides);
    v.expected_connections("expected_connections_per_s", guard);
    describe_marks(v, guard.marks);
    v.number("syn_rate_slot_ms", guard.smoothing.slot, 1, 10'000);
    v.number("syn_rate_slots", guard.smoothing.slots, 1, 1'000);
    v.seconds("unanswered_s", guard.unanswered, 0, 3'600);
    v.seconds("min_active_s", guard.min_active, 0, 86'400);
    v.seconds("grace_s", guard.grace, 0, 86'400);
    v.seconds("rotate_s", guard.key_rotation, 1, longest_key_rotation / 1'000);
    v.secret(config);
    v.prefixes("allow", guard.allow);
    v.seconds("exempt_s", guard.exempt, guard.exempt_time(), 0, 86'400);
    v.require(guard.method == guard_method::splice || guard.exempt_time() != 0, "exempt_s",
              "must be more than 0 with method = \"challenge_reset\": nobody could ever connect");
    v.number("exempt_sources", guard.exempt_sources, 1, 1u << 26);
    describe_promise(v, config.engine.promise);
    v.seconds("server_retry_s", config.engine.server_syn.first_retry, 1, 60);
    v.number("server_retries", config.engine.server_syn.retries, 0, 10);
    describe_scopes(v, guard);
}

template <class Visitor>
void describe_backend(Visitor& v, configured_backend& server) {
    v.address("address", server.address);
    v.number("port", server.port, 1, 65'535, presence::required);
    v.number("mss", server.profile.mss, 0, 65'515);
    v.choice("window_scaling", server.profile.scaling);
    v.number("window_scale", server.profile.window_scale, 0, max_window_scale);
    v.require(server.profile.scaling == known::yes || server.profile.window_scale == 0, "window_scale", "needs window_scaling = \"yes\"");
    v.choice("sack", server.profile.sack);
    v.choice("timestamps", server.profile.timestamps);
    v.choice("ecn", server.profile.ecn);
    v.choice("proxy_protocol", server.profile.announce);
}

template <class Visitor>
void describe_splice(Visitor& v, splice_config& splice) {
    v.choice("invalid_ack", splice.invalid_ack);
    v.number("resets_per_s", splice.resets_per_second, 0, 10'000'000);
    v.flag("defer", splice.defer);
    v.number("held_segments", splice.held_segments, 0, 1u << 20);
    v.number("held_bytes", splice.held_bytes, 128, 65'550);
    v.number("held_per_connection", splice.held_per_connection, 0, 64);
    v.flag("learn", splice.learn);
    v.number("learned_servers", splice.learned_servers, 1, 1u << 20);
    v.seconds("learned_age_s", splice.learned_age, 1, longest_timeout_s);
    v.tables("backend", splice.backends, [](auto& s, configured_backend& server) { describe_backend(s, server); });
}

template <class Visitor>
void describe_tracking(Visitor& v, engine_config& engine) {
    tracking_config& tracking = engine.tracking;
    v.choice("strictness", tracking.strictness);
    v.choice("pickup", tracking.pickup);
    v.choice("asymmetric", tracking.asymmetric);
    v.choice("denied_sessions", tracking.denied_sessions);
    v.require(!splices_one_sided(engine), "asymmetric",
              "true needs guard.mode = \"off\" or \"monitor\", or guard.method = \"challenge_reset\": of a splice both directions must pass");
    auto const& servers = engine.splice.backends;
    bool const announces = std::any_of(servers.begin(), servers.end(), [](auto const& s) { return s.profile.announce != proxy_protocol::none; });
    v.require(!announces || tracking.asymmetric == asymmetric_paths::no, "asymmetric",
              "true and \"detect\" do not go with a proxy_protocol in [[splice.backend]]: of such a connection both directions must pass");
    for (std::size_t i = 0; i < tcp_check_count; ++i) {
        auto const which = static_cast<tcp_check>(i);
        if (which == tcp_check::answer_seen) continue;  // `asymmetric` says it
        bool const before = tracking.checks().has(which);
        bool on = before;
        v.flag("check_" + std::string(tcp_check_texts[i].name), on);
        if (on != before) tracking.choose(which, on);
    }
}

template <class Visitor>
void describe_timeouts(Visitor& v, flow_timeouts& t) {
    v.timeout("syn_sent", t.syn_sent);
    v.timeout("syn_received", t.syn_received);
    v.timeout("established", t.established);
    v.timeout("half_closed", t.half_closed);
    v.timeout("last_ack", t.last_ack);
    v.timeout("time_wait", t.time_wait);
    v.timeout("closed", t.closed);
    v.timeout("unacknowledged", t.unacknowledged);
    v.timeout("retransmitting", t.retransmitting);
    v.timeout("udp_new", t.udp_new);
    v.timeout("udp_replied", t.udp_replied);
    v.timeout("icmp", t.icmp);
    v.timeout("other_new", t.other_new);
    v.timeout("other_replied", t.other_replied);
    v.timeout("fragment", t.fragment);
}

template <class Visitor>
void describe_limits(Visitor& v, tool_config& config) {
    limits_config& limits = config.engine.limits;
    v.number("flows_v4", limits.flows_v4, 0, 1u << 27);
    v.number("flows_v6", limits.flows_v6, 0, 1u << 27);
    v.number("handshakes", limits.handshakes, 1, 1u << 24);
    v.mark("source_new_flows_per_s", limits.per_source.new_flows_per_s, 1);
    v.mark("source_flows", limits.per_source.flows, 1);
    v.mark("source_half_open", limits.per_source.half_open, 1);
    v.number("source_buckets", limits.per_source.buckets, 1, 1u << 24);
    v.number("fragment_datagrams", limits.fragment_datagrams, 1, 1u << 24);
    v.number("fragments_waiting", limits.fragments_waiting, 0, 1u << 20);
    v.number("fragment_bytes", limits.fragment_bytes, 128, 65'550);
    v.number("tunnel_pieces", limits.tunnel_pieces, 0, 1u << 20);
    v.number("tunnel_piece_bytes", limits.tunnel_piece_bytes, 640, 65'664);
    v.number("too_big_per_s", limits.too_big_per_second, 0, 1'000'000);
    v.flag("huge_pages", config.huge_pages);
}

template <class Visitor>
void describe_normalize(Visitor& v, normalize_config& normalize) {
    v.choice("malformed", normalize.malformed);
    v.choice("fragments", normalize.fragments);
    v.choice("fast_open", normalize.fast_open);
    v.number("mss_floor", normalize.mss_floor, 0, 65'535);
    v.number("mss_ceiling", normalize.mss_ceiling_v4, 88, 65'535);
    v.number("mss6_ceiling", normalize.mss_ceiling_v6, 88, 65'535);
    v.require(normalize.mss_floor <= normalize.mss_ceiling_v4 && normalize.mss_floor <= normalize.mss_ceiling_v6, "mss_floor",
              "must be at most mss_ceiling and mss6_ceiling");
    v.flag("verify_checksums", normalize.verify_checksums);
}

template <class Visitor>
void describe_rule(Visitor& v, acl_rule& rule) {
    v.choice("action", rule.action, presence::required);
    v.prefix("from", rule.from);
    v.prefix("to", rule.to);
    v.require(same_family(rule.from, rule.to), "to", "is of another address family than `from`: nothing could match");
    v.protocol("proto", rule.protocol);
    v.ports("ports", rule.ports);
    v.require(is_every_port(rule.ports) || has_ports(rule.protocol), "ports", "need proto = \"tcp\" or \"udp\"");
    v.unavailable("server_name");
}

/// A host's address must not go to another one while a flow of the first is left.
[[nodiscard]] inline bool outlives_flows(timeout_ms idle, flow_timeouts const& t) {
    return idle == never || std::max({t.established, t.half_closed, t.udp_replied, t.icmp, t.other_replied, t.time_wait}) <= idle;
}

template <class Visitor>
void describe_nat64(Visitor& v, nat64_config& nat64, flow_timeouts const& timeouts) {
    v.prefix("prefix", nat64.prefix);
    v.require(nat64_prefix::can_embed(nat64.prefix), "prefix",
              "must be an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits with nothing behind it and bits 64 to 71 zero (RFC 6052)");
    v.prefix("hosts", nat64.hosts.shadow);
    v.require(nat64.hosts.shadow.address.version == 4 && nat64.hosts.shadow.length >= 8, "hosts", "must be an IPv4 prefix of 8 to 32 bits");
    v.number("most_hosts", nat64.hosts.capacity, 1, 1u << 24);
    v.timeout("host_idle", nat64.hosts.idle_timeout);
    v.require(outlives_flows(nat64.hosts.idle_timeout, timeouts), "host_idle", "must be no shorter than the timeouts of flows, or \"never\"");
    v.choice("side", nat64.ipv6_side);
    v.number("mtu_v4", nat64.mtu.v4, 1'260, 65'535);
    v.number("mtu_v6", nat64.mtu.v6, 1'280, 65'535);
}

template <class Visitor>
void describe_nptv6(Visitor& v, nptv6_config& prefixes) {
    v.prefix("inside", prefixes.inside);
    v.prefix("outside", prefixes.outside);
    v.require(nptv6::can_translate(prefixes.inside, prefixes.outside), "outside",
              "and `inside` must be two different IPv6 prefixes of at most 112 bits");
}

/// In this order, for the preset decides what timeouts begin with.
template <class Visitor>
void describe(Visitor& v, tool_config& config) {
    engine_config& engine = config.engine;
    v.preset("preset", config);
    v.section("io", [&](auto& s) { describe_io(s, config.io); });
    v.section("guard", [&](auto& s) { describe_guard(s, config); });
    v.section("splice", [&](auto& s) { describe_splice(s, engine.splice); });
    v.section("tracking", [&](auto& s) { describe_tracking(s, engine); });
    v.section("timeouts", [&](auto& s) { describe_timeouts(s, engine.timeouts); });
    v.section("limits", [&](auto& s) { describe_limits(s, config); });
    v.section("normalize", [&](auto& s) { describe_normalize(s, engine.normalize); });
    v.tables("rule", engine.rules, [](auto& s, acl_rule& rule) { describe_rule(s, rule); });
    v.optional_section("nat64", config.edge.nat64, [&](auto& s, nat64_config& nat64) { describe_nat64(s, nat64, engine.timeouts); });
    v.tables("nptv6", config.edge.nptv6, [](auto& s, nptv6_config& prefixes) { describe_nptv6(s, prefixes); });
    v.unavailable("metrics");
    describe_nat(v, config.nat, config.io);
    describe_services(v, config);
}

}  // namespace halfproxy::tool
