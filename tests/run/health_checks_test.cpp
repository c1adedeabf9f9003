// SPDX-License-Identifier: BSL-1.0
// Checks of servers in virtual time: each kind, good and bad in every way, with packets lost; and what is left behind.
#include <halfproxy/run/health_checks.hpp>

#include "tests/support/timeline.hpp"

#include <deque>
#include <map>
#include <set>

using namespace halfproxy;
using namespace halfproxy::test;
using namespace std::chrono_literals;

namespace {

ip_address const ours4 = ip_address::v4(0xc6336401), server4 = ip_address::v4(0xc6336450);

ip_address six(unsigned last) {
    ip_address a{6, {0xfd, 2}};
    a.bytes[15] = static_cast<std::uint8_t>(last);
    return a;
}
byte_string bytes_of(std::string const& text) { return {text.begin(), text.end()}; }

/// A packet back to whoever sent `d`, behind an Ethernet header.
template <class Build>
byte_string back_to(decoded const& d, Build build) {
    if (d.version == 4) return ethernet(build(ip4{.source = get32(d.destination, 0), .destination = get32(d.source, 0)}));
    ip6 ip;
    ip.source = d.destination;
    ip.destination = d.source;
    return ethernet(build(ip));
}

/// A server by hand: what it answers to each packet.
struct tcp_server {
    std::string response{};
    std::size_t piece = 1'400;
    bool refuses = false;
    bool resets = false;     ///< when it has the request
    bool says_nothing = false;
    unsigned window = 64'240;
    std::optional<std::uint32_t> stray{};  ///< an older connection, answered with its ACK until it is reset

    std::string request{};
    std::uint32_t isn = 0x7fff'fff0, expected = 0, sent = 0;
    std::vector<std::uint32_t> resets_heard{};

    byte_string segment_to(decoded const& d, unsigned kind, std::uint32_t seq, std::string const& data = {}) const {
        tcp t{.source_port = d.destination_port, .destination_port = d.source_port, .seq = seq, .ack = expected, .flags = kind, .window = window};
        t.payload = bytes_of(data);
        return back_to(d, [&](auto const& ip) { return tcp_packet(ip, t); });
    }
    std::vector<byte_string> answer(decoded const& d) {
        std::vector<byte_string> out;
        std::string rest = response;
        sent = isn + 1 + static_cast<std::uint32_t>(rest.size()) + 1;
        std::uint32_t seq = isn + 1;
        do {
            std::string const data = rest.substr(0, piece);
            rest.erase(0, piece);
            out.push_back(segment_to(d, flags::ack | (rest.empty() ? flags::fin : 0u), seq, data));
            seq += static_cast<std::uint32_t>(data.size());
        } while (!rest.empty());
        return out;
    }
    std::vector<byte_string> hears(decoded const& d) {
        segment const& s = d.tcp;
        if ((s.flags & flags::rst) != 0) {
            if (stray && s.seq == *stray) stray.reset();
            return resets_heard.push_back(s.seq), std::vector<byte_string>{};
        }
        if (stray) {
            expected = *stray;
            return {segment_to(d, flags::ack, 5)};
        }
        if ((s.flags & flags::syn) != 0) {
            expected = s.seq + 1;
            request.clear();
            if (refuses) return {segment_to(d, flags::rst | flags::ack, 0)};
            return {segment_to(d, flags::syn | flags::ack, isn)};
        }
        if (s.seq == expected) {
            expected += static_cast<std::uint32_t>(s.payload.size());
            request.append(s.payload.begin(), s.payload.end());
        }
        if (s.payload.empty()) return {};
        if (!request.ends_with("\r\n\r\n") || says_nothing) return {segment_to(d, flags::ack, isn + 1)};
        if (resets) return {segment_to(d, flags::rst, isn + 1)};
        return answer(d);
    }
};

health_check quick(health_probe kind) {
    health_check c{.kind = kind};
    c.policy = {.interval = 1s, .timeout = 300ms, .jitter_percent = 0, .rise = 2, .fall = 3, .flap_window = 0ms};
    return c;
}
health_check http(std::string body = {}) {
    health_check c = quick(health_probe::http);
    c.body = std::move(body);
    return c;
}
health_target target_of(health_check const& c, unsigned version = 4) {
    return {.check = c, .address = version == 4 ? server4 : six(80), .port = 8080, .source = version == 4 ? ours4 : six(1)};
}

/// Checks in virtual time. Every packet that leaves is read and found right, then shown to `server`, whose answers come back at once.
struct lab {
    using answers = std::function<std::vector<byte_string>(decoded const&)>;

