// SPDX-License-Identifier: BSL-1.0
// Longest prefix match against a model that looks at bits, and every configuration that is refused.
#include <halfproxy/route/routes.hpp>

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace halfproxy;

namespace {

ip_address v4(unsigned a, unsigned b, unsigned c, unsigned d) { return ip_address::v4(a << 24 | b << 16 | c << 8 | d); }
ip_address v6(unsigned first, unsigned last) {
    return ip_address::v6({static_cast<std::uint8_t>(first >> 8), static_cast<std::uint8_t>(first), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                           static_cast<std::uint8_t>(last >> 8), static_cast<std::uint8_t>(last)});
}
std::vector<port_address> const two_networks{{side::outside, v4(192, 0, 2, 1), 24},
                                             {side::inside, v4(198, 51, 100, 1), 24},
                                             {side::outside, v6(0xfd01, 1), 64},
                                             {side::inside, v6(0xfd02, 1), 64}};

bool same_bits(ip_address const& a, ip_address const& b, unsigned n) {
    for (unsigned i = 0; i < n; ++i)
        if (((a.bytes[i / 8] ^ b.bytes[i / 8]) >> (7 - i % 8) & 1) != 0) return false;
    return true;
}

/// Few bits vary, so that prefixes contain each other and destinations are hit.
ip_address near_address(bool six) {
    ip_address a = six ? v6(0xfd00, 0) : v4(10, 0, 0, 0);
    std::size_t const last = six ? 16 : 4;
    for (std::size_t i : {last - 1, last - 2, std::size_t{1}}) a.bytes[i] = *rc::gen::element<std::uint8_t>(0, 1, 0x80, 0x81, 0xff);
    return a;
}

std::string why(std::vector<port_address> all) {
    port_address const last = all.back();
    all.pop_back();
    return std::string(problem_of(last, all));
}
std::string why(static_route const& r, std::vector<static_route> const& before = {}) { return std::string(problem_of(r, two_networks, before)); }

}  // namespace

TEST_CASE("a destination in a port's prefix is on its link, whichever port and family") {
    route_table const table(two_networks, {});
    REQUIRE(table.size() == 4);
    for (auto const& [to, exit] : {std::pair{v4(192, 0, 2, 200), side::outside}, std::pair{v4(198, 51, 100, 7), side::inside},
                                   std::pair{v6(0xfd01, 0xffff), side::outside}, std::pair{v6(0xfd02, 9), side::inside}}) {
        route const* const r = table.find(to);
        REQUIRE(r != nullptr);
        CHECK(r->exit == exit);
        CHECK(r->on_link());
    }
    CHECK(table.find(v4(192, 0, 3, 1)) == nullptr);
    CHECK(table.find(v6(0xfd03, 1)) == nullptr);
}

TEST_CASE("a static route leaves through the port of its next hop, a default route takes the rest") {
    std::vector<static_route> const routes{{{v4(0, 0, 0, 0), 0}, v4(192, 0, 2, 254), {}}, {{v4(10, 0, 0, 0), 8}, v4(198, 51, 100, 254), {}}};
    route_table const table(two_networks, routes);
    CHECK(table.find(v4(10, 1, 2, 3))->exit == side::inside);
    CHECK(table.find(v4(10, 1, 2, 3))->via == v4(198, 51, 100, 254));
    CHECK(table.find(v4(8, 8, 8, 8))->exit == side::outside);
    CHECK(table.find(v4(8, 8, 8, 8))->via == v4(192, 0, 2, 254));
    CHECK(table.find(v4(198, 51, 100, 9))->on_link());
    CHECK(table.find(v6(0xfd03, 1)) == nullptr);
}

