// SPDX-License-Identifier: BSL-1.0
// Who gets the next flow, by each model.
#include <halfproxy/balance/schedulers.hpp>

#include <halfproxy/core/random.hpp>

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>

using namespace halfproxy;

namespace {

/// Of RapidCheck's choice. One instantiation for all tests: each of its own would take seconds to compile.
void for_seeds(std::function<void(std::uint64_t)> const& holds) {
    CHECK(rc::check([&holds](std::uint64_t seed) { holds(seed); }));
}

static_assert(scheduler<round_robin_scheduler> && scheduler<weighted_round_robin_scheduler> && scheduler<least_connections_scheduler>);
static_assert(scheduler<weighted_least_connections_scheduler> && scheduler<power_of_two_scheduler> && scheduler<maglev_scheduler> && scheduler<source_hash_scheduler>);
static_assert(scheduler<first_alive_scheduler> && scheduler<priority_groups<maglev_scheduler>>);
static_assert(!scheduler<maglev_table>);

template <class S>
S made(std::uint32_t capacity) {
    if constexpr (std::is_constructible_v<S, std::uint32_t, std::uint32_t> && !std::is_constructible_v<S, std::uint32_t>)
        return S(capacity, maglev_size(capacity));
    else
        return S(capacity);
}

template <>
priority_groups<least_connections_scheduler> made(std::uint32_t capacity) {
    return priority_groups<least_connections_scheduler>(least_connections_scheduler(capacity), 3);
}

std::vector<enrolled_backend> enrolled(std::vector<std::uint16_t> const& weights) {
    std::vector<enrolled_backend> all;
    for (std::uint16_t const w : weights) {
        auto const i = static_cast<std::uint32_t>(all.size());
        all.push_back({identity_of(ip_address::v4(0x0a00'0001u + i), 80), w, 0, static_cast<backend_index>(i)});
    }
    return all;
}

template <class S>
S with(std::vector<std::uint16_t> const& weights) {
    S s = made<S>(static_cast<std::uint32_t>(weights.size()));
    s.enroll(enrolled(weights));
    for (std::size_t i = 0; i < weights.size(); ++i) s.weigh(static_cast<backend_index>(i), full_share(weights[i]));
    return s;
}

choice_input drawn(split_mix64& random) { return {random(), random(), random()}; }

/// What `count` choices give, no flow being counted as open.
template <class S>
std::map<backend_index, int> chosen(S& s, int count, std::uint64_t seed = 1) {
    split_mix64 random(seed);
    std::map<backend_index, int> out;
    for (int i = 0; i < count; ++i) ++out[s.choose(drawn(random))];
    return out;
}

template <class S>
std::string order(S& s, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += static_cast<char>('a' + s.choose({}));
    return out;
}

}  // namespace

TEST_CASE("round robin goes from one to the next, whatever their weights") {
    auto s = with<round_robin_scheduler>({5, 1, 2});
    CHECK(order(s, 7) == "abcabca");
    s.weigh(1, {});
    CHECK(order(s, 4) == "caca");
    s.weigh(1, full_share(1));
    CHECK(chosen(s, 300) == std::map<backend_index, int>{{0, 100}, {1, 100}, {2, 100}});
}

TEST_CASE("weighted round robin spreads a heavy backend's turns over the round") {
    auto s = with<weighted_round_robin_scheduler>({5, 1, 1});
    CHECK(order(s, 14) == "aaabcaaaaabcaa");
    auto t = with<weighted_round_robin_scheduler>({3, 2});
    CHECK(order(t, 10) == "ababaababa");
}

// By any moment a backend has had its turns less than one. Counted in choices that is off by as much of the others' missing turns as its part.
TEST_CASE("weighted round robin gives every backend its part of any number of choices, within a turn of each") {
    for_seeds([](std::uint64_t seed) {
        split_mix64 random(seed);
        std::vector<std::uint16_t> weights(1 + random.below(12));
        double total = 0;
        for (auto& w : weights) total += w = static_cast<std::uint16_t>(1 + random.below(random.below(8) == 0 ? 1000 : 10));
        auto s = with<weighted_round_robin_scheduler>(weights);
        std::vector<double> had(weights.size());
        for (int n = 1; n <= 500; ++n) {
            had[s.choose({})] += 1;
            for (std::size_t i = 0; i < weights.size(); ++i) {
                double const part = weights[i] / total;
                RC_ASSERT(std::abs(had[i] - n * part) <= 1 + static_cast<double>(weights.size()) * part);
            }
        }
    });
}

TEST_CASE("round robin's clock wraps without anybody losing a turn") {
    round_robin_scheduler s(2);
    s.weigh(0, {1, 1 << 24});  // the longest interval
    s.weigh(1, {1, 1 << 24});
    std::map<backend_index, int> had;
    for (int i = 0; i < 200'000; ++i) ++had[s.choose({})];
    CHECK(had == std::map<backend_index, int>{{0, 100'000}, {1, 100'000}});
}

TEST_CASE("coming and going between choices gains no turns") {
    auto s = with<round_robin_scheduler>({1, 1});
    std::map<backend_index, int> had;
    for (int i = 0; i < 1000; ++i) {
        s.weigh(0, {0, 256});
        s.weigh(0, full_share(1));
        ++had[s.choose({})];
    }
    CHECK(had[0] == 500);
}

TEST_CASE("least connections takes the one with the fewest, and takes turns among equals") {
    auto s = with<least_connections_scheduler>({9, 1, 1});
    CHECK(order(s, 6) == "abcabc");
    s.load(0, 3);
    s.load(1, 1);
    s.load(2, 2);
    CHECK(order(s, 2) == "bb");
    s.load(1, 4);
    CHECK(order(s, 1) == "c");
    s.load(0, 0);
    CHECK(order(s, 1) == "a");
}

TEST_CASE("weighted least connections fills backends in proportion to their weights") {
    auto s = with<weighted_least_connections_scheduler>({6, 3, 1});
    std::array<std::uint32_t, 3> open{};
    for (int i = 0; i < 1000; ++i) {
        backend_index const b = s.choose({});
        s.load(b, ++open[b]);
    }
    CHECK(open == std::array<std::uint32_t, 3>{600, 300, 100});
}

TEST_CASE("power of two choices gives the less loaded of any two, so that the most loaded of three gets nothing") {
    auto s = with<power_of_two_scheduler>({1, 1, 1});
    s.load(0, 10);
    auto const had = chosen(s, 3000);
    CHECK(had.count(0) == 0);
    CHECK(std::abs(had.at(1) - 1500) < 150);
    CHECK(std::abs(had.at(2) - 1500) < 150);
}

TEST_CASE("power of two choices keeps 100 backends within a few flows of each other, as random choice does not") {
    auto s = with<power_of_two_scheduler>(std::vector<std::uint16_t>(100, 1));
    std::array<std::uint32_t, 100> open{};
    split_mix64 random(5);
    for (int i = 0; i < 100'000; ++i) {
        backend_index const b = s.choose(drawn(random));
        s.load(b, ++open[b]);
    }
    auto const [least, most] = std::minmax_element(open.begin(), open.end());
    CHECK(*most - *least <= 8);  // of random choices it would be about 150
}

TEST_CASE("first alive gives everything to the first in the order of the configuration") {
    first_alive_scheduler s(3);
    auto all = enrolled({1, 1, 1});
    std::swap(all[0], all[2]);
    s.enroll(all);
    for (backend_index i = 0; i < 3; ++i) s.weigh(i, full_share(1));
    CHECK(order(s, 3) == "ccc");
    s.weigh(2, {});
    CHECK(order(s, 2) == "bb");
    s.weigh(2, full_share(1));
    CHECK(order(s, 1) == "c");
}

TEST_CASE("Maglev gives a tuple the same backend again, a source hash all tuples of a source") {
    auto by_tuple_hash = with<maglev_scheduler>({1, 1, 1, 1});
    auto by_source_hash = with<source_hash_scheduler>({1, 1, 1, 1});
    split_mix64 random(3);
    std::map<backend_index, int> spread;
    for (int i = 0; i < 1000; ++i) {
        choice_input const in = drawn(random), same_source{in.source_hash, random(), random()};
        CHECK(by_tuple_hash.choose(in) == by_tuple_hash.choose({0, in.tuple_hash, 0}));
        CHECK(by_source_hash.choose(in) == by_source_hash.choose(same_source));
        ++spread[by_tuple_hash.choose(same_source)];
    }
    for (auto const& [backend, count] : spread) CHECK(std::abs(count - 250) < 60);
}

TEST_CASE("with Maglev a backend that takes nothing for a while changes nobody else's choice, and its own flows are spread") {
    std::uint32_t const n = 50;
    auto s = with<maglev_scheduler>(std::vector<std::uint16_t>(n, 1));
    std::map<std::uint64_t, backend_index> before;
    split_mix64 random(4);
    for (int i = 0; i < 20'000; ++i) {
        std::uint64_t const hash = random();
        before[hash] = s.choose({0, hash, 0});
    }
    s.weigh(7, {0, 256});
    std::map<backend_index, int> inherited;
    for (auto const& [hash, backend] : before) {
        backend_index const now = s.choose({0, hash, 0});
        if (backend != 7) REQUIRE(now == backend);
        if (backend == 7) ++inherited[now];
    }
    CHECK(inherited.count(7) == 0);
    CHECK(inherited.size() > 30);  // a hundred places, each inherited by one of 49
    s.weigh(7, full_share(1));
    for (auto const& [hash, backend] : before) REQUIRE(s.choose({0, hash, 0}) == backend);
}

TEST_CASE("with Maglev one backend of 500 left takes everything") {
    auto s = with<maglev_scheduler>(std::vector<std::uint16_t>(500, 1));
    for (backend_index i = 0; i < 500; ++i)
        if (i != 321) s.weigh(i, {0, 256});
    CHECK(chosen(s, 500) == std::map<backend_index, int>{{321, 500}});
}

TEST_CASE("with Maglev two nodes choose the same servers although their lists are in another order") {
    auto here = with<maglev_scheduler>(std::vector<std::uint16_t>(20, 1));
    auto all = enrolled(std::vector<std::uint16_t>(20, 1));
    std::reverse(all.begin(), all.end());
    for (std::size_t i = 0; i < all.size(); ++i) all[i].index = static_cast<backend_index>(i);
    maglev_scheduler there(20, maglev_size(20));
    there.enroll(all);
    for (backend_index i = 0; i < 20; ++i) there.weigh(i, full_share(1));
    here.weigh(4, {0, 256});
    there.weigh(15, {0, 256});
    split_mix64 random(8);
    for (int i = 0; i < 1000; ++i) {
        choice_input const in = drawn(random);
        REQUIRE(here.choose(in) == 19 - there.choose(in));
    }
}

TEST_CASE("who starts slowly gets the part of the flows that its share says, with every model that goes by shares") {
    auto const part_of_first = [](auto s) {
        s.weigh(0, {64, 256});
        return chosen(s, 7000)[0];
    };
    std::vector<std::uint16_t> const four{1, 1, 1, 1};
    CHECK(std::abs(part_of_first(with<round_robin_scheduler>(four)) - 538) <= 1);  // 0.25 of 3.25
    CHECK(std::abs(part_of_first(with<weighted_round_robin_scheduler>(four)) - 538) <= 1);
    CHECK(std::abs(part_of_first(with<maglev_scheduler>(four)) - 437) < 60);  // a quarter of a quarter
    CHECK(std::abs(part_of_first(with<source_hash_scheduler>(four)) - 437) < 60);
    CHECK(part_of_first(with<least_connections_scheduler>(four)) == 0);  // the others are empty
    auto loaded = with<least_connections_scheduler>(four);
    for (backend_index i = 1; i < 4; ++i) loaded.load(i, 39);
    loaded.weigh(0, {64, 256});
    std::uint32_t open = 0;
    while (loaded.choose({}) == 0) loaded.load(0, ++open);
    CHECK(open == 9);  // (9 + 1) / 0.25 equals 39 + 1
}

TEST_CASE("the lowest group with enough backends chooses, and the last one says sorry") {
    priority_groups<round_robin_scheduler> s(round_robin_scheduler(5), 3, 2);
    auto all = enrolled({1, 1, 1, 1, 1});
    for (std::uint8_t i = 0; i < 5; ++i) all[i].priority = i / 2;
    s.enroll(all);
    for (backend_index i = 0; i < 5; ++i) s.weigh(i, full_share(1));
    CHECK(order(s, 4) == "abab");
    s.weigh(1, {0, 256});
    CHECK(order(s, 4) == "cdcd");
    s.weigh(3, {0, 256});
    CHECK(order(s, 2) == "aa");  // none has two
    s.weigh(0, {0, 256});
    s.weigh(2, {0, 256});
    CHECK(order(s, 2) == "ee");
    s.weigh(4, {0, 256});
    CHECK(s.choose({}) == no_backend_index);
    s.weigh(0, full_share(1));
    s.weigh(1, full_share(1));
    CHECK(order(s, 4) == "baba");
}

TEST_CASE("a backend that changes its group takes its share and its load with it") {
    priority_groups<least_connections_scheduler> s(least_connections_scheduler(3), 2);
    auto all = enrolled({1, 1, 1});
    all[2].priority = 1;
    s.enroll(all);
    for (backend_index i = 0; i < 3; ++i) s.weigh(i, full_share(1));
    s.load(0, 5);
    s.load(1, 6);
    s.load(2, 7);
    all[0].priority = 1;
    all[2].priority = 0;
    s.enroll(all);
    CHECK(order(s, 2) == "bb");
    s.load(1, 8);
    CHECK(order(s, 2) == "cc");
    s.weigh(1, {0, 256});
    s.weigh(2, {0, 256});
    CHECK(order(s, 2) == "aa");
}

TEST_CASE_TEMPLATE("nobody of share 0 is ever chosen, and somebody is as long as one has a share", S, round_robin_scheduler, weighted_round_robin_scheduler, least_connections_scheduler,
                   weighted_least_connections_scheduler, power_of_two_scheduler, maglev_scheduler, source_hash_scheduler, first_alive_scheduler, priority_groups<least_connections_scheduler>) {
    for_seeds([](std::uint64_t seed) {
        split_mix64 random(seed);
        std::vector<std::uint16_t> weights(1 + random.below(9));
        for (auto& w : weights) w = static_cast<std::uint16_t>(1 + random.below(4));
        S s = with<S>(weights);
        std::vector<bool> ready(weights.size(), true);
        for (int step = 0; step < 300; ++step) {
            auto const i = static_cast<backend_index>(random.below(static_cast<std::uint32_t>(weights.size())));
            switch (random.below(4)) {
                case 0:
                    ready[i] = random.below(2) == 0;
                    s.weigh(i, {ready[i] ? 1 + random.below(weights[i] * share_per_weight) : 0, weights[i] * share_per_weight});
                    break;
                case 1: s.load(i, random.below(20)); break;
                default: {
                    backend_index const choice = s.choose(drawn(random));
                    bool const any = std::count(ready.begin(), ready.end(), true) != 0;
                    RC_ASSERT(any == (choice != no_backend_index));
                    if (any) RC_ASSERT(ready[choice]);
                }
            }
        }
    });
}

TEST_CASE_TEMPLATE("a copy chooses as the original does", S, round_robin_scheduler, weighted_round_robin_scheduler, least_connections_scheduler, weighted_least_connections_scheduler, power_of_two_scheduler,
                   maglev_scheduler, source_hash_scheduler, first_alive_scheduler, priority_groups<least_connections_scheduler>) {
    S one = with<S>({1, 2, 3});
    S other = one;
    split_mix64 random(6);
    for (int i = 0; i < 100; ++i) {
        choice_input const in = drawn(random);
        backend_index const choice = one.choose(in);
        REQUIRE(choice == other.choose(in));
        one.load(choice, static_cast<std::uint32_t>(i));
        other.load(choice, static_cast<std::uint32_t>(i));
    }
    CHECK(one.memory_bytes() == other.memory_bytes());
    CHECK(one.memory_bytes() > 0);
}
