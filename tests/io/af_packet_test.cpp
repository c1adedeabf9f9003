// SPDX-License-Identifier: BSL-1.0
// The AF_PACKET port against a kernel of plain memory: what a wire does seldom, here as often as wanted.
#include <halfproxy/io/af_packet.hpp>

#include "tests/support/packet_calls.hpp"

#include <doctest/doctest.h>

#include <array>
#include <numeric>
#include <utility>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using port = basic_af_packet_io<packet_calls>;
using bytes = std::vector<std::uint8_t>;

af_packet_options small_ring() {
    af_packet_options out;
    out.interface = "eth0";
    out.slots = 31;
    out.slot_bytes = 67'648;  // 31 of them are a block, so that the ring is full after 31 frames
    out.transmit_slots = 64;
    out.flood_ring_bytes = 0;
    out.transmit_tries = 4;
    return out;
}

af_packet_options with_transmit_slots(std::uint32_t slots) {
    af_packet_options out = small_ring();
    out.transmit_slots = slots;
    return out;
}

af_packet_options with_long_frames(std::uint32_t count) {
    af_packet_options out = small_ring();
    out.slot_bytes = 2048;
    out.long_frames = count;
    return out;
}

struct fixture {
    explicit fixture(std::uint32_t transmit_slots = 64) : fixture(with_transmit_slots(transmit_slots)) {}
    explicit fixture(af_packet_options const& options) : io(options, packet_calls{&kernel}) {}

    packet_kernel kernel{};
    port io;
    std::array<frame, 64> frames{};

    std::size_t transmit(std::vector<bytes> const& content) {
        std::vector<tx_frame> out;
        for (bytes const& each : content) out.push_back({each, {}});
        return io.transmit(out);
    }
};

bytes numbered(std::size_t length) {
    bytes out(length);
    std::iota(out.begin(), out.end(), std::uint8_t{1});
    return out;
}

bytes content(frame const& f) { return {f.data, f.data + f.length}; }

std::error_code open_error(packet_kernel& kernel, af_packet_options const& options, std::string& text) {
    std::error_code error;
    port const io(options, error, packet_calls{&kernel});
    text = io.problem();
    CHECK(io.is_open() == !error);
    return error;
}

}  // namespace

TEST_CASE("a frame in the ring is handed out in place, with room behind it for a larger header") {
    fixture f;
    f.kernel.deliver({.bytes = numbered(60)});
    REQUIRE(f.io.receive(f.frames) == 1);
    CHECK(content(f.frames[0]) == numbered(60));
    CHECK(f.frames[0].wire_length == 60);
    CHECK(f.frames[0].capacity >= 60 + frame_slack_bytes);
    CHECK(f.io.statistics().received == 1);
}

