#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# An interface that goes down and comes back costs its frames and nothing else: no exit, no busy loop.
. "$(dirname "$0")/lab.sh"
lab_need ping python3
lab_enter "$0" "$@"
lab_build
lab_inline --guard always

reaches() { lab_in client ping -q -c 1 -W 1 $LAB_SERVER4; }
cpu_ticks() { awk '{print $14 + $15}' "/proc/$LAB_PROXY/stat"; }
reaches > /dev/null || lab_fail "no ping before"
for port in in0 out0; do
    lab_in proxy ip link set $port down
    reaches > /dev/null && lab_fail "a ping passed while $port is down"
    sleep 0.5
    ticks=$(cpu_ticks)
    sleep 2
    ticks=$(($(cpu_ticks) - ticks))
    [ $ticks -lt $(($(getconf CLK_TCK) / 2)) ] || lab_fail "$ticks ticks of CPU in 2 s with $port down and no traffic"
    lab_in proxy ip link set $port up
    lab_until 10 reaches || lab_fail "no ping after $port came back"
done
lab_proxy_stop
lab_report 'expect(report["io"]["inside"]["link_down"] > 0, "frames lost to a dead link are not counted")' || lab_fail "the report disagrees"
lab_pass "link down and up"
