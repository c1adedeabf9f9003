// SPDX-License-Identifier: BSL-1.0
// halfproxy dissect: reads a capture, writes a row per packet.
#include "dissect.hpp"

#include "capture_source.hpp"
#include "transport_sum.hpp"

#include <halfproxy/wire/parse.hpp>
#include <halfproxy/wire/tcp_options.hpp>

#include <fmt/format.h>

#include <iterator>

namespace halfproxy::tool {

namespace {

void absent(row_writer& rows, int columns) {
    while (columns-- > 0) rows.absent();
}

void optional_number(row_writer& rows, bool there, std::uint64_t value) {
    if (there)
        rows.number(value);
    else
        rows.absent();
}

/// The outermost type, as on the wire: a tag's own number when there is one. Below 0x600 it is a length (IEEE 802.3).
void write_link(row_writer& rows, capture_record const& record, packet_layout const& l) {
    constexpr std::size_t type_at = 12;
    constexpr unsigned first_type = 0x600;
    bool const there = record.link == link_type::ethernet && record.bytes.size() >= sizeof(ethernet_header);
    auto const type =
        there ? static_cast<std::uint16_t>(record.bytes[type_at] << 8 | record.bytes[type_at + 1]) : std::uint16_t{0};
    if (type >= first_type)
        rows.hex(type);
    else
        rows.absent();
    if (l.vlan_count == 0) return rows.absent();
    fmt::memory_buffer ids;
    for (std::size_t i = 0; i < l.vlan_count; ++i)
        fmt::format_to(std::back_inserter(ids), "{}{}", i == 0 ? "" : ",", l.vlan[i] & 0xfffu);
    rows.text({ids.data(), ids.size()});
}

void write_ip(row_writer& rows, const_packet_view const& packet) {
    packet_layout const& l = packet.layout();
    if (!packet.is_ip()) return absent(rows, 7);
    rows.number(l.ip_version);
    if (l.error == drop_reason::ip_header_length) return absent(rows, 6);  // where its fields end is not known
    if (l.ip_version == 4) {
        ipv4_header const& ip = packet.ipv4();
        rows.ipv4(ip.source);
        rows.ipv4(ip.destination);
        rows.number(l.protocol);
        rows.number(ip.time_to_live);
    } else {
        ipv6_header const& ip = packet.ipv6();
        rows.ipv6(ip.source);
        rows.ipv6(ip.destination);
        rows.number(l.protocol);
        rows.number(ip.hop_limit);
    }
    rows.number(l.fragment_offset);
    rows.flag(l.more_fragments);
}

void write_sack(row_writer& rows, tcp_options const& o) {
    if (o.sack_count == 0) return rows.absent();
    fmt::memory_buffer blocks;
    for (std::size_t i = 0; i < o.sack_count; ++i)
        fmt::format_to(std::back_inserter(blocks), "{}{}:{}", i == 0 ? "" : ",", o.sack_blocks[i].left.value,
                       o.sack_blocks[i].right.value);
    rows.text({blocks.data(), blocks.size()});
}

void write_tcp_options(row_writer& rows, tcp_options const& o) {
    optional_number(rows, o.has_mss, o.mss);
    optional_number(rows, o.has_window_scale, o.window_scale);
    if (o.sack_permitted)
        rows.flag(true);
    else
        rows.absent();
    write_sack(rows, o);
    optional_number(rows, o.has_timestamps, o.timestamp_value);
    optional_number(rows, o.has_timestamps, o.timestamp_echo);
}

void write_tcp(row_writer& rows, const_packet_view const& packet, tcp_options const& options) {
    tcp_header const& tcp = packet.tcp();
    rows.number(tcp.source_port);
    rows.number(tcp.destination_port);
    rows.number(tcp.sequence);
    rows.number(tcp.acknowledgment);
    rows.hex(static_cast<std::uint16_t>((tcp.offset_and_high_flags & 0xfu) << 8 | tcp.flags));
    rows.number(tcp.window);
    optional_number(rows, !packet.layout().is_fragment(), packet.layout().payload_bytes());
    write_tcp_options(rows, options);
}

/// A data offset that ends inside the fixed header: what stands behind it is no header. Of the rest, the offset tells.
void write_short_tcp(row_writer& rows, const_packet_view const& packet) {
    packet_layout const& l = packet.layout();
    tcp_header const& tcp = packet.tcp();
    rows.number(tcp.source_port);
    rows.number(tcp.destination_port);
    rows.number(tcp.sequence);
    absent(rows, 3);
    rows.number(l.datagram_end - l.transport_offset - tcp.header_bytes());
    absent(rows, 6);
}

[[nodiscard]] bool is_short_tcp(const_packet_view const& packet) {
    return packet.is_tcp() && packet.tcp().header_bytes() < sizeof(tcp_header);
}

/// The ports of a first fragment that holds not all of the header.
[[nodiscard]] bool has_ports_only(const_packet_view const& packet) {
    packet_layout const& l = packet.layout();
    bool const ports = l.protocol == ip_protocol::tcp || l.protocol == ip_protocol::udp;
    return ports && !l.has_transport && l.fragment_offset == 0 && l.transport_offset > l.network_offset &&
           l.transport_offset + 4u <= l.datagram_end && l.transport_offset + 4u <= packet.bytes().size();
}

void write_transport(row_writer& rows, const_packet_view const& packet, tcp_options const& options) {
    constexpr int tcp_columns = 11;
    if (is_short_tcp(packet)) return write_short_tcp(rows, packet);
    if (packet.is_tcp()) return write_tcp(rows, packet, options);
    if (packet.is_udp() || has_ports_only(packet)) {
        std::uint8_t const* const ports = packet.bytes().data() + packet.layout().transport_offset;
        rows.number(header_at<big16>(ports));
        rows.number(header_at<big16>(ports + 2));
        return absent(rows, tcp_columns);
    }
    absent(rows, tcp_columns + 2);
}

void write_ip_checksum(row_writer& rows, const_packet_view const& packet) {
    packet_layout const& l = packet.layout();
    if (l.ip_version != 4 || l.error == drop_reason::ip_header_length) return rows.absent();
    checksum_verdict const verdict = verify_ipv4_header(packet);
    rows.text(verdict == checksum_verdict::good ? "good" : verdict == checksum_verdict::bad ? "bad" : "unverified");
}

void write_transport_checksum(row_writer& rows, const_packet_view const& packet) {
    if (!packet.layout().has_transport || is_short_tcp(packet)) return rows.absent();
    switch (transport_sum_of(packet)) {
        case transport_sum::good: return rows.text("good");
        case transport_sum::bad: return rows.text("bad");
        case transport_sum::partial: return rows.text("partial");
        case transport_sum::unverified: return rows.text("unverified");
    }
}

void write_error(row_writer& rows, packet_layout const& l, tcp_options const& options) {
    if (l.error != drop_reason::none) return rows.text(to_string(l.error));
    if (options.malformed) return rows.text(to_string(drop_reason::tcp_options));
    if (l.cut) return rows.text("cut");
    rows.absent();
}

}  // namespace

void write_dissect_row(row_writer& rows, capture_record const& record) {
    const_packet_view const packet = parse(record.link, record.bytes, record.wire_length);
    packet_layout const& l = packet.layout();
    tcp_options const options = packet.is_tcp() ? parse_tcp_options(packet.tcp_options()) : tcp_options{};
    rows.number(record.number);
    rows.number(record.wire_length);
    write_link(rows, record, l);
    write_ip(rows, packet);
    write_transport(rows, packet, options);
    write_ip_checksum(rows, packet);
    write_transport_checksum(rows, packet);
    write_error(rows, l, options);
    rows.end_row();
}

int run_dissect(dissect_options const& options) {
    capture_source capture(options.in);
    row_writer rows(dissect_columns, options.format, "");
    capture_record record;
    while (capture.next(record)) write_dissect_row(rows, record);
    rows.finish();
    return capture.finish();
}

}  // namespace halfproxy::tool
