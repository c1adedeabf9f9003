// SPDX-License-Identifier: BSL-1.0
// The limit of the wire itself: two AF_PACKET ports joined by a loop that looks at nothing.
#include <halfproxy/io/af_packet.hpp>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <poll.h>
#include <string_view>
#include <time.h>

namespace {

using namespace halfproxy;

constexpr std::size_t burst = 64;
volatile std::sig_atomic_t stopping = 0;

std::int64_t now_ns() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec;
}

/// One burst from `in` to `out`; how many frames there were.
std::size_t pass(af_packet_io& in, af_packet_io& out) {
    std::array<frame, burst> frames;
    std::array<tx_frame, burst> sending;
    std::size_t const count = in.receive(frames);
    for (std::size_t i = 0; i < count; ++i) sending[i] = {frames[i].bytes(), frames[i].offload};
    if (count != 0) out.transmit(std::span(sending).first(count));
    return count;
}

void wait_for_either(af_packet_io const& a, af_packet_io const& b) {
    std::array<pollfd, 2> both{{{a.native_handle(), POLLIN, 0}, {b.native_handle(), POLLIN, 0}}};
    poll(both.data(), both.size(), 100);
}

/// Forwards until a signal. Sleeps when nothing came for `spin_ns`.
void forward(af_packet_io& a, af_packet_io& b, std::int64_t spin_ns) {
    std::int64_t idle_since = now_ns();
    while (stopping == 0) {
        if (pass(a, b) + pass(b, a) != 0) {
            idle_since = now_ns();
        } else if (now_ns() - idle_since >= spin_ns) {
            wait_for_either(a, b);
            idle_since = now_ns();
        }
    }
}

void print(af_packet_io& io) {
    af_packet_statistics const s = io.statistics();
    std::printf("{\"interface\":\"%s\",\"received\":%llu,\"transmitted\":%llu,\"kernel_dropped\":%llu,\"truncated\":%llu,"
                "\"no_room\":%llu,\"refused\":%llu,\"link_down\":%llu,\"retries\":%llu}\n",
                io.interface().c_str(), 0ull + s.received, 0ull + s.transmitted, 0ull + s.kernel_dropped,
                0ull + s.receive_truncated, 0ull + s.transmit_no_room, 0ull + s.transmit_refused,
                0ull + s.transmit_link_down, 0ull + s.transmit_retries);
}

}  // namespace

int main(int count, char** arguments) try {
    if (count < 3 || std::string_view(arguments[1]) == "--help") {
        std::fprintf(stderr, "usage: bare_forwarder OUTSIDE INSIDE [SPIN_MICROSECONDS [SLOTS [SLOT_BYTES [BYPASS_QDISC 0|1]]]]\n");
        return 2;
    }
    af_packet_options options;
    options.interface = arguments[1];
    if (count > 4) options.slots = static_cast<std::uint32_t>(std::atoi(arguments[4]));
    if (count > 5) options.slot_bytes = static_cast<std::uint32_t>(std::atoi(arguments[5]));
    if (count > 6) options.bypass_qdisc = std::atoi(arguments[6]) != 0;
    af_packet_io outside(options);
    options.interface = arguments[2];
    af_packet_io inside(options);
    for (int const signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { stopping = 1; });
    std::puts("ready");
    std::fflush(stdout);
    forward(outside, inside, (count > 3 ? std::atoi(arguments[3]) : 50) * std::int64_t{1000});
    print(outside);
    print(inside);
    return 0;
} catch (std::exception const& problem) {
    std::fprintf(stderr, "bare_forwarder: %s\n", problem.what());
    return 2;
}
