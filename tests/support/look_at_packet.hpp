// SPDX-License-Identifier: BSL-1.0
// Looks at everything the parser offers for some bytes and checks what must hold for any bytes: for cut captures and fuzzers.
#pragma once

#include <halfproxy/wire/checksum.hpp>
#include <halfproxy/wire/parse.hpp>
#include <halfproxy/wire/tcp_options.hpp>

#include <cstddef>
#include <cstdint>

namespace halfproxy::test {

/// What was wrong first, as text, and a sum over all that was read, so that no read is optimized away.
struct packet_look {
    char const* broken = nullptr;
    std::uint64_t sum = 0;

    void expect(bool holds, char const* what) noexcept {
        if (!holds && broken == nullptr) broken = what;
    }
    void read(byte_view bytes) noexcept {
        for (std::uint8_t const b : bytes) sum = sum * 31 + b;
    }
    template <class Header>
    void read_header(Header const& header) noexcept {
        read({reinterpret_cast<std::uint8_t const*>(&header), sizeof(Header)});
    }
};

inline void look_at_options(packet_look& look, byte_view options) noexcept {
    tcp_options const o = parse_tcp_options(options);
    look.expect(!o.has_timestamps || o.timestamps_at + 8u <= options.size(), "timestamps lie within the options");
    look.expect(o.sack_count <= max_sack_blocks, "at most four SACK blocks");
    look.expect(o.sack_count == 0 || o.sack_at + 8u * o.sack_count <= options.size(), "SACK lies within the options");
    tcp_option_cursor cursor(options);
    tcp_option_view option;
    std::size_t steps = 0;
    while (cursor.next(option)) {
        look.read(option.content);
        look.expect(option.at + option.content.size() <= options.size(), "an option lies within the options");
        ++steps;
    }
    look.expect(steps <= options.size() / 2, "every option takes at least two bytes");
    look.expect(!cursor.malformed() || o.malformed, "what the cursor calls malformed, the options are");
}

/// The offsets stand in order and within the wire's length; what a header accessor reads was captured.
inline void check_layout(packet_look& look, packet_layout const& l, std::size_t captured, std::size_t wire) noexcept {
    look.expect(l.vlan_count <= max_vlan_tags, "at most four tags");
    look.expect(l.cut == (wire > captured), "cut says that the wire had more");
    if (l.ip_version == 0) {
        look.expect(!l.has_transport, "no transport without IP");
        return;
    }
    std::size_t const header = l.ip_version == 4 ? sizeof(ipv4_header) : sizeof(ipv6_header);
    look.expect(l.network_offset + header <= captured, "the fixed IP header was captured");
    look.expect(l.datagram_end <= wire, "the datagram ends within the frame");
    if (!l.has_transport) return;
    look.expect(l.network_offset + header <= l.transport_offset, "the transport header stands behind the IP header");
    look.expect(l.transport_offset + 8u <= l.payload_offset, "the payload stands behind the transport header");
    look.expect(l.payload_offset <= captured, "the transport header was captured");
    look.expect(l.payload_offset <= l.datagram_end, "the transport header lies within the datagram");
    look.expect(l.fragment_offset == 0, "a later fragment has no transport header");
}

inline void look_at_transport(packet_look& look, const_packet_view const& view) noexcept {
    if (view.is_tcp()) {
        look.read_header(view.tcp());
        look.read(view.tcp_options());
        look_at_options(look, view.tcp_options());
    }
    if (view.is_udp()) look.read_header(view.udp());
    if (view.is_icmp()) look.read_header(view.icmp());
    look.read(view.payload());
    look.sum += static_cast<std::uint64_t>(verify_transport(view));
}

inline void look_at_quote(packet_look& look, const_packet_view const& view) noexcept {
    const_packet_view const inner = parse_quoted(view);
    packet_layout const& l = inner.layout();
    look.expect(l.error == drop_reason::none, "a quote is cut by nature: no error");
    if (l.ip_version == 4) look.read_header(inner.ipv4());
    if (l.ip_version == 6) look.read_header(inner.ipv6());
    if (!l.has_transport) return;
    look.expect(l.transport_offset + 8u <= view.bytes().size(), "eight bytes of the quoted transport header are there");
    look.expect(view.layout().payload_offset <= l.network_offset, "the quote stands behind the message's header");
    look.read(view.bytes().subspan(l.transport_offset, 8));
}

/// `bytes` as a frame of the given link layer, of `wire` bytes on the wire.
[[nodiscard]] inline packet_look look_at_packet(link_type link, byte_view bytes, std::size_t wire) noexcept {
    packet_look look;
    const_packet_view const view = parse(link, bytes, wire);
    packet_layout const& l = view.layout();
    check_layout(look, l, bytes.size(), wire < bytes.size() ? bytes.size() : wire);
    if (l.ip_version == 4) {
        look.read_header(view.ipv4());
        look.sum += static_cast<std::uint64_t>(verify_ipv4_header(view));
    }
    if (l.ip_version == 6) look.read_header(view.ipv6());
    look_at_transport(look, view);
    if (view.is_icmp()) look_at_quote(look, view);
    return look;
}

/// The same bytes behind every link header the parser knows.
[[nodiscard]] inline packet_look look_at_packet(byte_view bytes, std::size_t wire) noexcept {
    packet_look all;
    for (link_type const link : {link_type::ethernet, link_type::raw_ip, link_type::linux_cooked,
                                 link_type::linux_cooked2, link_type::null_loopback, link_type::unsupported}) {
        packet_look const one = look_at_packet(link, bytes, wire);
        if (all.broken == nullptr) all.broken = one.broken;
        all.sum += one.sum;
    }
    return all;
}

}  // namespace halfproxy::test