    lab(std::vector<health_target> const& targets, answers a)
        : checks(targets, side::inside, 7, [this](std::uint32_t n, health h, health_result const& r) {
              changes.push_back(std::to_string(n) + (h == health::up ? " up: " : " down: ") + text_of(r));
          }), server(std::move(a)) {}
    lab(health_check const& c, answers a) : lab(std::vector{target_of(c)}, std::move(a)) {}

    health_checks checks;
    answers server;
    std::vector<std::string> changes{};
    std::vector<decoded> sent{};
    std::set<std::size_t> lost{};  ///< packets of ours, by number, that do not arrive
    time_point now{1h};
    outbox out{256};

    bool takes(byte_string bytes, checksum_state known = checksum_state::unknown, side from = side::inside) {
        frame f;
        f.data = bytes.data();
        f.length = f.wire_length = f.capacity = static_cast<std::uint32_t>(bytes.size());
        f.arrival = from;
        f.offload.checksum = known;
        bool const taken = checks.take(f, now);
        CHECK(f.outcome == (!taken ? verdict::forward : f.reason == drop_reason::none ? verdict::hold : verdict::drop));
        return taken;
    }
    void deliver() {
        std::vector<byte_string> replies;
        for (outbox_frame const& o : out.frames()) {
            CHECK(o.exit == side::inside);
            decoded const d = decode(o.bytes());
            REQUIRE(d.network_checksum_good);
            REQUIRE(d.transport_checksum_good);
            sent.push_back(d);
            if (lost.contains(sent.size() - 1)) continue;
            for (byte_string const& a : server(d)) replies.push_back(a);
        }
        out.clear();
        for (byte_string const& a : replies) takes(a);
    }
    void pass(std::chrono::milliseconds d) {
        time_point const end = now + d;
        for (auto due = checks.next_deadline(); due && *due <= end; due = checks.next_deadline()) {
            now = std::max(now, *due);
            checks.advance(now, out);
            deliver();
        }
        now = end;
    }
    /// What the first check found.
    std::string first_result() {
        for (int i = 0; i < 300 && checks.last_result(0).found == health_finding::none; ++i) pass(10ms);
        return text_of(checks.last_result(0));
    }
};

std::string counted(std::string const& body, unsigned status = 200) {
    return "HTTP/1.1 " + std::to_string(status) + " x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
std::string found(health_check const& c, tcp_server& s) {
    lab l(c, [&](decoded const& d) { return s.hears(d); });
    return l.first_result();
}
std::string found(health_check const& c, tcp_server&& s) { return found(c, s); }
lab::answers silent() {
    return [](decoded const&) { return std::vector<byte_string>{}; };
}

}  // namespace

TEST_CASE("TCP: a SYN-ACK is enough, and is refused by a RST so that no connection comes to be; a RST and silence are bad") {
    for (unsigned const version : {4u, 6u}) {
        CAPTURE(version);
        tcp_server s;
        lab l({target_of(quick(health_probe::tcp), version)}, [&](decoded const& d) { return s.hears(d); });
        CHECK(l.first_result() == "connected");
        REQUIRE(l.sent.size() == 2);
        CHECK(l.sent[0].tcp.flags == flags::syn);
        CHECK(l.sent[0].tcp.mss == (version == 4 ? 1'460 : 1'440));
        CHECK(l.sent[0].source_port == health_checks::first_port);
        CHECK(l.sent[0].destination_port == 8080);
        CHECK(s.resets_heard == std::vector{l.sent[0].tcp.seq + 1});
        CHECK(l.checks.running() == 0);
    }
    tcp_server refusing{.refuses = true};
    CHECK(found(quick(health_probe::tcp), refusing) == "connection refused");
    CHECK(refusing.resets_heard.empty());
    lab quiet(quick(health_probe::tcp), silent());
    CHECK(quiet.first_result() == "no answer in time");
    CHECK(quiet.sent.size() == 3);  // a SYN, and again after each third of the time
}

TEST_CASE("HTTP: the request says path and host, a good status is good, another bad, whatever the body says") {
    health_check c = http();
    c.path = "/health?deep";
    c.host = "www.example.org";
    tcp_server s{.response = counted("", 204)};
    CHECK(found(c, s) == "status 204");
    CHECK(s.request.starts_with("GET /health?deep HTTP/1.1\r\nHost: www.example.org\r\n"));
    CHECK(s.request.find("\r\nConnection: close\r\n") != std::string::npos);
    CHECK(s.resets_heard.size() == 1);
    tcp_server unnamed{.response = counted("")};
    found(http(), unnamed);
    CHECK(unnamed.request.find("\r\nHost: 198.51.100.80\r\n") != std::string::npos);
    CHECK(found(http("fine"), {.response = counted("fine", 503)}) == "status 503");
    health_check narrow = http();
    narrow.status = {200, 200};
    CHECK(found(narrow, {.response = counted("", 301)}) == "status 301");
}

TEST_CASE("HTTP: a body must contain what is expected, in its first 64 KiB, and may come in pieces of any size") {
    for (std::size_t const piece : {1u, 7u, 60u, 1'400u}) {
        CAPTURE(piece);
        CHECK(found(http("systems are w"), {.response = counted("all systems are working"), .piece = piece}) == "body as expected");
        CHECK(found(http("systems are w"), {.response = counted("maintenance"), .piece = piece}) == "body without what is expected");
    }
    std::string const late = std::string(200'000, 'x') + "working";
    CHECK(found(http("working"), {.response = counted(late)}) == "body without what is expected");
    CHECK(found(http("working"), {.response = counted("working" + late)}) == "body as expected");
    CHECK(found(http(), {.response = counted(late)}) == "status 200");
}

TEST_CASE("HTTP: a server that accepts and says nothing, refuses, resets, closes, or talks something else is told apart") {
    CHECK(found(http(), {.says_nothing = true}) == "no answer in time");
    CHECK(found(http(), {.refuses = true}) == "connection refused");
    CHECK(found(http(), {.resets = true}) == "connection reset");
    CHECK(found(http(), {.response = ""}) == "connection ended before the answer");
    CHECK(found(http(), {.response = "SSH-2.0-x\r\n\r\n"}) == "no HTTP");
    CHECK(found(http(), {.response = "HTTP/1.1 200 x\r\nContent-Le"}) == "connection ended before the answer");
}

TEST_CASE("HTTP: a long request is sent in pieces, and any one packet that is lost is sent again in time") {
    health_check c = http("well");
    c.path = "/" + std::string(500, 'p');
    tcp_server s{.response = counted("all is well")};
    lab l({target_of(c, 6)}, [&](decoded const& d) { return s.hears(d); });
    CHECK(l.first_result() == "body as expected");
    CHECK(s.request.find(c.path + " HTTP/1.1\r\nHost: [fd02:0000:0000:0000:0000:0000:0000:0050]\r\n") != std::string::npos);
    std::size_t const packets = l.sent.size();
    CHECK(packets >= 6);
    for (std::size_t i = 0; i + 2 < packets; ++i) {  // the last two acknowledge the answer and end it
        CAPTURE(i);
        tcp_server again{.response = counted("all is well")};
        lab lossy({target_of(c, 6)}, [&](decoded const& d) { return again.hears(d); });
        lossy.lost = {i};
        CHECK(lossy.first_result() == "body as expected");
        CHECK(lossy.sent.size() > packets);
    }
}

TEST_CASE("a server that still has an older connection of this port is told to forget it, and answers then (RFC 9293 section 3.10.7.3)") {
    tcp_server s{.response = counted(""), .stray = 4'711};
    CHECK(found(http(), s) == "status 200");
    CHECK(s.resets_heard.front() == 4'711);
}

TEST_CASE("ICMP: an echo request is answered, in both families; another's reply is no answer") {
    for (unsigned const version : {4u, 6u}) {
        CAPTURE(version);
        unsigned const reply = version == 4 ? 0 : 129;
        auto const echo = [&](std::uint32_t wrong) {
            return [=](decoded const& d) {
                CHECK(d.transport[0] == (version == 4 ? 8 : 128));
                byte_string const payload(d.transport.begin() + 8, d.transport.end());
                return std::vector<byte_string>{back_to(d, [&](auto const& ip) { return icmp_packet(ip, reply, 0, payload, get32(d.transport, 4) + wrong); })};
            };
        };
        lab l({target_of(quick(health_probe::icmp), version)}, echo(0));
        CHECK(l.first_result() == "answered");
        CHECK(l.sent.size() == 1);
        lab wrong({target_of(quick(health_probe::icmp), version)}, echo(1u << 16));
        CHECK(wrong.first_result() == "no answer in time");
        CHECK(wrong.sent.size() == 3);
        CHECK(wrong.checks.counters().packets_taken == 0);
    }
}

TEST_CASE("UDP: an answer that begins as expected is good, another is bad, silence is bad after three questions") {
    auto const says = [](std::string const& expect, std::string const& answer, unsigned version = 4) {
        health_check c = quick(health_probe::udp);
        c.send = "are you there";
        c.expect = expect;
        lab l({target_of(c, version)}, [&](decoded const& d) {
            CHECK(byte_string(d.transport.begin() + 8, d.transport.end()) == bytes_of("are you there"));
            byte_string const message = u16(d.destination_port) + u16(d.source_port) + u16(8 + static_cast<unsigned>(answer.size())) + u16(0) + bytes_of(answer);
            return std::vector<byte_string>{back_to(d, [&](auto ip) {
                ip.protocol = 17;
                return encode(ip, sealed(ip, message, 6));
            })};
        });
        return l.first_result();
    };
    CHECK(says("yes", "yes, here") == "answered");
    CHECK(says("yes", "yes, here", 6) == "answered");
    CHECK(says("", "whatever") == "answered");
    CHECK(says("yes", "ye") == "another answer than expected");
    lab quiet(quick(health_probe::udp), silent());
    CHECK(quiet.first_result() == "no answer in time");
    CHECK(quiet.sent.size() == 3);
}

TEST_CASE("a server goes down after `fall` bad checks and comes up after `rise` good ones; each change is told once") {
    tcp_server s{.response = counted("")};
    lab l(http(), [&](decoded const& d) { return s.hears(d); });
    l.pass(3s);
    CHECK(l.changes.empty());
    CHECK(l.checks.counters(0).good >= 2);
    s.refuses = true;
    l.pass(2'500ms);
    CHECK(l.changes.empty());
    l.pass(1s);
    CHECK(l.changes == std::vector<std::string>{"0 down: connection refused"});
    CHECK(l.checks.state(0) == health::down);
    s.refuses = false;
    std::uint64_t const good = l.checks.counters(0).good;
    while (l.checks.counters(0).good == good) l.pass(10ms);
    CHECK(l.changes.size() == 1);
    l.pass(1s);
    CHECK(l.checks.counters(0).good == good + 2);
    CHECK(l.changes.size() == 2);
    CHECK(l.changes.back() == "0 up: status 200");
    CHECK(l.checks.counters(0).transitions == 2);
    CHECK(l.checks.counters(0).bad >= 3);
    CHECK(l.checks.counters(0).bad <= 4);
}

TEST_CASE("a server that is down to begin with comes up after `rise` good checks")  {
    tcp_server s;
    health_target t = target_of(quick(health_probe::tcp));
    t.initially = health::down;
    lab l({t}, [&](decoded const& d) { return s.hears(d); });
    while (l.checks.counters(0).good == 0) l.pass(10ms);
    CHECK(l.checks.state(0) == health::down);
    l.pass(1s);
    CHECK(l.changes == std::vector<std::string>{"0 up: connected"});
}

TEST_CASE("one that flaps stays down longer each time, though its checks are good") {
    health_check c = quick(health_probe::tcp);
    c.policy.rise = c.policy.fall = 1;
    c.policy.flap_window = 60s;
    c.policy.first_hold = 5s;
    tcp_server s;
    lab l(c, [&](decoded const& d) { return s.hears(d); });
    l.pass(1s);
    std::vector<std::chrono::milliseconds> down_for;
    for (int i = 0; i < 3; ++i) {
        s.refuses = true;
        while (l.checks.state(0) == health::up) l.pass(100ms);
        time_point const since = l.now;
        s.refuses = false;
        while (l.checks.state(0) == health::down) l.pass(100ms);
        down_for.push_back(std::chrono::duration_cast<std::chrono::milliseconds>(l.now - since));
    }
    CHECK(down_for[0] <= 1'100ms);
    CHECK(down_for[1] >= 4'900ms);
    CHECK(down_for[1] <= 6'100ms);
    CHECK(down_for[2] >= 9'900ms);
    CHECK(down_for[2] <= 11'100ms);
}

TEST_CASE("many servers: each is checked once in each interval, and told of by itself") {
    std::vector<health_target> targets;
    for (unsigned i = 0; i < 700; ++i) {
        targets.push_back(target_of(quick(health_probe::tcp)));
        targets.back().address = ip_address::v4(0x0a000000 + i);
    }
    std::uint32_t most = 0;
    lab* running = nullptr;
    std::map<std::uint32_t, tcp_server> servers;
    bool answering = true;
    lab l(targets, [&](decoded const& d) {
        most = std::max(most, running->checks.running());
        return answering ? servers[get32(d.destination, 0)].hears(d) : std::vector<byte_string>{};
    });
    running = &l;
    l.pass(3s);
    for (unsigned i = 0; i < 700; ++i) {
        CHECK(l.checks.counters(i).good >= 2);
        CHECK(l.checks.counters(i).good <= 4);
        CHECK(l.checks.counters(i).bad == 0);
    }
    CHECK(most < 32);
    answering = false;
    l.pass(4s);
    CHECK(l.changes.size() == 700);
    CHECK(most > 100);
}

TEST_CASE("with more checks to make than ports the others wait for one, and all have their turn") {
    std::vector<health_target> targets;
    for (unsigned i = 0; i < 700; ++i) {
        health_check c = quick(health_probe::icmp);
        c.policy.timeout = 1s;
        targets.push_back(target_of(c));
        targets.back().address = ip_address::v4(0x0a000000 + i);
    }
    std::uint32_t most = 0;
    lab* running = nullptr;
    lab l(targets, [&](decoded const&) {
        most = std::max(most, running->checks.running());
        return std::vector<byte_string>{};
    });
    running = &l;
    l.pass(6s);
    CHECK(most == health_checks::most_at_once);
    for (unsigned i = 0; i < 700; ++i) CHECK(l.checks.counters(i).bad >= 2);
}

TEST_CASE("only what answers a check in progress is taken: right ends, port, protocol and side; what is damaged is dropped and counted") {
    lab l(quick(health_probe::tcp), silent());
    tcp const answer{.source_port = 8080, .destination_port = health_checks::first_port, .seq = 5, .ack = 1, .flags = flags::syn | flags::ack};
    ip4 const ends{.source = server4.to_v4(), .destination = ours4.to_v4()};
    CHECK(!l.takes(ethernet(tcp_packet(ends, answer))));  // none is in progress
    while (l.sent.empty()) l.pass(10ms);
    CHECK(l.takes(ethernet(tcp_packet(ends, answer))));
    ip4 other = ends;
    other.source += 1;
    CHECK(!l.takes(ethernet(tcp_packet(other, answer))));
    other = ends;
    other.destination += 1;
    CHECK(!l.takes(ethernet(tcp_packet(other, answer))));
    tcp t = answer;
    t.source_port = 8081;
    CHECK(!l.takes(ethernet(tcp_packet(ends, t))));
    for (unsigned const port : {511u, 513u, 1'023u, 1'024u, 65'535u}) {
        t = answer;
        t.destination_port = port;
        CHECK(!l.takes(ethernet(tcp_packet(ends, t))));
    }
    CHECK(!l.takes(ethernet(udp_packet(ends, {}))));
    CHECK(!l.takes(ethernet(icmp_packet(ends, 0, 0, {}, std::uint32_t{health_checks::first_port} << 16))));
    CHECK(!l.takes(ethernet(tcp_packet(ends, answer)), checksum_state::unknown, side::outside));
    CHECK(!l.takes(ethernet(tcp_packet(ends, answer), {vlan{}})));
    byte_string damaged = ethernet(tcp_packet(ends, answer));
    damaged[14 + 20 + 5] ^= 1;
    CHECK(l.takes(damaged));
    CHECK(l.takes(damaged, checksum_state::verified));
    damaged[14 + 8] ^= 1;
    CHECK(l.takes(damaged));
    CHECK(l.checks.counters().dropped[static_cast<std::size_t>(drop_reason::l4_checksum)] == 1);
    CHECK(l.checks.counters().dropped[static_cast<std::size_t>(drop_reason::ip_checksum)] == 1);
    byte_string const whole = ethernet(tcp_packet(ends, answer));
    for (std::size_t n = 0; n < whole.size(); ++n) CHECK(!l.takes({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)}));
}

TEST_CASE("checks that follow others go on with what those knew of servers that are checked alike, and begin anew with the rest") {
    tcp_server s{.refuses = true};
    health_target const a = target_of(quick(health_probe::tcp));
    health_target b = a;
    b.port = 81;
    lab first({a, b}, [&](decoded const& d) { return s.hears(d); });
    first.pass(5s);
    CHECK(first.checks.state(0) == health::down);
    health_target c = b;
    c.check.policy.rise = 9;
    health_checks next({c, a}, side::inside, 7, {}, &first.checks);
    CHECK(next.state(0) == health::up);
    CHECK(next.counters(0).bad == 0);
    CHECK(next.state(1) == health::down);
    CHECK(next.counters(1).bad == first.checks.counters(0).bad);
    CHECK(text_of(next.last_result(1)) == "connection refused");
    CHECK(next.counters().packets_sent == first.checks.counters().packets_sent);
    // Reloads that come faster than checks do not keep them from being made.
    std::unique_ptr<health_checks> now = std::make_unique<health_checks>(std::vector{a}, side::inside, 7, health_checks::change_callback{}, &first.checks);
    outbox out(64);
    std::uint64_t const sent = now->counters().packets_sent;
    for (time_point t = first.now; t < first.now + 3s; t += 100ms) {
        now->advance(t, out);
        out.clear();
        auto again = std::make_unique<health_checks>(std::vector{a}, side::inside, 7, health_checks::change_callback{}, now.get());
        now = std::move(again);
    }
    CHECK(now->counters().packets_sent >= sent + 3);
    lab fresh(std::vector{a}, silent());
    health_checks unstarted({a}, side::inside, 7, {}, &fresh.checks);
    CHECK(unstarted.next_deadline());
}

TEST_CASE("after drain() no check begins, and those in progress come to their end") {
    lab l(std::vector(3, target_of(quick(health_probe::icmp))), silent());
    while (l.checks.running() == 0) l.pass(10ms);
    std::size_t const begun = l.checks.running();
    l.checks.drain();
    l.pass(10s);
    CHECK(l.checks.running() == 0);
    CHECK(!l.checks.next_deadline());
    std::uint64_t bad = 0;
    for (unsigned i = 0; i < 3; ++i) bad += l.checks.counters(i).bad;
    CHECK(bad == begun);
}

TEST_CASE("without room in the outbox nothing is lost: checks go on when there is some") {
    tcp_server s{.response = counted("")};
    lab l(http(), [&](decoded const& d) { return s.hears(d); });
    l.pass(5ms);
    outbox small(health_checks::frames_per_check - 1);
    for (int i = 0; i < 20; ++i) {
        l.now += 100ms;
        l.checks.advance(l.now, small);
    }
    CHECK(small.used() == 0);
    CHECK(*l.checks.next_deadline() <= l.now);
    CHECK(l.first_result() == "status 200");
}
