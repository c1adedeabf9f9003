# SPDX-License-Identifier: BSL-1.0
"""Our engine beside the kernel: tests/support/track_packets, packet by packet."""
import collections
import struct
import subprocess

LETTERS = "oi"
Side = collections.namedtuple("Side", "end max_end max_window max_ack scale marks")
Flow = collections.namedtuple("Flow", "state opener sides last_end last")
Verdict = collections.namedtuple("Verdict", "passes reason flow")

SEEN, SACK_PERMITTED, FIN_SENT, ACKNOWLEDGED, OVERSHOT, LIBERAL = 0x01, 0x04, 0x08, 0x10, 0x20, 0x40  # of tcp_mark
LAST_BY_SERVER, LAST_IS_SYN = 0x10, 0x20  # of last_segment


def parse_flow(words):
    if not words:
        return None
    numbers = [int(word) for word in words[2:]]
    return Flow(words[0], LETTERS.index(words[1]), (Side(*numbers[:6]), Side(*numbers[6:12])), *numbers[12:])


class Tracker:
    def __init__(self, program, arguments):
        self.process = subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def forget(self):
        self.process.stdin.write(b"n")

    def ask(self, end, packet):
        self.process.stdin.write(LETTERS[end].encode() + struct.pack("!H", len(packet)) + packet)
        self.process.stdin.flush()

    def answer(self):
        """To what was asked last."""
        line = self.process.stdout.readline().decode().split()
        if not line:
            raise OSError(f"track_packets ended with {self.process.wait()}")
        return Verdict(line[0] == "forward", line[1], parse_flow(line[2:]))

    def end(self):
        self.process.stdin.close()
        return self.process.wait()
