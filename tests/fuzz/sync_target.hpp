// SPDX-License-Identifier: BSL-1.0
// Any bytes as what another half proxy says, authenticated: frames, and flows that an engine with address translation is told of.
#pragma once

#include "tests/support/sync_events.hpp"

#include <halfproxy/engine/address_plan.hpp>

#include <array>
#include <chrono>
#include <memory>

namespace halfproxy::test {

/// The bytes as the events of a frame. What is read is written again, to the same bytes.
inline char const* fuzz_sync_frame(byte_view bytes) {
    constexpr siphash_key key{1, 2};
    std::size_t const most = longest_sync_frame - shortest_sync_frame;
    byte_view const said = bytes.first(std::min(bytes.size(), most));
    for (std::uint16_t count = 0; count < 4; ++count) {
        byte_string frame(shortest_sync_frame + said.size());
        sync_writer head(frame, {.sender = 1, .receiver = 2, .number = 3});
        static_cast<void>(head.finish(key));
        frame[sync_head_bytes - 1] = static_cast<std::uint8_t>(count);
        std::copy(said.begin(), said.end(), frame.begin() + sync_head_bytes);
        frame = sealed_again(frame, key);
        sync_reading const r = read_sync_frame(frame, key);
        if (r.fault != sync_fault::none && r.fault != sync_fault::malformed) return "a frame with the right MAC is read, or malformed";
        if (r.fault != sync_fault::none) continue;
        std::vector<told_event> events;
        if (!visit_sync_events(r.events, r.head.events, collect_events{events})) return "what was read can be visited";
        if (events.size() != count) return "as many events as announced";
        byte_string again(frame.size());
        sync_writer w(again, r.head);
        for (told_event const& e : events) {
            bool const fits = std::visit([&w]<class Event>(Event const& what) {
                if constexpr (std::is_same_v<Event, caught_up_mark>)
                    return w.caught_up();
                else if constexpr (requires { what.state; })
                    return w.tell(what.kind, what.state);
                else
                    return w.remove(what);
            }, e);
            if (!fits) return "what was read fits where it came from";
        }
        if (w.finish(key) != frame.size() || again != frame) return "what is read is written the same";
    }
    return nullptr;
}

/// Flows told, told again and forgotten, of few hosts with few ports, so that they stand in each other's way.
class adoption_play {
  public:
    explicit adoption_play(byte_view bytes) : bytes_(bytes), engine_(config(), nat_policies_of()) {}

    char const* run() {
        while (broken_ == nullptr && at_ < bytes_.size()) step();
        for (std::uint32_t n = 0; n < engine_.flow_limit<std::uint32_t>(); ++n) engine_.forget<std::uint32_t>(n, now_);
        expect(engine_.flows_now() == 0, "every flow can be forgotten");
        expect(engine_.handshakes_now() == 0, "and gives back its handshake");
        expect(held() == 0, "and its port");
        expect(engine_.policies().addresses.bindings<std::uint32_t>().size() == 0, "and its mapping");
        return broken_;
    }

    std::array<std::uint64_t, adoption_count> became{};

  private:
    using policies_type = policies<admit_by_guard, address_plan, no_observer>;

    static engine_config config() {
        engine_config c;
        c.limits = {4, 1, 8};
        c.limits.fragment_datagrams = c.limits.fragments_waiting = 1;
        c.splice.held_segments = c.splice.learned_servers = 1;
        c.guard.mode = guard_mode::off;
        return c;
    }
    static policies_type nat_policies_of() {
        nat_config nat;
        snat_rule rule;
        rule.from = {ip_address::v4(0x0a000000), 24};
        rule.pool = {{ip_address::v4(0xcb007100), 31}};
        rule.ports.ports = {2000, 2003};
        nat.snat = {rule};
        nat.linger = {0, 0, 0, 0};
        nat.bindings_v4 = 2;
        return {{}, address_plan(nat, config().limits), {}};
    }

    unsigned next() noexcept { return at_ < bytes_.size() ? bytes_[at_++] : 0; }
    void expect(bool holds, char const* what) noexcept {
        if (!holds && broken_ == nullptr) broken_ = what;
    }
    std::uint64_t held() {
        std::uint64_t sum = 0;
        engine_.policies().addresses.for_each_pool([&](std::uint32_t, std::uint8_t, auto const& pool) { sum += pool.held(); });
        return sum;
    }

    flow_state<std::uint32_t> state() noexcept {
        flow_state<std::uint32_t> s;
        unsigned const a = next(), b = next(), c = next(), d = next();
        s.key = {{0x0a000000u + (a & 3u), 0xc6336400u + (a >> 2 & 1u), static_cast<std::uint16_t>(4000 + (a >> 3 & 1u)), 80}, 0,
                 static_cast<std::uint8_t>((a & 0x10u) != 0 ? 6 : 17), 0};
        s.server_tuple = s.key.tuple;
        s.client_side = (a & 0x20u) != 0 ? side::outside : side::inside;
        if ((b & 1u) != 0) {
            s.server_tuple.source = 0xcb007100u + (b >> 1 & 3u);
            s.server_tuple.source_port = static_cast<std::uint16_t>(1999 + (b >> 3 & 7u));
        }
        if ((b & 0x40u) != 0) s.claims.source = {true, (b & 0x80u) != 0, static_cast<std::uint16_t>(c & 1u)};
        s.claims.destination = {(c & 2u) != 0, false, 0};
        s.hairpin = (c & 0x0cu) == 0x0cu;
        s.led = !s.hairpin && (c & 0x30u) == 0x30u && s.server_tuple == s.key.tuple;
        s.spliced = s.key.protocol == 6 && !s.hairpin && (d & 1u) != 0;
        s.mends = s.spliced && (d & 2u) != 0;
        s.tcp.state = static_cast<tcp_state>(3 + (d >> 2 & 3u));
        if (s.key.protocol != 6) s.tcp = {};
        if (s.spliced) s.shift = {d, a};
        s.idle_ms = (d >> 4) * 100u;
        return s;
    }

    void step() {
        unsigned const what = next();
        if (what < 16) {
            now_ += std::chrono::milliseconds(1 << what);
            outbox out(outbox_per_advance);
            return engine_.advance(now_, out);
        }
        if (what < 48) return engine_.forget<std::uint32_t>(what % 8, now_);
        flow_state<std::uint32_t> const told = state();
        std::uint64_t const ports = held();
        std::uint32_t const flows = engine_.flows_now();
        adoption_result const r = engine_.adopt(told, now_);
        ++became[static_cast<std::size_t>(r.what)];
        if (r.what > adoption::lives_here && r.what != adoption::table_full)
            expect(engine_.flows_now() <= flows && held() <= ports, "what is refused takes nothing");
        if (r.what > adoption::refreshed) return;
        auto again = engine_.state_of<std::uint32_t>(r.number);
        expect(again.has_value(), "what is adopted is there");
        if (!again) return;
        again->idle_ms = told.idle_ms;
        again->age_ms = told.age_ms;
        if (r.what == adoption::refreshed) again->claims = told.claims;  // its own, as it was adopted
        expect(*again == told, "and told as it was");
        expect(engine_.find_flow(told.key) == r.number, "and found by its client's tuple");
    }

    byte_view bytes_;
    std::size_t at_ = 0;
    engine<policies_type> engine_;
    time_point now_{std::chrono::seconds(1)};
    char const* broken_ = nullptr;
};

inline char const* fuzz_adoption(byte_view bytes) { return adoption_play(bytes).run(); }

}  // namespace halfproxy::test
