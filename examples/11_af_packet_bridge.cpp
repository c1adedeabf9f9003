// SPDX-License-Identifier: BSL-1.0
// Two Linux interfaces joined by an engine in a plain loop: the whole of `halfproxy inline` that is not comfort.
//
// Needs CAP_NET_RAW. Try it in namespaces: examples/quickstart.sh --keep, stop the half proxy there, and run this one in its
// place: <folder>/in proxy build/bin/11_af_packet_bridge out0 in0
#include <halfproxy/engine/engine.hpp>
#include <halfproxy/io/af_packet.hpp>
#include <halfproxy/run/pump.hpp>

#include <fmt/format.h>
#include <poll.h>

#include <chrono>
#include <csignal>
#include <random>

using namespace halfproxy;

volatile std::sig_atomic_t stopping = 0;

/// The engine has no clock of its own.
time_point now() { return time_point{std::chrono::steady_clock::now().time_since_epoch()}; }

engine_config guarded() {
    engine_config config;
    config.guard.mode = guard_mode::always;
    std::random_device random;  // cookies are as hard to forge as this is to guess
    for (std::uint8_t& byte : config.secret.bytes) byte = static_cast<std::uint8_t>(random());
    config.seed = random();
    return config;
}

int main(int count, char** arguments) try {
    if (count != 3) {
        fmt::print(stderr, "usage: 11_af_packet_bridge OUTSIDE INSIDE\n");
        return 2;
    }
    af_packet_io outside({.interface = arguments[1]});
    af_packet_io inside({.interface = arguments[2]});
    half_proxy proxy(guarded());
    pump bridge(outside, inside, proxy);
    for (int const signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { stopping = 1; });

    pollfd ports[] = {{outside.native_handle(), POLLIN, 0}, {inside.native_handle(), POLLIN, 0}};
    while (stopping == 0)
        if (bridge.step(now()) == 0) poll(ports, 2, 100);  // at most so late for a timer

    engine_counters const& seen = proxy.counters();
    fmt::print("{} SYNs, {} cookies sent, {} validated, {} packets forwarded\n", seen.syns_seen, seen.cookies_sent,
               seen.cookies_valid, seen.forwarded);
    return 0;
} catch (std::system_error const& problem) {
    fmt::print(stderr, "{}\n", problem.what());
    return 2;
}
