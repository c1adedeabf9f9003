# SPDX-License-Identifier: BSL-1.0
"""Where our tracker's rules and the kernel's are known to differ; where only numbers do, numbers_apart.py says so. A class is a name, the reason why ours is
right, and a predicate that says exactly when; README.md has a row for each. A difference that is of no class is a failure."""
import dataclasses

from compared_step import both_acknowledged, fins_acknowledged, is_right_about_rst, is_right_about_segment
from kernel_model import BEYOND, CLOSING, COUNTED, OLD, URG
from segments import ACK, FIN, RST, SYN, distance, plus
from tracker_process import FIN_SENT, LAST_BY_SERVER, OVERSHOT

CLASSES = []


def difference(function):
    CLASSES.append(function)
    return function


def rst_class(function):
    """Of a RST that we judge by RFC 5961; `why` is the kernel's rule."""
    def holds(s):
        return is_right_about_rst(s) and function(s)
    holds.__name__, holds.__doc__ = function.__name__, function.__doc__
    CLASSES.append(holds)
    return holds


# --- SYNs and SYN-ACKs on a connection that exists ----------------------------------------------------------------------------------------

@difference
def syn_of_the_side_that_answered(s):
    """The kernel calls a SYN invalid that comes from the side which did not open. Its sender may have restarted, and the challenge ACK that the SYN
    draws tells it so (RFC 5961 section 4.2); after a RST it opens a connection (RFC 9293 section 3.10.7.1)."""
    return s.only_ours_passes and s.kind == SYN and not s.from_opener and s.kernel_was not in ("none", "syn_sent", "time_wait") and \
        s.now == ("syn_sent" if s.was == "closed" else s.was)


@difference
def syn_held_to_the_window(s):
    """The kernel holds a SYN to the window while others are unanswered. It draws an ACK (RFC 5961 section 4.2), or is the one to be answered (RFC 9293
    section 3.10.1)."""
    return s.only_ours_passes and s.kind == SYN and s.was == s.now and s.was in ("syn_sent", "simultaneous")


@difference
def syn_ack_of_the_side_that_opened(s):
    """The kernel calls it invalid once the handshake is over. It is what an end repeats after a simultaneous open, and else draws an ACK as any SYN does
    (RFC 5961 section 4.2, RFC 9293 section 3.10.7.4)."""
    return s.only_ours_passes and s.kind == SYN | ACK and s.from_opener and s.kernel_was in ("established", *CLOSING) and s.now == s.was and \
        distance(s.segment.ack, s.peer.end) <= 0


@difference
def syn_ack_of_an_older_syn(s):
    """The kernel lets a SYN-ACK pass that acknowledges less than the SYN, and takes it when that is within its slack for late ACKs. Only
    ISS < ACK <= SND.NXT is acceptable in SYN-SENT (RFC 9293 section 3.10.7.3)."""
    return s.only_kernel_passes and s.kind == SYN | ACK and s.verdict.reason == "syn_ack_mismatch" and s.was == "syn_sent" and \
        distance(s.segment.ack, s.peer.max_end) < 0


@difference
def syn_ack_of_nothing_sent(s):
    """The kernel lets a SYN-ACK pass on a live connection before it looks at its numbers. What acknowledges data that was never sent is not acceptable
    (RFC 5961 section 5.2)."""
    return s.only_kernel_passes and s.kind == SYN | ACK and s.verdict.reason == "ack_above_sent" and s.kernel_is == s.kernel_was and \
        distance(s.segment.ack, s.peer.end) > 0


@difference
def simultaneous_syn_ack_of_another_isn(s):
    """In a simultaneous open the kernel does not hold a SYN-ACK to the number of the SYN before it, nor to acknowledging the other SYN
    (RFC 9293 figure 7)."""
    takes_other = distance(s.segment.ack, s.sender.max_ack) >= 0 >= distance(s.segment.ack, s.peer.end) if s.before else False
    return s.only_kernel_passes and s.kind == SYN | ACK and s.verdict.reason == "syn_ack_mismatch" and s.was == "simultaneous" and \
        not (takes_other and plus(s.segment.seq, 1) == s.peer.max_ack)


