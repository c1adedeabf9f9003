# SPDX-License-Identifier: BSL-1.0
"""The kernel's connection tracking of TCP as we understand it, for one pair of ports: it must foretell every verdict and state, and so tells which of the
kernel's rules and numbers decided. Written from van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (2001), and from what the kernel was seen to do.

Bounds, for a segment of sender S to receiver R:
    I    seq <= S.max_end                       III  sack or ack <= R.end
    II   end >= S.end - R.max_window            IV   sack or ack >= R.end - max(66000, S.max_window)"""
import copy

from segments import ACK, FIN, NUMBERS, RST, SYN, distance, plus

FLAGS = FIN | SYN | RST | ACK
URG = 0x20
SLACK = 66_000
LARGEST_SCALE = 14

STATES = NONE, SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT, CLOSE, SYN_SENT2 = (
    "none", "syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close", "syn_sent2")
CLOSING = (FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT, CLOSE)
IGNORED, INVALID = "ignored", "invalid"


def by_state(row):
    short = dict(zip("no SS SR ES FW CW LA TW CL S2 ig iv".split(), (*STATES, IGNORED, INVALID)))
    return dict(zip(STATES, (short[word] for word in row.split())))


# The next state by kind of segment, of the side that opened and of the other one; columns as in STATES.
NEXT = {
    SYN: (by_state("SS SS ig ig ig ig ig SS SS S2"), by_state("iv S2 iv iv iv iv iv SS iv S2")),
    SYN | ACK: (by_state("iv iv SR iv iv iv iv iv iv SR"), by_state("iv SR ig ig ig ig ig ig ig SR")),
    FIN | ACK: (by_state("iv iv FW FW LA LA LA TW CL iv"), by_state("iv iv FW FW LA LA LA TW CL iv")),
    ACK: (by_state("ES iv ES ES CW CW TW TW CL iv"), by_state("iv ig SR ES CW CW TW TW CL ig")),
    RST: (by_state("iv CL CL CL CL CL CL CL CL CL"), by_state("iv CL CL CL CL CL CL CL CL CL")),
}

# What the window made of a segment.
OUTSIDE, BEYOND, OLD, COUNTED, UNCHECKED = "outside", "beyond", "old", "counted", "unchecked"


def before(a, b):
    """At half way round, both of two numbers are before the other."""
    return distance(a, b) < 0


def after(a, b):
    return before(b, a)


class Side:
    """One direction's numbers."""

    def __init__(self):
        self.end = self.max_end = self.max_window = self.max_ack = self.scale = 0
        self.acknowledges = self.liberal = self.scales = self.sack = self.closed_first = False

    def take(self, options):
        self.scales, self.scale, self.sack = options.scale is not None, min(options.scale or 0, LARGEST_SCALE), options.sack_permitted


class Packet:
    """What is read of a segment, and changed where the kernel reads it as something else."""

    def __init__(self, segment):
        self.flags, self.seq, self.window, self.options = segment.flags, segment.seq, segment.window, segment.options
        self.kind = RST if self.flags & RST else self.flags & FLAGS
        self.end = plus(segment.seq, len(segment.data) + bool(self.flags & SYN) + bool(self.flags & FIN))
        self.ack = self.sack = segment.ack

    def read_sack(self, permitted):
        for _, right in self.options.sack if permitted else ():
            self.sack = right if after(right, self.sack) else self.sack

    def read_ack(self, newest):
        """What acknowledges nothing is read as acknowledging all."""
        if not self.flags & ACK or (self.flags & RST and self.ack == 0):
            self.ack = self.sack = newest

    @property
    def known(self):
        kind = self.flags & FLAGS
        return kind in (SYN, FIN | ACK, ACK) or (kind in (SYN | ACK, RST, RST | ACK) and not self.flags & URG)


class Last:
    """The last segment that was let through, of whatever kind; the numbers are those of the last ACK, or of what was let through unchecked."""

    def __init__(self):
        self.kind = self.side = None
        self.end = self.window = 0
        self.options = None  # of the opener's SYN
        self.challenge_due = self.simultaneous = False


