// SPDX-License-Identifier: BSL-1.0
// Packets that should not be, and what becomes of each: the README's table is made from these lists, and the test feeds each packet.
#pragma once

/// packet (a function of bad_input_packets.hpp), IP versions, what it is, its fate on a new flow with the guard off, the same with the guard
/// always on, its fate on an established flow ("" where there can be none), and why, where that is no matter of course.
#define HALFPROXY_BAD_INPUT(X)                                                                                                \
    X(ip_header_cut, "46", "ends inside the IP header", "ip_header_truncated", "ip_header_truncated", "ip_header_truncated",  \
      "")                                                                                                                     \
    X(ip_version_lies, "46", "IP version is not the EtherType's", "ip_version", "ip_version", "ip_version", "")               \
    X(ip_header_length_lies, "4", "IPv4 header length under 20 or beyond the datagram", "ip_header_length",                   \
      "ip_header_length", "ip_header_length", "")                                                                             \
    X(ip_length_too_long, "46", "IP length beyond the frame, which may be cut anywhere", "ip_total_length",                   \
      "ip_total_length", "ip_total_length", "")                                                                               \
    X(ip_length_in_tcp, "46", "IP length ends inside the TCP header", "tcp_header_truncated", "tcp_header_truncated",         \
      "tcp_header_truncated", "")                                                                                             \
    X(ip_length_zero, "46", "IP length 0", "forward", "reply", "forward",                                                     \
      "senders leave it when their device cuts segments: the frame's length counts")                                          \
    X(ip_sum_wrong, "4", "IPv4 header checksum wrong", "ip_checksum", "ip_checksum", "ip_checksum", "")                       \
    X(extension_cut, "6", "ends inside an extension header", "ip_extension_truncated", "ip_extension_truncated",              \
      "ip_extension_truncated", "")                                                                                           \
    X(extension_chain, "6", "more than 8 extension headers", "ip_extension_chain", "ip_extension_chain",                      \
      "ip_extension_chain", "what is not reached is not checked")                                                             \
    X(fragment_impossible, "46", "fragment of no bytes, no multiple of 8, beyond 64 KiB, or over the TCP flags",              \
      "fragment_malformed", "fragment_malformed", "fragment_malformed", "RFC 791, RFC 3128")                                  \
    X(fragment_without_headers, "46", "first fragment without all of its headers", "fragment_tiny", "fragment_tiny",          \
      "fragment_tiny", "RFC 1858, RFC 7112")                                                                                  \
    X(fragment_of_end, "46", "SYN or RST in fragments", "fragment_decisive", "fragment_decisive", "fragment_decisive",        \
      "its checksum cannot be verified, and no stack sends it")                                                               \
    X(fragment_of_data, "46", "TCP data in fragments", "fragment_decisive", "fragment_decisive", "forward",                   \
      "the first decides, the others follow it")                                                                              \
    X(no_hops, "46", "TTL or hop limit 0", "ip_hops", "ip_hops", "forward",                                                   \
      "no router sends it; inside a flow its receiver's matter")                                                              \
    X(land, "46", "source address is the destination (land)", "ip_source", "ip_source", "", "")                               \
    X(from_group, "46", "from a multicast or broadcast address", "ip_source", "ip_source", "", "an answer would multiply")    \
    X(from_nowhere, "46", "from 0.0.0.0/8 or ::", "ip_source", "ip_source", "", "but a DHCP client may")                      \
    X(from_loopback, "46", "from 127.0.0.0/8 or ::1", "ip_source", "ip_source", "", "RFC 1122 section 3.2.1.3")               \
    X(from_mapped, "6", "from ::ffff:0:0/96", "ip_source", "ip_source", "", "would pass rules for IPv4 by")                   \
    X(to_group, "46", "TCP to a multicast or broadcast address", "ip_destination", "ip_destination", "",                      \
      "TCP has one receiver")                                                                                                 \
    X(to_nowhere, "46", "to 0.0.0.0/8, 127.0.0.0/8, :: or ::1", "ip_destination", "ip_destination", "",                       \
      "would reach what listens to its own host only")                                                                        \
    X(tcp_port_0, "46", "TCP from or to port 0", "tcp_port_zero", "tcp_port_zero", "", "reserved")                            \
    X(data_offset_lies, "46", "TCP data offset under 5 or beyond the segment", "tcp_data_offset", "tcp_data_offset",          \
      "tcp_data_offset", "")                                                                                                  \
    X(option_length_0_or_1, "46", "TCP option of length 0 or 1", "tcp_options", "tcp_options", "tcp_options", "")             \
    X(option_beyond_header, "46", "TCP option beyond the header", "tcp_options", "tcp_options", "tcp_options", "")            \
    X(option_of_wrong_size, "46", "MSS, window scale, SACK or timestamps of another size", "tcp_options", "tcp_options",      \
      "tcp_options", "two readers would read two things")                                                                     \
    X(option_twice, "46", "TCP option twice", "forward", "reply", "forward", "the first counts, as in Linux")                 \
    X(window_scale_15, "46", "window scale over 14", "forward", "reply", "forward", "counts as 14 (RFC 7323 section 2.3)")    \
    X(tcp_sum_wrong, "46", "TCP checksum wrong", "l4_checksum", "l4_checksum", "forward", "data is its receiver's matter")    \
    X(end_sum_wrong, "46", "the same, on FIN or RST", "no_flow", "no_flow", "l4_checksum", "it would end the flow")           \
    X(syn_with_data, "46", "SYN with data", "forward", "reply", "forward", "the cookie acknowledges the SYN alone")           \
    X(udp_length_lies, "46", "UDP length under 8 or beyond the datagram", "udp_length", "udp_length", "udp_length", "")       \
    X(udp_sum_wrong, "46", "UDP checksum wrong", "l4_checksum", "l4_checksum", "forward", "opens no flow")                    \
    X(icmp_sum_wrong, "46", "ICMP checksum wrong", "l4_checksum", "l4_checksum", "", "opens no flow, relates to none")        \
    X(udp_to_port_0, "46", "UDP to port 0", "udp_port_zero", "udp_port_zero", "", "reserved")                                 \
    X(udp_from_port_0, "46", "UDP from port 0", "forward", "forward", "", "wants no answer (RFC 768)")                        \
    X(icmp_header_cut, "46", "ends inside the ICMP header", "icmp_truncated", "icmp_truncated", "icmp_truncated", "")    \
    X(icmp_obsolete, "46", "ICMP redirect or source quench", "icmp_denied", "icmp_denied", "icmp_denied",                     \
      "of a link's own routers, or obsolete (RFC 6633)")                                                                      \
    X(icmp_about_error, "46", "ICMP error about an ICMP error", "icmp_denied", "icmp_denied", "icmp_denied",                  \
      "RFC 1122 section 3.2.2")                                                                                               \
    X(icmp_quote_short, "46", "ICMP error that quotes less than 8 bytes of TCP", "icmp_unrelated", "icmp_unrelated",          \
      "icmp_unrelated", "nor one whose quoted number is not in flight")

/// Flag bytes by their SYN, FIN, RST and ACK bits, as alternatives; PSH, URG, ECE and CWR may stand beside them. All 256 are fed. The rest
/// as above.
#define HALFPROXY_BAD_FLAGS(X)                                                                                                \
    X("S", "flags SYN", "forward", "reply", "forward", "on a flow the receiver's challenge ACK answers")                      \
    X("SA", "flags SYN ACK", "no_flow", "no_flow", "forward", "")                                                             \
    X("A", "flags ACK", "no_flow", "cookie_invalid", "forward", "")                                                           \
    X("FA", "flags FIN ACK", "no_flow", "no_flow", "forward", "carries no cookie")                                            \
    X("R RA", "flags RST, RST ACK", "no_flow", "no_flow", "forward", "at its exact place, else `rst_outside_window`")         \
    X("- F SF SFA SR SRA FR FRA SFR SFRA", "any other flags, none and all included", "tcp_flags", "tcp_flags", "tcp_flags",   \
      "no stack sends them")
