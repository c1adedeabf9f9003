// SPDX-License-Identifier: BSL-1.0
// A set of checks that leaves one undecided is no set of checks.
// expect: old_segments
#include <halfproxy/track/tcp_tracker.hpp>

struct own_checks {
    static constexpr bool sequence = true, reset = true, state = false;
#ifndef HALFPROXY_MUST_FAIL
    static constexpr bool old_segments = false;
#endif
};

void test(halfproxy::tcp_tracker<own_checks>&) {}
