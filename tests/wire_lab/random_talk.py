# SPDX-License-Identifier: BSL-1.0
"""TCP connections as chance would have them: mostly what two correct ends say, with segments lost, doubled, late, and forged between them."""
import random

from segments import ACK, FIN, RST, SYN, Options, Segment, address, distance, plus

ENDS = {4: (address("10.1.0.1"), address("10.2.0.1")), 6: (address("fd01::1"), address("fd02::1"))}
PREFIXES = (["10.1.0.0/16", "fd01::/64"], ["10.2.0.0/16", "fd02::/64"])
OUTSIDE, INSIDE = 0, 1
CORNERS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFC00)


class End:
    """What an end has said and heard, in absolute numbers."""

    def __init__(self, chance):
        self.isn = self.next = chance.choice(CORNERS) if chance.random() < 0.3 else chance.getrandbits(32)
        self.heard = None       # the next number it expects of its peer
        self.window = chance.choice((1, 500, 1460, 4000, 20000, 65535))
        self.scale = chance.choice((None, None, 0, 2, 7, 14))
        self.sack = chance.random() < 0.5
        self.finished = False
        self.edge = None        # how far its peer lets it send

    def hears(self, seq, following, ack, window):
        """What its peer says, if it is in order; a SYN always is."""
        if self.heard is None or self.heard == seq:
            self.heard = following
        granted = plus(ack, window)
        if self.edge is None or distance(granted, self.edge) > 0:
            self.edge = granted

    def room(self):
        return 0 if self.edge is None else max(0, distance(self.edge, self.next))


