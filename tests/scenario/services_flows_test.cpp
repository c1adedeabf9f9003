// SPDX-License-Identifier: BSL-1.0
// Flows to virtual services: to a backend and back, by both families, spliced or not, and counted until they end.
#include "tests/support/services.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

endpoints family(unsigned version) {
    endpoints e;
    e.version = version;
    return e;
}

template <class Line>
void check_at_backend(Line const& l, decoded const& d, unsigned number) {
    endpoints const b = l.behind(number);
    CHECK(d.destination == (b.version == 4 ? u32(b.server4) : b.server6));
    CHECK(d.destination_port == backend_port);
    CHECK(d.source == (b.version == 4 ? u32(b.client4) : b.client6));
}
template <class Line>
void check_at_client(Line const& l, decoded const& d) {
    CHECK(d.source == (l.ends.version == 4 ? u32(l.ends.server4) : l.ends.server6));
    CHECK(d.source_port == 80);
}

}  // namespace

TEST_CASE("a connection goes to a backend and its answers come from the virtual address, by IPv4 and IPv6") {
    for (unsigned version : {4u, 6u}) {
        service_line<> l({.services = {service_of(3, version)}}, guarded(guard_mode::off), family(version));
        for (unsigned i = 0; i < 3; ++i) {
            CHECK(l.connect(1000 + i) == static_cast<int>(i));
            outcome const up = l.client_data(1000 + i, 0, 0, 100);
            check_at_backend(l, *up.packet, i);
            outcome const down = l.backend_data(i, 1000 + i, 0, 100, 200);
            check_at_client(l, *down.packet);
            CHECK(l.open(i) == 1);
        }
    }
}

TEST_CASE("behind a cookie the backend is chosen when the client has proved itself, and every packet has the right addresses") {
    for (unsigned version : {4u, 6u}) {
        service_line<> l({.services = {service_of(2, version)}}, guarded(), family(version));
        handshake_of<serving<>> h{l};
        check_at_client(l, h.challenge());
        CHECK(l.open(0) == 0);
        check_at_backend(l, h.validate(), 0);
        CHECK(l.open(0) == 1);
        h.with_timestamps = true;
        outcome const done = l.backend_sends(0, h.syn_ack());
        REQUIRE(done.fate == verdict::forward);
        check_at_client(l, *done.packet);
        REQUIRE(done.beside.size() == 1);
        check_at_backend(l, done.beside[0], 0);
        check_at_backend(l, *l.client_sends(h.from_client(0, 0, filled(50))).packet, 0);
        check_at_client(l, *l.backend_sends(0, h.from_server(0, 50, filled(70))).packet);
    }
}

TEST_CASE("a repeated SYN stays with its backend, and counts once") {
    service_line<> l({.services = {service_of(3)}});
    CHECK(l.syn(1000) == 0);
    for (int i = 0; i < 5; ++i) CHECK(l.after(1000).client_sends(syn_of({.isn = 1'000'000})).packet->destination == u32(backend4(0)));
    CHECK(l.open(0) == 1);
    CHECK(l.syn(1001) == 1);
}

TEST_CASE("a flow counts until its record goes: closed, reset, timed out and given way") {
    engine_config config = guarded(guard_mode::off);
    config.limits.flows_v4 = 4;
    service_line<> l({.services = {service_of(1)}}, config);
    l.connect(1000);
    l.close(0, 1000);
    CHECK(l.open(0) == 1);  // TIME-WAIT
    l.after(config.timeouts.time_wait + 1000);
    CHECK(l.open(0) == 0);
    l.connect(1001);
    l.client_data(1001, 0, 0, 0, flags::rst);
    l.after(config.timeouts.closed + 1000);
    CHECK(l.open(0) == 0);
    l.syn(1002);
    l.after(config.timeouts.syn_sent + 1000);
    CHECK(l.open(0) == 0);
    for (unsigned port = 1; port <= 6; ++port) l.syn(port);  // two give way
    CHECK(l.open(0) == 4);
    CHECK(l.counters().flows_evicted == 2);
}

