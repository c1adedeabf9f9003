// SPDX-License-Identifier: BSL-1.0
// A scheduler whose model is chosen by configuration.
#pragma once

#include <halfproxy/balance/schedulers.hpp>

#include <cstdint>
#include <span>
#include <variant>

namespace halfproxy {

enum class scheduler_kind : std::uint8_t {
    round_robin,
    weighted_round_robin,
    least_connections,
    weighted_least_connections,
    source_hash,
    maglev,
    power_of_two,
    first_alive,
};

[[nodiscard]] constexpr bool has_table(scheduler_kind k) noexcept { return k == scheduler_kind::maglev || k == scheduler_kind::source_hash; }

/// Any of the models, with one jump more.
class any_scheduler {
    /// In the order of scheduler_kind.
    using model = std::variant<round_robin_scheduler, weighted_round_robin_scheduler, least_connections_scheduler, weighted_least_connections_scheduler,
                               source_hash_scheduler, maglev_scheduler, power_of_two_scheduler, first_alive_scheduler>;

    [[nodiscard]] static model made(scheduler_kind kind, std::uint32_t capacity, std::uint32_t table_size) {
        switch (kind) {
            case scheduler_kind::round_robin: break;
            case scheduler_kind::weighted_round_robin: return weighted_round_robin_scheduler(capacity);
            case scheduler_kind::least_connections: return least_connections_scheduler(capacity);
            case scheduler_kind::weighted_least_connections: return weighted_least_connections_scheduler(capacity);
            case scheduler_kind::source_hash: return source_hash_scheduler(capacity, table_size);
            case scheduler_kind::maglev: return maglev_scheduler(capacity, table_size);
            case scheduler_kind::power_of_two: return power_of_two_scheduler(capacity);
            case scheduler_kind::first_alive: return first_alive_scheduler(capacity);
        }
        return round_robin_scheduler(capacity);
    }

    /// std::visit would bring an exception for a variant without value, which this one never is.
    template <class Self, class Action>
    static decltype(auto) call(Self& self, Action&& action) noexcept {
        switch (self.kind()) {
            case scheduler_kind::round_robin: break;
            case scheduler_kind::weighted_round_robin: return action(*std::get_if<weighted_round_robin_scheduler>(&self.model_));
            case scheduler_kind::least_connections: return action(*std::get_if<least_connections_scheduler>(&self.model_));
            case scheduler_kind::weighted_least_connections: return action(*std::get_if<weighted_least_connections_scheduler>(&self.model_));
            case scheduler_kind::source_hash: return action(*std::get_if<source_hash_scheduler>(&self.model_));
            case scheduler_kind::maglev: return action(*std::get_if<maglev_scheduler>(&self.model_));
            case scheduler_kind::power_of_two: return action(*std::get_if<power_of_two_scheduler>(&self.model_));
            case scheduler_kind::first_alive: return action(*std::get_if<first_alive_scheduler>(&self.model_));
        }
        return action(*std::get_if<round_robin_scheduler>(&self.model_));
    }

  public:
    /// `table_size` is of the kinds that have a table.
    any_scheduler(scheduler_kind kind, std::uint32_t capacity, std::uint32_t table_size) : model_(made(kind, capacity, table_size)) {}

    [[nodiscard]] std::uint32_t capacity() const noexcept {
        return call(*this, [](auto const& m) { return m.capacity(); });
    }
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return call(*this, [](auto const& m) { return m.memory_bytes(); });
    }
    void enroll(std::span<enrolled_backend const> all) noexcept {
        call(*this, [&](auto& m) { m.enroll(all); });
    }
    void weigh(backend_index i, backend_share share) noexcept {
        call(*this, [&](auto& m) { m.weigh(i, share); });
    }
    void load(backend_index i, std::uint32_t open) noexcept {
        call(*this, [&](auto& m) { m.load(i, open); });
    }
    [[nodiscard]] backend_index choose(choice_input const& in) noexcept {
        return call(*this, [&](auto& m) { return m.choose(in); });
    }
    [[nodiscard]] scheduler_kind kind() const noexcept { return static_cast<scheduler_kind>(model_.index()); }

  private:
    model model_;
};

}  // namespace halfproxy
