# SPDX-License-Identifier: BSL-1.0
"""What two ends of a connection agree upon, as each end's kernel says it.

agreed.py serve PORT         tells each client what the server's end knows
agreed.py ask ADDRESS PORT   prints both; comes again when the connection is reset
"""
import socket
import sys
import time

OPTIONS = {1: "timestamps", 2: "SACK", 4: "scaling"}  # linux/tcp.h: TCPI_OPT_*
ATTEMPTS = 3


def known_to(peer):
    info = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
    names = [name for bit, name in OPTIONS.items() if info[5] & bit]
    return " ".join([*names, str(info[6] & 15), str(info[6] >> 4)])


def serve(port):
    with socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        while True:
            with listener.accept()[0] as peer:
                try:
                    peer.sendall(known_to(peer).encode())
                except OSError:
                    pass


def ask(address, port):
    for attempt in range(ATTEMPTS):
        try:
            with socket.create_connection((address, int(port)), 5) as peer:
                if there := peer.recv(200).decode():
                    print(f"client: {known_to(peer)}; server: {there}")
                    return 0
        except OSError as problem:
            print(problem, file=sys.stderr)
        time.sleep(0.1 * (attempt + 1))
    return 1


if len(sys.argv) < 3 or sys.argv[1] not in ("serve", "ask"):
    sys.exit(__doc__)
sys.exit(serve(sys.argv[2]) if sys.argv[1] == "serve" else ask(*sys.argv[2:4]))
