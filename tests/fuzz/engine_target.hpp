// SPDX-License-Identifier: BSL-1.0
// Any bytes as a little play of two hosts and the engine between them, and what must hold whatever they do.
#pragma once

#include <halfproxy/engine/engine.hpp>

#include "tests/support/cut_datagram.hpp"
#include "tests/support/packets.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

namespace halfproxy::test {

/// Bytes one after the other; 0 for ever when they are used up.
class script {
  public:
    explicit script(byte_view bytes) : bytes_(bytes) {}
    unsigned next() noexcept { return at_ < bytes_.size() ? bytes_[at_++] : 0; }
    [[nodiscard]] bool done() const noexcept { return at_ >= bytes_.size(); }

  private:
    byte_view bytes_;
    std::size_t at_ = 0;
};

/// An engine small enough that every table of it runs full, fed with packets whose numbers are near those the engine has shown.
class engine_play {
  public:
    explicit engine_play(script& s) : script_(s), engine_(config(s)) { numbers_.fill(1000); }

    char const* run() {
        while (broken_ == nullptr && !script_.done()) step();
        if (broken_ == nullptr) let_everything_expire();
        return broken_;
    }

    [[nodiscard]] engine_counters const& counters() const noexcept { return engine_.counters(); }

  private:
    static engine_config config(script& s) {
        unsigned const a = s.next(), b = s.next();
        engine_config c;
        c.guard.mode = static_cast<guard_mode>(a & 3u);
        c.guard.marks.half_open_on = 3;
        c.guard.marks.half_open_off = 1;
        c.tracking.strictness = static_cast<strictness>((a >> 2 & 3u) % 3);
        c.tracking.pickup = static_cast<pickup>((a >> 4 & 3u) % 3);
        c.normalize.malformed = static_cast<malformed_policy>(a >> 6 & 1u);
        c.normalize.fragments = static_cast<fragment_policy>(a >> 7 & 1u);
        c.normalize.verify_checksums = (b & 1u) != 0;
        c.promise.timestamps = (b & 2u) != 0;
        c.promise.sack = (b & 4u) != 0;
        c.guard.method = (b & 8u) != 0 ? guard_method::challenge_reset : guard_method::splice;
        c.guard.reset_by = (b & 2u) != 0 ? reset_by::client : reset_by::proxy;
        c.guard.services = 4;
        c.guard.service_marks = {.half_open_on = 2, .half_open_off = 1, .half_open_max = 4};
        c.promise.window_scale = static_cast<std::uint8_t>(b >> 4);
        c.limits = {8, 8, 4};
        c.limits.fragment_datagrams = 3;
        c.limits.fragments_waiting = 4;
        c.limits.fragment_bytes = 128;
        c.splice.held_segments = 3;
        c.splice.held_bytes = 128;
        c.splice.learned_servers = 4;
        c.splice.invalid_ack = static_cast<invalid_ack_policy>(b >> 3 & 1u);
        return c;
    }

    void expect(bool holds, char const* what) noexcept {
        if (!holds && broken_ == nullptr) broken_ = what;
    }

    void step() {
        unsigned const kind = script_.next();
        if (kind < 24) return pass_time(kind);
        bool const v6 = (kind & 1u) != 0;
        side const from = (kind & 2u) != 0 ? side::inside : side::outside;
        byte_string bytes = v6 ? datagram(ip6{}, from, kind) : datagram(ip4{}, from, kind);
        if (kind >= 224 && kind < 240) bytes = piece_of_datagram(bytes);
        unsigned const flip = script_.next();
        bool const intact = flip < 128;
        if (!intact) bytes[script_.next() % bytes.size()] ^= static_cast<std::uint8_t>(flip);
        deliver(bytes, from, intact);
    }

    /// A fragment of it, of one of four identifications.
    byte_string piece_of_datagram(byte_string const& whole) {
        std::size_t const content = whole.size() - fragmentable_at(whole);
        std::size_t const begin = std::min(content, std::size_t{script_.next()} % 16 * 8);
        unsigned const choice = script_.next();
        bool const more = (choice & 4u) != 0;
        std::size_t const length = std::min(content - begin, more ? 8 + choice / 8 % 8 * 8 : content);
        return fragment_of(whole, begin, begin + length, more, choice & 3u);
    }

    template <class Ip>
    byte_string datagram(Ip ip, side from, unsigned kind) {
        if (from == side::inside) std::swap(ip.source, ip.destination);
        unsigned const port = 40000 + (kind >> 2 & 7u);
        if (kind >= 248) return udp_packet(ip, byte_string(script_.next()));
        tcp t;
        t.source_port = from == side::outside ? port : 80;
        t.destination_port = from == side::outside ? 80 : port;
        t.flags = script_.next();
        unsigned const choice = script_.next();
        t.seq = numbers_[choice & 7u] + near();
        t.ack = numbers_[choice >> 4 & 7u] + near();
        t.window = script_.next() * 256;
        t.payload.resize(script_.next() & 63u);
        t.options = options();
        if (kind >= 240) return icmp_packet(ip, v(ip, 3, 1), v(ip, 4, 0), quoted(ip, t));
        return tcp_packet(ip, t);
    }
    static unsigned v(ip4 const&, unsigned four, unsigned) { return four; }
    static unsigned v(ip6 const&, unsigned, unsigned six) { return six; }

