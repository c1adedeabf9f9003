// SPDX-License-Identifier: BSL-1.0
// The engine's clock cannot be asked for the time.
// expect: now
#include <halfproxy/core/time.hpp>

#ifdef HALFPROXY_MUST_FAIL
halfproxy::time_point test() { return halfproxy::packet_clock::now(); }
#else
halfproxy::time_point test() { return halfproxy::time_point{}; }
#endif
