// SPDX-License-Identifier: BSL-1.0
// Services in routed mode: backends that keep the packet are next hops, found by ARP and neighbour discovery; tunnels are routed; in and out through one port.
#include "tests/support/routed.hpp"
#include "tests/support/services.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using world = routed_world<engine<serving<>>>;

constexpr mac_address backend_mac{2, 0, 0, 0, 0, 0x91};

/// 192.0.2.80 or fd01::80, of mode and backend.
struct routed_service {
    routed_service(forward_mode mode, unsigned version, bool beside_clients = false)
        : ends(ends_of(version)), beside(beside_clients), w(routing(), config(), serving<>{{}, virtual_services<>({.services = {service(mode)}}, config().limits, 1), {}}) {
        w.settle();
    }

    static endpoints ends_of(unsigned version) {
        endpoints e;
        e.version = version;
        e.client6 = net6(1, 0x10);
        e.server4 = 0xc0000250;
        e.server6 = net6(1, 0x50);
        return e;
    }
    static engine_config config() {
        engine_config c = guarded(guard_mode::off);
        c.tracking.asymmetric = asymmetric_paths::detect;
        return c;
    }
    [[nodiscard]] ip_address virtual_address() const { return ends.version == 4 ? ip_address::v4(ends.server4) : ip6_of(1, 0x50); }
    [[nodiscard]] ip_address backend_address() const {
        if (ends.version == 4) return ip_address::v4(beside ? 0xc0000291 : 0xc6336491);
        return ip6_of(beside ? 1 : 2, 0x91);
    }
    router_config routing() const {
        router_config c = two_networks();
        ip_address const a = virtual_address();
        c.answer_for({&a, 1});
        return c;
    }
    service_config service(forward_mode mode) const {
        service_config s;
        s.address = virtual_address();
        s.ports = {80, 80};
        s.mode = mode;
        s.tunnel.source4 = ip_address::v4(0xc6336401);
        s.tunnel.source6 = ip6_of(2, 1);
        backend b;
        b.address = backend_address();
        b.beside_clients = beside;
        s.backends = {b};
        return s;
    }

    frame client_sends(segment const& s) { return w.sends(side::outside, link_frame(our_outside_mac, client_mac, tcp_datagram(ends, true, s))); }
    /// As the backend, with the virtual address.
    frame backend_sends(segment const& s) {
        side const from = beside ? side::outside : side::inside;
        return w.sends(from, link_frame(beside ? our_outside_mac : our_inside_mac, backend_mac, tcp_datagram(ends, false, s)));
    }
    /// It answers the question for its link address.
    void resolve() {
        bool const outside = beside;
        mac_address const ours = outside ? our_outside_mac : our_inside_mac;
        side const port = outside ? side::outside : side::inside;
        if (ends.version == 4) {
            w.sends(port, link_frame(ours, backend_mac, arp(2, backend_mac, backend_address().to_v4(), ours, outside ? 0xc0000201 : 0xc6336401), 0x0806));
            return;
        }
        byte_string const theirs = net6(outside ? 1 : 2, 0x91);
        discovery const d{.type = 136, .source = theirs, .destination = net6(outside ? 1 : 2, 1), .target = theirs, .rest = 0x60000000, .mac = backend_mac};
        w.sends(port, link_frame(ours, backend_mac, encode(d)));
    }
    /// The SYN waits for the backend's link address and leaves when that is known.
    left_frame open() {
        CHECK(client_sends(syn_of({.isn = 1000, .timestamps = false})).outcome == verdict::hold);
        w.left.clear();
        resolve();
        REQUIRE(w.left.size() == 1);
        return w.left[0];
    }
    [[nodiscard]] side backends_port() const { return beside ? side::outside : side::inside; }

    endpoints ends;
    bool beside;
    world w;
};

