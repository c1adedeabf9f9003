# SPDX-License-Identifier: BSL-1.0
"""An include goes only to a strictly lower layer or the same folder; fmt, Asio, the system stay where they belong.

The rules are tried on planted faults first, so that a rule that finds nothing any more is noticed."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

RANK = {"core": 0, "wire": 1, "io": 1, "admit": 2, "track": 2, "translate": 2, "balance": 2, "inspect": 2, "route": 2, "engine": 3, "run": 4, "sync": 4}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
ASIO = re.compile(r"^(boost/)?(asio|beast)([/.]|$)")
SYSTEM = re.compile(r"^(sys|linux|net|netinet|arpa|asm|bpf|xdp|pcap)/|"
                    r"^(unistd|fcntl|poll|pthread|signal|sched|dlfcn|pcap|ifaddrs|netdb|time|errno)\.h$|^(ctime|csignal)$")
# Parts of the standard library that read clocks, files, the environment or the system's randomness.
STD_SYSTEM = {"iostream", "fstream", "filesystem", "thread", "mutex", "condition_variable", "future", "random", "cstdio", "syncstream",
              "iomanip", "sstream"}
CALLS = re.compile(r"\b(system_clock|steady_clock|high_resolution_clock|random_device|getenv|printf|fprintf|abort)\b|\bstd::(rand|exit)\b")


def folder_of(path):
    """'wire' for include/halfproxy/wire/impl/parse.hpp and src/wire/parse.cpp; '' for the umbrella header."""
    parts = path.split("/")
    rest = parts[2:] if parts[0] == "include" else parts[1:]
    return rest[0] if len(rest) > 1 else ""


def faults_of_include(path, folder, quote, target):
    public = path.startswith("include/")
    if target.startswith("halfproxy/"):
        inner = target.split("/")
        if len(inner) < 3:
            yield "the umbrella header is for users, not for the library"
        elif inner[1] not in RANK:
            yield f"{inner[1]}/ is no layer"
        elif inner[1] != folder and RANK[inner[1]] >= RANK[folder]:
            yield f"{folder}/ (rank {RANK[folder]}) may not include {inner[1]}/ (rank {RANK[inner[1]]})"
    elif quote == '"':
        inner = os.path.normpath(os.path.join(os.path.dirname(path), target)).split("/")
        if public:
            yield "a public header includes <halfproxy/...> only, never a private header"
        elif target.split("/")[0] in RANK and target.split("/")[0] != folder or len(inner) > 1 and inner[0] == "src" and inner[1] != folder:
            yield f"src/{folder}/ may not include another folder's private header"
    if target.startswith("fmt/") and not path.endswith("_format.hpp"):
        yield "fmt belongs to *_format.hpp, the tool, tests and examples"
    if ASIO.search(target) and folder != "run":
        yield "Asio belongs to run/"
    if SYSTEM.search(target) and public and folder != "run":
        yield "headers of the operating system belong to src/"
    if target in STD_SYSTEM and folder not in ("io", "run"):
        yield f"<{target}> reaches the system: not in core to engine"


def faults_of_file(path, text):
    folder = folder_of(path)
    if not folder:
        return
    if folder not in RANK:
        yield path, 1, f"{folder}/ is no layer"
        return
    for number, line in enumerate(text.splitlines(), 1):
        include = INCLUDE.match(line)
        if include:
            for fault in faults_of_include(path, folder, *include.groups()):
                yield path, number, fault
        code = re.sub(r'"(\\.|[^"\\])*"', '""', line).split("//")[0]
        call = CALLS.search(code)
        if call and folder not in ("io", "run"):
            yield path, number, f"{call.group(0)} reaches the system: time, randomness and text come in as arguments"


PLANTED = [
    ("include/halfproxy/wire/a.hpp", "#include <halfproxy/io/memory.hpp>", "may not include io/"),
    ("include/halfproxy/core/a.hpp", "#include <halfproxy/engine/engine.hpp>", "may not include engine/"),
    ("include/halfproxy/track/impl/a.hpp", "#include <halfproxy/admit/acl.hpp>", "may not include admit/"),
    ("include/halfproxy/engine/a.hpp", "#include <halfproxy/run/pump.hpp>", "may not include run/"),
    ("include/halfproxy/engine/a.hpp", "#  include <boost/asio/ip/tcp.hpp>", "Asio belongs"),
    ("include/halfproxy/wire/a.hpp", "#include <fmt/core.h>", "fmt belongs"),
    ("include/halfproxy/io/a.hpp", "#include <linux/if_packet.h>", "operating system"),
    ("include/halfproxy/io/a.hpp", '#include "../../../src/io/a.hpp"', "private header"),
    ("include/halfproxy/run/a.hpp", "#include <halfproxy/halfproxy.hpp>", "umbrella"),
    ("src/engine/a.cpp", '#include "io/af_packet_impl.hpp"', "another folder's"),
    ("src/engine/a.cpp", '#include "../io/af_packet_impl.hpp"', "another folder's"),
    ("src/admit/a.cpp", "#include <random>", "reaches the system"),
    ("include/halfproxy/track/a.hpp", "auto t = std::chrono::steady_clock::now();", "steady_clock reaches"),
    ("include/halfproxy/extra/a.hpp", "", "no layer"),
]
ALLOWED = [
    ("include/halfproxy/wire/a.hpp", "#include <halfproxy/core/bytes.hpp>  // fmt is not used"),
    ("include/halfproxy/wire/a_format.hpp", "#include <fmt/core.h>"),
    ("include/halfproxy/run/worker.hpp", "#include <boost/asio/io_context.hpp>"),
    ("src/io/af_packet.cpp", '#include "af_packet_impl.hpp"'),
    ("src/io/af_packet.cpp", "#include <sys/socket.h>"),
    ("include/halfproxy/track/a.hpp", "// steady_clock would be wrong here"),
    ("include/halfproxy/halfproxy.hpp", "#include <halfproxy/engine/engine.hpp>"),
]


def try_rules():
    for path, text, wanted in PLANTED:
        found = [fault for _, _, fault in faults_of_file(path, text or "\n")]
        if not any(wanted in fault for fault in found):
            sys.exit(f"the rules miss a planted fault: {path}: {text} (found: {found})")
    for path, text in ALLOWED:
        found = list(faults_of_file(path, text))
        if found:
            sys.exit(f"the rules refuse what is allowed: {path}: {text}: {found}")


def sources(root):
    for top in ("include/halfproxy", "src"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith((".hpp", ".cpp")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def main():
    try_rules()
    root = ROOT
    count, faults = 0, []
    for path in sources(root):
        count += 1
        with open(os.path.join(root, path), encoding="utf-8") as file:
            faults += faults_of_file(path, file.read())
    for path, number, fault in faults:
        print(f"{path}:{number}: {fault}")
    print(f"{count} files, {len(faults)} faults")
    return 1 if faults or not count else 0


sys.exit(main())
