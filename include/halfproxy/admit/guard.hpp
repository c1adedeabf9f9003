// SPDX-License-Identifier: BSL-1.0
// When to challenge: a state machine fed by the number of half-open connections.
#pragma once

#include <halfproxy/core/time.hpp>
#include <halfproxy/wire/address.hpp>

#include <cstdint>
#include <vector>

namespace halfproxy {

enum class guard_mode : std::uint8_t {
    off,        ///< SYNs pass
    automatic,  ///< SYNs pass until too many handshakes are half open, then they are challenged
    always,     ///< every SYN from outside is challenged
    monitor,    ///< as automatic, but only counts what it would have challenged
};

struct guard_config {
    guard_mode mode = guard_mode::off;
    std::uint32_t half_open_on = 1024;   ///< automatic: challenge from this many half-open flows on
    std::uint32_t half_open_off = 256;   ///< automatic: no longer below this many
    timeout_ms min_active = 60'000;      ///< automatic: once on, stay on at least so long
    timeout_ms grace = 30'000;           ///< after switching off, cookies are honoured so long
    timeout_ms key_rotation = 30'000;    ///< a cookie lives one to two rotations
    std::vector<ip_prefix> allow{};      ///< clients that are never challenged
};

enum class guard_state : std::uint8_t {
    ready,   ///< nothing is challenged, no cookie is out
    active,  ///< SYNs are challenged
    grace,   ///< nothing is challenged, but cookies that are out are honoured
};

/// Counts in whole transitions, so that a report shows flapping.
class guard {
  public:
    explicit guard(guard_config const& config) : config_(config) {
        if (config.mode == guard_mode::always) state_ = guard_state::active;
    }

    /// Moves the state machine. Call it when the number of half-open flows may have changed and before asking.
    void observe(std::uint32_t half_open, stamp_ms now) noexcept {
        if (config_.mode != guard_mode::automatic && config_.mode != guard_mode::monitor) return;
        if (half_open >= config_.half_open_on) return activate(now);
        if (state_ == guard_state::active && half_open < config_.half_open_off && elapsed(now, config_.min_active))
            enter(guard_state::grace, now);
        else if (state_ == guard_state::grace && elapsed(now, config_.grace))
            enter(guard_state::ready, now);
    }

    /// Whether a SYN from this client is to be answered with a cookie. In monitor mode the engine counts it and lets the SYN pass.
    [[nodiscard]] bool challenges(ip_address const& client) const noexcept {
        return state_ == guard_state::active && !allowed(client);
    }
    [[nodiscard]] bool only_counts() const noexcept { return config_.mode == guard_mode::monitor; }

    /// Whether an ACK without flow may carry a cookie of ours.
    [[nodiscard]] bool honours_cookies() const noexcept { return state_ != guard_state::ready && !only_counts(); }

    [[nodiscard]] guard_state state() const noexcept { return state_; }
    [[nodiscard]] std::uint32_t activations() const noexcept { return activations_; }
    [[nodiscard]] guard_config const& config() const noexcept { return config_; }

  private:
    [[nodiscard]] bool allowed(ip_address const& client) const noexcept {
        for (ip_prefix const& prefix : config_.allow)
            if (prefix.contains(client)) return true;
        return false;
    }
    [[nodiscard]] bool elapsed(stamp_ms now, timeout_ms least) const noexcept {
        return least != never && static_cast<std::uint32_t>(now - since_) >= least;  // an attack may last longer than 2^31 ms
    }
    void enter(guard_state state, stamp_ms now) noexcept {
        state_ = state;
        since_ = now;
    }
    void activate(stamp_ms now) noexcept {
        if (state_ == guard_state::active) return;
        enter(guard_state::active, now);
        ++activations_;
    }

    guard_config config_;
    guard_state state_ = guard_state::ready;
    stamp_ms since_{};
    std::uint32_t activations_ = 0;
};

}  // namespace halfproxy
