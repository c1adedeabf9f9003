// SPDX-License-Identifier: BSL-1.0
// A decorator decorates a device and nothing else.
// expect: packet_io
#include <halfproxy/io/fault.hpp>
#include <halfproxy/io/memory.hpp>

#ifdef HALFPROXY_MUST_FAIL
using inner = std::vector<halfproxy::frame>;
#else
using inner = halfproxy::memory_io;
#endif

void test(halfproxy::fault_io<inner>&) {}
