// SPDX-License-Identifier: BSL-1.0
// What tells one flow from another: addresses, ports, protocol, and the VLAN it lives in.
#pragma once

#include <halfproxy/core/inline.hpp>
#include <halfproxy/wire/headers.hpp>

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace halfproxy {

/// One direction's addresses and ports, in host order (IPv6 addresses as their 16 bytes). For ICMP queries both
/// ports hold the identifier; for protocols without ports both are 0.
template <class Address>
struct flow_tuple {
    Address source{};
    Address destination{};
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;

    friend constexpr bool operator==(flow_tuple const&, flow_tuple const&) noexcept = default;

    [[nodiscard]] constexpr flow_tuple reversed() const noexcept {
        return {destination, source, destination_port, source_port};
    }
};

using ipv4_tuple = flow_tuple<std::uint32_t>;
using ipv6_tuple = flow_tuple<ipv6_bytes>;
static_assert(sizeof(ipv4_tuple) == 12 && sizeof(ipv6_tuple) == 36);

/// A tuple with what separates equal tuples: the protocol, and the zone, which is the innermost VLAN id.
template <class Address>
struct flow_key {
    flow_tuple<Address> tuple{};
    std::uint16_t zone = 0;
    std::uint8_t protocol = 0;
    std::uint8_t reserved = 0;  ///< keeps the key free of padding, so that its bytes can be hashed

    friend constexpr bool operator==(flow_key const&, flow_key const&) noexcept = default;
};

using ipv4_key = flow_key<std::uint32_t>;
using ipv6_key = flow_key<ipv6_bytes>;
static_assert(sizeof(ipv4_key) == 16 && std::has_unique_object_representations_v<ipv4_key>);
static_assert(sizeof(ipv6_key) == 40 && std::has_unique_object_representations_v<ipv6_key>);

/// Spreads keys over a table: a multiply-and-fold hash keyed by a secret seed, so that who does not know the seed cannot aim at one bucket
/// cheaply. Not a MAC; a table must stay correct, if slower, when keys collide.
class flow_key_hash {
  public:
    constexpr explicit flow_key_hash(std::uint64_t seed = 0) noexcept
        : first_(seed ^ 0xa0761d6478bd642fu), second_(std::rotl(seed, 32) ^ 0xe7037ed1a0b428dbu) {}

    template <class Address>
    [[nodiscard]] HALFPROXY_ALWAYS_INLINE std::uint64_t operator()(flow_key<Address> const& key) const noexcept {
        std::uint64_t const ports = std::uint64_t{key.tuple.source_port} | std::uint64_t{key.tuple.destination_port} << 16 |
                                    std::uint64_t{key.zone} << 32 | std::uint64_t{key.protocol} << 48 |
                                    std::uint64_t{key.reserved} << 56;
        std::uint64_t state = fold(ports ^ second_, addresses(key.tuple) ^ first_);
        return fold(state, second_);
    }

  private:
    [[nodiscard]] static std::uint64_t addresses(ipv4_tuple const& t) noexcept {
        return std::uint64_t{t.source} << 32 | t.destination;
    }
    [[nodiscard]] std::uint64_t addresses(ipv6_tuple const& t) const noexcept {
        std::uint64_t word[4];
        std::memcpy(word, t.source.data(), 16);
        std::memcpy(word + 2, t.destination.data(), 16);
        return fold(fold(word[0] ^ second_, word[1] ^ first_) ^ word[2], word[3] ^ second_);
    }

    /// Both halves of the 128-bit product.
    [[nodiscard]] static std::uint64_t fold(std::uint64_t a, std::uint64_t b) noexcept {
        __extension__ using wide = unsigned __int128;
        wide const product = static_cast<wide>(a) * b;
        return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
    }

    std::uint64_t first_;
    std::uint64_t second_;
};

}  // namespace halfproxy
