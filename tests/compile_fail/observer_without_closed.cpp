// SPDX-License-Identifier: BSL-1.0
// An observer that hears of flows opened but not of flows closed is refused.
// expect: closed
#include <halfproxy/engine/policies.hpp>

struct counting_observer {
    void opened(auto const&) noexcept { ++open; }
#ifndef HALFPROXY_MUST_FAIL
    void closed(auto const&) noexcept { --open; }
#endif
    void dropped(halfproxy::frame const&, halfproxy::drop_reason) noexcept {}
    int open = 0;
};

using all_policies = halfproxy::policies<halfproxy::admit_by_guard, halfproxy::keep_addresses, counting_observer>;
void test(all_policies&) {}
