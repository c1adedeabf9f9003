// SPDX-License-Identifier: BSL-1.0
// A hash of 32 bits would leave the table's bucket choice constant.
// expect: flow_hash | uint64_t
#include <halfproxy/track/flow_table.hpp>

#ifdef HALFPROXY_MUST_FAIL
using hash_value = std::uint32_t;
#else
using hash_value = std::uint64_t;
#endif

struct identity_hash {
    hash_value operator()(std::uint64_t key) const noexcept { return static_cast<hash_value>(key); }
};

struct record {
    std::uint64_t own_key = 0;
    std::uint64_t key(unsigned) const noexcept { return own_key; }
    bool matches(std::uint64_t k, unsigned) const noexcept { return k == own_key; }
};

void test() { halfproxy::flow_table<std::uint64_t, record, identity_hash> table(8); }
