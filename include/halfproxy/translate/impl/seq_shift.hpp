// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/translate/seq_shift.hpp>

namespace halfproxy {

namespace detail {

/// Adds to a 32-bit field of the TCP header. Options may stand at odd offsets: the checksum's words then see the bytes shifted.
inline void add_to_field(std::uint8_t* tcp, std::size_t offset, std::uint32_t amount, header_changes& changes) noexcept {
    auto& field = header_at<big32>(tcp + offset);
    std::uint32_t const before = field;
    field = before + amount;
    changes.transport.change32_at(offset, before, before + amount);
}

/// Windows of SYNs are never scaled (RFC 7323 section 2.2).
inline void rescale_window(tcp_header& tcp, window_rescale rescale, header_changes& changes) noexcept {
    if ((tcp.flags & tcp_flag::syn) != 0) return;
    std::uint16_t const window = rescale.apply(tcp.window);
    changes.transport.change16(tcp.window, window);
    tcp.window = window;
}

[[nodiscard]] inline std::uint8_t* tcp_bytes(packet_view const& packet) noexcept {
    return packet.bytes().data() + packet.layout().transport_offset;
}

}  // namespace detail

HALFPROXY_ALWAYS_INLINE void shift_to_client(packet_view const& packet, tcp_options const& options, seq_shift shift, window_rescale rescale,
                            header_changes& changes) noexcept {
    std::uint8_t* const bytes = detail::tcp_bytes(packet);
    detail::add_to_field(bytes, offsetof(tcp_header, sequence), shift.sequence, changes);
    if (options.has_timestamps)
        detail::add_to_field(bytes, sizeof(tcp_header) + options.timestamps_at, shift.timestamp, changes);
    detail::rescale_window(packet.tcp(), rescale, changes);
}

HALFPROXY_ALWAYS_INLINE void shift_to_server(packet_view const& packet, tcp_options const& options, seq_shift shift, window_rescale rescale,
                            header_changes& changes) noexcept {
    std::uint8_t* const bytes = detail::tcp_bytes(packet);
    if ((packet.tcp().flags & tcp_flag::ack) != 0)
        detail::add_to_field(bytes, offsetof(tcp_header, acknowledgment), 0u - shift.sequence, changes);
    for (std::size_t edge = 0; edge < options.sack_count * std::size_t{2}; ++edge)
        detail::add_to_field(bytes, sizeof(tcp_header) + options.sack_at + 4 * edge, 0u - shift.sequence, changes);
    // TSecr is only valid with ACK (RFC 7323 section 3.2); a reset may carry an empty one.
    if (options.has_timestamps && (packet.tcp().flags & tcp_flag::ack) != 0)
        detail::add_to_field(bytes, sizeof(tcp_header) + options.timestamps_at + 4, 0u - shift.timestamp, changes);
    detail::rescale_window(packet.tcp(), rescale, changes);
}

}  // namespace halfproxy
