// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/sync/sync_sender.hpp>

#include <algorithm>
#include <chrono>
#include <type_traits>

namespace halfproxy {

namespace detail {

/// A frame holds any event, and there is room for one.
[[nodiscard]] inline sync_sender_config usable(sync_sender_config config) noexcept {
    constexpr auto least = static_cast<std::uint16_t>(shortest_sync_frame + longest_sync_event);
    config.frame_bytes = std::clamp(config.frame_bytes, least, static_cast<std::uint16_t>(longest_sync_frame));
    config.window = std::max(config.window, std::uint16_t{1});
    return config;
}

}  // namespace detail

template <class Engine>
sync_sender<Engine>::sync_sender(sync_sender_config const& config, Engine& engine, sync_journal& journal)
    : config_(detail::usable(config)), engine_(engine), journal_(journal), memory_(std::size_t{config_.window} * config_.frame_bytes),
      frames_(config_.window), session_(config_.instance) {}

/// By another name, so that nobody takes what was said before for what is said now.
template <class Engine>
void sync_sender<Engine>::seek() noexcept {
    stage_ = sync_stage::seeking;
    ++session_;
    next_ = oldest_ = 1;
    sent_last_.reset();
    journal_.end_recording();
}

template <class Engine>
void sync_sender<Engine>::begin_telling(std::uint64_t receiver, time_point now) noexcept {
    stage_ = sync_stage::telling_all;
    receiver_ = receiver;
    next_ = oldest_ = 1;
    tries_ = 0;
    cursor_ = 0;
    round_began_ = now;
    ++counters_.sessions;
    journal_.begin_recording();
}

template <class Engine>
template <class Send>
void sync_sender<Engine>::step(time_point now, Send&& send) {
    if (stage_ != sync_stage::seeking && journal_.overflowed()) {
        ++counters_.overflowed;
        seek();
    }
    if (stage_ == sync_stage::seeking) return greet(now, send);
    if (!send_again(now, send)) return;
    looks_ = config_.looks_per_step;
    while (on_their_way() < config_.window && tell_some(now, false, send)) {}
    bool const silent = on_their_way() == 0 && now - sent_last_.value_or(now) >= std::chrono::milliseconds(config_.sign_of_life);
    if (silent) static_cast<void>(tell_some(now, true, send));
}

template <class Engine>
template <class Send>
void sync_sender<Engine>::greet(time_point now, Send&& send) {
    if (sent_last_ && now - *sent_last_ < std::chrono::milliseconds(config_.sign_of_life)) return;
    sync_writer w(slot(0), {.kind = sync_kind::flows, .sender = session_});
    std::size_t const bytes = w.finish(config_.key);
    sent_last_ = now;
    ++counters_.greetings;
    send(byte_view(slot(0).first(bytes)));
}

/// All that is on its way, since it is taken in its order: behind a lost frame the others were not. False when there is nobody who takes it.
template <class Engine>
template <class Send>
bool sync_sender<Engine>::send_again(time_point now, Send&& send) {
    if (on_their_way() == 0 || now - waiting_since_ < std::chrono::milliseconds(config_.resend_after)) return true;
    if (tries_ == config_.resends) {
        ++counters_.lost;
        seek();
        return false;
    }
    ++tries_;
    waiting_since_ = now;
    for (std::uint64_t n = oldest_; n != next_; ++n) {
        ++counters_.resent;
        send(byte_view(slot(n).first(frames_[n % config_.window])));
    }
    return true;
}

/// One frame. What has ended goes first: its tuple, port and backend may belong to another by now. False when there was nothing to tell.
template <class Engine>
template <class Send>
bool sync_sender<Engine>::tell_some(time_point now, bool sign_of_life, Send&& send) {
    sync_writer w(slot(next_), {.kind = sync_kind::flows, .sender = session_, .receiver = receiver_, .number = next_});
    static_cast<void>(tell_removals<std::uint32_t>(w) && tell_removals<ipv6_bytes>(w) && tell_queued<std::uint32_t>(w) &&
                      tell_queued<ipv6_bytes>(w) && walk(w, now));
    if (w.events() == 0 && !sign_of_life) return false;
    std::size_t const bytes = w.finish(config_.key);
    frames_[next_ % config_.window] = static_cast<std::uint16_t>(bytes);
    if (on_their_way() == 0) waiting_since_ = now;
    byte_view const frame = slot(next_).first(bytes);
    ++next_;
    ++counters_.frames;
    sent_last_ = now;
    send(frame);
    return true;
}

// These are false when the frame is full. ---------------------------------------------------------------------------------------

template <class Engine>
template <class Address>
bool sync_sender<Engine>::tell_removals(sync_writer& w) noexcept {
    while (flow_key<Address> const* const key = journal_.first_removal<Address>()) {
        if (!w.remove(*key)) return false;
        journal_.drop_first_removal<Address>();
        ++counters_.removed;
    }
    return true;
}

/// Nothing of one that is gone, or not to be told yet.
template <class Engine>
template <class Address>
std::optional<flow_state<Address>> sync_sender<Engine>::ready(std::uint32_t number) const noexcept {
    auto state = engine_.template state_of<Address>(number);
    if (state && state->key.protocol != ip_protocol::tcp && std::uint64_t{state->packets[0]} + state->packets[1] < config_.least_packets) return std::nullopt;
    return state;
}

/// Once through the queue: what is half-open waits on. Each family's may have a quarter of the looks, so that the walk comes to the rest.
template <class Engine>
template <class Address>
bool sync_sender<Engine>::tell_queued(sync_writer& w) noexcept {
    std::uint32_t const quarter = config_.looks_per_step / 4, spared = std::is_same_v<Address, std::uint32_t> ? 3 * quarter : 2 * quarter;
    for (std::uint32_t left = journal_.queued<Address>(); left != 0 && looks_ > spared; --left, --looks_) {
        std::uint32_t const number = *journal_.dequeue<Address>();
        if (!engine_.template has_flow<Address>(number) || journal_.is_told<Address>(number)) continue;
        auto const state = ready<Address>(number);
        bool const written = state && w.tell(sync_event::add, *state);
        if (!written) journal_.enqueue<Address>(number);
        if (!written && state) return false;
        if (!written) continue;
        journal_.set_told<Address>(number);
        ++counters_.added;
    }
    return true;
}

/// Through the whole table, at once and then again and again at its pace: what was told is told anew, so that the other knows that it lives, and may take
/// what it had no room for.
template <class Engine>
bool sync_sender<Engine>::walk(sync_writer& w, time_point now) noexcept {
    std::uint32_t const all = flows(), v4 = engine_.template flow_limit<std::uint32_t>();
    std::uint32_t goal = all;
    if (stage_ == sync_stage::following) {
        auto const elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(now - round_began_).count();
        auto const share = static_cast<std::uint64_t>(std::clamp<std::int64_t>(elapsed, 0, config_.refresh_every));
        goal = static_cast<std::uint32_t>(config_.refresh_every == 0 ? all : share * all / config_.refresh_every);
    }
    for (; cursor_ < goal && looks_ != 0; ++cursor_, --looks_)
        if (!(cursor_ < v4 ? visit<std::uint32_t>(w, cursor_) : visit<ipv6_bytes>(w, cursor_ - v4))) return false;
    if (cursor_ != all) return true;
    if (stage_ == sync_stage::telling_all) {
        if (!w.caught_up()) return false;
        stage_ = sync_stage::following;
    }
    cursor_ = 0;
    round_began_ = now;
    return true;
}

template <class Engine>
template <class Address>
bool sync_sender<Engine>::visit(sync_writer& w, std::uint32_t number) noexcept {
    if (!engine_.template has_flow<Address>(number)) return true;
    auto const state = ready<Address>(number);
    bool const known = journal_.is_told<Address>(number);
    if (!state) {
        if (!known) journal_.enqueue<Address>(number);
        return true;
    }
    if (!w.tell(known ? sync_event::refresh : sync_event::add, *state)) return false;
    journal_.set_told<Address>(number);
    ++(known ? counters_.refreshed : counters_.added);
    return true;
}

// --- What is heard -----------------------------------------------------------------------------------------------------------

template <class Engine>
void sync_sender<Engine>::hear(byte_view frame, time_point now) noexcept {
    sync_reading const r = read_sync_frame(frame, config_.key);
    if (r.fault != sync_fault::none) {
        ++counters_.faults[static_cast<std::size_t>(r.fault)];
        return;
    }
    if (r.head.kind != sync_kind::answer) {
        ++counters_.misdirected;
        return;
    }
    bool const seeking = stage_ == sync_stage::seeking;
    bool const other_name = !seeking && r.head.receiver != receiver_;
    if (r.head.sender != session_ || (!seeking && !other_name && (r.head.number < oldest_ || r.head.number > next_))) {
        ++counters_.answers_old;
        return;
    }
    ++counters_.answers;
    if (seeking) return begin_telling(r.head.receiver, now);
    if (other_name) {
        ++counters_.restarted;
        return seek();
    }
    if (r.head.number == oldest_) return;
    oldest_ = r.head.number;
    tries_ = 0;
    waiting_since_ = now;
}

}  // namespace halfproxy
