// SPDX-License-Identifier: BSL-1.0
// Bodies of route/neighbour_messages.hpp.
#pragma once

#include <halfproxy/route/neighbour_messages.hpp>

namespace halfproxy {

namespace detail {

inline constexpr std::uint16_t arp_request = 1, arp_reply = 2, arp_ethernet = 1;
inline constexpr std::uint8_t option_source_mac = 1, option_target_mac = 2;  // RFC 4861 section 4.6.1
inline constexpr std::uint32_t advertisement_router = 1u << 31, advertisement_solicited = 1u << 30, advertisement_override = 1u << 29;
inline constexpr std::uint8_t discovery_hop_limit = 255;

struct discovery_message {
    icmp_header head;
    ipv6_bytes target;
};
static_assert(sizeof(discovery_message) == 24);

inline std::uint8_t* write_link(std::uint8_t* out, mac_address const& to, mac_address const& from, std::uint16_t type) noexcept {
    auto& link = header_at<ethernet_header>(out);
    link.destination = to;
    link.source = from;
    link.type = type;
    return out + sizeof(ethernet_header);
}

struct arp_target {
    mac_address mac;
    std::uint32_t address;
};

inline std::size_t write_arp(byte_span out, std::uint16_t operation, mac_address const& to, link_identity const& ours,
                             arp_target const& target) noexcept {
    auto& arp = header_at<arp_header>(write_link(out.data(), to, ours.mac, ether_type::arp));
    arp.hardware = arp_ethernet;
    arp.protocol = ether_type::ipv4;
    arp.hardware_bytes = 6;
    arp.protocol_bytes = 4;
    arp.operation = operation;
    arp.sender_mac = ours.mac;
    arp.sender = ours.address.to_v4();
    arp.target_mac = target.mac;
    arp.target = target.address;
    return sizeof(ethernet_header) + sizeof(arp_header);
}

struct discovery_route {
    mac_address mac;
    ip_address to;
};

/// With our link address as the only option: for questions our own, for answers the target's, which is the same.
inline std::size_t write_discovery(byte_span out, link_identity const& ours, discovery_route const& way, std::uint8_t type,
                                   std::uint32_t flags, ip_address const& target) noexcept {
    constexpr std::uint16_t bytes = sizeof(discovery_message) + 8;
    auto& ip = header_at<ipv6_header>(write_link(out.data(), way.mac, ours.mac, ether_type::ipv6));
    ip.version_class_flow = 0x60000000u;
    ip.payload_length = bytes;
    ip.next_header = ip_protocol::icmpv6;
    ip.hop_limit = discovery_hop_limit;
    ip.source = ours.address.bytes;
    ip.destination = way.to.bytes;
    std::uint8_t* const at = out.data() + sizeof(ethernet_header) + sizeof(ipv6_header);
    auto& message = header_at<discovery_message>(at);
    message.head = {type, 0, big16{0}, big32{flags}};
    message.target = target.bytes;
    std::uint8_t* const option = at + sizeof(discovery_message);
    option[0] = type == icmpv6_type::neighbour_solicitation ? option_source_mac : option_target_mac;
    option[1] = 1;
    std::memcpy(option + 2, ours.mac.data(), ours.mac.size());
    checksum_sum sum;
    sum.add(ip.source).add(ip.destination).add16(ip_protocol::icmpv6).add32(bytes).add({at, bytes});
    message.head.checksum = sum.checksum();
    return sizeof(ethernet_header) + sizeof(ipv6_header) + bytes;
}

/// The link address in the options, if any; false when an option has length 0 or reaches beyond the message (RFC 4861 section 4.6).
[[nodiscard]] inline bool read_discovery_options(byte_view options, std::uint8_t wanted, std::optional<mac_address>& mac) noexcept {
    while (!options.empty()) {
        std::size_t const bytes = options.size() < 2 ? 0u : options[1] * std::size_t{8};
        if (bytes == 0 || bytes > options.size()) return false;
        if (options[0] == wanted && bytes == 8 && !mac) {
            mac.emplace();
            std::memcpy(mac->data(), options.data() + 2, mac->size());
        }
        options = options.subspan(bytes);
    }
    return !mac || !is_group_mac(*mac);
}

/// What both kinds have in common (RFC 4861 sections 7.1.1 and 7.1.2).
[[nodiscard]] inline bool is_sound_discovery(const_packet_view const& packet, checksum_state state) noexcept {
    packet_layout const& l = packet.layout();
    if (l.ip_version != 6 || !packet.is_icmp() || l.is_fragment() || packet.ipv6().hop_limit != discovery_hop_limit || packet.icmp().code != 0)
        return false;
    if (l.datagram_end > packet.bytes().size() || l.datagram_end - l.transport_offset < sizeof(discovery_message)) return false;
    return state != checksum_state::unknown || verify_transport(packet) == checksum_verdict::good;
}

[[nodiscard]] inline bool is_sound_question(neighbour_message const& m, ip_address const& destination) noexcept {
    if (m.sender.version != 0) return is_host(m.sender);
    return !m.mac && destination == solicited_group(m.target);
}

}  // namespace detail

inline mac_address group_mac(ip_address const& group) noexcept {
    return {0x33, 0x33, group.bytes[12], group.bytes[13], group.bytes[14], group.bytes[15]};
}

inline ip_address solicited_group(ip_address const& target) noexcept {
    return ip_address::v6({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, target.bytes[13], target.bytes[14], target.bytes[15]});
}

inline ip_address all_nodes() noexcept { return ip_address::v6({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}); }

inline std::optional<neighbour_message> read_arp(byte_view frame) noexcept {
    if (frame.size() < sizeof(ethernet_header) + sizeof(arp_header)) return std::nullopt;
    auto const& link = header_at<ethernet_header>(frame.data());
    auto const& arp = header_at<arp_header>(frame.data() + sizeof(ethernet_header));
    bool const known = arp.hardware == detail::arp_ethernet && arp.protocol == ether_type::ipv4 && arp.hardware_bytes == 6 && arp.protocol_bytes == 4;
    if (!known || is_group_mac(arp.sender_mac)) return std::nullopt;
    neighbour_message m;
    ip_address const sender = ip_address::v4(arp.sender);
    if (arp.sender != 0u && !is_host(sender)) return std::nullopt;
    m.mac = arp.sender_mac;
    if (arp.operation == detail::arp_request) {
        m.target = ip_address::v4(arp.target);
        if (arp.sender != 0u) m.sender = sender;
        return m;
    }
    if (arp.operation != detail::arp_reply || arp.sender == 0u) return std::nullopt;
    m.what = neighbour_message::kind::answer;
    m.target = m.sender = sender;
    m.to_us_alone = !is_group_mac(link.destination) && arp.target_mac == link.destination;
    return m;
}

inline std::optional<neighbour_message> read_neighbour_discovery(const_packet_view const& packet, checksum_state state) noexcept {
    if (!detail::is_sound_discovery(packet, state)) return std::nullopt;
    packet_layout const& l = packet.layout();
    std::uint8_t const type = packet.icmp().type;
    bool const question = type == icmpv6_type::neighbour_solicitation;
    if (!question && type != icmpv6_type::neighbour_advertisement) return std::nullopt;
    auto const& message = header_at<detail::discovery_message>(packet.bytes().data() + l.transport_offset);
    neighbour_message m;
    m.target = ip_address::v6(message.target);
    if (is_group(m.target)) return std::nullopt;
    std::size_t const options = l.transport_offset + sizeof(detail::discovery_message);
    std::uint8_t const wanted = question ? detail::option_source_mac : detail::option_target_mac;
    if (!detail::read_discovery_options(packet.bytes().subspan(options, l.datagram_end - options), wanted, m.mac)) return std::nullopt;
    ip_address const destination = ip_address::v6(packet.ipv6().destination);
    if (question) {
        ip_address const source = ip_address::v6(packet.ipv6().source);
        if (source != ip_address::v6({})) m.sender = source;
        return detail::is_sound_question(m, destination) ? std::optional(m) : std::nullopt;
    }
    bool const solicited = (message.head.rest & detail::advertisement_solicited) != 0u;
    if (solicited && is_group(destination)) return std::nullopt;
    m.what = neighbour_message::kind::answer;
    m.sender = m.target;
    m.to_us_alone = solicited;
    return m;
}

inline std::size_t build_question(byte_span out, link_identity const& ours, ip_address const& target,
                                  std::optional<mac_address> const& at) noexcept {
    if (target.version == 4) return detail::write_arp(out, detail::arp_request, at.value_or(broadcast_mac), ours, {{}, target.to_v4()});
    ip_address const to = at ? target : solicited_group(target);
    return detail::write_discovery(out, ours, {at.value_or(group_mac(to)), to}, icmpv6_type::neighbour_solicitation, 0, target);
}

inline std::size_t build_answer(byte_span out, link_identity const& ours, ip_address const& to, mac_address const& at) noexcept {
    if (ours.address.version == 4) return detail::write_arp(out, detail::arp_reply, at, ours, {at, to.version == 0 ? 0u : to.to_v4()});
    constexpr std::uint32_t flags = detail::advertisement_router | detail::advertisement_override;
    if (to.version == 0)  // somebody tries our address: everybody is to know (RFC 4861 section 7.2.4)
        return detail::write_discovery(out, ours, {group_mac(all_nodes()), all_nodes()}, icmpv6_type::neighbour_advertisement, flags, ours.address);
    return detail::write_discovery(out, ours, {at, to}, icmpv6_type::neighbour_advertisement, flags | detail::advertisement_solicited, ours.address);
}

inline std::size_t build_announcement(byte_span out, link_identity const& ours) noexcept {
    if (ours.address.version == 4)
        return detail::write_arp(out, detail::arp_request, broadcast_mac, ours, {{}, ours.address.to_v4()});
    return build_answer(out, ours, {}, {});
}

}  // namespace halfproxy
