// SPDX-License-Identifier: BSL-1.0
// A spliced connection's two views of the server's numbers: sequence, SACK edges, timestamps and window scale, mapped in place.
//
// Read RFC 9293 section 3.4, RFC 2018 section 3 and RFC 7323 sections 2.2 and 3.2 first.
#pragma once

#include <halfproxy/translate/rewrite.hpp>
#include <halfproxy/wire/parse.hpp>
#include <halfproxy/wire/seq.hpp>
#include <halfproxy/wire/tcp_options.hpp>

#include <cstdint>

namespace halfproxy {

/// What to add to the server's numbers so that they become what the client was promised. The client's own numbers
/// reach the server unchanged.
struct seq_shift {
    std::uint32_t sequence = 0;   ///< cookie - server's ISN
    std::uint32_t timestamp = 0;  ///< cookie's TSval - TSval of the server's SYN-ACK

    friend bool operator==(seq_shift const&, seq_shift const&) noexcept = default;
};

/// From the window scale its announcer uses to the one its reader was told.
struct window_rescale {
    std::uint8_t from = 0;
    std::uint8_t to = 0;
    bool up = false;  ///< round up: for a window that ends where an earlier one did (RFC 7323 section 2.4)

    /// The 16-bit window in the reader's scale: saturating, and an open window never becomes closed by rounding. Where the
    /// reader's scale is the coarser one, the window is rounded down unless `up` says otherwise, so nobody sends more than was granted.
    [[nodiscard]] constexpr std::uint16_t apply(std::uint16_t window) const noexcept {
        if (window == 0 || from == to) return window;
        std::uint64_t const units = ((std::uint64_t{window} << from) + (up ? (1u << to) - 1 : 0)) >> to;
        return units == 0 ? std::uint16_t{1} : units > 0xffff ? std::uint16_t{0xffff} : static_cast<std::uint16_t>(units);
    }
};

/// Whose numbers a packet is to have when it leaves.
enum class shift_toward : std::uint8_t { client = 0, server = 1 };

/// Toward the client SEQ and TSval, toward the server ACK, every SACK edge and TSecr; the window both ways. Windows in SYN segments are left
/// alone. `options` must be those of `packet`.
void shift_numbers(packet_view const& packet, tcp_options const& options, seq_shift shift, shift_toward reader, window_rescale rescale,
                   header_changes& changes) noexcept;

}  // namespace halfproxy

#include <halfproxy/translate/impl/seq_shift.hpp>
