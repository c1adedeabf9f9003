#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Makes flows.pcap, one small scenario per conn_state, history letter and timer, and flows.tsv, what each must be listed as.

The expectations are written by hand beside each scenario, from the documentation of Zeek's conn.log; sizes and times follow
from the packets. `make_flows.py --check` compares with the files there and exits 1 at a difference. Columns of flows.tsv as
the program's, without uid.
"""
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'support'))
sys.dont_write_bytecode = True
from make_captures import (ACK, CLIENT, FIN, ICMP, ICMPV6, PSH, RST, SERVER, SERVER6, SYN, TCP, UDP,  # noqa: E402
                           checksum, ethernet, icmp, icmpv6, ip, ipv4, pcap, pseudo, tcp, udp)

START = 1_700_000_000_000_000
COLUMNS = ('ts id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes resp_bytes conn_state missed_bytes history '
           'orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes vlan server_name alpn ja4 http.method http.host http.uri').split()
HANDSHAKE = [(0, '>', 'S'), (1, '<', 'SA', 0, 1), (2, '>', 'A', 1, 1)]
FLAGS = {'S': SYN, 'A': ACK, 'F': FIN, 'R': RST, 'P': PSH}

records = []   # (time, frame)
rows = []
hosts = iter(range(1, 250))


class Expected:
    """One row: `own` and `answers` are the indices of the originator's and the responder's packets that count."""

    def __init__(self, state, history, sizes=None, packets=None, missed=0, until=None, flipped=False, service='-'):
        self.state, self.history, self.sizes, self.packets = state, history, sizes, packets
        self.missed, self.until, self.flipped, self.service = missed, until, flipped, service


def seconds(us):
    return '%d.%06d' % divmod(us, 1_000_000)


def add_row(ends, proto, sent, expected, vlan='-'):
    """`sent`: (time in us, by the first sender, IP bytes) of the packets that belong to the row."""
    counted = sent if expected.packets is None else [sent[i] for i in expected.packets]
    until = sent[-1 if expected.until is None else expected.until][0]
    orig, resp = (ends[::-1] if expected.flipped else ends)
    of = [[n for _, first, n in counted if first != expected.flipped], [n for _, first, n in counted if first == expected.flipped]]
    duration = until - sent[0][0]
    sizes = expected.sizes if duration else ('-', '-')
    row = [seconds(sent[0][0]), *orig, *resp, proto, expected.service, seconds(duration) if duration else '-', *sizes, expected.state,
           expected.missed, expected.history, len(of[0]), sum(of[0]), len(of[1]), sum(of[1]), vlan] + ['-'] * 6
    rows.append([str(value) for value in row])


def tcp_flow(steps, *expectations, sport=40000, port=8111, server=SERVER, isn=(1000, 5000), tags=(), wrap=ethernet):
    """`steps`: (ms, direction, flags, relative seq, relative ack, payload bytes, {options}); each expectation is (number of
    steps it takes, Expected)."""
    client = ('2001:db8:1::%x' if ':' in server else '192.0.2.%d') % next(hosts)
    ends = ((client, sport), (server, port))
    sent = []
    for ms, direction, flags, *rest in steps:
        seq, ack, size, more = (*rest, *(0, 0, 0, {})[len(rest):])
        to_server = direction == '>'
        source, target = ends if to_server else ends[::-1]
        own, other = isn if to_server else isn[::-1]
        bits = sum(FLAGS[f] for f in flags)
        segment = tcp(source[0], target[0], source[1], target[1], own + seq, other + ack if bits & ACK else 0, bits,
                      bytes(size), window=more.get('window', 64240))
        if more.get('corrupt'):
            segment = segment[:16] + bytes(b ^ 0x55 for b in segment[16:18]) + segment[18:]
        if more.get('unsummed'):
            segment = segment[:16] + bytes(2) + segment[18:]
        if more.get('offloaded'):
            partial = ~checksum(pseudo(source[0], target[0], TCP, len(segment))) & 0xffff
            segment = segment[:16] + struct.pack('!H', partial) + segment[18:]
        datagram = ip(source[0], target[0], TCP, segment)
        if more.get('offloaded'):
            datagram = datagram[:10] + bytes(2) + datagram[12:]
        time = START + ms * 1000
        records.append((time, wrap(datagram, to_server, tags)))
        sent.append((time, to_server, len(datagram)))
    finish(ends, 'tcp', sent, expectations, sent[0][1], tags)


def finish(ends, proto, sent, expectations, first_by_client, tags=()):
    at = 0
    for count, expected in expectations:
        part = [(time, by == first_by_client, size) for time, by, size in sent[at:at + count]]
        add_row(ends if first_by_client else ends[::-1], proto, part, expected, tags[0][1] if tags else '-')
        at += count
    assert at == len(sent)


def datagrams(steps, *expectations, port=8112, sport=41000, server=SERVER):
    """`steps`: (ms, direction, payload bytes)."""
    client = ('2001:db8:1::%x' if ':' in server else '192.0.2.%d') % next(hosts)
    ends = ((client, sport), (server, port))
    sent = []
    for ms, direction, size in steps:
        source, target = ends if direction == '>' else ends[::-1]
        datagram = ip(source[0], target[0], UDP, udp(source[0], target[0], source[1], target[1], bytes(size)))
        records.append((START + ms * 1000, ethernet(datagram, direction == '>')))
        sent.append((START + ms * 1000, direction == '>', len(datagram)))
    finish(ends, 'udp', sent, expectations, sent[0][1])


def messages(steps, ports, *expectations, server=SERVER):
    """ICMP; `steps`: (ms, direction, type, code, payload bytes)."""
    client = ('2001:db8:1::%x' if ':' in server else '192.0.2.%d') % next(hosts)
    sent = []
    for ms, direction, kind, code, size in steps:
        source, target = (client, server) if direction == '>' else (server, client)
        body = icmpv6(source, target, kind, code, 7, bytes(size)) if ':' in server else icmp(kind, code, 7, bytes(size))
        datagram = ip(source, target, ICMPV6 if ':' in server else ICMP, body)
        records.append((START + ms * 1000, ethernet(datagram, direction == '>')))
        sent.append((START + ms * 1000, direction == '>', len(datagram)))
    finish(((client, ports[0]), (server, ports[1])), 'icmp', sent, expectations, sent[0][1])


def states():
    """One per value of conn_state."""
    whole = HANDSHAKE + [(3, '>', 'PA', 1, 1, 10), (4, '<', 'A', 1, 11), (5, '<', 'PA', 1, 11, 20), (6, '>', 'A', 11, 21),
                         (7, '>', 'FA', 11, 21), (8, '<', 'FA', 21, 12), (9, '>', 'A', 12, 22)]
    # The last ACK follows both ends: it is a packet of the flow, but not of its duration.
    for server in (SERVER, SERVER6):
        tcp_flow(whole, (10, Expected('SF', 'ShADadFf', (10, 20), until=8)), server=server)
    tcp_flow([(0, '>', 'S')], (1, Expected('S0', 'S')))
    tcp_flow(HANDSHAKE, (3, Expected('S1', 'ShA', (0, 0))))
    tcp_flow([(0, '>', 'S'), (1, '<', 'RA', 0, 1)], (2, Expected('REJ', 'Sr', (0, 0))))
    tcp_flow(HANDSHAKE + [(3, '>', 'FA', 1, 1), (4, '<', 'A', 1, 2)], (5, Expected('S2', 'ShAFa', (0, 0))))
    tcp_flow(HANDSHAKE + [(3, '<', 'FA', 1, 1), (4, '>', 'A', 1, 2)], (5, Expected('S3', 'ShAf', (0, 0))))
    tcp_flow(HANDSHAKE + [(3, '>', 'PA', 1, 1, 7), (4, '>', 'R', 8)], (5, Expected('RSTO', 'ShADR', (7, 0))))
    tcp_flow(HANDSHAKE + [(3, '>', 'PA', 1, 1, 7), (4, '<', 'RA', 1, 8)], (5, Expected('RSTR', 'ShADr', (7, 0))))
    tcp_flow([(0, '>', 'S'), (1, '>', 'R', 1)], (2, Expected('RSTOS0', 'SR', (0, 0))))
    answer = [(0, '<', 'SA', 0, 1)]
    tcp_flow(answer + [(1, '<', 'R', 1, 1)], (2, Expected('RSTRH', '^hr', (0, 0), flipped=True)), port=80)
    tcp_flow([(0, '>', 'S'), (1, '>', 'F', 1)], (2, Expected('SH', 'SF', (0, 0))))
    tcp_flow(answer + [(1, '<', 'FA', 1, 1)], (2, Expected('SHR', '^hf', (0, 0), flipped=True)), port=80)
    tcp_flow([(0, '>', 'PA', 500, 700, 30), (1, '<', 'PA', 700, 530, 40)], (2, Expected('OTH', 'Dd', (30, 40))))


def letters():
    """One per letter of history that the states above lack."""
    data = (3, '>', 'PA', 1, 1, 10)
    tcp_flow(HANDSHAKE + [(3, '>', 'PA', 1, 1, 10, {'corrupt': True}), (4, '>', 'PA', 1, 1, 10)],
             (5, Expected('S1', 'ShACD', (10, 0), packets=[0, 1, 2, 4])))
    tcp_flow(HANDSHAKE + [data] + [(4 + i, '>', 'PA', 1, 1, 10) for i in range(10)], (14, Expected('S1', 'ShADTT', (10, 0))))
    tcp_flow(HANDSHAKE + [data, (4, '<', 'A', 1, 11, 0, {'window': 0})], (5, Expected('S1', 'ShADaw', (10, 0))))
    # 100 bytes were acknowledged that the capture has not; what came after them was seen.
    tcp_flow(HANDSHAKE + [data, (4, '>', 'PA', 111, 1, 10), (5, '<', 'A', 1, 121)],
             (6, Expected('S1', 'ShADaG', (120, 0), missed=100)))
    # A reordered segment leaves no gap, and is taken for a retransmission.
    tcp_flow(HANDSHAKE + [data, (4, '>', 'PA', 21, 1, 10), (5, '>', 'PA', 11, 1, 10), (6, '<', 'A', 1, 31)],
             (7, Expected('S1', 'ShADTa', (30, 0))))
    tcp_flow(HANDSHAKE + [(3, '>', 'FR', 1)], (4, Expected('RSTO', 'ShAI', (0, 0))))
    tcp_flow([(0, '>', 'SF'), (1, '>', 'SF')], (1, Expected('SH', 'Q')), (1, Expected('SH', 'Q')))
    # Letters without bound: every RST stands elsewhere.
    tcp_flow(HANDSHAKE + [(3 + i, '>', 'R', 1 + i) for i in range(60)],
             (63, Expected('RSTO', 'ShA' + 'R' * 60, (0, 0))))
    # Sequence numbers that wrap between two segments.
    tcp_flow(HANDSHAKE + [(3, '>', 'PA', 1, 1, 100), (4, '<', 'A', 1, 101)], (5, Expected('S1', 'ShADa', (100, 0))),
             isn=(0xffffffc0, 0xfffffffe))


    # Captured at its sender, whose device was to finish the checksums, or to make them: not bad.
    tcp_flow(HANDSHAKE + [(3, '>', 'PA', 1, 1, 10, {'offloaded': True})], (4, Expected('S1', 'ShAD', (10, 0))))
    tcp_flow(HANDSHAKE + [(3, '>', 'PA', 1, 1, 10, {'unsummed': True})], (4, Expected('S1', 'ShAD', (10, 0))))


def directions():
    """Who began, when the first packet is not a SYN."""
    rest = [(1, '>', 'A', 1, 1), (2, '>', 'PA', 1, 1, 5)]
    tcp_flow([(0, '<', 'SA', 0, 1)] + rest, (3, Expected('S1', '^hAD', (5, 0), flipped=True)), port=443)
    # No port tells: a lone SYN-ACK may be a scan, until there is traffic.
    tcp_flow([(0, '<', 'SA', 0, 1)] + rest, (3, Expected('OTH', '^hAD', (5, 0), flipped=True)))
    tcp_flow([(0, '<', 'SA', 0, 1), (1, '>', 'S'), (2, '>', 'A', 1, 1)],
             (3, Expected('S1', 'Hs^A', (0, 0), flipped=True)))
    tcp_flow([(0, '<', 'PA', 1, 1, 9)], (1, Expected('OTH', '^d', flipped=True)), port=22)


def times():
    """When a flow is over."""
    attempt = [(ms, '>', 'S') for ms in (0, 1000, 3000, 7000)]
    tcp_flow(attempt, (3, Expected('S0', 'S', (0, 0))), (1, Expected('S0', 'S')))
    other = [(10, '>', 'S', 77_000)]
    tcp_flow([(0, '>', 'S')] + other, (1, Expected('S0', 'S')), (1, Expected('S0', 'S')))
    ended = HANDSHAKE + [(3, '>', 'FA', 1, 1), (4, '<', 'FA', 1, 2), (5, '>', 'A', 2, 2)]
    again = [(ms + 1000, d, f, seq + 90_000 if d == '>' else seq + 80_000, ack + (80_000 if d == '>' else 90_000) if 'A' in f else 0)
             for ms, d, f, seq, ack in [(0, '>', 'S', 0, 0), (1, '<', 'SA', 0, 1), (2, '>', 'A', 1, 1)]]
    tcp_flow(ended + again, (6, Expected('SF', 'ShAFf', (0, 0), until=4)), (3, Expected('S1', 'ShA', (0, 0))))
    idle = HANDSHAKE + [(3, '>', 'PA', 1, 1, 4), (302_000, '>', 'PA', 5, 1, 6)]
    tcp_flow(idle, (4, Expected('S1', 'ShAD', (4, 0))), (1, Expected('OTH', 'D')))
    tcp_flow(idle, (5, Expected('S1', 'ShAD', (10, 0))), port=22)
    datagrams([(0, '>', 5), (59_000, '<', 6), (120_000, '>', 7)], (2, Expected('SF', 'Dd', (5, 6))), (1, Expected('S0', 'D')))


def other_protocols():
    datagrams([(0, '>', 5), (3, '>', 50)], (2, Expected('S0', 'D', (55, 0))))
    datagrams([(0, '>', 5), (3, '<', 50)], (2, Expected('SF', 'Dd', (5, 50))), server=SERVER6)
    datagrams([(0, '<', 5), (3, '<', 50)], (2, Expected('SHR', '^d', (0, 55), flipped=True)), port=53)
    echo = [(0, '>', 8, 0, 24), (1, '<', 0, 0, 24), (500, '>', 8, 0, 24), (501, '<', 0, 0, 24)]
    messages(echo, (8, 0), (4, Expected('OTH', '-', (48, 48))))
    messages([(0, '>', 128, 0, 24), (1, '<', 129, 0, 24)], (128, 129), (2, Expected('OTH', '-', (24, 24))), server=SERVER6)
    # What has no answer is a flow of one direction, even when the other side sends the same.
    messages([(0, '>', 3, 3, 28), (2, '>', 3, 3, 28)], (3, 3), (2, Expected('OTH', '-', (56, 0))))
    tcp_flow(HANDSHAKE, (3, Expected('S1', 'ShA', (0, 0))), tags=((0x8100, 42),))


def in_mpls(datagram, to_server, _tags):
    return ethernet(struct.pack('!II', 16 << 12 | 64, 17 << 12 | 1 << 8 | 64) + datagram, to_server, kind=0x8847)


def in_pppoe(datagram, to_server, _tags):
    body = struct.pack('!BBHHH', 0x11, 0, 7, len(datagram) + 2, 0x0057 if datagram[0] >> 4 == 6 else 0x0021) + datagram
    return ethernet(body, to_server, kind=0x8864)


def in_fabric_path(datagram, to_server, _tags):
    return ethernet(struct.pack('!H', 1 << 6 | 32) + ethernet(datagram, to_server), to_server, kind=0x8903)


def in_gre(datagram, to_server, _tags):
    header = struct.pack('!HHI', 0x2000, 0x86dd if datagram[0] >> 4 == 6 else 0x0800, 99)
    return ethernet(ipv4(CLIENT, SERVER, 47, header + datagram), to_server)


def in_gre_ethernet(datagram, to_server, _tags):
    return ethernet(ipv4(CLIENT, SERVER, 47, struct.pack('!HH', 0, 0x6558) + ethernet(datagram)), to_server)


def in_ip(datagram, to_server, _tags):
    return ethernet(ipv4(CLIENT, SERVER, 41 if datagram[0] >> 4 == 6 else 4, datagram), to_server)


def encapsulations():
    """What stands before the flow's IP header does not count."""
    for wrap in (in_mpls, in_pppoe, in_fabric_path, in_gre, in_gre_ethernet, in_ip):
        for server in (SERVER, SERVER6):
            tcp_flow(HANDSHAKE + [(3, '>', 'PA', 1, 1, 3)], (4, Expected('S1', 'ShAD', (3, 0))), server=server, wrap=wrap)


