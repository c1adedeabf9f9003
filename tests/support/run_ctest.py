# SPDX-License-Identifier: BSL-1.0
"""Runs CTest and shows, before its summary, why tests were skipped: run_ctest.py [--require LABEL] BUILD_DIR [CTEST ARGUMENT...]

With --require, a skipped test of that label is a failure, and so is a run without any test of it."""
import json
import os
import re
import subprocess
import sys


def labels_of_tests(build):
    text = subprocess.run(["ctest", "--show-only=json-v1"], cwd=build, stdout=subprocess.PIPE, text=True, check=True).stdout
    labels = {}
    for test in json.loads(text)["tests"]:
        properties = {entry["name"]: entry["value"] for entry in test.get("properties", [])}
        labels[test["name"]] = properties.get("LABELS", [])
    return labels


def run_and_hold_summary(build, arguments):
    """Passes CTest's output on as it comes; returns its exit code, the tests it ran or skipped, and the summary's lines."""
    command = ["ctest", "--output-on-failure", "--no-tests=error", *arguments]
    process = subprocess.Popen(command, cwd=build, stdout=subprocess.PIPE, text=True, errors="replace", bufsize=1)
    seen, summary = {}, []
    for line in process.stdout:
        result = re.match(r"\s*\d+/\d+ Test\s+#\d+: (\S+) \.+\s*(.*?)\s+[\d.]+ sec", line)
        if result:
            seen[result.group(1)] = "Skipped" in result.group(2) or "Not Run" in result.group(2)
        if summary or re.match(r"\d+% tests passed", line):
            summary.append(line)
        else:
            print(line, end="", flush=True)
    return process.wait(), seen, summary


def reasons(build):
    """The last line that each test printed, by the log CTest leaves."""
    path = os.path.join(build, "Testing", "Temporary", "LastTest.log")
    with open(path, encoding="utf-8", errors="replace") as file:
        log = file.read()
    found = {}
    for name, output in re.findall(r"^\d+/\d+ Test: (\S+)\n.*?^Output:\n-+\n(.*?)<end of output>", log, re.MULTILINE | re.DOTALL):
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        found[name] = lines[-1] if lines else "it gives no reason"
    return found


def main():
    arguments = sys.argv[1:]
    required = None
    if arguments[:1] == ["--require"]:
        required, arguments = arguments[1], arguments[2:]
    build, *arguments = arguments
    labels = labels_of_tests(build)
    code, seen, summary = run_and_hold_summary(build, arguments)
    skipped = [name for name, was_skipped in seen.items() if was_skipped]
    if skipped:
        why = reasons(build)
        print("\nSkipped, and why:")
        for name in skipped:
            print(f"  {name} [{', '.join(labels.get(name, []))}]: {why.get(name, 'it could not be started')}")
    if required:
        of_label = [name for name in seen if required in labels.get(name, [])]
        missed = [name for name in of_label if seen[name]]
        if missed or not of_label:
            print(f"\nFAILED: every test labelled {required} must run here; " +
                  (f"skipped: {' '.join(missed)}" if missed else "there was none"))
            code = code or 1
    sys.stdout.writelines(["\n", *summary])
    return code


sys.exit(main())
