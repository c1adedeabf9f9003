# SPDX-License-Identifier: BSL-1.0
"""The open connection: windows, SACK blocks and timestamps as each end must see them. Run by 52_translation_wire.sh."""
from raw_ends import case, expect, run_cases
from segments import ACK, Options, distance, plus

FULL = 0xFFFF


def edge(segment, scale):
    """The right edge of the window that a segment grants."""
    return plus(segment.ack, segment.window << scale)


@case("F21 the first window the client gets is the server's, in the scale that the client was promised")
def first_window(wire):
    for server_scale in (0, 2, 7, 10, 14):
        c = wire.connection(answer=Options(mss=1460, scale=server_scale, sack_permitted=True))
        update, _ = c.open(window=65160)  # that of a SYN-ACK is never scaled (RFC 7323 section 2.2)
        granted = update.window << c.promised.scale
        expect(65160 - (1 << c.promised.scale) < granted <= 65160, f"server scale {server_scale}: 65160 bytes became {granted}")


@case("F21 later windows are rescaled with saturation, and one above 0 never becomes 0")
def later_windows(wire):
    for server_scale in (0, 2, 7, 10, 14):
        c = wire.connection(answer=Options(mss=1460, scale=server_scale, sack_permitted=True))
        c.open()
        for window in (FULL, 40000, 509, 100, 1):
            c.server.send(ACK, c.server_isn + 1, c.isn + 1, window=window, options=c.server_options())
            got = c.client.expect("a window", ACK, c.cookie + 1, c.isn + 1)
            true, granted = window << server_scale, got.window << c.promised.scale
            most = FULL << c.promised.scale
            close = granted == most if true >= most else abs(granted - true) < 1 << c.promised.scale
            expect(got.window > 0 and close, f"server scale {server_scale}: {true} bytes became {granted}")
        c.server.send(ACK, c.server_isn + 1, c.isn + 1, window=0, options=c.server_options())
        c.client.expect("a closed window", ACK, c.cookie + 1, c.isn + 1)


@case("F21 a window that the server does not shrink is not shrunk by rounding (RFC 9293 section 3.8.6.2.1)")
def right_edge(wire):
    c = wire.connection(answer=Options(mss=1460, scale=0, sack_permitted=True))
    update, _ = c.open(window=60000)
    granted, sent = edge(update, c.promised.scale), 0
    for part in (1, 63, 64, 100, 127, 128, 129, 1000):
        c.data_to_server(sent, b"x" * part)
        sent += part
        c.server.send(ACK, c.server_isn + 1, c.isn + 1 + sent, window=60000 - sent, options=c.server_options())
        got = c.client.expect("the server's ACK", ACK, c.cookie + 1, c.isn + 1 + sent)
        shrunk = distance(granted, edge(got, c.promised.scale))
        expect(shrunk <= 0, f"the right edge went back by {shrunk} bytes after {sent}")
        granted = edge(got, c.promised.scale)


@case("F21 F22 without window scaling at one end, both see plain windows (RFC 7323 section 2.2)")
def no_scaling(wire):
    c = wire.connection(offer=Options(mss=1460), answer=Options(mss=1460))
    update, _ = c.open(window=5000)
    expect(c.promised.scale is None and update.window == 5000, f"5000 bytes became {update}")
    c.client.send(ACK, c.isn + 1, c.cookie + 1, window=4321, options=c.client_options())
    got = c.server.expect("a window", ACK, c.isn + 1, c.server_isn + 1)
    expect(got.window == 4321, f"4321 bytes became {got}")


