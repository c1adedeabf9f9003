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

/// All addresses that share the first `length` bits. version 0 contains every address of either family.
struct ip_prefix {
    ip_address address{};
    std::uint8_t length = 0;

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

    [[nodiscard]] constexpr bool contains(std::uint16_t port) const noexcept { return first <= port && port <= last; }
};

}  // namespace halfproxy
