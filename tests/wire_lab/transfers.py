# SPDX-License-Identifier: BSL-1.0
"""Content both ways over one connection after the other, between real stacks; every byte is summed up at both ends.

transfers.py serve PORT
transfers.py fetch ADDRESS PORT BYTES [COUNT]    COUNT times, each within ten seconds
"""
import functools
import hashlib
import random
import socket
import sys
import time

TIMEOUT_S = 10
DIGEST_BYTES = hashlib.sha256().digest_size


@functools.lru_cache(maxsize=8)
def content_of(size):
    return random.Random(size).randbytes(size)


@functools.lru_cache(maxsize=8)
def digest_of(size):
    return hashlib.sha256(content_of(size)).digest()


def read_rest(peer):
    """The digest and the number of bytes to the end of the stream."""
    digest, total, buffer = hashlib.sha256(), 0, bytearray(1 << 18)
    while count := peer.recv_into(buffer):
        digest.update(memoryview(buffer)[:count])
        total += count
    return digest.digest(), total


def serve(port, listening=lambda: None):
    """Reads to the end, then sends the sum of what it has read, and as much content of its own."""
    listener = socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
    listening()
    while True:
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(TIMEOUT_S)
            try:
                digest, size = read_rest(peer)
                peer.sendall(digest + content_of(size))
            except OSError as problem:
                print("server:", problem, file=sys.stderr, flush=True)


def transfer(address, port, size):
    """What was wrong, or None."""
    try:
        with socket.create_connection((address, int(port)), TIMEOUT_S) as peer:
            peer.sendall(content_of(size))
            peer.shutdown(socket.SHUT_WR)
            if peer.recv(DIGEST_BYTES, socket.MSG_WAITALL) != digest_of(size):
                return "the server got other bytes"
            return None if read_rest(peer) == (digest_of(size), size) else "the client got other bytes"
    except OSError as problem:
        return str(problem)


def fetch(address, port, size, count="1"):
    begin = time.monotonic()
    for i in range(int(count)):
        wrong = transfer(address, port, int(size))
        if wrong:
            sys.exit(f"transfer {i} with {address}: {wrong}")
    print(f"{count} times {size} bytes each way with {address}: {time.monotonic() - begin:.2f} s")


if __name__ == "__main__":
    commands = {"serve": serve, "fetch": fetch}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
