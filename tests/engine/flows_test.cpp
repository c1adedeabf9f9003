// SPDX-License-Identifier: BSL-1.0
// Flows without a splice: rules, plain TCP, UDP and ICMP, errors, time, a full table, bursts.
#include <halfproxy/engine/engine.hpp>

#include <halfproxy/core/random.hpp>

#include "tests/support/splice.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using line = timeline<>;
using hands = handshake_of<>;

endpoints family(unsigned version) {
    endpoints e;
    e.version = version;
    return e;
}

byte_string udp_from(endpoints const& e, bool client, byte_string const& payload = filled(20)) {
    unsigned const from = client ? e.client_port : e.server_port, to = client ? e.server_port : e.client_port;
    byte_string const datagram = u16(from) + u16(to) + u16(8 + static_cast<unsigned>(payload.size())) + u16(0) + payload;
    return framed(e, datagram_of(e, client, 17, datagram, 6));
}

byte_string ping_from(endpoints const& e, bool client, bool request, unsigned id = 77) {
    bool const v4 = e.version == 4;
    unsigned const type = v4 ? (request ? 8 : 0) : (request ? 128 : 129);
    return framed(e, datagram_of(e, client, v4 ? 1 : 58, u8(type) + u8(0) + u16(0) + u16(id) + u16(1) + filled(32), 2));
}

/// An error about `quoted`, an IP datagram, from one end (or a router beside it) to the other.
byte_string error_about(endpoints const& e, bool from_client, byte_string const& quoted, bool from_router = false) {
    bool const v4 = e.version == 4;
    byte_string const message = u8(v4 ? 3 : 2) + u8(v4 ? 4 : 0) + u16(0) + u32(1400) + quoted;
    endpoints sender = e;
    if (from_router) (from_client ? sender.client4 : sender.server4) ^= 0x7f;
    return framed(e, datagram_of(sender, from_client, v4 ? 1 : 58, message, 2));
}

void establish(line& l, hands& h) {
    REQUIRE(l.client_sends(syn_of(h.client)).fate == verdict::forward);
    REQUIRE(l.server_sends(h.syn_ack()).fate == verdict::forward);
    h.cookie = h.server.isn;
    h.cookie_clock = h.server.clock;
    h.with_timestamps = h.client.timestamps && h.server.timestamps;
    REQUIRE(l.client_sends(h.third_ack()).fate == verdict::forward);
}

engine_config unguarded() { return guarded(guard_mode::off); }

}  // namespace

// --- Rules --------------------------------------------------------------------------------------------------------------------------

