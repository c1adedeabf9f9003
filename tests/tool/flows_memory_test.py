#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""`halfproxy flows` on 200,000 packets of 27,000 flows: no packet is lost, and memory stays within what the table of flows takes."""
import csv
import io
import os
import subprocess
import sys
import unittest

from tool_support import BIN, SOURCE, ToolTest

PACKETS = 200_000
MIB = 1024 * 1024
TABLE = 256 * 1024 * 1024   # the most flows that are open at once, 1 KiB each
PROGRAM = (192 if os.environ.get('HALFPROXY_SANITIZE') else 64) * MIB


class FlowsMemory(ToolTest):
    def make_capture(self):
        path = self.dir / 'many.pcap'
        script = SOURCE / 'tests/support/make_flow_capture.py'
        subprocess.run([sys.executable, script, '--out', path, '--packets', str(PACKETS), '--snap', '96'], check=True, timeout=240)
        return path

    def list_flows(self, capture):
        """The rows, and the most memory the program had."""
        out = self.dir / 'flows.tsv'
        with out.open('wb') as rows:
            process = subprocess.Popen([BIN, 'flows', '--in', capture], stdout=rows)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 0)
        return list(csv.DictReader(io.StringIO(out.read_text()), delimiter='\t', quoting=csv.QUOTE_NONE)), usage.ru_maxrss * 1024

    def test_every_packet_is_in_a_row_and_memory_is_bounded(self):
        capture = self.make_capture()
        rows, memory = self.list_flows(capture)
        self.assertEqual(sum(int(row['orig_pkts']) + int(row['resp_pkts']) for row in rows), PACKETS)
        self.assertGreater(len(rows), 20_000)
        states = {row['conn_state'] for row in rows}
        self.assertEqual(states, {'S0', 'S1', 'S2', 'SF', 'RSTO'})
        self.assertEqual({row['proto'] for row in rows}, {'tcp', 'udp'})
        self.assertLess(memory, TABLE + PROGRAM + capture.stat().st_size)


if __name__ == '__main__':
    unittest.main()