@difference
def simultaneous_open(s):
    """The kernel lets a simultaneous open be complete with a third segment, or with the first ACK of either side; ours when each side has acknowledged
    the other's SYN, which the SYN-ACKs do (RFC 9293 figure 7)."""
    pairs = (("syn_recv", "established"), ("established", "syn_received"), ("syn_sent2", "syn_received"), ("syn_sent2", "established"))
    syns = {p.end for p in [*s.past, s] if p.kind in (SYN, SYN | ACK) and p.verdict.passes}
    return s.both_pass and s.kind in (ACK, SYN | ACK) and (s.kernel_is, s.now) in pairs and len(syns) == 2 and \
        (s.now == "established") == both_acknowledged(s)


@difference
def syn_forgotten_by_one(s):
    """A SYN let through on a live connection is remembered, for its SYN-ACK, until something else counts: for the kernel this is also a FIN or a RST that it
    calls invalid, and a SYN-ACK of the old handshake; for us a segment that the kernel takes for a late one. Its sender repeats the SYN (RFC 9293 section 3.8.1)."""
    if not s.answers_for_one:
        return False
    if s.answers_new_syn:
        return s.verdict.passes and s.now == "syn_received"
    return s.now == s.was and s.verdict.passes == (distance(s.segment.ack, s.peer.end) <= 0)


# --- RSTs ---------------------------------------------------------------------------------------------------------------------------------

@rst_class
def refused_entry_is_gone(s):
    """A RST on an entry without answer deletes it in the kernel; ours is remembered as closed for a while, and opens again with the next SYN."""
    return s.both_pass and s.kernel_is == "none" and s.now == "closed"


@rst_class
def rst_judged_by_its_acknowledgment(s):
    """The kernel holds a RST's acknowledgment to the window of acknowledgments. Only its sequence number says whether it is valid (RFC 5961
    section 3.2, RFC 9293 section 3.10.7.4)."""
    return bool(s.segment.flags & ACK) and s.kernel_agrees_about(dataclasses.replace(s.segment, flags=RST, ack=0))


@rst_class
def rst_unchecked_before_an_ack(s):
    """The kernel does not look at a RST's number until its receiver has acknowledged something: one RST at any number ends a handshake. It must
    acknowledge the SYN (RFC 9293 section 3.10.7.3), later lie in the window (RFC 5961 section 3.2)."""
    return s.kernel_passes and s.why == "unacknowledged"


@rst_class
def rst_unchecked_while_closing(s):
    """Once a FIN or RST was seen, the kernel does not look at a RST's number, and any closes. The window holds in every state (RFC 9293 section 3.10.7.4), and the
    exact number is asked for (RFC 5961 section 3.2)."""
    return s.kernel_passes and s.why == "closing"


@rst_class
def rst_unchecked_after_a_syn(s):
    """After a SYN that it let through, the kernel does not look at a RST's number, and it may close. Both can be sent blindly (RFC 5961 section 3.2)."""
    return s.kernel_passes and s.why == "after a SYN"


@rst_class
def rst_that_answers_a_segment(s):
    """A RST that acknowledges the end of the last segment let through closes in the kernel what is not established for sure, at any number. Only its sequence number
    says whether it is valid, before the SYN was answered that it acknowledges it (RFC 9293 sections 3.10.7.3 and 3.10.7.4)."""
    return s.kernel_passes and s.why == "answer"


@rst_class
def rst_that_refuses_a_new_syn(s):
    """A RST that acknowledges a SYN let through on a live connection passes, without effect: to an end that lives on it says nothing (RFC 9293 section 3.5.2). The
    kernel has forgotten the SYN when an invalid FIN or RST came between."""
    return s.only_ours_passes and bool(s.segment.flags & ACK) and s.was not in ("syn_sent", "closed") and s.answers_new_syn and s.now == s.was


