// SPDX-License-Identifier: BSL-1.0
// An active half proxy and its standby: what the one lets through goes on through the other. Whatever a packet becomes at the standby, it becomes the same, byte by
// byte, at the active one (synced.hpp: same()).
#include "tests/support/services.hpp"
#include "tests/support/synced.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

byte_string frame_of(endpoints const& e, bool from_client, segment const& s) { return framed(e, tcp_datagram(e, from_client, s)); }
byte_string tcp_frame(end const& from, end const& to, segment const& s) { return ethernet(tcp_datagram(from, to, s)); }
byte_string udp_frame(end const& from, end const& to, std::size_t bytes = 20) { return ethernet(udp_datagram(from, to, filled(bytes))); }

synced_config spliced_config() {
    synced_config c;
    c.engine = guarded(guard_mode::always);
    return c;
}
synced_config translated(world_of const& w, port_range ports = {1024, 65535}) {
    synced_config c;
    c.nat = napt(w, ports);
    return c;
}
synced_config serving_config(service_config const& s, nat_config const& nat = {}) {
    synced_config c;
    c.services.services = {s};
    c.nat = nat;
    return c;
}

constexpr std::uint32_t client_isn = 5'000, server_isn = 80'000;

/// The client's and the server's segments of a connection between two ends; `seen` is the client as the server sees it.
struct tcp_flow {
    end client, server, seen_client, seen_server;

    [[nodiscard]] segment up(std::uint32_t sent, std::uint32_t received, std::size_t bytes = 0, unsigned more = 0) const {
        return {.seq = client_isn + 1 + sent, .ack = server_isn + 1 + received, .flags = flags::ack | more, .window = 1000, .payload = filled(bytes)};
    }
    [[nodiscard]] segment down(std::uint32_t sent, std::uint32_t received, std::size_t bytes = 0, unsigned more = 0) const {
        return {.seq = server_isn + 1 + sent, .ack = client_isn + 1 + received, .flags = flags::ack | more, .window = 1000, .payload = filled(bytes)};
    }
    [[nodiscard]] byte_string upward(segment const& s) const { return tcp_frame(client, server, s); }
    [[nodiscard]] byte_string downward(segment const& s) const { return tcp_frame(seen_server, seen_client, s); }
};

/// Opens one through the active proxy, whoever is where.
tcp_flow open_tcp(synced_pair& p, side at, end const& client, end const& server) {
    tcp_flow f{client, server, {}, {}};
    auto& line = p.active->line;
    outcome const syn = line.sends(at, f.upward({.seq = client_isn, .flags = flags::syn, .window = 1000}));
    REQUIRE(syn.fate == verdict::forward);
    f.seen_client = source_of(*syn.packet);
    f.seen_server = destination_of(*syn.packet);
    REQUIRE(line.sends(other(at), f.downward({.seq = server_isn, .ack = client_isn + 1, .flags = flags::syn | flags::ack, .window = 1000})).fate == verdict::forward);
    REQUIRE(line.sends(at, f.upward(f.up(0, 0))).fate == verdict::forward);
    return f;
}

/// Data both ways, then more of it with what was acknowledged.
void goes_on(synced_pair& p, side at, tcp_flow const& f, bool client_first) {
    for (int turn = 0; turn < 2; ++turn) {
        if ((turn == 0) == client_first)
            CHECK(source_of(p.same(at, f.upward(f.up(0, client_first ? 0 : 70, 50)))) == f.seen_client);
        else
            CHECK(destination_of(p.same(other(at), f.downward(f.down(0, client_first ? 50 : 0, 70)))) == f.client);
    }
    p.same(at, f.upward(f.up(50, 70, 9)));
    p.same(other(at), f.downward(f.down(70, 59, 9)));
}

/// A UDP conversation of three packets, the least that is told; how its client is seen.
end open_udp(synced_pair& p, side at, end const& client, end const& server) {
    auto& line = p.active->line;
    outcome const first = line.sends(at, udp_frame(client, server));
    REQUIRE(first.fate == verdict::forward);
    end const seen = source_of(*first.packet), there = destination_of(*first.packet);
    REQUIRE(line.sends(other(at), udp_frame(there, seen)).fate == verdict::forward);
    REQUIRE(line.sends(at, udp_frame(client, server)).fate == verdict::forward);
    return seen;
}

