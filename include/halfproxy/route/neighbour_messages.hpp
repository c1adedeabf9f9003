// SPDX-License-Identifier: BSL-1.0
// ARP and neighbour discovery messages: read with every check their RFCs ask for, and built.
//
// Read RFC 826, RFC 5227 and RFC 4861 sections 4.3, 4.4, 7.1 first.
#pragma once

#include <halfproxy/core/bytes.hpp>
#include <halfproxy/wire/address.hpp>
#include <halfproxy/wire/checksum.hpp>
#include <halfproxy/wire/headers.hpp>
#include <halfproxy/wire/parse.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

namespace halfproxy {

inline constexpr mac_address broadcast_mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
[[nodiscard]] constexpr bool is_group_mac(mac_address const& mac) noexcept { return (mac[0] & 1u) != 0; }

struct arp_header {  // RFC 826, for Ethernet and IPv4
    big16 hardware;
    big16 protocol;
    std::uint8_t hardware_bytes;
    std::uint8_t protocol_bytes;
    big16 operation;
    mac_address sender_mac;
    big32 sender;
    mac_address target_mac;
    big32 target;
};
static_assert(sizeof(arp_header) == 28 && alignof(arp_header) == 1);

namespace icmpv6_type {
inline constexpr std::uint8_t echo_request = 128;
inline constexpr std::uint8_t echo_reply = 129;
inline constexpr std::uint8_t router_solicitation = 133;
inline constexpr std::uint8_t neighbour_solicitation = 135;
inline constexpr std::uint8_t neighbour_advertisement = 136;
inline constexpr std::uint8_t redirect = 137;
}  // namespace icmpv6_type

/// What one message of either kind says.
struct neighbour_message {
    enum class kind : std::uint8_t {
        question,  ///< who has `target`? `sender` is none when somebody tries an address before using it (RFC 5227, RFC 4862)
        answer,    ///< `target` is at `mac`
    };
    kind what = kind::question;
    ip_address target{};
    ip_address sender{};         ///< who says so; of an answer the same as `target`
    std::optional<mac_address> mac{};  ///< of the sender
    bool to_us_alone = false;    ///< an answer as one gets it who asked: solicited, and to one link address
};

/// Nothing when it is no ARP for Ethernet and IPv4, is cut, or says what none may: a group's address, an answer of nobody.
[[nodiscard]] std::optional<neighbour_message> read_arp(byte_view frame) noexcept;

/// Of a packet that is ICMPv6. Nothing when it is neither a neighbour solicitation nor an advertisement, or fails a check of RFC 4861 section 7.1.
[[nodiscard]] std::optional<neighbour_message> read_neighbour_discovery(const_packet_view const& packet, checksum_state state) noexcept;

/// 33:33 and the last four bytes (RFC 2464 section 7); and the group that hosts with such an address listen to (RFC 4291 section 2.7.1).
[[nodiscard]] mac_address group_mac(ip_address const& group) noexcept;
[[nodiscard]] ip_address solicited_group(ip_address const& target) noexcept;
[[nodiscard]] ip_address all_nodes() noexcept;

/// One of our ports, as messages name it.
struct link_identity {
    mac_address mac{};
    ip_address address{};
};

/// Longest frame written here: Ethernet, IPv6, a solicitation with one option.
inline constexpr std::size_t neighbour_frame_bytes = 14 + 40 + 32;

/// Asks for `target`, of the same family as our address: everybody, or `at` alone. Each returns the frame's length; `out` holds at least
/// neighbour_frame_bytes.
[[nodiscard]] std::size_t build_question(byte_span out, link_identity const& ours, ip_address const& target,
                                         std::optional<mac_address> const& at) noexcept;

/// Tells `to` at `at` that our address is here, because it asked.
[[nodiscard]] std::size_t build_answer(byte_span out, link_identity const& ours, ip_address const& to, mac_address const& at) noexcept;

/// Tells everybody that our address is here (RFC 5227 section 2.3, RFC 4861 section 7.2.6).
[[nodiscard]] std::size_t build_announcement(byte_span out, link_identity const& ours) noexcept;

}  // namespace halfproxy

#include <halfproxy/route/impl/neighbour_messages.hpp>
