// SPDX-License-Identifier: BSL-1.0
// Static and destination NAT, both sides translated at once, hairpins, ICMP errors about translated packets.
#include "tests/support/fragments.hpp"
#include "tests/support/nat_lab.hpp"

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

nat_config one_to_one(world_of const& w, int host_bits = 0) {
    nat_config nat;
    nat.statics = {{prefix_of(w.inside(64), host_bits), prefix_of(w.pool(128), host_bits)}};
    REQUIRE_FALSE(fault_of_static(nat, 0));
    return nat;
}

dnat_rule forwarding(world_of const& w, port_range ports, port_range target_ports) {
    dnat_rule rule;
    rule.to = prefix_of(w.pool(3));
    rule.protocol = ip_protocol::udp;
    rule.ports = ports;
    rule.target = address_of(w.inside(80).address);
    rule.target_ports = target_ports;
    return rule;
}

/// The quoted packet of an ICMP error that has left.
byte_string quote_of(decoded const& d) { return {d.transport.begin() + 8, d.transport.end()}; }

}  // namespace

TEST_CASE("a static mapping works both ways for every port and protocol, hosts and prefixes, and keeps ports") {
    for (world_of const w : both_families()) {
        nat_lab host(w, one_to_one(w));
        CHECK(host.mapped(w.inside(64, 999), w.outside(9, 53)) == w.pool(128, 999));
        CHECK(destination_of(host.passes(host.udp(side::outside, w.outside(8, 5), w.pool(128, 7)))) == w.inside(64, 7));
        decoded const pinged = host.passes(host.ip(side::outside, ping_datagram(w.outside(8), w.pool(128), 5, true)));
        CHECK(destination_of(pinged) == w.inside(64, 5));
        CHECK(source_of(host.passes(host.ip(side::inside, ping_datagram(w.inside(64), w.outside(8), 5, false)))) == w.pool(128, 5));
        CHECK(source_of(host.passes(host.udp(side::inside, w.inside(65, 1), w.outside(9, 53)))) == w.inside(65, 1));

        nat_lab net(w, one_to_one(w, 4));
        CHECK(net.mapped(w.inside(79, 999), w.outside(9, 53)) == w.pool(143, 999));
        CHECK(destination_of(net.passes(net.udp(side::outside, w.outside(8, 5), w.pool(133, 7)))) == w.inside(69, 7));
    }
}

TEST_CASE("destination NAT: one port, a range onto a range, a range onto one port; answers come from where the client sent to") {
    for (world_of const w : both_families()) {
        nat_config nat;
        nat.dnat = {forwarding(w, {53, 53}, {5353, 5353}), forwarding(w, {2000, 2009}, {3000, 3009}), forwarding(w, {4000, 4999}, {7, 7}),
                    forwarding(w, {}, {0, 0})};
        for (std::size_t i = 0; i < nat.dnat.size(); ++i) REQUIRE_FALSE(fault_of_dnat(nat, i));
        nat_lab l(w, nat);
        for (auto const& [to, target] : std::initializer_list<std::pair<unsigned, unsigned>>{{53, 5353}, {2000, 3000}, {2009, 3009}, {4000, 7}, {4999, 7}, {9999, 9999}}) {
            unsigned const port = to;  // clang 14 lets no lambda take a structured binding
            CAPTURE(port);
            end const client = w.outside(9, 1000 + to);
            decoded const in = l.passes(l.udp(side::outside, client, w.pool(3, to)));
            CHECK(destination_of(in) == w.inside(80, target));
            CHECK(source_of(in) == client);
            CHECK(source_of(l.passes(l.udp(side::inside, w.inside(80, target), client))) == w.pool(3, to));
        }
    }
}

TEST_CASE("two flows that would look the same behind their translation are not mixed: the second is refused") {
    world_of const w;
    nat_config nat;
    nat.dnat = {forwarding(w, {4000, 4999}, {7, 7})};
    nat_lab l(w, nat);
    CHECK(l.udp(side::outside, w.outside(9, 1000), w.pool(3, 4000)).fate == verdict::forward);
    CHECK(l.udp(side::outside, w.outside(9, 1000), w.pool(3, 4001)).reason == drop_reason::table_full);
    CHECK(l.udp(side::outside, w.outside(9, 1001), w.pool(3, 4001)).fate == verdict::forward);
}

