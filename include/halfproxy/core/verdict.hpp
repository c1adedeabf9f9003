// SPDX-License-Identifier: BSL-1.0
// What can become of a packet, and every reason for which one may be dropped.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace halfproxy {

/// The one end of every packet.
enum class verdict : std::uint8_t {
    forward,  ///< leaves through the other port, possibly rewritten in place
    reply,    ///< leaves through the port it came from: it became an answer in place, or its flow hairpins
    hold,     ///< its content was taken over by the engine, which sends what follows through the outbox
    drop,     ///< goes nowhere; `drop_reason` says why
};

/// name, sentence. The README's table and every counter come from this list.
#define HALFPROXY_DROP_REASONS(X)                                                                        \
    X(none, "not dropped")                                                                               \
    /* malformed below IP */                                                                             \
    X(frame_truncated, "the frame ends inside its link header")                                          \
    X(vlan_stack_too_deep, "more VLAN tags than the parser follows")                                     \
    /* malformed IP */                                                                                   \
    X(ip_header_truncated, "the frame ends inside the IP header")                                        \
    X(ip_version, "the IP version disagrees with the link's protocol")                                   \
    X(ip_header_length, "IPv4 header length under 20 bytes or beyond the datagram")                      \
    X(ip_total_length, "the IP length disagrees with the frame")                                         \
    X(ip_checksum, "the IPv4 header checksum is wrong")                                                  \
    X(ip_extension_truncated, "the datagram ends inside an IPv6 extension header")                       \
    X(ip_extension_chain, "more IPv6 extension headers than the parser follows")                         \
    X(ip_source, "the source is no unicast address, or the destination itself (land), or its frame a group's, or it comes out of the tunnel it is to enter") \
    X(ip_destination, "to where nobody is, or TCP to a multicast or broadcast address")                  \
    X(ip_hops, "TTL or hop limit 0 on a flow's first packet")                                            \
    X(fragment_denied, "a fragment, and the configuration does not let them through")                     \
    X(fragment_malformed, "an offset, length or rest of 8 bytes no fragment has, or TCP flags in a later one (RFC 3128)") \
    X(fragment_tiny, "a first fragment without all of its headers (RFC 1858, RFC 7112)")                 \
    X(fragment_decisive, "in fragments, unverifiable, and it would open or reset a TCP flow, or is an ICMP error") \
    X(fragment_of_dropped, "a later fragment of a datagram whose first was dropped")                     \
    X(fragment_duplicate, "the copy of a fragment that has passed or waits")                             \
    X(fragment_overlap, "overlaps a fragment of its datagram, or comes after one that did (RFC 5722)")   \
    X(fragment_end, "beyond its datagram's end, or another end, or comes after one that was")            \
    X(fragment_limit, "its datagram is cut into too many fragments, or too many come before the first")  \
    X(fragment_no_room, "comes before its first fragment, and nothing is free to wait in")               \
    X(fragment_timeout, "waited, and its first fragment did not come in time")                           \
    /* malformed transport */                                                                            \
    X(tcp_header_truncated, "the datagram ends inside the TCP header")                                   \
    X(tcp_data_offset, "TCP data offset under 5 or beyond the segment")                                  \
    X(tcp_options, "a TCP option with an impossible length")                                             \
    X(tcp_mss, "a SYN announces an MSS below what the configuration, or a cookie, takes")                \
    X(tcp_flags, "a combination of TCP flags no stack sends")                                            \
    X(tcp_port_zero, "TCP port 0")                                                                       \
    X(udp_port_zero, "UDP to port 0")                                                                    \
    X(udp_length, "the UDP length is under 8 or beyond the datagram")                                    \
    X(icmp_truncated, "the datagram ends inside the ICMP header")                                        \
    X(l4_checksum, "the TCP, UDP or ICMP checksum is wrong")                                             \
    /* admission */                                                                                      \
    X(rule_denied, "a rule denies it")                                                                   \
    X(rule_ended, "of a session that rules loaded since it began deny, and that was ended for it")       \
    X(policy_denied, "the admission policy denies it")                                                   \
    X(wrong_side, "arrives from the side where its flow does not send from")                              \
    X(guard_overload, "over the guard's hard cap, or dropped early on the way to it")                    \
    X(source_limit, "its source opens too many flows per second, or has too many open or half open")     \
    X(no_flow, "no flow, and this packet may not open one")                                              \
    X(cookie_invalid, "an ACK without flow whose cookie is wrong or too old")                            \
    X(table_full, "no room for a flow, and none that may give way")                                      \
    X(handshakes_full, "too many handshakes with servers in progress")                                   \
    /* address translation */                                                                            \
    X(nat_ports_exhausted, "every external port its NAT rule allows is taken")                           \
    X(nat_table_full, "no room for another NAT mapping")                                                 \
    X(nat_no_mapping, "to an address of a NAT pool, where no mapping is")                                \
    X(nat_filtered, "to a NAT mapping whose filter lets in only who was spoken to")                      \
    X(nat_no_block, "its source has no block of ports (deterministic NAT)")                              \
    /* virtual services */                                                                               \
    X(no_backend, "to a virtual service, none of whose backends is up")                                  \
    X(service_limit, "to a virtual service, all of whose backends have as many flows as they may")       \
    /* handshake with the server */                                                                      \
    X(handshake_pending, "the server has not answered yet")                                              \
    X(handshake_unexpected, "not a packet this phase of the handshake allows")                           \
    /* tracking */                                                                                       \
    X(tcp_state, "the flags do not fit the connection's state")                                          \
    X(answer_unseen, "the client goes on, and no answer of the server passed here (asymmetric)")            \
    X(seq_above_window, "data beyond the receiver's window")                                             \
    X(seq_below_window, "data more than a window old (strict)")                                          \
    X(ack_above_sent, "acknowledges data that was never sent")                                           \
    X(ack_too_old, "acknowledges far below what was acknowledged (strict)")                              \
    X(rst_outside_window, "RST outside the window (RFC 5961 section 3)")                                 \
    X(syn_ack_mismatch, "a SYN-ACK that does not acknowledge the SYN")                                   \
    X(timestamp_old, "a timestamp older than one that was echoed (PAWS, RFC 7323 section 5; strict)")    \
    X(icmp_unrelated, "an ICMP error that quotes no packet of the flow's window")                        \
    X(icmp_denied, "an ICMP message nobody may send or should act on: redirect, source quench, an error about an error") \
    /* address translation at the edge */                                                                \
    X(untranslatable, "NAT64 or NPTv6 has no counterpart of it (RFC 7915, RFC 6296)")                     \
    X(nat64_hosts_full, "an IPv6 host for which NAT64 has no IPv4 address left")                          \
    X(frame_room, "the buffer has no room for the packet's new form")                                    \
    X(outbox_full, "no room for a packet the engine must send")                                          \
    /* routed mode */                                                                                    \
    X(not_addressed_here, "routed: its frame is for another host, or asks for another's link address")   \
    X(protocol_not_routed, "routed: neither IP nor ARP, or under a VLAN tag")                            \
    X(neighbour_message, "routed: an ARP or neighbour discovery message that is malformed, forged or not asked for") \
    X(scope_not_forwarded, "routed: to or from a group, a broadcast or a link-local address, which stays on its link") \
    X(hops_exceeded, "routed: its TTL or hop limit ends here")                                           \
    X(local_destination, "routed: to an address of this machine, where nobody takes it")                 \
    X(no_route, "routed: no route to its destination")                                                   \
    X(packet_too_big, "longer than the MTU of the tunnel, or in routed mode of the port, it is to leave through")                  \
    X(neighbour_unresolved, "routed: its next hop does not answer when asked for its link address")      \
    X(neighbour_queue_full, "routed: no room among the packets that wait for a next hop's link address")

enum class drop_reason : std::uint8_t {
#define HALFPROXY_X(name, text) name,
    HALFPROXY_DROP_REASONS(HALFPROXY_X)
#undef HALFPROXY_X
};

inline constexpr std::size_t drop_reason_count = 0
#define HALFPROXY_X(name, text) +1
    HALFPROXY_DROP_REASONS(HALFPROXY_X)
#undef HALFPROXY_X
    ;

struct drop_reason_text {
    std::string_view name;
    std::string_view sentence;
};

/// Indexed by `drop_reason`.
inline constexpr std::array<drop_reason_text, drop_reason_count> drop_reason_texts{{
#define HALFPROXY_X(name, text) {#name, text},
    HALFPROXY_DROP_REASONS(HALFPROXY_X)
#undef HALFPROXY_X
}};

[[nodiscard]] constexpr std::string_view to_string(drop_reason reason) noexcept {
    return drop_reason_texts[static_cast<std::size_t>(reason)].name;
}

}  // namespace halfproxy
