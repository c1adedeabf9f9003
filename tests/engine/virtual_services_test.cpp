// SPDX-License-Identifier: BSL-1.0
// The policy alone: what it answers, counts and remembers, without an engine around it. With one: tests/scenario/services_*_test.cpp.
#include <halfproxy/engine/virtual_services.hpp>

#include "tests/support/services.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

static_assert(service_address_policy<virtual_services<>> && !service_address_policy<keep_addresses>);

flow_request<std::uint32_t> request(std::uint16_t client_port) {
    endpoints const e;
    return {{e.client4, e.server4, client_port, 80}, 0, ip_protocol::tcp, side::outside, false};
}

ipv4_flow flow_of(flow_request<std::uint32_t> const& r, address_answer<std::uint32_t> const& a) {
    ipv4_flow f{};
    f.tuple = {r.tuple, a.server_tuple.reversed()};
    f.protocol = r.protocol;
    return f;
}

limits_config const limits{.flows_v4 = 16, .flows_v6 = 16};

service_config led(forward_mode mode) {
    service_config s = service_of(1);
    s.mode = mode;
    s.backends[0].port = 0;
    s.backends[0].station = {2, 0, 0, 0, 0, 1};
    return s;
}

}  // namespace

TEST_CASE("an answer that could not be used counts nothing, and the next one may have the same backend's turn") {
    virtual_services<> v({.services = {service_of(2)}}, limits, 1);
    auto const a = v.translate(request(1), {10});
    CHECK(a.reason == drop_reason::none);
    v.refused(a, {10});
    CHECK(v.services().backends(0).open(0) == 0);
    auto const b = v.translate(request(1), {10});
    v.opened(flow_of(request(1), b), 3, b);
    CHECK(v.services().flows_open(0) == 1);
    CHECK(v.note_of<std::uint32_t>(3));
    CHECK_FALSE(v.note_of<std::uint32_t>(4));
    CHECK_FALSE(v.note_of<ipv6_bytes>(3));
    v.closed(flow_of(request(1), b), 3, {20});
    CHECK(v.services().flows_open(0) == 0);
    CHECK_FALSE(v.note_of<std::uint32_t>(3));
}

TEST_CASE("asking beforehand takes nothing") {
    virtual_services<> v({.services = {service_of(2)}}, limits, 1);
    for (int i = 0; i < 5; ++i) CHECK(v.foresee(request(1), {10}).reason == drop_reason::none);
    CHECK(v.translate(request(1), {10}).server_tuple.destination == backend4(0));
    v.set_state({0, 0}, backend_state::down);
    v.set_state({0, 1}, backend_state::down);
    CHECK(v.times_down() == 2);
    CHECK(v.foresee(request(1), {10}).reason == drop_reason::no_backend);
    CHECK(v.translate(request(1), {10}).reason == drop_reason::no_backend);
}

TEST_CASE("the services' time goes on over the wrap of stamps at 2^32 ms") {
    service_config s = service_of(4);
    s.persistence = 1000;
    virtual_services<> v({.services = {s}}, limits, 1);
    auto const opened_at = [&v](std::uint32_t ms) {
        auto const a = v.translate(request(1), {ms});
        v.opened(flow_of(request(1), a), 0, a);
        v.closed(flow_of(request(1), a), 0, {ms});
        return a.server_tuple.destination;
    };
    for (std::uint32_t at = 0; at < 0xc000'0000; at += 0x3000'0000) v.advance({at}, 1);
    v.advance({0xffff'ff00}, 1);
    std::uint32_t const first = opened_at(0xffff'ff00);
    CHECK(opened_at(0x0000'0100) == first);  // 512 ms later
    CHECK(opened_at(0x0000'0100 + 1000) != first);
}

TEST_CASE("memory is four bytes a flow, and what the services take") {
    virtual_services<> const few({.services = {service_of(2)}}, limits, 1);
    virtual_services<> const many({.services = {service_of(2)}}, {.flows_v4 = 1016, .flows_v6 = 16}, 1);
    CHECK(many.memory_bytes() - few.memory_bytes() == 4000);
    CHECK(few.memory_bytes() > few.services().memory_bytes());
}

TEST_CASE("services whose answers pass elsewhere need a tracker that knows, and no splice") {
    engine_config both = guarded(guard_mode::off), one_sided = both, spliced = guarded(), reset = spliced;
    one_sided.tracking.asymmetric = spliced.tracking.asymmetric = reset.tracking.asymmetric = asymmetric_paths::detect;
    reset.guard.method = guard_method::challenge_reset;
    CHECK(fault_of_mode(service_of(1), both) == "");
    CHECK(fault_of_mode(led(forward_mode::dsr), both) == "needs tracking.asymmetric = true or \"detect\": servers answer their clients directly");
    CHECK(fault_of_mode(led(forward_mode::dsr), one_sided) == "");
    CHECK(fault_of_mode(led(forward_mode::dsr), spliced) ==
          "needs guard.mode = \"off\" or \"monitor\", or guard.method = \"challenge_reset\": of a splice both directions must pass");
    CHECK(fault_of_mode(led(forward_mode::dsr), reset) == "");
    CHECK(fault_of_mode(led(forward_mode::transparent), guarded()) == "");
    for (engine_config const& config : {both, one_sided, spliced, reset})
        CHECK(fault_of_mode(led(forward_mode::ipip), config) == fault_of_mode(led(forward_mode::dsr), config));
}

TEST_CASE("a lead's number stands for its backend: a next hop with modes that keep the packet, a tunnel with ipip, nothing once the service has gone") {
    for (forward_mode const mode : {forward_mode::dsr, forward_mode::transparent, forward_mode::ipip}) {
        service_config s = service_of(3);
        s.mode = mode;
        s.tunnel.source4 = ip_address::v4(0x0a0000fe);
        s.tunnel.mtu = 1400;
        virtual_services<> v({.services = {service_of(1, 6), s}}, limits, 1);
        auto const a = v.translate(request(1), {10});
        v.opened(flow_of(request(1), a), 3, a);
        flow_lead const lead = v.lead_of(flow_of(request(1), a), 3);
        CHECK(lead.one_way == answers_elsewhere(mode));
        REQUIRE(lead.via != 0);
        bool const tunnelled = mode == forward_mode::ipip;
        CHECK(v.next_hop_of(lead.via) == (tunnelled ? ip_address{} : ip_address::v4(backend4(0))));
        CHECK(v.tunnel_of(lead.via).has_value() == tunnelled);
        CHECK(v.mss_of(lead.via, 4) == (tunnelled ? 1400 - 20 - 40 : 0xffff));
        if (tunnelled) {
            CHECK(v.tunnel_of(lead.via)->source == s.tunnel.source4);
            CHECK(v.tunnel_of(lead.via)->destination == ip_address::v4(backend4(0)));
        }
        v.closed(flow_of(request(1), a), 3, {20});
        REQUIRE(v.services().configure({}));
        CHECK(v.next_hop_of(lead.via) == ip_address{});
        CHECK_FALSE(v.tunnel_of(lead.via));
        CHECK(v.next_hop_of(0) == ip_address{});
    }
}

TEST_CASE("a backend beside its service's clients makes a hairpin, unless it answers them itself") {
    for (forward_mode const mode : {forward_mode::dnat, forward_mode::transparent, forward_mode::dsr}) {
        service_config s = service_of(1);
        s.mode = mode;
        s.backends[0].beside_clients = true;
        virtual_services<> v({.services = {s}}, limits, 1);
        CHECK(v.translate(request(1), {10}).hairpin == (mode != forward_mode::dsr));
    }
}
