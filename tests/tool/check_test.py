# SPDX-License-Identifier: BSL-1.0
"""`halfproxy check`: what it prints reads back to the same, and every refusal names file, line and key."""
import json
import re
import unittest

from tool_support import SOURCE, ToolTest, run

SECRET = "00112233445566778899aabbccddeeff"

EVERYTHING = """
preset = "adc"
[io]
outside = "eth \\"0\\""
inside = "eth1"
shards = 1
ring_slots = 64
spin_us = 0
[guard]
mode = "auto"
method = "challenge_reset"
reset_by = "proxy"
sides = "both"
expected_connections_per_s = 5000
half_open_on = 100
half_open_off = 10
half_open_max = 200
syn_rate_on = "never"
unanswered_s = 1.5
exempt_s = 60
min_active_s = 0.25
allow = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"]
mss = 1400
timestamps = false
server_retries = 1
[guard.inside]
half_open_on = 50
half_open_off = 40
[guard.service]
buckets = 64
syn_rate_on = 30_000
[splice]
invalid_ack = "reset"
resets_per_s = 7
defer = true
held_segments = 100
held_bytes = 1600
held_per_connection = 2
learned_servers = 64
learned_age_s = 1.5
[[splice.backend]]
address = "192.0.2.80"
port = 80
mss = 8960
window_scaling = "yes"
window_scale = 9
sack = "no"
[[splice.backend]]
address = "2001:db8::80"
port = 443
timestamps = "no"
ecn = "yes"
[tracking]
strictness = "strict"
pickup = "data_only"
asymmetric = true
denied_sessions = "end"
check_timestamps = false
check_syn_synchronized = true
[timeouts]
established = "never"
closed = 1.5
fragment = 7
udp_new = 121
udp_replied = 301
icmp = 61
other_new = 122
other_replied = "never"
[limits]
flows_v6 = 0
source_half_open = 50
source_flows = 2000
source_new_flows_per_s = "never"
fragment_datagrams = 33
fragments_waiting = 17
fragment_bytes = 9100
tunnel_pieces = 99
tunnel_piece_bytes = 9200
too_big_per_s = 10
[normalize]
malformed = "pass"
fragments = "pass"
fast_open = "strip"
mss_floor = 400
mss_ceiling = 1400
mss6_ceiling = 1380
[nat64]
prefix = "2001:db8:64::/48"
hosts = "198.18.0.0/16"
most_hosts = 1000
host_idle = "never"
side = "outside"
mtu_v6 = 9000
[[nptv6]]
inside = "fd01:203:405::/48"
outside = "2001:db8:1::/48"
[[rule]]
action = "deny"
from = "192.0.2.0/24"
proto = "tcp"
ports = "1024-2000"
[[rule]]
action = "fast"
proto = 47
[[rule]]
action = "reset"
to = "2001:db8::1"
proto = 17
ports = 53
[nat]
hairpin = true
linger_udp_s = 60
mappings_v4 = 5000
[[static]]
inside = "10.0.0.64/28"
outside = "203.0.113.64/28"
[[dnat]]
to = "203.0.113.1"
proto = "tcp"
ports = "2000-2009"
target = "10.0.0.80"
target_ports = "3000-3009"
[[dnat]]
clients = "inside"
proto = "udp"
ports = 53
target = "198.51.100.53"
[[snat]]
from = "10.0.0.0/24"
to = "198.51.100.0/24"
proto = "udp"
pool = ["203.0.113.2", "203.0.113.4/30"]
ports = "2000-60000"
mapping = "address_and_port_dependent"
share_ports = true
paired = false
quarantine_s = 60
quarantined = 1000
order = "sequential"
high_percent = 70
low_percent = 60
[[snat]]
from = "2001:db8:1::/120"
pool = ["2001:db8:2::/126"]
filtering = "endpoint_independent"
block_ports = 1000
preserve = true
parity = true
[services]
persistent_clients = 5000
[[service]]
address = "203.0.113.80"
port = 443
scheduler = "maglev"
table_size = 65537
client_option = 253
persistence_s = 300
persistence_prefix4 = 24
persistence_prefix6 = 56
persistence_group = 7
slow_start_s = 30
passive_failures = 5
first_inhibition_s = 2
longest_inhibition_s = 60
least_ready = 2
[[service.backend]]
address = "10.0.0.91"
port = 8443
weight = 3
connections = 10_000
new_connections_per_s = 500
[[service.backend]]
address = "10.0.0.92"
priority = 1
[[service]]
address = "203.0.113.80"
port = "8000-8099"
proto = "udp"
mode = "dsr"
scheduler = "first_alive"
[[service.backend]]
address = "10.0.0.91"
mac = "02:00:00:0A:00:91"
[[service]]
address = "203.0.113.81"
mode = "ipip"
encapsulation = "gue"
tunnel_source = "10.0.0.254"
tunnel_source6 = "2001:db8::254"
tunnel_mtu = 1400
gue_port = 6081
clamp_mss = false
[[service.backend]]
address = "10.0.0.93"
[[service.backend]]
address = "2001:db8::93"
"""


ROUTED = """
[io]
mode = "routed"
unreachable = "drop"
icmp_per_s = 50
neighbours = 256
neighbour_reachable_s = 1.5
neighbour_waiting = 8
[[io.address]]
port = "outside"
address = "192.0.2.1/24"
[[io.address]]
port = "inside"
address = "198.51.100.1/24"
[[io.address]]
port = "inside"
address = "fe80::1/64"
[[io.address]]
port = "outside"
address = "fe80::1/64"
[[io.route]]
to = "0.0.0.0/0"
via = "192.0.2.254"
[[io.route]]
to = "2001:db8::/32"
via = "fe80::9"
port = "inside"
[[service]]
address = "192.0.2.80"
port = 80
on_down = "reset"
[service.health]
kind = "http"
interval_s = 0.5
timeout_s = 0.25
jitter_percent = 20
rise = 4
fall = 5
flap_window_s = 90
first_hold_s = 6
longest_hold_s = 120
path = "/health?deep"
host = "www.example.org"
status = "200-204"
body = "all is \\"well\\""
[[service.backend]]
address = "198.51.100.80"
port = 8080
[[service]]
address = "192.0.2.80"
port = "any"
proto = "udp"
on_down = "move"
health = { kind = "udp", port = 53, send = "are you there\\u0000", expect = "yes" }
[[service.backend]]
address = "198.51.100.81"
[[service]]
address = "192.0.2.81"
port = "any"
health = { kind = "icmp" }
[[service.backend]]
address = "198.51.100.82"
"""


