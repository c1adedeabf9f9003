// SPDX-License-Identifier: BSL-1.0
// Rules that come while sessions are open and deny them: the sessions are kept, or ended.
#include "tests/support/nat_lab.hpp"
#include "tests/support/services.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

engine_config with(denied_sessions policy, guard_mode mode = guard_mode::off) {
    engine_config config = guarded(mode);
    config.tracking.denied_sessions = policy;
    return config;
}

/// Loads rules, and lets every flow be looked at.
template <class Line>
void load(Line& l, std::vector<acl_rule> rules) {
    engine_config next = l.proxy().config();
    next.rules = std::move(rules);
    l.proxy().configure(next);
    l.after(1);
}

acl_rule deny_port(std::uint16_t port, rule_action how = rule_action::deny) {
    acl_rule r;
    r.action = how;
    r.ports = {port, port};
    return r;
}
acl_rule deny_to(end const& whom) {
    acl_rule r;
    r.action = rule_action::deny;
    r.to = prefix_of(whom);
    return r;
}
acl_rule deny_from(end const& whom) {
    acl_rule r;
    r.action = rule_action::deny;
    r.from = prefix_of(whom);
    return r;
}

segment syn() { return {.seq = 100, .flags = flags::syn, .window = 60'000}; }
segment bytes(std::uint32_t seq, std::uint32_t ack, std::size_t count, unsigned more = 0) {
    return {.seq = seq, .ack = ack, .flags = flags::ack | more, .window = 60'000, .payload = filled(count)};
}

/// A client behind either port, and its server behind the other, through a lab.
struct session {
    nat_lab& l;
    side at;
    end client, service;           ///< as the client sees both
    end server = service, seen = client;  ///< as the server does

    outcome up(segment const& s) { return l.tcp(at, client, service, s); }
    outcome down(segment const& s) { return l.tcp(other(at), server, seen, s); }
    outcome up() { return l.udp(at, client, service); }
    outcome down() { return l.udp(other(at), server, seen); }

    /// The client's next number is 131 then, the server's 951.
    void open() {
        decoded const first = l.passes(up(syn()));
        seen = source_of(first);
        server = destination_of(first);
        l.passes(down({.seq = 900, .ack = 101, .flags = flags::syn | flags::ack, .window = 60'000}));
        l.passes(up(bytes(101, 901, 30)));
        l.passes(down(bytes(901, 131, 50)));
        l.passes(up(bytes(131, 951, 0)));
    }
    void open_udp() {
        decoded const first = l.passes(up());
        seen = source_of(first);
        server = destination_of(first);
        l.passes(down());
    }
    /// A RST to each end at the very number it expects, in its own addresses.
    void check_reset(outcome const& o, bool by_client) {
        REQUIRE(o.fate == verdict::reply);
        REQUIRE(o.beside.size() == 1);
        decoded const& to_client = by_client ? *o.packet : o.beside[0];
        decoded const& to_server = by_client ? o.beside[0] : *o.packet;
        CHECK(to_client.tcp.flags == flags::rst);
        CHECK(to_client.tcp.seq == 951);
        CHECK(source_of(to_client) == service);
        CHECK(destination_of(to_client) == client);
        CHECK(to_client.exit == at);
        CHECK(to_server.tcp.flags == flags::rst);
        CHECK(to_server.tcp.seq == 131);
        CHECK(source_of(to_server) == seen);
        CHECK(destination_of(to_server) == server);
        CHECK(to_server.exit == other(at));
    }
};

/// From inside and from outside, in both families, nothing translated.
template <class Story>
void either_way(denied_sessions policy, Story&& story) {
    for (world_of const w : both_families())
        for (side const at : {side::outside, side::inside}) {
            CAPTURE(w.version);
            CAPTURE(static_cast<int>(at));
            nat_lab l(w, {}, with(policy));
            bool const out = at == side::inside;
            story(l, session{l, at, out ? w.inside(5, 4000) : w.outside(9, 4000), out ? w.outside(9, 80) : w.inside(5, 80)});
        }
}

}  // namespace

TEST_CASE("a rule that comes later and denies a session is for new ones, where sessions are kept: both families, both directions") {
    either_way(denied_sessions::keep, [](nat_lab& l, session tcp) {
        session udp = tcp;
        udp.client.port = 5000;
        tcp.open();
        udp.open_udp();
        load(l, {deny_port(80)});
        l.passes(tcp.up(bytes(131, 951, 10)));
        l.passes(tcp.down(bytes(951, 141, 10)));
        l.passes(udp.up());
        l.passes(udp.down());
        tcp.client.port = udp.client.port = 6000;
        CHECK(tcp.up(syn()).reason == drop_reason::rule_denied);
        CHECK(udp.up().reason == drop_reason::rule_denied);
        CHECK(l.counters().flows_ended_by_rules == 0);
        CHECK(l.counters().dropped_total() == 2);
    });
}

TEST_CASE("where they are ended, a connection's next packet from either end resets both, and a new one is denied; what no rule denies goes on") {
    for (bool const by_client : {true, false})
        for (rule_action const how : {rule_action::deny, rule_action::reset})
            either_way(denied_sessions::end, [&](nat_lab& l, session denied) {
                session allowed = denied;
                allowed.service.port = 443;
                denied.open();
                allowed.open();
                load(l, {deny_port(80, how)});
                CHECK(l.counters().flows_ended_by_rules == 1);
                CHECK(l.proxy().flows_now() == 2);
                CHECK(denied.up(bytes(131, 0, 0, flags::rst)).reason == drop_reason::rule_ended);  // needs no answer
                denied.check_reset(by_client ? denied.up(bytes(131, 951, 10)) : denied.down(bytes(951, 131, 10)), by_client);
                CHECK(l.proxy().flows_now() == 1);
                CHECK(l.counters().resets_sent == 2);
                CHECK(denied.up(bytes(131, 951, 10)).reason == drop_reason::no_flow);
                CHECK(denied.up(syn()).fate == (how == rule_action::deny ? verdict::drop : verdict::reply));
                l.passes(allowed.up(bytes(131, 951, 10)));
                l.passes(allowed.down(bytes(951, 141, 10)));
            });
}

TEST_CASE("an ended connection of which nothing more comes is over in its closing time, and a SYN on its tuple is denied at once") {
    either_way(denied_sessions::end, [](nat_lab& l, session s) {
        s.open();
        load(l, {deny_port(80)});
        l.after(l.proxy().config().timeouts.closed + 130);
        CHECK(l.proxy().flows_now() == 0);
    });
    either_way(denied_sessions::end, [](nat_lab& l, session s) {
        s.open();
        load(l, {deny_port(80)});
        CHECK(s.up({.seq = 90'000'000, .flags = flags::syn, .window = 60'000}).reason == drop_reason::rule_denied);
        CHECK(l.proxy().flows_now() == 0);
    });
}

TEST_CASE("a handshake that rules come to deny goes no further, and is half open no more") {
    either_way(denied_sessions::end, [](nat_lab& l, session s) {
        l.passes(s.up(syn()));
        CHECK(l.proxy().half_open() == 1);
        load(l, {deny_port(80)});
        CHECK(l.proxy().half_open() == 0);
        outcome const o = s.down({.seq = 900, .ack = 101, .flags = flags::syn | flags::ack, .window = 60'000});
        REQUIRE(o.fate == verdict::reply);
        CHECK(o.packet->tcp.flags == flags::rst);
        CHECK(o.packet->tcp.seq == 101);
        CHECK(l.proxy().flows_now() == 0);
    });
}

TEST_CASE("spliced, each end hears the RST in its own numbers; while the server is asked, the client hears it at once") {
    for (unsigned version : {4u, 6u})
        for (bool const asked_only : {false, true}) {
            endpoints e;
            e.version = version;
            timeline l(with(denied_sessions::end, guard_mode::always), e);
            handshake_of<> h{l};
            h.challenge();
            h.validate();
            if (asked_only) {
                load(l, {deny_port(80)});
                auto const sent = l.sent_by_timers();
                REQUIRE(sent.size() == 1);
                CHECK(sent[0].tcp.flags == (flags::rst | flags::ack));
                CHECK(sent[0].tcp.seq == h.cookie + 1);
                CHECK(sent[0].exit == side::outside);
                CHECK(l.proxy().handshakes_now() == 0);
            } else {
                h.complete();
                l.client_sends(h.from_client(0, 0, filled(100)));
                l.server_sends(h.from_server(0, 100, filled(70)));
                l.client_sends(h.from_client(100, 70));
                load(l, {deny_port(80)});
                outcome const o = l.server_sends(h.from_server(70, 100, filled(5)));
                REQUIRE(o.fate == verdict::reply);
                CHECK(o.packet->tcp.seq == h.client.isn + 101);
                REQUIRE(o.beside.size() == 1);
                CHECK(o.beside[0].tcp.seq == h.cookie + 71);
            }
            CHECK(l.proxy().flows_now() == 0);
            CHECK(l.counters().flows_ended_by_rules == 1);
        }
}

TEST_CASE("of a datagram session that is ended nothing passes while either end goes on, nor does its server open it again from the other end") {
    either_way(denied_sessions::end, [](nat_lab& l, session s) {
        session ping = s;
        auto const echo = [&](bool request) {
            return request ? l.ip(s.at, ping_datagram(s.client, s.service, 77, true)) : l.ip(other(s.at), ping_datagram(s.service, s.client, 77, false));
        };
        s.open_udp();
        l.passes(echo(true));
        l.passes(echo(false));
        load(l, {deny_to(s.service)});
        CHECK(l.counters().flows_ended_by_rules == 2);
        for (unsigned n = 0; n < 10; ++n) {  // beyond every timeout of a flow that is not refreshed
            CHECK(s.down().reason == drop_reason::rule_ended);
            l.after(l.proxy().config().timeouts.udp_replied / 2);
        }
        CHECK(s.up().reason == drop_reason::rule_ended);
        CHECK(echo(false).reason == drop_reason::no_flow);  // its ends were silent for long enough
        CHECK(l.proxy().flows_now() == 1);
        CHECK(l.dropped(drop_reason::rule_ended) == 11);
        l.after(l.proxy().config().timeouts.udp_replied + 130);
        CHECK(l.proxy().flows_now() == 0);
        CHECK(s.up().reason == drop_reason::rule_denied);
    });
}

TEST_CASE("a datagram session goes on where rules allow it again, and gives way to others while they do not") {
    either_way(denied_sessions::end, [](nat_lab& l, session s) {
        s.open_udp();
        load(l, {deny_port(80)});
        CHECK(s.down().reason == drop_reason::rule_ended);
        load(l, {});
        l.passes(s.down());
        l.passes(s.up());
        CHECK(l.counters().flows_opened == 1);
        load(l, {deny_port(80)});
        for (unsigned n = 0; n < 300; ++n) {
            session newcomer{l, s.at, s.client, s.service};
            newcomer.client.port = 5000 + n;
            newcomer.service.port = 81;
            newcomer.open_udp();
            if (l.counters().flows_evicted != 0) break;
        }
        CHECK(l.counters().flows_evicted == 1);
        CHECK(s.up().reason == drop_reason::rule_denied);
    });
}

TEST_CASE("rules look at what the client sent to and from, before translation: source NAT, destination NAT") {
    for (world_of const w : both_families())
        for (bool const from_inside : {true, false}) {
            nat_config nat;
            if (from_inside)
                nat = napt(w);
            else
                nat.dnat = {{.to = prefix_of(w.pool(128)), .ports = {80, 80}, .target = address_of(w.inside(64).address), .target_ports = {8080, 8080}}};
            nat_lab l(w, nat, with(denied_sessions::end));
            session s{l, from_inside ? side::inside : side::outside, from_inside ? w.inside(5, 4000) : w.outside(9, 4000),
                      from_inside ? w.outside(9, 80) : w.pool(128, 80)};
            session datagrams = s;
            s.open();
            datagrams.open_udp();
            load(l, {from_inside ? deny_from(s.seen) : deny_to(s.server)});  // what the server sees is not what rules look at
            l.passes(s.up(bytes(131, 951, 0)));
            l.passes(datagrams.down());
            load(l, {from_inside ? deny_from(s.client) : deny_to(s.service)});
            CHECK(datagrams.down().reason == drop_reason::rule_ended);
            s.check_reset(s.down(bytes(951, 131, 10)), false);
            CHECK(l.ports_held(6) == 0);
        }
}

TEST_CASE("a session through a virtual service is ended by what rules say of the virtual address, and counts for its backend no more") {
    service_line<> l({.services = {service_of(2)}}, with(denied_sessions::end));
    REQUIRE(l.connect(1) == 0);
    l.client_data(1, 0, 0, 100);
    l.backend_data(0, 1, 0, 100, 300);
    l.client_data(1, 100, 300, 0);
    acl_rule to_backend;
    to_backend.action = rule_action::deny;
    to_backend.to = {ip_address::v4(backend4(0)), 32};
    load(l, {to_backend});
    CHECK(l.client_data(1, 100, 300, 0).fate == verdict::forward);
    load(l, {deny_port(80)});
    outcome const o = l.backend_data(0, 1, 300, 100, 50);
    REQUIRE(o.fate == verdict::reply);
    CHECK(o.packet->tcp.seq == 1101);
    REQUIRE(o.beside.size() == 1);
    CHECK(o.beside[0].tcp.seq == 700'301);
    CHECK(o.beside[0].source == u32(l.ends.server4));
    CHECK(l.open(0) == 0);
}

TEST_CASE("the policy itself changes by reload: switched on it ends what rules deny already, switched off it ends no more") {
    either_way(denied_sessions::keep, [](nat_lab& l, session s) {
        session later = s;
        later.client.port = 4001;
        s.open();
        load(l, {deny_port(80)});
        engine_config next = l.proxy().config();
        next.tracking.denied_sessions = denied_sessions::end;
        l.proxy().configure(next);
        l.after(1);
        s.check_reset(s.up(bytes(131, 951, 10)), true);
        load(l, {});
        later.open();
        next.tracking.denied_sessions = denied_sessions::keep;
        l.proxy().configure(next);
        l.after(1);
        l.passes(later.up(bytes(131, 951, 10)));
    });
}

TEST_CASE("many sessions are looked at in pieces, fewer at a time the more rules there are, and none is missed") {
    for (unsigned const rules : {1u, 1'000u}) {
        engine_config config = with(denied_sessions::end);
        config.limits.flows_v4 = 5'000;
        nat_lab l({4}, {}, config);
        world_of const w;
        for (unsigned n = 0; n < 4'000; ++n) l.passes(l.udp(side::inside, w.inside(5, 1'000 + n), w.outside(9, 80 + n % 2)));
        engine_config next = l.proxy().config();
        next.rules.assign(rules, deny_port(7));
        next.rules.back() = deny_port(80);
        l.proxy().configure(next);
        std::uint32_t const at_once = rules == 1 ? flows_swept_per_advance : rules_asked_per_advance / rules;
        outbox out(outbox_per_advance);
        unsigned calls = 0;
        for (std::uint64_t ended = 0; ended < 2'000; ++calls) {
            REQUIRE(calls < 5'000 / at_once + 1);
            time_point const now(std::chrono::milliseconds(1'000'000));
            REQUIRE(l.proxy().next_deadline() == now);  // at once
            l.proxy().advance(now, out);
            CHECK(l.counters().flows_ended_by_rules - ended <= at_once);
            ended = l.counters().flows_ended_by_rules;
        }
        CHECK(calls >= 2'000 / at_once);
        for (unsigned n = 0; n < 4'000; ++n)
            CHECK(l.udp(side::inside, w.inside(5, 1'000 + n), w.outside(9, 80 + n % 2)).reason == (n % 2 == 0 ? drop_reason::rule_ended : drop_reason::none));
        CHECK(l.counters().flows_ended_by_rules == 2'000);
    }
}
