// SPDX-License-Identifier: BSL-1.0
// What is wrong with services is found before they are used, and where.
#include <halfproxy/balance/service_config.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <string>

using namespace halfproxy;

namespace {

ip_address v6(std::uint8_t last) { return ip_address::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last}); }

std::vector<service_config> two_services() {
    std::vector<service_config> all(2);
    for (std::size_t i = 0; i < 2; ++i) {
        all[i].address = ip_address::v4(0xcb00'7101);
        all[i].ports = {static_cast<std::uint16_t>(80 + i), static_cast<std::uint16_t>(80 + i)};
        all[i].backends.resize(2);
        for (std::uint32_t j = 0; j < 2; ++j) {
            all[i].backends[j].address = ip_address::v4(0x0a00'0001u + j);
            all[i].backends[j].port = 8080;
        }
    }
    return all;
}

/// "service[.backend] key: what"
std::string said(std::vector<service_config> const& all, stations how = stations::configured) {
    auto const f = fault_of(all, how);
    if (!f) return "";
    std::string out = std::to_string(f->service);
    if (f->backend != service_fault::none) out += "." + std::to_string(f->backend);
    return out + " " + std::string(f->key) + ": " + std::string(f->what);
}

std::string said_after(std::function<void(std::vector<service_config>&)> const& change, stations how = stations::configured) {
    std::vector<service_config> all = two_services();
    change(all);
    return said(all, how);
}

}  // namespace

TEST_CASE("services without a fault have none, in every mode") {
    CHECK(said(two_services()) == "");
    for (forward_mode const mode : {forward_mode::fullnat, forward_mode::ipip, forward_mode::dsr, forward_mode::transparent}) {
        CHECK(said_after([mode](auto& all) {
                  all[1].mode = mode;
                  all[1].tunnel.source4 = ip_address::v4(0x0a0000fe);
                  for (backend& b : all[1].backends) {
                      b.station = {2, 0, 0, 0, 0, 1};
                      if (keeps_destination(mode)) b.port = 0;
                  }
              }) == "");
    }
    CHECK(said({}) == "");
}

TEST_CASE("a service that is there twice, or whose ports overlap") {
    CHECK(said_after([](auto& all) { all[1].ports = {80, 80}; }) == "1 address: is the address, port and protocol of an earlier service");
    CHECK(said_after([](auto& all) { all[0].ports = {80, 90}; all[1].ports = {85, 95}; }) ==
          "1 port: overlaps with the ports of an earlier service of this address");
    CHECK(said_after([](auto& all) { all[0].ports = {80, 90}; all[1].ports = {85, 85}; }) == "");
    CHECK(said_after([](auto& all) { all[0].ports = {0, 65535}; all[1].ports = {85, 95}; }) == "");
    CHECK(said_after([](auto& all) { all[1].ports = {80, 80}; all[1].protocol = ip_protocol::udp; }) == "");
    std::vector<service_config> many(17, two_services()[0]);
    for (std::size_t i = 0; i < many.size(); ++i) many[i].ports = {static_cast<std::uint16_t>(100 * i + 1), static_cast<std::uint16_t>(100 * i + 9)};
    CHECK(said(many) == "16 port: is the 17th range of this address and protocol: 16 are possible");
}

TEST_CASE("a virtual address that is a backend's") {
    CHECK(said_after([](auto& all) { all[0].backends[1].address = all[0].address; }) == "0.1 address: is the virtual address of a service: packets would go round");
    CHECK(said_after([](auto& all) {
              all[1].address = ip_address::v4(0x0a00'0002);
              all[1].backends.pop_back();
          }) == "0.1 address: is the virtual address of a service: packets would go round");
}

TEST_CASE("who reads services one by one hears of the last one's faults, and of its last backend's") {
    std::vector<service_config> all = two_services();
    CHECK_FALSE(fault_of_last(all));
    CHECK_FALSE(fault_of_last_backend(all, stations::configured));
    all[1].address = ip_address::v4(0x0a00'0002);
    all[1].backends.pop_back();
    auto const known = fault_of_last(all);
    REQUIRE(known);
    CHECK(known->service == 1);
    CHECK(known->what == "is a backend's of an earlier service: packets would go round");
    all[1] = all[0];
    all[1].ports = {81, 81};
    all[1].backends[1].weight = 0;
    all[1].backends[1].priority = 8;
    auto const backend = fault_of_last_backend(all, stations::configured);
    REQUIRE(backend);
    CHECK(backend->service == 1);
    CHECK(backend->backend == 1);
    CHECK(backend->key == "priority");
}

TEST_CASE("nobody to serve: no backend, or weight 0 everywhere") {
    CHECK(said_after([](auto& all) { all[1].backends.clear(); }) == "1 backend: is missing: a service needs at least one");
    CHECK(said_after([](auto& all) { for (backend& b : all[0].backends) b.weight = 0; }) == "0 backend: has weight 0 everywhere: nobody would ever be served");
    CHECK(said_after([](auto& all) { all[0].backends[0].weight = 0; }) == "");
}

TEST_CASE("a backend of another family than its service") {
    CHECK(said_after([](auto& all) { all[1].backends[0].address = v6(1); }) ==
          "1.0 address: is of another family than the service: that needs NAT64, which services have not");
    CHECK(said_after([](auto& all) {
              all[1].mode = forward_mode::ipip;
              all[1].backends = {all[1].backends[0]};
              all[1].backends[0].address = v6(1);
              all[1].backends[0].port = 0;
              all[1].tunnel.source6 = v6(2);
          }) == "");
}

TEST_CASE("a backend that is there twice") {
    CHECK(said_after([](auto& all) { all[0].backends[1] = all[0].backends[0]; }) == "0.1 address: is the address and port of an earlier backend of this service");
    auto const same_address = [](std::uint32_t group) {
        return said_after([group](auto& all) {
            all[0].persistence = 1000;
            all[0].group = group;
            all[0].backends[1].address = all[0].backends[0].address;
            all[0].backends[1].port = 8081;
        });
    };
    CHECK(same_address(0) == "");
    CHECK(same_address(3) == "0.1 address: is an earlier backend's, and a persistence_group tells backends apart by their addresses");
}

TEST_CASE("addresses that no host has") {
    for (std::uint32_t const a : {0u, 0x7f00'0001u, 0xe000'0001u, 0xffff'ffffu}) {
        CHECK(said_after([a](auto& all) { all[1].address = ip_address::v4(a); }) == "1 address: is no unicast address");
        CHECK(said_after([a](auto& all) { all[1].backends[1].address = ip_address::v4(a); }) == "1.1 address: is no unicast address");
    }
    CHECK(said_after([](auto& all) { all[0].address = ip_address::v6({}); }) == "0 address: is no unicast address");
    CHECK(said_after([](auto& all) { all[0].address = ip_address::v6({0xff, 2}); }) == "0 address: is no unicast address");
    CHECK(said_after([](auto& all) { all[0].address = ip_address{}; }) == "0 address: is no unicast address");
}

TEST_CASE("modes that do not rewrite packets cannot change ports or do without the station") {
    for (forward_mode const mode : {forward_mode::dsr, forward_mode::transparent, forward_mode::ipip}) {
        auto const with = [mode](auto change) {
            return [mode, change](std::vector<service_config>& all) {
                all[0].mode = mode;
                all[0].tunnel.source4 = ip_address::v4(0x0a0000fe);
                for (backend& b : all[0].backends) {
                    b.port = 0;
                    b.station = {2, 0, 0, 0, 0, 1};
                }
                change(all[0].backends[1]);
            };
        };
        CHECK(said_after(with([](backend& b) { b.port = 8080; })) == "0.1 port: cannot differ from the service's with a mode that does not rewrite packets");
        auto const without_station = with([](backend& b) { b.station = {}; });
        CHECK(said_after(without_station, stations::resolved) == "");
        CHECK(said_after(without_station) == (goes_by_station(mode) ? "0.1 mac: is missing: this mode goes by the station's address" : ""));
        CHECK(said_after(with([](backend& b) { b.station = {3, 0, 0, 0, 0, 1}; })) == "0.1 mac: is a group's address");
    }
}

TEST_CASE("values out of their range, and keys without the one they belong to") {
    CHECK(said_after([](auto& all) { all[0].protocol = 1; }) == "0 proto: must be tcp or udp");
    CHECK(said_after([](auto& all) { all[0].health.emplace().policy.rise = 0; }) == "0 health: must be at least 1");
    CHECK(said_after([](auto& all) { all[0].health.emplace(); }).empty());
    CHECK(said_after([](auto& all) { all[0].table_size = 65'537; }) == "0 table_size: belongs to the schedulers maglev and source_hash");
    CHECK(said_after([](auto& all) { all[0].scheduler = scheduler_kind::maglev; all[0].table_size = 199; }) ==
          "0 table_size: must be at least 100 times the number of backends");
    CHECK(said_after([](auto& all) { all[0].scheduler = scheduler_kind::maglev; all[0].table_size = 1 << 21; }) == "0 table_size: must be at most 1048573");
    CHECK(said_after([](auto& all) { all[0].prefixes.v4 = 33; }) == "0 persistence_prefix: is longer than an address");
    CHECK(said_after([](auto& all) { all[0].prefixes.v6 = 129; }) == "0 persistence_prefix: is longer than an address");
    CHECK(said_after([](auto& all) { all[0].group = 1; }) == "0 persistence_group: needs persistence");
    CHECK(said_after([](auto& all) { all[0].backends[1].priority = 8; }) == "0.1 priority: must be from 0 to 7");
    CHECK(said_after([](auto& all) { all[0].backends[1].connections = 0; }) == "0.1 connections: must be at least 1; weight = 0 takes nothing new");
    CHECK(said_after([](auto& all) { all[0].backends[1].new_connections_per_s = 0; }) ==
          "0.1 new_connections_per_s: must be at least 1; weight = 0 takes nothing new");
    CHECK(said_after([](auto& all) { all[0].protocol = ip_protocol::udp; all[0].proxy = proxy_header::v1; }) == "0 proxy_protocol: needs proto tcp");
    CHECK(said_after([](auto& all) { all[0].protocol = ip_protocol::udp; all[0].client_option = 254; }) == "0 client_option: needs proto tcp");
    CHECK(said_after([](auto& all) { all[0].mode = forward_mode::dsr; all[0].proxy = proxy_header::v1; }) == "0 proxy_protocol: needs mode dnat or fullnat");
    CHECK(said_after([](auto& all) { all[0].mode = forward_mode::dsr; all[0].client_option = 254; }) ==
          "0 client_option: needs mode dnat or fullnat: with others servers see their clients' addresses");
    CHECK(said_after([](auto& all) { all[0].proxy = proxy_header::v2; all[0].client_option = 254; }) == "0 client_option: and proxy_protocol say the same: one of them");
    for (int const kind : {1, 2, 3, 8, 19, 29})
        CHECK(said_after([kind](auto& all) { all[0].client_option = static_cast<std::uint8_t>(kind); }) == "0 client_option: is the kind of an option that TCP ends use");
    CHECK(said_after([](auto& all) { all[0].client_option = 28; }) == "");
    CHECK(said(std::vector<service_config>(4097)) == "4096 address: is of one service too many: 4096 are possible");
}

TEST_CASE("ipip: a source of each backend's family, which is neither the service's nor a backend's, and room for what must go in whole") {
    auto const with = [](std::function<void(service_config&)> change) {
        return [change = std::move(change)](std::vector<service_config>& all) {
            all[0].mode = forward_mode::ipip;
            for (backend& b : all[0].backends) b.port = 0;
            all[0].tunnel.source4 = ip_address::v4(0x0a0000fe);
            change(all[0]);
        };
    };
    ipv6_bytes six{0xfd};
    six[15] = 9;
    CHECK(said_after(with([](auto&) {})) == "");
    CHECK(said_after(with([](auto& s) { s.tunnel.source4 = {}; })) ==
          "0.0 address: cannot be reached: the service has no tunnel_source (IPv4) or tunnel_source6 (IPv6) of this family");
    CHECK(said_after(with([](auto& s) { s.tunnel.source4 = {}; }), stations::resolved) == "");
    CHECK(said_after(with([six](auto& s) { s.backends[1].address = ip_address::v6(six); })) ==
          "0.1 address: cannot be reached: the service has no tunnel_source (IPv4) or tunnel_source6 (IPv6) of this family");
    CHECK(said_after(with([six](auto& s) { s.backends[1].address = s.tunnel.source6 = ip_address::v6(six); })) == "0.1 address: is the tunnel's own source");
    CHECK(said_after(with([six](auto& s) { s.tunnel.source4 = ip_address::v6(six); })) == "0 tunnel_source: must be an IPv4 address");
    CHECK(said_after(with([](auto& s) { s.tunnel.source6 = s.tunnel.source4; })) == "0 tunnel_source6: must be an IPv6 address");
    CHECK(said_after(with([](auto& s) { s.tunnel.source4 = s.address; })) == "0 tunnel_source: is the service's own address");
    std::string const small = "0.0 address: is behind a tunnel whose tunnel_mtu leaves less than 1280 bytes to IPv6 packets, or than 576 to IPv4's";
    CHECK(said_after(with([](auto& s) { s.tunnel.mtu = 595; })) == small);
    CHECK(said_after(with([](auto& s) { s.tunnel.mtu = 596; })) == "");
    CHECK(said_after(with([](auto& s) { s.tunnel.mtu = 600; s.tunnel.carrier = carrier::gue_direct; })) == small);
}
