// SPDX-License-Identifier: BSL-1.0
// So many a second, and no more.
#include <halfproxy/core/token_bucket.hpp>

#include <doctest/doctest.h>

using namespace halfproxy;

namespace {

int taken(token_bucket& bucket, stamp_ms now, int tries) {
    int n = 0;
    for (int i = 0; i < tries; ++i) n += bucket.take(now);
    return n;
}

}  // namespace

TEST_CASE("a bucket gives a second's worth at once, then one each part of a second, and never more after a long pause") {
    token_bucket bucket(10);
    CHECK(taken(bucket, {5000}, 100) == 10);
    CHECK(taken(bucket, {5099}, 100) == 0);
    CHECK(taken(bucket, {5100}, 100) == 1);
    CHECK(taken(bucket, {5550}, 100) == 4);
    CHECK(taken(bucket, {5600}, 100) == 1);
    CHECK(taken(bucket, {4'000'000'000u}, 100) == 10);
}

TEST_CASE("a bucket follows stamps that wrap, and one of rate 0 gives nothing") {
    token_bucket bucket(1000);
    CHECK(taken(bucket, {0xffff'ffffu}, 2000) == 1000);
    CHECK(taken(bucket, {1}, 2000) == 2);
    token_bucket none(0);
    CHECK(taken(none, {100'000}, 10) == 0);
}
