// SPDX-License-Identifier: BSL-1.0
// Hears of another half proxy's flows and adopts them, so that its connections go on through this one when that one fails.
//
// They are adopted at once, not when the other has failed. So a take-over needs nothing but packets that come here; what a flow holds (its port, its share of a
// backend) is taken while the other still lives, so that both can never give it to somebody else; and what cannot be adopted is known while there is time.
#pragma once

#include <halfproxy/core/bytes.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/sync/sync_frame.hpp>
#include <halfproxy/sync/sync_journal.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace halfproxy {

struct sync_receiver_config {
    siphash_key key{};           ///< both half proxies', and nobody else's
    std::uint64_t instance = 0;  ///< random, another one for every receiver that is made
};

struct sync_receiver_counters {
    std::uint64_t frames = 0;     ///< applied
    std::uint64_t duplicate = 0;  ///< applied before
    std::uint64_t ahead = 0;      ///< one before it is missing: it comes again
    std::uint64_t replayed = 0;   ///< of a session that is over, or was never begun
    std::uint64_t greetings = 0;
    std::uint64_t misdirected = 0;   ///< frames that are for a sender
    std::uint64_t not_standby = 0;   ///< after take_over()
    std::uint64_t sessions = 0;
    std::uint64_t caught_up = 0;
    std::uint64_t removed = 0;
    std::uint64_t removed_unknown = 0;  ///< were not there, or live here
    std::uint64_t replaced = 0;  ///< stood in the way of one that is newer
    std::uint64_t swept = 0;     ///< of an earlier session, and not told again
    std::array<std::uint64_t, adoption_count> adoptions{};  ///< what became of those told
    std::array<std::uint64_t, sync_fault_count> faults{};
};

/// Borrows the engine, whose observer is a sync_tap of the journal. Allocates nothing. One thread at a time, the engine's, between bursts.
template <class Engine>
class sync_receiver {
  public:
    sync_receiver(sync_receiver_config const& config, Engine& engine, sync_journal& journal) noexcept
        : key_(config.key), engine_(engine), journal_(journal), offered_(named(config.instance)) {}

    /// A frame from the other. Frames are applied in the order of their numbers, each once. The answer, if there is one, is sent by calling send(byte_view), whose
    /// bytes live during the call. Work: linear in the frame; at the beginning of a session and when all was told, in the flows of the limits.
    template <class Send>
    void hear(byte_view frame, time_point now, Send&& send);

    /// All of the other's flows were told, up to a moment ago as long as it lives. Whoever claims its addresses waits for this first.
    [[nodiscard]] bool caught_up() const noexcept { return caught_up_; }

    /// The other is gone: its flows are ours, and nothing is heard any more. For the other's return make a sender; to stand by again, another receiver.
    void take_over() noexcept {
        standby_ = false;
        journal_.own_all();
    }

    [[nodiscard]] sync_receiver_counters const& counters() const noexcept { return counters_; }
    [[nodiscard]] std::uint64_t refused() const noexcept;

  private:
    /// 0 is nobody's name.
    [[nodiscard]] static constexpr std::uint64_t named(std::uint64_t n) noexcept { return n == 0 ? 1 : n; }
    [[nodiscard]] bool in_session(sync_head const& h) const noexcept { return session_ != 0 && h.sender == sender_ && h.receiver == session_; }
    void begin_session(sync_head const& h) noexcept;
    template <class Send>
    void answer(std::uint64_t sender, std::uint64_t session, std::uint64_t next, Send&& send);
    template <class Send>
    void outside_session(sync_head const& h, Send&& send);
    void apply(sync_reading const& r, time_point now) noexcept;
    template <class Address>
    void take(flow_state<Address> const& told, time_point now) noexcept;
    template <class Address>
    void remove(flow_key<Address> const& key, time_point now) noexcept;
    template <class Address>
    [[nodiscard]] std::uint64_t sweep(time_point now) noexcept;
    void catch_up(time_point now) noexcept;

    siphash_key key_;
    Engine& engine_;
    sync_journal& journal_;
    std::uint64_t offered_;      ///< name of the next session
    std::uint64_t session_ = 0;  ///< of this one; 0: none
    std::uint64_t sender_ = 0;
    std::uint64_t expected_ = 1;
    bool caught_up_ = false;
    bool standby_ = true;
    bool wants_again_ = false;  ///< something was refused that what is swept may have held
    sync_receiver_counters counters_{};
};

}  // namespace halfproxy

#include <halfproxy/sync/impl/sync_receiver.hpp>
