// SPDX-License-Identifier: BSL-1.0
// Keys differ when any of their parts does, and so do their hashes.
#include <halfproxy/track/flow_key.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

using namespace halfproxy;

namespace {

ipv4_key key4(std::uint32_t n) { return {{0x0a000000 + n, 0xc6336450, static_cast<std::uint16_t>(1024 + n % 60000), 80}, 0, 6, 0}; }

/// The key with one bit of its bytes flipped.
template <class Key>
Key flipped(Key key, unsigned bit) {
    auto bytes = std::bit_cast<std::array<std::uint8_t, sizeof(Key)>>(key);
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    return std::bit_cast<Key>(bytes);
}

template <class Key>
void every_bit_matters(Key const& key) {
    flow_key_hash const hash(12345);
    std::uint64_t const base = hash(key);
    double changed = 0;
    int unmoved = 0;
    for (unsigned bit = 0; bit < sizeof(Key) * 8; ++bit) {
        std::uint64_t const other = hash(flipped(key, bit));
        int const difference = std::popcount(base ^ other);
        CHECK(difference > 8);
        // Bucket (upper 32) and tag (lower 16) must both move.
        unmoved += ((base ^ other) >> 32) == 0;
        unmoved += ((base ^ other) & 0xffff) == 0;  // by chance, one time in 65,536
        changed += difference;
    }
    CHECK(unmoved <= 3);
    double const mean = changed / (sizeof(Key) * 8);
    CHECK(mean > 28);
    CHECK(mean < 36);
}

}  // namespace

TEST_CASE("a tuple reversed twice is itself, reversed once has both pairs swapped") {
    ipv4_tuple const t{1, 2, 3, 4};
    CHECK(t.reversed() == ipv4_tuple{2, 1, 4, 3});
    CHECK(t.reversed().reversed() == t);
}

TEST_CASE("protocol and zone tell keys apart") {
    ipv4_key const k = key4(1);
    ipv4_key other = k;
    other.protocol = 17;
    CHECK_FALSE(other == k);
    other = k;
    other.zone = 1;
    CHECK_FALSE(other == k);
}

TEST_CASE("every bit of a key moves both halves of its hash") {
    std::mt19937_64 random(2);
    for (int round = 0; round < 8; ++round) {
        ipv4_key four = key4(static_cast<std::uint32_t>(random()));
        every_bit_matters(four);
        ipv6_key six{};
        for (auto& b : six.tuple.source) b = static_cast<std::uint8_t>(random());
        six.tuple.source_port = static_cast<std::uint16_t>(random());
        every_bit_matters(six);
    }
}

TEST_CASE("similar keys spread over buckets and tags as chance would have it") {
    flow_key_hash const hash(99);
    constexpr std::uint32_t keys = 1 << 16, buckets = 1 << 12;
    std::vector<int> load(buckets), tags(1 << 12);
    for (std::uint32_t n = 0; n < keys; ++n) {
        std::uint64_t const h = hash(key4(n));
        ++load[h >> 52];
        ++tags[h & 0xfff];
    }
    for (auto const& counts : {load, tags}) {
        double square = 0;
        for (int c : counts) square += (c - 16.0) * (c - 16.0) / 16.0;
        CHECK(square > buckets - 6 * 91);  // chi square: 4095, deviation 90.5
        CHECK(square < buckets + 6 * 91);
    }
}

TEST_CASE("another seed is another hash, and no two of many keys collide") {
    CHECK(flow_key_hash(1)(key4(5)) != flow_key_hash(2)(key4(5)));
    std::set<std::uint64_t> seen;
    for (std::uint32_t n = 0; n < 100'000; ++n) seen.insert(flow_key_hash(7)(key4(n)));
    CHECK(seen.size() == 100'000);
}
