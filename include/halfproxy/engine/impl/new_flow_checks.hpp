// SPDX-License-Identifier: BSL-1.0
// Packets that open no flow whatever the rules say: from or to where nobody is, and at the end of their hops.
//
// Read RFC 1122 sections 3.2.1.3 and 3.2.1.7, RFC 4291 section 2, RFC 6890 first.
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/track/flow_key.hpp>
#include <halfproxy/wire/parse.hpp>

#include <type_traits>

namespace halfproxy::detail {

/// Class D and above, broadcast included.
[[nodiscard]] inline bool is_group(std::uint32_t address) noexcept { return address >> 28 >= 0xe; }
[[nodiscard]] inline bool is_group(ipv6_bytes const& address) noexcept { return address[0] == 0xff; }

/// "This network" and loopback: never on a wire, in neither field.
[[nodiscard]] inline bool is_nowhere(std::uint32_t address) noexcept {
    std::uint32_t const network = address >> 24;
    return network == 0 || network == 127;
}

/// Unspecified, loopback, and IPv4 addresses in IPv6's clothes, which stand for sockets and not for hosts.
[[nodiscard]] inline bool is_nowhere(ipv6_bytes const& address) noexcept {
    auto const word = [&address](std::size_t at) -> std::uint32_t { return header_at<big32>(address.data() + at); };
    if ((word(0) | word(4)) != 0) return false;
    return word(8) == 0xffff || (word(8) == 0 && word(12) <= 1);
}

/// A client that has no address yet asks for one (RFC 2131 section 4.1).
[[nodiscard]] inline bool asks_for_address(std::uint8_t protocol, ipv4_tuple const& t) noexcept {
    return protocol == ip_protocol::udp && t.source == 0 && t.destination_port == 67;
}
[[nodiscard]] inline bool asks_for_address(std::uint8_t, ipv6_tuple const&) noexcept { return false; }

[[nodiscard]] inline std::uint8_t hops_left(packet_view const& view) noexcept {
    return view.layout().ip_version == 4 ? view.ipv4().time_to_live : view.ipv6().hop_limit;
}

/// Neither nowhere nor a group.
[[nodiscard]] inline bool is_host(std::uint32_t address) noexcept {
    std::uint32_t const network = address >> 24;
    return network - 1 < 0xdf && network != 127;  // 1 to 223
}
[[nodiscard]] inline bool is_host(ipv6_bytes const& address) noexcept { return (address[0] >> 5) == 1; }  // 2000::/3: all global unicast addresses

/// Whether refusal_of() has nothing against a TCP packet, told without looking for reasons. False of a few that it lets through too.
template <class Address>
[[nodiscard]] HALFPROXY_ALWAYS_INLINE bool clearly_accepted(packet_view const& view, flow_tuple<Address> const& t) noexcept {
    return is_host(t.source) && is_host(t.destination) && t.source != t.destination && hops_left(view) != 0;
}

/// Why the packet opens no flow; none when it may. TCP has one receiver (RFC 9293 section 3.9.2.3), others may have a group.
template <class Address>
[[nodiscard]] drop_reason refusal_of(packet_view const& view, std::uint8_t protocol,
                                     flow_tuple<Address> const& t) noexcept {
    if (t.source == t.destination || is_group(t.source)) return drop_reason::ip_source;
    if (is_nowhere(t.source) && !asks_for_address(protocol, t)) return drop_reason::ip_source;
    if (is_nowhere(t.destination)) return drop_reason::ip_destination;
    if (protocol == ip_protocol::tcp && is_group(t.destination)) return drop_reason::ip_destination;
    if (protocol == ip_protocol::udp && t.destination_port == 0) return drop_reason::udp_port_zero;
    return hops_left(view) == 0 ? drop_reason::ip_hops : drop_reason::none;
}

}  // namespace halfproxy::detail
