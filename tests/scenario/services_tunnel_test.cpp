// SPDX-License-Identifier: BSL-1.0
// Mode ipip: the client's packet goes whole inside another one to the backend, which answers past us (RFC 2003, RFC 2473).
#include "tests/support/routed.hpp"
#include "tests/support/services.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

constexpr std::uint32_t our4 = 0x0a0000fe;  // 10.0.0.254
ipv6_bytes our6() {
    ipv6_bytes a{0xfd};
    a[15] = 0xfe;
    return a;
}

service_config tunnelled(unsigned backends, unsigned version = 4) {
    service_config s = service_of(backends, version);
    s.mode = forward_mode::ipip;
    s.tunnel.source4 = ip_address::v4(our4);
    s.tunnel.source6 = ip_address::v6(our6());
    for (backend& b : s.backends) b.port = 0;
    return s;
}

engine_config one_sided(guard_mode mode = guard_mode::off) {
    engine_config c = guarded(mode);
    c.tracking.asymmetric = asymmetric_paths::detect;
    c.guard.method = guard_method::challenge_reset;
    c.limits.tunnel_pieces = 64;
    return c;
}

/// What is inside, as a frame of its own.
decoded inside(decoded const& outer, std::size_t skip = 0) {
    REQUIRE(outer.transport.size() > skip);
    byte_string const packet(outer.transport.begin() + static_cast<std::ptrdiff_t>(skip), outer.transport.end());
    return decode(ethernet(packet));
}

byte_string bytes6(ipv6_bytes const& a) { return byte_string(a.begin(), a.end()); }

/// An IPv4 datagram with DF or without.
byte_string with_df(byte_string datagram, bool df) {
    put16(datagram, 6, df ? 0x4000 : 0);
    put16(datagram, 10, 0);
    put16(datagram, 10, naive_checksum(byte_view(datagram).first(20)));
    return datagram;
}

byte_string udp_of(endpoints const& e, std::size_t bytes, unsigned with = 'x') {
    byte_string const datagram = u16(e.client_port) + u16(e.server_port) + u16(static_cast<unsigned>(8 + bytes)) + u16(0) + filled(bytes, with);
    return datagram_of(e, true, 17, datagram, 6);
}

byte_string ip_of(byte_string const& frame) { return byte_string(frame.begin() + 14, frame.end()); }

}  // namespace

TEST_CASE("ipip: the client's packet, its addresses kept, goes inside one from us to the backend, and a flow's backend stays (RFC 2003 section 3)") {
    for (unsigned const version : {4u, 6u}) {
        CAPTURE(version);
        service_line<> l({.services = {tunnelled(2, version)}}, one_sided(), {.version = version});
        for (unsigned port = 1; port <= 4; ++port) {
            l.ends.client_port = port;
            segment syn = syn_of({.isn = 1000 * port});
            syn.mss = 1200;
            byte_string const sent = framed(l.ends, tcp_datagram(l.ends, true, syn));
            outcome const o = l.sends(side::outside, sent);
            REQUIRE(o.fate == verdict::forward);
            unsigned const who = (port - 1) % 2;
            CHECK(o.packet->protocol == (version == 4 ? 4 : 41));
            CHECK(o.packet->source == (version == 4 ? u32(our4) : bytes6(our6())));
            CHECK(o.packet->destination == (version == 4 ? u32(backend4(who)) : bytes6(backend6(who))));
            CHECK(o.packet->transport == ip_of(sent));
            for (std::uint32_t at = 0; at < 300; at += 100) {
                outcome const data = l.client_data(port, at, 0, 100);
                REQUIRE(data.fate == verdict::forward);
                CHECK(data.packet->destination == o.packet->destination);
                CHECK(inside(*data.packet).tcp.payload.size() == 100);
            }
        }
        CHECK(l.open(0) == 2);
        CHECK(l.counters().tunnelled == 16);
    }
}

