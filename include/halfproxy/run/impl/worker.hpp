// SPDX-License-Identifier: BSL-1.0
// Bodies of run/worker.hpp.
//
//   idle --start--> running <--packet, timer-- sleeping
//                      |  \______both empty______/
//                    stop
//                      v
//                  draining --empty, or time over--> finished --all handlers back--> done
#pragma once

#include <halfproxy/run/worker.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <thread>

namespace halfproxy {

namespace worker_detail {
/// A descriptor that is ready again and again while its port gives nothing (an interface in error) would keep the
/// processor busy for nothing: after so many times in a row the port is looked at by timer.
inline constexpr std::uint32_t patience_with_empty_wakes = 16;
inline constexpr std::chrono::milliseconds port_retry{10};

/// A port that was told of a flood may have frames of which its descriptor does not tell.
inline constexpr std::chrono::milliseconds flooded_port_retry{1};

/// For each packet that arrives the kernel calls whoever watches its socket, on the core where it arrives, asleep or not: a quarter of what a packet
/// costs there. A worker that goes on from visit to visit has no use for that; to watch anew costs two system calls.
inline constexpr std::uint32_t visits_before_unwatching = 64;
}  // namespace worker_detail

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
worker<Io, Engine, Clock, InsideIo>::worker(boost::asio::io_context& context, Io& outside, InsideIo& inside,
                                            Engine& engine, worker_options const& options, Clock clock)
    : context_(context),
      pump_(outside, inside, engine),
      options_(options),
      clock_(clock),
      spin_(options.spin),
      gathering_(options.flood_per_s),
      handles_{outside.native_handle(), inside.native_handle()},
      descriptors_{boost::asio::posix::stream_descriptor{context}, boost::asio::posix::stream_descriptor{context}},
      timer_(context) {
    options_.steps_per_visit = std::max(options_.steps_per_visit, 1u);
    try {
        for (std::size_t port = 0; port < handles_.size(); ++port) descriptors_[port].assign(handles_[port]);
    } catch (...) {  // else the destructor of the first would close what is not ours
        if (descriptors_[0].is_open()) descriptors_[0].release();
        throw;
    }
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
worker<Io, Engine, Clock, InsideIo>::~worker() {
    for (auto& d : descriptors_)
        if (d.is_open()) d.release();
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::start(std::function<void()> done) {
    done_ = std::move(done);
    phase_ = phase::running;
    idle_since_ = clock_();
    leave_to_others();
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::stop() {
    boost::asio::post(context_, [this] { begin_drain(); });
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::visit() {
    for (std::uint32_t i = 0; i < options_.steps_per_visit; ++i)
        if (!step()) return;
    if (++visits_awake_ == worker_detail::visits_before_unwatching) unwatch();
    leave_to_others();  // behind the handlers of waits that unwatch() has ended
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::unwatch() {
    for (auto& d : descriptors_)
        if (d.is_open()) d.release();
    ++counters_.unwatched;
}

/// One pump step and what follows from it. False when the visit is over.
template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
bool worker<Io, Engine, Clock, InsideIo>::step() {
    time_point const now = clock_();
    std::size_t const received = pump_.step(now);
    bool const busy = received != 0;
    ++counters_.steps;
    if (phase_ == phase::draining && (!busy || now >= drain_until_)) return finish(now), false;
    pause_in_flood(received, now);
    tell_of_flood(now);
    if (busy) {
        idle_since_ = now;
        if (woken_by_packet_) spin_.woke_after(slept_for_);
        woken_by_packet_ = false;
        empty_wakes_in_row_ = 0;
        return true;
    }
    if (woken_by_packet_) {
        woken_by_packet_ = false;
        ++counters_.empty_wakes;
        ++empty_wakes_in_row_;
    }
    if (now - idle_since_ < spin_.budget()) return true;
    return sleep(now), false;
}

/// Other handlers of the io_context wait, too: as long as for a few packets.
template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::pause_in_flood(std::size_t received, time_point now) {
    if (!gathering_.pays_after(received, pump_.passed(), now) || options_.gather <= options_.gather.zero()) return;
    ++counters_.pauses;
    std::this_thread::sleep_for(options_.gather);
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::tell_of_flood(time_point now) {
    bool const flooded = gathering_.flooded(now);
    if (flooded == told_of_flood_) return;
    told_of_flood_ = flooded;
    if (flooded) ++counters_.floods;
    pump_.set_flooded(flooded);
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::leave_to_others() {
    ++outstanding_;
    boost::asio::post(context_, [this] {
        --outstanding_;
        visit();
    });
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::sleep(time_point now) {
    phase_ = phase::sleeping;
    visits_awake_ = 0;
    slept_at_ = now;
    ++counters_.sleeps;
    // Asio re-registers the descriptor with each wait, so a packet that came since the last look wakes us at once.
    if (empty_wakes_in_row_ < worker_detail::patience_with_empty_wakes)
        for (std::size_t port = 0; port < armed_.size(); ++port) arm(port);
    arm_timer(now);
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::arm(std::size_t port) {
    if (armed_[port]) return;
    if (!descriptors_[port].is_open()) {
        boost::system::error_code error;
        descriptors_[port].assign(handles_[port], error);
        if (error) {  // no memory for the watch: looked at by timer meanwhile
            empty_wakes_in_row_ = worker_detail::patience_with_empty_wakes;
            return;
        }
    }
    armed_[port] = true;
    ++outstanding_;
    descriptors_[port].async_wait(boost::asio::posix::stream_descriptor::wait_read,
                                  [this, port](boost::system::error_code const& error) { on_ready(port, error); });
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::arm_timer(time_point now) {
    std::optional<time_point> due = pump_.engine().next_deadline();
    auto const within = [&](packet_clock::duration wait) { due = due ? std::min(*due, now + wait) : now + wait; };
    if (empty_wakes_in_row_ >= worker_detail::patience_with_empty_wakes) within(worker_detail::port_retry);
    if (told_of_flood_) within(worker_detail::flooded_port_retry);
    if (!due || due == timer_due_) return;
    timer_due_ = due;
    timer_.expires_after(std::max(*due - now, packet_clock::duration::zero()));  // aborts the wait before it
    ++outstanding_;
    timer_.async_wait([this](boost::system::error_code const& error) { on_timer(error); });
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::on_ready(std::size_t port, boost::system::error_code const& error) {
    armed_[port] = false;
    one_came_back();
    if (!error) return wake(true);
    if (error == boost::asio::error::operation_aborted && phase_ == phase::sleeping) arm(port);
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::on_timer(boost::system::error_code const& error) {
    if (!error) timer_due_.reset();  // else a newer wait stands in its place
    one_came_back();
    if (!error) wake(false);
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::wake(bool by_packet) {
    if (phase_ != phase::sleeping) return;
    phase_ = phase::running;
    idle_since_ = clock_();
    woken_by_packet_ = by_packet;
    slept_for_ = idle_since_ - slept_at_;
    visit();
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::begin_drain() {
    if (phase_ == phase::draining || phase_ == phase::finished) return;
    bool const visit_is_due = phase_ == phase::running;  // its handler is posted already
    phase_ = phase::draining;
    drain_until_ = clock_() + options_.drain;
    if constexpr (requires { pump_.engine().drain(); }) pump_.engine().drain();
    if (!visit_is_due) leave_to_others();
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::finish(time_point now) {
    pump_.advance(now);
    phase_ = phase::finished;
    timer_.cancel();
    for (auto& d : descriptors_)
        if (d.is_open()) d.cancel();
    ++outstanding_;  // ourselves: so that `done` is not called from within, before the cancelled handlers are back
    boost::asio::post(context_, [this] { one_came_back(); });
}

template <pollable_packet_io Io, packet_engine Engine, std::regular_invocable Clock, pollable_packet_io InsideIo>
void worker<Io, Engine, Clock, InsideIo>::one_came_back() {
    --outstanding_;
    if (phase_ == phase::finished && outstanding_ == 0 && done_) {
        auto const done = std::move(done_);
        done_ = nullptr;
        done();
    }
}

}  // namespace halfproxy