    /// The packet the error speaks of went the other way.
    template <class Ip>
    static byte_string quoted(Ip ip, tcp t) {
        std::swap(ip.source, ip.destination);
        std::swap(t.source_port, t.destination_port);
        return tcp_packet(ip, t);
    }

    std::uint32_t near() {
        unsigned const delta = script_.next();
        return delta < 240 ? delta & 3u : static_cast<std::uint32_t>(1) << (delta & 31u);
    }

    byte_string options() {
        unsigned const choice = script_.next();
        byte_string out;
        if (choice & 1u) out = out + byte_string{2, 4} + u16(script_.next() * 16);
        if (choice & 2u) out = out + byte_string{3, 3} + u8(script_.next());
        if (choice & 4u) out = out + byte_string{4, 2};
        if (choice & 8u) out = out + byte_string{8, 10} + u32(numbers_[0]) + u32(numbers_[1]);
        if (choice & 16u) out = out + byte_string{5, 10} + u32(numbers_[2]) + u32(numbers_[3] + 1);
        if (choice & 32u) out = out + u8(script_.next()) + u8(script_.next());
        if (out.size() > 40) out.resize(40);
        return out;
    }

    void pass_time(unsigned power) {
        now_ += std::chrono::milliseconds(std::int64_t{1} << power);
        outbox out(outbox_per_advance);
        engine_.advance(now_, out);
        for (outbox_frame const& f : out.frames()) see(f.bytes(), true);
    }

    /// In a block of exactly the frame's capacity, so that a sanitizer sees a write beyond it.
    void deliver(byte_string const& bytes, side from, bool intact) {
        std::size_t const capacity = bytes.size() + 64;
        std::unique_ptr<std::uint8_t[]> const block(new std::uint8_t[capacity]);
        std::copy(bytes.begin(), bytes.end(), block.get());
        frame f;
        f.data = block.get();
        f.length = f.wire_length = static_cast<std::uint32_t>(bytes.size());
        f.capacity = static_cast<std::uint32_t>(capacity);
        f.arrival = from;
        f.link = link_type::raw_ip;
        outbox out(outbox_per_packet);
        engine_.process({&f, 1}, now_, out);
        expect(f.length <= f.capacity, "a frame stays within its capacity");
        expect((f.outcome == verdict::drop) == (f.reason != drop_reason::none), "a drop has a reason, nothing else has");
        if (f.outcome == verdict::forward) see(f.bytes(), intact);
        if (f.outcome == verdict::reply) see(f.bytes(), true);
        for (outbox_frame const& o : out.frames()) see(o.bytes(), true);
        check_counters();
    }

    /// A packet on its way out: its checksums are right if they were when it came.
    void see(byte_view bytes, bool checksums_good) {
        const_packet_view const view = parse<link_type::raw_ip>(bytes);
        if (!checksums_good) return;
        expect(view.layout().ip_version != 4 || verify_ipv4_header(view) == checksum_verdict::good,
               "an IPv4 header leaves with a right checksum");
        expect(verify_transport(view) != checksum_verdict::bad, "a packet leaves with a right transport checksum");
        if (!view.is_tcp()) return;
        std::rotate(numbers_.begin(), numbers_.end() - 2, numbers_.end());
        numbers_[0] = view.tcp().sequence;
        numbers_[1] = view.tcp().acknowledgment;
    }

    void check_counters() {
        engine_counters const& c = engine_.counters();
        expect(c.received == c.forwarded + c.replied + c.held + c.dropped_total(), "every packet is counted once");
        expect(c.flows_opened - c.flows_closed == engine_.flows_now(), "flows are what was opened and not closed");
        expect(engine_.flows_now() <= 16 && engine_.handshakes_now() <= 4, "tables keep their limits");
    }

    /// Every flow times out in a bounded number of steps.
    void let_everything_expire() {
        for (int i = 0; i < 20'000 && engine_.next_deadline(); ++i) {
            now_ = std::max(now_, *engine_.next_deadline());
            outbox out(outbox_per_advance);
            engine_.advance(now_, out);
        }
        expect(engine_.flows_now() == 0, "every flow ends when nothing more comes");
        expect(engine_.handshakes_now() == 0, "every handshake ends when nothing more comes");
        engine_counters const& c = engine_.counters();
        std::uint64_t waited = c.fragments_released;
        for (std::uint64_t n : c.fragments_given_up) waited += n;
        expect(c.fragments_held == waited, "every fragment that waited has left or was given up");
        check_counters();
    }

    script& script_;
    engine<> engine_;
    std::array<std::uint32_t, 8> numbers_{};
    time_point now_{std::chrono::seconds(1)};
    char const* broken_ = nullptr;
};

inline char const* fuzz_engine(byte_view bytes) {
    script s(bytes);
    return engine_play(s).run();
}

}  // namespace halfproxy::test
