// SPDX-License-Identifier: BSL-1.0
// The capture a subcommand reads: opened with a message that names it, closed with a word about what was wrong in it.
#pragma once

#include "commands.hpp"

#include <halfproxy/io/pcap_file.hpp>

#include <cstdint>
#include <filesystem>
#include <string>

namespace halfproxy::tool {

class capture_source {
  public:
    /// "-" is the standard input. Throws usage_error when the file cannot be read.
    explicit capture_source(std::filesystem::path const& path);

    /// The next whole record; false at the end or at the first one that is not whole.
    bool next(capture_record& record) { return reader_.next(record); }
    [[nodiscard]] std::uint64_t file_bytes() const noexcept { return file_.bytes().size(); }

    /// The exit code of the run. A damaged capture is told on the standard error.
    [[nodiscard]] int finish() const;

  private:
    std::string name_;
    capture_file file_;
    pcap_reader reader_;
};

}  // namespace halfproxy::tool
