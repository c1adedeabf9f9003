// SPDX-License-Identifier: BSL-1.0
// One row per flow of a capture, with the columns and values of Zeek's conn.log.
#pragma once

#include "rows.hpp"

#include <halfproxy/io/pcap_file.hpp>
#include <halfproxy/track/conn_log.hpp>
#include <halfproxy/track/flow_key.hpp>
#include <halfproxy/track/flow_table.hpp>
#include <halfproxy/wire/parse.hpp>

#include <array>
#include <cstdint>
#include <queue>
#include <string_view>
#include <vector>

namespace halfproxy::tool {

inline constexpr std::array<std::string_view, 25> flows_columns{
    "ts",        "uid",           "id.orig_h",  "id.orig_p",     "id.resp_h",  "id.resp_p",    "proto",
    "service",   "duration",      "orig_bytes", "resp_bytes",    "conn_state", "missed_bytes", "history",
    "orig_pkts", "orig_ip_bytes", "resp_pkts",  "resp_ip_bytes", "vlan",       "server_name",  "alpn",
    "ja4",       "http.method",   "http.host",  "http.uri"};

/// Of both families: an IPv4 address stands in the last 4 bytes, and `reserved` says that it is one.
using observed_key = ipv6_key;

/// A flow in the table. Direction 0 is that of its first packet.
struct observed_flow {
    observed_key forward{};
    observed_key backward{};
    conn_log log{};
    time_point scheduled{};    ///< the earliest entry in the agenda
    std::uint64_t serial = 0;  ///< 1 for the capture's first flow
    std::uint16_t vlan = 0;    ///< the outermost
    bool tagged = false;

    observed_flow() noexcept = default;
    [[nodiscard]] observed_key const& key(unsigned direction) const noexcept {
        return direction == 0 ? forward : backward;
    }
    [[nodiscard]] bool matches(observed_key const& k, unsigned direction) const noexcept { return key(direction) == k; }
};

/// Follows all flows of a capture, each until its timers say that it is over, and writes a row for it then. Memory is
/// fixed: when `capacity` flows are open at once, one that was silent for long is written early.
class flow_listing {
  public:
    flow_listing(row_writer& rows, std::uint32_t capacity, conn_log_timeouts const& timeouts)
        : rows_(rows), timeouts_(timeouts), flows_(capacity, flow_key_hash{0}) {}

    void observe(capture_record const& record);
    /// Writes what is still open, in the order of first packets.
    void finish();
    [[nodiscard]] std::uint64_t evicted() const noexcept { return evicted_; }

  private:
    using table = flow_table<observed_key, observed_flow, flow_key_hash>;
    /// A packet taken apart: which flow, which kind.
    struct sighting {
        const_packet_view packet{};
        observed_key forward{};
        observed_key backward{};
        conn_log_segment segment{};
        std::uint32_t ip_bytes = 0;
        std::uint8_t protocol = 0;
    };
    struct agenda_entry {
        time_point due{};
        std::uint32_t number = 0;
        std::uint64_t serial = 0;
        [[nodiscard]] bool operator<(
            agenda_entry const& other) const noexcept {  // for a queue with the earliest on top
            return due != other.due ? due > other.due : serial > other.serial;
        }
    };

    void expire(time_point now);
    void end(std::uint32_t number);
    void schedule(std::uint32_t number, time_point due);
    void make_room();
    [[nodiscard]] flow_handle find_or_open(sighting const& s, capture_record const& record);
    [[nodiscard]] flow_handle open(sighting const& s, capture_record const& record);
    void count(sighting const& s, flow_handle handle);
    void write(observed_flow const& flow);
    void write_identity(observed_flow const& flow);
    void write_counts(conn_log const& log);

    row_writer& rows_;
    conn_log_timeouts timeouts_;
    table flows_;
    std::priority_queue<agenda_entry> agenda_;
    time_point now_ = time_point::min();
    std::uint64_t opened_ = 0;
    std::uint64_t evicted_ = 0;
};

}  // namespace halfproxy::tool
