// SPDX-License-Identifier: BSL-1.0
// Finding flows, and letting them come and go, in ours and in general-purpose hash tables that do the same job.
//
// The job: from a packet's key to its 128-byte flow record, whichever direction it is, the key compared and the record
// read. Every table holds two keys per flow and uses the same hash; the peers map a key to the record's number in an array. Half of the
// lookups are of either direction, order random, all present. Time is per lookup, hashing included.
#include "support/flows.hpp"

#include <halfproxy/engine/flow.hpp>
#include <halfproxy/track/flow_table.hpp>
#include <halfproxy/track/huge_page_memory.hpp>

#include <benchmark/benchmark.h>
#include <boost/unordered_map.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#if defined(HALFPROXY_BENCH_ABSL)
#include <absl/container/flat_hash_map.h>
#endif
#if defined(HALFPROXY_BENCH_ROBIN_MAP)
#include <tsl/robin_map.h>
#endif

namespace {

using namespace halfproxy;
using bench::burst;

constexpr std::uint64_t seed = 0x5eed'0fb3'4c11'77d1u;

[[nodiscard]] ipv4_flow flow_of(std::uint32_t id) noexcept {
    ipv4_flow f{};
    f.tuple = {bench::client_key(id).tuple, bench::server_key(id).tuple};
    f.protocol = 6;
    f.packets[0] = id;
    return f;
}

// --- Ours -------------------------------------------------------------------------------------------------------------

template <class Memory>
struct table_fixture {
    flow_table<ipv4_key, ipv4_flow, flow_key_hash, Memory> table;
    bench::random_order order;
    std::vector<std::uint32_t> live;  // the ids in the table, for insert_erase
    std::uint32_t next_id;
    bool whole = true;

    explicit table_fixture(std::uint32_t flows) : table(flows, flow_key_hash(seed)), order(flows), live(flows), next_id(flows) {
        for (std::uint32_t id = 0; id < flows; ++id) whole &= add(live[id] = id);
    }
    [[nodiscard]] bool add(std::uint32_t id) noexcept {
        insert_result const r = table.insert(bench::client_key(id), bench::server_key(id));
        if (r) table.record(r.handle) = flow_of(id);
        return static_cast<bool>(r);
    }
};

// Bit i of `packed_directions`: the direction of the burst's lookup i.
constexpr std::uint64_t packed_directions = 0x6996'5aa5'33cc'9669u;
[[nodiscard]] constexpr unsigned direction_of(std::size_t i) noexcept { return packed_directions >> i & 1u; }

template <class Memory>
void find_burst(benchmark::State& state, std::uint32_t flows) {
    auto& f = bench::built_once<table_fixture<Memory>>(flows);
    if (!f.whole) return state.SkipWithError("the table did not take its capacity");
    std::array<ipv4_key, burst> keys;
    std::array<std::uint64_t, burst> hashes;
    std::array<flow_handle, burst> found;
    for (auto _ : state) {
        std::uint32_t const* const slots = f.order.next_burst();
        for (std::size_t i = 0; i < burst; ++i) {
            keys[i] = bench::key_of(slots[i], direction_of(i));
            hashes[i] = f.table.hash(keys[i]);
        }
        f.table.find_burst(keys, hashes, found);
        std::uint32_t wrong = 0;
        for (std::size_t i = 0; i < burst; ++i) {
            if (!found[i]) return state.SkipWithError("a flow was not found");
            wrong |= f.table.record(found[i]).packets[0] ^ slots[i];
            wrong |= found[i].direction() ^ direction_of(i);
        }
        if (wrong != 0) return state.SkipWithError("another flow was found");
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(burst));
}

// Absent keys: what an ACK flood's packets cost.
void miss_burst(benchmark::State& state, std::uint32_t flows) {
    auto& f = bench::built_once<table_fixture<heap_memory>>(flows);
    std::array<ipv4_key, burst> keys;
    std::array<std::uint64_t, burst> hashes;
    std::array<flow_handle, burst> found;
    for (auto _ : state) {
        std::uint32_t const* const slots = f.order.next_burst();
        for (std::size_t i = 0; i < burst; ++i) {
            keys[i] = bench::key_of(slots[i] + 0x8000'0000u, direction_of(i));
            hashes[i] = f.table.hash(keys[i]);
        }
        f.table.find_burst(keys, hashes, found);
        for (flow_handle const h : found)
            if (h) return state.SkipWithError("a flow was found that does not exist");
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(burst));
}

// A full table: one flow ends, another begins in its record. One after the other, nothing prefetched: the worst case, and what
// timers do.
void insert_erase(benchmark::State& state, std::uint32_t flows) {
    table_fixture<heap_memory> f(flows);
    for (auto _ : state) {
        std::uint32_t const* const slots = f.order.next_burst();
        for (std::size_t i = 0; i < burst; ++i) {
            flow_handle const victim = f.table.find(bench::client_key(f.live[slots[i]]));
            if (!f.table.erase(victim)) return state.SkipWithError("a flow could not be erased");
            if (!f.add(f.live[slots[i]] = f.next_id++)) return state.SkipWithError("a flow could not be inserted");
        }
    }
    if (f.table.size() != flows) return state.SkipWithError("flows were lost");
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(burst));
}

// --- Peers ------------------------------------------------------------------------------------------------------------

// Their users hash with std::hash-like functors of size_t.
struct peer_hash {
    [[nodiscard]] std::size_t operator()(ipv4_key const& k) const noexcept { return flow_key_hash(seed)(k); }
};

template <class Map>
struct peer_fixture {
    Map map;
    std::vector<ipv4_flow> records;
    bench::random_order order;

