# SPDX-License-Identifier: BSL-1.0
"""told_option.py INTERFACE KIND PORT COUNT: listens for COUNT connections' first ACK without SYN to PORT, and says for each which address and port a
TCP option of this kind names ("-" where there is none), and whether data came."""
import socket
import struct
import sys


def option_of(tcp, kind):
    header = (tcp[12] >> 4) * 4
    at = 20
    while at + 1 < header and tcp[at]:
        if tcp[at] == 1:
            at += 1
            continue
        if tcp[at] == kind:
            port, address = struct.unpack(">H4s", tcp[at + 2:at + 8])
            return f"{socket.inet_ntoa(address)} {port}"
        at += tcp[at + 1]
    return "-"


def main(interface, kind, port, count):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    sock.bind((interface, 0x0800))
    print("listening", flush=True)
    seen = set()
    while len(seen) < int(count):
        packet = sock.recv(65535)
        tcp = packet[(packet[0] & 15) * 4:]
        if packet[9] != 6 or struct.unpack(">H", tcp[2:4])[0] != int(port) or tcp[13] & 0x17 != 0x10:
            continue
        flow = packet[12:16] + tcp[:2]
        if flow not in seen:
            seen.add(flow)
            print("told", option_of(tcp, int(kind)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
