// SPDX-License-Identifier: BSL-1.0
// Services whose backends are told who their clients are: by the PROXY protocol's header, or by a TCP option.
#include "tests/support/services.hpp"

#include <halfproxy/engine/address_plan.hpp>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using full_line = service_line<address_plan>;

constexpr std::uint32_t our4 = 0x0a000063;  // 10.0.0.99

nat_config ours() {
    nat_config nat;
    snat_rule rule;
    rule.origin = flow_origin::outside;
    rule.pool = {{ip_address::v4(our4), 32}};
    nat.snat = {rule};
    return nat;
}

/// Of 192.0.2.10:40000 to 198.51.100.80:80, by hand from the specification.
byte_string header_v2() {
    return byte_string{13, 10, 13, 10, 0, 13, 10, 'Q', 'U', 'I', 'T', 10} + u8(0x21) + u8(0x11) + u16(12) + u32(0xc000020a) + u32(0xc6336450) + u16(40000) + u16(80);
}

/// A connection through a service, in another name or not, guarded or not. Numbers: the client's ISN 1000, the server's 700,000.
struct told {
    told(forward_mode mode, guard_mode guard, service_config s = service_of(1)) : spliced(guard == guard_mode::always), l(with(mode, s), guarded(guard), {}, address_plan(ours(), guarded().limits)), h{l} {
        h.client.timestamps = h.server.timestamps = false;
    }
    static services_config with(forward_mode mode, service_config& s) {
        s.mode = mode;
        return {.services = {s}};
    }

    bool spliced;
    full_line l;
    handshake_of<serving<address_plan>> h;
    endpoints there{};

    /// The SYN as the backend gets it.
    decoded ask() {
        outcome o;
        if (spliced) {
            h.challenge();
            o = l.client_sends(h.third_ack());
        } else {
            o = l.client_sends(syn_of(h.client));
        }
        REQUIRE(o.fate == verdict::forward);
        there = l.behind(0);
        there.client4 = get32(o.packet->source, 0);
        there.client_port = o.packet->source_port;
        return *o.packet;
    }
    outcome backend(segment const& s) { return l.sends(side::inside, framed(l.ends, tcp_datagram(there, false, s))); }
    outcome answer(std::uint32_t ack) {
        segment s = syn_of(h.server);
        s.flags = flags::syn | flags::ack;
        s.ack = ack;
        outcome o = backend(s);
        REQUIRE(o.fate == verdict::forward);
        return o;
    }
    [[nodiscard]] std::uint32_t server_isn() const { return spliced ? h.cookie : h.server.isn; }
    outcome client(std::uint32_t sent, std::uint32_t received, std::size_t bytes) {
        return l.client_sends({.seq = 1001 + sent, .ack = server_isn() + 1 + received, .flags = flags::ack, .window = 502, .payload = filled(bytes)});
    }
};

/// The client's address and port in an option of this kind, first among the others; nothing: not there.
std::optional<std::pair<byte_string, unsigned>> told_by(decoded const& d, unsigned kind) {
    if (d.transport[12] / 16 < 7 || d.transport[20] != kind) return std::nullopt;
    std::size_t const length = d.transport[21];
    return std::pair{byte_string(d.transport.begin() + 24, d.transport.begin() + 20 + static_cast<std::ptrdiff_t>(length)), get16(d.transport, 22)};
}

constexpr forward_mode modes[] = {forward_mode::dnat, forward_mode::fullnat};
constexpr guard_mode guards[] = {guard_mode::off, guard_mode::always};

}  // namespace

