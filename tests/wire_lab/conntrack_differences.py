# SPDX-License-Identifier: BSL-1.0
"""Where our tracker and the kernel's are known to differ. A class is a name, the reason why ours is right, and a predicate that says exactly when;
README.md has a row for each. A difference that is of no class is a failure."""
from segments import ACK, FIN, RST, SYN, distance, plus
from tracker_process import FIN_SENT, LIBERAL, OVERSHOT

FLAGS = FIN | SYN | RST | ACK
URG = 0x20
SLACK = 66_000      # netfilter's MAXACKWINDOW
BE_LIBERAL = 0x08   # IP_CT_TCP_FLAG_BE_LIBERAL
MAXACK_SET = 0x20   # IP_CT_TCP_FLAG_MAXACK_SET: the kernel has seen this direction acknowledge
CLOSING = ("fin_wait", "close_wait", "last_ack", "time_wait", "close")
OURS = {"none": "none", "syn_sent": "syn_sent", "syn_sent2": "simultaneous", "syn_recv": "syn_received", "established": "established",
        "fin_wait": "half_closed", "close_wait": "half_closed", "last_ack": "last_ack", "time_wait": "time_wait", "close": "closed"}


class Step:
    """A packet and what both made of it; `past` is a list of the steps of the same pair of ports before it."""

    def __init__(self, past, end, segment, kernel_passes, kernel_after, verdict):
        before = past[-1] if past else None
        self.past, self.end, self.segment = past, end, segment
        self.kernel_passes, self.kernel_after, self.verdict = kernel_passes, kernel_after, verdict
        self.kernel_before = before.kernel_after if before else None
        self.before = before.verdict.flow if before else None
        self.kind = segment.flags & FLAGS
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

    def kernel_flags(self, end):
        original = self.kernel_before[1] == (end == 0)
        return self.kernel_before[2 if original else 3]

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
        return self.kernel_passes != self.verdict.passes or states

    @property
    def only_ours_passes(self):
        return self.verdict.passes and not self.kernel_passes

    @property
    def only_kernel_passes(self):
        return self.kernel_passes and not self.verdict.passes

    @property
    def counted(self):
        """Whether it moved a number of ours."""
        return self.before is None or self.verdict.flow is None or self.before.sides != self.verdict.flow.sides

    def passed_before(self):
        return (s for s in self.past if s.kernel_passes)

    def last_passed(self):
        return next((s for s in reversed(self.past) if s.kernel_passes), None)

    def __str__(self):
        ours = f"{'passes' if self.verdict.passes else 'dropped, ' + self.verdict.reason}, {self.was} -> {self.now}"
        kernel = f"{'passes' if self.kernel_passes else 'invalid'}, {self.kernel_was} -> {self.kernel_is}"
        return f"{'>' if self.end == 0 else '<'} {self.segment}{' URG' if self.segment.flags & URG else ''}\n      kernel: {kernel}; ours: {ours}"


CLASSES = []


def difference(function):
    CLASSES.append(function)
    return function


def is_rst(s):
    return s.kind in (RST, RST | ACK)


def is_late_syn(s):
    """A SYN that is let through on a connection which has one of the same side, or is past its handshake."""
    return s.kind == SYN and s.kernel_passes and s.was in ("syn_received", "established", "half_closed", "last_ack")


def is_beyond(p):
    """It ended beyond the window; in the kernel nothing is one before its receiver's first ACK."""
    if p.before is None or p.kernel_before is None or p.kind not in (ACK, FIN | ACK):
        return False
    granted = p.was != "syn_received" or bool(p.kernel_flags(1 - p.end) & MAXACK_SET)
    return distance(p.ends_at, p.sender.max_end) > 0 or (not granted and p.ends_at != p.segment.seq)


def kernel_is_off(s):
    """What becomes of true segments where the kernel's numbers have been moved away from the true ones."""
    invalid = s.only_ours_passes and s.kind in (ACK, FIN | ACK, RST, RST | ACK)
    stays = s.kernel_passes and s.kernel_is == s.kernel_was in ("syn_recv", "established", "close_wait", "fin_wait")
    counts = (is_rst(s) and s.now == "closed") or (s.kind == FIN | ACK and s.now in ("half_closed", "last_ack"))
    below = is_rst(s) and s.only_kernel_passes and s.verdict.reason == "rst_outside_window" and distance(s.segment.seq, s.peer.max_ack) < 0
    return invalid or (stays and counts) or below


