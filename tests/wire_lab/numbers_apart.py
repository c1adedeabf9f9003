# SPDX-License-Identifier: BSL-1.0
"""Which of the kernel's numbers, as kernel_model.py follows them, are others than ours, and by which packet they came apart: for one pair of ports. A class is a
name, the reason why ours is right, and a predicate that says exactly which packets do it; README.md has a row for each."""
import copy

from kernel_model import BEYOND, COUNTED, NONE, Packet, reach_of
from segments import ACK, RST, SYN, distance
from tracker_process import ACKNOWLEDGED, LIBERAL, SACK_PERMITTED, SEEN

NUMBERS = "end", "max_end", "max_window", "max_ack", "scale"
CAUSES = []


def cause(function):
    CAUSES.append(function)
    return function


class Parting:
    """A number of the side `own` (that sends) or its peer, which was the same for both before this step, and is no more."""

    def __init__(self, step, end, name):
        self.step, self.kind, self.name, self.own = step, step.kind, name, end == step.end
        self.both_count = step.reach == COUNTED == step.our_reach if step.before and not step.kind & (SYN | RST) else False

    def is_number(self, name, own):
        return self.name == name and self.own == own


@cause
def data_on_a_syn_not_taken(p):
    """A server need not take the data on a SYN (RFC 7413 section 4.2), and its window counts from what it acknowledged (RFC 9293 section 3.8.6). The kernel
    counts from behind the data."""
    return p.kind == SYN and p.is_number("max_end", True) and len(p.step.segment.data) > 0 and p.step.was in ("none", "closed", "time_wait", "syn_sent")


@cause
def another_syn_while_unanswered(p):
    """While a SYN is unanswered, its sender's next one with another ISN is the one to be answered (RFC 9293 section 3.10.1); the kernel goes on with
    the older one when that has the higher number, and keeps the larger window."""
    return p.kind == SYN and p.own and p.step.was == "syn_sent" and p.step.before.opener == p.step.end


@cause
def acknowledges_up_to_a_syn(p):
    """A SYN on a connection that has one moves what may be acknowledged in the kernel. It is let through, to be answered with a challenge ACK (RFC 5961
    section 4.2); its number is nothing that was sent."""
    return p.kind == SYN and p.step.was == "simultaneous"


@cause
def opened_after_a_challenge(p):
    """A SYN-ACK or a RST that is invalid sets the numbers of its side in the kernel, and what comes after it is held to them. Only a SYN-ACK that acknowledges the SYN
    says where that side begins (RFC 9293 section 3.10.7.3)."""
    from_answerer = p.step.was == "syn_sent" and p.step.before.opener != p.step.end and not p.step.kind == ACK
    return from_answerer and not (p.step.verdict.passes and p.name == "max_end")


@cause
def window_of_a_syn(p):
    """A SYN grants a window (RFC 9293 section 3.8.6), in which a server may send before the third ACK (RFC 7413 section 4.2), and both sides in a simultaneous
    open; an ACK that grants less takes nothing back. The kernel grants none before an ACK."""
    return p.kind & SYN and p.name == "max_end" and p.step.verdict.passes


@cause
def second_syn_ack(p):
    """A SYN-ACK after the one that counted is a copy of it, or forged. In SYN-RECEIVED the kernel takes window and numbers from it when it came from the opener,
    or after a copy of the SYN."""
    return p.kind == SYN | ACK and p.step.was == "syn_received"


@cause
def opened_anew_or_late_copies(p):
    """When a SYN on a live connection and its SYN-ACK may be late copies of the handshake, neither the old nor the new numbers are relied upon until
    the ends have shown which they use; the kernel goes by the copies."""
    return p.step.unsure


@cause
def numbers_of_an_ack_of_less(p):
    """The first ACK of a handshake that acknowledges less than the SYN-ACK is of no connection here, and draws a RST (RFC 9293 section 3.10.7.4): it counts for
    nothing."""
    return p.kind & ACK and not p.kind & SYN and p.step.was == "syn_received" and p.step.acknowledges_no_syn


@cause
def challenge_expected_in_last_ack(p):
    """The ACK after a SYN in LAST-ACK, which the kernel takes for its challenge, moves no number there. It is an ACK like any other (RFC 9293 section 3.10.7.4)."""
    return p.step.why == "challenge"


@cause
def numbers_of_a_rst(p):
    """A RST that passes without effect moves in the kernel what was sent, what is acknowledged, and the window. Its receiver drops it, but for a challenge ACK
    (RFC 5961 section 3.2): no number of it counts."""
    return p.step.is_rst


@cause
def numbers_stand_still_after_a_rst(p):
    """What is sent after a RST only draws the RST again: it moves neither window nor what may be acknowledged, as it does in the kernel."""
    return p.step.was == "closed"


@cause
def ack_beyond_moves_the_end(p):
    """An ACK without data beyond the window, by at most one more, moves in the kernel what may be acknowledged. It carries nothing that its receiver could
    have taken."""
    return p.step.reach == BEYOND and p.is_number("end", True) and p.step.ends_at == p.step.segment.seq


@cause
def forged_data_moves_the_end(p):
    """Data up to a window beyond the window moves the end in the kernel: the true sender's segments then lie so far below that they no longer count,
    what acknowledges them is invalid, what they acknowledge is not, a FIN is none. Here only what its receiver acknowledges of such data moves the end."""
    return p.step.reach == BEYOND and p.is_number("end", True)


