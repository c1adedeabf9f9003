// SPDX-License-Identifier: BSL-1.0
// Health checks of servers, as packets that go the way the data goes: in and out of the ports, not of the kernel's sockets.
//
// A check is answered to an address of ours, at a port from `first_port` on, which nobody else here uses: source NAT begins at 1024. Who owns the ports
// (run/routed_engine.hpp) shows each frame to take(), calls advance() when next_deadline() says so, and writes link addresses on what comes out of it.
// Time, packets and randomness are arguments, as with the engine.
//
//     server --> port --> take() ours? ------------> what it means for its check
//     router <-- outbox <-- advance(): SYN, GET, echo request, datagram, RST; results, and what follows from them
#pragma once

#include <halfproxy/balance/health_check.hpp>
#include <halfproxy/balance/indexed_heap.hpp>
#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/outbox.hpp>
#include <halfproxy/core/random.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/run/health_state.hpp>
#include <halfproxy/run/http_answer.hpp>
#include <halfproxy/run/probe_connection.hpp>
#include <halfproxy/wire/parse.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace halfproxy {

/// One server to be checked. Its check has no fault (balance/health_check.hpp).
struct health_target {
    health_check check{};
    ip_address address{};
    std::uint16_t port = 0;    ///< not for icmp
    ip_address source{};       ///< of ours, of the same family
    std::uint16_t mtu = 1'500; ///< of the port that leads there
    health initially = health::up;  ///< until checks say otherwise

    /// Whether what is known of the other one's checks goes for these.
    [[nodiscard]] bool is_checked_alike(health_target const& other) const noexcept {
        return check == other.check && address == other.address && port == other.port && source == other.source;
    }
};

/// What a check has found.
enum class health_finding : std::uint8_t {
    none,  ///< no check has ended yet
    connected,
    answered,
    good_status,
    body_found,
    // From here on they are bad.
    no_answer,     ///< in time
    refused,       ///< a RST answered the SYN
    reset,         ///< a RST ended the connection
    bad_status,
    body_not_found,
    cut,           ///< the stream ended before the answer
    not_http,
    other_answer,  ///< a datagram with something else than what is expected
};

struct health_result {
    health_finding found = health_finding::none;
    unsigned status = 0;  ///< http: of the answer, if there was one

    [[nodiscard]] constexpr bool good() const noexcept { return found != health_finding::none && found < health_finding::no_answer; }
};

/// "connected", "status 503", "no answer in time"
[[nodiscard]] std::string text_of(health_result const& r);

/// Of one server.
struct health_target_counters {
    std::uint64_t good = 0;
    std::uint64_t bad = 0;
    std::uint64_t transitions = 0;
};

/// Of all together. Frames that are for a check, but damaged, are dropped under their reason.
struct health_counters {
    std::uint64_t packets_sent = 0;
    std::uint64_t packets_taken = 0;
    std::array<std::uint64_t, drop_reason_count> dropped{};
};

/// Allocates in its constructor only. At most `most_at_once` checks are in progress, others wait. Work: of take() a comparison for each address of ours, and of
/// what is for a check its bytes; of advance() at most `checks_per_advance` checks, each with log2(targets) steps and at most `frames_per_check` packets.
class health_checks {
  public:
    using target_number = std::uint32_t;  ///< in the order they were given
    /// Told of each transition, from within advance().
    using change_callback = std::function<void(target_number, health, health_result const&)>;

    static constexpr std::uint16_t first_port = 512;
    static constexpr std::uint32_t most_at_once = 512;
    static constexpr std::uint32_t checks_per_advance = 16;
    static constexpr std::size_t frames_per_check = 12;

    /// The checks' packets leave through `exit`, and answers are taken from there. What `before` knows of those that it checked alike is taken over, its
    /// counters too; checks that were in progress there begin anew. Work: targets times targets, then.
    health_checks(std::vector<health_target> const& targets, side exit, std::uint64_t seed, change_callback changed, health_checks const* before = nullptr);
    health_checks(health_checks const&) = delete;
    health_checks& operator=(health_checks const&) = delete;

    /// True: the frame was for a check, its outcome is `hold`, or `drop` when it is damaged. False: it is as it was.
    [[nodiscard]] bool take(frame& f, time_point now) noexcept;

    /// Begins checks that are due, sends what they have to send, ends those that are decided or late. Packets are put into `out` complete but for their
    /// Ethernet addresses. Call again when next_deadline() is still past.
    void advance(time_point now, outbox& out) noexcept;
    [[nodiscard]] std::optional<time_point> next_deadline() const noexcept;

    /// No check begins from now on.
    void drain() noexcept { draining_ = true; }

    [[nodiscard]] std::size_t size() const noexcept { return targets_.size(); }
    [[nodiscard]] health state(target_number n) const noexcept { return targets_[n].state.state(); }
    [[nodiscard]] health_result const& last_result(target_number n) const noexcept { return targets_[n].last; }
    [[nodiscard]] health_target_counters const& counters(target_number n) const noexcept { return targets_[n].counters; }
    [[nodiscard]] health_counters const& counters() const noexcept { return counters_; }
    [[nodiscard]] std::uint32_t running() const noexcept { return running_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept;

  private:
    struct target {
        target(health_target const& t, std::uint64_t seed);

        health_target const to;
        std::string const request;  ///< http
        health_state state;
        health_schedule schedule;
        std::optional<http_answer> answer{};  ///< http
        probe_connection connection{};
        health_result found{};  ///< by the check in progress
        health_result last{};
        health_target_counters counters{};
        std::uint16_t source_port = 0;  ///< 0: no check is in progress. ICMP: the echo's identifier
        std::uint16_t echo_sequence = 0;
        bool datagram_due = false;  ///< icmp, udp
        time_point begun{};
        time_point retry_at{};
    };

    [[nodiscard]] target_number who_asked(const_packet_view const& packet) const noexcept;
    [[nodiscard]] bool is_ours(frame const& f) const noexcept;
    void take_tcp(target& t, const_packet_view const& packet) noexcept;
    void take_answer(target& t, probe_connection::reading const& r) noexcept;
    void take_datagram(target& t, const_packet_view const& packet) noexcept;
    void take_over(health_checks const& before);
    void serve(target_number n, time_point now, outbox& out) noexcept;
    [[nodiscard]] bool begin(target_number n, time_point now) noexcept;
    void end(target_number n, time_point now, outbox& out) noexcept;
    void emit(target& t, outbox& out) noexcept;
    void send(target const& t, probe_segment const& s, outbox& out) noexcept;
    void send_datagram(target& t, outbox& out) noexcept;
    [[nodiscard]] static packet_clock::duration retry_after(target const& t) noexcept;

    static constexpr target_number nobody = ~target_number{0};

    std::deque<target> targets_{};  ///< never moved: answers look into checks
    std::vector<ip_address> sources_{};
    indexed_heap<std::int64_t> due_;      ///< ns since the clock's epoch
    indexed_heap<std::int64_t> waiting_;  ///< for a port, since then
    std::array<target_number, most_at_once> asked_by_;  ///< by source port
    std::uint32_t next_port_ = 0;
    std::uint32_t running_ = 0;
    std::uint64_t seed_;
    side exit_;
    bool draining_ = false;
    bool started_ = false;
    change_callback changed_;
    health_counters counters_{};
};

}  // namespace halfproxy

#include <halfproxy/run/impl/health_checks.hpp>
