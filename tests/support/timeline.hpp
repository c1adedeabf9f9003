// SPDX-License-Identifier: BSL-1.0
// Timelines through an engine in virtual time: at so many ms this side sends that packet; here is what became of it and what the engine sent itself.
#pragma once

#include "tests/support/packets.hpp"

#include <halfproxy/engine/engine.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace halfproxy {
inline doctest::String toString(drop_reason r) { return std::string(to_string(r)).c_str(); }
inline doctest::String toString(verdict v) {
    constexpr char const* names[] = {"forward", "reply", "hold", "drop"};
    return names[static_cast<std::size_t>(v)];
}
inline doctest::String toString(tcp_state s) {
    constexpr char const* names[] = {"syn_sent",    "simultaneous", "syn_received", "established",
                                     "half_closed", "last_ack",     "time_wait",    "closed"};
    return names[static_cast<std::size_t>(s)];
}
}  // namespace halfproxy

namespace halfproxy::test {

namespace flags {
inline constexpr unsigned fin = 1, syn = 2, rst = 4, psh = 8, ack = 16, urg = 32, ece = 64, cwr = 128;
}

/// A TCP segment as a test says it, and as it is read back.
struct segment {
    std::uint32_t seq = 0;
    std::uint32_t ack = 0;
    unsigned flags = 0;
    unsigned window = 0;
    std::optional<unsigned> mss{};
    std::optional<unsigned> scale{};
    bool sack_permitted = false;
    std::optional<std::pair<std::uint32_t, std::uint32_t>> timestamps{};
    std::vector<std::pair<std::uint32_t, std::uint32_t>> sack{};
    byte_string payload{};
    byte_string raw_options{};  ///< behind the others when built; not read back
};

/// Options in Linux's order.
inline byte_string options_of(segment const& s) {
    byte_string out;
    if (s.mss) out = out + u8(2) + u8(4) + u16(*s.mss);
    if (s.sack_permitted) out = out + u8(4) + u8(2);
    if (s.timestamps) {
        if (!s.sack_permitted) out = out + u8(1) + u8(1);
        out = out + u8(8) + u8(10) + u32(s.timestamps->first) + u32(s.timestamps->second);
    }
    if (s.scale) out = out + u8(1) + u8(3) + u8(3) + u8(*s.scale);
    if (!s.sack.empty()) {
        out = out + u8(1) + u8(1) + u8(5) + u8(2 + 8 * static_cast<unsigned>(s.sack.size()));
        for (auto const& [left, right] : s.sack) out = out + u32(left) + u32(right);
    }
    return out + s.raw_options;
}

inline std::uint32_t get16(byte_view b, std::size_t at) { return std::uint32_t{b[at]} << 8 | b[at + 1]; }
inline std::uint32_t get32(byte_view b, std::size_t at) { return get16(b, at) << 16 | get16(b, at + 2); }

/// A frame read back by a decoder of its own. Every checksum is recomputed word by word.
struct decoded {
    side exit = side::outside;
    std::uint64_t at_ms = 0;
    byte_string bytes;
    byte_string link;      ///< before the IP header
    unsigned version = 0;
    unsigned protocol = 0;
    unsigned hop_limit = 0;
    byte_string source, destination;
    unsigned source_port = 0, destination_port = 0;  ///< of ICMP: type and code
    segment tcp;
    byte_string transport;  ///< header and payload; of a fragment: what it carries
    bool is_fragment = false, more_fragments = false;
    std::size_t fragment_offset = 0;  ///< in bytes
    bool network_checksum_good = false;
    bool transport_checksum_good = false;
};

inline void read_segment(decoded& d) {
    byte_string const& t = d.transport;
    REQUIRE(t.size() >= 20);
    std::size_t const header = std::size_t{t[12]} / 16 * 4;
    REQUIRE(header >= 20);
    REQUIRE(header <= t.size());
    segment& s = d.tcp;
    s.seq = get32(t, 4);
    s.ack = get32(t, 8);
    s.flags = t[13];
    s.window = get16(t, 14);
    for (std::size_t at = 20; at < header && t[at] != 0;) {
        if (t[at] == 1) {
            ++at;
            continue;
        }
        REQUIRE(at + 1 < header);
        std::size_t const length = t[at + 1];
        REQUIRE(length >= 2);
        REQUIRE(at + length <= header);
        switch (t[at]) {
            case 2: s.mss = get16(t, at + 2); break;
            case 3: s.scale = t[at + 2]; break;
            case 4: s.sack_permitted = true; break;
            case 5:
                for (std::size_t b = 2; b < length; b += 8) s.sack.emplace_back(get32(t, at + b), get32(t, at + b + 4));
                break;
            case 8: s.timestamps = {get32(t, at + 2), get32(t, at + 6)}; break;
            default: break;
        }
        at += length;
    }
    s.payload.assign(t.begin() + static_cast<std::ptrdiff_t>(header), t.end());
}

inline void note_fragment(decoded& d, std::uint32_t units, bool more) {
    d.fragment_offset = std::size_t{units} * 8;
    d.more_fragments = more;
    d.is_fragment = more || units != 0;
}

/// Behind an IPv6 header: where the transport header begins, hop-by-hop and destination options, routing and fragment headers skipped; of a
/// fragment, where its content does.
inline std::size_t skip_extensions(byte_view ip, decoded& d) {
    std::size_t at = 40;
    unsigned& protocol = d.protocol;
    while (!d.is_fragment && (protocol == 0 || protocol == 43 || protocol == 44 || protocol == 60)) {
        REQUIRE(at + 8 <= ip.size());
        std::size_t const length = protocol == 44 ? 8 : 8 + std::size_t{ip[at + 1]} * 8;
        if (protocol == 44) note_fragment(d, get16(ip, at + 2) >> 3, (ip[at + 3] & 1) != 0);
        protocol = ip[at];
        at += length;
    }
    REQUIRE(at <= ip.size());
    return at;
}

/// Where the link header's type stands, behind all tags.
inline std::size_t type_offset(byte_view frame) {
    std::size_t at = 12;
    while (at + 6 <= frame.size() && (get16(frame, at) == 0x8100 || get16(frame, at) == 0x88a8)) at += 4;
    return at;
}

/// Of an Ethernet frame with IP inside, whole.
inline decoded decode(byte_view frame, side exit = side::outside, std::uint64_t at_ms = 0) {
    decoded d;
    d.exit = exit;
    d.at_ms = at_ms;
    d.bytes.assign(frame.begin(), frame.end());
    REQUIRE(frame.size() >= 34);
    std::size_t const at = type_offset(frame) + 2;
    d.link.assign(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(at));
    byte_view ip = frame.subspan(at);
    d.version = ip[0] >> 4;
    std::size_t const total = d.version == 4 ? get16(ip, 2) : 40 + get16(ip, 4);
    REQUIRE(total <= ip.size());
    ip = ip.first(total);
    std::size_t const address = d.version == 4 ? 4 : 16;
    std::size_t const source_at = d.version == 4 ? 12 : 8;
    d.protocol = ip[d.version == 4 ? 9 : 6];
    if (d.version == 4) note_fragment(d, get16(ip, 6) & 0x1fff, (ip[6] & 0x20) != 0);
    std::size_t const header = d.version == 4 ? std::size_t{ip[0]} % 16 * 4 : skip_extensions(ip, d);
    d.hop_limit = ip[d.version == 4 ? 8 : 7];
    auto const part = [&ip](std::size_t from, std::size_t n) {
        byte_view const v = ip.subspan(from, n);
        return byte_string(v.begin(), v.end());
    };
    d.source = part(source_at, address);
    d.destination = part(source_at + address, address);
    d.transport = part(header, total - header);
    if (d.transport.size() >= 4) {
        d.source_port = get16(d.transport, 0);
        d.destination_port = get16(d.transport, 2);
    }
    d.network_checksum_good = d.version == 6 || naive_checksum(ip.first(header)) == 0;
    byte_string pseudo = d.source + d.destination + u32(static_cast<std::uint32_t>(d.transport.size())) + u32(d.protocol);
    if (d.protocol == 1) pseudo.clear();
    bool const none = d.protocol == 17 && d.version == 4 && get16(d.transport, 6) == 0;
    d.transport_checksum_good = none || naive_checksum(pseudo + d.transport) == 0;
    if (d.protocol == 6 && d.fragment_offset == 0) read_segment(d);
    return d;
}

inline byte_string filled(std::size_t n, unsigned with = 'x') { return byte_string(n, static_cast<std::uint8_t>(with)); }

/// What became of one packet: the verdict, the packet as it leaves, and what was originated beside it.
struct outcome {
    verdict fate = verdict::drop;
    drop_reason reason = drop_reason::none;
    std::optional<decoded> packet{};
    std::vector<decoded> beside{};
};

/// The addresses of a timeline. `zone` 0 is untagged.
struct endpoints {
    unsigned version = 4;
    unsigned client_port = 40000;
    unsigned server_port = 80;
    unsigned zone = 0;
    std::uint32_t client4 = 0xc000020a;  // 192.0.2.10
    std::uint32_t server4 = 0xc6336450;  // 198.51.100.80
    byte_string client6 = ip6{}.source;
    byte_string server6 = ip6{}.destination;
};

/// An IP datagram from one end to the other, with right checksums. `protocol` 6 and 17 carry their checksum at the usual place.
inline byte_string datagram_of(endpoints const& e, bool from_client, unsigned protocol, byte_string const& transport,
                               std::size_t checksum_at) {
    if (e.version == 4) {
        ip4 ip;
        ip.source = from_client ? e.client4 : e.server4;
        ip.destination = from_client ? e.server4 : e.client4;
        ip.protocol = protocol;
        byte_string body = transport;
        if (protocol == 1) {
            put16(body, checksum_at, 0);
            put16(body, checksum_at, naive_checksum(body));
            return encode(ip, body);
        }
        return encode(ip, sealed(ip, body, checksum_at));
    }
    ip6 ip;
    ip.source = from_client ? e.client6 : e.server6;
    ip.destination = from_client ? e.server6 : e.client6;
    ip.protocol = protocol;
    return encode(ip, sealed(ip, transport, checksum_at));
}

inline byte_string tcp_datagram(endpoints const& e, bool from_client, segment const& s) {
    tcp t;
    t.source_port = from_client ? e.client_port : e.server_port;
    t.destination_port = from_client ? e.server_port : e.client_port;
    t.seq = s.seq;
    t.ack = s.ack;
    t.flags = s.flags;
    t.window = s.window;
    t.options = options_of(s);
    t.payload = s.payload;
    return datagram_of(e, from_client, 6, encode(t), 16);
}

inline byte_string framed(endpoints const& e, byte_string const& datagram) {
    return e.zone == 0 ? ethernet(datagram) : ethernet(datagram, {{0x8100, e.zone}});
}

/// An engine, its clock, and what it has sent by itself. Time moves only by at().
template <class Policies = default_policies>
class timeline {
  public:
    explicit timeline(engine_config const& config, endpoints const& e = {}, Policies policies = {})
        : ends(e), engine_(std::make_unique<engine<Policies>>(config, std::move(policies))) {}

