#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Makes the captures the project ships: tests/captures/* and examples/data/quickstart.pcap.

Deterministic: the same script makes the same bytes. `make_captures.py` writes them, `make_captures.py --check`
compares them with the files there and exits 1 at a difference. Addresses are of the documentation prefixes
(RFC 5737, RFC 3849).
"""
import ipaddress
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58

CLIENT, SERVER = '192.0.2.10', '198.51.100.80'
CLIENT6, SERVER6 = '2001:db8:1::10', '2001:db8:2::80'
CLIENT_MAC, SERVER_MAC = bytes.fromhex('0200c0000210'), bytes.fromhex('0200c6336480')


def checksum(data):
    if len(data) % 2:
        data += b'\0'
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def packed(address):
    return ipaddress.ip_address(address).packed


def pseudo(src, dst, protocol, length):
    if ':' in src:
        return packed(src) + packed(dst) + struct.pack('!II', length, protocol)
    return packed(src) + packed(dst) + struct.pack('!HH', protocol, length)


def sealed(header, at, src, dst, protocol):
    """`header` with its checksum, 0 until now, at offset `at`."""
    value = checksum(pseudo(src, dst, protocol, len(header)) + header)
    if protocol == UDP and value == 0:
        value = 0xffff
    return header[:at] + struct.pack('!H', value) + header[at + 2:]


def tcp(src, dst, sport, dport, seq, ack, flags, payload=b'', options=b'', window=64240):
    options += b'\0' * (-len(options) % 4)
    offset = (20 + len(options)) // 4 << 4
    header = struct.pack('!HHIIBBHHH', sport, dport, seq & 0xffffffff, ack & 0xffffffff, offset, flags, window, 0, 0)
    return sealed(header + options + payload, 16, src, dst, TCP)


def udp(src, dst, sport, dport, payload):
    return sealed(struct.pack('!HHHH', sport, dport, 8 + len(payload), 0) + payload, 6, src, dst, UDP)


def icmp(kind, code, rest, payload=b''):
    body = struct.pack('!BBHI', kind, code, 0, rest) + payload
    return body[:2] + struct.pack('!H', checksum(body)) + body[4:]


def icmpv6(src, dst, kind, code, rest, payload=b''):
    return sealed(struct.pack('!BBHI', kind, code, 0, rest) + payload, 2, src, dst, ICMPV6)


def ipv4(src, dst, protocol, payload, ident=1, fragment=0x4000, ttl=64, options=b'', total=None):
    length = 20 + len(options) + len(payload) if total is None else total
    header = struct.pack('!BBHHHBBH', 0x45 + len(options) // 4, 0, length, ident, fragment, ttl, protocol, 0)
    header += packed(src) + packed(dst) + options
    return header[:10] + struct.pack('!H', checksum(header)) + header[12:] + payload


def ipv6(src, dst, protocol, payload, hop_limit=64, extensions=()):
    """`extensions`: (kind, content without its next-header byte), outermost first."""
    kinds = [kind for kind, _ in extensions] + [protocol]
    chain = b''.join(bytes([kinds[i + 1]]) + content for i, (_, content) in enumerate(extensions))
    header = struct.pack('!IHBB', 6 << 28, len(chain) + len(payload), kinds[0], hop_limit)
    return header + packed(src) + packed(dst) + chain + payload


def ip(src, dst, protocol, payload, **more):
    return (ipv6 if ':' in src else ipv4)(src, dst, protocol, payload, **more)


def ethernet(payload, to_server=True, tags=(), kind=None):
    """`tags`: (TPID, control), outermost first."""
    if kind is None:
        kind = 0x86dd if payload[0] >> 4 == 6 else 0x0800
    macs = SERVER_MAC + CLIENT_MAC if to_server else CLIENT_MAC + SERVER_MAC
    types = b''.join(struct.pack('!HH', tpid, control) for tpid, control in tags)
    frame = macs + types + struct.pack('!H', kind) + payload
    return frame + b'\0' * (60 - len(frame))


def mss(value):
    return struct.pack('!BBH', 2, 4, value)


def timestamps(value, echo):
    return b'\1\1' + struct.pack('!BBII', 8, 10, value & 0xffffffff, echo & 0xffffffff)


def sack(*blocks):
    return b'\1\1' + struct.pack('!BB', 5, 2 + 8 * len(blocks)) + b''.join(struct.pack('!II', *b) for b in blocks)


SACK_OK, NOP = b'\4\2', b'\1'


def scale(shift):
    return NOP + struct.pack('!BBB', 3, 3, shift)


class Clock:
    """Time in microseconds since 1970, moved by hand."""

    def __init__(self, start=1_700_000_000_000_000):
        self.now = start

    def after(self, us):
        self.now += us
        return self.now


class Flow:
    """A TCP connection as both ends see it: builds IP datagrams with running sequence numbers and timestamps."""

    def __init__(self, clock, src, dst, sport, dport, isn_c, isn_s, rtt=800):
        self.clock, self.rtt = clock, rtt
        self.ends = {True: (src, dst, sport, dport), False: (dst, src, dport, sport)}
        self.next = {True: isn_c, False: isn_s}
        self.last_ts = {True: 0, False: 0}
        self.ident = 100
        self.packets = []  # (time, to_server, datagram)

    def ts(self, to_server):
        return (self.clock.now // 1000 + (7000 if to_server else 991000)) & 0xffffffff

    def send(self, to_server, flags, payload=b'', options=None, us=120, window=501):
        src, dst, sport, dport = self.ends[to_server]
        self.clock.after(us)
        value = self.ts(to_server)
        if options is None:
            options = timestamps(value, self.last_ts[not to_server])
        ack = self.next[not to_server] if flags & ACK else 0
        segment = tcp(src, dst, sport, dport, self.next[to_server], ack, flags, payload, options, window)
        self.ident += 1
        more = {} if ':' in src else {'ident': self.ident}
        self.packets.append((self.clock.now, to_server, ip(src, dst, TCP, segment, **more)))
        self.last_ts[to_server] = value
        self.next[to_server] += len(payload) + bool(flags & SYN) + bool(flags & FIN)

    def handshake(self, mss_c=1460, mss_s=1460):
        ts = struct.pack('!BBII', 8, 10, self.ts(True), 0)
        self.send(True, SYN, options=mss(mss_c) + SACK_OK + ts + scale(7), window=64240)
        ts = struct.pack('!BBII', 8, 10, self.ts(False), self.last_ts[True])
        self.send(False, SYN | ACK, options=mss(mss_s) + SACK_OK + ts + scale(7), window=65160, us=self.rtt)
        self.send(True, ACK)

    def transfer(self, request, response, segment=1448):
        self.send(True, ACK | PSH, request)
        self.send(False, ACK, us=self.rtt)
        pieces = [response[i:i + segment] for i in range(0, len(response), segment)]
        for i, piece in enumerate(pieces):
            self.send(False, ACK | (PSH if i + 1 == len(pieces) else 0), piece, us=60)
            if i % 2 or i + 1 == len(pieces):
                self.send(True, ACK, us=self.rtt)

    def close(self):
        self.send(True, FIN | ACK)
        self.send(False, FIN | ACK, us=self.rtt)
        self.send(True, ACK)


def pcap(records, linktype=1, nano=False, big=False, snaplen=262144):
    """`records`: (time in us, bytes) or (time in us, bytes, wire length)."""
    e = '>' if big else '<'
    out = struct.pack(e + 'IHHiIII', 0xa1b23c4d if nano else 0xa1b2c3d4, 2, 4, 0, 0, snaplen, linktype)
    for time, data, *wire in records:
        data_kept = data[:snaplen]
        fraction = time % 1_000_000 * (1000 if nano else 1)
        out += struct.pack(e + 'IIII', time // 1_000_000, fraction, len(data_kept), wire[0] if wire else len(data))
        out += data_kept
    return out


def block(kind, body, e='<'):
    body += b'\0' * (-len(body) % 4)
    return struct.pack(e + 'II', kind, len(body) + 12) + body + struct.pack(e + 'I', len(body) + 12)


def option(code, value, e='<'):
    return struct.pack(e + 'HH', code, len(value)) + value + b'\0' * (-len(value) % 4)


def section(e='<'):
    return block(0x0a0d0d0a, struct.pack(e + 'IHHq', 0x1a2b3c4d, 1, 0, -1), e)


def interface(linktype, e='<', snaplen=0, tsresol=None, tsoffset=None):
    options = b''
    if tsresol is not None:
        options += option(9, bytes([tsresol]), e)
    if tsoffset is not None:
        options += option(14, struct.pack(e + 'q', tsoffset), e)
    if options:
        options += struct.pack(e + 'HH', 0, 0)
    return block(1, struct.pack(e + 'HHI', linktype, 0, snaplen) + options, e)


def enhanced(number, stamp, data, e='<', wire=None):
    head = struct.pack(e + 'IIIII', number, stamp >> 32, stamp & 0xffffffff, len(data), wire or len(data))
    return block(6, head + data, e)


def framed(flow, **more):
    return [(time, ethernet(datagram, to_server, **more)) for time, to_server, datagram in flow.packets]


def http_flow(clock=None, src=CLIENT, dst=SERVER, sport=40001, body=3000, isn=0x10000000):
    flow = Flow(clock or Clock(), src, dst, sport, 80, isn, 0xfffff000)
    flow.handshake(1440 if ':' in src else 1460, 1440 if ':' in src else 1460)
    head = b'GET /index.html HTTP/1.1\r\nHost: www.example.net\r\nUser-Agent: capture/1\r\nAccept: */*\r\n\r\n'
    text = bytes(97 + i % 26 for i in range(body))
    flow.transfer(head, b'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n' % body + text,
                  1428 if ':' in src else 1448)
    flow.close()
    return flow


def dns_name(name):
    return b''.join(bytes([len(label)]) + label for label in name.encode().split(b'.')) + b'\0'


def dns_exchange(clock, src, dst, sport, name, address):
    question = dns_name(name) + struct.pack('!HH', 1, 1)
    query = struct.pack('!HHHHHH', 0x2b1d, 0x0100, 1, 0, 0, 0) + question
    answer = struct.pack('!HHHHHH', 0x2b1d, 0x8180, 1, 1, 0, 0) + question
    answer += struct.pack('!HHHIH', 0xc00c, 1, 1, 300, 4) + packed(address)
    return [(clock.after(500), ethernet(ip(src, dst, UDP, udp(src, dst, sport, 53, query)))),
            (clock.after(900), ethernet(ip(dst, src, UDP, udp(dst, src, 53, sport, answer)), False))]


def arp(clock):
    ask = struct.pack('!HHBBH', 1, 0x0800, 6, 4, 1) + CLIENT_MAC + packed(CLIENT) + bytes(6) + packed(SERVER)
    tell = struct.pack('!HHBBH', 1, 0x0800, 6, 4, 2) + SERVER_MAC + packed(SERVER) + CLIENT_MAC + packed(CLIENT)
    return [(clock.after(50), ethernet(ask, kind=0x0806)), (clock.after(300), ethernet(tell, False, kind=0x0806))]


def quickstart():
    """A page over IPv4 and over IPv6, a reset and a rejected connection, a port scan, DNS, ping, ARP."""
    clock = Clock()
    records = arp(clock)
    records += dns_exchange(clock, CLIENT, '198.51.100.53', 53210, 'www.example.net', SERVER)
    records += framed(http_flow(clock, body=8000))
    clock.after(20_000)
    records += framed(http_flow(clock, CLIENT6, SERVER6, 40002, 5000, 0x20000000))
    reset = Flow(clock, CLIENT, SERVER, 40003, 80, 0x30000000, 0x44440000)
    reset.handshake()
    reset.send(True, ACK | PSH, b'GET /large HTTP/1.1\r\nHost: www.example.net\r\n\r\n')
    reset.send(False, ACK, bytes(1448), us=900)
    reset.send(True, RST | ACK, options=b'')
    records += framed(reset)
    rejected = Flow(clock, CLIENT, SERVER, 40004, 8443, 0x40000000, 0)
    rejected.send(True, SYN, options=mss(1460) + SACK_OK, window=64240)
    rejected.send(False, RST | ACK, options=b'', us=700, window=0)
    records += framed(rejected)
    for i, port in enumerate((21, 22, 23, 25, 110)):
        scan = Flow(clock, '203.0.113.66', SERVER, 50000 + i, port, 0x50000000 + 77 * i, 0)
        scan.send(True, SYN, options=mss(1460), window=1024, us=2000)
        records += framed(scan)
    echo = icmp(8, 0, 0x00070001, b'0123456789abcdef')
    records.append((clock.after(1000), ethernet(ipv4(CLIENT, SERVER, ICMP, echo, ident=9))))
    echo = icmp(0, 0, 0x00070001, b'0123456789abcdef')
    records.append((clock.after(600), ethernet(ipv4(SERVER, CLIENT, ICMP, echo, ident=9), False)))
    return pcap(records)


def vlan_capture():
    flow = http_flow(body=200)
    tags = [(), ((0x8100, 100),), ((0x88a8, 0x2000 | 7), (0x8100, 100)),
            ((0x9100, 1), (0x8100, 2), (0x8100, 3)), ((0x88a8, 1), (0x8100, 2), (0x8100, 3), (0x8100, 4)),
            ((0x8100, 1), (0x8100, 2), (0x8100, 3), (0x8100, 4), (0x8100, 5))]
    return pcap([(time, ethernet(datagram, to_server, tags[i % len(tags)]))
                 for i, (time, to_server, datagram) in enumerate(flow.packets)])


def options_capture():
    """TCP options of every kind, well and badly formed; IPv4 options."""
    lists = [mss(1460), mss(1460) + SACK_OK + timestamps(1, 0)[2:] + scale(14), timestamps(5, 6), sack((10, 20)),
             sack((10, 20), (30, 40)), sack((10, 20), (30, 40), (50, 60)), sack((1, 2), (3, 4), (5, 6), (7, 8))[2:] + NOP,
             b'\x22\x02', b'\x22\x0a12345678', b'\xfe\x04ab', b'\x13\x12' + bytes(16), b'\2\0\0\0', b'\2\1\0\0', b'\2\3\0\0',
             b'\2\x28\0\0', b'\3\4\0\0', b'\4\3\0\0', b'\5\x0b' + bytes(10), b'\x08\x09' + bytes(10), NOP * 40,
             b'\0\2\4\5', mss(1460) + mss(536), b'\1\1\1\5']
    clock = Clock()
    records = []
    for i, options in enumerate(lists):
        segment = tcp(CLIENT, SERVER, 40000 + i, 80, 1000, 2000, ACK, b'payload', options)
        records.append((clock.after(100), ethernet(ipv4(CLIENT, SERVER, TCP, segment, ident=i))))
    for words in range(1, 11):
        segment = tcp(CLIENT, SERVER, 41000, 80, 1000, 2000, ACK, b'payload')
        router_alert = b'\x94\4\0\0' + b'\1' * (4 * words - 4)
        records.append((clock.after(100), ethernet(ipv4(CLIENT, SERVER, TCP, segment, options=router_alert))))
    return pcap(records)


HOP = (0, b'\0\5\2\0\0\1\0')
DESTINATION = (60, b'\0\1\4\0\0\0\0')
ROUTING_DONE = (43, b'\2\4\0\0\0\0\0' + packed(CLIENT6))
ROUTING_LEFT = (43, b'\2\4\1\0\0\0\0' + packed(CLIENT6))
AUTHENTICATION = (51, b'\4\0\0\0\0\0\1\0\0\0\1' + bytes(12))
MOBILITY = (135, b'\0\0\0\0\0\0\0')


def extensions_capture():
    chains = [(HOP,), (DESTINATION,), (ROUTING_DONE,), (ROUTING_LEFT,), (AUTHENTICATION,), (MOBILITY,),
              (HOP, DESTINATION, ROUTING_DONE, AUTHENTICATION, DESTINATION), (DESTINATION,) * 8, (DESTINATION,) * 9,
              (HOP, (44, b'\0\0\0\0\0\0\x09'), DESTINATION)]
    clock = Clock()
    records = []
    for i, chain in enumerate(chains):
        segment = tcp(CLIENT6, SERVER6, 40000 + i, 80, 1000, 0, SYN, options=mss(1440))
        records.append((clock.after(100), ethernet(ipv6(CLIENT6, SERVER6, TCP, segment, extensions=chain))))
    records.append((clock.after(100), ethernet(ipv6(CLIENT6, SERVER6, 59, b'', extensions=(HOP,)))))
    return pcap(records)


def fragments_capture():
    clock = Clock()
    records = []
    whole = udp(CLIENT, SERVER, 5000, 6000, bytes(range(256)) * 8)
    for offset in range(0, len(whole), 800):
        piece = whole[offset:offset + 800]
        field = offset // 8 | (0x2000 if offset + 800 < len(whole) else 0)
        records.append((clock.after(10), ethernet(ipv4(CLIENT, SERVER, UDP, piece, ident=77, fragment=field))))
    whole = tcp(CLIENT6, SERVER6, 5000, 80, 1, 2, ACK, bytes(range(256)) * 8)
    for offset in range(0, len(whole), 800):
        field = offset | (1 if offset + 800 < len(whole) else 0)
        header = (44, b'\0' + struct.pack('!HI', field, 0xabcdef01))
        records.append((clock.after(10), ethernet(
            ipv6(CLIENT6, SERVER6, TCP, whole[offset:offset + 800], extensions=(header,)))))
    tiny = tcp(CLIENT, SERVER, 5001, 80, 1, 2, ACK)[:8]
    records.append((clock.after(10), ethernet(ipv4(CLIENT, SERVER, TCP, tiny, ident=78, fragment=0x2000))))
    return pcap(records)


def icmp_capture():
    clock = Clock()
    records = []
    segment = tcp(CLIENT, SERVER, 40001, 80, 1000, 2000, ACK, bytes(100), timestamps(1, 2))
    quote = ipv4(CLIENT, SERVER, TCP, segment)
    datagram = ipv4(CLIENT, SERVER, UDP, udp(CLIENT, SERVER, 1000, 2000, b'question'))
    for kind, code, rest in ((3, 3, 0), (3, 4, 1400), (4, 0, 0), (5, 1, 0xc0000201), (11, 0, 0), (12, 0, 0x14000000)):
        for size in (0, 1, 20, 27, 28, 52, len(quote)):
            message = icmp(kind, code, rest, quote[:size])
            records.append((clock.after(10), ethernet(ipv4(SERVER, CLIENT, ICMP, message), False)))
        message = icmp(kind, code, rest, datagram)
        records.append((clock.after(10), ethernet(ipv4(SERVER, CLIENT, ICMP, message), False)))
    segment = tcp(CLIENT6, SERVER6, 40001, 80, 1000, 2000, ACK, bytes(100))
    quote = ipv6(CLIENT6, SERVER6, TCP, segment, extensions=(HOP,))
    for kind, code, rest in ((1, 4, 0), (2, 0, 1280), (3, 0, 0), (4, 1, 40), (128, 0, 0x00010001), (135, 0, 0)):
        for size in (0, 39, 40, 48, 56, len(quote)):
            message = icmpv6(SERVER6, CLIENT6, kind, code, rest, quote[:size])
            records.append((clock.after(10), ethernet(ipv6(SERVER6, CLIENT6, ICMPV6, message), False)))
    return pcap(records)


def odd_lengths_capture():
    """Lengths that disagree: IP total length 0, too long, too short; TCP data offset; UDP length; padding; land."""
    clock = Clock()
    segment = tcp(CLIENT, SERVER, 40001, 80, 1000, 0, SYN, options=mss(1460))
    frames = [ethernet(ipv4(CLIENT, SERVER, TCP, segment, total=n)) for n in (0, 19, 20, 39, 40, 43, 44, 45, 1500, 65535)]
    frames += [ethernet(ipv4(CLIENT, SERVER, TCP, segment[:12] + bytes([n << 4]) + segment[13:])) for n in range(16)]
    datagram = udp(CLIENT, SERVER, 1000, 2000, b'12345678')
    frames += [ethernet(ipv4(CLIENT, SERVER, UDP, datagram[:4] + struct.pack('!H', n) + datagram[6:]))
               for n in (0, 7, 8, 15, 16, 17, 65535)]
    frames += [ethernet(ipv4(CLIENT, SERVER, UDP, datagram[:6] + b'\0\0' + datagram[8:])), ethernet(b'\x45', kind=0x0800),
               ethernet(b'\x65' + bytes(60), kind=0x0800), ethernet(ipv4(SERVER, SERVER, TCP, segment)),
               ethernet(b'\x44' + ipv4(CLIENT, SERVER, TCP, segment)[1:]), ethernet(bytes(46), kind=0x88cc),
               ethernet(ipv4(CLIENT, SERVER, 47, bytes(40)))]
    return pcap([(clock.after(10), frame) for frame in frames])


def cooked(datagram, to_server):
    kind = 0x86dd if datagram[0] >> 4 == 6 else 0x0800
    return struct.pack('!HHH', 4 if to_server else 0, 1, 6) + CLIENT_MAC + b'\0\0' + struct.pack('!H', kind) + datagram


def cooked2(datagram, to_server):
    kind = 0x86dd if datagram[0] >> 4 == 6 else 0x0800
    return struct.pack('!HHIHBB', kind, 0, 2, 1, 4 if to_server else 0, 6) + CLIENT_MAC + b'\0\0' + datagram


def link_flows():
    clock = Clock()
    return http_flow(clock, body=100).packets + http_flow(clock, CLIENT6, SERVER6, body=100).packets


def null_capture(big):
    """BSD loopback: the address family in the host's byte order; IPv6 is 24, 28 or 30 by system."""
    family = lambda i, d: (24, 28, 30)[i % 3] if d[0] >> 4 == 6 else 2
    return pcap([(t, struct.pack('>I' if big else '<I', family(i, d)) + d) for i, (t, _, d) in enumerate(link_flows())],
                108 if big else 0, big=big)


