// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/admit/syn_cookie.hpp>
#include <halfproxy/core/inline.hpp>

#include <algorithm>
#include <chrono>

namespace halfproxy {

namespace detail {

inline constexpr std::uint8_t no_scale = 15;  ///< "no window scale", which is not the same as scale 0

/// What one of the 32 values says that a cookie without timestamps has beside the MSS.
struct cookie_slot {
    std::uint8_t scale = no_scale;
    bool sack = false;
    bool ecn = false;
    isn_parity parity = isn_parity::unsaid;
};

enum slot_class : std::uint8_t { plain_slots, sack_slots, sack_ecn_slots };

struct cookie_slots {
    static constexpr std::uint32_t tiny = 31;
    std::array<cookie_slot, 32> at{};
    std::array<std::array<std::uint8_t, 16>, 3> first{};  ///< by class and scale rounded down: the slot, or the even one of two

    consteval cookie_slots() {
        std::uint8_t used = 0;
        auto const add = [&](slot_class c, std::uint8_t scale, bool parity) {
            for (unsigned s = scale; s < (scale == no_scale ? 16u : unsigned{no_scale}); ++s) first[c][s] = used;
            cookie_slot slot{scale, c != plain_slots, c == sack_ecn_slots, parity ? isn_parity::even : isn_parity::unsaid};
            at[used++] = slot;
            slot.parity = isn_parity::odd;
            if (parity) at[used++] = slot;
        };
        for (unsigned const scale : {15u, 0u, 7u}) add(plain_slots, static_cast<std::uint8_t>(scale), scale != 0);
        for (unsigned const scale : {15u, 0u, 2u, 4u, 6u, 7u, 8u, 9u, 10u, 12u, 14u}) add(sack_slots, static_cast<std::uint8_t>(scale), true);
        for (unsigned const scale : {15u, 0u, 7u, 10u}) add(sack_ecn_slots, static_cast<std::uint8_t>(scale), false);
        count = used;
    }
    std::uint32_t count = 0;
};
inline constexpr cookie_slots slots{};
static_assert(slots.count == cookie_slots::tiny, "31 slots and the tiny one are five bits");

/// The last of the ascending values that is not above `value`, or the first. By halves, without a branch.
template <std::size_t N>
[[nodiscard]] HALFPROXY_ALWAYS_INLINE constexpr std::uint32_t round_down(std::array<std::uint16_t, N> const& values, std::uint16_t value) noexcept {
    static_assert(std::has_single_bit(N));
    std::uint32_t best = 0;
    for (std::uint32_t half = N / 2; half != 0; half /= 2) best += values[best + half] <= value ? half : 0u;
    return best;
}

inline void set_scale(cookie_options& options, std::uint8_t scale) noexcept {
    options.has_window_scale = scale != no_scale;
    options.window_scale = scale == no_scale ? std::uint8_t{0} : scale;
}

[[nodiscard]] inline std::uint8_t scale_of(cookie_options const& options) noexcept {
    return options.has_window_scale ? std::min<std::uint8_t>(options.window_scale, 14) : no_scale;
}

/// Both scales, as TSval holds them.
[[nodiscard]] inline std::uint8_t scales_of(cookie_options const& options) noexcept {
    return static_cast<std::uint8_t>(scale_of(options) | (options.promised_scale & 0x0fu) << 4);
}

}  // namespace detail

HALFPROXY_ALWAYS_INLINE cookie_options dense_cookie_layout::kept(cookie_options const& options, bool ipv6) noexcept {
    cookie_options k = options;
    bool const tiny = !k.has_timestamps && k.mss < (ipv6 ? mss_v6 : mss_v4)[0];
    k.sack_permitted = k.sack_permitted && !tiny;
    k.has_window_scale = k.has_window_scale && !tiny;
    k.ecn = k.ecn && (k.has_timestamps || k.sack_permitted);
    return k;
}

HALFPROXY_ALWAYS_INLINE std::uint32_t dense_cookie_layout::encode(cookie_options const& options, bool odd_isn, bool ipv6) noexcept {
    if (options.has_timestamps) {
        std::uint32_t const mss = detail::round_down(ipv6 ? many_mss_v6 : many_mss_v4, options.mss);
        return mss << 3 | (options.sack_permitted ? 4u : 0u) | (options.ecn ? 2u : 0u) | (odd_isn ? 1u : 0u);
    }
    auto const& usual = ipv6 ? mss_v6 : mss_v4;
    if (options.mss < usual[0])
        return detail::round_down(ipv6 ? tiny_mss_v6 : tiny_mss_v4, options.mss) << 5 | detail::cookie_slots::tiny;
    std::size_t const kind = options.sack_permitted ? options.ecn ? detail::sack_ecn_slots : detail::sack_slots : detail::plain_slots;
    std::uint32_t const slot = detail::slots.first[kind][detail::scale_of(options)];
    bool const second = odd_isn && detail::slots.at[slot].parity == isn_parity::even;
    return detail::round_down(usual, options.mss) << 5 | (slot + (second ? 1 : 0));
}

inline cookie_options dense_cookie_layout::decode(std::uint32_t symbol, bool timestamps, bool ipv6) noexcept {
    cookie_options options;
    options.has_timestamps = timestamps;
    if (timestamps) {
        options.mss = (ipv6 ? many_mss_v6 : many_mss_v4)[symbol >> 3 & 15u];
        options.sack_permitted = (symbol & 4u) != 0;
        options.ecn = (symbol & 2u) != 0;
        return options;
    }
    std::uint32_t const number = symbol & 31u;
    std::size_t const mss = symbol >> 5 & 3u;
    bool const tiny = number == detail::cookie_slots::tiny;
    options.mss = tiny ? (ipv6 ? tiny_mss_v6 : tiny_mss_v4)[mss] : (ipv6 ? mss_v6 : mss_v4)[mss];
    detail::cookie_slot const& slot = detail::slots.at[number];
    options.sack_permitted = slot.sack;
    options.ecn = slot.ecn;
    detail::set_scale(options, slot.scale);
    return options;
}

inline isn_parity dense_cookie_layout::parity(std::uint32_t symbol, bool timestamps) noexcept {
    return timestamps ? static_cast<isn_parity>(symbol & 1u) : detail::slots.at[symbol & 31u].parity;
}

template <keyed_hash KeyedHash, cookie_layout Layout>
syn_cookie<KeyedHash, Layout>::syn_cookie(secret_key const& secret, timeout_ms rotation, packet_clock::duration common_clock) noexcept
    : master_(std::bit_cast<key_type>(secret.bytes)),
      rotation_ns_(std::int64_t{std::clamp(rotation, timeout_ms{1}, longest_key_rotation)} * 1'000'000),
      lag_ns_(static_cast<std::uint64_t>(rotation_ns_ / making_lag)), common_clock_ns_(common_clock.count()) {}

template <keyed_hash KeyedHash, cookie_layout Layout>
typename KeyedHash::key_type syn_cookie<KeyedHash, Layout>::derive(std::int64_t epoch) const noexcept {
    key_type key{};
    for (std::uint64_t i = 0; i < key.size(); ++i) {
        std::array<std::uint64_t, 2> const message{static_cast<std::uint64_t>(epoch), i};
        key[i] = KeyedHash{}(master_, message, 0, 0);
    }
    return key;
}

namespace detail {

/// Times may be anything, their distances too: nothing overflows.
[[nodiscard]] inline constexpr std::uint64_t ns_between(std::int64_t from, std::int64_t to) noexcept {
    return static_cast<std::uint64_t>(to) - static_cast<std::uint64_t>(from);
}
[[nodiscard]] inline constexpr std::int64_t ns_later(std::int64_t from, std::int64_t by) noexcept {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(from) + static_cast<std::uint64_t>(by));
}

}  // namespace detail

