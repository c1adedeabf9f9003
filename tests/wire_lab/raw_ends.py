# SPDX-License-Identifier: BSL-1.0
"""Two TCP ends made of packet sockets, one on either side of the proxy: each segment is sent by hand, and each that comes is looked at.

Their link and IP addresses belong to no kernel, so nobody else answers. Every wait ends as soon as its condition holds; that nothing came
is known when a datagram sent afterwards has gone to the other end and one has come back.
"""
import collections
import ctypes
import socket
import struct
import sys
import time

from segments import (ACK, ICMP, ICMPV6, SYN, TCP, UDP, Malformed, Options, Segment, address, checksum, ip_packet, parse_icmp_error,
                      parse_tcp, plus, pseudo_header, split_ip)

ETH_P_ALL, SOL_PACKET, PACKET_IGNORE_OUTGOING = 3, 263, 23
TIMEOUT_S = 10
MARKER_PORT = 9999
ADDRESSES = {4: (address("10.77.0.101"), address("10.77.0.102")), 6: (address("fd77::101"), address("fd77::102"))}
MACS = (bytes([2, 0, 0, 0, 1, 1]), bytes([2, 0, 0, 0, 1, 2]))


class Mismatch(Exception):
    pass


def expect(condition, message):
    if not condition:
        raise Mismatch(message)


def enter(namespace):
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/run/netns/" + namespace, "rb") as there:
        if libc.setns(there.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), "setns " + namespace)


class Port:
    """A packet socket in a namespace; what comes is sorted by the client's port it concerns."""

    def __init__(self, side, namespace, interface):
        self.side = side
        enter(namespace)
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.bind((interface, ETH_P_ALL))
        self.arrived = collections.defaultdict(collections.deque)

    def send(self, packet):
        self.sock.send(MACS[1 - self.side] + MACS[self.side] + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet)

    def receive(self, seconds):
        """Takes in one frame, or none within that time."""
        self.sock.settimeout(max(seconds, 0.001))
        try:
            frame = self.sock.recv(70000)
        except TimeoutError:
            return
        if frame[:6] == MACS[self.side] and frame[12:14] in (b"\x08\x00", b"\x86\xdd"):
            self.sort(frame[14:])

    def sort(self, packet):
        source, destination, protocol, payload = split_ip(packet)
        if protocol == TCP:
            segment = parse_tcp(source, destination, payload)
            segment.packet_bytes = len(packet)
            self.arrived[(segment.destination_port, segment.source_port)[self.side]].append(segment)
        elif protocol == UDP:
            self.arrived[MARKER_PORT].append(payload[8:])
        elif protocol in (ICMP, ICMPV6):
            error = parse_icmp_error(source, destination, protocol, payload)
            ports = error.quoted_tcp()[:2]
            self.arrived[ports[self.side]].append(error)  # an error goes to the quoted packet's source

    def next(self, port, seconds):
        end = time.monotonic() + seconds
        while not self.arrived[port] and time.monotonic() < end:
            self.receive(end - time.monotonic())
        return self.arrived[port].popleft() if self.arrived[port] else None


class Wire:
    """The two ports, and what all connections over them share."""

    def __init__(self):
        self.ports = (Port(0, "client", "c0"), Port(1, "server", "s0"))
        self.version = 4
        self.last_port = 20000

    def connection(self, **how):
        self.last_port += 1
        return Connection(self, self.last_port, **{"version": self.version, **how})

    def marker(self, version, side, content):
        here, there = ADDRESSES[version][side], ADDRESSES[version][1 - side]
        head = struct.pack("!HHHH", MARKER_PORT, MARKER_PORT, 8 + len(content), 0)
        value = checksum(pseudo_header(here, there, UDP, len(head) + len(content)) + head + content)
        self.ports[side].send(ip_packet(here, there, UDP, head[:6] + struct.pack("!H", value) + content))
        got = self.ports[1 - side].next(MARKER_PORT, TIMEOUT_S)
        expect(got == content, f"the marker did not come through: {got}")

    def flush(self, version):
        """All that was sent before has come out, wherever it was to go: the proxy handles packets in their order."""
        self.marker(version, 0, b"there")
        self.marker(version, 1, b"back")


