// SPDX-License-Identifier: BSL-1.0
// A TCP conversation through an engine, plain or spliced, told in offsets: whatever passes must arrive in its receiver's own numbers.
#pragma once

#include "tests/support/splice.hpp"

#include <halfproxy/core/random.hpp>

#include <optional>
#include <string>
#include <vector>

namespace halfproxy {
inline doctest::String toString(std::optional<tcp_state> const& s) { return s ? toString(*s) : "no flow"; }
}  // namespace halfproxy

namespace halfproxy::test {

/// The family, how the flow comes about, and the numbers from which both ends count.
struct world {
    unsigned version;
    bool spliced;
    std::uint32_t client_isn;
    std::uint32_t server_isn;
};

inline doctest::String toString(world const& w) {
    return ("IPv" + std::to_string(w.version) + (w.spliced ? " spliced " : " plain ") + std::to_string(w.client_isn) + " " +
            std::to_string(w.server_isn))
        .c_str();
}

/// Both families, ISNs at every corner of the number space and two anywhere: numbers wrap in either space.
inline std::vector<world> worlds(bool spliced) {
    split_mix64 random(20261123);
    std::vector<world> all;
    for (unsigned version : {4u, 6u}) {
        for (auto const& [client, server] : {std::pair{0u, 0x7fff'ffffu}, {0x7fff'ffffu, 0xffff'ffffu}, {0xffff'ffffu, 0u}, {0xffff'f800u, 0x7fff'fc00u}})
            all.push_back({version, spliced, client, server});
        all.push_back({version, spliced, static_cast<std::uint32_t>(random()), static_cast<std::uint32_t>(random())});
    }
    return all;
}
inline std::vector<world> plain_worlds() { return worlds(false); }
inline std::vector<world> spliced_worlds() { return worlds(true); }
inline std::vector<world> every_world() {
    std::vector<world> all = plain_worlds();
    for (world const& w : spliced_worlds()) all.push_back(w);
    return all;
}

[[nodiscard]] inline segment with_flags(segment s, unsigned f) {
    s.flags = f;
    return s;
}
[[nodiscard]] inline segment fin(segment s) { return with_flags(std::move(s), flags::fin | flags::ack); }
[[nodiscard]] inline segment rst(segment s) { return with_flags(std::move(s), flags::rst | flags::ack); }

class conversation {
  public:
    explicit conversation(world const& w, engine_config const& config = guarded()) : line(in_mode(config, w), family_of(w)), spliced(w.spliced) {
        hands.client.isn = w.client_isn;
        hands.server.isn = hands.cookie = w.server_isn;  // until a cookie stands between them
    }
    conversation(conversation const&) = delete;
    conversation& operator=(conversation const&) = delete;

    timeline<> line;
    handshake_of<> hands{line};
    bool spliced;

    // What either end sends, in offsets from the first byte behind its SYN.
    [[nodiscard]] segment client(std::uint32_t sent, std::uint32_t received, std::size_t bytes = 0, unsigned window = 502) const {
        return hands.from_client(sent, received, filled(bytes), window);
    }
    [[nodiscard]] segment server(std::uint32_t sent, std::uint32_t received, std::size_t bytes = 0, unsigned window = 510) const {
        return hands.from_server(sent, received, filled(bytes), window);
    }
    /// Without options: neither window scale nor SACK nor timestamps.
    void offer_nothing() {
        hands.client = {.isn = hands.client.isn, .mss = {}, .scale = {}, .sack = false, .timestamps = false};
        hands.server = {.isn = hands.server.isn, .mss = {}, .scale = {}, .sack = false, .timestamps = false};
    }

    // The handshake, at once or step by step (plain).
    void syn() { client_passes(syn_of(hands.client)); }
    void syn_ack() {
        hands.cookie_clock = hands.server.clock;
        hands.with_timestamps = hands.client.timestamps && hands.server.timestamps;
        server_passes(hands.syn_ack());
    }
    void third_ack() { client_passes(hands.third_ack()); }
    void open() {
        if (spliced) {
            hands.all();
            return;
        }
        syn();
        syn_ack();
        third_ack();
        REQUIRE(state() == tcp_state::established);
    }

    /// Passes, and arrives as the server knows it.
    void client_passes(segment const& s) {
        outcome const o = line.client_sends(s);
        REQUIRE(o.reason == drop_reason::none);
        REQUIRE(o.fate == verdict::forward);
        REQUIRE(o.packet);
        CHECK(o.packet->exit == side::inside);
        CHECK(o.beside.empty());
        segment const& got = o.packet->tcp;
        bool const acknowledges = (s.flags & flags::ack) != 0;
        check_same(got, s);
        CHECK(got.seq == s.seq);
        CHECK(got.ack == (acknowledges ? s.ack - hands.shift() : s.ack));
        REQUIRE(got.sack.size() == s.sack.size());
        for (std::size_t i = 0; i < s.sack.size(); ++i) {
            CHECK(got.sack[i].first == s.sack[i].first - hands.shift());
            CHECK(got.sack[i].second == s.sack[i].second - hands.shift());
        }
    }

    /// Passes, and arrives as the client knows it.
    void server_passes(segment const& s) {
        outcome const o = line.server_sends(s);
        REQUIRE(o.reason == drop_reason::none);
        REQUIRE(o.fate == verdict::forward);
        REQUIRE(o.packet);
        CHECK(o.packet->exit == side::outside);
        CHECK(o.beside.empty());
        check_same(o.packet->tcp, s);
        CHECK(o.packet->tcp.seq == s.seq + hands.shift());
        CHECK(o.packet->tcp.ack == s.ack);
        CHECK(o.packet->tcp.sack == s.sack);
    }

    void client_dropped(segment const& s, drop_reason reason) { check_dropped(line.client_sends(s), reason); }
    void server_dropped(segment const& s, drop_reason reason) { check_dropped(line.server_sends(s), reason); }

    /// Of the only flow there is; nothing when there is none.
    [[nodiscard]] std::optional<tcp_state> state() {
        std::optional<tcp_state> found;
        line.proxy().for_each_flow([&](auto const& f) { found = f.tcp.state; });
        REQUIRE(line.proxy().flows_now() == (found ? 1u : 0u));
        return found;
    }
    [[nodiscard]] bool alive() { return line.proxy().flows_now() != 0; }
    [[nodiscard]] std::uint64_t drops() const { return line.counters().dropped_total(); }

  private:
    static engine_config in_mode(engine_config config, world const& w) {
        config.guard.mode = w.spliced ? guard_mode::always : guard_mode::off;
        return config;
    }
    static endpoints family_of(world const& w) {
        endpoints e;
        e.version = w.version;
        return e;
    }
    static void check_same(segment const& got, segment const& sent) {
        CHECK(got.flags == sent.flags);
        CHECK(got.payload == sent.payload);
        CHECK(got.mss == sent.mss);
        CHECK(got.scale == sent.scale);
        CHECK(got.timestamps.has_value() == sent.timestamps.has_value());
    }
    static void check_dropped(outcome const& o, drop_reason reason) {
        CHECK(o.fate == verdict::drop);
        CHECK(o.reason == reason);
        CHECK(o.beside.empty());
    }
};

}  // namespace halfproxy::test
