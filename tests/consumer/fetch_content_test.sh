#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# An outside project takes halfproxy in with FetchContent; the sources are here already, so no network is touched.
. "$(dirname "$0")/common.sh"
build_consumer fetch_content "consumer" -DFETCHCONTENT_SOURCE_DIR_HALFPROXY="$HALFPROXY_SOURCE_DIR" -DFETCHCONTENT_FULLY_DISCONNECTED=ON
