// SPDX-License-Identifier: BSL-1.0
// One packet of a flood: from nobody in particular, with valid checksums and the options a real stack sends.
#pragma once

#include <halfproxy/core/random.hpp>
#include <halfproxy/wire/address.hpp>
#include <halfproxy/wire/build.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace halfproxy::test {

enum class flood_mode : std::uint8_t {
    syn,      ///< MSS, SACK, timestamps, window scale
    ack,      ///< random acknowledgment number, so its cookie is wrong
    syn_ack,  ///< as a server would answer
};

struct flood_target {
    mac_address to_mac{};
    mac_address from_mac{};
    ip_address address{};
    std::uint16_t port = 80;                  ///< the server's, whoever sends
    flood_mode mode = flood_mode::syn;
    std::optional<ip_address> server{};       ///< sends itself, to random ports of `address`; else sources are random
};

/// A unicast source outside the lab's 10.77.0.0/24 and fd77::/64.
inline ipv6_bytes random_source(split_mix64& random, std::uint8_t ip_version) noexcept {
    ipv6_bytes out{};
    for (std::uint64_t bits = 0; std::uint8_t& byte : out) {
        if (bits == 0) bits = random();
        byte = static_cast<std::uint8_t>(bits);
        bits >>= 8;
    }
    if (ip_version == 4) {
        std::fill(out.begin() + 4, out.end(), std::uint8_t{0});
        while (out[0] == 0 || out[0] == 10 || out[0] == 127 || out[0] >= 224)
            out[0] = static_cast<std::uint8_t>(random.below(224));
    } else {
        out[0] = 0x20, out[1] = 0x01;
    }
    return out;
}

inline tcp_fields flood_fields(split_mix64& random, flood_mode mode) noexcept {
    tcp_fields out;
    out.seq = seq_num{static_cast<std::uint32_t>(random())};
    out.window = 64'240;
    out.flags = tcp_flag::syn;
    if (mode == flood_mode::syn) return out;
    out.ack = seq_num{static_cast<std::uint32_t>(random())};
    out.flags = mode == flood_mode::ack ? tcp_flag::ack : tcp_flag::syn | tcp_flag::ack;
    return out;
}

inline built_options flood_options(split_mix64& random, flood_target const& target) noexcept {
    built_options out;
    out.has_timestamps = true;
    out.timestamp_value = static_cast<std::uint32_t>(random());
    if (target.mode != flood_mode::syn) out.timestamp_echo = static_cast<std::uint32_t>(random());
    if (target.mode == flood_mode::ack) return out;
    out.has_mss = out.has_window_scale = out.sack_permitted = true;
    out.mss = target.address.version == 4 ? 1460 : 1440;
    out.window_scale = 7;
    return out;
}

/// Writes the next packet; returns its bytes, 0 when `out` is shorter than max_built_bytes.
inline std::size_t build_flood_packet(byte_span out, flood_target const& target, split_mix64& random) noexcept {
    packet_origin origin;
    ethernet_header& link = header_at<ethernet_header>(origin.link.data());
    link = {target.to_mac, target.from_mac, target.address.version == 4 ? ether_type::ipv4 : ether_type::ipv6};
    origin.link_bytes = sizeof(ethernet_header);
    origin.ip_version = target.address.version;
    origin.source = target.server ? target.server->bytes : random_source(random, target.address.version);
    origin.destination = target.address.bytes;
    auto const random_port = static_cast<std::uint16_t>(1024 + random.below(64'512));
    origin.source_port = target.server ? target.port : random_port;
    origin.destination_port = target.server ? random_port : target.port;
    return build_tcp(out, origin, flood_fields(random, target.mode), flood_options(random, target));
}

}  // namespace halfproxy::test
