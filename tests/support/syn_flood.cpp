// SPDX-License-Identifier: BSL-1.0
// Floods a server in the lab with SYNs, ACKs or SYN-ACKs from random sources, at a bounded rate, count and time.
#include "tests/support/flood_guard.hpp"
#include "tests/support/flood_packet.hpp"

#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <map>
#include <net/if.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

namespace {

using namespace halfproxy;
using namespace halfproxy::test;

constexpr std::size_t batch_packets = 32;
constexpr std::int64_t second_ns = 1'000'000'000;
constexpr char const* usage_text =
    "usage: syn_flood --interface IF --to ADDRESS --to-mac MAC [--from-mac MAC] [--port 80] [--mode syn|ack|synack]\n"
    "                 [--server ADDRESS] [--rate PACKETS_PER_SECOND 100000] [--seconds 10] [--count 100000000] [--seed 1]\n"
    "--from-mac: a station's that is not there, so that its answers cost this host as little as can be; else the interface's own.\n"
    "--server: it sends, from that port to random ports of ADDRESS; otherwise sources are random and the port is ADDRESS's.\n"
    "Sends at most so fast, so many and so long; prints what was offered as JSON. Runs only inside a namespace that\n"
    "tests/wire_lab/lab.sh made.\n";

volatile std::sig_atomic_t stopping = 0;

struct flood_plan {
    std::string interface{};
    flood_target target{};
    std::optional<mac_address> from_mac{};
    double rate = 100'000;
    double seconds = 10;
    std::uint64_t count = 100'000'000;
    std::uint64_t seed = 1;
};

double number(std::string const& name, std::string const& text, double most) {
    char* end = nullptr;
    double const value = std::strtod(text.c_str(), &end);
    if (end == text.c_str() || *end != 0 || !(value > 0) || value > most)
        throw std::invalid_argument(name + " must be a number above 0, at most " + std::to_string(most));
    return value;
}

ip_address address_of(std::string const& text) {
    in_addr four{};
    in6_addr six{};
    if (inet_pton(AF_INET, text.c_str(), &four) == 1) return ip_address::v4(ntohl(four.s_addr));
    if (inet_pton(AF_INET6, text.c_str(), &six) != 1) throw std::invalid_argument(text + " is not an IP address");
    ipv6_bytes bytes{};
    std::memcpy(bytes.data(), &six, bytes.size());
    return ip_address::v6(bytes);
}

mac_address mac_of(std::string const& text) {
    mac_address out{};
    std::array<unsigned, 6> parts{};
    if (std::sscanf(text.c_str(), "%x:%x:%x:%x:%x:%x", &parts[0], &parts[1], &parts[2], &parts[3], &parts[4], &parts[5]) != 6)
        throw std::invalid_argument("--to-mac " + text + " is not a link address");
    for (std::size_t i = 0; i < 6; ++i) out[i] = static_cast<std::uint8_t>(parts[i]);
    return out;
}

flood_mode mode_of(std::string const& text) {
    std::map<std::string, flood_mode> const known{{"syn", flood_mode::syn}, {"ack", flood_mode::ack}, {"synack", flood_mode::syn_ack}};
    auto const found = known.find(text);
    if (found == known.end()) throw std::invalid_argument("--mode must be syn, ack or synack, not " + text);
    return found->second;
}

flood_plan parse_arguments(int count, char** arguments) {
    std::map<std::string, std::string> given{{"--port", "80"}, {"--mode", "syn"}, {"--rate", "100000"}, {"--seconds", "10"},
                                             {"--count", "100000000"}, {"--seed", "1"}, {"--server", ""}, {"--interface", ""}, {"--to", ""}, {"--to-mac", ""}, {"--from-mac", ""}};
    for (int i = 1; i < count; i += 2) {
        if (!given.contains(arguments[i])) throw std::invalid_argument(std::string("unknown option ") + arguments[i]);
        if (i + 1 == count) throw std::invalid_argument(std::string(arguments[i]) + " needs a value");
        given[arguments[i]] = arguments[i + 1];
    }
    flood_plan out;
    out.interface = given["--interface"];
    out.target.address = address_of(given["--to"]);
    out.target.to_mac = mac_of(given["--to-mac"]);
    if (!given["--from-mac"].empty()) out.from_mac = mac_of(given["--from-mac"]);
    out.target.port = static_cast<std::uint16_t>(number("--port", given["--port"], 65'535));
    out.target.mode = mode_of(given["--mode"]);
    if (!given["--server"].empty()) out.target.server = address_of(given["--server"]);
    if (out.target.server && out.target.server->version != out.target.address.version)
        throw std::invalid_argument("--server and --to must be of one family");
    out.rate = number("--rate", given["--rate"], 1e7);
    out.seconds = number("--seconds", given["--seconds"], 600);
    out.count = static_cast<std::uint64_t>(number("--count", given["--count"], 1e9));
    out.seed = static_cast<std::uint64_t>(number("--seed", given["--seed"], 1e18));
    return out;
}

/// A packet socket that only sends, past the queueing discipline.
class flood_socket {
  public:
    explicit flood_socket(std::string const& interface) : descriptor_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)) {
        if (descriptor_ < 0) throw std::runtime_error("cannot open a packet socket: " + std::string(std::strerror(errno)));
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
        if (address.sll_ifindex == 0) throw std::runtime_error("unknown interface " + interface);
        ifreq request{};
        std::strncpy(request.ifr_name, interface.c_str(), IFNAMSIZ - 1);
        int const on = 1;
        if (::bind(descriptor_, reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0 ||
            ::setsockopt(descriptor_, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) != 0 ||
            ::ioctl(descriptor_, SIOCGIFHWADDR, &request) != 0)
            throw std::runtime_error("interface " + interface + ": " + std::strerror(errno));
        std::memcpy(own_mac_.data(), request.ifr_hwaddr.sa_data, own_mac_.size());
    }
    ~flood_socket() { ::close(descriptor_); }
    flood_socket(flood_socket const&) = delete;
    flood_socket& operator=(flood_socket const&) = delete;

    [[nodiscard]] mac_address own_mac() const { return own_mac_; }

    /// Builds and sends `count` packets; how many the kernel took.
    std::size_t send(flood_target const& target, split_mix64& random, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            pieces_[i] = {bytes_[i].data(), build_flood_packet(bytes_[i], target, random)};
            messages_[i] = {};
            messages_[i].msg_hdr.msg_iov = &pieces_[i];
            messages_[i].msg_hdr.msg_iovlen = 1;
        }
        int const sent = ::sendmmsg(descriptor_, messages_.data(), static_cast<unsigned>(count), 0);
        if (sent >= 0) return static_cast<std::size_t>(sent);
        if (errno == ENOBUFS || errno == EAGAIN || errno == EINTR) return 0;
        throw std::runtime_error(std::string("sending failed: ") + std::strerror(errno));
    }

  private:
    int descriptor_;
    mac_address own_mac_{};
    std::array<std::array<std::uint8_t, max_built_bytes>, batch_packets> bytes_{};
    std::array<iovec, batch_packets> pieces_{};
    std::array<mmsghdr, batch_packets> messages_{};
};

std::int64_t now_ns(clockid_t clock = CLOCK_MONOTONIC) {
    timespec t{};
    clock_gettime(clock, &t);
    return t.tv_sec * second_ns + t.tv_nsec;
}

void sleep_until(std::int64_t when_ns) {
    timespec const t{when_ns / second_ns, when_ns % second_ns};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr);
}

