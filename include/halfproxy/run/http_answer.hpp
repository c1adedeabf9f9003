// SPDX-License-Identifier: BSL-1.0
// An HTTP/1 server's answer to a health check, read as it comes: its status, and whether a text occurs in its body.
//
// Read RFC 9112 sections 4, 6.3 and 7.1 first. Nothing is stored but the line being read and how much of the text has matched.
#pragma once

#include <halfproxy/core/bytes.hpp>
#include <halfproxy/wire/address.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace halfproxy {

/// Finds a text in bytes that come in pieces, however they are cut (Knuth, Morris and Pratt 1977). Work: two steps a byte.
class stream_search {
  public:
    /// The text must live as long as the search, and have at most 65,535 bytes.
    explicit stream_search(std::string_view text);

    /// True once the text has occurred; an empty one always has.
    [[nodiscard]] bool found() const noexcept { return matched_ == text_.size(); }
    void take(std::uint8_t byte) noexcept;
    void begin_anew() noexcept { matched_ = 0; }

  private:
    std::string_view text_;
    std::vector<std::uint16_t> border_;  ///< of each beginning of the text: its longest proper beginning that is also its end
    std::size_t matched_ = 0;
};

/// Allocates in its constructor only. Work of take(): constant for each byte.
class http_answer {
  public:
    enum class verdict : std::uint8_t {
        more,        ///< nothing is decided yet
        good,
        bad_status,
        no_match,    ///< the body has ended, or 64 KiB of it, without the text
        cut,         ///< the stream ended before the answer
        not_http,    ///< or a head longer than 16 KiB, or a length that is no number
    };

    static constexpr std::size_t head_limit = 16 * 1024;
    static constexpr std::size_t body_limit = 64 * 1024;

    /// `body` must live as long as the object; empty: the head decides.
    http_answer(port_range status, std::string_view body) : good_status_(status), search_(body) {}

    /// The next bytes of the stream. What comes after a decision changes nothing.
    verdict take(byte_view bytes) noexcept;
    /// The server has ended its stream.
    verdict end() noexcept;
    void begin_anew() noexcept;

    [[nodiscard]] unsigned status() const noexcept { return status_; }  ///< 0: none yet
    [[nodiscard]] verdict decided() const noexcept { return verdict_; }

  private:
    enum class part : std::uint8_t { status_line, field, counted_body, endless_body, chunk_size, chunk, chunk_end };

    void take(std::uint8_t byte) noexcept;
    void line_ended() noexcept;
    void read_status_line(std::string_view line) noexcept;
    void read_field(std::string_view line) noexcept;
    void head_ended() noexcept;
    void read_chunk_size(std::string_view line) noexcept;
    void take_body(std::uint8_t byte) noexcept;
    void decide(verdict v) noexcept { if (verdict_ == verdict::more) verdict_ = v; }

    port_range good_status_;
    stream_search search_;
    verdict verdict_ = verdict::more;
    part part_ = part::status_line;
    unsigned status_ = 0;
    std::size_t head_bytes_ = 0;
    std::size_t body_bytes_ = 0;
    std::uint64_t left_ = 0;  ///< of the body or the chunk
    bool has_length_ = false;
    bool chunked_ = false;
    std::array<char, 80> line_{};   ///< the beginning of the line
    std::size_t line_bytes_ = 0;    ///< all of it
};

}  // namespace halfproxy

#include <halfproxy/run/impl/http_answer.hpp>
