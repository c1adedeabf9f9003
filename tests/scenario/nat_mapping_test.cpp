// SPDX-License-Identifier: BSL-1.0
// Which external endpoint an inside one gets, and who reaches it there (RFC 4787 sections 4 and 5, RFC 5382, RFC 5508).
#include "tests/support/nat_lab.hpp"

#include <map>
#include <set>

using namespace halfproxy;
using namespace halfproxy::test;

namespace {

nat_config with(world_of const& w, auto&& change, port_range ports = {1024, 65535}) {
    nat_config nat = napt(w, ports);
    change(nat.snat[0]);
    return nat;
}

}  // namespace

TEST_CASE("UDP, TCP and ICMP queries go out with a pool address and come back to their host, checksums right (RFC 3022 section 4.1)") {
    for (world_of const w : both_families()) {
        CAPTURE(w.version);
        nat_lab l(w, napt(w));
        decoded const query = l.passes(l.udp(side::inside, w.inside(5, 4000), w.outside(9, 53)));
        end const e = source_of(query);
        CHECK(e.address == w.pool(1).address);
        CHECK(e.port >= 1024);
        CHECK(destination_of(query) == w.outside(9, 53));
        decoded const answer = l.passes(l.udp(side::outside, w.outside(9, 53), e));
        CHECK(destination_of(answer) == w.inside(5, 4000));
        CHECK(source_of(answer) == w.outside(9, 53));

        segment syn{.seq = 100, .flags = flags::syn, .window = 1000, .mss = 1460};
        decoded const opened = l.passes(l.tcp(side::inside, w.inside(5, 4000), w.outside(9, 80), syn));
        CHECK(source_of(opened).address == w.pool(1).address);
        segment const syn_ack{.seq = 900, .ack = 101, .flags = flags::syn | flags::ack, .window = 1000, .mss = 1460};
        CHECK(destination_of(l.passes(l.tcp(side::outside, w.outside(9, 80), source_of(opened), syn_ack))) == w.inside(5, 4000));
        segment const data{.seq = 101, .ack = 901, .flags = flags::ack, .window = 1000, .payload = filled(33)};
        CHECK(source_of(l.passes(l.tcp(side::inside, w.inside(5, 4000), w.outside(9, 80), data))) == source_of(opened));

        decoded const ping = l.passes(l.ip(side::inside, ping_datagram(w.inside(5), w.outside(9), 77, true)));
        CHECK(source_of(ping).address == w.pool(1).address);
        decoded const pong = l.passes(l.ip(side::outside, ping_datagram(w.outside(9), w.pool(1), source_of(ping).port, false)));
        CHECK(destination_of(pong) == w.inside(5, 77));
        CHECK(pong.transport.size() == 40);  // all of the echoed data
        CHECK(l.ports_held(17) == 1);
        CHECK(l.ports_held(6) == 1);
    }
}

TEST_CASE("a UDP checksum of 0 stays 0 over IPv4, and one that comes to 0 is sent as ffff (RFC 768)") {
    world_of const w;
    nat_lab l(w, napt(w));
    byte_string none = udp_datagram(w.inside(5, 4000), w.outside(9, 53));
    put16(none, 26, 0);
    CHECK(get16(l.passes(l.ip(side::inside, none)).transport, 6) == 0);
    byte_string payload = zeros(20);
    decoded const first = l.passes(l.udp(side::inside, w.inside(5, 4000), w.outside(9, 53), payload));
    put16(payload, 0, get16(first.transport, 6));  // what is missing to a sum of ffff
    decoded const zero = l.passes(l.udp(side::inside, w.inside(5, 4000), w.outside(9, 53), payload));
    CHECK(get16(zero.transport, 6) == 0xffff);
}

