# SPDX-License-Identifier: BSL-1.0
"""Random packets to the kernel's connection tracking and to ours, one by one: which pass, and what state the connection is in. Run by 60_kernel_wire.sh,
in a namespace of its own."""
import argparse
import collections
import os
import sys
import time

from compared_step import Step, is_right
from conntrack_differences import CLASSES
from kernel_conntrack import Kernel
from kernel_model import KernelModel
from numbers_apart import CAUSES, Apart
from random_talk import PREFIXES, Round
from tracker_process import Tracker

ROUND_PACKETS = 2_000
UNEXPLAINED = 3  # the exit status that no other failure has


class Pair:
    """A pair of ports: what was sent, what the kernel should have made of it, and where its numbers are not ours."""

    def __init__(self, loose):
        self.loose, self.model, self.apart, self.past = loose, KernelModel(loose), Apart(), []

    def foretells(self, step):
        """Whether the kernel does as its model says."""
        before = self.model.copies(step.end)
        passes = self.model.passes(step.end, step.segment)
        step.why, step.reach, step.sides = self.model.why, self.model.reach, before
        return (passes, self.model.state) == (step.kernel_passes, step.kernel_is)

    def class_of(self, step):
        step.model = KernelModel(self.loose)
        for before in self.past:
            step.model.passes(before.end, before.segment)
        return next((c.__name__ for c in CLASSES if c(step)), None) or self.apart.explains(step)

    def goes_on(self, step):
        """Behind a step on which both agreed: the classes by which it moved numbers apart."""
        found = self.apart.note(step, self.model)
        self.past.append(step)
        return found


class Comparison:
    def __init__(self, kernel, program, loose, checks):
        self.kernel, self.loose = kernel, loose
        self.tracker = Tracker(program, ["--pickup", "any" if loose else "syn_only", *checks])
        self.counts = collections.Counter()  # of differences by class
        self.parted = collections.Counter()  # of numbers that came apart, by class
        self.packets = self.agreed = 0
        self.unexplained = []

    def step(self, past, talk, end, segment):
        packet = segment.pack()
        self.tracker.ask(end, packet)
        kernel_passes = self.kernel.passes(end, packet)
        entry = self.kernel.conntrack.entry(*talk.addresses, talk.port, 80)
        return Step(past, end, segment, kernel_passes, entry, self.tracker.answer())

    def round(self, seed, number, count):
        """A pair of ports is compared until the two differ: what follows would only be the same difference again."""
        self.kernel.conntrack.flush()
        self.tracker.forget()
        talks, pairs = Round(seed, number), collections.defaultdict(lambda: Pair(self.loose))
        for _ in range(count):
            talk, end, segment = talks.next()
            pair = pairs[talk.port]
            step = self.step(pair.past, talk, end, segment)
            self.packets += 1
            if not self.compare(pair, step, number):
                talks.end(talk)

    def compare(self, pair, step, number):
        """Whether the pair may go on."""
        if not pair.foretells(step):
            self.unexplained.append(("the kernel does not do as its model says", number, step, pair))
        elif not is_right(step):
            self.unexplained.append(("our verdict is not that of our own numbers", number, step, pair))
        elif step.differs:
            name = pair.class_of(step)
            self.counts[name] += 1
            if name is None:
                self.unexplained.append(("a difference of no class", number, step, pair))
        else:
            found = pair.goes_on(step)
            self.parted.update(found)
            if None not in found:
                self.agreed += 1
                return True
            self.unexplained.append(("the kernel's numbers and ours came apart by no class of packet", number, step, pair))
        return False


def classes():
    return [*CLASSES, *CAUSES]


def table():
    rows = [f"| `{c.__name__}` | {' '.join(c.__doc__.split())} |" for c in classes()]
    return "\n".join(["| class | why ours is right |", "|---|---|", *rows]) + "\n"


def check_table():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "README.md"), encoding="utf-8") as readme:
        if table() not in readme.read():
            sys.exit("README.md has another table of classes: see --table")


def show(problem, number, step, pair, lines):
    print(f"round {number}: {problem}")
    for before in [p for p in step.past if p is not step][-lines:]:
        print(f"    {before}")
    print(f"  * {step}")
    for name, side in zip(("outside", "inside"), step.before.sides if step.before else ()):
        print(f"      {name}: {side}")
    print(f"      kernel's flags: {step.kernel_before} -> {step.kernel_after}; why {step.why}, reach {step.reach}; the model's state: {pair.model.state}")
    for name, side in zip(("sender", "receiver"), step.sides or ()):
        print(f"      the kernel's {name}: {vars(side)}")
    print(f"      apart: {pair.apart.causes}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", help="track_packets")
    parser.add_argument("--table", action="store_true", help="only print the table of classes for README.md")
    parser.add_argument("--packets", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--round", type=int, help="only this round, as a failure names it")
    parser.add_argument("--every-class", action="store_true", help="fail when a class does not occur; for long runs")
    parser.add_argument("--first", action="store_true", help="end with the round of the first difference of no class")
    parser.add_argument("--show", type=int, default=5, help="differences of no class that are shown")
    parser.add_argument("--loose", type=int, choices=(0, 1), action="append", help="nf_conntrack_tcp_loose; 0 and 1 in turn unless given")
    parser.add_argument("--without", action="append", default=[], help="a check of ours that is off: a mutation, which must be found")
    parser.add_argument("--with", action="append", default=[], dest="with_", help="a check of ours that is on")
    return parser.parse_args()


def compare_all(wanted, kernel):
    """One Comparison for each value of nf_conntrack_tcp_loose."""
    modes = wanted.loose or [0, 1]
    checks = [word for name in wanted.without for word in ("--without", name)] + [word for name in wanted.with_ for word in ("--with", name)]
    rounds = [wanted.round] if wanted.round is not None else range(max(1, wanted.packets // len(modes) // ROUND_PACKETS))
    for loose in modes:
        kernel.set_loose(loose)
        compared = Comparison(kernel, wanted.program, loose, checks)
        for number in rounds:
            compared.round(wanted.seed, number, min(ROUND_PACKETS, wanted.packets // len(modes)))
            if compared.unexplained and wanted.first:
                break
        if compared.tracker.end() != 0:
            sys.exit("track_packets failed")
        yield compared
        if compared.unexplained and wanted.first:
            return


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
    counts, parted, packets, agreed, unexplained = collections.Counter(), collections.Counter(), 0, 0, 0
    for compared in compare_all(wanted, kernel):
        for found in compared.unexplained[:wanted.show]:
            print(f"nf_conntrack_tcp_loose={compared.loose}, ", end="")
            show(*found, 8)
        counts, parted = counts + compared.counts, parted + compared.parted
        packets, agreed = packets + compared.packets, agreed + compared.agreed
        unexplained += len(compared.unexplained)
    print(f"seed {wanted.seed}: {packets} packets in {time.monotonic() - begin:.1f} s, {agreed} alike")
    for name, count in counts.most_common():
        print(f"{count:8} {name}")
    print("numbers moved apart by", ", ".join(f"{name} {count}" for name, count in parted.most_common()))
    missing = [c.__name__ for c in classes() if not counts[c.__name__] and not parted[c.__name__]]
    if missing:
        print("did not occur:", *missing)
    sys.exit(UNEXPLAINED if unexplained else wanted.every_class and bool(missing))


if __name__ == "__main__":
    main()
