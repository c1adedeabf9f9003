# SPDX-License-Identifier: BSL-1.0
"""Every file names its licence in its first line (after `#!`) and says in one sentence what it is
(bodies in impl/ are told of by the header they belong to)."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

KINDS = {".hpp": "//", ".cpp": "//", ".h": "//", ".c": "//", ".py": "#", ".sh": "#", ".cmake": "#", ".toml": "#"}
LICENCE = "SPDX-License-Identifier: BSL-1.0"


def mark_of(path):
    name = os.path.basename(path)
    if name == "CMakeLists.txt" or path == ".ci/run" or name.endswith(".cmake.in"):
        return "#"
    return KINDS.get(os.path.splitext(name)[1])


def fault_of(lines, mark, banner_wanted=True):
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    if not lines or lines[0] != f"{mark} {LICENCE}":
        return f"the first line is not '{mark} {LICENCE}'"
    banner = lines[1] if len(lines) > 1 else ""
    if banner_wanted and not re.match(rf'({mark}|"""|r""") ?\S.{{9,}}', banner):
        return "the second line does not say what the file is"
    return None


def files(root):
    yield "CMakeLists.txt"
    if os.path.exists(os.path.join(root, ".ci/run")):
        yield ".ci/run"
    for top in ("cmake", "include", "src", "examples", "tests", "bench"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                yield os.path.relpath(os.path.join(folder, name), root)


def main():
    assert fault_of(["// a", "// b"], "//") and fault_of([f"// {LICENCE}", "#pragma once"], "//") and fault_of([], "#")
    assert not fault_of(["#!/bin/sh", f"# {LICENCE}", "# Does this and that."], "#")
    root = ROOT
    count, faults = 0, 0
    for path in files(root):
        mark = mark_of(path)
        if not mark:
            continue
        count += 1
        with open(os.path.join(root, path), encoding="utf-8") as file:
            fault = fault_of(file.read().splitlines(), mark, "/impl/" not in path)
        if fault:
            faults += 1
            print(f"{path}: {fault}")
    print(f"{count} files, {faults} faults")
    return 1 if faults or not count else 0


sys.exit(main())
