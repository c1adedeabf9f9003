// SPDX-License-Identifier: BSL-1.0
// Health checks against real servers on loopback: good ones, refused, silent, resetting, late, and with the wrong answer.
#include <halfproxy/run/health.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <boost/system/system_error.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace halfproxy;
using namespace std::chrono_literals;
namespace asio = boost::asio;
using asio::ip::tcp;
using asio::ip::udp;
using boost::system::error_code;

namespace {

asio::ip::address const loopback = asio::ip::address_v4::loopback();

/// One transition is enough to see a check's verdict: rise and fall of 1, quick.
health_policy quick() { return {.interval = 10ms, .timeout = 150ms, .rise = 1, .fall = 1, .flap_window = 0ms}; }

/// Accepts connections and does with each what the test says.
struct tcp_server {
    using action = std::function<void(std::shared_ptr<tcp::socket>)>;

    tcp_server(asio::io_context& context, action what) : acceptor(context, {loopback, 0}), act(std::move(what)) { accept(); }

    void accept() {
        auto socket = std::make_shared<tcp::socket>(acceptor.get_executor());
        acceptor.async_accept(*socket, [this, socket](error_code const& e) {
            if (e) return;
            ++accepted;
            peer = socket->remote_endpoint().address();
            act(socket);
            accept();
        });
    }
    std::uint16_t port() const { return acceptor.local_endpoint().port(); }

