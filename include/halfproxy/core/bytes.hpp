// SPDX-License-Identifier: BSL-1.0
// The two ways this library looks at memory: bytes it may read, bytes it may change.
#pragma once

#include <cstdint>
#include <span>

namespace halfproxy {

/// Bytes somebody else owns, to be read only.
using byte_view = std::span<std::uint8_t const>;

/// Bytes somebody else owns, which may be changed in place.
using byte_span = std::span<std::uint8_t>;

}  // namespace halfproxy