@rst_class
def rst_at_zero(s):
    """Outside ESTABLISHED the kernel takes a RST at 0 for the answer to a SYN that it let through, whatever it acknowledges; it lies below what its receiver
    expects. Such an answer acknowledges the SYN (RFC 9293 section 3.10.7.1)."""
    return s.kernel_passes and s.why == "zero"


@rst_class
def rst_a_window_beyond(s):
    """The kernel lets a RST pass up to a window beyond the window, as it does data. Nobody takes it there (RFC 5961 section 3.2)."""
    return s.only_kernel_passes and BEYOND in (s.reach, s.our_reach)


@rst_class
def rst_behind_data_that_overran(s):
    """The end of a segment that began in the window and ended beyond it: its receiver may have taken it, and then expects this number (RFC 5961
    section 3.2). The kernel holds the RST to the window."""
    return s.verdict.passes and s.now == "closed" and s.segment.seq == s.before.last_end and distance(s.segment.seq, s.sender.max_end) > 0


@rst_class
def rst_below_the_window(s):
    """A RST at the number acknowledged is certain (RFC 5961 section 3.2), though its sender has sent more than the window beyond it, as data on a SYN may be. For the
    kernel it lies below the window, and changes nothing."""
    below = distance(s.ends_at, plus(s.sender.end, -s.peer.max_window)) < 0
    return s.both_pass and s.now == "closed" and s.reach == OLD and below


@rst_class
def rst_with_payload_beyond(s):
    """A RST may carry a payload (RFC 9293 section 3.10.7), which nobody takes: only its number counts. The kernel holds its end to the window."""
    return len(s.segment.data) > 0 and \
        any(s.kernel_agrees_about(dataclasses.replace(s.segment, data=b"", **others)) for others in ({}, {"flags": RST, "ack": 0}))


@difference
def urgent_beside_rst_or_syn_ack(s):
    """The kernel knows URG beside SYN, ACK and FIN+ACK only. It decides nothing about a segment's validity (RFC 9293 section 3.10.7.4 looks at it last)."""
    return s.only_ours_passes and bool(s.segment.flags & URG) and (is_right_about_rst(s) or s.kind == SYN | ACK)


@rst_class
def rst_ends_what_is_unanswered(s):
    """The kernel forgets a connection that it met in the middle, and whose other side it has not seen, at any RST. One that does not stand at the
    number acknowledged, or behind the last byte, may be sent blindly (RFC 5961 section 3.2)."""
    return s.both_pass and s.kernel_was == "established" and s.kernel_is == "none" and s.now == s.was


@rst_class
def rst_behind_the_last_segment(s):
    """A RST at the end of what its sender sent last is certain before that is acknowledged; the kernel and we remember different segments as the last
    (RFC 5961 section 3.2: the receiver may be there already, or challenges)."""
    if not s.both_pass:
        return False
    if s.now == "closed":
        return s.why == "inexact"
    last = s.model.last  # its number may be exact by another of the kernel's numbers too
    return s.kernel_is == "close" and (last.kind, last.side, last.end) == (ACK, int(s.end != s.model.opener), s.segment.seq)


@rst_class
def rst_inexact_closes_elsewhere_than_in_established(s):
    """Only in ESTABLISHED, with the handshake seen, does the kernel ask for the exact number; before, any RST in the window closes. A RST that is not exact draws a
    challenge ACK in every synchronized state (RFC 5961 section 3.2)."""
    return s.both_pass and s.why == "not established" and s.now == s.was


@rst_class
def rst_that_refuses_a_challenge(s):
    """A client refuses the challenge ACK of an older connection with a RST at the number that it acknowledged. It stays in SYN-SENT and will send its SYN
    again (RFC 9293 section 3.5.1); the kernel closes."""
    return s.why == "refused" and s.kernel_is == "close"


