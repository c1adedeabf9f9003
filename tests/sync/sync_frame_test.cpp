// SPDX-License-Identifier: BSL-1.0
// The wire format: every flow comes back as it was written, and nothing else is read.
#include <halfproxy/sync/sync_frame.hpp>

#include "tests/support/sync_events.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <initializer_list>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

siphash_key const key{0x0706'0504'0302'0100, 0x0f0e'0d0c'0b0a'0908};
sync_head const head{.sender = 0x0102'0304'0506'0708, .receiver = 0x1112'1314'1516'1718, .number = 0x2122'2324'2526'2728};

byte_string finished(sync_writer& w, byte_string& room) {
    room.resize(w.finish(key));
    room.shrink_to_fit();
    return room;
}

flow_state<std::uint32_t> spliced_state() {
    flow_state<std::uint32_t> s;
    s.key = {{0x0a00'0001, 0x0a00'0002, 1234, 80}, 7, 6, 0};
    s.server_tuple = {0x0a00'0003, 0x0a00'0004, 4321, 8080};
    s.spliced = s.mends = true;
    s.claims.source = {true, false, 9};
    s.claims.of_service = true;
    s.claims.backend = ip_address::v4(0x0a00'0004);
    s.claims.backend_port = 8080;
    return s;
}

}  // namespace

TEST_CASE("the bytes of a frame with a plain UDP flow, one that has ended and the end of all are as documented") {
    flow_state<std::uint32_t> s;
    s.key = {{0x0a00'0001, 0x0a00'0002, 1234, 53}, 7, 17, 0};
    s.server_tuple = s.key.tuple;
    s.client_side = side::inside;
    s.idle_ms = 0x01020304;
    s.age_ms = 0x05060708;
    s.packets = {3, 4};
    byte_string room(200);
    sync_writer w(room, head);
    REQUIRE(w.tell(sync_event::refresh, s));
    REQUIRE(w.remove(s.key));
    REQUIRE(w.caught_up());
    byte_string const key_bytes = u8(4) + u8(17) + u16(7) + u32(0x0a000001) + u32(0x0a000002) + u16(1234) + u16(53);
    byte_string const expected = byte_string{'h', 's', 1, 1} + u32(0x01020304) + u32(0x05060708) + u32(0x11121314) + u32(0x15161718) + u32(0x21222324) +
                                 u32(0x25262728) + u16(3) + u8(2) + key_bytes + u16(1) + u32(0x01020304) + u32(0x05060708) + u32(3) + u32(4) + u8(3) +
                                 key_bytes + u8(4);
    byte_string const frame = finished(w, room);
    CHECK(byte_string(frame.begin(), frame.end() - 8) == expected);
    CHECK(frame == sealed_again(frame, key));
}

TEST_CASE("whatever can be told is read as it was written, as many events as fit, of both families") {
    split_mix64 random(1);
    std::size_t longest = 0;
    for (int round = 0; round < 300; ++round) {
        std::vector<told_event> written, read;
        byte_string room(random.below(2) == 0 ? 1'400 : 200 + random.below(1'000));
        sync_writer w(room, head);
        auto const take = [&]<class Address>(flow_state<Address> const& s) {
            auto const kind = static_cast<sync_event>(1 + random.below(3));
            std::size_t const before = w.events();
            bool const taken = kind == sync_event::remove ? w.remove(s.key) : w.tell(kind, s);
            CHECK(w.events() == before + (taken ? 1 : 0));
            if (!taken) return false;
            if (kind == sync_event::remove)
                written.emplace_back(s.key);
            else
                written.emplace_back(told_state<Address>{kind, s});
            return true;
        };
        while (random.below(2) == 0 ? take(any_state<std::uint32_t>(random)) : take(any_state<ipv6_bytes>(random))) {}
        std::size_t const budget = room.size();
        byte_string const frame = finished(w, room);
        CHECK(frame.size() <= budget);
        CHECK(budget - frame.size() < longest_sync_event);
        longest = std::max(longest, frame.size());
        sync_reading const r = read_sync_frame(frame, key);
        REQUIRE(r.fault == sync_fault::none);
        sync_head expected = head;
        expected.events = static_cast<std::uint16_t>(written.size());
        CHECK(r.head == expected);
        CHECK(visit_sync_events(r.events, r.head.events, collect_events{read}));
        CHECK((read == written));
    }
    CHECK(longest > 1'300);
}

TEST_CASE("the longest event is as long as said, and a plain IPv4 connection takes 47 bytes") {
    split_mix64 random(2);
    auto const length_of = [](auto const& s) {
        byte_string room(400);
        sync_writer w(room, head);
        REQUIRE(w.tell(sync_event::add, s));
        return w.finish(key) - shortest_sync_frame;
    };
    flow_state<ipv6_bytes> all = any_state<ipv6_bytes>(random);
    all.key.protocol = 6;
    all.led = all.hairpin = false;
    all.tcp = {};
    all.server_tuple = any_tuple<ipv6_bytes>(random);
    all.spliced = all.mends = all.claims.source.held = all.claims.destination.held = all.claims.of_service = true;
    CHECK(length_of(all) == longest_sync_event);
    flow_state<std::uint32_t> plain;
    plain.key.protocol = 6;
    CHECK(length_of(plain) == 47);
}

TEST_CASE("a frame that is cut, longer, changed in any bit or made with another key is ignored for its reason") {
    byte_string room(300);
    sync_writer w(room, head);
    REQUIRE(w.tell(sync_event::add, spliced_state()));
    byte_string const frame = finished(w, room);
    REQUIRE(read_sync_frame(frame, key).fault == sync_fault::none);
    for (std::size_t n = 0; n < frame.size(); ++n) {
        byte_string const cut(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(n));
        CHECK(read_sync_frame(cut, key).fault == (n < shortest_sync_frame ? sync_fault::length : sync_fault::unauthenticated));
    }
    CHECK(read_sync_frame(frame + u8(0), key).fault == sync_fault::unauthenticated);
    CHECK(read_sync_frame(zeros(longest_sync_frame + 1), key).fault == sync_fault::length);
    for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
        byte_string changed = frame;
        changed[bit / 8] = static_cast<std::uint8_t>(changed[bit / 8] ^ 1u << bit % 8);
        CHECK(read_sync_frame(changed, key).fault == (bit < 16 ? sync_fault::foreign : bit < 24 ? sync_fault::version : sync_fault::unauthenticated));
    }
    CHECK(read_sync_frame(frame, {key[0] ^ 1, key[1]}).fault == sync_fault::unauthenticated);
    CHECK(read_sync_frame(frame, {key[0], key[1] ^ 1}).fault == sync_fault::unauthenticated);
}

