#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Runs the libFuzzer targets one after the other: tests/fuzz/run.sh [seconds each, 60] [target...]. Needs clang (CXX=clang++-14).
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(fuzz_parse fuzz_tcp_options fuzz_pcap_reader fuzz_fragments fuzz_engine fuzz_sync_frame fuzz_adoption)
cxx=${CXX:-clang++-14}
command -v "$cxx" >/dev/null || { echo "run.sh: no $cxx; apt-get install clang-14, or set CXX" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for target in "${targets[@]}"; do
    "$cxx" -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
        -DHALFPROXY_FUZZ_TARGET="$target" -I"$root/include" -I"$root" "$root/tests/fuzz/libfuzzer.cpp" -o "$work/$target"
    mkdir -p "$work/corpus.$target"
    python3 "$root/tests/fuzz/seeds.py" "$target" "$root/tests/captures" "$work/corpus.$target"
    echo "== $target, $seconds s"
    "$work/$target" -max_total_time="$seconds" -max_len=4096 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$PWD/$target-" "$work/corpus.$target" 2>&1 | grep -E 'stat::(number_of_executed_units|new_units_added)|ERROR|does not hold|SUMMARY|Test unit written' || true
    [ "${PIPESTATUS[0]}" = 0 ] || { echo "run.sh: $target failed; its input stands beside you" >&2; exit 1; }
done
