// SPDX-License-Identifier: BSL-1.0
// The time of a packet is not the system's: only who calls the engine may say that they are the same.
// expect: time_point
#include <halfproxy/core/time.hpp>

bool later(halfproxy::time_point a, halfproxy::time_point b) { return a > b; }

#ifdef HALFPROXY_MUST_FAIL
using clock_used = std::chrono::steady_clock;
#else
using clock_used = halfproxy::packet_clock;
#endif

bool test(clock_used::time_point now) { return later(now, halfproxy::time_point{}); }
