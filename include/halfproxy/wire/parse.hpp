// SPDX-License-Identifier: BSL-1.0
// One bounded pass over a frame: link, VLAN tags, IPv4 or IPv6 with extension headers, TCP, UDP, ICMP.
//
// Read RFC 791, RFC 8200 section 4, RFC 9293 section 3.1, IEEE 802.1Q clause 9 first.
#pragma once

#include <halfproxy/core/bytes.hpp>
#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/verdict.hpp>
#include <halfproxy/wire/headers.hpp>

#include <array>
#include <concepts>
#include <cstdint>

namespace halfproxy {

/// Tags beyond these, and extension headers beyond these, are not followed: work per packet is constant.
inline constexpr std::size_t max_vlan_tags = 4;
inline constexpr std::size_t max_extension_headers = 8;

/// Where everything is in a frame. Offsets count from the frame's first byte.
/// `error` is the first thing found wrong; whatever was found before it stands.
struct packet_layout {
    drop_reason error = drop_reason::none;
    std::uint8_t ip_version = 0;          ///< 4, 6, or 0: not IP
    std::uint8_t protocol = 0;            ///< of the transport header; after IPv6 extension headers
    bool has_transport = false;           ///< the whole TCP (without options), UDP or ICMP header is there
    bool more_fragments = false;
    bool cut = false;                     ///< the capture holds less than the wire carried
    std::uint8_t vlan_count = 0;
    std::uint16_t ether_type = 0;         ///< what follows the last tag
    std::uint16_t fragment_offset = 0;    ///< in units of 8 bytes
    std::uint16_t network_offset = 0;     ///< of the IP header; of the link's payload when not IP
    std::uint16_t transport_offset = 0;   ///< of the transport header or the fragment's content
    std::uint16_t payload_offset = 0;     ///< of the transport payload
    std::uint16_t fragment_content = 0;   ///< IPv6: what follows the fragment header; 0 without one
    std::uint32_t datagram_end = 0;       ///< one past the datagram by its own length; padding lies behind it
    std::array<std::uint16_t, max_vlan_tags> vlan{};  ///< tag control fields, outermost first

    [[nodiscard]] bool is_fragment() const noexcept { return more_fragments || fragment_offset != 0; }
    [[nodiscard]] std::uint16_t vlan_id() const noexcept {  ///< the innermost, 0 when untagged
        return vlan_count == 0 ? std::uint16_t{0} : static_cast<std::uint16_t>(vlan[vlan_count - 1u] & 0x0fffu);
    }
    [[nodiscard]] std::uint32_t payload_bytes() const noexcept { return datagram_end - payload_offset; }
};

/// What a view can look at: `byte_view` (to read) and `byte_span` (to change in place) are its models.
template <class Bytes>
concept contiguous_bytes = std::same_as<Bytes, byte_view> || std::same_as<Bytes, byte_span>;

/// A frame's bytes with their layout: typed access to what the parser found. Owns nothing.
/// Every accessor but the obvious queries requires the layout to say that its header is there.
template <contiguous_bytes Bytes>
class basic_packet_view {
  public:
    using element = typename Bytes::element_type;
    template <class Header>
    using header_ref = std::conditional_t<std::is_const_v<element>, Header const&, Header&>;

    constexpr basic_packet_view() noexcept = default;
    constexpr basic_packet_view(Bytes bytes, packet_layout const& layout) noexcept : bytes_(bytes), layout_(layout) {}

    [[nodiscard]] Bytes bytes() const noexcept { return bytes_; }
    [[nodiscard]] packet_layout const& layout() const noexcept { return layout_; }

    [[nodiscard]] bool is_ip() const noexcept { return layout_.ip_version != 0; }
    [[nodiscard]] bool is_tcp() const noexcept { return layout_.has_transport && layout_.protocol == ip_protocol::tcp; }
    [[nodiscard]] bool is_udp() const noexcept { return layout_.has_transport && layout_.protocol == ip_protocol::udp; }
    [[nodiscard]] bool is_icmp() const noexcept {
        return layout_.has_transport &&
               (layout_.protocol == ip_protocol::icmp || layout_.protocol == ip_protocol::icmpv6);
    }

