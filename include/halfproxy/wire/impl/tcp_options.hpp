// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/wire/headers.hpp>
#include <halfproxy/wire/tcp_options.hpp>

#include <algorithm>

namespace halfproxy {

inline bool tcp_option_cursor::next(tcp_option_view& option) noexcept {
    while (at_ < options_.size() && options_[at_] == tcp_option::no_operation) ++at_;
    if (at_ >= options_.size() || options_[at_] == tcp_option::end) return false;
    std::size_t const length = at_ + 1 < options_.size() ? options_[at_ + 1] : 0u;
    if (length < 2 || length > options_.size() - at_) {
        malformed_ = true;
        return false;
    }
    option = {options_[at_], static_cast<std::uint8_t>(at_ + 2), options_.subspan(at_ + 2, length - 2)};
    at_ += length;
    return true;
}

namespace detail {

inline std::uint32_t load32(std::uint8_t const* at) noexcept { return header_at<big32>(at); }

inline bool read_sack(tcp_option_view const& option, tcp_options& out) noexcept {
    std::size_t const blocks = option.content.size() / 8;
    if (blocks == 0 || option.content.size() % 8 != 0) return false;
    out.sack_at = option.at;
    out.sack_count = static_cast<std::uint8_t>(std::min(blocks, max_sack_blocks));
    for (std::size_t i = 0; i < out.sack_count; ++i) {
        std::uint8_t const* at = option.content.data() + 8 * i;
        out.sack_blocks[i] = {{load32(at)}, {load32(at + 4)}};
    }
    return true;
}

/// False when the length is wrong for the kind.
HALFPROXY_ALWAYS_INLINE bool read_option(tcp_option_view const& option, tcp_options& out) noexcept {
    byte_view const content = option.content;
    auto const first = [&out](bool& seen) { return seen ? (out.repeated = true, false) : (seen = true); };
    switch (option.kind) {
        case tcp_option::mss:
            if (content.size() != 2) return false;
            if (first(out.has_mss)) {
                out.mss = header_at<big16>(content.data());
                out.mss_at = option.at;
            }
            return true;
        case tcp_option::window_scale:
            if (content.size() != 1) return false;
            if (first(out.has_window_scale)) out.window_scale = content[0];
            return true;
        case tcp_option::sack_permitted:
            if (!content.empty()) return false;
            first(out.sack_permitted);
            return true;
        case tcp_option::sack:
            if (out.sack_count == 0) return read_sack(option, out);
            out.repeated = true;
            return true;
        case tcp_option::timestamps:
            if (content.size() != 8) return false;
            if (first(out.has_timestamps)) {
                out.timestamps_at = option.at;
                out.timestamp_value = load32(content.data());
                out.timestamp_echo = load32(content.data() + 4);
            }
            return true;
        case tcp_option::fast_open: out.has_fast_open = true; return true;
        default: out.has_unknown = true; return true;
    }
}

/// NOP, NOP, timestamps: what nearly every segment of an established connection carries (RFC 7323 appendix A).
inline constexpr std::uint8_t only_timestamps_at = 4;
inline bool only_timestamps(byte_view options) noexcept {
    return options.size() == 12 && load32(options.data()) == 0x0101080au;
}

inline void read_options(byte_view options, tcp_options& out) noexcept {
    tcp_option_cursor cursor(options);
    tcp_option_view option;
    while (cursor.next(option)) {
        if (read_option(option, out)) continue;
        out.malformed = true;
        return;
    }
    out.malformed = cursor.malformed();
}

/// MSS, SACK permitted, timestamps, NOP, window scale: the SYN of Linux, and of everything that answers it alike.
[[nodiscard]] inline bool is_usual_syn(byte_view options) noexcept {
    std::uint8_t const* at = options.data();
    return options.size() == 20 && load32(at) >> 16 == 0x0204 && load32(at + 4) == 0x0402080au &&
           load32(at + 16) >> 8 == 0x010303;
}

inline void read_usual_syn(byte_view options, tcp_options& out) noexcept {
    std::uint8_t const* at = options.data();
    out.has_mss = out.sack_permitted = out.has_timestamps = out.has_window_scale = true;
    out.mss = static_cast<std::uint16_t>(load32(at));
    out.mss_at = 2;
    out.timestamps_at = 8;
    out.timestamp_value = load32(at + 8);
    out.timestamp_echo = load32(at + 12);
    out.window_scale = at[19];
}

}  // namespace detail

HALFPROXY_ALWAYS_INLINE tcp_options parse_tcp_options(byte_view options) noexcept {
    tcp_options out;
    if (options.empty()) return out;
    if (detail::only_timestamps(options)) {
        out.has_timestamps = true;
        out.timestamps_at = detail::only_timestamps_at;
        out.timestamp_value = detail::load32(options.data() + 4);
        out.timestamp_echo = detail::load32(options.data() + 8);
        return out;
    }
    if (detail::is_usual_syn(options))
        detail::read_usual_syn(options, out);
    else
        detail::read_options(options, out);
    return out;
}

}  // namespace halfproxy
