# SPDX-License-Identifier: BSL-1.0
"""One client port connects to one server port again and again, real stacks at both ends.

tuple_reuse.py COUNT    times for each way to end a connection and each family; run in the lab's own namespace
"""
import errno
import os
import socket
import struct
import sys
import threading
import time

from raw_ends import enter

CLIENT_PORT, SERVER_PORT, TIMEOUT_S = 33333, 7001, 10
RETRANSMITTED_S = 0.9  # a SYN that was lost or answered wrongly comes again after a second
ADDRESSES = {4: "10.77.0.2", 6: "fd77::2"}
QUESTION, ANSWER = b"question", b"answer"
ABORT = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: close() sends a RST


def serve(listening):
    """Answers, and ends first when it is told to."""
    enter("server")
    listener = socket.create_server(("::", SERVER_PORT), family=socket.AF_INET6, dualstack_ipv6=True, backlog=16)
    listening.set()
    while True:
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(TIMEOUT_S)
            try:
                asked = peer.recv(len(QUESTION) + 1, socket.MSG_WAITALL)
                peer.sendall(ANSWER)
                if asked[-1:] != b"s":
                    peer.recv(1)  # to the client's end
            except OSError:
                pass  # the client's RST


def connect(version):
    """As soon as the client's own kernel lets it: the ACK of its last FIN may still be on its way."""
    end = time.monotonic() + TIMEOUT_S
    while True:
        ours = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        ours.settimeout(TIMEOUT_S)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ours.bind(("", CLIENT_PORT))
        begin = time.monotonic()
        try:
            ours.connect((ADDRESSES[version], SERVER_PORT))
            return ours, begin
        except OSError as problem:
            ours.close()
            if problem.errno != errno.EADDRNOTAVAIL or begin > end:
                raise


def once(version, who_ends):
    """The seconds it took."""
    ours, begin = connect(version)
    with ours:
        ours.sendall(QUESTION + who_ends[:1].encode())
        if ours.recv(len(ANSWER), socket.MSG_WAITALL) != ANSWER:
            raise OSError("a wrong answer")
        if who_ends == "reset":
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        elif who_ends == "client":
            ours.shutdown(socket.SHUT_WR)
        if who_ends != "reset" and ours.recv(1) != b"":
            raise OSError("no end of the stream")
        return time.monotonic() - begin


def again_and_again(version, who_ends, count):
    durations = []
    for i in range(count):
        try:
            durations.append(once(version, who_ends))
        except OSError as problem:
            print(f"IPv{version}, ended by {who_ends}: connection {i}: {problem}", flush=True)
            return False
    durations.sort()
    slow = sum(duration > RETRANSMITTED_S for duration in durations)
    print(f"{'ok: F29' if slow == 0 else 'FAILED: F29'} {count} connections of one port, IPv{version}, ended by {who_ends}: "
          f"median {durations[count // 2] * 1000:.1f} ms, longest {durations[-1] * 1000:.0f} ms, {slow} with a lost SYN", flush=True)
    return slow == 0


def main():
    listening = threading.Event()
    threading.Thread(target=serve, args=(listening,), daemon=True).start()
    enter("client")
    with open("/proc/sys/net/ipv4/tcp_max_tw_buckets", "w") as kept:
        kept.write("0")  # else the client's own TIME_WAIT would keep the port; the proxy's and the server's remain
    if not listening.wait(TIMEOUT_S):
        sys.exit("the server does not listen")
    ways = [(version, who) for who in ("reset", "server", "client") for version in (4, 6)]
    good = [again_and_again(version, who, int(sys.argv[1])) for version, who in ways]
    os._exit(not all(good))  # the server waits for ever


main()
