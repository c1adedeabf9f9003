// SPDX-License-Identifier: BSL-1.0
// The header that tells a server, before anything else on a connection, who the client is: the PROXY protocol, versions 1 and 2.
//
// Read HAProxy's doc/proxy-protocol.txt, sections 2.1 (version 1) and 2.2 (version 2), first.
#pragma once

#include <halfproxy/core/bytes.hpp>
#include <halfproxy/translate/nat_rewriter.hpp>
#include <halfproxy/translate/rewrite.hpp>
#include <halfproxy/wire/headers.hpp>
#include <halfproxy/wire/parse.hpp>
#include <halfproxy/wire/seq.hpp>

#include <cstddef>
#include <cstdint>

namespace halfproxy {

enum class proxy_protocol : std::uint8_t {
    none,
    v1,  ///< a line of text
    v2,  ///< binary: 28 bytes over IPv4, 52 over IPv6
};

/// Version 1 over IPv6 with everything at its longest (section 2.1, without its 0-byte).
inline constexpr std::size_t longest_proxy_header = 104;

/// Writes the header for a TCP connection from the source to the destination of `ends`, as the client sees them. Returns its bytes; 0 when `out` is
/// shorter, and for `none`. IPv6 addresses in text are written in full, without leading zeros.
[[nodiscard]] std::size_t write_proxy_header(byte_span out, proxy_protocol version, nat_endpoints<std::uint32_t> const& ends) noexcept;
[[nodiscard]] std::size_t write_proxy_header(byte_span out, proxy_protocol version, nat_endpoints<ipv6_bytes> const& ends) noexcept;

/// What a server sends while it has not acknowledged the whole header, shown to a client that knows of none: its acknowledgment becomes `least`, the
/// first byte of the client's own, and the window, of this scale, ends where it did. Nothing changes in a segment that acknowledges so much or
/// nothing.
void hide_header(packet_view const& packet, seq_num least, std::uint8_t window_scale, header_changes& changes) noexcept;

}  // namespace halfproxy

#include <halfproxy/translate/impl/proxy_protocol.hpp>
