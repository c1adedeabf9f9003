#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Installs what is missing, builds, and runs every test: Debug with ASan and UBSan, or Release.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/tests/support/packages.sh"

usage() {
    cat <<'TEXT'
usage: tests/run.sh [--release] [--build-dir DIR] [--build-only] [--target NAME] [--require LABEL] [CTEST ARGUMENT...]

  --release        optimised, without sanitizers, benches too, in build-release/ (default: Debug with ASan and UBSan in build-debug/)
  --build-dir DIR  build there instead
  --build-only     do not run the tests
  --target NAME    build that alone (bench/all: the benches)
  --require LABEL  a skipped test with this label is a failure, and so is a run without any
  anything else    goes to ctest: -L unit, -LE wire, -R flow_table, -j 4, ...

Exit status: that of ctest; 2 when packages are missing that may not be installed.
TEXT
}

kind=debug build='' test=yes require=() target=()
while (($#)); do
    case $1 in
        --release) kind=release ;;
        --build-dir) build=${2:?--build-dir needs a folder}; shift ;;
        --build-only) test=no ;;
        --target) target=(--target "${2:?--target needs a name}"); shift ;;
        --require) require=(--require "${2:?--require needs a label}"); shift ;;
        -h | --help) usage; exit 0 ;;
        *) break ;;
    esac
    shift
done
build=${build:-$root/build-$kind}

install_packages build test live
if [[ $kind == release ]]; then
    options=(-DCMAKE_BUILD_TYPE=Release -DHALFPROXY_SANITIZE= -DHALFPROXY_BUILD_BENCH=ON)
else
    # -O1: half the running time of -O0 under ASan, for little more compile time; -g1: lines in reports, small objects.
    options=(-DCMAKE_BUILD_TYPE=Debug -DHALFPROXY_SANITIZE=address,undefined "-DCMAKE_CXX_FLAGS_DEBUG=-O1 -g1" -DHALFPROXY_BUILD_BENCH=OFF)
fi
generator=()
[[ -f $build/CMakeCache.txt ]] || generator=(-G Ninja)
cmake -S "$root" -B "$build" "${generator[@]}" "${options[@]}" -DHALFPROXY_BUILD_TESTS=ON -DHALFPROXY_BUILD_EXAMPLES=ON
cmake --build "$build" --parallel "$(nproc)" "${target[@]}"
[[ $test == yes ]] || exit 0

exec /usr/bin/python3 "$root/tests/support/run_ctest.py" "${require[@]}" "$build" -j "$(nproc)" "$@"
