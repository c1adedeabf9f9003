#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Three backends behind a bridge, each a host of its own, in every mode: curl reaches all of them, sees the virtual address, and is seen under its own
# where the mode says so. Of modes dsr, ipip and transparent the backends have the virtual address on their loopback; tunnels end in a TUN device.
. "$(dirname "$0")/lab.sh"
lab_need curl python3 sha256sum ethtool
lab_enter "$0" "$@"
[ -w /dev/net/tun ] || lab_skip "no /dev/net/tun that may be opened"
lab_build

# b1, b2, b3 on a switch behind the proxy.
lab_in server ip addr flush dev s0
lab_in server ip link add switch type bridge && lab_in server ip link set s0 master switch && lab_in server ip link set switch up || lab_skip "no bridges here"
# Packets that are rewritten go on to the router they were sent to, behind the proxy: the switch itself.
lab_in server ip addr add $LAB_SERVER4/24 dev switch && lab_in server bash -c 'echo 1 > /proc/sys/net/ipv4/ip_forward; for f in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 > "$f"; done' ||
    lab_fail "cannot make a router of the switch"
# Whoever ends a tunnel in user space needs whole checksums from the proxy's port. The kernel then cuts up large segments as well, in its queueing layer.
lab_in proxy ethtool -K in0 tx off > /dev/null || lab_fail "cannot have the kernel finish checksums"
modes="dnat fullnat dsr ipip gue transparent"
virtual() { case $1 in dnat) echo 10.77.0.101 ;; fullnat) echo 10.77.0.102 ;; dsr) echo 10.77.0.103 ;; ipip) echo 10.77.0.104 ;; gue) echo 10.77.0.105 ;; *) echo 10.77.0.106 ;; esac }
for i in 1 2 3; do
    lab_namespace b$i && lab_cable b$i e0 server p$i && lab_in server ip link set p$i master switch up || lab_fail "cannot make backend $i"
    lab_in b$i ip link set lo up
    lab_in b$i bash -c 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > "$f"; done; echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore'
    lab_in b$i ip addr add 10.77.0.1$i/24 dev e0 && lab_in b$i ip link set e0 up || lab_fail "cannot set up backend $i"
    for mode in dsr ipip gue transparent; do lab_in b$i ip addr add "$(virtual $mode)/32" dev lo; done
    lab_in b$i ip neigh add 10.77.0.200 lladdr "$(lab_mac client c0)" dev e0  # the pool's address is the bridge's other side's
    lab_spawn b$i web$i python3 "$LAB_ROOT/tests/wire_lab/named_server.py" server$i 80
    lab_spawn b$i tunnel$i python3 "$LAB_ROOT/tests/wire_lab/tunnel_end.py"
done
for i in 1 2 3; do
    lab_until 5 lab_listens b$i 80 && lab_until 5 grep -qx listening "$LAB_DIR/tunnel$i.out" || lab_fail "backend $i did not start: $(cat "$LAB_DIR"/{web,tunnel}$i.err)"
    lab_in b$i bash -c 'echo 0 > /proc/sys/net/ipv4/conf/t0/rp_filter'
done

{
    printf '[io]\nbypass_qdisc = false\n[guard]\nmode = "off"\n[tracking]\nasymmetric = "detect"\n[[snat]]\nclients = "outside"\nto = "10.77.0.0/24"\npool = ["10.77.0.200"]\n'
    for mode in $modes; do
        lab_in client ip neigh add "$(virtual $mode)" lladdr "$(lab_mac server switch)" dev c0
        name=$mode
        [ $mode = gue ] && name=ipip
        printf '[[service]]\naddress = "%s"\nport = 80\nmode = "%s"\n' "$(virtual $mode)" $name
        [ $name = ipip ] && printf 'tunnel_source = "10.77.0.254"\n'
        [ $mode = gue ] && printf 'encapsulation = "gue"\n'
        for i in 1 2 3; do
            printf '[[service.backend]]\naddress = "10.77.0.1%s"\n' $i
            case $mode in dnat | fullnat) ;; *) printf 'mac = "%s"\n' "$(lab_mac b$i e0)" ;; esac
        done
    done
} > "$LAB_DIR/modes.toml"
lab_inline --config "$LAB_DIR/modes.toml"

head -c 400000 /dev/urandom > "$LAB_DIR/content"
sum=$(sha256sum < "$LAB_DIR/content" | cut -d ' ' -f 1)
reached() { # MODE
    local i seen
    seen=$(for i in 1 2 3; do lab_in client curl -sS --max-time 5 "http://$(virtual "$1")/"; done | sort)
    local as=$LAB_CLIENT4
    [ "$1" = fullnat ] && as=10.77.0.200
    [ "$seen" = "$(printf 'server%s '$as'\n' 1 2 3)" ] || { echo "$1: $seen" >&2; return 1; }
    lab_in client curl -sS --max-time 5 --data-binary @"$LAB_DIR/content" "http://$(virtual "$1")/" | grep -qx "server1 $sum" || { echo "$1: content" >&2; return 1; }
}
for mode in $modes; do
    reached $mode || lab_fail "mode $mode: $(cat "$LAB_DIR"/tunnel?.err)"
    echo "ok: mode $mode: three backends, and 400 kB sent whole"
done
lab_proxy_stop
lab_report '
c = report["counters"]
expect(c["tunnelled"] > 500, "hardly anything was tunnelled")
expect(c["dropped"]["frame_room"] == c["dropped"]["outbox_full"] == 0, "large segments were dropped")
for s in report["services"]:
    expect(all(b["opened"] >= 1 for b in s["backends"]), "a backend was left out")' || lab_fail "the report"
lab_pass "every mode of services on a bridge"
