// SPDX-License-Identifier: BSL-1.0
// Maglev's table: even, the same everywhere, and little moved by who comes and goes.
#include <halfproxy/balance/maglev.hpp>

#include <halfproxy/core/random.hpp>

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <map>

using namespace halfproxy;

namespace {

std::uint64_t identity_of_number(std::uint32_t number) { return identity_of(ip_address::v4(0x0a00'0001u + number), 80); }

std::vector<maglev_member> members(std::uint32_t count, std::uint32_t weight = 1) {
    std::vector<maglev_member> all;
    for (std::uint32_t i = 0; i < count; ++i) all.push_back({identity_of_number(i), weight, static_cast<backend_index>(i)});
    return all;
}

maglev_table built(std::vector<maglev_member> const& all, std::uint32_t size) {
    maglev_table table(size, static_cast<std::uint32_t>(all.size()));
    table.build(all);
    return table;
}

std::map<backend_index, std::uint32_t> counts(maglev_table const& table) {
    std::map<backend_index, std::uint32_t> count;
    for (backend_index const b : table.places()) ++count[b];
    return count;
}

/// The part of the places not held by `gone` that are held by another member in `after`.
double moved(maglev_table const& before, maglev_table const& after, backend_index gone) {
    std::size_t others = 0, other_choice = 0;
    for (std::size_t i = 0; i < before.places().size(); ++i) {
        if (before.places()[i] == gone) continue;
        ++others;
        other_choice += before.places()[i] != after.places()[i];
    }
    return static_cast<double>(other_choice) / static_cast<double>(others);
}

}  // namespace

TEST_CASE("no backend's part is off by more than 1 %, at any number of backends and the size that maglev_size() gives") {
    for (std::uint32_t const n : {1u, 2u, 3u, 10u, 100u, 500u}) {
        maglev_table const table = built(members(n), maglev_size(n));
        double const fair = static_cast<double>(table.places().size()) / n;
        auto const count = counts(table);
        REQUIRE(count.size() == n);
        for (auto const& [backend, places] : count) CHECK(std::abs(places - fair) <= fair * 0.01);
    }
}

TEST_CASE("with weights every backend has its part by weight, to one place") {
    std::vector<maglev_member> all = members(20);
    std::uint32_t total = 0;
    for (maglev_member& m : all) total += m.weight = 1 + m.index * m.index;
    maglev_table const table = built(all, maglev_size(total));
    auto const count = counts(table);
    for (maglev_member const& m : all) {
        double const fair = static_cast<double>(table.places().size()) * m.weight / total;
        CHECK(std::abs(count.at(m.index) - fair) < 1);
        CHECK(std::abs(count.at(m.index) - fair) <= fair * 0.01);
    }
}

TEST_CASE("removing any of 100 backends moves at most 2 % of the others' hashes in the least table, 0.7 % in one of 65,537") {
    for (auto const& [size, most] : {std::pair{maglev_size(100), 0.02}, std::pair{65'537u, 0.007}}) {
        std::vector<maglev_member> const all = members(100);
        maglev_table const before = built(all, size);
        maglev_table after(size, 100);
        double worst = 0;
        for (std::uint32_t gone = 0; gone < 100; gone += size > 20'000 ? 9 : 1) {
            std::vector<maglev_member> rest = all;
            rest.erase(rest.begin() + gone);
            after.build(rest);
            worst = std::max(worst, moved(before, after, static_cast<backend_index>(gone)));
        }
        CHECK(worst > 0);
        CHECK(worst <= most);
    }
}

TEST_CASE("the table is the same whatever the order in which its members are named") {
    CHECK(rc::check([](std::uint64_t seed) {
        split_mix64 random(seed);
        std::vector<maglev_member> all = members(1 + random.below(40));
        for (maglev_member& m : all) m.weight = random.below(5);
        auto const count = static_cast<std::uint32_t>(all.size());
        maglev_table a(1009, count), b(1009, count);
        a.build(all);
        for (std::size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[random.below(static_cast<std::uint32_t>(i))]);
        b.build(members(count));  // what was there before makes no difference
        b.build(all);
        RC_ASSERT(std::equal(a.places().begin(), a.places().end(), b.places().begin()));
    }));
}

TEST_CASE("the same servers under other numbers have the same places: nodes agree although their lists differ") {
    std::vector<maglev_member> all = members(30);
    maglev_table const here = built(all, 3001);
    std::reverse(all.begin(), all.end());
    for (std::size_t i = 0; i < all.size(); ++i) all[i].index = static_cast<backend_index>(i);
    maglev_table const there = built(all, 3001);
    for (std::size_t i = 0; i < here.places().size(); ++i) REQUIRE(here.places()[i] == 29 - there.places()[i]);
}

TEST_CASE("the table of three known servers is what it has always been: nodes of different versions agree") {
    maglev_table const table = built(members(3), 11);
    std::vector<backend_index> const known(table.places().begin(), table.places().end());
    CHECK(known == std::vector<backend_index>{0, 0, 2, 2, 1, 2, 1, 1, 2, 0, 1});  // by another program, from the description alone
}

TEST_CASE("weight 0 has no place, and without any weight the table is empty") {
    std::vector<maglev_member> all = members(3);
    all[1].weight = 0;
    maglev_table table = built(all, 251);
    CHECK(counts(table).count(1) == 0);
    CHECK_FALSE(table.empty());
    for (maglev_member& m : all) m.weight = 0;
    table.build(all);
    CHECK(table.empty());
    table.build({});
    CHECK(table.empty());
}

TEST_CASE("hashes from 0 to 2^64 - 1 are spread over all places in order") {
    maglev_table const table = built(members(5), 251);
    CHECK(table.place_of(0) == 0);
    CHECK(table.place_of(~std::uint64_t{0}) == 250);
    CHECK(table[0] == table.places()[0]);
    CHECK(table[~std::uint64_t{0}] == table.places()[250]);
}

TEST_CASE("sizes are prime, at least 251 and at least 100 places a share, up to the largest") {
    CHECK(maglev_size(1) == 251);
    CHECK(maglev_size(100) == 10'007);
    CHECK(maglev_size(655) == 65'519);
    CHECK(maglev_size(1'000'000) == largest_maglev_size);
    CHECK(maglev_table(65'536, 1).places().size() == 65'537);
    CHECK(maglev_table(0, 1).places().size() == 3);
    CHECK(maglev_table(~0u, 1).places().size() == largest_maglev_size);
}

TEST_CASE("servers differ by address, family and port") {
    ip_address const v4 = ip_address::v4(0x0a00'0001);
    ip_address v6 = ip_address::v6(v4.bytes);
    CHECK(identity_of(v4, 80) != identity_of(v4, 81));
    CHECK(identity_of(v4, 80) != identity_of(v6, 80));
    CHECK(identity_of(v4, 80) != identity_of(ip_address::v4(0x0a00'0002), 80));
}