TEST_CASE("a 65,535-byte datagram with link header and tag fits a slot of af_packet_long_frame_bytes, and the queue") {
    for (std::uint32_t slot_bytes : {af_packet_long_frame_bytes, 2048u}) {
        CAPTURE(slot_bytes);
        af_packet_options options = small_ring();
        options.slot_bytes = slot_bytes;
        fixture f(options);
        f.kernel.deliver({.bytes = numbered(65'535 + 14 + 4), .status = TP_STATUS_VLAN_VALID, .vlan_tci = 5});
        CHECK(f.kernel.queue.size() == (slot_bytes == 2048 ? 1 : 0));
        REQUIRE(f.io.receive(f.frames) == 1);
        CHECK(f.frames[0].length == 65'535 + 18 + 4);
        CHECK(f.frames[0].capacity >= f.frames[0].length + frame_slack_bytes);
        CHECK(f.io.capabilities().max_frame_bytes >= f.frames[0].length);
    }
}

TEST_CASE("a frame longer than a slot comes whole, in its place among the others, with its own header and VLAN tag") {
    fixture f(with_long_frames(8));
    bytes const untagged = numbered(9000);
    f.kernel.deliver({.bytes = bytes(60, 1)});
    f.kernel.deliver({.bytes = untagged, .device = {1, 1, 66, 1448, 34, 16}, .status = TP_STATUS_VLAN_VALID, .vlan_tci = 0x2005});
    f.kernel.deliver({.bytes = bytes(60, 3), .device = {2, 0, 0, 0, 0, 0}});
    f.kernel.deliver({.bytes = bytes(3000, 4)});
    REQUIRE(f.io.receive(f.frames) == 4);
    bytes tagged(untagged.begin(), untagged.begin() + 12);
    for (int byte : {0x81, 0x00, 0x20, 0x05}) tagged.push_back(static_cast<std::uint8_t>(byte));
    tagged.insert(tagged.end(), untagged.begin() + 12, untagged.end());
    CHECK(content(f.frames[0]) == bytes(60, 1));
    CHECK(content(f.frames[1]) == tagged);
    CHECK(f.frames[1].wire_length == 9004);
    CHECK(f.frames[1].capacity >= 9004 + frame_slack_bytes);
    CHECK(f.frames[1].offload.segment_size == 1448);
    CHECK(f.frames[1].offload.checksum_start == 38);
    CHECK(content(f.frames[2]) == bytes(60, 3));
    CHECK(f.frames[2].offload.checksum == checksum_state::verified);
    CHECK(content(f.frames[3]) == bytes(3000, 4));
    CHECK(f.frames[3].offload.segment_size == 0);
    CHECK(f.kernel.queue.empty());
    CHECK(f.io.statistics().received == 4);
}

TEST_CASE("with more long frames than there is memory for, the rest comes in order with the next receive") {
    fixture f(with_long_frames(3));
    for (std::uint8_t i = 0; i < 8; ++i) f.kernel.deliver({.bytes = bytes(i == 5 ? 60 : 5000, i)});
    std::uint8_t next = 0;
    for (std::size_t expected : {3u, 4u, 1u, 0u}) {
        REQUIRE(f.io.receive(f.frames) == expected);
        for (std::size_t i = 0; i < expected; ++i, ++next) CHECK(content(f.frames[i]) == bytes(next == 5 ? 60 : 5000, next));
    }
    CHECK(next == 8);
    CHECK(f.io.statistics().receive_truncated == 0);
}

TEST_CASE("a long frame for which the queue had no room is counted; later ones are still matched with their places") {
    fixture f(with_long_frames(8));
    f.kernel.deliver({.bytes = bytes(5000, 1)});
    f.kernel.deliver({.bytes = bytes(2000, 2), .bytes_lost = 3000});
    f.kernel.deliver({.bytes = bytes(5000, 3)});
    REQUIRE(f.io.receive(f.frames) == 2);
    CHECK(content(f.frames[0]) == bytes(5000, 1));
    CHECK(content(f.frames[1]) == bytes(5000, 3));
    CHECK(f.io.statistics().receive_truncated == 1);
}

TEST_CASE("a frame that fills its slot to the last byte has room behind it, too, at any length around that") {
    fixture f(with_long_frames(8));
    std::uint32_t const slot_room = 2048 - (TPACKET_ALIGN(TPACKET2_HDRLEN + 16) + af_packet_detail::headroom_bytes + sizeof(virtio_header) - 14);
    for (std::size_t length : {slot_room - frame_slack_bytes, slot_room - frame_slack_bytes + 1, slot_room, slot_room + 1}) {
        CAPTURE(length);
        f.kernel.deliver({.bytes = numbered(length), .device = {1, 0, 0, 0, 34, 16}});
        CHECK(f.kernel.queue.size() == (length > slot_room ? 1 : 0));
        REQUIRE(f.io.receive(f.frames) == 1);
        CHECK(content(f.frames[0]) == numbered(length));
        CHECK(f.frames[0].capacity >= length + frame_slack_bytes);
        CHECK(f.frames[0].offload.checksum == checksum_state::partial);
    }
}

TEST_CASE("an interface that went down, whose error is reported first, costs no long frame; one the kernel cannot hand over is counted") {
    fixture f(with_long_frames(8));
    f.kernel.deliver({.bytes = bytes(5000, 1)});
    f.kernel.receive_errors = {ENETDOWN};
    REQUIRE(f.io.receive(f.frames) == 1);
    CHECK(content(f.frames[0]) == bytes(5000, 1));
    for (std::uint8_t i = 2; i < 4; ++i) f.kernel.deliver({.bytes = bytes(5000, i)});
    f.kernel.receive_errors = {EINVAL};
    REQUIRE(f.io.receive(f.frames) == 1);
    CHECK(content(f.frames[0]) == bytes(5000, 3));
    CHECK(f.io.statistics().receive_truncated == 1);
}

TEST_CASE("without long frames none is kept by the kernel, and what has no room in a slot is counted") {
    fixture f(with_long_frames(0));
    CHECK_FALSE(f.kernel.options.contains(PACKET_COPY_THRESH));
    for (std::size_t length : {5000u, 1930u, 60u}) f.kernel.deliver({.bytes = numbered(length)});
    REQUIRE(f.io.receive(f.frames) == 1);
    CHECK(content(f.frames[0]) == numbered(60));
    CHECK(f.io.statistics().receive_truncated == 2);
    CHECK(f.io.capabilities().max_frame_bytes == 2048 - frame_slack_bytes);
}

TEST_CASE("slots stay ours until the next receive, then the kernel may fill them again") {
    fixture f;
    f.kernel.deliver({.bytes = numbered(60)});
    f.io.receive(f.frames);
    CHECK((f.kernel.slot(0).tp_status & TP_STATUS_USER) != 0);
    CHECK(f.io.receive(f.frames) == 0);
    CHECK(f.kernel.slot(0).tp_status == TP_STATUS_KERNEL);
}

TEST_CASE("frames come in order through many rounds of the ring") {
    fixture f;
    std::uint8_t next_in = 0, next_out = 0;
    for (int round = 0; round < 100; ++round) {
        for (int i = 0; i < 7; ++i) REQUIRE(f.kernel.deliver({.bytes = bytes(60, next_in++)}));
        REQUIRE(f.io.receive(f.frames) == 7);
        for (int i = 0; i < 7; ++i) REQUIRE(f.frames[static_cast<std::size_t>(i)].data[0] == next_out++);
    }
}

TEST_CASE("a full ring is handed out once, even to a caller who asks for more frames than it has slots") {
    fixture f;
    while (f.kernel.deliver({.bytes = numbered(60)})) {}
    CHECK(f.io.receive(f.frames) == 31);
    CHECK(f.io.receive(f.frames) == 0);
}

TEST_CASE("a caller with few frames gets the rest with the next receive") {
    fixture f;
    for (std::uint8_t i = 0; i < 5; ++i) f.kernel.deliver({.bytes = bytes(60, i)});
    CHECK(f.io.receive(std::span(f.frames).first(3)) == 3);
    CHECK(f.io.receive(std::span(f.frames).first(3)) == 2);
    CHECK(f.frames[1].data[0] == 4);
}

TEST_CASE("the virtio-net header becomes the frame's offload_info (virtio 1.2 section 5.1.6)") {
    fixture f;
    f.kernel.deliver({.bytes = numbered(60), .device = {1, 1, 66, 1448, 34, 16}});
    f.kernel.deliver({.bytes = numbered(60), .device = {2, 0, 0, 0, 0, 0}});
    f.kernel.deliver({.bytes = numbered(60)});
    REQUIRE(f.io.receive(f.frames) == 3);
    offload_info const& large = f.frames[0].offload;
    CHECK(large.checksum == checksum_state::partial);
    CHECK(large.segment_type == 1);
    CHECK(large.header_length == 66);
    CHECK(large.segment_size == 1448);
    CHECK(large.checksum_start == 34);
    CHECK(large.checksum_offset == 16);
    CHECK(f.frames[1].offload.checksum == checksum_state::verified);
    CHECK(f.frames[2].offload.checksum == checksum_state::unknown);
}

TEST_CASE("a VLAN tag the kernel took off is back behind the addresses, and the offsets move with it (IEEE 802.1Q)") {
    fixture f;
    bytes const untagged = numbered(60);
    f.kernel.deliver({.bytes = untagged, .device = {1, 1, 66, 1448, 34, 16}, .status = TP_STATUS_VLAN_VALID, .vlan_tci = 0x2005});
    REQUIRE(f.io.receive(f.frames) == 1);
    bytes expected(untagged.begin(), untagged.begin() + 12);
    for (int byte : {0x81, 0x00, 0x20, 0x05}) expected.push_back(static_cast<std::uint8_t>(byte));
    expected.insert(expected.end(), untagged.begin() + 12, untagged.end());
    CHECK(content(f.frames[0]) == expected);
    CHECK(f.frames[0].wire_length == 64);
    CHECK(f.frames[0].offload.checksum_start == 38);
    CHECK(f.frames[0].offload.header_length == 70);
}

TEST_CASE("a service tag keeps its own EtherType (IEEE 802.1ad)") {
    fixture f;
    f.kernel.deliver({.bytes = numbered(60), .status = TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID, .vlan_tci = 7, .vlan_tpid = 0x88a8});
    REQUIRE(f.io.receive(f.frames) == 1);
    CHECK(f.frames[0].data[12] == 0x88);
    CHECK(f.frames[0].data[13] == 0xa8);
}

TEST_CASE("a frame the kernel had to cut is counted and not handed out; those around it are") {
    fixture f;
    f.kernel.deliver({.bytes = bytes(60, 1)});
    f.kernel.deliver({.bytes = bytes(60, 2), .bytes_lost = 10});
    f.kernel.deliver({.bytes = bytes(60, 3)});
    REQUIRE(f.io.receive(f.frames) == 2);
    CHECK(f.frames[1].data[0] == 3);
    CHECK(f.io.statistics().receive_truncated == 1);
    f.io.receive(f.frames);
    CHECK(f.kernel.slot(1).tp_status == TP_STATUS_KERNEL);
}

TEST_CASE("the kernel's drops are added up over readings, each of which starts its counter anew") {
    fixture f;
    f.kernel.next_statistics = {100, 3};
    CHECK(f.io.statistics().kernel_dropped == 3);
    f.kernel.next_statistics = {100, 4};
    CHECK(f.io.statistics().kernel_dropped == 7);
    CHECK(f.io.statistics().kernel_dropped == 7);
}

TEST_CASE("an old socket error that would wake poll() for ever is fetched after a while without frames") {
    fixture f;
    for (int i = 0; i < 63; ++i) f.io.receive(f.frames);
    CHECK(f.kernel.socket_errors_read == 0);
    f.io.receive(f.frames);
    CHECK(f.kernel.socket_errors_read == 1);
}

TEST_CASE("a partial checksum and a large segment leave with the header that makes the device finish them") {
    fixture f;
    bytes const content = numbered(1000);
    tx_frame const out{content, {checksum_state::partial, 4, 1428, 86, 54, 16}};
    CHECK(f.io.transmit({&out, 1}) == 1);
    REQUIRE(f.kernel.sent.size() == 1);
    virtio_header const& device = f.kernel.sent[0].device;
    CHECK(f.kernel.sent[0].bytes == content);
    CHECK(int{device.flags} == 1);
    CHECK(int{device.segment_type} == 4);
    CHECK(device.segment_size == 1428);
    CHECK(device.header_length == 86);
    CHECK(device.checksum_start == 54);
    CHECK(device.checksum_offset == 16);
}

TEST_CASE("a finished frame leaves with an empty header, whatever its offload fields hold") {
    fixture f(0);
    bytes const content = numbered(60);
    tx_frame const out{content, {checksum_state::verified, 1, 0, 66, 34, 16}};
    CHECK(f.io.transmit({&out, 1}) == 1);
    virtio_header const nothing{};
    CHECK(std::memcmp(&f.kernel.sent.at(0).device, &nothing, sizeof nothing) == 0);
}

TEST_CASE("150 frames leave in order in batches of at most 64") {
    for (std::uint32_t slots : {0u, 64u}) {
        CAPTURE(slots);
        fixture f(slots);
        std::vector<bytes> many;
        for (std::uint8_t i = 0; i < 150; ++i) many.push_back(bytes(60, i));
        CHECK(f.transmit(many) == 150);
        CHECK(f.kernel.send_calls == 3);
        CHECK(f.kernel.largest_send == 64);
        for (std::uint8_t i = 0; i < 150; ++i) REQUIRE(f.kernel.sent[i].bytes[0] == i);
        CHECK(f.io.statistics().transmitted == 150);
        CHECK((f.kernel.ring_calls == 0) == (slots == 0));
    }
}

TEST_CASE("through the ring the kernel is told that all of a frame is header, so that it copies it, and what checksum to finish") {
    fixture f;
    bytes const content = numbered(100);
    std::array<tx_frame, 2> const out{tx_frame{content, {checksum_state::partial, 0, 0, 66, 34, 16}}, tx_frame{content, {checksum_state::verified, 1, 0, 66, 34, 16}}};
    CHECK(f.io.transmit(out) == 2);
    REQUIRE(f.kernel.sent.size() == 2);
    for (sent_frame const& sent : f.kernel.sent) {
        CHECK(sent.bytes == content);
        CHECK(sent.device.header_length == 100);
        CHECK(int{sent.device.segment_type} == 0);
    }
    CHECK(int{f.kernel.sent[0].device.flags} == 1);
    CHECK(f.kernel.sent[0].device.checksum_start == 34);
    CHECK(f.kernel.sent[0].device.checksum_offset == 16);
    CHECK(int{f.kernel.sent[1].device.flags} == 0);
}

TEST_CASE("a batch goes through the ring when all of it fits there, else in messages, and in order in either case") {
    fixture f;
    std::size_t const longest = af_packet_detail::longest_queued_frame;
    CHECK(f.transmit({bytes(60, 1), bytes(longest, 2)}) == 2);
    CHECK(f.kernel.ring_calls == 1);
    CHECK(f.transmit({bytes(60, 3), bytes(longest + 1, 4), bytes(60, 5)}) == 3);
    CHECK(f.kernel.ring_calls == 1);
    bytes const whole = numbered(1000);
    tx_frame const segments{whole, {checksum_state::partial, 1, 500, 54, 34, 16}};
    CHECK(f.io.transmit({&segments, 1}) == 1);
    CHECK(f.kernel.ring_calls == 1);
    CHECK(f.transmit({bytes(60, 6)}) == 1);
    CHECK(f.kernel.ring_calls == 2);
    REQUIRE(f.kernel.sent.size() == 7);
    for (std::size_t i : {0u, 1u, 2u, 3u, 4u}) CHECK(f.kernel.sent[i].bytes[0] == i + 1);
    CHECK(f.kernel.sent[6].bytes[0] == 6);
    CHECK(f.io.statistics().transmitted == 7);
}

TEST_CASE("while a device still reads the slots, frames leave in messages") {
    fixture f;
    f.kernel.keeps_slots = true;
    std::vector<bytes> const full(64, bytes(60, 1));
    CHECK(f.transmit(full) == 64);
    CHECK(f.kernel.ring_calls == 1);
    CHECK(f.transmit({bytes(60, 2)}) == 1);
    CHECK(f.kernel.ring_calls == 1);
    for (std::uint32_t i = 0; i < 64; ++i, f.kernel.read_position = (f.kernel.read_position + 1) % 64) f.kernel.slot_to_send().tp_status = TP_STATUS_AVAILABLE;
    CHECK(f.transmit({bytes(60, 3)}) == 1);
    CHECK(f.kernel.ring_calls == 2);
    CHECK(f.kernel.sent.size() == 66);
    CHECK(f.kernel.sent.back().bytes[0] == 3);
}

TEST_CASE("frames the kernel refuses, wherever they stand in the ring, cost none of the others, round after round") {
    fixture f;
    std::uint64_t refused = 0;
    for (int round = 0; round < 50; ++round) {
        std::vector<bytes> some;
        for (std::uint8_t i = 0; i < 13; ++i) some.push_back(bytes(60, static_cast<std::uint8_t>(round * 13 + i)));
        f.kernel.send_results = {round % 13, -EMSGSIZE, 1, -EMSGSIZE};
        CHECK(f.transmit(some) == 13);
        refused += round % 13 < 11 ? 2 : 1;
        CHECK(f.io.statistics().transmit_refused == refused);
        f.kernel.send_results.clear();
    }
    CHECK(f.kernel.sent.size() == 50 * 13 - refused);
    for (std::size_t i = 1; i < f.kernel.sent.size(); ++i) CHECK(static_cast<std::uint8_t>(f.kernel.sent[i].bytes[0] - f.kernel.sent[i - 1].bytes[0]) <= 3);
}

TEST_CASE("when the kernel takes only part of a batch, the rest follows in order") {
    for (std::uint32_t slots : {0u, 64u}) {
        CAPTURE(slots);
        fixture f(slots);
        f.kernel.send_results = {2, 1};
        CHECK(f.transmit({bytes(60, 1), bytes(60, 2), bytes(60, 3), bytes(60, 4), bytes(60, 5)}) == 5);
        REQUIRE(f.kernel.sent.size() == 5);
        for (std::uint8_t i = 0; i < 5; ++i) CHECK(f.kernel.sent[i].bytes[0] == i + 1);
        CHECK((f.kernel.ring_calls == 0) == (slots == 0));
    }
}

TEST_CASE("a send interrupted, refused for want of buffers or of room is tried again and loses nothing") {
    for (std::uint32_t slots : {0u, 64u}) {
        CAPTURE(slots);
        fixture f(slots);
        f.kernel.send_results = {-EINTR, -ENOBUFS, -EAGAIN};
        CHECK(f.transmit({bytes(60, 1), bytes(60, 2)}) == 2);
        CHECK(f.kernel.sent.size() == 2);
        CHECK(f.io.statistics().transmit_retries == 3);
        CHECK(f.kernel.waits == 1);
        CHECK((f.kernel.ring_calls == 0) == (slots == 0));
    }
}

TEST_CASE("a GSO frame that the kernel would have to cut up is not lost for want of the queueing discipline, which both sockets then use") {
    fixture f(64);
    REQUIRE(f.kernel.options[PACKET_QDISC_BYPASS][0] == 1);
    f.kernel.send_results = {-ENOBUFS};
    bytes const large = numbered(9000);
    tx_frame const segments{large, {checksum_state::partial, 4, 1448, 54, 34, 16}};
    CHECK(f.io.transmit({&segments, 1}) == 1);
    CHECK(f.kernel.sent.size() == 1);
    CHECK(f.kernel.options[PACKET_QDISC_BYPASS][0] == 0);
    CHECK(f.io.statistics().transmit_retries == 0);
    f.kernel.send_results = {-ENOBUFS, -ENOBUFS};  // from now on it means what it says
    CHECK(f.io.transmit({&segments, 1}) == 1);
    CHECK(f.io.statistics().transmit_retries == 2);
}

TEST_CASE("when there is no room after all tries, the rest is left to the caller and counted once") {
    for (std::uint32_t slots : {0u, 64u}) {
        CAPTURE(slots);
        fixture f(slots);
        f.kernel.send_results = {1, -ENOBUFS, -ENOBUFS, -ENOBUFS, -ENOBUFS};
        CHECK(f.transmit({bytes(60, 1), bytes(60, 2), bytes(60, 3)}) == 1);
        CHECK(f.kernel.send_calls == 5);
        CHECK(f.io.statistics().transmit_no_room == 2);
        CHECK(f.transmit({bytes(60, 2), bytes(60, 3)}) == 2);
        CHECK(f.io.statistics().transmitted == 3);
        CHECK((f.kernel.ring_calls == 0) == (slots == 0));
    }
}

TEST_CASE("a frame larger than the MTU is counted and does not keep back those behind it") {
    for (std::uint32_t slots : {0u, 64u}) {
        CAPTURE(slots);
        fixture f(slots);
        f.kernel.send_results = {1, -EMSGSIZE};
        CHECK(f.transmit({bytes(60, 1), bytes(60, 2), bytes(60, 3)}) == 3);
        CHECK(f.kernel.sent.size() == 2);
        CHECK(f.kernel.sent[1].bytes[0] == 3);
        CHECK(f.io.statistics().transmit_refused == 1);
        CHECK((f.kernel.ring_calls == 0) == (slots == 0));
    }
}

TEST_CASE("a stale report of an interface that was down costs nothing") {
    for (std::uint32_t slots : {0u, 64u}) {
        CAPTURE(slots);
        fixture f(slots);
        f.kernel.send_results = {-ENETDOWN};
        CHECK(f.transmit({bytes(60, 1), bytes(60, 2)}) == 2);
        CHECK(f.kernel.sent.size() == 2);
        CHECK(f.io.statistics().transmit_link_down == 0);
        CHECK((f.kernel.ring_calls == 0) == (slots == 0));
    }
}

TEST_CASE("an interface that is down loses its frames, counted, and works again when it is up") {
    for (std::uint32_t slots : {0u, 64u}) {
        CAPTURE(slots);
        fixture f(slots);
        f.kernel.send_results = {-ENETDOWN, -ENETDOWN};
        CHECK(f.transmit({bytes(60, 1), bytes(60, 2)}) == 2);
        CHECK(f.kernel.sent.empty());
        CHECK(f.io.statistics().transmit_link_down == 2);
        CHECK(f.transmit({bytes(60, 3)}) == 1);
        CHECK(f.kernel.sent.size() == 1);
        CHECK((f.kernel.ring_calls == 0) == (slots == 0));
    }
}

TEST_CASE("an unknown interface is named, with the command that lists the known ones") {
    packet_kernel kernel;
    af_packet_options options = small_ring();
    options.interface = "eth9";
    std::string text;
    CHECK(open_error(kernel, options, text) == std::errc::no_such_device);
    CHECK(text.find("eth9") != std::string::npos);
    CHECK(text.find("ip -brief link") != std::string::npos);
}

TEST_CASE("missing privilege names CAP_NET_RAW") {
    packet_kernel kernel;
    kernel.socket_error = EPERM;
    std::string text;
    CHECK(open_error(kernel, small_ring(), text) == std::errc::operation_not_permitted);
    CHECK(text.find("eth0") != std::string::npos);
    CHECK(text.find("CAP_NET_RAW") != std::string::npos);
}

TEST_CASE("the throwing constructor throws what the other one reports") {
    packet_kernel kernel;
    kernel.bind_error = ENODEV;
    try {
        port const io(small_ring(), packet_calls{&kernel});
        FAIL("nothing thrown");
    } catch (std::system_error const& error) {
        CHECK(error.code() == std::errc::no_such_device);
        CHECK(std::string(error.what()).find("'eth0'") != std::string::npos);
    }
    CHECK(kernel.open_descriptors == 0);
}

TEST_CASE("whichever step of opening fails, its error is reported and nothing stays open") {
    for (int option : {PACKET_VERSION, PACKET_VNET_HDR, PACKET_RESERVE, PACKET_IGNORE_OUTGOING, PACKET_QDISC_BYPASS, PACKET_COPY_THRESH,
                       PACKET_RX_RING, PACKET_ADD_MEMBERSHIP, PACKET_FANOUT, PACKET_TX_RING}) {
        CAPTURE(option);
        packet_kernel kernel;
        kernel.option_errors[option] = EADDRINUSE;
        af_packet_options options = small_ring();
        options.fanout = af_packet_fanout{3};
        std::string text;
        CHECK(open_error(kernel, options, text) == std::errc::address_in_use);
        CHECK_FALSE(text.empty());
        CHECK(kernel.open_descriptors == 0);
        CHECK(kernel.maps == 0);
    }
}

TEST_CASE("a ring that cannot be mapped is reported") {
    packet_kernel kernel;
    kernel.map_fails = true;
    std::string text;
    CHECK(open_error(kernel, small_ring(), text) == std::errc::not_enough_memory);
    CHECK(kernel.open_descriptors == 0);
}

TEST_CASE("a receive buffer that would lose long frames is refused, with what would help; without long frames it is not asked for") {
    packet_kernel kernel;
    kernel.administrator = false;
    af_packet_options options = small_ring();
    options.receive_buffer_bytes = 212'992;
    std::string text;
    CHECK_FALSE(open_error(kernel, options, text));
    CHECK(kernel.receive_buffer == 212'992);
    options.receive_buffer_bytes = 212'993;
    CHECK(open_error(kernel, options, text) == std::errc::no_buffer_space);
    for (char const* remedy : {"CAP_NET_ADMIN", "net.core.rmem_max", "66048"}) CHECK(text.find(remedy) != std::string::npos);
    options.long_frames = 0;
    CHECK_FALSE(open_error(kernel, options, text));
    kernel.administrator = true;
    options.long_frames = 8;
    CHECK_FALSE(open_error(kernel, options, text));
    CHECK(kernel.receive_buffer == 212'993);
}

TEST_CASE("an interface without Ethernet header is refused: its frames would be misread") {
    packet_kernel kernel;
    kernel.hardware_type = 65'534;  // ARPHRD_NONE, as a tun device has
    std::string text;
    CHECK(open_error(kernel, small_ring(), text) == std::errc::not_supported);
    CHECK(text.find("Ethernet") != std::string::npos);
}

TEST_CASE("options out of range are refused before anything is opened") {
    packet_kernel kernel;
    std::string text;
    auto const refused = [&](auto change, std::errc expected) {
        af_packet_options options = small_ring();
        change(options);
        CHECK(open_error(kernel, options, text) == expected);
        CHECK(kernel.options.empty());
    };
    refused([](auto& o) { o.interface = ""; }, std::errc::no_such_device);
    refused([](auto& o) { o.interface = "sixteen-letters-"; }, std::errc::no_such_device);
    refused([](auto& o) { o.slots = 0; }, std::errc::invalid_argument);
    refused([](auto& o) { o.slot_bytes = 192; }, std::errc::invalid_argument);
    refused([](auto& o) { o.slot_bytes = 67'649; }, std::errc::invalid_argument);
    refused([](auto& o) { o.long_frames = 1025; }, std::errc::invalid_argument);
    refused([](auto& o) { o.transmit_slots = 33; }, std::errc::invalid_argument);
    refused([](auto& o) { o.transmit_slots = 65'568; }, std::errc::invalid_argument);
    refused([](auto& o) { o.flood_ring_bytes = 65'537; }, std::errc::invalid_argument);
    refused([](auto& o) { o.flood_ring_bytes = (1u << 30) + 65'536; }, std::errc::invalid_argument);
    refused([](auto& o) { o.transmit_tries = 0; }, std::errc::invalid_argument);
}

TEST_CASE("the options reach the kernel: own frames ignored, promiscuous, fanout by flow hash with the group's number") {
    packet_kernel kernel;
    af_packet_options options = small_ring();
    options.fanout = af_packet_fanout{0x1234};
    port const io(options, packet_calls{&kernel});
    packet_mreq membership{};
    std::memcpy(&membership, kernel.options.at(PACKET_ADD_MEMBERSHIP).data(), sizeof membership);
    CHECK(membership.mr_ifindex == 7);
    CHECK(membership.mr_type == PACKET_MR_PROMISC);
    int argument = 0;
    std::memcpy(&argument, kernel.options.at(PACKET_FANOUT).data(), sizeof argument);
    CHECK(argument == 0x1234);
    CHECK(kernel.options.contains(PACKET_IGNORE_OUTGOING));
    CHECK(kernel.options.contains(PACKET_QDISC_BYPASS));
}

TEST_CASE("without promiscuous and bypass_qdisc neither is asked for") {
    packet_kernel kernel;
    af_packet_options options = small_ring();
    options.promiscuous = options.bypass_qdisc = false;
    port const io(options, packet_calls{&kernel});
    CHECK_FALSE(kernel.options.contains(PACKET_ADD_MEMBERSHIP));
    CHECK_FALSE(kernel.options.contains(PACKET_QDISC_BYPASS));
}

TEST_CASE("a port that was moved from closes nothing; its successor goes on where it was") {
    fixture f;
    f.kernel.deliver({.bytes = bytes(60, 1)});
    f.kernel.deliver({.bytes = bytes(60, 2)});
    f.io.receive(std::span(f.frames).first(1));
    {
        port successor(std::move(f.io));
        CHECK_FALSE(f.io.is_open());
        CHECK(f.io.receive(f.frames) == 0);
        REQUIRE(successor.receive(f.frames) == 1);
        CHECK(f.frames[0].data[0] == 2);
        CHECK(f.kernel.open_descriptors == 2);
    }
    CHECK(f.kernel.open_descriptors == 0);
    CHECK(f.kernel.maps == 0);
}