TEST_CASE("ipip: an IPv4 service may have backends of IPv6, and the other way round") {
    for (unsigned const version : {4u, 6u}) {
        service_config s = tunnelled(1, version);
        s.backends[0].address = version == 4 ? ip_address::v6(backend6(0)) : ip_address::v4(backend4(0));
        service_line<> l({.services = {s}}, one_sided(), {.version = version});
        outcome const o = l.client_sends(syn_of({.isn = 1}));
        REQUIRE(o.fate == verdict::forward);
        CHECK(o.packet->version == (version == 4 ? 6 : 4));
        CHECK(o.packet->protocol == (version == 4 ? 4 : 41));
        CHECK(inside(*o.packet).version == version);
    }
}

TEST_CASE("ipip in GUE: UDP from a port that stays with the flow, to the configured one") {
    service_config s = tunnelled(1);
    s.tunnel.carrier = carrier::gue;
    s.tunnel.udp_port = 6081;
    service_line<> l({.services = {s}}, one_sided());
    l.ends.client_port = 7;
    outcome const syn = l.client_sends(syn_of({.isn = 7000}));
    REQUIRE(syn.fate == verdict::forward);
    CHECK(syn.packet->protocol == 17);
    CHECK(syn.packet->destination_port == 6081);
    CHECK(syn.packet->source_port >= 0xc000);
    CHECK(inside(*syn.packet, 12).tcp.flags == flags::syn);
    CHECK(l.client_data(7, 0, 0, 5).packet->source_port == syn.packet->source_port);
    s.tunnel.carrier = carrier::gue_direct;
    service_line<> direct({.services = {s}}, one_sided());
    CHECK(inside(*direct.client_sends(syn_of({.isn = 1})).packet, 8).tcp.flags == flags::syn);
}

TEST_CASE("ipip: a SYN announces no more than fits, unless that is switched off") {
    for (unsigned const version : {4u, 6u}) {
        for (bool const clamp : {true, false}) {
            service_config s = tunnelled(1, version);
            s.tunnel.clamp_mss = clamp;
            service_line<> l({.services = {s}}, one_sided(), {.version = version});
            decoded const in = inside(*l.client_sends(syn_of({.isn = 1})).packet);
            CHECK(*in.tcp.mss == (clamp ? 1500u - (version == 4 ? 20 + 40 : 40 + 60) : 1460u));
            CHECK(in.transport_checksum_good);
        }
    }
}

