# SPDX-License-Identifier: BSL-1.0
"""Datagrams whose fragments leave in an order of their sender's choice.

serve INTERFACE TO_MAC PORT                   sends every datagram back, its last fragment first
ask INTERFACE TO_MAC SOURCE ADDRESS PORT COUNT SIZE   expects COUNT datagrams back, sent in one order after the other
"""
import ipaddress
import itertools
import os
import socket
import struct
import sys

TIMEOUT_S = 10
PIECE = 1448  # of a fragment: what leaves room for every header, in units of 8


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def udp(source, destination, ports, payload):
    head = struct.pack("!HHHH", *ports, 8 + len(payload), 0)
    length = struct.pack("!HH" if source.version == 4 else "!II", *((17, 8 + len(payload)) if source.version == 4 else (8 + len(payload), 17)))
    total = checksum(source.packed + destination.packed + length + head + payload) or 0xffff
    return head[:6] + struct.pack("!H", total) + payload


def fragments(source, destination, ports, payload, number):
    datagram = udp(source, destination, ports, payload)
    for at in range(0, len(datagram), PIECE):
        piece, more = datagram[at:at + PIECE], at + PIECE < len(datagram)
        if source.version == 4:
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(piece), number & 0xffff, at // 8 | more << 13, 64, 17, 0) + source.packed + destination.packed
            yield b"\x08\0", head[:10] + struct.pack("!H", checksum(head)) + head[12:] + piece
        else:
            head = struct.pack("!IHBB", 6 << 28, 8 + len(piece), 44, 64) + source.packed + destination.packed
            yield b"\x86\xdd", head + struct.pack("!BBHI", 17, 0, at | more, number) + piece


class Wire:
    def __init__(self, interface, to_mac):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.bind((interface, 0))
        self.link = bytes.fromhex(to_mac.replace(":", "")) + self.socket.getsockname()[4]

    def send(self, parts):
        for kind, packet in parts:
            self.socket.send(self.link + kind + packet)


def plain(address):
    """Of a socket for both families."""
    ip = ipaddress.ip_address(address.split("%")[0])
    return getattr(ip, "ipv4_mapped", None) or ip


def serve(interface, to_mac, port):
    wire = Wire(interface, to_mac)
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    for level, option in ((socket.IPPROTO_IP, 8), (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO)):  # IP_PKTINFO
        sock.setsockopt(level, option, 1)
    sock.bind(("::", int(port)))
    print("serving", flush=True)
    for number in itertools.count(1):
        data, notes, _, peer = sock.recvmsg(65536, 200)
        told = [note[2] for note in notes if note[0] == socket.IPPROTO_IPV6]
        own = plain(str(ipaddress.ip_address(told[0][:16])))
        wire.send(reversed(list(fragments(own, plain(peer[0]), (int(port), peer[1]), data, number))))


def ask(interface, to_mac, source, address, port, count, size):
    wire = Wire(interface, to_mac)
    own, peer = ipaddress.ip_address(source), ipaddress.ip_address(address)
    sock = socket.socket(socket.AF_INET if own.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    sock.settimeout(TIMEOUT_S)
    sock.bind((source, 0))
    for number in range(int(count)):
        data = os.urandom(int(size))
        parts = list(fragments(own, peer, (sock.getsockname()[1], int(port)), data, number + 1000))
        orders = list(itertools.permutations(parts))
        wire.send(orders[number % len(orders)])
        if sock.recv(65536) != data:
            sys.exit(f"datagram {number} came back changed")
    print(f"{count} datagrams of {size} bytes, in {len(orders)} orders")


def main():
    commands = {"serve": serve, "ask": ask}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    try:
        commands[sys.argv[1]](*sys.argv[2:])
    except OSError as problem:
        sys.exit(f"{' '.join(sys.argv[1:])}: {problem}")


if __name__ == "__main__":
    main()
