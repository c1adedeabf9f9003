# SPDX-License-Identifier: BSL-1.0
"""Clients of a service whose servers come and go.

    health_load.py requests ADDRESS PORT      one after the other until standard input ends; a line for each: when it began, and who answered or what went wrong
    health_load.py idle ADDRESS PORT COUNT    so many connections; "open"; then, at a line on standard input, a request on each: a line for what comes back
"""
import socket
import sys
import threading
import time

REQUEST = b"GET /who HTTP/1.0\r\n\r\n"


def answer(connection):
    connection.sendall(REQUEST)
    got = b""
    while piece := connection.recv(65536):
        got += piece
    return got.rsplit(b"\r\n\r\n", 1)[-1].decode().strip() or "nothing"


def attempt(make, use):
    try:
        with make() as connection:
            return use(connection)
    except OSError as error:
        return f"failed: {type(error).__name__}"


def requests(address):
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        begun = time.time()
        print(f"{begun:.3f} {attempt(lambda: socket.create_connection(address, 2), answer)}", flush=True)
        time.sleep(0.005)


def idle(address, count):
    connections = [socket.create_connection(address, 2) for _ in range(count)]
    print("open", flush=True)
    sys.stdin.readline()
    for connection in connections:
        print(attempt(lambda connection=connection: connection, answer), flush=True)


if __name__ == "__main__":
    where = (sys.argv[2], int(sys.argv[3]))
    if sys.argv[1] == "requests":
        requests(where)
    else:
        idle(where, int(sys.argv[4]))
