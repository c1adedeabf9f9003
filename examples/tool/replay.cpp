// SPDX-License-Identifier: BSL-1.0
// `halfproxy replay`: a capture through the engine, offline; what either side would get becomes a capture.
#include "commands.hpp"
#include "engines.hpp"
#include "flow_sides.hpp"
#include "report.hpp"
#include "system.hpp"
#include "tool_config.hpp"

#include <halfproxy/core/outbox.hpp>
#include <halfproxy/engine/engine.hpp>
#include <halfproxy/engine/translating_edge.hpp>
#include <halfproxy/io/packet_io.hpp>
#include <halfproxy/io/pcap_file.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <system_error>
#include <vector>

namespace halfproxy::tool {
namespace {

namespace fs = std::filesystem;

capture_file open_capture(fs::path const& path) {
    std::error_code error;
    capture_file file(path.string(), error);
    if (error) throw usage_error(fmt::format("--in {}: {}", path.string(), error.message()));
    return file;
}

bool same_file(fs::path const& a, fs::path const& b) {
    std::error_code ignored;  // a file that is not there yet is equivalent to none
    bool const both_there = fs::is_regular_file(a, ignored) && fs::is_regular_file(b, ignored);
    if (both_there) return fs::equivalent(a, b, ignored);
    return !fs::exists(a, ignored) && fs::absolute(a).lexically_normal() == fs::absolute(b).lexically_normal();
}

/// Writing empties a file: none may be another one.
void require_different(replay_options const& o) {
    if (same_file(o.in, o.out_client)) throw usage_error("--out-client is the capture to read; name another file");
    if (same_file(o.in, o.out_server)) throw usage_error("--out-server is the capture to read; name another file");
    if (same_file(o.out_client, o.out_server))
        throw usage_error("--out-client and --out-server are the same file; name two");
}

/// The link types of a capture, in the order in which they appear; Ethernet for a capture without packets.
std::vector<std::uint16_t> link_types(byte_view file) {
    std::vector<std::uint16_t> types;
    pcap_reader reader(file);
    for (capture_record record; reader.next(record);)
        if (std::find(types.begin(), types.end(), record.linktype) == types.end()) types.push_back(record.linktype);
    if (types.empty()) types.push_back(linktype_number(link_type::ethernet));
    return types;
}

capture_format format_for(fs::path const& path, std::size_t link_type_count) {
    if (path.extension() == ".pcapng") return capture_format::pcapng;
    if (link_type_count > 1)
        throw usage_error(
            fmt::format("the capture mixes link types, which only pcapng can hold: name {} *.pcapng", path.string()));
    return capture_format::pcap;
}

/// A capture of what one side gets: an interface per link type of the input.
class side_capture {
  public:
    side_capture(fs::path const& path, std::vector<std::uint16_t> const& types) try
        : name_(path.string()), sink_(name_), writer_(sink_, format_for(path, types.size()), types.front()) {
        for (std::size_t i = 0; i < types.size(); ++i)
            interface_of_[types[i]] = i == 0 ? 0 : writer_.add_interface(types[i]);
    } catch (std::system_error const& e) {
        throw usage_error(e.what());
    }

    void write(byte_view bytes, std::uint32_t wire_length, std::uint16_t linktype, time_point now) {
        capture_packet packet{.bytes = bytes, .time = now, .wire_length = wire_length};
        packet.interface = interface_of_.at(linktype);
        if (!writer_.write(packet)) finish();
    }

    void finish() {
        if (std::error_code const error = sink_.close()) throw run_error(fmt::format("{}: {}", name_, error.message()));
    }

    [[nodiscard]] std::string const& name() const noexcept { return name_; }
    [[nodiscard]] std::uint64_t frames() const noexcept { return writer_.records(); }

  private:
    std::string name_;
    file_sink sink_;
    pcap_writer<file_sink> writer_;
    std::map<std::uint16_t, std::uint32_t> interface_of_{};
};

/// One record after the other through the engine, with the capture's time; timers run in between, each at its own time.
template <class Engine>
class replayer {
  public:
    replayer(edge_config const& edge, std::unique_ptr<Engine> engine, side_capture& to_client, side_capture& to_server)
        : engine_(std::move(engine)), edge_(edge, *engine_), to_client_(to_client), to_server_(to_server) {}

    void replay(capture_record const& record) {
        linktype_ = record.linktype;
        run_timers_until(record.time);
        now_ = std::max(now_, record.time);
        frame f = frame_of(record);
        edge_.process({&f, 1}, now_, outbox_);
        if (f.outcome == verdict::forward) send(other(f.arrival), f);
        if (f.outcome == verdict::reply) send(f.arrival, f);
        send_originated();
    }

