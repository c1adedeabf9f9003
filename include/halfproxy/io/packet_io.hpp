// SPDX-License-Identifier: BSL-1.0
// What a device must offer so that packets can come and go through it.
#pragma once

#include <halfproxy/core/frame.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace halfproxy {

/// What a device can do, so that a pump need not guess.
struct io_capabilities {
    link_type link = link_type::ethernet;
    bool partial_checksums = false;  ///< takes and gives frames with checksum_state::partial
    bool segmentation = false;       ///< takes and gives frames larger than the MTU, to be cut by the device
    std::uint32_t max_frame_bytes = 0;
};

/// One port. Exemplar: memory_io (io/memory.hpp). Models: memory_io, pcap_reader_io, pcap_writer_io, af_packet_io, and the
/// decorators fault_io and trace_io.
///
/// receive(frames) fills at most frames.size() frames and returns how many, 0 when nothing is there; it never waits.
/// It sets data, length, capacity, wire_length, link and offload; who calls sets `arrival`. The bytes belong to the
/// device, may be changed in place, and stay valid until the next receive() on the same device. Each frame offers at
/// least `frame_slack_bytes` of capacity behind its length, so that a bare ACK can become a SYN with options in place.
///
/// transmit(frames) sends frames in order and returns how many it took; the bytes need not live longer than the
/// call. Frames not taken are the caller's to count as lost or to offer again. Neither function throws for what the
/// network does.
template <class T>
concept packet_io = requires(T& io, T const& const_io, std::span<frame> in, std::span<tx_frame const> out) {
    { io.receive(in) } noexcept -> std::same_as<std::size_t>;
    { io.transmit(out) } noexcept -> std::same_as<std::size_t>;
    { const_io.capabilities() } noexcept -> std::same_as<io_capabilities>;
};

/// A port on which an event loop can wait: native_handle() is a descriptor that becomes readable when receive()
/// would return something.
template <class T>
concept pollable_packet_io = packet_io<T> && requires(T const& io) {
    { io.native_handle() } noexcept -> std::same_as<int>;
};

/// A port that can receive more cheaply, or shield established connections, when it is told that a flood lasts. While it is told so, native_handle()
/// may stay silent: who waits looks again after a millisecond.
template <class T>
concept flood_aware_io = packet_io<T> && requires(T& io) {
    { io.set_flooded(true) } noexcept;
};

/// Link header growth is none; an ACK (20 bytes of TCP) may grow to a SYN with options (at most 60).
inline constexpr std::uint32_t frame_slack_bytes = 64;

}  // namespace halfproxy
