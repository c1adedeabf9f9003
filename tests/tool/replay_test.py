# SPDX-License-Identifier: BSL-1.0
"""`halfproxy replay`: what either side gets, the report, and captures that are damaged or do not exist."""
import json
import resource
import struct
import unittest

from tool_support import CAPTURES, SOURCE, ToolTest, read_pcap, run, tcp_of, write_pcap

FIN, SYN, RST, ACK = 1, 2, 4, 16
REASONS = SOURCE / "include/halfproxy/core/verdict.hpp"


class Replay(ToolTest):
    def replay(self, capture, *more, client="client.pcap", server="server.pcap"):
        return run("replay", "--in", capture, "--out-client", self.dir / client, "--out-server", self.dir / server,
                   "--report", self.dir / "report.json", *more)

    def report(self):
        return json.loads((self.dir / "report.json").read_text(encoding="utf-8"))

    def outputs(self):
        return read_pcap(self.dir / "client.pcap"), read_pcap(self.dir / "server.pcap")

    def original(self):
        """The packets of the handshake capture, which is a pcap like those we write."""
        return read_pcap(CAPTURES / "handshake_v4.pcap")

    def test_without_guard_every_packet_leaves_unchanged_to_the_other_side(self):
        result = self.replay(CAPTURES / "handshake_v4.pcap")
        self.assertEqual((result.returncode, result.stdout), (0, ""), result.stderr)
        link, packets = self.original()
        (client_link, client), (server_link, server) = self.outputs()
        self.assertEqual((client_link, server_link), (link, link))
        to_server = [p for p in packets if p[1][26:30] == packets[0][1][26:30]]  # from who sent the SYN
        self.assertEqual(server, to_server)
        self.assertEqual(client, [p for p in packets if p not in to_server])

    def test_the_report_adds_up(self):
        self.replay(CAPTURES / "handshake_v4.pcap")
        report = self.report()
        packets, counters = report["packets"], report["counters"]
        self.assertEqual(packets["received"], report["capture"]["records"])
        self.assertEqual(packets["received"],
                         packets["forwarded"] + packets["replied"] + packets["held"] + packets["dropped"])
        self.assertEqual(sum(counters["dropped"].values()), packets["dropped"])
        self.assertEqual(report["io"]["outside"]["received"] + report["io"]["inside"]["received"], packets["received"])
        self.assertEqual(report["io"]["outside"]["sent"], len(self.outputs()[0][1]))
        self.assertEqual(report["syns_seen"], 1)
        self.assertEqual(report["flows"]["opened"], 1)
        self.assertTrue(report["capture"]["complete"])
        self.assertGreater(report["memory"]["configured_bytes"], 1 << 20)
        self.assertGreater(report["memory"]["rss_bytes"], 1 << 20)

    def test_an_ipv6_client_reaches_an_ipv4_server_through_nat64(self):
        def checksum(data):
            total = sum(struct.unpack(f">{len(data) // 2}H", data))
            while total > 0xFFFF:
                total = (total & 0xFFFF) + (total >> 16)
            return 0xFFFF - total

        host, prefix, server = bytes.fromhex("20010db8") + bytes(11) + b"\x07", bytes.fromhex("0064ff9b") + bytes(8), bytes([198, 51, 100, 2])
        segment = struct.pack(">HHIIBBHHH", 40000, 80, 1000, 0, 0x50, SYN, 1000, 0, 0)
        sum6 = checksum(host + prefix + server + struct.pack(">II", len(segment), 6) + segment)
        syn = struct.pack(">IHBB", 6 << 28, len(segment), 6, 64) + host + prefix + server + segment[:16] + struct.pack(">H", sum6) + segment[18:]
        record = bytes.fromhex("020000000002020000000001") + b"\x86\xdd" + syn
        write_pcap(self.dir / "in.pcap", [(10**18, record, len(record))], 65535)
        config = self.write("c.toml", '[nat64]\nhosts = "203.0.113.0/24"\nside = "outside"\n')
        self.assertEqual(self.replay(self.dir / "in.pcap", "--config", config).returncode, 0)
        (_, client), (_, to_server) = self.outputs()
        self.assertEqual((len(client), len(to_server)), (0, 1))
        ip = to_server[0][1][14:]
        self.assertEqual((ip[0], ip[8], ip[12:20]), (0x45, 63, bytes([203, 0, 113, 0]) + server))
        self.assertEqual(checksum(ip[:20]), 0)
        self.assertEqual(checksum(ip[12:20] + struct.pack(">HH", 6, 20) + ip[20:]), 0)
        nat64 = self.report()["edge"]["nat64"]
        self.assertEqual((nat64["hosts"], nat64["to_v4"], nat64["to_v6"]), (1, 1, 0))

    def test_the_report_has_every_drop_reason_by_name(self):
        self.replay(CAPTURES / "handshake_v4.pcap")
        names = [line.split("(")[1].split(",")[0] for line in REASONS.read_text(encoding="utf-8").splitlines()
                 if line.strip().startswith("X(")]
        self.assertEqual(["none", *self.report()["counters"]["dropped"]], names)

    def test_a_guarded_replay_answers_the_syn_itself(self):
        config = self.write("c.toml", '[guard]\nmode = "always"\n')
        self.assertEqual(self.replay(CAPTURES / "handshake_v4.pcap", "--config", config).returncode, 0)
        syn_time, syn, _ = self.original()[1][0]
        (_, client), (_, server) = self.outputs()
        flags, _, ack, window = tcp_of(client[0][1])
        self.assertEqual((client[0][0], flags, ack, window), (syn_time, SYN | ACK, tcp_of(syn)[1] + 1, 0))
        self.assertEqual(client[0][1][26:30], syn[30:34])  # from the server's address
        # The client acknowledges another number than the cookie, so the capture's server answers a SYN nobody sent: a RST tells it (RFC 9293 section 3.10.7.1).
        self.assertEqual([tcp_of(record[1])[0] for record in server], [RST])
        report = self.report()
        self.assertEqual((report["cookies_sent"], report["cookies_valid"]), (1, 0))
        self.assertGreater(report["counters"]["cookies_invalid"], 0)
        self.assertEqual(report["counters"]["dropped"]["cookie_invalid"], report["counters"]["cookies_invalid"])

    def test_the_secret_decides_the_cookie(self):
        answers = []
        for secret in ["00" * 16, "ab" * 16, "ab" * 16]:
            config = self.write("c.toml", f'[guard]\nmode = "always"\nsecret = "{secret}"\n')
            self.replay(CAPTURES / "handshake_v4.pcap", "--config", config)
            answers.append(tcp_of(self.outputs()[0][1][0][1])[1])
        self.assertNotEqual(answers[0], answers[1])
        self.assertEqual(answers[1], answers[2])

    def test_rules_of_the_configuration_apply(self):
        config = self.write("c.toml", '[[rule]]\naction = "deny"\nproto = "tcp"\nports = 80\n')
        self.replay(CAPTURES / "handshake_v4.pcap", "--config", config)
        self.assertEqual(self.outputs()[1][1], [])
        self.assertGreater(self.report()["counters"]["dropped"]["rule_denied"], 0)

    def test_a_replay_is_the_same_every_time(self):
        config = self.write("c.toml", '[guard]\nmode = "always"\n')
        files = []
        for _ in range(2):
            self.replay(SOURCE / "examples/data/quickstart.pcap", "--config", config)
            files.append([(self.dir / name).read_bytes() for name in ("client.pcap", "server.pcap")])
        self.assertEqual(files[0], files[1])

    def test_of_a_truncated_capture_the_whole_records_are_processed(self):
        result = self.replay(CAPTURES / "truncated.pcap")
        self.assertEqual(result.returncode, 1)
        self.assertIn("the file ends inside", result.stderr)
        (_, client), (_, server) = self.outputs()
        self.assertEqual(len(client) + len(server), 12)
        report = self.report()["capture"]
        self.assertEqual((report["records"], report["complete"]), (12, False))
        self.assertIn("the file ends inside", report["problem"])

    def test_frames_cut_by_the_snap_length_keep_their_length_on_the_wire(self):
        _, packets = self.original()
        cut = self.dir / "cut.pcap"
        write_pcap(cut, packets, 80)
        self.assertEqual(self.replay(cut).returncode, 0)
        (_, client), (_, server) = self.outputs()
        self.assertEqual(sorted(client + server), [(time, data[:80], wire) for time, data, wire in packets])

    def test_link_types_are_kept_and_a_mixture_needs_pcapng(self):
        for name, link in [("cooked.pcap", 113), ("cooked2.pcap", 276), ("null.pcap", 0), ("raw_ip.pcap", 101)]:
            self.assertEqual(self.replay(CAPTURES / name).returncode, 0)
            self.assertEqual([output[0] for output in self.outputs()], [link, link], name)
        self.assert_refused(self.replay(CAPTURES / "multi_interface.pcapng"), "pcapng")
        result = self.replay(CAPTURES / "multi_interface.pcapng", client="c.pcapng", server="s.pcapng")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual((self.dir / "c.pcapng").read_bytes()[:4], struct.pack("<I", 0x0A0D0D0A))

    def test_files_that_cannot_be_read_or_written_are_named(self):
        self.assert_refused(self.replay(self.dir / "nowhere.pcap"), "nowhere.pcap", "No such file")
        self.assert_refused(self.replay(CAPTURES / "handshake_v4.pcap", client="no/client.pcap"), "no/client.pcap")

    def test_no_file_is_read_and_written_at_once(self):
        copy = self.dir / "copy.pcap"
        content = (CAPTURES / "handshake_v4.pcap").read_bytes()
        copy.write_bytes(content)
        self.assert_refused(self.replay(copy, client="copy.pcap"), "--out-client")
        self.assert_refused(self.replay(copy, server="copy.pcap"), "--out-server")
        self.assert_refused(self.replay(copy, client="same.pcap", server="same.pcap"), "same file")
        self.assertEqual(copy.read_bytes(), content)

    def test_what_is_no_capture_fails(self):
        result = self.replay(self.write("text.pcap", "this is no capture, whatever its name says\n"))
        self.assertEqual(result.returncode, 1)
        self.assertIn("text.pcap", result.stderr)

    def test_memory_that_is_not_there_is_a_matter_of_configuration(self):
        config = self.write("c.toml", "[limits]\nflows_v4 = 134217728\n")
        def little_memory():
            resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        result = run("replay", "--in", CAPTURES / "handshake_v4.pcap", "--out-client", self.dir / "c.pcap", "--out-server",
                     self.dir / "s.pcap", "--config", config, preexec_fn=little_memory)
        if "AddressSanitizer" in result.stderr:
            self.skipTest("the sanitizer needs more address space than the limit")
        self.assert_refused(result, "not enough memory", "[limits]")

    def test_bad_configuration_exits_with_2_before_anything_is_written(self):
        config = self.write("c.toml", "x = 1\n")
        self.assert_refused(self.replay(CAPTURES / "handshake_v4.pcap", "--config", config), "c.toml:1: x")
        self.assertFalse((self.dir / "client.pcap").exists())


if __name__ == "__main__":
    unittest.main()
