// SPDX-License-Identifier: BSL-1.0
// A device that cannot send is no packet_io.
// expect: transmit
#include <halfproxy/io/packet_io.hpp>

struct device {
    std::size_t receive(std::span<halfproxy::frame>) noexcept { return 0; }
    halfproxy::io_capabilities capabilities() const noexcept { return {}; }
#ifndef HALFPROXY_MUST_FAIL
    std::size_t transmit(std::span<halfproxy::tx_frame const>) noexcept { return 0; }
#endif
};

void use(halfproxy::packet_io auto&) {}

void test(device& d) { use(d); }
