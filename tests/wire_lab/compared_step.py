# SPDX-License-Identifier: BSL-1.0
"""One packet, what the kernel made of it and what we made of it; and what it should be by our numbers."""
import copy
import dataclasses

from kernel_model import BEYOND, COUNTED, FLAGS, NONE, OLD, OUTSIDE, SLACK, URG
from segments import ACK, FIN, NUMBERS, RST, SYN, distance, plus
from tracker_process import ACKNOWLEDGED, FIN_SENT, LAST_BY_SERVER, LAST_IS_SYN, LIBERAL, OVERSHOT, SACK_PERMITTED, SEEN

LARGEST_WINDOW = 1 << 30
OURS = {"none": "none", "syn_sent": "syn_sent", "syn_sent2": "simultaneous", "syn_recv": "syn_received", "established": "established",
        "fin_wait": "half_closed", "close_wait": "half_closed", "last_ack": "last_ack", "time_wait": "time_wait", "close": "closed"}


class Step:
    """A packet and what both made of it; `past` is a list of the steps of the same pair of ports before it."""

    def __init__(self, past, end, segment, kernel_passes, kernel_after, verdict):
        before_it = past[-1] if past else None
        self.past, self.end, self.segment = past, end, segment
        self.kernel_passes, self.kernel_after, self.verdict = kernel_passes, kernel_after, verdict
        self.why = self.reach = self.model = None  # what the kernel's model says of the step, and as it was before it
        self.kernel_before = before_it.kernel_after if before_it else None
        self.before = before_it.verdict.flow if before_it else None
        self.kind = segment.flags & FLAGS
        self.is_rst = bool(segment.flags & RST)
        self.ends_at = plus(segment.seq, len(segment.data) + bool(segment.flags & SYN) + bool(segment.flags & FIN))

    # What the kernel and we say of the connection's state, before and after.
    @property
    def kernel_was(self):
        return self.kernel_before[0] if self.kernel_before else "none"

    @property
    def kernel_is(self):
        return self.kernel_after[0] if self.kernel_after else "none"

    @property
    def was(self):
        return self.before.state if self.before else "none"

    @property
    def now(self):
        return self.verdict.flow.state if self.verdict.flow else "none"

    @property
    def from_opener(self):
        """As the kernel sees it."""
        return bool(self.kernel_before) and self.kernel_before[1] == (self.end == 0)

    # The sender's and its peer's numbers as we knew them.
    @property
    def sender(self):
        return self.before.sides[self.end]

    @property
    def peer(self):
        return self.before.sides[1 - self.end]

    @property
    def differs(self):
        states = OURS[self.kernel_is] != self.now and (self.kernel_is, self.now) != (self.kernel_was, self.was)
        return self.kernel_passes != self.verdict.passes or states or self.answers_for_one

    @property
    def only_ours_passes(self):
        return self.verdict.passes and not self.kernel_passes

    @property
    def only_kernel_passes(self):
        return self.kernel_passes and not self.verdict.passes

    @property
    def both_pass(self):
        return self.kernel_passes and self.verdict.passes

    @property
    def refused(self):
        """By us, or given up, before the other side's SYN was seen."""
        return self.was in ("syn_sent", "closed") and self.before.sides[1 - self.before.opener].max_window == 0

    @property
    def unsure(self):
        """We do not know the connection's numbers well."""
        return bool(self.before) and bool((self.sender.marks | self.peer.marks) & LIBERAL)

    # By our numbers.
    @property
    def acknowledgeable(self):
        """How far the peer's data may be acknowledged."""
        beyond = self.peer.marks & OVERSHOT and distance(self.before.last_end, self.peer.end) > 0
        return self.before.last_end if beyond else self.peer.end

    @property
    def last_is_syn_of_peer(self):
        by_server = 1 - self.end != self.before.opener
        return bool(self.before.last & LAST_IS_SYN) and bool(self.before.last & LAST_BY_SERVER) == by_server

    @property
    def answers_new_syn(self):
        return self.last_is_syn_of_peer and self.segment.ack == self.before.last_end

    @property
    def answers_for_one(self):
        """A SYN-ACK on a live connection that the kernel lets pass: only the kernel, or only we, take it for the answer to a SYN let through before, and
        go on with other numbers."""
        live = self.was not in ("none", "syn_sent", "simultaneous")
        return live and self.kind == SYN | ACK and self.kernel_passes and self.answers_new_syn != (self.why == "answers a SYN")

    @property
    def highest_ack(self):
        """Acknowledged or, in a SACK block, received."""
        if not self.segment.flags & ACK:
            return self.peer.end
        highest = self.segment.ack
        for _, right in self.segment.options.sack if self.peer.marks & SACK_PERMITTED else ():
            highest = right if distance(right, highest) > 0 else highest
        return highest

    @property
    def our_reach(self):
        """What the bounds make of it: as in kernel_model.py, but for distances of half way round."""
        highest = self.highest_ack
        touches = distance(self.ends_at, plus(self.sender.end, -self.peer.max_window)) >= 0
        recent = distance(highest, plus(self.peer.end, -max(SLACK, self.sender.max_window))) >= 0
        if distance(highest, self.acknowledgeable) > 0:
            return OUTSIDE
        if distance(self.segment.seq, self.sender.max_end) > 0:
            little = (self.ends_at - self.sender.max_end) % NUMBERS + 1 <= self.peer.max_window
            return BEYOND if touches and recent and little else OUTSIDE
        return COUNTED if touches and recent and not self.acknowledges_no_syn else OLD

    @property
    def acknowledges_no_syn(self):
        """The first ACK of a handshake, of less than the SYN-ACK."""
        first = self.was == "syn_received" and not self.sender.marks & ACKNOWLEDGED and self.peer.marks & SEEN
        return bool(first) and distance(self.segment.ack, self.sender.max_ack) < 0

    def kernel_agrees_about(self, segment, model=None):
        """Whether the kernel would decide about this segment, in its place, as we do: of a RST that only we let pass, whether it passes."""
        model = copy.deepcopy(model or self.model)
        passes = model.passes(self.end, segment)
        only_verdict = self.only_ours_passes and (self.is_rst or self.now == self.was)
        return passes == self.verdict.passes and (only_verdict or model.state in self.our_states())

    @property
    def liberal(self):
        """The kernel lets every number pass."""
        return any(side.liberal for side in self.model.sides) if self.kernel_before else False

    @property
    def bare(self):
        """Of a RST, what counts for us: its sequence number."""
        return dataclasses.replace(self.segment, flags=RST, ack=0, data=b"")

    def our_states(self):
        """The state after it as the kernel would call it."""
        states = [theirs for theirs, ours in OURS.items() if ours == self.now]
        gone = [NONE] if self.now == "closed" else []  # what nothing has answered
        return [*states, *gone, *([self.kernel_was] if self.now == self.was else [])]

    def __str__(self):
        ours = f"{'passes' if self.verdict.passes else 'dropped, ' + self.verdict.reason}, {self.was} -> {self.now}"
        kernel = f"{'passes' if self.kernel_passes else 'invalid'}, {self.kernel_was} -> {self.kernel_is}"
        return f"{'>' if self.end == 0 else '<'} {self.segment}{' URG' if self.segment.flags & URG else ''}\n      kernel: {kernel}; ours: {ours}"