def window_is_the_syns(s):
    """Nothing has granted more since the handshake than the SYN or SYN-ACK of the other side."""
    windows = {p.segment.window for p in s.past if p.kind & SYN and p.end != s.end}
    own = {plus(p.segment.seq, 1) for p in s.past if p.kind & SYN and p.end == s.end}
    return any(s.sender.max_end == plus(first, window) for first in own for window in windows)


def passes_beyond(s):
    """What is beyond the window for us, and passes in the kernel, or counts."""
    fin = s.kind == FIN | ACK and s.kernel_passes and s.verdict.passes and s.now == s.was and s.kernel_is != s.kernel_was
    passes = s.only_kernel_passes and s.verdict.reason == ("rst_outside_window" if is_rst(s) else "seq_above_window")
    return bool(s.before) and distance(s.segment.seq, s.sender.max_end) > 0 and (fin or passes)


def overran_before(s):
    return any(p.end == s.end and is_beyond(p) for p in s.passed_before())


# --- SYNs and SYN-ACKs on a connection that exists ----------------------------------------------------------------------------------------

@difference
def syn_of_the_side_that_answered(s):
    """The kernel calls a SYN invalid that comes from the side which did not open. Its sender may have restarted, and the challenge ACK that the SYN
    draws tells it so (RFC 5961 section 4.2); after a RST it opens a connection (RFC 9293 section 3.10.7.1)."""
    return s.only_ours_passes and s.kind == SYN and not s.from_opener and s.kernel_was not in ("none", "syn_sent", "time_wait") and \
        s.now in (s.was, "syn_sent" if s.was == "closed" else s.was)


@difference
def syn_ack_of_the_side_that_opened(s):
    """The kernel calls it invalid once the handshake is over. It is what an end repeats after a simultaneous open, and else draws an ACK as any SYN does
    (RFC 5961 section 4.2, RFC 9293 section 3.10.7.4)."""
    return s.only_ours_passes and s.kind == SYN | ACK and s.from_opener and s.kernel_was in ("established", *CLOSING) and s.now == s.was


@difference
def syn_ack_of_an_older_syn(s):
    """The kernel lets a SYN-ACK pass that acknowledges less than the SYN, and takes it when that is within its slack for late ACKs. Only
    ISS < ACK <= SND.NXT is acceptable in SYN-SENT (RFC 9293 section 3.10.7.3)."""
    return s.only_kernel_passes and s.kind == SYN | ACK and s.verdict.reason == "syn_ack_mismatch" and s.was == "syn_sent" and \
        distance(s.peer.end, s.segment.ack) > 0


@difference
def syn_ack_of_nothing_sent(s):
    """The kernel lets a SYN-ACK pass on a live connection before it looks at its numbers. What acknowledges data that was never sent is not acceptable
    (RFC 5961 section 5.2)."""
    return s.only_kernel_passes and s.kind == SYN | ACK and s.verdict.reason == "ack_above_sent" and s.kernel_is == s.kernel_was and \
        distance(s.segment.ack, s.peer.end) > 0


@difference
def simultaneous_syn_ack_of_another_isn(s):
    """In a simultaneous open the kernel does not hold a SYN-ACK to the number of the SYN before it, nor to acknowledging all of the other SYN
    (RFC 9293 figure 7)."""
    wrong = s.before and (plus(s.segment.seq, 1) != s.peer.max_ack or s.segment.ack != s.peer.end)
    return s.only_kernel_passes and s.kind == SYN | ACK and s.verdict.reason == "syn_ack_mismatch" and s.was == "simultaneous" and wrong


@difference
def simultaneous_open(s):
    """The kernel lets a simultaneous open be complete with a third segment, or with the first ACK of either side; ours when each side has acknowledged
    the other's SYN, which the SYN-ACKs do (RFC 9293 figure 7)."""
    openers = {p.end for p in [*s.past, s] if p.kind in (SYN, SYN | ACK) and p.verdict.passes}
    pairs = (("syn_recv", "established"), ("established", "syn_received"), ("syn_sent2", "syn_received"), ("syn_sent2", "established"))
    return s.kernel_passes and s.verdict.passes and len(openers) == 2 and (s.kernel_is, s.now) in pairs and s.kind in (ACK, SYN | ACK)


