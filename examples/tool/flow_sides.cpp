// SPDX-License-Identifier: BSL-1.0
// Which side a captured frame came from.
#include "flow_sides.hpp"

#include <halfproxy/wire/headers.hpp>

#include <type_traits>
#include <utility>

namespace halfproxy::tool {
namespace {

template <class Address>
using hint_of = typename client_memory<Address>::hint;

namespace icmp_type {
constexpr std::uint8_t echo_reply = 0;
constexpr std::uint8_t echo_request = 8;
constexpr std::uint8_t v6_echo_request = 128;
constexpr std::uint8_t v6_echo_reply = 129;
}  // namespace icmp_type

/// One order for both directions.
template <class Address>
bool put_in_order(flow_key<Address>& key) {
    flow_tuple<Address>& t = key.tuple;
    bool const ordered = std::pair(t.source, t.source_port) <= std::pair(t.destination, t.destination_port);
    if (!ordered) t = t.reversed();
    return ordered;
}

/// Addresses and zone only: what fragments and protocols without ports have.
template <class Address>
flow_key<Address> host_pair(const_packet_view const& packet) {
    flow_key<Address> key;
    if constexpr (std::is_same_v<Address, std::uint32_t>) {
        key.tuple.source = packet.ipv4().source;
        key.tuple.destination = packet.ipv4().destination;
    } else {
        key.tuple.source = packet.ipv6().source;
        key.tuple.destination = packet.ipv6().destination;
    }
    key.zone = packet.layout().vlan_id();
    return key;
}

bool is_echo(const_packet_view const& packet, std::uint8_t v4, std::uint8_t v6) {
    return packet.is_icmp() && packet.icmp().type == (packet.layout().ip_version == 4 ? v4 : v6);
}

bool echo_request(const_packet_view const& packet) {
    return is_echo(packet, icmp_type::echo_request, icmp_type::v6_echo_request);
}
bool echo_reply(const_packet_view const& packet) {
    return is_echo(packet, icmp_type::echo_reply, icmp_type::v6_echo_reply);
}

template <class Address>
flow_key<Address> key_of(const_packet_view const& packet) {
    flow_key<Address> key = host_pair<Address>(packet);
    packet_layout const& l = packet.layout();
    if (l.fragment_offset != 0 || !l.has_transport) return key;
    if (packet.is_tcp() || packet.is_udp()) {  // ports stand at the same place in both
        key.tuple.source_port = packet.udp().source_port;
        key.tuple.destination_port = packet.udp().destination_port;
        key.protocol = l.protocol;
    } else if (echo_request(packet) || echo_reply(packet)) {
        key.tuple.source_port = key.tuple.destination_port = static_cast<std::uint16_t>(packet.icmp().rest >> 16);
        key.protocol = l.protocol;
    }
    return key;
}

template <class Address>
hint_of<Address> hint_for(const_packet_view const& packet) {
    if (echo_reply(packet)) return hint_of<Address>::answers;
    if (!packet.is_tcp()) return hint_of<Address>::none;
    std::uint8_t const flags = packet.tcp().flags & (tcp_flag::syn | tcp_flag::ack | tcp_flag::rst);
    if (flags == tcp_flag::syn) return hint_of<Address>::opens;
    return flags == (tcp_flag::syn | tcp_flag::ack) ? hint_of<Address>::answers : hint_of<Address>::none;
}

}  // namespace

template <class Address>
bool client_memory<Address>::source_is_client(flow_key<Address> key, hint h) {
    bool const source_is_first = put_in_order(key);
    bool const claimed = h == hint::answers ? !source_is_first : source_is_first;
    auto [at, is_new] = clients_.try_emplace(key, entry{claimed, h == hint::opens});
    if (is_new) {
        age_.push_back(key);
        if (age_.size() > capacity_) {
            clients_.erase(age_.front());
            age_.pop_front();
            return claimed == source_is_first;  // `at` may have been the one that gave way
        }
    } else if (h == hint::opens && !at->second.certain) {
        at->second = {claimed, true};
    }
    return at->second.first_is_client == source_is_first;
}

template <class Address>
side flow_sides::arrival_of(client_memory<Address>& memory, const_packet_view const& packet) {
    const_packet_view const quoted = parse_quoted(packet);
    if (quoted.is_ip() && quoted.layout().ip_version == packet.layout().ip_version) {
        // The error goes to who sent the quoted packet, so it comes from the other side.
        bool const to_client = memory.source_is_client(key_of<Address>(quoted), hint_of<Address>::none);
        return to_client ? side::inside : side::outside;
    }
    auto const hint = hint_for<Address>(packet);
    flow_key<Address> const key = key_of<Address>(packet);
    flow_key<Address> const hosts = host_pair<Address>(packet);
    bool const from_client = memory.source_is_client(key, hint);
    // What comes later without ports between the same hosts belongs to their first flow, as far as anybody can tell.
    if (key != hosts) memory.source_is_client(hosts, from_client ? hint_of<Address>::none : hint_of<Address>::answers);
    return from_client ? side::outside : side::inside;
}

side flow_sides::arrival_of(frame const& f) {
    const_packet_view const packet = parse<byte_view>(f.link, f.bytes(), f.wire_length);
    switch (packet.layout().ip_version) {
        case 4: return arrival_of(v4_, packet);
        case 6: return arrival_of(v6_, packet);
        default: return side::outside;
    }
}

}  // namespace halfproxy::tool