TEST_CASE("a next hop with a link-local address leaves through the port that is named") {
    std::vector<port_address> addresses = two_networks;
    addresses.push_back({side::outside, v6(0xfe80, 1), 64});
    addresses.push_back({side::inside, v6(0xfe80, 1), 64});
    CHECK(why(addresses).empty());
    static_route const unnamed{{v6(0, 0), 0}, v6(0xfe80, 9), {}}, named{{v6(0, 0), 0}, v6(0xfe80, 9), side::inside};
    CHECK(problem_of(unnamed, addresses, {}) == "has a next hop that lies in a prefix of both ports: say which port");
    CHECK(problem_of(named, addresses, {}).empty());
    route_table const table(addresses, std::vector{named});
    CHECK(table.find(v6(0x2001, 1))->exit == side::inside);
    CHECK(table.find(v6(0xfe80, 9)) == table.find(v6(0x2001, 1)));  // link-local prefixes are no routes of their own
}

TEST_CASE("find() is the longest prefix that shares the destination's bits, whatever the order of the routes") {
    CHECK(rc::check("longest prefix match", [] {
        bool const six = *rc::gen::arbitrary<bool>();
        unsigned const bits = six ? 128 : 32;
        std::vector<port_address> const addresses{{side::outside, six ? v6(0xfd77, 1) : v4(172, 16, 0, 1), 16}};
        ip_address const via = six ? v6(0xfd77, 2) : v4(172, 16, 0, 2);
        std::vector<static_route> routes;
        auto const count = *rc::gen::inRange<std::size_t>(0, 12);
        for (std::size_t i = 0; i < count; ++i) {
            static_route r{{near_address(six), static_cast<std::uint8_t>(*rc::gen::inRange(0u, bits + 1))}, via, {}};
            r.via.bytes[3] = static_cast<std::uint8_t>(i + 2);
            if (problem_of(r, addresses, routes).empty()) routes.push_back(r);
        }
        route_table const table(addresses, routes);
        ip_address const destination = near_address(six);
        static_route const* best = nullptr;
        for (static_route const& r : routes)
            if (same_bits(r.to.address, destination, r.to.length) && (best == nullptr || r.to.length > best->to.length)) best = &r;
        route const* const found = table.find(destination);
        RC_ASSERT((found != nullptr) == (best != nullptr));
        if (best != nullptr) RC_ASSERT(found->via == best->via);
    }));
}

TEST_CASE("an address is refused that no host can have, or that disagrees with another") {
    CHECK(why({{side::outside, v4(192, 0, 2, 1), 24}}).empty());
    CHECK(why({{side::outside, v4(192, 0, 2, 0), 31}}).empty());
    CHECK(why({{side::outside, v4(192, 0, 2, 1), 32}}).empty());
    CHECK(why({{side::outside, v4(224, 0, 0, 1), 24}}) == "is no address one host can have");
    CHECK(why({{side::outside, v4(127, 0, 0, 1), 8}}) == "is no address one host can have");
    CHECK(why({{side::outside, ip_address::v6({}), 64}}) == "is no address one host can have");
    CHECK(why({{side::outside, v4(192, 0, 2, 1), 0}}) == "needs the length of its prefix, as in 192.0.2.1/24");
    CHECK(why({{side::outside, v4(192, 0, 2, 0), 24}}) == "is its prefix's own address, not a host's");
    CHECK(why({{side::outside, v4(192, 0, 2, 255), 24}}) == "is its prefix's broadcast address");
    CHECK(why({{side::outside, v4(192, 0, 2, 1), 24}, {side::inside, v4(192, 0, 2, 1), 25}}) == "is given twice");
    CHECK(why({{side::outside, v4(192, 0, 2, 1), 24}, {side::outside, v4(192, 0, 2, 2), 24}}).empty());
    CHECK(why({{side::outside, v4(192, 0, 2, 1), 24}, {side::inside, v4(192, 0, 2, 2), 24}}) == "has its prefix on the other port too");
    CHECK(why({{side::outside, v4(10, 0, 0, 1), 8}, {side::inside, v4(10, 1, 0, 1), 16}}).empty());
}

