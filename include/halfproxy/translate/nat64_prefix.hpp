// SPDX-License-Identifier: BSL-1.0
// IPv4 addresses embedded in IPv6 ones.
//
// Read RFC 6052 section 2 first.
#pragma once

#include <halfproxy/wire/address.hpp>
#include <halfproxy/wire/headers.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace halfproxy {

/// A prefix under which every IPv4 address stands for itself: behind a prefix of 32, 40, 48, 56, 64 or 96 bits, with bits 64 to 71 left
/// out, which are 0 (section 2.2).
class nat64_prefix {
  public:
    /// 64:ff9b::/96, the well-known one (section 2.1).
    constexpr nat64_prefix() noexcept : nat64_prefix(ip_prefix{ip_address::v6({0x00, 0x64, 0xff, 0x9b}), 96}) {}

    /// Needs can_embed(prefix).
    constexpr explicit nat64_prefix(ip_prefix const& prefix) noexcept : prefix_(prefix) {}

    /// The length is one of the six, and bits 64 to 71 and those behind the prefix are 0.
    [[nodiscard]] static constexpr bool can_embed(ip_prefix const& prefix) noexcept {
        unsigned const length = prefix.length;
        if (prefix.address.version != 6 || length < 32 || (length > 64 && length != 96) || length % 8 != 0) return false;
        for (std::size_t i = length / 8; i < 16; ++i)
            if (prefix.address.bytes[i] != 0) return false;
        return prefix.address.bytes[reserved] == 0;
    }

    [[nodiscard]] constexpr std::optional<ipv6_bytes> to_v6(std::uint32_t four) const noexcept {
        ipv6_bytes six = prefix_.address.bytes;
        for (unsigned i = 0; i < 4; ++i) six[place(i)] = static_cast<std::uint8_t>(four >> (24 - 8 * i));
        return six;
    }

    /// Nothing for an address outside the prefix or with bits 64 to 71 set. What stands behind the embedded address is ignored (section 2.2).
    [[nodiscard]] constexpr std::optional<std::uint32_t> to_v4(ipv6_bytes const& six) const noexcept {
        if (!prefix_.contains(ip_address::v6(six)) || six[reserved] != 0) return std::nullopt;
        std::uint32_t four = 0;
        for (unsigned i = 0; i < 4; ++i) four = four << 8 | six[place(i)];
        return four;
    }

    [[nodiscard]] constexpr ip_prefix const& prefix() const noexcept { return prefix_; }

  private:
    static constexpr std::size_t reserved = 8;  ///< the byte of bits 64 to 71

    /// Of the i-th byte of the IPv4 address.
    [[nodiscard]] constexpr std::size_t place(unsigned i) const noexcept {
        std::size_t const at = prefix_.length / 8u + i;
        return prefix_.length <= 64 && at >= reserved ? at + 1 : at;
    }

    ip_prefix prefix_;
};

}  // namespace halfproxy
