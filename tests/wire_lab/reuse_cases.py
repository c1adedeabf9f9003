# SPDX-License-Identifier: BSL-1.0
"""One pair of addresses and ports used again. Run by 53_reuse_wire.sh."""
from raw_ends import case, expect, run_cases
from segments import ACK, FIN, RST, plus


def close(c, at=0):
    """The client ends, then the server; the old flow is in TIME_WAIT."""
    c.client.send(FIN | ACK, c.isn + 1 + at, c.cookie + 1 + at, options=c.client_options())
    c.server.expect("the client's FIN", FIN | ACK, c.isn + 1 + at, c.server_isn + 1 + at)
    c.server.send(FIN | ACK, c.server_isn + 1 + at, c.isn + 2 + at, options=c.server_options())
    c.client.expect("the server's FIN", FIN | ACK, c.cookie + 1 + at, c.isn + 2 + at)
    c.client.send(ACK, c.isn + 2 + at, c.cookie + 2 + at, options=c.client_options())
    c.server.expect("the last ACK", ACK, c.isn + 2 + at, c.server_isn + 2 + at)


def abort(end):
    def by_reset(c):
        if end == "client":
            c.client.send(RST, c.isn + 1, 0)
            c.server.expect("the client's RST", RST, c.isn + 1)
        else:
            c.server.send(RST | ACK, c.server_isn + 1, c.isn + 1)
            c.client.expect("the server's RST", None, c.cookie + 1)
    return by_reset


def again(c, isn, server_isn):
    """The next connection between the same two ports."""
    fresh = c.wire.connection(isn=isn, server_isn=server_isn)
    fresh.port, fresh.client_clock = c.port, c.client_clock + 100
    return fresh


@case("F29 after FIN or RST a new SYN on the same ports connects at once, and its cookie is not touched (RFC 9293 section 3.6.1)")
def reuse(wire):
    for end_it in (close, abort("client"), abort("server")):
        c = wire.connection()
        for isn, server_isn in ((1000, 500_000), (70_000, 3_000_000_000), (4_000_000_000, 7), (80_000, 600_000)):
            c = again(c, isn, server_isn)
            c.open()
            if end_it is close:
                c.works()
                close(c, at=8)
            else:
                end_it(c)
            c.nothing("after the end of it")


@case("F29 a cookie that a client got before its old flow was over opens the new one")
def cookie_over_old_flow(wire):
    c = wire.connection()
    c.open()
    close(c)
    for isn in (10, 20, 30):
        fresh = again(c, isn, 42)
        fresh.get_cookie()
        fresh.nothing("a cookie costs nothing")  # only the cookie of the next round is used
    fresh = again(c, 2_000_000_000, 42)
    fresh.open()
    fresh.works()


def challenge(c, fresh):
    """What a SYN on the open connection gets: from the proxy a cookie or a challenge ACK, or one from the server, which it then reaches."""
    fresh.syn()
    fresh.wire.flush(c.version)
    if c.server.waiting():
        c.server.expect("the SYN at the server", None, fresh.isn)
        c.server.send(ACK, c.server_isn + 9, c.isn + 9, options=c.server_options())
    return fresh.client.any("an answer to the SYN")


@case("F30 a SYN on an open connection harms it not; the client's exact RST ends it, and the next SYN connects (RFC 5961 section 4.2)")
def syn_on_open(wire):
    c = wire.connection()
    c.open()
    c.works()
    fresh = again(c, 3_000_000_000, 42)
    got = challenge(c, fresh)
    expect(got.flags == ACK and got.seq == plus(c.cookie, 9) and got.ack == plus(c.isn, 9), f"not a challenge ACK: {got}")
    c.nothing("after the challenge")
    c.works(at=8)
    c.client.send(RST, c.isn + 17)
    reset = c.server.expect("the client's RST", None, c.isn + 17)
    expect(reset.flags & RST, f"not a RST: {reset}")
    fresh.open()
    fresh.works()


@case("F30 a client that has rebooted ends its old connection with the RST that answers the challenge, and connects")
def rebooted_client(wire):
    c = wire.connection()
    c.open()
    c.works()
    fresh = again(c, 3_000_000_000, 42)
    got = challenge(c, fresh)
    fresh.client.send(RST, got.ack)  # in SYN-SENT, an unacceptable ACK (RFC 9293 section 3.10.7.3)
    c.server.expect("the client's RST", RST, c.isn + 9)
    fresh.open()  # its timer repeats the SYN
    fresh.works()


run_cases()
