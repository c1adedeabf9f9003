// SPDX-License-Identifier: BSL-1.0
// A set of checks that leaves one undecided is no set of checks.
// expect: uses_timestamps
#include <halfproxy/track/tcp_tracker.hpp>

struct own_checks {
    static constexpr bool has(halfproxy::tcp_check) noexcept { return true; }
#ifndef HALFPROXY_MUST_FAIL
    static constexpr bool uses_timestamps = false;
#endif
};

void test(halfproxy::tcp_tracker<own_checks>&) {}
