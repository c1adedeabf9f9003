// SPDX-License-Identifier: BSL-1.0
// NAT64 and NPTv6 around an engine: connections of IPv6 hosts with IPv4 ones, guarded and not, behind a source NAT, and what is refused.
#include <halfproxy/engine/translating_edge.hpp>

#include "tests/support/addresses.hpp"
#include "tests/support/splice.hpp"

#include <halfproxy/run/pump.hpp>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

/// A port-preserving source NAT to one address.
struct to_pool_address {
    static constexpr std::uint32_t pool = 0xcb007101;  // 203.0.113.1
    address_answer<std::uint32_t> translate(flow_request<std::uint32_t> const& r, stamp_ms) noexcept {
        ipv4_tuple t = r.tuple;
        t.source = pool;
        return {t};
    }
    address_answer<ipv6_bytes> translate(flow_request<ipv6_bytes> const& r, stamp_ms) noexcept { return {r.tuple}; }
};
using snat = policies<admit_by_guard, to_pool_address>;
static_assert(packet_engine<translating_edge<engine<snat>>>);

constexpr std::uint32_t shadow = 0x64400000, server4 = 0xc6336402;
nat64_prefix const prefix;
ipv6_bytes host(unsigned n) { return six({0x2001, 0xdb8, 0, 0, 0, 0, 0, n}); }

edge_config with_nat64(side hosts_at, std::uint32_t capacity = 4) {
    edge_config c;
    c.nat64.emplace();
    c.nat64->hosts = {{ip_address::v4(shadow), 24}, capacity, 1000, 5};
    c.nat64->ipv6_side = hosts_at;
    return c;
}

struct sent {
    verdict fate;
    drop_reason reason;
    std::optional<decoded> packet;
    std::vector<decoded> beside;
};

/// An edge, its engine and virtual time.
template <class Policies = default_policies>
struct lab {
    explicit lab(edge_config const& c, engine_config const& e = guarded(guard_mode::off)) : proxy(e), edge(c, proxy) {}

    engine<Policies> proxy;
    translating_edge<engine<Policies>> edge;
    std::uint64_t now_ms = 0;
    outbox out{outbox_per_advance};

    sent sends(side arrival, byte_string bytes, std::size_t room = 128) {
        auto const length = static_cast<std::uint32_t>(bytes.size());
        bytes.resize(length + room);
        frame f{.data = bytes.data(), .length = length, .capacity = length + static_cast<std::uint32_t>(room), .wire_length = length, .arrival = arrival};
        out.clear();
        edge.process({&f, 1}, time(), out);
        sent s{f.outcome, f.reason, {}, {}};
        if (f.outcome == verdict::forward) s.packet = decode(f.bytes(), other(arrival));
        if (f.outcome == verdict::reply) s.packet = decode(f.bytes(), arrival);
        if (s.packet) check(*s.packet);
        for (outbox_frame const& o : out.frames()) check(s.beside.emplace_back(decode(o.bytes(), o.exit)));
        engine_counters const k = edge.counters();
        CHECK(k.received == k.forwarded + k.replied + k.held + k.dropped_total());
        return s;
    }
    std::vector<decoded> after(std::uint64_t ms) {
        now_ms += ms;
        out.clear();
        edge.advance(time(), out);
        std::vector<decoded> all;
        for (outbox_frame const& o : out.frames()) check(all.emplace_back(decode(o.bytes(), o.exit)));
        return all;
    }
    [[nodiscard]] time_point time() const { return time_point(std::chrono::milliseconds(1'000'000 + now_ms)); }
    static void check(decoded const& d) {
        CHECK(d.network_checksum_good);
        CHECK(d.transport_checksum_good);
    }
};

endpoints six_ends(unsigned n = 1) {
    endpoints e;
    e.version = 6;
    e.client6 = bytes_of(host(n));
    e.server6 = bytes_of(*prefix.to_v6(server4));
    return e;
}
endpoints four_ends(std::uint32_t client = shadow) {
    endpoints e;
    e.client4 = client;
    e.server4 = server4;
    return e;
}
byte_string from_host(segment const& s, unsigned n = 1) { return ethernet(tcp_datagram(six_ends(n), true, s)); }
byte_string from_server(segment const& s, std::uint32_t client = shadow) { return ethernet(tcp_datagram(four_ends(client), false, s)); }

byte_string udp_from_host(ipv6_bytes const& from, ipv6_bytes const& to, std::size_t bytes = 9) {
    ip6 ip;
    ip.source = bytes_of(from);
    ip.destination = bytes_of(to);
    return ethernet(udp_packet(ip, filled(bytes)));
}

