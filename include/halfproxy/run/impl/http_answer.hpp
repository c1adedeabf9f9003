// SPDX-License-Identifier: BSL-1.0
// Bodies of run/http_answer.hpp.
#pragma once

#include <halfproxy/run/http_answer.hpp>

#include <algorithm>
#include <charconv>

namespace halfproxy {

inline stream_search::stream_search(std::string_view text) : text_(text), border_(text.size()) {
    for (std::size_t i = 1, k = 0; i < text.size(); ++i) {
        while (k > 0 && text[i] != text[k]) k = border_[k - 1];
        if (text[i] == text[k]) ++k;
        border_[i] = static_cast<std::uint16_t>(k);
    }
}

inline void stream_search::take(std::uint8_t byte) noexcept {
    if (found()) return;
    auto const c = static_cast<char>(byte);
    while (matched_ > 0 && text_[matched_] != c) matched_ = border_[matched_ - 1];
    if (text_[matched_] == c) ++matched_;
}

namespace detail {

[[nodiscard]] inline bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

[[nodiscard]] inline bool same_without_case(std::string_view a, std::string_view b) noexcept {
    auto const lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [&](char x, char y) { return lower(x) == lower(y); });
}

[[nodiscard]] inline std::string_view without_blanks(std::string_view text) noexcept {
    auto const is_blank = [](char c) { return c == ' ' || c == '\t'; };
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
    return text;
}

/// The whole text is a number of this base, or it is none.
[[nodiscard]] inline bool read_number(std::string_view text, std::uint64_t& value, int base) noexcept {
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace detail

inline void http_answer::begin_anew() noexcept {
    search_.begin_anew();
    verdict_ = verdict::more;
    part_ = part::status_line;
    status_ = 0;
    head_bytes_ = body_bytes_ = line_bytes_ = 0;
    left_ = 0;
    has_length_ = chunked_ = false;
}

inline http_answer::verdict http_answer::take(byte_view bytes) noexcept {
    for (std::size_t i = 0; i < bytes.size() && verdict_ == verdict::more; ++i) take(bytes[i]);
    return verdict_;
}

/// Only a body without a length ends with the stream (RFC 9112 section 6.3).
inline http_answer::verdict http_answer::end() noexcept {
    decide(part_ == part::endless_body ? verdict::no_match : verdict::cut);
    return verdict_;
}

inline void http_answer::take(std::uint8_t byte) noexcept {
    switch (part_) {
        case part::counted_body:
        case part::endless_body:
        case part::chunk: return take_body(byte);
        case part::status_line:
        case part::field:
            if (++head_bytes_ > head_limit) return decide(verdict::not_http);
            break;
        case part::chunk_size:
        case part::chunk_end: break;
    }
    if (byte == '\n') return line_ended();
    if (line_bytes_ < line_.size()) line_[line_bytes_] = static_cast<char>(byte);
    ++line_bytes_;
}

/// A bare line feed ends a line, too (RFC 9112 section 2.2).
inline void http_answer::line_ended() noexcept {
    std::string_view line(line_.data(), std::min(line_bytes_, line_.size()));
    if (line_bytes_ <= line_.size() && !line.empty() && line.back() == '\r') line.remove_suffix(1);
    line_bytes_ = 0;
    switch (part_) {
        case part::status_line: return read_status_line(line);
        case part::field: return line.empty() ? head_ended() : read_field(line);
        case part::chunk_size: return read_chunk_size(line);
        case part::chunk_end: return line.empty() ? void(part_ = part::chunk_size) : decide(verdict::not_http);
        case part::counted_body:
        case part::endless_body:
        case part::chunk: break;
    }
}

/// "HTTP/1.1 200 OK" (RFC 9112 section 4)
inline void http_answer::read_status_line(std::string_view line) noexcept {
    constexpr std::string_view version = "HTTP/1.";
    std::string_view const code = line.size() < 12 ? std::string_view{} : line.substr(9, 3);
    bool const good = !code.empty() && line.substr(0, version.size()) == version && detail::is_digit(line[7]) && line[8] == ' ' &&
                      std::all_of(code.begin(), code.end(), detail::is_digit) && (line.size() == 12 || line[12] == ' ');
    if (!good) return decide(verdict::not_http);
    status_ = static_cast<unsigned>((code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0'));
    part_ = part::field;
}

inline void http_answer::read_field(std::string_view line) noexcept {
    std::size_t const colon = line.find(':');
    if (colon == std::string_view::npos) return;
    std::string_view const name = line.substr(0, colon), value = detail::without_blanks(line.substr(colon + 1));
    if (detail::same_without_case(name, "content-length")) {
        if (!detail::read_number(value, left_, 10)) return decide(verdict::not_http);
        has_length_ = true;
    } else if (detail::same_without_case(name, "transfer-encoding")) {
        constexpr std::string_view chunked = "chunked";
        chunked_ = value.size() >= chunked.size() && detail::same_without_case(value.substr(value.size() - chunked.size()), chunked);
    }
}

inline void http_answer::head_ended() noexcept {
    constexpr unsigned switching_protocols = 101, no_content = 204, not_modified = 304;
    if (status_ < 200 && status_ != switching_protocols) {  // an interim answer: the one that counts follows
        part_ = part::status_line;
        has_length_ = chunked_ = false;
        return;
    }
    if (!good_status_.contains(static_cast<std::uint16_t>(status_))) return decide(verdict::bad_status);
    if (search_.found()) return decide(verdict::good);
    bool const has_none = status_ < 200 || status_ == no_content || status_ == not_modified;
    if (has_none || (!chunked_ && has_length_ && left_ == 0)) return decide(verdict::no_match);
    part_ = chunked_ ? part::chunk_size : has_length_ ? part::counted_body : part::endless_body;
}

/// Hexadecimal; extensions behind a semicolon mean nothing to us (RFC 9112 section 7.1).
inline void http_answer::read_chunk_size(std::string_view line) noexcept {
    std::string_view const size = detail::without_blanks(line.substr(0, line.find(';')));
    if (!detail::read_number(size, left_, 16)) return decide(verdict::not_http);
    if (left_ == 0) return decide(verdict::no_match);
    part_ = part::chunk;
}

inline void http_answer::take_body(std::uint8_t byte) noexcept {
    search_.take(byte);
    if (search_.found()) return decide(verdict::good);
    if (++body_bytes_ == body_limit) return decide(verdict::no_match);
    if (part_ == part::endless_body || --left_ != 0) return;
    if (part_ == part::chunk)
        part_ = part::chunk_end;
    else
        decide(verdict::no_match);
}

}  // namespace halfproxy
