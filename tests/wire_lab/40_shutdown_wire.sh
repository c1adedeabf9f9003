#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# SIGTERM under load: drain, report, exit 0, interfaces as found. A killed proxy leaves them as found, too.
. "$(dirname "$0")/lab.sh"
lab_need iperf3 python3
lab_enter "$0" "$@"
lab_build

promiscuity() { lab_in proxy ip -d -o link show "$1" | sed 's/.*promiscuity \([0-9]*\).*/\1/'; }
flags() { lab_in proxy ip -o link show | sed 's/ state .*//'; }
check_promiscuity() { # EXPECTED
    [ "$(promiscuity out0) $(promiscuity in0)" = "$1 $1" ] || lab_fail "promiscuity is $(promiscuity out0) and $(promiscuity in0), not $1"
}
found=$(flags)
for signal in TERM INT; do
    lab_inline --guard always
    check_promiscuity 1
    lab_spawn server iperf iperf3 -s
    server=$LAB_PID
    lab_until 5 lab_listens server 5201 || lab_fail "iperf3 does not listen"
    lab_spawn client load iperf3 -t 30 -P 4 -c $LAB_SERVER4
    load=$LAB_PID
    sleep 1
    kill -$signal "$LAB_PROXY"
    lab_until 10 lab_gone "$LAB_PROXY" || lab_fail "still running 10 s after SIG$signal"
    wait "$LAB_PROXY" || lab_fail "exit status $? after SIG$signal"
    lab_stop "$load"
    lab_stop "$server"  # it would wait for the rest of this test
    check_promiscuity 0
    [ "$(flags)" = "$found" ] || lab_fail "interfaces were: $found, and are: $(flags)"
    lab_report '
expect(report["io"]["outside"]["received"] > 100, "no load seen")
expect(report["packets"]["received"] == sum(report["io"][s]["received"] for s in ("outside", "inside")), "packets lost between port and engine")
expect(report["flows"]["opened"] >= 4, "flows of the load")' || lab_fail "the report disagrees"
done

lab_inline --guard always
kill -KILL "$LAB_PROXY"
wait "$LAB_PROXY" 2> /dev/null
check_promiscuity 0
lab_inline --guard off --duration 1
lab_until 10 lab_gone "$LAB_PROXY" || lab_fail "--duration 1 does not end"
wait "$LAB_PROXY" || lab_fail "exit status $? after --duration 1"
lab_pass "drains, reports and leaves the interfaces as found"