TEST_CASE("what no sender of this version writes is malformed, though its MAC is right") {
    byte_string room(300);
    sync_writer w(room, head);
    REQUIRE(w.tell(sync_event::add, spliced_state()));
    byte_string const frame = finished(w, room);
    constexpr std::size_t at = sync_head_bytes;
    constexpr std::size_t flags = at + 17, tcp = flags + 2 + 16 + 12, splice = tcp + 12, claims = splice + 17;
    auto const fault = [&](std::size_t where, std::initializer_list<std::uint8_t> with) {
        byte_string changed = frame;
        std::copy(with.begin(), with.end(), changed.begin() + static_cast<std::ptrdiff_t>(where));
        return read_sync_frame(sealed_again(changed, key), key).fault;
    };
    CHECK(fault(at, {1}) == sync_fault::none);
    CHECK(fault(3, {0}) == sync_fault::malformed);  // kind of frame
    CHECK(fault(3, {3}) == sync_fault::malformed);
    CHECK(fault(3, {2}) == sync_fault::malformed);   // an answer has no events
    CHECK(fault(29, {0}) == sync_fault::malformed);  // fewer events than there are
    CHECK(fault(29, {2}) == sync_fault::malformed);  // more
    CHECK(fault(at, {0}) == sync_fault::malformed);  // kind of event
    CHECK(fault(at, {5}) == sync_fault::malformed);
    CHECK(fault(at, {3}) == sync_fault::malformed);      // shorter than there is
    CHECK(fault(at + 1, {5}) == sync_fault::malformed);  // family
    CHECK(fault(at + 1, {6}) == sync_fault::malformed);
    CHECK(fault(at + 2, {17}) == sync_fault::malformed);    // UDP is not spliced
    CHECK(fault(at + 3, {0x10}) == sync_fault::malformed);  // no VLAN
    CHECK(fault(flags, {0x08}) == sync_fault::malformed);   // unknown flag
    for (unsigned bit = 0; bit < 11; ++bit) {
        unsigned const changed = (unsigned{frame[flags]} << 8 | frame[flags + 1]) ^ 1u << bit;
        // The side, and whether the mapping is for one remote endpoint; every other one asks for, leaves over or contradicts something.
        bool const harmless = bit == 0 || bit == 7;
        CHECK((fault(flags, {static_cast<std::uint8_t>(changed >> 8), static_cast<std::uint8_t>(changed)}) == sync_fault::none) == harmless);
    }
    CHECK(fault(tcp, {2}) == sync_fault::malformed);  // half-open
    CHECK(fault(tcp, {7}) == sync_fault::malformed);  // reset
    CHECK(fault(tcp, {6}) == sync_fault::none);
    CHECK(fault(tcp + 1, {0x01}) == sync_fault::malformed);  // marks that are not told
    CHECK(fault(tcp + 2, {0x40}) == sync_fault::malformed);
    CHECK(fault(tcp + 3, {0xf0}) == sync_fault::malformed);  // scales above 14 (RFC 7323 section 2.3)
    CHECK(fault(tcp + 3, {0x0f}) == sync_fault::malformed);
    CHECK(fault(splice, {0xf0}) == sync_fault::malformed);
    CHECK(fault(splice, {0xee}) == sync_fault::none);
    CHECK(fault(claims + 2, {5}) == sync_fault::malformed);      // the backend's family
    CHECK(fault(claims + 2 + 5, {1}) == sync_fault::malformed);  // more than an IPv4 address
    byte_string same = frame;                                    // "translated", to what it was
    std::copy_n(frame.begin() + at + 5, 12, same.begin() + flags + 18);
    CHECK(read_sync_frame(sealed_again(same, key), key).fault == sync_fault::malformed);
}
