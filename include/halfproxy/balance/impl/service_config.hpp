// SPDX-License-Identifier: BSL-1.0
// What would be wrong with a service.
#pragma once

#include <halfproxy/balance/service_config.hpp>

namespace halfproxy {

namespace detail {

[[nodiscard]] constexpr bool is_unicast(ip_address const& a) noexcept {
    if (a.version == 4) return a.bytes[0] != 0 && a.bytes[0] != 127 && a.bytes[0] < 224;
    if (a.version != 6 || a.bytes[0] == 0xff) return false;
    return a.bytes != ipv6_bytes{} && a.bytes != ipv6_bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
}

[[nodiscard]] constexpr bool overlap(port_range const& a, port_range const& b) noexcept { return a.first <= b.last && b.first <= a.last; }

/// One port within a range, and a range within all, are no conflict: the narrower has it.
[[nodiscard]] inline bool conflict(service_config const& a, service_config const& b) noexcept {
    if (a.address != b.address || a.protocol != b.protocol || !overlap(a.ports, b.ports)) return false;
    auto const breadth = [](service_config const& s) { return s.is_one_port() ? 0 : s.is_every_port() ? 2 : 1; };
    return breadth(a) == breadth(b);
}

using fault = std::optional<service_fault>;

[[nodiscard]] inline fault fault_of_address(std::span<service_config const> all, std::size_t i) noexcept {
    service_config const& s = all[i];
    if (!is_unicast(s.address)) return service_fault{i, service_fault::none, "address", "is no unicast address"};
    if (s.protocol != ip_protocol::tcp && s.protocol != ip_protocol::udp) return service_fault{i, service_fault::none, "proto", "must be tcp or udp"};
    std::size_t ranges = 0;
    for (std::size_t j = 0; j < i; ++j)
        for (backend const& b : all[j].backends)
            if (b.address == s.address) return service_fault{i, service_fault::none, "address", "is a backend's of an earlier service: packets would go round"};
    for (std::size_t j = 0; j < all.size(); ++j) {
        if (j < i && s.same_service(all[j])) return service_fault{i, service_fault::none, "address", "is the address, port and protocol of an earlier service"};
        if (j < i && conflict(s, all[j])) return service_fault{i, service_fault::none, "port", "overlaps with the ports of an earlier service of this address"};
        ranges += j <= i && s.address == all[j].address && s.protocol == all[j].protocol && !all[j].is_one_port() ? 1 : 0;
    }
    if (ranges > most_ranges) return service_fault{i, service_fault::none, "port", "is the 17th range of this address and protocol: 16 are possible"};
    return std::nullopt;
}

/// Of how servers are told who their clients are. Kinds up to 8, and MD5's and AO's, mean something to every stack (RFC 9293, RFC 7323, RFC 2018, RFC 2385, RFC 5925).
[[nodiscard]] inline fault fault_of_telling(service_config const& s, std::size_t i) noexcept {
    auto const wrong = [i](std::string_view key, std::string_view what) { return service_fault{i, service_fault::none, key, what}; };
    bool const header = s.proxy != proxy_header::none, option = s.client_option != 0;
    if (header && s.protocol != ip_protocol::tcp) return wrong("proxy_protocol", "needs proto tcp");
    if (header && keeps_destination(s.mode)) return wrong("proxy_protocol", "needs mode dnat or fullnat");
    if (option && s.protocol != ip_protocol::tcp) return wrong("client_option", "needs proto tcp");
    if (option && keeps_destination(s.mode)) return wrong("client_option", "needs mode dnat or fullnat: with others servers see their clients' addresses");
    if (option && header) return wrong("client_option", "and proxy_protocol say the same: one of them");
    if (option && (s.client_option <= 8 || s.client_option == 19 || s.client_option == 29)) return wrong("client_option", "is the kind of an option that TCP ends use");
    return std::nullopt;
}

[[nodiscard]] inline fault fault_of_service(std::span<service_config const> all, std::size_t i) noexcept {
    service_config const& s = all[i];
    auto const wrong = [i](std::string_view key, std::string_view what) { return service_fault{i, service_fault::none, key, what}; };
    if (auto const f = fault_of_address(all, i)) return f;
    if (auto const f = fault_of_telling(s, i)) return f;
    if (s.tunnel.source4.version == 6) return wrong("tunnel_source", "must be an IPv4 address");
    if (s.tunnel.source6.version == 4) return wrong("tunnel_source6", "must be an IPv6 address");
    if (s.tunnel.source4 == s.address || s.tunnel.source6 == s.address) return wrong("tunnel_source", "is the service's own address");
    if (s.table_size != 0 && !has_table(s.scheduler)) return wrong("table_size", "belongs to the schedulers maglev and source_hash");
    if (s.table_size > largest_maglev_size) return wrong("table_size", "must be at most 1048573");
    if (s.prefixes.v4 > 32 || s.prefixes.v6 > 128) return wrong("persistence_prefix", "is longer than an address");
    if (s.group != 0 && s.persistence == 0) return wrong("persistence_group", "needs persistence");
    if (s.health)
        if (auto const f = fault_of(*s.health)) return wrong("health", f->what);
    if (s.backends.empty()) return wrong("backend", "is missing: a service needs at least one");
    if (s.backends.size() > most_backends) return wrong("backend", "has more than 4096 entries");
    std::uint32_t weights = 0;
    for (backend const& b : s.backends) weights += b.weight;
    if (weights == 0) return wrong("backend", "has weight 0 everywhere: nobody would ever be served");
    if (s.table_size != 0 && s.table_size < s.backends.size() * 100) return wrong("table_size", "must be at least 100 times the number of backends");
    return std::nullopt;
}

/// What must go into a tunnel in one piece: RFC 8200 section 5; of IPv4 what every host takes (RFC 791 section 3.1).
[[nodiscard]] constexpr int least_packet(std::uint8_t version) noexcept { return version == 4 ? 576 : 1'280; }

[[nodiscard]] inline fault fault_of_reaching(service_config const& s, backend const& b, stations how) noexcept {
    auto const wrong = [](std::string_view key, std::string_view what) { return service_fault{0, 0, key, what}; };
    if (!keeps_destination(s.mode) && b.address.version != s.address.version)
        return wrong("address", "is of another family than the service: that needs NAT64, which services have not");
    if (s.mode == forward_mode::ipip && s.tunnel.source_for(b.address.version).version != b.address.version && how == stations::configured)
        return wrong("address", "cannot be reached: the service has no tunnel_source (IPv4) or tunnel_source6 (IPv6) of this family");
    if (s.mode == forward_mode::ipip && s.tunnel.source_for(b.address.version) == b.address) return wrong("address", "is the tunnel's own source");
    if (s.mode == forward_mode::ipip && s.tunnel.mtu < least_packet(s.address.version) + s.tunnel.overhead(b.address.version))
        return wrong("address", "is behind a tunnel whose tunnel_mtu leaves less than 1280 bytes to IPv6 packets, or than 576 to IPv4's");
    if (keeps_destination(s.mode) && b.port != 0) return wrong("port", "cannot differ from the service's with a mode that does not rewrite packets");
    if (goes_by_station(s.mode) && how == stations::configured && b.station == station_address{})
        return wrong("mac", "is missing: this mode goes by the station's address");
    if (b.station[0] & 1) return wrong("mac", "is a group's address");
    return std::nullopt;
}

[[nodiscard]] inline fault fault_of_backend(std::span<service_config const> all, service_config const& s, std::size_t j, stations how) noexcept {
    auto const wrong = [](std::string_view key, std::string_view what) { return service_fault{0, 0, key, what}; };
    backend const& b = s.backends[j];
    if (!is_unicast(b.address)) return wrong("address", "is no unicast address");
    for (service_config const& other : all)
        if (other.address == b.address) return wrong("address", "is the virtual address of a service: packets would go round");
    for (std::size_t k = 0; k < j; ++k) {
        if (b.same_server(s.backends[k])) return wrong("address", "is the address and port of an earlier backend of this service");
        if (s.group != 0 && b.address == s.backends[k].address)
            return wrong("address", "is an earlier backend's, and a persistence_group tells backends apart by their addresses");
    }
    if (b.priority >= most_priorities) return wrong("priority", "must be from 0 to 7");
    if (b.connections == 0) return wrong("connections", "must be at least 1; weight = 0 takes nothing new");
    if (b.new_connections_per_s == 0) return wrong("new_connections_per_s", "must be at least 1; weight = 0 takes nothing new");
    return fault_of_reaching(s, b, how);
}

}  // namespace detail

inline std::optional<service_fault> fault_of(std::span<service_config const> services, stations how) noexcept {
    if (services.size() > most_services) return service_fault{most_services, service_fault::none, "address", "is of one service too many: 4096 are possible"};
    for (std::size_t i = 0; i < services.size(); ++i) {
        if (auto const f = detail::fault_of_service(services, i)) return f;
        for (std::size_t j = 0; j < services[i].backends.size(); ++j)
            if (auto const f = detail::fault_of_backend(services, services[i], j, how)) return service_fault{i, j, f->key, f->what};
    }
    return std::nullopt;
}

inline std::optional<service_fault> fault_of_last(std::span<service_config const> services) noexcept {
    return detail::fault_of_service(services, services.size() - 1);
}

inline std::optional<service_fault> fault_of_last_backend(std::span<service_config const> services, stations how) noexcept {
    std::size_t const i = services.size() - 1, j = services[i].backends.size() - 1;
    auto const f = detail::fault_of_backend(services, services[i], j, how);
    return f ? std::optional(service_fault{i, j, f->key, f->what}) : std::nullopt;
}

}  // namespace halfproxy
