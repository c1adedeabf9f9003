// SPDX-License-Identifier: BSL-1.0
// A port on which an event loop can wait: one end of a pair of local sockets that keep frame boundaries.
#pragma once

#include <halfproxy/io/packet_io.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>
#include <vector>

namespace halfproxy::test {

/// `far_end` is the network: what is written there arrives at the port.
class socket_io {
  public:
    socket_io() {
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends_.data()) != 0)
            throw std::system_error(errno, std::generic_category(), "socketpair");
    }
    ~socket_io() {
        for (int end : ends_) ::close(end);
    }
    socket_io(socket_io const&) = delete;
    socket_io& operator=(socket_io const&) = delete;

    std::size_t receive(std::span<frame> frames) noexcept {
        if (muted) return 0;
        std::size_t count = 0;
        while (count < frames.size() && count < buffers_.size()) {
            auto& buffer = buffers_[count];
            ssize_t const got = ::recv(ends_[0], buffer.data(), buffer.size() - frame_slack_bytes, MSG_DONTWAIT);
            if (got <= 0) break;
            auto const length = static_cast<std::uint32_t>(got);
            frame& f = frames[count++];
            f.data = buffer.data();
            f.length = f.wire_length = length;
            f.capacity = static_cast<std::uint32_t>(buffer.size());
        }
        return count;
    }

    std::size_t transmit(std::span<tx_frame const> frames) noexcept {
        std::size_t sent = 0;
        while (sent < frames.size() &&
               ::send(ends_[0], frames[sent].bytes.data(), frames[sent].bytes.size(), MSG_DONTWAIT) >= 0)
            ++sent;
        return sent;
    }

    [[nodiscard]] io_capabilities capabilities() const noexcept { return {.max_frame_bytes = 2048}; }
    [[nodiscard]] int native_handle() const noexcept { return ends_[0]; }

    bool network_sends(std::vector<std::uint8_t> const& bytes) {
        return ::send(ends_[1], bytes.data(), bytes.size(), MSG_DONTWAIT) >= 0;
    }
    /// The next frame the port has sent; empty when there is none.
    std::vector<std::uint8_t> network_gets() {
        std::vector<std::uint8_t> bytes(2048);
        ssize_t const got = ::recv(ends_[1], bytes.data(), bytes.size(), MSG_DONTWAIT);
        bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        return bytes;
    }

    bool muted = false;  ///< receive() gives nothing though the descriptor is ready: a device in error

  private:
    std::array<int, 2> ends_{-1, -1};
    std::array<std::array<std::uint8_t, 2048>, 64> buffers_{};
};

static_assert(pollable_packet_io<socket_io>);

}  // namespace halfproxy::test
