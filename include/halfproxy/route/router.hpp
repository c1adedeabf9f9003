// SPDX-License-Identifier: BSL-1.0
// A router's two stages around an engine: what is done with a frame before it, and where a packet goes after it.
//
// Read RFC 1812 sections 4.2.2.9, 4.3.3 and 5.2, RFC 4443, RFC 5227 and RFC 8200 first. run/routed_engine.hpp puts the stages around an engine.
//
//     frame --> arrive(): ours? ARP, ND, ping, TTL --> engine --> depart(): route, MTU, next hop, link addresses --> port
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/frame_pool.hpp>
#include <halfproxy/core/outbox.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/core/token_bucket.hpp>
#include <halfproxy/core/verdict.hpp>
#include <halfproxy/route/icmp_answer.hpp>
#include <halfproxy/route/local_addresses.hpp>
#include <halfproxy/route/neighbour_messages.hpp>
#include <halfproxy/route/neighbours.hpp>
#include <halfproxy/route/routes.hpp>
#include <halfproxy/wire/parse.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace halfproxy {

/// What becomes of a packet's sender when the packet cannot be delivered.
enum class unreachable_policy : std::uint8_t {
    icmp,  ///< it is told: no route, host unreachable
    drop,  ///< it is not
};

/// One port: its link address, and the longest IP packet it sends.
struct router_port {
    mac_address mac{};
    std::uint32_t mtu = 1'500;
};

/// Entries of `addresses` and `routes` must have no problem (route/routes.hpp).
struct router_config {
    std::array<router_port, 2> ports{};  ///< by side
    std::vector<port_address> addresses{};
    std::vector<static_route> routes{};
    std::vector<local_address> answered{};  ///< besides those of the ports: virtual services, NAT pools
    neighbour_config neighbours{};
    unreachable_policy unreachable = unreachable_policy::icmp;
    std::uint32_t icmp_per_second = 1'000;  ///< ICMP errors and RSTs of ours together; echo replies as many again
    std::uint64_t seed = 0;

    /// Says of addresses that the engine takes what comes to them, and that their links are to be told: what a service or a pool adds.
    void answer_for(std::span<ip_address const> taken, bool echo = true);
};

/// received == passed + answered + taken + dropped_on_arrival; dropped_total() is those and what was dropped on the way out or after waiting.
struct router_counters {
    std::uint64_t received = 0;
    std::uint64_t passed = 0;    ///< to the engine
    std::uint64_t answered = 0;  ///< became an answer in place: ping, ARP, an ICMP error
    std::uint64_t taken = 0;     ///< told us of a neighbour
    std::uint64_t dropped_on_arrival = 0;
    std::uint64_t waited = 0;    ///< for their next hop's link address
    std::uint64_t delivered = 0; ///< of those: left when it was known
    std::array<std::uint64_t, drop_reason_count> dropped{};

    std::uint64_t echo_replies = 0;
    std::uint64_t hops_exceeded_sent = 0;
    std::uint64_t too_big_sent = 0;
    std::uint64_t unreachable_sent = 0;  ///< of all kinds
    std::uint64_t resets_sent = 0;
    std::uint64_t answers_limited = 0;   ///< ICMP errors, RSTs and echo replies not sent: too many
    std::uint64_t questions_sent = 0;    ///< ARP requests, neighbour solicitations
    std::uint64_t answers_sent = 0;      ///< to others' questions
    std::uint64_t announcements_sent = 0;
    std::uint64_t address_conflicts = 0; ///< another host uses an address of ours (RFC 5227 section 2.4)

    [[nodiscard]] std::uint64_t dropped_total() const noexcept {
        std::uint64_t sum = 0;
        for (std::uint64_t n : dropped) sum += n;
        return sum;
    }
};

/// Where a packet leaves, or why it does not.
struct departure {
    verdict outcome = verdict::forward;  ///< forward, hold, drop
    side exit = side::outside;
    drop_reason reason = drop_reason::none;
};

namespace detail {

struct arrival_decision {
    verdict outcome = verdict::forward;
    drop_reason reason = drop_reason::none;
};

}  // namespace detail

/// All memory is allocated in the constructor. Ethernet without VLAN tags; group addresses are not forwarded. ICMP errors about packets that
/// the engine has seen are made of what left the engine and must go back through it, which knows how the sender sees its packet: errors_waiting().
class router {
  public:
    explicit router(router_config const& config);

    /// From now on these addresses, routes and answered addresses, and this policy; the rest of the configuration stays. Neighbours stay known; all addresses are announced anew.
    /// Between bursts; allocates, and when that throws nothing has changed.
    void configure(router_config const& next);

    /// Before each burst and each advance: the time, and that what was put into an outbox has been sent.
    void begin(time_point now) noexcept;

    /// True: the frame goes on to the engine, its TTL or hop limit lowered. False: outcome and reason are decided; reply leaves through the
    /// port it came from. Packets that waited for what the frame tells leave through `out`.
    [[nodiscard]] bool arrive(frame& f, outbox& out) noexcept;

    /// Of a frame that is to leave: finds the way, writes the link addresses. `engine_exit` is where the engine meant it to leave; `tell`, whether
    /// its sender may be told that it does not; `next_hop`, of version 0 for none, where it goes instead of to its destination. Held frames are copied.
    [[nodiscard]] departure depart(frame& f, side engine_exit, bool tell, ip_address const& next_hop = {}) noexcept;

    /// The same of everything in the outbox from the `first`-th frame on. `next_hop(via)` says what frame::via stands for.
    template <class NextHop>
    void depart(outbox& out, std::size_t first, NextHop const& next_hop) noexcept;
    void depart(outbox& out, std::size_t first) noexcept {
        depart(out, first, [](std::uint32_t) { return ip_address{}; });
    }

