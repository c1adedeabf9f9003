// SPDX-License-Identifier: BSL-1.0
// A second socket of an AF_PACKET port, which only sends: frames are written into a ring that the kernel reads at one call.
//
// A message of sendmmsg(2) costs the kernel a header, a gather list and their checks, which is more than copying a small frame twice: through the ring
// a frame of 74 bytes takes three quarters of the time. And nobody waits for this socket, so nobody is woken for each frame that has left.
// It must be a socket of its own, for one with a transmit ring sends in no other way, and a GSO frame fits no slot.
//
// Documentation/networking/packet_mmap.rst of the Linux kernel.
#pragma once

#include <halfproxy/io/af_packet.hpp>

#include "ring_socket.hpp"
#include "virtio_header.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <linux/if_packet.h>
#include <span>
#include <sys/socket.h>
#include <utility>

namespace halfproxy::af_packet_detail {

/// What a transmit ring is made for.
struct transmit_ring_options {
    int interface_index = 0;
    std::uint32_t slots = 0;  ///< a multiple of transmit_slots_per_block
    std::uint32_t send_buffer_bytes = 0;
    bool bypass_qdisc = true;
};

inline constexpr std::uint32_t transmit_slot_bytes = af_packet_transmit_slot_bytes;
inline constexpr std::uint32_t transmit_block_bytes = 64 * 1024;
inline constexpr std::uint32_t transmit_slots_per_block = transmit_block_bytes / transmit_slot_bytes;
inline constexpr std::size_t transmit_data_offset = TPACKET_ALIGN(sizeof(tpacket2_hdr));
inline constexpr std::size_t longest_queued_frame = transmit_slot_bytes - transmit_data_offset - sizeof(virtio_header);

/// Frames wait in the ring from put() until the kernel has taken them. Waiting slots lie behind each other from the one that
/// the kernel looks at first.
template <class Calls>
class transmit_ring {
  public:
    explicit transmit_ring(Calls calls) : socket_(std::move(calls)) {}

    /// The step that failed, with errno as it left it; or nullptr.
    [[nodiscard]] char const* open(transmit_ring_options const& options);

    [[nodiscard]] static bool fits(tx_frame const& frame) noexcept {
        return frame.offload.segment_size == 0 && frame.bytes.size() <= longest_queued_frame;
    }

    /// All of them, or none when so many slots are not free. Nothing may wait yet.
    bool put(std::span<tx_frame const> frames) noexcept;

    /// Counts off the frames that the kernel has taken since.
    std::size_t take_off() noexcept;

    /// Of those the kernel has not taken.
    [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }
    void withdraw_all() noexcept;

    /// The first one, which the kernel has refused.
    void withdraw_first() noexcept;

    [[nodiscard]] int descriptor() const noexcept { return socket_.descriptor(); }
    void stop_bypassing() noexcept {
        int const off = 0;
        static_cast<void>(socket_.set(SOL_PACKET, PACKET_QDISC_BYPASS, off));
    }

  private:
    using status_type = decltype(tpacket2_hdr::tp_status);

    [[nodiscard]] tpacket2_hdr& slot(std::uint32_t number) const noexcept {
        return *reinterpret_cast<tpacket2_hdr*>(socket_.ring() + std::size_t{number % slots_} * transmit_slot_bytes);
    }
    [[nodiscard]] status_type status(std::uint32_t number) const noexcept {
        return std::atomic_ref<status_type>(slot(number).tp_status).load(std::memory_order_acquire);
    }
    void set_status(std::uint32_t number, status_type value) noexcept {
        std::atomic_ref<status_type>(slot(number).tp_status).store(value, std::memory_order_release);
    }
    bool set_send_buffer(std::uint32_t size) noexcept;
    void write(std::uint32_t number, tx_frame const& frame) noexcept;