    endpoints ends;

    [[nodiscard]] engine<Policies>& proxy() noexcept { return *engine_; }
    [[nodiscard]] engine_counters const& counters() const noexcept { return engine_->counters(); }
    [[nodiscard]] std::uint64_t dropped(drop_reason r) const { return counters().dropped[static_cast<std::size_t>(r)]; }
    [[nodiscard]] std::uint64_t now_ms() const noexcept { return now_ms_; }

    /// Lets time pass up to `ms` from the start, running every timer at its deadline.
    timeline& at(std::uint64_t ms) {
        while (true) {
            auto const next = engine_->next_deadline();
            if (!next || *next > time_of(ms)) break;
            advance(*next);
        }
        if (ms > now_ms_) advance(time_of(ms));
        return *this;
    }
    timeline& after(std::uint64_t ms) { return at(now_ms_ + ms); }

    /// What timers sent since the last call.
    std::vector<decoded> sent_by_timers() { return std::exchange(by_timers_, {}); }

    outcome client_sends(segment const& s) { return sends(side::outside, framed(ends, tcp_datagram(ends, true, s))); }
    outcome server_sends(segment const& s) { return sends(side::inside, framed(ends, tcp_datagram(ends, false, s))); }

    /// Any frame through either port. `offload` as the device would say it.
    outcome sends(side arrival, byte_string bytes, offload_info const& offload = {}, std::size_t room = 128) {
        std::vector<byte_string> one{std::move(bytes)};
        return burst(arrival, one, offload, room).front();
    }

