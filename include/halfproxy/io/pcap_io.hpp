// SPDX-License-Identifier: BSL-1.0
// Captures as ports: a capture that is received from, and one that is transmitted to.
#pragma once

#include <halfproxy/io/packet_io.hpp>
#include <halfproxy/io/pcap_file.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace halfproxy {

/// Receives the packets of a capture in file order. One receive() returns only packets that bear the same time stamp,
/// time(), so that a replay can tell the engine the time of each. Copies every packet into buffers of its own,
/// taken in the constructor, since the engine changes frames in place and the file is only to be read. transmit()
/// takes nothing: a capture that is read has no other end.
class pcap_reader_io {
  public:
    /// The file's bytes must outlive this.
    explicit pcap_reader_io(byte_view file) : reader_(file), buffer_(buffer_bytes) { read_ahead(); }

    std::size_t receive(std::span<frame> in) noexcept;
    std::size_t transmit(std::span<tx_frame const>) noexcept { return 0; }

    /// `link` is that of the next packet: a pcapng may change it from packet to packet, as each frame says for itself.
    [[nodiscard]] io_capabilities capabilities() const noexcept {
        return {ahead_ ? ahead_->link : link_type::unsupported, false, false, max_capture_record_bytes};
    }

    /// Of the packets received last; before the first one, the first one's.
    [[nodiscard]] time_point time() const noexcept { return time_; }
    /// Of the packets that receive() will return next.
    [[nodiscard]] std::optional<time_point> next_time() const noexcept {
        return ahead_ ? std::optional(ahead_->time) : std::nullopt;
    }
    /// The file's number of the first packet received last.
    [[nodiscard]] std::uint64_t first_number() const noexcept { return first_number_; }
    /// Every packet was received.
    [[nodiscard]] bool done() const noexcept { return !ahead_; }
    /// Once done(): whether the file ended well, and why not.
    [[nodiscard]] pcap_reader const& reader() const noexcept { return reader_; }

  private:
    // Any one record fits, and ordinary packets of one stamp are taken many at a time.
    static constexpr std::size_t buffer_bytes = 4 * (max_capture_record_bytes + frame_slack_bytes);

    void read_ahead() {
        capture_record record;
        ahead_ = reader_.next(record) ? std::optional(record) : std::nullopt;
        if (ahead_ && ahead_->number == 1) time_ = ahead_->time;
    }

    pcap_reader reader_;
    std::optional<capture_record> ahead_;
    std::vector<std::uint8_t> buffer_;
    time_point time_{};
    std::uint64_t first_number_ = 0;
};

/// Writes every transmitted frame to a capture with the time of set_time(). Receives nothing. The writer must outlive
/// this; a sink that refuses makes transmit() return less than it was given.
template <byte_sink Sink>
class pcap_writer_io {
  public:
    explicit pcap_writer_io(pcap_writer<Sink>& writer, link_type link = link_type::ethernet,
                            std::uint32_t interface_number = 0) noexcept
        : writer_(&writer), link_(link), interface_(interface_number) {}

    /// Stamps what is transmitted from now on.
    void set_time(time_point now) noexcept { now_ = now; }

    std::size_t receive(std::span<frame>) noexcept { return 0; }
    std::size_t transmit(std::span<tx_frame const> out) noexcept {
        std::size_t taken = 0;
        for (tx_frame const& f : out) {
            capture_packet packet;
            packet.bytes = f.bytes;
            packet.time = now_;
            packet.interface = interface_;
            if (!writer_->write(packet)) break;
            ++taken;
        }
        return taken;
    }
    [[nodiscard]] io_capabilities capabilities() const noexcept {
        return {link_, false, false, max_capture_record_bytes};
    }

  private:
    pcap_writer<Sink>* writer_;
    time_point now_{};
    link_type link_;
    std::uint32_t interface_;
};

static_assert(packet_io<pcap_reader_io>);
static_assert(packet_io<pcap_writer_io<memory_sink>>);

}  // namespace halfproxy

#include <halfproxy/io/impl/pcap_io.hpp>
