// SPDX-License-Identifier: BSL-1.0
// How a row's values are written.
#include "rows.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace halfproxy::tool {

namespace {

constexpr std::size_t flush_at_bytes = 256 * 1024;
constexpr std::string_view hex_digits = "0123456789abcdef";

}  // namespace

row_writer::row_writer(std::span<std::string_view const> columns, row_format format, std::string_view absent_mark,
                       std::FILE* stream)
    : columns_(columns), absent_mark_(absent_mark), stream_(stream), format_(format), buffer_(2 * flush_at_bytes) {
    if (format_ == row_format::json) return;
    for (std::string_view const column : columns_) {
        if (size_ != 0) put('\t');
        put(column);
    }
    put('\n');
}

// --- The buffer ---------------------------------------------------------------

void row_writer::make_room(std::size_t bytes) {
    if (buffer_.size() - size_ < bytes) buffer_.resize(buffer_.size() + bytes);
}

void row_writer::put(std::string_view text) {
    std::memcpy(buffer_.data() + size_, text.data(), text.size());
    size_ += text.size();
}

void row_writer::put_decimal(std::uint64_t value) {
    if (value < 10) return put(static_cast<char>('0' + value));
    fmt::format_int const digits(value);
    put(std::string_view(digits.data(), digits.size()));
}

void row_writer::begin(std::size_t value_bytes, bool quoted) {
    std::string_view const name = columns_[column_];
    make_room(name.size() + value_bytes + 8);  // 8: separators and quotes, and the end of the row
    if (format_ == row_format::tsv) {
        if (column_ != 0) put('\t');
        return;
    }
    put(first_member_ ? '{' : ',');
    first_member_ = false;
    put('"');
    put(name);
    put(quoted ? "\":\"" : "\":");
}

void row_writer::end(bool quoted) {
    if (quoted && format_ == row_format::json) put('"');
    ++column_;
}

void row_writer::end_row() {
    make_room(4);
    if (format_ == row_format::json) put(first_member_ ? "{}" : "}");
    put('\n');
    column_ = 0;
    first_member_ = true;
    if (size_ >= flush_at_bytes) flush();
}

void row_writer::flush() {
    if (std::fwrite(buffer_.data(), 1, size_, stream_) != size_)
        throw run_error(fmt::format("cannot write the rows: {}", std::strerror(errno)));
    size_ = 0;
}

void row_writer::finish() {
    flush();
    if (std::fflush(stream_) != 0) throw run_error(fmt::format("cannot write the rows: {}", std::strerror(errno)));
}

// --- Values ---------------------------------------------------------------

void row_writer::absent() {
    if (format_ == row_format::tsv) {
        begin(absent_mark_.size(), false);
        put(absent_mark_);
    }
    ++column_;
}

void row_writer::number(std::uint64_t value) {
    begin(20, false);
    put_decimal(value);
    end(false);
}

void row_writer::flag(bool value) {
    begin(5, false);
    if (format_ == row_format::json)
        put(value ? "true" : "false");
    else
        put(value ? '1' : '0');
    end(false);
}

void row_writer::hex(std::uint16_t value) {
    begin(6, true);
    put("0x");
    for (int shift = 12; shift >= 0; shift -= 4) put(hex_digits[value >> shift & 0xf]);
    end(true);
}

void row_writer::ipv4(std::uint32_t host_order) {
    begin(15, true);
    for (int shift = 24; shift >= 0; shift -= 8) {
        put_decimal(host_order >> shift & 0xff);
        if (shift != 0) put('.');
    }
    end(true);
}

void row_writer::ipv6(ipv6_bytes const& address) {
    auto const group = [&](std::size_t i) { return static_cast<unsigned>(address[2 * i] << 8 | address[2 * i + 1]); };
    std::size_t zeros_at = 8;
    std::size_t zeros = 1;  // a single zero group is not shortened
    for (std::size_t i = 0; i < 8; ++i) {
        std::size_t run = 0;
        while (i + run < 8 && group(i + run) == 0) ++run;
        if (run > zeros) zeros_at = i, zeros = run;
    }
    begin(39, true);
    for (std::size_t i = 0; i < 8; ++i) {
        if (i == zeros_at) {
            put(i == 0 ? "::" : ":");
            i += zeros - 1;
            continue;
        }
        int shift = 12;
        while (shift > 0 && group(i) >> shift == 0) shift -= 4;
        for (; shift >= 0; shift -= 4) put(hex_digits[group(i) >> shift & 0xf]);
        if (i != 7) put(':');
    }
    end(true);
}

void row_writer::seconds(packet_clock::duration value) {
    constexpr std::uint64_t per_second = 1'000'000'000;
    bool const negative = value < packet_clock::duration::zero();
    auto const bits = static_cast<std::uint64_t>(value.count());
    std::uint64_t const ns = negative ? 0 - bits : bits;
    begin(32, false);
    if (negative) put('-');
    put_decimal(ns / per_second);
    put('.');
    std::uint64_t const us = ns % per_second / 1000;
    for (std::uint64_t unit = 100'000; unit != 0; unit /= 10) put(static_cast<char>('0' + us / unit % 10));
    end(false);
}

/// In JSON a byte that is no ASCII stands as the code point of its number: every byte string can be read back.
void row_writer::put_escaped(char c) {
    auto const byte = static_cast<unsigned char>(c);
    bool const json = format_ == row_format::json;
    bool const plain = byte >= 0x20 && byte < 0x7f && c != '\\' && (c != '"' || !json);
    if (plain) return put(c);
    if (json && byte >= 0x20 && byte < 0x7f) return put('\\'), put(c);
    put(json ? "\\u00" : "\\x");
    put(hex_digits[byte >> 4]);
    put(hex_digits[byte & 0xf]);
}

void row_writer::text(std::string_view value) {
    begin(6 * value.size(), true);  // 6: the longest escape
    for (char const c : value) put_escaped(c);
    end(true);
}

}  // namespace halfproxy::tool
