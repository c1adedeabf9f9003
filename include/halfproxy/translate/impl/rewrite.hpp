// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/translate/rewrite.hpp>

namespace halfproxy {

HALFPROXY_ALWAYS_INLINE big16* transport_checksum_field(packet_view const& packet) noexcept {
    if (packet.is_tcp()) return &packet.tcp().checksum;
    if (packet.is_udp()) {
        bool const none = packet.udp().checksum == 0 && packet.layout().ip_version == 4;
        return none ? nullptr : &packet.udp().checksum;
    }
    return packet.is_icmp() ? &packet.icmp().checksum : nullptr;
}

namespace detail {

/// In UDP a computed 0 is sent as its other representation, 0 being "none" (RFC 768).
inline void store_transport(packet_view const& packet, big16& field, std::uint16_t value) noexcept {
    field = packet.is_udp() && value == 0 ? std::uint16_t{0xffff} : value;
}

[[nodiscard]] inline bool covers_pseudo_header(packet_view const& packet) noexcept {
    return packet.layout().protocol != ip_protocol::icmp;
}

inline void recompute_network(packet_view const& packet) noexcept {
    if (packet.layout().ip_version != 4) return;
    packet.ipv4().checksum = 0;
    byte_view const header = packet.bytes().subspan(packet.layout().network_offset, packet.ipv4().header_bytes());
    packet.ipv4().checksum = checksum_sum{}.add(header).checksum();
}

[[nodiscard]] inline std::uint32_t transport_bytes(packet_view const& packet) noexcept {
    return packet.layout().datagram_end - packet.layout().transport_offset;
}

}  // namespace detail

HALFPROXY_ALWAYS_INLINE void incremental_checksum::commit(packet_view const& packet, header_changes const& changes,
                                         checksum_state& state) noexcept {
    if (packet.layout().ip_version == 4 && !changes.network.empty())
        packet.ipv4().checksum = changes.network.applied_to(packet.ipv4().checksum);
    big16* const field = transport_checksum_field(packet);
    if (field == nullptr) return;
    if (state == checksum_state::partial) {
        *field = changes.pseudo.applied_to_partial(*field);
        return;
    }
    checksum_delta delta = changes.transport;
    if (detail::covers_pseudo_header(packet)) delta.add(changes.pseudo);
    if (!delta.empty()) detail::store_transport(packet, *field, delta.applied_to(*field));
}

inline void full_checksum::commit(packet_view const& packet, header_changes const&, checksum_state& state) noexcept {
    detail::recompute_network(packet);
    big16* const field = transport_checksum_field(packet);
    std::uint32_t const bytes = detail::transport_bytes(packet);
    if (field == nullptr || packet.layout().is_fragment() || packet.layout().datagram_end > packet.bytes().size()) return;
    *field = 0;
    checksum_sum sum;
    if (detail::covers_pseudo_header(packet)) sum = pseudo_header_sum(packet, packet.layout().protocol, bytes);
    sum.add(packet.bytes().subspan(packet.layout().transport_offset, bytes));
    detail::store_transport(packet, *field, sum.checksum());
    state = checksum_state::unknown;
}

inline void offloaded_checksum::commit(packet_view const& packet, header_changes const&, checksum_state& state) noexcept {
    detail::recompute_network(packet);
    big16* const field = transport_checksum_field(packet);
    if (field == nullptr || packet.layout().is_fragment()) return;
    std::uint32_t const bytes = detail::transport_bytes(packet);
    *field = detail::covers_pseudo_header(packet)
                 ? pseudo_header_sum(packet, packet.layout().protocol, bytes).folded()
                 : std::uint16_t{0};
    state = checksum_state::partial;
}

}  // namespace halfproxy
