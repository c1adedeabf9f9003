// SPDX-License-Identifier: BSL-1.0
// Sessions at random through random plans: no two share an external endpoint towards one destination, what ends can be had again, and there and back is
// the identity.
#include <halfproxy/engine/address_plan.hpp>

#include "tests/support/nat_lab.hpp"

#include <rapidcheck.h>

#include <map>
#include <tuple>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

struct session {
    end inside, remote, external;
};

nat_config random_plan(world_of const& w, bool by_remote, bool shared, bool paired) {
    nat_config nat = napt(w, {2000, static_cast<std::uint16_t>(2000 + *rc::gen::inRange(0, 12))});
    snat_rule& rule = nat.snat[0];
    rule.pool = {prefix_of(w.pool(0), *rc::gen::inRange(0, 2))};
    rule.mapping = by_remote ? nat_mapping::address_and_port_dependent : nat_mapping::endpoint_independent;
    rule.share_ports = by_remote && shared;
    rule.paired = paired;
    rule.ports.keep_parity = *rc::gen::arbitrary<bool>();
    rule.ports.preserve = *rc::gen::arbitrary<bool>();
    rule.ports.quarantine = *rc::gen::element(0u, 5'000u);
    rule.ports.seed = nat.seed = *rc::gen::arbitrary<std::uint64_t>();
    nat.linger.udp = *rc::gen::element(0u, 7'000u);
    RC_ASSERT(!fault_of_snat(nat, 0));
    return nat;
}

}  // namespace

TEST_CASE("random sessions: endpoints are never given twice, translation there and back is the identity, and in the end all is free again") {
    bool const good = rc::check([] {
        world_of const w{*rc::gen::element(4u, 6u)};
        bool const by_remote = *rc::gen::arbitrary<bool>();
        nat_config const nat = random_plan(w, by_remote, *rc::gen::arbitrary<bool>(), *rc::gen::arbitrary<bool>());
        nat_lab l(w, nat);
        std::map<std::pair<unsigned, unsigned>, std::pair<end, std::uint64_t>> last;  // by client and destination: external endpoint, when
        int const steps = *rc::gen::inRange(1, 60);
        for (int step = 0; step < steps; ++step) {
            l.after(*rc::gen::element(std::uint64_t{0}, std::uint64_t{0}, std::uint64_t{100}, std::uint64_t{4'000}, std::uint64_t{31'000}));
            unsigned const c = *rc::gen::inRange(1u, 9u), d = *rc::gen::inRange(1u, 4u);
            end const inside = w.inside(c, 4000 + c), remote = w.outside(d, 53);
            outcome const o = l.udp(side::inside, inside, remote);
            if (o.reason == drop_reason::nat_ports_exhausted) continue;
            RC_ASSERT(o.fate == verdict::forward);
            end const e = source_of(*o.packet);
            RC_ASSERT(destination_of(*o.packet) == remote);
            for (auto const& [who, at] : last) {
                bool const alive = l.now_ms() - at.second < 29'000;
                bool const same_target = who.second == d || !nat.snat[0].share_ports;
                if (alive && who.first != c && same_target) RC_ASSERT(!(at.first == e));
            }
            last[{c, d}] = {e, l.now_ms()};
            outcome const back = l.udp(side::outside, remote, e);
            RC_ASSERT(back.fate == verdict::forward);
            RC_ASSERT(destination_of(*back.packet) == inside);
            RC_ASSERT(source_of(*back.packet) == remote);
        }
        l.after(400'000);
        RC_ASSERT(l.proxy().flows_now() == 0u);
        RC_ASSERT(l.ports_held(17) == 0u);
        RC_ASSERT(l.plan().counters().mappings_made == l.plan().counters().mappings_ended);
        RC_ASSERT(!l.proxy().next_deadline());
        l.plan().for_each_pool([](std::uint32_t, std::uint8_t, auto const& pool) { RC_ASSERT(pool.taken() == 0u); });
    });
    CHECK(good);
}

TEST_CASE("a plan without rules changes nothing and takes next to no memory") {
    address_plan plan;
    flow_request<std::uint32_t> const request{{1, 2, 3, 4}, 0, ip_protocol::udp, side::inside, false};
    CHECK(plan.translate(request, {}).server_tuple == request.tuple);
    CHECK(plan.memory_bytes() < 100);
    CHECK_FALSE(plan.next_deadline({}));
}

TEST_CASE("to foresee an answer takes nothing, not even of a mapping that is there; an answer refused gives its port back, and makes no mapping") {
    nat_config nat = napt({4}, {2000, 2000});
    limits_config limits;
    limits.flows_v4 = 8;
    address_plan plan(nat, limits);
    flow_request<std::uint32_t> const request{{0x0a000007, 0xc6336409, 4000, 80}, 0, ip_protocol::tcp, side::inside, false};
    plan.expect(request);
    plan.refused(plan.translate(request, {0}), {0});
    CHECK(plan.bindings<std::uint32_t>().size() == 0);
    address_answer<std::uint32_t> const answer = plan.translate(request, {0});
    CHECK(answer.reason == drop_reason::none);
    CHECK(answer.server_tuple.source_port == 2000);
    ipv4_flow f{};
    plan.opened(f, 3, answer);
    CHECK(plan.foresee(request, {0}).reason == drop_reason::none);
    flow_request<std::uint32_t> other = request;
    ++other.tuple.source_port;
    CHECK(plan.foresee(other, {0}).reason == drop_reason::nat_ports_exhausted);
    plan.closed(f, 3, {0});
    CHECK(plan.bindings<std::uint32_t>().size() == 0);
    plan.for_each_pool([](std::uint32_t, std::uint8_t, auto const& pool) { CHECK(pool.taken() == 0); });
}