class End:
    """The client's or the server's end of a connection."""

    def __init__(self, connection, side):
        self.connection, self.side, self.name = connection, side, ("client", "server")[side]

    def segment(self, flags, seq, ack=0, **fields):
        version, client_port = self.connection.version, self.connection.port
        here, there = ADDRESSES[version][self.side], ADDRESSES[version][1 - self.side]
        ports = (client_port, 80) if self.side == 0 else (80, client_port)
        return Segment(here, there, *ports, seq % (1 << 32), ack % (1 << 32), flags, **fields)

    def send(self, flags, seq, ack=0, **fields):
        segment = self.segment(flags, seq, ack, **fields)
        self.port.send(segment.pack())
        return segment

    @property
    def port(self):
        return self.connection.wire.ports[self.side]

    def any(self, what, seconds=TIMEOUT_S):
        """The next that comes for this connection, whatever it is."""
        got = self.port.next(self.connection.port, seconds)
        expect(got is not None, f"nothing came to the {self.name}: {what}")
        return got

    def expect(self, what, flags=None, seq=None, ack=None, data=None, seconds=TIMEOUT_S):
        """The next segment, which must be as said."""
        got = self.any(what, seconds)
        expect(isinstance(got, Segment), f"{what}: the {self.name} got {got}")
        for name, wanted in (("flags", flags), ("seq", seq), ("ack", ack), ("data", data)):
            value = getattr(got, name) & ~0x08 if name == "flags" else getattr(got, name)
            wanted = wanted % (1 << 32) if name in ("seq", "ack") and wanted is not None else wanted
            expect(wanted is None or value == wanted, f"{what}: the {self.name} got {got}, {name} was to be {wanted}")
        return got

    def waiting(self):
        """What has come and was not looked at."""
        return [str(s) for s in self.port.arrived[self.connection.port]]