@difference
def window_of_a_syn(s):
    """A SYN grants a window (RFC 9293 section 3.8.6), in which a server may send before the third ACK (RFC 7413 section 4.2), and both sides in a simultaneous
    open; an ACK that grants less takes nothing back. The kernel grants none before an ACK."""
    if not s.only_ours_passes or s.kind not in (ACK, FIN | ACK) or s.was not in ("syn_received", "established") or not s.kernel_before:
        return False
    return not s.kernel_flags(1 - s.end) & MAXACK_SET or window_is_the_syns(s)


@difference
def window_of_early_data(s):
    """What a server sends before the third ACK, in the window of the SYN, counts as any other segment; the kernel lets it pass, further than its own window,
    and does not take its acknowledgment and window."""
    early = any(p.kernel_passes and p.kind == ACK and p.end != s.end and p.was == p.now == "syn_received" and p.counted for p in s.past)
    return s.only_ours_passes and s.kind in (ACK, FIN | ACK) and s.was in ("syn_received", "established") and early


@difference
def end_of_early_data(s):
    """A FIN or an exact RST before an ACK of the other side, in the window of its SYN, counts (RFC 9293 section 3.8.6); the kernel grants no window there,
    and lets it pass without effect."""
    if not s.kernel_passes or not s.verdict.passes or s.kind not in (FIN | ACK, RST, RST | ACK) or s.kernel_is != s.kernel_was:
        return False
    early = s.was == "syn_received" and s.kernel_was == "syn_recv" and not s.kernel_flags(1 - s.end) & MAXACK_SET
    return s.now in ("half_closed", "closed") and (early or (s.was == s.kernel_was == "established" and window_is_the_syns(s)))


@difference
def second_handshake_during_the_first(s):
    """A SYN let through during a handshake that is answered by a SYN-ACK is the one that counts (RFC 9293 section 3.5.1: the server had another); the kernel goes on
    with the first."""
    answered = any(p.kind == SYN | ACK and p.was == "syn_received" and p.counted and p.verdict.passes for p in s.past)
    return s.only_ours_passes and s.kind in (ACK, FIN | ACK) and s.was in ("syn_received", "established") and answered


@difference
def another_syn_while_unanswered(s):
    """While a SYN is unanswered, its sender's next one with another ISN is the one to be answered (RFC 9293 section 3.10.1); the kernel goes on with
    the older one when that has the higher number."""
    isns = [{p.segment.seq for p in [*s.past, s] if p.kind == SYN and p.end == end} for end in (0, 1)]
    return s.was in ("syn_sent", "simultaneous") and max(map(len, isns)) > 1


@difference
def opened_after_a_challenge(s):
    """When a segment of the other side, which may be of an older connection, came before its SYN or SYN-ACK, the kernel holds these to its numbers, even if it
    called it invalid. The SYN is what sets them (RFC 9293 section 3.10.7.3)."""
    before = any(p.end == s.end and p.kernel_was == "syn_sent" for p in s.past)
    return s.kernel_passes and s.verdict.passes and s.kind in (SYN, SYN | ACK) and s.was == "syn_sent" and s.kernel_is == "syn_sent" and \
        s.now in ("simultaneous", "syn_received") and before


@difference
def server_begun_anew(s):
    """In SYN-RECEIVED the kernel begins the server's numbers and window anew with every segment of it that reaches further, even one that it calls invalid: what that
    segment reached may then be acknowledged, and its window is the client's. It is the SYN-ACK that says where they begin (RFC 9293 section 3.10.7.3)."""
    if not s.only_kernel_passes or s.was != "syn_received" or not s.from_opener:
        return False
    begun = [p for p in s.past if p.end != s.end and p.kernel_was == "syn_recv" and distance(p.ends_at, s.peer.end) > 0]
    if s.verdict.reason == "ack_above_sent":
        return any(distance(p.ends_at, s.segment.ack) >= 0 for p in begun)
    scale = max((p.segment.options.scale or 0 for p in s.past if p.kind == SYN | ACK), default=0)
    beyond = distance(s.ends_at, s.sender.max_end) + 1
    return s.verdict.reason in ("seq_above_window", "rst_outside_window") and any(beyond <= p.segment.window << scale for p in begun)


