// SPDX-License-Identifier: BSL-1.0
// Memory in huge pages: an aligned piece cut out of a larger mapping.
#include <halfproxy/track/huge_page_memory.hpp>

#include <algorithm>
#include <cstdint>
#include <new>

#include <sys/mman.h>

namespace halfproxy {

namespace {

constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;  // x86-64 and arm64 with 4 KiB pages

constexpr std::size_t round_up(std::size_t n, std::size_t to) noexcept { return (n + to - 1) / to * to; }

// Unmaps [begin, end), which may be empty.
void unmap(std::uintptr_t begin, std::uintptr_t end) noexcept {
    if (begin != end) ::munmap(reinterpret_cast<void*>(begin), end - begin);
}

}  // namespace

void* huge_page_memory::allocate(std::size_t bytes, std::size_t alignment) {
    std::size_t const step = std::max(alignment, huge_page_bytes);
    std::size_t const size = round_up(std::max<std::size_t>(bytes, 1), step);
    if (size < bytes || size + step < size) throw std::bad_alloc();
    void* const mapped = ::mmap(nullptr, size + step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    auto const begin = reinterpret_cast<std::uintptr_t>(mapped);
    std::uintptr_t const aligned = round_up(begin, step);
    unmap(begin, aligned);
    unmap(aligned + size, begin + size + step);
    void* const p = reinterpret_cast<void*>(aligned);
    ::madvise(p, size, MADV_HUGEPAGE);  // a wish: a refusal costs speed only
    return p;
}

void huge_page_memory::deallocate(void* p, std::size_t bytes, std::size_t alignment) noexcept {
    ::munmap(p, round_up(std::max<std::size_t>(bytes, 1), std::max(alignment, huge_page_bytes)));
}

}  // namespace halfproxy
