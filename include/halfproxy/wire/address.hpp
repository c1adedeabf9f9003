// SPDX-License-Identifier: BSL-1.0
// IP addresses and prefixes of both families as one type, for rules and configuration. Text is Boost.Asio's business.
#pragma once

#include <halfproxy/wire/headers.hpp>

#include <array>
#include <cstdint>

namespace halfproxy {

/// An IPv4 or IPv6 address in network byte order; IPv4 uses the first 4 bytes, the rest are 0.
struct ip_address {
    std::uint8_t version = 0;  ///< 4, 6, or 0: none
    ipv6_bytes bytes{};

    friend bool operator==(ip_address const&, ip_address const&) noexcept = default;

    [[nodiscard]] static constexpr ip_address v4(std::uint32_t host_order) noexcept {
        ip_address a{4, {}};
        for (unsigned i = 0; i < 4; ++i) a.bytes[i] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
        return a;
    }
    [[nodiscard]] static constexpr ip_address v6(ipv6_bytes const& bytes) noexcept { return {6, bytes}; }
    [[nodiscard]] constexpr std::uint32_t to_v4() const noexcept {
        return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
    }
};

/// Class D and above (multicast, reserved, broadcast); ff00::/8.
[[nodiscard]] constexpr bool is_group(ip_address const& a) noexcept { return a.version == 4 ? a.bytes[0] >= 0xe0 : a.bytes[0] == 0xff; }

/// Stays on its link: 169.254.0.0/16 (RFC 3927 section 2.7), fe80::/10 (RFC 4291 section 2.5.6).
[[nodiscard]] constexpr bool is_link_local(ip_address const& a) noexcept {
    if (a.version == 4) return a.bytes[0] == 169 && a.bytes[1] == 254;
    return a.bytes[0] == 0xfe && (a.bytes[1] & 0xc0) == 0x80;
}

/// Unspecified or loopback, of IPv4 the whole networks 0 and 127: never on a wire.
[[nodiscard]] constexpr bool is_nowhere(ip_address const& a) noexcept {
    if (a.version == 4) return a.bytes[0] == 0 || a.bytes[0] == 127;
    for (std::size_t i = 0; i + 1 < a.bytes.size(); ++i)
        if (a.bytes[i] != 0) return false;
    return a.bytes[15] <= 1;
}

/// One host can have it and send from it across links.
[[nodiscard]] constexpr bool is_host(ip_address const& a) noexcept { return a.version != 0 && !is_group(a) && !is_nowhere(a); }

/// All addresses that share the first `length` bits. version 0 contains every address of either family.
struct ip_prefix {
    ip_address address{};
    std::uint8_t length = 0;

    friend bool operator==(ip_prefix const&, ip_prefix const&) noexcept = default;

    [[nodiscard]] constexpr bool contains(ip_address const& a) const noexcept {
        if (address.version == 0) return true;
        if (address.version != a.version) return false;
        std::size_t const whole = length / 8u;
        for (std::size_t i = 0; i < whole; ++i)
            if (address.bytes[i] != a.bytes[i]) return false;
        unsigned const rest = length % 8u;
        if (rest == 0) return true;
        return ((address.bytes[whole] ^ a.bytes[whole]) >> (8 - rest)) == 0;
    }
};

struct port_range {
    std::uint16_t first = 0;
    std::uint16_t last = 65535;  ///< inclusive

    friend bool operator==(port_range const&, port_range const&) noexcept = default;

    [[nodiscard]] constexpr bool contains(std::uint16_t port) const noexcept { return first <= port && port <= last; }
};

}  // namespace halfproxy
