// SPDX-License-Identifier: BSL-1.0
// The checks of tests/support/flood_guard.hpp.
#include "tests/support/flood_guard.hpp"

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <memory>
#include <net/if.h>
#include <sstream>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace halfproxy::test {

namespace {

/// What /proc/<process>/ns/net points to; empty when it cannot be read.
std::string network_of(char const* process) {
    std::error_code error;
    auto const link = std::filesystem::read_symlink(std::string("/proc/") + process + "/ns/net", error);
    return error ? std::string() : link.string();
}

std::string check_mark() {
    char const* const path = std::getenv("HALFPROXY_LAB_MARK");
    if (path == nullptr) return "HALFPROXY_LAB_MARK is not set: only tests/wire_lab/lab.sh may start a flood";
    std::string outer;
    std::getline(std::ifstream(path), outer);
    if (outer.rfind("net:[", 0) != 0) return std::string(path) + " is not a mark made by tests/wire_lab/lab.sh";
    std::string const here = network_of("self");
    if (here.empty()) return "cannot read /proc/self/ns/net";
    if (here == outer || here == network_of("1")) return "this is the machine's own network namespace";
    return {};
}

/// The driver's name; empty when the interface has none (loopback).
std::string driver_of(char const* interface) {
    int const descriptor = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return "?";
    ethtool_drvinfo info{};
    info.cmd = ETHTOOL_GDRVINFO;
    ifreq request{};
    std::strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char*>(&info);
    bool const known = ::ioctl(descriptor, SIOCETHTOOL, &request) == 0;
    ::close(descriptor);
    return known ? info.driver : "";
}

std::string check_interfaces() {
    std::unique_ptr<struct if_nameindex, decltype(&if_freenameindex)> const all(if_nameindex(), &if_freenameindex);
    if (all == nullptr) return "cannot list the interfaces";
    for (auto const* one = all.get(); one->if_index != 0; ++one)
        if (std::string_view(one->if_name) != "lo" && driver_of(one->if_name) != "veth")
            return std::string("interface ") + one->if_name + " is neither a veth nor the loopback";
    return {};
}

/// proc(5): destination, gateway, …, mask in column 8 of /proc/net/route; in ipv6_route destination, prefix length, …,
/// interface in column 10. An unreachable default route is listed there on lo.
std::string check_routes() {
    std::string line, word;
    for (std::ifstream file("/proc/net/route"); std::getline(file, line);) {
        std::istringstream words(line);
        std::array<std::string, 8> column;
        for (auto& each : column) words >> each;
        if (column[1] == "00000000" && column[7] == "00000000") return "there is an IPv4 default route";
    }
    for (std::ifstream file("/proc/net/ipv6_route"); std::getline(file, line);) {
        std::istringstream words(line);
        std::array<std::string, 10> column;
        for (auto& each : column) words >> each;
        if (column[1] == "00" && column[9] != "lo") return "there is an IPv6 default route";
    }
    return {};
}

}  // namespace

std::string why_no_flood_from_here() {
    for (auto const check : {check_mark, check_interfaces, check_routes})
        if (std::string reason = check(); !reason.empty()) return reason;
    return {};
}

}  // namespace halfproxy::test
