// SPDX-License-Identifier: BSL-1.0
// Mappings: found from either side, held by flows, lingering, giving way.
#include <halfproxy/translate/nat_binding.hpp>

#include <halfproxy/core/random.hpp>

#include <doctest/doctest.h>

#include <map>
#include <vector>

using namespace halfproxy;

namespace {

using table = binding_table<std::uint32_t>;
using binding = nat_binding<std::uint32_t>;

constexpr std::uint32_t pool = 0xcb007101;

binding mapping_of(std::uint16_t port, std::uint8_t protocol = ip_protocol::udp, std::uint32_t remote = 0) {
    binding b;
    b.key = {.inside = 0x0a000001, .inside_port = port, .protocol = protocol};
    if (remote != 0) b.key.remote = remote, b.key.remote_port = 443, b.key.by_remote = 1;
    b.outside = pool;
    b.outside_port = static_cast<std::uint16_t>(port + 10'000);
    return b;
}
binding_target<std::uint32_t> towards(std::uint16_t outside_port, std::uint32_t remote, std::uint16_t remote_port, std::uint8_t protocol = ip_protocol::udp) {
    return {pool, remote, outside_port, remote_port, 0, protocol, 0};
}
void nobody(binding const&) { FAIL("no mapping was to end"); }

}  // namespace

TEST_CASE("a mapping is found by its inside endpoint, and by its outside one from anybody or from its remote endpoint alone") {
    table t(8, {}, 1);
    auto const open = t.insert(mapping_of(1), nobody);
    auto const own = t.insert(mapping_of(2, ip_protocol::udp, 77), nobody);
    CHECK(t.find(mapping_of(1).key) == open);
    CHECK(t.find(mapping_of(2, ip_protocol::udp, 77).key) == own);
    CHECK_FALSE(t.find(mapping_of(2).key));
    CHECK_FALSE(t.find(mapping_of(1, ip_protocol::tcp).key));
    CHECK(t.find(towards(10'001, 5, 5)) == open);
    CHECK(t.find(towards(10'002, 77, 443)) == own);
    CHECK_FALSE(t.find(towards(10'002, 77, 444)));
    CHECK_FALSE(t.find(towards(10'002, 78, 443)));
    CHECK_FALSE(t.find(towards(10'001, 5, 5, ip_protocol::tcp)));
    CHECK_FALSE(t.find(towards(10'003, 5, 5)));
}

TEST_CASE("a mapping lives while a flow holds it, and lingers for the time of its protocol (RFC 4787 REQ-5)") {
    table t(8, {.tcp = 0, .udp = 1000, .icmp = 50, .other = 2000}, 1);
    std::vector<std::uint16_t> ended;
    auto const note = [&](binding const& b) { ended.push_back(b.key.inside_port); };
    auto const udp = *t.insert(mapping_of(1), note), tcp = *t.insert(mapping_of(2, ip_protocol::tcp), note);
    auto const icmp = *t.insert(mapping_of(3, ip_protocol::icmp), note), gre = *t.insert(mapping_of(4, 47), note);
    t.hold(udp);
    t.let_go(udp, {0}, note);
    CHECK(t.lingering() == 0);
    t.let_go(udp, {0}, note);
    t.let_go(tcp, {0}, note);
    t.let_go(icmp, {0}, note);
    t.let_go(gre, {0}, note);
    CHECK(ended == std::vector<std::uint16_t>{2});
    CHECK(t.lingering() == 3);
    CHECK(t.next_deadline({0}) == stamp_ms{50});
    CHECK(t.expire({49}, 9, note) == 0);
    CHECK(t.expire({50}, 9, note) == 1);
    t.hold(udp);  // a new flow of the same endpoint keeps it
    CHECK(t.expire({1000}, 9, note) == 0);
    CHECK(t.find(mapping_of(1).key) == udp);
    t.let_go(udp, {5000}, note);
    CHECK(t.expire({5999}, 9, note) == 1);  // the one without ports
    CHECK(t.expire({6000}, 9, note) == 1);
    CHECK(ended == std::vector<std::uint16_t>{2, 3, 4, 1});
    CHECK(t.size() == 0);
    CHECK_FALSE(t.next_deadline({6000}));
}

TEST_CASE("when all are taken the one that has lingered longest gives way, and one that is held never does") {
    table t(3, {.udp = 1000}, 1);
    std::vector<std::uint16_t> ended;
    auto const note = [&](binding const& b) { ended.push_back(b.key.inside_port); };
    auto const a = *t.insert(mapping_of(1), note), b = *t.insert(mapping_of(2), note);
    CHECK(t.insert(mapping_of(3), note));
    CHECK_FALSE(t.has_room());
    CHECK_FALSE(t.insert(mapping_of(4), note));
    t.let_go(b, {0}, note);
    t.let_go(a, {1}, note);
    CHECK(t.has_room());
    CHECK(t.insert(mapping_of(5), note));
    CHECK(t.insert(mapping_of(6), note));
    CHECK_FALSE(t.insert(mapping_of(7), note));
    CHECK(ended == std::vector<std::uint16_t>{2, 1});
    CHECK(t.cut_short() == 2);
}

TEST_CASE("whatever comes and goes, both ways of finding agree with what is there") {
    split_mix64 random{5};
    table t(64, {.tcp = 10, .udp = 20, .icmp = 5, .other = 15}, 9);
    std::map<std::uint16_t, std::uint32_t> there;  // by inside port: number
    stamp_ms now{0xffff'ff00u};                    // the stamps wrap on the way
    auto const gone = [&](binding const& b) { REQUIRE(there.erase(b.key.inside_port) == 1); };
    for (int step = 0; step < 20'000; ++step) {
        now = now + random.below(3);
        t.expire(now, 2, gone);
        auto const port = static_cast<std::uint16_t>(random.below(100));
        std::uint8_t const protocol = std::array<std::uint8_t, 4>{6, 17, 1, 47}[port % 4u];
        binding const b = mapping_of(port, protocol, port % 3u == 0 ? 0 : port);
        auto const found = t.find(b.key);
        REQUIRE(found.has_value() == (there.count(port) != 0));
        REQUIRE(t.find(b.target()) == found);
        if (found && random.below(2) == 0) {
            if (t[*found].flows != 0)
                t.let_go(*found, now, gone);
            else
                t.hold(*found);
        } else if (!found) {
            if (auto const number = t.insert(b, gone)) there[port] = *number;
        }
        REQUIRE(t.size() == there.size());
    }
}

TEST_CASE("a mapping given to another rule is found as that one's, from outside as before, and every mapping is visited once") {
    table t(8, {}, 1);
    auto const first = *t.insert(mapping_of(1), nobody), second = *t.insert(mapping_of(2), nobody);
    t.give_to(second, 9, 3);
    CHECK_FALSE(t.find(mapping_of(2).key));
    binding_key<std::uint32_t> key = mapping_of(2).key;
    key.rule = 9;
    CHECK(t.find(key) == second);
    CHECK(t.find(towards(10'002, 5, 5)) == second);
    CHECK(t[second].place == 3);
    std::map<std::uint32_t, std::uint16_t> seen;
    t.for_each([&](std::uint32_t number, binding const& b) { CHECK(seen.emplace(number, b.key.rule).second); });
    CHECK(seen == std::map<std::uint32_t, std::uint16_t>{{first, std::uint16_t{0}}, {second, std::uint16_t{9}}});
}

TEST_CASE("a mapping that lingers can be ended by its target, one that is held or another's cannot") {
    table t(8, {.tcp = 0, .udp = 1000, .icmp = 0, .other = 0}, 1);
    auto const number = *t.insert(mapping_of(1), nobody);
    CHECK_FALSE(t.end_lingering(mapping_of(1).target(), nobody));  // held
    t.let_go(number, {0}, nobody);
    CHECK_FALSE(t.end_lingering(mapping_of(2).target(), nobody));
    CHECK_FALSE(t.end_lingering(mapping_of(1, ip_protocol::udp, 77).target(), nobody));
    int ended = 0;
    CHECK(t.end_lingering(mapping_of(1).target(), [&](binding const& b) { ended += b.key.inside_port == 1; }));
    CHECK(ended == 1);
    CHECK(t.size() == 0);
    CHECK_FALSE(t.next_deadline({0}).has_value());
    CHECK_FALSE(t.end_lingering(mapping_of(1).target(), nobody));
}