segment syn_ack() {
    segment s = syn_of({.isn = 700'000, .timestamps = false});
    s.flags = flags::syn | flags::ack;
    s.ack = 1001;
    return s;
}

}  // namespace

TEST_CASE("dsr and transparent, routed: the backend's link address is asked for, and packets go there though they are for the virtual address") {
    for (forward_mode const mode : {forward_mode::dsr, forward_mode::transparent})
        for (unsigned const version : {4u, 6u})
            for (bool const beside : {false, true}) {
                CAPTURE(version);
                CAPTURE(beside);
                routed_service s(mode, version, beside);
                left_frame const syn = s.open();
                CHECK(syn.exit == s.backends_port());
                CHECK(syn.to() == backend_mac);
                CHECK(syn.from() == (beside ? our_outside_mac : our_inside_mac));
                CHECK(syn.packet().destination == (version == 4 ? u32(s.ends.server4) : s.ends.server6));
                CHECK(syn.packet().hop_limit == 63);
                if (mode == forward_mode::transparent) {
                    s.w.left.clear();
                    CHECK(s.backend_sends(syn_ack()).reason == drop_reason::none);
                    REQUIRE(s.w.left.size() == 1);
                    CHECK(s.w.left[0].exit == side::outside);
                    CHECK(s.w.left[0].to() == client_mac);
                }
                s.w.left.clear();
                CHECK(s.client_sends({.seq = 1001, .ack = 700'001, .flags = flags::ack, .window = 502, .payload = filled(10)}).reason == drop_reason::none);
                REQUIRE(s.w.left.size() == 1);
                CHECK(s.w.left[0].exit == s.backends_port());
                CHECK(s.w.left[0].to() == backend_mac);
            }
}

TEST_CASE("ipip, routed: the outer packet takes the route to the backend, beside the clients too") {
    for (unsigned const version : {4u, 6u})
        for (bool const beside : {false, true}) {
            CAPTURE(version);
            routed_service s(forward_mode::ipip, version, beside);
            left_frame const syn = s.open();
            CHECK(syn.exit == s.backends_port());
            CHECK(syn.to() == backend_mac);
            decoded const d = syn.packet();
            CHECK(d.protocol == (version == 4 ? 4 : 41));
            CHECK(d.destination == bytes_of(s.backend_address()));
        }
}

TEST_CASE("dnat with a backend beside the clients: both directions go in and out through one port") {
    for (unsigned const version : {4u, 6u}) {
        routed_service s(forward_mode::dnat, version, true);
        left_frame const syn = s.open();
        CHECK(syn.exit == side::outside);
        CHECK(syn.to() == backend_mac);
        CHECK(syn.packet().destination == bytes_of(s.backend_address()));
        endpoints there = s.ends;
        there.server4 = 0xc0000291;
        there.server6 = net6(1, 0x91);
        s.w.left.clear();
        frame const f = s.w.sends(side::outside, link_frame(our_outside_mac, backend_mac, tcp_datagram(there, false, syn_ack())));
        CHECK(f.outcome == verdict::reply);
        REQUIRE(s.w.left.size() == 1);
        CHECK(s.w.left[0].exit == side::outside);
        CHECK(s.w.left[0].to() == client_mac);
        CHECK(s.w.left[0].packet().source == (version == 4 ? u32(s.ends.server4) : s.ends.server6));
    }
}

TEST_CASE("dsr, routed: a backend that does not answer for its link address is nobody, and the client hears of it") {
    routed_service s(forward_mode::dsr, 4);
    CHECK(s.client_sends(syn_of({.isn = 1000})).outcome == verdict::hold);
    s.w.left.clear();
    s.w.pass(5s);
    CHECK(s.w.dropped(drop_reason::neighbour_unresolved) == 1);
    bool told = false;
    for (left_frame const& l : s.w.left) told |= l.exit == side::outside && l.type() == 0x0800 && l.packet().protocol == 1 && l.packet().source_port == 0x0301;
    CHECK(told);
}