TEST_CASE("F46 rules decide before a SYN is answered: deny is silent, reset answers with a RST (RFC 9293 section 3.10.7.1)") {
    for (guard_mode mode : {guard_mode::off, guard_mode::always}) {
        engine_config config = guarded(mode);
        config.rules = {{.action = rule_action::deny, .protocol = ip_protocol::tcp, .ports = {80, 80}},
                        {.action = rule_action::reset, .protocol = ip_protocol::tcp, .ports = {81, 81}}};
        line l(config);
        segment syn = syn_of({.isn = 0xffff'ffff});
        CHECK(l.client_sends(syn).reason == drop_reason::rule_denied);
        l.ends.server_port = 81;
        outcome const o = l.client_sends(syn);
        REQUIRE(o.fate == verdict::reply);
        CHECK(o.packet->tcp.flags == (flags::rst | flags::ack));
        CHECK(o.packet->tcp.seq == 0);
        CHECK(o.packet->tcp.ack == 0);  // ISN + 1
        CHECK(l.proxy().flows_now() == 0);
    }
}

TEST_CASE("a rule of fast lets both directions through without flow: TCP, UDP, ICMP, and the errors about them") {
    for (unsigned version : {4u, 6u}) {
        engine_config config = guarded();
        config.rules = {{.action = rule_action::fast, .ports = {80, 80}},
                        {.action = rule_action::fast, .protocol = std::uint8_t{ip_protocol::icmp}},
                        {.action = rule_action::fast, .protocol = std::uint8_t{ip_protocol::icmpv6}},
                        {.action = rule_action::deny}};
        line l(config, family(version));
        hands h{l};
        segment const syn = syn_of(h.client);
        CHECK(l.client_sends(syn).fate == verdict::forward);
        CHECK(l.server_sends(h.syn_ack()).fate == verdict::forward);
        CHECK(l.client_sends(h.third_ack()).fate == verdict::forward);
        CHECK(l.server_sends(h.from_server(0, 0, filled(9))).fate == verdict::forward);
        CHECK(l.sends(side::outside, udp_from(l.ends, true)).fate == verdict::forward);
        CHECK(l.sends(side::inside, udp_from(l.ends, false)).fate == verdict::forward);
        CHECK(l.sends(side::outside, ping_from(l.ends, true, true)).fate == verdict::forward);
        CHECK(l.sends(side::inside, ping_from(l.ends, false, false)).fate == verdict::forward);
        CHECK(l.sends(side::inside, error_about(l.ends, false, tcp_datagram(l.ends, true, syn))).fate == verdict::forward);
        CHECK(l.proxy().flows_now() == 0);
        l.ends.server_port = 81;
        CHECK(l.client_sends(syn).reason == drop_reason::rule_denied);
        CHECK(l.sends(side::outside, udp_from(l.ends, true)).reason == drop_reason::rule_denied);
    }
}

// --- TCP without splice ---------------------------------------------------------------------------------------------------------------

TEST_CASE("with the guard off a connection passes unchanged, both families") {
    for (unsigned version : {4u, 6u}) {
        line l(unguarded(), family(version));
        hands h{l};
        segment const syn = syn_of(h.client);
        byte_string const sent = framed(l.ends, tcp_datagram(l.ends, true, syn));
        CHECK(l.client_sends(syn).packet->bytes == sent);
        CHECK(l.proxy().half_open() == 1);
        l.server_sends(h.syn_ack());
        h.cookie = h.server.isn;
        h.cookie_clock = h.server.clock;
        l.client_sends(h.third_ack());
        CHECK(l.proxy().half_open() == 0);
        CHECK(l.server_sends(h.from_server(0, 0, filled(1000))).fate == verdict::forward);
        CHECK(l.proxy().flows_now() == 1);
    }
}

TEST_CASE("the guard switches itself on and off, and cookies are honoured in grace") {
    engine_config config = guarded(guard_mode::automatic);
    config.guard.marks.half_open_on = 4;
    config.guard.marks.half_open_off = 2;
    config.guard.min_active = 10'000;
    config.guard.grace = 5'000;
    config.timeouts.syn_sent = 8'000;
    line l(config);
    l.at(0);
    for (unsigned port = 1; port <= 4; ++port) {
        l.ends.client_port = port;
        CHECK(l.client_sends(syn_of({.isn = port})).fate == verdict::forward);
    }
    l.ends.client_port = 5;
    hands h{l};
    h.challenge();  // active now
    CHECK(l.proxy().guard_status().state() == guard_state::active);
    l.at(10'200);  // the half-open ones are gone by their timeout
    CHECK(l.proxy().half_open() == 0);
    CHECK(l.proxy().guard_status().state() == guard_state::grace);
    l.ends.client_port = 6;
    CHECK(l.client_sends(syn_of({.isn = 5})).fate == verdict::forward);
    l.ends.client_port = 5;
    h.validate();
    CHECK(h.complete().fate == verdict::forward);
    l.at(16'000);
    CHECK(l.proxy().guard_status().state() == guard_state::ready);
    l.ends.client_port = 7;
    CHECK(l.client_sends({.seq = 1, .ack = 1, .flags = flags::ack}).reason == drop_reason::no_flow);
}

TEST_CASE("monitor counts each SYN it would have challenged once and lets it through, a reopened tuple's too") {
    engine_config config = guarded(guard_mode::monitor);
    config.guard.marks.half_open_on = 0;
    line l(config);
    hands h{l};
    establish(l, h);
    CHECK(l.counters().challenges_spared == 1);
    segment reset = h.from_client(0, 0);
    reset.flags = flags::rst | flags::ack;
    l.client_sends(reset);
    CHECK(l.client_sends(syn_of({.isn = 5'000'000})).fate == verdict::forward);
    CHECK(l.counters().challenges_spared == 2);
    CHECK(l.counters().cookies_sent == 0);
}

TEST_CASE("a draining engine answers no SYN and lets none through, not even one on a tuple that is over") {
    for (guard_mode mode : {guard_mode::off, guard_mode::always}) {
        line l(guarded(mode));
        hands h{l};
        if (mode == guard_mode::off) establish(l, h);
        else h.all();
        l.proxy().drain();
        CHECK(l.client_sends(h.from_client(0, 0, filled(10))).fate == verdict::forward);
        segment reset = h.from_client(10, 0);
        reset.flags = flags::rst | flags::ack;
        CHECK(l.client_sends(reset).fate == verdict::forward);
        CHECK(l.client_sends(syn_of({.isn = 5'000'000})).reason == drop_reason::policy_denied);
        l.ends.client_port = 9;
        CHECK(l.client_sends(syn_of({.isn = 5})).reason == drop_reason::policy_denied);
    }
}

TEST_CASE("F42 a connection that began before us is picked up only when the configuration says so, and never from a denied source") {
    segment const bare{.seq = 100, .ack = 200, .flags = flags::ack, .window = 500};
    segment data = bare;
    data.payload = filled(10);
    for (pickup p : {pickup::syn_only, pickup::data_only, pickup::any}) {
        engine_config config = unguarded();
        config.tracking.pickup = p;
        line l(config);
        CHECK((l.client_sends(bare).fate == verdict::forward) == (p == pickup::any));
        l.ends.client_port = 5;
        CHECK((l.client_sends(data).fate == verdict::forward) == (p != pickup::syn_only));
        if (p == pickup::any) CHECK(l.server_sends({.seq = 200, .ack = 110, .flags = flags::ack, .window = 1}).fate == verdict::forward);
    }
    engine_config config = unguarded();
    config.tracking.pickup = pickup::any;
    config.rules = {{.action = rule_action::deny}};
    line l(config);
    CHECK(l.client_sends(data).reason == drop_reason::rule_denied);
}

TEST_CASE("packets of a flow count only from the side where their sender lives") {
    line l(guarded());
    hands h{l};
    h.all();
    byte_string const forged = framed(l.ends, tcp_datagram(l.ends, false, h.from_server(0, 0, filled(5))));
    CHECK(l.sends(side::outside, forged).reason == drop_reason::wrong_side);
}

TEST_CASE("equal tuples in different VLANs are different flows") {
    line l(guarded());
    hands h{l};
    h.all();
    l.ends.zone = 7;
    CHECK(l.client_sends(h.from_client(0, 0, filled(5))).reason == drop_reason::cookie_invalid);
    hands other_zone{l};
    other_zone.server.isn = 5;
    other_zone.all();
    CHECK(l.proxy().flows_now() == 2);
    l.ends.zone = 0;
    CHECK(l.client_sends(h.from_client(0, 0, filled(5))).packet->tcp.ack == h.server.isn + 1);
}

// --- UDP and ICMP ---------------------------------------------------------------------------------------------------------------------

TEST_CASE("a UDP flow that is not answered ends soon whatever its sender does, an answered one is kept alive by answers") {
    for (unsigned version : {4u, 6u}) {
        engine_config config = guarded();
        config.timeouts.udp_new = 30'000;
        config.timeouts.udp_replied = 180'000;
        line l(config, family(version));
        l.at(0);
        l.sends(side::outside, udp_from(l.ends, true));
        for (std::uint64_t ms = 10'000; ms <= 29'000; ms += 9'500) {
            l.at(ms);
            CHECK(l.sends(side::outside, udp_from(l.ends, true)).fate == verdict::forward);
        }
        l.at(30'100);
        CHECK(l.proxy().flows_now() == 0);
        l.sends(side::outside, udp_from(l.ends, true));
        CHECK(l.sends(side::inside, udp_from(l.ends, false)).fate == verdict::forward);
        std::uint64_t const answered = l.now_ms();
        l.at(answered + 100'000);
        l.sends(side::outside, udp_from(l.ends, true));
        l.at(answered + 179'900);
        CHECK(l.proxy().flows_now() == 1);
        l.sends(side::inside, udp_from(l.ends, false));
        l.at(answered + 350'000);
        CHECK(l.proxy().flows_now() == 1);
        l.at(answered + 179'900 + 180'200);
        CHECK(l.proxy().flows_now() == 0);
        CHECK(l.counters().flows_opened == 2);
    }
}

TEST_CASE("an ICMP query opens a flow by its identifier, and an answer nobody asked for is dropped") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        CHECK(l.sends(side::inside, ping_from(l.ends, false, false)).reason == drop_reason::no_flow);
        CHECK(l.sends(side::outside, ping_from(l.ends, true, true)).fate == verdict::forward);
        CHECK(l.sends(side::inside, ping_from(l.ends, false, false, 78)).reason == drop_reason::no_flow);
        CHECK(l.sends(side::inside, ping_from(l.ends, false, false)).fate == verdict::forward);
        CHECK(l.proxy().flows_now() == 1);
    }
}

TEST_CASE("UDP without a checksum stays without one (RFC 768)") {
    line l(guarded());
    byte_string frame = udp_from(l.ends, true);
    put16(frame, 14 + 20 + 6, 0);
    outcome const o = l.sends(side::outside, frame);
    CHECK(o.fate == verdict::forward);
    CHECK(get16(o.packet->transport, 6) == 0);
}

// --- Malformed, fragments, and what is none of ours -------------------------------------------------------------------------------------

TEST_CASE("what is not IP, and what keeps a link alive, passes unchanged and uncounted as flow") {
    line l(guarded());
    byte_string const arp = ethernet(filled(46, 0), {}, 0x0806);
    CHECK(l.sends(side::outside, arp).fate == verdict::forward);
    ip4 ospf;
    ospf.protocol = 89;
    ospf.destination = 0xe0000005;
    l.verify_checksums = true;
    CHECK(l.sends(side::inside, ethernet(encode(ospf, filled(40)))).fate == verdict::forward);
    ip6 six;
    byte_string const neighbour = icmp_packet(six, 135, 0, filled(16));
    CHECK(l.sends(side::outside, ethernet(neighbour)).fate == verdict::forward);
    CHECK(l.proxy().flows_now() == 0);
}

TEST_CASE("malformed packets are dropped or passed as configured, and counted by reason either way") {
    for (malformed_policy policy : {malformed_policy::drop, malformed_policy::pass}) {
        engine_config config = unguarded();
        config.normalize.malformed = policy;
        line l(config);
        l.verify_checksums = false;
        ip4 bad_length;
        bad_length.total_length = 4000;
        tcp bad_offset;
        bad_offset.data_offset = 4;
        tcp bad_options;
        bad_options.options = {2, 0, 0, 0};
        struct {
            byte_string datagram;
            drop_reason reason;
        } const cases[] = {{tcp_packet(bad_length, {}), drop_reason::ip_total_length},
                           {tcp_packet(ip4{}, bad_offset), drop_reason::tcp_data_offset},
                           {tcp_packet(ip4{}, bad_options), drop_reason::tcp_options}};
        for (auto const& c : cases) {
            byte_string frame = ethernet(c.datagram);
            std::vector<byte_string> one{frame};
            std::uint64_t const before = l.counters().malformed_passed[static_cast<std::size_t>(c.reason)];
            halfproxy::frame f;
            one[0].resize(frame.size() + 64);
            f.data = one[0].data();
            f.length = f.wire_length = static_cast<std::uint32_t>(frame.size());
            f.capacity = static_cast<std::uint32_t>(one[0].size());
            outbox out(8);
            l.proxy().process({&f, 1}, time_point(std::chrono::seconds(2000)), out);
            bool const drops = policy == malformed_policy::drop;
            CHECK(f.outcome == (drops ? verdict::drop : verdict::forward));
            CHECK(f.reason == (drops ? c.reason : drop_reason::none));
            CHECK(l.counters().malformed_passed[static_cast<std::size_t>(c.reason)] == before + (drops ? 0 : 1));
        }
    }
}

TEST_CASE("fragments pass or not as configured, first ones as well as later ones") {
    for (fragment_policy policy : {fragment_policy::pass, fragment_policy::drop})
        for (unsigned field : {0x2000u, 0x2010u, 0x0010u}) {  // first, middle, last
            engine_config config = unguarded();
            config.normalize.fragments = policy;
            line l(config);
            l.verify_checksums = false;
            ip4 ip;
            ip.protocol = 17;
            ip.fragment = field;
            outcome const o = l.sends(side::outside, ethernet(encode(ip, u16(1000) + u16(2000) + u16(500) + u16(0) + filled(40))));
            CHECK((o.fate == verdict::forward) == (policy == fragment_policy::pass));
            if (policy == fragment_policy::drop) CHECK(o.reason == drop_reason::fragment_denied);
        }
}

TEST_CASE("an established TCP flow lives through its own fragments where the later ones pass unseen") {
    engine_config config = guarded();
    config.normalize.fragments = fragment_policy::pass;
    line l(config);
    hands h{l};
    h.all();
    byte_string first = tcp_datagram(l.ends, true, h.from_client(0, 0, filled(400)));
    put16(first, 6, 0x2000);
    put16(first, 10, 0);
    put16(first, 10, naive_checksum(byte_view(first).first(20)));
    l.verify_checksums = false;
    outcome const o = l.sends(side::outside, ethernet(first));
    REQUIRE(o.fate == verdict::forward);
    CHECK(o.packet->tcp.ack == h.server.isn + 1);
    CHECK(l.server_sends(h.from_server(0, 3000)).fate == verdict::forward);  // acknowledges what came in later fragments
}

TEST_CASE("a SYN to a group is not answered (RFC 9293 section 3.9.2.3)") {
    line four(guarded());
    four.ends.server4 = 0xffffffff;
    CHECK(four.client_sends(syn_of({.isn = 5})).reason == drop_reason::ip_destination);
    line six(guarded(), family(6));
    six.ends.server6 = u8(0xff) + u8(2) + zeros(13) + u8(1);
    CHECK(six.client_sends(syn_of({.isn = 5})).reason == drop_reason::ip_destination);
}

TEST_CASE("fragments that cannot be are malformed (RFC 791, RFC 3128)") {
    auto const reason_of = [](unsigned fragment, std::size_t bytes, unsigned protocol) {
        line l(guarded(guard_mode::off));
        l.verify_checksums = false;
        ip4 ip;
        ip.fragment = fragment;
        ip.protocol = protocol;
        return l.sends(side::outside, ethernet(encode(ip, zeros(bytes)))).reason;
    };
    CHECK(reason_of(0x2001, 64, 6) == drop_reason::fragment_malformed);   // over the TCP flags
    CHECK(reason_of(0x2001, 64, 47) == drop_reason::none);
    CHECK(reason_of(0x2002, 61, 47) == drop_reason::fragment_malformed);  // not whole units of 8
    CHECK(reason_of(0x0002, 61, 47) == drop_reason::none);
    CHECK(reason_of(0x1fff, 8, 47) == drop_reason::fragment_malformed);   // 65528 + 8
    CHECK(reason_of(0x1fff, 7, 47) == drop_reason::none);
}

TEST_CASE("sources that no connection can have are refused (RFC 1122 section 3.2.1.3)") {
    for (std::uint32_t source : {0xe0000001u, 0xffffffffu, 0xf0000001u, 0x00000001u, 0u}) {
        line l(guarded());
        l.ends.client4 = source;
        CHECK(l.client_sends(syn_of({.isn = 5})).reason == drop_reason::ip_source);
    }
    line land(guarded());
    land.ends.client4 = land.ends.server4;
    land.ends.client_port = land.ends.server_port;
    CHECK(land.client_sends(syn_of({.isn = 5})).reason == drop_reason::ip_source);
    line six(guarded(), family(6));
    six.ends.client6 = u8(0xff) + u8(2) + zeros(13) + u8(1);
    CHECK(six.client_sends(syn_of({.isn = 5})).reason == drop_reason::ip_source);
    six.ends.client6 = zeros(16);
    CHECK(six.client_sends(syn_of({.isn = 5})).reason == drop_reason::ip_source);
}

// --- Time -----------------------------------------------------------------------------------------------------------------------------

TEST_CASE("a flow ends by its timeout, not before, and next_deadline tells when to ask") {
    engine_config config = unguarded();
    config.timeouts.syn_sent = 5'000;
    line l(config);
    CHECK_FALSE(l.proxy().next_deadline().has_value());
    l.at(0);
    l.client_sends(syn_of({.isn = 5}));
    REQUIRE(l.proxy().next_deadline().has_value());
    l.at(4'999);
    CHECK(l.proxy().flows_now() == 1);
    l.at(5'064);
    CHECK(l.proxy().flows_now() == 0);
    CHECK(l.proxy().half_open() == 0);
    CHECK_FALSE(l.proxy().next_deadline().has_value());
}

TEST_CASE("time that runs backwards is taken as the last time") {
    line l(unguarded());
    outbox out(256);
    hands h{l};
    establish(l, h);
    l.at(10'000);
    l.proxy().advance(time_point(std::chrono::milliseconds(5)), out);
    CHECK(l.proxy().flows_now() == 1);
    CHECK(l.client_sends(h.from_client(0, 0, filled(4))).fate == verdict::forward);
}

TEST_CASE("flows age across the wrap of the stamps at 2^32 ms, and a timeout of never is never over") {
    engine_config config = unguarded();
    config.timeouts.established = never;
    line l(config);
    hands h{l};
    establish(l, h);
    constexpr std::uint64_t day = 86'400'000;
    for (std::uint64_t d = 1; d <= 60; ++d) l.at(d * day);
    CHECK(l.proxy().flows_now() == 1);
    CHECK(l.client_sends(h.from_client(0, 0, filled(4))).fate == verdict::forward);
    l.ends.client_port = 7;
    l.client_sends(syn_of({.isn = 5}));
    CHECK(l.proxy().flows_now() == 2);
    l.after(120'200);
    CHECK(l.proxy().flows_now() == 1);
}

TEST_CASE("an idle flow whose timeout is never does not give way when the table is full") {
    engine_config config = unguarded();
    config.timeouts.established = never;
    config.limits.flows_v4 = 1;
    line l(config);
    hands h{l};
    establish(l, h);
    for (std::uint64_t d = 1; d <= 24; ++d) l.at(d * 86'400'000);
    l.ends.client_port = 7;
    CHECK(l.client_sends(syn_of({.isn = 5})).reason == drop_reason::table_full);
    CHECK(l.counters().flows_evicted == 0);
}

TEST_CASE("advance() does a bounded amount of work and says that more is due") {
    engine_config config = unguarded();
    config.limits.flows_v4 = 2000;
    config.timeouts.syn_sent = 1'000;
    half_proxy proxy(config);
    outbox out(256);
    for (unsigned port = 1; port <= 1000; ++port) {
        endpoints e;
        e.client_port = port;
        byte_string bytes = framed(e, tcp_datagram(e, true, syn_of({.isn = port})));
        frame f;
        f.data = bytes.data();
        f.length = f.wire_length = f.capacity = static_cast<std::uint32_t>(bytes.size());
        proxy.process({&f, 1}, time_point(std::chrono::seconds(1)), out);
    }
    REQUIRE(proxy.flows_now() == 1000);
    time_point const late(std::chrono::seconds(100));
    std::uint32_t calls = 0;
    for (std::uint32_t left = 1000; left > 0; ++calls) {
        proxy.advance(late, out);
        CHECK(left - proxy.flows_now() <= timers_per_advance);
        left = proxy.flows_now();
        if (left > 0) CHECK(*proxy.next_deadline() <= late);
        REQUIRE(calls < 100);
    }
    CHECK(calls >= 1000 / timers_per_advance);
}

TEST_CASE("retries that find the outbox full wait for the next slot and are not lost") {
    line l(guarded());
    hands h{l};
    h.challenge();
    h.validate();
    outbox none(0);
    l.proxy().advance(time_point(std::chrono::milliseconds(1'001'200)), none);
    CHECK(l.counters().syns_retransmitted == 0);
    l.at(1'400);
    CHECK(l.counters().syns_retransmitted == 1);
}

TEST_CASE("a SYN-ACK for which the outbox has no room is dropped, and taken when the server repeats it") {
    line l(guarded());
    hands h{l};
    h.challenge();
    h.validate();
    byte_string bytes = framed(l.ends, tcp_datagram(l.ends, false, h.syn_ack()));
    byte_string room = bytes;
    room.resize(256);
    frame f;
    f.data = room.data();
    f.length = f.wire_length = static_cast<std::uint32_t>(bytes.size());
    f.capacity = 256;
    f.arrival = side::inside;
    outbox none(0);
    l.proxy().process({&f, 1}, time_point(std::chrono::milliseconds(1'000'000)), none);
    CHECK(f.reason == drop_reason::outbox_full);
    CHECK(h.complete().fate == verdict::forward);
}

// --- A full table -----------------------------------------------------------------------------------------------------------------------

TEST_CASE("F49 when the table is full embryonic flows give way, then closing ones, then unanswered datagrams; never an established one") {
    engine_config config = unguarded();
    config.limits.flows_v4 = 4;
    line l(config);
    hands h{l};
    establish(l, h);                          // stays
    l.ends.client_port = 2;
    hands closing{l};
    establish(l, closing);
    segment reset = closing.from_client(0, 0);
    reset.flags = flags::rst | flags::ack;
    l.client_sends(reset);                    // closing
    l.ends.client_port = 3;
    l.sends(side::outside, udp_from(l.ends, true));  // unanswered
    l.ends.client_port = 4;
    l.client_sends(syn_of({.isn = 4}));       // embryonic
    REQUIRE(l.proxy().flows_now() == 4);
    auto const is_there = [&l](unsigned port) {
        bool found = false;
        l.proxy().for_each_flow([&](auto const& f) { found = found || f.tuple[0].source_port == port; });
        return found;
    };
    auto const newcomer_establishes = [&](unsigned port) {
        l.ends.client_port = port;
        hands n{l};
        establish(l, n);
    };
    newcomer_establishes(11);
    CHECK_FALSE(is_there(4));
    CHECK(is_there(2));
    newcomer_establishes(12);
    CHECK_FALSE(is_there(2));
    CHECK(is_there(3));
    newcomer_establishes(13);
    CHECK_FALSE(is_there(3));
    l.ends.client_port = 14;
    CHECK(l.client_sends(syn_of({.isn = 4})).reason == drop_reason::table_full);
    CHECK(is_there(40000));
    CHECK(l.proxy().flows_now() == 4);
    CHECK(l.counters().flows_evicted == 3);
}

TEST_CASE("F49 SYNs are answered although the table is full; a proven client that finds no room may try again") {
    engine_config config = guarded();
    config.limits.flows_v4 = 1;
    line l(config);
    hands h{l};
    h.all();
    l.ends.client_port = 2;
    hands second{l};
    second.challenge();
    CHECK(l.client_sends(second.third_ack()).reason == drop_reason::table_full);
    CHECK(l.proxy().handshakes_now() == 0);
}

TEST_CASE("handshakes with servers are bounded") {
    engine_config config = guarded();
    config.limits.handshakes = 1;
    line l(config);
    hands h{l};
    h.challenge();
    h.validate();
    l.ends.client_port = 2;
    hands second{l};
    second.challenge();
    CHECK(l.client_sends(second.third_ack()).reason == drop_reason::handshakes_full);
    CHECK(l.proxy().flows_now() == 1);
    l.ends.client_port = 40000;
    h.complete();
    l.ends.client_port = 2;
    second.validate();
}

TEST_CASE("a table without room for any flow drops, without harm") {
    engine_config config = unguarded();
    config.limits = {.flows_v4 = 0, .flows_v6 = 0, .handshakes = 0};
    for (unsigned version : {4u, 6u}) {
        line l(config, family(version));
        CHECK(l.client_sends(syn_of({.isn = 4})).reason == drop_reason::table_full);
        CHECK(l.sends(side::outside, udp_from(l.ends, true)).reason == drop_reason::table_full);
    }
}

// --- Bursts -----------------------------------------------------------------------------------------------------------------------------

TEST_CASE("in one burst a packet finds the flow that an earlier packet of it opened") {
    line l(unguarded());
    std::vector<byte_string> frames{udp_from(l.ends, true), udp_from(l.ends, true), udp_from(l.ends, true)};
    for (outcome const& o : l.burst(side::outside, frames)) CHECK(o.fate == verdict::forward);
    CHECK(l.proxy().flows_now() == 1);
    l.ends.client_port = 2;
    hands h{l};
    std::vector<byte_string> syns(3, framed(l.ends, tcp_datagram(l.ends, true, syn_of(h.client))));
    for (outcome const& o : l.burst(side::outside, syns)) CHECK(o.fate == verdict::forward);
    CHECK(l.proxy().flows_now() == 2);
    CHECK(l.counters().flows_opened == 2);
}

TEST_CASE("in one burst a packet does not find the flow that an earlier packet of it closed") {
    line l(guarded());
    hands h{l};
    h.challenge();
    h.validate();
    segment reset;
    reset.flags = flags::rst;
    reset.seq = h.client.isn + 1;
    // The RST frees the record; the ACK behind it had that record as its candidate, and reopens by its cookie; what follows finds that.
    std::vector<byte_string> frames{framed(l.ends, tcp_datagram(l.ends, true, reset)), framed(l.ends, tcp_datagram(l.ends, true, h.third_ack())),
                                    framed(l.ends, tcp_datagram(l.ends, true, h.third_ack()))};
    auto const got = l.burst(side::outside, frames);
    CHECK(got[0].packet->tcp.flags == flags::rst);
    REQUIRE(got[1].fate == verdict::forward);
    CHECK(got[1].packet->tcp.flags == flags::syn);
    CHECK(got[2].reason == drop_reason::handshake_pending);
    CHECK(l.counters().flows_opened == 2);
    CHECK(l.proxy().flows_now() == 1);
}

TEST_CASE("a record that changes hands within a burst is not taken for its former flow") {
    engine_config config = unguarded();
    config.limits.flows_v4 = 1;
    line l(config);
    l.client_sends(syn_of({.isn = 4}));
    endpoints second = l.ends;
    second.client_port = 2;
    // The newcomer evicts the embryonic flow; the last packet had its record as candidate.
    std::vector<byte_string> frames{framed(second, tcp_datagram(second, true, syn_of({.isn = 9}))),
                                    framed(l.ends, tcp_datagram(l.ends, true, {.seq = 5, .ack = 1, .flags = flags::ack}))};
    auto const got = l.burst(side::outside, frames);
    CHECK(got[0].fate == verdict::forward);
    CHECK(got[1].reason == drop_reason::no_flow);
}

TEST_CASE("a burst of max_burst packets is decided whole") {
    line l(guarded());
    std::vector<byte_string> frames;
    for (unsigned i = 0; i < max_burst; ++i) {
        endpoints e;
        e.client_port = 1000 + i;
        frames.push_back(framed(e, tcp_datagram(e, true, syn_of({.isn = i}))));
    }
    for (outcome const& o : l.burst(side::outside, frames)) CHECK(o.fate == verdict::reply);
    CHECK(l.counters().received == max_burst);
}

TEST_CASE("of a burst beyond max_burst no packet passes undecided") {
    line l(guarded());
    std::vector<byte_string> frames;
    for (unsigned i = 0; i < max_burst + 3; ++i) {
        endpoints e;
        e.client_port = 1000 + i;
        frames.push_back(framed(e, tcp_datagram(e, true, syn_of({.isn = i}))));
    }
    for (outcome const& o : l.burst(side::outside, frames)) CHECK(o.fate == verdict::reply);
    CHECK(l.counters().received == max_burst + 3);
}

// --- Any packets at all -------------------------------------------------------------------------------------------------------------------

TEST_CASE("packet soup: every packet gets one verdict, nothing leaks, whatever the order") {
    for (guard_mode mode : {guard_mode::off, guard_mode::automatic, guard_mode::always})
        for (strictness checks : {strictness::off, strictness::loose, strictness::strict})
            for (std::uint64_t seed = 1; seed <= 3; ++seed) {
                engine_config config = guarded(mode);
                config.limits = {.flows_v4 = 8, .flows_v6 = 8, .handshakes = 3};
                config.guard.marks.half_open_on = 3;
                config.guard.marks.half_open_off = 1;
                config.tracking = {.strictness = checks, .pickup = seed == 2 ? pickup::any : pickup::syn_only};
                config.normalize.verify_checksums = false;
                config.server_syn.retries = 1;
                line l(config);
                l.verify_checksums = false;
                split_mix64 random(seed);
                std::uint32_t last_seq = 1000, last_ack = 0;
                l.inspect = [&](decoded const& d) {
                    if (d.protocol == 6 && random.below(2) == 0) {
                        last_seq = d.tcp.ack;
                        last_ack = d.tcp.seq + 1;
                    }
                };
                for (int i = 0; i < 1500; ++i) {
                    if (random.below(8) == 0) l.after(random.below(40) == 0 ? 100'000 : random.below(2000));
                    l.ends.version = random.below(2) ? 4 : 6;
                    l.ends.client_port = 1 + random.below(12);
                    l.ends.zone = 0;
                    segment s;
                    s.seq = last_seq + random.below(3) - 1;
                    s.ack = last_ack + random.below(2) * random.below(500);
                    constexpr unsigned kinds[] = {2, 2, 16, 16, 16, 18, 17, 4, 20, 24, 0, 63};
                    s.flags = kinds[random.below(12)];
                    s.window = random.below(65536);
                    if (random.below(2)) s.timestamps = {{random.below(1000), last_ack}};
                    if (random.below(2)) s.mss = 1460;
                    if (random.below(2)) s.scale = random.below(20);
                    if (random.below(4) == 0) s.sack = {{last_ack, last_ack + 5}};
                    s.payload = filled(random.below(3) * random.below(200));
                    bool const client = random.below(2) == 0;
                    side const arrival = random.below(20) == 0 ? (client ? side::inside : side::outside) : (client ? side::outside : side::inside);
                    byte_string frame;
                    switch (random.below(10)) {
                        case 0: frame = udp_from(l.ends, client); break;
                        case 1: frame = ping_from(l.ends, client, random.below(2) == 0, l.ends.client_port); break;
                        case 2: frame = error_about(l.ends, client, tcp_datagram(l.ends, !client, s)); break;
                        default: frame = framed(l.ends, tcp_datagram(l.ends, client, s));
                    }
                    l.sends(arrival, std::move(frame));
                }
                CHECK(l.proxy().handshakes_now() <= 3);
                l.after(200'000'000);  // two days: everything is over
                CHECK(l.proxy().flows_now() == 0);
                CHECK(l.proxy().handshakes_now() == 0);
                CHECK(l.proxy().half_open() == 0);
                CHECK_FALSE(l.proxy().next_deadline().has_value());
            }
}
