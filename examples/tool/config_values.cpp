// SPDX-License-Identifier: BSL-1.0
// Configuration values as text.
#include "config_values.hpp"

#include <halfproxy/wire/headers.hpp>

#include <fmt/format.h>
#include <boost/asio/ip/address.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>

namespace halfproxy::tool {
namespace {

namespace ip = boost::asio::ip;

struct protocol_name {
    std::string_view name;
    std::uint8_t number;
};
constexpr std::array protocol_names{protocol_name{"tcp", ip_protocol::tcp}, protocol_name{"udp", ip_protocol::udp},
                                    protocol_name{"icmp", ip_protocol::icmp},
                                    protocol_name{"icmpv6", ip_protocol::icmpv6}};

std::optional<std::uint32_t> decimal(std::string_view text) {
    std::uint32_t value = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

ip_address masked(ip_address address, std::uint8_t length) {
    for (std::size_t i = 0; i < address.bytes.size(); ++i) {
        std::size_t const kept = std::clamp<std::size_t>(length, 8 * i, 8 * i + 8) - 8 * i;
        address.bytes[i] = static_cast<std::uint8_t>(address.bytes[i] & (0xff00u >> kept));
    }
    return address;
}

std::uint16_t parse_port(std::string_view text) {
    auto const port = decimal(text);
    if (!port || *port == 0 || *port > 65'535)
        throw std::invalid_argument("is no port from 1 to 65535, nor a range \"a-b\" of them");
    return static_cast<std::uint16_t>(*port);
}

}  // namespace

ip_address parse_address(std::string_view text) {
    boost::system::error_code error;
    ip::address const parsed = ip::make_address(std::string{text}, error);
    if (error || text.find('%') != std::string_view::npos)
        throw std::invalid_argument("is neither an IPv4 nor an IPv6 address or prefix (192.0.2.0/24, 2001:db8::/32)");
    return parsed.is_v4() ? ip_address::v4(parsed.to_v4().to_uint()) : ip_address::v6(parsed.to_v6().to_bytes());
}

std::string to_text(ip_address const& a) {
    return a.version == 4 ? ip::address_v4(a.to_v4()).to_string() : ip::address_v6(a.bytes).to_string();
}

ip_prefix parse_prefix(std::string_view text) {
    if (text == "any") return {};
    std::size_t const slash = text.find('/');
    ip_address const address = parse_address(text.substr(0, slash));
    std::uint32_t const longest = address.version == 4 ? 32 : 128;
    auto const length = slash == std::string_view::npos ? longest : decimal(text.substr(slash + 1));
    if (!length || *length > longest)
        throw std::invalid_argument(fmt::format("has a prefix length that is not from 0 to {}", longest));
    ip_prefix const prefix{address, static_cast<std::uint8_t>(*length)};
    if (ip_prefix const right{masked(address, prefix.length), prefix.length}; right.address != address)
        throw std::invalid_argument(
            fmt::format("has bits set behind its length; \"{}\" was probably meant", to_text(right)));
    return prefix;
}

ip_prefix parse_address_with_length(std::string_view text) {
    std::size_t const slash = text.find('/');
    ip_address const address = parse_address(text.substr(0, slash));
    std::uint32_t const longest = address.version == 4 ? 32 : 128;
    auto const length = slash == std::string_view::npos ? std::nullopt : decimal(text.substr(slash + 1));
    if (!length || *length > longest)
        throw std::invalid_argument(fmt::format("needs the length of its prefix, from 0 to {}, as in \"{}/{}\"", longest, to_text(address),
                                                address.version == 4 ? 24 : 64));
    return {address, static_cast<std::uint8_t>(*length)};
}

std::string to_text(ip_prefix const& prefix) {
    if (prefix.address.version == 0) return "any";
    return fmt::format("{}/{}", to_text(prefix.address), prefix.length);
}

port_range parse_ports(std::string_view text) {
    if (text == "any") return {};
    std::size_t const dash = text.find('-');
    std::uint16_t const first = parse_port(text.substr(0, dash));
    if (dash == std::string_view::npos) return {first, first};
    std::uint16_t const last = parse_port(text.substr(dash + 1));
    if (last < first) throw std::invalid_argument("is a range that ends before it begins");
    return {first, last};
}

port_range parse_statuses(std::string_view text) {
    std::size_t const dash = text.find('-');
    auto const first = decimal(text.substr(0, dash)), last = decimal(text.substr(dash == std::string_view::npos ? 0 : dash + 1));
    if (!first || !last || *first < 100 || *last > 599 || *last < *first)
        throw std::invalid_argument("is no status from 100 to 599, nor a range \"a-b\" of them");
    return {static_cast<std::uint16_t>(*first), static_cast<std::uint16_t>(*last)};
}

std::string to_text(port_range const& ports) {
    if (is_every_port(ports)) return "any";
    return ports.first == ports.last ? fmt::format("{}", ports.first) : fmt::format("{}-{}", ports.first, ports.last);
}

std::optional<std::uint8_t> parse_protocol(std::string_view text) {
    if (text == "any") return std::nullopt;
    for (auto const& p : protocol_names)
        if (p.name == text) return p.number;
    auto const number = decimal(text);
    if (!number || *number > 255)
        throw std::invalid_argument("is none of any, tcp, udp, icmp, icmpv6, nor a protocol number from 0 to 255");
    return static_cast<std::uint8_t>(*number);
}

std::string to_text(std::optional<std::uint8_t> const& protocol) {
    if (!protocol) return "any";
    for (auto const& p : protocol_names)
        if (p.number == *protocol) return std::string{p.name};
    return fmt::format("{}", *protocol);
}

station_address parse_station(std::string_view text) {
    station_address station{};
    auto const wrong = std::invalid_argument("is no Ethernet address (02:00:00:00:00:01)");
    if (text.size() != 3 * station.size() - 1) throw wrong;
    for (std::size_t i = 0; i < station.size(); ++i) {
        char const* const digits = text.data() + 3 * i;
        auto const [end, error] = std::from_chars(digits, digits + 2, station[i], 16);
        bool const separated = i + 1 == station.size() || digits[2] == ':';
        if (error != std::errc{} || end != digits + 2 || !separated) throw wrong;
    }
    return station;
}

std::string to_text(station_address const& station) { return fmt::format("{:02x}", fmt::join(station, ":")); }

secret_key parse_secret(std::string_view text) {
    secret_key key;
    auto const wrong = std::invalid_argument("must be 32 hexadecimal digits (openssl rand -hex 16 makes some)");
    if (text.size() != 2 * key.bytes.size()) throw wrong;
    for (std::size_t i = 0; i < key.bytes.size(); ++i) {
        char const* const digits = text.data() + 2 * i;
        auto const [end, error] = std::from_chars(digits, digits + 2, key.bytes[i], 16);
        if (error != std::errc{} || end != digits + 2) throw wrong;
    }
    return key;
}

std::string seconds_text(timeout_ms milliseconds) {
    if (milliseconds % 1000 == 0) return fmt::format("{}", milliseconds / 1000);
    return fmt::format("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
}

bool same_family(ip_prefix const& a, ip_prefix const& b) noexcept {
    return a.address.version == 0 || b.address.version == 0 || a.address.version == b.address.version;
}

bool has_ports(std::optional<std::uint8_t> const& protocol) noexcept {
    return protocol && (*protocol == ip_protocol::tcp || *protocol == ip_protocol::udp);
}

bool is_every_port(port_range const& ports) noexcept { return ports.first == 0 && ports.last == 65'535; }

}  // namespace halfproxy::tool
