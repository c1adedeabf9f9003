// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/translate/proxy_protocol.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace halfproxy {

namespace detail {

/// Text into a buffer that the longest header fits into.
class header_text {
  public:
    explicit header_text(std::uint8_t* at) noexcept : begin_(at), at_(at) {}

    header_text& add(std::string_view text) noexcept {
        at_ = std::copy(text.begin(), text.end(), at_);
        return *this;
    }
    header_text& number(std::uint32_t n, std::uint32_t base) noexcept {
        std::array<char, 5> digits{};
        std::size_t count = 0;
        do digits[count++] = "0123456789abcdef"[n % base];
        while ((n /= base) != 0);
        at_ = std::reverse_copy(digits.begin(), digits.begin() + static_cast<std::ptrdiff_t>(count), at_);
        return *this;
    }
    header_text& address(std::uint32_t a) noexcept {
        for (unsigned shift = 24; shift != 0; shift -= 8) number(a >> shift & 0xffu, 10).add(".");
        return number(a & 0xffu, 10);
    }
    header_text& address(ipv6_bytes const& a) noexcept {
        for (std::size_t i = 0; i < 16; i += 2) number(static_cast<std::uint32_t>(a[i] << 8 | a[i + 1]), 16).add(i < 14 ? ":" : "");
        return *this;
    }
    [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(at_ - begin_); }

  private:
    std::uint8_t* begin_;
    std::uint8_t* at_;
};

template <class Address>
[[nodiscard]] std::size_t write_proxy_v1(std::uint8_t* out, nat_endpoints<Address> const& ends) noexcept {
    constexpr bool v4 = sizeof(Address) == 4;
    header_text text(out);
    text.add(v4 ? "PROXY TCP4 " : "PROXY TCP6 ").address(ends.source).add(" ").address(ends.destination).add(" ");
    return text.number(ends.source_port, 10).add(" ").number(ends.destination_port, 10).add("\r\n").size();
}

inline std::uint8_t* put_address(std::uint8_t* at, std::uint32_t a) noexcept {
    header_at<big32>(at) = a;
    return at + 4;
}
inline std::uint8_t* put_address(std::uint8_t* at, ipv6_bytes const& a) noexcept { return std::copy(a.begin(), a.end(), at); }

/// Signature, version 2 and command PROXY, family and STREAM, length; then addresses and ports.
template <class Address>
[[nodiscard]] std::size_t write_proxy_v2(std::uint8_t* out, nat_endpoints<Address> const& ends) noexcept {
    constexpr std::array<std::uint8_t, 14> fixed{0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,
                                                 0x21, sizeof(Address) == 4 ? std::uint8_t{0x11} : std::uint8_t{0x21}};
    constexpr std::size_t content = 2 * sizeof(Address) + 4;
    std::uint8_t* at = std::copy(fixed.begin(), fixed.end(), out);
    header_at<big16>(at) = static_cast<std::uint16_t>(content);
    at = put_address(put_address(at + 2, ends.source), ends.destination);
    header_at<big16>(at) = ends.source_port;
    header_at<big16>(at + 2) = ends.destination_port;
    return fixed.size() + 2 + content;
}

template <class Address>
[[nodiscard]] std::size_t write_any_proxy_header(byte_span out, proxy_protocol version, nat_endpoints<Address> const& ends) noexcept {
    if (version == proxy_protocol::none) return 0;
    std::array<std::uint8_t, longest_proxy_header> header;
    std::size_t const bytes = version == proxy_protocol::v1 ? write_proxy_v1(header.data(), ends) : write_proxy_v2(header.data(), ends);
    if (bytes > out.size()) return 0;
    std::memcpy(out.data(), header.data(), bytes);
    return bytes;
}

}  // namespace detail

inline std::size_t write_proxy_header(byte_span out, proxy_protocol version, nat_endpoints<std::uint32_t> const& ends) noexcept {
    return detail::write_any_proxy_header(out, version, ends);
}

inline std::size_t write_proxy_header(byte_span out, proxy_protocol version, nat_endpoints<ipv6_bytes> const& ends) noexcept {
    return detail::write_any_proxy_header(out, version, ends);
}

/// The window is rounded down to its scale: what is granted too little is granted with the next segment.
inline void hide_header(packet_view const& packet, seq_num least, std::uint8_t window_scale, header_changes& changes) noexcept {
    tcp_header& tcp = packet.tcp();
    std::int32_t const missing = least - seq_num{tcp.acknowledgment};
    bool const within_header = missing > 0 && static_cast<std::size_t>(missing) <= longest_proxy_header;
    if ((tcp.flags & tcp_flag::ack) == 0 || !within_header) return;
    std::uint32_t const granted = std::uint32_t{tcp.window} << window_scale;
    std::uint32_t const left = granted > static_cast<std::uint32_t>(missing) ? granted - static_cast<std::uint32_t>(missing) : 0;
    detail::replace32(tcp.acknowledgment, least.value, changes.transport);
    detail::replace16(tcp.window, static_cast<std::uint16_t>(left >> window_scale), changes.transport);
}

}  // namespace halfproxy
