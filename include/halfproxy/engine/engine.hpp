// SPDX-License-Identifier: BSL-1.0
// The half proxy itself: bursts of packets in, verdicts and packets out. No clock, socket, thread or allocation.
//
// Reading order: process() in impl/engine.hpp is the path of every packet; impl/tcp_path.hpp what becomes of TCP; impl/guard_path.hpp whether a
// SYN is challenged, impl/challenge.hpp its cookie; impl/splice.hpp and impl/connecting.hpp the handshake with the server; impl/announcement.hpp
// how the server is told who the client is; impl/datagram_path.hpp UDP and ICMP, impl/fragment_path.hpp fragments, impl/service_path.hpp and
// impl/tunnel_path.hpp what virtual services want, impl/ended_flows.hpp what ends flows before their time, impl/lifecycle.hpp how flows begin, age and end,
// impl/adoption.hpp how another engine goes on with them.
// Which addresses a flow gets is a policy's business (policies.hpp): address_plan.hpp has one.
#pragma once

#include <halfproxy/admit/acl.hpp>
#include <halfproxy/admit/exemption.hpp>
#include <halfproxy/admit/guard.hpp>
#include <halfproxy/admit/limits.hpp>
#include <halfproxy/admit/syn_cookie.hpp>
#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/frame_pool.hpp>
#include <halfproxy/core/outbox.hpp>
#include <halfproxy/core/random.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/core/token_bucket.hpp>
#include <halfproxy/engine/backend_profile.hpp>
#include <halfproxy/engine/config.hpp>
#include <halfproxy/engine/counters.hpp>
#include <halfproxy/engine/flow.hpp>
#include <halfproxy/engine/flow_state.hpp>
#include <halfproxy/engine/handshake.hpp>
#include <halfproxy/engine/policies.hpp>
#include <halfproxy/route/icmp_answer.hpp>
#include <halfproxy/track/flow_table.hpp>
#include <halfproxy/track/fragments.hpp>
#include <halfproxy/track/tcp_tracker.hpp>
#include <halfproxy/track/timer_wheel.hpp>
#include <halfproxy/translate/client_option.hpp>
#include <halfproxy/translate/encapsulation.hpp>
#include <halfproxy/translate/fast_open.hpp>
#include <halfproxy/translate/nat_rewriter.hpp>
#include <halfproxy/translate/option_edit.hpp>
#include <halfproxy/translate/packet_pieces.hpp>
#include <halfproxy/translate/proxy_protocol.hpp>
#include <halfproxy/translate/seq_shift.hpp>
#include <halfproxy/wire/build.hpp>
#include <halfproxy/wire/parse.hpp>
#include <halfproxy/wire/tcp_options.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace halfproxy {

/// Frames that are read and looked up together.
inline constexpr std::size_t max_burst = 64;

/// Flows looked at, and perhaps made to give way, when the table is full and one more is to be opened.
inline constexpr std::uint32_t eviction_samples = 16;

/// Timer callbacks in one call of advance().
inline constexpr std::uint32_t timers_per_advance = outbox_per_advance / 2;

/// Flows of each family looked at in one call of advance(), when a backend has gone down or rules have changed: fewer, where more rules than these would be
/// asked about them.
inline constexpr std::uint32_t flows_swept_per_advance = 1'024;
inline constexpr std::uint32_t rules_asked_per_advance = 65'536;

/// One family's flows and their timers.
template <class Address>
struct flow_store {
    using table_type = flow_table<flow_key<Address>, flow<Address>, flow_key_hash, memory_source>;

    struct links {
        flow<Address>* records;
        timer_link& link(std::uint32_t number) const noexcept { return records[number].timer; }
    };

    table_type table;
    timer_wheel<links> wheel;
    std::uint64_t generation_at_look_up = 0;  ///< of the table, when this burst's candidates were read

    flow_store(std::uint32_t capacity, std::uint64_t seed, memory_source memory)
        : table(capacity, flow_key_hash(seed), memory), wheel(links{table.records()}) {}

    [[nodiscard]] std::size_t memory_bytes() const noexcept { return table.memory_bytes() + sizeof(*this); }
};

/// What the first fragment of a datagram decided for the others.
template <class Address>
struct fragment_fate {
    Address source{}, destination{};  ///< with which it left
    flow_key<Address> flow{};         ///< of the flow it belongs to, as it came
    tcp_segment segment{};            ///< TCP: in the tracker's numbers, without what is in later fragments
    drop_reason dropped_for = drop_reason::none;
    bool has_flow = false;
    bool hairpin = false;       ///< it leaves through the side it came from
    bool tells_length = false;  ///< TCP: the tracker is still to hear how long the segment is
};

