// SPDX-License-Identifier: BSL-1.0
// Two correct TCP ends over a link that loses, doubles and reorders: the tracker between them must not stand in their way.
#include <halfproxy/track/tcp_tracker.hpp>

#include "tests/support/tcp_end.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cstdint>
#include <optional>
#include <string>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

/// The whole run: true when both ends have delivered everything.
template <class Checks>
struct run {
    end_point client, server;
    link_faults faults;
    split_mix64 random;
    tcp_connection c{};
    bool opened = false;
    std::string first_drop{};
    unsigned predictions = 0;

    bool operator()() {
        cable up_near{faults}, up_far{faults}, down_near{faults}, down_far{faults};
        for (int step = 0; step < 60'000; ++step) {
            if (client.done() && server.done()) return true;
            switch (random.below(6)) {
                case 0:
                    if (auto s = client.act(random)) up_near.put(*s, random);
                    break;
                case 1:
                    if (auto s = server.act(random)) down_near.put(*s, random);
                    break;
                case 2:
                    if (auto s = up_near.get(random)) pass(direction::from_client, *s, up_far);
                    break;
                case 3:
                    if (auto s = down_near.get(random)) pass(direction::from_server, *s, down_far);
                    break;
                case 4:
                    if (auto s = up_far.get(random))
                        if (auto answer = server.hear(*s)) down_near.put(*answer, random);
                    break;
                default:
                    if (auto s = down_far.get(random))
                        if (auto answer = client.hear(*s)) up_near.put(*answer, random);
            }
        }
        return false;
    }

    void pass(direction from, tcp_segment const& s, cable& on) {
        if (!opened) {
            if ((s.flags & tcp_flag::syn) == 0) return;
            tcp_tracker<Checks>::open(c, s);
            opened = true;
        } else {
            tcp_connection predicted = c, untouched = c;
            constexpr std::uint8_t deciding = tcp_flag::syn | tcp_flag::fin | tcp_flag::rst | tcp_flag::ack;
            bool const was_predicted = (s.flags & deciding) == tcp_flag::ack && !s.has_sack &&
                                       tcp_tracker<Checks>::predict(predicted, from, s.seq, s.ack, s.payload_bytes, s.window);
            track_result const r = tcp_tracker<Checks>::update(c, from, s);
            predictions += was_predicted;
            // Header prediction does what update() does, or nothing.
            if (was_predicted ? r.outcome != track_outcome::accept || predicted != c : predicted != untouched)
                first_drop = "header prediction differs";
            if (r.outcome == track_outcome::drop) {
                if (!obsolete(from, s) && first_drop.empty())
                    first_drop = std::string(to_string(r.reason)) + " from " + (from == direction::from_client ? "client" : "server");
                return;
            }
        }
        on.put(s, random);
    }

    /// All its data has arrived: a copy that was more than a window late. Strict checks may drop those.
    [[nodiscard]] bool obsolete(direction from, tcp_segment const& s) const {
        if (!Checks::old_segments) return false;
        end_point const& to = from == direction::from_client ? server : client;
        return s.end().at_or_before(seq_num{to.peer_isn + static_cast<std::uint32_t>(to.received)});
    }
};

template <class Checks>
void holds(bool heavy) {
    int runs = 0, delivered_runs = 0;
    unsigned predictions = 0;
    auto const property = [&](std::uint64_t seed) {
        split_mix64 random(seed);
        constexpr std::uint32_t corners[] = {0, 1, 0x7fff'ffff, 0x8000'0000, 0xffff'ffff, 0xffff'fc00, 0x7fff'fc00};
        auto const isn = [&] { return random.below(2) ? corners[random.below(7)] : static_cast<std::uint32_t>(random()); };
        auto const scale = [&]() -> std::optional<unsigned> { return random.below(3) == 0 ? std::nullopt : std::optional(random.below(15)); };
        auto const buffer = [&] { return random.below(2) ? 500 + random.below(4000) : 1 + random.below(200'000) + 500; };
        end_point const client{true, isn(), scale(), random.below(2) == 0, buffer(), random.below(6000)};
        end_point const server{false, isn(), scale(), random.below(2) == 0, buffer(), random.below(6000)};
        link_faults const faults{heavy ? random.below(60) : 0, heavy ? random.below(60) : 0, heavy ? random.below(128) : 0};
        run<Checks> r{client, server, faults, split_mix64(random())};
        bool const delivered = r();
        ++runs;
        delivered_runs += delivered;
        predictions += r.predictions;
        RC_LOG() << "drop: " << r.first_drop << ", client una " << r.client.una << " of " << r.client.to_send << " state " << int(r.client.state) << ", server una "
                 << r.server.una << " of " << r.server.to_send << " state " << int(r.server.state) << "\n";
        RC_ASSERT(r.first_drop.empty());
        RC_ASSERT(delivered || heavy);
        if (delivered) RC_ASSERT(r.c.state == tcp_state::time_wait || heavy);
    };
    CHECK(rc::check(property));
    CHECK(delivered_runs * 4 >= runs * 3);  // a link on which nothing moves would prove nothing
    CHECK(predictions > 1000);
}

}  // namespace

TEST_CASE("correct ends over a good link: no drop, everything delivered, TIME-WAIT at the end (loose)") { holds<loose_checks>(false); }
TEST_CASE("correct ends over a link that loses, doubles and reorders: no drop (loose)") { holds<loose_checks>(true); }
TEST_CASE("correct ends over a good link: no drop (strict)") { holds<strict_checks>(false); }
TEST_CASE("correct ends over a link that loses, doubles and reorders: only data that has arrived is dropped (strict)") { holds<strict_checks>(true); }
