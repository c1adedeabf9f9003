// SPDX-License-Identifier: BSL-1.0
// Answers of HTTP servers, whole and cut at every byte.
#include <halfproxy/run/http_answer.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace halfproxy;
using verdict_of = http_answer::verdict;

namespace {

byte_view bytes_of(std::string_view text) { return {reinterpret_cast<std::uint8_t const*>(text.data()), text.size()}; }

/// The verdict on an answer after which the server ends its stream, the same however it is cut into two.
verdict_of verdict_on(std::string const& answer, std::string const& body = {}, port_range status = {200, 399}) {
    http_answer whole(status, body);
    whole.take(bytes_of(answer));
    verdict_of const v = whole.end();
    std::size_t const step = answer.size() < 300 ? 1 : answer.size() / 7;  // of a long one a few cuts tell as much
    for (std::size_t cut = 0; cut < answer.size(); cut += step) {
        http_answer pieces(status, body);
        pieces.take(bytes_of(std::string_view(answer).substr(0, cut)));
        pieces.take(bytes_of(std::string_view(answer).substr(cut)));
        REQUIRE(pieces.end() == v);
        REQUIRE(pieces.status() == whole.status());
    }
    return v;
}

std::string counted(std::string const& body, std::string const& status = "200 OK") {
    return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
std::string chunked(std::string const& chunks) { return "HTTP/1.1 200 OK\r\ntransfer-encoding:\tgzip, Chunked \r\n\r\n" + chunks; }

}  // namespace

TEST_CASE("a text is found in a stream wherever it begins, beginnings that come to nothing included") {
    auto const found = [](std::string const& text, std::string const& in) {
        stream_search s(text);
        for (char const c : in) s.take(static_cast<std::uint8_t>(c));
        return s.found();
    };
    for (std::string const text : {"a", "aab", "abab", "abcabd", "aaaa"})
        for (std::string const in : {"", "a", "aaab", "aaaaab", "ababab", "abacabab", "abcabcabd", "bbb", "aaaa", "abcab"}) {
            CAPTURE(text);
            CAPTURE(in);
            CHECK(found(text, in) == (in.find(text) != std::string::npos));
        }
    CHECK(found("", ""));
}

TEST_CASE("the head decides when no body is expected: a good status, another, an interim one before it (RFC 9112 section 4)") {
    CHECK(verdict_on(counted("x")) == verdict_of::good);
    CHECK(verdict_on("HTTP/1.0 204\n\n") == verdict_of::good);
    CHECK(verdict_on(counted("fine", "503 Unavailable")) == verdict_of::bad_status);
    CHECK(verdict_on(counted("", "404 x"), {}, {404, 404}) == verdict_of::good);
    CHECK(verdict_on("HTTP/1.1 100 Continue\r\nContent-Length: 9\r\n\r\n" + counted("x", "500 x")) == verdict_of::bad_status);
    http_answer a({200, 200}, {});
    a.take(bytes_of(counted("", "302 Found")));
    CHECK(a.status() == 302);
}

TEST_CASE("a body is read by its length, its chunks, or to the end of the stream (RFC 9112 section 6.3)") {
    CHECK(verdict_on(counted("all is well"), "is well") == verdict_of::good);
    CHECK(verdict_on(counted("all is") + " well", "is well") == verdict_of::no_match);  // what follows is not the body
    CHECK(verdict_on(counted(""), "x") == verdict_of::no_match);
    CHECK(verdict_on("HTTP/1.1 200 OK\r\n\r\nall is well", "is well") == verdict_of::good);
    CHECK(verdict_on("HTTP/1.1 200 OK\r\n\r\nmaintenance", "is well") == verdict_of::no_match);
    CHECK(verdict_on("HTTP/1.1 204 No Content\r\n\r\nis well", "is well") == verdict_of::no_match);
    CHECK(verdict_on(chunked("6\r\nall is\r\n5;x=\"1\"\r\n well\r\n0\r\n\r\n"), "is well") == verdict_of::good);
    CHECK(verdict_on(chunked("a\r\nis\r\n well!\r\n0\r\n\r\n"), "is well") == verdict_of::no_match);  // a line's end within a chunk is content
    CHECK(verdict_on(chunked("0\r\n\r\n"), "5") == verdict_of::no_match);
}

TEST_CASE("64 KiB of a body are looked at, and the text at their very end is found") {
    std::string const text = "working";
    std::string const fits = std::string(http_answer::body_limit - text.size(), 'x') + text;
    CHECK(verdict_on(counted(fits), text) == verdict_of::good);
    CHECK(verdict_on(counted("x" + fits), text) == verdict_of::no_match);
    http_answer endless({200, 200}, text);
    CHECK(endless.take(bytes_of("HTTP/1.1 200 OK\r\n\r\n" + std::string(http_answer::body_limit, 'x'))) == verdict_of::no_match);
}

TEST_CASE("what is no HTTP, is cut off, or has a head without end is told apart") {
    for (std::string const text : {"SSH-2.0-x\r\n\r\n", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000\r\n\r\n", "HTTP/1.1  200\r\n\r\n", "\r\n\r\n",
                                   "HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n"}) {
        CAPTURE(text);
        CHECK(verdict_on(text) == verdict_of::not_http);
    }
    CHECK(verdict_on(chunked("x\r\n"), "y") == verdict_of::not_http);
    CHECK(verdict_on(chunked("1\r\naa\r\n0\r\n\r\n"), "y") == verdict_of::not_http);
    CHECK(verdict_on("HTTP/1.1 200 OK\r\nLong: " + std::string(http_answer::head_limit, 'x') + "\r\n\r\n") == verdict_of::not_http);
    CHECK(verdict_on("") == verdict_of::cut);
    CHECK(verdict_on("HTTP/1.1 200 OK\r\nContent-Le") == verdict_of::cut);
    CHECK(verdict_on("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nis", "is well") == verdict_of::cut);
    CHECK(verdict_on(chunked("5\r\nis"), "is well") == verdict_of::cut);
}

TEST_CASE("it can begin anew, and then remembers nothing") {
    http_answer a({200, 200}, "ab");
    CHECK(a.take(bytes_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na")) == verdict_of::more);
    a.begin_anew();
    CHECK(a.status() == 0);
    CHECK(a.take(bytes_of("HTTP/1.1 200 OK\r\n\r\nb")) == verdict_of::more);
    CHECK(a.take(bytes_of("ab")) == verdict_of::good);
}