segment data(std::uint32_t seq, std::uint32_t ack, std::size_t bytes) {
    return {.seq = seq, .ack = ack, .flags = flags::ack, .window = 500, .payload = filled(bytes)};
}

}  // namespace

TEST_CASE("an IPv6 host's connection to an IPv4 server: each end sees its own version, the engine one flow (RFC 6146)") {
    lab l(with_nat64(side::inside));
    sent s = l.sends(side::inside, from_host(syn_of({.isn = 100})));
    REQUIRE(s.fate == verdict::forward);
    CHECK(s.packet->exit == side::outside);
    CHECK(s.packet->version == 4);
    CHECK(s.packet->source == u32(shadow));
    CHECK(s.packet->destination == u32(server4));
    CHECK(s.packet->tcp.seq == 100);
    CHECK(s.packet->tcp.mss == 1460);
    segment answer = syn_of({.isn = 900});
    answer.flags = flags::syn | flags::ack;
    answer.ack = 101;
    s = l.sends(side::outside, from_server(answer));
    REQUIRE(s.fate == verdict::forward);
    CHECK(s.packet->exit == side::inside);
    CHECK(s.packet->version == 6);
    CHECK(s.packet->source == bytes_of(*prefix.to_v6(server4)));
    CHECK(s.packet->destination == bytes_of(host(1)));
    CHECK(l.sends(side::inside, from_host(data(101, 901, 700))).packet->tcp.payload.size() == 700);
    CHECK(l.sends(side::outside, from_server(data(901, 801, 900))).packet->tcp.payload.size() == 900);
    CHECK(l.proxy.flows_now() == 1);
    CHECK(l.edge.nat64_hosts_now() == 1);
    CHECK(l.edge.edge().nat64_to_v4 == 2);
    CHECK(l.edge.edge().nat64_to_v6 == 2);
}

TEST_CASE("behind a source NAT the pool stays inside, and two hosts are two flows of one address (RFC 6146 by composition)") {
    lab<snat> l(with_nat64(side::inside));
    for (unsigned n : {1u, 2u}) {
        endpoints six_end = six_ends(n), four_end = four_ends(to_pool_address::pool);
        six_end.client_port = four_end.client_port = 40000 + n;
        sent s = l.sends(side::inside, ethernet(tcp_datagram(six_end, true, syn_of({.isn = 100}))));
        REQUIRE(s.fate == verdict::forward);
        CHECK(s.packet->source == u32(to_pool_address::pool));
        segment answer = syn_of({.isn = 900});
        answer.flags = flags::syn | flags::ack;
        answer.ack = 101;
        s = l.sends(side::outside, ethernet(tcp_datagram(four_end, false, answer)));
        REQUIRE(s.fate == verdict::forward);
        CHECK(s.packet->destination == bytes_of(host(n)));
    }
    CHECK(l.proxy.flows_now() == 2);
}

TEST_CASE("an error of an IPv4 router reaches the IPv6 host about the packet it sent, and an IPv6 router's the IPv4 server") {
    lab<snat> l(with_nat64(side::inside));
    l.sends(side::inside, from_host(syn_of({.isn = 100})));
    segment answer = syn_of({.isn = 900});
    answer.flags = flags::syn | flags::ack;
    answer.ack = 101;
    l.sends(side::outside, from_server(answer, to_pool_address::pool));
    byte_string const on_wire4 = tcp_datagram(four_ends(to_pool_address::pool), true, data(101, 901, 8));
    ip4 router;
    router.source = 0xc6330101;
    router.destination = to_pool_address::pool;
    sent s = l.sends(side::outside, ethernet(icmp_packet(router, 3, 4, on_wire4, 1400)));
    REQUIRE(s.fate == verdict::forward);
    CHECK(s.packet->version == 6);
    CHECK(s.packet->source == bytes_of(*prefix.to_v6(0xc6330101)));
    CHECK(s.packet->destination == bytes_of(host(1)));
    CHECK(get16(s.packet->transport, 0) == 0x0200);
    CHECK(get32(s.packet->transport, 4) == 1420);
    byte_string const quoted(s.packet->transport.begin() + 8, s.packet->transport.end());
    CHECK(byte_string(quoted.begin() + 8, quoted.begin() + 40) == bytes_of(host(1)) + bytes_of(*prefix.to_v6(server4)));
    CHECK(get16(quoted, 40) == 40000);
    CHECK(get32(quoted, 44) == 101);

    byte_string const on_wire6 = tcp_datagram(six_ends(), false, data(901, 101, 8));
    ip6 router6;
    router6.source = bytes_of(host(77));
    router6.destination = bytes_of(*prefix.to_v6(server4));
    s = l.sends(side::inside, ethernet(icmp_packet(router6, 1, 3, on_wire6)));
    REQUIRE(s.fate == verdict::forward);
    CHECK(s.packet->version == 4);
    CHECK(s.packet->destination == u32(server4));
    byte_string const quoted4(s.packet->transport.begin() + 8, s.packet->transport.end());
    CHECK(byte_string(quoted4.begin() + 12, quoted4.begin() + 20) == u32(server4) + u32(to_pool_address::pool));
}

