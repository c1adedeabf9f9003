# SPDX-License-Identifier: BSL-1.0
"""Errors about packets of a spliced connection, from routers on either side. Run by 54_icmp_wire.sh."""
from raw_ends import ADDRESSES, case, expect, run_cases
from segments import ACK, IcmpError, Segment, address, plus, too_big

ROUTERS = {4: (address("10.77.0.201"), address("10.77.0.202")), 6: (address("fd77::201"), address("fd77::202"))}
NARROW = 1280


def error_about(c, side, quoted):
    """What a router on that side says of a packet that it got from the proxy: sent to the packet's source."""
    router, to = ROUTERS[c.version][side], ADDRESSES[c.version][1 - side]
    c.wire.ports[side].send(too_big(router, to, NARROW, quoted))


def expect_error(end, c, source, seq, ack):
    got = end.any("the error")
    expect(isinstance(got, IcmpError), f"not an error: {got}")
    here, there = ADDRESSES[c.version][end.side], ADDRESSES[c.version][1 - end.side]
    ports = (c.port, 80) if end.side == 0 else (80, c.port)
    expect(got.source == source and got.mtu == NARROW, f"from {got.source} with MTU {got.mtu}")
    expect(got.quoted_addresses() == (here, there), "it quotes other addresses")
    expect(got.quoted_tcp() == (*ports, seq % (1 << 32), ack % (1 << 32)), f"it quotes {got.quoted_tcp()}, not {(*ports, seq, ack)}")


@case("F41 too-big about the client's data comes to the client in the client's numbers (RFC 1191, RFC 8201, RFC 5927 section 4.1)")
def about_clients_data(wire):
    for isn, server_isn in ((1000, 500_000), (0xFFFFFFF0, 0xFFFFFF00)):
        c = wire.connection(isn=isn, server_isn=server_isn)
        c.open()
        sent = c.data_to_server(0, b"x" * 1400)
        error_about(c, 1, sent.pack())
        expect_error(c.client, c, ROUTERS[c.version][1], c.isn + 1, c.cookie + 1)
        c.nothing("after the error")


@case("F41 too-big about the server's data comes to the server in the server's numbers")
def about_servers_data(wire):
    for isn, server_isn in ((1000, 500_000), (0xFFFFFFF0, 0xFFFFFF00)):
        c = wire.connection(isn=isn, server_isn=server_isn)
        c.open()
        sent = c.data_to_client(0, b"y" * 1400)
        error_about(c, 0, sent.pack())
        expect_error(c.server, c, ROUTERS[c.version][0], c.server_isn + 1, c.isn + 1)
        c.nothing("after the error")


@case("F41 an error that quotes a number outside the window, another flow or the other direction is dropped")
def forged(wire):
    c = wire.connection()
    c.open()
    sent = c.data_to_client(0, b"y" * 1400)
    for off in (5000, 1 << 31, -(1 << 25)):
        error_about(c, 0, Segment(**{**vars(sent), "seq": plus(sent.seq, off)}).pack())
        c.nothing(f"an error about a number that is {off} off")
    error_about(c, 0, Segment(**{**vars(sent), "destination_port": 1}).pack())
    c.nothing("an error about a flow that is not")
    error_about(c, 1, sent.pack())
    c.nothing("an error from the side from which the packet came")
    sent = c.data_to_server(0, b"x" * 1400)
    for off in (5000, 1 << 31, -(1 << 25)):
        error_about(c, 1, Segment(**{**vars(sent), "seq": plus(sent.seq, off)}).pack())
        c.nothing(f"an error to the client about a number that is {off} off")
    c.server.send(ACK, c.server_isn + 1401, c.isn + 1401, options=c.server_options())
    c.client.expect("the connection goes on", ACK, c.cookie + 1401, c.isn + 1401)


run_cases()