    /// After those: questions to neighbours, announcements. A bounded number; call again when next_deadline() is still past.
    void finish(outbox& out) noexcept;

    [[nodiscard]] std::optional<time_point> next_deadline() const noexcept;

    /// ICMP errors on their way to the engine, as if they arrived from where the packet in question was to leave. begin_errors() lists at most
    /// errors.size() of them; when the engine has decided on them, end_errors() sends those that may leave.
    [[nodiscard]] bool errors_waiting() const noexcept { return !errors_queue_.empty(); }
    [[nodiscard]] std::size_t begin_errors(std::span<frame> errors) noexcept;
    template <class NextHop>
    void end_errors(std::span<frame const> errors, outbox& out, NextHop const& next_hop) noexcept;
    void end_errors(std::span<frame const> errors, outbox& out) noexcept {
        end_errors(errors, out, [](std::uint32_t) { return ip_address{}; });
    }

    [[nodiscard]] router_counters const& counters() const noexcept { return counters_; }
    [[nodiscard]] neighbour_cache const& neighbours() const noexcept { return neighbours_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return neighbours_.memory_bytes() + errors_.memory_bytes() + locals_.memory_bytes() + routes_.memory_bytes() +
               own_.size() * sizeof(local_address) + sizeof(*this);
    }

    static constexpr std::uint32_t error_slots = 64;
    static constexpr std::uint32_t announcements_per_call = 16;
    static constexpr std::uint32_t announcement_rounds = 2;                 ///< RFC 5227 ANNOUNCE_NUM
    static constexpr std::chrono::seconds announcement_interval{2};         ///< RFC 5227 ANNOUNCE_INTERVAL
    static constexpr std::chrono::seconds defend_interval{10};              ///< RFC 5227 DEFEND_INTERVAL

  private:
    using decision = detail::arrival_decision;
    static constexpr decision passed{};
    static constexpr decision answered{verdict::reply};
    [[nodiscard]] static constexpr decision drop(drop_reason reason) noexcept { return {verdict::drop, reason}; }

    // --- impl/router_arrival.hpp ----------------------------------------------------------------------------------------
    [[nodiscard]] decision on_arrival(frame& f, outbox& out) noexcept;
    [[nodiscard]] decision ipv4(frame& f, mac_address const& to) noexcept;
    [[nodiscard]] decision ipv6(frame& f, mac_address const& to, outbox& out) noexcept;
    [[nodiscard]] decision arp(frame& f, mac_address const& to, outbox& out) noexcept;
    [[nodiscard]] decision not_for_us(mac_address const& to) const noexcept;
    [[nodiscard]] decision to_local(frame& f, local_address const& local, outbox* out) noexcept;
    [[nodiscard]] decision to_group(frame& f, outbox& out) noexcept;
    [[nodiscard]] decision to_nobody(frame& f, const_packet_view const& packet) noexcept;
    [[nodiscard]] decision echo(frame& f, const_packet_view const& packet) noexcept;
    [[nodiscard]] decision reset(frame& f, const_packet_view const& packet) noexcept;
    [[nodiscard]] decision message(frame& f, neighbour_message const& m, outbox& out) noexcept;
    [[nodiscard]] decision lower_hops(frame& f, std::uint8_t version) noexcept;
    [[nodiscard]] decision hops_exceeded(frame& f) noexcept;
    [[nodiscard]] bool answer(frame& f, const_packet_view const& packet, icmp_problem problem) noexcept;
    void defend(local_address const& own) noexcept;
    void release(neighbour& n, outbox& out) noexcept;

    // --- impl/router_departure.hpp --------------------------------------------------------------------------------------
    [[nodiscard]] departure find_way(frame& f, side engine_exit, bool tell, ip_address const& next_hop) noexcept;
    [[nodiscard]] departure to_neighbour(frame& f, ip_address const& next_hop, side exit, side engine_exit, bool tell) noexcept;
    [[nodiscard]] bool is_broadcast(ip_address const& a) const noexcept;
    void tell_sender(frame const& f, side engine_exit, icmp_problem problem, std::uint32_t mtu = 0) noexcept;
    void write_link(std::uint8_t* frame, side exit, mac_address const& to) const noexcept;
    [[nodiscard]] bool ask(neighbour const& n, mac_address const* at, outbox& out) noexcept;
    [[nodiscard]] bool announce(local_address const& own, outbox& out) noexcept;
    void announce_next(outbox& out) noexcept;

    [[nodiscard]] ip_address address_on(side port, std::uint8_t version) const noexcept;
    [[nodiscard]] ip_address address_towards(side port, ip_address const& neighbour) const noexcept;
    [[nodiscard]] router_port const& port(side s) const noexcept { return config_.ports[static_cast<std::size_t>(s)]; }
    [[nodiscard]] stamp_ms stamp() const noexcept {
        return {static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now_.time_since_epoch()).count())};
    }

    router_config config_;
    route_table routes_;
    std::vector<local_address> own_;  ///< in the order they are announced
    local_addresses locals_;
    std::vector<ip_address> broadcasts_;
    neighbour_cache neighbours_;
    frame_pool errors_;
    frame_queue errors_queue_{};
    token_bucket icmp_;
    token_bucket echo_;
    router_counters counters_{};
    std::uint64_t gave_way_ = 0;  ///< what neighbours_ had dropped when last looked at
    time_point now_{};
    time_point announce_at_{};
    std::size_t announced_ = 0;   ///< of own_, in this round
    std::uint32_t rounds_ = 0;
    std::optional<local_address> defended_{};
    std::optional<time_point> defended_at_{};
    bool started_ = false;
};

}  // namespace halfproxy

#include <halfproxy/route/impl/router_arrival.hpp>
#include <halfproxy/route/impl/router_departure.hpp>
