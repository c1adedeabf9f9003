// SPDX-License-Identifier: BSL-1.0
// The table of fragmented datagrams by itself: what decides, follows, waits and is refused; and whatever the order, every byte passes once.
#include <halfproxy/track/fragments.hpp>

#include "tests/support/packets.hpp"
#include "tests/support/timeline.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace halfproxy {
inline doctest::String toString(fragment_step s) {
    constexpr char const* names[] = {"first", "follow", "wait", "refuse"};
    return names[static_cast<std::size_t>(s)];
}
}  // namespace halfproxy

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using table_type = fragment_table<std::uint32_t, int>;

constexpr timeout_ms timeout = 30'000;
constexpr std::uint32_t slot_bytes = 64;

/// A table, its clock, and what it gave up.
struct bench {
    explicit bench(std::uint32_t datagrams = 8, std::uint32_t waiting = 32) : table({datagrams, waiting, slot_bytes, timeout}, 7) {}

    table_type table;
    stamp_ms now{1'000};
    std::map<drop_reason, int> given_up{};
    outbox out{64};

    static ipv4_key key(unsigned id) { return {{1, 2, 0, static_cast<std::uint16_t>(id)}, 0, 17, 0}; }
    auto discard() {
        return [this](frame const&, drop_reason r) { ++given_up[r]; };
    }
    fragment_place arrive(unsigned id, fragment_piece const& piece) { return table.arrive(key(id), piece, now, discard()); }
    /// A fragment to its end: none when it passes or waits.
    drop_reason give(unsigned id, fragment_piece const& piece, std::uint32_t length = 20) {
        fragment_place const place = arrive(id, piece);
        byte_string bytes = filled(length, piece.begin / 8u);
        frame f;
        f.data = bytes.data();
        f.length = f.wire_length = f.capacity = length;
        if (place.step == fragment_step::refuse) return place.reason;
        if (place.step == fragment_step::wait) return table.keep(place.number, f, now, discard());
        if (place.step == fragment_step::first) {
            table.fate(place.number) = static_cast<int>(id);
            table.decide(place.number, now);
            table.release(place.number, [](frame&) { return drop_reason::none; }, discard());
        } else {
            CHECK(table.fate(place.number) == static_cast<int>(id));
        }
        table.settle(place.number);
        return drop_reason::none;
    }
    void later(timeout_ms by) {
        now = now + by;
        table.expire(now, 1'000, discard());
    }
    std::size_t sent() {
        table.send_ready(out);
        std::size_t const n = out.frames().size();
        out.clear();
        table.reclaim();
        return n;
    }
};

constexpr fragment_piece a{0, 16, false}, b{16, 32, false}, c{32, 40, true};

packet_layout layout(unsigned offset, bool more, unsigned bytes, std::uint8_t protocol = 17) {
    packet_layout l;
    l.ip_version = 4;
    l.protocol = protocol;
    l.fragment_offset = static_cast<std::uint16_t>(offset);
    l.more_fragments = more;
    l.transport_offset = 34;
    l.datagram_end = 34 + bytes;
    return l;
}

}  // namespace

TEST_CASE("a piece counts from the first byte behind the IP header, in IPv6 behind the fragment header (RFC 8200 section 4.5)") {
    CHECK(piece_of(layout(0, true, 16)) == fragment_piece{0, 16, false});
    CHECK(piece_of(layout(185, false, 5)) == fragment_piece{1480, 1485, true});
    byte_string const options{0, 1, 4, 0, 0, 0, 0};
    ip6 ip;
    ip.extensions = {{60, options}, {44, u8(0) + u16(1) + u32(0x12345678)}, {60, options}};
    byte_string bytes = encode(ip, encode(tcp{}) + zeros(4));
    packet_view const view = parse<link_type::raw_ip>(byte_span(bytes));
    CHECK(piece_of(view.layout()) == fragment_piece{0, 32, false});
    ipv6_key const key = fragment_key<ipv6_bytes>(view, side::inside);
    CHECK(key.tuple.source_port == 0x1234);
    CHECK(key.tuple.destination_port == 0x5678);
    CHECK(key.protocol == 0);  // it may differ between fragments of one datagram
    CHECK(key.reserved == 1);
}

TEST_CASE("fragments that no sender makes are known: empty, uneven, beyond 64 KiB, at offset 1 in TCP (RFC 3128)") {
    CHECK_FALSE(is_impossible_fragment(layout(0, true, 8)));
    CHECK_FALSE(is_impossible_fragment(layout(8189, false, 23)));
    CHECK(is_impossible_fragment(layout(8189, false, 24)));
    CHECK(is_impossible_fragment(layout(0, true, 0)));
    CHECK(is_impossible_fragment(layout(5, false, 0)));
    CHECK(is_impossible_fragment(layout(0, true, 12)));
    CHECK(is_impossible_fragment(layout(1, true, 16, ip_protocol::tcp)));
    CHECK_FALSE(is_impossible_fragment(layout(1, true, 16)));
}

TEST_CASE("a first fragment is tiny when it ends inside its headers (RFC 1858 section 3, RFC 7112)") {
    auto const tiny = [](byte_string bytes) { return is_tiny_fragment(parse<link_type::raw_ip>(byte_span(bytes))); };
    ip4 ip;
    ip.fragment = 0x2000;
    tcp with_options;
    with_options.options = byte_string(12, 1);
    byte_string const header = encode(with_options);
    for (std::size_t n = 8; n < 32; n += 8) CHECK(tiny(encode(ip, byte_string(header.begin(), header.begin() + static_cast<std::ptrdiff_t>(n)))));
    CHECK_FALSE(tiny(encode(ip, header)));
    with_options.data_offset = 4;
    CHECK_FALSE(tiny(encode(ip, encode(with_options))));  // wrong in another way
    ip.fragment = 0x4000;
    CHECK_FALSE(tiny(encode(ip, zeros(8))));
    ip6 six;
    six.protocol = 60;
    six.extensions = {{44, u8(0) + u16(1) + u32(1)}};
    CHECK(tiny(encode(six, byte_string{6, 1} + zeros(6))));  // 16 bytes of options announced
}

TEST_CASE("the first fragment decides, later ones follow, and the datagram is forgotten when all of it has passed") {
    bench t;
    CHECK(t.arrive(1, a).step == fragment_step::first);
    t.table.decide(0, t.now);
    CHECK(t.arrive(1, c).step == fragment_step::follow);
    CHECK(t.table.whole_bytes(0) == 40);
    t.table.settle(0);
    CHECK(t.table.size() == 1);
    CHECK(t.arrive(1, b).step == fragment_step::follow);
    t.table.settle(0);
    CHECK(t.table.size() == 0);
    CHECK(t.arrive(1, b).step == fragment_step::wait);  // the next datagram of that identification
}

TEST_CASE("fragments that come before their first wait, and leave when it has been decided, as there is room") {
    bench t;
    CHECK(t.give(1, c) == drop_reason::none);
    CHECK(t.give(1, b) == drop_reason::none);
    CHECK(t.table.waiting() == 2);
    CHECK(t.sent() == 0);
    CHECK(t.give(1, a) == drop_reason::none);
    outbox narrow(1);
    CHECK(t.table.send_ready(narrow) == 1);
    CHECK(narrow.frames()[0].exit == side::inside);
    CHECK(narrow.frames()[0].bytes()[0] == 32 / 8);
    CHECK(t.table.next_deadline(t.now) == t.now);
    CHECK(t.sent() == 1);
    CHECK_FALSE(t.table.next_deadline(t.now));
    CHECK(t.table.size() == 0);
}

TEST_CASE("an exact copy is refused and harms nothing, before the first and behind it (RFC 8200 section 4.5)") {
    bench t;
    CHECK(t.give(1, c) == drop_reason::none);
    CHECK(t.give(1, c) == drop_reason::fragment_duplicate);
    CHECK(t.give(1, a) == drop_reason::none);
    CHECK(t.give(1, a) == drop_reason::fragment_duplicate);
    CHECK(t.give(1, b) == drop_reason::none);
    CHECK(t.sent() == 1);
    CHECK(t.table.size() == 0);
}

TEST_CASE("any other overlap spoils the datagram: what waits and whatever comes is refused, the first too (RFC 5722 section 4)") {
    for (fragment_piece const bad : {fragment_piece{24, 40, false}, fragment_piece{8, 24, false}, fragment_piece{16, 24, false}, fragment_piece{0, 40, false}}) {
        bench t;
        CHECK(t.give(1, {48, 56, true}) == drop_reason::none);
        CHECK(t.give(1, b) == drop_reason::none);
        CHECK(t.give(1, bad) == drop_reason::fragment_overlap);
        CHECK(t.given_up[drop_reason::fragment_overlap] == 2);
        for (fragment_piece const& later : {a, b, c, bad}) CHECK(t.give(1, later) == drop_reason::fragment_overlap);
        CHECK(t.give(2, a) == drop_reason::none);
        t.later(timeout);
        CHECK(t.table.size() == 0);
        CHECK(t.sent() == 0);
    }
}

TEST_CASE("a second end, or bytes beyond the end, spoil the datagram") {
    using pieces = std::vector<fragment_piece>;
    for (pieces const& bad : {pieces{c, {40, 48, false}}, pieces{c, {40, 48, true}}, pieces{c, {16, 24, true}}, pieces{{40, 48, false}, c}, pieces{c, {32, 40, false}}}) {
        bench t;
        CHECK(t.give(1, bad[0]) == drop_reason::none);
        CHECK(t.give(1, bad[1]) == drop_reason::fragment_end);
        CHECK(t.give(1, a) == drop_reason::fragment_end);
    }
    bench t;  // the known last piece, said to be the last only now
    CHECK(t.give(1, {32, 40, false}) == drop_reason::none);
    CHECK(t.give(1, c) == drop_reason::fragment_overlap);
}

TEST_CASE("a datagram has at most 64 fragments, and at most 16 wait for its first") {
    bench t(8, 100);
    for (unsigned i = 0; i < fragments_per_datagram; ++i) CHECK(t.give(1, {static_cast<std::uint16_t>(8 * i), static_cast<std::uint16_t>(8 * i + 8), false}) == drop_reason::none);
    CHECK(t.give(1, {8 * 64, 8 * 65, true}) == drop_reason::fragment_limit);
    for (unsigned i = 1; i <= waiting_per_datagram; ++i) CHECK(t.give(2, {static_cast<std::uint16_t>(8 * i), static_cast<std::uint16_t>(8 * i + 8), false}) == drop_reason::none);
    CHECK(t.give(2, {8 * 17, 8 * 18, true}) == drop_reason::fragment_limit);
    CHECK(t.given_up[drop_reason::fragment_limit] == waiting_per_datagram);
    CHECK(t.give(2, {0, 8, false}) == drop_reason::fragment_limit);
}

TEST_CASE("time over: those that wait are given up, and so are datagrams whose end does not come") {
    bench t;
    CHECK(t.give(1, b) == drop_reason::none);
    t.later(10'000);
    CHECK(t.give(2, a) == drop_reason::none);
    CHECK(*t.table.next_deadline(t.now) == t.now + 20'000);
    t.later(19'999);
    CHECK(t.table.size() == 2);
    t.later(1);
    CHECK(t.given_up[drop_reason::fragment_timeout] == 1);
    CHECK(*t.table.next_deadline(t.now) == t.now + 10'000);
    t.now = t.now + 10'000;  // without expire(): its next fragment finds it over
    CHECK(t.give(2, b) == drop_reason::none);
    CHECK(t.table.waiting() == 1);
    CHECK(t.sent() == 0);
}

TEST_CASE("its first restarts a datagram's time") {
    bench t;
    CHECK(t.give(1, b) == drop_reason::none);
    t.later(timeout - 1);
    CHECK(t.give(1, a) == drop_reason::none);
    t.later(timeout - 1);
    CHECK(t.give(1, c) == drop_reason::none);
    CHECK(t.sent() == 1);
    CHECK(t.table.size() == 0);
}

TEST_CASE("a full table: what waits longest gives way, or else the oldest") {
    bench t(3);
    CHECK(t.give(1, a) == drop_reason::none);
    CHECK(t.give(2, b) == drop_reason::none);
    CHECK(t.give(3, b) == drop_reason::none);
    CHECK(t.give(4, a) == drop_reason::none);
    CHECK(t.given_up[drop_reason::fragment_no_room] == 1);
    CHECK(t.give(2, a) == drop_reason::none);  // anew: takes the place of 3
    CHECK(t.given_up[drop_reason::fragment_no_room] == 2);
    CHECK(t.sent() == 0);
    CHECK(t.give(5, a) == drop_reason::none);  // of 1
    CHECK(t.arrive(4, b).step == fragment_step::follow);
    CHECK(t.arrive(1, b).step == fragment_step::wait);
    bench nothing(0);
    CHECK(nothing.give(1, a) == drop_reason::fragment_no_room);
}

TEST_CASE("no slot free: the datagram that waits longest gives way; a fragment too long to wait spoils its own") {
    bench t(8, 2);
    CHECK(t.give(1, b) == drop_reason::none);
    CHECK(t.give(2, b) == drop_reason::none);
    CHECK(t.give(3, b) == drop_reason::none);
    CHECK(t.given_up[drop_reason::fragment_no_room] == 1);
    CHECK(t.give(3, c) == drop_reason::none);
    CHECK(t.given_up[drop_reason::fragment_no_room] == 2);
    CHECK(t.give(3, {40, 48, false}) == drop_reason::fragment_end);
    CHECK(t.table.waiting() == 0);
    CHECK(t.give(4, b, slot_bytes + 1) == drop_reason::fragment_no_room);
    CHECK(t.give(4, a) == drop_reason::fragment_no_room);
    bench none(8, 0);
    CHECK(none.give(1, b) == drop_reason::fragment_no_room);
    CHECK(none.give(2, a) == drop_reason::none);
}

TEST_CASE("the memory is known before it is taken, and deadlines wrap with the stamps") {
    bench t(100, 10);
    CHECK(t.table.memory_bytes() == table_type::memory_bytes({100, 10, slot_bytes, timeout}));
    CHECK(t.table.memory_bytes() > 100 * fragments_per_datagram * 4 + 10 * slot_bytes);
    t.now = {0xffff'ff00u};
    CHECK(t.give(1, b) == drop_reason::none);
    t.later(timeout - 1);
    CHECK(t.table.size() == 1);
    t.later(1);
    CHECK(t.table.size() == 0);
}

namespace {

/// A datagram cut anywhere into pieces, in any order, some of them twice.
std::vector<fragment_piece> cut() {
    int const count = *rc::gen::inRange(1, 16);
    std::vector<fragment_piece> pieces;
    unsigned at = 0;
    for (int i = 0; i < count; ++i) {
        unsigned const units = *rc::gen::inRange(1u, 200u);
        pieces.push_back({static_cast<std::uint16_t>(at), static_cast<std::uint16_t>(at + 8 * units), false});
        at += 8 * units;
    }
    pieces.push_back({static_cast<std::uint16_t>(at), static_cast<std::uint16_t>(at + *rc::gen::inRange(1u, 1400u)), true});
    return pieces;
}

template <class T>
void shuffle(std::vector<T>& v) {
    for (std::size_t i = v.size(); i > 1; --i) std::swap(v[i - 1], v[*rc::gen::inRange<std::size_t>(0, i)]);
}

}  // namespace

TEST_CASE("any split of a datagram, in any order, with copies before its end: every fragment passes exactly once, and none before the first") {
    REQUIRE(rc::check([] {
        bench t;
        std::vector<fragment_piece> const pieces = cut();
        std::vector<fragment_piece> order = pieces;
        shuffle(order);
        std::size_t passed = 0;
        bool decided = false;
        for (std::size_t i = 0; i < order.size(); ++i) {
            RC_ASSERT(t.give(1, order[i]) == drop_reason::none);
            decided |= order[i].begin == 0;
            bool const over = i + 1 == order.size();
            if (!over && *rc::gen::inRange(0, 3) == 0)
                RC_ASSERT(t.give(1, order[*rc::gen::inRange<std::size_t>(0, i + 1)]) == drop_reason::fragment_duplicate);
            std::size_t const released = t.sent();
            RC_ASSERT(decided || released == 0);
            if (order[i].begin == 0) RC_ASSERT(released == i);
            passed += released + (decided ? 1 : 0);
        }
        RC_ASSERT(passed == pieces.size());
        RC_ASSERT(t.table.size() == 0u);
        RC_ASSERT(t.table.waiting() == 0u);
    }));
}

TEST_CASE("with an overlapping fragment anywhere between, nothing of the datagram passes behind it") {
    REQUIRE(rc::check([] {
        bench t;
        std::vector<fragment_piece> order = cut();
        shuffle(order);
        std::size_t const last = order.size() - 1;
        std::size_t const inject = *rc::gen::inRange<std::size_t>(1, last + 1);  // before this one
        fragment_piece const victim = order[*rc::gen::inRange<std::size_t>(0, inject)];
        fragment_piece const bad = victim.last ? fragment_piece{static_cast<std::uint16_t>(victim.begin - 8), victim.end, true}
                                               : fragment_piece{victim.begin, static_cast<std::uint16_t>(victim.end + 8), false};
        for (std::size_t i = 0; i < inject; ++i) {
            RC_ASSERT(t.give(1, order[i]) == drop_reason::none);
            static_cast<void>(t.sent());
        }
        std::size_t const held = t.table.waiting();
        drop_reason const verdict = t.give(1, bad);
        RC_ASSERT((verdict == drop_reason::fragment_overlap || verdict == drop_reason::fragment_end));
        RC_ASSERT(static_cast<std::size_t>(t.given_up[verdict]) == held);
        for (std::size_t i = inject; i <= last; ++i) RC_ASSERT(t.give(1, order[i]) == verdict);
        RC_ASSERT(t.sent() == 0u);
        RC_ASSERT(t.table.waiting() == 0u);
    }));
}
