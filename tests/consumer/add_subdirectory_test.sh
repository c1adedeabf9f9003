#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# An outside project takes halfproxy in with add_subdirectory and gets only the library.
. "$(dirname "$0")/common.sh"
build_consumer add_subdirectory "consumer_devices" -DHALFPROXY_SOURCE="$HALFPROXY_SOURCE_DIR"
