// SPDX-License-Identifier: BSL-1.0
// What the tool asks of Linux. Read capabilities(7), prctl(2) and getrandom(2) beside it.
#include "system.hpp"

#include "commands.hpp"

#include <fmt/format.h>

#include <linux/capability.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>

namespace halfproxy::tool {
namespace {

[[noreturn]] void fail(char const* what) {
    throw run_error(fmt::format("{}: {}", what, std::generic_category().message(errno)));
}

/// The bounding set outlives capset() and would give capabilities back across execve(). Needs CAP_SETPCAP, without which
/// there is nothing that execve() could give.
void empty_bounding_set() {
    for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
}

}  // namespace

void fill_random(std::span<std::uint8_t> out) {
    while (!out.empty()) {
        ssize_t const got = getrandom(out.data(), out.size(), 0);
        if (got < 0 && errno != EINTR) fail("getrandom");
        if (got > 0) out = out.subspan(static_cast<std::size_t>(got));
    }
}

/// Of three attempts the one least disturbed: the wall clock is read between two readings of the other.
std::chrono::nanoseconds wall_clock_offset() noexcept {
    using std::chrono::nanoseconds;
    nanoseconds best{}, narrowest = nanoseconds::max();
    for (int attempt = 0; attempt < 3; ++attempt) {
        nanoseconds const before = std::chrono::steady_clock::now().time_since_epoch();
        nanoseconds const wall = std::chrono::system_clock::now().time_since_epoch();
        nanoseconds const gap = std::chrono::steady_clock::now().time_since_epoch() - before;
        if (gap >= narrowest) continue;
        narrowest = gap;
        best = wall - before;
    }
    return best;
}

std::uint32_t interface_mtu(std::string const& interface) {
    ifreq request{};
    std::copy_n(interface.data(), std::min(interface.size(), sizeof request.ifr_name - 1), request.ifr_name);
    int const descriptor = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) fail("socket");
    int const result = ioctl(descriptor, SIOCGIFMTU, &request);
    int const code = errno;
    ::close(descriptor);
    if (result != 0) throw run_error(fmt::format("{}: cannot read its MTU: {}", interface, std::generic_category().message(code)));
    return static_cast<std::uint32_t>(request.ifr_mtu);
}

std::size_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    std::size_t total_pages = 0;
    std::size_t resident_pages = 0;
    if (!(statm >> total_pages >> resident_pages)) return 0;
    return resident_pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

void drop_privileges() {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail("prctl(PR_SET_NO_NEW_PRIVS)");
    empty_bounding_set();
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0,
          0);  // kernels without ambient capabilities have none to clear
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct const none[_LINUX_CAPABILITY_U32S_3] = {};
    if (syscall(SYS_capset, &header, none) != 0) fail("capset");
}

}  // namespace halfproxy::tool
