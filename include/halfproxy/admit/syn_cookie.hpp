// SPDX-License-Identifier: BSL-1.0
// SYN cookies that keep MSS, window scale, SACK and ECN with and without timestamps.
//
// Read RFC 4987 section 3.6 and RFC 7323 sections 2 and 3 first.
//
// The initial sequence number we choose for the server's side:
//
//      31                                  8   7   6              0
//     +-------------------------------------+-----+----------------+
//     |          MAC, high 24 bits          |  e  | options ^ mask |
//     +-------------------------------------+-----+----------------+
//
// The MAC is SipHash-2-4 over both addresses, both ports, the client's ISN, the option symbol and whether timestamps are in
// use, under the key of the epoch. e is the epoch's parity: of the two live keys only that one is tried, so a check is one
// hash. The low 8 bits are masked with the MAC's own top 8, so that neither options nor epoch show. Bit budget for an ACK with a guessed
// number: every symbol and either epoch is valid, 24 bits of MAC must be hit, so a guess succeeds with probability 2^-24.
//
// Where the client uses timestamps, our TSval carries more, and a guess must hit 24 bits more (2^-48):
//
//      31                        8   7             4   3             0
//     +---------------------------+-----------------+-----------------+
//     |     MAC, low 24 bits      | our scale ^ MAC | its scale ^ MAC |
//     +---------------------------+-----------------+-----------------+
//
// TSval says nothing of a clock: it differs by tuple, ISN and epoch. Most symbols hold the parity of the client's ISN, which tells a
// probe of the closed window (SEQ = ISN) from a first ACK (SEQ = ISN + 1) before anything is hashed; see dense_cookie_layout.
#pragma once

#include <halfproxy/admit/siphash.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/wire/headers.hpp>
#include <halfproxy/wire/seq.hpp>

#include <array>
#include <bit>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>

namespace halfproxy {

/// 128 bits that only the proxies of one cluster know: the master from which each epoch's key is derived. From a
/// system random source; never logged.
struct secret_key {
    std::array<std::uint8_t, 16> bytes{};
};

/// What a cookie remembers of a SYN: what the client offered and we promised to keep.
struct cookie_options {
    std::uint16_t mss = 0;           ///< decoded as the largest encodable value not above it
    bool has_window_scale = false;
    std::uint8_t window_scale = 0;   ///< 0 to 14
    bool sack_permitted = false;
    bool ecn = false;
    bool has_timestamps = false;
    std::uint8_t promised_scale = 0; ///< what the client was told of the server's; comes back with timestamps only

    friend bool operator==(cookie_options const&, cookie_options const&) noexcept = default;
};

/// What a symbol says of the client's ISN.
enum class isn_parity : std::uint8_t { even, odd, unsaid };

/// Whose cookie it is. Addresses in network byte order as 64-bit words: one word for IPv4 (source, destination), four for IPv6.
struct cookie_subject {
    std::array<std::uint64_t, 4> addresses{};
    std::uint8_t address_words = 0;
    std::uint16_t client_port = 0;
    std::uint16_t server_port = 0;
    seq_num client_isn{};
    std::uint16_t zone = 0;  ///< the VLAN: equal tuples in different ones are different clients
};

/// A keyed hash over 64-bit words, its key an array of two of them. Exemplar: siphash_2_4 (admit/siphash.hpp). Must be a MAC: unpredictable without its key.
template <class Hash>
concept keyed_hash = std::same_as<typename Hash::key_type, std::array<std::uint64_t, 2>> &&
                     requires(Hash const& hash, typename Hash::key_type const& key,
                              std::span<std::uint64_t const> words, std::uint64_t tail) {
    { hash(key, words, tail, 2u) } noexcept -> std::same_as<std::uint64_t>;
};

/// RFC 4987 section 3.6: a secret that is in use for long can be guessed, or its cookies be collected.
inline constexpr timeout_ms longest_key_rotation = 60'000;

/// How options become the low bits of the ISN. Exemplar and default: dense_cookie_layout. `kept` takes away what no symbol holds: it must
/// not be promised. `encode`, of kept options, rounds the MSS down to one of its values, and a window scale down where the bits do
/// not hold all; it may keep the parity of the client's ISN too. Every value under 2^option_bits decodes.
template <class Layout>
concept cookie_layout = requires(cookie_options const& options, std::uint32_t symbol, bool timestamps, bool odd_isn, bool ipv6) {
    { Layout::option_bits } -> std::convertible_to<unsigned>;
    { Layout::least_mss } -> std::convertible_to<unsigned>;
    { Layout::kept(options, ipv6) } noexcept -> std::same_as<cookie_options>;
    { Layout::encode(options, odd_isn, ipv6) } noexcept -> std::same_as<std::uint32_t>;
    { Layout::decode(symbol, timestamps, ipv6) } noexcept -> std::same_as<cookie_options>;
    { Layout::parity(symbol, timestamps) } noexcept -> std::same_as<isn_parity>;
};

/// Seven bits. With timestamps (which hold the scales): MSS (4), SACK, ECN, parity of the client's ISN. Without: MSS (2), and one of 32 slots:
///     22  SACK, scale absent, 0, 2, 4, 6 to 10, 12 or 14, each for an even and an odd ISN
///      5  no SACK, scale absent or 7 for an even and an odd ISN, scale 0 without parity
///      4  SACK and ECN, scale absent, 0, 7 or 10, without parity
///      1  nothing but an MSS below the family's default, one of four
/// So without timestamps ECN needs SACK, and a client of a tiny MSS keeps nothing else.
struct dense_cookie_layout {
    static constexpr unsigned option_bits = 7;
    static constexpr unsigned least_mss = 64;  ///< below, no value is honest

