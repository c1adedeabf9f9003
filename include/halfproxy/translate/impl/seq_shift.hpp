// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/translate/seq_shift.hpp>

namespace halfproxy {

namespace detail {

/// Adds to a 32-bit field of the TCP header. Options may stand at odd offsets: the checksum's words then see the bytes shifted.
HALFPROXY_ALWAYS_INLINE void add_to_field(std::uint8_t* tcp, std::size_t offset, std::uint32_t amount, header_changes& changes) noexcept {
    auto& field = header_at<big32>(tcp + offset);
    std::uint32_t const before = field;
    field = before + amount;
    changes.transport.change32_at(offset, before, before + amount);
}

/// Windows of SYNs are never scaled (RFC 7323 section 2.2).
HALFPROXY_ALWAYS_INLINE void rescale_window(tcp_header& tcp, window_rescale rescale, header_changes& changes) noexcept {
    if (rescale.from == rescale.to || (tcp.flags & tcp_flag::syn) != 0) [[likely]]
        return;
    std::uint16_t const window = rescale.apply(tcp.window);
    changes.transport.change16(tcp.window, window);
    tcp.window = window;
}

}  // namespace detail

HALFPROXY_ALWAYS_INLINE void shift_numbers(packet_view const& packet, tcp_options const& options, seq_shift shift, shift_toward reader,
                                           window_rescale rescale, header_changes& changes) noexcept {
    bool const to_server = reader == shift_toward::server;
    detail::rescale_window(packet.tcp(), rescale, changes);
    // ACK and TSecr are only valid with the flag (RFC 7323 section 3.2); a reset may carry empty ones.
    if ((packet.tcp().flags & tcp_flag::ack) == 0 && to_server) [[unlikely]]
        return;
    // A server's packet has its numbers in SEQ and TSval, a client's in ACK and TSecr, four bytes further on: which of them comes next is as
    // good as random, so the place is computed, not branched to.
    std::size_t const further = 4 * static_cast<std::size_t>(reader);
    std::uint8_t* const bytes = packet.bytes().data() + packet.layout().transport_offset;
    std::uint32_t const minus = 0u - static_cast<std::uint32_t>(reader);  // (x ^ minus) - minus is -x toward the server, x toward the client
    std::uint32_t const sequence = (shift.sequence ^ minus) - minus;
    detail::add_to_field(bytes, offsetof(tcp_header, sequence) + further, sequence, changes);
    if (options.has_timestamps) {
        std::uint32_t const timestamp = (shift.timestamp ^ minus) - minus;
        detail::add_to_field(bytes, sizeof(tcp_header) + options.timestamps_at + further, timestamp, changes);
    }
    if (options.sack_count == 0 || !to_server) [[likely]]
        return;
    for (std::size_t edge = 0; edge < options.sack_count * std::size_t{2}; ++edge)
        detail::add_to_field(bytes, sizeof(tcp_header) + options.sack_at + 4 * edge, sequence, changes);
}

}  // namespace halfproxy
