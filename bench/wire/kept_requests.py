#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Requests per second on connections that are open before the count begins: kept_requests.py ADDRESS CONNECTIONS WAIT_S COUNT_S.

Prints "open" when all are, then the figure. Each connection has one request on its way at a time."""
import selectors
import socket
import sys
import time

REQUEST = b"GET /one HTTP/1.1\r\nHost: test\r\n\r\n"


def main(address, connections, wait, seconds):
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        selector.register(socket.create_connection((address, 80), 10), selectors.EVENT_READ)
    print("open", flush=True)
    time.sleep(wait)
    for key in list(selector.get_map().values()):
        key.fileobj.send(REQUEST)
    answers, end = 0, time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            if not key.fileobj.recv(4096):
                sys.exit("a connection was closed")
            key.fileobj.send(REQUEST)
            answers += 1
    print(f"{answers / seconds:.0f}")


main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
