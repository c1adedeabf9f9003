// SPDX-License-Identifier: BSL-1.0
// Two networks around a routed engine, in virtual time: hosts that answer when asked for their link address, and everything that left.
#pragma once

#include "tests/support/timeline.hpp"

#include <halfproxy/engine/engine.hpp>
#include <halfproxy/run/routed_engine.hpp>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace halfproxy::test {

using namespace std::chrono_literals;

/// Passes everything and counts. `answer_back` turns packets round in place, as an engine does that replies.
struct passing_engine {
    void process(std::span<frame> burst, time_point, outbox& out) noexcept {
        for (frame& f : burst) {
            ++seen;
            f.outcome = answer_back ? verdict::reply : verdict::forward;
            f.reason = drop_reason::none;
            if (!originates.empty()) out.push(originates_to, originates);
        }
    }
    void advance(time_point, outbox&) noexcept { ++advances; }
    [[nodiscard]] std::optional<time_point> next_deadline() const noexcept { return std::nullopt; }

    std::uint64_t seen = 0;
    std::uint64_t advances = 0;
    bool answer_back = false;
    byte_string originates{};
    side originates_to = side::outside;
};

inline constexpr mac_address our_outside_mac{2, 0, 0, 0, 0, 0xf1}, our_inside_mac{2, 0, 0, 0, 0, 0xf2};
inline constexpr mac_address client_mac{2, 0, 0, 0, 0, 0x0a}, server_mac{2, 0, 0, 0, 0, 0x80}, stranger_mac{2, 0, 0, 0, 0, 0x66};

inline byte_string bytes_of(mac_address const& mac) { return {mac.begin(), mac.end()}; }
inline byte_string bytes_of(ip_address const& a) { return {a.bytes.begin(), a.bytes.begin() + (a.version == 4 ? 4 : 16)}; }
inline byte_string net6(unsigned network, unsigned host) { return u8(0xfd) + u8(network) + zeros(13) + u8(host); }
inline ip_address ip6_of(unsigned network, unsigned host) {
    ip_address a{6, {}};
    byte_string const b = net6(network, host);
    std::copy(b.begin(), b.end(), a.bytes.begin());
    return a;
}

/// A frame between two link addresses. The payload's first nibble says its type, unless one is given.
inline byte_string link_frame(mac_address const& to, mac_address const& from, byte_string const& payload, unsigned type = 0) {
    if (type == 0) type = !payload.empty() && payload[0] >> 4 == 6 ? 0x86dd : 0x0800;
    return bytes_of(to) + bytes_of(from) + u16(type) + payload;
}

/// Outside 192.0.2.1/24 and fd01::1/64, inside 198.51.100.1/24 and fd02::1/64.
inline router_config two_networks() {
    router_config c;
    c.ports = {router_port{our_outside_mac, 1500}, router_port{our_inside_mac, 1500}};
    c.addresses = {{side::outside, ip_address::v4(0xc0000201), 24},
                   {side::inside, ip_address::v4(0xc6336401), 24},
                   {side::outside, ip6_of(1, 1), 64},
                   {side::inside, ip6_of(2, 1), 64}};
    return c;
}

inline ip4 to_server4() { return {}; }  // 192.0.2.10 to 198.51.100.80
inline ip6 to_server6() {
    ip6 ip;
    ip.source = net6(1, 0x10);
    ip.destination = net6(2, 0x80);
    return ip;
}

inline byte_string arp(unsigned operation, mac_address const& sender_mac, std::uint32_t sender, mac_address const& target_mac, std::uint32_t target) {
    return u16(1) + u16(0x0800) + u8(6) + u8(4) + u16(operation) + bytes_of(sender_mac) + u32(sender) + bytes_of(target_mac) + u32(target);
}

/// Neighbour discovery by hand. `mac` is the only option, if any.
struct discovery {
    unsigned type = 135;
    byte_string source = net6(1, 0x10);
    byte_string destination{};
    byte_string target = net6(1, 1);
    std::uint32_t rest = 0;
    std::optional<mac_address> mac{};
    unsigned hop_limit = 255;
    unsigned code = 0;
};
inline byte_string encode(discovery const& d) {
    ip6 ip;
    ip.source = d.source;
    ip.destination = d.destination;
    ip.protocol = 58;
    byte_string options;
    if (d.mac) options = u8(d.type == 135 ? 1 : 2) + u8(1) + bytes_of(*d.mac);
    byte_string out = encode(ip, sealed(ip, u8(d.type) + u8(d.code) + u16(0) + u32(d.rest) + d.target + options, 2));
    out[7] = static_cast<std::uint8_t>(d.hop_limit);
    return out;
}

