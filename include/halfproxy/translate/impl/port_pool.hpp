// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/translate/port_pool.hpp>

#include <algorithm>

namespace halfproxy {

template <port_space Space, random_source Random>
port_pool<Space, Random>::port_pool(port_pool_config const& config, std::uint32_t capacity)
    : config_(config), space_(config.addresses, config.ports, capacity), random_(config.seed),
      waits_(waiting_for(config, space_.limit())),
      last_(static_cast<std::uint16_t>(config.ports.first - 1)) {}

template <port_space Space, random_source Random>
std::optional<port_range> port_pool<Space, Random>::allowed(request const& r) const noexcept {
    port_range const within{std::max(r.within.first, config_.ports.first), std::min(r.within.last, config_.ports.last)};
    if (within.first > within.last) return std::nullopt;
    return within;
}

template <port_space Space, random_source Random>
std::uint16_t port_pool<Space, Random>::start(port_range within) noexcept {
    std::uint64_t const size = within.last - within.first + 1u;
    if (config_.order == port_order::random) return static_cast<std::uint16_t>(within.first + ((random_() >> 32) * size >> 32));
    std::uint32_t const next = last_ + 1u;
    return next >= within.first && next <= within.last ? static_cast<std::uint16_t>(next) : within.first;
}

template <port_space Space, random_source Random>
std::optional<std::uint16_t> port_pool<Space, Random>::find(request const& r) noexcept {
    auto const within = allowed(r);
    if (!within) return std::nullopt;
    if (config_.preserve && within->contains(r.inside_port) && space_.is_free(r.address, r.inside_port, r.to)) return r.inside_port;
    port_parity const parity = !config_.keep_parity ? port_parity::any : r.inside_port % 2 == 0 ? port_parity::even : port_parity::odd;
    std::uint16_t const from = start(*within);
    auto const found = space_.first_free(r.address, {from, within->last}, parity, r.to);
    if (found || from == within->first) return found;
    return space_.first_free(r.address, {within->first, static_cast<std::uint16_t>(from - 1)}, parity, r.to);
}

/// Ports whose quarantine is over are free, whether their turn has come or not.
template <port_space Space, random_source Random>
std::optional<std::uint16_t> port_pool<Space, Random>::find_or_wait(request const& r, stamp_ms now) noexcept {
    auto const over = [&] { return waiting_ != 0 && waits_[front_].until - now <= 0; };
    for (int freed = 0; freed < 2 && over(); ++freed) free_longest_waiting();
    while (true) {
        auto const port = space_.has_room() ? find(r) : std::nullopt;
        if (port || !over()) return port;
        for (int freed = 0; freed < 64 && over(); ++freed) free_longest_waiting();
    }
}

template <port_space Space, random_source Random>
template <class Sink>
port_grant port_pool<Space, Random>::allocate(request const& r, stamp_ms now, Sink&& sink) noexcept {
    auto const port = find_or_wait(r, now);
    if (!port) {
        bool const room = space_.has_room();
        ++(room ? counters_.exhausted : counters_.no_room);
        return {0, room ? port_refusal::exhausted : port_refusal::no_room};
    }
    space_.take(r.address, *port, r.to);
    last_ = *port;
    ++counters_.given;
    counters_.preserved += *port == r.inside_port ? 1 : 0;
    tell(sink);
    return {*port, port_refusal::none};
}

template <port_space Space, random_source Random>
port_refusal port_pool<Space, Random>::refusal_of(request const& r, stamp_ms now) noexcept {
    if (find_or_wait(r, now)) return port_refusal::none;
    return space_.has_room() ? port_refusal::exhausted : port_refusal::no_room;
}

template <port_space Space, random_source Random>
bool port_pool<Space, Random>::take(std::uint32_t address, std::uint16_t port, destination const& to) noexcept {
    if (!config_.ports.contains(port) || !space_.has_room() || !space_.is_free(address, port, to)) return false;
    space_.take(address, port, to);
    ++counters_.given;
    return true;
}

template <port_space Space, random_source Random>
template <class Sink>
void port_pool<Space, Random>::release(std::uint32_t address, std::uint16_t port, destination const& to, stamp_ms now, Sink&& sink) noexcept {
    ++counters_.returned;
    if (waits_.empty()) {
        space_.give(address, port, to);
    } else {
        if (waiting_ == waits_.size()) {
            counters_.quarantine_cut += waits_[front_].until - now > 0 ? 1 : 0;
            free_longest_waiting();
        }
        waits_[(front_ + waiting_++) % waits_.size()] = {address, port, to, now + config_.quarantine};
    }
    tell(sink);
}

template <port_space Space, random_source Random>
template <class Sink>
std::uint32_t port_pool<Space, Random>::expire(stamp_ms now, std::uint32_t budget, Sink&& sink) noexcept {
    std::uint32_t freed = 0;
    for (; freed < budget && waiting_ != 0 && waits_[front_].until - now <= 0; ++freed) free_longest_waiting();
    if (freed != 0) tell(sink);
    return freed;
}

template <port_space Space, random_source Random>
void port_pool<Space, Random>::free_longest_waiting() noexcept {
    waiting const& w = waits_[front_];
    space_.give(w.address, w.port, w.to);
    front_ = static_cast<std::uint32_t>((front_ + 1) % waits_.size());
    --waiting_;
}

template <port_space Space, random_source Random>
template <class Sink>
void port_pool<Space, Random>::tell(Sink&& sink) noexcept {
    std::uint64_t const hundredfold = taken() * 100;
    bool const pressure = pressure_ ? hundredfold > space_.limit() * config_.low_percent : hundredfold >= space_.limit() * config_.high_percent;
    if (pressure == pressure_) return;
    pressure_ = pressure;
    counters_.pressures += pressure ? 1 : 0;
    sink(port_pool_event{pressure, taken(), space_.limit()});
}

}  // namespace halfproxy
