// SPDX-License-Identifier: BSL-1.0
// Everything that can be set on an engine, with its defaults. Plain data: the tool fills it from TOML, an embedder by hand.
#pragma once

#include <halfproxy/admit/acl.hpp>
#include <halfproxy/admit/guard.hpp>
#include <halfproxy/admit/limits.hpp>
#include <halfproxy/admit/syn_cookie.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/engine/backend_profile.hpp>
#include <halfproxy/track/flow_table.hpp>
#include <halfproxy/track/tcp_checks.hpp>
#include <halfproxy/track/timeouts.hpp>

#include <cstdint>
#include <vector>

namespace halfproxy {

/// What we promise a client in the server's name before the server was asked. What the server turns out to do otherwise is translated.
struct backend_promise {
    std::uint16_t mss_v4 = 1460;
    std::uint16_t mss_v6 = 1440;
    bool window_scaling = true;
    std::uint8_t window_scale = 7;
    bool sack = true;
    bool timestamps = true;
    bool ecn = false;  ///< answered only when servers are known to take part
};

/// Our SYN to the server, sent for a validated client.
struct server_syn_config {
    timeout_ms first_retry = 1'000;  ///< doubled with every retry (RFC 6298 section 5.5)
    std::uint8_t retries = 3;        ///< then the client gets a RST
};

/// What becomes of an ACK without flow whose cookie is wrong.
enum class invalid_ack_policy : std::uint8_t {
    drop,   ///< silently: a flood of them costs no packet
    reset,  ///< a RST, as a closed port would send it (RFC 9293 section 3.10.7.1), as often as resets_per_second says
};

struct splice_config {
    invalid_ack_policy invalid_ack = invalid_ack_policy::drop;
    std::uint32_t resets_per_second = 1'000;  ///< of those RSTs, and of the ones for SYN-ACKs nobody waits for, together
    bool defer = false;  ///< challenge first, ask rules and policy about proven clients only: closed ports look open, floods ask nothing

    // What a client sends before the server has answered is kept, so that it need not send it again.
    std::uint32_t held_segments = 1'024;  ///< slots for all connections together; 0: none is kept
    std::uint32_t held_bytes = 2'048;     ///< of a slot: the longest frame that is kept
    std::uint8_t held_per_connection = 4;

    // What servers turn out to do is promised to their next clients.
    bool learn = true;
    std::uint32_t learned_servers = 4'096;
    timeout_ms learned_age = 600'000;  ///< since the server's last SYN-ACK that said so
    std::vector<configured_backend> backends{};
};

enum class strictness : std::uint8_t { off, loose, strict };
enum class pickup : std::uint8_t {
    syn_only,   ///< only a SYN opens a flow
    data_only,  ///< besides, a segment with payload does
    any,        ///< besides, a bare ACK does
};

/// Whether connections of which one direction only passes here are followed by what that one tells.
enum class asymmetric_paths : std::uint8_t {
    no,      ///< the client may go on only after the server's answer was seen
    yes,     ///< declared: besides, a SYN-ACK opens a flow
    detect,  ///< a client that goes on without an answer seen shows that there is another path
};

/// What becomes of open flows when rules change and deny them. A rule looks at what it saw, or would have seen, when the flow began.
enum class denied_sessions : std::uint8_t {
    keep,  ///< rules decide about new flows only
    end,   ///< TCP: its next packet is answered with a RST to each end; the rest: nothing of it passes while either end goes on
};

struct tracking_config {
    halfproxy::strictness strictness = strictness::loose;
    halfproxy::pickup pickup = pickup::syn_only;
    asymmetric_paths asymmetric = asymmetric_paths::no;
    halfproxy::denied_sessions denied_sessions = halfproxy::denied_sessions::keep;
    tcp_check_set switched_on{};   ///< besides those of the strictness
    tcp_check_set switched_off{};  ///< although of the strictness

