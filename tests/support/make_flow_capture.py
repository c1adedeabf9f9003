#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Writes a capture of many TCP and UDP flows at once, for measuring and for the smoke test of `halfproxy flows`.

    make_flow_capture.py --out FILE --packets 3000000 --flows-at-once 20000 [--snap 0]

The same arguments make the same file. Checksums are right; payloads are zeros. One flow in eight is IPv6, one in six UDP; a TCP
flow has a handshake, requests and answers, acknowledgments, a few retransmissions, and FINs or a RST.
"""
import argparse
import random
import struct

ACK, PSH, SYN, FIN, RST = 16, 8, 2, 1, 4


def fold(total):
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def words(data):
    return sum(struct.unpack(f'!{len(data) // 2}H', data))


class Flow:
    """One flow's packets, made as they are asked for. Sums of what never changes are taken once."""

    def __init__(self, number, rng):
        self.v6 = number % 8 == 7
        self.protocol = 17 if number % 6 == 5 else 6
        port = 1024 + number % 60000
        server_port = (443, 80, 8443, 25)[number % 4] if self.protocol == 6 else 53
        client = struct.pack('!I', 0x0a000000 + number // 50)
        server = struct.pack('!I', 0xc6336400 + number % 200)
        if self.v6:
            client, server = b'\x20\x01\x0d\xb8' + bytes(8) + client, b'\x20\x01\x0d\xb8\0\1' + bytes(6) + server
        self.addresses = (client + server, server + client)
        self.ports = (struct.pack('!HH', port, server_port), struct.pack('!HH', server_port, port))
        self.sum = words(client) + words(server) + port + server_port + self.protocol
        self.ip_sum = 0x4500 + 0x4000 + (64 << 8 | self.protocol) + words(client) + words(server) if not self.v6 else 0
        self.seq = [rng.getrandbits(32), rng.getrandbits(32)]
        self.sent = [self.seq[0], self.seq[1]]
        self.steps = iter(self.tcp_steps(rng) if self.protocol == 6 else self.udp_steps(rng))

    def tcp_steps(self, rng):
        yield 0, SYN, 0, 1, False
        yield 1, SYN | ACK, 0, 1, False
        yield 0, ACK, 0, 0, False
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            yield 0, PSH | ACK, rng.randrange(80, 700), 0, False
            for _ in range(rng.choice((1, 1, 2, 4, 8, 20))):
                yield 1, ACK, 1448, 0, rng.random() < 0.005
                yield 0, ACK, 0, 0, False
        if rng.random() < 0.1:
            yield 0, RST | ACK, 0, 0, False
            return
        yield 0, FIN | ACK, 0, 1, False
        yield 1, FIN | ACK, 0, 1, False
        yield 0, ACK, 0, 0, False

    @staticmethod
    def udp_steps(rng):
        for _ in range(rng.choice((1, 1, 2))):
            yield 0, 0, rng.randrange(20, 60), 0, False
            yield 1, 0, rng.randrange(60, 400), 0, False

    def next_packet(self):
        """The frame up to its payload, and the payload's length; None when the flow is over."""
        step = next(self.steps, None)
        if step is None:
            return None
        side, flags, size, extra, again = step
        if self.protocol == 17:
            length = 8 + size
            header = self.ports[side] + struct.pack('!HH', length, fold(self.sum + 2 * length) ^ 0xffff or 0xffff)
        else:
            length = 20 + size
            seq = self.seq[side]
            if again:
                seq = (seq - size) & 0xffffffff
            ack = self.seq[side ^ 1] if flags & ACK else 0
            total = self.sum + length + (seq >> 16) + (seq & 0xffff) + (ack >> 16) + (ack & 0xffff) + (5 << 12 | flags) + 64240
            header = self.ports[side] + struct.pack('!IIHHHH', seq, ack, 5 << 12 | flags, 64240, fold(total) ^ 0xffff, 0)
            if not again:
                self.seq[side] = (seq + size + extra) & 0xffffffff
        return self.network(side, length) + header, size

    def network(self, side, length):
        if self.v6:
            return (b'\2\0\0\0\0\2\2\0\0\0\0\1\x86\xdd' + struct.pack('!IHBB', 6 << 28, length, self.protocol, 64) +
                    self.addresses[side])
        checksum = fold(self.ip_sum + 20 + length) ^ 0xffff
        return (b'\2\0\0\0\0\2\2\0\0\0\0\1\x08\x00' +
                struct.pack('!HHHHBBH', 0x4500, 20 + length, 0, 0x4000, 64, self.protocol, checksum) + self.addresses[side])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', required=True)
    parser.add_argument('--packets', type=int, required=True)
    parser.add_argument('--flows-at-once', type=int, default=20000)
    parser.add_argument('--snap', type=int, default=0, help='bytes kept of each frame; 0: all')
    arguments = parser.parse_args()
    rng = random.Random(20261123)
    opened = arguments.flows_at_once
    flows = [Flow(number, rng) for number in range(opened)]
    zeros = bytes(2048)
    with open(arguments.out, 'wb', buffering=1 << 20) as out:
        out.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1))
        for number in range(arguments.packets):
            at = int(rng.random() * len(flows))
            packet = flows[at].next_packet()
            while packet is None:
                flows[at] = Flow(opened, rng)
                opened += 1
                packet = flows[at].next_packet()
            frame, size = packet
            wire = len(frame) + size
            kept = min(wire, arguments.snap or wire)
            frame = (frame + zeros[:size])[:kept]
            out.write(struct.pack('<IIII', 1_700_000_000 + number // 100_000, number % 100_000 * 10, kept, wire) + frame)


if __name__ == '__main__':
    main()
