#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Every public header compiles alone (CMake's VERIFY_INTERFACE_HEADER_SETS), so none leans on what a neighbour includes.
set -euo pipefail
: "${HALFPROXY_SOURCE_DIR:?}" "${HALFPROXY_BUILD_DIR:?}"
cmake --build "$HALFPROXY_BUILD_DIR" --target all_verify_interface_header_sets --parallel 2
verified=$(find "$HALFPROXY_BUILD_DIR/src" -path '*_verify_interface_header_sets*' -name '*.o' | wc -l)
public=$(find "$HALFPROXY_SOURCE_DIR/include" -name '*.hpp' -not -path '*/impl/*' -not -name '*_format.hpp' | wc -l)
echo "$verified objects of $public public headers"
((verified > 0))