    [[nodiscard]] constexpr tcp_check_set preset() const noexcept {
        return strictness == strictness::off ? off_check_set : strictness == strictness::loose ? loose_check_set : strict_check_set;
    }
    /// Those in force.
    [[nodiscard]] constexpr tcp_check_set checks() const noexcept {
        tcp_check_set const set{static_cast<std::uint16_t>((preset().bits | switched_on.bits) & ~switched_off.bits)};
        return asymmetric == asymmetric_paths::no ? set : set.without(tcp_check::answer_seen);
    }
    /// One check by itself, whatever the strictness says of it.
    constexpr void choose(tcp_check which, bool on) noexcept {
        switched_on = on ? switched_on.with(which) : switched_on.without(which);
        switched_off = on ? switched_off.without(which) : switched_off.with(which);
    }
};

enum class malformed_policy : std::uint8_t { drop, pass };
enum class fragment_policy : std::uint8_t {
    reassemble,  ///< virtually: the first fragment decides, the others follow it, wait for it, or are dropped with it
    pass,        ///< the first is tracked, the others pass unseen (under address translation they are dropped)
    drop,
};
enum class fast_open_policy : std::uint8_t {
    pass,   ///< client and server may use TCP Fast Open through a flow that is not spliced
    strip,  ///< its option is taken out of SYNs and SYN-ACKs, so that no data arrives before the client has proved itself
};

struct normalize_config {
    malformed_policy malformed = malformed_policy::drop;
    fragment_policy fragments = fragment_policy::reassemble;
    fast_open_policy fast_open = fast_open_policy::pass;
    std::uint16_t mss_floor = 0;       ///< SYNs that announce less are dropped
    std::uint16_t mss_ceiling_v4 = 0xffff;  ///< the MSS of SYNs and SYN-ACKs is lowered to it, both ways
    std::uint16_t mss_ceiling_v6 = 0xffff;
    bool verify_checksums = true;  ///< of packets that open, close or answer a flow; data is the endpoints' business
};

/// Memory is these numbers times the record sizes, allocated once.
struct limits_config {
    std::uint32_t flows_v4 = 262'144;
    std::uint32_t flows_v6 = 65'536;
    std::uint32_t handshakes = 16'384;  ///< handshakes with servers in progress at once
    source_limits_config per_source{};
    // Of each family.
    std::uint32_t fragment_datagrams = 1'024;  ///< fragmented datagrams in progress
    std::uint32_t fragments_waiting = 512;     ///< slots for fragments that come before their first
    std::uint32_t fragment_bytes = 2'048;      ///< of a slot: the longest frame that can wait
    // Of services whose packets go through tunnels: a device's large segments, which no device could cut up in there, and packets that are fragmented.
    std::uint32_t tunnel_pieces = 1'024;       ///< slots for what they are cut into
    std::uint32_t tunnel_piece_bytes = 2'048;  ///< of a slot: the longest outer frame
    std::uint32_t too_big_per_second = 1'000;  ///< senders told that a packet does not fit a tunnel
};

struct engine_config {
    guard_config guard{};
    backend_promise promise{};
    server_syn_config server_syn{};
    splice_config splice{};
    tracking_config tracking{};
    flow_timeouts timeouts = flow_timeouts::firewall();
    limits_config limits{};
    normalize_config normalize{};
    std::vector<acl_rule> rules{};
    secret_key secret{};         ///< must be random when the guard is not off
    packet_clock::duration common_clock{};  ///< added to packet time it gives a clock that all engines with this secret share; see syn_cookie
    std::uint64_t seed = 0;      ///< of the hash that spreads flows; random in production
    memory_source memory{};      ///< where the flow tables live; memory_source::of<huge_page_memory>() makes large ones faster
};

/// `running`, with everything of `next` that can change while flows go on. What stays: what memory was allocated for (limits, slots, the guard's scopes), what the
/// numbers that clients and servers were given depend on (promises, servers' profiles, the secret), and when and how the guard challenges.
[[nodiscard]] engine_config changed(engine_config const& running, engine_config const& next);

}  // namespace halfproxy

#include <halfproxy/engine/impl/config.hpp>
