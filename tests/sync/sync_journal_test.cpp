// SPDX-License-Identifier: BSL-1.0
// What is noted of flows for the other half proxy, and what is forgotten.
#include <halfproxy/sync/sync_journal.hpp>

#include "tests/support/synced.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

limits_config const few{.flows_v4 = 4, .flows_v6 = 4};

ipv4_flow flow_number(std::uint32_t n) {
    ipv4_flow f;
    f.tuple[0] = {n, 2, 3, 4};
    f.protocol = 17;
    return f;
}

}  // namespace

TEST_CASE("a flow stands in the queue once, however often its number is used, and all flows have room there") {
    sync_journal j(few, 2);
    j.opened<std::uint32_t>(0);
    CHECK_FALSE(j.dequeue<std::uint32_t>().has_value());  // nobody is told yet
    j.begin_recording();
    for (int again = 0; again < 3; ++again)
        for (std::uint32_t n = 0; n < 4; ++n) {
            j.opened<std::uint32_t>(n);
            j.closed(flow_number(n), n);
        }
    CHECK(j.queued<std::uint32_t>() == 4);
    CHECK(j.queued<ipv6_bytes>() == 0);
    for (std::uint32_t n = 0; n < 4; ++n) CHECK(j.dequeue<std::uint32_t>() == n);
    CHECK_FALSE(j.dequeue<std::uint32_t>().has_value());
    CHECK(j.first_removal<std::uint32_t>() == nullptr);  // of none of them was anything told
    j.end_recording();
    j.opened<std::uint32_t>(1);
    CHECK(j.queued<std::uint32_t>() == 0);
}

TEST_CASE("of flows that were told and have ended the journal keeps as many as it has room for, in their order, and then knows that it has lost one") {
    sync_journal j(few, 2);
    j.begin_recording();
    for (std::uint32_t n = 0; n < 3; ++n) {
        j.set_told<std::uint32_t>(n);
        CHECK(j.is_told<std::uint32_t>(n));
        CHECK_FALSE(j.overflowed());
        j.closed(flow_number(n), n);
        CHECK_FALSE(j.is_told<std::uint32_t>(n));
        if (n == 0) {
            CHECK(j.first_removal<std::uint32_t>()->tuple.source == 0);
            j.drop_first_removal<std::uint32_t>();
        }
    }
    CHECK_FALSE(j.overflowed());
    CHECK(j.first_removal<std::uint32_t>()->tuple.source == 1);
    j.set_told<std::uint32_t>(3);
    j.closed(flow_number(3), 3);
    CHECK(j.overflowed());
    j.begin_recording();
    CHECK_FALSE(j.overflowed());
    CHECK(j.first_removal<std::uint32_t>() == nullptr);
}

TEST_CASE("what was adopted is known until it ends here or counts as our own, and is doubted until it is told again") {
    sync_journal j(few, 2);
    j.set_adopted<ipv6_bytes>(2);
    CHECK(j.is_adopted<ipv6_bytes>(2));
    CHECK(j.is_confirmed<ipv6_bytes>(2));
    CHECK_FALSE(j.is_adopted<std::uint32_t>(2));
    j.doubt_all();
    CHECK(j.is_adopted<ipv6_bytes>(2));
    CHECK_FALSE(j.is_confirmed<ipv6_bytes>(2));
    j.opened<ipv6_bytes>(2);  // another flow with its number
    CHECK_FALSE(j.is_adopted<ipv6_bytes>(2));
    j.set_adopted<ipv6_bytes>(2);
    j.own_all();
    CHECK_FALSE(j.is_adopted<ipv6_bytes>(2));
    CHECK_FALSE(j.is_confirmed<ipv6_bytes>(2));
}

TEST_CASE("memory is what the limits say, and a tap without a journal hears nothing") {
    sync_journal const j({.flows_v4 = 1'000, .flows_v6 = 100}, 10);
    CHECK(j.memory_bytes() == 5 * 1'100 + 10 * (16 + 40) + sizeof(sync_journal));
    sync_tap tap;
    tap.opened(flow_number(0), 0);
    tap.closed(flow_number(0), 0);
}
