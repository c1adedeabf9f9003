// SPDX-License-Identifier: BSL-1.0
// A record that cannot compare itself with a whole key cannot stand in a flow table.
// expect: matches
#include <halfproxy/track/flow_table.hpp>

struct identity_hash {
    std::uint64_t operator()(std::uint64_t key) const noexcept { return key; }
};

struct record {
    std::uint64_t own_key = 0;
    std::uint64_t key(unsigned) const noexcept { return own_key; }
#ifndef HALFPROXY_MUST_FAIL
    bool matches(std::uint64_t k, unsigned) const noexcept { return k == own_key; }
#endif
};

void test() { halfproxy::flow_table<std::uint64_t, record, identity_hash> table(8); }
