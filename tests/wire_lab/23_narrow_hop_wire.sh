#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# MTU 1280, 1500 and 9000, and a narrower hop in the middle: the routers' "too big" reaches the ends through a spliced flow (RFC 1191, 8201).
. "$(dirname "$0")/lab.sh"
lab_need python3
lab_enter "$0" "$@"
lab_build

# home h0 ── r0 [ client: a router ] c0 ── out0 [ proxy ] in0 ── s0 [ server: a router ] q0 ── f0 far
HOME4=10.90.1.2 HOME6=fd90:1::2 FAR4=10.90.2.2 FAR6=fd90:2::2
links=("home h0" "client r0" "client c0" "proxy out0" "proxy in0" "server s0" "server q0" "far f0")
beyond() { # ROUTER PORT HOST PORT NETWORK OTHER GATEWAY4 GATEWAY6: a host behind a router; networks by their number
    lab_namespace "$3" && lab_cable "$1" "$2" "$3" "$4" && lab_host "$1" "$2" "10.90.$5.1" "fd90:$5::1" &&
        lab_host "$3" "$4" "10.90.$5.2" "fd90:$5::2" && lab_in "$3" ip route add default via "10.90.$5.1" &&
        lab_in "$3" ip -6 route add default via "fd90:$5::1" && lab_in "$1" ip route add "10.90.$6.0/24" via "$7" &&
        lab_in "$1" ip -6 route add "fd90:$6::/64" via "$8" &&
        lab_in "$1" sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
}
asks_from() { lab_in "$1" ip -6 addr add "$3/64" dev "$2" nodad; }  # a router asks for neighbours from a link-local address
beyond client r0 home h0 1 2 $LAB_SERVER4 $LAB_SERVER6 && beyond server q0 far f0 2 1 $LAB_CLIENT4 $LAB_CLIENT6 &&
    asks_from client r0 fe80::1 && asks_from client c0 fe80::2 && asks_from server s0 fe80::3 && asks_from server q0 fe80::4 ||
    lab_fail "cannot make the routers"

set_mtu() { # MTU: of every link
    local place
    for place in "${links[@]}"; do lab_in "${place% *}" ip link set "${place#* }" mtu "$1" || lab_fail "cannot set the MTU of $place"; done
}
narrow() { # MTU: of the last hop in either direction, as the router before it knows it; its packets still come as they are
    lab_in server ip route replace 10.90.2.0/24 dev q0 mtu lock "$1" && lab_in server ip -6 route replace fd90:2::/64 dev q0 metric 256 mtu lock "$1" &&
        lab_in client ip route replace 10.90.1.0/24 dev r0 mtu lock "$1" && lab_in client ip -6 route replace fd90:1::/64 dev r0 metric 256 mtu lock "$1"
}
forget() {
    local ns
    for ns in home far; do lab_in $ns ip route flush cache && lab_in $ns ip -6 route flush cache; done
}
learned() { # NAMESPACE ADDRESS MTU: the sender knows what the router said
    lab_in "$1" ip route get "$2" | grep -q "mtu $3" || { echo "$1 did not learn that the way to $2 is narrow" >&2; return 1; }
}
talk=$LAB_ROOT/tests/wire_lab/transfers.py
bytes=${1:-$((2 << 20))}
across() { lab_in home python3 "$talk" fetch $FAR4 7000 "$bytes" && lab_in home python3 "$talk" fetch $FAR6 7000 "$bytes"; }
across_narrow() { # MTU; once more, since the proxy promises what the server said last, which was made for the way as it was
    forget && across && across && learned home $FAR4 "$1" && learned home $FAR6 "$1" && learned far $HOME4 "$1" && learned far $HOME6 "$1"
}

lab_spawn far transfers python3 "$talk" serve 7000
lab_until 5 lab_listens far 7000 || lab_fail "the server does not listen"
lab_inline --guard always
for mtu in 1280 1500 9000; do
    set_mtu $mtu
    across || lab_fail "transfers with MTU $mtu"
    [ $mtu -gt 1280 ] || continue
    hop=$((mtu == 1500 ? 1280 : 1400))
    narrow $hop || lab_fail "cannot make a narrow hop"
    across_narrow $hop || lab_fail "transfers with MTU $mtu and a hop of $hop"
    narrow $mtu || lab_fail "cannot make the hop wide again"
    echo "ok: F41 MTU $mtu, a hop of $hop"
done
lab_proxy_stop
lab_pass "MTU 1280, 1500, 9000 and a narrower hop"
