// SPDX-License-Identifier: BSL-1.0
// What an engine tells of a flow, and what becomes of one that it is told of. Take-overs as such: tests/scenario/sync_test.cpp.
#include <halfproxy/engine/flow_state.hpp>

#include "tests/support/services.hpp"
#include "tests/support/synced.hpp"

#include <set>

using namespace halfproxy;
using namespace halfproxy::test;

namespace halfproxy {
inline doctest::String toString(adoption a) { return std::string(to_string(a)).c_str(); }
}  // namespace halfproxy

namespace {

using state4 = flow_state<std::uint32_t>;

static_assert(portable_address_policy<address_plan> && portable_address_policy<virtual_services<address_plan>> && portable_address_policy<virtual_services<>>);
static_assert(!portable_address_policy<keep_addresses>);
static_assert(numbered_flow_observer<sync_tap> && !numbered_flow_observer<no_observer> && flow_observer<sync_tap> && flow_observer<no_observer>);

world_of const w;

/// A UDP flow of a host inside, as a node tells it.
state4 told_by(synced_node& n, end const& client, end const& server) {
    REQUIRE(n.line.sends(side::inside, ethernet(udp_datagram(client, server))).fate == verdict::forward);
    for (std::uint32_t i = 0; i < n.proxy().flow_limit<std::uint32_t>(); ++i)
        if (auto s = n.proxy().state_of<std::uint32_t>(i); s && s->key.tuple.source == get32(client.address, 0) && s->key.tuple.source_port == client.port) return *s;
    FAIL("no such flow");
    return {};
}
synced_config with_nat(auto&& change) {
    synced_config c;
    c.nat = napt(w, {2000, 2999});
    change(c);
    return c;
}
synced_config with_nat() {
    return with_nat([](synced_config&) {});
}

/// Everything a refused flow must not have changed.
struct holdings {
    std::uint32_t flows, mappings;
    std::uint64_t ports, opened, closed;

    explicit holdings(synced_node& n)
        : flows(n.proxy().flows_now()), mappings(n.addresses().next().bindings<std::uint32_t>().size()), ports(n.ports_held(17) + n.ports_held(6)),
          opened(n.line.counters().flows_opened), closed(n.line.counters().flows_closed) {}
    friend bool operator==(holdings const&, holdings const&) = default;
};

std::set<adoption> met;

void refuses(synced_node& n, state4 const& told, adoption why) {
    holdings const before(n);
    CHECK(n.proxy().adopt(told, n.now()).what == why);
    CHECK(holdings(n) == before);
    met.insert(why);
}

}  // namespace

