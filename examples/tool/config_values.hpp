// SPDX-License-Identifier: BSL-1.0
// Configuration values as text: prefixes, ports, protocols, seconds, secrets.
#pragma once

#include <halfproxy/balance/backend.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/engine/config.hpp>
#include <halfproxy/wire/address.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace halfproxy::tool {

enum class presence : std::uint8_t { optional, required };

/// The longest time a record's stamps can express, with room for the wheel: 24 days.
inline constexpr std::uint32_t longest_timeout_s = 2'073'600;

/// The parsers throw std::invalid_argument with half a sentence: "is no address", "has bits set behind its length; ...".

/// "192.0.2.1", "2001:db8::1"
[[nodiscard]] ip_address parse_address(std::string_view text);
[[nodiscard]] std::string to_text(ip_address const& address);

/// "any", "192.0.2.0/24", "2001:db8::1"
[[nodiscard]] ip_prefix parse_prefix(std::string_view text);
[[nodiscard]] std::string to_text(ip_prefix const& prefix);

/// "192.0.2.1/24", "2001:db8::1/64": a host's address in its prefix.
[[nodiscard]] ip_prefix parse_address_with_length(std::string_view text);

/// "any", "80", "1024-65535"
[[nodiscard]] port_range parse_ports(std::string_view text);
[[nodiscard]] std::string to_text(port_range const& ports);

/// "200", "200-399": statuses of HTTP
[[nodiscard]] port_range parse_statuses(std::string_view text);

/// "any", "tcp", "udp", "icmp", "icmpv6" or an IP protocol number
[[nodiscard]] std::optional<std::uint8_t> parse_protocol(std::string_view text);
[[nodiscard]] std::string to_text(std::optional<std::uint8_t> const& protocol);

/// "02:00:00:00:00:01"
[[nodiscard]] station_address parse_station(std::string_view text);
[[nodiscard]] std::string to_text(station_address const& station);

/// 32 hexadecimal digits
[[nodiscard]] secret_key parse_secret(std::string_view text);

/// "30", "0.25"
[[nodiscard]] std::string seconds_text(timeout_ms milliseconds);

[[nodiscard]] bool same_family(ip_prefix const& a, ip_prefix const& b) noexcept;
[[nodiscard]] bool has_ports(std::optional<std::uint8_t> const& protocol) noexcept;
[[nodiscard]] bool is_every_port(port_range const& ports) noexcept;

}  // namespace halfproxy::tool
