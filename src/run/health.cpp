// SPDX-License-Identifier: BSL-1.0
// When checks begin, how many at once, and what is said of their results.
#include <halfproxy/run/health.hpp>

#include "health_probes.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

namespace halfproxy {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

time_point steady_time(std::chrono::steady_clock::time_point t) {
    return time_point{std::chrono::duration_cast<packet_clock::duration>(t.time_since_epoch())};
}

/// What changes are told to, from whichever thread runs `notify`; empty once the checker has gone. Recursive: it may end the checker itself.
struct listener {
    std::recursive_mutex guard{};
    health_checker::change_callback changed{};
};

struct target {
    target(asio::io_context& context, health_check const& c, health initially, std::uint64_t seed)
        : check(c), state(c.policy, initially), schedule(c.policy, seed), timer(context) {}

    health_check check;
    health_state state;
    health_schedule schedule;
    asio::steady_timer timer;
    std::chrono::steady_clock::time_point begun{};
    std::shared_ptr<detail::echo_socket> echo{};
    std::shared_ptr<detail::probe> running{};
};

}  // namespace

struct health_checker::impl : std::enable_shared_from_this<health_checker::impl> {
    impl(asio::io_context& c, health_options const& o, change_callback f, asio::any_io_executor n)
        : context(c), options(o), heard_by(std::make_shared<listener>()), notify(std::move(n)) {
        heard_by->changed = std::move(f);
        options.most_at_once = std::max<std::size_t>(options.most_at_once, 1);
    }

    asio::io_context& context;
    health_options options;
    std::shared_ptr<listener> heard_by;
    asio::any_io_executor notify;
    std::map<target_id, target> targets{};
    std::deque<target_id> due{};
    health_counters counters{};
    target_id next_id = 1;

    void wait(target_id id, std::chrono::steady_clock::time_point until) {
        auto& timer = targets.at(id).timer;
        timer.expires_at(until);
        timer.async_wait([weak = weak_from_this(), id](error_code const& error) {
            auto const self = weak.lock();
            if (error || !self || !self->targets.contains(id)) return;
            self->due.push_back(id);
            self->begin_due();
        });
    }

    void begin_due() {
        while (!due.empty() && counters.running < options.most_at_once) {
            target_id const id = due.front();
            due.pop_front();
            if (auto const found = targets.find(id); found != targets.end()) begin(id, found->second);
        }
    }

    void begin(target_id id, target& t) {
        ++counters.begun;
        counters.running_peak = std::max(counters.running_peak, ++counters.running);
        t.begun = std::chrono::steady_clock::now();
        t.running = detail::make_probe(context, t.check, t.echo);
        t.running->begin([weak = weak_from_this(), id](detail::probe_result const& result) {
            if (auto const self = weak.lock()) self->end(id, result);
        });
    }

    void end(target_id id, detail::probe_result const& result) {
        auto const found = targets.find(id);
        if (found == targets.end()) return;
        target& t = found->second;
        t.running.reset();
        --counters.running;
        ++(result.good ? counters.good : counters.bad);
        auto const now = std::chrono::steady_clock::now();
        if (auto const changed_to = t.state.result(result.good, steady_time(now))) tell(id, *changed_to, result.why);
        wait(id, std::max(now, t.begun + t.schedule.next()));
        begin_due();
    }

    void tell(target_id id, health state, std::string const& why) {
        ++counters.transitions;
        asio::post(notify, [to = heard_by, id, state, why] {
            std::scoped_lock const lock(to->guard);
            if (auto const changed = to->changed) changed(id, state, why);
        });
    }

    void end_all() {
        {
            std::scoped_lock const lock(heard_by->guard);
            heard_by->changed = nullptr;
        }
        for (auto& [id, t] : targets)
            if (t.running) t.running->abandon();
        targets.clear();
    }
};

health_checker::health_checker(asio::io_context& context, health_options const& options, change_callback changed, asio::any_io_executor notify)
    : impl_(std::make_shared<impl>(context, options, std::move(changed), std::move(notify))) {}

health_checker::health_checker(asio::io_context& context, health_options const& options, change_callback changed)
    : health_checker(context, options, std::move(changed), context.get_executor()) {}

health_checker::~health_checker() { impl_->end_all(); }

health_checker::target_id health_checker::add(health_check const& check, health initially) {
    target_id const id = impl_->next_id++;
    std::shared_ptr<detail::echo_socket> echo;
    if (check.probe == health_probe::icmp)
        echo = detail::open_echo_socket(impl_->context, check, static_cast<std::uint16_t>(impl_->options.seed + id));
    auto& t = impl_->targets.try_emplace(id, impl_->context, check, initially, impl_->options.seed + id).first->second;
    t.echo = std::move(echo);
    impl_->wait(id, std::chrono::steady_clock::now() + t.schedule.first());
    return id;
}

void health_checker::remove(target_id id) {
    auto const found = impl_->targets.find(id);
    if (found == impl_->targets.end()) return;
    if (found->second.running) {
        found->second.running->abandon();
        --impl_->counters.running;
    }
    impl_->targets.erase(found);
    impl_->begin_due();
}

std::optional<health> health_checker::state(target_id id) const {
    auto const found = impl_->targets.find(id);
    return found == impl_->targets.end() ? std::nullopt : std::optional(found->second.state.state());
}

health_counters const& health_checker::counters() const noexcept { return impl_->counters; }

}  // namespace halfproxy