TEST_CASE("a flow is told with its addresses, times, counts and what it holds, and the engine that adopts it tells the same") {
    synced_node from(with_nat()), to(with_nat());
    state4 s = told_by(from, w.inside(5, 4000), w.outside(9, 53));
    CHECK(s.key.protocol == 17);
    CHECK(s.client_side == side::inside);
    CHECK(s.claims.source == mapping_claim{true, false, 0});
    CHECK_FALSE(s.claims.destination.held);
    CHECK(s.packets == std::array<std::uint32_t, 2>{1, 0});
    from.line.after(1'234);
    s = *from.proxy().state_of<std::uint32_t>(0);
    CHECK(s.idle_ms == 1'234);
    CHECK(s.age_ms == 1'234);
    adoption_result const r = to.proxy().adopt(s, to.now());
    CHECK(r.what == adoption::adopted);
    CHECK(*to.proxy().state_of<std::uint32_t>(r.number) == s);
    CHECK(*to.proxy().find_flow(s.key) == r.number);
    flow_key<std::uint32_t> back = s.key;
    back.tuple = s.server_tuple.reversed();
    CHECK_FALSE(to.proxy().find_flow(back).has_value());
    CHECK(to.proxy().adopt(s, to.now()).what == adoption::refreshed);
    CHECK(to.proxy().flows_now() == 1);
    to.proxy().forget<std::uint32_t>(r.number, to.now());
    CHECK(to.proxy().flows_now() == 0);
    CHECK_FALSE(to.proxy().has_flow<std::uint32_t>(r.number));
}

TEST_CASE("a flow that cannot be adopted is refused for its reason, and nothing is taken") {
    met = {adoption::adopted, adoption::refreshed};
    synced_node from(with_nat());
    state4 const udp = told_by(from, w.inside(5, 4000), w.outside(9, 53));

    synced_node small(with_nat([](synced_config& c) { c.engine.limits.flows_v4 = 1; }));
    state4 const there = told_by(small, w.inside(7, 4000), w.outside(9, 53));  // answered, so that it does not give way
    REQUIRE(small.line.sends(side::outside, ethernet(udp_datagram(w.outside(9, 53), {u32(there.server_tuple.source), there.server_tuple.source_port}))).fate == verdict::forward);
    refuses(small, told_by(from, w.inside(6, 4000), w.outside(9, 53)), adoption::table_full);

    synced_node busy(with_nat());
    state4 const own = told_by(busy, w.inside(5, 4000), w.outside(9, 53));
    state4 other_port = own;
    other_port.server_tuple.source_port ^= 1;
    refuses(busy, other_port, adoption::tuple_in_use);
    state4 other_server = other_port;  // the same inside endpoint, and it has a mapping here
    other_server.key.tuple.destination = other_server.server_tuple.destination = get32(w.outside(8).address, 0);
    refuses(busy, other_server, adoption::mapping_differs);
    state4 other_client = own;
    other_client.key.tuple.source_port ^= 1;
    other_client.key.tuple.destination = other_client.server_tuple.destination = get32(w.outside(8).address, 0);
    refuses(busy, other_client, adoption::port_taken);

    synced_node full(with_nat([](synced_config& c) { c.nat.bindings_v4 = 1; }));
    told_by(full, w.inside(7, 4000), w.outside(3, 53));
    refuses(full, udp, adoption::mappings_full);

    for (auto const& change : std::initializer_list<void (*)(synced_config&)>{
             [](synced_config& c) { c.nat = {}; }, [](synced_config& c) { c.nat.snat[0].pool = {prefix_of(w.pool(2))}; },
             [](synced_config& c) { c.nat.snat[0].ports.ports = {3000, 3999}; }, [](synced_config& c) { c.nat.snat[0].protocol = ip_protocol::tcp; },
             [](synced_config& c) { c.nat.snat[0].from = prefix_of(w.inside(0), 8), c.nat.snat[0].block_ports = 10, c.nat.snat[0].ports.ports = {2000, 2019}; }}) {
        synced_node elsewhere(with_nat(change));
        refuses(elsewhere, udp, adoption::no_pool);
    }
    synced_config half = with_nat();
    half.nat.shards = 2;
    for (half.nat.shard = 0; half.nat.shard < 2; ++half.nat.shard) {
        synced_node shard(half);
        bool const ours = shard_of_port({2000, 2999}, udp.server_tuple.source_port, 2) == half.nat.shard;
        CHECK(shard.proxy().adopt(udp, shard.now()).what == (ours ? adoption::adopted : adoption::no_pool));
    }

    timeline<> plain(guarded(guard_mode::off));
    time_point const now(std::chrono::seconds(1'000));
    CHECK(plain.proxy().adopt(udp, now).what == adoption::addresses_differ);
    state4 as_is = udp;
    as_is.server_tuple = as_is.key.tuple;
    CHECK(plain.proxy().adopt(as_is, now).what == adoption::addresses_differ);  // it claims a mapping
    as_is.claims = {};
    CHECK(plain.proxy().adopt(as_is, now).what == adoption::adopted);
    met.insert(adoption::addresses_differ);

    synced_node seen(with_nat());
    state4 tcp = udp;
    tcp.key.protocol = ip_protocol::tcp;
    CHECK(seen.proxy().adopt(tcp, seen.now()).what == adoption::adopted);
    end const outside{u32(udp.server_tuple.source), udp.server_tuple.source_port};
    REQUIRE(seen.line.sends(side::outside, ethernet(tcp_datagram(w.outside(9, 53), outside, {.seq = 9, .ack = 3, .flags = flags::ack, .window = 9}))).fate == verdict::forward);
    CHECK(seen.proxy().lives_here<std::uint32_t>(0));
    tcp.tcp.state = tcp_state::time_wait;
    refuses(seen, tcp, adoption::lives_here);
    CHECK(seen.proxy().state_of<std::uint32_t>(0)->tcp.state == tcp_state::established);

    synced_node poor(with_nat([](synced_config& c) { c.engine.limits.handshakes = 0; }));
    tcp = udp;
    tcp.key.protocol = ip_protocol::tcp;
    tcp.spliced = tcp.mends = true;
    refuses(poor, tcp, adoption::handshakes_full);
    synced_node spared(with_nat());
    CHECK(spared.proxy().adopt(tcp, spared.now()).what == adoption::adopted);
    CHECK(spared.proxy().handshakes_now() == 1);
    spared.proxy().forget<std::uint32_t>(0, spared.now());
    CHECK(spared.proxy().handshakes_now() == 0);
}

TEST_CASE("a service's flow is refused where there is no such service or backend, or its addresses lead elsewhere") {
    service_config s = service_of(2);
    s.protocol = ip_protocol::udp;
    synced_config c;
    c.services.services = {s};
    synced_node from(c);
    endpoints const e;
    REQUIRE(from.line.sends(side::outside, ethernet(udp_datagram(w.outside(9, 4000), {u32(e.server4), 80}))).fate == verdict::forward);
    state4 const told = *from.proxy().state_of<std::uint32_t>(0);
    CHECK(told.claims.of_service);
    CHECK(told.claims.backend == s.backends[0].address);
    CHECK(told.claims.backend_port == backend_port);
    auto const open = [](synced_node& n) { return n.addresses().services().backends(0).open(0) + n.addresses().services().backends(0).open(1); };

    synced_node none{synced_config{}};
    refuses(none, told, adoption::unknown_service);
    state4 from_inside = told;
    from_inside.client_side = side::inside;
    synced_node to(c);
    refuses(to, from_inside, adoption::unknown_service);
    state4 other = told;
    other.claims.backend_port = 1;
    refuses(to, other, adoption::unknown_backend);
    other = told;
    other.server_tuple.destination = backend4(1);
    refuses(to, other, adoption::addresses_differ);
    other = told;
    other.server_tuple.source_port ^= 1;  // dnat does not do that
    refuses(to, other, adoption::addresses_differ);
    other = told;
    other.led = true;
    refuses(to, other, adoption::addresses_differ);
    CHECK(open(to) == 0);
    CHECK(to.proxy().adopt(told, to.now()).what == adoption::adopted);
    CHECK(open(to) == 1);
    to.proxy().forget<std::uint32_t>(0, to.now());
    CHECK(open(to) == 0);
    CHECK(met.size() == adoption_count);  // each was met in this file
}

TEST_CASE("an adopted connection that was spliced anew or is no more is taken up as it is told now") {
    synced_node n{synced_config{}};
    state4 told;
    told.key = {{1, 2, 3, 4}, 0, ip_protocol::tcp, 0};
    told.server_tuple = told.key.tuple;
    told.spliced = true;
    told.shift = {77, 88};
    CHECK(n.proxy().adopt(told, n.now()).what == adoption::adopted);
    CHECK(n.proxy().state_of<std::uint32_t>(0)->shift == seq_shift{77, 88});
    told.spliced = false;
    told.shift = {};
    CHECK(n.proxy().adopt(told, n.now()).what == adoption::adopted);
    CHECK(n.proxy().flows_now() == 1);
    CHECK(*n.proxy().state_of<std::uint32_t>(0) == told);
}
