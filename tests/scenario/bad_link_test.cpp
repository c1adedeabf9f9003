// SPDX-License-Identifier: BSL-1.0
// Two correct TCP ends with a guarded engine between them, over links that lose, double and reorder: every byte arrives, and is the right one.
#include "tests/support/splice.hpp"
#include "tests/support/tcp_end.hpp"

#include <rapidcheck.h>

#include <string>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

/// The byte at this offset of a side's stream.
std::uint8_t content(bool of_client, std::uint32_t offset) { return static_cast<std::uint8_t>(offset * 31 + (offset >> 8) + (of_client ? 7 : 0)); }

segment on_the_wire(end_point const& from, tcp_segment const& s) {
    segment out{.seq = s.seq.value, .ack = s.ack.value, .flags = s.flags, .window = s.window};
    if ((s.flags & tcp_flag::syn) != 0) out.mss = 1460;
    if (s.has_window_scale) out.scale = s.window_scale;
    out.sack_permitted = s.sack_permitted;
    if (s.has_sack) out.sack = {{s.sack_right.value - 1, s.sack_right.value}};
    std::uint32_t const first = s.seq.value - from.isn;
    for (std::uint32_t i = 0; i < s.payload_bytes; ++i) out.payload.push_back(content(from.client, first + i));
    return out;
}

struct journey {
    end_point client, server;
    link_faults faults;
    split_mix64 random;
    timeline<> line;
    std::deque<segment> to_client{}, to_server{};  ///< behind the engine
    bool right = true;                             ///< every byte so far

    tcp_segment read(bool at_client, segment const& w) {
        tcp_segment s;
        s.seq = {w.seq};
        s.ack = {w.ack};
        s.flags = static_cast<std::uint8_t>(w.flags);
        s.window = static_cast<std::uint16_t>(w.window);
        s.payload_bytes = static_cast<std::uint32_t>(w.payload.size());
        s.has_window_scale = w.scale.has_value();
        s.window_scale = static_cast<std::uint8_t>(w.scale.value_or(0));
        s.sack_permitted = w.sack_permitted;
        end_point const& at = at_client ? client : server;
        end_point const& from = at_client ? server : client;
        for (std::uint32_t i = 0; i < s.payload_bytes; ++i) right = right && w.payload[i] == content(!at_client, w.seq - at.peer_isn + i);
        for (auto const& [left, edge] : w.sack) right = right && edge - at.isn <= at.highest && left + 1 == edge;
        right = right && (at_client || w.seq - from.isn <= from.highest);
        return s;
    }

    void leaves(decoded const& d) {
        if (random.below(256) < faults.lose) return;
        auto& on = d.exit == side::outside ? to_client : to_server;
        on.push_back(d.tcp);
        if (random.below(256) < faults.duplicate) on.push_back(d.tcp);
    }

    void sends(end_point const& from, std::optional<tcp_segment> const& s) {
        if (!s || random.below(256) < faults.lose) return;
        segment const w = on_the_wire(from, *s);
        outcome const o = from.client ? line.client_sends(w) : line.server_sends(w);
        if (o.packet) leaves(*o.packet);
        for (decoded const& d : o.beside) leaves(d);
    }

    void arrives(end_point& at, std::deque<segment>& on) {
        if (on.empty()) return;
        std::size_t const near = random.below(256) < faults.reorder ? random.below(static_cast<std::uint32_t>(std::min<std::size_t>(on.size(), 8))) : 0;
        segment const w = on[near];
        on.erase(on.begin() + static_cast<std::ptrdiff_t>(near));
        sends(at, at.hear(read(at.client, w)));
    }

    bool operator()() {
        for (int step = 0; step < 30'000 && right; ++step) {
            if (client.done() && server.done()) return true;
            line.after(random.below(20));
            for (decoded const& d : line.sent_by_timers()) leaves(d);
            switch (random.below(4)) {
                case 0: sends(client, client.act(random)); break;
                case 1: sends(server, server.act(random)); break;
                case 2: arrives(server, to_server); break;
                default: arrives(client, to_client);
            }
        }
        return false;
    }
};

void every_byte_arrives(bool bad_link) {
    int runs = 0, delivered_runs = 0;
    auto const property = [&](std::uint64_t seed) {
        split_mix64 random(seed);
        constexpr std::uint32_t corners[] = {0, 0x7fff'ffff, 0xffff'ffff, 0xffff'fc00};
        auto const isn = [&] { return random.below(2) ? corners[random.below(4)] : static_cast<std::uint32_t>(random()); };
        auto const scale = [&]() -> std::optional<unsigned> { return random.below(3) == 0 ? std::nullopt : std::optional(random.below(15)); };
        endpoints ends;
        ends.version = random.below(2) ? 4 : 6;
        ends.zone = random.below(2) ? 0 : 9;
        engine_config config = guarded(random.below(4) == 0 ? guard_mode::off : guard_mode::always);
        if (random.below(2)) config.tracking.strictness = strictness::strict;
        link_faults const faults{bad_link ? random.below(40) : 0, bad_link ? random.below(40) : 0, bad_link ? random.below(100) : 0};
        end_point const client{true, isn(), scale(), random.below(2) == 0, 500 + random.below(90'000), 1 + random.below(4000)};
        end_point const server{false, isn(), scale(), random.below(2) == 0, 500 + random.below(90'000), random.below(4000)};
        journey j{client, server, faults, split_mix64(random()), timeline<>(config, ends)};
        bool const delivered = j();
        ++runs;
        delivered_runs += delivered;
        RC_LOG() << "client " << j.client.una << "/" << j.client.to_send << " state " << int(j.client.state) << ", server " << j.server.una << "/"
                 << j.server.to_send << " state " << int(j.server.state) << "\n";
        for (std::size_t i = 1; i < drop_reason_count; ++i)
            if (j.line.counters().dropped[i] != 0) RC_LOG() << to_string(static_cast<drop_reason>(i)) << ": " << j.line.counters().dropped[i] << "\n";
        RC_ASSERT(j.right);
        for (drop_reason r : {drop_reason::ack_above_sent, drop_reason::l4_checksum, drop_reason::ip_checksum, drop_reason::seq_above_window})
            RC_ASSERT(j.line.dropped(r) == 0u);
        RC_ASSERT(delivered || bad_link);
    };
    CHECK(rc::check(property));
    CHECK(delivered_runs * 4 >= runs * 3);
}

}  // namespace

TEST_CASE("over a good link every byte arrives through a splice, whatever either end offers") { every_byte_arrives(false); }
TEST_CASE("over a bad link no wrong byte or number arrives, and nearly every connection is completed") { every_byte_arrives(true); }
