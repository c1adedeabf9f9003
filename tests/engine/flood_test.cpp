// SPDX-License-Identifier: BSL-1.0
// Floods, full tables, bad input and a clock that jumps: what the guarded engine answers, what it keeps, and what it shows of itself.
#include <halfproxy/engine/engine.hpp>

#include "tests/support/flood_packet.hpp"
#include "tests/support/splice.hpp"

#include <set>

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

byte_string syn_frame(endpoints const& e, offer const& o = {.isn = 5}) { return framed(e, tcp_datagram(e, true, syn_of(o))); }

/// One frame through an engine at a time of the test's choosing, be it before the last one. `room` is the outbox's.
frame process_at(half_proxy& proxy, byte_string& bytes, side arrival, std::int64_t ms, std::size_t room = outbox_per_packet) {
    frame f;
    f.length = f.wire_length = static_cast<std::uint32_t>(bytes.size());
    bytes.resize(bytes.size() + 128);
    f.data = bytes.data();
    f.capacity = static_cast<std::uint32_t>(bytes.size());
    f.arrival = arrival;
    outbox out(room);
    proxy.process({&f, 1}, time_point(std::chrono::milliseconds(ms)), out);
    return f;
}

/// An engine under `count` SYNs from everywhere, in bursts; true when each was answered.
bool all_answered(half_proxy& proxy, unsigned version, std::uint64_t count) {
    flood_target target{.to_mac = {2, 0, 0, 0, 0, 2}, .from_mac = {2, 0, 0, 0, 0, 1}};
    target.address = version == 4 ? ip_address::v4(0xc6336450) : ip_address::v6({0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80});
    split_mix64 random(version);
    std::vector<std::array<std::uint8_t, 256>> buffers(max_burst);
    std::vector<frame> burst(max_burst);
    outbox out(max_burst * outbox_per_packet);
    for (std::uint64_t sent = 0; sent < count; sent += max_burst) {
        for (std::size_t i = 0; i < max_burst; ++i) {
            burst[i] = {.data = buffers[i].data(), .capacity = 256};
            burst[i].length = burst[i].wire_length = static_cast<std::uint32_t>(build_flood_packet(buffers[i], target, random));
        }
        proxy.process(burst, time_point(std::chrono::microseconds(sent)), out);
        if (!out.frames().empty()) return false;
    }
    return proxy.counters().replied == proxy.counters().received;
}

/// A connection from `port` of the client, established without challenge.
void establish(line& l, unsigned port, std::uint32_t isn = 1000) {
    l.ends.client_port = port;
    hands h{l};
    h.client.isn = isn;
    REQUIRE(l.client_sends(syn_of(h.client)).fate == verdict::forward);
    REQUIRE(l.server_sends(h.syn_ack()).fate == verdict::forward);
    h.cookie = h.server.isn;
    h.cookie_clock = h.server.clock;
    REQUIRE(l.client_sends(h.third_ack()).fate == verdict::forward);
}

