// SPDX-License-Identifier: BSL-1.0
// Timelines through an engine with virtual services: clients of a virtual address, and the backends behind it.
#pragma once

#include "tests/support/splice.hpp"

#include <halfproxy/engine/service_engine.hpp>

#include <map>

namespace halfproxy::test {

template <class Next = keep_addresses>
using serving = policies<admit_by_guard, virtual_services<Next>, no_observer>;

inline constexpr unsigned backend_port = 8080;
inline std::uint32_t backend4(unsigned number) { return 0x0a000001u + number; }
inline ipv6_bytes backend6(unsigned number) {
    ipv6_bytes a{0xfd};
    a[15] = static_cast<std::uint8_t>(1 + number);
    return a;
}

/// The timeline's server address and port, with so many backends.
inline service_config service_of(unsigned backends, unsigned version = 4) {
    endpoints const e;
    service_config s;
    ipv6_bytes six;
    std::copy(e.server6.begin(), e.server6.end(), six.begin());
    s.address = version == 4 ? ip_address::v4(e.server4) : ip_address::v6(six);
    s.ports = {80, 80};
    for (unsigned i = 0; i < backends; ++i) {
        backend b;
        b.address = version == 4 ? ip_address::v4(backend4(i)) : ip_address::v6(backend6(i));
        b.port = backend_port;
        s.backends.push_back(b);
    }
    return s;
}

template <class Next = keep_addresses>
struct service_line : timeline<serving<Next>> {
    using base = timeline<serving<Next>>;

    explicit service_line(services_config const& services, engine_config const& config = guarded(guard_mode::off), endpoints const& e = {}, Next next = {})
        : base(config, e, serving<Next>{{}, virtual_services<Next>(services, config.limits, 1, std::move(next)), {}}) {}

    [[nodiscard]] virtual_services<Next>& policy() { return base::proxy().policies().addresses; }
    [[nodiscard]] std::uint32_t open(unsigned number) { return policy().services().backends(0).open(static_cast<backend_index>(number)); }
    void set_state(unsigned number, backend_state state) { policy().set_state({0, static_cast<backend_index>(number)}, state); }

    /// The ends as backend `number` sees them.
    [[nodiscard]] endpoints behind(unsigned number) const {
        endpoints e = base::ends;
        ipv6_bytes const six = backend6(number);
        e.server4 = backend4(number);
        e.server6.assign(six.begin(), six.end());
        e.server_port = backend_port;
        return e;
    }
    outcome backend_sends(unsigned number, segment const& s) {
        return base::sends(side::inside, framed(base::ends, tcp_datagram(behind(number), false, s)));
    }

    /// Which backend the packet went to; -1: none.
    [[nodiscard]] int backend_of(outcome const& o) const {
        if (o.fate != verdict::forward || !o.packet) return -1;
        for (unsigned i = 0; i < 32; ++i) {
            endpoints const b = behind(i);
            if (o.packet->destination == (b.version == 4 ? u32(b.server4) : b.server6)) return static_cast<int>(i);
        }
        return -1;
    }

    /// A SYN from that port: who got it.
    int syn(unsigned client_port) {
        base::ends.client_port = client_port;
        return backend_of(base::client_sends(syn_of({.isn = 1000 * client_port})));
    }

    /// A connection from that port, through to its first bytes. The server's ISN is 700,000.
    int connect(unsigned client_port) {
        int const who = syn(client_port);
        REQUIRE(who >= 0);
        std::uint32_t const isn = 1000 * client_port;
        offer const server{.isn = 700'000, .window = 65160, .timestamps = false};
        segment syn_ack = syn_of(server);
        syn_ack.flags = flags::syn | flags::ack;
        syn_ack.ack = isn + 1;
        REQUIRE(backend_sends(static_cast<unsigned>(who), syn_ack).fate == verdict::forward);
        REQUIRE(client_data(client_port, 0, 0, 0).fate == verdict::forward);
        return who;
    }
    /// `sent` and `received` count from the first byte.
    outcome client_data(unsigned client_port, std::uint32_t sent, std::uint32_t received, std::size_t bytes, unsigned more_flags = 0) {
        base::ends.client_port = client_port;
        return base::client_sends({.seq = 1000 * client_port + 1 + sent, .ack = 700'001 + received, .flags = flags::ack | more_flags, .window = 502,
                                   .payload = filled(bytes)});
    }
    outcome backend_data(unsigned number, unsigned client_port, std::uint32_t sent, std::uint32_t received, std::size_t bytes, unsigned more_flags = 0) {
        base::ends.client_port = client_port;
        return backend_sends(number, {.seq = 700'001 + sent, .ack = 1000 * client_port + 1 + received, .flags = flags::ack | more_flags, .window = 510,
                                      .payload = filled(bytes)});
    }
    /// FINs both ways.
    void close(unsigned number, unsigned client_port, std::uint32_t sent = 0, std::uint32_t received = 0) {
        client_data(client_port, sent, received, 0, flags::fin);
        backend_data(number, client_port, received, sent + 1, 0, flags::fin);
        client_data(client_port, sent + 1, received + 1, 0);
    }
    outcome udp(unsigned client_port) {
        byte_string const query = u16(client_port) + u16(80) + u16(8 + 5) + u16(0) + filled(5);
        return base::sends(side::outside, framed(base::ends, datagram_of(base::ends, true, 17, query, 6)));
    }
};

}  // namespace halfproxy::test

extern template class halfproxy::engine<halfproxy::test::serving<>>;  // in services.cpp: it takes long to compile
