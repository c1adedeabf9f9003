// SPDX-License-Identifier: BSL-1.0
// Another configuration while flows go on: the engine's settings, the rules of address translation.
#include <halfproxy/engine/address_plan.hpp>

#include "tests/support/nat_lab.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

/// A lab whose rules can be changed; its first ones are napt()'s.
struct changing_lab : nat_lab {
    nat_config rules;

    explicit changing_lab(world_of world, nat_config const& nat) : nat_lab(world, nat), rules(nat) {}

    void change(nat_config const& next) {
        for (std::size_t i = 0; i < next.snat.size(); ++i) REQUIRE_FALSE(fault_of_snat(next, i));
        REQUIRE_FALSE(fault_of_change(rules, next));
        proxy().policies().addresses.configure(next);
        rules = next;
    }
    /// Both ways.
    bool still_goes(end const& inside, end const& external, end const& remote) {
        outcome const out = udp(side::inside, inside, remote);
        outcome const back = udp(side::outside, remote, external);
        return out.packet && back.packet && source_of(*out.packet) == external && destination_of(*back.packet) == inside;
    }
};

}  // namespace

TEST_CASE("rules of translation change and mappings stay: the same pool under another order of rules, and other clients") {
    for (world_of const w : both_families()) {
        nat_config nat = napt(w);
        nat.snat[0].ports.quarantine = 60'000;
        changing_lab l(w, nat);
        end const external = l.mapped(w.inside(7, 4000), w.outside(9, 53));

        nat_config next = nat;
        snat_rule other = nat.snat[0];
        other.from = prefix_of(w.inside(99));
        other.pool = {prefix_of(w.pool(2))};
        next.snat.insert(next.snat.begin(), other);
        next.snat[1].from = prefix_of(w.inside(7));
        l.change(next);
        CHECK(l.still_goes(w.inside(7, 4000), external, w.outside(9, 53)));
        CHECK(l.mapped(w.inside(7, 4000), w.outside(8, 53)) == external);  // the mapping, not the flow alone
        CHECK(l.mapped(w.inside(99, 1), w.outside(9, 53)).address == w.pool(2).address);
        CHECK(l.mapped(w.inside(8, 1), w.outside(9, 53)) == w.inside(8, 1));  // no rule is for it any more
        CHECK(l.ports_held(17) == 2);
        l.after(1'000'000);
        CHECK(l.ports_held(17) == 0);
        l.plan().for_each_pool([](std::uint32_t, std::uint8_t, auto const& pool) { CHECK(pool.taken() == 0); });
    }
}

TEST_CASE("a rule that is gone makes no mappings; those it made go on until their flows end, and their ports are nobody's") {
    for (world_of const w : both_families()) {
        changing_lab l(w, napt(w));
        end const external = l.mapped(w.inside(7, 4000), w.outside(9, 53));
        nat_config none = l.rules;
        none.snat.clear();
        l.change(none);
        CHECK(l.still_goes(w.inside(7, 4000), external, w.outside(9, 53)));
        CHECK(l.mapped(w.inside(8, 4000), w.outside(9, 53)) == w.inside(8, 4000));
        l.after(1'000'000);
        CHECK(l.plan().counters().mappings_ended == 1);
        CHECK(l.mapped(w.inside(7, 4000), w.outside(9, 53)) == w.inside(7, 4000));
    }
}

TEST_CASE("a pool that gives ports in another way takes over the mappings whose ports it has: none is given twice, all come back to it") {
    for (world_of const w : both_families()) {
        changing_lab l(w, napt(w, {2000, 2003}));
        std::vector<end> external;
        for (unsigned n = 0; n < 3; ++n) external.push_back(l.mapped(w.inside(10 + n, 4000), w.outside(9, 53)));
        nat_config next = l.rules;
        next.snat[0].ports.ports = {2000, 2004};
        next.snat[0].pool = {prefix_of(w.pool(0), 1)};  // its address is the second of these now
        next.snat[0].paired = false;
        l.change(next);
        CHECK(l.ports_held(17) == 3);
        for (unsigned n = 0; n < 3; ++n) CHECK(l.still_goes(w.inside(10 + n, 4000), external[n], w.outside(9, 53)));
        for (unsigned n = 0; n < 7; ++n) {
            end const more = l.mapped(w.inside(20 + n, 4000), w.outside(9, 53));
            CHECK(std::find(external.begin(), external.end(), more) == external.end());
            external.push_back(more);
        }
        CHECK(l.udp(side::inside, w.inside(30, 4000), w.outside(9, 53)).reason == drop_reason::nat_ports_exhausted);
        CHECK(l.mapped(w.inside(10, 4000), w.outside(8, 53)) == external[0]);
        l.after(1'000'000);
        CHECK(l.ports_held(17) == 0);
    }
}

