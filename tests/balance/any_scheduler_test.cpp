// SPDX-License-Identifier: BSL-1.0
// A scheduler chosen by configuration behaves as the model it names.
#include <halfproxy/balance/any_scheduler.hpp>

#include <halfproxy/core/random.hpp>

#include <doctest/doctest.h>

using namespace halfproxy;

namespace {

static_assert(scheduler<any_scheduler> && scheduler<priority_groups<any_scheduler>>);

template <class S>
std::vector<backend_index> story(S s) {
    std::vector<enrolled_backend> all;
    for (backend_index i = 0; i < 5; ++i) all.push_back({identity_of(ip_address::v4(0x0a00'0001u + i), 80), static_cast<std::uint16_t>(1 + i), 0, i});
    s.enroll(all);
    for (backend_index i = 0; i < 5; ++i) s.weigh(i, full_share(all[i].weight));
    split_mix64 random(11);
    std::vector<backend_index> out;
    std::vector<std::uint32_t> open(5);
    for (int i = 0; i < 200; ++i) {
        backend_index const b = s.choose({random(), random(), random()});
        out.push_back(b);
        s.load(b, ++open[b]);
        if (i % 20 == 0) s.weigh(static_cast<backend_index>(i / 20 % 5), {i % 40 == 0 ? 0u : 100u, 512u});
    }
    return out;
}

}  // namespace

TEST_CASE("every kind is the model of its name, and no two are the same") {
    std::vector<std::vector<backend_index>> const plain = {story(round_robin_scheduler(5)), story(weighted_round_robin_scheduler(5)), story(least_connections_scheduler(5)),
                                                           story(weighted_least_connections_scheduler(5)), story(source_hash_scheduler(5, 1009)), story(maglev_scheduler(5, 1009)),
                                                           story(power_of_two_scheduler(5)), story(first_alive_scheduler(5))};
    for (std::size_t kind = 0; kind < plain.size(); ++kind) {
        any_scheduler const s(static_cast<scheduler_kind>(kind), 5, 1009);
        CHECK(s.kind() == static_cast<scheduler_kind>(kind));
        CHECK(s.capacity() == 5);
        CHECK(s.memory_bytes() > 0);
        CHECK(story(s) == plain[kind]);
        for (std::size_t other = 0; other < kind; ++other) CHECK(plain[kind] != plain[other]);
    }
}

TEST_CASE("two kinds have a table") {
    for (std::uint8_t kind = 0; kind < 8; ++kind) {
        auto const k = static_cast<scheduler_kind>(kind);
        CHECK(has_table(k) == (k == scheduler_kind::maglev || k == scheduler_kind::source_hash));
    }
}
