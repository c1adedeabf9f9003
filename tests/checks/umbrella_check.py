# SPDX-License-Identifier: BSL-1.0
"""The umbrella header lists every public header from core/ to engine/, in path order, each with a comment."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

FOLDERS = ["core", "wire", "io", "admit", "track", "translate", "balance", "inspect", "route", "engine", "sync"]
# Needs an operating system, or a library that the core does not bring.
NOT_CORE = re.compile(r"^io/(af_packet|af_xdp|pcap_live)|_format\.hpp$")


def public_headers(include):
    """In the order of the layers, and by name within each."""
    for folder in FOLDERS:
        path = os.path.join(include, folder)
        for name in sorted(os.listdir(path)) if os.path.isdir(path) else []:
            if name.endswith(".hpp") and not NOT_CORE.search(f"{folder}/{name}"):
                yield f"{folder}/{name}"


def main():
    include = os.path.join(ROOT, "include", "halfproxy")
    with open(os.path.join(include, "halfproxy.hpp"), encoding="utf-8") as file:
        lines = re.findall(r"^#include <halfproxy/([^>]+)>(.*)$", file.read(), re.MULTILINE)
    wanted, listed = list(public_headers(include)), [path for path, _ in lines]
    faults = [f"missing: {path}" for path in wanted if path not in listed]
    faults += [f"not there: {path}" for path in listed if path not in wanted]
    faults += [f"without a comment: {path}" for path, rest in lines if not re.match(r"\s+// \S.{9,}", rest)]
    if not faults and listed != wanted:
        faults.append("not in path order; it should be:\n  " + "\n  ".join(wanted))
    print("\n".join(faults) or f"{len(listed)} headers")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
