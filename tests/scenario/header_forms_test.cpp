// SPDX-License-Identifier: BSL-1.0
// F44: whatever stands before the TCP header, the same protection, and no harm to flows that are established.
#include "tests/support/conversation.hpp"

#include <functional>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

/// One way to wrap a TCP segment of an end.
struct form {
    char const* name;
    unsigned version;
    std::function<byte_string(endpoints const&, bool, segment const&)> frame;
};

tcp header_of(endpoints const& e, bool from_client, segment const& s) {
    tcp t;
    t.source_port = from_client ? e.client_port : e.server_port;
    t.destination_port = from_client ? e.server_port : e.client_port;
    t.seq = s.seq;
    t.ack = s.ack;
    t.flags = s.flags;
    t.window = s.window;
    t.options = options_of(s);
    t.payload = s.payload;
    return t;
}

form four(char const* name, unsigned fragment, byte_string options, std::initializer_list<vlan> tags = {}) {
    return {name, 4, [=, stack = std::vector<vlan>(tags)](endpoints const& e, bool from_client, segment const& s) {
                ip4 ip;
                ip.source = from_client ? e.client4 : e.server4;
                ip.destination = from_client ? e.server4 : e.client4;
                ip.fragment = fragment;
                ip.options = options;
                byte_string const datagram = tcp_packet(ip, header_of(e, from_client, s));
                return stack.empty() ? ethernet(datagram) : ethernet(datagram, {stack.front(), stack.back()});
            }};
}

form six(char const* name, std::vector<extension> extensions) {
    return {name, 6, [=](endpoints const& e, bool from_client, segment const& s) {
                ip6 ip;
                ip.source = from_client ? e.client6 : e.server6;
                ip.destination = from_client ? e.server6 : e.client6;
                ip.extensions = extensions;
                return ethernet(tcp_packet(ip, header_of(e, from_client, s)));
            }};
}

std::vector<form> forms() {
    byte_string const padding{0, 1, 4, 0, 0, 0, 0};
    return {four("without DF", 0, {}),
            four("record route", 0x4000, {7, 7, 4, 0, 0, 0, 0, 0}),
            four("router alert without DF", 0, {148, 4, 0, 0}),
            four("forty bytes of options", 0, byte_string(40, 1)),
            four("QinQ", 0x4000, {}, {{0x88a8, 5}, {0x8100, 42}}),
            four("two tags of one kind, without DF", 0, {}, {{0x8100, 5}, {0x8100, 42}}),
            six("hop-by-hop options", {{0, padding}}),
            six("destination options", {{60, padding}}),
            six("both", {{0, padding}, {60, padding}}),
            six("atomic fragment", {{44, {0, 0, 0, 0, 0, 0, 7}}}),
            six("hop-by-hop, atomic fragment, destination options", {{0, padding}, {44, {0, 0, 0, 0, 0, 0, 7}}, {60, padding}})};
}

}  // namespace

TEST_CASE("F44 a SYN is challenged and a handshake goes to its end, whatever stands before the TCP header (RFC 8200 section 4)") {
    for (form const& f : forms()) {
        CAPTURE(std::string(f.name));
        conversation c({f.version, true, 0xffff'ffff, 0x7fff'ffff});
        auto const from_client = [&](segment const& s) { return c.line.sends(side::outside, f.frame(c.line.ends, true, s)); };
        auto const from_server = [&](segment const& s) { return c.line.sends(side::inside, f.frame(c.line.ends, false, s)); };
        outcome const challenge = from_client(syn_of(c.hands.client));
        REQUIRE(challenge.fate == verdict::reply);
        CHECK(challenge.packet->tcp.flags == (flags::syn | flags::ack));
        CHECK(c.line.proxy().flows_now() == 0);
        segment bare{.seq = 5, .ack = 6, .flags = flags::ack};
        CHECK(from_client(bare).reason == drop_reason::cookie_invalid);
        c.hands.cookie = challenge.packet->tcp.seq;
        c.hands.cookie_clock = challenge.packet->tcp.timestamps->first;
        outcome const syn = from_client(c.hands.third_ack());
        REQUIRE(syn.fate == verdict::forward);
        CHECK(syn.packet->tcp.flags == flags::syn);
        c.hands.with_timestamps = true;
        REQUIRE(from_server(c.hands.syn_ack()).fate == verdict::forward);
        segment const up = c.client(0, 0, 700), down = c.server(0, 700, 900);
        outcome const at_server = from_client(up), at_client = from_server(down);
        REQUIRE(at_server.fate == verdict::forward);
        CHECK(at_server.packet->tcp.seq == up.seq);
        CHECK(at_server.packet->tcp.ack == up.ack - c.hands.shift());
        CHECK(at_server.packet->tcp.payload == up.payload);
        REQUIRE(at_client.fate == verdict::forward);
        CHECK(at_client.packet->tcp.seq == down.seq + c.hands.shift());
        CHECK(at_client.packet->tcp.ack == down.ack);
        CHECK(at_client.packet->bytes.size() == f.frame(c.line.ends, false, down).size());
        CHECK(from_client(c.client(700, 5000)).reason == drop_reason::ack_above_sent);
    }
}

TEST_CASE("F44 packets of an established flow pass unchanged and are tracked, whatever stands before their TCP header") {
    for (form const& f : forms()) {
        CAPTURE(std::string(f.name));
        conversation c({f.version, false, 0, 0xffff'ffff});
        auto const passes = [&](bool client, segment const& s) {
            byte_string const frame = f.frame(c.line.ends, client, s);
            outcome const o = c.line.sends(client ? side::outside : side::inside, frame);
            REQUIRE(o.reason == drop_reason::none);
            CHECK(o.packet->bytes == frame);
        };
        passes(true, syn_of(c.hands.client));
        c.hands.cookie_clock = c.hands.server.clock;
        c.hands.with_timestamps = true;
        passes(false, c.hands.syn_ack());
        passes(true, c.hands.third_ack());
        passes(true, c.client(0, 0, 100));
        passes(false, c.server(0, 100, 100));
        CHECK(c.line.sends(side::outside, f.frame(c.line.ends, true, rst(c.client(99, 100)))).reason == drop_reason::rst_outside_window);
        passes(true, rst(c.client(100, 100)));
        CHECK(c.state() == tcp_state::closed);
    }
}
