// SPDX-License-Identifier: BSL-1.0
// The VLAN tag that the kernel delivers beside a frame goes back into it.
#pragma once

#include <halfproxy/core/frame.hpp>

#include <arpa/inet.h>
#include <cstdint>
#include <cstring>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

namespace halfproxy::af_packet_detail {

inline constexpr std::uint32_t vlan_tag_bytes = 4;
inline constexpr std::size_t mac_addresses_bytes = 12;

/// Of a frame's memory, so that a VLAN tag fits before it, and the IP header behind 14 bytes is aligned to 16.
inline constexpr std::uint32_t untagged_frame_offset = 18;

/// What a ring's header of either version says of the outermost tag.
struct told_tag {
    std::uint32_t status;  ///< TP_STATUS_VLAN_VALID when there was one
    std::uint32_t control;
    std::uint16_t type;
};

/// On the wire it stood behind the two addresses. Takes vlan_tag_bytes of room before the frame.
inline void restore_vlan_tag(told_tag const& told, frame& out) noexcept {
    if ((told.status & TP_STATUS_VLAN_VALID) == 0) return;
    bool const has_type = (told.status & TP_STATUS_VLAN_TPID_VALID) != 0;
    std::uint16_t const tag[2] = {htons(has_type ? told.type : std::uint16_t{ETH_P_8021Q}), htons(static_cast<std::uint16_t>(told.control))};
    out.data -= vlan_tag_bytes;
    std::memmove(out.data, out.data + vlan_tag_bytes, mac_addresses_bytes);
    std::memcpy(out.data + mac_addresses_bytes, tag, vlan_tag_bytes);
    out.length += vlan_tag_bytes;
    out.capacity += vlan_tag_bytes;
    if (out.offload.checksum == checksum_state::partial) out.offload.checksum_start += vlan_tag_bytes;
    if (out.offload.segment_size != 0) out.offload.header_length += vlan_tag_bytes;
}

}  // namespace halfproxy::af_packet_detail
