// SPDX-License-Identifier: BSL-1.0
// TCP Fast Open's option taken out of a SYN or SYN-ACK.
//
// Read RFC 7413 sections 4.1.1 and 4.2 and RFC 6994 first.
#pragma once

#include <halfproxy/translate/rewrite.hpp>
#include <halfproxy/wire/parse.hpp>
#include <halfproxy/wire/tcp_options.hpp>

namespace halfproxy {

/// Under its own kind, or under an experimental one with Fast Open's identifier.
[[nodiscard]] bool is_fast_open(tcp_option_view const& option) noexcept;

/// Puts no-operations in its place, so that no length changes: the server then gives out no cookie and takes no data on the SYN, which the
/// client sends again. Notes what the checksum needs in `changes`. At most 40 steps.
void blank_fast_open(packet_view const& packet, header_changes& changes) noexcept;

}  // namespace halfproxy

#include <halfproxy/translate/impl/fast_open.hpp>
