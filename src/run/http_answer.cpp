// SPDX-License-Identifier: BSL-1.0
// Boost.Beast's parser, fed with an answer as it comes.
//
// It wants the head, and each line of a chunk, in one piece: the first line is given to it when it is whole, the fields when the empty line behind them has come, a
// chunk's content as it comes. So the verdict depends on the answer alone, not on how the stream is cut.
#include <halfproxy/run/http_answer.hpp>

#include <boost/beast/http/basic_parser.hpp>

#include <limits>
#include <optional>
#include <utility>

namespace halfproxy {

namespace http = boost::beast::http;

class http_answer::reader {
  public:
    reader(port_range status, std::string_view body) : good_status_(status), search_(body) {
        kept_.reserve(head_limit + 4);
        begin_anew();
    }

    void begin_anew() noexcept {
        search_.begin_anew();
        verdict_ = verdict::more;
        status_ = 0;
        body_bytes_ = 0;
        expect_head();
    }

    void take(std::string_view bytes) noexcept {
        while (verdict_ == verdict::more && !bytes.empty()) bytes.remove_prefix(content_left_ != 0 ? take_content(bytes) : take_line(bytes));
    }

    /// Only a body without a length ends with the stream (RFC 9112 section 6.3).
    void end() noexcept {
        if (verdict_ != verdict::more) return;
        boost::beast::error_code cut;
        if (part_ == part::body) parser_->put_eof(cut);
        decide(part_ != part::body || cut ? verdict::cut : verdict::no_match);
    }

    [[nodiscard]] unsigned status() const noexcept { return status_; }
    [[nodiscard]] verdict decided() const noexcept { return verdict_; }

  private:
    using error_code = boost::beast::error_code;
    using text = boost::beast::string_view;
    enum class part : std::uint8_t { status_line, fields, body };

    struct parser final : http::basic_parser<false> {
        explicit parser(reader& r) : to(r) {
            eager(true);
            header_limit(head_limit + 4);
            body_limit(std::numeric_limits<std::uint64_t>::max());  // no limit: boost::none refuses every length (Boost 1.74)
        }
        void on_request_impl(http::verb, text, text, int, error_code&) override {}
        void on_response_impl(int code, text, int, error_code&) override { to.status_ = static_cast<unsigned>(code); }
        void on_field_impl(http::field, text, text, error_code&) override {}
        void on_header_impl(error_code& stop) override { to.head_ended(stop); }
        void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
        std::size_t on_body_impl(text bytes, error_code& stop) override { return to.look_into(bytes, stop); }
        void on_chunk_header_impl(std::uint64_t bytes, text, error_code&) override { to.content_left_ = bytes; }
        std::size_t on_chunk_body_impl(std::uint64_t, text bytes, error_code& stop) override { return to.look_into(bytes, stop); }
        void on_finish_impl(error_code&) override {}
        reader& to;
    };

    void expect_head() noexcept {
        parser_.emplace(*this);
        part_ = part::status_line;
        content_left_ = 0;
        kept_.clear();
    }

    /// Keeps bytes up to the end of a line, and parses what is kept when it may be whole. Returns how many there were.
    std::size_t take_line(std::string_view bytes) noexcept {
        std::size_t const end = bytes.find('\n');
        bool const whole = end != std::string_view::npos;
        std::string_view const line = bytes.substr(0, whole ? end : bytes.size());
        if (kept_.size() + line.size() > head_limit) return decide(verdict::not_http), line.size();
        kept_.insert(kept_.end(), line.begin(), line.end());
        if (!whole) return line.size();
        end_line();
        bool const empty_line = kept_.size() == 2 || std::string_view(kept_.data(), kept_.size()).ends_with("\r\n\r\n");
        if (part_ != part::fields || empty_line) parse_kept();
        return line.size() + 1;
    }

