// SPDX-License-Identifier: BSL-1.0
// Says of each packet on standard input what an engine does with it and what it then knows of the flow: for tests that compare it with others.
#include <halfproxy/engine/engine.hpp>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace halfproxy;

constexpr char const* usage_text =
    "usage: track_packets [--pickup syn_only|data_only|any] [--without CHECK] [--with CHECK]\n"
    "Reads records: a letter, and after o or i the packet's length in two bytes, big-endian, and the IP packet.\n"
    "  o  it comes from outside    i  it comes from inside    n  begin anew, without flows\n"
    "Writes a line for each packet: verdict, reason, then of its flow, if there is one, state, who opened it (o or i), and of the side outside\n"
    "and the side inside: end, max_end, max_window, max_ack, scale, marks, and then last_end and last, as in tcp_connection. The guard is off, checks\n"
    "are loose; CHECK changes that.\n";

constexpr char const* state_names[] = {"syn_sent", "simultaneous", "syn_received", "established", "half_closed", "last_ack", "time_wait", "closed"};
constexpr char const* verdict_names[] = {"forward", "reply", "hold", "drop"};

tcp_check check_named(std::string_view name) {
    for (std::size_t i = 0; i < tcp_check_count; ++i)
        if (tcp_check_texts[i].name == name) return static_cast<tcp_check>(i);
    throw std::invalid_argument("unknown check " + std::string(name));
}

pickup pickup_named(std::string_view name) {
    if (name == "syn_only") return pickup::syn_only;
    if (name == "data_only") return pickup::data_only;
    if (name == "any") return pickup::any;
    throw std::invalid_argument("unknown pickup " + std::string(name));
}

engine_config config_from(int count, char** arguments) {
    engine_config out;
    out.guard.mode = guard_mode::off;
    out.limits.flows_v4 = out.limits.flows_v6 = 256;
    for (int i = 1; i < count; i += 2) {
        std::string_view const name = arguments[i];
        if (i + 1 == count) throw std::invalid_argument(std::string(name) + " needs a value");
        if (name == "--pickup")
            out.tracking.pickup = pickup_named(arguments[i + 1]);
        else if (name == "--without" || name == "--with")
            out.tracking.choose(check_named(arguments[i + 1]), name == "--with");
        else
            throw std::invalid_argument("unknown option " + std::string(name));
    }
    return out;
}

void read_exactly(void* to, std::size_t bytes) {
    if (std::fread(to, 1, bytes, stdin) != bytes) throw std::runtime_error("a record ends early");
}

/// A packet's port at the side outside, which tells the flows of a test apart.
std::uint16_t outside_port(byte_view packet, side arrival) {
    auto const view = parse(link_type::raw_ip, packet, static_cast<std::uint32_t>(packet.size()));
    if (!view.is_tcp()) return 0;
    return arrival == side::outside ? view.tcp().source_port : view.tcp().destination_port;
}

template <class Flow>
void print_flow(Flow const& f) {
    std::printf(" %s %c", state_names[static_cast<std::size_t>(f.tcp.state)], f.client_side == 0 ? 'o' : 'i');
    for (side const where : {side::outside, side::inside}) {
        std::size_t const d = f.arrival(direction::from_client) == where ? 0 : 1;
        tcp_side const& s = f.tcp.side[d];
        std::printf(" %u %u %u %u %u %u", s.end.value, s.max_end.value, s.max_window, s.max_ack.value, unsigned{f.tcp.scale[d]}, unsigned{f.tcp.marks[d]});
    }
    std::printf(" %u %u", f.tcp.last_end.value, unsigned{f.tcp.last});
}

/// One packet at a time, so that the answer to it is there before the next one comes.
class judge {
  public:
    explicit judge(engine_config const& config) : config_(config) { begin_anew(); }

    void begin_anew() { engine_ = std::make_unique<half_proxy>(config_); }

    void packet(side arrival) {
        std::array<std::uint8_t, 2> length;
        read_exactly(length.data(), length.size());
        frame f{.data = buffer_.data(), .capacity = static_cast<std::uint32_t>(buffer_.size()), .arrival = arrival, .link = link_type::raw_ip};
        f.length = f.wire_length = std::uint32_t{length[0]} << 8 | length[1];
        read_exactly(buffer_.data(), f.length);
        std::uint16_t const port = outside_port(f.bytes(), arrival);
        outbox originated(outbox_per_packet);
        engine_->process({&f, 1}, time_point{}, originated);
        std::printf("%s %s", verdict_names[static_cast<std::size_t>(f.outcome)], std::string(to_string(f.reason)).c_str());
        engine_->for_each_flow([port](auto const& known) {
            auto const& tuple = known.tuple[0];
            std::uint16_t const outside = known.client_side == 0 ? tuple.source_port : tuple.destination_port;
            if (outside == port) print_flow(known);
        });
        std::printf("\n");
        std::fflush(stdout);
    }

  private:
    engine_config config_;
    std::unique_ptr<half_proxy> engine_;
    std::vector<std::uint8_t> buffer_ = std::vector<std::uint8_t>(70'000);
};

}  // namespace

int main(int count, char** arguments) try {
    if (count == 2 && std::string_view(arguments[1]) == "--help") return std::fputs(usage_text, stdout), 0;
    judge all(config_from(count, arguments));
    for (int letter = std::getchar(); letter != EOF; letter = std::getchar()) {
        if (letter == 'n')
            all.begin_anew();
        else if (letter == 'o' || letter == 'i')
            all.packet(letter == 'o' ? side::outside : side::inside);
        else
            throw std::runtime_error("a record of an unknown kind");
    }
    return 0;
} catch (std::invalid_argument const& problem) {
    std::fprintf(stderr, "track_packets: %s\n%s", problem.what(), usage_text);
    return 2;
} catch (std::exception const& problem) {
    std::fprintf(stderr, "track_packets: %s\n", problem.what());
    return 1;
}
