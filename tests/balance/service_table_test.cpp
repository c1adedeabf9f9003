// SPDX-License-Identifier: BSL-1.0
// Which service an address and port is, and who gets its flows.
#include <halfproxy/balance/service_table.hpp>

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <map>
#include <string>

using namespace halfproxy;

namespace {

constexpr std::uint32_t vip = 0xcb00'7101;  // 203.0.113.1
time_point at_ms(std::int64_t ms) { return time_point(std::chrono::milliseconds(ms)); }

backend server(std::uint32_t number, std::uint16_t port = 8080) {
    backend b;
    b.address = ip_address::v4(0x0a00'0001u + number);
    b.port = port;
    return b;
}

service_config service(port_range ports, std::uint32_t backends = 2, std::uint32_t address = vip) {
    service_config s;
    s.address = ip_address::v4(address);
    s.ports = ports;
    for (std::uint32_t i = 0; i < backends; ++i) s.backends.push_back(server(i));
    return s;
}

service_request request(std::uint32_t client, std::uint16_t port, std::uint8_t protocol = ip_protocol::tcp) {
    return {ip_address::v4(client), ip_address::v4(vip), static_cast<std::uint16_t>(client * 7 + 1024), port, protocol};
}

std::string open(service_table& t, std::uint32_t client, std::uint16_t port) {
    service_choice const c = t.choose(request(client, port));
    switch (c.outcome) {
        case service_outcome::not_a_service: return ".";
        case service_outcome::no_backend: return "-";
        case service_outcome::limited: return "!";
        case service_outcome::chosen: break;
    }
    t.opened(c.who, ip_address::v4(client));
    return std::string(1, static_cast<char>('a' + c.who.backend));
}

/// In this order: client and port.
std::string open(service_table& t, std::vector<std::pair<std::uint32_t, std::uint16_t>> const& flows) {
    std::string out;
    for (auto const& [client, port] : flows) out += open(t, client, port);
    return out;
}

}  // namespace

TEST_CASE("of services that fit an address and port the narrowest has it: one port, a range, every port") {
    service_table const t({.services = {service({0, 65535}), service({1000, 1999}), service({80, 80}), service({1500, 1500}), service({3000, 3010})}});
    auto const found = [&t](std::uint16_t port) { return t.find(ip_address::v4(vip), port, ip_protocol::tcp); };
    CHECK(found(80) == 2);
    CHECK(found(1500) == 3);
    CHECK(found(1000) == 1);
    CHECK(found(1999) == 1);
    CHECK(found(3010) == 4);
    CHECK(found(2000) == 0);
    CHECK(found(0) == 0);
    CHECK(t.find(ip_address::v4(vip), 80, ip_protocol::udp) == no_service);
    CHECK(t.find(ip_address::v4(vip + 1), 80, ip_protocol::tcp) == no_service);
    CHECK(t.find(ip_address::v6(ip_address::v4(vip).bytes), 80, ip_protocol::tcp) == no_service);
    CHECK(t.is_virtual(ip_address::v4(vip)));
    CHECK_FALSE(t.is_virtual(ip_address::v4(vip + 1)));
}

TEST_CASE("without services nothing is one") {
    service_table t;
    CHECK(t.empty());
    CHECK(open(t, 1, 80) == ".");
    CHECK(t.available(request(1, 80)) == service_outcome::not_a_service);
    CHECK_FALSE(t.is_virtual(ip_address::v4(vip)));
}

TEST_CASE("a thousand services are told apart, by address, port and protocol") {
    services_config config;
    for (std::uint32_t i = 0; i < 1000; ++i) {
        config.services.push_back(service({static_cast<std::uint16_t>(1 + i % 10), static_cast<std::uint16_t>(1 + i % 10)}, 1, vip + i / 20));
        config.services.back().protocol = i / 10 % 2 == 0 ? ip_protocol::tcp : ip_protocol::udp;
    }
    service_table const t(config);
    for (std::uint32_t i = 0; i < 1000; ++i) {
        service_config const& s = config.services[i];
        CHECK(t.find(s.address, s.ports.first, s.protocol) == i);
    }
}

TEST_CASE("why nobody is chosen: no backend, or all at their limits; asking beforehand gives the same") {
    service_config s = service({80, 80});
    s.backends[0].connections = 1;
    s.backends[1].connections = 1;
    service_table t({.services = {s}});
    CHECK(t.available(request(1, 80)) == service_outcome::chosen);
    CHECK(open(t, {{1, 80}, {2, 80}, {3, 80}}) == "ab!");
    CHECK(t.available(request(1, 80)) == service_outcome::limited);
    t.set_state({0, 0}, backend_state::down);
    t.set_state({0, 1}, backend_state::draining);
    CHECK(open(t, 1, 80) == "-");
    CHECK(t.available(request(1, 80)) == service_outcome::no_backend);
    t.closed({0, 0});
    t.set_state({0, 0}, backend_state::up);
    CHECK(open(t, 1, 80) == "a");
    CHECK(t.flows_open(0) == 2);
}

TEST_CASE("a client comes back to its backend until its time is over, others with the same first bits too") {
    service_config s = service({80, 80}, 5);
    s.persistence = 60'000;
    s.prefixes.v4 = 24;
    service_table t({.services = {s}});
    t.tick(at_ms(0));
    CHECK(open(t, {{0x0102'0301, 80}, {0x0102'0401, 80}}) == "ab");
    t.tick(at_ms(59'999));
    CHECK(open(t, 0x0102'03ff, 80) == "a");
    t.tick(at_ms(60'000));
    CHECK(open(t, 0x0102'0401, 80) == "c");
    t.tick(at_ms(119'998));
    CHECK(open(t, 0x0102'0301, 80) == "a");  // its time began anew
}

TEST_CASE("persistence holds only while the backend takes new flows") {
    service_config s = service({80, 80}, 3);
    s.persistence = 60'000;
    s.backends[0].connections = 2;
    service_table t({.services = {s}});
    CHECK(open(t, {{1, 80}, {1, 80}}) == "aa");
    CHECK(open(t, 1, 80) == "b");  // at its limit; from now on its client is the other's
    t.closed({0, 0});
    CHECK(open(t, 1, 80) == "b");
    t.set_state({0, 1}, backend_state::draining);
    CHECK(open(t, 1, 80) == "c");
    t.set_state({0, 1}, backend_state::up);
    CHECK(open(t, 1, 80) == "c");
    t.set_weight({0, 2}, 0);
    CHECK(open(t, 1, 80) != "c");
}

TEST_CASE("services of a group send a client to the same server, each to its own port there; others do not") {
    services_config config{.services = {service({80, 80}, 0), service({443, 443}, 0), service({25, 25}, 0)}};
    for (std::uint32_t i = 0; i < 4; ++i) {
        config.services[0].backends.push_back(server(i, 8080));
        config.services[1].backends.push_back(server(3 - i, 8443));
        config.services[2].backends.push_back(server(i, 2525));
    }
    for (service_config& s : config.services) s.persistence = 1000;
    config.services[0].group = config.services[1].group = 7;
    service_table t(config);
    for (std::uint32_t client = 1; client < 9; ++client) {
        service_choice const first = t.choose(request(client, 80));
        t.opened(first.who, ip_address::v4(client));
        service_choice const second = t.choose(request(client, 443));
        CHECK(t.server(second.who).address == t.server(first.who).address);
        CHECK(t.server(second.who).port == 8443);
    }
    service_choice const mail = t.choose(request(4, 25));
    CHECK(mail.who == backend_ref{2, 0});
}

TEST_CASE("two backends at one address are told apart by their ports") {
    service_config s = service({80, 80}, 0);
    s.persistence = 1000;
    for (std::uint16_t port = 8001; port <= 8003; ++port) s.backends.push_back(server(0, port));
    service_table t({.services = {s}});
    CHECK(open(t, {{1, 80}, {2, 80}, {3, 80}}) == "abc");
    CHECK(open(t, {{3, 80}, {1, 80}, {2, 80}}) == "cab");
}

TEST_CASE("Maglev chooses the same on nodes with the same hash seed, whatever the order of their lists") {
    service_config s = service({80, 80}, 30);
    s.scheduler = scheduler_kind::maglev;
    service_table here({.services = {s}, .hash_seed = 5}, 1);
    std::reverse(s.backends.begin(), s.backends.end());
    service_table there({.services = {s}, .hash_seed = 5}, 2);
    service_table stranger({.services = {s}, .hash_seed = 6}, 2);
    int same = 0;
    for (std::uint32_t client = 1; client < 500; ++client) {
        auto const a = here.choose(request(client, 80)).who, b = there.choose(request(client, 80)).who;
        CHECK(here.server(a).address == there.server(b).address);
        same += here.server(a).address == stranger.server(stranger.choose(request(client, 80)).who).address;
    }
    CHECK(same < 50);
}

TEST_CASE("a source hash sends all of a client's flows to one backend, to whatever port of the service") {
    service_config s = service({0, 65535}, 30);
    for (backend& b : s.backends) b.port = 0;
    s.scheduler = scheduler_kind::source_hash;
    service_table t({.services = {s}});
    std::map<backend_index, int> spread;
    for (std::uint32_t client = 1; client < 100; ++client) {
        auto const who = t.choose(request(client, 80)).who;
        CHECK(who == t.choose(request(client, 443)).who);
        ++spread[who.backend];
    }
    CHECK(spread.size() > 20);
}

TEST_CASE("a new configuration leaves flows where they are, and numbers with those who stay") {
    service_table t({.services = {service({80, 80}, 2), service({81, 81}, 2)}});
    CHECK(open(t, {{1, 80}, {2, 80}, {1, 81}}) == "aba");
    service_config grown = service({80, 80}, 9);
    grown.scheduler = scheduler_kind::least_connections;
    REQUIRE(t.configure({.services = {service({82, 82}, 1), grown}}));
    CHECK(t.find(ip_address::v4(vip), 80, ip_protocol::tcp) == 0);
    CHECK(open(t, 1, 81) == ".");
    CHECK(t.exists(1));
    CHECK_FALSE(t.is_configured(1));
    CHECK(t.find(ip_address::v4(vip), 82, ip_protocol::tcp) == 2);
    CHECK(t.backends(0).open(0) == 1);
    CHECK(open(t, 3, 80) == "c");  // those before have one flow each
    t.closed({1, 0});
    CHECK_FALSE(t.exists(1));
    REQUIRE(t.configure({.services = {service({83, 83}, 1), grown}}));
    CHECK(t.find(ip_address::v4(vip), 83, ip_protocol::tcp) == 1);
    CHECK_FALSE(t.exists(2));
    t.closed({0, 0});
    CHECK(t.backends(0).open(0) == 0);
}

TEST_CASE("persistence that a new configuration brings begins to work, and what was remembered stays") {
    service_table t({.services = {service({80, 80}, 3)}});
    CHECK(open(t, {{1, 80}, {1, 80}}) == "ab");
    services_config next{.services = {service({80, 80}, 3)}};
    next.services[0].persistence = 1000;
    REQUIRE(t.configure(next));
    std::string const first = open(t, 1, 80);
    CHECK(open(t, 1, 80) == first);
    next.services[0].backends.push_back(server(9));
    REQUIRE(t.configure(next));
    CHECK(open(t, 1, 80) == first);
}

TEST_CASE("a thousand configurations while flows come and go: none is lost, and counts are right to the last") {
    CHECK(rc::check([](std::uint64_t seed) {
        split_mix64 random(seed);
        auto const drawn = [&random] {
            services_config c;
            for (std::uint16_t port = 80; port < 84; ++port) {
                if (random.below(3) == 0) continue;
                c.services.push_back(service({port, port}, 1 + random.below(12)));
                c.services.back().scheduler = static_cast<scheduler_kind>(random.below(8));
                c.services.back().backends.back().priority = static_cast<std::uint8_t>(random.below(2));
                if (random.below(2) == 0) c.services.back().persistence = 1000;
            }
            return c;
        };
        service_table t(drawn());
        std::vector<std::pair<backend_ref, ip_address>> flows;  // and where they go
        for (int step = 0; step < 400; ++step) {
            t.tick(at_ms(step * 100));
            if (random.below(40) == 0) REQUIRE(t.configure(drawn()));
            service_choice const c = t.choose(request(random.below(50), static_cast<std::uint16_t>(80 + random.below(4))));
            if (c.outcome == service_outcome::chosen) {
                t.opened(c.who, ip_address::v4(1));
                flows.emplace_back(c.who, t.server(c.who).address);
            }
            if (!flows.empty() && random.below(2) == 0) {
                std::swap(flows[random.below(static_cast<std::uint32_t>(flows.size()))], flows.back());
                t.closed(flows.back().first);
                flows.pop_back();
            }
            for (auto const& [who, address] : flows) RC_ASSERT(t.server(who).address == address);
        }
        std::map<service_index, std::uint32_t> count;
        for (auto const& flow : flows) ++count[flow.first.service];
        for (auto const& [service, open_flows] : count) RC_ASSERT(t.flows_open(service) == open_flows);
        for (auto const& flow : flows) t.closed(flow.first);
        for (service_index i = 0; i < t.size(); ++i) RC_ASSERT(!t.exists(i) || (t.is_configured(i) && t.flows_open(i) == 0));
    }));
}