void reset(line& l, unsigned port, std::uint32_t isn = 1000) {
    l.ends.client_port = port;
    REQUIRE(l.client_sends({.seq = isn + 1, .ack = 700'001, .flags = flags::rst | flags::ack}).fate == verdict::forward);
}

bool alive(line& l, unsigned port) {
    bool found = false;
    l.proxy().for_each_flow([&](auto const& f) { found |= f.tuple[0].source_port == port; });
    return found;
}

engine_config with_room_for(std::uint32_t flows, guard_mode mode) {
    engine_config c = guarded(mode);
    c.limits = {.flows_v4 = flows, .flows_v6 = flows, .handshakes = 2};
    return c;
}

}  // namespace

// --- Floods -------------------------------------------------------------------------------------------------------------------------------

TEST_CASE("F43 a million SYNs from everywhere are answered and leave nothing: no flow, no handshake, no timer, no byte of memory") {
    for (guard_method method : {guard_method::splice, guard_method::challenge_reset})
        for (unsigned version : {4u, 6u}) {
            engine_config c = guarded();
            c.guard.method = method;
            auto const proxy = std::make_unique<half_proxy>(c);
            std::size_t const before = proxy->memory_bytes();
            CHECK(all_answered(*proxy, version, 250'000));
            CHECK(proxy->memory_bytes() == before);
            CHECK(proxy->counters().flows_opened == 0);
            CHECK(proxy->handshakes_now() == 0);
            CHECK(proxy->half_open() == 0);
            CHECK_FALSE(proxy->next_deadline().has_value());
        }
}

TEST_CASE("F43 in automatic a flood leaves as many flows as the on mark says, and then none") {
    for (unsigned version : {4u, 6u}) {
        engine_config c = guarded(guard_mode::automatic);
        c.guard.marks = {.half_open_on = 100, .half_open_off = 20};
        auto const proxy = std::make_unique<half_proxy>(c);
        static_cast<void>(all_answered(*proxy, version, 20'000));
        CHECK(proxy->counters().flows_opened == 100);
        CHECK(proxy->counters().cookies_sent >= 20'000 - 100);
    }
}

TEST_CASE("F43 a flood from one address and every port of it leaves nothing either") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        for (unsigned port = 1; port < 65'536; port += 13) {
            l.ends.client_port = port;
            CHECK(l.client_sends(syn_of({.isn = port})).fate == verdict::reply);
        }
        CHECK(l.counters().flows_opened == 0);
    }
}

// --- What is decided before the SYN-ACK ---------------------------------------------------------------------------------------------------

TEST_CASE("F46 a rule decides before the SYN-ACK, so a closed port does not look open, by either method") {
    for (guard_method method : {guard_method::splice, guard_method::challenge_reset})
        for (unsigned version : {4u, 6u}) {
            engine_config c = guarded();
            c.guard.method = method;
            c.rules = {{.action = rule_action::deny, .protocol = ip_protocol::tcp, .ports = {22, 22}},
                       {.action = rule_action::reset, .protocol = ip_protocol::tcp, .ports = {23, 23}}};
            line l(c, family(version));
            l.ends.server_port = 22;
            CHECK(l.client_sends(syn_of({.isn = 5})).reason == drop_reason::rule_denied);
            l.ends.server_port = 23;
            outcome const refused = l.client_sends(syn_of({.isn = 5}));
            REQUIRE(refused.fate == verdict::reply);
            CHECK(refused.packet->tcp.flags == (flags::rst | flags::ack));
            CHECK(refused.packet->tcp.ack == 6);
            l.ends.server_port = 80;
            CHECK(l.client_sends(syn_of({.isn = 5})).fate == verdict::reply);
            CHECK(l.counters().cookies_sent == 1);
        }
}

// --- Full -----------------------------------------------------------------------------------------------------------------------------------

TEST_CASE("F49 with the table full of established flows SYNs are still answered, and none of the flows gives way") {
    for (unsigned version : {4u, 6u}) {
        line l(with_room_for(4, guard_mode::automatic), family(version));
        for (unsigned port = 1; port <= 4; ++port) establish(l, port);
        l.ends.client_port = 99;
        CHECK(l.client_sends(syn_of({.isn = 5})).reason == drop_reason::table_full);
        for (unsigned port = 1; port <= 4; ++port) CHECK(alive(l, port));

        line always(with_room_for(4, guard_mode::always), family(version));
        for (unsigned port = 1; port <= 4; ++port) {
            always.ends.client_port = port;
            hands h{always};
            h.all();
        }
        always.ends.client_port = 99;
        hands h{always};
        h.challenge();
        CHECK(always.client_sends(h.third_ack()).reason == drop_reason::table_full);
        for (unsigned port = 1; port <= 4; ++port) CHECK(alive(always, port));
        CHECK(always.proxy().handshakes_now() == 0);
    }
}

TEST_CASE("F49 half-open flows give way first, then closing ones, established ones never") {
    for (unsigned version : {4u, 6u}) {
        line l(with_room_for(6, guard_mode::off), family(version));
        for (unsigned port = 1; port <= 4; ++port) establish(l, port);
        reset(l, 3);
        reset(l, 4);
        for (unsigned port : {5u, 6u}) {
            l.ends.client_port = port;
            REQUIRE(l.client_sends(syn_of({.isn = 5})).fate == verdict::forward);
        }
        auto const all_alive = [&](std::initializer_list<unsigned> ports) {
            return std::all_of(ports.begin(), ports.end(), [&](unsigned port) { return alive(l, port); });
        };
        // Newcomers that are established at once, so that they do not give way themselves.
        establish(l, 10);
        establish(l, 11);
        CHECK(all_alive({1, 2, 3, 4, 10, 11}));
        establish(l, 12);
        establish(l, 13);
        CHECK(all_alive({1, 2, 10, 11, 12, 13}));
        l.ends.client_port = 99;
        CHECK(l.client_sends(syn_of({.isn = 5})).reason == drop_reason::table_full);
        CHECK(l.counters().flows_evicted == 4);
        CHECK(all_alive({1, 2, 10, 11, 12, 13}));
    }
}

TEST_CASE("F49 with no handshake free the client's next ACK is as good as its first, and SYNs are answered meanwhile") {
    for (unsigned version : {4u, 6u}) {
        line l(with_room_for(8, guard_mode::always), family(version));
        for (unsigned port : {1u, 2u}) {
            l.ends.client_port = port;
            hands h{l};
            h.challenge();
            h.validate();
        }
        l.ends.client_port = 3;
        hands h{l};
        h.challenge();
        CHECK(l.client_sends(h.third_ack()).reason == drop_reason::handshakes_full);
        l.ends.client_port = 1;
        hands first{l};
        CHECK(first.complete().fate == verdict::forward);
        l.ends.client_port = 3;
        CHECK(l.client_sends(h.third_ack()).fate == verdict::forward);
    }
}

TEST_CASE("F49 a SYN is answered in place: an outbox without room makes no difference") {
    for (unsigned version : {4u, 6u}) {
        half_proxy proxy(guarded());
        byte_string bytes = syn_frame(family(version));
        CHECK(process_at(proxy, bytes, side::outside, 1000, 0).outcome == verdict::reply);
    }
}

// --- What packets of our making show ------------------------------------------------------------------------------------------------------

namespace {

/// DSCP and ECN, identification, fragment field, TTL; of IPv6 class, flow label and hop limit: what F50 asks about, whatever came in.
void check_stated_policy(decoded const& d) {
    byte_view const ip = byte_view(d.bytes).subspan(d.link.size());
    CHECK(d.hop_limit == built_hop_limit);
    if (d.version == 4) {
        CHECK(ip[0] == 0x45);
        CHECK(ip[1] == 0);
        CHECK(get16(ip, 4) == 0);
        CHECK(get16(ip, 6) == 0x4000);
    } else {
        CHECK(get32(ip, 0) == 0x60000000);
    }
}

/// As received from far away: another TTL, DSCP AF41, identification or flow label.
byte_string from_afar(byte_string f, unsigned version) {
    if (version == 6) {
        f[14] = 0x62, f[15] = 0x21, f[16] = 0x23, f[17] = 0x45;
        f[14 + 7] = 49;
        return f;
    }
    f[14 + 1] = 0x88;
    put16(f, 14 + 4, 0xbeef);
    f[14 + 8] = 49;
    put16(f, 14 + 10, 0);
    put16(f, 14 + 10, naive_checksum(byte_view(f).subspan(14, 20)));
    return f;
}

}  // namespace

TEST_CASE("F50 every packet of our making has the stated TTL, DSCP, flow label, identification and DF, whatever it answers") {
    for (guard_method method : {guard_method::splice, guard_method::challenge_reset})
        for (unsigned version : {4u, 6u}) {
            engine_config c = guarded();
            c.guard.method = method;
            c.rules = {{.action = rule_action::reset, .protocol = ip_protocol::tcp, .ports = {23, 23}}};
            line l(c, family(version));
            unsigned seen = 0;
            l.inspect = [&](decoded const& d) { ++seen, check_stated_policy(d); };
            auto const client = [&](segment const& s) {
                return l.sends(side::outside, from_afar(framed(l.ends, tcp_datagram(l.ends, true, s)), version));
            };
            hands h{l};
            outcome const syn_ack = client(syn_of(h.client));
            if (method == guard_method::splice) {
                h.cookie = syn_ack.packet->tcp.seq;
                h.cookie_clock = syn_ack.packet->tcp.timestamps->first;
                client(h.third_ack());                                                                     // SYN
                l.sends(side::inside, from_afar(framed(l.ends, tcp_datagram(l.ends, false, h.syn_ack())), version));  // two ACKs
                l.ends.client_port = 40001;
                hands given_up{l};
                given_up.challenge();
                given_up.validate();
                l.after(60'000);  // SYNs, then a RST
            }
            l.ends.server_port = 23;
            client(syn_of({.isn = 5}));  // a RST
            CHECK(seen == (method == guard_method::splice ? 11u : 2u));
        }
}

TEST_CASE("F50 timestamps of ours show no clock: they differ by flow as if drawn, and stand still while time passes") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        l.at(0);
        std::set<std::uint32_t> high_bytes;
        for (unsigned port = 1; port <= 2000; ++port) {
            l.ends.client_port = port;
            high_bytes.insert(l.client_sends(syn_of({.isn = 7})).packet->tcp.timestamps->first >> 24);
        }
        CHECK(high_bytes.size() > 240);  // of 256: after 2,000 draws about 0.1 are missing
        std::uint32_t const now = l.client_sends(syn_of({.isn = 7})).packet->tcp.timestamps->first;
        std::uint32_t const later = l.at(9'000).client_sends(syn_of({.isn = 7})).packet->tcp.timestamps->first;
        CHECK(later == now);
    }
}

// --- Bad input ------------------------------------------------------------------------------------------------------------------------------

TEST_CASE("a SYN from or to a group's link address, or from the server's own, gets no answer (RFC 1122 section 3.3.6)") {
    for (unsigned version : {4u, 6u})
        for (guard_mode mode : {guard_mode::off, guard_mode::always}) {
            line l(guarded(mode), family(version));
            byte_string from_group = syn_frame(l.ends), to_all = from_group;
            from_group[6] |= 1;
            std::fill_n(to_all.begin(), 6, std::uint8_t{0xff});
            CHECK(l.sends(side::outside, from_group).reason == drop_reason::ip_source);
            CHECK(l.sends(side::outside, to_all).reason == drop_reason::ip_source);
            l.ends.client4 = l.ends.server4;
            l.ends.client6 = l.ends.server6;
            for (unsigned port : {80u, 81u}) {
                l.ends.client_port = port;
                CHECK(l.client_sends(syn_of({.isn = 5})).reason == drop_reason::ip_source);
            }
            CHECK(l.proxy().flows_now() == 0);
        }
}

TEST_CASE("no SYN, however its options lie, is answered with more bytes than it had, or keeps state") {
    for (guard_method method : {guard_method::splice, guard_method::challenge_reset})
        for (malformed_policy policy : {malformed_policy::drop, malformed_policy::pass})
            for (unsigned version : {4u, 6u}) {
                engine_config c = guarded();
                c.guard.method = method;
                c.normalize.malformed = policy;
                line l(c, family(version));
                for (unsigned kind : {0u, 1u, 2u, 3u, 4u, 5u, 8u, 14u, 19u, 28u, 29u, 30u, 34u, 69u, 253u, 255u})
                    for (unsigned length : {0u, 1u, 2u, 3u, 4u, 5u, 9u, 10u, 11u, 18u, 40u, 41u, 255u})
                        for (std::size_t before : {0u, 1u, 3u, 38u}) {
                            segment syn;
                            syn.flags = flags::syn;
                            syn.raw_options = byte_string(before, 1) + u8(kind) + u8(length);
                            syn.raw_options.resize(before + 2 >= 40 ? 40 : std::min<std::size_t>(40, before + std::max(2u, length)), 1);
                            byte_string const sent = framed(l.ends, tcp_datagram(l.ends, true, syn));
                            outcome const o = l.sends(side::outside, sent);
                            CHECK((o.fate == verdict::reply || o.reason == drop_reason::tcp_options));
                            if (o.packet) CHECK(o.packet->bytes.size() <= sent.size());
                            CHECK(o.beside.empty());
                        }
                CHECK(l.counters().flows_opened == 0);
            }
}

TEST_CASE("a clock that leaps forward ends what is over by then, leaves nothing behind, and the next connection works") {
    constexpr std::int64_t day = 86'400'000;
    for (unsigned version : {4u, 6u})
        for (std::int64_t leap : {std::int64_t{3'600'000}, 13 * day, 25 * day, 30 * day, 49 * day + 61'367'296, 50 * day, 36'500 * day}) {
            CAPTURE(leap);
            line l(guarded(), family(version));
            hands h{l};
            h.all();
            l.ends.client_port = 40001;
            h.challenge();
            segment const stale = h.third_ack();
            byte_string late = framed(l.ends, tcp_datagram(l.ends, true, stale));
            std::int64_t const then = 1'000'000 + leap;
            CHECK(process_at(l.proxy(), late, side::outside, then).reason == drop_reason::cookie_invalid);
            outbox out(outbox_per_advance);
            for (int i = 0; i < 10; ++i) l.proxy().advance(time_point(std::chrono::milliseconds(then + i * 1000)), out);
            CHECK(l.proxy().flows_now() == (leap < day ? 1 : 0));
            byte_string syn = syn_frame(l.ends);
            CHECK(process_at(l.proxy(), syn, side::outside, then + 20'000).outcome == verdict::reply);
        }
}

TEST_CASE("a clock that goes back stands still: flows live, cookies hold, and nothing ends early or late") {
    for (unsigned version : {4u, 6u}) {
        line l(guarded(), family(version));
        l.at(100'000);
        hands h{l};
        h.challenge();
        byte_string ack = framed(l.ends, tcp_datagram(l.ends, true, h.third_ack()));
        CHECK(process_at(l.proxy(), ack, side::outside, -5'000'000'000).outcome == verdict::forward);
        auto const before = l.proxy().next_deadline();
        outbox out(outbox_per_advance);
        l.proxy().advance(time_point(std::chrono::milliseconds(1)), out);
        CHECK(out.frames().empty());
        CHECK(l.proxy().next_deadline() == before);
        CHECK(h.complete().fate == verdict::forward);
        CHECK(l.client_sends(h.from_client(0, 0, filled(10))).fate == verdict::forward);
    }
}
