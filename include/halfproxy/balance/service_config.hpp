// SPDX-License-Identifier: BSL-1.0
// Virtual services as configured, and what would be wrong with them.
#pragma once

#include <halfproxy/balance/any_scheduler.hpp>
#include <halfproxy/balance/backend.hpp>
#include <halfproxy/balance/backend_pool.hpp>
#include <halfproxy/balance/health_check.hpp>
#include <halfproxy/balance/persistence.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/wire/address.hpp>
#include <halfproxy/wire/headers.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace halfproxy {

struct service_config {
    ip_address address{};
    port_range ports{0, 65535};  ///< one, a range, or all: of several services that fit, the narrowest has it
    std::uint8_t protocol = ip_protocol::tcp;
    forward_mode mode = forward_mode::dnat;
    scheduler_kind scheduler = scheduler_kind::round_robin;
    std::uint32_t table_size = 0;   ///< of Maglev and source hash; 0: what maglev_size() says
    std::uint32_t least_ready = 1;  ///< backends that a priority group needs to be used
    timeout_ms persistence = 0;     ///< since a client's last new flow; 0: none
    persistence_prefixes prefixes{};
    std::uint32_t group = 0;  ///< services of the same group share what is remembered of clients; 0: a group of its own
    tunnel_config tunnel{};   ///< of mode ipip
    proxy_header proxy = proxy_header::none;  ///< servers are told who their clients are: a service that changes it counts as another one
    std::uint8_t client_option = 0;           ///< or in a TCP option of this kind; 0: they are not
    pool_config pool{};
    std::optional<health_check> health{};  ///< of each backend; without, all count as up
    std::vector<backend> backends{};

    [[nodiscard]] bool same_service(service_config const& other) const noexcept {
        return address == other.address && protocol == other.protocol && ports.first == other.ports.first && ports.last == other.ports.last;
    }
    [[nodiscard]] bool is_one_port() const noexcept { return ports.first == ports.last; }
    [[nodiscard]] bool is_every_port() const noexcept { return ports.first == 0 && ports.last == 65535; }
};

struct services_config {
    std::vector<service_config> services{};
    std::uint32_t persistent_clients = 65'536;  ///< remembered at once, if any service has persistence
    std::uint64_t hash_seed = 0;                ///< of Maglev and source hash: the same on every node that is to choose alike
};

inline constexpr std::size_t most_services = 4'096;
inline constexpr std::size_t most_backends = 4'096;  ///< of a service
inline constexpr std::size_t most_ranges = 16;       ///< services of one address and protocol that are for more than one port

/// What is wrong, and where: service and backend by number, the configuration's key, and half a sentence.
struct service_fault {
    static constexpr std::size_t none = ~std::size_t{0};
    std::size_t service = 0;
    std::size_t backend = none;
    std::string_view key{};
    std::string_view what{};
};

/// Whether packets leave for addresses of stations that this program finds out (ARP, neighbour discovery), or as configured.
enum class stations : std::uint8_t { configured, resolved };

/// The first fault, if there is one. Work: services * (services + backends).
[[nodiscard]] std::optional<service_fault> fault_of(std::span<service_config const> services, stations how) noexcept;
/// Of the last of these services, beside those before it; and of its last backend alone. For who reads them one by one.
[[nodiscard]] std::optional<service_fault> fault_of_last(std::span<service_config const> services) noexcept;
[[nodiscard]] std::optional<service_fault> fault_of_last_backend(std::span<service_config const> services, stations how) noexcept;

}  // namespace halfproxy

#include <halfproxy/balance/impl/service_config.hpp>
