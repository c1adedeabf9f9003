// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/engine/config.hpp>

#include <cstddef>

namespace halfproxy {

namespace detail {

/// Half-open connections are counted by the scopes there are: neither a side nor the services begin or cease to be one.
[[nodiscard]] inline guard_config changed_guard(guard_config const& running, guard_config const& next) {
    auto const exists = [](guard_marks const& m) { return m.any() || m.capped(); };
    guard_config out = running;
    out.marks = next.marks;
    out.expected_connections_per_s = next.expected_connections_per_s;
    for (std::size_t s = 0; s < 2; ++s)
        if (exists(running.side_marks[s]) == exists(next.side_marks[s])) out.side_marks[s] = next.side_marks[s];
    if (running.service_marks.capped() == next.service_marks.capped()) out.service_marks = next.service_marks;
    out.reset_by = next.reset_by;
    out.min_active = next.min_active;
    out.grace = next.grace;
    out.unanswered = next.unanswered;
    out.allow = next.allow;
    if ((running.exempt_time() == 0) == (next.exempt_time() == 0)) out.exempt = next.exempt;
    return out;
}

}  // namespace detail

inline engine_config changed(engine_config const& running, engine_config const& next) {
    engine_config out = running;
    out.guard = detail::changed_guard(running.guard, next.guard);
    out.server_syn = next.server_syn;
    out.splice.invalid_ack = next.splice.invalid_ack;
    out.splice.resets_per_second = next.splice.resets_per_second;
    out.splice.defer = next.splice.defer;
    out.splice.held_per_connection = next.splice.held_per_connection;
    out.tracking = next.tracking;
    out.timeouts = next.timeouts;
    out.timeouts.fragment = running.timeouts.fragment;
    if (running.limits.per_source.any() == next.limits.per_source.any()) {
        out.limits.per_source.new_flows_per_s = next.limits.per_source.new_flows_per_s;
        out.limits.per_source.flows = next.limits.per_source.flows;
        out.limits.per_source.half_open = next.limits.per_source.half_open;
    }
    out.normalize.malformed = next.normalize.malformed;
    out.normalize.fast_open = next.normalize.fast_open;
    out.normalize.mss_floor = next.normalize.mss_floor;
    out.normalize.verify_checksums = next.normalize.verify_checksums;
    out.rules = next.rules;
    return out;
}

}  // namespace halfproxy
