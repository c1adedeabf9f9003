// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <halfproxy/sync/sync_receiver.hpp>

#include <array>

namespace halfproxy {

template <class Engine>
template <class Send>
void sync_receiver<Engine>::hear(byte_view frame, time_point now, Send&& send) {
    sync_reading const r = read_sync_frame(frame, key_);
    sync_head const& h = r.head;
    if (r.fault != sync_fault::none) {
        ++counters_.faults[static_cast<std::size_t>(r.fault)];
    } else if (h.kind != sync_kind::flows) {
        ++counters_.misdirected;
    } else if (!standby_) {
        ++counters_.not_standby;
    } else if (!in_session(h) && (h.receiver != offered_ || h.number != 1)) {
        outside_session(h, send);
    } else {
        if (!in_session(h)) begin_session(h);
        if (h.number == expected_) {
            ++expected_;
            ++counters_.frames;
            apply(r, now);
        } else {
            ++(h.number < expected_ ? counters_.duplicate : counters_.ahead);
        }
        answer(sender_, session_ != 0 ? session_ : offered_, expected_, send);
    }
}

/// A greeting, or a frame of a session that we know nothing of: then whoever sent it is told the name of the next one. Who copies an old frame learns nothing by it.
template <class Engine>
template <class Send>
void sync_receiver<Engine>::outside_session(sync_head const& h, Send&& send) {
    bool const greeting = h.number == 0;
    ++(greeting ? counters_.greetings : counters_.replayed);
    bool const of_ours = session_ != 0 && h.sender == sender_;
    if (of_ours && greeting)
        answer(h.sender, session_, expected_, send);
    else if (!of_ours)
        answer(h.sender, offered_, 1, send);
}

/// What was adopted before stays until everything has been told: as long it is better than nothing.
template <class Engine>
void sync_receiver<Engine>::begin_session(sync_head const& h) noexcept {
    session_ = offered_;
    offered_ = named(offered_ + 1);
    sender_ = h.sender;
    expected_ = 1;
    caught_up_ = wants_again_ = false;
    ++counters_.sessions;
    journal_.doubt_all();
}

template <class Engine>
template <class Send>
void sync_receiver<Engine>::answer(std::uint64_t sender, std::uint64_t session, std::uint64_t next, Send&& send) {
    std::array<std::uint8_t, shortest_sync_frame> room;
    sync_writer w(room, {.kind = sync_kind::answer, .sender = sender, .receiver = session, .number = next});
    send(byte_view(room).first(w.finish(key_)));
}

template <class Engine>
void sync_receiver<Engine>::apply(sync_reading const& r, time_point now) noexcept {
    struct visitor {
        sync_receiver& self;
        time_point now;
        void operator()() const noexcept { self.catch_up(now); }
        void operator()(flow_key<std::uint32_t> const& key) const noexcept { self.remove(key, now); }
        void operator()(flow_key<ipv6_bytes> const& key) const noexcept { self.remove(key, now); }
        void operator()(sync_event, flow_state<std::uint32_t> const& told) const noexcept { self.take(told, now); }
        void operator()(sync_event, flow_state<ipv6_bytes> const& told) const noexcept { self.take(told, now); }
    };
    static_cast<void>(visit_sync_events(r.events, r.head.events, visitor{*this, now}));  // read_sync_frame() has found them well-formed
}

/// What was told last is true: whatever stands in its way and was told earlier is over. At most its two tuples can.
template <class Engine>
template <class Address>
void sync_receiver<Engine>::take(flow_state<Address> const& told, time_point now) noexcept {
    adoption_result r = engine_.adopt(told, now);
    for (int n = 0; n < 2 && r.what == adoption::tuple_in_use; ++n) {
        if (!journal_.is_adopted<Address>(r.number) || engine_.template lives_here<Address>(r.number)) break;
        engine_.template forget<Address>(r.number, now);
        ++counters_.replaced;
        r = engine_.adopt(told, now);
    }
    ++counters_.adoptions[static_cast<std::size_t>(r.what)];
    if (r.what == adoption::adopted || (r.what <= adoption::lives_here && journal_.is_adopted<Address>(r.number)))
        journal_.set_adopted<Address>(r.number);
    else if (r.what > adoption::lives_here)
        wants_again_ = true;
}

template <class Engine>
template <class Address>
void sync_receiver<Engine>::remove(flow_key<Address> const& key, time_point now) noexcept {
    auto const number = engine_.find_flow(key);
    if (!number || !journal_.is_adopted<Address>(*number) || engine_.template lives_here<Address>(*number)) {
        ++counters_.removed_unknown;
        return;
    }
    engine_.template forget<Address>(*number, now);
    ++counters_.removed;
}

template <class Engine>
template <class Address>
std::uint64_t sync_receiver<Engine>::sweep(time_point now) noexcept {
    std::uint64_t swept = 0;
    for (std::uint32_t n = 0; n < engine_.template flow_limit<Address>(); ++n) {
        if (!journal_.is_adopted<Address>(n) || journal_.is_confirmed<Address>(n) || engine_.template lives_here<Address>(n)) continue;
        engine_.template forget<Address>(n, now);
        ++swept;
    }
    return swept;
}

/// When what was swept may have held the port or the room that others were refused for, everything is heard once more. That ends: the second time nothing is swept.
template <class Engine>
void sync_receiver<Engine>::catch_up(time_point now) noexcept {
    std::uint64_t const swept = sweep<std::uint32_t>(now) + sweep<ipv6_bytes>(now);
    counters_.swept += swept;
    if (swept != 0 && wants_again_) {
        session_ = 0;
        return;
    }
    caught_up_ = true;
    ++counters_.caught_up;
}

template <class Engine>
std::uint64_t sync_receiver<Engine>::refused() const noexcept {
    std::uint64_t sum = 0;
    for (std::size_t i = static_cast<std::size_t>(adoption::lives_here) + 1; i < adoption_count; ++i) sum += counters_.adoptions[i];
    return sum;
}

}  // namespace halfproxy
