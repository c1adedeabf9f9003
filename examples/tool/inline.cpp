// SPDX-License-Identifier: BSL-1.0
// `halfproxy inline`: a bridge or a router between two interfaces, with the engine in it.
#include "commands.hpp"
#include "config_values.hpp"
#include "engines.hpp"
#include "reload.hpp"
#include "report.hpp"
#include "system.hpp"
#include "tool_config.hpp"
#include "watched_backends.hpp"

#include <halfproxy/core/version.hpp>
#include <halfproxy/engine/engine.hpp>
#include <halfproxy/engine/translating_edge.hpp>
#include <halfproxy/io/af_packet.hpp>
#include <halfproxy/run/routed_engine.hpp>
#include <halfproxy/run/worker.hpp>
#include <halfproxy/track/huge_page_memory.hpp>

#include <fmt/format.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <system_error>
#include <utility>

namespace halfproxy::tool {
namespace {

using port = af_packet_io;
static_assert(pump_burst <= max_burst && pump_burst <= edge_burst);

/// A splice needs two ports.
void require_guardable(tool_config const& config) {
    guard_mode const guard = config.engine.guard.mode;
    if (guard == guard_mode::off || guard == guard_mode::monitor) return;
    for (service_config const& s : config.services.services)
        for (backend const& b : s.backends)
            if (b.beside_clients && !answers_elsewhere(s.mode))
                throw usage_error("--guard: must be off or monitor, for the configuration has a service whose backend is behind the port where the clients are");
}

/// No tunnel takes more than the port it leaves through.
void fit_tunnels(tool_config& config) {
    for (service_config& s : config.services.services) {
        if (s.mode != forward_mode::ipip) continue;
        for (backend const& b : s.backends) {
            std::uint32_t const mtu = interface_mtu(b.beside_clients ? config.io.outside : config.io.inside);
            s.tunnel.mtu = static_cast<std::uint16_t>(std::min<std::uint32_t>(s.tunnel.mtu, mtu));
        }
    }
    if (auto const fault = fault_of(config.services.services, stations::resolved))
        throw usage_error(fmt::format("{}: {} {}", to_text(config.services.services[fault->service].address), fault->key, fault->what));
}

/// The file's settings with the command line's on top.
tool_config effective_config(inline_options const& o) {
    tool_config config = o.config ? load_config(*o.config) : tool_config{};
    if (o.outside) config.io.outside = *o.outside;
    if (o.inside) config.io.inside = *o.inside;
    if (o.guard) config.engine.guard.mode = *o.guard;
    if (splices_one_sided(config.engine))
        throw usage_error("--guard: a splice needs both directions, and the configuration says tracking.asymmetric = true");
    for (service_config const& s : config.services.services)
        if (!fault_of_mode(s, config.engine).empty())
            throw usage_error("--guard: a splice needs both directions, and the configuration has a service of mode \"dsr\"");
    require_guardable(config);
    if (o.io) config.io.backend = *o.io;
    if (o.shards) config.io.shards = *o.shards;
    if (config.huge_pages) config.engine.memory = memory_source::of<huge_page_memory>();
    if (!config.io.outside.empty() && !config.io.inside.empty()) fit_tunnels(config);
    return config;
}

void require_possible(io_settings const& io) {
    if (io.outside.empty() || io.inside.empty())
        throw usage_error(
            fmt::format("the {} interface is not given: use --{} IF, or [io] {} = \"IF\" in the configuration",
                        io.outside.empty() ? "outside" : "inside", io.outside.empty() ? "outside" : "inside",
                        io.outside.empty() ? "outside" : "inside"));
    if (io.outside == io.inside)
        throw usage_error(
            fmt::format("{} is given as outside and as inside: two interfaces are needed", io.outside));
    if (io.backend == io_backend::af_xdp) throw usage_error("af_xdp is not in this build; use --io af_packet");
    // PACKET_FANOUT_HASH looks at the packet in hand: an ICMP error about a flow, or a fragment, comes to another shard
    // than the flow's packets, which would drop it.
    if (io.shards > 1)
        throw usage_error(
            fmt::format("{} shards are not available with af_packet in this version: the kernel would bring "
                        "ICMP errors and fragments of a flow to another shard; use --shards 1",
                        io.shards));
}

void add_secrets(tool_config& config) {
    if (!config.secret_given) fill_random(config.engine.secret.bytes);
    std::array<std::uint8_t, sizeof config.engine.seed> seed{};
    fill_random(seed);
    std::memcpy(&config.engine.seed, seed.data(), seed.size());
    if (config.edge.nat64) config.edge.nat64->hosts.seed = config.engine.seed;
}

/// Cookies count their keys by the wall clock, which other machines share. That it is set while we run is noticed within a second.
template <class Engine>
class wall_clock_follower {
  public:
    wall_clock_follower(boost::asio::io_context& context, Engine& engine, std::chrono::nanoseconds told)
        : engine_(engine), timer_(context), told_(told) {}

