# SPDX-License-Identifier: BSL-1.0
"""The command line of DESIGN section 7: help, version, exit codes, and one message for each mistake."""
import os
import re
import unittest

from tool_support import SOURCE, ToolTest, run

OPTIONS = {
    "inline": ["--outside", "--inside", "--config", "--guard", "--io", "--shards", "--report", "--duration"],
    "replay": ["--in", "--out-client", "--out-server", "--config", "--report"],
    "flows": ["--in", "--format"],
    "dissect": ["--in", "--format"],
    "check": ["--config"],
}


class CommandLine(ToolTest):
    def test_help_lists_every_subcommand(self):
        result = run("--help")
        self.assertEqual(result.returncode, 0)
        for name in OPTIONS:
            self.assertRegex(result.stdout, rf"(?m)^  {name} ")

    def test_help_of_a_subcommand_lists_exactly_its_options(self):
        for name, options in OPTIONS.items():
            result = run(name, "--help")
            self.assertEqual(result.returncode, 0)
            listed = re.findall(r"(?m)^  (?:-h,)?(--[a-z-]+)", result.stdout)
            self.assertEqual(sorted(listed), sorted([*options, "--help"]), name)

    def test_version_is_that_of_the_header(self):
        header = (SOURCE / "include/halfproxy/core/version.hpp").read_text(encoding="utf-8")
        version = re.search(r'HALFPROXY_VERSION "(.*)"', header).group(1)
        result = run("--version")
        self.assertEqual((result.returncode, result.stdout.strip()), (0, f"halfproxy {version}"))

    def test_wrong_usage_exits_with_2_and_says_what_is_wrong(self):
        for arguments, words in [
            ([], "subcommand"),
            (["polish"], "polish"),
            (["check"], "--config"),
            (["replay", "--in", "x"], "--out-client"),
            (["inline", "--speed", "9"], "--speed"),
            (["inline", "--guard", "maybe"], "off|auto|always|monitor"),
            (["inline", "--guard", "1"], "off|auto|always|monitor"),
            (["inline", "--io", "dpdk"], "af_packet|af_xdp"),
            (["inline", "--shards", "0"], "--shards"),
            (["inline", "--duration", "-1"], "--duration"),
            (["dissect", "--in", "x", "--format", "xml"], "tsv|json"),
        ]:
            result = run(*arguments)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertIn(words, result.stderr)
            self.assertEqual(result.stdout, "", arguments)


class Inline(ToolTest):
    def test_an_interface_that_is_not_given_is_named_with_both_remedies(self):
        self.assert_refused(run("inline", "--outside", "lo"), "inside", "--inside IF", "[io]")

    def test_one_interface_is_no_bridge(self):
        self.assert_refused(run("inline", "--outside", "lo", "--inside", "lo"), "lo", "two interfaces")

    def test_an_io_this_build_lacks_is_refused(self):
        self.assert_refused(run("inline", "--outside", "a", "--inside", "b", "--io", "af_xdp"), "af_xdp", "af_packet")

    def test_shards_that_would_split_a_flow_are_refused(self):
        self.assert_refused(run("inline", "--outside", "a", "--inside", "b", "--shards", "2"), "2 shards", "--shards 1")

    def test_an_unknown_interface_is_named(self):
        if os.geteuid() != 0:
            self.skipTest("without privilege the interface is not looked at first")
        self.assert_refused(run("inline", "--outside", "nowhere0", "--inside", "lo"), "nowhere0", "unknown interface")

    def test_missing_privilege_names_the_capability(self):
        if os.geteuid() != 0:
            result = run("inline", "--outside", "lo", "--inside", "lo2")
        else:
            try:
                result = run("inline", "--outside", "lo", "--inside", "lo2", preexec_fn=lambda: os.setuid(65534))
            except PermissionError:
                self.skipTest("another user cannot run the program from here")
        self.assert_refused(result, "lo", "CAP_NET_RAW")

    def test_a_report_that_cannot_be_written_is_known_before_the_run(self):
        path = self.dir / "no" / "report.json"
        self.assert_refused(run("inline", "--outside", "a", "--inside", "b", "--report", path), str(path))

    def test_the_configuration_gives_interfaces_and_flags_override_them(self):
        config = self.write("c.toml", '[io]\noutside = "same0"\ninside = "same0"\n')
        self.assert_refused(run("inline", "--config", config), "same0", "two interfaces")
        self.assert_refused(run("inline", "--config", config, "--inside", "b", "--shards", "3"), "3 shards")


if __name__ == "__main__":
    unittest.main()
