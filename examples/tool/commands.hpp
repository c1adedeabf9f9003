// SPDX-License-Identifier: BSL-1.0
// The subcommands of the program: what main() parsed for each, and the function that runs it.
#pragma once

#include <halfproxy/engine/config.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>

namespace halfproxy::tool {

namespace exit_code {
inline constexpr int success = 0;
inline constexpr int failed = 1;  ///< the run failed: a truncated capture, a device that went away
inline constexpr int usage = 2;   ///< wrong usage or configuration
}  // namespace exit_code

/// Wrong usage or configuration: main() prints the message alone and ends with exit_code::usage. The message names
/// the thing (file, line and key where there is one) and the remedy.
struct usage_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// The run itself failed: main() prints the message and ends with exit_code::failed.
struct run_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

enum class row_format : std::uint8_t { tsv, json };
enum class io_backend : std::uint8_t { af_packet, af_xdp };

struct dissect_options {
    std::filesystem::path in;
    row_format format = row_format::tsv;
};

struct flows_options {
    std::filesystem::path in;
    row_format format = row_format::tsv;
};

/// What is absent comes from the configuration file, or from its default.
struct inline_options {
    std::optional<std::string> outside;
    std::optional<std::string> inside;
    std::optional<std::filesystem::path> config;
    std::optional<guard_mode> guard;
    std::optional<io_backend> io;
    std::optional<std::uint32_t> shards;
    std::optional<std::filesystem::path> report;
    std::optional<std::chrono::duration<double>> duration;
};

struct replay_options {
    std::filesystem::path in;
    std::filesystem::path out_client;
    std::filesystem::path out_server;
    std::optional<std::filesystem::path> config;
    std::optional<std::filesystem::path> report;
};

struct check_options {
    std::filesystem::path config;
};

/// Each returns an exit_code, writes its result to standard output and everything else to standard error, and throws
/// usage_error or run_error when it cannot go on.
int run_inline(inline_options const& options);
int run_replay(replay_options const& options);
int run_dissect(dissect_options const& options);
int run_flows(flows_options const& options);
int run_check(check_options const& options);

}  // namespace halfproxy::tool
