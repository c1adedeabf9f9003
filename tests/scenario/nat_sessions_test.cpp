// SPDX-License-Identifier: BSL-1.0
// Translated sessions counted one by one: what a host may have, ports that run out and come back, connections that are reopened before they are over.
#include "tests/support/nat_lab.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

segment syn(std::uint32_t isn) { return {.seq = isn, .flags = flags::syn, .window = 60'000}; }
segment syn_ack(std::uint32_t isn, std::uint32_t ack) { return {.seq = isn, .ack = ack, .flags = flags::syn | flags::ack, .window = 60'000}; }
segment ack(std::uint32_t seq, std::uint32_t of) { return {.seq = seq, .ack = of, .flags = flags::ack, .window = 60'000}; }
segment data(std::uint32_t seq, std::uint32_t of, std::size_t bytes) {
    segment s = ack(seq, of);
    s.payload = filled(bytes);
    return s;
}
segment fin(std::uint32_t seq, std::uint32_t of) {
    segment s = ack(seq, of);
    s.flags |= flags::fin;
    return s;
}

engine_config under_nat() {
    engine_config config = guarded(guard_mode::off);
    config.timeouts = config.timeouts.under_nat();
    return config;
}

/// Where a connection comes from, and what translates it.
enum class path : std::uint8_t { source_nat, static_nat, destination_nat };
constexpr path every_path[] = {path::source_nat, path::static_nat, path::destination_nat};

nat_config rules_of(world_of const& w, path by) {
    nat_config nat;
    if (by == path::source_nat) return napt(w);
    if (by == path::static_nat) nat.statics = {{prefix_of(w.inside(64)), prefix_of(w.pool(128))}};
    if (by == path::destination_nat)
        nat.dnat = {{.to = prefix_of(w.pool(128)), .protocol = ip_protocol::tcp, .ports = {80, 80}, .target = address_of(w.inside(64).address), .target_ports = {8080, 8080}}};
    return nat;
}

/// A connection through a lab; each end sends with its own numbers to the endpoint it knows of the other.
struct connection {
    nat_lab& l;
    path by;
    side client_side = by == path::source_nat ? side::inside : side::outside;
    end client = by == path::source_nat ? l.w.inside(5, 4000) : l.w.outside(9, 4000);
    end service = by == path::source_nat ? l.w.outside(9, 80) : l.w.pool(128, 80);  ///< as the client addresses it
    end server = by == path::source_nat ? service : l.w.inside(64, by == path::static_nat ? 80 : 8080);
    end seen = client;  ///< the client, as the server sees it

    outcome up(segment const& s) { return l.tcp(client_side, client, service, s); }
    outcome down(segment const& s) { return l.tcp(other(client_side), server, seen, s); }
    /// One of the two, by name.
    outcome sends(direction who, segment const& s) { return who == direction::from_client ? up(s) : down(s); }

    /// The client's first bytes are `client_isn` + 1, the server's `server_isn` + 1.
    void open(std::uint32_t client_isn, std::uint32_t server_isn) {
        decoded const first = l.passes(up(syn(client_isn)));
        seen = source_of(first);
        CHECK(destination_of(first) == server);
        CHECK(source_of(l.passes(down(syn_ack(server_isn, client_isn + 1)))) == service);
        l.passes(up(ack(client_isn + 1, server_isn + 1)));
    }
    void exchange(std::uint32_t client_next, std::uint32_t server_next) {
        decoded const request = l.passes(up(data(client_next, server_next, 30)));
        CHECK(destination_of(request) == server);
        CHECK(source_of(request) == seen);
        decoded const answer = l.passes(down(data(server_next, client_next + 30, 50)));
        CHECK(source_of(answer) == service);
        CHECK(destination_of(answer) == client);
    }
    /// One flow, with what belongs to it.
    void check_alone() {
        CHECK(l.proxy().flows_now() == 1);
        CHECK(l.proxy().half_open() == 0);
        CHECK(l.ports_held(6) == (by == path::source_nat ? 1u : 0u));
        CHECK(l.plan().counters().mappings_made - l.plan().counters().mappings_ended == (by == path::source_nat ? 1u : 0u));
    }
    void check_gone() {
        CHECK(l.proxy().flows_now() == 0);
        CHECK(l.ports_held(6) == 0);
        CHECK(l.plan().counters().mappings_made == l.plan().counters().mappings_ended);
    }
};

constexpr direction both_ends[] = {direction::from_client, direction::from_server};

}  // namespace

// --- What one host may have ---------------------------------------------------------------------------------------------------------------

TEST_CASE("a host with a block of five ports has five sessions of each protocol, each further one is refused by name; its neighbour has its own five") {
    for (world_of const w : both_families()) {
        nat_config nat = napt(w, {2000, 2099});
        nat.snat[0].from = prefix_of(w.inside(0), 4);
        nat.snat[0].block_ports = 5;
        REQUIRE_FALSE(fault_of_snat(nat, 0));
        nat_lab l(w, nat);
        for (unsigned host : {5u, 6u}) {
            unsigned out[2] = {}, refused[2] = {};
            for (unsigned n = 0; n < 10; ++n) {
                outcome const datagram = l.udp(side::inside, w.inside(host, 4000 + n), w.outside(9, 53));
                outcome const connection = l.tcp(side::inside, w.inside(host, 4000 + n), w.outside(9, 80), syn(100));
                for (unsigned i : {0u, 1u}) {
                    outcome const& o = i == 0 ? datagram : connection;
                    out[i] += o.fate == verdict::forward ? 1 : 0;
                    refused[i] += o.reason == drop_reason::nat_ports_exhausted ? 1 : 0;
                }
            }
            for (unsigned i : {0u, 1u}) CHECK(out[i] == 5);
            for (unsigned i : {0u, 1u}) CHECK(refused[i] == 5);
        }
        CHECK(l.dropped(drop_reason::nat_ports_exhausted) == 20);
        CHECK(l.counters().dropped_total() == 20);
        CHECK(l.ports_held(17) == 10);
        CHECK(l.ports_held(6) == 10);
    }
}

TEST_CASE("a host has as many sessions as it may, of all protocols together, each further one is refused by name until one is over; others are not concerned") {
    for (world_of const w : both_families()) {
        engine_config config = impatient();
        config.limits.per_source.flows = 5;
        nat_config nat = napt(w);
        nat.snat[0].from = prefix_of(w.inside(0), w.version == 4 ? 8 : 72);
        nat_lab l(w, nat, config);
        end other_host = w.inside(6);
        if (w.version == 6) other_host.address[7] = 1;  // a subscriber has a /64
        auto const sends = [&](unsigned vlan, byte_string const& packet) { return l.sends(side::inside, vlan == 0 ? ethernet(packet) : ethernet(packet, {{0x8100, vlan}})); };
        auto const ten = [&](unsigned vlan, end from) {
            for (unsigned n = 0; n < 10; ++n) {
                from.port = 4000 + n;
                outcome const o = sends(vlan, n % 2 == 0 ? udp_datagram(from, w.outside(9, 53)) : tcp_datagram(from, w.outside(9, 80), syn(100)));
                CHECK(o.reason == (n < 5 ? drop_reason::none : drop_reason::source_limit));
            }
        };
        ten(0, w.inside(5));
        ten(0, other_host);
        ten(7, w.inside(5));
        CHECK(l.dropped(drop_reason::source_limit) == 15);
        CHECK(l.counters().dropped_total() == 15);
        CHECK(l.proxy().flows_now() == 15);
        CHECK(l.ports_held(17) + l.ports_held(6) == 15);                   // a refusal takes no port
        l.mapped(w.inside(5, 4000), w.outside(9, 53));                     // what is open goes on
        l.after(31'000);                                                   // the datagrams' flows are over, three of each
        for (unsigned n = 0; n < 4; ++n)
            CHECK(l.udp(side::inside, w.inside(5, 5000 + n), w.outside(9, 53)).reason == (n < 3 ? drop_reason::none : drop_reason::source_limit));
        config.limits.per_source.flows = 6;
        l.proxy().configure(config);
        CHECK(l.udp(side::inside, w.inside(5, 5004), w.outside(9, 53)).reason == drop_reason::none);
        CHECK(l.udp(side::inside, w.inside(5, 5005), w.outside(9, 53)).reason == drop_reason::source_limit);
    }
}

TEST_CASE("of ten handshakes of one host through a NAT exactly as many are under way as it may have, beside those of another host and of its namesake in another VLAN") {
    for (world_of const w : both_families()) {
        engine_config config = under_nat();
        config.limits.per_source.half_open = 5;
        nat_config nat = napt(w);
        nat.snat[0].from = prefix_of(w.inside(0), w.version == 4 ? 8 : 72);
        nat_lab l(w, nat, config);
        auto const ten = [&](unsigned vlan, end from) {
            unsigned out = 0;
            for (unsigned n = 0; n < 10; ++n) {
                from.port = 4000 + n;
                byte_string const packet = tcp_datagram(from, w.outside(9, 80), syn(100));
                outcome const o = l.sends(side::inside, vlan == 0 ? ethernet(packet) : ethernet(packet, {{0x8100, vlan}}));
                CHECK(o.reason == (n < 5 ? drop_reason::none : drop_reason::source_limit));
                out += o.fate == verdict::forward ? 1 : 0;
            }
            return out;
        };
        end other_host = w.inside(6);
        if (w.version == 6) other_host.address[7] = 1;  // a subscriber has a /64
        CHECK(ten(0, w.inside(5)) == 5);
        CHECK(ten(0, other_host) == 5);
        CHECK(ten(7, w.inside(5)) == 5);
        CHECK(l.dropped(drop_reason::source_limit) == 15);
        CHECK(l.ports_held(6) == 15);  // a refusal takes no port
    }
}

// --- Ports and places that run out ----------------------------------------------------------------------------------------------------------

TEST_CASE("a table full of datagrams that are over takes as many queries, and the connection among them survives (dataplane case: cleanup)") {
    for (world_of const w : both_families()) {
        engine_config config = impatient();
        config.limits.flows_v4 = config.limits.flows_v6 = 64;
        config.timeouts.udp_new = 1'000;
        nat_config nat = napt(w);
        nat.linger.udp = 0;
        nat_lab l(w, nat, config);
        connection c{l, path::source_nat};
        c.open(100, 900);
        for (unsigned n = 0; n < 63; ++n) l.mapped(w.inside(5, 5000 + n), w.outside(9, 53));
        REQUIRE(l.proxy().flows_now() == 64);
        l.after(1'500);
        for (unsigned n = 0; n < 63; ++n) l.passes(l.ip(side::inside, ping_datagram(w.inside(6), w.outside(9), 1 + n, true)));
        CHECK(l.proxy().flows_now() == 64);
        CHECK(l.counters().flows_evicted == 0);
        CHECK(l.ports_held(17) == 0);
        c.exchange(101, 901);
        CHECK(l.counters().dropped_total() == 0);
    }
}

TEST_CASE("with every port given each packet that wants one is counted once, by the pool and as a drop; another address of the pool takes them") {
    for (world_of const w : both_families()) {
        nat_config nat = napt(w, {2000, 2001});
        nat.snat[0].paired = false;
        nat_lab l(w, nat);
        auto const refused_by_pool = [&] {
            std::uint64_t sum = 0;
            l.plan().for_each_pool([&](std::uint32_t, std::uint8_t, auto const& pool) { sum += pool.counters().exhausted; });
            return sum;
        };
        for (unsigned n = 0; n < 2; ++n) l.mapped(w.inside(5, 4000 + n), w.outside(9, 53));
        for (unsigned n = 2; n < 9; ++n) CHECK(l.udp(side::inside, w.inside(5, 4000 + n), w.outside(9, 53)).reason == drop_reason::nat_ports_exhausted);
        CHECK(refused_by_pool() == 7);
        CHECK(l.dropped(drop_reason::nat_ports_exhausted) == 7);
        nat.snat[0].pool.push_back(prefix_of(w.pool(2)));
        REQUIRE_FALSE(fault_of_change(napt(w, {2000, 2001}), nat));
        l.proxy().policies().addresses.configure(nat);
        CHECK(l.mapped(w.inside(5, 4002), w.outside(9, 53)).address == w.pool(2).address);
        CHECK(l.dropped(drop_reason::nat_ports_exhausted) == 7);
    }
}

TEST_CASE("a destination that moves keeps its open sessions at the old server and sends new ones to the new; deleted, it translates no new ones") {
    for (world_of const w : both_families()) {
        nat_config nat = rules_of(w, path::destination_nat);
        nat_lab l(w, nat, under_nat());
        connection before{l, path::destination_nat};
        before.open(100, 900);
        nat.dnat[0].target = address_of(w.inside(65).address);
        l.proxy().policies().addresses.configure(nat);
        connection after{l, path::destination_nat};
        after.client.port = 4001;
        after.server = w.inside(65, 8080);
        after.open(200, 700);
        before.exchange(101, 901);
        after.exchange(201, 701);
        nat.dnat.clear();
        l.proxy().policies().addresses.configure(nat);
        before.exchange(131, 951);
        CHECK(destination_of(l.passes(l.tcp(side::outside, w.outside(9, 4002), w.pool(128, 80), syn(5)))) == w.pool(128, 80));
    }
}

// --- Connections under translation ------------------------------------------------------------------------------------------------------------

TEST_CASE("an idle connection outlives the time of one that is reset; after a RST what is under way still passes, and nothing when that time is over") {
    for (world_of const w : both_families())
        for (direction const who : both_ends) {
            nat_lab l(w, napt(w), under_nat());
            connection c{l, path::source_nat};
            c.open(100, 900);
            l.after(2 * l.proxy().config().timeouts.closed);
            c.exchange(101, 901);
            segment reset = who == direction::from_client ? ack(131, 951) : ack(951, 131);
            reset.flags |= flags::rst;
            l.passes(c.sends(who, reset));
            l.passes(c.sends(reverse(who), who == direction::from_client ? data(951, 131, 10) : data(131, 951, 10)));
            l.after(l.proxy().config().timeouts.closed + 130);
            c.check_gone();
            CHECK(c.up(ack(131, 951)).reason == drop_reason::no_flow);
            CHECK(c.down(ack(961, 131)).fate == verdict::drop);
            c.open(5'000, 6'000);
            c.check_alone();
        }
}

TEST_CASE("a connection closed from one end is opened anew: the server hears the SYN through the mapping, and the new connection has it alone (RFC 9293 section 3.5)") {
    for (world_of const w : both_families())
        for (path const by : every_path)
            for (direction const closes : both_ends) {
                CAPTURE(w.version);
                CAPTURE(static_cast<int>(by));
                CAPTURE(static_cast<int>(closes));
                nat_lab l(w, rules_of(w, by), under_nat());
                connection c{l, by};
                c.open(100, 900);
                c.exchange(101, 901);
                end const seen_before = c.seen;
                bool const by_client = closes == direction::from_client;
                l.passes(c.sends(closes, by_client ? fin(131, 951) : fin(951, 131)));
                l.passes(c.sends(reverse(closes), by_client ? ack(951, 132) : ack(131, 952)));
                c.check_alone();
                c.open(0x4000'0000, 0x5000'0000);
                CHECK(c.seen == seen_before);
                c.exchange(0x4000'0001, 0x5000'0001);
                c.check_alone();
                CHECK(l.counters().dropped_total() == 0);
                l.after(l.proxy().config().timeouts.established + 130);
                c.check_gone();
            }
}

TEST_CASE("closed from both ends at once and opened anew by its client at once: one mapping at any time, and its port comes back (RFC 9293 figure 13)") {
    for (world_of const w : both_families())
        for (path const by : every_path) {
            CAPTURE(w.version);
            CAPTURE(static_cast<int>(by));
            nat_lab l(w, rules_of(w, by), under_nat());
            connection c{l, by};
            c.open(100, 900);
            l.passes(c.up(fin(101, 901)));
            l.passes(c.down(fin(901, 101)));
            l.passes(c.up(ack(102, 902)));
            l.passes(c.down(ack(902, 102)));
            c.check_alone();
            c.open(0x4000'0000, 0x5000'0000);
            c.exchange(0x4000'0001, 0x5000'0001);
            c.check_alone();
            l.after(l.proxy().config().timeouts.established + 130);
            c.check_gone();
            CHECK(l.counters().dropped_total() == 0);
        }
}

TEST_CASE("the end that was the server opens anew on a tuple that is over: translated as its own rules say, and nothing is left behind") {
    for (world_of const w : both_families())
        for (path const by : {path::static_nat, path::destination_nat}) {
            CAPTURE(w.version);
            CAPTURE(static_cast<int>(by));
            nat_lab l(w, rules_of(w, by), under_nat());
            connection c{l, by};
            c.open(100, 900);
            l.passes(c.up(fin(101, 901)));
            l.passes(c.down(fin(901, 102)));
            l.passes(c.up(ack(102, 902)));
            decoded const back = l.passes(c.down(syn(0x5000'0000)));
            // One to one it is what it was; a rule for clients outside says nothing of what a server opens itself.
            CHECK(source_of(back) == (by == path::static_nat ? c.service : c.server));
            CHECK(destination_of(back) == c.client);
            CHECK(l.proxy().flows_now() == 1);
            l.after(l.proxy().config().timeouts.established + 130);
            c.check_gone();
        }
}
