# SPDX-License-Identifier: BSL-1.0
"""Random packets to the kernel's connection tracking and to ours, one by one: which pass, and what state the connection is in. Run by 60_kernel_wire.sh,
in a namespace of its own."""
import argparse
import collections
import os
import sys
import time

from conntrack_differences import CLASSES, Step
from kernel_conntrack import Kernel
from random_talk import PREFIXES, Round
from tracker_process import Tracker

ROUND_PACKETS = 2_000


def class_of(step):
    return next((c.__name__ for c in CLASSES if c(step)), None)


class Comparison:
    def __init__(self, kernel, program, arguments):
        self.kernel = kernel
        self.tracker = Tracker(program, arguments)
        self.counts = collections.Counter()
        self.packets = self.agreed = self.dropped_by_both = 0
        self.unexplained = []

    def step(self, past, talk, end, segment):
        packet = segment.pack()
        kernel_passes = self.kernel.passes(end, packet)
        entry = self.kernel.conntrack.entry(*talk.addresses, talk.port, 80)
        return Step(past, end, segment, kernel_passes, entry, self.tracker.decides(end, packet))

    def round(self, seed, number, count):
        """A pair of ports is compared until the two differ: what follows would only be the same difference again."""
        self.kernel.conntrack.flush()
        self.tracker.forget()
        talks, past = Round(seed, number), collections.defaultdict(list)
        for _ in range(count):
            talk, end, segment = talks.next()
            step = self.step(past[talk.port], talk, end, segment)
            self.packets += 1
            if step.differs:
                self.note(step, number)
                talks.end(talk)
            else:
                self.agreed += 1
                self.dropped_by_both += not step.kernel_passes
                past[talk.port].append(step)

    def note(self, step, number):
        name = class_of(step)
        self.counts[name] += 1
        if name is None:
            self.unexplained.append((number, step))


def table():
    rows = [f"| `{c.__name__}` | {' '.join(c.__doc__.split())} |" for c in CLASSES]
    return "\n".join(["| class | why ours is right |", "|---|---|", *rows]) + "\n"


def check_table():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "README.md"), encoding="utf-8") as readme:
        if table() not in readme.read():
            sys.exit("README.md has another table of classes: see --table")


def show(number, step, lines):
    print(f"round {number}: a difference of no class")
    for before in step.past[-lines:]:
        print(f"    {before}")
    print(f"  * {step}")
    for name, side in zip(("outside", "inside"), step.before.sides if step.before else ()):
        print(f"      {name}: {side}")
    print(f"      kernel's flags: {step.kernel_before} -> {step.kernel_after}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", help="track_packets")
    parser.add_argument("--table", action="store_true", help="only print the table of classes for README.md")
    parser.add_argument("--packets", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--round", type=int, help="only this round, as a failure names it")
    parser.add_argument("--every-class", action="store_true", help="fail when a class does not occur; for long runs")
    parser.add_argument("--show", type=int, default=5, help="differences of no class that are shown")
    parser.add_argument("--loose", type=int, choices=(0, 1), action="append", help="nf_conntrack_tcp_loose; 0 and 1 in turn unless given")
    parser.add_argument("--without", action="append", default=[], help="a check of ours that is off: a mutation, which must be found")
    parser.add_argument("--with", action="append", default=[], dest="with_", help="a check of ours that is on")
    return parser.parse_args()


def main():
    wanted = parse_arguments()
    if wanted.table:
        print(table(), end="")
        return
    check_table()
    begin = time.monotonic()
    try:
        kernel = Kernel(*PREFIXES)
    except OSError as problem:
        print(f"SKIP: no TUN, nft or conntrack here: {problem}")
        sys.exit(77)
    counts, packets, agreed, unexplained = collections.Counter(), 0, 0, 0
    modes = wanted.loose or [0, 1]
    for loose in modes:
        kernel.set_loose(loose)
        checks = [word for name in wanted.without for word in ("--without", name)] + [word for name in wanted.with_ for word in ("--with", name)]
        compared = Comparison(kernel, wanted.program, ["--pickup", "any" if loose else "syn_only", *checks])
        rounds = [wanted.round] if wanted.round is not None else range(max(1, wanted.packets // len(modes) // ROUND_PACKETS))
        for number in rounds:
            compared.round(wanted.seed, number, ROUND_PACKETS)
        if compared.tracker.end() != 0:
            sys.exit("track_packets failed")
        for number, step in compared.unexplained[:wanted.show]:
            print(f"nf_conntrack_tcp_loose={loose}, ", end="")
            show(number, step, 8)
        counts, packets, agreed = counts + compared.counts, packets + compared.packets, agreed + compared.agreed
        unexplained += len(compared.unexplained)
    print(f"seed {wanted.seed}: {packets} packets in {time.monotonic() - begin:.1f} s, {agreed} alike")
    for name, count in counts.most_common():
        print(f"{count:8} {name}")
    missing = [c.__name__ for c in CLASSES if not counts[c.__name__]]
    if missing:
        print("did not occur:", *missing)
    sys.exit(bool(unexplained) or (wanted.every_class and bool(missing)))


if __name__ == "__main__":
    main()
