// SPDX-License-Identifier: BSL-1.0
// A kernel for AF_PACKET ports made of plain memory: fills the ring, records what is set and sent, fails when told to.
#pragma once

#include "src/io/af_packet_impl.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace halfproxy::test {

using virtio_header = af_packet_detail::virtio_header;

/// A frame as the kernel hands it over.
struct ring_frame {
    std::vector<std::uint8_t> bytes;
    virtio_header device{};
    std::uint32_t status = 0;  ///< beside TP_STATUS_USER
    std::uint16_t vlan_tci = 0;
    std::uint16_t vlan_tpid = 0;
    std::uint32_t bytes_lost = 0;  ///< cut off for want of room in the slot and in the queue
};

struct sent_frame {
    virtio_header device;
    std::vector<std::uint8_t> bytes;
};

/// State shared by all copies of packet_calls.
struct packet_kernel {
    // What to do
    std::map<std::string, unsigned> interfaces{{"eth0", 7}};
    int socket_error = 0;
    std::map<int, int> option_errors;  ///< by option name, level SOL_PACKET
    std::map<int, int> flood_option_errors;  ///< the same for the socket of version 3
    int filter_error = 0;  ///< of the next program that is attached
    int bind_error = 0;
    bool administrator = true;     ///< may exceed the maxima of socket buffers
    int largest_buffer = 212'992;  ///< for anybody else
    bool map_fails = false;
    unsigned short hardware_type = ARPHRD_ETHER;
    std::deque<int> send_results;  ///< for the next calls: at most so many frames, or -errno; then everything is taken
    tpacket_stats next_statistics{};
    tpacket_stats next_flood_statistics{};
    std::deque<int> receive_errors;  ///< of the next calls, which take nothing from the queue; EINVAL does

    // What was done
    std::map<int, std::vector<std::uint8_t>> options;
    std::map<int, std::vector<std::uint8_t>> flood_options;
    std::map<int, std::vector<sock_filter>> filters;  ///< by descriptor
    std::vector<int> bound;                           ///< descriptors, in order
    int receive_buffer = 0;
    int open_descriptors = 0;
    int waits = 0;
    int socket_errors_read = 0;
    std::size_t send_calls = 0;
    std::size_t largest_send = 0;
    std::vector<sent_frame> sent;

    tpacket_req ring{};
    std::uint32_t write_position = 0;
    std::deque<sent_frame> queue;  ///< frames longer than a slot, whole
    struct page_delete {
        void operator()(std::uint8_t* p) const { ::operator delete[](p, std::align_val_t{4096}); }
    };
    std::unique_ptr<std::uint8_t[], page_delete> memory;
    tpacket_req transmit_ring{};
    std::unique_ptr<std::uint8_t[], page_delete> transmit_memory;
    std::uint32_t read_position = 0;
    bool keeps_slots = false;  ///< as a device does until it has sent them
    std::size_t ring_calls = 0;
    int maps = 0;

    int flood_descriptor = -1;
    std::unique_ptr<std::uint8_t[], page_delete> flood_memory;
    std::uint32_t flood_block = 0;  ///< filled next

    tpacket2_hdr& slot(std::uint32_t index) {
        std::uint32_t const per_block = ring.tp_block_size / ring.tp_frame_size;
        return *reinterpret_cast<tpacket2_hdr*>(&memory[std::size_t{index / per_block} * ring.tp_block_size +
                                                        std::size_t{index % per_block} * ring.tp_frame_size]);
    }

    tpacket2_hdr& slot_to_send() {
        return *reinterpret_cast<tpacket2_hdr*>(&transmit_memory[std::size_t{read_position} * transmit_ring.tp_frame_size]);
    }
    static sent_frame read(tpacket2_hdr& slot) {
        sent_frame out{};
        auto const* const data = reinterpret_cast<std::uint8_t const*>(&slot) + af_packet_detail::transmit_data_offset;
        std::memcpy(&out.device, data, sizeof out.device);
        out.bytes.assign(data + sizeof out.device, data + slot.tp_len);
        return out;
    }

    /// Hands over a block of them; false when the next one is not the kernel's.
    bool deliver_block(std::vector<ring_frame> const& frames) {
        tpacket_req3 request{};
        std::memcpy(&request, flood_options.at(PACKET_RX_RING).data(), sizeof request);
        std::uint8_t* const start = &flood_memory[std::size_t{flood_block} * request.tp_block_size];
        auto& block = reinterpret_cast<tpacket_block_desc*>(start)->hdr.bh1;
        if (block.block_status != TP_STATUS_KERNEL) return false;
        block.num_pkts = static_cast<__u32>(frames.size());
        block.offset_to_first_pkt = 48;
        std::uint8_t* at = start + block.offset_to_first_pkt;
        for (ring_frame const& f : frames) at += write(f, *reinterpret_cast<tpacket3_hdr*>(at));
        block.block_status = TP_STATUS_USER;
        flood_block = (flood_block + 1) % request.tp_block_nr;
        return true;
    }
    static std::uint32_t write(ring_frame const& f, tpacket3_hdr& header) {
        header = {};
        header.tp_mac = 120;
        header.tp_snaplen = static_cast<__u32>(f.bytes.size());
        header.tp_len = header.tp_snaplen + f.bytes_lost;
        header.tp_status = f.status;
        header.hv1.tp_vlan_tci = f.vlan_tci;
        header.hv1.tp_vlan_tpid = f.vlan_tpid;
        header.tp_next_offset = (header.tp_mac + header.tp_snaplen + 7) / 8 * 8;
        auto* const data = reinterpret_cast<std::uint8_t*>(&header) + header.tp_mac;
        std::memcpy(data - sizeof f.device, &f.device, sizeof f.device);
        std::copy(f.bytes.begin(), f.bytes.end(), data);
        return header.tp_next_offset;
    }