class KernelModel:
    def __init__(self, loose):
        self.loose = loose
        self.state = NONE

    def open(self, end, packet):
        state = NEXT.get(packet.kind, NEXT[RST])[0][NONE]
        if state == INVALID or (state == ESTABLISHED and not self.loose):
            return False
        self.opener, self.sides, self.last = end, (Side(), Side()), Last()
        self.replied = self.assured = False
        self.refused = 0  # what the other side acknowledged in place of answering the SYN
        side = self.sides[0]
        side.end, side.max_window = packet.end, packet.window or 1
        side.max_end = packet.end
        if packet.kind == SYN:
            side.take(packet.options)
        else:
            side.max_end = plus(packet.end, side.max_window)
            for side in self.sides:
                side.sack = side.liberal = True
        return True

    def passes(self, end, segment):
        """Whether the kernel lets the next packet pass; its state is then in `state`, `why` says which special rule decided, and `reach` what its window made
        of it."""
        packet = Packet(segment)
        self.why = self.reach = None
        if not packet.known or (self.state == NONE and not self.open(end, packet)):
            return False
        d = int(end != self.opener)
        out = self.follow(d, packet, NEXT[packet.kind][d][self.state])
        if out == "anew":
            self.state = NONE
            return self.passes(end, segment)
        self.replied = self.replied or (out and d == 1)
        return out

    def copies(self, end):
        """The sides' numbers as they are now, those of the sender first; None without any."""
        return None if self.state == NONE else [copy.copy(self.sides[int(e != self.opener)]) for e in (end, 1 - end)]

    # --- One segment ------------------------------------------------------------------------------------------------------------------

    def follow(self, d, packet, state):
        was = self.state
        if state == SYN_SENT and was in (TIME_WAIT, CLOSE):
            if any(side.closed_first for side in self.sides) or (self.last.side, self.last.kind) == (d, RST):
                return "anew"
            state = IGNORED
        if state == INVALID:
            return False
        if state == IGNORED:
            if not self.answers_last_syn(d, packet):
                return self.let_through(d, packet)
            was, state, self.why = SYN_SENT, SYN_RECV, "answers a SYN"
            self.begin_with_last_syn(d)
        last = self.last
        if state == TIME_WAIT and was == LAST_ACK and packet.kind == ACK and (last.kind, last.side) == (SYN, 1 - d) and last.challenge_due:
            last.challenge_due = False
            self.why = "challenge"
            return True
        if state == SYN_SENT2:
            last.simultaneous = True
        if state == SYN_RECV and d == 1 and packet.kind == ACK and last.simultaneous:
            state = ESTABLISHED
        if packet.kind == RST:
            state = self.after_rst(d, packet)
        if state == INVALID:
            return False
        self.reach = UNCHECKED if self.why in ("closing", "refused", "answer") else self.window(d, packet)
        if self.reach == OUTSIDE:
            answered = last.side == 1 - d and last.kind in (RST, FIN | ACK)
            if packet.kind in (RST, FIN | ACK) and self.assured and not answered:
                last.kind, last.side = packet.kind, d
            return False
        if self.reach in (UNCHECKED, COUNTED):
            self.enter(d, packet, was, state)
        return True

    def enter(self, d, packet, was, state):
        self.last.kind, self.last.side = packet.kind, d
        self.state = state
        if state == FIN_WAIT != was:
            self.sides[d].closed_first = True
        if not self.replied and packet.kind == RST:
            self.state = NONE
        elif self.replied and was in (SYN_RECV, ESTABLISHED) and state == ESTABLISHED:
            self.assured = True

    def answers_last_syn(self, d, packet):
        return packet.kind == SYN | ACK and (self.last.kind, self.last.side) == (SYN, 1 - d) and packet.ack == self.last.end

    def begin_with_last_syn(self, d):
        """The SYN that was let through opens the connection anew."""
        opener, answerer = self.sides[1 - d], self.sides[d]
        liberal = answerer.liberal
        opener.__init__()
        answerer.__init__()
        answerer.liberal = liberal
        opener.end = opener.max_end = self.last.end
        opener.max_window = self.last.window or 1
        if self.last.options:
            opener.take(self.last.options)

    def let_through(self, d, packet):
        """It may be right where the kernel is not: the other end will tell."""
        last = self.last
        last.kind, last.side, last.end, last.window = packet.kind, d, packet.end, packet.window
        if packet.kind == SYN and d == 0:
            last.options, last.challenge_due, last.simultaneous = packet.options, self.state == LAST_ACK, False
        if self.state == SYN_SENT and packet.kind == ACK and d == 1:
            self.refused = packet.ack
        return True

    def after_rst(self, d, packet):
        """The state after a RST that passes the window, if it is to be held to it; `why` says by which rule."""
        peer, last = self.sides[1 - d], self.last
        sure = self.state == ESTABLISHED and self.assured
        state = CLOSE
        if self.state in CLOSING:
            self.why = "closing"
        elif self.state == SYN_SENT and d == 0 and (last.kind, last.side) == (ACK, 1) and packet.seq == self.refused:
            self.why = "refused"
        elif not peer.acknowledges:
            self.why = "unacknowledged"
        elif last.kind == SYN:
            self.why = "after a SYN"
        elif packet.seq == 0 and not sure:
            self.why = "zero"
            return CLOSE
        elif before(packet.seq, peer.max_ack):
            self.why = "below"
            return INVALID
        elif packet.seq == peer.max_ack:
            self.why = "exact"
            return CLOSE
        elif not sure:
            self.why = "not established"
            return CLOSE
        elif (last.kind, last.side, last.end) == (ACK, d, packet.seq):
            self.why = "behind the last"
            return CLOSE
        else:
            self.why, state = "inexact", self.state
        unsure = (self.replied and (last.kind, last.side) == (SYN, 1 - d)) or (not self.assured and last.kind == ACK)
        if self.why not in ("closing", "refused") and unsure and packet.ack == last.end:
            self.why = "answer"
        return state

    # --- Numbers ----------------------------------------------------------------------------------------------------------------------

    def window(self, d, packet):
        sender, receiver = self.sides[d], self.sides[1 - d]
        packet.read_sack(receiver.sack)
        again = packet.flags & SYN and self.state in (SYN_SENT, SYN_RECV) and after(packet.end, sender.end)
        if sender.max_window == 0 or again:
            self.begin(d, packet)
            if packet.kind == SYN and (d == 1 or not again):
                return COUNTED
        packet.read_ack(receiver.end)
        if packet.kind == RST and packet.seq == 0 and self.state == SYN_SENT:
            packet.seq = packet.end = sender.end
        reach = reach_of(sender, receiver, packet)
        if reach == BEYOND:
            sender.end = packet.end
        if reach != COUNTED:
            return COUNTED if sender.liberal else reach
        self.advance(d, packet)
        return COUNTED

    def begin(self, d, packet):
        sender, receiver = self.sides[d], self.sides[1 - d]
        if packet.flags & SYN:
            sender.end = sender.max_end = packet.end
            sender.max_window = packet.window or 1
            sender.take(packet.options)
            if d == 1 and not (sender.scales and receiver.scales):
                sender.scale = receiver.scale = 0
            return
        sender.end = packet.end
        sender.max_window = packet.window << sender.scale or 1
        sender.max_end = plus(packet.end, sender.max_window)
        if receiver.max_window == 0:
            receiver.end = receiver.max_end = packet.sack
        elif packet.sack == plus(receiver.end, 1):  # the answer to a keepalive
            receiver.end = packet.sack

    def advance(self, d, packet):
        sender, receiver, last = self.sides[d], self.sides[1 - d], self.last
        window = packet.window if packet.flags & SYN else packet.window << sender.scale
        sender.max_window = max(sender.max_window, window + (packet.sack - packet.ack) % NUMBERS)
        if after(packet.end, sender.end):
            sender.end = packet.end
        if packet.flags & ACK and (not sender.acknowledges or after(packet.ack, sender.max_ack)):
            sender.max_ack, sender.acknowledges = packet.ack, True
        if receiver.max_window and after(packet.end, sender.max_end):
            receiver.max_window += (packet.end - sender.max_end) % NUMBERS
        if after(plus(packet.sack, window), plus(receiver.max_end, -1)):
            receiver.max_end = plus(packet.sack, window or 1)
        if packet.kind == ACK:
            last.kind, last.side, last.end, last.window = ACK, d, packet.end, packet.window


def reach_of(sender, receiver, packet):
    """Bounds I to IV."""
    touches = receiver.max_window == 0 or after(packet.end, plus(sender.end, -receiver.max_window - 1))
    recent = after(packet.sack, plus(receiver.end, -max(SLACK, sender.max_window) - 1))
    sent = before(packet.sack, plus(receiver.end, 1))
    if not before(packet.seq, plus(sender.max_end, 1)):
        little = (packet.end - sender.max_end + 1) % NUMBERS <= receiver.max_window
        return BEYOND if touches and recent and sent and little else OUTSIDE
    if not sent:
        return OUTSIDE
    return COUNTED if touches and recent else OLD
