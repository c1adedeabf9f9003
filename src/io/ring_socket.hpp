// SPDX-License-Identifier: BSL-1.0
// What the packet sockets of an AF_PACKET port have in common, and those beside its first one wholly: a socket with one ring.
#pragma once

#include <arpa/inet.h>
#include <cstddef>
#include <cstdint>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <utility>

namespace halfproxy::af_packet_detail {

/// Its descriptor, or -1 with errno. Protocol 0 keeps packets out until it is bound to one.
template <class Calls>
int open_packet_socket(Calls& calls) noexcept {
    return calls.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/// From now on it receives frames of a protocol (ETH_P_*; 0: none) from an interface, and sends through it. False with errno.
template <class Calls>
bool bind_packet_socket(Calls& calls, int descriptor, int interface_index, std::uint16_t protocol) noexcept {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(protocol);
    address.sll_ifindex = interface_index;
    return calls.bind(descriptor, reinterpret_cast<sockaddr const*>(&address), sizeof address) == 0;
}

/// Owns both. What fails says so and leaves errno.
template <class Calls>
class ring_socket {
  public:
    explicit ring_socket(Calls calls) : calls_(std::move(calls)) {}
    ring_socket(ring_socket const&) = delete;
    ring_socket& operator=(ring_socket const&) = delete;
    ~ring_socket() {
        if (ring_ != nullptr) calls_.unmap(ring_, ring_bytes_);
        if (descriptor_ >= 0) calls_.close(descriptor_);
    }

    bool open() noexcept {
        descriptor_ = open_packet_socket(calls_);
        return descriptor_ >= 0;
    }
    template <class Value>
    bool set(int level, int name, Value const& value) noexcept {
        return calls_.set_option(descriptor_, level, name, &value, sizeof value) == 0;
    }
    /// The ring that was allocated by PACKET_RX_RING or PACKET_TX_RING, in its whole length.
    bool map(std::size_t bytes) noexcept {
        ring_bytes_ = bytes;
        ring_ = static_cast<std::uint8_t*>(calls_.map(bytes, descriptor_));
        return ring_ != nullptr;
    }
    bool bind(int interface_index, std::uint16_t protocol) noexcept {
        return bind_packet_socket(calls_, descriptor_, interface_index, protocol);
    }

    [[nodiscard]] Calls& calls() noexcept { return calls_; }
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
    [[nodiscard]] std::uint8_t* ring() const noexcept { return ring_; }

  private:
    [[no_unique_address]] Calls calls_;
    int descriptor_ = -1;
    std::uint8_t* ring_ = nullptr;
    std::size_t ring_bytes_ = 0;
};

}  // namespace halfproxy::af_packet_detail
