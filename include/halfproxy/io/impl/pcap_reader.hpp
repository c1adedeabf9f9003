// SPDX-License-Identifier: BSL-1.0
// The formats' numbers, and the reader: every length is checked against the file before it is believed.
#pragma once

#include <halfproxy/io/pcap_file.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <initializer_list>
#include <limits>

namespace halfproxy {

namespace detail::pcap {

inline constexpr std::uint32_t magic_micro = 0xa1b2c3d4u;
inline constexpr std::uint32_t magic_nano = 0xa1b23c4du;
inline constexpr std::uint32_t magic_modified = 0xa1b2cd34u;  // 8 more bytes in every record header
inline constexpr std::size_t file_header_bytes = 24;

inline constexpr std::uint32_t section_block = 0x0a0d0d0au;  // the same in both byte orders
inline constexpr std::uint32_t interface_block = 1;
inline constexpr std::uint32_t obsolete_packet_block = 2;
inline constexpr std::uint32_t simple_packet_block = 3;
inline constexpr std::uint32_t enhanced_packet_block = 6;
inline constexpr std::uint32_t byte_order_magic = 0x1a2b3c4du;

inline constexpr std::uint16_t option_end = 0;
inline constexpr std::uint16_t option_comment = 1;
inline constexpr std::uint16_t option_if_name = 2;
inline constexpr std::uint16_t option_epb_flags = 2;
inline constexpr std::uint16_t option_tsresol = 9;
inline constexpr std::uint16_t option_tsoffset = 14;

inline constexpr std::size_t block_overhead = 12;  // type and the length at both ends
inline constexpr std::uint32_t nanoseconds = 1'000'000'000u;

[[nodiscard]] constexpr std::uint32_t little32(std::uint8_t const* p) noexcept {
    return p[0] | std::uint32_t{p[1]} << 8 | std::uint32_t{p[2]} << 16 | std::uint32_t{p[3]} << 24;
}
[[nodiscard]] constexpr std::uint32_t big32(std::uint8_t const* p) noexcept {
    return p[3] | std::uint32_t{p[2]} << 8 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[0]} << 24;
}
[[nodiscard]] constexpr std::size_t padded(std::size_t n) noexcept { return (n + 3) & ~std::size_t{3}; }

/// Seconds and nanoseconds as a time point; what 64 bits of nanoseconds cannot hold (beyond 1677 to 2262) is moved to the bound.
[[nodiscard]] constexpr time_point time_of(std::int64_t seconds, std::uint32_t ns) noexcept {
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / std::int64_t{nanoseconds} - 1;
    std::int64_t const s = std::clamp(seconds, -most, most);
    return time_point{std::chrono::nanoseconds{s * std::int64_t{nanoseconds} + ns}};
}

struct seconds_and_ns {
    std::uint64_t seconds;
    std::uint32_t ns;
};

/// A stamp in units of 2^-n s. 34 bits of fraction are kept: times 10^9 they still fit 64 bits.
[[nodiscard]] constexpr seconds_and_ns from_binary(std::uint64_t stamp, unsigned n) noexcept {
    std::uint64_t const seconds = n < 64 ? stamp >> n : 0;
    std::uint64_t fraction = n == 0 ? 0 : n < 64 ? stamp & ((std::uint64_t{1} << n) - 1) : stamp;
    for (; n > 34; --n) fraction >>= 1;
    return {seconds, static_cast<std::uint32_t>(fraction * nanoseconds >> n)};
}

/// A stamp in units of 10^-n s.
[[nodiscard]] constexpr seconds_and_ns from_decimal(std::uint64_t stamp, unsigned n) noexcept {
    for (; n > 9; --n) stamp /= 10;
    std::uint32_t units = 1;
    for (unsigned i = 0; i < n; ++i) units *= 10;
    return {stamp / units, static_cast<std::uint32_t>(stamp % units * (nanoseconds / units))};
}

[[nodiscard]] constexpr time_point stamp_time(std::uint64_t stamp, std::uint8_t resolution,
                                              std::int64_t offset_seconds) noexcept {
    unsigned const n = resolution & 0x7fu;
    seconds_and_ns const t = (resolution & 0x80u) != 0 ? from_binary(stamp, n) : from_decimal(stamp, n);
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / 4;
    std::int64_t const seconds = static_cast<std::int64_t>(std::min(t.seconds, static_cast<std::uint64_t>(most)));
    return time_of(seconds + std::clamp(offset_seconds, -most, most), t.ns);
}

}  // namespace detail::pcap

