// SPDX-License-Identifier: BSL-1.0
// One rule of source NAT: homes, and protocols without ports.
#include <halfproxy/engine/snat_pool.hpp>

#include <doctest/doctest.h>

#include <set>

using namespace halfproxy;

namespace {

using pool = snat_pool<std::uint32_t>;

snat_rule rule_of(unsigned addresses_log2) {
    snat_rule rule;
    rule.pool = {{ip_address::v4(0xcb007100), static_cast<std::uint8_t>(32 - addresses_log2)}};
    return rule;
}
binding_key<std::uint32_t> who(std::uint32_t inside, std::uint8_t protocol, std::uint32_t remote = 0) {
    binding_key<std::uint32_t> key;
    key.inside = inside;
    key.protocol = protocol;
    key.remote = remote;
    key.by_remote = remote != 0 ? 1 : 0;
    if (protocol == ip_protocol::tcp || protocol == ip_protocol::udp) key.inside_port = 4000;
    return key;
}
constexpr auto ignore = ignore_port_events{};

}  // namespace

TEST_CASE("a protocol without ports has one inside host for each pool address and remote host, and port 0") {
    pool p(rule_of(0), 64, 0, 1, 1);
    CHECK(p.by_remote(47));
    CHECK_FALSE(p.by_remote(ip_protocol::udp));
    auto const first = p.take(who(1, 47, 99), {}, ignore);
    CHECK(first.reason == drop_reason::none);
    CHECK(first.address == 0xcb007100);
    CHECK(first.port == 0);
    CHECK(p.refusal_of(who(2, 47, 99), {}) == drop_reason::nat_ports_exhausted);
    CHECK(p.take(who(2, 47, 98), {}, ignore).reason == drop_reason::none);
    CHECK(p.take(who(2, 50, 99), {}, ignore).reason == drop_reason::none);
    p.give_back({who(1, 47, 99), first.address, first.port, first.place, 0, 0}, {}, ignore);
    CHECK(p.take(who(2, 47, 99), {}, ignore).reason == drop_reason::none);
}

TEST_CASE("the protocols' ports are apart, and what is computed of the memory is what is taken") {
    for (bool const shared : {false, true}) {
        snat_rule rule = rule_of(1);
        rule.ports.ports = {7, 7};
        rule.ports.quarantine = 1000;
        rule.share_ports = shared;
        rule.mapping = shared ? nat_mapping::address_and_port_dependent : nat_mapping::endpoint_independent;
        rule.paired = false;
        pool p(rule, 64, 0, 1, 1);
        CHECK(p.memory_bytes() == pool::memory_bytes(rule, 64));
        for (std::uint8_t const protocol : {ip_protocol::tcp, ip_protocol::udp, ip_protocol::icmp}) {
            std::set<std::uint32_t> addresses;
            for (std::uint32_t n : {1u, 2u}) addresses.insert(p.take(who(n, protocol), {}, ignore).address);
            CHECK(addresses.size() == 2);
            CHECK(p.take(who(3, protocol), {}, ignore).reason == drop_reason::nat_ports_exhausted);
        }
    }
}