    /// Several frames in one call of process().
    std::vector<outcome> burst(side arrival, std::vector<byte_string>& frames, offload_info const& offload = {},
                               std::size_t room = 128) {
        std::vector<frame> in(frames.size());
        for (std::size_t i = 0; i < frames.size(); ++i) {
            auto const length = static_cast<std::uint32_t>(frames[i].size());
            frames[i].resize(length + room);
            frames[i].shrink_to_fit();
            in[i].data = frames[i].data();
            in[i].length = in[i].wire_length = length;
            in[i].capacity = static_cast<std::uint32_t>(length + room);
            in[i].arrival = arrival;
            in[i].offload = offload;
        }
        out_.clear();
        engine_->process(in, time_of(now_ms_), out_);
        std::vector<outcome> results(in.size());
        for (std::size_t i = 0; i < in.size(); ++i) results[i] = outcome_of(in[i]);
        if (!results.empty())
            for (outbox_frame const& f : out_.frames()) results.back().beside.push_back(read_back(f.bytes(), f.exit, true));
        check_counters();
        return results;
    }

    std::function<void(decoded const&)> inspect{};  ///< sees every frame that leaves

  private:
    static time_point time_of(std::uint64_t ms) { return time_point(std::chrono::milliseconds(1'000'000 + ms)); }

