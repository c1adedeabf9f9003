// SPDX-License-Identifier: BSL-1.0
// From a capture's record to its flow's key.
#include "flows_sighting.hpp"

#include "flows_decap.hpp"

#include <halfproxy/wire/checksum.hpp>

#include <algorithm>
#include <array>
#include <cstring>

namespace halfproxy::tool {

namespace {

// --- Which flow ---------------------------------------------------------------

constexpr std::uint16_t no_zone = 0xffff;  // of a key that no packet has

/// The type of the answer, for messages that are answered; 0xffff otherwise. RFC 792, 950 and 1256; RFC 4443, 4861, 2710,
/// 4620 and 6275.
std::uint16_t icmp_counterpart(std::uint8_t ip_version, std::uint8_t type) {
    struct pair {
        std::uint8_t query;
        std::uint8_t answer;
    };
    constexpr std::array<pair, 5> v4{{{8, 0}, {13, 14}, {15, 16}, {10, 9}, {17, 18}}};
    constexpr std::array<pair, 6> v6{{{128, 129}, {133, 134}, {135, 136}, {130, 131}, {139, 140}, {144, 145}}};
    auto const search = [type](auto const& pairs) -> std::uint16_t {
        for (pair const p : pairs) {
            if (p.query == type) return p.answer;
            if (p.answer == type) return p.query;
        }
        return 0xffff;
    };
    return ip_version == 4 ? search(v4) : search(v6);
}

void set_addresses(observed_key& key, const_packet_view const& packet) {
    if (packet.layout().ip_version == 6) {
        key.tuple.source = packet.ipv6().source;
        key.tuple.destination = packet.ipv6().destination;
        return;
    }
    std::uint8_t const* const ip = packet.bytes().data() + packet.layout().network_offset;
    std::memcpy(key.tuple.source.data() + 12, ip + offsetof(ipv4_header, source), 4);
    std::memcpy(key.tuple.destination.data() + 12, ip + offsetof(ipv4_header, destination), 4);
    key.reserved = is_ipv4_key;
}

/// Both keys of the packet's flow. A message that has no answer forms a flow of one direction.
void set_keys(observed_key& forward, observed_key& backward, const_packet_view const& packet) {
    forward.protocol = packet.layout().protocol;
    set_addresses(forward, packet);
    bool answered = true;
    bool const without_ports = !packet.layout().has_transport;
    if (without_ports) {
        // the addresses alone
    } else if (packet.is_icmp()) {
        forward.protocol = ip_protocol::icmp;
        std::uint16_t const counterpart = icmp_counterpart(packet.layout().ip_version, packet.icmp().type);
        answered = counterpart != 0xffff;
        forward.tuple.source_port = packet.icmp().type;
        forward.tuple.destination_port = answered ? counterpart : packet.icmp().code;
    } else {
        std::uint8_t const* const ports = packet.bytes().data() + packet.layout().transport_offset;
        forward.tuple.source_port = header_at<big16>(ports);
        forward.tuple.destination_port = header_at<big16>(ports + 2);
    }
    backward = forward;
    backward.tuple = forward.tuple.reversed();
    if (!answered) backward.zone = no_zone;
}

/// Protocols whose header is read; the rest is known by its number.
bool is_read(packet_layout const& l) {
    bool const icmp = l.protocol == (l.ip_version == 4 ? ip_protocol::icmp : ip_protocol::icmpv6);
    return icmp || l.protocol == ip_protocol::tcp || l.protocol == ip_protocol::udp;
}

/// What a flow can be made of: an IP header that its receiver takes, and what is no later fragment. A header checksum of 0
/// that is wrong was left to the sender's device, behind which the capture was not taken.
bool belongs_to_flow(const_packet_view const& packet) {
    packet_layout const& l = packet.layout();
    if (!packet.is_ip() || l.error == drop_reason::ip_total_length || l.fragment_offset != 0) return false;
    bool const whole =
        is_read(l) ? l.has_transport : l.error == drop_reason::none && l.protocol != ip_protocol::no_next_header;
    if (!whole) return false;
    if (l.ip_version == 6 || packet.ipv4().checksum == 0) return true;
    return verify_ipv4_header(packet) == checksum_verdict::good;
}

conn_log_segment to_segment(const_packet_view const& packet, time_point now) {
    tcp_header const& tcp = packet.tcp();
    return {.time = now,
            .sequence = {tcp.sequence},
            .acknowledgment = {tcp.acknowledgment},
            .payload_bytes = packet.layout().payload_bytes(),
            .window = tcp.window,
            .flags = tcp.flags,
            .payload_captured = packet.bytes().size() >= packet.layout().datagram_end};
}

/// Of a datagram that was cut into fragments, the first alone says how long it was; the later ones are not looked at.
std::uint32_t ip_bytes_of(const_packet_view const& packet) {
    packet_layout const& l = packet.layout();
    if (packet.is_udp() && l.more_fragments) return l.transport_offset - l.network_offset + packet.udp().length;
    return l.datagram_end - l.network_offset;
}

}  // namespace

bool read_sighting(capture_record const& record, sighting& s) {
    s.packet = find_flow_packet(record.link, record.bytes, record.wire_length);
    if (!belongs_to_flow(s.packet)) return false;
    s.forward = s.backward = {};
    set_keys(s.forward, s.backward, s.packet);
    s.protocol = s.forward.protocol;
    s.has_ports = s.packet.layout().has_transport;
    s.ip_bytes = ip_bytes_of(s.packet);
    s.segment = {};
    s.segment.time = record.time;
    if (s.packet.is_tcp()) s.segment = to_segment(s.packet, record.time);
    return true;
}

// --- What is not opened ---------------------------------------------------------------

namespace {

std::string_view protocol_keyword(std::uint8_t protocol) {
    switch (protocol) {  // the keywords of the IANA registry, in lower case
        case 2: return "igmp";
        case 4: return "ipv4";
        case 41: return "ipv6";
        case 46: return "rsvp";
        case 47: return "gre";
        case 50: return "esp";
        case 51: return "ah";
        case 88: return "eigrp";
        case 89: return "ospf";
        case 103: return "pim";
        case 112: return "vrrp";
        case 115: return "l2tp";
        case 132: return "sctp";
        case 136: return "udplite";
        default: return {};
    }
}

/// RFC 7348 section 5: only the I flag set, reserved bits 0, then a frame.
bool is_vxlan(byte_view p) { return p.size() >= 8 + 14 && p[0] == 0x08 && (p[1] | p[2] | p[3] | p[7]) == 0; }

/// RFC 8926 section 3.4: version 0, the options inside, an EtherType.
bool is_geneve(byte_view p) {
    return p.size() >= 8 && p[0] >> 6 == 0 && p.size() >= 8u + (p[0] & 0x3fu) * 4u && p[2] >= 0x06 && p[7] == 0;
}

/// 3GPP TS 29.281 section 5.1: version 1, protocol type GTP, the length of what follows.
bool is_gtp(byte_view p) { return p.size() >= 8 && p[0] >> 4 == 3 && p.size() == 8u + (std::size_t{p[2]} << 8 | p[3]); }

/// RFC 4380 section 5.1.1: an IPv6 packet, or an indicator before it.
bool is_teredo(byte_view p) {
    if (p.size() < 8) return false;
    return p[0] >> 4 == 6 || (p[0] == 0 && p[1] <= 1);
}

}  // namespace

std::string_view unparsed_content(sighting const& s) {
    if (!s.has_ports) return protocol_keyword(s.protocol);
    if (s.protocol != ip_protocol::udp) return {};
    packet_layout const& l = s.packet.layout();
    std::size_t const end = std::min<std::size_t>(l.datagram_end, s.packet.bytes().size());
    byte_view const payload =
        l.payload_offset < end ? s.packet.bytes().subspan(l.payload_offset, end - l.payload_offset) : byte_view{};
    auto const is_port = [&s](std::uint16_t port) {
        return s.forward.tuple.source_port == port || s.forward.tuple.destination_port == port;
    };
    if (s.forward.tuple.destination_port == 4789 && is_vxlan(payload)) return "vxlan";
    if (s.forward.tuple.destination_port == 6081 && is_geneve(payload)) return "geneve";
    if (is_port(2152) && is_gtp(payload)) return "gtpv1";
    if (is_port(3544) && is_teredo(payload)) return "teredo";
    return {};
}

}  // namespace halfproxy::tool
