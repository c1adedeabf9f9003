// SPDX-License-Identifier: BSL-1.0
// A third socket of an AF_PACKET port, which takes the SYNs while a flood of them lasts.
//
// SYNs that are more than we can serve then fill this ring, and not the one that established connections need.
//
// It is of version 3: frames lie close behind each other in blocks of one page, and a block changes hands, not each frame. Of a slot of the other
// ring the kernel looks at the status, on a cache line that we wrote last, and at that of the slot a quarter of the ring ahead: two thirds of what it costs to put a SYN
// there. The price is that a block is handed over when it is full or four milliseconds old, so out of a flood this ring is not used.
//
// Nothing is bound before the first flood, and nothing is closed after it: to take a bound socket from its interface the kernel waits for all
// processors, some 20 ms. Then only filters change, which takes microseconds.
//
// Documentation/networking/packet_mmap.rst of the Linux kernel.
#pragma once

#include "ring_socket.hpp"
#include "syn_filter.hpp"
#include "virtio_header.hpp"
#include "vlan_tag.hpp"

#include <halfproxy/io/packet_io.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <memory>
#include <span>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace halfproxy::af_packet_detail {

/// Sizes are multiples of this, which every page size of Linux divides.
inline constexpr std::uint32_t flood_ring_step_bytes = 64 * 1024;

/// Puts a program before a socket, in place of the one that was there.
template <class Calls>
bool attach_filter(Calls& calls, int descriptor, syn_filter program) noexcept {
    sock_fprog const all{static_cast<unsigned short>(program.size()), program.data()};
    return calls.set_option(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &all, sizeof all) == 0;
}

/// Frames are copied out of their block: behind each other as they lie there, none could grow.
template <class Calls>
class flood_ring {
  public:
    explicit flood_ring(Calls calls) : socket_(std::move(calls)) {}

    /// The step that failed, with errno as it left it; or nullptr.
    [[nodiscard]] char const* open(int interface_index, std::uint32_t bytes);

    /// From now on SYNs come here, too; or none any more. False when the kernel refuses.
    bool take_syns(bool on) noexcept;

    /// Something is there for receive().
    [[nodiscard]] bool ready() const noexcept { return left_ != 0 || block_is_ours(); }

    /// As a port does, but only within as many frames as it has memory for. A frame that came cut is counted by `cut` and lost.
    std::size_t receive(std::span<frame> frames, std::uint64_t& cut) noexcept;

    [[nodiscard]] int descriptor() const noexcept { return socket_.descriptor(); }

  private:
    using status_type = decltype(tpacket_hdr_v1::block_status);
    static constexpr std::size_t copies = 64;

    static constexpr std::size_t copy_bytes = 384;
    static_assert(untagged_frame_offset + longest_syn_bytes + frame_slack_bytes <= copy_bytes);

    [[nodiscard]] tpacket_block_desc& block() const noexcept {
        return *reinterpret_cast<tpacket_block_desc*>(socket_.ring() + std::size_t{block_} * block_bytes_);
    }
    [[nodiscard]] std::atomic_ref<status_type> status() const noexcept { return std::atomic_ref<status_type>(block().hdr.bh1.block_status); }
    [[nodiscard]] bool block_is_ours() const noexcept { return (status().load(std::memory_order_acquire) & TP_STATUS_USER) != 0; }

    template <class Value>
    bool set(int name, Value const& value) noexcept {
        return socket_.set(SOL_PACKET, name, value);
    }
    bool open_block() noexcept;
    void step_on() noexcept;
    bool copy(std::uint8_t const* from, std::uint8_t* to, frame& out) const noexcept;

    ring_socket<Calls> socket_;
    int interface_index_ = 0;
    bool bound_ = false;
    std::uint32_t block_bytes_ = 0;
    std::uint32_t blocks_ = 0;
    std::uint32_t block_ = 0;            ///< the kernel hands this one over next, or it is ours already
    std::uint32_t left_ = 0;             ///< frames in it that were not handed out
    std::uint8_t const* at_ = nullptr;   ///< the first of them
    std::unique_ptr<std::uint8_t[]> copies_{};
};

