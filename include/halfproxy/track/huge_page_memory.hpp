// SPDX-License-Identifier: BSL-1.0
// Memory in huge pages where the system grants them: for flow tables whose page tables would not fit the caches.
#pragma once

#include <cstddef>

namespace halfproxy {

/// A table_memory (track/flow_table.hpp) of anonymous private memory aligned to 2 MiB, for which transparent huge pages are
/// asked (madvise(2), MADV_HUGEPAGE). A system that grants none gives ordinary pages: slower, not an error. allocate()
/// throws std::bad_alloc when the address space or the limit of the process does not suffice. Needs halfproxy::compiled.
struct huge_page_memory {
    [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment);
    void deallocate(void* p, std::size_t bytes, std::size_t alignment) noexcept;
};

}  // namespace halfproxy
