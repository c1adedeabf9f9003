// SPDX-License-Identifier: BSL-1.0
// The AF_PACKET port on the real system calls.
#include "af_packet_impl.hpp"

#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

namespace halfproxy {

unsigned linux_packet_calls::name_to_index(char const* name) noexcept { return ::if_nametoindex(name); }

int linux_packet_calls::socket(int domain, int type, int protocol) noexcept { return ::socket(domain, type, protocol); }

int linux_packet_calls::set_option(int descriptor, int level, int name, void const* value, unsigned bytes) noexcept {
    return ::setsockopt(descriptor, level, name, value, bytes);
}

int linux_packet_calls::get_option(int descriptor, int level, int name, void* value, unsigned* bytes) noexcept {
    return ::getsockopt(descriptor, level, name, value, bytes);
}

int linux_packet_calls::bind(int descriptor, sockaddr const* address, unsigned bytes) noexcept {
    return ::bind(descriptor, address, bytes);
}

int linux_packet_calls::local_address(int descriptor, sockaddr* address, unsigned* bytes) noexcept {
    return ::getsockname(descriptor, address, bytes);
}

void* linux_packet_calls::map(std::size_t bytes, int descriptor) noexcept {
    void* const address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, descriptor, 0);
    return address == MAP_FAILED ? nullptr : address;
}

void linux_packet_calls::unmap(void* address, std::size_t bytes) noexcept { ::munmap(address, bytes); }

std::ptrdiff_t linux_packet_calls::receive_message(int descriptor, msghdr* message, int flags) noexcept {
    return ::recvmsg(descriptor, message, flags);
}

int linux_packet_calls::send_many(int descriptor, mmsghdr* messages, unsigned count, int flags) noexcept {
    return ::sendmmsg(descriptor, messages, count, flags);
}

int linux_packet_calls::send_ring(int descriptor, int flags) noexcept {
    return static_cast<int>(::send(descriptor, nullptr, 0, flags));
}

int linux_packet_calls::wait_writable(int descriptor, int milliseconds) noexcept {
    pollfd waiting{descriptor, POLLOUT, 0};
    return ::poll(&waiting, 1, milliseconds);
}

int linux_packet_calls::close(int descriptor) noexcept { return ::close(descriptor); }

template class basic_af_packet_io<linux_packet_calls>;
static_assert(pollable_packet_io<af_packet_io>);

}  // namespace halfproxy