    /// False when the ring is full.
    bool deliver(ring_frame const& f) {
        tpacket2_hdr& header = slot(write_position);
        if (header.tp_status != TP_STATUS_KERNEL) return false;
        unsigned reserve = 0;
        std::memcpy(&reserve, options.at(PACKET_RESERVE).data(), sizeof reserve);
        auto const network = TPACKET_ALIGN(TPACKET2_HDRLEN + 16) + reserve + sizeof(virtio_header);
        header.tp_mac = static_cast<__u16>(network - 14);
        header.tp_net = static_cast<__u16>(network);
        auto const length = static_cast<__u32>(f.bytes.size());
        header.tp_snaplen = std::min<__u32>(length, ring.tp_frame_size - header.tp_mac);
        header.tp_len = length + f.bytes_lost;
        header.tp_vlan_tci = f.vlan_tci;
        header.tp_vlan_tpid = f.vlan_tpid;
        auto* const data = reinterpret_cast<std::uint8_t*>(&header) + header.tp_mac;
        std::memcpy(data - sizeof f.device, &f.device, sizeof f.device);
        std::copy_n(f.bytes.begin(), header.tp_snaplen, data);
        header.tp_status = TP_STATUS_USER | f.status;
        if (header.tp_snaplen < length && f.bytes_lost == 0 && options.contains(PACKET_COPY_THRESH)) {
            queue.push_back({f.device, f.bytes});
            header.tp_status |= TP_STATUS_COPY;
        }
        write_position = (write_position + 1) % ring.tp_frame_nr;
        return true;
    }
};

/// The seam: same members as linux_packet_calls.
struct packet_calls {
    packet_kernel* kernel = nullptr;