TEST_CASE("UDP and echo go both ways") {
    lab l(with_nat64(side::inside));
    ip4 back;
    back.source = server4;
    back.destination = shadow;
    CHECK(l.sends(side::inside, udp_from_host(host(1), *prefix.to_v6(server4))).packet->version == 4);
    byte_string reply = u16(2000) + u16(1000) + u16(8 + 5) + u16(0) + filled(5);
    back.protocol = 17;
    sent s = l.sends(side::outside, ethernet(encode(back, sealed(back, reply, 6))));
    CHECK(s.packet->version == 6);
    CHECK(s.packet->destination_port == 1000);
    ip6 ping;
    ping.source = bytes_of(host(1));
    ping.destination = bytes_of(*prefix.to_v6(server4));
    s = l.sends(side::inside, ethernet(icmp_packet(ping, 128, 0, filled(20), 0x00070001)));
    CHECK(s.packet->transport[0] == 8);
    s = l.sends(side::outside, ethernet(icmp_packet(back, 0, 0, filled(20), 0x00070001)));
    CHECK(s.packet->transport[0] == 129);
}

TEST_CASE("a guarded splice: the IPv6 client gets cookie, window, kept data and repeated SYNs in its version, the server in its own") {
    lab l(with_nat64(side::outside), guarded());
    sent s = l.sends(side::outside, from_host(syn_of({.isn = 100})));
    REQUIRE(s.fate == verdict::reply);
    CHECK(s.packet->version == 6);
    CHECK(s.packet->destination == bytes_of(host(1)));
    std::uint32_t const cookie = s.packet->tcp.seq, clock = s.packet->tcp.timestamps->first;
    segment ack{.seq = 101, .ack = cookie + 1, .flags = flags::ack, .window = 500, .timestamps = {{5'000'001, clock}}};
    s = l.sends(side::outside, from_host(ack));
    REQUIRE(s.fate == verdict::forward);
    CHECK(s.packet->version == 4);
    CHECK(s.packet->exit == side::inside);
    CHECK(s.packet->tcp.flags == flags::syn);
    std::vector<decoded> const repeated = l.after(1100);
    REQUIRE(repeated.size() == 1);
    CHECK(repeated[0].version == 4);
    segment early = ack;
    early.payload = filled(10, 'e');
    CHECK(l.sends(side::outside, from_host(early)).fate == verdict::hold);
    segment answer = syn_of({.isn = 900});
    answer.flags = flags::syn | flags::ack;
    answer.ack = 101;
    answer.timestamps = {{9'000'000, 5'000'001}};
    s = l.sends(side::inside, from_server(answer));
    REQUIRE(s.fate == verdict::forward);
    CHECK(s.packet->version == 6);
    CHECK(s.packet->tcp.seq == cookie + 1);
    REQUIRE(s.beside.size() == 2);
    for (decoded const& d : s.beside) {
        CHECK(d.exit == side::inside);
        CHECK(d.version == 4);
    }
    CHECK(s.beside[1].tcp.payload == filled(10, 'e'));
}

