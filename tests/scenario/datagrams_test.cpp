// SPDX-License-Identifier: BSL-1.0
// UDP, ICMP queries and other IP protocols as flows with timers of their own, and what passes without a flow.
#include "tests/support/conversation.hpp"
#include "tests/support/fragments.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

using line = timeline<>;

constexpr unsigned both[] = {4u, 6u};

engine_config unguarded() { return guarded(guard_mode::off); }

endpoints family(unsigned version) {
    endpoints e;
    e.version = version;
    return e;
}

/// An IP datagram of any protocol, from one end to the other, without a checksum of its own.
byte_string plain_datagram(endpoints const& e, bool from_client, unsigned protocol, byte_string const& content) {
    if (e.version == 4) {
        ip4 ip;
        ip.source = from_client ? e.client4 : e.server4;
        ip.destination = from_client ? e.server4 : e.client4;
        ip.protocol = protocol;
        return encode(ip, content);
    }
    ip6 ip;
    ip.source = from_client ? e.client6 : e.server6;
    ip.destination = from_client ? e.server6 : e.client6;
    ip.protocol = protocol;
    return encode(ip, content);
}

outcome says(line& l, bool client, unsigned protocol, byte_string const& content = filled(40)) {
    return l.sends(client ? side::outside : side::inside, framed(l.ends, plain_datagram(l.ends, client, protocol, content)));
}

outcome asks(line& l, bool client, unsigned id = 7) {
    bool const v4 = l.ends.version == 4;
    byte_string const message = u8(v4 ? (client ? 8 : 0) : (client ? 128 : 129)) + u8(0) + u16(0) + u16(id) + u16(1) + filled(8);
    return l.sends(client ? side::outside : side::inside, framed(l.ends, datagram_of(l.ends, client, v4 ? 1 : 58, message, 2)));
}

outcome udp(line& l, bool client) {
    unsigned const from = client ? l.ends.client_port : l.ends.server_port, to = client ? l.ends.server_port : l.ends.client_port;
    return l.sends(client ? side::outside : side::inside, framed(l.ends, datagram_of(l.ends, client, 17, u16(from) + u16(to) + u16(28) + u16(0) + filled(20), 6)));
}

constexpr unsigned gre = 47, esp = 50, ipip = 4, sctp = 132, udp_lite = 136, unassigned = 253;

}  // namespace

TEST_CASE("any other IP protocol is a flow by its addresses: answers belong to it, and each protocol has its own") {
    for (unsigned version : both) {
        line l(unguarded(), family(version));
        unsigned flows = 0;
        for (unsigned protocol : {gre, esp, ipip, sctp, udp_lite, unassigned}) {
            CAPTURE(protocol);
            CHECK(says(l, true, protocol).fate == verdict::forward);
            CHECK(says(l, false, protocol, filled(3)).fate == verdict::forward);
            CHECK(says(l, true, protocol, {}).fate == verdict::forward);
            CHECK(l.proxy().flows_now() == ++flows);
        }
        l.proxy().for_each_flow([](auto const& f) {
            CHECK(f.tuple[0].source_port == 0);
            CHECK(f.tuple[0].destination_port == 0);
            CHECK(f.packets[0] == 2);
            CHECK(f.packets[1] == 1);
        });
    }
}

TEST_CASE("rules decide about other protocols, and what a rule denies opens no flow") {
    for (unsigned version : both) {
        engine_config config = unguarded();
        config.rules = {{.action = rule_action::deny, .protocol = std::uint8_t{gre}}, {.action = rule_action::reset, .protocol = std::uint8_t{sctp}},
                        {.action = rule_action::fast, .protocol = std::uint8_t{esp}}};
        line l(config, family(version));
        CHECK(says(l, true, gre).reason == drop_reason::rule_denied);
        CHECK(says(l, true, sctp).reason == drop_reason::rule_denied);
        CHECK(says(l, true, esp).fate == verdict::forward);
        CHECK(l.proxy().flows_now() == 0);
        CHECK(says(l, true, ipip).fate == verdict::forward);
        CHECK(l.proxy().flows_now() == 1);
    }
}

TEST_CASE("other protocols come from and go to where somebody is, and have hops left") {
    line l(unguarded());
    l.ends.client4 = 0x7f000001;
    CHECK(says(l, true, gre).reason == drop_reason::ip_source);
    l.ends.client4 = l.ends.server4;
    CHECK(says(l, true, gre).reason == drop_reason::ip_source);
    l.ends.client4 = 0xe0000001;
    CHECK(says(l, true, gre).reason == drop_reason::ip_source);
    ip4 ip;
    ip.protocol = gre;
    ip.time_to_live = 0;
    CHECK(l.sends(side::outside, ethernet(encode(ip, filled(40)))).reason == drop_reason::ip_hops);
    CHECK(l.proxy().flows_now() == 0);
}

