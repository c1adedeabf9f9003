// SPDX-License-Identifier: BSL-1.0
// The client announced to its server by the PROXY protocol, through splices and other flows: the header's bytes and numbers, what is lost,
// what comes early, and that neither end sees the other's numbers.
#include <halfproxy/engine/engine.hpp>

#include "tests/support/splice.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using line = timeline<>;
using hands = handshake_of<>;

engine_config announcing(endpoints const& e, guard_mode mode, proxy_protocol version = proxy_protocol::v2) {
    engine_config c = guarded(mode);
    configured_backend server;
    if (e.version == 4) {
        server.address = ip_address::v4(e.server4);
    } else {
        server.address.version = 6;
        std::copy(e.server6.begin(), e.server6.end(), server.address.bytes.begin());
    }
    server.port = static_cast<std::uint16_t>(e.server_port);
    server.profile.announce = version;
    c.splice.backends = {server};
    return c;
}

endpoints family(unsigned version) {
    endpoints e;
    e.version = version;
    return e;
}

/// By hand, from the specification.
byte_string header_of(endpoints const& e, proxy_protocol version) {
    bool const v4 = e.version == 4;
    if (version == proxy_protocol::v1) {
        std::string const text = v4 ? "PROXY TCP4 192.0.2.10 198.51.100.80 40000 80\r\n"
                                    : "PROXY TCP6 2001:db8:0:0:0:0:0:10 2001:db8:0:0:0:0:0:80 40000 80\r\n";
        return {text.begin(), text.end()};
    }
    byte_string const addresses = v4 ? u32(e.client4) + u32(e.server4) : e.client6 + e.server6;
    return byte_string{13, 10, 13, 10, 0, 13, 10, 'Q', 'U', 'I', 'T', 10} + u8(0x21) + u8(v4 ? 0x11 : 0x21) + u16(v4 ? 12 : 36) + addresses +
           u16(e.client_port) + u16(e.server_port);
}

/// A connection up to the header, guarded (spliced) or not.
struct scene {
    explicit scene(guard_mode mode, unsigned version = 4, proxy_protocol protocol = proxy_protocol::v2)
        : scene(announcing(family(version), mode, protocol), version, protocol) {}
    scene(engine_config const& config, unsigned version, proxy_protocol protocol)
        : l(config, family(version)), h{l}, header(header_of(l.ends, protocol)), bytes(static_cast<std::uint32_t>(header.size())),
          spliced(config.guard.mode == guard_mode::always) {}

    line l;
    hands h;
    byte_string header;
    std::uint32_t bytes;
    bool spliced;

    [[nodiscard]] std::uint32_t isn_for_server() const { return h.client.isn - bytes; }
    [[nodiscard]] std::uint32_t first() const { return h.client.isn + 1; }

    /// The SYN, as the server gets it.
    decoded ask() {
        if (spliced) {
            h.challenge();
            return h.validate();
        }
        outcome const o = l.client_sends(syn_of(h.client));
        REQUIRE(o.fate == verdict::forward);
        return *o.packet;
    }
    outcome answer() {
        h.with_timestamps = h.client.timestamps && h.server.timestamps;
        outcome const o = l.server_sends(h.syn_ack(isn_for_server() + 1));
        if (!spliced) h.cookie = h.server.isn, h.cookie_clock = h.server.clock;
        return o;
    }
    /// Of a flow that is not spliced; the third ACK.
    outcome confirm() { return l.client_sends(h.third_ack()); }

    /// All of it; returns the header's packet.
    decoded begin() {
        ask();
        outcome o = answer();
        REQUIRE(o.fate == verdict::forward);
        if (!spliced) {
            o = confirm();
            REQUIRE(o.fate == verdict::hold);
        }
        REQUIRE(o.beside.size() == 1);
        return o.beside[0];
    }
    void acknowledge() { REQUIRE(l.server_sends(h.from_server(0, 0)).fate == verdict::forward); }

