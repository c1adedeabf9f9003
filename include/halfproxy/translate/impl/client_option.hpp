// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/translate/client_option.hpp>

#include <algorithm>
#include <array>

namespace halfproxy {

namespace detail {

[[nodiscard]] inline bool fits_mtu(frame const& f, packet_layout const& l, std::size_t option_bytes, std::uint16_t mtu) noexcept {
    return f.offload.segment_size == 0 && l.datagram_end - l.network_offset + option_bytes <= mtu;
}

}  // namespace detail

inline bool insert_client_address(frame& f, packet_view const& packet, std::uint8_t kind, std::uint32_t address, std::uint16_t port,
                                  std::uint16_t mtu) noexcept {
    std::array<std::uint8_t, 8> option{kind, 8};
    header_at<big16>(&option[2]) = port;
    header_at<big32>(&option[4]) = address;
    return detail::fits_mtu(f, packet.layout(), option.size(), mtu) && insert_option(f, packet, option);
}

inline bool insert_client_address(frame& f, packet_view const& packet, std::uint8_t kind, ipv6_bytes const& address, std::uint16_t port,
                                  std::uint16_t mtu) noexcept {
    std::array<std::uint8_t, 20> option{kind, 20};
    header_at<big16>(&option[2]) = port;
    std::copy(address.begin(), address.end(), &option[4]);
    return detail::fits_mtu(f, packet.layout(), option.size(), mtu) && insert_option(f, packet, option);
}

}  // namespace halfproxy
