// SPDX-License-Identifier: BSL-1.0
// Bodies of engine/backend_profile.hpp.
#pragma once

#include <halfproxy/engine/backend_profile.hpp>

#include <algorithm>
#include <bit>

namespace halfproxy {

inline backend_key server_of(ipv4_tuple const& client_tuple, std::uint16_t zone) noexcept {
    return {0, 0xffff'0000'0000u | client_tuple.destination, client_tuple.destination_port, zone};  // as ::ffff:0:0/96
}

inline backend_key server_of(ipv6_tuple const& client_tuple, std::uint16_t zone) noexcept {
    backend_key key{0, 0, client_tuple.destination_port, zone};
    std::memcpy(&key.high, client_tuple.destination.data(), 8);
    std::memcpy(&key.low, client_tuple.destination.data() + 8, 8);
    return key;
}

inline backend_profile profile_of(tcp_options const& syn_ack, backend_offer const& offered) noexcept {
    auto const answer = [](bool has, bool asked) { return has ? known::yes : asked ? known::no : known::unknown; };
    return {.mss = syn_ack.has_mss ? syn_ack.mss : std::uint16_t{0},
            .window_scale = std::min(syn_ack.window_scale, max_window_scale),
            .scaling = answer(syn_ack.has_window_scale, offered.scaling),
            .sack = answer(syn_ack.sack_permitted, offered.sack),
            .timestamps = answer(syn_ack.has_timestamps, offered.timestamps)};
}

inline std::size_t backend_table::sets_for(std::uint32_t entries) noexcept {
    return entries == 0 ? 0 : std::bit_ceil((std::size_t{entries} + ways - 1) / ways);
}

inline backend_table::backend_table(std::uint32_t entries, timeout_ms age, std::uint64_t seed)
    : seed_(seed), age_(age), sets_(sets_for(entries)), entries_(sets_ * ways) {}

/// More sets until no set is asked for a fifth: configuration happens once, and a configured server may not be missing.
inline backend_table::backend_table(std::span<configured_backend const> servers, std::uint64_t seed)
    : seed_(seed), age_(never), sets_(sets_for(static_cast<std::uint32_t>(servers.size()))), entries_(sets_ * ways) {
    auto const all_fit = [&] {
        return std::all_of(servers.begin(), servers.end(), [this](configured_backend const& s) { return add_configured(s); });
    };
    while (!all_fit()) {
        sets_ *= 2;
        entries_.assign(sets_ * ways, {});
    }
}

inline bool backend_table::add_configured(configured_backend const& server) noexcept {
    backend_key key{0, 0, server.port, 0};
    if (server.address.version == 4) {
        key.low = 0xffff'0000'0000u | server.address.to_v4();
    } else {
        std::memcpy(&key.high, server.address.bytes.data(), 8);
        std::memcpy(&key.low, server.address.bytes.data() + 8, 8);
    }
    entry* const set = &entries_[set_of(key) * ways];
    for (std::size_t way = 0; way < ways; ++way) {
        if (set[way].used && set[way].key != key) continue;
        set[way] = {key, server.profile, {}, true};
        any_ = true;
        return true;
    }
    return false;
}

inline std::size_t backend_table::set_of(backend_key const& key) const noexcept {
    std::uint64_t h = (key.high ^ seed_) * 0x9e37'79b9'7f4a'7c15u;
    h = ((h ^ h >> 32) + key.low) * 0x9e37'79b9'7f4a'7c15u;
    h = ((h ^ h >> 32) + (std::uint64_t{key.zone} << 16 | key.port)) * 0x9e37'79b9'7f4a'7c15u;
    return static_cast<std::size_t>(h >> 32) & (sets_ - 1);
}

inline backend_profile const* backend_table::find(backend_key const& key, stamp_ms now) const noexcept {
    if (!any_) return nullptr;
    entry const* const set = &entries_[set_of(key) * ways];
    for (std::size_t way = 0; way < ways; ++way)
        if (set[way].key == key && alive(set[way], now)) return &set[way].profile;
    return nullptr;
}

namespace detail {

inline void merge(known& into, known seen) noexcept {
    if (seen != known::unknown) into = seen;
}

inline void merge(backend_profile& into, backend_profile const& seen) noexcept {
    if (seen.mss != 0) into.mss = seen.mss;
    if (seen.scaling == known::yes) into.window_scale = seen.window_scale;
    merge(into.scaling, seen.scaling);
    merge(into.sack, seen.sack);
    merge(into.timestamps, seen.timestamps);
}

}  // namespace detail

inline void backend_table::learn(backend_key const& key, backend_profile const& seen, stamp_ms now) noexcept {
    if (sets_ == 0) return;
    entry* const set = &entries_[set_of(key) * ways];
    entry* place = set;
    for (entry* e = set; e != set + ways; ++e) {
        if (alive(*e, now) && e->key == key) {
            detail::merge(e->profile, seen);
            e->confirmed = now;
            return;
        }
        bool const freer = !alive(*e, now) && alive(*place, now);
        bool const older = alive(*e, now) == alive(*place, now) && e->confirmed - place->confirmed < 0;
        if (freer || older) place = e;
    }
    *place = {key, seen, now, true};
    any_ = true;
}

}  // namespace halfproxy