@difference
def syn_forgotten_by_one(s):
    """A SYN let through on a live connection is remembered, for its SYN-ACK, until something else counts: for the kernel this is also a FIN or a RST that it
    calls invalid, and a SYN-ACK of the old handshake; for us a segment that the kernel takes for a late one. Its sender repeats the SYN (RFC 9293 section 3.8.1)."""
    answers = any(is_late_syn(p) and p.end != s.end and p.ends_at == s.segment.ack for p in s.past)
    ours, kernel = (s.now == "syn_received", s.kernel_is == s.kernel_was), (s.now == s.was, s.kernel_is == "syn_recv")
    return s.kernel_passes and s.verdict.passes and s.kind == SYN | ACK and answers and (all(ours) or all(kernel))


# --- RSTs ---------------------------------------------------------------------------------------------------------------------------------

@difference
def rst_judged_by_its_acknowledgment(s):
    """The kernel holds a RST's acknowledgment to the window of acknowledgments. Only its sequence number says whether it is valid (RFC 5961
    section 3.2, RFC 9293 section 3.10.7.4)."""
    if s.kind != RST | ACK or not s.verdict.passes or not s.before:
        return False
    if s.was == "syn_sent":  # the client's; of the server nothing is known
        return s.now == "closed" and s.kernel_is == "syn_sent"
    behind = distance(s.peer.end, s.segment.ack)
    return not 0 <= behind <= SLACK and (not s.kernel_passes or (s.kernel_is == s.kernel_was and s.now == "closed"))


@difference
def rst_unchecked_before_an_ack(s):
    """The kernel does not look at a RST's number until its receiver has acknowledged something: one RST at any number ends a handshake. It must
    acknowledge the SYN (RFC 9293 section 3.10.7.3), later lie in the window (RFC 5961 section 3.2)."""
    return s.only_kernel_passes and is_rst(s) and s.verdict.reason == "rst_outside_window" and bool(s.kernel_before) and \
        not s.kernel_flags(1 - s.end) & MAXACK_SET


@difference
def rst_unchecked_while_closing(s):
    """Once a FIN was seen, the kernel does not look at a RST's number. The window holds in every state (RFC 9293 section 3.10.7.4)."""
    return s.only_kernel_passes and is_rst(s) and s.verdict.reason == "rst_outside_window" and s.kernel_was in CLOSING


@difference
def rst_unchecked_after_a_syn(s):
    """After a SYN that it let through, the kernel does not look at a RST's number, and it may close. Both can be sent blindly (RFC 5961 section 3.2)."""
    if not is_rst(s) or not s.kernel_passes or s.now != s.was or s.kernel_was in CLOSING:
        return False
    for before in reversed(s.past):  # back to the SYN, over what counted for nothing
        if before.kind == SYN and before.kernel_passes:
            return True
        if before.kernel_passes and before.counted:
            return False
    return False


@difference
def rst_beyond_a_window_that_nothing_granted(s):
    """Before a side was acknowledged its window is the SYN's (RFC 9293 section 3.8.6), and a RST in it passes, without effect; the kernel grants
    none before an ACK."""
    return s.only_ours_passes and is_rst(s) and s.now == s.was and s.was in ("syn_received", "simultaneous") and bool(s.kernel_before) and \
        not s.kernel_flags(1 - s.end) & MAXACK_SET


@difference
def rst_at_zero(s):
    """Outside ESTABLISHED the kernel takes a RST at 0 for the answer to a SYN that it let through, whatever it acknowledges; it lies below what its receiver
    expects. Such an answer acknowledges the SYN (RFC 9293 section 3.10.7.1)."""
    return s.only_kernel_passes and is_rst(s) and s.verdict.reason == "rst_outside_window" and s.segment.seq == 0 and s.kernel_was != "established" and \
        distance(s.segment.seq, s.peer.max_ack) < 0


