// SPDX-License-Identifier: BSL-1.0
// SipHash-2-4 against published vectors and another implementation.
#include <halfproxy/admit/siphash.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

using namespace halfproxy;

namespace {

/// Byte by byte from the paper's section 2, with nothing shared.
std::uint64_t by_the_paper(std::array<std::uint8_t, 16> const& key, std::vector<std::uint8_t> const& message) {
    auto const word = [](std::uint8_t const* at) {
        std::uint64_t w = 0;
        for (int i = 7; i >= 0; --i) w = w << 8 | at[i];
        return w;
    };
    auto const turn = [](std::uint64_t v, int by) { return v << by | v >> (64 - by); };
    std::uint64_t const k0 = word(key.data()), k1 = word(key.data() + 8);
    std::uint64_t a = k0 ^ 0x736f6d6570736575ull, b = k1 ^ 0x646f72616e646f6dull, c = k0 ^ 0x6c7967656e657261ull,
                  d = k1 ^ 0x7465646279746573ull;
    auto const rounds = [&](int n) {
        while (n-- > 0) {
            a += b, c += d;
            b = turn(b, 13), d = turn(d, 16);
            b ^= a, d ^= c;
            a = turn(a, 32);
            c += b, a += d;
            b = turn(b, 17), d = turn(d, 21);
            b ^= c, d ^= a;
            c = turn(c, 32);
        }
    };
    std::vector<std::uint8_t> padded = message;
    while (padded.size() % 8 != 7) padded.push_back(0);
    padded.push_back(static_cast<std::uint8_t>(message.size()));
    for (std::size_t at = 0; at < padded.size(); at += 8) {
        std::uint64_t const m = word(padded.data() + at);
        d ^= m;
        rounds(2);
        a ^= m;
    }
    c ^= 0xff;
    rounds(4);
    return a ^ b ^ c ^ d;
}

std::uint64_t ours(std::array<std::uint8_t, 16> const& key, std::vector<std::uint8_t> const& message) {
    auto const little = [](std::uint8_t const* at, std::size_t n) {
        std::uint64_t w = 0;
        for (std::size_t i = n; i-- > 0;) w = w << 8 | at[i];
        return w;
    };
    std::vector<std::uint64_t> words;
    std::size_t const whole = message.size() / 8;
    for (std::size_t i = 0; i < whole; ++i) words.push_back(little(message.data() + 8 * i, 8));
    std::size_t const rest = message.size() % 8;
    std::uint64_t const tail = rest == 0 ? 0 : little(message.data() + 8 * whole, rest);
    return siphash_2_4{}({little(key.data(), 8), little(key.data() + 8, 8)}, words, tail, static_cast<unsigned>(rest));
}

constexpr std::array<std::uint8_t, 16> counting_key{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

std::vector<std::uint8_t> counting(std::size_t n) {
    std::vector<std::uint8_t> bytes(n);
    for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::uint8_t>(i);
    return bytes;
}

}  // namespace

TEST_CASE("SipHash-2-4 gives the published values (Aumasson, Bernstein 2012, appendix A and reference vectors)") {
    CHECK(ours(counting_key, {}) == 0x726fdb47dd0e0e31u);              // 31 0e 0e dd 47 db 6f 72
    CHECK(ours(counting_key, counting(15)) == 0xa129ca6149be45e5u);  // the paper's example
    CHECK(by_the_paper(counting_key, {}) == 0x726fdb47dd0e0e31u);
    CHECK(by_the_paper(counting_key, counting(15)) == 0xa129ca6149be45e5u);
}

TEST_CASE("words and tail of every length agree with the paper's algorithm") {
    std::mt19937 random(7);
    for (std::size_t n = 0; n < 64; ++n) {
        CHECK(ours(counting_key, counting(n)) == by_the_paper(counting_key, counting(n)));
        std::array<std::uint8_t, 16> key{};
        std::vector<std::uint8_t> message(n);
        for (auto& b : key) b = static_cast<std::uint8_t>(random());
        for (auto& b : message) b = static_cast<std::uint8_t>(random());
        CHECK(ours(key, message) == by_the_paper(key, message));
    }
}

namespace {

template <std::size_t Words>
void check_side_by_side(vector_unit unit, std::mt19937_64& random) {
    auto messages = std::make_unique<keyed_messages<Words>>();
    for (std::size_t count = 0; count <= messages->capacity; ++count)
        for (unsigned tail_bytes : {0u, 4u, 7u}) {
            for (auto& row : messages->key)
                for (auto& k : row) k = random();
            for (auto& row : messages->word)
                for (auto& w : row) w = random();
            for (auto& tail : messages->word.back()) tail &= (std::uint64_t{1} << 8 * tail_bytes) - 1;
            messages->digest.fill(0);
            siphash_2_4::hash_all(*messages, count, tail_bytes, unit);
            for (std::size_t i = 0; i < count; ++i) {
                std::vector<std::uint64_t> words;
                for (std::size_t w = 0; w + 1 < Words; ++w) words.push_back(messages->word[w][i]);
                std::uint64_t const alone =
                    siphash_2_4{}({messages->key[0][i], messages->key[1][i]}, words, messages->word[Words - 1][i], tail_bytes);
                REQUIRE(messages->digest[i] == alone);
            }
        }
}

}  // namespace

TEST_CASE("messages hashed side by side give what each gives alone, in every vector unit this processor has") {
    std::mt19937_64 random(11);
    for (vector_unit const unit : {vector_unit::none, vector_unit::avx2, vector_unit::avx512}) {
        if (unit > widest_vector_unit()) continue;
        check_side_by_side<1>(unit, random);
        check_side_by_side<3>(unit, random);
        check_side_by_side<6>(unit, random);
    }
}
