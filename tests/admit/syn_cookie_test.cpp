// SPDX-License-Identifier: BSL-1.0
// What a cookie remembers, how long, and how hard it is to guess.
#include <halfproxy/admit/syn_cookie.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <set>
#include <vector>

using namespace halfproxy;

namespace {

constexpr timeout_ms rotation = 30'000;

secret_key secret(std::uint8_t seed = 1) {
    secret_key s;
    for (std::size_t i = 0; i < s.bytes.size(); ++i) s.bytes[i] = static_cast<std::uint8_t>(seed * 31 + i * 7);
    return s;
}

time_point at(std::int64_t ms) { return time_point(std::chrono::milliseconds(ms)); }

cookie_subject subject(bool ipv6, std::uint32_t isn = 1000) {
    if (!ipv6) return {{0xc000020ac6336450u}, 1, 40000, 443, {isn}, 0};
    return {{0x20010db800000000u, 0x10, 0x20010db800000000u, 0x80}, 4, 40000, 443, {isn}, 0};
}

cookie_echo echo_of(cookie const& c, bool timestamps) {
    return {c.isn, timestamps ? std::optional(c.timestamp_value) : std::nullopt};
}

/// Every combination a client can offer.
std::vector<cookie_options> every_offer() {
    std::vector<cookie_options> all;
    for (unsigned mss : {64u, 65u, 255u, 535u, 536u, 1219u, 1220u, 1300u, 1360u, 1400u, 1420u, 1440u, 1459u, 1460u, 9000u, 65535u})
        for (int scale = -1; scale <= 14; ++scale)
            for (unsigned bits = 0; bits < 8; ++bits)
                all.push_back({static_cast<std::uint16_t>(mss), scale >= 0, static_cast<std::uint8_t>(std::max(scale, 0)), (bits & 1) != 0, (bits & 2) != 0,
                               (bits & 4) != 0, (bits & 4) != 0 ? std::uint8_t{9} : std::uint8_t{0}});
    return all;
}

/// What comes back of an offer, which is first cut to what can be kept.
cookie_options back(syn_cookie<>& cookies, cookie_options const& offer, bool ipv6, std::uint32_t isn = 1000) {
    cookie const c = cookies.make(subject(ipv6, isn), dense_cookie_layout::kept(offer, ipv6), ipv6, at(5000));
    auto const got = cookies.check(subject(ipv6, isn), echo_of(c, offer.has_timestamps), ipv6, at(6000));
    REQUIRE(got.has_value());
    return *got;
}

}  // namespace

TEST_CASE("F6 F7 every offer comes back: exact with timestamps, without them the scale rounded down and absent apart from 0") {
    syn_cookie<> cookies(secret(), rotation);
    for (bool ipv6 : {false, true})
        for (cookie_options const& offer : every_offer()) {
            CAPTURE(offer.mss);
            CAPTURE(offer.window_scale);
            cookie_options const kept = dense_cookie_layout::kept(offer, ipv6);
            cookie_options const got = back(cookies, offer, ipv6);
            CHECK(got.has_timestamps == offer.has_timestamps);
            CHECK(got.sack_permitted == kept.sack_permitted);
            CHECK(got.ecn == kept.ecn);
            CHECK(got.has_window_scale == kept.has_window_scale);
            CHECK(got.window_scale <= offer.window_scale);
            CHECK(got.mss <= offer.mss);
            CHECK(got.promised_scale == offer.promised_scale);
            bool const usual_mss = offer.mss >= (ipv6 ? 1220 : 536);
            if (!offer.has_timestamps && !usual_mss) continue;
            CHECK(kept.sack_permitted == offer.sack_permitted);
            CHECK(kept.has_window_scale == offer.has_window_scale);
            if (offer.has_timestamps || offer.sack_permitted) CHECK(kept.ecn == offer.ecn);
            if (offer.has_timestamps) CHECK(got.window_scale == offer.window_scale);
        }
}

