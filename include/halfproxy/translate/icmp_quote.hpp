// SPDX-License-Identifier: BSL-1.0
// The packet an ICMP error quotes, rewritten as its receiver once sent it, so that it recognises it.
//
// Read RFC 5508 section 4 and RFC 5927 first.
#pragma once

#include <halfproxy/translate/nat_rewriter.hpp>
#include <halfproxy/translate/rewrite.hpp>
#include <halfproxy/wire/parse.hpp>

#include <cstdint>

namespace halfproxy {

/// What the quoted packet is to say. `sequence` and `acknowledgment` are added to a quoted TCP header's numbers.
template <class Address>
struct quote_changes {
    nat_endpoints<Address> endpoints{};
    std::uint32_t sequence = 0;
    std::uint32_t acknowledgment = 0;
};

/// Rewrites `quoted` (from parse_quoted(error), with has_transport, or of a protocol without ports) in place, its own checksums as far as they were quoted, and notes for the
/// outer ICMP checksum all that changed. Fields beyond the quote's end are left alone.
template <class Address>
void rewrite_quote(packet_view const& error, packet_view const& quoted, quote_changes<Address> const& to,
                   header_changes& outer) noexcept;

}  // namespace halfproxy

#include <halfproxy/translate/impl/icmp_quote.hpp>
