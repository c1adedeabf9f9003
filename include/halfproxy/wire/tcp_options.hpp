// SPDX-License-Identifier: BSL-1.0
// TCP options: a cursor over the bytes, and everything known read in one pass.
//
// Read RFC 9293 section 3.2, RFC 7323 sections 2 and 3, RFC 2018, RFC 2883, RFC 7413 first.
#pragma once

#include <halfproxy/core/bytes.hpp>
#include <halfproxy/wire/seq.hpp>

#include <array>
#include <cstdint>

namespace halfproxy {

namespace tcp_option {
inline constexpr std::uint8_t end = 0;
inline constexpr std::uint8_t no_operation = 1;
inline constexpr std::uint8_t mss = 2;
inline constexpr std::uint8_t window_scale = 3;
inline constexpr std::uint8_t sack_permitted = 4;
inline constexpr std::uint8_t sack = 5;
inline constexpr std::uint8_t timestamps = 8;
inline constexpr std::uint8_t fast_open = 34;
}  // namespace tcp_option

inline constexpr std::uint8_t max_window_scale = 14;     // RFC 7323 section 2.3
inline constexpr std::size_t max_sack_blocks = 4;        // what 40 bytes of options hold
inline constexpr std::uint16_t default_mss_v4 = 536;     // RFC 9293 section 3.7.1
inline constexpr std::uint16_t default_mss_v6 = 1220;

struct sack_block {
    seq_num left;
    seq_num right;  ///< one past the last byte
};

/// What a segment's options say. `at` members are offsets into the option bytes, for rewriting in place.
/// Of an option that stands twice the first counts, as in Linux; `malformed` means that an option's length is 0, 1, beyond the
/// options, or wrong for its kind: what stood before it is valid, what stands behind is not read.
struct tcp_options {
    bool malformed = false;
    bool repeated = false;
    bool has_mss = false;
    bool has_window_scale = false;
    bool sack_permitted = false;
    bool has_timestamps = false;
    bool has_fast_open = false;
    bool has_unknown = false;
    std::uint16_t mss = 0;
    std::uint8_t window_scale = 0;   ///< as sent; use at most max_window_scale
    std::uint8_t sack_count = 0;     ///< blocks
    std::uint8_t sack_at = 0;        ///< of the first block
    std::uint8_t timestamps_at = 0;  ///< of TSval; TSecr follows
    std::uint8_t mss_at = 0;         ///< of its two bytes
    std::uint32_t timestamp_value = 0;
    std::uint32_t timestamp_echo = 0;
    std::array<sack_block, max_sack_blocks> sack_blocks{};
};

/// One option: its kind, and its bytes without kind and length.
struct tcp_option_view {
    std::uint8_t kind = 0;
    std::uint8_t at = 0;  ///< offset of `content` in the option bytes
    byte_view content{};
};

/// Walks over options; skips no-operations, stops at the end option. Usage: while (cursor.next(option)) ...
class tcp_option_cursor {
  public:
    explicit tcp_option_cursor(byte_view options) noexcept : options_(options) {}

    /// False at the end and at a malformed option; malformed() then tells which.
    bool next(tcp_option_view& option) noexcept;
    [[nodiscard]] bool malformed() const noexcept { return malformed_; }

  private:
    byte_view options_;
    std::size_t at_ = 0;
    bool malformed_ = false;
};

/// Reads all options in one pass of at most 40 steps.
[[nodiscard]] tcp_options parse_tcp_options(byte_view options) noexcept;

}  // namespace halfproxy

#include <halfproxy/wire/impl/tcp_options.hpp>
