// SPDX-License-Identifier: BSL-1.0
// The steps of parse(): one function per layer, each reading only what it has checked to be there.
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/wire/parse.hpp>

namespace halfproxy::detail {

/// The bytes there are, the length the wire had, and the layout being filled in.
struct parse_cursor {
    std::uint8_t const* data;
    std::size_t captured;
    std::size_t wire;
    packet_layout& layout;

    [[nodiscard]] bool has(std::size_t offset, std::size_t n) const noexcept {
        return offset + n <= captured;  // both are far below 2^32
    }
    [[nodiscard]] std::uint16_t be16(std::size_t offset) const noexcept {
        return static_cast<std::uint16_t>(data[offset] << 8 | data[offset + 1]);
    }
    void fail(drop_reason reason) noexcept {
        if (layout.error == drop_reason::none) layout.error = reason;
    }
};

HALFPROXY_ALWAYS_INLINE void parse_tcp(parse_cursor& c) noexcept {
    packet_layout& l = c.layout;
    std::size_t const available = l.datagram_end - l.transport_offset;
    if (available < sizeof(tcp_header) || !c.has(l.transport_offset, sizeof(tcp_header)))
        return c.fail(drop_reason::tcp_header_truncated);
    std::size_t const header = header_at<tcp_header>(c.data + l.transport_offset).header_bytes();
    l.has_transport = true;
    l.payload_offset = static_cast<std::uint16_t>(l.transport_offset + sizeof(tcp_header));
    if (header < sizeof(tcp_header) || header > available) return c.fail(drop_reason::tcp_data_offset);
    if (!c.has(l.transport_offset, header)) return c.fail(drop_reason::tcp_header_truncated);
    l.payload_offset = static_cast<std::uint16_t>(l.transport_offset + header);
}

inline void parse_udp(parse_cursor& c) noexcept {
    packet_layout& l = c.layout;
    std::size_t const available = l.datagram_end - l.transport_offset;
    if (available < sizeof(udp_header) || !c.has(l.transport_offset, sizeof(udp_header)))
        return c.fail(drop_reason::udp_length);
    l.has_transport = true;
    l.payload_offset = static_cast<std::uint16_t>(l.transport_offset + sizeof(udp_header));
    std::size_t const length = header_at<udp_header>(c.data + l.transport_offset).length;
    // A fragmented datagram's length reaches beyond its first fragment.
    if (length < sizeof(udp_header) || (length > available && !l.more_fragments)) c.fail(drop_reason::udp_length);
}

inline void parse_icmp(parse_cursor& c) noexcept {
    packet_layout& l = c.layout;
    if (l.datagram_end - l.transport_offset < sizeof(icmp_header) || !c.has(l.transport_offset, sizeof(icmp_header)))
        return c.fail(drop_reason::icmp_truncated);
    l.has_transport = true;
    l.payload_offset = static_cast<std::uint16_t>(l.transport_offset + sizeof(icmp_header));
}

HALFPROXY_ALWAYS_INLINE void parse_transport(parse_cursor& c) noexcept {
    packet_layout& l = c.layout;
    l.payload_offset = l.transport_offset;
    if (l.fragment_offset != 0) return;  // a later fragment begins in the middle of the transport payload
    switch (l.protocol) {
        case ip_protocol::tcp: return parse_tcp(c);
        case ip_protocol::udp: return parse_udp(c);
        case ip_protocol::icmp:
            if (l.ip_version == 4) parse_icmp(c);
            return;
        case ip_protocol::icmpv6:
            if (l.ip_version == 6) parse_icmp(c);
            return;
        default: return;
    }
}

/// The datagram's own length decides where it ends; bytes behind it are link padding. A length beyond the frame is an
/// error, and the frame decides. So it does, without error, for a length of 0: a sender leaves that which expects its
/// device to cut the segment up.
inline void set_datagram_end(parse_cursor& c, std::size_t length, std::size_t header) noexcept {
    packet_layout& l = c.layout;
    std::size_t const present = c.wire - l.network_offset;
    if (length == 0 && present > header) length = present;
    if (length < header || length > present) {
        c.fail(drop_reason::ip_total_length);
        length = present;
    }
    l.datagram_end = static_cast<std::uint32_t>(l.network_offset + length);
}

HALFPROXY_ALWAYS_INLINE void parse_ipv4(parse_cursor& c) noexcept {
    packet_layout& l = c.layout;
    l.datagram_end = static_cast<std::uint32_t>(c.wire);
    if (!c.has(l.network_offset, sizeof(ipv4_header))) return c.fail(drop_reason::ip_header_truncated);
    auto const& ip = header_at<ipv4_header>(c.data + l.network_offset);
    if (ip.version() != 4) return c.fail(drop_reason::ip_version);
    l.ip_version = 4;
    l.protocol = ip.protocol;
    std::uint16_t const fragment = ip.fragment;
    l.fragment_offset = fragment & ipv4_fragment::offset_mask;
    l.more_fragments = (fragment & ipv4_fragment::more) != 0;
    std::size_t const header = ip.header_bytes();
    if (header < sizeof(ipv4_header)) return c.fail(drop_reason::ip_header_length);
    if (!c.has(l.network_offset, header)) return c.fail(drop_reason::ip_header_truncated);
    l.transport_offset = l.payload_offset = static_cast<std::uint16_t>(l.network_offset + header);
    if (ip.total_length != 0 && ip.total_length < header) return c.fail(drop_reason::ip_header_length);
    set_datagram_end(c, ip.total_length, header);
    parse_transport(c);
}

/// Bytes of an extension header, by its own length field (RFC 8200 section 4; RFC 4302 for AH, in words of 4).
inline std::size_t extension_bytes(std::uint8_t kind, std::uint8_t length_field) noexcept {
    if (kind == ip_protocol::fragment) return sizeof(ipv6_fragment_header);
    if (kind == ip_protocol::authentication) return (std::size_t{length_field} + 2) * 4;
    return (std::size_t{length_field} + 1) * 8;
}

inline bool is_extension(std::uint8_t protocol) noexcept {
    switch (protocol) {
        case ip_protocol::hop_by_hop:
        case ip_protocol::routing:
        case ip_protocol::fragment:
        case ip_protocol::authentication:
        case ip_protocol::destination_options:
        case ip_protocol::mobility:
        case ip_protocol::host_identity:
        case ip_protocol::shim6: return true;
        default: return false;
    }
}

/// Walks the extension headers up to the transport header. False when it cannot be reached.
inline bool parse_extensions(parse_cursor& c) noexcept {
    packet_layout& l = c.layout;
    for (std::size_t n = 0; is_extension(l.protocol) && l.fragment_offset == 0; ++n) {
        std::size_t const at = l.transport_offset;
        if (n == max_extension_headers) return c.fail(drop_reason::ip_extension_chain), false;
        if (!c.has(at, 8) || at + 8 > l.datagram_end) return c.fail(drop_reason::ip_extension_truncated), false;
        std::size_t const bytes = extension_bytes(l.protocol, c.data[at + 1]);
        if (l.protocol == ip_protocol::fragment) {
            std::uint16_t const field = c.be16(at + 2);
            l.fragment_offset = field >> 3;
            l.more_fragments = (field & 1u) != 0;
            l.fragment_content = static_cast<std::uint16_t>(at + bytes);
        }
        if (!c.has(at, bytes) || at + bytes > l.datagram_end)
            return c.fail(drop_reason::ip_extension_truncated), false;
        l.protocol = c.data[at];
        l.transport_offset = l.payload_offset = static_cast<std::uint16_t>(at + bytes);
    }
    return true;
}

inline void parse_ipv6(parse_cursor& c) noexcept {
    packet_layout& l = c.layout;
    l.datagram_end = static_cast<std::uint32_t>(c.wire);
    if (!c.has(l.network_offset, sizeof(ipv6_header))) return c.fail(drop_reason::ip_header_truncated);
    auto const& ip = header_at<ipv6_header>(c.data + l.network_offset);
    if (c.data[l.network_offset] >> 4 != 6) return c.fail(drop_reason::ip_version);
    l.ip_version = 6;
    l.protocol = ip.next_header;
    l.transport_offset = l.payload_offset = static_cast<std::uint16_t>(l.network_offset + sizeof(ipv6_header));
    std::size_t const payload = ip.payload_length;
    bool const header_alone = c.wire == l.network_offset + sizeof(ipv6_header);  // then 0 is the true length
    set_datagram_end(c, payload == 0 && !header_alone ? 0 : payload + sizeof(ipv6_header), sizeof(ipv6_header));
    if (parse_extensions(c)) parse_transport(c);
}

HALFPROXY_ALWAYS_INLINE void parse_network(parse_cursor& c) noexcept {
    switch (c.layout.ether_type) {
        case ether_type::ipv4: return parse_ipv4(c);
        case ether_type::ipv6: return parse_ipv6(c);
        default: c.layout.datagram_end = static_cast<std::uint32_t>(c.wire);
    }
}

HALFPROXY_ALWAYS_INLINE bool is_vlan(std::uint16_t type) noexcept {
    return type == ether_type::vlan || type == ether_type::vlan_service || type == ether_type::vlan_old_qinq;
}

/// From an EtherType field at `type_at`: the tags, then the network layer.
HALFPROXY_ALWAYS_INLINE void parse_tagged(parse_cursor& c, std::size_t type_at) noexcept {
    packet_layout& l = c.layout;
    std::uint16_t type = c.be16(type_at);
    std::size_t at = type_at + 2;
    for (; is_vlan(type); at += sizeof(vlan_tag)) {
        if (!c.has(at, sizeof(vlan_tag))) return c.fail(drop_reason::frame_truncated);
        if (l.vlan_count == max_vlan_tags) return c.fail(drop_reason::vlan_stack_too_deep);
        l.vlan[l.vlan_count++] = c.be16(at);
        type = c.be16(at + 2);
    }
    l.ether_type = type;
    l.network_offset = static_cast<std::uint16_t>(at);
    parse_network(c);
}

inline void parse_raw_ip(parse_cursor& c, std::size_t at) noexcept {
    packet_layout& l = c.layout;
    l.network_offset = static_cast<std::uint16_t>(at);
    if (!c.has(at, 1)) return c.fail(drop_reason::ip_header_truncated);
    std::uint8_t const version = c.data[at] >> 4;
    l.ether_type = version == 4 ? ether_type::ipv4 : version == 6 ? ether_type::ipv6 : std::uint16_t{0};
    if (l.ether_type == 0) return c.fail(drop_reason::ip_version);
    parse_network(c);
}

/// BSD null and loopback: an address family, 2 is IPv4 everywhere, IPv6 is 24, 28, 30 or 10 by system, in either byte order.
inline void parse_null(parse_cursor& c) noexcept {
    if (!c.has(0, 4)) return c.fail(drop_reason::frame_truncated);
    std::uint32_t const big = c.be16(2);
    std::uint32_t const little = c.data[0] | std::uint32_t{c.data[1]} << 8;
    std::uint32_t const family = c.be16(0) == 0 ? big : little;
    c.layout.network_offset = 4;
    switch (family) {
        case 2: c.layout.ether_type = ether_type::ipv4; break;
        case 10:
        case 24:
        case 28:
        case 30: c.layout.ether_type = ether_type::ipv6; break;
        default: break;
    }
    parse_network(c);
}

template <link_type Link>
void parse_link(parse_cursor& c) noexcept {
    if constexpr (Link == link_type::ethernet) {
        if (!c.has(0, sizeof(ethernet_header))) return c.fail(drop_reason::frame_truncated);
        parse_tagged(c, 12);
    } else if constexpr (Link == link_type::raw_ip) {
        parse_raw_ip(c, 0);
    } else if constexpr (Link == link_type::linux_cooked) {
        if (!c.has(0, 16)) return c.fail(drop_reason::frame_truncated);
        parse_tagged(c, 14);
    } else if constexpr (Link == link_type::linux_cooked2) {
        if (!c.has(0, 20)) return c.fail(drop_reason::frame_truncated);
        c.layout.ether_type = c.be16(0);
        c.layout.network_offset = 20;
        parse_network(c);
    } else if constexpr (Link == link_type::null_loopback) {
        parse_null(c);
    } else {
        c.layout.datagram_end = static_cast<std::uint32_t>(c.wire);
    }
}

/// Parses the network layer of a quoted packet: its lengths describe the original, of which only a part is there.
inline void parse_quoted_network(parse_cursor& c) noexcept {
    packet_layout& l = c.layout;
    parse_raw_ip(c, l.network_offset);
    l.error = drop_reason::none;  // a quote is cut by nature
    bool const known = l.protocol == ip_protocol::tcp || l.protocol == ip_protocol::udp ||
                       l.protocol == ip_protocol::icmp || l.protocol == ip_protocol::icmpv6;
    l.has_transport = known && l.ip_version != 0 && l.fragment_offset == 0 && c.has(l.transport_offset, 8) &&
                      l.transport_offset > l.network_offset;
}

inline bool is_icmp_error(std::uint8_t ip_version, std::uint8_t type) noexcept {
    if (ip_version == 6) return type < 128;                                // RFC 4443 section 2.1
    return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;  // RFC 792
}

}  // namespace halfproxy::detail

