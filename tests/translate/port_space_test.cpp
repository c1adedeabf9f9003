// SPDX-License-Identifier: BSL-1.0
// Sets of taken ports, against sets of the standard library.
#include <halfproxy/translate/port_space.hpp>

#include <halfproxy/core/random.hpp>

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <tuple>

using namespace halfproxy;

namespace {

using shared = ports_by_destination<std::uint32_t>;

exclusive_ports::destination towards(exclusive_ports const&, std::uint32_t) { return {}; }
shared::destination towards(shared const&, std::uint32_t n) { return {0x0a000000 + n / 2, static_cast<std::uint16_t>(n % 2)}; }

/// Takes and gives at random, and asks for the first free port of random ranges; a std::set says what is right.
template <class Space>
void compare(Space space, port_range ports, std::uint32_t addresses, std::uint32_t destinations, std::uint64_t seed) {
    split_mix64 random{seed};
    std::set<std::tuple<std::uint32_t, std::uint32_t, std::uint16_t>> taken;
    auto const port = [&](port_range r) { return static_cast<std::uint16_t>(r.first + random.below(r.last - r.first + 1u)); };
    for (int step = 0; step < 20'000; ++step) {
        std::uint32_t const a = random.below(addresses), d = random.below(destinations);
        auto const to = towards(space, d);
        port_range within{port(ports), 0};
        within.last = port({within.first, ports.last});
        auto const parity = static_cast<port_parity>(random.below(3));
        std::optional<std::uint16_t> expected;
        for (std::uint32_t p = within.first; p <= within.last && !expected; ++p)
            if ((parity == port_parity::any || p % 2 == (parity == port_parity::odd ? 1u : 0u)) && taken.count({a, d, static_cast<std::uint16_t>(p)}) == 0)
                expected = static_cast<std::uint16_t>(p);
        auto const found = space.first_free(a, within, parity, to);
        REQUIRE(found == expected);
        if (found && random.below(100) < 80) {
            REQUIRE(space.is_free(a, *found, to));
            space.take(a, *found, to);
            taken.insert({a, d, *found});
            REQUIRE_FALSE(space.is_free(a, *found, to));
        }
        if (!taken.empty() && random.below(100) < 45) {
            auto victim = taken.lower_bound({a, d, port(ports)});
            if (victim == taken.end()) victim = taken.begin();
            auto const [va, vd, vp] = *victim;
            space.give(va, vp, towards(space, vd));
            taken.erase(victim);
        }
    }
    for (auto const& [a, d, p] : taken) space.give(a, p, towards(space, d));
    for (std::uint32_t a = 0; a < addresses; ++a)
        for (std::uint32_t d = 0; d < destinations; ++d) CHECK(space.first_free(a, ports, port_parity::any, towards(space, d)) == ports.first);
}

}  // namespace

TEST_CASE("the first free port of any range, parity and address is found, whatever is taken") {
    for (port_range const ports : {port_range{1024, 1200}, port_range{0, 63}, port_range{65'400, 65'535}, port_range{4'090, 4'230}}) {
        CAPTURE(ports.first);
        compare(exclusive_ports(2, ports), ports, 2, 1, ports.first + 1);
        compare(shared(2, ports, 4096), ports, 2, 3, ports.first + 2);
    }
}

TEST_CASE("across whole groups of full words the last free port is found") {
    constexpr port_range ports{0, 65535};
    exclusive_ports whole(1, ports);
    shared by(1, ports, 70'000);
    shared::destination const to{7, 7};
    for (std::uint32_t p = 0; p < 65'536; ++p) {
        auto const port = static_cast<std::uint16_t>(p);
        whole.take(0, port);
        by.take(0, port, to);
    }
    CHECK_FALSE(whole.first_free(0, ports, port_parity::any));
    CHECK_FALSE(by.first_free(0, ports, port_parity::any, to));
    CHECK(by.first_free(0, ports, port_parity::any, {7, 8}) == std::uint16_t{0});
    for (std::uint16_t const port : std::initializer_list<std::uint16_t>{65'535, 0, 4'095, 4'096, 33'333}) {
        whole.give(0, port);
        by.give(0, port, to);
        port_parity const parity = port % 2 == 0 ? port_parity::even : port_parity::odd;
        port_parity const wrong = port % 2 == 0 ? port_parity::odd : port_parity::even;
        for (port_parity const p : {parity, port_parity::any}) {
            CHECK(whole.first_free(0, ports, p) == port);
            CHECK(by.first_free(0, ports, p, to) == port);
        }
        CHECK_FALSE(whole.first_free(0, ports, wrong));
        CHECK_FALSE(by.first_free(0, ports, wrong, to));
        whole.take(0, port);
        by.take(0, port, to);
    }
}

TEST_CASE("a table of ports by destination says when it has no room, and has it again") {
    shared by(1, {1, 65535}, 100);
    for (std::uint32_t n = 0; n < 100; ++n) {
        REQUIRE(by.has_room());
        by.take(0, static_cast<std::uint16_t>(1 + n), {n * 77, 1});
    }
    CHECK_FALSE(by.has_room());
    CHECK(by.limit() == 100);
    by.give(0, 5, {4 * 77, 1});
    CHECK(by.has_room());
    CHECK(by.memory_bytes() == shared::memory_bytes(1, 100));
    CHECK(exclusive_ports(3, {1, 9}).memory_bytes() == exclusive_ports::memory_bytes(3, 0));
    CHECK(exclusive_ports(3, {1, 9}).limit() == 27);
}
