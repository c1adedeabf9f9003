// SPDX-License-Identifier: BSL-1.0
// IPv6 addresses as tests write them: eight words.
#pragma once

#include "tests/support/packets.hpp"

#include <halfproxy/wire/address.hpp>

#include <array>

namespace halfproxy::test {

inline ipv6_bytes six(std::array<unsigned, 8> const& words) {
    ipv6_bytes a{};
    for (std::size_t i = 0; i < 8; ++i) {
        a[2 * i] = static_cast<std::uint8_t>(words[i] >> 8);
        a[2 * i + 1] = static_cast<std::uint8_t>(words[i]);
    }
    return a;
}
inline ip_prefix six_prefix(std::array<unsigned, 8> const& words, unsigned length) {
    return {ip_address::v6(six(words)), static_cast<std::uint8_t>(length)};
}
inline byte_string bytes_of(ipv6_bytes const& a) { return {a.begin(), a.end()}; }

}  // namespace halfproxy::test
