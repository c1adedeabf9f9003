// SPDX-License-Identifier: BSL-1.0
// SYNs of a flood by a ring of their own: which they are, by the kernel's own filter; what becomes of them, against a kernel of plain memory.
#include <halfproxy/io/af_packet.hpp>

#include "tests/support/packet_calls.hpp"

#include <doctest/doctest.h>

#include <array>
#include <random>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

using namespace halfproxy;
using namespace halfproxy::test;
using namespace halfproxy::af_packet_detail;

namespace {

using bytes = std::vector<std::uint8_t>;

/// A program as the kernel runs it: before a socket of this process.
class filtered_socket {
  public:
    explicit filtered_socket(syn_filter program) {
        REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends_.data()) == 0);
        linux_packet_calls calls;
        REQUIRE(attach_filter(calls, ends_[0], program));
    }
    ~filtered_socket() {
        for (int end : ends_) ::close(end);
    }
    filtered_socket(filtered_socket const&) = delete;
    filtered_socket& operator=(filtered_socket const&) = delete;

    /// Whether the frame passes, whole.
    bool passes(bytes const& frame) {
        static_cast<void>(::send(ends_[1], frame.data(), frame.size(), 0));  // EPERM when it does not
        bytes got(4096);
        ssize_t const length = ::recv(ends_[0], got.data(), got.size(), 0);
        CHECK((length < 0 || static_cast<std::size_t>(length) == frame.size()));
        return length >= 0;
    }

  private:
    std::array<int, 2> ends_{};
};

enum class taker : std::uint8_t { flood_ring, slots, both, nobody };

/// Both programs of a flood.
struct switched_on {
    filtered_socket flood_ring{make_syn_filter(filter_takes_all, filter_takes_none)};
    filtered_socket slots{make_syn_filter(filter_takes_none, filter_takes_all)};

    taker of(bytes const& frame) {
        bool const first = flood_ring.passes(frame), second = slots.passes(frame);
        return first ? (second ? taker::both : taker::flood_ring) : (second ? taker::slots : taker::nobody);
    }
};

bytes ipv4(int flags, std::size_t options = 0, std::size_t length = 74) {
    bytes f(length);
    f[12] = 0x08;
    f[14] = static_cast<std::uint8_t>(0x45 + options / 4);
    f[14 + 9] = 6;
    f.at(14 + 20 + options + 13) = static_cast<std::uint8_t>(flags);
    return f;
}
bytes ipv6(int flags, std::uint8_t next_header = 6) {
    bytes f(94);
    f[12] = 0x86, f[13] = 0xdd;
    f[14] = 0x60;
    f[14 + 6] = next_header;
    f[14 + 40 + 13] = static_cast<std::uint8_t>(flags);
    return f;
}
bytes with(bytes frame, std::size_t at, std::uint8_t value) { return frame[at] = value, frame; }

constexpr int fin = 1, syn = 2, rst = 4, ack = 16, ecn = 0xc0;

}  // namespace

TEST_CASE("a SYN alone goes to the ring for floods, with IP options and ECN bits, too") {
    switched_on s;
    CHECK(s.of(ipv4(syn)) == taker::flood_ring);
    CHECK(s.of(ipv4(syn | ecn)) == taker::flood_ring);
    CHECK(s.of(ipv4(syn, 0, 54)) == taker::flood_ring);
    CHECK(s.of(ipv4(syn, 40, 128)) == taker::flood_ring);
    CHECK(s.of(ipv6(syn)) == taker::flood_ring);
    CHECK(s.of(ipv4(syn, 0, 256)) == taker::flood_ring);
    CHECK(s.of(with(ipv4(syn), 14 + 6, 0x40)) == taker::flood_ring);  // don't fragment
    CHECK(s.of(with(ipv4(syn), 14 + 6, 0x20)) == taker::flood_ring);  // first fragment
}

TEST_CASE("everything else stays with the slots") {
    switched_on s;
    for (int flags : {0, fin, ack, rst, syn | ack, syn | rst, syn | fin, syn | rst | ack, ack | 8}) {
        CAPTURE(flags);
        CHECK(s.of(ipv4(flags)) == taker::slots);
        CHECK(s.of(ipv6(flags)) == taker::slots);
    }
    CHECK(s.of(ipv4(syn, 0, 257)) == taker::slots);           // with data (TCP Fast Open)
    CHECK(s.of(with(ipv4(syn), 14 + 7, 1)) == taker::slots);  // a later fragment
    CHECK(s.of(with(ipv4(syn), 14 + 9, 17)) == taker::slots);
    CHECK(s.of(ipv6(syn, 0)) == taker::slots);  // an extension header
    CHECK(s.of(with(ipv4(syn), 13, 6)) == taker::slots);      // ARP
    CHECK(s.of(with(with(ipv4(syn), 12, 0x81), 13, 0)) == taker::slots);  // a tag behind the one that the kernel took off
}

