// SPDX-License-Identifier: BSL-1.0
// IPv4 packets made of IPv6 ones and the other way round, in place and without state: headers, checksums, ICMP with what it quotes, fragments.
//
// Read RFC 7915 sections 4 and 5, RFC 6052 and RFC 4884 section 5 first.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/translate/frame_room.hpp>
#include <halfproxy/translate/nat64_prefix.hpp>
#include <halfproxy/wire/checksum.hpp>
#include <halfproxy/wire/parse.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace halfproxy {

/// Which address stands for which, asked for each address of a packet and of a packet quoted in it. Nothing: none. Exemplar: nat64_prefix, which
/// is RFC 7915's stateless translation with IPv4-translatable addresses. Models: nat64_prefix, nat64_host_addresses (translate/nat64_hosts.hpp).
// clang-format off
template <class T>
concept nat64_addresses = requires(T& map, ipv6_bytes const& six, std::uint32_t four) {
    { map.to_v4(six) } noexcept -> std::same_as<std::optional<std::uint32_t>>;
    { map.to_v6(four) } noexcept -> std::same_as<std::optional<ipv6_bytes>>;
};
// clang-format on

/// name, sentence: why a packet has no translation.
#define HALFPROXY_NAT64_REFUSALS(X)                                                                             \
    X(none, "translated")                                                                                       \
    X(malformed, "not whole, not IP of the version to be translated, or wrong in a length")                     \
    X(checksum, "the IPv4 header's checksum, or that of an ICMP error, is wrong")                               \
    X(address, "no address of the other version stands for its source or destination")                          \
    X(hop_limit, "its TTL or hop limit ends here; the sender should hear time exceeded")                        \
    X(too_big, "longer than the other side's MTU, and it cannot be fragmented here; the sender should hear it") \
    X(source_route, "an IPv4 source route, or an IPv6 routing header, that is not at its end")                  \
    X(extension_header, "an IPv6 extension header that means nothing in IPv4, or one within a fragment")        \
    X(protocol, "a protocol of one version only, or whose checksum is not known here (DCCP, UDP-Lite)")         \
    X(icmp_type, "an ICMP message that has no counterpart")                                                     \
    X(icmp_fragment, "a fragment of an ICMP message: its checksum needs the whole")                             \
    X(icmp_quote, "an ICMP error that quotes no packet that could be translated")                               \
    X(udp_checksum, "the first fragment of a UDP datagram without checksum")                                    \
    X(segmented, "one of a device's large segments, of a kind that has no counterpart")                         \
    X(frame_room, "the buffer is too short for the longer header")

enum class nat64_refusal : std::uint8_t {
#define HALFPROXY_X(name, text) name,
    HALFPROXY_NAT64_REFUSALS(HALFPROXY_X)
#undef HALFPROXY_X
};

inline constexpr std::size_t nat64_refusal_count = 0
#define HALFPROXY_X(name, text) +1
    HALFPROXY_NAT64_REFUSALS(HALFPROXY_X)
#undef HALFPROXY_X
    ;

/// By `nat64_refusal`.
inline constexpr std::array<std::string_view, nat64_refusal_count> nat64_refusal_names{
#define HALFPROXY_X(name, text) #name,
    HALFPROXY_NAT64_REFUSALS(HALFPROXY_X)
#undef HALFPROXY_X
};

[[nodiscard]] constexpr std::string_view to_string(nat64_refusal r) noexcept { return nat64_refusal_names[static_cast<std::size_t>(r)]; }

/// What the links on both sides carry, in bytes of IP packet.
struct nat64_mtu {
    std::uint16_t v4 = 1500;
    std::uint16_t v6 = 1500;
};

/// IPv6 to IPv4 (RFC 7915 section 5). Whole packets up to 1260 bytes may be fragmented further on and get `identification`; longer ones say DF
/// (section 5.1). Hop-by-hop and destination options and finished routing headers are left out; a fragment stays a fragment. The hop limit
/// counts down. Checksums are kept by difference, those of ICMP errors made anew after they were verified; a checksum that the device is to
/// finish stays with it, a large segment stays one. Extensions of ICMP errors (RFC 4884) are left out. On a refusal nothing has changed;
/// `packet`, which must be the frame's, is not valid otherwise. Work: the headers move.
template <nat64_addresses Addresses>
[[nodiscard]] nat64_refusal translate_to_v4(frame& f, packet_view const& packet, Addresses& map, nat64_mtu mtu,
                                            std::uint16_t identification) noexcept;

/// IPv4 to IPv6 (RFC 7915 section 4). Options are left out. Where the longer packet exceeds the IPv6 MTU it is refused as too big, with DF or
/// without: nothing is fragmented here, so the IPv6 side's MTU takes the place of the 1280 bytes of section 4. UDP without checksum gets one.
/// Everything else as above. Work: the payload moves.
template <nat64_addresses Addresses>
[[nodiscard]] nat64_refusal translate_to_v6(frame& f, packet_view const& packet, Addresses& map, nat64_mtu mtu) noexcept;

}  // namespace halfproxy

#include <halfproxy/translate/impl/nat64.hpp>
