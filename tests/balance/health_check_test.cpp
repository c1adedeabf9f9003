// SPDX-License-Identifier: BSL-1.0
// What makes a configured health check wrong, each with the key that is to blame.
#include <halfproxy/balance/health_check.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <string>

using namespace halfproxy;
using namespace std::chrono_literals;

namespace {

/// The key that is blamed, when one thing of a right check is changed.
std::string blamed(health_probe kind, std::function<void(health_check&)> const& change) {
    health_check c{.kind = kind};
    REQUIRE(!fault_of(c));
    change(c);
    auto const fault = fault_of(c);
    return fault ? std::string(fault->key) : "nothing";
}

}  // namespace

TEST_CASE("times and counts that could not work are refused") {
    auto const policy = [](std::function<void(health_policy&)> const& change) {
        return blamed(health_probe::tcp, [&](health_check& c) { change(c.policy); });
    };
    CHECK(policy([](auto& p) { p.interval = 49ms; }) == "interval_s");
    CHECK(policy([](auto& p) { p.timeout = 19ms; }) == "timeout_s");
    CHECK(policy([](auto& p) { p.jitter_percent = 51; }) == "jitter_percent");
    CHECK(policy([](auto& p) { p.rise = 0; }) == "rise");
    CHECK(policy([](auto& p) { p.fall = 0; }) == "fall");
    CHECK(policy([](auto& p) { p.longest_hold = p.first_hold - 1ms; }) == "longest_hold_s");
    CHECK(policy([](auto& p) { p.interval = 50ms; p.timeout = 20ms; p.rise = p.fall = 1; }) == "nothing");
}

TEST_CASE("of HTTP: a path, a host, statuses and a body that a request and an answer can have") {
    auto const http = [](std::function<void(health_check&)> const& change) { return blamed(health_probe::http, change); };
    CHECK(http([](auto& c) { c.path = ""; }) == "path");
    CHECK(http([](auto& c) { c.path = "health"; }) == "path");
    CHECK(http([](auto& c) { c.path = "/a b"; }) == "path");
    CHECK(http([](auto& c) { c.path = "/a\r\nX: y"; }) == "path");
    CHECK(http([](auto& c) { c.path = "/\xc3\xa4"; }) == "path");
    CHECK(http([](auto& c) { c.path = "/" + std::string(512, 'x'); }) == "path");
    CHECK(http([](auto& c) { c.path = "/" + std::string(511, 'x'); }) == "nothing");
    CHECK(http([](auto& c) { c.host = "a\nb"; }) == "host");
    CHECK(http([](auto& c) { c.host = std::string(256, 'h'); }) == "host");
    CHECK(http([](auto& c) { c.status = {99, 200}; }) == "status");
    CHECK(http([](auto& c) { c.status = {200, 600}; }) == "status");
    CHECK(http([](auto& c) { c.body = std::string(129, 'x'); }) == "body");
    CHECK(http([](auto& c) { c.body = "all is\r\nwell"; }) == "nothing");
}

TEST_CASE("what belongs to another kind of check would be ignored, and is refused") {
    for (health_probe const kind : {health_probe::tcp, health_probe::icmp, health_probe::udp}) {
        CHECK(blamed(kind, [](auto& c) { c.path = "/x"; }) == "path");
        CHECK(blamed(kind, [](auto& c) { c.host = "x"; }) == "host");
        CHECK(blamed(kind, [](auto& c) { c.status = {200, 200}; }) == "status");
        CHECK(blamed(kind, [](auto& c) { c.body = "x"; }) == "body");
    }
    for (health_probe const kind : {health_probe::tcp, health_probe::icmp, health_probe::http}) {
        CHECK(blamed(kind, [](auto& c) { c.send = "x"; }) == "send");
        CHECK(blamed(kind, [](auto& c) { c.expect = "x"; }) == "expect");
        CHECK(blamed(kind, [](auto& c) { c.port = 80; }) == (kind == health_probe::icmp ? "port" : "nothing"));
    }
    CHECK(blamed(health_probe::udp, [](auto& c) { c.send = std::string(129, 'x'); }) == "send");
    CHECK(blamed(health_probe::udp, [](auto& c) { c.expect = std::string(129, 'x'); }) == "expect");
    CHECK(blamed(health_probe::udp, [](auto& c) { c.send = c.expect = std::string(128, 'x'); }) == "nothing");
}
