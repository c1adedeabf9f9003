// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/admit/syn_cookie.hpp>
#include <halfproxy/core/inline.hpp>

#include <algorithm>
#include <chrono>

namespace halfproxy {

namespace detail {

/// The 32 combinations of (SACK, ECN, scale) a cookie keeps: 16 with SACK alone, 8 with SACK and ECN, 4 and 4 without SACK.
/// 15 stands for "no window scale", which is not the same as scale 0.
inline constexpr std::uint8_t no_scale = 15;
inline constexpr std::array<std::uint8_t, 8> scales_with_ecn{no_scale, 0, 2, 5, 6, 7, 8, 10};
inline constexpr std::array<std::uint8_t, 4> scales_without_sack{no_scale, 0, 4, 8};

template <std::size_t N>
[[nodiscard]] constexpr std::uint32_t round_down(std::array<std::uint8_t, N> const& scales, std::uint8_t scale) noexcept {
    std::uint32_t best = scale == no_scale ? 0 : 1;
    for (std::uint32_t i = 2; i < N && scale != no_scale; ++i)
        if (scales[i] <= scale) best = i;
    return best;
}

template <std::size_t N>
[[nodiscard]] constexpr std::uint32_t round_down(std::array<std::uint16_t, N> const& values, std::uint16_t value) noexcept {
    std::uint32_t best = 0;  // ascending values: as many as are not above it
    for (std::uint32_t i = 1; i < N; ++i) best += values[i] <= value ? 1u : 0u;
    return best;
}

inline void set_scale(cookie_options& options, std::uint8_t scale) noexcept {
    options.has_window_scale = scale != no_scale;
    options.window_scale = scale == no_scale ? std::uint8_t{0} : scale;
}

[[nodiscard]] inline std::uint8_t scale_of(cookie_options const& options) noexcept {
    return options.has_window_scale ? std::min<std::uint8_t>(options.window_scale, 14) : no_scale;
}

}  // namespace detail

inline std::uint32_t dense_cookie_layout::encode(cookie_options const& options, bool ipv6) noexcept {
    std::uint32_t const mss = detail::round_down(ipv6 ? mss_v6 : mss_v4, options.mss);
    std::uint8_t const scale = detail::scale_of(options);
    std::uint32_t rest;
    if (options.sack_permitted)
        rest = options.ecn ? 16 + detail::round_down(detail::scales_with_ecn, scale) : scale;
    else
        rest = (options.ecn ? 28u : 24u) + detail::round_down(detail::scales_without_sack, scale);
    return mss << 5 | rest;
}

inline cookie_options dense_cookie_layout::decode(std::uint32_t symbol, bool ipv6) noexcept {
    cookie_options options;
    options.mss = (ipv6 ? mss_v6 : mss_v4)[symbol >> 5 & 3u];
    std::uint32_t const rest = symbol & 31u;
    options.sack_permitted = rest < 24;
    options.ecn = (rest >= 16 && rest < 24) || rest >= 28;
    if (rest < 16)
        detail::set_scale(options, static_cast<std::uint8_t>(rest));
    else if (rest < 24)
        detail::set_scale(options, detail::scales_with_ecn[rest - 16]);
    else
        detail::set_scale(options, detail::scales_without_sack[rest & 3u]);
    return options;
}

template <keyed_hash KeyedHash, cookie_layout Layout>
syn_cookie<KeyedHash, Layout>::syn_cookie(secret_key const& secret, timeout_ms rotation) noexcept
    : master_(std::bit_cast<key_type>(secret.bytes)),
      rotation_ns_(std::int64_t{std::max(rotation, timeout_ms{1})} * 1'000'000) {
    keys_ = {derive(0), derive(-1)};
}

template <keyed_hash KeyedHash, cookie_layout Layout>
typename KeyedHash::key_type syn_cookie<KeyedHash, Layout>::derive(std::int64_t epoch) const noexcept {
    key_type key{};
    for (std::uint64_t i = 0; i < key.size(); ++i) {
        std::array<std::uint64_t, 2> const message{static_cast<std::uint64_t>(epoch), i};
        key[i] = KeyedHash{}(master_, message, 0, 0);
    }
    return key;
}

template <keyed_hash KeyedHash, cookie_layout Layout>
void syn_cookie<KeyedHash, Layout>::turn_to(time_point now) noexcept {
    std::int64_t const ns = now.time_since_epoch().count();
    std::int64_t const into_epoch = ns - epoch_begin_ns_;
    if (into_epoch >= 0 && into_epoch < rotation_ns_) [[likely]]
        return;  // no division as long as the epoch lasts
    epoch_ = ns / rotation_ns_ - (ns % rotation_ns_ < 0 ? 1 : 0);
    epoch_begin_ns_ = epoch_ * rotation_ns_;
    keys_[epoch_ & 1] = derive(epoch_);
    keys_[(epoch_ - 1) & 1] = derive(epoch_ - 1);
}

template <keyed_hash KeyedHash, cookie_layout Layout>
HALFPROXY_ALWAYS_INLINE std::uint64_t syn_cookie<KeyedHash, Layout>::mac(key_type const& key, cookie_subject const& s, std::uint32_t symbol,
                                                 bool timestamps) noexcept {
    std::array<std::uint64_t, 5> words = {s.addresses[0], s.addresses[1], s.addresses[2], s.addresses[3], 0};
    words[s.address_words] =
        std::uint64_t{s.client_port} << 48 | std::uint64_t{s.server_port} << 32 | s.client_isn.value;
    std::uint64_t const tail = symbol | (timestamps ? 0x100u : 0u) | std::uint64_t{s.zone} << 16;
    return KeyedHash{}(key, {words.data(), s.address_words + 1u}, tail, 4);
}

template <keyed_hash KeyedHash, cookie_layout Layout>
seq_num syn_cookie<KeyedHash, Layout>::isn_of(std::uint64_t mac, std::uint32_t low) noexcept {
    auto const high = static_cast<std::uint32_t>(mac >> 32) & ~low_mask;
    return {high | (low ^ high >> mac_bits)};
}

template <keyed_hash KeyedHash, cookie_layout Layout>
std::uint32_t syn_cookie<KeyedHash, Layout>::timestamp_of(std::uint64_t mac, seq_num isn, seq_num client_isn,
                                                          std::uint8_t scale) noexcept {
    std::uint32_t const parity = (client_isn.value ^ isn.value >> 31) & 1u;
    return ((static_cast<std::uint32_t>(mac) & ~(1u << parity_bit)) ^ scale) | parity << parity_bit;
}

template <keyed_hash KeyedHash, cookie_layout Layout>
seq_num syn_cookie<KeyedHash, Layout>::client_isn(seq_num ack_sequence, cookie_echo const& echo) noexcept {
    if (!echo.timestamp_echo) return ack_sequence - 1;
    std::uint32_t const parity = (*echo.timestamp_echo >> parity_bit ^ echo.isn.value >> 31) & 1u;
    return (ack_sequence.value & 1u) == parity ? ack_sequence : ack_sequence - 1;
}

template <keyed_hash KeyedHash, cookie_layout Layout>
HALFPROXY_ALWAYS_INLINE cookie syn_cookie<KeyedHash, Layout>::make(cookie_subject const& subject, cookie_options const& options, bool ipv6,
                                           time_point now) noexcept {
    turn_to(now);
    std::uint32_t const symbol = Layout::encode(options, ipv6);
    auto const parity = static_cast<std::uint32_t>(epoch_ & 1);
    std::uint64_t const m = mac(keys_[parity], subject, symbol, options.has_timestamps);
    seq_num const isn = isn_of(m, parity << Layout::option_bits | symbol);
    return {isn, timestamp_of(m, isn, subject.client_isn, detail::scale_of(options))};
}

template <keyed_hash KeyedHash, cookie_layout Layout>
HALFPROXY_ALWAYS_INLINE std::optional<cookie_options> syn_cookie<KeyedHash, Layout>::check(cookie_subject const& subject, cookie_echo const& echo,
                                                                   bool ipv6, time_point now) noexcept {
    turn_to(now);
    std::uint32_t const low = (echo.isn.value ^ echo.isn.value >> mac_bits) & low_mask;
    std::uint32_t const symbol = low & (low_mask >> 1);
    bool const timestamps = echo.timestamp_echo.has_value();
    std::uint64_t const m = mac(keys_[low >> Layout::option_bits], subject, symbol, timestamps);
    if (isn_of(m, low) != echo.isn) return std::nullopt;
    cookie_options options = Layout::decode(symbol, ipv6);
    options.has_timestamps = timestamps;
    if (!timestamps) return options;
    std::uint32_t const difference = *echo.timestamp_echo ^ timestamp_of(m, echo.isn, subject.client_isn, 0);
    if (difference > detail::no_scale) return std::nullopt;
    detail::set_scale(options, static_cast<std::uint8_t>(difference));
    return options;
}

}  // namespace halfproxy