    static constexpr std::array<std::uint16_t, 4> mss_v4{536, 1360, 1440, 1460};
    static constexpr std::array<std::uint16_t, 4> mss_v6{1220, 1360, 1420, 1440};
    static constexpr std::array<std::uint16_t, 4> tiny_mss_v4{64, 128, 256, 384};
    static constexpr std::array<std::uint16_t, 4> tiny_mss_v6{64, 256, 536, 1024};
    static constexpr std::array<std::uint16_t, 16> many_mss_v4{64,   128,  256,  536,  1024, 1220, 1260, 1300,
                                                               1360, 1380, 1400, 1420, 1440, 1452, 1460, 8960};
    static constexpr std::array<std::uint16_t, 16> many_mss_v6{64,   256,  536,  1024, 1220, 1260, 1300, 1320,
                                                               1340, 1360, 1380, 1400, 1420, 1432, 1440, 8940};

    [[nodiscard]] static cookie_options kept(cookie_options const& options, bool ipv6) noexcept;
    [[nodiscard]] static std::uint32_t encode(cookie_options const& options, bool odd_isn, bool ipv6) noexcept;
    [[nodiscard]] static cookie_options decode(std::uint32_t symbol, bool timestamps, bool ipv6) noexcept;
    [[nodiscard]] static isn_parity parity(std::uint32_t symbol, bool timestamps) noexcept;
};

/// The numbers of a SYN-ACK.
struct cookie {
    seq_num isn;
    std::uint32_t timestamp_value;  ///< to be sent when the client uses timestamps
};

/// What comes back in the client's ACK.
struct cookie_echo {
    seq_num isn;                                 ///< the acknowledgment number less 1
    std::optional<std::uint32_t> timestamp_echo; ///< TSecr, when the ACK carries timestamps
};

/// What the MAC of a cookie is made of: the words, the last of which holds 4 bytes, and the parity of the epoch whose key it is.
struct cookie_message {
    static constexpr unsigned tail_bytes = 4;

    std::array<std::uint64_t, 6> word;
    std::uint8_t words;
    std::uint8_t epoch_parity;
};

/// A cookie that lacks only its MAC.
struct cookie_draft {
    std::uint32_t low;  ///< the options' symbol and the epoch's parity, not yet masked
    std::uint8_t scales;
};

/// Messages whose MACs are wanted at the same time. Their subjects all have `AddressWords` address words.
template <std::size_t AddressWords>
class cookie_burst {
  public:
    static constexpr std::size_t words = AddressWords + 2;
    static constexpr std::size_t capacity = keyed_messages<words>::capacity;

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::uint64_t mac(std::size_t i) const noexcept { return messages_.digest[i]; }  ///< after syn_cookie::hash()
    void clear() noexcept { size_ = 0; }

  private:
    template <keyed_hash KeyedHash, cookie_layout Layout>
    friend class syn_cookie;

    keyed_messages<words> messages_{};
    std::size_t size_ = 0;
};

/// Makes and checks cookies. Holds two derived keys at a time; keeps no state per client. Work: one hash to make, one to check.
///
/// An epoch's key is derived from the secret and the epoch's number, counted from time 0 of a clock that all nodes share: they accept each other's
/// cookies. `common_clock` says what to add to packet time to get that clock (nanoseconds since 1970, say). A new key is accepted at once and used for
/// making after an eighth of a rotation only: so far ahead of others a node's clock may be, and behind by what their cookies still have to live.
/// A cookie lives for at least seven eighths of a rotation and at most two.
///
/// make() and check() do it for one client. For a burst of them the hashes are computed side by side, where KeyedHash knows how: draft() and
/// note() each, hash() all, then finish() each; or message_of() and note() each, hash() all, then belongs() each.
template <keyed_hash KeyedHash = siphash_2_4, cookie_layout Layout = dense_cookie_layout>
class syn_cookie {
  public:
    using layout = Layout;
    static constexpr unsigned mac_bits = 32 - Layout::option_bits - 1;
    static constexpr unsigned live_keys = 2;
    static constexpr int making_lag = 8;  ///< a key is used for making after so great a part of a rotation
    static_assert(mac_bits >= 24, "a guessed ACK must succeed with probability at most 2^-24");

