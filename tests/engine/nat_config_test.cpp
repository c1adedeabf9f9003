// SPDX-License-Identifier: BSL-1.0
// What may be wrong with rules of address translation.
#include <halfproxy/engine/nat_config.hpp>

#include <doctest/doctest.h>

#include <functional>

using namespace halfproxy;

namespace {

ip_prefix net(unsigned a, unsigned b, unsigned c, unsigned d, unsigned length = 32) {
    return {ip_address::v4(a << 24 | b << 16 | c << 8 | d), static_cast<std::uint8_t>(length)};
}
ip_prefix const six{ip_address::v6({0x20, 1, 0xd, 0xb8}), 128};

nat_config good() {
    nat_config nat;
    nat.statics = {{net(10, 0, 0, 64, 28), net(203, 0, 113, 64, 28)}};
    nat.dnat = {{.to = net(203, 0, 113, 1), .protocol = ip_protocol::tcp, .ports = {2000, 2009}, .target = ip_address::v4(0x0a000001), .target_ports = {3000, 3009}}};
    nat.snat.resize(2);
    nat.snat[0].from = net(10, 0, 0, 0, 24);
    nat.snat[0].pool = {net(203, 0, 113, 2), net(203, 0, 113, 4, 30)};
    nat.snat[1].pool = {net(203, 0, 113, 8, 29)};
    return nat;
}

std::string key_of(std::optional<nat_fault> const& fault) { return fault ? std::string(fault->key) : ""; }

}  // namespace

TEST_CASE("a plan without faults has none, and every fault is blamed on its key") {
    nat_config const fine = good();
    CHECK_FALSE(fault_of_static(fine, 0));
    CHECK_FALSE(fault_of_dnat(fine, 0));
    CHECK_FALSE(fault_of_snat(fine, 0));
    CHECK_FALSE(fault_of_snat(fine, 1));
    using change = std::function<void(nat_config&)>;
    std::pair<char const*, change> const statics[] = {
        {"inside", [](nat_config& n) { n.statics[0].inside = {}; }},
        {"outside", [](nat_config& n) { n.statics[0].outside = {}; }},
        {"outside", [](nat_config& n) { n.statics[0].outside = six; }},
        {"outside", [](nat_config& n) { n.statics[0].outside.length = 29; }},
        {"outside", [](nat_config& n) { n.statics[0].outside = n.statics[0].inside; }},
    };
    for (auto const& [key, spoil] : statics) {
        nat_config n = good();
        spoil(n);
        CHECK(key_of(fault_of_static(n, 0)) == key);
    }
    nat_config two = good();
    two.statics.push_back({net(10, 0, 0, 70), net(203, 0, 113, 200)});
    CHECK(key_of(fault_of_static(two, 1)) == "inside");
    two.statics[1] = {net(10, 0, 0, 1), net(203, 0, 113, 70)};
    CHECK(key_of(fault_of_static(two, 1)) == "outside");

    std::pair<char const*, change> const dnat[] = {
        {"to", [](nat_config& n) { n.dnat[0].to = {}; }},
        {"to", [](nat_config& n) { n.dnat[0].to = six; }},
        {"from", [](nat_config& n) { n.dnat[0].from = six; }},
        {"ports", [](nat_config& n) { n.dnat[0].protocol.reset(); }},
        {"target_ports", [](nat_config& n) { n.dnat[0].protocol.reset(), n.dnat[0].ports = {}; }},
        {"target_ports", [](nat_config& n) { n.dnat[0].target_ports.last = 3008; }},
        {"to", [](nat_config& n) { n.dnat[0].to = net(203, 0, 113, 70); }},
        {"target", [](nat_config& n) { n.dnat[0].target = n.dnat[0].to.address, n.dnat[0].target_ports = {0, 0}; }},
    };
    for (auto const& [key, spoil] : dnat) {
        nat_config n = good();
        spoil(n);
        CHECK(key_of(fault_of_dnat(n, 0)) == key);
    }
    std::pair<char const*, change> const snat[] = {
        {"pool", [](nat_config& n) { n.snat[1].pool.clear(); }},
        {"pool", [](nat_config& n) { n.snat[1].pool.push_back({}); }},
        {"pool", [](nat_config& n) { n.snat[1].pool.push_back(six); }},
        {"pool", [](nat_config& n) { n.snat[1].pool.push_back(net(203, 0, 113, 9)); }},
        {"pool", [](nat_config& n) { n.snat[1].pool = {net(203, 0, 113, 0, 29)}; }},
        {"pool", [](nat_config& n) { n.snat[1].pool = {net(203, 0, 113, 79)}; }},
        {"pool", [](nat_config& n) { n.snat[1].pool = {net(198, 51, 0, 0, 23)}; }},
        {"from", [](nat_config& n) { n.snat[1].from = six; }},
        {"to", [](nat_config& n) { n.snat[1].to = six; }},
        {"ports", [](nat_config& n) { n.snat[1].ports.ports = {0, 9}; }},
        {"ports", [](nat_config& n) { n.snat[1].ports.ports = {10, 9}; }},
        {"ports", [](nat_config& n) { n.snat[1].ports.ports = {10, 12}, n.shards = 4; }},
        {"share_ports", [](nat_config& n) { n.snat[1].share_ports = true; }},
        {"filtering",
         [](nat_config& n) { n.snat[1].mapping = nat_mapping::address_and_port_dependent, n.snat[1].filtering = nat_filtering::endpoint_independent; }},
        {"low_percent", [](nat_config& n) { n.snat[1].ports.low_percent = 91; }},
        {"block_ports", [](nat_config& n) { n.snat[1].block_ports = 100; }},  // whose?
        {"block_ports", [](nat_config& n) { n.snat[1].from = net(10, 0, 0, 0, 8), n.snat[1].block_ports = 100; }},
        {"block_ports", [](nat_config& n) { n.snat[1].from = net(10, 0, 0, 0, 24), n.snat[1].block_ports = 65'000; }},
        {"block_ports", [](nat_config& n) { n.snat[1].from = net(10, 0, 0, 0, 24), n.snat[1].block_ports = 3, n.shards = 4; }},
    };
    for (auto const& [key, spoil] : snat) {
        nat_config n = good();
        spoil(n);
        CHECK(key_of(fault_of_snat(n, 1)) == key);
    }
}

TEST_CASE("external addresses that are not among ours are found") {
    nat_config const n = good();
    CHECK_FALSE(outside_of(n, {net(203, 0, 113, 0, 24)}));
    CHECK(outside_of(n, {net(203, 0, 113, 0, 26)}) == net(203, 0, 113, 64, 28));
    CHECK(outside_of(n, {net(203, 0, 113, 64, 26), net(203, 0, 113, 0, 29)}) == net(203, 0, 113, 8, 29));
    CHECK(pool_addresses(n.snat[0]) == 5);
}