# --- What our numbers say -----------------------------------------------------------------------------------------------------------------

def rst_by_rfc5961(s):
    """Whether a RST "closes", "passes" or lies "outside", by our numbers."""
    if s.refused:
        client = s.before.sides[s.before.opener]
        if s.end == s.before.opener:
            valid = distance(plus(client.max_end, -1), s.segment.seq) <= 0 <= distance(client.end, s.segment.seq)
        else:
            valid = bool(s.segment.flags & ACK) and distance(client.max_end, s.segment.ack) <= 0 <= distance(client.end, s.segment.ack)
        if valid:
            return "passes" if s.was == "closed" else "closes"
        answers = s.was == "syn_sent" and s.end == s.before.opener and s.before.last & LAST_BY_SERVER and s.segment.seq == s.peer.max_ack
        return "passes" if answers else "outside"
    one_sided = not s.sender.marks & s.peer.marks & SEEN
    if s.was == "closed":
        low = plus(s.sender.end, -max(SLACK, s.peer.max_window))
        repeats = s.unsure or one_sided or distance(low, s.segment.seq) <= 0 <= distance(s.sender.max_end, s.segment.seq)
        return "passes" if repeats else "outside"
    expected = s.peer.max_ack if s.peer.marks & SEEN else s.sender.end
    from_server = s.end != s.before.opener
    was_last = not s.before.last & LAST_IS_SYN and bool(s.before.last & LAST_BY_SERVER) == from_server and not s.sender.marks & OVERSHOT
    if s.segment.seq == expected or (was_last and s.segment.seq == s.before.last_end and distance(s.segment.seq, expected) >= 0):
        return "closes"
    if s.unsure or (s.segment.flags & ACK and s.answers_new_syn):
        return "passes"
    high = s.sender.max_end if s.peer.marks & SEEN else plus(expected, LARGEST_WINDOW)
    if s.sender.marks & OVERSHOT and distance(s.before.last_end, high) > 0:
        high = s.before.last_end
    return "passes" if distance(s.segment.seq, expected) >= 0 >= distance(s.segment.seq, high) else "outside"


def is_right_about_rst(s):
    if not s.is_rst or not s.before:
        return False
    expected = {"closes": (True, "closed"), "passes": (True, s.was), "outside": (False, s.was)}[rst_by_rfc5961(s)]
    return (s.verdict.passes, s.now) == expected


def is_right_about_segment(s):
    """An ACK or FIN+ACK on a connection that both sides began: let through as far as its numbers lie within the bounds."""
    known = s.before and s.was not in ("none", "syn_sent", "simultaneous") and not s.refused
    return bool(known) and s.kind in (ACK, FIN | ACK) and s.verdict.passes == ((s.unsure and not s.acknowledges_no_syn) or s.our_reach != OUTSIDE)


def is_right(s):
    """As far as these rules go."""
    if s.is_rst and s.verdict.reason != "tcp_flags":
        return not s.before or is_right_about_rst(s)
    goes_by_numbers = s.kind in (ACK, FIN | ACK) and s.was in ("syn_received", "established", "half_closed", "last_ack", "time_wait")
    return not goes_by_numbers or is_right_about_segment(s)


def both_acknowledged(s):
    return bool(s.verdict.flow.sides[0].marks & s.verdict.flow.sides[1].marks & ACKNOWLEDGED)


def fins_acknowledged(s):
    sides = s.verdict.flow.sides
    return all(a.marks & FIN_SENT and distance(b.max_ack, a.end) >= 0 for a, b in (sides, reversed(sides)))