TEST_CASE("what is held of an IPv4 client leaves in IPv6 towards a server behind the NAT64, and so do repeated SYNs") {
    lab l(with_nat64(side::inside), guarded());
    REQUIRE(l.sends(side::inside, udp_from_host(host(1), *prefix.to_v6(server4))).fate == verdict::forward);  // the host gets its address
    endpoints e;
    e.client4 = server4;
    e.server4 = shadow;
    auto const client = [&](segment const& x) { return ethernet(tcp_datagram(e, true, x)); };
    sent s = l.sends(side::outside, client(syn_of({.isn = 100})));
    REQUIRE(s.fate == verdict::reply);
    CHECK(s.packet->version == 4);
    segment ack{.seq = 101, .ack = s.packet->tcp.seq + 1, .flags = flags::ack, .window = 500, .timestamps = {{5'000'001, s.packet->tcp.timestamps->first}}};
    s = l.sends(side::outside, client(ack));
    REQUIRE(s.fate == verdict::forward);
    CHECK(s.packet->version == 6);
    CHECK(s.packet->destination == bytes_of(host(1)));
    segment early = ack;
    early.payload = filled(10, 'e');
    REQUIRE(l.sends(side::outside, client(early)).fate == verdict::hold);
    std::vector<decoded> const again = l.after(1100);
    REQUIRE(again.size() == 1);
    CHECK(again[0].version == 6);
    endpoints e6 = six_ends();
    std::swap(e6.client6, e6.server6);
    segment answer = syn_of({.isn = 900});
    answer.flags = flags::syn | flags::ack;
    answer.ack = 101;
    answer.timestamps = {{9'000'000, 5'000'001}};
    s = l.sends(side::inside, ethernet(tcp_datagram(e6, false, answer)));
    REQUIRE(s.fate == verdict::forward);
    CHECK(s.packet->version == 4);
    REQUIRE(s.beside.size() == 2);
    CHECK(s.beside[0].version == 6);
    CHECK(s.beside[1].version == 6);
    CHECK(s.beside[1].tcp.payload == filled(10, 'e'));
}

TEST_CASE("a full pool, forged sources and packets without counterpart are dropped by name, and everything adds up") {
    lab l(with_nat64(side::inside, 1));
    ipv6_bytes const to = *prefix.to_v6(server4);
    REQUIRE(l.sends(side::inside, udp_from_host(host(1), to)).fate == verdict::forward);
    auto const reason = [&](byte_string const& bytes, side arrival = side::inside, std::size_t room = 128) {
        sent const s = l.sends(arrival, bytes, room);
        CHECK(s.fate == verdict::drop);
        return s.reason;
    };
    CHECK(reason(udp_from_host(host(2), to)) == drop_reason::nat64_hosts_full);
    CHECK(reason(udp_from_host(*prefix.to_v6(7), to)) == drop_reason::ip_source);
    CHECK(reason(udp_from_host(six({0xfe80, 0, 0, 0, 0, 0, 0, 1}), to)) == drop_reason::ip_source);
    CHECK(reason(udp_from_host(six({0xff02, 0, 0, 0, 0, 0, 0, 1}), to)) == drop_reason::ip_source);
    CHECK(reason(udp_from_host(six({0, 0, 0, 0, 0, 0, 0, 1}), to)) == drop_reason::ip_source);
    ip4 forged;
    forged.source = shadow + 3;
    CHECK(reason(ethernet(udp_packet(forged, filled(3)))) == drop_reason::ip_source);
    CHECK(reason(udp_from_host(host(1), *prefix.to_v6(shadow + 1))) == drop_reason::untranslatable);
    ip6 odd;
    odd.source = bytes_of(host(1));
    odd.destination = bytes_of(to);
    CHECK(reason(ethernet(icmp_packet(odd, 130, 0, filled(16)))) == drop_reason::untranslatable);
    byte_string truncated = udp_from_host(host(1), to);
    truncated.pop_back();
    CHECK(reason(truncated) == drop_reason::ip_total_length);
    // After the engine: a server's datagram that fits no longer, and one without room.
    ip4 back;
    back.source = server4;
    back.destination = shadow;
    back.protocol = 17;
    auto const answer = [&](unsigned bytes) {
        return ethernet(encode(back, sealed(back, u16(2000) + u16(1000) + u16(8 + bytes) + u16(0) + filled(bytes), 6)));
    };
    CHECK(reason(answer(1460), side::outside) == drop_reason::untranslatable);
    CHECK(reason(answer(10), side::outside, 19) == drop_reason::frame_room);
    CHECK(l.edge.edge().nat64_refused[static_cast<std::size_t>(nat64_refusal::too_big)] == 1);
    CHECK(l.sends(side::outside, answer(10)).packet->version == 6);
    // An address of the pool that is nobody's.
    back.destination = shadow + 9;
    CHECK(reason(answer(10), side::outside) == drop_reason::untranslatable);
    CHECK(l.edge.counters().dropped_total() == 12);
}