    void is_header(decoded const& d) const {
        CHECK(d.exit == side::inside);
        CHECK(d.tcp.seq == isn_for_server() + 1);
        CHECK(d.tcp.ack == h.server.isn + 1);
        CHECK(d.tcp.flags == (flags::ack | flags::psh));
        CHECK(d.tcp.payload == header);
    }
};

constexpr guard_mode modes[] = {guard_mode::always, guard_mode::off};

}  // namespace

TEST_CASE("the header is the first the server hears, byte for byte, and both ends count from their own numbers") {
    for (guard_mode mode : modes)
        for (unsigned version : {4u, 6u})
            for (proxy_protocol protocol : {proxy_protocol::v1, proxy_protocol::v2})
                for (std::uint32_t isn : {1000u, 5u, 0xffffffffu, 0xfffffff0u})
                    for (bool timestamps : {true, false}) {
                        scene s(mode, version, protocol);
                        CAPTURE(version);
                        CAPTURE(isn);
                        s.h.client.isn = isn;
                        s.h.client.timestamps = timestamps;
                        decoded const syn = s.ask();
                        CHECK(syn.tcp.seq == s.isn_for_server());
                        outcome o = s.answer();
                        REQUIRE(o.fate == verdict::forward);
                        CHECK(o.packet->tcp.ack == s.first());
                        // The window ends where the server said, in the units of the segment: a SYN-ACK's are bytes.
                        unsigned const scale = s.spliced ? 7 : 0;
                        CHECK(o.packet->tcp.window == (65160 - s.bytes) >> scale);
                        if (!s.spliced) {
                            o = s.confirm();
                            CHECK(o.fate == verdict::hold);
                        }
                        REQUIRE(o.beside.size() == 1);
                        s.is_header(o.beside[0]);
                        CHECK(o.beside[0].tcp.timestamps.has_value() == timestamps);
                        CHECK(s.l.proxy().handshakes_now() == 1);

                        o = s.l.client_sends(s.h.from_client(0, 0, filled(100)));
                        REQUIRE(o.fate == verdict::forward);
                        CHECK(o.packet->tcp.seq == s.first());
                        CHECK(o.packet->tcp.ack == s.h.server.isn + 1);
                        o = s.l.server_sends(s.h.from_server(0, 100, filled(50)));
                        REQUIRE(o.fate == verdict::forward);
                        CHECK(o.packet->tcp.seq == s.h.cookie + 1);
                        CHECK(o.packet->tcp.ack == s.first() + 100);
                        CHECK(o.packet->tcp.window == 510);
                        CHECK(s.l.counters().clients_announced == 1);
                        CHECK(s.l.proxy().handshakes_now() == 0);
                        o = s.l.client_sends(s.h.from_client(100, 50, filled(10)));
                        CHECK(o.packet->tcp.seq == s.first() + 100);
                        CHECK(o.packet->tcp.ack == s.h.server.isn + 51);
                        if (timestamps) CHECK(o.packet->tcp.timestamps->second == s.h.server.clock + 10);
                        s.l.after(20'000);
                        CHECK(s.l.sent_by_timers().empty());
                    }
}

TEST_CASE("a server that speaks first is heard at once, and acknowledges to the client no header") {
    for (guard_mode mode : modes) {
        scene s(mode);
        s.begin();
        outcome const o = s.l.server_sends(s.h.from_server(0, 0u - s.bytes, filled(30), 510));
        REQUIRE(o.fate == verdict::forward);
        CHECK(o.packet->tcp.payload.size() == 30);
        CHECK(o.packet->tcp.ack == s.first());
        CHECK(o.packet->tcp.window == 509);  // 28 bytes less, in units of 128
        CHECK(s.l.proxy().handshakes_now() == 1);
        outcome const part = s.l.server_sends(s.h.from_server(30, 0u - s.bytes + 10, {}, 510));
        CHECK(part.packet->tcp.ack == s.first());
        CHECK(s.l.counters().clients_announced == 0);
        s.l.server_sends(s.h.from_server(30, 0));
        CHECK(s.l.counters().clients_announced == 1);
    }
}

TEST_CASE("a lost header comes again after 1, 2 and 4 seconds with the client's newest numbers, then both ends are reset") {
    for (guard_mode mode : modes) {
        scene s(mode);
        s.begin();
        s.l.server_sends(s.h.from_server(0, 0u - s.bytes, filled(30)));
        s.l.client_sends(s.h.from_client(0, 30, filled(7)));
        std::vector<std::uint64_t> times;
        std::vector<decoded> resets;
        std::uint64_t const begun = s.l.now_ms();
        s.l.after(30'000);
        for (decoded const& d : s.l.sent_by_timers()) {
            if ((d.tcp.flags & flags::rst) != 0) {
                resets.push_back(d);
                continue;
            }
            CHECK(d.tcp.seq == s.isn_for_server() + 1);
            CHECK(d.tcp.ack == s.h.server.isn + 31);
            CHECK(d.tcp.payload == s.header);
            CHECK(d.tcp.timestamps->first == s.h.client.clock + 10);
            times.push_back((d.at_ms - begun + 500) / 1000);
        }
        CHECK(times == std::vector<std::uint64_t>{1, 3, 7});
        REQUIRE(resets.size() == 2);
        CHECK(resets[0].exit == side::inside);
        CHECK(resets[0].tcp.seq == s.isn_for_server() + 1);
        CHECK(resets[1].exit == side::outside);
        CHECK(resets[1].tcp.seq == s.h.cookie + 31);
        CHECK(resets[1].tcp.ack == s.first() + 7);
        CHECK(s.l.counters().announcements_repeated == 3);
        CHECK(s.l.counters().announcements_failed == 1);
        CHECK(s.l.proxy().flows_now() == 0);
        CHECK(s.l.proxy().handshakes_now() == 0);
    }
}

TEST_CASE("a lost acknowledgment of the header: it comes again, and the next acknowledgment ends that") {
    for (guard_mode mode : modes) {
        scene s(mode);
        s.begin();
        s.l.after(1'200);
        std::vector<decoded> const again = s.l.sent_by_timers();
        REQUIRE(again.size() == 1);
        s.is_header(again[0]);
        s.acknowledge();
        s.l.after(30'000);
        CHECK(s.l.sent_by_timers().empty());
        CHECK(s.l.counters().clients_announced == 1);
    }
}

TEST_CASE("what the client sends before the header has arrived is acknowledged to it by SACK, in its own numbers (RFC 2018)") {
    for (guard_mode mode : modes) {
        scene s(mode);
        s.begin();
        REQUIRE(s.l.client_sends(s.h.from_client(0, 0, filled(100))).fate == verdict::forward);
        segment ack = s.h.from_server(0, 0u - s.bytes);
        ack.sack = {{s.first(), s.first() + 100}};
        outcome const o = s.l.server_sends(ack);
        REQUIRE(o.fate == verdict::forward);
        CHECK(o.packet->tcp.ack == s.first());
        CHECK(o.packet->tcp.sack == ack.sack);
        s.l.after(1'200);
        CHECK(s.l.sent_by_timers().size() == 1);
        CHECK(s.l.server_sends(s.h.from_server(0, 100)).packet->tcp.ack == s.first() + 100);
        CHECK(s.l.counters().clients_announced == 1);
    }
}

TEST_CASE("what the client sent before the server answered follows the header") {
    scene s(guard_mode::always);
    s.ask();
    REQUIRE(s.l.client_sends(s.h.from_client(0, 0, filled(20))).fate == verdict::hold);
    outcome const o = s.answer();
    REQUIRE(o.beside.size() == 2);
    s.is_header(o.beside[0]);
    CHECK(o.beside[1].tcp.seq == s.first());
    CHECK(o.beside[1].tcp.payload == filled(20));
}

TEST_CASE("data on the third ACK of a flow that is not spliced goes its way, and the header fills the gap before it") {
    scene s(guard_mode::off);
    s.ask();
    s.answer();
    outcome const o = s.l.client_sends(s.h.from_client(0, 0, filled(20)));
    REQUIRE(o.fate == verdict::forward);
    CHECK(o.packet->tcp.seq == s.first());
    REQUIRE(o.beside.size() == 1);
    CHECK(o.beside[0].tcp.payload == s.header);
    CHECK(o.beside[0].tcp.seq + s.bytes == o.packet->tcp.seq);
}

TEST_CASE("a window too small for the header: a bare ACK first, the header as soon as it opens, or as its probe after a second (RFC 9293 section 3.8.6.1)") {
    for (guard_mode mode : modes)
        for (bool opens : {true, false}) {
            scene s(mode);
            s.h.server.window = 10;
            s.ask();
            outcome o = s.answer();
            CHECK(o.packet->tcp.window == 0);
            if (!s.spliced) o = s.confirm();
            REQUIRE(o.beside.size() == 1);
            CHECK(o.beside[0].tcp.payload.empty());
            CHECK(o.beside[0].tcp.seq == s.isn_for_server() + 1);
            if (opens) {
                o = s.l.server_sends(s.h.from_server(0, 0u - s.bytes, {}, 510));
                CHECK(o.fate == verdict::forward);
                CHECK(o.packet->tcp.ack == s.first());
                REQUIRE(o.beside.size() == 1);
                s.is_header(o.beside[0]);
            } else {
                s.l.after(1'200);
                std::vector<decoded> const probe = s.l.sent_by_timers();
                REQUIRE(probe.size() == 1);
                CHECK(probe[0].tcp.payload == s.header);
            }
            s.acknowledge();
            CHECK(s.l.counters().clients_announced == 1);
        }
}

TEST_CASE("the client's RST is exact for the server, which has no header yet; nothing is repeated afterwards (RFC 5961 section 3.2)") {
    for (guard_mode mode : modes) {
        scene s(mode);
        s.begin();
        segment reset = s.h.from_client(0, 0);
        reset.flags = flags::rst;
        outcome const o = s.l.client_sends(reset);
        REQUIRE(o.fate == verdict::forward);
        CHECK(o.packet->tcp.seq == s.isn_for_server() + 1);
        s.l.after(8'000);
        CHECK(s.l.sent_by_timers().empty());
        CHECK(s.l.proxy().handshakes_now() == 0);
    }
}

TEST_CASE("the server's RST and FIN reach the client while the header is on its way") {
    for (guard_mode mode : modes) {
        scene s(mode);
        s.begin();
        segment end = s.h.from_server(0, 0u - s.bytes);
        end.flags = flags::rst | flags::ack;
        outcome o = s.l.server_sends(end);
        REQUIRE(o.fate == verdict::forward);
        CHECK(o.packet->tcp.seq == s.h.cookie + 1);
        CHECK(o.packet->tcp.ack == s.first());
        CHECK(s.l.proxy().handshakes_now() == 0);
        s.l.after(30'000);
        CHECK(s.l.sent_by_timers().empty());

        scene f(mode);
        f.begin();
        end = f.h.from_server(0, 0u - f.bytes);
        end.flags = flags::fin | flags::ack;
        o = f.l.server_sends(end);
        REQUIRE(o.fate == verdict::forward);
        CHECK(o.packet->tcp.ack == f.first());
        segment fin = f.h.from_client(0, 1);
        fin.flags = flags::fin | flags::ack;
        CHECK(f.l.client_sends(fin).packet->tcp.seq == f.first());
        f.l.after(1'200);
        CHECK(f.l.sent_by_timers().size() == 1);
        CHECK(f.l.server_sends(f.h.from_server(1, 1)).packet->tcp.ack == f.first() + 1);
        CHECK(f.l.counters().clients_announced == 1);
    }
}

TEST_CASE("a server that refuses: the client hears it in its own numbers") {
    for (guard_mode mode : modes) {
        scene s(mode);
        s.ask();
        segment reset;
        reset.ack = s.isn_for_server() + 1;
        reset.flags = flags::rst | flags::ack;
        outcome const o = s.l.server_sends(reset);
        REQUIRE(o.fate == verdict::forward);
        CHECK(o.packet->tcp.ack == s.first());
    }
}

TEST_CASE("ICMP errors about the SYN and the header quote to the client its own numbers (RFC 5927 section 4.1)") {
    scene s(guard_mode::off);
    decoded const syn = s.ask();
    auto const error_about = [&](decoded const& d) {
        byte_string const quoted(d.bytes.begin() + 14, d.bytes.begin() + 14 + 28);
        ip4 router;
        router.source = 0x0a000001;
        router.destination = s.l.ends.client4;
        outcome const o = s.l.sends(side::inside, ethernet(icmp_packet(router, 3, 1, quoted)));
        REQUIRE(o.fate == verdict::forward);
        return get32(o.packet->transport, 8 + 20 + 4);
    };
    CHECK(error_about(syn) == s.h.client.isn);
    s.answer();
    decoded const header = s.confirm().beside.at(0);
    CHECK(error_about(header) == s.first());
    decoded const data = *s.l.client_sends(s.h.from_client(0, 0, filled(9))).packet;
    CHECK(error_about(data) == s.first());
    s.l.server_sends(s.h.from_server(0, 9));
    CHECK(error_about(data) == s.first());
}

TEST_CASE("a repeated SYN is moved like the first, and one with data or Fast Open arrives without (RFC 7413)") {
    scene s(guard_mode::off);
    segment syn = syn_of(s.h.client);
    syn.payload = filled(40);
    syn.raw_options = byte_string{34, 10, 1, 2, 3, 4, 5, 6, 7, 8};
    for (int again = 0; again < 2; ++again) {
        outcome const o = s.l.client_sends(syn);
        REQUIRE(o.fate == verdict::forward);
        CHECK(o.packet->tcp.seq == s.isn_for_server());
        CHECK(o.packet->tcp.payload.empty());
        CHECK(o.packet->tcp.mss == s.h.client.mss);
        byte_string const& t = o.packet->transport;
        CHECK(std::find(t.begin() + 20, t.end(), 34) == t.end());
    }
    CHECK(s.answer().packet->tcp.ack == s.first());
    outcome const repeated = s.answer();
    CHECK(repeated.packet->tcp.ack == s.first());
    CHECK(s.confirm().beside.size() == 1);
}

TEST_CASE("a client that gives up before the third ACK is aimed right") {
    scene s(guard_mode::off);
    s.ask();
    s.answer();
    segment reset = s.h.from_client(0, 0);
    reset.flags = flags::rst;
    CHECK(s.l.client_sends(reset).packet->tcp.seq == s.isn_for_server() + 1);
    // Of a splice the proxy's own RST.
    scene p(guard_mode::always);
    p.ask();
    reset = p.h.from_client(0, 0);
    reset.flags = flags::rst;
    CHECK(p.l.client_sends(reset).packet->tcp.seq == p.isn_for_server() + 1);
}

TEST_CASE("the next connection of the tuple is announced as well") {
    scene s(guard_mode::off);
    s.begin();
    s.acknowledge();
    segment fin = s.h.from_client(0, 0);
    fin.flags = flags::fin | flags::ack;
    s.l.client_sends(fin);
    fin = s.h.from_server(0, 1);
    fin.flags = flags::fin | flags::ack;
    s.l.server_sends(fin);
    s.l.client_sends(s.h.from_client(1, 1));
    s.h.client = {.isn = 50'000'000, .clock = 6'000'000};
    s.h.server = {.isn = 800'000'000, .window = 65160, .clock = 9'500'000};
    s.is_header(s.begin());
    CHECK(s.l.counters().flows_opened == 2);
}

TEST_CASE("a server that has forgotten the connection is told of the client anew") {
    for (guard_mode mode : modes) {
        scene s(mode);
        s.begin();
        s.acknowledge();
        s.spliced = false;  // what follows is between the ends
        s.h.client = {.isn = 50'000'000, .clock = 6'000'000};
        s.h.server = {.isn = 800'000'000, .window = 65160, .clock = 9'500'000};
        CHECK(s.l.client_sends(syn_of(s.h.client)).packet->tcp.seq == s.isn_for_server());
        outcome const o = s.answer();
        REQUIRE(o.fate == verdict::forward);
        CHECK(o.packet->tcp.ack == s.first());
        outcome const third = s.confirm();
        REQUIRE(third.beside.size() == 1);
        s.is_header(third.beside[0]);
    }
}

TEST_CASE("timestamps that are put in for the server go on after the header, and the slot is theirs") {
    scene s(guard_mode::always);
    s.h.server.timestamps = false;
    s.ask();
    outcome o = s.answer();  // without timestamps: the server is asked anew
    REQUIRE(o.beside.size() == 1);
    CHECK(o.beside[0].tcp.seq == s.isn_for_server());
    o = s.answer();
    REQUIRE(o.fate == verdict::forward);
    REQUIRE(o.beside.size() == 1);
    s.is_header(o.beside[0]);
    CHECK_FALSE(o.beside[0].tcp.timestamps);
    CHECK(o.packet->tcp.ack == s.first());
    o = s.l.server_sends(s.h.from_server(0, 0u - s.bytes, filled(5)));
    CHECK(o.packet->tcp.ack == s.first());
    CHECK(o.packet->tcp.timestamps.has_value());
    s.acknowledge();
    CHECK(s.l.counters().clients_announced == 1);
    CHECK(s.l.proxy().handshakes_now() == 1);
    CHECK(s.l.server_sends(s.h.from_server(5, 0, filled(5))).packet->tcp.timestamps.has_value());
    s.l.after(20'000);
    CHECK(s.l.sent_by_timers().empty());
}

TEST_CASE("strict tracking finds nothing wrong with it") {
    for (guard_mode mode : modes) {
        engine_config c = announcing({}, mode);
        c.tracking.strictness = strictness::strict;
        scene s(c, 4, proxy_protocol::v2);
        s.begin();
        CHECK(s.l.client_sends(s.h.from_client(0, 0, filled(100))).fate == verdict::forward);
        CHECK(s.l.server_sends(s.h.from_server(0, 0u - s.bytes, filled(10))).fate == verdict::forward);
        CHECK(s.l.server_sends(s.h.from_server(10, 100, filled(10))).fate == verdict::forward);
        CHECK(s.l.client_sends(s.h.from_client(100, 20, filled(100))).fate == verdict::forward);
        CHECK(s.l.counters().dropped_total() == 0);
    }
}

TEST_CASE("without a handshake's place or room in the outbox the third ACK is dropped by name and the next one begins the header") {
    engine_config c = announcing({}, guard_mode::off);
    c.limits.handshakes = 0;
    scene s(c, 4, proxy_protocol::v2);
    s.ask();
    s.answer();
    CHECK(s.confirm().reason == drop_reason::handshakes_full);
}

TEST_CASE("other servers hear no header") {
    for (guard_mode mode : modes) {
        engine_config c = announcing({}, mode);
        c.splice.backends[0].port = 81;
        scene s(c, 4, proxy_protocol::v2);
        s.bytes = 0;
        CHECK(s.ask().tcp.seq == s.h.client.isn);
        outcome const o = s.answer();
        CHECK(o.packet->tcp.ack == s.first());
        if (s.spliced)
            CHECK(o.beside.at(0).tcp.payload.empty());
        else
            CHECK(s.confirm().fate == verdict::forward);
        CHECK(s.l.proxy().handshakes_now() == 0);
    }
}
