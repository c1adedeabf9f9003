// SPDX-License-Identifier: BSL-1.0
// A pool of held frames: copies, in order, lent to an outbox until the next burst.
#include <halfproxy/core/frame_pool.hpp>

#include <doctest/doctest.h>

#include <array>

using namespace halfproxy;

namespace {

/// A frame of `n` bytes that all say `with`.
struct sample {
    std::array<std::uint8_t, 64> bytes;
    frame f;

    sample(std::uint32_t n, std::uint8_t with) {
        bytes.fill(with);
        f.data = bytes.data();
        f.length = f.capacity = n;
        f.wire_length = n + 100;
        f.arrival = side::inside;
        f.offload.segment_size = with;
    }
};

}  // namespace

TEST_CASE("frames of a queue come out in the order they went in, whole, whatever became of the originals") {
    frame_pool pool(4, 64);
    frame_queue queue;
    for (std::uint8_t i = 1; i <= 3; ++i) {
        sample s(10u + i, i);
        REQUIRE(pool.keep(queue, s.f));
        s.bytes.fill(0xff);
    }
    CHECK(pool.waiting() == 3);
    for (std::uint8_t i = 1; i <= 3; ++i) {
        frame const& f = pool.front(queue);
        CHECK(f.length == 10u + i);
        CHECK(f.wire_length == 110u + i);
        CHECK(f.arrival == side::inside);
        CHECK(f.offload.segment_size == i);
        CHECK(f.capacity == 64);
        for (std::uint8_t const byte : f.bytes()) CHECK(byte == i);
        pool.drop_front(queue);
    }
    CHECK(queue.empty());
    CHECK(pool.waiting() == 0);
}

TEST_CASE("a full pool and a frame longer than a slot are refused, and nothing changes") {
    frame_pool pool(2, 32);
    frame_queue queue;
    CHECK(!pool.keep(queue, sample(33, 1).f));
    CHECK(queue.empty());
    CHECK(pool.keep(queue, sample(32, 1).f));
    CHECK(pool.keep(queue, sample(1, 2).f));
    CHECK(!pool.keep(queue, sample(1, 3).f));
    CHECK(pool.waiting() == 2);
    pool.drop_front(queue);
    CHECK(pool.keep(queue, sample(1, 4).f));
    frame_pool none(0, 32);
    frame_queue other;
    CHECK(!none.keep(other, sample(1, 1).f));
}

TEST_CASE("what is lent keeps its bytes until it is reclaimed; a full outbox leaves it in its queue") {
    frame_pool pool(2, 32);
    frame_queue queue;
    outbox out(1);
    pool.keep(queue, sample(5, 1).f);
    pool.keep(queue, sample(6, 2).f);
    REQUIRE(pool.lend_front(queue, side::outside, out));
    CHECK(!pool.lend_front(queue, side::outside, out));
    CHECK(pool.waiting() == 1);
    frame_queue later;
    CHECK(!pool.keep(later, sample(5, 9).f));  // its slot is not free yet
    outbox_frame const& sent = out.frames()[0];
    CHECK(sent.exit == side::outside);
    CHECK(sent.bytes().size() == 5);
    CHECK(sent.bytes()[4] == 1);
    CHECK(sent.wire_length() == 105);
    CHECK(sent.offload().segment_size == 1);
    out.clear();
    pool.reclaim();
    CHECK(pool.keep(later, sample(5, 9).f));
    CHECK(pool.lend_front(queue, side::inside, out));
    CHECK(out.frames()[0].bytes()[0] == 2);
}

TEST_CASE("a frame moved to another queue goes to its end") {
    frame_pool pool(3, 8);
    frame_queue a, b;
    pool.keep(a, sample(1, 1).f);
    pool.keep(a, sample(1, 2).f);
    pool.keep(b, sample(1, 3).f);
    pool.move_front(a, b);
    CHECK(pool.front(a).data[0] == 2);
    CHECK(pool.front(b).data[0] == 3);
    pool.drop_front(b);
    CHECK(pool.front(b).data[0] == 1);
    CHECK(pool.waiting() == 2);
}

TEST_CASE("an opened slot is the queue's last, and one that is lent is not available until it is reclaimed") {
    frame_pool pool(2, 8);
    frame_queue queue;
    CHECK(pool.available() == 2);
    pool.keep(queue, sample(1, 1).f);
    frame& opened = pool.open(queue);
    CHECK(opened.capacity == 8);
    CHECK(opened.length == 0);
    opened.data[0] = 9;
    opened.length = opened.wire_length = 1;
    CHECK(pool.available() == 0);
    CHECK(pool.waiting() == 2);
    pool.drop_front(queue);
    CHECK(pool.available() == 1);
    outbox out(1);
    REQUIRE(pool.lend_front(queue, side::inside, out));
    CHECK(out.frames()[0].bytes()[0] == 9);
    CHECK(pool.available() == 1);
    CHECK(queue.empty());
    pool.reclaim();
    CHECK(pool.available() == 2);
}
