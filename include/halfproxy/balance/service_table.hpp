// SPDX-License-Identifier: BSL-1.0
// Virtual services: whether an address and port is one, and which backend a new flow to it gets.
#pragma once

#include <halfproxy/balance/any_scheduler.hpp>
#include <halfproxy/balance/backend_pool.hpp>
#include <halfproxy/balance/hash.hpp>
#include <halfproxy/balance/persistence.hpp>
#include <halfproxy/balance/service_config.hpp>
#include <halfproxy/core/random.hpp>
#include <halfproxy/core/time.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace halfproxy {

using service_index = std::uint16_t;
inline constexpr service_index no_service = 0xffff;

/// A backend of a service, in four bytes: what is noted of a flow.
struct backend_ref {
    service_index service = no_service;
    backend_index backend = no_backend_index;
    [[nodiscard]] explicit operator bool() const noexcept { return service != no_service; }
    friend bool operator==(backend_ref, backend_ref) noexcept = default;
};

/// A packet that would open a flow.
struct service_request {
    ip_address client{};
    ip_address address{};
    std::uint16_t client_port = 0;
    std::uint16_t port = 0;
    std::uint8_t protocol = 0;
};

enum class service_outcome : std::uint8_t {
    not_a_service,
    chosen,
    no_backend,  ///< all are down, draining, inhibited or of weight 0
    limited,     ///< those that are not have as many flows as they may
};

struct service_choice {
    service_outcome outcome = service_outcome::not_a_service;
    backend_ref who{};
};

/// All memory is allocated at construction and by configure(). Work of find(): two look-ups in hash tables and at most most_ranges comparisons; of choose(): that, a look-up
/// of the client where the service has persistence, and the scheduler's.
class service_table {
  public:
    using pool_type = backend_pool<priority_groups<any_scheduler>>;

    /// The configuration has no fault (fault_of). `random_seed` is of power of two choices alone.
    explicit service_table(services_config const& config = {}, std::uint64_t random_seed = 0);

    /// From now on these services, without a fault as before. Those that stay (by address, ports and protocol) keep their numbers, and their backends' states and flows; one that
    /// is gone takes nothing new, and is forgotten with its last flow. What is remembered of clients stays. False, and nothing changed, when there are more than
    /// most_services with those that only have flows left. Allocates.
    bool configure(services_config const& config);

    void tick(time_point now) noexcept { now_ = now; }
    [[nodiscard]] bool empty() const noexcept { return services_.empty(); }
    /// Whether servers of any service are told who their clients are.
    [[nodiscard]] bool tells() const noexcept { return tells_; }

    // --- The path of packets ----------------------------------------------------------------------------------------
    [[nodiscard]] service_index find(ip_address const& address, std::uint16_t port, std::uint8_t protocol) const noexcept;
    /// Whether the address belongs to any service.
    [[nodiscard]] bool is_virtual(ip_address const& address) const noexcept;
    /// Whether a new flow would get a backend now. Changes nothing.
    [[nodiscard]] service_outcome available(service_request const& r) noexcept;
    /// Who gets a new flow. Nothing is counted before opened().
    [[nodiscard]] service_choice choose(service_request const& r) noexcept;
    /// The flow exists: counts it and remembers the client.
    void opened(backend_ref who, ip_address const& client) noexcept;
    void closed(backend_ref who) noexcept;
    void succeeded(backend_ref who) noexcept { pool(who.service).succeeded(who.backend); }
    void failed(backend_ref who) noexcept { pool(who.service).failed(who.backend); }

    // --- Configuration and queries ----------------------------------------------------------------------------------
    [[nodiscard]] std::size_t size() const noexcept { return services_.size(); }  ///< of numbers in use, those included that only have flows left
    [[nodiscard]] bool exists(service_index i) const noexcept { return i < services_.size() && services_[i] != nullptr; }
    [[nodiscard]] service_config const& operator[](service_index i) const noexcept { return services_[i]->config; }
    [[nodiscard]] backend const& server(backend_ref who) const noexcept { return services_[who.service]->pool[who.backend]; }
    [[nodiscard]] pool_type const& backends(service_index i) const noexcept { return services_[i]->pool; }
    void set_state(backend_ref who, backend_state state) noexcept { pool(who.service).set_state(who.backend, state); }
    void set_weight(backend_ref who, std::uint16_t weight) noexcept { pool(who.service).set_weight(who.backend, weight); }
    [[nodiscard]] std::uint32_t flows_open(service_index i) const noexcept { return services_[i]->open; }
    [[nodiscard]] bool is_configured(service_index i) const noexcept { return exists(i) && !services_[i]->leaving; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept;

  private:
    struct service {
        service_config config;
        pool_type pool;
        std::uint32_t open = 0;
        bool leaving = false;
    };
    /// What an address and protocol have: how many services, and those for more than one port.
    struct address_slot {
        ip_address address{};
        std::uint8_t protocol = 0;
        std::uint8_t ranges = 0;
        std::array<service_index, most_ranges> wide{};  ///< ranges first, then the one for every port
    };

    [[nodiscard]] static std::unique_ptr<service> made(service_config const& config, service const* before, time_point now);
    [[nodiscard]] static pool_type pool_for(service_config const& config, std::uint32_t least_capacity);
    [[nodiscard]] service_index number_of(service_config const& config) const noexcept;
    [[nodiscard]] address_slot const* find_address(ip_address const& address, std::uint8_t protocol) const noexcept;
    [[nodiscard]] pool_type& pool(service_index i) noexcept {
        pool_type& p = services_[i]->pool;
        p.tick(now_);
        return p;
    }
    [[nodiscard]] static std::uint64_t key_of(ip_address const& address, std::uint8_t protocol, std::uint32_t port) noexcept {
        return balance_hash(0x5e7f1ce).add(address).add(std::uint64_t{protocol} << 32 | port).value();
    }
    [[nodiscard]] std::uint32_t group_of(service_index i) const noexcept;
    [[nodiscard]] std::optional<backend_index> remembered(service_index i, ip_address const& client) noexcept;
    [[nodiscard]] choice_input input_of(service_request const& r) noexcept;
    void index();

    std::vector<std::unique_ptr<service>> services_{};
    std::vector<service_index> exact_{};   ///< services with one port; open addressing, at most half full
    std::vector<address_slot> addresses_{};  ///< likewise
    persistence_table persistence_;
    bool tells_ = false;
    std::uint64_t hash_seed_;
    split_mix64 random_;
    time_point now_{};
};

}  // namespace halfproxy

#include <halfproxy/balance/impl/service_table.hpp>