    explicit peer_fixture(std::uint32_t flows) : records(flows), order(flows) {
        map.reserve(std::size_t{flows} * 2);
        for (std::uint32_t id = 0; id < flows; ++id) {
            records[id] = flow_of(id);
            map.emplace(bench::client_key(id), id << 1);
            map.emplace(bench::server_key(id), id << 1 | 1);
        }
    }
};

template <class Map>
void peer_find(benchmark::State& state, std::uint32_t flows) {
    auto& f = bench::built_once<peer_fixture<Map>>(flows);
    for (auto _ : state) {
        std::uint32_t const* const slots = f.order.next_burst();
        std::uint32_t wrong = 0;
        for (std::size_t i = 0; i < burst; ++i) {
            auto const found = f.map.find(bench::key_of(slots[i], direction_of(i)));
            if (found == f.map.end()) return state.SkipWithError("a flow was not found");
            wrong |= f.records[found->second >> 1].packets[0] ^ slots[i];
            wrong |= (found->second & 1u) ^ direction_of(i);
        }
        if (wrong != 0) return state.SkipWithError("another flow was found");
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(burst));
}

template <template <class...> class Map>
using flow_map = Map<ipv4_key, std::uint32_t, peer_hash, std::equal_to<ipv4_key>>;

void add_peers(std::uint32_t flows) {
    bench::add("peer/std_unordered_map/find", flows, peer_find<flow_map<std::unordered_map>>);
    bench::add("peer/boost_unordered_map/find", flows, peer_find<flow_map<boost::unordered_map>>);
#if defined(HALFPROXY_BENCH_ABSL)
    bench::add("peer/absl_flat_hash_map/find", flows, peer_find<flow_map<absl::flat_hash_map>>);
#endif
#if defined(HALFPROXY_BENCH_ROBIN_MAP)
    bench::add("peer/tsl_robin_map/find", flows, peer_find<tsl::robin_map<ipv4_key, std::uint32_t, peer_hash>>);
#endif
}

}  // namespace

int main(int argc, char** argv) {
    for (std::uint32_t const flows : bench::flow_counts) {
        bench::add("flow_table/find_burst", flows, find_burst<heap_memory>);
        bench::add("flow_table/find_burst_huge_pages", flows, find_burst<huge_page_memory>);
        bench::add("flow_table/miss_burst", flows, miss_burst);
        bench::add("flow_table/insert_erase", flows, insert_erase);
        add_peers(flows);
    }
    return bench::run(argc, argv);
}
