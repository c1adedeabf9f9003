# SPDX-License-Identifier: BSL-1.0
"""Tagged frames through the half proxy, sent and received by hand, since not every kernel makes VLAN interfaces.

tagged.py GUARD    run in the lab's own namespace; GUARD is off, auto or always
"""
import ctypes
import socket
import struct
import sys
import time

ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 8, 15, 23
DEVICE_HEADER = "<BBHHHH"  # virtio 1.2 section 5.1.6: flags, segment type, header length, segment size, checksum start and offset
DEVICE_BYTES = struct.calcsize(DEVICE_HEADER)
NEEDS_CHECKSUM, SEGMENT_TCPV4 = 1, 1
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 0x10, 0x40
TIMEOUT_S = 5
CLIENT, SERVER = bytes([10, 77, 0, 1]), bytes([10, 77, 0, 2])
CLIENT_MAC, SERVER_MAC = bytes([2, 0, 0, 0, 0, 1]), bytes([2, 0, 0, 0, 0, 2])
SYN, ACK = 0x02, 0x10

STACKS = {
    "no tag": b"",
    "802.1Q": struct.pack("!HH", 0x8100, 0x2005),
    "priority tag": struct.pack("!HH", 0x8100, 0x6000),
    "802.1ad with 802.1Q": struct.pack("!HHHH", 0x88A8, 9, 0x8100, 6),
}


class Port:
    """A packet socket in a namespace; frames are bytes with their tags in place."""

    def __init__(self, namespace, interface):
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/run/netns/" + namespace, "rb") as there:
            if libc.setns(there.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), "setns " + namespace)
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.sock.bind((interface, ETH_P_ALL))
        self.sock.settimeout(0.1)

    def send(self, data, device=bytes(DEVICE_BYTES)):
        self.sock.send(device + data)

    def receive(self):
        data, ancillary, _, _ = self.sock.recvmsg(70000, 256)
        data = data[DEVICE_BYTES:]
        for level, kind, content in ancillary:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", content[:20])
                if status & TP_STATUS_VLAN_VALID:
                    tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                    data = data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
        return data

    def until(self, wanted, what):
        """The first frame for which wanted(frame) holds, within TIMEOUT_S."""
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            try:
                data = self.receive()
            except TimeoutError:
                continue
            if wanted(data):
                return data
        raise SystemExit("nothing came: " + what)


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source, destination, protocol, payload):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0, source, destination)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def udp(source, destination, content):
    head = struct.pack("!HHHH", 5000, 5001, 8 + len(content), 0)
    return ipv4(source, destination, 17, head + content)


def tcp(source, destination, port, numbers, flags, data=b"", partial=False):
    """port is the client's, on whichever side it stands; partial leaves the checksum to the device."""
    options = struct.pack("!BBHBBBB", 2, 4, 1460, 4, 2, 1, 1) if flags & SYN else b""
    ports = (port, 80) if source == CLIENT else (80, port)
    head = struct.pack("!HHIIBBHHH", *ports, *numbers, (20 + len(options)) << 2, flags, 64240, 0, 0) + options
    pseudo = source + destination + struct.pack("!HH", 6, len(head) + len(data))
    value = ~checksum(pseudo) & 0xFFFF if partial else checksum(pseudo + head + data)
    return ipv4(source, destination, 6, head[:16] + struct.pack("!H", value) + head[18:] + data)


def frame(to, sender, tags, packet):
    return to + sender + tags + b"\x08\x00" + packet


def to_server(tags, packet):
    return frame(SERVER_MAC, CLIENT_MAC, tags, packet)


def to_client(tags, packet):
    return frame(CLIENT_MAC, SERVER_MAC, tags, packet)


def is_tcp(data, tags, flags, port):
    ip = 14 + len(tags)
    return (data[12:ip - 2] == tags and data[ip + 9:ip + 10] == b"\x06" and data[ip + 33] & 0x17 == flags
            and struct.pack("!H", port) in (data[ip + 20:ip + 22], data[ip + 22:ip + 24]))


def numbers_of(data, tags):
    return struct.unpack("!II", data[14 + len(tags) + 24:14 + len(tags) + 32])


def datagrams_pass_unchanged(client, server, name, tags):
    there = frame(SERVER_MAC, CLIENT_MAC, tags, udp(CLIENT, SERVER, name.encode() * 20))
    client.send(there)
    server.until(lambda data: data == there, name + ": datagram to the server")
    back = frame(CLIENT_MAC, SERVER_MAC, tags, udp(SERVER, CLIENT, name.encode() * 30))
    server.send(back)
    client.until(lambda data: data == back, name + ": datagram to the client")


def connect(client, server, name, tags, port, challenged):
    """A handshake by hand; the acknowledgment number with which the client goes on."""
    client.send(to_server(tags, tcp(CLIENT, SERVER, port, (1000, 0), SYN)))
    if challenged:
        answer = client.until(lambda data: is_tcp(data, tags, SYN | ACK, port), name + ": cookie to the client")
        seq, ack = numbers_of(answer, tags)
        if ack != 1001 or answer[:12] != CLIENT_MAC + SERVER_MAC:
            raise SystemExit(name + ": not an answer to this SYN")
        client.send(to_server(tags, tcp(CLIENT, SERVER, port, (1001, (seq + 1) & 0xFFFFFFFF), ACK)))
    server.until(lambda data: is_tcp(data, tags, SYN, port), name + ": SYN at the server")
    server.send(to_client(tags, tcp(SERVER, CLIENT, port, (5000, 1001), SYN | ACK)))
    expected = ACK if challenged else SYN | ACK
    answer = client.until(lambda data: is_tcp(data, tags, expected, port), name + ": the server's answer at the client")
    seq, _ = numbers_of(answer, tags)
    if not challenged:
        client.send(to_server(tags, tcp(CLIENT, SERVER, port, (1001, seq + 1), ACK)))
    server.until(lambda data: is_tcp(data, tags, ACK, port), name + ": ACK at the server")
    return seq if challenged else seq + 1


def large_segment_arrives(client, server, name, tags, port, ack):
    """20,000 bytes in one frame, to be cut and summed by the device: whoever cuts it, the bytes and the tags are to arrive."""
    content = bytes(range(250)) * 80
    network = 14 + len(tags)
    device = struct.pack(DEVICE_HEADER, NEEDS_CHECKSUM, SEGMENT_TCPV4, network + 40, 1448, network + 20, 16)
    client.send(to_server(tags, tcp(CLIENT, SERVER, port, (1001, ack), ACK, content, partial=True)), device)
    got, frames = b"", 0
    while len(got) < len(content):
        data = server.until(lambda data: is_tcp(data, tags, ACK, port), name + ": data at the server")
        if numbers_of(data, tags) != (1001 + len(got), 5001):
            raise SystemExit(f"{name}: segment with {numbers_of(data, tags)} after {len(got)} bytes")
        got, frames = got + data[network + 40:], frames + 1
    if got != content:
        raise SystemExit(name + ": the data came changed")
    return frames


def main():
    guard = sys.argv[1]
    client, server = Port("client", "c0"), Port("server", "s0")
    for port, (name, tags) in enumerate(STACKS.items(), 40000):
        datagrams_pass_unchanged(client, server, name, tags)
        ack = connect(client, server, name, tags, port, guard == "always")
        frames = large_segment_arrives(client, server, name, tags, port, ack)
        print(f"ok: {name} with --guard {guard}; 20,000 bytes came in {frames} frame(s)")


main()
