// SPDX-License-Identifier: BSL-1.0
// What is computed for a whole burst at a time is what each packet would have got alone.
#include <halfproxy/engine/engine.hpp>

#include "tests/support/splice.hpp"

#include <halfproxy/engine/impl/new_flow_checks.hpp>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

struct arriving {
    byte_string bytes;
    side arrival = side::outside;
};

/// What became of packets: each one's verdict, reason and bytes, and what the engine sent besides.
struct gone {
    std::vector<std::pair<verdict, drop_reason>> verdicts;
    std::vector<byte_string> packets;
    std::vector<byte_string> originated;

    friend bool operator==(gone const&, gone const&) = default;
};

gone through(half_proxy& proxy, std::vector<arriving> const& packets, std::size_t at_a_time, time_point now) {
    gone g;
    outbox out(packets.size() * outbox_per_packet);
    std::vector<byte_string> rooms;
    std::vector<frame> frames;
    for (arriving const& p : packets) {
        rooms.push_back(p.bytes);
        rooms.back().resize(p.bytes.size() + 100, 0xa5);
        frame f;
        f.data = rooms.back().data();
        f.length = f.wire_length = static_cast<std::uint32_t>(p.bytes.size());
        f.capacity = static_cast<std::uint32_t>(rooms.back().size());
        f.arrival = p.arrival;
        frames.push_back(f);
    }
    for (std::size_t at = 0; at < frames.size(); at += at_a_time)
        proxy.process(std::span(frames).subspan(at, std::min(at_a_time, frames.size() - at)), now, out);
    for (frame const& f : frames) {
        g.verdicts.emplace_back(f.outcome, f.reason);
        g.packets.emplace_back(f.data, f.data + f.length);
    }
    for (outbox_frame const& f : out.frames()) g.originated.emplace_back(f.bytes().begin(), f.bytes().end());
    return g;
}

class clients {
  public:
    explicit clients(std::uint64_t seed) : random_(seed) {}

    /// SYNs of 12 ports of a client that is new each time, some of them repeated, of both families, in two zones, with any options.
    std::vector<arriving> syns(std::size_t count) {
        sent_.clear();
        ++client_;
        std::vector<arriving> all;
        for (std::size_t i = 0; i < count; ++i) {
            endpoints e;
            e.version = random_.below(2) ? 4 : 6;
            e.client_port = 1000 + random_.below(12);
            e.client4 += client_;
            e.client6[7] = static_cast<std::uint8_t>(client_);  // another /64: such are exempt together
            e.zone = random_.below(4) == 0 ? 7 : 0;
            offer o{.isn = static_cast<std::uint32_t>(random_())};
            o.mss = random_.below(4) == 0 ? std::nullopt : std::optional(random_.below(20) == 0 ? 30 : 64 + random_.below(2000));
            o.scale = random_.below(4) == 0 ? std::nullopt : std::optional(random_.below(16));
            o.sack = random_.below(2) != 0;
            o.timestamps = random_.below(2) != 0;
            segment s = syn_of(o);
            if (random_.below(4) == 0) s.flags |= flags::ece | flags::cwr;
            byte_string bytes = framed(e, tcp_datagram(e, true, s));
            if (random_.below(16) == 0) bytes.back() ^= 1;  // a wrong checksum
            all.push_back({bytes, random_.below(20) == 0 ? side::inside : side::outside});
            sent_.emplace_back(e, s);
        }
        return all;
    }

    /// ACKs to what became of them, some with a bit wrong, some probing the closed window, among other segments.
    std::vector<arriving> acks(gone const& answers) {
        std::vector<arriving> all;
        for (std::size_t i = 0; i < sent_.size(); ++i) {
            auto [e, s] = sent_[i];
            if (answers.verdicts[i].first != verdict::reply) continue;
            decoded const reply = decode(answers.packets[i]);
            bool const unacceptable = (reply.tcp.flags & flags::syn) == 0;  // challenge_reset: a RST is the proof
            segment ack;
            ack.seq = unacceptable ? reply.tcp.ack : s.seq + (random_.below(4) == 0 ? 0 : 1);
            ack.ack = reply.tcp.seq + 1;
            ack.flags = unacceptable || random_.below(12) == 0 ? flags::rst : flags::ack;
            ack.window = 500;
            if (reply.tcp.timestamps) ack.timestamps = {{6'000'000, reply.tcp.timestamps->first}};
            if (random_.below(3) == 0) ack.ack ^= 1u << random_.below(32);
            if (ack.timestamps && random_.below(6) == 0) ack.timestamps->second ^= 1u << random_.below(32);
            if (random_.below(6) == 0) ack.raw_options = {1, 1, 1, 1};
            if (random_.below(3) == 0) ack.payload = byte_string(random_.below(50), 0x61);
            all.push_back({framed(e, tcp_datagram(e, true, ack)), side::outside});
        }
        return all;
    }

  private:
    split_mix64 random_;
    std::uint32_t client_ = 0;
    std::vector<std::pair<endpoints, segment>> sent_;
};

