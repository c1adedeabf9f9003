#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# `halfproxy --version` and CMake's project version are what core/version.hpp says.
set -euo pipefail
: "${HALFPROXY_SOURCE_DIR:?}" "${HALFPROXY_BUILD_DIR:?}" "${HALFPROXY_BIN:?}"
written=$(sed -n 's/^#define HALFPROXY_VERSION "\(.*\)"/\1/p' "$HALFPROXY_SOURCE_DIR/include/halfproxy/core/version.hpp")
cached=$(sed -n 's/^CMAKE_PROJECT_VERSION:STATIC=//p' "$HALFPROXY_BUILD_DIR/CMakeCache.txt")
if [[ ! -x $HALFPROXY_BIN ]]; then
    echo "skipped: $HALFPROXY_BIN is not built"
    exit 77
fi
printed=$("$HALFPROXY_BIN" --version)
if [[ -z $written || $cached != "$written" || $printed != "halfproxy $written" ]]; then
    echo "version.hpp says '$written', CMake '$cached', the program '$printed'"
    exit 1
fi
