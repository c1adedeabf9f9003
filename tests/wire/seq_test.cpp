// SPDX-License-Identifier: BSL-1.0
// Sequence arithmetic at and around the wrap (RFC 9293 section 3.4).
#include <halfproxy/wire/seq.hpp>

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cstdint>

using namespace halfproxy;

TEST_CASE("a number just past the wrap is after one just before it") {
    seq_num const before_wrap{0xfffffff0u}, past_wrap{0x10u};
    CHECK(before_wrap.before(past_wrap));
    CHECK(past_wrap.after(before_wrap));
    CHECK(past_wrap - before_wrap == 0x20);
    CHECK(before_wrap - past_wrap == -0x20);
    CHECK(before_wrap + 0x20u == past_wrap);
    CHECK(past_wrap - 0x20u == before_wrap);
    CHECK(later(before_wrap, past_wrap) == past_wrap);
    CHECK(later(past_wrap, before_wrap) == past_wrap);
}

TEST_CASE("a number is at or before and at or after itself, but neither before nor after") {
    seq_num const n{0xffffffffu};
    CHECK(n.at_or_before(n));
    CHECK(n.at_or_after(n));
    CHECK(!n.before(n));
    CHECK(!n.after(n));
    CHECK(later(n, n) == n);
}

TEST_CASE("the order holds for distances under 2^31 from any number, and turns beyond") {
    CHECK(rc::check("n is before n + d for 0 < d < 2^31", [](std::uint32_t n, std::uint32_t d) {
        d = d % 0x7fffffffu + 1;
        seq_num const a{n}, b = a + d;
        RC_ASSERT(a.before(b) && b.after(a) && a.at_or_before(b) && b.at_or_after(a));
        RC_ASSERT(!a.after(b) && !b.before(a));
        RC_ASSERT(b - a == static_cast<std::int32_t>(d));
        RC_ASSERT(later(a, b) == b && later(b, a) == b);
        RC_ASSERT(b - d == a);
        seq_num const beyond = a + (0x80000001u + d % 0x7ffffffeu);
        RC_ASSERT(beyond.before(a));
    }));
}
