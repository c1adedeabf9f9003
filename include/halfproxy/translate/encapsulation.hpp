// SPDX-License-Identifier: BSL-1.0
// An IP packet carried whole inside another one, IPv4 or IPv6 in IPv4 or IPv6, with or without UDP: put in and taken out in place.
//
// Read RFC 2003 section 3, RFC 2473 sections 6 and 7, RFC 4213 section 3 and RFC 6040 section 4 first; for UDP draft-ietf-intarea-gue
// section 3 (version 0) and section 4 (version 1).
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/translate/frame_room.hpp>
#include <halfproxy/wire/address.hpp>
#include <halfproxy/wire/parse.hpp>

#include <cstdint>

namespace halfproxy {

/// What stands between the outer IP header and the inner one.
enum class tunnel_type : std::uint8_t {
    ip,          ///< nothing: protocol 4 (RFC 2003) or 41 (RFC 2473, RFC 4213). Linux: ipip, sit, ip6tnl
    gue,         ///< UDP and the 4 bytes of Generic UDP Encapsulation, version 0. Linux: fou with `gue`
    gue_direct,  ///< UDP alone, GUE's version 1: the inner header's first bits tell. Linux's `gue` takes it too, and katran sends it
};

/// Whether routers in the tunnel may fragment, where the outer header is IPv4's.
enum class tunnel_fragmentation : std::uint8_t {
    as_inner,  ///< as the inner IPv4 header says; never for IPv6 (RFC 2003 section 3.1)
    forbidden,
    allowed,   ///< RFC 4213 section 3.2.1
};

inline constexpr std::uint16_t gue_port = 6080;  // IANA

/// A tunnel's near and far end, and how packets go in.
struct tunnel {
    ip_address source{};       ///< of the outer header; both of one version
    ip_address destination{};
    tunnel_type type = tunnel_type::ip;
    tunnel_fragmentation fragmentation = tunnel_fragmentation::as_inner;
    std::uint8_t hop_limit = 64;    ///< of the outer header; 0: the inner one's
    std::uint16_t mtu = 1500;       ///< longest outer packet
    std::uint16_t udp_port = gue_port;
    bool udp_checksum = false;      ///< over IPv4, where it may be left out; over IPv6 there always is one

    /// What the tunnel adds.
    [[nodiscard]] constexpr std::uint16_t overhead() const noexcept {
        std::uint16_t const udp = type == tunnel_type::ip ? 0 : type == tunnel_type::gue ? 12 : 8;
        return static_cast<std::uint16_t>(udp + (source.version == 4 ? 20 : 40));
    }
};

/// What becomes of a packet that is to go in.
enum class encapsulation_outcome : std::uint8_t {
    done,
    not_ip,      ///< nothing that could go into a tunnel, or its own length says it is not whole
    too_big,     ///< longer than the tunnel's MTU allows; the sender is to hear of `inner_mtu`
    segmented,   ///< one of a device's large segments: devices cut those up without looking into tunnels
    loops,       ///< its source is one of the tunnel's ends: it was in the tunnel already (RFC 2003 section 3.2, RFC 2473 section 4.1.2)
    frame_room,  ///< the buffer is too short
};

struct encapsulation_result {
    encapsulation_outcome outcome = encapsulation_outcome::done;
    std::uint16_t inner_mtu = 0;  ///< longest packet that goes in; IPv6's is at least 1280, which then needs fragmentation outside
};

/// Puts the packet into the tunnel: DSCP and ECN are copied outside (RFC 6040 section 4.1, normal mode; RFC 2983 uniform model), the inner packet stays as it
/// is, its hop limit included: forwarding is its caller's business. `identification` is the outer one, used only where routers may
/// fragment (RFC 6864 section 4.1); `source_port`, for UDP, spreads flows over paths. A checksum that the device is to finish stays
/// with it; the outer UDP checksum is right once that one is. No Tunnel Encapsulation Limit option is put in (RFC 2473 section 4.1.1).
/// Only on `done` has anything changed; `packet`, which must be the frame's, is not valid afterwards. Work: the payload moves.
[[nodiscard]] encapsulation_result encapsulate(frame& f, packet_view const& packet, tunnel const& into, std::uint16_t identification,
                                               std::uint16_t source_port) noexcept;

/// What becomes of a packet that is to come out.
enum class decapsulation_outcome : std::uint8_t {
    done,
    not_tunnelled,  ///< no tunnel packet; nothing has changed, as in all that follow
    fragment,       ///< of the outer packet: it must be put together first
    malformed,      ///< the inner header is not there or disagrees with the outer packet, or GUE holds what is not known here
    congested,      ///< congestion was marked outside and the inner packet cannot carry the mark: to be dropped (RFC 6040 section 4.2)
};

/// Takes the outer headers away. `packet` must be the frame's and is not valid afterwards. UDP counts as a tunnel when it goes to
/// `udp_port`, 0 for never; whose packets are accepted is its caller's business, checksums too. Work: the link header moves.
[[nodiscard]] decapsulation_outcome decapsulate(frame& f, packet_view const& packet, std::uint16_t udp_port = 0) noexcept;

}  // namespace halfproxy

#include <halfproxy/translate/impl/encapsulation.hpp>