@difference
def rst_a_window_beyond(s):
    """The kernel lets a RST pass up to a window beyond the window, as it does data. Nobody takes it there (RFC 5961 section 3.2)."""
    beyond = distance(s.segment.seq, s.sender.max_end) if s.before else 0
    return s.only_kernel_passes and is_rst(s) and s.verdict.reason == "rst_outside_window" and s.kernel_was == s.kernel_is and \
        (0 < beyond <= 2 * s.peer.max_window + 1 or (beyond > 0 and overran_before(s)))


@difference
def urgent_beside_rst_or_syn_ack(s):
    """The kernel knows URG beside SYN, ACK and FIN+ACK only. It decides nothing about a segment's validity (RFC 9293 section 3.10.7.4 looks at it last)."""
    return s.only_ours_passes and bool(s.segment.flags & URG) and s.kind in (RST, RST | ACK, SYN | ACK)


@difference
def rst_ends_what_is_unanswered(s):
    """The kernel forgets a connection that it met in the middle, and whose other side it has not seen, at any RST. One that does not stand at the
    number acknowledged, or behind the last byte, may be sent blindly (RFC 5961 section 3.2)."""
    return is_rst(s) and s.kernel_passes and s.verdict.passes and s.kernel_was == "established" and s.kernel_is == "none" and s.now == s.was


@difference
def rst_behind_the_last_segment(s):
    """A RST at the end of what its sender sent last is certain before that is acknowledged; the kernel and we remember different segments as the last
    (RFC 5961 section 3.2: the receiver may be there already, or challenges)."""
    behind = bool(s.before) and (s.segment.seq == s.sender.end or bool((s.sender.marks | s.peer.marks) & OVERSHOT)) and s.segment.seq != s.peer.max_ack
    return is_rst(s) and s.kernel_passes and s.verdict.passes and behind and \
        {OURS[s.kernel_is], s.now} == {"established", "closed"}


@difference
def rst_inexact_closes_elsewhere_than_in_established(s):
    """Only in ESTABLISHED does the kernel ask for the exact number; before and after it, any RST in the window closes. A RST that is not exact draws a
    challenge ACK in every synchronized state (RFC 5961 section 3.2)."""
    return is_rst(s) and s.verdict.passes and s.kernel_is == "close" and s.now == s.was and s.kernel_was in ("syn_recv", "syn_sent2", *CLOSING) and \
        s.segment.seq != s.peer.max_ack


@difference
def rst_that_refuses_a_challenge(s):
    """A client refuses the challenge ACK of an older connection with a RST at the number that it acknowledged. It stays in SYN-SENT and will send its SYN
    again (RFC 9293 section 3.5.1); the kernel closes."""
    return is_rst(s) and s.verdict.passes and s.kernel_is == "close" and s.now == s.was and s.was in ("syn_sent", "simultaneous") and \
        s.segment.seq == s.peer.max_ack


@difference
def challenge_remembered(s):
    """The RST with which a client refuses a challenge ACK passes although its SYN was repeated meanwhile (RFC 9293 section 3.5.1); the kernel remembers the
    challenge only while nothing else comes."""
    return is_rst(s) and s.only_ours_passes and s.was == s.now == "syn_sent" and s.segment.seq == s.peer.max_ack


@difference
def refused_entry_is_gone(s):
    """A RST on an entry without answer deletes it in the kernel; ours is remembered as closed for a while, and opens again with the next SYN."""
    return is_rst(s) and s.kernel_passes and s.verdict.passes and s.kernel_is == "none" and s.now == "closed"


# --- After a RST --------------------------------------------------------------------------------------------------------------------------

@difference
def data_of_the_side_that_reset(s):
    """The kernel follows a connection after a RST as before. Who has sent it has no connection left to send data or a FIN in (RFC 9293
    section 3.10.7.1); late copies of what it sent before pass."""
    refused = s.before is not None and 0 in (s.sender.max_window, s.peer.max_window)  # before it answered at all
    return s.only_kernel_passes and s.was == "closed" and s.verdict.reason == "tcp_state" and (refused or distance(s.ends_at, s.sender.end) > 0)


@difference
def numbers_stand_still_after_a_rst(s):
    """What the other side sends after a RST only draws the RST again: it moves neither window nor what may be acknowledged, as it does in the kernel."""
    return s.only_kernel_passes and s.was == "closed" and s.verdict.reason in ("ack_above_sent", "seq_above_window", "rst_outside_window") and \
        s.kernel_was in ("close", "none")


