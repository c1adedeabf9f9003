// SPDX-License-Identifier: BSL-1.0
// A packet_io backend of your own: three functions, and every pump takes it. Here queues that another program might fill.
#include <halfproxy/engine/engine.hpp>
#include <halfproxy/run/pump.hpp>

#include <fmt/format.h>

#include <deque>
#include <vector>

using namespace halfproxy;
using packet = std::vector<std::uint8_t>;

class queue_port {
  public:
    /// Lends frames until the next call; each with room to grow, for a bare ACK may become a SYN with options in place.
    std::size_t receive(std::span<frame> frames) noexcept {
        lent_.clear();
        for (; lent_.size() < frames.size() && !to_us.empty(); to_us.pop_front()) {
            packet& p = lent_.emplace_back(std::move(to_us.front()));
            auto const length = static_cast<std::uint32_t>(p.size());
            p.resize(length + frame_slack_bytes);
            frames[lent_.size() - 1] = {p.data(), length, length + frame_slack_bytes, length, {}, link_type::raw_ip};
        }
        return lent_.size();
    }
    /// Copies: the bytes are the engine's again when it returns. What does not fit is not taken, and the pump counts it.
    std::size_t transmit(std::span<tx_frame const> frames) noexcept {
        std::size_t taken = 0;
        for (; taken < frames.size() && from_us.size() < 2; ++taken)
            from_us.emplace_back(frames[taken].bytes.begin(), frames[taken].bytes.end());
        return taken;
    }
    [[nodiscard]] io_capabilities capabilities() const noexcept { return {link_type::raw_ip, false, false, 1500}; }

    std::deque<packet> to_us{}, from_us{};

  private:
    std::deque<packet> lent_{};  // a deque: its elements stay where they are
};
static_assert(packet_io<queue_port>);

int main() {
    queue_port outside, inside;
    half_proxy proxy({});
    pump<queue_port, half_proxy> mover(outside, inside, proxy);
    packet_origin origin{{}, 0, link_type::raw_ip, 4, {192, 0, 2, 1}, {198, 51, 100, 80}, big16{40000}, big16{80}};
    for (std::uint16_t client = 1; client <= 3; ++client) {
        origin.source_port = client;
        packet& syn = outside.to_us.emplace_back(max_built_bytes);
        syn.resize(build_tcp(syn, origin, {{1000}, {}, tcp_flag::syn, 64240}, {}));
    }
    fmt::print("frames handled: {}\n", mover.step(time_point{}));
    fmt::print("inside got {}, had no room for {}\n", inside.from_us.size(), mover.counters(side::inside).not_taken);
}
