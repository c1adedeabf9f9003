// SPDX-License-Identifier: BSL-1.0
// Rules: the first that matches decides.
#include <halfproxy/admit/acl.hpp>

#include <doctest/doctest.h>

#include <random>

using namespace halfproxy;

namespace {

constexpr std::uint8_t tcp = 6, udp = 17;

acl_query query(std::uint32_t from, std::uint32_t to, std::uint16_t port = 80, std::uint8_t protocol = tcp) {
    return {ip_address::v4(from), ip_address::v4(to), protocol, port};
}
ip_prefix prefix(std::uint32_t address, std::uint8_t length) { return {ip_address::v4(address), length}; }

/// Bit by bit.
bool shares_bits(ip_address const& a, ip_address const& b, unsigned length) {
    for (unsigned i = 0; i < length; ++i)
        if ((a.bytes[i / 8] >> (7 - i % 8) & 1) != (b.bytes[i / 8] >> (7 - i % 8) & 1)) return false;
    return true;
}

}  // namespace

TEST_CASE("without a rule that matches, everything is allowed") {
    CHECK(acl{}.decide(query(1, 2)) == rule_action::allow);
    CHECK(acl({{.action = rule_action::deny, .protocol = udp}}).decide(query(1, 2)) == rule_action::allow);
}

TEST_CASE("the first rule that matches decides, whatever follows") {
    acl const rules({{.action = rule_action::reset, .from = prefix(0x0a000001, 32)},
                     {.action = rule_action::allow, .from = prefix(0x0a000000, 8)},
                     {.action = rule_action::fast, .from = prefix(0x0a000000, 8)},
                     {.action = rule_action::deny}});
    CHECK(rules.decide(query(0x0a000001, 9)) == rule_action::reset);
    CHECK(rules.decide(query(0x0a000002, 9)) == rule_action::allow);
    CHECK(rules.decide(query(0x0b000001, 9)) == rule_action::deny);
}

TEST_CASE("every condition of a rule must hold") {
    acl_rule const rule{.action = rule_action::deny, .from = prefix(0x0a000000, 8), .to = prefix(0xc0a80100, 24), .protocol = tcp, .ports = {80, 443}};
    acl const rules({rule});
    CHECK(rules.decide(query(0x0a010203, 0xc0a80105, 80)) == rule_action::deny);
    CHECK(rules.decide(query(0x0a010203, 0xc0a80105, 443)) == rule_action::deny);
    CHECK(rules.decide(query(0x0a010203, 0xc0a80105, 79)) == rule_action::allow);
    CHECK(rules.decide(query(0x0a010203, 0xc0a80105, 444)) == rule_action::allow);
    CHECK(rules.decide(query(0x0b010203, 0xc0a80105, 80)) == rule_action::allow);
    CHECK(rules.decide(query(0x0a010203, 0xc0a80205, 80)) == rule_action::allow);
    CHECK(rules.decide(query(0x0a010203, 0xc0a80105, 80, udp)) == rule_action::allow);
}

TEST_CASE("port ranges hold both ends, 0 and 65535") {
    for (std::uint16_t port : {std::uint16_t{0}, std::uint16_t{1}, std::uint16_t{65535}}) {
        acl const rules({{.action = rule_action::deny, .ports = {port, port}}});
        CHECK(rules.decide(query(1, 2, port)) == rule_action::deny);
        CHECK(rules.decide(query(1, 2, 1234)) == rule_action::allow);
    }
}

TEST_CASE("prefixes of every length contain what shares their bits, in both families") {
    std::mt19937 random(3);
    for (unsigned length = 0; length <= 128; ++length)
        for (int i = 0; i < 200; ++i) {
            ip_address a = ip_address::v6({}), b = ip_address::v6({});
            for (auto& byte : a.bytes) byte = static_cast<std::uint8_t>(random());
            b = a;
            b.bytes[random() % 16] ^= static_cast<std::uint8_t>(1u << random() % 8);
            CHECK(ip_prefix{a, static_cast<std::uint8_t>(length)}.contains(b) == shares_bits(a, b, length));
            if (length > 32) continue;
            ip_address const c = ip_address::v4(static_cast<std::uint32_t>(random()));
            ip_address const d = ip_address::v4(c.to_v4() ^ (1u << random() % 32));
            CHECK(ip_prefix{c, static_cast<std::uint8_t>(length)}.contains(d) == shares_bits(c, d, length));
        }
}

TEST_CASE("a prefix of one family never contains an address of the other, and none contains both") {
    ip_address const v4 = ip_address::v4(0x20010db8), v6 = ip_address::v6({0x20, 0x01, 0x0d, 0xb8});
    CHECK_FALSE(ip_prefix{v4, 0}.contains(v6));
    CHECK_FALSE(ip_prefix{v6, 0}.contains(v4));
    CHECK(ip_prefix{}.contains(v4));
    CHECK(ip_prefix{}.contains(v6));
}