/// By the common clock, how far the epoch of this moment has come.
template <keyed_hash KeyedHash, cookie_layout Layout>
std::int64_t syn_cookie<KeyedHash, Layout>::into_epoch(std::int64_t now_ns) const noexcept {
    std::int64_t const rest = detail::ns_later(now_ns, common_clock_ns_) % rotation_ns_;
    return rest < 0 ? rest + rotation_ns_ : rest;
}

template <keyed_hash KeyedHash, cookie_layout Layout>
void syn_cookie<KeyedHash, Layout>::turn_to(time_point now) noexcept {
    std::int64_t const ns = now.time_since_epoch().count();
    if (detail::ns_between(epoch_begin_ns_, ns) >= epoch_length_ns_) [[unlikely]]
        turn(ns);  // no division as long as the epoch lasts
    bool const lags = detail::ns_between(epoch_begin_ns_, ns) < lag_ns_;
    making_parity_ = static_cast<std::uint32_t>(epoch_ & 1) ^ static_cast<std::uint32_t>(lags);
}

/// The key of the epoch before stays where it is, for it may be one of another count.
template <keyed_hash KeyedHash, cookie_layout Layout>
void syn_cookie<KeyedHash, Layout>::turn(std::int64_t now_ns) noexcept {
    std::uint64_t const over_since = detail::ns_between(epoch_begin_ns_, now_ns) - epoch_length_ns_;
    bool const next_one = epoch_length_ns_ != 0 && over_since < static_cast<std::uint64_t>(rotation_ns_);
    std::int64_t const into = into_epoch(now_ns);
    std::int64_t const common_ns = detail::ns_later(now_ns, common_clock_ns_);
    epoch_ = common_ns / rotation_ns_ - (common_ns % rotation_ns_ < 0 ? 1 : 0);
    epoch_begin_ns_ = detail::ns_later(now_ns, -into);
    epoch_length_ns_ = static_cast<std::uint64_t>(rotation_ns_);
    keys_[epoch_ & 1] = derive(epoch_);
    if (!next_one) keys_[(epoch_ - 1) & 1] = derive(epoch_ - 1);
}

