// SPDX-License-Identifier: BSL-1.0
// Datagrams in fragments through an engine: the first decides, the others follow, wait or fall with it.
#include "tests/support/conversation.hpp"
#include "tests/support/fragments.hpp"

#include <array>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

constexpr unsigned both[] = {4u, 6u};

endpoints family(unsigned version) {
    endpoints e;
    e.version = version;
    return e;
}

engine_config unguarded() { return guarded(guard_mode::off); }

byte_string payload_of(std::size_t bytes) {
    byte_string out(bytes);
    for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
    return out;
}

byte_string udp_datagram(endpoints const& e, bool from_client, byte_string const& payload) {
    unsigned const from = from_client ? e.client_port : e.server_port, to = from_client ? e.server_port : e.client_port;
    return datagram_of(e, from_client, 17, u16(from) + u16(to) + u16(8 + static_cast<unsigned>(payload.size())) + u16(0) + payload, 6);
}

/// What arrives of fragments that are sent one by one.
template <class Line>
struct arrival_of {
    Line& line;
    side from;
    std::vector<decoded> arrived{};
    std::vector<outcome> fates{};

    outcome const& give(byte_string const& fragment) {
        fates.push_back(line.sends(from, framed(line.ends, fragment)));
        if (fates.back().packet) arrived.push_back(*fates.back().packet);
        for (decoded const& d : fates.back().beside) arrived.push_back(d);
        return fates.back();
    }
};

using line = timeline<>;
using arrivals = arrival_of<line>;

/// The source address and port of what leaves are replaced, as behind a NAT.
struct other_source {
    address_answer<std::uint32_t> translate(flow_request<std::uint32_t> const& r, stamp_ms) noexcept {
        ipv4_tuple t = r.tuple;
        t.source = 0x0a000001;
        t.source_port = 555;
        return {t};
    }
    address_answer<ipv6_bytes> translate(flow_request<ipv6_bytes> const& r, stamp_ms) noexcept {
        ipv6_tuple t = r.tuple;
        t.source[15] = 0x99;
        t.source_port = 555;
        return {t};
    }
};
using nat_line = timeline<policies<admit_by_guard, other_source>>;

/// Every order of the fragments of a datagram both ways; `behind` is how the server knows the client.
template <class Line>
void check_every_order(unsigned version, std::function<endpoints(endpoints)> const& behind) {
    byte_string const payload = payload_of(4000);
    std::array<std::size_t, 3> order{0, 1, 2};
    do {
        CAPTURE(order);
        Line l(unguarded(), family(version));
        std::uint32_t id = 7;
        for (bool up : {true, false}) {
            endpoints const sender = up ? l.ends : behind(l.ends), receiver = up ? behind(l.ends) : l.ends;
            byte_string const datagram = udp_datagram(sender, up, payload);
            auto const fragments = fragments_of(datagram, 1480, id++);
            REQUIRE(fragments.size() == 3);
            arrival_of<Line> a{l, up ? side::outside : side::inside};
            for (std::size_t i : order) CHECK(a.give(fragments[i]).reason == drop_reason::none);
            REQUIRE(a.arrived.size() == 3);
            reassembled const whole = put_together(a.arrived);
            byte_string const expected = udp_datagram(receiver, up, payload);
            CHECK(whole.checksum_good);
            CHECK(whole.transport == byte_string(expected.begin() + static_cast<std::ptrdiff_t>(fragmentable_at(expected)), expected.end()));
        }
        std::size_t const before_first = static_cast<std::size_t>(std::find(order.begin(), order.end(), 0u) - order.begin());
        CHECK(l.counters().held == 2 * before_first);
        CHECK(l.counters().fragments_held == 2 * before_first);
        CHECK(l.counters().fragments_released == 2 * before_first);
        CHECK(l.proxy().flows_now() == 1);
        l.proxy().for_each_flow([&](auto const& f) {
            CHECK(f.packets[0] == 3);
            CHECK(f.packets[1] == 3);
            CHECK(f.bytes[0] == 4008 + 3 * (version == 4 ? 20 : 48));
        });
        CHECK_FALSE(l.at(1'000'000).proxy().next_deadline());
    } while (std::next_permutation(order.begin(), order.end()));
}

outcome give_tcp(line& l, bool from_client, segment const& s, std::size_t number, std::size_t bytes = 480) {
    return l.sends(from_client ? side::outside : side::inside, framed(l.ends, fragments_of(tcp_datagram(l.ends, from_client, s), bytes).at(number)));
}

