// SPDX-License-Identifier: BSL-1.0
// ICMP messages and their counterparts in the other version (RFC 7915 sections 4.2 and 5.2).
#pragma once

#include <halfproxy/translate/nat64.hpp>

#include <algorithm>
#include <utility>

namespace halfproxy::detail {

namespace icmp4 {
inline constexpr std::uint8_t echo_reply = 0, unreachable = 3, echo = 8, time_exceeded = 11, parameter_problem = 12;
}
namespace icmp6 {
inline constexpr std::uint8_t unreachable = 1, too_big = 2, time_exceeded = 3, parameter_problem = 4, echo = 128, echo_reply = 129;
}

/// A message's first eight bytes in the other version. `quote_limit`: so many bytes of quoted packet stand before extensions, 0: all.
struct icmp_counterpart {
    nat64_refusal refusal = nat64_refusal::none;
    std::uint8_t type = 0;
    std::uint8_t code = 0;
    std::uint32_t rest = 0;
    std::size_t quote_limit = 0;
};

inline constexpr icmp_counterpart no_counterpart{nat64_refusal::icmp_type};
inline constexpr std::uint16_t least_mtu_v6 = 1280;

/// The next lower plateau, where an old router does not tell its MTU (RFC 1191 section 7.1).
[[nodiscard]] inline std::uint32_t plateau_below(std::uint32_t bytes) noexcept {
    constexpr std::array<std::uint32_t, 11> plateaus{65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68};
    auto const* const found = std::find_if(plateaus.begin(), plateaus.end(), [bytes](std::uint32_t p) { return p < bytes; });
    return found == plateaus.end() ? plateaus.back() : *found;
}

/// Fragmentation needed (section 4.2). A fragment header will stand where the quoted packet was a fragment.
[[nodiscard]] inline std::uint32_t mtu_for_v6(std::uint32_t told, std::uint32_t quoted_bytes, nat64_mtu mtu) noexcept {
    std::uint32_t const four = told != 0 ? told : plateau_below(quoted_bytes);
    return std::max<std::uint32_t>(least_mtu_v6, std::min({four + 20, std::uint32_t{mtu.v6}, mtu.v4 + 20u}));
}

/// Packet too big (section 5.2): the headers' difference, with the fragment header where the quoted packet has one.
[[nodiscard]] inline std::uint32_t mtu_for_v4(std::uint32_t told, bool quoted_fragment, nat64_mtu mtu) noexcept {
    std::uint32_t const difference = quoted_fragment ? 28 : 20;
    std::uint32_t const six = std::min<std::uint32_t>(std::max<std::uint32_t>(told, least_mtu_v6), mtu.v6) - difference;
    return std::min<std::uint32_t>(six, mtu.v4);
}

/// Which field a parameter problem points to, figures 3 and 6; 0xff: none in the other version.
[[nodiscard]] inline std::uint8_t pointer_for_v6(std::uint8_t pointer) noexcept {
    constexpr std::uint8_t none = 0xff;
    constexpr std::array<std::uint8_t, 20> to{0, 1, 4, 4, none, none, none, none, 7, 6, none, none, 8, 8, 8, 8, 24, 24, 24, 24};
    return pointer < to.size() ? to[pointer] : none;
}
[[nodiscard]] inline std::uint8_t pointer_for_v4(std::uint32_t pointer) noexcept {
    constexpr std::uint8_t none = 0xff;
    constexpr std::array<std::uint8_t, 8> to{0, 1, none, none, 2, 2, 9, 8};
    if (pointer < to.size()) return to[pointer];
    return pointer < 24 ? std::uint8_t{12} : pointer < 40 ? std::uint8_t{16} : none;
}

[[nodiscard]] inline icmp_counterpart unreachable_for_v6(std::uint8_t code, std::uint32_t rest, std::uint32_t quoted_bytes, nat64_mtu mtu) noexcept {
    constexpr std::uint8_t no_route = 0, prohibited = 1, port = 4;
    constexpr std::uint32_t next_header_field = 6;
    switch (code) {
        case 2: return {nat64_refusal::none, icmp6::parameter_problem, 1, next_header_field};
        case 3: return {nat64_refusal::none, icmp6::unreachable, port};
        case 4: return {nat64_refusal::none, icmp6::too_big, 0, mtu_for_v6(rest & 0xffffu, quoted_bytes, mtu)};
        case 0:
        case 1:
        case 5:
        case 6:
        case 7:
        case 8:
        case 11:
        case 12: return {nat64_refusal::none, icmp6::unreachable, no_route};
        case 9:
        case 10:
        case 13:
        case 15: return {nat64_refusal::none, icmp6::unreachable, prohibited};
        default: return no_counterpart;
    }
}

/// `quoted_bytes`: the total length of the packet an error quotes, by its header.
[[nodiscard]] inline icmp_counterpart counterpart_for_v6(icmp_header const& m, std::uint32_t quoted_bytes, nat64_mtu mtu) noexcept {
    std::uint32_t const rest = m.rest;
    icmp_counterpart c = no_counterpart;
    switch (m.type) {
        case icmp4::echo: return {nat64_refusal::none, icmp6::echo, m.code, rest};
        case icmp4::echo_reply: return {nat64_refusal::none, icmp6::echo_reply, m.code, rest};
        case icmp4::unreachable: c = unreachable_for_v6(m.code, rest, quoted_bytes, mtu); break;
        case icmp4::time_exceeded: c = {nat64_refusal::none, icmp6::time_exceeded, m.code}; break;
        case icmp4::parameter_problem: {
            std::uint8_t const pointer = pointer_for_v6(static_cast<std::uint8_t>(rest >> 24));
            if (m.code != 1 && m.code <= 2 && pointer != 0xff) c = {nat64_refusal::none, icmp6::parameter_problem, 0, pointer};
            break;
        }
        default: break;
    }
    c.quote_limit = (rest >> 16 & 0xffu) * 4;  // RFC 4884 section 5: in words
    return c;
}

[[nodiscard]] inline icmp_counterpart unreachable_for_v4(std::uint8_t code) noexcept {
    constexpr std::uint8_t host = 1, port = 3, prohibited = 10;
    switch (code) {
        case 0:
        case 2:
        case 3: return {nat64_refusal::none, icmp4::unreachable, host};
        case 1: return {nat64_refusal::none, icmp4::unreachable, prohibited};
        case 4: return {nat64_refusal::none, icmp4::unreachable, port};
        default: return no_counterpart;
    }
}

[[nodiscard]] inline icmp_counterpart problem_for_v4(std::uint8_t code, std::uint32_t pointer) noexcept {
    constexpr std::uint8_t protocol_unreachable = 2;
    if (code == 1) return {nat64_refusal::none, icmp4::unreachable, protocol_unreachable};
    std::uint8_t const to = pointer_for_v4(pointer);
    if (code != 0 || to == 0xff) return no_counterpart;
    return {nat64_refusal::none, icmp4::parameter_problem, 0, std::uint32_t{to} << 24};
}

[[nodiscard]] inline icmp_counterpart counterpart_for_v4(icmp_header const& m, bool quoted_fragment, nat64_mtu mtu) noexcept {
    std::uint32_t const rest = m.rest;
    constexpr std::uint8_t fragmentation_needed = 4;
    icmp_counterpart c = no_counterpart;
    switch (m.type) {
        case icmp6::echo: return {nat64_refusal::none, icmp4::echo, m.code, rest};
        case icmp6::echo_reply: return {nat64_refusal::none, icmp4::echo_reply, m.code, rest};
        case icmp6::too_big: return {nat64_refusal::none, icmp4::unreachable, fragmentation_needed, mtu_for_v4(rest, quoted_fragment, mtu)};
        case icmp6::parameter_problem: return problem_for_v4(m.code, rest);
        case icmp6::unreachable: c = unreachable_for_v4(m.code); break;
        case icmp6::time_exceeded: c = {nat64_refusal::none, icmp4::time_exceeded, m.code}; break;
        default: return c;
    }
    c.quote_limit = (rest >> 24) * std::size_t{8};  // RFC 4884 section 5: in words of 64 bits, and only these two messages
    return c;
}

}  // namespace halfproxy::detail