    void start() {
        timer_.expires_after(std::chrono::seconds{1});
        timer_.async_wait([this](boost::system::error_code const& error) {
            if (error) return;
            look();
            start();
        });
    }
    void stop() { timer_.cancel(); }

  private:
    void look() {
        constexpr std::chrono::milliseconds reading_error{20};
        std::chrono::nanoseconds const offset = wall_clock_offset();
        if (std::chrono::abs(offset - told_) <= reading_error || !engine_.set_common_clock(offset, steady_now{}())) return;
        fmt::print(stderr, "the wall clock was set by {:+.3f} s\n", std::chrono::duration<double>(offset - told_).count());
        told_ = offset;
    }

    Engine& engine_;
    boost::asio::steady_timer timer_;
    std::chrono::nanoseconds told_;
};

/// SIGHUP: the file is read again. What is wrong with it is said, and then all stays as it was.
class hangup_listener {
  public:
    hangup_listener(boost::asio::io_context& context, std::function<void()> reload) : signals_(context, SIGHUP), reload_(std::move(reload)) {}

    void start() {
        signals_.async_wait([this](boost::system::error_code const& error, int) {
            if (error) return;
            reload_();
            start();
        });
    }
    void stop() { signals_.cancel(); }

  private:
    boost::asio::signal_set signals_;
    std::function<void()> reload_;
};

port open_port(af_packet_options const& options) {
    try {
        return port(options);
    } catch (std::system_error const& e) {
        throw usage_error(e.what());
    }
}

/// Root of a user namespace may not have a receive buffer for long frames: its ring gets slots that hold any frame instead.
port open_port(std::string const& interface, io_settings const& io) {
    af_packet_options options{.interface = interface,
                              .slots = io.ring_slots,
                              .slot_bytes = io.ring_slot_bytes,
                              .long_frames = io.ring_long_frames,
                              .receive_buffer_bytes = io.receive_buffer_bytes,
                              .send_buffer_bytes = io.send_buffer_bytes,
                              .transmit_slots = io.transmit_slots,
                              .flood_ring_bytes = io.flood_ring_bytes,
                              .promiscuous = io.promiscuous,
                              .all_multicast = io.mode == deployment::routed,
                              .bypass_qdisc = io.bypass_qdisc};
    try {
        return port(options);
    } catch (std::system_error const& e) {
        if (e.code() != std::errc::no_buffer_space || options.long_frames == 0) throw usage_error(e.what());
        fmt::print(stderr, "{}: instead, slots for long frames in the ring\n", e.what());
    }
    options.long_frames = 0;
    options.slot_bytes = 67'648;  // 31 of them fill the kernel's blocks of 2 MiB
    options.slots = std::min(options.slots, 1'024u);
    return open_port(options);
}

/// The two ports, and where packets were counted that went through them.
struct ports {
    explicit ports(io_settings const& io) : outside(open_port(io.outside, io)), inside(open_port(io.inside, io)) {}

    port outside;
    port inside;
    std::array<port_counters, 2> counted{};
};

/// Until a signal comes or the time is over; a second signal cuts the drain short. `packets` is the engine itself, or what stands around it.
template <packet_engine Packets, class Engine>
void run_to_the_end(ports& p, Packets& packets, Engine& engine, tool_config const& config, std::optional<std::chrono::duration<double>> duration,
                    std::function<void()> reload) {
    boost::asio::io_context context{1};
    worker<port, Packets> work(context, p.outside, p.inside, packets,
                               {.spin = std::chrono::microseconds{config.io.spin_us},
                                .flood_per_s = config.io.flood_per_s,
                                .gather = std::chrono::microseconds{config.io.gather_us},
                                .drain = std::chrono::milliseconds{config.io.drain_ms}});
    wall_clock_follower<Engine> clock(context, engine, config.engine.common_clock);
    hangup_listener hangups(context, std::move(reload));
    boost::asio::signal_set signals(context, SIGINT, SIGTERM);
    boost::asio::steady_timer timer(context);
    signals.async_wait([&](boost::system::error_code const& error, int) {
        if (error) return;
        work.stop();
        signals.async_wait([&](boost::system::error_code const& again, int) {
            if (!again) context.stop();
        });
    });
    if (duration) {
        timer.expires_after(std::chrono::duration_cast<std::chrono::steady_clock::duration>(*duration));
        timer.async_wait([&](boost::system::error_code const& error) {
            if (!error) work.stop();
        });
    }
    clock.start();
    hangups.start();
    work.start([&] {
        signals.cancel();
        hangups.stop();
        timer.cancel();
        clock.stop();
    });
    fmt::print("ready\n");
    std::fflush(stdout);
    context.run();
    p.counted = {work.packets().counters(side::outside), work.packets().counters(side::inside)};
}

/// Validated whole, then applied whole, between bursts; or not at all, and the reason is said.
template <class Engine, class Routed>
void reload(inline_options const& options, running_config& running, Engine& engine, Routed* routed, watched_backends& watched, reload_counters& counted) {
    try {
        if (!options.config) throw usage_error("no --config was given: there is nothing to read again");
        tool_config const next = effective_config(options);
        if (std::string const fault = fault_of_change(*options.config, running, next); !fault.empty()) throw usage_error(fault);
        if (!apply(engine, next)) throw usage_error("there are too many services, with those that have flows left");
        if (routed != nullptr) {
            routed->router().configure(routing_of(next));
            watched.watch(engine, routing_of(next));
            routed->carry(watched.checks());
        }
        running.config = changed(running, next);
        ++counted.applied;
        fmt::print(stderr, "{}: read again, and in force\n", options.config->string());
    } catch (std::exception const& e) {
        ++counted.refused;
        fmt::print(stderr, "the configuration stays as it was: {}\n", e.what());
    }
}

/// With addresses of its own. Link addresses and MTUs are the interfaces', as they are now.
router_config routing_of(tool_config const& config, ports const& p) {
    router_config routing = routing_of(config);
    routing.ports = {router_port{p.outside.link_address(), interface_mtu(p.outside.interface())},
                     router_port{p.inside.link_address(), interface_mtu(p.inside.interface())}};
    return routing;
}

port_report report_of(port& p, port_counters const& counted) {
    af_packet_statistics const s = p.statistics();
    return {.name = p.interface(),
            .received = counted.received,
            .flood_received = s.flood_received,
            .sent = s.transmitted,
            .kernel_drops = s.kernel_dropped,
            .receive_truncated = s.receive_truncated,
            .not_taken = counted.not_taken,
            .refused = s.transmit_refused,
            .link_down = s.transmit_link_down};
}

std::size_t ring_bytes(io_settings const& io) {
    return receive_bytes(io) + std::size_t{2} * io.transmit_slots * af_packet_transmit_slot_bytes;
}

/// Opens the ports, runs, and says what it came to.
template <class Engine>
run_report run_between(inline_options const& options, tool_config& config, std::unique_ptr<Engine> engine) {
    ports p(config.io);
    translating_edge<Engine> edge(config.edge, *engine);
    std::unique_ptr<routed_engine<translating_edge<Engine>>> routed;
    watched_backends watched(config.engine.seed);
    if (config.io.mode == deployment::routed) {
        router_config const routing = routing_of(config, p);
        routed = std::make_unique<routed_engine<translating_edge<Engine>>>(edge, routing);
        watched.watch(*engine, routing);
        routed->carry(watched.checks());
    }
    running_config running(config);
    config.engine.secret = {};  // the engine has its copy
    drop_privileges();
    run_report report;
    report.configured_bytes = engine->memory_bytes() + edge.memory_bytes() + ring_bytes(config.io) + (routed ? routed->router().memory_bytes() : 0) + watched.memory_bytes();
    report.rss_at_start_bytes = resident_bytes();
    fmt::print(stderr, "halfproxy {}: {} <-> {}, {:.1f} MiB fixed memory\n", library_version, config.io.outside,
               config.io.inside, static_cast<double>(report.configured_bytes) / (1 << 20));

    auto const begin = std::chrono::steady_clock::now();
    auto const read_again = [&] { reload(options, running, *engine, routed.get(), watched, report.reloads); };
    if (routed)
        run_to_the_end(p, *routed, *engine, config, options.duration, read_again);
    else
        run_to_the_end(p, edge, *engine, config, options.duration, read_again);
    report.uptime_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    report.take(*engine);
    report.take_edge(edge);
    if (routed) report.take_routing(routed->router());
    watched.report(report, *engine);
    report.outside = report_of(p.outside, p.counted[0]);
    report.inside = report_of(p.inside, p.counted[1]);
    report.rss_bytes = resident_bytes();
    return report;
}

}  // namespace

int run_inline(inline_options const& options) {
    std::signal(SIGPIPE, SIG_IGN);  // whoever reads our status may go; the bridge stays
    tool_config config = effective_config(options);
    require_possible(config.io);
    add_secrets(config);
    config.engine.common_clock = wall_clock_offset();
    report_file file(options.report);
    run_report const report =
        with_engine(config, [&](auto engine) { return run_between(options, config, std::move(engine)); });
    fmt::print(stderr, "{}", summary_text(report));
    file.write(report);
    return exit_code::success;
}

}  // namespace halfproxy::tool
