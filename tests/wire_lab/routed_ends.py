# SPDX-License-Identifier: BSL-1.0
"""The ends of a routed network, one question at a time: routed_ends.py QUESTION ARGUMENTS... Exit 0 when the answer is right."""
import errno
import ipaddress
import os
import socket
import struct
import sys
import time

IP_RECVERR, IPV6_RECVERR = 11, 25
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
IPV6_MTU_DISCOVER, IPV6_MTU = 23, 24
SO_BINDTODEVICE = 25


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def udp(address):
    family = family_of(address)
    s = socket.socket(family, socket.SOCK_DGRAM)
    six = family == socket.AF_INET6
    s.setsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, IPV6_RECVERR if six else IP_RECVERR, 1)
    s.settimeout(1)
    return s


def error_of(s, seconds=5):
    """(errno, address of who sent the ICMP error) from the socket's error queue, or None."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            _, control, _, _ = s.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
        except (BlockingIOError, InterruptedError):
            time.sleep(0.02)
            continue
        for _, kind, data in control:
            if kind not in (IP_RECVERR, IPV6_RECVERR):
                continue
            code = struct.unpack_from("=I", data)[0]
            offender = data[16:]
            family = struct.unpack_from("=H", offender)[0]
            raw = offender[8:24] if family == socket.AF_INET6 else offender[4:8]
            return code, str(ipaddress.ip_address(raw))
    return None


def error_after(address, port=7000, seconds=5, **options):
    s = udp(address)
    s.setblocking(False)
    if options.get("hops"):
        six = family_of(address) == socket.AF_INET6
        s.setsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, socket.IPV6_UNICAST_HOPS if six else socket.IP_TTL, options["hops"])
    s.sendto(b"x" * 40, (address, port))
    return error_of(s, seconds)


def expect(got, wanted):
    if got != wanted:
        sys.exit(f"expected {wanted}, got {got}")


def announced(interface, address4, address6, seconds):
    """Both addresses are announced to everybody: gratuitous ARP, unsolicited neighbour advertisement."""
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind((interface, 0))
    print("listening", flush=True)
    four, six = socket.inet_pton(socket.AF_INET, address4), socket.inet_pton(socket.AF_INET6, address6)
    seen, end = set(), time.monotonic() + float(seconds)
    while len(seen) < 2 and time.monotonic() < end:
        s.settimeout(max(0.01, end - time.monotonic()))
        try:
            frame = s.recv(2048)
        except TimeoutError:
            break
        if frame[:6] == b"\xff" * 6 and frame[12:14] == b"\x08\x06" and frame[28:32] == four and frame[38:42] == four:
            seen.add("arp")
        if frame[:6] == b"\x33\x33\0\0\0\1" and frame[12:14] == b"\x86\xdd" and frame[54] == 136 and frame[62:78] == six:
            seen.add("advertisement")
    expect(seen, {"arp", "advertisement"})


def echo(port):
    import select
    sockets = []
    for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        s = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind((any_address, int(port)))
        sockets.append(s)
    print("listening", flush=True)
    while True:
        for s in select.select(sockets, [], [])[0]:
            data, peer = s.recvfrom(65536)
            s.sendto(data, peer)


def asks(address, port, size):
    s = udp(address)
    content = os.urandom(int(size))
    for _ in range(2):
        try:
            s.sendto(content, (address, int(port)))
            expect(s.recv(65536) == content, True)
            return
        except (TimeoutError, OSError) as e:
            last = e
    sys.exit(f"no answer from {address}: {last}")


def ping(*addresses):
    for address in addresses:
        six = family_of(address) == socket.AF_INET6
        s = socket.socket(family_of(address), socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP)
        s.settimeout(3)
        body = struct.pack("!HH", os.getpid() & 0xffff, 1) + b"halfproxy" * 6
        packet = struct.pack("!BBH", 128 if six else 8, 0, 0) + body
        if not six:
            total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
            total = (total & 0xffff) + (total >> 16)
            packet = packet[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + packet[4:]
        s.sendto(packet, (address, 0))
        while True:
            answer, peer = s.recvfrom(2048)
            answer = answer if six else answer[20:]
            if peer[0] == address and answer[0] == (129 if six else 0) and answer[4:] == body:
                break


def hop(address, router):
    expect(error_after(address, hops=1), (errno.EHOSTUNREACH, router))


def too_big(address, port, mtu):
    """A datagram as long as our own link allows is refused on the way; one as long as was said then arrives."""
    s, six, mtu = udp(address), family_of(address) == socket.AF_INET6, int(mtu)
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    s.setsockopt(level, IPV6_MTU_DISCOVER if six else IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    s.connect((address, int(port)))
    headers = 48 if six else 28
    s.send(b"x" * (1500 - headers))
    end = time.monotonic() + 5
    while s.getsockopt(level, IPV6_MTU if six else IP_MTU) != mtu:
        if time.monotonic() > end:
            sys.exit(f"the path MTU is {s.getsockopt(level, IPV6_MTU if six else IP_MTU)}")
        time.sleep(0.02)
    try:
        s.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
    except BlockingIOError:
        pass
    content = os.urandom(mtu - headers)
    for _ in range(3):
        try:
            s.send(content)
            expect(s.recv(65536) == content, True)
            return
        except (TimeoutError, OSError) as e:
            last = e
    sys.exit(f"a datagram of the path MTU does not come back: {last}")


def unreachable(address):
    got = error_after(address)
    if got is None or got[0] != errno.EHOSTUNREACH:
        sys.exit(f"{address}: {got}")


def no_route(address):
    got = error_after(address)
    if got is None or got[0] != errno.ENETUNREACH:
        sys.exit(f"{address}: {got}")


def closed(address):
    got = error_after(address)
    if got is None or got[0] != errno.ECONNREFUSED:
        sys.exit(f"UDP to {address}: {got}")
    s = socket.socket(family_of(address), socket.SOCK_STREAM)
    s.settimeout(3)
    try:
        s.connect((address, 80))
    except ConnectionRefusedError:
        return
    sys.exit(f"TCP to {address} is not refused")


if __name__ == "__main__":
    {f.__name__: f for f in (announced, echo, asks, ping, hop, too_big, unreachable, no_route, closed)}[sys.argv[1]](*sys.argv[2:])
