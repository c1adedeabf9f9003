// SPDX-License-Identifier: BSL-1.0
// What two half proxies tell each other of their flows: frames of a fixed format, authenticated as a whole. For any datagram transport.
//
//      0       2     3     4               12              20              28      30
//     +-------+-----+-----+---------------+---------------+---------------+-------+--------------+-----+
//     | 'h's' | ver | kind| sender        | receiver      | number        | events| events ...   | MAC |
//     +-------+-----+-----+---------------+---------------+---------------+-------+--------------+-----+
//
// All numbers are big-endian. The MAC is SipHash-2-4 of all before it, 8 bytes. An event's length follows from its first bytes alone:
//
//     kind 1, family 1 (4 or 6), protocol 1, zone 2, tuple 12 or 36                                      delete ends here
//     flags 2, idle ms 4, age ms 4, packets 4 + 4
//     translated: the tuple with which the client's packets leave
//     TCP: state 1, marks 1 + 1, scales 1, ends 4 + 4    spliced: scales 1, shifts 4 + 4    mends: timestamps 4 + 4
//     mappings: name 2 each                              service: backend 1 + 16 + 2
#pragma once

#include <halfproxy/admit/siphash.hpp>
#include <halfproxy/core/bytes.hpp>
#include <halfproxy/engine/flow_state.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace halfproxy {

inline constexpr std::uint8_t sync_version = 1;
inline constexpr std::size_t sync_head_bytes = 30;
inline constexpr std::size_t sync_mac_bytes = 8;
inline constexpr std::size_t shortest_sync_frame = sync_head_bytes + sync_mac_bytes;
inline constexpr std::size_t longest_sync_frame = 8'192;
/// Of one event: IPv6 with everything.
inline constexpr std::size_t longest_sync_event = 147;

enum class sync_kind : std::uint8_t {
    flows = 1,   ///< events, or none: a greeting when the number is 0, else a sign of life
    answer = 2,  ///< to one of those: `number` is the next that is expected
};

enum class sync_event : std::uint8_t {
    add = 1,
    refresh = 2,    ///< says the same as add, of a flow that was told before
    remove = 3,
    caught_up = 4,  ///< alone, without more: everything there is has been told
};

struct sync_head {
    sync_kind kind = sync_kind::flows;
    std::uint64_t sender = 0;    ///< the session of who tells flows, as that one names it
    std::uint64_t receiver = 0;  ///< the same, as who hears names it; 0: not known yet
    std::uint64_t number = 0;    ///< flows: of frames of the session, from 1; 0: a greeting. answer: the next one expected
    std::uint16_t events = 0;

    friend bool operator==(sync_head const&, sync_head const&) noexcept = default;
};

/// Why a frame is ignored.
enum class sync_fault : std::uint8_t { none, length, foreign, version, unauthenticated, malformed };
inline constexpr std::size_t sync_fault_count = 6;

/// Puts a frame together in memory of the caller's, at least shortest_sync_frame and at most longest_sync_frame bytes.
class sync_writer {
  public:
    sync_writer(std::span<std::uint8_t> room, sync_head const& head) noexcept;

    /// False, and nothing changed, when there is no room for it.
    template <class Address>
    [[nodiscard]] bool tell(sync_event kind, flow_state<Address> const& flow) noexcept;
    template <class Address>
    [[nodiscard]] bool remove(flow_key<Address> const& client) noexcept;
    [[nodiscard]] bool caught_up() noexcept;

    [[nodiscard]] std::uint16_t events() const noexcept { return events_; }
    /// Its length.
    [[nodiscard]] std::size_t finish(siphash_key const& key) noexcept;

  private:
    template <class Write>
    [[nodiscard]] bool append(sync_event kind, Write&& write) noexcept;

    std::span<std::uint8_t> room_;
    std::size_t at_ = sync_head_bytes;
    std::uint16_t events_ = 0;
};

struct sync_reading {
    sync_fault fault = sync_fault::none;
    sync_head head{};
    byte_view events{};  ///< within the frame: well-formed, for visit_sync_events()
};

/// Checks all of a frame, its events included. Work: linear in its length, and the MAC first.
[[nodiscard]] sync_reading read_sync_frame(byte_view frame, siphash_key const& key) noexcept;

/// Calls visit(sync_event, flow_state<Address> const&) for each add and refresh, visit(flow_key<Address> const&) for each remove, visit() for caught_up. False when they
/// are not well-formed: then the visits before were of what stood before.
template <class Visit>
bool visit_sync_events(byte_view events, std::uint16_t count, Visit&& visit);

}  // namespace halfproxy

#include <halfproxy/sync/impl/sync_frame.hpp>
