// SPDX-License-Identifier: BSL-1.0
// Fragments put together again as their receiver does, by a routine of the tests' own.
#pragma once

#include "tests/support/cut_datagram.hpp"
#include "tests/support/timeline.hpp"

#include <algorithm>
#include <vector>

namespace halfproxy::test {

/// What its receiver makes of fragments that arrived in any order; empty when they are not whole, or overlap.
struct reassembled {
    byte_string transport;
    bool checksum_good = false;
};

inline reassembled put_together(std::vector<decoded> parts) {
    std::sort(parts.begin(), parts.end(), [](decoded const& a, decoded const& b) { return a.fragment_offset < b.fragment_offset; });
    reassembled out;
    for (decoded const& d : parts) {
        bool const last = &d == &parts.back();
        if (d.fragment_offset != out.transport.size() || d.more_fragments == last || d.source != parts[0].source || d.destination != parts[0].destination) return {};
        out.transport = out.transport + d.transport;
    }
    if (parts.empty()) return {};
    byte_string pseudo = parts[0].source + parts[0].destination + u32(static_cast<std::uint32_t>(out.transport.size())) + u32(parts[0].protocol);
    if (parts[0].protocol == 1) pseudo.clear();
    out.checksum_good = naive_checksum(pseudo + out.transport) == 0;
    return out;
}

}  // namespace halfproxy::test
