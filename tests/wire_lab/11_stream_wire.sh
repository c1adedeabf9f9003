#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# One fast stream in either direction in every guard mode, over IPv4 and IPv6: GSO frames and partial checksums live.
. "$(dirname "$0")/lab.sh"
lab_need iperf3 python3
lab_enter "$0" "$@"
lab_build

lab_spawn server iperf iperf3 -s
lab_until 5 lab_listens server 5201 || lab_fail "iperf3 does not listen"

stream() { # ADDRESS FLAGS...: a second of it must carry at least 100 Mbit/s on the slowest of machines
    local bits
    bits=$(lab_in client timeout 15 iperf3 -J -t 1 -c "$@" |
        python3 -c 'import json,sys; print(int(json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"]))') || return 1
    [ "$bits" -gt 100000000 ] && echo "  $* : $((bits / 1000000)) Mbit/s"
}
streams() {
    stream $LAB_SERVER4 && stream $LAB_SERVER4 -R && stream $LAB_SERVER6 && stream $LAB_SERVER6 -R
}
lab_each_guard streams
lab_pass "streams both ways"