    /// A bare line feed ends a line, too (RFC 9112 section 2.2), and a status may stand without the blank that is to follow it.
    void end_line() noexcept {
        constexpr std::size_t bare_status = std::string_view("HTTP/1.1 200").size();
        if (!kept_.empty() && kept_.back() == '\r') kept_.pop_back();
        if (part_ == part::status_line && kept_.size() == bare_status) kept_.push_back(' ');
        kept_.push_back('\r');
        kept_.push_back('\n');
    }

    void parse_kept() noexcept {
        std::size_t const used = put({kept_.data(), kept_.size()});
        kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(used));
        if (verdict_ != verdict::more || part_ == part::body) return;
        bool const unread = !kept_.empty();
        if (unread) return decide(verdict::not_http);
        if (part_ == part::status_line) {
            part_ = part::fields;
        } else if (parser_->is_done()) {
            expect_head();  // an interim answer: the one that counts follows
        } else {
            part_ = part::body;
            content_left_ = parser_->chunked() ? 0 : std::numeric_limits<std::uint64_t>::max();
        }
    }

    /// Of the body, or of a chunk.
    std::size_t take_content(std::string_view bytes) noexcept {
        std::size_t const used = put(bytes.substr(0, content_left_));
        content_left_ -= used;
        return used;
    }

    /// Returns how many bytes were parsed.
    std::size_t put(std::string_view bytes) noexcept {
        error_code error;
        std::size_t const used = parser_->put({bytes.data(), bytes.size()}, error);
        if (error && error != http::error::need_more) decide(verdict::not_http);
        if (parser_->is_done() && !is_interim()) decide(verdict::no_match);
        return used;
    }

    void head_ended(error_code& stop) noexcept {
        if (is_interim()) return;
        if (!good_status_.contains(static_cast<std::uint16_t>(status_))) return decide_and(stop, verdict::bad_status);
        if (search_.found()) decide_and(stop, verdict::good);
    }

    std::size_t look_into(text bytes, error_code& stop) noexcept {
        for (char const c : bytes) {
            search_.take(static_cast<std::uint8_t>(c));
            if (search_.found()) return decide_and(stop, verdict::good), bytes.size();
            if (++body_bytes_ == body_limit) return decide_and(stop, verdict::no_match), bytes.size();
        }
        return bytes.size();
    }

    [[nodiscard]] bool is_interim() const noexcept { return status_ / 100 == 1 && status_ != 101; }
    void decide(verdict v) noexcept {
        if (verdict_ == verdict::more) verdict_ = v;
    }
    /// And parse no further.
    void decide_and(error_code& stop, verdict v) noexcept {
        decide(v);
        stop = http::error::end_of_stream;
    }

    port_range good_status_;
    stream_search search_;
    std::optional<parser> parser_{};
    std::vector<char> kept_{};  ///< of the head, or of a chunk's line: what is not parsed yet
    verdict verdict_ = verdict::more;
    part part_ = part::status_line;
    unsigned status_ = 0;
    std::uint64_t content_left_ = 0;  ///< of the body or the chunk; none: lines come
    std::size_t body_bytes_ = 0;
};

http_answer::http_answer(port_range status, std::string_view body) : reader_(std::make_unique<reader>(status, body)) {}
http_answer::~http_answer() = default;
http_answer::http_answer(http_answer&&) noexcept = default;
http_answer& http_answer::operator=(http_answer&&) noexcept = default;

http_answer::verdict http_answer::take(byte_view bytes) noexcept {
    reader_->take({reinterpret_cast<char const*>(bytes.data()), bytes.size()});
    return reader_->decided();
}

http_answer::verdict http_answer::end() noexcept {
    reader_->end();
    return reader_->decided();
}

void http_answer::begin_anew() noexcept { reader_->begin_anew(); }
unsigned http_answer::status() const noexcept { return reader_->status(); }
http_answer::verdict http_answer::decided() const noexcept { return reader_->decided(); }

}  // namespace halfproxy