TEST_CASE("F7 without timestamps a scale with SACK loses at most one, and the scales of Linux and Windows nothing") {
    syn_cookie<> cookies(secret(), rotation);
    for (cookie_options const& offer : every_offer()) {
        if (offer.has_timestamps || offer.mss < 536) continue;
        cookie_options const got = back(cookies, offer, false);
        bool const common = offer.window_scale == 7 || offer.window_scale == 10 || (offer.window_scale == 8 && !offer.ecn);
        if (!offer.sack_permitted) CHECK(got.window_scale == (offer.window_scale >= 7 ? 7 : 0));
        if (offer.sack_permitted && common) CHECK(got.window_scale == offer.window_scale);
        if (offer.sack_permitted && !offer.ecn) CHECK(offer.window_scale - got.window_scale <= 1);
    }
}

TEST_CASE("F8 the MSS comes back as the largest of its family's values that is not above it, tiny ones too") {
    syn_cookie<> cookies(secret(), rotation);
    auto const largest = [](auto const& values, unsigned mss) {
        return *std::find_if(values.rbegin(), values.rend(), [mss](std::uint16_t v) { return v <= mss; });
    };
    using layout = dense_cookie_layout;
    for (bool ipv6 : {false, true})
        for (unsigned mss = layout::least_mss; mss <= 9100; ++mss)
            for (bool timestamps : {false, true}) {
                auto const& usual = ipv6 ? layout::mss_v6 : layout::mss_v4;
                auto const& few = mss < usual[0] ? (ipv6 ? layout::tiny_mss_v6 : layout::tiny_mss_v4) : usual;
                std::uint16_t const want = timestamps ? largest(ipv6 ? layout::many_mss_v6 : layout::many_mss_v4, mss) : largest(few, mss);
                cookie_options const offer{.mss = static_cast<std::uint16_t>(mss), .has_timestamps = timestamps};
                REQUIRE(back(cookies, offer, ipv6).mss == want);
            }
}

TEST_CASE("every symbol decodes to something that encodes to it again, with the parity it says") {
    for (bool ipv6 : {false, true})
        for (bool timestamps : {false, true})
            for (std::uint32_t symbol = 0; symbol < 1u << dense_cookie_layout::option_bits; ++symbol) {
                cookie_options const options = dense_cookie_layout::decode(symbol, timestamps, ipv6);
                isn_parity const parity = dense_cookie_layout::parity(symbol, timestamps);
                CHECK(options == dense_cookie_layout::kept(options, ipv6));
                for (bool odd : {false, true}) {
                    bool const its_own = parity == isn_parity::unsaid || odd == (parity == isn_parity::odd);
                    CHECK((dense_cookie_layout::encode(options, odd, ipv6) == symbol) == its_own);
                }
            }
}

TEST_CASE("F11 a cookie lives at least one and at most two rotations") {
    for (std::int64_t made : {0, 1, 15'000, 29'999, 30'000, 44'444}) {
        syn_cookie<> cookies(secret(), rotation);
        cookie const c = cookies.make(subject(false), {.mss = 1460}, false, at(made));
        std::int64_t const end_of_life = (made / rotation + 2) * rotation;
        for (std::int64_t now : {made, made + rotation, end_of_life - 1})
            CHECK(cookies.check(subject(false), echo_of(c, false), false, at(now)).has_value());
        CHECK(end_of_life - made >= rotation);
        for (std::int64_t now : {end_of_life, end_of_life + rotation, end_of_life + 100 * rotation})
            CHECK_FALSE(cookies.check(subject(false), echo_of(c, false), false, at(now)).has_value());
    }
}