/// A half proxy between two ports. All memory is allocated in the constructor. One thread at a time; use one engine per thread.
template <engine_policies Policies = default_policies>
class engine {
    static constexpr bool keeps_address_state = stateful_address_policy<std::remove_reference_t<decltype(Policies::addresses)>>;

  public:
    explicit engine(engine_config const& config, Policies policies = {});

    /// Decides on every frame, max_burst at a time, in order, rewriting them in place: writes `outcome`, `reason`, and where a
    /// packet changed its size or checksum, `length` and `offload`. Packets that are to leave besides are put into `out`, at most
    /// outbox_per_packet for each frame. `now` is the time of the whole burst. Work per frame: constant, apart from the rules of
    /// acl and guard for packets without flow.
    void process(std::span<frame> burst, time_point now, outbox& out) noexcept;

    /// Runs timers that are due: ends silent flows, repeats SYNs to servers. At most timers_per_advance of them; call again when
    /// next_deadline() is still past.
    void advance(time_point now, outbox& out) noexcept;

    /// When advance() has something to do, or nothing while no flow exists.
    [[nodiscard]] std::optional<time_point> next_deadline() const noexcept;

    /// From now on no SYN is answered or let through; what exists goes on. For a graceful end.
    void drain() noexcept { draining_ = true; }

    /// The clock that engines with one secret share was set: what to add to packet time from now on (engine_config::common_clock). Breaks no connection.
    /// False when an earlier setting is less than three key rotations old: then nothing has changed, say it again later.
    [[nodiscard]] bool set_common_clock(packet_clock::duration common_clock, time_point now) noexcept {
        return cookies_.set_common_clock(common_clock, std::max(now, now_));
    }

    /// From now on these settings, but for what cannot change (changed(), engine/config.hpp). Flows go on, under the new ones; timers that
    /// run already run out as they were. Between bursts; allocates.
    void configure(engine_config const& next);
    /// In force; the secret is not told.
    [[nodiscard]] engine_config const& config() const noexcept { return config_; }

