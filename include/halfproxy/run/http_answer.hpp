// SPDX-License-Identifier: BSL-1.0
// An HTTP/1 server's answer to a health check, read as it comes: its status, and whether a text occurs in its body.
//
// Read RFC 9112 sections 2.2, 4, 6.3 and 7.1 first. Boost.Beast parses, in src/run/http_answer.cpp; what is kept is the head or the chunk's line being read,
// and how much of the text has matched.
#pragma once

#include <halfproxy/core/bytes.hpp>
#include <halfproxy/wire/address.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
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

/// Allocates in its constructor only: memory_bytes. Work of take(): linear in the bytes.
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
    static constexpr std::size_t memory_bytes = head_limit;  ///< at least; it is most of it

    /// `body` must live as long as the object; empty: the head decides.
    http_answer(port_range status, std::string_view body);
    ~http_answer();
    http_answer(http_answer&&) noexcept;
    http_answer& operator=(http_answer&&) noexcept;

    /// The next bytes of the stream. What comes after a decision changes nothing.
    verdict take(byte_view bytes) noexcept;
    /// The server has ended its stream.
    verdict end() noexcept;
    void begin_anew() noexcept;

    [[nodiscard]] unsigned status() const noexcept;  ///< 0: none yet
    [[nodiscard]] verdict decided() const noexcept;

  private:
    class reader;
    std::unique_ptr<reader> reader_;
};

}  // namespace halfproxy

#include <halfproxy/run/impl/http_answer.hpp>
