// SPDX-License-Identifier: BSL-1.0
// A device whose receive() may throw is no packet_io: nothing on the packet path throws.
// expect: noexcept
// expect: receive
#include <halfproxy/io/packet_io.hpp>

#ifdef HALFPROXY_MUST_FAIL
#define RECEIVE_NOEXCEPT
#else
#define RECEIVE_NOEXCEPT noexcept
#endif

struct device {
    std::size_t receive(std::span<halfproxy::frame>) RECEIVE_NOEXCEPT { return 0; }
    std::size_t transmit(std::span<halfproxy::tx_frame const>) noexcept { return 0; }
    halfproxy::io_capabilities capabilities() const noexcept { return {}; }
};

void use(halfproxy::packet_io auto&) {}

void test(device& d) { use(d); }
