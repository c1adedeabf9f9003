// SPDX-License-Identifier: BSL-1.0
// Packets for tests, put together from byte strings with a checksum routine of their own, so that no test judges the library by itself.
#pragma once

#include <halfproxy/core/bytes.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

namespace halfproxy::test {

using byte_string = std::vector<std::uint8_t>;

inline byte_string operator+(byte_string a, byte_string const& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

inline byte_string u8(unsigned v) { return {static_cast<std::uint8_t>(v)}; }
inline byte_string u16(unsigned v) { return u8(v >> 8) + u8(v & 0xffu); }
inline byte_string u32(std::uint32_t v) { return u16(v >> 16) + u16(v & 0xffffu); }
inline byte_string zeros(std::size_t n) { return byte_string(n); }

inline void put16(byte_string& bytes, std::size_t at, unsigned v) {
    bytes[at] = static_cast<std::uint8_t>(v >> 8);
    bytes[at + 1] = static_cast<std::uint8_t>(v);
}

/// RFC 1071 word by word: slow and plain.
inline std::uint16_t naive_sum(byte_view bytes, std::uint32_t start = 0) {
    std::uint32_t sum = start;
    for (std::size_t i = 0; i < bytes.size(); i += 2) {
        sum += std::uint32_t{bytes[i]} << 8 | (i + 1 < bytes.size() ? bytes[i + 1] : 0u);
        sum = (sum & 0xffffu) + (sum >> 16);
    }
    return static_cast<std::uint16_t>(sum);
}
inline std::uint16_t naive_checksum(byte_view bytes) { return static_cast<std::uint16_t>(~naive_sum(bytes)); }

struct vlan {
    unsigned tpid = 0x8100;
    unsigned control = 0;
};

/// An Ethernet frame without padding. Without `type`, the payload's first nibble decides.
inline byte_string ethernet(byte_string const& payload, std::initializer_list<vlan> tags = {}, unsigned type = 0) {
    if (type == 0) type = !payload.empty() && payload[0] >> 4 == 6 ? 0x86dd : 0x0800;
    byte_string out{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
    for (vlan const& tag : tags) out = out + u16(tag.tpid) + u16(tag.control);
    return out + u16(type) + payload;
}

struct ip4 {
    std::uint32_t source = 0xc000020a;       // 192.0.2.10
    std::uint32_t destination = 0xc6336450;  // 198.51.100.80
    unsigned protocol = 6;
    unsigned fragment = 0x4000;
    unsigned time_to_live = 64;
    byte_string options{};
    std::optional<unsigned> total_length{};
    std::optional<unsigned> header_words{};
};

inline byte_string encode(ip4 const& ip, byte_string const& payload) {
    unsigned const header = 20 + static_cast<unsigned>(ip.options.size());
    byte_string out = u8(0x40 | ip.header_words.value_or(header / 4)) + u8(0) +
                      u16(ip.total_length.value_or(header + static_cast<unsigned>(payload.size()))) + u16(1) +
                      u16(ip.fragment) + u8(ip.time_to_live) + u8(ip.protocol) + u16(0) + u32(ip.source) +
                      u32(ip.destination) + ip.options;
    put16(out, 10, naive_checksum(out));
    return out + payload;
}

/// A kind and its header without the first byte, which names what follows.
using extension = std::pair<unsigned, byte_string>;

struct ip6 {
    byte_string source = byte_string{0x20, 0x01, 0x0d, 0xb8} + zeros(11) + u8(0x10);
    byte_string destination = byte_string{0x20, 0x01, 0x0d, 0xb8} + zeros(11) + u8(0x80);
    unsigned protocol = 6;
    std::vector<extension> extensions{};
    std::optional<unsigned> payload_length{};
};

inline byte_string encode(ip6 const& ip, byte_string const& payload) {
    byte_string chain;
    for (std::size_t i = 0; i < ip.extensions.size(); ++i) {
        bool const last = i + 1 == ip.extensions.size();
        chain = chain + u8(last ? ip.protocol : ip.extensions[i + 1].first) + ip.extensions[i].second;
    }
    unsigned const first = ip.extensions.empty() ? ip.protocol : ip.extensions[0].first;
    auto const length = static_cast<unsigned>(chain.size() + payload.size());
    return u32(6u << 28) + u16(ip.payload_length.value_or(length)) + u8(first) + u8(64) + ip.source + ip.destination +
           chain + payload;
}

struct tcp {
    unsigned source_port = 40000;
    unsigned destination_port = 80;
    std::uint32_t seq = 1000;
    std::uint32_t ack = 0;
    unsigned flags = 0x02;
    unsigned window = 64240;
    byte_string options{};
    byte_string payload{};
    std::optional<unsigned> data_offset{};
};

/// The segment with 0 in the checksum field.
inline byte_string encode(tcp const& t) {
    byte_string options = t.options;
    options.resize((options.size() + 3) / 4 * 4);
    unsigned const words = t.data_offset.value_or(5 + static_cast<unsigned>(options.size() / 4));
    return u16(t.source_port) + u16(t.destination_port) + u32(t.seq) + u32(t.ack) + u8(words << 4) + u8(t.flags) +
           u16(t.window) + u16(0) + u16(0) + options + t.payload;
}

inline byte_string pseudo_header(ip4 const& ip, std::size_t length) {
    return u32(ip.source) + u32(ip.destination) + u16(ip.protocol) + u16(static_cast<unsigned>(length));
}
inline byte_string pseudo_header(ip6 const& ip, std::size_t length) {
    return ip.source + ip.destination + u32(static_cast<std::uint32_t>(length)) + u32(ip.protocol);
}

/// `transport` with the checksum at `at` filled in.
template <class Ip>
byte_string sealed(Ip const& ip, byte_string transport, std::size_t at) {
    put16(transport, at, 0);
    put16(transport, at, naive_checksum(pseudo_header(ip, transport.size()) + transport));
    return transport;
}

/// IP datagrams with right checksums.
template <class Ip>
byte_string tcp_packet(Ip ip, tcp const& segment) {
    ip.protocol = 6;
    return encode(ip, sealed(ip, encode(segment), 16));
}

template <class Ip>
byte_string udp_packet(Ip ip, byte_string const& payload, std::optional<unsigned> length = {}) {
    ip.protocol = 17;
    auto const whole = static_cast<unsigned>(8 + payload.size());
    return encode(ip, sealed(ip, u16(1000) + u16(2000) + u16(length.value_or(whole)) + u16(0) + payload, 6));
}

inline byte_string icmp_packet(ip4 ip, unsigned type, unsigned code, byte_string const& payload, std::uint32_t rest = 0) {
    ip.protocol = 1;
    byte_string message = u8(type) + u8(code) + u16(0) + u32(rest) + payload;
    put16(message, 2, naive_checksum(message));
    return encode(ip, message);
}
inline byte_string icmp_packet(ip6 ip, unsigned type, unsigned code, byte_string const& payload, std::uint32_t rest = 0) {
    ip.protocol = 58;
    return encode(ip, sealed(ip, u8(type) + u8(code) + u16(0) + u32(rest) + payload, 2));
}

}  // namespace halfproxy::test
