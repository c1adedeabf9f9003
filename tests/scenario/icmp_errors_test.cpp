// SPDX-License-Identifier: BSL-1.0
// ICMP errors about what a flow has sent, from either end and from routers: translated with what they quote, held to the window of TCP.
#include "tests/support/conversation.hpp"
#include "tests/support/fragments.hpp"

#include <functional>
#include <optional>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

struct icmp_error {
    unsigned type, code;
    std::uint32_t rest;
};

/// Too big, time exceeded, host or address unreachable.
std::vector<icmp_error> errors(unsigned version) {
    if (version == 4) return {{3, 4, 1280}, {11, 0, 0}, {3, 1, 0}};
    return {{2, 0, 1280}, {3, 0, 0}, {1, 3, 0}};
}

/// From an end, or from a router on its side, about a datagram that goes there.
byte_string error_about(endpoints ends, bool from_client, byte_string const& quoted, icmp_error const& what, bool from_router) {
    bool const v4 = ends.version == 4;
    byte_string const message = u8(what.type) + u8(what.code) + u16(0) + u32(what.rest) + quoted;
    if (from_router) {
        (from_client ? ends.client4 : ends.server4) ^= 0x7f;
        (from_client ? ends.client6 : ends.server6).back() ^= 0x7f;
    }
    return framed(ends, datagram_of(ends, from_client, v4 ? 1 : 58, message, 2));
}

byte_string datagram_in(byte_string const& frame) { return {frame.begin() + 14, frame.end()}; }

byte_string first(byte_string s, std::size_t bytes) {
    s.resize(std::min(bytes, s.size()));
    return s;
}

/// What arrives of an error: the quote behind its 8 bytes.
byte_string quote_in(outcome const& o) {
    REQUIRE(o.reason == drop_reason::none);
    REQUIRE(o.packet);
    return {o.packet->transport.begin() + 8, o.packet->transport.end()};
}

}  // namespace

TEST_CASE("F41 an error quotes to its receiver byte for byte what the receiver sent, both ways, short and whole quotes (RFC 5927 section 3)") {
    for (world const& w : every_world())
        for (icmp_error const& what : errors(w.version))
            for (bool from_router : {false, true}) {
                CAPTURE(w);
                CAPTURE(what.type);
                CAPTURE(from_router);
                conversation c(w);
                c.offer_nothing();
                c.open();
                segment const up = c.client(0, 0, 1000), down = c.server(0, 1000, 1200);
                outcome const at_server = c.line.client_sends(up), at_client = c.line.server_sends(down);
                std::size_t const headers = w.version == 4 ? 20 : 40;
                for (std::size_t length : {headers + 8, headers + 20, headers + 28, std::size_t{5000}}) {
                    CAPTURE(length);
                    byte_string const seen_by_server = first(datagram_in(at_server.packet->bytes), length);
                    outcome const to_client = c.line.sends(side::inside, error_about(c.line.ends, false, seen_by_server, what, from_router));
                    CHECK(quote_in(to_client) == first(tcp_datagram(c.line.ends, true, up), length));
                    byte_string const seen_by_client = first(datagram_in(at_client.packet->bytes), length);
                    outcome const to_server = c.line.sends(side::outside, error_about(c.line.ends, true, seen_by_client, what, from_router));
                    CHECK(quote_in(to_server) == first(tcp_datagram(c.line.ends, false, down), length));
                }
                CHECK(c.state() == tcp_state::established);
                CHECK(c.drops() == 0);
            }
}

