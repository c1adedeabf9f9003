# SPDX-License-Identifier: BSL-1.0
"""Small servers and clients for the wire tests.

banner-server PORT                  speaks first, then echoes one line, on TCP over IPv4 and IPv6
banner-client ADDRESS PORT COUNT    expects just that, COUNT times
direct-client ADDRESS DIRECT PORT COUNT   the banner through the proxy within 2 ms of the banner past it, at the median
reset-client ADDRESS PORT LEAST MOST      expects a RST so many seconds after its SYN
echo-server PORT                    echoes datagrams, IPv4 and IPv6
echo-client ADDRESS PORT COUNT SIZE expects its datagrams back
"""
import os
import socket
import sys
import time

BANNER = b"220 server speaks first\r\n"
TIMEOUT_S = 10


def listen(kind, port):
    sock = socket.socket(socket.AF_INET6, kind)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("::", port))
    return sock


def serve_each(port, serve, name):
    """serve(peer) for one connection on TCP after the other; what is wrong with one is said, and the next has its turn."""
    sock = listen(socket.SOCK_STREAM, int(port))
    sock.listen(128)
    while True:
        peer, _ = sock.accept()
        peer.settimeout(TIMEOUT_S)
        try:
            serve(peer)
        except (OSError, ValueError, KeyError) as problem:
            print(f"{name}:", problem, file=sys.stderr, flush=True)
        peer.close()


def banner_server(port):
    def serve(peer):
        peer.sendall(BANNER)
        peer.sendall(peer.makefile("rb").readline())
    serve_each(port, serve, "banner-server")


def banner_client(address, port, count):
    for i in range(int(count)):
        with socket.create_connection((address, int(port)), TIMEOUT_S) as peer:
            stream = peer.makefile("rb")
            if stream.readline() != BANNER:
                sys.exit(f"connection {i}: no banner")
            line = b"line %d\r\n" % i
            peer.sendall(line)
            if stream.readline() != line:
                sys.exit(f"connection {i}: the line did not come back")
            if stream.read(1) != b"":
                sys.exit(f"connection {i}: no end of stream")
    print(f"{count} connections")


def banner_seconds(address, port):
    begin = time.monotonic()
    with socket.create_connection((address, int(port)), TIMEOUT_S) as peer:
        if peer.makefile("rb").readline() != BANNER:
            sys.exit(f"no banner from {address}")
        took = time.monotonic() - begin
        peer.sendall(b"\r\n")
    return took


def direct_client(address, direct, port, count):
    """In turns, so that whatever else the machine does slows both."""
    taken = {address: [], direct: []}
    for _ in range(int(count)):
        for where, seconds in taken.items():
            seconds.append(banner_seconds(where, port))
    through, past = (sorted(seconds)[len(seconds) // 2] * 1000 for seconds in taken.values())
    print(f"banner of {address} after {through:.2f} ms (median of {count}), past the proxy after {past:.2f} ms")
    if through - past > 2:
        sys.exit(f"the proxy adds {through - past:.2f} ms")


def reset_client(address, port, least, most):
    begin = time.monotonic()
    try:
        with socket.create_connection((address, int(port)), 2 * float(most)) as peer:
            peer.settimeout(2 * float(most))
            sys.exit(f"{address} said {peer.recv(100)}")
    except ConnectionError as problem:
        took = time.monotonic() - begin
        print(f"{address} port {port}: {problem} after {took * 1000:.1f} ms")
        if not float(least) <= took <= float(most):
            sys.exit(f"not within {least} to {most} s")


def echo_server(port):
    sock = listen(socket.SOCK_DGRAM, int(port))
    while True:
        data, peer = sock.recvfrom(65536)
        sock.sendto(data, peer)


def echo_client(address, port, count, size):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(TIMEOUT_S)
    sock.connect((address, int(port)))
    for i in range(int(count)):
        data = os.urandom(int(size))
        sock.send(data)
        if sock.recv(65536) != data:
            sys.exit(f"datagram {i} came back changed")
    print(f"{count} datagrams of {size} bytes")


def main():
    commands = {"banner-server": banner_server, "banner-client": banner_client,
                "direct-client": direct_client, "reset-client": reset_client,
                "echo-server": echo_server, "echo-client": echo_client}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    try:
        commands[sys.argv[1]](*sys.argv[2:])
    except OSError as problem:
        sys.exit(f"{sys.argv[1]}: {problem}")


if __name__ == "__main__":
    main()
