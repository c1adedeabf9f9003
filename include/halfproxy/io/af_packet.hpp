// SPDX-License-Identifier: BSL-1.0
// One Linux interface as a port: AF_PACKET with a receive ring of small slots beside a queue for what is longer, GSO frames above all.
#pragma once

#include <halfproxy/io/packet_io.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>

struct mmsghdr;
struct msghdr;
struct sockaddr;
struct tpacket2_hdr;

namespace halfproxy {

/// Several sockets on one interface share its packets by a hash of the flow that is the same for both directions
/// (PACKET_FANOUT_HASH). The kernel numbers the members in the order they join: for a pair of interfaces, open shard
/// 0 on both, then shard 1 on both, and a flow arrives at one shard whichever way it goes.
struct af_packet_fanout {
    std::uint16_t group = 0;  ///< unique per interface within the network namespace
};

/// What to open and how much memory to give it. Defaults fit one thread serving two ports.
struct af_packet_options {
    std::string interface{};
    std::uint32_t slots = 4096;                ///< frames the kernel may hand over before it must drop
    std::uint32_t slot_bytes = 1984;           ///< of one slot, its headers and frame_slack_bytes included; a multiple of 64, an odd one is best
    std::uint32_t long_frames = 64;            ///< longer than a slot, handed out by one receive() at most; 0: they are lost
    std::uint32_t receive_buffer_bytes = 64u << 20;  ///< of such frames the kernel may hold for us, at twice their length (SO_RCVBUF)
    std::uint32_t send_buffer_bytes = 4u << 20; ///< unsent bytes the kernel may hold for us (SO_SNDBUF)
    std::uint32_t transmit_slots = 256;        ///< of the ring for frames that need no segmentation and fit 2 KiB; a multiple of 32; 0: without
    std::uint32_t flood_ring_bytes = 1u << 20; ///< for SYNs while set_flooded(), some 200 bytes each; a multiple of 65,536; 0, or with a fanout: without
    std::uint32_t transmit_tries = 8;          ///< how often a send the kernel has no room for is tried, 1 at least
    bool promiscuous = true;                   ///< take frames for other link addresses; undone when the socket closes
    bool all_multicast = false;                ///< take frames for every group (IPv6's neighbours ask groups); undone likewise
    bool bypass_qdisc = true;                  ///< hand frames straight to the driver (PACKET_QDISC_BYPASS), until one needs segmentation in software
    std::optional<af_packet_fanout> fanout{};
};

inline constexpr std::uint32_t af_packet_min_slot_bytes = 256;

/// A 65,535-byte IP datagram, its link header and tags, the ring's own header and frame_slack_bytes: what a long frame takes of our memory. A slot
/// of so many bytes holds any frame there is.
inline constexpr std::uint32_t af_packet_long_frame_bytes = 66'048;

/// Of one slot of the transmit ring.
inline constexpr std::uint32_t af_packet_transmit_slot_bytes = 2048;

/// Since the port was opened. Every frame that did not make it is in exactly one of the loss counters.
struct af_packet_statistics {
    std::uint64_t received = 0;            ///< frames handed to the caller
    std::uint64_t flood_received = 0;      ///< of them, SYNs that came by the ring for floods
    std::uint64_t transmitted = 0;         ///< frames the kernel took
    std::uint64_t kernel_dropped = 0;      ///< a ring was full (PACKET_STATISTICS)
    std::uint64_t receive_truncated = 0;   ///< longer than a slot, and there was no room for it in the queue (or there is to be none)
    std::uint64_t transmit_no_room = 0;    ///< given back to the caller after transmit_tries attempts
    std::uint64_t transmit_refused = 0;    ///< the kernel refused the frame itself: larger than the MTU, say
    std::uint64_t transmit_link_down = 0;  ///< the interface was down or gone
    std::uint64_t transmit_retries = 0;    ///< attempts repeated for want of room; no loss by itself
};

/// The system calls a port makes: the same arguments, results and errno. Tests pass their own type with these members.
struct linux_packet_calls {
    unsigned name_to_index(char const* name) noexcept;
    int socket(int domain, int type, int protocol) noexcept;
    int set_option(int descriptor, int level, int name, void const* value, unsigned bytes) noexcept;
    int get_option(int descriptor, int level, int name, void* value, unsigned* bytes) noexcept;
    int bind(int descriptor, sockaddr const* address, unsigned bytes) noexcept;
    int local_address(int descriptor, sockaddr* address, unsigned* bytes) noexcept;
    void* map(std::size_t bytes, int descriptor) noexcept;  ///< shared, readable and writable; nullptr on failure
    void unmap(void* address, std::size_t bytes) noexcept;
    std::ptrdiff_t receive_message(int descriptor, msghdr* message, int flags) noexcept;
    int send_many(int descriptor, mmsghdr* messages, unsigned count, int flags) noexcept;
    int send_ring(int descriptor, int flags) noexcept;  ///< what waits in the socket's transmit ring
    int wait_writable(int descriptor, int milliseconds) noexcept;
    int close(int descriptor) noexcept;
};

namespace af_packet_detail {
struct virtio_header;
template <class Calls>
class transmit_ring;
template <class Calls>
class flood_ring;
}

/// A packet_io on which an event loop can wait. Not thread-safe; one object per thread and interface.
///
/// receive() hands out slots of the ring in place; they go back to the kernel at the next receive(). A frame that is longer than a slot has only its
/// place in the ring, as the kernel keeps it whole in the socket's queue: it is fetched by a system call of its own. A VLAN tag the
/// kernel took off is put back in front of the frame first. Frames keep the device's offload_info: a GSO frame
/// arrives whole and, sent with the same offload_info, leaves whole. Work is bounded by frames.size() and never waits.
///
/// transmit() sends in batches of at most 64 frames per system call, small ones through a ring of their own. When the kernel has no room it is tried again at
/// most transmit_tries times, then the rest is left to the caller. A frame the kernel refuses for good is counted and
/// counts as taken. An interface that goes down costs its frames and nothing else: the port works again when it is up.
///
/// packet(7); Documentation/networking/packet_mmap.rst of the Linux kernel; virtio 1.2 section 5.1.6 for the header.
template <class Calls>
class basic_af_packet_io {
  public:
    /// Needs CAP_NET_RAW in the network namespace's user namespace, and CAP_NET_ADMIN there for more receive_buffer_bytes than
    /// net.core.rmem_max. Throws std::system_error, whose text names the
    /// interface, the step that failed and the remedy.
    explicit basic_af_packet_io(af_packet_options const& options, Calls calls = {});

