// SPDX-License-Identifier: BSL-1.0
// The addresses that are ours: of ports, of virtual services, of NAT pools. A set looked up for every packet.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/wire/address.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace halfproxy {

/// One address, and what becomes of packets to it.
struct local_address {
    ip_address address{};
    side port = side::outside;  ///< whose link is told that the address is here
    bool taken = false;         ///< the engine takes what comes to it (a service, a pool); otherwise nobody does
    bool echo = true;           ///< echo requests are answered here; otherwise they go to the engine (static one-to-one NAT)
};

/// A fixed set, made once: open addressing, at most half full. find() looks at one slot mostly.
class local_addresses {
  public:
    local_addresses() : local_addresses(std::span<local_address const>{}, 0) {}

    /// Of two entries with one address and port the first stays, and takes over what the second says is taken.
    local_addresses(std::span<local_address const> all, std::uint64_t seed)
        : seed_(seed), slots_(std::bit_ceil(2 * all.size() + 1)) {
        for (local_address const& a : all) insert(a);
    }

    [[nodiscard]] local_address const* find(ip_address const& a) const noexcept {
        for (std::size_t i = slot_of(a);; i = (i + 1) & (slots_.size() - 1)) {
            if (slots_[i].address.version == 0) return nullptr;
            if (slots_[i].address == a) return &slots_[i];
        }
    }

    /// The same, of those whose link is that of `port`: one address may be on either (link-local ones).
    [[nodiscard]] local_address const* find(ip_address const& a, side port) const noexcept {
        for (std::size_t i = slot_of(a);; i = (i + 1) & (slots_.size() - 1)) {
            if (slots_[i].address.version == 0) return nullptr;
            if (slots_[i].address == a && slots_[i].port == port) return &slots_[i];
        }
    }

    [[nodiscard]] std::size_t memory_bytes() const noexcept { return slots_.size() * sizeof(local_address); }

  private:
    [[nodiscard]] std::size_t slot_of(ip_address const& a) const noexcept {
        std::uint64_t words[2];
        std::memcpy(words, a.bytes.data(), sizeof(words));
        std::uint64_t h = (words[0] ^ std::rotl(words[1], 29) ^ seed_) * 0x9e3779b97f4a7c15u;
        return static_cast<std::size_t>((h ^ h >> 32) * 0x94d049bb133111ebu >> 20) & (slots_.size() - 1);
    }

    void insert(local_address const& a) {
        std::size_t i = slot_of(a.address);
        for (; slots_[i].address.version != 0; i = (i + 1) & (slots_.size() - 1)) {
            if (slots_[i].address != a.address || slots_[i].port != a.port) continue;
            slots_[i].taken |= a.taken;
            slots_[i].echo &= a.echo;
            return;
        }
        slots_[i] = a;
    }

    std::uint64_t seed_;
    std::vector<local_address> slots_;
};

}  // namespace halfproxy
