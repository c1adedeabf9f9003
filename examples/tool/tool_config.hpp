// SPDX-License-Identifier: BSL-1.0
// What a configuration file says: the engine's configuration and what the tool itself needs.
#pragma once

#include "commands.hpp"

#include <halfproxy/balance/service_config.hpp>
#include <halfproxy/engine/config.hpp>
#include <halfproxy/engine/nat_config.hpp>
#include <halfproxy/engine/translating_edge.hpp>
#include <halfproxy/io/af_packet.hpp>
#include <halfproxy/route/router.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace halfproxy::tool {

enum class timeout_preset : std::uint8_t { firewall, adc };
enum class deployment : std::uint8_t { bridge, routed };

struct io_settings {
    std::string outside{};
    std::string inside{};
    io_backend backend = io_backend::af_packet;
    deployment mode = deployment::bridge;
    std::uint32_t shards = 1;
    std::uint32_t ring_slots = 4096;
    std::uint32_t ring_slot_bytes = 1984;
    std::uint32_t flood_ring_bytes = af_packet_options{}.flood_ring_bytes;
    std::uint32_t ring_long_frames = 64;
    std::uint32_t receive_buffer_bytes = 64u << 20;
    std::uint32_t transmit_slots = 256;
    std::uint32_t send_buffer_bytes = 4u << 20;
    bool promiscuous = true;
    bool bypass_qdisc = true;
    std::uint32_t spin_us = 200;
    std::uint32_t flood_per_s = 100'000;
    std::uint32_t gather_us = 50;
    std::uint32_t drain_ms = 200;

    // of mode = "routed"
    unreachable_policy unreachable = unreachable_policy::icmp;
    std::uint32_t icmp_per_s = router_config{}.icmp_per_second;
    std::uint32_t neighbours = neighbour_config{}.capacity;
    timeout_ms neighbour_reachable = static_cast<timeout_ms>(neighbour_config{}.reachable.count());
    std::uint32_t neighbour_waiting = neighbour_config{}.waiting_frames;
    std::vector<port_address> addresses{};
    std::vector<static_route> routes{};
    std::vector<ip_prefix> routed_here{};  ///< what neighbouring routers send here unasked: services and pools may have addresses of it
};

/// Of both ports, what frames are received into.
[[nodiscard]] constexpr std::size_t receive_bytes(io_settings const& io) noexcept {
    return 2 * (std::size_t{io.ring_slots} * io.ring_slot_bytes + io.flood_ring_bytes + std::size_t{io.ring_long_frames} * af_packet_long_frame_bytes);
}

struct tool_config {
    timeout_preset preset = timeout_preset::firewall;
    io_settings io{};
    nat_config nat{.hairpin = false};
    services_config services{};
    engine_config engine{};  ///< its secret is all zero when the file gives none
    edge_config edge{};
    std::optional<std::string> secret_file{};
    bool huge_pages = true;     ///< asked for, not required
    bool secret_given = false;  ///< in the file itself or through secret_file
};

/// A splice of connections of which one direction only passes here: impossible.
[[nodiscard]] inline bool splices_one_sided(engine_config const& engine) {
    bool const challenges = engine.guard.mode == guard_mode::automatic || engine.guard.mode == guard_mode::always;
    return challenges && engine.guard.method == guard_method::splice && engine.tracking.asymmetric == asymmetric_paths::yes;
}

/// What the file says of routing, and the addresses that services and translation name, which are answered for. Link addresses and MTUs are the
/// interfaces'.
[[nodiscard]] router_config routing_of(tool_config const& config);

/// Reads and validates. Throws usage_error whose text is "FILE:LINE: KEY: what is wrong and what would be right".
[[nodiscard]] tool_config load_config(std::filesystem::path const& file);

/// The configuration as TOML that load_config() reads to the same, but for the secret, which is never written.
[[nodiscard]] std::string config_text(tool_config const& config);

}  // namespace halfproxy::tool