@case("F22 the server gets the client's own scale, where the cookie holds it, and its windows as they are")
def client_windows(wire):
    for timestamps in (True, False):
        for scale in (0, 3, 7, 14):
            c = wire.connection(timestamps=timestamps, offer=Options(mss=1460, scale=scale, sack_permitted=True))
            syn = c.connect()
            told = syn.options.scale
            expect(told == scale or told < scale and not timestamps, f"scale {scale} became {told}")
            c.answer()
            c.get_both_acks()
            for window in (FULL, 12345, 1, 0):
                c.client.send(ACK, c.isn + 1, c.cookie + 1, window=window, options=c.client_options())
                got = c.server.expect("a window", ACK, c.isn + 1, c.server_isn + 1)
                right = got.window == window if told == scale else 0 < got.window << told <= window << scale or window == got.window == 0
                expect(right, f"scale {scale} told as {told}: window {window} became {got.window}")


@case("F26 one to four SACK blocks of the client's are moved to the server's numbers, duplicates and wrapped edges as well (RFC 2018, RFC 2883)")
def sack_blocks(wire):
    for server_isn in (500_000, 0xFFFFFF00):
        c = wire.connection(timestamps=False, server_isn=server_isn)
        c.open()
        c.data_to_client(0, b"x" * 1000)
        for offsets in (((100, 200),), ((100, 200), (300, 400)), ((700, 900), (100, 200), (300, 400)),
                        ((1, 50), (700, 900), (100, 200), (300, 400))):
            blocks = tuple((plus(c.cookie, 1 + a), plus(c.cookie, 1 + b)) for a, b in offsets)
            c.client.send(ACK, c.isn + 1, c.cookie + 1, options=Options(sack=blocks))
            got = c.server.expect("SACK blocks", ACK, c.isn + 1, c.server_isn + 1)
            wanted = tuple((plus(c.server_isn, 1 + a), plus(c.server_isn, 1 + b)) for a, b in offsets)
            expect(got.options.sack == wanted, f"{got.options.sack}, not {wanted}")


@case("F26 a segment whose SACK option has a wrong length is dropped, and the connection goes on")
def malformed_sack(wire):
    c = wire.connection(timestamps=False)
    c.open()
    c.data_to_client(0, b"answer..")
    edges = plus(c.cookie, 2).to_bytes(4, "big") + plus(c.cookie, 3).to_bytes(4, "big")
    for length in (9, 6, 3):
        option = bytes([5, length]) + edges[:length - 2]
        c.client.send(ACK, c.isn + 1, c.cookie + 1, options=Options(other=option))
        c.nothing(f"a SACK option of {length} bytes")
    c.data_to_server(0, b"question")


@case("F27 the server's clock is shifted once for the client, the client's echo once back, on every segment (RFC 7323 section 3.2)")
def timestamps_shift_once(wire):
    c = wire.connection()
    update, _ = c.open()
    shift = distance(update.options.timestamps[0], c.server_clock)
    expect(update.options.timestamps[0] == c.cookie_clock or distance(update.options.timestamps[0], c.cookie_clock) > 0,
           "the client's peer goes back in time")
    for at in range(0, 40, 8):
        got = c.data_to_client(at, b"12345678", ack=at)
        value, echo = got.options.timestamps
        expect(distance(value, c.server_clock) == shift, f"shifted by {distance(value, c.server_clock)}, then by {shift}")
        expect(echo == c.last_seen_by_server, f"the client's own value came back as {echo}, not {c.last_seen_by_server}")
        c.last_seen_by_client = value
        got = c.data_to_server(at, b"12345678")
        value, echo = got.options.timestamps
        expect(value == c.client_clock, f"the client's clock {c.client_clock} became {value}")
        expect(echo == c.server_clock, f"the server's own value came back as {echo}, not {c.server_clock}")
        c.last_seen_by_server = value


@case("F28 numbers wrap in both spaces during the connection")
def wrap(wire):
    for isn, server_isn in ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFF0, 0), (0x7FFFFFFF, 0xFFFFFFFA)):
        c = wire.connection(isn=isn, server_isn=server_isn)
        c.open()
        for at in range(0, 64, 8):
            c.data_to_server(at, b"question")
            c.data_to_client(at, b"answer..", ack=at + 8)
        c.nothing("after numbers that wrap")


run_cases()
