// SPDX-License-Identifier: BSL-1.0
// Every reason for a drop, and a packet that gives it.
#include <halfproxy/engine/address_plan.hpp>
#include <halfproxy/engine/engine.hpp>

#include "tests/support/fragments.hpp"
#include "tests/support/nat_lab.hpp"
#include "tests/support/routed.hpp"
#include "tests/support/services.hpp"
#include "tests/support/splice.hpp"

#include <halfproxy/engine/translating_edge.hpp>

#include <map>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using line = timeline<>;
using hands = handshake_of<>;

/// What the last packet of a story was dropped for.
using story = std::function<drop_reason()>;

byte_string ip6_with(std::vector<extension> extensions, byte_string const& payload = {}) {
    ip6 ip;
    ip.extensions = std::move(extensions);
    return ethernet(encode(ip, payload.empty() ? encode(tcp{}) : payload));
}

drop_reason alone(byte_string frame, engine_config const& config = guarded(guard_mode::off)) {
    line l(config);
    l.verify_checksums = false;
    return l.sends(side::outside, std::move(frame)).reason;
}

drop_reason tcp_alone(segment const& s, engine_config const& config = guarded(guard_mode::off), endpoints const& e = {}) {
    line l(config, e);
    return l.client_sends(s).reason;
}

/// After an established, unspliced connection with windows of 1000 at the strictest.
drop_reason on_connection(std::function<outcome(line&, hands&)> const& last) {
    engine_config config = guarded(guard_mode::off);
    config.tracking.strictness = strictness::strict;
    line l(config);
    hands h{l};
    h.client = {.isn = 1000, .window = 1000, .scale = {}, .timestamps = false};
    h.server = {.isn = 700'000, .window = 1000, .scale = {}, .timestamps = false};
    l.client_sends(syn_of(h.client));
    l.server_sends(h.syn_ack());
    h.cookie = h.server.isn;
    l.client_sends(h.from_client(0, 0, {}, 1000));
    for (std::uint32_t at = 0; at < 70'000; at += 1000) {
        REQUIRE(l.client_sends(h.from_client(at, 0, filled(1000), 1000)).fate == verdict::forward);
        REQUIRE(l.server_sends(h.from_server(0, at + 1000, {}, 1000)).fate == verdict::forward);
    }
    return last(l, h).reason;
}

drop_reason while_connecting(std::function<outcome(line&, hands&)> const& last) {
    line l(guarded());
    hands h{l};
    h.challenge();
    h.validate();
    return last(l, h).reason;
}

engine_config with_rule(rule_action action) {
    engine_config c = guarded(guard_mode::off);
    c.rules = {{.action = action}};
    return c;
}

/// One packet from the client to a router between two networks, with whatever engine.
drop_reason routed(byte_string const& datagram, mac_address const& to = our_outside_mac, unsigned type = 0, router_config const& config = two_networks()) {
    plain_world w(config);
    drop_reason const on_arrival = w.sends(side::outside, link_frame(to, client_mac, datagram, type)).reason;
    w.pass(std::chrono::seconds(4));
    return on_arrival != drop_reason::none || w.dropped(drop_reason::neighbour_unresolved) == 0 ? on_arrival : drop_reason::neighbour_unresolved;
}

void add_routed(std::map<drop_reason, story>& s) {
    ip4 to_us;
    to_us.destination = 0xc0000201;
    ip4 nowhere;
    nowhere.destination = 0x08080808;
    ip4 last;
    last.time_to_live = 1;
    router_config quiet = two_networks();
    quiet.icmp_per_second = 0;
    router_config narrow = two_networks(), full = two_networks();
    narrow.ports[1].mtu = 1280;
    full.neighbours.waiting_frames = 0;
    s[drop_reason::not_addressed_here] = [] { return routed(udp_packet(ip4{}, {}), stranger_mac); };
    s[drop_reason::protocol_not_routed] = [] { return routed(filled(46), our_outside_mac, 0x88b5); };
    s[drop_reason::neighbour_message] = [] { return routed(zeros(28), broadcast_mac, 0x0806); };
    s[drop_reason::scope_not_forwarded] = [] { return routed(udp_packet(ip4{}, {}), broadcast_mac); };
    s[drop_reason::hops_exceeded] = [last, quiet] { return routed(udp_packet(last, {}), our_outside_mac, 0, quiet); };
    s[drop_reason::local_destination] = [to_us] { return routed(icmp_packet(to_us, 0, 0, {})); };
    s[drop_reason::no_route] = [nowhere] { return routed(udp_packet(nowhere, {})); };
    s[drop_reason::packet_too_big] = [narrow] { return routed(udp_packet(ip4{}, filled(1400)), our_outside_mac, 0, narrow); };
    s[drop_reason::neighbour_unresolved] = [] { return routed(udp_packet(ip4{}, {})); };
    s[drop_reason::neighbour_queue_full] = [full] { return routed(udp_packet(ip4{}, {}), our_outside_mac, 0, full); };
}

/// Two hosts behind an address with one port that one of them has; the second packet of the story.
drop_reason behind_nat(std::function<void(nat_config&)> const& change, std::function<outcome(nat_lab&, end)> const& last) {
    world_of const w;
    nat_config nat = napt(w, {2000, 2000});
    change(nat);
    nat_lab l(w, nat);
    end const external = l.mapped(w.inside(1, 4000), w.outside(9, 53));
    return last(l, external).reason;
}

/// A datagram of an IPv6 host through a NAT64 with so many addresses; of no type that IPv4 has.
drop_reason behind_nat64(std::size_t hosts) {
    engine<> proxy(guarded(guard_mode::off));
    edge_config c;
    c.nat64.emplace().hosts.capacity = static_cast<std::uint32_t>(hosts);
    translating_edge edge(c, proxy);
    ip6 ip;
    ip.destination = byte_string{0, 0x64, 0xff, 0x9b} + zeros(8) + u32(0xc6336450);
    byte_string bytes = ethernet(icmp_packet(ip, 130, 0, zeros(16)));
    frame f{.data = bytes.data(), .length = static_cast<std::uint32_t>(bytes.size()), .capacity = static_cast<std::uint32_t>(bytes.size()),
            .wire_length = static_cast<std::uint32_t>(bytes.size()), .arrival = side::inside};
    outbox none(0);
    edge.process({&f, 1}, time_point(std::chrono::milliseconds(1)), none);
    return f.reason;
}

std::map<drop_reason, story> stories() {
    std::map<drop_reason, story> s;
    add_routed(s);
    byte_string const syn = framed({}, tcp_datagram({}, true, syn_of({.isn = 5})));
    s[drop_reason::frame_truncated] = [] { return alone(zeros(13)); };
    s[drop_reason::vlan_stack_too_deep] = [] { return alone(ethernet(encode(ip4{}, encode(tcp{})), {{}, {}, {}, {}, {}})); };
    s[drop_reason::ip_header_truncated] = [syn] { return alone(byte_string(syn.begin(), syn.begin() + 14 + 19)); };
    s[drop_reason::ip_version] = [syn] { byte_string f = syn; f[14] = 0x65; return alone(f); };
    s[drop_reason::ip_header_length] = [] { ip4 ip; ip.header_words = 4; return alone(ethernet(encode(ip, encode(tcp{})))); };
    s[drop_reason::ip_total_length] = [] { ip4 ip; ip.total_length = 1000; return alone(ethernet(encode(ip, encode(tcp{})))); };
    s[drop_reason::ip_checksum] = [syn] { byte_string f = syn; f[14 + 10] ^= 1; return alone(f); };
    s[drop_reason::ip_extension_truncated] = [] { return alone(ip6_with({{0, {9, 1, 4, 0, 0, 0, 0}}})); };
    s[drop_reason::ip_extension_chain] = [] { return alone(ip6_with(std::vector<extension>(9, {60, {0, 1, 4, 0, 0, 0, 0}}))); };
    s[drop_reason::fragment_malformed] = [] { ip4 ip; ip.fragment = 1; return alone(ethernet(encode(ip, zeros(64)))); };
    s[drop_reason::ip_destination] = [] { endpoints e; e.server4 = 0xe0000001; return tcp_alone(syn_of({.isn = 5}), guarded(guard_mode::off), e); };
    s[drop_reason::ip_source] = [] { endpoints e; e.client4 = 0xe0000001; return tcp_alone(syn_of({.isn = 5}), guarded(guard_mode::off), e); };
    s[drop_reason::ip_hops] = [] { ip4 ip; ip.time_to_live = 0; return alone(ethernet(tcp_packet(ip, {}))); };
    s[drop_reason::udp_port_zero] = [] {
        byte_string frame = ethernet(udp_packet(ip4{}, filled(8)));
        put16(frame, 14 + 20 + 2, 0);
        return alone(frame);
    };
    s[drop_reason::fragment_denied] = [] {
        engine_config c = guarded(guard_mode::off);
        c.normalize.fragments = fragment_policy::drop;
        ip4 ip;
        ip.fragment = 0x0010;
        return alone(ethernet(encode(ip, filled(40))), c);
    };
    auto const piece = [](std::size_t begin, std::size_t end, bool more) { return framed({}, fragment_of(datagram_of({}, true, 17, u16(1) + u16(2) + u16(408) + u16(0) + filled(400), 6), begin, end, more)); };
    auto const last_of = [](std::vector<byte_string> const& frames, engine_config const& config = guarded(guard_mode::off)) {
        line l(config);
        drop_reason reason = drop_reason::none;
        for (byte_string const& f : frames) reason = l.sends(side::outside, f).reason;
        return reason;
    };
    byte_string const syn_datagram(syn.begin() + 14, syn.end());
    s[drop_reason::fragment_tiny] = [=] { return alone(framed({}, fragment_of(syn_datagram, 0, 8, true))); };
    s[drop_reason::fragment_decisive] = [=] { return alone(framed({}, fragment_of(syn_datagram, 0, 40, true))); };
    s[drop_reason::fragment_of_dropped] = [=] { return last_of({framed({}, fragment_of(syn_datagram, 0, 16, true)), framed({}, fragment_of(syn_datagram, 16, 40, false))}); };
    s[drop_reason::fragment_duplicate] = [=] { return last_of({piece(0, 80, true), piece(0, 80, true)}); };
    s[drop_reason::fragment_overlap] = [=] { return last_of({piece(0, 80, true), piece(72, 160, true)}); };
    s[drop_reason::fragment_end] = [=] { return last_of({piece(80, 160, false), piece(160, 408, false)}); };
    s[drop_reason::fragment_limit] = [=] {
        std::vector<byte_string> frames;
        for (std::size_t i = 1; i < 20; ++i) frames.push_back(piece(i * 8, i * 8 + 8, true));
        return last_of(frames);
    };
    s[drop_reason::fragment_no_room] = [=] { engine_config c = guarded(guard_mode::off); c.limits.fragments_waiting = 0; return last_of({piece(80, 160, true)}, c); };
    s[drop_reason::fragment_timeout] = [=] {  // its verdict was `hold`: it is counted apart
        line l(guarded(guard_mode::off));
        l.sends(side::outside, piece(80, 160, true));
        l.after(60'000);
        return l.counters().fragments_given_up[static_cast<std::size_t>(drop_reason::fragment_timeout)] == 1 ? drop_reason::fragment_timeout : drop_reason::none;
    };
    s[drop_reason::tcp_header_truncated] = [] { return alone(ethernet(encode(ip4{}, zeros(19)))); };
    s[drop_reason::tcp_data_offset] = [] { tcp t; t.data_offset = 4; return alone(ethernet(tcp_packet(ip4{}, t))); };
    s[drop_reason::tcp_options] = [] { tcp t; t.options = {2, 0, 0, 0}; return alone(ethernet(tcp_packet(ip4{}, t))); };
    s[drop_reason::tcp_mss] = [] { return tcp_alone(syn_of({.isn = 5, .mss = 63}), guarded()); };
    s[drop_reason::tcp_flags] = [] { return tcp_alone({.seq = 5, .flags = flags::syn | flags::fin}); };
    s[drop_reason::tcp_port_zero] = [] { endpoints e; e.server_port = 0; return tcp_alone(syn_of({.isn = 5}), guarded(guard_mode::off), e); };
    s[drop_reason::udp_length] = [] { return alone(ethernet(udp_packet(ip4{}, filled(8), 7u))); };
    s[drop_reason::icmp_truncated] = [] { ip4 ip; ip.protocol = 1; return alone(ethernet(encode(ip, zeros(7)))); };
    s[drop_reason::l4_checksum] = [syn] { byte_string f = syn; f[14 + 20 + 16] ^= 1; return alone(f); };
    s[drop_reason::rule_denied] = [] { return tcp_alone(syn_of({.isn = 5}), with_rule(rule_action::deny)); };
    s[drop_reason::rule_ended] = [] {
        engine_config config = guarded(guard_mode::off);
        config.tracking.denied_sessions = denied_sessions::end;
        line l(config);
        byte_string const datagram = framed(l.ends, datagram_of(l.ends, true, 17, u16(5) + u16(53) + u16(8) + u16(0), 6));
        l.sends(side::outside, datagram);
        config.rules = {{.action = rule_action::deny}};
        l.proxy().configure(config);
        return l.after(1).sends(side::outside, datagram).reason;
    };
    s[drop_reason::policy_denied] = [] { line l(guarded()); l.proxy().drain(); return l.client_sends(syn_of({.isn = 5})).reason; };
    s[drop_reason::wrong_side] = [syn] { line l(guarded(guard_mode::off)); l.sends(side::outside, syn); return l.sends(side::inside, syn).reason; };
    s[drop_reason::guard_overload] = [] {
        engine_config c = guarded();
        c.guard.marks.syn_rate_on = c.guard.marks.syn_rate_max = 0;
        return tcp_alone(syn_of({.isn = 5}), c);
    };
    s[drop_reason::source_limit] = [] {
        engine_config c = guarded(guard_mode::off);
        c.limits.per_source.half_open = 0;
        return tcp_alone(syn_of({.isn = 5}), c);
    };
    s[drop_reason::no_flow] = [] { return tcp_alone({.seq = 5, .ack = 6, .flags = flags::ack}); };
    s[drop_reason::cookie_invalid] = [] { return tcp_alone({.seq = 5, .ack = 6, .flags = flags::ack}, guarded()); };
    s[drop_reason::table_full] = [] { engine_config c = guarded(guard_mode::off); c.limits.flows_v4 = 0; return tcp_alone(syn_of({.isn = 5}), c); };
    auto const second_host = [](nat_lab& l, end) { return l.udp(side::inside, l.w.inside(2, 4000), l.w.outside(9, 53)); };
    s[drop_reason::nat_ports_exhausted] = [=] { return behind_nat([](nat_config&) {}, second_host); };
    s[drop_reason::nat_table_full] = [=] {
        return behind_nat([](nat_config& n) { n.bindings_v4 = 1, n.snat[0].ports.ports = {2000, 2001}; }, second_host);
    };
    s[drop_reason::nat_no_block] = [=] {
        return behind_nat([](nat_config& n) { n.snat[0].ports.ports = {2000, 2019}, n.snat[0].block_ports = 10; }, second_host);
    };
    s[drop_reason::nat_no_mapping] = [] {
        return behind_nat([](nat_config&) {}, [](nat_lab& l, end e) { return l.udp(side::outside, l.w.outside(9, 53), {e.address, 2001}); });
    };
    s[drop_reason::nat_filtered] = [] {
        return behind_nat([](nat_config&) {}, [](nat_lab& l, end e) { return l.udp(side::outside, l.w.outside(8, 53), e); });
    };
    s[drop_reason::handshakes_full] = [] {
        engine_config c = guarded();
        c.limits.handshakes = 0;
        line l(c);
        hands h{l};
        h.challenge();
        return l.client_sends(h.third_ack()).reason;
    };
    s[drop_reason::no_backend] = [] {
        service_line<> l({.services = {service_of(1)}});
        l.set_state(0, backend_state::down);
        return l.client_sends(syn_of({.isn = 5})).reason;
    };
    s[drop_reason::service_limit] = [] {
        service_config one = service_of(1);
        one.backends[0].connections = 1;
        service_line<> l({.services = {one}});
        l.syn(1);
        l.ends.client_port = 2;
        return l.client_sends(syn_of({.isn = 5})).reason;
    };
    s[drop_reason::handshake_pending] = [] { return while_connecting([](line& l, hands& h) { return l.client_sends(h.third_ack()); }); };
    s[drop_reason::handshake_unexpected] = [] { return while_connecting([](line& l, hands& h) { return l.server_sends(syn_of(h.server)); }); };
    s[drop_reason::tcp_state] = [] {
        line l(guarded(guard_mode::off));
        l.client_sends(syn_of({.isn = 5}));
        return l.client_sends({.seq = 7, .ack = 1, .flags = flags::ack}).reason;
    };
    s[drop_reason::answer_unseen] = [] {
        line l(guarded(guard_mode::off));
        l.client_sends(syn_of({.isn = 5}));
        return l.client_sends({.seq = 6, .ack = 1, .flags = flags::ack}).reason;
    };
    s[drop_reason::timestamp_old] = [] {
        return on_connection([](line& l, hands& h) {
            segment data = h.from_client(70'000, 0, filled(9), 1000);
            data.timestamps = {{500, 0}};
            REQUIRE(l.client_sends(data).fate == verdict::forward);
            segment answer = h.from_server(0, 70'009, {}, 1000);
            answer.timestamps = {{1, 500}};
            REQUIRE(l.server_sends(answer).fate == verdict::forward);
            data = h.from_client(70'009, 0, filled(9), 1000);
            data.timestamps = {{499, 1}};
            return l.client_sends(data);
        });
    };
    s[drop_reason::seq_above_window] = [] { return on_connection([](line& l, hands& h) { return l.client_sends(h.from_client(80'000, 0, filled(9), 1000)); }); };
    s[drop_reason::seq_below_window] = [] { return on_connection([](line& l, hands& h) { return l.client_sends(h.from_client(60'000, 0, filled(9), 1000)); }); };
    s[drop_reason::ack_above_sent] = [] { return on_connection([](line& l, hands& h) { return l.server_sends(h.from_server(0, 70'001, {}, 1000)); }); };
    s[drop_reason::ack_too_old] = [] { return on_connection([](line& l, hands& h) { return l.server_sends(h.from_server(0, 3'999, {}, 1000)); }); };
    s[drop_reason::rst_outside_window] = [] {
        return on_connection([](line& l, hands& h) {
            segment reset = h.from_client(80'000, 0);
            reset.flags = flags::rst;
            return l.client_sends(reset);
        });
    };
    s[drop_reason::syn_ack_mismatch] = [] {
        line l(guarded(guard_mode::off));
        hands h{l};
        l.client_sends(syn_of(h.client));
        return l.server_sends(h.syn_ack(h.client.isn + 2)).reason;
    };
    s[drop_reason::icmp_unrelated] = [] {
        return alone(ethernet(icmp_packet(ip4{}, 3, 4, tcp_datagram({}, false, {.seq = 5, .flags = flags::ack}))));
    };
    s[drop_reason::icmp_denied] = [] { return alone(ethernet(icmp_packet(ip4{}, 5, 1, tcp_datagram({}, false, {.seq = 5, .flags = flags::ack})))); };
    s[drop_reason::untranslatable] = [] { return behind_nat64(1); };
    s[drop_reason::nat64_hosts_full] = [] { return behind_nat64(0); };
    s[drop_reason::frame_room] = [] {
        line l(guarded());
        return l.sends(side::outside, framed({}, tcp_datagram({}, true, {.seq = 5, .flags = flags::syn})), {}, 0).reason;
    };
    s[drop_reason::outbox_full] = [] {
        line l(guarded());
        hands h{l};
        h.challenge();
        h.validate();
        byte_string room = framed(l.ends, tcp_datagram(l.ends, false, h.syn_ack()));
        frame f;
        f.length = f.wire_length = static_cast<std::uint32_t>(room.size());
        room.resize(256);
        f.data = room.data();
        f.capacity = 256;
        f.arrival = side::inside;
        outbox none(0);
        l.proxy().process({&f, 1}, time_point(std::chrono::milliseconds(1'000'000)), none);
        return f.reason;
    };
    return s;
}

}  // namespace

TEST_CASE("every reason for a drop has a packet that is dropped for it") {
    std::map<drop_reason, story> const all = stories();
    for (std::size_t i = 1; i < drop_reason_count; ++i) {
        auto const reason = static_cast<drop_reason>(i);
        CAPTURE(reason);
        auto const found = all.find(reason);
        REQUIRE(found != all.end());
        CHECK(found->second() == reason);
    }
}
