// SPDX-License-Identifier: BSL-1.0
// `halfproxy inline`: a bridge between two interfaces, with the engine in it.
#include "commands.hpp"
#include "engines.hpp"
#include "report.hpp"
#include "system.hpp"
#include "tool_config.hpp"

#include <halfproxy/core/version.hpp>
#include <halfproxy/engine/engine.hpp>
#include <halfproxy/engine/translating_edge.hpp>
#include <halfproxy/io/af_packet.hpp>
#include <halfproxy/run/worker.hpp>
#include <halfproxy/track/huge_page_memory.hpp>

#include <fmt/format.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <system_error>

namespace halfproxy::tool {
namespace {

using port = af_packet_io;
static_assert(pump_burst <= max_burst && pump_burst <= edge_burst);

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
    if (o.io) config.io.backend = *o.io;
    if (o.shards) config.io.shards = *o.shards;
    if (config.huge_pages) config.engine.memory = memory_source::of<huge_page_memory>();
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
            fmt::format("{} is given as outside and as inside: a bridge needs two interfaces", io.outside));
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

port open_port(std::string const& interface, io_settings const& io) {
    try {
        return port({.interface = interface,
                     .slots = io.ring_slots,
                     .slot_bytes = io.ring_slot_bytes,
                     .send_buffer_bytes = io.send_buffer_bytes,
                     .transmit_slots = io.transmit_slots,
                     .promiscuous = io.promiscuous,
                     .bypass_qdisc = io.bypass_qdisc});
    } catch (std::system_error const& e) {
        throw usage_error(e.what());
    }
}

/// Everything that runs, in the order it must be built.
template <class Engine>
struct bridge {
    bridge(tool_config const& config, std::unique_ptr<Engine> built)
        : outside(open_port(config.io.outside, config.io)),
          inside(open_port(config.io.inside, config.io)),
          engine(std::move(built)),
          edge(config.edge, *engine),
          worker(context, outside, inside, edge,
                 {.spin = std::chrono::microseconds{config.io.spin_us},
                  .drain = std::chrono::milliseconds{config.io.drain_ms}}),
          clock(context, *engine, config.engine.common_clock) {}

    boost::asio::io_context context{1};
    port outside;
    port inside;
    std::unique_ptr<Engine> engine;
    translating_edge<Engine> edge;
    halfproxy::worker<port, translating_edge<Engine>> worker;
    wall_clock_follower<Engine> clock;
};

/// Until a signal comes or the time is over; a second signal cuts the drain short.
template <class Engine>
void run_to_the_end(bridge<Engine>& b, std::optional<std::chrono::duration<double>> duration) {
    boost::asio::signal_set signals(b.context, SIGINT, SIGTERM);
    boost::asio::steady_timer timer(b.context);
    signals.async_wait([&](boost::system::error_code const& error, int) {
        if (error) return;
        b.worker.stop();
        signals.async_wait([&](boost::system::error_code const& again, int) {
            if (!again) b.context.stop();
        });
    });
    if (duration) {
        timer.expires_after(std::chrono::duration_cast<std::chrono::steady_clock::duration>(*duration));
        timer.async_wait([&](boost::system::error_code const& error) {
            if (!error) b.worker.stop();
        });
    }
    b.clock.start();
    b.worker.start([&] {
        signals.cancel();
        timer.cancel();
        b.clock.stop();
    });
    fmt::print("ready\n");
    std::fflush(stdout);
    b.context.run();
}

port_report report_of(port& p, port_counters const& counted) {
    af_packet_statistics const s = p.statistics();
    return {.name = p.interface(),
            .received = counted.received,
            .sent = s.transmitted,
            .kernel_drops = s.kernel_dropped,
            .receive_truncated = s.receive_truncated,
            .not_taken = counted.not_taken,
            .refused = s.transmit_refused,
            .link_down = s.transmit_link_down};
}

template <class Engine>
std::size_t configured_bytes(bridge<Engine> const& b, io_settings const& io) {
    std::size_t const rings = std::size_t{io.ring_slots} * io.ring_slot_bytes + std::size_t{io.transmit_slots} * af_packet_transmit_slot_bytes;
    return b.engine->memory_bytes() + b.edge.memory_bytes() + 2 * rings;
}

/// Opens the ports, runs, and says what it came to.
template <class Engine>
run_report run_bridge(tool_config& config, std::unique_ptr<Engine> engine, std::optional<std::chrono::duration<double>> duration) {
    bridge<Engine> b(config, std::move(engine));
    config.engine.secret = {};  // the engine has its copy
    drop_privileges();
    run_report report;
    report.configured_bytes = configured_bytes(b, config.io);
    report.rss_at_start_bytes = resident_bytes();
    fmt::print(stderr, "halfproxy {}: {} <-> {}, {:.1f} MiB fixed memory\n", library_version, config.io.outside,
               config.io.inside, static_cast<double>(report.configured_bytes) / (1 << 20));

    auto const begin = std::chrono::steady_clock::now();
    run_to_the_end(b, duration);
    report.uptime_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    report.take(*b.engine);
    report.take_edge(b.edge);
    report.outside = report_of(b.outside, b.worker.packets().counters(side::outside));
    report.inside = report_of(b.inside, b.worker.packets().counters(side::inside));
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
        with_engine(config, [&](auto engine) { return run_bridge(config, std::move(engine), options.duration); });
    fmt::print(stderr, "{}", summary_text(report));
    file.write(report);
    return exit_code::success;
}

}  // namespace halfproxy::tool
