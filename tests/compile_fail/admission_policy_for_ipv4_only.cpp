// SPDX-License-Identifier: BSL-1.0
// A policy that forgets IPv6 is refused: its flows would be decided by nobody.
// expect: ipv6 | array
// expect: decide
#include <halfproxy/engine/policies.hpp>

struct admit_all {
    halfproxy::admission decide(halfproxy::flow_request<std::uint32_t> const&) noexcept { return halfproxy::admission::admit; }
#ifndef HALFPROXY_MUST_FAIL
    halfproxy::admission decide(halfproxy::flow_request<halfproxy::ipv6_bytes> const&) noexcept {
        return halfproxy::admission::admit;
    }
#endif
};

void test(halfproxy::policies<admit_all>&) {}
