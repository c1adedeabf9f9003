// SPDX-License-Identifier: BSL-1.0
// Two correct TCP ends over a link that loses, doubles, reorders and delays: the tracker between them must not stand in their way, nor let pass what
// an attacker injects.
#include <halfproxy/track/tcp_tracker.hpp>

#include "tests/support/tcp_end.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <type_traits>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

static_assert(std::has_unique_object_representations_v<tcp_connection>, "so that connections may be compared as bytes");
bool same(tcp_connection const& a, tcp_connection const& b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

/// One connection. What goes wrong first is said in `fault`.
template <class Checks>
struct run {
    end_point client, server;
    link_faults faults;
    bool attacked;
    split_mix64 random;
    tcp_connection c{};
    bool opened = false;
    int injected = 0;
    std::string fault{};

    [[nodiscard]] end_point const& end(direction d) const { return d == direction::from_client ? client : server; }

    /// True when both ends have delivered everything.
    bool operator()() {
        cable up_near{faults}, up_far{faults}, down_near{faults}, down_far{faults};
        for (int step = 0; step < 40'000 && fault.empty(); ++step) {
            if (client.done() && server.done()) return true;
            client.clock += random.below(4) == 0;
            server.clock += random.below(8) == 0;
            if (attacked && random.below(16) == 0) inject();
            switch (random.below(10)) {  // more is carried than sent: no queue grows for ever
                case 0:
                    if (auto s = client.act(random)) up_near.put(*s, random);
                    break;
                case 1:
                    if (auto s = server.act(random)) down_near.put(*s, random);
                    break;
                case 2:
                case 3:
                    if (auto s = up_near.get(random)) pass(direction::from_client, *s, up_far);
                    break;
                case 4:
                case 5:
                    if (auto s = down_near.get(random)) pass(direction::from_server, *s, down_far);
                    break;
                case 6:
                case 7:
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
        } else if (update(from, s).outcome == track_outcome::drop) {
            return;
        }
        on.put(s, random);
    }

    /// The short path of a segment must do what the long one does.
    track_result update(direction from, tcp_segment const& s) {
        tcp_connection slow = c;
        track_result const expected = detail::track_any(slow, from, s, Checks{});
        track_result const r = tcp_tracker<Checks>::update(c, from, s);
        if (r != expected || !same(c, slow)) fail("the short path differs", from);
        if (r.outcome == track_outcome::drop && !obsolete(from, s)) fail(to_string(r.reason), from);
        return r;
    }

    void fail(std::string_view what, direction from) {
        if (fault.empty()) fault = std::string(what) + (from == direction::from_client ? " from client" : " from server");
    }

    /// What its receiver would not take either: all its data has arrived, a copy more than a window late; or its timestamp is old.
    [[nodiscard]] bool obsolete(direction from, tcp_segment const& s) const {
        end_point const& to = end(reverse(from));
        bool const arrived = s.end().at_or_before(seq_num{to.peer_isn + static_cast<std::uint32_t>(to.received)});
        return Checks::has(tcp_check::seq_below) && (arrived || to.outdated(s));
    }

    /// From outside the window, at any distance; what the ends told each other is the measure of that, not what the tracker made of it.
    void inject() {
        if (c.state < tcp_state::established || c.state == tcp_state::closed || detail::either_marked(c, tcp_mark::liberal)) return;
        auto const from = random.below(2) == 0 ? direction::from_client : direction::from_server;
        end_point const &sender = end(from), &receiver = end(reverse(from));
        tcp_segment s;
        s.flags = tcp_flag::ack;
        s.window = static_cast<std::uint16_t>(random.below(65'536));
        s.payload_bytes = 1 + random.below(1460);
        s.seq = {sender.isn + static_cast<std::uint32_t>(receiver.received)};
        s.ack = {receiver.isn + static_cast<std::uint32_t>(sender.received)};
        std::uint32_t const far = random.below(1u << (1 + random.below(29))), kind = random.below(6);
        switch (kind) {
            case 0: s.seq = seq_num{sender.isn + static_cast<std::uint32_t>(receiver.promised)} + 2 + far; break;
            case 1: s.seq = c.side[index(from)].end - c.side[index(reverse(from))].max_window - s.payload_bytes - 1 - far; break;
            case 2: s.ack = seq_num{receiver.isn + static_cast<std::uint32_t>(receiver.highest)} + 1 + far; break;
            case 3: s.ack = c.side[index(reverse(from))].end - std::max(detail::ack_slack, c.side[index(from)].max_window) - 1 - far; break;
            case 4:
                s.flags = tcp_flag::rst;
                s.seq = random.below(2) == 0 ? seq_num{sender.isn + static_cast<std::uint32_t>(receiver.promised)} + 2 + far
                                             : c.side[index(reverse(from))].max_ack - 1 - far;
                if (s.seq == c.last_end) return;
                break;
            default:
                if (!detail::marked(c, from, tcp_mark::echoed)) return;
                s.has_timestamps = true;
                s.timestamp_value = c.echoed[index(from)] - 1 - far;
        }
        tcp_connection const before = c;
        ++injected;
        if (tcp_tracker<Checks>::update(c, from, s).outcome != track_outcome::drop)
            fail(std::string("an injected segment passed, of kind ").append(std::to_string(kind)), from);
        if (!same(c, before)) fail("an injected segment changed the connection", from);
    }
};

struct kind_of_runs {
    bool heavy;
    bool attacked;
    bool timestamps;
};

struct tally {
    int runs = 0, delivered = 0, injected = 0;
};

template <class Checks>
void run_once(kind_of_runs kind, split_mix64& random, tally& sum) {
    constexpr std::uint32_t corners[] = {0, 1, 0x7fff'ffff, 0x8000'0000, 0xffff'ffff, 0xffff'fc00, 0x7fff'fc00};
    auto const number = [&] { return random.below(2) ? corners[random.below(7)] : static_cast<std::uint32_t>(random()); };
    auto const scale = [&]() -> std::optional<unsigned> { return random.below(3) == 0 ? std::nullopt : std::optional(random.below(15)); };
    auto const buffer = [&] { return random.below(2) ? 500 + random.below(4000) : 1 + random.below(200'000) + 500; };
    auto const make = [&](bool is_client) {
        return end_point{is_client, number(), scale(), random.below(2) == 0, buffer(), random.below(4000), kind.timestamps, number()};
    };
    auto const chance = [&](std::uint32_t most) { return kind.heavy ? random.below(most) : 0u; };
    link_faults const faults{chance(50), chance(50), chance(128), chance(24)};
    end_point const client = make(true), server = make(false);
    run<Checks> r{client, server, faults, kind.attacked, split_mix64(random())};
    bool const delivered = r();
    ++sum.runs;
    sum.delivered += delivered;
    sum.injected += r.injected;
    RC_LOG() << r.fault << "; client una " << r.client.una << " of " << r.client.to_send << " state " << int(r.client.state) << ", server una "
             << r.server.una << " of " << r.server.to_send << " state " << int(r.server.state) << "\n";
    RC_ASSERT(r.fault.empty());
    RC_ASSERT(delivered || kind.heavy);
    if (delivered) RC_ASSERT(r.c.state == tcp_state::time_wait || kind.heavy);
}

/// 100 times so many connections.
template <class Checks>
void holds(kind_of_runs kind, int connections) {
    tally sum;
    CHECK(rc::check([&](std::uint64_t seed) {
        split_mix64 random(seed);
        for (int i = 0; i < connections; ++i) run_once<Checks>(kind, random, sum);
    }));
    CHECK(sum.runs >= 100 * connections);
    CHECK(sum.delivered * 4 >= sum.runs * 3);  // a link on which nothing moves would prove nothing
    if (kind.attacked) CHECK(sum.injected > 10 * sum.runs);
}

}  // namespace

TEST_CASE("correct ends over a good link: no drop, everything delivered, TIME-WAIT at the end (loose)") {
    holds<loose_checks>({.heavy = false, .attacked = false, .timestamps = false}, 1);
}
TEST_CASE("correct ends over a link that loses, doubles, reorders and delays: no drop (loose)") {
    holds<loose_checks>({.heavy = true, .attacked = false, .timestamps = false}, 2);
}
TEST_CASE("correct ends over a good link, with timestamps: no drop, everything delivered (strict)") {
    holds<strict_checks>({.heavy = false, .attacked = false, .timestamps = true}, 1);
}
TEST_CASE("correct ends over a bad link, 1,000 connections: nothing is dropped but copies that their receiver would not take either (strict)") {
    holds<strict_checks>({.heavy = true, .attacked = false, .timestamps = false}, 10);
}
TEST_CASE("correct ends over a bad link, with timestamps, 1,000 connections: nothing is dropped that its receiver would take (strict)") {
    holds<strict_checks>({.heavy = true, .attacked = false, .timestamps = true}, 10);
}
TEST_CASE("nothing that an attacker injects outside the window passes, or disturbs the ends, on a good link or a bad one (strict)") {
    for (bool heavy : {false, true}) holds<strict_checks>({.heavy = heavy, .attacked = true, .timestamps = true}, 2);
}