    [[nodiscard]] header_ref<ipv4_header> ipv4() const noexcept { return at<ipv4_header>(layout_.network_offset); }
    [[nodiscard]] header_ref<ipv6_header> ipv6() const noexcept { return at<ipv6_header>(layout_.network_offset); }
    [[nodiscard]] header_ref<tcp_header> tcp() const noexcept { return at<tcp_header>(layout_.transport_offset); }
    [[nodiscard]] header_ref<udp_header> udp() const noexcept { return at<udp_header>(layout_.transport_offset); }
    [[nodiscard]] header_ref<icmp_header> icmp() const noexcept { return at<icmp_header>(layout_.transport_offset); }

    /// The TCP options: between the fixed header and the payload.
    [[nodiscard]] Bytes tcp_options() const noexcept {
        std::size_t const begin = layout_.transport_offset + sizeof(tcp_header);
        return bytes_.subspan(begin, layout_.payload_offset - begin);
    }

    /// The transport payload as far as it was captured, without link padding.
    [[nodiscard]] Bytes payload() const noexcept {
        std::size_t const end = layout_.datagram_end < bytes_.size() ? layout_.datagram_end : bytes_.size();
        return layout_.payload_offset < end ? bytes_.subspan(layout_.payload_offset, end - layout_.payload_offset)
                                            : Bytes{};
    }

  private:
    template <link_type Link, contiguous_bytes B>
    friend basic_packet_view<B> parse(B bytes, std::size_t wire_length) noexcept;  // fills in the layout in place

    constexpr explicit basic_packet_view(Bytes bytes) noexcept : bytes_(bytes) {}

    template <class Header>
    [[nodiscard]] header_ref<Header> at(std::size_t offset) const noexcept {
        return header_at<Header>(bytes_.data() + offset);
    }

    Bytes bytes_{};
    packet_layout layout_{};
};

using packet_view = basic_packet_view<byte_span>;
using const_packet_view = basic_packet_view<byte_view>;

/// Parses a frame of the link layer known at compile time. Never reads past `bytes`. `wire_length` is what the
/// frame had on the wire: more than bytes.size() only in a capture cut by its snap length; a header that was cut
/// off is an error, a payload that was cut off is not. Work: one pass, at most max_vlan_tags tags and
/// max_extension_headers extension headers.
template <link_type Link, contiguous_bytes Bytes>
[[nodiscard]] basic_packet_view<Bytes> parse(Bytes bytes, std::size_t wire_length) noexcept;

template <link_type Link, contiguous_bytes Bytes>
[[nodiscard]] basic_packet_view<Bytes> parse(Bytes bytes) noexcept {
    return parse<Link>(bytes, bytes.size());
}

/// The usual frame, in a quarter of the instructions: untagged Ethernet, IPv4 without options or fragmentation, TCP, whole, right in every length. True
/// when it is that, and `view` is what parse() gives; for everything else false, and `view` is as it was.
template <contiguous_bytes Bytes>
[[nodiscard]] bool parse_usual(Bytes bytes, std::size_t wire_length, basic_packet_view<Bytes>& view) noexcept;

/// The same of IPv6, without extension headers.
template <contiguous_bytes Bytes>
[[nodiscard]] bool parse_usual_v6(Bytes bytes, std::size_t wire_length, basic_packet_view<Bytes>& view) noexcept;

/// The same, with the link layer known at run time only.
template <contiguous_bytes Bytes>
[[nodiscard]] basic_packet_view<Bytes> parse(link_type link, Bytes bytes, std::size_t wire_length) noexcept;

/// The packet an ICMP or ICMPv6 error quotes, or a view that is no IP when the message is no error. Its
/// `has_transport` says only that the first 8 bytes of the transport header are there (RFC 792), which hold ports
/// and, of TCP, the sequence number; payload_offset and the accessors beyond those 8 bytes must not be used
/// unless the bytes reach that far.
template <contiguous_bytes Bytes>
[[nodiscard]] basic_packet_view<Bytes> parse_quoted(basic_packet_view<Bytes> const& error) noexcept;

}  // namespace halfproxy

#include <halfproxy/wire/impl/parse.hpp>