@cause
def acknowledges_half_way_round(p):
    """A number 2^31 from another is neither before nor after it (RFC 9293 section 3.4). The kernel takes it for higher than the highest acknowledgment, as an edge of a
    SACK block for higher than what is acknowledged, and moves its window with it; here it changes nothing."""
    s = p.step
    if not s.before or p.kind & SYN or s.is_rst:
        return False
    pairs = [(s.segment.ack, s.sender.max_ack), *((right, s.segment.ack) for _, right in s.segment.options.sack)]
    return any(distance(a, b) == -2 ** 31 for a, b in pairs)


@cause
def window_moved_by_a_sack(p):
    """The kernel counts the window from the right edge of a SACK block, and adds what lies below it. SACK is advice, and moves no window (RFC 2018 sections 4 and
    8); the edge is what is acknowledged and the window (RFC 9293 section 3.8.6)."""
    return p.both_count and bool(p.step.segment.options.sack) and (p.is_number("max_end", False) or p.is_number("max_window", True))


@cause
def window_grown_by_overruns(p):
    """Every segment that begins in the window and ends beyond it adds to the window in the kernel, copies too; so it can be walked on by one side alone.
    Here the window grows once, to what is unacknowledged."""
    counts = p.both_count or (p.kind == SYN | ACK and p.step.both_pass)
    return counts and p.is_number("max_window", False)


def same(kernel, ours, name):
    if name == "max_ack":
        return (kernel.max_ack if kernel.acknowledges else None) == (ours.max_ack if ours.marks & ACKNOWLEDGED else None)
    return getattr(kernel, name) == getattr(ours, name)


class Apart:
    """By (end, number): the class of the packet that moved it apart; None where it has none. And all classes there were so far."""

    def __init__(self):
        self.causes, self.ever = {}, set()

    def note(self, step, model):
        """After the step, on which both agreed: the classes of what it moved apart."""
        flow = step.verdict.flow
        if model.state == NONE or flow is None or any(s.liberal for s in model.sides) or any(s.marks & LIBERAL for s in flow.sides):
            self.causes, self.ever = {}, set()
            return []
        parted = []
        for end, ours in enumerate(flow.sides):
            kernel = model.sides[int(end != model.opener)]
            for name in NUMBERS:
                seen = bool(kernel.max_window), bool(ours.marks & SEEN)
                unsettled = name == "scale" and flow.state in ("syn_sent", "simultaneous")  # by the SYN-ACK
                if not any(seen) or unsettled or (all(seen) and same(kernel, ours, name)):
                    self.causes.pop((end, name), None)
                elif (end, name) not in self.causes:
                    parted.append((end, name))
        found = {number: self.cause_of(step, *number) for number in parted}
        self.causes |= found
        self.ever.update(found.values())
        return found.values()

    def cause_of(self, step, end, name):
        parting = Parting(step, end, name)
        found = next((c.__name__ for c in CAUSES if c(parting)), None)
        if name == "scale" and not found:  # both are settled by the SYNs, of which one did not count
            found = next((c.__name__ for c in (opened_after_a_challenge, another_syn_while_unanswered) if c.__name__ in self.ever), None)
        if found or step.sides is None or not step.before or step.kind & SYN:
            return found
        return self.deciding(step)

    def deciding(self, step):
        """Why one of both counts the segment, and the other does not: the number that makes the difference."""
        wanted = step.our_reach
        if wanted == step.reach:
            return self.causes.get((step.end, "scale"))
        apart = [(side, name) for side, end in enumerate((step.end, 1 - step.end)) for name in NUMBERS if (end, name) in self.causes]
        for changed in [*([number] for number in apart), apart]:
            if changed and self.reach_with(step, changed) == wanted:
                side, name = changed[0]
                return self.causes[step.end ^ side, name]
        return None

    def explains(self, step):
        """The class by which a difference is only one of numbers: with ours for those that it moved apart, the kernel before the step would
        have decided as we do. The last resort is all of ours."""
        causes = [c.__name__ for c in CAUSES if c.__name__ in self.causes.values()]
        for segment in (step.segment, step.bare) if step.is_rst else (step.segment,):
            for wanted in [*([c] for c in causes), causes] if causes else ():
                if self.decides_with(step, segment, wanted):
                    return wanted[0]
        return None

    def decides_with(self, step, segment, wanted):
        changed = copy.deepcopy(step.model)
        for number, found in self.causes.items():
            if found in wanted:
                self.take_ours(step, changed, *number)
        return step.kernel_agrees_about(segment, changed)

    @staticmethod
    def take_ours(step, model, end, name):
        side, ours = model.sides[int(end != model.opener)], step.before.sides[end]
        if not ours.marks & SEEN:
            side.__init__()
            return
        setattr(side, name, Apart.our_value(step, end, name))
        side.sack = bool(ours.marks & SACK_PERMITTED)  # comes of the SYN that its numbers come of
        if name == "max_ack":
            side.acknowledges = bool(ours.marks & ACKNOWLEDGED)

    @staticmethod
    def our_value(step, end, name):
        """What our number before the step means to the kernel: of what lay beyond the window, as much was sent as is acknowledged."""
        value = getattr(step.before.sides[end], name)
        if name == "end" and end != step.end and distance(step.highest_ack, value) > 0 >= distance(step.highest_ack, step.acknowledgeable):
            return step.highest_ack
        return value

    @staticmethod
    def reach_with(step, changed):
        sides = [copy.copy(side) for side in step.sides]  # sender, receiver
        for side, name in changed:
            setattr(sides[side], name, Apart.our_value(step, step.end ^ side, name))
        packet = Packet(step.segment)
        packet.read_sack(sides[1].sack)
        packet.read_ack(sides[1].end)
        return reach_of(*sides, packet)
