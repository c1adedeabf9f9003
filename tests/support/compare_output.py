# SPDX-License-Identifier: BSL-1.0
"""Runs a program and compares its standard output byte for byte: compare_output.py EXPECTED PROGRAM [ARGUMENT...]"""
import difflib
import subprocess
import sys


def main():
    expected_path, *command = sys.argv[1:]
    with open(expected_path, encoding="utf-8", newline="") as file:
        expected = file.read()
    run = subprocess.run(command, stdout=subprocess.PIPE, timeout=50)
    actual = run.stdout.decode("utf-8", "backslashreplace")
    if run.returncode != 0:
        sys.exit(f"{command[0]} exits with {run.returncode}; its output was:\n{actual}")
    if actual != expected:
        sys.stdout.writelines(difflib.unified_diff(expected.splitlines(True), actual.splitlines(True),
                                                   expected_path, command[0]))
        sys.exit(1)


main()