void check_equal(engine_config const& config) {
    auto bursts = std::make_unique<half_proxy>(config), alone = std::make_unique<half_proxy>(config);
    clients c(config.seed + 1);
    for (int round = 0; round < 40; ++round) {
        time_point const now(std::chrono::milliseconds(20'000 + round * 700));  // over an epoch's end
        std::vector<arriving> const syns = c.syns(100);
        gone const answers = through(*bursts, syns, 100, now);
        REQUIRE(answers == through(*alone, syns, 1, now));
        std::vector<arriving> mixed = c.acks(answers);
        std::vector<arriving> const more = c.syns(50);
        mixed.insert(mixed.begin() + static_cast<std::ptrdiff_t>(mixed.size() / 2), more.begin(), more.end());
        REQUIRE(through(*bursts, mixed, 100, now) == through(*alone, mixed, 1, now));
    }
    CHECK(bursts->counters().dropped == alone->counters().dropped);
    CHECK(bursts->counters().cookies_sent == alone->counters().cookies_sent);
    CHECK(bursts->counters().cookies_valid == alone->counters().cookies_valid);
    CHECK(bursts->counters().cookies_invalid == alone->counters().cookies_invalid);
    CHECK(bursts->flows_now() == alone->flows_now());
    CHECK(bursts->counters().cookies_sent > 1000);
    CHECK(bursts->counters().cookies_valid > 100);
    if (config.guard.method == guard_method::splice) CHECK(bursts->counters().cookies_invalid > 100);
}

}  // namespace

TEST_CASE("SYNs and ACKs of a burst are answered as each alone, challenged always, by services' marks, and by either method") {
    engine_config config = guarded();
    SUBCASE("always") {}
    SUBCASE("always, the proven exempt") { config.guard.exempt = 30'000; }
    SUBCASE("backends learned and configured") { config.splice.backends = {{ip_address::v4(0xc6336450), 80, {.mss = 900, .sack = known::no}}}; }
    SUBCASE("challenge_reset") { config.guard.method = guard_method::challenge_reset; }
    SUBCASE("deferred, invalid ACKs refused") {
        config.splice.defer = true;
        config.splice.invalid_ack = invalid_ack_policy::reset;
    }
    check_equal(config);
}

TEST_CASE("a TCP packet that is clearly accepted has no reason to be refused") {
    split_mix64 random(3);
    byte_string bytes = ethernet(tcp_packet(ip4{}, {}));
    packet_view const view = parse<link_type::ethernet>(byte_span(bytes));
    std::size_t accepted = 0;
    auto const agree = [&](auto const& tuple) {
        if (!detail::clearly_accepted(view, tuple)) return;
        ++accepted;
        REQUIRE(detail::refusal_of(view, ip_protocol::tcp, tuple) == drop_reason::none);
    };
    for (std::uint32_t first = 0; first < 256; ++first)
        for (std::uint32_t second = 0; second < 256; ++second)
            agree(ipv4_tuple{first << 24 | random.below(3), second << 24 | random.below(3), 1, 2});
    CHECK(accepted > 40'000);
    for (int round = 0; round < 100'000; ++round) {
        ipv6_tuple t{{}, {}, 1, 2};
        for (ipv6_bytes* const address : {&t.source, &t.destination}) {
            (*address)[0] = static_cast<std::uint8_t>(random.below(2) ? random() : 0);
            for (std::size_t at = 10; at < 16; ++at) (*address)[at] = static_cast<std::uint8_t>(random.below(2) ? 0xff : random.below(2));
        }
        agree(t);
    }
    bytes[22] = 0;  // the last hop
    CHECK_FALSE(detail::clearly_accepted(view, ipv4_tuple{0x0a00'0001, 0x0a00'0002, 1, 2}));
}

TEST_CASE("a usual frame's key and checksum verdict, read at fixed places, are those read by the layout") {
    split_mix64 random(9);
    for (int round = 0; round < 2000; ++round) {
        byte_string four = ethernet(tcp_packet(ip4{}, {})), six = ethernet(tcp_packet(ip6{}, {}));
        for (std::size_t at = 26; at < 38; ++at) four[at] = static_cast<std::uint8_t>(random());
        for (std::size_t at = 22; at < 58; ++at) six[at] = static_cast<std::uint8_t>(random());
        packet_view view;
        REQUIRE(parse_usual(byte_span(four), four.size(), view));
        CHECK(detail::usual_tcp_key<std::uint32_t>(four.data() + 14) == detail::key_of<std::uint32_t>(view, 0));
        CHECK(detail::fixed_header_sum_good(four.data() + 14) == (verify_ipv4_header(view) != checksum_verdict::bad));
        REQUIRE(parse_usual_v6(byte_span(six), six.size(), view));
        CHECK(detail::usual_tcp_key<ipv6_bytes>(six.data() + 14) == detail::key_of<ipv6_bytes>(view, 0));
    }
    byte_string good = ethernet(tcp_packet(ip4{}, {}));
    CHECK(detail::fixed_header_sum_good(good.data() + 14));
}