/// Sends batches on a schedule. What a late batch missed is not made up for beyond 10 ms, so the rate is never exceeded by much.
void flood(flood_plan const& plan) {
    flood_socket socket(plan.interface);
    flood_target target = plan.target;
    target.from_mac = plan.from_mac.value_or(socket.own_mac());
    split_mix64 random(plan.seed);
    std::int64_t const begin = now_ns(), end = begin + static_cast<std::int64_t>(plan.seconds * second_ns);
    auto const batch_ns = static_cast<std::int64_t>(batch_packets * second_ns / plan.rate);
    std::uint64_t sent = 0, refused = 0;
    for (std::int64_t due = begin, now = begin; stopping == 0 && now < end && sent < plan.count; now = now_ns()) {
        if (now < due) {
            sleep_until(due);
            continue;
        }
        auto const want = static_cast<std::size_t>(std::min<std::uint64_t>(batch_packets, plan.count - sent));
        std::size_t const taken = socket.send(target, random, want);
        sent += taken;
        refused += want - taken;
        due = std::max(due + batch_ns, now - second_ns / 100);
    }
    double const seconds = static_cast<double>(now_ns() - begin) / second_ns;
    double const worked = static_cast<double>(now_ns(CLOCK_PROCESS_CPUTIME_ID)) / second_ns;
    std::printf("{\"sent\": %llu, \"refused\": %llu, \"seconds\": %.3f, \"packets_per_second\": %.0f, \"offered_per_second\": %.0f, "
                "\"processor_seconds\": %.6f}\n",
                0ull + sent, 0ull + refused, seconds, static_cast<double>(sent) / seconds, plan.rate, worked);
}

}  // namespace

int main(int count, char** arguments) try {
    if (count == 2 && std::string(arguments[1]) == "--help") return std::fputs(usage_text, stdout), 0;
    flood_plan const plan = parse_arguments(count, arguments);
    if (std::string const reason = why_no_flood_from_here(); !reason.empty()) {
        std::fprintf(stderr, "syn_flood: refused: %s\n", reason.c_str());
        return 2;
    }
    for (int const signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { stopping = 1; });
    flood(plan);
    return 0;
} catch (std::invalid_argument const& problem) {
    std::fprintf(stderr, "syn_flood: %s\n%s", problem.what(), usage_text);
    return 2;
} catch (std::exception const& problem) {
    std::fprintf(stderr, "syn_flood: %s\n", problem.what());
    return 1;
}
