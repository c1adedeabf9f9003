// SPDX-License-Identifier: BSL-1.0
// How a row's values are written.
#include "rows.hpp"

#include <cerrno>
#include <cstring>
#include <iterator>

namespace halfproxy::tool {

namespace {

constexpr std::size_t flush_at_bytes = 256 * 1024;

template <class... Arguments>
void append_format(fmt::memory_buffer& out, fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(out), format, std::forward<Arguments>(arguments)...);
}

void append_decimal(fmt::memory_buffer& out, std::uint64_t value) {
    fmt::format_int const digits(value);
    out.append(digits.data(), digits.data() + digits.size());
}

}  // namespace

row_writer::row_writer(std::span<std::string_view const> columns, row_format format, std::string_view absent_mark,
                       std::FILE* stream)
    : columns_(columns), absent_mark_(absent_mark), stream_(stream), format_(format) {
    if (format_ == row_format::json) return;
    for (std::string_view const column : columns_) {
        if (column.data() != columns_[0].data()) buffer_.push_back('\t');
        append(column);
    }
    buffer_.push_back('\n');
}

void row_writer::begin(bool quoted) {
    if (format_ == row_format::tsv) {
        if (column_ != 0) buffer_.push_back('\t');
        return;
    }
    buffer_.push_back(first_member_ ? '{' : ',');
    first_member_ = false;
    buffer_.push_back('"');
    append(columns_[column_]);
    append(quoted ? "\":\"" : "\":");
}

void row_writer::end(bool quoted) {
    if (quoted && format_ == row_format::json) buffer_.push_back('"');
    ++column_;
}

void row_writer::absent() {
    if (format_ == row_format::tsv) {
        if (column_ != 0) buffer_.push_back('\t');
        append(absent_mark_);
    }
    ++column_;
}

void row_writer::number(std::uint64_t value) {
    begin(false);
    append_decimal(buffer_, value);
    end(false);
}

void row_writer::flag(bool value) {
    begin(false);
    if (format_ == row_format::json)
        append(value ? "true" : "false");
    else
        buffer_.push_back(value ? '1' : '0');
    end(false);
}

void row_writer::hex(std::uint16_t value) {
    begin(true);
    constexpr std::string_view digits = "0123456789abcdef";
    append("0x");
    for (int shift = 12; shift >= 0; shift -= 4) buffer_.push_back(digits[value >> shift & 0xf]);
    end(true);
}

void row_writer::seconds(packet_clock::duration value) {
    constexpr std::int64_t per_second = 1'000'000'000;
    begin(false);
    std::int64_t const ns = value.count();
    std::int64_t const whole = ns / per_second - (ns % per_second < 0 ? 1 : 0);
    append_format(buffer_, "{}.{:06}", whole, (ns - whole * per_second) / 1000);
    end(false);
}

void row_writer::text(std::string_view value) {
    begin(true);
    if (format_ == row_format::json)
        append_json(value);
    else
        append_tsv(value);
    end(true);
}

/// Bytes that are no ASCII stand as the code point of the same number, so that every byte string can be read back.
void row_writer::append_json(std::string_view value) {
    for (char const c : value) {
        auto const byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\')
            append_format(buffer_, "\\{}", c);
        else if (byte < 0x20 || byte >= 0x7f)
            append_format(buffer_, "\\u{:04x}", byte);
        else
            buffer_.push_back(c);
    }
}

void row_writer::append_tsv(std::string_view value) {
    for (char const c : value) {
        auto const byte = static_cast<unsigned char>(c);
        if (c == '\\' || byte < 0x20 || byte >= 0x7f)
            append_format(buffer_, "\\x{:02x}", byte);
        else
            buffer_.push_back(c);
    }
}

void row_writer::end_row() {
    if (format_ == row_format::json) append(first_member_ ? "{}" : "}");
    buffer_.push_back('\n');
    column_ = 0;
    first_member_ = true;
    if (buffer_.size() >= flush_at_bytes) flush();
}

void row_writer::flush() {
    std::size_t const written = std::fwrite(buffer_.data(), 1, buffer_.size(), stream_);
    if (written != buffer_.size()) throw run_error(fmt::format("cannot write the rows: {}", std::strerror(errno)));
    buffer_.clear();
}

void row_writer::finish() {
    flush();
    if (std::fflush(stream_) != 0) throw run_error(fmt::format("cannot write the rows: {}", std::strerror(errno)));
}

void append_ipv4(fmt::memory_buffer& out, std::uint32_t host_order) {
    for (int shift = 24; shift >= 0; shift -= 8) {
        append_decimal(out, host_order >> shift & 0xff);
        if (shift != 0) out.push_back('.');
    }
}

void append_ipv6(fmt::memory_buffer& out, ipv6_bytes const& address) {
    auto const group = [&](std::size_t i) { return static_cast<unsigned>(address[2 * i] << 8 | address[2 * i + 1]); };
    std::size_t zeros_at = 8;
    std::size_t zeros = 1;  // a single zero group is not shortened
    for (std::size_t i = 0; i < 8; ++i) {
        std::size_t run = 0;
        while (i + run < 8 && group(i + run) == 0) ++run;
        if (run > zeros) zeros_at = i, zeros = run;
    }
    for (std::size_t i = 0; i < 8; ++i) {
        if (i == zeros_at) {
            append_format(out, "{}", i == 0 ? "::" : ":");
            i += zeros - 1;
            continue;
        }
        append_format(out, "{:x}", group(i));
        if (i != 7) out.push_back(':');
    }
}

}  // namespace halfproxy::tool