std::uint64_t given_up(line const& l, drop_reason r) { return l.counters().fragments_given_up[static_cast<std::size_t>(r)]; }

}  // namespace

TEST_CASE("a datagram of 4,000 bytes arrives in fragments both ways, in whatever order they come") {
    for (unsigned version : both) check_every_order<line>(version, [](endpoints e) { return e; });
}

TEST_CASE("under address translation later fragments leave with the addresses of the first, waiting ones too") {
    for (unsigned version : both)
        check_every_order<nat_line>(version, [](endpoints e) {
            e.client4 = 0x0a000001;
            e.client6.back() = 0x99;
            e.client_port = 555;
            return e;
        });
}

TEST_CASE("fragments of one burst act in their order, the first before the others and behind them") {
    for (unsigned version : both)
        for (bool reversed : {false, true}) {
            line l(unguarded(), family(version));
            std::vector<byte_string> frames;
            for (byte_string const& f : fragments_of(udp_datagram(l.ends, true, payload_of(4000)), 1480)) frames.push_back(framed(l.ends, f));
            if (reversed) std::reverse(frames.begin(), frames.end());
            auto const results = l.burst(side::outside, frames);
            std::vector<decoded> arrived;
            for (outcome const& o : results) {
                if (o.packet) arrived.push_back(*o.packet);
                for (decoded const& d : o.beside) arrived.push_back(d);
            }
            CHECK(put_together(arrived).checksum_good);
            CHECK(l.counters().held == (reversed ? 2 : 0));
        }
}

TEST_CASE("ICMP echo in fragments, both ways") {
    for (unsigned version : both) {
        line l(unguarded(), family(version));
        for (bool up : {true, false}) {
            byte_string const message = u8(version == 4 ? (up ? 8 : 0) : (up ? 128 : 129)) + u8(0) + u16(0) + u16(77) + u16(1) + payload_of(3000);
            arrivals a{l, up ? side::outside : side::inside};
            auto const fragments = fragments_of(datagram_of(l.ends, up, version == 4 ? 1 : 58, message, 2), 1480);
            for (std::size_t i : {1u, 0u, 2u}) a.give(fragments[i]);
            CHECK(put_together(a.arrived).checksum_good);
        }
    }
}

TEST_CASE("what the first fragment is dropped for decides: later ones are dropped with it, those that waited are given up") {
    for (unsigned version : both) {
        engine_config config = unguarded();
        config.rules = {{.action = rule_action::deny, .to = {}, .protocol = std::uint8_t{17}}};
        line l(config, family(version));
        arrivals a{l, side::outside};
        auto const fragments = fragments_of(udp_datagram(l.ends, true, payload_of(4000)), 1480);
        CHECK(a.give(fragments[2]).fate == verdict::hold);
        CHECK(a.give(fragments[0]).reason == drop_reason::rule_denied);
        CHECK(a.give(fragments[1]).reason == drop_reason::fragment_of_dropped);
        CHECK(a.arrived.empty());
        CHECK(given_up(l, drop_reason::fragment_of_dropped) == 1);
        CHECK(l.counters().fragments_held == 1);
    }
}

TEST_CASE("an overlapping fragment, and everything of its datagram behind it, is dropped (RFC 5722)") {
    for (unsigned version : both) {
        line l(unguarded(), family(version));
        byte_string const datagram = udp_datagram(l.ends, true, payload_of(4000));
        auto const fragments = fragments_of(datagram, 1480);
        arrivals a{l, side::outside};
        CHECK(a.give(fragments[0]).fate == verdict::forward);
        CHECK(a.give(fragment_of(datagram, 8, 1480, true)).reason == drop_reason::fragment_overlap);
        CHECK(a.give(fragments[1]).reason == drop_reason::fragment_overlap);
        CHECK(a.give(fragments[0]).reason == drop_reason::fragment_overlap);
        CHECK(a.arrived.size() == 1);
        // The next datagram has nothing to do with it.
        for (byte_string const& f : fragments_of(datagram, 1480, 0x1235)) CHECK(a.give(f).fate == verdict::forward);
    }
}

TEST_CASE("a copy of a fragment is dropped and its datagram arrives (RFC 8200 section 4.5)") {
    for (unsigned version : both) {
        line l(unguarded(), family(version));
        auto const fragments = fragments_of(udp_datagram(l.ends, true, payload_of(4000)), 1480);
        arrivals a{l, side::outside};
        a.give(fragments[2]);
        CHECK(a.give(fragments[2]).reason == drop_reason::fragment_duplicate);
        a.give(fragments[0]);
        CHECK(a.give(fragments[0]).reason == drop_reason::fragment_duplicate);
        a.give(fragments[1]);
        CHECK(a.arrived.size() == 3);
        CHECK(put_together(a.arrived).checksum_good);
    }
}

