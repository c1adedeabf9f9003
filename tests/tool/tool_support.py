# SPDX-License-Identifier: BSL-1.0
"""What the tests of the program share: running it, and reading the captures it writes."""
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("HALFPROXY_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BIN = os.environ.get("HALFPROXY_BIN", str(SOURCE / "build/bin/halfproxy"))
CAPTURES = SOURCE / "tests/captures"


def run(*arguments, cwd=None, **more):
    return subprocess.run([BIN, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60, cwd=cwd, **more)


class ToolTest(unittest.TestCase):
    """A test with a directory of its own."""

    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="halfproxy-tool-")
        self.addCleanup(place.cleanup)
        self.dir = pathlib.Path(place.name)

    def write(self, name, text):
        path = self.dir / name
        path.write_text(text, encoding="utf-8")
        return path

    def assert_refused(self, result, *words):
        """Exit 2, nothing on standard output, one line that holds all the words."""
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)


UNITS = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}


def read_pcap(path):
    """The link type and the packets, as (nanoseconds, bytes, length on the wire), of a little-endian pcap."""
    data = pathlib.Path(path).read_bytes()
    magic, _, _, _, _, _, link = struct.unpack_from("<IHHiIII", data)
    packets, at = [], 24
    while at < len(data):
        seconds, fraction, captured, wire = struct.unpack_from("<IIII", data, at)
        packets.append((seconds * 10**9 + fraction * UNITS[magic], data[at + 16:at + 16 + captured], wire))
        at += 16 + captured
    return link, packets


def write_pcap(path, packets, snap_length):
    """Ethernet packets of read_pcap(), cut."""
    out = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, snap_length, 1)
    for time, data, wire in packets:
        cut = data[:snap_length]
        out += struct.pack("<IIII", time // 10**9, time % 10**9, len(cut), wire) + cut
    pathlib.Path(path).write_bytes(out)


def tcp_of(packet):
    """(flags, seq, ack, window) of an IPv4 TCP packet behind Ethernet."""
    ip = packet[14:]
    tcp = ip[(ip[0] & 15) * 4:]
    seq, ack = struct.unpack_from(">II", tcp, 4)
    return tcp[13], seq, ack, struct.unpack_from(">H", tcp, 14)[0]
