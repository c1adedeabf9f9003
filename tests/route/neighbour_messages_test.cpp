// SPDX-License-Identifier: BSL-1.0
// ARP and neighbour discovery: what is built reads back and sums up; what must not be believed is not read.
#include <halfproxy/route/neighbour_messages.hpp>

#include "tests/support/routed.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

ip_address const ours4 = ip_address::v4(0xc0000201), theirs4 = ip_address::v4(0xc000020a), ours6 = ip6_of(1, 1), theirs6 = ip6_of(1, 0x10);

std::optional<neighbour_message> read(byte_string const& datagram, checksum_state state = checksum_state::unknown) {
    byte_string const frame = link_frame(our_outside_mac, client_mac, datagram);
    return read_neighbour_discovery(parse<link_type::ethernet>(byte_view(frame)), state);
}
std::optional<neighbour_message> read_arp_of(byte_string const& message, mac_address const& to = broadcast_mac) {
    return read_arp(link_frame(to, client_mac, message, 0x0806));
}
byte_string built(std::size_t (*build)(byte_span)) {
    byte_string out(neighbour_frame_bytes, 0xee);
    out.resize(build(out));
    return out;
}
discovery solicitation() { return {.destination = bytes_of(solicited_group(ours6)), .mac = client_mac}; }
discovery advertisement() {
    return {.type = 136, .source = bytes_of(theirs6), .destination = bytes_of(ours6), .target = bytes_of(theirs6), .rest = 0x60000000, .mac = client_mac};
}

}  // namespace

TEST_CASE("an ARP question, answer and announcement are what RFC 826 and RFC 5227 draw") {
    link_identity const us{our_outside_mac, ours4};
    byte_string out(neighbour_frame_bytes);
    out.resize(build_question(out, us, theirs4, std::nullopt));
    CHECK(out == link_frame(broadcast_mac, our_outside_mac, arp(1, our_outside_mac, 0xc0000201, {}, 0xc000020a), 0x0806));
    out.resize(neighbour_frame_bytes);
    out.resize(build_question(out, us, theirs4, client_mac));
    CHECK(out == link_frame(client_mac, our_outside_mac, arp(1, our_outside_mac, 0xc0000201, {}, 0xc000020a), 0x0806));
    out.resize(neighbour_frame_bytes);
    out.resize(build_answer(out, us, theirs4, client_mac));
    CHECK(out == link_frame(client_mac, our_outside_mac, arp(2, our_outside_mac, 0xc0000201, client_mac, 0xc000020a), 0x0806));
    out.resize(neighbour_frame_bytes);
    out.resize(build_announcement(out, us));
    CHECK(out == link_frame(broadcast_mac, our_outside_mac, arp(1, our_outside_mac, 0xc0000201, {}, 0xc0000201), 0x0806));
}

TEST_CASE("a neighbour solicitation goes to the target's group, or to the target alone, with our link address (RFC 4861 section 4.3)") {
    byte_string const all = built([](byte_span out) { return build_question(out, {our_outside_mac, ours6}, theirs6, std::nullopt); });
    discovery d{.source = bytes_of(ours6), .destination = u8(0xff) + u8(2) + zeros(9) + u8(1) + u8(0xff) + u8(0) + u8(0) + u8(0x10),
                .target = bytes_of(theirs6), .mac = our_outside_mac};
    CHECK(all == link_frame({0x33, 0x33, 0xff, 0, 0, 0x10}, our_outside_mac, encode(d)));
    d.destination = bytes_of(theirs6);
    CHECK(built([](byte_span out) { return build_question(out, {our_outside_mac, ours6}, theirs6, client_mac); }) ==
          link_frame(client_mac, our_outside_mac, encode(d)));
}

TEST_CASE("an advertisement is a router's, overrides, and is solicited unless somebody only tried the address (RFC 4861 section 7.2.4)") {
    discovery d{.type = 136, .source = bytes_of(ours6), .destination = bytes_of(theirs6), .target = bytes_of(ours6), .rest = 0xe0000000, .mac = our_outside_mac};
    CHECK(built([](byte_span out) { return build_answer(out, {our_outside_mac, ours6}, theirs6, client_mac); }) ==
          link_frame(client_mac, our_outside_mac, encode(d)));
    d.destination = u8(0xff) + u8(2) + zeros(13) + u8(1);
    d.rest = 0xa0000000;
    byte_string const to_all = link_frame({0x33, 0x33, 0, 0, 0, 1}, our_outside_mac, encode(d));
    CHECK(built([](byte_span out) { return build_answer(out, {our_outside_mac, ours6}, {}, client_mac); }) == to_all);
    CHECK(built([](byte_span out) { return build_announcement(out, {our_outside_mac, ours6}); }) == to_all);
}