std::uint64_t became(synced_pair& p, adoption what) { return p.receiver->counters().adoptions[static_cast<std::size_t>(what)]; }

}  // namespace

TEST_CASE("a spliced connection goes on through the standby with its sequence shift, timestamps and window scales, whoever sends first") {
    for (unsigned const version : {4u, 6u})
        for (bool const client_first : {true, false}) {
            CAPTURE(version);
            CAPTURE(client_first);
            synced_pair p(spliced_config());
            auto& line = p.active->line;
            line.ends.version = version;
            handshake_of<synced_policies> h{line, {.isn = 1000, .scale = 9}, {.isn = 700'000, .window = 65160, .scale = 3, .clock = 9'000'000}};
            h.all();
            p.run();
            CHECK(p.equal());
            REQUIRE(p.standby->proxy().flows_now() == 1);
            p.receiver->take_over();
            std::vector<std::pair<bool, segment>> talk{{true, h.from_client(0, 0, filled(100))},   {false, h.from_server(0, 100, filled(333))},
                                                       {true, h.from_client(100, 333, {}, 77)},    {false, h.from_server(333, 100, filled(1000), 5)},
                                                       {true, h.from_client(100, 1333, filled(9))}};
            if (!client_first) {
                std::swap(talk[0], talk[1]);
                talk[0].second.ack -= 100;
            }
            for (auto const& [from_client, s] : talk) {
                decoded const d = p.same(from_client ? side::outside : side::inside, frame_of(line.ends, from_client, s));
                if (from_client)
                    CHECK(d.tcp.ack == s.ack - h.shift());
                else
                    CHECK(d.tcp.seq == s.seq + h.shift());
                CHECK(d.tcp.payload == s.payload);
            }
        }
}

TEST_CASE("a spliced connection whose server has no timestamps goes on with those put in for it, until the handshakes of the pool are used up") {
    synced_config c = spliced_config();
    c.engine.splice.learn = false;
    c.engine.limits.handshakes = 8;  // of which a quarter may be kept for this
    synced_pair p(c);
    auto& line = p.active->line;
    std::vector<segment> next;
    for (unsigned n = 0; n < 2; ++n) {
        line.ends.client_port = 40000 + n;
        handshake_of<synced_policies> h{line, {.isn = 1000}, {.isn = 700'000, .window = 65160, .timestamps = false}};
        h.challenge();
        h.validate();
        REQUIRE(line.server_sends(h.syn_ack()).fate == verdict::reply);  // asked anew
        h.complete();
        segment s = h.from_client(0, 0, filled(50));
        s.timestamps = {{h.client.clock + 20, h.cookie_clock}};
        next.push_back(s);
        segment back = h.from_server(0, 50, filled(60));
        next.push_back(back);
    }
    p.run();
    CHECK(p.equal());
    CHECK(p.standby->proxy().handshakes_now() == 2);
    for (unsigned n = 0; n < 2; ++n) {
        line.ends.client_port = 40000 + n;
        CHECK_FALSE(p.same(side::outside, frame_of(line.ends, true, next[2 * n])).tcp.timestamps);
        CHECK(p.same(side::inside, frame_of(line.ends, false, next[2 * n + 1])).tcp.timestamps->second == next[2 * n].timestamps->first);
    }
    synced_config few = c;
    few.engine.limits.handshakes = 4;
    synced_pair q(c, {}, few);
    q.active = std::move(p.active);
    q.restart_sender();
    q.run();
    CHECK(q.standby->proxy().flows_now() == 1);
    CHECK(became(q, adoption::handshakes_full) == 1);
}

TEST_CASE("connections that nothing is done to go on, from either side, and strictly once both sides were seen") {
    for (world_of const w : both_families())
        for (bool const client_first : {true, false}) {
            synced_config c;
            c.engine.tracking.strictness = strictness::strict;
            synced_pair p(c);
            tcp_flow const out = open_tcp(p, side::inside, w.inside(5, 4000), w.outside(9, 80));
            tcp_flow const in = open_tcp(p, side::outside, w.outside(7, 5000), w.inside(3, 22));
            p.run();
            CHECK(p.equal());
            CHECK(p.standby->proxy().flows_now() == 2);
            goes_on(p, side::inside, out, client_first);
            goes_on(p, side::outside, in, client_first);
            outcome const far = p.standby->line.sends(side::inside, out.upward(out.up(1'000'000, 79, 5)));
            CHECK(far.reason == drop_reason::seq_above_window);
        }
}

TEST_CASE("what passed since the standby was told does not matter, be it more than half of the sequence space") {
    synced_pair p;
    world_of const w;
    tcp_flow const f = open_tcp(p, side::inside, w.inside(5, 4000), w.outside(9, 80));
    p.run();
    auto& line = p.standby->line;
    constexpr std::uint32_t far = 3'000'000'000;
    CHECK(line.sends(side::outside, f.downward(f.down(far, 0, 100))).fate == verdict::forward);
    CHECK(line.sends(side::inside, f.upward(f.up(0, far + 100))).fate == verdict::forward);
    CHECK(line.sends(side::outside, f.downward(f.down(far + 100, 0, 100))).fate == verdict::forward);
    CHECK(line.sends(side::inside, f.upward(f.up(0, far + 200))).fate == verdict::forward);
    CHECK(line.sends(side::outside, f.downward(f.down(far + 1'000'000, 0, 100))).reason == drop_reason::seq_above_window);
}

TEST_CASE("a RST ends a connection at the standby where it stands exactly, before anything else was seen, and elsewhere not") {
    for (bool const exact : {true, false}) {
        synced_pair p;
        world_of const w;
        tcp_flow const f = open_tcp(p, side::inside, w.inside(5, 4000), w.outside(9, 80));
        p.run();
        segment s = f.down(exact ? 0 : 5, 0);
        s.flags = flags::rst;
        CHECK(p.standby->line.sends(side::outside, f.downward(s)).fate == verdict::forward);
        CHECK(p.standby->proxy().state_of<std::uint32_t>(0).has_value() == !exact);
    }
}

TEST_CASE("translated flows keep their external endpoint at the standby: TCP, UDP, ICMP queries and what has no ports, both families") {
    for (world_of const w : both_families()) {
        CAPTURE(w.version);
        synced_pair p(translated(w));
        tcp_flow const f = open_tcp(p, side::inside, w.inside(5, 4000), w.outside(9, 80));
        end const seen = open_udp(p, side::inside, w.inside(6, 4000), w.outside(9, 53));
        auto& line = p.active->line;
        end id;
        for (int n = 0; n < 3; ++n) id = source_of(*line.sends(side::inside, ethernet(ping_datagram(w.inside(5), w.outside(9), 77, true))).packet);
        for (int n = 0; n < 3; ++n) line.sends(side::inside, ethernet(gre_datagram(w.inside(5), w.outside(9))));
        p.run();
        CHECK(p.equal());
        CHECK(p.standby->proxy().flows_now() == 4);
        for (int const protocol : {6, 17, w.version == 4 ? 1 : 58}) CHECK(p.standby->ports_held(static_cast<std::uint8_t>(protocol)) == 1);
        CHECK(p.standby->addresses().next().bindings<std::uint32_t>().size() + p.standby->addresses().next().bindings<ipv6_bytes>().size() == 4);
        p.receiver->take_over();
        goes_on(p, side::inside, f, false);
        CHECK(destination_of(p.same(side::outside, udp_frame(w.outside(9, 53), seen))) == w.inside(6, 4000));
        CHECK(source_of(p.same(side::inside, udp_frame(w.inside(6, 4000), w.outside(9, 53)))) == seen);
        CHECK(destination_of(p.same(side::outside, ethernet(ping_datagram(w.outside(9), id, id.port, false)))) == w.inside(5, 77));
        CHECK(source_of(p.same(side::inside, ethernet(gre_datagram(w.inside(5), w.outside(9))))).address == w.pool(1).address);
    }
}

TEST_CASE("an inside endpoint keeps its mapping at the standby for other destinations too, and strangers reach it there (RFC 4787 REQ-1, REQ-8)") {
    for (world_of const w : both_families()) {
        synced_config c = translated(w);
        c.nat.snat[0].filtering = nat_filtering::endpoint_independent;
        synced_pair p(c);
        end const seen = open_udp(p, side::inside, w.inside(6, 4000), w.outside(9, 53));
        auto& line = p.active->line;
        for (int n = 0; n < 3; ++n) REQUIRE(line.sends(side::outside, udp_frame(w.outside(8, 1234), seen)).fate == verdict::forward);
        p.run();
        CHECK(p.equal());
        CHECK(p.standby->ports_held(17) == 1);
        CHECK(source_of(*p.standby->line.sends(side::inside, udp_frame(w.inside(6, 4000), w.outside(7, 99))).packet) == seen);
        CHECK(destination_of(p.same(side::outside, udp_frame(w.outside(8, 1234), seen))) == w.inside(6, 4000));
        CHECK(source_of(p.same(side::inside, udp_frame(w.inside(6, 4000), w.outside(8, 1234)))) == seen);
    }
}

TEST_CASE("what came in through a mapping brings the mapping along, when the flow that had made it is gone") {
    for (world_of const w : both_families()) {
        synced_config c = translated(w);
        c.nat.snat[0].filtering = nat_filtering::endpoint_independent;
        c.engine.timeouts.udp_replied = 2'000;
        synced_pair p(c);
        end const seen = source_of(*p.active->line.sends(side::inside, udp_frame(w.inside(6, 4000), w.outside(9, 53))).packet);
        for (int n = 0; n < 22; ++n) {
            REQUIRE(p.active->line.sends(side::outside, udp_frame(w.outside(8, 1234), seen)).fate == verdict::forward);
            REQUIRE(p.active->line.sends(side::inside, udp_frame(w.inside(6, 4000), w.outside(8, 1234))).fate == verdict::forward);
            p.after(1'500);
        }
        REQUIRE(p.active->proxy().flows_now() == 1);
        p.run();
        CHECK(p.equal());
        CHECK(p.standby->ports_held(17) == 1);
        CHECK(destination_of(p.same(side::outside, udp_frame(w.outside(8, 1234), seen))) == w.inside(6, 4000));
        CHECK(source_of(p.same(side::inside, udp_frame(w.inside(6, 4000), w.outside(8, 1234)))) == seen);
    }
}

TEST_CASE("a static or destination NAT rule's flows go on, and hairpins leave through the side they came from") {
    world_of const w;
    synced_config c = translated(w);
    c.nat.dnat = {{.to = prefix_of(w.pool(2)), .target = address_of(w.inside(7).address), .target_ports = {8080, 8080}}};
    c.nat.hairpin = true;
    synced_pair p(c);
    tcp_flow const in = open_tcp(p, side::outside, w.outside(9, 5000), w.pool(2, 80));
    CHECK(in.seen_server == w.inside(7, 8080));
    auto& line = p.active->line;
    outcome out;
    for (int n = 0; n < 3; ++n) out = line.sends(side::inside, udp_frame(w.inside(5, 4000), w.pool(2, 53)));
    REQUIRE(out.fate == verdict::reply);
    p.run();
    CHECK(p.equal());
    goes_on(p, side::outside, in, true);
    CHECK(source_of(p.same(side::inside, udp_frame(w.inside(5, 4000), w.pool(2, 53)))) == source_of(*out.packet));
    p.same(side::inside, udp_frame(w.inside(7, 8080), source_of(*out.packet)));
}

TEST_CASE("no port is given out twice: the standby knows which are taken, and takes none that a flow of its own has") {
    for (world_of const w : both_families()) {
        synced_config c = translated(w, {2000, 2007});
        c.nat.snat[0].mapping = nat_mapping::address_and_port_dependent;
        c.nat.linger.udp = 0;
        synced_pair p(c);
        std::map<unsigned, unsigned> given;
        for (unsigned n = 0; n < 5; ++n) ++given[open_udp(p, side::inside, w.inside(n, 4000), w.outside(9, 53)).port];
        p.run();
        CHECK(p.standby->ports_held(17) == 5);
        auto& line = p.standby->line;
        for (unsigned n = 10; n < 13; ++n) ++given[source_of(*line.sends(side::inside, udp_frame(w.inside(n, 4000), w.outside(9, 53))).packet).port];
        CHECK(given.size() == 8);  // as many as there are ports
        CHECK(line.sends(side::inside, udp_frame(w.inside(13, 4000), w.outside(9, 53))).reason == drop_reason::nat_ports_exhausted);
        for (unsigned n = 20; n < 23; ++n) open_udp(p, side::inside, w.inside(n, 4000), w.outside(8, 53));
        p.run();
        CHECK(p.standby->ports_held(17) == 8);
        CHECK(p.standby->proxy().flows_now() == 8);
        CHECK(became(p, adoption::port_taken) == 3);
        for (unsigned n = 0; n < 45; ++n) {  // the standby's own flows end; what was refused is told again, and taken
            p.after(1'000);
            p.step();
        }
        CHECK(p.standby->ports_held(17) == 8);
        CHECK(p.equal());
    }
}

TEST_CASE("flows of a service go to the same backend at the standby, whose count they are in") {
    for (unsigned const version : {4u, 6u})
        for (forward_mode const mode : {forward_mode::dnat, forward_mode::fullnat, forward_mode::transparent, forward_mode::dsr}) {
            CAPTURE(version);
            CAPTURE(static_cast<int>(mode));
            service_config s = service_of(3, version);
            s.mode = mode;
            bool const led = keeps_destination(mode);
            for (unsigned i = 0; led && i < 3; ++i) {
                s.backends[i].port = 0;
                s.backends[i].station = {2, 0, 0, 0, 7, static_cast<std::uint8_t>(i)};
            }
            nat_config nat;
            world_of const w{version};
            if (mode == forward_mode::fullnat) {
                snat_rule rule;
                rule.to = prefix_of(w.inside(0), 8);
                rule.origin = flow_origin::outside;
                rule.pool = {prefix_of(w.pool(1))};
                nat.snat = {rule};
            }
            synced_config c = serving_config(s, nat);
            c.engine.tracking.asymmetric = asymmetric_paths::detect;
            synced_pair p(c);
            endpoints e;
            e.version = version;
            end const server{version == 4 ? u32(e.server4) : e.server6, 80};
            for (unsigned n = 0; n < 6; ++n) {
                tcp_flow f{w.outside(50 + n, 4000), server, {}, {}};
                auto& line = p.active->line;
                outcome const syn = line.sends(side::outside, f.upward({.seq = client_isn, .flags = flags::syn, .window = 1000}));
                REQUIRE(syn.fate == verdict::forward);
                f.seen_client = source_of(*syn.packet);
                f.seen_server = destination_of(*syn.packet);
                segment const syn_ack{.seq = server_isn, .ack = client_isn + 1, .flags = flags::syn | flags::ack, .window = 1000};
                if (!answers_elsewhere(mode)) REQUIRE(line.sends(side::inside, f.downward(syn_ack)).fate == verdict::forward);
                line.sends(side::outside, f.upward(f.up(0, 0)));
                line.sends(side::outside, f.upward(f.up(0, 0, 10)));
                p.run();
                decoded const next = p.same(side::outside, f.upward(f.up(10, 0, 20)));
                CHECK(destination_of(next) == f.seen_server);
                if (led) CHECK(next.link[5] == syn.packet->link[5]);
                if (!answers_elsewhere(mode)) CHECK(destination_of(p.same(side::inside, f.downward(f.down(0, 30, 40)))) == f.client);
            }
            CHECK(p.equal());
            for (backend_index i = 0; i < 3; ++i) CHECK(p.standby->addresses().services().backends(0).open(i) == 2);
            CHECK(p.standby->ports_held(6) == (mode == forward_mode::fullnat ? 6 : 0));
        }
}

TEST_CASE("what a flow holds is given back at the standby when the active one says that it has ended") {
    service_config s = service_of(1);
    s.protocol = ip_protocol::udp;
    world_of const w;
    synced_config c = serving_config(s, napt(w));
    c.nat.linger = {0, 0, 0, 0};
    synced_pair p(c);
    endpoints const e;
    open_udp(p, side::outside, w.outside(9, 4000), {u32(e.server4), 80});
    open_udp(p, side::inside, w.inside(9, 4000), w.outside(7, 53));
    p.run();
    REQUIRE(p.standby->proxy().flows_now() == 2);
    p.active->line.after(200'000);  // its alone: the standby's have had no time to expire
    REQUIRE(p.active->proxy().flows_now() == 0);
    p.step();
    CHECK(p.standby->proxy().flows_now() == 0);
    CHECK(p.standby->addresses().services().backends(0).open(0) == 0);
    CHECK(p.standby->ports_held(17) == 0);
    CHECK(p.receiver->counters().removed == 2);
}

TEST_CASE("half-open connections and single datagrams are not told; when they are through they are, within a step") {
    synced_pair p;
    world_of const w;
    auto& line = p.active->line;
    tcp_flow const f{w.inside(5, 4000), w.outside(9, 80), w.inside(5, 4000), w.outside(9, 80)};
    line.sends(side::inside, f.upward({.seq = client_isn, .flags = flags::syn, .window = 1000}));
    line.sends(side::inside, udp_frame(w.inside(5, 4000), w.outside(9, 53)));
    line.sends(side::outside, udp_frame(w.outside(9, 53), w.inside(5, 4000)));
    p.run(20);
    CHECK(p.receiver->caught_up());
    CHECK(p.standby->proxy().flows_now() == 0);
    line.sends(side::outside, f.downward({.seq = server_isn, .ack = client_isn + 1, .flags = flags::syn | flags::ack, .window = 1000}));
    p.step();
    CHECK(p.standby->proxy().flows_now() == 0);
    line.sends(side::inside, f.upward(f.up(0, 0)));
    line.sends(side::inside, udp_frame(w.inside(5, 4000), w.outside(9, 53)));
    p.step();
    CHECK(p.standby->proxy().flows_now() == 2);
}

TEST_CASE("a client that is being announced to its server is told when that is through, and a splice when the server has answered") {
    synced_config c = spliced_config();
    endpoints const e;
    configured_backend server;
    server.address = ip_address::v4(e.server4);
    server.port = 80;
    server.profile.announce = proxy_protocol::v2;
    c.engine.splice.backends = {server};
    synced_pair p(c);
    handshake_of<synced_policies> h{p.active->line};
    h.challenge();
    decoded const syn = h.validate();
    p.run();
    CHECK(p.standby->proxy().flows_now() == 0);
    std::uint32_t const announced = h.client.isn - syn.tcp.seq;
    REQUIRE(p.active->line.server_sends(h.syn_ack(syn.tcp.seq + 1)).fate == verdict::forward);
    h.with_timestamps = true;
    p.run();
    CHECK(p.standby->proxy().flows_now() == 0);
    CHECK(announced == 28);
    CHECK(p.active->line.server_sends(h.from_server(0, 0)).fate == verdict::forward);  // it has the header
    p.run();
    REQUIRE(p.standby->proxy().flows_now() == 1);
    p.same(side::outside, frame_of(e, true, h.from_client(0, 0, filled(10))));
    p.same(side::inside, frame_of(e, false, h.from_server(0, 10, filled(10))));
}

TEST_CASE("idle time goes on at the standby: a flow ends there when it would have ended here") {
    synced_config c;
    c.engine.timeouts.established = 60'000;
    synced_pair p(c);
    world_of const w;
    open_tcp(p, side::inside, w.inside(5, 4000), w.outside(9, 80));
    p.after(40'000);
    p.run();
    REQUIRE(p.standby->proxy().flows_now() == 1);
    p.sender.reset();
    p.standby->line.after(19'000);
    CHECK(p.standby->proxy().flows_now() == 1);
    p.standby->line.after(1'500);
    CHECK(p.standby->proxy().flows_now() == 0);
}

TEST_CASE("an idle connection is kept at the standby for hours, though no packet of it was ever seen there, and a closing one as long as that takes") {
    synced_pair p;
    world_of const w;
    tcp_flow const f = open_tcp(p, side::inside, w.inside(5, 4000), w.outside(9, 80));
    tcp_flow const closing = open_tcp(p, side::inside, w.inside(5, 4001), w.outside(9, 80));
    p.run();
    p.active->line.sends(side::inside, closing.upward(closing.up(0, 0, 0, flags::fin)));
    for (int n = 0; n < 720; ++n) {
        p.after(10'000);
        p.step();
    }
    CHECK(p.standby->proxy().flows_now() == 2);
    CHECK(p.equal());
    goes_on(p, side::inside, f, true);
    p.same(side::outside, closing.downward(closing.down(0, 1, 0, flags::fin)));
    p.same(side::inside, closing.upward(closing.up(1, 1)));
    CHECK(p.equal());
    p.after(119'000);
    CHECK(p.standby->proxy().flows_now() == 2);
    p.after(2'000);
    CHECK(p.active->proxy().flows_now() == 1);
    CHECK(p.standby->proxy().flows_now() == 1);
}

TEST_CASE("after a take-over the standby tells the one that returns, and connections go on there again") {
    world_of const w;
    synced_pair p(translated(w));
    tcp_flow const f = open_tcp(p, side::inside, w.inside(5, 4000), w.outside(9, 80));
    p.run();
    p.receiver->take_over();
    goes_on(p, side::inside, f, true);
    p.step();
    CHECK(p.receiver->counters().not_standby == 0);
    p.after(1'000);
    p.step();  // the old one still tells: nobody listens
    CHECK(p.receiver->counters().not_standby >= 1);
    synced_pair back(translated(w));
    back.active = std::move(p.standby);
    back.restart_sender();
    back.standby->line.at(back.active->line.now_ms());
    back.run();
    CHECK(back.equal());
    back.same(side::inside, f.upward(f.up(59, 79, 11)));
    back.same(side::outside, f.downward(f.down(79, 70, 12)));
}

TEST_CASE("a source's flows count at the standby as at the active one, until they end") {
    synced_config c;
    c.engine.limits.per_source.flows = 3;
    synced_pair p(c);
    world_of const w;
    for (unsigned n = 0; n < 3; ++n) open_udp(p, side::inside, w.inside(5, 4000 + n), w.outside(9, 53));
    p.run();
    auto& line = p.standby->line;
    CHECK(line.sends(side::inside, udp_frame(w.inside(5, 5000), w.outside(9, 53))).reason == drop_reason::source_limit);
    p.active->line.after(200'000);
    p.step();
    REQUIRE(p.standby->proxy().flows_now() == 0);
    for (unsigned n = 0; n < 3; ++n) CHECK(line.sends(side::inside, udp_frame(w.inside(5, 5000 + n), w.outside(9, 53))).fate == verdict::forward);
    CHECK(line.sends(side::inside, udp_frame(w.inside(5, 5003), w.outside(9, 53))).reason == drop_reason::source_limit);
}

TEST_CASE("what new rules have ended at the active one is not told any more") {
    synced_config c;
    c.engine.tracking.denied_sessions = denied_sessions::end;
    synced_pair p(c);
    world_of const w;
    open_udp(p, side::inside, w.inside(5, 4000), w.outside(9, 53));
    open_tcp(p, side::inside, w.inside(5, 4000), w.outside(9, 80));
    c.engine.rules = {{.action = rule_action::deny}};
    p.active->proxy().configure(c.engine);
    p.active->line.after(1'000);
    REQUIRE(p.active->line.counters().flows_ended_by_rules == 2);
    p.run(20);
    CHECK(p.receiver->caught_up());
    CHECK(p.standby->proxy().flows_now() == 0);
}
