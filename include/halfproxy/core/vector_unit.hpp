// SPDX-License-Identifier: BSL-1.0
// Which vector instructions this processor has beyond those the library is compiled for.
#pragma once

#include <cstdint>

/// Where the compiler can be asked for other instructions than the rest of the program has.
#if defined(__x86_64__) && defined(__GNUC__)
#define HALFPROXY_VECTOR_UNITS 1
#else
#define HALFPROXY_VECTOR_UNITS 0
#endif

namespace halfproxy {

/// In ascending order: who has one has those before it.
enum class vector_unit : std::uint8_t {
    none,    ///< nothing beyond the baseline
    avx2,    ///< four 64-bit words
    avx512,  ///< eight of them, and rotations
};

/// Of the processor this runs on. Ask once, when something is constructed.
[[nodiscard]] inline vector_unit widest_vector_unit() noexcept {
#if HALFPROXY_VECTOR_UNITS
    __builtin_cpu_init();  // a constructor may run before that of the compiler's own library
    if (__builtin_cpu_supports("avx512f")) return vector_unit::avx512;
    if (__builtin_cpu_supports("avx2")) return vector_unit::avx2;
#endif
    return vector_unit::none;
}

}  // namespace halfproxy