TEST_CASE("destination NAT looks at source, protocol and side") {
    world_of const w;
    nat_config nat;
    nat.dnat = {forwarding(w, {53, 53}, {5353, 5353})};
    nat.dnat[0].from = prefix_of(w.outside(9));
    nat_lab l(w, nat);
    CHECK(destination_of(l.passes(l.udp(side::outside, w.outside(9, 1), w.pool(3, 53)))) == w.inside(80, 5353));
    CHECK(destination_of(l.passes(l.udp(side::outside, w.outside(8, 1), w.pool(3, 53)))) == w.pool(3, 53));
    CHECK(destination_of(l.passes(l.tcp(side::outside, w.outside(9, 1), w.pool(3, 53), {.flags = flags::syn}))) == w.pool(3, 53));
    nat.dnat[0] = {.protocol = ip_protocol::udp, .ports = {53, 53}, .origin = flow_origin::inside, .target = address_of(w.outside(53).address)};
    REQUIRE_FALSE(fault_of_dnat(nat, 0));
    nat_lab out(w, nat);  // every query from inside goes to one resolver
    CHECK(destination_of(out.passes(out.udp(side::inside, w.inside(5, 1000), w.outside(8, 53)))) == w.outside(53, 53));
    CHECK(source_of(out.passes(out.udp(side::outside, w.outside(53, 53), w.inside(5, 1000)))) == w.outside(8, 53));
    CHECK(destination_of(out.passes(out.udp(side::outside, w.outside(8, 1000), w.inside(5, 53)))) == w.inside(5, 53));
}

TEST_CASE("full NAT: the server sees an address of ours, the client the address it sent to") {
    for (world_of const w : both_families()) {
        nat_config nat;
        nat.dnat = {forwarding(w, {53, 53}, {5353, 5353})};
        snat_rule rule;
        rule.origin = flow_origin::outside;
        rule.to = prefix_of(w.inside(80));  // as the packets leave
        rule.pool = {prefix_of(w.inside(200))};
        nat.snat = {rule};
        nat_lab l(w, nat);
        decoded const in = l.passes(l.udp(side::outside, w.outside(9, 1000), w.pool(3, 53)));
        CHECK(source_of(in).address == w.inside(200).address);
        CHECK(destination_of(in) == w.inside(80, 5353));
        decoded const back = l.passes(l.udp(side::inside, w.inside(80, 5353), source_of(in)));
        CHECK(source_of(back) == w.pool(3, 53));
        CHECK(destination_of(back) == w.outside(9, 1000));
        CHECK(l.udp(side::inside, w.inside(80, 1), w.inside(200, 1)).reason == drop_reason::nat_no_mapping);
        CHECK(source_of(l.passes(l.udp(side::inside, w.inside(80, 1), w.outside(9, 2)))) == w.inside(80, 1));
    }
}

TEST_CASE("twice NAT: source and destination of a flow from inside both change") {
    world_of const w;
    nat_config nat = napt(w);
    nat.dnat = {{.to = prefix_of(w.inside(99)), .protocol = ip_protocol::udp, .origin = flow_origin::inside, .target = address_of(w.outside(7).address)}};
    nat_lab l(w, nat);
    decoded const out = l.passes(l.udp(side::inside, w.inside(5, 4000), w.inside(99, 53)));
    CHECK(source_of(out).address == w.pool(1).address);
    CHECK(destination_of(out) == w.outside(7, 53));
    decoded const back = l.passes(l.udp(side::outside, w.outside(7, 53), source_of(out)));
    CHECK(source_of(back) == w.inside(99, 53));
    CHECK(destination_of(back) == w.inside(5, 4000));
}

TEST_CASE("two endpoints that lead to one server give a client that speaks to both from one port two external ones, so that the server can tell them apart") {
    for (world_of const w : both_families()) {
        nat_config nat = napt(w);
        nat.snat[0].origin = flow_origin::outside;
        nat.snat[0].from = {};
        nat.dnat = {forwarding(w, {80, 80}, {8080, 8080}), forwarding(w, {81, 81}, {8080, 8080})};
        nat_lab l(w, nat);
        decoded const first = l.passes(l.udp(side::outside, w.outside(9, 4000), w.pool(3, 80)));
        decoded const second = l.passes(l.udp(side::outside, w.outside(9, 4000), w.pool(3, 81)));
        CHECK(destination_of(first) == destination_of(second));
        CHECK(source_of(first) != source_of(second));
        CHECK(source_of(l.passes(l.udp(side::inside, destination_of(first), source_of(first)))) == w.pool(3, 80));
        CHECK(source_of(l.passes(l.udp(side::inside, destination_of(second), source_of(second)))) == w.pool(3, 81));
    }
}

// --- Hairpins --------------------------------------------------------------------------------------------------------------------

