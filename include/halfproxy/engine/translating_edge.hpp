// SPDX-License-Identifier: BSL-1.0
// NAT64 and NPTv6 around an engine: packets are translated before it sees them and after it has decided, and it knows of neither.
//
// Read RFC 6146 section 3, RFC 7915 and RFC 6296 first.
//
//     IPv6 hosts --(IPv6)-- | to_v4 |--(IPv4)--> engine, its NAT --(IPv4)--> IPv4 hosts
//                           | to_v6 |<---------------------------
//
// A stateful NAT64 is a stateless translation and an IPv4 NAT one after the other: every IPv6 host gets an IPv4 address of its own out of
// a pool that never leaves this machine (translate/nat64_hosts.hpp); from there on the engine's rules, guard, tracking and source NAT apply to
// its flows as to any other's, and so do that NAT's mapping and filtering (RFC 4787).
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/outbox.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/engine/counters.hpp>
#include <halfproxy/translate/nat64.hpp>
#include <halfproxy/translate/nat64_hosts.hpp>
#include <halfproxy/translate/nptv6.hpp>
#include <halfproxy/wire/parse.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace halfproxy {

struct nat64_config {
    ip_prefix prefix = nat64_prefix().prefix();  ///< under which IPv6 hosts see IPv4 ones
    nat64_hosts_config hosts{};
    side ipv6_side = side::inside;  ///< the port behind which the IPv6 hosts are
    nat64_mtu mtu{};
};

struct nptv6_config {
    ip_prefix inside{};
    ip_prefix outside{};
};

struct edge_config {
    std::optional<nat64_config> nat64{};
    std::vector<nptv6_config> nptv6{};  ///< of two that match, the first counts

    [[nodiscard]] bool any() const noexcept { return nat64.has_value() || !nptv6.empty(); }
};

struct edge_counters {
    std::uint64_t nat64_to_v4 = 0;
    std::uint64_t nat64_to_v6 = 0;
    std::array<std::uint64_t, nat64_refusal_count> nat64_refused{};
    std::uint64_t nptv6_translated = 0;
    std::uint64_t nptv6_refused = 0;
    std::uint64_t originated_lost = 0;  ///< of the engine's own packets: without a counterpart
};

/// Most frames in one call of process().
inline constexpr std::size_t edge_burst = 64;

/// Models run/pump.hpp's packet_engine, as the engine it is put around; borrows that, which must outlive it. With nothing configured it only
/// passes calls on. Packets that are translated are parsed once more than without. All memory is taken in the constructor. One
/// thread at a time.
///
/// What has no counterpart is dropped: frame_room where the buffer is too short, nat64_hosts_full, its own fault where it is malformed,
/// ip_source where it pretends to come out of the pool, untranslatable else. Senders hear nothing of it yet: no time exceeded, no packet too big.
template <class Engine>
class translating_edge {
  public:
    translating_edge(edge_config const& config, Engine& engine);

    /// As the engine's. Needs at most edge_burst frames.
    void process(std::span<frame> burst, time_point now, outbox& out) noexcept;
    void advance(time_point now, outbox& out) noexcept;
    [[nodiscard]] std::optional<time_point> next_deadline() const noexcept { return engine_.next_deadline(); }
    void drain() noexcept { engine_.drain(); }
    [[nodiscard]] ip_address next_hop_of(std::uint32_t via) const noexcept
        requires requires(Engine const& e) { e.next_hop_of(std::uint32_t{}); }
    {
        return engine_.next_hop_of(via);
    }

    /// The engine's, with the drops that happened here; they add up as the engine's do.
    [[nodiscard]] engine_counters counters() const noexcept;
    [[nodiscard]] edge_counters const& edge() const noexcept { return counters_; }
    [[nodiscard]] std::uint32_t nat64_hosts_now() const noexcept { return hosts_ ? hosts_->size() : 0; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return hosts_ ? hosts_->memory_bytes() : 0; }

  private:
    [[nodiscard]] bool active() const noexcept { return hosts_.has_value() || !prefixes_.empty(); }
    [[nodiscard]] drop_reason enter(frame& f) noexcept;
    [[nodiscard]] drop_reason enter_nat64(frame& f, packet_view const& packet) noexcept;
    [[nodiscard]] drop_reason leave(frame& f, side exit) noexcept;
    [[nodiscard]] drop_reason leave_nat64(frame& f, packet_view const& packet) noexcept;
    template <class Translate>
    [[nodiscard]] drop_reason exchange_prefix(Translate translate) noexcept;
    [[nodiscard]] drop_reason refused(nat64_refusal why, packet_view const& packet, bool full) noexcept;
    void refuse_after(frame& f, drop_reason why) noexcept;
    void leave_originated(outbox& out, std::size_t first) noexcept;

    Engine& engine_;
    std::optional<nat64_hosts> hosts_{};
    nat64_prefix prefix_{};
    side ipv6_side_ = side::inside;
    nat64_mtu mtu_{};
    std::vector<nptv6> prefixes_{};
    std::array<link_type, edge_burst> links_{};  ///< of frames hidden from the engine
    std::array<std::uint64_t, 4> taken_back_{};  ///< by verdict: the engine's, overruled here
    std::array<std::uint64_t, drop_reason_count> dropped_{};
    edge_counters counters_{};
    time_point now_{};
    link_type link_ = link_type::ethernet;  ///< of the last frame; what the engine originates has no other
    std::uint16_t identification_;
};

}  // namespace halfproxy

#include <halfproxy/engine/impl/translating_edge.hpp>