    ring_socket<Calls> socket_;
    std::uint32_t slots_ = 0;
    std::uint32_t first_ = 0;  ///< the kernel looks here next
    std::uint32_t waiting_ = 0;
};

/// Bound to no protocol, it receives nothing.
template <class Calls>
char const* transmit_ring<Calls>::open(transmit_ring_options const& options) {
    int const version = TPACKET_V2, on = 1;
    if (!socket_.open()) return "cannot open a packet socket to send";
    if (!socket_.set(SOL_PACKET, PACKET_VERSION, version)) return "cannot choose version 2 of the transmit ring";
    if (!socket_.set(SOL_PACKET, PACKET_VNET_HDR, on)) return "cannot switch on the virtio-net header to send";
    if (options.bypass_qdisc && !socket_.set(SOL_PACKET, PACKET_QDISC_BYPASS, on)) return "cannot bypass the queueing discipline";
    if (!set_send_buffer(options.send_buffer_bytes)) return "cannot set the send buffer";
    tpacket_req request{};
    request.tp_block_size = transmit_block_bytes;
    request.tp_block_nr = options.slots / transmit_slots_per_block;
    request.tp_frame_size = transmit_slot_bytes;
    request.tp_frame_nr = options.slots;
    if (!socket_.set(SOL_PACKET, PACKET_TX_RING, request)) return "cannot allocate the transmit ring";
    slots_ = options.slots;
    if (!socket_.map(std::size_t{slots_} * transmit_slot_bytes)) return "cannot map the transmit ring";
    if (!socket_.bind(options.interface_index, 0)) return "cannot bind to it to send";
    return nullptr;
}

/// Without CAP_NET_ADMIN the administrator's maximum (net.core.wmem_max) bounds it; smaller works too.
template <class Calls>
bool transmit_ring<Calls>::set_send_buffer(std::uint32_t size) noexcept {
    int const value = static_cast<int>(size);
    return socket_.set(SOL_SOCKET, SO_SNDBUFFORCE, value) || socket_.set(SOL_SOCKET, SO_SNDBUF, value);
}

template <class Calls>
bool transmit_ring<Calls>::put(std::span<tx_frame const> frames) noexcept {
    if (frames.size() > slots_) return false;
    auto const count = static_cast<std::uint32_t>(frames.size());
    for (std::uint32_t i = 0; i < count; ++i)
        if (status(first_ + i) != TP_STATUS_AVAILABLE) return false;
    for (std::uint32_t i = 0; i < count; ++i) write(first_ + i, frames[i]);
    waiting_ = count;
    return true;
}

/// Told that all of it is header, the kernel copies the frame, instead of attaching our page to a packet without any.
template <class Calls>
void transmit_ring<Calls>::write(std::uint32_t number, tx_frame const& frame) noexcept {
    tpacket2_hdr& head = slot(number);
    auto* const data = reinterpret_cast<std::uint8_t*>(&head) + transmit_data_offset;
    virtio_header device = to_header(frame.offload);
    device.header_length = static_cast<std::uint16_t>(frame.bytes.size());
    std::memcpy(data, &device, sizeof device);
    std::memcpy(data + sizeof device, frame.bytes.data(), frame.bytes.size());
    head.tp_len = static_cast<decltype(head.tp_len)>(sizeof device + frame.bytes.size());
    set_status(number, TP_STATUS_SEND_REQUEST);
}

template <class Calls>
std::size_t transmit_ring<Calls>::take_off() noexcept {
    std::size_t taken = 0;
    for (; waiting_ != 0; --waiting_, ++taken) {
        if ((status(first_) & (TP_STATUS_SEND_REQUEST | TP_STATUS_WRONG_FORMAT)) != 0) break;
        first_ = (first_ + 1) % slots_;
    }
    return taken;
}

template <class Calls>
void transmit_ring<Calls>::withdraw_all() noexcept {
    for (; waiting_ != 0; --waiting_) set_status(first_ + waiting_ - 1, TP_STATUS_AVAILABLE);
}

/// The kernel goes on looking at its slot: those behind it move up.
template <class Calls>
void transmit_ring<Calls>::withdraw_first() noexcept {
    for (std::uint32_t i = 0; i + 1 < waiting_; ++i) {
        tpacket2_hdr &to = slot(first_ + i), &from = slot(first_ + i + 1);
        to.tp_len = from.tp_len;
        std::memcpy(reinterpret_cast<std::uint8_t*>(&to) + transmit_data_offset, reinterpret_cast<std::uint8_t*>(&from) + transmit_data_offset,
                    from.tp_len);
        set_status(first_ + i, TP_STATUS_SEND_REQUEST);
    }
    set_status(first_ + waiting_ - 1, TP_STATUS_AVAILABLE);
    --waiting_;
}

}  // namespace halfproxy::af_packet_detail
