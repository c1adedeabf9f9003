// SPDX-License-Identifier: BSL-1.0
// The four kinds of check. Each ends at the first of: what was expected, what was not, its timeout.
#include "health_probes.hpp"

#include <halfproxy/wire/checksum.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/none.hpp>

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>
#include <vector>

namespace halfproxy::detail {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

/// Of a body, as far as it is looked at.
constexpr std::size_t body_limit = 64 * 1024;
constexpr std::size_t datagram_limit = 65'536;

/// Device and source, before connect or send.
template <class Socket>
error_code bind_as_asked(Socket& socket, health_check const& check) {
    if (!check.interface.empty() && ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_BINDTODEVICE, check.interface.data(),
                                                 static_cast<socklen_t>(check.interface.size())) != 0)
        return {errno, boost::system::system_category()};
    error_code error;
    if (check.source) socket.bind({*check.source, 0}, error);
    return error;
}

/// What all have in common: a result once, a time limit, and to be ended from outside.
class timed_probe : public probe, public std::enable_shared_from_this<timed_probe> {
  public:
    timed_probe(asio::io_context& context, health_check const& check) : check_(check), timer_(context) {}

    void begin(done_callback done) final {
        done_ = std::move(done);
        timer_.expires_after(check_.policy.timeout);
        timer_.async_wait([self = shared_from_this()](error_code const& error) {
            if (!error) self->finish(false, "no answer in time");
        });
        start();
    }

    void abandon() final {
        done_ = nullptr;
        timer_.cancel();
        close();
    }

  protected:
    virtual void start() = 0;
    virtual void close() = 0;

    /// The first call counts.
    void finish(bool good, std::string why) {
        if (!done_) return;
        auto const done = std::exchange(done_, nullptr);
        timer_.cancel();
        close();
        // Not from within start(): whoever began it has not returned yet.
        asio::post(timer_.get_executor(), [done, result = probe_result{good, std::move(why)}] { done(result); });
    }
    void fail(error_code const& error) { finish(false, error.message()); }
    [[nodiscard]] bool over() const { return !done_; }

    health_check const check_;

  private:
    asio::steady_timer timer_;
    done_callback done_{};
};

class tcp_probe final : public timed_probe {
  public:
    tcp_probe(asio::io_context& context, health_check const& check) : timed_probe(context, check), socket_(context) {}

  private:
    void start() override {
        asio::ip::tcp::endpoint const to(check_.address, check_.port);
        error_code error;
        socket_.open(to.protocol(), error);
        if (!error) error = bind_as_asked(socket_, check_);
        if (error) return fail(error);
        socket_.async_connect(to, [this, self = shared_from_this()](error_code const& e) { e ? fail(e) : finish(true, "connected"); });
    }
    void close() override {
        error_code ignored;
        socket_.close(ignored);
    }

    asio::ip::tcp::socket socket_;
};

class http_probe final : public timed_probe {
  public:
    http_probe(asio::io_context& context, health_check const& check) : timed_probe(context, check), stream_(context) {
        request_.method(http::verb::get);
        request_.version(11);
        request_.target(check_.path);
        request_.set(http::field::host, check_.host.empty() ? address_text() : check_.host);
        request_.set(http::field::user_agent, "halfproxy health check");
        request_.set(http::field::connection, "close");
        response_.body_limit(boost::none);  // ours is in read_body()
    }

  private:
    std::string address_text() const {
        return check_.address.is_v6() ? "[" + check_.address.to_string() + "]" : check_.address.to_string();
    }

    void start() override {
        asio::ip::tcp::endpoint const to(check_.address, check_.port);
        error_code error;
        stream_.socket().open(to.protocol(), error);
        if (!error) error = bind_as_asked(stream_.socket(), check_);
        if (error) return fail(error);
        stream_.async_connect(to, [this, self = shared_from_this()](error_code const& e) { e ? fail(e) : write(); });
    }
    void write() {
        if (over()) return;
        http::async_write(stream_, request_, [this, self = shared_from_this()](error_code const& e, std::size_t) { e ? fail(e) : read_header(); });
    }
    void read_header() {
        if (over()) return;
        http::async_read_header(stream_, buffer_, response_,
                                [this, self = shared_from_this()](error_code const& e, std::size_t) { e ? fail(e) : judge_status(); });
    }
    void judge_status() {
        if (over()) return;
        unsigned const status = response_.get().result_int();
        std::string const text = "status " + std::to_string(status);
        if (status < check_.least_status || status > check_.greatest_status) return finish(false, text);
        if (check_.body.empty()) return finish(true, text);
        read_body();
    }
    /// Until what is expected has come, the body ends, or too much of it came.
    void read_body() {
        if (over()) return;
        std::string const& body = response_.get().body();
        if (body.find(check_.body) != std::string::npos) return finish(true, "body as expected");
        if (response_.is_done() || body.size() >= body_limit) return finish(false, "body without what is expected");
        http::async_read_some(stream_, buffer_, response_, [this, self = shared_from_this()](error_code const& e, std::size_t) { e ? fail(e) : read_body(); });
    }
    void close() override {
        error_code ignored;
        stream_.socket().close(ignored);
    }

