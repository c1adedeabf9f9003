# SPDX-License-Identifier: BSL-1.0
"""The compiled core calls no clock, socket, file, thread or random source: every symbol it leaves undefined is on a list.

Compiled here without sanitizers: the core's own sources, and a file that instantiates its templates. A planted call of
each forbidden kind must be found."""
import glob
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ["core", "wire", "admit", "track", "translate", "balance", "inspect", "route", "engine", "sync"]
ALLOWED = re.compile(
    r"^(halfproxy::|(vtable|typeinfo|VTT|typeinfo name|guard variable|non-virtual thunk to|construction vtable) )|"
    # Bytes in memory.
    r"^(memcpy|memmove|memset|memcmp|bcmp|strlen|memchr)$|"
    # Memory at construction time; the flow table may ask for huge pages.
    r"^operator (new|delete)(\[\])?\(|^(malloc|free|aligned_alloc|mmap|munmap|madvise|__errno_location)$|"
    # What the compiler itself calls.
    r"^(_GLOBAL_OFFSET_TABLE_|__stack_chk_fail|_Unwind_Resume|__gxx_personality_v0|__dso_handle|__cxa_\w+|__popcountdi2|_Unwind_\w+|"
    r"__cpu_model|__cpu_indicator_init)$|"
    # Values of the standard library: errors and containers of configuration.
    r"^std::(terminate\(\)|__throw_|__detail::|exception|runtime_error|logic_error|invalid_argument|length_error|out_of_range|bad_alloc|"
    r"bad_array_new_length|system_error|_V2::(system|generic)_category|__cxx11::(basic_string|to_string)|allocator|_Rb_tree_|"
    r"__glibcxx_assert_fail|_Hash_bytes|__detail)|"
    # std::string's members, whose return type stands first.
    r"^\w[\w:<>, ]* std::(__cxx11::)?basic_string")
PLANTED = {
    "clock_gettime|chrono": "#include <chrono>\nlong f() { return std::chrono::steady_clock::now().time_since_epoch().count(); }",
    "^time$": "#include <ctime>\nlong f() { return time(nullptr); }",
    "socket": "#include <sys/socket.h>\nint f() { return socket(2, 1, 0); }",
    "random_device|getentropy": "#include <random>\nunsigned f() { return std::random_device{}(); }",
    "getrandom": "#include <sys/random.h>\nlong f(void* p) { return getrandom(p, 8, 0); }",
    "printf|puts": '#include <cstdio>\nvoid f(int i) { std::printf("%d", i); }',
    "getenv": '#include <cstdlib>\nchar* f() { return getenv("HOME"); }',
    "open": '#include <fcntl.h>\nint f() { return open("/dev/null", 0); }',
    "thread": "#include <thread>\nvoid f() { std::thread([] {}).join(); }",
    "abort": "#include <cstdlib>\nvoid f() { std::abort(); }",
}


def undefined_symbols(compiler, source, folder):
    target = os.path.join(folder, "object.o")
    subprocess.run([compiler, "-std=c++20", "-O0", f"-I{ROOT}/include", f"-I{ROOT}/src", "-c", source, "-o", target], check=True)
    text = subprocess.run(["nm", "-u", "-C", target], stdout=subprocess.PIPE, text=True, check=True).stdout
    return {line.split(maxsplit=1)[1] for line in text.splitlines() if line.strip()}


def foreign(symbols):
    return sorted(symbol for symbol in symbols if not ALLOWED.search(symbol))


def find_planted(compiler, folder):
    path = os.path.join(folder, "planted.cpp")
    for wanted, text in PLANTED.items():
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        found = foreign(undefined_symbols(compiler, path, folder))
        if not any(re.search(wanted, symbol) for symbol in found):
            sys.exit(f"the list lets a planted call pass: {text!r} (found: {found})")


def main():
    compiler = os.environ.get("HALFPROXY_CXX", "c++")
    sources = [os.path.join(ROOT, "tests/checks/purity.cpp")]
    for folder in FOLDERS:
        sources += sorted(glob.glob(f"{ROOT}/src/{folder}/*.cpp"))
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        find_planted(compiler, folder)
        for source in sources:
            symbols = undefined_symbols(compiler, source, folder)
            bad = foreign(symbols)
            faults += len(bad)
            print(f"{os.path.relpath(source, ROOT)}: {len(symbols)} undefined symbols, {len(bad)} not allowed")
            for symbol in bad:
                print(f"  not allowed: {symbol}")
    return 1 if faults else 0


sys.exit(main())
