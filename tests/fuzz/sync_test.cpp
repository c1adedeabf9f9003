// SPDX-License-Identifier: BSL-1.0
// What another half proxy may say, from random bytes, the same on every machine.
#include "tests/fuzz/sync_target.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace halfproxy;
using namespace halfproxy::test;

TEST_CASE("whatever the events of a frame are, they are read within their bytes, and what is read is written the same") {
    std::uint64_t read = 0;
    for (std::uint64_t seed = 0; seed < 4'000; ++seed) {
        CAPTURE(seed);
        split_mix64 random(seed);
        byte_string room(1'000);
        sync_writer w(room, {});
        for (std::uint32_t n = random.below(4); n != 0; --n)
            static_cast<void>(random.below(2) == 0 ? w.tell(sync_event::add, any_state<std::uint32_t>(random)) : w.tell(sync_event::refresh, any_state<ipv6_bytes>(random)));
        std::size_t const bytes = w.finish({}) - shortest_sync_frame;
        byte_string events(room.begin() + sync_head_bytes, room.begin() + static_cast<std::ptrdiff_t>(sync_head_bytes + bytes));
        for (std::uint32_t n = random.below(3); n != 0 && !events.empty(); --n) events[random.below(static_cast<std::uint32_t>(events.size()))] ^= static_cast<std::uint8_t>(1u << random.below(8));
        if (char const* const broken = fuzz_sync_frame(events)) FAIL_CHECK(std::string(broken));
        std::vector<told_event> all;
        for (std::uint16_t count = 0; count < 4; ++count) read += visit_sync_events(events, count, collect_events{all});
    }
    CHECK(read > 1'000);
}

TEST_CASE("whatever flows an engine is told of, it tells them the same, a refused one takes nothing, and all that they held comes back") {
    std::array<std::uint64_t, adoption_count> became{};
    for (std::uint64_t seed = 0; seed < 1'500; ++seed) {
        CAPTURE(seed);
        split_mix64 random(seed);
        byte_string bytes(random.below(400));
        for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(random());
        adoption_play play(bytes);
        if (char const* const broken = play.run()) FAIL_CHECK(std::string(broken));
        for (std::size_t i = 0; i < adoption_count; ++i) became[i] += play.became[i];
    }
    for (adoption const what : {adoption::adopted, adoption::refreshed, adoption::tuple_in_use, adoption::table_full, adoption::handshakes_full, adoption::no_pool,
                                adoption::port_taken, adoption::mapping_differs, adoption::mappings_full}) {
        CAPTURE(std::string(to_string(what)));
        CHECK(became[static_cast<std::size_t>(what)] > 0);
    }
}
