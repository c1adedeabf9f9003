// SPDX-License-Identifier: BSL-1.0
// How packets reach a backend: rewritten, in another name, or led to its station.
#include "tests/support/services.hpp"

#include <halfproxy/engine/address_plan.hpp>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

station_address station(unsigned number) { return {2, 0, 0, 0, 7, static_cast<std::uint8_t>(number)}; }

service_config led(forward_mode mode, unsigned backends) {
    service_config s = service_of(backends);
    s.mode = mode;
    for (unsigned i = 0; i < backends; ++i) {
        s.backends[i].port = 0;
        s.backends[i].station = station(i);
    }
    return s;
}

byte_string destination_station(decoded const& d) { return byte_string(d.link.begin(), d.link.begin() + 6); }
byte_string bytes_of(station_address const& a) { return byte_string(a.begin(), a.end()); }

engine_config one_sided() {
    engine_config c = guarded(guard_mode::off);
    c.tracking.asymmetric = asymmetric_paths::detect;
    return c;
}

}  // namespace

TEST_CASE("DSR: packets of the client keep their addresses and go to the backend's station, though no answer is ever seen") {
    service_line<> l({.services = {led(forward_mode::dsr, 2)}}, one_sided());
    for (unsigned port = 1; port <= 4; ++port) {
        l.ends.client_port = port;
        unsigned const who = (port - 1) % 2;
        byte_string const sent = framed(l.ends, tcp_datagram(l.ends, true, syn_of({.isn = 1000 * port})));
        outcome const syn = l.sends(side::outside, sent);
        REQUIRE(syn.fate == verdict::forward);
        CHECK(destination_station(*syn.packet) == bytes_of(station(who)));
        CHECK(byte_string(syn.packet->bytes.begin() + 6, syn.packet->bytes.end()) == byte_string(sent.begin() + 6, sent.end()));
        for (std::uint32_t at = 0; at < 500; at += 100) {
            outcome const data = l.client_data(port, at, 0, 100);
            REQUIRE(data.fate == verdict::forward);
            CHECK(destination_station(*data.packet) == bytes_of(station(who)));
            CHECK(data.packet->destination == u32(l.ends.server4));
        }
    }
    CHECK(l.open(0) == 2);
    CHECK(l.open(1) == 2);
}

TEST_CASE("DSR: datagrams are led to the station, and a flow's backend stays") {
    service_config s = led(forward_mode::dsr, 2);
    s.protocol = ip_protocol::udp;
    service_line<> l({.services = {s}}, one_sided());
    for (int i = 0; i < 3; ++i) {
        CHECK(destination_station(*l.udp(1).packet) == bytes_of(station(0)));
        CHECK(destination_station(*l.udp(2).packet) == bytes_of(station(1)));
    }
}

