// SPDX-License-Identifier: BSL-1.0
// The Internet checksum: in full (RFC 1071), kept up while fields change (RFC 1624), and half done (offloaded).
#pragma once

#include <halfproxy/core/bytes.hpp>
#include <halfproxy/wire/parse.hpp>

#include <bit>
#include <cstdint>

namespace halfproxy {

/// Folds a one's complement sum to 16 bits. Added to itself with its halves swapped, the upper half becomes the sum of
/// both with the carry come round.
[[nodiscard]] constexpr std::uint16_t fold_checksum(std::uint64_t sum) noexcept {
    auto half = static_cast<std::uint32_t>((sum + std::rotl(sum, 32)) >> 32);
    half += std::rotl(half, 16);
    return static_cast<std::uint16_t>(half >> 16);
}

namespace detail {

/// One's complement arithmetic in 64 bits, with end-around carry.
[[nodiscard]] constexpr std::uint64_t add_carry(std::uint64_t a, std::uint64_t b) noexcept {
    std::uint64_t const sum = a + b;
    return sum + (sum < b ? 1u : 0u);
}

}  // namespace detail

/// The sum of what lies in memory, in the machine's own byte order: folded, it is a checksum as memory holds it (RFC 1071 section 2 (B)). Of words
/// of 32 bits, of which 2^32 cannot overflow it: no carries to look after, which is what makes short packets cheap.
class memory_sum {
  public:
    memory_sum& add(big32 word) noexcept;
    /// At an even offset of the packet; an odd last byte is padded with 0.
    memory_sum& add(byte_view bytes) noexcept;
    template <std::size_t Bytes>
    memory_sum& add_fixed(std::uint8_t const* at) noexcept;  ///< a multiple of 4

    [[nodiscard]] std::uint16_t folded() const noexcept { return fold_checksum(sum_); }
    /// Into the field that was 0 when it was summed.
    void store_checksum(void* field) const noexcept;

  private:
    std::uint64_t sum_ = 0;
};

/// A one's complement sum in progress, of values and of bytes as they lie in memory. Words of any width may be summed and folded once, at
/// the end (RFC 1071 section 2 (C)), and the bytes' sum is swapped only then (section 2 (B)).
class checksum_sum {
  public:
    /// At most 2^32 values are added to one sum.
    constexpr checksum_sum& add16(std::uint16_t word) noexcept { return values_ += word, *this; }
    constexpr checksum_sum& add32(std::uint32_t words) noexcept { return values_ += words, *this; }
    checksum_sum& add(byte_view bytes) noexcept;  ///< begins at an even offset; an odd last byte is padded with 0
    constexpr checksum_sum& add(checksum_sum const& other) noexcept {
        values_ += other.values_;
        return add_native(other.memory_);
    }

    /// The sum folded to 16 bits, not complemented: what a partial checksum field holds.
    [[nodiscard]] constexpr std::uint16_t folded() const noexcept { 
        return fold_checksum(std::uint64_t{fold_checksum(values_)} + swap_if_little(fold_checksum(memory_)));
    }
    /// The checksum field's value.
    [[nodiscard]] constexpr std::uint16_t checksum() const noexcept { return static_cast<std::uint16_t>(~folded()); }

  private:
    [[nodiscard]] static constexpr std::uint16_t swap_if_little(std::uint16_t word) noexcept {
        constexpr bool little = std::endian::native == std::endian::little;
        return little ? static_cast<std::uint16_t>(word << 8 | word >> 8) : word;
    }
    constexpr checksum_sum& add_native(std::uint64_t word) noexcept {
        memory_ = detail::add_carry(memory_, word);
        return *this;
    }

    std::uint64_t values_ = 0;
    std::uint64_t memory_ = 0;
};

/// What a set of changed header fields does to a checksum over them: HC' = ~(~HC + ~m + m') (RFC 1624 equation 3). Collects any number of changes and
/// is applied to each checksum once. Never turns a valid checksum into the other zero: see tests/wire/checksum_test.cpp.
class checksum_delta {
  public:
    constexpr checksum_delta& change16(std::uint16_t from, std::uint16_t to) noexcept {
        return sum_ += static_cast<std::uint16_t>(~from) + std::uint32_t{to}, *this;
    }
    /// At most 2^31 changes are collected.
    constexpr checksum_delta& change32(std::uint32_t from, std::uint32_t to) noexcept {
        return sum_ += std::uint64_t{~from} + to, *this;  // a word of 32 bits counts as the sum of its halves
    }
    /// A 32-bit field that begins at an odd offset: its bytes sit in the other halves of the words.
    constexpr checksum_delta& change32_at(std::size_t offset, std::uint32_t from, std::uint32_t to) noexcept {
        if (offset % 2 == 0) return change32(from, to);
        return change32(from << 8 | from >> 24, to << 8 | to >> 24);
    }
    constexpr checksum_delta& add(checksum_delta d) noexcept { return sum_ += d.sum_, *this; }
    [[nodiscard]] constexpr bool empty() const noexcept { return sum_ == 0; }

    /// The field's new value for a complete checksum.
    [[nodiscard]] constexpr std::uint16_t applied_to(std::uint16_t checksum) const noexcept {
        return static_cast<std::uint16_t>(~fold_checksum(sum_ + static_cast<std::uint16_t>(~checksum)));
    }
    /// The field's new value for a partial one, which holds the sum itself.
    [[nodiscard]] constexpr std::uint16_t applied_to_partial(std::uint16_t sum) const noexcept { return fold_checksum(sum_ + sum); }

  private:
    std::uint64_t sum_ = 0;
};

/// Sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1) of a packet whose IP header was parsed.
/// The header's own addresses: those of a source route are looked up by verify_transport() only.
template <contiguous_bytes Bytes>
[[nodiscard]] checksum_sum pseudo_header_sum(basic_packet_view<Bytes> const& packet, std::uint8_t protocol,
                                             std::uint32_t transport_bytes) noexcept;

enum class checksum_verdict : std::uint8_t {
    good,
    bad,
    absent,        ///< UDP over IPv4 with 0
    unverifiable,  ///< a fragment, a cut capture, a protocol without checksum, a routing header without addresses
};

template <contiguous_bytes Bytes>
[[nodiscard]] checksum_verdict verify_ipv4_header(basic_packet_view<Bytes> const& packet) noexcept;

/// Of TCP, UDP, ICMP and ICMPv6. Reads the whole transport payload. The pseudo-header's addresses are the end points':
/// where a source route ends, and of a mobile node its home address.
template <contiguous_bytes Bytes>
[[nodiscard]] checksum_verdict verify_transport(basic_packet_view<Bytes> const& packet) noexcept;

}  // namespace halfproxy

#include <halfproxy/wire/impl/checksum.hpp>