TEST_CASE("datagrams of a client go to one backend as long as its flow lives") {
    service_config s = service_of(3);
    s.protocol = ip_protocol::udp;
    service_line<> l({.services = {s}});
    CHECK(l.backend_of(l.udp(1000)) == 0);
    CHECK(l.backend_of(l.udp(1001)) == 1);
    CHECK(l.backend_of(l.udp(1000)) == 0);
    CHECK(l.open(0) == 1);
    byte_string const answer = u16(backend_port) + u16(1000) + u16(8 + 5) + u16(0) + filled(5);
    l.ends.client_port = 1000;
    outcome const back = l.sends(side::inside, framed(l.ends, datagram_of(l.behind(0), false, 17, answer, 6)));
    check_at_client(l, *back.packet);
    l.after(600'000);
    CHECK(l.open(0) == 0);
}

TEST_CASE("an address with services leaves other ports, and other addresses, alone; one for every port takes all and keeps them") {
    service_config any = service_of(1);
    any.ports = {0, 65535};
    any.backends[0].port = 0;
    any.address = ip_address::v4(0xcb007101);
    service_line<> l({.services = {service_of(1), any}});
    l.ends.server_port = 81;
    outcome const other_port = l.client_sends(syn_of({.isn = 5}));
    CHECK(other_port.fate == verdict::forward);
    CHECK(other_port.packet->destination == u32(l.ends.server4));
    l.ends.server4 = 0xcb007101;
    l.ends.server_port = 4711;
    outcome const any_port = l.client_sends(syn_of({.isn = 5}));
    CHECK(any_port.packet->destination == u32(backend4(0)));
    CHECK(any_port.packet->destination_port == 4711);
    l.ends.server4 = 0xcb007102;
    CHECK(l.client_sends(syn_of({.isn = 5})).packet->destination == u32(0xcb007102));
}

TEST_CASE("a service whose backends are all down drops and counts no_backend, before a SYN is answered too") {
    for (guard_mode const mode : {guard_mode::off, guard_mode::always}) {
        service_line<> l({.services = {service_of(2)}}, guarded(mode));
        l.set_state(0, backend_state::down);
        l.set_state(1, backend_state::draining);
        CHECK(l.client_sends(syn_of({.isn = 5})).reason == drop_reason::no_backend);
        CHECK(l.dropped(drop_reason::no_backend) == 1);
        CHECK(l.counters().cookies_sent == 0);
        CHECK(l.proxy().flows_now() == 0);
    }
}

TEST_CASE("a service whose backends have all they may drops service_limit, and takes one for one that ends") {
    service_config s = service_of(2);
    s.backends[0].connections = s.backends[1].connections = 1;
    engine_config const config = guarded(guard_mode::off);
    service_line<> l({.services = {s}}, config);
    CHECK(l.connect(1000) == 0);
    CHECK(l.connect(1001) == 1);
    l.ends.client_port = 1002;
    CHECK(l.client_sends(syn_of({.isn = 5})).reason == drop_reason::service_limit);
    l.client_data(1000, 0, 0, 0, flags::rst);
    l.after(config.timeouts.closed + 1000);
    CHECK(l.syn(1002) == 0);
}

TEST_CASE("a backend gone between the cookie and its ACK: another one is asked; when all are, the client is not connected") {
    service_line<> l({.services = {service_of(2)}}, guarded());
    handshake_of<serving<>> h{l};
    h.challenge();
    l.set_state(0, backend_state::down);
    CHECK(h.validate().destination == u32(backend4(1)));
    l.ends.client_port = 1001;
    h.challenge();
    l.set_state(1, backend_state::down);
    CHECK(l.client_sends(h.third_ack()).reason == drop_reason::no_backend);
    CHECK(l.proxy().handshakes_now() == 1);
}

TEST_CASE("an ICMP error from behind a backend reaches the client in the virtual address's name") {
    service_line<> l({.services = {service_of(2)}});
    l.connect(1000);
    outcome const sent = l.client_data(1000, 0, 0, 300);
    byte_string const quote(sent.packet->bytes.begin() + 14, sent.packet->bytes.begin() + 14 + 28);
    byte_string const message = u8(3) + u8(4) + u16(0) + u32(1300) + quote;
    outcome const o = l.sends(side::inside, framed(l.ends, datagram_of(l.behind(0), false, 1, message, 2)));
    REQUIRE(o.fate == verdict::forward);
    CHECK(o.packet->source == u32(l.ends.server4));
    CHECK(get32(o.packet->transport, 8 + 16) == l.ends.server4);
}

TEST_CASE("Maglev: a client port goes to the same backend after the flow is forgotten, on another node too, whatever the order of backends") {
    service_config s = service_of(20);
    s.scheduler = scheduler_kind::maglev;
    service_config turned = s;
    std::reverse(turned.backends.begin(), turned.backends.end());
    service_line<> l({.services = {s}}), other({.services = {turned}});
    for (unsigned port = 1000; port < 1100; ++port) CHECK(l.syn(port) == other.syn(port));
    l.after(600'000);
    REQUIRE(l.proxy().flows_now() == 0);
    other.after(1);
    service_line<> third({.services = {s}});
    for (unsigned port = 1000; port < 1100; ++port) CHECK(l.syn(port) == third.syn(port));
}

TEST_CASE("first alive gives the second what exceeds the first one's limit, and the last group says sorry") {
    service_config s = service_of(3);
    s.scheduler = scheduler_kind::first_alive;
    s.backends[0].connections = 2;
    s.backends[2].priority = 1;
    service_line<> l({.services = {s}});
    CHECK(l.syn(1) == 0);
    CHECK(l.syn(2) == 0);
    CHECK(l.syn(3) == 1);
    l.set_state(0, backend_state::down);
    l.set_state(1, backend_state::down);
    CHECK(l.syn(4) == 2);
    l.set_state(1, backend_state::up);
    CHECK(l.syn(5) == 1);
}

TEST_CASE("what comes from inside for a virtual address is no client's") {
    service_line<> l({.services = {service_of(1)}});
    outcome const o = l.sends(side::inside, framed(l.ends, tcp_datagram(l.ends, true, syn_of({.isn = 5}))));
    CHECK(o.fate == verdict::forward);
    CHECK(o.packet->destination == u32(l.ends.server4));
    CHECK(l.open(0) == 0);
}
