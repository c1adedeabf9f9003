#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# The whole core, from core/ to engine/, compiles and runs in a program without exceptions and RTTI.
. "$(dirname "$0")/common.sh"
"$compiler" -std=c++20 -fno-exceptions -fno-rtti -Wall -Wextra -Wconversion -Wshadow -Werror \
    -I"$HALFPROXY_SOURCE_DIR/include" "$here/no_exceptions.cpp" -o "$work/program"
expect_output "$work/program"