def multi_interface():
    """Two sections of different byte order, four interfaces of different link types and clock resolutions, block kinds of every sort."""
    (t1, _, first), (t2, _, second), (t3, _, third) = http_flow(body=10).packets[:3]
    us = 1_000_000
    out = section() + interface(1, snaplen=96) + interface(101, tsresol=9)
    out += block(0x0bad, b'custom block of somebody') + block(4, bytes(4))  # name resolution, empty
    out += enhanced(0, t1, ethernet(first)) + enhanced(1, t2 * 1000 + 7, second)
    out += block(3, struct.pack('<I', 200) + ethernet(third)[:66] + bytes(30))  # simple: cut by the snap length 96
    out += section('>') + interface(113, '>', tsresol=0x80 | 20) + interface(276, '>', tsoffset=1_000_000_000)
    out += enhanced(0, (t1 // us << 20) | 1 << 19, cooked(first, True), '>')
    out += enhanced(1, t2 - 1_000_000_000 * us, cooked2(second, False), '>')
    frame = cooked(third, True)
    out += block(2, struct.pack('>HHIIII', 0, 0, (t3 // us << 20) >> 32, (t3 // us << 20) & 0xffffffff,
                                len(frame), len(frame)) + frame, '>')
    return out


def captures():
    tests = pathlib.Path('tests/captures')
    raw = [(t, d) for t, _, d in link_flows()]
    http = framed(http_flow())
    made = {
        'handshake_v4.pcap': pcap(framed(http_flow())),
        'handshake_v6.pcap': pcap(framed(http_flow(src=CLIENT6, dst=SERVER6)), nano=True),
        'vlan.pcap': vlan_capture(),
        'options.pcap': options_capture(),
        'extension_headers.pcap': extensions_capture(),
        'fragments.pcap': fragments_capture(),
        'icmp_errors.pcap': icmp_capture(),
        'odd_lengths.pcap': odd_lengths_capture(),
        'cooked.pcap': pcap([(t, cooked(d, c)) for t, c, d in link_flows()], 113),
        'cooked2.pcap': pcap([(t, cooked2(d, c)) for t, c, d in link_flows()], 276, nano=True),
        'null.pcap': null_capture(False),
        'loopback_big_endian.pcap': null_capture(True),
        'raw_ip.pcap': pcap(raw, 101),
        'snap_length_60.pcap': pcap(http, snaplen=60),
        'multi_interface.pcapng': multi_interface(),
        'truncated.pcap': pcap(http)[:-7],
        'truncated.pcapng': multi_interface()[:-9],
        'damaged_length.pcap': pcap(http[:2]) + struct.pack('<IIII', 1, 0, 0x7fffffff, 0x7fffffff) + bytes(64),
    }
    made = {tests / name: content for name, content in made.items()}
    made[pathlib.Path('examples/data/quickstart.pcap')] = quickstart()
    return made


def main():
    check = sys.argv[1:] == ['--check']
    if sys.argv[1:] and not check:
        sys.exit('usage: make_captures.py [--check]')
    wrong = []
    for path, content in captures().items():
        target = ROOT / path
        if check:
            if not target.is_file() or target.read_bytes() != content:
                wrong.append(str(path))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    if wrong:
        sys.exit('not what make_captures.py makes: ' + ', '.join(wrong))
    print(f'{len(captures())} captures {"as made" if check else "written"}')


if __name__ == '__main__':
    main()