    [[nodiscard]] Engine const& engine() const noexcept { return *engine_; }
    [[nodiscard]] translating_edge<Engine> const& edge() const noexcept { return edge_; }
    [[nodiscard]] std::uint64_t received(side port) const noexcept { return received_[static_cast<std::size_t>(port)]; }

  private:
    void run_timers_until(time_point end) {
        for (auto due = engine_->next_deadline(); due && *due <= end; due = engine_->next_deadline()) {
            now_ = std::max(now_, *due);
            edge_.advance(now_, outbox_);
            send_originated();
            if (engine_->next_deadline() == due)
                now_ = std::max(now_, end);  // timers fire in coarser steps than deadlines
        }
    }

    frame frame_of(capture_record const& record) {
        buffer_.resize(record.bytes.size() + frame_slack_bytes);
        if (!record.bytes.empty()) std::memcpy(buffer_.data(), record.bytes.data(), record.bytes.size());
        frame f;
        f.data = buffer_.data();
        f.length = static_cast<std::uint32_t>(record.bytes.size());
        f.capacity = static_cast<std::uint32_t>(buffer_.size());
        f.wire_length = record.wire_length;
        f.link = record.link;
        f.arrival = sides_.arrival_of(f);
        ++received_[static_cast<std::size_t>(f.arrival)];
        cut_bytes_ = f.wire_length - f.length;
        return f;
    }

    void send(side port, frame const& f) { capture_of(port).write(f.bytes(), f.length + cut_bytes_, linktype_, now_); }

    void send_originated() {
        for (outbox_frame const& f : outbox_.frames()) capture_of(f.exit).write(f.bytes(), f.wire_length(), linktype_, now_);
        outbox_.clear();
    }

    side_capture& capture_of(side port) noexcept { return port == side::outside ? to_client_ : to_server_; }

    std::unique_ptr<Engine> engine_;
    translating_edge<Engine> edge_;
    side_capture& to_client_;
    side_capture& to_server_;
    flow_sides sides_{};
    outbox outbox_{std::max(outbox_per_packet, outbox_per_advance)};
    std::vector<std::uint8_t> buffer_{};
    std::array<std::uint64_t, 2> received_{};
    std::uint32_t cut_bytes_ = 0;  ///< of the packet in hand: what its capture left out
    std::uint16_t linktype_ = 0;   ///< of the packet in hand; what timers originate has the last packet's
    time_point now_{};
};

/// What replaying every whole record has come to; `name` is the capture's.
template <class Engine>
run_report replay_all(replayer<Engine>& run, byte_view file, std::string const& name) {
    run_report report;
    pcap_reader reader(file);
    std::optional<time_point> first;
    time_point last{};
    for (capture_record record; reader.next(record); last = std::max(last, record.time)) {
        if (!first) first = last = record.time;
        run.replay(record);
    }
    report.take(run.engine());
    report.take_edge(run.edge());
    report.uptime_s = first ? std::chrono::duration<double>(last - *first).count() : 0;
    report.configured_bytes = run.engine().memory_bytes() + run.edge().memory_bytes();
    report.capture = {name, reader.records(), reader.status() == capture_status::end, reader.message()};
    return report;
}

port_report report_of(side_capture const& capture, std::uint64_t received) {
    return {.name = capture.name(), .received = received, .sent = capture.frames()};
}

}  // namespace

int run_replay(replay_options const& options) {
    // Without a secret of the user's the same one each time: the same capture gives the same output.
    tool_config const config = options.config ? load_config(*options.config) : tool_config{};
    require_different(options);
    capture_file const file = open_capture(options.in);
    auto const types = link_types(file.bytes());
    side_capture to_client(options.out_client, types);
    side_capture to_server(options.out_server, types);
    report_file out(options.report);
    std::size_t const rss_at_start = resident_bytes();

    run_report report = with_engine(config, [&](auto engine) {
        replayer run(config.edge, std::move(engine), to_client, to_server);
        run_report r = replay_all(run, file.bytes(), options.in.string());
        r.outside = report_of(to_client, run.received(side::outside));
        r.inside = report_of(to_server, run.received(side::inside));
        return r;
    });
    to_client.finish();
    to_server.finish();
    report.rss_at_start_bytes = rss_at_start;
    report.rss_bytes = resident_bytes();
    fmt::print(stderr, "{}", summary_text(report));
    out.write(report);
    if (!report.capture->complete)
        throw run_error(fmt::format("{}: {}", report.capture->file, report.capture->problem));
    return exit_code::success;
}

}  // namespace halfproxy::tool
