// SPDX-License-Identifier: BSL-1.0
// Packets of our own making: SYN-ACK, SYN, ACK and RST, addressed like a packet that was received.
//
// Policy for everything built here (RFC 791, RFC 8200): TTL or hop limit 64, DF set with identification 0 (RFC 6864 section 4.1 allows
// it for atomic datagrams), DSCP and flow label 0. No header options, whatever the received packet carried.
#pragma once

#include <halfproxy/core/bytes.hpp>
#include <halfproxy/core/frame.hpp>
#include <halfproxy/wire/checksum.hpp>
#include <halfproxy/wire/parse.hpp>
#include <halfproxy/wire/seq.hpp>
#include <halfproxy/wire/tcp_options.hpp>

#include <array>
#include <cstdint>

namespace halfproxy {

inline constexpr std::uint8_t built_hop_limit = 64;

/// Longest link header kept: Ethernet with max_vlan_tags tags.
inline constexpr std::size_t max_link_bytes = sizeof(ethernet_header) + max_vlan_tags * sizeof(vlan_tag);
static_assert(max_link_bytes <= sizeof(ipv4_header) + sizeof(tcp_header), "every TCP packet has so many bytes");

/// Where a packet to be built goes: link header, addresses and ports of one that was received. Owns its bytes, so the
/// packet may be overwritten. Addresses and ports as on the wire; IPv4 uses the first 4 bytes.
struct packet_origin {
    std::array<std::uint8_t, max_link_bytes> link{};
    std::uint8_t link_bytes = 0;
    link_type link_kind = link_type::ethernet;
    std::uint8_t ip_version = 0;
    ipv6_bytes source{};
    ipv6_bytes destination{};
    big16 source_port{};
    big16 destination_port{};

    /// The way back: source and destination swapped at the link (Ethernet), IP and TCP.
    [[nodiscard]] packet_origin reversed() const noexcept;
};

/// Of a TCP packet: the way it goes, and the way back, which is origin_of(...).reversed().
[[nodiscard]] packet_origin origin_of(link_type link, const_packet_view const& packet) noexcept;
[[nodiscard]] packet_origin way_back_of(link_type link, const_packet_view const& packet) noexcept;

/// The TCP header's variable fields.
struct tcp_fields {
    seq_num seq{};
    seq_num ack{};  ///< 0 on the wire unless flags hold ACK
    std::uint8_t flags = 0;
    std::uint16_t window = 0;
};

/// The options a handshake packet or a bare ACK can carry. Written in the order MSS, SACK permitted, timestamps, window scale.
struct built_options {
    bool has_mss = false;
    bool has_window_scale = false;
    bool sack_permitted = false;
    bool has_timestamps = false;
    std::uint8_t window_scale = 0;
    std::uint16_t mss = 0;
    std::uint32_t timestamp_value = 0;
    std::uint32_t timestamp_echo = 0;
};

/// Longest options written: 4 + 2 + 10 + 3, padded.
inline constexpr std::size_t max_built_options = 20;

/// Longest packet built here.
inline constexpr std::size_t max_built_bytes = max_link_bytes + sizeof(ipv6_header) + sizeof(tcp_header) + max_built_options;

/// Which way a packet goes that is written over a received one: as that went, or back to its sender.
enum class way : std::uint8_t { on, back };

/// Writes a packet over `received`, TCP, in a frame of `capacity` bytes: the same bytes that build_tcp() writes for origin_of() or way_back_of(), in a
/// third of the instructions, since the link header and the ends are there already. Returns its bytes; 0, and nothing changed, when `capacity` is too short.
[[nodiscard]] std::size_t build_in_place(link_type link, packet_view const& received, std::size_t capacity, way direction,
                                         tcp_fields const& fields, built_options const& options) noexcept;

/// Whether build_in_place() finds room, whatever the options.
[[nodiscard]] bool has_room_in_place(packet_view const& received, std::size_t capacity) noexcept;

/// Writes the packet to the front of `out`, with complete checksums. Returns its bytes, 0 when `out` is too short.
[[nodiscard]] std::size_t build_tcp(byte_span out, packet_origin const& origin, tcp_fields const& fields,
                                    built_options const& options) noexcept;

/// The same with payload behind the header.
[[nodiscard]] std::size_t build_tcp(byte_span out, packet_origin const& origin, tcp_fields const& fields, built_options const& options,
                                    byte_view payload) noexcept;

}  // namespace halfproxy

#include <halfproxy/wire/impl/build.hpp>
