// SPDX-License-Identifier: BSL-1.0
// A flow as another engine is told of it: by what it consists of, not by where it is kept here.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/track/flow_key.hpp>
#include <halfproxy/track/tcp_tracker.hpp>
#include <halfproxy/translate/seq_shift.hpp>
#include <halfproxy/wire/address.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace halfproxy {

/// A NAT mapping that a flow holds. Its endpoints are the flow's own.
struct mapping_claim {
    bool held = false;
    bool by_remote = false;     ///< binding_key::by_remote
    std::uint16_t by_name = 0;  ///< binding_key::by_name

    friend bool operator==(mapping_claim const&, mapping_claim const&) noexcept = default;
};

/// What the address policy keeps for a flow, so that another one can take the same.
struct flow_claims {
    mapping_claim source{};       ///< by which the client's endpoint was replaced
    mapping_claim destination{};  ///< by which the destination was found
    bool of_service = false;
    ip_address backend{};            ///< of a service's flow: who has it,
    std::uint16_t backend_port = 0;  ///< as configured; 0: every port

    friend bool operator==(flow_claims const&, flow_claims const&) noexcept = default;
};

/// Times are durations: two engines have no clock in common.
template <class Address>
struct flow_state {
    using address_type = Address;

    flow_key<Address> key{};             ///< as the client's packets come; the zone is a VLAN id, under 4096
    flow_tuple<Address> server_tuple{};  ///< as they leave
    side client_side = side::outside;
    bool hairpin = false;
    bool led = false;            ///< they keep their addresses, and go to a station of the policy's choice
    std::uint32_t idle_ms = 0;   ///< since its last packet that counted
    std::uint32_t age_ms = 0;
    std::array<std::uint32_t, 2> packets{};  ///< by direction
    tcp_told tcp{};                          ///< of TCP

    bool spliced = false;  ///< the next three count
    seq_shift shift{};
    std::uint8_t client_scale = 0;
    std::uint8_t promised_scale = 0;
    bool mends = false;                  ///< spliced besides: timestamps are put in for the server, with these
    std::uint32_t cookie_timestamp = 0;  ///< TSval
    std::uint32_t client_timestamp = 0;  ///< TSecr

    flow_claims claims{};

    friend bool operator==(flow_state const&, flow_state const&) noexcept = default;
};

/// What became of a flow that an engine was told of.
#define HALFPROXY_ADOPTIONS(X)                                                                 \
    X(adopted, "it is in the table, and all it holds is taken")                                \
    X(refreshed, "it was there, and no packet of it has come here: it is as told now")         \
    X(lives_here, "it was there, and its packets come here: nothing changed")                  \
    X(table_full, "no room in the flow table")                                                 \
    X(tuple_in_use, "another flow has one of its tuples")                                      \
    X(handshakes_full, "no handshake of the pool for a flow whose timestamps are mended")      \
    X(addresses_differ, "its addresses are not what the configuration here makes of them")     \
    X(no_pool, "its external endpoint is not one that an snat rule here would give its client") \
    X(port_taken, "its external port belongs to another mapping")                              \
    X(mapping_differs, "its client has another external endpoint here")                        \
    X(mappings_full, "no room in the table of mappings")                                       \
    X(unknown_service, "there is no such service here")                                             \
    X(unknown_backend, "the service has no such backend here")

enum class adoption : std::uint8_t {
#define HALFPROXY_X(name, text) name,
    HALFPROXY_ADOPTIONS(HALFPROXY_X)
#undef HALFPROXY_X
};

inline constexpr std::size_t adoption_count = 0
#define HALFPROXY_X(name, text) +1
    HALFPROXY_ADOPTIONS(HALFPROXY_X)
#undef HALFPROXY_X
    ;

/// Indexed by `adoption`.
inline constexpr std::array<std::string_view, adoption_count> adoption_names{
#define HALFPROXY_X(name, text) std::string_view(#name),
    HALFPROXY_ADOPTIONS(HALFPROXY_X)
#undef HALFPROXY_X
};

[[nodiscard]] constexpr std::string_view to_string(adoption a) noexcept { return adoption_names[static_cast<std::size_t>(a)]; }

struct adoption_result {
    adoption what = adoption::table_full;
    std::uint32_t number = ~std::uint32_t{0};  ///< of the flow; with tuple_in_use, of the one in its way
};

}  // namespace halfproxy
