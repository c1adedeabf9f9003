// SPDX-License-Identifier: BSL-1.0
// The worker runs an engine on your Boost.Asio io_context: it sleeps until a port is readable or a timer is due.
#include <halfproxy/engine/engine.hpp>
#include <halfproxy/run/worker.hpp>

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace halfproxy;

/// A port with a descriptor to wait for: one end of a socket pair; `network` is the other.
class socket_port {
  public:
    socket_port() {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends) != 0) throw std::bad_alloc();
        port_ = ends[0], network = ends[1];
    }
    ~socket_port() { close(port_), close(network); }
    std::size_t receive(std::span<frame> frames) noexcept {
        ssize_t const got = recv(port_, bytes_.data(), bytes_.size() - frame_slack_bytes, 0);
        if (got <= 0) return 0;
        auto const length = static_cast<std::uint32_t>(got);
        frames[0] = {bytes_.data(), length, static_cast<std::uint32_t>(bytes_.size()), length, {}, link_type::raw_ip};
        return 1;
    }
    std::size_t transmit(std::span<tx_frame const> frames) noexcept {
        std::size_t sent = 0;
        while (sent < frames.size() && send(port_, frames[sent].bytes.data(), frames[sent].bytes.size(), 0) > 0) ++sent;
        return sent;
    }
    [[nodiscard]] io_capabilities capabilities() const noexcept { return {link_type::raw_ip, false, false, 1500}; }
    [[nodiscard]] int native_handle() const noexcept { return port_; }

    int network = -1;

  private:
    int port_ = -1;
    std::array<std::uint8_t, 2048> bytes_{};
};
static_assert(pollable_packet_io<socket_port>);

int main() {
    boost::asio::io_context context{1};
    socket_port outside, inside;
    half_proxy proxy({});
    worker<socket_port, half_proxy> bridge(context, outside, inside, proxy);
    boost::asio::posix::stream_descriptor server(context, dup(inside.network));
    server.async_wait(server.wait_read, [&](auto) { bridge.stop(); });  // as a signal's handler would
    bridge.start([] { fmt::print("the worker has drained and stopped\n"); });

    packet_origin const origin{{},           0,        link_type::raw_ip, 4, {192, 0, 2, 1}, {198, 51, 100, 80},
                               big16{40000}, big16{80}};
    std::array<std::uint8_t, max_built_bytes> syn;
    std::size_t const length = build_tcp(syn, origin, {{1000}, {}, tcp_flag::syn, 64240}, {});
    fmt::print("a client sends {} bytes\n", send(outside.network, syn.data(), length, 0));
    context.run();
    fmt::print("the server's network got {} bytes\n", recv(inside.network, syn.data(), syn.size(), 0));
}