TEST_CASE("a route is refused whose next hop cannot be reached, or that says what another says") {
    CHECK(why({{v4(10, 0, 0, 0), 8}, v4(192, 0, 2, 9), {}}).empty());
    CHECK(why({{v4(10, 0, 0, 0), 8}, v6(0xfd01, 9), {}}) == "is of another address family than its next hop");
    CHECK(why({{v4(10, 0, 0, 0), 8}, v4(203, 0, 113, 9), {}}) == "has a next hop that lies in no prefix of a port");
    CHECK(why({{v4(10, 0, 0, 0), 8}, v4(192, 0, 2, 9), side::inside}) == "has a next hop that lies in no prefix of a port");
    CHECK(why({{v4(10, 0, 0, 0), 8}, v4(192, 0, 2, 1), {}}) == "has an address of this machine as its next hop");
    CHECK(why({{v4(10, 0, 0, 0), 8}, v4(224, 0, 0, 9), {}}) == "has a next hop that is no host's address");
    CHECK(why({{v4(192, 0, 2, 0), 24}, v4(192, 0, 2, 9), {}}) == "is the prefix of a port");
    CHECK(why({{v4(10, 0, 0, 0), 8}, v4(192, 0, 2, 9), {}}, {{{v4(10, 0, 0, 0), 8}, v4(192, 0, 2, 8), {}}}) == "is given twice");
}

TEST_CASE("an answered address lies in a port's prefix, and the longest prefix says which port") {
    CHECK(problem_of_answered(v4(192, 0, 2, 80), two_networks).empty());
    CHECK(problem_of_answered(v4(192, 0, 2, 255), two_networks) == "is the broadcast address of a prefix of [[io.address]]");
    CHECK(problem_of_answered(v4(203, 0, 113, 80), two_networks) ==
          "lies in no prefix of [[io.address]]: nobody would ask this machine for it");
    CHECK(problem_of_answered(v4(239, 0, 0, 1), two_networks) == "is no address one host can have");
    std::vector<port_address> const nested{{side::outside, v4(10, 0, 0, 1), 8}, {side::inside, v4(10, 1, 0, 1), 16}};
    CHECK(port_of(v4(10, 1, 2, 3), nested) == side::inside);
    CHECK(port_of(v4(10, 2, 2, 3), nested) == side::outside);
    CHECK(!port_of(v4(11, 2, 2, 3), nested));
}

TEST_CASE("what we send ourselves leaves in the name of our address in the next hop's prefix, the longest, and never of a link-local one") {
    std::vector<port_address> addresses = two_networks;
    addresses.push_back({side::inside, v4(198, 51, 100, 129), 25});
    addresses.push_back({side::inside, ip_address::v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}), 64});
    ip_address const link_local = ip_address::v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9});
    std::vector<static_route> const routes{{{v4(10, 0, 0, 0), 8}, v4(192, 0, 2, 9), {}}, {{v6(0xfd09, 0), 16}, link_local, side::inside}};
    auto const from = [&](ip_address const& destination) {
        auto const way = way_from_here(destination, addresses, routes);
        REQUIRE(way);
        return std::pair{way->exit, way->source};
    };
    CHECK(from(v4(198, 51, 100, 80)) == std::pair{side::inside, v4(198, 51, 100, 1)});
    CHECK(from(v4(198, 51, 100, 180)) == std::pair{side::inside, v4(198, 51, 100, 129)});
    CHECK(from(v4(10, 1, 2, 3)) == std::pair{side::outside, v4(192, 0, 2, 1)});
    CHECK(from(v6(0xfd02, 80)) == std::pair{side::inside, v6(0xfd02, 1)});
    CHECK(from(v6(0xfd09, 80)) == std::pair{side::inside, v6(0xfd02, 1)});
    CHECK(!way_from_here(v4(203, 0, 113, 1), addresses, routes));
    CHECK(!way_from_here(v6(0xfd02, 80), std::span(two_networks).first(2), {}));
}
