// SPDX-License-Identifier: BSL-1.0
// What is known of servers before they are asked: configured, or learned from their SYN-ACKs, in a table of fixed size.
#pragma once

#include <halfproxy/core/time.hpp>
#include <halfproxy/track/flow_key.hpp>
#include <halfproxy/translate/proxy_protocol.hpp>
#include <halfproxy/wire/address.hpp>
#include <halfproxy/wire/tcp_options.hpp>

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace halfproxy {

enum class known : std::uint8_t { unknown, no, yes };

/// One server's habits. What is unknown is promised as configured for all.
struct backend_profile {
    std::uint16_t mss = 0;         ///< 0: unknown
    std::uint8_t window_scale = 0; ///< meaningful when `scaling` is yes
    known scaling = known::unknown;
    known sack = known::unknown;
    known timestamps = known::unknown;
    known ecn = known::unknown;
    proxy_protocol announce = proxy_protocol::none;  ///< how it is told who its clients are; configured only
};

struct configured_backend {
    ip_address address{};
    std::uint16_t port = 0;
    backend_profile profile{};
};

/// A server as its clients address it.
struct backend_key {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    std::uint16_t port = 0;
    std::uint16_t zone = 0;  ///< the VLAN; 0 for configured servers, which are meant in each

    friend bool operator==(backend_key const&, backend_key const&) noexcept = default;
};

[[nodiscard]] backend_key server_of(ipv4_tuple const& client_tuple, std::uint16_t zone) noexcept;
[[nodiscard]] backend_key server_of(ipv6_tuple const& client_tuple, std::uint16_t zone) noexcept;

/// What was offered to a server: only that can be missing in its answer.
struct backend_offer {
    bool scaling = false;
    bool sack = false;
    bool timestamps = false;
};

/// What a SYN-ACK says of its sender. Not whether it takes part in ECN: nothing could be put right if it changed its mind.
[[nodiscard]] backend_profile profile_of(tcp_options const& syn_ack, backend_offer const& offered) noexcept;

/// Allocates once, in its constructor. Each lookup reads one set of four entries; a newcomer takes the place of the one that was
/// confirmed longest ago.
class backend_table {
  public:
    static constexpr std::size_t ways = 4;

    /// Room for at least `entries`; what was not confirmed for `age` is forgotten.
    backend_table(std::uint32_t entries, timeout_ms age, std::uint64_t seed);

    /// Of configured servers, which are never forgotten: as large as it takes.
    backend_table(std::span<configured_backend const> servers, std::uint64_t seed);

    [[nodiscard]] bool empty() const noexcept { return !any_; }
    [[nodiscard]] backend_profile const* find(backend_key const& key, stamp_ms now) const noexcept;

    /// Adds what is known in `seen` to what was known before.
    void learn(backend_key const& key, backend_profile const& seen, stamp_ms now) noexcept;

    [[nodiscard]] std::size_t memory_bytes() const noexcept { return entries_.size() * sizeof(entry); }
    [[nodiscard]] static std::size_t memory_bytes(std::uint32_t entries) noexcept { return sets_for(entries) * ways * sizeof(entry); }

  private:
    struct entry {
        backend_key key{};
        backend_profile profile{};
        stamp_ms confirmed{};
        bool used = false;
    };

    [[nodiscard]] static std::size_t sets_for(std::uint32_t entries) noexcept;
    [[nodiscard]] std::size_t set_of(backend_key const& key) const noexcept;
    [[nodiscard]] bool alive(entry const& e, stamp_ms now) const noexcept {
        return e.used && (age_ == never || static_cast<std::uint32_t>(now - e.confirmed) < age_);
    }
    [[nodiscard]] bool add_configured(configured_backend const& server) noexcept;

    std::uint64_t seed_;
    timeout_ms age_;
    bool any_ = false;
    std::size_t sets_;  ///< a power of two, or 0
    std::vector<entry> entries_;
};

}  // namespace halfproxy

#include <halfproxy/engine/impl/backend_profile.hpp>