/// Two keys are told apart by their epochs' parity, so the next epoch must have the other one, and may begin when the key it replaces has served.
template <keyed_hash KeyedHash, cookie_layout Layout>
bool syn_cookie<KeyedHash, Layout>::set_common_clock(packet_clock::duration common_clock, time_point now) noexcept {
    turn_to(now);
    if (common_clock.count() == common_clock_ns_) return true;
    if (epoch_length_ns_ != static_cast<std::uint64_t>(rotation_ns_)) return false;
    common_clock_ns_ = common_clock.count();
    std::int64_t const earliest = detail::ns_later(epoch_begin_ns_, rotation_ns_);
    std::int64_t const into = into_epoch(earliest);
    std::int64_t const wait = into == 0 ? 0 : rotation_ns_ - into;
    std::int64_t const next = detail::ns_later(detail::ns_later(earliest, wait), common_clock_ns_) / rotation_ns_;
    std::int64_t const wait_for_parity = ((next ^ epoch_) & 1) != 0 ? 0 : rotation_ns_;
    epoch_length_ns_ = static_cast<std::uint64_t>(rotation_ns_ + wait + wait_for_parity);
    return true;
}

template <keyed_hash KeyedHash, cookie_layout Layout>
HALFPROXY_ALWAYS_INLINE cookie_message syn_cookie<KeyedHash, Layout>::message_of(cookie_subject const& s, std::uint32_t low, bool timestamps) noexcept {
    cookie_message m;
    for (std::size_t w = 0; w < s.address_words; ++w) m.word[w] = s.addresses[w];
    m.word[s.address_words] = std::uint64_t{s.client_port} << 48 | std::uint64_t{s.server_port} << 32 | s.client_isn.value;
    std::uint32_t const symbol = low & (low_mask >> 1);
    m.word[s.address_words + 1u] = symbol | (timestamps ? 0x100u : 0u) | std::uint64_t{s.zone} << 16;
    m.words = static_cast<std::uint8_t>(s.address_words + 2u);
    m.epoch_parity = static_cast<std::uint8_t>(low >> Layout::option_bits);
    return m;
}

template <keyed_hash KeyedHash, cookie_layout Layout>
HALFPROXY_ALWAYS_INLINE cookie_message syn_cookie<KeyedHash, Layout>::message_of(cookie_subject const& subject, cookie_draft const& draft,
                                                                                 bool timestamps) noexcept {
    return message_of(subject, draft.low, timestamps);
}

template <keyed_hash KeyedHash, cookie_layout Layout>
HALFPROXY_ALWAYS_INLINE cookie_message syn_cookie<KeyedHash, Layout>::message_of(cookie_subject const& subject, cookie_echo const& echo) noexcept {
    return message_of(subject, low_of(echo.isn), echo.timestamp_echo.has_value());
}

template <keyed_hash KeyedHash, cookie_layout Layout>
HALFPROXY_ALWAYS_INLINE std::uint64_t syn_cookie<KeyedHash, Layout>::hash(cookie_message const& m) const noexcept {
    std::size_t const whole = m.words - 1u;
    return KeyedHash{}(keys_[m.epoch_parity], {m.word.data(), whole}, m.word[whole], cookie_message::tail_bytes);
}

template <keyed_hash KeyedHash, cookie_layout Layout>
template <std::size_t AddressWords>
HALFPROXY_ALWAYS_INLINE void syn_cookie<KeyedHash, Layout>::note(cookie_burst<AddressWords>& burst, cookie_message const& m) const noexcept {
    auto& messages = burst.messages_;
    std::size_t const i = burst.size_++;
    for (std::size_t k = 0; k < messages.key.size(); ++k) messages.key[k][i] = keys_[m.epoch_parity][k];
    for (std::size_t w = 0; w < messages.word.size(); ++w) messages.word[w][i] = m.word[w];
}

