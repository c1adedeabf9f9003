// SPDX-License-Identifier: BSL-1.0
// What stands between the link header and the flow's IP layer: labels, sessions, and tunnels without ports.
#pragma once

#include <halfproxy/wire/parse.hpp>

namespace halfproxy::tool {

/// Encapsulations beyond these are not followed.
inline constexpr int max_encapsulations = 6;

/// Follows MPLS (RFC 3032), PPPoE sessions (RFC 2516), Cisco FabricPath, IP in IP (RFC 2003, RFC 4213) and GRE (RFC
/// 2784) to the packet inside. Tunnels over UDP are flows of their own and are not opened. The answer looks at a part
/// of the frame's bytes; it is no IP packet when there is none.
[[nodiscard]] const_packet_view find_flow_packet(link_type link, byte_view frame, std::size_t wire_length) noexcept;

}  // namespace halfproxy::tool