@difference
def syn_after_a_rst(s):
    """A SYN opens a closed connection (RFC 9293 section 3.10.7.1); the kernel does so only after a RST of the same side, or a FIN."""
    return s.kernel_passes and s.verdict.passes and s.kind == SYN and s.was == "closed" and s.now == "syn_sent" and s.kernel_is == "close"


# --- FINs and what ends a handshake or a connection -----------------------------------------------------------------------------------------

@difference
def fin_of_long_ago(s):
    """The kernel takes a FIN anywhere in its windows for the end of the stream. Below what its sender has sent since, there was none (RFC 9293
    section 3.10.7.4: a FIN is processed where the stream reaches it)."""
    return s.kind == FIN | ACK and s.kernel_passes and s.verdict.passes and s.before and distance(s.ends_at, s.sender.end) < 0 and \
        (s.now == s.was or (s.was, s.now) == ("syn_received", "established")) and OURS[s.kernel_is] != s.now


@difference
def fin_again(s):
    """A FIN that is repeated is for the kernel the FIN of the other side."""
    return s.kind == FIN | ACK and s.kernel_passes and s.verdict.passes and s.before and bool(s.sender.marks & FIN_SENT) and \
        s.kernel_is == "last_ack" and s.now == "half_closed"


@difference
def last_ack_of_something_else(s):
    """Any ACK in LAST-ACK leads the kernel to TIME-WAIT, only one of the last FIN does so here (RFC 9293 section 3.10.7.4)."""
    return s.kind in (ACK, FIN | ACK) and s.kernel_passes and s.verdict.passes and s.kernel_was == "last_ack" and s.kernel_is == "time_wait" and s.now == "last_ack"


@difference
def handshake_ack_of_less(s):
    """An ACK in SYN-RECEIVED that acknowledges less than the SYN-ACK draws a RST and establishes nothing (RFC 9293 section 3.10.7.4)."""
    return s.kernel_passes and s.verdict.passes and s.kind in (ACK, FIN | ACK) and s.was == s.now == "syn_received" and s.kernel_was == "syn_recv" and \
        distance(s.segment.ack, s.sender.max_ack) < 0


# --- Numbers that the kernel has moved ------------------------------------------------------------------------------------------------------

@difference
def acknowledges_up_to_a_rst(s):
    """A RST that the kernel lets pass moves what may be acknowledged; a RST is no data."""
    rst = (p.ends_at for p in s.passed_before() if is_rst(p) and p.end != s.end)
    return s.only_kernel_passes and s.verdict.reason == "ack_above_sent" and any(0 <= distance(end, s.segment.ack) for end in rst)


@difference
def window_grown_by_overruns(s):
    """Every segment that begins in the window and ends beyond it adds to the window in the kernel, copies too; so it can be walked on by one side alone.
    Here the window grows once, to what is unacknowledged."""
    return s.only_kernel_passes and s.verdict.reason == "seq_above_window" and overran_before(s)


@difference
def forged_data_moves_the_end(s):
    """Data up to a window beyond the window moves the end in the kernel: the true sender's segments then lie so far below that they no longer count,
    what acknowledges them is invalid, what they acknowledge is not, a RST where they acknowledged is not exact, a FIN is none. Here only what its receiver
    acknowledges of such data moves the end."""
    return kernel_is_off(s) and any(is_beyond(p) for p in s.passed_before())


@difference
def numbers_of_a_rst(s):
    """A RST that passes without effect moves in the kernel what was sent, what is acknowledged, and the window; so it then goes as after forged data. Its receiver
    drops it, but for a challenge ACK (RFC 5961 section 3.2): no number of it counts."""
    rsts = [p for p in s.passed_before() if is_rst(p) and p.now == p.was]
    opened = any(distance(s.segment.seq, plus(at, p.segment.window << 14)) <= 0 for p in rsts if p.before and p.end != s.end
                 for at in (p.peer.end, s.sender.max_end))
    overran = any(p.before and p.end == s.end and distance(p.ends_at, p.sender.max_end) > 0 for p in rsts)
    return (bool(rsts) and kernel_is_off(s)) or ((opened or overran) and passes_beyond(s))


