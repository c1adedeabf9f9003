// SPDX-License-Identifier: BSL-1.0
// TCP options changed in place: one blanked, timestamps put in, the MSS lowered.
//
// Read RFC 7323 section 3.2 and RFC 9293 section 3.7.1 first.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/translate/rewrite.hpp>
#include <halfproxy/wire/parse.hpp>
#include <halfproxy/wire/tcp_options.hpp>

#include <cstdint>

namespace halfproxy {

/// What timestamps take of a segment, padded as everybody sends them.
inline constexpr std::uint32_t timestamp_option_bytes = 12;

/// Puts no-operations where the option with this content stands. `options` are those of `packet`, and forget it too.
void blank_timestamps(packet_view const& packet, tcp_options& options, header_changes& changes) noexcept;
void blank_sack(packet_view const& packet, tcp_options& options, header_changes& changes) noexcept;

/// Lowers the MSS of a SYN to at most `ceiling`.
void lower_mss(packet_view const& packet, tcp_options& options, std::uint16_t ceiling, header_changes& changes) noexcept;

/// Makes the frame longer by `option`, whole words that come first among its options; lengths and checksums follow. False, and nothing
/// changed, for a fragment and where frame, IP length or options have no room. `packet` must be the frame's; it is not valid afterwards.
bool insert_option(frame& f, packet_view const& packet, byte_view option) noexcept;

/// The same with NOP, NOP and timestamps: 12 bytes.
bool insert_timestamps(frame& f, packet_view const& packet, std::uint32_t value, std::uint32_t echo) noexcept;

}  // namespace halfproxy

#include <halfproxy/translate/impl/option_edit.hpp>
