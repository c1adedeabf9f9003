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

TEST_CASE("F11 a cookie lives at least seven eighths of a rotation and at most two") {
    for (std::int64_t made : {0, 1, 3'749, 3'750, 15'000, 29'999, 30'000, 33'750, 44'444}) {
        CAPTURE(made);
        syn_cookie<> cookies(secret(), rotation);
        cookie const c = cookies.make(subject(false), {.mss = 1460}, false, at(made));
        std::int64_t const epoch = (made + rotation - rotation / 8) / rotation - 1;  // a new key is not used for making at once
        std::int64_t const end_of_life = (epoch + 2) * rotation;
        for (std::int64_t now : {made, made + rotation * 7 / 8 - 1, end_of_life - 1})
            CHECK(cookies.check(subject(false), echo_of(c, false), false, at(now)).has_value());
        CHECK(end_of_life - made >= rotation * 7 / 8);
        CHECK(end_of_life - made <= rotation * 2);
        for (std::int64_t now : {end_of_life, end_of_life + rotation, end_of_life + 100 * rotation})
            CHECK_FALSE(cookies.check(subject(false), echo_of(c, false), false, at(now)).has_value());
    }
}

TEST_CASE("F4 the same SYN gets the same cookie within an epoch and another in the next") {
    syn_cookie<> cookies(secret(), rotation);
    cookie_options const offer{.mss = 1460, .sack_permitted = true, .has_timestamps = true};
    cookie const first = cookies.make(subject(false), offer, false, at(33'750));
    cookie const again = cookies.make(subject(false), offer, false, at(63'749));
    cookie const later = cookies.make(subject(false), offer, false, at(63'750));
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

namespace {

/// One machine of a cluster: its packets' clock began at some time of its own, and its wall clock goes wrong by so much.
struct node {
    std::int64_t booted_ms;
    std::int64_t wrong_by_ms = 0;
    syn_cookie<> cookies{secret(), rotation, std::chrono::milliseconds(booted_ms + wrong_by_ms)};

    cookie make(std::int64_t wall_ms, std::uint32_t isn = 1000) { return cookies.make(subject(false, isn), {.mss = 1460}, false, at(wall_ms - booted_ms)); }
    bool accepts(cookie const& c, std::int64_t wall_ms, std::uint32_t isn = 1000) {
        return cookies.check(subject(false, isn), echo_of(c, false), false, at(wall_ms - booted_ms)).has_value();
    }
};

constexpr std::int64_t today = 1'750'000'000'123;  // ms since 1970, within an epoch

}  // namespace

TEST_CASE("nodes with one secret that were started at different times accept each other's cookies by the wall clock they share") {
    node one{today - 86'400'000}, two{today - 4'711};
    for (std::int64_t t = today; t < today + 3 * rotation; t += 777) {
        CHECK(two.accepts(one.make(t), t + 200));
        CHECK(one.accepts(two.make(t), t + 200));
        CHECK(one.make(t).isn == two.make(t).isn);
    }
    syn_cookie<> own_time(secret(), rotation);  // the same secret, and epochs counted from its own start
    CHECK_FALSE(own_time.check(subject(false), echo_of(one.make(today), false), false, at(4'711)).has_value());
}

TEST_CASE("a node's clock may be ahead by an eighth of a rotation, and behind by what its cookies have left") {
    for (std::int64_t const wrong : {3'700, -10'000}) {
        node right{today - 500'000}, other{today - 1'000'000, wrong};
        for (std::int64_t t = today; t < today + 2 * rotation; t += 333) {
            CHECK(right.accepts(other.make(t), t + 200));
            CHECK(right.accepts(other.make(t), t + rotation * 7 / 8 + std::min<std::int64_t>(wrong, 0) - 1));
        }
    }
}

TEST_CASE("a clock too far ahead makes cookies nobody else takes yet, and takes none that are as old as it is ahead") {
    node right{today - 500'000}, ahead{today - 1'000'000, 2 * rotation};
    for (std::int64_t t = today; t < today + 2 * rotation; t += 333) CHECK_FALSE(right.accepts(ahead.make(t), t));
    for (std::int64_t t = today; t < today + 2 * rotation; t += 333) CHECK_FALSE(ahead.accepts(right.make(t), t));
}

TEST_CASE("setting the common clock breaks no cookie that is out, and after four rotations the node is one with the others") {
    for (std::int64_t const step : {1, 4'000, 29'999, 30'000, 45'678, 3'600'000, -1, -17'000, -60'001, -86'400'000})
        for (std::int64_t const when : {today, today + 9'000, today + 22'222}) {
            CAPTURE(step);
            CAPTURE(when);
            node right{today - 500'000}, wrong{today - 1'000'000, -step};
            std::vector<std::pair<std::int64_t, cookie>> out;
            bool told = false;
            for (std::int64_t t = when - 40'000; t < when + 5 * rotation; t += 250) {
                if (t >= when && !told) told = wrong.cookies.set_common_clock(std::chrono::milliseconds(wrong.booted_ms), at(t - wrong.booted_ms));
                out.emplace_back(t, wrong.make(t));
                for (auto const& [made, c] : out)
                    if (t - made < rotation * 7 / 8) REQUIRE(wrong.accepts(c, t));
                if (t < when + 4 * rotation) continue;
                REQUIRE(right.accepts(wrong.make(t), t + 100));
                REQUIRE(wrong.accepts(right.make(t), t + 100));
            }
            CHECK(told);
            for (auto const& [made, c] : out)
                if (made < when - 5'000) CHECK_FALSE(wrong.accepts(c, when + 5 * rotation));
        }
}

TEST_CASE("a clock that is set again and again delays the next key by three rotations at most") {
    node it{today - 1'000'000};
    cookie const first = it.make(today);
    std::int64_t refused = 0;
    for (std::int64_t t = today; t < today + 4 * rotation; t += 100) {
        refused += it.cookies.set_common_clock(std::chrono::milliseconds(it.booted_ms + t % 50'000), at(t - it.booted_ms)) ? 0 : 1;
        if (t > today + 3 * rotation) CHECK(it.make(t).isn != first.isn);
    }
    CHECK(refused > 0);
    CHECK_FALSE(it.accepts(first, today + 5 * rotation));
}

TEST_CASE("no time and no setting of the clock is too far for the keys") {
    for (std::int64_t const now : {INT64_MIN, INT64_MIN + 1, std::int64_t{-1}, std::int64_t{0}, INT64_MAX - 1, INT64_MAX})
        for (std::int64_t const offset : {INT64_MIN, std::int64_t{-1}, std::int64_t{0}, INT64_MAX}) {
            syn_cookie<> cookies(secret(), rotation, packet_clock::duration(offset));
            time_point const t{packet_clock::duration(now)};
            cookie const c = cookies.make(subject(false), {.mss = 1460}, false, t);
            CHECK(cookies.check(subject(false), echo_of(c, false), false, t).has_value());
            CHECK(cookies.set_common_clock(packet_clock::duration(offset / 2), t));
            CHECK(cookies.check(subject(false), echo_of(c, false), false, t).has_value());
        }
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

TEST_CASE("a rotation of 0 is taken as 1 ms, and one above 60 s as 60 s") {
    syn_cookie<> shortest(secret(), 0);
    cookie c = shortest.make(subject(false), {.mss = 1460}, false, time_point(std::chrono::microseconds(10'500)));
    CHECK(shortest.check(subject(false), echo_of(c, false), false, at(11)).has_value());
    CHECK_FALSE(shortest.check(subject(false), echo_of(c, false), false, at(12)).has_value());
    for (timeout_ms const too_long : {60'001u, 3'600'000u, never}) {
        syn_cookie<> longest(secret(), too_long);
        c = longest.make(subject(false), {.mss = 1460}, false, at(10'000));
        CHECK(longest.check(subject(false), echo_of(c, false), false, at(119'999)).has_value());
        CHECK_FALSE(longest.check(subject(false), echo_of(c, false), false, at(120'000)).has_value());
    }
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

namespace {

/// Cookies made and checked in bursts are those made and checked one by one.
template <std::size_t AddressWords, class Cookies>
void check_bursts(Cookies& cookies, std::mt19937_64& random) {
    constexpr bool ipv6 = AddressWords == 4;
    cookie_burst<AddressWords> burst;
    auto const all = every_offer();
    for (std::size_t count : {0u, 1u, 7u, 64u}) {
        cookies.turn_to(at(50'000));
        std::vector<cookie_subject> subjects;
        std::vector<cookie_options> offers;
        std::vector<cookie_draft> drafts;
        for (std::size_t i = 0; i < count; ++i) {
            subjects.push_back(subject(ipv6, static_cast<std::uint32_t>(random())));
            subjects.back().addresses[random() % AddressWords] = random();
            subjects.back().client_port = static_cast<std::uint16_t>(random());
            subjects.back().zone = static_cast<std::uint16_t>(random() % 4095);
            offers.push_back(dense_cookie_layout::kept(all[random() % all.size()], ipv6));
            drafts.push_back(cookies.draft(offers[i], subjects[i].client_isn, ipv6));
            cookies.note(burst, cookies.message_of(subjects[i], drafts[i], offers[i].has_timestamps));
        }
        REQUIRE(burst.size() == count);
        cookies.hash(burst);
        std::vector<cookie_echo> echoes;
        for (std::size_t i = 0; i < count; ++i) {
            cookie const c = cookies.finish(drafts[i], burst.mac(i)), alone = cookies.make(subjects[i], offers[i], ipv6, at(50'000));
            CHECK(c.isn == alone.isn);
            CHECK(c.timestamp_value == alone.timestamp_value);
            echoes.push_back(echo_of(c, offers[i].has_timestamps));
            if (random() % 2 == 0) echoes.back().isn.value ^= 1u << random() % 32;
        }
        burst.clear();
        cookies.turn_to(at(70'000));  // the next epoch: the last one's cookies are still good
        for (std::size_t i = 0; i < count; ++i) cookies.note(burst, cookies.message_of(subjects[i], echoes[i]));
        cookies.hash(burst);
        for (std::size_t i = 0; i < count; ++i) {
            auto const alone = cookies.check(subjects[i], echoes[i], ipv6, at(70'000));
            REQUIRE(cookies.belongs(echoes[i], burst.mac(i)) == alone.has_value());
            if (alone) CHECK(cookies.options_of(echoes[i], burst.mac(i), ipv6) == *alone);
        }
        burst.clear();
    }
}

}  // namespace

TEST_CASE("cookies of a burst are those made and checked one by one, also with a hash that knows no bursts") {
    std::mt19937_64 random(5);
    syn_cookie<> cookies(secret(), rotation);
    check_bursts<1>(cookies, random);
    check_bursts<4>(cookies, random);
    syn_cookie<twelve_bits> one_by_one(secret(), rotation);
    check_bursts<1>(one_by_one, random);
    check_bursts<4>(one_by_one, random);
}
