// SPDX-License-Identifier: BSL-1.0
// The packet path of an AF_PACKET port: slots of the ring out and back, batches in.
#pragma once

#include "af_packet_setup.hpp"
#include "flood_ring.hpp"
#include "transmit_ring.hpp"
#include "virtio_header.hpp"
#include "vlan_tag.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <memory>
#include <sys/uio.h>

namespace halfproxy {

namespace af_packet_detail {

inline constexpr std::size_t batch_frames = 64;

inline constexpr std::uint32_t long_frame_room = af_packet_long_frame_bytes - untagged_frame_offset;
inline constexpr std::uint32_t fetch_tries = 3;

/// An interface that went down makes the socket readable until its error is fetched. A system call on every empty
/// receive() would spoil spinning, one on every 64th ends the wake-ups soon enough.
inline constexpr std::uint32_t empty_receives_per_check = 64;

/// Room comes back when the receiver's softirq has run, mostly at once; only a send buffer that stays full is waited for.
inline constexpr std::uint32_t tries_without_wait = 2;
inline constexpr int wait_for_room_ms = 1;

inline bool no_room(int code) noexcept { return code == EAGAIN || code == ENOBUFS || code == ENOMEM || code == EINTR; }
inline bool link_down(int code) noexcept { return code == ENETDOWN || code == ENXIO || code == ENODEV; }

}  // namespace af_packet_detail

template <class Calls>
io_capabilities basic_af_packet_io<Calls>::capabilities() const noexcept {
    return {.link = link_type::ethernet, .partial_checksums = true, .segmentation = true,
            .max_frame_bytes = std::max(options_.long_frames != 0 ? af_packet_long_frame_bytes : 0, options_.slot_bytes) - frame_slack_bytes};
}

template <class Calls>
tpacket2_hdr& basic_af_packet_io<Calls>::slot(std::uint32_t index) const noexcept {
    std::size_t const block = index / slots_per_block_, within = index % slots_per_block_;
    return *reinterpret_cast<tpacket2_hdr*>(ring_ + block * af_packet_detail::block_bytes + within * options_.slot_bytes);
}

/// Release pairs with the kernel's read barrier: our last look at the bytes is over before it may overwrite them.
template <class Calls>
void basic_af_packet_io<Calls>::release_slots() noexcept {
    for (; held_count_ != 0; --held_count_) {
        std::atomic_ref<__u32>(slot(held_first_).tp_status).store(TP_STATUS_KERNEL, std::memory_order_release);
        if (++held_first_ == slots_) held_first_ = 0;
    }
}

template <class Calls>
std::uint8_t* basic_af_packet_io<Calls>::long_frame() const noexcept {
    return &long_frames_[std::size_t{long_count_} * af_packet_long_frame_bytes + af_packet_detail::untagged_frame_offset];
}

/// False when the frame is lost: it was cut, for the queue had no room for it.
template <class Calls>
bool basic_af_packet_io<Calls>::take(tpacket2_hdr const& header, frame& out) noexcept {
    out = frame{};
    out.length = header.tp_len;
    bool const taken = (header.tp_status & TP_STATUS_COPY) != 0 ? take_long(header, out) : take_slot(header, out);
    if (!taken) return false;
    af_packet_detail::restore_vlan_tag({header.tp_status, header.tp_vlan_tci, header.tp_vlan_tpid}, out);
    out.wire_length = out.length;
    return true;
}

/// A frame that fills its slot to the last bytes moves to where there is room behind it.
template <class Calls>
bool basic_af_packet_io<Calls>::take_slot(tpacket2_hdr const& header, frame& out) noexcept {
    std::uint32_t const room = options_.slot_bytes - std::min<std::uint32_t>(header.tp_mac, options_.slot_bytes);
    if (header.tp_snaplen < header.tp_len) return false;
    auto* const data = reinterpret_cast<std::uint8_t*>(const_cast<tpacket2_hdr*>(&header)) + header.tp_mac;
    af_packet_detail::virtio_header device;
    std::memcpy(&device, data - sizeof device, sizeof device);
    out.offload = af_packet_detail::to_offload(device);
    out.data = data;
    out.capacity = room;
    if (header.tp_len + frame_slack_bytes <= room) return true;
    if (long_frames_ == nullptr || header.tp_len > af_packet_detail::long_frame_room - frame_slack_bytes) return false;
    out.data = long_frame();
    out.capacity = af_packet_detail::long_frame_room;
    std::memcpy(out.data, data, header.tp_len);
    ++long_count_;
    return true;
}

template <class Calls>
bool basic_af_packet_io<Calls>::take_long(tpacket2_hdr const& header, frame& out) noexcept {
    af_packet_detail::virtio_header device;
    if (!fetch(header, device, long_frame())) return false;
    out.offload = af_packet_detail::to_offload(device);
    out.data = long_frame();
    out.capacity = af_packet_detail::long_frame_room;
    ++long_count_;
    return true;
}

/// The frame at the queue's head is the one this slot stands for: the kernel puts both in their places under one lock. An interface that went down
/// left an error, which is reported first and only once.
template <class Calls>
bool basic_af_packet_io<Calls>::fetch(tpacket2_hdr const& header, af_packet_detail::virtio_header& device, std::uint8_t* to) noexcept {
    std::array<iovec, 2> pieces{iovec{&device, sizeof device}, iovec{to, af_packet_detail::long_frame_room - frame_slack_bytes}};
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size();
    for (std::uint32_t tries = 0; tries < af_packet_detail::fetch_tries; ++tries) {
        std::ptrdiff_t const bytes = calls_.receive_message(descriptor_, &message, MSG_DONTWAIT);
        if (bytes >= 0) return static_cast<std::size_t>(bytes) == header.tp_len + sizeof device && (message.msg_flags & MSG_TRUNC) == 0;
        if (!af_packet_detail::link_down(errno) && errno != EINTR) return false;
    }
    return false;
}

template <class Calls>
std::size_t basic_af_packet_io<Calls>::receive_slots(std::span<frame> frames) noexcept {
    release_slots();
    // A slot we hold still says "user": looking further than one round would hand it out twice.
    std::size_t const most = std::min<std::size_t>(frames.size(), slots_);
    std::size_t count = 0;
    long_count_ = 0;
    while (held_count_ < most && (long_frames_ == nullptr || long_count_ < options_.long_frames)) {
        tpacket2_hdr& header = slot(next_slot_);
        // Acquire pairs with the kernel's write barrier: the bytes are there before the status says so.
        if ((std::atomic_ref<__u32>(header.tp_status).load(std::memory_order_acquire) & TP_STATUS_USER) == 0) break;
        if (++next_slot_ == slots_) next_slot_ = 0;
        __builtin_prefetch(&slot(next_slot_));
        ++held_count_;
        if (take(header, frames[count])) ++count;
        else ++statistics_.receive_truncated;
    }
    return count;
}

/// What came before a SYN is handed out before it: when its block is seen first, whatever is older is in the slots already. (A RST and the SYN that
/// uses its ports again would else change places.) More frames than there is room for leave SYNs a quarter of it, whatever their order.
template <class Calls>
std::size_t basic_af_packet_io<Calls>::receive(std::span<frame> frames) noexcept {
    bool const syns = flood_ != nullptr && flood_->ready();
    std::size_t count = receive_slots(syns ? frames.first(frames.size() - frames.size() / 4) : frames);
    if (syns) {
        std::size_t const more = flood_->receive(frames.subspan(count), statistics_.receive_truncated);
        statistics_.flood_received += more;
        count += more;
    }
    statistics_.received += count;
    empty_receives_ = count == 0 && held_count_ == 0 ? empty_receives_ + 1 : 0;
    if (empty_receives_ == af_packet_detail::empty_receives_per_check) clear_socket_error();
    return count;
}

/// In between SYNs come twice, for some microseconds; never not at all.
template <class Calls>
void basic_af_packet_io<Calls>::set_flooded(bool on) noexcept {
    if (flood_ == nullptr || on == flooded_) return;
    using namespace af_packet_detail;
    flooded_ = on && flood_->take_syns(true) && attach_filter(calls_, descriptor_, make_syn_filter(filter_takes_none, filter_takes_all));
    if (flooded_) return;
    int const ignored = 0;
    static_cast<void>(calls_.set_option(descriptor_, SOL_SOCKET, SO_DETACH_FILTER, &ignored, sizeof ignored));
    static_cast<void>(flood_->take_syns(false));
}

template <class Calls>
void basic_af_packet_io<Calls>::clear_socket_error() noexcept {
    int ignored = 0;
    unsigned bytes = sizeof ignored;
    if (descriptor_ >= 0) calls_.get_option(descriptor_, SOL_SOCKET, SO_ERROR, &ignored, &bytes);
    empty_receives_ = 0;
}

/// What sendmmsg(2) wants: for each message the virtio-net header and the bytes, gathered.
template <class Calls>
struct basic_af_packet_io<Calls>::batch {
    std::array<af_packet_detail::virtio_header, af_packet_detail::batch_frames> headers;
    std::array<std::array<iovec, 2>, af_packet_detail::batch_frames> pieces;
    std::array<mmsghdr, af_packet_detail::batch_frames> messages;

