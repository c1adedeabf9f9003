# SPDX-License-Identifier: BSL-1.0
"""What the client's SYN is answered, and what of it the server is told. Run by 50_cookie_wire.sh."""
from raw_ends import case, expect, run_cases
from segments import ACK, CWR, ECE, FIN, PSH, RST, SYN, Options, plus

LEAST_MSS = {4: 536, 6: 1220}


@case("F1 a SYN-ACK carries no data and no unknown option, and acknowledges only the SYN, even when that carries data")
def synack_is_plain(wire):
    c = wire.connection()
    c.offer.other = bytes([34, 2, 254, 6, 1, 2, 3, 4])  # TCP Fast Open (RFC 7413), an experiment (RFC 6994)
    answer = c.get_cookie(data=b"early data")
    expect(answer.data == b"" and answer.options.other == b"", f"more than was to be answered: {answer}")
    expect(answer.window == 0, f"a window before the server has opened one: {answer}")
    expect(answer.packet_bytes <= len(c.client.segment(SYN, 0, options=c.offer, data=b"early data").pack()), "reflects more than it received")


@case("F2 SYN with FIN, RST or ACK, no flag, and all flags never get a SYN-ACK (RFC 9293 section 3.5)")
def strange_flags(wire):
    for flags in (SYN | FIN, SYN | RST, SYN | ACK, SYN | FIN | RST | ACK, 0, 0xFF, FIN | PSH | 0x20):
        c = wire.connection()
        c.syn(flags)
        c.nothing(f"flags {flags:#x}")


@case("F3 FIN, RST or SYN beside the ACK of a valid cookie opens nothing")
def strange_third_segment(wire):
    for flags in (FIN | ACK, RST | ACK, SYN | ACK, SYN | FIN | ACK):
        c = wire.connection()
        c.get_cookie()
        c.prove(flags=flags)
        c.nothing(f"flags {flags:#x}")


@case("F4 an identical SYN gets the same sequence number again")
def repeated_syn(wire):
    c = wire.connection()
    c.get_cookie()
    first = c.cookie
    expect(c.get_cookie().seq == first, "another number within one key epoch")


@case("F5 a wrong checksum gets no answer")
def wrong_checksum(wire):
    c = wire.connection()
    packet = bytearray(c.client.segment(SYN, c.isn, options=c.offer).pack())
    packet[-1] ^= 1
    c.client.port.send(bytes(packet))
    c.nothing("a SYN with a wrong checksum")
    c.get_cookie()
    packet = bytearray(c.client.segment(ACK, c.isn + 1, c.cookie + 1, options=c.client_options()).pack())
    packet[-1] ^= 1
    c.client.port.send(bytes(packet))
    c.nothing("a third segment with a wrong checksum")


@case("F6 window scale, SACK and ECN survive, with and without timestamps (RFC 7323 section 2.2, RFC 3168 section 6.1.1)")
def options_survive(wire):
    for timestamps in (True, False):
        c = wire.connection(timestamps=timestamps)
        c.offer = Options(mss=1460, scale=7, sack_permitted=True)
        promise = c.get_cookie(SYN | ECE | CWR)
        expect(promise.flags == SYN | ACK | ECE, f"ECN was not answered: {promise}")
        expect(promise.options.scale is not None and promise.options.sack_permitted, f"an option was not answered: {promise}")
        expect((promise.options.timestamps is not None) == timestamps, f"timestamps: {promise}")
        c.prove()
        syn = c.get_server_syn()
        expect(syn.flags == SYN | ECE | CWR, f"ECN is lost: {syn}")
        expect(syn.options.scale == 7 and syn.options.sack_permitted, f"an option is lost: {syn}")
        expect((syn.options.timestamps is not None) == timestamps, f"timestamps: {syn}")


@case("F7 each window scale reaches the server exactly, or smaller; none is told from 0")
def scales_round_trip(wire):
    for timestamps in (True, False):
        for scale in (None, *range(15)):
            c = wire.connection(timestamps=timestamps)
            c.offer = Options(mss=1460, scale=scale, sack_permitted=True)
            told = c.connect().options.scale
            expect((told is None) == (scale is None), f"scale {scale} became {told}")
            expect(scale is None or told <= scale, f"scale {scale} grew to {told}")
            expect(not timestamps or told == scale, f"scale {scale} became {told} although timestamps could carry it")


@case("F8 the server is never told a larger MSS than the client announced, on any SYN")
def mss_is_kept(wire):
    for timestamps in (True, False):
        for mss in (88, 256, 535, 536, 537, 1000, 1219, 1220, 1300, 1359, 1360, 1420, 1439, 1440, 1459, 1460, 8960):
            c = wire.connection(timestamps=timestamps)
            c.offer = Options(mss=mss, scale=7)
            told = c.connect().options.mss
            expect(told is not None and told <= mss, f"MSS {mss} became {told}")


@case("F9 without an MSS option the server is told at most the default (RFC 9293 section 3.7.1)")
def mss_absent(wire):
    for offer in (Options(), Options(scale=7, sack_permitted=True)):
        c = wire.connection(timestamps=False)
        c.offer = offer
        told = c.connect().options.mss
        expect(told is not None and told <= LEAST_MSS[wire.version], f"no MSS became {told}")


@case("F12 a cookie that is sent again while its flow opens or after opens no second connection")
def replayed_cookie(wire):
    c = wire.connection()
    c.connect()
    c.prove()
    c.nothing("the third segment once more, while the server is asked")
    c.answer()
    c.get_both_acks()
    c.prove()
    again = c.server.expect("the old ACK, as one of the flow", ACK, c.isn + 1, c.server_isn + 1, b"")
    expect(not again.flags & SYN, "a second SYN")
    c.works()


@case("F10 an ACK whose number is one off, or of another client, opens nothing")
def cookie_one_off(wire):
    for off in (-1, 1, 1 << 8, 1 << 31):
        c = wire.connection()
        c.get_cookie()
        c.client.send(ACK, c.isn + 1, plus(c.cookie, 1 + off), options=c.client_options())
        c.nothing(f"an acknowledgment number that is {off} off")
    other = wire.connection()
    other.cookie, other.last_seen_by_client = c.cookie, c.last_seen_by_client
    other.prove()
    other.nothing("another client's cookie")


run_cases()
