// SPDX-License-Identifier: BSL-1.0
// Opening an AF_PACKET port step by step; each failure names the interface, the step and the remedy.
#pragma once

#include <halfproxy/io/af_packet.hpp>

#include "flood_ring.hpp"
#include "ring_socket.hpp"
#include "transmit_ring.hpp"

#include <cerrno>
#include <cstring>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/socket.h>
#include <utility>

namespace halfproxy {

namespace af_packet_detail {

/// One allocation of the kernel's.
inline constexpr std::uint32_t block_bytes = 2u << 20;

/// The kernel's headers, the virtio-net header and this reserve precede a frame. At least 4 bytes to put a VLAN tag
/// back; 6 modulo 16 so that the 10-byte virtio-net header leaves the IP header aligned to 16.
inline constexpr unsigned headroom_bytes = 38;

inline constexpr char const* privilege_remedy = "it needs CAP_NET_RAW: run it as root, or in a namespace of your own (unshare -Urn)";
inline constexpr char const* kernel_remedy = "the kernel is too old or built without packet sockets (CONFIG_PACKET)";

}  // namespace af_packet_detail

template <class Calls>
basic_af_packet_io<Calls>::basic_af_packet_io(af_packet_options const& options, std::error_code& error, Calls calls)
    : options_(options), calls_(std::move(calls)) {
    error = open();
    if (error) close();
}

template <class Calls>
basic_af_packet_io<Calls>::basic_af_packet_io(af_packet_options const& options, Calls calls)
    : options_(options), calls_(std::move(calls)) {
    std::error_code const error = open();
    if (!error) return;
    close();
    throw std::system_error(error, problem_);
}

template <class Calls>
basic_af_packet_io<Calls>::basic_af_packet_io(basic_af_packet_io&& other) noexcept
    : options_(std::move(other.options_)), calls_(std::move(other.calls_)), problem_(std::move(other.problem_)),
      descriptor_(std::exchange(other.descriptor_, -1)), interface_index_(other.interface_index_), link_address_(other.link_address_),
      ring_(std::exchange(other.ring_, nullptr)), ring_bytes_(std::exchange(other.ring_bytes_, 0)),
      slots_per_block_(other.slots_per_block_), slots_(std::exchange(other.slots_, 0)), next_slot_(other.next_slot_),
      held_first_(other.held_first_), held_count_(std::exchange(other.held_count_, 0)),
      empty_receives_(other.empty_receives_), long_frames_(std::move(other.long_frames_)),
      long_count_(std::exchange(other.long_count_, 0)), queue_(std::move(other.queue_)), flood_(std::move(other.flood_)),
      flooded_(other.flooded_), statistics_(other.statistics_) {}

template <class Calls>
basic_af_packet_io<Calls>::~basic_af_packet_io() {
    close();
}

/// Closing the socket is also what ends promiscuous mode, so a killed process leaves the interface as it was.
template <class Calls>
void basic_af_packet_io<Calls>::close() noexcept {
    if (ring_ != nullptr) calls_.unmap(ring_, ring_bytes_);
    if (descriptor_ >= 0) calls_.close(descriptor_);
    queue_.reset();
    flood_.reset();
    ring_ = nullptr;
    descriptor_ = -1;
    slots_ = held_count_ = 0;
}

template <class Calls>
std::error_code basic_af_packet_io<Calls>::fail(int code, char const* step, char const* remedy) {
    problem_ = "interface '" + options_.interface + "': " + step;
    if (code == EPERM || code == EACCES) remedy = af_packet_detail::privilege_remedy;
    if (remedy != nullptr) problem_ += std::string("; ") + remedy;
    return {code, std::system_category()};
}

template <class Calls>
std::error_code basic_af_packet_io<Calls>::refused(char const* step) {
    return fail(errno, step, errno == ENOPROTOOPT ? af_packet_detail::kernel_remedy : nullptr);
}

template <class Calls>
template <class Value>
std::error_code basic_af_packet_io<Calls>::set_packet_option(int name, Value const& value, char const* step) {
    if (calls_.set_option(descriptor_, SOL_PACKET, name, &value, sizeof value) == 0) return {};
    return refused(step);
}

template <class Calls>
std::error_code basic_af_packet_io<Calls>::open() {
    using step = std::error_code (basic_af_packet_io::*)();
    for (step const next : {&basic_af_packet_io::check_options, &basic_af_packet_io::make_socket,
                            &basic_af_packet_io::set_modes, &basic_af_packet_io::set_send_buffer, &basic_af_packet_io::keep_long_frames,
                            &basic_af_packet_io::map_ring, &basic_af_packet_io::attach, &basic_af_packet_io::join_fanout, &basic_af_packet_io::open_queue,
                            &basic_af_packet_io::open_flood_ring}) {
        if (std::error_code const error = (this->*next)()) return error;
    }
    return {};
}

template <class Calls>
std::error_code basic_af_packet_io<Calls>::check_options() {
    std::string const& name = options_.interface;
    if (name.empty() || name.size() >= IFNAMSIZ) return fail(ENODEV, "not a name an interface can have (1 to 15 bytes)", nullptr);
    if (options_.slots == 0 || options_.slots > 65'536) return fail(EINVAL, "slots must be 1 to 65536", nullptr);
    if (options_.slot_bytes < af_packet_min_slot_bytes || options_.slot_bytes > af_packet_detail::block_bytes ||
        options_.slot_bytes % 64 != 0)
        return fail(EINVAL, "slot_bytes must be a multiple of 64 from 256 to 2097152", nullptr);
    if (options_.long_frames > 1024) return fail(EINVAL, "long_frames must be at most 1024", nullptr);
    if (options_.transmit_slots > 65'536 || options_.transmit_slots % af_packet_detail::transmit_slots_per_block != 0)
        return fail(EINVAL, "transmit_slots must be a multiple of 32 from 0 to 65536", nullptr);
    if (options_.flood_ring_bytes > 1u << 30 || options_.flood_ring_bytes % af_packet_detail::flood_ring_step_bytes != 0)
        return fail(EINVAL, "flood_ring_bytes must be a multiple of 65536 from 0 to 1073741824", nullptr);
    if (options_.transmit_tries == 0) return fail(EINVAL, "transmit_tries must be at least 1", nullptr);
    interface_index_ = static_cast<int>(calls_.name_to_index(name.c_str()));
    if (interface_index_ == 0) return fail(ENODEV, "unknown interface", "list those present with: ip -brief link");
    return {};
}

/// Packets stay out until attach() binds the finished socket to the interface.
template <class Calls>
std::error_code basic_af_packet_io<Calls>::make_socket() {
    descriptor_ = af_packet_detail::open_packet_socket(calls_);
    if (descriptor_ >= 0) return {};
    return fail(errno, "cannot open a packet socket", errno == EAFNOSUPPORT ? af_packet_detail::kernel_remedy : nullptr);
}

template <class Calls>
std::error_code basic_af_packet_io<Calls>::set_modes() {
    int const version = TPACKET_V2, on = 1;
    unsigned const headroom = af_packet_detail::headroom_bytes;
    if (auto e = set_packet_option(PACKET_VERSION, version, "cannot choose ring version 2")) return e;
    if (auto e = set_packet_option(PACKET_VNET_HDR, on, "cannot switch on the virtio-net header")) return e;
    if (auto e = set_packet_option(PACKET_RESERVE, headroom, "cannot reserve headroom")) return e;
    if (auto e = set_packet_option(PACKET_IGNORE_OUTGOING, on, "cannot leave out our own frames")) return e;
    if (options_.bypass_qdisc)
        if (auto e = set_packet_option(PACKET_QDISC_BYPASS, on, "cannot bypass the queueing discipline")) return e;
    return {};
}

template <class Calls>
bool basic_af_packet_io<Calls>::set_socket_option(int name, std::uint32_t value) noexcept {
    int const number = static_cast<int>(value);
    return calls_.set_option(descriptor_, SOL_SOCKET, name, &number, sizeof number) == 0;
}

/// Without CAP_NET_ADMIN the administrator's maximum (net.core.wmem_max) bounds the buffer; smaller works too.
template <class Calls>
std::error_code basic_af_packet_io<Calls>::set_send_buffer() {
    std::uint32_t const size = options_.send_buffer_bytes;
    if (set_socket_option(SO_SNDBUFFORCE, size) || set_socket_option(SO_SNDBUF, size)) return {};
    return fail(errno, "cannot set the send buffer", nullptr);
}

/// The same with net.core.rmem_max, whose default is two GSO frames: most of them would be lost. The kernel reports twice what it granted.
template <class Calls>
std::error_code basic_af_packet_io<Calls>::set_receive_buffer() {
    std::uint32_t const size = options_.receive_buffer_bytes;
    if (set_socket_option(SO_RCVBUFFORCE, size)) return {};
    int granted = 0;
    unsigned bytes = sizeof granted;
    if (!set_socket_option(SO_RCVBUF, size) || calls_.get_option(descriptor_, SOL_SOCKET, SO_RCVBUF, &granted, &bytes) != 0)
        return fail(errno, "cannot set the receive buffer", nullptr);
    if (granted >= 0 && static_cast<std::uint32_t>(granted) / 2 >= size) return {};
    return fail(ENOBUFS, "the receive buffer for long frames may not be so large",
                "it needs CAP_NET_ADMIN, a larger net.core.rmem_max, or no long frames and slots of 66048 bytes");
}

/// The kernel keeps frames that are longer than a slot once a threshold is set; it does not look at the threshold's value.
template <class Calls>
std::error_code basic_af_packet_io<Calls>::keep_long_frames() {
    if (options_.long_frames == 0) return {};
    if (auto e = set_receive_buffer()) return e;
    int const threshold = static_cast<int>(options_.slot_bytes);
    if (auto e = set_packet_option(PACKET_COPY_THRESH, threshold, "cannot have long frames kept")) return e;
    // Written to now, so that the process does not grow when such frames come.
    long_frames_ = std::make_unique<std::uint8_t[]>(std::size_t{options_.long_frames} * af_packet_long_frame_bytes);
    return {};
}

template <class Calls>
std::error_code basic_af_packet_io<Calls>::map_ring() {
    slots_per_block_ = af_packet_detail::block_bytes / options_.slot_bytes;
    std::uint32_t const blocks = (options_.slots + slots_per_block_ - 1) / slots_per_block_;
    tpacket_req request{};
    request.tp_block_size = af_packet_detail::block_bytes;
    request.tp_block_nr = blocks;
    request.tp_frame_size = options_.slot_bytes;
    request.tp_frame_nr = blocks * slots_per_block_;
    if (auto e = set_packet_option(PACKET_RX_RING, request, "cannot allocate the receive ring (in pieces of 2 MiB)")) return e;
    ring_bytes_ = std::size_t{blocks} * af_packet_detail::block_bytes;
    ring_ = static_cast<std::uint8_t*>(calls_.map(ring_bytes_, descriptor_));
    if (ring_ == nullptr) return fail(errno, "cannot map the receive ring", "give it fewer slots");
    slots_ = request.tp_frame_nr;
    return {};
}

template <class Calls>
std::error_code basic_af_packet_io<Calls>::attach() {
    if (options_.promiscuous) {
        packet_mreq membership{};
        membership.mr_ifindex = interface_index_;
        membership.mr_type = PACKET_MR_PROMISC;
        if (auto e = set_packet_option(PACKET_ADD_MEMBERSHIP, membership, "cannot make it promiscuous")) return e;
    }
    if (options_.all_multicast) {
        packet_mreq membership{};
        membership.mr_ifindex = interface_index_;
        membership.mr_type = PACKET_MR_ALLMULTI;
        if (auto e = set_packet_option(PACKET_ADD_MEMBERSHIP, membership, "cannot take frames for all groups")) return e;
    }
    if (!af_packet_detail::bind_packet_socket(calls_, descriptor_, interface_index_, ETH_P_ALL))
        return fail(errno, "cannot bind to it", errno == ENODEV ? "it disappeared meanwhile" : nullptr);
    sockaddr_ll address{};
    unsigned bytes = sizeof address;
    if (calls_.local_address(descriptor_, reinterpret_cast<sockaddr*>(&address), &bytes) != 0)
        return fail(errno, "cannot read its type", nullptr);
    if (address.sll_hatype != ARPHRD_ETHER && address.sll_hatype != ARPHRD_LOOPBACK)
        return fail(ENOTSUP, "its frames have no Ethernet header", "a half proxy joins two Ethernet interfaces");
    std::memcpy(link_address_.data(), address.sll_addr, link_address_.size());
    return {};
}

template <class Calls>
std::error_code basic_af_packet_io<Calls>::join_fanout() {
    if (!options_.fanout) return {};
    int const argument = options_.fanout->group | (PACKET_FANOUT_HASH << 16);
    return set_packet_option(PACKET_FANOUT, argument, "cannot join the fanout group (another program may use its number)");
}

template <class Calls>
std::error_code basic_af_packet_io<Calls>::open_queue() {
    if (options_.transmit_slots == 0) return {};
    queue_ = std::make_unique<af_packet_detail::transmit_ring<Calls>>(calls_);
    char const* const step = queue_->open({.interface_index = interface_index_,
                                           .slots = options_.transmit_slots,
                                           .send_buffer_bytes = options_.send_buffer_bytes,
                                           .bypass_qdisc = options_.bypass_qdisc});
    return step == nullptr ? std::error_code{} : refused(step);
}

/// Members of a fanout group would each receive every SYN.
template <class Calls>
std::error_code basic_af_packet_io<Calls>::open_flood_ring() {
    if (options_.flood_ring_bytes == 0 || options_.fanout) return {};
    flood_ = std::make_unique<af_packet_detail::flood_ring<Calls>>(calls_);
    char const* const step = flood_->open(interface_index_, options_.flood_ring_bytes);
    return step == nullptr ? std::error_code{} : refused(step);
}

}  // namespace halfproxy