TEST_CASE("a hairpin through mappings: each host sees the other's external endpoint, and packets leave where they came from (RFC 4787 REQ-9)") {
    for (world_of const w : both_families()) {
        nat_config nat = napt(w);
        nat.snat[0].filtering = nat_filtering::endpoint_independent;
        nat_lab l(w, nat);
        end const y = l.mapped(w.inside(6, 5000), w.outside(9, 53));
        decoded const there = l.passes(l.udp(side::inside, w.inside(5, 4000), y), verdict::reply);
        CHECK(there.exit == side::inside);
        CHECK(destination_of(there) == w.inside(6, 5000));
        end const x = source_of(there);
        CHECK(x.address == w.pool(1).address);
        decoded const back = l.passes(l.udp(side::inside, w.inside(6, 5000), x), verdict::reply);
        CHECK(source_of(back) == y);
        CHECK(destination_of(back) == w.inside(5, 4000));
        CHECK(l.mapped(w.inside(5, 4000), w.outside(9, 53)) == x);  // the same endpoint as towards the outside
        CHECK(l.udp(side::outside, w.inside(6, 5000), x).fate == verdict::drop);  // forged
        CHECK(l.plan().counters().hairpins == 1);
        CHECK(l.counters().replied == 2);
    }
}

TEST_CASE("TCP hairpins, with its windows tracked") {
    world_of const w;
    nat_config nat = napt(w);
    nat.statics = {{prefix_of(w.inside(64)), prefix_of(w.pool(128))}};
    nat_lab l(w, nat);
    decoded const syn = l.passes(l.tcp(side::inside, w.inside(5, 4000), w.pool(128, 80), {.seq = 100, .flags = flags::syn, .window = 1000}), verdict::reply);
    CHECK(destination_of(syn) == w.inside(64, 80));
    end const x = source_of(syn);
    segment const syn_ack{.seq = 900, .ack = 101, .flags = flags::syn | flags::ack, .window = 1000};
    CHECK(source_of(l.passes(l.tcp(side::inside, w.inside(64, 80), x, syn_ack), verdict::reply)) == w.pool(128, 80));
    segment data{.seq = 101, .ack = 901, .flags = flags::ack, .window = 1000, .payload = filled(10)};
    for (int n = 0; n < 3; ++n, data.seq += 10) l.passes(l.tcp(side::inside, w.inside(5, 4000), w.pool(128, 80), data), verdict::reply);
    l.passes(l.tcp(side::inside, w.inside(64, 80), x, {.seq = 901, .ack = 131, .flags = flags::ack, .window = 1000, .payload = filled(10)}), verdict::reply);
    data.seq += 200'000;
    CHECK(l.tcp(side::inside, w.inside(5, 4000), w.pool(128, 80), data).reason == drop_reason::seq_above_window);
    CHECK(l.tcp(side::outside, w.inside(64, 80), x, {.seq = 911, .ack = 131, .flags = flags::ack, .window = 1000}).reason == drop_reason::wrong_side);
    l.passes(l.tcp(side::inside, w.inside(64, 80), x, {.seq = 911, .ack = 131, .flags = flags::rst | flags::ack}), verdict::reply);
    l.after(11'000);
    CHECK(l.proxy().flows_now() == 0);
    CHECK(l.ports_held(6) == 0);
}

TEST_CASE("hairpins through static and destination NAT; a host that speaks to its own external address hears itself, and nothing loops") {
    for (world_of const w : both_families()) {
        nat_config nat = one_to_one(w, 4);
        nat.dnat = {forwarding(w, {53, 53}, {5353, 5353})};
        nat_lab l(w, nat);
        decoded const there = l.passes(l.udp(side::inside, w.inside(65, 4000), w.pool(130, 7)), verdict::reply);
        CHECK(source_of(there) == w.pool(129, 4000));
        CHECK(destination_of(there) == w.inside(66, 7));
        CHECK(source_of(l.passes(l.udp(side::inside, w.inside(66, 7), w.pool(129, 4000)), verdict::reply)) == w.pool(130, 7));
        CHECK(destination_of(l.passes(l.udp(side::inside, w.inside(65, 4000), w.pool(3, 53)), verdict::reply)) == w.inside(80, 5353));
        decoded const self = l.passes(l.udp(side::inside, w.inside(67, 4000), w.pool(131, 4000)), verdict::reply);
        CHECK(source_of(self) == w.pool(131, 4000));
        CHECK(destination_of(self) == w.inside(67, 4000));
        decoded const again = l.passes(l.udp(side::inside, w.inside(67, 4000), w.pool(131, 4000)), verdict::reply);
        CHECK(destination_of(again) == w.inside(67, 4000));
    }
}

TEST_CASE("without hairpins such packets leave to the outside, translated, for a router there to turn them round") {
    world_of const w;
    nat_config nat = napt(w);
    nat.hairpin = false;
    nat.statics = {{prefix_of(w.inside(64)), prefix_of(w.pool(128))}};
    nat_lab l(w, nat);
    decoded const out = l.passes(l.udp(side::inside, w.inside(5, 4000), w.pool(128, 7)));
    CHECK(out.exit == side::outside);
    CHECK(destination_of(out) == w.pool(128, 7));
    end const x = source_of(out);
    CHECK(x.address == w.pool(1).address);
    decoded const in = l.passes(l.udp(side::outside, x, w.pool(128, 7)));  // what the router sends back
    CHECK(destination_of(in) == w.inside(64, 7));
    CHECK(source_of(in) == x);
    decoded const answer = l.passes(l.udp(side::inside, w.inside(64, 7), x));
    CHECK(source_of(answer) == w.pool(128, 7));
    CHECK(destination_of(l.passes(l.udp(side::outside, w.pool(128, 7), x))) == w.inside(5, 4000));
}

TEST_CASE("fragments of a translated datagram follow their first one, in order or not, outwards, back, and through a hairpin") {
    for (world_of const w : both_families())
        for (bool in_order : {true, false}) {
            CAPTURE(w.version);
            CAPTURE(in_order);
            nat_config nat = napt(w);
            nat.statics = {{prefix_of(w.inside(64)), prefix_of(w.pool(128))}};
            nat_lab l(w, nat);
            auto const all_of = [&](side at, byte_string const& datagram, std::uint32_t id) {
                std::vector<byte_string> parts = fragments_of(datagram, 256, id);
                if (!in_order) std::swap(parts.front(), parts.back());
                std::vector<decoded> out;
                for (byte_string const& part : parts) {
                    outcome const o = l.ip(at, part);
                    if (o.packet) out.push_back(*o.packet);
                    out.insert(out.end(), o.beside.begin(), o.beside.end());
                }
                CHECK(out.size() == parts.size());
                return out;
            };
            byte_string const payload = filled(900);
            auto const out = all_of(side::inside, udp_datagram(w.inside(5, 4000), w.outside(9, 53), payload), 1);
            CHECK(put_together(out).checksum_good);
            REQUIRE(!out.empty());
            CHECK(out[0].source == w.pool(1).address);
            end const e{out[0].source, get16(put_together(out).transport, 0)};
            auto const back = all_of(side::outside, udp_datagram(w.outside(9, 53), e, payload), 2);
            CHECK(put_together(back).checksum_good);
            for (decoded const& d : back) CHECK(d.destination == w.inside(5).address);
            auto const turned = all_of(side::inside, udp_datagram(w.inside(5, 4000), w.pool(128, 7), payload), 3);
            CHECK(put_together(turned).checksum_good);
            for (decoded const& d : turned) {
                CHECK(d.destination == w.inside(64).address);
                CHECK(d.exit == side::inside);
            }
        }
}

// --- ICMP errors ----------------------------------------------------------------------------------------------------------------

TEST_CASE("an ICMP error from outside shows its receiver the packet it sent, and its sender stays visible (RFC 5508 REQ-3, REQ-4)") {
    for (world_of const w : both_families()) {
        CAPTURE(w.version);
        nat_lab l(w, napt(w));
        byte_string const udp = udp_datagram(w.inside(5, 4000), w.outside(9, 53));
        byte_string const ping = ping_datagram(w.inside(5), w.outside(9), 77, true);
        byte_string const syn = tcp_datagram(w.inside(5, 4000), w.outside(9, 80), {.seq = 100, .flags = flags::syn, .window = 1000});
        for (byte_string const& sent : {udp, ping, syn}) {
            byte_string const seen = ip_of(l.passes(l.ip(side::inside, sent)));
            decoded const e = l.passes(l.ip(side::outside, error_datagram(w.outside(200), w.pool(1), seen)));
            CHECK(e.destination == w.inside(5).address);
            CHECK(e.source == w.outside(200).address);
            CHECK(quote_of(e) == sent);
            byte_string const first_bytes(seen.begin(), seen.begin() + (w.version == 4 ? 28 : 48));
            decoded const shortest = l.passes(l.ip(side::outside, error_datagram(w.outside(9), w.pool(1), first_bytes)));
            CHECK(get16(quote_of(shortest), w.version == 4 ? 20 : 40) == get16(sent, w.version == 4 ? 20 : 40));
        }
        byte_string const nobodys = udp_datagram(w.pool(1, 1), w.outside(9, 53));
        CHECK(l.ip(side::outside, error_datagram(w.outside(200), w.pool(1), nobodys)).reason == drop_reason::icmp_unrelated);
    }
}

TEST_CASE("an ICMP error from inside tells of no inside address: neither host nor router (RFC 5508 REQ-5)") {
    for (world_of const w : both_families()) {
        nat_lab l(w, napt(w));
        end const e = l.mapped(w.inside(5, 4000), w.outside(9, 53));
        byte_string const answer = udp_datagram(w.outside(9, 53), e);
        byte_string const seen = ip_of(l.passes(l.ip(side::outside, answer)));
        for (unsigned sender : {5u, 1u}) {
            decoded const error = l.passes(l.ip(side::inside, error_datagram(w.inside(sender), w.outside(9), seen)));
            CHECK(error.source == w.pool(1).address);
            CHECK(quote_of(error) == answer);
        }
    }
}

TEST_CASE("an ICMP error about a hairpinned packet is hairpinned, its addresses and its quote translated (RFC 5508 REQ-7)") {
    for (world_of const w : both_families()) {
        nat_config nat = napt(w);
        nat.statics = {{prefix_of(w.inside(64)), prefix_of(w.pool(128))}};
        nat_lab l(w, nat);
        byte_string const sent = udp_datagram(w.inside(5, 4000), w.pool(128, 7));
        decoded const at_host = l.passes(l.ip(side::inside, sent), verdict::reply);
        decoded const error = l.passes(l.ip(side::inside, error_datagram(w.inside(64), {at_host.source, 0}, ip_of(at_host))), verdict::reply);
        CHECK(error.source == w.pool(128).address);
        CHECK(error.destination == w.inside(5).address);
        CHECK(quote_of(error) == sent);
        byte_string const answer = udp_datagram(w.inside(64, 7), source_of(at_host));
        decoded const back = l.passes(l.ip(side::inside, answer), verdict::reply);
        decoded const about_answer = l.passes(l.ip(side::inside, error_datagram(w.inside(5), w.pool(128), ip_of(back))), verdict::reply);
        CHECK(about_answer.source == at_host.source);
        CHECK(quote_of(about_answer) == answer);
    }
}

TEST_CASE("a protocol without ports hairpins by address, and a packet inside a packet is translated as one (dataplane case: unknown protocol, hairpin)") {
    for (world_of const w : both_families()) {
        nat_config nat = napt(w);
        nat.statics = {{prefix_of(w.inside(64)), prefix_of(w.pool(128))}, {prefix_of(w.inside(65)), prefix_of(w.pool(129))}};
        nat_lab l(w, nat);
        l.verify_checksums = false;
        decoded const there = l.passes(l.ip(side::inside, gre_datagram(w.inside(65), w.pool(128))), verdict::reply);
        CHECK(there.source == w.pool(129).address);
        CHECK(there.destination == w.inside(64).address);
        CHECK(there.network_checksum_good);
        decoded const back = l.passes(l.ip(side::inside, gre_datagram(w.inside(64), w.pool(129))), verdict::reply);
        CHECK(back.source == w.pool(128).address);
        CHECK(back.destination == w.inside(65).address);
        CHECK(l.proxy().flows_now() == 1);
    }
    world_of const w;
    nat_lab l(w, napt(w));
    l.verify_checksums = false;
    byte_string const inner = udp_datagram(w.inside(5, 1), w.outside(9, 2));
    ip4 outer{.source = get32(w.inside(5).address, 0), .destination = get32(w.outside(9).address, 0), .protocol = 4};
    decoded const out = l.passes(l.ip(side::inside, encode(outer, inner)));
    CHECK(out.source == w.pool(1).address);
    CHECK(out.transport == inner);
}

TEST_CASE("what a link puts behind a datagram stays behind it (dataplane case: trailing bytes after an echo reply)") {
    for (world_of const w : both_families()) {
        nat_lab l(w, napt(w));
        end const x = source_of(l.passes(l.ip(side::inside, ping_datagram(w.inside(5, 700), w.outside(9), 700, true))));
        byte_string const trailer{1, 2, 3, 4, 5, 6, 7};
        byte_string const reply = ethernet(ping_datagram(w.outside(9), x, x.port, false)) + trailer;
        decoded const back = l.passes(l.sends(side::outside, reply));
        CHECK(destination_of(back) == w.inside(5, 700));
        CHECK(back.bytes.size() == reply.size());
        CHECK(byte_string(back.bytes.end() - 7, back.bytes.end()) == trailer);
    }
}
