// SPDX-License-Identifier: BSL-1.0
// A packet becomes, in its own buffer, the ICMP message about itself: time exceeded, too big, unreachable, echo reply.
//
// Read RFC 792, RFC 1122 sections 3.2.2 and 3.2.2.6, RFC 1812 section 4.3.2, RFC 4443 section 2.4 first.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/wire/address.hpp>
#include <halfproxy/wire/parse.hpp>

#include <cstdint>

namespace halfproxy {

enum class icmp_problem : std::uint8_t { hops_exceeded, packet_too_big, no_route, host_unreachable, port_unreachable };

/// Longest error message, from its IP header on: what every IPv4 host takes (RFC 1812 section 4.3.2.3), IPv6's least MTU (RFC 4443 section 2.4 (c)).
inline constexpr std::uint32_t max_icmp_error_v4 = 576;
inline constexpr std::uint32_t max_icmp_error_v6 = 1280;

/// Longest frame of an error, behind an Ethernet header.
inline constexpr std::uint32_t max_icmp_error_frame = sizeof(ethernet_header) + max_icmp_error_v6;

/// Of IPv4 errors: internetwork control (RFC 1812 section 4.3.2.5).
inline constexpr std::uint8_t icmp_error_traffic_class = 0xc0;

/// Whether its sender may be told at all: not of what is wrong with an ICMP error, a redirect, a fragment other than the first, a frame or packet to a
/// group or broadcast, or from no single host. Malformed packets have no answer either.
[[nodiscard]] bool may_be_answered(const_packet_view const& packet) noexcept;

/// Makes the error to the packet's sender out of the frame: Ethernet addresses swapped, new IP and ICMP headers from `source` (of the packet's family),
/// behind them as much of the packet as the limits above hold. `mtu` is told with packet_too_big alone. The frame becomes an ordinary one, all
/// checksums complete. False, and nothing changed, when the packet may not be answered or the buffer has no room: the frame grows by at most 48 bytes.
[[nodiscard]] bool become_icmp_error(frame& f, const_packet_view const& packet, icmp_problem problem, ip_address const& source,
                                     std::uint32_t mtu = 0) noexcept;

/// An echo request, whole, to one host and right in its checksum; without IP options and extension headers.
[[nodiscard]] bool is_answerable_echo(frame const& f, const_packet_view const& packet) noexcept;

/// Makes the reply out of an answerable request: addresses swapped at both layers, type changed, checksums kept up.
void become_echo_reply(frame& f, const_packet_view const& packet) noexcept;

/// The addresses of a packet that is IP.
[[nodiscard]] ip_address source_address(const_packet_view const& packet) noexcept;
[[nodiscard]] ip_address destination_address(const_packet_view const& packet) noexcept;

}  // namespace halfproxy

#include <halfproxy/route/impl/icmp_answer.hpp>
