// SPDX-License-Identifier: BSL-1.0
// What the tool asks of Linux: random bytes, its clocks, its own memory, and to need no privilege any more.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace halfproxy::tool {

/// Fills `out` from the kernel's random source; throws run_error when there is none.
void fill_random(std::span<std::uint8_t> out);

/// What to add to the steady clock to get the wall clock (CLOCK_REALTIME, since 1970). Changes when the wall clock is set, not when NTP corrects its
/// speed, for that corrects both.
[[nodiscard]] std::chrono::nanoseconds wall_clock_offset() noexcept;

/// The longest IP packet the interface sends now. Throws run_error when it cannot be asked.
[[nodiscard]] std::uint32_t interface_mtu(std::string const& interface);

/// Memory of this process that is in RAM now; 0 when /proc cannot be read.
[[nodiscard]] std::size_t resident_bytes();

/// Gives up every capability of the calling thread for good, and of every program it might start. Call it before other
/// threads exist. Descriptors that are open keep working. Throws run_error when a capability remains.
void drop_privileges();

}  // namespace halfproxy::tool
