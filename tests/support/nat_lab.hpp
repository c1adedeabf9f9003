// SPDX-License-Identifier: BSL-1.0
// Timelines through an engine that translates addresses: any host behind either port sends to any other. Every packet that leaves has both checksums
// recomputed in full (timeline.hpp).
#pragma once

#include "tests/support/timeline.hpp"

#include <halfproxy/engine/address_plan.hpp>

namespace halfproxy::test {

/// An address with a port, or with the identifier of an ICMP query.
struct end {
    byte_string address;
    unsigned port = 0;

    friend bool operator==(end const&, end const&) = default;
};
inline doctest::String toString(end const& e) {
    std::string out;
    for (std::uint8_t const b : e.address) out += std::to_string(b) + ".";
    return (out + ":" + std::to_string(e.port)).c_str();
}

/// Hosts of a family, told apart by a number: inside 10.0.0.n or fd00::n, outside 198.51.100.n or 2001:db8:1::n, pool addresses 203.0.113.n or
/// 2001:db8:2::n.
struct world_of {
    unsigned version = 4;

    [[nodiscard]] byte_string host(byte_string const& four, byte_string const& six, unsigned n) const {
        return version == 4 ? four + u8(n) : six + zeros(15 - six.size()) + u8(n);
    }
    [[nodiscard]] end inside(unsigned n, unsigned port = 0) const { return {host({10, 0, 0}, {0xfd}, n), port}; }
    [[nodiscard]] end outside(unsigned n, unsigned port = 0) const { return {host({198, 51, 100}, {0x20, 1, 0xd, 0xb8, 0, 1}, n), port}; }
    [[nodiscard]] end pool(unsigned n, unsigned port = 0) const { return {host({203, 0, 113}, {0x20, 1, 0xd, 0xb8, 0, 2}, n), port}; }
};

inline ip_address address_of(byte_string const& bytes) {
    ip_address a{bytes.size() == 4 ? std::uint8_t{4} : std::uint8_t{6}, {}};
    std::copy(bytes.begin(), bytes.end(), a.bytes.begin());
    return a;
}
/// The prefix of that length around an end; without a length the host alone.
inline ip_prefix prefix_of(end const& e, int host_bits = 0) {
    ip_address const a = address_of(e.address);
    return {a, static_cast<std::uint8_t>((a.version == 4 ? 32 : 128) - host_bits)};
}

using nat_policies = policies<admit_by_guard, address_plan, no_observer>;

inline byte_string ip_datagram(unsigned protocol, end const& from, end const& to, byte_string transport, std::size_t checksum_at) {
    if (from.address.size() == 16) {
        ip6 ip;
        ip.source = from.address;
        ip.destination = to.address;
        ip.protocol = protocol;
        return encode(ip, sealed(ip, transport, checksum_at));
    }
    ip4 ip;
    ip.source = get32(from.address, 0);
    ip.destination = get32(to.address, 0);
    ip.protocol = protocol;
    if (protocol != 1) return encode(ip, sealed(ip, transport, checksum_at));
    put16(transport, checksum_at, 0);
    put16(transport, checksum_at, naive_checksum(transport));
    return encode(ip, transport);
}
inline byte_string udp_datagram(end const& from, end const& to, byte_string const& payload = filled(20)) {
    return ip_datagram(17, from, to, u16(from.port) + u16(to.port) + u16(8 + static_cast<unsigned>(payload.size())) + u16(0) + payload, 6);
}
inline byte_string tcp_datagram(end const& from, end const& to, segment const& s) {
    tcp t;
    t.source_port = from.port;
    t.destination_port = to.port;
    t.seq = s.seq;
    t.ack = s.ack;
    t.flags = s.flags;
    t.window = s.window;
    t.options = options_of(s);
    t.payload = s.payload;
    return ip_datagram(6, from, to, encode(t), 16);
}
/// `id` is the asker's.
inline byte_string ping_datagram(end const& from, end const& to, unsigned id, bool request) {
    bool const v4 = from.address.size() == 4;
    unsigned const type = v4 ? (request ? 8 : 0) : (request ? 128 : 129);
    return ip_datagram(v4 ? 1 : 58, from, to, u8(type) + u8(0) + u16(0) + u16(id) + u16(1) + filled(32), 2);
}
/// Too big, about a datagram.
inline byte_string error_datagram(end const& from, end const& to, byte_string const& quoted) {
    bool const v4 = from.address.size() == 4;
    return ip_datagram(v4 ? 1 : 58, from, to, u8(v4 ? 3 : 2) + u8(v4 ? 4 : 0) + u16(0) + u32(1400) + quoted, 2);
}

inline end source_of(decoded const& d) { return {d.source, d.protocol == 1 || d.protocol == 58 ? get16(d.transport, 4) : d.source_port}; }
inline end destination_of(decoded const& d) { return {d.destination, d.protocol == 1 || d.protocol == 58 ? get16(d.transport, 4) : d.destination_port}; }
inline byte_string ip_of(decoded const& d) { return {d.bytes.begin() + static_cast<std::ptrdiff_t>(d.link.size()), d.bytes.end()}; }

/// The first plan of a test: everything inside goes out through one pool address.
inline nat_config napt(world_of const& w, port_range ports = {1024, 65535}) {
    nat_config nat;
    snat_rule rule;
    rule.from = prefix_of(w.inside(0), 8);
    rule.pool = {prefix_of(w.pool(1))};
    rule.ports.ports = ports;
    nat.snat = {rule};
    return nat;
}

/// Without guard, and with short timeouts: 30 s for UDP nobody answers, 180 s for the rest of it.
inline engine_config impatient() {
    engine_config config = guarded(guard_mode::off);
    config.timeouts.udp_new = 30'000;
    config.timeouts.udp_replied = 180'000;
    return config;
}

/// Without ports and without a checksum.
inline byte_string gre_datagram(end const& from, end const& to) {
    if (from.address.size() == 4) return encode(ip4{.source = get32(from.address, 0), .destination = get32(to.address, 0), .protocol = 47}, filled(24));
    ip6 ip;
    ip.source = from.address;
    ip.destination = to.address;
    ip.protocol = 47;
    return encode(ip, filled(24));
}

struct nat_lab : timeline<nat_policies> {
    world_of w;

