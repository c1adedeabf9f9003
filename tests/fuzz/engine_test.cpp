// SPDX-License-Identifier: BSL-1.0
// The engine under plays of random bytes, the same on every machine: counts add up, checksums are right, every flow ends.
#include "tests/fuzz/engine_target.hpp"

#include <halfproxy/core/random.hpp>

#include <doctest/doctest.h>

#include <string>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

/// One TCP packet of engine_play::step(): numbers are indices into those the engine showed last, plus a small distance.
byte_string segment(unsigned kind, unsigned flags, unsigned seq, unsigned seq_plus, unsigned ack, unsigned ack_plus,
                    unsigned payload = 0) {
    return u8(kind) + u8(flags) + u8(seq | ack << 4) + u8(seq_plus) + u8(ack_plus) + u8(255) + u8(payload) + u8(0) + u8(0);
}

byte_string noise(split_mix64& random) {
    byte_string out;
    for (std::uint32_t n = random.below(24); n != 0; --n) out.push_back(static_cast<std::uint8_t>(random()));
    return out;
}

/// Connections one after the other, each with a SYN, the answer to a cookie, the server's answer, data and an end, any of
/// which may be missing, and with random bytes between.
byte_string play(std::uint64_t seed) {
    split_mix64 random(seed);
    byte_string out{static_cast<std::uint8_t>(random()), static_cast<std::uint8_t>(random())};
    for (std::uint32_t n = 1 + random.below(14); n != 0; --n) {
        unsigned const client = 32 | random.below(8) << 2 | random.below(2), server = client | 2u;
        byte_string const steps[] = {segment(client, 0x02, 7, 0, 7, 0), segment(client, 0x10, 1, 0, 0, 1),
                                     segment(server, random.below(4) == 0 ? 0x14 : 0x12, 7, 0, 0, 1),
                                     segment(client, 0x10, 1, 0, 0, 1), segment(client, 0x18, 0, 0, 1, 0, random.below(64)),
                                     segment(server, 0x11, 1, 0, 0, 0), u8(random.below(24))};
        for (byte_string const& step : steps) {
            if (random.below(16) != 0) out = out + step;
            if (random.below(16) == 0) out = out + noise(random);
        }
    }
    return out;
}

}  // namespace

TEST_CASE("whatever two hosts do, counts add up, packets leave with right checksums, and every flow ends") {
    engine_counters reached;
    for (std::uint64_t seed = 0; seed < 2'000; ++seed) {
        CAPTURE(seed);
        byte_string const bytes = play(seed);
        script s(bytes);
        engine_play game(s);
        if (char const* const broken = game.run()) FAIL_CHECK(std::string(broken));
        reached.flows_opened += game.counters().flows_opened;
        reached.cookies_sent += game.counters().cookies_sent;
        reached.cookies_valid += game.counters().cookies_valid;
        reached.handshakes_completed += game.counters().handshakes_completed;
        reached.handshakes_refused += game.counters().handshakes_refused;
        reached.flows_evicted += game.counters().flows_evicted;
    }
    // The plays go deep: otherwise nothing above was tested.
    CHECK(reached.flows_opened > 100);
    CHECK(reached.cookies_sent > 100);
    CHECK(reached.cookies_valid > 10);
    CHECK(reached.handshakes_completed > 0);
    CHECK(reached.handshakes_refused > 0);
    CHECK(reached.flows_evicted > 0);
    MESSAGE(reached.flows_opened << " flows, " << reached.cookies_valid << " valid cookies, " << reached.handshakes_completed
                                 << " handshakes, " << reached.handshakes_refused << " refused, " << reached.flows_evicted
                                 << " evicted");
}
