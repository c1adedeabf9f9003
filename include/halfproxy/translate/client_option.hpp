// SPDX-License-Identifier: BSL-1.0
// A TCP option that tells a server who the client is, where a header in the stream is not wanted.
//
// Read RFC 9293 section 3.1 and RFC 6994 first. The layout is that of TOA ("TCP option address"), which several load balancers and the modules on
// their servers use: kind, length, port, address; 8 bytes over IPv4, 20 over IPv6.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/translate/option_edit.hpp>
#include <halfproxy/wire/parse.hpp>

#include <cstdint>

namespace halfproxy {

inline constexpr std::uint8_t client_option_kind = 254;  // experimental (RFC 4727), and what TOA is by custom

/// Puts the option first among those of a segment towards the server: the ACK that ends the handshake, or the first data, which servers'
/// modules look at. False, and nothing changed, where there is no room: in the TCP header (60 bytes), in the frame, in `mtu` (of the IP packet), in
/// a fragment or one of a device's large segments. `packet` must be the frame's; it is not valid afterwards.
bool insert_client_address(frame& f, packet_view const& packet, std::uint8_t kind, std::uint32_t address, std::uint16_t port,
                           std::uint16_t mtu) noexcept;
bool insert_client_address(frame& f, packet_view const& packet, std::uint8_t kind, ipv6_bytes const& address, std::uint16_t port,
                           std::uint16_t mtu) noexcept;

}  // namespace halfproxy

#include <halfproxy/translate/impl/client_option.hpp>
