// SPDX-License-Identifier: BSL-1.0
// Rows as text: numbers, addresses, times, escapes, and what is absent.
#include "rows.hpp"

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace halfproxy;
using namespace halfproxy::tool;

namespace {

constexpr std::array<std::string_view, 2> two_columns{"first", "second"};

/// What the rows look like in a file.
std::string written(row_format format, std::function<void(row_writer&)> const& write) {
    std::FILE* const file = std::tmpfile();
    REQUIRE(file != nullptr);
    row_writer rows(two_columns, format, "-", file);
    write(rows);
    rows.finish();
    std::string text(static_cast<std::size_t>(std::ftell(file)), '\0');
    std::rewind(file);
    CHECK(std::fread(text.data(), 1, text.size(), file) == text.size());
    std::fclose(file);
    return text;
}

std::string one_value(row_format format, std::function<void(row_writer&)> const& write) {
    std::string const text = written(format, [&](row_writer& rows) {
        write(rows);
        rows.absent();
        rows.end_row();
    });
    std::string_view const begin = format == row_format::tsv ? "first\tsecond\n" : "{\"first\":";
    std::string_view const end = format == row_format::tsv ? "\t-\n" : "}\n";
    REQUIRE(text.starts_with(begin));
    REQUIRE(text.ends_with(end));
    return text.substr(begin.size(), text.size() - begin.size() - end.size());
}

std::string ipv6_text(ipv6_bytes const& address) {
    return one_value(row_format::tsv, [&](row_writer& rows) { rows.ipv6(address); });
}

std::string seconds_text(std::int64_t ns) {
    return one_value(row_format::tsv, [&](row_writer& rows) { rows.seconds(std::chrono::nanoseconds(ns)); });
}

}  // namespace

TEST_CASE("TSV has a line of names and marks what is absent, JSON leaves it out") {
    auto const write = [](row_writer& rows) {
        rows.absent();
        rows.number(std::numeric_limits<std::uint64_t>::max());
        rows.end_row();
        rows.absent();
        rows.absent();
        rows.end_row();
    };
    CHECK(written(row_format::tsv, write) == "first\tsecond\n-\t18446744073709551615\n-\t-\n");
    CHECK(written(row_format::json, write) == "{\"second\":18446744073709551615}\n{}\n");
}

TEST_CASE("flags and hexadecimal numbers have a form of their own in each format") {
    auto const write = [](row_writer& rows) {
        rows.flag(true);
        rows.hex(0x012);
        rows.end_row();
    };
    CHECK(written(row_format::tsv, write) == "first\tsecond\n1\t0x0012\n");
    CHECK(written(row_format::json, write) == "{\"first\":true,\"second\":\"0x0012\"}\n");
}

TEST_CASE("an IPv6 address is shortened as RFC 5952 section 4 says") {
    CHECK(ipv6_text({}) == "::");
    CHECK(ipv6_text({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}) == "::1");
    CHECK(ipv6_text({0x20, 1, 0x0d, 0xb8}) == "2001:db8::");
    CHECK(ipv6_text({0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1}) == "2001:db8:0:1:1:1:1:1");
    CHECK(ipv6_text({0x20, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}) == "2001:0:0:1::1");
    CHECK(ipv6_text({0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1}) == "2001:db8::1:0:0:1");
    CHECK(ipv6_text({0xab, 0xcd, 0xef, 1, 0, 0x10, 1, 0, 0x10, 0, 0, 1, 0, 2, 0, 3}) == "abcd:ef01:10:100:1000:1:2:3");
}

TEST_CASE("seconds have six decimals, before 1970 too") {
    CHECK(seconds_text(0) == "0.000000");
    CHECK(seconds_text(1'500'000'999) == "1.500000");
    CHECK(seconds_text(-1'500'000'000) == "-1.500000");
    CHECK(seconds_text(-250'000) == "-0.000250");
    CHECK(seconds_text(std::numeric_limits<std::int64_t>::min()) == "-9223372036.854775");
    CHECK(seconds_text(std::numeric_limits<std::int64_t>::max()) == "9223372036.854775");
}

TEST_CASE("bytes that would break a row are escaped") {
    auto const text = [](row_writer& rows) { rows.text(std::string_view("a\t\"\\\n\xff\0", 7)); };
    CHECK(one_value(row_format::tsv, text) == "a\\x09\"\\x5c\\x0a\\xff\\x00");
    CHECK(one_value(row_format::json, text) == "\"a\\u0009\\\"\\\\\\u000a\\u00ff\\u0000\"");
}

TEST_CASE("a row longer than the buffer is written whole") {
    std::string const longest(3'000'000, 'x');
    CHECK(one_value(row_format::tsv, [&](row_writer& rows) { rows.text(longest); }) == longest);
}

TEST_CASE("a stream that refuses ends the run with a message") {
    std::FILE* const full = std::fopen("/dev/full", "w");
    REQUIRE(full != nullptr);
    row_writer rows(two_columns, row_format::tsv, "-", full);
    CHECK_THROWS_AS(rows.finish(), run_error);
    std::fclose(full);
}
