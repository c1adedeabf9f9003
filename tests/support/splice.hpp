// SPDX-License-Identifier: BSL-1.0
// A client and a server for timelines: what they offer each other, and the handshake through a half proxy up to any point.
#pragma once

#include "tests/support/timeline.hpp"

namespace halfproxy::test {

/// What an end offers in its SYN or SYN-ACK.
struct offer {
    std::uint32_t isn = 0;
    unsigned window = 64240;
    std::optional<unsigned> mss = 1460;
    std::optional<unsigned> scale = 7;
    bool sack = true;
    bool timestamps = true;
    std::uint32_t clock = 5'000'000;  ///< TSval
};

inline segment syn_of(offer const& o) {
    segment s;
    s.seq = o.isn;
    s.flags = flags::syn;
    s.window = o.window;
    s.mss = o.mss;
    s.scale = o.scale;
    s.sack_permitted = o.sack;
    if (o.timestamps) s.timestamps = {{o.clock, 0}};
    return s;
}

/// A handshake through a guarded engine, step by step. Numbers are in each side's own space.
template <class Policies = default_policies>
struct handshake_of {
    timeline<Policies>& line;
    offer client{.isn = 1000};
    offer server{.isn = 700'000, .window = 65160, .clock = 9'000'000};
    std::uint32_t cookie = 0;        ///< the ISN the client was given
    std::uint32_t cookie_clock = 0;  ///< the TSval the client was given
    bool with_timestamps = false;    ///< both ends use them

    /// SYN in, SYN-ACK out.
    decoded challenge() {
        outcome const o = line.client_sends(syn_of(client));
        REQUIRE(o.fate == verdict::reply);
        REQUIRE(o.packet);
        cookie = o.packet->tcp.seq;
        if (o.packet->tcp.timestamps) cookie_clock = o.packet->tcp.timestamps->first;
        return *o.packet;
    }

    /// The third ACK as the client sends it.
    [[nodiscard]] segment third_ack(unsigned window = 502) const {
        segment s;
        s.seq = client.isn + 1;
        s.ack = cookie + 1;
        s.flags = flags::ack;
        s.window = window;
        if (client.timestamps) s.timestamps = {{client.clock + 1, cookie_clock}};
        return s;
    }

    /// Third ACK in, SYN to the server out.
    decoded validate() {
        outcome const o = line.client_sends(third_ack());
        REQUIRE(o.fate == verdict::forward);
        REQUIRE(o.packet);
        return *o.packet;
    }

    [[nodiscard]] segment syn_ack(std::optional<std::uint32_t> ack = {}) const {
        segment s = syn_of(server);
        s.flags = flags::syn | flags::ack;
        s.ack = ack.value_or(client.isn + 1);
        bool const both = client.timestamps && server.timestamps;
        s.timestamps.reset();
        if (both) s.timestamps = {{server.clock, client.clock + 1}};
        if (!client.scale) s.scale.reset();
        if (!client.sack) s.sack_permitted = false;
        return s;
    }

    /// SYN-ACK of the server in; the window update to the client and, beside it, the ACK to the server out.
    outcome complete() {
        with_timestamps = client.timestamps && server.timestamps;
        return line.server_sends(syn_ack());
    }

    outcome all() {
        challenge();
        validate();
        outcome o = complete();
        REQUIRE(o.fate == verdict::forward);
        return o;
    }

    /// What to add to the server's numbers to get the client's.
    [[nodiscard]] std::uint32_t shift() const { return cookie - server.isn; }
    [[nodiscard]] std::uint32_t clock_shift() const { return cookie_clock - server.clock; }

    /// A data segment or bare ACK in its sender's own numbers: offsets count from the first byte after the SYN.
    [[nodiscard]] segment from_client(std::uint32_t sent, std::uint32_t received, byte_string payload = {}, unsigned window = 502) const {
        segment s;
        s.seq = client.isn + 1 + sent;
        s.ack = cookie + 1 + received;
        s.flags = flags::ack | (payload.empty() ? 0 : flags::psh);
        s.window = window;
        s.payload = std::move(payload);
        if (with_timestamps) s.timestamps = {{client.clock + 10, cookie_clock + 10}};
        return s;
    }
    [[nodiscard]] segment from_server(std::uint32_t sent, std::uint32_t received, byte_string payload = {}, unsigned window = 510) const {
        segment s;
        s.seq = server.isn + 1 + sent;
        s.ack = client.isn + 1 + received;
        s.flags = flags::ack | (payload.empty() ? 0 : flags::psh);
        s.window = window;
        s.payload = std::move(payload);
        if (with_timestamps) s.timestamps = {{server.clock + 10, client.clock + 10}};
        return s;
    }
};

}  // namespace halfproxy::test
