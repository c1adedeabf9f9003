// SPDX-License-Identifier: BSL-1.0
// The tracker's cost per segment: established connections in a ring, each taking turns of data and its acknowledgment.
//
// The table's order of records is not measured here: connections lie one after the other and are visited so. All verdicts are asserted, and the
// numbers at the end.
#include <halfproxy/track/tcp_tracker.hpp>

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

using namespace halfproxy;

constexpr std::uint32_t segment_bytes = 1000;

tcp_segment segment(std::uint32_t seq, std::uint32_t ack, std::uint8_t flags, std::uint32_t payload) {
    tcp_segment s;
    s.seq = {seq};
    s.ack = {ack};
    s.payload_bytes = payload;
    s.window = 60'000;
    s.flags = flags;
    s.has_timestamps = true;
    return s;
}

struct ring {
    std::vector<tcp_connection> connections;
    std::uint32_t sent = 0;  ///< data segments on each connection

    explicit ring(std::size_t flows) : connections(flows) {
        using tracker = tcp_tracker<loose_checks>;
        for (tcp_connection& c : connections) {
            tracker::open(c, segment(99, 0, tcp_flag::syn, 0));
            static_cast<void>(tracker::update(c, direction::from_server, segment(499, 100, tcp_flag::syn | tcp_flag::ack, 0)));
            static_cast<void>(tracker::update(c, direction::from_client, segment(100, 500, tcp_flag::ack, 0)));
        }
    }

    /// One round: data from every client, or the acknowledgment of every server. How many were accepted.
    template <class Checks>
    std::size_t go_round(bool data, Checks const& checks) {
        std::uint32_t const at = 100 + sent * segment_bytes;
        tcp_segment s = data ? segment(at, 500, tcp_flag::ack, segment_bytes) : segment(500, at + segment_bytes, tcp_flag::ack, 0);
        s.timestamp_value = s.timestamp_echo = sent;
        benchmark::DoNotOptimize(s);
        auto const from = data ? direction::from_client : direction::from_server;
        std::size_t good = 0;
        for (tcp_connection& c : connections)
            good += tcp_tracker<Checks>::update(c, from, s, checks).outcome == track_outcome::accept;
        if (!data) ++sent;
        return good;
    }
};

template <class Checks>
void update(benchmark::State& state, Checks const& checks) {
    ring r(static_cast<std::size_t>(state.range(0)));
    bool data = true;
    for (auto _ : state) {
        if (r.go_round(data, checks) != r.connections.size()) state.SkipWithError("a segment was not accepted");
        data = !data;
    }
    seq_num const end{100 + (r.sent + (data ? 0u : 1u)) * segment_bytes};
    if (r.connections.back().side[0].end != end) state.SkipWithError("the numbers did not move on");
    state.SetItemsProcessed(state.iterations() * state.range(0));
}

/// Chosen at run time, as the engine has them.
void update_loose(benchmark::State& state) { update(state, chosen_checks<false>(loose_check_set)); }
void update_strict(benchmark::State& state) { update(state, chosen_checks<true>(strict_check_set)); }

}  // namespace

BENCHMARK(update_loose)->Name("tracker/update")->Arg(1000)->Arg(100'000);
BENCHMARK(update_strict)->Name("tracker/update_strict")->Arg(1000)->Arg(100'000);

BENCHMARK_MAIN();
