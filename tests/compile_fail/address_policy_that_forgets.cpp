// SPDX-License-Identifier: BSL-1.0
// An address policy that keeps something for each flow must hear of every flow's end: without closed() it would run out.
// expect: address_policy | addresses | constraints not satisfied
// expect: closed | constraints not satisfied
#include <halfproxy/engine/policies.hpp>

struct counting_addresses {
    static constexpr bool keeps_state = true;

    template <class Address>
    halfproxy::address_answer<Address> translate(halfproxy::flow_request<Address> const& r, halfproxy::stamp_ms) noexcept {
        return {r.tuple};
    }
    template <class Address>
    halfproxy::address_answer<Address> foresee(halfproxy::flow_request<Address> const& r, halfproxy::stamp_ms) noexcept {
        return {r.tuple};
    }
    void opened(auto const&, std::uint32_t, auto const&) noexcept { ++open; }
    void refused(auto const&, halfproxy::stamp_ms) noexcept {}
#ifndef HALFPROXY_MUST_FAIL
    void closed(auto const&, std::uint32_t, halfproxy::stamp_ms) noexcept { --open; }
#endif
    void advance(halfproxy::stamp_ms, std::uint32_t) noexcept {}
    std::optional<halfproxy::stamp_ms> next_deadline(halfproxy::stamp_ms) const noexcept { return {}; }
    std::size_t memory_bytes() const noexcept { return 0; }
    int open = 0;
};

void test(halfproxy::policies<halfproxy::admit_by_guard, counting_addresses>&) {}