constexpr link_type link_type_of(std::uint32_t linktype) noexcept {
    switch (linktype & 0xffffu) {
        case 1: return link_type::ethernet;
        case 12:   // DLT_RAW as most systems number it
        case 14:   // and as OpenBSD does
        case 101:  // LINKTYPE_RAW
        case 228:  // LINKTYPE_IPV4
        case 229: return link_type::raw_ip;  // LINKTYPE_IPV6
        case 113: return link_type::linux_cooked;
        case 276: return link_type::linux_cooked2;
        case 0:
        case 108: return link_type::null_loopback;
        default: return link_type::unsupported;
    }
}

constexpr std::uint16_t linktype_number(link_type link) noexcept {
    switch (link) {
        case link_type::ethernet: return 1;
        case link_type::raw_ip: return 101;
        case link_type::linux_cooked: return 113;
        case link_type::linux_cooked2: return 276;
        case link_type::null_loopback: return 0;
        case link_type::unsupported: break;
    }
    return 147;
}

inline std::uint16_t pcap_reader::u16(std::size_t at) const noexcept {
    std::uint8_t const* p = file_.data() + at;
    return static_cast<std::uint16_t>(big_endian_ ? p[0] << 8 | p[1] : p[1] << 8 | p[0]);
}

inline std::uint32_t pcap_reader::u32(std::size_t at) const noexcept {
    std::uint8_t const* p = file_.data() + at;
    return big_endian_ ? detail::pcap::big32(p) : detail::pcap::little32(p);
}

inline bool pcap_reader::has(std::size_t at, std::size_t n) const noexcept {
    return at <= file_.size() && n <= file_.size() - at;
}

inline bool pcap_reader::stop(capture_status status, std::string_view reason) noexcept {
    status_ = status;
    reason_ = reason;
    return false;
}

inline std::string pcap_reader::message() const {
    if (status_ == capture_status::ok || status_ == capture_status::end) return {};
    if (status_ == capture_status::not_a_capture) return "not a capture: " + std::string(reason_);
    return "byte " + std::to_string(at_) + ": " + std::string(reason_) + " (after " + std::to_string(records_) +
           (records_ == 1 ? " whole packet)" : " whole packets)");
}

namespace detail::pcap {

/// What the file is instead: the formats people most often hand to a capture tool by mistake.
[[nodiscard]] inline std::string_view foreign_format(byte_view file) noexcept {
    auto const begins = [file](std::initializer_list<std::uint8_t> magic) {
        return file.size() >= magic.size() && std::equal(magic.begin(), magic.end(), file.begin());
    };
    if (begins({0x1f, 0x8b})) return "it is compressed with gzip; decompress it first";
    if (begins({0x28, 0xb5, 0x2f, 0xfd})) return "it is compressed with zstd; decompress it first";
    if (begins({0xfd, '7', 'z', 'X', 'Z'})) return "it is compressed with xz; decompress it first";
    if (begins({0x04, 0x22, 0x4d, 0x18})) return "it is compressed with lz4; decompress it first";
    if (begins({'s', 'n', 'o', 'o', 'p', 0})) return "it is a snoop capture; convert it to pcapng first";
    return "it begins with neither the magic number of pcap nor that of pcapng";
}

}  // namespace detail::pcap

inline pcap_reader::pcap_reader(byte_view file) : file_(file) {
    namespace p = detail::pcap;
    if (file_.empty()) {
        stop(capture_status::not_a_capture, "it is empty");
        return;
    }
    if (file_.size() < 4) {
        stop(capture_status::not_a_capture, "it is shorter than a magic number");
        return;
    }
    std::uint32_t const little = p::little32(file_.data());
    pcapng_ = little == p::section_block;
    if (!pcapng_) open_pcap(little, p::big32(file_.data()));
}

