#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Jumbo frames: MTU 9000 with the offloads on and off.
. "$(dirname "$0")/lab.sh"
lab_need curl ping ethtool
lab_enter "$0" "$@"
lab_build

for place in "client c0" "proxy out0" "proxy in0" "server s0"; do
    # shellcheck disable=SC2086
    set -- $place
    lab_in "$1" ip link set "$2" mtu 9000 || lab_fail "cannot set the MTU of $2"
done
sum=$(lab_file file $((40 << 20)))
lab_http "$LAB_DIR/www"
jumbo() {
    local address
    lab_in client ping -q -c 2 -i 0.01 -W 3 -M "do" -s 8900 $LAB_SERVER4 > /dev/null || { echo "no answer to a jumbo ping" >&2; return 1; }
    for address in $LAB_SERVER4 "[$LAB_SERVER6]"; do
        lab_in client curl -sS --max-time 20 -o "$LAB_DIR/got" "http://$address/file" || return 1
        [ "$(sha256sum < "$LAB_DIR/got")" = "$sum" ] || { cmp "$LAB_DIR/www/file" "$LAB_DIR/got" >&2; return 1; }
    done
}
lab_each_guard jumbo
for place in "client c0" "server s0"; do
    # shellcheck disable=SC2086
    set -- $place
    lab_in "$1" ethtool -K "$2" tx off tso off gso off gro off > /dev/null || lab_fail "cannot switch offloads off"
done
lab_each_guard jumbo
lab_pass "MTU 9000, offloads on and off"
