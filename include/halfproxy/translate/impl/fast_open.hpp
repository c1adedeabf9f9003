// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/translate/fast_open.hpp>

namespace halfproxy {

namespace detail {

inline constexpr std::uint8_t experimental_options[] = {253, 254};
inline constexpr std::uint16_t fast_open_experiment = 0xf989;

/// A byte of the TCP header, in its half of the checksum's word.
inline void blank_option_byte(packet_view const& packet, std::size_t offset, header_changes& changes) noexcept {
    std::uint8_t& byte = packet.bytes()[packet.layout().transport_offset + offset];
    unsigned const half = offset % 2 == 0 ? 8 : 0;
    changes.transport.change16(static_cast<std::uint16_t>(byte << half), static_cast<std::uint16_t>(tcp_option::no_operation << half));
    byte = tcp_option::no_operation;
}

}  // namespace detail

inline bool is_fast_open(tcp_option_view const& option) noexcept {
    if (option.kind == tcp_option::fast_open) return true;
    bool const experimental = option.kind == detail::experimental_options[0] || option.kind == detail::experimental_options[1];
    return experimental && option.content.size() >= 2 && header_at<big16>(option.content.data()) == detail::fast_open_experiment;
}

inline void blank_fast_open(packet_view const& packet, header_changes& changes) noexcept {
    tcp_option_cursor cursor(packet.tcp_options());
    tcp_option_view option;
    while (cursor.next(option)) {
        if (!is_fast_open(option)) continue;
        std::size_t const kind_at = sizeof(tcp_header) + option.at - 2;
        for (std::size_t i = 0; i < option.content.size() + 2; ++i) detail::blank_option_byte(packet, kind_at + i, changes);
    }
}

}  // namespace halfproxy
