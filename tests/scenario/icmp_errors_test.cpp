// SPDX-License-Identifier: BSL-1.0
// ICMP errors about the segments of a TCP flow, from either end and from routers: translated with what they quote, held to the window.
#include "tests/support/conversation.hpp"

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