TEST_CASE("a mapping is the same for every destination where it is endpoint-independent, else each has its own (RFC 4787 REQ-1)") {
    for (world_of const w : both_families()) {
        nat_lab same(w, napt(w));
        end const e = same.mapped(w.inside(5, 4000), w.outside(9, 53));
        CHECK(same.mapped(w.inside(5, 4000), w.outside(9, 54)) == e);
        CHECK(same.mapped(w.inside(5, 4000), w.outside(8, 53)) == e);
        CHECK(same.mapped(w.inside(5, 4001), w.outside(9, 53)) != e);
        CHECK(same.mapped(w.inside(6, 4000), w.outside(9, 53)) != e);
        CHECK(same.ports_held(17) == 3);
        CHECK(same.plan().counters().mappings_shared == 2);
        nat_lab own(w, with(w, [](snat_rule& r) { r.mapping = nat_mapping::address_and_port_dependent; }));
        std::set<unsigned> ports;
        for (end const& to : {w.outside(9, 53), w.outside(9, 54), w.outside(8, 53)}) ports.insert(own.mapped(w.inside(5, 4000), to).port);
        CHECK(ports.size() == 3);
    }
}

TEST_CASE("a mapping lets in only who was spoken to, or everybody, as its filter says (RFC 4787 REQ-8); nobody where no mapping is") {
    for (world_of const w : both_families()) {
        nat_lab strict(w, napt(w));
        end const e = strict.mapped(w.inside(5, 4000), w.outside(9, 53));
        CHECK(strict.udp(side::outside, w.outside(9, 53), e).fate == verdict::forward);
        CHECK(strict.udp(side::outside, w.outside(9, 54), e).reason == drop_reason::nat_filtered);
        CHECK(strict.udp(side::outside, w.outside(8, 53), e).reason == drop_reason::nat_filtered);
        CHECK(strict.udp(side::outside, w.outside(9, 53), {e.address, e.port ^ 1}).reason == drop_reason::nat_no_mapping);
        CHECK(strict.tcp(side::outside, w.outside(9, 53), e, {.seq = 1, .flags = flags::syn}).reason == drop_reason::nat_no_mapping);
        CHECK(strict.proxy().flows_now() == 1);

        nat_lab open(w, with(w, [](snat_rule& r) { r.filtering = nat_filtering::endpoint_independent; }));
        end const x = open.mapped(w.inside(5, 4000), w.outside(9, 53));
        decoded const in = open.passes(open.udp(side::outside, w.outside(8, 1234), x));
        CHECK(destination_of(in) == w.inside(5, 4000));
        CHECK(source_of(in) == w.outside(8, 1234));
        CHECK(open.mapped(w.inside(5, 4000), w.outside(8, 1234)) == x);  // the answer leaves with the mapping's endpoint
        CHECK(open.plan().counters().opened_from_outside == 1);
    }
}

TEST_CASE("rules decide over what comes in through a mapping") {
    world_of const w;
    engine_config config = guarded(guard_mode::off);
    config.rules = {{.action = rule_action::deny, .from = prefix_of(w.outside(8))}};
    nat_lab l(w, with(w, [](snat_rule& r) { r.filtering = nat_filtering::endpoint_independent; }), config);
    end const e = l.mapped(w.inside(5, 4000), w.outside(9, 53));
    CHECK(l.udp(side::outside, w.outside(8, 53), e).reason == drop_reason::rule_denied);
    CHECK(l.udp(side::outside, w.outside(7, 53), e).fate == verdict::forward);
}

