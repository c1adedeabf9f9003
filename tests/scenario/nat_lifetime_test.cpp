// SPDX-License-Identifier: BSL-1.0
// How long mappings and their flows live (RFC 4787 REQ-5, REQ-6, RFC 5382 REQ-5, RFC 6888 REQ-8, RFC 7857), and NAT behind a guard.
#include "tests/support/nat_lab.hpp"

#include "tests/support/splice.hpp"

#include <set>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

engine_config under_nat() {
    engine_config config = guarded(guard_mode::off);
    config.timeouts = config.timeouts.under_nat();
    return config;
}

/// A TCP connection from inside to port 80, established.
struct connection {
    nat_lab& l;
    world_of w{};
    end client = w.inside(5, 4000), server = w.outside(9, 80), external{};

    void open(std::uint32_t isn = 100) {
        external = source_of(l.passes(up({.seq = isn, .flags = flags::syn, .window = 60'000})));
        l.passes(down({.seq = 900, .ack = isn + 1, .flags = flags::syn | flags::ack, .window = 60'000}));
        l.passes(up({.seq = isn + 1, .ack = 901, .flags = flags::ack, .window = 60'000}));
    }
    outcome up(segment const& s) { return l.tcp(side::inside, client, server, s); }
    outcome down(segment const& s) { return l.tcp(side::outside, server, external, s); }
};

segment data_up() { return {.seq = 101, .ack = 901, .flags = flags::ack, .window = 60'000, .payload = filled(1)}; }

}  // namespace

TEST_CASE("the timeouts under NAT are not below the RFCs' floors, and those above stay (RFC 4787 REQ-5, RFC 5382 REQ-5)") {
    for (flow_timeouts const t : {flow_timeouts::adc().under_nat(), flow_timeouts::firewall().under_nat()}) {
        CHECK(t.established >= 7'440'000);
        for (timeout_ms const transitory : {t.syn_sent, t.syn_received, t.last_ack, t.time_wait, t.closed}) CHECK(transitory >= 240'000);
        for (timeout_ms const datagrams : {t.udp_new, t.udp_replied, t.other_new, t.other_replied}) CHECK(datagrams >= 120'000);
        CHECK(t.icmp >= 60'000);
    }
    CHECK(flow_timeouts::firewall().under_nat().established == flow_timeouts::firewall().established);
    CHECK(flow_timeouts::firewall().under_nat().udp_replied == flow_timeouts::firewall().udp_replied);
}

TEST_CASE("packets from inside keep a UDP mapping alive, packets from outside do not (RFC 4787 REQ-6)") {
    for (world_of const w : both_families()) {
        nat_lab l(w, napt(w), under_nat());
        end const e = l.mapped(w.inside(5, 4000), w.outside(9, 53));
        for (int n = 0; n < 10; ++n) {  // nobody answers
            l.after(100'000);
            CHECK(l.mapped(w.inside(5, 4000), w.outside(9, 53)) == e);
        }
        CHECK(l.plan().counters().mappings_made == 1);
        for (std::uint64_t ms : {100'000u, 199'000u}) {  // 300 s, for it is answered now
            l.after(ms);
            l.passes(l.udp(side::outside, w.outside(9, 53), e));
        }
        l.after(1'100);
        CHECK(l.proxy().flows_now() == 0);
    }
}

TEST_CASE("a mapping outlives the flow that made it, and serves the next one of its endpoint") {
    world_of const w;
    nat_lab l(w, napt(w), under_nat());
    end const e = l.mapped(w.inside(5, 4000), w.outside(9, 53));
    l.after(121'000);
    CHECK(l.proxy().flows_now() == 0);
    CHECK(l.plan().bindings<std::uint32_t>().lingering() == 1);
    CHECK(l.mapped(w.inside(5, 4000), w.outside(8, 54)) == e);
    l.after(121'000);
    CHECK(l.plan().bindings<std::uint32_t>().size() == 1);
    l.after(121'000);
    CHECK(l.plan().bindings<std::uint32_t>().size() == 0);
    CHECK(l.ports_held(17) == 0);
    CHECK_FALSE(l.proxy().next_deadline());
}

TEST_CASE("several flows share a mapping, which ends with the last of them") {
    world_of const w;
    nat_config nat = napt(w);
    nat.linger.udp = 0;
    nat_lab l(w, nat);
    end const e = l.mapped(w.inside(5, 4000), w.outside(9, 53));
    l.after(20'000);
    CHECK(l.mapped(w.inside(5, 4000), w.outside(8, 53)) == e);
    l.after(15'000);
    CHECK(l.proxy().flows_now() == 1);
    CHECK(l.ports_held(17) == 1);
    CHECK(l.mapped(w.inside(5, 4000), w.outside(7, 53)) == e);
    l.after(31'000);
    CHECK(l.ports_held(17) == 0);
}

TEST_CASE("a port waits in quarantine when its mapping is over (RFC 6888 REQ-8)") {
    world_of const w;
    nat_config nat = napt(w, {2000, 2000});
    nat.snat[0].ports.quarantine = 60'000;
    nat.linger.udp = 0;
    nat_lab l(w, nat);
    l.mapped(w.inside(5, 4000), w.outside(9, 53));
    l.after(30'100);
    CHECK(l.proxy().flows_now() == 0);
    CHECK(l.udp(side::inside, w.inside(6, 4000), w.outside(9, 53)).reason == drop_reason::nat_ports_exhausted);
    l.after(59'800);
    CHECK(l.udp(side::inside, w.inside(6, 4000), w.outside(9, 53)).reason == drop_reason::nat_ports_exhausted);
    l.after(400);
    CHECK(l.mapped(w.inside(6, 4000), w.outside(9, 53)) == w.pool(1, 2000));
}

TEST_CASE("TCP: after a RST the flow lives for its closing time, then nothing passes, and a SYN opens anew (RFC 7857 section 2.2)") {
    world_of const w;
    nat_lab l(w, napt(w), under_nat());
    connection c{l};
    c.open();
    l.after(3'600'000);  // idle for an hour
    l.passes(c.up(data_up()));
    l.passes(c.down({.seq = 901, .ack = 102, .flags = flags::rst | flags::ack}));
    l.after(239'000);
    CHECK(l.ports_held(6) == 1);
    l.after(2'000);
    CHECK(l.ports_held(6) == 0);
    CHECK(c.up(data_up()).reason == drop_reason::no_flow);
    CHECK(c.down({.seq = 901, .ack = 102, .flags = flags::ack}).reason == drop_reason::no_flow);
    c.open(5'000);
    CHECK(l.ports_held(6) == 1);
}

TEST_CASE("TCP closes from inside, from outside and at once, and its port comes back; a SYN in TIME-WAIT takes the mapping over") {
    world_of const w;
    for (unsigned who : {0u, 1u, 2u}) {
        CAPTURE(who);
        nat_lab l(w, napt(w), under_nat());
        connection c{l};
        c.open();
        segment const fin_up{.seq = 101, .ack = 901, .flags = flags::fin | flags::ack, .window = 60'000};
        segment const fin_down{.seq = 901, .ack = 101, .flags = flags::fin | flags::ack, .window = 60'000};
        auto const acknowledged = [](segment s) { return ++s.ack, s; };
        if (who == 0) {
            l.passes(c.up(fin_up));
            l.passes(c.down(acknowledged(fin_down)));
            l.passes(c.up({.seq = 102, .ack = 902, .flags = flags::ack, .window = 60'000}));
        } else if (who == 1) {
            l.passes(c.down(fin_down));
            l.passes(c.up(acknowledged(fin_up)));
            l.passes(c.down({.seq = 902, .ack = 102, .flags = flags::ack, .window = 60'000}));
        } else {
            l.passes(c.up(fin_up));
            l.passes(c.down(fin_down));
            l.passes(c.up({.seq = 102, .ack = 902, .flags = flags::ack, .window = 60'000}));
            l.passes(c.down({.seq = 902, .ack = 102, .flags = flags::ack, .window = 60'000}));
        }
        end const before = c.external;
        CHECK(l.ports_held(6) == 1);
        if (who == 0) {
            c.open(0x4000'0000);
            CHECK(c.external.address == before.address);
            CHECK(l.proxy().flows_now() == 1);
            continue;
        }
        l.after(241'000);
        CHECK(l.ports_held(6) == 0);
        CHECK(l.plan().counters().mappings_made == l.plan().counters().mappings_ended);
    }
}

TEST_CASE("a lost ACK of the handshake: the server's SYN-ACK again leaves the connection and its mapping as they are") {
    world_of const w;
    nat_lab l(w, napt(w), under_nat());
    connection c{l};
    c.open();
    l.passes(c.down({.seq = 900, .ack = 101, .flags = flags::syn | flags::ack, .window = 60'000}));
    l.after(300'000);
    l.passes(c.up(data_up()));
    CHECK(l.plan().counters().mappings_made == 1);
}

TEST_CASE("a full flow table: UDP flows without answer give way with their ports, an established connection stays") {
    world_of const w;
    engine_config config = impatient();
    config.limits.flows_v4 = 16;
    nat_config nat = napt(w);
    nat.linger.udp = 0;
    nat_lab l(w, nat, config);
    connection c{l};
    c.open();
    for (unsigned n = 0; n < 100; ++n) CHECK(l.udp(side::inside, w.inside(5, 4000 + n), w.outside(9, 53)).fate == verdict::forward);
    CHECK(l.proxy().flows_now() == 16);
    CHECK(l.ports_held(17) == 15);
    l.passes(c.up(data_up()));
}

// --- Behind a guard ---------------------------------------------------------------------------------------------------------------

TEST_CASE("a spliced connection through destination and source NAT: handshake, data, window update and ICMP in the right addresses") {
    for (world_of const w : both_families()) {
        CAPTURE(w.version);
        nat_config nat;
        dnat_rule forward;
        forward.to = prefix_of(w.pool(3));
        forward.protocol = ip_protocol::tcp;
        forward.ports = {80, 80};
        forward.target = address_of(w.inside(80).address);
        forward.target_ports = {8080, 8080};
        nat.dnat = {forward};
        snat_rule full;
        full.origin = flow_origin::outside;
        full.pool = {prefix_of(w.inside(200))};
        nat.snat = {full};
        nat_lab l(w, nat, guarded());
        end const client = w.outside(9, 4000), service = w.pool(3, 80), server = w.inside(80, 8080);
        auto const up = [&](segment const& s) { return l.tcp(side::outside, client, service, s); };
        outcome const cookie = up(syn_of({.isn = 1000, .timestamps = false}));
        REQUIRE(cookie.fate == verdict::reply);
        CHECK(source_of(*cookie.packet) == service);
        CHECK(l.ports_held(6) == 0);  // a challenge takes nothing
        std::uint32_t const k = cookie.packet->tcp.seq;
        decoded const syn = l.passes(up({.seq = 1001, .ack = k + 1, .flags = flags::ack, .window = 500}));
        end const ours = source_of(syn);
        CHECK(ours.address == w.inside(200).address);
        CHECK(destination_of(syn) == server);
        CHECK(syn.tcp.seq == 1000);
        segment const syn_ack{.seq = 7000, .ack = 1001, .flags = flags::syn | flags::ack, .window = 65'000, .mss = 1460, .scale = 7, .sack_permitted = true};
        outcome const done = l.tcp(side::inside, server, ours, syn_ack);
        decoded const update = l.passes(done);
        CHECK(source_of(update) == service);
        CHECK(destination_of(update) == client);
        CHECK(update.tcp.seq == k + 1);
        REQUIRE(done.beside.size() == 1);
        CHECK(source_of(done.beside[0]) == ours);
        CHECK(destination_of(done.beside[0]) == server);
        segment const request{.seq = 1001, .ack = k + 1, .flags = flags::ack, .window = 500, .payload = filled(100)};
        decoded const at_server = l.passes(up(request));
        CHECK(source_of(at_server) == ours);
        CHECK(at_server.tcp.ack == 7001);
        decoded const answer = l.passes(l.tcp(side::inside, server, ours, {.seq = 7001, .ack = 1101, .flags = flags::ack, .window = 500, .payload = filled(7)}));
        CHECK(source_of(answer) == service);
        CHECK(answer.tcp.seq == k + 1);
        decoded const error = l.passes(l.ip(side::inside, error_datagram(w.inside(80), ours.address == w.inside(200).address ? ours : server, ip_of(at_server))));
        CHECK(error.source == service.address);
        CHECK(error.destination == client.address);
        CHECK(byte_string(error.transport.begin() + 8, error.transport.end()) == tcp_datagram(client, service, request));
        CHECK(l.ports_held(6) == 1);
    }
}

TEST_CASE("no SYN is answered for a connection that could not be translated: no port, no mapping, no promise") {
    world_of const w;
    nat_config nat = napt(w, {2000, 2000});
    nat.snat[0].origin = flow_origin::outside;
    nat.snat[0].from = {};
    nat_lab l(w, nat, guarded());
    auto const syn_from = [&](unsigned n) { return l.tcp(side::outside, w.outside(n, 4000), w.inside(80, 80), syn_of({.isn = 1000, .timestamps = false})); };
    outcome const cookie = syn_from(1);
    REQUIRE(cookie.fate == verdict::reply);
    l.passes(l.tcp(side::outside, w.outside(1, 4000), w.inside(80, 80), {.seq = 1001, .ack = cookie.packet->tcp.seq + 1, .flags = flags::ack, .window = 500}));
    CHECK(syn_from(2).reason == drop_reason::nat_ports_exhausted);
    nat_lab in(w, napt(w), guarded());
    CHECK(in.tcp(side::outside, w.outside(1, 4000), w.pool(1, 80), syn_of({.isn = 1000})).reason == drop_reason::nat_no_mapping);
}

TEST_CASE("a port that was given between the SYN and its ACK is missing there: the ACK is dropped as nat_ports_exhausted, and nothing leaks") {
    world_of const w;
    nat_config nat = napt(w, {2000, 2000});
    nat.snat[0].origin = flow_origin::outside;
    nat.snat[0].from = {};
    nat_lab l(w, nat, guarded());
    std::uint32_t cookies[2];
    for (unsigned n : {0u, 1u}) cookies[n] = l.tcp(side::outside, w.outside(n + 1, 4000), w.inside(80, 80), syn_of({.isn = 1000, .timestamps = false})).packet->tcp.seq;
    auto const prove = [&](unsigned n) {
        return l.tcp(side::outside, w.outside(n + 1, 4000), w.inside(80, 80), {.seq = 1001, .ack = cookies[n] + 1, .flags = flags::ack, .window = 500});
    };
    l.passes(prove(0));
    CHECK(prove(1).reason == drop_reason::nat_ports_exhausted);
    CHECK(l.proxy().handshakes_now() == 1);
    CHECK(l.ports_held(6) == 1);
}

TEST_CASE("connections that hairpin are not challenged, although the side they come from is") {
    world_of const w;
    engine_config config = guarded();
    config.guard.sides = guarded_sides::both;
    nat_config nat = napt(w);
    nat.statics = {{prefix_of(w.inside(64)), prefix_of(w.pool(128))}};
    nat_lab l(w, nat, config);
    CHECK(l.tcp(side::inside, w.inside(5, 4000), w.outside(9, 80), syn_of({.isn = 1000})).packet->tcp.flags == (flags::syn | flags::ack));
    decoded const through = l.passes(l.tcp(side::inside, w.inside(5, 4000), w.pool(128, 80), syn_of({.isn = 1000})), verdict::reply);
    CHECK(destination_of(through) == w.inside(64, 80));
    CHECK(through.tcp.flags == flags::syn);
}
