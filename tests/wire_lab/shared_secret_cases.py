# SPDX-License-Identifier: BSL-1.0
"""Clients that are answered by one machine and go on through another. Run by 55_shared_secret_wire.sh, which makes a file of the next machine's
name in the folder given once it is in its place.
"""
import pathlib
import sys
import time

from raw_ends import Wire, expect

FOLDER = pathlib.Path(sys.argv[1])
WAIT_S = 40


def machine(name):
    end = time.monotonic() + WAIT_S
    while not (FOLDER / name).exists():
        expect(time.monotonic() < end, f"the {name} machine does not come")
        time.sleep(0.02)


wire = Wire()
clients = [wire.connection(version=version, timestamps=timestamps) for version in (4, 6) for timestamps in (True, False) for _ in range(2)]
late = [wire.connection(version=version) for version in (4, 6)]
for c in clients + late:
    c.get_cookie()
print("answered by the first", flush=True)

machine("second")
for c in clients:
    c.prove()
    syn = c.get_server_syn("the SYN of the second machine")
    expect(syn.options.scale == 7 and syn.options.sack_permitted, f"an option is lost between the machines: {syn}")
    c.answer()
    c.get_both_acks()
    c.works()
print("completed through the second", flush=True)

machine("third")
for c in late:
    c.prove()
    c.nothing("a cookie of a machine with another secret")
print("refused by the third", flush=True)
