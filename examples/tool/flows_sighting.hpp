// SPDX-License-Identifier: BSL-1.0
// A packet of a capture as the listing of flows needs it: which flow, and what it says of it.
#pragma once

#include <halfproxy/io/pcap_file.hpp>
#include <halfproxy/track/conn_log.hpp>
#include <halfproxy/track/flow_key.hpp>
#include <halfproxy/wire/parse.hpp>

#include <cstdint>
#include <string_view>

namespace halfproxy::tool {

/// Of both families: an IPv4 address stands in the last 4 bytes, and `reserved` says that it is one.
using observed_key = ipv6_key;
inline constexpr std::uint8_t is_ipv4_key = 4;

struct sighting {
    const_packet_view packet{};
    observed_key forward{};
    observed_key backward{};
    conn_log_segment segment{};
    std::uint32_t ip_bytes = 0;
    std::uint8_t protocol = 0;  ///< ICMPv6 counts as ICMP
    bool has_ports = false;     ///< TCP, UDP or ICMP
};

/// False when no flow can be made of the packet.
[[nodiscard]] bool read_sighting(capture_record const& record, sighting& s);

/// What a flow carries that is not opened: by its first packet the name of a tunnel over UDP ("vxlan", "geneve", "gtpv1",
/// "teredo"), or of a protocol that is neither TCP, UDP nor ICMP ("gre", "esp", "sctp"...); otherwise empty.
[[nodiscard]] std::string_view unparsed_content(sighting const& s);

}  // namespace halfproxy::tool