TEST_CASE("proxy_protocol of a service: the backend hears first from where to where the client connected, whoever's name it goes in") {
    for (forward_mode const mode : modes)
        for (guard_mode const guard : guards) {
            CAPTURE(static_cast<int>(mode));
            CAPTURE(static_cast<int>(guard));
            service_config s = service_of(1);
            s.proxy = proxy_header::v2;
            told t(mode, guard, s);
            decoded const syn = t.ask();
            std::uint32_t const header_bytes = 28;
            CHECK(syn.tcp.seq == 1000 - header_bytes);
            CHECK(syn.destination == u32(backend4(0)));
            CHECK(syn.source == u32(mode == forward_mode::fullnat ? our4 : t.l.ends.client4));
            outcome o = t.answer(1001 - header_bytes);
            CHECK(o.packet->source == u32(t.l.ends.server4));
            CHECK(o.packet->tcp.ack == 1001);
            if (guard == guard_mode::off) {
                o = t.client(0, 0, 0);
                CHECK(o.fate == verdict::hold);
            }
            REQUIRE(o.beside.size() == 1);
            decoded const header = o.beside[0];
            CHECK(header.source == syn.source);
            CHECK(header.destination == syn.destination);
            CHECK(header.tcp.seq == 1001 - header_bytes);
            CHECK(header.tcp.payload == header_v2());
            // The server speaks first, then acknowledges the header alone.
            outcome const banner = t.backend({.seq = 700'001, .ack = 1001, .flags = flags::ack, .window = 510, .payload = filled(20)});
            REQUIRE(banner.fate == verdict::forward);
            CHECK(banner.packet->tcp.seq == t.server_isn() + 1);
            CHECK(banner.packet->destination == u32(t.l.ends.client4));
            CHECK(t.l.counters().clients_announced == 1);
            outcome const data = t.client(0, 20, 10);
            REQUIRE(data.fate == verdict::forward);
            CHECK(data.packet->tcp.seq == 1001);
            CHECK(data.packet->tcp.ack == 700'021);
        }
}

TEST_CASE("proxy_protocol of one service says nothing to another's backends, and a lost header is sent again") {
    service_config s = service_of(1), plain = service_of(2);
    s.proxy = proxy_header::v1;
    plain.ports = {81, 81};
    service_line<> l({.services = {s, plain}});
    endpoints& e = l.ends;
    e.client_port = 1;
    e.server_port = 81;
    CHECK(l.client_sends(syn_of({.isn = 5000})).packet->tcp.seq == 5000);
    e.server_port = 80;
    CHECK(l.syn(2) == 0);
    std::string const text = "PROXY TCP4 192.0.2.10 198.51.100.80 2 80\r\n";
    byte_string const header(text.begin(), text.end());
    segment syn_ack = syn_of({.isn = 700'000, .timestamps = false});
    syn_ack.flags = flags::syn | flags::ack;
    syn_ack.ack = 2001 - static_cast<std::uint32_t>(header.size());
    REQUIRE(l.backend_sends(0, syn_ack).fate == verdict::forward);
    outcome const o = l.client_data(2, 0, 0, 0);
    REQUIRE(o.beside.size() == 1);
    CHECK(o.beside[0].tcp.payload == header);
    l.after(1'100);
    auto const again = l.sent_by_timers();
    REQUIRE(again.size() == 1);
    CHECK(again[0].tcp.payload == header);
    CHECK(again[0].destination == u32(backend4(0)));
}

TEST_CASE("a service that begins to announce its clients: connections that had begun are not announced, new ones are") {
    service_config s = service_of(1);
    service_line<> l({.services = {s}});
    REQUIRE(l.connect(1) == 0);
    CHECK(l.syn(2) == 0);  // half open
    s.proxy = proxy_header::v2;
    REQUIRE(l.policy().services().configure({.services = {s}}));
    segment syn_ack = syn_of({.isn = 700'000, .timestamps = false});
    syn_ack.flags = flags::syn | flags::ack;
    syn_ack.ack = 2001;
    outcome const back = l.backend_sends(0, syn_ack);
    REQUIRE(back.fate == verdict::forward);
    CHECK(back.packet->tcp.ack == 2001);
    outcome const ack = l.client_data(2, 0, 0, 0);
    CHECK(ack.fate == verdict::forward);
    CHECK(ack.beside.empty());
    CHECK(l.client_data(1, 0, 0, 10).fate == verdict::forward);
    l.ends.client_port = 3;
    CHECK(l.client_sends(syn_of({.isn = 3000})).packet->tcp.seq == 3000 - 28);
}

TEST_CASE("client_option: the ACK that completes the handshake and the first data carry the client's address, as long as they have room") {
    for (forward_mode const mode : modes)
        for (guard_mode const guard : guards) {
            CAPTURE(static_cast<int>(mode));
            CAPTURE(static_cast<int>(guard));
            service_config s = service_of(1);
            s.client_option = 253;
            told t(mode, guard, s);
            decoded const syn = t.ask();
            CHECK_FALSE(told_by(syn, 253));
            CHECK(syn.tcp.seq == 1000);
            outcome o = t.answer(1001);
            if (guard == guard_mode::off) CHECK(*o.packet->tcp.mss == 1452);
            decoded const ack = guard == guard_mode::off ? *t.client(0, 0, 0).packet : o.beside.at(0);
            auto const expected = std::pair{u32(t.l.ends.client4), 40000u};
            REQUIRE(told_by(ack, 253));
            CHECK(*told_by(ack, 253) == expected);
            CHECK(ack.tcp.ack == 700'001);
            decoded const data = *t.client(0, 0, 1400).packet;
            REQUIRE(told_by(data, 253));
            CHECK(data.tcp.payload.size() == 1400);
            CHECK(data.tcp.seq == 1001);
            decoded const full = *t.client(1400, 0, 1460).packet;
            CHECK_FALSE(told_by(full, 253));
            CHECK(full.tcp.payload.size() == 1460);
            for (std::uint32_t i = 0; i < 6; ++i) t.client(2860 + 10 * i, 0, 10);
            CHECK_FALSE(told_by(*t.client(2920, 0, 10).packet, 253));
            outcome const from_server = t.backend({.seq = 700'001, .ack = 2930 + 1001, .flags = flags::ack, .window = 510, .payload = filled(10)});
            REQUIRE(from_server.fate == verdict::forward);
            CHECK_FALSE(told_by(*from_server.packet, 253));
        }
}

TEST_CASE("client_option over IPv6: twenty bytes, and a SYN-ACK leaves room for them") {
    service_config s = service_of(1, 6);
    s.client_option = 254;
    service_line<> l({.services = {s}}, guarded(guard_mode::off), {.version = 6});
    REQUIRE(l.syn(1) == 0);
    segment syn_ack = syn_of({.isn = 700'000, .mss = 1440, .timestamps = false});
    syn_ack.flags = flags::syn | flags::ack;
    syn_ack.ack = 1001;
    CHECK(*l.backend_sends(0, syn_ack).packet->tcp.mss == 1420);
    auto const said = told_by(*l.client_data(1, 0, 0, 0).packet, 254);
    REQUIRE(said);
    CHECK(*said == std::pair{l.ends.client6, 1u});
    CHECK(told_by(*l.client_data(1, 0, 0, 1420).packet, 254));
}
