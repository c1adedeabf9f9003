// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/translate/nptv6.hpp>

#include <algorithm>

namespace halfproxy {

namespace detail {

[[nodiscard]] constexpr std::uint16_t word_of(ipv6_bytes const& a, std::size_t i) noexcept {
    return static_cast<std::uint16_t>(a[2 * i] << 8 | a[2 * i + 1]);
}

[[nodiscard]] constexpr std::uint16_t add_ones_complement(std::uint16_t a, std::uint16_t b) noexcept {
    std::uint32_t const sum = std::uint32_t{a} + b;
    return static_cast<std::uint16_t>((sum & 0xffffu) + (sum >> 16));
}

/// `from` with its first `bits` bits those of `prefix`.
[[nodiscard]] constexpr ipv6_bytes with_prefix(ipv6_bytes from, ipv6_bytes const& prefix, unsigned bits) noexcept {
    for (std::size_t i = 0; i < from.size() && bits != 0; ++i) {
        unsigned const here = std::min(bits, 8u);
        auto const mask = static_cast<std::uint8_t>(0xff00u >> here);
        from[i] = static_cast<std::uint8_t>((prefix[i] & mask) | (from[i] & ~mask));
        bits -= here;
    }
    return from;
}

[[nodiscard]] constexpr std::uint16_t sum_of_words(ipv6_bytes const& a) noexcept {
    std::uint16_t sum = 0;
    for (std::size_t i = 0; i < 8; ++i) sum = add_ones_complement(sum, word_of(a, i));
    return sum;
}

/// The prefix at this length, with nothing behind it.
[[nodiscard]] constexpr ip_prefix extended(ip_prefix const& p, unsigned length) noexcept {
    return {ip_address::v6(with_prefix({}, p.address.bytes, std::min<unsigned>(p.length, length))), static_cast<std::uint8_t>(length)};
}

/// The word that takes up the difference: the subnet for prefixes up to /48, else the first behind bit 64 that the prefix leaves and that is
/// not 0xffff (RFC 6296 sections 3.4 and 3.5). 8: there is none.
[[nodiscard]] constexpr std::size_t adjusted_word(ipv6_bytes const& a, unsigned prefix_length) noexcept {
    if (prefix_length <= 48) return word_of(a, 3) == 0xffff ? 8 : 3;
    std::size_t i = std::max(4u, (prefix_length + 15) / 16);
    while (i < 8 && word_of(a, i) == 0xffff) ++i;
    return i;
}

}  // namespace detail

constexpr bool nptv6::can_translate(ip_prefix const& inside, ip_prefix const& outside) noexcept {
    unsigned const length = std::max(inside.length, outside.length);
    if (inside.address.version != 6 || outside.address.version != 6 || length > 112) return false;
    return detail::extended(inside, length).address != detail::extended(outside, length).address;
}

constexpr nptv6::nptv6(ip_prefix const& inside, ip_prefix const& outside) noexcept
    : inside_(detail::extended(inside, std::max(inside.length, outside.length))),
      outside_(detail::extended(outside, std::max(inside.length, outside.length))),
      adjustment_(detail::add_ones_complement(detail::sum_of_words(inside_.address.bytes),
                                              static_cast<std::uint16_t>(~detail::sum_of_words(outside_.address.bytes)))) {}

constexpr std::optional<ipv6_bytes> nptv6::translated(ipv6_bytes a, ip_prefix const& to, std::uint16_t adjustment) const noexcept {
    std::size_t const i = detail::adjusted_word(a, to.length);
    if (i == 8) return std::nullopt;
    a = detail::with_prefix(a, to.address.bytes, to.length);
    std::uint16_t word = detail::add_ones_complement(detail::word_of(a, i), adjustment);
    if (word == 0xffff) word = 0;  // the other zero
    a[2 * i] = static_cast<std::uint8_t>(word >> 8);
    a[2 * i + 1] = static_cast<std::uint8_t>(word);
    return a;
}

namespace detail {

/// The quoted packet's header when this is an ICMPv6 error, which quotes at least that much; else nullptr.
[[nodiscard]] inline ipv6_header* quoted_ipv6(packet_view const& packet) noexcept {
    packet_layout const& l = packet.layout();
    if (!packet.is_icmp() || packet.icmp().type >= 128 || l.is_fragment()) return nullptr;
    std::size_t const end = std::min<std::size_t>(l.datagram_end, packet.bytes().size());
    if (l.payload_offset + sizeof(ipv6_header) > end) return nullptr;
    auto& quoted = header_at<ipv6_header>(packet.bytes().data() + l.payload_offset);
    return quoted.version_class_flow >> 28 == 6 ? &quoted : nullptr;
}

/// Translates both fields that may need it, or neither.
template <class Belongs, class Translate>
[[nodiscard]] nptv6_outcome replace_prefix(ipv6_bytes& own, ipv6_bytes* quoted, Belongs belongs, Translate translate) noexcept {
    bool const own_belongs = belongs(own), quoted_belongs = quoted != nullptr && belongs(*quoted);
    std::optional<ipv6_bytes> const new_own = own_belongs ? translate(own) : own;
    std::optional<ipv6_bytes> const new_quoted = quoted_belongs ? translate(*quoted) : own;
    if (!new_own || !new_quoted) return nptv6_outcome::untranslatable;
    own = *new_own;
    if (quoted_belongs) *quoted = *new_quoted;
    return own_belongs || quoted_belongs ? nptv6_outcome::translated : nptv6_outcome::untouched;
}

}  // namespace detail

inline nptv6_outcome translate_outbound(packet_view const& packet, nptv6 const& prefixes) noexcept {
    if (packet.layout().ip_version != 6) return nptv6_outcome::untouched;
    ipv6_header* const quoted = detail::quoted_ipv6(packet);
    return detail::replace_prefix(
        packet.ipv6().source, quoted != nullptr ? &quoted->destination : nullptr,
        [&](ipv6_bytes const& a) { return prefixes.is_inside(a); }, [&](ipv6_bytes const& a) { return prefixes.to_outside(a); });
}

inline nptv6_outcome translate_inbound(packet_view const& packet, nptv6 const& prefixes) noexcept {
    if (packet.layout().ip_version != 6) return nptv6_outcome::untouched;
    ipv6_header* const quoted = detail::quoted_ipv6(packet);
    return detail::replace_prefix(
        packet.ipv6().destination, quoted != nullptr ? &quoted->source : nullptr,
        [&](ipv6_bytes const& a) { return prefixes.is_outside(a); }, [&](ipv6_bytes const& a) { return prefixes.to_inside(a); });
}

}  // namespace halfproxy