TEST_CASE("a tiny first fragment is dropped with all that follows (RFC 1858 section 3, RFC 7112 section 5)") {
    for (unsigned version : both)
        for (malformed_policy policy : {malformed_policy::drop, malformed_policy::pass}) {
            engine_config config = unguarded();
            config.normalize.malformed = policy;
            line l(config, family(version));
            byte_string const datagram = tcp_datagram(l.ends, true, syn_of({.isn = 5}));
            bool const drops = policy == malformed_policy::drop;
            frame f;
            byte_string bytes = framed(l.ends, fragment_of(datagram, 0, 16, true));
            f.data = bytes.data();
            f.length = f.wire_length = f.capacity = static_cast<std::uint32_t>(bytes.size());
            outbox out(2);
            l.proxy().process({&f, 1}, time_point(std::chrono::milliseconds(1'000'000)), out);
            CHECK(f.reason == (drops ? drop_reason::fragment_tiny : drop_reason::none));
            CHECK(l.counters().malformed_passed[static_cast<std::size_t>(drop_reason::fragment_tiny)] == (drops ? 0 : 1));
            CHECK(l.proxy().flows_now() == 0);
            CHECK(l.sends(side::outside, framed(l.ends, fragment_of(datagram, 16, 40, false))).reason == (drops ? drop_reason::fragment_of_dropped : drop_reason::none));
        }
}

