// SPDX-License-Identifier: BSL-1.0
// The tracker against the table of states: every state, every combination of flags, both directions.
#include <halfproxy/track/tcp_tracker.hpp>

#include "tests/support/tcp_oracle.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

constexpr std::uint8_t SYN = tcp_flag::syn, ACK = tcp_flag::ack, FIN = tcp_flag::fin, RST = tcp_flag::rst;
constexpr direction C = direction::from_client, S = direction::from_server;

using isns = std::array<std::uint32_t, 2>;
constexpr std::array<isns, 4> every_isn{{{1000, 700'000}, {0xffff'ffff, 0xffff'ffff}, {0x7fff'ffff, 0xffff'fffe}, {0, 0x8000'0000}}};

struct sent {
    direction from;
    std::uint8_t flags;
    std::uint32_t seq, ack;
};

/// How each state is reached.
std::vector<sent> const& way_to(oracle_state s) {
    static std::array<std::vector<sent>, oracle_state_count> const ways = [] {
        using enum oracle_state;
        std::array<std::vector<sent>, oracle_state_count> w;
        auto const after = [&w](oracle_state before, std::vector<sent> const& more) {
            std::vector<sent> all = w[static_cast<std::size_t>(before)];
            all.insert(all.end(), more.begin(), more.end());
            return all;
        };
        auto const is = [&w](oracle_state state, std::vector<sent> way) { w[static_cast<std::size_t>(state)] = std::move(way); };
        is(SS, {{C, SYN, 0, 0}});
        is(SO, after(SS, {{S, SYN, 0, 0}}));
        is(SR, after(SS, {{S, SYN | ACK, 0, 1}}));
        is(SRc, after(SO, {{C, SYN | ACK, 0, 1}}));
        is(ES, after(SR, {{C, ACK, 1, 1}}));
        is(FC, after(ES, {{C, FIN | ACK, 1, 1}}));
        is(FS, after(ES, {{S, FIN | ACK, 1, 1}}));
        is(FF, after(FC, {{S, FIN | ACK, 1, 1}}));
        is(FFc, after(FF, {{S, ACK, 2, 2}}));
        is(FFs, after(FF, {{C, ACK, 2, 2}}));
        is(TW, after(FFc, {{C, ACK, 2, 2}}));
        is(CL, after(ES, {{S, RST, 1, 0}}));
        is(CR, after(SS, {{S, RST | ACK, 0, 1}}));
        return w;
    }();
    return ways[static_cast<std::size_t>(s)];
}

[[nodiscard]] tcp_segment segment_at(isns const& isn, sent const& x) {
    tcp_segment s;
    s.seq = {isn[index(x.from)] + x.seq};
    if ((x.flags & ACK) != 0) s.ack = {isn[index(reverse(x.from))] + x.ack};
    s.flags = x.flags;
    s.window = 20'000;
    return s;
}

void note(oracle_numbers& n, sent const& x) {
    std::uint32_t const length = ((x.flags & SYN) != 0) + ((x.flags & FIN) != 0);
    std::uint32_t& next = n.next[index(x.from)];
    if ((x.flags & RST) == 0) next = std::max(next, x.seq + length);
    std::uint32_t& expected = n.expected[index(reverse(x.from))];
    if ((x.flags & ACK) != 0) expected = std::max(expected, x.ack);
}

template <class Checks>
tcp_connection reach(oracle_state s, isns const& isn, oracle_numbers& numbers) {
    tcp_connection c;
    for (sent const& x : way_to(s)) {
        tcp_segment const segment = segment_at(isn, x);
        if (&x == &way_to(s).front())
            tcp_tracker<Checks>::open(c, segment);
        else
            REQUIRE(tcp_tracker<Checks>::update(c, x.from, segment).outcome == track_outcome::accept);
        note(numbers, x);
    }
    for (unsigned d = 0; d < 2; ++d)  // nothing acknowledged yet: the byte after the SYN
        if (numbers.expected[d] == 0) numbers.expected[d] = 1;
    REQUIRE(c.state == coarse(s));
    return c;
}

bool fin_sent(oracle_state s, direction from) {
    if (s == oracle_state::FC) return from == C;
    if (s == oracle_state::FS) return from == S;
    return s >= oracle_state::FF && s <= oracle_state::TW;
}

