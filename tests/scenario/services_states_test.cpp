// SPDX-License-Identifier: BSL-1.0
// Backends that drain, go down, fail and come back while flows are open; clients that come back.
#include "tests/support/services.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

TEST_CASE("draining: connections in flight are none of them lost, new ones go elsewhere, the backend may be removed then") {
    service_line<> l({.services = {service_of(3)}});
    for (unsigned port = 1; port <= 30; ++port) l.connect(port);
    CHECK(l.open(1) == 10);
    l.set_state(1, backend_state::draining);
    service_config without = service_of(3);
    without.backends.erase(without.backends.begin() + 1);
    REQUIRE(l.policy().services().configure({.services = {without}}));
    for (unsigned port = 31; port <= 50; ++port) CHECK(l.connect(port) != 1);
    for (unsigned port = 1; port <= 30; ++port) {
        unsigned const who = (port - 1) % 3;
        CHECK(l.client_data(port, 0, 0, 100).packet->destination == u32(backend4(who)));
        CHECK(l.backend_data(who, port, 0, 100, 500).fate == verdict::forward);
        l.close(who, port, 100, 500);
    }
    l.after(600'000);
    CHECK(l.counters().dropped_total() == 0);
    CHECK_FALSE(l.policy().services().backends(0).exists(1));
}

TEST_CASE("draining takes away persistent clients too, but not their open connections") {
    service_config s = service_of(3);
    s.persistence = 3'600'000;
    service_line<> l({.services = {s}});
    for (unsigned port = 1; port <= 5; ++port) CHECK(l.connect(port) == 0);
    l.set_state(0, backend_state::draining);
    CHECK(l.connect(6) == 1);
    CHECK(l.connect(7) == 1);
    CHECK(l.client_data(1, 0, 0, 10).packet->destination == u32(backend4(0)));
    l.set_state(0, backend_state::up);
    CHECK(l.connect(8) == 1);  // its client is the second one's by now
}

TEST_CASE("persistence ends exactly after its time, counted from the client's last new flow") {
    service_config s = service_of(4);
    s.persistence = 60'000;
    service_line<> l({.services = {s}});
    CHECK(l.syn(1) == 0);
    l.after(59'999);
    CHECK(l.syn(2) == 0);
    l.after(59'999);
    CHECK(l.syn(3) == 0);
    l.after(60'000);
    CHECK(l.syn(4) == 1);
}

TEST_CASE("weight 0 takes no new flows and keeps the old ones, and a weight set later works at once") {
    service_config s = service_of(2);
    s.scheduler = scheduler_kind::weighted_round_robin;
    service_line<> l({.services = {s}});
    l.connect(1);
    l.connect(2);
    l.policy().services().set_weight({0, 0}, 0);
    for (unsigned port = 3; port < 10; ++port) CHECK(l.connect(port) == 1);
    CHECK(l.client_data(1, 0, 0, 10).packet->destination == u32(backend4(0)));
    l.policy().services().set_weight({0, 0}, 100);
    l.policy().services().set_weight({0, 1}, 50);
    int first = 0;
    for (unsigned port = 100; port < 130; ++port) first += l.connect(port) == 0;
    CHECK(first == 20);
}

TEST_CASE("down with reset: the next packet of a connection ends it, with a RST to each end at the very number it expects") {
    for (bool const from_client : {true, false}) {
        service_config s = service_of(2);
        s.pool.on_down = on_down::reset;
        service_line<> l({.services = {s}});
        REQUIRE(l.connect(1) == 0);
        REQUIRE(l.connect(2) == 1);
        l.client_data(1, 0, 0, 100);
        l.backend_data(0, 1, 0, 100, 300);
        l.client_data(1, 100, 300, 0);
        l.set_state(0, backend_state::down);
        l.after(1);
        outcome const o = from_client ? l.client_data(1, 100, 300, 50) : l.backend_data(0, 1, 300, 100, 50);
        REQUIRE(o.fate == verdict::reply);
        REQUIRE(o.beside.size() == 1);
        decoded const& to_client = from_client ? *o.packet : o.beside[0];
        decoded const& to_backend = from_client ? o.beside[0] : *o.packet;
        CHECK(to_client.tcp.flags == flags::rst);
        CHECK(to_client.exit == side::outside);
        CHECK(to_client.source == u32(l.ends.server4));
        CHECK(to_client.source_port == 80);
        CHECK(to_client.tcp.seq == 700'001 + 300);
        CHECK(to_backend.tcp.flags == flags::rst);
        CHECK(to_backend.exit == side::inside);
        CHECK(to_backend.destination == u32(backend4(0)));
        CHECK(to_backend.destination_port == backend_port);
        CHECK(to_backend.tcp.seq == 1000 + 1 + 100);
        CHECK(l.open(0) == 0);
        CHECK(l.client_data(2, 0, 0, 10).fate == verdict::forward);  // the other backend's
        CHECK(l.client_data(1, 100, 300, 50).reason == drop_reason::no_flow);
    }
}

TEST_CASE("down with reset, spliced: each end hears the RST in its own numbers") {
    service_config s = service_of(1);
    s.pool.on_down = on_down::reset;
    service_line<> l({.services = {s}}, guarded());
    handshake_of<serving<>> h{l};
    h.challenge();
    h.validate();
    h.with_timestamps = true;
    REQUIRE(l.backend_sends(0, h.syn_ack()).fate == verdict::forward);
    l.client_sends(h.from_client(0, 0, filled(100)));
    l.backend_sends(0, h.from_server(0, 100, filled(70)));
    l.client_sends(h.from_client(100, 70));
    l.set_state(0, backend_state::down);
    l.after(1);
    outcome const o = l.backend_sends(0, h.from_server(70, 100, filled(5)));
    REQUIRE(o.fate == verdict::reply);
    CHECK(o.packet->tcp.seq == h.client.isn + 1 + 100);
    REQUIRE(o.beside.size() == 1);
    CHECK(o.beside[0].tcp.seq == h.cookie + 1 + 70);
    CHECK(o.beside[0].exit == side::outside);
}

TEST_CASE("down with reset while the server is asked: the client hears it at once") {
    service_config s = service_of(2);
    s.pool.on_down = on_down::reset;
    service_line<> l({.services = {s}}, guarded());
    handshake_of<serving<>> h{l};
    h.challenge();
    h.validate();
    l.set_state(0, backend_state::down);
    l.after(1);
    auto const sent = l.sent_by_timers();
    REQUIRE(sent.size() == 1);
    CHECK(sent[0].tcp.flags == (flags::rst | flags::ack));
    CHECK(sent[0].tcp.seq == h.cookie + 1);
    CHECK(l.proxy().flows_now() == 0);
    CHECK(l.proxy().handshakes_now() == 0);
    CHECK(l.open(0) == 0);
}

TEST_CASE("down with reset: a client that opens anew on the same ports gets another backend") {
    service_config s = service_of(2);
    s.pool.on_down = on_down::reset;
    service_line<> l({.services = {s}});
    REQUIRE(l.connect(1) == 0);
    l.set_state(0, backend_state::down);
    l.after(1);
    l.ends.client_port = 1;
    CHECK(l.backend_of(l.client_sends(syn_of({.isn = 77'000'000}))) == 1);
}

TEST_CASE("down and left: connections go on, and still do when the backend is up again") {
    service_line<> l({.services = {service_of(2)}});
    REQUIRE(l.connect(1) == 0);
    l.set_state(0, backend_state::down);
    l.after(1);
    CHECK(l.client_data(1, 0, 0, 50).fate == verdict::forward);
    CHECK(l.connect(2) == 1);
    l.set_state(0, backend_state::up);
    CHECK(l.backend_data(0, 1, 0, 50, 50).fate == verdict::forward);
}

TEST_CASE("down and moved: a datagram flow's next packet goes to another backend, and is counted there") {
    service_config s = service_of(2);
    s.protocol = ip_protocol::udp;
    s.pool.on_down = on_down::move;
    service_line<> l({.services = {s}});
    CHECK(l.backend_of(l.udp(1)) == 0);
    CHECK(l.backend_of(l.udp(2)) == 1);
    l.set_state(0, backend_state::down);
    byte_string const late = u16(backend_port) + u16(1) + u16(8 + 5) + u16(0) + filled(5);
    l.ends.client_port = 1;
    CHECK(l.sends(side::inside, framed(l.ends, datagram_of(l.behind(0), false, 17, late, 6))).reason == drop_reason::no_flow);
    CHECK(l.backend_of(l.udp(1)) == 1);  // at once, before any timer
    CHECK(l.open(0) == 0);
    CHECK(l.open(1) == 2);
    CHECK(l.backend_of(l.udp(2)) == 1);
}

TEST_CASE("a sweep over many flows is done in pieces, misses none, and touches no other backend's") {
    engine_config config = guarded(guard_mode::off);
    config.limits.flows_v4 = 5000;
    service_config s = service_of(2);
    s.pool.on_down = on_down::reset;
    service_line<> l({.services = {s}}, config);
    for (unsigned port = 1; port <= 4000; ++port) l.connect(port);
    l.set_state(1, backend_state::down);
    CHECK(l.proxy().next_deadline().has_value());
    l.after(1);
    for (unsigned port = 1; port <= 4000; ++port)
        CHECK(l.client_data(port, 0, 0, 1).fate == (port % 2 == 1 ? verdict::forward : verdict::reply));
    CHECK(l.open(0) == 2000);
    CHECK(l.open(1) == 0);
}

TEST_CASE("SYNs that a backend leaves unanswered inhibit it; it comes back on trial, and one more inhibits it twice as long") {
    engine_config config = guarded(guard_mode::off);
    config.timeouts.syn_sent = 5'000;
    service_config s = service_of(2);
    s.pool.passive = {.failures = 3, .first_inhibition = 20'000};
    service_line<> l({.services = {s}}, config);
    auto const opening = [&l](unsigned port) {  // only the second one answers
        int const who = l.syn(port);
        segment syn_ack = syn_of({.isn = 700'000, .timestamps = false});
        syn_ack.flags = flags::syn | flags::ack;
        syn_ack.ack = 1000 * port + 1;
        if (who == 1) CHECK(l.backend_sends(1, syn_ack).fate == verdict::forward);
        return who;
    };
    auto const inhibited = [&l] { return l.policy().services().backends(0).inhibited(0); };
    for (unsigned port = 1; port <= 5; ++port) {
        CHECK_FALSE(inhibited());
        CHECK(opening(port) == (port % 2 == 1 ? 0 : 1));
        l.after(6'000);
    }
    CHECK(inhibited());
    CHECK(opening(6) == 1);
    CHECK(opening(7) == 1);
    l.after(20'000);
    CHECK(opening(8) + opening(9) == 1);  // both again
    l.after(6'000);
    CHECK(inhibited());
    l.after(30'000);
    CHECK(inhibited());
    l.after(10'000);
    CHECK(opening(10) + opening(11) == 1);
}

TEST_CASE("RSTs to SYNs inhibit a backend, plain and behind a cookie; answers in between forgive") {
    for (guard_mode const mode : {guard_mode::off, guard_mode::always}) {
        service_config s = service_of(2);
        s.pool.passive = {.failures = 2, .first_inhibition = 20'000};
        s.scheduler = scheduler_kind::first_alive;
        service_line<> l({.services = {s}}, guarded(mode));
        auto const opening = [&](unsigned port, bool accepted) {
            l.ends.client_port = port;
            handshake_of<serving<>> h{l};
            if (mode == guard_mode::always) {
                h.challenge();
                h.validate();
            } else {
                l.client_sends(syn_of(h.client));
            }
            outcome const o = accepted ? l.backend_sends(0, h.syn_ack())
                                       : l.backend_sends(0, {.ack = h.client.isn + 1, .flags = flags::rst | flags::ack});
            CHECK(o.fate == verdict::forward);
        };
        opening(1, false);
        opening(2, true);
        opening(3, false);
        CHECK_FALSE(l.policy().services().backends(0).inhibited(0));
        opening(4, false);
        CHECK(l.policy().services().backends(0).inhibited(0));
        CHECK(l.policy().services().backends(0).ready() == 1);
    }
}

TEST_CASE("flows that give way before anybody could answer tell nothing of their backend") {
    engine_config config = guarded(guard_mode::off);
    config.limits.flows_v4 = 2;
    service_config s = service_of(2);
    s.pool.passive = {.failures = 1};
    service_line<> l({.services = {s}}, config);
    for (unsigned port = 1; port <= 40; ++port) CHECK(l.syn(port) >= 0);
    CHECK(l.policy().services().backends(0).ready() == 2);
}

TEST_CASE("a thousand configurations while a connection lives: it never notices") {
    service_line<> l({.services = {service_of(3)}});
    REQUIRE(l.connect(1) == 0);
    std::uint32_t sent = 0;
    for (int i = 0; i < 1000; ++i) {
        service_config next = service_of(1 + static_cast<unsigned>(i) % 5);
        next.scheduler = static_cast<scheduler_kind>(i % 8);
        REQUIRE(l.policy().services().configure(i % 7 == 6 ? services_config{} : services_config{.services = {next}}));
        REQUIRE(l.client_data(1, sent, 0, 10).fate == verdict::forward);
        REQUIRE(l.backend_data(0, 1, 0, sent += 10, 0).fate == verdict::forward);
    }
}

TEST_CASE("all backends draining: what is open goes on, and nothing new is taken") {
    service_line<> l({.services = {service_of(2)}});
    REQUIRE(l.connect(1) == 0);
    for (unsigned i = 0; i < 2; ++i) l.set_state(i, backend_state::draining);
    l.ends.client_port = 2;
    CHECK(l.client_sends(syn_of({.isn = 1})).reason == drop_reason::no_backend);
    CHECK(l.client_data(1, 0, 0, 10).fate == verdict::forward);
    l.set_state(1, backend_state::up);
    CHECK(l.syn(2) == 1);
}
