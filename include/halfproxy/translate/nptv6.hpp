// SPDX-License-Identifier: BSL-1.0
// IPv6-to-IPv6 network prefix translation: one prefix for another, without state and without touching a checksum.
//
// Read RFC 6296 section 3 first.
#pragma once

#include <halfproxy/wire/address.hpp>
#include <halfproxy/wire/parse.hpp>

#include <array>
#include <cstdint>
#include <optional>

namespace halfproxy {

/// Both ways between two prefixes of the same length (where one is shorter, it is taken as extended with zeros to the length of the other, RFC 6296
/// section 3.1). The one's complement sum of an address stays what it was: one of its words, which no prefix covers, takes up the difference.
/// So the transport's checksum, encrypted or not, and that of an ICMPv6 error that quotes the address stay right.
class nptv6 {
  public:
    /// False for prefixes that are no IPv6 prefixes, longer than /112 (no word is left), or the same.
    [[nodiscard]] static constexpr bool can_translate(ip_prefix const& inside, ip_prefix const& outside) noexcept;

    /// Needs can_translate(inside, outside).
    constexpr nptv6(ip_prefix const& inside, ip_prefix const& outside) noexcept;

    [[nodiscard]] constexpr bool is_inside(ipv6_bytes const& a) const noexcept { return inside_.contains(ip_address::v6(a)); }
    [[nodiscard]] constexpr bool is_outside(ipv6_bytes const& a) const noexcept { return outside_.contains(ip_address::v6(a)); }

    /// The outside address of an inside one, and the other way round. Nothing for an address that no other one stands for: with prefixes up to /48
    /// subnet 0xffff, beyond an interface identifier of which all words that may change are 0xffff (sections 3.4 and 3.5).
    [[nodiscard]] constexpr std::optional<ipv6_bytes> to_outside(ipv6_bytes const& a) const noexcept {
        return translated(a, outside_, adjustment_);
    }
    [[nodiscard]] constexpr std::optional<ipv6_bytes> to_inside(ipv6_bytes const& a) const noexcept {
        return translated(a, inside_, static_cast<std::uint16_t>(~adjustment_));
    }

  private:
    [[nodiscard]] constexpr std::optional<ipv6_bytes> translated(ipv6_bytes a, ip_prefix const& to, std::uint16_t adjustment) const noexcept;

    ip_prefix inside_;
    ip_prefix outside_;
    std::uint16_t adjustment_;  ///< added to an inside address, it makes good for the prefix: sum of `inside` less sum of `outside`
};

/// What became of a packet.
enum class nptv6_outcome : std::uint8_t {
    untouched,       ///< none of its addresses lies in the prefix
    translated,
    untranslatable,  ///< nothing has changed; its sender should hear ICMPv6 "no route" (section 3.4) or "parameter problem" (section 3.5)
};

/// A packet on its way out: its source is translated. Of an ICMPv6 error also the destination of the packet it quotes, which came in under
/// the outside address.
[[nodiscard]] nptv6_outcome translate_outbound(packet_view const& packet, nptv6 const& prefixes) noexcept;

/// A packet on its way in: its destination, and the quoted source.
[[nodiscard]] nptv6_outcome translate_inbound(packet_view const& packet, nptv6 const& prefixes) noexcept;

}  // namespace halfproxy

#include <halfproxy/translate/impl/nptv6.hpp>
