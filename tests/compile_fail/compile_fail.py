# SPDX-License-Identifier: BSL-1.0
"""Compiles a file as it stands, which must succeed, and with HALFPROXY_MUST_FAIL defined, which must fail for the reason that
the file names: compile_fail.py FILE COMPILER [FLAG...]

Each file holds a line `// expect: WORDS` for every text that the compiler's message must contain; `A | B` asks for one of them."""
import re
import subprocess
import sys


def compile_only(command):
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    return run.returncode, run.stdout


def main():
    path, *command = sys.argv[1:]
    command += ["-std=c++20", "-fsyntax-only", path]
    with open(path, encoding="utf-8") as file:
        expected = re.findall(r"^// expect: (.+)$", file.read(), re.MULTILINE)
    if not expected:
        sys.exit(f"{path}: no line `// expect: WORDS`")
    code, message = compile_only(command)
    if code != 0:
        sys.exit(f"{path}: the twin that must compile does not:\n{message}")
    code, message = compile_only(command + ["-DHALFPROXY_MUST_FAIL"])
    if code == 0:
        sys.exit(f"{path}: compiles, though it must not")
    for words in expected:
        if not any(word in message for word in words.split(" | ")):
            sys.exit(f"{path}: the compiler's message does not mention {words!r}:\n{message}")


main()