class Talk:
    """One pair of ports, for connection after connection."""

    def __init__(self, chance, port):
        self.chance, self.port = chance, port
        self.addresses = ENDS[chance.choice((4, 6))]
        self.held, self.past = [], []
        self.begin()

    def begin(self):
        self.ends = [End(self.chance), End(self.chance)]
        self.opener = INSIDE if self.chance.random() < 0.1 else OUTSIDE
        self.opened = False
        self.way = self.chance.choices((self.ordinary, self.simultaneous, self.midstream, self.refused, self.challenged),
                                       (70, 8, 10, 6, 6))[0]
        self.script = self.way()

    # --- Segments --------------------------------------------------------------------------------------------------------------------

    def segment(self, end, flags, seq, ack, data=0, window=None, options=None):
        source, destination = (self.addresses[end], self.addresses[1 - end])
        ports = (self.port, 80) if end == OUTSIDE else (80, self.port)
        return end, Segment(source, destination, *ports, seq, (ack or 0) if flags & ACK else 0, flags,
                            self.ends[end].window if window is None else window, options or Options(), b"\0" * data)

    def say(self, end, flags, data=0, lost=False):
        """What this end says next, which its peer hears unless it is lost behind the middle."""
        me, peer = self.ends[end], self.ends[1 - end]
        options = Options(mss=1460, scale=me.scale, sack_permitted=me.sack) if flags & SYN else None
        seq = me.isn if flags & SYN else me.next
        out = self.segment(end, flags, seq, me.heard or 0, data, options=options)
        me.next = plus(seq, data + bool(flags & SYN) + bool(flags & FIN))
        me.finished = me.finished or bool(flags & FIN)
        if not lost:
            scaled = me.scale is not None and peer.scale is not None and not flags & SYN
            peer.hears(seq, me.next, me.heard or peer.isn, me.window << (me.scale if scaled else 0))
        return out

    # --- Ways to begin ---------------------------------------------------------------------------------------------------------------

    def ordinary(self):
        a, b = self.opener, 1 - self.opener
        data = self.chance.choice((0, 0, 0, 100))
        yield self.say(a, SYN, data, lost=self.chance.random() < 0.1)
        yield self.say(b, SYN | ACK)
        yield self.say(a, ACK, self.chance.choice((0, 0, 200)))
        yield from self.middle()

    def simultaneous(self):
        a, b = self.opener, 1 - self.opener
        yield self.say(a, SYN)
        yield self.say(b, SYN)
        first = self.chance.choice((a, b))
        yield self.say(first, SYN | ACK)
        yield self.say(1 - first, SYN | ACK)
        yield from self.middle()

    def midstream(self):
        for me, peer in (self.ends, reversed(self.ends)):
            me.heard, me.edge = peer.next, plus(me.next, peer.window)
        if self.chance.random() < 0.2:  # reset before the other side is seen
            end = self.chance.randrange(2)
            yield self.say(end, ACK, 100)
            yield self.segment(end, RST, plus(self.ends[end].next, self.chance.choice((0, -1, -100, 50))), 0)
        yield from self.middle()

    def refused(self):
        a, b = self.opener, 1 - self.opener
        yield self.say(a, SYN)
        yield self.segment(b, RST | ACK, self.chance.choice((0, self.ends[b].isn)), plus(self.ends[a].next, self.chance.choice((0, 0, 1, -1))))
        yield self.say(a, SYN)
        yield self.say(b, SYN | ACK)
        yield self.say(a, RST)

    def challenged(self):
        a, b = self.opener, 1 - self.opener
        yield self.say(a, SYN)
        old = self.chance.getrandbits(32)
        yield self.segment(b, ACK, self.chance.getrandbits(32), old)
        yield self.segment(a, RST, old, 0)
        yield self.say(a, SYN)
        yield self.say(b, SYN | ACK)
        yield self.say(a, ACK)
        yield from self.middle()

    # --- The middle and the end ------------------------------------------------------------------------------------------------------

    def middle(self):
        self.opened = True
        for _ in range(self.chance.randrange(40)):
            yield from self.exchange()
        yield from self.chance.choices((self.close, self.abort, self.rest), (60, 30, 10))[0]()

    def exchange(self):
        end = self.chance.randrange(2)
        me = self.ends[end]
        if me.finished:
            yield self.say(end, ACK)
            return
        size = min(self.chance.choice((0, 1, 100, 1400)), me.room() or self.chance.randrange(2))  # or a probe
        before, lost = self.chance.random() < 0.1, self.chance.random() < 0.1
        sent = self.say(end, ACK, size, before or lost)
        if before:
            return  # lost before the middle: what follows goes on behind a gap
        yield sent
        if self.chance.random() < 0.7:
            yield self.say(1 - end, ACK)
        if lost and self.chance.random() < 0.8:
            yield sent  # again
            self.ends[1 - end].heard = me.next
            yield self.say(1 - end, ACK)

    def close(self):
        first = self.chance.randrange(2)
        yield self.say(first, FIN | ACK, self.chance.choice((0, 50)), lost=self.chance.random() < 0.2)
        if self.chance.random() < 0.6:
            yield self.say(1 - first, ACK)
        if self.chance.random() < 0.5:  # half closed
            for _ in range(self.chance.randrange(8)):
                yield self.say(1 - first, ACK, self.chance.choice((0, 1, 900)))
                yield self.say(first, ACK)
        last = self.say(1 - first, FIN | ACK, lost=self.chance.random() < 0.2)
        late = self.chance.random() < 0.1  # only a copy comes this way
        if not late:
            yield last
        yield self.say(first, ACK)
        if late:
            yield last
        if self.chance.random() < 0.5:
            yield self.say(1 - first, ACK)

    def abort(self):
        end = self.chance.randrange(2)
        me = self.ends[end]
        yield self.segment(end, RST | self.chance.choice((0, ACK)), me.next, me.heard)
        if self.chance.random() < 0.7:
            for _ in range(self.chance.randrange(4)):  # the peer has not heard it
                sent = self.say(1 - end, ACK, self.chance.choice((0, 100)))
                yield sent
                yield self.segment(end, RST, sent[1].ack, 0)

    def rest(self):
        return iter(())

    # --- What comes between ----------------------------------------------------------------------------------------------------------

    def forged(self):
        """Wrong numbers, wrong flags: by a little or by a lot, around every edge there is."""
        chance, end = self.chance, self.chance.randrange(2)
        me, peer = self.ends[end], self.ends[1 - end]
        wide = peer.window << (peer.scale or 0) if peer.scale is not None and me.scale is not None else peer.window
        off = chance.choice((0, 0, 1, 2, 100, wide - 1, wide, wide + 1, 2 * wide - 1, 2 * wide, 2 * wide + 1, 66000, 66001, 10 ** 6, 2 ** 30, 3 * 2 ** 29))
        off *= chance.choice((1, -1))
        seq, ack = me.next, me.heard or 0
        where = chance.randrange(3)
        if where != 1:
            seq = plus(peer.heard or me.next if chance.random() < 0.5 else seq, off)
        if where != 0:
            ack = plus(ack, off)
        flags = chance.choices((ACK, RST, RST | ACK, SYN, SYN | ACK, FIN | ACK, chance.randrange(64)), (40, 16, 14, 10, 6, 8, 6))[0]
        options = Options()
        if flags & SYN:
            options = Options(mss=1460, scale=me.scale, sack_permitted=me.sack)
        elif flags == ACK and chance.random() < 0.3:
            options = Options(sack=((plus(ack, off), plus(ack, off + 100)),))
        return self.segment(end, flags, seq, ack, chance.choice((0, 0, 1, 100, 1400)), options=options, window=chance.choice((None, 0, 65535)))

    def keepalive(self):
        end = self.chance.randrange(2)
        me = self.ends[end]
        return self.segment(end, ACK, plus(me.next, -1), me.heard or 0, self.chance.randrange(2))

    def zero_window(self):
        end = self.chance.randrange(2)
        return self.segment(end, ACK, self.ends[end].next, self.ends[end].heard or 0, window=0)

    def selective(self):
        end = self.chance.randrange(2)
        me, peer = self.ends[end], self.ends[1 - end]
        half_way = 2 ** 31 if self.chance.random() < 0.03 else 0
        return self.segment(end, ACK, me.next, plus(me.heard or 0, half_way), options=Options(sack=((plus(peer.next, -50), peer.next),)))

    def again(self):
        return self.chance.choice(self.past[-30:])

    def anew(self):
        """A SYN for the next connection, whatever became of this one."""
        self.begin()
        return self.on()

    def next(self):
        """The next packet to reach the middle: the end it comes from, and the segment."""
        roll = self.chance.random()
        if self.past and roll < 0.22:
            kind = self.chance.choices((self.forged, self.again, self.keepalive, self.zero_window, self.selective, self.anew), (50, 25, 6, 6, 10, 3))[0]
            out = kind()
        elif self.held and roll < 0.27:
            out = self.held.pop(0)
        else:
            out = self.on()
            if roll > 0.96:
                self.held.append(out)
                out = self.on()
        self.past.append(out)
        return out

    def on(self):
        while (out := next(self.script, None)) is None:
            self.begin()
        return out


class Round:
    """Some talks at a time, told by seed and number alone, and by when its reader puts an end to one of them."""

    def __init__(self, seed, number, talks=12):
        self.chance = random.Random(f"{seed}/{number}")
        self.port = 1024
        self.talks = [self.open() for _ in range(talks)]

    def open(self):
        self.port += 1
        return Talk(self.chance, self.port)

    def next(self):
        talk = self.chance.choice(self.talks)
        return (talk, *talk.next())

    def end(self, talk):
        """Goes on with another pair of ports in its place."""
        self.talks[self.talks.index(talk)] = self.open()