@rst_class
def challenge_remembered(s):
    """The RST with which a client refuses a challenge ACK passes although its SYN was repeated meanwhile (RFC 9293 section 3.5.1); the kernel remembers the
    challenge only while nothing else comes."""
    return s.only_ours_passes and s.was == s.now == "syn_sent" and s.segment.seq == s.peer.max_ack


# --- After a RST --------------------------------------------------------------------------------------------------------------------------

@difference
def data_of_the_side_that_reset(s):
    """The kernel follows a connection after a RST as before. Who has sent it has no connection left to send data or a FIN in (RFC 9293
    section 3.10.7.1); late copies of what it sent before pass."""
    reset = s.was == "closed" and (s.refused or bool(s.before.last & LAST_BY_SERVER) == (s.end != s.before.opener))
    return s.only_kernel_passes and reset and s.verdict.reason == "tcp_state" and (s.refused or distance(s.ends_at, s.sender.end) > 0)


@difference
def syn_after_a_rst(s):
    """A SYN opens a closed connection (RFC 9293 section 3.10.7.1); the kernel does so only after a RST of the same side, or a FIN."""
    return s.both_pass and s.kind == SYN and s.was == "closed" and s.now == "syn_sent" and s.kernel_is == "close"


@difference
def challenge_after_a_refusal(s):
    """When its SYN was refused or given up, a client may still hear the challenge ACK of an older connection, and answers with its RST; nothing is known of
    the numbers it bears (RFC 9293 section 3.5.1)."""
    return s.only_ours_passes and s.kind == ACK and s.was == s.now == "closed" and s.refused


# --- FINs and what ends a handshake or a connection -----------------------------------------------------------------------------------------

@difference
def fin_of_long_ago(s):
    """The kernel takes a FIN anywhere in its windows for the end of the stream. Below what its sender has sent since, there was none (RFC 9293
    section 3.10.7.4: a FIN is processed where the stream reaches it)."""
    return s.kind == FIN | ACK and s.both_pass and bool(s.before) and distance(s.ends_at, s.sender.end) < 0 and s.reach == COUNTED and \
        (s.now == s.was or (s.was, s.now) == ("syn_received", "established"))


@difference
def fin_again(s):
    """A FIN that is repeated is for the kernel the FIN of the other side."""
    return s.kind == FIN | ACK and s.both_pass and bool(s.before) and bool(s.sender.marks & FIN_SENT) and \
        s.kernel_is == "last_ack" and s.now == s.was == "half_closed"


@difference
def fin_that_was_acknowledged(s):
    """A FIN leads the kernel to LAST-ACK, though it be a copy of one that was acknowledged before it was seen here: with that the connection is over (RFC 9293
    section 3.10.7.4)."""
    return s.kind == FIN | ACK and s.both_pass and s.kernel_is == "last_ack" and s.now == "time_wait" and fins_acknowledged(s)


@difference
def last_ack_of_something_else(s):
    """Any ACK in LAST-ACK leads the kernel to TIME-WAIT, only one of the last FIN does so here (RFC 9293 section 3.10.7.4)."""
    return s.kind in (ACK, FIN | ACK) and s.both_pass and s.kernel_was == "last_ack" and s.kernel_is == "time_wait" and s.now == "last_ack" and \
        not fins_acknowledged(s)


@difference
def handshake_ack_of_less(s):
    """An ACK in SYN-RECEIVED that acknowledges less than the SYN-ACK draws a RST and establishes nothing (RFC 9293 section 3.10.7.4)."""
    return s.both_pass and s.kind in (ACK, FIN | ACK) and s.was == s.now == "syn_received" and s.acknowledges_no_syn