ONE_SERVICE = '[[service]]\naddress = "203.0.113.80"\nport = 80\n'
ONE_BACKEND = '[[service.backend]]\naddress = "10.0.0.1"\n'
ONE_WAY = '[guard]\nmode = "off"\n[tracking]\nasymmetric = "detect"\n' + ONE_SERVICE


class Check(ToolTest):
    def check(self, text):
        return run("check", "--config", self.write("c.toml", text))

    def effective(self, text):
        result = self.check(text)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_what_is_printed_reads_back_to_the_same(self):
        for text in ["", EVERYTHING, ROUTED, 'preset = "firewall"\n']:
            once = self.effective(text)
            self.assertEqual(self.effective(once), once)

    def test_given_values_are_in_effect(self):
        lines = self.effective(EVERYTHING).splitlines()
        for line in ['outside = "eth \\"0\\""', "spin_us = 0", 'mode = "auto"', "min_active_s = 0.250", 'method = "challenge_reset"', 'reset_by = "proxy"', 'sides = "both"', "half_open_max = 200",
                     'syn_rate_on = "never"', "syn_rate_off = 20000", "exempt_s = 60", "[guard.inside]", "half_open_on = 50", "buckets = 64",
                     "syn_rate_on = 30000", "unanswered_s = 1.500", "mss = 1400",
                     'allow = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1/32"]', 'established = "never"', "closed = 1.500",
                     "flows_v6 = 0", 'strictness = "strict"', "asymmetric = true", 'denied_sessions = "end"', "check_timestamps = false", "check_overshoot = true",
                     "check_syn_synchronized = true", "source_half_open = 50", "source_flows = 2000", 'source_new_flows_per_s = "never"', 'malformed = "pass"', 'fast_open = "strip"', 'ports = "1024-2000"', 'proto = "47"', 'proto = "udp"',
                     'to = "2001:db8::1/128"', 'ports = "53"', "server_retries = 1", 'invalid_ack = "reset"', "resets_per_s = 7", "defer = true", "held_segments = 100", "held_bytes = 1600",
                     "held_per_connection = 2", "learned_servers = 64", "learned_age_s = 1.500", "[[splice.backend]]", 'address = "192.0.2.80"',
                     'address = "2001:db8::80"', "mss = 8960", "window_scale = 9", 'window_scaling = "yes"', 'sack = "no"', 'timestamps = "no"',
                     'ecn = "yes"', "mss_floor = 400", "mss_ceiling = 1400", "mss6_ceiling = 1380", "window_scaling = true", "fragment = 7", "udp_new = 121", "udp_replied = 301", "icmp = 61", "other_new = 122", 'other_replied = "never"', "fragment_datagrams = 33", "fragments_waiting = 17",
                     "fragment_bytes = 9100", 'fragments = "pass"',
                     "hairpin = true", "linger_udp_s = 60", "mappings_v4 = 5000", "[[static]]", 'inside = "10.0.0.64/28"', 'outside = "203.0.113.64/28"',
                     "[[dnat]]", 'target = "10.0.0.80"', 'target_ports = "3000-3009"', 'clients = "inside"', "[[snat]]",
                     'pool = ["203.0.113.2/32", "203.0.113.4/30"]', 'ports = "2000-60000"', 'mapping = "address_and_port_dependent"',
                     "share_ports = true", "paired = false", "quarantine_s = 60", "quarantined = 1000", 'order = "sequential"', "high_percent = 70",
                     "low_percent = 60", 'filtering = "endpoint_independent"', "block_ports = 1000", "preserve = true", "parity = true", "persistent_clients = 5000",
                     "[[service]]", 'port = "443"', 'scheduler = "maglev"', "table_size = 65537", "persistence_s = 300", "persistence_prefix4 = 24",
                     "persistence_prefix6 = 56", "persistence_group = 7", "slow_start_s = 30", "passive_failures = 5", "first_inhibition_s = 2",
                     "longest_inhibition_s = 60", "least_ready = 2", "[[service.backend]]", 'address = "10.0.0.91"', "port = 8443", "weight = 3",
                     "connections = 10000", "new_connections_per_s = 500", "priority = 1", 'port = "8000-8099"', 'mode = "dsr"',
                     'scheduler = "first_alive"', 'mac = "02:00:00:0a:00:91"',
                     "client_option = 253", 'encapsulation = "gue"', 'tunnel_source = "10.0.0.254"', 'tunnel_source6 = "2001:db8::254"', "tunnel_mtu = 1400",
                     "gue_port = 6081", "clamp_mss = false", 'address = "2001:db8::93"', "tunnel_pieces = 99", "tunnel_piece_bytes = 9200", "too_big_per_s = 10",
                     'prefix = "2001:db8:64::/48"', 'hosts = "198.18.0.0/16"', "most_hosts = 1000", 'host_idle = "never"', 'side = "outside"', "mtu_v4 = 1500", "mtu_v6 = 9000",
                     "[[nptv6]]", 'inside = "fd01:203:405::/48"', 'outside = "2001:db8:1::/48"']:
            self.assertIn(line, lines)

    def test_a_routed_configuration_is_in_effect_and_its_ports_need_not_be_promiscuous(self):
        lines = self.effective(ROUTED).splitlines()
        for line in ['mode = "routed"', "promiscuous = false", 'unreachable = "drop"', "icmp_per_s = 50", "neighbours = 256", "neighbour_reachable_s = 1.500",
                     "neighbour_waiting = 8", "[[io.address]]", 'address = "192.0.2.1/24"', 'address = "fe80::1/64"', "[[io.route]]", 'to = "0.0.0.0/0"',
                     'via = "192.0.2.254"', 'via = "fe80::9"']:
            self.assertIn(line, lines)
        self.assertEqual(lines.count('port = "inside"'), 3)
        for line in ['on_down = "reset"', "[service.health]", 'kind = "http"', "interval_s = 0.500", "timeout_s = 0.250", "jitter_percent = 20", "rise = 4", "fall = 5",
                     "flap_window_s = 90", "first_hold_s = 6", "longest_hold_s = 120", 'path = "/health?deep"', 'host = "www.example.org"', 'status = "200-204"',
                     'body = "all is \\"well\\""', 'on_down = "move"', 'kind = "udp"', "port = 53", 'send = "are you there\\u0000"', 'expect = "yes"', 'kind = "icmp"',
                     "interval_s = 5", "timeout_s = 2", "jitter_percent = 10", "rise = 2", "fall = 3", 'status = "200-399"', 'path = "/"', 'on_down = "leave"']:
            self.assertIn(line, lines)
        self.assertIn("promiscuous = true", self.effective(ROUTED.replace("unreachable", "promiscuous = true\nunreachable")).splitlines())

    def test_routed_services_and_hairpins_follow_from_addresses_and_routes(self):
        two = '[io]\nmode = "routed"\nrouted_here = ["203.0.113.0/24"]\n' + ''.join(
            f'[[io.address]]\nport = "{port}"\naddress = "{a}"\n' for port, a in [("outside", "192.0.2.1/24"), ("inside", "198.51.100.1/24"), ("inside", "2001:db8::1/64")])
        two += '[[io.route]]\nto = "10.0.0.0/8"\nvia = "198.51.100.9"\n[guard]\nmode = "off"\n[tracking]\nasymmetric = "detect"\n'
        services = ''.join(f'[[service]]\naddress = "203.0.113.{n}"\nmode = "{mode}"\n[[service.backend]]\naddress = "{backend}"\n' for n, (mode, backend) in enumerate(
            [("dsr", "198.51.100.80"), ("transparent", "192.0.2.80"), ("ipip", "10.0.0.80"), ("ipip", "2001:db8::80"), ("dnat", "192.0.2.81")], 1))
        lines = self.effective(two + services).splitlines()
        for line in ["hairpin = true", 'routed_here = ["203.0.113.0/24"]', 'tunnel_source = "198.51.100.1"', 'tunnel_source6 = "2001:db8::1"']:
            self.assertIn(line, lines)
        self.assertIn("hairpin = false", self.effective(two + "[nat]\nhairpin = false\n").splitlines())
        self.assertIn("hairpin = false", self.effective("").splitlines())

    def test_a_routing_that_cannot_work_is_refused_with_line_and_key(self):
        def address(port, text):
            return f'[[io.address]]\nport = "{port}"\naddress = "{text}"\n'
        two = '[io]\nmode = "routed"\n' + address("outside", "192.0.2.1/24") + address("inside", "198.51.100.1/24")
        def service(address, backend, rest="", above="", mode="dsr"):
            also = '[tracking]\nasymmetric = true\n[guard]\nmode = "off"\n' if mode == "dsr" else ""
            return f'[[service]]\naddress = "{address}"\nmode = "{mode}"\n{above}[[service.backend]]\naddress = "{backend}"\n{rest}\n{also}'
        route = lambda to, via, rest="": f'[[io.route]]\nto = "{to}"\nvia = "{via}"\n{rest}'
        for text, line, key, words in [
            ('[io]\nmode = "routed"', 2, "io.mode", 'on port "outside"'),
            ('[io]\nmode = "routed"\n' + address("outside", "192.0.2.1/24"), 2, "io.mode", '"inside"'),
            (address("outside", "192.0.2.1/24"), 1, "io.address", 'mode = "routed"'),
            (route("0.0.0.0/0", "192.0.2.9"), 2, "io.route.to", "no prefix of a port"),
            (two + address("outside", "192.0.2.1/24"), 11, "io.address.address", "given twice"),
            (two + address("outside", "198.51.100.9/24"), 11, "io.address.address", "on the other port"),
            (two + address("outside", "10.0.0.1"), 11, "io.address.address", "length of its prefix"),
            (two + address("outside", "10.0.0.1/33"), 11, "io.address.address", "from 0 to 32"),
            (two + address("outside", "10.0.0.255/24"), 11, "io.address.address", "broadcast"),
            (two + address("outside", "224.0.0.1/24"), 11, "io.address.address", "one host can have"),
            (two + address("middle", "10.0.0.1/24"), 10, "io.address.port", "outside|inside"),
            (two + '[[io.address]]\nport = "inside"\n', 9, "io.address.address", "is missing"),
            (two + route("10.0.0.0/8", "203.0.113.1"), 10, "io.route.to", "no prefix of a port"),
            (two + route("10.0.0.0/8", "192.0.2.1"), 10, "io.route.to", "address of this machine"),
            (two + route("any", "192.0.2.9"), 10, "io.route.to", "no family"),
            (two + route("::/0", "192.0.2.9"), 10, "io.route.to", "another address family"),
            (two + route("10.0.0.0/8", "192.0.2.9", 'port = "inside"\n'), 10, "io.route.to", "no prefix of a port"),
            (two + route("10.0.0.0/8", "192.0.2.9") + route("10.0.0.0/8", "192.0.2.8"), 13, "io.route.to", "given twice"),
            (two + address("outside", "fe80::1/64") + address("inside", "fe80::1/64") + route("::/0", "fe80::9"), 16, "io.route.to", "say which port"),
            (two + '[[io.route]]\nto = "10.0.0.0/8"\n', 9, "io.route.via", "is missing"),
            (two + service("192.0.2.80", "198.51.100.2", 'mac = "02:00:00:00:00:01"'), 14, "service.backend.mac", "found by their addresses"),
            (two + service("203.0.113.80", "198.51.100.2"), 10, "service.address", "no prefix of [[io.address]]"),
            (two + service("192.0.2.80", "203.0.113.2"), 13, "service.backend.address", "no [[io.route]]"),
            (two + route("203.0.113.0/24", "198.51.100.9") + service("192.0.2.80", "203.0.113.2"), 16, "service.backend.address", "next hop"),
            (two + '[guard]\nmode = "always"\n' + service("192.0.2.80", "192.0.2.81", mode="transparent"), 15, "service.backend.address", "where the clients are"),
            (two + service("192.0.2.80", "192.0.2.81", above="proxy_protocol = \"v2\"\n", mode="dnat"), 14, "service.backend.address", "no proxy_protocol"),
            (two + '[[snat]]\nclients = "inside"\npool = ["203.0.113.0/30"]\n', 11, "snat.pool", "no prefix of [[io.address]]"),
            (two + '[[snat]]\npool = ["192.0.2.4/30", "192.0.2.252/30"]\n', 10, "snat.pool", "broadcast"),
            ('[io]\nrouted_here = ["203.0.113.0/24"]\n', 2, "io.routed_here", 'mode = "routed"'),
            (two.replace("[[io.address]]", "neighbours = 15\n[[io.address]]", 1), 3, "io.neighbours", "from 16 to"),
            (two.replace("[[io.address]]", "neighbour_reachable_s = 0\n[[io.address]]", 1), 3, "io.neighbour_reachable_s", "seconds from 1"),
            (two.replace("[[io.address]]", 'unreachable = "rst"\n[[io.address]]', 1), 3, "io.unreachable", "icmp|drop"),
        ]:
            with self.subTest(text):
                self.assert_refused(self.check(text), f"c.toml:{line}: {key}: ", words)

    def test_a_health_check_that_cannot_work_is_refused_with_line_and_key(self):
        routed = '[io]\nmode = "routed"\n[[io.address]]\nport = "outside"\naddress = "192.0.2.1/24"\n[[io.address]]\nport = "inside"\naddress = "198.51.100.1/24"\n'

        def service(health, backend="198.51.100.80", before="", port="80", rest=""):
            return f'{routed}[[service]]\naddress = "192.0.2.80"\nport = {port}\n{before}[service.health]\n{health}[[service.backend]]\naddress = "{backend}"\n{rest}'
        http, tcp, udp, icmp = (f'kind = "{kind}"\n' for kind in ("http", "tcp", "udp", "icmp"))
        for text, line, key, words in [
            (service(""), 12, "service.health.kind", "tcp|http|icmp|udp"),
            (service('kind = "smtp"\n'), 13, "service.health.kind", "tcp|http|icmp|udp"),
            (service(tcp + "interval_s = 0.04\n"), 14, "service.health.interval_s", "0.05"),
            (service(tcp + "interval_s = 3601\n"), 14, "service.health.interval_s", "3600"),
            (service(tcp + "timeout_s = 0\n"), 14, "service.health.timeout_s", "0.02"),
            (service(tcp + "jitter_percent = 51\n"), 14, "service.health.jitter_percent", "50"),
            (service(tcp + "rise = 0\n"), 14, "service.health.rise", "from 1"),
            (service(tcp + "fall = 0\n"), 14, "service.health.fall", "from 1"),
            (service(tcp + "first_hold_s = 301\n"), 12, "service.health.longest_hold_s", "first_hold_s"),
            (service(tcp + "port = 65536\n"), 14, "service.health.port", "65535"),
            (service(icmp + "port = 80\n"), 14, "service.health.port", "icmp"),
            (service(tcp + 'path = "/x"\n'), 14, "service.health.path", "http"),
            (service(tcp + 'body = "x"\n'), 14, "service.health.body", "http"),
            (service(udp + 'status = 200\n'), 14, "service.health.status", "http"),
            (service(http + 'send = "x"\n'), 14, "service.health.send", "udp"),
            (service(http + 'path = "health"\n'), 14, "service.health.path", 'begin with "/"'),
            (service(http + 'path = "/a b"\n'), 14, "service.health.path", "%20"),
            (service(http + 'host = "a\\nb"\n'), 14, "service.health.host", "control"),
            (service(http + "status = 99\n"), 14, "service.health.status", "from 100 to 599"),
            (service(http + 'status = "300-200"\n'), 14, "service.health.status", "from 100 to 599"),
            (service(http + 'status = "ok"\n'), 14, "service.health.status", "from 100 to 599"),
            (service(http + f'body = "{"x" * 129}"\n'), 14, "service.health.body", "128"),
            (service(udp + f'send = "{"x" * 129}"\n'), 14, "service.health.send", "128"),
            (service(tcp + "every_s = 5\n"), 14, "service.health.every_s", "known here"),
            (service(tcp, port='"any"'), 12, "service.health", "needs a port"),
            (service(tcp, backend="203.0.113.80"), 15, "service.backend.address", "route"),
            (service(tcp, backend="192.0.2.90"), 12, "service.health", 'port "inside"'),
            (service(tcp)[len(routed):], 4, "service.health", 'mode = "routed"'),
            (routed + '[[service]]\naddress = "192.0.2.80"\nport = 80\non_down = "reset"\n[[service.backend]]\naddress = "198.51.100.80"\n', 12, "service.on_down", "[service.health]"),
            (service(tcp, before='on_down = "drain"\n'), 12, "service.on_down", "leave|reset|move"),
        ]:
            with self.subTest(text):
                self.assert_refused(self.check(text), f"c.toml:{line}: {key}: ", words)
        self.assertIn("port = 443", self.effective(service(tcp + "port = 443\n", port='"any"')).splitlines())

    def test_a_server_can_be_told_who_its_clients_are(self):
        lines = self.effective('[[splice.backend]]\naddress = "192.0.2.80"\nport = 80\nproxy_protocol = "v1"\n').splitlines()
        self.assertIn('proxy_protocol = "v1"', lines)

    def test_the_preset_decides_timeouts_that_are_not_given(self):
        self.assertIn("established = 86400", self.effective("").splitlines())
        adc = self.effective('[timeouts]\nclosed = 9\n').replace("closed = 9", "closed = 10")
        self.assertEqual(adc, self.effective(""))
        lines = self.effective('preset = "adc"\n[timeouts]\nclosed = 9\n').splitlines()
        self.assertIn("established = 300", lines)
        nat = self.effective('preset = "adc"\n[timeouts]\nclosed = 9\n[[snat]]\npool = ["203.0.113.1"]\n').splitlines()
        for line in ["established = 7440", "closed = 9", "time_wait = 240", "udp_new = 120", "icmp = 60"]:  # the RFCs' floors for translated flows
            self.assertIn(line, nat)
        self.assertIn("closed = 9", lines)

    def test_strictness_decides_checks_that_are_not_given_and_each_can_be_given_besides(self):
        tracking = lambda text: re.search(r"(?ms)^\[tracking\]\n(.*?)^\[", self.effective(text)).group(1).splitlines()
        self.assertIn("check_seq_below = false", tracking(""))
        self.assertIn("check_seq_below = true", tracking('[tracking]\nstrictness = "strict"\n'))
        lines = tracking('[tracking]\nstrictness = "off"\ncheck_ack_above = true\n')
        self.assertIn("check_ack_above = true", lines)
        self.assertIn("check_seq_above = false", lines)
        for word in ["false", "true", '"detect"']:
            self.assertIn(f"asymmetric = {word}", tracking(f"[tracking]\nasymmetric = {word}\n"))

    def test_one_number_decides_the_guards_marks_and_each_can_be_given_besides(self):
        guard = lambda text: re.search(r"(?ms)^\[guard\]\n(.*?)^\[", self.effective(text)).group(1).splitlines()
        lines = guard("[guard]\nexpected_connections_per_s = 2000\nsyn_rate_off = 1\n")
        for line in ["half_open_on = 2000", "half_open_off = 500", "syn_rate_on = 16000", "syn_rate_off = 1", 'syn_rate_max = "never"']:
            self.assertIn(line, lines)
        self.assertIn("half_open_on = 1024", guard(""))

    def test_the_exemption_not_given_follows_from_mode_and_method(self):
        for text, seconds in [('mode = "always"', 0), ('mode = "auto"', 30), ('mode = "always"\nmethod = "challenge_reset"', 30),
                              ('mode = "always"\nexempt_s = 5', 5)]:
            self.assertIn(f"exempt_s = {seconds}", self.effective(f"[guard]\n{text}\n").splitlines())

    def test_the_secret_is_never_shown(self):
        for text in [f'[guard]\nsecret = "{SECRET}"\n', '[guard]\nsecret_file = "key"\n']:
            self.write("key", SECRET + "\n")
            result = self.check(text)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertNotIn(SECRET[:8], result.stdout + result.stderr)
        self.assertIn("secret is set", self.effective(f'[guard]\nsecret = "{SECRET}"\n'))
        self.assertIn("none given", self.effective(""))

    def test_a_wrong_secret_is_not_repeated_in_the_message(self):
        wrong = SECRET[:-1] + "x"
        self.write("key", wrong)
        for text in [f'[guard]\nsecret = "{wrong}"\n', '[guard]\nsecret_file = "key"\n']:
            result = self.check(text)
            self.assert_refused(result, "c.toml:2: guard.secret", "32 hexadecimal digits")
            self.assertNotIn(SECRET[:8], result.stderr)

    def test_a_secret_file_is_looked_for_beside_the_configuration(self):
        self.write("key", SECRET)
        config = self.write("c.toml", '[guard]\nsecret_file = "key"\n')
        self.assertEqual(run("check", "--config", config, cwd="/").returncode, 0)

    def test_refusals_name_file_line_and_key(self):
        for text, line, key, words in [
            ("x = 1", 1, "x", "unknown key"),
            ('[guard]\nmode = "off"\nmod = "off"', 3, "guard.mod", "unknown key"),
            ('[[rule]]\naction = "deny"\nform = "any"', 3, "rule.form", "unknown key"),
            ('preset = "router"', 1, "preset", "firewall|adc"),
            ('[guard]\nmode = "sometimes"', 2, "guard.mode", "off|auto|always|monitor"),
            ("[guard]\nmode = 1", 2, "guard.mode", "off|auto|always|monitor"),
            ("[guard]\nhalf_open_on = 0", 2, "guard.half_open_on", "from 1 to 1000000000"),
            ("[guard]\nhalf_open_on = 1.5", 2, "guard.half_open_on", "integer"),
            ("[guard]\nhalf_open_on = 5\nhalf_open_off = 6", 3, "guard.half_open_off", "at most half_open_on"),
            ('[guard]\nhalf_open_on = "always"', 2, "guard.half_open_on", 'or "never"'),
            ("[guard]\nhalf_open_max = 5", 2, "guard.half_open_max", "at least half_open_on"),
            ("[guard]\nsyn_rate_on = 5\nsyn_rate_off = 6", 3, "guard.syn_rate_off", "at most syn_rate_on"),
            ("[guard]\nsyn_rate_max = 5", 2, "guard.syn_rate_max", "at least syn_rate_on"),
            ('[guard]\nmethod = "cookie"', 2, "guard.method", "splice|challenge_reset"),
            ('[guard]\nreset_by = "server"', 2, "guard.reset_by", "client|proxy"),
            ('[guard]\nsides = "left"', 2, "guard.sides", "outside|inside|both"),
            ('[guard]\nmethod = "challenge_reset"\nexempt_s = 0', 3, "guard.exempt_s", "nobody could ever connect"),
            ("[guard]\nexpected_connections_per_s = 0", 2, "guard.expected_connections_per_s", "from 1 to"),
            ("[guard]\nexempt_sources = 0", 2, "guard.exempt_sources", "from 1 to"),
            ("[guard]\nsyn_rate_slots = 0", 2, "guard.syn_rate_slots", "from 1 to"),
            ("[guard]\nsyn_rate_slot_ms = 0", 2, "guard.syn_rate_slot_ms", "from 1 to"),
            ("[guard]\nunanswered_s = -1", 2, "guard.unanswered_s", "seconds"),
            ("[guard.service]\nbuckets = -1", 2, "guard.service.buckets", "from 0 to"),
            ("[guard.inside]\nbuckets = 1", 2, "guard.inside.buckets", "unknown key"),
            ("[guard.outside]\nhalf_open_on = 5\nhalf_open_off = 6", 3, "guard.outside.half_open_off", "at most half_open_on"),
            ("[guard]\nwindow_scale = 15", 2, "guard.window_scale", "from 0 to 14"),
            ("[guard]\nsack = 1", 2, "guard.sack", "true or false"),
            ("[guard]\nrotate_s = 0", 2, "guard.rotate_s", "seconds from 1 to 60"),
            ("[guard]\n\nrotate_s = 61", 3, "guard.rotate_s", "seconds from 1 to 60, not 61"),
            ("[guard]\nrotate_s = 60.1", 2, "guard.rotate_s", "seconds from 1 to 60"),
            ('[splice]\ninvalid_ack = "answer"', 2, "splice.invalid_ack", "drop|reset"),
            ("[splice]\ndefer = 1", 2, "splice.defer", "true or false"),
            ("[splice]\nheld_bytes = 60", 2, "splice.held_bytes", "from 128 to"),
            ("[splice]\nheld_segments = -1", 2, "splice.held_segments", "from 0 to"),
            ("[splice]\nheld_per_connection = 65", 2, "splice.held_per_connection", "from 0 to 64"),
            ("[splice]\nlearned_servers = 0", 2, "splice.learned_servers", "from 1 to"),
            ("[splice]\nlearned_age_s = 0", 2, "splice.learned_age_s", "seconds from 1"),
            ('[[splice.backend]]\nport = 80', 1, "splice.backend.address", "is missing"),
            ('[[splice.backend]]\naddress = "192.0.2.1"', 1, "splice.backend.port", "is missing"),
            ('[[splice.backend]]\naddress = "192.0.2.0/24"\nport = 80', 2, "splice.backend.address", "neither an IPv4 nor an IPv6"),
            ('[[splice.backend]]\naddress = "::1"\nport = 80\nsack = true', 4, "splice.backend.sack", "unknown|no|yes"),
            ('[[splice.backend]]\naddress = "::1"\nport = 80\nwindow_scale = 3', 4, "splice.backend.window_scale", "window_scaling"),
            ('[[splice.backend]]\naddress = "::1"\nport = 80\nproxy_protocol = "v3"', 4, "splice.backend.proxy_protocol", "none|v1|v2"),
            ('[[splice.backend]]\naddress = "::1"\nport = 80\nproxy_protocol = "v2"\n[tracking]\nasymmetric = "detect"', 6, "tracking.asymmetric", "proxy_protocol"),
            ("[normalize]\nmss_ceiling = 87", 2, "normalize.mss_ceiling", "from 88 to"),
            ("[normalize]\nmss6_ceiling = 65536", 2, "normalize.mss6_ceiling", "from 88 to"),
            ("[normalize]\nmss_floor = 1000\nmss6_ceiling = 999", 2, "normalize.mss_floor", "at most mss_ceiling"),
            ("[guard]\nwindow_scaling = 7", 2, "guard.window_scaling", "true or false"),
            ("[splice]\nresets_per_s = -1", 2, "splice.resets_per_s", "from 0 to"),
            ("[guard]\ngrace_s = nan", 2, "guard.grace_s", "seconds"),
            ('[guard]\nallow = "10.0.0.0/8"', 2, "guard.allow", "list"),
            ('[guard]\nallow = ["10.0.0.0/33"]', 2, "guard.allow", "from 0 to 32"),
            ('[tracking]\nasymmetric = "perhaps"', 2, "tracking.asymmetric", "false|true|detect"),
            ('[guard]\nmode = "auto"\n[tracking]\nasymmetric = true', 4, "tracking.asymmetric", "both directions must pass"),
            ("[tracking]\ncheck_seq_above = 1", 2, "tracking.check_seq_above", "true or false"),
            ("[tracking]\ncheck_answer_seen = false", 2, "tracking.check_answer_seen", "unknown key"),
            ("[limits]\nflows_v4 = 4294967296", 2, "limits.flows_v4", "from 0 to"),
            ("[limits]\nsource_half_open = 0", 2, "limits.source_half_open", "from 1 to"),
            ("[limits]\nsource_new_flows_per_s = 1.5", 2, "limits.source_new_flows_per_s", "integer"),
            ("[limits]\nsource_buckets = 0", 2, "limits.source_buckets", "from 1 to"),
            ("[limits]\nflows_v4 = -1", 2, "limits.flows_v4", "from 0 to"),
            ('[timeouts]\nclosed = "soon"', 2, "timeouts.closed", '"never"'),
            ("[timeouts]\nestablished = 3000000", 2, "timeouts.established", "2073600"),
            ('[[rule]]\nfrom = "any"', 1, "rule.action", "allow|deny|reset|fast"),
            ('[[rule]]\naction = "deny"\nfrom = "10.0.0.1/8"', 3, "rule.from", '"10.0.0.0/8" was probably meant'),
            ('[[rule]]\naction = "deny"\nfrom = "example.net"', 3, "rule.from", "neither an IPv4 nor an IPv6"),
            ('[[rule]]\naction = "deny"\nfrom = "fe80::1%eth0"', 3, "rule.from", "neither an IPv4 nor an IPv6"),
            ('[[rule]]\naction = "deny"\nfrom = "10.0.0.0/8"\nto = "2001:db8::/32"', 4, "rule.to", "family"),
            ('[[rule]]\naction = "deny"\nproto = "tcp"\nports = "80-20"', 4, "rule.ports", "ends before"),
            ('[[rule]]\naction = "deny"\nproto = "tcp"\nports = 0', 4, "rule.ports", "from 1 to 65535"),
            ('[[rule]]\naction = "deny"\nports = 80', 3, "rule.ports", "proto"),
            ('[[rule]]\naction = "deny"\nproto = 256', 3, "rule.proto", "from 0 to 255"),
            ('[rule]\naction = "deny"', 1, "rule", "[[rule]]"),
            ('[[snat]]\nfrom = "any"', 1, "snat.pool", "is missing"),
            ('[[snat]]\npool = []', 2, "snat.pool", "is missing"),
            ('[[snat]]\npool = ["203.0.113.1"]\nports = "20-10"', 3, "snat.ports", "ends before"),
            ('[[snat]]\npool = ["203.0.113.1"]\n[[snat]]\nfrom = "any"\npool = ["203.0.113.0/30"]', 5, "snat.pool", "overlaps the pool of snat rule 1"),
            ('[[static]]\ninside = "10.0.0.1"\noutside = "203.0.113.1"\n[[snat]]\npool = ["203.0.113.0/30"]', 5, "snat.pool", "static rule 1"),
            ('[[snat]]\npool = ["203.0.113.1"]\nshare_ports = true', 3, "snat.share_ports", "address_and_port_dependent"),
            ('[[snat]]\npool = ["203.0.113.1"]\nmapping = "cone"', 3, "snat.mapping", "endpoint_independent|address_and_port_dependent"),
            ('[[snat]]\nfrom = "10.0.0.0/8"\npool = ["203.0.113.1"]\nblock_ports = 1000', 4, "snat.block_ports", "64 blocks"),
            ('[[static]]\ninside = "10.0.0.0/28"\noutside = "203.0.113.0/29"', 3, "static.outside", "not as large"),
            ('[[dnat]]\nto = "203.0.113.1"', 1, "dnat.target", "is missing"),
            ('[[dnat]]\nto = "203.0.113.1"\ntarget = "::1"', 2, "dnat.to", "family"),
            ('[[dnat]]\nto = "203.0.113.1"\nproto = "tcp"\nports = "1-9"\ntarget = "10.0.0.1"\ntarget_ports = "1-8"', 6, "dnat.target_ports", "one port"),
            ("[nat]\nhairpin = 1", 2, "nat.hairpin", "true or false"),
            (ONE_SERVICE + 'proxy_protocol = "v3"\n' + ONE_BACKEND, 4, "service.proxy_protocol", "none|v1|v2"),
            (ONE_SERVICE + 'mode = "transparent"\nproxy_protocol = "v1"\n' + ONE_BACKEND + 'mac = "02:00:00:00:00:01"\n', 5, "service.proxy_protocol", "dnat or fullnat"),
            ('[tracking]\nasymmetric = "detect"\n' + ONE_SERVICE + 'proxy_protocol = "v1"\n' + ONE_BACKEND, 6, "service.proxy_protocol", "both directions"),
            (ONE_SERVICE + 'client_option = 8\n' + ONE_BACKEND, 4, "service.client_option", "TCP ends use"),
            (ONE_SERVICE + 'client_option = 254\nproxy_protocol = "v1"\n' + ONE_BACKEND, 4, "service.client_option", "one of them"),
            (ONE_WAY + 'mode = "ipip"\n' + ONE_BACKEND, 10, "service.backend.address", "tunnel_source"),
            (ONE_WAY + 'mode = "ipip"\ntunnel_source = "::1"\n' + ONE_BACKEND, 9, "service.tunnel_source", "IPv4"),
            (ONE_WAY + 'mode = "ipip"\ntunnel_source = "10.0.0.1"\n' + ONE_BACKEND, 11, "service.backend.address", "tunnel's own source"),
            (ONE_WAY + 'mode = "ipip"\ntunnel_mtu = 595\n' + ONE_BACKEND, 9, "service.tunnel_mtu", "from 596"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\n', 1, "service.backend", "is missing"),
            ('[[service]]\nport = 80', 1, "service.address", "is missing"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\n[[service.backend]]\naddress = "10.0.0.1"\n[[service]]\naddress = "203.0.113.80"\nport = 80\n[[service.backend]]\naddress = "10.0.0.1"\n', 7, "service.address", "of an earlier service"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\n[[service.backend]]\naddress = "10.0.0.1"\n[[service]]\naddress = "203.0.113.80"\nport = "70-80"\n[[service.backend]]\naddress = "10.0.0.1"\n[[service]]\naddress = "203.0.113.80"\nport = "80-90"\n[[service.backend]]\naddress = "10.0.0.1"\n', 13, "service.port", "overlaps"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\n[[service.backend]]\naddress = "203.0.113.80"', 5, "service.backend.address", "virtual address"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\n[[service.backend]]\naddress = "10.0.0.1"\n[[service]]\naddress = "10.0.0.1"\n[[service.backend]]\naddress = "10.0.0.2"', 7, "service.address", "a backend's of an earlier service"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\n[[service.backend]]\naddress = "10.0.0.1"\nweight = 0', 4, "service.backend", "weight 0 everywhere"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\n[[service.backend]]\naddress = "2001:db8::1"', 5, "service.backend.address", "NAT64"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\n[[service.backend]]\naddress = "10.0.0.1"\n[[service.backend]]\naddress = "10.0.0.1"\n', 7, "service.backend.address", "earlier backend"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\nscheduler = "fair"\n[[service.backend]]\naddress = "10.0.0.1"\n', 4, "service.scheduler", "least_connections"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\ntable_size = 99\n[[service.backend]]\naddress = "10.0.0.1"\n', 4, "service.table_size", "maglev"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\nproto = "icmp"\n[[service.backend]]\naddress = "10.0.0.1"\n', 4, "service.proto", "udp"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\nmode = "fullnat"\n[[service.backend]]\naddress = "10.0.0.1"\n', 4, "service.mode", "[[snat]]"),
            ('[guard]\nmode = "off"\n[[service]]\naddress = "203.0.113.80"\nport = 80\nmode = "dsr"\n[[service.backend]]\naddress = "10.0.0.1"\n', 6, "service.mode", "tracking.asymmetric"),
            ('[guard]\nmode = "auto"\n[tracking]\nasymmetric = "detect"\n[[service]]\naddress = "203.0.113.80"\nport = 80\nmode = "dsr"\n[[service.backend]]\naddress = "10.0.0.1"\n', 8, "service.mode", "both directions must pass"),
            ('[guard]\nmode = "off"\n[tracking]\nasymmetric = "detect"\n[[service]]\naddress = "203.0.113.80"\nport = 80\nmode = "dsr"\n[[service.backend]]\naddress = "10.0.0.1"\n', 9, "service.backend.mac", "is missing"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\nmode = "transparent"\n[[service.backend]]\naddress = "10.0.0.1"\nmac = "2:0:0:0:0:1"', 7, "service.backend.mac", "Ethernet"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\npersistence_group = 1\n[[service.backend]]\naddress = "10.0.0.1"\n', 4, "service.persistence_group", "needs persistence"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\nfirst_inhibition_s = 9\nlongest_inhibition_s = 8\n[[service.backend]]\naddress = "10.0.0.1"\n', 5, "service.longest_inhibition_s", "at least"),
            ('[[service]]\naddress = "203.0.113.80"\nport = 80\n[[service.backend]]\naddress = "10.0.0.1"\nconnections = 0', 6, "service.backend.connections", "from 1"),
            ("guard = 3", 1, "guard", "[guard]"),
            ('[io]\noutside = ""', 2, "io.outside", "empty"),
            ("[io]\ntransmit_slots = 33", 2, "io.transmit_slots", "multiple of 32"),
            ("[io]\nring_slot_bytes = 66049", 2, "io.ring_slot_bytes", "multiple of 64"),
            ('[nat64]\nprefix = "64:ff9b::/95"', 2, "nat64.prefix", "RFC 6052"),
            ('[nat64]\nprefix = "192.0.2.0/24"', 2, "nat64.prefix", "RFC 6052"),
            ('[nat64]\nhosts = "2001:db8::/96"', 2, "nat64.hosts", "IPv4 prefix"),
            ("[nat64]\nmost_hosts = 0", 2, "nat64.most_hosts", "from 1 to"),
            ("[nat64]\nhost_idle = 3600", 2, "nat64.host_idle", "timeouts of flows"),
            ('[nat64]\nside = "left"', 2, "nat64.side", "outside|inside"),
            ("[nat64]\nmtu_v6 = 1279", 2, "nat64.mtu_v6", "from 1280 to"),
            ('[[nptv6]]\ninside = "fd00::/48"', 1, "nptv6.outside", "two different IPv6 prefixes"),
            ('[[nptv6]]\ninside = "fd00::/48"\noutside = "10.0.0.0/8"', 3, "nptv6.outside", "two different IPv6 prefixes"),
            ('[[nptv6]]\ninside = "fd00::/48"\noutside = "fd00::/48"', 3, "nptv6.outside", "two different IPv6 prefixes"),
            (f'[guard]\nsecret = "{SECRET}"\nsecret_file = "key"', 3, "guard.secret_file", "only one"),
            ('[guard]\nsecret_file = "nowhere"', 2, "guard.secret_file", "nowhere"),
        ]:
            with self.subTest(text):
                self.assert_refused(self.check(text), f"c.toml:{line}: {key}: ", words)

    def test_what_this_version_lacks_is_refused_and_not_ignored(self):
        for text, line, key in [
            ("[metrics]\nport = 9", 1, "metrics"),
            ('[[rule]]\naction = "deny"\nserver_name = "example.net"', 3, "rule.server_name"),
        ]:
            with self.subTest(text):
                self.assert_refused(self.check(text), f"c.toml:{line}: {key}: ", "not available in this version")

    def test_text_that_is_no_toml_is_refused_with_line_and_column(self):
        self.assert_refused(self.check("[guard\n"), "c.toml:1:")
        self.assert_refused(self.check('a = 1\na = 2\n'), "c.toml:2:")

    def test_a_file_that_cannot_be_read_is_named(self):
        self.assert_refused(run("check", "--config", self.dir / "nowhere.toml"), "nowhere.toml")
        self.assert_refused(run("check", "--config", self.dir), str(self.dir), "directory")

    def test_the_memory_it_announces_is_what_an_engine_takes(self):
        text = "[limits]\nflows_v4 = 50000\nflows_v6 = 30000\nhandshakes = 5000\nsource_half_open = 9\n[guard]\nmode = \"auto\"\nexempt_sources = 100000\n"
        text += "[guard.service]\nbuckets = 50000\n"
        text += '[[snat]]\npool = ["203.0.113.0/28"]\nquarantine_s = 10\n[[snat]]\npool = ["2001:db8::1"]\nmapping = "address_and_port_dependent"\nshare_ports = true\n'
        text += '[[service]]\naddress = "203.0.113.80"\nscheduler = "maglev"\npersistence_s = 9\n[[service.backend]]\naddress = "10.0.0.1"\n'
        text += "[nat64]\nmost_hosts = 60000\n"
        announced = float(re.search(r"([0-9.]+) MiB for flows", self.effective(text)).group(1))
        report = self.dir / "report.json"
        result = run("replay", "--in", SOURCE / "examples/data/quickstart.pcap", "--out-client", self.dir / "client.pcap",
                     "--out-server", self.dir / "server.pcap", "--config", self.dir / "c.toml", "--report", report)
        self.assertEqual(result.returncode, 0, result.stderr)
        taken = json.loads(report.read_text(encoding="utf-8"))["memory"]["configured_bytes"] / 2**20
        self.assertAlmostEqual(announced, taken, delta=taken / 50)

    def test_the_configuration_of_the_readme_is_right(self):
        result = run("check", "--config", SOURCE / "tests/tool/readme.toml")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_every_key_is_documented_by_being_printed(self):
        # The reader's own list of known keys, section by section, against what is printed.
        printed = self.effective(EVERYTHING) + self.effective(ROUTED)
        for section in ["io", "guard", "splice", "tracking", "timeouts", "limits", "normalize", "nat", "nat64"]:
            message = self.check(f"[{section}]\nno_such_key = 1\n").stderr
            known = re.search(r"known here: (.*)", message).group(1).split(", ")
            body = "".join(re.findall(rf"(?ms)^\[{section}\]\n(.*?)(?=^\[|\Z)", printed))
            keys = set(re.findall(r"(?m)^([a-z0-9_]+) = ", body)) | {"secret", "secret_file"}
            keys |= set(re.findall(rf"(?m)^\[+{section}\.([a-z]+)\]+$", printed))
            self.assertLessEqual(set(known), keys, section)


if __name__ == "__main__":
    unittest.main()
