#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Real stacks connect 500 times from one port to one port through the guard, over flows that ended by RST or FIN (behaviour F29).
. "$(dirname "$0")/lab.sh"
lab_need python3
lab_enter "$0" "$@"
lab_build

lab_inline --guard always
python3 "$LAB_ROOT/tests/wire_lab/tuple_reuse.py" "${1:-500}" || lab_fail "a port could not be used again"
lab_proxy_stop
lab_report "
count = 6 * ${1:-500}
expect(report['cookies_valid'] == count and report['flows']['opened'] == count, 'not every connection was challenged')
expect(report['flows']['peak'] == 2, 'old flows stayed beside new ones')" || lab_fail "the report disagrees"
lab_pass "500 reuses of one pair of ports"
