#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Tagged traffic passes with its tags and is guarded like any other: 802.1Q, priority tags, 802.1ad with 802.1Q inside.
. "$(dirname "$0")/lab.sh"
lab_need curl ping python3
lab_enter "$0" "$@"
lab_build

for guard in off auto always; do
    lab_inline --guard $guard
    python3 "$LAB_ROOT/tests/wire_lab/tagged.py" $guard || lab_fail "tagged frames with --guard $guard"
    lab_proxy_stop
done

# Whole connections, with large segments, where the kernel makes VLAN interfaces.
tagged() { # NAMESPACE PARENT NAME PROTOCOL ID [ADDRESS]
    lab_in "$1" ip link add link "$2" name "$3" type vlan protocol "$4" id "$5" 2> /dev/null && lab_in "$1" ip link set "$3" up || return 1
    [ $# -lt 6 ] || lab_in "$1" ip addr add "$6" dev "$3"
}
interfaces() {
    tagged client c0 c5 802.1Q 5 10.78.0.1/24 && tagged server s0 s5 802.1Q 5 10.78.0.2/24 &&
        tagged client c0 c9 802.1ad 9 && tagged client c9 c9q 802.1Q 6 10.79.0.1/24 &&
        tagged server s0 s9 802.1ad 9 && tagged server s9 s9q 802.1Q 6 10.79.0.2/24
}
through() { # ADDRESS
    lab_in client ping -q -c 1 -W 3 "$1" > /dev/null || return 1
    [ "$(lab_in client curl -sS --max-time 20 "http://$1/file" | sha256sum)" = "$sum" ]
}
if interfaces; then
    sum=$(lab_file file $((10 << 20)))
    lab_http "$LAB_DIR/www"
    lab_each_guard through 10.78.0.2
    lab_each_guard through 10.79.0.2
else
    echo "left out: downloads over VLAN interfaces, which this kernel does not make"
fi
lab_pass "802.1Q and QinQ"
