// SPDX-License-Identifier: BSL-1.0
// A port that keeps a record: every frame received and sent goes to a pcapng, on demand with what became of it.
#pragma once

#include <halfproxy/io/packet_io.hpp>
#include <halfproxy/io/pcap_file.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace halfproxy {

/// Decorates `Io`; the port and the writer must outlive it. Received frames are marked inbound, sent ones outbound
/// (epb_flags), and stamped with the time of set_time(). A writer that refuses is no reason to stop forwarding:
/// traffic goes on, and lost() counts.
///
/// With `keep_bytes` above 0 a received frame is first copied as it came, since the engine changes it in place, and is
/// written by conclude() with its verdict as the packet's comment; what conclude() never mentions is written by the
/// next receive() or transmit() without one, and so is at once what `keep_bytes` cannot hold.
template <packet_io Io, byte_sink Sink>
class trace_io {
  public:
    trace_io(Io& inner, pcap_writer<Sink>& writer, std::uint32_t interface_number = 0, std::size_t keep_bytes = 0)
        : inner_(&inner), writer_(&writer), interface_(interface_number), kept_bytes_(keep_bytes) {
        if (keep_bytes != 0) kept_.reserve(max_kept);
    }

    void set_time(time_point now) noexcept { now_ = now; }

    std::size_t receive(std::span<frame> in) noexcept;
    std::size_t transmit(std::span<tx_frame const> out) noexcept;
    [[nodiscard]] io_capabilities capabilities() const noexcept { return inner_->capabilities(); }
    [[nodiscard]] int native_handle() const noexcept
        requires pollable_packet_io<Io>
    {
        return inner_->native_handle();
    }
    void set_flooded(bool on) noexcept
        requires flood_aware_io<Io>
    {
        inner_->set_flooded(on);
    }

    /// Tells what became of the frames received last: outcome and reason are read, in the order of receive().
    void conclude(std::span<frame const> burst) noexcept;

    /// Frames the writer refused.
    [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

  private:
    static constexpr std::size_t max_kept = 256;
    struct kept {
        std::size_t begin = 0;
        std::uint32_t length = 0;
        std::uint32_t wire_length = 0;
        std::size_t index = 0;  // in the burst
        time_point time{};
    };

    void write(byte_view bytes, std::uint32_t wire_length, time_point time, packet_direction direction,
               std::string_view comment) noexcept;
    void keep_or_write(frame const& f, std::size_t index) noexcept;
    void write_kept(std::span<frame const> burst) noexcept;

    Io* inner_;
    pcap_writer<Sink>* writer_;
    std::uint32_t interface_;
    std::vector<std::uint8_t> kept_bytes_;
    std::vector<kept> kept_;
    std::size_t kept_used_ = 0;
    time_point now_{};
    std::uint64_t lost_ = 0;
};

}  // namespace halfproxy

#include <halfproxy/io/impl/trace.hpp>
