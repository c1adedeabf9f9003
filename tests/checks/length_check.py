# SPDX-License-Identifier: BSL-1.0
"""No function is longer than 60 lines; files beyond 400 lines are listed."""
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

MOST_LINES = 60
LONG_FILE = 400


def sources(root):
    for top in ("include", "src", "examples", "bench"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith((".hpp", ".cpp")):
                    yield os.path.join(folder, name)


def functions(paths):
    """(lines, path, line, name) of every function definition that ctags finds."""
    command = ["ctags", "--quiet", "--language-force=C++", "--kinds-c++=f", "--fields=+ne", "-x", "--_xformat=%n|%e|%F|%N",
               "-L", "-"]
    text = subprocess.run(command, input="\n".join(paths), stdout=subprocess.PIPE, text=True, check=True).stdout
    for row in text.splitlines():
        first, last, path, name = row.split("|", 3)
        if last.isdigit():
            yield int(last) - int(first) + 1, path, int(first), name


def find_planted():
    """A check that finds no long function any more must say so."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "planted.cpp")
        with open(path, "w", encoding="utf-8") as file:
            file.write("int f() {\n" + "    ;\n" * MOST_LINES + "    return 0;\n}\n")
        if [lines for lines, *_ in functions([path])] != [MOST_LINES + 3]:
            sys.exit("ctags does not tell the length of a planted function")


def main():
    root = ROOT
    paths = list(sources(root))
    for path in paths:
        with open(path, encoding="utf-8") as file:
            count = sum(1 for _ in file)
        if count > LONG_FILE:
            print(f"long file: {os.path.relpath(path, root)}: {count} lines")
    if not shutil.which("ctags") or "Universal" not in subprocess.run(["ctags", "--version"], capture_output=True, text=True).stdout:
        print("skipped: universal-ctags is not installed, so functions are not measured")
        return 77
    find_planted()
    measured = list(functions(paths))
    faults = [f"{os.path.relpath(path, root)}:{line}: {name} has {lines} lines"
              for lines, path, line, name in measured if lines > MOST_LINES]
    print("\n".join(faults))
    lengths = [lines for lines, *_ in measured]
    print(f"{len(lengths)} functions, median {statistics.median(lengths)}, longest {max(lengths)}, over {MOST_LINES}: {len(faults)}")
    return 1 if faults else 0


sys.exit(main())