    void advance(time_point now) {
        out_.clear();
        now_ms_ = std::max(now_ms_, static_cast<std::uint64_t>(
                                        std::chrono::duration_cast<std::chrono::milliseconds>(now - time_of(0)).count()));
        engine_->advance(now, out_);
        for (outbox_frame const& f : out_.frames()) by_timers_.push_back(read_back(f.bytes(), f.exit, true));
        check_counters();
    }

    outcome outcome_of(frame const& f) {
        outcome o{f.outcome, f.reason, {}, {}};
        CHECK((f.outcome == verdict::drop) == (f.reason != drop_reason::none));
        if (f.outcome != verdict::forward && f.outcome != verdict::reply) return o;
        side const exit = f.outcome == verdict::forward ? other(f.arrival) : f.arrival;
        std::uint32_t const type = f.length >= 34 ? get16(f.bytes(), type_offset(f.bytes())) : 0;
        if (type == 0x0800 || type == 0x86dd) o.packet = read_back(f.bytes(), exit, f.offload.checksum != checksum_state::partial);
        return o;
    }

    decoded read_back(byte_view bytes, side exit, bool complete) {
        decoded d = decode(bytes, exit, now_ms_);
        if (verify_checksums) CHECK(d.network_checksum_good);
        if (verify_checksums && complete && checksummed(d)) CHECK(d.transport_checksum_good);
        if (inspect) inspect(d);
        return d;
    }

    static bool checksummed(decoded const& d) {
        if (d.is_fragment) return false;  // it covers the whole datagram
        return d.protocol == 6 || d.protocol == 17 || d.protocol == 1 || d.protocol == 58;
    }

    /// engine_counters' own promise, after every call.
    void check_counters() {
        engine_counters const& c = counters();
        CHECK(c.received == c.forwarded + c.replied + c.held + c.dropped_total());
        CHECK(c.flows_opened - c.flows_closed == engine_->flows_now());
        CHECK(engine_->half_open() <= engine_->flows_now());
    }

    std::unique_ptr<engine<Policies>> engine_;
    std::uint64_t now_ms_ = 0;
    outbox out_{std::max(outbox_per_packet * max_burst, outbox_per_advance)};
    std::vector<decoded> by_timers_;

  public:
    bool verify_checksums = true;  ///< off for tests that send wrong ones through
};

inline engine_config guarded(guard_mode mode = guard_mode::always) {
    engine_config c;
    c.guard.mode = mode;
    c.limits = {.flows_v4 = 256, .flows_v6 = 256, .handshakes = 64, .fragment_datagrams = 32, .fragments_waiting = 32};
    c.splice.held_segments = 16;
    c.splice.learned_servers = 16;
    for (std::size_t i = 0; i < c.secret.bytes.size(); ++i) c.secret.bytes[i] = static_cast<std::uint8_t>(17 * i + 3);
    c.seed = 0x5eed;
    return c;
}

}  // namespace halfproxy::test