/// All segments of a kind.
std::vector<sent> segments_of(oracle_state s, direction from, oracle_segment kind, oracle_numbers const& n) {
    std::uint32_t const next = n.next[index(from)], expected = n.expected[index(from)], peer = n.next[index(reverse(from))];
    std::uint32_t const fin = next - (fin_sent(s, from) ? 1 : 0);
    bool const handshake = s < oracle_state::ES;
    switch (kind) {
        case oracle_segment::syn: return {{from, SYN, handshake ? 0 : 5'000'000u, 0}};
        case oracle_segment::syn_ack: return {{from, SYN | ACK, 0, peer}};
        case oracle_segment::syn_ack_wrong: return {{from, SYN | ACK, 0, peer + 1}};
        case oracle_segment::fin: return {{from, FIN | ACK, fin, peer}};
        case oracle_segment::fin_behind: return {{from, FIN | ACK, fin, peer - 1}};
        case oracle_segment::ack: return {{from, ACK, next, peer}};
        case oracle_segment::ack_behind: return {{from, ACK, next, peer - 1}};
        case oracle_segment::rst: return {{from, RST, expected, 0}};
        case oracle_segment::rst_ack: return {{from, RST | ACK, expected, peer}};
        case oracle_segment::rst_inside: return {{from, RST, expected + 100, 0}, {from, RST, expected + 20'000, 0}};
        case oracle_segment::rst_below: return {{from, RST, expected - 2, 0}, {from, RST, expected - 10'000, 0}};
        case oracle_segment::rst_beyond: return {{from, RST, expected + 3'000'000, 0}, {from, RST, expected + (1u << 31), 0}};
    }
    return {};
}

std::string describe(oracle_state s, sent const& x) {
    return "state " + std::to_string(static_cast<int>(s)) + (x.from == C ? " client" : " server") + " flags " + std::to_string(x.flags) +
           " seq " + std::to_string(x.seq) + " ack " + std::to_string(x.ack);
}

bool same_numbers(tcp_connection const& a, tcp_connection const& b) {
    for (unsigned d = 0; d < 2; ++d)
        if (a.side[d].end != b.side[d].end || a.side[d].max_ack != b.side[d].max_ack || a.side[d].max_end != b.side[d].max_end) return false;
    return a.state == b.state;
}

/// Runs one segment in one state, and finds what the table says; then an ACK of either side, for the finer states to show.
template <class Checks>
void agrees(oracle_state s, isns const& isn, sent const& x, oracle_step const& wanted) {
    INFO(describe(s, x));
    oracle_numbers numbers;
    tcp_connection c = reach<Checks>(s, isn, numbers);
    tcp_connection const before = c;
    track_result const got = tcp_tracker<Checks>::update(c, x.from, segment_at(isn, x));
    CHECK(got.outcome == wanted.result.outcome);
    CHECK(to_string(got.reason) == to_string(wanted.result.reason));
    CHECK(c.state == coarse(wanted.moves ? wanted.next : s));
    if (got.outcome == track_outcome::drop) CHECK(same_numbers(c, before));
    oracle_state now = wanted.moves ? wanted.next : s;
    if (wanted.moves) note(numbers, x);
    for (direction from : {C, S}) {
        sent const ack{from, ACK, numbers.next[index(from)], numbers.next[index(reverse(from))]};
        oracle_step const& then = step_of(now, from, oracle_segment::ack);
        if (then.moves) now = then.next;
        CHECK(tcp_tracker<Checks>::update(c, from, segment_at(isn, ack)).outcome == then.result.outcome);
        CHECK(c.state == coarse(now));
    }
}

template <class Checks>
int walk() {
    int steps = 0;
    for (isns const& isn : every_isn)
        for (std::size_t state = 0; state < oracle_state_count; ++state)
            for (direction from : {C, S})
                for (std::size_t kind = 0; kind < oracle_segment_count; ++kind) {
                    auto const s = static_cast<oracle_state>(state);
                    auto const k = static_cast<oracle_segment>(kind);
                    oracle_numbers numbers;
                    static_cast<void>(reach<Checks>(s, isn, numbers));
                    for (sent x : segments_of(s, from, k, numbers)) {
                        std::uint8_t const flags = x.flags;
                        for (unsigned free = 0; free < 16; ++free) {  // PSH and URG, ECE and CWR decide nothing
                            x.flags = static_cast<std::uint8_t>(flags | (free & 1) << 3 | (free & 2) << 4 | (free >> 2) << 6);
                            agrees<Checks>(s, isn, x, step_of(s, from, k));
                            ++steps;
                        }
                    }
                }
    return steps;
}

}  // namespace

TEST_CASE("the tracker does what the table says, in every state, for every valid combination of flags, from either side (loose)") {
    CHECK(walk<loose_checks>() == 4 * 13 * 2 * (12 + 3) * 16);
}
TEST_CASE("the tracker does what the table says, in every state, for every valid combination of flags, from either side (strict)") {
    CHECK(walk<strict_checks>() == 4 * 13 * 2 * (12 + 3) * 16);
}

TEST_CASE("the ten combinations of SYN, FIN, RST and ACK that no end sends are dropped in every state and change nothing (RFC 9293 section 3.10)") {
    int combinations = 0;
    for (std::size_t state = 0; state < oracle_state_count; ++state)
        for (direction from : {C, S})
            for (unsigned flags = 0; flags < 256; ++flags) {
                unsigned const deciding = flags & (SYN | FIN | RST | ACK);
                bool const known = deciding == SYN || deciding == (SYN | ACK) || deciding == RST || deciding == (RST | ACK) ||
                                   deciding == ACK || deciding == (FIN | ACK);
                if (known) continue;
                ++combinations;
                agrees<strict_checks>(static_cast<oracle_state>(state), every_isn[1], {from, static_cast<std::uint8_t>(flags), 1, 1},
                                      oracle::no(drop_reason::tcp_flags));
            }
    CHECK(combinations == 13 * 2 * 160);
}
