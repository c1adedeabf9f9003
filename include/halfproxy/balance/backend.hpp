// SPDX-License-Identifier: BSL-1.0
// A server behind a virtual service: plain data, as configured.
#pragma once

#include <halfproxy/wire/address.hpp>

#include <array>
#include <cstdint>
#include <limits>

namespace halfproxy {

/// Which of a service's backends. Stays the same as long as the backend exists, whatever others come and go.
using backend_index = std::uint16_t;
inline constexpr backend_index no_backend_index = 0xffff;

/// How a service's packets reach its backends, and what comes back.
enum class forward_mode : std::uint8_t {
    dnat,         ///< the destination becomes the backend's address; answers must come back through us
    fullnat,      ///< besides, the source becomes an address of ours: answers come back from wherever the backend is
    dsr,          ///< packets stay as they are and go to the backend's station; it has the virtual address too and answers the client itself
    ipip,         ///< the packet as it is inside one to the backend (RFC 2003, RFC 2473); it answers the client itself
    transparent,  ///< packets stay as they are and go to the backend's station, which is on the way: both directions pass here
};

/// Whether packets keep their addresses.
[[nodiscard]] constexpr bool keeps_destination(forward_mode m) noexcept { return m != forward_mode::dnat && m != forward_mode::fullnat; }
/// Whether only the client's direction passes here.
[[nodiscard]] constexpr bool answers_elsewhere(forward_mode m) noexcept { return m == forward_mode::dsr || m == forward_mode::ipip; }
/// Whether the backend must be known by its station, not by its address alone.
[[nodiscard]] constexpr bool goes_by_station(forward_mode m) noexcept { return m == forward_mode::dsr || m == forward_mode::transparent; }

/// What carries a packet to the backend in mode ipip.
enum class carrier : std::uint8_t {
    ipip,        ///< IP in IP, any version in any
    gue,         ///< UDP and Generic UDP Encapsulation
    gue_direct,  ///< GUE's version 1: UDP alone
};

/// Of a service of mode ipip.
struct tunnel_config {
    ip_address source4{};  ///< of outer IPv4 headers
    ip_address source6{};
    halfproxy::carrier carrier = halfproxy::carrier::ipip;
    std::uint16_t mtu = 1'500;        ///< longest outer packet
    std::uint16_t udp_port = 6'080;   ///< of GUE
    bool clamp_mss = true;            ///< SYNs announce no more than a tunnel takes

    [[nodiscard]] constexpr ip_address const& source_for(std::uint8_t version) const noexcept { return version == 4 ? source4 : source6; }
    [[nodiscard]] constexpr std::uint16_t overhead(std::uint8_t version) const noexcept {
        std::uint16_t const udp = carrier == halfproxy::carrier::ipip ? 0 : carrier == halfproxy::carrier::gue ? 12 : 8;
        return static_cast<std::uint16_t>(udp + (version == 4 ? 20 : 40));
    }
};

enum class backend_state : std::uint8_t {
    up,
    draining,  ///< its flows stay, new ones go elsewhere, those of its persistent clients included
    down,      ///< takes nothing; what becomes of its flows the service says
};

/// What becomes of the flows of a backend that is down.
enum class on_down : std::uint8_t {
    leave,  ///< they go on, or time out
    reset,  ///< both ends get a RST; flows that are not TCP end
    move,   ///< what has no connection goes to another backend with its next packet; TCP as with reset
};

/// How the client's address is told to the backend: by the PROXY protocol's header before its first byte.
enum class proxy_header : std::uint8_t { none, v1, v2 };

inline constexpr std::uint32_t unlimited = std::numeric_limits<std::uint32_t>::max();
using station_address = std::array<std::uint8_t, 6>;

struct backend {
    ip_address address{};
    std::uint16_t port = 0;                       ///< 0: the port the client asked for
    std::uint16_t weight = 1;                     ///< 0 takes nothing new
    std::uint8_t priority = 0;                    ///< the lowest group that has a backend ready is used
    std::uint32_t connections = unlimited;        ///< open at once
    std::uint32_t new_connections_per_s = unlimited;  ///< a second's worth may come at once
    bool beside_clients = false;                  ///< it is behind the port where the clients are: flows go back through it
    station_address station{};                    ///< Ethernet address, all 0: none; for the modes that keep the destination

    [[nodiscard]] bool same_server(backend const& other) const noexcept { return address == other.address && port == other.port; }
};

}  // namespace halfproxy
