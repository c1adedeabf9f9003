// SPDX-License-Identifier: BSL-1.0
// The library's version, written down here alone: CMake, pkg-config and `halfproxy --version` read it from these lines.
#pragma once

#include <string_view>

#define HALFPROXY_VERSION "0.1.0"

namespace halfproxy {

/// major.minor.patch (semantic versioning).
inline constexpr std::string_view library_version = HALFPROXY_VERSION;

}  // namespace halfproxy