    void set(std::size_t index, tx_frame const& frame) noexcept {
        headers[index] = af_packet_detail::to_header(frame.offload);
        pieces[index][0] = {&headers[index], sizeof headers[index]};
        pieces[index][1] = {const_cast<std::uint8_t*>(frame.bytes.data()), frame.bytes.size()};
        messages[index] = {};
        messages[index].msg_hdr.msg_iov = pieces[index].data();
        messages[index].msg_hdr.msg_iovlen = pieces[index].size();
    }
};

/// What is to be done about frames that a call has left. `so_far` is of these frames alone.
template <class Calls>
auto basic_af_packet_io<Calls>::judge(int code, attempts& so_far, int descriptor) noexcept -> next_step {
    if (code == 0 || af_packet_detail::no_room(code)) {
        if (++so_far.without_room >= options_.transmit_tries) return next_step::give_back;
        ++statistics_.transmit_retries;
        if (so_far.without_room > af_packet_detail::tries_without_wait) calls_.wait_writable(descriptor, af_packet_detail::wait_for_room_ms);
        return next_step::again;
    }
    // The first such error may be an old one that is only now reported; the second is about these frames.
    if (af_packet_detail::link_down(code)) return std::exchange(so_far.seen_down, true) ? next_step::lose_all : next_step::again;
    return next_step::lose_first;
}

/// Past the queueing discipline the kernel takes no frame that it would have to cut up itself, the device having no TSO or none any more: each time it
/// says that there are no buffers. Both sockets change, so that frames keep their order. False: they had not bypassed it.
template <class Calls>
bool basic_af_packet_io<Calls>::stop_bypassing() noexcept {
    if (!std::exchange(options_.bypass_qdisc, false)) return false;
    int const off = 0;
    static_cast<void>(calls_.set_option(descriptor_, SOL_PACKET, PACKET_QDISC_BYPASS, &off, sizeof off));
    if (queue_ != nullptr) queue_->stop_bypassing();
    return true;
}

template <class Calls>
bool basic_af_packet_io<Calls>::send_batch(batch& all, std::size_t count, std::size_t& done) noexcept {
    attempts so_far;
    while (done < count) {
        auto const left = static_cast<unsigned>(count - done);
        int const sent = calls_.send_many(descriptor_, &all.messages[done], left, MSG_DONTWAIT);
        if (sent > 0) {
            statistics_.transmitted += static_cast<unsigned>(sent);
            done += static_cast<unsigned>(sent);
            so_far.without_room = 0;
            continue;
        }
        int const code = sent == 0 ? 0 : errno;
        if (code == ENOBUFS && all.headers[done].segment_type != 0 && stop_bypassing()) continue;
        switch (judge(code, so_far, descriptor_)) {
            case next_step::again: break;
            case next_step::give_back: return false;
            case next_step::lose_all:
                statistics_.transmit_link_down += left;
                done = count;
                break;
            case next_step::lose_first:
                ++statistics_.transmit_refused;
                ++done;
        }
    }
    return true;
}

template <class Calls>
bool basic_af_packet_io<Calls>::send_queued(std::size_t& done) noexcept {
    attempts so_far;
    while (queue_->waiting() != 0) {
        int const code = calls_.send_ring(queue_->descriptor(), MSG_DONTWAIT) < 0 ? errno : 0;
        std::size_t const taken = queue_->take_off();
        statistics_.transmitted += taken;
        done += taken;
        if (taken != 0) so_far.without_room = 0;
        if (queue_->waiting() == 0 || (taken != 0 && code == 0)) continue;
        switch (judge(code, so_far, queue_->descriptor())) {
            case next_step::again: break;
            case next_step::give_back: queue_->withdraw_all(); return false;
            case next_step::lose_all:
                statistics_.transmit_link_down += queue_->waiting();
                done += queue_->waiting();
                queue_->withdraw_all();
                break;
            case next_step::lose_first:
                ++statistics_.transmit_refused;
                ++done;
                queue_->withdraw_first();
        }
    }
    return true;
}

/// Through the ring where all of them fit into it: a frame that does not would have to wait for those before it.
template <class Calls>
std::size_t basic_af_packet_io<Calls>::transmit(std::span<tx_frame const> frames) noexcept {
    std::size_t taken = 0;
    while (taken < frames.size()) {
        std::span<tx_frame const> const some = frames.subspan(taken, std::min(frames.size() - taken, af_packet_detail::batch_frames));
        std::size_t done = 0;
        bool complete;
        if (queue_ != nullptr && std::all_of(some.begin(), some.end(), queue_->fits) && queue_->put(some)) {
            complete = send_queued(done);
        } else {
            batch all;
            for (std::size_t i = 0; i < some.size(); ++i) all.set(i, some[i]);
            complete = send_batch(all, some.size(), done);
        }
        taken += done;
        if (!complete) break;
    }
    statistics_.transmit_no_room += frames.size() - taken;
    return taken;
}

/// The kernel's counters start anew with each reading, so they are added up here.
template <class Calls>
af_packet_statistics basic_af_packet_io<Calls>::statistics() noexcept {
    for (int const socket : {descriptor_, flood_ != nullptr ? flood_->descriptor() : -1}) {
        tpacket_stats fresh{};
        unsigned bytes = sizeof fresh;
        if (socket >= 0 && calls_.get_option(socket, SOL_PACKET, PACKET_STATISTICS, &fresh, &bytes) == 0)
            statistics_.kernel_dropped += fresh.tp_drops;
    }
    return statistics_;
}

}  // namespace halfproxy