    /// `rotation` from 1 ms to longest_key_rotation; what is outside is taken as the nearest of the two.
    syn_cookie(secret_key const& secret, timeout_ms rotation, packet_clock::duration common_clock = {}) noexcept;

    /// The common clock was set: what to add to packet time from now on. No cookie that is out breaks: the epoch in force lasts until one of the new
    /// count can follow it, three rotations at most. Until then, and for a rotation after, other nodes' cookies may be refused. False, and
    /// nothing has changed, while an earlier setting still waits for that: say it again later.
    [[nodiscard]] bool set_common_clock(packet_clock::duration common_clock, time_point now) noexcept;

    /// `options` as Layout::kept gave them, their MSS at least Layout::least_mss; what decoding will give is Layout's rounding.
    [[nodiscard]] cookie make(cookie_subject const& subject, cookie_options const& options, bool ipv6,
                              time_point now) noexcept;

    /// The client's ISN, by the sequence number of its ACK: one less, or in a probe of the closed window the number itself (RFC 9293 section 3.8.6.1).
    /// The symbol's parity tells which; where it says nothing, every ACK is taken as a first one.
    [[nodiscard]] static seq_num client_isn(seq_num ack_sequence, cookie_echo const& echo) noexcept;

    /// The remembered options, or nothing when the echo belongs to no cookie of the last two epochs.
    [[nodiscard]] std::optional<cookie_options> check(cookie_subject const& subject, cookie_echo const& echo, bool ipv6,
                                                      time_point now) noexcept;

    // --- The steps of make() and check() ------------------------------------------------------------------------------

    /// Takes the keys of this time; the steps behind it use them.
    void turn_to(time_point now) noexcept;

    [[nodiscard]] cookie_draft draft(cookie_options const& options, seq_num client_isn, bool ipv6) const noexcept;
    [[nodiscard]] static cookie finish(cookie_draft const& draft, std::uint64_t mac) noexcept;

    /// Of a draft, or of the cookie that an echo claims to be.
    [[nodiscard]] static cookie_message message_of(cookie_subject const& subject, cookie_draft const& draft, bool timestamps) noexcept;
    [[nodiscard]] static cookie_message message_of(cookie_subject const& subject, cookie_echo const& echo) noexcept;

    /// Whether an echo is that of the cookie with this MAC, and what that remembers.
    [[nodiscard]] static bool belongs(cookie_echo const& echo, std::uint64_t mac) noexcept;
    [[nodiscard]] static cookie_options options_of(cookie_echo const& echo, std::uint64_t mac, bool ipv6) noexcept;

    [[nodiscard]] std::uint64_t hash(cookie_message const& message) const noexcept;

    /// Adds a message; there is room for cookie_burst::capacity of them.
    template <std::size_t AddressWords>
    void note(cookie_burst<AddressWords>& burst, cookie_message const& message) const noexcept;
    template <std::size_t AddressWords>
    void hash(cookie_burst<AddressWords>& burst) const noexcept;

  private:
    using key_type = typename KeyedHash::key_type;
    static constexpr std::uint32_t low_mask = (1u << (Layout::option_bits + 1)) - 1;

    void turn(std::int64_t now_ns) noexcept;
    [[nodiscard]] std::int64_t into_epoch(std::int64_t now_ns) const noexcept;
    [[nodiscard]] key_type derive(std::int64_t epoch) const noexcept;
    [[nodiscard]] static cookie_message message_of(cookie_subject const& subject, std::uint32_t low, bool timestamps) noexcept;
    [[nodiscard]] static seq_num isn_of(std::uint64_t mac, std::uint32_t low) noexcept;
    [[nodiscard]] static std::uint32_t scales_in(std::uint32_t timestamp, std::uint64_t mac) noexcept { return timestamp ^ static_cast<std::uint32_t>(mac); }
    [[nodiscard]] static std::uint32_t low_of(seq_num isn) noexcept { return (isn.value ^ isn.value >> mac_bits) & low_mask; }

    key_type master_;
    std::int64_t rotation_ns_;
    std::uint64_t lag_ns_;          ///< so long into an epoch the key of the one before still makes cookies
    std::int64_t common_clock_ns_;  ///< less packet time
    std::int64_t epoch_ = 0;
    std::int64_t epoch_begin_ns_ = 0;     ///< in packet time
    std::uint64_t epoch_length_ns_ = 0;   ///< a rotation, but for an epoch in which the common clock was set
    std::array<key_type, live_keys> keys_{};  ///< by parity of their epoch: this one's and the one's before it
    std::uint32_t making_parity_ = 0;     ///< of the epoch whose key makes cookies at the time of the last turn_to()
    vector_unit vectors_ = widest_vector_unit();
};

}  // namespace halfproxy

#include <halfproxy/admit/impl/syn_cookie.hpp>