TEST_CASE("ipip: who sends more than the tunnel takes hears of it, in the service's name, as often as configured (RFC 1191 section 4, RFC 4443 section 3.2)") {
    for (unsigned const version : {4u, 6u}) {
        CAPTURE(version);
        engine_config config = one_sided();
        config.limits.too_big_per_second = 2;
        service_line<> l({.services = {tunnelled(1, version)}}, config, {.version = version});
        l.ends.client_port = 1;
        REQUIRE(l.client_sends(syn_of({.isn = 1000})).fate == verdict::forward);
        segment const large{.seq = 1001, .ack = 700'001, .flags = flags::ack, .window = 502, .payload = filled(version == 4 ? 1460 : 1440)};
        byte_string datagram = tcp_datagram(l.ends, true, large);
        if (version == 4) datagram = with_df(datagram, true);
        byte_string const whole = framed(l.ends, datagram);
        for (int i = 0; i < 2; ++i) {
            outcome const o = l.sends(side::outside, whole);
            REQUIRE(o.fate == verdict::reply);
            CHECK(o.packet->source == (version == 4 ? u32(l.ends.server4) : l.ends.server6));
            CHECK(o.packet->destination == (version == 4 ? u32(l.ends.client4) : l.ends.client6));
            CHECK(o.packet->source_port == (version == 4 ? 0x0304u : 0x0200u));  // type and code
            CHECK(get32(o.packet->transport, 4) == (version == 4 ? 1480u : 1460u));
            byte_string const quoted(o.packet->transport.begin() + 8, o.packet->transport.begin() + 8 + 60);
            CHECK(quoted == byte_string(whole.begin() + 14, whole.begin() + 14 + 60));
        }
        CHECK(l.sends(side::outside, whole).reason == drop_reason::packet_too_big);
        CHECK(l.counters().too_big_sent == 2);
        CHECK(l.counters().too_big_limited == 1);
        CHECK(l.sends(side::outside, framed(l.ends, tcp_datagram(l.ends, true, {.seq = 1001, .ack = 700'001, .flags = flags::ack, .window = 502,
                                                                                .payload = filled(1400)}))).fate == verdict::forward);
    }
}

TEST_CASE("ipip: an IPv4 packet that may be fragmented goes in two, in their order, with what the device was to finish (RFC 791 section 3.2)") {
    service_config s = tunnelled(1);
    s.protocol = ip_protocol::udp;
    service_line<> l({.services = {s}}, one_sided());
    l.ends.client_port = 9;
    byte_string const whole = with_df(udp_of(l.ends, 1465), false);
    byte_string unfinished = whole;
    put16(unfinished, 26, static_cast<std::uint16_t>(~naive_checksum(u32(l.ends.client4) + u32(l.ends.server4) + u16(17) + u16(1473))));
    offload_info const device{.checksum = checksum_state::partial, .checksum_start = 34, .checksum_offset = 6};
    outcome const o = l.sends(side::outside, framed(l.ends, unfinished), device);
    REQUIRE(o.fate == verdict::hold);
    REQUIRE(o.beside.size() == 2);
    decoded const first = inside(o.beside[0]), second = inside(o.beside[1]);
    CHECK(o.beside[0].exit == side::inside);
    CHECK(o.beside[0].bytes.size() <= 14 + 1500);
    CHECK(first.more_fragments);
    CHECK(first.fragment_offset == 0);
    CHECK_FALSE(second.more_fragments);
    CHECK(second.fragment_offset == first.transport.size());
    CHECK(first.transport + second.transport == byte_string(whole.begin() + 20, whole.end()));
    CHECK(get16(o.beside[0].transport, 4) == get16(o.beside[1].transport, 4));  // one identification inside
    CHECK(get16(o.beside[0].bytes, 14 + 4) != get16(o.beside[1].bytes, 14 + 4));
    CHECK(l.counters().tunnel_pieces == 2);
}

TEST_CASE("ipip: a device's large segment leaves as the segments it stands for, and nothing of its burst overtakes it") {
    for (unsigned const version : {4u, 6u}) {
        CAPTURE(version);
        service_line<> l({.services = {tunnelled(1, version)}}, one_sided(), {.version = version});
        l.ends.client_port = 1;
        REQUIRE(l.client_sends(syn_of({.isn = 1000})).fate == verdict::forward);
        REQUIRE(l.client_data(1, 0, 0, 0).fate == verdict::forward);
        segment large{.seq = 1001, .ack = 700'001, .flags = flags::ack | flags::psh, .window = 502, .payload = filled(3000)};
        for (std::size_t i = 0; i < 3000; ++i) large.payload[i] = static_cast<std::uint8_t>(i * 7);
        segment const behind{.seq = 4001, .ack = 700'001, .flags = flags::ack, .window = 502, .payload = filled(10)};
        std::size_t const transport = version == 4 ? 34 : 54;
        offload_info const device{.checksum = checksum_state::partial,
                                  .segment_type = static_cast<std::uint8_t>(version == 4 ? 1 : 4),
                                  .segment_size = 1300,
                                  .header_length = static_cast<std::uint16_t>(transport + 20),
                                  .checksum_start = static_cast<std::uint16_t>(transport),
                                  .checksum_offset = 16};
        std::vector<byte_string> frames{framed(l.ends, tcp_datagram(l.ends, true, large))};
        auto const outcomes = l.burst(side::outside, frames, device);
        REQUIRE(outcomes[0].fate == verdict::hold);
        std::vector<decoded> const& pieces = outcomes[0].beside;
        REQUIRE(pieces.size() == 3);
        byte_string all;
        std::uint32_t at = 1001;
        for (std::size_t i = 0; i < 3; ++i) {
            decoded const d = inside(pieces[i]);
            CHECK(d.transport_checksum_good);
            CHECK(d.network_checksum_good);
            CHECK(d.tcp.seq == at);
            CHECK(d.tcp.flags == ((i == 2 ? flags::psh : 0u) | flags::ack));
            CHECK(pieces[i].bytes.size() <= 14 + 1500);
            at += static_cast<std::uint32_t>(d.tcp.payload.size());
            all = all + d.tcp.payload;
        }
        CHECK(all == large.payload);
        CHECK(l.sends(side::outside, framed(l.ends, tcp_datagram(l.ends, true, behind))).fate == verdict::forward);
    }
}

TEST_CASE("ipip: what comes behind a packet that was cut, in the same burst, leaves behind it") {
    service_config s = tunnelled(1);
    s.protocol = ip_protocol::udp;
    service_line<> l({.services = {s}}, one_sided());
    l.ends.client_port = 9;
    auto const sized = [&](unsigned bytes) { return framed(l.ends, with_df(udp_of(l.ends, bytes), false)); };
    std::vector<byte_string> frames{sized(10), sized(1470), sized(20)};
    auto const outcomes = l.burst(side::outside, frames);
    CHECK(outcomes[0].fate == verdict::forward);
    CHECK(outcomes[1].fate == verdict::hold);
    CHECK(outcomes[2].fate == verdict::hold);
    REQUIRE(outcomes[2].beside.size() == 3);
    CHECK(inside(outcomes[2].beside[2]).transport.size() == 28);
    CHECK(l.sends(side::outside, sized(30)).fate == verdict::forward);
}

TEST_CASE("ipip: pieces for which there is no slot are dropped whole, and slots come back when the burst has left") {
    engine_config config = one_sided();
    config.limits.tunnel_pieces = 3;
    service_config s = tunnelled(1);
    s.protocol = ip_protocol::udp;
    service_line<> l({.services = {s}}, config);
    l.ends.client_port = 9;
    byte_string const one = framed(l.ends, with_df(udp_of(l.ends, 1470), false));
    std::vector<byte_string> frames{one, one};
    auto const outcomes = l.burst(side::outside, frames);
    CHECK(outcomes[0].fate == verdict::hold);
    CHECK(outcomes[1].reason == drop_reason::outbox_full);
    for (int i = 0; i < 5; ++i) CHECK(l.sends(side::outside, one).fate == verdict::hold);
}

TEST_CASE("ipip: pieces that find no room in the outbox leave with the next call, which is due at once") {
    engine_config config = one_sided();
    config.limits.tunnel_pieces = 512;
    service_config s = tunnelled(1);
    service_line<> l({.services = {s}}, config);
    l.ends.client_port = 1;
    REQUIRE(l.client_sends(syn_of({.isn = 1000})).fate == verdict::forward);
    REQUIRE(l.client_data(1, 0, 0, 0).fate == verdict::forward);
    segment const large{.seq = 1001, .ack = 700'001, .flags = flags::ack, .window = 502, .payload = filled(40'000)};
    offload_info const device{.checksum = checksum_state::partial, .segment_type = 1, .segment_size = 100, .header_length = 54, .checksum_start = 34, .checksum_offset = 16};
    outcome const o = l.sends(side::outside, framed(l.ends, tcp_datagram(l.ends, true, large)), device);
    CHECK(o.fate == verdict::hold);
    CHECK(o.beside.size() == 256);
    l.after(1);
    std::vector<decoded> const rest = l.sent_by_timers();
    REQUIRE(rest.size() == 144);
    CHECK(inside(rest.back()).tcp.seq == 1001 + 39'900);
}

TEST_CASE("ipip: a large segment whose pieces do not fit is told to its sender, not cut") {
    service_line<> l({.services = {tunnelled(1)}}, one_sided());
    l.ends.client_port = 1;
    REQUIRE(l.client_sends(syn_of({.isn = 1000})).fate == verdict::forward);
    REQUIRE(l.client_data(1, 0, 0, 0).fate == verdict::forward);
    segment const large{.seq = 1001, .ack = 700'001, .flags = flags::ack, .window = 502, .payload = filled(4380)};
    byte_string const whole = framed(l.ends, with_df(tcp_datagram(l.ends, true, large), true));
    offload_info const device{.checksum = checksum_state::partial, .segment_type = 1, .segment_size = 1460, .header_length = 54, .checksum_start = 34, .checksum_offset = 16};
    outcome const o = l.sends(side::outside, whole, device);
    REQUIRE(o.fate == verdict::reply);
    CHECK(o.packet->protocol == 1);
    CHECK(get32(o.packet->transport, 4) == 1480);
}

TEST_CASE("ipip: a packet that comes from the backend itself does not go round (RFC 2003 section 3.2)") {
    service_line<> l({.services = {tunnelled(1)}}, one_sided());
    l.ends.client4 = backend4(0);
    CHECK(l.client_sends(syn_of({.isn = 1})).reason == drop_reason::ip_source);
}

TEST_CASE("ipip and dsr: an ICMP error about an answer goes to the backend that sent it") {
    for (forward_mode const mode : {forward_mode::ipip, forward_mode::dsr}) {
        service_config s = tunnelled(2);
        s.mode = mode;
        for (unsigned i = 0; i < 2; ++i) s.backends[i].station = {2, 0, 0, 0, 7, static_cast<std::uint8_t>(i)};
        service_config udp = s;
        udp.protocol = ip_protocol::udp;
        service_line<> l({.services = {s, udp}}, one_sided());
        l.ends.client_port = 1;
        REQUIRE(l.client_sends(syn_of({.isn = 1000})).fate == verdict::forward);
        l.ends.client_port = 2;
        REQUIRE(l.client_sends(syn_of({.isn = 2000})).fate == verdict::forward);
        REQUIRE(l.client_data(2, 0, 0, 10).fate == verdict::forward);
        byte_string const answer = tcp_datagram(l.ends, false, {.seq = 700'001, .ack = 2011, .flags = flags::ack, .window = 502, .payload = filled(1400)});
        auto const error_about = [&](byte_string const& packet) {
            byte_string const message = u8(3) + u8(4) + u16(0) + u32(1300) + byte_string(packet.begin(), packet.begin() + 48);
            return l.sends(side::outside, framed(l.ends, datagram_of(l.ends, true, 1, message, 2)));
        };
        outcome const o = error_about(answer);
        REQUIRE(o.fate == verdict::forward);
        if (mode == forward_mode::ipip) {
            CHECK(o.packet->destination == u32(backend4(1)));
            CHECK(inside(*o.packet).protocol == 1);
        } else {
            CHECK(o.packet->bytes[5] == 1);
        }
        REQUIRE(l.udp(5).fate == verdict::forward);
        l.ends.client_port = 5;
        byte_string const reply = datagram_of(l.ends, false, 17, u16(80) + u16(5) + u16(8 + 1400) + u16(0) + filled(1400), 6);
        CHECK(error_about(reply).fate == verdict::forward);
    }
}

TEST_CASE("ipip behind a guard: a client that has reset an unacceptable ACK is let through to its backend") {
    service_line<> l({.services = {tunnelled(2)}}, one_sided(guard_mode::always));
    outcome const challenge = l.client_sends(syn_of({.isn = 1000}));
    REQUIRE(challenge.fate == verdict::reply);
    CHECK(challenge.packet->tcp.flags == flags::ack);
    CHECK(l.client_sends({.seq = challenge.packet->tcp.ack, .flags = flags::rst}).fate == verdict::hold);
    outcome const again = l.client_sends(syn_of({.isn = 1000}));
    REQUIRE(again.fate == verdict::forward);
    CHECK(again.packet->destination == u32(backend4(0)));
    CHECK(inside(*again.packet).tcp.flags == flags::syn);
}

TEST_CASE("ipip: when a backend is given up its connection's RST goes through the tunnel too") {
    service_config s = tunnelled(1);
    s.pool.on_down = on_down::reset;
    service_line<> l({.services = {s}}, one_sided());
    l.ends.client_port = 1;
    REQUIRE(l.client_sends(syn_of({.isn = 1000})).fate == verdict::forward);
    REQUIRE(l.client_data(1, 0, 0, 0).fate == verdict::forward);
    l.set_state(0, backend_state::down);
    l.after(1);
    outcome const o = l.client_data(1, 0, 0, 10);
    CHECK(o.fate == verdict::reply);
    REQUIRE(o.beside.size() == 1);
    CHECK(o.beside[0].protocol == 4);
    CHECK(inside(o.beside[0]).tcp.flags == flags::rst);
}

TEST_CASE("ipip in fragments: each goes into the tunnel, those before their first as well") {
    service_config s = tunnelled(1);
    s.protocol = ip_protocol::udp;
    service_line<> l({.services = {s}}, one_sided());
    l.ends.client_port = 9;
    byte_string const whole = udp_of(l.ends, 1992);
    auto const piece = [&](std::size_t from, std::size_t bytes, bool more) {
        byte_string p(whole.begin(), whole.begin() + 20);
        put16(p, 2, static_cast<unsigned>(20 + bytes));
        put16(p, 6, static_cast<unsigned>(from / 8 | (more ? 0x2000u : 0u)));
        put16(p, 10, 0);
        put16(p, 10, naive_checksum(p));
        return framed(l.ends, p + byte_string(whole.begin() + 20 + static_cast<std::ptrdiff_t>(from), whole.begin() + 20 + static_cast<std::ptrdiff_t>(from + bytes)));
    };
    CHECK(l.sends(side::outside, piece(1000, 1000, false)).fate == verdict::hold);
    outcome const first = l.sends(side::outside, piece(0, 1000, true));
    REQUIRE(first.fate == verdict::forward);
    CHECK(first.packet->protocol == 4);
    REQUIRE(first.beside.size() == 1);
    CHECK(first.beside[0].protocol == 4);
    CHECK(inside(first.beside[0]).fragment_offset == 1000);
}

TEST_CASE("transparent behind a guard: our SYN, its repetition and the client's RST go to the backend's station") {
    service_config s = service_of(2);
    s.mode = forward_mode::transparent;
    for (unsigned i = 0; i < 2; ++i) {
        s.backends[i].port = 0;
        s.backends[i].station = {2, 0, 0, 0, 7, static_cast<std::uint8_t>(i)};
    }
    service_line<> l({.services = {s}}, guarded());
    handshake_of<serving<>> h{l};
    h.challenge();
    decoded const syn = h.validate();
    CHECK(syn.tcp.flags == flags::syn);
    CHECK(byte_string(syn.bytes.begin(), syn.bytes.begin() + 6) == u8(2) + u8(0) + u8(0) + u8(0) + u8(7) + u8(0));
    l.after(1'100);
    auto const again = l.sent_by_timers();
    REQUIRE(again.size() == 1);
    CHECK(byte_string(again[0].bytes.begin(), again[0].bytes.begin() + 6) == u8(2) + u8(0) + u8(0) + u8(0) + u8(7) + u8(0));
    outcome const gone = l.client_sends({.seq = 1001, .flags = flags::rst});
    REQUIRE(gone.fate == verdict::forward);
    CHECK(gone.packet->bytes[4] == 7);
}
