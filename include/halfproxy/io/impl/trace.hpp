// SPDX-License-Identifier: BSL-1.0
// The steps of trace_io.
#pragma once

#include <halfproxy/io/trace.hpp>

#include <algorithm>
#include <array>
#include <cstring>

namespace halfproxy {

namespace detail {

/// "forward", "reply", "hold", or "drop: <reason>", written into `room`.
[[nodiscard]] inline std::string_view verdict_comment(frame const& f, std::array<char, 64>& room) noexcept {
    switch (f.outcome) {
        case verdict::forward: return "forward";
        case verdict::reply: return "reply";
        case verdict::hold: return "hold";
        case verdict::drop: break;
    }
    constexpr std::string_view prefix = "drop: ";
    std::string_view const reason = to_string(f.reason).substr(0, room.size() - prefix.size());
    std::copy(reason.begin(), reason.end(), std::copy(prefix.begin(), prefix.end(), room.begin()));
    return {room.data(), prefix.size() + reason.size()};
}

}  // namespace detail

template <packet_io Io, byte_sink Sink>
void trace_io<Io, Sink>::write(byte_view bytes, std::uint32_t wire_length, time_point time, packet_direction direction,
                               std::string_view comment) noexcept {
    if (!writer_->write({bytes, time, wire_length, interface_, direction, comment})) ++lost_;
}

template <packet_io Io, byte_sink Sink>
void trace_io<Io, Sink>::keep_or_write(frame const& f, std::size_t index) noexcept {
    if (kept_.size() == kept_.capacity() || f.length > kept_bytes_.size() - kept_used_)
        return write(f.bytes(), f.wire_length, now_, packet_direction::inbound, {});
    if (f.length != 0) std::memcpy(kept_bytes_.data() + kept_used_, f.data, f.length);
    kept_.push_back({kept_used_, f.length, f.wire_length, index, now_});
    kept_used_ += f.length;
}

template <packet_io Io, byte_sink Sink>
void trace_io<Io, Sink>::write_kept(std::span<frame const> burst) noexcept {
    std::array<char, 64> room;
    for (kept const& k : kept_) {
        std::string_view const comment = k.index < burst.size() ? detail::verdict_comment(burst[k.index], room) : "";
        write(byte_view(kept_bytes_).subspan(k.begin, k.length), k.wire_length, k.time, packet_direction::inbound,
              comment);
    }
    kept_.clear();
    kept_used_ = 0;
}

template <packet_io Io, byte_sink Sink>
std::size_t trace_io<Io, Sink>::receive(std::span<frame> in) noexcept {
    write_kept({});
    std::size_t const count = inner_->receive(in);
    for (std::size_t i = 0; i < count; ++i) keep_or_write(in[i], i);
    return count;
}

template <packet_io Io, byte_sink Sink>
std::size_t trace_io<Io, Sink>::transmit(std::span<tx_frame const> out) noexcept {
    write_kept({});
    std::size_t const taken = inner_->transmit(out);
    for (tx_frame const& f : out.first(taken)) write(f.bytes, 0, now_, packet_direction::outbound, {});
    return taken;
}

template <packet_io Io, byte_sink Sink>
void trace_io<Io, Sink>::conclude(std::span<frame const> burst) noexcept {
    write_kept(burst);
}

}  // namespace halfproxy
