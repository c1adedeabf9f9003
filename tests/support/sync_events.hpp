// SPDX-License-Identifier: BSL-1.0
// Any flow that an engine may tell, events as values, and frames that no writer makes.
#pragma once

#include "tests/support/packets.hpp"

#include <halfproxy/core/random.hpp>
#include <halfproxy/sync/sync_frame.hpp>

#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace halfproxy::test {

struct caught_up_mark {
    friend bool operator==(caught_up_mark, caught_up_mark) = default;
};
template <class Address>
struct told_state {
    sync_event kind;
    flow_state<Address> state;
    friend bool operator==(told_state const&, told_state const&) = default;
};
using told_event = std::variant<caught_up_mark, told_state<std::uint32_t>, told_state<ipv6_bytes>, ipv4_key, ipv6_key>;

struct collect_events {
    std::vector<told_event>& to;
    void operator()() const { to.emplace_back(caught_up_mark{}); }
    template <class Address>
    void operator()(flow_key<Address> const& k) const {
        to.emplace_back(k);
    }
    template <class Address>
    void operator()(sync_event kind, flow_state<Address> const& s) const {
        to.emplace_back(told_state<Address>{kind, s});
    }
};

template <class Address>
Address any_address(split_mix64& r) {
    if constexpr (std::is_same_v<Address, std::uint32_t>) {
        return static_cast<std::uint32_t>(r());
    } else {
        ipv6_bytes a;
        for (std::uint8_t& b : a) b = static_cast<std::uint8_t>(r());
        return a;
    }
}
template <class Address>
flow_tuple<Address> any_tuple(split_mix64& r) {
    return {any_address<Address>(r), any_address<Address>(r), static_cast<std::uint16_t>(r()), static_cast<std::uint16_t>(r())};
}

inline flow_claims any_claims(split_mix64& r) {
    auto const coin = [&r] { return r.below(2) == 0; };
    flow_claims c;
    if (coin()) c.source = {true, coin(), static_cast<std::uint16_t>(r())};
    if (coin()) c.destination = {true, coin(), static_cast<std::uint16_t>(r())};
    c.of_service = coin();
    if (!c.of_service) return c;
    c.backend = coin() ? ip_address::v4(any_address<std::uint32_t>(r)) : ip_address::v6(any_address<ipv6_bytes>(r));
    c.backend_port = static_cast<std::uint16_t>(r());
    return c;
}

template <class Address>
flow_state<Address> any_state(split_mix64& r) {
    auto const coin = [&r] { return r.below(2) == 0; };
    auto const word = [&r] { return static_cast<std::uint32_t>(r()); };
    flow_state<Address> s;
    s.key = {any_tuple<Address>(r), static_cast<std::uint16_t>(r.below(4096)), static_cast<std::uint8_t>(coin() ? 6 : r.below(256)), 0};
    s.led = coin();
    s.server_tuple = !s.led && coin() ? any_tuple<Address>(r) : s.key.tuple;
    s.client_side = coin() ? side::inside : side::outside;
    s.hairpin = coin();
    s.idle_ms = word();
    s.age_ms = word();
    s.packets = {word(), word()};
    if (s.key.protocol == 6) {
        constexpr unsigned marks = tcp_mark::scale_offered | tcp_mark::sack_permitted | tcp_mark::fin;
        s.tcp = {{seq_num{word()}, seq_num{word()}}, {static_cast<std::uint8_t>(r() & marks), static_cast<std::uint8_t>(r() & marks)},
                 {static_cast<std::uint8_t>(r.below(15)), static_cast<std::uint8_t>(r.below(15))}, static_cast<tcp_state>(3 + r.below(4))};
        s.spliced = !s.hairpin && coin();
    }
    if (s.spliced) {
        s.shift = {word(), word()};
        s.client_scale = static_cast<std::uint8_t>(r.below(15));
        s.promised_scale = static_cast<std::uint8_t>(r.below(15));
        s.mends = coin();
    }
    if (s.mends) s.cookie_timestamp = word(), s.client_timestamp = word();
    s.claims = any_claims(r);
    return s;
}

/// With the MAC of what it says now.
inline byte_string sealed_again(byte_string frame, siphash_key const& key) {
    std::vector<std::uint64_t> words;
    std::size_t const n = frame.size() - sync_mac_bytes;
    std::uint64_t tail = 0;
    for (std::size_t at = 0; at < n; ++at) {
        tail |= std::uint64_t{frame[at]} << 8 * (at % 8);
        if (at % 8 == 7) words.push_back(std::exchange(tail, 0));
    }
    std::uint64_t const mac = siphash_2_4{}(key, words, tail, static_cast<unsigned>(n % 8));
    for (std::size_t i = 0; i < 8; ++i) frame[n + i] = static_cast<std::uint8_t>(mac >> (56 - 8 * i));
    return frame;
}

}  // namespace halfproxy::test
