// SPDX-License-Identifier: BSL-1.0
// How services are found, and how one set of them follows another.
#pragma once

#include <halfproxy/balance/service_table.hpp>

#include <algorithm>
#include <bit>
#include <utility>

namespace halfproxy {

namespace detail {

/// Room for half as many again, so that a backend more needs no new tables.
[[nodiscard]] inline std::uint32_t room_for_backends(std::size_t count) noexcept {
    return static_cast<std::uint32_t>(std::min(count + count / 2 + 4, std::size_t{no_backend_index}));
}

/// Of Maglev's table: as the weights are now.
[[nodiscard]] inline std::uint32_t table_size_of(service_config const& s, std::uint32_t capacity) noexcept {
    if (!has_table(s.scheduler)) return 0;
    if (s.table_size != 0) return s.table_size;
    std::uint64_t total = 0, least = 0xffff;
    for (backend const& b : s.backends) {
        total += b.weight;
        if (b.weight != 0) least = std::min<std::uint64_t>(least, b.weight);
    }
    return maglev_size(std::max((total + least - 1) / least, std::uint64_t{capacity}));
}

[[nodiscard]] inline std::uint32_t priorities_of(service_config const& s) noexcept {
    std::uint32_t groups = 1;
    for (backend const& b : s.backends) groups = std::max(groups, b.priority + 1u);
    return groups;
}

}  // namespace detail

inline service_table::service_table(services_config const& config, std::uint64_t random_seed)
    : persistence_(std::any_of(config.services.begin(), config.services.end(), [](service_config const& s) { return s.persistence != 0; })
                       ? config.persistent_clients
                       : 0,
                   config.hash_seed),
      hash_seed_(config.hash_seed), random_(random_seed) {
    static_cast<void>(configure(config));  // into nothing: there is room
}

inline std::size_t service_table::memory_bytes() const noexcept {
    std::size_t bytes = persistence_.memory_bytes() + exact_.size() * sizeof(service_index) + addresses_.size() * sizeof(address_slot);
    for (auto const& s : services_)
        if (s != nullptr) bytes += sizeof(service) + s->pool.memory_bytes();
    return bytes;
}

// --- Configuration --------------------------------------------------------------------------------------------------------

inline service_table::pool_type service_table::pool_for(service_config const& config, std::uint32_t least_capacity) {
    std::uint32_t const capacity = std::max(detail::room_for_backends(config.backends.size()), least_capacity);
    any_scheduler const one(config.scheduler, capacity, detail::table_size_of(config, capacity));
    pool_config pool = config.pool;
    pool.known_by_address = config.group != 0;
    return {pool, {one, detail::priorities_of(config), config.least_ready}};
}

/// With backends and flows of the service before it, if there was one. Its backends may have as many numbers as it has flows.
inline std::unique_ptr<service_table::service> service_table::made(service_config const& config, service const* before, time_point now) {
    if (before == nullptr) {
        auto out = std::make_unique<service>(service{config, pool_for(config, 0)});
        out->pool.tick(now);
        static_cast<void>(out->pool.configure(config.backends, true));
        return out;
    }
    std::uint32_t const capacity = before->pool.capacity();
    std::uint32_t needed = static_cast<std::uint32_t>(config.backends.size());
    for (std::uint32_t i = 0; i < capacity; ++i) needed += before->pool.exists(static_cast<backend_index>(i)) ? 1 : 0;
    pool_type const empty = pool_for(config, std::max(capacity, std::min<std::uint32_t>(needed, no_backend_index)));
    auto out = std::make_unique<service>(service{config, pool_type(empty.config(), empty.scheduler(), before->pool), before->open});
    out->pool.tick(now);
    return out->pool.configure(config.backends) ? std::move(out) : nullptr;
}

/// Where it is, where one has left, or at the end. One that forwards in another way is another service: flows go on as they began.
inline service_index service_table::number_of(service_config const& config) const noexcept {
    std::size_t free = services_.size();
    for (std::size_t i = 0; i < services_.size(); ++i) {
        bool const same = services_[i] != nullptr && services_[i]->config.same_service(config);
        if (same && services_[i]->config.mode == config.mode && services_[i]->config.proxy == config.proxy) return static_cast<service_index>(i);
        if (services_[i] == nullptr) free = std::min(free, i);
    }
    return static_cast<service_index>(free);
}

inline bool service_table::configure(services_config const& config) {
    std::vector<std::pair<service_index, std::unique_ptr<service>>> next;
    std::vector<bool> stays(services_.size());
    for (service_config const& s : config.services) {
        service_index const i = number_of(s);
        bool const known = exists(i);
        auto one = made(s, known ? services_[i].get() : nullptr, now_);
        if (one == nullptr) return false;
        if (known) stays[i] = true;
        next.emplace_back(known ? i : no_service, std::move(one));
    }
    std::size_t only_flows = 0;
    for (std::size_t i = 0; i < services_.size(); ++i) only_flows += services_[i] != nullptr && !stays[i] && services_[i]->open != 0 ? 1 : 0;
    if (next.size() + only_flows > most_services) return false;
    for (std::size_t i = 0; i < services_.size(); ++i) {
        if (services_[i] == nullptr || stays[i]) continue;
        services_[i]->leaving = true;
        static_cast<void>(services_[i]->pool.configure({}));
        if (services_[i]->open == 0) services_[i].reset();
    }
    for (auto& [number, one] : next) {
        service_index const i = number != no_service ? number : number_of(one->config);
        if (i == services_.size()) services_.emplace_back();
        services_[i] = std::move(one);
    }
    tells_ = std::any_of(services_.begin(), services_.end(), [](auto const& s) { return s != nullptr && (s->config.proxy != proxy_header::none || s->config.client_option != 0); });
    if (persistence_.memory_bytes() == 0 && std::any_of(config.services.begin(), config.services.end(), [](auto const& s) { return s.persistence != 0; }))
        persistence_ = persistence_table(config.persistent_clients, hash_seed_);
    index();
    return true;
}

inline void service_table::index() {
    std::size_t const room = std::bit_ceil(2 * services_.size() + 1);
    exact_.assign(room, no_service);
    addresses_.assign(room, {});
    for (std::size_t i = 0; i < services_.size(); ++i) {
        if (!is_configured(static_cast<service_index>(i))) continue;
        service_config const& s = services_[i]->config;
        std::size_t at = key_of(s.address, s.protocol, 0) & (room - 1);
        while (addresses_[at].address.version != 0 && (addresses_[at].address != s.address || addresses_[at].protocol != s.protocol)) at = (at + 1) & (room - 1);
        address_slot& slot = addresses_[at];
        slot.address = s.address;
        slot.protocol = s.protocol;
        if (!s.is_one_port()) {
            slot.wide[slot.ranges++] = static_cast<service_index>(i);
            if (slot.ranges > 1 && services_[slot.wide[0]]->config.is_every_port()) std::swap(slot.wide[0], slot.wide[slot.ranges - 1u]);
            continue;
        }
        at = key_of(s.address, s.protocol, s.ports.first) & (room - 1);
        while (exact_[at] != no_service) at = (at + 1) & (room - 1);
        exact_[at] = static_cast<service_index>(i);
    }
    for (address_slot& slot : addresses_)
        std::stable_partition(slot.wide.begin(), slot.wide.begin() + slot.ranges, [this](service_index i) { return !services_[i]->config.is_every_port(); });
}

// --- The path of packets --------------------------------------------------------------------------------------------------

inline service_table::address_slot const* service_table::find_address(ip_address const& address, std::uint8_t protocol) const noexcept {
    if (addresses_.empty()) return nullptr;
    for (std::size_t at = key_of(address, protocol, 0) & (addresses_.size() - 1);; at = (at + 1) & (addresses_.size() - 1)) {
        address_slot const& slot = addresses_[at];
        if (slot.address.version == 0) return nullptr;
        if (slot.address == address && slot.protocol == protocol) return &slot;
    }
}

inline bool service_table::is_virtual(ip_address const& address) const noexcept {
    return find_address(address, ip_protocol::tcp) != nullptr || find_address(address, ip_protocol::udp) != nullptr;
}

inline service_index service_table::find(ip_address const& address, std::uint16_t port, std::uint8_t protocol) const noexcept {
    address_slot const* const slot = find_address(address, protocol);
    if (slot == nullptr) return no_service;
    for (std::size_t at = key_of(address, protocol, port) & (exact_.size() - 1); exact_[at] != no_service; at = (at + 1) & (exact_.size() - 1)) {
        service_config const& s = services_[exact_[at]]->config;
        if (s.ports.first == port && s.address == address && s.protocol == protocol) return exact_[at];
    }
    for (std::size_t n = 0; n < slot->ranges; ++n)
        if (services_[slot->wide[n]]->config.ports.contains(port)) return slot->wide[n];
    return no_service;
}

inline std::uint32_t service_table::group_of(service_index i) const noexcept {
    std::uint32_t const group = services_[i]->config.group;
    return group != 0 ? group : 0x8000'0000u | i;
}

/// Only where it takes new flows: a drained backend loses its persistent clients too.
inline std::optional<backend_index> service_table::remembered(service_index i, ip_address const& client) noexcept {
    service const& s = *services_[i];
    if (s.config.persistence == 0) return std::nullopt;
    auto const identity = persistence_.find(group_of(i), persistent_network(client, s.config.prefixes), now_);
    if (!identity) return std::nullopt;
    backend_index const who = s.pool.find(*identity);
    return who != no_backend_index && s.pool.takes(who) ? std::optional(who) : std::nullopt;
}

inline choice_input service_table::input_of(service_request const& r) noexcept {
    balance_hash const source = balance_hash(hash_seed_).add(r.client);
    std::uint64_t const rest = std::uint64_t{r.client_port} | std::uint64_t{r.port} << 16 | std::uint64_t{r.protocol} << 32;
    return {source.value(), source.add(r.address).add(rest).value(), random_()};
}

inline service_outcome service_table::available(service_request const& r) noexcept {
    service_index const i = find(r.address, r.port, r.protocol);
    if (i == no_service) return service_outcome::not_a_service;
    pool_type const& p = pool(i);
    if (p.ready() != 0) return service_outcome::chosen;
    return p.willing() != 0 ? service_outcome::limited : service_outcome::no_backend;
}

inline service_choice service_table::choose(service_request const& r) noexcept {
    service_index const i = find(r.address, r.port, r.protocol);
    if (i == no_service) return {};
    pool_type& p = pool(i);
    if (auto const known = remembered(i, r.client)) return {service_outcome::chosen, {i, *known}};
    pool_choice const c = p.choose(input_of(r));
    if (c) return {service_outcome::chosen, {i, c.index}};
    return {c.limited ? service_outcome::limited : service_outcome::no_backend, {i, no_backend_index}};
}

inline void service_table::opened(backend_ref who, ip_address const& client) noexcept {
    service& s = *services_[who.service];
    ++s.open;
    pool(who.service).opened(who.backend);
    if (s.config.persistence != 0)
        persistence_.remember(group_of(who.service), persistent_network(client, s.config.prefixes), s.pool.identity(who.backend), now_, s.config.persistence);
}

inline void service_table::closed(backend_ref who) noexcept {
    service& s = *services_[who.service];
    --s.open;
    pool(who.service).closed(who.backend);
    if (s.leaving && s.open == 0) services_[who.service].reset();
}

}  // namespace halfproxy
