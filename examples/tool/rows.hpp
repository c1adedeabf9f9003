// SPDX-License-Identifier: BSL-1.0
// Rows of named columns on the standard output, as TSV or as one JSON object per line.
#pragma once

#include "commands.hpp"

#include <halfproxy/core/time.hpp>
#include <halfproxy/wire/headers.hpp>

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <span>
#include <string_view>

namespace halfproxy::tool {

/// Values are given in the order of the columns, then end_row(). Buffered; finish() must be called to know that
/// everything was written. TSV begins with a line of the column names, and marks what is absent as told; JSON leaves
/// it out. Throws run_error when the stream refuses.
class row_writer {
  public:
    row_writer(std::span<std::string_view const> columns, row_format format, std::string_view absent_mark,
               std::FILE* stream = stdout);

    void absent();
    void number(std::uint64_t value);
    void flag(bool value);                       ///< TSV: 1 or 0
    void hex(std::uint16_t value);               ///< 0x0012; a string in JSON
    void seconds(packet_clock::duration value);  ///< with six decimals
    void text(std::string_view value);           ///< control bytes are escaped
    /// Written by `format(fmt::memory_buffer&)`, which needs no escapes; a string in JSON.
    template <class Format>
    void formatted(Format&& format) {
        begin(true);
        format(buffer_);
        end(true);
    }
    void end_row();
    void finish();

  private:
    void begin(bool quoted);
    void end(bool quoted);
    void append(std::string_view text) { buffer_.append(text.data(), text.data() + text.size()); }
    void append_json(std::string_view text);
    void append_tsv(std::string_view text);
    void flush();

    std::span<std::string_view const> columns_;
    std::string_view absent_mark_;
    std::FILE* stream_;
    row_format format_;
    std::size_t column_ = 0;
    bool first_member_ = true;
    fmt::memory_buffer buffer_;
};

/// Dotted decimal.
void append_ipv4(fmt::memory_buffer& out, std::uint32_t host_order);
/// As RFC 5952 recommends.
void append_ipv6(fmt::memory_buffer& out, ipv6_bytes const& address);

}  // namespace halfproxy::tool
