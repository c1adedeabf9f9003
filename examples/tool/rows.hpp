// SPDX-License-Identifier: BSL-1.0
// Rows of named columns on the standard output, as TSV or as one JSON object per line.
#pragma once

#include "commands.hpp"

#include <halfproxy/core/time.hpp>
#include <halfproxy/wire/headers.hpp>

#include <cstdint>
#include <cstdio>
#include <span>
#include <string_view>
#include <vector>

namespace halfproxy::tool {

/// Values are given in the order of the columns, then end_row(). Buffered; finish() must be called to know that
/// everything was written. TSV begins with a line of the column names, and marks what is absent as told; JSON leaves
/// it out. Throws run_error when the stream refuses.
///
/// Why it is fast: room for a value is made once per value, and the digits go straight to their place.
class row_writer {
  public:
    row_writer(std::span<std::string_view const> columns, row_format format, std::string_view absent_mark,
               std::FILE* stream = stdout);

    void absent();
    void number(std::uint64_t value);
    void flag(bool value);          ///< TSV: 1 or 0
    void hex(std::uint16_t value);  ///< 0x0012; a string in JSON
    void ipv4(std::uint32_t host_order);
    void ipv6(ipv6_bytes const& address);        ///< as RFC 5952 recommends
    void seconds(packet_clock::duration value);  ///< with six decimals
    void text(std::string_view value);           ///< control bytes are escaped
    void end_row();
    void finish();

  private:
    /// Room for a column's name and so many bytes of value.
    void begin(std::size_t value_bytes, bool quoted);
    void end(bool quoted);
    void put(char c) { buffer_[size_++] = c; }
    void put(std::string_view text);
    void put_decimal(std::uint64_t value);
    void put_escaped(char c);
    void make_room(std::size_t bytes);
    void flush();

    std::span<std::string_view const> columns_;
    std::string_view absent_mark_;
    std::FILE* stream_;
    row_format format_;
    std::size_t column_ = 0;
    bool first_member_ = true;
    std::vector<char> buffer_;
    std::size_t size_ = 0;
};

}  // namespace halfproxy::tool
