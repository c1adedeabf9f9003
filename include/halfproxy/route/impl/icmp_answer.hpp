// SPDX-License-Identifier: BSL-1.0
// Bodies of route/icmp_answer.hpp.
#pragma once

#include <halfproxy/route/icmp_answer.hpp>
#include <halfproxy/wire/build.hpp>
#include <halfproxy/wire/checksum.hpp>

#include <algorithm>
#include <cstring>

namespace halfproxy {

namespace detail {

struct icmp_code {
    std::uint8_t type;
    std::uint8_t code;
};

[[nodiscard]] constexpr icmp_code code_v4(icmp_problem problem) noexcept {
    switch (problem) {
        case icmp_problem::hops_exceeded: return {11, 0};
        case icmp_problem::packet_too_big: return {3, 4};
        case icmp_problem::no_route: return {3, 0};
        case icmp_problem::host_unreachable: return {3, 1};
        case icmp_problem::port_unreachable: break;
    }
    return {3, 3};
}

[[nodiscard]] constexpr icmp_code code_v6(icmp_problem problem) noexcept {
    switch (problem) {
        case icmp_problem::hops_exceeded: return {3, 0};
        case icmp_problem::packet_too_big: return {2, 0};
        case icmp_problem::no_route: return {1, 0};
        case icmp_problem::host_unreachable: return {1, 3};
        case icmp_problem::port_unreachable: break;
    }
    return {1, 4};
}

[[nodiscard]] inline bool is_answer_or_redirect(const_packet_view const& packet) noexcept {
    std::uint8_t const type = packet.icmp().type;
    constexpr std::uint8_t redirect_v6 = 137;
    return is_icmp_error(packet.layout().ip_version, type) || (packet.layout().ip_version == 6 && type == redirect_v6);
}

inline void swap_link(frame& f) noexcept { std::swap_ranges(f.data, f.data + 6, f.data + 6); }

inline void write_error_v4(std::uint8_t* ip_at, std::uint32_t bytes, ip_address const& source, ip_address const& to) noexcept {
    auto& ip = header_at<ipv4_header>(ip_at);
    ip = {0x45, icmp_error_traffic_class, big16{static_cast<std::uint16_t>(bytes)}, big16{0}, big16{ipv4_fragment::dont}, built_hop_limit,
          ip_protocol::icmp, big16{0}, big32{source.to_v4()}, big32{to.to_v4()}};
    ip.checksum = checksum_sum{}.add({ip_at, sizeof(ipv4_header)}).checksum();
}

inline void write_error_v6(std::uint8_t* ip_at, std::uint32_t bytes, ip_address const& source, ip_address const& to) noexcept {
    auto& ip = header_at<ipv6_header>(ip_at);
    ip = {big32{0x60000000u}, big16{static_cast<std::uint16_t>(bytes - sizeof(ipv6_header))}, ip_protocol::icmpv6, built_hop_limit, source.bytes,
          to.bytes};
}

/// The message's header; `rest` is the MTU or 0, which RFC 1191 section 4 puts into the lower half.
inline void write_error(std::uint8_t* at, icmp_code code, std::uint32_t rest, std::uint32_t bytes, checksum_sum pseudo) noexcept {
    header_at<icmp_header>(at) = {code.type, code.code, big16{0}, big32{rest}};
    header_at<icmp_header>(at).checksum = pseudo.add({at, bytes}).checksum();
}

}  // namespace detail

inline ip_address source_address(const_packet_view const& packet) noexcept {
    if (packet.layout().ip_version == 4) return ip_address::v4(packet.ipv4().source);
    return ip_address::v6(packet.ipv6().source);
}

inline ip_address destination_address(const_packet_view const& packet) noexcept {
    if (packet.layout().ip_version == 4) return ip_address::v4(packet.ipv4().destination);
    return ip_address::v6(packet.ipv6().destination);
}

inline bool may_be_answered(const_packet_view const& packet) noexcept {
    packet_layout const& l = packet.layout();
    if (!packet.is_ip() || l.error != drop_reason::none || l.fragment_offset != 0 || l.network_offset != sizeof(ethernet_header)) return false;
    if ((packet.bytes()[0] & 1u) != 0) return false;  // the frame went to a group
    if (!is_host(source_address(packet)) || is_group(destination_address(packet))) return false;
    return !packet.is_icmp() || !detail::is_answer_or_redirect(packet);
}

inline bool become_icmp_error(frame& f, const_packet_view const& packet, icmp_problem problem, ip_address const& source,
                              std::uint32_t mtu) noexcept {
    packet_layout const& l = packet.layout();
    if (!may_be_answered(packet) || source.version != l.ip_version) return false;
    bool const v4 = l.ip_version == 4;
    std::uint32_t const ip_bytes = v4 ? sizeof(ipv4_header) : sizeof(ipv6_header);
    std::uint32_t const headers = ip_bytes + sizeof(icmp_header);
    std::uint32_t const present = std::min(l.datagram_end, f.length) - l.network_offset;
    std::uint32_t const quoted = std::min(present, (v4 ? max_icmp_error_v4 : max_icmp_error_v6) - headers);
    if (l.network_offset + headers + quoted > f.capacity) return false;

    ip_address const to = source_address(packet);
    std::uint8_t* const ip = f.data + l.network_offset;
    std::memmove(ip + headers, ip, quoted);
    std::uint32_t const icmp_bytes = quoted + std::uint32_t{sizeof(icmp_header)};
    std::uint32_t const rest = problem == icmp_problem::packet_too_big ? mtu : 0u;
    checksum_sum pseudo;
    if (v4) {
        detail::write_error_v4(ip, headers + quoted, source, to);
    } else {
        detail::write_error_v6(ip, headers + quoted, source, to);
        pseudo.add(source.bytes).add(to.bytes).add16(ip_protocol::icmpv6).add32(icmp_bytes);
    }
    detail::write_error(ip + ip_bytes, v4 ? detail::code_v4(problem) : detail::code_v6(problem), rest, icmp_bytes, pseudo);
    detail::swap_link(f);
    f.length = f.wire_length = l.network_offset + headers + quoted;
    f.offload = {};
    return true;
}

inline bool is_answerable_echo(frame const& f, const_packet_view const& packet) noexcept {
    packet_layout const& l = packet.layout();
    if (!packet.is_icmp() || l.error != drop_reason::none || l.is_fragment() || !detail::follows_fixed_header(l) || packet.icmp().code != 0) return false;
    if (packet.icmp().type != (l.ip_version == 4 ? 8 : 128) || !may_be_answered(packet)) return false;
    if (l.ip_version == 4 && verify_ipv4_header(packet) != checksum_verdict::good) return false;
    return f.offload.checksum == checksum_state::partial || verify_transport(packet) == checksum_verdict::good;
}

inline void become_echo_reply(frame& f, const_packet_view const& packet) noexcept {
    packet_layout const& l = packet.layout();
    std::uint8_t* const ip = f.data + l.network_offset;
    auto& icmp = header_at<icmp_header>(f.data + l.transport_offset);
    std::uint8_t const type = l.ip_version == 4 ? 0 : 129;
    if (f.offload.checksum != checksum_state::partial)
        icmp.checksum = checksum_delta{}.change16(static_cast<std::uint16_t>(icmp.type << 8), static_cast<std::uint16_t>(type << 8)).applied_to(icmp.checksum);
    icmp.type = type;
    if (l.ip_version == 4) {
        auto& header = header_at<ipv4_header>(ip);
        std::swap(header.source, header.destination);
        header.time_to_live = built_hop_limit;
        header.identification = 0;
        header.fragment = ipv4_fragment::dont;
        header.checksum = 0;
        header.checksum = checksum_sum{}.add({ip, sizeof(ipv4_header)}).checksum();
    } else {
        auto& header = header_at<ipv6_header>(ip);
        std::swap(header.source, header.destination);
        header.hop_limit = built_hop_limit;
    }
    detail::swap_link(f);
}

}  // namespace halfproxy
