// SPDX-License-Identifier: BSL-1.0
// `halfproxy check`: validates a configuration and prints what would be in effect.
#include "commands.hpp"
#include "tool_config.hpp"

#include <fmt/format.h>

namespace halfproxy::tool {

int run_check(check_options const& options) {
    fmt::print("{}", config_text(load_config(options.config)));
    return exit_code::success;
}

}  // namespace halfproxy::tool