TEST_CASE("TCP from outside reaches a mapping that is open to everybody, and both ends may open at once (RFC 5382 REQ-2, REQ-3)") {
    world_of const w;
    nat_lab l(w, with(w, [](snat_rule& r) { r.filtering = nat_filtering::endpoint_independent; }));
    end const e = source_of(l.passes(l.tcp(side::inside, w.inside(5, 4000), w.outside(9, 80), {.seq = 100, .flags = flags::syn, .window = 1000})));
    CHECK(destination_of(l.passes(l.tcp(side::outside, w.outside(8, 4444), e, {.seq = 7, .flags = flags::syn, .window = 1000}))) == w.inside(5, 4000));
    decoded const crossing = l.passes(l.tcp(side::outside, w.outside(9, 80), e, {.seq = 500, .flags = flags::syn, .window = 1000}));
    CHECK(destination_of(crossing) == w.inside(5, 4000));
    segment const from_client{.seq = 100, .ack = 501, .flags = flags::syn | flags::ack, .window = 1000};
    segment const from_server{.seq = 500, .ack = 101, .flags = flags::syn | flags::ack, .window = 1000};
    l.passes(l.tcp(side::inside, w.inside(5, 4000), w.outside(9, 80), from_client));
    l.passes(l.tcp(side::outside, w.outside(9, 80), e, from_server));
    l.passes(l.tcp(side::inside, w.inside(5, 4000), w.outside(9, 80), {.seq = 101, .ack = 501, .flags = flags::ack, .window = 1000, .payload = filled(9)}));
    CHECK(l.proxy().half_open() == 1);  // the stranger's
}

