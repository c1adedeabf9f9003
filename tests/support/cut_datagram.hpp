// SPDX-License-Identifier: BSL-1.0
// Datagrams of tests, cut into fragments.
#pragma once

#include "tests/support/packets.hpp"

#include <algorithm>
#include <vector>

namespace halfproxy::test {

/// Where an IP datagram's fragmentable part begins.
inline std::size_t fragmentable_at(byte_string const& datagram) { return datagram[0] >> 4 == 4 ? std::size_t{datagram[0]} % 16 * 4 : 40; }

/// One fragment of a datagram: bytes [begin, end) of its fragmentable part.
inline byte_string fragment_of(byte_string const& datagram, std::size_t begin, std::size_t end, bool more, std::uint32_t id = 0x1234) {
    std::size_t const at = fragmentable_at(datagram);
    byte_string header(datagram.begin(), datagram.begin() + static_cast<std::ptrdiff_t>(at));
    byte_string const content(datagram.begin() + static_cast<std::ptrdiff_t>(at + begin), datagram.begin() + static_cast<std::ptrdiff_t>(at + end));
    auto const length = static_cast<unsigned>(end - begin), units = static_cast<unsigned>(begin / 8);
    if (datagram[0] >> 4 == 6) {
        put16(header, 4, length + 8);
        unsigned const next = header[6];
        header[6] = 44;
        return header + u8(next) + u8(0) + u16(units << 3 | (more ? 1u : 0u)) + u32(id) + content;
    }
    put16(header, 2, static_cast<unsigned>(at) + length);
    put16(header, 4, id & 0xffff);
    put16(header, 6, units | (more ? 0x2000u : 0u));
    put16(header, 10, 0);
    put16(header, 10, naive_checksum(header));
    return header + content;
}

/// The whole datagram in pieces of `bytes`, a multiple of 8.
inline std::vector<byte_string> fragments_of(byte_string const& datagram, std::size_t bytes, std::uint32_t id = 0x1234) {
    std::size_t const whole = datagram.size() - fragmentable_at(datagram);
    std::vector<byte_string> out;
    for (std::size_t at = 0; at < whole; at += bytes) out.push_back(fragment_of(datagram, at, std::min(at + bytes, whole), at + bytes < whole, id));
    return out;
}

}  // namespace halfproxy::test