    [[nodiscard]] engine_counters const& counters() const noexcept { return counters_; }
    [[nodiscard]] guard const& guard_status() const noexcept { return guard_; }
    [[nodiscard]] std::uint32_t flows_now() const noexcept { return v4_.table.size() + v6_.table.size(); }
    [[nodiscard]] std::uint32_t flows_peak() const noexcept { return flows_peak_; }
    [[nodiscard]] std::uint32_t half_open() const noexcept { return half_open_; }
    [[nodiscard]] std::uint32_t handshakes_now() const noexcept { return handshakes_.in_use(); }
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return v4_.memory_bytes() + v6_.memory_bytes() + handshakes_.memory_bytes() + exempt_.memory_bytes() + source_limits_.memory_bytes() +
               guard_.memory_bytes() + held_.memory_bytes() + pieces_.memory_bytes() + fragments_v4_.memory_bytes() + fragments_v6_.memory_bytes() + configured_.memory_bytes() + learned_.memory_bytes() + address_bytes() + sizeof(*this);
    }

    /// Calls visit(flow) for every flow of both families.
    template <class Visit>
    void for_each_flow(Visit&& visit) {
        v4_.table.for_each([&](std::uint32_t, ipv4_flow const& f) { visit(f); });
        v6_.table.for_each([&](std::uint32_t, ipv6_flow const& f) { visit(f); });
    }

    // --- Flows of another engine that has failed, or may fail (flow_state.hpp). Numbers of flows are below the configured limit of their family. ----
    /// What another engine needs to go on with a flow, as of the last call of process() or advance(). Nothing where there is no flow of that number, or a TCP
    /// connection that is half-open, reset or ended, or whose client is being announced to the server; or rules bar it by now.
    template <class Address>
    [[nodiscard]] std::optional<flow_state<Address>> state_of(std::uint32_t number) const noexcept;
    /// Whether there is a flow of that number.
    template <class Address>
    [[nodiscard]] bool has_flow(std::uint32_t number) const noexcept {
        return store<Address>().table.is_live(number);
    }
    /// Of numbers.
    template <class Address>
    [[nodiscard]] std::uint32_t flow_limit() const noexcept {
        return store<Address>().table.capacity();
    }
    /// The flow whose client sends so.
    template <class Address>
    [[nodiscard]] std::optional<std::uint32_t> find_flow(flow_key<Address> const& key) const noexcept;
    /// Whether packets of a TCP connection have come here. Of a flow that exists.
    template <class Address>
    [[nodiscard]] bool lives_here(std::uint32_t number) const noexcept;
    /// Takes a flow over, with exactly what it holds: external port, mapping, backend. Rules, guard and limits are not asked: it was let through. When it is not
    /// adopted nothing is taken for it; in a full table another may have given way, as for any newcomer. Between bursts, behind what they sent. Work: as for a flow's
    /// first packet, and for a service's a look at each backend.
    template <class Address>
    [[nodiscard]] adoption_result adopt(flow_state<Address> const& told, time_point now) noexcept
        requires(!keeps_address_state || portable_address_policy<std::remove_reference_t<decltype(Policies::addresses)>>);
    /// Ends a flow without a packet to either end.
    template <class Address>
    void forget(std::uint32_t number, time_point now) noexcept;

    /// What frame::via stands for, for who writes link addresses; of version 0: the packet's own destination.
    [[nodiscard]] ip_address next_hop_of(std::uint32_t via) const noexcept {
        if constexpr (leads_flows)
            return via != 0 ? policies_.addresses.next_hop_of(via) : ip_address{};
        else
            return static_cast<void>(via), ip_address{};
    }

    [[nodiscard]] Policies& policies() noexcept { return policies_; }
    [[nodiscard]] Policies const& policies() const noexcept { return policies_; }

  private:
    [[nodiscard]] std::size_t address_bytes() const noexcept {
        if constexpr (keeps_address_state)
            return policies_.addresses.memory_bytes();
        else
            return 0;
    }

    /// What a frame turned out to be, which decides its path. Those that are looked up in a flow table come last.
    enum class packet_kind : std::uint8_t { foreign, malformed, later_fragment, fragment, icmp_error, tcp, datagram };

    /// A client whose ACK carries a cookie of ours.
    struct proven_client {
        cookie_options options;
        seq_num isn;
    };

    /// What check_cookies() found in an ACK; those it did not look at are checked one by one.
    enum class cookie_finding : std::uint8_t { unchecked, none, valid };

    struct packet {
        packet_view view;
        std::uint64_t hash;
        flow_handle candidate;
        packet_kind kind;
        drop_reason error;
        std::uint16_t whole_bytes;  ///< of a first fragment: of its datagram, behind the IP header; 0 when not known yet
        cookie_finding cookie;
        proven_client client;  ///< of a valid cookie
    };

    struct decision {
        verdict outcome;
        drop_reason reason = drop_reason::none;
    };
    static constexpr decision forwarded{verdict::forward};
    static constexpr decision answered{verdict::reply};
    [[nodiscard]] static constexpr decision drop(drop_reason reason) noexcept { return {verdict::drop, reason}; }

    static constexpr bool leads_flows = service_address_policy<std::remove_reference_t<decltype(Policies::addresses)>>;

    template <class Address>
    struct opened_flow {
        flow<Address>* record;
        drop_reason refusal;  ///< why there is none
    };

    /// What a function of the TCP path needs besides the flow.
    struct tcp_packet {
        packet& p;
        frame& f;
        outbox& out;
        tcp_options options;
    };

    /// An ACK whose cookie is being checked.
    struct claimed_cookie {
        packet* p;
        seq_num isn;  ///< of the cookie
        seq_num client_isn;
        std::uint32_t timestamp_echo;
        bool timestamps;
    };

    /// A SYN that becomes its SYN-ACK when the MACs of its burst are known.
    struct answered_syn {
        packet const* p;
        frame* f;
        cookie_draft draft;
        std::uint8_t flags;
        built_options options;
    };

    /// The cookies of a burst whose MACs are computed together: first of the ACKs that claim to have one, later those for SYNs.
    template <class Address>
    struct cookie_work {
        cookie_burst<sizeof(flow_tuple<Address>) / 8> burst;
        std::array<claimed_cookie, max_burst> claims;
        std::array<answered_syn, max_burst> answers;
    };

    // --- impl/engine.hpp: the path ----------------------------------------------------------------------------------
    void use_rules();
    void begin(time_point now) noexcept;
    void process_piece(std::span<frame> burst, outbox& out) noexcept;
    void read(std::span<frame> burst) noexcept;
    void read_one(std::size_t i, frame& f) noexcept;
    template <class Address>
    void begin_look_up(std::size_t i, packet& p, flow_key<Address> const& k) noexcept;
    [[nodiscard]] bool header_sum_good(packet const& p, frame const& f) const noexcept;
    void classify(packet& p, frame const& f) const noexcept;
    [[nodiscard]] static packet_kind kind_of_whole(packet_view const& view) noexcept;
    void look_up(std::span<frame const> burst) noexcept;
    template <class Address>
    void look_up_one(std::size_t i, frame const& f) noexcept;
    template <tcp_checks Checks>
    void act_on_all(std::span<frame> burst, outbox& out) noexcept;
    template <tcp_checks Checks>
    [[nodiscard]] decision act(std::size_t i, frame& f, outbox& out) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision act_on_flow_packet(std::size_t i, frame& f, outbox& out) noexcept;
    [[nodiscard]] decision malformed(drop_reason reason) noexcept;
    [[nodiscard]] decision rare_options(tcp_packet& t) noexcept;
    [[nodiscard]] decision later_fragment() const noexcept;
    void count(frame& f, decision const& d) noexcept;
    template <class Address>
    [[nodiscard]] flow_key<Address>& key(std::size_t i) noexcept;
    template <class Address>
    [[nodiscard]] flow_store<Address>& store() noexcept;
    template <class Address>
    [[nodiscard]] flow_store<Address> const& store() const noexcept;
    template <class Address>
    [[nodiscard]] cookie_work<Address>& work() noexcept;

    // --- impl/tcp_path.hpp --------------------------------------------------------------------------------------------
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision tcp(packet& p, frame& f, outbox& out, flow_key<Address> const& key, flow_handle found) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] bool passes_as_predicted(packet const& p, frame& f, flow_handle found) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision tcp_of_flow(tcp_packet& t, flow_key<Address> const& key, flow_handle found) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision tcp_of_open_flow(tcp_packet& t, flow_key<Address> const& key, flow_handle found) noexcept;
    template <class Address>
    void note_state(flow<Address>& f, tcp_state before) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision reopen(tcp_packet& t, flow_key<Address> const& key, flow_handle found) noexcept;
    template <class Address>
    [[nodiscard]] decision passed(flow<Address> const& f) const noexcept;
    template <class Address>
    void tell_own_scales(flow<Address>& f) noexcept;
    [[nodiscard]] drop_reason check_decisive(tcp_packet& t) noexcept;
    [[nodiscard]] drop_reason clamp_mss(tcp_packet& t) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] track_result track(flow<Address>& f, direction from, tcp_segment const& segment) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] tcp_segment segment_of(tcp_packet const& t, flow<Address> const& f, direction from) const noexcept;
    template <class Address>
    void replace_addresses(packet const& p, flow<Address> const& f, direction from, header_changes& changes) noexcept;
    template <class Address>
    void translate_predicted(packet const& p, frame& f, flow<Address> const& known, direction from, bool timestamps) noexcept;
    template <class Address>
    void translate_tcp(tcp_packet& t, flow<Address>& f, direction from, seq_num granted) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision tcp_without_flow(tcp_packet& t, flow_key<Address> const& key) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision syn_without_flow(tcp_packet& t, flow_key<Address> const& key) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision pass_syn(tcp_packet& t, flow_key<Address> const& key) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision pick_up_flow(tcp_packet& t, flow_key<Address> const& key) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision ack_without_flow(tcp_packet& t, flow_key<Address> const& key) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision answer_without_flow(tcp_packet& t, flow_key<Address> const& key) noexcept;
    template <class Address>
    [[nodiscard]] bool repeats_old_numbers(flow<Address> const& f, tcp_segment s,
                                           direction from = direction::from_client) const noexcept;
    [[nodiscard]] decision reset_sender(tcp_packet& t) noexcept;
    [[nodiscard]] bool checksums_good(packet const& p, frame const& f) const noexcept;
    [[nodiscard]] decision send_in_place(tcp_packet& t, packet_origin const& origin, tcp_fields const& fields,
                                         built_options const& options, verdict outcome) noexcept;
    [[nodiscard]] decision send_in_place(tcp_packet& t, way direction, tcp_fields const& fields, built_options const& options) noexcept;
    template <class Address>
    [[nodiscard]] decision send_onward(tcp_packet& t, flow<Address> const& f, direction from, tcp_fields const& fields,
                                       built_options const& options) noexcept;

    // --- impl/guard_path.hpp ------------------------------------------------------------------------------------------
    [[nodiscard]] static std::uint32_t exempt_sources(guard_config const& config) noexcept;
    [[nodiscard]] bool honours_cookies(side arrival) const noexcept;
    template <class Address>
    [[nodiscard]] guard_syn guard_syn_of(flow_key<Address> const& key, side arrival) const noexcept;
    template <class Address>
    [[nodiscard]] bool spared(flow_key<Address> const& key) const noexcept;
    template <class Address>
    [[nodiscard]] bool exempt(flow_key<Address> const& key) const noexcept;
    template <class Address>
    [[nodiscard]] bool within_source_limits(flow_key<Address> const& key) noexcept;
    template <class Address>
    [[nodiscard]] bool challenges_now(flow_key<Address> const& key, side arrival) const noexcept;
    template <class Address>
    [[nodiscard]] guard_verdict ask_guard(flow_key<Address> const& key, side arrival, admission wish) noexcept;
    template <class Address>
    [[nodiscard]] guard_verdict ask_each_scope(flow_key<Address> const& key, side arrival, admission wish) noexcept;
    void tell_observer(guard_event const& event) noexcept;
    template <class Address>
    [[nodiscard]] decision challenge(tcp_packet& t, flow_key<Address> const& key) noexcept;
    template <class Address>
    void note_proven(flow_key<Address> const& key, side arrival) noexcept;
    template <class Address>
    [[nodiscard]] decision send_unacceptable_ack(tcp_packet& t, flow_key<Address> const& key) noexcept;
    template <class Address>
    [[nodiscard]] bool proves_by_reset(tcp_packet const& t, flow_key<Address> const& key) noexcept;
    template <class Address>
    [[nodiscard]] decision rst_without_flow(tcp_packet& t, flow_key<Address> const& key) noexcept;
    template <class Address>
    [[nodiscard]] decision reset_proven(tcp_packet& t, flow_key<Address> const& key) noexcept;

    // --- impl/challenge.hpp -------------------------------------------------------------------------------------------
    template <class Address>
    [[nodiscard]] backend_promise const& promise_for(flow_key<Address> const& key, bool timestamps, backend_promise& room) const noexcept;
    template <class Address>
    [[nodiscard]] backend_promise promise_of_known(flow_key<Address> const& key, bool timestamps) const noexcept;
    template <class Address>
    [[nodiscard]] decision send_cookie(tcp_packet& t, flow_key<Address> const& key) noexcept;
    template <class Address>
    void write_cookies() noexcept;
    void check_cookies(std::span<frame const> burst) noexcept;
    template <class Address>
    void claim_cookie(std::size_t i) noexcept;
    template <class Address>
    void check_claims() noexcept;
    template <class Address>
    [[nodiscard]] std::optional<proven_client> check_cookie(tcp_packet const& t, flow_key<Address> const& key) noexcept;
    template <class Address>
    [[nodiscard]] std::optional<proven_client> check_cookie_alone(tcp_packet const& t, flow_key<Address> const& key) noexcept;
    template <class Address>
    [[nodiscard]] std::optional<proven_client> new_incarnation(tcp_packet const& t, flow_key<Address> const& key, flow<Address> const& old,
                                                               direction from, tcp_segment segment) noexcept;
    template <class Address>
    [[nodiscard]] decision challenge_first(tcp_packet& t, flow_key<Address> const& key) noexcept;
    [[nodiscard]] decision syn_ack_without_flow(tcp_packet& t) noexcept;
    [[nodiscard]] decision refuse_ack(tcp_packet& t, drop_reason silent) noexcept;
    [[nodiscard]] decision reset_sender_of_ack(tcp_packet& t) noexcept;

    // --- impl/splice.hpp ----------------------------------------------------------------------------------------------
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision admit_proven(tcp_packet& t, flow_key<Address> const& key, proven_client const& client) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision connect(tcp_packet& t, flow_key<Address> const& key, proven_client const& client) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision ask_server(tcp_packet& t, flow_key<Address> const& key, flow<Address>& f, handshake& h) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision complete(tcp_packet& t, flow<Address>& f) noexcept;
    template <class Address>
    void learn(tcp_packet const& t, flow<Address> const& f, backend_offer const& offered) noexcept;
    template <tcp_checks Checks, class Address>
    void acknowledge_server(outbox_frame& to, tcp_packet const& t, flow<Address>& f, handshake const& h) noexcept;
    template <tcp_checks Checks, class Address>
    void deliver_held(flow<Address>& f, handshake& h, outbox& out) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] bool translate_held(tcp_packet& t, flow<Address>& f) noexcept;
    template <class Address>
    [[nodiscard]] decision ask_without_timestamps(tcp_packet& t, flow<Address>& f) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision tcp_of_mended_flow(tcp_packet& t, flow_key<Address> const& key, flow_handle found) noexcept;
    template <class Address>
    [[nodiscard]] decision repeat_ack(tcp_packet& t, flow<Address> const& f) noexcept;

    // --- impl/announcement.hpp ----------------------------------------------------------------------------------------
    template <class Address>
    [[nodiscard]] seq_shift shift_of(flow<Address> const& f) const noexcept;
    template <class Address>
    [[nodiscard]] client_telling telling_for(flow<Address> const& f) const noexcept;
    template <class Address>
    [[nodiscard]] std::uint8_t announced_bytes(flow<Address> const& f) const noexcept;
    template <class Address>
    void plan_announcement(flow<Address> const& f, handshake& h) const noexcept;
    template <class Address>
    void make_room_for_announcement(tcp_packet& t, flow<Address> const& f) noexcept;
    template <class Address>
    void tell_in_option(frame& f, packet_view const& segment, flow<Address> const& known, direction from) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision tcp_of_unannounced_flow(tcp_packet& t, flow_key<Address> const& key, flow_handle found) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision begin_announcement(tcp_packet& t, flow_key<Address> const& key, flow_handle found, std::uint8_t bytes) noexcept;
    template <tcp_checks Checks, class Address>
    void announce_to_server(outbox_frame& to, tcp_packet const& t, flow<Address>& f, handshake& h) noexcept;
    template <class Address>
    void write_announcement(outbox_frame& to, flow<Address> const& f, handshake const& h, std::uint16_t window) noexcept;
    template <tcp_checks Checks, class Address>
    void follow_announcement(tcp_packet& t, flow<Address>& f, handshake& h) noexcept;
    template <class Address>
    void end_announcement(flow<Address>& f, handshake& h) noexcept;
    template <class Address>
    void aim_reset(tcp_packet& t, flow<Address> const& f, handshake const& h) noexcept;
    template <class Address>
    [[nodiscard]] std::optional<stamp_ms> retry_announcement(std::uint32_t number, outbox& out) noexcept;
    template <class Address>
    void reset_announced(flow<Address> const& f, handshake const& h, outbox& out) noexcept;
    template <class Address>
    [[nodiscard]] std::uint32_t announced_before(flow<Address> const& f, packet_view const& quoted) const noexcept;

    // --- impl/connecting.hpp ------------------------------------------------------------------------------------------
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision while_connecting(tcp_packet& t, flow_handle found) noexcept;
    template <class Address>
    [[nodiscard]] decision client_while_connecting(tcp_packet& t, flow_handle found) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision server_while_connecting(tcp_packet& t, flow_handle found) noexcept;
    [[nodiscard]] decision hold(tcp_packet& t, handshake& h) noexcept;
    template <class Address>
    [[nodiscard]] decision client_gone(tcp_packet& t, flow_handle found) noexcept;
    template <class Address>
    [[nodiscard]] decision refused_by_server(tcp_packet& t, flow_handle found) noexcept;
    template <class Address>
    [[nodiscard]] std::optional<stamp_ms> retry_connecting(std::uint32_t number, outbox& out) noexcept;
    template <class Address>
    void reset_client(flow<Address> const& f, handshake const& h, outbox& out) noexcept;
    template <class Address>
    void release_handshake(flow<Address> const& f) noexcept;

    // --- impl/datagram_path.hpp -----------------------------------------------------------------------------------------
    template <class Address>
    [[nodiscard]] decision datagram(packet& p, frame& f, flow_key<Address> const& key, flow_handle found) noexcept;

    // --- impl/fragment_path.hpp -----------------------------------------------------------------------------------------
    template <class Address>
    using fragments_of = fragment_table<Address, fragment_fate<Address>>;
    template <class Address>
    [[nodiscard]] fragments_of<Address>& fragments() noexcept;
    [[nodiscard]] static fragment_limits limits_of_fragments(engine_config const& config) noexcept;
    [[nodiscard]] bool classify_fragment(packet& p) const noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision fragment(packet& p, frame& f, outbox& out) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision first_fragment(packet& p, frame& f, outbox& out, fragment_fate<Address>& fate) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision first_tcp_fragment(packet& p, frame& f, outbox& out, fragment_fate<Address>& fate) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] drop_reason follow(packet_view const& view, frame& f, std::uint32_t number) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] drop_reason tell_length(flow<Address>& f, direction from, fragment_fate<Address>& fate, std::uint16_t whole_bytes) noexcept;
    void give_up(frame const& fragment, drop_reason reason) noexcept;
    void begin_fragments(outbox& out) noexcept;
    void expire_fragments() noexcept;
    [[nodiscard]] std::optional<stamp_ms> next_fragment_deadline() const noexcept;

    // --- impl/icmp_path.hpp ---------------------------------------------------------------------------------------------
    template <class Address>
    [[nodiscard]] decision icmp_error(packet& p, frame& f) noexcept;
    template <class Address>
    [[nodiscard]] decision icmp_error_about_fragment(packet& p, frame& f, packet_view const& quoted) noexcept;
    template <class Address>
    [[nodiscard]] drop_reason relate(packet const& p, frame const& f, packet_view const& quoted, flow_handle found) noexcept;
    template <class Address>
    void translate_error(packet const& p, frame& f, packet_view const& quoted, flow_handle found) noexcept;

    // --- impl/service_path.hpp -----------------------------------------------------------------------------------------
    template <class Address>
    [[nodiscard]] std::uint32_t number_of(flow<Address> const& f) const noexcept;
    template <class Address>
    void lead_to_station(frame& f, flow<Address> const& known, direction from) noexcept;
    template <class Address>
    void lead_originated(outbox_frame& to, link_type link, flow<Address> const& known, direction from) noexcept;
    template <class Address>
    void leave_room(tcp_packet& t, flow<Address> const& f, direction from, header_changes& changes) noexcept;
    template <class Address>
    [[nodiscard]] bool is_answered_elsewhere(flow<Address> const& known) noexcept;
    template <class Address>
    void tell_opening(flow<Address> const& f, tcp_state before, direction from) noexcept;
    template <class Address>
    [[nodiscard]] bool is_given_up(flow<Address> const& f) noexcept;

    // --- impl/ended_flows.hpp ---------------------------------------------------------------------------------------------
    template <class Address>
    [[nodiscard]] bool is_denied_since(flow<Address> const& f) const noexcept;
    [[nodiscard]] bool backends_went_down() const noexcept;
    [[nodiscard]] bool is_sweeping() const noexcept;
    void sweep_all(outbox& out) noexcept;
    template <class Address>
    [[nodiscard]] std::uint32_t sweep(std::uint32_t at, outbox& out) noexcept;
    template <class Address>
    [[nodiscard]] bool end_flow(std::uint32_t number, bool given_up, outbox& out) noexcept;
    template <class Address>
    [[nodiscard]] decision reset_both(tcp_packet& t, flow<Address> const& f, direction from) noexcept;
    template <tcp_checks Checks, class Address>
    [[nodiscard]] decision tcp_of_ended_flow(tcp_packet& t, flow_key<Address> const& key, flow_handle found) noexcept;
    template <class Address>
    [[nodiscard]] drop_reason ended_before(flow_handle& found) noexcept;

    // --- impl/tunnel_path.hpp --------------------------------------------------------------------------------------------
    [[nodiscard]] decision enter_tunnel(frame& f, decision d) noexcept;
    [[nodiscard]] drop_reason enter_tunnel_beside(frame& f) noexcept;
    [[nodiscard]] decision enter_tunnel_whole(frame& f, packet_view const& whole, tunnel const& into) noexcept;
    [[nodiscard]] decision enter_tunnel_in_pieces(frame& f, packet_view const& whole, tunnel const& into, cutting const& cut) noexcept;
    [[nodiscard]] decision too_big(frame& f, packet_view const& whole, std::uint16_t inner_mtu) noexcept;
    [[nodiscard]] bool waits_for_pieces(frame& f) noexcept;
    void send_pieces(outbox& out) noexcept;

    // --- impl/lifecycle.hpp ---------------------------------------------------------------------------------------------
    template <class Address>
    [[nodiscard]] bool is_fast(flow_key<Address> const& key) const noexcept;
    template <class Address>
    [[nodiscard]] rule_action rule_for(flow_key<Address> const& key) const noexcept;
    template <class Address>
    [[nodiscard]] rule_action rule_of_acl(flow_key<Address> const& key) const noexcept;
    template <class Address>
    [[nodiscard]] opened_flow<Address> open_flow(flow_key<Address> const& key, side arrival, bool proven) noexcept;
    template <class Address>
    flow<Address>& begin_flow(std::uint32_t number, flow_request<Address> const& request, address_answer<Address> const& answer) noexcept;
    template <class Address>
    [[nodiscard]] address_answer<Address> foresee(flow_key<Address> const& key, side arrival) noexcept;
    template <class Address>
    void close_flow(std::uint32_t number) noexcept;
    template <class Address>
    void make_room() noexcept;
    template <class Address>
    void arm(flow<Address>& f, timeout_ms timeout) noexcept;
    template <class Address>
    [[nodiscard]] stamp_ms ask_again(flow<Address> const& f, stamp_ms deadline) const noexcept;
    template <class Address>
    [[nodiscard]] timeout_ms timeout_of_flow(flow<Address> const& f) const noexcept;
    template <class Address>
    [[nodiscard]] std::optional<stamp_ms> on_timer(std::uint32_t number, outbox& out) noexcept;
    template <class Address>
    void note_forwarded(flow<Address>& f, direction from, packet_layout const& l) noexcept;
    template <class Address>
    void half_open_changed(flow<Address> const& f, int by) noexcept;

    // --- impl/adoption.hpp ----------------------------------------------------------------------------------------------
    template <class Address>
    [[nodiscard]] bool is_through(flow<Address> const& f) const noexcept;
    template <class Address>
    [[nodiscard]] adoption_result insert_told(flow_state<Address> const& told, flow_key<Address> const& back) noexcept;
    template <class Address>
    [[nodiscard]] adoption claim(flow_request<Address> const& request, address_answer<Address>& answer, flow_claims const& claims) noexcept;
    template <class Address>
    void take_handshake(flow<Address>& f) noexcept;
    template <class Address>
    void fill(flow<Address>& f, flow_state<Address> const& told) noexcept;
    template <class Address>
    void tell_opened(flow<Address> const& f, std::uint32_t number) noexcept;
    template <class Address>
    void tell_closed(flow<Address> const& f, std::uint32_t number) noexcept;

    engine_config config_;
    tcp_check_set checks_;  ///< what config_.tracking comes to
    Policies policies_;
    acl acl_;
    guard guard_;
    using cookie_type = syn_cookie<>;
    cookie_type cookies_;
    token_bucket resets_;
    flow_store<std::uint32_t> v4_;
    flow_store<ipv6_bytes> v6_;
    handshake_pool handshakes_;
    frame_pool held_;
    frame_pool pieces_;
    frame_queue pieces_queue_{};  ///< what is to leave behind this burst: pieces, and what must not overtake them
    bool cuts_ = false;           ///< something was cut in this burst, or waits from the last one
    std::uint16_t identification_;  ///< of outer headers where routers may fragment
    token_bucket too_bigs_;
    fragments_of<std::uint32_t> fragments_v4_;
    fragments_of<ipv6_bytes> fragments_v6_;
    backend_table configured_;
    backend_table learned_;
    std::uint32_t mended_ = 0;  ///< flows of that phase
    exemption_table exempt_;
    source_limits source_limits_;
    split_mix64 random_;
    engine_counters counters_{};
    std::uint32_t times_down_ = 0;         ///< of backends, that the flows have been looked at for, or are being
    std::uint32_t swept_per_advance_ = flows_swept_per_advance;
    std::uint32_t swept_v4_ = ~std::uint32_t{0};  ///< where looking at them goes on
    std::uint32_t swept_v6_ = ~std::uint32_t{0};
    std::uint32_t half_open_ = 0;
    std::uint32_t flows_peak_ = 0;
    bool started_ = false;
    bool draining_ = false;
    bool any_fast_rule_ = false;
    bool announces_by_config_ = false;
    bool any_announced_ = false;  ///< some server is told who its clients are; of services, as they are now
    time_point now_{};
    std::uint64_t elapsed_ns_ = 0;  ///< since the first packet, jumps shortened
    stamp_ms stamp_{};
    std::array<packet, max_burst> packets_{};
    std::array<ipv4_key, max_burst> v4_keys_{};
    std::array<ipv6_key, max_burst> v6_keys_{};
    cookie_work<std::uint32_t> v4_work_{};
    cookie_work<ipv6_bytes> v6_work_{};
};

using half_proxy = engine<>;

}  // namespace halfproxy

#include <halfproxy/engine/impl/engine.hpp>
#include <halfproxy/engine/impl/lifecycle.hpp>
#include <halfproxy/engine/impl/tcp_path.hpp>
#include <halfproxy/engine/impl/challenge.hpp>
#include <halfproxy/engine/impl/splice.hpp>
#include <halfproxy/engine/impl/connecting.hpp>
#include <halfproxy/engine/impl/announcement.hpp>
#include <halfproxy/engine/impl/guard_path.hpp>
#include <halfproxy/engine/impl/datagram_path.hpp>
#include <halfproxy/engine/impl/fragment_path.hpp>
#include <halfproxy/engine/impl/icmp_path.hpp>
#include <halfproxy/engine/impl/service_path.hpp>
#include <halfproxy/engine/impl/ended_flows.hpp>
#include <halfproxy/engine/impl/tunnel_path.hpp>
#include <halfproxy/engine/impl/adoption.hpp>

#if defined(HALFPROXY_COMPILED)
extern template class halfproxy::engine<halfproxy::default_policies>;
#endif
