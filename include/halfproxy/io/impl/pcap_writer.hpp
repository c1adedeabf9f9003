// SPDX-License-Identifier: BSL-1.0
// The capture writer.
#pragma once

#include <halfproxy/io/impl/pcap_reader.hpp>
#include <halfproxy/io/pcap_file.hpp>

#include <algorithm>
#include <array>

namespace halfproxy {

template <byte_sink Sink>
void pcap_writer<Sink>::put(byte_view bytes) {
    if (good_ && !bytes.empty()) good_ = sink_->write(bytes);
}

template <byte_sink Sink>
void pcap_writer<Sink>::put16(std::uint16_t value) {
    std::array<std::uint8_t, 2> const bytes{static_cast<std::uint8_t>(value), static_cast<std::uint8_t>(value >> 8)};
    put(bytes);
}

template <byte_sink Sink>
void pcap_writer<Sink>::put32(std::uint32_t value) {
    put16(static_cast<std::uint16_t>(value));
    put16(static_cast<std::uint16_t>(value >> 16));
}

template <byte_sink Sink>
void pcap_writer<Sink>::pad(std::size_t content_bytes) {
    static constexpr std::array<std::uint8_t, 3> zeros{};
    put(byte_view(zeros).first(detail::pcap::padded(content_bytes) - content_bytes));
}

template <byte_sink Sink>
pcap_writer<Sink>::pcap_writer(Sink& sink, capture_format format, link_type link, std::uint32_t snap_length)
    : pcap_writer(sink, format, linktype_number(link), snap_length) {}

template <byte_sink Sink>
pcap_writer<Sink>::pcap_writer(Sink& sink, capture_format format, std::uint16_t linktype, std::uint32_t snap_length)
    : sink_(&sink), snap_length_(std::clamp(snap_length, std::uint32_t{1}, max_capture_record_bytes)), format_(format) {
    if (format == capture_format::pcap) {
        begin_pcap(linktype);
    } else {
        begin_section();
        add_interface(linktype);
    }
}

template <byte_sink Sink>
void pcap_writer<Sink>::begin_pcap(std::uint16_t linktype) {
    put32(detail::pcap::magic_nano);
    put16(2);
    put16(4);
    put32(0);
    put32(0);
    put32(snap_length_);
    put32(linktype);
    interfaces_ = 1;
}

template <byte_sink Sink>
void pcap_writer<Sink>::begin_section() {
    put32(detail::pcap::section_block);
    put32(28);
    put32(detail::pcap::byte_order_magic);
    put16(1);
    put16(0);
    put32(0xffffffffu);  // section length: not given
    put32(0xffffffffu);
    put32(28);
}

template <byte_sink Sink>
std::uint32_t pcap_writer<Sink>::add_interface(std::uint16_t linktype, std::string_view name) {
    namespace p = detail::pcap;
    if (format_ == capture_format::pcap) return 0;
    name = name.substr(0, 255);
    std::size_t const name_option = name.empty() ? 0 : 4 + p::padded(name.size());
    auto const length = static_cast<std::uint32_t>(p::block_overhead + 8 + name_option + 8 + 4);
    put32(p::interface_block);
    put32(length);
    put16(linktype);
    put16(0);
    put32(snap_length_);
    if (!name.empty()) {
        put16(p::option_if_name);
        put16(static_cast<std::uint16_t>(name.size()));
        put({reinterpret_cast<std::uint8_t const*>(name.data()), name.size()});
        pad(name.size());
    }
    put16(p::option_tsresol);
    put16(1);
    put32(9);  // the one byte and its padding
    put32(p::option_end);
    put32(length);
    return interfaces_++;
}

template <byte_sink Sink>
bool pcap_writer<Sink>::write(capture_packet const& packet) {
    auto const present = static_cast<std::uint32_t>(std::min<std::size_t>(packet.bytes.size(), 0xffffffffu));
    std::uint32_t const captured = std::min(present, snap_length_);
    std::uint32_t const wire = std::max(packet.wire_length, present);
    if (format_ == capture_format::pcap)
        write_pcap(packet, captured, wire);
    else
        write_pcapng(packet, captured, wire);
    if (good_) ++records_;
    return good_;
}

template <byte_sink Sink>
bool pcap_writer<Sink>::write_pcap(capture_packet const& packet, std::uint32_t captured, std::uint32_t wire) {
    constexpr std::int64_t most = std::int64_t{0xffffffffu} * detail::pcap::nanoseconds;
    std::int64_t const ns = std::clamp<std::int64_t>(packet.time.time_since_epoch().count(), 0, most);
    put32(static_cast<std::uint32_t>(ns / detail::pcap::nanoseconds));
    put32(static_cast<std::uint32_t>(ns % detail::pcap::nanoseconds));
    put32(captured);
    put32(wire);
    put(packet.bytes.first(captured));
    return good_;
}

template <byte_sink Sink>
bool pcap_writer<Sink>::write_pcapng(capture_packet const& packet, std::uint32_t captured, std::uint32_t wire) {
    namespace p = detail::pcap;
    std::string_view const comment = packet.comment.substr(0, 1024);
    bool const flags = packet.direction != packet_direction::unknown;
    std::size_t options = (flags ? 8 : 0) + (comment.empty() ? 0 : 4 + p::padded(comment.size()));
    if (options != 0) options += 4;
    auto const length = static_cast<std::uint32_t>(p::block_overhead + 20 + p::padded(captured) + options);
    auto const stamp =
        static_cast<std::uint64_t>(std::max<std::int64_t>(packet.time.time_since_epoch().count(), 0));
    put32(p::enhanced_packet_block);
    put32(length);
    put32(packet.interface < interfaces_ ? packet.interface : 0);
    put32(static_cast<std::uint32_t>(stamp >> 32));
    put32(static_cast<std::uint32_t>(stamp));
    put32(captured);
    put32(wire);
    put(packet.bytes.first(captured));
    pad(captured);
    if (flags) {
        put16(p::option_epb_flags);
        put16(4);
        put32(static_cast<std::uint32_t>(packet.direction));
    }
    if (!comment.empty()) {
        put16(p::option_comment);
        put16(static_cast<std::uint16_t>(comment.size()));
        put({reinterpret_cast<std::uint8_t const*>(comment.data()), comment.size()});
        pad(comment.size());
    }
    if (options != 0) put32(p::option_end);
    put32(length);
    return good_;
}

}  // namespace halfproxy