TEST_CASE("waiting fragments and datagrams without end are given up in time, by the clock alone") {
    for (unsigned version : both) {
        engine_config config = unguarded();
        config.timeouts.fragment = 10'000;
        line l(config, family(version));
        auto const fragments = fragments_of(udp_datagram(l.ends, true, payload_of(4000)), 1480);
        auto const others = fragments_of(udp_datagram(l.ends, true, payload_of(4000)), 1480, 99);
        arrivals a{l, side::outside};
        a.give(fragments[1]);
        l.at(5'000);
        a.give(others[0]);
        l.at(9'999);
        CHECK(given_up(l, drop_reason::fragment_timeout) == 0);
        l.at(10'000);
        CHECK(given_up(l, drop_reason::fragment_timeout) == 1);
        CHECK(l.counters().fragments_held == 1);
        l.at(14'999);
        CHECK(a.give(others[1]).fate == verdict::forward);
        l.at(15'000);
        CHECK(a.give(others[2]).fate == verdict::hold);  // its first is forgotten
        CHECK(a.give(fragments[0]).fate == verdict::forward);
        CHECK(a.arrived.size() == 3);
    }
}

TEST_CASE("released fragments that find no room in the outbox leave with the next call") {
    line l(unguarded());
    auto const fragments = fragments_of(udp_datagram(l.ends, true, payload_of(4000)), 1000);
    arrivals a{l, side::outside};
    for (std::size_t i = fragments.size() - 1; i > 0; --i) a.give(fragments[i]);
    byte_string bytes = framed(l.ends, fragments[0]);
    frame f;
    f.data = bytes.data();
    f.length = f.wire_length = f.capacity = static_cast<std::uint32_t>(bytes.size());
    outbox narrow(3), none(0), wide(9);
    time_point const now(std::chrono::milliseconds(1'000'000));
    l.proxy().process({&f, 1}, now, narrow);
    CHECK(f.outcome == verdict::forward);
    CHECK(narrow.frames().size() == 3);
    CHECK(*l.proxy().next_deadline() <= now);
    l.proxy().process({}, now, none);
    l.proxy().advance(now, wide);
    CHECK(wide.frames().size() == 1);
    CHECK(wide.frames()[0].exit == side::inside);
    CHECK(l.counters().fragments_released == 4);
    CHECK(l.counters().originated == 4);
}

TEST_CASE("a fragment opens no TCP flow and resets none, for its checksum covers what is not there") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        segment syn = syn_of(c.hands.client);
        syn.payload = filled(1000);
        CHECK(give_tcp(c.line, true, syn, 0).reason == drop_reason::fragment_decisive);
        CHECK(give_tcp(c.line, true, syn, 1).reason == drop_reason::fragment_of_dropped);
        if (w.spliced) {
            c.hands.challenge();
            segment proof = c.hands.third_ack();
            proof.payload = filled(1000);
            c.line.after(60'000);
            CHECK(give_tcp(c.line, true, proof, 0).reason == drop_reason::fragment_decisive);
        }
        CHECK(c.line.proxy().flows_now() == 0);
        c.line.after(60'000);
        c.open();
        segment reset = rst(c.client(0, 0, 1000));
        CHECK(give_tcp(c.line, true, reset, 0).reason == drop_reason::fragment_decisive);
        CHECK(c.state() == tcp_state::established);
    }
}

TEST_CASE("while the server is asked a client's fragments are dropped: a proof in them would become our SYN") {
    for (unsigned version : both) {
        conversation c({version, true, 1000, 700'000});
        c.hands.challenge();
        c.hands.validate();
        segment proof = c.hands.third_ack();
        proof.payload = filled(1000);
        CHECK(give_tcp(c.line, true, proof, 0).reason == drop_reason::fragment_decisive);
        CHECK(c.line.proxy().handshakes_now() == 1);
    }
}

TEST_CASE("TCP data in fragments is translated and tracked in full once its length is known; the flow stays strict") {
    for (world const& w : every_world())
        for (bool last_first : {false, true})
            for (bool up : {true, false}) {
                CAPTURE(w);
                CAPTURE(last_first);
                CAPTURE(up);
                engine_config config = guarded();
                config.tracking.strictness = strictness::strict;
                conversation c(w, config);
                c.open();
                segment const data = up ? c.client(0, 0, 1200) : c.server(0, 0, 1200);
                auto const acknowledged = [&](std::uint32_t bytes) {
                    return (up ? c.line.server_sends(c.server(0, bytes)) : c.line.client_sends(c.client(0, bytes))).reason;
                };
                arrivals a{c.line, up ? side::outside : side::inside};
                auto const fragments = fragments_of(tcp_datagram(c.line.ends, up, data), 480);
                REQUIRE(fragments.size() == 3);
                if (last_first) a.give(fragments[2]);
                REQUIRE(a.give(fragments[0]).fate == verdict::forward);
                if (!last_first) CHECK(acknowledged(480) == drop_reason::ack_above_sent);  // nobody can have it yet
                REQUIRE(a.give(fragments[1]).fate == verdict::forward);
                if (!last_first) REQUIRE(a.give(fragments[2]).fate == verdict::forward);
                CHECK(acknowledged(1201) == drop_reason::ack_above_sent);
                CHECK(acknowledged(1200) == drop_reason::none);
                segment expected = data;
                up ? expected.ack -= c.hands.shift() : expected.seq += c.hands.shift();
                reassembled const whole = put_together(a.arrived);
                CHECK(whole.checksum_good);
                REQUIRE(whole.transport.size() > 20);
                CHECK(get32(whole.transport, 4) == expected.seq);
                CHECK(get32(whole.transport, 8) == expected.ack);
                c.line.proxy().for_each_flow([&](auto const& f) { CHECK(((f.tcp.marks[0] | f.tcp.marks[1]) & tcp_mark::liberal) == 0); });
                up ? c.client_passes(c.client(1200, 0, 100)) : c.server_passes(c.server(1200, 0, 100));
            }
}

TEST_CASE("a FIN in fragments counts at the segment's end, once that is known") {
    for (world const& w : every_world()) {
        CAPTURE(w);
        conversation c(w);
        c.open();
        segment const last = fin(c.client(0, 0, 1200));
        CHECK(give_tcp(c.line, true, last, 0).fate == verdict::forward);
        CHECK(c.state() == tcp_state::established);
        CHECK(give_tcp(c.line, true, last, 2).fate == verdict::forward);
        CHECK(c.state() == tcp_state::half_closed);
        CHECK(give_tcp(c.line, true, last, 1).fate == verdict::forward);
        c.server_passes(fin(c.server(0, 1201)));
        c.client_passes(c.client(1201, 1));
        CHECK(c.state() == tcp_state::time_wait);
    }
}

TEST_CASE("a segment outside of the window is dropped with its later fragments") {
    for (unsigned version : both) {
        conversation c({version, false, 1000, 700'000});
        c.open();
        segment const far = c.client(10'000'000, 0, 1200);
        CHECK(give_tcp(c.line, true, far, 0).reason == drop_reason::seq_above_window);
        CHECK(give_tcp(c.line, true, far, 1).reason == drop_reason::fragment_of_dropped);
    }
}

TEST_CASE("from the other side the same identification is another datagram") {
    for (unsigned version : both) {
        line l(unguarded(), family(version));
        auto const fragments = fragments_of(udp_datagram(l.ends, true, payload_of(4000)), 1480);
        CHECK(l.sends(side::outside, framed(l.ends, fragments[0])).fate == verdict::forward);
        CHECK(l.sends(side::inside, framed(l.ends, fragments[1])).fate == verdict::hold);
        CHECK(l.sends(side::outside, framed(l.ends, fragments[1])).fate == verdict::forward);
        CHECK(l.sends(side::inside, framed(l.ends, fragments[0])).reason == drop_reason::wrong_side);
    }
}

TEST_CASE("fragments of what a rule lets through without a flow pass, and so do those of a flow that has ended meanwhile") {
    for (unsigned version : both) {
        engine_config config = unguarded();
        config.rules = {{.action = rule_action::fast, .protocol = std::uint8_t{6}}};
        config.timeouts.udp_new = 1'000;
        line l(config, family(version));
        segment syn = syn_of({.isn = 5});
        syn.payload = filled(1000);
        for (std::size_t i : {2u, 0u, 1u}) CHECK(give_tcp(l, true, syn, i).reason == drop_reason::none);
        CHECK(l.counters().fragments_released == 1);
        CHECK(l.proxy().flows_now() == 0);
        auto const fragments = fragments_of(udp_datagram(l.ends, true, payload_of(4000)), 1480);
        CHECK(l.sends(side::outside, framed(l.ends, fragments[0])).fate == verdict::forward);
        l.after(2'000);
        CHECK(l.proxy().flows_now() == 0);
        CHECK(l.sends(side::outside, framed(l.ends, fragments[1])).fate == verdict::forward);
    }
}

TEST_CASE("an ICMP error in fragments is dropped: none is so long, and its checksum cannot be verified") {
    for (unsigned version : both) {
        line l(unguarded(), family(version));
        byte_string const message = u8(version == 4 ? 3 : 1) + u8(1) + u16(0) + u32(0) + tcp_datagram(l.ends, true, {.payload = filled(900)});
        auto const fragments = fragments_of(datagram_of(l.ends, false, version == 4 ? 1 : 58, message, 2), 480);
        CHECK(l.sends(side::inside, framed(l.ends, fragments[0])).reason == drop_reason::fragment_decisive);
        CHECK(l.sends(side::inside, framed(l.ends, fragments[1])).reason == drop_reason::fragment_of_dropped);
    }
}

TEST_CASE("behind extension headers the same: pieces count from behind the fragment header, options included (RFC 8200 section 4.5)") {
    line l(unguarded(), family(6));
    byte_string const options{0, 1, 4, 0, 0, 0, 0};
    byte_string const datagram = udp_datagram(l.ends, true, payload_of(2000));
    byte_string const with_options = [&] {
        byte_string d = datagram;
        d[6] = 60;
        put16(d, 4, static_cast<unsigned>(d.size() - 40 + 8));
        byte_string const inner = u8(17) + options;
        d.insert(d.begin() + 40, inner.begin(), inner.end());
        return d;
    }();
    auto const fragments = fragments_of(with_options, 1024);
    REQUIRE(fragments.size() == 2);
    for (std::size_t i : {1u, 0u}) CHECK(l.sends(side::outside, framed(l.ends, fragments[i])).reason == drop_reason::none);
    CHECK(l.proxy().flows_now() == 1);
    CHECK(l.counters().fragments_released == 1);
    byte_string const overlap = fragment_of(with_options, 1016, 1200, true, 5);
    CHECK(l.sends(side::outside, framed(l.ends, fragment_of(with_options, 0, 1024, true, 5))).reason == drop_reason::none);
    CHECK(l.sends(side::outside, framed(l.ends, overlap)).reason == drop_reason::fragment_overlap);
}

TEST_CASE("a server without timestamps: into its fragments none are put, they would overlap") {
    for (unsigned version : both) {
        conversation c({version, true, 1000, 700'000});
        c.hands.server.timestamps = false;
        c.hands.challenge();
        c.hands.validate();
        REQUIRE(c.hands.complete().fate == verdict::reply);
        REQUIRE(c.hands.complete().fate == verdict::forward);
        arrivals a{c.line, side::inside};
        segment const data = c.server(0, 0, 1200);
        for (byte_string const& f : fragments_of(tcp_datagram(c.line.ends, false, data), 480)) CHECK(a.give(f).fate == verdict::forward);
        reassembled const whole = put_together(a.arrived);
        CHECK(whole.checksum_good);
        CHECK(whole.transport.size() == 1220);
        CHECK(get32(whole.transport, 4) == data.seq + c.hands.shift());
        outcome const answer = c.line.server_sends(c.server(1200, 0, 10));
        REQUIRE(answer.packet);
        CHECK(answer.packet->tcp.timestamps.has_value());
    }
}