inline void pcap_reader::open_pcap(std::uint32_t magic_as_little, std::uint32_t magic_as_big) {
    namespace p = detail::pcap;
    auto const known = [](std::uint32_t m) {
        return m == p::magic_micro || m == p::magic_nano || m == p::magic_modified;
    };
    big_endian_ = known(magic_as_big);
    std::uint32_t const magic = big_endian_ ? magic_as_big : magic_as_little;
    if (!known(magic)) {
        stop(capture_status::not_a_capture, p::foreign_format(file_));
        return;
    }
    if (!has(0, p::file_header_bytes)) {
        stop(capture_status::truncated, "the file ends inside its header");
        return;
    }
    if (magic == p::magic_nano) fraction_ns_ = 1;
    if (magic == p::magic_modified) record_header_ = 24;
    lengths_swapped_ = u16(4) == 2 && u16(6) < 3;
    interface only;
    only.linktype = static_cast<std::uint16_t>(u32(20));
    interfaces_.push_back(only);
    at_ = p::file_header_bytes;
}

inline bool pcap_reader::next(capture_record& record) {
    if (status_ != capture_status::ok) return false;
    return pcapng_ ? next_pcapng(record) : next_pcap(record);
}

inline bool pcap_reader::next_pcap(capture_record& record) {
    if (at_ == file_.size()) return stop(capture_status::end, {});
    if (!has(at_, record_header_)) return stop(capture_status::truncated, "the file ends inside a record header");
    std::uint32_t captured = u32(at_ + 8);
    std::uint32_t wire = u32(at_ + 12);
    if (lengths_swapped_) std::swap(captured, wire);
    // Units beyond a second are no reason to give up a packet: they only move it in time.
    record.time = detail::pcap::time_of(u32(at_), 0) + std::chrono::nanoseconds{std::uint64_t{u32(at_ + 4)} * fraction_ns_};
    if (!deliver(record, 0, at_ + record_header_, captured, wire)) return false;
    at_ += record_header_ + captured;
    return true;
}

/// The part both formats share: a packet's bytes, whose length has not been checked yet, at `at`.
inline bool pcap_reader::deliver(capture_record& record, std::uint32_t interface_id, std::size_t at,
                                 std::uint32_t captured, std::uint32_t wire) {
    if (captured > max_capture_record_bytes)
        return stop(capture_status::damaged, "a packet record claims more than 256 KiB");
    if (!has(at, captured)) return stop(capture_status::truncated, "the file ends inside a packet record");
    record.bytes = file_.subspan(at, captured);
    record.wire_length = std::max(wire, captured);
    record.linktype = interfaces_[interface_id].linktype;
    record.link = link_type_of(record.linktype);
    record.interface = first_interface_ + interface_id;
    record.number = ++records_;
    last_time_ = record.time;
    return true;
}

inline bool pcap_reader::next_pcapng(capture_record& record) {
    namespace p = detail::pcap;
    for (;;) {
        block b;
        if (!read_block(b)) return false;
        std::size_t const next = b.end + 4;
        std::uint64_t const before = records_;
        bool good = true;
        switch (b.type) {
            case p::interface_block: good = read_interface(b); break;
            case p::obsolete_packet_block:
            case p::enhanced_packet_block: good = read_enhanced(b, record); break;
            case p::simple_packet_block: good = read_simple(b, record); break;
            default: break;  // of no interest, or unknown: skipped by its length
        }
        if (!good) return false;
        at_ = next;
        if (records_ != before) return true;
    }
}

/// The block at at_, with its length checked at both ends.
inline bool pcap_reader::read_block(block& b) {
    namespace p = detail::pcap;
    if (at_ == file_.size()) return stop(capture_status::end, {});
    if (!has(at_, p::block_overhead)) return stop(capture_status::truncated, "the file ends inside a block");
    b.type = u32(at_);
    if (b.type == p::section_block && !read_section(b)) return false;
    std::size_t const length = u32(at_ + 4);
    if (length < p::block_overhead || length % 4 != 0)
        return stop(capture_status::damaged, "a block length is under 12 or no multiple of 4");
    if (!has(at_, length)) return stop(capture_status::truncated, "the file ends inside a block");
    b.begin = at_ + 8;
    b.end = at_ + length - 4;
    if (u32(b.end) != length) return stop(capture_status::damaged, "the two lengths of a block differ");
    return true;
}

