# SPDX-License-Identifier: BSL-1.0
"""TCP segments and ICMP errors as bytes and back, IPv4 and IPv6, every checksum written and verified."""
import dataclasses
import socket
import struct

FIN, SYN, RST, PSH, ACK, ECE, CWR = 0x01, 0x02, 0x04, 0x08, 0x10, 0x40, 0x80
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
MSS, SCALE, SACK_PERMITTED, SACK, TIMESTAMPS = 2, 3, 4, 5, 8
NUMBERS = 1 << 32  # sequence numbers wrap here


def plus(number, distance):
    return (number + distance) % NUMBERS


def distance(later, earlier):
    """Signed: how far `later` is after `earlier` on the circle of sequence numbers."""
    return (later - earlier + NUMBERS // 2) % NUMBERS - NUMBERS // 2


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def address(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def pseudo_header(source, destination, protocol, length):
    if len(source) == 4:
        return source + destination + struct.pack("!HH", protocol, length)
    return source + destination + struct.pack("!II", length, protocol)


def ip_packet(source, destination, protocol, payload):
    if len(source) == 16:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + source + destination + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0, source, destination)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


@dataclasses.dataclass
class Options:
    """What a segment's options say; None or False where an option is absent."""
    mss: int = None
    scale: int = None
    sack_permitted: bool = False
    timestamps: tuple = None  # value, echo
    sack: tuple = ()          # of (left, right)
    other: bytes = b""        # raw options of any other kind

    def pack(self):
        out = b""
        if self.mss is not None:
            out += struct.pack("!BBH", MSS, 4, self.mss)
        if self.sack_permitted:
            out += bytes([SACK_PERMITTED, 2])
        if self.timestamps is not None:
            out += struct.pack("!BBII", TIMESTAMPS, 10, *self.timestamps)
        if self.scale is not None:
            out += bytes([SCALE, 3, self.scale])
        if self.sack:
            out += bytes([SACK, 2 + 8 * len(self.sack)]) + b"".join(struct.pack("!II", *edges) for edges in self.sack)
        out += self.other
        return out + b"\x01" * (-len(out) % 4)

    @staticmethod
    def parse(data):
        out = Options()
        while data:
            kind = data[0]
            if kind == 0:
                break
            if kind == 1:
                data = data[1:]
                continue
            body, data = data[2:data[1]], data[data[1]:]
            if kind == MSS:
                out.mss, = struct.unpack("!H", body)
            elif kind == SCALE:
                out.scale = body[0]
            elif kind == SACK_PERMITTED:
                out.sack_permitted = True
            elif kind == TIMESTAMPS:
                out.timestamps = struct.unpack("!II", body)
            elif kind == SACK:
                out.sack = tuple(struct.iter_unpack("!II", body))
            else:
                out.other += bytes([kind, 2 + len(body)]) + body
        return out


@dataclasses.dataclass
class Segment:
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    seq: int
    ack: int = 0
    flags: int = ACK
    window: int = 64240
    options: Options = dataclasses.field(default_factory=Options)
    data: bytes = b""
    packet_bytes: int = 0  # of a parsed one: the whole IP packet

    def tcp(self):
        options = self.options.pack()
        head = struct.pack("!HHIIBBHHH", self.source_port, self.destination_port, self.seq, self.ack, (20 + len(options)) << 2,
                           self.flags, self.window, 0, 0) + options
        value = checksum(pseudo_header(self.source, self.destination, TCP, len(head) + len(self.data)) + head + self.data)
        return head[:16] + struct.pack("!H", value) + head[18:] + self.data

    def pack(self):
        return ip_packet(self.source, self.destination, TCP, self.tcp())

    def __str__(self):
        names = "".join(name for name, bit in zip("FSRPAEC", (FIN, SYN, RST, PSH, ACK, ECE, CWR)) if self.flags & bit)
        said = [f"{name}={value}" for name, value in vars(self.options).items() if value is not None and value is not False and value not in ((), b"")]
        return f"[{names} seq {self.seq} ack {self.ack} win {self.window} len {len(self.data)} {' '.join(said)}]"


class Malformed(Exception):
    pass


def split_ip(packet):
    """Source, destination, protocol and payload of an IP packet, whose header checksum must be right."""
    if packet[0] >> 4 == 6:
        length, protocol = struct.unpack("!HB", packet[4:7])
        return packet[8:24], packet[24:40], protocol, packet[40:40 + length]
    head = (packet[0] & 15) * 4
    if checksum(packet[:head]) != 0:
        raise Malformed("wrong IPv4 header checksum")
    total, = struct.unpack("!H", packet[2:4])
    return packet[12:16], packet[16:20], packet[9], packet[head:total]


def parse_tcp(source, destination, payload):
    if checksum(pseudo_header(source, destination, TCP, len(payload)) + payload) != 0:
        raise Malformed("wrong TCP checksum")
    source_port, destination_port, seq, ack, offset, flags, window = struct.unpack("!HHIIBBH", payload[:16])
    head = offset >> 4 << 2
    return Segment(source, destination, source_port, destination_port, seq, ack, flags, window, Options.parse(payload[20:head]),
                   payload[head:])


def too_big(source, destination, mtu, quoted):
    """ICMP "fragmentation needed" (RFC 1191) or ICMPv6 "packet too big" (RFC 8201) about the packet `quoted`."""
    v6 = len(source) == 16
    body = struct.pack("!BBHI", 2, 0, 0, mtu) if v6 else struct.pack("!BBHHH", 3, 4, 0, 0, mtu)
    body += quoted[:1232 if v6 else 548]
    covered = pseudo_header(source, destination, ICMPV6, len(body)) + body if v6 else body
    body = body[:2] + struct.pack("!H", checksum(covered)) + body[4:]
    return ip_packet(source, destination, ICMPV6 if v6 else ICMP, body)


@dataclasses.dataclass
class IcmpError:
    source: bytes
    destination: bytes
    kind: int
    mtu: int
    quoted: bytes  # the IP packet, as long as it was quoted

    def quoted_tcp(self):
        """Ports, sequence and acknowledgment number of the quoted segment, whose addresses stand in the quoted IP header."""
        head = 40 if self.quoted[0] >> 4 == 6 else (self.quoted[0] & 15) * 4
        return struct.unpack("!HHII", self.quoted[head:head + 12])

    def quoted_addresses(self):
        return (self.quoted[8:24], self.quoted[24:40]) if self.quoted[0] >> 4 == 6 else (self.quoted[12:16], self.quoted[16:20])


def parse_icmp_error(source, destination, protocol, payload):
    covered = pseudo_header(source, destination, protocol, len(payload)) + payload if protocol == ICMPV6 else payload
    if checksum(covered) != 0:
        raise Malformed("wrong ICMP checksum")
    mtu, = struct.unpack("!I", payload[4:8])
    return IcmpError(source, destination, payload[0], mtu if protocol == ICMPV6 else mtu & 0xFFFF, payload[8:])
