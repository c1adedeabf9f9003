// SPDX-License-Identifier: BSL-1.0
// Addresses and ports of a packet, replaced in place.
//
// Read RFC 3022 section 4 and RFC 5508 first.
#pragma once

#include <halfproxy/translate/rewrite.hpp>
#include <halfproxy/wire/headers.hpp>

#include <cstdint>

namespace halfproxy {

/// Addresses and ports a packet is to have, in host order (IPv6 addresses as bytes). The identifier of an ICMP
/// query stands in both ports.
template <class Address>
struct nat_endpoints {
    Address source{};
    Address destination{};
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
};

/// Writes addresses, ports and ICMP query identifiers, and keeps the checksums as `Checksum` does. Stateless: which endpoints a
/// packet gets is its caller's business. Only fields that differ are written.
template <checksum_policy Checksum = incremental_checksum>
class nat_rewriter {
  public:
    /// Replaces and commits. Needs a parsed IPv4 or IPv6 packet of the family of Address. A later fragment has no ports: only its
    /// addresses change.
    template <class Address>
    static void rewrite(packet_view const& packet, nat_endpoints<Address> const& to, checksum_state& state) noexcept {
        header_changes changes;
        replace(packet, to, changes);
        Checksum::commit(packet, changes, state);
    }

    /// Replaces, and notes the changes for a commit of the caller, who may change more.
    static void replace(packet_view const& packet, nat_endpoints<std::uint32_t> const& to, header_changes& changes) noexcept;
    static void replace(packet_view const& packet, nat_endpoints<ipv6_bytes> const& to, header_changes& changes) noexcept;

  private:
    static void replace_ports(packet_view const& packet, std::uint16_t source, std::uint16_t destination,
                              header_changes& changes) noexcept;
};

}  // namespace halfproxy

#include <halfproxy/translate/impl/nat_rewriter.hpp>