namespace halfproxy {

namespace detail {

/// Of a frame known to be Ethernet, an IP header of `Transport - sizeof(ethernet_header)` bytes, and TCP. `length` counts from the IP header.
template <std::size_t Transport, contiguous_bytes Bytes>
HALFPROXY_ALWAYS_INLINE bool lay_out_usual(Bytes bytes, std::size_t wire_length, std::size_t length, packet_layout l, basic_packet_view<Bytes>& view) noexcept {
    std::size_t const end = sizeof(ethernet_header) + length;
    std::size_t const header = header_at<tcp_header>(bytes.data() + Transport).header_bytes();
    std::size_t const payload = Transport + header;
    bool const cut = wire_length > bytes.size();
    if (header < sizeof(tcp_header) || payload > bytes.size() || payload > end || end > bytes.size() || cut) return false;
    l.protocol = ip_protocol::tcp;
    l.has_transport = true;
    l.network_offset = sizeof(ethernet_header);
    l.transport_offset = Transport;
    l.payload_offset = static_cast<std::uint16_t>(payload);
    l.datagram_end = static_cast<std::uint32_t>(end);
    view = {bytes, l};
    return true;
}

}  // namespace detail

template <contiguous_bytes Bytes>
HALFPROXY_ALWAYS_INLINE bool parse_usual(Bytes bytes, std::size_t wire_length, basic_packet_view<Bytes>& view) noexcept {
    constexpr std::size_t network = sizeof(ethernet_header), transport = network + sizeof(ipv4_header);
    if (bytes.size() < transport + sizeof(tcp_header)) return false;
    auto const& link = header_at<ethernet_header>(bytes.data());
    auto const& ip = header_at<ipv4_header>(bytes.data() + network);
    constexpr std::uint16_t fragmented = ipv4_fragment::more | ipv4_fragment::offset_mask;
    if (link.type != ether_type::ipv4 || ip.version_and_length != 0x45 || ip.protocol != ip_protocol::tcp || (ip.fragment & fragmented) != 0)
        return false;
    packet_layout l;
    l.ip_version = 4;
    l.ether_type = ether_type::ipv4;
    return detail::lay_out_usual<transport>(bytes, wire_length, ip.total_length, l, view);
}

template <contiguous_bytes Bytes>
HALFPROXY_ALWAYS_INLINE bool parse_usual_v6(Bytes bytes, std::size_t wire_length, basic_packet_view<Bytes>& view) noexcept {
    constexpr std::size_t network = sizeof(ethernet_header), transport = network + sizeof(ipv6_header);
    if (bytes.size() < transport + sizeof(tcp_header)) return false;
    auto const& link = header_at<ethernet_header>(bytes.data());
    auto const& ip = header_at<ipv6_header>(bytes.data() + network);
    if (link.type != ether_type::ipv6 || ip.version_class_flow >> 28 != 6 || ip.next_header != ip_protocol::tcp) return false;
    packet_layout l;
    l.ip_version = 6;
    l.ether_type = ether_type::ipv6;
    return detail::lay_out_usual<transport>(bytes, wire_length, sizeof(ipv6_header) + ip.payload_length, l, view);
}

template <link_type Link, contiguous_bytes Bytes>
basic_packet_view<Bytes> parse(Bytes bytes, std::size_t wire_length) noexcept {
    basic_packet_view<Bytes> view(bytes);
    std::size_t const wire = wire_length < bytes.size() ? bytes.size() : wire_length;
    view.layout_.cut = wire > bytes.size();
    detail::parse_cursor cursor{bytes.data(), bytes.size(), wire, view.layout_};
    detail::parse_link<Link>(cursor);
    return view;
}

template <contiguous_bytes Bytes>
basic_packet_view<Bytes> parse(link_type link, Bytes bytes, std::size_t wire_length) noexcept {
    switch (link) {
        case link_type::ethernet: return parse<link_type::ethernet>(bytes, wire_length);
        case link_type::raw_ip: return parse<link_type::raw_ip>(bytes, wire_length);
        case link_type::linux_cooked: return parse<link_type::linux_cooked>(bytes, wire_length);
        case link_type::linux_cooked2: return parse<link_type::linux_cooked2>(bytes, wire_length);
        case link_type::null_loopback: return parse<link_type::null_loopback>(bytes, wire_length);
        case link_type::unsupported: break;
    }
    return parse<link_type::unsupported>(bytes, wire_length);
}

template <contiguous_bytes Bytes>
basic_packet_view<Bytes> parse_quoted(basic_packet_view<Bytes> const& error) noexcept {
    packet_layout layout;
    packet_layout const& outer = error.layout();
    if (!error.is_icmp() || !detail::is_icmp_error(outer.ip_version, error.icmp().type)) return {error.bytes(), layout};
    layout.network_offset = outer.payload_offset;
    std::size_t const end = outer.datagram_end < error.bytes().size() ? outer.datagram_end : error.bytes().size();
    // The quoted length may be anything up to 64 KiB: let the wire be as long as it claims.
    detail::parse_cursor cursor{error.bytes().data(), end, end + 0x10000, layout};
    detail::parse_quoted_network(cursor);
    return {error.bytes(), layout};
}

}  // namespace halfproxy