    explicit nat_lab(world_of world, nat_config const& nat, engine_config config = impatient())
        : timeline<nat_policies>(config, {}, nat_policies{{}, address_plan(nat, config.limits), {}}), w(world) {}

    address_plan const& plan() { return proxy().policies().addresses; }

    outcome ip(side from, byte_string const& datagram) { return sends(from, ethernet(datagram)); }
    outcome udp(side at, end const& from, end const& to, byte_string const& payload = filled(20)) { return ip(at, udp_datagram(from, to, payload)); }
    outcome tcp(side at, end const& from, end const& to, segment const& s) { return ip(at, tcp_datagram(from, to, s)); }

    /// It leaves through the other side, or where it came from.
    decoded passes(outcome const& o, verdict how = verdict::forward) {
        REQUIRE(o.reason == drop_reason::none);
        REQUIRE(o.fate == how);
        REQUIRE(o.packet);
        return *o.packet;
    }
    /// A UDP packet from inside, and how it leaves.
    end mapped(end const& from, end const& to) { return source_of(passes(udp(side::inside, from, to))); }

    std::uint64_t ports_held(std::uint8_t protocol) {
        std::uint64_t sum = 0;
        plan().for_each_pool([&](std::uint32_t, std::uint8_t p, auto const& pool) { sum += p == protocol ? pool.held() : 0; });
        return sum;
    }
};

inline std::vector<world_of> both_families() { return {{4}, {6}}; }

}  // namespace halfproxy::test