    static int fail(int code) {
        errno = code;
        return -1;
    }
    unsigned name_to_index(char const* name) noexcept {
        auto const found = kernel->interfaces.find(name);
        return found == kernel->interfaces.end() ? 0 : found->second;
    }
    int socket(int, int, int) noexcept {
        if (kernel->socket_error != 0) return fail(kernel->socket_error);
        return ++kernel->open_descriptors, 41 + kernel->open_descriptors;
    }
    int set_option(int descriptor, int level, int name, void const* value, unsigned bytes) noexcept {
        if (level == SOL_SOCKET && name == SO_ATTACH_FILTER) return attach(descriptor, *static_cast<sock_fprog const*>(value));
        if (level == SOL_SOCKET && name == SO_DETACH_FILTER) return kernel->filters.erase(descriptor) == 1 ? 0 : fail(ENOENT);
        if (level == SOL_SOCKET) return set_buffer(name, value);
        if (name == PACKET_VERSION && *static_cast<int const*>(value) == TPACKET_V3) kernel->flood_descriptor = descriptor;
        if (descriptor == kernel->flood_descriptor) return set_flood_option(name, value, bytes);
        if (auto const e = kernel->option_errors.find(name); e != kernel->option_errors.end()) return fail(e->second);
        auto const* first = static_cast<std::uint8_t const*>(value);
        kernel->options[name].assign(first, first + bytes);
        if (name == PACKET_TX_RING) std::memcpy(&kernel->transmit_ring, value, sizeof kernel->transmit_ring);
        if (name == PACKET_RX_RING) std::memcpy(&kernel->ring, value, sizeof kernel->ring);
        return 0;
    }
    int set_flood_option(int name, void const* value, unsigned bytes) noexcept {
        if (auto const e = kernel->flood_option_errors.find(name); e != kernel->flood_option_errors.end()) return fail(e->second);
        auto const* first = static_cast<std::uint8_t const*>(value);
        kernel->flood_options[name].assign(first, first + bytes);
        return 0;
    }
    int attach(int descriptor, sock_fprog const& program) noexcept {
        if (int const error = std::exchange(kernel->filter_error, 0); error != 0) return fail(error);
        kernel->filters[descriptor].assign(program.filter, program.filter + program.len);
        return 0;
    }
    int set_buffer(int name, void const* value) noexcept {
        if (name != SO_RCVBUFFORCE && name != SO_RCVBUF) return 0;
        if (name == SO_RCVBUFFORCE && !kernel->administrator) return fail(EPERM);
        std::memcpy(&kernel->receive_buffer, value, sizeof kernel->receive_buffer);
        if (name == SO_RCVBUF) kernel->receive_buffer = std::min(kernel->receive_buffer, kernel->largest_buffer);
        return 0;
    }
    int get_option(int descriptor, int level, int name, void* value, unsigned* bytes) noexcept {
        if (level == SOL_SOCKET && name == SO_RCVBUF) {
            int const doubled = 2 * kernel->receive_buffer;
            return std::memcpy(value, &doubled, sizeof doubled), 0;
        }
        if (level == SOL_SOCKET) return ++kernel->socket_errors_read, 0;
        *bytes = sizeof(tpacket_stats);
        auto& statistics = descriptor == kernel->flood_descriptor ? kernel->next_flood_statistics : kernel->next_statistics;
        std::memcpy(value, &statistics, sizeof statistics);
        statistics = {};
        return 0;
    }
    int bind(int descriptor, sockaddr const*, unsigned) noexcept {
        if (kernel->bind_error != 0) return fail(kernel->bind_error);
        return kernel->bound.push_back(descriptor), 0;
    }
    int local_address(int, sockaddr* address, unsigned*) noexcept {
        reinterpret_cast<sockaddr_ll*>(address)->sll_hatype = kernel->hardware_type;
        return 0;
    }
    void* map(std::size_t bytes, int descriptor) noexcept {
        if (kernel->map_fails) return fail(ENOMEM), nullptr;
        bool const to_send = bytes == std::size_t{kernel->transmit_ring.tp_block_nr} * kernel->transmit_ring.tp_block_size;
        auto& memory = descriptor == kernel->flood_descriptor ? kernel->flood_memory : to_send ? kernel->transmit_memory : kernel->memory;
        memory.reset(new (std::align_val_t{4096}) std::uint8_t[bytes]());
        ++kernel->maps;
        return memory.get();
    }
    void unmap(void*, std::size_t) noexcept { --kernel->maps; }
    int send_ring(int, int) noexcept {
        ++kernel->send_calls;
        ++kernel->ring_calls;
        int most = 65'536;
        if (!kernel->send_results.empty()) {
            most = kernel->send_results.front();
            kernel->send_results.pop_front();
        }
        for (int count = 0;; ++count) {
            tpacket2_hdr& slot = kernel->slot_to_send();
            if (slot.tp_status != TP_STATUS_SEND_REQUEST || count == most) return kernel->largest_send = std::max<std::size_t>(kernel->largest_send, static_cast<std::size_t>(count)), count;
            if (most < 0) {
                if (most == -EMSGSIZE) slot.tp_status = TP_STATUS_WRONG_FORMAT;
                return fail(-most);
            }
            kernel->sent.push_back(kernel->read(slot));
            slot.tp_status = kernel->keeps_slots ? TP_STATUS_SENDING : TP_STATUS_AVAILABLE;
            kernel->read_position = (kernel->read_position + 1) % kernel->transmit_ring.tp_frame_nr;
        }
    }
    int send_many(int, mmsghdr* messages, unsigned count, int) noexcept {
        ++kernel->send_calls;
        kernel->largest_send = std::max<std::size_t>(kernel->largest_send, count);
        if (!kernel->send_results.empty()) {
            int const result = kernel->send_results.front();
            kernel->send_results.pop_front();
            if (result < 0) return fail(-result);
            count = std::min(count, static_cast<unsigned>(result));
        }
        for (unsigned i = 0; i < count; ++i) kernel->sent.push_back(gather(messages[i]));
        return static_cast<int>(count);
    }
    std::ptrdiff_t receive_message(int, msghdr* message, int) noexcept {
        int error = 0;
        if (!kernel->receive_errors.empty()) {
            error = kernel->receive_errors.front();
            kernel->receive_errors.pop_front();
        }
        if (kernel->queue.empty()) error = EAGAIN;
        if (error != 0 && error != EINVAL) return fail(error);
        sent_frame const first = std::move(kernel->queue.front());
        kernel->queue.pop_front();
        if (error != 0) return fail(error);
        iovec const &head = message->msg_iov[0], &body = message->msg_iov[1];
        std::size_t const copied = std::min(first.bytes.size(), body.iov_len);
        std::memcpy(head.iov_base, &first.device, sizeof first.device);
        std::memcpy(body.iov_base, first.bytes.data(), copied);
        message->msg_flags = copied < first.bytes.size() ? MSG_TRUNC : 0;
        return static_cast<std::ptrdiff_t>(sizeof first.device + copied);
    }
    int wait_writable(int, int) noexcept { return ++kernel->waits, 1; }
    int close(int) noexcept { return --kernel->open_descriptors, 0; }

    static sent_frame gather(mmsghdr const& message) {
        sent_frame out{};
        std::memcpy(&out.device, message.msg_hdr.msg_iov[0].iov_base, sizeof out.device);
        auto const* first = static_cast<std::uint8_t const*>(message.msg_hdr.msg_iov[1].iov_base);
        out.bytes.assign(first, first + message.msg_hdr.msg_iov[1].iov_len);
        return out;
    }
};

}  // namespace halfproxy::test