TEST_CASE("F41 an error must quote a number that may be in flight: outside of the window it is dropped (RFC 5927 section 4.1)") {
    constexpr std::uint32_t slack = 66'000;
    constexpr unsigned window = 60'000;
    for (world const& w : every_world())
        for (bool about_client : {true, false}) {
            CAPTURE(w);
            CAPTURE(about_client);
            conversation c(w);
            c.offer_nothing();
            c.open();
            for (std::uint32_t sent = 0; sent < 98'000; sent += 1400) {
                about_client ? c.client_passes(c.client(sent, 0, 1400, window)) : c.server_passes(c.server(sent, 0, 1400, window));
                about_client ? c.server_passes(c.server(0, sent + 1400, 0, window)) : c.client_passes(c.client(0, sent + 1400, 0, window));
            }
            auto const fate = [&](std::uint32_t offset) {
                // As the segment looked where the error comes from.
                segment quoted = about_client ? c.client(offset, 0) : c.server(offset, 0);
                if (about_client)
                    quoted.ack -= c.hands.shift();
                else
                    quoted.seq += c.hands.shift();
                byte_string const frame = error_about(c.line.ends, !about_client, tcp_datagram(c.line.ends, about_client, quoted), errors(w.version)[0], true);
                return c.line.sends(about_client ? side::inside : side::outside, frame).reason;
            };
            CHECK(fate(98'000) == drop_reason::none);
            CHECK(fate(98'001) == drop_reason::icmp_unrelated);
            CHECK(fate(98'000 - slack) == drop_reason::none);
            CHECK(fate(98'000 - slack - 1) == drop_reason::icmp_unrelated);
            CHECK(fate(98'000 + 0x8000'0000u) == drop_reason::icmp_unrelated);
        }
}

TEST_CASE("F41 errors from the wrong side, about other flows, or with a wrong checksum are dropped") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.open();
        c.client_passes(c.client(0, 0, 100));
        icmp_error const what = errors(w.version)[0];
        segment quoted = c.client(0, 0, 100);
        quoted.ack -= c.hands.shift();
        endpoints strangers = c.line.ends;
        strangers.client_port += 1;
        byte_string const good = error_about(c.line.ends, false, tcp_datagram(c.line.ends, true, quoted), what, true);
        CHECK(c.line.sends(side::outside, good).reason == drop_reason::wrong_side);
        CHECK(c.line.sends(side::inside, error_about(c.line.ends, false, tcp_datagram(strangers, true, quoted), what, true)).reason == drop_reason::icmp_unrelated);
        byte_string damaged = good;
        damaged[14 + (w.version == 4 ? 20u : 40u) + 6] ^= 1;  // the MTU
        CHECK(c.line.sends(side::inside, damaged).reason == drop_reason::l4_checksum);
        CHECK(c.line.sends(side::inside, good).fate == verdict::forward);
    }
}

TEST_CASE("F41 an error about a segment keeps no flow alive and changes no state, a hard one neither (RFC 5927 section 5.2)") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        engine_config config = guarded();
        config.timeouts.established = 20'000;
        conversation c(w, config);
        c.open();
        c.client_passes(c.client(0, 0, 100));
        segment quoted = c.client(0, 0, 100);
        quoted.ack -= c.hands.shift();
        icmp_error const port_unreachable = w.version == 4 ? icmp_error{3, 3, 0} : icmp_error{1, 4, 0};
        byte_string const error = error_about(c.line.ends, false, tcp_datagram(c.line.ends, true, quoted), port_unreachable, false);
        for (int i = 0; i < 4; ++i) {
            CHECK(c.line.sends(side::inside, error).fate == verdict::forward);
            CHECK(c.state() == tcp_state::established);
            c.line.after(4'900);
        }
        c.line.after(600);
        CHECK_FALSE(c.alive());
    }
}

namespace {

/// An IP datagram of any protocol, from one end to the other.
byte_string plain_datagram(endpoints const& e, bool from_client, unsigned protocol, byte_string const& content, std::vector<extension> extensions = {}) {
    if (e.version == 4) {
        ip4 ip;
        ip.source = from_client ? e.client4 : e.server4;
        ip.destination = from_client ? e.server4 : e.client4;
        ip.protocol = protocol;
        return encode(ip, content);
    }
    ip6 ip;
    ip.source = from_client ? e.client6 : e.server6;
    ip.destination = from_client ? e.server6 : e.client6;
    ip.protocol = protocol;
    ip.extensions = std::move(extensions);
    return encode(ip, content);
}

byte_string udp_datagram(endpoints const& e, bool from_client, std::size_t bytes = 40) {
    unsigned const from = from_client ? e.client_port : e.server_port, to = from_client ? e.server_port : e.client_port;
    return datagram_of(e, from_client, 17, u16(from) + u16(to) + u16(8 + static_cast<unsigned>(bytes)) + u16(0) + filled(bytes), 6);
}

byte_string echo_datagram(endpoints const& e, bool request) {
    bool const v4 = e.version == 4;
    return datagram_of(e, request, v4 ? 1 : 58, u8(v4 ? (request ? 8 : 0) : (request ? 128 : 129)) + u8(0) + u16(0) + u16(7) + u16(1) + filled(8), 2);
}

using line_type = timeline<>;

line_type unguarded_line(unsigned version) {
    endpoints e;
    e.version = version;
    return line_type(guarded(guard_mode::off), e);
}

outcome sends(line_type& l, bool client, byte_string const& datagram) { return l.sends(client ? side::outside : side::inside, framed(l.ends, datagram)); }

/// An error of the server's side about what the client sent, or the other way round.
drop_reason error_fate(line_type& l, bool about_client, byte_string const& quoted, std::optional<icmp_error> what = {}) {
    return l.sends(about_client ? side::inside : side::outside,
                   error_about(l.ends, !about_client, quoted, what.value_or(errors(l.ends.version)[0]), true)).reason;
}

}  // namespace

TEST_CASE("errors about UDP, ICMP queries and other protocols relate to their flow, and only to the side that has sent something") {
    for (unsigned version : {4u, 6u}) {
        struct kind {
            char const* name;
            std::function<byte_string(endpoints const&, bool)> datagram;
        };
        for (kind const& k : {kind{"udp", [](endpoints const& e, bool client) { return udp_datagram(e, client); }}, kind{"echo", echo_datagram},
                              kind{"gre", [](endpoints const& e, bool client) { return plain_datagram(e, client, 47, filled(40)); }}}) {
            CAPTURE(std::string(k.name));
            CAPTURE(version);
            line_type l = unguarded_line(version);
            byte_string const up = k.datagram(l.ends, true), down = k.datagram(l.ends, false);
            CHECK(error_fate(l, true, up) == drop_reason::icmp_unrelated);  // there is no flow
            REQUIRE(sends(l, true, up).fate == verdict::forward);
            CHECK(error_fate(l, true, up) == drop_reason::none);
            CHECK(error_fate(l, true, first(up, fragmentable_at(up) + 8)) == drop_reason::none);
            CHECK(error_fate(l, false, down) == drop_reason::icmp_unrelated);  // nobody has sent that yet
            REQUIRE(sends(l, false, down).fate == verdict::forward);
            CHECK(error_fate(l, false, down) == drop_reason::none);
            CHECK(l.sends(side::outside, error_about(l.ends, false, up, errors(version)[0], true)).reason == drop_reason::wrong_side);
            CHECK(l.proxy().flows_now() == 1);
        }
    }
}

TEST_CASE("a quote too short to name its flow relates to none: before the ports, before the sequence number, inside the IP header") {
    for (unsigned version : {4u, 6u}) {
        line_type l = unguarded_line(version);
        byte_string const udp = udp_datagram(l.ends, true), gre = plain_datagram(l.ends, true, 47, filled(40));
        sends(l, true, udp);
        sends(l, true, gre);
        conversation c({version, false, 1000, 700'000});
        c.open();
        byte_string const tcp = tcp_datagram(c.line.ends, true, c.client(0, 0, 100));
        std::size_t const header = fragmentable_at(udp);
        for (std::size_t length = 0; length < header + 8; ++length) {
            CHECK(error_fate(l, true, first(udp, length)) == drop_reason::icmp_unrelated);
            CHECK(error_fate(c.line, true, first(tcp, length)) == drop_reason::icmp_unrelated);
            CHECK(error_fate(l, true, first(gre, length)) == (length < header ? drop_reason::icmp_unrelated : drop_reason::none));
        }
        CHECK(error_fate(l, true, first(udp, header + 8)) == drop_reason::none);
        CHECK(error_fate(c.line, true, first(tcp, header + 8)) == drop_reason::none);
    }
}

TEST_CASE("an error must go to whom the quote says it was that sent the packet") {
    for (unsigned version : {4u, 6u}) {
        line_type l = unguarded_line(version);
        byte_string const up = udp_datagram(l.ends, true);
        sends(l, true, up);
        endpoints stranger = l.ends;
        stranger.client4 ^= 1;
        stranger.client6.back() ^= 1;
        CHECK(l.sends(side::inside, error_about(stranger, false, up, errors(version)[0], false)).reason == drop_reason::icmp_unrelated);
        endpoints group = l.ends;
        group.server4 = 0xe0000001;
        group.server6 = u16(0xff02) + zeros(13) + u8(1);
        CHECK(l.sends(side::inside, error_about(group, false, up, errors(version)[0], false)).reason == drop_reason::ip_source);
    }
}

TEST_CASE("errors about errors, redirects and source quench pass in no case (RFC 1122 section 3.2.2, RFC 4443 section 2.4, RFC 6633)") {
    for (unsigned version : {4u, 6u}) {
        line_type l = unguarded_line(version);
        byte_string const up = udp_datagram(l.ends, true);
        sends(l, true, up);
        byte_string const error = datagram_in(error_about(l.ends, true, up, errors(version)[0], false));
        CHECK(error_fate(l, true, error) == drop_reason::icmp_denied);
        for (icmp_error const& what : version == 4 ? std::vector<icmp_error>{{5, 1, 0xc0000201}, {4, 0, 0}} : std::vector<icmp_error>{{137, 0, 0}})
            CHECK(error_fate(l, true, up, what) == drop_reason::icmp_denied);
        CHECK(error_fate(l, true, up) == drop_reason::none);
    }
}

TEST_CASE("errors about what goes to a group: none in IPv4, of IPv6 only that it is too big or has an unknown option (RFC 4443 section 2.4)") {
    line_type four = unguarded_line(4), six = unguarded_line(6);
    four.ends.server4 = 0xe00000fb;
    six.ends.server6 = u16(0xff05) + zeros(13) + u8(9);
    byte_string const up4 = udp_datagram(four.ends, true), up6 = udp_datagram(six.ends, true);
    REQUIRE(sends(four, true, up4).fate == verdict::forward);
    REQUIRE(sends(six, true, up6).fate == verdict::forward);
    four.ends.server4 = 0xc6336450;
    six.ends.server6 = ip6{}.destination;
    CHECK(error_fate(four, true, up4) == drop_reason::icmp_denied);
    CHECK(error_fate(six, true, up6, icmp_error{2, 0, 1280}) == drop_reason::none);
    CHECK(error_fate(six, true, up6, icmp_error{4, 2, 0}) == drop_reason::none);
    CHECK(error_fate(six, true, up6, icmp_error{4, 1, 0}) == drop_reason::icmp_denied);
    CHECK(error_fate(six, true, up6, icmp_error{1, 0, 0}) == drop_reason::icmp_denied);
}

TEST_CASE("a first fragment is quoted like a whole packet; about later ones IPv4 has no errors, IPv6 while their datagram is in progress (RFC 1122 section 3.2.2)") {
    for (unsigned version : {4u, 6u}) {
        line_type l = unguarded_line(version);
        auto const parts = fragments_of(udp_datagram(l.ends, true, 4000), 1480);
        sends(l, true, parts[0]);
        CHECK(error_fate(l, true, parts[0]) == drop_reason::none);
        sends(l, true, parts[1]);
        CHECK(error_fate(l, true, parts[1]) == (version == 4 ? drop_reason::icmp_denied : drop_reason::none));
        auto const others = fragments_of(udp_datagram(l.ends, true, 4000), 1480, 77);
        CHECK(error_fate(l, true, others[1]) == (version == 4 ? drop_reason::icmp_denied : drop_reason::icmp_unrelated));
        sends(l, true, parts[2]);
        CHECK(error_fate(l, true, parts[1]) == (version == 4 ? drop_reason::icmp_denied : drop_reason::icmp_unrelated));
    }
}

TEST_CASE("extension headers in a quote are walked through; one that ends among them names no flow") {
    line_type l = unguarded_line(6);
    byte_string const ports = u16(l.ends.client_port) + u16(l.ends.server_port) + u16(28) + u16(0) + filled(20);
    byte_string const padding{0, 1, 4, 0, 0, 0, 0};
    byte_string const up = plain_datagram(l.ends, true, 17, ports, {{0, padding}, {44, {0, 0, 0, 0, 0, 0, 7}}, {60, padding}});
    sends(l, true, udp_datagram(l.ends, true));
    for (std::size_t length = 40; length < 72; ++length) CHECK(error_fate(l, true, first(up, length)) == drop_reason::icmp_unrelated);
    CHECK(error_fate(l, true, first(up, 72)) == drop_reason::none);
}

TEST_CASE("while the server is asked an error about our SYN reaches the client, and of the server's side there is nothing to quote") {
    for (unsigned version : {4u, 6u}) {
        conversation c({version, true, 1000, 0xffff'fff0});
        c.hands.challenge();
        decoded const asked = c.hands.validate();
        outcome const o = c.line.sends(side::inside, error_about(c.line.ends, false, datagram_in(asked.bytes), {version == 4 ? 3u : 1u, 1, 0}, true));
        REQUIRE(o.packet);
        CHECK(o.packet->exit == side::outside);
        CHECK(c.line.proxy().handshakes_now() == 1);
        for (std::uint32_t seq : {0u, 0xffff'ffffu, c.hands.cookie}) {
            byte_string const quoted = tcp_datagram(c.line.ends, false, {.seq = seq, .ack = 1001, .flags = flags::syn | flags::ack});
            CHECK(error_fate(c.line, false, quoted) == drop_reason::icmp_unrelated);
        }
    }
}

TEST_CASE("a flow into which timestamps are put: the quote shows its sender's numbers") {
    for (unsigned version : {4u, 6u}) {
        conversation c({version, true, 1000, 700'000});
        c.hands.server.timestamps = false;
        c.hands.challenge();
        c.hands.validate();
        REQUIRE(c.hands.complete().fate == verdict::reply);
        REQUIRE(c.hands.complete().fate == verdict::forward);
        segment const up = c.client(0, 0, 300);
        outcome const at_server = c.line.client_sends(up);
        REQUIRE(at_server.packet);
        byte_string const quote = quote_in(c.line.sends(side::inside, error_about(c.line.ends, false, datagram_in(at_server.packet->bytes), errors(version)[0], true)));
        std::size_t const at = version == 4 ? 20 : 40;
        CHECK(get32(quote, at + 4) == up.seq);
        CHECK(get32(quote, at + 8) == up.ack);
    }
}

namespace {

/// Everybody's address is another one behind the half proxy.
struct other_source {
    address_answer<std::uint32_t> translate(flow_request<std::uint32_t> const& r, stamp_ms) noexcept {
        ipv4_tuple t = r.tuple;
        t.source = 0x0a000001;
        return {t};
    }
    address_answer<ipv6_bytes> translate(flow_request<ipv6_bytes> const& r, stamp_ms) noexcept {
        ipv6_tuple t = r.tuple;
        t.source[15] = 0x99;
        return {t};
    }
};

}  // namespace

TEST_CASE("under address translation an error about any protocol shows its receiver the packet as it was sent") {
    for (unsigned version : {4u, 6u})
        for (unsigned protocol : {47u, 17u}) {
            endpoints e;
            e.version = version;
            timeline<policies<admit_by_guard, other_source>> l(guarded(guard_mode::off), e);
            byte_string const up = protocol == 47 ? plain_datagram(e, true, 47, filled(40)) : udp_datagram(e, true);
            outcome const at_server = l.sends(side::outside, framed(e, up));
            REQUIRE(at_server.packet);
            endpoints behind = e;
            behind.client4 = 0x0a000001;
            behind.client6.back() = 0x99;
            byte_string const seen = datagram_in(at_server.packet->bytes);
            for (std::size_t length : {fragmentable_at(seen) + 8, seen.size()})
                CHECK(quote_in(l.sends(side::inside, error_about(behind, false, first(seen, length), errors(version)[0], true))) == first(up, length));
        }
}
