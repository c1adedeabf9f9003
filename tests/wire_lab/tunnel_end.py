# SPDX-License-Identifier: BSL-1.0
"""tunnel_end.py [UDP_PORT]: the far end of tunnels, for kernels that have no ipip, ip6tnl or fou: what comes inside IPv4, IPv6 or GUE (version 0, to
UDP_PORT) is handed to this namespace's own stack through a TUN device. Its inner packets are not looked into, checksums included."""
import fcntl
import os
import select
import socket
import struct
import sys

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
GUE_IP4, GUE_IP6 = b"\0\x04\0\0", b"\0\x29\0\0"


def tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def inner(sock, kind):
    """The packet inside the next one, or nothing."""
    data = sock.recv(65535)
    if kind == "udp":
        return data[4:] if data[:4] in (GUE_IP4, GUE_IP6) else b""
    if kind == socket.AF_INET:  # with its header
        return data[(data[0] & 15) * 4:]
    return data


def main(udp_port=6080):
    device = tun("t0")
    ends = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        for protocol in (4, 41):
            ends[socket.socket(family, socket.SOCK_RAW, protocol)] = family
    gue = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    gue.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    gue.bind(("::", int(udp_port)))
    ends[gue] = "udp"
    os.system("ip link set t0 up")
    print("listening", flush=True)
    while True:
        for sock in select.select(list(ends), [], [])[0]:
            packet = inner(sock, ends[sock])
            if packet:
                os.write(device, packet)


if __name__ == "__main__":
    main(*sys.argv[1:])
