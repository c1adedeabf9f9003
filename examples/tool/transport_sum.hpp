// SPDX-License-Identifier: BSL-1.0
// What a capture's transport checksum is worth.
#pragma once

#include <halfproxy/wire/checksum.hpp>

namespace halfproxy::tool {

enum class transport_sum : std::uint8_t {
    good,
    bad,
    partial,     ///< the pseudo-header's sum, which the sender's device was to finish: captured before it did
    unverified,  ///< absent, of a fragment, cut
};

/// Of a packet whose transport header is there.
[[nodiscard]] inline transport_sum transport_sum_of(const_packet_view const& packet) noexcept {
    switch (verify_transport(packet)) {
        case checksum_verdict::good: return transport_sum::good;
        case checksum_verdict::absent:
        case checksum_verdict::unverifiable: return transport_sum::unverified;
        case checksum_verdict::bad: break;
    }
    if (packet.is_icmp()) return transport_sum::bad;
    packet_layout const& l = packet.layout();
    std::uint16_t const field = packet.is_tcp() ? packet.tcp().checksum : packet.udp().checksum;
    std::uint16_t const sum = pseudo_header_sum(packet, l.protocol, l.datagram_end - l.transport_offset).folded();
    return field == sum ? transport_sum::partial : transport_sum::bad;
}

}  // namespace halfproxy::tool
