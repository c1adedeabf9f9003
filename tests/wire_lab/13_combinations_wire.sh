#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Clients with timestamps, SACK and window scaling each off and on, against servers with each off and on, through the
# guard: data both ways arrives whole. A number of bytes may be given instead of 8 MiB.
. "$(dirname "$0")/lab.sh"
lab_need python3
lab_enter "$0" "$@"
lab_build

lab_inline --guard always
python3 "$LAB_ROOT/tests/wire_lab/combinations.py" "${1:-$((8 << 20))}" || lab_fail "not every combination works"
lab_proxy_stop
lab_pass "64 combinations of options"