struct left_frame {
    side exit;
    byte_string bytes;
    offload_info offload;

    [[nodiscard]] mac_address to() const { return header_at<ethernet_header>(bytes.data()).destination; }
    [[nodiscard]] mac_address from() const { return header_at<ethernet_header>(bytes.data()).source; }
    [[nodiscard]] unsigned type() const { return get16(bytes, 12); }
    [[nodiscard]] decoded packet() const { return decode(bytes, exit); }
};

/// A routed engine and its clock. Whatever leaves is in `left`, questions and announcements too, in order.
template <class Engine>
class routed_world {
  public:
    template <class... Arguments>
    explicit routed_world(router_config const& config, Arguments&&... arguments)
        : engine(std::make_unique<Engine>(std::forward<Arguments>(arguments)...)), routed(*engine, config), out_(256) {}

    std::unique_ptr<Engine> engine;
    routed_engine<Engine> routed;
    std::vector<left_frame> left{};
    time_point now{1h};
    std::uint32_t room = 64;  ///< behind each frame, as a device gives it

    /// One frame through a port: its verdict and reason. `left` holds what left before, too.
    frame sends(side from, byte_string bytes, offload_info const& offload = {}) {
        auto const length = static_cast<std::uint32_t>(bytes.size());
        bytes.resize(length + room);
        bytes.shrink_to_fit();
        frame f;
        f.data = bytes.data();
        f.length = f.wire_length = length;
        f.capacity = length + room;
        f.arrival = from;
        f.offload = offload;
        routed.process({&f, 1}, now, out_);
        CHECK((f.outcome == verdict::drop) == (f.reason != drop_reason::none));
        if (f.outcome == verdict::forward || f.outcome == verdict::reply)
            left.push_back({f.outcome == verdict::forward ? other(from) : from, {f.data, f.data + f.length}, f.offload});
        take_outbox();
        check_counters();
        f.data = nullptr;
        return f;
    }

    /// Lets time pass, advancing whenever that is due.
    void pass(std::chrono::milliseconds d) {
        time_point const end = now + d;
        for (auto due = routed.next_deadline(); due && *due <= end; due = routed.next_deadline()) {
            now = std::max(now, *due);
            routed.advance(now, out_);
            take_outbox();
            check_counters();
        }
        now = end;
    }

    /// Announcements and questions are over, both ends' link addresses known in both families.
    void settle() {
        pass(5s);
        for (side const s : {side::outside, side::inside}) {
            bool const outside = s == side::outside;
            mac_address const mine = outside ? our_outside_mac : our_inside_mac, theirs = outside ? client_mac : server_mac;
            std::uint32_t const ours4 = outside ? 0xc0000201 : 0xc6336401, theirs4 = outside ? 0xc000020a : 0xc6336450;
            byte_string const theirs6 = net6(outside ? 1 : 2, outside ? 0x10 : 0x80);
            // Something from the other side makes us ask.
            ip4 v4 = to_server4();
            ip6 v6 = to_server6();
            if (outside) {
                std::swap(v4.source, v4.destination);
                std::swap(v6.source, v6.destination);
            }
            side const origin = other(s);
            mac_address const entry = origin == side::outside ? our_outside_mac : our_inside_mac;
            sends(origin, link_frame(entry, stranger_mac, udp_packet(v4, filled(8))));
            sends(origin, link_frame(entry, stranger_mac, udp_packet(v6, filled(8))));
            sends(s, link_frame(mine, theirs, arp(2, theirs, theirs4, mine, ours4), 0x0806));
            discovery d{.type = 136, .source = theirs6, .destination = net6(outside ? 1 : 2, 1), .target = theirs6, .rest = 0x60000000, .mac = theirs};
            sends(s, link_frame(mine, theirs, encode(d)));
        }
        left.clear();
    }

    [[nodiscard]] std::uint64_t dropped(drop_reason r) const { return routed.router().counters().dropped[static_cast<std::size_t>(r)]; }
    [[nodiscard]] router_counters const& counters() const { return routed.router().counters(); }

  private:
    void take_outbox() {
        for (outbox_frame const& o : out_.frames()) left.push_back({o.exit, {o.bytes().begin(), o.bytes().end()}, o.offload()});
        out_.clear();
    }
    void check_counters() const {
        router_counters const& c = routed.router().counters();
        CHECK(c.received == c.passed + c.answered + c.taken + c.dropped_on_arrival);
        CHECK(c.dropped_on_arrival <= c.dropped_total());
    }

    outbox out_;
};

using plain_world = routed_world<passing_engine>;

}  // namespace halfproxy::test
