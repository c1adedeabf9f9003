// SPDX-License-Identifier: BSL-1.0
// Everything that can be set on an engine, with its defaults. Plain data: the tool fills it from TOML, an embedder by hand.
#pragma once

#include <halfproxy/admit/acl.hpp>
#include <halfproxy/admit/guard.hpp>
#include <halfproxy/admit/limits.hpp>
#include <halfproxy/admit/syn_cookie.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/track/flow_table.hpp>
#include <halfproxy/track/timeouts.hpp>

#include <cstdint>
#include <vector>

namespace halfproxy {

/// What we promise a client in the server's name before the server was asked. What the server turns out to do otherwise is translated.
struct backend_promise {
    std::uint16_t mss_v4 = 1460;
    std::uint16_t mss_v6 = 1440;
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

enum class strictness : std::uint8_t { off, loose, strict };
enum class pickup : std::uint8_t {
    syn_only,   ///< only a SYN opens a flow
    data_only,  ///< besides, a segment with payload does
    any,        ///< besides, a bare ACK does
};

struct tracking_config {
    halfproxy::strictness strictness = strictness::loose;
    halfproxy::pickup pickup = pickup::syn_only;
};

enum class malformed_policy : std::uint8_t { drop, pass };
enum class fragment_policy : std::uint8_t { pass, drop };
enum class fast_open_policy : std::uint8_t {
    pass,   ///< client and server may use TCP Fast Open through a flow that is not spliced
    strip,  ///< its option is taken out of SYNs and SYN-ACKs, so that no data arrives before the client has proved itself
};

struct normalize_config {
    malformed_policy malformed = malformed_policy::drop;
    fragment_policy fragments = fragment_policy::pass;
    fast_open_policy fast_open = fast_open_policy::pass;
    bool verify_checksums = true;  ///< of packets that open, close or answer a flow; data is the endpoints' business
};

/// Memory is these numbers times the record sizes, allocated once.
struct limits_config {
    std::uint32_t flows_v4 = 262'144;
    std::uint32_t flows_v6 = 65'536;
    std::uint32_t handshakes = 16'384;  ///< handshakes with servers in progress at once
    source_limits_config per_source{};
};

struct engine_config {
    guard_config guard{};
    backend_promise promise{};
    server_syn_config server_syn{};
    tracking_config tracking{};
    flow_timeouts timeouts = flow_timeouts::firewall();
    limits_config limits{};
    normalize_config normalize{};
    std::vector<acl_rule> rules{};
    secret_key secret{};         ///< must be random when the guard is not off
    std::uint64_t seed = 0;      ///< of the hash that spreads flows; random in production
    memory_source memory{};      ///< where the flow tables live; memory_source::of<huge_page_memory>() makes large ones faster
};

}  // namespace halfproxy
