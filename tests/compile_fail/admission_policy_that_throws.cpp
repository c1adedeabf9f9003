// SPDX-License-Identifier: BSL-1.0
// An admission policy stands on the path of every SYN, so one that may throw is refused.
// expect: admission
// expect: noexcept | constraints not satisfied | does not satisfy
#include <halfproxy/engine/policies.hpp>

#ifdef HALFPROXY_MUST_FAIL
#define DECIDE_NOEXCEPT
#else
#define DECIDE_NOEXCEPT noexcept
#endif

struct admit_all {
    template <class Address>
    halfproxy::admission decide(halfproxy::flow_request<Address> const&) DECIDE_NOEXCEPT {
        return halfproxy::admission::admit;
    }
};

void test(halfproxy::policies<admit_all>&) {}