@difference
def last_ack_after_a_syn(s):
    """After a SYN in LAST-ACK the kernel takes the next ACK for its challenge. One that acknowledges the FIN is the last ACK whatever came before (RFC 9293
    section 3.10.7.4)."""
    return s.both_pass and s.why == "challenge" and s.now == "time_wait" and fins_acknowledged(s)


@difference
def challenge_in_last_ack_unchecked(s):
    """The ACK after a SYN in LAST-ACK, which the kernel takes for its challenge, passes there with any number. A challenge ACK bears those of the connection that it
    belongs to (RFC 5961 section 4.2)."""
    return s.only_kernel_passes and s.why == "challenge" and is_right_about_segment(s)


# --- Where either does not know the numbers --------------------------------------------------------------------------------------------------

@difference
def kernel_stays_liberal(s):
    """What it met in the middle the kernel never checks: every number passes, any RST closes, any FIN counts. Ours is checked once each side's numbers were
    acknowledged by the other."""
    if not s.liberal or not s.kernel_passes:
        return False
    if s.is_rst or s.unsure:
        return is_right_about_rst(s)
    uncounted = s.our_reach != COUNTED or distance(s.ends_at, s.sender.end) < 0
    return is_right_about_segment(s) and (not s.verdict.passes or (s.kind == FIN | ACK and s.now == s.was and uncounted))


@rst_class
def rst_below_what_counts_for_one(s):
    """Of what it met in the middle the kernel counts every acknowledgment, and drops a RST below the highest. Here one beyond the window does not count
    (RFC 9293 section 3.10.7.4)."""
    return s.only_ours_passes and s.liberal and s.why == "below"


@difference
def sure_of_what_came_anew(s):
    """When a SYN on a live connection and its SYN-ACK may be late copies of the handshake, every number passes and counts until the ends have shown which they use;
    the kernel goes by the copies."""
    uncounted = s.only_ours_passes or (s.both_pass and s.reach in (OLD, BEYOND))
    return uncounted and s.unsure and not s.sides[0].liberal and s.kind in (ACK, FIN | ACK)


@rst_class
def rst_while_nothing_is_known_well(s):
    """While the numbers are not known well, a RST elsewhere than where it is certain passes and ends nothing; the kernel drops it below the highest
    acknowledgment."""
    return s.only_ours_passes and s.unsure and s.now == s.was


@difference
def beyond_the_window_from_both_sides(s):
    """How far data beyond the window reached is remembered of one side at a time, the later one: correct ends send none, and two words more in every flow
    would cost more than they bring. The other side's acknowledgment of such data is then dropped until the data comes again within the window."""
    sides = {p.end for p in s.past if p.reach == BEYOND and p.ends_at != p.segment.seq}
    return s.only_kernel_passes and s.verdict.reason == "ack_above_sent" and len(sides) == 2 and is_right_about_segment(s)


@difference
def beyond_the_window_again(s):
    """Of what lay beyond the window the kernel remembers how far the last segment reached, though others reached further, which the receiver may have taken and then
    acknowledges (RFC 9293 section 3.8.6)."""
    return s.only_ours_passes and s.kind in (ACK, FIN | ACK) and bool(s.before) and bool(s.peer.marks & OVERSHOT) and \
        distance(s.highest_ack, s.peer.end) > 0 and is_right_about_segment(s)


@difference
def half_way_round(s):
    """Numbers that lie 2^31 apart are neither before nor after each other (RFC 9293 section 3.4), and those of the bounds differ by windows: the kernel and
    we may see them either way."""
    if not s.before or s.was == "syn_sent":
        return False
    apart = [distance(n, at) for n, at in ((s.segment.seq, s.sender.end), (s.ends_at, s.sender.max_end), (s.segment.ack, s.peer.end),
                                        (s.highest_ack, s.peer.end), *((right, s.segment.ack) for _, right in s.segment.options.sack))]
    windows = [side.max_window for side in s.model.sides] if s.kernel_before else []
    return any(abs(a) > 2 ** 31 - 200_000 for a in (*apart, *windows))