template <keyed_hash KeyedHash, cookie_layout Layout>
template <std::size_t AddressWords>
void syn_cookie<KeyedHash, Layout>::hash(cookie_burst<AddressWords>& burst) const noexcept {
    constexpr std::size_t whole = AddressWords + 1;
    auto& m = burst.messages_;
    if constexpr (requires { KeyedHash::hash_all(m, burst.size_, cookie_message::tail_bytes, vectors_); }) {
        KeyedHash::hash_all(m, burst.size_, cookie_message::tail_bytes, vectors_);
    } else {
        for (std::size_t i = 0; i < burst.size_; ++i) {
            std::array<std::uint64_t, whole> words;
            for (std::size_t w = 0; w < whole; ++w) words[w] = m.word[w][i];
            m.digest[i] = KeyedHash{}({m.key[0][i], m.key[1][i]}, words, m.word[whole][i], cookie_message::tail_bytes);
        }
    }
}

template <keyed_hash KeyedHash, cookie_layout Layout>
seq_num syn_cookie<KeyedHash, Layout>::isn_of(std::uint64_t mac, std::uint32_t low) noexcept {
    auto const high = static_cast<std::uint32_t>(mac >> 32) & ~low_mask;
    return {high | (low ^ high >> mac_bits)};
}

template <keyed_hash KeyedHash, cookie_layout Layout>
seq_num syn_cookie<KeyedHash, Layout>::client_isn(seq_num ack_sequence, cookie_echo const& echo) noexcept {
    std::uint32_t const symbol = low_of(echo.isn) & (low_mask >> 1);
    isn_parity const parity = Layout::parity(symbol, echo.timestamp_echo.has_value());
    bool const is_probe = parity != isn_parity::unsaid && (ack_sequence.value & 1u) == static_cast<std::uint32_t>(parity);
    return ack_sequence - static_cast<seq_len>(!is_probe);  // without a branch: a stranger's ACK is one or the other by chance
}

template <keyed_hash KeyedHash, cookie_layout Layout>
HALFPROXY_ALWAYS_INLINE cookie_draft syn_cookie<KeyedHash, Layout>::draft(cookie_options const& options, seq_num client_isn, bool ipv6) const noexcept {
    std::uint32_t const symbol = Layout::encode(options, (client_isn.value & 1u) != 0, ipv6);
    return {making_parity_ << Layout::option_bits | symbol, detail::scales_of(options)};
}

template <keyed_hash KeyedHash, cookie_layout Layout>
HALFPROXY_ALWAYS_INLINE cookie syn_cookie<KeyedHash, Layout>::finish(cookie_draft const& draft, std::uint64_t mac) noexcept {
    return {isn_of(mac, draft.low), static_cast<std::uint32_t>(mac) ^ draft.scales};
}

template <keyed_hash KeyedHash, cookie_layout Layout>
HALFPROXY_ALWAYS_INLINE bool syn_cookie<KeyedHash, Layout>::belongs(cookie_echo const& echo, std::uint64_t mac) noexcept {
    bool const isn_fits = isn_of(mac, low_of(echo.isn)) == echo.isn;
    return isn_fits && (!echo.timestamp_echo || scales_in(*echo.timestamp_echo, mac) <= 0xff);
}

template <keyed_hash KeyedHash, cookie_layout Layout>
cookie_options syn_cookie<KeyedHash, Layout>::options_of(cookie_echo const& echo, std::uint64_t mac, bool ipv6) noexcept {
    bool const timestamps = echo.timestamp_echo.has_value();
    cookie_options options = Layout::decode(low_of(echo.isn) & (low_mask >> 1), timestamps, ipv6);
    if (!timestamps) return options;
    std::uint32_t const scales = scales_in(*echo.timestamp_echo, mac);
    detail::set_scale(options, scales & 0x0fu);
    options.promised_scale = scales >> 4 & 0x0fu;
    return options;
}

template <keyed_hash KeyedHash, cookie_layout Layout>
cookie syn_cookie<KeyedHash, Layout>::make(cookie_subject const& subject, cookie_options const& options, bool ipv6, time_point now) noexcept {
    turn_to(now);
    cookie_draft const d = draft(options, subject.client_isn, ipv6);
    return finish(d, hash(message_of(subject, d, options.has_timestamps)));
}

template <keyed_hash KeyedHash, cookie_layout Layout>
std::optional<cookie_options> syn_cookie<KeyedHash, Layout>::check(cookie_subject const& subject, cookie_echo const& echo, bool ipv6,
                                                                   time_point now) noexcept {
    turn_to(now);
    std::uint64_t const mac = hash(message_of(subject, echo));
    if (!belongs(echo, mac)) return std::nullopt;
    return options_of(echo, mac, ipv6);
}

}  // namespace halfproxy