@difference
def ack_beyond_the_window_counts(s):
    """An ACK beyond the window passes, and grants nothing: it may be forged (RFC 9293 section 3.10.7.4). Where a RST, a SACK block or an overrun has moved the window on
    in the kernel, it counts there, and so does the window that it grants."""
    def grants(p):
        return p.end != s.end and p.before and p.kind == ACK and not p.counted and distance(p.segment.seq, p.sender.max_end) > 0 and \
            distance(s.segment.seq, plus(p.segment.ack, max(1, p.segment.window) << 14)) <= 0
    moved = any(is_rst(p) or p.segment.options.sack or is_beyond(p) for p in s.passed_before())
    return moved and passes_beyond(s) and any(grants(p) for p in s.passed_before())


@difference
def fin_beyond_the_window(s):
    """A FIN beyond the window passes, as data does there, and counts for nothing until it is acknowledged or comes again within (RFC 9293
    section 3.10.7.4); the kernel's window has grown by what overran it."""
    return s.kind == FIN | ACK and s.kernel_passes and s.verdict.passes and bool(s.before) and distance(s.segment.seq, s.sender.max_end) > 0 and \
        s.now == s.was and s.kernel_is != s.kernel_was and overran_before(s)


@difference
def window_moved_by_a_sack(s):
    """The kernel counts the window from the right edge of a SACK block, and adds what lies below it. SACK is advice, and moves no window (RFC 2018 sections 4 and
    8); the edge is what is acknowledged and the window (RFC 9293 section 3.8.6)."""
    sacked = any(p.end != s.end and p.segment.options.sack and any(distance(right, p.segment.ack) > 0 for _, right in p.segment.options.sack)
                 for p in s.passed_before())
    return sacked and passes_beyond(s)


@difference
def half_way_round(s):
    """Numbers that lie 2^31 apart are neither before nor after each other (RFC 9293 section 3.4), and those of the bounds differ by windows: the kernel and
    we may see them either way."""
    if not s.before:
        return False
    apart = [distance(n, at) for n, at in ((s.segment.seq, s.sender.end), (s.ends_at, s.sender.max_end), (s.segment.ack, s.peer.end))]
    return any(abs(a) > 2 ** 31 - 200_000 for a in apart) and s.was not in ("none", "syn_sent")


@difference
def opened_anew_or_late_copies(s):
    """When a SYN on a live connection and its SYN-ACK may be late copies of the handshake, neither the old nor the new numbers are relied upon until
    the ends have shown which they use; the kernel goes by the copies."""
    syns = [p for p in s.past if p.kind == SYN and p.was in ("syn_received", "established", "half_closed", "last_ack")]
    return s.only_ours_passes and bool(syns) and bool((s.sender.marks | s.peer.marks) & LIBERAL)


@difference
def kernel_stays_liberal(s):
    """What it met in the middle the kernel never checks: every number passes, any RST closes, any FIN counts. Ours is checked once each side's numbers were
    acknowledged by the other."""
    liberal = s.kernel_before is not None and (s.kernel_before[2] | s.kernel_before[3]) & BE_LIBERAL
    by_number = s.verdict.reason in ("ack_above_sent", "seq_above_window", "rst_outside_window")
    ends = (is_rst(s) and s.kernel_is == "close") or (s.kind == FIN | ACK and s.kernel_is in ("fin_wait", "last_ack"))
    return bool(liberal) and s.kernel_passes and (by_number or (ends and s.now == s.was))


@difference
def rst_behind_data_that_overran(s):
    """The end of a segment that began in the window and ended beyond it: its receiver may have taken it, and then expects this number (RFC 5961
    section 3.2). The kernel holds the RST to the window, with its payload."""
    last = s.last_passed()
    return is_rst(s) and s.only_ours_passes and s.now == "closed" and last is not None and last.end == s.end and s.segment.seq == last.ends_at and \
        distance(s.segment.seq, s.sender.max_end) > 0


@difference
def rst_with_payload_beyond(s):
    """A RST may carry a payload (RFC 9293 section 3.10.7), which nobody takes: only its number counts. The kernel holds its end to the window."""
    return is_rst(s) and s.only_ours_passes and len(s.segment.data) > 0 and distance(s.ends_at, s.sender.max_end) > 0 and \
        distance(s.segment.seq, s.sender.max_end) <= 0