TEST_CASE("DSR: SYNs that nobody is heard to answer do not count against a backend") {
    service_config s = led(forward_mode::dsr, 2);
    s.pool.passive = {.failures = 1};
    engine_config config = one_sided();
    config.timeouts.syn_sent = 5'000;
    service_line<> l({.services = {s}}, config);
    for (unsigned port = 1; port < 10; ++port) {
        l.ends.client_port = port;
        l.client_sends(syn_of({.isn = 1}));
        l.after(10'000);
    }
    CHECK(l.policy().services().backends(0).ready() == 2);
}

TEST_CASE("transparent: packets keep their addresses both ways; the client's go to the station, the answers as they are") {
    service_line<> l({.services = {led(forward_mode::transparent, 2)}});
    l.ends.client_port = 1;
    outcome const syn = l.client_sends(syn_of({.isn = 1000}));
    CHECK(destination_station(*syn.packet) == bytes_of(station(0)));
    CHECK(syn.packet->destination == u32(l.ends.server4));
    segment syn_ack = syn_of({.isn = 700'000, .timestamps = false});
    syn_ack.flags = flags::syn | flags::ack;
    syn_ack.ack = 1001;
    byte_string const answer = framed(l.ends, tcp_datagram(l.ends, false, syn_ack));
    outcome const back = l.sends(side::inside, answer);
    REQUIRE(back.fate == verdict::forward);
    CHECK(back.packet->bytes == answer);
    CHECK(destination_station(*l.client_data(1, 0, 0, 10).packet) == bytes_of(station(0)));
}

TEST_CASE("full NAT: a backend sees an address of ours, answers it, and the client sees the virtual address") {
    engine_config const config = guarded(guard_mode::off);
    service_config s = service_of(2);
    s.mode = forward_mode::fullnat;
    nat_config nat;
    snat_rule rule;
    rule.origin = flow_origin::outside;
    rule.pool = {{ip_address::v4(0x0a000063), 32}};  // 10.0.0.99
    nat.snat = {rule};
    service_line<address_plan> l({.services = {s}}, config, {}, address_plan(nat, config.limits));
    l.ends.client_port = 1;
    outcome const syn = l.client_sends(syn_of({.isn = 1000}));
    REQUIRE(syn.fate == verdict::forward);
    CHECK(syn.packet->source == u32(0x0a000063));
    CHECK(syn.packet->destination == u32(backend4(0)));
    CHECK(syn.packet->destination_port == backend_port);
    endpoints there = l.behind(0);
    there.client4 = 0x0a000063;
    there.client_port = syn.packet->source_port;
    segment syn_ack = syn_of({.isn = 700'000, .timestamps = false});
    syn_ack.flags = flags::syn | flags::ack;
    syn_ack.ack = 1001;
    outcome const back = l.sends(side::inside, framed(l.ends, tcp_datagram(there, false, syn_ack)));
    REQUIRE(back.fate == verdict::forward);
    CHECK(back.packet->source == u32(l.ends.server4));
    CHECK(back.packet->source_port == 80);
    CHECK(back.packet->destination == u32(l.ends.client4));
    CHECK(back.packet->destination_port == 1);
    CHECK(l.open(0) == 1);
    CHECK(l.policy().next().counters().mappings_made == 1);
    l.client_data(1, 0, 0, 0, flags::rst);
    l.after(600'000);
    CHECK(l.open(0) == 0);
    CHECK(l.policy().next().counters().mappings_ended == 1);
}

TEST_CASE("a flow to no service is translated by who stands behind, and gives back what it holds") {
    engine_config const config = guarded(guard_mode::off);
    nat_config nat;
    snat_rule rule;
    rule.origin = flow_origin::outside;
    rule.pool = {{ip_address::v4(0x0a000063), 32}};
    nat.snat = {rule};
    service_line<address_plan> l({.services = {service_of(1)}}, config, {}, address_plan(nat, config.limits));
    CHECK(l.syn(1) == 0);
    CHECK(l.policy().next().counters().mappings_made == 0);  // mode dnat keeps the client's address
    l.ends.server_port = 81;
    CHECK(l.client_sends(syn_of({.isn = 5})).packet->source == u32(0x0a000063));
    l.after(600'000);
    CHECK(l.policy().next().counters().mappings_ended == 1);
    CHECK(l.proxy().flows_now() == 0);
}

TEST_CASE("a service whose mode changes: flows go on as they began, new ones go the new way") {
    service_line<> l({.services = {service_of(1)}});
    REQUIRE(l.connect(1) == 0);
    REQUIRE(l.policy().services().configure({.services = {led(forward_mode::transparent, 1)}}));
    CHECK(l.client_data(1, 0, 0, 10).packet->destination == u32(backend4(0)));
    l.ends.client_port = 2;
    outcome const syn = l.client_sends(syn_of({.isn = 5}));
    CHECK(syn.packet->destination == u32(l.ends.server4));
    CHECK(destination_station(*syn.packet) == bytes_of(station(0)));
}