TEST_CASE("F4 the same SYN gets the same cookie within an epoch and another in the next") {
    syn_cookie<> cookies(secret(), rotation);
    cookie_options const offer{.mss = 1460, .sack_permitted = true, .has_timestamps = true};
    cookie const first = cookies.make(subject(false), offer, false, at(30'000));
    cookie const again = cookies.make(subject(false), offer, false, at(59'999));
    cookie const later = cookies.make(subject(false), offer, false, at(60'000));
    CHECK(first.isn == again.isn);
    CHECK(first.timestamp_value == again.timestamp_value);
    CHECK(first.isn != later.isn);
}

TEST_CASE("a cookie is bound to both addresses, both ports, the VLAN and the client's ISN") {
    for (bool ipv6 : {false, true})
        for (bool timestamps : {false, true}) {
            syn_cookie<> cookies(secret(), rotation);
            cookie_subject const own = subject(ipv6);
            cookie const c = cookies.make(own, {.mss = 1460, .has_timestamps = timestamps}, ipv6, at(0));
            CHECK(cookies.check(own, echo_of(c, timestamps), ipv6, at(0)).has_value());
            auto const refused = [&](cookie_subject const& other) {
                return !cookies.check(other, echo_of(c, timestamps), ipv6, at(0)).has_value();
            };
            for (unsigned word = 0; word < own.address_words; ++word)
                for (unsigned bit = 0; bit < 64; ++bit) {
                    cookie_subject other = own;
                    other.addresses[word] ^= std::uint64_t{1} << bit;
                    CHECK(refused(other));
                }
            for (unsigned bit = 0; bit < 16; ++bit) {
                cookie_subject other = own;
                other.client_port ^= static_cast<std::uint16_t>(1u << bit);
                CHECK(refused(other));
                other = own;
                other.server_port ^= static_cast<std::uint16_t>(1u << bit);
                CHECK(refused(other));
            }
            for (unsigned bit = 0; bit < 12; ++bit) {
                cookie_subject other = own;
                other.zone ^= static_cast<std::uint16_t>(1u << bit);
                CHECK(refused(other));
            }
            cookie_subject swapped = own;
            std::swap(swapped.client_port, swapped.server_port);
            CHECK(refused(swapped));
            for (unsigned bit = 0; bit < 32; ++bit) {
                cookie_subject other = own;
                other.client_isn.value ^= 1u << bit;
                CHECK(refused(other));
            }
        }
}

TEST_CASE("another secret refuses, every bit of it counts") {
    syn_cookie<> cookies(secret(), rotation);
    cookie const c = cookies.make(subject(false), {.mss = 1460}, false, at(0));
    for (unsigned bit = 0; bit < 128; ++bit) {
        secret_key other = secret();
        other.bytes[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
        CHECK_FALSE(syn_cookie<>(other, rotation).check(subject(false), echo_of(c, false), false, at(0)).has_value());
    }
}

TEST_CASE("a flipped bit of the ISN is refused, and of the TSval all but the two scales' eight") {
    syn_cookie<> cookies(secret(), rotation);
    cookie_options const offer{.mss = 1460, .has_window_scale = true, .window_scale = 7, .sack_permitted = true, .has_timestamps = true};
    for (std::uint32_t isn = 0; isn < 50; ++isn) {
        cookie_subject const own = subject(false, isn * 0x9e3779b9u);
        cookie const c = cookies.make(own, offer, false, at(0));
        for (unsigned bit = 0; bit < 32; ++bit) {
            cookie_echo echo = echo_of(c, true);
            echo.isn.value ^= 1u << bit;
            CHECK_FALSE(cookies.check(own, echo, false, at(0)).has_value());
            echo = echo_of(c, true);
            *echo.timestamp_echo ^= 1u << bit;
            if (bit >= 8) CHECK_FALSE(cookies.check(own, echo, false, at(0)).has_value());
        }
    }
}

TEST_CASE("a cookie made with timestamps is refused without them, and the other way round") {
    syn_cookie<> cookies(secret(), rotation);
    cookie const with = cookies.make(subject(false), {.mss = 1460, .has_timestamps = true}, false, at(0));
    cookie const without = cookies.make(subject(false), {.mss = 1460}, false, at(0));
    CHECK_FALSE(cookies.check(subject(false), echo_of(with, false), false, at(0)).has_value());
    CHECK_FALSE(cookies.check(subject(false), echo_of(without, true), false, at(0)).has_value());
}

TEST_CASE("F13 the client's ISN is told from a first ACK and from a probe one below, without timestamps too where stacks probe so") {
    syn_cookie<> cookies(secret(), rotation);
    std::mt19937 random(5);
    for (bool ipv6 : {false, true})
        for (cookie_options const& offer : every_offer()) {
            auto const isn = static_cast<std::uint32_t>(random());
            cookie const c = cookies.make(subject(ipv6, isn), dense_cookie_layout::kept(offer, ipv6), ipv6, at(0));
            cookie_echo const echo = echo_of(c, offer.has_timestamps);
            CHECK(cookies.client_isn({isn + 1}, echo) == seq_num{isn});
            bool const usual = offer.mss >= (ipv6 ? 1220 : 536) && !offer.ecn && (offer.sack_permitted || !offer.has_window_scale || offer.window_scale >= 7);
            if (offer.has_timestamps || usual) CHECK(cookies.client_isn({isn}, echo) == seq_num{isn});
        }
}

TEST_CASE("nodes with the same secret and clock accept each other's cookies") {
    syn_cookie<> one(secret(), rotation), two(secret(), rotation);
    cookie const c = one.make(subject(true), {.mss = 1440}, true, at(29'999));
    CHECK(two.check(subject(true), echo_of(c, false), true, at(30'001)).has_value());
    CHECK(one.make(subject(true), {.mss = 1440}, true, at(40'000)).isn == two.make(subject(true), {.mss = 1440}, true, at(50'000)).isn);
}

TEST_CASE("a clock that jumps forth and back finds the cookie of its time again") {
    syn_cookie<> cookies(secret(), rotation);
    cookie const c = cookies.make(subject(false), {.mss = 1460}, false, at(100'000));
    CHECK_FALSE(cookies.check(subject(false), echo_of(c, false), false, at(100'000'000)).has_value());
    CHECK(cookies.check(subject(false), echo_of(c, false), false, at(100'000)).has_value());
    CHECK_FALSE(cookies.check(subject(false), echo_of(c, false), false, at(0)).has_value());
    CHECK(cookies.check(subject(false), echo_of(c, false), false, at(119'999)).has_value());
}

TEST_CASE("before time 0 the secret counts as well") {
    for (std::int64_t now : {-1, -29'999, -30'000, -45'000, -60'000, -75'000}) {
        syn_cookie<> one(secret(1), rotation), two(secret(2), rotation);
        cookie const c = one.make(subject(false), {.mss = 1460}, false, at(now));
        CHECK_FALSE(two.check(subject(false), echo_of(c, false), false, at(now)).has_value());
        CHECK(one.check(subject(false), echo_of(c, false), false, at(now)).has_value());
    }
}

TEST_CASE("a rotation of 0 is taken as 1 ms") {
    syn_cookie<> cookies(secret(), 0);
    cookie const c = cookies.make(subject(false), {.mss = 1460}, false, at(10));
    CHECK(cookies.check(subject(false), echo_of(c, false), false, at(11)).has_value());
    CHECK_FALSE(cookies.check(subject(false), echo_of(c, false), false, at(12)).has_value());
}

namespace {

/// SipHash of which 12 bits of the ISN's MAC remain, so that guesses can be counted in a test's time.
struct twelve_bits {
    using key_type = siphash_2_4::key_type;
    std::uint64_t operator()(key_type const& key, std::span<std::uint64_t const> words, std::uint64_t tail, unsigned n) const noexcept {
        return siphash_2_4{}(key, words, tail, n) & 0xfff0'0000'0000'0000u;
    }
};

}  // namespace

TEST_CASE("F11 a guess succeeds as often as the bit budget says: once per MAC value, whatever the options and the epoch") {
    static_assert(syn_cookie<>::mac_bits == 24 && syn_cookie<>::live_keys == 2);  // one of the keys is tried: 2^-24
    syn_cookie<twelve_bits> cookies(secret(), rotation);
    std::mt19937_64 random(99);
    int accepted = 0;
    constexpr int guesses = 1 << 20;
    for (int i = 0; i < guesses; ++i) {
        std::uint64_t const r = random();
        // Only the 12 bits that the MAC still has, any options, either epoch.
        std::uint32_t const isn = static_cast<std::uint32_t>(r) & 0xfff0'00ffu;
        accepted += cookies.check(subject(false, static_cast<std::uint32_t>(r >> 32)), {{isn}, std::nullopt}, false, at(100'000)).has_value();
    }
    double const expected = guesses / 4096.0;  // 256, deviation 16
    CHECK(accepted > expected - 80);
    CHECK(accepted < expected + 80);
}

TEST_CASE("equal options do not show: the low bits of cookies are spread evenly") {
    syn_cookie<> cookies(secret(), rotation);
    std::array<int, 128> seen{};
    for (std::uint32_t i = 0; i < 12'800; ++i) ++seen[cookies.make(subject(false, i), {.mss = 1460}, false, at(0)).isn.value & 127u];
    for (int n : seen) {
        CHECK(n > 40);  // 100, deviation 10
        CHECK(n < 160);
    }
}
