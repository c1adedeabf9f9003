// SPDX-License-Identifier: BSL-1.0
// Header layouts as they stand on the wire. Read RFC 791, 8200, 9293, 768, 792 and 4443 beside them.
#pragma once

#include <boost/endian/arithmetic.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace halfproxy {

using big16 = boost::endian::big_uint16_t;
using big32 = boost::endian::big_uint32_t;

using mac_address = std::array<std::uint8_t, 6>;
using ipv6_bytes = std::array<std::uint8_t, 16>;

/// EtherTypes (IEEE 802 numbers) the parser knows.
namespace ether_type {
inline constexpr std::uint16_t ipv4 = 0x0800;
inline constexpr std::uint16_t ipv6 = 0x86dd;
inline constexpr std::uint16_t arp = 0x0806;
inline constexpr std::uint16_t vlan = 0x8100;       // 802.1Q
inline constexpr std::uint16_t vlan_service = 0x88a8;  // 802.1ad
inline constexpr std::uint16_t vlan_old_qinq = 0x9100; // before 802.1ad
}  // namespace ether_type

/// IP protocol numbers (IANA) the parser knows.
namespace ip_protocol {
inline constexpr std::uint8_t hop_by_hop = 0;
inline constexpr std::uint8_t icmp = 1;
inline constexpr std::uint8_t tcp = 6;
inline constexpr std::uint8_t udp = 17;
inline constexpr std::uint8_t routing = 43;
inline constexpr std::uint8_t fragment = 44;
inline constexpr std::uint8_t authentication = 51;
inline constexpr std::uint8_t icmpv6 = 58;
inline constexpr std::uint8_t no_next_header = 59;
inline constexpr std::uint8_t destination_options = 60;
inline constexpr std::uint8_t mobility = 135;
inline constexpr std::uint8_t host_identity = 139;
inline constexpr std::uint8_t shim6 = 140;
}  // namespace ip_protocol

/// TCP flag bits, low 8 of the 12-bit field (RFC 9293 section 3.1).
namespace tcp_flag {
inline constexpr std::uint8_t fin = 0x01;
inline constexpr std::uint8_t syn = 0x02;
inline constexpr std::uint8_t rst = 0x04;
inline constexpr std::uint8_t psh = 0x08;
inline constexpr std::uint8_t ack = 0x10;
inline constexpr std::uint8_t urg = 0x20;
inline constexpr std::uint8_t ece = 0x40;
inline constexpr std::uint8_t cwr = 0x80;
}  // namespace tcp_flag

struct ethernet_header {
    mac_address destination;
    mac_address source;
    big16 type;
};
static_assert(sizeof(ethernet_header) == 14 && alignof(ethernet_header) == 1);

struct vlan_tag {
    big16 control;  // priority (3), drop eligible (1), id (12)
    big16 type;     // of what follows
};
static_assert(sizeof(vlan_tag) == 4);

struct ipv4_header {
    std::uint8_t version_and_length;  // version (4), header length in words (4)
    std::uint8_t traffic_class;       // DSCP (6), ECN (2)
    big16 total_length;
    big16 identification;
    big16 fragment;  // reserved, DF, MF (3), offset in 8-byte units (13)
    std::uint8_t time_to_live;
    std::uint8_t protocol;
    big16 checksum;
    big32 source;
    big32 destination;

    [[nodiscard]] std::size_t header_bytes() const noexcept { return std::size_t{version_and_length & 0x0fu} * 4; }
    [[nodiscard]] std::uint8_t version() const noexcept { return static_cast<std::uint8_t>(version_and_length >> 4); }
};
static_assert(sizeof(ipv4_header) == 20 && alignof(ipv4_header) == 1);
static_assert(offsetof(ipv4_header, checksum) == 10 && offsetof(ipv4_header, source) == 12);

namespace ipv4_fragment {
inline constexpr std::uint16_t dont = 0x4000;
inline constexpr std::uint16_t more = 0x2000;
inline constexpr std::uint16_t offset_mask = 0x1fff;
}  // namespace ipv4_fragment

struct ipv6_header {
    big32 version_class_flow;  // version (4), traffic class (8), flow label (20)
    big16 payload_length;
    std::uint8_t next_header;
    std::uint8_t hop_limit;
    ipv6_bytes source;
    ipv6_bytes destination;
};
static_assert(sizeof(ipv6_header) == 40 && alignof(ipv6_header) == 1);
static_assert(offsetof(ipv6_header, source) == 8);

struct ipv6_fragment_header {
    std::uint8_t next_header;
    std::uint8_t reserved;
    big16 offset_and_more;  // offset in 8-byte units (13), reserved (2), M (1)
    big32 identification;
};
static_assert(sizeof(ipv6_fragment_header) == 8);

struct tcp_header {
    big16 source_port;
    big16 destination_port;
    big32 sequence;
    big32 acknowledgment;
    std::uint8_t offset_and_high_flags;  // data offset in words (4), reserved (3), AE (1)
    std::uint8_t flags;
    big16 window;
    big16 checksum;
    big16 urgent_pointer;

    [[nodiscard]] std::size_t header_bytes() const noexcept { return std::size_t{offset_and_high_flags} >> 4 << 2; }
};
static_assert(sizeof(tcp_header) == 20 && alignof(tcp_header) == 1);
static_assert(offsetof(tcp_header, flags) == 13 && offsetof(tcp_header, checksum) == 16);

struct udp_header {
    big16 source_port;
    big16 destination_port;
    big16 length;
    big16 checksum;  // 0 means none (IPv4 only)
};
static_assert(sizeof(udp_header) == 8);

struct icmp_header {  // ICMP and ICMPv6 alike
    std::uint8_t type;
    std::uint8_t code;
    big16 checksum;
    big32 rest;  // echo: identifier, sequence; errors: unused, MTU or pointer
};
static_assert(sizeof(icmp_header) == 8);

/// Overlays a header on bytes already known to be long enough. All layouts have alignment 1.
template <class Header>
[[nodiscard]] Header const& header_at(std::uint8_t const* bytes) noexcept {
    static_assert(alignof(Header) == 1);
    return *reinterpret_cast<Header const*>(bytes);
}
template <class Header>
[[nodiscard]] Header& header_at(std::uint8_t* bytes) noexcept {
    static_assert(alignof(Header) == 1);
    return *reinterpret_cast<Header*>(bytes);
}

}  // namespace halfproxy