TEST_CASE("what is not NAT64's passes as before: IPv6 to others, IPv4, ARP, neighbour discovery") {
    lab l(with_nat64(side::inside));
    for (byte_string const& bytes : {udp_from_host(host(1), host(2)), ethernet(udp_packet(ip4{}, filled(3))), ethernet(filled(46), {}, 0x0806)}) {
        sent s{};
        byte_string copy = bytes;
        frame f{.data = copy.data(), .length = static_cast<std::uint32_t>(copy.size()), .capacity = static_cast<std::uint32_t>(copy.size()),
                .wire_length = static_cast<std::uint32_t>(copy.size()), .arrival = side::inside};
        l.edge.process({&f, 1}, l.time(), l.out);
        CHECK(f.outcome == verdict::forward);
        CHECK(copy == bytes);
    }
    CHECK(l.edge.nat64_hosts_now() == 0);
}

TEST_CASE("in a burst every frame gets its own verdict, whatever becomes of its neighbours") {
    lab l(with_nat64(side::inside, 2));
    std::vector<byte_string> bytes;
    for (unsigned n = 1; n <= 4; ++n) bytes.push_back(udp_from_host(host(n), *prefix.to_v6(server4)));
    bytes.push_back(udp_from_host(host(1), host(9)));
    std::vector<frame> burst;
    for (byte_string& b : bytes) {
        auto const length = static_cast<std::uint32_t>(b.size());
        b.resize(length + 64);
        burst.push_back({.data = b.data(), .length = length, .capacity = length + 64, .wire_length = length, .arrival = side::inside});
    }
    l.edge.process(burst, l.time(), l.out);
    std::vector<verdict> fates;
    for (frame const& f : burst) {
        fates.push_back(f.outcome);
        CHECK(f.link == link_type::ethernet);
    }
    CHECK(fates == std::vector{verdict::forward, verdict::forward, verdict::drop, verdict::drop, verdict::forward});
    CHECK(l.edge.counters().received == 5);
    CHECK(l.edge.counters().forwarded == 3);
    CHECK(l.edge.counters().dropped[static_cast<std::size_t>(drop_reason::nat64_hosts_full)] == 2);
}

TEST_CASE("NPTv6: inside the engine sees inside addresses, outside nobody does, splices and all (RFC 6296)") {
    edge_config c;
    c.nptv6 = {{six_prefix({0xfd01, 0x0203, 0x0405, 0, 0, 0, 0, 0}, 48), six_prefix({0x2001, 0x0db8, 1, 0, 0, 0, 0, 0}, 48)}};
    ipv6_bytes const in = six({0xfd01, 0x0203, 0x0405, 1, 0, 0, 0, 0x1234}), out = six({0x2001, 0x0db8, 1, 0xd550, 0, 0, 0, 0x1234});
    lab l(c, guarded());
    endpoints outside_ends, inside_ends;
    outside_ends.version = inside_ends.version = 6;
    outside_ends.server6 = bytes_of(out);
    inside_ends.server6 = bytes_of(in);
    sent s = l.sends(side::outside, ethernet(tcp_datagram(outside_ends, true, syn_of({.isn = 100}))));
    REQUIRE(s.fate == verdict::reply);
    CHECK(s.packet->source == bytes_of(out));
    std::uint32_t const cookie = s.packet->tcp.seq;
    segment ack{.seq = 101, .ack = cookie + 1, .flags = flags::ack, .window = 500, .timestamps = {{5'000'001, s.packet->tcp.timestamps->first}}};
    s = l.sends(side::outside, ethernet(tcp_datagram(outside_ends, true, ack)));
    REQUIRE(s.fate == verdict::forward);
    CHECK(s.packet->destination == bytes_of(in));
    segment answer = syn_of({.isn = 900});
    answer.flags = flags::syn | flags::ack;
    answer.ack = 101;
    answer.timestamps = {{9'000'000, 5'000'001}};
    s = l.sends(side::inside, ethernet(tcp_datagram(inside_ends, false, answer)));
    REQUIRE(s.fate == verdict::forward);
    CHECK(s.packet->source == bytes_of(out));
    REQUIRE(s.beside.size() == 1);
    CHECK(s.beside[0].destination == bytes_of(in));
    ipv6_bytes const none = six({0xfd01, 0x0203, 0x0405, 0xffff, 0, 0, 0, 1});
    CHECK(l.sends(side::inside, udp_from_host(none, host(3))).reason == drop_reason::untranslatable);
    CHECK(l.edge.edge().nptv6_refused == 1);
}

TEST_CASE("with nothing configured the engine decides alone") {
    lab l(edge_config{});
    CHECK(l.sends(side::inside, udp_from_host(host(1), *prefix.to_v6(server4))).packet->version == 6);
    CHECK(l.edge.memory_bytes() == 0);
}
