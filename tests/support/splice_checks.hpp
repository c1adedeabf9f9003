// SPDX-License-Identifier: BSL-1.0
// What the tests of the splice ask of every packet: which way it goes, and whether both ends see their own numbers.
#pragma once

#include "tests/support/splice.hpp"

namespace halfproxy::test {

inline endpoints family(unsigned version) {
    endpoints e;
    e.version = version;
    return e;
}

inline void check_way_back(decoded const& got, endpoints const& e) {
    CHECK(got.source_port == e.server_port);
    CHECK(got.destination_port == e.client_port);
    CHECK(got.source == (e.version == 4 ? u32(e.server4) : e.server6));
    CHECK(got.destination == (e.version == 4 ? u32(e.client4) : e.client6));
}

inline void check_way_there(decoded const& got, endpoints const& e) {
    CHECK(got.source_port == e.client_port);
    CHECK(got.destination_port == e.server_port);
    CHECK(got.source == (e.version == 4 ? u32(e.client4) : e.client6));
    CHECK(got.destination == (e.version == 4 ? u32(e.server4) : e.server6));
}

/// Data both ways, each side in its own numbers.
template <class Policies>
void check_translated_data(timeline<Policies>& l, handshake_of<Policies> const& h) {
    outcome const up = l.client_sends(h.from_client(0, 0, filled(100)));
    REQUIRE(up.fate == verdict::forward);
    CHECK(up.packet->tcp.seq == h.client.isn + 1);
    CHECK(up.packet->tcp.ack == h.server.isn + 1);
    CHECK(up.packet->tcp.payload == filled(100));
    outcome const down = l.server_sends(h.from_server(0, 100, filled(1000)));
    REQUIRE(down.fate == verdict::forward);
    CHECK(down.packet->tcp.seq == h.cookie + 1);
    CHECK(down.packet->tcp.ack == h.client.isn + 101);
    CHECK(down.packet->tcp.payload == filled(1000));
    if (!h.with_timestamps) return;
    CHECK(up.packet->tcp.timestamps == std::pair{h.client.clock + 10, h.server.clock + 10});
    CHECK(down.packet->tcp.timestamps == std::pair{h.cookie_clock + 10, h.client.clock + 10});
}

}  // namespace halfproxy::test
