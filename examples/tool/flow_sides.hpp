// SPDX-License-Identifier: BSL-1.0
// Which side a captured frame came from: a capture taken at one point does not say, but who opened a flow is its client.
#pragma once

#include <halfproxy/core/frame.hpp>
#include <halfproxy/track/flow_key.hpp>
#include <halfproxy/wire/parse.hpp>

#include <cstddef>
#include <deque>
#include <unordered_map>

namespace halfproxy::tool {

/// Remembers the client of at most `capacity` flows of one family; the oldest give way.
template <class Address>
class client_memory {
  public:
    explicit client_memory(std::size_t capacity) : capacity_(capacity) {}

    /// What a packet says about who its flow's client is.
    enum class hint : std::uint8_t {
        opens,    ///< its source is (a SYN); outweighs what was only assumed
        answers,  ///< its destination is (a SYN-ACK, an echo reply)
        none,     ///< its source, for want of better knowledge
    };

    /// Whether the source of the packet with this key is its flow's client.
    bool source_is_client(flow_key<Address> key, hint h);

  private:
    struct entry {
        bool first_is_client;  ///< of the two ends in the key's stored order
        bool certain;
    };
    struct hash {
        std::size_t operator()(flow_key<Address> const& key) const noexcept { return flow_key_hash{}(key); }
    };

    std::size_t capacity_;
    std::unordered_map<flow_key<Address>, entry, hash> clients_{};
    std::deque<flow_key<Address>> age_{};
};

/// Says for each frame of a capture through which port of the half proxy it would have come. TCP: the sender of the
/// first SYN is the client, without one the first packet's sender. Datagrams: the first packet's sender. Fragments and
/// protocols without ports go by the pair of addresses, ICMP errors by the packet they quote. What is no IP is taken to
/// come from outside.
class flow_sides {
  public:
    explicit flow_sides(std::size_t flows_per_family = 1u << 20) : v4_(flows_per_family), v6_(flows_per_family) {}

    side arrival_of(frame const& f);

  private:
    template <class Address>
    side arrival_of(client_memory<Address>& memory, const_packet_view const& packet);

    client_memory<std::uint32_t> v4_;
    client_memory<ipv6_bytes> v6_;
};

}  // namespace halfproxy::tool