    tcp::acceptor acceptor;
    action act;
    std::size_t accepted = 0;
    asio::ip::address peer{};
};

/// Reads a request's head, then sends pieces with pauses between, then closes.
tcp_server::action answers(std::vector<std::string> pieces, std::chrono::milliseconds pause = 0ms, std::string* request = nullptr) {
    return [=](std::shared_ptr<tcp::socket> const& socket) {
        auto buffer = std::make_shared<asio::streambuf>();
        asio::async_read_until(*socket, *buffer, "\r\n\r\n", [=](error_code const& e, std::size_t bytes) {
            if (e) return;
            if (request != nullptr) request->assign(static_cast<char const*>(buffer->data().data()), bytes);
            auto rest = std::make_shared<std::vector<std::string>>(pieces);
            auto timer = std::make_shared<asio::steady_timer>(socket->get_executor());
            auto send = std::make_shared<std::function<void()>>();
            *send = [=, weak = std::weak_ptr(send)] {
                if (rest->empty()) return;
                auto text = std::make_shared<std::string>(rest->front());
                rest->erase(rest->begin());
                asio::async_write(*socket, asio::buffer(*text), [=, again = weak.lock()](error_code const& failed, std::size_t) {
                    if (failed || rest->empty()) return;
                    timer->expires_after(pause);
                    timer->async_wait([timer, again](error_code const&) { (*again)(); });
                });
            };
            if (pause == 0ms) return (*send)();
            timer->expires_after(pause);
            timer->async_wait([send, timer](error_code const&) { (*send)(); });
        });
    };
}

std::string response(unsigned status, std::string const& body) {
    return "HTTP/1.1 " + std::to_string(status) + " x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// Runs checks until `count` changes were told or a second has passed; the changes as text.
struct lab {
    asio::io_context context{1};
    std::vector<std::string> changes{};
    std::unique_ptr<health_checker> checker{};

    explicit lab(std::size_t most_at_once = 64) {
        checker = std::make_unique<health_checker>(context, health_options{.most_at_once = most_at_once, .seed = 1},
                                                   [this](health_checker::target_id, health h, std::string const& why) {
                                                       changes.push_back((h == health::up ? "up: " : "down: ") + why);
                                                   });
    }
    std::vector<std::string> run(std::size_t count = 1, std::chrono::milliseconds limit = 1s) {
        auto const end = std::chrono::steady_clock::now() + limit;
        while (changes.size() < count && std::chrono::steady_clock::now() < end) context.run_one_for(10ms);
        return changes;
    }
    /// What one check says of a server that counted as the opposite of `expected`.
    std::string verdict(health_check check, health expected) {
        check.policy = quick();
        checker->add(check, expected == health::up ? health::down : health::up);
        auto const all = run();
        return all.empty() ? "nothing" : all[0];
    }
    std::string tells_up(health_check const& check) { return verdict(check, health::up); }
    std::string tells_down(health_check const& check) { return verdict(check, health::down); }
};

health_check tcp_check(std::uint16_t port) { return {.probe = health_probe::tcp, .address = loopback, .port = port}; }
health_check http_check(std::uint16_t port, std::string body = {}) {
    health_check c{.probe = health_probe::http, .address = loopback, .port = port};
    c.body = std::move(body);
    return c;
}

std::uint16_t closed_port(asio::io_context& context) {
    tcp::acceptor a(context, {loopback, 0});
    return a.local_endpoint().port();
}

}  // namespace

TEST_CASE("TCP: a listener is up, a closed port is down at once") {
    {
        lab l;
        tcp_server s(l.context, [](auto const&) {});
        CHECK(l.tells_up(tcp_check(s.port())) == "up: connected");
    }
    lab l;
    CHECK(l.tells_down(tcp_check(closed_port(l.context))) == "down: Connection refused");
}

TEST_CASE("TCP: a server whose queue is full does not answer, and is down when the time is over") {
    lab l;
    tcp::acceptor full(l.context);
    full.open(tcp::v4());
    full.bind({loopback, 0});
    full.listen(0);
    std::list<tcp::socket> queued;
    for (int i = 0; i < 4; ++i) {
        queued.emplace_back(l.context);
        queued.back().open(tcp::v4());
        queued.back().non_blocking(true);
        error_code ignored;
        queued.back().connect(full.local_endpoint(), ignored);
    }
    CHECK(l.tells_down(tcp_check(full.local_endpoint().port())) == "down: no answer in time");
}

TEST_CASE("HTTP: an expected status is up, and the request says which host and path") {
    lab l;
    std::string request;
    tcp_server s(l.context, answers({response(204, "")}, 0ms, &request));
    health_check c = http_check(s.port());
    c.host = "www.example.org";
    c.path = "/health?deep";
    CHECK(l.tells_up(c) == "up: status 204");
    CHECK(request.find("GET /health?deep HTTP/1.1\r\n") == 0);
    CHECK(request.find("Host: www.example.org\r\n") != std::string::npos);
}

TEST_CASE("HTTP: a status outside the range is down, whatever the body says") {
    lab l;
    tcp_server s(l.context, answers({response(503, "fine")}));
    CHECK(l.tells_down(http_check(s.port(), "fine")) == "down: status 503");
}

TEST_CASE("HTTP: a body must contain what is expected, and may come in pieces") {
    {
        lab l;
        std::string const whole = response(200, "all systems are working");
        tcp_server s(l.context, answers({whole.substr(0, 20), whole.substr(20, 36), whole.substr(56)}, 5ms));
        CHECK(l.tells_up(http_check(s.port(), "systems are w")) == "up: body as expected");
    }
    lab l;
    tcp_server s(l.context, answers({response(200, "maintenance")}));
    CHECK(l.tells_down(http_check(s.port(), "working")) == "down: body without what is expected");
}

TEST_CASE("HTTP: of a long body 64 KiB are looked at, and none when none is expected") {
    std::string const late = std::string(200'000, 'x') + "working";
    {
        lab l;
        tcp_server s(l.context, answers({response(200, late)}));
        CHECK(l.tells_down(http_check(s.port(), "working")) == "down: body without what is expected");
    }
    {
        lab l;
        tcp_server s(l.context, answers({response(200, late)}));
        CHECK(l.tells_up(http_check(s.port())) == "up: status 200");
    }
    lab l;
    tcp_server s(l.context, answers({response(200, "working" + late)}));
    CHECK(l.tells_up(http_check(s.port(), "working")) == "up: body as expected");
}

TEST_CASE("HTTP: a server that accepts and says nothing, answers late, resets, closes, or talks something else is down") {
    auto const says = [](tcp_server::action const& act) {
        lab l;
        tcp_server s(l.context, act);
        return l.tells_down(http_check(s.port()));
    };
    std::list<std::shared_ptr<tcp::socket>> kept;
    CHECK(says([&](auto const& socket) { kept.push_back(socket); }) == "down: no answer in time");
    kept.clear();
    CHECK(says(answers({response(200, "")}, 400ms)) == "down: no answer in time");
    CHECK(says([](auto const& socket) {
              socket->set_option(asio::socket_base::linger(true, 0));
              socket->close();
          }) == "down: Connection reset by peer");
    CHECK(says(answers({})) == "down: end of stream");
    CHECK(says(answers({"SSH-2.0-x\r\n\r\n"})) == "down: bad version");
    CHECK(says(answers({"HTTP/1.1 200 x\r\nContent-Le"})) == "down: partial message");
}

TEST_CASE("UDP: the expected answer is up; another, none, and a closed port are down") {
    auto const with = [](std::string const& answer, bool up) {
        lab l;
        udp::socket s(l.context, {loopback, 0});
        std::string got(100, 0);
        udp::endpoint from;
        s.async_receive_from(asio::buffer(got), from, [&](error_code const& e, std::size_t n) {
            got.resize(n);
            if (!e && !answer.empty()) s.send_to(asio::buffer(answer), from);
        });
        health_check c{.probe = health_probe::udp, .address = loopback, .port = s.local_endpoint().port()};
        c.send = "are you there";
        c.expect = "yes";
        std::string const said = up ? l.tells_up(c) : l.tells_down(c);
        CHECK(got == "are you there");
        return said;
    };
    CHECK(with("yes, here", true) == "up: answered as expected");
    CHECK(with("no", false) == "down: another answer than expected");
    CHECK(with("", false) == "down: no answer in time");
    lab l;
    std::uint16_t port = 0;
    {
        udp::socket s(l.context, {loopback, 0});
        port = s.local_endpoint().port();
    }
    health_check c{.probe = health_probe::udp, .address = loopback, .port = port};
    CHECK(l.tells_down(c) == "down: Connection refused");
}

TEST_CASE("ICMP: loopback answers, in both families") {
    for (asio::ip::address const& a : {asio::ip::address(asio::ip::address_v4::loopback()), asio::ip::address(asio::ip::address_v6::loopback())}) {
        lab l;
        health_check const c{.probe = health_probe::icmp, .address = a};
        try {
            CHECK(l.tells_up(c) == "up: answered");
        } catch (boost::system::system_error const& e) {
            MESSAGE("no sockets for echo requests here: " << e.what());
        }
    }
}

TEST_CASE("a check leaves from the source and through the interface it is told to, and fails when it cannot") {
    {
        lab l;
        tcp_server s(l.context, [](auto const&) {});
        health_check c = tcp_check(s.port());
        c.source = asio::ip::make_address("127.0.0.5");
        c.interface = "lo";
        CHECK(l.tells_up(c) == "up: connected");
        CHECK(s.peer == *c.source);
    }
    {
        lab l;
        health_check c = http_check(closed_port(l.context));
        c.interface = "no-such-device";
        CHECK(l.tells_down(c) == "down: No such device");
    }
    lab l;
    health_check c = tcp_check(closed_port(l.context));
    c.source = asio::ip::make_address("203.0.113.1");
    CHECK(l.tells_down(c) == "down: Cannot assign requested address");
}

TEST_CASE("no more checks than allowed are in progress, and all get their turn") {
    lab l(2);
    std::list<std::shared_ptr<tcp::socket>> kept;
    tcp_server silent(l.context, [&](auto const& socket) { kept.push_back(socket); });
    for (int i = 0; i < 7; ++i) {
        health_check c = http_check(silent.port());
        c.policy = quick();
        c.policy.timeout = 30ms;
        l.checker->add(c, health::up);
    }
    CHECK(l.run(7).size() == 7);
    CHECK(l.checker->counters().running_peak == 2);
    CHECK(l.checker->counters().bad >= 7);
}

TEST_CASE("a server that comes and goes is told of at each change, after as many results as the policy says") {
    lab l;
    auto server = std::make_unique<tcp_server>(l.context, [](auto const&) {});
    std::uint16_t const port = server->port();
    health_check c = tcp_check(port);
    c.policy = quick();
    c.policy.rise = 3;
    c.policy.fall = 2;
    auto const id = l.checker->add(c);
    CHECK(l.checker->state(id) == health::down);
    CHECK(l.run(1) == std::vector<std::string>{"up: connected"});
    CHECK(l.checker->counters().good == 3);
    CHECK(l.checker->state(id) == health::up);
    std::uint64_t const bad = l.checker->counters().bad;
    server.reset();
    CHECK(l.run(2).back() == "down: Connection refused");
    CHECK(l.checker->counters().bad == bad + 2);
    CHECK(l.checker->counters().transitions == 2);
}

TEST_CASE("a server that is removed is not heard of any more, in the middle of a check or not; nor any when the checker goes") {
    lab l;
    std::list<std::shared_ptr<tcp::socket>> kept;
    tcp_server silent(l.context, [&](auto const& socket) { kept.push_back(socket); });
    health_check c = http_check(silent.port());
    c.policy = quick();
    auto const first = l.checker->add(c, health::up), second = l.checker->add(c, health::up);
    while (silent.accepted < 2) l.context.run_one_for(100ms);
    CHECK(l.checker->counters().running == 2);
    l.checker->remove(first);
    CHECK(l.checker->counters().running == 1);
    CHECK(!l.checker->state(first));
    CHECK(l.run(1).size() == 1);
    l.checker->remove(second);
    l.checker->add(c, health::up);
    l.checker.reset();
    l.run(2, 200ms);
    CHECK(l.changes.size() == 1);
}

TEST_CASE("changes are told on the executor that is named: another thread's") {
    asio::io_context checks{1}, engine{1};
    tcp_server s(checks, [](auto const&) {});
    std::thread::id told_on;
    health_checker checker(checks, {}, [&](health_checker::target_id, health, std::string const&) {
        told_on = std::this_thread::get_id();
        checks.stop();
    }, engine.get_executor());
    health_check c = tcp_check(s.port());
    c.policy = quick();
    checker.add(c);
    auto const open = asio::make_work_guard(engine);
    std::thread beside([&] { checks.run_for(2s); });
    engine.run_one_for(2s);
    beside.join();
    CHECK(told_on == std::this_thread::get_id());
}