TEST_CASE("ARP is read as question, probe or answer, and an answer counts as asked for only when it is to one alone") {
    auto const question = read_arp_of(arp(1, client_mac, 0xc000020a, {}, 0xc0000201));
    REQUIRE(question);
    CHECK(question->what == neighbour_message::kind::question);
    CHECK(question->target == ours4);
    CHECK(question->sender == theirs4);
    CHECK(question->mac == client_mac);
    CHECK(!question->to_us_alone);
    auto const probe = read_arp_of(arp(1, client_mac, 0, {}, 0xc0000201));
    REQUIRE(probe);
    CHECK(probe->sender.version == 0);
    auto const answer = read_arp_of(arp(2, client_mac, 0xc000020a, our_outside_mac, 0xc0000201), our_outside_mac);
    REQUIRE(answer);
    CHECK(answer->what == neighbour_message::kind::answer);
    CHECK(answer->target == theirs4);
    CHECK(answer->to_us_alone);
    CHECK(!read_arp_of(arp(2, client_mac, 0xc000020a, our_outside_mac, 0xc0000201))->to_us_alone);
    CHECK(!read_arp_of(arp(2, client_mac, 0xc000020a, server_mac, 0xc0000201), our_outside_mac)->to_us_alone);
}

TEST_CASE("ARP that is cut, of other networks, of a group or an answer of nobody is not read") {
    byte_string const good = arp(1, client_mac, 0xc000020a, {}, 0xc0000201);
    REQUIRE(read_arp_of(good));
    for (std::size_t cut = 0; cut < good.size(); ++cut) CHECK(!read_arp_of({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(cut)}));
    for (std::size_t at : {1u, 3u, 4u, 5u, 7u}) {
        byte_string bad = good;
        bad[at] = 0x77;
        CAPTURE(at);
        CHECK(!read_arp_of(bad));
    }
    CHECK(!read_arp_of(arp(1, broadcast_mac, 0xc000020a, {}, 0xc0000201)));
    CHECK(!read_arp_of(arp(1, client_mac, 0xe0000001, {}, 0xc0000201)));
    CHECK(!read_arp_of(arp(1, client_mac, 0x7f000001, {}, 0xc0000201)));
    CHECK(!read_arp_of(arp(2, client_mac, 0, {}, 0xc0000201)));
}

TEST_CASE("neighbour discovery is read as question, probe, answer and announcement") {
    auto const question = read(encode(solicitation()));
    REQUIRE(question);
    CHECK(question->what == neighbour_message::kind::question);
    CHECK(question->target == ours6);
    CHECK(question->sender == theirs6);
    CHECK(question->mac == client_mac);
    discovery d = solicitation();
    d.mac.reset();
    CHECK(!read(encode(d))->mac);
    d.source = zeros(16);
    REQUIRE(read(encode(d)));
    CHECK(read(encode(d))->sender.version == 0);
    auto const answer = read(encode(advertisement()));
    REQUIRE(answer);
    CHECK(answer->what == neighbour_message::kind::answer);
    CHECK(answer->target == theirs6);
    CHECK(answer->to_us_alone);
    d = advertisement();
    d.rest = 0x20000000;
    d.destination = bytes_of(all_nodes());
    CHECK(!read(encode(d))->to_us_alone);
}

TEST_CASE("neighbour discovery that fails a check of RFC 4861 section 7.1 is not read") {
    auto const with = [](discovery d, auto change) {
        change(d);
        return read(encode(d)).has_value();
    };
    CHECK(!with(solicitation(), [](discovery& d) { d.hop_limit = 254; }));
    CHECK(!with(solicitation(), [](discovery& d) { d.code = 1; }));
    CHECK(!with(solicitation(), [](discovery& d) { d.target = bytes_of(all_nodes()); }));
    CHECK(!with(solicitation(), [](discovery& d) { d.source = bytes_of(all_nodes()); }));
    CHECK(!with(solicitation(), [](discovery& d) { d.source = zeros(16); }));  // with a link address
    CHECK(!with(solicitation(), [](discovery& d) { d.source = zeros(16), d.mac.reset(), d.destination = bytes_of(ours6); }));
    CHECK(!with(solicitation(), [](discovery& d) { d.mac = mac_address{1, 0, 0, 0, 0, 1}; }));
    CHECK(!with(advertisement(), [](discovery& d) { d.destination = bytes_of(all_nodes()); }));  // solicited, to a group
    CHECK(!with(advertisement(), [](discovery& d) { d.type = 137; }));
    byte_string sum = encode(solicitation());
    sum[42] ^= 1;
    CHECK(!read(sum));
    CHECK(read(sum, checksum_state::verified));
    ip6 ip;
    ip.source = bytes_of(theirs6);
    ip.destination = bytes_of(ours6);
    ip.protocol = 58;
    for (byte_string const& options : {u8(1) + u8(0) + zeros(6), u8(1) + u8(2) + zeros(6), u8(1), u8(9) + u8(1) + zeros(6) + u8(1)}) {
        byte_string datagram = encode(ip, sealed(ip, u8(135) + u8(0) + u16(0) + u32(0) + bytes_of(ours6) + options, 2));
        datagram[7] = 255;
        CHECK(!read(datagram));
    }
    byte_string cut = encode(ip, sealed(ip, u8(135) + u8(0) + u16(0) + u32(0) + byte_string(15), 2));
    cut[7] = 255;
    CHECK(!read(cut));
}
