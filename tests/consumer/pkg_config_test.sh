#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# A program without CMake finds an installed halfproxy with pkg-config.
. "$(dirname "$0")/common.sh"
if ! command -v pkg-config >/dev/null; then
    echo "skipped: pkg-config is not installed"
    exit 77
fi
cmake --install "$HALFPROXY_BUILD_DIR" --prefix "$work/prefix" >"$work/install.log"
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name halfproxy.pc)")
export PKG_CONFIG_PATH
if [[ $(pkg-config --modversion halfproxy) != "$version" ]]; then
    echo "halfproxy.pc has another version than core/version.hpp"
    exit 1
fi
for package in halfproxy "halfproxy-compiled halfproxy-pcap halfproxy-af_packet halfproxy-asio"; do
    # shellcheck disable=SC2046,SC2086 # words are wanted
    "$compiler" -std=c++20 $(pkg-config --cflags $package) "$here/project/main.cpp" -o "$work/program" $(pkg-config --libs $package) $link_flags
    expect_output "$work/program"
done