    beast::tcp_stream stream_;
    beast::flat_buffer buffer_{};
    http::request<http::empty_body> request_{};
    http::response_parser<http::string_body> response_{};
};

class udp_probe final : public timed_probe {
  public:
    udp_probe(asio::io_context& context, health_check const& check) : timed_probe(context, check), socket_(context), answer_(datagram_limit) {}

  private:
    /// Connected, so that only the server's answers come, and its ICMP errors.
    void start() override {
        asio::ip::udp::endpoint const to(check_.address, check_.port);
        error_code error;
        socket_.open(to.protocol(), error);
        if (!error) error = bind_as_asked(socket_, check_);
        if (!error) socket_.connect(to, error);
        if (error) return fail(error);
        socket_.async_send(asio::buffer(check_.send), [this, self = shared_from_this()](error_code const& e, std::size_t) { e ? fail(e) : receive(); });
    }
    void receive() {
        if (over()) return;
        socket_.async_receive(asio::buffer(answer_), [this, self = shared_from_this()](error_code const& e, std::size_t bytes) {
            if (e) return fail(e);
            bool const expected = std::string_view(answer_.data(), bytes).substr(0, check_.expect.size()) == check_.expect;
            finish(expected, expected ? "answered as expected" : "another answer than expected");
        });
    }
    void close() override {
        error_code ignored;
        socket_.close(ignored);
    }

    asio::ip::udp::socket socket_;
    std::vector<char> answer_;
};

/// Echo requests of one server share a socket, so one answer's place is told by its sequence number.
class icmp_probe final : public timed_probe {
  public:
    icmp_probe(asio::io_context& context, health_check const& check, std::shared_ptr<echo_socket> echo)
        : timed_probe(context, check), echo_(std::move(echo)), answer_(datagram_limit) {}

  private:
    static constexpr std::size_t header_bytes = 8;

    void start() override {
        bool const six = check_.address.is_v6();
        auto& h = header_at<icmp_header>(request_.data());
        h = {static_cast<std::uint8_t>(six ? 128 : 8), 0, big16{0}, big32{std::uint32_t{echo_->identifier} << 16 | ++echo_->sequence}};
        if (!six) h.checksum = checksum_sum{}.add(request_).checksum();  // the kernel sums ICMPv6
        echo_->socket.async_send_to(asio::buffer(request_), {check_.address, 0}, [this, self = shared_from_this()](error_code const& e, std::size_t) {
            e ? fail(e) : receive();
        });
    }
    void receive() {
        if (over()) return;
        echo_->socket.async_receive_from(asio::buffer(answer_), from_, [this, self = shared_from_this()](error_code const& e, std::size_t bytes) {
            if (e) return fail(e);
            if (from_.address() == check_.address && is_answer(bytes)) return finish(true, "answered");
            receive();
        });
    }
    /// The kernel of the unprivileged kind chooses the identifier, and gives us no others' answers.
    [[nodiscard]] bool is_answer(std::size_t bytes) const {
        bool const six = check_.address.is_v6();
        std::size_t const ip = echo_->raw && !six && bytes != 0 ? (answer_[0] & 0x0fu) * std::size_t{4} : 0;
        if (bytes < ip + header_bytes) return false;
        auto const& h = header_at<icmp_header>(answer_.data() + ip);
        bool const ours = !echo_->raw || h.rest >> 16 == echo_->identifier;
        return h.type == (six ? 129 : 0) && ours && (h.rest & 0xffffu) == echo_->sequence;
    }
    /// The socket is kept; only what waits on it ends.
    void close() override {
        error_code ignored;
        echo_->socket.cancel(ignored);
    }

    std::shared_ptr<echo_socket> echo_;
    std::array<std::uint8_t, 40> request_{};
    std::vector<std::uint8_t> answer_;
    asio::ip::udp::endpoint from_{};
};

}  // namespace

std::shared_ptr<echo_socket> open_echo_socket(asio::io_context& context, health_check const& check, std::uint16_t identifier) {
    auto echo = std::make_shared<echo_socket>(context);
    bool const six = check.address.is_v6();
    int const family = six ? AF_INET6 : AF_INET, protocol = six ? 58 : 1;
    int descriptor = ::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    echo->raw = descriptor < 0;
    if (echo->raw) descriptor = ::socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    if (descriptor < 0) throw boost::system::system_error(errno, boost::system::system_category(), "cannot open a socket for echo requests");
    echo->socket.assign(six ? asio::ip::udp::v6() : asio::ip::udp::v4(), descriptor);
    echo->identifier = identifier;
    if (error_code const error = bind_as_asked(echo->socket, check)) throw boost::system::system_error(error, "cannot bind it");
    return echo;
}

std::shared_ptr<probe> make_probe(asio::io_context& context, health_check const& check, std::shared_ptr<echo_socket> const& echo) {
    switch (check.probe) {
        case health_probe::tcp: return std::make_shared<tcp_probe>(context, check);
        case health_probe::http: return std::make_shared<http_probe>(context, check);
        case health_probe::udp: return std::make_shared<udp_probe>(context, check);
        case health_probe::icmp: break;
    }
    return std::make_shared<icmp_probe>(context, check, echo);
}

}  // namespace halfproxy::detail
