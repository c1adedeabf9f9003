// SPDX-License-Identifier: BSL-1.0
// Packets that should not be: each is fed to an engine, and its fate is what the README's table says.
#include "tests/wire/bad_input_cases.hpp"

#include "tests/support/splice.hpp"
#include "tests/wire/bad_input_packets.hpp"

#include <sstream>
#include <string>
#include <string_view>
#include <vector>

using namespace halfproxy;
using namespace halfproxy::test;
using namespace halfproxy::test::bad_input;

namespace {

endpoints ends_of(unsigned version) {
    endpoints e;
    e.version = version;
    return e;
}

draft syn_draft(unsigned version) {
    draft d;
    d.version = version;
    d.segment.seq = 1000;
    d.segment.flags = flags::syn;
    d.segment.options = {2, 4, 5, 0xb4, 4, 2, 1, 1, 1, 3, 3, 7};
    return d;
}

constexpr std::uint32_t client_isn = 1000, server_isn = 700'000;

draft data_draft(unsigned version) {
    draft d;
    d.version = version;
    d.established = true;
    d.segment.seq = client_isn + 1;
    d.segment.ack = server_isn + 1;
    d.segment.flags = flags::ack | flags::psh;
    d.segment.payload = filled(10);
    return d;
}

/// The engine's word on the frame; what leaves is not read back, since it may be as wrong as what came.
std::string fate_of(timeline<>& line, byte_string bytes) {
    auto const length = static_cast<std::uint32_t>(bytes.size());
    bytes.resize(length + 128);
    frame f;
    f.data = bytes.data();
    f.length = f.wire_length = length;
    f.capacity = static_cast<std::uint32_t>(bytes.size());
    f.arrival = side::outside;
    outbox out(outbox_per_packet);
    line.proxy().process({&f, 1}, time_point(std::chrono::milliseconds(1'000'000)), out);
    if (f.outcome == verdict::drop) return std::string(to_string(f.reason));
    return f.outcome == verdict::forward ? "forward" : f.outcome == verdict::reply ? "reply" : "hold";
}

std::string fate_on_new_flow(byte_string const& frame, unsigned version, guard_mode mode) {
    timeline<> line(guarded(mode), ends_of(version));
    return fate_of(line, frame);
}

/// After a handshake, and after a datagram and its answer between the same ports.
std::string fate_on_flow(byte_string const& frame, unsigned version) {
    timeline<> line(guarded(guard_mode::off), ends_of(version));
    handshake_of<> hands{line, {.isn = client_isn, .scale = {}}, {.isn = server_isn, .scale = {}}};
    REQUIRE(line.client_sends(syn_of(hands.client)).fate == verdict::forward);
    REQUIRE(line.server_sends(hands.syn_ack()).fate == verdict::forward);
    hands.cookie = server_isn;
    REQUIRE(line.client_sends(hands.from_client(0, 0)).fate == verdict::forward);
    draft ask = data_draft(version);
    REQUIRE(line.sends(side::outside, ask.udp_frame()).fate == verdict::forward);
    draft answer = ask.from(ask.v4.destination, ask.v6.destination).to(ask.v4.source, ask.v6.source);
    REQUIRE(line.sends(side::inside, answer.udp_frame(80, 40000)).fate == verdict::forward);
    return fate_of(line, frame);
}

struct bad_packet {
    frames (*make)(draft const&);
    std::string_view name, versions, what, when_new, when_challenged, when_established;
};

std::vector<bad_packet> const packets{
#define HALFPROXY_X(make, versions, what, off, always, established, why) \
    {make, #make, versions, what, off, always, established},
    HALFPROXY_BAD_INPUT(HALFPROXY_X)
#undef HALFPROXY_X
};

struct bad_flags {
    std::string_view sets, what, when_new, when_challenged, when_established;
};

std::vector<bad_flags> const flag_rows{
#define HALFPROXY_X(sets, what, off, always, established, why) {sets, what, off, always, established},
    HALFPROXY_BAD_FLAGS(HALFPROXY_X)
#undef HALFPROXY_X
};

/// The letters of a flag byte's deciding bits, as the lists have them.
std::string letters_of(unsigned bits) {
    std::string letters;
    if (bits & flags::syn) letters += 'S';
    if (bits & flags::fin) letters += 'F';
    if (bits & flags::rst) letters += 'R';
    if (bits & flags::ack) letters += 'A';
    return letters.empty() ? "-" : letters;
}

bad_flags const& row_of(unsigned bits) {
    for (bad_flags const& row : flag_rows) {
        std::istringstream sets{std::string(row.sets)};
        for (std::string set; sets >> set;)
            if (set == letters_of(bits)) return row;
    }
    FAIL("no row has this combination of flags");
    return flag_rows.front();
}

}  // namespace

TEST_CASE("every packet that should not be meets the fate its row of the README's table gives it") {
    for (bad_packet const& p : packets) {
        for (unsigned const version : {4u, 6u}) {
            if (p.versions.find(version == 4 ? '4' : '6') == std::string_view::npos) continue;
            CAPTURE(p.name);
            CAPTURE(version);
            frames const when_new = p.make(syn_draft(version));
            REQUIRE(!when_new.empty());
            for (byte_string const& frame : when_new) {
                CHECK(fate_on_new_flow(frame, version, guard_mode::off) == p.when_new);
                CHECK(fate_on_new_flow(frame, version, guard_mode::always) == p.when_challenged);
            }
            if (p.when_established.empty()) continue;
            for (byte_string const& frame : p.make(data_draft(version)))
                CHECK(fate_on_flow(frame, version) == p.when_established);
        }
    }
}

TEST_CASE("each of the 256 flag bytes meets the fate its row of the README's table gives it") {
    for (unsigned bits = 0; bits < 256; ++bits) {
        bad_flags const& row = row_of(bits);
        CAPTURE(bits);
        for (unsigned const version : {4u, 6u}) {
            draft first = syn_draft(version);
            draft next = data_draft(version);
            first.segment.flags = next.segment.flags = bits;
            first.segment.ack = 5;
            CHECK(fate_on_new_flow(first.tcp_frame(), version, guard_mode::off) == row.when_new);
            CHECK(fate_on_new_flow(first.tcp_frame(), version, guard_mode::always) == row.when_challenged);
            CHECK(fate_on_flow(next.tcp_frame(), version) == row.when_established);
        }
    }
}

TEST_CASE("a DHCP client may send from 0.0.0.0, and only to port 67") {
    draft const d = syn_draft(4).from(0, {}).to(0xffffffff, {});
    CHECK(fate_on_new_flow(d.udp_frame(68, 67), 4, guard_mode::always) == "forward");
    CHECK(fate_on_new_flow(d.udp_frame(68, 53), 4, guard_mode::always) == "ip_source");
}

TEST_CASE("a UDP datagram to a group opens a flow") {
    CHECK(fate_on_new_flow(syn_draft(4).to(0xe00000fb, {}).udp_frame(5353, 5353), 4, guard_mode::off) == "forward");
    CHECK(fate_on_new_flow(syn_draft(6).to(0, group6).udp_frame(5353, 5353), 6, guard_mode::off) == "forward");
}
