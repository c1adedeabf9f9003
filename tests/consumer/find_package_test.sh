#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# An outside project finds an installed halfproxy with find_package.
. "$(dirname "$0")/common.sh"
cmake --install "$HALFPROXY_BUILD_DIR" --prefix "$work/prefix" >"$work/install.log"
if grep -rl "$HALFPROXY_SOURCE_DIR" "$work/prefix" --include='*.cmake' --include='*.pc' --include='*.hpp'; then
    echo "these installed files name the source folder"
    exit 1
fi
build_consumer find_package "consumer_compiled consumer_devices" -DCMAKE_PREFIX_PATH="$work/prefix"
