// SPDX-License-Identifier: BSL-1.0
// The IPv4 addresses that stand for IPv6 hosts behind a stateful NAT64: one each, from a bounded pool, for as long as a host sends.
//
// Read RFC 6146 sections 1.2 and 3.5 first. This is the first half of its state; the other, ports and sessions, is an ordinary IPv4 NAT's.
#pragma once

#include <halfproxy/core/time.hpp>
#include <halfproxy/translate/nat64_prefix.hpp>
#include <halfproxy/wire/address.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace halfproxy {

struct nat64_hosts_config {
    ip_prefix shadow{ip_address::v4(0x64400000), 16};  ///< IPv4; 100.64.0.0/16, of RFC 6598's shared space
    std::uint32_t capacity = 65536;                    ///< hosts; at most what the prefix holds
    /// A silent host keeps its address so long, or `never` gives it up. No shorter than the longest timeout of the flows behind it: a flow that outlives its host's
    /// address would hear the next one's.
    timeout_ms idle_timeout = 86'400'000;
    std::uint64_t seed = 0;  ///< of the hash; random in production
};

/// Hosts by address and addresses by host. All memory is taken in the constructor. One thread at a time. Every call costs the same however many
/// hosts there are (expected: the table is at most half full).
class nat64_hosts {
  public:
    explicit nat64_hosts(nat64_hosts_config const& config);

    /// The host's address; a new one where it has none, which may be that of the host that was silent for longest, if its time is over. Nothing
    /// when all are taken. The host counts as heard of.
    [[nodiscard]] std::optional<std::uint32_t> admit(ipv6_bytes const& host, time_point now) noexcept;

    /// The host's address, if it has one. Nothing changes.
    [[nodiscard]] std::optional<std::uint32_t> find(ipv6_bytes const& host) const noexcept;

    /// The host of an address, if it is one's.
    [[nodiscard]] std::optional<ipv6_bytes> host_of(std::uint32_t address) const noexcept;

    [[nodiscard]] bool is_shadow(std::uint32_t address) const noexcept { return (address & mask_) == base_; }
    [[nodiscard]] std::uint32_t size() const noexcept { return used_; }
    [[nodiscard]] std::uint32_t capacity() const noexcept { return static_cast<std::uint32_t>(hosts_.size()); }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return hosts_.size() * sizeof(host) + index_.size() * sizeof(index_[0]); }
    [[nodiscard]] static std::size_t memory_bytes(nat64_hosts_config const& config) noexcept;

  private:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    /// Its number is the address's place in the prefix. In the order in which they were heard of last.
    struct host {
        ipv6_bytes address{};
        time_point last_seen{};
        std::uint32_t older = none, newer = none;
    };

    [[nodiscard]] std::size_t home_of(ipv6_bytes const& address) const noexcept;
    [[nodiscard]] std::size_t place_of(ipv6_bytes const& address) const noexcept;
    [[nodiscard]] std::size_t next(std::size_t place) const noexcept { return (place + 1) & (index_.size() - 1); }
    [[nodiscard]] std::uint32_t take(time_point now) noexcept;
    void erase(std::uint32_t number) noexcept;
    void unlink(std::uint32_t number) noexcept;
    void link_newest(std::uint32_t number) noexcept;

    std::uint32_t base_;
    std::uint32_t mask_;
    timeout_ms idle_timeout_;
    std::uint64_t seed_;
    std::vector<host> hosts_;
    std::vector<std::uint32_t> index_;  ///< open addressing; a power of two, at least twice the hosts
    std::uint32_t used_ = 0;            ///< numbers below were given out
    std::uint32_t oldest_ = none, newest_ = none;
};

/// Which address stands for which behind a stateful NAT64, for translate/nat64.hpp: IPv4 hosts under the prefix, IPv6 hosts by the table. Only
/// `sender` is given an address it does not have yet, so that what an ICMP error quotes takes none.
class nat64_host_addresses {
  public:
    nat64_host_addresses(nat64_prefix const& prefix, nat64_hosts& hosts, time_point now, ipv6_bytes const* sender) noexcept
        : prefix_(prefix), hosts_(hosts), now_(now), sender_(sender) {}

    [[nodiscard]] std::optional<std::uint32_t> to_v4(ipv6_bytes const& six) noexcept {
        if (auto const four = prefix_.to_v4(six)) return hosts_.is_shadow(*four) ? std::nullopt : four;
        if (sender_ == nullptr || six != *sender_) return hosts_.find(six);
        auto const four = hosts_.admit(six, now_);
        full_ = !four;
        return four;
    }
    [[nodiscard]] std::optional<ipv6_bytes> to_v6(std::uint32_t four) noexcept {
        return hosts_.is_shadow(four) ? hosts_.host_of(four) : prefix_.to_v6(four);
    }
    [[nodiscard]] bool full() const noexcept { return full_; }  ///< the sender got no address

  private:
    nat64_prefix const& prefix_;
    nat64_hosts& hosts_;
    time_point now_;
    ipv6_bytes const* sender_;
    bool full_ = false;
};

}  // namespace halfproxy

#include <halfproxy/translate/impl/nat64_hosts.hpp>