TEST_CASE("a frame of any length and content is taken once") {
    switched_on s;
    for (bytes const& whole : {ipv4(syn, 40, 128), ipv6(syn), ipv4(ack)})
        for (std::size_t length = 1; length <= whole.size(); ++length) {
            CAPTURE(length);
            taker const t = s.of({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)});
            CHECK((t == taker::slots || t == taker::flood_ring));
        }
    std::mt19937 random(1);
    for (int i = 0; i < 2000; ++i) {
        bytes f = i % 2 == 0 ? ipv4(syn, 0, 60 + random() % 200) : ipv6(syn);
        for (int change = 0; change < 3; ++change) f[random() % 70 % f.size()] = static_cast<std::uint8_t>(random());
        taker const t = s.of(f);
        REQUIRE((t == taker::slots || t == taker::flood_ring));
    }
}

namespace {

constexpr int slots_socket = 42, flood_socket = 43;

struct fixture {
    explicit fixture(std::uint32_t flood_ring_bytes = 65'536) : io(options(flood_ring_bytes), packet_calls{&kernel}) {}
    static af_packet_options options(std::uint32_t flood_ring_bytes) {
        af_packet_options out;
        out.interface = "eth0";
        out.slots = 31;
        out.slot_bytes = 67'648;
        out.transmit_slots = 0;
        out.flood_ring_bytes = flood_ring_bytes;
        return out;
    }

    packet_kernel kernel{};
    basic_af_packet_io<packet_calls> io;
    std::array<frame, 64> frames{};

    bytes received(std::size_t i) { return {frames[i].data, frames[i].data + frames[i].length}; }
    [[nodiscard]] bool takes(int socket, std::uint32_t syns, std::uint32_t others) const {
        auto const expected = make_syn_filter(syns, others);
        auto const found = kernel.filters.find(socket);
        return found != kernel.filters.end() &&
               std::equal(expected.begin(), expected.end(), found->second.begin(), found->second.end(), [](sock_filter const& a, sock_filter const& b) {
                   return a.code == b.code && a.jt == b.jt && a.jf == b.jf && a.k == b.k;
               });
    }
    [[nodiscard]] bool filtered() const { return kernel.filters.contains(slots_socket); }
};

std::vector<ring_frame> many(std::size_t count, std::uint8_t first = 0) {
    std::vector<ring_frame> out;
    for (std::size_t i = 0; i < count; ++i) out.push_back({.bytes = bytes(74, static_cast<std::uint8_t>(first + i))});
    return out;
}

}  // namespace

TEST_CASE("before the first flood nothing is bound and nothing filtered; after one only filters change") {
    fixture f;
    CHECK(f.kernel.bound == std::vector{slots_socket});
    CHECK(f.kernel.filters.empty());
    f.io.set_flooded(true);
    CHECK(f.kernel.bound == std::vector{slots_socket, flood_socket});
    CHECK(f.takes(flood_socket, filter_takes_all, filter_takes_none));
    CHECK(f.takes(slots_socket, filter_takes_none, filter_takes_all));
    f.io.set_flooded(false);
    CHECK(f.takes(flood_socket, filter_takes_none, filter_takes_none));
    CHECK_FALSE(f.filtered());
    f.io.set_flooded(true);
    CHECK(f.filtered());
    CHECK(f.kernel.bound.size() == 2);
}

TEST_CASE("SYNs come out of their blocks in order, each with room around it, and blocks go back when all of theirs are out") {
    fixture f;
    f.io.set_flooded(true);
    REQUIRE(f.kernel.deliver_block(many(19)));
    REQUIRE(f.kernel.deliver_block(many(1, 19)));
    REQUIRE(f.io.receive(f.frames) == 20);
    for (std::size_t i = 0; i < 20; ++i) {
        CHECK(f.received(i) == bytes(74, static_cast<std::uint8_t>(i)));
        CHECK(f.frames[i].wire_length == 74);
        CHECK(f.frames[i].capacity >= 74 + frame_slack_bytes);
    }
    CHECK(f.io.statistics().received == 20);
    CHECK(f.io.statistics().flood_received == 20);
    CHECK(f.io.receive(f.frames) == 0);
    for (int round = 0; round < 40; ++round) {  // the ring has 16 blocks of 4 KiB
        REQUIRE(f.kernel.deliver_block(many(3)));
        REQUIRE(f.io.receive(f.frames) == 3);
    }
}

TEST_CASE("a caller with few frames, or a burst larger than there is memory for, gets the rest with the next receive") {
    fixture f;
    f.io.set_flooded(true);
    for (std::uint8_t block = 0; block < 10; ++block) f.kernel.deliver_block(many(10, static_cast<std::uint8_t>(10 * block)));
    std::array<frame, 100> large{};
    REQUIRE(f.io.receive(std::span(f.frames).first(4)) == 4);
    CHECK(f.received(3) == bytes(74, 3));
    REQUIRE(f.io.receive(large) == 64);
    CHECK(large[0].data[0] == 4);
    CHECK(large[63].data[0] == 67);
    REQUIRE(f.io.receive(large) == 32);
    CHECK(large[31].data[0] == 99);
}

TEST_CASE("what lies in the slots comes before a SYN that came after it, and leaves SYNs a quarter of the room") {
    fixture f;
    f.io.set_flooded(true);
    f.kernel.deliver({.bytes = bytes(60, 200)});
    f.kernel.deliver_block(many(1));
    REQUIRE(f.io.receive(f.frames) == 2);
    CHECK(f.frames[0].data[0] == 200);
    CHECK(f.frames[1].data[0] == 0);
    for (int i = 0; i < 31; ++i) f.kernel.deliver({.bytes = bytes(60, 200)});
    f.kernel.deliver_block(many(30));
    REQUIRE(f.io.receive(std::span(f.frames).first(32)) == 32);
    CHECK(f.frames[23].data[0] == 200);
    CHECK(f.frames[24].data[0] == 0);
}

TEST_CASE("what a flood has left in its ring is received after its end") {
    fixture f;
    f.io.set_flooded(true);
    f.kernel.deliver_block(many(5));
    f.io.set_flooded(false);
    CHECK(f.io.receive(f.frames) == 5);
}

TEST_CASE("a SYN's VLAN tag is back behind its addresses; the device's header is read; one that was cut is counted") {
    fixture f;
    f.io.set_flooded(true);
    f.kernel.deliver_block({{.bytes = bytes(74, 1), .device = {2, 0, 0, 0, 0, 0}, .status = TP_STATUS_VLAN_VALID, .vlan_tci = 0x2005},
                            {.bytes = bytes(74, 2), .bytes_lost = 9},
                            {.bytes = bytes(74, 3)}});
    REQUIRE(f.io.receive(f.frames) == 2);
    CHECK(f.frames[0].length == 78);
    CHECK(f.frames[0].wire_length == 78);
    CHECK(f.frames[0].data[12] == 0x81);
    CHECK(f.frames[0].data[15] == 5);
    CHECK(f.frames[0].offload.checksum == checksum_state::verified);
    CHECK(f.received(1) == bytes(74, 3));
    CHECK(f.io.statistics().receive_truncated == 1);
}

TEST_CASE("whatever the kernel refuses, SYNs go on to come by the slots") {
    SUBCASE("the ring's filter") {
        fixture f;
        f.kernel.filter_error = ENOMEM;
        f.io.set_flooded(true);
        CHECK_FALSE(f.filtered());
        f.io.set_flooded(true);  // tried again
        CHECK(f.filtered());
    }
    SUBCASE("binding") {
        fixture f;
        f.kernel.bind_error = ENODEV;
        f.io.set_flooded(true);
        CHECK_FALSE(f.filtered());
        CHECK(f.takes(flood_socket, filter_takes_none, filter_takes_none));
    }
}

TEST_CASE("without the ring, and in a fanout group, a flood changes nothing") {
    fixture without(0);
    without.io.set_flooded(true);
    CHECK(without.kernel.filters.empty());
    CHECK(without.kernel.flood_descriptor == -1);
    packet_kernel kernel;
    af_packet_options options = fixture::options(65'536);
    options.fanout = af_packet_fanout{3};
    basic_af_packet_io<packet_calls> member(options, packet_calls{&kernel});
    member.set_flooded(true);
    CHECK(kernel.filters.empty());
}

TEST_CASE("drops of both rings are added up") {
    fixture f;
    f.kernel.next_statistics = {10, 3};
    f.kernel.next_flood_statistics = {10, 4};
    CHECK(f.io.statistics().kernel_dropped == 7);
    CHECK(f.io.statistics().kernel_dropped == 7);
}

TEST_CASE("whichever step of opening fails, its error is reported and nothing stays open") {
    for (int option : {PACKET_VERSION, PACKET_VNET_HDR, PACKET_RESERVE, PACKET_IGNORE_OUTGOING, PACKET_RX_RING}) {
        CAPTURE(option);
        packet_kernel kernel;
        kernel.flood_option_errors[option] = EADDRINUSE;
        std::error_code error;
        basic_af_packet_io<packet_calls> const io(fixture::options(65'536), error, packet_calls{&kernel});
        CHECK(error == std::errc::address_in_use);
        CHECK(io.problem().find("floods") != std::string::npos);
        CHECK(kernel.open_descriptors == 0);
        CHECK(kernel.maps == 0);
    }
}

TEST_CASE("a port that was moved from leaves its ring for floods to its successor") {
    fixture f;
    f.io.set_flooded(true);
    f.kernel.deliver_block(many(2));
    {
        basic_af_packet_io<packet_calls> successor(std::move(f.io));
        CHECK(f.io.receive(f.frames) == 0);
        CHECK(successor.receive(f.frames) == 2);
        successor.set_flooded(false);
        CHECK_FALSE(f.filtered());
    }
    CHECK(f.kernel.open_descriptors == 0);
    CHECK(f.kernel.maps == 0);
}