TEST_CASE("mappings whose port is outside the new range go on, and end without giving it to the pool") {
    for (world_of const w : both_families()) {
        changing_lab l(w, napt(w, {2000, 2000}));
        end const external = l.mapped(w.inside(7, 4000), w.outside(9, 53));
        nat_config next = l.rules;
        next.snat[0].ports.ports = {3000, 3000};
        l.change(next);
        CHECK(l.ports_held(17) == 0);
        CHECK(l.still_goes(w.inside(7, 4000), external, w.outside(9, 53)));
        CHECK(l.mapped(w.inside(7, 4001), w.outside(9, 53)) == w.pool(1, 3000));
        l.after(1'000'000);
        CHECK(l.ports_held(17) == 0);
        CHECK(l.plan().counters().mappings_made == l.plan().counters().mappings_ended);
    }
}

TEST_CASE("a family that had no rules gets its tables with the first") {
    world_of const four{4}, six{6};
    changing_lab l(four, napt(four));
    nat_config both = l.rules;
    both.snat.push_back(napt(six).snat[0]);
    l.change(both);
    CHECK(source_of(l.passes(l.udp(side::inside, six.inside(7, 4000), six.outside(9, 53)))).address == six.pool(1).address);
    CHECK(l.mapped(four.inside(7, 4000), four.outside(9, 53)).address == four.pool(1).address);
}

TEST_CASE("thousands of changes with flows open leave neither ports nor numbers of rules behind") {
    world_of const w{4};
    changing_lab l(w, napt(w, {2000, 2999}));
    end const external = l.mapped(w.inside(7, 4000), w.outside(9, 53));
    for (unsigned i = 0; i < 200; ++i) {
        nat_config next = l.rules;
        next.snat[0].ports.ports.last = static_cast<std::uint16_t>(3000 + i % 7);
        next.snat[0].ports.preserve = i % 2 == 0;
        l.change(next);
        static_cast<void>(l.mapped(w.inside(1 + i % 200, 5000 + i), w.outside(9, 53)));
        REQUIRE(l.ports_held(17) == 2 + i);
    }
    CHECK(l.still_goes(w.inside(7, 4000), external, w.outside(9, 53)));
    l.after(1'000'000);
    CHECK(l.ports_held(17) == 0);
    CHECK(l.plan().counters().mappings_made == l.plan().counters().mappings_ended);
}

TEST_CASE("ports taken whole and ports taken for one destination cannot follow each other") {
    world_of const w{4};
    nat_config const whole = napt(w);
    nat_config shared = whole;
    shared.snat[0].mapping = nat_mapping::address_and_port_dependent;
    shared.snat[0].share_ports = true;
    REQUIRE_FALSE(fault_of_snat(shared, 0));
    auto const fault = fault_of_change(whole, shared);
    REQUIRE(fault);
    CHECK(fault->key == "share_ports");
    shared.snat[0].pool = {prefix_of(w.pool(2))};
    CHECK_FALSE(fault_of_change(whole, shared));
}

TEST_CASE("rules, timeouts and checks change under flows; what memory and given numbers depend on stays") {
    timeline t(guarded(guard_mode::off));
    t.ends.server_port = 80;
    REQUIRE(t.client_sends({.seq = 1000, .flags = flags::syn}).fate == verdict::forward);
    engine_config next = t.proxy().config();
    acl_rule deny;
    deny.action = rule_action::deny;
    deny.ports = {80, 80};
    deny.protocol = ip_protocol::tcp;
    next.rules = {deny};
    next.timeouts.syn_sent = 1'000;
    next.limits.flows_v4 = 1;
    next.promise.window_scale = 3;
    next.secret.bytes[0] = 1;
    std::size_t const memory = t.proxy().memory_bytes();
    t.proxy().configure(next);
    CHECK(t.proxy().memory_bytes() == memory);
    CHECK(t.proxy().config().limits.flows_v4 != 1);
    CHECK(t.proxy().config().promise.window_scale != 3);
    CHECK(t.proxy().config().secret.bytes == secret_key{}.bytes);
    CHECK(t.client_sends({.seq = 1000, .flags = flags::syn}).fate == verdict::forward);  // its flow was there
    ++t.ends.client_port;
    CHECK(t.client_sends({.seq = 1000, .flags = flags::syn}).reason == drop_reason::rule_denied);
    next.rules.clear();
    t.proxy().configure(next);
    CHECK(t.client_sends({.seq = 1000, .flags = flags::syn}).fate == verdict::forward);
    t.after(1'500);
    CHECK(t.proxy().flows_now() == 1);  // timers that run already run out as they were
}
