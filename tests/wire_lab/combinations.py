# SPDX-License-Identifier: BSL-1.0
"""Real stacks with timestamps, SACK and window scaling each off and on at either end: all 64 combinations, data both ways.

combinations.py BYTES    each way; IPv4 and IPv6; run in the lab's own namespace
"""
import itertools
import os
import sys
import threading
import time

from raw_ends import enter
from transfers import TIMEOUT_S, serve, transfer

PORT = 7000
SYSCTLS = ("tcp_timestamps", "tcp_sack", "tcp_window_scaling")
ADDRESSES = {4: "10.77.0.2", 6: "fd77::2"}


class Stack:
    """The settings of a namespace's TCP: a file of /proc/sys/net is that of the namespace in which it was opened."""

    def __init__(self, namespace):
        enter(namespace)
        self.files = [os.open("/proc/sys/net/ipv4/" + name, os.O_RDWR) for name in SYSCTLS]

    def set(self, values):
        for file, value in zip(self.files, values):
            os.pwrite(file, b"%d" % value, 0)


def serve_there(listening):
    enter("server")  # this thread alone
    serve(PORT, listening.set)


def named(values):
    return "+".join(name[4:] for name, value in zip(SYSCTLS, values) if value) or "nothing"


def main():
    size = int(sys.argv[1])
    server, listening = Stack("server"), threading.Event()
    threading.Thread(target=serve_there, args=(listening,), daemon=True).start()
    client = Stack("client")
    if not listening.wait(TIMEOUT_S):
        sys.exit("the server does not listen")
    failures, durations = 0, []
    for ours, theirs in itertools.product(itertools.product((0, 1), repeat=3), repeat=2):
        client.set(ours)
        server.set(theirs)
        for version, address in ADDRESSES.items():
            begin = time.monotonic()
            if wrong := transfer(address, PORT, size):
                failures += 1
                print(f"client with {named(ours)}, server with {named(theirs)}, IPv{version}: {wrong}", flush=True)
            durations.append(time.monotonic() - begin)
    durations.sort()
    print(f"{len(durations)} transfers of {size} bytes each way, {failures} wrong; "
          f"median {durations[len(durations) // 2] * 1000:.0f} ms, longest {durations[-1] * 1000:.0f} ms", flush=True)
    os._exit(failures != 0)  # the server waits for ever


main()