class Connection:
    """What a correct client and a correct server know of their connection, and the usual course of it."""

    def __init__(self, wire, port, version, isn=1000, server_isn=500_000, timestamps=True, offer=None, answer=None):
        self.wire, self.port, self.version = wire, port, version
        self.client, self.server = End(self, 0), End(self, 1)
        self.isn, self.server_isn = isn, server_isn
        self.timestamps = timestamps
        self.client_clock, self.server_clock = 70_000, 4_000_000_000
        self.offer = offer or Options(mss=1460, scale=7, sack_permitted=True)
        self.answer_options = answer or Options(mss=1460, scale=7, sack_permitted=True)
        self.server_timestamps = timestamps
        self.cookie = self.cookie_clock = None  # the number and the TSval of the SYN-ACK that the client got
        self.promised = None                    # the options of it

    def nothing(self, what):
        """Neither end has got anything that it did not expect."""
        self.wire.flush(self.version)
        for end in (self.client, self.server):
            expect(not end.waiting(), f"{what}: the {end.name} got {' '.join(end.waiting())}")

    def client_options(self, **more):
        """For a segment of the client's, in the client's clock."""
        self.client_clock += 1
        echo = self.last_seen_by_client
        return Options(timestamps=(self.client_clock, echo) if self.timestamps else None, **more)

    def syn(self, flags=SYN, **fields):
        options = Options(**{**vars(self.offer), "timestamps": (self.client_clock, 0) if self.timestamps else None})
        self.client.send(flags, self.isn, options=options, **fields)

    def get_cookie(self, flags=SYN, **fields):
        self.syn(flags, **fields)
        got = self.client.expect("the cookie", ack=self.isn + 1)
        expect(got.flags & ~0x40 == SYN | ACK, f"not a SYN-ACK: {got}")
        self.cookie, self.promised = got.seq, got.options
        self.timestamps = got.options.timestamps is not None
        self.last_seen_by_client = self.cookie_clock = got.options.timestamps[0] if self.timestamps else None
        return got

    def prove(self, data=b"", flags=ACK, seq=None, window=502):
        """The third segment of the client's handshake."""
        self.client.send(flags, plus(self.isn, 1) if seq is None else seq, self.cookie + 1, window=window, data=data,
                         options=self.client_options())

    def get_server_syn(self, what="the SYN to the server", seconds=TIMEOUT_S):
        got = self.server.expect(what, seq=self.isn, data=b"", seconds=seconds)
        expect(got.flags & ~0xC0 == SYN, f"{what}: not a SYN: {got}")
        self.last_seen_by_server = got.options.timestamps[0] if got.options.timestamps else None
        self.server_timestamps = self.server_timestamps and got.options.timestamps is not None
        return got

    def server_options(self, **more):
        self.server_clock = plus(self.server_clock, 1)
        return Options(timestamps=(self.server_clock, self.last_seen_by_server) if self.server_timestamps else None, **more)

    def answer(self, ack=None, window=65160):
        """The server's SYN-ACK."""
        stamps = self.server_options().timestamps
        self.server.send(SYN | ACK, self.server_isn, plus(self.isn, 1) if ack is None else ack, window=window,
                         options=Options(**{**vars(self.answer_options), "timestamps": stamps}))

    def get_both_acks(self):
        """What completes it at both ends: the client's window opens, the server has its ACK."""
        update = self.client.expect("the window update", ACK, self.cookie + 1, self.isn + 1, b"")
        ack = self.server.expect("the ACK to the server", ACK, self.isn + 1, self.server_isn + 1, b"")
        if update.options.timestamps:
            self.last_seen_by_client = update.options.timestamps[0]
        if ack.options.timestamps:
            self.last_seen_by_server = ack.options.timestamps[0]
        return update, ack

    def connect(self):
        """To the point where the server has the SYN."""
        self.get_cookie()
        self.prove()
        return self.get_server_syn()

    def open(self, window=65160):
        self.connect()
        self.answer(window=window)
        return self.get_both_acks()

    def data_to_server(self, at, data, what="data to the server"):
        """`at` bytes into the client's stream."""
        self.client.send(ACK, self.isn + 1 + at, self.cookie + 1, data=data, options=self.client_options())
        return self.server.expect(what, ACK, self.isn + 1 + at, self.server_isn + 1, data)

    def data_to_client(self, at, data, what="data to the client", ack=0):
        self.server.send(ACK, self.server_isn + 1 + at, self.isn + 1 + ack, data=data, options=self.server_options())
        return self.client.expect(what, ACK, self.cookie + 1 + at, self.isn + 1 + ack, data)

    def works(self, at=0):
        """One more exchange, `at` bytes into both streams."""
        self.data_to_server(at, b"question")
        self.data_to_client(at, b"answer..", ack=at + 8)
        self.nothing("after an exchange")


CASES = []


def case(name, together=False):
    """A behaviour to be shown over IPv4 and over IPv6, unless the case does both together; its name begins with its number."""
    def register(function):
        CASES.append((name, function, (4,) if together else (4, 6)))
        return function
    return register


def run_cases():
    """Runs all of them, says what became of each, and ends the program."""
    wire, failures = Wire(), 0
    for name, function, versions in CASES:
        for wire.version in versions:
            family = f"IPv{wire.version}" if len(versions) > 1 else "IPv4 and IPv6"
            try:
                function(wire)
                print(f"ok: {name}, {family}", flush=True)
            except (Mismatch, Malformed) as problem:
                failures += 1
                print(f"FAILED: {name}, {family}: {problem}", flush=True)
    sys.exit(failures != 0)
