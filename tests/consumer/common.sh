# SPDX-License-Identifier: BSL-1.0
# What the consumer tests share: a folder that is removed at the end, and building the outside project in it.
set -euo pipefail
: "${HALFPROXY_SOURCE_DIR:?}" "${HALFPROXY_BUILD_DIR:?}"
here=$HALFPROXY_SOURCE_DIR/tests/consumer
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
version=$(sed -n 's/^#define HALFPROXY_VERSION "\(.*\)"/\1/p' "$HALFPROXY_SOURCE_DIR/include/halfproxy/core/version.hpp")
compiler=${HALFPROXY_CXX:-c++}
# An instrumented library needs its runtime; instrumenting the consumer too would only cost time.
link_flags=${HALFPROXY_SANITIZE:+-fsanitize=$HALFPROXY_SANITIZE}

# build_consumer <how> <programs> <cmake arguments...>: configures and builds the outside project and runs its programs.
build_consumer() {
    local how=$1 programs
    read -ra programs <<<"$2"
    shift 2
    cmake -S "$here/project" -B "$work/build" -DHALFPROXY_BY="$how" -DCMAKE_CXX_COMPILER="$compiler" \
        -DCMAKE_EXE_LINKER_FLAGS="$link_flags" "$@"
    cmake --build "$work/build" --target "${programs[@]}"
    local program
    for program in "${programs[@]}"; do
        expect_output "$work/build/$program"
    done
}

expect_output() {
    local output
    output=$("$1")
    if [[ $output != "80 $version" ]]; then
        echo "$1 printed '$output' instead of '80 $version'"
        exit 1
    fi
}