template <class Calls>
char const* flood_ring<Calls>::open(int interface_index, std::uint32_t bytes) {
    int const version = TPACKET_V3, on = 1;
    unsigned const tag_and_alignment = 6;
    interface_index_ = interface_index;
    if (!socket_.open()) return "cannot open a packet socket for floods";
    if (!set(PACKET_VERSION, version)) return "cannot choose version 3 of the ring for floods";
    if (!set(PACKET_VNET_HDR, on)) return "cannot switch on the virtio-net header for floods";
    if (!set(PACKET_RESERVE, tag_and_alignment)) return "cannot reserve headroom for floods";
    if (!set(PACKET_IGNORE_OUTGOING, on)) return "cannot leave out our own frames for floods";
    block_bytes_ = static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE));
    blocks_ = bytes / block_bytes_;
    tpacket_req3 request{};
    request.tp_block_size = request.tp_frame_size = block_bytes_;
    request.tp_block_nr = request.tp_frame_nr = blocks_;
    request.tp_retire_blk_tov = 4;   // milliseconds; its timer runs without a flood too
    if (!set(PACKET_RX_RING, request)) return "cannot allocate the ring for floods";
    if (!socket_.map(bytes)) return "cannot map the ring for floods";
    copies_ = std::make_unique<std::uint8_t[]>(copies * copy_bytes);
    return nullptr;
}

/// The filter stands before the socket is bound, else it would begin with whatever comes.
template <class Calls>
bool flood_ring<Calls>::take_syns(bool on) noexcept {
    if (!attach_filter(socket_.calls(), socket_.descriptor(), make_syn_filter(on ? filter_takes_all : filter_takes_none, filter_takes_none))) return false;
    if (bound_ || !on) return true;
    bound_ = socket_.bind(interface_index_, ETH_P_ALL);
    return bound_;
}

template <class Calls>
bool flood_ring<Calls>::open_block() noexcept {
    if (!block_is_ours()) return false;
    left_ = block().hdr.bh1.num_pkts;
    at_ = reinterpret_cast<std::uint8_t const*>(&block()) + block().hdr.bh1.offset_to_first_pkt;
    return true;
}

/// To the next frame. Release pairs with the kernel's read barrier, as in the other ring.
template <class Calls>
void flood_ring<Calls>::step_on() noexcept {
    if (left_ > 1) {
        at_ += reinterpret_cast<tpacket3_hdr const*>(at_)->tp_next_offset;
        --left_;
        return;
    }
    left_ = 0;
    status().store(TP_STATUS_KERNEL, std::memory_order_release);
    if (++block_ == blocks_) block_ = 0;
}

template <class Calls>
bool flood_ring<Calls>::copy(std::uint8_t const* from, std::uint8_t* to, frame& out) const noexcept {
    auto const& header = *reinterpret_cast<tpacket3_hdr const*>(from);
    if (header.tp_snaplen < header.tp_len || header.tp_len > longest_syn_bytes) return false;
    virtio_header device;
    std::memcpy(&device, from + header.tp_mac - sizeof device, sizeof device);
    std::memcpy(to, from + header.tp_mac, header.tp_len);
    out = frame{};
    out.offload = to_offload(device);
    out.data = to;
    out.length = header.tp_len;
    out.capacity = copy_bytes - untagged_frame_offset;
    restore_vlan_tag({header.tp_status, header.hv1.tp_vlan_tci, header.hv1.tp_vlan_tpid}, out);
    out.wire_length = out.length;
    return true;
}

template <class Calls>
std::size_t flood_ring<Calls>::receive(std::span<frame> frames, std::uint64_t& cut) noexcept {
    std::size_t const most = std::min(frames.size(), copies);
    std::size_t count = 0;
    for (std::size_t looked = 0; looked < most && (left_ != 0 || open_block()); ++looked) {
        if (copy(at_, &copies_[count * copy_bytes + untagged_frame_offset], frames[count])) ++count;
        else ++cut;
        step_on();
    }
    return count;
}

}  // namespace halfproxy::af_packet_detail
