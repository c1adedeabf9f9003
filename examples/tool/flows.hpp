// SPDX-License-Identifier: BSL-1.0
// One row per flow of a capture, with the columns and values of Zeek's conn.log.
#pragma once

#include "flows_sighting.hpp"
#include "rows.hpp"

#include <halfproxy/io/pcap_file.hpp>
#include <halfproxy/track/conn_log.hpp>
#include <halfproxy/track/flow_table.hpp>
#include <halfproxy/track/huge_page_memory.hpp>

#include <array>
#include <cstdint>
#include <queue>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace halfproxy::tool {

inline constexpr std::array<std::string_view, 25> flows_columns{
    "ts",        "uid",           "id.orig_h",  "id.orig_p",     "id.resp_h",  "id.resp_p",    "proto",
    "service",   "duration",      "orig_bytes", "resp_bytes",    "conn_state", "missed_bytes", "history",
    "orig_pkts", "orig_ip_bytes", "resp_pkts",  "resp_ip_bytes", "vlan",       "server_name",  "alpn",
    "ja4",       "http.method",   "http.host",  "http.uri"};

/// Every letter, however many: a capture that repeats SYN, FIN or RST with ever new numbers makes a letter of each packet.
class whole_history {
  public:
    void add(char letter) noexcept { letters_ += letter; }
    void assign(std::string_view letters) noexcept { letters_ = letters; }
    [[nodiscard]] std::string_view view() const noexcept { return letters_; }

  private:
    std::string letters_;
};
using whole_conn_log = basic_conn_log<whole_history>;

/// A flow in the table. Direction 0 is that of its first packet.
struct observed_flow {
    observed_key forward{};
    observed_key backward{};
    whole_conn_log log{};
    time_point scheduled{};    ///< the earliest entry in the agenda
    std::uint64_t serial = 0;  ///< 1 for the capture's first flow
    std::uint16_t vlan = 0;    ///< the outermost
    bool tagged = false;
    bool has_ports = false;
    std::string_view service{};  ///< what it carries and is not opened

    observed_flow() noexcept = default;
    [[nodiscard]] observed_key const& key(unsigned direction) const noexcept {
        return direction == 0 ? forward : backward;
    }
    [[nodiscard]] bool matches(observed_key const& k, unsigned direction) const noexcept { return key(direction) == k; }
};

/// Follows all flows of a capture, each until its timers say that it is over, and writes a row for it then. Memory is
/// fixed but for long histories: when `capacity` flows are open at once, one that was silent for long is written early.
class flow_listing {
  public:
    flow_listing(row_writer& rows, std::uint32_t capacity, conn_log_timeouts const& timeouts)
        : rows_(rows), timeouts_(timeouts), flows_(capacity, flow_key_hash{0}) {}

    /// Packets that are looked at together.
    static constexpr std::size_t burst = 32;

    void observe(std::span<capture_record const> records);
    /// Writes what is still open, in the order of first packets.
    void finish();
    [[nodiscard]] std::uint64_t evicted() const noexcept { return evicted_; }

  private:
    using table = flow_table<observed_key, observed_flow, flow_key_hash, huge_page_memory>;
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
    void observe_burst(std::span<capture_record const> records);
    void observe_one(sighting const& s, std::uint64_t hash, capture_record const& record);
    [[nodiscard]] flow_handle find_or_open(sighting const& s, std::uint64_t hash, capture_record const& record);
    [[nodiscard]] flow_handle open(sighting const& s, capture_record const& record);
    void count(sighting const& s, flow_handle handle);
    void write(observed_flow const& flow);
    void write_identity(observed_flow const& flow);
    void write_counts(whole_conn_log const& log);

    row_writer& rows_;
    conn_log_timeouts timeouts_;
    table flows_;
    std::priority_queue<agenda_entry> agenda_;
    std::array<sighting, burst> sightings_{};
    std::array<std::uint64_t, burst> hashes_{};
    std::array<bool, burst> belongs_{};
    time_point now_ = time_point::min();
    std::uint64_t opened_ = 0;
    std::uint64_t evicted_ = 0;
};

}  // namespace halfproxy::tool
