// SPDX-License-Identifier: BSL-1.0
// What the engine keeps of a flow: one record for both directions.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/time.hpp>
#include <halfproxy/track/flow_key.hpp>
#include <halfproxy/track/tcp_tracker.hpp>
#include <halfproxy/track/timer_wheel.hpp>
#include <halfproxy/translate/seq_shift.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace halfproxy {

/// Bit 0: numbers are shifted between the ends. Bit 1: there is more to it, which a handshake of the pool holds, unless it hairpins.
enum class flow_phase : std::uint8_t {
    plain,       ///< both ends use the same numbers
    spliced,     ///< the server's numbers are shifted for the client
    connecting,  ///< the client is validated, the server has not answered our SYN yet
    mended,      ///< spliced, and timestamps, promised to the client, are put into what the server sends without them; or the client is being announced
};

/// Direction d's packets arrive carrying tuple[d] and leave carrying tuple[1 - d] reversed: without address translation these are equal.
template <class Address>
struct flow {
    using address_type = Address;
    using key_type = flow_key<Address>;

    std::array<flow_tuple<Address>, 2> tuple{};
    std::uint16_t zone : 12 = 0;
    std::uint16_t promised_scale : 4 = 0;  ///< spliced: what the client was told of the server's window scale
    std::uint8_t protocol = 0;
    std::uint8_t phase_bits : 2 = 0;
    std::uint8_t client_side : 1 = 0;
    std::uint8_t client_scale : 4 = 0;  ///< spliced: the client's own window scale; no_scale in a plain flow that hairpins
    std::uint8_t rewrites : 1 = 0;      ///< its packets leave with other addresses or ports than they came with, or for another station
    tcp_connection tcp{};
    seq_shift shift{};                     ///< spliced; connecting and mended, shift.timestamp is the handshake's number
    std::array<std::uint32_t, 2> packets{};  ///< forwarded, by direction
    std::array<std::uint64_t, 2> bytes{};    ///< of whole IP packets
    stamp_ms last_seen{};
    stamp_ms opened{};
    timer_link timer{};

    [[nodiscard]] key_type key(unsigned d) const noexcept { return {tuple[d], zone, protocol, 0}; }
    [[nodiscard]] bool matches(key_type const& k, unsigned d) const noexcept {
        // Free of padding, so bytes may be compared: two words instead of four fields.
        static_assert(std::has_unique_object_representations_v<flow_tuple<Address>>);
        return std::memcmp(&tuple[d], &k.tuple, sizeof(k.tuple)) == 0 && zone == k.zone && protocol == k.protocol;
    }
    [[nodiscard]] flow_phase phase() const noexcept { return is_hairpin() ? flow_phase::plain : static_cast<flow_phase>(phase_bits); }
    [[nodiscard]] bool is_spliced() const noexcept { return (phase_bits & 1u) != 0; }
    [[nodiscard]] bool has_handshake() const noexcept { return is_special() && !is_hairpin(); }
    /// A plain flow that leaves through the side it came from, as do its answers. It has no bit of its own: it says it is connecting, with a window
    /// scale that none has (RFC 7323 section 2.3), so that the path of established packets, which looks at bit 1 anyway, knows nothing of it.
    [[nodiscard]] bool is_hairpin() const noexcept { return phase_bits == hairpin_phase && client_scale == no_scale; }
    void set_hairpin() noexcept {
        phase_bits = hairpin_phase;
        client_scale = no_scale;
    }
    /// Bit 1: not for header prediction.
    [[nodiscard]] bool is_special() const noexcept { return (phase_bits & 2u) != 0; }
    void set_phase(flow_phase p) noexcept { phase_bits = static_cast<std::uint8_t>(p) & 3u; }

    /// Not TCP: whether nothing of it passes, for rules deny it by now (denied_sessions::end).
    [[nodiscard]] bool is_barred() const noexcept { return tcp.state == tcp_state::closed; }
    void bar(bool yes) noexcept { tcp.state = yes ? tcp_state::closed : tcp_state::syn_sent; }

    /// Spliced: whether an end was told another window scale than the other one uses. Rarely so.
    [[nodiscard]] bool rescales() const noexcept { return ((client_scale ^ tcp.scale[0]) | (promised_scale ^ tcp.scale[1])) != 0; }
    /// Spliced: from the scale of direction d's sender to the one its receiver was told.
    [[nodiscard]] window_rescale rescale(direction d) const noexcept {
        if (d == direction::from_client) return {static_cast<std::uint8_t>(client_scale), tcp.scale[0]};
        return {tcp.scale[1], static_cast<std::uint8_t>(promised_scale)};
    }

    /// The port from which direction d's packets come.
    [[nodiscard]] side arrival(direction d) const noexcept { return is_hairpin() ? static_cast<side>(client_side) : opposite_arrival(d); }
    /// The same of a flow that is not special.
    [[nodiscard]] side opposite_arrival(direction d) const noexcept { return static_cast<side>(client_side ^ static_cast<std::uint8_t>(d)); }
    /// Whether packets leave with what they came with, whatever `rewrites` says.
    [[nodiscard]] bool keeps_addresses() const noexcept { return tuple[0].reversed() == tuple[1]; }
    /// The addresses and ports with which direction d's packets leave.
    [[nodiscard]] flow_tuple<Address> leaving(direction d) const noexcept { return tuple[1 - index(d)].reversed(); }

  private:
    static constexpr unsigned hairpin_phase = static_cast<unsigned>(flow_phase::connecting);
    static constexpr unsigned no_scale = 15;
};

using ipv4_flow = flow<std::uint32_t>;
using ipv6_flow = flow<ipv6_bytes>;
static_assert(sizeof(ipv4_flow) == 128, "two cache lines: what an established packet touches besides its index bucket");
static_assert(sizeof(ipv6_flow) <= 192);

}  // namespace halfproxy
