# SPDX-License-Identifier: BSL-1.0
"""From the client's proof to the open connection, and what may go wrong between. Run by 51_opening_wire.sh, with two
retries of the server's SYN, the first after a second."""
import time

from raw_ends import case, expect, run_cases
from segments import ACK, FIN, RST, SYN, distance, plus

FIRST_RETRY_S, RETRIES = 1, 2


def same_syn(again, first):
    return (again.flags, again.seq, again.window, again.options) == (first.flags, first.seq, first.window, first.options)


def exact_reset(c, reset):
    """One that the client, which expects cookie + 1, believes at once (RFC 5961 section 3.2)."""
    return reset.flags & RST and reset.seq == plus(c.cookie, 1) and (not reset.flags & ACK or reset.ack == plus(c.isn, 1))


@case("F13 when the third ACK is lost, the client's probe of the closed window opens the server's side with the same SYN")
def probe_first(wire):
    for timestamps in (True, False):
        c = wire.connection(timestamps=timestamps)
        usual = c.connect()
        c = wire.connection(timestamps=timestamps)
        c.get_cookie()
        c.prove(seq=c.isn)  # SEQ = SND.NXT - 1 (RFC 9293 section 3.8.6.1)
        syn = c.get_server_syn("the SYN to the server after a probe")
        expect(syn.options.mss == usual.options.mss and syn.options.scale == usual.options.scale, f"{syn} is not as usual: {usual}")
        c.answer()
        c.get_both_acks()
        c.works()


@case("F14 data on the third ACK and behind it reaches the server without being sent again")
def early_data(wire):
    c = wire.connection()
    c.get_cookie()
    c.prove(data=b"on the ACK;")
    c.get_server_syn()
    c.client.send(ACK, c.isn + 1 + 11, c.cookie + 1, data=b"behind it.", options=c.client_options())
    c.nothing("data before the server has answered")
    c.answer()
    c.client.expect("the window update", ACK, c.cookie + 1)
    got = b""
    while len(got) < 21:
        segment = c.server.expect("early data", ACK, None, c.server_isn + 1)
        expect(distance(segment.seq, c.isn + 1) == len(got), f"{segment} after {len(got)} bytes")
        got += segment.data
    expect(got == b"on the ACK;behind it.", f"the data came changed: {got}")
    c.server.send(ACK, c.server_isn + 1, c.isn + 1 + 21, options=c.server_options())
    c.client.expect("the server's ACK of it", ACK, c.cookie + 1, c.isn + 1 + 21, b"")
    c.nothing("after early data")


@case("F15 F16 the SYN to a silent server is sent again after 1 and 2 s, as it was; then the client gets an exact RST", together=True)
def silent_server(wire):
    both = [wire.connection(version=version) for version in (4, 6)]
    begin = time.monotonic()
    firsts = [c.connect() for c in both]
    for n in range(RETRIES):
        for c, first in zip(both, firsts):
            again = c.get_server_syn("a retry")
            expect(same_syn(again, first), f"{again} is not {first}")
            due = FIRST_RETRY_S * (2 ** (n + 1) - 1)
            expect(time.monotonic() - begin > due - 0.2, f"retry {n + 1} came after {time.monotonic() - begin:.2f} s")
    for c in both:
        reset = c.client.any("the end of it")
        expect(exact_reset(c, reset), f"not an exact RST: {reset}")
        expect(time.monotonic() - begin < FIRST_RETRY_S * 2 ** (RETRIES + 1) + 3, "the client learned it late")
        c.answer()
        c.wire.flush(c.version)
        expect(not c.client.waiting(), f"a late SYN-ACK reached the client: {c.client.waiting()}")


@case("F17 the server's RST reaches the client at once, with the client's numbers, and only if it acknowledges the SYN")
def refused(wire):
    c = wire.connection()
    c.connect()
    c.server.send(RST | ACK, 0, c.isn + 2)
    c.server.send(RST | ACK, 0, c.isn)
    c.server.send(RST, 0)
    c.nothing("a RST that acknowledges something else")
    c.server.send(RST | ACK, 0, c.isn + 1)
    reset = c.client.any("the refusal")
    expect(exact_reset(c, reset), f"not an exact RST: {reset}")
    c.nothing("after the refusal")


