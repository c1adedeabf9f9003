// SPDX-License-Identifier: BSL-1.0
// Opening a capture, and what is said of a damaged one.
#include "capture_source.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <system_error>

namespace halfproxy::tool {

namespace {

capture_file open_capture(std::string const& name) {
    std::error_code error;
    capture_file file(name, error);
    if (error) throw usage_error(fmt::format("--in {}: {}", name, error.message()));
    return file;
}

}  // namespace

capture_source::capture_source(std::filesystem::path const& path)
    : name_(path.string()), file_(open_capture(name_)), reader_(file_.bytes()) {}

int capture_source::finish() const {
    if (reader_.status() == capture_status::end) return exit_code::success;
    fmt::print(stderr, "halfproxy: {}: {}\n", name_, reader_.message());
    return exit_code::failed;
}

}  // namespace halfproxy::tool
