// SPDX-License-Identifier: BSL-1.0
// How the servers of a service are checked: plain data, as configured, and what would be wrong with it.
#pragma once

#include <halfproxy/wire/address.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace halfproxy {

enum class health : std::uint8_t { up, down };

/// When checks begin, and how many results make a server up or down.
struct health_policy {
    std::chrono::milliseconds interval{5'000};  ///< from the beginning of one check to the beginning of the next
    std::chrono::milliseconds timeout{2'000};   ///< of one check
    std::uint32_t jitter_percent = 10;          ///< of the interval, either way: checks of many servers drift apart
    std::uint32_t rise = 2;                     ///< good results in a row that make it up
    std::uint32_t fall = 3;                     ///< bad results in a row that make it down

    // Damping: one that goes down again within `flap_window` of coming up stays down longer each time.
    std::chrono::milliseconds flap_window{60'000};
    std::chrono::milliseconds first_hold{5'000};    ///< after the first flap; doubled with each that follows
    std::chrono::milliseconds longest_hold{300'000};

    friend bool operator==(health_policy const&, health_policy const&) = default;
};

/// What a server is asked.
enum class health_probe : std::uint8_t {
    tcp,   ///< a SYN is answered with a SYN-ACK, which a RST then refuses: no connection comes to be
    http,  ///< a GET is answered with a status, and a body, that are expected
    icmp,  ///< an echo request is answered
    udp,   ///< a datagram is answered with what is expected
};

/// Longest texts. A datagram is one packet of ours, whose room is the outbox's; a request is cut into several.
inline constexpr std::size_t longest_health_path = 512;
inline constexpr std::size_t longest_health_host = 255;
inline constexpr std::size_t longest_health_body = 128;
inline constexpr std::size_t longest_health_datagram = 128;

struct health_check {
    health_probe kind = health_probe::tcp;
    std::uint16_t port = 0;  ///< 0: the one that the server's flows go to; not for icmp
    health_policy policy{};

    std::string path = "/";        ///< http
    std::string host{};            ///< http: the Host field; the server's address when empty
    port_range status{200, 399};   ///< http: those that are good
    std::string body{};            ///< http: must occur in the first 64 KiB of the body; empty: the body does not matter
    std::string send{};            ///< udp
    std::string expect{};          ///< udp: the answer must begin with it; empty: any answer will do

    friend bool operator==(health_check const&, health_check const&) = default;
};

/// What is wrong: the configuration's key, and half a sentence.
struct health_fault {
    std::string_view key{};
    std::string_view what{};
};

namespace detail {

/// Of what becomes part of a request's line or field: a blank or a line's end would begin another one.
[[nodiscard]] inline bool is_one_word(std::string_view text) noexcept {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

[[nodiscard]] inline std::optional<health_fault> fault_of_policy(health_policy const& p) noexcept {
    using namespace std::chrono_literals;
    if (p.interval < 50ms) return health_fault{"interval_s", "must be at least 0.05"};
    if (p.timeout < 20ms) return health_fault{"timeout_s", "must be at least 0.02"};
    if (p.jitter_percent > 50) return health_fault{"jitter_percent", "must be at most 50"};
    if (p.rise == 0) return health_fault{"rise", "must be at least 1"};
    if (p.fall == 0) return health_fault{"fall", "must be at least 1"};
    if (p.longest_hold < p.first_hold) return health_fault{"longest_hold_s", "must be at least first_hold_s"};
    return std::nullopt;
}

[[nodiscard]] inline std::optional<health_fault> fault_of_http(health_check const& c) noexcept {
    if (c.path.empty() || c.path[0] != '/') return health_fault{"path", "must begin with \"/\""};
    if (c.path.size() > longest_health_path) return health_fault{"path", "is longer than 512 characters"};
    if (!is_one_word(c.path)) return health_fault{"path", "must be ASCII without blanks and control characters: write them as %20 and so on"};
    if (c.host.size() > longest_health_host) return health_fault{"host", "is longer than 255 characters"};
    if (!is_one_word(c.host)) return health_fault{"host", "must be ASCII without blanks and control characters"};
    if (c.status.first < 100 || c.status.last > 599) return health_fault{"status", "must be a status from 100 to 599, or a range \"a-b\" of them"};
    if (c.body.size() > longest_health_body) return health_fault{"body", "is longer than 128 characters"};
    return std::nullopt;
}

/// Keys of another kind of check than it is would be ignored.
[[nodiscard]] inline std::optional<health_fault> fault_of_foreign_keys(health_check const& c) noexcept {
    health_check const unset;
    if (c.kind == health_probe::icmp && c.port != 0) return health_fault{"port", "does not belong to kind = \"icmp\""};
    if (c.kind != health_probe::http) {
        if (c.path != unset.path) return health_fault{"path", "belongs to kind = \"http\""};
        if (!c.host.empty()) return health_fault{"host", "belongs to kind = \"http\""};
        if (c.status != unset.status) return health_fault{"status", "belongs to kind = \"http\""};
        if (!c.body.empty()) return health_fault{"body", "belongs to kind = \"http\""};
    }
    if (c.kind != health_probe::udp) {
        if (!c.send.empty()) return health_fault{"send", "belongs to kind = \"udp\""};
        if (!c.expect.empty()) return health_fault{"expect", "belongs to kind = \"udp\""};
    }
    return std::nullopt;
}

}  // namespace detail

/// The first fault, if there is one.
[[nodiscard]] inline std::optional<health_fault> fault_of(health_check const& c) noexcept {
    if (auto const f = detail::fault_of_policy(c.policy)) return f;
    if (auto const f = detail::fault_of_foreign_keys(c)) return f;
    if (c.kind == health_probe::http) return detail::fault_of_http(c);
    if (c.kind == health_probe::udp) {
        if (c.send.size() > longest_health_datagram) return health_fault{"send", "is longer than 128 bytes"};
        if (c.expect.size() > longest_health_datagram) return health_fault{"expect", "is longer than 128 bytes"};
    }
    return std::nullopt;
}

}  // namespace halfproxy