/// A section's byte order decides how its own length is read.
inline bool pcap_reader::read_section(block& b) {
    namespace p = detail::pcap;
    if (!has(at_, 28)) return stop(capture_status::truncated, "the file ends inside a section header");
    std::uint8_t const* magic = file_.data() + at_ + 8;
    big_endian_ = p::big32(magic) == p::byte_order_magic;
    if (!big_endian_ && p::little32(magic) != p::byte_order_magic)
        return stop(at_ == 0 ? capture_status::not_a_capture : capture_status::damaged,
                    "a section header without the byte-order magic");
    if (u32(at_ + 4) < 28) return stop(capture_status::damaged, "a section header shorter than 28 bytes");
    if (u16(at_ + 12) != 1) return stop(capture_status::damaged, "a section of a pcapng version other than 1");
    first_interface_ += static_cast<std::uint32_t>(interfaces_.size());
    interfaces_.clear();
    b.type = p::section_block;
    return true;
}

inline bool pcap_reader::read_interface(block const& b) {
    if (b.end - b.begin < 8) return stop(capture_status::damaged, "an interface description shorter than 20 bytes");
    interface out;
    out.linktype = u16(b.begin);
    out.snap_length = u32(b.begin + 4);
    read_interface_options(b.begin + 8, b.end, out);
    interfaces_.push_back(out);
    return true;
}

/// Options that run over the block's end are left unread: they do not move any packet.
inline void pcap_reader::read_interface_options(std::size_t at, std::size_t end, interface& out) const {
    namespace p = detail::pcap;
    while (end - at >= 4) {
        std::uint16_t const code = u16(at);
        std::size_t const length = u16(at + 2);
        at += 4;
        if (code == p::option_end || p::padded(length) > end - at) return;
        if (code == p::option_tsresol && length == 1) out.resolution = file_[at];
        if (code == p::option_tsoffset && length == 8) {
            std::uint64_t const first = u32(at);
            std::uint64_t const second = u32(at + 4);
            out.offset_seconds = static_cast<std::int64_t>(big_endian_ ? first << 32 | second : second << 32 | first);
        }
        at += p::padded(length);
    }
}

/// An enhanced or an obsolete packet block: they differ in how wide the interface number is.
inline bool pcap_reader::read_enhanced(block const& b, capture_record& record) {
    namespace p = detail::pcap;
    if (b.end - b.begin < 20) return stop(capture_status::damaged, "a packet block shorter than 32 bytes");
    std::uint32_t const id = b.type == p::obsolete_packet_block ? u16(b.begin) : u32(b.begin);
    if (id >= interfaces_.size()) return stop(capture_status::damaged, "a packet of an interface not described");
    std::uint64_t const stamp = std::uint64_t{u32(b.begin + 4)} << 32 | u32(b.begin + 8);
    std::uint32_t const captured = u32(b.begin + 12);
    if (captured > b.end - b.begin - 20) return stop(capture_status::damaged, "a packet longer than its block");
    record.time = p::stamp_time(stamp, interfaces_[id].resolution, interfaces_[id].offset_seconds);
    return deliver(record, id, b.begin + 20, captured, u32(b.begin + 16));
}

/// A simple packet block holds what the wire had, cut by interface 0's snap length; padding hides how much exactly.
inline bool pcap_reader::read_simple(block const& b, capture_record& record) {
    if (b.end - b.begin < 4) return stop(capture_status::damaged, "a packet block shorter than 16 bytes");
    if (interfaces_.empty()) return stop(capture_status::damaged, "a packet of an interface not described");
    std::uint32_t const wire = u32(b.begin);
    std::uint32_t const snap = interfaces_[0].snap_length;
    std::uint32_t const captured = snap == 0 ? wire : std::min(wire, snap);
    if (captured > b.end - b.begin - 4) return stop(capture_status::damaged, "a packet longer than its block");
    record.time = last_time_;
    return deliver(record, 0, b.begin + 4, captured, wire);
}

}  // namespace halfproxy