@difference
def rst_while_nothing_is_known_well(s):
    """While the numbers are not known well, a RST elsewhere than where it is certain passes and ends nothing; the kernel drops it below the highest
    acknowledgment."""
    return is_rst(s) and s.only_ours_passes and s.now == s.was and bool(s.before) and bool((s.sender.marks | s.peer.marks) & LIBERAL)


@difference
def beyond_the_window_from_both_sides(s):
    """How far data beyond the window reached is remembered of one side at a time, the later one: correct ends send none, and two words more in every flow
    would cost more than they bring. The other side's acknowledgment of such data is then dropped until the data comes again within the window."""
    sides = {p.end for p in s.passed_before() if p.before and distance(p.segment.seq, p.sender.max_end) > 0 and p.ends_at != p.segment.seq}
    return s.only_kernel_passes and s.verdict.reason == "ack_above_sent" and len(sides) == 2


@difference
def acknowledges_up_to_a_syn(s):
    """A SYN on a connection that has one moves what may be acknowledged in the kernel, even one that it calls invalid. It is let through, to be answered with
    a challenge ACK (RFC 5961 section 4.2); its number is nothing that was sent."""
    syn = any(p.kind & SYN and p.end != s.end and 0 <= distance(p.ends_at, s.segment.ack) for p in s.past)
    return s.only_kernel_passes and s.verdict.reason == "ack_above_sent" and syn


@difference
def data_on_a_syn_not_taken(s):
    """A server need not take the data on a SYN (RFC 7413 section 4.2), and its window counts from what it acknowledged (RFC 9293 section 3.8.6). The kernel
    counts from behind the data."""
    syn = next((p for p in s.past if p.kind == SYN and p.end == s.end and p.segment.data), None)
    return s.only_kernel_passes and s.verdict.reason == "seq_above_window" and s.was in ("syn_received", "established") and syn is not None and \
        distance(s.sender.max_end, syn.ends_at) < s.peer.max_window


@difference
def ack_beyond_moves_the_end(s):
    """An ACK without data beyond the window, by at most one more, moves in the kernel what may be acknowledged, and where a RST is certain. It carries nothing
    that its receiver could have taken."""
    bare = [p.ends_at for p in s.passed_before() if p.before and p.kind == ACK and p.segment.seq == p.ends_at and distance(p.ends_at, p.sender.max_end) > 0
            and p.end == (s.end if is_rst(s) else 1 - s.end)]
    if not s.only_kernel_passes:
        return False
    if is_rst(s):
        return s.verdict.reason == "rst_outside_window" and s.segment.seq in bare
    return s.verdict.reason == "ack_above_sent" and any(0 <= distance(end, s.segment.ack) for end in bare)


@difference
def challenge_after_a_refusal(s):
    """When its SYN was refused or given up, a client may still hear the challenge ACK of an older connection, and answers with its RST; nothing is known of
    the numbers it bears (RFC 9293 section 3.5.1)."""
    return s.only_ours_passes and s.kind == ACK and s.was == s.now == "closed" and s.sender.max_window == 0


@difference
def last_ack_after_a_syn(s):
    """After a SYN in LAST-ACK the kernel takes the next ACK for its challenge. One that acknowledges the FIN is the last ACK whatever came before (RFC 9293
    section 3.10.7.4)."""
    return s.kernel_passes and s.verdict.passes and s.kernel_was == s.kernel_is == "last_ack" and s.now == "time_wait" and s.segment.ack == s.peer.end and \
        any(p.kind == SYN and p.kernel_was == "last_ack" for p in s.past)


@difference
def challenge_in_last_ack_unchecked(s):
    """The ACK after a SYN in LAST-ACK, which the kernel takes for its challenge, passes there with any number. A challenge ACK bears those of the connection that it
    belongs to (RFC 5961 section 4.2)."""
    syn = any(p.kind == SYN and p.end != s.end and p.kernel_was == "last_ack" for p in s.past)
    return s.only_kernel_passes and s.kind == ACK and s.kernel_was == s.kernel_is == "last_ack" and syn and \
        s.verdict.reason in ("ack_above_sent", "seq_above_window")