TEST_CASE("each kind has timers of its own: until the first answer, and between answers") {
    struct kind {
        char const* name;
        std::function<outcome(line&, bool)> says;
        std::uint32_t fresh, replied;
    };
    engine_config config = unguarded();
    config.timeouts.udp_new = 1'000;
    config.timeouts.udp_replied = 2'000;
    config.timeouts.icmp = 3'000;
    config.timeouts.other_new = 5'000;
    config.timeouts.other_replied = 4'000;  // shorter than before the answer
    for (unsigned version : both)
        for (kind const& k : {kind{"udp", udp, 1'000, 2'000}, kind{"icmp", [](line& l, bool client) { return asks(l, client); }, 3'000, 3'000},
                              kind{"other", [](line& l, bool client) { return says(l, client, gre); }, 5'000, 4'000}}) {
            CAPTURE(std::string(k.name));
            line l(config, family(version));
            REQUIRE(k.says(l, true).fate == verdict::forward);
            l.after(k.fresh - 1);
            CHECK(l.proxy().flows_now() == 1);
            l.after(130);
            CHECK(l.proxy().flows_now() == 0);
            k.says(l, true);
            REQUIRE(k.says(l, false).fate == verdict::forward);
            std::uint64_t const answered = l.now_ms();
            l.at(answered + k.replied / 2);
            k.says(l, true);  // who asks does not prolong
            l.at(answered + k.replied - 1);
            CHECK(l.proxy().flows_now() == 1);
            l.at(answered + k.replied + 130);
            CHECK(l.proxy().flows_now() == 0);
        }
}

TEST_CASE("the firewall's timers keep the RFCs' floors (RFC 4787 REQ-5, RFC 5508 REQ-2, RFC 6092 section 3.2)") {
    flow_timeouts const t = flow_timeouts::firewall();
    CHECK(t.udp_new >= 120'000);
    CHECK(t.udp_replied >= 120'000);
    CHECK(t.icmp >= 60'000);
    CHECK(t.other_new >= 120'000);
    CHECK(t.other_replied >= 120'000);
}

TEST_CASE("what keeps a link and its routers alive passes without a flow, whatever the rules say") {
    engine_config config = unguarded();
    config.rules = {{.action = rule_action::deny}};
    line four(config), six(config, family(6));
    for (unsigned protocol : {2u, 89u, 103u, 112u, 88u}) {  // IGMP, OSPF, PIM, VRRP, EIGRP
        ip4 ip;
        ip.protocol = protocol;
        ip.destination = 0xe0000005;
        CHECK(four.sends(side::outside, ethernet(encode(ip, filled(28)))).fate == verdict::forward);
        ip6 ip_six;
        ip_six.protocol = protocol;
        ip_six.destination = u16(0xff02) + zeros(13) + u8(5);
        CHECK(six.sends(side::outside, ethernet(encode(ip_six, filled(28)))).fate == verdict::forward);
    }
    CHECK(says(four, true, 2).fate == verdict::forward);  // a report to one router
    for (unsigned type : {9u, 10u}) CHECK(four.sends(side::inside, ethernet(icmp_packet(ip4{}, type, 0, filled(8)))).fate == verdict::forward);
    for (unsigned type : {130u, 131u, 132u, 133u, 134u, 135u, 136u, 143u}) CHECK(six.sends(side::inside, ethernet(icmp_packet(ip6{}, type, 0, filled(20)))).fate == verdict::forward);
    CHECK(four.sends(side::outside, ethernet(filled(28), {}, 0x0806)).fate == verdict::forward);
    CHECK(four.proxy().flows_now() == 0);
    CHECK(six.proxy().flows_now() == 0);
    // Between two routers by their own addresses they are flows like others.
    CHECK(says(four, true, 89).reason == drop_reason::rule_denied);
    CHECK(six.sends(side::inside, ethernet(icmp_packet(ip6{}, 139, 0, filled(20)))).reason == drop_reason::rule_denied);
}

TEST_CASE("under a full table unanswered flows of any kind give way, answered ones do not") {
    engine_config config = unguarded();
    config.limits.flows_v4 = 1;
    line l(config);
    CHECK(says(l, true, gre).fate == verdict::forward);
    CHECK(says(l, true, esp).fate == verdict::forward);
    CHECK(l.counters().flows_evicted == 1);
    CHECK(says(l, false, esp).fate == verdict::forward);
    CHECK(says(l, true, gre).reason == drop_reason::table_full);
}

TEST_CASE("other protocols in fragments: the first opens the flow, the others count for it") {
    for (unsigned version : both) {
        line l(unguarded(), family(version));
        for (byte_string const& f : fragments_of(plain_datagram(l.ends, true, gre, filled(3000)), 1480)) CHECK(l.sends(side::outside, framed(l.ends, f)).fate == verdict::forward);
        CHECK(l.proxy().flows_now() == 1);
        l.proxy().for_each_flow([](auto const& f) { CHECK(f.packets[0] == 3); });
    }
}