    /// The same without exceptions: on failure `error` is set, is_open() is false and problem() is the text.
    basic_af_packet_io(af_packet_options const& options, std::error_code& error, Calls calls = {});

    basic_af_packet_io(basic_af_packet_io&& other) noexcept;
    basic_af_packet_io& operator=(basic_af_packet_io&&) = delete;
    ~basic_af_packet_io();

    std::size_t receive(std::span<frame> frames) noexcept;
    std::size_t transmit(std::span<tx_frame const> frames) noexcept;
    [[nodiscard]] io_capabilities capabilities() const noexcept;

    /// While on, SYNs come by a ring of their own, so that they cannot displace other packets. One that comes alone is up to four milliseconds late (or a
    /// tick of the kernel's clock, where that is longer), and native_handle() does not tell of it: who waits looks again after a millisecond. A few system
    /// calls, none of which blocks. What the kernel refuses leaves everything as it was.
    void set_flooded(bool on) noexcept;

    [[nodiscard]] int native_handle() const noexcept { return descriptor_; }

    [[nodiscard]] bool is_open() const noexcept { return descriptor_ >= 0; }
    [[nodiscard]] std::string const& problem() const noexcept { return problem_; }
    [[nodiscard]] std::string const& interface() const noexcept { return options_.interface; }
    [[nodiscard]] std::array<std::uint8_t, 6> const& link_address() const noexcept { return link_address_; }  ///< when it was opened

    /// One system call; may be called at any rate.
    [[nodiscard]] af_packet_statistics statistics() noexcept;

  private:
    struct batch;

    // Opening: each step returns what went wrong, or nothing, and leaves the text in problem_.
    std::error_code open();
    std::error_code check_options();
    std::error_code make_socket();
    std::error_code set_modes();
    std::error_code set_send_buffer();
    std::error_code set_receive_buffer();
    std::error_code keep_long_frames();
    bool set_socket_option(int name, std::uint32_t value) noexcept;
    std::error_code map_ring();
    std::error_code attach();
    std::error_code join_fanout();
    std::error_code open_queue();
    std::error_code open_flood_ring();
    std::error_code fail(int code, char const* step, char const* remedy);
    std::error_code refused(char const* step);
    template <class Value>
    std::error_code set_packet_option(int name, Value const& value, char const* step);
    void close() noexcept;

    // Receiving
    [[nodiscard]] tpacket2_hdr& slot(std::uint32_t index) const noexcept;
    std::size_t receive_slots(std::span<frame> frames) noexcept;
    bool take(tpacket2_hdr const& header, frame& out) noexcept;
    bool take_slot(tpacket2_hdr const& header, frame& out) noexcept;
    bool take_long(tpacket2_hdr const& header, frame& out) noexcept;
    [[nodiscard]] bool fetch(tpacket2_hdr const& header, af_packet_detail::virtio_header& device, std::uint8_t* to) noexcept;
    [[nodiscard]] std::uint8_t* long_frame() const noexcept;
    void release_slots() noexcept;
    void clear_socket_error() noexcept;
    bool stop_bypassing() noexcept;

    // Sending: false when the kernel has no room for frame `done`, after all tries.
    enum class next_step : std::uint8_t { again, give_back, lose_all, lose_first };
    struct attempts {
        std::uint32_t without_room = 0;
        bool seen_down = false;
    };
    next_step judge(int code, attempts& so_far, int descriptor) noexcept;
    bool send_batch(batch& messages, std::size_t count, std::size_t& done) noexcept;
    bool send_queued(std::size_t& done) noexcept;

    af_packet_options options_;
    [[no_unique_address]] Calls calls_;
    std::string problem_{};
    int descriptor_ = -1;
    int interface_index_ = 0;
    std::array<std::uint8_t, 6> link_address_{};
    std::uint8_t* ring_ = nullptr;
    std::size_t ring_bytes_ = 0;
    std::uint32_t slots_per_block_ = 1;
    std::uint32_t slots_ = 0;
    std::uint32_t next_slot_ = 0;    ///< the kernel fills this one next
    std::uint32_t held_first_ = 0;   ///< handed out, to be released at the next receive()
    std::uint32_t held_count_ = 0;
    std::uint32_t empty_receives_ = 0;
    std::unique_ptr<std::uint8_t[]> long_frames_{};
    std::uint32_t long_count_ = 0;   ///< of them handed out, until the next receive()
    std::unique_ptr<af_packet_detail::transmit_ring<Calls>> queue_{};  ///< for small frames; none when there are to be no slots
    std::unique_ptr<af_packet_detail::flood_ring<Calls>> flood_{};
    bool flooded_ = false;
    af_packet_statistics statistics_{};
};

using af_packet_io = basic_af_packet_io<linux_packet_calls>;

}  // namespace halfproxy