def fragments():
    """The first fragment tells how long the datagram is; the rest adds nothing."""
    client = '192.0.2.%d' % next(hosts)
    datagram = udp(client, SERVER, 41000, 8113, bytes(2000))
    for i, (at, more) in enumerate(((0, 0x2000), (1480, 0))):
        piece = ipv4(client, SERVER, UDP, datagram[at:at + 1480], fragment=more | at // 8)
        records.append((START + i * 1000, ethernet(piece)))
    add_row(((client, 41000), (SERVER, 8113)), 'udp', [(START, True, 20 + len(datagram))], Expected('S0', 'D'))


def tunnel(payload, port, name, sport=41000):
    client = '192.0.2.%d' % next(hosts)
    datagram = ipv4(client, SERVER, UDP, udp(client, SERVER, sport, port, payload))
    records.append((START, ethernet(datagram)))
    add_row(((client, sport), (SERVER, port)), 'udp', [(START, True, len(datagram))], Expected('S0', 'D', service=name))


def unparsed():
    """Tunnels over UDP and protocols without ports are named and not opened; what only has a tunnel's port is not named."""
    inside = ipv4('10.0.0.1', '10.0.0.2', UDP, udp('10.0.0.1', '10.0.0.2', 1, 2, bytes(4)))
    tunnel(struct.pack('!II', 0x08 << 24, 7 << 8) + ethernet(inside), 4789, 'vxlan')
    tunnel(struct.pack('!II', 0x80 << 24, 7 << 8) + ethernet(inside), 4789, '-')
    tunnel(struct.pack('!HHI', 0x0100, 0x6558, 7 << 8) + bytes(4) + ethernet(inside), 6081, 'geneve')
    tunnel(struct.pack('!BBHI', 0x30, 255, len(inside), 1) + inside, 2152, 'gtpv1')
    tunnel(struct.pack('!BBHI', 0x30, 255, len(inside) + 1, 1) + inside, 2152, '-')
    tunnel(struct.pack('!IHBB', 6 << 28, 0, 59, 64) + bytes(32), 3544, 'teredo')
    for server in (SERVER, SERVER6):
        for protocol, name in ((50, 'esp'), (132, 'sctp'), (47, 'gre'), (253, '-')):
            client = ('2001:db8:1::%x' if ':' in server else '192.0.2.%d') % next(hosts)
            sent = []
            for ms, source, target in ((0, client, server), (5, server, client)):
                datagram = ip(source, target, protocol, struct.pack('!HH', 1, 0x880b) + bytes(12))
                records.append((START + ms * 1000, ethernet(datagram, source == client)))
                sent.append((START + ms * 1000, source == client, len(datagram)))
            add_row(((client, 0), (server, 0)), 'unknown_transport', sent, Expected('OTH', '-', (0, 0), service=name))


def contents():
    for part in (states, letters, directions, times, other_protocols, encapsulations, fragments, unparsed):
        part()
    records.sort(key=lambda record: record[0])
    text = '\t'.join(COLUMNS) + '\n' + ''.join('\t'.join(row) + '\n' for row in sorted(rows))
    return {'flows.pcap': pcap(records), 'flows.tsv': text.encode()}


def main():
    wrong = 0
    for name, data in contents().items():
        path = HERE / name
        if sys.argv[1:] != ['--check']:
            path.write_bytes(data)
        elif not path.exists() or path.read_bytes() != data:
            print(f'{name} is not what make_flows.py makes')
            wrong = 1
    return wrong


if __name__ == '__main__':
    sys.exit(main())