TEST_CASE("out of ports: exactly as many sessions as ports, every other dropped as nat_ports_exhausted, and as many again as have ended") {
    for (world_of const w : both_families()) {
        nat_config nat = with(w, [](snat_rule& r) { r.mapping = nat_mapping::address_and_port_dependent; }, {2000, 2019});
        nat.linger.udp = 0;
        nat_lab l(w, nat);
        std::set<unsigned> ports;
        for (unsigned n = 0; n < 20; ++n) ports.insert(l.mapped(w.inside(5, 4000 + n), w.outside(9, 53)).port);
        CHECK(ports.size() == 20);
        CHECK(*ports.begin() == 2000);
        CHECK(*ports.rbegin() == 2019);
        for (unsigned n = 20; n < 27; ++n) CHECK(l.udp(side::inside, w.inside(5, 4000 + n), w.outside(9, 53)).reason == drop_reason::nat_ports_exhausted);
        CHECK(l.dropped(drop_reason::nat_ports_exhausted) == 7);
        CHECK(l.proxy().flows_now() == 20);
        l.after(20'000);
        for (unsigned n = 0; n < 15; ++n) l.mapped(w.inside(5, 4000 + n), w.outside(9, 53));  // these stay
        l.after(15'000);                                                                       // the other five end
        CHECK(l.ports_held(17) == 15);
        for (unsigned n = 30; n < 35; ++n) l.mapped(w.inside(5, 4000 + n), w.outside(9, 53));
        CHECK(l.udp(side::inside, w.inside(5, 4040), w.outside(9, 53)).reason == drop_reason::nat_ports_exhausted);
    }
}

TEST_CASE("64,512 connections from one address to one destination, each with its own port; the next 256 fail, and a second address takes them") {
    world_of const w;
    engine_config config = guarded(guard_mode::off);
    config.limits = {.flows_v4 = 70'000, .flows_v6 = 1, .handshakes = 1};
    config.normalize.verify_checksums = false;  // one SYN is sent under many names
    byte_string const syn = ethernet(tcp_datagram(w.inside(5, 4000), w.outside(9, 443), {.seq = 1, .flags = flags::syn, .window = 1000}));
    auto const open_all = [&](nat_config const& nat) {
        nat_engine proxy(config, nat_policies{{}, address_plan(nat, config.limits), {}});
        outbox none(outbox_per_packet);
        std::vector<bool> seen(1u << 18);
        std::pair<unsigned, std::uint64_t> result{};  // different external endpoints, refusals
        for (unsigned n = 0; n < 64'512 + 256; ++n) {
            byte_string bytes = syn;
            bytes[29] = n < 64'000 ? 5 : 6;  // the host
            put16(bytes, 34, 1000 + n % 64'000);
            frame f{.data = bytes.data(), .arrival = side::inside};
            f.length = f.wire_length = f.capacity = static_cast<std::uint32_t>(bytes.size());
            put16(bytes, 24, 0);
            put16(bytes, 24, naive_checksum(byte_view(bytes).subspan(14, 20)));
            proxy.process({&f, 1}, time_point{}, none);
            if (f.outcome != verdict::forward) continue;
            std::size_t const endpoint = std::size_t{bytes[29]} % 4 << 16 | get16(bytes, 34);
            result.first += seen[endpoint] ? 0 : 1;
            seen[endpoint] = true;
        }
        result.second = proxy.counters().dropped[static_cast<std::size_t>(drop_reason::nat_ports_exhausted)];
        CHECK(proxy.flows_now() == result.first);
        return result;
    };
    auto const by_remote = [](snat_rule& r) { r.mapping = nat_mapping::address_and_port_dependent; };
    auto const one = open_all(with(w, by_remote));
    CHECK(one.first == 64'512);
    CHECK(one.second == 256);
    auto const two = open_all(with(w, [&](snat_rule& r) { by_remote(r), r.pool.push_back(prefix_of(w.pool(2))), r.paired = false; }));
    CHECK(two.first == 64'512 + 256);
    CHECK(two.second == 0);
}

TEST_CASE("a shared port serves each destination once: more sessions than ports, and each answer finds its own host") {
    for (world_of const w : both_families()) {
        nat_lab l(w, with(w, [](snat_rule& r) { r.mapping = nat_mapping::address_and_port_dependent, r.share_ports = true; }, {2000, 2001}));
        for (unsigned server = 1; server <= 50; ++server)
            for (unsigned client = 1; client <= 2; ++client) {
                end const e = l.mapped(w.inside(client, 4000), w.outside(server, 53));
                CHECK(e.port <= 2001);
                CHECK(destination_of(l.passes(l.udp(side::outside, w.outside(server, 53), e))) == w.inside(client, 4000));
            }
        CHECK(l.proxy().flows_now() == 100);
        CHECK(l.udp(side::inside, w.inside(3, 4000), w.outside(7, 53)).reason == drop_reason::nat_ports_exhausted);
        CHECK(l.udp(side::outside, w.outside(99, 53), w.pool(1, 2000)).reason == drop_reason::nat_no_mapping);
    }
}

TEST_CASE("the inside port is preserved where that is asked for and possible, its parity kept (RFC 4787 section 4.2.1, REQ-4)") {
    world_of const w;
    nat_lab l(w, with(w, [](snat_rule& r) { r.ports.preserve = r.ports.keep_parity = true; }));
    CHECK(l.mapped(w.inside(5, 4000), w.outside(9, 53)) == w.pool(1, 4000));
    end const second = l.mapped(w.inside(6, 4000), w.outside(9, 53));
    CHECK(second.port != 4000);
    CHECK(second.port % 2 == 0);
    CHECK(l.mapped(w.inside(6, 1024), w.outside(9, 53)) == w.pool(1, 1024));
    CHECK(l.mapped(w.inside(6, 65'535), w.outside(9, 53)) == w.pool(1, 65'535));
    CHECK(l.mapped(w.inside(6, 999), w.outside(9, 53)).port % 2 == 1);
}

TEST_CASE("an inside address has one pool address for all its flows, and hosts are spread over the pool (RFC 4787 REQ-2)") {
    for (world_of const w : both_families()) {
        nat_lab l(w, with(w, [&](snat_rule& r) { r.pool = {prefix_of(w.pool(0), 3)}; }));
        std::map<byte_string, int> hosts;
        for (unsigned n = 1; n <= 200; ++n) {
            end const e = l.mapped(w.inside(n, 4000), w.outside(9, 53));
            ++hosts[e.address];
            if (n <= 20) CHECK(l.mapped(w.inside(n, 4001), w.outside(8, 53)).address == e.address);
        }
        CHECK(hosts.size() == 8);
        for (auto const& [address, count] : hosts) CHECK(count > 8);  // expected 25, deviation 5
    }
}

TEST_CASE("a paired pool has no port for a host whose address has none, although another has") {
    world_of const w;
    auto const two_addresses = [&](bool paired) { return with(w, [&](snat_rule& r) { r.pool = {prefix_of(w.pool(0), 1)}, r.paired = paired; }, {2000, 2001}); };
    nat_lab paired(w, two_addresses(true)), free(w, two_addresses(false));
    for (unsigned n = 0; n < 4; ++n) {
        CHECK((paired.udp(side::inside, w.inside(5, 4000 + n), w.outside(9, 53)).reason == drop_reason::none) == (n < 2));
        CHECK(free.udp(side::inside, w.inside(5, 4000 + n), w.outside(9, 53)).reason == drop_reason::none);
    }
    CHECK(free.udp(side::inside, w.inside(5, 4004), w.outside(9, 53)).reason == drop_reason::nat_ports_exhausted);
}

TEST_CASE("deterministic NAT: who has which ports follows from the address alone; who has no block is refused (RFC 7422)") {
    for (world_of const w : both_families()) {
        nat_config const nat = with(w, [&](snat_rule& r) {
            r.from = prefix_of(w.inside(0), 5);
            r.pool = {prefix_of(w.pool(0), 1)};
            r.block_ports = 100;
        }, {1000, 2599});
        REQUIRE_FALSE(fault_of_snat(nat, 0));
        nat_lab l(w, nat);
        for (unsigned n : {0u, 1u, 15u, 16u, 31u})
            for (unsigned session = 0; session < 3; ++session) {
                end const e = l.mapped(w.inside(n, 4000 + session), w.outside(9, 53));
                CHECK(e.address == w.pool(n / 16).address);
                CHECK((e.port - 1000) / 100 == n % 16);
            }
    }
    world_of const w;
    nat_lab few(w, with(w, [](snat_rule& r) { r.block_ports = 20'000; }));
    CHECK(few.udp(side::inside, w.inside(2, 4000), w.outside(9, 53)).reason == drop_reason::none);
    CHECK(few.udp(side::inside, w.inside(3, 4000), w.outside(9, 53)).reason == drop_reason::nat_no_block);
}

TEST_CASE("a protocol without ports is translated by address: one inside host for each remote one") {
    for (world_of const w : both_families()) {
        nat_lab l(w, napt(w));
        CHECK(l.passes(l.ip(side::inside, gre_datagram(w.inside(5), w.outside(9)))).source == w.pool(1).address);
        CHECK(l.passes(l.ip(side::outside, gre_datagram(w.outside(9), w.pool(1)))).destination == w.inside(5).address);
        CHECK(l.ip(side::inside, gre_datagram(w.inside(6), w.outside(9))).reason == drop_reason::nat_ports_exhausted);
        l.passes(l.ip(side::inside, gre_datagram(w.inside(6), w.outside(8))));
        CHECK(l.passes(l.ip(side::outside, gre_datagram(w.outside(8), w.pool(1)))).destination == w.inside(6).address);
        CHECK(l.ip(side::outside, gre_datagram(w.outside(7), w.pool(1))).reason == drop_reason::nat_no_mapping);
    }
}

TEST_CASE("two shards give ports of their own slices, so that none is given twice and an answer tells its shard") {
    world_of const w;
    std::set<unsigned> ports;
    for (std::uint32_t shard = 0; shard < 2; ++shard) {
        nat_config nat = napt(w, {2000, 2009});
        nat.shards = 2;
        nat.shard = shard;
        nat_lab l(w, nat);
        for (unsigned n = 0; n < 5; ++n) {
            end const e = l.mapped(w.inside(5, 4000 + n), w.outside(9, 53));
            CHECK(shard_of_port({2000, 2009}, static_cast<std::uint16_t>(e.port), 2) == shard);
            CHECK(ports.insert(e.port).second);
        }
        CHECK(l.udp(side::inside, w.inside(5, 4005), w.outside(9, 53)).reason == drop_reason::nat_ports_exhausted);
    }
}

TEST_CASE("the first rule that matches decides, by source, destination, protocol and side; what none matches stays as it is") {
    world_of const w;
    nat_config nat = napt(w);
    nat.snat.insert(nat.snat.begin(), nat.snat[0]);
    nat.snat[0].to = prefix_of(w.outside(7));
    nat.snat[0].pool = {prefix_of(w.pool(2))};
    nat.snat[1].protocol = ip_protocol::udp;
    nat_lab l(w, nat);
    CHECK(l.mapped(w.inside(5, 4000), w.outside(7, 53)).address == w.pool(2).address);
    CHECK(l.mapped(w.inside(5, 4000), w.outside(9, 53)).address == w.pool(1).address);
    segment const syn{.seq = 100, .flags = flags::syn, .window = 1000};
    CHECK(source_of(l.passes(l.tcp(side::inside, w.inside(5, 4000), w.outside(9, 80), syn))) == w.inside(5, 4000));
    CHECK(source_of(l.passes(l.udp(side::outside, w.outside(9, 4000), w.inside(5, 53)))) == w.outside(9, 4000));
}

TEST_CASE("hosts of different VLANs have different mappings though their addresses are the same") {
    world_of const w;
    nat_lab l(w, napt(w));
    auto const in_vlan = [&](side at, unsigned vlan_id, byte_string const& datagram) { return l.sends(at, ethernet(datagram, {{0x8100, vlan_id}})); };
    end const a = source_of(l.passes(in_vlan(side::inside, 10, udp_datagram(w.inside(5, 4000), w.outside(9, 53)))));
    end const b = source_of(l.passes(in_vlan(side::inside, 20, udp_datagram(w.inside(5, 4000), w.outside(9, 53)))));
    CHECK(a != b);
    CHECK(destination_of(l.passes(in_vlan(side::outside, 20, udp_datagram(w.outside(9, 53), b)))) == w.inside(5, 4000));
    CHECK(in_vlan(side::outside, 10, udp_datagram(w.outside(9, 53), b)).reason == drop_reason::nat_no_mapping);
}

TEST_CASE("more mappings than the table holds: the longest lingering gives way, without any nat_table_full says so") {
    world_of const w;
    nat_config nat = napt(w);
    nat.bindings_v4 = 2;
    nat_lab l(w, nat);
    l.mapped(w.inside(1, 4000), w.outside(9, 53));
    l.mapped(w.inside(2, 4000), w.outside(9, 53));
    CHECK(l.udp(side::inside, w.inside(3, 4000), w.outside(9, 53)).reason == drop_reason::nat_table_full);
    CHECK(l.ports_held(17) == 2);  // the port that was tried came back
    l.after(31'000);               // both flows are over, their mappings linger
    l.mapped(w.inside(3, 4000), w.outside(9, 53));
    CHECK(l.plan().bindings<std::uint32_t>().cut_short() == 1);
    CHECK(l.ports_held(17) == 2);
}

TEST_CASE("a pool tells when its marks are crossed") {
    world_of const w;
    nat_config nat = with(w, [](snat_rule& r) { r.ports.high_percent = 80, r.ports.low_percent = 20; }, {2000, 2009});
    nat.linger.udp = 0;
    nat_lab l(w, nat);
    std::vector<nat_event> events;
    auto const take = [&] { l.proxy().policies().addresses.take_events([&](nat_event const& e) { events.push_back(e); }); };
    for (unsigned n = 0; n < 10; ++n) l.mapped(w.inside(5, 4000 + n), w.outside(9, 53));
    take();
    REQUIRE(events.size() == 1);
    CHECK(events[0].ports.pressure);
    CHECK(events[0].ports.taken == 8);
    CHECK(events[0].protocol == 17);
    l.after(31'000);
    take();
    REQUIRE(events.size() == 2);
    CHECK_FALSE(events[1].ports.pressure);
    CHECK(events[1].ports.taken == 2);
    CHECK(l.plan().counters().mappings_ended == 10);
}
