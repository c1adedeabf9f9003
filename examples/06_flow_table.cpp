// SPDX-License-Identifier: BSL-1.0
// The flow table alone: one record of your own per flow, found by either direction's key, a burst at a time.
#include <halfproxy/track/flow_key.hpp>
#include <halfproxy/track/flow_table.hpp>
#include <halfproxy/wire/headers.hpp>

#include <fmt/format.h>

#include <array>

using namespace halfproxy;

struct byte_count {  // a record knows its keys; the rest is its own business
    ipv4_key opened_by;
    std::array<std::uint64_t, 2> bytes{};

    [[nodiscard]] ipv4_key key(unsigned direction) const noexcept {
        return direction == 0 ? opened_by : ipv4_key{opened_by.tuple.reversed(), opened_by.zone, opened_by.protocol};
    }
    [[nodiscard]] bool matches(ipv4_key const& k, unsigned direction) const noexcept { return k == key(direction); }
};

static ipv4_key client_key(std::uint16_t port) { return {{0xc000020a, 0xc6336450, port, 443}, 0, ip_protocol::tcp}; }

int main() {
    flow_table<ipv4_key, byte_count, flow_key_hash> flows(1000, flow_key_hash{42});  // all its memory, now
    fmt::print("room for {} flows, index {} bytes per flow\n", flows.capacity(),
               flows.index_bytes() / flows.capacity());

    for (std::uint16_t port = 40000; port < 40003; ++port) {
        byte_count const record{client_key(port)};
        if (auto const added = flows.insert(record.key(0), record.key(1))) flows.record(added.handle) = record;
    }

    // A burst: two packets of clients, one answer, one of nobody. The table's memory reads overlap.
    std::array const keys{client_key(40000), client_key(40001), flows.record(0u).key(1), client_key(9)};
    std::array<std::uint64_t, keys.size()> hashes;
    std::array<flow_handle, keys.size()> found;
    for (std::size_t i = 0; i < keys.size(); ++i) hashes[i] = flows.hash(keys[i]);
    flows.find_burst(keys, hashes, found);
    for (flow_handle const handle : found) {
        if (!handle) {
            fmt::print("no flow\n");
            continue;
        }
        std::uint64_t const bytes = flows.record(handle).bytes[handle.direction()] += 1500;
        fmt::print("flow {}, direction {}: {} bytes\n", handle.number(), handle.direction(), bytes);
    }
    flows.erase(found[0]);
    fmt::print("{} flows left, {} at most\n", flows.size(), flows.peak());
}