@case("F18 a server with an older connection is reset there and asked again, and the client sees nothing of it (RFC 9293 section 3.5.2)")
def stale_server(wire):
    c = wire.connection()
    first = c.connect()
    c.server.send(ACK, 123_456, 777_777)
    c.server.expect("the RST to the older connection", RST, 777_777)
    again = c.get_server_syn("the SYN after it")
    expect(same_syn(again, first), f"{again} is not {first}")
    c.nothing("a challenge ACK of the server's")
    c.answer()
    c.get_both_acks()
    c.works()


@case("F19 a SYN-ACK for another SYN gets a RST and poisons nothing (RFC 9293 section 3.10.7.3)")
def old_synack(wire):
    for off in (1, -1, 5000):
        c = wire.connection()
        c.connect()
        right, c.server_isn = c.server_isn, 900_000_000
        c.answer(ack=plus(c.isn, 1 + off))
        c.server.expect("the RST to the old SYN-ACK", RST, c.isn + 1 + off)
        c.nothing("an old SYN-ACK")
        c.server_isn = right
        c.answer()
        c.get_both_acks()
        c.works()


@case("F20 the proxy's ACK to the server echoes the server's own timestamp, and carries one not older than the client's last (RFC 7323 section 3.2)")
def acks_timestamps(wire):
    c = wire.connection()
    c.connect()
    last = c.client_clock
    c.answer()
    _, ack = c.get_both_acks()
    expect(ack.options.timestamps is not None, f"no timestamps: {ack}")
    value, echo = ack.options.timestamps
    expect(echo == c.server_clock, f"the server sent {c.server_clock} and gets back {echo}")
    expect(distance(value, last) >= 0, f"the client's clock was {last} and goes back to {value}")


@case("F24 a lost window update comes again in answer to the client's probe")
def lost_window_update(wire):
    c = wire.connection()
    c.open()
    c.client.send(ACK, c.isn, c.cookie + 1, options=c.client_options())
    c.server.expect("the probe", ACK, c.isn, c.server_isn + 1, b"")
    c.server.send(ACK, c.server_isn + 1, c.isn + 1, window=509, options=c.server_options())
    again = c.client.expect("the server's answer", ACK, c.cookie + 1, c.isn + 1, b"")
    expect(again.window > 0, f"the window is still closed: {again}")
    c.works()


@case("F25 a SYN-ACK that the server sends again is answered by the proxy and not sent to the client")
def synack_again(wire):
    c = wire.connection()
    c.open()
    for _ in range(2):
        c.answer()
        ack = c.server.expect("the ACK once more", ACK, c.isn + 1, c.server_isn + 1, b"")
        expect(ack.options.timestamps is not None, f"timestamps are in force and this has none: {ack}")
    c.nothing("a repeated SYN-ACK")
    c.works()
    c.answer()
    c.nothing("a late copy of the SYN-ACK, after the server's data")


@case("F45 a SYN from the server's side, while it is asked, does not leak to the client")
def simultaneous_open(wire):
    c = wire.connection()
    c.connect()
    c.server.send(SYN, 900_000_000, options=c.answer_options)
    c.wire.flush(c.version)
    expect(not c.client.waiting(), f"the client got {c.client.waiting()}")


@case("F47 a client that gives up while the server is asked leaves nothing behind: the server's late SYN-ACK gets a RST")
def client_gives_up(wire):
    c = wire.connection()
    c.connect()
    c.client.send(RST, c.isn + 1)
    reset = c.server.any("the client's RST")
    expect(reset.flags & RST and reset.seq == c.isn + 1, f"not the client's RST: {reset}")
    c.answer()
    late = c.server.any("the answer to the late SYN-ACK")
    expect(late.flags & RST and late.seq == c.isn + 1, f"not an exact RST: {late}")
    c.nothing("after the client has given up")


@case("F47 a client that ends its stream while the server is asked still gets what the server says")
def client_ends_early(wire):
    c = wire.connection()
    c.get_cookie()
    c.prove()
    c.get_server_syn()
    c.client.send(FIN | ACK, c.isn + 1, c.cookie + 1, options=c.client_options())
    c.answer()
    c.client.expect("the window update", ACK, c.cookie + 1)
    c.server.expect("the ACK to the server", ACK, c.isn + 1, c.server_isn + 1)
    c.client.send(FIN | ACK, c.isn + 1, c.cookie + 1, options=c.client_options())  # by its timer, if it was not held
    fin = c.server.any("the client's FIN")
    expect(fin.flags & FIN and fin.seq == c.isn + 1, f"not the FIN: {fin}")
    c.data_to_client(0, b"answer", ack=1)


run_cases()
