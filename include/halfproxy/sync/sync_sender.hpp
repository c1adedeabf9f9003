// SPDX-License-Identifier: BSL-1.0
// Tells another half proxy of an engine's flows, and sees to it that nothing is lost on the way.
//
//      sender                                        receiver
//        | flows, number 0: who is there? ----------->|
//        |<----------- answer: a name for the session |        a new name for every session: nothing of an earlier one counts any more
//        | flows 1, 2, ...: all there is ------------>|
//        |<---------------------------- answer, next n|        what is not acknowledged is sent again
//        | flows n: caught up ----------------------->|
//        | flows n + 1: news, and all again by and by>|
#pragma once

#include <halfproxy/core/bytes.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/sync/sync_frame.hpp>
#include <halfproxy/sync/sync_journal.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace halfproxy {

struct sync_sender_config {
    siphash_key key{};              ///< both half proxies', and nobody else's
    std::uint64_t instance = 0;     ///< random, another one for every sender that is made
    std::uint16_t frame_bytes = 1'400;  ///< longest frame: 185 to longest_sync_frame
    std::uint16_t window = 64;          ///< frames on their way, at least 1
    timeout_ms resend_after = 100;      ///< without an answer
    std::uint8_t resends = 20;          ///< then the other is taken for lost, and greeted
    timeout_ms refresh_every = 10'000;  ///< each flow; shorter than any timeout of flows
    timeout_ms sign_of_life = 1'000;    ///< a frame without events, when nothing else was sent; and between greetings
    std::uint32_t least_packets = 3;    ///< both ways: flows other than TCP with fewer are not told
    std::uint32_t looks_per_step = 4'096;  ///< at flows, in one call of step()
};

enum class sync_stage : std::uint8_t {
    seeking,      ///< nobody answers
    telling_all,  ///< the other is being told of every flow
    following,    ///< it has been told of all, and hears what changes
};

struct sync_sender_counters {
    std::uint64_t frames = 0;      ///< sent for the first time, greetings not counted
    std::uint64_t resent = 0;
    std::uint64_t greetings = 0;
    std::uint64_t added = 0;
    std::uint64_t refreshed = 0;
    std::uint64_t removed = 0;
    std::uint64_t sessions = 0;    ///< begun: each tells everything anew
    std::uint64_t lost = 0;        ///< sessions that ended since nobody answered,
    std::uint64_t restarted = 0;   ///< since the other was restarted or wanted all again,
    std::uint64_t overflowed = 0;  ///< since the journal had no room
    std::uint64_t answers = 0;
    std::uint64_t answers_old = 0;  ///< of another session, or of what was acknowledged before
    std::uint64_t misdirected = 0;  ///< frames that are for a receiver
    std::array<std::uint64_t, sync_fault_count> faults{};
};

/// Borrows the engine, whose observer is a sync_tap of the journal. All memory is allocated in the constructor. One thread at a time, the engine's. Sends by calling
/// send(byte_view), whose bytes live during the call; loss, repetition and disorder are allowed.
template <class Engine>
class sync_sender {
  public:
    sync_sender(sync_sender_config const& config, Engine& engine, sync_journal& journal);

    /// Sends what is to be sent now: to be called every few milliseconds, and when something was heard. Work: at most `window` frames and `looks_per_step` flows.
    template <class Send>
    void step(time_point now, Send&& send);

    /// A frame from the other. Whatever it is, nothing worse happens than that it is counted.
    void hear(byte_view frame, time_point now) noexcept;

    [[nodiscard]] sync_stage stage() const noexcept { return stage_; }
    [[nodiscard]] std::uint32_t on_their_way() const noexcept { return static_cast<std::uint32_t>(next_ - oldest_); }
    [[nodiscard]] sync_sender_counters const& counters() const noexcept { return counters_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return memory_.size() + frames_.size() * sizeof(frames_[0]) + sizeof(*this); }

  private:
    [[nodiscard]] std::span<std::uint8_t> slot(std::uint64_t number) noexcept {
        return std::span(memory_).subspan(number % config_.window * config_.frame_bytes, config_.frame_bytes);
    }
    [[nodiscard]] std::uint32_t flows() const noexcept {
        return engine_.template flow_limit<std::uint32_t>() + engine_.template flow_limit<ipv6_bytes>();
    }
    void seek() noexcept;
    void begin_telling(std::uint64_t receiver, time_point now) noexcept;
    template <class Send>
    void greet(time_point now, Send&& send);
    template <class Send>
    [[nodiscard]] bool send_again(time_point now, Send&& send);
    template <class Send>
    [[nodiscard]] bool tell_some(time_point now, bool sign_of_life, Send&& send);
    template <class Address>
    [[nodiscard]] std::optional<flow_state<Address>> ready(std::uint32_t number) const noexcept;
    template <class Address>
    [[nodiscard]] bool tell_removals(sync_writer& w) noexcept;
    template <class Address>
    [[nodiscard]] bool tell_queued(sync_writer& w) noexcept;
    [[nodiscard]] bool walk(sync_writer& w, time_point now) noexcept;
    template <class Address>
    [[nodiscard]] bool visit(sync_writer& w, std::uint32_t number) noexcept;

    sync_sender_config config_;
    Engine& engine_;
    sync_journal& journal_;
    std::vector<std::uint8_t> memory_;  ///< of frames on their way
    std::vector<std::uint16_t> frames_;  ///< their lengths
    sync_stage stage_ = sync_stage::seeking;
    std::uint64_t session_;
    std::uint64_t receiver_ = 0;
    std::uint64_t next_ = 1;    ///< frame
    std::uint64_t oldest_ = 1;  ///< that is not acknowledged
    std::uint8_t tries_ = 0;
    time_point waiting_since_{};
    std::optional<time_point> sent_last_{};
    std::uint32_t cursor_ = 0;  ///< flows looked at of those of this round
    time_point round_began_{};
    std::uint32_t looks_ = 0;  ///< left in this step
    sync_sender_counters counters_{};
};

}  // namespace halfproxy

#include <halfproxy/sync/impl/sync_sender.hpp>
